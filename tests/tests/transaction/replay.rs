//! DEL replays what ADD did, and CHECK the same.

use crate::{Stage, around, bridge, held, made, nothing, with};
use serde_json::{Value, json};
use std::fs;
use wasmhook_tests::{Call, GO_ON, Node, PLUGINS, component, deny};

fn object(value: &mut Value) -> &mut serde_json::Map<String, Value> {
    value.as_object_mut().unwrap()
}

/// Our entry around bridge with a hook that gives it an MTU.
fn entry() -> Value {
    let mut config = around(&[]);
    config["delegates"] = json!([bridge()]);
    config["hooks"] = json!([{ "module": "mtu", "grants": ["carry"], "config": { "mtu": 1400 } }]);
    config
}

/// An edit of the conflist, by its name.
type Edit = (&'static str, fn(&mut Value));

const EDITS: [Edit; 11] = [
    ("nothing changed", |_| {}),
    ("hooks changed", |config| config["hooks"] = json!([{ "module": "identity" }])),
    ("hooks removed", |config| config["hooks"] = json!([])),
    ("a typo in our block", |config| config["hooks"] = json!([{ "modul": "mtu" }, 7])),
    ("our block is nonsense", |config| {
        config["hooks"] = json!("none");
        config["delegates"] = json!(true);
        config["onDelError"] = json!(["?"]);
    }),
    ("another delegate", |config| config["delegates"] = json!([{ "type": "nowhere" }])),
    ("the delegate removed", |config| {
        object(config).remove("delegates");
    }),
    ("the delegate's address range changed", |config| {
        config["delegates"][0]["ipam"]["ranges"] = json!([[{ "subnet": "10.77.0.0/24" }]]);
    }),
    ("the delegate's IPAM removed", |config| {
        object(&mut config["delegates"][0]).remove("ipam");
    }),
    ("a hook that is nowhere", |config| config["hooks"] = json!([{ "module": "nowhere" }])),
    ("a hook that refuses", |config| config["hooks"] = json!([{ "module": "refuse" }])),
];

#[test]
fn the_address_is_freed_whatever_the_list_says_now() {
    let (node, stage) = (Node::enter(), Stage::new());
    let (data, body) = deny(77, "not now");
    stage.hook("refuse", &component(&data, body, GO_ON));
    let netns = node.container("r");
    for (name, edit) in EDITS {
        let mut config = entry();
        let _ = stage.lab.call(&Call { netns: netns.clone(), ..stage.call("ADD", &config) }).result();
        assert_eq!((node.leases("net").len(), stage.lab.journals()), (1, 1));
        edit(&mut config);
        // Without a namespace there is nothing but the address.
        let del = Call { netns: netns.clone(), ..stage.call("DEL", &config) };
        let answer = stage.lab.call(&del);
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(0), ""), "{name}: {answer:?}");
        assert_eq!((held(&node), stage.lab.journals()), (nothing(), 0), "{name}");
    }
}

#[test]
fn the_address_is_freed_whatever_became_of_the_module() {
    let (node, stage) = (Node::enter(), Stage::new());
    let netns = node.container("r");
    let module = stage.lab.modules().join("mtu.wasm");
    let good = fs::read(&module).unwrap();
    let (data, body) = deny(77, "not now");
    let bad: [Option<Vec<u8>>; 4] = [
        None,
        Some(b"nonsense".to_vec()),
        Some(component("", "unreachable", "unreachable")),
        Some(component(&data, body, GO_ON)),
    ];
    for (number, bad) in bad.into_iter().enumerate() {
        stage.hook("mtu", &good);
        let _ = stage.lab.call(&Call { netns: netns.clone(), ..stage.call("ADD", &entry()) }).result();
        match bad {
            None => fs::remove_file(&module).unwrap(),
            Some(bad) => {
                stage.lab.install("mtu", &bad);
                // Nonsense has no compiled form.
                let _ = stage.lab.ctl(&["compile", "mtu"]);
            }
        }
        stage.lab.call(&Call { netns: netns.clone(), ..stage.call("DEL", &entry()) }).silent();
        assert_eq!((held(&node), stage.lab.journals()), (nothing(), 0), "{number}");
    }
}

