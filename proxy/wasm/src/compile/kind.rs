//! What a module is: nobody says, so it is told by what it holds.

use super::{CompileError, Import, Inspection, Kind, MOST_IMPORTS, Source, proposals};
use std::collections::BTreeMap;
use wasmparser::types::{EntityType, TypesRef};
use wasmparser::{FuncType, KnownCustom, Parser, Payload, ValType};

pub(super) enum Found {
    Component,
    Metadata(Core),
    Command(Inspection),
}

/// What decides how a core module becomes a component.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Core {
    /// Does it say which component is meant?
    metadata: bool,
    /// Is it the standard Go compiler's?
    pub(super) is_go: bool,
    /// Does it import WASI as it was before components?
    pub(super) wants_preview1: bool,
}

/// Where WASI's functions were before components.
const PREVIEW1: &str = "wasi_snapshot_preview1";
/// The door of commands.
const DOOR: &str = "wasmhook";

/// All of WASI preview 1.
const PREVIEW1_FUNCTIONS: &str = "args_get args_sizes_get clock_res_get clock_time_get environ_get environ_sizes_get \
    fd_advise fd_allocate fd_close fd_datasync fd_fdstat_get fd_fdstat_set_flags fd_fdstat_set_rights fd_filestat_get \
    fd_filestat_set_size fd_filestat_set_times fd_pread fd_prestat_dir_name fd_prestat_get fd_pwrite fd_read \
    fd_readdir fd_renumber fd_seek fd_sync fd_tell fd_write path_create_directory path_filestat_get \
    path_filestat_set_times path_link path_open path_readlink path_remove_directory path_rename path_symlink \
    path_unlink_file poll_oneoff proc_exit proc_raise random_get sched_yield sock_accept sock_recv sock_send \
    sock_shutdown";

pub(super) fn of(module: &[u8]) -> Result<Found, CompileError> {
    if !module.starts_with(b"\0asm") {
        let start: Vec<_> = module.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        return Err(CompileError::NotWasm(if start.is_empty() { "nothing".into() } else { start.join(" ") }));
    }
    let types = proposals::validate(module)?;
    if !Parser::is_core_wasm(module) {
        return Ok(Found::Component);
    }
    let types = types.as_ref();
    let imports: Vec<_> = types.core_imports().into_iter().flatten().collect();
    if imports.len() > MOST_IMPORTS {
        return Err(CompileError::Imports(imports.len()));
    }
    let wants_preview1 = imports.iter().any(|(module, ..)| *module == PREVIEW1);
    let core = Core { wants_preview1, ..sections(module)? };
    if core.metadata { Ok(Found::Metadata(core)) } else { Ok(Found::Command(command(types, &imports)?)) }
}

/// What the sections that are no code tell.
fn sections(module: &[u8]) -> Result<Core, CompileError> {
    let mut core = Core::default();
    for payload in Parser::new(0).parse_all(module) {
        let Payload::CustomSection(section) = payload.map_err(|it| CompileError::Damaged(it.to_string()))?
        else {
            continue;
        };
        core.metadata |= section.name().starts_with("component-type");
        // The linker writes the one, the compiler the other; who strips one mostly leaves the other.
        core.is_go |= section.name() == "go:buildid" || is_written_in_go(&section.as_known());
    }
    Ok(core)
}

fn is_written_in_go(section: &KnownCustom<'_>) -> bool {
    let KnownCustom::Producers(producers) = section else { return false };
    let mut fields = producers.clone().into_iter().flatten();
    fields.any(|field| {
        field.name == "processed-by"
            && field.values.into_iter().flatten().any(|value| value.name == "Go cmd/compile")
    })
}

