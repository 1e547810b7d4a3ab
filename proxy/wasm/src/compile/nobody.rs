//! What the compiler's child gives up beyond what every child does.

#![allow(unsafe_code, reason = "system calls that nobody wraps; see each block")]

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};
use std::io;

/// The user that owns nothing.
const NOBODY: u32 = 65534;

/// Becomes a user who owns nothing, as far as the machine lets us: `nobody` where we are root, and elsewhere whoever an
/// unmapped user namespace makes of us. A container that has neither keeps its user, who has no capabilities then.
///
/// The kernel forgets the signal of a parent's death with the user: ask for that afterwards.
pub(super) fn become_nobody() {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    let by_setuid = || {
        setgroups(&[])?;
        setresgid(group, group, group)?;
        setresuid(user, user, user)
    };
    if geteuid().is_root() && by_setuid().is_ok() {
        return;
    }
    // Refused, or somebody's already: what is left to do is said above.
    let _ = unshare(CloneFlags::CLONE_NEWUSER);
}

/// No path can be opened, no port bound, no process signalled any more, where the kernel has Landlock (Linux 5.13, and more
/// of it later). Needs "no new privileges".
pub(super) fn forbid_files() -> io::Result<()> {
    const ASK_VERSION: u32 = 1;
    // <linux/landlock.h>: what each version can forbid on files, on the network, and beyond the sandbox.
    const FILES: [u32; 7] = [0, 13, 14, 15, 15, 16, 16];
    const NETWORK: [u32; 7] = [0, 0, 0, 0, 2, 2, 2];
    const SCOPES: [u32; 7] = [0, 0, 0, 0, 0, 0, 2];
    // SAFETY: asking for the version takes no pointer.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, ASK_VERSION) };
    let Ok(version @ 1..) = usize::try_from(version) else { return Ok(()) };
    let bits = |count: &[u32; 7]| (1_u64 << count[version.min(6)]) - 1;
    let forbidden = [bits(&FILES), bits(&NETWORK), bits(&SCOPES)];
    // SAFETY: the attributes outlive the call; fields that an older kernel does not know are zero, as it demands.
    let rules = unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, forbidden.as_ptr(), size_of_val(&forbidden), 0)
    };
    // SAFETY: a descriptor that nobody else knows, and no pointer. Without a rule in it nothing is allowed.
    if rules < 0 || unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: ours, and used no more.
    unsafe { libc::syscall(libc::SYS_close, rules) };
    Ok(())
}

/// A mistake in this process ends it at once, under its own name: no handler of ours runs, which would ask for what is
/// not allowed any more.
pub(super) fn die_of_faults() -> io::Result<()> {
    for fault in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE] {
        // SAFETY: the default action runs no code of ours.
        unsafe { signal(fault, SigHandler::SigDfl) }?;
    }
    Ok(())
}
