use super::*;
use serde_json::{Value, json};

fn request(container: &str, pod: &str, annotation: Option<&str>) -> Request {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let annotations = annotation.map_or(json!({}), |it| json!({ "wasmhook.dev/ip": it }));
    Request {
        verb: "ADD".into(),
        cni_version: "1.0.0".into(),
        network: "net".into(),
        plugin: "bridge".into(),
        container_id: container.into(),
        ifname: "eth0".into(),
        args: [pair("K8S_POD_NAMESPACE", "shop"), pair("K8S_POD_NAME", pod)].into_iter().collect(),
        config: json!({ "type": "bridge", "ipam": { "type": "host-local" } }).to_string(),
        extra: json!({ "runtimeConfig": { "io.kubernetes.cri.pod-annotations": annotations } }).to_string(),
        hook_config: settings().to_string(),
        ..Request::default()
    }
}

fn settings() -> Value {
    json!({ "keep": "1h", "pools": [
        { "subnet": "10.1.2.0/24", "from": "10.1.2.200", "to": "10.1.2.250" },
        { "subnet": "fd00::/64", "namespaces": ["shop*"] },
        { "subnet": "10.9.0.0/16", "namespaces": ["test"] },
    ] })
}

/// What is asked for, or why not.
fn add(request: &Request) -> String {
    match StaticIp::pre(request).unwrap() {
        Pre::Rewrite(config) => config.raw("runtimeConfig").unwrap().get().to_owned(),
        Pre::Deny(error) => error.msg,
        _ => "whatever".into(),
    }
}

