use crate::output::{BOLD, FAINT, GOOD, LOUD, Output};
use crate::table::Table;
use crate::{Failure, Verdict, compile};
use anstyle::Style;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use wasmhook_cni::Object;
use wasmhook_plugin::Modules;
use wasmhook_plugin::entry::{Entry, HookSpec, Place};
use wasmhook_plugin::settings::Settings;
use wasmhook_store::{Digest, FaultSwitch, Space, State};

/// Where a hook that breaks things says whom it is at, in what it remembers of the node.
const ACTIVE: &str = "active/";
const PATIENCE: Duration = Duration::from_secs(2);

/// Switch off all hooks of this node that break things on purpose, or look for them
///
/// A hook that breaks things says so in its module (`wasmhookctl inspect` shows it), or has the grant `chaos`. While faults are
/// off none of them is asked, whatever its settings say: from the next call on, until they are switched on again. It is a
/// file, so that `touch` does it as well; `list` tells which.
#[derive(Args)]
#[command(after_help = "Examples:
  wasmhookctl faults off     stop: no hook breaks anything from the next call on
  wasmhookctl faults list    which there are, until when, and whom they are at
  wasmhookctl faults on      go on as the conflists say")]
pub(crate) struct Faults {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// No hook breaks anything from now on
    Off,
    /// Hooks break things again, as the conflists say
    On,
    /// Tell whether faults are on, which hooks break things, and whom they are at. Exit code: 0, or 1 while faults are off
    List {
        /// Where conflists are
        #[arg(long, value_name = "DIR", env = "CNI_CONF_DIR", default_value = "/etc/cni/net.d")]
        conflists: PathBuf,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    off: bool,
    /// The file that switches them off.
    switch: PathBuf,
    hooks: Vec<Hook>,
    /// Whom they are at, as they have written it down.
    active: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Hook {
    conflist: PathBuf,
    /// `plugins[0].hooks[1]`
    path: String,
    module: String,
    not_before: Option<String>,
    not_after: Option<String>,
}

impl Faults {
    pub(crate) fn run(&self, settings: &Settings, out: &mut Output) -> Result<Verdict, Failure> {
        let switch = FaultSwitch::of(&settings.state);
        match &self.command {
            Command::Off => switch.off()?,
            Command::On => drop(switch.on()?),
            Command::List { conflists } => return list(settings, &switch, conflists, out),
        }
        let off = switch.is_off();
        let report = Report { off, switch: switch.file().to_owned(), hooks: Vec::new(), active: Vec::new() };
        out.print(&report, |out, report| headline(out, report))?;
        Ok(Verdict::Good)
    }
}

fn list(
    settings: &Settings,
    switch: &FaultSwitch,
    conflists: &Path,
    out: &mut Output,
) -> Result<Verdict, Failure> {
    let mut hooks = Vec::new();
    for file in files(conflists)? {
        hooks.extend(breaking(settings, &file));
    }
    let modules: BTreeSet<_> = hooks.iter().map(|it| it.module.clone()).collect();
    let report = Report {
        off: switch.is_off(),
        switch: switch.file().to_owned(),
        active: active(settings, &modules)?,
        hooks,
    };
    out.print(&report, text)?;
    Ok(if report.off { Verdict::Bad } else { Verdict::Good })
}

/// What libcni would read.
fn files(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = |source| Failure::File { path: directory.to_owned(), source };
    let entries = match directory.read_dir() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let is_one = path.extension().is_some_and(|it| it == "conflist" || it == "conf" || it == "json");
        files.extend(Some(path).filter(|_| is_one));
    }
    files.sort();
    Ok(files)
}

/// The hooks of a conflist that break things. One that is no conflist has none.
fn breaking(settings: &Settings, file: &Path) -> Vec<Hook> {
    let document: Option<Object> = crate::read(file).ok().and_then(|it| serde_json::from_slice(&it).ok());
    let Some(document) = document else { return Vec::new() };
    let plugins = match document.read::<Vec<Object>>("plugins") {
        Ok(Some(plugins)) => {
            plugins.into_iter().enumerate().map(|(at, it)| (format!("plugins[{at}]."), it)).collect()
        }
        _ => vec![(String::new(), document)],
    };
    let mut hooks = Vec::new();
    for (at, plugin) in plugins {
        let place = Place::of(&plugin);
        let at = if place == Place::Ipam { format!("{at}ipam.") } else { at };
        let (entry, _) = Entry::read(&plugin, place, &settings.limits);
        for hook in entry.hooks.iter().filter(|hook| breaks_things(settings, hook)) {
            let own: Value = serde_json::from_str(hook.config.get()).unwrap_or_default();
            let told = |key: &str| own.get(key).and_then(Value::as_str).map(str::to_owned);
            hooks.push(Hook {
                conflist: file.to_owned(),
                path: format!("{at}{}", hook.at),
                module: hook.name.clone(),
                not_before: told("notBefore"),
                not_after: told("notAfter"),
            });
        }
    }
    hooks
}

fn breaks_things(settings: &Settings, hook: &HookSpec) -> bool {
    let by_itself = || {
        let modules = Modules::new(settings);
        let path = modules.path(&hook.module).ok()?;
        let bytes = compile::read(&path).ok()?;
        let traits = match modules.store().find_digest(&Digest::of(&bytes)) {
            Some(artifact) => wasmhook_wasm::Traits::from_bits(artifact.traits),
            None => compile::inspect(&path, &bytes).ok()?.traits,
        };
        Some(traits.breaks_things())
    };
    hook.grants.iter().any(|it| it.interface() == "chaos") || by_itself().unwrap_or_default()
}

fn active(settings: &Settings, modules: &BTreeSet<String>) -> Result<Vec<String>, Failure> {
    if !State::is_at(&settings.state) {
        return Ok(Vec::new());
    }
    let mut state = State::new(&settings.state, settings.state_quota);
    let mut active = Vec::new();
    for module in modules {
        let shelf = state.shelf(Space::node(module), Instant::now() + PATIENCE)?;
        for key in shelf.keys(ACTIVE)? {
            active.extend(shelf.get(&key)?.map(|value| String::from_utf8_lossy(&value).into_owned()));
        }
    }
    active.sort();
    active.dedup();
    Ok(active)
}

fn headline(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let file = report.switch.display();
    if report.off {
        writeln!(
            out,
            "{LOUD}faults are OFF{LOUD:#} on this node: no hook breaks anything {FAINT}({file}){FAINT:#}"
        )
    } else {
        writeln!(
            out,
            "{GOOD}faults are on{GOOD:#}, as the conflists say {FAINT}(off: `wasmhookctl faults off`){FAINT:#}"
        )
    }
}

fn text(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    headline(out, report)?;
    if report.hooks.is_empty() {
        return writeln!(out, "no hook in the conflists breaks things");
    }
    let row = |hook: &Hook| {
        let name = hook.conflist.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let dash = || "-".to_owned();
        let (from, until) = (hook.not_before.clone(), hook.not_after.clone());
        (
            [
                name,
                hook.path.clone(),
                hook.module.clone(),
                from.unwrap_or_else(dash),
                until.unwrap_or_else(dash),
            ],
            Style::new(),
        )
    };
    let rows = report.hooks.iter().map(row).collect();
    Table { head: ["CONFLIST", "HOOK", "MODULE", "NOT BEFORE", "NOT AFTER"], elastic: &[0, 1], rows }
        .print(out)?;
    if !report.active.is_empty() {
        writeln!(out, "{BOLD}active{BOLD:#}")?;
    }
    report.active.iter().try_for_each(|it| writeln!(out, "  {}", it.escape_debug()))
}
