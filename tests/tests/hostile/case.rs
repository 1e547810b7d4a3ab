//! What a hostile guest is made of, and what must be said of it.

use serde_json::{Value, json};
use std::time::Duration;
use wasmhook_tests::{GO_ON, component, core_component};

/// What every case may take of each, unless it says otherwise.
pub(crate) const CPU: Duration = Duration::from_millis(100);
pub(crate) const WALL: Duration = Duration::from_millis(300);

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) module: Vec<u8>,
    /// What stands in the hook besides `module`.
    pub(crate) hook: Value,
    pub(crate) code: u64,
    /// Stands in the message, behind the hook's name.
    pub(crate) msg: &'static str,
    /// Does the plugin run before it is found out?
    pub(crate) is_late: bool,
    /// How long it may live.
    pub(crate) budget: Duration,
}

/// A guest that is found out before the plugin runs.
pub(crate) fn case(name: &'static str, module: Vec<u8>, msg: &'static str) -> Case {
    Case { name, module, hook: json!({}), code: 101, msg, is_late: false, budget: CPU }
}

/// One that is found out when the plugin has run, which must be undone.
pub(crate) fn late(name: &'static str, module: Vec<u8>, msg: &'static str) -> Case {
    Case { is_late: true, ..case(name, module, msg) }
}

impl Case {
    pub(crate) fn with(self, hook: Value) -> Self {
        Self { hook, ..self }
    }

    pub(crate) fn granted(self, grant: &str) -> Self {
        self.with(json!({ "grants": [grant] }))
    }

    pub(crate) fn code(self, code: u64) -> Self {
        Self { code, ..self }
    }

    /// It takes no processor time, or shares it with us.
    pub(crate) fn waits(self) -> Self {
        Self { budget: WALL, ..self }
    }
}

pub(crate) const LOG: &str =
    r#"(import "wasmhook:host/log@0.1.0" "write" (func $log (param i32 i32 i32 i32 i32)))"#;
pub(crate) const NOW: &str = r#"(import "wasmhook:host/clock@0.1.0" "now-ns" (func $now (result i64)))"#;
pub(crate) const SLEEP: &str =
    r#"(import "wasmhook:host/clock@0.1.0" "sleep-ms" (func $sleep (param i32) (result i32)))"#;
pub(crate) const CARRY: &str = r#"(import "wasmhook:host/carry@0.1.0" "set" (func $carry (param i32 i32)))"#;
pub(crate) const LOOP: &str = "(loop (br 0)) unreachable";

pub(crate) const CPU_REACHED: &str = "cpu limit of 100ms reached (raise `limits.cpu`";
pub(crate) const WALL_REACHED: &str = "wall-clock limit of 300ms reached (raise `limits.wall`";
pub(crate) const UNREACHABLE: &str = "trap: wasm `unreachable` instruction executed";

/// Hostile before the plugin.
pub(crate) fn pre(parts: &str, body: &str) -> Vec<u8> {
    component(parts, body, GO_ON)
}

/// Hostile after it.
pub(crate) fn post(parts: &str, body: &str) -> Vec<u8> {
    component(parts, GO_ON, body)
}

/// Hostile as soon as it is there.
pub(crate) fn start(parts: &str, body: &str) -> Vec<u8> {
    component(&format!("{parts} (func $start {body}) (start $start)"), GO_ON, GO_ON)
}

/// Hostile when it is asked for memory: by the request, which comes first.
pub(crate) fn realloc(parts: &str, body: &str) -> Vec<u8> {
    core_component(parts, body, GO_ON, GO_ON)
}

/// Hostile when the request of `post` wants memory: it is larger, because the outcome is in it.
pub(crate) fn realloc_for_post(parts: &str, body: &str) -> Vec<u8> {
    let is_posts = "(i32.and (i32.eq (local.get 2) (i32.const 4)) (i32.gt_u (local.get 3) (i32.const 108)))";
    let realloc = format!("(if {is_posts} (then {body})) {REALLOC}");
    core_component(&format!("{parts} {TOP}"), &realloc, GO_ON, GO_ON)
}

/// A sound `cabi_realloc`, for a module that has `$top`.
pub(crate) const REALLOC: &str =
    "(global.set $top (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
    (global.get $top) (global.set $top (i32.add (global.get $top) (local.get 3)))";
pub(crate) const TOP: &str = "(global $top (mut i32) (i32.const 65536))";

/// A verdict of this case whose text is somewhere in memory.
pub(crate) fn text(case: u32, at: u32, length: u32) -> String {
    format!(
        "(i32.store8 (i32.const 2052) (i32.const {case})) (i32.store (i32.const 2056) (i32.const {at}))
        (i32.store (i32.const 2060) (i32.const {length})) (i32.const 2048)"
    )
}

/// The bytes of a text, as the text format has them.
pub(crate) fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("\\{byte:02x}")).collect::<Vec<_>>().concat()
}
