//! What a module may be, and what becomes of modules that nobody can compile: an error, in time, and nothing else.

#![allow(clippy::unwrap_used, clippy::must_use_candidate, reason = "panicking is how a test speaks")]

use serde_json::{Value, json};
use std::fmt::Write;
use std::fs;
use std::time::{Duration, Instant};
use wasm_encoder::{Component, Module, NestedComponentSection};
use wasmhook_tests::{Answer, Call, GO_ON, Lab, command, component, core_module, verdict};

/// The compiler's own limit of processor time.
const LONGEST: Duration = Duration::from_mins(2);

fn add(lab: &Lab, hook: &Value) -> Answer {
    let config = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": [hook],
        "prevResult": { "cniVersion": "1.0.0", "ips": [] },
    });
    lab.call(&Call::new("ADD", &config))
}

fn inspect(lab: &Lab, name: &str) -> Value {
    let answer = lab.ctl(&["inspect", name, "-o", "json"]);
    serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// Files in the store of compiled modules, finished or not.
fn kept(lab: &Lab) -> usize {
    let Ok(builds) = fs::read_dir(lab.compiled()) else { return 0 };
    builds.map(|build| fs::read_dir(build.unwrap().path().join("by-digest")).unwrap().count()).sum()
}

/// Compiling this must end: well, or with an error that names the module and leaves nothing.
fn ends(name: &str, module: &[u8]) -> Answer {
    let lab = Lab::new("module");
    lab.install("bad", module);
    let started = Instant::now();
    let answer = lab.ctl(&["compile", "bad"]);
    assert!(started.elapsed() < LONGEST + Duration::from_secs(30), "{name}: {:?}", started.elapsed());
    match answer.code {
        Some(0) => assert_eq!(kept(&lab), 1, "{name}: {answer:?}"),
        Some(1) => {
            assert!(answer.stderr.starts_with("error: module /"), "{name}: {answer:?}");
            assert!(answer.stderr.len() < 4000, "{name}: {} bytes of error", answer.stderr.len());
            assert_eq!(kept(&lab), 0, "{name}");
        }
        _ => panic!("{name}: {answer:?}"),
    }
    answer
}

#[test]
fn a_core_module_with_component_metadata_is_as_good_as_the_component() {
    let (data, body) = verdict(1, r#"{"cniVersion":"1.0.0","ips":[],"dns":{"domain":"x"}}"#);
    for isolation in ["module", "call", "none"] {
        let lab = Lab::new(isolation);
        lab.install("core", &core_module(&data, GO_ON, body));
        let result = add(&lab, &json!({ "module": "core" })).result();
        assert_eq!(result["dns"]["domain"], "x", "{isolation}");
        let report = inspect(&lab, "core");
        assert_eq!(report["kind"], "core module with component metadata");
        assert_eq!((&report["hook"], &report["compiled"]), (&json!(true), &json!(true)));
        // The pin is of what the operator has, not of what was made of it.
        let pinned = json!({ "module": "core", "sha256": report["sha256"] });
        let _ = add(&lab, &pinned).result();
    }
}

#[test]
fn a_command_is_a_hook() {
    for isolation in ["module", "call", "none"] {
        let lab = Lab::new(isolation);
        let says = r#"{"verdict":"deny","error":{"code":123,"msg":"not today"}}"#;
        lab.install("command", &command("", says));
        let error = add(&lab, &json!({ "module": "command" })).error();
        assert_eq!(error.code, 123, "{error:?}");
        assert!(error.msg.contains("not today"), "{error:?}");
    }
}

#[test]
fn inspect_tells_of_a_command_what_its_imports_tell() {
    let lab = Lab::new("module");
    let door = r#"(import "wasmhook" "call" (func (param i32 i32) (result i32)))"#;
    lab.install("caller", &command(door, "{}"));
    lab.install("quiet", &command("", "{}"));
    let (caller, quiet) = (inspect(&lab, "caller"), inspect(&lab, "quiet"));
    assert_eq!((&caller["kind"], &quiet["kind"]), (&json!("command"), &json!("command")));
    assert_eq!((&caller["grants_known"], &quiet["grants_known"]), (&json!(false), &json!(true)));
    assert_eq!(caller["unknown"], json!([]));
    let names: Vec<_> = caller["imports"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(names, ["wasi_snapshot_preview1", "wasmhook"]);
    let text = lab.ctl(&["inspect", "caller"]).stdout;
    assert!(text.contains("locked down: no files, no network, no environment"), "{text}");
    assert!(text.contains("its imports do not tell"), "{text}");

    let conflist = json!({ "cniVersion": "1.0.0", "name": "n", "type": "wasmhook", "hooks": [
        { "module": "caller", "grants": ["carry"] }, { "module": "quiet", "grants": ["carry"] },
    ] });
    let path = lab.path().join("net.conf");
    fs::write(&path, conflist.to_string()).unwrap();
    let _ = lab.ctl(&["compile", "caller", "quiet"]);
    let answer = lab.ctl(&["validate", path.to_str().unwrap(), "-o", "json"]);
    let report: Value = serde_json::from_str(&answer.stdout).unwrap();
    let paths: Vec<_> = report["warnings"].as_array().unwrap().iter().map(|it| &it["path"]).collect();
    assert_eq!((&report["errors"], paths), (&json!([]), vec![&json!("hooks[1].grants")]), "{answer:?}");
}

#[test]
fn what_no_hook_may_use_is_said_in_words() {
    for (text, said) in [
        ("(module (memory 1 1 shared))", "uses threads or shared memory, and a hook has one thread"),
        ("(module (memory i64 1))", "uses 64-bit memory, and hooks have 32 bits: build it for wasm32"),
        ("(module (type (struct)))", "uses the engine's garbage collection"),
        ("(module (tag))", "uses WebAssembly exceptions"),
    ] {
        let answer = ends(text, &wat::parse_str(text).unwrap());
        assert!(answer.stderr.contains(said), "{text}: {answer:?}");
    }
}

#[test]
fn a_component_that_is_no_hook_is_told_so() {
    let answer = ends("empty", &wat::parse_str("(component)").unwrap());
    assert!(answer.stderr.contains("exports no `wasmhook:hook/handler@0.1.0`"), "{answer:?}");
}

/// A command with this in it, so that it gets as far as Cranelift.
fn program(parts: &str) -> Vec<u8> {
    wat::parse_str(format!(r#"(module (memory (export "memory") 1) (func (export "_start")) {parts})"#))
        .unwrap()
}

#[test]
fn ten_thousand_imports_are_refused() {
    let import = r#"(import "wasmhook" "call" (func (param i32 i32) (result i32)))"#;
    let text = format!(
        r#"(module {} (memory (export "memory") 1) (func (export "_start")))"#,
        import.repeat(10_000)
    );
    let answer = ends("core", &wat::parse_str(text).unwrap());
    assert!(answer.stderr.contains("imports 10000 functions, and 1000 are allowed"), "{answer:?}");

    let mut text = r#"(component (import "a:b/c" (instance "#.to_owned();
    for number in 0..10_000 {
        write!(text, r#"(export "f{number}" (func))"#).unwrap();
    }
    let answer = ends("component", &wat::parse_str(text + ")))").unwrap());
    assert!(answer.stderr.contains("imports 10000 functions, and 1000 are allowed"), "{answer:?}");
}

#[test]
fn garbage_behind_a_good_start_is_an_error() {
    let mut state = 7_u32;
    let mut garbage = Vec::new();
    while garbage.len() < 1 << 20 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        garbage.extend(state.to_le_bytes());
    }
    for start in [&b"\0asm\x01\0\0\0"[..], b"\0asm\x0d\0\x01\0", b""] {
        let answer = ends("garbage", &[start, &garbage].concat());
        assert_eq!(answer.code, Some(1), "{answer:?}");
    }
    // Whole but for one byte, wherever that is.
    let hook = component("", GO_ON, GO_ON);
    for at in (8..hook.len()).step_by(hook.len() / 30) {
        let mut damaged = hook.clone();
        damaged[at] ^= 0x55;
        ends(&format!("byte {at}"), &damaged);
    }
}

#[test]
fn deep_nesting_ends() {
    let blocks = format!("(func {} {})", "block ".repeat(50_000), "end ".repeat(50_000));
    ends("blocks", &program(&blocks));
    let mut component = Component::new();
    for _ in 0..500 {
        let mut outer = Component::new();
        outer.section(&NestedComponentSection(&component));
        component = outer;
    }
    ends("components", &component.finish());
    let mut types = "(type $t0 u8)".to_owned();
    for number in 1..5_000 {
        write!(types, "(type $t{number} (tuple $t{0} $t{0}))", number - 1).unwrap();
    }
    ends("types", &wat::parse_str(format!("(component {types})")).unwrap());
    ends("nothing", &Module::new().finish());
}

#[test]
fn a_great_many_tiny_functions_end() {
    ends("functions", &program(&"(func (param i32) (result i32) (local.get 0))".repeat(50_000)));
}

#[test]
fn memories_and_tables_beyond_all_measure_end() {
    for parts in [
        r#"(memory 65536) (data (memory 1) (i32.const 0) "x") (data (memory 1) (i32.const 0xfffffff0) "x")"#,
        "(table 4294967295 funcref) (elem (i32.const 4294967294) func 0)",
        "(table 10000000 funcref) (elem (i32.const 9999999) func 0)",
    ] {
        ends(parts, &program(parts));
    }
}

/// The plugin tells what the compiler said, and a DEL goes through as ever.
#[test]
fn a_pod_that_meets_such_a_module_gets_the_compilers_words() {
    let lab = Lab::new("module");
    lab.install("bad", &wat::parse_str("(module (memory 1 1 shared))").unwrap());
    let error = add(&lab, &json!({ "module": "bad" })).error();
    assert_eq!(error.code, 101, "{error:?}");
    assert!(error.msg.contains("bad.wasm: uses threads or shared memory"), "{error:?}");
    assert_eq!(kept(&lab), 0);
}

#[test]
fn what_reads_a_module_dies_with_whoever_wanted_it() {
    let lab = Lab::new("module");
    // Some seconds of work, also for an optimised compiler.
    lab.install(
        "long",
        &program(&"(func (param i32) (result i32) (i32.mul (local.get 0) (local.get 0)))".repeat(200_000)),
    );
    let mut command = std::process::Command::new(wasmhook_tests::dist("wasmhookctl"));
    command.env_clear().env("WASMHOOK_CONFIG", lab.settings()).args(["compile", "long"]);
    let mut compiler = command.spawn().unwrap();
    let children = format!("/proc/{0}/task/{0}/children", compiler.id());
    let child = wasmhook_tests::wait_for(|| {
        Some(fs::read_to_string(&children).ok()?.trim().to_owned()).filter(|it| !it.is_empty())
    });
    // By then it has left everything.
    let status = wasmhook_tests::wait_for(|| {
        let status = fs::read_to_string(format!("/proc/{child}/status")).ok()?;
        status.contains("Seccomp:\t2").then_some(status)
    });
    for line in ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1", "Threads:\t1"] {
        assert!(status.contains(line), "{line} is not in {status}");
    }
    assert!(status.contains("Uid:\t65534\t65534\t65534\t65534"), "{status}");
    compiler.kill().unwrap();
    compiler.wait().unwrap();
    wasmhook_tests::wait_for(|| {
        (!fs::exists(format!("/proc/{child}/status")).unwrap_or(false)).then_some(())
    });
    assert_eq!(kept(&lab), 0);
}
