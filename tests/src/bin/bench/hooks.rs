//! What it costs that hooks are there for others, and what a filter costs.

use crate::{Margin, Promise, Subject, conf, interleave, report, telling, wasmhook};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Command;
use wasmhook_tests::Lab;

const WITHOUT: &str = "no hooks";
const UNMET: &str = "ten hooks for other namespaces";
const MIXED: &str = "ten hooks that do not match, each by another condition";
const FILTER: &str = "a filter that sets the MTU";
const SHELL: &str = "bash + jq doing the same";

/// Twice what is asked for, as it is about 40 µs.
const LEAST: usize = 1000;

pub(super) fn measure(disk: &Path, rounds: usize) {
    let lab = Lab::on(disk, "module");
    lab.install_example("jq");
    let compiled = lab.ctl(&["compile", "--all"]);
    assert_eq!(compiled.code, Some(0), "{compiled:?}");
    let mut subjects = vec![
        telling(WITHOUT, &lab, &conf(&[]), wasmhook(&lab)),
        telling(
            UNMET,
            &lab,
            &unmet(&vec![json!({ "podNamespace": ["shop-*", "!shop-db"] }); 10]),
            wasmhook(&lab),
        ),
        telling(MIXED, &lab, &unmet(&mixed()), wasmhook(&lab)),
    ];
    interleave(&mut subjects, rounds.max(LEAST));
    let bound = 0.04_f64.max(0.05 * subjects[0].median_cpu());
    let margins = [UNMET, MIXED].map(|subject| Margin { subject, than: WITHOUT, bound });
    report(&subjects, rounds.max(LEAST), &[], &margins);

    let mut subjects = filtering(&lab);
    std::thread::sleep(std::time::Duration::from_millis(3100));
    interleave(&mut subjects, rounds);
    let promises = [Promise { subject: FILTER, against: SHELL, bound: 1.0 / 8.0 }];
    let margins = [Margin { subject: FILTER, than: "", bound: 2.0 }];
    report(&subjects, rounds, &promises, &margins);
}

fn mixed() -> Vec<Value> {
    vec![
        json!({ "podNamespace": "shop-*" }),
        json!({ "podName": "web-*" }),
        json!({ "verbs": "DEL" }),
        json!({ "annotations": { "example.com/chaos": "yes" } }),
        json!({ "network": ["pods", "storage"] }),
        json!({ "ifname": "net*" }),
        json!({ "config": { "/mtu": 1400 } }),
        json!({ "plugin": "bridge" }),
        json!({ "percent": 0 }),
        json!({ "podNamespace": ["a-*", "b-*", "!b-c"], "podUid": "x*" }),
    ]
}

fn unmet(whens: &[Value]) -> Value {
    let mut config = conf(&["identity"; 10]);
    for (hook, when) in config["hooks"].as_array_mut().expect("hooks").iter_mut().zip(whens) {
        hook["when"] = when.clone();
    }
    config
}

fn filtering(lab: &Lab) -> Vec<Subject> {
    let mut config = conf(&["jq"]);
    config["hooks"][0]["config"] = json!({ "pre": ".config.mtu = 1400" });
    let script = lab.path().join("wrapper.sh");
    fs::write(&script, "#!/bin/bash\nset -e\nconfig=$(cat)\njq -c '.mtu = 1400' <<<\"$config\"\n")
        .expect("script");
    vec![
        telling(FILTER, lab, &config, wasmhook(lab)),
        telling(SHELL, lab, &conf(&[]), move || {
            let mut command = Command::new("bash");
            command.arg(&script).env("PATH", "/usr/bin:/bin");
            command
        }),
    ]
}
