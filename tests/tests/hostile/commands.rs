//! The same by the other door: plain WASI programs.

use crate::case::{CPU_REACHED, Case, UNREACHABLE, WALL_REACHED, case, escaped, late};
use wasmhook_tests::{command, conversing};

pub(crate) fn cases() -> Vec<Case> {
    [ends(), streams(), verdicts()].into_iter().flatten().collect()
}

pub(crate) const EXIT: &str = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
const POLL: &str =
    r#"(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))"#;

fn plain(body: &str) -> Vec<u8> {
    conversing("", body)
}

/// Says this first, and then goes on as it should.
fn first(text: &str) -> Vec<u8> {
    saying(text, "")
}

fn saying(text: &str, more: &str) -> Vec<u8> {
    let parts = format!("{EXIT} (data (i32.const 2048) \"{}\")", escaped(text));
    conversing(
        &parts,
        &format!("(call $say (i32.const 1) (i32.const 2048) (i32.const {})) {more}", text.len()),
    )
}

fn ends() -> Vec<Case> {
    let good = r#"{"verdict":"proceed"}"#;
    let recursion = "(func $f (call $f))";
    let start = |body: &str| conversing(&format!("(func $s {body}) (start $s)"), "");
    let grow = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    // What it is told there goes where it wants, and nothing of it is a verdict.
    let centuries = "(i32.store (i32.const 4112) (i32.const 1)) (i64.store (i32.const 4120) (i64.const 9000000000000000000))
        (drop (call $poll (i32.const 4096) (i32.const 4200) (i32.const 1) (i32.const 24)))";
    let crowd = "(drop (memory.grow (i32.const 200))) (drop (call $poll (i32.const 262144) (i32.const 8388608) (i32.const 100000) (i32.const 24)))
        (loop (br 0))";
    vec![
        case("command: endless loop", plain("(loop (br 0))"), CPU_REACHED),
        case("command: endless loop in start", start("(loop (br 0))"), CPU_REACHED),
        case("command: a trap", plain("unreachable"), UNREACHABLE),
        case("command: a trap in start", start("unreachable"), UNREACHABLE),
        case("command: a trap behind a good verdict", saying(good, "unreachable"), UNREACHABLE),
        case("command: recursion", conversing(recursion, "(call $f)"), "stack limit of 512KiB"),
        case("command: memory bomb", plain(grow), "memory limit of 64MiB"),
        case(
            "command: exit code 7",
            conversing(EXIT, "(call $exit (i32.const 7))"),
            "the hook reports: nothing on stderr (exit code 7)",
        ),
        case(
            "command: exit code 7 behind a good verdict",
            saying(good, "(call $exit (i32.const 7))"),
            "the hook reports: nothing on stderr (exit code 7)",
        ),
        case(
            "command: exit in the middle of a verdict",
            saying("{\"verdict\":", "(call $exit (i32.const 0))"),
            "unusable verdict: stdout is no verdict: EOF",
        ),
        case("command: an exit code that is none", conversing(EXIT, "(call $exit (i32.const -1))"), "exit"),
        case("command: a sleep of centuries", conversing(POLL, centuries), WALL_REACHED).waits(),
        case("command: a crowd that waits", conversing(POLL, crowd), "limit of").waits(),
        case(
            "command: a poll of 4 GiB",
            conversing(
                POLL,
                "(drop (call $poll (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 24))) unreachable",
            ),
            "trap: ",
        ),
    ]
}

fn streams() -> Vec<Case> {
    // Whatever the stream says to that.
    let pour = |stream: u32, rounds: u32| {
        format!(
            "(i32.store (i32.const 16) (i32.const 65536)) (i32.store (i32.const 20) (i32.const 60000))
            (local.set $length (i32.const {rounds}))
            (loop (drop (call $write (i32.const {stream}) (i32.const 16) (i32.const 1) (i32.const 24)))
                (br_if 0 (local.tee $length (i32.sub (local.get $length) (i32.const 1)))))"
        )
    };
    let wide = "(i32.store (i32.const 16) (i32.const 65536)) (i32.store (i32.const 20) (i32.const -1))
        (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24))) unreachable";
    let long = "(drop (call $write (i32.const 1) (i32.const 16) (i32.const -1) (i32.const 24))) unreachable";
    let too_long = "verdict limit of 1MiB reached (raise `limits.verdict`)";
    vec![
        case(
            "command: stdout without end",
            plain("(loop (call $say (i32.const 1) (i32.const 65536) (i32.const 60000)) (br 0))"),
            too_long,
        ),
        case("command: 100 MB on stdout", plain(&pour(1, 1700)), too_long),
        case("command: stdout without end or shame", plain(&pour(1, 0)), "limit of"),
        case(
            "command: stderr without end",
            plain("(loop (call $say (i32.const 2) (i32.const 65536) (i32.const 60000)) (br 0))"),
            "log limit of 256KiB reached (raise `limits.logBytes`)",
        ),
        case("command: stderr without end or shame", plain(&pour(2, 0)), "limit of"),
        case("command: 4 GiB of stdout at once", plain(wide), "trap: "),
        case("command: four thousand million pieces", plain(long), "trap: "),
        case(
            "command: a complaint that paints the terminal",
            conversing(
                &format!("{EXIT} (data (i32.const 2048) \"\\1b[2J\")"),
                "(call $say (i32.const 2) (i32.const 2048) (i32.const 4)) (call $exit (i32.const 1))",
            ),
            "the hook reports: ",
        ),
    ]
}

