//! What a hook says reaches the runtime and whoever comes after, and never the plugin that knows better.

use crate::{ADDRESS, MAC, REAL_MAC, Site, WORDS, Word, around, name, plugins, shape, taken_back};
use serde_json::{Value, json};
use std::fs;
use wasmhook_tests::{GO_ON, Pod, component};

/// A whole life in a list whose plugin at `position` is wrapped: what it is told is what it made.
fn life(site: &Site, position: usize, mut list: [Value; 3], word: Option<Word>) {
    let plugin = name(&list[position]).to_owned();
    let about = format!("{plugin} at {position} with {:?}", word.map(|it| it.name));
    site.fakes.listen_to(&plugin);
    let hook = word.map_or("identity", |it| it.name);
    let real_mac = list[1].get("mac").is_some();
    let network = format!("{hook}-{position}-{real_mac}");
    list[position] = around(&list[position], hook);
    let chain = site.chain(&network, list.to_vec());
    let pod = site.pod(&network);

    let result = chain.add(&pod).unwrap_or_else(|stopped| panic!("{about}: {stopped:?}"));
    let made = site.fakes.said(&plugin, "ADD");
    let mut truth = result.clone();
    if let Some(word) = word {
        // What comes later in the list and really changes it is believed.
        let overruled = position == 0 && word.name == "mac" && real_mac;
        let expected = if overruled { REAL_MAC } else { word.with };
        assert_eq!(result.pointer(word.at).unwrap(), expected, "{about}: {result}");
        assert_ne!(made.pointer(word.at).unwrap(), word.with, "{about}: {made}");
        truth = taken_back(&result, word, &made);
    }

    for at in 0..list.len() {
        let answer = chain.call(at, "CHECK", &pod, Some(&result));
        // A bridge outside of the entry whose hook says something hears it, as it would from any plugin.
        if at == 0 && position > 0 && word.is_some() {
            assert_eq!(answer.code, Some(1), "{about}: {answer:?}");
        } else {
            answer.silent();
        }
    }
    assert_eq!(site.fakes.told(&plugin, "CHECK")["prevResult"], truth, "{about}");

    chain.del(&pod, Some(&result)).unwrap_or_else(|stopped| panic!("{about}: {stopped:?}"));
    assert_eq!(site.fakes.told(&plugin, "DEL")["prevResult"], truth, "{about}");
    assert_eq!(site.left(), [""; 0], "{about}");
    // Runtimes repeat themselves, with less and less to say.
    let later = Pod { netns: String::new(), ..pod };
    chain.del(&later, None).unwrap_or_else(|stopped| panic!("{about}: {stopped:?}"));
    assert_eq!(site.left(), [""; 0], "{about}");
}

fn lives(position: usize) {
    let site = Site::new();
    for real_mac in [true, false] {
        let mut list = plugins();
        if !real_mac {
            list[1] = json!({ "type": "tuning", "mtu": 1400 });
        }
        for word in [None].into_iter().chain(WORDS.map(Some)) {
            life(&site, position, list.clone(), word);
        }
    }
}

#[test]
fn first_in_the_list() {
    lives(0);
}

#[test]
fn in_the_middle_of_the_list() {
    lives(1);
}

#[test]
fn last_in_the_list() {
    lives(2);
}

#[test]
fn several_words_of_several_hooks() {
    let site = Site::new();
    let [bridge, _, portmap] = plugins();
    site.fakes.listen_to("bridge");
    let mut entry = around(&bridge, "identity");
    entry["hooks"] = WORDS.iter().map(|word| json!({ "module": word.name })).collect();
    let chain = site.chain("all", vec![entry, portmap]);
    let pod = site.pod("all");
    let result = chain.add(&pod).unwrap();
    let made = site.fakes.said("bridge", "ADD");
    let mut truth = result.clone();
    for word in WORDS {
        assert_eq!(result.pointer(word.at).unwrap(), word.with);
        truth = taken_back(&truth, word, &made);
    }
    chain.check(&pod, &result).unwrap();
    chain.del(&pod, Some(&result)).unwrap();
    for verb in ["CHECK", "DEL"] {
        assert_eq!(site.fakes.told("bridge", verb)["prevResult"], truth, "{verb}");
    }
    assert_eq!(site.left(), [""; 0]);
}

