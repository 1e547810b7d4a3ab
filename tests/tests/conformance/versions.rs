//! C11 to C13: which versions we speak, and who may ask what in them.

use crate::environment::hold;
use crate::{bridge, call, cases, chained, wrapping};
use serde_json::{Value, json};
use wasmhook_tests::{Answer, Call, Lab, Node};

#[test]
fn c11_version_needs_nothing() {
    hold(&cases::c11());
}

#[test]
fn c11_version_never_reads_stdin() {
    let lab = Lab::new("module");
    let mut child = lab.command(&Call::new("VERSION", &Value::Null)).spawn().unwrap();
    // Stays open and empty until the answer is there.
    let stdin = child.stdin.take();
    let answer: Answer = child.wait_with_output().unwrap().into();
    drop(stdin);
    assert_eq!(answer.result()["supportedVersions"], json!(cases::VERSIONS));
}

#[test]
fn c12_a_version_that_is_not_on_the_list_is_refused_with_the_list() {
    hold(&cases::c12());
}

#[test]
fn c12_no_version_is_the_oldest() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let mut config = chained("", &json!({ "ip4": { "ip": "10.0.0.2/24" }, "dns": {} }));
    let wanted = json!({ "cniVersion": "0.1.0", "ip4": { "ip": "10.0.0.2/24" }, "dns": {} });
    assert_eq!(lab.call(&Call::new("ADD", &config)).result(), wanted);
    config.as_object_mut().unwrap().remove("cniVersion");
    assert_eq!(lab.call(&Call::new("ADD", &config)).result(), wanted);

    // A real plugin agrees.
    let mut config = wrapping("", &bridge());
    config.as_object_mut().unwrap().remove("cniVersion");
    let result = lab.call(&call("ADD", "old", &node.container("old"), &config)).result();
    assert_eq!((&result["cniVersion"], &result["ip4"]["ip"]), (&json!("0.1.0"), &json!("10.9.0.2/24")));
}

#[test]
fn c13_check_gc_and_status_need_a_version_that_knows_them() {
    hold(&cases::c13());
}
