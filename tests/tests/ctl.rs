//! `wasmhookctl`, as a person and as a program uses it.

#![allow(clippy::unwrap_used, clippy::must_use_candidate, reason = "panicking is how a test speaks")]

use serde_json::{Value, json};
use std::fs;
use wasmhook_tests::{GO_ON, Lab, component, dist};

fn json_of(lab: &Lab, arguments: &[&str]) -> Value {
    let answer = lab.ctl(&[arguments, &["-o", "json"]].concat());
    serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

fn write(lab: &Lab, name: &str, value: &Value) -> String {
    let path = lab.path().join(name);
    fs::write(&path, value.to_string()).unwrap();
    path.display().to_string()
}

#[test]
fn inspect_tells_what_a_module_needs_and_runs_nothing() {
    let lab = Lab::new("module");
    let report = json_of(&lab, &["inspect", "mtu"]);
    assert_eq!(report["hook"], true);
    assert_eq!(report["grants"], json!(["carry"]));
    assert_eq!(report["compiled"], false);
    assert_eq!(report["bytes"], fs::metadata(dist("hooks/mtu.wasm")).unwrap().len());
    let names: Vec<_> =
        report["imports"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["wasmhook:host/carry@0.1.0", "wasmhook:host/log@0.1.0"]);
    let _ = lab.ctl(&["compile", "mtu"]);
    assert_eq!(json_of(&lab, &["inspect", "mtu"])["compiled"], true);
}

#[test]
fn inspect_refuses_what_is_no_component() {
    let lab = Lab::new("module");
    lab.install("text", b"hello");
    let answer = lab.ctl(&["inspect", "text"]);
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(2), ""));
    assert!(answer.stderr.contains("not WebAssembly: starts with 68 65 6c 6c"), "{answer:?}");
    assert_eq!(lab.ctl(&["inspect", "nowhere"]).code, Some(2));
}

