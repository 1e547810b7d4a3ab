//! What a node's settings mean for a call.

#![allow(clippy::unwrap_used, reason = "panicking is how a test speaks")]

use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};
use wasmhook_tests::{Call, GO_ON, Lab, component};

/// A node with these settings more.
fn node(settings: &str) -> Lab {
    let lab = Lab::new("module");
    let mut file = OpenOptions::new().append(true).open(lab.settings()).unwrap();
    file.write_all(settings.as_bytes()).unwrap();
    lab
}

fn chained(hook: &Value) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": [hook],
        "prevResult": { "cniVersion": "1.0.0", "ips": [] },
    })
}

/// A call around a plugin that this script is.
fn around(lab: &Lab, verb: &str, script: &str) -> Call {
    let plugin = lab.path().join("fake");
    fs::write(&plugin, format!("#!/bin/sh\ncat > /dev/null\n{script}\n")).unwrap();
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o755)).unwrap();
    let config = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": [], "delegate": { "type": "fake" },
    });
    Call { path: lab.path().display().to_string(), ..Call::new(verb, &config) }
}

#[test]
fn a_grant_that_the_node_does_not_allow_is_refused_at_add_and_skipped_at_del() {
    let lab = node("[grants]\n\"*\" = [\"state\"]\n");
    let config = chained(&json!({ "module": "fault", "grants": ["clock", "state"] }));
    let error = lab.call(&Call::new("ADD", &config)).error();
    assert_eq!(
        (error.code, error.msg.as_str()),
        (
            7,
            "wasmhook configuration `hooks[0].grants`: \"clock\": this node does not allow it to `fault` (`grants` in its settings)"
        )
    );
    lab.call(&Call::new("DEL", &config)).silent();
    let allowed = node("[grants]\nfault = [\"clock\", \"state\"]\n");
    let _ = allowed.call(&Call::new("ADD", &config)).result();
}

#[test]
fn a_limit_above_the_nodes_is_refused() {
    let lab = node("[limits.max]\nmemory = \"8MiB\"\n");
    let config = chained(&json!({ "module": "identity", "limits": { "memory": "9MiB" } }));
    let error = lab.call(&Call::new("ADD", &config)).error();
    assert!(error.code == 7 && error.msg.contains("9MiB: 8MiB at most on this node"), "{error:?}");
}

#[test]
fn the_log_goes_to_a_file_as_well_with_times() {
    let lab = Lab::new("module");
    let log = lab.path().join("log");
    let setting = format!("log_file = '{}'\n", log.display());
    OpenOptions::new().append(true).open(lab.settings()).unwrap().write_all(setting.as_bytes()).unwrap();
    let answer = lab.call(&Call::new("DEL", &chained(&json!({ "module": "nowhere" }))));
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<_> = text.lines().map(|line| line.split_once(' ').unwrap()).collect();
    assert!(lines.iter().all(|(time, _)| time.ends_with('Z') && time.len() == 24), "{text}");
    let said: Vec<_> = lines.iter().map(|(_, said)| *said).collect();
    assert_eq!(said, answer.stderr.lines().collect::<Vec<_>>());
    assert!(text.contains("module not found"), "{text}");
    // One that cannot be opened is no reason to fail a pod.
    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    let answer = lab.call(&Call::new("ADD", &chained(&json!({ "module": "identity" }))));
    let _ = answer.result();
    assert!(answer.stderr.contains("log file "), "{answer:?}");
}

#[test]
fn a_delegate_ends_with_its_budget_and_what_it_did_is_undone() {
    let lab = node("[budgets]\ndelegate = \"300ms\"\n");
    let started = Instant::now();
    let called = lab.path().join("called");
    let script =
        format!("echo $CNI_COMMAND >> {}; [ $CNI_COMMAND = DEL ] || exec sleep 20", called.display());
    let error = lab.call(&around(&lab, "ADD", &script)).error();
    assert_eq!(error.code, 999);
    assert!(error.msg.starts_with("delegate `fake`: not finished after 30"), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(fs::read_to_string(&called).unwrap(), "ADD\nDEL\n");
    // What it has started could still be at work: the runtime's DEL waits for that.
    assert_eq!(lab.journals(), 1);
    lab.call(&around(&lab, "DEL", &script)).silent();
    assert_eq!((fs::read_to_string(&called).unwrap().as_str(), lab.journals()), ("ADD\nDEL\nDEL\n", 0));
}

#[test]
fn hooks_end_with_the_calls_budget() {
    let lab = node("[budgets]\ncall = \"1s\"\nreserve = \"600ms\"\n");
    let slow = json!({ "module": "fault", "grants": ["clock", "state"], "config": { "scripts": { "ADD": "delay(20s)" } } });
    let started = Instant::now();
    let error = lab.call(&Call::new("ADD", &chained(&slow))).error();
    assert_eq!(error.code, 102, "{error:?}");
    assert!(error.msg.contains("the call's time is over"), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_call_whose_log_nobody_reads_ends_all_the_same() {
    let lab = node("[budgets]\ncall = \"1s\"\nreserve = \"500ms\"\n");
    // Two hundred lines of 4000 bytes: more than a pipe holds.
    let parts = r#"(import "wasmhook:host/log@0.1.0" "write" (func $write (param i32 i32 i32 i32 i32)))"#;
    let pre = "(local $line i32)
        (loop (call $write (i32.const 2) (i32.const 70000) (i32.const 4000) (i32.const 0) (i32.const 0))
            (local.set $line (i32.add (local.get $line) (i32.const 1)))
            (br_if 0 (i32.lt_u (local.get $line) (i32.const 200))))
        (i32.const 1024)";
    lab.install("chatty", &component(parts, pre, GO_ON));
    assert_eq!(lab.ctl(&["compile", "chatty"]).code, Some(0));
    let hook = json!({ "module": "chatty", "limits": { "logBytes": "4MiB" } });
    let call = Call::new("ADD", &chained(&hook));
    let mut plugin = lab.command(&call).spawn().unwrap();
    plugin.stdin.take().unwrap().write_all(call.stdin.as_bytes()).unwrap();
    // Nobody reads it, and nobody closes it.
    let stderr = plugin.stderr.take().unwrap();
    let output = plugin.wait_with_output().unwrap();
    let error: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), &error["code"], &error["cniVersion"]),
        (Some(1), &json!(11), &json!("1.0.0"))
    );
    assert!(error["msg"].as_str().unwrap().contains("something hangs"), "{error}");
    drop(stderr);
}
