//! Many at once: a node that starts all its pods.

#![allow(clippy::unwrap_used, clippy::must_use_candidate, reason = "panicking is how a test speaks")]

use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};
use wasmhook_tests::{Answer, Call, Lab, Node, PLUGINS, dist};

const CONTAINERS: usize = 100;
/// Of each kind; the median counts.
const ROUNDS: usize = 3;
/// What wasmhook may cost, as a ratio of wall time. Printed and not judged: the machine may be busy.
const PROMISE: f64 = 1.25;

/// A plugin, bare or with us around it.
struct Subject<'a> {
    program: PathBuf,
    config: Value,
    lab: &'a Lab,
    adds: Vec<Duration>,
    dels: Vec<Duration>,
}

impl Subject<'_> {
    /// One call for every container, all at the same time.
    fn all(&self, verb: &str, containers: &[String], results: &[Value]) -> (Duration, Vec<Answer>) {
        let started = Instant::now();
        let answers = thread::scope(|scope| {
            let call = |(number, container): (usize, &String)| {
                let mut config = self.config.clone();
                if let Some(result) = results.get(number) {
                    config["prevResult"] = result.clone();
                }
                let netns = format!("/run/netns/{container}");
                let call = Call { container_id: container.clone(), netns, ..Call::new(verb, &config) };
                let mut command = call.command(&self.program);
                command.env("WASMHOOK_CONFIG", self.lab.settings());
                scope.spawn(move || Answer::of(&mut command, &call.stdin))
            };
            let running: Vec<_> = containers.iter().enumerate().map(call).collect();
            running.into_iter().map(|it| it.join().unwrap()).collect()
        });
        (started.elapsed(), answers)
    }

    fn round(&mut self, node: &Node, containers: &[String], journals: usize) {
        let (add, answers) = self.all("ADD", containers, &[]);
        let results: Vec<_> = answers.iter().map(Answer::result).collect();
        let address = |result: &Value| result["ips"][0]["address"].as_str().unwrap().to_owned();
        let addresses: BTreeSet<_> = results.iter().map(address).collect();
        assert_eq!(addresses.len(), CONTAINERS, "{addresses:?}");
        assert_eq!(node.leases("net").len(), CONTAINERS);
        assert_eq!(node.links().len(), CONTAINERS + 1);
        assert_eq!(self.lab.journals(), journals);

        let (del, answers) = self.all("DEL", containers, &results);
        answers.iter().for_each(Answer::silent);
        assert_eq!(node.leases("net"), [""; 0]);
        assert_eq!(node.links(), ["br0"]);
        assert_eq!(self.lab.journals(), 0);
        self.adds.push(add);
        self.dels.push(del);
    }
}

#[test]
fn a_hundred_adds_and_dels_at_once_all_succeed_and_leave_nothing() {
    let node = Node::enter();
    let lab = Lab::on(&node.disk(), "module");
    assert_eq!(lab.ctl(&["compile", "identity"]).code, Some(0));
    let containers: Vec<_> = (0..CONTAINERS).map(|number| format!("s{number}")).collect();
    for container in &containers {
        let _ = node.container(container);
    }
    let ipam = json!({ "type": "host-local", "ranges": [[{ "subnet": "10.9.0.0/16" }]] });
    let mut bare = json!({ "type": "bridge", "bridge": "br0", "isGateway": true, "ipam": ipam });
    let wrapped = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "wasmhook",
        "hooks": [{ "module": "identity" }], "delegate": bare,
    });
    (bare["cniVersion"], bare["name"]) = (json!("1.0.0"), json!("net"));
    let subject =
        |program: PathBuf, config| Subject { program, config, lab: &lab, adds: Vec::new(), dels: Vec::new() };
    let mut bare = subject(Path::new(PLUGINS).join("bridge"), bare);
    let mut wrapped = subject(dist("wasmhook"), wrapped);
    // The first makes the bridge, and a compiled module settles before a stat is enough to find it.
    bare.round(&node, &containers, 0);
    wrapped.round(&node, &containers, CONTAINERS);
    bare.adds.clear();
    bare.dels.clear();
    wrapped.adds.clear();
    wrapped.dels.clear();
    for _ in 0..ROUNDS {
        bare.round(&node, &containers, 0);
        wrapped.round(&node, &containers, CONTAINERS);
    }
    let mut report = Vec::new();
    for (verb, bare, wrapped) in
        [("ADD", &mut bare.adds, &mut wrapped.adds), ("DEL", &mut bare.dels, &mut wrapped.dels)]
    {
        bare.sort();
        wrapped.sort();
        let (bare, wrapped) = (bare[ROUNDS / 2], wrapped[ROUNDS / 2]);
        let ratio = wrapped.as_secs_f64() / bare.as_secs_f64();
        let one = format!("bare bridge {bare:.0?}, with one hook around it {wrapped:.0?}");
        writeln!(report, "{CONTAINERS} parallel {verb}s: {one}: {ratio:.2} x (promise {PROMISE})").unwrap();
    }
    // Past the harness: it is to be seen when all is well, too.
    std::io::stderr().write_all(&report).unwrap();
}
