use crate::output::{FAINT, GOOD, Output, complain, size};
use crate::{Failure, Verdict};
use clap::Args;
use serde::Serialize;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Instant;
use wasmhook_plugin::settings::Settings;
use wasmhook_plugin::{Modules, entry::ModuleRef};
use wasmhook_store::{Compiled, Digest};
use wasmhook_wasm::{CompileError, Inspection, LARGEST_MODULE, MachineCode};

/// Compile modules ahead of time, so that no pod waits for it
///
/// A module that is not compiled when the first pod meets it is compiled then, which the pod waits for (5 s at
/// most). What is compiled already is left alone.
///
/// Exit code: 0 when all is compiled, 1 when a module is no good, 2 when the store or the machine is.
#[derive(Args)]
pub(crate) struct Compile {
    /// Modules: names or paths
    #[arg(required_unless_present = "all")]
    modules: Vec<PathBuf>,
    /// Every module in the node's module directories
    #[arg(long, conflicts_with = "modules")]
    all: bool,
    /// Where compiled modules are kept [default: the node's setting `compiled`]
    #[arg(long, value_name = "DIR")]
    compiled: Option<PathBuf>,
    /// Write the compiled module to stdout and keep nothing; for wasmhook itself
    #[arg(long, hide = true)]
    stdout: bool,
    /// Print errors only
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Serialize)]
struct Row {
    module: PathBuf,
    sha256: String,
    bytes: u64,
    compiled_bytes: u64,
    /// 0 when it had been compiled before.
    milliseconds: u128,
}

impl Compile {
    pub(crate) fn run(&self, settings: &Settings, out: &mut Output) -> Result<Verdict, Failure> {
        let directory = self.compiled.as_deref().unwrap_or(&settings.compiled);
        let store = Compiled::new(directory, wasmhook_wasm::build_id());
        let modules = if self.all { all(&settings.modules)? } else { self.named(settings)? };
        if self.stdout {
            return to_stdout(&store, &modules);
        }
        let mut rows = Vec::new();
        let mut verdict = Verdict::Good;
        for module in modules {
            let read = read(&module);
            // Not there, no file, no module: the others are still compiled.
            let mut is_the_modules = read.is_err();
            let row = read.and_then(|bytes| compile(&store, &module, &bytes)).inspect_err(|failure| {
                is_the_modules |= matches!(failure, Failure::Module { .. }) && !failure.is_the_hosts();
            });
            match row {
                Ok(row) => rows.push(row),
                Err(failure) if is_the_modules => {
                    complain(&failure);
                    verdict = Verdict::Bad;
                }
                // What is wrong with the store is wrong for all of them. wasmhook tells it by the exit code.
                Err(failure) => return Err(failure),
            }
        }
        if !self.quiet {
            out.print(&rows, |out, rows| {
                for row in rows {
                    let took = match row.milliseconds {
                        0 => "was compiled already".to_owned(),
                        time => format!("{time} ms"),
                    };
                    let (name, sizes) = (row.module.display(), (size(row.bytes), size(row.compiled_bytes)));
                    writeln!(
                        out,
                        "{GOOD}✓{GOOD:#} {name}  {FAINT}{} → {}, {took}{FAINT:#}",
                        sizes.0, sizes.1
                    )?;
                }
                if rows.is_empty() && self.all {
                    let places: Vec<_> = settings.modules.iter().map(|it| it.display().to_string()).collect();
                    writeln!(out, "no modules in {}", places.join(", "))?;
                }
                Ok(())
            })?;
        }
        Ok(verdict)
    }

    fn named(&self, settings: &Settings) -> Result<Vec<PathBuf>, Failure> {
        self.modules.iter().map(|module| resolve(module, settings)).collect()
    }
}

/// A path as it is, a bare name by way of the module directories.
pub(crate) fn resolve(module: &Path, settings: &Settings) -> Result<PathBuf, Failure> {
    let text = module.to_string_lossy();
    if module.exists() || text.contains('/') {
        return Ok(module.to_owned());
    }
    match ModuleRef::parse(&text) {
        Ok(name) => Ok(Modules::new(settings).path(&name)?),
        Err(what) => Err(Failure::Value("module", what)),
    }
}

fn all(directories: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut modules = Vec::new();
    for directory in directories {
        let failed = |source| Failure::File { path: directory.clone(), source };
        match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(entries) => {
                for entry in entries {
                    let path = entry.map_err(failed)?.path();
                    modules.extend(Some(path).filter(|it| it.extension().is_some_and(|it| it == "wasm")));
                }
            }
        }
    }
    modules.sort();
    Ok(modules)
}

/// Compiles one module into the store, unless it is there.
fn compile(store: &Compiled, module: &Path, bytes: &[u8]) -> Result<Row, Failure> {
    let digest = Digest::of(bytes);
    store.prepare()?;
    let started = Instant::now();
    let (artifact, milliseconds) = if let Some(artifact) = store.find_digest(&digest) {
        (artifact, 0)
    } else {
        let MachineCode { code, traits } = machine_code(module, bytes)?;
        (store.put(&digest, &code, traits.bits())?, started.elapsed().as_millis().max(1))
    };
    let compiled_bytes =
        artifact.file.metadata().map_err(|source| Failure::File { path: module.into(), source })?.len();
    Ok(Row {
        module: module.into(),
        sha256: digest.to_string(),
        bytes: bytes.len() as u64,
        compiled_bytes,
        milliseconds,
    })
}

/// A module's bytes, not endlessly many.
pub(crate) fn read(module: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = Compiled::open_module(module)?.take(LARGEST_MODULE + 1).read_to_end(&mut bytes);
    read.map_err(|source| Failure::File { path: module.into(), source })?;
    if bytes.len() as u64 > LARGEST_MODULE {
        return Err(Failure::Module { path: module.into(), source: CompileError::Size });
    }
    Ok(bytes)
}

/// Compiled in a child: what has read a stranger's bytes is not this process.
pub(crate) fn machine_code(module: &Path, bytes: &[u8]) -> Result<MachineCode, Failure> {
    wasmhook_wasm::compile(bytes).map_err(|source| Failure::Module { path: module.into(), source })
}

/// What a module is, read in a child as well.
pub(crate) fn inspect(module: &Path, bytes: &[u8]) -> Result<Inspection, Failure> {
    wasmhook_wasm::inspect(bytes).map_err(|source| Failure::Module { path: module.into(), source })
}

fn to_stdout(store: &Compiled, modules: &[PathBuf]) -> Result<Verdict, Failure> {
    let [module] = modules else {
        return Err(Failure::Value("--stdout", "takes one module".into()));
    };
    let bytes = read(module)?;
    let MachineCode { code, traits } = machine_code(module, &bytes)?;
    store.write_to(&mut io::stdout().lock(), &Digest::of(&bytes), &code, traits.bits())?;
    Ok(Verdict::Good)
}
