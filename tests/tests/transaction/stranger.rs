//! Undo never hits a stranger.

use crate::{Stage, around, bridge, has_link, with};
use nix::mount::{MsFlags, mount};
use serde_json::{Value, json};
use wasmhook_tests::{Call, Node};

/// What a delegate finds as the namespace.
fn netns(stage: &Stage, name: &str, verb: &str) -> String {
    stage.fakes.environment(name, verb)["CNI_NETNS"].clone()
}

/// Behind the path of this container is another namespace now, with an `eth0` of its own.
fn replace(node: &Node, netns: &str) {
    let other = node.container("stranger");
    node.ip("-n stranger link add eth0 type bridge");
    let nothing: Option<&str> = None;
    mount(Some(other.as_str()), netns, nothing, MsFlags::MS_BIND, nothing).unwrap();
}

fn bridge_and_one() -> Value {
    with(&around(&[]), "delegates", json!([bridge(), { "type": "one" }]))
}

#[test]
fn after_a_reboot_the_namespace_is_somebody_elses() {
    let (node, stage) = (Node::enter(), Stage::new());
    let container = node.container("a");
    let call = |verb| Call { netns: container.clone(), ..stage.call(verb, &bridge_and_one()) };
    let result = stage.lab.call(&call("ADD")).result();
    stage.reboot();
    let answer = stage
        .lab
        .call(&Call { stdin: with(&bridge_and_one(), "prevResult", result).to_string(), ..call("DEL") });
    answer.silent();
    assert!(answer.stderr.contains("is not the one that ADD had"), "{answer:?}");
    assert_eq!(netns(&stage, "one", "DEL"), "");
    // bridge has not been told of it, and its address is free.
    assert!(has_link("a", "eth0"));
    assert_eq!((node.leases("net"), stage.lab.journals()), (vec![], 0));
}

#[test]
fn another_namespace_at_the_same_path_is_left_alone() {
    let (node, stage) = (Node::enter(), Stage::new());
    let container = node.container("a");
    let call = |verb| Call { netns: container.clone(), ..stage.call(verb, &bridge_and_one()) };
    let _ = stage.lab.call(&call("ADD")).result();
    replace(&node, &container);
    stage.lab.call(&call("DEL")).silent();
    assert_eq!(netns(&stage, "one", "DEL"), "");
    assert!(has_link("stranger", "eth0"));
    assert_eq!((node.leases("net"), stage.lab.journals()), (vec![], 0));
}

#[test]
fn nor_does_the_cleaning_up_before_another_add_touch_it() {
    let (node, stage) = (Node::enter(), Stage::new());
    let container = node.container("a");
    let call = |verb, config: &Value| Call { netns: container.clone(), ..stage.call(verb, config) };
    let _ = stage.lab.call(&call("ADD", &bridge_and_one())).result();
    replace(&node, &container);
    let _ = stage.lab.call(&call("ADD", &around(&["two"]))).result();
    assert_eq!(stage.calls(), ["one ADD", "one DEL", "two ADD"]);
    assert_eq!(netns(&stage, "one", "DEL"), "");
    assert!(has_link("stranger", "eth0"));
    assert_eq!((node.leases("net"), stage.lab.journals()), (vec![], 1));
}

#[test]
fn our_own_namespace_at_del_is_gone_with_a_journal_and_error_8_without() {
    let (node, stage) = (Node::enter(), Stage::new());
    let (container, own) = (node.container("a"), node.own_netns("own"));
    node.ip("link add eth0 type bridge");
    let add = Call { netns: container, ..stage.call("ADD", &bridge_and_one()) };
    let del = Call { netns: own, ..stage.call("DEL", &bridge_and_one()) };
    let error = stage.lab.call(&del).error();
    assert_eq!(
        (error.code, error.msg.as_str()),
        (8, "plugin's netns and netns from CNI_NETNS should not be the same")
    );
    assert!(stage.calls().is_empty());
    let _ = stage.lab.call(&add).result();
    stage.lab.call(&del).silent();
    assert_eq!(netns(&stage, "one", "DEL"), "");
    assert_eq!((node.leases("net"), stage.lab.journals()), (vec![], 0));
    assert!(node.links().contains(&"eth0".to_owned()), "the node's own");
    assert_eq!(stage.lab.call(&del).error().code, 8, "all is done, and nothing is known any more");
}
