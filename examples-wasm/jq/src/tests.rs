use super::*;
use serde_json::{Value, json};

const CONFIG: &str = r#"{"cniVersion":"1.0.0","name":"net","type":"bridge","mtu":1500,"ipam":{"type":"host-local"},"big":123456789012345678901234,"exact":1.50}"#;

fn request(settings: &Value) -> Request {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    Request {
        verb: "ADD".into(),
        cni_version: "1.0.0".into(),
        network: "net".into(),
        plugin: "bridge".into(),
        ifname: "eth0".into(),
        args: [pair("K8S_POD_NAMESPACE", "shop"), pair("K8S_POD_NAME", "web-0")].into_iter().collect(),
        config: CONFIG.into(),
        hook_config: settings.to_string(),
        extra: r#"{"runtimeConfig":{"io.kubernetes.cri.pod-annotations":{"mtu":"9000"}}}"#.into(),
        ..Request::default()
    }
}

/// What `pre` comes to, in a word.
fn pre(settings: &Value) -> String {
    match Jq::pre(&request(settings)) {
        Ok(Pre::Proceed) => "proceed".into(),
        Ok(Pre::Rewrite(config)) => config.to_string(),
        Ok(Pre::Answer(result)) => format!("answer {}", serde_json::to_string(&result).unwrap()),
        Ok(Pre::Deny(error)) => {
            format!("deny {} {} {:?}", error.code, error.msg, error.details.unwrap_or_default())
        }
        Err(failure) => format!("broken: {failure}"),
    }
}

fn filtered(filter: &str) -> String {
    pre(&json!({ "pre": filter }))
}

#[test]
fn what_a_filter_changes_is_rewritten_and_all_else_stays_as_it_is() {
    assert_eq!(filtered(".config.mtu = 1400"), CONFIG.replace("1500", "1400"));
    assert_eq!(filtered("."), "proceed");
    assert_eq!(filtered("empty"), "proceed");
    assert_eq!(filtered(".config.mtu = 1500"), "proceed");
    assert_eq!(
        filtered(".config.mtu = (.request.annotations.mtu | tonumber)"),
        CONFIG.replace("1500", "9000")
    );
    assert_eq!(
        filtered(".config.ipam.dataDir = \"/run/\\(.request.pod.namespace)\"").matches("/run/shop").count(),
        1
    );
    assert_eq!(filtered("if .request.plugin == \"ptp\" then .config.mtu = 1 else . end"), "proceed");
    assert_eq!(
        pre(&json!({ "pre": ".config.mtu = $mtu", "vars": { "mtu": 1280 } })),
        CONFIG.replace("1500", "1280")
    );
    assert!(!filtered("del(.config.mtu)").contains("mtu"));
    assert!(
        filtered(".config |= with_entries(if .key == \"mtu\" then .value -= 50 else . end)")
            .contains("\"mtu\":1450")
    );
    assert!(filtered(".config.type |= sub(\"b(?<x>.)\"; \"\\(.x)\")").contains("\"type\":\"ridge\""));
    assert!(filtered(".config.x = ([1,2,3] | map(select(. > 1)) | add)").contains("\"x\":5"));
    assert!(filtered(".config.when = (0 | todate)").contains("1970-01-01T00:00:00Z"));
    assert!(
        filtered(".config.b = (\"a b\" | @base64, @uri | tojson | length) // 0")
            .starts_with("broken: `config.pre`: it says more than one thing")
    );
    assert!(filtered(".config.env = env").contains("\"env\":{}"));
}

