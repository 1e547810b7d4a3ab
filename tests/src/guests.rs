//! Guests that no compiler made: for what no well-meaning author would write, and for measuring.

use wasm_encoder::{
    CodeSection, ComponentSection, CustomSection, Function, FunctionSection, InstanceSection, Module,
    ModuleArg, ModuleSection, TypeSection, ValType,
};
use wasmparser::{Parser, Payload};

/// The same component with other bytes: a custom section more.
#[must_use]
pub fn variant(component: &[u8], number: u32) -> Vec<u8> {
    let mut bytes = component.to_vec();
    let section = CustomSection { name: "variant".into(), data: number.to_le_bytes().to_vec().into() };
    ComponentSection::append_to_component(&section, &mut bytes);
    bytes
}

/// The same component with about `code` bytes of functions more, in a module that is instantiated and never called.
#[must_use]
pub fn padded(component: &[u8], code: usize) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    let (mut functions, mut bodies) = (FunctionSection::new(), CodeSection::new());
    while bodies.byte_len() < code {
        functions.function(0);
        bodies.function(&body(bodies.len()));
    }
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&bodies);

    let mut bytes = component.to_vec();
    ComponentSection::append_to_component(&ModuleSection(&module), &mut bytes);
    let mut instances = InstanceSection::new();
    instances.instantiate::<[(&str, ModuleArg); 0], &str>(core_modules(component), []);
    ComponentSection::append_to_component(&instances, &mut bytes);
    bytes
}

/// A kilobyte of arithmetic that no optimiser can fold.
fn body(seed: u32) -> Function {
    let mut function = Function::new([]);
    let mut code = function.instructions();
    code.local_get(0);
    for step in 0..150_i32 {
        code.i32_const(step.wrapping_mul(0x9e37) ^ seed.cast_signed()).i32_xor().local_get(0).i32_mul();
    }
    code.end();
    function
}

fn core_modules(component: &[u8]) -> u32 {
    let mut depth = 0;
    let mut count = 0;
    for payload in Parser::new(0).parse_all(component) {
        match payload.expect("a component") {
            Payload::ModuleSection { .. } => {
                count += u32::from(depth == 0);
                depth += 1;
            }
            Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = i32::max(depth - 1, 0),
            _ => {}
        }
    }
    count
}

/// A hook in the text format: `parts` are fields of its core module; `pre` and `post` are bodies of functions that
/// take a pointer to the request and return one to the verdict. Zeros mean `proceed` and `keep`: [`GO_ON`].
#[must_use]
pub fn component(parts: &str, pre: &str, post: &str) -> Vec<u8> {
    encode(&wat::parse_str(core(parts, pre, post)).expect("WAT"), HOOK)
}

/// The same for a world in the text format, with what that imports and exports besides.
#[must_use]
pub fn component_in(world: &str, parts: &str, pre: &str, post: &str) -> Vec<u8> {
    encode(&wat::parse_str(core(parts, pre, post)).expect("WAT"), world)
}

/// The same as a core module that says which component it wants to be.
#[must_use]
pub fn core_module(parts: &str, pre: &str, post: &str) -> Vec<u8> {
    embed(&wat::parse_str(core(parts, pre, post)).expect("WAT"), HOOK)
}

const HOOK: &str = "wasmhook:hook/hook";

/// [`component`] with a `cabi_realloc` of its own, which has the parameters of any other.
#[must_use]
pub fn core_component(parts: &str, realloc: &str, pre: &str, post: &str) -> Vec<u8> {
    let text = core_with(parts, realloc, pre, post);
    encode(&wat::parse_str(text).expect("WAT"), HOOK)
}

fn core(parts: &str, pre: &str, post: &str) -> String {
    let parts = format!("{parts} (global $top (mut i32) (i32.const 65536))");
    let realloc = "(global.set $top (i32.and (i32.add (global.get $top) (i32.const 15)) (i32.const -16)))
        (global.get $top)
        (global.set $top (i32.add (global.get $top) (local.get 3)))";
    core_with(&parts, realloc, pre, post)
}

fn core_with(parts: &str, realloc: &str, pre: &str, post: &str) -> String {
    format!(
        r#"(module
            {parts}
            (memory (export "memory") 32)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc})
            (func (export "wasmhook:hook/handler@0.1.0#pre") (param i32) (result i32) {pre})
            (func (export "wasmhook:hook/handler@0.1.0#post") (param i32) (result i32) {post}))"#
    )
}

