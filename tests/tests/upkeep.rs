//! What an operator has when no runtime helps: what is held, cleaning up after a crash, the off switch.

#![allow(clippy::unwrap_used, clippy::must_use_candidate, reason = "panicking is how a test speaks")]

use serde_json::{Value, json};
use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use wasmhook_tests::{Answer, Call, Lab, Node, PLUGINS, dist, wait_for};

/// As containerd makes them.
const ID: &str = "4f1c7a8e2b9d0356f1c7a8e2b9d0356f4f1c7a8e2b9d0356f1c7a8e2b9d0356f";

fn bridge(hooks: &Value) -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": hooks,
        "delegate": {
            "type": "bridge", "bridge": "br0", "isGateway": true,
            "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.9.0.0/24" }]] },
        },
    })
}

fn call(verb: &str, id: &str, netns: &str, config: &Value) -> Call {
    Call { container_id: id.into(), netns: netns.into(), ..Call::new(verb, config) }
}

/// A container with a network.
fn attached(node: &Node, lab: &Lab, id: &str) {
    let netns = node.container(id);
    let _ = lab.call(&call("ADD", id, &netns, &bridge(&json!([])))).result();
}

/// A container that went without a DEL.
fn orphaned(node: &Node, lab: &Lab, id: &str) {
    attached(node, lab, id);
    node.ip(&format!("netns del {id}"));
}

fn report(lab: &Lab, arguments: &[&str]) -> Value {
    let answer = lab.ctl(&[arguments, &["-o", "json"]].concat());
    serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// Container id and what became of it, or its state.
fn of_each(report: &Value, key: &str) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let rows = report["attachments"].as_array().unwrap().iter();
    let mut rows: Vec<_> = rows.map(|it| (text(&it["container_id"]), text(&it[key]))).collect();
    rows.sort();
    rows
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
    pairs.map(|(one, other)| (one.to_owned(), other.to_owned())).to_vec()
}

fn write(lab: &Lab, name: &str, text: &str) -> String {
    let path = lab.path().join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// `gc` that finds everything in order, and what it printed.
fn gc(lab: &Lab, arguments: &[&str]) -> String {
    let answer = lab.ctl(&[&["gc"], arguments].concat());
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{answer:?}");
    answer.stdout
}

/// A plugin that does what no real one does.
fn fake(lab: &Lab, script: &str) -> Call {
    let place = lab.path().display();
    let plugin = write(lab, "fake", &format!("#!/bin/sh\necho $CNI_COMMAND >> {place}/verbs\n{script}\n"));
    fs::set_permissions(plugin, fs::Permissions::from_mode(0o755)).unwrap();
    let config = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": [], "delegate": { "type": "fake" },
    });
    Call { path: place.to_string(), ..Call::new("ADD", &config) }
}

#[test]
fn an_attachment_is_listed_with_what_holds_it() {
    let (node, lab) = (Node::enter(), Lab::new("none"));
    assert_eq!(
        lab.ctl(&["attachments"]).stdout,
        format!("nothing is held (no journals in {}/journal)\n", lab.state().display())
    );
    let netns = node.container("c1");
    let config = bridge(&json!([{ "module": "identity" }]));
    let _ = lab.call(&call("ADD", ID, &netns, &config)).result();

    let answer = lab.ctl(&["attachments"]);
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{answer:?}");
    let lines: Vec<Vec<_>> = answer.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NETWORK", "CONTAINER", "IFNAME", "SINCE", "HELD", "BY", "HOOKS", "STATE"]);
    assert_eq!(
        (&lines[1][..3], &lines[1][4..]),
        (&["net", &ID[..12], "eth0"][..], &["bridge", "identity", "attached"][..])
    );
    assert!(
        answer.stdout.lines().count() == 2 && answer.stdout.lines().all(|line| line.len() <= 80),
        "{answer:?}"
    );

    let report = report(&lab, &["attachments", "--container", &ID[..4], "--network", "net"]);
    let it = &report["attachments"][0];
    let namespace = fs::metadata(&netns).unwrap();
    assert_eq!(it["netns"], json!(netns));
    assert_eq!(it["namespace"]["dev"], json!(namespace.dev()));
    assert_eq!(it["namespace"]["ino"], json!(namespace.ino()));
    assert_eq!(
        (&it["container_id"], &it["state"], &it["entry"]),
        (&json!(ID), &json!("attached"), &json!("main"))
    );
    assert_eq!(
        it["delegates"],
        json!([{ "type": "bridge", "path": "/usr/lib/cni/bridge", "held": true, "deleted": false, "replaced": false }])
    );
    assert!(
        it["since"].as_str().unwrap().ends_with('Z') && it["since_ms"].as_u64() > Some(1_600_000_000_000)
    );
    for others in [["--network", "other"], ["--container", "5"]] {
        let answer = lab.ctl(&[&["attachments"], &others[..]].concat());
        assert_eq!(answer.stdout, "nothing like that is held (1 others)\n");
    }
    assert!(lab.ctl(&["attachments", "--orphaned"]).stdout.starts_with("nothing like that"));

    lab.call(&call("DEL", ID, &netns, &config)).silent();
    assert!(lab.ctl(&["attachments"]).stdout.starts_with("nothing is held"));
}

