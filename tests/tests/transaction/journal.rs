//! Journal: what is written, where, and when.

use crate::{Stage, around, made, with};
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use wasmhook_tests::{Call, Node};

/// What a key names, as `sha256sum` counts it.
pub(crate) fn file_name(words: [&str; 4]) -> String {
    let mut sum =
        Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sha256sum");
    sum.stdin.take().unwrap().write_all(words.join("\0").as_bytes()).unwrap();
    String::from_utf8(sum.wait_with_output().unwrap().stdout).unwrap()[..64].to_owned()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// The first word of each line.
fn kinds(lines: &[Value]) -> Vec<String> {
    let kind = |line: &Value| match line {
        Value::Object(line) => line.keys().next().unwrap().clone(),
        other => other.as_str().unwrap().to_owned(),
    };
    lines.iter().map(kind).collect()
}

#[test]
fn there_is_one_file_per_attachment_and_entry_named_by_a_digest_of_both() {
    let stage = Stage::new();
    let config = around(&["one"]);
    let long = "x".repeat(10_000);
    for (id, ifname, entry) in
        [("c", "a-b", None), ("c-a", "b", None), ("c", "a-b", Some("second")), (&long, "eth0", None)]
    {
        let before = stage.journals();
        let config = entry.map_or(config.clone(), |entry| with(&config, "id", entry));
        let call = stage.call("ADD", &config);
        let call = Call { container_id: id.into(), ifname: ifname.into(), ..call };
        let _ = stage.lab.call(&call).result();
        let new: Vec<_> = stage.journals().into_iter().filter(|it| !before.contains(it)).collect();
        assert_eq!(new.len(), 1);
        assert_eq!(name(&new[0]), file_name(["net", id, ifname, entry.unwrap_or("main")]));
    }
}

#[test]
fn as_ipam_the_entry_is_called_ipam() {
    let stage = Stage::new();
    let ipam = json!({ "type": "wasmhook", "hooks": [], "id": "two", "delegate": { "type": "one" } });
    let config = json!({ "cniVersion": "1.0.0", "name": "net", "type": "bridge", "ipam": ipam });
    let _ = stage.answer("ADD", &config).result();
    assert_eq!(stage.lines()[0]["begin"]["entry"], "ipam:two");
    assert_eq!(name(&stage.journal()), file_name(["net", "c1", "eth0", "ipam:two"]));
    stage.answer("DEL", &config).silent();
    assert_eq!((stage.calls(), stage.lab.journals()), (vec!["one ADD".into(), "one DEL".into()], 0));
}

#[test]
fn it_is_for_its_owner_alone() {
    let stage = Stage::new();
    let _ = stage.answer("ADD", &around(&["one"])).result();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&stage.journal()), 0o600);
    assert_eq!(mode(&stage.lab.state().join("journal")), 0o700);
}

#[test]
fn the_first_line_tells_format_boot_the_words_in_clear_and_the_environment() {
    let (node, stage) = (Node::enter(), Stage::new());
    let netns = node.container("j");
    let config = with(&around(&["one"]), "hooks", json!([{ "module": "identity" }]));
    let call = Call { netns: netns.clone(), args: "A=1;B=2".into(), ..stage.call("ADD", &config) };
    let _ = stage.lab.call(&call).result();
    let mut begin = stage.lines()[0]["begin"].take();
    assert!(begin["began"].take().as_u64().unwrap() > 1_700_000_000_000, "milliseconds");
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let namespace = fs::metadata(&netns).unwrap();
    // The kernel's own number of the namespace, where the kernel tells it.
    begin["netns"].as_object_mut().unwrap().remove("id");
    let expected = json!({
        "format": 1, "boot": boot.trim(), "began": null,
        "network": "net", "containerId": "c1", "ifname": "eth0", "entry": "main",
        "netnsPath": netns, "netns": { "dev": namespace.dev(), "ino": namespace.ino() },
        "args": "A=1;B=2", "path": call.path, "hooks": ["identity"],
    });
    assert_eq!(begin, expected);
}

