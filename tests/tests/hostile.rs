//! Guests that mean harm. Each ends within its budget, the call as an error that names hook and cause, with everything
//! undone; DEL works; and the plugin itself never panics, aborts or dies.

#![allow(clippy::unwrap_used, clippy::must_use_candidate, reason = "panicking is how a test speaks")]

use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};
use wasmhook_tests::{Answer, Call, GO_ON, Lab, Node, component, conversing, core_component, encode};

/// Of wall time, for each phase; half of it of the processor.
const BUDGET: Duration = Duration::from_millis(600);
/// What the end of a hook may take beyond that.
const GRACE: Duration = Duration::from_millis(100);

struct Case {
    name: &'static str,
    module: Vec<u8>,
    /// What stands in the hook besides `module`.
    hook: Value,
    code: u64,
    msg: &'static str,
}

fn case(name: &'static str, module: Vec<u8>, msg: &'static str) -> Case {
    Case { name, module, hook: json!({}), code: 101, msg }
}

impl Case {
    fn with(self, hook: Value) -> Self {
        Self { hook, ..self }
    }

    fn code(self, code: u64) -> Self {
        Self { code, ..self }
    }
}

const LOG: &str = r#"(import "wasmhook:host/log@0.1.0" "write" (func $log (param i32 i32 i32 i32 i32)))"#;
const NOW: &str = r#"(import "wasmhook:host/clock@0.1.0" "now-ns" (func $now (result i64)))"#;
const SLEEP: &str =
    r#"(import "wasmhook:host/clock@0.1.0" "sleep-ms" (func $sleep (param i32) (result i32)))"#;
const CARRY: &str = r#"(import "wasmhook:host/carry@0.1.0" "set" (func $carry (param i32 i32)))"#;
const STATE: &str = r#"(import "wasmhook:host/state@0.1.0" "keys" (func $keys (param i32 i32 i32 i32)))"#;
const LOOP: &str = "(loop (br 0)) unreachable";

fn pre(parts: &str, body: &str) -> Vec<u8> {
    component(parts, body, GO_ON)
}

/// With a `cabi_realloc` of one's own.
fn realloc(parts: &str, body: &str) -> Vec<u8> {
    core_component(parts, body, GO_ON, GO_ON)
}

/// A verdict of this case whose text is somewhere.
fn text(case: u32, at: u32, length: u32) -> String {
    format!(
        "(i32.store8 (i32.const 2052) (i32.const {case})) (i32.store (i32.const 2056) (i32.const {at}))
        (i32.store (i32.const 2060) (i32.const {length})) (i32.const 2048)"
    )
}

fn logging(level: i32, at: i64, length: i64) -> String {
    format!(
        "(call $log (i32.const {level}) (i32.const {at}) (i32.const {length}) (i32.const 0) (i32.const 0)) (i32.const 1024)"
    )
}

fn time() -> Vec<Case> {
    let start = |body: &str| pre(&format!("(func $start {body}) (start $start)"), GO_ON);
    let cpu = "cpu limit of 300ms reached (raise `limits.cpu`";
    vec![
        case("endless loop in start", start("(loop (br 0))"), cpu),
        case("endless loop in pre", pre("", LOOP), cpu),
        case("endless loop in post", component("", GO_ON, LOOP), cpu),
        case("endless loop in realloc", realloc("", LOOP), cpu),
        case("endless calls", pre("(func $f)", "(loop (call $f) (br 0)) unreachable"), cpu),
        case("a loop of host calls", pre(NOW, "(loop (drop (call $now)) (br 0)) unreachable"), "limit")
            .with(json!({ "grants": ["clock"], "limits": { "hostCalls": 1_000_000, "hostBytes": "1GiB", "cpu": "300ms" } })),
        case("sleep for ever", pre(SLEEP, "(loop (drop (call $sleep (i32.const -1))) (br 0)) unreachable"), "wall-clock limit of 600ms")
            .with(json!({ "grants": ["clock"] })),
        case("recursion in pre", pre("(func $f (call $f))", "(call $f) unreachable"), "stack limit of 512KiB reached (raise `limits.stack`"),
        case("recursion in start", start("(call $start)"), "stack limit of 512KiB"),
        case("recursion in post", component("(func $f (call $g)) (func $g (call $f))", GO_ON, "(call $f) unreachable"), "stack limit of 512KiB"),
        case("recursion with less stack", pre("(func $f (call $f))", "(call $f) unreachable"), "stack limit of 64KiB")
            .with(json!({ "limits": { "stack": "64KiB" } })),
    ]
}

