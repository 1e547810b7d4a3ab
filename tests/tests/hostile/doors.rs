//! Commands that knock where they should not: at the door of host calls, and at whatever else WASI might lead to.

use crate::case::{CPU_REACHED, Case, UNREACHABLE, case};
use crate::commands::EXIT;
use wasmhook_tests::conversing;

pub(crate) fn cases() -> Vec<Case> {
    [doors(), tricks(), shapes()].into_iter().flatten().collect()
}

const DOOR: &str = r#"(import "wasmhook" "call" (func $call (param i32 i32) (result i32)))
    (import "wasmhook" "reply" (func $reply (param i32 i32) (result i32)))"#;
const MISSING: &str = "a core module that is no hook";

fn doors() -> Vec<Case> {
    let asks = |body: &str| conversing(DOOR, body);
    // Each of these is answered, and the guest goes on.
    let answered = "(if (i32.eqz (call $call (i32.const -4) (i32.const 100))) (then (return)))
        (if (i32.eqz (call $call (i32.const 0) (i32.const -1))) (then (return)))
        (if (i32.eqz (call $call (i32.const 70000) (i32.const 0))) (then (return)))
        (memory.fill (i32.const 65536) (i32.const 91) (i32.const 100000))
        (if (i32.eqz (call $call (i32.const 65536) (i32.const 100000))) (then (return))) unreachable";
    let flood = conversing(
        &format!(r#"{DOOR} (data (i32.const 2048) "{{\"operation\":\"made.up\"}}")"#),
        "(loop (drop (call $call (i32.const 2048) (i32.const 23))) (br 0))",
    );
    let outside = "trap: wasmhook.reply: outside the memory";
    vec![
        case("command: messages outside the memory, and none", asks(answered), UNREACHABLE),
        case(
            "command: a reply before any call",
            asks("(if (call $reply (i32.const 0) (i32.const -1)) (then (return))) unreachable"),
            UNREACHABLE,
        ),
        case(
            "command: a reply to outside",
            asks(
                "(drop (call $call (i32.const 0) (i32.const 0))) (drop (call $reply (i32.const -4) (i32.const 100)))",
            ),
            outside,
        ),
        case(
            "command: a reply across the end",
            asks(
                "(drop (call $call (i32.const 0) (i32.const 0))) (drop (call $reply (i32.const 262140) (i32.const -1)))",
            ),
            outside,
        ),
        case(
            "command: a million calls of nothing",
            asks("(loop (drop (call $call (i32.const -4) (i32.const -1))) (br 0))"),
            CPU_REACHED,
        ),
        case("command: a million calls", flood, "limit of").waits(),
        case(
            "command: a start function that calls",
            conversing(
                &format!(
                    "{DOOR} (func $s (drop (call $call (i32.const 0) (i32.const 0))) unreachable) (start $s)"
                ),
                "",
            ),
            UNREACHABLE,
        ),
    ]
}

/// Whatever of the machine is within reach is not: each of these must say that it has failed.
fn tricks() -> Vec<Case> {
    let imported = |name: &str, parameters: &str| {
        format!(
            r#"(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {parameters}) (result i32)))"#
        )
    };
    let wants = [
        imported("path_open", "i32 i32 i32 i32 i32 i64 i64 i32 i32"),
        imported("fd_prestat_get", "i32 i32"),
        imported("path_readlink", "i32 i32 i32 i32 i32 i32"),
        imported("path_unlink_file", "i32 i32 i32"),
        imported("fd_readdir", "i32 i32 i32 i64 i32"),
        imported("sock_accept", "i32 i32 i32"),
        imported("sock_send", "i32 i32 i32 i32 i32"),
        imported("proc_raise", "i32"),
        EXIT.to_owned(),
    ];
    // Exit code 99 tells of the first one that has worked.
    let must_fail = |call: &str| format!("(if (i32.eqz {call}) (then (call $exit (i32.const 99))))");
    let tries = [
        "(call $path_open (local.get $length) (i32.const 1) (i32.const 2048) (i32.const 11) (i32.const 0) (i64.const 0x3fffffff) (i64.const 0x3fffffff) (i32.const 0) (i32.const 24))",
        "(call $fd_prestat_get (local.get $length) (i32.const 24))",
        "(call $path_readlink (local.get $length) (i32.const 2048) (i32.const 11) (i32.const 4096) (i32.const 100) (i32.const 24))",
        "(call $path_unlink_file (local.get $length) (i32.const 2048) (i32.const 11))",
        "(call $fd_readdir (local.get $length) (i32.const 4096) (i32.const 100) (i64.const 0) (i32.const 24))",
        "(call $sock_accept (local.get $length) (i32.const 0) (i32.const 24))",
        "(call $sock_send (local.get $length) (i32.const 16) (i32.const 1) (i32.const 0) (i32.const 24))",
    ];
    let tries = tries.map(must_fail).concat();
    let all = format!(
        "(local.set $length (i32.const 0))
        (loop {tries} (br_if 0 (i32.lt_u (local.tee $length (i32.add (local.get $length) (i32.const 1))) (i32.const 100)))) unreachable"
    );
    let tricks = conversing(&format!("{} (data (i32.const 2048) \"/etc/passwd\")", wants.concat()), &all);
    let raise = conversing(
        &format!("{} {EXIT}", imported("proc_raise", "i32")),
        &format!("{} unreachable", must_fail("(call $proc_raise (i32.const 9))")),
    );
    let random = |length: u32| {
        conversing(
            &imported("random_get", "i32 i32"),
            &format!(
                "(drop (memory.grow (i32.const 900))) (loop (drop (call $random_get (i32.const 65536) (i32.const {length}))) (br 0))"
            ),
        )
    };
    let close = conversing(
        &format!("{} {}", imported("fd_close", "i32"), imported("fd_renumber", "i32 i32")),
        "(drop (call $fd_renumber (i32.const 2) (i32.const 1))) (drop (call $fd_close (i32.const 0))) (drop (call $fd_close (i32.const 1))) (drop (call $fd_close (i32.const 2)))",
    );
    vec![
        case("command: files, directories and sockets", tricks, UNREACHABLE),
        case("command: a signal", raise, UNREACHABLE),
        case("command: random numbers without end", random(1 << 20), CPU_REACHED),
        case(
            "command: 50 MB of random numbers",
            random(50_000_000),
            "trap: requested len 50000000 exceeds limit",
        ),
        case("command: streams closed and swapped", close, UNREACHABLE),
    ]
}

/// What is no command, or only looks like one.
fn shapes() -> Vec<Case> {
    let wat = |text: &str| wat::parse_str(text).unwrap();
    vec![
        case("command: no exported memory", wat(r#"(module (memory 1) (func (export "_start")))"#), MISSING),
        case(
            "command: something else named memory",
            wat(
                r#"(module (memory 1) (global (export "memory") i32 (i32.const 0)) (func (export "_start")))"#,
            ),
            MISSING,
        ),
        case("command: no start", wat(r#"(module (memory (export "memory") 1))"#), MISSING),
        case(
            "command: a start that wants something",
            wat(r#"(module (memory (export "memory") 1) (func (export "_start") (param i32)))"#),
            MISSING,
        ),
        case(
            "command: the memory of somebody else",
            wat(
                r#"(module (import "env" "memory" (memory 1)) (export "memory" (memory 0)) (func (export "_start")))"#,
            ),
            "imports `env.memory`",
        ),
        case(
            "command: a host function of another kind",
            wat(
                r#"(module (import "wasmhook" "call" (func (param i64))) (memory (export "memory") 1) (func (export "_start")))"#,
            ),
            "imports `wasmhook.call`, which is no",
        ),
        case(
            "command: a WASI function of another kind",
            wat(
                r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i64))) (memory (export "memory") 1) (func (export "_start")))"#,
            ),
            "incompatible import type for `wasi_snapshot_preview1::fd_write`",
        )
        .code(103),
    ]
}
