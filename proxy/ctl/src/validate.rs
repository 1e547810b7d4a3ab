use crate::asked::Asked;
use crate::explain::{self, Explained, explain};
use crate::hook_config::mistakes;
use crate::output::{BAD, BOLD, FAINT, GOOD, Output};
use crate::{Failure, Verdict, compile};
use anstyle::AnsiColor;
use clap::Args;
use serde::Serialize;
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use wasmhook_cni::{Object, SpecVersion};
use wasmhook_plugin::entry::{Entry, HookSpec, Place};
use wasmhook_plugin::settings::Settings;
use wasmhook_plugin::{Modules, find_plugin};
use wasmhook_store::Digest;
use wasmhook_wasm::{CompileError, Inspection, Source};

/// Check a conflist: every mistake at once, with its place and what to do
///
/// Checks our entries: keys, types, modules, pins, grants against what the modules import, each hook's own settings by its schema and by
/// itself (nothing it does has an effect), delegates against `CNI_PATH`. Exit code: 0 when nothing is wrong (warnings are fine), 1 when something is, 2 when it can't be read.
#[derive(Args)]
pub(crate) struct Validate {
    /// A conflist or a single plugin configuration; `-` is stdin
    conflist: PathBuf,
    /// Where plugins are looked up
    #[arg(long, value_name = "DIR:DIR", env = "CNI_PATH", default_value = "/opt/cni/bin")]
    cni_path: String,
    /// Tell which hooks a request would meet, and why it would not meet the others. A JSON file as `try --request` takes it;
    /// `-` is stdin
    #[arg(long, value_name = "REQUEST")]
    explain: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    conflist: PathBuf,
    valid: bool,
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
    /// With `--explain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    hooks: Option<Vec<Explained>>,
}

#[derive(Serialize)]
struct Finding {
    /// `plugins[0].hooks[1].module`
    path: String,
    message: String,
}

impl Validate {
    pub(crate) fn run(&self, settings: &Settings, out: &mut Output) -> Result<Verdict, Failure> {
        let text = crate::read(&self.conflist)?;
        let document: Object = serde_json::from_slice(&text).map_err(|error| Failure::Content {
            path: self.conflist.clone(),
            what: format!("not a JSON object: {error}"),
        })?;
        let asked: Option<Asked> = self.explain.as_deref().map(crate::json_file).transpose()?;
        let mut check = Check {
            settings,
            cni_path: &self.cni_path,
            asked: asked.as_ref(),
            errors: Vec::new(),
            warnings: Vec::new(),
            explained: Vec::new(),
        };
        check.document(&document)?;
        let Check { errors, warnings, explained, .. } = check;
        let valid = errors.is_empty();
        let hooks = asked.is_some().then_some(explained);
        out.print(&Report { conflist: self.conflist.clone(), valid, errors, warnings, hooks }, print)?;
        Ok(if valid { Verdict::Good } else { Verdict::Bad })
    }
}

struct Check<'a> {
    settings: &'a Settings,
    cni_path: &'a str,
    asked: Option<&'a Asked>,
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
    explained: Vec<Explained>,
}