/// A hook that is a plain program: prints this and ends. `parts` are fields of its module.
#[must_use]
pub fn command(parts: &str, printed: &str) -> Vec<u8> {
    let escaped = printed.bytes().map(|byte| format!("\\{byte:02x}")).collect::<Vec<_>>().concat();
    let length = printed.len();
    let text = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            {parts}
            (memory (export "memory") 1)
            (data (i32.const 1024) "{escaped}")
            (func (export "_start")
                (i32.store (i32.const 0) (i32.const 1024))
                (i32.store (i32.const 4) (i32.const {length}))
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#
    );
    wat::parse_str(text).expect("WAT")
}

/// A command that does this, and then prints a verdict that changes nothing.
#[must_use]
pub fn conversing(parts: &str, body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
            {parts}
            (memory (export "memory") 4)
            (data (i32.const 1024) "{{\"verdict\":\"proceed\"}}")
            (data (i32.const 1088) "{{\"verdict\":\"keep\"}}")
            ;; Writes $length bytes at $at to $stream.
            (func $say (param $stream i32) (param $at i32) (param $length i32)
                (i32.store (i32.const 16) (local.get $at))
                (i32.store (i32.const 20) (local.get $length))
                (if (call $write (local.get $stream) (i32.const 16) (i32.const 1) (i32.const 24)) (then unreachable)))
            (func (export "_start")
                (local $length i32)
                ;; The request, at 65536.
                (i32.store (i32.const 16) (i32.const 65536))
                (i32.store (i32.const 20) (i32.const 65536))
                (if (call $read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 24)) (then unreachable))
                (local.set $length (i32.load (i32.const 24)))
                {body}
                ;; The phase begins at 10: `pre` or `post`.
                (if (i32.eq (i32.load8_u (i32.const 65547)) (i32.const 114))
                    (then (call $say (i32.const 1) (i32.const 1024) (i32.const 21)))
                    (else (call $say (i32.const 1) (i32.const 1088) (i32.const 18))))))"#
    );
    wat::parse_str(text).expect("WAT")
}

/// A command that makes this host call in each phase, and writes the reply on its stderr.
#[must_use]
pub fn calling(message: &str) -> Vec<u8> {
    calling_if("(i32.const 1)", message)
}

/// The same in `pre` alone.
#[must_use]
pub fn calling_before(message: &str) -> Vec<u8> {
    // The phase begins at 10.
    calling_if("(i32.eq (i32.load8_u (i32.const 65547)) (i32.const 114))", message)
}

fn calling_if(condition: &str, message: &str) -> Vec<u8> {
    let escaped = message.bytes().map(|byte| format!("\\{byte:02x}")).collect::<Vec<_>>().concat();
    let parts = format!(
        r#"(import "wasmhook" "call" (func $call (param i32 i32) (result i32)))
        (import "wasmhook" "reply" (func $reply (param i32 i32) (result i32)))
        (data (i32.const 2048) "{escaped}")"#
    );
    let body = format!(
        "(if {condition} (then
            (drop (call $call (i32.const 2048) (i32.const {})))
            ;; Twice: it has no effect.
            (drop (call $reply (i32.const 8192) (i32.const 4096)))
            (call $say (i32.const 2) (i32.const 8192) (call $reply (i32.const 8192) (i32.const 4096)))))",
        message.len()
    );
    conversing(&parts, &body)
}

/// A hook that changes nothing and has WASI among its imports.
#[must_use]
pub fn with_wasi() -> Vec<u8> {
    let world = "package a:b;
        package wasi:random@0.2.0 { interface random { get-random-u64: func() -> u64; } }
        world w { import wasi:random/random@0.2.0; export wasmhook:hook/handler@0.1.0; }";
    let random = r#"(import "wasi:random/random@0.2.0" "get-random-u64" (func (result i64)))"#;
    component_in(world, random, GO_ON, GO_ON)
}

/// The body of a function that changes nothing.
pub const GO_ON: &str = "(i32.const 1024)";