/// A plain program, if it is one that can talk to us.
fn command(types: TypesRef<'_>, imports: &[(&str, &str, EntityType)]) -> Result<Inspection, CompileError> {
    let exports: BTreeMap<_, _> = types.core_exports().into_iter().flatten().collect();
    let mut missing = Vec::new();
    if !exports.get("_start").is_some_and(|start| is_function(types, *start, &[], &[])) {
        missing.push("the exported function `_start`");
    }
    if !matches!(exports.get("memory"), Some(EntityType::Memory(_))) {
        missing.push("the exported memory `memory`");
    }
    if !missing.is_empty() {
        return Err(CompileError::Core(missing.join(" and ")));
    }
    let mut sources: BTreeMap<&str, Import> = BTreeMap::new();
    for (module, name, ty) in imports {
        let source = source(types, module, name, *ty)?;
        let import = sources.entry(*module).or_insert_with(|| Import {
            name: (*module).to_owned(),
            source,
            functions: Vec::new(),
        });
        import.functions.push((*name).to_owned());
    }
    Ok(Inspection {
        kind: Kind::Command,
        is_hook: true,
        exports: exports.into_keys().map(str::to_owned).collect(),
        imports: sources.into_values().collect(),
        traits: crate::Traits::default(),
        settings: None,
    })
}

fn source(types: TypesRef<'_>, module: &str, name: &str, ty: EntityType) -> Result<Source, CompileError> {
    const I32: ValType = ValType::I32;
    let refused =
        |why: &str| Err(CompileError::Import { import: format!("{module}.{name}"), why: why.into() });
    match (module, name) {
        (DOOR, "call" | "reply") if is_function(types, ty, &[I32, I32], &[I32]) => Ok(Source::Door),
        (DOOR, "call" | "reply") => refused(", which is no `(i32, i32) -> i32` there"),
        (PREVIEW1, _) if PREVIEW1_FUNCTIONS.split_whitespace().any(|it| it == name) => Ok(Source::Wasi),
        (DOOR | PREVIEW1, _) => refused(", which does not exist"),
        ("wasi_unstable", _) => refused(", of a WASI before preview 1"),
        ("wbg" | "__wbindgen_placeholder__", _) => refused(", which only a browser offers"),
        _ => refused(""),
    }
}

