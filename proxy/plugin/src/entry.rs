//! Our entry in a conflist: from what is written to values that cannot be wrong.

use crate::limits::{Limit, LimitSettings};
use crate::problem::Problems;
use crate::settings::Settings;
use crate::when::{Facts, When};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::path::PathBuf;
use wasmhook_cni::{Object, PluginConfig, Verb};
use wasmhook_host::Grant;
use wasmhook_store::Digest;
use wasmhook_wasm::Limits;

/// Keys of an entry that are ours. Without a delegate all others belong to the hooks.
const KEYS: [&str; 6] = ["hooks", "delegate", "delegates", "id", "onDelError", "mayFailDel"];
/// What an entry is called that has no `id`.
const MAIN: &str = "main";
/// What an entry is called that stands as `ipam`.
const IPAM: &str = "ipam";
/// Keys that the specification or the runtime puts into an entry.
const CNI_KEYS: [&str; 9] =
    ["type", "name", "cniVersion", "prevResult", "runtimeConfig", "capabilities", "args", "ipam", "dns"];

/// Where our entry stands in the configuration of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the network's list.
    Chain,
    /// As `ipam` of another plugin.
    Ipam,
}

impl Place {
    /// `ipam` when that is ours and the configuration itself is somebody else's.
    #[must_use]
    pub fn of(config: &Object) -> Self {
        let ours =
            |object: &Object| object.read::<String>("type").is_ok_and(|it| it.as_deref() == Some("wasmhook"));
        match config.read::<Object>("ipam") {
            Ok(Some(ipam)) if ours(&ipam) && !ours(config) => Self::Ipam,
            _ => Self::Chain,
        }
    }

    /// The object that holds our keys.
    #[must_use]
    pub fn entry(self, config: &Object) -> Cow<'_, Object> {
        match self {
            Self::Chain => Cow::Borrowed(config),
            Self::Ipam => Cow::Owned(config.read(IPAM).ok().flatten().unwrap_or_default()),
        }
    }
}

/// Our entry, understood.
#[derive(Debug, Default)]
pub struct Entry {
    /// Tells this entry from others of ours in the same list.
    pub id: String,
    /// In list order.
    pub hooks: Vec<HookSpec>,
    /// The plugins that are wrapped, in the order of ADD.
    pub delegates: Vec<Object>,
    /// Does DEL go on to the delegates before one whose DEL failed?
    pub del_continues: bool,
    /// May a hook make DEL fail?
    pub may_fail_del: bool,
}

/// A hook in the list.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is a key of its own, or an answer")]
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
    /// Whom it meets.
    pub when: When,
    /// Could it meet this call at all? Without a call, yes.
    pub selected: bool,
    /// What of the host it may use.
    pub grants: Vec<Grant>,
    /// What ends it.
    pub limits: Limits,
    /// What its failing means.
    pub on_failure: OnFailure,
    /// Is it only asked, and never obeyed?
    pub monitor: bool,
    /// Is the node not ready without it?
    pub required: bool,
    /// Is it skipped while the node's bypass is on?
    pub bypassable: bool,
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
    gc: Effect,
    status: Effect,
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
        let (fail, ignore) = (Effect::Fail, Effect::Ignore);
        Self { add: fail, check: fail, del: ignore, gc: ignore, status: ignore }
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
            Verb::Gc => self.gc,
            Verb::Status => self.status,
            Verb::Version => Effect::Ignore,
        }
    }
}

