//! Breaking calls in ways that no verdict can. Needs the grant `chaos`.
//!
//! All of it happens when the call is over. Everything is undone first, as after an error, unless `keep` is set: then the call
//! takes its course, and only its end is another one. The last function that is called counts.
//!
//! In unit tests nothing happens; `testing::end` tells what would.

use crate::HostError;
#[cfg(target_arch = "wasm32")]
use crate::bindings::wasmhook::host::chaos as host;

/// How a call ends instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With these bytes in the place of its document, 1 MiB at most, and this exit code, 0 to 255.
    Print(Vec<u8>, i32),
    /// By this signal, without a document.
    Signal(u32),
    /// Not at all: it hangs until the runtime kills it, or its time is over.
    Hang,
}

/// Prints this instead, and exits with this code, 0 to 255.
pub fn end_call(stdout: &[u8], exit_code: i32, keep: bool) -> Result<(), HostError> {
    #[cfg(target_arch = "wasm32")]
    let done = Ok(host::end_call(stdout, exit_code, keep)?);
    #[cfg(not(target_arch = "wasm32"))]
    let done = crate::testing::ends(End::Print(stdout.to_owned(), exit_code), keep);
    done
}

/// Prints nothing, and dies by this signal (9 is `SIGKILL`).
pub fn end_by_signal(signal: u32, keep: bool) -> Result<(), HostError> {
    #[cfg(target_arch = "wasm32")]
    let done = Ok(host::end_by_signal(signal, keep)?);
    #[cfg(not(target_arch = "wasm32"))]
    let done = crate::testing::ends(End::Signal(signal), keep);
    done
}

/// Does not go on after this phase, until the runtime kills the call or its time is over.
pub fn hang() -> Result<(), HostError> {
    #[cfg(target_arch = "wasm32")]
    let done = Ok(host::hang()?);
    #[cfg(not(target_arch = "wasm32"))]
    let done = crate::testing::ends(End::Hang, false);
    done
}
