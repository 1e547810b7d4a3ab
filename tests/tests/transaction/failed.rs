//! A failed ADD leaves nothing.

use crate::{Stage, around, bridge, held, made, nothing, with};
use nix::mount::{MsFlags, mount};
use serde_json::json;
use std::fs;
use wasmhook_tests::{Call, CniError, Node};

fn as_told(name: &str) -> CniError {
    CniError { code: 77, msg: format!("{name} fails"), details: "as told".into() }
}

#[test]
fn what_bridge_made_is_gone_when_the_next_delegate_fails_and_the_error_is_unchanged() {
    let (node, stage) = (Node::enter(), Stage::new());
    let netns = node.container("f");
    let config = with(&around(&[]), "delegates", json!([bridge(), { "type": "two" }]));
    stage.breaks("two", "ADD");
    let answer = stage.lab.call(&Call { netns, ..stage.call("ADD", &config) });
    assert_eq!(answer.error(), as_told("two"));
    // It was there: the bridge, and the result that the next one got.
    assert_eq!(node.links(), ["br0"]);
    assert_eq!(stage.fakes.told("two", "ADD")["prevResult"]["ips"][0]["address"], "10.9.0.2/24");
    assert_eq!((held(&node), stage.lab.journals()), (nothing(), 0));
}

#[test]
fn what_bridge_made_is_gone_when_its_post_hook_fails() {
    let (node, stage) = (Node::enter(), Stage::new());
    let netns = node.container("f");
    let fault = json!({ "scripts": { "ADD": { "after": "error(11:injected:on purpose)" } } });
    let broken = wasmhook_tests::component("", wasmhook_tests::GO_ON, "unreachable");
    stage.hook("broken", &broken);
    for (hook, code, msg) in [
        (json!({ "module": "fault", "grants": ["clock", "state"], "config": fault }), 11, "injected"),
        (json!({ "module": "broken" }), 101, "hook `broken`: trap: wasm `unreachable` instruction executed"),
    ] {
        let mut config = around(&[]);
        (config["delegates"], config["hooks"]) = (json!([bridge()]), json!([hook]));
        let error = stage.lab.call(&Call { netns: netns.clone(), ..stage.call("ADD", &config) }).error();
        assert_eq!((error.code, error.msg.as_str()), (code, msg));
        assert_eq!(node.links(), ["br0"]);
        assert_eq!((held(&node), stage.lab.journals()), (nothing(), 0));
    }
}

#[test]
fn undo_walks_strictly_backwards_and_only_over_what_was_started() {
    let stage = Stage::new();
    let config = around(&["one", "two", "three"]);
    stage.breaks("two", "ADD");
    assert_eq!(stage.answer("ADD", &config).error(), as_told("two"));
    assert_eq!(stage.calls(), ["one ADD", "two ADD", "two DEL", "one DEL"]);
    stage.mend("two", "ADD");
    stage.breaks("three", "ADD");
    assert_eq!(stage.answer("ADD", &config).error(), as_told("three"));
    assert_eq!(stage.calls(), ["one ADD", "two ADD", "three ADD", "three DEL", "two DEL", "one DEL"]);
    assert_eq!(stage.lab.journals(), 0);
}

#[test]
fn each_is_undone_with_its_own_configuration_and_result() {
    let stage = Stage::new();
    let mut config = around(&["one", "two"]);
    config["delegates"][0]["mtu"] = json!(9000);
    config["hooks"] = stage.hook_that_says(&json!({ "cniVersion": "1.0.0", "dns": { "domain": "said" } }));
    stage.breaks("two", "ADD");
    let _ = stage.answer("ADD", &config).error();
    let mut told = stage.fakes.told("one", "DEL");
    assert_eq!(told["prevResult"].take(), made(0));
    assert_eq!(told["mtu"], 9000);
}

#[test]
fn when_undoing_fails_the_original_error_stands_the_rest_is_tried_and_del_does_what_is_left() {
    let stage = Stage::new();
    let config = around(&["one", "two", "three"]);
    stage.breaks("three", "ADD");
    for broken in ["one", "two", "three"] {
        stage.breaks(broken, "DEL");
        let answer = stage.answer("ADD", &config);
        assert_eq!(answer.error(), as_told("three"));
        assert!(answer.stderr.contains(&format!("undoing a failed ADD: {broken} fails")), "{answer:?}");
        let all = ["one ADD", "two ADD", "three ADD", "three DEL", "two DEL", "one DEL"];
        assert_eq!((stage.calls(), stage.lab.journals()), (all.map(str::to_owned).to_vec(), 1), "{broken}");
        // Still broken: nothing is forgotten.
        assert_eq!(stage.answer("DEL", &config).error(), as_told(broken));
        assert_eq!((stage.calls(), stage.lab.journals()), (vec![format!("{broken} DEL")], 1));
        stage.mend(broken, "DEL");
        stage.answer("DEL", &config).silent();
        assert_eq!((stage.calls(), stage.lab.journals()), (vec![format!("{broken} DEL")], 0));
    }
}