/// Between the others, around nobody: it has nothing to take back.
#[test]
fn an_entry_without_a_delegate() {
    let site = Site::new();
    let [bridge, _, portmap] = plugins();
    for hook in ["identity", "address"] {
        let entry = json!({ "type": "wasmhook", "hooks": [{ "module": hook }] });
        let chain = site.chain(hook, vec![bridge.clone(), entry, portmap.clone()]);
        let pod = site.pod(hook);
        let result = chain.add(&pod).unwrap();
        let expected = if hook == "identity" { "10.9.0.2/24" } else { ADDRESS.with };
        assert_eq!(result.pointer(ADDRESS.at).unwrap(), expected);
        let rules = site.left().concat();
        assert!(rules.contains(&format!("{}:80", expected.trim_end_matches("/24"))), "{rules}");
        assert_eq!(site.lab.journals(), 0);
        let checked = chain.check(&pod, &result);
        assert_eq!(checked.is_ok(), hook == "identity", "{checked:?}");
        for at in [1, 2] {
            chain.call(at, "CHECK", &pod, Some(&result)).silent();
        }
        chain.del(&pod, Some(&result)).unwrap();
        assert_eq!(site.left(), [""; 0]);
    }
}

/// The whole of CHECK as libcni makes it, with a word that later plugins have built upon.
#[test]
fn a_list_of_three_entries_of_ours() {
    let site = Site::new();
    let list = plugins();
    let mut entries = Vec::new();
    for (plugin, hook) in list.iter().zip(["address", "identity", "identity"]) {
        site.fakes.listen_to(name(plugin));
        let mut entry = around(plugin, hook);
        entry["id"] = json!(name(plugin));
        entries.push(entry);
    }
    let chain = site.chain("three", entries);
    let pod = site.pod("three");
    let result = chain.add(&pod).unwrap();
    assert_eq!(result.pointer(ADDRESS.at).unwrap(), ADDRESS.with);
    assert_eq!(result.pointer(MAC.at).unwrap(), REAL_MAC);
    assert_eq!(site.lab.journals(), 3);
    chain.check(&pod, &result).unwrap();
    let address = |plugin: &str, verb: &str| {
        site.fakes.told(plugin, verb)["prevResult"].pointer(ADDRESS.at).unwrap().clone()
    };
    assert_eq!(
        ["bridge", "tuning", "portmap"].map(|it| address(it, "CHECK")),
        ["10.9.0.2/24", ADDRESS.with, ADDRESS.with]
    );
    chain.del(&pod, Some(&result)).unwrap();
    assert_eq!(
        ["bridge", "tuning", "portmap"].map(|it| address(it, "DEL")),
        ["10.9.0.2/24", ADDRESS.with, ADDRESS.with]
    );
    assert_eq!(site.left(), [""; 0]);
}

#[test]
fn two_entries_that_forgot_their_id_are_refused_and_what_the_first_did_goes_with_del() {
    let site = Site::new();
    let list = plugins();
    let chain = site.chain("twins", vec![around(&list[0], "identity"), around(&list[2], "identity")]);
    let pod = site.pod("twins");
    let stopped = chain.add(&pod).unwrap_err();
    assert_eq!(stopped.at, 1);
    assert!(stopped.answer.error().msg.contains("attached"), "{stopped:?}");
    // libcni takes nothing back, the runtime sends a DEL without a result.
    chain.del(&pod, None).unwrap();
    assert_eq!(site.left(), [""; 0]);
}

/// `delegates` is the same list in one entry.
#[test]
fn delegates_are_a_list_in_one_entry() {
    let site = Site::new();
    let list = plugins();
    let bare = site.chain("net", list.to_vec());
    let pod = site.pod("bare");
    let alone = bare.add(&pod).unwrap();
    bare.check(&pod, &alone).unwrap();
    bare.del(&pod, Some(&alone)).unwrap();
    assert_eq!(site.left(), [""; 0]);
    fs::remove_dir_all("/var/lib/cni/networks").unwrap();

    for plugin in &list {
        site.fakes.listen_to(name(plugin));
    }
    let chain = site.chain("net", vec![all_in_one("identity")]);
    let pod = site.pod("wrapped");
    let result = chain.add(&pod).unwrap();
    assert_eq!(shape(&result), shape(&alone));
    assert!(site.left().iter().any(|it| it.contains("--dport 8080")), "{:?}", site.left());
    chain.check(&pod, &result).unwrap();
    chain.del(&pod, Some(&result)).unwrap();
    let order = |verbs: [&str; 3], verb| verbs.map(|it| format!("{it} {verb}"));
    let expected = [
        order(["bridge", "tuning", "portmap"], "ADD"),
        order(["bridge", "tuning", "portmap"], "CHECK"),
        order(["portmap", "tuning", "bridge"], "DEL"),
    ];
    assert_eq!(site.fakes.calls(), expected.concat());
    assert_eq!(site.left(), [""; 0]);
}

fn all_in_one(hook: &str) -> Value {
    json!({
        "type": "wasmhook", "hooks": [{ "module": hook }], "capabilities": { "portMappings": true }, "delegates": plugins(),
    })
}

