use crate::entry::HookSpec;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use wasmhook_host::{Failure, Grant, Visit, interface};
use wasmhook_wasm::{Admission, Door, Fault, Limits};

/// What a hook with these grants may import, judged before it runs and again at each call.
pub(crate) fn admits(grants: &[Grant], name: &str, function: &str) -> Admission {
    match interface(name) {
        Some(interface) if interface.has(function) => {
            let granted = interface.free || grants.iter().any(|grant| grant.interface() == name);
            if granted { Admission::Granted } else { Admission::NeedsGrant }
        }
        _ => Admission::Unknown,
    }
}

/// The one door for all host calls, whatever way a guest came in by. Here, and nowhere else, is decided whether a
/// call is performed.
#[derive(Debug)]
pub(crate) struct HostDoor {
    limits: Limits,
    spent: Spent,
    /// The first limit that was reached.
    reached: Option<Fault>,
    visit: Visit,
}

/// What a visit has had of the host.
#[derive(Debug, Default)]
struct Spent {
    calls: u64,
    bytes: u64,
    log_lines: u64,
    log_bytes: u64,
}

impl HostDoor {
    pub(crate) fn new(hook: &HookSpec, visit: Visit) -> Self {
        Self { limits: hook.limits, spent: Spent::default(), reached: None, visit }
    }

    /// What the visit leaves for the next phase.
    pub(crate) fn take_carry(&mut self) -> Option<String> {
        self.visit.carry.take()
    }

    /// How long other plugins were at work, which is not the hook's time.
    pub(crate) fn elsewhere(&self) -> Duration {
        self.visit.elsewhere
    }

    /// A guest that was refused something for good mostly just traps.
    pub(crate) fn explain(&mut self, fault: Fault) -> Fault {
        match (fault, self.reached.take()) {
            (Fault::Trap(_), Some(reached)) => reached,
            (fault, _) => fault,
        }
    }

    fn perform(&mut self, operation: &str, input: Value) -> Result<Value, Failure> {
        let (name, function) = operation.split_once('.').unwrap_or((operation, ""));
        // Admission was judged while linking, in a child that a guest may have taken over since.
        match admits(&self.visit.grants, name, function) {
            Admission::Granted => {}
            Admission::NeedsGrant => {
                return Err(Failure::new("denied", format!("`{operation}` needs the grant `{name}`")));
            }
            Admission::Unknown => {
                return Err(Failure::new("unknown", format!("no function `{operation}` here")));
            }
        }
        let interface = interface(name).ok_or_else(|| Failure::new("unknown", name))?;
        if let Some(scope) = interface.scope_of(&input)
            && !self.visit.grants.iter().any(|grant| grant.interface() == name && grant.reaches(scope))
        {
            let needs = format!("`{operation}` needs the grant `{name}:{scope}`");
            return Err(Failure::new("denied", needs));
        }
        self.pay(name, &input)?;
        let output = interface.call(function, &mut self.visit, input)?;
        self.spent.bytes = self.spent.bytes.saturating_add(size(&output));
        Ok(output)
    }

    /// Every call is counted, also one that will be refused by what it calls.
    fn pay(&mut self, interface: &str, input: &Value) -> Result<(), Failure> {
        let (spent, limits, bytes) = (&mut self.spent, &self.limits, size(input));
        spent.calls += 1;
        spent.bytes = spent.bytes.saturating_add(bytes);
        if interface == "log" {
            spent.log_lines += 1;
            spent.log_bytes = spent.log_bytes.saturating_add(bytes);
        }
        let reached = if spent.calls > limits.host_calls {
            Fault::limit("host call", limits.host_calls, "calls", "hostCalls")
        } else if spent.bytes > limits.host_bytes {
            Fault::bytes("host call", limits.host_bytes, "hostBytes")
        } else if spent.log_lines > limits.log_lines {
            Fault::limit("log", limits.log_lines, "lines", "logLines")
        } else if spent.log_bytes > limits.log_bytes {
            Fault::bytes("log", limits.log_bytes, "logBytes")
        } else {
            return Ok(());
        };
        let failure = Failure::new("budget", reached.to_string());
        self.reached.get_or_insert(reached);
        Err(failure)
    }
}

/// Bytes of text in it, and a few for everything else: what it costs, not what it would be in JSON.
fn size(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(items) => 8 + items.iter().map(size).sum::<u64>(),
        Value::Object(members) => {
            8 + members.iter().map(|(key, value)| key.len() as u64 + size(value)).sum::<u64>()
        }
        _ => 8,
    }
}

/// A door that stands open while a guest is in, and is looked at afterwards.
#[derive(Clone, Debug)]
pub(crate) struct SharedDoor(Arc<Mutex<HostDoor>>);

