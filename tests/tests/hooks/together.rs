use crate::site::{Site, around_bridge};
use serde_json::{Value, json};

/// In every order, and whatever each of them does: nothing stays.
#[test]
fn a_fault_a_policy_and_a_filter_around_one_plugin_leave_nothing_in_any_order() {
    let site = Site::new();
    let fault = |script: &str| json!({ "module": "fault", "grants": ["clock", "state"], "config": { "scripts": { "ADD": { "after": script } } } });
    let policy = |max: u32| json!({ "module": "policy", "config": { "rules": [{ "name": "r", "ips": { "allow": [format!("10.9.0.0/{max}")] } }] } });
    let jq =
        |filter: &str| json!({ "module": "jq", "config": { "pre": ".config.mtu = 1400", "post": filter } });
    let mut round = 0;
    for (script, prefix, filter, goes_well) in [
        ("off", 24, ".", true),
        ("error(11:injected)", 24, ".", false),
        // 10.9.0.2 is the first address, and not in it.
        ("off", 32, ".", false),
        ("off", 24, "error(\"no\")", false),
        ("address(10.66.6.6/24)", 24, ".result.dns //= {} | .result.dns.search = [\"x\"]", true),
    ] {
        let three = [fault(script), policy(prefix), jq(filter)];
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let hooks: Vec<Value> = order.iter().map(|it| three[*it].clone()).collect();
            let config = around_bridge(&json!(hooks));
            round += 1;
            let pod = format!("p{round}");
            let _ = site.node.container(&pod);
            let answer = site.pod("ADD", &pod, &pod, &config);
            let policy_sees_the_lie = script.starts_with("address")
                && order.iter().position(|it| *it == 0) > order.iter().position(|it| *it == 1);
            let well = goes_well && !policy_sees_the_lie;
            assert_eq!(answer.code == Some(0), well, "{script} {prefix} {filter} {order:?}: {answer:?}");
            if well {
                assert!(site.node.ip(&format!("-n {pod} link show eth0")).contains("mtu 1400"));
            } else {
                assert_eq!(site.left(), (vec![], vec![], 0), "{script} {prefix} {filter} {order:?}");
            }
            site.pod("DEL", &pod, &pod, &config).silent();
            assert_eq!(site.left(), (vec![], vec![], 0), "{script} {prefix} {filter} {order:?}");
        }
    }
}
