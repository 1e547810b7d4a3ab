//! Guests that do not end.

use crate::case::{
    CPU_REACHED, Case, LOOP, NOW, SLEEP, WALL_REACHED, case, late, post, pre, realloc, realloc_for_post,
    start,
};
use serde_json::json;
use wasmhook_tests::{GO_ON, component_in};

pub(crate) fn cases() -> Vec<Case> {
    [loops(), waits(), recursions()].into_iter().flatten().collect()
}

fn loops() -> Vec<Case> {
    let after = |phase: &str| {
        format!(
            r#"(func (export "cabi_post_wasmhook:hook/handler@0.1.0#{phase}") (param i32) (loop (br 0)))"#
        )
    };
    vec![
        case("endless loop in start", start("", "(loop (br 0))"), CPU_REACHED),
        case("endless loop in pre", pre("", LOOP), CPU_REACHED),
        late("endless loop in post", post("", LOOP), CPU_REACHED),
        case("endless loop in realloc", realloc("", LOOP), CPU_REACHED),
        late("endless loop in realloc for post", realloc_for_post("", "(loop (br 0))"), CPU_REACHED),
        case("endless loop after pre has returned", pre(&after("pre"), GO_ON), CPU_REACHED),
        late("endless loop after post has returned", post(&after("post"), GO_ON), CPU_REACHED),
        case("endless calls", pre("(func $f)", "(loop (call $f) (br 0)) unreachable"), CPU_REACHED),
        case("endless tail calls", pre("(func $f (return_call $f))", "(call $f) unreachable"), CPU_REACHED),
        case(
            "endless indirect tail calls",
            pre(
                "(type $v (func)) (table $t 1 funcref) (elem (table $t) (i32.const 0) func $f)
                (func $f (return_call_indirect $t (type $v) (i32.const 0)))",
                "(call $f) unreachable",
            ),
            CPU_REACHED,
        ),
        case(
            "endless filling of memory",
            pre(
                "",
                "(drop (memory.grow (i32.const 900)))
                (loop (memory.fill (i32.const 65536) (i32.const 1) (i32.const 58000000)) (br 0)) unreachable",
            ),
            CPU_REACHED,
        ),
        case(
            "endless copying of a table",
            pre(
                "(table $t 100000 funcref)",
                "(loop (table.copy $t $t (i32.const 0) (i32.const 1) (i32.const 99999)) (br 0)) unreachable",
            ),
            CPU_REACHED,
        ),
    ]
}

fn waits() -> Vec<Case> {
    let generous = json!({
        "grants": ["clock"], "limits": { "hostCalls": 1_000_000, "hostBytes": "1GiB", "cpu": "1s" },
    });
    let endless_sleep = "(loop (drop (call $sleep (i32.const -1))) (br 0)) unreachable";
    let world = "package a:b;
        package wasi:io@0.2.0 { interface poll { resource pollable { block: func(); } } }
        package wasi:clocks@0.2.0 { interface monotonic-clock {
            use wasi:io/poll@0.2.0.{pollable}; subscribe-duration: func(when: u64) -> pollable; } }
        world w { import wasi:clocks/monotonic-clock@0.2.0; export wasmhook:hook/handler@0.1.0; }";
    let pollable = r#"(import "wasi:clocks/monotonic-clock@0.2.0" "subscribe-duration" (func $in (param i64) (result i32)))
        (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))"#;
    vec![
        case("endless host calls", pre(NOW, "(loop (drop (call $now)) (br 0)) unreachable"), "limit of")
            .with(generous)
            .waits(),
        case("sleep for ever", pre(SLEEP, endless_sleep), WALL_REACHED).granted("clock").waits(),
        late("sleep for ever in post", post(SLEEP, endless_sleep), WALL_REACHED).granted("clock").waits(),
        case(
            "sleep for ever in start",
            start(SLEEP, "(drop (call $sleep (i32.const -1))) (loop (br 0))"),
            WALL_REACHED,
        )
        .granted("clock")
        .waits(),
        case(
            "sleep of centuries in WASI 0.2",
            component_in(world, pollable, "(call $block (call $in (i64.const -1))) unreachable", GO_ON),
            WALL_REACHED,
        )
        .waits(),
    ]
}

fn recursions() -> Vec<Case> {
    let stack = "stack limit of 512KiB reached (raise `limits.stack`)";
    let many = "(local i64 i64 i64 i64 i64 i64 i64 i64) ".repeat(100);
    let wide = format!("(func $wide (param i32) (result i32) {many} (call $wide (local.get 0)))");
    // At each level a host call: it finds as little stack as there can be.
    let calling = format!("{NOW} (func $f (drop (call $now)) (call $f))");
    let less = json!({ "grants": ["clock"], "limits": { "stack": "16KiB", "hostCalls": 1_000_000 } });
    vec![
        case("recursion in pre", pre("(func $f (call $f))", "(call $f) unreachable"), stack),
        case("recursion in start", start("", "(call $start)"), stack),
        late(
            "recursion in post, by way of another",
            post("(func $f (call $g)) (func $g (call $f))", "(call $f) unreachable"),
            stack,
        ),
        case("recursion in realloc", realloc("(func $f (call $f))", "(call $f) unreachable"), stack),
        case(
            "recursion with a host call at each level",
            pre(&calling, "(call $f) unreachable"),
            "stack limit of 16KiB",
        )
        .with(less),
        case("recursion with frames of 6 KB", pre(&wide, "(call $wide (i32.const 1))"), stack),
        case(
            "recursion with the most stack there is",
            pre("(func $f (call $f))", "(call $f) unreachable"),
            "stack limit of 4MiB",
        )
        .with(json!({ "limits": { "stack": "4MiB" } })),
        late("recursion in realloc for post", realloc_for_post("(func $f (call $f))", "(call $f)"), stack),
    ]
}
