//! Around Debian's real plugins, in private namespaces.

#![allow(clippy::unwrap_used, clippy::must_use_candidate, reason = "panicking is how a test speaks")]

use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use wasmhook_tests::{Call, Fakes, Lab, Node};

fn bridge() -> Value {
    json!({
        "type": "bridge", "bridge": "br0", "isGateway": true,
        "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.9.0.0/24" }]], "routes": [{ "dst": "0.0.0.0/0" }] },
    })
}

fn wrapping(delegate: &Value, hooks: &Value) -> Value {
    json!({ "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": hooks, "delegate": delegate })
}

fn call(verb: &str, id: &str, netns: &str, config: &Value) -> Call {
    Call { container_id: id.into(), netns: netns.into(), ..Call::new(verb, config) }
}

/// The runtime's later calls carry the result of ADD.
fn with_result(config: &Value, result: &Value) -> Value {
    let mut config = config.clone();
    config["prevResult"] = result.clone();
    config
}

fn mtu(node: &Node, container: &str) -> u64 {
    let text = node.ip(&format!("-j -n {container} link show eth0"));
    serde_json::from_str::<Value>(&text).unwrap()[0]["mtu"].as_u64().unwrap()
}

#[test]
fn two_containers_behind_bridge_get_the_hooks_mtu_and_reach_each_other() {
    let node = Node::enter();
    for isolation in ["module", "none"] {
        let lab = Lab::new(isolation);
        let hooks = json!([{ "module": "mtu", "grants": ["carry"], "config": { "mtu": 1400 } }]);
        let config = wrapping(&bridge(), &hooks);
        let mut results = Vec::new();
        for id in ["a", "b"] {
            let name = format!("{id}-{isolation}");
            let netns = node.container(&name);
            let answer = lab.call(&call("ADD", &name, &netns, &config));
            let result = answer.result();
            assert!(answer.stderr.contains("has an MTU of 1400; it was to be the kernel's"), "{answer:?}");
            assert_eq!(mtu(&node, &name), 1400);
            results.push((name, netns, result));
        }
        let address = results[1].2["ips"][0]["address"].as_str().unwrap().trim_end_matches("/24").to_owned();
        assert!(node.ping(&results[0].0, &address));
        for (name, netns, result) in results {
            lab.call(&call("CHECK", &name, &netns, &with_result(&config, &result))).silent();
            lab.call(&call("DEL", &name, &netns, &with_result(&config, &result))).silent();
            // Runtimes repeat themselves, with less and less to say.
            lab.call(&call("DEL", &name, "", &config)).silent();
        }
        assert_eq!(node.leases("net"), [""; 0]);
        assert_eq!(node.links(), ["br0"]);
    }
}

#[test]
fn ptp_and_portmap_chained_after_us_work_as_without_us() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let ptp = json!({ "type": "ptp", "ipam": { "type": "host-local", "subnet": "10.8.0.0/24" } });
    let hooks = json!([{ "module": "mtu", "grants": ["carry"], "config": { "mtu": 1300 } }]);
    let config = wrapping(&ptp, &hooks);
    let netns = node.container("p");
    let result = lab.call(&call("ADD", "p", &netns, &config)).result();
    assert_eq!(mtu(&node, "p"), 1300);

    let portmap = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "id": "ports", "hooks": [{ "module": "identity" }],
        "capabilities": { "portMappings": true },
        "runtimeConfig": { "portMappings": [{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }] },
        "prevResult": result,
        "delegate": { "type": "portmap", "capabilities": { "portMappings": true } },
    });
    let mapped = lab.call(&call("ADD", "p", &netns, &portmap)).result();
    assert_eq!(mapped["ips"], result["ips"]);
    let rules = rules();
    assert!(rules.contains("--dport 8080") && rules.contains("10.8.0.2:80"), "{rules}");

    lab.call(&call("DEL", "p", &netns, &portmap)).silent();
    lab.call(&call("DEL", "p", &netns, &with_result(&config, &result))).silent();
    assert!(!self::rules().contains("8080"));
    assert_eq!((node.links(), node.leases("net")), (vec![], vec![]));
}

fn rules() -> String {
    let output =
        std::process::Command::new("iptables-save").output().expect("iptables-save (package iptables)");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn host_local_alone_can_be_wrapped() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let ipam = json!({ "type": "host-local", "ipam": { "type": "host-local", "subnet": "10.7.0.0/24" } });
    let config = wrapping(&ipam, &json!([{ "module": "identity" }]));
    let netns = node.container("h");
    let result = lab.call(&call("ADD", "h", &netns, &config)).result();
    assert_eq!(result["ips"][0]["address"], "10.7.0.2/24");
    assert_eq!(node.leases("net"), ["10.7.0.2"]);
    lab.call(&call("DEL", "h", &netns, &config)).silent();
    assert_eq!(node.leases("net"), [""; 0]);
}

#[test]
fn a_denied_pod_gets_a_sentence_and_nothing_is_made() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let rule = json!({ "name": "sandboxes", "podNamespaces": ["sandbox-*"], "deny": "they have no network; ask #platform" });
    let config = wrapping(&bridge(), &json!([{ "module": "policy", "config": { "rules": [rule] } }]));
    let netns = node.container("d");
    let error = lab.call(&call("ADD", "d", &netns, &config).pod("sandbox-1", "web")).error();
    assert_eq!(error.code, 100);
    assert_eq!(
        error.msg,
        "pod sandbox-1/web may not join network net: rule \"sandboxes\": they have no network; ask #platform"
    );
    assert_eq!((node.links(), node.leases("net")), (vec![], vec![]));

    let error = lab.call(&call("ADD", "d", &netns, &config)).error();
    assert_eq!(error.code, 101);
    assert!(
        error.msg.contains("hook `policy`: the hook reports: rule \"sandboxes\": which pod is it?"),
        "{error:?}"
    );

    let result = lab.call(&call("ADD", "d", &netns, &config).pod("shop", "web")).result();
    lab.call(&call("DEL", "d", &netns, &with_result(&config, &result))).silent();
    assert_eq!(node.leases("net"), [""; 0]);
}