fn given(request: &Request, addresses: &[&str]) -> Post {
    let ips: Vec<_> = addresses.iter().map(|it| json!({ "address": it })).collect();
    let result = serde_json::from_value(json!({ "cniVersion": "1.0.0", "ips": ips })).unwrap();
    let asked = Request { carry: r#"["10.1.2.201"]"#.into(), ..request.clone() };
    StaticIp::post(&asked, Outcome::success(&result).unwrap()).unwrap()
}

#[test]
fn a_pod_gets_what_it_asks_for() {
    assert_eq!(add(&request("a", "web-0", Some("10.1.2.201"))), r#"{"ips":["10.1.2.201"]}"#);
    assert_eq!(
        add(&request("b", "web-1", Some("10.1.2.202/24, fd00::5"))),
        r#"{"ips":["10.1.2.202","fd00::5"]}"#
    );
    assert_eq!(add(&request("c", "web-2", None)), "whatever");
    let unknown = Request { args: [].into_iter().collect(), ..request("d", "x", Some("10.1.2.203")) };
    assert_eq!(add(&unknown), "whatever");
}

#[test]
fn static_gets_them_as_its_own() {
    let config = json!({ "ipam": { "type": "static" } }).to_string();
    let Pre::Rewrite(config) =
        StaticIp::pre(&Request { config, ..request("a", "web-0", Some("10.1.2.201")) }).unwrap()
    else {
        panic!("not rewritten")
    };
    assert_eq!(
        config.raw("ipam").unwrap().get(),
        r#"{"type":"static","addresses":[{"address":"10.1.2.201/24"}]}"#
    );
}

#[test]
fn what_cannot_be_had_is_refused_in_words() {
    for (asked, said) in [
        (
            "10.1.2.9",
            "pod shop/web-0: 10.1.2.9 is in no pool of its namespace; there are: 10.1.2.200-10.1.2.250 of 10.1.2.0/24, fd00::/64",
        ),
        ("10.9.0.1", "pod shop/web-0: 10.9.0.1 is in no pool of its namespace"),
        (
            "ten",
            "pod shop/web-0: annotation wasmhook.dev/ip: \"ten\" is no address; write one such as 10.1.2.3",
        ),
        ("", "pod shop/web-0: annotation wasmhook.dev/ip: it is empty"),
        (
            "10.1.2.201,10.1.2.202",
            "pod shop/web-0: annotation wasmhook.dev/ip: \"10.1.2.201,10.1.2.202\": one address for each family",
        ),
    ] {
        let is = add(&request("a", "web-0", Some(asked)));
        assert!(is.starts_with(said), "{is}");
    }
    let config = json!({ "type": "bridge" }).to_string();
    let without = Request { config, ..request("a", "web-0", Some("10.1.2.201")) };
    assert!(StaticIp::pre(&without).unwrap_err().to_string().starts_with("the plugin has no `ipam`"));
}

#[test]
fn two_pods_do_not_have_one_address_and_whoever_goes_gives_it_back() {
    let a = request("a", "web-0", Some("10.1.2.201"));
    assert_eq!(add(&a), r#"{"ips":["10.1.2.201"]}"#);
    assert_eq!(add(&a), r#"{"ips":["10.1.2.201"]}"#);
    let b = request("b", "db-0", Some("10.1.2.201"));
    assert_eq!(add(&b), "pod shop/db-0: pod shop/web-0 has 10.1.2.201; ask for another one");
    let two = request("b", "db-0", Some("fd00::7,10.1.2.201"));
    assert_ne!(add(&two), "");
    assert_eq!(add(&request("c", "c", Some("fd00::7"))), r#"{"ips":["fd00::7"]}"#);
    // A restart: the new container comes before the old one has gone.
    assert_eq!(add(&request("a2", "web-0", Some("10.1.2.201"))), r#"{"ips":["10.1.2.201"]}"#);
    StaticIp::pre(&Request { verb: "DEL".into(), ..a }).unwrap();
    assert_ne!(add(&b), r#"{"ips":["10.1.2.201"]}"#);
    StaticIp::pre(&Request { verb: "DEL".into(), args: [].into_iter().collect(), ..request("a2", "", None) })
        .unwrap();
    assert_eq!(add(&b), r#"{"ips":["10.1.2.201"]}"#);
}

#[test]
fn an_address_is_kept_for_its_pod_and_for_nobody_else() {
    let a = request("a", "web-0", None);
    assert_eq!(add(&a), "whatever");
    let result =
        serde_json::from_value(json!({ "cniVersion": "1.0.0", "ips": [{ "address": "10.1.2.210/24" }] }))
            .unwrap();
    StaticIp::post(&a, Outcome::success(&result).unwrap()).unwrap();
    StaticIp::pre(&Request { verb: "DEL".into(), ..a }).unwrap();
    let other = add(&request("b", "db-0", Some("10.1.2.210")));
    assert_eq!(other, "pod shop/db-0: 10.1.2.210 is kept for pod shop/web-0 (`keep`); ask for another one");
    assert_eq!(add(&request("a2", "web-0", None)), r#"{"ips":["10.1.2.210"]}"#);
    // Not if the operator does not want that any more.
    let hook_config = json!({ "pools": [{ "subnet": "10.7.0.0/16" }], "keep": "1h" }).to_string();
    assert_eq!(add(&Request { hook_config, ..request("a3", "web-0", None) }), "whatever");
}

#[test]
fn an_ipam_that_takes_no_requests_is_found_out() {
    let a = request("a", "web-0", Some("10.1.2.201"));
    assert!(matches!(given(&a, &["10.1.2.201/24"]), Post::Keep));
    let Post::Fail(error) = given(&a, &["10.1.2.5/24"]) else { panic!("kept") };
    assert_eq!(
        error.msg,
        "10.1.2.201 was asked for, and bridge has given 10.1.2.5: its IPAM takes no requests"
    );
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (settings, said) in [
        (json!({ "pools": [] }), "`config.pools` is empty"),
        (
            json!({ "pools": [{ "subnet": "10.1.2.0/24", "from": "10.1.3.1" }] }),
            "`config.pools[0].from`: 10.1.3.1 is not in 10.1.2.0/24",
        ),
        (
            json!({ "pools": [{ "subnet": "10.1.2.0/24", "from": "10.1.2.9", "to": "10.1.2.8" }] }),
            "`config.pools[0]`: from 10.1.2.9 to 10.1.2.8 is nothing",
        ),
        (
            json!({ "pools": [{ "subnet": "10.1.2.0/24" }], "keep": "long" }),
            "`config.keep`: \"long\": write a time such as",
        ),
        (json!({ "pools": [{ "subnet": "10.1.2" }] }), "is no address with a prefix"),
    ] {
        let told = StaticIp::validate(&Request { hook_config: settings.to_string(), ..Request::default() })
            .unwrap_err()
            .to_string();
        assert!(told.contains(said), "{told}");
    }
}
