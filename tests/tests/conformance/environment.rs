//! C1 to C10: what a runtime must tell us, and what it hears when it does not.

use crate::cases::{self, Case};
use crate::{calling, chained, error, fails, with, wrapping};
use serde_json::{Value, json};
use std::fs::File;
use std::process::Stdio;
use wasmhook_tests::{Answer, Call, Fakes, Lab, Node};

/// All of them, and all that are not kept.
pub(crate) fn hold(cases: &[Case]) {
    let lab = Lab::new("module");
    let said = |case: &Case| case.differs(|call| lab.command(call));
    let broken = cases.iter().filter_map(|case| {
        said(case).map(|said| format!("{} {}: expected {}, got {said}", case.rule, case.about, case.wanted()))
    });
    let broken: Vec<_> = broken.collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn c01_empty_is_unset_and_no_verb_needs_more_than_it_must() {
    hold(&cases::c01());
}

#[test]
fn c02_missing_variables_are_all_named_in_order() {
    hold(&cases::c02());
}

#[test]
fn c03_an_invalid_value_beats_missing_ones_and_counts_only_where_it_is_needed() {
    hold(&cases::c03());
}

#[test]
fn c04_a_container_id_is_held_to_its_letters() {
    hold(&cases::c04());
}

#[test]
fn c05_an_interface_name_is_one_that_the_kernel_takes() {
    hold(&cases::c05());
}

#[test]
fn c06_environment_then_decoding_then_name_then_verb_then_version() {
    hold(&cases::c06());
}

#[test]
fn c06_stdin_that_cannot_be_read_is_an_io_error() {
    let lab = Lab::new("module");
    let mut command = lab.command(&Call::new("ADD", &Value::Null));
    // A directory can be opened, and reading it fails.
    let answer: Answer = command.stdin(Stdio::from(File::open("/").unwrap())).output().unwrap().into();
    let (code, msg) = error(&answer);
    assert_eq!((code, msg.starts_with("error reading from stdin: ")), (5, true), "{msg}");
}

#[test]
fn c07_an_unknown_verb_is_named_and_case_counts() {
    hold(&cases::c07());
}

#[test]
fn c08_without_a_command_it_introduces_itself_on_stderr() {
    hold(&cases::c08());
}

#[test]
fn c09_an_error_is_one_document_on_stdout_that_speaks_the_configurations_version() {
    let lab = Lab::new("module");
    let nameless = |version: &str| json!({ "cniVersion": version, "type": "wasmhook", "hooks": [] });
    let unable = |version: &str| wrapping(version, &json!({ "type": "gone" }));
    for version in cases::VERSIONS {
        for config in [nameless(version), unable(version)] {
            let answer = lab.call(&Call::new("ADD", &config));
            let error = answer.error();
            assert!(error.code > 0 && !error.msg.is_empty(), "{answer:?}");
            let document: Value = serde_json::from_str(&answer.stdout).unwrap();
            assert_eq!(document["cniVersion"], version, "{answer:?}");
            let mut keys: Vec<_> = document.as_object().unwrap().keys().map(String::as_str).collect();
            keys.retain(|key| *key != "details");
            assert_eq!(keys, ["cniVersion", "code", "msg"]);
            assert!(!answer.stderr.contains(r#""code""#), "{answer:?}");
        }
    }
    // What is not decoded yet has no version, and an error has one all the same.
    for call in
        [Call::new("FROB", &Value::Null), Call { ifname: "..".into(), ..Call::new("ADD", &nameless("")) }]
    {
        let _ = lab.call(&call).error();
    }
}

#[test]
fn c10_every_code_means_what_the_specification_says() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let sound = chained("1.0.0", &json!({ "cniVersion": "1.0.0", "ips": [] }));
    let code = |call: &Call| lab.call(call).error().code;
    let add = |config: &Value| code(&Call::new("ADD", config));
    assert_eq!(add(&with(&sound, "cniVersion", "7.0.0")), 1);
    assert_eq!(code(&Call { ifname: String::new(), ..Call::new("ADD", &sound) }), 4);
    assert_eq!(code(&Call { stdin: "]".into(), ..Call::new("ADD", &sound) }), 6);
    assert_eq!(add(&with(&sound, "hooks", 7)), 7);
    assert_eq!(code(&Call { netns: node.own_netns("own"), ..Call::new("ADD", &sound) }), 8);
    let mistaken = with(&with(&sound, "hooks", 7), "cniVersion", "1.1.0");
    assert_eq!(code(&Call::new("STATUS", &mistaken)), 50);
    assert_eq!(add(&with(&sound, "hooks", json!([{ "module": "nowhere" }]))), 103);
}

#[test]
fn c10_a_delegates_error_passes_unchanged() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    let said = r#"{"cniVersion":"0.4.0","code":11,"msg":"busy","details":"come back","retryAfter":1.50}"#;
    for verb in ["ADD", "CHECK", "DEL"] {
        fakes.plugin("busy", &format!("[ $CNI_COMMAND = {verb} ] && {{ echo '{said}'; exit 1; }}"));
        let config = with(&wrapping("0.4.0", &json!({ "type": "busy" })), "prevResult", json!({ "ips": [] }));
        let answer = lab.call(&calling(&fakes, verb, &config));
        assert_eq!((answer.code, answer.stdout.trim_end()), (Some(1), said), "{verb}: {answer:?}");
    }
    for code in [2, 3, 5, 50, 100, 999, 4_000_000_000] {
        fakes.plugin("busy", &fails(code, "as it said"));
        let answer = lab.call(&calling(&fakes, "DEL", &wrapping("1.0.0", &json!({ "type": "busy" }))));
        assert_eq!(error(&answer), (code.into(), "as it said".into()));
    }
}
