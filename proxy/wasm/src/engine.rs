//! The settings that compiler and runner must agree on. This file's own text is part of every compiled module's
//! path ([`build_id`]), so whatever changes here makes a miss of all that was compiled before.

use crate::pool;
use std::sync::{Mutex, PoisonError};
use wasmtime::{Config, Engine, WasmBacktraceDetails};

/// wasmtime's whole version. The header of a compiled module carries "48" alone, and a fix in Cranelift would do
/// nothing for what is already on disk. A test holds it against Cargo.lock.
const WASMTIME: &str = "48.0.8";

/// Names what a compiled module was made by: wasmtime's version, our settings, our version.
#[must_use]
pub fn build_id() -> String {
    const SETTINGS: u64 = fnv1a(include_bytes!("engine.rs"));
    format!("wasmtime-{WASMTIME}-settings-{SETTINGS:016x}-wasmhook-{}", env!("CARGO_PKG_VERSION"))
}

const fn fnv1a(bytes: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < bytes.len() {
        hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
        at += 1;
    }
    hash
}

/// Defaults follow wasmtime's cargo features, which differ between our two programs: all that counts is set.
fn config(stack: u64) -> Config {
    let stack = usize::try_from(stack).unwrap_or(usize::MAX);
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(stack)
        .async_stack_size(stack.saturating_add(HOST_STACK))
        .memory_init_cow(true)
        .memory_reservation(4 << 30)
        .memory_guard_size(32 << 20)
        .guard_before_linear_memory(true)
        .signals_based_traps(true)
        .generate_address_map(true)
        // Nobody unwinds through guests: traps jump. Registering the tables would cost every call.
        .native_unwind_info(false)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_component_model(true)
        .wasm_multi_memory(true)
        .relaxed_simd_deterministic(true)
        // Proposals that no hook needs are surface that nobody must defend.
        .wasm_memory64(false)
        .wasm_relaxed_simd(false)
        .wasm_threads(false)
        .shared_memory(false)
        .gc_support(false)
        .wasm_gc(false)
        .wasm_exceptions(false)
        .wasm_function_references(false)
        .concurrency_support(false);
    config
}

/// For the host's own functions, where guests run on a stack of their own.
const HOST_STACK: usize = 512 << 10;

/// This process's engine for guests with this much stack. A child makes its own: its parent has none.
pub(crate) fn engine(stack: u64) -> wasmtime::Result<Engine> {
    static ENGINES: Mutex<Vec<(u64, Engine)>> = Mutex::new(Vec::new());
    let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, engine)) = engines.iter().find(|(size, _)| *size == stack) {
        return Ok(engine.clone());
    }
    let engine = pool::engine(config(stack))?;
    engines.push((stack, engine.clone()));
    Ok(engine)
}

/// An engine that compiles and never runs: for any processor of this architecture, so that a compiled module may come
/// with a node's image, and so that nobody must ask this processor what it can do.
#[cfg(feature = "compiler")]
pub(crate) fn compiler() -> wasmtime::Result<Engine> {
    let mut config = config(crate::Limits::default().stack);
    config.target(&format!("{}-unknown-linux-gnu", std::env::consts::ARCH))?;
    Engine::new(&config)
}

#[cfg(test)]
mod tests {
    /// Without SSE4.1 or AVX some vector instructions take another way through Cranelift.
    #[test]
    fn vector_instructions_run_without_what_newer_processors_have() {
        let module = wat::parse_str(
            r#"(module (func (export "f") (result i32)
                (v128.const f32x4 1.5 2.5 -0.5 9.75) f32x4.nearest f32x4.ceil i32x4.trunc_sat_f32x4_s
                (v128.const i8x16 3 2 1 0 4 5 6 7 8 9 10 11 12 13 14 15) i8x16.swizzle
                i8x16.popcnt i16x8.extadd_pairwise_i8x16_u i32x4.extadd_pairwise_i16x8_u
                (v128.const i32x4 7 7 7 7) i32x4.mul i32x4.extract_lane 0))"#,
        );
        let code = super::compiler().unwrap().precompile_module(&module.unwrap()).unwrap();
        let engine = super::engine(crate::Limits::default().stack).unwrap();
        // SAFETY: compiled above.
        #[allow(unsafe_code, reason = "loading compiled code")]
        let module = unsafe { wasmtime::Module::deserialize(&engine, code) }.unwrap();
        let mut store = wasmtime::Store::new(&engine, ());
        store.set_epoch_deadline(1);
        let instance = wasmtime::Instance::new(&mut store, &module, &[]).unwrap();
        let function = instance.get_typed_func::<(), i32>(&mut store, "f").unwrap();
        assert_eq!(function.call(&mut store, ()).unwrap(), 7);
    }

    #[test]
    fn the_version_in_the_path_is_the_one_in_the_lock_file() {
        let lock = include_str!("../../../Cargo.lock");
        let locked = lock.split("name = \"wasmtime\"\nversion = \"").nth(1).unwrap();
        assert_eq!(locked.split('"').next(), Some(super::WASMTIME));
    }
}
