//! C27 to C31: what a plugin is told, how it is found, and what is made of its answer.

use crate::{bridge, call, calling, chained, error, says, with, wrapping};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use wasmhook_tests::{Answer, Call, Fakes, Lab, Node};

fn fake() -> Value {
    wrapping("1.0.0", &json!({ "type": "fake" }))
}

#[test]
fn c27_a_pair_without_exactly_one_equals_sign_is_named() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    fakes.plugin("fake", &says(&json!({ "ips": [] })));
    let config = chained("1.0.0", &json!({ "ips": [] }));
    for (args, bad) in [("A=1;B", "B"), ("A=1=2", "A=1=2"), ("IgnoreUnknown;K8S_POD_NAME=x", "IgnoreUnknown")]
    {
        for config in [&config, &fake()] {
            let call = Call { args: args.into(), ..calling(&fakes, "ADD", config) };
            assert_eq!(error(&lab.call(&call)), (4, format!("ARGS: invalid pair {bad:?}")));
        }
    }
    assert!(fakes.calls().is_empty());
}

#[test]
fn c27_whatever_source_a_plugin_prefers_reaches_it() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let wrapping = |ipam: Value| {
        let delegate = json!({ "type": "static", "capabilities": { "ips": true }, "ipam": ipam });
        with(&wrapping("1.0.0", &delegate), "capabilities", json!({ "ips": true }))
    };
    let own = wrapping(json!({ "type": "static", "addresses": [{ "address": "10.1.0.1/24" }] }));
    let without = wrapping(json!({ "type": "static" }));
    let with_args = with(&own, "args", json!({ "cni": { "ips": ["10.1.0.3/24"] } }));
    let with_all = with(&with_args, "runtimeConfig", json!({ "ips": ["10.1.0.4/24"] }));
    let cni_args = "IgnoreUnknown=1;IP=10.1.0.2/24";
    // Each beats those before it.
    for (config, args, wanted) in [
        (&own, "", "10.1.0.1/24"),
        (&without, cni_args, "10.1.0.2/24"),
        (&with_args, cni_args, "10.1.0.3/24"),
        (&with_all, cni_args, "10.1.0.4/24"),
    ] {
        let id = format!("c{}", &wanted[7..8]);
        let call = Call { args: args.into(), ..call("ADD", &id, &node.container(&id), config) };
        let result = lab.call(&call).result();
        assert_eq!(result["ips"], json!([{ "address": wanted }]));
    }
}

#[test]
fn c28_the_path_is_searched_in_order_for_a_regular_file() {
    let (lab, first, second) = (Lab::new("module"), Fakes::new(), Fakes::new());
    second.plugin("fake", &says(&json!({ "ips": [], "from": "second" })));
    let path = format!("/nowhere::{}:{}", first.path(), second.path());
    let from = |id: &str| {
        let call = Call { path: path.clone(), ..call("ADD", id, "/run/netns/none", &fake()) };
        lab.call(&call).result()["from"].clone()
    };
    assert_eq!(from("c1"), "second");
    fs::create_dir(first.file("fake")).unwrap();
    assert_eq!(from("c2"), "second");
    fs::remove_dir(first.file("fake")).unwrap();
    first.plugin("other", &says(&json!({ "ips": [], "from": "first" })));
    symlink("other", first.file("fake")).unwrap();
    assert_eq!(from("c3"), "first");
    // The first one is the one, even if it can't be run.
    fs::set_permissions(first.file("other"), fs::Permissions::from_mode(0o644)).unwrap();
    let call = Call { path: path.clone(), ..call("ADD", "c4", "/run/netns/none", &fake()) };
    let (code, msg) = error(&lab.call(&call));
    assert_eq!(
        (code, msg.starts_with("delegate `fake`: cannot be run: Permission denied")),
        (5, true),
        "{msg}"
    );
}

#[test]
fn c28_a_plugin_that_is_nowhere_and_a_name_that_is_none() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    fakes.plugin("fake", &says(&json!({ "ips": [] })));
    let path = format!("{}:/nowhere", fakes.path());
    let refused = |plugin: &str| {
        let call =
            Call { path: path.clone(), ..Call::new("ADD", &wrapping("1.0.0", &json!({ "type": plugin }))) };
        error(&lab.call(&call))
    };
    let nowhere = format!("failed to find plugin \"gone\" in path [{} /nowhere]", fakes.path());
    assert_eq!(refused("gone"), (7, nowhere));
    for name in ["../sh", "/bin/sh", "./fake"] {
        assert_eq!(refused(name), (7, format!("invalid plugin name: {name}")));
    }
    // Before any effect: the one that can be found is not called either.
    let list = wrapping("1.0.0", &json!([{ "type": "fake" }, { "type": "gone" }]));
    let (code, msg) = error(&lab.call(&calling(&fakes, "ADD", &list)));
    assert_eq!((code, msg.starts_with("failed to find plugin \"gone\"")), (7, true), "{msg}");
    assert!(fakes.calls().is_empty());
}

