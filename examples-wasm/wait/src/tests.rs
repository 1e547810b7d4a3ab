use super::*;
use serde_json::{Value, json};
use std::time::Instant;
use wasmhook_sdk::testing;

fn request(settings: &Value) -> Request {
    Request { verb: "ADD".into(), hook_config: settings.to_string(), ..Request::default() }
}

/// What is said, and whether that took as long as it should.
fn add(settings: &Value) -> String {
    let started = Instant::now();
    let said = match Wait::pre(&request(settings)).unwrap() {
        Pre::Deny(error) => format!("{} {}", error.code, error.msg),
        _ => String::new(),
    };
    assert!(started.elapsed() < Duration::from_secs(2));
    said
}

fn network(network: &Value) {
    testing::with(|it| *it = serde_json::from_value(network.clone()).unwrap());
}

#[test]
fn what_is_there_is_not_waited_for() {
    network(&json!({
        "host": { "links": [{ "name": "flannel.1", "up": true, "addresses": ["10.1.0.1/16"] }, { "name": "down0" }],
            "routes": [{ "dst": "10.2.0.0/16", "dev": "flannel.1" }] },
        "container": { "links": [{ "name": "eth0", "up": true, "addresses": ["fd00::2/64"] }] },
    }));
    for condition in [
        json!({ "file": "/proc/self/status" }),
        json!({ "link": "flannel.1", "up": true }),
        json!({ "link": "down0" }),
        json!({ "address": "10.1.0.0/16" }),
        json!({ "address": "10.1.0.1/32", "link": "flannel.1" }),
        json!({ "address": "fd00::/64", "in": "container", "link": "eth0" }),
        json!({ "route": "10.2.0.0/16", "in": "host" }),
    ] {
        assert_eq!(add(&json!({ "for": [condition], "timeout": "20ms" })), "", "{condition}");
    }
}

#[test]
fn what_does_not_come_is_named() {
    network(&json!({ "host": { "links": [{ "name": "down0" }] } }));
    for (condition, said) in [
        (json!({ "file": "/nowhere/subnet.env" }), "11 file /nowhere/subnet.env is not there after "),
        (json!({ "link": "cilium_host" }), "11 link cilium_host in the host is not there after "),
        (json!({ "link": "down0", "up": true }), "11 link down0 in the host (up) is not there after "),
        (
            json!({ "address": "10.1.0.0/16", "in": "container" }),
            "11 address 10.1.0.0/16 in the container is not there after ",
        ),
        (json!({ "route": "0.0.0.0/0" }), "11 route to 0.0.0.0/0 in the host is not there after "),
    ] {
        let is = add(&json!({ "for": [condition], "timeout": "20ms" }));
        assert!(is.starts_with(said), "{condition}: {is}");
    }
    assert_eq!(
        add(&json!({ "for": [{ "file": "/nowhere" }], "timeout": "20ms", "onTimeout": "proceed" })),
        ""
    );
}

#[test]
fn what_comes_late_is_waited_for() {
    let directory = std::env::temp_dir().join(format!("wait-{}", std::process::id()));
    let path = directory.clone();
    let later = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(60));
        std::fs::create_dir(path).unwrap();
    });
    assert_eq!(add(&json!({ "for": [{ "file": directory }], "timeout": "1s" })), "");
    later.join().unwrap();
    std::fs::remove_dir(directory).unwrap();
}

#[test]
fn it_waits_when_it_is_told_to_and_at_add_alone() {
    let missing = |when: &str| json!({ "for": [{ "file": "/nowhere" }], "timeout": "5ms", "when": when });
    assert_ne!(add(&missing("before")), "");
    assert_eq!(add(&missing("after")), "");
    let result = serde_json::from_value(json!({ "cniVersion": "1.0.0" })).unwrap();
    let after = Wait::post(&request(&missing("after")), Outcome::success(&result).unwrap()).unwrap();
    assert!(matches!(after, Post::Fail(_)));
    let failed = Wait::post(&request(&missing("after")), Outcome::failure(Error::new(1, "x"))).unwrap();
    assert!(matches!(failed, Post::Keep));
    let del = Request { verb: "DEL".into(), ..request(&missing("before")) };
    assert!(matches!(Wait::pre(&del).unwrap(), Pre::Proceed));
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (settings, said) in [
        (json!({ "for": [] }), "`config.for` is empty: write what to wait for"),
        (
            json!({ "for": [{}] }),
            "`config.for[0]`: write one of `file`, `link`, `address` (with or without `link`), `route`",
        ),
        (json!({ "for": [{ "file": "/x", "route": "0.0.0.0/0" }] }), "`config.for[0]`: write one of"),
        (
            json!({ "for": [{ "file": "/x", "in": "host" }] }),
            "`config.for[0]`: `in` means nothing for a file",
        ),
        (json!({ "for": [{ "route": "::/0", "up": true }] }), "`config.for[0]`: `up` is about a link"),
        (
            json!({ "for": [{ "file": "/x" }], "timeout": "5" }),
            "`config.timeout`: \"5\": write a time such as \"500ms\", \"5s\" or \"1m\"",
        ),
        (json!({ "for": [{ "address": "10.1.2" }] }), "\"10.1.2\" is no address with a prefix"),
    ] {
        let told = Wait::validate(&request(&settings)).unwrap_err().to_string();
        assert!(told.contains(said), "{settings}: {told}");
    }
}
