//! ADD and DEL hold a lock on the journal for life, and whoever they start holds it with them.

use crate::journal::file_name;
use crate::{Stage, around, bridge, held, made, nothing, with};
use serde_json::json;
use std::fs::{self, File};
use std::thread::sleep;
use std::time::{Duration, Instant};
use wasmhook_tests::{Call, Node, PLUGINS, wait_for};

/// Until this plugin is at work with this verb.
fn until(stage: &Stage, call: &str) {
    wait_for(|| stage.fakes.calls().iter().any(|it| it == call).then_some(()));
}

#[test]
fn a_del_waits_for_a_running_add_and_takes_back_what_it_made() {
    let stage = Stage::new();
    stage.plugin(
        "two",
        "[ $CNI_COMMAND = DEL ] || { sleep 0.6; touch $here/done; }; ls $here > $here/$CNI_COMMAND.seen",
        &made(1),
    );
    let config = around(&["one", "two"]);
    let add = stage.start(&stage.call("ADD", &config));
    until(&stage, "two ADD");
    stage.answer("DEL", &config).silent();
    assert_eq!(stage.calls(), ["one ADD", "two ADD", "two DEL", "one DEL"]);
    let seen = fs::read_to_string(stage.fakes.file("DEL.seen")).unwrap();
    assert!(seen.lines().any(|it| it == "done"), "the DEL did not wait: {seen}");
    let _ = add.end().result();
    assert_eq!(stage.lab.journals(), 0);
}

#[test]
fn an_add_that_a_del_could_not_wait_for_undoes_itself_and_says_why() {
    let stage = Stage::new();
    stage.plugin("two", "[ $CNI_COMMAND = DEL ] || sleep 6.5", &made(1));
    let config = around(&["one", "two"]);
    let add = stage.start(&stage.call("ADD", &config));
    until(&stage, "two ADD");
    let started = Instant::now();
    let answer = stage.answer("DEL", &config);
    let waited = started.elapsed();
    answer.silent();
    assert!((Duration::from_millis(4500)..Duration::from_secs(20)).contains(&waited), "{waited:?}");
    assert!(answer.stderr.contains("if it is an ADD, it undoes itself now"), "{answer:?}");
    assert_eq!(stage.calls(), ["one ADD", "two ADD", "two DEL", "one DEL"], "all is tried at once");
    let error = add.end().error();
    assert_eq!(error.code, 11);
    assert!(
        error.msg.contains("a DEL came while this ADD was at work, so it has undone itself"),
        "{error:?}"
    );
    assert_eq!((stage.calls(), stage.lab.journals()), (vec!["two DEL".into(), "one DEL".into()], 0));
}

#[test]
fn what_bridge_has_started_keeps_the_lock_of_a_killed_add_and_del_frees_its_address() {
    let (node, stage) = (Node::enter(), Stage::new());
    let slow = "[ $CNI_COMMAND = DEL ] || sleep 0.6";
    stage.fakes.plugin("host-local", &format!("{slow}\nprintf %s \"$told\" | {PLUGINS}/host-local"));
    let netns = node.container("k");
    let config = with(&around(&[]), "delegates", json!([bridge()]));
    let call = |verb| Call { netns: netns.clone(), ..stage.call(verb, &config) };
    let mut add = stage.start(&call("ADD"));
    until(&stage, "host-local ADD");
    add.0.kill().unwrap();
    add.0.wait().unwrap();
    assert_eq!(node.leases("net"), [""; 0], "host-local is still to make it");
    stage.lab.call(&call("DEL")).silent();
    assert_eq!(stage.calls(), ["host-local ADD", "host-local DEL"]);
    sleep(Duration::from_millis(700));
    assert_eq!((held(&node), stage.lab.journals()), (nothing(), 0));
}

#[test]
fn two_adds_of_one_attachment_come_one_after_the_other() {
    let (node, stage) = (Node::enter(), Stage::new());
    let netns = node.container("a");
    stage.plugin("one", "sleep 0.4", &made(0));
    let config = around(&["one"]);
    let call = Call { netns, ..stage.call("ADD", &config) };
    let both = [stage.start(&call), stage.start(&call)].map(|it| it.end().code);
    assert!(both == [Some(0), Some(1)] || both == [Some(1), Some(0)], "{both:?}");
    assert_eq!((stage.calls(), stage.lab.journals()), (vec!["one ADD".into()], 1));
}

#[test]
fn other_attachments_are_not_kept_waiting() {
    let stage = Stage::new();
    let config = around(&["one"]);
    let _ = stage.answer("ADD", &config).result();
    let lock = File::open(stage.journal()).unwrap();
    lock.lock().unwrap();
    let other = Call { container_id: "c2".into(), ..stage.call("ADD", &config) };
    let started = Instant::now();
    let _ = stage.lab.call(&other).result();
    assert!(started.elapsed() < Duration::from_secs(4));
}

/// Somebody has removed the journal while we waited for it: what we hold the lock of is not what others will find.
#[test]
fn after_locking_the_inode_is_compared_with_the_path() {
    let stage = Stage::new();
    let config = around(&["one"]);
    let directory = stage.lab.state().join("journal");
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join(file_name(["net", "c1", "eth0", "main"]));
    let lock = File::create(&path).unwrap();
    lock.lock().unwrap();
    let add = stage.start(&stage.call("ADD", &config));
    // It has the file open now.
    let fds = format!("/proc/{}/fd", add.0.id());
    wait_for(|| {
        let entries = fs::read_dir(&fds).ok()?.flatten();
        entries.filter_map(|it| fs::read_link(it.path()).ok()).any(|it| it == path).then_some(())
    });
    fs::remove_file(&path).unwrap();
    drop(lock);
    let _ = add.end().result();
    assert!(stage.lines().iter().any(|line| line.get("finished").is_some()));
    stage.answer("DEL", &config).silent();
    assert_eq!((stage.calls(), stage.lab.journals()), (vec!["one ADD".into(), "one DEL".into()], 0));
}
