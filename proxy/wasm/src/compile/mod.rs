//! From what a person has to what can be run: a component or a command, compiled ahead of time. In `wasmhookctl`
//! alone.
//!
//! All of it reads what a stranger has written, so all of it happens in a child that can compute and answer and nothing
//! else (`confined`, as `nobody`). In there: what uses `proposals` that no hook may use is refused, `kind` tells what a module is, and
//! `component` makes one where that is meant; `carried` is what it brings for us beside its code.

mod carried;
mod component;
mod confined;
mod error;
mod kind;
mod nobody;
mod proposals;

pub use error::CompileError;

use crate::{Traits, engine};
use confined::Bounds;
use kind::Found;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Bytes of a module. Python's, the largest that we know, has 18 MB.
pub const LARGEST_MODULE: u64 = 256 << 20;
/// Functions that a module may import: each is linked in every call of every pod. The contract and all of WASI have
/// 300 together.
const MOST_IMPORTS: usize = 1000;

/// What a module is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A component.
    Component,
    /// A core module that says which component is meant: it becomes one when it is compiled.
    Metadata,
    /// A plain WASI program: a request on stdin, a verdict on stdout.
    Command,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Component => "component",
            Self::Metadata => "core module with component metadata",
            Self::Command => "command",
        })
    }
}

/// What a module can import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// An interface of our contract; its name is the grant that it needs.
    Contract(String),
    /// The door of commands: which host functions they call is not known before they do.
    Door,
    /// What every hook may have of WASI: no files, no network, no environment.
    Wasi,
    /// Nothing that we know.
    Unknown,
}

impl Source {
    /// The interface of our contract that it is.
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        match self {
            Self::Contract(interface) => Some(interface),
            Self::Door | Self::Wasi | Self::Unknown => None,
        }
    }
}

/// What a module imports from the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Import {
    /// As it stands in the module: `wasmhook:host/log@0.1.0`.
    pub name: String,
    /// Whose it is.
    pub source: Source,
    /// The functions that are imported from it.
    pub functions: Vec<String>,
}

/// What can be said of a module without running it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// What it is.
    pub kind: Kind,
    /// Does it export what a hook does?
    pub is_hook: bool,
    /// What it exports.
    pub exports: Vec<String>,
    /// What it imports; interfaces that hold types alone are left out.
    pub imports: Vec<Import>,
    /// What it says of itself.
    pub traits: Traits,
    /// The JSON schema of its settings, if it carries one. A stranger's: it may be anything, and is text where it is no JSON.
    pub settings: Option<serde_json::Value>,
}

/// A compiled module.
#[derive(Clone, Debug)]
pub struct MachineCode {
    /// What [`Arrival::artifact`](crate::Arrival::artifact) wants.
    pub code: Vec<u8>,
    /// What it says of itself.
    pub traits: Traits,
}

impl Inspection {
    /// Does it import the door of commands? Then its imports do not tell which grants it needs.
    #[must_use]
    pub fn calls_the_door(&self) -> bool {
        self.imports.iter().any(|import| import.source == Source::Door)
    }
}

/// Compiles a module, for any processor of this machine's architecture.
///
/// This forks, as [`inspect`] does: call it from the main thread of a process that has only one.
pub fn compile(module: &[u8]) -> Result<MachineCode, CompileError> {
    check_size(module)?;
    let engine = || engine::compiler().map_err(|error| CompileError::Cranelift(format!("{error:#}")));
    let mut code = confined::run(&Bounds::default(), engine, |engine| {
        let mut code = compile_here(&engine, module)?;
        code.push(carried::of(module)?.traits.bits());
        Ok(code)
    })?;
    let traits = Traits::from_bits(code.pop().unwrap_or_default());
    Ok(MachineCode { code, traits })
}

/// Reads a module's type. Nothing of it is run, nothing is compiled.
pub fn inspect(module: &[u8]) -> Result<Inspection, CompileError> {
    check_size(module)?;
    let bounds = Bounds { output: confined::LONGEST_WORD, ..Bounds::default() };
    let said = confined::run(&bounds, || Ok(()), |()| confined::to_words(&inspect_here(module)?))?;
    confined::from_words(&said)
}

fn compile_here(engine: &wasmtime::Engine, module: &[u8]) -> Result<Vec<u8>, CompileError> {
    let failed = |error: wasmtime::Error| CompileError::Cranelift(format!("{error:#}"));
    let compile_component = |component: &[u8]| {
        if !component::inspect(component, Kind::Component)?.is_hook {
            return Err(CompileError::World);
        }
        engine.precompile_component(component).map_err(failed)
    };
    match kind::of(module)? {
        Found::Component => compile_component(module),
        Found::Metadata(core) => compile_component(&component::encode(module, &core)?),
        Found::Command(_) => engine.precompile_module(module).map_err(failed),
    }
}

fn inspect_here(module: &[u8]) -> Result<Inspection, CompileError> {
    let inspection = match kind::of(module)? {
        Found::Component => component::inspect(module, Kind::Component),
        Found::Metadata(core) => component::inspect(&component::encode(module, &core)?, Kind::Metadata),
        Found::Command(command) => Ok(command),
    }?;
    let carried::Carried { traits, settings } = carried::of(module)?;
    Ok(Inspection { traits, settings, ..inspection })
}

fn check_size(module: &[u8]) -> Result<(), CompileError> {
    if module.len() as u64 > LARGEST_MODULE { Err(CompileError::Size) } else { Ok(()) }
}
