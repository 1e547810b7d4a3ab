use crate::site::{BRIDGE, Site, bridge, entry, rules};
use serde_json::json;
use std::process::Command;

#[test]
fn pods_reach_each_other_and_the_gateway_and_leave_nothing() {
    let site = Site::new();
    let config = bridge(&json!({ "ipMasq": true, "mtu": 1400, "hairpinMode": true }));
    let mut results = Vec::new();
    for pod in ["a", "b"] {
        let _ = site.node.container(pod);
        results.push(site.add(pod, &config));
    }
    assert_eq!(
        results[0]["ips"],
        json!([{ "address": "10.20.0.2/24", "gateway": "10.20.0.1", "interface": 2 }])
    );
    assert_eq!(results[0]["interfaces"][2]["name"], "eth0");
    assert_eq!(results[0]["interfaces"][2]["sandbox"], "/run/netns/a");
    assert!(site.node.ping("a", "10.20.0.3") && site.node.ping("b", "10.20.0.2"));
    assert!(site.node.ping("a", "10.20.0.1"));
    assert_eq!(rules().lines().count(), 2);
    for (pod, result) in ["a", "b"].iter().zip(&results) {
        site.after("CHECK", pod, &config, result).silent();
        site.after("DEL", pod, &config, result).silent();
        // As runtimes do.
        site.call("DEL", pod, &config).silent();
    }
    assert_eq!(site.left("net"), (vec!["br0".to_owned()], vec![], 0, String::new()));
    assert!(!site.inside("a", "ip -o link").contains("eth0"));
}

/// A machine beyond the node that knows nothing of its pods.
fn outside(site: &Site) {
    let _ = site.node.container("outside");
    site.node.ip("link add out0 type veth peer name eth0 netns outside");
    site.node.ip("addr add 192.0.2.1/24 dev out0");
    site.node.ip("link set out0 up");
    site.inside("outside", "ip addr add 192.0.2.2/24 dev eth0");
    site.inside("outside", "ip link set eth0 up");
}

#[test]
fn with_masquerading_pods_reach_what_does_not_know_them() {
    let site = Site::new();
    outside(&site);
    for (pod, masq) in [("unknown", false), ("masked", true)] {
        let _ = site.node.container(pod);
        site.add(pod, &bridge(&json!({ "ipMasq": masq })));
        assert_eq!(site.node.ping(pod, "192.0.2.2"), masq, "{pod}");
    }
    let rules = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    let rules = String::from_utf8(rules.stdout).unwrap();
    assert!(rules.contains("comment \"net eth0 masked\""), "{rules}");
}

#[test]
fn a_cable_of_its_own_leads_to_the_node_and_out() {
    let site = Site::new();
    outside(&site);
    let keys = json!({
        "ipMasq": true, "mtu": 1400, "dns": { "nameservers": ["10.0.0.10"] },
        "ipam": { "type": "host-local", "routes": [{ "dst": "0.0.0.0/0" }, { "dst": "::/0" }],
            "ranges": [[{ "subnet": "10.20.0.0/24" }], [{ "subnet": "fd00:20::/64" }]] },
    });
    let config = entry("1.1.0", "ptp", &BRIDGE, &keys);
    let mut results = Vec::new();
    for pod in ["a", "b"] {
        let _ = site.node.container(pod);
        results.push(site.add(pod, &config));
    }
    assert_eq!(results[0]["dns"], json!({ "nameservers": ["10.0.0.10"] }));
    for address in ["10.20.0.1", "10.20.0.3", "fd00:20::1", "fd00:20::3", "192.0.2.2"] {
        assert!(site.node.ping("a", address), "{address}");
    }
    site.after("CHECK", "a", &config, &results[0]).silent();
    for (pod, result) in ["a", "b"].iter().zip(&results) {
        site.after("DEL", pod, &config, result).silent();
    }
    assert_eq!(site.left("net"), (vec!["out0".to_owned()], vec![], 0, String::new()));
}

#[test]
fn more_routes_come_behind_a_real_plugin_and_are_true() {
    let site = Site::new();
    let _ = site.node.container("a");
    let hook = json!({
        "module": "static-routes", "grants": ["link:container"],
        "config": { "routes": [{ "dst": "198.51.100.0/24" }, { "dst": "203.0.113.0/24", "gw": "10.20.0.9", "mtu": 1300 }] },
    });
    let delegate = json!({
        "type": "bridge", "bridge": "br0", "isGateway": true,
        "ipam": { "type": "host-local", "subnet": "10.20.0.0/24" },
    });
    let config = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": [hook], "delegate": delegate,
    });
    let result = site.add("a", &config);
    assert_eq!(
        result["routes"],
        json!([{ "dst": "198.51.100.0/24", "gw": "10.20.0.1" }, { "dst": "203.0.113.0/24", "gw": "10.20.0.9", "mtu": 1300 }])
    );
    let routes = site.inside("a", "ip route");
    assert!(routes.contains("203.0.113.0/24 via 10.20.0.9 dev eth0 mtu 1300"), "{routes}");
    // The plugin is told of them at CHECK, and finds them: they are true.
    site.after("CHECK", "a", &config, &result).silent();
    site.after("DEL", "a", &config, &result).silent();
    assert_eq!(site.left("net"), (vec!["br0".to_owned()], vec![], 0, String::new()));
    // One that leads nowhere fails the ADD, and what the plugin had made is gone.
    let mut wrong = config;
    wrong["hooks"][0]["config"]["routes"] = json!([{ "dst": "198.51.100.0/24", "gw": "172.31.0.1" }]);
    let error = site.call("ADD", "a", &wrong).error();
    assert!(error.msg.contains("route to 198.51.100.0/24 via 172.31.0.1"), "{error:?}");
    assert_eq!(site.left("net"), (vec!["br0".to_owned()], vec![], 0, String::new()));
}

#[test]
fn a_full_disk_and_a_lock_that_somebody_sits_on_are_clear_errors() {
    let site = Site::new();
    let _ = site.node.container("a");
    std::fs::create_dir_all("/var/lib/cni/networks").unwrap();
    let mount =
        |words: &str| assert!(Command::new("mount").args(words.split(' ')).status().unwrap().success());
    mount("-t tmpfs -o size=16k tmpfs /var/lib/cni/networks");
    std::fs::create_dir("/var/lib/cni/networks/net").unwrap();
    let _ = std::fs::write("/var/lib/cni/networks/filler", vec![0; 64 << 10]);
    let config = bridge(&json!({}));
    let error = site.call("ADD", "a", &config).error();
    assert!(error.msg.contains("No space left on device"), "{error:?}");
    assert_eq!(site.left("net"), (vec!["br0".to_owned()], vec![], 0, String::new()));
    std::fs::remove_file("/var/lib/cni/networks/filler").unwrap();
    // Stopped, as by whoever debugs it.
    let mut sitter = Command::new("flock");
    let mut sitter =
        sitter.args(["--no-fork", "/var/lib/cni/networks/net/lock", "sleep", "60"]).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    let mut hurried = config.clone();
    hurried["hooks"][0]["limits"] = json!({ "wall": "1s" });
    let error = site.call("ADD", "a", &hurried).error();
    sitter.kill().unwrap();
    sitter.wait().unwrap();
    let by = format!("/var/lib/cni/networks/net/lock is locked, by process {} (sleep)", sitter.id());
    assert!(error.msg.starts_with(&by) || error.msg.contains("wall"), "{error:?}");
    assert_eq!(site.left("net"), (vec!["br0".to_owned()], vec![], 0, String::new()));
    site.add("a", &config);
}
