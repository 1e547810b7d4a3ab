use crate::output::{BOLD, FAINT, GOOD, Output, size};
use crate::{Failure, Verdict, compile};
use clap::Args;
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;
use wasmhook_plugin::Modules;
use wasmhook_plugin::settings::Settings;
use wasmhook_store::Digest;

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
    /// Does it export the hook's handler?
    hook: bool,
    exports: Vec<String>,
    imports: Vec<Import>,
    /// What `grants` must hold.
    grants: Vec<String>,
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
}

impl Inspect {
    pub(crate) fn run(&self, settings: &Settings, out: &mut Output) -> Result<Verdict, Failure> {
        let path = compile::resolve(&self.module, settings)?;
        let bytes = crate::read(&path)?;
        let inspection = wasmhook_wasm::inspect(&bytes)
            .map_err(|source| Failure::Module { path: path.clone(), source })?;
        let digest = Digest::of(&bytes);
        let mut report = Report {
            sha256: digest.to_string(),
            bytes: bytes.len() as u64,
            hook: inspection.is_hook,
            exports: inspection.exports,
            imports: Vec::new(),
            grants: Vec::new(),
            unknown: Vec::new(),
            compiled: Modules::new(settings).store().find_digest(&digest).is_some(),
            module: path,
        };
        for import in inspection.imports {
            let interface = import.interface.as_deref().and_then(wasmhook_host::interface);
            let grant = interface.filter(|it| !it.free).map(|it| it.name.to_owned());
            match interface {
                None => report.unknown.push(import.name.clone()),
                Some(interface) => {
                    let missing = import.functions.iter().filter(|it| !interface.has(it));
                    report.unknown.extend(missing.map(|it| format!("{}#{it}", import.name)));
                }
            }
            report.grants.extend(grant.clone());
            report.imports.push(Import { name: import.name, functions: import.functions, grant });
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
    let world = if report.hook {
        "wasmhook:hook/hook@0.1.0"
    } else {
        "none of ours: it exports no wasmhook:hook/handler@0.1.0"
    };
    row(out, "World", world)?;
    row(out, "Exports", &report.exports.join(", "))?;
    let mut label = "Imports";
    for import in &report.imports {
        let grant =
            import.grant.as_ref().map(|it| format!("  {FAINT}needs grant{FAINT:#} {it}")).unwrap_or_default();
        row(out, label, &format!("{}  {FAINT}{}{FAINT:#}{grant}", import.name, import.functions.join(", ")))?;
        label = "";
    }
    if report.imports.is_empty() {
        row(out, label, "nothing")?;
    }
    let grants =
        if report.grants.is_empty() { "none".to_owned() } else { format!("\"grants\": {:?}", report.grants) };
    row(out, "Grants", &grants)?;
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
