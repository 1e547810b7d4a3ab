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
use wasmhook_wasm::{CompileError, Source};

/// Check a conflist: every mistake at once, with its place and what to do
///
/// Checks our entries: keys, types, modules, pins, grants against what the modules import, delegates against
/// `CNI_PATH`. Exit code: 0 when nothing is wrong (warnings are fine), 1 when something is, 2 when it can't be read.
#[derive(Args)]
pub(crate) struct Validate {
    /// A conflist or a single plugin configuration; `-` is stdin
    conflist: PathBuf,
    /// Where plugins are looked up
    #[arg(long, value_name = "DIR:DIR", env = "CNI_PATH", default_value = "/opt/cni/bin")]
    cni_path: String,
}

#[derive(Serialize)]
struct Report {
    conflist: PathBuf,
    valid: bool,
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
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
        let mut check =
            Check { settings, cni_path: &self.cni_path, errors: Vec::new(), warnings: Vec::new() };
        check.document(&document);
        let Check { errors, warnings, .. } = check;
        let valid = errors.is_empty();
        out.print(&Report { conflist: self.conflist.clone(), valid, errors, warnings }, print)?;
        Ok(if valid { Verdict::Good } else { Verdict::Bad })
    }
}

struct Check<'a> {
    settings: &'a Settings,
    cni_path: &'a str,
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
}

impl Check<'_> {
    fn document(&mut self, document: &Object) {
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
                if self.plugin(document, "").is_none() {
                    self.warning(
                        "type",
                        "neither the plugin nor its `ipam` is wasmhook; nothing to check".into(),
                    );
                }
            } else {
                self.error("plugins", "missing; write a list of plugins".into());
            }
            return;
        }
        let plugins: Vec<Object> = match document.read("plugins") {
            Ok(plugins) => plugins.unwrap_or_default(),
            Err(error) => return self.error("plugins", error.to_string()),
        };
        let mut ids: HashMap<String, usize> = HashMap::new();
        let mut ours = 0;
        for (index, plugin) in plugins.iter().enumerate() {
            let Some((place, id)) = self.plugin(plugin, &format!("plugins[{index}].")) else { continue };
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
    }

    /// A plugin's configuration, if that or its `ipam` is ours: where, and the entry's id.
    fn plugin(&mut self, config: &Object, at: &str) -> Option<(Place, String)> {
        let is_ours =
            |config: &Object| matches!(config.read::<String>("type"), Ok(Some(it)) if it == "wasmhook");
        match Place::of(config) {
            Place::Chain if is_ours(config) => Some((Place::Chain, self.entry(config, Place::Chain, at))),
            Place::Chain => None,
            Place::Ipam => Some((Place::Ipam, self.entry(config, Place::Ipam, &format!("{at}ipam.")))),
        }
    }

    fn entry(&mut self, config: &Object, place: Place, at: &str) -> String {
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
            self.delegate(delegate, &at);
        }
        for hook in &entry.hooks {
            self.hook(hook, &format!("{at}{}", hook.at));
        }
        entry.id
    }

    fn delegate(&mut self, delegate: &Object, at: &str) {
        let plugin: Option<String> = delegate.read("type").ok().flatten();
        if let Some(plugin) = plugin.filter(|it| !it.is_empty())
            && let Err(error) = find_plugin(&plugin, self.cni_path)
        {
            self.error(&format!("{at}type"), format!("{error}; install it, or give --cni-path"));
        }
        if Place::of(delegate) == Place::Ipam {
            self.entry(delegate, Place::Ipam, &format!("{at}ipam."));
        }
    }

    fn hook(&mut self, hook: &HookSpec, at: &str) {
        let modules = Modules::new(self.settings);
        let found = modules.path(&hook.module).map_err(|error| error.to_string());
        let read = |path: PathBuf| match compile::read(&path) {
            Ok(bytes) => Ok((path, bytes)),
            Err(error) => Err(error.to_string()),
        };
        let (path, bytes) = match found.and_then(read) {
            Ok(module) => module,
            Err(what) => {
                return self.error(&format!("{at}.module"), format!("{what}; install the module there"));
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
        self.imports(hook, at, &path, &bytes);
    }

    fn imports(&mut self, hook: &HookSpec, at: &str, path: &Path, bytes: &[u8]) {
        let inspection = match wasmhook_wasm::inspect(bytes) {
            Ok(inspection) => inspection,
            Err(error) => return self.error(&format!("{at}.module"), format!("{}: {error}", path.display())),
        };
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
    let name = report.conflist.display();
    match (report.errors.len(), report.warnings.len()) {
        (0, 0) => writeln!(out, "{GOOD}✓{GOOD:#} {name}"),
        (0, warnings) => writeln!(out, "{GOOD}✓{GOOD:#} {name} {FAINT}({warnings} warnings){FAINT:#}"),
        (errors, warnings) => writeln!(out, "{BAD}✗{BAD:#} {name}: {errors} errors, {warnings} warnings"),
    }
}