fn space() -> Vec<Case> {
    let grow = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    let memory = "memory limit of 64MiB reached (raise `limits.memory`)";
    let tables = "(table 1 funcref)".repeat(30);
    let memories = "(memory 1)".repeat(12);
    vec![
        case("memory bomb in pre", pre("", grow), memory),
        case("memory bomb in post", component("", GO_ON, grow), memory),
        case("memory bomb in start", pre(&format!("(func $s {grow}) (start $s)"), GO_ON), memory),
        case("4 GiB at once", pre("", "(drop (memory.grow (i32.const 65000))) unreachable"), memory),
        case(
            "as much memory as is allowed, then a trap",
            pre("", "(drop (memory.grow (i32.const 900))) unreachable"),
            "trap: wasm `unreachable`",
        ),
        case("more memory than allowed from the start", pre("(memory 2000)", GO_ON), memory),
        case("many memories", pre(&memories, GO_ON), "memory count too high"),
        case(
            "table bomb",
            pre(
                "(table $t 1 funcref)",
                "(loop (br_if 0 (i32.ne (table.grow $t (ref.null func) (i32.const 10000)) (i32.const -1)))) unreachable",
            ),
            "table limit of 100000 elements reached (raise `limits.tableElements`)",
        ),
        case(
            "a table too large from the start",
            pre("(table 200000 funcref)", GO_ON),
            "table limit of 100000 elements",
        ),
        case("many tables", pre(&tables, GO_ON), "table limit of 20 tables reached (raise `limits.tables`)"),
        case("more than the module's own limit", pre("", GO_ON), "are allowed (raise `limits.module`)")
            .with(json!({ "limits": { "module": "1KiB" } }))
            .code(103),
    ]
}

fn strings() -> Vec<Case> {
    let deep = |case| {
        format!(
            "(memory.fill (i32.const 4096) (i32.const 91) (i32.const 100000)) {}",
            text(case, 4096, 100_000)
        )
    };
    vec![
        case("a string of 4 GiB to the host", pre(LOG, &logging(2, 512, -1)), "trap: "),
        case("a string that ends outside", pre(LOG, &logging(2, 2_097_100, 100)), "trap: "),
        case("a string that begins outside", pre(LOG, &logging(2, -8, 4)), "trap: "),
        case(
            "invalid UTF-8 to the host",
            pre(&format!("{LOG} (data (i32.const 512) \"\\ff\\fe\")"), &logging(2, 512, 2)),
            "trap: ",
        ),
        case("a level that is none", pre(LOG, &logging(77, 512, 1)), "trap: "),
        case("a verdict outside the memory", pre("", "(i32.const -4)"), "trap: "),
        case("a verdict at an odd address", pre("", "(i32.const 1025)"), "trap: "),
        case(
            "a verdict that is no case",
            pre("", "(i32.store8 (i32.const 2052) (i32.const 99)) (i32.const 2048)"),
            "trap: ",
        ),
        case("a verdict's text of 4 GiB", pre("", &text(1, 4096, u32::MAX)), "trap: "),
        case(
            "a verdict of invalid UTF-8",
            pre("(data (i32.const 4096) \"\\ff\\ff\")", &text(1, 4096, 2)),
            "trap: ",
        ),
        case(
            "a verdict of 2 MB",
            pre("", &format!("(drop (memory.grow (i32.const 40))) {}", text(1, 2 << 20, 2 << 20))),
            "verdict limit of 1MiB reached (raise `limits.verdict`)",
        ),
        case(
            "a verdict of 100 MB",
            pre("", &format!("(drop (memory.grow (i32.const 1700))) {}", text(1, 4096, 100 << 20))),
            "more than 4 MiB at once",
        )
        .with(json!({ "limits": { "memory": "256MiB" } })),
        case(
            "a configuration 100,000 deep",
            pre("", &deep(1)),
            "unusable verdict: the configuration is no JSON object",
        ),
        case("a result 100,000 deep", pre("", &deep(2)), "unusable verdict: the result is no JSON object"),
        case(
            "a result 100,000 deep, in post",
            component("", GO_ON, &deep(1)),
            "unusable verdict: the result is no JSON object",
        ),
        case(
            "a broken hook with 1 MB to say",
            pre(
                "",
                "(i32.store8 (i32.const 2048) (i32.const 1)) (i32.store (i32.const 2052) (i32.const 4096)) (i32.store (i32.const 2056) (i32.const 1000000)) (i32.const 2048)",
            ),
            "",
        ),
        case("a realloc that points outside", realloc("", "(i32.const -16)"), "trap: "),
        case("a realloc that points nowhere aligned", realloc("", "(i32.const 1027)"), "trap: "),
        case("a realloc that traps", realloc("", "unreachable"), "trap: wasm `unreachable`"),
    ]
}

