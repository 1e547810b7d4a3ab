//! What a runtime sees of us beside what every plugin owes it (`conformance`), without a network.

#![allow(clippy::unwrap_used, clippy::must_use_candidate, reason = "panicking is how a test speaks")]

use serde_json::{Value, json};
use wasmhook_tests::{Answer, Call, Lab};

fn result() -> Value {
    json!({
        "cniVersion": "1.0.0",
        "interfaces": [{ "name": "eth0", "sandbox": "/run/netns/x", "vendor": 1 }],
        "ips": [{ "address": "10.0.0.2/24", "interface": 0 }],
    })
}

fn chained(hooks: &Value) -> Value {
    json!({ "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": hooks, "prevResult": result() })
}

fn identity() -> Value {
    chained(&json!([{ "module": "identity" }]))
}

#[test]
fn stdin_that_is_not_utf8_is_judged_as_any_other() {
    use std::io::Write;
    let lab = Lab::new("none");
    let mut child = lab.command(&Call::new("ADD", &identity())).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{\"name\":\"\xff\"}").unwrap();
    let answer: Answer = child.wait_with_output().unwrap().into();
    assert_eq!(answer.error().msg, "invalid characters found in network name");
}

#[test]
fn mistakes_in_our_block_are_all_reported_at_add_and_do_not_hold_up_del() {
    let lab = Lab::new("module");
    let config = chained(&json!([{ "modul": "identity" }, { "module": "identity", "limits": { "cpu": 7 } }]));
    for verb in ["ADD", "CHECK"] {
        let error = lab.call(&Call::new(verb, &config)).error();
        assert_eq!(error.code, 7);
        assert!(error.msg.contains("`hooks[0].modul`: unknown key"), "{error:?}");
        assert!(error.details.contains("`hooks[0].module`: missing"), "{error:?}");
        assert!(error.details.contains("`hooks[1].limits.cpu`: 7: write a time"), "{error:?}");
    }
    let answer = lab.call(&Call::new("DEL", &config));
    answer.silent();
    assert!(answer.stderr.contains("`hooks[0].modul`: unknown key"), "{answer:?}");
}

#[test]
fn settings_that_cannot_be_read_are_named_and_do_not_hold_up_del() {
    let lab = Lab::new("module");
    std::fs::write(lab.settings(), "modules = 7").unwrap();
    let error = lab.call(&Call::new("ADD", &identity())).error();
    assert_eq!(error.code, 7);
    assert!(error.msg.contains("config.toml") && error.msg.contains("invalid type"), "{error:?}");
    lab.call(&Call::new("DEL", &identity())).silent();
}

#[test]
fn a_reader_that_is_gone_is_no_panic() {
    let lab = Lab::new("module");
    let mut command = lab.command(&Call::new("VERSION", &Value::Null));
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let answer: Answer = child.wait_with_output().unwrap().into();
    assert!(!answer.stderr.contains("panic"), "{answer:?}");
}

#[test]
fn streams_that_are_closed_are_never_mistaken_for_files() {
    let lab = Lab::new("module");
    let program = wasmhook_tests::dist("wasmhook");
    let before = std::fs::read(lab.settings()).unwrap();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "exec \"$0\" <&- >&- 2>&-"]).arg(program);
    for (key, value) in lab.command(&Call::new("ADD", &identity())).get_envs() {
        command.env(key, value.unwrap_or_default());
    }
    assert!(!command.status().unwrap().success());
    assert_eq!(std::fs::read(lab.settings()).unwrap(), before);
}
