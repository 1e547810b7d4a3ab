//! C25: what a runtime no longer knows goes, and nothing else.

use crate::{call, calling, fails, ptp, with, wrapping};
use serde_json::{Value, json};
use wasmhook_tests::{Call, Fakes, Lab, Node, PLUGINS};

/// As libcni asks: nothing but a path; the list under both of its names.
fn gc(config: &Value, valid: &[&str]) -> Call {
    let list =
        json!(valid.iter().map(|id| json!({ "containerID": id, "ifname": "eth0" })).collect::<Vec<_>>());
    bare(&with(&with(config, "cni.dev/valid-attachments", list.clone()), "cni.dev/attachments", list))
}

fn bare(config: &Value) -> Call {
    let empty = String::new;
    let call = Call::new("GC", config);
    Call { container_id: empty(), netns: empty(), ifname: empty(), path: PLUGINS.into(), ..call }
}

fn network(name: &str, prefix: &str) -> Value {
    with(&wrapping("1.1.0", &ptp(prefix)), "name", name)
}

/// Containers `a` and `b` in this network.
fn two(node: &Node, lab: &Lab, config: &Value) {
    for id in ["a", "b"] {
        let name = format!("{id}-{}", config["name"].as_str().unwrap());
        let _ = lab.call(&call("ADD", id, &node.container(&name), config)).result();
    }
}

#[test]
fn c25_and_d06_what_died_unseen_is_undone_and_its_address_is_free() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let config = network("net", "10.6.0");
    two(&node, &lab, &config);
    node.ip("netns del a-net");
    lab.call(&gc(&config, &["b"])).silent();
    assert_eq!(node.leases("net"), ["10.6.0.3"]);
    // The other one is as it was.
    assert!(node.ping("b-net", "10.6.0.1"));
    lab.call(&gc(&config, &["b"])).silent();
}

#[test]
fn c25_a_list_that_is_absent_or_null_deletes_nothing() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let config = network("net", "10.6.0");
    two(&node, &lab, &config);
    node.ip("netns del a-net");
    lab.call(&bare(&config)).silent();
    lab.call(&bare(&with(&config, "cni.dev/valid-attachments", Value::Null))).silent();
    assert_eq!(node.leases("net"), ["10.6.0.2", "10.6.0.3"]);
    // An empty list is a list.
    lab.call(&gc(&config, &[])).silent();
    assert_eq!(node.leases("net"), ["10.6.0.3"]);
}

#[test]
fn c25_what_is_alive_stays_whatever_the_list_says() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let config = network("net", "10.6.0");
    two(&node, &lab, &config);
    let _ = lab.call(&gc(&config, &[]));
    assert_eq!(node.leases("net"), ["10.6.0.2", "10.6.0.3"]);
    assert!(node.ping("a-net", "10.6.0.1"));
}

#[test]
fn c25_another_networks_are_never_touched() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let (net, other) = (network("net", "10.6.0"), network("other", "10.5.0"));
    for config in [&net, &other] {
        two(&node, &lab, config);
        node.ip(&format!("netns del a-{}", config["name"].as_str().unwrap()));
    }
    lab.call(&gc(&net, &["b"])).silent();
    assert_eq!(
        (node.leases("net"), node.leases("other")),
        (vec!["10.6.0.3".into()], vec!["10.5.0.2".into(), "10.5.0.3".into()])
    );
}

#[test]
fn c25_the_runtimes_list_is_forwarded_untouched() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    fakes.plugin("a", "");
    fakes.plugin("b", "");
    let config = wrapping("1.1.0", &json!([{ "type": "a", "mine": 1 }, { "type": "b" }]));
    let call = gc(&config, &["x", "y"]);
    lab.call(&Call { path: fakes.path(), ..call.clone() }).silent();
    let told: Value = serde_json::from_str(&call.stdin).unwrap();
    for plugin in ["a", "b"] {
        let got = fakes.told(plugin, "GC");
        for key in ["cni.dev/valid-attachments", "cni.dev/attachments", "name", "cniVersion"] {
            assert_eq!(got[key], told[key], "{plugin}: {key}");
        }
    }
    assert_eq!(fakes.told("a", "GC")["mine"], 1);
}

#[test]
fn c25_it_goes_on_after_errors_and_reports_all() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    fakes.plugin("a", &fails(11, "a is busy"));
    fakes.plugin("b", "");
    fakes.plugin("c", &fails(42, "c is sick"));
    let config = wrapping("1.1.0", &json!([{ "type": "a" }, { "type": "b" }, { "type": "c" }]));
    let error = lab.call(&calling(&fakes, "GC", &config)).error();
    let text = format!("{} {}", error.msg, error.details);
    assert!(text.contains("a is busy") && text.contains("c is sick"), "{error:?}");
    let mut called = fakes.calls();
    called.sort();
    assert_eq!(called, ["a GC", "b GC", "c GC"]);
}

#[test]
fn c33_a_delegate_that_does_not_know_gc_is_not_asked() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    fakes.old_plugin("old", &fails(4, "unknown CNI_COMMAND: GC"));
    fakes.plugin("new", "");
    let config = wrapping("1.1.0", &json!([{ "type": "old" }, { "type": "new" }]));
    lab.call(&calling(&fakes, "GC", &config)).silent();
    assert_eq!(fakes.calls(), ["new GC"]);
}