#[test]
fn the_delegate_gets_the_configuration_of_add_as_the_hooks_had_made_it() {
    let stage = Stage::new();
    let hook = |mtu: u32| json!([{ "module": "mtu", "grants": ["carry"], "config": { "mtu": mtu } }]);
    let mut config = with(&around(&["one"]), "hooks", hook(1400));
    config["delegates"][0]["big"] = serde_json::from_str("12345678901234567890").unwrap();
    let result = stage.answer("ADD", &config).result();
    let added = stage.fakes.told("one", "ADD");
    assert_eq!(added["mtu"], 1400);
    config["hooks"] = hook(9000);
    config["delegates"][0]["mtu"] = json!(1);
    for verb in ["CHECK", "DEL"] {
        stage.answer(verb, &with(&config, "prevResult", result.clone())).silent();
        let mut told = stage.fakes.told("one", verb);
        object(&mut told).remove("prevResult");
        assert_eq!(told, added, "{verb}");
    }
}

#[test]
fn arguments_and_path_are_those_of_add_and_the_namespace_is_the_runtimes() {
    let (node, stage) = (Node::enter(), Stage::new());
    let netns = node.container("r");
    let same = stage.fakes.file("same-namespace").display().to_string();
    std::os::unix::fs::symlink(&netns, &same).unwrap();
    let config = around(&["one"]);
    let add = Call { netns, args: "K=add".into(), ..stage.call("ADD", &config) };
    let result = stage.lab.call(&add).result();
    let with_result = with(&config, "prevResult", result);
    let later = |verb| Call {
        netns: same.clone(),
        args: "K=later".into(),
        path: PLUGINS.into(),
        ..stage.call(verb, &with_result)
    };
    for verb in ["CHECK", "DEL"] {
        stage.lab.call(&later(verb)).silent();
        let environment = stage.fakes.environment("one", verb);
        assert_eq!(environment["CNI_ARGS"], add.args, "{verb}");
        // What has moved meanwhile is found where it is now.
        assert_eq!(environment["CNI_PATH"], format!("{}:{PLUGINS}", add.path), "{verb}");
        assert_eq!(environment["CNI_NETNS"], same, "{verb}");
    }
}

#[test]
fn without_prev_result_the_delegate_gets_its_own() {
    let stage = Stage::new();
    let mut config = around(&["one"]);
    config["hooks"] = stage.hook_that_says(&json!({ "cniVersion": "1.0.0", "dns": { "domain": "said" } }));
    for finished in [true, false] {
        let _ = stage.answer("ADD", &config).result();
        if !finished {
            stage.unfinish();
        }
        stage.answer("DEL", &config).silent();
        assert_eq!(stage.fakes.told("one", "DEL")["prevResult"], made(0), "finished: {finished}");
    }
}

#[test]
fn without_prev_result_each_of_several_delegates_gets_its_own() {
    let stage = Stage::new();
    let config = around(&["one", "two"]);
    for finished in [true, false] {
        let _ = stage.answer("ADD", &config).result();
        if !finished {
            stage.unfinish();
        }
        stage.answer("DEL", &config).silent();
        assert_eq!(stage.fakes.told("two", "DEL")["prevResult"], made(1), "finished: {finished}");
        assert_eq!(stage.fakes.told("one", "DEL")["prevResult"], made(0), "finished: {finished}");
    }
}

#[test]
fn words_of_hooks_are_taken_back_and_changes_of_later_plugins_stay() {
    let stage = Stage::new();
    let interface = |mac: &str| json!({ "name": "eth0", "mac": mac, "sandbox": "/n" });
    let address = json!({ "address": "10.1.0.2/24", "interface": 0 });
    let mine = json!({
        "cniVersion": "1.0.0", "interfaces": [interface("aa:aa:aa:aa:aa:aa")], "ips": [address],
    });
    stage.plugin("one", "", &mine);
    let mut said = mine.clone();
    said["routes"] = json!([{ "dst": "0.0.0.0/0" }]);
    said["dns"] = json!({ "domain": "said" });
    said["ips"][0]["gateway"] = json!("10.1.0.1");
    let config = with(&around(&["one"]), "hooks", stage.hook_that_says(&said));
    assert_eq!(stage.answer("ADD", &config).result(), said);
    // What tuning does to a MAC, and a plugin that adds an interface.
    let (mut now, mut expected) = (said.clone(), mine.clone());
    for result in [&mut now, &mut expected] {
        result["interfaces"] = json!([interface("bb:bb:bb:bb:bb:bb"), { "name": "dummy0" }]);
    }
    for verb in ["CHECK", "DEL"] {
        stage.answer(verb, &with(&config, "prevResult", now.clone())).silent();
        assert_eq!(stage.fakes.told("one", verb)["prevResult"], expected, "{verb}");
    }
}

