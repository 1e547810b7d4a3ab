//! Starts a program as cheaply as the kernel can: the child borrows our memory until it has become the program
//! (`vfork`). Copying page tables, and the faults after it, cost a fifth of a millisecond per delegate.

#![allow(unsafe_code, reason = "the child before its exec; see each block")]

use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::pipe2;
use nix::{fcntl::OFlag, libc};
use std::ffi::{CString, c_char, c_int, c_void};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr;

/// What is to be run.
#[derive(Debug)]
pub(crate) struct Program {
    /// The file, and what it is told; the first is its name.
    pub(crate) path: CString,
    pub(crate) arguments: Vec<CString>,
    /// `NAME=value`, all of it.
    pub(crate) environment: Vec<CString>,
}

/// A program that runs. It dies with us.
#[derive(Debug)]
pub(crate) struct Child {
    pid: libc::pid_t,
    /// Readable when it has ended.
    pub(crate) ended: OwnedFd,
    pub(crate) stdin: Option<File>,
    pub(crate) stdout: Option<File>,
    pub(crate) stderr: Option<File>,
}

/// What parent and child share while the child is none of its own yet.
struct Shared {
    path: *const c_char,
    arguments: *const *const c_char,
    environment: *const *const c_char,
    /// For 0, 1 and 2.
    streams: [c_int; 3],
    keep: c_int,
    parent: libc::pid_t,
    signals: libc::sigset_t,
    /// Why it did not become the program.
    error: c_int,
}

/// Enough for a handful of system calls.
const STACK: usize = 32 << 10;

/// Starts a program with pipes for its standard streams; of all else that we have open it inherits `keep` alone.
///
/// Must be called from the main thread: the kernel ties the death signal to the thread that forked.
pub(crate) fn spawn(program: &Program, keep: Option<BorrowedFd<'_>>) -> io::Result<Child> {
    let pipe = || pipe2(OFlag::O_CLOEXEC);
    let ((stdin, feed), (out, stdout), (err, stderr)) = (pipe()?, pipe()?, pipe()?);
    let (arguments, environment) = (pointers(&program.arguments), pointers(&program.environment));
    let mut before = SigSet::empty();
    // No handler of ours may run in the child while it borrows our memory.
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    let mut shared = Shared {
        path: program.path.as_ptr(),
        arguments: arguments.as_ptr(),
        environment: environment.as_ptr(),
        streams: [stdin.as_raw_fd(), stdout.as_raw_fd(), stderr.as_raw_fd()],
        keep: keep.map_or(-1, |fd| fd.as_raw_fd()),
        parent: nix::unistd::getpid().as_raw(),
        signals: *before.as_ref(),
        error: 0,
    };
    let mut stack = vec![0_u128; STACK / size_of::<u128>()];
    let mut pidfd: c_int = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: the child runs `become_program` on a stack of its own and shares what it is given; we are not resumed
    // before it has become the program or ended, so all of it outlives its use.
    let pid = unsafe {
        libc::clone(
            become_program,
            stack.as_mut_ptr_range().end.cast::<c_void>(),
            flags,
            (&raw mut shared).cast::<c_void>(),
            &raw mut pidfd,
        )
    };
    let failed = (pid < 0).then(io::Error::last_os_error);
    let restored = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
    if let Some(error) = failed {
        return Err(error);
    }
    // SAFETY: just opened by the kernel for us, and nobody else's.
    let ended = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let child =
        Child { pid, ended, stdin: Some(feed.into()), stdout: Some(out.into()), stderr: Some(err.into()) };
    restored?;
    match shared.error {
        0 => Ok(child),
        error => {
            child.wait()?;
            Err(io::Error::from_raw_os_error(error))
        }
    }
}

fn pointers(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

/// The child, until it is somebody else. System calls only: it borrows our memory.
extern "C" fn become_program(shared: *mut c_void) -> c_int {
    let shared = shared.cast::<Shared>();
    // SAFETY: the parent's, which waits for us and touches it no sooner.
    let failed = unsafe { prepare(&*shared) };
    // SAFETY: as above; every pointer is to what the parent keeps until we are done.
    unsafe {
        if failed == 0 {
            libc::execve((*shared).path, (*shared).arguments, (*shared).environment);
        }
        (*shared).error = *libc::__errno_location();
        libc::_exit(127)
    }
}

/// 0, or -1 with the reason in `errno`.
///
/// # Safety
/// In the child alone: it changes the process.
unsafe fn prepare(shared: &Shared) -> c_int {
    // SAFETY: descriptors that the parent keeps open, and signals, by number.
    unsafe {
        if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
            return -1;
        }
        if libc::getppid() != shared.parent {
            *libc::__errno_location() = libc::ESRCH;
            return -1;
        }
        for (stream, fd) in (0..).zip(shared.streams) {
            if libc::dup2(fd, stream) < 0 {
                return -1;
            }
        }
        if shared.keep >= 0 && libc::fcntl(shared.keep, libc::F_SETFD, 0) != 0 {
            return -1;
        }
        // We ignore it; a program expects it to be as it is by default.
        if libc::signal(libc::SIGPIPE, libc::SIG_DFL) == libc::SIG_ERR {
            return -1;
        }
        libc::sigprocmask(libc::SIG_SETMASK, &raw const shared.signals, ptr::null_mut())
    }
}

impl Child {
    /// Ends it. What has ended already stays as it ended.
    pub(crate) fn kill(&self) {
        // SAFETY: by number, of a child that is not reaped before `wait`.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
    }

    /// Waits for its end.
    pub(crate) fn wait(self) -> io::Result<ExitStatus> {
        let mut status = 0;
        loop {
            // SAFETY: a valid pointer.
            if unsafe { libc::waitpid(self.pid, &raw mut status, 0) } == self.pid {
                return Ok(ExitStatus::from_raw(status));
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}
