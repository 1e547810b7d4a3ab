//! One rule: whom it is about, and what it wants.

use crate::asked::{Asked, HostPort};
use serde::Deserialize;
use std::fmt;
use std::net::IpAddr;
use wasmhook_sdk::net::Cidr;
use wasmhook_sdk::{Failure, Result};
use wildmatch::WildMatch;

/// As an operator writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Rule {
    pub(crate) name: String,
    #[serde(default)]
    pod_namespaces: Patterns,
    #[serde(default)]
    pods: Patterns,
    #[serde(default)]
    networks: Patterns,
    #[serde(default)]
    ifnames: Patterns,
    /// Nobody that it is about is let in, and this is why.
    deny: Option<String>,
    ips: Option<Lists<Network>>,
    host_ports: Option<Lists<Ports>>,
    macs: Option<Lists<Pattern>>,
    plugins: Option<Lists<Pattern>>,
    capabilities: Option<Lists<Pattern>>,
    mtu: Option<Mtu>,
}

/// Patterns of which one must fit; one that begins with `!` must not. None: everything fits.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct Patterns(Vec<String>);

/// What is allowed, if only that is, and what is not in any case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lists<T> {
    allow: Option<Vec<T>>,
    #[serde(default = "Vec::new")]
    deny: Vec<T>,
}

/// `*` stands for any characters, `?` for one. Case does not matter.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Pattern(String);

/// `10.1.2.0/24`, or one address.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Network(Cidr);

/// `80`, `30000-32767`, `53/udp`.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Ports {
    from: u16,
    to: u16,
    protocol: Option<String>,
}

/// Bytes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mtu {
    min: Option<u32>,
    max: Option<u32>,
}

impl Rule {
    /// Is it about this pod? `Err`: that depends on who it is, and nobody says.
    pub(crate) fn is_about(&self, asked: &Asked) -> Result<bool, ()> {
        if !self.networks.fit(&asked.network) || !self.ifnames.fit(&asked.ifname) {
            return Ok(false);
        }
        let fits = |patterns: &Patterns, known: Option<&str>| match known {
            _ if patterns.0.is_empty() => Ok(true),
            Some(known) => Ok(patterns.fit(known)),
            None => Err(()),
        };
        Ok(fits(&self.pod_namespaces, asked.namespace.as_deref())? && fits(&self.pods, asked.pod.as_deref())?)
    }

    /// Why what is asked for is refused, if it is.
    pub(crate) fn refusal(&self, asked: &Asked) -> Option<String> {
        if let Some(why) = &self.deny {
            return Some(why.clone());
        }
        let address =
            |ip: &IpAddr| refused(self.ips.as_ref(), "address", ip, |it: &Network| it.0.contains(*ip));
        let port =
            |port: &HostPort| refused(self.host_ports.as_ref(), "host port", port, |it: &Ports| it.has(port));
        let text = |lists: &Option<Lists<Pattern>>, what: &str, text: &String| {
            refused(lists.as_ref(), what, text, |it: &Pattern| it.fits(text))
        };
        asked
            .addresses
            .iter()
            .find_map(address)
            .or_else(|| asked.host_ports.iter().find_map(port))
            .or_else(|| asked.macs.iter().find_map(|it| text(&self.macs, "MAC", it)))
            .or_else(|| asked.plugins.iter().find_map(|it| text(&self.plugins, "plugin", it)))
            .or_else(|| asked.capabilities.iter().find_map(|it| text(&self.capabilities, "capability", it)))
            .or_else(|| asked.mtus.iter().find_map(|it| self.mtu.as_ref()?.refused(*it)))
    }

