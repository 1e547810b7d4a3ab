//! Two timers that end a guest: one of wall time, one of processor time. No thread: the signal's handler bumps the
//! engine's epoch, and the guest traps at its next loop or call.

#![allow(unsafe_code, reason = "signal handlers and setitimer; see each block")]

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{io, ptr, time::Duration};
use wasmtime::Engine;

/// The engine whose guest is running; null when none is.
static ENGINE: AtomicPtr<Engine> = AtomicPtr::new(ptr::null_mut());
/// The first signal that came, 0 when none has.
static FIRST: AtomicI32 = AtomicI32::new(0);
/// A process has one timer of each kind, so one guest at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    Cpu,
    Wall,
}

/// Armed from [`Alarm::arm`] until dropped.
pub(crate) struct Alarm {
    engine: *mut Engine,
    _turn: MutexGuard<'static, ()>,
}

extern "C" fn ring(signal: libc::c_int) {
    let _ = FIRST.compare_exchange(0, signal, Ordering::AcqRel, Ordering::Acquire);
    let engine = ENGINE.load(Ordering::Acquire);
    if !engine.is_null() {
        // SAFETY: the pointer is reset, and the timers stopped, before the engine goes (`Drop`); the method is
        // documented as async-signal-safe.
        unsafe { (*engine).increment_epoch() };
    }
}

impl Alarm {
    /// Starts both timers. The store's epoch deadline must be set already.
    pub(crate) fn arm(engine: &Engine, cpu: Duration, wall: Duration) -> io::Result<Self> {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        FIRST.store(0, Ordering::Release);
        let engine = Box::into_raw(Box::new(engine.clone()));
        ENGINE.store(engine, Ordering::Release);
        let alarm = Self { engine, _turn: turn };
        handle_signals()?;
        set_timer(libc::ITIMER_REAL, wall)?;
        set_timer(libc::ITIMER_PROF, cpu)?;
        Ok(alarm)
    }

    /// Has a limit been reached, and which one first?
    pub(crate) fn reached() -> Option<Reached> {
        match FIRST.load(Ordering::Acquire) {
            libc::SIGALRM => Some(Reached::Wall),
            libc::SIGPROF => Some(Reached::Cpu),
            _ => None,
        }
    }
}

/// Once per process; without an engine the handler does nothing.
fn handle_signals() -> io::Result<()> {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.swap(true, Ordering::AcqRel) {
        return Ok(());
    }
    let action = SigAction::new(SigHandler::Handler(ring), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGALRM, Signal::SIGPROF] {
        // SAFETY: `ring` touches atomics and one async-signal-safe method only.
        unsafe { sigaction(signal, &action) }?;
    }
    Ok(())
}

impl Drop for Alarm {
    fn drop(&mut self) {
        for timer in [libc::ITIMER_REAL, libc::ITIMER_PROF] {
            // Stopping a timer of a valid kind cannot fail.
            let _ = set_timer(timer, Duration::ZERO);
        }
        ENGINE.store(ptr::null_mut(), Ordering::Release);
        // SAFETY: from `Box::into_raw` in `arm`; no handler can see it any more.
        drop(unsafe { Box::from_raw(self.engine) });
    }
}

fn set_timer(which: libc::c_int, after: Duration) -> io::Result<()> {
    let once = libc::itimerval {
        it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 },
        it_value: libc::timeval {
            tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            tv_usec: i64::from(after.subsec_micros()),
        },
    };
    // SAFETY: a valid timer and a valid pointer to it.
    match unsafe { libc::setitimer(which, &raw const once, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
