//! Our entry in a conflist: from what is written to values that cannot be wrong.

use crate::problem::Problems;
use serde_json::value::RawValue;
use std::path::PathBuf;
use std::time::Duration;
use wasmhook_cni::{Object, PluginConfig, Verb};
use wasmhook_store::Digest;
use wasmhook_wasm::Limits;

/// Keys of an entry that are ours. Without a delegate all others belong to the hooks.
const KEYS: [&str; 3] = ["hooks", "delegate", "mayFailDel"];
/// Keys that the specification or the runtime puts into an entry.
const CNI_KEYS: [&str; 9] =
    ["type", "name", "cniVersion", "prevResult", "runtimeConfig", "capabilities", "args", "ipam", "dns"];

/// Our entry, understood.
#[derive(Debug, Default)]
pub struct Entry {
    /// In list order.
    pub hooks: Vec<HookSpec>,
    /// The plugin that is wrapped.
    pub delegate: Option<Object>,
    /// May a hook make DEL fail?
    pub may_fail_del: bool,
}

/// A hook in the list.
#[derive(Debug)]
pub struct HookSpec {
    /// `hooks[0]`.
    pub at: String,
    /// For people: the module's name, or its file's without `.wasm`.
    pub name: String,
    /// Where its module is.
    pub module: ModuleRef,
    /// Nothing but the module with this digest is run.
    pub pin: Option<Digest>,
    /// Handed to the hook as it is: JSON.
    pub config: Box<RawValue>,
    /// Interfaces of the host that it may use.
    pub grants: Vec<String>,
    /// What ends it.
    pub limits: Limits,
    /// What its failing means.
    pub on_failure: OnFailure,
}

/// How a module is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModuleRef {
    /// Looked up as `<name>.wasm` in the node's module directories.
    Name(String),
    /// An absolute path.
    Path(PathBuf),
}

/// What a hook failure means for the call, per verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnFailure {
    add: Effect,
    check: Effect,
    del: Effect,
}

/// `fail` or `ignore`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The call fails.
    Fail,
    /// The call goes on as if the hook were not there; the log says so loudly.
    Ignore,
}

impl Default for OnFailure {
    /// A guard that cannot look must not let anybody in; a DEL must never get stuck.
    fn default() -> Self {
        Self { add: Effect::Fail, check: Effect::Fail, del: Effect::Ignore }
    }
}

impl OnFailure {
    /// For this verb.
    #[must_use]
    pub fn effect(self, verb: Verb) -> Effect {
        match verb {
            Verb::Add => self.add,
            Verb::Check => self.check,
            Verb::Del => self.del,
            Verb::Gc | Verb::Status | Verb::Version => Effect::Ignore,
        }
    }
}

impl Entry {
    /// Reads an entry: what of it can be understood, and every mistake.
    #[must_use]
    pub fn read(config: &Object) -> (Self, Problems) {
        let mut problems = Problems::default();
        let mut entry = Self {
            may_fail_del: problems.read(config, "", "mayFailDel").unwrap_or_default(),
            delegate: problems.read(config, "", "delegate"),
            hooks: Vec::new(),
        };
        if !config.contains("hooks") {
            problems.add("hooks", "missing; write a list of hooks, `[]` for none");
        }
        let hooks: Vec<Box<RawValue>> = problems.read(config, "", "hooks").unwrap_or_default();
        for (index, hook) in hooks.iter().enumerate() {
            let at = format!("hooks[{index}]");
            match hook.get().parse::<Object>() {
                Ok(hook) => entry.hooks.extend(HookSpec::read(&hook, at, &mut problems)),
                Err(_) => problems.add(at, format!("{}: write an object with `module`", brief(hook))),
            }
        }
        if let Some(delegate) = &entry.delegate {
            read_delegate(config, delegate, &mut problems);
        }
        (entry, problems)
    }

    /// Keys of a wrapping entry that neither we nor anybody behind us reads: not an error, as a later version of
    /// the specification may have put them there, but most likely meant for the delegate.
    #[must_use]
    pub fn stray_keys(config: &Object) -> Vec<String> {
        if !config.contains("delegate") {
            return Vec::new();
        }
        let ours = |key: &str| KEYS.contains(&key) || CNI_KEYS.contains(&key) || key.starts_with("cni.dev/");
        config.iter().map(|(key, _)| key).filter(|key| !ours(key)).map(str::to_owned).collect()
    }
}

