//! The forked child that a guest runs in. The parent never touches wasmtime: the compiler that made the artifact
//! has read a stranger's bytes.

#![allow(unsafe_code, reason = "fork, and what a child does to itself; see each block")]

use crate::door::{Door, elsewhere};
use crate::frame::{self, FrameError};
use crate::room::{Phase, Report, Room, Usage};
use crate::{Arrival, Fault, Question, alarm, engine, filter, rights};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getppid};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, panic};

/// The child ends itself at the guest's deadline; this much later it is taken to be stuck, and killed.
const GRACE: Duration = Duration::from_millis(50);
/// Longer than any plugin between a hook's `pre` and `post` runs.
const IDLE: Duration = Duration::from_hours(1);
/// Native memory of the engine itself, on top of the guest's.
const ENGINE_MEMORY: u64 = 64 << 20;

/// From the child.
#[derive(Serialize, Deserialize)]
pub(crate) enum Message {
    Call { operation: String, input: Value },
    Done(Report),
}

/// A guest's child, as its parent sees it. Ends with this value.
pub(crate) struct Child {
    pid: Pid,
    stream: UnixStream,
    reaped: bool,
}

impl Child {
    /// One child for all of these guests. Whoever of them breaks out has broken into the others' room.
    pub(crate) fn fork(arrivals: &[Arrival<'_>]) -> Result<Self, Fault> {
        let failed = |what: &str, error: io::Error| Fault::Host(format!("{what}: {error}"));
        prepare(arrivals);
        let (ours, theirs) = pair().map_err(|error| failed("socket pair", error))?;
        let parent = Pid::this();
        // SAFETY: what other threads there are wait for this one to ask them something, so the child's copy is whole.
        match unsafe { fork() }.map_err(|error| failed("fork", error.into()))? {
            ForkResult::Parent { child } => Ok(Self { pid: child, stream: ours, reaped: false }),
            ForkResult::Child => {
                // Its end of the stream is the parent's alone: when that goes, we must see it.
                drop(ours);
                let life = || live(arrivals, theirs, parent);
                let code = i32::from(panic::catch_unwind(panic::AssertUnwindSafe(life)).is_err());
                // SAFETY: ends this process without running what the parent left to be run at exit.
                unsafe { libc::_exit(code) }
            }
        }
    }

    /// Sends the question, answers the child's calls until it is done.
    pub(crate) fn ask(
        &mut self,
        question: &Question<&Phase>,
        door: &mut dyn Door,
        started: Instant,
    ) -> Report {
        let limits = &question.limits;
        let until = started + limits.wall + GRACE;
        match self.converse(question, door, until) {
            // Whoever has taken the child over counts as it likes.
            Ok(Report { verdict: Ok(verdict), usage }) if verdict.size() > limits.verdict => {
                Report { verdict: Err(Fault::bytes("verdict", limits.verdict, "verdict")), usage }
            }
            Ok(report) => Report { verdict: report.verdict.map_err(Fault::tamed), ..report },
            Err(error) => {
                if error == FrameError::Closed {
                    self.let_it_end();
                }
                let fault = match (error, self.end()) {
                    (FrameError::Late, _) => Fault::Wall(limits.wall),
                    (FrameError::Closed, Some(signal)) => Fault::Killed(signal as i32),
                    (error, _) => error.into(),
                };
                Report { verdict: Err(fault), usage: Usage { wall: started.elapsed(), ..Usage::default() } }
            }
        }
    }

    fn converse(
        &self,
        question: &Question<&Phase>,
        door: &mut dyn Door,
        mut until: Instant,
    ) -> Result<Report, FrameError> {
        frame::send(&self.stream, question, until)?;
        loop {
            // Whoever always has something to say never makes us wait.
            if Instant::now() >= until {
                return Err(FrameError::Late);
            }
            match frame::receive(&self.stream, until)? {
                Message::Done(report) => return Ok(report),
                Message::Call { operation, input } => {
                    let reply = door.call(&operation, input);
                    until += elsewhere(&reply);
                    frame::send(&self.stream, &reply, until)?;
                }
            }
        }
    }

    /// Whoever closes the stream is about to end: what of, is told by a child that has not been killed for it.
    fn let_it_end(&self) {
        let until = Instant::now() + GRACE;
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while matches!(waitid(Id::Pid(self.pid), flags), Ok(WaitStatus::StillAlive)) && Instant::now() < until
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Kills what is left of it; tells the signal that had ended it before, if one had.
    fn end(&mut self) -> Option<Signal> {
        if std::mem::replace(&mut self.reaped, true) {
            return None;
        }
        // Not reaped yet, so the number is still its own.
        let _ = kill(self.pid, Signal::SIGKILL);
        loop {
            match waitpid(self.pid, None) {
                Ok(WaitStatus::Signaled(_, signal, _)) => return Some(signal),
                Err(nix::errno::Errno::EINTR) => {}
                _ => return None,
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}

/// What all children have in common, and has nothing to do with any guest, is made once, by their parent. Where one child is all
/// there is, it makes that itself: what a parent has made is copied when it is changed.
fn prepare(arrivals: &[Arrival<'_>]) {
    let [arrival] = arrivals else { return };
    // Asking a virtual processor what it can do takes long. Whoever asks again finds the answer.
    #[cfg(target_arch = "x86_64")]
    std::hint::black_box(std::arch::is_x86_feature_detected!("avx2"));
    // Whoever fails tells so in the child.
    let _ = engine::engine(arrival.limits.stack);
}

fn pair() -> io::Result<(UnixStream, UnixStream)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    Ok((ours, theirs))
}

/// The child's whole life.
fn live(arrivals: &[Arrival<'_>], stream: UnixStream, parent: Pid) -> Result<(), FrameError> {
    let unprepared = |error: io::Error| Fault::Host(format!("preparing the child: {error}"));
    let left = leave_everything(arrivals, &stream, parent);
    if getppid() != parent {
        // Nobody is there to hear of anything, and we may still hold what was the parent's.
        return Ok(());
    }
    let rooms = left.map_err(unprepared).and_then(|()| {
        let rooms: Vec<_> =
            arrivals.iter().map(|it| Room::furnish(it.artifact, &it.limits, it.admits)).collect();
        close_behind().map_err(unprepared)?;
        Ok(rooms)
    });
    let room = |guest: usize| match &rooms {
        Ok(rooms) => rooms.get(guest).map_or(Err(Fault::Gone), |room| room.as_ref().map_err(Fault::clone)),
        Err(fault) => Err(fault.clone()),
    };
    let stream = Arc::new(stream);
    loop {
        // The parent decides how long it has no question; when it goes, so do we.
        let question: Question<Phase> = frame::receive(&stream, Instant::now() + IDLE)?;
        let started = Instant::now();
        let report = match room(question.guest) {
            Ok(room) => {
                let Question { phase, limits, outside, .. } = &question;
                let bell = Box::new(Doorbell { stream: stream.clone() });
                room.ask(phase, limits, outside, bell, started)
            }
            Err(fault) => Report { verdict: Err(fault), usage: Usage::default() },
        };
        // Whoever waits for it knows until when.
        frame::send(&stream, &Message::Done(report), Instant::now() + question.limits.wall + GRACE)?;
    }
}

/// What the child needs none of: a dead parent, the parent's descriptors and output, capabilities, memory.
fn leave_everything(arrivals: &[Arrival<'_>], stream: &UnixStream, parent: Pid) -> io::Result<()> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != parent {
        return Err(io::Error::other("the parent is gone"));
    }
    let artifacts = arrivals.iter().map(|it| it.artifact.as_raw_fd());
    rights::close_all_but(&artifacts.chain([stream.as_raw_fd()]).collect::<Vec<_>>())?;
    rights::drop_capabilities()?;
    // Guests come one after the other, each with its memory; their code stays. Its private mapping may count.
    let memory = arrivals.iter().map(|it| it.limits.memory).max().unwrap_or(0);
    let code = arrivals.iter().try_fold(0, |sum, it| io::Result::Ok(sum + it.artifact.metadata()?.len()))?;
    let data = ENGINE_MEMORY + memory + 2 * code;
    // Whoever started us may have left us less.
    let data = data.min(getrlimit(Resource::RLIMIT_DATA)?.1);
    setrlimit(Resource::RLIMIT_DATA, data, data)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    Ok(())
}

/// Last before the guest: nobody may look into this process, nothing it starts can gain rights, and the kernel answers it
/// no more than it needs.
fn close_behind() -> io::Result<()> {
    alarm::handle_signal()?;
    nix::sys::prctl::set_dumpable(false)?;
    nix::sys::prctl::set_no_new_privs()?;
    filter::close(&[filter::COMPUTE, filter::TALK])
}

/// The child's end of the door: every call is the parent's business.
struct Doorbell {
    stream: Arc<UnixStream>,
}

impl Door for Doorbell {
    fn call(&mut self, operation: &str, input: Value) -> Value {
        #[cfg(feature = "escape")]
        let (operation, input) = &crate::escape::act(operation, input, &self.stream);
        #[cfg(feature = "escape")]
        let input = input.clone();
        let call = Message::Call { operation: operation.to_owned(), input };
        // The parent knows how long that may take.
        let until = Instant::now() + IDLE;
        let reply =
            frame::send(&self.stream, &call, until).and_then(|()| frame::receive(&self.stream, until));
        reply.unwrap_or_else(|error| {
            let message = Fault::from(error).to_string();
            serde_json::json!({ "failure": { "code": "io", "errno": 0, "message": message } })
        })
    }
}
