#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use wasmhook_fuzz::{checks, mutate::mutate};

fuzz_target!(|input: &[u8]| checks::conversion(input));

fuzz_mutator!(|bytes: &mut [u8], size: usize, most: usize, seed: u32| {
    mutate(bytes, size, most, seed).unwrap_or_else(|| fuzzer_mutate(bytes, size, most))
});
