//! What every child of ours gives up, for good.

#![allow(unsafe_code, reason = "system calls that nobody wraps; see each block")]

use std::os::fd::{AsRawFd, RawFd};
use std::{fs, io};

/// Stdin, stdout and stderr lead nowhere, and every other descriptor that is not to be kept is closed.
pub(crate) fn close_all_but(keep: &[RawFd]) -> io::Result<()> {
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    for standard in 0..=2 {
        // SAFETY: both descriptors are open; 0 to 2 are nobody's `OwnedFd` here.
        if unsafe { libc::dup2(null.as_raw_fd(), standard) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    let mut keep = [keep, &[null.as_raw_fd()]].concat();
    keep.sort_unstable();
    let mut from = 3;
    let ends = keep.iter().map(|fd| fd - 1).chain([RawFd::MAX]);
    for (next, last) in keep.iter().map(|fd| fd + 1).chain([RawFd::MAX]).zip(ends) {
        if from <= last {
            // SAFETY: what is closed here belongs to values of the parent that this process never touches again.
            let failed = unsafe {
                libc::syscall(libc::SYS_close_range, from.cast_unsigned(), last.cast_unsigned(), 0)
            };
            if failed != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        from = next;
    }
    Ok(())
}

/// Effective, permitted and inheritable sets become empty; a root that can do nothing is left.
pub(crate) fn drop_capabilities() -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let none = [0_u32; 6];
    // SAFETY: header and data have the layout that version 3 of capset(2) asks for, and outlive the call.
    match unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
