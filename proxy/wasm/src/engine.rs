//! The settings that compiler and runner must agree on. This file's own text is part of every compiled module's
//! path ([`build_id`]), so whatever changes here makes a miss of all that was compiled before.

use std::sync::OnceLock;
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
fn config() -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .max_wasm_stack(512 << 10)
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

/// This process's engine. A child makes its own: its parent has none.
pub(crate) fn engine() -> wasmtime::Result<Engine> {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    match ENGINE.get() {
        Some(engine) => Ok(engine.clone()),
        None => Engine::new(&config()).map(|engine| ENGINE.get_or_init(|| engine).clone()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_version_in_the_path_is_the_one_in_the_lock_file() {
        let lock = include_str!("../../../Cargo.lock");
        let locked = lock.split("name = \"wasmtime\"\nversion = \"").nth(1).unwrap();
        assert_eq!(locked.split('"').next(), Some(super::WASMTIME));
    }
}
