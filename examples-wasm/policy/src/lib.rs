//! Guards what pods get of a node: who may join a network, with which addresses, host ports, MACs and MTUs, by which plugins. See
//! docs/hooks/policy.md.
//!
//! ```json
//! { "module": "policy", "config": { "rules": [
//!     { "name": "sandboxes-have-no-network", "podNamespaces": ["sandbox-*"], "deny": "ask #platform for one" },
//!     { "name": "no-low-host-ports", "hostPorts": { "allow": ["30000-32767"] } }
//! ] } }
//! ```
//!
//! Every rule that is about the pod must be kept; the first that is not refuses it, in a sentence that names the rule. A runtime that
//! does not say which pod it is makes the hook fail where a rule depends on it, because a guard must not stop guarding silently;
//! `"unknownPod": "allow"` lets such containers in.
//!
//! Teaches: refusing with a message that a person reads in `kubectl describe pod`; looking before the plugin and after it.

mod asked;
mod rule;

use asked::Asked;
use rule::Rule;
use serde::Deserialize;
use wasmhook_sdk::cni::Error;
use wasmhook_sdk::{Failure, Hook, Outcome, Post, Pre, Request, Result};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Settings {
    rules: Vec<Rule>,
    #[serde(default)]
    unknown_pod: UnknownPod,
}

#[derive(Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum UnknownPod {
    #[default]
    Fail,
    Allow,
}

/// What the call fails with; see `docs/errors.md`.
const DENIED: u32 = 100;

struct Policy;

impl Hook for Policy {
    fn pre(request: &Request) -> Result<Pre> {
        if request.verb != "ADD" {
            return Ok(Pre::Proceed);
        }
        let settings = Settings::read(request)?;
        Ok(settings.judge(&Asked::before(request)?)?.map_or(Pre::Proceed, Pre::Deny))
    }

    fn post(request: &Request, outcome: Outcome) -> Result<Post> {
        let Some(result) = outcome.result()?.filter(|_| request.verb == "ADD") else { return Ok(Post::Keep) };
        let settings = Settings::read(request)?;
        Ok(settings.judge(&Asked::after(request, &result))?.map_or(Post::Keep, Post::Fail))
    }

    fn validate(request: &Request) -> Result<()> {
        Settings::read(request).map(drop)
    }
}

impl Settings {
    fn read(request: &Request) -> Result<Self> {
        let settings: Self = request.settings()?;
        for (index, rule) in settings.rules.iter().enumerate() {
            rule.judge(&format!("config.rules[{index}]"))?;
        }
        Ok(settings)
    }

    /// Why it is refused, if it is.
    fn judge(&self, asked: &Asked) -> Result<Option<Error>> {
        for rule in &self.rules {
            match rule.is_about(asked) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(()) if self.unknown_pod == UnknownPod::Allow => continue,
                Err(()) => {
                    return Err(Failure::new(format!(
                        "rule {:?}: which pod is it? CNI_ARGS holds no K8S_POD_NAMESPACE and K8S_POD_NAME; set `\"unknownPod\": \"allow\"` to \
                         let such containers in",
                        rule.name
                    )));
                }
            }
            if let Some(why) = rule.refusal(asked) {
                let (who, network) = (asked.who(), &asked.network);
                let msg = format!("{who} may not join network {network}: rule {:?}: {why}", rule.name);
                return Ok(Some(Error::new(DENIED, msg)));
            }
        }
        Ok(None)
    }
}

wasmhook_sdk::export!(Policy);
wasmhook_sdk::settings_schema!("settings.schema.json");

#[cfg(test)]
mod tests;
