//! What hooks remember, draw and count, through the built programs.

#![allow(clippy::unwrap_used, clippy::must_use_candidate, reason = "panicking is how a test speaks")]

use serde_json::{Value, json};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::time::{Duration, Instant};
use wasmhook_tests::{Answer, Call, Fakes, Lab, Node, calling};

/// A hook that makes one host call in each phase, with every grant.
fn lab(settings: &str, operation: &str, input: &Value) -> Lab {
    let lab = Lab::new("module");
    OpenOptions::new().append(true).open(lab.settings()).unwrap().write_all(settings.as_bytes()).unwrap();
    lab.install("c", &calling(&json!({ "operation": operation, "input": input }).to_string()));
    assert_eq!(lab.ctl(&["compile", "c"]).code, Some(0));
    lab
}

fn adding(scope: &str) -> Value {
    json!({ "scope": scope, "key": "n", "delta": "1", "ttl-s": 0 })
}

fn config() -> Value {
    json!({
        "cniVersion": "1.1.0", "name": "net", "type": "wasmhook",
        "hooks": [{ "module": "c", "grants": ["state", "random", "metrics", "clock"] }],
        "prevResult": { "cniVersion": "1.1.0", "ips": [] },
    })
}

fn ask_with(lab: &Lab, verb: &str, container: &str, config: &Value) -> Answer {
    lab.call(&Call { container_id: container.into(), ..Call::new(verb, config) })
}

fn ask(lab: &Lab, verb: &str, container: &str) -> Vec<String> {
    let answer = ask_with(lab, verb, container, &config());
    assert_eq!(answer.code, Some(0), "{answer:?}");
    replies(&answer)
}

/// The reply of each phase's call.
fn replies(answer: &Answer) -> Vec<String> {
    let reply = |line: &str| Some(line.split_once("INFO: {\"ok\":")?.1.split_once("} hook=c")?.0.to_owned());
    answer.stderr.lines().filter_map(reply).collect()
}

#[test]
fn a_node_remembers_over_calls_and_containers() {
    let lab = lab("", "state.add", &adding("node"));
    assert_eq!(ask(&lab, "ADD", "a"), ["\"1\"", "\"2\""]);
    assert_eq!(ask(&lab, "ADD", "b"), ["\"3\"", "\"4\""]);
    assert_eq!(ask(&lab, "DEL", "a"), ["\"5\"", "\"6\""]);
    assert_eq!(lab.journals(), 0, "no attachment has anything of it");
}

#[test]
fn what_an_attachment_has_is_gone_with_its_del() {
    let lab = lab("", "state.add", &adding("attachment"));
    for _ in 0..2 {
        assert_eq!(ask(&lab, "ADD", "a"), ["\"1\"", "\"2\""]);
        assert_eq!(lab.journals(), 1);
        assert_eq!(ask(&lab, "CHECK", "a"), ["\"3\"", "\"4\""]);
        assert_eq!(ask(&lab, "ADD", "b"), ["\"1\"", "\"2\""]);
        assert_eq!(ask(&lab, "DEL", "a"), ["\"5\"", "\"6\""]);
        assert_eq!(ask(&lab, "DEL", "b"), ["\"3\"", "\"4\""]);
        assert_eq!(lab.journals(), 0);
    }
}

#[test]
fn only_an_add_begins_to_remember_something_of_an_attachment() {
    let lab = lab("", "state.add", &adding("attachment"));
    for verb in ["DEL", "CHECK"] {
        let answer = ask_with(&lab, verb, "a", &config());
        assert!(
            answer.stderr.contains("only an ADD begins to remember something of an attachment"),
            "{answer:?}"
        );
    }
    assert_eq!((lab.journals(), lab.state().join("hooks.db").exists()), (0, false));
}

#[test]
fn a_failed_add_leaves_nothing_of_its_attachment() {
    let lab = lab("", "state.add", &adding("attachment"));
    let mut denied = config();
    denied["hooks"].as_array_mut().unwrap().push(json!({ "module": "nowhere" }));
    let answer = ask_with(&lab, "ADD", "a", &denied);
    assert_eq!((answer.error().code, replies(&answer)), (103, vec!["\"1\"".to_owned()]));
    assert_eq!(lab.journals(), 0);
    assert_eq!(ask(&lab, "ADD", "a"), ["\"1\"", "\"2\""]);
}

#[test]
fn gc_forgets_what_attachments_had_that_are_gone() {
    let lab = lab("", "state.add", &adding("attachment"));
    let node = Node::enter();
    let netns = node.container("gone");
    let call = |verb: &str, config: &Value| {
        let call = Call { container_id: "a".into(), netns: netns.clone(), ..Call::new(verb, config) };
        lab.call(&call)
    };
    assert_eq!(replies(&call("ADD", &config())), ["\"1\"", "\"2\""]);
    node.ip("netns del gone");
    let mut gc = config();
    gc["cni.dev/valid-attachments"] = json!([]);
    let answer = call("GC", &gc);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert_eq!(lab.journals(), 0);
    assert_eq!(replies(&call("ADD", &config())), ["\"1\"", "\"2\""]);
}

