//! Traps, in every place and of every kind.

use crate::case::{Case, UNREACHABLE, case, late, post, pre, realloc_for_post, start};
use wasmhook_tests::GO_ON;

pub(crate) fn cases() -> Vec<Case> {
    let table =
        "(type $v (func)) (table $t 4 funcref) (func $f (param i32)) (elem (table $t) (i32.const 1) func $f)";
    let indirect =
        |at: u32| pre(table, &format!("(call_indirect $t (type $v) (i32.const {at})) (i32.const 1024)"));
    let after = |phase: &str| {
        format!(r#"(func (export "cabi_post_wasmhook:hook/handler@0.1.0#{phase}") (param i32) unreachable)"#)
    };
    let bounds = "trap: out of bounds memory access";
    vec![
        case("a trap in start", start("", "unreachable"), UNREACHABLE),
        case("a trap in pre", pre("", "unreachable"), UNREACHABLE),
        case("a trap after pre has returned", pre(&after("pre"), GO_ON), UNREACHABLE),
        late("a trap in post", post("", "unreachable"), UNREACHABLE),
        late("a trap in realloc for post", realloc_for_post("", "unreachable"), UNREACHABLE),
        late("a trap after post has returned", post(&after("post"), GO_ON), UNREACHABLE),
        case(
            "a division by zero",
            pre("", "(i32.div_s (i32.const 1) (i32.const 0))"),
            "trap: integer divide by zero",
        ),
        case(
            "a quotient that does not fit",
            pre("", "(i32.div_s (i32.const 0x80000000) (i32.const -1))"),
            "trap: integer overflow",
        ),
        case(
            "an integer that does not fit",
            pre("", "(i32.trunc_f64_s (f64.const 1e300))"),
            "trap: integer overflow",
        ),
        case(
            "an integer of what is no number",
            pre("", "(i32.trunc_f64_s (f64.const nan))"),
            "trap: invalid conversion to integer",
        ),
        case("memory out of bounds", pre("", "(i32.load (i32.const -4))"), bounds),
        case("memory far out of bounds", pre("", "(i32.load offset=0xffffffff (i32.const -1))"), bounds),
        case(
            "a copy out of bounds",
            pre("", "(memory.copy (i32.const 0) (i32.const 1) (i32.const -1)) (i32.const 1024)"),
            bounds,
        ),
        case("data out of bounds", pre("(data (i32.const 2097151) \"xx\")", GO_ON), bounds),
        case(
            "elements out of bounds",
            pre(&format!("{table} (elem (table $t) (i32.const 4) func $f)"), GO_ON),
            "trap: undefined element: out of bounds table access",
        ),
        case("a call of nothing", indirect(0), "trap: uninitialized element"),
        case("a call of another type", indirect(1), "trap: indirect call type mismatch"),
        case("a call outside the table", indirect(9), "trap: undefined element: out of bounds table access"),
    ]
}