impl Entry {
    /// Reads our entry in a call's configuration: what of it can be understood, and every mistake.
    #[must_use]
    pub fn read(config: &Object, place: Place, limits: &LimitSettings) -> (Self, Problems) {
        let mut problems = Problems::default();
        let object = place.entry(config);
        let hooks: Vec<Box<RawValue>> = problems.read(&object, "", "hooks").unwrap_or_default();
        let mut entry = Self {
            id: read_id(&object, place, &mut problems),
            may_fail_del: problems.read(&object, "", "mayFailDel").unwrap_or_default(),
            del_continues: problems.parse(&object, "", "onDelError", on_del_error).unwrap_or_default(),
            delegates: read_delegates(&object, place, &mut problems),
            hooks: Vec::with_capacity(hooks.len()),
        };
        if !object.contains("hooks") {
            problems.add("hooks", "missing; write a list of hooks, `[]` for none");
        }
        for (index, hook) in hooks.iter().enumerate() {
            let at = format!("hooks[{index}]");
            match hook.get().parse::<Object>() {
                Ok(hook) => entry.hooks.extend(HookSpec::read(&hook, at, limits, &mut problems)),
                Err(_) => problems.add(at, format!("{}: write an object with `module`", brief(hook))),
            }
        }
        (entry, problems)
    }

    /// Of what the conflist asks for, what the node allows is granted.
    pub fn judge_grants(&mut self, settings: &Settings, problems: &mut Problems) {
        for hook in &mut self.hooks {
            let mut granted = Vec::new();
            for grant in &hook.grants {
                let allowed = settings.allowed(&hook.name, grant);
                if allowed.is_empty() {
                    let refused = format!(
                        "\"{grant}\": this node does not allow it to `{}` (`grants` in its settings)",
                        hook.name
                    );
                    problems.add(format!("{}.grants", hook.at), refused);
                }
                granted.extend(allowed);
            }
            hook.grants = granted;
        }
    }

    /// Leaves aside the hooks that meet none of this call's plugins, whatever the phase.
    pub fn select(&mut self, facts: Facts<'_>) {
        let plugin_type = |delegate: &Object| delegate.read("type").ok().flatten().unwrap_or_default();
        let mut plugins: Vec<String> = self.delegates.iter().map(plugin_type).collect();
        let mut facts = facts;
        if plugins.is_empty() {
            // The entry itself is what they see.
            plugins.push(String::new());
            facts.config = Some(facts.entry);
        }
        for hook in &mut self.hooks {
            hook.selected = plugins.iter().any(|plugin| {
                facts.plugin = Some(plugin);
                hook.when.holds(&hook.name, &facts)
            });
        }
    }

    /// Keys of a wrapping entry that neither we nor anybody behind us reads: not an error, as a later version of
    /// the specification may have put them there, but most likely meant for the delegate.
    #[must_use]
    pub fn stray_keys(config: &Object) -> Vec<String> {
        if !config.contains("delegate") && !config.contains("delegates") {
            return Vec::new();
        }
        let ours = |key: &str| KEYS.contains(&key) || CNI_KEYS.contains(&key) || key.starts_with("cni.dev/");
        config.iter().map(|(key, _)| key).filter(|key| !ours(key)).map(str::to_owned).collect()
    }
}

fn read_id(object: &Object, place: Place, problems: &mut Problems) -> String {
    let plain = |text: &str| match text {
        "" | IPAM => Err(format!("{text:?}: write another name for this entry")),
        _ => Ok(text.to_owned()),
    };
    let named = problems.parse(object, "", "id", plain);
    match place {
        Place::Chain => named.unwrap_or_else(|| MAIN.to_owned()),
        Place::Ipam => named.map_or_else(|| IPAM.to_owned(), |id| format!("{IPAM}:{id}")),
    }
}

fn on_del_error(text: &str) -> Result<bool, String> {
    match text {
        "stop" => Ok(false),
        "continue" => Ok(true),
        _ => Err(format!("{text:?}: write \"stop\" or \"continue\"")),
    }
}