fn calls() -> Vec<Case> {
    let flood = |length: i32| {
        format!(
            "(loop (call $log (i32.const 2) (i32.const 70000) (i32.const {length}) (i32.const 0) (i32.const 0)) (br 0)) unreachable"
        )
    };
    let carry =
        |length: i32| format!("(call $carry (i32.const 70000) (i32.const {length})) (i32.const 1024)");
    let denied = "(call $keys (i32.const 0) (i32.const 512) (i32.const 0) (i32.const 3072)) (i32.const 1024)";
    vec![
        case("a flood of log lines", pre(LOG, &flood(1)), "log limit of 1000 lines reached (raise `limits.logLines`)"),
        case("a flood of log bytes", pre(LOG, &flood(100_000)), "log limit of 256KiB reached (raise `limits.logBytes`)"),
        case("a flood of host calls", pre(NOW, "(loop (drop (call $now)) (br 0)) unreachable"), "host call limit of 50 calls reached (raise `limits.hostCalls`)").with(json!({ "grants": ["clock"], "limits": { "hostCalls": 50 } })),
        case("too much to carry", pre(CARRY, &carry(70_000)), "carry.set: ").with(json!({ "grants": ["carry"] })),
        case("something to carry that is no JSON", pre(CARRY, &carry(3)), "carry.set: ").with(json!({ "grants": ["carry"] })),
        case("a grant that is missing", pre(CARRY, GO_ON), "add grant `carry`").code(103),
        case("a host call while the request is handed in", realloc(LOG, &logging(2, 0, 0)), "trap: "),
        case("a host call inside a host call", core_component(&format!("{STATE} {LOG} (global $n (mut i32) (i32.const 0)) (global $top (mut i32) (i32.const 65536))"),
            "(if (i32.eq (global.get $n) (i32.const 1)) (then (drop (block (result i32) (call $log (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const 0)))))
            (global.set $top (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16))) (global.get $top) (global.set $top (i32.add (global.get $top) (local.get 3)))",
            &format!("(global.set $n (i32.const 1)) {denied}"), GO_ON), "trap: ").with(json!({ "grants": ["state:node"] })),
    ]
}

fn traps() -> Vec<Case> {
    let start = pre("(func $s unreachable) (start $s)", GO_ON);
    let table = "(type $v (func)) (table $t 4 funcref) (func $f (param i32)) (elem (i32.const 1) $f)";
    vec![
        case("a trap in start", start, "trap: wasm `unreachable`"),
        case("a trap in pre", pre("", "unreachable"), "trap: wasm `unreachable`"),
        case("a trap in post", component("", GO_ON, "unreachable"), "trap: wasm `unreachable`"),
        case(
            "a division by zero",
            pre("", "(i32.div_s (i32.const 1) (i32.const 0))"),
            "trap: integer divide by zero",
        ),
        case("an integer overflow", pre("", "(i32.trunc_f64_s (f64.const 1e300))"), "trap: "),
        case(
            "memory out of bounds",
            pre("", "(i32.load (i32.const -4))"),
            "trap: out of bounds memory access",
        ),
        case(
            "a call of nothing",
            pre(table, "(call_indirect $t (type $v) (i32.const 0)) (i32.const 1024)"),
            "trap: ",
        ),
        case(
            "a call of another type",
            pre(table, "(call_indirect $t (type $v) (i32.const 1)) (i32.const 1024)"),
            "trap: ",
        ),
        case(
            "a call outside the table",
            pre(table, "(call_indirect $t (type $v) (i32.const 9)) (i32.const 1024)"),
            "trap: ",
        ),
    ]
}

