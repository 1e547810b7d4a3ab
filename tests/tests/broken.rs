//! Broken is not "deny": hooks that cannot be run, do not end, or say what can't be meant.

#![allow(clippy::unwrap_used, clippy::must_use_candidate, reason = "panicking is how a test speaks")]

use serde_json::{Value, json};
use std::fs;
use std::time::{Duration, Instant};
use wasmhook_tests::{Call, CniError, GO_ON, Lab, component, encode, verdict, wait_for};

const ISOLATIONS: [&str; 2] = ["module", "none"];

fn chained(hook: &Value) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": [hook],
        "prevResult": { "cniVersion": "1.0.0", "ips": [] },
    })
}

/// The error of an ADD through the module `bad`; a DEL of the same must go through.
fn add(lab: &Lab, hook: &Value) -> CniError {
    let error = lab.call(&Call::new("ADD", &chained(hook))).error();
    lab.call(&Call::new("DEL", &chained(hook))).silent();
    error
}

fn each(module: &[u8], hook: &Value, check: impl Fn(&CniError)) {
    for isolation in ISOLATIONS {
        let lab = Lab::new(isolation);
        lab.install("bad", module);
        check(&add(&lab, hook));
    }
}

fn is(error: &CniError, code: u64, msg: &str) {
    assert_eq!(error.code, code, "{error:?}");
    assert!(error.msg.contains(msg), "{msg:?} is not in {error:?}");
}

fn bad() -> Value {
    json!({ "module": "bad" })
}

#[test]
fn a_module_that_is_not_there() {
    let lab = Lab::new("module");
    is(
        &add(&lab, &json!({ "module": "nowhere" })),
        103,
        "hook `nowhere`: module not found: no nowhere.wasm in /",
    );
    is(
        &add(&lab, &json!({ "module": "/nowhere/x.wasm" })),
        103,
        "hook `x`: module /nowhere/x.wasm is not there",
    );
}

#[test]
fn a_module_that_is_no_file() {
    let lab = Lab::new("module");
    fs::create_dir(lab.modules().join("bad.wasm")).unwrap();
    is(&add(&lab, &bad()), 102, "bad.wasm is a directory, not a file");
}

#[test]
fn a_module_that_cannot_be_read() {
    let lab = Lab::new("module");
    // Root reads everything but a link to itself.
    std::os::unix::fs::symlink("loop.wasm", lab.modules().join("loop.wasm")).unwrap();
    let hook = json!({ "module": lab.modules().join("loop.wasm") });
    is(&add(&lab, &hook), 102, "hook `loop`: look at");
}

#[test]
fn a_module_that_is_not_wasm() {
    for (bytes, start) in [(&b""[..], "nothing"), (b"#!/bin/sh", "23 21 2f 62")] {
        each(bytes, &bad(), |error| {
            is(error, 101, &format!("bad.wasm: not WebAssembly: starts with {start}"))
        });
    }
}

#[test]
fn a_truncated_module() {
    let whole = fs::read(wasmhook_tests::dist("hooks/identity.wasm")).unwrap();
    for length in [8, 100, whole.len() / 2, whole.len() - 1] {
        let lab = Lab::new("module");
        lab.install("bad", &whole[..length]);
        let error = add(&lab, &bad());
        assert_eq!(error.code, 101, "{length} bytes: {error:?}");
        assert!(error.msg.starts_with("hook `bad`: module /"), "{error:?}");
    }
}

#[test]
fn a_core_module() {
    each(&wat::parse_str("(module)").unwrap(), &bad(), |error| {
        is(error, 101, "bad.wasm: a core module that is no hook: it holds no component metadata");
        is(
            error,
            101,
            "to be a command it lacks the exported function `_start` and the exported memory `memory`",
        );
    });
}

