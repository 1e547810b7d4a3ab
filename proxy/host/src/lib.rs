//! What stands behind the door: one file per interface of the contract (`sdk/wit/deps/host`).
//!
//! For: doing what a hook asks, for one visit of one hook ([`Visit`]). Not for deciding whether it may: grants and
//! budgets are checked at the door, before a function here is called.
//!
//! A new host function is its line in the WIT, one function in its interface's file, one row in that file's table.

mod addressing;
mod carry;
#[allow(clippy::unnecessary_wraps, reason = "one shape for all functions in the tables")]
mod chaos;
#[allow(clippy::unnecessary_wraps, reason = "one shape for all functions in the tables")]
mod clock;
mod failure;
mod file;
mod grant;
mod ipam;
mod link;
mod log;
mod metrics;
mod nft;
mod plugin;
#[allow(clippy::unnecessary_wraps, reason = "one shape for all functions in the tables")]
mod random;
mod reach;
mod state;
mod sysctl;
mod tap;
mod trail;
mod undo;

pub use chaos::{End, Ending, SharedEnding};
pub use clock::Clock;
pub use failure::Failure;
pub use grant::{ANY, Grant, Scopes};
pub use plugin::{Plugins, Ran};
pub use random::Generator;
pub use reach::Reach;
pub use trail::{Ended, Trail};
pub use undo::Undo;

use reach::only_at_add;

use serde::Deserialize as _;
use serde_json::Value;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use wasmhook_store::{Key, State};

/// One hook, one phase, one plugin call: what host calls act on.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The hook's name, for the log.
    pub hook: String,
    /// `pre` or `post`, for the log.
    pub phase: &'static str,
    /// `CNI_COMMAND`, for the log.
    pub verb: &'static str,
    /// `CNI_CONTAINERID`, for the log.
    pub container_id: String,
    /// `K8S_POD_UID`, or the container id where nobody says it.
    pub pod: String,
    /// The network's name.
    pub network: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// The delegate's type.
    pub plugin: String,
    /// What time it is.
    pub clock: Clock,
    /// When the hook's wall time is over, by that clock.
    pub deadline: Instant,
    /// What `pre` leaves for `post`, as JSON.
    pub carry: Option<String>,
    /// The node's part of what random numbers begin with.
    pub node_seed: u64,
    /// They have begun, if any was drawn.
    pub random: Option<Generator>,
    /// The directory of counters, if anybody reads them.
    pub metrics: Option<PathBuf>,
    /// What hooks remember. Shared by all visits of a call: it is opened once.
    pub state: Arc<Mutex<State>>,
    /// What the call is about; `None` at GC and STATUS, which are about no attachment.
    pub attachment: Option<Key>,
    /// Where effects are written down; `None`: they are gone with the call.
    pub trail: Option<Arc<Mutex<dyn Trail>>>,
    /// What the hook may use.
    pub grants: Arc<[Grant]>,
    /// The networks of the call.
    pub reach: Arc<Mutex<Reach>>,
    /// The other plugins of the node; `None`: none is run.
    pub plugins: Option<Arc<Mutex<dyn Plugins>>>,
    /// What the plugin is told, or would be: JSON.
    pub config: String,
    /// `CNI_ARGS`.
    pub args: Vec<(String, String)>,
    /// How much an attachment may have.
    pub most: Most,
    /// How the call ends, if not as it should.
    pub ending: SharedEnding,
    /// Time that was spent on other plugins, which is not the hook's.
    pub elsewhere: Duration,
}

/// How much an attachment may have of what hooks make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Links, taps among them.
    pub links: u64,
    /// Addresses from pools, and plugins that were run.
    pub leases: u64,
}

impl Visit {
    fn left(&self) -> Duration {
        (self.deadline + self.elsewhere).saturating_duration_since(self.clock.now())
    }

    /// Until when a host call may wait for other processes, by the real clock.
    fn patience(&self) -> Instant {
        Instant::now() + self.left()
    }
}

/// A host function: parameters by name in, the value that is `ok` out.
type Function = fn(&mut Visit, Value) -> Result<Value, Failure>;

/// An interface of the package `wasmhook:host`.
#[derive(Debug)]
pub struct Interface {
    /// Its name, which is the grant's as well.
    pub name: &'static str,
    /// May every hook use it?
    pub free: bool,
    /// What a grant of it may be narrowed to.
    pub scopes: Scopes,
    /// Which of the scopes a call is about; `None` where there are none.
    scope_of: fn(&Value) -> Option<&str>,
    functions: &'static [(&'static str, Function)],
}

/// Everything there is behind the door.
pub const INTERFACES: [&Interface; 14] = [
    &log::INTERFACE,
    &carry::INTERFACE,
    &clock::INTERFACE,
    &random::INTERFACE,
    &metrics::INTERFACE,
    &state::INTERFACE,
    &link::INTERFACE,
    &tap::INTERFACE,
    &sysctl::INTERFACE,
    &nft::INTERFACE,
    &ipam::INTERFACE,
    &plugin::INTERFACE,
    &file::INTERFACE,
    &chaos::INTERFACE,
];

