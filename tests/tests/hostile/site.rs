//! A node with a bridge, on which every guest is tried in every place where guests run.

use crate::case::{CPU, Case, WALL};
use serde_json::{Deserializer, Value, json};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use wasmhook_tests::{Answer, Call, GO_ON, Lab, Node, component, dist};

pub(crate) const ISOLATIONS: [&str; 3] = ["module", "call", "none"];

/// What the end of a hook may take beyond its budget.
const GRACE: Duration = Duration::from_millis(100);
/// The machine may have been busy. A hook that does not end is late every time.
const ATTEMPTS: usize = 3;

/// host-local writes it whenever it gives an address, and leaves it.
const LAST_ADDRESS: &str = "/var/lib/cni/networks/net/last_reserved_ip.0";

pub(crate) struct Site {
    node: Node,
    lab: Lab,
    /// What ADD and DEL take with a hook that does nothing.
    bare: Duration,
}

/// What came of a case.
pub(crate) struct Held {
    pub(crate) row: String,
    pub(crate) wrong: Vec<String>,
}

impl Site {
    pub(crate) fn new() -> Self {
        let node = Node::enter();
        let _ = node.container("c");
        let mut site = Self { node, lab: Lab::new("module"), bare: Duration::ZERO };
        site.install(&component("", GO_ON, GO_ON));
        // The first makes the bridge.
        let mut times: Vec<_> = (0..6).map(|_| site.add_and_del()).skip(1).collect();
        times.sort();
        site.bare = times[times.len() / 2];
        site
    }

    fn add_and_del(&self) -> Duration {
        let started = Instant::now();
        let _ = self.ask("ADD", &json!({})).result();
        self.ask("DEL", &json!({})).silent();
        started.elapsed()
    }

    fn install(&self, module: &[u8]) {
        self.lab.install("bad", module);
        // So that no pod waits for it; what is no module fails again at ADD.
        let _ = self.lab.ctl(&["compile", "bad"]);
    }

    fn ask(&self, verb: &str, hook: &Value) -> Answer {
        let mut bad = json!({
            "module": "bad",
            "limits": { "cpu": format!("{CPU:?}"), "wall": format!("{WALL:?}") },
        });
        for (key, value) in hook.as_object().unwrap() {
            match (bad.get_mut(key).and_then(Value::as_object_mut), value.as_object()) {
                (Some(members), Some(more)) => members.extend(more.clone()),
                _ => bad[key] = value.clone(),
            }
        }
        let ipam = json!({ "type": "host-local", "ranges": [[{ "subnet": "10.9.0.0/16" }]] });
        let config = json!({
            "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": [bad],
            "delegate": { "type": "bridge", "bridge": "br0", "ipam": ipam },
        });
        self.lab.call(&Call { netns: "/run/netns/c".into(), ..Call::new(verb, &config) })
    }

    /// Tries a guest in all places. It is compiled once: what is compiled is the same for all.
    pub(crate) fn hold(&self, case: &Case) -> Held {
        self.install(&case.module);
        let (mut times, mut wrong) = (Vec::new(), Vec::new());
        let mut said = (Value::Null, String::new());
        for isolation in ISOLATIONS {
            self.lab.configure(isolation, &dist("wasmhookctl"));
            let (answer, took) = self.try_to_add(case);
            let (document, must) = self.judge(case, &answer, took);
            let missing = must.into_iter().filter(|(_, is)| !is).map(|(what, _)| what);
            wrong.extend(missing.map(|what| format!("{} ({isolation}): {what}: {answer:?}", case.name)));
            times.push(format!("{:>3}", took.as_millis()));
            let msg = document["msg"].as_str().unwrap_or_default().trim_start_matches("hook `bad`: ");
            said = (document["code"].clone(), msg.chars().take(58).collect());
        }
        wrong.extend(self.ignore(case));
        let row = format!("{:<44} {:>4} {} {}", case.name, said.0, times.join("/"), said.1);
        Held { row, wrong }
    }