/// Those that can be understood, at their places.
fn read_delegates(object: &Object, place: Place, problems: &mut Problems) -> Vec<Object> {
    let one: Option<Object> = problems.read(object, "", "delegate");
    let many: Option<Vec<Box<RawValue>>> = problems.read(object, "", "delegates");
    if one.is_some() && many.is_some() {
        problems.add("delegates", "beside `delegate`: write one of the two");
    }
    if place == Place::Ipam && many.is_some() {
        problems.add("delegates", "an address has one origin: write `delegate`");
    }
    let named = match (one, many) {
        (Some(one), _) => vec![("delegate".to_owned(), one)],
        (None, many) => {
            let mut named = Vec::new();
            for (index, delegate) in many.unwrap_or_default().iter().enumerate() {
                let at = format!("delegates[{index}]");
                match delegate.get().parse() {
                    Ok(object) => named.push((at, object)),
                    Err(_) => problems.add(at, format!("{}: write an object with `type`", brief(delegate))),
                }
            }
            named
        }
    };
    for (at, delegate) in &named {
        judge_delegate(object, at, delegate, place, problems);
    }
    named.into_iter().map(|(_, delegate)| delegate).collect()
}

/// Host ports must not vanish silently: what a delegate wants from the runtime, the entry must ask for.
fn judge_delegate(object: &Object, at: &str, delegate: &Object, place: Place, problems: &mut Problems) {
    let plugin: Option<String> = problems.read(delegate, at, "type");
    match plugin.as_deref() {
        None | Some("") => problems.add(format!("{at}.type"), "missing; write the name of the plugin to run"),
        Some("wasmhook") => {
            problems.add(format!("{at}.type"), "wasmhook around wasmhook: put all hooks into one list");
        }
        Some(_) => {}
    }
    if place == Place::Ipam {
        // The runtime reads the capabilities of the plugin around us.
        return;
    }
    let ours = PluginConfig::from(object.clone()).capabilities();
    let theirs = PluginConfig::from(delegate.clone()).capabilities();
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => {
            for capability in theirs.iter().filter(|it| !ours.contains(it)) {
                let remedy = format!(
                    "declared by the delegate alone; add {capability:?} to the entry's `capabilities`"
                );
                problems.add(format!("{at}.capabilities.{capability}"), remedy);
            }
        }
        (Err(error), _) => problems.add("capabilities", error.to_string()),
        (_, Err(error)) => problems.add(format!("{at}.capabilities"), error.to_string()),
    }
}

impl HookSpec {
    /// Is a node not ready for pods without it?
    pub(crate) fn guards_every_add(&self) -> bool {
        self.required || (self.on_failure.effect(Verb::Add) == Effect::Fail && !self.when.excludes_an_add())
    }

