use crate::process::{Finished, execute};
use serde_json::value::RawValue;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};
use wasmhook_cni::{self as cni, FieldError, Object, PluginConfig, Verb};

/// How long a plugin may take. Allocating an address on a busy node can take seconds; half a minute means stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// A real plugin, found and ready to be run.
#[derive(Debug)]
pub(crate) struct Delegate<'a> {
    plugin_type: String,
    path: PathBuf,
    environment: &'a [(OsString, OsString)],
}

/// A plugin failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it, in the reference library's words")]
pub enum DelegateError {
    /// In its own words, which are handed on unchanged.
    #[error("{0}")]
    Own(cni::Error),
    #[error("invalid plugin name: {0}")]
    Name(String),
    #[error("failed to find plugin {plugin:?} in path [{path}]")]
    NotFound { plugin: String, path: String },
    #[error("delegate `{plugin}`: cannot be run: {source}")]
    Io { plugin: String, source: io::Error },
    #[error("delegate `{plugin}`: not finished after {after:?}, killed")]
    Late { plugin: String, after: Duration },
    #[error("delegate `{plugin}`: netplugin failed with no error message: {status}")]
    Silent { plugin: String, status: String },
    #[error("delegate `{plugin}`: netplugin failed: {stderr:?}")]
    Stderr { plugin: String, stderr: String },
    #[error(
        "delegate `{plugin}`: netplugin failed but error parsing its diagnostic message {said:?}: {source}"
    )]
    Diagnostic { plugin: String, said: String, source: serde_json::Error },
    #[error("delegate `{plugin}`: ended well and printed no result: {said:?}: {source}")]
    Garbage { plugin: String, said: String, source: serde_json::Error },
}

/// The first regular file of that name in `CNI_PATH`.
pub fn find_plugin(plugin: &str, path: &str) -> Result<PathBuf, DelegateError> {
    if plugin.is_empty() || plugin == "." || plugin == ".." || plugin.contains('/') {
        return Err(DelegateError::Name(plugin.into()));
    }
    let directories: Vec<_> = path.split(':').filter(|it| !it.is_empty()).collect();
    let candidates = directories.iter().map(|directory| Path::new(directory).join(plugin));
    candidates
        .into_iter()
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| DelegateError::NotFound { plugin: plugin.into(), path: directories.join(" ") })
}

/// What a wrapped delegate gets: its own object, and from the entry what belongs to the call. `prevResult` is put
/// in when it is run.
pub(crate) fn config(entry: &PluginConfig, delegate: &Object) -> Result<Object, FieldError> {
    let mut config = delegate.clone();
    config.remove("prevResult");
    config.remove("runtimeConfig");
    for (key, value) in entry.iter() {
        if matches!(key, "name" | "cniVersion" | "args") || key.starts_with("cni.dev/") {
            config.set_raw(key, value.to_owned());
        }
    }
    let wanted = PluginConfig::from(delegate.clone()).capabilities()?;
    let given: Object = entry.read("runtimeConfig")?.unwrap_or_default();
    let mut cut = Object::new();
    for (key, value) in given.iter().filter(|(key, _)| wanted.iter().any(|it| it == key)) {
        cut.set_raw(key, value.to_owned());
    }
    if !cut.is_empty() {
        config.set("runtimeConfig", &cut)?;
    }
    Ok(config)
}

impl<'a> Delegate<'a> {
    pub(crate) fn find(
        plugin_type: &str,
        path: &str,
        environment: &'a [(OsString, OsString)],
    ) -> Result<Self, DelegateError> {
        Ok(Self { plugin_type: plugin_type.into(), path: find_plugin(plugin_type, path)?, environment })
    }

