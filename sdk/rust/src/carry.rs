//! What `pre` leaves for `post` of the same plugin call. Needs the grant `carry`.

use crate::Result;
use serde::Serialize;

/// Leaves a value, at most 64 KiB as JSON; [`Request::carry`](crate::Request::carry) reads it in `post`.
/// The last one counts.
pub fn set<T: Serialize>(value: &T) -> Result<()> {
    let json = serde_json::to_string(value)?;
    if cfg!(target_arch = "wasm32") {
        crate::bindings::wasmhook::host::carry::set(&json);
    }
    Ok(())
}
