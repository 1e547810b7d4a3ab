//! Proposals to WebAssembly that the engine's settings turn off, in the words of whoever built the module.

use super::CompileError;
use wasmparser::{Validator, WasmFeatures as Features, types::Types};

/// What the engine takes: `engine.rs` says so, and a test holds the one against the other.
const OURS: Features = Features::WASM2
    .difference(Features::GC_TYPES)
    .union(Features::TAIL_CALL)
    .union(Features::EXTENDED_CONST)
    .union(Features::MULTI_MEMORY)
    .union(Features::COMPONENT_MODEL);

/// What it does not, and what to do about it. Toolchains turn these on by themselves, or by one option too many.
const OTHERS: [(Features, &str); 9] = [
    (
        Features::THREADS.union(Features::SHARED_EVERYTHING_THREADS),
        "threads or shared memory, and a hook has one thread: build it without `-pthread`, without `+atomics`",
    ),
    (Features::MEMORY64, "64-bit memory, and hooks have 32 bits: build it for wasm32"),
    (
        Features::GC.union(Features::FUNCTION_REFERENCES).union(Features::GC_TYPES),
        "the engine's garbage collection (wasm GC or its references), which hooks have none of: \
         compile for linear memory, or write it in another language",
    ),
    (
        Features::EXCEPTIONS.union(Features::LEGACY_EXCEPTIONS),
        "WebAssembly exceptions, which hooks have none of: build it with `-fno-exceptions`, or with `panic = \"abort\"`",
    ),
    (
        Features::RELAXED_SIMD,
        "relaxed vector instructions, which differ between processors: build it without `relaxed-simd`",
    ),
    (Features::STACK_SWITCHING, "stack switching, which no hook may: build it without"),
    (Features::WIDE_ARITHMETIC, "wide arithmetic, which no hook may: build it without `wide-arithmetic`"),
    (
        Features::CUSTOM_PAGE_SIZES,
        "a page size of its own for its memory, which no hook may: build it without",
    ),
    (
        Features::CM_ASYNC
            .union(Features::CM_ASYNC_STACKFUL)
            .union(Features::CM_MORE_ASYNC_BUILTINS)
            .union(Features::CM_ERROR_CONTEXT)
            .union(Features::CM_THREADING),
        "asynchronous component functions (WASI 0.3), and hooks are synchronous: build it for WASI 0.2",
    ),
];

/// Holds a module against what hooks may use.
pub(super) fn validate(module: &[u8]) -> Result<Types, CompileError> {
    let error = match with(OURS, module) {
        Ok(types) => return Ok(types),
        Err(error) => error,
    };
    // What is valid with all of them, and without this one is not, needs this one.
    let all = OTHERS.iter().fold(OURS, |all, (proposal, _)| all.union(*proposal));
    let needed: Vec<_> = match with(all, module) {
        Err(_) => Vec::new(),
        Ok(_) => OTHERS
            .iter()
            .filter(|(proposal, _)| with(all.difference(*proposal), module).is_err())
            .map(|(_, words)| *words)
            .collect(),
    };
    Err(if needed.is_empty() {
        CompileError::Damaged(error.to_string())
    } else {
        CompileError::Proposal(needed.join("; and "))
    })
}

fn with(features: Features, module: &[u8]) -> Result<Types, wasmparser::BinaryReaderError> {
    Validator::new_with_features(features).validate_all(module)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine;

    /// A module that uses it, and what must be said of it.
    const USES: [(&str, &str); 13] = [
        ("(module (memory 1 1 shared))", "threads or shared memory"),
        ("(module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))", "threads or shared memory"),
        ("(module (memory i64 1))", "64-bit memory"),
        ("(module (type (struct (field i32))))", "garbage collection"),
        ("(module (func (param externref)))", "garbage collection"),
        (
            "(module (type $f (func)) (func (param (ref $f)) (call_ref $f (local.get 0))))",
            "garbage collection",
        ),
        ("(module (tag) (func (throw 0)))", "exceptions"),
        ("(module (tag $t) (func try catch $t end))", "exceptions"),
        (
            "(module (func (drop (i32x4.relaxed_trunc_f32x4_s (v128.const i64x2 0 0)))))",
            "relaxed vector instructions",
        ),
        ("(module (type $f (func)) (type (cont $f)))", "stack switching"),
        (
            "(module (func (param i64) (result i64 i64)
                (i64.mul_wide_u (local.get 0) (local.get 0))))",
            "wide arithmetic",
        ),
        ("(module (memory 1 (pagesize 1)))", "a page size of its own"),
        ("(component (type (future u32)))", "asynchronous component functions"),
    ];

    #[test]
    fn a_proposal_that_is_turned_off_is_named_in_words() {
        let engine = engine::compiler().unwrap();
        for (text, words) in USES {
            let module = wat::parse_str(text).unwrap();
            let error = validate(&module).map(drop).unwrap_err();
            assert!(
                matches!(&error, CompileError::Proposal(said) if said.contains(words)),
                "{text}: {error}"
            );
            let compiled = if text.starts_with("(component") {
                engine.precompile_component(&module)
            } else {
                engine.precompile_module(&module)
            };
            assert!(compiled.is_err(), "{text}: the engine takes it");
        }
    }

    #[test]
    fn two_proposals_are_both_named() {
        let module = wat::parse_str("(module (memory i64 1 1 shared))").unwrap();
        let error = validate(&module).map(drop).unwrap_err().to_string();
        assert!(
            error.contains("threads or shared memory") && error.contains("; and 64-bit memory"),
            "{error}"
        );
    }

    /// What the engine takes is not refused here.
    #[test]
    fn what_hooks_may_use_is_let_through() {
        let engine = engine::compiler().unwrap();
        for text in [
            "(module (memory 1) (memory 1))",
            "(module (table 1 funcref) (func $f) (elem declare func $f) (func (table.set 0 (i32.const 0) (ref.func $f))))",
            "(module (func (param i32) (result i32 i32) (local.get 0) (local.get 0)))",
            "(module (func $f (return_call $f)))",
            "(module (memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 1))))",
            "(module (func (result v128) (v128.const i64x2 0 0)))",
            "(module (func (param f32) (result i32) (i32.trunc_sat_f32_s (local.get 0))))",
            "(module (global (export \"g\") (mut i32) (i32.add (i32.const 1) (i32.const 2))))",
        ] {
            let module = wat::parse_str(text).unwrap();
            assert!(validate(&module).is_ok(), "{text}");
            assert!(engine.precompile_module(&module).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_no_proposal_explains_is_damaged() {
        let module = wat::parse_str("(module (func (result i32)))").unwrap();
        assert!(matches!(validate(&module), Err(CompileError::Damaged(_))));
    }
}
