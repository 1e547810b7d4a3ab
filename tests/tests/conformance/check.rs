//! C23: CHECK, and the previous result that CHECK and DEL hand on.

use crate::verbs::nothing_but_the_bridge;
use crate::{bridge, call, calling, chained, error, fails, lab_that_says, says, with, wrapping};
use serde_json::{Value, json};
use wasmhook_tests::{Fakes, Lab, Node};

#[test]
fn c23_check_needs_a_previous_result() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    fakes.plugin("fake", "");
    for config in [
        wrapping("1.0.0", &json!({ "type": "fake" })),
        with(&wrapping("1.0.0", &json!({ "type": "fake" })), "prevResult", Value::Null),
        chained("1.0.0", &Value::Null),
    ] {
        assert_eq!(lab.call(&calling(&fakes, "CHECK", &config)).error().code, 7);
    }
    assert!(fakes.calls().is_empty());
}

#[test]
fn c23_check_asks_every_delegate_and_has_no_stdout() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    fakes.plugin("a", "echo '{\"ips\":[]}'");
    fakes.plugin("b", "echo '{\"ips\":[]}'");
    let list = json!([{ "type": "a" }, { "type": "b" }]);
    let config = with(&wrapping("1.0.0", &list), "prevResult", json!({ "cniVersion": "1.0.0", "ips": [] }));
    lab.call(&calling(&fakes, "CHECK", &config)).silent();
    assert_eq!(fakes.calls(), ["a CHECK", "b CHECK"]);
    assert_eq!(fakes.told("b", "CHECK")["prevResult"], config["prevResult"]);

    fakes.plugin("b", &fails(42, "not as I left it"));
    assert_eq!(error(&lab.call(&calling(&fakes, "CHECK", &config))), (42, "not as I left it".into()));
}

#[test]
fn c23_check_sees_what_is_no_longer_as_it_was() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let netns = node.container("c");
    let config = wrapping("1.0.0", &bridge());
    let result = lab.call(&call("ADD", "c", &netns, &config)).result();
    let check = call("CHECK", "c", &netns, &with(&config, "prevResult", result.clone()));
    lab.call(&check).silent();
    node.ip(&format!("-n c addr del {} dev eth0", result["ips"][0]["address"].as_str().unwrap()));
    assert_eq!(lab.call(&check).code, Some(1));
}

/// bridge compares the address of its link with prevResult's, and tuning has changed it.
#[test]
fn c23_a_later_plugins_words_are_what_an_earlier_one_is_checked_with() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let netns = node.container("c");
    let tuning = json!({ "type": "tuning", "mac": "02:00:00:00:00:07" });
    let config = wrapping("1.0.0", &json!([bridge(), tuning]));
    let result = lab.call(&call("ADD", "c", &netns, &config)).result();
    assert!(result.to_string().contains("02:00:00:00:00:07"), "{result}");
    let config = with(&config, "prevResult", result);
    lab.call(&call("CHECK", "c", &netns, &config)).silent();
    lab.call(&call("DEL", "c", &netns, &config)).silent();
    nothing_but_the_bridge(&node);
}

#[test]
fn c23_only_a_hooks_words_are_taken_back() {
    let made = json!({
        "cniVersion": "1.0.0", "interfaces": [{ "name": "eth0", "mac": "02:00:00:00:00:01" }],
        "ips": [{ "address": "10.0.0.2/24", "interface": 0 }],
    });
    let said = with(&made, "dns", json!({ "domain": "hooks.say" }));
    let (lab, fakes) = (lab_that_says(&said), Fakes::new());
    fakes.plugin("fake", &says(&made));
    let config = with(&wrapping("1.0.0", &json!({ "type": "fake" })), "hooks", json!([{ "module": "say" }]));
    assert_eq!(lab.call(&calling(&fakes, "ADD", &config)).result(), said);

    // A plugin behind us has changed the address.
    let (mut last, mut wanted) = (said, made);
    for result in [&mut last, &mut wanted] {
        result["interfaces"][0]["mac"] = json!("02:00:00:00:00:02");
    }
    let config = with(&config, "prevResult", last);
    for verb in ["CHECK", "DEL"] {
        lab.call(&calling(&fakes, verb, &config)).silent();
        assert_eq!(fakes.told("fake", verb)["prevResult"], wanted, "{verb}");
    }
}

/// A runtime that lost its cache sends none; the plugin still gets what it had returned.
#[test]
fn c23_del_without_a_previous_result_has_the_delegates_own() {
    let made = json!({ "cniVersion": "1.0.0", "ips": [{ "address": "10.0.0.2/24" }] });
    let said = with(&made, "dns", json!({ "domain": "hooks.say" }));
    let (lab, fakes) = (lab_that_says(&said), Fakes::new());
    fakes.plugin("fake", &says(&made));
    let config = with(&wrapping("1.0.0", &json!({ "type": "fake" })), "hooks", json!([{ "module": "say" }]));
    let _ = lab.call(&calling(&fakes, "ADD", &config)).result();
    lab.call(&calling(&fakes, "DEL", &config)).silent();
    assert_eq!(fakes.told("fake", "DEL")["prevResult"], made);
}
