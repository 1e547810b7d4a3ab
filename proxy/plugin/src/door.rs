use serde_json::{Value, json};
use wasmhook_host::{Failure, Grant, Visit, interface};
use wasmhook_wasm::{Admission, Door};

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
    grants: Vec<Grant>,
    visit: Visit,
}

impl HostDoor {
    pub(crate) fn new(grants: &[Grant], visit: Visit) -> Self {
        Self { grants: grants.to_vec(), visit }
    }

    /// What the visit left behind.
    pub(crate) fn into_visit(self) -> Visit {
        self.visit
    }

    fn perform(&mut self, operation: &str, input: Value) -> Result<Value, Failure> {
        let (name, function) = operation.split_once('.').unwrap_or((operation, ""));
        // Admission was judged while linking, in a child that a guest may have taken over since.
        match admits(&self.grants, name, function) {
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
            && !self.grants.iter().any(|grant| grant.interface() == name && grant.reaches(scope))
        {
            let needs = format!("`{operation}` needs the grant `{name}:{scope}`");
            return Err(Failure::new("denied", needs));
        }
        interface.call(function, &mut self.visit, input)
    }
}

impl Door for HostDoor {
    fn call(&mut self, operation: &str, input: Value) -> Value {
        match self.perform(operation, input) {
            Ok(value) => json!({ "ok": value }),
            Err(failure) => json!({ "failure": failure }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn door(grants: &[&str]) -> HostDoor {
        let grants: Vec<_> = grants.iter().map(|grant| Grant::parse(grant).unwrap()).collect();
        let visit = Visit {
            hook: "h".into(),
            phase: "pre",
            verb: "ADD",
            container_id: "c".into(),
            deadline: Instant::now() + Duration::from_secs(1),
            carry: None,
        };
        HostDoor::new(&grants, visit)
    }

    #[test]
    fn every_call_is_checked_again_at_the_door() {
        let set = json!({ "json": "1" });
        let reply = door(&[]).call("carry.set", set.clone());
        assert_eq!(reply["failure"]["code"], "denied");
        let mut granted = door(&["carry"]);
        assert_eq!(granted.call("carry.set", set), json!({ "ok": null }));
        assert_eq!(granted.into_visit().carry.as_deref(), Some("1"));
    }

    #[test]
    fn unknown_operations_are_failures() {
        for operation in ["", "carry", "carry.", "carry.get", "link.create"] {
            assert_eq!(door(&["carry"]).call(operation, Value::Null)["failure"]["code"], "unknown");
        }
    }
}
