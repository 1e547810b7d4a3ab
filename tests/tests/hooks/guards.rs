use crate::site::{Site, around_bridge, at_once, chained, code, pod_call};
use serde_json::{Value, json};

#[test]
fn a_quota_is_exact_at_a_hundred_at_once_and_whoever_goes_makes_room() {
    let site = Site::new();
    let quota = json!({ "name": "ten", "per": "namespace", "most": 10 });
    let config =
        chained(&json!([{ "module": "quota", "grants": ["state:node"], "config": { "quotas": [quota] } }]));
    let _ = site.lab.ctl(&["compile", "quota"]);
    let calls: Vec<_> =
        (0..100).map(|it| pod_call("ADD", &format!("p{it}"), &format!("c{it}"), &config)).collect();
    let answers = at_once(&site.lab, &calls);
    let let_in: Vec<_> = (0..100).filter(|it| code(&answers[*it]) == 0).collect();
    assert_eq!(let_in.len(), 10, "{:?}", answers.iter().map(code).collect::<Vec<_>>());
    let refused = answers.iter().find(|it| it.code == Some(1)).unwrap().error();
    assert_eq!(
        (refused.code, refused.msg.as_str()),
        (100, "quota \"ten\": namespace shop has its 10 attachments on this node already")
    );
    site.pod("DEL", "x", &format!("c{}", let_in[0]), &config).silent();
    assert_eq!(code(&site.pod("ADD", "late", "late", &config)), 0);
    assert_eq!(code(&site.pod("ADD", "later", "later", &config)), 100);
}

#[test]
fn a_pod_has_the_address_it_asks_for_and_comes_back_to_it() {
    let site = Site::new();
    let hook = json!({ "module": "static-ip", "grants": ["carry", "state:network"],
        "config": { "keep": "1h", "pools": [{ "subnet": "10.9.0.0/24", "from": "10.9.0.100" }] } });
    let config = around_bridge(&json!([hook]));
    let add = |pod: &str, container: &str, annotations: &Value| {
        let _ = site.node.container(container);
        let mut config = config.clone();
        config["capabilities"] = json!({ "io.kubernetes.cri.pod-annotations": true });
        config["runtimeConfig"] = json!({ "io.kubernetes.cri.pod-annotations": annotations });
        site.pod("ADD", pod, container, &config)
    };
    let address =
        |answer: &wasmhook_tests::Answer| answer.result()["ips"][0]["address"].as_str().unwrap().to_owned();
    let asks = json!({ "wasmhook.dev/ip": "10.9.0.150" });
    assert_eq!(address(&add("web-0", "a", &asks)), "10.9.0.150/24");
    let error = add("web-1", "b", &asks).error();
    assert_eq!(error.msg, "pod shop/web-1: pod shop/web-0 has 10.9.0.150; ask for another one");
    assert!(
        add("web-2", "c", &json!({ "wasmhook.dev/ip": "10.9.0.9" })).error().msg.contains("is in no pool")
    );
    site.pod("DEL", "web-0", "a", &config).silent();
    // It comes back without asking, in another container; nobody else has got it meanwhile.
    let error = add("web-1", "d", &asks).error();
    assert!(error.msg.contains("is kept for pod shop/web-0"), "{error:?}");
    assert_eq!(address(&add("web-0", "e", &json!({}))), "10.9.0.150/24");
    for container in ["b", "c", "d", "e"] {
        site.pod("DEL", "x", container, &config).silent();
    }
    assert_eq!(site.left(), (vec![], vec![], 0));
}

#[test]
fn an_add_waits_for_what_another_daemon_is_to_make() {
    let site = Site::new();
    let grants = json!(["clock", "file:/run/daemon/*", "link:host"]);
    let hook = |timeout: &str| {
        json!({ "module": "wait", "grants": grants, "config": { "timeout": timeout,
            "for": [{ "file": "/run/daemon/ready" }, { "link": "daemon0", "up": true }] } })
    };
    let config = around_bridge(&json!([hook("200ms")]));
    let _ = site.node.container("a");
    let error = site.pod("ADD", "a", "a", &config).error();
    assert!(
        error.code == 11 && error.msg.starts_with("file /run/daemon/ready is not there after "),
        "{error:?}"
    );
    let _ = site.lab.ctl(&["compile", "wait"]);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            // A thread begins in its parent's namespaces.
            site.pod("ADD", "a", "a", &around_bridge(&json!([hook("5s")])))
        });
        std::thread::sleep(std::time::Duration::from_millis(150));
        std::fs::create_dir_all("/run/daemon").unwrap();
        std::fs::write("/run/daemon/ready", "").unwrap();
        site.node.ip("link add daemon0 type bridge");
        site.node.ip("link set daemon0 up");
        let answer = running.join().unwrap();
        let _ = answer.result();
        assert!(answer.stderr.contains("waited for "), "{answer:?}");
    });
    site.pod("DEL", "a", "a", &config).silent();
    // No further than the grant reaches.
    let mut config = around_bridge(&json!([hook("200ms")]));
    config["hooks"][0]["grants"] = json!(["clock", "file:/run/flannel/*", "link:host"]);
    let error = site.pod("ADD", "a", "a", &config).error();
    assert!(error.msg.contains("needs the grant `file:/run/daemon/ready`"), "{error:?}");
}

#[test]
fn what_a_pod_asks_for_is_judged_before_the_plugin_and_what_it_has_got_after() {
    let site = Site::new();
    let rules = json!([
        { "name": "no-low-ports", "hostPorts": { "allow": ["30000-32767"] } },
        { "name": "addresses", "ips": { "allow": ["10.8.0.0/16"] } },
    ]);
    let mut config = around_bridge(&json!([{ "module": "policy", "config": { "rules": rules } }]));
    let _ = site.node.container("web");
    let error = site.pod("ADD", "web", "web", &config).error();
    assert_eq!(
        error.msg,
        "pod shop/web may not join network net: rule \"addresses\": address 10.9.0.2: it is not in 10.8.0.0/16"
    );
    assert_eq!(site.left(), (vec![], vec![], 0));
    config["capabilities"] = json!({ "portMappings": true });
    config["runtimeConfig"] =
        json!({ "portMappings": [{ "hostPort": 80, "containerPort": 80, "protocol": "tcp" }] });
    let error = site.pod("ADD", "web", "web", &config).error();
    assert_eq!(
        error.msg,
        "pod shop/web may not join network net: rule \"no-low-ports\": host port 80/tcp: it is not in 30000-32767"
    );
    // First only look.
    config["hooks"][0]["mode"] = json!("monitor");
    let answer = site.pod("ADD", "web", "web", &config);
    let _ = answer.result();
    assert!(answer.stderr.contains("monitor: would have said"), "{answer:?}");
    site.pod("DEL", "web", "web", &config).silent();
}