#[test]
fn a_component_for_another_world() {
    let module = wat::parse_str(r#"(module (func (export "greet")))"#).unwrap();
    let other = encode(&module, "package a:b; world w { export greet: func(); }");
    each(&other, &bad(), |error| is(error, 101, "exports no `wasmhook:hook/handler@0.1.0`"));
}

#[test]
fn a_grant_that_is_missing_is_found_before_the_first_instruction() {
    let parts = r#"(import "wasmhook:host/carry@0.1.0" "set" (func $set (param i32 i32)))
        (func $start unreachable) (start $start)"#;
    each(&component(parts, GO_ON, GO_ON), &bad(), |error| {
        is(error, 103, "hook `bad`: imports `wasmhook:host/carry@0.1.0`: add grant `carry`");
        assert_eq!(error.details, "hooks[0] in pre; at fault: the configuration");
    });
}

#[test]
fn an_interface_that_nobody_offers() {
    let module = wat::parse_str(
        r#"(module (import "a:b/shell" "run" (func)) (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
            (func (export "wasmhook:hook/handler@0.1.0#pre") (param i32) (result i32) unreachable)
            (func (export "wasmhook:hook/handler@0.1.0#post") (param i32) (result i32) unreachable))"#,
    );
    let world = "package a:b; interface shell { run: func(); } world w { import shell; export wasmhook:hook/handler@0.1.0; }";
    each(&encode(&module.unwrap(), world), &bad(), |error| {
        is(error, 103, "hook `bad`: imports `a:b/shell`, which this wasmhook does not offer");
    });
}

