//! The node's settings: `/etc/wasmhook/config.toml`, or what `WASMHOOK_CONFIG` names. Without a file, the defaults.

use crate::limits::LimitSettings;
use crate::units::{duration, size};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};
use wasmhook_host::Grant;
use wasmhook_wasm::Isolation;

/// Where the settings are when `WASMHOOK_CONFIG` says nothing else.
pub const DEFAULT_PATH: &str = "/etc/wasmhook/config.toml";

/// The node's settings. Every path is absolute.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Directories in which a hook's `module` is looked up by name, in this order.
    pub modules: Vec<PathBuf>,
    /// Where journals are kept, and what else must outlive a call.
    pub state: PathBuf,
    /// Where compiled modules are kept; ours alone to write.
    pub compiled: PathBuf,
    /// The program that compiles a module which has not been compiled yet.
    pub compiler: PathBuf,
    /// Where hooks run: in a child process each, or in this process.
    pub isolation: Room,
    /// What of the log is written to stderr, and to `log_file`.
    pub log: Level,
    /// Where the log is written as well.
    pub log_file: Option<PathBuf>,
    /// Where counters are written for Prometheus to read; nowhere if not set.
    pub metrics: Option<PathBuf>,
    /// What random numbers of hooks begin with, beside what they are about.
    pub seed: u64,
    /// Bytes that a module may remember on this node.
    #[serde(deserialize_with = "a_size")]
    pub state_quota: u64,
    /// What ends a hook.
    pub limits: LimitSettings,
    /// How long a call may take.
    pub budgets: Budgets,
    /// The grants that a module may have at most, by its name; `"*"` for those that are not named. Empty: whatever a
    /// conflist asks for.
    #[serde(deserialize_with = "grants")]
    pub grants: BTreeMap<String, Vec<Grant>>,
}

/// How long a call may take.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budgets {
    /// The whole call.
    #[serde(deserialize_with = "a_duration")]
    pub call: Duration,
    /// All hooks of the call together.
    #[serde(deserialize_with = "a_duration")]
    pub hooks: Duration,
    /// One run of one delegate.
    #[serde(deserialize_with = "a_duration")]
    pub delegate: Duration,
    /// Of the call, kept for undoing.
    #[serde(deserialize_with = "a_duration")]
    pub reserve: Duration,
}

impl Default for Budgets {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { call: seconds(60), hooks: seconds(30), delegate: seconds(30), reserve: seconds(15) }
    }
}

fn grants<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Vec<Grant>>, D::Error> {
    let texts = BTreeMap::<String, Vec<String>>::deserialize(from)?;
    let read = |(module, texts): (String, Vec<String>)| {
        let grants = texts.iter().map(|text| Grant::parse(text)).collect::<Result<_, _>>();
        grants.map_err(|wrong| format!("`grants.{module}`: {wrong}")).map(|grants| (module, grants))
    };
    texts.into_iter().map(read).collect::<Result<_, _>>().map_err(serde::de::Error::custom)
}

fn a_size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    size(&String::deserialize(from)?).map_err(serde::de::Error::custom)
}

fn a_duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    duration(&String::deserialize(from)?).map_err(serde::de::Error::custom)
}

/// The values of `isolation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Room {
    /// A child process for each hook and plugin call.
    Module,
    /// One child process for all hooks of a call.
    Call,
    /// This process.
    None,
}

