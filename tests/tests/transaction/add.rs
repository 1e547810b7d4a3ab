//! An ADD that finds its own journal, and one that needs none.

use crate::{Stage, around, bridge, held, nothing, with};
use nix::mount::{MsFlags, mount};
use serde_json::json;
use std::fs;
use wasmhook_tests::{Call, Node};

#[test]
fn an_add_without_delegate_makes_no_journal() {
    let stage = Stage::new();
    let mut config = around(&[]);
    config.as_object_mut().unwrap().remove("delegates");
    (config["hooks"], config["prevResult"]) = (json!([{ "module": "identity" }]), json!({ "ips": [] }));
    let _ = stage.answer("ADD", &config).result();
    assert!(!stage.lab.state().join("journal").exists());
    stage.answer("DEL", &config).silent();
    assert!(!stage.lab.state().join("journal").exists(), "nor does a DEL");
}

#[test]
fn in_the_same_namespace_it_says_that_it_is_attached_and_touches_nothing() {
    let (node, stage) = (Node::enter(), Stage::new());
    let netns = node.container("a");
    let config = with(&around(&[]), "delegates", json!([bridge()]));
    let call = |verb| Call { netns: netns.clone(), ..stage.call(verb, &config) };
    let _ = stage.lab.call(&call("ADD")).result();
    let (before, journal) = (held(&node), fs::read(stage.journal()).unwrap());
    let error = stage.lab.call(&call("ADD")).error();
    assert_eq!(error.code, 104);
    assert!(error.msg.starts_with("eth0 of this container is attached to this network already"), "{error:?}");
    assert_eq!((held(&node), fs::read(stage.journal()).unwrap()), (before, journal));
    stage.lab.call(&call("DEL")).silent();
    assert_eq!((held(&node), stage.lab.journals()), (nothing(), 0));
}

#[test]
fn of_another_boot_it_is_cleaned_up_first() {
    let (node, stage) = (Node::enter(), Stage::new());
    let netns = node.container("a");
    let config = around(&["one", "two"]);
    let call = |verb| Call { netns: netns.clone(), ..stage.call(verb, &config) };
    let _ = stage.lab.call(&call("ADD")).result();
    stage.reboot();
    stage.calls();
    let answer = stage.lab.call(&call("ADD"));
    let _ = answer.result();
    assert!(answer.stderr.contains("an earlier ADD of this attachment has left something"), "{answer:?}");
    assert_eq!(stage.calls(), ["two DEL", "one DEL", "one ADD", "two ADD"]);
    assert_eq!(stage.fakes.environment("one", "DEL").get("CNI_NETNS").map(String::as_str), Some(""));
    // One story, and the new one's.
    let begins = stage.lines().iter().filter(|line| line.get("begin").is_some()).count();
    assert_eq!(begins, 1);
    stage.lab.call(&call("DEL")).silent();
    assert_eq!((stage.calls(), stage.lab.journals()), (vec!["two DEL".into(), "one DEL".into()], 0));
}

#[test]
fn of_another_namespace_it_is_cleaned_up_first() {
    let (node, stage) = (Node::enter(), Stage::new());
    let (netns, other) = (node.container("a"), node.container("b"));
    let config = with(&around(&[]), "delegates", json!([bridge()]));
    let call = |verb| Call { netns: netns.clone(), ..stage.call(verb, &config) };
    let first = stage.lab.call(&call("ADD")).result();
    let nothing_more: Option<&str> = None;
    mount(Some(other.as_str()), netns.as_str(), nothing_more, MsFlags::MS_BIND, nothing_more).unwrap();
    let second = stage.lab.call(&call("ADD")).result();
    assert_ne!(first["ips"], second["ips"]);
    let leases = node.leases("net");
    assert_eq!(leases.len(), 1, "the earlier one's is free: {leases:?}");
    stage.lab.call(&call("DEL")).silent();
    assert_eq!((node.leases("net"), stage.lab.journals()), (vec![], 0));
}

#[test]
fn of_an_unfinished_add_it_is_cleaned_up_first() {
    let (node, stage) = (Node::enter(), Stage::new());
    let netns = node.container("a");
    let config = with(&around(&[]), "delegates", json!([bridge(), { "type": "two" }]));
    let call = |verb| Call { netns: netns.clone(), ..stage.call(verb, &config) };
    let _ = stage.lab.call(&call("ADD")).result();
    stage.unfinish();
    stage.calls();
    let _ = stage.lab.call(&call("ADD")).result();
    assert_eq!(stage.calls(), ["two DEL", "two ADD"]);
    assert_eq!((node.leases("net").len(), node.links().len()), (1, 2));
    stage.lab.call(&call("DEL")).silent();
    assert_eq!((held(&node), stage.lab.journals()), (nothing(), 0));
}

#[test]
fn what_cannot_be_cleaned_up_first_is_an_error_and_is_not_forgotten() {
    let stage = Stage::new();
    let config = around(&["one"]);
    let _ = stage.answer("ADD", &config).result();
    stage.unfinish();
    stage.breaks("one", "DEL");
    stage.calls();
    let error = stage.answer("ADD", &config).error();
    assert_eq!(error.code, 77);
    let why = "an earlier ADD of this attachment has left something that cannot be cleaned up: one fails";
    assert!(error.msg.starts_with(why), "{error:?}");
    assert_eq!((stage.calls(), stage.lab.journals()), (vec!["one DEL".into()], 1));
    stage.mend("one", "DEL");
    stage.answer("DEL", &config).silent();
    assert_eq!((stage.calls(), stage.lab.journals()), (vec!["one DEL".into()], 0));
}