fn commands() -> Vec<Case> {
    let plain = |body: &str| conversing("", body);
    let says = |text: &str, body: &str| {
        let escaped = text.bytes().map(|byte| format!("\\{byte:02x}")).collect::<Vec<_>>().concat();
        conversing(&format!("(data (i32.const 2048) \"{escaped}\")"), body)
    };
    let first = |text: &str| {
        says(text, &format!("(call $say (i32.const 1) (i32.const 2048) (i32.const {}))", text.len()))
    };
    let poll = r#"(import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))"#;
    let exit = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
    let door = r#"(import "wasmhook" "call" (func $call (param i32 i32) (result i32))) (import "wasmhook" "reply" (func $reply (param i32 i32) (result i32)))"#;
    vec![
        case("command: endless loop", plain("(loop (br 0))"), "cpu limit of 300ms"),
        case("command: a trap", plain("unreachable"), "trap: wasm `unreachable`"),
        case("command: garbage", first("hello"), "unusable verdict: stdout is no verdict"),
        case(
            "command: two documents",
            first("{\"verdict\":\"proceed\"}"),
            "unusable verdict: stdout is no verdict",
        ),
        case(
            "command: nothing",
            conversing(exit, "(call $exit (i32.const 0))"),
            "unusable verdict: nothing on stdout",
        ),
        case(
            "command: exit code 7",
            conversing(exit, "(call $exit (i32.const 7))"),
            "the hook reports: nothing on stderr (exit code 7)",
        ),
        case(
            "command: stdout without end",
            plain("(loop (call $say (i32.const 1) (i32.const 65536) (i32.const 60000)) (br 0))"),
            "",
        ),
        case(
            "command: stderr without end",
            plain("(loop (call $say (i32.const 2) (i32.const 65536) (i32.const 60000)) (br 0))"),
            "",
        ),
        case(
            "command: JSON 100,000 deep",
            plain(
                "(memory.fill (i32.const 65536) (i32.const 91) (i32.const 100000)) (call $say (i32.const 1) (i32.const 65536) (i32.const 100000))",
            ),
            "unusable verdict: stdout is no verdict",
        ),
        case(
            "command: a sleep of centuries",
            conversing(
                poll,
                "(i32.store (i32.const 4112) (i32.const 1)) (i64.store (i32.const 4120) (i64.const 9000000000000000000)) (drop (call $poll (i32.const 4096) (i32.const 4200) (i32.const 1) (i32.const 24)))",
            ),
            "wall-clock limit of 600ms",
        ),
        case(
            "command: a reply to outside",
            conversing(
                door,
                "(drop (call $call (i32.const 0) (i32.const 0))) (drop (call $reply (i32.const -4) (i32.const 100)))",
            ),
            "wasmhook.reply: outside the memory",
        ),
        case(
            "command: a million calls",
            conversing(door, "(loop (drop (call $call (i32.const -4) (i32.const -1))) (br 0))"),
            "limit",
        ),
        case(
            "command: a verdict with keys of its own",
            first("{\"verdict\":\"proceed\",\"x\":1}"),
            "unusable verdict",
        ),
    ]
}