    fn read(hook: &Object, at: String, limits: &LimitSettings, problems: &mut Problems) -> Option<Self> {
        const KEYS: [&str; 10] = [
            "module",
            "sha256",
            "config",
            "when",
            "grants",
            "limits",
            "onFailure",
            "mode",
            "required",
            "bypassable",
        ];
        problems.unknown_keys(hook, &at, &KEYS);
        if !hook.contains("module") {
            problems.add(format!("{at}.module"), "missing; write a module's name or absolute path");
        }
        let module = problems.parse(hook, &at, "module", ModuleRef::parse);
        let digest = |text: &str| {
            text.parse().map_err(|()| format!("{text:?}: write the module's SHA-256, 64 hex digits"))
        };
        let pin = problems.parse(hook, &at, "sha256", digest);
        let when = When::read(hook, &at, problems);
        let grants = read_grants(hook, &at, problems);
        let limits = read_limits(hook, &at, limits, problems);
        let monitor = problems.parse(hook, &at, "mode", is_monitor).unwrap_or_default();
        let required = problems.read(hook, &at, "required").unwrap_or_default();
        let bypassable = problems.read(hook, &at, "bypassable").unwrap_or(true);
        let on_failure = read_on_failure(hook, &at, problems);
        let config = hook
            .raw("config")
            .map_or_else(|| RawValue::from_string("{}".into()).ok(), |it| Some(it.to_owned()));
        let module = module?;
        Some(Self {
            name: module.name(),
            at,
            module,
            pin,
            config: config?,
            when,
            selected: true,
            grants,
            limits,
            on_failure,
            monitor,
            required,
            bypassable,
        })
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

fn read_grants(hook: &Object, at: &str, problems: &mut Problems) -> Vec<Grant> {
    let texts: Vec<String> = problems.read(hook, at, "grants").unwrap_or_default();
    let mut grants = Vec::new();
    for (index, text) in texts.iter().enumerate() {
        match Grant::parse(text) {
            Ok(grant) => grants.push(grant),
            Err(wrong) => problems.add(format!("{at}.grants[{index}]"), wrong),
        }
    }
    grants
}

fn read_limits(hook: &Object, at: &str, settings: &LimitSettings, problems: &mut Problems) -> Limits {
    let mut limits = settings.usual();
    let Some(object) = problems.read::<Object>(hook, at, "limits") else { return limits };
    let (at, max) = (format!("{at}.limits"), settings.max());
    for (key, value) in object.iter() {
        let set = match (Limit::find(key), serde_json::from_str(value.get())) {
            (Some(limit), Ok(written)) => {
                limit.set(&mut limits, &written, &max, " on this node (`limits.max` in its settings)")
            }
            (Some(_), Err(error)) => Err(error.to_string()),
            (None, _) => Err(format!("unknown key; known here: {}", Limit::keys())),
        };
        if let Err(wrong) = set {
            problems.add(format!("{at}.{key}"), wrong);
        }
    }
    limits
}

fn is_monitor(text: &str) -> Result<bool, String> {
    match text {
        "enforce" => Ok(false),
        "monitor" => Ok(true),
        _ => Err(format!("{text:?}: write \"enforce\" or \"monitor\"")),
    }
}

fn read_on_failure(hook: &Object, at: &str, problems: &mut Problems) -> OnFailure {
    let mut on_failure = OnFailure::default();
    let Some(object) = problems.read::<Object>(hook, at, "onFailure") else { return on_failure };
    let at = format!("{at}.onFailure");
    problems.unknown_keys(&object, &at, &["ADD", "CHECK", "DEL", "GC", "STATUS"]);
    let slots = [
        ("ADD", &mut on_failure.add),
        ("CHECK", &mut on_failure.check),
        ("DEL", &mut on_failure.del),
        ("GC", &mut on_failure.gc),
        ("STATUS", &mut on_failure.status),
    ];
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

fn brief(value: &RawValue) -> String {
    value.get().chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Entry, Vec<String>) {
        let (entry, problems) = Entry::read(&text.parse().unwrap(), Place::Chain, &LimitSettings::default());
        (entry, problems.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_mistake_is_reported_with_its_path_and_remedy() {
        let (_, problems) = read(
            r#"{"mayFailDel":"yes","delegate":{"ipam":{}},"hooks":[
                7,
                {"modul":"x"},
                {"module":"../x","sha256":"12","grants":["links"],"limits":{"cpu":"fast","wall":"0s","memory":"1TiB","ram":1,"hostCalls":"many"},"onFailure":{"ADD":"explode","VERSION":"fail"}}
            ]}"#,
        );
        assert_eq!(
            problems,
            [
                "`mayFailDel`: invalid type: string \"yes\", expected a boolean",
                "`delegate.type`: missing; write the name of the plugin to run",
                "`hooks[0]`: 7: write an object with `module`",
                "`hooks[1].modul`: unknown key; known here: module, sha256, config, when, grants, limits, onFailure, mode, required, bypassable",
                "`hooks[1].module`: missing; write a module's name or absolute path",
                "`hooks[2].module`: \"../x\": write an absolute path, or a name of letters, digits, `-`, `_` and `.`",
                "`hooks[2].sha256`: \"12\": write the module's SHA-256, 64 hex digits",
                "`hooks[2].grants[0]`: \"links\": no such grant; there are: carry, clock, random, metrics, state, link, tap, sysctl, nft, ipam, plugin, file, chaos",
                "`hooks[2].limits.cpu`: \"fast\": write a time such as \"500ms\", \"2s\" or \"1m\"",
                "`hooks[2].limits.wall`: \"0s\": nothing runs in no time",
                "`hooks[2].limits.memory`: 1TiB: 4GiB at most",
                "`hooks[2].limits.ram`: unknown key; known here: cpu, wall, memory, stack, instances, tables, tableElements, module, verdict, logLines, logBytes, hostCalls, hostBytes, links, leases",
                "`hooks[2].limits.hostCalls`: \"many\": write a whole number",
                "`hooks[2].onFailure.VERSION`: unknown key; known here: ADD, CHECK, DEL, GC, STATUS",
                "`hooks[2].onFailure.ADD`: \"explode\": write \"fail\" or \"ignore\"",
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
        assert_eq!(entry.delegates.len(), 1);
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
    fn delegates_are_a_list_or_one() {
        let (entry, problems) = read(
            r#"{"hooks":[],"delegates":[{"type":"bridge"},{"type":"wasmhook"}],"onDelError":"continue"}"#,
        );
        assert_eq!(entry.delegates.len(), 2);
        assert!(entry.del_continues);
        assert_eq!(problems, ["`delegates[1].type`: wasmhook around wasmhook: put all hooks into one list"]);
        let both = read(
            r#"{"hooks":[],"delegate":{"type":"a"},"delegates":[{"type":"b"}],"onDelError":"go","id":"ipam"}"#,
        );
        assert_eq!(
            both.1,
            [
                "`id`: \"ipam\": write another name for this entry",
                "`onDelError`: \"go\": write \"stop\" or \"continue\"",
                "`delegates`: beside `delegate`: write one of the two",
            ]
        );
    }

    #[test]
    fn as_ipam_our_entry_is_the_block_inside() {
        let place = |text: &str| Place::of(&text.parse().unwrap());
        let inside =
            r#"{"type":"bridge","ipam":{"type":"wasmhook","hooks":[],"delegate":{"type":"host-local"}}}"#;
        assert_eq!(place(inside), Place::Ipam);
        assert_eq!(place(r#"{"type":"wasmhook","ipam":{"type":"wasmhook"}}"#), Place::Chain);
        assert_eq!(place(r#"{"type":"wasmhook"}"#), Place::Chain);
        assert_eq!(place(r#"{"type":"bridge","ipam":7}"#), Place::Chain);
        let (entry, problems) = Entry::read(&inside.parse().unwrap(), Place::Ipam, &LimitSettings::default());
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!((entry.id.as_str(), entry.delegates.len()), ("ipam", 1));
    }

    #[test]
    fn the_nodes_limits_are_the_defaults_and_the_most() {
        let settings: LimitSettings =
            toml::from_str("cpu = \"1s\"\n[max]\ncpu = \"3s\"\nmemory = \"1MiB\"\n").unwrap();
        let text =
            r#"{"hooks":[{"module":"a"},{"module":"b","limits":{"cpu":"4s","memory":"2MiB","wall":"1s"}}]}"#;
        let (entry, problems) = Entry::read(&text.parse().unwrap(), Place::Chain, &settings);
        assert_eq!(entry.hooks[0].limits.cpu.as_secs(), 1);
        assert_eq!(entry.hooks[0].limits.memory, 1 << 20);
        let problems: Vec<_> = problems.0.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "`hooks[1].limits.cpu`: 4s: 3s at most on this node (`limits.max` in its settings)",
                "`hooks[1].limits.memory`: 2MiB: 1MiB at most on this node (`limits.max` in its settings)",
            ]
        );
    }

    #[test]
    fn a_modules_name_is_its_files() {
        assert_eq!(ModuleRef::parse("mtu.wasm").unwrap().name(), "mtu");
        assert_eq!(ModuleRef::parse("/opt/x/mtu.wasm").unwrap().name(), "mtu");
    }
}
