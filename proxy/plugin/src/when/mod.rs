//! Whom a hook meets: its `when`, judged before its module is even looked for.
//!
//! All conditions must hold. What nobody says (a pod's name at GC, an annotation that the runtime does not pass) fits no
//! pattern, and so does not keep a condition that only excludes.

mod pattern;
mod read;
mod sample;

use pattern::Patterns;
use sample::Sample;
use serde_json::Value;
use std::cell::OnceCell;
use std::fmt;
use wasmhook_cni::{Args, Environment, Object, Verb};

/// Where the runtime puts a pod's annotations, if the entry asks for that capability.
const ANNOTATIONS: &str = "io.kubernetes.cri.pod-annotations";

/// Whom a hook meets; everybody, by default.
#[derive(Clone, Debug, Default)]
pub struct When(Vec<Condition>);

#[derive(Clone, Debug)]
enum Condition {
    Verb(Patterns),
    Phase(Patterns),
    Plugin(Patterns),
    Network(Patterns),
    Ifname(Patterns),
    /// Its key in `when`, and that in `CNI_ARGS`.
    Pod(&'static str, &'static str, Patterns),
    Annotation(String, Wanted),
    /// A JSON pointer into the configuration.
    Config(String, Wanted),
    Sample(Sample),
}

/// Of something that may be absent.
#[derive(Clone, Debug)]
enum Wanted {
    Nothing,
    Text(Patterns),
    Value(Value),
}

/// What is known of a call, one plugin and one phase.
#[derive(Debug)]
pub struct Facts<'a> {
    /// `CNI_COMMAND`.
    pub verb: Verb,
    /// `pre` or `post`; `None`: whichever.
    pub phase: Option<&'a str>,
    /// The delegate's type; `None`: whichever.
    pub plugin: Option<&'a str>,
    /// The network's name.
    pub network: &'a str,
    /// `CNI_CONTAINERID`.
    pub container_id: &'a str,
    /// `CNI_IFNAME`.
    pub ifname: &'a str,
    /// `CNI_ARGS`.
    pub args: &'a Args,
    /// What the runtime has sent, for `runtimeConfig`.
    pub entry: &'a Object,
    /// What the plugin gets; `None`: whatever.
    pub config: Option<&'a Object>,
    /// Read once, when first asked for.
    pub runtime_config: OnceCell<Value>,
}

impl When {
    /// Do all conditions hold?
    #[must_use]
    pub fn holds(&self, hook: &str, facts: &Facts<'_>) -> bool {
        self.0.iter().all(|it| it.holds(hook, facts))
    }

    /// Those that do not, each with what is instead.
    #[must_use]
    pub fn unmet(&self, hook: &str, facts: &Facts<'_>) -> Vec<String> {
        self.0.iter().filter(|it| !it.holds(hook, facts)).map(|it| it.told(hook, facts)).collect()
    }

    /// Is there an ADD that it does not meet?
    #[must_use]
    pub fn excludes_an_add(&self) -> bool {
        self.0.iter().any(|it| match it {
            Condition::Verb(verbs) => !verbs.fit(Some(Verb::Add.as_str())),
            // It is there for that plugin in one of its phases.
            Condition::Phase(_) => false,
            _ => true,
        })
    }
}

impl<'a> Facts<'a> {
    /// Of a whole call: whatever its plugin and phase.
    #[must_use]
    pub fn of(environment: &'a Environment, network: &'a str, args: &'a Args, entry: &'a Object) -> Self {
        Self {
            verb: environment.verb,
            phase: None,
            plugin: None,
            network,
            container_id: &environment.container_id,
            ifname: &environment.ifname,
            args,
            entry,
            config: None,
            runtime_config: OnceCell::new(),
        }
    }

    fn runtime_config(&self) -> &Value {
        self.runtime_config
            .get_or_init(|| self.entry.read("runtimeConfig").ok().flatten().unwrap_or_default())
    }