#[test]
fn words_between_two_delegates_are_taken_back_for_each_of_them() {
    let stage = Stage::new();
    stage.plugin("two", "", &json!({ "cniVersion": "1.0.0", "dns": { "domain": "said" }, "ips": made(0)["ips"], "routes": [{ "dst": "10.2.0.0/16" }] }));
    let said = json!({ "cniVersion": "1.0.0", "dns": { "domain": "said" }, "ips": made(0)["ips"] });
    let hooks = stage.hook_that_says(&said);
    let config = with(&around(&["one", "two"]), "hooks", hooks);
    // The hook takes the route away again.
    let result = stage.answer("ADD", &config).result();
    assert_eq!(result, said);
    let checked = with(&config, "prevResult", result);
    stage.answer("CHECK", &checked).silent();
    stage.answer("DEL", &checked).silent();
    for verb in ["CHECK", "DEL"] {
        let told = &stage.fakes.told("one", verb)["prevResult"];
        assert_eq!(told["dns"]["domain"], Value::Null, "{verb}: {told}");
        assert_eq!(
            told["routes"],
            json!([{ "dst": "10.2.0.0/16" }]),
            "{verb}: true, and not the hook's to hide"
        );
    }
}

/// A hook's route that is nowhere fails bridge's own CHECK, and so does a MAC that is no longer true.
#[test]
fn bridge_finds_all_in_order_although_a_hook_spoke_and_a_later_plugin_changed_the_mac() {
    let (node, stage) = (Node::enter(), Stage::new());
    let netns = node.container("r");
    let config = with(&around(&[]), "delegates", json!([bridge()]));
    let call = |verb, config: &Value| Call { netns: netns.clone(), ..stage.call(verb, config) };
    let made = stage.lab.call(&call("ADD", &config)).result();
    let mut said = made.clone();
    said["routes"] = json!([{ "dst": "192.0.2.0/24", "gw": "10.9.0.1" }]);
    stage.edit(|text| {
        let line = json!({ "said": { "step": 0, "result": said } });
        text.replacen("{\"finished\"", &format!("{line}\n{{\"finished\""), 1)
    });
    node.ip("-n r link set eth0 address 02:11:22:33:44:55");
    let mut now = said.clone();
    now["interfaces"][2]["mac"] = json!("02:11:22:33:44:55");
    stage.lab.call(&call("CHECK", &with(&config, "prevResult", now.clone()))).silent();

    let mut bare = bridge();
    (bare["cniVersion"], bare["name"]) = (json!("1.0.0"), json!("net"));
    for wrong in [now, made] {
        let call = call("CHECK", &with(&bare, "prevResult", wrong));
        let program = std::path::Path::new(PLUGINS).join("bridge");
        assert_eq!(wasmhook_tests::Answer::of(&mut call.command(&program), &call.stdin).code, Some(1));
    }
}

#[test]
fn a_replaced_delegate_is_skipped_at_check_and_del() {
    let stage = Stage::new();
    let (data, body) = wasmhook_tests::verdict(2, r#"{"cniVersion":"1.0.0","ips":[]}"#);
    stage.hook("answer", &component(&data, body, GO_ON));
    let (data, body) = wasmhook_tests::verdict(3, r#"{"cniVersion":"1.0.0","ips":[]}"#);
    stage.hook("recover", &component(&data, GO_ON, body));
    stage.breaks("one", "ADD");
    for (hook, calls) in [("answer", vec![]), ("recover", vec!["one ADD".to_owned(), "one DEL".to_owned()])] {
        let config = with(&around(&["one"]), "hooks", json!([{ "module": hook }]));
        let result = stage.answer("ADD", &config).result();
        assert_eq!(stage.calls(), calls, "{hook}");
        let config = with(&config, "prevResult", result);
        stage.answer("CHECK", &config).silent();
        stage.answer("DEL", &config).silent();
        assert_eq!((stage.calls(), stage.lab.journals()), (vec![], 0), "{hook}");
    }
}

#[test]
fn check_looks_for_the_journal_whatever_the_list_says_now() {
    let stage = Stage::new();
    let result = stage.answer("ADD", &around(&["one"])).result();
    stage.calls();
    let mut config = with(&around(&["two"]), "prevResult", result);
    stage.answer("CHECK", &config).silent();
    object(&mut config).remove("delegates");
    stage.answer("CHECK", &config).silent();
    assert_eq!(stage.calls(), ["one CHECK", "one CHECK"]);
}