#[test]
fn wasmhookctl_forgets_what_attachments_had_that_are_gone() {
    let lab = lab("", "state.add", &adding("attachment"));
    for container in ["a", "b"] {
        assert_eq!(ask(&lab, "ADD", container), ["\"1\"", "\"2\""]);
    }
    // As if the power had gone, and one journal had not reached the disk.
    let listed = lab.ctl(&["attachments", "--container", "b", "-o", "json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    fs::remove_file(listed["attachments"][0]["journal"].as_str().unwrap()).unwrap();
    let valid = lab.path().join("valid");
    fs::write(&valid, "[]").unwrap();
    let gc = lab.ctl(&["gc", "--valid", valid.to_str().unwrap(), "-o", "json"]);
    assert_eq!(gc.code, Some(0), "{gc:?}");
    let report: Value = serde_json::from_str(&gc.stdout).unwrap();
    assert_eq!(report["attachments"][0]["outcome"], "taken-away", "{report}");
    assert_eq!(report["forgotten"], 1, "{report}");
    for container in ["a", "b"] {
        assert_eq!(ask(&lab, "ADD", container), ["\"1\"", "\"2\""]);
    }
}

#[test]
fn what_belongs_to_a_network_outlives_its_attachments() {
    let lab = lab("", "state.add", &adding("network"));
    assert_eq!(ask(&lab, "ADD", "a"), ["\"1\"", "\"2\""]);
    assert_eq!(ask(&lab, "DEL", "a"), ["\"3\"", "\"4\""]);
    assert_eq!(lab.ctl(&["gc"]).code, Some(0));
    let mut gc = config();
    gc["cni.dev/valid-attachments"] = json!([]);
    assert_eq!(replies(&ask_with(&lab, "GC", "", &gc)), ["\"5\"", "\"6\""]);
    let mut other = config();
    other["name"] = json!("another");
    assert_eq!(replies(&ask_with(&lab, "ADD", "a", &other)), ["\"1\"", "\"2\""]);
}

/// Around a plugin that fails where the test says so.
fn around(fakes: &Fakes) -> Value {
    fakes.plugin(
        "one",
        "[ ! -e $here/$CNI_COMMAND.fails ] || { echo '{\"code\":77,\"msg\":\"fails\"}'; exit 1; }
         [ $CNI_COMMAND != ADD ] || echo '{\"cniVersion\":\"1.1.0\",\"ips\":[]}'",
    );
    let mut config = config();
    config.as_object_mut().unwrap().remove("prevResult");
    config["delegate"] = json!({ "type": "one" });
    config
}

#[test]
fn what_an_attachment_has_stays_until_its_del_has_gone_well() {
    let (lab, fakes) = (lab("", "state.add", &adding("attachment")), Fakes::new());
    let config = around(&fakes);
    let call = |verb: &str| lab.call(&Call { path: fakes.path(), ..Call::new(verb, &config) });
    assert_eq!(replies(&call("ADD")), ["\"1\"", "\"2\""]);
    fs::write(fakes.file("DEL.fails"), "").unwrap();
    assert_eq!(replies(&call("DEL")), ["\"3\"", "\"4\""]);
    assert_eq!(lab.journals(), 1);
    fs::remove_file(fakes.file("DEL.fails")).unwrap();
    assert_eq!(replies(&call("DEL")), ["\"5\"", "\"6\""]);
    assert_eq!(lab.journals(), 0);
    fs::write(fakes.file("ADD.fails"), "").unwrap();
    assert_eq!(call("ADD").error().code, 77);
    assert_eq!(lab.journals(), 0);
    fs::remove_file(fakes.file("ADD.fails")).unwrap();
    assert_eq!(replies(&call("ADD")), ["\"1\"", "\"2\""]);
}

#[test]
fn a_damaged_memory_keeps_no_pod_from_going_away_and_is_left_alone() {
    let lab = lab("", "state.add", &adding("attachment"));
    ask(&lab, "ADD", "a");
    let (file, garbage) = (lab.state().join("hooks.db"), "x".repeat(4096));
    for end in ["-wal", "-shm"] {
        let _ = fs::remove_file(lab.state().join(format!("hooks.db{end}")));
    }
    fs::write(&file, &garbage).unwrap();
    let answer = ask_with(&lab, "DEL", "a", &config());
    answer.silent();
    assert!(answer.stderr.contains("move it away (`hooks.db*`)"), "{answer:?}");
    assert_eq!(lab.journals(), 0);
    assert_eq!(fs::read_to_string(&file).unwrap(), garbage);
}

#[test]
fn a_hook_waits_for_another_call_no_longer_than_it_has_time() {
    let lab = lab("", "state.add", &adding("attachment"));
    ask(&lab, "ADD", "a");
    let journal = fs::read_dir(lab.state().join("journal")).unwrap().next().unwrap().unwrap().path();
    let held = File::open(journal).unwrap();
    held.lock().unwrap();
    let mut short = config();
    short["hooks"][0]["limits"] = json!({ "wall": "400ms" });
    let started = Instant::now();
    let answer = ask_with(&lab, "ADD", "a", &short);
    assert!(started.elapsed() < Duration::from_secs(3), "{answer:?}");
    assert!(answer.stderr.contains("\"code\":\"busy\""), "{answer:?}");
}

#[test]
fn a_del_that_finds_nothing_told_looks_for_nothing() {
    let lab = lab("", "state.get", &json!({ "scope": "attachment", "key": "n" }));
    for verb in ["ADD", "CHECK", "DEL"] {
        assert_eq!(ask(&lab, verb, "a"), ["null", "null"]);
    }
    assert!(!lab.state().join("hooks.db").exists());
}

#[test]
fn a_call_whose_hooks_remember_nothing_opens_nothing() {
    let lab = lab("", "clock.now-ns", &json!({}));
    assert_eq!(ask(&lab, "ADD", "a").len(), 2);
    assert!(!lab.state().join("hooks.db").exists());
}

#[test]
fn a_module_has_its_quota() {
    let set = json!({ "scope": "node", "key": "k", "value": "A".repeat(2000), "ttl-s": 0 });
    let lab = lab("state_quota = \"1KiB\"\n", "state.set", &set);
    let answer = ask_with(&lab, "ADD", "a", &config());
    assert!(answer.stderr.contains("1024 are allowed (`state_quota` in the node's settings)"), "{answer:?}");
}

#[test]
fn what_monitors_remembers_and_counts_nothing() {
    let lab = lab("", "state.add", &adding("node"));
    let mut watched = config();
    watched["hooks"][0]["mode"] = json!("monitor");
    assert_eq!(replies(&ask_with(&lab, "ADD", "a", &watched)), ["\"1\"", "\"2\""], "but within the call");
    assert!(!lab.state().join("hooks.db").exists());
}

#[test]
fn the_same_pod_draws_the_same_numbers_again_and_the_log_tells_the_seed() {
    let lab = lab("", "random.next", &json!({}));
    let answer = ask_with(&lab, "ADD", "a", &config());
    assert!(answer.stderr.contains("draws random numbers") && answer.stderr.contains("seed="), "{answer:?}");
    assert_eq!(replies(&answer), ask(&lab, "ADD", "a"));
    assert_ne!(replies(&answer), ask(&lab, "ADD", "b"));
}

#[test]
fn a_draw_can_be_repeated_without_the_node() {
    let lab = lab("seed = 7\n", "random.next", &json!({}));
    let drawn = ask_with(&lab, "ADD", "a", &config());
    assert!(drawn.stderr.contains("node_seed=7"), "{drawn:?}");
    fs::write(lab.path().join("request"), json!({ "containerId": "a", "config": config() }).to_string())
        .unwrap();
    let request = lab.path().join("request").display().to_string();
    let tried = |seed: &str| replies(&lab.ctl(&["try", "c", "--seed", seed, "--request", &request]));
    assert_ne!(tried("8")[0], replies(&drawn)[0]);
    assert_eq!(tried("7")[0], replies(&drawn)[0]);
}

#[test]
fn counters_are_kept_for_prometheus_and_lose_nothing() {
    let counters = tempfile::tempdir().unwrap();
    let count = json!({ "name": "adds_total", "by": "1", "labels": [["namespace", "shop"]] });
    let lab = lab(&format!("metrics = '{}'\n", counters.path().display()), "metrics.count", &count);
    std::thread::scope(|scope| {
        for number in 0..10 {
            let lab = &lab;
            scope.spawn(move || assert_eq!(ask(lab, "ADD", &format!("c{number}")).len(), 2));
        }
    });
    let text = fs::read_to_string(counters.path().join("wasmhook-c.prom")).unwrap();
    assert!(text.ends_with("wasmhook_adds_total{hook=\"c\",namespace=\"shop\"} 20\n"), "{text}");
}

#[test]
fn trying_a_hook_sleeps_nowhere_and_touches_nothing() {
    let lab = lab("", "clock.sleep-ms", &json!({ "ms": 8000 }));
    let started = Instant::now();
    let tried = lab.ctl(&["try", "c"]);
    assert_eq!(tried.code, Some(0), "{tried:?}");
    assert!(tried.stderr.contains("{\"ok\":8000}"), "{tried:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}
