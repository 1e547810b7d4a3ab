//! Breaks pod networking on purpose, safely: for some pods, for a while, always the same ones, and never once the node says
//! stop (`wasmhookctl faults off`). See docs/hooks/fault.md.
//!
//! ```json
//! { "module": "fault", "grants": ["clock", "state"], "config": {
//!     "scripts": { "ADD": "2*error(11:try again)->off" },
//!     "optIn": { "annotation": "example.com/chaos" }, "notAfter": "2026-12-01T12:00:00Z" } }
//! ```
//!
//! What it does is in the crate `breaking`, which it shares with `chaos`.

/// What can be said by a verdict.
struct Verdicts;

impl breaking::Means for Verdicts {
    const CHAOS: bool = false;

    fn end(_: breaking::End, _: bool) -> wasmhook_sdk::Result<()> {
        Err(wasmhook_sdk::Failure::new("that takes the module `chaos`"))
    }

    fn set_down(_: &str) -> wasmhook_sdk::Result<()> {
        Err(wasmhook_sdk::Failure::new("that takes the module `chaos`"))
    }
}

wasmhook_sdk::export!(breaking::Breaking<Verdicts>);
wasmhook_sdk::settings_schema!("../../breaking/src/settings.schema.json");
