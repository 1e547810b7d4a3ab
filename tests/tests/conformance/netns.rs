//! C26: a namespace that is our own is nobody's container.

use crate::{bridge, call, calling, chained, error, ptp, says, wrapping};
use serde_json::{Value, json};
use wasmhook_tests::{Answer, Call, Fakes, Lab, Node, wait_for};

const OWN: &str = "plugin's netns and netns from CNI_NETNS should not be the same";

#[test]
fn c26_and_d01_add_refuses_our_own_namespace_before_anything_is_done() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let own = node.own_netns("own");
    let nothing = chained("1.0.0", &json!({ "ips": [] }));
    for config in [wrapping("1.0.0", &bridge()), wrapping("1.0.0", &ptp("10.8.0")), nothing] {
        assert_eq!(error(&lab.call(&call("ADD", "c", &own, &config))), (8, OWN.into()));
        assert_eq!((node.links(), node.leases("net")), (vec![], vec![]));
    }
}

#[test]
fn c26_a_namespace_that_cannot_be_opened_is_the_delegates_business() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    fakes.plugin("fake", &says(&json!({ "ips": [] })));
    let config = wrapping("1.0.0", &json!({ "type": "fake" }));
    let _ = lab.call(&calling(&fakes, "ADD", &config)).result();
    assert_eq!(fakes.calls(), ["fake ADD"]);
}

#[test]
fn c26_the_override_allows_it() {
    let (node, lab, fakes) = (Node::enter(), Lab::new("module"), Fakes::new());
    fakes.plugin("fake", &says(&json!({ "ips": [] })));
    let own = node.own_netns("own");
    let config = wrapping("1.0.0", &json!({ "type": "fake" }));
    let add = |number: usize, value: &str| {
        let call = Call { path: fakes.path(), ..call("ADD", &format!("c{number}"), &own, &config) };
        Answer::of(lab.command(&call).env("CNI_NETNS_OVERRIDE", value), &call.stdin)
    };
    for (number, value) in ["1", "true", "TRUE", "True"].into_iter().enumerate() {
        let _ = add(number, value).result();
    }
    for value in ["", "0", "yes", "11"] {
        assert_eq!(error(&add(9, value)), (8, OWN.into()), "{value:?}");
    }
    assert_eq!(fakes.calls(), ["fake ADD"; 4]);
}

/// The number of a dead container's process has been given to one of the host's.
#[test]
fn c26_and_d01_del_of_what_we_never_made_touches_nothing_on_the_host() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let own = node.own_netns("own");
    node.ip("link add eth0 type bridge");
    for plugin in [bridge(), ptp("10.8.0"), json!({ "type": "loopback" })] {
        assert_eq!(error(&lab.call(&call("DEL", "c", &own, &wrapping("1.0.0", &plugin)))), (8, OWN.into()));
        assert_eq!((node.links(), lab.journals()), (vec!["eth0".to_owned()], 0));
    }
}

#[test]
fn c26_and_d01_del_of_what_we_made_takes_such_a_namespace_for_gone() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let netns = node.container("c");
    let config: Value = wrapping("1.0.0", &ptp("10.8.0"));
    let _ = lab.call(&call("ADD", "c", &netns, &config)).result();
    node.ip("netns del c");
    let netns = node.own_netns("c");
    node.ip("link add eth0 type bridge");
    lab.call(&call("DEL", "c", &netns, &config)).silent();
    // The kernel takes its time to take down the links of a namespace that is gone.
    wait_for(|| (node.links() == ["eth0"]).then_some(()));
    assert_eq!(node.leases("net"), [""; 0]);
}
