//! Between ADD and DEL an operator works on modules and lists: what ADD did is taken back all the same.

use crate::{ADDRESS, Site, around, name, plugins, taken_back};
use serde_json::{Value, json};
use std::fs;
use wasmhook_tests::{Call, Fakes, GO_ON, Lab, component, deny, overwriting, wait_for};

type Edit = (&'static str, fn(&Lab, &mut Value));

const EDITS: [Edit; 14] = [
    ("nothing", |_, _| {}),
    ("the module is deleted", |lab, _| fs::remove_file(lab.modules().join("address.wasm")).unwrap()),
    ("the module is garbage", |lab, _| lab.install("address", b"#!/bin/sh\n")),
    ("the module denies", |lab, _| {
        let (data, body) = deny(77, "not now");
        compiled(lab, &component(&data, body, GO_ON));
    }),
    ("the module traps", |lab, _| compiled(lab, &component("", "unreachable", "unreachable"))),
    ("another hook", |_, entry| entry["hooks"] = json!([{ "module": "identity" }])),
    ("no hook", |_, entry| entry["hooks"] = json!([])),
    ("the delegate is removed", |_, entry| {
        entry.as_object_mut().unwrap().remove("delegate").unwrap();
    }),
    ("another delegate", |_, entry| {
        entry["delegate"]["type"] = json!("ptp");
        entry["delegate"]["ipam"] =
            json!({ "type": "host-local", "subnet": "10.99.0.0/24", "dataDir": "/var/lib/other" });
    }),
    ("a typo in a hook", |_, entry| entry["hooks"] = json!([{ "modul": "address" }])),
    ("a typo in the entry", |_, entry| {
        let hooks = entry.as_object_mut().unwrap().remove("hooks").unwrap();
        entry["hoks"] = hooks;
    }),
    ("a delegate that is no object", |_, entry| entry["delegate"] = json!("bridge")),
    ("hooks that are no list", |_, entry| entry["hooks"] = json!(7)),
    ("the keys are gone", |_, entry| {
        *entry = json!({ "type": "wasmhook", "capabilities": { "portMappings": true } });
    }),
];

/// DEL waits for no compiler.
fn compiled(lab: &Lab, module: &[u8]) {
    lab.install("address", module);
    assert_eq!(lab.ctl(&["compile", "address"]).code, Some(0));
}

/// What the wrapped plugin gets at DEL is what it got at ADD, and what it made.
fn edited(position: usize) {
    let site = Site::new();
    let module = fs::read(site.lab.modules().join("address.wasm")).unwrap();
    for (number, (what, edit)) in EDITS.into_iter().enumerate() {
        site.lab.install("address", &module);
        let mut list = plugins();
        let plugin = name(&list[position]).to_owned();
        site.fakes.listen_to(&plugin);
        list[position] = around(&list[position], "address");
        let network = format!("n{number}");
        let mut chain = site.chain(&network, list.to_vec());
        let pod = site.pod(&network);
        let result = chain.add(&pod).unwrap_or_else(|stopped| panic!("{what}: {stopped:?}"));
        assert_eq!(result.pointer(ADDRESS.at).unwrap(), ADDRESS.with, "{what}");
        let made = site.fakes.said(&plugin, "ADD");

        edit(&site.lab, &mut chain.plugins[position]);
        chain.del(&pod, Some(&result)).unwrap_or_else(|stopped| panic!("{what}: {stopped:?}"));
        let without_result = |verb: &str| {
            let mut told = site.fakes.told(&plugin, verb);
            let prev_result = told.as_object_mut().unwrap().remove("prevResult");
            (told, prev_result)
        };
        let ((added, _), (deleted, prev_result)) = (without_result("ADD"), without_result("DEL"));
        assert_eq!(deleted, added, "{what}");
        assert_eq!(prev_result.unwrap(), taken_back(&result, ADDRESS, &made), "{what}");
        assert_eq!(site.left(), [""; 0], "{what}");
        assert!(!fs::exists("/var/lib/other").unwrap());
        site.node.ip(&format!("netns del {network}"));
    }
}

#[test]
fn whatever_becomes_of_the_first_entry_its_plugin_is_deleted_as_it_was_added() {
    edited(0);
}

#[test]
fn whatever_becomes_of_the_middle_entry_its_plugin_is_deleted_as_it_was_added() {
    edited(1);
}

#[test]
fn whatever_becomes_of_the_last_entry_its_plugin_is_deleted_as_it_was_added() {
    edited(2);
}

/// What a hook wrote into the configuration at ADD is there at DEL, whatever became of the hook.
#[test]
fn a_rewritten_configuration_outlives_its_hook() {
    let site = Site::new();
    site.lab.install("elsewhere", &overwriting("pre", r#""dataDir":""#, "/var/lib/two"));
    let mut bridge = plugins()[0].clone();
    bridge["ipam"]["dataDir"] = json!("/var/lib/one");
    let mut chain = site.chain("net", vec![around(&bridge, "elsewhere")]);
    let pod = site.pod("elsewhere");
    let result = chain.add(&pod).unwrap();
    assert!(fs::exists("/var/lib/two/net/10.9.0.2").unwrap() && !fs::exists("/var/lib/one").unwrap());
    fs::remove_file(site.lab.modules().join("elsewhere.wasm")).unwrap();
    chain.plugins[0]["hooks"] = json!([]);
    chain.check(&pod, &result).unwrap();
    chain.del(&pod, Some(&result)).unwrap();
    assert!(!fs::exists("/var/lib/two/net/10.9.0.2").unwrap());
    assert_eq!(site.left(), [""; 0]);
}

/// CHECK too looks at what ADD did, and not at what the list says now.
#[test]
fn without_its_delegate_an_entry_still_checks_it() {
    let site = Site::new();
    let mut bridge = plugins()[0].clone();
    // bridge forgets those rules with the address.
    bridge["ipMasq"] = json!(false);
    let mut chain = site.chain("net", vec![around(&bridge, "address")]);
    let pod = site.pod("checked");
    let result = chain.add(&pod).unwrap();
    chain.plugins[0].as_object_mut().unwrap().remove("delegate").unwrap();
    chain.check(&pod, &result).unwrap();
    site.node.ip("-n checked addr del 10.9.0.2/24 dev eth0");
    let error = chain.check(&pod, &result).unwrap_err().answer.error();
    assert!(error.msg.contains("10.9.0.2"), "{error:?}");
    chain.del(&pod, Some(&result)).unwrap();
    assert_eq!(site.left(), [""; 0]);
}

/// Pods live through an upgrade of the list's version; the runtime converts its result, and so must we: a plugin cannot
/// read a result in another version than its configuration's.
fn in_another_version(verb: &str) {
    let site = Site::new();
    for (position, version) in
        (0..3).flat_map(|position| ["0.4.0", "1.1.0"].map(|version| (position, version)))
    {
        let mut list = plugins();
        let plugin = name(&list[position]).to_owned();
        let about = format!("{verb} of {plugin} in {version}");
        site.fakes.listen_to(&plugin);
        list[position] = around(&list[position], "identity");
        let mut chain = site.chain(&format!("n{position}-{version}"), list.to_vec());
        let pod = site.pod(&chain.network);
        let mut result = chain.add(&pod).unwrap();
        result["cniVersion"] = json!(version);
        if version == "0.4.0" {
            result["ips"][0]["version"] = json!("4");
        }
        if verb == "DEL" {
            // In its turn: tuning keeps what it cannot put back.
            chain.version = "0.4.0".into();
            for later in (position + 1..list.len()).rev() {
                chain.call(later, verb, &pod, None).silent();
            }
        }
        chain.version = version.into();
        let answer = chain.call(position, verb, &pod, Some(&result));
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(0), ""), "{about}");
        let told = site.fakes.told(&plugin, verb);
        assert_eq!(told["cniVersion"], told["prevResult"]["cniVersion"], "{about}: {told}");
        // The others know nothing of 1.1.0.
        chain.version = "0.4.0".into();
        chain.del(&pod, None).unwrap_or_else(|stopped| panic!("{about}: {stopped:?}"));
        assert_eq!(site.left(), [""; 0], "{about}");
    }
}

#[test]
fn a_list_in_another_version_is_checked() {
    in_another_version("CHECK");
}

#[test]
fn a_list_in_another_version_is_deleted() {
    in_another_version("DEL");
}

/// The plugin is where it was, or where it is now.
#[test]
fn plugins_that_have_moved_are_found_again() {
    let site = Site::new();
    let mut chain = site.chain("net", vec![around(&plugins()[0], "address")]);
    let pod = site.pod("moved");
    let result = chain.add(&pod).unwrap();
    for plugin in ["bridge", "host-local"] {
        fs::remove_file(site.fakes.file(plugin)).unwrap();
    }
    let elsewhere = Fakes::new();
    elsewhere.link_real_ones();
    elsewhere.listen_to("bridge");
    chain.path = elsewhere.path();
    chain.del(&pod, Some(&result)).unwrap();
    assert_eq!(elsewhere.calls(), ["bridge DEL"]);
    assert_eq!(site.left(), [""; 0]);
}

/// An entry's `id` says which journal is its own: under another one DEL goes by the configuration, which frees the same,
/// and the journal waits for GC.
#[test]
fn under_another_id_what_was_made_is_freed() {
    let site = Site::new();
    for (number, id) in [json!("second"), json!(7), json!(null)].into_iter().enumerate() {
        let mut entry = around(&plugins()[0], "address");
        entry["id"] = json!("first");
        let mut chain = site.chain(&format!("n{number}"), vec![entry]);
        let pod = site.pod(&chain.network);
        let result = chain.add(&pod).unwrap();
        chain.plugins[0]["id"] = id.clone();
        chain.del(&pod, Some(&result)).unwrap_or_else(|stopped| panic!("{id}: {stopped:?}"));
        assert_eq!(site.left(), ["a journal"], "{id}");

        site.node.ip(&format!("netns del {}", pod.id));
        let mut config = chain.plugins[0].clone();
        config["name"] = json!(chain.network);
        config["cniVersion"] = json!("1.1.0");
        config["cni.dev/valid-attachments"] = json!([]);
        site.lab.call(&Call::new("GC", &config)).silent();
        assert_eq!(site.left(), [""; 0], "{id}");
    }
}

/// The namespace is gone, the runtime has no result, and the list is another.
#[test]
fn with_all_of_it_gone_the_lease_and_the_ports_are_freed() {
    let site = Site::new();
    let entry = json!({
        "type": "wasmhook", "hooks": [{ "module": "address" }], "capabilities": { "portMappings": true },
        // Without masquerading: bridge itself needs the namespace to take that back.
        "delegates": [{ "type": "bridge", "bridge": "br0", "ipam": { "type": "host-local", "subnet": "10.9.0.0/24" } }, plugins()[2]],
    });
    let mut chain = site.chain("net", vec![entry]);
    let mut pod = site.pod("gone");
    let result = chain.add(&pod).unwrap();
    assert_eq!(result.pointer(ADDRESS.at).unwrap(), ADDRESS.with);
    assert!(site.left().iter().any(|it| it.contains("--dport 8080")), "{:?}", site.left());
    site.node.ip("netns del gone");
    wait_for(|| site.node.links().iter().all(|link| link == "br0").then_some(()));
    fs::remove_file(site.lab.modules().join("address.wasm")).unwrap();
    chain.plugins = vec![json!({ "type": "wasmhook" })];
    for netns in ["/run/netns/gone", "", ""] {
        pod.netns = netns.into();
        chain.del(&pod, None).unwrap();
        assert_eq!(site.left(), [""; 0]);
    }
}
