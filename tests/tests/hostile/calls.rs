//! Host calls that should not be made, or not then, or not so often.

use crate::case::{
    CARRY, Case, LOG, NOW, REALLOC, TOP, case, late, post, pre, realloc, realloc_for_post, start,
};
use serde_json::json;
use wasmhook_tests::{GO_ON, core_component};

const STATE: &str = r#"(import "wasmhook:host/state@0.1.0" "keys" (func $keys (param i32 i32 i32 i32)))"#;
const SAY: &str = "(call $log (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))";
/// What an instance may not do that is being handed its parameters.
const LEAVING: &str = "trap: cannot leave component instance";

pub(crate) fn cases() -> Vec<Case> {
    [floods(), carries(), nested()].into_iter().flatten().collect()
}

fn floods() -> Vec<Case> {
    let flood = |length: i32| {
        format!(
            "(loop (call $log (i32.const 2) (i32.const 70000) (i32.const {length}) (i32.const 0) (i32.const 0)) (br 0)) unreachable"
        )
    };
    let fifty = json!({ "grants": ["clock"], "limits": { "hostCalls": 50 } });
    let lines = "log limit of 1000 lines reached (raise `limits.logLines`)";
    vec![
        case("a flood of log lines", pre(LOG, &flood(1)), lines),
        // Memory is not theirs to give away as long as they are being made.
        case("a log line in start", start(LOG, SAY), "trap: uninitialized element"),
        case(
            "a flood of host calls in start",
            start(NOW, "(loop (drop (call $now)) (br 0))"),
            "host call limit of 50 calls reached",
        )
        .with(fifty.clone()),
        late("a flood of log lines in post", post(LOG, &flood(1)), lines),
        case(
            "a flood of log bytes",
            pre(LOG, &flood(100_000)),
            "log limit of 256KiB reached (raise `limits.logBytes`)",
        ),
        case(
            "a flood of host calls",
            pre(NOW, "(loop (drop (call $now)) (br 0)) unreachable"),
            "host call limit of 50 calls reached (raise `limits.hostCalls`)",
        )
        .with(fifty),
    ]
}

fn carries() -> Vec<Case> {
    let carry =
        |length: i32| format!("(call $carry (i32.const 70000) (i32.const {length})) (i32.const 1024)");
    let deep = format!("(memory.fill (i32.const 70000) (i32.const 91) (i32.const 60000)) {}", carry(60_000));
    vec![
        case(
            "too much to carry",
            pre(CARRY, &carry(70_000)),
            "trap: carry.set: 70000 bytes to carry, and 65536",
        )
        .granted("carry"),
        case(
            "something to carry that is no JSON",
            pre(CARRY, &carry(3)),
            "trap: carry.set: what is carried is not JSON",
        )
        .granted("carry"),
        case(
            "brackets to carry, 60,000 deep",
            pre(CARRY, &deep),
            "trap: carry.set: what is carried is not JSON",
        )
        .granted("carry"),
        case("a grant that is missing", pre(CARRY, GO_ON), "add grant `carry`").code(103),
    ]
}

fn nested() -> Vec<Case> {
    let in_a_reply = format!("(if (i32.eq (global.get $n) (i32.const 1)) (then {SAY})) {REALLOC}");
    let keys = "(global.set $n (i32.const 1)) (call $keys (i32.const 2) (i32.const 512) (i32.const 0) (i32.const 3072)) (i32.const 1024)";
    let parts = format!("{STATE} {LOG} (global $n (mut i32) (i32.const 0)) {TOP}");
    let after =
        format!(r#"{LOG} (func (export "cabi_post_wasmhook:hook/handler@0.1.0#pre") (param i32) {SAY})"#);
    vec![
        case(
            "a host call while the request is handed in",
            realloc(LOG, &format!("{SAY} unreachable")),
            LEAVING,
        ),
        late("the same in post", realloc_for_post(LOG, SAY), LEAVING),
        case("a host call inside a host call", core_component(&parts, &in_a_reply, keys, GO_ON), LEAVING)
            .granted("state:node"),
        case("a host call after pre has returned", pre(&after, GO_ON), LEAVING),
    ]
}
