//! The hook `fault` with what takes more: crashes, hangs, nonsense in the place of a result, a link that is down. See
//! docs/hooks/fault.md.
//!
//! ```json
//! { "module": "chaos", "grants": ["chaos", "clock", "state", "link:container"], "config": {
//!     "scripts": { "ADD": { "after": "1*signal(KILL)->off" } }, "notAfter": "2026-12-01T12:00:00Z" } }
//! ```
//!
//! What it does is in the crate `breaking`, which it shares with `fault`.

use wasmhook_sdk::net::{LinkChange, Place};
use wasmhook_sdk::{Result, chaos, link};

/// All there is.
struct Everything;

impl breaking::Means for Everything {
    const CHAOS: bool = true;

    fn end(end: breaking::End, keep: bool) -> Result<()> {
        match end {
            breaking::End::Print(stdout, exit_code) => chaos::end_call(&stdout, exit_code, keep)?,
            breaking::End::Signal(signal) => chaos::end_by_signal(signal, keep)?,
            breaking::End::Hang => chaos::hang()?,
        }
        Ok(())
    }

    fn set_down(ifname: &str) -> Result<()> {
        link::update(Place::Container, ifname, &LinkChange { up: Some(false), ..LinkChange::default() })?;
        Ok(())
    }
}

wasmhook_sdk::export!(breaking::Breaking<Everything>);
wasmhook_sdk::settings_schema!("../../breaking/src/settings.schema.json");
