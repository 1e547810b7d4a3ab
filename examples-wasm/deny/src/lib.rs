//! Refuses pods by the patterns of their namespace and name.
//!
//! ```json
//! { "module": "deny", "config": { "rules": [
//!     { "podNamespace": "sandbox-*", "message": "sandboxes have no network; ask #platform for one" }
//! ] } }
//! ```
//!
//! The first rule that matches counts. A pattern may hold `*` and `?`; one that is left out matches everything. A
//! runtime that does not say which pod it is (no `K8S_POD_NAMESPACE` in `CNI_ARGS`) makes the hook fail, because a
//! guard must not stop guarding silently; `"unknownPod": "allow"` lets such containers in.
//!
//! Teaches: refusing with a message that a person reads in `kubectl describe pod`.

use wasmhook_sdk::prelude::*;
use wildmatch::WildMatch;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Settings {
    rules: Vec<Rule>,
    #[serde(default)]
    unknown_pod: UnknownPod,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Rule {
    #[serde(default = "everything")]
    pod_namespace: String,
    #[serde(default = "everything")]
    pod_name: String,
    message: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum UnknownPod {
    #[default]
    Fail,
    Allow,
}

fn everything() -> String {
    "*".to_owned()
}

/// What the call fails with; see `docs/errors.md`.
const DENIED: u32 = 100;

struct Deny;

impl Hook for Deny {
    fn pre(request: &Request) -> Result<Pre> {
        let settings: Settings = request.settings()?;
        if request.verb != "ADD" {
            return Ok(Pre::Proceed);
        }
        let arg = |key| request.args.value(key);
        let (Some(namespace), Some(name)) = (arg("K8S_POD_NAMESPACE"), arg("K8S_POD_NAME")) else {
            return match settings.unknown_pod {
                UnknownPod::Allow => Ok(Pre::Proceed),
                UnknownPod::Fail => Err(Failure::new(
                    "which pod is it? CNI_ARGS holds no K8S_POD_NAMESPACE and K8S_POD_NAME; \
                     set `\"unknownPod\": \"allow\"` to let such containers in",
                )),
            };
        };
        let matches = |rule: &&Rule| {
            WildMatch::new(&rule.pod_namespace).matches(namespace)
                && WildMatch::new(&rule.pod_name).matches(name)
        };
        Ok(match settings.rules.iter().find(matches) {
            None => Pre::Proceed,
            Some(rule) => {
                let pod = format!("pod {namespace}/{name} may not join network {}", request.network);
                let why = format!("rule podNamespace={:?} podName={:?}", rule.pod_namespace, rule.pod_name);
                Pre::Deny(CniError::new(DENIED, format!("{pod}: {}", rule.message)).with_details(why))
            }
        })
    }
}

wasmhook_sdk::export!(Deny);

#[cfg(test)]
mod tests {
    use super::*;

    fn pre(namespace: Option<&str>, settings: &str) -> Result<Pre> {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let args = namespace.map(|it| [pair("K8S_POD_NAMESPACE", it), pair("K8S_POD_NAME", "web")]);
        Deny::pre(&Request {
            verb: "ADD".into(),
            network: "net".into(),
            args: args.into_iter().flatten().collect(),
            hook_config: settings.into(),
            ..Request::default()
        })
    }

    const RULES: &str = r#"{"rules":[{"podNamespace":"sandbox-?","message":"no network"}]}"#;

    #[test]
    fn a_pod_that_matches_is_refused_in_a_sentence() {
        let Ok(Pre::Deny(error)) = pre(Some("sandbox-1"), RULES) else { panic!("not denied") };
        assert_eq!(
            (error.code, error.msg.as_str()),
            (100, "pod sandbox-1/web may not join network net: no network")
        );
    }

    #[test]
    fn others_pass() {
        assert!(matches!(pre(Some("shop"), RULES), Ok(Pre::Proceed)));
        assert!(matches!(pre(Some("sandbox-12"), RULES), Ok(Pre::Proceed)));
    }

    #[test]
    fn a_pod_that_nobody_names_is_not_let_in_silently() {
        assert!(pre(None, RULES).is_err());
        assert!(matches!(pre(None, r#"{"rules":[],"unknownPod":"allow"}"#), Ok(Pre::Proceed)));
    }
}