/// Host ports must not vanish silently: what the delegate wants from the runtime, the entry must ask for.
fn read_delegate(config: &Object, delegate: &Object, problems: &mut Problems) {
    let plugin: Option<String> = problems.read(delegate, "delegate", "type");
    match plugin.as_deref() {
        None | Some("") => problems.add("delegate.type", "missing; write the name of the plugin to run"),
        Some("wasmhook") => {
            problems.add("delegate.type", "wasmhook around wasmhook: put all hooks into one list");
        }
        Some(_) => {}
    }
    let ours = PluginConfig::from(config.clone()).capabilities();
    let theirs = PluginConfig::from(delegate.clone()).capabilities();
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            for capability in theirs.iter().filter(|it| !ours.contains(it)) {
                let remedy = format!(
                    "declared by the delegate alone; add {capability:?} to the entry's `capabilities`"
                );
                problems.add(format!("delegate.capabilities.{capability}"), remedy);
            }
        }
        (Err(error), _) => problems.add("capabilities", error.to_string()),
        (_, Err(error)) => problems.add("delegate.capabilities", error.to_string()),
    }
}

impl HookSpec {
    fn read(hook: &Object, at: String, problems: &mut Problems) -> Option<Self> {
        const KEYS: [&str; 6] = ["module", "sha256", "config", "grants", "limits", "onFailure"];
        problems.unknown_keys(hook, &at, &KEYS);
        if !hook.contains("module") {
            problems.add(format!("{at}.module"), "missing; write a module's name or absolute path");
        }
        let module = problems.parse(hook, &at, "module", ModuleRef::parse);
        let digest = |text: &str| {
            text.parse().map_err(|()| format!("{text:?}: write the module's SHA-256, 64 hex digits"))
        };
        let pin = problems.parse(hook, &at, "sha256", digest);
        let grants = read_grants(hook, &at, problems);
        let limits = read_limits(hook, &at, problems);
        let on_failure = read_on_failure(hook, &at, problems);
        let config = hook
            .raw("config")
            .map_or_else(|| RawValue::from_string("{}".into()).ok(), |it| Some(it.to_owned()));
        let module = module?;
        Some(Self { name: module.name(), at, module, pin, config: config?, grants, limits, on_failure })
    }
}

impl ModuleRef {
    /// A name, or an absolute path.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self::Path(text.into()));
        }
        let plain = |char: char| char.is_ascii_alphanumeric() || "-_.".contains(char);
        if text.is_empty() || text.starts_with('.') || !text.chars().all(plain) {
            return Err(format!(
                "{text:?}: write an absolute path, or a name of letters, digits, `-`, `_` and `.`"
            ));
        }
        Ok(Self::Name(text.strip_suffix(".wasm").unwrap_or(text).to_owned()))
    }

    /// For people.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Name(name) => name.clone(),
            Self::Path(path) => {
                path.file_stem().map_or_else(|| path.display().to_string(), |it| it.to_string_lossy().into())
            }
        }
    }
}

fn read_grants(hook: &Object, at: &str, problems: &mut Problems) -> Vec<String> {
    let grants: Vec<String> = problems.read(hook, at, "grants").unwrap_or_default();
    let known =
        || wasmhook_host::INTERFACES.iter().filter(|it| !it.free).map(|it| it.name).collect::<Vec<_>>();
    for (index, grant) in grants.iter().enumerate() {
        if wasmhook_host::interface(grant).is_none() {
            let remedy = format!("{grant:?}: no such grant; there are: {}", known().join(", "));
            problems.add(format!("{at}.grants[{index}]"), remedy);
        }
    }
    grants
}

fn read_limits(hook: &Object, at: &str, problems: &mut Problems) -> Limits {
    let mut limits = Limits::default();
    let Some(object) = problems.read::<Object>(hook, at, "limits") else { return limits };
    let at = format!("{at}.limits");
    problems.unknown_keys(&object, &at, &["cpu", "wall", "memory"]);
    if let Some(cpu) = problems.parse(&object, &at, "cpu", duration) {
        limits.cpu = cpu;
    }
    if let Some(wall) = problems.parse(&object, &at, "wall", duration) {
        limits.wall = wall;
    }
    if let Some(memory) = problems.parse(&object, &at, "memory", bytes) {
        limits.memory = memory;
    }
    limits
}

fn read_on_failure(hook: &Object, at: &str, problems: &mut Problems) -> OnFailure {
    let mut on_failure = OnFailure::default();
    let Some(object) = problems.read::<Object>(hook, at, "onFailure") else { return on_failure };
    let at = format!("{at}.onFailure");
    problems.unknown_keys(&object, &at, &["ADD", "CHECK", "DEL"]);
    let slots =
        [("ADD", &mut on_failure.add), ("CHECK", &mut on_failure.check), ("DEL", &mut on_failure.del)];
    for (verb, slot) in slots {
        if let Some(effect) = problems.parse(&object, &at, verb, effect) {
            *slot = effect;
        }
    }
    on_failure
}

fn effect(text: &str) -> Result<Effect, String> {
    match text {
        "fail" => Ok(Effect::Fail),
        "ignore" => Ok(Effect::Ignore),
        _ => Err(format!("{text:?}: write \"fail\" or \"ignore\"")),
    }
}