#[test]
fn an_add_at_work_is_busy_and_a_killed_one_unfinished() {
    let (node, lab) = (Node::enter(), Lab::new("none"));
    let script =
        format!("[ $CNI_COMMAND = DEL ] && exit 0; touch {}/runs; exec sleep 60", lab.path().display());
    let call = Call { netns: node.container("k"), ..fake(&lab, &script) };
    let mut child = lab.command(&call).spawn().unwrap();
    child.stdin.take().unwrap().write_all(call.stdin.as_bytes()).unwrap();
    wait_for(|| lab.path().join("runs").exists().then_some(()));

    let state = || of_each(&report(&lab, &["attachments"]), "state");
    assert_eq!(state(), pairs([("c1", "busy")]));
    let everything = ["--valid", &write(&lab, "none", "[]"), "--force", "--older-than", "0s"];
    let text = gc(&lab, &everything);
    assert!(text.contains("- net c1 eth0: left alone: locked: an ADD, a DEL"), "{text}");

    child.kill().unwrap();
    child.wait().unwrap();
    // The plugin dies with it, and the lock with the plugin.
    wait_for(|| (state() == pairs([("c1", "unfinished")])).then_some(()));
    assert!(gc(&lab, &everything).starts_with("✓ net c1 eth0: taken away (fake)\n"));
    assert_eq!(fs::read_to_string(lab.path().join("verbs")).unwrap(), "ADD\nDEL\n");
    assert_eq!(lab.journals(), 0);
}

