use crate::{Failure, Interface, Scopes, Trail, Visit, decimal, parameters};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::sync::{MutexGuard, PoisonError};
use wasmhook_store::{Key, Shelf, Space};

pub(crate) const INTERFACE: Interface = Interface {
    name: "state",
    free: false,
    scopes: Scopes::Named(&["attachment", "network", "node"]),
    scope_of,
    functions: &[("get", get), ("set", set), ("remove", remove), ("cas", cas), ("add", add), ("keys", keys)],
};

const LONGEST_KEY: usize = 256;
const LONGEST_VALUE: usize = 64 << 10;

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Scope {
    Attachment,
    Network,
    Node,
}

#[allow(clippy::unnecessary_wraps, reason = "one shape for all interfaces")]
fn scope_of(input: &Value) -> Option<&str> {
    // Any other value is refused when it is read; it must not be taken for one without a scope before.
    Some(input.get("scope").and_then(Value::as_str).unwrap_or_default())
}

#[derive(Deserialize)]
struct Named {
    scope: Scope,
    key: String,
}

fn get(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let Named { scope, key } = parameters(input)?;
    judge(&key, None)?;
    if visit.has_nothing(scope)? {
        return Ok(Value::Null);
    }
    visit.shelf(scope, |shelf| Ok(shelf.get(&key)?.map(|value| BASE64.encode(value)).into()))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Set {
    scope: Scope,
    key: String,
    value: Bytes,
    ttl_s: u32,
}

fn set(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let Set { scope, key, value: Bytes(value), ttl_s } = parameters(input)?;
    judge(&key, Some(&value))?;
    visit.announce(scope)?;
    visit.shelf(scope, |shelf| Ok(shelf.set(&key, &value, ttl_s).map(|()| Value::Null)?))
}

fn remove(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let Named { scope, key } = parameters(input)?;
    judge(&key, None)?;
    if visit.has_nothing(scope)? {
        return Ok(false.into());
    }
    visit.shelf(scope, |shelf| Ok(shelf.remove(&key)?.into()))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cas {
    scope: Scope,
    key: String,
    old: Option<Bytes>,
    new: Option<Bytes>,
    ttl_s: u32,
}

fn cas(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let Cas { scope, key, old, new, ttl_s } = parameters(input)?;
    let (old, new) = (old.as_ref().map(|it| &*it.0), new.as_ref().map(|it| &*it.0));
    judge(&key, new)?;
    visit.announce(scope)?;
    visit.shelf(scope, |shelf| Ok(shelf.swap(&key, old, new, ttl_s)?.into()))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Add {
    scope: Scope,
    key: String,
    #[serde(deserialize_with = "decimal")]
    delta: i64,
    ttl_s: u32,
}

fn add(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let Add { scope, key, delta, ttl_s } = parameters(input)?;
    judge(&key, None)?;
    visit.announce(scope)?;
    visit.shelf(scope, |shelf| Ok(shelf.add(&key, delta, ttl_s)?.to_string().into()))
}

#[derive(Deserialize)]
struct Keys {
    scope: Scope,
    prefix: String,
}

fn keys(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let Keys { scope, prefix } = parameters(input)?;
    if visit.has_nothing(scope)? {
        return Ok(Value::Array(Vec::new()));
    }
    visit.shelf(scope, |shelf| Ok(shelf.keys(&prefix)?.into()))
}

impl Visit {
    /// An attachment's state is written down before there is any, so that it is found by whoever takes it away.
    fn announce(&self, scope: Scope) -> Result<(), Failure> {
        match self.trail_of(scope)? {
            Some(mut trail) => trail.begin_state(self.patience()),
            None => Ok(()),
        }
    }

    /// Is it known without looking that there is nothing? What an ADD that was killed has left does not count.
    fn has_nothing(&self, scope: Scope) -> Result<bool, Failure> {
        Ok(self.trail_of(scope)?.is_some_and(|trail| !trail.has_state()))
    }

    /// For what belongs to the attachment.
    fn trail_of(&self, scope: Scope) -> Result<Option<MutexGuard<'_, dyn Trail + 'static>>, Failure> {
        if scope != Scope::Attachment {
            return Ok(None);
        }
        self.remembered()?;
        Ok(self.trail.as_ref().map(|it| it.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn shelf(
        &self,
        scope: Scope,
        act: impl FnOnce(&mut Shelf<'_>) -> Result<Value, Failure>,
    ) -> Result<Value, Failure> {
        let space = match scope {
            Scope::Attachment => Space::attachment(&self.hook, self.remembered()?),
            Scope::Network => Space::network(&self.hook, &self.network),
            Scope::Node => Space::node(&self.hook),
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut state.shelf(space, self.patience())?)
    }

    fn remembered(&self) -> Result<&Key, Failure> {
        let none =
            || Failure::new("invalid", format!("{} is about no attachment: no such scope here", self.verb));
        self.attachment.as_ref().ok_or_else(none)
    }
}

fn judge(key: &str, value: Option<&[u8]>) -> Result<(), Failure> {
    let size = value.map_or(0, <[u8]>::len);
    if key.is_empty() {
        return Err(Failure::new("invalid", "a key of no bytes"));
    }
    if key.len() > LONGEST_KEY {
        let message = format!("a key of {} bytes, and {LONGEST_KEY} are allowed", key.len());
        return Err(Failure::new("budget", message));
    }
    if size > LONGEST_VALUE {
        let message = format!("a value of {size} bytes at {key:?}, and {LONGEST_VALUE} are allowed");
        return Err(Failure::new("budget", message));
    }
    Ok(())
}

/// base64; a list of no numbers is as good.
#[derive(Debug)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            List(Vec<u8>),
        }
        match Written::deserialize(from)? {
            Written::Text(text) => BASE64.decode(text).map(Self).map_err(serde::de::Error::custom),
            Written::List(bytes) => Ok(Self(bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::visit;
    use crate::{Ended, Undo};
    use serde_json::json;
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    fn ask(visit: &mut Visit, function: &str, mut input: Value) -> Result<Value, Failure> {
        let defaults = json!({ "scope": "node", "key": "k", "ttl-s": 0 });
        for (key, value) in defaults.as_object().unwrap() {
            let given = input.as_object_mut().unwrap();
            given.entry(key).or_insert(value.clone());
        }
        INTERFACE.call(function, visit, input)
    }

    #[test]
    fn values_come_back_as_they_went() {
        let visit = &mut visit();
        assert_eq!(ask(visit, "get", json!({})), Ok(Value::Null));
        assert_eq!(ask(visit, "set", json!({ "value": "AAH/" })), Ok(Value::Null));
        assert_eq!(ask(visit, "get", json!({})), Ok(json!("AAH/")));
        assert_eq!(ask(visit, "set", json!({ "value": [] })), Ok(Value::Null));
        assert_eq!(ask(visit, "get", json!({})), Ok(json!("")));
        assert_eq!(ask(visit, "cas", json!({ "old": "", "new": "AA==" })), Ok(json!(true)));
        assert_eq!(ask(visit, "cas", json!({ "old": null, "new": null })), Ok(json!(false)));
        assert_eq!(ask(visit, "remove", json!({})), Ok(json!(true)));
        assert_eq!(ask(visit, "add", json!({ "delta": "-3" })), Ok(json!("-3")));
        assert_eq!(ask(visit, "keys", json!({ "prefix": "" })), Ok(json!(["k"])));
    }

    #[test]
    fn what_is_too_much_or_no_number_is_a_failure_with_a_name() {
        let visit = &mut visit();
        let mut code = |function: &str, input: Value| ask(visit, function, input).unwrap_err().code;
        assert_eq!(code("get", json!({ "key": "x".repeat(257) })), "budget");
        assert_eq!(code("get", json!({ "key": "" })), "invalid");
        assert_eq!(code("set", json!({ "value": BASE64.encode(vec![0; (64 << 10) + 1]) })), "budget");
        assert_eq!(code("set", json!({ "value": "?" })), "invalid");
        assert_eq!(code("get", json!({ "scope": "pod" })), "invalid");
        assert_eq!(code("add", json!({ "delta": 7 })), "invalid");
        assert_eq!(code("add", json!({ "delta": "9223372036854775808" })), "invalid");
    }

    #[derive(Debug, Default)]
    struct Told(usize);

    impl Trail for Told {
        fn has_state(&self) -> bool {
            self.0 > 0
        }

        fn begin_state(&mut self, _: Instant) -> Result<(), Failure> {
            self.0 += 1;
            Ok(())
        }

        fn begin_effect(&mut self, _: &Undo, _: Instant) -> Result<usize, Failure> {
            unreachable!("nothing is done here")
        }

        fn amend_effect(&mut self, _: &Undo) -> Result<(), Failure> {
            unreachable!("nothing is done here")
        }

        fn end_effect(&mut self, _: usize, _: Ended) {}

        fn held(&self, _: fn(&Undo) -> bool) -> u64 {
            0
        }
    }

    #[test]
    fn an_attachments_state_is_announced_before_there_is_any() {
        let (visit, told) = (&mut visit(), Arc::new(Mutex::new(Told::default())));
        visit.trail = Some(told.clone());
        ask(visit, "add", json!({ "delta": "1" })).unwrap();
        ask(visit, "get", json!({ "scope": "attachment" })).unwrap();
        ask(visit, "remove", json!({ "scope": "attachment" })).unwrap();
        assert_eq!(told.lock().unwrap().0, 0);
        ask(visit, "add", json!({ "scope": "attachment", "delta": "1" })).unwrap();
        ask(visit, "set", json!({ "scope": "attachment", "value": "" })).unwrap();
        ask(visit, "cas", json!({ "scope": "attachment", "old": "", "new": null })).unwrap();
        assert_eq!(told.lock().unwrap().0, 3);
    }

    #[test]
    fn what_an_attachment_cannot_have_is_not_looked_for() {
        let (visit, told) = (&mut visit(), Arc::new(Mutex::new(Told::default())));
        visit.trail = Some(told.clone());
        // Of an ADD that was killed.
        ask(visit, "set", json!({ "scope": "attachment", "value": "" })).unwrap();
        told.lock().unwrap().0 = 0;
        let mut asked =
            |function: &str| ask(visit, function, json!({ "scope": "attachment", "prefix": "" })).unwrap();
        assert_eq!((asked("get"), asked("remove"), asked("keys")), (Value::Null, json!(false), json!([])));
        told.lock().unwrap().0 = 1;
        assert_eq!((asked("get"), asked("keys")), (json!(""), json!(["k"])));
    }

    #[test]
    fn where_there_is_no_attachment_there_is_no_such_scope() {
        let visit = &mut visit();
        visit.attachment = None;
        let failure = ask(visit, "get", json!({ "scope": "attachment" })).unwrap_err();
        assert_eq!(failure.to_string(), "invalid: ADD is about no attachment: no such scope here");
        ask(visit, "get", json!({ "scope": "network" })).unwrap();
    }

    #[test]
    fn the_scope_is_what_the_grant_is_held_against() {
        assert_eq!(INTERFACE.scope_of(&json!({ "scope": "node", "key": "k" })), Some("node"));
        assert_eq!(INTERFACE.scope_of(&json!({ "scope": 7 })), Some(""));
        assert_eq!(INTERFACE.scope_of(&json!({})), Some(""));
    }
}
