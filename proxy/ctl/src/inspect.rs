use crate::output::{BOLD, FAINT, GOOD, Output, size};
use crate::table::cut;
use crate::{Failure, Verdict, compile};
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use wasmhook_plugin::Modules;
use wasmhook_plugin::settings::Settings;
use wasmhook_store::Digest;
use wasmhook_wasm::Source;

/// Show what a module is and which grants it needs; nothing of it is run
#[derive(Args)]
pub(crate) struct Inspect {
    /// A module: name or path
    module: PathBuf,
}

#[derive(Serialize)]
struct Report {
    module: PathBuf,
    sha256: String,
    bytes: u64,
    /// `component`, `core module with component metadata` or `command`.
    kind: String,
    /// Does it export what a hook does?
    hook: bool,
    exports: Vec<String>,
    imports: Vec<Import>,
    /// What `grants` must hold, as far as the imports tell.
    grants: Vec<String>,
    /// Do they tell? Which host functions a command calls is known when it calls them.
    grants_known: bool,
    /// `pre`, `post`: when it has something to do; `breaks-things`: it is skipped while faults are switched off.
    traits: Vec<&'static str>,
    /// The JSON schema of its `config`, if it carries one; text, where that is no JSON.
    settings: Option<Value>,
    /// Imports that this wasmhook does not offer: the module cannot run here.
    unknown: Vec<String>,
    /// Is a compiled form of it in the node's store?
    compiled: bool,
}

#[derive(Serialize)]
struct Import {
    name: String,
    functions: Vec<String>,
    grant: Option<String>,
    /// WASI's, which every hook may have.
    wasi: bool,
}

impl Inspect {
    pub(crate) fn run(&self, settings: &Settings, out: &mut Output) -> Result<Verdict, Failure> {
        let path = compile::resolve(&self.module, settings)?;
        let bytes = compile::read(&path)?;
        let inspection = compile::inspect(&path, &bytes)?;
        let digest = Digest::of(&bytes);
        let mut report = Report {
            sha256: digest.to_string(),
            bytes: bytes.len() as u64,
            kind: inspection.kind.to_string(),
            hook: inspection.is_hook,
            grants_known: !inspection.calls_the_door(),
            exports: inspection.exports,
            traits: inspection.traits.names(),
            settings: inspection.settings,
            imports: Vec::new(),
            grants: Vec::new(),
            unknown: Vec::new(),
            compiled: Modules::new(settings).store().find_digest(&digest).is_some(),
            module: path,
        };
        for import in inspection.imports {
            let interface = import.source.interface().and_then(wasmhook_host::interface);
            let grant = interface.filter(|it| !it.free).map(|it| it.name.to_owned());
            match (&import.source, interface) {
                (Source::Door | Source::Wasi, _) => {}
                (_, None) => report.unknown.push(import.name.clone()),
                (_, Some(interface)) => {
                    let missing = import.functions.iter().filter(|it| !interface.has(it));
                    report.unknown.extend(missing.map(|it| format!("{}#{it}", import.name)));
                }
            }
            report.grants.extend(grant.clone());
            let wasi = import.source == Source::Wasi;
            report.imports.push(Import { name: import.name, functions: import.functions, grant, wasi });
        }
        let verdict = if report.hook && report.unknown.is_empty() { Verdict::Good } else { Verdict::Bad };
        out.print(&report, text)?;
        Ok(verdict)
    }
}

fn text(out: &mut dyn Write, report: &Report) -> std::io::Result<()> {
    let row = |out: &mut dyn Write, key: &str, value: &str| writeln!(out, "{BOLD}{key:<9}{BOLD:#} {value}");
    row(out, "Module", &report.module.display().to_string())?;
    row(out, "Size", &size(report.bytes))?;
    row(out, "SHA-256", &report.sha256)?;
    row(out, "Kind", &report.kind)?;
    let hook = match (report.hook, report.kind.as_str()) {
        (true, "command") => "takes a request on stdin, prints its verdict",
        (true, _) => "for the world wasmhook:hook/hook@0.1.0",
        (false, _) => "no: it exports no wasmhook:hook/handler@0.1.0",
    };
    row(out, "Hook", hook)?;
    row(out, "Exports", &report.exports.join(", "))?;
    let mut label = "Imports";
    for import in report.imports.iter().filter(|it| !it.wasi) {
        let grant =
            import.grant.as_ref().map(|it| format!("  {FAINT}needs grant{FAINT:#} {it}")).unwrap_or_default();
        row(out, label, &format!("{}  {FAINT}{}{FAINT:#}{grant}", import.name, import.functions.join(", ")))?;
        label = "";
    }
    if let Some(wasi) = wasi(&report.imports) {
        row(out, label, &wasi)?;
    }
    if report.imports.is_empty() {
        row(out, label, "nothing")?;
    }
    let grants = match (report.grants_known, report.grants.is_empty()) {
        (false, _) => {
            "its imports do not tell: it calls host functions by name; grant what its author says".into()
        }
        (true, true) => "none".into(),
        (true, false) => format!("\"grants\": {:?}", report.grants),
    };
    row(out, "Grants", &grants)?;
    let breaks = if report.traits.contains(&"breaks-things") { ", and breaks things on purpose" } else { "" };
    let phases: Vec<_> = report.traits.iter().copied().filter(|it| *it != "breaks-things").collect();
    row(out, "Runs in", &format!("{}{breaks}", phases.join(", ")))?;
    if let Some(schema) = &report.settings {
        settings(out, schema)?;
    }
    if !report.unknown.is_empty() {
        row(out, "Unknown", &format!("{}: not offered here, so it cannot run", report.unknown.join(", ")))?;
    }
    let compiled = if report.compiled {
        format!("{GOOD}yes{GOOD:#}")
    } else {
        format!("no: run `wasmhookctl compile {}`", report.module.display())
    };
    row(out, "Compiled", &compiled)
}

/// A dozen interfaces in one line: there is nothing to decide about them.
fn wasi(imports: &[Import]) -> Option<String> {
    let names: Vec<_> = imports.iter().filter(|it| it.wasi).map(|it| it.name.as_str()).collect();
    if names.is_empty() {
        return None;
    }
    let packages: BTreeSet<_> = names.iter().map(|it| it.split('/').next().unwrap_or(it)).collect();
    let packages: Vec<_> = packages.into_iter().map(|it| it.trim_start_matches("wasi:")).collect();
    Some(format!(
        "wasi: {}  {FAINT}locked down: no files, no network, no environment{FAINT:#}",
        packages.join(", ")
    ))
}

/// What can be said of it in lines; `-o json` has all of it. (What is said has been tamed, but for names.)
fn settings(out: &mut dyn Write, schema: &Value) -> std::io::Result<()> {
    let title = schema["title"].as_str().unwrap_or("see `-o json` for its schema");
    writeln!(out, "{BOLD}{:<9}{BOLD:#} {title}", "Settings")?;
    let properties: Vec<_> = schema["properties"].as_object().into_iter().flatten().collect();
    let width = properties.iter().map(|(key, _)| key.chars().count()).max().unwrap_or_default().min(20);
    for (key, property) in properties {
        let what = property["description"].as_str().unwrap_or_default();
        let first = what.split_inclusive(". ").next().unwrap_or_default().trim_end().trim_end_matches('.');
        let (key, first) = (key.escape_debug().to_string(), cut(first, LINE.saturating_sub(12 + width)));
        writeln!(out, "{:<9} {BOLD}{key:<width$}{BOLD:#}  {FAINT}{first}{FAINT:#}", "")?;
    }
    Ok(())
}

/// What every terminal has.
const LINE: usize = 80;
