use super::*;
use serde_json::json;
use std::cell::RefCell;
use wasmhook_sdk::cni::Error;

thread_local!(static ENDS: RefCell<Vec<(End, bool)>> = const { RefCell::new(Vec::new()) });

struct Everything;

impl Means for Everything {
    const CHAOS: bool = true;

    fn end(end: End, keep: bool) -> Result<()> {
        ENDS.with_borrow_mut(|it| it.push((end, keep)));
        Ok(())
    }

    fn set_down(_: &str) -> Result<()> {
        Ok(())
    }
}

struct Verdicts;

impl Means for Verdicts {
    const CHAOS: bool = false;

    fn end(_: End, _: bool) -> Result<()> {
        unreachable!("a script that needs it is refused")
    }

    fn set_down(_: &str) -> Result<()> {
        unreachable!("a script that needs it is refused")
    }
}

fn request(pod: &str, verb: &str, settings: &Value) -> Request {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    Request {
        verb: verb.into(),
        cni_version: "1.0.0".into(),
        container_id: format!("container-of-{pod}"),
        ifname: "eth0".into(),
        network: "net".into(),
        args: [pair("K8S_POD_NAMESPACE", "shop"), pair("K8S_POD_NAME", pod), pair("K8S_POD_UID", pod)]
            .into_iter()
            .collect(),
        hook_config: settings.to_string(),
        ..Request::default()
    }
}

fn annotated(pod: &str, annotations: &Value, settings: &Value) -> Request {
    Request {
        extra: json!({ "runtimeConfig": { "io.kubernetes.cri.pod-annotations": annotations } }).to_string(),
        ..request(pod, "ADD", settings)
    }
}

/// The code of the error that is injected; 0: none.
fn code(request: &Request) -> u32 {
    match Breaking::<Everything>::pre(request).unwrap() {
        Pre::Deny(error) => error.code,
        _ => 0,
    }
}

#[test]
fn a_pod_fails_twice_and_then_comes_up_whatever_its_container_is_called() {
    let settings = json!({ "scripts": { "ADD": "2*error(11:try again)->off" } });
    let codes: Vec<_> = (0..4)
        .map(|attempt| {
            let retried = Request { container_id: format!("c{attempt}"), ..request("web", "ADD", &settings) };
            code(&retried)
        })
        .collect();
    assert_eq!(codes, [11, 11, 0, 0]);
    // Others have attempts of their own.
    assert_eq!(code(&request("db", "ADD", &settings)), 11);
    assert_eq!(code(&request("web", "DEL", &settings)), 0);
}

#[test]
fn attempts_are_counted_by_what_is_asked_for() {
    let settings = |per: &str| json!({ "per": per, "scripts": { "ADD": "1*error(5:x)" } });
    let all = ["a", "b"].map(|pod| code(&request(pod, "ADD", &settings("network"))));
    assert_eq!(all, [5, 0]);
    let request = request("a", "ADD", &settings("attachment"));
    assert_eq!(code(&request), 5);
    assert_eq!(code(&request), 0);
    assert_eq!(code(&Request { ifname: "eth1".into(), ..request }), 5);
}

/// As containerd's test plugin documents it, its script in its own words.
#[test]
fn the_script_of_the_bridge_with_failpoints_is_gone_through_step_by_step() {
    let settings = json!({ "scripts": {
        "cmdAdd": "1*error(try-again)", "cmdDel": "2*error(oops)", "cmdCheck": "1*off->1*panic(sorry)" } });
    let mut step = |verb: &str| match Breaking::<Everything>::pre(&request("web", verb, &settings)).unwrap() {
        Pre::Deny(error) => format!("{} {}", error.code, error.msg),
        _ => match ENDS.with_borrow_mut(Vec::pop) {
            Some((End::Print(stdout, exit), false)) if stdout.is_empty() => format!("exit {exit}"),
            Some(other) => format!("{other:?}"),
            None => "done".into(),
        },
    };
    let said = ["ADD", "ADD", "CHECK", "CHECK", "CHECK", "DEL", "DEL", "DEL"].map(&mut step);
    assert_eq!(said, ["999 try-again", "done", "done", "exit 2", "done", "999 oops", "999 oops", "done"]);
}

