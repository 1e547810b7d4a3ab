//! In a list of plugins, first, in the middle and last: ADD, CHECK and DEL as libcni makes them, around real plugins.

#![allow(clippy::unwrap_used, clippy::must_use_candidate, reason = "panicking is how a test speaks")]

mod edits;
mod ipam;
mod policy;
mod words;

use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use wasmhook_tests::{Chain, Fakes, Lab, Node, Pod, overwriting};

/// A node with `wasmhook` among its plugins.
struct Site {
    node: Node,
    lab: Lab,
    fakes: Fakes,
}

impl Site {
    fn new() -> Self {
        let site = Self { node: Node::enter(), lab: Lab::new("module"), fakes: Fakes::new() };
        site.fakes.link_real_ones();
        for word in WORDS {
            site.lab.install(word.name, &overwriting("post", word.behind, word.with));
        }
        site
    }

    fn chain(&self, network: &str, plugins: Vec<Value>) -> Chain<'_> {
        Chain {
            lab: &self.lab,
            path: self.fakes.path(),
            version: "1.0.0".into(),
            network: network.into(),
            plugins,
            capabilities: json!({
                "portMappings": [{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }],
                "bandwidth": { "ingressRate": 1 },
            }),
        }
    }

    fn pod(&self, id: &str) -> Pod {
        Pod { id: id.into(), netns: self.node.container(id) }
    }

    /// Whatever of an attachment is still there: links, leases, rules, what `tuning` wants to restore, journals.
    fn left(&self) -> Vec<String> {
        let mut left = self.node.links();
        left.retain(|link| link != "br0");
        for network in fs::read_dir("/var/lib/cni/networks").into_iter().flatten().flatten() {
            let network = network.file_name().to_string_lossy().into_owned();
            left.extend(
                self.node.leases(&network).into_iter().map(|address| format!("{network}: {address}")),
            );
        }
        let saved = Command::new("iptables-save").output().expect("iptables-save (package iptables)");
        let saved = String::from_utf8_lossy(&saved.stdout).into_owned();
        left.extend(
            saved.lines().filter(|line| line.contains(" id: ") || line.contains("8080")).map(str::to_owned),
        );
        let backups = fs::read_dir("/run/cni/tuning").into_iter().flatten().flatten();
        left.extend(backups.map(|it| it.path().display().to_string()));
        left.extend((0..self.lab.journals()).map(|_| "a journal".to_owned()));
        left
    }
}

/// What a hook merely says of a result.
#[derive(Clone, Copy)]
struct Word {
    name: &'static str,
    behind: &'static str,
    with: &'static str,
    /// Where it stands in the result of the whole chain.
    at: &'static str,
}

const ADDRESS: Word =
    Word { name: "address", behind: r#""address":""#, with: "10.9.0.7/24", at: "/ips/0/address" };
const ROUTE: Word = Word { name: "route", behind: r#""dst":""#, with: "8.0.0.0/8", at: "/routes/0/dst" };
const MAC: Word = Word {
    name: "mac",
    behind: r#""name":"eth0","mac":""#,
    with: "0a:00:00:00:00:07",
    at: "/interfaces/2/mac",
};
const WORDS: [Word; 3] = [ADDRESS, ROUTE, MAC];

const REAL_MAC: &str = "0a:58:0a:09:00:63";

/// The chain that everybody has. `tuning` really changes the MAC.
fn plugins() -> [Value; 3] {
    [
        json!({
            "type": "bridge", "bridge": "br0", "isGateway": true, "ipMasq": true,
            "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.9.0.0/24" }]], "routes": [{ "dst": "0.0.0.0/0" }] },
        }),
        json!({ "type": "tuning", "mac": REAL_MAC }),
        json!({ "type": "portmap", "capabilities": { "portMappings": true } }),
    ]
}

fn name(plugin: &Value) -> &str {
    plugin["type"].as_str().unwrap()
}

/// Our entry around a plugin, with one hook.
fn around(plugin: &Value, hook: &str) -> Value {
    let mut entry = json!({ "type": "wasmhook", "hooks": [{ "module": hook }], "delegate": plugin });
    if let Some(capabilities) = plugin.get("capabilities") {
        entry["capabilities"] = capabilities.clone();
    }
    entry
}

/// The result as it were without that word.
fn taken_back(result: &Value, word: Word, made: &Value) -> Value {
    let mut result = result.clone();
    let place = result.pointer_mut(word.at).unwrap();
    if *place == word.with {
        *place = made.pointer(word.at).unwrap().clone();
    }
    result
}

/// Without what is made up anew each time: names of host links, and hardware addresses that nobody chose.
fn shape(result: &Value) -> Value {
    let mut result = result.clone();
    for interface in result["interfaces"].as_array_mut().into_iter().flatten() {
        if interface["name"].as_str().unwrap().starts_with("veth") {
            interface["name"] = json!("veth");
        }
        if interface["mac"] != REAL_MAC {
            interface["mac"] = json!("a mac");
        }
        if interface.get("sandbox").is_some() {
            interface["sandbox"] = json!("a sandbox");
        }
    }
    result
}
