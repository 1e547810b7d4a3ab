use super::parse::{Place, duration};
use std::fmt;
use std::time::Duration;
use wasmhook_sdk::cni::Error;
use wasmhook_sdk::net::Cidr;

/// What a term does.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Nothing, and nothing behind it is tried.
    Off,
    /// The call fails.
    Error(Said),
    /// It waits, from so long to so long, and goes on.
    Delay(Duration, Duration),
    /// It says something in the log.
    Print(String),
    /// The plugin is not run, and the runtime hears that it has been.
    Lie,
    /// The result has this address in the place of the first of its kind.
    Address(Cidr),
    /// The result has no addresses.
    NoIps,
    /// The result does not have the container's interface.
    NoInterface,
    /// The container's interface is down.
    LinkDown,
    /// The call does not come to an end.
    Hang,
    /// It dies by this signal.
    Signal(u32, bool),
    /// It prints what is no JSON.
    Garbage(bool),
    /// It prints the first half of what it should.
    Truncated(bool),
    /// It prints nothing, and says that all is well.
    Empty(bool),
    /// As a plugin does that panics: nothing on stdout, exit code 2.
    Panic(String),
    /// The plugin has done its work, which stays, and the runtime hears that it has failed.
    DoneButFailed(Said),
}

/// An error as a script has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: u32,
    pub(crate) msg: String,
    pub(crate) details: Option<String>,
}

impl Said {
    /// As CNI has it.
    pub(crate) fn error(&self) -> Error {
        // An event that says nothing sends people looking.
        let msg = if self.msg.is_empty() { "injected fault" } else { &self.msg };
        let error = Error::new(self.code, msg);
        self.details.iter().fold(error, Error::with_details)
    }
}

/// What an error is called that has no code.
const UNTYPED: u32 = 999;

const SIGNALS: [(&str, u32); 13] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("SEGV", 11),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
];

/// Every name, for whoever has written another.
const NAMES: [&str; 20] = [
    "off",
    "error",
    "return",
    "delay",
    "sleep",
    "print",
    "yield",
    "lie",
    "address",
    "no-ips",
    "no-interface",
    "link-down",
    "hang",
    "pause",
    "signal",
    "garbage",
    "truncated",
    "empty",
    "panic",
    "done-but-failed",
];

impl Action {
    /// From its name and what stands in its parentheses.
    pub(super) fn read(name: &str, argument: Option<&str>) -> Result<Self, String> {
        let text = argument.unwrap_or_default();
        let action = match name {
            "off" | "yield" => Self::Off,
            "error" | "return" => return Ok(Self::Error(error(text))),
            "done-but-failed" => return Ok(Self::DoneButFailed(error(text))),
            "print" => return Ok(Self::Print(text.to_owned())),
            "panic" => return Ok(Self::Panic(text.to_owned())),
            "delay" | "sleep" => return delay(text),
            "address" => {
                let address =
                    text.parse().map_err(|_| format!("{text:?}: write an address such as 10.9.9.9/24"))?;
                return Ok(Self::Address(address));
            }
            "signal" => return signal(text),
            "garbage" => return Ok(Self::Garbage(keep(name, text)?)),
            "truncated" => return Ok(Self::Truncated(keep(name, text)?)),
            "empty" => return Ok(Self::Empty(keep(name, text)?)),
            "lie" => Self::Lie,
            "no-ips" => Self::NoIps,
            "no-interface" => Self::NoInterface,
            "link-down" => Self::LinkDown,
            "hang" | "pause" => Self::Hang,
            _ => return Err(unknown(name)),
        };
        match argument {
            None | Some("") => Ok(action),
            Some(text) => Err(format!("`{name}` takes nothing in parentheses, and {text:?} stands there")),
        }
    }

    /// Does it take more than a verdict?
    pub(crate) fn is_chaos(&self) -> bool {
        matches!(
            self,
            Self::LinkDown
                | Self::Hang
                | Self::Signal(..)
                | Self::Garbage(_)
                | Self::Truncated(_)
                | Self::Empty(_)
                | Self::Panic(_)
                | Self::DoneButFailed(_)
        )
    }