#[test]
fn each_thing_is_written_before_it_happens_and_the_results_before_they_are_handed_out() {
    let stage = Stage::new();
    let keep =
        format!("cat {}/journal/* > $here/$0.journal", stage.lab.state().display()).replace("$here/$0", "$0");
    stage.plugin("one", &keep, &made(0));
    stage.plugin("two", &keep, &made(1));
    let mut config = around(&["one", "two"]);
    config["delegates"][1]["mtu"] = json!(1400);
    config["hooks"] = stage.hook_that_says(&json!({ "cniVersion": "1.0.0", "dns": { "domain": "said" } }));
    let result = stage.answer("ADD", &config).result();
    let seen = |name: &str| -> Vec<Value> {
        let text = fs::read_to_string(stage.fakes.file(&format!("{name}.journal"))).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    assert_eq!(kinds(&seen("one")), ["begin", "delegate"]);
    assert_eq!(kinds(&seen("two")), ["begin", "delegate", "made", "said", "delegate"]);
    let lines = stage.lines();
    assert_eq!(kinds(&lines), ["begin", "delegate", "made", "said", "delegate", "made", "said", "finished"]);
    let mut told = stage.fakes.told("two", "ADD");
    told.as_object_mut().unwrap().remove("prevResult");
    let path = stage.fakes.file("two");
    assert_eq!(lines[4]["delegate"], json!({ "step": 1, "plugin": "two", "path": path, "config": told }));
    assert_eq!(lines[5]["made"], json!({ "step": 1, "result": made(1) }));
    assert_eq!(lines[6]["said"], json!({ "step": 1, "result": result }));
    assert_eq!(lines[7]["finished"], json!({ "result": result }));
}

/// The kernel counts our writes; a plugin sees them before it does anything. Each plugin's stdin takes one.
#[test]
fn what_belongs_together_is_one_write() {
    let stage = Stage::new();
    for (number, name) in ["one", "two"].into_iter().enumerate() {
        stage.plugin(
            name,
            &format!("grep syscw /proc/$PPID/task/$PPID/io > $here/{name}.writes"),
            &made(number),
        );
    }
    let _ = stage.answer("ADD", &around(&["one", "two"])).result();
    let writes = |name: &str| fs::read_to_string(stage.fakes.file(&format!("{name}.writes"))).unwrap();
    // The first line and the delegate; then what it made, and the next delegate.
    assert_eq!((writes("one").trim(), writes("two").trim()), ("syscw: 2", "syscw: 4"));
}

#[test]
fn an_unfinished_last_line_is_ignored() {
    let stage = Stage::new();
    let config = around(&["one", "two"]);
    for torn in [r#"{"deleted":{"step":0"#, r#"{"deleted":{"step":1}}"#, "\0\0\0", "{"] {
        let _ = stage.answer("ADD", &config).result();
        let mut file = OpenOptions::new().append(true).open(stage.journal()).unwrap();
        file.write_all(torn.as_bytes()).unwrap();
        stage.calls();
        stage.answer("DEL", &config).silent();
        assert_eq!(
            (stage.calls(), stage.lab.journals()),
            (vec!["two DEL".into(), "one DEL".into()], 0),
            "{torn}"
        );
    }
}

#[test]
fn what_is_written_after_a_torn_line_can_be_read() {
    let stage = Stage::new();
    let config = around(&["one", "two"]);
    let _ = stage.answer("ADD", &config).result();
    let mut file = OpenOptions::new().append(true).open(stage.journal()).unwrap();
    file.write_all(b"{\"deleted\":{\"st").unwrap();
    stage.breaks("one", "DEL");
    assert_eq!(stage.answer("DEL", &config).error().msg, "one fails");
    stage.mend("one", "DEL");
    stage.calls();
    stage.answer("DEL", &config).silent();
    assert_eq!((stage.calls(), stage.lab.journals()), (vec!["one DEL".into()], 0));
}

/// After a power cut.
#[test]
fn a_short_journal_is_an_absent_one() {
    let stage = Stage::new();
    let config = around(&["one"]);
    for length in [0, 40] {
        let _ = stage.lab.call(&Call { args: "OF=ADD".into(), ..stage.call("ADD", &config) }).result();
        stage.edit(|text| text[..length].to_owned());
        stage.lab.call(&Call { args: "OF=DEL".into(), ..stage.call("DEL", &config) }).silent();
        assert_eq!(stage.fakes.environment("one", "DEL")["CNI_ARGS"], "OF=DEL");
        assert_eq!(stage.lab.journals(), 0, "{length}");
    }
}

#[test]
fn a_journal_that_cannot_be_read_does_not_block_del() {
    let stage = Stage::new();
    let config = around(&["one"]);
    let spoil: [fn(&str) -> String; 3] = [
        |_| "nonsense\nin two lines\n".into(),
        |text| text.replacen("\"format\":1", "\"format\":2", 1),
        |text| text.replacen("delegate", "something-new", 1),
    ];
    for spoil in spoil {
        let _ = stage.answer("ADD", &config).result();
        stage.edit(spoil);
        let spoilt = fs::read(stage.journal()).unwrap();
        stage.calls();
        let answer = stage.answer("DEL", &config);
        answer.silent();
        assert_eq!(stage.calls(), ["one DEL"]);
        assert!(answer.stderr.contains("ERROR: ") && answer.stderr.contains("journal"), "{answer:?}");
        // Whoever wrote it may understand it.
        assert_eq!(fs::read(stage.journal()).unwrap(), spoilt);
        fs::remove_file(stage.journal()).unwrap();
    }
    fs::create_dir(stage.lab.state().join("journal").join(file_name(["net", "c1", "eth0", "main"]))).unwrap();
    stage.answer("DEL", &config).silent();
    assert_eq!(stage.calls(), ["one DEL"]);
}