    /// One that refuses nothing is a mistake: somebody believes to be guarded by it.
    pub(crate) fn judge(&self, at: &str) -> Result<()> {
        let wants_something = self.deny.is_some()
            || self.ips.is_some()
            || self.host_ports.is_some()
            || self.macs.is_some()
            || self.plugins.is_some()
            || self.capabilities.is_some()
            || self.mtu.is_some();
        if self.name.is_empty() {
            return Err(Failure::new(format!("`{at}.name` is empty: it stands in every refusal")));
        }
        if !wants_something {
            return Err(Failure::new(format!(
                "`{at}` ({:?}) refuses nothing; write one of deny, ips, hostPorts, macs, plugins, capabilities, mtu",
                self.name
            )));
        }
        for (what, says_nothing) in [
            ("ips", self.ips.as_ref().is_some_and(Lists::say_nothing)),
            ("hostPorts", self.host_ports.as_ref().is_some_and(Lists::say_nothing)),
            ("macs", self.macs.as_ref().is_some_and(Lists::say_nothing)),
            ("plugins", self.plugins.as_ref().is_some_and(Lists::say_nothing)),
            ("capabilities", self.capabilities.as_ref().is_some_and(Lists::say_nothing)),
        ] {
            if says_nothing {
                return Err(Failure::new(format!(
                    "`{at}.{what}`: it refuses nothing; write `allow` or `deny`"
                )));
            }
        }
        match &self.mtu {
            Some(Mtu { min: None, max: None }) => {
                Err(Failure::new(format!("`{at}.mtu`: it refuses nothing; write `min` or `max`, in bytes")))
            }
            Some(Mtu { min: Some(min), max: Some(max) }) if min > max => {
                Err(Failure::new(format!("`{at}.mtu`: `min` {min} is more than `max` {max}")))
            }
            _ => Ok(()),
        }
    }
}

fn refused<T: fmt::Display>(
    lists: Option<&Lists<T>>,
    what: &str,
    value: &dyn fmt::Display,
    is_in: impl Fn(&T) -> bool,
) -> Option<String> {
    let Lists { allow, deny } = lists?;
    if let Some(denied) = deny.iter().find(|it| is_in(it)) {
        return Some(format!("{what} {value} is not allowed ({denied})"));
    }
    let allowed = allow.as_ref().filter(|it| !it.iter().any(is_in))?;
    let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
    let allowed = if allowed.is_empty() {
        "none is allowed".into()
    } else {
        format!("it is not in {}", allowed.join(", "))
    };
    Some(format!("{what} {value}: {allowed}"))
}

impl<T> Lists<T> {
    fn say_nothing(&self) -> bool {
        self.allow.is_none() && self.deny.is_empty()
    }
}

impl Patterns {
    fn fit(&self, text: &str) -> bool {
        let fits = |pattern: &str| WildMatch::new(pattern).matches(text);
        let unwanted = |it: &String| it.strip_prefix('!').is_some_and(fits);
        let wanted: Vec<_> = self.0.iter().filter(|it| !it.starts_with('!')).collect();
        (wanted.is_empty() || wanted.iter().any(|it| fits(it))) && !self.0.iter().any(unwanted)
    }
}

impl Pattern {
    fn fits(&self, text: &str) -> bool {
        WildMatch::new(&self.0.to_ascii_lowercase()).matches(&text.to_ascii_lowercase())
    }
}

impl Ports {
    fn has(&self, port: &HostPort) -> bool {
        (self.from..=self.to).contains(&port.port)
            && self.protocol.as_ref().is_none_or(|it| *it == port.protocol)
    }
}

impl Mtu {
    fn refused(&self, mtu: u32) -> Option<String> {
        let (less, more) = (self.min.filter(|min| mtu < *min), self.max.filter(|max| mtu > *max));
        less.map(|min| format!("MTU {mtu} is less than {min}"))
            .or_else(|| more.map(|max| format!("MTU {mtu} is more than {max}")))
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let one = || text.parse().ok().map(Cidr::host);
        let network = text.parse().ok().or_else(one);
        network
            .map(Self)
            .ok_or_else(|| format!("{text:?}: write a network such as 10.1.2.0/24, or an address"))
    }
}

impl TryFrom<String> for Ports {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text:?}: write ports such as \"80\", \"30000-32767\" or \"53/udp\"");
        let (range, protocol) = text.split_once('/').map_or((&*text, None), |(range, it)| (range, Some(it)));
        let (from, to) = range.split_once('-').unwrap_or((range, range));
        let (Ok(from), Ok(to)) = (from.parse(), to.parse()) else { return Err(wrong()) };
        let protocol = protocol.map(str::to_ascii_lowercase);
        let known = protocol.as_deref().is_none_or(|it| matches!(it, "tcp" | "udp" | "sctp"));
        if from > to || !known { Err(wrong()) } else { Ok(Self { from, to, protocol }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.from)?;
        if self.to > self.from {
            write!(f, "-{}", self.to)?;
        }
        self.protocol.iter().try_for_each(|it| write!(f, "/{it}"))
    }
}
