//! C20 to C22: ADD and DEL, and that a failed ADD leaves nothing.

use crate::{bridge, call, calling, chained, error, fails, says, with, wrapping};
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use wasmhook_tests::{Answer, Call, Fakes, Lab, Node, PLUGINS, wait_for};

/// What the kernel is told and has no knob for.
fn failing_tuning() -> Value {
    json!({ "type": "tuning", "sysctl": { "net.ipv4.nonsense": "1" } })
}

/// The kernel takes its time to take down the links of a namespace that is gone.
pub(crate) fn nothing_but_the_bridge(node: &Node) {
    wait_for(|| (node.links() == ["br0"]).then_some(()));
    assert_eq!(node.leases("net"), [""; 0]);
}

#[test]
fn c20_with_nothing_to_change_the_previous_result_comes_back() {
    for isolation in ["module", "none"] {
        let lab = Lab::new(isolation);
        for hooks in [json!([]), json!([{ "module": "identity" }])] {
            let result = json!({
                "cniVersion": "1.0.0", "interfaces": [{ "name": "eth0", "sandbox": "/n", "vendor": 1 }],
                "ips": [{ "address": "10.0.0.2/24", "interface": 0 }],
            });
            let config = with(&chained("1.0.0", &result), "hooks", hooks);
            assert_eq!(lab.call(&Call::new("ADD", &config)).result(), result);
            lab.call(&Call::new("CHECK", &config)).silent();
            lab.call(&Call::new("DEL", &config)).silent();
        }
    }
}

#[test]
fn c20_an_add_with_nobody_to_make_a_result_says_so() {
    let lab = Lab::new("module");
    for prev_result in [None, Some(Value::Null)] {
        let mut config = wrapping("1.0.0", &Value::Null);
        config.as_object_mut().unwrap().remove("delegate");
        if let Some(prev_result) = prev_result {
            config["prevResult"] = prev_result;
        }
        let (code, msg) = error(&lab.call(&Call::new("ADD", &config)));
        assert_eq!(code, 7);
        assert!(msg.starts_with("no prevResult, no `delegate`, and no hook answered"), "{msg}");
    }
}

#[test]
fn c21_a_failed_chain_is_undone_and_the_error_is_the_plugins_own() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let netns = node.container("c");
    let alone = with(&failing_tuning(), "prevResult", json!({ "cniVersion": "1.0.0", "ips": [] }));
    let alone = call("ADD", "c", &netns, &with(&with(&alone, "cniVersion", "1.0.0"), "name", "net"));
    let own = Answer::of(&mut alone.command(&Path::new(PLUGINS).join("tuning")), &alone.stdin);
    let own: Value = serde_json::from_str(&own.stdout).unwrap();

    let config = wrapping("1.0.0", &json!([bridge(), failing_tuning()]));
    let (code, msg) = error(&lab.call(&call("ADD", "c", &netns, &config)));
    assert_eq!((json!(code), json!(msg)), (own["code"].clone(), own["msg"].clone()));
    nothing_but_the_bridge(&node);
    assert!(!node.ip("-n c link").contains("eth0"));

    // The runtime's own DEL after it, without prevResult, is harmless; and so is the next try.
    lab.call(&call("DEL", "c", &netns, &config)).silent();
    let _ = lab.call(&call("ADD", "c", &netns, &wrapping("1.0.0", &bridge()))).result();
}

#[test]
fn c21_undoing_goes_backwards_and_goes_on() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    fakes.plugin("a", &says(&json!({ "ips": [] })));
    let sulky = format!("[ $CNI_COMMAND = ADD ] || {{ {}; }}", fails(42, "will not go"));
    fakes.plugin("b", &format!("{sulky}\n{}", says(&json!({ "ips": [] }))));
    fakes.plugin("c", &fails(77, "no room"));
    fakes.plugin("d", &says(&json!({ "ips": [] })));
    let list = ["a", "b", "c", "d"].map(|it| json!({ "type": it }));
    let answer = lab.call(&calling(&fakes, "ADD", &wrapping("1.0.0", &json!(list))));
    assert_eq!(error(&answer), (77, "no room".into()));
    assert_eq!(fakes.calls(), ["a ADD", "b ADD", "c ADD", "c DEL", "b DEL", "a DEL"]);
    assert!(answer.stderr.contains("will not go"), "{answer:?}");
}

#[test]
fn d02_a_second_add_is_refused_and_leaves_the_first_alone() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let netns = node.container("c");
    let config = wrapping("1.0.0", &bridge());
    let result = lab.call(&call("ADD", "c", &netns, &config)).result();
    let (links, leases) = (node.links(), node.leases("net"));
    let (_, msg) = error(&lab.call(&call("ADD", "c", &netns, &config)));
    assert_eq!(
        msg,
        "eth0 of this container is attached to this network already: DEL comes before another ADD (and two wasmhook entries in one list need an `id` each)"
    );
    assert_eq!((node.links(), node.leases("net")), (links, leases));
    assert!(node.ip("-n c addr show eth0").contains(result["ips"][0]["address"].as_str().unwrap()));
    lab.call(&call("DEL", "c", &netns, &with(&config, "prevResult", result))).silent();
    nothing_but_the_bridge(&node);
}

