//! Making components, and reading them.

use super::kind::Core;
use super::{CompileError, Import, Inspection, Kind, MOST_IMPORTS, Source};
use crate::{Traits, link};
use std::collections::BTreeMap;
use wasi_preview1_component_adapter_provider as adapter;
use wit_component::{ComponentEncoder, DecodedWasm};
use wit_parser::WorldKey;

/// What a component must export to be a hook.
const HANDLER: &str = "wasmhook:hook/handler@0.1.0";
/// The packages of WASI 0.2 that are linked for whoever imports them.
const WASI: [&str; 6] =
    ["wasi:cli", "wasi:clocks", "wasi:filesystem", "wasi:io", "wasi:random", "wasi:sockets"];

/// Makes a component of a core module that says which one is meant.
///
/// Where it wants WASI's preview 1, an adapter is added that turns it into WASI 0.2. The adapter needs memory at its first
/// call and takes it from the module's own allocator. Go's first calls are those of its runtime, before it has one that
/// could be entered: for Go the adapter grows the module's memory instead, which costs two pages. Not for others: some
/// allocators (wasi-libc's of some years) take everything up to the end of the memory to be theirs.
pub(super) fn encode(module: &[u8], core: &Core) -> Result<Vec<u8>, CompileError> {
    let failed = |error| CompileError::Encode(format!("{error:#}"));
    let mut encoder =
        ComponentEncoder::default().validate(true).realloc_via_memory_grow(core.is_go).module(module);
    if core.wants_preview1 {
        let (name, bytes) =
            (adapter::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER);
        encoder = encoder.and_then(|it| it.adapter(name, bytes));
    }
    encoder.and_then(|mut it| it.encode()).map_err(failed)
}

/// Reads a component's world.
pub(super) fn inspect(component: &[u8], kind: Kind) -> Result<Inspection, CompileError> {
    let damaged = |error: String| CompileError::Damaged(error);
    let decoded = wit_component::decode(component).map_err(|error| damaged(format!("{error:#}")))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err(damaged("a WIT package, not a component".into()));
    };
    let world = &resolve.worlds[world];
    let mut imports = BTreeMap::new();
    for key in world.imports.keys() {
        let name = resolve.name_world_key(key);
        let functions: Vec<String> = match key {
            WorldKey::Interface(interface) => {
                resolve.interfaces[*interface].functions.keys().cloned().collect()
            }
            WorldKey::Name(_) => vec![name.clone()],
        };
        if !functions.is_empty() {
            imports.insert(name.clone(), Import { source: source(&name), name, functions });
        }
    }
    let count = imports.values().map(|it| it.functions.len()).sum();
    if count > MOST_IMPORTS {
        return Err(CompileError::Imports(count));
    }
    let exports: Vec<_> = world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
    let is_hook = exports.iter().any(|name| name == HANDLER);
    let imports = imports.into_values().collect();
    Ok(Inspection { kind, is_hook, exports, imports, traits: Traits::default(), settings: None })
}

fn source(import: &str) -> Source {
    if let Some(interface) = link::interface(import) {
        return Source::Contract(interface.to_owned());
    }
    let is_wasi = import.split_once('/').is_some_and(|(package, rest)| {
        let version = rest.split_once('@').map_or("", |(_, version)| version);
        WASI.contains(&package) && version.starts_with("0.2.")
    });
    if is_wasi { Source::Wasi } else { Source::Unknown }
}

#[cfg(test)]
mod tests {
    use super::super::{Found, compile_here, inspect_here, kind};
    use super::*;
    use crate::engine;
    use wasmtime::component::{Component, Linker};