    /// An ADD, again when it is late. Nothing of the attempts before must be in the way of the next.
    fn try_to_add(&self, case: &Case) -> (Answer, Duration) {
        let attempt = || {
            let _ = fs::remove_file(LAST_ADDRESS);
            let started = Instant::now();
            let answer = self.ask("ADD", &case.hook);
            (answer, started.elapsed())
        };
        let mut tried = attempt();
        for _ in 1..ATTEMPTS {
            if tried.1 <= self.time_for(case) {
                break;
            }
            tried = attempt();
        }
        tried
    }

    /// A guest that is found out before the plugin runs has no excuse: there is nothing to undo.
    fn time_for(&self, case: &Case) -> Duration {
        case.budget + GRACE + if case.is_late { self.bare } else { Duration::ZERO }
    }

    fn judge(&self, case: &Case, answer: &Answer, took: Duration) -> (Value, Vec<(&'static str, bool)>) {
        let documents: Vec<Value> =
            Deserializer::from_str(&answer.stdout).into_iter().map(Result::unwrap_or_default).collect();
        let document = documents.first().cloned().unwrap_or_default();
        let msg = document["msg"].as_str().unwrap_or_default();
        let had_run = Path::new(LAST_ADDRESS).exists();
        let left = self.left();
        let started = Instant::now();
        let deleted = self.ask("DEL", &case.hook);
        let deleting = started.elapsed();
        let must = vec![
            ("exit code 1", answer.code == Some(1)),
            ("one document", documents.len() == 1 && answer.stdout.ends_with('\n')),
            ("no panic", !answer.stderr.contains("panic")),
            ("its code", document["code"] == case.code),
            ("the hook's name and the cause", msg.starts_with("hook `bad`: ") && msg.contains(case.msg)),
            ("a message that can be read", msg.len() < 8192 && !msg.contains(char::is_control)),
            ("in time", took <= self.time_for(case)),
            ("the plugin has run or not", had_run == case.is_late),
            ("nothing left", left.is_empty()),
            ("a silent DEL", deleted.code == Some(0) && deleted.stdout.is_empty()),
            // The hook is asked again. What is measured to the millisecond is ADD.
            ("a DEL in time", deleting <= self.time_for(case) + self.bare + Duration::from_secs(1)),
            ("a DEL without panic", !deleted.stderr.contains("panic")),
            ("nothing left by DEL", self.left().is_empty()),
        ];
        (document, must)
    }

    /// Where the operator says that this hook's failing means nothing, it means nothing: not for ADD, and not for the DEL
    /// of what is attached.
    fn ignore(&self, case: &Case) -> Vec<String> {
        self.lab.configure("call", &dist("wasmhookctl"));
        let mut hook = case.hook.clone();
        hook["onFailure"] = json!({ "ADD": "ignore" });
        let added = self.ask("ADD", &hook);
        let attached = (self.left().len(), added.stderr.contains("ignored (`onFailure`)"));
        let deleted = self.ask("DEL", &hook);
        let must = [
            ("a result", added.code == Some(0) && added.stdout.contains("10.9.")),
            ("one that says so", attached == (3, true)),
            ("one without raw control characters in the log", !added.stderr.contains(is_raw)),
            ("one whose DEL is silent", deleted.code == Some(0) && deleted.stdout.is_empty()),
            ("one whose DEL leaves nothing", self.left().is_empty()),
        ];
        let missing = must.into_iter().filter(|(_, is)| !is).map(|(what, _)| what);
        missing.map(|what| format!("{} (ignored): {what}: {added:?} {deleted:?}", case.name)).collect()
    }

    /// Whatever of an attachment is still there: links on the node's side, leases, journals.
    fn left(&self) -> Vec<String> {
        let mut left = self.node.links();
        left.retain(|link| link != "br0");
        left.extend(self.node.leases("net"));
        left.extend((0..self.lab.journals()).map(|_| "a journal".to_owned()));
        left
    }
}

/// Would a terminal obey it?
fn is_raw(character: char) -> bool {
    character.is_control() && character != '\n'
}
