//! The last resort. Every wait of a call has its end, but a disk can hang, and so can whoever reads our log. When all its
//! time is over and a little more, the call is ended with the one document it owes; the journal is left for DEL.

#![allow(unsafe_code, reason = "a signal handler; see each block")]

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigEvent, SigHandler, SigSet, SigevNotify, Signal, sigaction};
use nix::sys::timer::{Expiration, Timer, TimerSetTimeFlags};
use nix::time::ClockId;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Duration;
use wasmhook_cni::{Error, SpecVersion, code};

/// More than what a call's budget leaves for undoing may take.
const GRACE: Duration = Duration::from_secs(5);

/// Nobody else's: guests in this process have SIGALRM.
const SIGNAL: Signal = Signal::SIGVTALRM;

/// What is printed at the end; null once somebody else has begun to print.
static DOCUMENT: AtomicPtr<String> = AtomicPtr::new(ptr::null_mut());

extern "C" fn bite(_: libc::c_int) {
    let document = DOCUMENT.swap(ptr::null_mut(), Ordering::AcqRel);
    if document.is_null() {
        return;
    }
    // SAFETY: leaked by `watch`, so it is there; write and _exit are async-signal-safe.
    unsafe {
        let document = &*document;
        libc::write(libc::STDOUT_FILENO, document.as_ptr().cast(), document.len());
        libc::_exit(1)
    }
}

/// Ends this process when the call's time is over for good. For a process that does nothing else.
pub(crate) fn watch(call: Duration, version: SpecVersion) {
    let msg = format!(
        "the call's {call:?} are over and something hangs (a disk, or the reader of the log): what was done is in the journal, for DEL"
    );
    let error = Error { cni_version: Some(version.to_string()), ..Error::new(code::TRY_AGAIN, msg) };
    let Ok(document) = serde_json::to_string(&error) else { return };
    DOCUMENT.store(Box::into_raw(Box::new(document + "\n")), Ordering::Release);
    if let Err(error) = set(call + GRACE) {
        tracing::warn!("watchdog: {error}");
    }
}

fn set(after: Duration) -> nix::Result<()> {
    let action = SigAction::new(SigHandler::Handler(bite), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler touches an atomic and async-signal-safe functions only.
    unsafe { sigaction(SIGNAL, &action) }?;
    let event = SigEvent::new(SigevNotify::SigevSignal { signal: SIGNAL, si_value: 0 });
    let mut timer = Timer::new(ClockId::CLOCK_MONOTONIC, event)?;
    timer.set(Expiration::OneShot(after.into()), TimerSetTimeFlags::empty())?;
    // It goes with the process.
    std::mem::forget(timer);
    Ok(())
}

/// From here on the call prints its document itself.
pub(crate) fn call_off() {
    DOCUMENT.store(ptr::null_mut(), Ordering::Release);
}
