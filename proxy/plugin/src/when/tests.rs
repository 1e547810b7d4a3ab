use super::*;
use crate::problem::Problems;
use serde_json::json;

fn read(when: &Value) -> (When, Vec<String>) {
    let hook: Object = json!({ "when": when }).to_string().parse().unwrap();
    let mut problems = Problems::default();
    let when = When::read(&hook, "hooks[0]", &mut problems);
    (when, problems.0.iter().map(ToString::to_string).collect())
}

struct Call {
    args: Args,
    entry: Object,
    config: Object,
}

fn call(uid: &str) -> Call {
    let entry = json!({ "runtimeConfig": {
        "io.kubernetes.cri.pod-annotations": { "chaos": "yes", "tier": "db" },
        "portMappings": [{ "hostPort": 8080 }],
    } });
    let config = json!({ "type": "bridge", "mtu": 1500, "ipam": { "type": "host-local" }, "a/b": true });
    Call {
        args: Args::parse(&format!("K8S_POD_NAMESPACE=shop-a;K8S_POD_NAME=web-0;K8S_POD_UID={uid}")).unwrap(),
        entry: entry.to_string().parse().unwrap(),
        config: config.to_string().parse().unwrap(),
    }
}

impl Call {
    fn facts(&self) -> Facts<'_> {
        Facts {
            verb: Verb::Add,
            phase: Some("pre"),
            plugin: Some("bridge"),
            network: "net",
            container_id: "c1",
            ifname: "eth0",
            args: &self.args,
            entry: &self.entry,
            config: Some(&self.config),
            runtime_config: OnceCell::new(),
        }
    }
}

#[test]
fn every_condition_is_met_or_not() {
    let call = call("u1");
    let facts = call.facts();
    for (when, holds) in [
        (json!({}), true),
        (json!({ "verbs": ["ADD", "DEL"] }), true),
        (json!({ "verbs": "!ADD" }), false),
        (json!({ "phase": "post" }), false),
        (json!({ "plugin": ["ptp", "brid?e"] }), true),
        (json!({ "network": "other" }), false),
        (json!({ "ifname": "eth*" }), true),
        (json!({ "podNamespace": "shop-*", "podName": "web-*", "podUid": "u1" }), true),
        (json!({ "podNamespace": ["shop-*", "!shop-a"] }), false),
        (json!({ "annotations": { "chaos": "yes" } }), true),
        (json!({ "annotations": { "chaos": "*", "tier": ["web", "db"] } }), true),
        (json!({ "annotations": { "other": null } }), true),
        (json!({ "annotations": { "chaos": null } }), false),
        (json!({ "annotations": { "other": "*" } }), false),
        (json!({ "annotations": { "other": "!yes" } }), true),
        (json!({ "config": { "/mtu": 1500, "/ipam/type": "host-*" } }), true),
        (json!({ "config": { "/mtu": 1400 } }), false),
        (json!({ "config": { "/mtu": "15*" } }), true),
        (json!({ "config": { "/a~1b": true, "/bridge": null } }), true),
        (json!({ "config": { "/runtimeConfig/portMappings/0/hostPort": 8080 } }), true),
        (json!({ "config": { "/runtimeConfig/portMappings": "*" } }), true),
        (json!({ "config": { "/runtimeConfig/bandwidth": "*" } }), false),
        (json!({ "percent": 0 }), false),
        (json!({ "percent": 100 }), true),
    ] {
        let (read, problems) = read(&when);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(read.holds("h", &facts), holds, "{when}");
        assert_eq!(read.unmet("h", &facts).is_empty(), holds, "{when}");
    }
}

#[test]
fn what_is_not_met_is_told_with_what_is_instead() {
    let call = call("u1");
    let told = |when: &Value| read(when).0.unmet("h", &call.facts());
    assert_eq!(
        told(&json!({ "podNamespace": "prod", "annotations": { "x": "yes" }, "config": { "/mtu": 9000 } })),
        [
            r#"`podNamespace` is "shop-a", and wanted is "prod""#,
            r#"annotation `x` is not there, and wanted is "yes""#,
            "`config` /mtu is 1500, and wanted is 9000",
        ]
    );
    let sampled = told(&json!({ "percent": 0 }));
    assert!(sampled[0].starts_with("this pod draws "), "{sampled:?}");
    assert!(sampled[0].ends_with("and less than 0 (per pod, seed 0) are wanted"), "{sampled:?}");
}

