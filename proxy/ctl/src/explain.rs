use crate::Failure;
use crate::asked::Asked;
use crate::output::{BOLD, FAINT, GOOD};
use serde::Serialize;
use std::io::{self, Write};
use wasmhook_cni::{Args, Environment, Object, PluginConfig};
use wasmhook_plugin::Meeting;
use wasmhook_plugin::entry::Entry;

/// A hook of a conflist and a request.
#[derive(Serialize)]
pub(crate) struct Explained {
    /// `plugins[0].hooks[1]`
    path: String,
    module: String,
    /// The delegate's type; empty where there is none.
    plugin: String,
    /// `pre`, `post`; none: the hook is not met.
    phases: Vec<&'static str>,
    /// The conditions of its `when` that do not hold.
    unmet: Vec<String>,
}

/// Which hooks of this entry the request meets. `config` is the entry, with the network's name in it.
pub(crate) fn explain(
    config: &Object,
    entry: &Entry,
    at: &str,
    asked: &Asked,
) -> Result<Vec<Explained>, Failure> {
    let mut config = PluginConfig::from(config.clone());
    if let Some(runtime_config) = asked.runtime_config() {
        let _ = config.set("runtimeConfig", &runtime_config);
    }
    let args: Args = asked.args.clone().unwrap_or_default().into_iter().collect();
    let environment = Environment {
        verb: asked.verb()?,
        container_id: asked.container_id(),
        netns: asked.netns(),
        ifname: asked.ifname(),
        args: String::new(),
        path: String::new(),
    };
    let meetings = wasmhook_plugin::explain(entry, &config, &environment, &args)
        .map_err(|error| Failure::Value("--explain", error.to_string()))?;
    let explained = |it: Meeting<'_>| Explained {
        path: format!("{at}{}", it.hook.at),
        module: it.hook.name.clone(),
        plugin: it.plugin,
        phases: it.phases,
        unmet: it.unmet,
    };
    Ok(meetings.into_iter().map(explained).collect())
}

pub(crate) fn print(out: &mut dyn Write, explained: &[Explained]) -> io::Result<()> {
    for it in explained {
        let around = if it.plugin.is_empty() { String::new() } else { format!(" around {}", it.plugin) };
        let (path, module) = (&it.path, &it.module);
        if it.phases.is_empty() {
            writeln!(out, "{FAINT}skips{FAINT:#}   {BOLD}{path}{BOLD:#} {module}{around}")?;
            it.unmet.iter().try_for_each(|unmet| writeln!(out, "        {unmet}"))?;
        } else {
            let phases = it.phases.join(", ");
            writeln!(
                out,
                "{GOOD}meets{GOOD:#}   {BOLD}{path}{BOLD:#} {module}{around} {FAINT}({phases}){FAINT:#}"
            )?;
        }
    }
    Ok(())
}
