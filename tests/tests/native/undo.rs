//! What host functions did is taken back, whoever comes to do it, and strangers are left alone.

use crate::site::{BRIDGE, Site, bridge, entry};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};
use wasmhook_tests::{Call, calling_before};

#[test]
fn an_add_that_fails_after_the_work_takes_all_of_it_back() {
    let site = Site::new();
    let _ = site.node.container("a");
    let config = bridge(&json!({ "ipMasq": true }));
    // Its `pre` is not asked any more once another has answered; its `post` is the first.
    let mut after = config.clone();
    after["hooks"] = json!([config["hooks"][0], { "module": "nowhere" }]);
    let mut before = config.clone();
    before["hooks"] = json!([{ "module": "nowhere" }, config["hooks"][0]]);
    for config in [&before, &after] {
        let error = site.call("ADD", "a", config).error();
        assert_eq!(error.code, 103, "{error:?}");
        let (links, leases, journals, rules) = site.left("net");
        assert_eq!((leases, journals, rules), (vec![], 0, String::new()));
        assert!(links.iter().all(|it| it == "br0"), "{links:?}");
        assert!(!site.inside("a", "ip -o link").contains("eth0"));
    }
}

#[test]
fn gc_takes_back_what_belongs_to_nobody_and_frees_its_address() {
    let site = Site::new();
    let config = bridge(&json!({ "ipMasq": true }));
    for pod in ["gone", "stays"] {
        let _ = site.node.container(pod);
        site.add(pod, &config);
    }
    let listed = site.lab.ctl(&["attachments", "--container", "stays", "-o", "json"]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let effects: Vec<_> = listed["attachments"][0]["effects"].as_array().unwrap().iter().collect();
    assert_eq!(effects.len(), 3, "{listed}");
    assert_eq!(effects[1], "lease /var/lib/cni/networks/net/10.20.0.3");
    let table = site.lab.ctl(&["attachments"]).stdout;
    assert!(table.contains("link, lease, rules"), "{table}");
    site.node.ip("netns del gone");
    let mut gc = config.clone();
    gc["cniVersion"] = "1.1.0".into();
    gc["cni.dev/valid-attachments"] = json!([{ "containerID": "stays", "ifname": "eth0" }]);
    site.call("GC", "", &gc).silent();
    let (links, leases, journals, rules) = site.left("net");
    assert_eq!(
        (links.len(), leases, journals, rules.lines().count()),
        (2, vec!["10.20.0.3".to_owned()], 1, 1)
    );
    assert!(site.node.ping("stays", "10.20.0.1"));
}

#[test]
fn a_stranger_with_the_same_name_is_left_alone() {
    let site = Site::new();
    let _ = site.node.container("a");
    let config = bridge(&json!({}));
    let result = site.add("a", &config);
    let veth = result["interfaces"][1]["name"].as_str().unwrap();
    // Somebody takes ours away and makes one that is called the same.
    site.node.ip(&format!("link del {veth}"));
    site.node.ip(&format!("link add {veth} type veth peer name other"));
    site.node.ip(&format!("link property add dev {veth} altname strangers"));
    site.after("DEL", "a", &config, &result).silent();
    let mut links = site.node.links();
    links.retain(|it| it != "br0");
    assert_eq!(links.len(), 2, "{links:?}");
    assert_eq!(site.lab.journals(), 0);
}

#[test]
fn what_was_changed_is_what_it_was() {
    let site = Site::new();
    let _ = site.node.container("a");
    site.inside("a", "ip link add eth0 type veth peer name peer0");
    let before = site.inside("a", "ip -d link show eth0");
    let keys = json!({ "prevResult": { "cniVersion": "1.0.0", "ips": [] } });
    let calls = [
        ("link.update", json!({ "ns": "container", "name": "eth0", "change": "{\"mtu\":1280,\"up\":true}" })),
        (
            "link.add-address",
            json!({ "ns": "container", "name": "eth0", "address": "{\"address\":\"10.7.0.1/24\"}" }),
        ),
        (
            "sysctl.write",
            json!({ "ns": "container", "key": "net/ipv4/ip_forward", "value": "1", "keep": false }),
        ),
        (
            "link.set-feature",
            json!({ "ns": "container", "name": "eth0", "feature": "tx-checksum-ip-generic", "on": false }),
        ),
        (
            "link.set-neighbour",
            json!({ "ns": "container", "name": "eth0", "neighbour": "{\"address\":\"10.7.0.9\",\"mac\":\"02:00:00:00:00:09\",\"permanent\":true}" }),
        ),
    ];
    let mut hooks = Vec::new();
    for (number, (operation, input)) in calls.iter().enumerate() {
        let name = format!("c{number}");
        site.lab
            .install(&name, &calling_before(&json!({ "operation": operation, "input": input }).to_string()));
        hooks.push(json!({ "module": name, "grants": ["link", "sysctl"] }));
    }
    let mut config = entry("1.0.0", "c0", &[], &keys);
    config["hooks"] = json!(hooks);
    let answer = site.call("ADD", "a", &config);
    let _ = answer.result();
    assert!(site.inside("a", "ip addr show eth0").contains("10.7.0.1/24"), "{answer:?}");
    assert_eq!(site.inside("a", "sysctl -n net.ipv4.ip_forward").trim(), "1");
    assert!(site.inside("a", "ip neigh").contains("02:00:00:00:00:09"));
    config.as_object_mut().unwrap().remove("prevResult");
    site.call("DEL", "a", &config).silent();
    assert_eq!(site.inside("a", "sysctl -n net.ipv4.ip_forward").trim(), "0");
    // A link that has been up has another way of having no queue.
    let now = site.inside("a", "ip -d link show eth0").replace("qdisc noqueue", "qdisc noop");
    assert_eq!(now, before);
    assert!(!site.inside("a", "ip addr show eth0").contains("10.7.0.1"));
    assert_eq!(site.lab.journals(), 0);
}

#[test]
fn a_plugin_that_a_hook_has_run_gets_its_del() {
    let site = Site::new();
    let _ = site.node.container("a");
    let inner = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br7",
        "ipam": { "type": "host-local", "subnet": "10.40.0.0/24" },
    });
    let message = json!({ "operation": "plugin.invoke", "input": { "plugin-type": "bridge", "verb": "", "config": inner.to_string() } });
    site.lab.install("c", &calling_before(&message.to_string()));
    let mut config = entry(
        "1.0.0",
        "c",
        &["plugin:bridge"],
        &json!({ "prevResult": { "cniVersion": "1.0.0", "ips": [] } }),
    );
    let answer = site.call("ADD", "a", &config);
    let _ = answer.result();
    assert!(answer.stderr.contains("10.40.0.2/24"), "{answer:?}");
    assert!(site.inside("a", "ip addr show eth0").contains("10.40.0.2/24"));
    config.as_object_mut().unwrap().remove("prevResult");
    // Nobody needs to be asked.
    config["hooks"] = json!([]);
    site.call("DEL", "a", &config).silent();
    assert_eq!((site.node.leases("net").len(), site.lab.journals()), (0, 0));
    assert!(!site.inside("a", "ip -o link").contains("eth0"));
}

