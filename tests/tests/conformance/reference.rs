//! What the reference plugins make of the same rules. Printed for people; nothing here fails for their sake.

use crate::{bridge, call, cases, host_local, ptp, with};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use wasmhook_tests::{Answer, Call, Node, PLUGINS};

const ASKED: [&str; 6] = ["bridge", "host-local", "loopback", "portmap", "ptp", "tuning"];

/// Rule and situation, what the rule wants, what was seen; and who did it.
type Table = BTreeMap<[String; 4], Vec<String>>;

#[test]
#[allow(clippy::print_stdout, reason = "the table is what it is for")]
fn where_the_reference_plugins_differ() {
    let node = Node::enter();
    let mut table = Table::new();
    without_a_network(&mut table);
    with_a_network(&node, &mut table);
    println!("\n{:<4} | {:<54} | {:<48} | {:<48} | by", "rule", "situation", "wanted", "seen");
    for ([rule, wanted, seen, by], situations) in &alike(&table) {
        let more = situations.len() - 1;
        let situation =
            if more == 0 { situations[0].clone() } else { format!("{} (and {more} more)", situations[0]) };
        println!("{rule:<4} | {situation:<54} | {:<48} | {:<48} | {by}", brief(wanted), brief(seen));
    }
    assert!(!table.is_empty(), "no reference plugin was asked");
}

/// Situations in which the same is wanted and the same plugins do the same.
fn alike(table: &Table) -> Table {
    let mut groups = Table::new();
    for ([rule, situation, wanted, seen], plugins) in table {
        let by = if plugins.len() == ASKED.len() { "all".into() } else { plugins.join(" ") };
        let row = [rule.clone(), wanted.clone(), seen.clone(), by];
        groups.entry(row).or_default().push(situation.clone());
    }
    groups
}

fn brief(text: &str) -> String {
    let text = text.replace('\n', " ");
    if text.chars().count() <= 48 { text } else { text.chars().take(47).chain(['…']).collect() }
}

fn program(plugin: &str) -> PathBuf {
    Path::new(PLUGINS).join(plugin)
}

fn without_a_network(table: &mut Table) {
    for case in cases::all() {
        for plugin in ASKED {
            if let Some(seen) = case.reference(&program(plugin)) {
                let rule = format!("C{:0>2}", &case.rule[1..]);
                let row = [rule, case.about.clone(), case.wanted(), seen];
                table.entry(row).or_default().push(plugin.into());
            }
        }
    }
}

/// A plugin's own entry.
fn entry(delegate: &Value) -> Value {
    with(&with(delegate, "cniVersion", "1.0.0"), "name", "net")
}

fn ask(plugin: &str, verb: &str, id: &str, netns: &str, config: &Value) -> Answer {
    let call = call(verb, id, netns, config);
    Answer::of(&mut call.command(&program(plugin)), &call.stdin)
}

fn with_a_network(node: &Node, table: &mut Table) {
    let mut saw = |plugin: &str, rule: &str, situation: &str, wanted: &str, seen: String| {
        if seen != wanted {
            let row = [rule, situation, wanted, &seen].map(str::to_owned);
            table.entry(row).or_default().push(plugin.into());
        }
    };
    for plugin in ASKED {
        let answer = ask(plugin, "ADD", "x", "", &entry(&json!({ "type": plugin })));
        let error: Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
        let seen = if error.get("cniVersion").is_some() { "has cniVersion" } else { "has none" };
        saw(plugin, "C09", "an error (D8)", "has cniVersion", seen.into());
        let answer = ask(plugin, "VERSION", "", "", &Value::Null);
        let versions: Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
        let newest = versions["supportedVersions"].as_array().and_then(|it| it.last().cloned());
        saw(plugin, "C11", "the newest version", "\"1.1.0\"", newest.unwrap_or_default().to_string());
    }
    passing_through(node, &mut saw);
    dels(&mut saw);
    own_namespace(node, &mut saw);
    second_add(node, &mut saw);
    failed_ipam(node, &mut saw);
    busy_ipam(node, &mut saw);
}

fn passing_through(node: &Node, saw: &mut impl FnMut(&str, &str, &str, &str, String)) {
    let netns = node.container("pass");
    node.ip("-n pass link add eth0 type bridge");
    let result = json!({
        "cniVersion": "1.0.0", "vendor": 12,
        "interfaces": [{ "name": "eth0", "sandbox": netns }], "ips": [{ "address": "10.0.0.2/24", "interface": 0 }],
    });
    for plugin in ["tuning", "portmap"] {
        let config = with(&entry(&json!({ "type": plugin })), "prevResult", result.clone());
        let answer = ask(plugin, "ADD", "pass", &netns, &config);
        let said: Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
        saw(plugin, "C20", "ADD with nothing to change, keys", &keys(&result), keys(&said));
    }
}

