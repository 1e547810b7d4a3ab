//! `wasmhook`, as a runtime starts it.
//!
//! Rust's own start-up reads /proc/self/maps to tell a stack overflow apart, which is a tenth of what a call costs;
//! a static `main` does without. What else it does is done here.

#![no_main]

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, Signal, signal};
use std::os::fd::{BorrowedFd, IntoRawFd};
use std::{fs, io};
use wasmhook::{Caller, run};

#[cfg(target_env = "musl")]
mod allocator;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: allocator::Allocator = allocator::Allocator::new();

/// The C library's entry point.
#[allow(unsafe_code, reason = "an exported symbol")]
#[unsafe(no_mangle)]
extern "C" fn main(_count: libc::c_int, _arguments: *const *const libc::c_char) -> libc::c_int {
    #[cfg(target_env = "musl")]
    allocator::Allocator::survive_forks();
    open_standard_streams();
    // A reader that is gone is an error to be told of, not the end.
    // SAFETY: ignoring a signal runs no handler.
    #[allow(unsafe_code, reason = "signal(2)")]
    let _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigIgn) };
    let mut caller = Caller {
        environment: std::env::vars_os().collect(),
        stdin: &mut io::stdin().lock(),
        stdout: &mut io::stdout().lock(),
        stderr: &mut io::stderr(),
        alone: true,
    };
    run(&mut caller).into()
}

/// A stream that the caller closed must not become the next file we open.
fn open_standard_streams() {
    // SAFETY: only asked whether they are open.
    #[allow(unsafe_code, reason = "0 to 2 belong to no owner here")]
    let streams = [0, 1, 2].map(|fd| unsafe { BorrowedFd::borrow_raw(fd) });
    let mut asked = streams.each_ref().map(|fd| PollFd::new(fd.to_owned(), PollFlags::empty()));
    if poll(&mut asked, PollTimeout::ZERO).is_err() {
        return;
    }
    let closed = |fd: &PollFd<'_>| fd.revents().is_some_and(|it| it.contains(PollFlags::POLLNVAL));
    for _ in asked.iter().filter(|fd| closed(fd)) {
        // The lowest free number is taken, which is the closed one.
        if let Ok(null) = fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
            let _ = null.into_raw_fd();
        }
    }
}
