use crate::site::{Site, around_bridge};
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};
use wasmhook_tests::Answer;

fn breaking(scripts: &Value) -> Value {
    around_bridge(&json!([{ "module": "chaos", "grants": ["chaos", "clock", "state", "link:container"],
        "config": { "scripts": scripts } }]))
}

/// What a runtime sees: the exit code or signal, and stdout.
fn add(site: &Site, pod: &str, config: &Value) -> (Option<i32>, Option<i32>, String) {
    use std::io::Write;
    let _ = site.node.container(pod);
    let call = crate::site::pod_call("ADD", pod, pod, config);
    let mut child = site.lab.command(&call).spawn().unwrap();
    child.stdin.take().unwrap().write_all(call.stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let signal = output.status.signal();
    let answer: Answer = output.into();
    (answer.code, signal, answer.stdout)
}

#[test]
fn a_call_ends_as_no_verdict_could_make_it_and_leaves_nothing() {
    let site = Site::new();
    let whole = |stdout: &str| serde_json::from_str::<Value>(stdout).is_ok();
    for (number, (scripts, exit, signal)) in [
        (json!({ "ADD": "signal(KILL)" }), None, Some(9)),
        (json!({ "ADD": { "after": "signal(SEGV)" } }), None, Some(11)),
        (json!({ "ADD": "garbage" }), Some(0), None),
        (json!({ "ADD": { "after": "truncated" } }), Some(0), None),
        (json!({ "ADD": "truncated" }), Some(1), None),
        (json!({ "ADD": "empty" }), Some(0), None),
        (json!({ "ADD": { "after": "panic(sorry)" } }), Some(2), None),
    ]
    .into_iter()
    .enumerate()
    {
        let (config, pod) = (breaking(&scripts), format!("p{number}"));
        let (code, died_by, stdout) = add(&site, &pod, &config);
        assert_eq!((code, died_by), (exit, signal), "{scripts}: {stdout}");
        assert!(!whole(&stdout), "{scripts}: {stdout}");
        // Nothing has to be taken back any more.
        assert_eq!(site.left(), (vec![], vec![], 0), "{scripts}");
        site.pod("DEL", &pod, &pod, &config).silent();
    }
}

#[test]
fn what_is_kept_is_there_until_del() {
    let site = Site::new();
    for (number, script) in
        ["done-but-failed(11:it is not)", "signal(KILL, keep)", "garbage(keep)", "empty(keep)"]
            .iter()
            .enumerate()
    {
        let (config, pod) = (breaking(&json!({ "ADD": { "after": script } })), format!("p{number}"));
        let (code, _, stdout) = add(&site, &pod, &config);
        if number == 0 {
            let error: Value = serde_json::from_str(&stdout).unwrap();
            assert_eq!((code, &error["code"], &error["msg"]), (Some(1), &json!(11), &json!("it is not")));
        }
        assert!(site.node.ip(&format!("-n {pod} -o addr show eth0")).contains("10.9.0."), "{script}");
        assert_eq!((site.node.leases("net").len(), site.lab.journals()), (1, 1), "{script}");
        site.pod("DEL", &pod, &pod, &config).silent();
        assert_eq!(site.left(), (vec![], vec![], 0), "{script}");
    }
}

#[test]
fn a_link_is_down_and_a_call_hangs_until_it_is_killed_or_its_time_is_over() {
    let site = Site::new();
    let config = breaking(&json!({ "ADD": { "after": "link-down" } }));
    let (code, _, stdout) = add(&site, "down", &config);
    assert_eq!(code, Some(0), "{stdout}");
    assert!(!site.node.ip("-n down link show eth0").contains("UP"));
    site.pod("DEL", "down", "down", &config).silent();

    let settings = std::fs::read_to_string(site.lab.settings()).unwrap();
    std::fs::write(site.lab.settings(), settings + "[budgets]\ncall = \"1s\"\nreserve = \"500ms\"\n")
        .unwrap();
    let config = breaking(&json!({ "ADD": { "after": "hang" } }));
    let _ = site.node.container("hung");
    let started = Instant::now();
    let error = site.pod("ADD", "hung", "hung", &config).error();
    assert_eq!(error.code, 11, "{error:?}");
    assert!(error.msg.contains("has made this call hang"), "{error:?}");
    assert!((Duration::from_millis(400)..Duration::from_secs(5)).contains(&started.elapsed()));
    site.pod("DEL", "hung", "hung", &config).silent();
    assert_eq!(site.left(), (vec![], vec![], 0));

    // The runtime's patience ends first.
    let call = crate::site::pod_call("ADD", "hung", "hung", &config);
    let mut running = site.lab.command(&call).spawn().unwrap();
    std::io::Write::write_all(&mut running.stdin.take().unwrap(), call.stdin.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    running.kill().unwrap();
    running.wait().unwrap();
    site.pod("DEL", "hung", "hung", &config).silent();
    assert_eq!(site.left(), (vec![], vec![], 0));
}

#[test]
fn a_del_is_broken_only_where_that_is_allowed_and_cleans_up_in_any_case() {
    let site = Site::new();
    for (may, code) in [(false, Some(0)), (true, None)] {
        let mut config = breaking(&json!({ "DEL": "signal(KILL)" }));
        config["mayFailDel"] = json!(may);
        let _ = site.node.container(&format!("p{may}"));
        let _ = site.pod("ADD", "web", &format!("p{may}"), &config).result();
        let answer = site.pod("DEL", "web", &format!("p{may}"), &config);
        assert_eq!(answer.code, code, "{answer:?}");
        assert_eq!(site.left(), (vec![], vec![], 0));
    }
}

#[test]
fn it_takes_the_grant_and_monitoring_breaks_nothing() {
    let site = Site::new();
    let mut config = breaking(&json!({ "ADD": "signal(KILL)" }));
    config["hooks"][0]["grants"] = json!(["clock", "state", "link:container"]);
    let _ = site.node.container("web");
    let error = site.pod("ADD", "web", "web", &config).error();
    assert!(error.msg.contains("imports `wasmhook:host/chaos@0.1.0`: add grant `chaos`"), "{error:?}");
    let mut config = breaking(&json!({ "ADD": "signal(KILL)" }));
    config["hooks"][0]["mode"] = json!("monitor");
    let answer = site.pod("ADD", "web", "web", &config);
    let _ = answer.result();
    assert!(answer.stderr.contains("chaos: the call dies by a signal"), "{answer:?}");
    site.pod("DEL", "web", "web", &config).silent();
    // The plain module knows no such thing.
    let mut config = breaking(&json!({ "ADD": "hang" }));
    config["hooks"][0]["module"] = json!("fault");
    let error = site.pod("ADD", "web", "web", &config).error();
    assert!(error.msg.contains("`hang` takes the module \"chaos\", and the grant \"chaos\""), "{error:?}");
}
