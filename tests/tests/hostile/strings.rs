//! What passes between guest and host, and lies about itself.

use crate::case::{Case, LOG, REALLOC, TOP, UNREACHABLE, case, escaped, late, post, pre, realloc, text};
use wasmhook_tests::{GO_ON, core_component};

pub(crate) fn cases() -> Vec<Case> {
    [to_the_host(), in_verdicts(), reallocs()].into_iter().flatten().collect()
}

fn logging(level: i32, at: i64, length: i64) -> String {
    fields(level, at, length, 0, 0)
}

fn fields(level: i32, at: i64, length: i64, fields: i64, count: i64) -> String {
    format!(
        "(call $log (i32.const {level}) (i32.const {at}) (i32.const {length}) (i32.const {fields}) (i32.const {count}))
        (i32.const 1024)"
    )
}

const OUTSIDE: &str = "trap: string pointer/length out of bounds of memory";

fn to_the_host() -> Vec<Case> {
    let log = |parts: &str, body: &str| pre(&format!("{LOG} {parts}"), body);
    // 200,000 fields of nothing: little in the guest, and much where it is taken apart.
    let many = format!("(drop (memory.grow (i32.const 64))) {}", fields(2, 512, 0, 2_097_152, 200_000));
    let steering = format!(
        "(drop (memory.grow (i32.const 64))) (memory.fill (i32.const 2097152) (i32.const 27) (i32.const 3000000)) {}",
        logging(2, 2_097_152, 3_000_000)
    );
    vec![
        case("a string of 4 GiB to the host", log("", &logging(2, 512, -1)), OUTSIDE),
        case("a string that ends outside", log("", &logging(2, 2_097_100, 100)), OUTSIDE),
        case("a string that begins outside", log("", &logging(2, -8, 4)), OUTSIDE),
        case(
            "a list of 4 GiB to the host",
            log("", &fields(2, 512, 0, 512, -1)),
            "trap: list pointer/length out of bounds",
        ),
        case(
            "a list at an odd address",
            log("", &fields(2, 512, 0, 513, 1)),
            "trap: list pointer is not aligned",
        ),
        case(
            "a list of 200,000 fields",
            log("", &many),
            "trap: more than 4 MiB at once from the guest to the host",
        ),
        // In a child it is too long for a message.
        case("3 MB of control characters", log("", &steering), "log"),
        case(
            "invalid UTF-8 to the host",
            log("(data (i32.const 512) \"\\ff\\fe\")", &logging(2, 512, 2)),
            "trap: invalid utf-8",
        ),
        case(
            "half a character to the host",
            log("(data (i32.const 512) \"\\f0\\9f\")", &logging(2, 512, 2)),
            "trap: incomplete utf-8",
        ),
        case(
            "a surrogate to the host",
            log("(data (i32.const 512) \"\\ed\\a0\\80\")", &logging(2, 512, 3)),
            "trap: invalid utf-8",
        ),
        case(
            "a zero of two bytes to the host",
            log("(data (i32.const 512) \"\\c0\\80\")", &logging(2, 512, 2)),
            "trap: invalid utf-8",
        ),
        case("a level that is none", log("", &logging(77, 512, 1)), "trap: discriminant 77 out of range"),
    ]
}

fn in_verdicts() -> Vec<Case> {
    let invalid = "(data (i32.const 4096) \"\\ff\\ff\")";
    let said = |parts: &str, length: u32| {
        pre(
            parts,
            &format!(
                "(i32.store8 (i32.const 2048) (i32.const 1)) (i32.store (i32.const 2052) (i32.const 1048576))
                (i32.store (i32.const 2056) (i32.const {length})) (i32.const 2048)"
            ),
        )
    };
    let fill = |byte: u8| {
        format!(
            "(func $fill (memory.fill (i32.const 1048576) (i32.const {byte}) (i32.const 1000000))) (start $fill)"
        )
    };
    let painting = escaped("\x1b[2J\nwasmhook  INFO: all is well\r");
    vec![
        case(
            "a verdict outside the memory",
            pre("", "(i32.const -4)"),
            "trap: pointer out of bounds of memory",
        ),
        case("a verdict at an odd address", pre("", "(i32.const 1025)"), "trap: return pointer not aligned"),
        case(
            "a verdict that is no case",
            pre("", "(i32.store8 (i32.const 2052) (i32.const 99)) (i32.const 2048)"),
            "trap: unexpected discriminant: 99",
        ),
        case(
            "a verdict that is neither well nor ill",
            pre("", "(i32.store8 (i32.const 2048) (i32.const 7)) (i32.const 2048)"),
            "trap: ",
        ),
        case("a verdict's text of 4 GiB", pre("", &text(1, 4096, u32::MAX)), OUTSIDE),
        case("a verdict of invalid UTF-8", pre(invalid, &text(1, 4096, 2)), "trap: invalid utf-8"),
        late("a verdict of invalid UTF-8 in post", post(invalid, &text(1, 4096, 2)), "trap: invalid utf-8"),
        late(
            "a verdict outside the memory in post",
            post("", "(i32.const -4)"),
            "trap: pointer out of bounds",
        ),
        case("a complaint of 1 MB", said(&fill(b'x'), 1_000_000), "the hook reports: xxx"),
        case("a complaint of 1 MB of control characters", said(&fill(1), 1_000_000), "the hook reports: "),
        case(
            "a complaint that paints the terminal",
            said(&format!("(data (i32.const 1048576) \"{painting}\")"), 33),
            "the hook reports: ",
        ),
    ]
}

fn reallocs() -> Vec<Case> {
    let counting = |body: &str| {
        format!(
            "(global.set $n (i32.add (global.get $n) (i32.const 1)))
            (if (i32.gt_u (global.get $n) (i32.const 5)) (then {body})) {REALLOC}"
        )
    };
    let later = |body: &str| {
        core_component(&format!("{TOP} (global $n (mut i32) (i32.const 0))"), &counting(body), GO_ON, GO_ON)
    };
    // Everything at one place, where the verdict is as well: whoever lies about memory lies to itself.
    let overlapping = core_component("", "(i32.const 1024)", "unreachable", GO_ON);
    vec![
        case(
            "a realloc that points outside",
            realloc("", "(i32.const -16)"),
            "trap: realloc return: beyond end of memory",
        ),
        case(
            "a realloc that points to the very end",
            realloc("", "(i32.const 2097148)"),
            "trap: realloc return: beyond end of memory",
        ),
        case(
            "a realloc that points nowhere aligned",
            realloc("", "(i32.const 1027)"),
            "trap: realloc return: result not aligned",
        ),
        case("a realloc that gives one place twice", overlapping, UNREACHABLE),
        case("a realloc that traps", realloc("", "unreachable"), UNREACHABLE),
        case("a realloc that traps at the sixth time", later("unreachable"), UNREACHABLE),
        case(
            "a realloc that points outside at the sixth",
            later("(return (i32.const -64))"),
            "trap: realloc return: beyond end of memory",
        ),
    ]
}