    /// What hooks are told beside the fields of a request: what the runtime has put in, all of it, where the plugin's
    /// configuration has only what that asks for.
    pub(crate) fn extra(&self) -> String {
        match self.entry.raw("runtimeConfig") {
            Some(given) if given.get() != "null" => format!(r#"{{"runtimeConfig":{}}}"#, given.get()),
            _ => "{}".to_owned(),
        }
    }

    fn annotation(&self, key: &str) -> Option<&Value> {
        self.runtime_config().get(ANNOTATIONS)?.get(key)
    }

    /// `/mtu`, `/ipam/type`, `/runtimeConfig/portMappings/0/hostPort`.
    fn pointed(&self, pointer: &str) -> Option<Value> {
        let (first, rest) = pointer.strip_prefix('/')?.split_once('/').unwrap_or((&pointer[1..], ""));
        let rest = if rest.is_empty() { String::new() } else { format!("/{rest}") };
        if first == "runtimeConfig" {
            return self.runtime_config().pointer(&rest).filter(|it| !it.is_null()).cloned();
        }
        let key = first.replace("~1", "/").replace("~0", "~");
        let value: Value = self.config?.read(&key).ok()??;
        value.pointer(&rest).filter(|it| !it.is_null()).cloned()
    }
}

impl Condition {
    fn holds(&self, hook: &str, facts: &Facts<'_>) -> bool {
        match self {
            Self::Verb(patterns) => patterns.fit(Some(facts.verb.as_str())),
            Self::Phase(patterns) => facts.phase.is_none_or(|phase| patterns.fit(Some(phase))),
            Self::Plugin(patterns) => facts.plugin.is_none_or(|plugin| patterns.fit(Some(plugin))),
            Self::Network(patterns) => patterns.fit(Some(facts.network)),
            Self::Ifname(patterns) => patterns.fit(known(facts.ifname)),
            Self::Pod(_, key, patterns) => patterns.fit(facts.args.value(key).and_then(known)),
            Self::Annotation(key, wanted) => wanted.fits(facts.annotation(key)),
            Self::Config(pointer, wanted) => {
                let is_known = facts.config.is_some() || pointer.starts_with("/runtimeConfig");
                !is_known || wanted.fits(facts.pointed(pointer).as_ref())
            }
            Self::Sample(sample) => sample.holds(hook, facts),
        }
    }

    /// What is, and what is wanted.
    fn told(&self, hook: &str, facts: &Facts<'_>) -> String {
        let told = |key: &str, is: Option<&str>, wanted: &dyn fmt::Display| match is {
            Some(is) => format!("`{key}` is {is:?}, and wanted is {wanted}"),
            None => format!("`{key}` is not known, and wanted is {wanted}"),
        };
        let value = |key: String, is: Option<&Value>, wanted: &Wanted| match is {
            Some(is) => format!("{key} is {is}, and wanted is {wanted}"),
            None => format!("{key} is not there, and wanted is {wanted}"),
        };
        match self {
            Self::Verb(wanted) => told("verbs", Some(facts.verb.as_str()), wanted),
            Self::Phase(wanted) => told("phase", facts.phase, wanted),
            Self::Plugin(wanted) => told("plugin", facts.plugin, wanted),
            Self::Network(wanted) => told("network", Some(facts.network), wanted),
            Self::Ifname(wanted) => told("ifname", known(facts.ifname), wanted),
            Self::Pod(name, key, wanted) => told(name, facts.args.value(key).and_then(known), wanted),
            Self::Annotation(key, wanted) => {
                value(format!("annotation `{key}`"), facts.annotation(key), wanted)
            }
            Self::Config(pointer, wanted) => {
                value(format!("`config` {pointer}"), facts.pointed(pointer).as_ref(), wanted)
            }
            Self::Sample(sample) => sample.told(hook, facts),
        }
    }
}

/// At verbs that are about no container the variables are empty.
fn known(text: &str) -> Option<&str> {
    Some(text).filter(|it| !it.is_empty())
}

impl Wanted {
    fn fits(&self, is: Option<&Value>) -> bool {
        match (self, is) {
            (Self::Nothing, is) => is.is_none(),
            (Self::Text(patterns), Some(Value::String(text))) => patterns.fit(Some(text)),
            (Self::Text(patterns), Some(other)) => patterns.fit(Some(&other.to_string())),
            (Self::Text(patterns), None) => patterns.fit(None),
            (Self::Value(wanted), is) => is == Some(wanted),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Text(patterns) => patterns.fmt(f),
            Self::Value(value) => value.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
