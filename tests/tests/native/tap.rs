//! The hook `tap` against what the reference plugin of that name is documented to do, and where it falls short.

use crate::site::{Site, TAP, VERSIONS, entry};
use serde_json::{Value, json};

fn ipam() -> Value {
    json!({ "type": "host-local", "subnet": "10.30.0.0/24", "routes": [{ "dst": "0.0.0.0/0" }] })
}

fn tap(version: &str, keys: &Value) -> Value {
    entry(version, "tap", &TAP, keys)
}

/// What the kernel says of the tap in a container.
fn details(site: &Site, container: &str) -> Value {
    let text = site.inside(container, "ip -d -j link show eth0");
    serde_json::from_str::<Value>(&text).unwrap()[0].clone()
}

#[test]
fn what_the_reference_plugin_documents_holds_in_every_version() {
    let site = Site::new();
    for (number, version) in VERSIONS.into_iter().enumerate() {
        let pod = format!("p{number}");
        let _ = site.node.container(&pod);
        let config = tap(version, &json!({ "mac": "02:00:5e:10:00:01", "mtu": 1400, "ipam": ipam() }));
        let result = site.add(&pod, &config);
        assert_eq!(result["cniVersion"], version);
        let address = format!("10.30.0.{}/24", number + 2);
        if version < "0.3.0" {
            assert_eq!(result["ip4"]["ip"], address, "{result}");
        } else {
            assert_eq!(result["ips"][0]["address"], address, "{result}");
            assert_eq!(result["ips"][0]["interface"], 0);
            let interface = &result["interfaces"][0];
            assert_eq!(interface["name"], "eth0");
            assert_eq!(interface["mac"], "02:00:5e:10:00:01");
            assert_eq!(interface["sandbox"], format!("/run/netns/{pod}"));
            assert_eq!(interface.get("mtu"), (version >= "1.0.0").then(|| json!(1400)).as_ref());
        }
        let link = details(&site, &pod);
        assert_eq!((&link["mtu"], &link["address"]), (&json!(1400), &json!("02:00:5e:10:00:01")));
        assert_eq!(link["linkinfo"]["info_data"]["type"], "tap");
        assert!(site.inside(&pod, "ip route").contains("default via 10.30.0.1 dev eth0"));
        if version >= "0.4.0" {
            site.after("CHECK", &pod, &config, &result).silent();
        }
        site.after("DEL", &pod, &config, &result).silent();
        site.call("DEL", &pod, &config).silent();
        assert!(!site.inside(&pod, "ip -o link").contains("eth0"));
    }
    assert_eq!(site.left("net"), (vec![], vec![], 0, String::new()));
}

#[test]
fn every_tap_has_the_same_flags_and_all_that_is_asked_for() {
    let site = Site::new();
    for (pod, keys) in [
        ("plain", json!({})),
        ("owned", json!({ "owner": 12345, "group": 12346, "mac": "02:00:5e:10:00:02", "mtu": 1300 })),
        ("queues", json!({ "multiQueue": true, "mac": "02:00:5e:10:00:02", "mtu": 1300 })),
    ] {
        let _ = site.node.container(pod);
        site.add(pod, &tap("1.1.0", &keys));
        let link = details(&site, pod);
        let data = &link["linkinfo"]["info_data"];
        let flags = ["pi", "vnet_hdr", "persist"].map(|flag| data[flag].as_bool().unwrap());
        assert_eq!(flags, [false, false, true], "{data}");
        assert_eq!(data["multi_queue"], json!(pod == "queues"));
        assert!(link["flags"].as_array().unwrap().contains(&json!("UP")));
        if pod == "owned" {
            assert_eq!((&data["user"], &data["group"]), (&json!(12345), &json!(12346)), "{data}");
        }
        if pod != "plain" {
            assert_eq!((&link["mtu"], &link["address"]), (&json!(1300), &json!("02:00:5e:10:00:02")));
        }
    }
}

#[test]
fn a_second_tap_of_that_name_is_an_error_that_leaks_nothing() {
    let site = Site::new();
    let _ = site.node.container("a");
    let config = tap("1.1.0", &json!({ "ipam": ipam() }));
    let mut other = config.clone();
    other["hooks"][0]["module"] = "tap".into();
    other["id"] = "other".into();
    let result = site.add("a", &config);
    assert_eq!(site.call("ADD", "a", &config).error().code, 104);
    let refused = site.call("ADD", "a", &other).error();
    assert_eq!((refused.code, refused.msg.as_str()), (999, "container: link \"eth0\": it is there already"));
    assert_eq!((site.node.leases("net").len(), site.lab.journals()), (1, 1));
    site.after("CHECK", "a", &config, &result).silent();
}

