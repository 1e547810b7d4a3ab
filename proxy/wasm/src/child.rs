//! The forked child that a guest runs in. The parent never touches wasmtime: the compiler that made the artifact
//! has read a stranger's bytes.

#![allow(unsafe_code, reason = "fork, and what a child does to itself; see each block")]

use crate::door::{Admission, Door};
use crate::frame::{self, FrameError};
use crate::room::{Report, Usage};
use crate::{Fault, Job, room};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getppid};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use std::{fs, io, panic};

/// The child ends itself at the guest's deadline; this much later it is taken to be stuck, and killed.
const GRACE: Duration = Duration::from_millis(50);
/// Native memory of the engine itself, on top of the guest's.
const ENGINE_MEMORY: u64 = 64 << 20;

/// From the child.
#[derive(Serialize, Deserialize)]
enum Message {
    Call { operation: String, input: Value },
    Done(Report),
}

/// Runs a job in a child of its own, its host calls answered here.
pub(crate) fn run<D: Door + 'static>(job: &Job, mut door: D, started: Instant) -> (Report, D) {
    let broken = |fault| Report { verdict: Err(fault), usage: Usage { wall: started.elapsed(), ..Usage::default() } };
    let (ours, theirs) = match pair() {
        Ok(pair) => pair,
        Err(error) => return (broken(Fault::Host(format!("socket pair: {error}"))), door),
    };
    let parent = Pid::this();
    // SAFETY: this process has one thread, so the child's copy of it is whole.
    match unsafe { fork() } {
        Err(error) => (broken(Fault::Host(format!("fork: {error}"))), door),
        Ok(ForkResult::Child) => {
            drop(ours);
            live(job, door, started, &theirs, parent)
        }
        Ok(ForkResult::Parent { child }) => {
            drop(theirs);
            let child = Child(child);
            let until = started + job.limits.wall + GRACE;
            let report = serve(&ours, &mut door, until);
            // A child that is still there has nothing left to say.
            let ended = child.end();
            let report = report.unwrap_or_else(|error| {
                broken(match (error, ended) {
                    (FrameError::Late, _) => Fault::Wall(job.limits.wall),
                    (FrameError::Closed, Some(signal)) => Fault::Killed(signal as i32),
                    (error, _) => error.into(),
                })
            });
            (report, door)
        }
    }
}

fn pair() -> io::Result<(UnixStream, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    Ok((ours, theirs))
}

/// Answers the child's calls until it is done.
fn serve<D: Door>(stream: &UnixStream, door: &mut D, until: Instant) -> Result<Report, FrameError> {
    loop {
        match frame::receive(stream, until)? {
            Message::Done(report) => return Ok(report),
            Message::Call { operation, input } => frame::send(stream, &door.call(&operation, input), until)?,
        }
    }
}

/// A forked process that must not outlive its visit.
struct Child(Pid);

impl Child {
    /// Kills what is left of it; tells the signal that had ended it before, if one had.
    fn end(self) -> Option<Signal> {
        // Not reaped yet, so the number is still its own.
        let _ = kill(self.0, Signal::SIGKILL);
        loop {
            match waitpid(self.0, None) {
                Ok(WaitStatus::Signaled(_, signal, _)) => return Some(signal),
                Err(nix::errno::Errno::EINTR) => {}
                _ => return None,
            }
        }
    }
}

/// The child's whole life.
fn live<D: Door + 'static>(job: &Job, door: D, started: Instant, stream: &UnixStream, parent: Pid) -> ! {
    let until = started + job.limits.wall + GRACE;
    let outcome = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        if let Err(error) = leave_everything(job, stream, parent) {
            let fault = Fault::Host(format!("preparing the child: {error}"));
            return Report { verdict: Err(fault), usage: Usage::default() };
        }
        let speaking = stream.try_clone();
        match speaking {
            Err(error) => {
                Report { verdict: Err(Fault::Host(error.to_string())), usage: Usage::default() }
            }
            Ok(stream) => {
                let door = Doorbell { stream, until, door };
                room::enter(job, door, started, close_behind).0
            }
        }
    }));
    let report = outcome.unwrap_or_else(|_| Report {
        verdict: Err(Fault::Host("panic in the child: a mistake in wasmhook, please report it".into())),
        usage: Usage::default(),
    });
    let sent = frame::send(stream, &Message::Done(report), until);
    // SAFETY: ends this process without running what the parent left to be run at exit.
    unsafe { libc::_exit(i32::from(sent.is_err())) }
}

/// What the child needs none of: a dead parent, the parent's descriptors and output, capabilities, memory.
fn leave_everything(job: &Job, stream: &UnixStream, parent: Pid) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != parent {
        return Err(io::Error::other("the parent is gone"));
    }
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    for standard in 0..=2 {
        // SAFETY: both descriptors are open; 0 to 2 are nobody's `OwnedFd` here.
        if unsafe { libc::dup2(null.as_raw_fd(), standard) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    close_others(&mut [job.artifact.as_raw_fd(), stream.as_raw_fd(), null.as_raw_fd()])?;
    drop_capabilities()?;
    let artifact = job.artifact.metadata()?.len();
    // Linear memory counts, the code's private mapping may.
    let data = ENGINE_MEMORY + job.limits.memory + 2 * artifact;
    setrlimit(Resource::RLIMIT_DATA, data, data)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    Ok(())
}

/// Closes every descriptor from 3 on that is not to be kept.
fn close_others(keep: &mut [RawFd]) -> io::Result<()> {
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
fn drop_capabilities() -> io::Result<()> {
    const VERSION_3: u32 = 0x2008_0522;
    let header = [VERSION_3, 0];
    let none = [0_u32; 6];
    // SAFETY: header and data have the layout that version 3 of capset(2) asks for, and outlive the call.
    match unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Last before the guest: nobody may look into this process, and nothing it starts can gain rights.
fn close_behind() -> io::Result<()> {
    nix::sys::prctl::set_dumpable(false)?;
    nix::sys::prctl::set_no_new_privs()?;
    Ok(())
}

/// The child's end of the door: admission is judged here, everything else by the parent.
struct Doorbell<D> {
    stream: UnixStream,
    until: Instant,
    door: D,
}

impl<D: Door> Door for Doorbell<D> {
    fn admits(&self, interface: &str, function: &str) -> Admission {
        self.door.admits(interface, function)
    }

    fn call(&mut self, operation: &str, input: Value) -> Value {
        let call = Message::Call { operation: operation.to_owned(), input };
        let reply = frame::send(&self.stream, &call, self.until)
            .and_then(|()| frame::receive(&self.stream, self.until));
        reply.unwrap_or_else(|error| {
            let message = Fault::from(error).to_string();
            serde_json::json!({ "failure": { "code": "io", "errno": 0, "message": message } })
        })
    }
}
