use crate::site::{Site, around_bridge, at_once, chained, code, pod_call};
use serde_json::{Value, json};

fn fault(config: &Value) -> Value {
    json!({ "module": "fault", "grants": ["clock", "state"], "config": config })
}

#[test]
fn the_first_so_many_and_every_so_many_are_exact_at_a_hundred_at_once() {
    let site = Site::new();
    for (script, hits) in
        [("7*error(11:x)->off", 7), ("every(10):error(11:x)", 10), ("5*off->every(5):3*error(11:x)", 3)]
    {
        let config = chained(&json!([fault(&json!({ "per": "network", "scripts": { "ADD": script } }))]));
        // Compiled before they race.
        let _ = site.lab.ctl(&["compile", "fault"]);
        let calls: Vec<_> =
            (0..100).map(|it| pod_call("ADD", &format!("p{it}"), &format!("c{it}"), &config)).collect();
        let codes: Vec<_> = at_once(&site.lab, &calls).iter().map(code).collect();
        assert_eq!(codes.iter().filter(|it| **it == 11).count(), hits, "{script}: {codes:?}");
        assert!(codes.iter().all(|it| matches!(it, 0 | 11)), "{script}: {codes:?}");
    }
}

#[test]
fn a_pod_that_wants_it_fails_twice_and_comes_up_and_its_neighbours_never_notice() {
    let site = Site::new();
    let config = around_bridge(&json!([fault(&json!({
        "scripts": { "ADD": { "after": "2*error(11:injected)->off" } },
        "optIn": { "annotation": "example.com/chaos" },
    }))]));
    let with = |annotations: &Value, container: &str| {
        let mut config = config.clone();
        config["capabilities"] = json!({ "io.kubernetes.cri.pod-annotations": true });
        config["runtimeConfig"] = json!({ "io.kubernetes.cri.pod-annotations": annotations });
        let _ = site.node.container(container);
        site.pod("ADD", &container[..1], container, &config)
    };
    let wants = json!({ "example.com/chaos": "yes" });
    // A kubelet tries again with another container.
    let codes: Vec<_> = ["a1", "a2", "a3"].iter().map(|it| code(&with(&wants, it))).collect();
    assert_eq!(codes, [11, 11, 0]);
    assert_eq!(code(&with(&json!({}), "b1")), 0);
    assert_eq!(code(&with(&Value::Null, "c1")), 0);
    assert_eq!((site.node.leases("net").len(), site.lab.journals()), (3, 3));
    for container in ["a1", "a2", "a3", "b1", "c1"] {
        site.pod("DEL", &container[..1], container, &config).silent();
    }
    assert_eq!(site.left(), (vec![], vec![], 0));
}

/// Its documented script, in its own words and as a pod's annotation: what the runtime sees at each step.
#[test]
fn the_bridge_with_failpoints_is_what_this_is_too() {
    let site = Site::new();
    let script =
        r#"{"cmdAdd":"1*error(try-again)","cmdDel":"2*error(oops)","cmdCheck":"1*off->1*panic(sorry)"}"#;
    let hook = json!({ "module": "chaos", "grants": ["chaos", "clock", "state", "link:container"],
        "config": { "podScripts": { "namespaces": ["shop"], "annotation": "example.com/script" } } });
    let mut config = around_bridge(&json!([hook]));
    config["mayFailDel"] = json!(true);
    let _ = site.node.container("web");
    let annotations = json!({ "example.com/script": script });
    let step = |verb: &str, config: &Value| {
        let answer = site.annotated(verb, "web", &annotations, config);
        match answer.code {
            Some(0) => "done".to_owned(),
            Some(1) => format!("{} {}", answer.error().code, answer.error().msg),
            // A Go program that panics, as libcni sees it.
            code => format!("exit {code:?} {:?}", answer.stdout),
        }
    };
    assert_eq!(step("ADD", &config), "999 try-again");
    let answer = site.annotated("ADD", "web", &annotations, &config);
    let mut later = config.clone();
    later["prevResult"] = answer.result();
    let said: Vec<_> =
        ["CHECK", "CHECK", "CHECK", "DEL", "DEL", "DEL"].iter().map(|verb| step(verb, &later)).collect();
    assert_eq!(said, ["done", "exit Some(2) \"\"", "done", "999 oops", "999 oops", "done"]);
    // Its script is its own.
    let _ = site.node.container("db");
    let _ = site.annotated("ADD", "db", &json!({}), &config).result();
    site.annotated("DEL", "db", &json!({}), &config).silent();
    assert_eq!(site.left(), (vec![], vec![], 0));
}