    /// A core module with the metadata of a world that exports `run`, and `parts` more.
    fn module(parts: &str, imports: &str) -> Vec<u8> {
        let text = format!(
            r#"(module {imports} (memory (export "memory") 1)
                (func (export "a:b/handler#run") (result i32) (i32.const 7)) {parts})"#
        );
        let mut module = wat::parse_str(text).unwrap();
        let mut resolve = wit_parser::Resolve::default();
        let wit = "package a:b; interface handler { run: func() -> u32; } world w { export handler; }";
        let package = resolve.push_str("w.wit", wit).unwrap();
        let world = resolve.select_world(&[package], None).unwrap();
        let encoding = wit_component::StringEncoding::UTF8;
        wit_component::embed_component_metadata(&mut module, &resolve, world, encoding).unwrap();
        module
    }

    /// As Go's runtime: the allocator is not to be entered before `_initialize` is over, which asks for the time first.
    fn with_a_runtime(sections: &str) -> Vec<u8> {
        module(
            &format!(
                r#"(global $up (mut i32) (i32.const 0))
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                    (if (i32.eqz (global.get $up)) (then unreachable)) (i32.const 1024))
                (func (export "_initialize") (drop (call $random (i32.const 8) (i32.const 8))) (global.set $up (i32.const 1)))
                {sections}"#
            ),
            r#"(import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))"#,
        )
    }

    /// What instantiating it ends with, when nobody offers it any WASI.
    fn end_of(module: &[u8]) -> String {
        let Ok(Found::Metadata(core)) = kind::of(module) else { panic!("metadata") };
        let cranelift = engine::compiler().unwrap();
        let artifact = cranelift.precompile_component(&encode(module, &core).unwrap()).unwrap();
        let engine = engine::engine(crate::Limits::default().stack).unwrap();
        // SAFETY: compiled above.
        #[allow(unsafe_code, reason = "loading compiled code")]
        let component = unsafe { Component::deserialize(&engine, artifact) }.unwrap();
        let mut linker = Linker::<()>::new(&engine);
        linker.define_unknown_imports_as_traps(&component).unwrap();
        let mut store = wasmtime::Store::new(&engine, ());
        store.set_epoch_deadline(1);
        format!("{:#}", linker.instantiate(&mut store, &component).map(drop).unwrap_err())
    }

    #[test]
    fn a_core_module_with_metadata_becomes_the_component_that_it_means() {
        let inspection = inspect_here(&module("", "")).unwrap();
        assert_eq!(inspection.kind, Kind::Metadata);
        assert_eq!((inspection.exports, inspection.imports), (vec!["a:b/handler".to_owned()], vec![]));
        assert!(!inspection.is_hook);
        let engine = engine::compiler().unwrap();
        assert_eq!(compile_here(&engine, &module("", "")), Err(CompileError::World));
    }

    #[test]
    fn preview_1_becomes_wasi_and_only_what_is_used_of_it() {
        let imports = inspect_here(&with_a_runtime("")).unwrap().imports;
        assert!(imports.iter().all(|it| it.source == Source::Wasi), "{imports:?}");
        assert!(imports.iter().any(|it| it.name.starts_with("wasi:random/random@0.2.")), "{imports:?}");
        assert!(!imports.iter().any(|it| it.name.starts_with("wasi:sockets/")), "{imports:?}");
    }

    #[test]
    fn for_go_the_adapter_takes_no_memory_from_the_allocator() {
        let go = end_of(&with_a_runtime(r#"(@custom "go:buildid" "x")"#));
        assert!(go.contains("get-random-bytes` has not been defined"), "it got as far as WASI: {go}");
        let other = end_of(&with_a_runtime(""));
        assert!(other.contains("wasm `unreachable` instruction"), "{other}");
    }

    #[test]
    fn metadata_that_does_not_fit_the_module_is_told() {
        let core = Core::default();
        let mut other = module("", r#"(import "nobody" "knows" (func))"#);
        let error = encode(&other, &core).unwrap_err().to_string();
        assert!(error.starts_with("cannot be made a component: ") && error.contains("nobody"), "{error}");
        other.truncate(other.len() - 1);
        assert!(inspect_here(&other).is_err());
    }

    #[test]
    fn an_import_is_known_by_its_package() {
        assert_eq!(source("wasmhook:host/log@0.1.0"), Source::Contract("log".into()));
        assert_eq!(source("wasi:io/streams@0.2.6"), Source::Wasi);
        for other in ["wasi:http/types@0.2.6", "wasi:cli/stdin@0.3.0", "wasi:io/streams", "a:b/shell", "run"]
        {
            assert_eq!(source(other), Source::Unknown, "{other}");
        }
    }
}