/// A hook in a `delegates` entry stands around each of them.
#[test]
fn words_in_a_list_of_delegates() {
    let site = Site::new();
    for plugin in &plugins() {
        site.fakes.listen_to(name(plugin));
    }
    for word in WORDS {
        let chain = site.chain(word.name, vec![all_in_one(word.name)]);
        let pod = site.pod(word.name);
        let result = chain.add(&pod).unwrap();
        assert_eq!(result.pointer(word.at).unwrap(), word.with);
        let heard = |plugin: &str, verb: &str| {
            site.fakes.told(plugin, verb)["prevResult"].pointer(word.at).unwrap().clone()
        };
        assert_eq!(heard("portmap", "ADD"), word.with);
        // Of what bridge made, the last to know is the one that changed it.
        let knows = if word.name == "mac" { "tuning" } else { "bridge" };
        let truth =
            taken_back(&result, word, &site.fakes.said(knows, "ADD")).pointer(word.at).unwrap().clone();
        assert_ne!(truth, word.with);
        if word.name != "address" {
            chain.check(&pod, &result).unwrap();
            assert_eq!(heard("bridge", "CHECK"), truth);
        }
        chain.del(&pod, Some(&result)).unwrap();
        assert_eq!(heard("bridge", "DEL"), truth);
        assert_eq!(site.left(), [""; 0]);
    }
}

/// What was said of the first is what the next built its rules on, so it is to be checked with that; as in a list of
/// entries, where it is.
#[test]
fn a_later_delegate_is_checked_with_what_it_was_told() {
    let site = Site::new();
    for plugin in &plugins() {
        site.fakes.listen_to(name(plugin));
    }
    let chain = site.chain("net", vec![all_in_one("address")]);
    let pod = site.pod("checked");
    let result = chain.add(&pod).unwrap();
    chain.check(&pod, &result).unwrap();
    let heard =
        |plugin: &str| site.fakes.told(plugin, "CHECK")["prevResult"].pointer(ADDRESS.at).unwrap().clone();
    assert_eq!([heard("bridge"), heard("portmap")], ["10.9.0.2/24", ADDRESS.with]);
}

/// libcni never takes a list back; what our entry does not see, it cannot undo.
#[test]
fn a_hook_that_fails_after_the_last_plugin_leaves_the_others_to_the_runtimes_del() {
    let site = Site::new();
    site.lab.install("trap", &component("", GO_ON, "unreachable"));
    let [bridge, tuning, portmap] = plugins();
    let chain = site.chain("net", vec![bridge, tuning, around(&portmap, "trap")]);
    let pod = site.pod("failing");
    let stopped = chain.add(&pod).unwrap_err();
    assert_eq!((stopped.at, stopped.answer.error().code), (2, 101));
    assert!(!site.left().iter().any(|it| it.contains("8080") || it.contains("journal")), "{:?}", site.left());
    assert_eq!(site.node.leases("net"), ["10.9.0.2"]);
    chain.del(&pod, None).unwrap();
    assert_eq!(site.left(), [""; 0]);
}

#[test]
fn numbers_and_unknown_keys_that_a_runtime_rounds_and_drops_are_nobodys_words() {
    let site = Site::new();
    let unknown = r#"{"cniVersion":"1.0.0","ips":[{"address":"10.1.0.2/24","vendor":1.50}],"big":12345678901234567890123}"#;
    site.fakes.plugin("odd", &format!("[ $CNI_COMMAND != ADD ] || echo '{unknown}'"));
    let chain = site
        .chain("net", vec![around(&json!({ "type": "odd", "nine": 9_007_199_254_740_993_u64 }), "address")]);
    let pod = site.pod("odd");
    site.lab.install("address", &wasmhook_tests::overwriting("post", r#""address":""#, "10.1.0.9/24"));
    let result = chain.add(&pod).unwrap();
    assert_eq!(result, json!({ "cniVersion": "1.0.0", "ips": [{ "address": "10.1.0.9/24" }] }));
    chain.check(&pod, &result).unwrap();
    chain.del(&pod, Some(&result)).unwrap();
    for verb in ["CHECK", "DEL"] {
        let told = site.fakes.told_text("odd", verb);
        assert!(
            told.contains(r#""vendor":1.50"#) && told.contains(r#""big":12345678901234567890123"#),
            "{told}"
        );
        assert!(told.contains(r#""10.1.0.2/24""#) && !told.contains("10.1.0.9"), "{told}");
        // A configuration's numbers are as the runtime sends them.
        assert!(told.contains(r#""nine":9007199254740992"#), "{told}");
    }
}
