//! What stands behind the door: one file per interface of the contract (`sdk/wit/deps/host`).
//!
//! For: doing what a hook asks, for one visit of one hook ([`Visit`]). Not for deciding whether it may: grants and
//! budgets are checked at the door, before a function here is called.
//!
//! A new host function is its line in the WIT, one function in its interface's file, one row in that file's table.

mod carry;
#[allow(clippy::unnecessary_wraps, reason = "one shape for all functions in the tables")]
mod clock;
mod failure;
mod grant;
mod log;
mod metrics;
#[allow(clippy::unnecessary_wraps, reason = "one shape for all functions in the tables")]
mod random;
mod state;

pub use clock::Clock;
pub use failure::Failure;
pub use grant::{ANY, Grant, Scopes};
pub use random::Generator;
pub use state::{Memory, Trail};

use serde::Deserialize as _;
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};

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
    /// What hooks remember.
    pub memory: Memory,
}

impl Visit {
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(self.clock.now())
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
pub const INTERFACES: [&Interface; 6] = [
    &log::INTERFACE,
    &carry::INTERFACE,
    &clock::INTERFACE,
    &random::INTERFACE,
    &metrics::INTERFACE,
    &state::INTERFACE,
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
    use std::sync::{Arc, Mutex};
    use wasmhook_store::{Key, State};

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
            memory: Memory {
                state: Arc::new(Mutex::new(State::in_memory(1 << 20))),
                attachment: Some(Key {
                    network: "n".into(),
                    container_id: "c1".into(),
                    ifname: "eth0".into(),
                    entry: "main".into(),
                }),
                trail: None,
            },
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
