//! Guests that take more than there is.

use crate::case::{Case, NOW, UNREACHABLE, case, late, post, pre, realloc, start};
use serde_json::json;
use wasmhook_tests::{GO_ON, component, component_in, padded};

const MEMORY: &str = "memory limit of 64MiB reached (raise `limits.memory`)";
const ELEMENTS: &str = "table limit of 100000 elements reached (raise `limits.tableElements`)";
const GROW: &str = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";

pub(crate) fn cases() -> Vec<Case> {
    [memories(), tables(), others()].into_iter().flatten().collect()
}

fn memories() -> Vec<Case> {
    let touch = "(loop (local.set 0 (memory.grow (i32.const 1)))
        (br_if 1 (i32.eq (local.get 0) (i32.const -1)))
        (i32.store (i32.mul (local.get 0) (i32.const 65536)) (i32.const 1)) (br 0))";
    vec![
        case("memory bomb in pre", pre("", GROW), MEMORY),
        late("memory bomb in post", post("", GROW), MEMORY),
        case("memory bomb in start", start("", GROW), MEMORY),
        case("memory bomb in realloc", realloc("", GROW), MEMORY),
        case("memory bomb, every page touched", pre("", &format!("(block {touch}) unreachable")), MEMORY),
        case("4 GiB at once", pre("", "(drop (memory.grow (i32.const 65000))) unreachable"), MEMORY),
        case(
            "as much memory as is allowed, then a trap",
            pre("", "(drop (memory.grow (i32.const 900))) unreachable"),
            UNREACHABLE,
        ),
        case("more memory than allowed from the start", pre("(memory 2000)", GO_ON), MEMORY),
        case(
            "data at the end of 4 GiB",
            pre("(memory $m 65536) (data (memory $m) (i32.const 0xfffffff0) \"x\")", GO_ON),
            MEMORY,
        ),
        case("memories that are too much together", pre(&"(memory 200)".repeat(8), GO_ON), MEMORY),
        case("many memories", pre(&"(memory 1)".repeat(12), GO_ON), "memory count too high"),
    ]
}

fn tables() -> Vec<Case> {
    let grow = |step: u32| {
        format!(
            "(loop (br_if 0 (i32.ne (table.grow $t (ref.null func) (i32.const {step})) (i32.const -1)))) unreachable"
        )
    };
    let table = "(table $t 1 funcref)";
    vec![
        case("table bomb", pre(table, &grow(10_000)), ELEMENTS),
        case("table bomb in start", start(table, &grow(1)), ELEMENTS),
        late("table bomb in post", post(table, &grow(100)), ELEMENTS),
        case("a table of four thousand million", pre(table, &grow(u32::MAX - 1)), ELEMENTS),
        case("a table too large from the start", pre("(table 200000 funcref)", GO_ON), ELEMENTS),
        case(
            "many tables",
            pre(&"(table 1 funcref)".repeat(30), GO_ON),
            "table limit of 20 tables reached (raise `limits.tables`)",
        ),
    ]
}

fn others() -> Vec<Case> {
    let world = "package a:b; interface things { resource thing; }
        world w { export things; export wasmhook:hook/handler@0.1.0; }";
    let handles = r#"(import "[export]a:b/things" "[resource-new]thing" (func $new (param i32) (result i32)))
        (import "[export]a:b/things" "[resource-drop]thing" (func $drop (param i32)))"#;
    let million = "(local.set 0 (i32.const 1000000))
        (loop (drop (call $new (i32.const 7))) (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1))))) unreachable";
    let pollables = "package a:b;
        package wasi:io@0.2.0 { interface poll { resource pollable { block: func(); } } }
        package wasi:clocks@0.2.0 { interface monotonic-clock {
            use wasi:io/poll@0.2.0.{pollable}; subscribe-duration: func(when: u64) -> pollable; } }
        world w { import wasi:clocks/monotonic-clock@0.2.0; export wasmhook:hook/handler@0.1.0; }";
    let subscribe = r#"(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $in (param i64) (result i32)))"#;
    let hundred_instances = (0..110).fold(component("", GO_ON, GO_ON), |component, _| padded(&component, 1));
    let handle = "cannot allocate another handle: store handle limit exceeded";
    vec![
        case("a million handles", component_in(world, handles, million, GO_ON), handle),
        case(
            "a million handles of the host's",
            component_in(
                pollables,
                subscribe,
                "(loop (drop (call $in (i64.const -1))) (br 0)) unreachable",
                GO_ON,
            ),
            handle,
        )
        // Each of them is some work.
        .with(json!({ "limits": { "cpu": "300ms" } }))
        .waits(),
        case(
            "a handle that is none",
            component_in(world, handles, "(call $drop (i32.const 12345)) unreachable", GO_ON),
            "trap: unknown handle index 12345",
        ),
        case(
            "a handle that is given back twice",
            component_in(
                world,
                handles,
                "(local.set 0 (call $new (i32.const 7))) (call $drop (local.get 0)) (call $drop (local.get 0)) unreachable",
                GO_ON,
            ),
            "trap: unknown handle index 1",
        ),
        case(
            "many instances",
            hundred_instances,
            "instance limit of 100 instances reached (raise `limits.instances`)",
        ),
        case("more than the module's own limit", pre("", GO_ON), "are allowed (raise `limits.module`)")
            .with(json!({ "limits": { "module": "1KiB" } }))
            .code(103),
        case(
            "less memory than it starts with",
            pre(NOW, GO_ON),
            "memory limit of 1MiB reached (raise `limits.memory`)",
        )
        .with(json!({ "grants": ["clock"], "limits": { "memory": "1MiB" } })),
    ]
}
