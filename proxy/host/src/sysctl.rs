use crate::reach::place;
use crate::{ANY, Failure, Interface, Scopes, Undo, Visit, only_at_add, parameters};
use serde::Deserialize;
use serde_json::Value;
use wasmhook_net_types::{Place, judge_sysctl};

pub(crate) const INTERFACE: Interface = Interface {
    name: "sysctl",
    free: false,
    scopes: Scopes::Pattern("net/ipv4/conf/*"),
    scope_of,
    functions: &[("read", read), ("write", write)],
};

#[allow(clippy::unnecessary_wraps, reason = "one shape for all interfaces")]
fn scope_of(input: &Value) -> Option<&str> {
    Some(input.get("key").and_then(Value::as_str).unwrap_or_default())
}

#[derive(Deserialize)]
struct Read {
    ns: String,
    key: String,
}

fn read(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let Read { ns, key } = parameters(input)?;
    let place = place(&ns)?;
    judge_sysctl(&key)?;
    Ok(visit.network(|network| network.sysctl(place, &key))?.into())
}

#[derive(Deserialize)]
struct Write {
    ns: String,
    key: String,
    value: String,
    keep: bool,
}

fn write(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let Write { ns, key, value, keep } = parameters(input)?;
    let place = place(&ns)?;
    judge_sysctl(&key)?;
    only_at_add(visit)?;
    let was = visit.network(|network| network.sysctl(place, &key))?;
    // As it is already: nobody needs to be allowed that.
    if was == value {
        return Ok(Value::Null);
    }
    if place == Place::Host {
        visit.needs("sysctl", ANY)?;
    }
    let undo = Undo::Sysctl { place, key: key.clone(), was, is: value.clone() };
    let undo = (!keep).then_some(&undo);
    visit.effect(undo, |network| network.set_sysctl(place, &key, &value))?;
    Ok(Value::Null)
}