fn variables(lab: &Lab, call: &Call) -> BTreeMap<String, String> {
    let text = |it: &std::ffi::OsStr| it.to_string_lossy().into_owned();
    let command = lab.command(call);
    let pairs = command.get_envs().filter_map(|(key, value)| Some((text(key), text(value?))));
    pairs.chain([("TRACEPARENT".into(), "00-1-2-01".into()), ("EMPTY".into(), String::new())]).collect()
}

#[test]
fn c29_a_delegate_gets_the_whole_environment() {
    let (node, lab, fakes) = (Node::enter(), Lab::new("module"), Fakes::new());
    let netns = node.container("c");
    fakes.plugin("fake", "echo words for the log >&2; echo '{\"ips\":[]}'");
    fakes.plugin("last", "[ $CNI_COMMAND != ADD ]");
    let config = with(
        &wrapping("1.0.0", &json!([{ "type": "fake" }, { "type": "last" }])),
        "prevResult",
        json!({ "ips": [] }),
    );
    for verb in ["CHECK", "DEL", "ADD"] {
        let call = Call { args: "B=2;A=1".into(), netns: netns.clone(), ..calling(&fakes, verb, &config) };
        let mut wanted = variables(&lab, &call);
        let answer = Answer::of(lab.command(&call).envs(&wanted), &call.stdin);
        assert_eq!(fakes.environment("fake", verb), wanted, "{verb}");
        assert!(answer.stderr.contains("words for the log"), "{answer:?}");
        if verb == "ADD" {
            // It has been undone, in the same environment.
            wanted.insert("CNI_COMMAND".into(), "DEL".into());
            assert_eq!(fakes.environment("fake", "DEL"), wanted);
        }
    }
}

#[test]
fn c29_a_delegate_gets_its_own_object_and_what_belongs_to_the_call() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    fakes.plugin("a", &says(&json!({ "ips": [{ "address": "10.0.0.2/24" }] })));
    fakes.plugin("b", &says(&json!({ "ips": [] })));
    let entry = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": [],
        "args": { "cni": { "ips": ["10.0.0.9"] } }, "cni.dev/hint": [1], "unrelated": true,
        "capabilities": { "mac": true, "ips": true, "portMappings": true },
        "runtimeConfig": { "mac": "02:00:00:00:00:01", "ips": [], "portMappings": [{ "hostPort": 1 }] },
        "delegates": [
            { "type": "a", "mtu": 1400, "name": "mine", "capabilities": { "mac": true, "ips": false } },
            { "type": "b", "ipam": {} },
        ],
    });
    let first = json!({
        "type": "a", "mtu": 1400, "capabilities": { "mac": true, "ips": false },
        "cniVersion": "1.0.0", "name": "net", "args": { "cni": { "ips": ["10.0.0.9"] } }, "cni.dev/hint": [1],
        "runtimeConfig": { "mac": "02:00:00:00:00:01" },
    });
    let mut second = json!({
        "type": "b", "ipam": {},
        "cniVersion": "1.0.0", "name": "net", "args": { "cni": { "ips": ["10.0.0.9"] } }, "cni.dev/hint": [1],
    });
    let answer = lab.call(&calling(&fakes, "ADD", &entry)).result();
    assert_eq!(answer, json!({ "cniVersion": "1.0.0", "ips": [] }));
    assert_eq!(fakes.told("a", "ADD"), first);
    // What the first one returned, in the configuration's version.
    second["prevResult"] = json!({ "cniVersion": "1.0.0", "ips": [{ "address": "10.0.0.2/24" }] });
    assert_eq!(fakes.told("b", "ADD"), second);
    lab.call(&calling(&fakes, "DEL", &with(&entry, "prevResult", answer))).silent();
    assert_eq!(fakes.calls(), ["a ADD", "b ADD", "b DEL", "a DEL"]);
    for key in ["mtu", "args", "runtimeConfig", "capabilities"] {
        assert_eq!(fakes.told("a", "DEL")[key], first[key], "{key}");
    }
}

#[test]
fn c29_a_capability_that_the_runtime_cannot_see_is_refused() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    fakes.plugin("fake", &says(&json!({ "ips": [] })));
    let config = wrapping("1.0.0", &json!({ "type": "fake", "capabilities": { "portMappings": true } }));
    for capabilities in [Value::Null, json!({}), json!({ "portMappings": false })] {
        let config = with(&config, "capabilities", capabilities);
        let (code, msg) = error(&lab.call(&calling(&fakes, "ADD", &config)));
        assert_eq!((code, msg.contains("portMappings")), (7, true), "{msg}");
    }
    assert!(fakes.calls().is_empty());
}

