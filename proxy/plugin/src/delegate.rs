use crate::entry::Place;
use crate::process::{ExecuteError, Finished, execute};
use crate::spawn::Program;
use serde_json::value::RawValue;
use std::cell::RefCell;
use std::ffi::{CString, NulError, OsString};
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmhook_cni::{
    self as cni, ConvertError, FieldError, Object, PluginConfig, SpecVersion, Verb, code, convert,
};
use wasmhook_store::Versions;

/// How long a plugin may take to say which versions it knows.
const VERSION_PATIENCE: Duration = Duration::from_secs(5);

/// What all plugins of a call get.
pub(crate) struct Surroundings<'a> {
    /// Every variable that we got.
    pub(crate) variables: Arc<Vec<(OsString, OsString)>>,
    pub(crate) versions: Versions,
    /// Where what plugins say on theirs is copied to.
    pub(crate) stderr: RefCell<&'a mut dyn Write>,
}

/// A real plugin, found and ready to be run.
#[derive(Debug)]
pub(crate) struct Delegate {
    pub(crate) plugin_type: String,
    pub(crate) path: PathBuf,
}

/// One run of a plugin.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) verb: Verb,
    /// Without `prevResult`.
    pub(crate) config: &'a Object,
    pub(crate) prev_result: Option<&'a RawValue>,
    pub(crate) until: Instant,
    /// The journal, whose lock the plugin inherits.
    pub(crate) keep: Option<BorrowedFd<'a>>,
    /// Variables that are not as we got them.
    pub(crate) overrides: &'a [(&'static str, String)],
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
    /// It could not be found.
    #[error("{0}")]
    Missing(String),
    #[error("failed to find plugin {plugin:?} in path [{path}]")]
    NotFound { plugin: String, path: String },
    #[error("delegate `{plugin}`: cannot be run: {source}")]
    NotStarted { plugin: String, source: io::Error },
    #[error("delegate `{plugin}`: {source}")]
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
    #[error("delegate `{plugin}`: {source}")]
    Version { plugin: String, source: ConvertError },
    #[error("delegate `{plugin}` as IPAM returned no addresses")]
    NoAddress { plugin: String },
}

/// Does it name a plugin, be it there or not?
pub(crate) fn has_plain_type(delegate: &Object) -> bool {
    let plugin: Option<String> = delegate.read("type").ok().flatten();
    plugin.is_some_and(|plugin| is_plain(&plugin))
}

fn is_plain(plugin: &str) -> bool {
    !(plugin.is_empty() || plugin == "." || plugin == ".." || plugin.contains('/'))
}

/// The first regular file of that name in `CNI_PATH`.
pub fn find_plugin(plugin: &str, path: &str) -> Result<PathBuf, DelegateError> {
    if !is_plain(plugin) {
        return Err(DelegateError::Name(plugin.into()));
    }
    let directories: Vec<_> = path.split(':').filter(|it| !it.is_empty()).collect();
    let candidates = directories.iter().map(|directory| Path::new(directory).join(plugin));
    candidates
        .into_iter()
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| DelegateError::NotFound { plugin: plugin.into(), path: directories.join(" ") })
}

/// What a delegate gets before hooks have seen it.
pub(crate) fn handed_down(
    entry: &PluginConfig,
    place: Place,
    delegate: &Object,
) -> Result<Object, FieldError> {
    if place == Place::Ipam {
        return Ok(ipam_config(entry, delegate));
    }
    let mut handed_down = config(entry, delegate);
    let runtime_config = runtime_config(entry, delegate)?;
    if !runtime_config.is_empty() {
        handed_down.set_raw("runtimeConfig", to_raw(&runtime_config));
    }
    Ok(handed_down)
}

/// What hooks see where there is no delegate: the configuration without what is ours alone.
pub(crate) fn own(entry: &PluginConfig, place: Place) -> Object {
    let mut config = Object::clone(entry);
    match place {
        Place::Chain => drop(config.remove("hooks")),
        Place::Ipam => {
            let mut ipam = place.entry(entry).into_owned();
            ipam.remove("hooks");
            config.set_raw("ipam", to_raw(&ipam));
        }
    }
    config
}

/// What the plugin behind us as IPAM gets: all of the configuration, with its own block in place of ours.
fn ipam_config(config: &PluginConfig, delegate: &Object) -> Object {
    let mut config = Object::clone(config);
    config.remove("prevResult");
    config.set_raw("ipam", to_raw(delegate));
    config
}

/// What a wrapped delegate gets: its own object, and from the entry what belongs to the call. `prevResult` is put
/// in when it is run.
pub(crate) fn config(entry: &PluginConfig, delegate: &Object) -> Object {
    let mut config = delegate.clone();
    config.remove("prevResult");
    config.remove("runtimeConfig");
    for (key, value) in entry.iter() {
        if matches!(key, "name" | "cniVersion" | "args") || key.starts_with("cni.dev/") {
            config.set_raw(key, value.to_owned());
        }
    }
    config
}

