//! The node's settings: `/etc/wasmhook/config.toml`, or what `WASMHOOK_CONFIG` names. Without a file, the defaults.

use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::{fs, io};
use wasmhook_wasm::Isolation;

/// Where the settings are when `WASMHOOK_CONFIG` says nothing else.
pub const DEFAULT_PATH: &str = "/etc/wasmhook/config.toml";

/// The node's settings. Every path is absolute.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Directories in which a hook's `module` is looked up by name, in this order.
    pub modules: Vec<PathBuf>,
    /// Where compiled modules are kept; ours alone to write.
    pub compiled: PathBuf,
    /// The program that compiles a module which has not been compiled yet.
    pub compiler: PathBuf,
    /// Where hooks run: in a child process each, or in this process.
    pub isolation: Room,
    /// What of the log is written to stderr.
    pub log: Level,
}

/// The values of `isolation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Room {
    /// A child process for each visit of each hook.
    Module,
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
            compiled: "/var/lib/wasmhook/compiled".into(),
            compiler: "/usr/local/bin/wasmhookctl".into(),
            isolation: Room::Module,
            log: Level::Info,
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
        let paths = [("compiled", &settings.compiled), ("compiler", &settings.compiler)];
        let paths = paths.into_iter().chain(settings.modules.iter().map(|path| ("modules", path)));
        for (key, path) in paths {
            if !path.is_absolute() {
                return Err(format!("`{key}` = {:?}: write an absolute path", path.display().to_string()));
            }
        }
        Ok(settings)
    }
}

impl From<Room> for Isolation {
    fn from(room: Room) -> Self {
        match room {
            Room::Module => Self::Module,
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
        assert!(wrong("isolation = \"call\"").contains("expected `module` or `none`"));
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let error = Settings::load(Some(Path::new("/nowhere/config.toml"))).unwrap_err();
        assert!(error.to_string().starts_with("settings /nowhere/config.toml: No such file"));
    }
}
