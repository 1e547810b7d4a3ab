//! Runs a program to its end: stdin in, stdout and stderr out, never past a deadline, never outliving us.

use crate::spawn::{Child, Program, spawn};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitStatus;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What a program left.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Why a program was not run to its end.
#[derive(Debug)]
pub(crate) enum ExecuteError {
    /// It never began.
    Spawn(io::Error),
    /// It could not be talked to, and was killed.
    Talk(io::Error),
}

/// More than any result, and less than what would hurt us.
const LONGEST: usize = 4 << 20;

/// How often a busy file is tried again.
const TRIES: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_secs(1);

/// Runs a program with `input` on its stdin; what it says on stderr goes to `stderr` as it comes. It inherits `keep`.
/// `None` when the deadline passed first: then it has been killed.
///
/// Must be called from the main thread: the kernel ties the death signal to the thread that forked.
pub(crate) fn execute(
    program: &Program,
    input: &[u8],
    until: Instant,
    keep: Option<BorrowedFd<'_>>,
    stderr: &mut dyn Write,
) -> Result<Option<Finished>, ExecuteError> {
    let mut child = start(program, keep, until).map_err(ExecuteError::Spawn)?;
    let talked = talk(&mut child, input, until, stderr);
    if !matches!(talked, Ok(Some(_))) {
        child.kill();
    }
    let status = child.wait().map_err(ExecuteError::Talk)?;
    let said = talked.map_err(ExecuteError::Talk)?;
    Ok(said.map(|(stdout, stderr)| Finished { status, stdout, stderr }))
}

/// A plugin that is just being replaced is busy as a file (ETXTBSY). It is tried again, as long as that is likely to help.
fn start(program: &Program, keep: Option<BorrowedFd<'_>>, until: Instant) -> io::Result<Child> {
    let mut tries = 0;
    loop {
        match spawn(program, keep) {
            Err(error)
                if error.kind() == ErrorKind::ExecutableFileBusy
                    && tries < TRIES
                    && Instant::now() + BETWEEN_TRIES < until =>
            {
                tries += 1;
                sleep(BETWEEN_TRIES);
            }
            started => return started,
        }
    }
}

/// Feeds and reads the child until it has ended. Not until its pipes are closed: a grandchild may hold them open.
fn talk(
    child: &mut Child,
    input: &[u8],
    until: Instant,
    stderr: &mut dyn Write,
) -> io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut feed = child.stdin.take().map(|stdin| (stdin, input));
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let (mut stdout_said, mut stderr_said) = (Vec::new(), Vec::new());
    let pipes = [
        feed.as_ref().map(|(stdin, _)| stdin.as_fd()),
        out.as_ref().map(AsFd::as_fd),
        err.as_ref().map(AsFd::as_fd),
    ];
    pipes.into_iter().flatten().try_for_each(non_blocking)?;
    loop {
        // A pipe that is at its end is asked no more: it would be ready for ever.
        let readable = [out.as_ref().map(AsFd::as_fd), err.as_ref().map(AsFd::as_fd)];
        let done = wait(&child.ended, readable, feed.as_ref().map(|(stdin, _)| stdin.as_fd()), until)?;
        feed = feed.map_or(Ok(None), |(stdin, rest)| write_some(stdin, rest))?;
        read_some(&mut out, &mut stdout_said)?;
        let before = stderr_said.len();
        read_some(&mut err, &mut stderr_said)?;
        // Our own stderr being full or gone is no reason to fail a pod.
        let _ = stderr.write_all(&stderr_said[before..]);
        match done {
            Waited::Ended => return Ok(Some((stdout_said, stderr_said))),
            Waited::Late => return Ok(None),
            Waited::More => {}
        }
    }
}

enum Waited {
    Ended,
    More,
    Late,
}

fn wait(
    ended: &OwnedFd,
    readable: [Option<BorrowedFd<'_>>; 2],
    stdin: Option<BorrowedFd<'_>>,
    until: Instant,
) -> io::Result<Waited> {
    let mut fds = vec![PollFd::new(ended.as_fd(), PollFlags::POLLIN)];
    fds.extend(readable.into_iter().flatten().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
    fds.extend(stdin.map(|fd| PollFd::new(fd, PollFlags::POLLOUT)));
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Ok(Waited::Late);
    }
    // Rounded up, or the last millisecond would be spent spinning.
    let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
    match poll(&mut fds, timeout) {
        Ok(0) => Ok(Waited::Late),
        Ok(_) if fds[0].any() == Some(true) => Ok(Waited::Ended),
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(Waited::More),
        Err(error) => Err(error.into()),
    }
}

/// Writes what the pipe takes; `None` when all is written or nobody reads.
fn write_some(mut stdin: File, mut rest: &[u8]) -> io::Result<Option<(File, &[u8])>> {
    while !rest.is_empty() {
        match stdin.write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Some((stdin, rest))),
            // A plugin that does not read its configuration still has its say.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Reads what is there, but not for ever; nothing is left to read from after the end.
fn read_some(from: &mut Option<impl Read>, into: &mut Vec<u8>) -> io::Result<()> {
    let mut some = [0; 16 << 10];
    for _ in 0..64 {
        let Some(pipe) = from else { return Ok(()) };
        match pipe.read(&mut some) {
            Ok(0) => *from = None,
            // What is too long is still read, or the plugin would hang.
            Ok(read) if into.len() < LONGEST => into.extend_from_slice(&some[..read]),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn non_blocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;

    fn sh(script: &str, input: &[u8], time: Duration) -> Option<Finished> {
        let program = Program {
            path: c"/bin/sh".into(),
            arguments: vec![c"sh".into(), c"-c".into(), CString::new(script).unwrap()],
            environment: vec![c"PATH=/usr/bin:/bin".into()],
        };
        execute(&program, input, Instant::now() + time, None, &mut io::sink()).unwrap()
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn more_than_a_pipe_holds_goes_through_both_ways() {
        let input = vec![b'x'; 1 << 20];
        let finished = sh("cat; echo bye >&2; exit 3", &input, LONG).unwrap();
        assert_eq!((finished.stdout, finished.stderr), (input, b"bye\n".to_vec()));
        assert_eq!(finished.status.code(), Some(3));
    }

    #[test]
    fn a_program_that_reads_nothing_still_has_its_say() {
        assert_eq!(sh("echo hi", &vec![b'x'; 1 << 20], LONG).unwrap().stdout, b"hi\n");
    }

    #[test]
    fn a_grandchild_that_holds_the_pipes_open_is_not_waited_for() {
        let started = Instant::now();
        assert_eq!(sh("sleep 15 & echo hi", b"", LONG).unwrap().stdout, b"hi\n");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_program_that_closes_its_pipes_is_waited_for_all_the_same() {
        let finished = sh("exec <&- >&- 2>&-; sleep 0.2; exit 4", b"", LONG).unwrap();
        assert_eq!(finished.status.code(), Some(4));
    }

    #[test]
    fn the_deadline_kills() {
        assert!(sh("sleep 20", b"", Duration::from_millis(100)).is_none());
        assert!(sh("exec >&- 2>&-; sleep 20", b"", Duration::from_millis(100)).is_none());
    }
}
