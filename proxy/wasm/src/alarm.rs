//! A timer that ends a guest when its wall or processor time is over. No thread: the signal's handler bumps the
//! engine's epoch, and the guest traps at its next loop or call.
//!
//! One timer does for both, because processor time cannot run faster than the wall's: it rings when the nearer of the
//! two may be reached, and if the guest has slept meanwhile it is set again.

#![allow(unsafe_code, reason = "signal handlers and setitimer; see each block")]

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::time::{ClockId, clock_gettime};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{io, ptr, time::Duration};
use wasmtime::Engine;

/// The engine whose guest is running; null when none is.
static ENGINE: AtomicPtr<Engine> = AtomicPtr::new(ptr::null_mut());
/// Nanoseconds of processor time at which the guest ends.
static CPU_ENDS: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds of the monotonic clock at which the guest ends.
static WALL_ENDS: AtomicU64 = AtomicU64::new(0);
/// Nanoseconds of the wall's time that were not the guest's.
static ELSEWHERE: AtomicU64 = AtomicU64::new(0);
/// Is the guest's time not looked at, because somebody else is at work for it?
static PAUSED: AtomicBool = AtomicBool::new(false);
/// Has the timer rung meanwhile?
static MISSED: AtomicBool = AtomicBool::new(false);
/// What was reached: a [`Reached`], [`NOTHING`] when neither.
static REACHED: AtomicU8 = AtomicU8::new(NOTHING);
const NOTHING: u8 = 0;
/// A process has one timer, so one guest at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The least time until the timer rings again, so that a guest that sleeps just short of its limit costs nothing.
const SOONEST: Duration = Duration::from_millis(1);

/// Which limit was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    Cpu = 1,
    Wall = 2,
}

/// Armed from [`Alarm::arm`] until dropped.
pub(crate) struct Alarm {
    engine: *mut Engine,
    /// Nanoseconds of processor time when it was armed.
    cpu_started: u64,
    _turn: MutexGuard<'static, ()>,
}

extern "C" fn ring(_: libc::c_int) {
    let engine = ENGINE.load(Ordering::Acquire);
    if engine.is_null() {
        return;
    }
    if PAUSED.load(Ordering::Acquire) {
        MISSED.store(true, Ordering::Release);
        return;
    }
    let left = |ends: &AtomicU64, clock| ends.load(Ordering::Acquire).saturating_sub(now(clock));
    let (cpu, wall) = (left(&CPU_ENDS, CPU), left(&WALL_ENDS, WALL));
    let reached = match (cpu, wall) {
        (0, _) => Reached::Cpu,
        (_, 0) => Reached::Wall,
        _ => {
            // A timer of a valid kind, and a system call like any other.
            let _ = set_timer(Duration::from_nanos(cpu.min(wall)).max(SOONEST));
            return;
        }
    };
    REACHED.store(reached as u8, Ordering::Release);
    // SAFETY: the pointer is reset, and the timer stopped, before the engine goes (`Drop`); the method is documented
    // as async-signal-safe.
    unsafe { (*engine).increment_epoch() };
}

impl Alarm {
    /// Starts the timer. The store's epoch deadline must be set already.
    pub(crate) fn arm(engine: &Engine, cpu: Duration, wall: Duration) -> io::Result<Self> {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let cpu_started = now(CPU);
        REACHED.store(NOTHING, Ordering::Release);
        ELSEWHERE.store(0, Ordering::Release);
        PAUSED.store(false, Ordering::Release);
        MISSED.store(false, Ordering::Release);
        CPU_ENDS.store(cpu_started.saturating_add(nanos(cpu)), Ordering::Release);
        WALL_ENDS.store(now(WALL).saturating_add(nanos(wall)), Ordering::Release);
        let engine = Box::into_raw(Box::new(engine.clone()));
        ENGINE.store(engine, Ordering::Release);
        let alarm = Self { engine, cpu_started, _turn: turn };
        handle_signal()?;
        set_timer(cpu.min(wall).max(SOONEST))?;
        Ok(alarm)
    }

    /// Processor time since it was armed.
    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_nanos(now(CPU).saturating_sub(self.cpu_started))
    }

    /// Has a limit been reached, and which?
    #[allow(clippy::unused_self, reason = "the statics are the armed one's")]
    pub(crate) fn reached(&self) -> Option<Reached> {
        [Reached::Cpu, Reached::Wall].into_iter().find(|it| *it as u8 == REACHED.load(Ordering::Acquire))
    }
}

const CPU: ClockId = ClockId::CLOCK_PROCESS_CPUTIME_ID;
const WALL: ClockId = ClockId::CLOCK_MONOTONIC;

/// A host call ends no guest: what of the time is the guest's is known only afterwards. Costs no system call.
pub(crate) fn pause() {
    PAUSED.store(true, Ordering::Release);
}

/// The guest goes on, and so much of what has passed was not its time.
pub(crate) fn go_on(elsewhere: Duration) {
    if ENGINE.load(Ordering::Acquire).is_null() {
        return;
    }
    ELSEWHERE.fetch_add(nanos(elsewhere), Ordering::AcqRel);
    WALL_ENDS.fetch_add(nanos(elsewhere), Ordering::AcqRel);
    PAUSED.store(false, Ordering::Release);
    if MISSED.swap(false, Ordering::AcqRel) || !elsewhere.is_zero() {
        // At once: a guest that does nothing but call us would never be met by a timer.
        ring(libc::SIGALRM);
    }
}

/// How much of the time on the wall was not the guest's, since the alarm was armed.
pub(crate) fn elsewhere() -> Duration {
    Duration::from_nanos(ELSEWHERE.load(Ordering::Acquire))
}

/// Nanoseconds; 0 from a clock that cannot be read. Async-signal-safe.
fn now(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |time| nanos(Duration::from(time)))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Once per process; without an engine the handler does nothing.
pub(crate) fn handle_signal() -> io::Result<()> {
    static DONE: AtomicBool = AtomicBool::new(false);
    if DONE.swap(true, Ordering::AcqRel) {
        return Ok(());
    }
    let action = SigAction::new(SigHandler::Handler(ring), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: `ring` touches atomics and async-signal-safe functions only.
    unsafe { sigaction(Signal::SIGALRM, &action) }?;
    Ok(())
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // Stopping a timer of a valid kind cannot fail.
        let _ = set_timer(Duration::ZERO);
        ENGINE.store(ptr::null_mut(), Ordering::Release);
        // SAFETY: from `Box::into_raw` in `arm`; no handler can see it any more.
        drop(unsafe { Box::from_raw(self.engine) });
    }
}

fn set_timer(after: Duration) -> io::Result<()> {
    let once = libc::itimerval {
        it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 },
        it_value: libc::timeval {
            tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            tv_usec: i64::from(after.subsec_micros()),
        },
    };
    // SAFETY: a valid timer and a valid pointer to it.
    match unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const once, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