/// The interface of this name.
#[must_use]
pub fn interface(name: &str) -> Option<&'static Interface> {
    INTERFACES.into_iter().find(|interface| interface.name == name)
}

impl Interface {
    /// Is there such a function?
    #[must_use]
    pub fn has(&self, function: &str) -> bool {
        self.find(function).is_some()
    }

    /// Which scope a call with this input is about.
    #[must_use]
    pub fn scope_of<'i>(&self, input: &'i Value) -> Option<&'i str> {
        (self.scope_of)(input)
    }

    /// Does what was asked.
    pub fn call(&self, function: &str, visit: &mut Visit, input: Value) -> Result<Value, Failure> {
        match self.find(function) {
            Some(call) => call(visit, input),
            None => Err(Failure::new("unknown", format!("no function `{}.{function}` here", self.name))),
        }
    }

    fn find(&self, function: &str) -> Option<Function> {
        self.functions.iter().find(|(name, _)| *name == function).map(|(_, call)| *call)
    }
}

/// For interfaces that are granted whole.
fn no_scope(_: &Value) -> Option<&str> {
    None
}

/// For interfaces that are granted by place.
const PLACES: Scopes = Scopes::Named(&["container", "host", ANY]);

#[allow(clippy::unnecessary_wraps, reason = "one shape for all interfaces")]
fn scope_of_place(input: &Value) -> Option<&str> {
    // Any other value is refused when it is read; it must not be taken for one without a place before.
    Some(input.get("ns").and_then(Value::as_str).unwrap_or_default())
}

/// Reads JSON that came as text. A key that is unknown is most likely one that is written wrong.
fn json<T: serde::de::DeserializeOwned>(what: &str, text: &str) -> Result<T, Failure> {
    let invalid = |error: &dyn std::fmt::Display| Failure::new("invalid", format!("`{what}`: {error}"));
    let (mut from, mut unknown) = (serde_json::Deserializer::from_str(text), None);
    let read = serde_ignored::deserialize(&mut from, |path| {
        unknown.get_or_insert_with(|| path.to_string());
    });
    let read = read.and_then(|read| from.end().map(|()| read)).map_err(|error| invalid(&error))?;
    match unknown {
        None => Ok(read),
        Some(key) => Err(invalid(&format!("unknown key `{key}`"))),
    }
}

/// Reads a function's parameters.
fn parameters<T: serde::de::DeserializeOwned>(input: Value) -> Result<T, Failure> {
    serde_json::from_value(input).map_err(|error| Failure::new("invalid", error.to_string()))
}

/// An integer of 64 bits travels as text: JSON's numbers have fewer.
fn decimal<'de, T: std::str::FromStr<Err: std::fmt::Display>, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmhook_net_types::Model;

    pub(crate) fn visit() -> Visit {
        Visit {
            hook: "h".into(),
            phase: "pre",
            verb: "ADD",
            container_id: "c1".into(),
            pod: "p1".into(),
            network: "n".into(),
            ifname: "eth0".into(),
            plugin: "bridge".into(),
            clock: Clock::default(),
            deadline: Instant::now() + Duration::from_secs(5),
            carry: None,
            node_seed: 0,
            random: None,
            metrics: None,
            state: Arc::new(Mutex::new(State::in_memory(1 << 20))),
            attachment: Some(Key {
                network: "n".into(),
                container_id: "c1".into(),
                ifname: "eth0".into(),
                entry: "main".into(),
            }),
            trail: None,
            grants: [].into(),
            reach: Arc::new(Mutex::new(Reach::model(Model::new()))),
            plugins: None,
            config: "{}".into(),
            args: Vec::new(),
            most: Most { links: 64, leases: 64 },
            ending: SharedEnding::default(),
            elsewhere: Duration::ZERO,
        }
    }

    #[test]
    fn the_contract_and_the_tables_hold_the_same_functions() {
        let wit = include_str!("../../../sdk/wit/deps/host/host.wit");
        let mut contract = Vec::new();
        let mut interface = "";
        for line in wit.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("interface ") {
                interface = rest.split([' ', '{']).next().unwrap();
            }
            if let Some((function, _)) = line.split_once(": func(") {
                contract.push(format!("{interface}.{function}"));
            }
        }
        let table =
            INTERFACES.iter().flat_map(|it| it.functions.iter().map(|(f, _)| format!("{}.{f}", it.name)));
        assert_eq!(contract, table.collect::<Vec<_>>());
    }

    #[test]
    fn parameters_of_the_wrong_type_are_a_failure() {
        let input = serde_json::json!({ "json": 7 });
        let failure = interface("carry").unwrap().call("set", &mut visit(), input).unwrap_err();
        assert_eq!(failure.code, "invalid");
    }
}