#[test]
fn only_pods_that_want_it_and_only_in_its_time() {
    let opt_in = json!({ "scripts": { "ADD": "error(5:x)" }, "optIn": { "annotation": "chaos" } });
    assert_eq!(code(&annotated("a", &json!({ "chaos": "yes" }), &opt_in)), 5);
    assert_eq!(code(&annotated("a", &json!({ "chaos": "no" }), &opt_in)), 0);
    assert_eq!(code(&request("a", "ADD", &opt_in)), 0);
    let value =
        json!({ "scripts": { "ADD": "error(5:x)" }, "optIn": { "annotation": "chaos", "value": "cni" } });
    assert_eq!(code(&annotated("a", &json!({ "chaos": "yes" }), &value)), 0);
    assert_eq!(code(&annotated("a", &json!({ "chaos": "cni" }), &value)), 5);
    for (key, time, is) in [
        ("notAfter", "2020-01-01T00:00:00Z", 0),
        ("notAfter", "2100-01-01T00:00:00Z", 5),
        ("notBefore", "2100-01-01T00:00:00Z", 0),
        ("notBefore", "2020-01-01T00:00:00Z", 5),
    ] {
        let settings = json!({ "scripts": { "ADD": "error(5:x)" }, key: time });
        assert_eq!(code(&request("a", "ADD", &settings)), is, "{key} {time}");
    }
}

