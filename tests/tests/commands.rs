//! The command door: plain WASI programs, with JSON on their streams and two imports for host calls.

#![allow(clippy::unwrap_used, clippy::must_use_candidate, reason = "panicking is how a test speaks")]

use serde_json::{Value, json};
use wasmhook_tests::{Answer, Call, Lab, calling, conversing, with_wasi};

const ISOLATIONS: [&str; 3] = ["module", "call", "none"];

fn chained(hook: &Value) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": [hook],
        "runtimeConfig": { "portMappings": [{ "hostPort": 80 }] },
        "prevResult": { "cniVersion": "1.0.0", "ips": [] },
    })
}

fn lab(isolation: &str, module: &[u8]) -> Lab {
    let lab = Lab::new(isolation);
    lab.install("c", module);
    assert_eq!(lab.ctl(&["compile", "c"]).code, Some(0));
    lab
}

fn ask(lab: &Lab, verb: &str, hook: &Value) -> Answer {
    lab.call(&Call::new(verb, &chained(hook)).pod("shop", "web"))
}

/// What a command wrote on its stderr, from the log.
fn said(answer: &Answer) -> Vec<String> {
    let text = |line: &str| Some(line.split_once("INFO: ")?.1.split_once(" hook=c")?.0.to_owned());
    answer.stderr.lines().filter_map(text).collect()
}

#[test]
fn what_a_command_reads_is_what_the_schema_says() {
    let schema: Value = serde_json::from_str(include_str!("../../sdk/command.schema.json")).unwrap();
    let mut of_request = schema.clone();
    of_request["$ref"] = json!("#/$defs/request");
    let request = jsonschema::validator_for(&of_request).unwrap();
    // The request goes to stderr and with it to the log.
    let echo = conversing("", "(call $say (i32.const 2) (i32.const 65536) (local.get $length))");
    for isolation in ISOLATIONS {
        let lab = lab(isolation, &echo);
        let hook = json!({ "module": "c", "config": { "a": "é\n\"" }, "limits": { "logBytes": "1MiB" } });
        for (verb, phases) in [("ADD", 2), ("CHECK", 2), ("DEL", 2)] {
            let answer = ask(&lab, verb, &hook);
            assert_eq!(answer.code, Some(0), "{answer:?}");
            let documents = said(&answer);
            assert_eq!(documents.len(), phases, "{answer:?}");
            for (document, phase) in documents.iter().zip(["pre", "post"]) {
                let document: Value = serde_json::from_str(document).unwrap();
                let wrong: Vec<_> = request.iter_errors(&document).map(|it| it.to_string()).collect();
                assert!(wrong.is_empty(), "{verb} {phase}: {wrong:?}: {document}");
                assert_eq!((&document["phase"], &document["verb"]), (&json!(phase), &json!(verb)));
                assert_eq!(document["hookConfig"], json!({ "a": "é\n\"" }));
                assert_eq!(document["args"]["K8S_POD_NAME"], "web");
                assert_eq!(document["config"]["runtimeConfig"]["portMappings"][0]["hostPort"], 80);
                assert_eq!(document.get("outcome").is_some(), phase == "post");
            }
        }
    }
}

