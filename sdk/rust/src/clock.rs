//! Time. Needs the grant `clock`.

#[cfg(target_arch = "wasm32")]
use crate::bindings::wasmhook::host::clock as host;
use std::time::Duration;

/// Time since 1970-01-01 00:00 UTC.
#[must_use]
pub fn now() -> Duration {
    #[cfg(target_arch = "wasm32")]
    let now = Duration::from_nanos(host::now_ns());
    #[cfg(not(target_arch = "wasm32"))]
    let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    now
}

/// Sleeps, to the millisecond, but never longer than what is left of the hook's wall time. Returns the time slept.
#[allow(clippy::must_use_candidate, reason = "sleeping is what it is for")]
pub fn sleep(time: Duration) -> Duration {
    let ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
    #[cfg(target_arch = "wasm32")]
    let slept = host::sleep_ms(ms);
    #[cfg(not(target_arch = "wasm32"))]
    let slept = {
        std::thread::sleep(Duration::from_millis(ms.into()));
        ms
    };
    Duration::from_millis(slept.into())
}

/// Wall time that the hook has left.
#[must_use]
pub fn remaining() -> Duration {
    #[cfg(target_arch = "wasm32")]
    let ms = host::remaining_ms();
    #[cfg(not(target_arch = "wasm32"))]
    let ms = u32::MAX;
    Duration::from_millis(ms.into())
}
