use crate::site::{Site, bridge, rules};
use serde_json::json;

#[test]
fn pods_reach_each_other_and_the_gateway_and_leave_nothing() {
    let site = Site::new();
    let config = bridge(&json!({ "ipMasq": true, "mtu": 1400, "hairpinMode": true }));
    let mut results = Vec::new();
    for pod in ["a", "b"] {
        let _ = site.node.container(pod);
        results.push(site.add(pod, &config));
    }
    assert_eq!(
        results[0]["ips"],
        json!([{ "address": "10.20.0.2/24", "gateway": "10.20.0.1", "interface": 2 }])
    );
    assert_eq!(results[0]["interfaces"][2]["name"], "eth0");
    assert_eq!(results[0]["interfaces"][2]["sandbox"], "/run/netns/a");
    assert!(site.node.ping("a", "10.20.0.3") && site.node.ping("b", "10.20.0.2"));
    assert!(site.node.ping("a", "10.20.0.1"));
    assert_eq!(rules().lines().count(), 2);
    for (pod, result) in ["a", "b"].iter().zip(&results) {
        site.after("CHECK", pod, &config, result).silent();
        site.after("DEL", pod, &config, result).silent();
        // As runtimes do.
        site.call("DEL", pod, &config).silent();
    }
    assert_eq!(site.left("net"), (vec!["br0".to_owned()], vec![], 0, String::new()));
    assert!(!site.inside("a", "ip -o link").contains("eth0"));
}
