use super::*;
use serde_json::{Value, json};

fn request(container: &str, namespace: &str, quotas: &Value) -> Request {
    Request {
        verb: "ADD".into(),
        network: "net".into(),
        container_id: container.into(),
        ifname: "eth0".into(),
        args: [("K8S_POD_NAMESPACE".to_owned(), namespace.to_owned())].into_iter().collect(),
        config: "{}".into(),
        hook_config: json!({ "quotas": quotas }).to_string(),
        ..Request::default()
    }
}

fn add(request: &Request) -> String {
    match Guard::pre(request).unwrap() {
        Pre::Deny(error) => error.msg,
        _ => String::new(),
    }
}

fn del(request: &Request) {
    let verb = "DEL".into();
    // It does not say which pod it was.
    Guard::pre(&Request { verb, args: [].into_iter().collect(), ..request.clone() }).unwrap();
}

#[test]
fn there_are_so_many_and_no_more_and_whoever_goes_makes_room() {
    let quotas = json!([{ "name": "two", "per": "namespace", "most": 2 }]);
    let at = |container: &str, namespace: &str| request(container, namespace, &quotas);
    assert_eq!(add(&at("a", "shop")), "");
    assert_eq!(add(&at("b", "shop")), "");
    // Once is once, however often.
    assert_eq!(add(&at("a", "shop")), "");
    assert_eq!(
        add(&at("c", "shop")),
        "quota \"two\": namespace shop has its 2 attachments on this node already"
    );
    assert_eq!(add(&at("c", "test")), "");
    del(&at("a", "shop"));
    del(&at("a", "shop"));
    assert_eq!(add(&at("d", "shop")), "");
    assert_ne!(add(&at("e", "shop")), "");
}

#[test]
fn one_quota_that_is_full_takes_nothing_of_the_others() {
    let quotas = json!([
        { "name": "node", "per": "node", "most": 2 },
        { "name": "shop", "per": "namespace", "podNamespaces": ["shop"], "most": 1 },
    ]);
    assert_eq!(add(&request("a", "shop", &quotas)), "");
    assert_ne!(add(&request("b", "shop", &quotas)), "");
    assert_eq!(add(&request("c", "test", &quotas)), "");
    assert_eq!(
        add(&request("d", "test", &quotas)),
        "quota \"node\": everybody together has its 2 attachments on this node already"
    );
}

#[test]
fn addresses_are_counted_when_they_are_there_and_a_failure_has_none() {
    let quotas = json!([{ "name": "ips", "per": "network", "count": "addresses", "most": 3 }]);
    let post = |container: &str, ips: usize| {
        let ips: Vec<_> = (0..ips).map(|it| json!({ "address": format!("10.0.0.{it}/24") })).collect();
        let result = serde_json::from_value(json!({ "cniVersion": "1.0.0", "ips": ips })).unwrap();
        let outcome = Outcome::success(&result).unwrap();
        matches!(Guard::post(&request(container, "shop", &quotas), outcome).unwrap(), Post::Keep)
    };
    assert!(post("a", 2));
    assert!(!post("b", 2));
    assert!(post("b", 1));
    assert!(!post("c", 1));
    Guard::post(&request("a", "shop", &quotas), Outcome::failure(Error::new(11, "busy"))).unwrap();
    assert!(post("c", 2));
}

#[test]
fn what_the_runtime_has_forgotten_is_given_back() {
    let quotas = json!([{ "name": "two", "per": "network", "most": 2 }]);
    let at = |container: &str| request(container, "shop", &quotas);
    assert_eq!([add(&at("a")), add(&at("b"))], ["", ""]);
    let config = json!({ "cni.dev/valid-attachments": [{ "containerID": "b", "ifname": "eth0" }] });
    let gc = Request { verb: "GC".into(), container_id: String::new(), config: config.to_string(), ..at("") };
    Guard::pre(&gc).unwrap();
    assert_eq!(add(&at("c")), "");
    assert_ne!(add(&at("d")), "");
    // Without a list nobody is forgotten.
    Guard::pre(&Request { config: "{}".into(), ..gc }).unwrap();
    assert_ne!(add(&at("d")), "");
}

#[test]
fn mistakes_are_told_with_their_place() {
    let told = |quotas: &Value| Guard::validate(&request("a", "x", quotas)).unwrap_err().to_string();
    for (quotas, said) in [
        (json!([{ "name": "a b", "per": "node", "most": 1 }]), "`config.quotas[0].name` is \"a b\""),
        (
            json!([{ "name": "a", "per": "node", "most": 1001 }]),
            "`config.quotas[0].most` is 1001: 1000 at most",
        ),
        (
            json!([{ "name": "a", "per": "node", "most": 1 }, { "name": "a", "per": "node", "most": 1 }]),
            "`config.quotas[1].name` \"a\" is there twice",
        ),
        (json!([{ "name": "a", "per": "pod", "most": 1 }]), "unknown variant `pod`"),
    ] {
        let is = told(&quotas);
        assert!(is.contains(said), "{is}");
    }
    let unknown = Request {
        args: [].into_iter().collect(),
        ..request("a", "", &json!([{ "name": "n", "per": "namespace", "most": 1 }]))
    };
    assert!(Guard::pre(&unknown).unwrap_err().to_string().starts_with("quota \"n\": which namespace is it?"));
}
