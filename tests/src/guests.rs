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

/// A hook in the text format: `memory`, `imports` and functions go into its core module, `pre` and `post` are bodies
/// of `(param … ) (result i32)` functions that return a pointer to the flattened verdict.
///
/// The verdict `proceed` (or `keep`) is what memory full of zeros means: pointer 0.
#[must_use]
pub fn component(parts: &str, pre: &str, post: &str) -> Vec<u8> {
    let text = include_str!("hook.wat").replace("@parts", parts).replace("@pre", pre).replace("@post", post);
    wat::parse_str(text).expect("a component")
}
