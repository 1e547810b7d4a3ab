//! What a first-class CNI plugin does, rule by rule, held against the built program from outside.
//!
//! A rule has a number, and its tests begin with it: C1 to C10 the environment, C11 to C19 versions and results, C20
//! to C27 the verbs, C28 to C33 delegating; D1 to D9 are what the reference plugins get wrong and we do not. Rules
//! that a call without a network can show stand in `cases` as tables, so that the reference plugins can be asked the
//! same: `where_the_reference_plugins_differ` prints what they say.
//!
//! No test here for D2, D3 and D5 as tap has them, and for D9: they are about plugins that we do not have.

#![allow(clippy::unwrap_used, clippy::must_use_candidate, reason = "panicking is how a test speaks")]

mod cases;
mod check;
mod conversion;
mod delegating;
mod environment;
mod gc;
mod ipam;
mod lifetime;
mod netns;
mod reference;
mod status;
mod verbs;
mod versions;

use serde_json::{Value, json};
use wasmhook_tests::{Answer, Call, Fakes, Lab, component, verdict};

/// An entry without hooks around these plugins, one by one.
fn wrapping(version: &str, delegates: &Value) -> Value {
    let key = if delegates.is_array() { "delegates" } else { "delegate" };
    json!({ "cniVersion": version, "name": "net", "type": "wasmhook", "hooks": [], key: delegates })
}

/// An entry without hooks behind a plugin that returned this.
fn chained(version: &str, prev_result: &Value) -> Value {
    json!({ "cniVersion": version, "name": "net", "type": "wasmhook", "hooks": [], "prevResult": prev_result })
}

/// The same configuration with another value for a key.
fn with(config: &Value, key: &str, value: impl Into<Value>) -> Value {
    let mut config = config.clone();
    config[key] = value.into();
    config
}

/// A call for this container.
fn call(verb: &str, id: &str, netns: &str, config: &Value) -> Call {
    Call { container_id: id.into(), netns: netns.into(), ..Call::new(verb, config) }
}

/// A call that finds these plugins.
fn calling(fakes: &Fakes, verb: &str, config: &Value) -> Call {
    Call { path: fakes.path(), ..Call::new(verb, config) }
}

/// bridge with addresses from host-local.
fn bridge() -> Value {
    json!({ "type": "bridge", "bridge": "br0", "isGateway": true, "ipam": host_local("10.9.0") })
}

/// ptp with addresses from host-local: nothing is left on the host when the container's namespace goes.
fn ptp(prefix: &str) -> Value {
    json!({ "type": "ptp", "ipam": host_local(prefix) })
}

fn host_local(prefix: &str) -> Value {
    json!({ "type": "host-local", "ranges": [[{ "subnet": format!("{prefix}.0/24") }]], "routes": [{ "dst": "0.0.0.0/0" }] })
}

/// A node with the module `say`, a hook that makes every result this one.
fn lab_that_says(result: &Value) -> Lab {
    let lab = Lab::new("module");
    let (data, body) = verdict(1, &result.to_string());
    lab.install("say", &component(&data, wasmhook_tests::GO_ON, body));
    assert_eq!(lab.ctl(&["compile", "say"]).code, Some(0));
    lab
}

/// A script's lines that print a result.
fn says(result: &Value) -> String {
    format!("echo '{result}'")
}

/// A script's lines that fail with this error.
fn fails(code: u32, msg: &str) -> String {
    format!("{}; exit 1", says(&json!({ "code": code, "msg": msg })))
}

/// Code and message of an error.
fn error(answer: &Answer) -> (u64, String) {
    let error = answer.error();
    (error.code, error.msg)
}