/// The error that comes of a plugin that does this at ADD; it gets its DEL.
fn failing(script: &str) -> (u64, String) {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    fakes.plugin("fake", &format!("[ $CNI_COMMAND = DEL ] && exit\n{script}"));
    let error = error(&lab.call(&calling(&fakes, "ADD", &fake())));
    assert_eq!(fakes.calls(), ["fake ADD", "fake DEL"], "{script}");
    error
}

#[test]
fn c30_a_delegate_that_failed_is_quoted() {
    assert_eq!(
        failing("echo '{\"code\":42,\"msg\":\"typed\"}'; echo noise >&2; exit 3"),
        (42, "typed".into())
    );
    assert_eq!(failing("echo oops >&2; exit 3"), (999, "delegate `fake`: netplugin failed: \"oops\"".into()));
    let silent = "delegate `fake`: netplugin failed with no error message: ";
    assert_eq!(failing("exit 3"), (999, format!("{silent}exit status 3")));
    assert_eq!(failing("kill -9 $$"), (999, format!("{silent}signal: SIGKILL")));
    let (code, msg) = failing("echo '{'; echo oops >&2; exit 3");
    let start = "delegate `fake`: netplugin failed but error parsing its diagnostic message \"{\": ";
    assert_eq!((code, msg.starts_with(start)), (999, true), "{msg}");
}

#[test]
fn c31_a_result_is_taken_for_what_it_is() {
    // An error, whatever the exit code says.
    assert_eq!(failing("echo '{\"code\":42,\"msg\":\"typed\"}'"), (42, "typed".into()));
    for garbage in ["echo nonsense", "echo '[]'", "echo '{\"ips\":[]} {}'", "true"] {
        let (code, msg) = failing(garbage);
        let start = "delegate `fake`: ended well and printed no result: ";
        assert_eq!((code, msg.starts_with(start)), (999, true), "{msg}");
    }
}

#[test]
fn c31_a_result_without_version_takes_the_configurations() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    fakes.plugin("fake", &says(&json!({ "ips": [] })));
    for (number, version) in ["0.3.0", "0.4.0", "1.0.0", "1.1.0"].into_iter().enumerate() {
        let config = with(&fake(), "cniVersion", version);
        let call = Call { container_id: format!("c{number}"), ..calling(&fakes, "ADD", &config) };
        assert_eq!(lab.call(&call).result(), json!({ "cniVersion": version, "ips": [] }));
    }
}

#[test]
fn c33_plugins_that_stop_at_1_0_serve_a_1_1_network() {
    let (node, lab) = (Node::enter(), Lab::new("module"));
    let netns = node.container("c");
    let tuning = json!({ "type": "tuning", "sysctl": { "net.ipv4.conf.all.log_martians": "1" } });
    let config = wrapping("1.1.0", &json!([bridge(), tuning]));
    let result = lab.call(&call("ADD", "c", &netns, &config)).result();
    assert_eq!(
        (&result["cniVersion"], &result["ips"][0]["address"]),
        (&json!("1.1.0"), &json!("10.9.0.2/24"))
    );
    let config = with(&config, "prevResult", result);
    lab.call(&call("CHECK", "c", &netns, &config)).silent();
    lab.call(&call("DEL", "c", &netns, &config)).silent();
    assert_eq!((node.links(), node.leases("net")), (vec!["br0".to_owned()], vec![]));
}

#[test]
fn c33_an_old_delegate_is_called_in_the_highest_version_it_knows() {
    let (lab, fakes) = (Lab::new("module"), Fakes::new());
    fakes.plugin("new", &says(&json!({ "cniVersion": "1.1.0", "ips": [{ "address": "10.0.0.2/24" }] })));
    let old =
        json!({ "cniVersion": "0.4.0", "ips": [{ "version": "4", "address": "10.0.0.2/24" }], "dns": {} });
    fakes.old_plugin("old", &says(&old));
    let config = wrapping("1.1.0", &json!([{ "type": "new" }, { "type": "old" }]));
    for id in ["c1", "c2"] {
        let call = Call { container_id: id.into(), ..calling(&fakes, "ADD", &config) };
        let wanted = json!({ "cniVersion": "1.1.0", "ips": [{ "address": "10.0.0.2/24" }] });
        assert_eq!(lab.call(&call).result(), wanted);
        let told = fakes.told("old", "ADD");
        assert_eq!((&told["cniVersion"], &told["prevResult"]), (&json!("0.4.0"), &old));
        lab.call(&Call {
            verb: "DEL".into(),
            stdin: with(&config, "prevResult", wanted).to_string(),
            ..call
        })
        .silent();
        let told = fakes.told("old", "DEL");
        assert_eq!((&told["cniVersion"], &told["prevResult"]), (&json!("0.4.0"), &old));
    }
    assert_eq!(fakes.asked_for_version("old"), 1);
}