fn keys(document: &Value) -> String {
    document.as_object().into_iter().flat_map(|it| it.keys().cloned()).collect::<Vec<_>>().join(" ")
}

fn dels(saw: &mut impl FnMut(&str, &str, &str, &str, String)) {
    for plugin in ASKED {
        let mut config = entry(&json!({ "type": plugin, "bridge": "br0" }));
        if matches!(plugin, "bridge" | "ptp" | "host-local") {
            config["ipam"] = host_local("10.2.0");
        }
        for (situation, netns) in
            [("without a namespace", ""), ("a namespace that is gone", "/run/netns/gone")]
        {
            let answer = ask(plugin, "DEL", "never", netns, &config);
            let seen = format!("exit {} {}", answer.code.unwrap_or(-1), answer.stdout);
            saw(plugin, "C22", &format!("DEL, {situation}"), "exit 0", seen.trim().into());
        }
    }
}

fn own_namespace(node: &Node, saw: &mut impl FnMut(&str, &str, &str, &str, String)) {
    let own = node.own_netns("own");
    for (plugin, config) in [("bridge", bridge()), ("ptp", ptp("10.8.0"))] {
        let answer = ask(plugin, "ADD", "own", &own, &entry(&config));
        let documents = serde_json::Deserializer::from_str(&answer.stdout).into_iter::<Value>().count();
        let leases = node.leases("net").len();
        let seen = format!("exit {}, {documents} documents, {leases} leases", answer.code.unwrap_or(-1));
        saw(plugin, "C26", "ADD in the host's own namespace (D1)", "exit 1, 1 documents, 0 leases", seen);
        let _ = ask(plugin, "DEL", "own", &own, &entry(&config));
        if !node.links().iter().any(|it| it == "eth0") {
            node.ip("link add eth0 type bridge");
        }
        let answer = ask(plugin, "DEL", "own", &own, &entry(&config));
        let link = if node.links().iter().any(|it| it == "eth0") { "stays" } else { "deleted" };
        let seen = format!("exit {}, the host's eth0 {link}", answer.code.unwrap_or(-1));
        saw(plugin, "C26", "DEL in the host's own namespace (D1)", "exit 1, the host's eth0 stays", seen);
    }
}

fn second_add(node: &Node, saw: &mut impl FnMut(&str, &str, &str, &str, String)) {
    for (plugin, config) in [("bridge", bridge()), ("ptp", ptp("10.8.0"))] {
        let config = with(&entry(&config), "name", plugin);
        let netns = node.container(&format!("twice-{plugin}"));
        let first = ask(plugin, "ADD", "twice", &netns, &config);
        let before = (node.links().len(), node.leases(plugin).len());
        let second = ask(plugin, "ADD", "twice", &netns, &config);
        let after = (node.links().len(), node.leases(plugin).len());
        let more = format!("{} links, {} leases more", after.0 - before.0, after.1 - before.1);
        let codes = format!("exit {}, then {}", first.code.unwrap_or(-1), second.code.unwrap_or(-1));
        let seen = format!("{codes}; {more}");
        saw(plugin, "D02", "a second ADD", "exit 0, then 1; 0 links, 0 leases more", seen);
    }
}

fn failed_ipam(node: &Node, saw: &mut impl FnMut(&str, &str, &str, &str, String)) {
    for (plugin, config) in [("bridge", bridge()), ("ptp", ptp("10.8.0"))] {
        let id = format!("fail-{plugin}");
        let netns = node.container(&id);
        let config = entry(&with(&config, "ipam", json!({ "type": "host-local" })));
        let before = node.links().len();
        let answer = ask(plugin, "ADD", &id, &netns, &config);
        let seen = format!("exit {}, {} links more", answer.code.unwrap_or(-1), node.links().len() - before);
        saw(plugin, "D04", "ADD without an address to be had", "exit 1, 0 links more", seen);
    }
}

fn busy_ipam(node: &Node, saw: &mut impl FnMut(&str, &str, &str, &str, String)) {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("host-local");
    fs::copy(program("host-local"), &copy).unwrap();
    let config = with(&entry(&bridge()), "name", "busy");
    let netns = node.container("busy");
    let _ = ask("bridge", "ADD", "busy", &netns, &config);
    let _held = OpenOptions::new().append(true).open(&copy).unwrap();
    let call = Call { path: directory.path().display().to_string(), ..call("DEL", "busy", &netns, &config) };
    let answer = Answer::of(&mut call.command(&program("bridge")), &call.stdin);
    let seen = format!("exit {}, {} leases left", answer.code.unwrap_or(-1), node.leases("busy").len());
    saw("bridge", "D07", "DEL while host-local is being written", "exit 1, 1 leases left", seen);
}
