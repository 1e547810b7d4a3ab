//! Changes nothing: the smallest hook, and what benchmarks measure the cost of a hook with.

use wasmhook_sdk::prelude::*;

struct Identity;

impl Hook for Identity {
    // There is nothing that could.
    const LOG_PANICS: bool = false;
}

wasmhook_sdk::export!(Identity);
