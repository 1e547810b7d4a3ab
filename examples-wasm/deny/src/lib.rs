//! Changes nothing: the smallest hook, and what benchmarks measure the cost of a hook with.

use wasmhook_sdk::prelude::*;

struct X;

impl Hook for X {}

wasmhook_sdk::export!(X);