#[test]
fn d04_an_add_that_fails_halfway_leaves_no_link() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let mut full = bridge();
    full["ipam"]["ranges"] =
        json!([[{ "subnet": "10.9.0.0/24", "rangeStart": "10.9.0.2", "rangeEnd": "10.9.0.2" }]]);
    let first = node.container("a");
    let config = wrapping("1.0.0", &full);
    let _ = lab.call(&call("ADD", "a", &first, &config)).result();
    let links = node.links();
    for (id, config) in [
        ("b", config),
        ("c", with(&wrapping("1.0.0", &bridge()), "args", json!({ "cni": { "mac": "02:00:00:00:00" } }))),
        ("d", wrapping("1.0.0", &with(&bridge(), "ipam", json!({ "type": "host-local" })))),
    ] {
        let netns = node.container(id);
        let answer = lab.call(&call("ADD", id, &netns, &config));
        assert_eq!(answer.code, Some(1), "{answer:?}");
        assert_eq!((node.links(), node.leases("net").len()), (links.clone(), 1), "{answer:?}");
        assert!(!node.ip(&format!("-n {id} link")).contains("eth0"), "{answer:?}");
    }
}

#[test]
fn c22_del_succeeds_when_the_netns_is_gone_and_when_it_is_repeated() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let netns = node.container("c");
    let config = wrapping("1.0.0", &bridge());
    let _ = lab.call(&call("ADD", "c", &netns, &config)).result();
    assert_eq!(node.leases("net"), ["10.9.0.2"]);
    node.ip("netns del c");
    lab.call(&call("DEL", "c", &netns, &config)).silent();
    nothing_but_the_bridge(&node);
    for netns in ["", "", &netns] {
        lab.call(&call("DEL", "c", netns, &config)).silent();
    }
}

#[test]
fn c22_del_succeeds_when_the_link_is_gone() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let netns = node.container("c");
    let config = wrapping("1.0.0", &bridge());
    let result = lab.call(&call("ADD", "c", &netns, &config)).result();
    node.ip("-n c link del eth0");
    lab.call(&call("DEL", "c", &netns, &with(&config, "prevResult", result))).silent();
    nothing_but_the_bridge(&node);
}

#[test]
fn c22_del_succeeds_for_what_was_never_there() {
    let (_node, lab) = (Node::enter(), Lab::new("module"));
    let portmap = json!({ "type": "portmap", "capabilities": { "portMappings": true } });
    for plugin in
        [bridge(), crate::ptp("10.8.0"), json!({ "type": "loopback" }), portmap, json!({ "type": "tuning" })]
    {
        let mut config = wrapping("1.0.0", &plugin);
        config["capabilities"] = json!({ "portMappings": true });
        for netns in ["", "/run/netns/gone"] {
            lab.call(&call("DEL", "never", netns, &config)).silent();
        }
    }
}

/// Kubelets do that, 0.3 ms apart.
#[test]
fn c22_two_dels_at_once_both_succeed() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let netns = node.container("c");
    let config = wrapping("1.0.0", &bridge());
    let _ = lab.call(&call("ADD", "c", &netns, &config)).result();
    let call = call("DEL", "c", &netns, &config);
    let children = [(); 2].map(|()| {
        let mut child = lab.command(&call).spawn().unwrap();
        child.stdin.take().unwrap().write_all(call.stdin.as_bytes()).unwrap();
        child
    });
    for child in children {
        Answer::from(child.wait_with_output().unwrap()).silent();
    }
    nothing_but_the_bridge(&node);
}

#[test]
fn c22_del_has_no_stdout_whatever_a_plugin_prints() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    fakes.plugin("chatty", "echo '{\"ips\":[]}'; echo nonsense");
    lab.call(&calling(&fakes, "DEL", &wrapping("1.0.0", &json!({ "type": "chatty" })))).silent();
    assert_eq!(fakes.calls(), ["chatty DEL"]);
}

/// Three plugins; `b` refuses its first DEL.
fn one_that_refuses_once() -> (Fakes, Value) {
    let fakes = Fakes::new();
    let result = says(&json!({ "ips": [] }));
    fakes.plugin("a", &result);
    fakes.plugin(
        "b",
        &format!("[ $CNI_COMMAND = DEL ] && mkdir $here/refused && {{ {}; }}\n{result}", fails(11, "busy")),
    );
    fakes.plugin("c", &result);
    let list = ["a", "b", "c"].map(|it| json!({ "type": it }));
    (fakes, wrapping("1.0.0", &json!(list)))
}

#[test]
fn c22_a_delegates_del_error_is_returned_after_everything_else_was_tried() {
    let lab = Lab::new("module");
    let (fakes, config) = one_that_refuses_once();
    // Nobody knows of an ADD.
    assert_eq!(error(&lab.call(&calling(&fakes, "DEL", &config))), (11, "busy".into()));
    assert_eq!(fakes.calls(), ["c DEL", "b DEL", "a DEL"]);
}

#[test]
fn c22_what_owns_the_address_keeps_it_until_those_behind_it_are_done() {
    let lab = Lab::new("module");
    let (fakes, config) = one_that_refuses_once();
    let _ = lab.call(&calling(&fakes, "ADD", &config)).result();
    assert_eq!(error(&lab.call(&calling(&fakes, "DEL", &config))), (11, "busy".into()));
    assert_eq!(fakes.calls()[3..], ["c DEL", "b DEL"]);
    lab.call(&calling(&fakes, "DEL", &config)).silent();
    assert_eq!(fakes.calls()[5..], ["b DEL", "a DEL"]);
}

#[test]
fn c22_who_wants_it_goes_on_past_a_del_that_failed() {
    let lab = Lab::new("module");
    let (fakes, config) = one_that_refuses_once();
    let config = with(&config, "onDelError", "continue");
    let _ = lab.call(&calling(&fakes, "ADD", &config)).result();
    assert_eq!(error(&lab.call(&calling(&fakes, "DEL", &config))), (11, "busy".into()));
    assert_eq!(fakes.calls()[3..], ["c DEL", "b DEL", "a DEL"]);
    lab.call(&calling(&fakes, "DEL", &config)).silent();
    assert_eq!(fakes.calls()[6..], ["b DEL"]);
}