#[test]
fn what_could_still_be_met_is_not_ruled_out() {
    let call = call("u1");
    let facts = Facts { phase: None, plugin: None, config: None, ..call.facts() };
    let (when, _) = read(&json!({ "phase": "post", "plugin": "ptp", "config": { "/mtu": 9000 } }));
    assert!(when.holds("h", &facts));
    let (when, _) = read(&json!({ "config": { "/runtimeConfig/bandwidth": "*" } }));
    assert!(!when.holds("h", &facts));
}

#[test]
fn where_nobody_says_which_pod_it_is_only_exclusions_hold() {
    let call = call("");
    let facts =
        Facts { verb: Verb::Gc, container_id: "", ifname: "", args: &Args::default(), ..call.facts() };
    for (when, holds) in [
        (json!({ "podName": "*" }), false),
        (json!({ "podName": "!x" }), true),
        (json!({ "ifname": "*" }), false),
    ] {
        assert_eq!(read(&when).0.holds("h", &facts), holds, "{when}");
    }
}

#[test]
fn a_percentage_is_met_and_the_same_pods_are_drawn_again() {
    let drawn = |seed: u64, per: &str| -> Vec<u32> {
        let (when, _) = read(&json!({ "percent": 5, "seed": seed, "per": per }));
        (0..10_000).filter(|number| when.holds("h", &call(&format!("u{number}")).facts())).collect()
    };
    let once = drawn(7, "pod");
    // Three standard deviations of 10,000 draws at 5 % are 65.
    assert!((435..=565).contains(&once.len()), "{}", once.len());
    assert_eq!(once, drawn(7, "pod"));
    assert_ne!(once, drawn(8, "pod"));
    let of_a_network = drawn(7, "network").len();
    assert!(of_a_network == 0 || of_a_network == 10_000);
    let (when, _) = read(&json!({ "percent": 50 }));
    let call = call("u1");
    let retried = Facts { container_id: "c2", ..call.facts() };
    assert_eq!(when.holds("h", &call.facts()), when.holds("h", &retried));
}

#[test]
fn an_add_that_is_excluded_does_not_make_a_node_unready() {
    for (when, excludes) in [
        (json!({}), false),
        (json!({ "verbs": ["ADD", "DEL"], "phase": "post" }), false),
        (json!({ "verbs": "DEL" }), true),
        (json!({ "podNamespace": "shop-*" }), true),
    ] {
        assert_eq!(read(&when).0.excludes_an_add(), excludes, "{when}");
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    let (_, problems) = read(&json!({
        "verbs": ["ADD", "DELETE"], "phase": "before", "podname": "x", "plugin": [], "network": 7, "percent": 101, "per": "node",
        "annotations": { "a": "" }, "config": { "mtu": 1 },
    }));
    assert_eq!(
        problems,
        [
            "`hooks[0].when.podname`: unknown key; known here: verbs, phase, plugin, network, ifname, podNamespace, podName, podUid, annotations, config, percent, per, seed",
            "`hooks[0].when.plugin`: an empty list fits nothing: write a pattern, or leave it out",
            "`hooks[0].when.network`: 7: write a pattern, such as \"shop-*\", or a list of patterns",
            "`hooks[0].when.annotations.a`: \"\": write a pattern, such as \"shop-*\" or \"!kube-system\"",
            "`hooks[0].when.config.mtu`: write a JSON pointer, such as \"/mtu\" or \"/runtimeConfig/portMappings\"",
            "`hooks[0].when.per`: \"node\": write \"pod\", \"attachment\" or \"network\"",
            "`hooks[0].when.percent`: 101: write 0 to 100",
            "`hooks[0].when.verbs`: \"DELETE\" fits none of ADD, CHECK, DEL, GC, STATUS",
            "`hooks[0].when.phase`: \"before\" fits none of pre, post",
        ]
    );
    assert_eq!(read(&json!({ "seed": 1 })).1, ["`hooks[0].when.seed`: means nothing without `percent`"]);
}