fn modules() -> Vec<Case> {
    let wat = |text: &str| wat::parse_str(text).unwrap();
    let handler = |parts: &str| {
        wat(&format!(
            r#"(module {parts} (memory (export "memory") 1) (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
            (func (export "wasmhook:hook/handler@0.1.0#pre") (param i32) (result i32) unreachable)
            (func (export "wasmhook:hook/handler@0.1.0#post") (param i32) (result i32) unreachable))"#
        ))
    };
    let many: String = (0..10_000)
        .map(|it| format!("(import \"wasi_snapshot_preview1\" \"f{it}\" (func))"))
        .collect::<Vec<_>>()
        .concat();
    let bomb = format!(
        "(module {} (memory (export \"memory\") 1) (func (export \"_start\")))",
        "(func (param i32) (result i32) (local.get 0))".repeat(50_000)
    );
    let other =
        encode(&wat(r#"(module (func (export "greet")))"#), "package a:b; world w { export greet: func(); }");
    let mut whole = component("", GO_ON, GO_ON);
    whole.truncate(whole.len() / 2);
    vec![
        case("nothing at all", Vec::new(), "not WebAssembly"),
        case("a shell script", b"#!/bin/sh\nrm -rf /\n".to_vec(), "not WebAssembly"),
        case("half a module", whole, "module /"),
        case("zeros behind the magic", [b"\0asm\x01\0\0\0".as_slice(), &[0; 4096]].concat(), "module /"),
        case("a component for another world", other, "exports no `wasmhook:hook/handler@0.1.0`"),
        case(
            "threads",
            wat("(module (memory (export \"memory\") 1 1 shared) (func (export \"_start\")))"),
            "module /",
        ),
        case(
            "memory64",
            wat("(module (memory (export \"memory\") i64 1) (func (export \"_start\")))"),
            "module /",
        ),
        case(
            "garbage collection",
            wat(
                "(module (type (struct (field i32))) (memory (export \"memory\") 1) (func (export \"_start\") (drop (struct.new_default 0))))",
            ),
            "module /",
        ),
        case(
            "exceptions",
            wat("(module (tag $e) (memory (export \"memory\") 1) (func (export \"_start\") (throw $e)))"),
            "module /",
        ),
        case(
            "10,000 imports",
            wat(&format!("(module {many} (memory (export \"memory\") 1) (func (export \"_start\")))")),
            "module /",
        ),
        case("a module that nobody can make a hook of", handler(""), "a core module that is no hook"),
        case("50,000 functions and no verdict", wat(&bomb), "unusable verdict: nothing on stdout"),
    ]
}

/// What a run left, held against what must be.
struct Run<'a> {
    node: &'a Node,
    lab: Lab,
    isolation: &'static str,
}

impl Run<'_> {
    fn config(hook: &Value) -> Value {
        let mut bad = json!({ "module": "bad", "limits": { "cpu": "300ms", "wall": "600ms" } });
        for (key, value) in hook.as_object().unwrap() {
            match (bad.get_mut(key).and_then(Value::as_object_mut), value.as_object()) {
                (Some(members), Some(more)) => members.extend(more.clone()),
                _ => bad[key] = value.clone(),
            }
        }
        json!({
            "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": [bad],
            "delegate": { "type": "host-local", "ipam": { "type": "host-local", "ranges": [[{ "subnet": "10.9.0.0/16" }]] } },
        })
    }

    fn ask(&self, verb: &str, hook: &Value) -> (Answer, Duration) {
        let call = Call { netns: "/run/netns/c".into(), ..Call::new(verb, &Self::config(hook)) };
        let started = Instant::now();
        (self.lab.call(&call), started.elapsed())
    }

    /// What a call takes that has nothing to do with the hook.
    fn bare(&self) -> Duration {
        self.lab.install("bad", &component("", GO_ON, GO_ON));
        assert_eq!(self.lab.ctl(&["compile", "bad"]).code, Some(0));
        let took = self.ask("ADD", &json!({})).1;
        self.ask("DEL", &json!({})).0.silent();
        took
    }

    fn hold(&self, case: &Case, bare: Duration, report: &mut Vec<u8>) -> Vec<String> {
        self.lab.install("bad", &case.module);
        // So that no pod waits for it; what is no module fails again at ADD.
        let _ = self.lab.ctl(&["compile", "bad"]);
        let (mut answer, mut took) = self.ask("ADD", &case.hook);
        if took > bare + BUDGET + GRACE {
            // The machine may have been busy. A hook that does not end is late again.
            self.ask("DEL", &case.hook).0.silent();
            (answer, took) = self.ask("ADD", &case.hook);
        }
        let document: Value = serde_json::from_str(&answer.stdout).unwrap_or_default();
        let msg = document["msg"].as_str().unwrap_or_default();
        // Modules that are none are compiled in vain by each call.
        let compiles = msg.contains("module /");
        let after = self.ask("DEL", &case.hook).0;
        let must = [
            ("exit code 1", answer.code == Some(1)),
            ("no panic", !answer.stderr.contains("panic")),
            ("its code", document["code"] == case.code),
            ("the hook's name and the cause", msg.starts_with("hook `bad`: ") && msg.contains(case.msg)),
            ("in time", compiles || took <= bare + BUDGET + GRACE),
            ("no lease", self.node.leases("net").is_empty()),
            ("no journal", self.lab.journals() == 0),
            ("a silent DEL", after.code == Some(0) && after.stdout.is_empty()),
        ];
        let short: String = msg.trim_start_matches("hook `bad`: ").chars().take(58).collect();
        let (name, isolation, ms) = (case.name, self.isolation, took.as_millis());
        writeln!(report, "{name:<44} {isolation:<6} {:>4} {ms:>4} ms  {short}", document["code"]).unwrap();
        let wrong = must.iter().filter(|(_, is)| !is).map(|(what, _)| *what);
        wrong.map(|what| format!("{name} ({isolation}): {what}: {answer:?}")).collect()
    }
}