#[test]
fn try_shows_the_verdict_and_what_it_changes() {
    let lab = Lab::new("module");
    let config = json!({ "cniVersion": "1.0.0", "name": "n", "type": "bridge", "mtu": 1500 });
    let config = write(&lab, "config.json", &config);
    let arguments = ["try", "mtu", "--verb", "ADD", "--config", &config, "--hook-config", r#"{"mtu":1400}"#];
    let answer = lab.ctl(&arguments);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(answer.stdout.starts_with("pre  rewrite  "), "{answer:?}");
    assert!(
        answer.stdout.contains("-   \"mtu\": 1500") && answer.stdout.contains("+   \"mtu\": 1400"),
        "{answer:?}"
    );
    assert!(!answer.stdout.contains('\x1b'), "no colours in a pipe: {answer:?}");
    let report = json_of(&lab, &arguments);
    let pre = &report["phases"][0];
    assert_eq!(
        (&pre["verdict"], &pre["value"]["mtu"], &pre["carry"]),
        (&json!("rewrite"), &json!(1400), &json!({ "was": 1500 }))
    );
    assert!(pre["memory_bytes"].as_u64() > Some(60_000) && pre["milliseconds"].as_f64() > Some(0.0), "{pre}");
}

#[test]
fn try_takes_a_whole_request_and_runs_post_with_a_result() {
    let lab = Lab::new("module");
    let request = json!({
        "verb": "ADD", "hookConfig": { "mtu": 1300 }, "config": { "cniVersion": "1.1.0", "name": "n", "type": "bridge" },
        "result": { "cniVersion": "1.1.0", "interfaces": [{ "name": "eth0" }] },
    });
    let report = json_of(&lab, &["try", "mtu", "--request", &write(&lab, "request.json", &request)]);
    let post = &report["phases"][1];
    assert_eq!((&post["phase"], &post["verdict"]), (&json!("post"), &json!("rewrite")));
    assert_eq!(post["value"]["interfaces"][0]["mtu"], 1300);
}

#[test]
fn try_says_how_a_hook_is_broken() {
    let lab = Lab::new("module");
    lab.install("bad", &component("", "(loop (br 0)) unreachable", GO_ON));
    let answer = lab.ctl(&["try", "bad", "--limit", "cpu=50ms"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.stdout.starts_with("pre  broken  hook `bad`: cpu limit of 50ms reached"), "{answer:?}");
    for arguments in [
        &["try", "bad", "--verb", "FROB"][..],
        &["try", "bad", "--limit", "cpu"],
        &["try", "bad", "--hook-config", "{"],
    ] {
        let answer = lab.ctl(arguments);
        assert_eq!((answer.code, answer.stderr.starts_with("error: --")), (Some(2), true), "{answer:?}");
    }
}

#[test]
fn try_needs_neither_root_nor_a_writable_place() {
    let lab = Lab::new("module");
    let report = json_of(&lab, &["try", "identity"]);
    assert_eq!(report["phases"][0]["verdict"], "proceed");
    assert!(!lab.compiled().exists(), "nothing is kept");
}

#[test]
fn validate_reports_every_mistake_with_its_path() {
    let lab = Lab::new("module");
    let _ = lab.ctl(&["compile", "--all"]);
    let conflist = json!({
        "cniVersion": "9.9.9", "name": "",
        "plugins": [
            { "type": "bridge" },
            { "type": "wasmhook", "mtu": 1400, "delegate": { "type": "nowhere" }, "hooks": [
                { "module": "mtu" },
                { "module": "identity", "grants": ["clock"] },
                { "module": "gone", "limit": {} },
            ] },
        ],
    });
    let path = write(&lab, "net.conflist", &conflist);
    let answer = lab.ctl(&["validate", &path, "--cni-path", "/usr/lib/cni"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    let report = json_of(&lab, &["validate", &path, "--cni-path", "/usr/lib/cni"]);
    let paths = |key: &str| -> Vec<String> {
        report[key].as_array().unwrap().iter().map(|it| it["path"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        paths("errors"),
        [
            "cniVersion",
            "name",
            "plugins[1].hooks[2].limit",
            "plugins[1].delegate.type",
            "plugins[1].hooks[0].grants",
            "plugins[1].hooks[2].module"
        ]
    );
    assert_eq!(paths("warnings"), ["plugins[1].mtu", "plugins[1].hooks[1].grants"]);
    assert!(answer.stdout.contains("add grant \"carry\""), "{answer:?}");
}

#[test]
fn validate_is_content_with_what_is_right() {
    let lab = Lab::new("module");
    let _ = lab.ctl(&["compile", "--all"]);
    let conflist = json!({
        "cniVersion": "1.0.0", "name": "net",
        "plugins": [{ "type": "wasmhook", "delegate": { "type": "bridge" }, "hooks": [{ "module": "identity" }] }],
    });
    let answer =
        lab.ctl(&["validate", &write(&lab, "net.conflist", &conflist), "--cni-path", "/usr/lib/cni"]);
    assert_eq!((answer.code, answer.stdout.starts_with("✓ ")), (Some(0), true), "{answer:?}");
    let answer = lab.ctl(&["validate", "/nowhere.conflist"]);
    assert_eq!(
        (answer.code, answer.stderr.as_str()),
        (Some(2), "error: /nowhere.conflist: No such file or directory (os error 2)\n")
    );
}

/// The first block of this language in a page.
fn block<'a>(page: &'a str, language: &str) -> &'a str {
    let start = page.find(&format!("```{language}\n")).unwrap() + language.len() + 4;
    &page[start..start + page[start..].find("```").unwrap()]
}

#[test]
fn what_the_documentation_shows_is_valid() {
    let lab = Lab::new("module");
    lab.install_example("bridge");
    let _ = lab.ctl(&["compile", "--all"]);
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).unwrap();
    let path = lab.path().join("readme.conflist");
    fs::write(&path, block(&readme, "json")).unwrap();
    let report = json_of(&lab, &["validate", path.to_str().unwrap(), "--cni-path", "/usr/lib/cni"]);
    assert_eq!((&report["errors"], &report["warnings"]), (&json!([]), &json!([])));
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/demo/10-demo.conflist");
    assert_eq!(json_of(&lab, &["validate", demo, "--cni-path", "/usr/lib/cni"])["valid"], true);

    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/configuration.md")).unwrap();
    fs::write(lab.settings(), block(&page, "toml")).unwrap();
    assert_eq!(lab.ctl(&["try", lab.modules().join("identity.wasm").to_str().unwrap()]).code, Some(0));
}

#[test]
fn help_teaches_and_fits_80_columns() {
    let lab = Lab::new("module");
    for arguments in [
        &["--help"][..],
        &["compile", "--help"],
        &["inspect", "--help"],
        &["try", "--help"],
        &["validate", "--help"],
        &["attachments", "--help"],
        &["gc", "--help"],
        &["bypass", "--help"],
        &["bypass", "on", "--help"],
    ] {
        let answer = lab.ctl(arguments);
        assert_eq!(answer.code, Some(0));
        assert!(answer.stdout.contains("Usage: wasmhookctl"), "{answer:?}");
    }
    let completion = lab.ctl(&["completion", "bash"]).stdout;
    assert!(completion.contains("_wasmhookctl()") && completion.contains("--from-cri"));
    let page = lab.ctl(&["man"]).stdout;
    assert!(page.contains(".TH wasmhookctl 1") && page.contains("wasmhookctl\\-attachments"), "{page}");
}