impl SharedDoor {
    pub(crate) fn new(door: HostDoor) -> Self {
        Self(Arc::new(Mutex::new(door)))
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut HostDoor) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Door for SharedDoor {
    fn call(&mut self, operation: &str, input: Value) -> Value {
        self.with(|door| door.call(operation, input))
    }
}

impl Door for HostDoor {
    fn call(&mut self, operation: &str, input: Value) -> Value {
        let before = self.visit.elsewhere;
        let mut reply = match self.perform(operation, input) {
            Ok(value) => json!({ "ok": value }),
            Err(failure) => json!({ "failure": failure }),
        };
        let elsewhere = self.visit.elsewhere.saturating_sub(before);
        if !elsewhere.is_zero() {
            reply["elsewhere"] = u64::try_from(elsewhere.as_millis()).unwrap_or(u64::MAX).into();
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;
    use wasmhook_host::{Clock, Most, Reach, SharedEnding};
    use wasmhook_net_types::Model;
    use wasmhook_store::State;

    fn door(grants: &[&str]) -> HostDoor {
        let grants: Vec<_> = grants.iter().map(|grant| Grant::parse(grant).unwrap()).collect();
        let visit = Visit {
            hook: "h".into(),
            phase: "pre",
            verb: "ADD",
            container_id: "c".into(),
            pod: "p".into(),
            network: "n".into(),
            ifname: "eth0".into(),
            plugin: String::new(),
            clock: Clock::default(),
            deadline: Instant::now() + Duration::from_secs(1),
            carry: None,
            node_seed: 0,
            random: None,
            metrics: None,
            state: Arc::new(Mutex::new(State::in_memory(1 << 10))),
            attachment: None,
            trail: None,
            grants: grants.into(),
            reach: Arc::new(Mutex::new(Reach::model(Model::new()))),
            plugins: None,
            config: "{}".into(),
            args: Vec::new(),
            most: Most { links: 64, leases: 64 },
            ending: SharedEnding::default(),
            elsewhere: Duration::ZERO,
        };
        let limits = Limits { host_calls: 4, log_lines: 2, log_bytes: 100, ..Limits::default() };
        HostDoor { limits, spent: Spent::default(), reached: None, visit }
    }

    #[test]
    fn every_call_is_checked_again_at_the_door() {
        let set = json!({ "json": "1" });
        let reply = door(&[]).call("carry.set", set.clone());
        assert_eq!(reply["failure"]["code"], "denied");
        let mut granted = door(&["carry"]);
        assert_eq!(granted.call("carry.set", set), json!({ "ok": null }));
        assert_eq!(granted.take_carry().as_deref(), Some("1"));
    }

    #[test]
    fn a_scope_that_is_not_granted_is_denied_and_named() {
        let get = |scope: &str| json!({ "scope": scope, "key": "k" });
        let mut door = door(&["state:node"]);
        assert_eq!(door.call("state.get", get("node")), json!({ "ok": null }));
        let refused = door.call("state.get", get("network"));
        assert_eq!(refused["failure"]["message"], "`state.get` needs the grant `state:network`");
        assert_eq!(door.call("state.get", json!({ "key": "k" }))["failure"]["code"], "denied");
    }

    #[test]
    fn unknown_operations_are_failures() {
        for operation in ["", "carry", "carry.", "carry.get", "link.make"] {
            assert_eq!(door(&["carry"]).call(operation, Value::Null)["failure"]["code"], "unknown");
        }
    }

    #[test]
    fn what_is_over_a_limit_is_refused_and_the_limit_is_named() {
        let mut door = door(&["clock"]);
        for _ in 0..4 {
            assert!(door.call("clock.now-ns", Value::Null).get("ok").is_some());
        }
        let refused = door.call("clock.now-ns", Value::Null);
        assert_eq!(refused["failure"]["code"], "budget");
        let limit = "host call limit of 4 calls reached (raise `limits.hostCalls`)";
        assert_eq!(refused["failure"]["message"], limit);
        assert_eq!(door.explain(Fault::Trap("x".into())).to_string(), limit);
    }

    #[test]
    fn a_log_ends_with_its_lines_and_its_bytes() {
        let line = |text: &str| json!({ "level": "trace", "message": text, "fields": [] });
        let mut door_of_lines = door(&[]);
        assert!(door_of_lines.call("log.write", line("a")).get("ok").is_some());
        assert!(door_of_lines.call("log.write", line("b")).get("ok").is_some());
        let refused = door_of_lines.call("log.write", line("c"));
        assert_eq!(refused["failure"]["message"], "log limit of 2 lines reached (raise `limits.logLines`)");
        let refused = door(&[]).call("log.write", line(&"x".repeat(100)));
        assert_eq!(refused["failure"]["message"], "log limit of 100B reached (raise `limits.logBytes`)");
    }
}
