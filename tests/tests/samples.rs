//! Every recorded call of a real runtime is accepted, and answered like the pass-through that stood there.

#![allow(clippy::unwrap_used, clippy::must_use_candidate, reason = "panicking is how a test speaks")]

use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use wasmhook_tests::{Call, Lab};

fn samples() -> Vec<PathBuf> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let folders = ["containerd", "libcni", "podman"].map(|it| fs::read_dir(fixtures.join(it)).unwrap());
    let mut files: Vec<_> = folders.into_iter().flatten().map(|it| it.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_recorded_call_is_answered_as_it_was() {
    let samples = samples();
    assert!(samples.len() >= 30, "the fixtures are gone: {samples:?}");
    for isolation in ["none", "module"] {
        let lab = Lab::new(isolation);
        for sample in &samples {
            replay(&lab, sample);
        }
    }
}

fn replay(lab: &Lab, sample: &Path) {
    let recorded: Value = serde_json::from_str(&fs::read_to_string(sample).unwrap()).unwrap();
    let variable = |name: &str| recorded["env"][name].as_str().unwrap_or_default().to_owned();
    let mut config = recorded["stdin"].clone();
    config["hooks"] = json!([{ "module": "identity" }]);
    let call = Call {
        verb: variable("CNI_COMMAND"),
        container_id: variable("CNI_CONTAINERID"),
        netns: variable("CNI_NETNS"),
        ifname: variable("CNI_IFNAME"),
        args: variable("CNI_ARGS"),
        path: variable("CNI_PATH"),
        stdin: config.to_string(),
    };
    let answer = lab.call(&call);
    match call.verb.as_str() {
        "VERSION" => assert!(answer.result()["supportedVersions"].is_array()),
        "ADD" => {
            // Where the recorded plugin failed on purpose there is no answer of its to compare with.
            let failed = recorded["stdout"].is_null();
            let expected = if failed { &recorded["stdin"]["prevResult"] } else { &recorded["stdout"] };
            assert_eq!(answer.result(), *expected, "{}", sample.display());
        }
        _ => answer.silent(),
    }
}
