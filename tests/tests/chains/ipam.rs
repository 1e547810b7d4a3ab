//! As the IPAM of a plugin that knows nothing of us, with and without us around it.

use crate::{Site, around};
use serde_json::{Value, json};
use wasmhook_tests::{GO_ON, Pod, component, deny, overwriting, verdict};

fn bridge(ipam: &Value) -> Value {
    json!({ "type": "bridge", "bridge": "br0", "isGateway": true, "ipam": ipam })
}

fn ipam(hook: &str) -> Value {
    json!({ "type": "wasmhook", "hooks": [{ "module": hook }], "delegate": { "type": "host-local", "subnet": "10.9.0.0/24" } })
}

fn address(result: &Value) -> &str {
    result["ips"][0]["address"].as_str().unwrap()
}

/// What the container really has.
fn has(site: &Site, pod: &Pod, address: &str) -> bool {
    site.node.ip(&format!("-n {} -o -4 addr show eth0", pod.id)).contains(&format!(" {address} "))
}

#[test]
fn a_hook_gives_the_pool() {
    let site = Site::new();
    site.lab.install("pool", &overwriting("pre", r#""subnet":""#, "10.8.0.0/24"));
    site.fakes.listen_to("host-local");
    let chain = site.chain("net", vec![bridge(&ipam("pool"))]);
    let pod = site.pod("pool");
    let result = chain.add(&pod).unwrap();
    assert_eq!(address(&result), "10.8.0.2/24");
    assert!(has(&site, &pod, "10.8.0.2/24"));
    assert_eq!(site.node.leases("net"), ["10.8.0.2"]);
    chain.check(&pod, &result).unwrap();
    chain.del(&pod, Some(&result)).unwrap();
    for verb in ["ADD", "CHECK", "DEL"] {
        let told = site.fakes.told("host-local", verb);
        assert_eq!(told["ipam"], json!({ "type": "host-local", "subnet": "10.8.0.0/24" }), "{verb}");
        assert_eq!((&told["type"], &told["bridge"]), (&json!("bridge"), &json!("br0")), "{verb}");
    }
    assert_eq!(site.left(), [""; 0]);
}

/// bridge configures what it is told; what it was told is true for it, and what host-local gave is freed.
#[test]
fn a_hook_gives_another_address_than_host_local() {
    let site = Site::new();
    let chain = site.chain("net", vec![bridge(&ipam("address"))]);
    let pod = site.pod("other");
    let result = chain.add(&pod).unwrap();
    assert_eq!(address(&result), "10.9.0.7/24");
    assert!(has(&site, &pod, "10.9.0.7/24"));
    assert_eq!(site.node.leases("net"), ["10.9.0.2"]);
    chain.check(&pod, &result).unwrap();
    chain.del(&pod, Some(&result)).unwrap();
    assert_eq!(site.left(), [""; 0]);
}

#[test]
fn a_hook_answers_by_itself() {
    let site = Site::new();
    let (data, body) = verdict(2, r#"{"ips":[{"address":"10.7.0.5/24","gateway":"10.7.0.1"}]}"#);
    site.lab.install("answer", &component(&data, body, GO_ON));
    let chain =
        site.chain("net", vec![bridge(&json!({ "type": "wasmhook", "hooks": [{ "module": "answer" }] }))]);
    let pod = site.pod("answer");
    let result = chain.add(&pod).unwrap();
    assert_eq!(address(&result), "10.7.0.5/24");
    assert!(has(&site, &pod, "10.7.0.5/24"));
    chain.check(&pod, &result).unwrap();
    chain.del(&pod, Some(&result)).unwrap();
    assert_eq!(site.left(), [""; 0]);
}

/// In place of a delegate, which is neither asked for its address nor to check it or to take it back.
#[test]
fn a_hook_answers_in_host_locals_place() {
    let site = Site::new();
    let (data, body) = verdict(2, r#"{"ips":[{"address":"10.7.0.5/24"}]}"#);
    site.lab.install("answer", &component(&data, body, GO_ON));
    site.fakes.listen_to("host-local");
    let chain = site.chain("net", vec![bridge(&ipam("answer"))]);
    let pod = site.pod("answer");
    let result = chain.add(&pod).unwrap();
    assert_eq!(address(&result), "10.7.0.5/24");
    chain.check(&pod, &result).unwrap();
    chain.del(&pod, Some(&result)).unwrap();
    assert_eq!(site.fakes.calls(), [""; 0]);
    assert_eq!(site.left(), [""; 0]);
}

#[test]
fn a_hook_denies_an_address() {
    let site = Site::new();
    let (data, body) = deny(77, "no address for you");
    site.lab.install("no", &component(&data, body, GO_ON));
    let chain = site.chain("net", vec![bridge(&ipam("no"))]);
    let pod = site.pod("denied");
    // In bridge's words, which have no version.
    let answer = chain.add(&pod).unwrap_err().answer;
    let error: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(error, json!({ "code": 77, "msg": "no address for you" }));
    assert_eq!((site.node.leases("net"), site.lab.journals()), (vec![], 0));
    // bridge leaves its links behind; the runtime's DEL takes them.
    chain.del(&pod, None).unwrap();
    assert_eq!(site.left(), [""; 0]);
}

#[test]
fn around_bridge_and_as_its_ipam() {
    let site = Site::new();
    site.lab.install("pool", &overwriting("pre", r#""subnet":""#, "10.9.1.0/24"));
    let (data, body) = deny(77, "no address for you");
    site.lab.install("no", &component(&data, body, GO_ON));
    site.fakes.listen_to("bridge");

    let chain = site.chain("net", vec![around(&bridge(&ipam("pool")), "address")]);
    let pod = site.pod("both");
    let result = chain.add(&pod).unwrap();
    // What is said around bridge is a word, what is said to it as IPAM is done.
    assert_eq!(address(&result), "10.9.0.7/24");
    assert!(has(&site, &pod, "10.9.1.2/24"));
    assert_eq!((site.node.leases("net"), site.lab.journals()), (vec!["10.9.1.2".to_owned()], 2));
    chain.check(&pod, &result).unwrap();
    chain.del(&pod, Some(&result)).unwrap();
    assert_eq!(address(&site.fakes.told("bridge", "DEL")["prevResult"]), "10.9.1.2/24");
    assert_eq!(site.left(), [""; 0]);

    let chain = site.chain("net", vec![around(&bridge(&ipam("no")), "address")]);
    let pod = site.pod("neither");
    let error = chain.add(&pod).unwrap_err().answer.error();
    assert_eq!((error.code, error.msg.as_str()), (77, "no address for you"));
    // With us around it nothing is left behind.
    assert_eq!(site.left(), [""; 0]);
    assert_eq!(site.node.ip(&format!("-n {} -o link show", pod.id)).lines().count(), 1);
}

/// The operator's work between ADD and DEL, inside and outside.
#[test]
fn the_lease_goes_when_our_block_is_broken() {
    let site = Site::new();
    for (number, broken) in [
        json!({ "type": "wasmhook", "hooks": [{ "modul": "x" }], "delegate": { "type": "host-local" } }),
        json!({ "type": "wasmhook", "hooks": 7 }),
        json!({ "type": "wasmhook" }),
    ]
    .into_iter()
    .enumerate()
    {
        let mut chain = site.chain("net", vec![bridge(&ipam("identity"))]);
        let pod = site.pod(&format!("p{number}"));
        let result = chain.add(&pod).unwrap();
        assert_eq!(site.node.leases("net").len(), 1);
        chain.plugins = vec![bridge(&broken)];
        chain.del(&pod, Some(&result)).unwrap_or_else(|stopped| panic!("{broken}: {stopped:?}"));
        assert_eq!(site.left(), [""; 0], "{broken}");
    }
}