/// Of what the runtime has put in, what the delegate's capabilities name.
fn runtime_config(entry: &PluginConfig, delegate: &Object) -> Result<Object, FieldError> {
    let wanted = PluginConfig::from(delegate.clone()).capabilities()?;
    let given: Object = entry.read("runtimeConfig")?.unwrap_or_default();
    let mut cut = Object::new();
    for (key, value) in given.iter().filter(|(key, _)| wanted.iter().any(|it| it == key)) {
        cut.set_raw(key, value.to_owned());
    }
    Ok(cut)
}

impl Delegate {
    pub(crate) fn find(plugin_type: &str, path: &str) -> Result<Self, DelegateError> {
        Ok(Self { plugin_type: plugin_type.into(), path: find_plugin(plugin_type, path)? })
    }

    /// The plugin that this object is the configuration of.
    pub(crate) fn of(object: &Object, path: &str) -> Result<Self, DelegateError> {
        let plugin_type: String = object.read("type").ok().flatten().unwrap_or_default();
        Self::find(&plugin_type, path)
    }

    /// Runs the plugin, in the newest version that both it and the configuration know. `Ok(None)` for verbs without a
    /// result, and for STATUS and GC with a plugin that knows neither.
    pub(crate) fn run(
        &self,
        run: &Run<'_>,
        around: &Surroundings<'_>,
    ) -> Result<Option<Object>, DelegateError> {
        let wanted = PluginConfig::from(run.config.clone()).version().unwrap_or(SpecVersion::V0_1_0);
        let mut known = around.versions.recall(&self.path);
        if known.is_none() && matches!(run.verb, Verb::Gc | Verb::Status) {
            known = Some(self.ask_versions(run, around));
            if known.as_ref().is_some_and(Vec::is_empty) {
                return Ok(None);
            }
        }
        let mut spoken = known.as_deref().map_or(wanted, |known| highest_common(known, wanted));
        if matches!(run.verb, Verb::Gc | Verb::Status) && spoken < SpecVersion::V1_1_0 {
            return Ok(None);
        }
        let result = match self.run_in(spoken, wanted, run, around) {
            Err(DelegateError::Own(error)) if error.code == code::INCOMPATIBLE_VERSION => {
                // Not asked yet, or what it runs has changed behind its file.
                let before = spoken;
                spoken = highest_common(&self.ask_versions(run, around), wanted);
                if spoken == before {
                    return Err(DelegateError::Own(error));
                }
                tracing::debug!(delegate = self.plugin_type, version = %spoken, "speaks an older version");
                self.run_in(spoken, wanted, run, around)
            }
            ran => ran,
        }?;
        let Some(result) = result else { return Ok(None) };
        convert(&result, spoken, wanted).map(Some).map_err(|source| self.version_error(source))
    }

    /// One run in this version. What comes back is in the version that it says itself.
    fn run_in(
        &self,
        spoken: SpecVersion,
        wanted: SpecVersion,
        run: &Run<'_>,
        around: &Surroundings<'_>,
    ) -> Result<Option<Object>, DelegateError> {
        let mut config = run.config.clone();
        if spoken != wanted {
            config.set_str("cniVersion", spoken.as_str());
        }
        if let Some(prev_result) = run.prev_result {
            let prev_result = match prev_result.get().parse::<Object>() {
                // It has its own version when the conflist has been edited since ADD.
                Ok(object) if !is_in(&object, spoken, wanted) => match convert(&object, wanted, spoken) {
                    Ok(converted) => Some(to_raw(&converted)),
                    // A DEL goes without rather than not at all.
                    Err(error) if run.verb == Verb::Del => {
                        tracing::error!(delegate = self.plugin_type, "prevResult: {error}; left out");
                        None
                    }
                    Err(error) => return Err(self.version_error(error)),
                },
                _ => Some(prev_result.to_owned()),
            };
            if let Some(prev_result) = prev_result {
                config.set_raw("prevResult", prev_result);
            }
        }
        let finished = self.execute(run.verb, config.to_string().as_bytes(), run, around)?;
        if !finished.status.success() {
            return Err(self.failure(&finished));
        }
        if run.verb != Verb::Add {
            return Ok(None);
        }
        self.result(&finished).map(Some)
    }

