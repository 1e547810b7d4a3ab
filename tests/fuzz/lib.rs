//! What the fuzzer's programs are made of.

pub mod checks;
pub mod mutate;