fn is_function(types: TypesRef<'_>, ty: EntityType, parameters: &[ValType], results: &[ValType]) -> bool {
    let EntityType::Func(id) = ty else { return false };
    let function: &FuncType = types[id].unwrap_func();
    function.params() == parameters && function.results() == results
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = r#"(memory (export "memory") 1) (func (export "_start"))"#;

    fn kind(text: &str) -> Result<Found, CompileError> {
        of(&wat::parse_str(text).unwrap())
    }

    fn refused(text: &str) -> String {
        kind(text).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_program_is_a_command_and_its_imports_are_told() {
        let text = format!(
            r#"(module
                (import "wasi_snapshot_preview1" "fd_read" (func (param i32 i32 i32 i32) (result i32)))
                (import "wasmhook" "reply" (func (param i32 i32) (result i32)))
                (import "wasmhook" "call" (func (param i32 i32) (result i32))) {PLAIN})"#
        );
        let Ok(Found::Command(command)) = kind(&text) else { panic!("a command") };
        assert!(command.is_hook && command.calls_the_door());
        assert_eq!(command.exports, ["_start", "memory"]);
        let names: Vec<_> =
            command.imports.iter().map(|it| (it.name.as_str(), it.functions.join(","))).collect();
        assert_eq!(
            names,
            [("wasi_snapshot_preview1", "fd_read".to_owned()), ("wasmhook", "reply,call".to_owned())]
        );

        let Ok(Found::Command(command)) = kind(&format!("(module {PLAIN})")) else { panic!("a command") };
        assert!(command.is_hook && !command.calls_the_door() && command.imports.is_empty());
    }

    #[test]
    fn what_a_command_lacks_is_named() {
        let start = "and to be a command it lacks the exported function `_start`";
        let memory = "it lacks the exported memory `memory`";
        let both = "`_start` and the exported memory `memory`";
        for (text, lacks) in [
            (r#"(module (memory (export "memory") 1))"#, start),
            (r#"(module (memory (export "memory") 1) (func (export "_start") (param i32)))"#, start),
            (r#"(module (memory (export "memory") 1) (global (export "_start") i32 (i32.const 0)))"#, start),
            (r#"(module (func (export "_start")))"#, memory),
            (r#"(module (func (export "memory")) (func (export "_start")))"#, memory),
            ("(module)", both),
        ] {
            assert!(refused(text).contains(lacks), "{text}: {}", refused(text));
            assert!(
                refused(text)
                    .contains("component metadata (custom section `component-type`; was it stripped?)")
            );
        }
    }

    #[test]
    fn an_import_that_nobody_offers_is_named_with_why() {
        for (import, said) in [
            (r#""env" "abort" (func)"#, "imports `env.abort`: a command may import"),
            (r#""env" "memory" (memory 1)"#, "imports `env.memory`: a command may import"),
            (
                r#""wasmhook" "call" (func (param i64))"#,
                "`wasmhook.call`, which is no `(i32, i32) -> i32` there: ",
            ),
            (r#""wasmhook" "shout" (func)"#, "imports `wasmhook.shout`, which does not exist: "),
            (
                r#""wasi_snapshot_preview1" "fd_frob" (func)"#,
                "`wasi_snapshot_preview1.fd_frob`, which does not exist: ",
            ),
            (
                r#""wasi_unstable" "fd_write" (func)"#,
                "`wasi_unstable.fd_write`, of a WASI before preview 1: ",
            ),
            (r#""wbg" "x" (func)"#, "`wbg.x`, which only a browser offers: "),
        ] {
            // With a memory of its own, were one imported there would be two.
            let text = format!("(module (import {import}) {PLAIN})");
            assert!(refused(&text).contains(said), "{text}: {}", refused(&text));
        }
    }

    #[test]
    fn more_imports_than_can_be_meant_are_refused() {
        let import = r#"(import "wasmhook" "call" (func (param i32 i32) (result i32)))"#;
        let with = |count| format!("(module {} {PLAIN})", import.repeat(count));
        assert!(kind(&with(MOST_IMPORTS)).is_ok());
        assert_eq!(refused(&with(10_000)), "imports 10000 functions, and 1000 are allowed");
    }

    #[test]
    fn component_metadata_comes_first_and_go_is_known_by_what_its_tools_leave() {
        let found = |sections: &str| kind(&format!("(module {PLAIN} {sections})"));
        let metadata = r#"(@custom "component-type:hook" "")"#;
        let producers =
            r#"(@producers (language "Go" "go1.27.3") (processed-by "Go cmd/compile" "go1.27.3"))"#;
        let tinygo = r#"(@producers (language "C11" "") (processed-by "TinyGo" "0.38"))"#;
        for (sections, is_go) in [
            (metadata.to_owned(), false),
            (format!(r#"{metadata} (@custom "go:buildid" "x")"#), true),
            (format!("{metadata} {producers}"), true),
            (format!("{metadata} {tinygo}"), false),
        ] {
            let Ok(Found::Metadata(core)) = found(&sections) else { panic!("{sections}") };
            assert_eq!(core, Core { metadata: true, is_go, wants_preview1: false }, "{sections}");
        }
        assert!(matches!(found(producers), Ok(Found::Command(_))));
    }

    #[test]
    fn what_is_no_module_says_how_it_starts() {
        let not = |bytes: &[u8]| of(bytes).map(|_| ()).unwrap_err().to_string();
        assert_eq!(not(b""), "not WebAssembly: starts with nothing");
        assert_eq!(not(b"PK\x03\x04"), "not WebAssembly: starts with 50 4b 03 04");
        assert!(not(b"\0asm").starts_with("damaged: "));
        assert!(not(b"\0asm\x01\0\0\0\xff\xff\xff\xff\x0f").starts_with("damaged: "));
    }
}