#[test]
fn host_calls_are_messages_and_refusals_are_told() {
    for (message, grants, reply) in [
        (r#"{"operation":"carry.set","input":{"json":"1"}}"#, json!(["carry"]), r#"{"ok":null}"#),
        (
            r#"{"operation":"carry.set","input":{"json":"1"}}"#,
            json!([]),
            r#""code":"denied","errno":0,"message":"`carry.set` needs the grant `carry`""#,
        ),
        (r#"{"operation":"made.up"}"#, json!([]), r#""code":"unknown""#),
        (r#"{"operation":7}"#, json!([]), r#""code":"invalid""#),
        ("{", json!([]), r#""code":"invalid""#),
        (r#"{"operation":"carry.set","input":{"json":7}}"#, json!(["carry"]), r#""code":"invalid""#),
    ] {
        for isolation in ISOLATIONS {
            let lab = lab(isolation, &calling(message));
            let answer = ask(&lab, "ADD", &json!({ "module": "c", "grants": grants }));
            let _ = answer.result();
            assert!(said(&answer).iter().all(|it| it.contains(reply)), "{message}: {answer:?}");
        }
    }
}

#[test]
fn what_one_phase_carries_the_next_one_reads() {
    let parts = r#"(import "wasmhook" "call" (func $call (param i32 i32) (result i32)))
        (data (i32.const 2048) "{\"operation\":\"carry.set\",\"input\":{\"json\":\"[7]\"}}")"#;
    let body = "(drop (call $call (i32.const 2048) (i32.const 48)))
        (call $say (i32.const 2) (i32.const 65536) (local.get $length))";
    let lab = lab("module", &conversing(parts, body));
    let answer = ask(&lab, "ADD", &json!({ "module": "c", "grants": ["carry"] }));
    let _ = answer.result();
    let documents = said(&answer);
    let document = |at: usize| serde_json::from_str::<Value>(&documents[at]).unwrap();
    assert_eq!((document(0).get("carry"), document(1)["carry"].clone()), (None, json!([7])));
}

#[test]
fn the_same_pod_draws_the_same_numbers_and_another_one_others() {
    // Sixteen random bytes as they come, which the log escapes.
    let parts =
        r#"(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))"#;
    let body = "(drop (call $random (i32.const 8192) (i32.const 16)))
        (i32.store8 (i32.const 8191) (i32.const 62)) (i32.store8 (i32.const 8208) (i32.const 60))
        (call $say (i32.const 2) (i32.const 8191) (i32.const 18))";
    let lab = lab("module", &conversing(parts, body));
    let draw = |container: &str| {
        let call =
            Call { container_id: container.into(), ..Call::new("ADD", &chained(&json!({ "module": "c" }))) };
        let answer = lab.call(&call);
        let _ = answer.result();
        let lines: Vec<_> =
            answer.stderr.lines().map(|it| it.split(" hook=").next().unwrap().to_owned()).collect();
        assert!(!lines.is_empty(), "{answer:?}");
        lines
    };
    assert_eq!(draw("a"), draw("a"));
    assert_ne!(draw("a"), draw("b"));
}

#[test]
fn a_command_that_sleeps_ends_with_its_wall_time() {
    // One subscription to the monotonic clock, an hour from now.
    let parts = r#"(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))"#;
    let body =
        "(i32.store (i32.const 4112) (i32.const 1)) (i64.store (i32.const 4120) (i64.const 3600000000000))
        (drop (call $poll (i32.const 4096) (i32.const 4200) (i32.const 1) (i32.const 24)))";
    for isolation in ISOLATIONS {
        let lab = lab(isolation, &conversing(parts, body));
        let hook = json!({ "module": "c", "limits": { "wall": "200ms" } });
        let error = ask(&lab, "ADD", &hook).error();
        assert_eq!(error.code, 101, "{error:?}");
        assert!(error.msg.starts_with("hook `c`: wall-clock limit of 200ms reached"), "{error:?}");
    }
}

#[test]
fn a_command_that_fails_says_why_on_its_stderr() {
    let parts = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (data (i32.const 2048) "first\nno such thing\n")"#;
    let body = "(call $say (i32.const 2) (i32.const 2048) (i32.const 20)) (call $exit (i32.const 7))";
    for isolation in ISOLATIONS {
        let lab = lab(isolation, &conversing(parts, body));
        let answer = ask(&lab, "ADD", &json!({ "module": "c" }));
        let error = answer.error();
        assert_eq!(error.msg, "hook `c`: the hook reports: no such thing (exit code 7)");
        assert_eq!(said(&answer), ["first", "no such thing"]);
    }
}

#[test]
fn wasi_in_a_component_leads_nowhere_and_works() {
    for isolation in ISOLATIONS {
        let lab = lab(isolation, &with_wasi());
        assert_eq!(
            ask(&lab, "ADD", &json!({ "module": "c" })).result(),
            json!({ "cniVersion": "1.0.0", "ips": [] })
        );
        ask(&lab, "DEL", &json!({ "module": "c" })).silent();
    }
}