#[test]
fn the_time_of_a_plugin_that_a_hook_runs_is_not_the_hooks() {
    let site = Site::new();
    let _ = site.node.container("a");
    let plugins = site.lab.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    fs::write(
        plugins.join("slow"),
        "#!/bin/sh\ncat >/dev/null\nsleep 1\necho '{\"cniVersion\":\"1.0.0\",\"ips\":[]}'\n",
    )
    .unwrap();
    fs::set_permissions(plugins.join("slow"), fs::Permissions::from_mode(0o755)).unwrap();
    let inner = json!({ "cniVersion": "1.0.0", "name": "net", "type": "slow" });
    let message = json!({ "operation": "plugin.invoke", "input": { "plugin-type": "slow", "verb": "", "config": inner.to_string() } });
    site.lab.install("c", &calling_before(&message.to_string()));
    for isolation in ["module", "call", "none"] {
        site.lab.configure(isolation, &wasmhook_tests::dist("wasmhookctl"));
        let mut config = entry(
            "1.0.0",
            "c",
            &["plugin:slow"],
            &json!({ "prevResult": { "cniVersion": "1.0.0", "ips": [] } }),
        );
        config["hooks"][0]["limits"] = json!({ "wall": "400ms" });
        let call = |verb: &str| {
            let path = plugins.to_str().unwrap().to_owned();
            let call = Call {
                container_id: "a".into(),
                netns: "/run/netns/a".into(),
                path,
                ..Call::new(verb, &config)
            };
            site.lab.call(&call)
        };
        let answer = call("ADD");
        let _ = answer.result();
        assert!(answer.stderr.contains("\"ok\""), "{isolation}: {answer:?}");
        call("DEL").silent();
    }
    assert_eq!(site.lab.journals(), 0);
}

