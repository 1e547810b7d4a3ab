use super::pattern::Patterns;
use super::sample::{Per, Sample};
use super::{Condition, Wanted, When};
use crate::problem::Problems;
use serde_json::Value;
use wasmhook_cni::{Object, Verb};

const KEYS: [&str; 13] = [
    "verbs",
    "phase",
    "plugin",
    "network",
    "ifname",
    "podNamespace",
    "podName",
    "podUid",
    "annotations",
    "config",
    "percent",
    "per",
    "seed",
];

impl When {
    /// Reads a hook's `when`: what of it can be understood, and every mistake.
    pub(crate) fn read(hook: &Object, at: &str, problems: &mut Problems) -> Self {
        let Some(when) = problems.read::<Object>(hook, at, "when") else { return Self::default() };
        let at = format!("{at}.when");
        problems.unknown_keys(&when, &at, &KEYS);
        let mut conditions = Vec::new();
        let mut add = |key: &str, make: fn(Patterns) -> Condition, problems: &mut Problems| {
            conditions.extend(patterns(&when, &at, key, problems).map(make));
        };
        add("verbs", Condition::Verb, problems);
        add("phase", Condition::Phase, problems);
        add("plugin", Condition::Plugin, problems);
        add("network", Condition::Network, problems);
        add("ifname", Condition::Ifname, problems);
        add("podNamespace", |it| Condition::Pod("podNamespace", "K8S_POD_NAMESPACE", it), problems);
        add("podName", |it| Condition::Pod("podName", "K8S_POD_NAME", it), problems);
        add("podUid", |it| Condition::Pod("podUid", "K8S_POD_UID", it), problems);
        for (key, wanted) in members(&when, &at, "annotations", problems) {
            conditions.push(Condition::Annotation(key, wanted));
        }
        for (pointer, wanted) in members(&when, &at, "config", problems) {
            if pointer.starts_with('/') {
                conditions.push(Condition::Config(pointer, wanted));
            } else {
                let path = format!("{at}.config.{pointer}");
                problems
                    .add(path, "write a JSON pointer, such as \"/mtu\" or \"/runtimeConfig/portMappings\"");
            }
        }
        conditions.extend(sample(&when, &at, problems).map(Condition::Sample));
        judge_words(&conditions, &at, problems);
        conditions.shrink_to_fit();
        Self(conditions)
    }
}

/// One pattern, or a list.
fn patterns(when: &Object, at: &str, key: &str, problems: &mut Problems) -> Option<Patterns> {
    // To be wrong takes serde ten times as long as to be right.
    let texts = if when.raw(key)?.get().starts_with('"') {
        Ok(vec![problems.read(when, at, key)?])
    } else {
        texts(&problems.read::<Value>(when, at, key)?)
    };
    texts.and_then(Patterns::new).map_err(|wrong| problems.add(format!("{at}.{key}"), wrong)).ok()
}

fn texts(value: &Value) -> Result<Vec<String>, String> {
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        other => Err(format!("{other}: write a pattern, such as \"shop-*\", or a list of patterns")),
    };
    match value {
        Value::Array(values) => values.iter().map(text).collect(),
        value => text(value).map(|text| vec![text]),
    }
}

/// An object of names and what is wanted of each.
fn members(when: &Object, at: &str, key: &str, problems: &mut Problems) -> Vec<(String, Wanted)> {
    let Some(object) = problems.read::<Object>(when, at, key) else { return Vec::new() };
    let mut members = Vec::new();
    for (name, value) in object.iter() {
        let wanted = match serde_json::from_str(value.get()).unwrap_or_default() {
            Value::Null => Ok(Wanted::Nothing),
            value @ (Value::String(_) | Value::Array(_)) => {
                texts(&value).and_then(Patterns::new).map(Wanted::Text)
            }
            value => Ok(Wanted::Value(value)),
        };
        match wanted {
            Ok(wanted) => members.push((name.to_owned(), wanted)),
            Err(wrong) => problems.add(format!("{at}.{key}.{name}"), wrong),
        }
    }
    members
}

fn sample(when: &Object, at: &str, problems: &mut Problems) -> Option<Sample> {
    let per = problems.parse(when, at, "per", Per::parse);
    let seed: Option<u64> = problems.read(when, at, "seed");
    let Some(percent) = problems.read::<f64>(when, at, "percent") else {
        for (key, is_there) in [("per", per.is_some()), ("seed", seed.is_some())] {
            if is_there && !when.contains("percent") {
                problems.add(format!("{at}.{key}"), "means nothing without `percent`");
            }
        }
        return None;
    };
    if !(0.0..=100.0).contains(&percent) {
        problems.add(format!("{at}.percent"), format!("{percent}: write 0 to 100"));
    }
    Some(Sample { percent, per: per.unwrap_or_default(), seed: seed.unwrap_or_default() })
}

/// What can only be one of a few words must fit one, or the hook would meet nobody, ever.
fn judge_words(conditions: &[Condition], at: &str, problems: &mut Problems) {
    let verbs = [Verb::Add, Verb::Check, Verb::Del, Verb::Gc, Verb::Status].map(Verb::as_str);
    for condition in conditions {
        let (key, patterns, words) = match condition {
            Condition::Verb(patterns) => ("verbs", patterns, &verbs[..]),
            Condition::Phase(patterns) => ("phase", patterns, &["pre", "post"][..]),
            _ => continue,
        };
        for pattern in patterns.all() {
            if !words.iter().any(|word| super::pattern::glob(pattern, word)) {
                let words = words.join(", ");
                problems.add(format!("{at}.{key}"), format!("{pattern:?} fits none of {words}"));
            }
        }
    }
}
