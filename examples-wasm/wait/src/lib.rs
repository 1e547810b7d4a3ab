//! Holds ADD until something is there: a file of the node, a link, an address, a route. See docs/hooks/wait.md.
//!
//! ```json
//! { "module": "wait", "grants": ["clock", "file:/run/flannel/*", "link:host"], "config": {
//!     "for": [{ "file": "/run/flannel/subnet.env" }], "timeout": "5s" } }
//! ```
//!
//! Teaches: looking at the node and the container, and sleeping within one's time.

use serde::Deserialize;
use std::fmt;
use std::time::Duration;
use wasmhook_sdk::cni::{Error, code};
use wasmhook_sdk::net::{Cidr, Place, RouteFilter};
use wasmhook_sdk::{Failure, Hook, Outcome, Post, Pre, Request, Result, clock, file, info, link, warn};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Settings {
    #[serde(rename = "for")]
    conditions: Vec<Condition>,
    timeout: Option<String>,
    #[serde(default)]
    when: When,
    #[serde(default)]
    on_timeout: OnTimeout,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum When {
    #[default]
    Before,
    After,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OnTimeout {
    #[default]
    Fail,
    Proceed,
}

/// One of `file`, `link`, `address`, `route`; where, if not in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    file: Option<String>,
    link: Option<String>,
    /// A network that holds it, or the address itself.
    address: Option<Cidr>,
    /// Exactly this destination.
    route: Option<Cidr>,
    #[serde(rename = "in")]
    place: Option<Place>,
    /// Of a link: is it up?
    #[serde(default)]
    up: bool,
}

/// What a condition looks for.
enum Wanted<'a> {
    File(&'a str),
    Link(&'a str),
    /// On this link, or on any.
    Address(Cidr, Option<&'a str>),
    Route(Cidr),
}

const TIMEOUT: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_millis(100);

struct Wait;

impl Hook for Wait {
    fn pre(request: &Request) -> Result<Pre> {
        Ok(wait(request, When::Before)?.map_or(Pre::Proceed, Pre::Deny))
    }

    fn post(request: &Request, outcome: Outcome) -> Result<Post> {
        if outcome.error().is_some() {
            return Ok(Post::Keep);
        }
        Ok(wait(request, When::After)?.map_or(Post::Keep, Post::Fail))
    }

    fn validate(request: &Request) -> Result<()> {
        Settings::read(request).map(drop)
    }
}

/// Why not, when the time is over.
fn wait(request: &Request, now: When) -> Result<Option<Error>> {
    let (settings, timeout) = Settings::read(request)?;
    if request.verb != "ADD" || settings.when != now {
        return Ok(None);
    }
    let (mut waited, mut pause) = (Duration::ZERO, LOOK_AGAIN);
    loop {
        let mut missing = None;
        for condition in &settings.conditions {
            if !condition.holds()? {
                missing = Some(condition);
                break;
            }
        }
        let Some(missing) = missing else {
            if !waited.is_zero() {
                info!("waited for {waited:?}");
            }
            return Ok(None);
        };
        // A little is left for saying so.
        let left = timeout.saturating_sub(waited).min(clock::remaining().saturating_sub(LOOK_AGAIN));
        if left.is_zero() {
            let msg = format!("{missing} is not there after {waited:?}");
            return Ok(match settings.on_timeout {
                OnTimeout::Fail => Some(Error::new(code::TRY_AGAIN, msg)),
                OnTimeout::Proceed => {
                    warn!("{msg}; going on without it (`onTimeout`)");
                    None
                }
            });
        }
        waited += clock::sleep(pause.min(left).max(Duration::from_millis(1)));
        pause = (pause * 2).min(LOOK_AT_LEAST_EVERY);
    }
}

impl Settings {
    fn read(request: &Request) -> Result<(Self, Duration)> {
        let settings: Self = request.settings()?;
        if settings.conditions.is_empty() {
            return Err(Failure::new("`config.for` is empty: write what to wait for"));
        }
        for (index, condition) in settings.conditions.iter().enumerate() {
            condition.wanted().map_err(|what| Failure::new(format!("`config.for[{index}]`: {what}")))?;
        }
        let timeout = settings.timeout.as_deref().map_or(Ok(TIMEOUT), duration);
        let timeout = timeout.map_err(|what| Failure::new(format!("`config.timeout`: {what}")))?;
        Ok((settings, timeout))
    }
}

impl Condition {
    fn wanted(&self) -> Result<Wanted<'_>, &'static str> {
        let wanted = match (&self.file, &self.link, self.address, self.route) {
            (Some(path), None, None, None) if self.place.is_none() => Wanted::File(path),
            (Some(_), None, None, None) => return Err("`in` means nothing for a file"),
            (None, Some(name), None, None) => Wanted::Link(name),
            (None, link, Some(address), None) => Wanted::Address(address, link.as_deref()),
            (None, None, None, Some(route)) => Wanted::Route(route),
            _ => return Err("write one of `file`, `link`, `address` (with or without `link`), `route`"),
        };
        if self.up && !matches!(wanted, Wanted::Link(_)) {
            return Err("`up` is about a link");
        }
        Ok(wanted)
    }

    fn place(&self) -> Place {
        self.place.unwrap_or(Place::Host)
    }

    fn holds(&self) -> Result<bool> {
        let place = self.place();
        let Ok(wanted) = self.wanted() else { return Ok(false) };
        Ok(match wanted {
            Wanted::File(path) => file::exists(path)?,
            Wanted::Link(name) => link::find(place, name)?.is_some_and(|link| link.up || !self.up),
            Wanted::Route(dst) => {
                let filter = RouteFilter { dst: Some(dst), ..RouteFilter::default() };
                !link::routes(place, &filter)?.is_empty()
            }
            Wanted::Address(network, link) => {
                let links = match link {
                    Some(name) => link::find(place, name)?.into_iter().map(|it| it.name).collect(),
                    None => link::all(place)?.into_iter().map(|it| it.name).collect::<Vec<_>>(),
                };
                let mut found = false;
                for name in links {
                    // It may have gone since.
                    let addresses = link::addresses(place, &name).unwrap_or_default();
                    found |= addresses.iter().any(|it| network.contains(it.address.address));
                }
                found
            }
        })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place();
        match self.wanted() {
            Ok(Wanted::File(path)) => write!(f, "file {path}"),
            Ok(Wanted::Link(name)) => {
                write!(f, "link {name} in the {place}{}", if self.up { " (up)" } else { "" })
            }
            Ok(Wanted::Address(address, Some(link))) => {
                write!(f, "address {address} on {link} in the {place}")
            }
            Ok(Wanted::Address(address, None)) => write!(f, "address {address} in the {place}"),
            Ok(Wanted::Route(dst)) => write!(f, "route to {dst} in the {place}"),
            Err(what) => f.write_str(what),
        }
    }
}

/// `500ms`, `5s`, `1m`.
fn duration(text: &str) -> Result<Duration, String> {
    let number = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let ms = match &text[number.len()..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => 0,
    };
    match number.parse::<u64>().ok().and_then(|it| it.checked_mul(ms)) {
        Some(total) if ms > 0 && total > 0 => Ok(Duration::from_millis(total)),
        _ => Err(format!("{text:?}: write a time such as \"500ms\", \"5s\" or \"1m\"")),
    }
}

wasmhook_sdk::export!(Wait);
wasmhook_sdk::settings_schema!("settings.schema.json");

#[cfg(test)]
mod tests;
