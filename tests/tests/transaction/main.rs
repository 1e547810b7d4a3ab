//! An ADD is a transaction: the chapter of that name in the book, sentence by sentence, held against the built program.
//!
//! Real plugins wherever they can show it; shell scripts that record and fail where they cannot. What a killed ADD
//! leaves is held up in `kill`, versions and the streams of orphans in `conformance`.

#![allow(clippy::unwrap_used, clippy::must_use_candidate, reason = "panicking is how a test speaks")]

mod add;
mod after;
mod del;
mod failed;
mod gc;
mod journal;
mod lock;
mod replay;
mod stranger;

use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use wasmhook_tests::{Answer, Call, Fakes, Lab, Node, PLUGINS, component, verdict};

/// A node with plugins that record: each answers ADD with its own address, and fails where the test says so.
struct Stage {
    lab: Lab,
    fakes: Fakes,
}

/// A call that has been started and not waited for.
struct Running(Child);

impl Running {
    fn end(self) -> Answer {
        self.0.wait_with_output().unwrap().into()
    }
}

impl Stage {
    fn new() -> Self {
        let stage = Self { lab: Lab::new("module"), fakes: Fakes::new() };
        for (number, name) in ["one", "two", "three"].into_iter().enumerate() {
            stage.plugin(name, "", &made(number));
        }
        stage
    }

    /// A plugin that does something first.
    fn plugin(&self, name: &str, first: &str, made: &Value) {
        let error = json!({ "code": 77, "msg": format!("{name} fails"), "details": "as told" });
        let script = format!(
            "{first}\n[ ! -e $here/{name}.$CNI_COMMAND.fails ] || {{ echo '{error}'; exit 1; }}\n\
             [ $CNI_COMMAND != ADD ] || echo '{made}'\nexit 0"
        );
        self.fakes.plugin(name, &script);
    }

    /// From now on this plugin fails this verb.
    fn breaks(&self, name: &str, verb: &str) {
        fs::write(self.fakes.file(&format!("{name}.{verb}.fails")), "").unwrap();
    }

    fn mend(&self, name: &str, verb: &str) {
        fs::remove_file(self.fakes.file(&format!("{name}.{verb}.fails"))).unwrap();
    }

    /// A call that finds the plugins of the test, and the real ones.
    fn call(&self, verb: &str, config: &Value) -> Call {
        Call { path: format!("{}:{PLUGINS}", self.fakes.path()), ..Call::new(verb, config) }
    }

    fn answer(&self, verb: &str, config: &Value) -> Answer {
        self.lab.call(&self.call(verb, config))
    }

    fn start(&self, call: &Call) -> Running {
        let mut child = self.lab.command(call).stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), call.stdin.as_bytes()).unwrap();
        Running(child)
    }

    /// Who was called since the last time.
    fn calls(&self) -> Vec<String> {
        let calls = self.fakes.calls();
        let _ = fs::remove_file(self.fakes.file("calls"));
        calls
    }

    /// A module that can be run at once, also by a DEL.
    fn hook(&self, name: &str, module: &[u8]) {
        self.lab.install(name, module);
        assert_eq!(self.lab.ctl(&["compile", name]).code, Some(0));
    }

    /// The hook `say`: whatever a plugin returned, it is this.
    fn hook_that_says(&self, result: &Value) -> Value {
        let (data, body) = verdict(1, &result.to_string());
        self.hook("say", &component(&data, wasmhook_tests::GO_ON, body));
        json!([{ "module": "say" }])
    }

    /// The files of all journals.
    fn journals(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.lab.state().join("journal")) else { return Vec::new() };
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    /// The file of the only one.
    fn journal(&self) -> PathBuf {
        let journals = self.journals();
        assert_eq!(journals.len(), 1, "{journals:?}");
        journals.into_iter().next().unwrap()
    }

    /// Its lines.
    fn lines(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.journal()).unwrap();
        assert!(text.ends_with('\n'), "{text}");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Writes the only journal anew.
    fn edit(&self, edit: impl Fn(&str) -> String) {
        let (journal, text) = (self.journal(), fs::read_to_string(self.journal()).unwrap());
        let edited = edit(&text);
        assert_ne!(edited, text);
        fs::write(journal, edited).unwrap();
    }

    /// As if the ADD had been killed before it had handed out its result.
    fn unfinish(&self) {
        self.edit(|text| {
            let lines: Vec<_> =
                text.split_inclusive('\n').filter(|it| !it.starts_with("{\"finished\"")).collect();
            lines.concat()
        });
    }

    /// As if the machine had booted since.
    fn reboot(&self) {
        self.edit(|text| {
            let boot = serde_json::from_str::<Value>(text.lines().next().unwrap()).unwrap();
            text.replacen(boot["begin"]["boot"].as_str().unwrap(), "another-boot", 1)
        });
    }
}

/// What the plugins of a stage return, by their number.
fn made(number: usize) -> Value {
    json!({ "cniVersion": "1.0.0", "ips": [{ "address": format!("10.1.{number}.2/24") }] })
}

/// An entry around these plugins, without hooks.
fn around(delegates: &[&str]) -> Value {
    let delegates: Vec<_> = delegates.iter().map(|name| json!({ "type": name })).collect();
    json!({ "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": [], "delegates": delegates })
}

/// The same configuration with another value for a key.
fn with(config: &Value, key: &str, value: impl Into<Value>) -> Value {
    let mut config = config.clone();
    config[key] = value.into();
    config
}

/// bridge with addresses from host-local.
fn bridge() -> Value {
    let ipam = json!({ "type": "host-local", "ranges": [[{ "subnet": "10.9.0.0/24" }]] });
    json!({ "type": "bridge", "bridge": "br0", "isGateway": true, "ipam": ipam })
}

/// What a node holds of its containers.
fn held(node: &Node) -> (Vec<String>, Vec<String>) {
    let links = node.links().into_iter().filter(|it| it != "br0").collect();
    (links, node.leases("net"))
}

/// Nothing.
fn nothing() -> (Vec<String>, Vec<String>) {
    (Vec::new(), Vec::new())
}

/// Is there an interface of this name in the container?
fn has_link(container: &str, ifname: &str) -> bool {
    let words = ["-n", container, "link", "show", ifname];
    let output = std::process::Command::new("ip").args(words).output().unwrap();
    output.status.success()
}
