//! Verdicts that cannot be meant.

use crate::case::{Case, case, late, post, pre, text};
use serde_json::json;
use wasmhook_tests::{GO_ON, component, deny, verdict};

pub(crate) fn cases() -> Vec<Case> {
    [sizes(), depths(), meanings()].into_iter().flatten().collect()
}

const TOO_LONG: &str = "verdict limit of 1MiB reached (raise `limits.verdict`)";

fn sizes() -> Vec<Case> {
    let long = format!(
        "(drop (memory.grow (i32.const 40))) (memory.fill (i32.const 2097152) (i32.const 32) (i32.const 2097152)) {}",
        text(1, 2 << 20, 2 << 20)
    );
    // Each of them is six bytes where it is written down.
    let (data, body) = deny(7, "no");
    let steering = format!(
        "(memory.fill (i32.const 1048576) (i32.const 1) (i32.const 1000000))
        (i32.store (i32.const 2060) (i32.const 1048576)) (i32.store (i32.const 2064) (i32.const 1000000)) {body}"
    );
    vec![
        case("a verdict of 2 MB", pre("", &long), TOO_LONG),
        late("a verdict of 2 MB in post", post("", &long), TOO_LONG),
        case(
            "a verdict of 2 MB where 3 are allowed",
            pre("", &long),
            "unusable verdict: the configuration is no JSON object",
        )
        .with(json!({ "limits": { "verdict": "3MiB" } })),
        case(
            "a verdict of 100 MB",
            pre("", &format!("(drop (memory.grow (i32.const 1700))) {}", text(1, 4096, 100 << 20))),
            "trap: more than 4 MiB at once from the guest to the host",
        )
        .with(json!({ "limits": { "memory": "256MiB" } })),
        case("a denial of 1 MB of control characters", component(&data, &steering, GO_ON), TOO_LONG),
    ]
}

/// Behind this text so many brackets, closed again, and the end of an object.
fn deep(case: u32, before: &str) -> (String, String) {
    const AT: usize = 1 << 20;
    const DEPTH: usize = 100_000;
    let (data, _) = verdict(1, before);
    let open = AT + before.len();
    let body = format!(
        "(memory.copy (i32.const {AT}) (i32.const 4096) (i32.const {}))
        (memory.fill (i32.const {open}) (i32.const 91) (i32.const {DEPTH}))
        (memory.fill (i32.const {}) (i32.const 93) (i32.const {DEPTH}))
        (i32.store8 (i32.const {}) (i32.const 125)) {}",
        before.len(),
        open + DEPTH,
        open + 2 * DEPTH,
        text(case, u32::try_from(AT).unwrap(), u32::try_from(before.len() + 2 * DEPTH + 1).unwrap()),
    );
    (data, body)
}

fn depths() -> Vec<Case> {
    let rewrite = deep(1, r#"{"cniVersion":"1.0.0","name":"net","type":"bridge","x":"#);
    let known = deep(1, r#"{"cniVersion":"1.0.0","name":"net","type":"bridge","ipam":"#);
    let answer = deep(2, r#"{"cniVersion":"1.0.0","ips":[],"x":"#);
    let result = deep(1, r#"{"cniVersion":"1.0.0","ips":[],"x":"#);
    let ips = deep(1, r#"{"cniVersion":"1.0.0","ips":"#);
    let nested = "recursion limit exceeded";
    vec![
        case("a configuration 100,000 deep", pre(&rewrite.0, &rewrite.1), nested),
        case("a configuration 100,000 deep where it is known", pre(&known.0, &known.1), nested),
        case("an answer 100,000 deep", pre(&answer.0, &answer.1), nested),
        late("a result 100,000 deep", post(&result.0, &result.1), nested),
        late("a result 100,000 deep where it is known", post(&ips.0, &ips.1), nested),
        case(
            "brackets that are never closed",
            pre(
                "",
                &format!(
                    "(memory.fill (i32.const 4096) (i32.const 91) (i32.const 60000)) {}",
                    text(1, 4096, 60_000)
                ),
            ),
            "unusable verdict: the configuration is no JSON object",
        ),
    ]
}

fn meanings() -> Vec<Case> {
    let before = |case: u8, text: &str| {
        let (data, body) = verdict(case, text);
        pre(&data, body)
    };
    let after = |case: u8, text: &str| {
        let (data, body) = verdict(case, text);
        post(&data, body)
    };
    let config = |more: &str| format!(r#"{{"cniVersion":"1.0.0","name":"net","type":"bridge"{more}}}"#);
    let (data, body) = deny(0, "no");
    vec![
        case("an error with code 0", pre(&data, body), "unusable verdict: an error with code 0"),
        case("no text at all", before(1, ""), "unusable verdict: the configuration is no JSON object"),
        case(
            "a byte that ends C's strings",
            before(1, "{}\0"),
            "unusable verdict: the configuration is no JSON object",
        ),
        case(
            "two documents",
            before(1, &config("").repeat(2)),
            "unusable verdict: the configuration is no JSON object: trailing",
        ),
        case(
            "another plugin",
            before(1, &config("").replace("bridge", "../../bin/sh")),
            "unusable verdict: the configuration changes `type`",
        ),
        case(
            "another plugin, the second time it is named",
            before(1, &config(r#","type":"../../bin/sh""#)),
            "unusable verdict: the configuration changes `type`",
        ),
        case(
            "another network",
            before(1, &config("").replace("net", "other")),
            "unusable verdict: the configuration changes `name`",
        ),
        case(
            "a version of its own",
            before(1, &config("").replace("1.0.0", "0.2.0")),
            "unusable verdict: the configuration changes `cniVersion`",
        ),
        case(
            "a result of its own to begin with",
            before(1, &config(r#","prevResult":{}"#)),
            "unusable verdict: the configuration holds `prevResult`",
        ),
        case(
            "an attachment list of its own",
            before(1, &config(r#","cni.dev/valid-attachments":[]"#)),
            "unusable verdict: the configuration changes `cni.dev/",
        ),
        case(
            "an answer that is none",
            before(2, r#"{"ips":[{"address":7}]}"#),
            "unusable verdict: the result is not CNI's",
        ),
        late(
            "a result that is none",
            after(1, r#"{"interfaces":{}}"#),
            "unusable verdict: the result is not CNI's",
        ),
        late(
            "half a character in a result",
            after(1, r#"{"dns":{"domain":"\ud800"}}"#),
            "unusable verdict: the result holds what no plugin can read",
        ),
        late(
            "a number beyond all measure",
            after(1, r#"{"ips":[],"x":1e999999999}"#),
            "unusable verdict: the result holds what no plugin can read",
        ),
        late(
            "recovery from a success",
            after(3, r#"{"ips":[]}"#),
            "unusable verdict: `recover` from a success",
        ),
    ]
}
