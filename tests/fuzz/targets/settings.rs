#![no_main]

use libfuzzer_sys::fuzz_target;
use wasmhook_fuzz::checks;

fuzz_target!(|input: &[u8]| checks::settings(input));