#[test]
fn every_hostile_guest_ends_as_an_error_and_leaves_nothing() {
    let cases: Vec<Case> =
        [time(), space(), strings(), calls(), traps(), commands(), modules()].into_iter().flatten().collect();
    assert!(cases.len() >= 60, "{}", cases.len());
    let node = Node::enter();
    let _ = node.container("c");
    let (mut report, mut wrong) = (Vec::new(), Vec::new());
    for isolation in ["module", "call", "none"] {
        let run = Run { node: &node, lab: Lab::new(isolation), isolation };
        let bare = run.bare();
        for case in &cases {
            wrong.extend(run.hold(case, bare, &mut report));
        }
    }
    writeln!(report, "{} hostile guests, each in three places: none got through", cases.len()).unwrap();
    // Past the harness: it is to be seen when all is well, too.
    std::io::stderr().write_all(&report).unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let lab = Lab::new("module");
    let ask = |config: &Value| lab.call(&Call::new("ADD", config)).error();
    for name in ["../x", "a/b", "", ".", "..", ".hidden", "x\0y", "é", "a b"] {
        let config = json!({ "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": [{ "module": name }] });
        let error = ask(&config);
        assert!(
            error.code == 7 && error.msg.contains("write an absolute path, or a name of letters"),
            "{name:?}: {error:?}"
        );
    }
    for path in ["/etc/passwd", "/dev/null", "/dev/zero", "/proc/self/mem", "/", "/etc/../etc/shadow"] {
        let config = json!({ "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": [{ "module": path }] });
        let error = ask(&config);
        assert!([101, 102, 103].contains(&error.code), "{path:?}: {error:?}");
    }
    for plugin in ["../bridge", "/bin/sh", ".", "..", "a/b"] {
        let config = json!({ "cniVersion": "1.0.0", "name": "net", "type": "wasmhook", "hooks": [], "delegate": { "type": plugin } });
        let error = ask(&config);
        assert!(error.code == 7 && error.msg.contains("invalid plugin name"), "{plugin:?}: {error:?}");
    }
}

#[test]
fn a_module_that_is_replaced_while_it_runs_goes_on_and_the_next_call_has_the_new_one() {
    let lab = Lab::new("module");
    let sleeping = "(drop (call $sleep (i32.const 400))) (i32.const 1024)";
    lab.install("bad", &pre(SLEEP, sleeping));
    assert_eq!(lab.ctl(&["compile", "bad"]).code, Some(0));
    let config = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "wasmhook",
        "hooks": [{ "module": "bad", "grants": ["clock"] }], "prevResult": { "cniVersion": "1.0.0", "ips": [] },
    });
    let call = Call::new("ADD", &config);
    let mut running = lab.command(&call).spawn().unwrap();
    running.stdin.take().unwrap().write_all(call.stdin.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(150));
    let aside = lab.path().join("new.wasm");
    fs::write(&aside, pre("", "unreachable")).unwrap();
    fs::rename(&aside, lab.modules().join("bad.wasm")).unwrap();
    assert!(running.wait().unwrap().success());
    assert!(lab.call(&call).error().msg.contains("trap: wasm `unreachable`"));
}
