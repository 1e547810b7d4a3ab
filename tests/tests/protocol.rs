//! What a runtime sees of us, without a network.

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
fn version_needs_nothing_and_reads_nothing() {
    let lab = Lab::new("module");
    let mut call = Call::new("VERSION", &Value::Null);
    (call.netns, call.ifname, call.path) = ("dummy".into(), "dummy".into(), "dummy".into());
    let mut child = lab.command(&call).spawn().unwrap();
    // Stdin stays open, and that must not matter.
    let stdin = child.stdin.take();
    let answer: Answer = child.wait_with_output().unwrap().into();
    drop(stdin);
    assert_eq!(
        answer.result(),
        json!({ "cniVersion": "1.1.0", "supportedVersions": ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] })
    );
}

#[test]
fn without_a_command_it_introduces_itself_on_stderr() {
    let answer = Lab::new("module").call(&Call::new("", &Value::Null));
    answer.silent();
    assert!(answer.stderr.contains("CNI protocol versions supported: 0.1.0, 0.2.0"), "{answer:?}");
}

#[test]
fn chained_with_nothing_to_change_the_result_comes_back() {
    for isolation in ["module", "none"] {
        let lab = Lab::new(isolation);
        assert_eq!(lab.call(&Call::new("ADD", &identity())).result(), result());
        lab.call(&Call::new("CHECK", &identity())).silent();
        lab.call(&Call::new("DEL", &identity())).silent();
    }
}

#[test]
fn numbers_and_unknown_keys_come_back_as_they_were() {
    let lab = Lab::new("module");
    let mut call = Call::new("ADD", &identity());
    let result = r#"{"cniVersion":"1.0.0","z":12345678901234567890123,"a":[1.50,1e3],"ips":[]}"#;
    call.stdin = format!(
        r#"{{"cniVersion":"1.0.0","name":"n","type":"wasmhook","hooks":[{{"module":"identity"}}],"prevResult":{result}}}"#
    );
    let answer = lab.call(&call);
    assert_eq!((answer.code, answer.stdout.trim_end()), (Some(0), result), "{answer:?}");
}

#[test]
fn a_result_without_version_gets_the_configurations() {
    let mut config = identity();
    config["prevResult"] = json!({ "ips": [] });
    assert_eq!(
        Lab::new("none").call(&Call::new("ADD", &config)).result(),
        json!({ "cniVersion": "1.0.0", "ips": [] })
    );
}

#[test]
fn what_a_runtime_gets_wrong_is_named() {
    let lab = Lab::new("module");
    let error = |change: &dyn Fn(&mut Call)| {
        let mut call = Call::new("ADD", &identity());
        change(&mut call);
        let error = lab.call(&call).error();
        (error.code, error.msg)
    };
    let empty = error(&|call| call.stdin.clear());
    assert_eq!(
        (empty.0, empty.1.starts_with("error unmarshall network config: EOF")),
        (6, true),
        "{empty:?}"
    );
    let garbage = error(&|call| call.stdin = "]".into());
    assert_eq!((garbage.0, garbage.1.starts_with("error unmarshall network config: ")), (6, true));
    assert_eq!(error(&|call| call.stdin = "{}".into()), (7, "missing network name".into()));
    assert_eq!(error(&|call| call.verb = "FROB".into()), (4, "unknown CNI_COMMAND: FROB".into()));
    assert_eq!(
        error(&|call| (call.netns, call.ifname) = (String::new(), String::new())),
        (4, "required env variables [CNI_NETNS,CNI_IFNAME] missing".into())
    );
    assert_eq!(
        error(&|call| call.stdin = call.stdin.replacen("1.0.0", "3.0.0", 1)),
        (1, "incompatible CNI versions".into())
    );
    assert_eq!(error(&|call| call.args = "A=1;B".into()), (4, "ARGS: invalid pair \"B\"".into()));
}

#[test]
fn stdin_that_is_not_utf8_is_an_error_in_words() {
    use std::io::Write;
    let lab = Lab::new("none");
    let mut child = lab.command(&Call::new("ADD", &identity())).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{\"name\":\"\xff\"}").unwrap();
    let answer: Answer = child.wait_with_output().unwrap().into();
    assert_eq!(answer.error().code, 5);
}

#[test]
fn an_add_with_nobody_to_make_a_result_says_so() {
    let mut config = identity();
    config.as_object_mut().unwrap().remove("prevResult");
    let error = Lab::new("none").call(&Call::new("ADD", &config)).error();
    assert_eq!(error.code, 7);
    assert!(error.msg.starts_with("no prevResult, no `delegate`, and no hook answered"), "{error:?}");
}

#[test]
fn a_check_needs_prev_result_and_a_version_that_knows_it() {
    let lab = Lab::new("none");
    let mut config = identity();
    config.as_object_mut().unwrap().remove("prevResult");
    assert_eq!(lab.call(&Call::new("CHECK", &config)).error().code, 7);
    config["cniVersion"] = json!("0.3.1");
    let error = lab.call(&Call::new("CHECK", &config)).error();
    assert_eq!((error.code, error.msg.as_str()), (1, "config version does not allow CHECK"));
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
        assert!(error.details.contains("`hooks[1].limits.cpu`: invalid type: integer `7`"), "{error:?}");
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
