use crate::site::{Site, around_bridge, chained, code};
use serde_json::{Value, json};
use std::fs;

fn refusing(when: &Value) -> Value {
    let rule = json!({ "name": "r", "deny": "no" });
    json!({ "module": "policy", "when": when, "config": { "rules": [rule] } })
}

#[test]
fn a_hook_meets_whom_it_says() {
    let site = Site::new();
    let add = |when: &Value| {
        code(&site.annotated("ADD", "web-0", &json!({ "chaos": "yes" }), &chained(&json!([refusing(when)]))))
    };
    for (when, met) in [
        (json!({}), true),
        (json!({ "verbs": ["ADD"], "podNamespace": "shop", "podName": "web-*", "podUid": "uid-of-*" }), true),
        (json!({ "verbs": "DEL" }), false),
        (json!({ "podNamespace": ["*", "!shop"] }), false),
        (json!({ "annotations": { "chaos": "yes" } }), true),
        (json!({ "annotations": { "chaos": "no" } }), false),
        (json!({ "annotations": { "chaos": null } }), false),
        (json!({ "ifname": "eth0", "network": "net" }), true),
        (json!({ "ifname": "net*" }), false),
        (json!({ "plugin": "bridge" }), false),
        (json!({ "phase": "post" }), true),
        (json!({ "percent": 0 }), false),
    ] {
        // In `post` it looks at what has come of it, and a rule without a condition refuses that as well.
        assert_eq!(add(&when), if met { 100 } else { 0 }, "{when}");
    }
}

#[test]
fn a_hook_that_does_not_meet_a_call_need_not_even_be_there() {
    let site = Site::new();
    for isolation in ["module", "call", "none"] {
        site.lab.configure(isolation, &wasmhook_tests::dist("wasmhookctl"));
        let config =
            |when: Value| chained(&json!([{ "module": "nowhere", "when": when }, { "module": "identity" }]));
        assert_eq!(
            code(&site.pod("ADD", "web", "c1", &config(json!({ "podNamespace": "other" })))),
            0,
            "{isolation}"
        );
        assert_eq!(
            code(&site.pod("ADD", "web", "c1", &config(json!({ "podNamespace": "shop" })))),
            103,
            "{isolation}"
        );
    }
}

#[test]
fn one_of_several_plugins_is_met() {
    let site = Site::new();
    let _ = site.node.container("web");
    let hook =
        json!({ "module": "jq", "when": { "plugin": "bridge" }, "config": { "pre": ".config.mtu = 1400" } });
    let delegates = json!([
        { "type": "bridge", "bridge": "br0", "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.9.0.0/24" }]] } },
        { "type": "tuning" },
    ]);
    let config = json!({ "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": [hook], "delegates": delegates });
    let result = site.pod("ADD", "web", "web", &config).result();
    assert!(site.node.ip("-n web link show eth0").contains("mtu 1400"), "{result}");
    site.pod("DEL", "web", "web", &config).silent();
    assert_eq!(site.left(), (vec![], vec![], 0));
}

#[test]
fn status_asks_for_what_every_add_needs_and_for_nothing_else() {
    let site = Site::new();
    let status = |hook: Value| {
        let mut config = chained(&json!([hook]));
        (config["cniVersion"], config["prevResult"]) = (json!("1.1.0"), Value::Null);
        code(&site.lab.call(&wasmhook_tests::Call::new("STATUS", &config)))
    };
    assert_eq!(status(json!({ "module": "nowhere" })), 50);
    assert_eq!(status(json!({ "module": "nowhere", "when": { "verbs": ["ADD", "DEL"] } })), 50);
    assert_eq!(status(json!({ "module": "nowhere", "when": { "podNamespace": "shop" } })), 0);
    assert_eq!(
        status(json!({ "module": "nowhere", "when": { "podNamespace": "shop" }, "required": true })),
        50
    );
    assert_eq!(status(json!({ "module": "identity", "when": { "verbs": "ADD" } })), 0);
}

#[test]
fn a_person_is_told_which_hooks_a_request_would_meet() {
    let site = Site::new();
    let hooks = json!([
        { "module": "identity" },
        { "module": "policy", "config": { "rules": [{ "name": "r", "deny": "no" }] },
          "when": { "podNamespace": "shop-*", "annotations": { "guarded": "yes" } } },
    ]);
    let mut entry = around_bridge(&hooks);
    entry.as_object_mut().unwrap().retain(|key, _| key != "name" && key != "cniVersion");
    let conflist = json!({ "cniVersion": "1.0.0", "name": "net", "plugins": [entry] });
    let (file, request) = (site.lab.path().join("10-net.conflist"), site.lab.path().join("request.json"));
    fs::write(&file, conflist.to_string()).unwrap();
    let asked = json!({ "args": { "K8S_POD_NAMESPACE": "test" }, "annotations": { "guarded": "no" } });
    fs::write(&request, asked.to_string()).unwrap();
    let _ = site.lab.ctl(&["compile", "--all"]);
    let explain = |output: &str| {
        let arguments = [
            "validate",
            file.to_str().unwrap(),
            "--explain",
            request.to_str().unwrap(),
            "--cni-path",
            "/usr/lib/cni",
            "-o",
            output,
        ];
        site.lab.ctl(&arguments)
    };
    let told = explain("text");
    assert_eq!(told.code, Some(0), "{told:?}");
    for line in [
        "meets   plugins[0].hooks[0] identity around bridge (pre, post)",
        "skips   plugins[0].hooks[1] policy around bridge",
        "        `podNamespace` is \"test\", and wanted is \"shop-*\"",
        "        annotation `guarded` is \"no\", and wanted is \"yes\"",
    ] {
        assert!(told.stdout.lines().any(|it| it == line), "{line}: {told:?}");
    }
    let report: Value = serde_json::from_str(&explain("json").stdout).unwrap();
    assert_eq!(report["hooks"][0]["phases"], json!(["pre", "post"]));
    assert_eq!(report["hooks"][1]["phases"], json!([]));
}