    /// Runs the plugin. `Ok(None)` for verbs without a result.
    pub(crate) fn run(
        &self,
        verb: Verb,
        config: &Object,
        prev_result: Option<&RawValue>,
        stderr: &mut dyn Write,
    ) -> Result<Option<Object>, DelegateError> {
        let mut config = config.clone();
        if let Some(prev_result) = prev_result {
            config.set_raw("prevResult", prev_result.to_owned());
        }
        let mut command = Command::new(&self.path);
        command.env_clear().envs(self.environment.iter().map(|(key, value)| (key, value)));
        command.env("CNI_COMMAND", verb.as_str());
        let plugin = || self.plugin_type.clone();
        let finished = execute(command, config.to_string().as_bytes(), Instant::now() + PATIENCE, stderr)
            .map_err(|source| DelegateError::Io { plugin: plugin(), source })?
            .ok_or_else(|| DelegateError::Late { plugin: plugin(), after: PATIENCE })?;
        if !finished.status.success() {
            return Err(self.failure(&finished));
        }
        if verb != Verb::Add {
            return Ok(None);
        }
        self.result(&finished, &config).map(Some)
    }

    /// What a plugin says that ended badly.
    fn failure(&self, finished: &Finished) -> DelegateError {
        let plugin = self.plugin_type.clone();
        let said = text(&finished.stdout);
        if said.is_empty() {
            return match text(&finished.stderr) {
                stderr if stderr.is_empty() => {
                    DelegateError::Silent { plugin, status: status(finished.status) }
                }
                stderr => DelegateError::Stderr { plugin, stderr },
            };
        }
        match serde_json::from_str::<cni::Error>(&said) {
            Ok(error) => DelegateError::Own(error),
            Err(source) => DelegateError::Diagnostic { plugin, said: brief(&said), source },
        }
    }

    fn result(&self, finished: &Finished, config: &Object) -> Result<Object, DelegateError> {
        let said = text(&finished.stdout);
        let mut result: Object = said.parse().map_err(|source| DelegateError::Garbage {
            plugin: self.plugin_type.clone(),
            said: brief(&said),
            source,
        })?;
        // Some plugins print an error and forget to fail.
        if result.contains("code")
            && result.contains("msg")
            && let Ok(error) = serde_json::from_str::<cni::Error>(&said)
        {
            return Err(DelegateError::Own(error));
        }
        if !result.contains("cniVersion")
            && let Some(version) = config.raw("cniVersion")
        {
            result.set_raw("cniVersion", version.to_owned());
        }
        Ok(result)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn brief(said: &str) -> String {
    said.chars().take(200).collect()
}

/// As Go prints it, which is what people know.
fn status(status: ExitStatus) -> String {
    match (status.code(), status.signal().map(nix::sys::signal::Signal::try_from)) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(Ok(signal))) => format!("signal: {signal}"),
        (None, _) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delegate_gets_its_own_object_and_what_belongs_to_the_call() {
        let entry = r#"{"name":"n","cniVersion":"1.0.0","type":"wasmhook","hooks":[],"mtu":1,"args":{"cni":{"ips":[]}},
            "cni.dev/attachments":[],"prevResult":{},"capabilities":{"mac":true,"ips":true},"runtimeConfig":{"mac":"m","ips":["i"]}}"#;
        let entry = PluginConfig::parse(entry).unwrap();
        let delegate =
            r#"{"type":"bridge","name":"mine","capabilities":{"mac":true},"big":12345678901234567890123}"#;
        let config = config(&entry, &delegate.parse().unwrap()).unwrap().to_string();
        assert_eq!(
            config,
            r#"{"type":"bridge","name":"n","capabilities":{"mac":true},"big":12345678901234567890123,"cniVersion":"1.0.0","args":{"cni":{"ips":[]}},"cni.dev/attachments":[],"runtimeConfig":{"mac":"m"}}"#
        );
    }

    #[test]
    fn a_plugin_is_a_file_name_and_nothing_else() {
        let found = |plugin| find_plugin(plugin, "/nowhere::/bin").map_err(|error| error.to_string());
        assert_eq!(found("sh"), Ok("/bin/sh".into()));
        assert_eq!(found("../bin/sh"), Err("invalid plugin name: ../bin/sh".into()));
        assert_eq!(found("."), Err("invalid plugin name: .".into()));
        assert_eq!(found("gone"), Err(r#"failed to find plugin "gone" in path [/nowhere /bin]"#.into()));
    }
}
