//! A node on which hooks do the work of plugins.

use serde_json::{Value, json};
use std::process::Command;
use wasmhook_tests::{Answer, Call, Lab, Node};

pub(crate) const VERSIONS: [&str; 7] = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];

/// A node with one network.
pub(crate) struct Site {
    pub(crate) node: Node,
    pub(crate) lab: Lab,
}

impl Site {
    pub(crate) fn new() -> Self {
        let site = Self { node: Node::enter(), lab: Lab::new("module") };
        for hook in ["bridge", "ptp", "static-routes", "tap"] {
            site.lab.install_example(hook);
        }
        site
    }

    /// A call about a container, which is in the namespace of its name.
    pub(crate) fn call(&self, verb: &str, container: &str, config: &Value) -> Answer {
        let netns = format!("/run/netns/{container}");
        self.lab.call(&Call { container_id: container.into(), netns, ..Call::new(verb, config) })
    }

    /// ADD, with its result.
    pub(crate) fn add(&self, container: &str, config: &Value) -> Value {
        self.call("ADD", container, config).result()
    }

    /// CHECK or DEL, after this result.
    pub(crate) fn after(&self, verb: &str, container: &str, config: &Value, result: &Value) -> Answer {
        let mut config = config.clone();
        config["prevResult"] = result.clone();
        self.call(verb, container, &config)
    }

    /// What a command prints in a container.
    pub(crate) fn inside(&self, container: &str, command: &str) -> String {
        self.node.ip(&format!("netns exec {container} {command}"))
    }

    /// All that is left on the node of attachments.
    pub(crate) fn left(&self, network: &str) -> (Vec<String>, Vec<String>, usize, String) {
        (self.node.links(), self.node.leases(network), self.lab.journals(), rules())
    }
}

/// All of nftables' tables.
pub(crate) fn rules() -> String {
    let output = Command::new("nft").args(["list", "tables"]).output().expect("nft (package nftables)");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// An entry with one hook, whose own keys these are.
pub(crate) fn entry(version: &str, hook: &str, grants: &[&str], keys: &Value) -> Value {
    let mut entry = json!({
        "cniVersion": version, "name": "net", "type": "wasmhook",
        "hooks": [{ "module": hook, "grants": grants }],
    });
    for (key, value) in keys.as_object().unwrap() {
        entry[key] = value.clone();
    }
    entry
}

/// What `bridge` needs.
pub(crate) const BRIDGE: [&str; 5] = ["link", "ipam", "nft:host", "sysctl", "sysctl:any"];
/// What `tap` needs.
pub(crate) const TAP: [&str; 3] = ["tap:container", "link:container", "ipam"];

pub(crate) fn bridge(keys: &Value) -> Value {
    let mut all = json!({
        "bridge": "br0", "isDefaultGateway": true,
        "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.20.0.0/24" }]] },
    });
    for (key, value) in keys.as_object().unwrap() {
        all[key] = value.clone();
    }
    entry("1.0.0", "bridge", &BRIDGE, &all)
}