    fn execute(
        &self,
        verb: Verb,
        input: &[u8],
        run: &Run<'_>,
        around: &Surroundings<'_>,
    ) -> Result<Finished, DelegateError> {
        let plugin = || self.plugin_type.clone();
        let started = Instant::now();
        if started >= run.until {
            let source = io::Error::new(io::ErrorKind::TimedOut, "the call's time is over");
            return Err(DelegateError::NotStarted { plugin: plugin(), source });
        }
        let program = self
            .program(verb, run, around)
            .map_err(|source| DelegateError::NotStarted { plugin: plugin(), source: source.into() })?;
        match execute(&program, input, run.until, run.keep, *around.stderr.borrow_mut()) {
            Ok(Some(finished)) => Ok(finished),
            Ok(None) => Err(DelegateError::Late { plugin: plugin(), after: started.elapsed() }),
            Err(ExecuteError::Spawn(source)) => Err(DelegateError::NotStarted { plugin: plugin(), source }),
            Err(ExecuteError::Talk(source)) => Err(DelegateError::Io { plugin: plugin(), source }),
        }
    }

    /// The whole environment, but for what is this run's own.
    fn program(&self, verb: Verb, run: &Run<'_>, around: &Surroundings<'_>) -> Result<Program, NulError> {
        let own = run.overrides.iter().map(|(key, value)| (*key, value.as_str()));
        let own: Vec<_> = own.chain([("CNI_COMMAND", verb.as_str())]).collect();
        let inherited = around.variables.iter().filter(|(key, _)| own.iter().all(|(name, _)| key != name));
        let inherited = inherited.map(|(key, value)| [key.as_bytes(), b"=", value.as_bytes()].concat());
        let own = own.iter().map(|(key, value)| format!("{key}={value}").into_bytes());
        let path = CString::new(self.path.as_os_str().as_bytes())?;
        Ok(Program {
            arguments: vec![path.clone()],
            path,
            environment: inherited.chain(own).map(CString::new).collect::<Result<_, _>>()?,
        })
    }

    /// Asked once, remembered for the file. Whoever does not answer knows what it was asked in.
    fn ask_versions(&self, run: &Run<'_>, around: &Surroundings<'_>) -> Vec<String> {
        let run = Run { until: run.until.min(Instant::now() + VERSION_PATIENCE), ..*run };
        let input = format!("{{\"cniVersion\":{:?}}}", SpecVersion::V1_0_0.as_str());
        let said = match self.execute(Verb::Version, input.as_bytes(), &run, around) {
            Ok(finished) => text(&finished.stdout),
            Err(error) => {
                tracing::warn!("asked for its versions: {error}");
                String::new()
            }
        };
        let said: Object = said.parse().unwrap_or_default();
        let known: Vec<String> = said.read("supportedVersions").ok().flatten().unwrap_or_default();
        around.versions.remember(&self.path, &known);
        known
    }

    fn version_error(&self, source: ConvertError) -> DelegateError {
        DelegateError::Version { plugin: self.plugin_type.clone(), source }
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
                stderr => DelegateError::Stderr { plugin, stderr: stderr.chars().take(4096).collect() },
            };
        }
        match serde_json::from_str::<cni::Error>(&said) {
            Ok(error) => DelegateError::Own(error),
            Err(source) => DelegateError::Diagnostic { plugin, said: brief(&said), source },
        }
    }

    fn result(&self, finished: &Finished) -> Result<Object, DelegateError> {
        let said = text(&finished.stdout);
        let result: Object = said.parse().map_err(|source| DelegateError::Garbage {
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
        Ok(result)
    }
}

/// Is a result in this version? One that says none is in that of its configuration.
fn is_in(result: &Object, version: SpecVersion, of_config: SpecVersion) -> bool {
    match result.read::<String>("cniVersion") {
        Ok(Some(said)) if !said.is_empty() => said == version.as_str(),
        _ => version == of_config,
    }
}

/// The newest version that is on the list and not newer than the one wanted; that one when there is none.
fn highest_common(known: &[String], wanted: SpecVersion) -> SpecVersion {
    let known = known.iter().filter_map(|it| it.parse::<SpecVersion>().ok());
    known.filter(|it| *it <= wanted).max().unwrap_or(wanted)
}

/// JSON text of an object.
pub(crate) fn to_raw(object: &Object) -> Box<RawValue> {
    // An object always is JSON.
    serde_json::value::to_raw_value(object).unwrap_or_else(|_| RawValue::NULL.to_owned())
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
        let delegate = delegate.parse().unwrap();
        assert_eq!(
            config(&entry, &delegate).to_string(),
            r#"{"type":"bridge","name":"n","capabilities":{"mac":true},"big":12345678901234567890123,"cniVersion":"1.0.0","args":{"cni":{"ips":[]}},"cni.dev/attachments":[]}"#
        );
        assert_eq!(runtime_config(&entry, &delegate).unwrap().to_string(), r#"{"mac":"m"}"#);
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