/// Fields and body for a verdict with text: `rewrite` (1) or `answer` (2) in `pre`, `rewrite` (1) or `recover` (3) in
/// `post`.
#[must_use]
pub fn verdict(case: u8, text: &str) -> (String, &'static str) {
    let escaped = text.bytes().map(|byte| format!("\\{byte:02x}")).collect::<Vec<_>>().concat();
    let length: String =
        u32::try_from(text.len()).unwrap_or(0).to_le_bytes().map(|it| format!("\\{it:02x}")).concat();
    let head = format!("\\00\\00\\00\\00\\{case:02x}\\00\\00\\00\\00\\10\\00\\00{length}");
    (format!(r#"(data (i32.const 2048) "{head}") (data (i32.const 4096) "{escaped}")"#), "(i32.const 2048)")
}

/// Fields and body for the verdict `deny` (3) of `pre` with this error.
#[must_use]
pub fn deny(code: u32, msg: &str) -> (String, &'static str) {
    let words = [0, 3, code, 4096, u32::try_from(msg.len()).unwrap_or(0), 0, 0];
    let bytes =
        words.iter().flat_map(|it| it.to_le_bytes()).map(|it| format!("\\{it:02x}")).collect::<Vec<_>>();
    let head = bytes.concat();
    (format!(r#"(data (i32.const 2048) "{head}") (data (i32.const 4096) "{msg}")"#), "(i32.const 2048)")
}

/// A hook that at ADD writes `with` over what stands right behind `behind`, where that is first: with `pre` in the
/// configuration, with `post` in the result. White space in there does not count. Traps where there is nothing to write
/// over, so that no test is about nothing.
#[must_use]
pub fn overwriting(phase: &str, behind: &str, with: &str) -> Vec<u8> {
    let escaped = |text: &str| text.bytes().map(|byte| format!("\\{byte:02x}")).collect::<Vec<_>>().concat();
    let parts = format!(
        r#"(data (i32.const 4096) "{}") (data (i32.const 8192) "{}")
        (func $overwrite (param $text i32) (param $length i32) (result i32)
            (local $start i32) (local $at i32) (local $step i32) (local $end i32)
            (local.set $end (i32.add (local.get $text) (local.get $length)))
            (local.set $start (local.get $text))
            (loop $next
                (if (i32.ge_u (local.get $start) (local.get $end)) (then unreachable))
                (local.set $at (local.get $start))
                (local.set $step (i32.const 0))
                (block $differs
                    (loop $same
                        (br_if $differs (i32.ge_u (local.get $at) (local.get $end)))
                        (if (i32.le_u (i32.load8_u (local.get $at)) (i32.const 32))
                            (then (local.set $at (i32.add (local.get $at) (i32.const 1))) (br $same)))
                        (br_if $differs (i32.ne (i32.load8_u (local.get $at)) (i32.load8_u offset=4096 (local.get $step))))
                        (local.set $at (i32.add (local.get $at) (i32.const 1)))
                        (local.set $step (i32.add (local.get $step) (i32.const 1)))
                        (br_if $same (i32.lt_u (local.get $step) (i32.const {}))))
                    (memory.copy (local.get $at) (i32.const 8192) (i32.const {}))
                    (i32.store (i32.const 2052) (i32.const 1))
                    (i32.store (i32.const 2056) (local.get $text))
                    (i32.store (i32.const 2060) (local.get $length))
                    (return (i32.const 2048)))
                (local.set $start (i32.add (local.get $start) (i32.const 1)))
                (br $next))
            unreachable)"#,
        escaped(behind),
        escaped(with),
        behind.len(),
        with.len(),
    );
    // Of the request `verb` stands first and `config` at 64; behind it, at 108, the outcome with its case.
    let at_add = |more: &str, text: u32| {
        let length = text + 4;
        format!(
            "(if (result i32) (i32.and (i32.eq (i32.load8_u (i32.load (local.get 0))) (i32.const 65)) {more})
                (then (call $overwrite (i32.load offset={text} (local.get 0)) (i32.load offset={length} (local.get 0))))
                (else {GO_ON}))"
        )
    };
    match phase {
        "pre" => component(&parts, &at_add("(i32.const 1)", 64), GO_ON),
        "post" => component(&parts, GO_ON, &at_add("(i32.eqz (i32.load8_u offset=108 (local.get 0)))", 112)),
        _ => panic!("{phase}: `pre` or `post`"),
    }
}

/// Makes a component of a core module, for a world of the contract or, with `{`, for one in the text format.
#[must_use]
pub fn encode(module: &[u8], world: &str) -> Vec<u8> {
    let encoder = wit_component::ComponentEncoder::default().validate(true);
    encoder.module(&embed(module, world)).expect("a module").encode().expect("a component")
}

/// Adds to a core module which world it is for.
fn embed(module: &[u8], world: &str) -> Vec<u8> {
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) =
        resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk/wit")).expect("the contract");
    let world = if world.contains('{') {
        let package = resolve.push_str("other.wit", world).expect("a world");
        resolve.select_world(&[package], None).expect("one world")
    } else {
        resolve.select_world(&[package], Some(world)).expect("a world of the contract")
    };
    let mut module = module.to_vec();
    wit_component::embed_component_metadata(
        &mut module,
        &resolve,
        world,
        wit_component::StringEncoding::UTF8,
    )
    .expect("metadata");
    module
}