#[test]
fn whatever_fails_leaves_no_link_and_no_lease() {
    let site = Site::new();
    let _ = site.node.container("a");
    for (keys, words) in [
        (json!({ "bridge": "br9", "ipam": ipam() }), "`bridge`: the container has no link br9"),
        (json!({ "mac": "01:00:5e:10:00:01", "ipam": ipam() }), "`mac`: 01:00:5e:10:00:01 is a group's"),
        (json!({ "mac": "nonsense", "ipam": ipam() }), "`mac`: \"nonsense\" is no hardware address"),
        (json!({ "mtu": 7, "ipam": ipam() }), "link \"eth0\": Invalid argument"),
        (json!({ "selinuxContext": "a_t", "ipam": ipam() }), "selinuxContext \"a_t\""),
        (json!({ "ipam": { "type": "host-local", "subnet": "10.30.0.1/24" } }), "write 10.30.0.0/24"),
        (json!({ "ipam": { "type": "nobody" } }), "failed to find plugin \"nobody\""),
    ] {
        let answer = site.call("ADD", "a", &tap("1.0.0", &keys));
        let error = answer.error();
        assert!(error.msg.contains(words), "{answer:?}");
        assert!(!site.inside("a", "ip -o link").contains("eth0"), "{words}");
        assert_eq!(site.left("net"), (vec![], vec![], 0, String::new()), "{words}");
    }
    // A pool with one address, which somebody has.
    let small = json!({ "type": "host-local", "ranges": [[{ "subnet": "10.30.0.0/30" }]] });
    let _ = site.node.container("b");
    site.add("b", &tap("1.0.0", &json!({ "ipam": small })));
    let error = site.call("ADD", "a", &tap("1.0.0", &json!({ "ipam": small }))).error();
    assert!(error.msg.starts_with("no address is left in 10.30.0.1-10.30.0.2"), "{error:?}");
    assert_eq!((site.node.leases("net").len(), site.lab.journals()), (1, 1));
}

#[test]
fn addresses_may_come_from_a_plugin() {
    let site = Site::new();
    let _ = site.node.container("a");
    let mut config = tap("1.0.0", &json!({ "ipam": ipam() }));
    config["hooks"][0]["config"] = json!({ "ipam": "plugin" });
    config["hooks"][0]["grants"] = json!(["tap", "link", "ipam:host-local"]);
    let result = site.add("a", &config);
    assert_eq!(result["ips"][0]["address"], "10.30.0.2/24");
    site.after("CHECK", "a", &config, &result).silent();
    site.after("DEL", "a", &config, &result).silent();
    assert_eq!(site.left("net"), (vec![], vec![], 0, String::new()));
    // The native pool is another grant.
    config["hooks"][0]["config"] = json!({});
    let denied = site.call("ADD", "a", &config).error();
    assert_eq!(denied.msg, "`ipam.allocate` needs the grant `ipam:native`");
}

#[test]
fn del_works_without_a_namespace_after_it_is_gone_and_twice() {
    let site = Site::new();
    let config = tap("1.1.0", &json!({ "ipam": ipam() }));
    for how in ["no netns", "gone", "after the reference plugin"] {
        let _ = site.node.container("a");
        let result = site.add("a", &config);
        if how == "gone" {
            site.node.ip("netns del a");
        }
        if how == "after the reference plugin" {
            // Whoever made it had no journal of ours.
            std::fs::remove_dir_all(site.lab.state().join("journal")).unwrap();
        }
        let mut call = wasmhook_tests::Call::new("DEL", &config);
        call.container_id = "a".into();
        if how == "no netns" {
            call.netns = String::new();
        } else {
            call.netns = "/run/netns/a".into();
            call.stdin = {
                let mut config = config.clone();
                config["prevResult"] = result;
                config.to_string()
            };
        }
        site.lab.call(&call).silent();
        site.lab.call(&call).silent();
        assert_eq!(site.node.leases("net"), Vec::<String>::new(), "{how}");
        assert_eq!(site.lab.journals(), 0, "{how}");
        if how != "gone" {
            site.node.ip("netns del a");
        }
    }
}

#[test]
fn check_finds_what_is_no_longer_as_add_had_it() {
    let site = Site::new();
    let config = tap("1.1.0", &json!({ "ipam": ipam() }));
    for (pod, harm, words) in [
        ("address", "ip addr flush dev eth0", "link eth0 has no address 10.30.0.2/24"),
        ("route", "ip route del default", "link eth0 has no route to 0.0.0.0/0"),
        ("mac", "ip link set eth0 address 02:00:00:00:00:99", "link eth0 has the hardware address"),
        ("mtu", "ip link set eth0 mtu 1280", "link eth0 has an MTU of 1280"),
        ("gone", "ip link del eth0", "container: link \"eth0\": there is none"),
    ] {
        let _ = site.node.container(pod);
        let result = site.add(pod, &config);
        site.after("CHECK", pod, &config, &result).silent();
        site.inside(pod, harm);
        let error = site.after("CHECK", pod, &config, &result).error();
        assert!(error.msg.starts_with(words), "{error:?}");
        site.after("DEL", pod, &config, &result).silent();
    }
    let _ = site.node.container("a");
    let result = site.add("a", &config);
    let mut elsewhere = result.clone();
    elsewhere["interfaces"][0]["sandbox"] = "/run/netns/other".into();
    let error = site.after("CHECK", "a", &config, &elsewhere).error();
    assert_eq!(error.msg, "sandbox \"/run/netns/other\" in prevResult is not the netns \"/run/netns/a\"");
    let address = result["ips"][0]["address"].as_str().unwrap().trim_end_matches("/24");
    std::fs::remove_file(format!("/var/lib/cni/networks/net/{address}")).unwrap();
    let error = site.after("CHECK", "a", &config, &result).error();
    assert_eq!(error.msg, "eth0 of a has no address in \"net\"");
}

#[test]
fn a_tap_becomes_a_port_of_the_containers_bridge() {
    let site = Site::new();
    let _ = site.node.container("a");
    site.inside("a", "ip link add br0 type bridge");
    let config = tap("1.1.0", &json!({ "bridge": "br0" }));
    let result = site.add("a", &config);
    assert_eq!(details(&site, "a")["master"], "br0");
    site.after("CHECK", "a", &config, &result).silent();
    let mut status = config.clone();
    status["hooks"][0]["required"] = true.into();
    site.call("STATUS", "", &status).silent();
}
