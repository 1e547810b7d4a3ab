//! From what a person has to what can be run: a component, compiled ahead of time. In `wasmhookctl` alone.

use crate::{engine, link};
use std::collections::BTreeMap;
use wasmparser::Parser;
use wit_component::DecodedWasm;

/// Why a module cannot become a compiled hook.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum CompileError {
    #[error("not WebAssembly: starts with {0}")]
    NotWasm(String),
    #[error(
        "a core module, not a component: build it with a linker that makes components, such as wasm-component-ld"
    )]
    Core,
    #[error("damaged: {0}")]
    Damaged(String),
    #[error(
        "exports no `wasmhook:hook/handler@0.1.0`: not a hook, or made for another version of the contract"
    )]
    World,
    #[error("cannot be compiled: {0}")]
    Cranelift(String),
}

/// What a component imports from the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// As it stands in the component: `wasmhook:host/log@0.1.0`.
    pub name: String,
    /// The grant it needs, where it is an interface of our contract.
    pub interface: Option<String>,
    /// The functions that are imported from it.
    pub functions: Vec<String>,
}

/// What can be said of a component without running it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// Does it export the hook's handler?
    pub is_hook: bool,
    /// What it exports.
    pub exports: Vec<String>,
    /// What it imports; interfaces that hold types alone are left out.
    pub imports: Vec<Import>,
}

/// Compiles a component, for any processor of this machine's architecture. The output is what
/// [`Job::artifact`](crate::Job::artifact) wants.
pub fn compile(module: &[u8]) -> Result<Vec<u8>, CompileError> {
    if !inspect(module)?.is_hook {
        return Err(CompileError::World);
    }
    let engine = engine::compiler().map_err(|error| CompileError::Cranelift(format!("{error:#}")))?;
    engine.precompile_component(module).map_err(|error| CompileError::Cranelift(format!("{error:#}")))
}

/// Reads a component's type. Nothing of it is run, nothing is compiled.
pub fn inspect(module: &[u8]) -> Result<Inspection, CompileError> {
    check_kind(module)?;
    let damaged = |error: String| CompileError::Damaged(error);
    let decoded = wit_component::decode(module).map_err(|error| damaged(format!("{error:#}")))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err(damaged("a WIT package, not a component".into()));
    };
    let world = &resolve.worlds[world];
    let mut imports = BTreeMap::new();
    for key in world.imports.keys() {
        let name = resolve.name_world_key(key);
        let functions: Vec<String> = match key {
            wit_parser::WorldKey::Interface(interface) => {
                resolve.interfaces[*interface].functions.keys().cloned().collect()
            }
            wit_parser::WorldKey::Name(_) => vec![name.clone()],
        };
        if !functions.is_empty() {
            let interface = link::interface(&name).map(str::to_owned);
            imports.insert(name.clone(), Import { name, interface, functions });
        }
    }
    let exports: Vec<_> = world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
    let is_hook = exports.iter().any(|name| name == "wasmhook:hook/handler@0.1.0");
    Ok(Inspection { is_hook, exports, imports: imports.into_values().collect() })
}

fn check_kind(module: &[u8]) -> Result<(), CompileError> {
    if !module.starts_with(b"\0asm") {
        let start: Vec<_> = module.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        return Err(CompileError::NotWasm(if start.is_empty() { "nothing".into() } else { start.join(" ") }));
    }
    if Parser::is_core_wasm(module) { Err(CompileError::Core) } else { Ok(()) }
}
