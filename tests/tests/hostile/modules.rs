//! Modules that are none, or that nobody can want, and what they are called then.

use crate::case::{Case, case};
use serde_json::json;
use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};
use wasmhook_tests::{Call, GO_ON, Lab, component, encode, wait_for};

fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// A command with this in it.
fn program(parts: &str) -> Vec<u8> {
    wat(&format!(r#"(module {parts} (memory (export "memory") 1) (func (export "_start")))"#))
}

pub(crate) fn cases() -> Vec<Case> {
    [no_modules(), proposals(), monsters()].into_iter().flatten().collect()
}

fn no_modules() -> Vec<Case> {
    let handler = wat(
        r#"(module (memory (export "memory") 1) (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "wasmhook:hook/handler@0.1.0#pre") (param i32) (result i32) unreachable)
        (func (export "wasmhook:hook/handler@0.1.0#post") (param i32) (result i32) unreachable))"#,
    );
    let other =
        encode(&wat(r#"(module (func (export "greet")))"#), "package a:b; world w { export greet: func(); }");
    let whole = component("", GO_ON, GO_ON);
    let magic: &[u8] = b"\0asm\x01\0\0\0";
    vec![
        case("nothing at all", Vec::new(), "bad.wasm: not WebAssembly: starts with nothing"),
        case(
            "a shell script",
            b"#!/bin/sh\nrm -rf /\n".to_vec(),
            "bad.wasm: not WebAssembly: starts with 23 21",
        ),
        case(
            "a program for this machine",
            fs::read("/bin/true").unwrap(),
            "bad.wasm: not WebAssembly: starts with 7f 45",
        ),
        case("a zip file", b"PK\x03\x04".to_vec(), "bad.wasm: not WebAssembly: starts with 50 4b"),
        case("the magic word and nothing more", b"\0asm".to_vec(), "bad.wasm: damaged: "),
        case("an empty module", magic.to_vec(), "bad.wasm: a core module that is no hook"),
        case("half a module", whole[..whole.len() / 2].to_vec(), "bad.wasm: damaged: "),
        case("a module and a half", [&whole[..], &whole[..whole.len() / 2]].concat(), "bad.wasm: damaged: "),
        case("zeros behind the magic word", [magic, &[0; 4096]].concat(), "bad.wasm: damaged: "),
        case("a section of 4 GiB", [magic, b"\x01\xff\xff\xff\xff\x0f"].concat(), "bad.wasm: damaged: "),
        case("a component for another world", other, "exports no `wasmhook:hook/handler@0.1.0`"),
        case("a module that nobody can make a hook of", handler, "bad.wasm: a core module that is no hook"),
        case(
            "names that paint the terminal",
            program("(import \"\\1b[2J\" \"\\0a\" (func))"),
            "bad.wasm: imports `",
        ),
    ]
}

fn proposals() -> Vec<Case> {
    let shared = wat(r#"(module (memory (export "memory") 1 1 shared) (func (export "_start")))"#);
    let wide = wat(r#"(module (memory (export "memory") i64 1) (func (export "_start")))"#);
    vec![
        case("threads", shared, "bad.wasm: uses threads or shared memory"),
        case(
            "atomic instructions",
            program("(func (drop (i32.atomic.load (i32.const 0))))"),
            "bad.wasm: uses threads or shared memory",
        ),
        case("memory64", wide, "bad.wasm: uses 64-bit memory"),
        case(
            "garbage collection",
            program("(type (struct (field i32)))"),
            "bad.wasm: uses the engine's garbage collection",
        ),
        case("exceptions", program("(tag $e) (func (throw $e))"), "bad.wasm: uses WebAssembly exceptions"),
        case(
            "stack switching",
            program("(type $f (func)) (type (cont $f))"),
            "stack switching, which no hook may",
        ),
        case(
            "asynchronous components",
            wat("(component (type (future u32)))"),
            "bad.wasm: uses asynchronous component functions",
        ),
    ]
}

fn monsters() -> Vec<Case> {
    let mut many = String::new();
    (0..10_000).for_each(|it| write!(many, r#"(import "wasi_snapshot_preview1" "f{it}" (func))"#).unwrap());
    let mut exports = r#"(component (import "a:b/c" (instance "#.to_owned();
    (0..10_000).for_each(|it| write!(exports, r#"(export "f{it}" (func))"#).unwrap());
    let tiny = "(func (param i32) (result i32) (local.get 0))".repeat(50_000);
    let locals = format!("(func (local {}))", "i64 ".repeat(49_000));
    let blocks = format!("(func {} {})", "block ".repeat(20_000), "end ".repeat(20_000));
    let switch = format!("(func (param i32) (br_table {} (local.get 0)))", "0 ".repeat(60_000));
    let nothing = "unusable verdict: nothing on stdout";
    vec![
        case("10,000 imports", program(&many), "bad.wasm: imports 10000 functions, and 1000 are allowed"),
        case(
            "10,000 imports of a component",
            wat(&(exports + ")))")),
            "bad.wasm: imports 10000 functions, and 1000 are allowed",
        ),
        case("50,000 functions and no verdict", program(&tiny), nothing),
        case("49,000 locals and no verdict", program(&locals), nothing),
        case("20,000 blocks in each other and no verdict", program(&blocks), nothing),
        case("a table of 60,000 ways and no verdict", program(&switch), nothing),
        case(
            "a table of four thousand million",
            program("(table 4294967295 funcref)"),
            "table limit of 100000 elements",
        ),
    ]
}

/// Small where it is kept, and much where it is compiled.
fn zip_bomb() -> Vec<u8> {
    const VARIABLES: usize = 900;
    let step = |at: usize| {
        let variable = |prime: usize| at * prime % VARIABLES;
        format!(
            "(block (br_if 0 (local.get {})) (local.set {} (i32.add (local.get {}) (local.get {}))))",
            variable(1),
            variable(7),
            variable(3),
            variable(11)
        )
    };
    let steps: String = (0..10_000).map(step).collect();
    program(&format!("(func (param {}) {steps})", "i32 ".repeat(VARIABLES)).repeat(4))
}

/// The process that compiles for this lab.
fn compiler(lab: &Lab) -> Option<i32> {
    let path = lab.path().to_str()?.to_owned();
    let is_ours = |pid: &i32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        words.contains("wasmhookctl\0compile\0") && words.contains(&path)
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|it| it.file_name().to_str()?.parse().ok()).find(is_ours)
}

#[test]
fn a_zip_bomb_of_a_module_holds_a_pod_for_five_seconds_and_its_del_not_at_all() {
    let lab = Lab::new("module");
    let bomb = zip_bomb();
    assert!(bomb.len() < 1 << 20, "{}", bomb.len());
    lab.install("bad", &bomb);
    let config = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": [{ "module": "bad" }],
        "prevResult": { "cniVersion": "1.0.0", "ips": [] },
    });
    let started = Instant::now();
    let error = lab.call(&Call::new("ADD", &config)).error();
    assert!(started.elapsed() < Duration::from_secs(7), "{:?}", started.elapsed());
    assert_eq!(error.code, 11, "{error:?}");
    assert!(error.msg.contains("bad.wasm is being compiled"), "{error:?}");
    let pid = compiler(&lab).expect("it goes on compiling");
    let started = Instant::now();
    lab.call(&Call::new("DEL", &config)).silent();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    // Whoever wants it no more ends it.
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    wait_for(|| compiler(&lab).is_none().then_some(()));
}
