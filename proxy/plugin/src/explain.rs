use crate::delegate;
use crate::entry::{Entry, HookSpec, Place};
use crate::when::Facts;
use wasmhook_cni::{Args, Environment, FieldError, PluginConfig};

/// A hook and a plugin of a call.
#[derive(Debug)]
pub struct Meeting<'a> {
    /// The hook.
    pub hook: &'a HookSpec,
    /// The plugin's type; `""` where there is none.
    pub plugin: String,
    /// The phases that it is met in: of `pre` and `post`.
    pub phases: Vec<&'static str>,
    /// Why it is not met, if it is met in none: the conditions that do not hold, each with what is instead.
    pub unmet: Vec<String>,
}

/// Which hooks of an entry a call meets, and why it does not meet the others.
pub fn explain<'a>(
    entry: &'a Entry,
    config: &PluginConfig,
    environment: &Environment,
    args: &Args,
) -> Result<Vec<Meeting<'a>>, FieldError> {
    let place = Place::of(config);
    let mut plugins = Vec::new();
    for plugin in &entry.delegates {
        let plugin_type: Option<String> = plugin.read("type")?;
        plugins.push((plugin_type.unwrap_or_default(), delegate::handed_down(config, place, plugin)?));
    }
    if plugins.is_empty() {
        plugins.push((String::new(), delegate::own(config, place)));
    }
    let (network, mut meetings) = (config.name(), Vec::new());
    for (plugin, seen) in &plugins {
        let facts = |phase: Option<&'static str>| Facts {
            phase,
            plugin: Some(plugin),
            config: Some(seen),
            ..Facts::of(environment, &network, args, config)
        };
        for hook in &entry.hooks {
            let met = |phase: &&'static str| hook.when.holds(&hook.name, &facts(Some(*phase)));
            let phases: Vec<_> = ["pre", "post"].into_iter().filter(met).collect();
            let why_in = |phase| hook.when.unmet(&hook.name, &facts(phase));
            let mut unmet = Vec::new();
            if phases.is_empty() {
                unmet = why_in(None);
                if unmet.is_empty() {
                    // No more is wrong than that both phases are excluded.
                    unmet = why_in(Some("pre"));
                }
            }
            meetings.push(Meeting { hook, plugin: plugin.clone(), phases, unmet });
        }
    }
    Ok(meetings)
}
