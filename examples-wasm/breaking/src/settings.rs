use crate::script::{self, Script};
use crate::window::{self, Window};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;
use wasmhook_sdk::{Failure, Request, Result};

const VERBS: [&str; 5] = ["ADD", "CHECK", "DEL", "GC", "STATUS"];
/// As containerd's test plugin calls them.
const OLD_VERBS: [(&str, &str); 3] = [("cmdAdd", "ADD"), ("cmdCheck", "CHECK"), ("cmdDel", "DEL")];
const REMEMBER: Duration = Duration::from_hours(24);
/// The host lists so many keys at once.
const MOST_ACTIVE: u32 = 1000;

/// What an operator writes: `config` of the hook.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written {
    #[serde(default)]
    scripts: Map<String, Value>,
    #[serde(default)]
    per: Per,
    #[serde(default)]
    seed: u64,
    not_before: Option<String>,
    not_after: Option<String>,
    max_active: Option<u32>,
    remember: Option<String>,
    opt_in: Option<OptIn>,
    pod_scripts: Option<PodScripts>,
}

/// What attempts are counted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Per {
    /// Whatever its container is called this time.
    #[default]
    Pod,
    Attachment,
    Network,
}

/// An annotation that a pod must have.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OptIn {
    pub(crate) annotation: String,
    /// Absent: anything but `""`, `false`, `no`, `off`, `0`.
    pub(crate) value: Option<String>,
}

/// Pods that may bring a script of their own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PodScripts {
    /// Patterns of their namespaces.
    pub(crate) namespaces: Vec<String>,
    pub(crate) annotation: String,
}

/// What was written, understood.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) scripts: Scripts,
    pub(crate) per: Per,
    pub(crate) seed: u64,
    pub(crate) window: Window,
    pub(crate) max_active: Option<u32>,
    pub(crate) remember: Duration,
    pub(crate) opt_in: Option<OptIn>,
    pub(crate) pod_scripts: Option<PodScripts>,
}

/// By verb, and whether the plugin has been run.
#[derive(Debug, Default)]
pub(crate) struct Scripts(BTreeMap<(String, bool), Script>);

impl Settings {
    pub(crate) fn read(request: &Request, chaos: bool) -> Result<Self> {
        let written: Written = request.settings()?;
        let wrong = |key: &str, what: String| Failure::new(format!("`config.{key}`: {what}"));
        let scripts = Scripts::read(&written.scripts, chaos)
            .map_err(|(key, what)| wrong(&format!("scripts{key}"), what))?;
        let time = |key: &str, text: &Option<String>| {
            text.as_deref().map(window::time).transpose().map_err(|what| wrong(key, what))
        };
        let window = Window {
            not_before: time("notBefore", &written.not_before)?,
            not_after: time("notAfter", &written.not_after)?,
        };
        if let (Some(from), Some(to)) = (window.not_before, window.not_after)
            && from >= to
        {
            return Err(wrong("notAfter", "it is not after `notBefore`: nothing would ever happen".into()));
        }
        let remember = written.remember.as_deref().map_or(Ok(REMEMBER), remembered);
        if written.pod_scripts.as_ref().is_some_and(|it| it.namespaces.is_empty()) {
            return Err(wrong(
                "podScripts.namespaces",
                "empty: name whose pods may bring a script, or take it out".into(),
            ));
        }
        if written.max_active == Some(0) {
            return Err(wrong(
                "maxActive",
                "0: nothing would ever happen; `wasmhookctl faults off` is for that".into(),
            ));
        }
        if let Some(most) = written.max_active.filter(|it| *it > MOST_ACTIVE) {
            return Err(wrong(
                "maxActive",
                format!("{most}: write 1 to {MOST_ACTIVE}, or leave it out for all"),
            ));
        }
        Ok(Self {
            scripts,
            per: written.per,
            seed: written.seed,
            window,
            max_active: written.max_active,
            remember: remember.map_err(|what| wrong("remember", what))?,
            opt_in: written.opt_in,
            pod_scripts: written.pod_scripts,
        })
    }
}

/// The host counts seconds.
fn remembered(text: &str) -> Result<Duration, String> {
    let time = script::duration(text)?;
    if time < Duration::from_secs(1) {
        return Err(format!("{text:?} is {time:?}: write at least a second, such as \"30s\" or \"24h\""));
    }
    Ok(time)
}

impl Scripts {
    /// The error says at which key.
    pub(crate) fn read(written: &Map<String, Value>, chaos: bool) -> Result<Self, (String, String)> {
        let mut scripts = Self::default();
        for (key, value) in written {
            let at = format!(".{key}");
            let old = OLD_VERBS.iter().find(|it| it.0 == key).map(|it| it.1);
            let Some(verb) = old.or_else(|| VERBS.into_iter().find(|it| it == key)) else {
                return Err((at, format!("no verb; write {}", VERBS.join(", "))));
            };
            match value {
                Value::String(text) => scripts.add(verb, false, text, chaos).map_err(|what| (at, what))?,
                Value::Object(moments) => {
                    for (moment, text) in moments {
                        let at = format!("{at}.{moment}");
                        let after = match moment.as_str() {
                            "before" => false,
                            "after" => true,
                            _ => return Err((at, "write `before` or `after`".into())),
                        };
                        let Some(text) = text.as_str() else {
                            return Err((
                                at,
                                format!("{text}: write a script, such as \"1*error(11:again)\""),
                            ));
                        };
                        scripts.add(verb, after, text, chaos).map_err(|what| (at, what))?;
                    }
                }
                other => {
                    let what = format!("{other}: write a script, or {{ \"before\": …, \"after\": … }}");
                    return Err((at, what));
                }
            }
        }
        Ok(scripts)
    }

    fn add(&mut self, verb: &str, after: bool, text: &str, chaos: bool) -> Result<(), String> {
        let script = script::parse(text, script::Place { verb, after, chaos })?;
        // As `ADD` and as `cmdAdd`.
        match self.0.insert((verb.to_owned(), after), script) {
            Some(_) => Err(format!("`{verb}` has a script already: keep one of them")),
            None => Ok(()),
        }
    }

    pub(crate) fn at(&self, verb: &str, after: bool) -> Option<&Script> {
        self.0.get(&(verb.to_owned(), after))
    }
}

impl OptIn {
    pub(crate) fn is_in(&self, annotations: &BTreeMap<String, String>) -> bool {
        let is = annotations.get(&self.annotation).map(String::as_str);
        match &self.value {
            Some(value) => is == Some(value),
            None => is.is_some_and(|it| !matches!(it, "" | "false" | "no" | "off" | "0")),
        }
    }
}
