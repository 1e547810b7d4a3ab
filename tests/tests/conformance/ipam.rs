//! C22, C29 and C31 as IPAM: below a plugin that asks for addresses.

use crate::{bridge, call, calling, error, lab_that_says, says, with};
use serde_json::{Value, json};
use std::path::Path;
use wasmhook_tests::{Answer, Call, Fakes, Lab, Node, PLUGINS, dist};

/// bridge, which asks us, who ask this plugin.
fn config(delegate: &Value) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br0", "isGateway": true,
        "ipam": { "type": "wasmhook", "hooks": [], "delegate": delegate },
    })
}

/// A call to bridge itself, which finds us.
fn to_bridge(lab: &Lab, verb: &str, netns: &str, config: &Value) -> Answer {
    let own = dist("wasmhook").parent().unwrap().display().to_string();
    let call = Call { path: format!("{PLUGINS}:{own}"), ..call(verb, "c", netns, config) };
    let mut command = call.command(&Path::new(PLUGINS).join("bridge"));
    Answer::of(command.env("WASMHOOK_CONFIG", lab.settings()), &call.stdin)
}

#[test]
fn c29_below_bridge_an_address_comes_from_host_local_through_us() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let netns = node.container("c");
    let config = config(&bridge()["ipam"]);
    let result = to_bridge(&lab, "ADD", &netns, &config).result();
    assert_eq!(
        (&result["ips"][0]["address"], node.leases("net")),
        (&json!("10.9.0.2/24"), vec!["10.9.0.2".into()])
    );
    assert!(node.ping("c", "10.9.0.1"));
    let config = with(&config, "prevResult", result);
    to_bridge(&lab, "CHECK", &netns, &config).silent();
    to_bridge(&lab, "DEL", &netns, &config).silent();
    assert_eq!(node.leases("net"), [""; 0]);
}

#[test]
fn c22_below_bridge_the_address_is_freed_when_the_netns_is_gone() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let config = config(&bridge()["ipam"]);
    let netns = node.container("c");
    let _ = to_bridge(&lab, "ADD", &netns, &config).result();
    node.ip("netns del c");
    for netns in [netns.as_str(), ""] {
        to_bridge(&lab, "DEL", netns, &config).silent();
        assert_eq!(node.leases("net"), [""; 0]);
    }
}

#[test]
fn c29_below_bridge_a_hook_has_its_say() {
    let said =
        json!({ "cniVersion": "1.0.0", "ips": [{ "address": "10.9.0.77/24", "gateway": "10.9.0.1" }] });
    let (node, lab) = (Node::enter(), lab_that_says(&said));
    let mut config = config(&bridge()["ipam"]);
    config["ipam"]["hooks"] = json!([{ "module": "say" }]);
    let netns = node.container("c");
    let result = to_bridge(&lab, "ADD", &netns, &config).result();
    assert_eq!(result["ips"][0]["address"], "10.9.0.77/24");
    assert!(node.ip("-n c addr show eth0").contains("10.9.0.77/24"));
    to_bridge(&lab, "DEL", &netns, &with(&config, "prevResult", result)).silent();
    assert_eq!(node.leases("net"), [""; 0]);
}

#[test]
fn c29_the_inner_plugin_gets_the_whole_configuration_with_its_own_ipam() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    let made = json!({ "cniVersion": "1.0.0", "ips": [{ "address": "10.0.0.2/24" }] });
    fakes.plugin("fake", &says(&made));
    let inner = json!({ "type": "fake", "pool": "blue" });
    let config = with(&config(&inner), "runtimeConfig", json!({ "ips": ["10.0.0.2"] }));
    let wanted = with(&config, "ipam", inner);
    assert_eq!(lab.call(&calling(&fakes, "ADD", &config)).result(), made);
    assert_eq!(fakes.told("fake", "ADD"), wanted);
    lab.call(&calling(&fakes, "DEL", &config)).silent();
    let told = fakes.told("fake", "DEL");
    for (key, value) in wanted.as_object().unwrap() {
        assert_eq!(told[key], *value, "{key}");
    }
}

#[test]
fn c31_an_ipam_without_addresses_is_an_error() {
    for result in [json!({ "cniVersion": "1.0.0" }), json!({ "cniVersion": "1.0.0", "ips": [] })] {
        let (lab, fakes) = (Lab::new("module"), Fakes::new());
        fakes.plugin("fake", &says(&result));
        let (_, msg) = error(&lab.call(&calling(&fakes, "ADD", &config(&json!({ "type": "fake" })))));
        assert!(msg.contains("IP"), "{msg}");
        assert_eq!(fakes.calls(), ["fake ADD", "fake DEL"]);
    }
}
