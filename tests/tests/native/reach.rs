//! A hook sees and touches what its grants say, and nothing else.

use crate::site::{Site, entry};
use serde_json::{Value, json};
use wasmhook_tests::calling_before;

/// Every host function that has a place, asked for the host's.
fn calls(ns: &str) -> Vec<(&'static str, Value)> {
    let name = "victim";
    vec![
        ("link.all", json!({ "ns": ns })),
        ("link.get", json!({ "ns": ns, "name": name })),
        ("link.create", json!({ "ns": ns, "spec": "{\"name\":\"new0\",\"kind\":\"ifb\"}" })),
        ("link.update", json!({ "ns": ns, "name": name, "change": "{\"mtu\":1280}" })),
        ("link.delete", json!({ "ns": ns, "name": name })),
        ("link.move-to", json!({ "ns": ns, "name": name, "to": "container", "new-name": "" })),
        ("link.addresses", json!({ "ns": ns, "name": name })),
        ("link.add-address", json!({ "ns": ns, "name": name, "address": "{\"address\":\"10.9.0.1/24\"}" })),
        ("link.del-address", json!({ "ns": ns, "name": name, "cidr": "10.8.0.1/24" })),
        ("link.routes", json!({ "ns": ns, "filter": "" })),
        ("link.add-route", json!({ "ns": ns, "route": "{\"dst\":\"192.0.2.0/24\",\"dev\":\"victim\"}" })),
        ("link.del-route", json!({ "ns": ns, "route": "{\"dst\":\"10.8.0.0/24\"}" })),
        ("link.neighbours", json!({ "ns": ns, "name": name })),
        (
            "link.set-neighbour",
            json!({ "ns": ns, "name": name, "neighbour": "{\"address\":\"10.8.0.9\",\"mac\":\"02:00:00:00:00:09\"}" }),
        ),
        ("link.del-neighbour", json!({ "ns": ns, "name": name, "address": "10.8.0.9" })),
        ("link.announce", json!({ "ns": ns, "name": name, "address": "10.8.0.1" })),
        ("link.features", json!({ "ns": ns, "name": name })),
        (
            "link.set-feature",
            json!({ "ns": ns, "name": name, "feature": "tx-checksum-ip-generic", "on": false }),
        ),
        ("tap.create", json!({ "ns": ns, "spec": "{\"name\":\"tap0\"}" })),
        ("nft.apply", json!({ "ns": ns, "rules": "{\"family\":\"ip\",\"chains\":[]}" })),
        ("sysctl.write", json!({ "ns": ns, "key": "net/ipv4/ip_forward", "value": "1", "keep": true })),
        (
            "ipam.apply",
            json!({ "ns": ns, "link": name, "res": "{\"cniVersion\":\"1.0.0\",\"ips\":[{\"address\":\"10.9.0.1/24\"}]}", "options": "" }),
        ),
        // In the container, with one end or parent outside.
        (
            "link.create",
            json!({ "ns": "container", "spec": "{\"name\":\"new0\",\"kind\":{\"veth\":{\"peer\":{\"name\":\"out0\",\"place\":\"host\"}}}}" }),
        ),
        (
            "link.create",
            json!({ "ns": "container", "spec": "{\"name\":\"new0\",\"kind\":{\"macvlan\":{\"parent\":\"victim\",\"parentPlace\":\"host\"}}}" }),
        ),
    ]
}

#[test]
fn a_hook_for_the_container_can_neither_see_nor_touch_the_host() {
    let site = Site::new();
    let _ = site.node.container("a");
    site.node.ip("link add victim type bridge");
    site.node.ip("addr add 10.8.0.1/24 dev victim");
    site.node.ip("link set victim up");
    let before = site.node.ip("addr show") + &site.node.ip("route") + &crate::site::rules();
    let grants = ["link:container", "tap:container", "nft:container", "sysctl", "ipam"];
    for (number, (operation, input)) in calls("host").iter().enumerate() {
        let name = format!("c{number}");
        site.lab
            .install(&name, &calling_before(&json!({ "operation": operation, "input": input }).to_string()));
        let keys = json!({ "prevResult": { "cniVersion": "1.0.0", "ips": [] } });
        let answer = site.call("ADD", "a", &entry("1.0.0", &name, &grants, &keys));
        let _ = answer.result();
        let denied = answer.stderr.contains("\"code\":\"denied\"");
        assert!(denied, "{operation} {input}: {}", answer.stderr);
        site.call("DEL", "a", &entry("1.0.0", &name, &grants, &json!({}))).silent();
    }
    assert_eq!(site.node.ip("addr show") + &site.node.ip("route") + &crate::site::rules(), before);
}

#[test]
fn what_others_have_made_is_taken_away_only_with_the_grant_for_any() {
    let site = Site::new();
    let _ = site.node.container("a");
    site.node.ip("link add victim type bridge");
    let message = json!({ "operation": "link.delete", "input": { "ns": "host", "name": "victim" } });
    site.lab.install("c", &calling_before(&message.to_string()));
    let keys = json!({ "prevResult": { "cniVersion": "1.0.0", "ips": [] } });
    let answer = site.call("ADD", "a", &entry("1.0.0", "c", &["link"], &keys));
    let denied = "link \\\"victim\\\" is not this attachment's own: this needs the grant `link:any`";
    assert!(answer.stderr.contains(denied), "{answer:?}");
    assert_eq!(site.node.links(), ["victim"]);
    let _ = site.call("ADD", "a", &entry("1.0.0", "c", &["link", "link:any"], &keys)).result();
    assert_eq!(site.node.links(), Vec::<String>::new());
}

#[test]
fn nothing_is_made_or_changed_outside_add() {
    let site = Site::new();
    let _ = site.node.container("a");
    for (number, (operation, input)) in calls("container").iter().enumerate() {
        let name = format!("c{number}");
        site.lab
            .install(&name, &calling_before(&json!({ "operation": operation, "input": input }).to_string()));
        let mut config =
            entry("1.0.0", &name, &["link", "link:any", "tap", "nft", "sysctl", "ipam"], &json!({}));
        config["prevResult"] = json!({ "cniVersion": "1.0.0", "ips": [] });
        let answer = site.call("CHECK", "a", &config);
        let made = ["create", "update", "move", "add-", "set-", "write", "apply"];
        if made.iter().any(|it| operation.contains(it)) {
            assert!(!answer.stderr.contains("{\"ok\""), "{operation}: {}", answer.stderr);
        }
    }
    assert_eq!(site.inside("a", "ip -o link").lines().count(), 1);
    assert_eq!(site.lab.journals(), 0);
}