#[test]
fn what_a_vanished_container_has_left_is_taken_away() {
    let (node, lab) = (Node::enter(), Lab::new("none"));
    orphaned(&node, &lab, "gone");
    assert_eq!(
        of_each(&report(&lab, &["attachments", "--orphaned"]), "state"),
        pairs([("gone", "orphaned")])
    );
    let nothing_changed =
        || assert_eq!((node.leases("net"), lab.journals()), (vec!["10.9.0.2".to_owned()], 1));

    let text = gc(&lab, &[]);
    assert!(text.contains("left alone: its namespace is gone, but is it valid?"), "{text}");
    nothing_changed();
    let list = write(&lab, "none", r#"{"cni.dev/valid-attachments":[]}"#);
    assert_eq!(
        gc(&lab, &["--valid", &list, "--dry-run"]),
        "✓ net gone eth0: would be taken away (bridge)\n1 would be taken away\n"
    );
    nothing_changed();
    assert_eq!(gc(&lab, &["--valid", &list, "--network", "other"]), "0 taken away\n");
    nothing_changed();

    assert_eq!(gc(&lab, &["--valid", &list]), "✓ net gone eth0: taken away (bridge)\n1 taken away\n");
    assert_eq!((node.leases("net"), lab.journals()), (vec![], 0));
    // The kernel takes links away with their namespace, a little later.
    wait_for(|| (node.links() == ["br0"]).then_some(()));
    assert_eq!(gc(&lab, &["--valid", &list]), "0 taken away\n");
}

#[test]
fn without_a_source_only_an_earlier_boot_is_taken_away() {
    let (node, lab) = (Node::enter(), Lab::new("none"));
    attached(&node, &lab, "before");
    let journal = fs::read_dir(lab.state().join("journal")).unwrap().next().unwrap().unwrap().path();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let text = fs::read_to_string(&journal).unwrap().replace(boot.trim(), "another-boot");
    fs::write(&journal, text).unwrap();
    attached(&node, &lab, "now");
    // The power went before anything was in it.
    fs::write(journal.with_file_name("empty"), "").unwrap();

    let report = report(&lab, &["gc"]);
    assert_eq!(of_each(&report, "outcome"), pairs([("before", "taken-away"), ("now", "left-alone")]));
    assert_eq!(report["empty"].as_array().unwrap().len(), 1);
    assert_eq!((node.leases("net"), lab.journals()), (vec!["10.9.0.3".to_owned()], 1));
    // What is at its path now is another container's.
    assert!(node.ip("-n before link").contains("eth0"));
}

#[test]
fn what_is_valid_or_alive_is_left_alone() {
    let (node, lab) = (Node::enter(), Lab::new("none"));
    orphaned(&node, &lab, "valid");
    attached(&node, &lab, "alive");
    let list = write(&lab, "list", r#"[{"containerID":"valid","ifname":"eth0"}]"#);
    let outcome =
        |more: &[&str]| of_each(&report(&lab, &[&["gc", "--valid", &list], more].concat()), "outcome");
    let left_alone = pairs([("alive", "left-alone"), ("valid", "valid")]);
    assert_eq!(outcome(&[]), left_alone);
    // A runtime may not list yet what has just come.
    assert_eq!(outcome(&["--force"]), left_alone);
    assert_eq!(
        outcome(&["--force", "--older-than", "0s"]),
        pairs([("alive", "taken-away"), ("valid", "valid")])
    );
    assert!(!node.ip("-n alive link").contains("eth0"));
    assert_eq!((node.leases("net"), lab.journals()), (vec!["10.9.0.2".to_owned()], 1));

    for wrong in [&["--force"][..], &["--older-than", "1s"], &["--valid", "a", "--from-cri", "b"]] {
        assert_eq!(lab.ctl(&[&["gc"], wrong].concat()).code, Some(2), "{wrong:?}");
    }
}

#[test]
fn a_list_comes_from_stdin_too_and_must_be_one() {
    let (node, lab) = (Node::enter(), Lab::new("none"));
    orphaned(&node, &lab, "gone");
    let with_stdin = |text: &str| {
        let mut command = Command::new(dist("wasmhookctl"));
        command.env_clear().env("WASMHOOK_CONFIG", lab.settings()).args(["gc", "--valid", "-"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        Answer::from(child.wait_with_output().unwrap())
    };
    let answer = with_stdin(r#"{"cni.dev/valid-attachments":null}"#);
    assert_eq!((answer.code, lab.journals()), (Some(2), 1), "{answer:?}");
    assert!(answer.stderr.starts_with("error: -: no list of valid attachments: write [{"), "{answer:?}");
    assert_eq!(with_stdin("[]").stdout, "✓ net gone eth0: taken away (bridge)\n1 taken away\n");
}

#[test]
fn what_libcni_remembers_is_valid() {
    let (node, lab) = (Node::enter(), Lab::new("none"));
    orphaned(&node, &lab, "kept");
    orphaned(&node, &lab, "gone");
    let cache = lab.path().join("results");
    fs::create_dir(&cache).unwrap();
    // As libcni 1.2 writes it.
    let cached = json!({
        "kind": "cniCacheV1", "containerId": "kept", "config": "e30=", "ifName": "eth0", "networkName": "net",
        "netns": "/run/netns/kept", "cniArgs": [["IgnoreUnknown", "1"]], "capabilityArgs": { "portMappings": [] },
        "result": { "cniVersion": "1.0.0", "ips": [{ "address": "10.9.0.2/24" }] },
    });
    fs::write(cache.join("net-kept-eth0"), cached.to_string()).unwrap();
    let report = report(&lab, &["gc", "--from-libcni-cache", cache.to_str().unwrap()]);
    assert_eq!(of_each(&report, "outcome"), pairs([("gone", "taken-away"), ("kept", "valid")]));

    // Its usual place is not there in this node: that says nothing about what is valid.
    let answer = lab.ctl(&["gc", "--from-libcni-cache"]);
    assert_eq!(answer.code, Some(2));
    assert!(answer.stderr.starts_with("error: /var/lib/cni/results: No such file"), "{answer:?}");
    assert_eq!(lab.journals(), 1);
}

#[test]
fn wasmhook_inside_a_wrapped_plugin_is_cleaned_up_with_it() {
    let (node, lab) = (Node::enter(), Lab::new("none"));
    let mut config = bridge(&json!([]));
    let inner = json!({ "type": "host-local", "subnet": "10.9.0.0/24" });
    config["delegate"]["ipam"] = json!({ "type": "wasmhook", "hooks": [], "delegate": inner });
    let path = format!("{}:{PLUGINS}", dist("wasmhook").parent().unwrap().display());
    let netns = node.container("gone");
    let _ = lab.call(&Call { path, ..call("ADD", "gone", &netns, &config) }).result();
    node.ip("netns del gone");
    assert_eq!((node.leases("net").len(), lab.journals()), (1, 2));
    // The settings reach the inner one, too.
    let list = write(&lab, "list", "[]");
    let mut command = Command::new(dist("wasmhookctl"));
    command.env_clear().arg("--settings").arg(lab.settings()).args(["gc", "--valid", &list, "-o", "json"]);
    let answer = Answer::from(command.output().unwrap());
    let report = serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    assert_eq!(of_each(&report, "outcome"), pairs([("gone", "taken-away"), ("gone", "taken-away")]));
    let why = ["main", "ipam"].into_iter().zip(report["attachments"].as_array().unwrap());
    let why = why.map(|(entry, it)| (it["entry"] == entry).then(|| it["why"].as_str().unwrap_or_default()));
    let inner = "by another DEL: of the plugin around it, or of the runtime";
    assert_eq!((why.collect(), answer.stderr.as_str()), (vec![Some(""), Some(inner)], ""));
    assert_eq!((node.leases("net"), lab.journals()), (vec![], 0));
}

/// A container runtime, as far as `gc` asks it: one that has these sandboxes.
fn container_runtime(socket: &Path, method: &'static str, ids: &[&str]) {
    let field = |tag: u8, bytes: &[u8]| [&[tag << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat();
    // Each with its id, metadata and state.
    let sandbox = |id: &&str| {
        field(1, &[field(1, id.as_bytes()), field(2, &field(1, b"pod")), vec![3 << 3, 1]].concat())
    };
    let message: Vec<u8> = ids.iter().flat_map(sandbox).collect();
    let body = [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), &message].concat();
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    let serve = async move || {
        let listener = tokio::net::UnixListener::from_std(listener).unwrap();
        loop {
            let stream = listener.accept().await.unwrap().0;
            let mut connection =
                h2::server::Builder::new().handshake::<_, Cursor<Vec<u8>>>(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let known = request.uri().path() == method;
                let head = http::Response::builder().header("content-type", "application/grpc");
                let mut stream = respond.send_response(head.body(()).unwrap(), false).unwrap();
                if known {
                    stream.send_data(Cursor::new(body.clone()), false).unwrap();
                }
                let status = if known { "0" } else { "12" };
                let trailers =
                    http::HeaderMap::from_iter([("grpc-status".parse().unwrap(), status.parse().unwrap())]);
                stream.send_trailers(trailers).unwrap();
            }
        }
    };
    std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap().block_on(serve());
    });
}

#[test]
fn a_container_runtimes_sandboxes_are_valid() {
    let (node, lab) = (Node::enter(), Lab::new("none"));
    orphaned(&node, &lab, "kept");
    orphaned(&node, &lab, "gone");
    let gc = |name: &str| {
        let socket = lab.path().join(name);
        lab.ctl(&["gc", "--from-cri", &format!("unix://{}", socket.display()), "-o", "json"])
    };
    let error = |answer: &Answer, words: &str| {
        assert_eq!((answer.code, lab.journals()), (Some(2), 2), "{answer:?}");
        assert!(answer.stderr.contains(words), "{answer:?}");
    };
    error(&gc("nowhere"), "/nowhere: No such file");
    fs::write(lab.path().join("file"), "").unwrap();
    error(&gc("file"), "nothing that speaks gRPC is listening there: Connection refused");
    container_runtime(&lab.path().join("old"), "/runtime.v1alpha2.RuntimeService/ListPodSandbox", &[]);
    error(&gc("old"), "this runtime has no CRI v1 service");

    container_runtime(&lab.path().join("cri"), "/runtime.v1.RuntimeService/ListPodSandbox", &[ID, "kept"]);
    let answer = gc("cri");
    let report = serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    assert_eq!(of_each(&report, "outcome"), pairs([("gone", "taken-away"), ("kept", "valid")]));
}

#[test]
fn what_fails_is_told_at_the_end_and_the_rest_is_done() {
    let (node, lab) = (Node::enter(), Lab::new("none"));
    let script = "cat > /dev/null; [ $CNI_COMMAND = ADD ] && exec echo '{\"cniVersion\":\"1.0.0\"}'\n\
                  echo plugin speaking >&2; echo '{\"code\":11,\"msg\":\"not now\"}'; exit 1";
    let call = Call { container_id: "stuck".into(), ..fake(&lab, script) };
    let _ = lab.call(&call).result();
    orphaned(&node, &lab, "gone");
    let unreadable = lab.state().join("journal/strange");
    fs::write(&unreadable, "?\n").unwrap();

    let listed = lab.ctl(&["attachments"]);
    assert_eq!(listed.code, Some(1), "{listed:?}");
    assert!(listed.stdout.contains(&format!("journal {}: line 1: ", unreadable.display())), "{listed:?}");

    let answer = lab.ctl(&["gc", "--valid", &write(&lab, "none", "[]")]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.stdout.contains("✗ net stuck eth0: not now\n"), "{answer:?}");
    assert!(answer.stdout.ends_with("1 taken away, 1 failed\n"), "{answer:?}");
    let (first, last) = answer.stderr.split_once('\n').unwrap();
    assert_eq!(first, "plugin speaking");
    assert!(last.starts_with("error: net stuck eth0: not now; its journal stays"), "{answer:?}");
    assert!(last.contains("/strange: line 1: ") && last.contains("left alone: look at it"), "{answer:?}");
    assert_eq!((node.leases("net"), lab.journals()), (vec![], 2));
}

#[test]
fn a_bypass_skips_hooks_loudly_and_ends_by_itself() {
    let (node, lab) = (Node::enter(), Lab::new("none"));
    let rule = json!({ "name": "sandboxes", "podNamespaces": ["sandbox-*"], "deny": "no network here" });
    let deny = json!({ "module": "policy", "config": { "rules": [rule] } });
    let mut guard = deny.clone();
    guard["bypassable"] = json!(false);
    let add = |id: &str, hook: &Value| {
        let netns = node.container(id);
        lab.call(&call("ADD", id, &netns, &bridge(&json!([hook]))).pod("sandbox-1", "web"))
    };
    assert_eq!(add("a", &deny).error().code, 100);
    let status = lab.ctl(&["bypass", "status"]);
    assert_eq!((status.code, status.stdout.as_str()), (Some(0), "hooks run\n"));

    let on = lab.ctl(&["bypass", "on", "--for", "30m"]);
    assert_eq!(on.code, Some(0), "{on:?}");
    assert!(on.stdout.starts_with("hooks are SKIPPED on this node until 20"), "{on:?}");
    assert!(on.stdout.contains("(another 30m)") && on.stdout.contains("bypassable"), "{on:?}");
    let answer = add("b", &deny);
    let _ = answer.result();
    assert!(answer.stderr.contains("wasmhook ERROR: hooks are switched off on this node"), "{answer:?}");
    assert_eq!((add("c", &guard).error().code, lab.journals()), (100, 1));
    assert_eq!(lab.ctl(&["bypass", "status"]).code, Some(1));
    let status = report(&lab, &["bypass", "status"]);
    assert_eq!(status["bypassed"], true);
    assert!((1700..=1800).contains(&status["seconds_left"].as_u64().unwrap()), "{status}");

    assert_eq!(lab.ctl(&["bypass", "off"]).stdout, "hooks run\n");
    assert_eq!(add("d", &deny).error().code, 100);
    assert_eq!(lab.ctl(&["bypass", "off"]).stdout, "hooks run (they were not skipped)\n");

    assert_eq!(lab.ctl(&["bypass", "on", "--for", "1s"]).code, Some(0));
    wait_for(|| (lab.ctl(&["bypass", "status"]).code == Some(0)).then_some(()));
    assert_eq!(add("e", &deny).error().code, 100);

    // Whoever may not look is not told that all is well.
    fs::set_permissions(lab.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let mut nobody = Command::new(dist("wasmhookctl"));
    nobody.uid(65534).gid(65534).env_clear().env("WASMHOOK_CONFIG", lab.settings());
    let answer = Answer::from(nobody.args(["bypass", "status"]).output().unwrap());
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(2), ""), "{answer:?}");
    assert!(answer.stderr.ends_with("these files are root's: try again as root\n"), "{answer:?}");

    for wrong in [&["on"][..], &["on", "--for", "25h"], &["on", "--for", "soon"], &[]] {
        assert_eq!(lab.ctl(&[&["bypass"], wrong].concat()).code, Some(2), "{wrong:?}");
    }
}