#[test]
fn an_error_that_is_raised_refuses_and_one_that_happens_does_not() {
    assert_eq!(filtered("error(\"no\")"), "deny 100 no \"\"");
    assert_eq!(filtered("error({code: 11, msg: \"later\", details: \"d\"})"), "deny 11 later \"d\"");
    assert_eq!(
        filtered("if .config.mtu > 1400 then error(\"mtu \\(.config.mtu)\") else . end"),
        "deny 100 mtu 1500 \"\""
    );
    assert_eq!(filtered("error"), format!("deny 100 {} \"\"", filtered_error_of_everything()));
    assert_eq!(
        filtered("try error(\"no\") catch ."),
        "broken: `config.pre` says \"no\", and `.` is to come back with what it changes, such as `.config.mtu = 1400`"
    );
    assert!(
        filtered(".config.mtu + \"a\"").starts_with("broken: `config.pre`: cannot calculate 1500 + \"a\"")
    );
    assert!(
        filtered("(try error(\"no\") catch .) | .a").starts_with("broken: `config.pre`: cannot index \"no\"")
    );
    assert!(filtered(".config.a.b = 1").ends_with("`.config.a //= {} | .config.a.b = 1` makes it"));
    assert!(filtered(".config.a //= {} | .config.a.b = 1").contains(r#""a":{"b":1}"#));
    assert!(filtered("halt").starts_with("broken: `config.pre`: `halt` ends nothing here"));
    assert!(filtered("now").starts_with("broken: `config.pre`: `now`: a filter sees no clock"));
}

fn filtered_error_of_everything() -> String {
    View::of(&request(&json!({})), None).unwrap().value().to_string()
}

#[test]
fn a_result_before_the_plugin_is_its_answer() {
    let answer = filtered(".result = {cniVersion: .request.cniVersion, ips: [{address: \"10.9.9.9/24\"}]}");
    assert_eq!(answer, r#"answer {"cniVersion":"1.0.0","ips":[{"address":"10.9.9.9/24"}]}"#);
    assert!(filtered(".result = {ips: 7}").starts_with("broken: `config.pre`: `.result`: "));
}

#[test]
fn what_cannot_be_changed_is_not_changed_silently() {
    for (filter, said) in [
        (
            ".mtu = 1400",
            "`config.pre` makes `.mtu`, which means nothing; there are .request, .config, .prevResult, .result, .error",
        ),
        (
            ".request.ifname = \"eth1\"",
            "`config.pre` changes `.request`, which means nothing in `pre`; .config and .result can be changed",
        ),
        (
            ".config",
            "`config.pre` makes `.cniVersion`, which means nothing; there are .request, .config, .prevResult, .result, .error",
        ),
        (
            "7",
            "`config.pre` says 7, and `.` is to come back with what it changes, such as `.config.mtu = 1400`",
        ),
        ("., .", "`config.pre`: it says more than one thing; `first(…)` takes the first"),
        (".config = 7", "`config.pre`: `.config`: "),
    ] {
        let is = filtered(filter);
        assert!(is.starts_with(&format!("broken: {said}")), "{filter}: {is}");
    }
}

#[test]
fn after_the_plugin_the_result_can_be_another_one() {
    let result = || {
        serde_json::from_value(json!({ "cniVersion": "1.0.0", "ips": [{ "address": "10.1.2.3/24" }] }))
            .unwrap()
    };
    let post = |settings: &Value, outcome| Jq::post(&request(settings), outcome);
    let settings = json!({ "post": ".result.dns //= {} | .result.dns.search += [\"shop.example\"]" });
    let Ok(Post::Rewrite(result_now)) = post(&settings, Outcome::success(&result()).unwrap()) else {
        panic!("not rewritten")
    };
    assert_eq!(result_now.dns.unwrap().search.unwrap(), ["shop.example"]);
    let kept = post(&json!({ "post": "." }), Outcome::success(&result()).unwrap());
    assert!(matches!(kept, Ok(Post::Keep)), "{kept:?}");
    let refused = post(&json!({ "post": "error(\"no\")" }), Outcome::success(&result()).unwrap());
    assert!(matches!(refused, Ok(Post::Fail(error)) if error.code == 100));
    // Neither of the other moments.
    let failed = || Outcome::failure(Error::new(11, "busy"));
    assert!(matches!(post(&settings, failed()), Ok(Post::Keep)));
    let told = post(&json!({ "onError": ".error.msg += \"; ask #net\"" }), failed());
    assert!(
        matches!(told, Ok(Post::Fail(error)) if (error.code, error.msg.as_str()) == (11, "busy; ask #net"))
    );
    let recovered = post(&json!({ "onError": ".result = {cniVersion: \"1.0.0\", ips: []}" }), failed());
    assert!(matches!(recovered, Ok(Post::Recover(_))));
    assert!(matches!(
        post(&json!({ "onError": "if .error.code == 7 then .error.code = 1 else . end" }), failed()),
        Ok(Post::Keep)
    ));
}

#[test]
fn a_filter_is_for_add_unless_it_says_more() {
    let at = |verb: &str, settings: &Value| {
        let asked = Request { verb: verb.into(), ..request(settings) };
        matches!(Jq::pre(&asked), Ok(Pre::Deny(_)))
    };
    assert!(at("ADD", &json!({ "pre": "error(\"x\")" })) && !at("DEL", &json!({ "pre": "error(\"x\")" })));
    let per_verb = json!({ "pre": { "CHECK": "error(\"x\")" } });
    assert!(at("CHECK", &per_verb) && !at("ADD", &per_verb));
}

#[test]
fn a_mistake_is_found_before_a_pod_is_and_told_with_its_place() {
    let told = |settings: &Value| Jq::validate(&request(settings)).unwrap_err().to_string();
    for (settings, what) in [
        (
            json!({ "pre": ".config | mpa(.)" }),
            "`config.pre`: line 1, column 11: there is no filter `mpa`/1; did you mean `map`?",
        ),
        (
            json!({ "pre": ".config.mtu = $mut", "vars": { "mtu": 1 } }),
            "`config.pre`: line 1, column 15: there is no variable `$mut`",
        ),
        (
            json!({ "pre": ".\n  | map(" }),
            "`config.pre`: line 2, column 9: it ends, and wanted is closing parenthesis",
        ),
        (json!({ "pre": "" }), "`config.pre`: "),
        (json!({ "post": { "DEL": "if ." } }), "`config.post.DEL`: "),
        (
            json!({ "post": { "DELETE": "." } }),
            "`config.post.DELETE`: no verb; write ADD, CHECK, DEL, GC, STATUS",
        ),
        (
            json!({ "pre": "select(.; .; .)" }),
            "`config.pre`: line 1, column 1: there is no filter `select`/3; it takes another number of arguments",
        ),
        (
            json!({ "vars": { "a-b": 1 } }),
            "`config.vars.a-b`: write letters, digits and `_`: it is `$name` in filters",
        ),
        (json!({ "pre": "include \"x\"; ." }), "`config.pre`: "),
    ] {
        let is = told(&settings);
        assert!(is.starts_with(what), "{settings}: {is}");
    }
    Jq::validate(&request(&json!({ "pre": ".", "post": { "ADD": "map(.)" } }))).unwrap();
    assert!(told(&json!({ "filter": "." })).contains("unknown field `filter`"));
}
