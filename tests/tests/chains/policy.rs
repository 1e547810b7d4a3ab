//! `mode` and `onFailure`: what a hook may do to a call, by the operator's word.

use crate::{ADDRESS, Site, around, plugins};
use serde_json::{Value, json};
use wasmhook_tests::{Answer, Call, GO_ON, Lab, component, deny};

#[test]
fn a_monitoring_hook_changes_nothing_and_says_what_it_would_have_said() {
    let site = Site::new();
    let (data, body) = deny(77, "not you");
    site.lab.install("no", &component(&data, body, GO_ON));
    site.lab.install("trap", &component("", "unreachable", "unreachable"));
    let mut entry = around(&plugins()[0], "address");
    let monitor = |module: &str| json!({ "module": module, "mode": "monitor" });
    entry["hooks"] = ["address", "no", "trap", "nowhere"].map(monitor).into_iter().collect();
    let mtu = json!({ "module": "mtu", "mode": "monitor", "grants": ["carry"], "config": { "mtu": 1400 } });
    entry["hooks"].as_array_mut().unwrap().push(mtu);
    let chain = site.chain("net", vec![entry.clone()]);
    let pod = site.pod("watched");
    let answer = chain.call(0, "ADD", &pod, None);
    let result = answer.result();
    assert_eq!(result.pointer(ADDRESS.at).unwrap(), "10.9.0.2/24");
    assert!(site.node.ip("-n watched link show eth0").contains(" mtu 1500 "));
    for said in [
        "not you",
        r#"mtu\":1400"#,
        "would have said PostVerdict::Rewrite",
        ADDRESS.with,
        "hook `trap`: trap",
        "hook `nowhere`: module not found",
    ] {
        assert!(answer.stderr.contains(said), "{said}: {answer:?}");
    }
    chain.check(&pod, &result).unwrap();
    let answer = chain.call(0, "DEL", &pod, Some(&result));
    answer.silent();
    assert!(answer.stderr.contains("not you"), "{answer:?}");
    assert_eq!(site.left(), [""; 0]);

    // The same hooks do it when they may.
    entry["hooks"] = json!([{ "module": "address" }]);
    let chain = site.chain("other", vec![entry]);
    let pod = site.pod("obeyed");
    let result = chain.add(&pod).unwrap();
    assert_eq!(result.pointer(ADDRESS.at).unwrap(), ADDRESS.with);
    chain.del(&pod, Some(&result)).unwrap();
}

fn asked(lab: &Lab, verb: &str, hook: &Value) -> Answer {
    let config = json!({
        "cniVersion": "1.1.0", "name": "net", "type": "wasmhook", "hooks": [hook], "cni.dev/valid-attachments": [],
    });
    let nobody = Call {
        container_id: String::new(),
        netns: String::new(),
        ifname: String::new(),
        ..Call::new(verb, &config)
    };
    lab.call(&nobody)
}

#[test]
fn on_failure_decides_at_gc_and_status() {
    let lab = Lab::new("module");
    lab.install("trap", &component("", "unreachable", "unreachable"));
    assert_eq!(lab.ctl(&["compile", "trap"]).code, Some(0));
    for (verb, code) in [("GC", 101), ("STATUS", 50)] {
        for ignored in [
            json!({ "module": "trap" }),
            json!({ "module": "trap", "onFailure": { "GC": "ignore", "STATUS": "ignore" } }),
        ] {
            let answer = asked(&lab, verb, &ignored);
            answer.silent();
            assert!(answer.stderr.contains("ERROR: hook `trap`: trap"), "{verb}: {answer:?}");
            assert!(answer.stderr.contains("ignored"), "{verb}: {answer:?}");
        }
        let error = asked(&lab, verb, &json!({ "module": "trap", "onFailure": { verb: "fail" } })).error();
        assert!(error.msg.contains("hook `trap`: trap"), "{verb}: {error:?}");
        assert_eq!(error.code, code, "{verb}");
        let watched = json!({ "module": "trap", "onFailure": { verb: "fail" }, "mode": "monitor" });
        asked(&lab, verb, &watched).silent();
    }
}

#[test]
fn a_hook_that_denies_makes_a_node_unready_and_stops_no_gc() {
    let lab = Lab::new("module");
    let (data, body) = deny(77, "closed");
    lab.install("no", &component(&data, body, GO_ON));
    assert_eq!(lab.ctl(&["compile", "no"]).code, Some(0));
    let error = asked(&lab, "STATUS", &json!({ "module": "no" })).error();
    assert_eq!((error.code, error.msg.as_str()), (50, "closed"));
    let answer = asked(&lab, "GC", &json!({ "module": "no" }));
    answer.silent();
    assert!(answer.stderr.contains("closed"), "{answer:?}");
}

/// A node is not ready only where an ADD would fail, or somebody says so.
#[test]
fn status_is_50_for_a_missing_module_only_where_it_guards() {
    let lab = Lab::new("module");
    for (hook, ready) in [
        (json!({ "module": "nowhere" }), false),
        (json!({ "module": "nowhere", "onFailure": { "ADD": "fail" } }), false),
        (json!({ "module": "nowhere", "onFailure": { "ADD": "ignore" } }), true),
        (json!({ "module": "nowhere", "onFailure": { "ADD": "ignore" }, "required": true }), false),
        (json!({ "module": "nowhere", "mode": "monitor" }), true),
        (json!({ "module": "identity" }), true),
        (json!({ "module": "identity", "sha256": "0".repeat(64) }), false),
    ] {
        let answer = asked(&lab, "STATUS", &hook);
        if ready {
            answer.silent();
        } else {
            let error = answer.error();
            assert_eq!(error.code, 50, "{hook}: {error:?}");
            assert!(error.msg.contains("hook `"), "{hook}: {error:?}");
        }
    }
}

/// GC has nothing to fail for because of a module that is not there, unless somebody says so.
#[test]
fn gc_goes_on_past_a_missing_module() {
    let lab = Lab::new("module");
    asked(&lab, "GC", &json!({ "module": "nowhere", "required": true })).silent();
    let error = asked(&lab, "GC", &json!({ "module": "nowhere", "onFailure": { "GC": "fail" } })).error();
    assert_eq!(error.code, 103, "{error:?}");
}
