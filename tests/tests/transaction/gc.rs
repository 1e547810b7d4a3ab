//! GC undoes what is certainly nobody's.

use crate::{Stage, around, bridge, with};
use serde_json::{Value, json};
use std::fs::{self, File};
use wasmhook_tests::{Answer, Call, Node};

struct Attached {
    node: Node,
    stage: Stage,
}

fn entry(network: &str) -> Value {
    let mut config = with(&around(&[]), "delegates", json!([bridge()]));
    (config["cniVersion"], config["name"]) = (json!("1.1.0"), json!(network));
    config
}

impl Attached {
    fn new() -> Self {
        Self { node: Node::enter(), stage: Stage::new() }
    }

    /// An attachment of this container; its journal.
    fn attach(&self, id: &str, network: &str) -> std::path::PathBuf {
        let before = self.stage.journals();
        let call = self.stage.call("ADD", &entry(network));
        let call = Call { container_id: id.into(), netns: self.node.container(id), ..call };
        let _ = self.stage.lab.call(&call).result();
        self.stage.journals().into_iter().find(|it| !before.contains(it)).unwrap()
    }

    /// The container dies, and nobody tells us.
    fn die(&self, id: &str) {
        self.node.ip(&format!("netns del {id}"));
    }

    fn gc(&self, key: Option<(&str, Value)>) -> Answer {
        let mut config = entry("net");
        if let Some((key, value)) = key {
            config[key] = value;
        }
        // libcni sends nothing else.
        let call = Call {
            container_id: String::new(),
            netns: String::new(),
            ifname: String::new(),
            ..self.stage.call("GC", &config)
        };
        self.stage.lab.call(&call)
    }

    /// GC with a list that is empty but for this one.
    fn gc_valid(&self, id: &str) -> Answer {
        self.gc(Some(("cni.dev/valid-attachments", json!([{ "containerID": id, "ifname": "eth0" }]))))
    }

    fn left(&self) -> (Vec<String>, usize) {
        (self.node.leases("net"), self.stage.lab.journals())
    }
}

#[test]
fn what_is_not_valid_and_whose_namespace_is_gone_is_undone() {
    let at = Attached::new();
    at.attach("a", "net");
    at.attach("b", "net");
    at.die("a");
    at.die("b");
    let answer = at.gc_valid("b");
    answer.silent();
    assert!(answer.stderr.contains("not a valid attachment: taking it away"), "{answer:?}");
    assert_eq!(at.left(), (vec!["10.9.0.3".into()], 1));
}

#[test]
fn the_draft_name_of_the_list_counts_too() {
    let at = Attached::new();
    at.attach("a", "net");
    at.die("a");
    at.gc(Some(("cni.dev/attachments", json!([])))).silent();
    assert_eq!(at.left(), (vec![], 0));
}

#[test]
fn an_absent_or_null_key_deletes_nothing() {
    let at = Attached::new();
    at.attach("a", "net");
    at.die("a");
    for key in
        [None, Some(("cni.dev/valid-attachments", Value::Null)), Some(("cni.dev/attachments", Value::Null))]
    {
        at.gc(key).silent();
        assert_eq!(at.left(), (vec!["10.9.0.2".into()], 1));
    }
    at.gc(Some(("cni.dev/valid-attachments", json!([])))).silent();
    assert_eq!(at.left(), (vec![], 0), "and an empty list is a list");
}

#[test]
fn the_ifname_belongs_to_the_name() {
    let at = Attached::new();
    at.attach("a", "net");
    at.die("a");
    at.gc(Some(("cni.dev/valid-attachments", json!([{ "containerID": "a", "ifname": "eth1" }])))).silent();
    assert_eq!(at.left(), (vec![], 0));
}

#[test]
fn what_is_still_there_is_left_alone_and_reported() {
    let at = Attached::new();
    at.attach("a", "net");
    let answer = at.gc_valid("another");
    answer.silent();
    assert!(
        answer.stderr.contains("its namespace is still there: left alone (`wasmhookctl gc --force`)"),
        "{answer:?}"
    );
    assert_eq!(at.left(), (vec!["10.9.0.2".into()], 1));
    assert!(crate::has_link("a", "eth0"));
}

#[test]
fn what_somebody_works_on_is_left_alone() {
    let at = Attached::new();
    let journal = at.attach("a", "net");
    at.die("a");
    let lock = File::open(journal).unwrap();
    lock.lock().unwrap();
    at.gc_valid("another").silent();
    assert_eq!(at.left(), (vec!["10.9.0.2".into()], 1));
    drop(lock);
    at.gc_valid("another").silent();
    assert_eq!(at.left(), (vec![], 0));
}

#[test]
fn another_networks_is_left_alone() {
    let at = Attached::new();
    at.attach("a", "other");
    at.die("a");
    at.gc_valid("another").silent();
    assert_eq!((at.node.leases("other").len(), at.stage.lab.journals()), (1, 1));
}

#[test]
fn what_began_after_this_gc_is_left_alone() {
    let at = Attached::new();
    let journal = at.attach("a", "net");
    at.die("a");
    let text = fs::read_to_string(&journal).unwrap();
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let began = first["begin"]["began"].as_u64().unwrap();
    let later = text.replacen(&began.to_string(), &(began + 3_600_000).to_string(), 1);
    fs::write(&journal, later).unwrap();
    at.gc_valid("another").silent();
    assert_eq!(at.left(), (vec!["10.9.0.2".into()], 1));
    fs::write(&journal, text).unwrap();
    at.gc_valid("another").silent();
    assert_eq!(at.left(), (vec![], 0));
}

#[test]
fn an_add_that_was_killed_is_undone_when_its_namespace_is_gone() {
    let at = Attached::new();
    at.attach("a", "net");
    at.stage.unfinish();
    at.die("a");
    at.gc_valid("another").silent();
    assert_eq!(at.left(), (vec![], 0));
}

#[test]
fn everything_is_tried_and_what_failed_stays() {
    let at = Attached::new();
    let stage = &at.stage;
    let entry = with(&around(&["one", "two"]), "cniVersion", "1.1.0");
    for id in ["a", "b"] {
        let call =
            Call { container_id: id.into(), netns: at.node.container(id), ..stage.call("ADD", &entry) };
        let _ = stage.lab.call(&call).result();
        at.die(id);
    }
    stage.breaks("two", "DEL");
    stage.calls();
    let gc = Call {
        stdin: with(&entry, "cni.dev/valid-attachments", json!([])).to_string(),
        ..stage.call("GC", &entry)
    };
    let error = stage.lab.call(&gc).error();
    assert_eq!((error.code, error.msg.as_str()), (77, "two fails; as told; two fails; as told"));
    let dels: Vec<_> = stage.calls().into_iter().filter(|it| it.ends_with("DEL")).collect();
    assert_eq!(
        (dels, stage.lab.journals()),
        (["two DEL", "one DEL", "two DEL", "one DEL"].map(str::to_owned).to_vec(), 2)
    );
    stage.mend("two", "DEL");
    stage.lab.call(&gc).silent();
    let dels: Vec<_> = stage.calls().into_iter().filter(|it| it.ends_with("DEL")).collect();
    assert_eq!((dels, stage.lab.journals()), (["two DEL", "two DEL"].map(str::to_owned).to_vec(), 0));
}