#[test]
fn a_delegate_that_is_nowhere_is_an_error_before_any_effect() {
    let stage = Stage::new();
    let error = stage.answer("ADD", &around(&["one", "gone"])).error();
    assert!(error.code == 7 && error.msg.starts_with("failed to find plugin \"gone\""), "{error:?}");
    assert_eq!((stage.calls(), stage.lab.journals()), (vec![], 0));
}

/// The state directory becomes one page large.
fn shrink(stage: &Stage) {
    let directory = stage.lab.state();
    fs::create_dir_all(&directory).unwrap();
    mount(Some("tmpfs"), &directory, Some("tmpfs"), MsFlags::empty(), Some("size=4k")).unwrap();
}

#[test]
fn a_full_disk_fails_add_with_code_5_before_any_effect_and_del_works() {
    let (node, stage) = (Node::enter(), Stage::new());
    shrink(&stage);
    let full = stage.lab.state().join("filler");
    fs::write(&full, [b'x'; 4096]).unwrap();
    let netns = node.container("f");
    let entry = with(&around(&[]), "delegates", json!([bridge(), { "type": "two" }]));
    let call = |verb| Call { netns: netns.clone(), ..stage.call(verb, &entry) };
    let error = stage.lab.call(&call("ADD")).error();
    assert_eq!(error.code, 5);
    assert!(error.msg.contains("No space left on device") && error.msg.contains("journal"), "{error:?}");
    // Not even the bridge.
    assert_eq!((node.links(), node.leases("net"), stage.calls()), (vec![], vec![], vec![]));
    stage.lab.call(&call("DEL")).silent();
    assert_eq!(stage.lab.journals(), 0);

    // The same for what was attached before the disk was full.
    fs::remove_file(&full).unwrap();
    let _ = stage.lab.call(&call("ADD")).result();
    assert_eq!(stage.lab.journals(), 1);
    fs::write(&full, [b'x'; 4096]).unwrap_err();
    stage.lab.call(&call("DEL")).silent();
    assert_eq!((held(&node), stage.lab.journals()), (nothing(), 0));
}

#[test]
fn a_state_directory_that_cannot_be_one_fails_add_with_code_5_and_del_works() {
    let stage = Stage::new();
    fs::write(stage.lab.state(), "a file").unwrap();
    let error = stage.answer("ADD", &around(&["one"])).error();
    assert!(error.code == 5 && error.msg.contains("Not a directory"), "{error:?}");
    assert!(stage.calls().is_empty());
    stage.answer("DEL", &around(&["one"])).silent();
    assert_eq!(stage.calls(), ["one DEL"]);
}

#[test]
fn a_disk_that_fills_up_meanwhile_fails_add_with_code_5_and_all_is_undone() {
    let (_node, stage) = (Node::enter(), Stage::new());
    shrink(&stage);
    let mut large = made(0);
    large["dns"] = json!({ "search": vec!["a-long-domain.example.org"; 200] });
    stage.plugin("one", "", &large);
    let config = around(&["one", "two"]);
    let error = stage.answer("ADD", &config).error();
    assert_eq!(error.code, 5, "{error:?}");
    assert_eq!((stage.calls(), stage.lab.journals()), (vec!["one ADD".into(), "one DEL".into()], 0));
    stage.answer("DEL", &config).silent();
}

#[test]
fn a_delegate_that_failed_has_had_its_del_before_a_hook_recovers() {
    let stage = Stage::new();
    let (data, body) = wasmhook_tests::verdict(3, r#"{"cniVersion":"1.0.0","dns":{"domain":"recovered"}}"#);
    stage.hook("recover", &wasmhook_tests::component(&data, wasmhook_tests::GO_ON, body));
    let config = with(&around(&["one"]), "hooks", json!([{ "module": "recover" }]));
    stage.breaks("one", "ADD");
    assert_eq!(stage.answer("ADD", &config).result()["dns"]["domain"], "recovered");
    assert_eq!(stage.calls(), ["one ADD", "one DEL"]);
    stage.answer("DEL", &config).silent();
    assert_eq!((stage.calls(), stage.lab.journals()), (vec![], 0));
}
