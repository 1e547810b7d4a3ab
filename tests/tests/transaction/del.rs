//! DEL goes on past hooks, and never past a plugin's refusal blindly.

use crate::{Stage, around, bridge, held, nothing, with};
use serde_json::json;
use wasmhook_tests::Node;

fn attached() -> (Stage, serde_json::Value) {
    let stage = Stage::new();
    let config = around(&["one", "two", "three"]);
    let _ = stage.answer("ADD", &config).result();
    stage.calls();
    (stage, config)
}

#[test]
fn a_failed_delegate_stops_those_before_it_and_the_retry_does_the_rest() {
    let (stage, config) = attached();
    stage.breaks("two", "DEL");
    let error = stage.answer("DEL", &config).error();
    assert_eq!((error.code, error.msg.as_str(), error.details.as_str()), (77, "two fails", "as told"));
    assert_eq!((stage.calls(), stage.lab.journals()), (vec!["three DEL".into(), "two DEL".into()], 1));
    // What is done is marked: it is not done again.
    assert_eq!(stage.answer("DEL", &config).error().msg, "two fails");
    assert_eq!(stage.calls(), ["two DEL"]);
    stage.mend("two", "DEL");
    stage.answer("DEL", &config).silent();
    assert_eq!((stage.calls(), stage.lab.journals()), (vec!["two DEL".into(), "one DEL".into()], 0));
}

#[test]
fn a_real_bridge_keeps_its_address_while_the_plugin_after_it_refuses() {
    let (node, stage) = (Node::enter(), Stage::new());
    let netns = node.container("d");
    let config = with(&around(&[]), "delegates", json!([bridge(), { "type": "two" }]));
    let call = |verb| wasmhook_tests::Call { netns: netns.clone(), ..stage.call(verb, &config) };
    let _ = stage.lab.call(&call("ADD")).result();
    stage.breaks("two", "DEL");
    let _ = stage.lab.call(&call("DEL")).error();
    assert_eq!((node.leases("net").len(), held(&node).0.len()), (1, 1));
    stage.mend("two", "DEL");
    stage.lab.call(&call("DEL")).silent();
    assert_eq!((held(&node), stage.lab.journals()), (nothing(), 0));
}

#[test]
fn on_del_error_continue_tries_all_of_them_and_the_retry_only_what_failed() {
    for broken in ["one", "two", "three"] {
        let (stage, config) = attached();
        let config = with(&config, "onDelError", "continue");
        stage.breaks(broken, "DEL");
        assert_eq!(stage.answer("DEL", &config).error().msg, format!("{broken} fails"));
        assert_eq!(stage.calls(), ["three DEL", "two DEL", "one DEL"]);
        stage.mend(broken, "DEL");
        stage.answer("DEL", &config).silent();
        assert_eq!((stage.calls(), stage.lab.journals()), (vec![format!("{broken} DEL")], 0));
    }
}

#[test]
fn on_del_error_stop_is_the_default_in_words() {
    let (stage, config) = attached();
    stage.breaks("three", "DEL");
    let _ = stage.answer("DEL", &with(&config, "onDelError", "stop")).error();
    assert_eq!(stage.calls(), ["three DEL"]);
}

#[test]
fn the_del_of_an_unfinished_add_tries_everything() {
    for broken in ["one", "two", "three"] {
        let (stage, config) = attached();
        stage.unfinish();
        stage.breaks(broken, "DEL");
        assert_eq!(stage.answer("DEL", &config).error().msg, format!("{broken} fails"));
        assert_eq!((stage.calls().len(), stage.lab.journals()), (3, 1));
        stage.mend(broken, "DEL");
        stage.answer("DEL", &config).silent();
        assert_eq!((stage.calls(), stage.lab.journals()), (vec![format!("{broken} DEL")], 0));
    }
}

#[test]
fn the_first_of_several_errors_is_told() {
    let (stage, config) = attached();
    let config = with(&config, "onDelError", "continue");
    stage.breaks("one", "DEL");
    stage.breaks("three", "DEL");
    let answer = stage.answer("DEL", &config);
    assert_eq!(answer.error().msg, "three fails");
    assert!(answer.stderr.contains("DEL: one fails"), "{answer:?}");
}

#[test]
fn hooks_that_are_broken_or_refuse_stop_nothing() {
    let (stage, config) = attached();
    stage.hook("broken", &wasmhook_tests::component("", "unreachable", "unreachable"));
    let (data, body) = wasmhook_tests::deny(78, "not now");
    stage.hook("refuse", &wasmhook_tests::component(&data, body, wasmhook_tests::GO_ON));
    let hooks = json!([{ "module": "broken", "onFailure": { "DEL": "fail" } }, { "module": "refuse" }]);
    let config = with(&config, "hooks", hooks);
    let error = stage.answer("DEL", &config).error();
    assert!(error.msg.starts_with("hook `broken`: trap"), "{error:?}");
    assert_eq!(
        (stage.calls(), stage.lab.journals()),
        (vec!["three DEL".into(), "two DEL".into(), "one DEL".into()], 0)
    );
}

#[test]
fn a_refusal_that_may_fail_del_comes_after_all_is_done() {
    let (stage, config) = attached();
    let (data, body) = wasmhook_tests::deny(78, "not now");
    stage.hook("refuse", &wasmhook_tests::component(&data, body, wasmhook_tests::GO_ON));
    let mut config = with(&config, "hooks", json!([{ "module": "refuse" }]));
    config["mayFailDel"] = json!(true);
    assert_eq!(stage.answer("DEL", &config).error().msg, "not now");
    assert_eq!((stage.calls().len(), stage.lab.journals()), (3, 0));
}