/// The values of `log`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "levels as everywhere")]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum SettingsError {
    #[error("settings {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("settings {}: {what}", path.display())]
    Wrong { path: PathBuf, what: String },
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            modules: vec!["/etc/wasmhook/modules".into(), "/usr/local/lib/wasmhook/modules".into()],
            state: "/var/lib/wasmhook/state".into(),
            compiled: "/var/lib/wasmhook/compiled".into(),
            compiler: "/usr/local/bin/wasmhookctl".into(),
            isolation: Room::Module,
            log: Level::Info,
            log_file: None,
            metrics: None,
            seed: 0,
            state_quota: 1 << 20,
            limits: LimitSettings::default(),
            budgets: Budgets::default(),
            grants: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// Reads the file that `named` gives (`WASMHOOK_CONFIG`), which must be there, or the default one, which need
    /// not.
    pub fn load(named: Option<&Path>) -> Result<Self, SettingsError> {
        let path = named.unwrap_or(Path::new(DEFAULT_PATH));
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => {
                return Ok(Self::default());
            }
            Err(source) => return Err(SettingsError::Read { path: path.into(), source }),
        };
        Self::parse(&text).map_err(|what| SettingsError::Wrong { path: path.into(), what })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let settings: Self = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        let paths =
            [("state", &settings.state), ("compiled", &settings.compiled), ("compiler", &settings.compiler)];
        let paths = paths.into_iter().chain(settings.modules.iter().map(|path| ("modules", path)));
        let paths = paths.chain(settings.log_file.iter().map(|path| ("log_file", path)));
        let paths = paths.chain(settings.metrics.iter().map(|path| ("metrics", path)));
        for (key, path) in paths {
            if !path.is_absolute() {
                return Err(format!("`{key}` = {:?}: write an absolute path", path.display().to_string()));
            }
        }
        if settings.budgets.reserve >= settings.budgets.call {
            return Err("`budgets.reserve`: all of `budgets.call`, so nothing would ever run".to_owned());
        }
        Ok(settings)
    }

    /// What of this grant a module may have on this node: all of it, parts, nothing.
    #[must_use]
    pub fn allowed(&self, module: &str, grant: &Grant) -> Vec<Grant> {
        if self.grants.is_empty() {
            return vec![grant.clone()];
        }
        let listed = self.grants.get(module).or_else(|| self.grants.get("*"));
        listed.into_iter().flatten().filter_map(|allowed| grant.both(allowed)).collect()
    }
}

impl From<Room> for Isolation {
    fn from(room: Room) -> Self {
        match room {
            Room::Module | Room::Call => Self::Child,
            Room::None => Self::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named_with_their_place() {
        let wrong = |text| Settings::parse(text).unwrap_err();
        assert!(wrong("modles = []").contains("unknown field `modles`"), "{}", wrong("modles = []"));
        assert!(wrong("compiled = \"here\"").contains("`compiled` = \"here\": write an absolute path"));
        assert!(wrong("isolation = \"all\"").contains("expected one of `module`, `call`, `none`"));
        assert!(wrong("[budgets]\ncall = \"soon\"").contains("write a time such as"));
        assert!(wrong("[budgets]\ncall = \"10s\"").contains("`budgets.reserve`"));
        assert!(wrong("[grants]\n\"*\" = [\"lnk\"]").contains("`grants.*`: \"lnk\": no such grant"));
    }

    #[test]
    fn what_the_documentation_shows_are_the_defaults() {
        let page = include_str!("../../../docs/configuration.md");
        let shown = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let shown = shown.split("# The grants that").next().unwrap();
        assert_eq!(
            format!("{:?}", Settings::parse(shown).unwrap().normal()),
            format!("{:?}", Settings::default().normal())
        );
        let keys = shown.lines().filter(|line| line.contains(" = ") && !line.starts_with("# W")).count();
        assert_eq!(keys, 40, "a key is missing, or one too many is shown");
    }

    impl Settings {
        /// With what is not set spelt out.
        fn normal(&self) -> impl std::fmt::Debug {
            let (paths, limits) =
                ((&self.modules, &self.state, &self.compiled, &self.compiler), &self.limits);
            format!(
                "{paths:?} {:?} {:?} {:?} {:?} {:?} {:?}",
                (self.seed, self.state_quota),
                self.isolation,
                self.log,
                limits.usual(),
                limits.max(),
                self.budgets
            )
        }
    }

    #[test]
    fn a_node_allows_what_it_lists() {
        let allows = |settings: &Settings, module: &str, grant: &str| {
            !settings.allowed(module, &Grant::parse(grant).unwrap()).is_empty()
        };
        assert!(allows(&Settings::default(), "any", "clock"));
        let listed = Settings::parse("[grants]\n\"*\" = [\"carry\"]\nfault = [\"clock\"]").unwrap();
        assert!(allows(&listed, "mtu", "carry") && !allows(&listed, "mtu", "clock"));
        assert!(allows(&listed, "fault", "clock") && !allows(&listed, "fault", "carry"));
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let error = Settings::load(Some(Path::new("/nowhere/config.toml"))).unwrap_err();
        assert!(error.to_string().starts_with("settings /nowhere/config.toml: No such file"));
    }
}
