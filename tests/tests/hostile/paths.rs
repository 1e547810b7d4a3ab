//! Names that lead elsewhere.

use serde_json::{Value, json};
use wasmhook_tests::{Call, CniError, Lab};

fn ask(lab: &Lab, hooks: &Value, plugin: Option<&str>) -> CniError {
    let mut config = json!({ "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": hooks });
    if let Some(plugin) = plugin {
        config["delegate"] = json!({ "type": plugin });
    }
    let answer = lab.call(&Call::new("ADD", &config));
    assert!(!answer.stderr.contains("panic"), "{answer:?}");
    let deleted = lab.call(&Call::new("DEL", &config));
    assert!(deleted.code.is_some() && !deleted.stderr.contains("panic"), "{deleted:?}");
    assert_eq!(lab.journals(), 0);
    answer.error()
}

#[test]
fn a_modules_name_leads_nowhere_but_into_the_module_directories() {
    let lab = Lab::new("module");
    std::fs::write(lab.path().join("outside.wasm"), b"").unwrap();
    let long = "x".repeat(10_000);
    for name in [
        "../outside",
        "./../outside",
        "a/b",
        "",
        ".",
        "..",
        ".hidden",
        "x\0y",
        "é",
        "a b",
        "a\nb",
        "..\\x",
        "%2e%2e",
        "\u{202e}x",
        "../../../../../../etc/passwd",
    ] {
        let error = ask(&lab, &json!([{ "module": name }]), None);
        assert!(
            error.code == 7 && error.msg.contains("write an absolute path, or a name of letters"),
            "{name:?}: {error:?}"
        );
        assert!(!error.msg.contains(char::is_control), "{error:?}");
    }
    let error = ask(&lab, &json!([{ "module": long }]), None);
    assert!([102, 103].contains(&error.code), "{error:?}");
}

#[test]
fn a_modules_path_opens_nothing_that_is_no_module() {
    let lab = Lab::new("module");
    let deep = format!("/{}", "x/".repeat(5000));
    for (path, code) in [
        ("/etc/passwd", 101),
        ("/dev/null", 102),
        ("/dev/zero", 102),
        ("/dev/tty", 102),
        ("/proc/self/mem", 102),
        ("/", 102),
        ("/etc/../etc/shadow", 101),
        ("/proc/self/fd/0", 102),
        ("/nowhere\0/x", 102),
        ("//", 102),
        (deep.as_str(), 102),
    ] {
        let error = ask(&lab, &json!([{ "module": path }]), None);
        assert_eq!(error.code, code, "{path:?}: {error:?}");
        assert!(error.msg.starts_with("hook `") && !error.msg.contains("root:"), "{path:?}: {error:?}");
    }
}

#[test]
fn a_plugins_type_leads_nowhere_but_into_cni_path() {
    let lab = Lab::new("module");
    for plugin in ["../bridge", "/bin/sh", ".", "..", "a/b", "bridge/", "./bridge"] {
        let error = ask(&lab, &json!([]), Some(plugin));
        assert!(error.code == 7 && error.msg.contains("invalid plugin name"), "{plugin:?}: {error:?}");
    }
    let error = ask(&lab, &json!([]), Some(""));
    assert!(error.code == 7 && error.msg.contains("`delegate.type`: missing"), "{error:?}");
    for plugin in ["x\0y", "é", "x".repeat(10_000).as_str(), "-rf", "nothing like it"] {
        let error = ask(&lab, &json!([]), Some(plugin));
        assert_eq!(error.code, 7, "{plugin:?}: {error:?}");
    }
}

#[test]
fn a_pin_is_a_digest_and_nothing_else() {
    let lab = Lab::new("module");
    for pin in ["", "../../x", "0", &"g".repeat(64), &"0".repeat(65), "\0"] {
        let error = ask(&lab, &json!([{ "module": "identity", "sha256": pin }]), None);
        assert!(error.code == 7 && error.msg.contains("64 hex digits"), "{pin:?}: {error:?}");
    }
}
