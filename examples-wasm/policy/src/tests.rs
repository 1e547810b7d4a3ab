use super::*;
use serde_json::{Value, json};

fn request(config: &Value, rules: &Value) -> Request {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let runtime_config = config.get("runtimeConfig").cloned().unwrap_or_else(|| json!({}));
    Request {
        verb: "ADD".into(),
        network: "net".into(),
        ifname: "eth0".into(),
        plugin: "bridge".into(),
        config: config.to_string(),
        args: [pair("K8S_POD_NAMESPACE", "shop"), pair("K8S_POD_NAME", "web-0")].into_iter().collect(),
        hook_config: json!({ "rules": rules }).to_string(),
        extra: json!({ "runtimeConfig": runtime_config }).to_string(),
        ..Request::default()
    }
}

/// What is said before the plugin; `""` for nothing.
fn before(config: &Value, rule: &Value) -> String {
    let mut rule = rule.clone();
    rule["name"] = "r".into();
    match Policy::pre(&request(config, &json!([rule]))) {
        Ok(Pre::Proceed) => String::new(),
        Ok(Pre::Deny(error)) => {
            assert_eq!(error.code, 100);
            error.msg.replace("pod shop/web-0 may not join network net: rule \"r\": ", "")
        }
        other => panic!("{other:?}"),
    }
}