fn verdicts() -> Vec<Case> {
    let no_verdict = "unusable verdict: stdout is no verdict";
    let deep = "(memory.fill (i32.const 65536) (i32.const 91) (i32.const 100000)) (call $say (i32.const 1) (i32.const 65536) (i32.const 100000))";
    let inner = r#"{"verdict":"answer","result":{"cniVersion":"1.0.0","ips":[],"x":"#;
    let nested = format!(
        "(memory.fill (i32.const 65536) (i32.const 91) (i32.const 60000)) (call $say (i32.const 1) (i32.const 2048) (i32.const {}))
        (call $say (i32.const 1) (i32.const 65536) (i32.const 60000)) (memory.fill (i32.const 65536) (i32.const 93) (i32.const 60000))
        (call $say (i32.const 1) (i32.const 65536) (i32.const 60000)) (call $say (i32.const 1) (i32.const 2040) (i32.const 2)) (call $exit (i32.const 0))",
        inner.len()
    );
    let nested = conversing(
        &format!("{EXIT} (data (i32.const 2048) \"{}\") (data (i32.const 2040) \"}}}}\")", escaped(inner)),
        &nested,
    );
    vec![
        case(
            "command: nothing",
            conversing(EXIT, "(call $exit (i32.const 0))"),
            "unusable verdict: nothing on stdout",
        ),
        case("command: white space", command("", " \n\t "), "unusable verdict: nothing on stdout"),
        case("command: garbage", first("hello"), no_verdict),
        case(
            "command: bytes that are no text",
            conversing(
                "(data (i32.const 2048) \"\\ff\\fe\\00\")",
                "(call $say (i32.const 1) (i32.const 2048) (i32.const 3))",
            ),
            no_verdict,
        ),
        case(
            "command: two documents",
            first(r#"{"verdict":"proceed"}"#),
            "unusable verdict: stdout is no verdict: trailing",
        ),
        case("command: JSON 100,000 deep", plain(deep), no_verdict),
        case("command: an answer 60,000 deep", nested, "unusable verdict: "),
        case(
            "command: a verdict with keys of its own",
            command("", r#"{"verdict":"proceed","x":1}"#),
            "unusable verdict: stdout is no verdict: unknown field `x`",
        ),
        case(
            "command: a verdict that is named twice",
            command("", r#"{"verdict":"proceed","verdict":"deny"}"#),
            "unusable verdict: stdout is no verdict: duplicate field",
        ),
        case(
            "command: post's verdict in pre",
            command("", r#"{"verdict":"keep"}"#),
            "unusable verdict: \"keep\" in pre",
        ),
        late(
            "command: pre's verdict in post",
            command("", r#"{"verdict":"proceed"}"#),
            "unusable verdict: \"proceed\" in post",
        ),
        case(
            "command: a verdict without what it needs",
            command("", r#"{"verdict":"rewrite"}"#),
            "unusable verdict: \"rewrite\" in pre",
        ),
        case(
            "command: a denial with code 0",
            command("", r#"{"verdict":"deny","error":{"code":0,"msg":"no"}}"#),
            "unusable verdict: an error with code 0",
        ),
        case(
            "command: a denial with a code beyond all measure",
            command("", r#"{"verdict":"deny","error":{"code":4294967296,"msg":"no"}}"#),
            no_verdict,
        ),
        case(
            "command: another plugin",
            command(
                "",
                r#"{"verdict":"rewrite","config":{"cniVersion":"1.0.0","name":"net","type":"../../bin/sh"}}"#,
            ),
            "unusable verdict: the configuration changes `type`",
        ),
    ]
}
