//! Counts what pods have of a node, and refuses what would be too much. See docs/hooks/quota.md.
//!
//! ```json
//! { "module": "quota", "grants": ["state:node"], "config": { "quotas": [
//!     { "name": "fifty-each", "per": "namespace", "most": 50 }
//! ] } }
//! ```
//!
//! Teaches: counting exactly while a hundred processes do so at once, and giving back.

mod places;

use places::Places;
use serde::Deserialize;
use wasmhook_sdk::cni::{Attachment, Error, VALID_ATTACHMENTS};
use wasmhook_sdk::{Failure, Hook, Outcome, Post, Pre, Request, Result};
use wildmatch::WildMatch;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    quotas: Vec<Quota>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Quota {
    name: String,
    per: Per,
    #[serde(default)]
    count: Count,
    most: usize,
    /// Patterns; none: all.
    #[serde(default)]
    pod_namespaces: Vec<String>,
    #[serde(default)]
    networks: Vec<String>,
}

/// What has a quota of its own.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Per {
    Namespace,
    Network,
    Node,
}

/// What is counted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Count {
    #[default]
    Attachments,
    Addresses,
}

/// What the call fails with; see `docs/errors.md`.
const DENIED: u32 = 100;
/// As many as can be listed at once.
const MOST: usize = 1000;

struct Guard;

impl Hook for Guard {
    fn pre(request: &Request) -> Result<Pre> {
        let settings = Settings::read(request)?;
        match request.verb.as_str() {
            "ADD" => Ok(settings.take(request, Count::Attachments, 1)?.map_or(Pre::Proceed, Pre::Deny)),
            "DEL" => {
                settings.give_back(&places::holder(request))?;
                Ok(Pre::Proceed)
            }
            "GC" => {
                settings.sweep(request)?;
                Ok(Pre::Proceed)
            }
            _ => Ok(Pre::Proceed),
        }
    }

    fn post(request: &Request, outcome: Outcome) -> Result<Post> {
        if request.verb != "ADD" {
            return Ok(Post::Keep);
        }
        let settings = Settings::read(request)?;
        let Some(result) = outcome.result()? else {
            // It has failed, so it has nothing.
            settings.give_back(&places::holder(request))?;
            return Ok(Post::Keep);
        };
        let addresses = result.ips.as_ref().map_or(0, Vec::len)
            + usize::from(result.ip4.is_some())
            + usize::from(result.ip6.is_some());
        Ok(settings.take(request, Count::Addresses, addresses)?.map_or(Post::Keep, Post::Fail))
    }

    fn validate(request: &Request) -> Result<()> {
        Settings::read(request).map(drop)
    }
}

impl Settings {
    fn read(request: &Request) -> Result<Self> {
        let settings: Self = request.settings()?;
        for (index, quota) in settings.quotas.iter().enumerate() {
            let at = format!("config.quotas[{index}]");
            let plain = |it: char| it.is_ascii_alphanumeric() || "-_.".contains(it);
            if quota.name.is_empty() || quota.name.len() > 40 || !quota.name.chars().all(plain) {
                return Err(Failure::new(format!(
                    "`{at}.name` is {:?}: write up to 40 letters, digits, `-`, `_` and `.`",
                    quota.name
                )));
            }
            if quota.most > MOST {
                return Err(Failure::new(format!("`{at}.most` is {}: {MOST} at most", quota.most)));
            }
            if settings.quotas[..index].iter().any(|it| it.name == quota.name) {
                return Err(Failure::new(format!(
                    "`{at}.name` {:?} is there twice, and they would count together",
                    quota.name
                )));
            }
        }
        Ok(settings)
    }

    /// Takes so many places of each quota that counts this, or says why not. What was taken before it is given back by the DEL that
    /// follows, and counts once however often it is taken.
    fn take(&self, request: &Request, count: Count, number: usize) -> Result<Option<Error>> {
        let holder = places::holder(request);
        for quota in self.quotas.iter().filter(|it| it.count == count) {
            let Some(bucket) = quota.bucket(request)? else { continue };
            let places = Places { quota: &quota.name, bucket: &bucket };
            if !places.take(&holder, number, quota.most)? {
                self.give_back(&holder)?;
                let (what, most) = (quota.count.words(), quota.most);
                let msg =
                    format!("quota {:?}: {bucket} has its {most} {what} on this node already", quota.name);
                return Ok(Some(Error::new(DENIED, msg)));
            }
        }
        Ok(None)
    }

    /// A DEL may not say which pod it was: the holder's own list does.
    fn give_back(&self, holder: &str) -> Result<()> {
        self.quotas.iter().try_for_each(|quota| places::give_back(&quota.name, holder))
    }

    /// What the runtime knows nothing of any more is given back.
    fn sweep(&self, request: &Request) -> Result<()> {
        let config = request.config()?;
        let mut valid: Option<Vec<Attachment>> = None;
        for key in VALID_ATTACHMENTS {
            valid = valid.or(config.read(key)?);
        }
        let Some(valid) = valid else { return Ok(()) };
        let known: Vec<_> = valid
            .iter()
            .map(|it| places::holder_of(&request.network, &it.container_id, &it.ifname))
            .collect();
        for quota in &self.quotas {
            places::sweep(&quota.name, &places::holder_of(&request.network, "", ""), &known)?;
        }
        Ok(())
    }
}

impl Quota {
    /// Whose places are taken; `None`: it is not about this pod.
    fn bucket(&self, request: &Request) -> Result<Option<String>> {
        let fits = |patterns: &[String], text: &str| {
            patterns.is_empty() || patterns.iter().any(|it| WildMatch::new(it).matches(text))
        };
        if !fits(&self.networks, &request.network) {
            return Ok(None);
        }
        let namespace = request.args.value("K8S_POD_NAMESPACE").filter(|it| !it.is_empty());
        let needs_it = matches!(self.per, Per::Namespace) || !self.pod_namespaces.is_empty();
        let namespace = match namespace {
            None if needs_it => {
                return Err(Failure::new(format!(
                    "quota {:?}: which namespace is it? CNI_ARGS holds no K8S_POD_NAMESPACE",
                    self.name
                )));
            }
            namespace => namespace.unwrap_or_default(),
        };
        if !fits(&self.pod_namespaces, namespace) {
            return Ok(None);
        }
        Ok(Some(match self.per {
            Per::Namespace => format!("namespace {namespace}"),
            Per::Network => format!("network {}", request.network),
            Per::Node => "everybody together".to_owned(),
        }))
    }
}

impl Count {
    fn words(self) -> &'static str {
        match self {
            Self::Attachments => "attachments",
            Self::Addresses => "addresses",
        }
    }
}

wasmhook_sdk::export!(Guard);
wasmhook_sdk::settings_schema!("settings.schema.json");

#[cfg(test)]
mod tests;
