//! The hook `bridge` beside Debian's plugin `bridge` with host-local: the same configuration makes the same network.

use crate::site::{BRIDGE, Site, entry};
use serde_json::{Value, json};
use std::thread;

fn configurations() -> Vec<(&'static str, Value)> {
    let v4 = json!({ "type": "host-local", "ranges": [[{ "subnet": "10.20.0.0/24" }]], "routes": [{ "dst": "192.0.2.0/24" }] });
    let both = json!({
        "type": "host-local",
        "ranges": [[{ "subnet": "10.20.0.0/24", "rangeStart": "10.20.0.50" }], [{ "subnet": "fd00:20::/64" }]],
        "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }],
    });
    vec![
        ("a cable", json!({ "bridge": "br0", "ipam": v4 })),
        ("no addresses", json!({ "bridge": "br0", "ipam": {} })),
        ("a gateway", json!({ "bridge": "br0", "isGateway": true, "ipam": v4, "mtu": 1400 })),
        (
            "the default gateway",
            json!({ "bridge": "br0", "isDefaultGateway": true, "ipam": v4, "hairpinMode": true }),
        ),
        ("both families", json!({ "bridge": "br0", "isGateway": true, "ipMasq": true, "ipam": both })),
        ("promiscuous", json!({ "isGateway": true, "promiscMode": true, "ipam": v4 })),
        (
            "a hardware address",
            json!({ "bridge": "br0", "ipam": v4, "args": { "cni": { "mac": "02:00:5e:10:00:07" } } }),
        ),
    ]
}

#[test]
fn the_same_configuration_makes_the_same_links_addresses_routes_and_settings() {
    for (name, keys) in configurations() {
        let mut theirs = keys.clone();
        for (key, value) in [("cniVersion", "1.0.0"), ("name", "net"), ("type", "bridge")] {
            theirs[key] = value.into();
        }
        let ours = entry("1.0.0", "bridge", &BRIDGE, &keys);
        let their = thread::spawn(move || network_of("bridge", &theirs)).join().unwrap();
        let our = thread::spawn(move || network_of("wasmhook", &ours)).join().unwrap();
        let mut differences = Vec::new();
        compare("", &our, &their, &mut differences);
        assert!(differences.is_empty(), "{name}, ours and theirs:\n{}", differences.join("\n"));
    }
}

/// Where two documents differ, a line each.
fn compare(at: &str, ours: &Value, theirs: &Value, differences: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(one), Value::Object(other)) => {
            for key in one.keys().chain(other.keys().filter(|key| !one.contains_key(*key))) {
                compare(&format!("{at}/{key}"), &ours[key], &theirs[key], differences);
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                compare(&format!("{at}/{index}"), one, other, differences);
            }
        }
        (one, other) if one == other => {}
        (one, other) => differences.push(format!("{at}: {one} | {other}")),
    }
}

/// Everything that can be seen of a node with one container on it.
fn network_of(plugin: &str, config: &Value) -> Value {
    let site = Site::new();
    let _ = site.node.container("a");
    let result = if plugin == "wasmhook" {
        site.add("a", config)
    } else {
        let call = wasmhook_tests::Call {
            container_id: "a".into(),
            netns: "/run/netns/a".into(),
            ..wasmhook_tests::Call::new("ADD", config)
        };
        let mut command = call.command(&std::path::Path::new("/usr/lib/cni").join(plugin));
        wasmhook_tests::Answer::of(&mut command, &call.stdin).result()
    };
    // Duplicate addresses are looked for, or not, in the background.
    thread::sleep(std::time::Duration::from_millis(if config["ipam"].to_string().contains("fd00") {
        2500
    } else {
        50
    }));
    let host = |words: &str| site.node.ip(words);
    let inside = |words: &str| site.inside("a", &format!("ip {words}"));
    let setting = |key: &str| {
        let key = key.replace('.', "/");
        json!([read(&format!("/proc/sys/{key}")), site.inside("a", &format!("cat /proc/sys/{key}")).trim()])
    };
    let conf =
        |family: &str, name: &str| site.inside("a", &format!("cat /proc/sys/net/{family}/conf/eth0/{name}"));
    let addresses = !config["ipam"].as_object().unwrap().is_empty();
    let mut seen = json!({
        "result": result,
        "host": seen(&host),
        "container": seen(&inside),
        "forwarding": [setting("net.ipv4.ip_forward"), setting("net.ipv6.conf.all.forwarding")],
        "arp_notify": if addresses { conf("ipv4", "arp_notify") } else { String::new() },
        "disable_ipv6": conf("ipv6", "disable_ipv6"),
    });
    // Newer than Debian's plugin: a result that tells MTUs, and leaves an empty `dns` out.
    for interface in seen["result"]["interfaces"].as_array_mut().unwrap() {
        interface.as_object_mut().unwrap().remove("mtu");
    }
    if seen["result"]["dns"] == json!({}) {
        seen["result"].as_object_mut().unwrap().remove("dns");
    }
    let veth = seen["result"]["interfaces"][1]["name"].as_str().unwrap().to_owned();
    settle(&mut seen, &veth);
    seen
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap().trim().to_owned()
}

fn seen(ip: &dyn Fn(&str) -> String) -> Value {
    let parse = |words: &str| serde_json::from_str::<Value>(ip(words).trim()).unwrap_or_else(|_| json!([]));
    json!({
        "links": parse("-d -j link show"),
        "addresses": parse("-j addr show"),
        "routes": parse("-j -4 route show"),
        "routes6": parse("-j -6 route show"),
    })
}

/// What is another each time is taken out: numbers, random names and addresses, and what ours are marked with. And the length of
/// queues, which is the kernel's with us and 0 with the plugin: a veth has no queue until somebody gives it one, and then one of no
/// packets is a trap; and whether IPv6 was asked for somebody else with the address: a pool knows, and it takes a second.
fn settle(value: &mut Value, veth: &str) {
    const OTHER: [&str; 14] = [
        "ifindex",
        "link_index",
        "link_netnsid",
        "altnames",
        "stats64",
        "mac",
        "address",
        "valid_life_time",
        "preferred_life_time",
        "hello_timer",
        "gc_timer",
        "tcn_timer",
        "txqlen",
        "nodad",
    ];
    match value {
        Value::Object(members) => {
            let is_number = |key: &str, value: &Value| {
                OTHER.contains(&key)
                    && !(key == "address" && value.as_str().is_some_and(|it| it.contains('/')))
                    || key.starts_with("bridge_id")
                    || key.ends_with("_id")
                    || key.starts_with("root_")
                    || key.starts_with("designated_")
                    || key.ends_with("_timer")
                    || key == "topology_change_timer"
                    || key == "id"
            };
            members.retain(|key, value| !is_number(key, value));
            members.values_mut().for_each(|value| settle(value, veth));
        }
        Value::Array(values) => {
            // Of the kernel's choice, by the hardware address.
            values.retain(|value| !value["local"].as_str().is_some_and(|it| it.starts_with("fe80")));
            for value in values {
                settle(value, veth);
            }
        }
        Value::String(text) if text == veth => "veth".clone_into(text),
        _ => {}
    }
}