#[test]
fn it_is_over_when_its_time_is_and_when_somebody_says_so() {
    let site = Site::new();
    let at = |window: &Value| {
        let mut config = json!({ "scripts": { "ADD": "error(11:x)" } });
        config.as_object_mut().unwrap().extend(window.as_object().unwrap().clone());
        code(&site.pod("ADD", "web", "c1", &chained(&json!([fault(&config)]))))
    };
    let running = json!({ "notAfter": "2100-01-01T00:00:00Z" });
    assert_eq!(at(&running), 11);
    assert_eq!(at(&json!({ "notAfter": "2020-01-01T00:00:00Z" })), 0);
    assert_eq!(at(&json!({ "notBefore": "2100-01-01T00:00:00Z" })), 0);

    let off = site.lab.ctl(&["faults", "off"]);
    assert_eq!(off.code, Some(0), "{off:?}");
    assert!(off.stdout.starts_with("faults are OFF on this node"), "{off:?}");
    assert_eq!(at(&running), 0);
    // Whatever else is wrong with it.
    assert_eq!(at(&json!({ "seed": "none" })), 0);
    assert_eq!(site.lab.ctl(&["faults", "on"]).code, Some(0));
    assert_eq!(at(&running), 11);
    // By hand.
    std::fs::write(site.lab.state().join("faults-off"), "").unwrap();
    assert_eq!(at(&running), 0);
}

#[test]
fn a_person_sees_what_breaks_things_and_whom_it_is_at() {
    let site = Site::new();
    let config =
        json!({ "scripts": { "ADD": "error(11:x)" }, "maxActive": 1, "notAfter": "2100-01-01T00:00:00Z" });
    let entry = chained(&json!([{ "module": "identity" }, fault(&config)]));
    let conflist = json!({ "cniVersion": "1.0.0", "name": "net", "plugins": [entry] });
    let net_d = site.lab.path().join("net.d");
    std::fs::create_dir(&net_d).unwrap();
    std::fs::write(net_d.join("10-net.conflist"), conflist.to_string()).unwrap();
    std::fs::write(net_d.join("20-broken.conflist"), "{").unwrap();
    assert_eq!(code(&site.pod("ADD", "web", "c1", &entry)), 11);
    // No more than one at once.
    assert_eq!(code(&site.pod("ADD", "db", "c2", &entry)), 0);
    let list = site.lab.ctl(&["faults", "list", "--conflists", net_d.to_str().unwrap()]);
    assert_eq!(list.code, Some(0), "{list:?}");
    for line in [
        "faults are on, as the conflists say",
        "10-net.conflist  plugins[0].hooks[1]  fault   -           2100-01-01T00:00:00Z",
        "  shop/web (pod/uid-of-web)",
    ] {
        assert!(list.stdout.contains(line), "{line}: {list:?}");
    }
    assert!(list.stdout.lines().all(|line| line.chars().count() <= 80), "{list:?}");
    let _ = site.lab.ctl(&["faults", "off"]);
    let list = site.lab.ctl(&["faults", "list", "-o", "json", "--conflists", net_d.to_str().unwrap()]);
    let report: Value = serde_json::from_str(&list.stdout).unwrap();
    assert_eq!(
        (list.code, &report["off"], &report["hooks"][0]["module"]),
        (Some(1), &json!(true), &json!("fault"))
    );
}

#[test]
fn a_wrong_result_is_well_formed_and_a_delay_takes_its_time() {
    let site = Site::new();
    let after = |script: &str| {
        let config = chained(&json!([fault(&json!({ "scripts": { "ADD": { "after": script } } }))]));
        site.pod("ADD", "web", "c1", &config).result()
    };
    assert_eq!(after("address(10.66.6.6/24)")["ips"][0]["address"], "10.66.6.6/24");
    assert_eq!(after("no-ips")["ips"], json!([]));
    assert_eq!(after("no-interface")["interfaces"], json!([]));
    let started = std::time::Instant::now();
    let _ = after("delay(150ms-200ms)");
    assert!(started.elapsed() >= std::time::Duration::from_millis(150));

    // Reported done, and not done.
    let config = around_bridge(&json!([fault(&json!({ "scripts": { "ADD": "lie" } }))]));
    let _ = site.node.container("web");
    let result = site.pod("ADD", "web", "web", &config).result();
    assert_eq!(result["ips"][0]["address"], "192.0.2.2/24");
    assert_eq!(site.node.links(), Vec::<String>::new());
    site.pod("DEL", "web", "web", &config).silent();
    assert_eq!(site.left(), (vec![], vec![], 0));
}