/// An hour is longer than any runtime waits.
const LONGEST: Duration = Duration::from_hours(1);

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time.is_zero() => Err(format!("{text:?}: nothing runs in no time")),
        Ok(time) if time > LONGEST => Err(format!("{text:?}: an hour at most")),
        Ok(time) => Ok(time),
        Err(_) => Err(format!("{text:?}: write a time such as \"500ms\", \"2s\" or \"1m\"")),
    }
}

/// The whole of a 32-bit guest's memory.
const LARGEST: u64 = 4 << 30;

fn bytes(text: &str) -> Result<u64, String> {
    match text.parse::<bytesize::ByteSize>() {
        Ok(size) if size.as_u64() == 0 => Err(format!("{text:?}: nothing runs in no memory")),
        Ok(size) if size.as_u64() > LARGEST => Err(format!("{text:?}: 4GiB at most")),
        Ok(size) => Ok(size.as_u64()),
        Err(_) => Err(format!("{text:?}: write a size such as \"64MiB\"")),
    }
}

fn brief(value: &RawValue) -> String {
    value.get().chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Entry, Vec<String>) {
        let (entry, problems) = Entry::read(&text.parse().unwrap());
        (entry, problems.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_mistake_is_reported_with_its_path_and_remedy() {
        let (_, problems) = read(
            r#"{"mayFailDel":"yes","delegate":{"ipam":{}},"hooks":[
                7,
                {"modul":"x"},
                {"module":"../x","sha256":"12","grants":["links"],"limits":{"cpu":"fast","wall":"0s","memory":"1TiB","ram":1},"onFailure":{"ADD":"explode","GC":"fail"}}
            ]}"#,
        );
        assert_eq!(
            problems,
            [
                "`mayFailDel`: invalid type: string \"yes\", expected a boolean",
                "`hooks[0]`: 7: write an object with `module`",
                "`hooks[1].modul`: unknown key; known here: module, sha256, config, grants, limits, onFailure",
                "`hooks[1].module`: missing; write a module's name or absolute path",
                "`hooks[2].module`: \"../x\": write an absolute path, or a name of letters, digits, `-`, `_` and `.`",
                "`hooks[2].sha256`: \"12\": write the module's SHA-256, 64 hex digits",
                "`hooks[2].grants[0]`: \"links\": no such grant; there are: carry, clock",
                "`hooks[2].limits.ram`: unknown key; known here: cpu, wall, memory",
                "`hooks[2].limits.cpu`: \"fast\": write a time such as \"500ms\", \"2s\" or \"1m\"",
                "`hooks[2].limits.wall`: \"0s\": nothing runs in no time",
                "`hooks[2].limits.memory`: \"1TiB\": 4GiB at most",
                "`hooks[2].onFailure.GC`: unknown key; known here: ADD, CHECK, DEL",
                "`hooks[2].onFailure.ADD`: \"explode\": write \"fail\" or \"ignore\"",
                "`delegate.type`: missing; write the name of the plugin to run",
            ]
        );
    }

    #[test]
    fn hooks_that_are_not_there_are_a_mistake_and_not_an_empty_list() {
        assert_eq!(read(r#"{"hoks":[]}"#).1, ["`hooks`: missing; write a list of hooks, `[]` for none"]);
        assert!(read(r#"{"hooks":[]}"#).1.is_empty());
    }

    #[test]
    fn what_is_right_beside_a_mistake_is_still_read() {
        let (entry, problems) =
            read(r#"{"hooks":[{"module":"a"},{"modul":"b"}],"delegate":{"type":"bridge"}}"#);
        assert_eq!((entry.hooks.len(), problems.len()), (1, 2));
        assert!(entry.delegate.is_some());
    }

    #[test]
    fn a_capability_of_the_delegate_alone_is_a_mistake() {
        let (_, problems) = read(
            r#"{"hooks":[],"capabilities":{"mac":true},"delegate":{"type":"bridge","capabilities":{"mac":true,"portMappings":true,"ips":false}}}"#,
        );
        assert_eq!(
            problems,
            [
                "`delegate.capabilities.portMappings`: declared by the delegate alone; add \"portMappings\" to the entry's `capabilities`"
            ]
        );
    }

    #[test]
    fn keys_that_nobody_reads_are_told_in_a_wrapping_entry_only() {
        let wrapping = r#"{"type":"wasmhook","hooks":[],"delegate":{"type":"x"},"mtu":1,"cni.dev/a":[]}"#;
        assert_eq!(Entry::stray_keys(&wrapping.parse().unwrap()), ["mtu"]);
        assert!(Entry::stray_keys(&r#"{"hooks":[],"mtu":1}"#.parse().unwrap()).is_empty());
    }

    #[test]
    fn a_modules_name_is_its_files() {
        assert_eq!(ModuleRef::parse("mtu.wasm").unwrap().name(), "mtu");
        assert_eq!(ModuleRef::parse("/opt/x/mtu.wasm").unwrap().name(), "mtu");
    }
}