#[test]
fn links_and_leases_are_counted_per_attachment() {
    let site = Site::new();
    let _ = site.node.container("a");
    let mut config = bridge(&json!({}));
    config["hooks"][0]["limits"] = json!({ "links": 1 });
    site.add("a", &config);
    let _ = site.node.container("b");
    let two = json!({ "type": "host-local", "ranges": [[{ "subnet": "10.20.0.0/24" }], [{ "subnet": "fd00:20::/64" }]] });
    let mut config = bridge(&json!({ "ipam": two }));
    config["hooks"][0]["limits"] = json!({ "leases": 1 });
    let error = site.call("ADD", "b", &config).error();
    assert_eq!(error.msg, "limit of 1 leases of an attachment reached (raise `limits.leases`)");
    assert_eq!((site.node.leases("net").len(), site.lab.journals()), (1, 1));
}

/// Killed at times all over its life; whatever it had begun, the DELs that follow leave nothing.
#[test]
fn a_hook_that_is_killed_at_work_leaves_nothing_after_del() {
    let pool = json!({ "ipam": { "type": "host-local", "subnet": "10.20.0.0/24" } });
    let tap = entry("1.1.0", "tap", &crate::site::TAP, &pool);
    let kinds = [("bridge", bridge(&json!({ "ipMasq": true }))), ("tap", tap)];
    let running = kinds.map(|(kind, config)| std::thread::spawn(move || kill(kind, &config)));
    for killed in running {
        killed.join().unwrap();
    }
}

fn kill(kind: &str, config: &Value) {
    const KILLS: u32 = 100;
    let site = Site::new();
    let _ = site.node.container("warm");
    site.add("warm", config);
    site.call("DEL", "warm", config).silent();
    let started = Instant::now();
    let result = site.add("warm", config);
    let alone = started.elapsed();
    site.after("DEL", "warm", config, &result).silent();
    let mut longest = Duration::ZERO;
    for number in 0..KILLS {
        let pod = format!("{kind}{number}");
        let netns = site.node.container(&pod);
        let call = Call { container_id: pod.clone(), netns, ..Call::new("ADD", config) };
        let mut running = site.lab.command(&call).spawn().unwrap();
        std::io::Write::write_all(&mut running.stdin.take().unwrap(), call.stdin.as_bytes()).unwrap();
        // Beyond its end: it takes longer beside another.
        std::thread::sleep(alone * number / KILLS * 3 / 2);
        running.kill().unwrap();
        running.wait().unwrap();
        let started = Instant::now();
        site.call("DEL", &pod, config).silent();
        longest = longest.max(started.elapsed());
        assert!(!site.inside(&pod, "ip -o link").contains("eth0"), "{pod}");
        if number % 2 == 0 {
            site.node.ip(&format!("netns del {pod}"));
        }
        site.call("DEL", &pod, config).silent();
    }
    let (links, leases, journals, rules) = site.left("net");
    assert_eq!((leases, journals, rules), (vec![], 0, String::new()));
    assert!(links.iter().all(|it| it == "br0"), "{links:?}");
    println!("{kind}: {KILLS} kills, nothing left, the longest DEL took {longest:?}");
}

#[test]
fn two_hundred_at_once_beside_the_plugin_have_two_hundred_addresses() {
    let site = Site::new();
    let native = entry(
        "1.0.0",
        "bridge",
        &BRIDGE,
        &json!({ "bridge": "br0", "isGateway": true, "ipam": { "type": "host-local", "subnet": "10.20.0.0/16" } }),
    );
    let debian = json!({ "cniVersion": "1.0.0", "name": "net", "type": "host-local", "ipam": { "type": "host-local", "subnet": "10.20.0.0/16" } });
    let pods: Vec<_> = (0..200).map(|number| format!("p{number}")).collect();
    for pod in pods.iter().step_by(2) {
        let _ = site.node.container(pod);
    }
    // The first makes the bridge.
    let running: Vec<_> = pods
        .iter()
        .enumerate()
        .map(|(number, pod)| {
            let (program, config) = match number % 2 {
                0 => (wasmhook_tests::dist("wasmhook"), &native),
                _ => ("/usr/lib/cni/host-local".into(), &debian),
            };
            let call = Call {
                container_id: pod.clone(),
                netns: format!("/run/netns/{pod}"),
                ..Call::new("ADD", config)
            };
            let mut command = call.command(&program);
            command.env("WASMHOOK_CONFIG", site.lab.settings());
            let mut child = command.spawn().unwrap();
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), call.stdin.as_bytes()).unwrap();
            child
        })
        .collect();
    for child in running {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
    assert_eq!(site.node.leases("net").len(), 200);
    let held = fs::read_dir("/var/lib/cni/networks/net").unwrap().count();
    assert_eq!(held, 202, "leases, the lock and the last one");
}