fn after(result: &Value, rule: &Value) -> String {
    let mut rule = rule.clone();
    rule["name"] = "r".into();
    let result = serde_json::from_value(result.clone()).unwrap();
    match Policy::post(&request(&json!({}), &json!([rule])), Outcome::success(&result).unwrap()) {
        Ok(Post::Keep) => String::new(),
        Ok(Post::Fail(error)) => {
            error.msg.replace("pod shop/web-0 may not join network net: rule \"r\": ", "")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pod_that_is_not_let_in_is_told_so_in_one_sentence() {
    let rules = json!([{ "name": "sandboxes-have-no-network", "podNamespaces": ["sh?p"], "deny": "ask #platform for one" }]);
    let Ok(Pre::Deny(error)) = Policy::pre(&request(&json!({}), &rules)) else { panic!("let in") };
    let said =
        "pod shop/web-0 may not join network net: rule \"sandboxes-have-no-network\": ask #platform for one";
    assert_eq!((error.code, error.msg.as_str()), (100, said));
}

#[test]
fn a_rule_is_about_whom_it_says() {
    for (scope, is) in [
        (json!({ "podNamespaces": ["shop"] }), true),
        (json!({ "podNamespaces": ["sho*", "!shop"] }), false),
        (json!({ "podNamespaces": ["!kube-*"] }), true),
        (json!({ "pods": ["web-*"] }), true),
        (json!({ "pods": ["db-*"] }), false),
        (json!({ "networks": ["other"] }), false),
        (json!({ "ifnames": ["eth0"] }), true),
        (json!({}), true),
    ] {
        let mut rule = scope.clone();
        rule["deny"] = "no".into();
        assert_eq!(before(&json!({}), &rule) == "no", is, "{scope}");
    }
}

#[test]
fn each_thing_is_judged_wherever_it_is_asked_for() {
    let ports = json!({ "runtimeConfig": { "portMappings": [{ "hostPort": 80, "containerPort": 8080, "protocol": "TCP" }] } });
    let mac = json!({ "runtimeConfig": { "mac": "AA:bb:00:00:00:01" } });
    let ips = json!({ "runtimeConfig": { "ips": ["10.9.9.9/24"] } });
    for (config, rule, said) in [
        (
            &ports,
            json!({ "hostPorts": { "allow": ["30000-32767"] } }),
            "host port 80/tcp: it is not in 30000-32767",
        ),
        (
            &ports,
            json!({ "hostPorts": { "allow": ["80/udp", "1-79"] } }),
            "host port 80/tcp: it is not in 80/udp, 1-79",
        ),
        (&ports, json!({ "hostPorts": { "deny": ["1-1023"] } }), "host port 80/tcp is not allowed (1-1023)"),
        (&ports, json!({ "hostPorts": { "allow": [] } }), "host port 80/tcp: none is allowed"),
        (&ports, json!({ "hostPorts": { "allow": ["80"] } }), ""),
        (
            &ports,
            json!({ "capabilities": { "deny": ["port*"] } }),
            "capability portMappings is not allowed (port*)",
        ),
        (&json!({ "runtimeConfig": { "portMappings": [] } }), json!({ "capabilities": { "allow": [] } }), ""),
        (
            &json!({ "runtimeConfig": { "portMappings": [{ "hostPort": 0 }] } }),
            json!({ "hostPorts": { "allow": [] } }),
            "",
        ),
        (&mac, json!({ "macs": { "allow": ["02:*"] } }), "MAC AA:bb:00:00:00:01: it is not in 02:*"),
        (&mac, json!({ "macs": { "deny": ["aa:BB:*"] } }), "MAC AA:bb:00:00:00:01 is not allowed (aa:BB:*)"),
        (&json!({ "mac": "02:00:00:00:00:01" }), json!({ "macs": { "allow": ["02:*"] } }), ""),
        (
            &json!({ "args": { "cni": { "mac": "06:0:0:0:0:1" } } }),
            json!({ "macs": { "allow": ["02:*"] } }),
            "MAC 06:0:0:0:0:1: it is not in 02:*",
        ),
        (
            &ips,
            json!({ "ips": { "allow": ["10.1.0.0/16", "10.2.0.1"] } }),
            "address 10.9.9.9: it is not in 10.1.0.0/16, 10.2.0.1/32",
        ),
        (
            &ips,
            json!({ "ips": { "deny": ["10.9.0.0/16"] } }),
            "address 10.9.9.9 is not allowed (10.9.0.0/16)",
        ),
        (
            &json!({ "args": { "cni": { "ips": ["fd00::9"] } } }),
            json!({ "ips": { "allow": ["fd01::/64"] } }),
            "address fd00::9: it is not in fd01::/64",
        ),
        (&json!({ "mtu": 9000 }), json!({ "mtu": { "max": 1500 } }), "MTU 9000 is more than 1500"),
        (&json!({ "mtu": 500 }), json!({ "mtu": { "min": 1280, "max": 1500 } }), "MTU 500 is less than 1280"),
        (&json!({ "mtu": 0 }), json!({ "mtu": { "min": 1280 } }), ""),
        (&json!({}), json!({ "plugins": { "allow": ["ptp"] } }), "plugin bridge: it is not in ptp"),
        (
            &json!({ "ipam": { "type": "dhcp" } }),
            json!({ "plugins": { "allow": ["bridge", "host-local"] } }),
            "plugin dhcp: it is not in bridge, host-local",
        ),
    ] {
        assert_eq!(before(config, &rule), said, "{config} {rule}");
    }
}

#[test]
fn what_has_come_of_it_is_judged_in_every_version() {
    let ips = json!({ "ips": { "allow": ["10.1.0.0/16"] } });
    for result in [
        json!({ "cniVersion": "0.2.0", "ip4": { "ip": "10.9.9.9/24" } }),
        json!({ "cniVersion": "0.4.0", "ips": [{ "version": "4", "address": "10.9.9.9/24" }] }),
        json!({ "cniVersion": "1.1.0", "ips": [{ "address": "10.1.0.9/24" }, { "address": "10.9.9.9/24" }] }),
    ] {
        assert_eq!(after(&result, &ips), "address 10.9.9.9: it is not in 10.1.0.0/16", "{result}");
    }
    let result = json!({ "cniVersion": "1.1.0", "interfaces": [
        { "name": "br0", "mac": "aa:00:00:00:00:01", "mtu": 9000 },
        { "name": "eth0", "mac": "02:00:00:00:00:01", "mtu": 1400, "sandbox": "/n" }] });
    assert_eq!(after(&result, &json!({ "macs": { "allow": ["02:*"] } })), "");
    assert_eq!(after(&result, &json!({ "mtu": { "max": 1300 } })), "MTU 1400 is more than 1300");
}

#[test]
fn a_pod_that_nobody_names_is_not_let_in_silently() {
    let rules = json!([{ "name": "r", "podNamespaces": ["x"], "deny": "no" }]);
    let unknown = Request { args: [].into_iter().collect(), ..request(&json!({}), &rules) };
    assert!(Policy::pre(&unknown).unwrap_err().to_string().starts_with("rule \"r\": which pod is it?"));
    let allowed = json!({ "rules": rules, "unknownPod": "allow" }).to_string();
    assert!(matches!(Policy::pre(&Request { hook_config: allowed, ..unknown.clone() }), Ok(Pre::Proceed)));
    // A rule for everybody needs no name.
    let everybody = json!({ "rules": [{ "name": "r", "deny": "no" }] }).to_string();
    let Ok(Pre::Deny(error)) = Policy::pre(&Request { hook_config: everybody, ..unknown }) else {
        panic!("let in")
    };
    assert_eq!(error.msg, "this container may not join network net: rule \"r\": no");
}

#[test]
fn pods_go_away_whatever_the_rules_say() {
    for verb in ["DEL", "CHECK", "GC", "STATUS"] {
        let asked =
            Request { verb: verb.into(), ..request(&json!({}), &json!([{ "name": "r", "deny": "no" }])) };
        assert!(matches!(Policy::pre(&asked), Ok(Pre::Proceed)), "{verb}");
    }
}

#[test]
fn a_rule_that_guards_nothing_is_a_mistake() {
    for (rule, said) in [
        (
            json!({ "name": "r" }),
            "`config.rules[0]` (\"r\") refuses nothing; write one of deny, ips, hostPorts, macs, plugins, capabilities, mtu",
        ),
        (json!({ "name": "", "deny": "x" }), "`config.rules[0].name` is empty: it stands in every refusal"),
        (
            json!({ "name": "r", "ips": {} }),
            "`config.rules[0].ips`: it refuses nothing; write `allow` or `deny`",
        ),
        (
            json!({ "name": "r", "mtu": {} }),
            "`config.rules[0].mtu`: it refuses nothing; write `min` or `max`, in bytes",
        ),
        (
            json!({ "name": "r", "mtu": { "min": 2, "max": 1 } }),
            "`config.rules[0].mtu`: `min` 2 is more than `max` 1",
        ),
        (
            json!({ "name": "r", "ips": { "allow": ["10.1.2"] } }),
            "\"10.1.2\": write a network such as 10.1.2.0/24, or an address",
        ),
        (
            json!({ "name": "r", "hostPorts": { "allow": ["80-"] } }),
            "\"80-\": write ports such as \"80\", \"30000-32767\" or \"53/udp\"",
        ),
        (json!({ "name": "r", "hostPorts": { "allow": ["2-1"] } }), "\"2-1\": write ports such as"),
        (json!({ "name": "r", "hostPorts": { "allow": ["1/icmp"] } }), "\"1/icmp\": write ports such as"),
        (json!({ "name": "r", "port": 1 }), "unknown field `port`"),
    ] {
        let told = Policy::validate(&request(&json!({}), &json!([rule]))).unwrap_err().to_string();
        assert!(told.contains(said), "{rule}: {told}");
    }
}
