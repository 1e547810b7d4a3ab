//! `wasmhookctl`: what a person types. It holds the compiler; `wasmhook`, which runtimes start, does not.
//!
//! One file per command, in the order of [`Command`]; `output` is how all of them print. What `attachments` and `gc` go by
//! is what is `held`, and whom `gc` asks what is `valid`. What `try` and `validate` are asked about is what is `asked`; for the latter
//! a hook's settings are judged by `hook_config`, and a call is `explain`ed.

mod asked;
mod attachments;
mod bypass;
mod compile;
mod cri;
mod diff;
mod explain;
mod faults;
mod gc;
mod held;
mod hook_config;
mod inspect;
mod output;
mod shell;
mod table;
mod try_hook;
mod valid;
mod validate;

use clap::{Parser, Subcommand};
use output::{Format, Output};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use wasmhook_plugin::settings::{Settings, SettingsError};

/// Compile, inspect and try wasmhook modules; check a conflist; look after a node.
///
/// wasmhook is a CNI plugin that runs WebAssembly modules ("hooks") before and after the real network plugins of
/// every container. This program is for the people who write and install them.
#[derive(Parser)]
#[command(name = "wasmhookctl", version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Settings of the node
    #[arg(long, global = true, value_name = "FILE", env = "WASMHOOK_CONFIG")]
    settings: Option<PathBuf>,
    /// How to print: for a person, or for a program
    #[arg(short, long, global = true, value_enum, default_value = "text")]
    output: Format,
}

const EXAMPLES: &str = "Examples:
  wasmhookctl inspect mtu.wasm      what it is, which grants it needs
  wasmhookctl try mtu.wasm --config bridge.json --hook-config '{\"mtu\":1400}'
  wasmhookctl validate /etc/cni/net.d/10-net.conflist
  wasmhookctl compile --all         before an upgrade, so that no pod waits
  wasmhookctl attachments           what is held on this node
  wasmhookctl gc --help             after a crash
  wasmhookctl bypass on --for 30m   when a hook itself is the trouble
  wasmhookctl faults off            no hook breaks anything on purpose";

#[derive(Subcommand)]
enum Command {
    Compile(compile::Compile),
    Inspect(inspect::Inspect),
    Try(try_hook::Try),
    Validate(validate::Validate),
    Attachments(attachments::Attachments),
    Gc(gc::Gc),
    Bypass(bypass::Bypass),
    Faults(faults::Faults),
    Completion(shell::Completion),
    Man(shell::Man),
}

/// Why a command did not do what it was asked. The first line says what, the sources why.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("module {}: {source}", path.display())]
    Module { path: PathBuf, source: wasmhook_wasm::CompileError },
    #[error("{}: {what}", path.display())]
    Content { path: PathBuf, what: String },
    #[error("{0}: {1}")]
    Value(&'static str, String),
    #[error(transparent)]
    Lookup(#[from] wasmhook_plugin::ModuleError),
    #[error(transparent)]
    Store(#[from] wasmhook_store::StoreError),
    #[error(transparent)]
    Cri(#[from] cri::CriError),
    #[error("output: {0}")]
    Output(#[from] std::io::Error),
}

impl Failure {
    /// Is this machine at fault, where a module was to be read?
    fn is_the_hosts(&self) -> bool {
        matches!(self, Self::Module { source, .. } if source.is_the_hosts())
    }
}

/// Did a command find what it looked for to be in order?
enum Verdict {
    Good,
    Bad,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let mut out = Output::new(cli.output);
    let done = match &cli.command {
        Command::Compile(command) => settings(&cli).and_then(|settings| command.run(&settings, &mut out)),
        Command::Inspect(command) => settings(&cli).and_then(|settings| command.run(&settings, &mut out)),
        Command::Try(command) => settings(&cli).and_then(|settings| command.run(&settings, &mut out)),
        Command::Validate(command) => settings(&cli).and_then(|settings| command.run(&settings, &mut out)),
        Command::Attachments(command) => settings(&cli).and_then(|settings| command.run(&settings, &mut out)),
        Command::Gc(command) => {
            settings(&cli).and_then(|settings| command.run(&settings, cli.settings.as_deref(), &mut out))
        }
        Command::Bypass(command) => settings(&cli).and_then(|settings| command.run(&settings, &mut out)),
        Command::Faults(command) => settings(&cli).and_then(|settings| command.run(&settings, &mut out)),
        Command::Completion(command) => command.run(),
        Command::Man(command) => command.run(),
    };
    match done {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::FAILURE,
        // `wasmhookctl … | head` is no failure.
        Err(Failure::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure);
            ExitCode::from(2)
        }
    }
}

fn settings(cli: &Cli) -> Result<Settings, Failure> {
    Ok(Settings::load(cli.settings.as_deref())?)
}

/// A file that holds JSON of a certain shape.
fn json_file<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Failure> {
    serde_json::from_slice(&read(path)?)
        .map_err(|error| Failure::Content { path: path.into(), what: error.to_string() })
}

/// A file's bytes; `-` is stdin.
fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|mut file| file.read_to_end(&mut bytes))
    };
    read.map(|_| bytes).map_err(|source| Failure::File { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
