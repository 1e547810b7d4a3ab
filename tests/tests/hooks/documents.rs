//! What the documents show is tested as it is written.

use crate::site::Site;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All blocks of JSON of a page.
fn blocks(page: &str) -> Vec<Value> {
    let parts = page.split("```json\n").skip(1);
    let text = |part: &str| part.split("\n```").next().unwrap().to_owned();
    parts
        .map(text)
        .map(|it| serde_json::from_str(&it).unwrap_or_else(|error| panic!("{error}: {it}")))
        .collect()
}

fn readme() -> Vec<Value> {
    blocks(&fs::read_to_string(root().join("README.md")).unwrap())
}

/// The entry of a conflist as a runtime hands it over.
fn entry(conflist: &Value) -> Value {
    let mut entry = conflist["plugins"][0].clone();
    (entry["name"], entry["cniVersion"]) = (conflist["name"].clone(), conflist["cniVersion"].clone());
    entry
}

/// Its second example is a fault with a target, an end and a kill switch; its third a one-liner that sets the MTU.
#[test]
fn the_readmes_fault_and_filter_do_what_it_says() {
    let site = Site::new();
    let examples = readme();
    let config = entry(&examples[1]);
    let wants = json!({ "example.com/chaos": "yes" });
    let mut codes = Vec::new();
    for container in ["a1", "a2", "a3"] {
        let _ = site.node.container(container);
        let mut config = config.clone();
        config["runtimeConfig"] = json!({ "io.kubernetes.cri.pod-annotations": wants });
        codes.push(crate::site::code(&site.pod("ADD", "a", container, &config)));
    }
    assert_eq!(codes, [11, 11, 0]);
    let _ = site.node.container("b1");
    let _ = site.annotated("ADD", "b1", &json!({}), &config).result();
    let _ = site.lab.ctl(&["faults", "off"]);
    let _ = site.node.container("c1");
    let _ = site.annotated("ADD", "c1", &wants, &config).result();
    assert!(config["hooks"][0]["config"]["notAfter"].is_string(), "{config}");

    let config = entry(&examples[2]);
    let _ = site.node.container("d1");
    let _ = site.pod("ADD", "d", "d1", &config).result();
    assert!(site.node.ip("-n d1 link show eth0").contains("mtu 1400"));
}

/// Each is a whole hook entry, which `validate` has nothing to say against.
#[test]
fn every_recipe_is_valid() {
    let site = Site::new();
    let mut recipes = 0;
    let _ = site.lab.ctl(&["compile", "--all"]);
    for page in fs::read_dir(root().join("docs/hooks")).unwrap() {
        let page = page.unwrap().path();
        let mut of_this = 0;
        for block in blocks(&fs::read_to_string(&page).unwrap()) {
            let conflist = match &block {
                whole if whole.get("plugins").is_some() => whole.clone(),
                hook if hook.get("module").is_some() => {
                    json!({ "cniVersion": "1.0.0", "name": "pods", "plugins": [{ "type": "wasmhook", "hooks": [hook],
                        "delegate": { "type": "bridge", "ipam": { "type": "host-local", "subnet": "10.9.0.0/24" } } }] })
                }
                _ => continue,
            };
            of_this += 1;
            let file = site.lab.path().join("recipe.conflist");
            fs::write(&file, conflist.to_string()).unwrap();
            let said = site.lab.ctl(&["validate", file.to_str().unwrap(), "--cni-path", "/usr/lib/cni"]);
            assert_eq!(said.code, Some(0), "{}: {block}: {}", page.display(), said.stdout);
            assert!(!said.stdout.contains("warning"), "{}: {block}: {}", page.display(), said.stdout);
        }
        assert!(of_this >= 3, "{}: {of_this} recipes", page.display());
        recipes += of_this;
    }
    assert!(recipes >= 18, "{recipes}");
}

/// What a hook carries is what `validate` goes by.
#[test]
fn a_mistake_in_a_hooks_settings_is_found_by_its_schema_and_then_by_the_hook() {
    let site = Site::new();
    let validate = |hook: &Value| {
        let conflist = json!({ "cniVersion": "1.0.0", "name": "n", "plugins": [{ "type": "wasmhook", "hooks": [hook] }] });
        let file = site.lab.path().join("n.conflist");
        fs::write(&file, conflist.to_string()).unwrap();
        let said = site.lab.ctl(&["validate", file.to_str().unwrap()]);
        assert_eq!(said.code, Some(1), "{said:?}");
        said.stdout
    };
    let said = validate(&json!({ "module": "policy", "config": { "rules": [{ "deny": "x" }] } }));
    assert!(
        said.contains("plugins[0].hooks[0].config.rules[0]\n        \"name\" is a required property"),
        "{said}"
    );
    let said = validate(&json!({ "module": "jq", "config": { "pre": ".config | mpa(.)" } }));
    assert!(
        said.contains("`config.pre`: line 1, column 11: there is no filter `mpa`/1; did you mean `map`?"),
        "{said}"
    );
    let said = validate(
        &json!({ "module": "fault", "grants": ["clock", "state"], "config": { "scripts": { "ADD": "eror" } } }),
    );
    assert!(said.contains("column 1: \"eror\" is no action; did you mean \"error\"?"), "{said}");
    let inspected = site.lab.ctl(&["inspect", "fault", "-o", "json"]);
    let report: Value = serde_json::from_str(&inspected.stdout).unwrap();
    assert_eq!(report["traits"], json!(["pre", "post", "breaks-things"]));
    assert_eq!(report["settings"]["properties"]["maxActive"]["minimum"], 1);
    let inspected = site.lab.ctl(&["inspect", "fault"]);
    assert!(inspected.stdout.contains("Runs in   pre, post, and breaks things on purpose"), "{inspected:?}");
}