impl Check<'_> {
    fn document(&mut self, document: &Object) -> Result<(), Failure> {
        match document.read::<String>("cniVersion") {
            Ok(version) if version.as_deref().unwrap_or("").parse::<SpecVersion>().is_ok() => {}
            Ok(version) => {
                let version = version.unwrap_or_default();
                self.error("cniVersion", format!("{version:?}: write one of {}", SpecVersion::list()));
            }
            Err(error) => self.error("cniVersion", error.to_string()),
        }
        if !matches!(document.read::<String>("name"), Ok(Some(name)) if !name.is_empty()) {
            self.error("name", "missing; write the network's name".into());
        }
        if !document.contains("plugins") {
            if document.contains("type") {
                if self.plugin(document, "")?.is_none() {
                    self.warning(
                        "type",
                        "neither the plugin nor its `ipam` is wasmhook; nothing to check".into(),
                    );
                }
            } else {
                self.error("plugins", "missing; write a list of plugins".into());
            }
            return Ok(());
        }
        let plugins: Vec<Object> = match document.read("plugins") {
            Ok(plugins) => plugins.unwrap_or_default(),
            Err(error) => {
                self.error("plugins", error.to_string());
                return Ok(());
            }
        };
        let mut ids: HashMap<String, usize> = HashMap::new();
        let mut ours = 0;
        for (index, plugin) in plugins.into_iter().enumerate() {
            // As the runtime hands it over.
            let mut plugin = plugin;
            for key in ["name", "cniVersion"] {
                if let Some(value) = document.raw(key) {
                    plugin.set_raw(key, value.to_owned());
                }
            }
            let Some((place, id)) = self.plugin(&plugin, &format!("plugins[{index}]."))? else { continue };
            ours += 1;
            if place == Place::Ipam {
                continue;
            }
            if let Some(other) = ids.insert(id.clone(), index) {
                let message = format!(
                    "{id:?} is plugins[{other}]'s as well: give each of our entries an `id` of its own, or they mistake each other's journals for theirs"
                );
                self.error(&format!("plugins[{index}].id"), message);
            }
        }
        if ours == 0 {
            self.warning("plugins", "no plugin has \"type\": \"wasmhook\"; nothing to check".into());
        }
        Ok(())
    }

    /// A plugin's configuration, if that or its `ipam` is ours: where, and the entry's id.
    fn plugin(&mut self, config: &Object, at: &str) -> Result<Option<(Place, String)>, Failure> {
        let is_ours =
            |config: &Object| matches!(config.read::<String>("type"), Ok(Some(it)) if it == "wasmhook");
        let place = Place::of(config);
        Ok(match place {
            Place::Chain if is_ours(config) => Some((place, self.entry(config, place, at)?)),
            Place::Chain => None,
            Place::Ipam => Some((place, self.entry(config, place, &format!("{at}ipam."))?)),
        })
    }

    fn entry(&mut self, config: &Object, place: Place, at: &str) -> Result<String, Failure> {
        let (mut entry, mut problems) = Entry::read(config, place, &self.settings.limits);
        entry.judge_grants(self.settings, &mut problems);
        for problem in problems.0 {
            self.error(&format!("{at}{}", problem.path), problem.message);
        }
        if place == Place::Chain {
            for key in Entry::stray_keys(config) {
                let message = "read by nobody: a wrapped plugin gets `delegate`'s own keys; move it there, or take it out";
                self.warning(&format!("{at}{key}"), message.into());
            }
        }
        let one = config.contains("delegate") || place == Place::Ipam;
        for (index, delegate) in entry.delegates.iter().enumerate() {
            let at = if one { format!("{at}delegate.") } else { format!("{at}delegates[{index}].") };
            self.delegate(delegate, &at)?;
        }
        for index in 0..entry.hooks.len() {
            self.hook(&entry.hooks, index, &format!("{at}{}", entry.hooks[index].at))?;
        }
        if let Some(asked) = self.asked {
            self.explained.extend(explain(config, &entry, at, asked)?);
        }
        Ok(entry.id)
    }

    fn delegate(&mut self, delegate: &Object, at: &str) -> Result<(), Failure> {
        let plugin: Option<String> = delegate.read("type").ok().flatten();
        if let Some(plugin) = plugin.filter(|it| !it.is_empty())
            && let Err(error) = find_plugin(&plugin, self.cni_path)
        {
            self.error(&format!("{at}type"), format!("{error}; install it, or give --cni-path"));
        }
        if Place::of(delegate) == Place::Ipam {
            self.entry(delegate, Place::Ipam, &format!("{at}ipam."))?;
        }
        Ok(())
    }

    fn hook(&mut self, hooks: &[HookSpec], index: usize, at: &str) -> Result<(), Failure> {
        let hook = &hooks[index];
        let modules = Modules::new(self.settings);
        let found = modules.path(&hook.module).map_err(|error| error.to_string());
        let read = |path: PathBuf| match compile::read(&path) {
            Ok(bytes) => Ok((path, bytes)),
            Err(error) => Err(error.to_string()),
        };
        let (path, bytes) = match found.and_then(read) {
            Ok(module) => module,
            Err(what) => {
                self.error(&format!("{at}.module"), format!("{what}; install the module there"));
                return Ok(());
            }
        };
        let digest = Digest::of(&bytes);
        if let Some(pin) = hook.pin.filter(|it| *it != digest) {
            self.error(&format!("{at}.sha256"), format!("pins {pin}, and {} has {digest}", path.display()));
        }
        if modules.store().find_digest(&digest).is_none() {
            let message =
                format!("not compiled, so the first pod waits; run `wasmhookctl compile {}`", path.display());
            self.warning(&format!("{at}.module"), message);
        }
        let inspection = match wasmhook_wasm::inspect(&bytes) {
            Ok(inspection) => inspection,
            Err(error) => {
                self.error(&format!("{at}.module"), format!("{}: {error}", path.display()));
                return Ok(());
            }
        };
        let before = self.errors.len();
        self.imports(hook, at, &path, &inspection);
        if self.errors.len() > before {
            // It could not be asked.
            return Ok(());
        }
        for (place, what) in mistakes(self.settings, hooks, index, (&path, &bytes), &inspection)? {
            self.error(&format!("{at}.config{place}"), what);
        }
        Ok(())
    }

    fn imports(&mut self, hook: &HookSpec, at: &str, path: &Path, inspection: &Inspection) {
        if !inspection.is_hook {
            let error = CompileError::World;
            self.error(&format!("{at}.module"), format!("{}: {error}", path.display()));
        }
        let mut used = Vec::new();
        for import in &inspection.imports {
            match (&import.source, import.source.interface().and_then(wasmhook_host::interface)) {
                (Source::Door | Source::Wasi, _) => {}
                (_, None) => {
                    let message = format!("imports `{}`, which this wasmhook does not offer", import.name);
                    self.error(&format!("{at}.module"), message);
                }
                (_, Some(interface)) if interface.free => {}
                (_, Some(interface)) => {
                    used.push(interface.name);
                    if !hook.grants.iter().any(|it| it.interface() == interface.name) {
                        let message =
                            format!("the module imports `{}`: add grant {:?}", import.name, interface.name);
                        self.error(&format!("{at}.grants"), message);
                    }
                }
            }
        }
        if inspection.calls_the_door() {
            // By name, while it runs: any of its grants may be what it needs.
            return;
        }
        for grant in hook.grants.iter().filter(|it| !used.contains(&it.interface())) {
            self.warning(
                &format!("{at}.grants"),
                format!("\"{grant}\" is granted and not imported; take it out"),
            );
        }
    }

    fn error(&mut self, path: &str, message: String) {
        self.errors.push(Finding { path: path.to_owned(), message });
    }

    fn warning(&mut self, path: &str, message: String) {
        self.warnings.push(Finding { path: path.to_owned(), message });
    }
}

fn print(out: &mut dyn Write, report: &Report) -> io::Result<()> {
    let warn = AnsiColor::Yellow.on_default();
    for (colour, word, findings) in [(BAD, "error", &report.errors), (warn, "warning", &report.warnings)] {
        for finding in findings {
            writeln!(out, "{colour}{word:<7}{colour:#} {BOLD}{}{BOLD:#}", finding.path)?;
            writeln!(out, "        {}", finding.message)?;
        }
    }
    explain::print(out, report.hooks.as_deref().unwrap_or_default())?;
    let name = report.conflist.display();
    match (report.errors.len(), report.warnings.len()) {
        (0, 0) => writeln!(out, "{GOOD}✓{GOOD:#} {name}"),
        (0, warnings) => writeln!(out, "{GOOD}✓{GOOD:#} {name} {FAINT}({warnings} warnings){FAINT:#}"),
        (errors, warnings) => writeln!(out, "{BAD}✗{BAD:#} {name}: {errors} errors, {warnings} warnings"),
    }
}
