use crate::{Failure, Interface, Scopes, Undo, Visit, parameters};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use wasmhook_cni::Object;

pub(crate) const INTERFACE: Interface = Interface {
    name: "plugin",
    free: false,
    scopes: Scopes::Pattern("portmap"),
    scope_of,
    functions: &[("invoke", invoke)],
};

/// Runs other CNI plugins, for the attachment that the call is about.
pub trait Plugins: fmt::Debug + Send {
    /// The plugin's file.
    fn find(&self, plugin: &str) -> Result<PathBuf, Failure>;
    /// Runs it; its result, if the verb has one.
    fn run(&mut self, plugin: &str, file: &Path, verb: &str, config: &Object) -> Result<Ran, Failure>;
}

/// What a plugin answered, as JSON; `None` where the verb has no result.
pub type Ran = Option<String>;

#[allow(clippy::unnecessary_wraps, reason = "one shape for all interfaces")]
fn scope_of(input: &Value) -> Option<&str> {
    Some(input.get("plugin-type").and_then(Value::as_str).unwrap_or_default())
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Invoke {
    plugin_type: String,
    verb: String,
    config: String,
}

fn invoke(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let Invoke { plugin_type, verb, config } = parameters(input)?;
    let verb = if verb.is_empty() { visit.verb } else { &verb };
    let takes_back = visit.verb == "ADD" && verb == "DEL";
    if verb != visit.verb && !takes_back {
        let why = format!("verb {verb:?} at {}: leave it empty, or write DEL at ADD", visit.verb);
        return Err(Failure::new("invalid", why));
    }
    let config = of_this_call(visit, &config)?;
    Ok(run(visit, &plugin_type, verb, &config)?.unwrap_or_default().into())
}

/// A configuration that speaks of this network, in this call's version. Empty: the call's own.
pub(crate) fn of_this_call(visit: &Visit, config: &str) -> Result<Object, Failure> {
    let invalid = |error: &dyn fmt::Display| Failure::new("invalid", format!("`config`: {error}"));
    let own: Object = visit.config.parse().map_err(|error| invalid(&error))?;
    if config.is_empty() {
        return Ok(own);
    }
    let config: Object = config.parse().map_err(|error| invalid(&error))?;
    for key in ["name", "cniVersion"] {
        let (is, was) = (config.read::<String>(key), own.read::<String>(key));
        if is.ok() != was.ok() {
            return Err(invalid(&format!("`{key}` is not this call's")));
        }
    }
    Ok(config)
}

/// Runs a plugin. What it adds is taken back with the attachment.
pub(crate) fn run(visit: &mut Visit, plugin: &str, verb: &str, config: &Object) -> Result<Ran, Failure> {
    let none =
        || Failure::new("unavailable", "no plugin is run here: this is a trial, or a hook that only watches");
    let plugins = visit.plugins.clone().ok_or_else(none)?;
    if plugin == "wasmhook" {
        return Err(Failure::new("invalid", "a hook cannot run wasmhook"));
    }
    let began = Instant::now();
    let ran = if verb == "ADD" {
        add(visit, &plugins, plugin, config)
    } else {
        let file = lock(&plugins).find(plugin)?;
        lock(&plugins).run(plugin, &file, verb, config)
    };
    visit.elsewhere += began.elapsed();
    ran
}

fn lock(plugins: &Arc<Mutex<dyn Plugins>>) -> std::sync::MutexGuard<'_, dyn Plugins + 'static> {
    plugins.lock().unwrap_or_else(PoisonError::into_inner)
}

fn add(
    visit: &Visit,
    plugins: &Arc<Mutex<dyn Plugins>>,
    plugin: &str,
    config: &Object,
) -> Result<Ran, Failure> {
    let path = lock(plugins).find(plugin)?;
    let undo =
        |config: &Object| Undo::Plugin { plugin: plugin.into(), path: path.clone(), config: raw(config) };
    let mut told = config.clone();
    let result = visit.recorded(Some(&undo(&told)), || {
        let ran = lock(plugins).run(plugin, &path, "ADD", config);
        // What it has begun is taken back at once; where that fails too, with the attachment.
        ran.map_err(|failure| (lock(plugins).run(plugin, &path, "DEL", config).is_err(), failure))
    })?;
    if let Some(result) = result.as_ref().and_then(|it| RawValue::from_string(it.clone()).ok()) {
        told.set_raw("prevResult", result);
        visit.amend(&undo(&told))?;
    }
    Ok(result)
}

fn raw(config: &Object) -> Box<RawValue> {
    // An object always is JSON.
    serde_json::value::to_raw_value(config).unwrap_or_else(|_| RawValue::NULL.to_owned())
}
