//! Later DELs: runtimes send four to six, and all but the first know next to nothing.

use crate::{Stage, around, bridge, held, made, nothing, with};
use serde_json::{Value, json};
use wasmhook_tests::{Call, Node, wait_for};

/// bridge and portmap, as a runtime with a host port asks for them.
fn with_a_host_port() -> Value {
    let mut config = around(&[]);
    config["delegates"] = json!([bridge(), { "type": "portmap", "capabilities": { "portMappings": true } }]);
    config["capabilities"] = json!({ "portMappings": true });
    config["runtimeConfig"] =
        json!({ "portMappings": [{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }] });
    config
}

fn rules() -> String {
    let output =
        std::process::Command::new("iptables-save").output().expect("iptables-save (package iptables)");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn six_dels_in_a_row_take_away_what_is_this_containers_and_nothing_else() {
    let (node, stage) = (Node::enter(), Stage::new());
    let (netns, other) = (node.container("a"), node.container("b"));
    let config = with_a_host_port();
    let call = |verb, id: &str, netns: &str, config: &Value| Call {
        container_id: id.into(),
        netns: netns.into(),
        ..stage.call(verb, config)
    };
    let mut others = config.clone();
    others["runtimeConfig"]["portMappings"][0]["hostPort"] = json!(9090);
    let _ = stage.lab.call(&call("ADD", "b", &other, &others)).result();
    let kept = (held(&node), stage.lab.journals());
    let result = stage.lab.call(&call("ADD", "a", &netns, &config)).result();
    assert!(rules().contains("8080"));
    let with_result = with(&config, "prevResult", result);
    stage.lab.call(&call("DEL", "a", &netns, &with_result)).silent();
    node.ip("netns del a");
    for _ in 0..5 {
        stage.lab.call(&call("DEL", "a", "", &config)).silent();
        assert_eq!((held(&node), stage.lab.journals()), kept);
    }
    let rules = rules();
    assert!(!rules.contains("8080") && rules.contains("9090"), "{rules}");
    assert!(node.ping("b", "10.9.0.1"));
}

#[test]
fn two_dels_at_the_same_time_do_each_thing_once() {
    let (node, stage) = (Node::enter(), Stage::new());
    for round in 0..10 {
        let id = format!("p{round}");
        let netns = node.container(&id);
        let config = with(&around(&[]), "delegates", json!([bridge(), { "type": "two" }]));
        let call =
            |verb| Call { container_id: id.clone(), netns: netns.clone(), ..stage.call(verb, &config) };
        let _ = stage.lab.call(&call("ADD")).result();
        for running in [stage.start(&call("DEL")), stage.start(&call("DEL"))] {
            running.end().silent();
        }
        assert_eq!((held(&node), stage.lab.journals()), (nothing(), 0), "{round}");
    }
}

/// Of two DELs that are 0.3 ms apart the one that knows less can come first.
#[test]
fn a_del_with_the_namespace_that_waited_for_one_without_still_takes_the_link_away() {
    let (node, stage) = (Node::enter(), Stage::new());
    stage.plugin("two", "[ $CNI_COMMAND = ADD ] || sleep 0.4", &made(1));
    let netns = node.container("a");
    let config = with(&around(&[]), "delegates", json!([bridge(), { "type": "two" }]));
    let call = |verb, netns: &str| Call { netns: netns.into(), ..stage.call(verb, &config) };
    let _ = stage.lab.call(&call("ADD", &netns)).result();
    let first = stage.start(&call("DEL", ""));
    wait_for(|| stage.fakes.calls().contains(&"two DEL".to_owned()).then_some(()));
    stage.lab.call(&call("DEL", &netns)).silent();
    first.end().silent();
    assert_eq!((held(&node), stage.lab.journals()), (nothing(), 0));
}

#[test]
fn a_del_of_what_never_was_is_harmless() {
    let (node, stage) = (Node::enter(), Stage::new());
    let config = with_a_host_port();
    for _ in 0..2 {
        stage.lab.call(&Call { netns: String::new(), ..stage.call("DEL", &config) }).silent();
    }
    assert_eq!((held(&node), stage.lab.journals()), (nothing(), 0));
}

#[test]
fn a_namespace_that_is_gone_is_done() {
    let (node, stage) = (Node::enter(), Stage::new());
    let config = with_a_host_port();
    for netns_of_del in ["/run/netns/a", ""] {
        let netns = node.container("a");
        let result = stage.lab.call(&Call { netns, ..stage.call("ADD", &config) }).result();
        node.ip("netns del a");
        let config = with(&config, "prevResult", result);
        stage.lab.call(&Call { netns: netns_of_del.into(), ..stage.call("DEL", &config) }).silent();
        assert_eq!((node.leases("net"), stage.lab.journals()), (vec![], 0));
        assert!(!rules().contains("8080"));
    }
}