#[test]
fn a_fault_after_the_plugin_leaves_nothing_of_what_the_plugin_made() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let fault = json!({ "scripts": { "ADD": { "before": "delay(20ms)", "after": "error(11:injected:on purpose)" } } });
    let config =
        wrapping(&bridge(), &json!([{ "module": "fault", "grants": ["clock", "state"], "config": fault }]));
    let netns = node.container("f");
    let answer = lab.call(&call("ADD", "f", &netns, &config));
    let error = answer.error();
    assert_eq!((error.code, error.msg.as_str(), error.details.as_str()), (11, "injected", "on purpose"));
    assert!(
        answer.stderr.contains("injecting error(11:injected:on purpose) into f (ADD, attempt 1, seed 0)"),
        "{answer:?}"
    );
    assert_eq!((node.links(), node.leases("net")), (vec!["br0".to_owned()], vec![]));
}

#[test]
fn a_fault_for_half_of_them_hits_the_same_ones_again() {
    let lab = Lab::new("none");
    let fault = json!({ "scripts": { "ADD": "error(11:injected)" } });
    let half = json!({ "percent": 50, "seed": 7 });
    let config = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "prevResult": { "cniVersion": "1.0.0" },
        "hooks": [{ "module": "fault", "grants": ["clock", "state"], "when": half, "config": fault }],
    });
    let hits = || {
        (0..20).map(|id| lab.call(&call("ADD", &format!("c{id}"), "/n", &config)).code).collect::<Vec<_>>()
    };
    let first = hits();
    assert_eq!(first, hits());
    assert!(first.contains(&Some(0)) && first.contains(&Some(1)), "{first:?}");
}

/// A plugin that does what no real one does.
fn fake(lab: &Lab, script: &str) -> Call {
    let path = lab.path().join("fake");
    fs::write(&path, format!("#!/bin/sh\necho $CNI_COMMAND >> {}/verbs\n{script}\n", lab.path().display()))
        .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let config = wrapping(&json!({ "type": "fake" }), &json!([{ "module": "identity" }]));
    Call { path: lab.path().display().to_string(), ..Call::new("ADD", &config) }
}

#[test]
fn a_del_goes_on_past_a_hook_that_may_fail_it() {
    let lab = Lab::new("module");
    lab.install("bad", &wasmhook_tests::component("", "unreachable", "unreachable"));
    let mut call = fake(&lab, "exit 0");
    let mut config: Value = serde_json::from_str(&call.stdin).unwrap();
    config["hooks"] = json!([{ "module": "bad", "onFailure": { "DEL": "fail" } }]);
    (call.verb, call.stdin) = ("DEL".into(), config.to_string());
    assert_eq!(lab.ctl(&["compile", "bad"]).code, Some(0));
    let error = lab.call(&call).error();
    assert!(error.msg.starts_with("hook `bad`: trap"), "{error:?}");
    assert_eq!(fs::read_to_string(lab.path().join("verbs")).unwrap(), "DEL\n");
}

#[test]
fn a_hook_that_refuses_a_del_is_heard_only_where_the_entry_says_so() {
    let lab = Lab::new("module");
    let mut call = fake(&lab, "exit 0");
    let (data, body) = wasmhook_tests::deny(77, "not now");
    lab.install("bad", &wasmhook_tests::component(&data, body, wasmhook_tests::GO_ON));
    assert_eq!(lab.ctl(&["compile", "bad"]).code, Some(0));
    let mut config: Value = serde_json::from_str(&call.stdin).unwrap();
    config["hooks"] = json!([{ "module": "bad" }]);
    (call.verb, call.stdin) = ("DEL".into(), config.to_string());
    let answer = lab.call(&call);
    answer.silent();
    assert!(answer.stderr.contains("wants DEL to fail: not now; ignored"), "{answer:?}");
    config["mayFailDel"] = json!(true);
    call.stdin = config.to_string();
    let error = lab.call(&call).error();
    assert_eq!((error.code, error.msg.as_str()), (77, "not now"));
    assert_eq!(fs::read_to_string(lab.path().join("verbs")).unwrap(), "DEL\nDEL\n");
}

/// A plugin that ends closes its pipes one after the other: whoever spins in between keeps it from ending.
#[test]
fn a_delegate_that_has_closed_one_of_its_pipes_is_waited_for_without_spinning() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    // User and system time of its parent, in hundredths of a second.
    let ticks = "cut -d' ' -f14,15 /proc/$PPID/stat > $here/$pipe.ticks";
    for (pipe, close) in [("out", "exec >&-"), ("err", "exec 2>&-")] {
        let script = format!("pipe={pipe}; echo '{{\"ips\":[]}}'; {close}; sleep 1; {ticks}");
        fakes.plugin("fake", &script);
        let config = wrapping(&json!({ "type": "fake" }), &json!([]));
        let call = Call { path: fakes.path(), container_id: pipe.into(), ..Call::new("ADD", &config) };
        let _ = lab.call(&call).result();
        let ticks = fs::read_to_string(fakes.file(&format!("{pipe}.ticks"))).unwrap();
        let ticks: u32 = ticks.split_whitespace().map(|it| it.parse::<u32>().unwrap()).sum();
        assert!(ticks < 30, "{pipe}: {ticks} hundredths of the second that there was nothing to do");
    }
}