    /// Why it can do nothing where it stands.
    pub(super) fn misplaced(&self, place: Place<'_>) -> Option<&'static str> {
        let is_add = place.verb == "ADD";
        match self {
            Self::Address(_) | Self::NoIps | Self::NoInterface | Self::LinkDown | Self::DoneButFailed(_)
                if !is_add || !place.after =>
            {
                Some("is about what ADD has made: write it as `\"ADD\": { \"after\": … }`")
            }
            Self::Lie if place.after || !matches!(place.verb, "ADD" | "CHECK" | "STATUS") => {
                Some("takes the plugin's place: before ADD, CHECK or STATUS")
            }
            _ => None,
        }
    }
}

fn unknown(name: &str) -> String {
    let near = NAMES
        .iter()
        .map(|it| (strsim::damerau_levenshtein(it, name), it))
        .min()
        .filter(|(distance, _)| *distance <= 2);
    match near {
        Some((_, near)) => format!("{name:?} is no action; did you mean {near:?}?"),
        None => format!("{name:?} is no action; there are {}", NAMES.join(", ")),
    }
}

/// `oops`, `5:oops`, `5:oops:more of it`.
fn error(text: &str) -> Said {
    let said = |code, msg: &str, details: Option<&str>| Said {
        code,
        msg: msg.to_owned(),
        details: details.map(str::to_owned),
    };
    let coded = text.split_once(':').and_then(|(code, rest)| Some((code.trim().parse().ok()?, rest)));
    match coded.filter(|(code, _)| *code > 0) {
        None => said(UNTYPED, text, None),
        Some((code, rest)) => match rest.split_once(':') {
            Some((msg, details)) => said(code, msg, Some(details)),
            None => said(code, rest, None),
        },
    }
}

fn delay(text: &str) -> Result<Action, String> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let (from, to) = (duration(from.trim())?, duration(to.trim())?);
    if from > to {
        return Err(format!("{text:?}: from more to less"));
    }
    Ok(Action::Delay(from, to))
}

fn signal(text: &str) -> Result<Action, String> {
    let (name, rest) = text.split_once(',').unwrap_or((text, ""));
    let name = name.trim();
    let number = match name.parse::<u32>() {
        Ok(number) => SIGNALS.iter().find(|it| it.1 == number),
        Err(_) => SIGNALS.iter().find(|it| it.0 == name.strip_prefix("SIG").unwrap_or(name)),
    };
    let Some((_, number)) = number else {
        let names: Vec<_> = SIGNALS.iter().map(|it| it.0).collect();
        return Err(format!("{name:?} is no signal that ends a process; write one of {}", names.join(", ")));
    };
    Ok(Action::Signal(*number, keep("signal", rest.trim())?))
}

fn keep(name: &str, text: &str) -> Result<bool, String> {
    match text.trim() {
        "" => Ok(false),
        "keep" => Ok(true),
        other => Err(format!("`{name}` takes `keep` or nothing, and {other:?} stands there")),
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = |error: &Said| match &error.details {
            Some(details) => format!("{}:{}:{details}", error.code, error.msg),
            None if error.code == UNTYPED => error.msg.clone(),
            None => format!("{}:{}", error.code, error.msg),
        };
        let escaped = |text: &str| text.replace('\\', "\\\\").replace('(', "\\(").replace(')', "\\)");
        let kept = |name: &str, keep: bool| if keep { format!("{name}(keep)") } else { name.to_owned() };
        let text = match self {
            Self::Off => "off".to_owned(),
            Self::Error(error) => format!("error({})", escaped(&told(error))),
            Self::Delay(from, to) if from == to => format!("delay({}ms)", from.as_millis()),
            Self::Delay(from, to) => format!("delay({}ms-{}ms)", from.as_millis(), to.as_millis()),
            Self::Print(text) => format!("print({})", escaped(text)),
            Self::Lie => "lie".to_owned(),
            Self::Address(address) => format!("address({address})"),
            Self::NoIps => "no-ips".to_owned(),
            Self::NoInterface => "no-interface".to_owned(),
            Self::LinkDown => "link-down".to_owned(),
            Self::Hang => "hang".to_owned(),
            Self::Signal(number, keep) => {
                let name = SIGNALS.iter().find(|it| it.1 == *number).map_or("KILL", |it| it.0);
                format!("signal({name}{})", if *keep { ", keep" } else { "" })
            }
            Self::Garbage(keep) => kept("garbage", *keep),
            Self::Truncated(keep) => kept("truncated", *keep),
            Self::Empty(keep) => kept("empty", *keep),
            Self::Panic(text) => format!("panic({})", escaped(text)),
            Self::DoneButFailed(error) => format!("done-but-failed({})", escaped(&told(error))),
        };
        f.write_str(&text)
    }
}