#[test]
fn an_endless_loop_ends_with_its_processor_time() {
    let looping = component("", "(loop (br 0)) unreachable", GO_ON);
    let hook = json!({ "module": "bad", "limits": { "cpu": "100ms" } });
    let started = Instant::now();
    each(&looping, &hook, |error| {
        is(error, 101, "hook `bad`: cpu limit of 100ms reached (raise `limits.cpu`")
    });
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn an_endless_loop_in_a_start_function_or_in_realloc_ends_too() {
    let start = component("(func $start (loop (br 0))) (start $start)", GO_ON, GO_ON);
    let text = fs::read(wasmhook_tests::dist("hooks/identity.wasm")).unwrap();
    assert!(!text.is_empty());
    let hook = json!({ "module": "bad", "limits": { "cpu": "100ms" } });
    each(&start, &hook, |error| is(error, 101, "cpu limit of 100ms reached"));
}

#[test]
fn a_hook_that_waits_ends_with_its_wall_time() {
    let parts = r#"(import "wasmhook:host/clock@0.1.0" "sleep-ms" (func $sleep (param i32) (result i32)))"#;
    let sleeping =
        component(parts, "(loop (drop (call $sleep (i32.const 60000))) (br 0)) unreachable", GO_ON);
    let hook = json!({ "module": "bad", "grants": ["clock"], "limits": { "wall": "200ms" } });
    let started = Instant::now();
    each(&sleeping, &hook, |error| {
        is(error, 101, "hook `bad`: wall-clock limit of 200ms reached (raise `limits.wall`");
    });
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn a_guests_child_dies_with_us() {
    let lab = Lab::new("module");
    lab.install("bad", &component("", "(loop (br 0)) unreachable", GO_ON));
    let call =
        Call::new("ADD", &chained(&json!({ "module": "bad", "limits": { "cpu": "1m", "wall": "1m" } })));
    assert_eq!(lab.ctl(&["compile", "bad"]).code, Some(0));
    let mut plugin = lab.command(&call).spawn().unwrap();
    std::io::Write::write_all(&mut plugin.stdin.take().unwrap(), call.stdin.as_bytes()).unwrap();
    let children = format!("/proc/{0}/task/{0}/children", plugin.id());
    let child =
        wait_for(|| Some(fs::read_to_string(&children).ok()?.trim().to_owned()).filter(|it| !it.is_empty()));
    plugin.kill().unwrap();
    plugin.wait().unwrap();
    wait_for(|| (!fs::exists(format!("/proc/{child}/cwd")).unwrap_or(false)).then_some(()));
}

#[test]
fn a_memory_bomb_ends_with_its_memory() {
    let bomb = component(
        "",
        "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable",
        GO_ON,
    );
    let hook = json!({ "module": "bad", "limits": { "memory": "8MiB" } });
    each(&bomb, &hook, |error| {
        is(error, 101, "hook `bad`: memory limit of 8MiB reached (raise `limits.memory`)")
    });
}

#[test]
fn less_memory_than_a_module_starts_with() {
    let hook = json!({ "module": "bad", "limits": { "memory": "1MiB" } });
    each(&component("", GO_ON, GO_ON), &hook, |error| is(error, 101, "memory limit of 1MiB reached"));
}

#[test]
fn a_trap_and_a_stack_overflow() {
    each(&component("", "unreachable", GO_ON), &bad(), |error| {
        is(error, 101, "hook `bad`: trap: wasm `unreachable`")
    });
    each(&component("", GO_ON, "unreachable"), &bad(), |error| {
        is(error, 101, "hook `bad`: trap: wasm `unreachable`");
        assert_eq!(error.details, "hooks[0] in post; at fault: the module");
    });
    let deep = component(
        "(func $deep (param i32) (result i32) (call $deep (local.get 0)))",
        "(call $deep (local.get 0))",
        GO_ON,
    );
    each(&deep, &bad(), |error| is(error, 101, "stack limit of 512KiB reached (raise `limits.stack`)"));
}

#[test]
fn verdicts_that_cannot_be_meant() {
    for (case, text, msg) in [
        (1, "[]", "the configuration is no JSON object"),
        (
            1,
            r#"{"cniVersion":"1.0.0","name":"other","type":"wasmhook"}"#,
            "changes `name`, which no hook may",
        ),
        (1, r#"{"cniVersion":"1.0.0","name":"net"}"#, "changes `type`, which no hook may"),
        (1, r#"{"prevResult":{}}"#, "the configuration holds `prevResult`"),
        (2, "nonsense", "the result is no JSON object"),
        (
            2,
            &format!(r#"{{"x":{}1{}}}"#, "[".repeat(200), "]".repeat(200)),
            "the result holds what no plugin can read",
        ),
        (2, r#"{"ips":7}"#, "the result is not CNI's"),
        (2, r#"{"cniVersion":"0.4.0"}"#, "`cniVersion` is not the configuration's, 1.0.0"),
    ] {
        let (data, body) = verdict(case, text);
        each(&component(&data, body, GO_ON), &bad(), |error| {
            is(error, 101, "hook `bad`: unusable verdict: ");
            is(error, 101, msg);
        });
    }
    let (data, body) = verdict(3, r#"{"ips":[]}"#);
    each(&component(&data, GO_ON, body), &bad(), |error| is(error, 101, "`recover` from a success"));
    // A verdict that is nowhere in memory, and a case that does not exist.
    each(&component("", "(i32.const -4)", GO_ON), &bad(), |error| is(error, 101, "hook `bad`: trap: "));
    let (data, body) = verdict(9, "");
    each(&component(&data, body, GO_ON), &bad(), |error| is(error, 101, "hook `bad`: trap: "));
}

#[test]
fn answer_and_rewrite_are_carried_out_where_they_can_be_meant() {
    for isolation in ISOLATIONS {
        let lab = Lab::new(isolation);
        let (data, body) = verdict(2, r#"{"ips":[{"address":"10.1.2.3/24"}]}"#);
        lab.install("bad", &component(&data, body, GO_ON));
        let mut config = chained(&bad());
        config.as_object_mut().unwrap().remove("prevResult");
        let expected = json!({ "ips": [{ "address": "10.1.2.3/24" }], "cniVersion": "1.0.0" });
        assert_eq!(lab.call(&Call::new("ADD", &config)).result(), expected);

        let (data, body) = verdict(1, r#"{"cniVersion":"1.0.0","ips":[],"dns":{"domain":"x"}}"#);
        lab.install("bad", &component(&data, GO_ON, body));
        let expected = json!({ "cniVersion": "1.0.0", "ips": [], "dns": { "domain": "x" } });
        assert_eq!(lab.call(&Call::new("ADD", &chained(&bad()))).result(), expected);
    }
}

#[test]
fn on_failure_decides_and_says_so_loudly() {
    let lab = Lab::new("module");
    lab.install("bad", &component("", "unreachable", GO_ON));
    let call = |verb, on_failure: &Value| {
        lab.call(&Call::new(verb, &chained(&json!({ "module": "bad", "onFailure": on_failure }))))
    };
    let answer = call("ADD", &json!({ "ADD": "ignore" }));
    assert_eq!(answer.result(), json!({ "cniVersion": "1.0.0", "ips": [] }));
    assert!(
        answer.stderr.contains("ERROR: hook `bad`: trap: wasm `unreachable` instruction executed; ignored"),
        "{answer:?}"
    );
    is(&call("CHECK", &json!({})).error(), 101, "hook `bad`: trap");
    call("DEL", &json!({})).silent();
    is(&call("DEL", &json!({ "DEL": "fail" })).error(), 101, "hook `bad`: trap");
}

#[test]
fn a_pin_runs_nothing_else() {
    let lab = Lab::new("module");
    let zeros = "0".repeat(64);
    let error = add(&lab, &json!({ "module": "identity", "sha256": zeros }));
    is(&error, 103, &format!("and the conflist pins {zeros}"));
    let inspected: Value =
        serde_json::from_str(&lab.ctl(&["inspect", "identity", "-o", "json"]).stdout).unwrap();
    let pinned = json!({ "module": "identity", "sha256": inspected["sha256"] });
    let _ = lab.call(&Call::new("ADD", &chained(&pinned))).result();
}

#[test]
fn a_guest_cannot_write_control_characters_into_the_log() {
    let parts = r#"(import "wasmhook:host/log@0.1.0" "write" (func $write (param i32 i32 i32 i32 i32)))
        (data (i32.const 512) "one\0atwo\1b[31m")"#;
    let pre = "(call $write (i32.const 4) (i32.const 512) (i32.const 12) (i32.const 0) (i32.const 0)) (i32.const 1024)";
    for isolation in ISOLATIONS {
        let lab = Lab::new(isolation);
        lab.install("bad", &component(parts, pre, GO_ON));
        let answer = lab.call(&Call::new("ADD", &chained(&bad())));
        assert!(
            answer.stderr.contains(r"ERROR: one\ntwo\u{1b}[31m hook=bad phase=pre verb=ADD container_id=c1"),
            "{answer:?}"
        );
    }
}

/// With several hooks in one process their memory is the same, wiped: data, stack, what was grown, tables.
#[test]
fn a_hook_finds_nothing_of_the_one_before_it() {
    // Not where the request is lifted to, at 65536 and up.
    let places = [0, 2048, 65000, 1_048_576, 2_097_152, 2_100_000];
    let dirty: String = places.map(|at| format!("(i32.load (i32.const {at})) i32.or ")).concat();
    let soil: String = places.map(|at| format!("(i32.store (i32.const {at}) (i32.const 77)) ")).concat();
    let body = format!(
        "(drop (memory.grow (i32.const 1))) (i32.const 0) {dirty} (ref.is_null (table.get 0 (i32.const 3))) i32.eqz i32.or \
         (if (then unreachable)) {soil} (table.set 0 (i32.const 3) (ref.func $f)) (i32.const 1024)"
    );
    let parts = "(table 10 20 funcref) (func $f) (elem declare func $f)";
    let module = component(parts, &body, &body);
    for isolation in ISOLATIONS {
        let lab = Lab::new(isolation);
        let names = ["a", "b", "c", "d"];
        for (number, name) in (0..).zip(names) {
            lab.install(name, &wasmhook_tests::variant(&module, number));
        }
        let mut config = chained(&json!(null));
        config["hooks"] = names.iter().map(|name| json!({ "module": name })).collect();
        let _ = lab.call(&Call::new("ADD", &config)).result();
        // The same module again and again.
        config["hooks"] = json!([{ "module": "a" }, { "module": "a" }, { "module": "b" }]);
        let _ = lab.call(&Call::new("ADD", &config)).result();
    }
}

/// A pool of memory must take whatever the limits admit.
#[test]
fn a_hook_may_be_as_large_in_company_as_alone() {
    // The first memory is the one that `component` adds.
    let parts = "(table $big 99000 funcref) (table $t2 1 funcref) (data (i32.const 2000000) \"x\")";
    let lab = Lab::new("none");
    for (number, name) in (0..).zip(["a", "b"]) {
        let module = component(parts, GO_ON, GO_ON);
        lab.install(name, &wasmhook_tests::variant(&module, number));
    }
    for hooks in [json!([{ "module": "a" }]), json!([{ "module": "a" }, { "module": "b" }])] {
        let mut config = chained(&json!(null));
        config["hooks"] = hooks;
        let _ = lab.call(&Call::new("ADD", &config)).result();
    }
}