#[test]
fn a_pod_may_bring_its_own_script_where_its_namespace_may() {
    let settings = |namespaces: &Value| {
        json!({ "scripts": { "ADD": "error(5:x)" }, "per": "network",
            "podScripts": { "namespaces": namespaces, "annotation": "script" } })
    };
    let own = json!({ "script": r#"{"cmdAdd":"1*error(7:mine)"}"# });
    let allowed = settings(&json!(["shop*"]));
    assert_eq!(code(&annotated("a", &own, &allowed)), 7);
    assert_eq!(code(&annotated("a", &own, &allowed)), 0);
    // Its attempts are its own.
    assert_eq!(code(&annotated("b", &own, &allowed)), 7);
    assert_eq!(code(&annotated("a", &own, &settings(&json!(["test-*"])))), 5);
    // Without one, the node's is for them as well.
    assert_eq!(code(&annotated("a", &json!({}), &allowed)), 5);
    // What is wrong in it is no fault of the node's, and what is a path opens nothing: nothing happens to that pod.
    let twice = r#"{"ADD":"error","cmdAdd":"error"}"#;
    for wrong in ["{", "/etc/passwd", r#"{"ADD":"eror"}"#, r#"{"add":"error"}"#, twice] {
        assert_eq!(code(&annotated("c", &json!({ "script": wrong }), &allowed)), 0, "{wrong}");
    }
}

#[test]
fn no_more_are_active_than_may_be_and_whoever_has_healed_makes_room() {
    let settings = json!({ "maxActive": 1, "scripts": { "ADD": "2*error(5:x)->off" } });
    let at = |pod: &str| code(&request(pod, "ADD", &settings));
    assert_eq!([at("a"), at("b"), at("a")], [5, 0, 5]);
    // Its script says off now.
    assert_eq!([at("a"), at("b"), at("c")], [0, 5, 0]);
}

#[test]
fn afterwards_the_result_is_another_one_and_a_failure_stays_one() {
    let settings =
        json!({ "scripts": { "ADD": { "after": "1*no-ips->1*done-but-failed(11:x)->garbage(keep)" } } });
    let result = json!({ "cniVersion": "1.0.0", "ips": [{ "address": "10.0.0.2/24" }] });
    let result = serde_json::from_value(result).unwrap();
    let post = |outcome| Breaking::<Everything>::post(&request("a", "ADD", &settings), outcome).unwrap();
    assert!(matches!(post(Outcome::failure(Error::new(1, "x"))), Post::Keep));
    let Post::Rewrite(without) = post(Outcome::success(&result).unwrap()) else { panic!("not rewritten") };
    assert!(without.ips.unwrap().is_empty());
    assert!(matches!(post(Outcome::success(&result).unwrap()), Post::Keep));
    let (end, keep) = ENDS.with_borrow_mut(Vec::pop).unwrap();
    let End::Print(stdout, 1) = end else { panic!("{end:?}") };
    let said: Value = serde_json::from_slice(&stdout).unwrap();
    assert_eq!((said, keep), (json!({ "cniVersion": "1.0.0", "code": 11, "msg": "x" }), true));
    assert!(matches!(post(Outcome::success(&result).unwrap()), Post::Keep));
    assert!(matches!(ENDS.with_borrow_mut(Vec::pop).unwrap(), (End::Print(_, 0), true)));
}

#[test]
fn mistakes_in_the_settings_are_told_with_their_place() {
    let told = |settings: &Value| {
        Breaking::<Verdicts>::validate(&request("a", "ADD", settings)).unwrap_err().to_string()
    };
    for (settings, what) in [
        (
            json!({ "scripts": { "ADD": "eror" } }),
            "`config.scripts.ADD`: column 1: \"eror\" is no action; did you mean \"error\"?",
        ),
        (
            json!({ "scripts": { "ADD": { "after": "hang" } } }),
            "`config.scripts.ADD.after`: column 1: `hang` takes the module \"chaos\", and the grant \"chaos\"",
        ),
        (
            json!({ "scripts": { "add": "error" } }),
            "`config.scripts.add`: no verb; write ADD, CHECK, DEL, GC, STATUS",
        ),
        (
            json!({ "scripts": { "ADD": 7 } }),
            "`config.scripts.ADD`: 7: write a script, or { \"before\": …, \"after\": … }",
        ),
        (
            json!({ "notAfter": "tomorrow" }),
            "`config.notAfter`: \"tomorrow\": write a time in UTC, such as \"2026-12-01T12:00:00Z\"",
        ),
        (
            json!({ "notBefore": "2026-12-01T12:00:00Z", "notAfter": "2026-12-01T12:00:00Z" }),
            "`config.notAfter`: it is not after `notBefore`: nothing would ever happen",
        ),
        (
            json!({ "maxActive": 0 }),
            "`config.maxActive`: 0: nothing would ever happen; `wasmhookctl faults off` is for that",
        ),
        (json!({ "maxActive": 1001 }), "`config.maxActive`: 1001: write 1 to 1000, or leave it out for all"),
        (
            json!({ "remember": "30" }),
            "`config.remember`: \"30\" is 30ms: write at least a second, such as \"30s\" or \"24h\"",
        ),
        (
            json!({ "scripts": { "ADD": "error", "cmdAdd": "off" } }),
            "`config.scripts.cmdAdd`: `ADD` has a script already: keep one of them",
        ),
        (
            json!({ "remember": "long" }),
            "`config.remember`: \"long\": write a time such as 200ms, 1.5s, 2m or 24h",
        ),
    ] {
        assert_eq!(told(&settings), what, "{settings}");
    }
    assert!(told(&json!({ "percent": 5 })).contains("unknown field `percent`"));
}

#[test]
fn a_place_that_somebody_else_has_by_now_is_left_to_them() {
    use wasmhook_sdk::state::{self, Scope};
    let settings = json!({ "maxActive": 1, "scripts": { "ADD": "1*error(5:x)->off" } });
    assert_eq!(code(&request("a", "ADD", &settings)), 5);
    state::set(Scope::Node, "active/0", b"shop/b (pod/b)", None).unwrap();
    assert_eq!(code(&request("a", "ADD", &settings)), 0);
    assert_eq!(state::get(Scope::Node, "active/0").unwrap().unwrap(), b"shop/b (pod/b)");
}

#[test]
fn one_that_is_told_of_already_takes_no_second_place() {
    use wasmhook_sdk::state::{self, Scope};
    let settings = json!({ "scripts": { "ADD": "error(5:x)" } });
    for pod in ["a", "b", "a"] {
        assert_eq!(code(&request(pod, "ADD", &settings)), 5);
    }
    assert_eq!(state::keys(Scope::Node, "active/").unwrap(), ["active/0", "active/1"]);
    assert_eq!(state::get(Scope::Node, "active/1").unwrap().unwrap(), b"shop/b (pod/b)");
}

#[test]
fn an_error_without_words_says_what_it_is() {
    for script in ["error", "error(11:)"] {
        let settings = json!({ "scripts": { "ADD": script } });
        let Pre::Deny(error) = Breaking::<Everything>::pre(&request("a", "ADD", &settings)).unwrap() else {
            panic!("not refused")
        };
        assert_eq!(error.msg, "injected fault", "{script}");
    }
}

/// Its log has a limit, which ends a hook, and what ends a hook fails the pod.
#[test]
fn a_long_word_of_a_pods_is_told_in_short() {
    let settings = PodScripts { namespaces: vec!["shop".into()], annotation: "script".into() };
    let long = "x".repeat(200_000);
    for wrong in [
        format!("/{long}"),
        long.clone(),
        json!({ long.clone(): "off" }).to_string(),
        json!({ "ADD": [long] }).to_string(),
    ] {
        let annotations = BTreeMap::from([("script".to_owned(), wrong)]);
        let told = own_scripts::<Verdicts>(Some(&settings), &request("a", "ADD", &json!({})), &annotations)
            .unwrap_err();
        assert!(told.len() < 500, "{} bytes", told.len());
    }
}
