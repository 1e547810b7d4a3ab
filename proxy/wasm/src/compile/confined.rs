//! The child in which a stranger's bytes are read. It computes, it answers once through a pipe, and it can do nothing
//! else; what it answers is not believed further than it must be (docs/decisions/0007).

#![allow(unsafe_code, reason = "fork, wait4, and what a child does to itself; see each block")]

use super::{CompileError, nobody};
use crate::{filter, rights};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{ForkResult, Pid, fork, getppid};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// What a child may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes of memory.
    pub(super) memory: u64,
    /// Whole seconds of processor time.
    pub(super) cpu: Duration,
    /// Time on the wall.
    pub(super) wall: Duration,
    /// Bytes of what it makes.
    pub(super) output: u64,
}

impl Default for Bounds {
    /// The largest module that we know is Python's, with 18 MB: 13 s, 320 MB of memory, 34 MB of code.
    fn default() -> Self {
        Self {
            memory: 2 << 30,
            cpu: Duration::from_mins(2),
            // Runtimes and their plugins often have only a part of a processor.
            wall: Duration::from_mins(5),
            output: 512 << 20,
        }
    }
}

/// Anything that is said in words. A thousand imports with long names have less.
pub(super) const LONGEST_WORD: u64 = 4 << 20;
/// The main thread's: Cranelift and the validator hardly recurse, and a shell may have left us less than that.
const STACK: u64 = 64 << 20;

/// How an answer starts: whether it is what was wanted or why not, and its length.
const HEAD: usize = 1 + 8;
const MADE: u8 = 0;
const REFUSED: u8 = 1;

/// Prepares, goes into confinement, works: all in a child. `prepare` must not look at what a stranger wrote.
pub(super) fn run<T>(
    bounds: &Bounds,
    prepare: impl FnOnce() -> Result<T, CompileError>,
    work: impl FnOnce(T) -> Result<Vec<u8>, CompileError>,
) -> Result<Vec<u8>, CompileError> {
    let host = |what: &str, error: io::Error| CompileError::Host(format!("{what}: {error}"));
    let (from, to) = io::pipe().map_err(|error| host("pipe", error))?;
    let parent = Pid::this();
    // SAFETY: our callers have one thread, so the child's copy of this process is whole.
    match unsafe { fork() }.map_err(|error| host("fork", error.into()))? {
        ForkResult::Child => {
            drop(from);
            live(bounds, parent, to, prepare, work)
        }
        ForkResult::Parent { child } => {
            drop(to);
            Child(Some(child)).answer(from, bounds)
        }
    }
}

/// What the parent has of a child: ends with this value.
struct Child(Option<Pid>);

impl Child {
    fn answer(mut self, mut from: PipeReader, bounds: &Bounds) -> Result<Vec<u8>, CompileError> {
        let received = receive(&mut from, bounds);
        let ended = self.end();
        let mut answer = received?;
        if answer.len() < HEAD || declared(&answer) != (answer.len() - HEAD) as u64 {
            return Err(obituary(ended, bounds));
        }
        if answer[0] != MADE {
            return Err(from_words(&answer[HEAD..]).unwrap_or_else(|error| error));
        }
        answer.drain(..HEAD);
        Ok(answer)
    }

    /// Kills it, if it has not ended by itself: then the kernel keeps what it has died of.
    fn end(&mut self) -> Option<libc::c_int> {
        let child = self.0.take()?;
        // Not reaped yet, so the number is still its own.
        let _ = kill(child, Signal::SIGKILL);
        let mut status = 0;
        loop {
            // SAFETY: the status outlives the call.
            match unsafe { libc::waitpid(child.as_raw(), &raw mut status, 0) } {
                -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                -1 => return None,
                _ => return Some(status),
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}

/// All that the child says until it closes the pipe, whatever that is.
fn receive(from: &mut PipeReader, bounds: &Bounds) -> Result<Vec<u8>, CompileError> {
    let broken = |error: io::Error| CompileError::Host(format!("pipe: {error}"));
    let until = Instant::now() + bounds.wall;
    let mut answer = Vec::new();
    let mut some = vec![0; 64 << 10];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        // Rounded up, or the last millisecond would be spent spinning.
        let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(from.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) if left.is_zero() => return Err(CompileError::Late(bounds.wall)),
            Ok(0) | Err(nix::errno::Errno::EINTR) => continue,
            Ok(_) => {}
            Err(error) => return Err(broken(error.into())),
        }
        match from.read(&mut some) {
            Ok(0) => return Ok(answer),
            Ok(read) => answer.extend_from_slice(&some[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(error)),
        }
        let length = if answer.len() < HEAD { 0 } else { declared(&answer) };
        if length.max(answer.len().saturating_sub(HEAD) as u64) > bounds.output.max(LONGEST_WORD) {
            return Err(CompileError::Output(bounds.output));
        }
    }
}

/// The length that an answer with a head tells.
fn declared(answer: &[u8]) -> u64 {
    answer[1..HEAD].try_into().map_or(u64::MAX, u64::from_le_bytes)
}

/// Why there is no whole answer.
fn obituary(status: Option<libc::c_int>, bounds: &Bounds) -> CompileError {
    let Some(status) = status else { return CompileError::Broken("it ended, and nobody knows how".into()) };
    if !libc::WIFSIGNALED(status) {
        return CompileError::Broken(format!("it ended with {} and no answer", libc::WEXITSTATUS(status)));
    }
    let number = libc::WTERMSIG(status);
    let why = match number {
        libc::SIGXCPU => return CompileError::Cpu(bounds.cpu),
        libc::SIGSYS => {
            "it asked the kernel for what it does not need, so it has a mistake, or the module attacks it"
                .into()
        }
        libc::SIGABRT => {
            format!(
                "most likely it needed more than the {} MiB of memory that it may have",
                bounds.memory >> 20
            )
        }
        libc::SIGKILL => "most likely this machine, or its cgroup, is out of memory".into(),
        _ => "it has a mistake, which this module finds".into(),
    };
    let name = Signal::try_from(number).map_or("unknown".into(), |signal| signal.to_string());
    CompileError::Killed { number, name, why }
}

/// The child's whole life.
fn live<T>(
    bounds: &Bounds,
    parent: Pid,
    mut to: PipeWriter,
    prepare: impl FnOnce() -> Result<T, CompileError>,
    work: impl FnOnce(T) -> Result<Vec<u8>, CompileError>,
) -> ! {
    let all = || {
        let unprepared = |error: io::Error| CompileError::Host(format!("confining the child: {error}"));
        leave_everything(bounds, &to, parent).map_err(unprepared)?;
        let prepared = prepare()?;
        close_behind().map_err(unprepared)?;
        work(prepared)
    };
    let made = catch_unwind(AssertUnwindSafe(all)).unwrap_or_else(|panic| {
        let text =
            panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(CompileError::Broken(text.unwrap_or("it does not say how").to_owned()))
    });
    let (status, output) = match made {
        Ok(output) => (MADE, output),
        Err(refusal) => (REFUSED, to_words(&refusal).unwrap_or_default()),
    };
    let mut head = [status; HEAD];
    head[1..].copy_from_slice(&(output.len() as u64).to_le_bytes());
    let code = i32::from(to.write_all(&head).and_then(|()| to.write_all(&output)).is_err());
    // SAFETY: ends this process without running what the parent left to be run at exit.
    unsafe { libc::_exit(code) }
}

/// What the child needs none of: descriptors, a user, capabilities, files, a dead parent, too much of anything.
fn leave_everything(bounds: &Bounds, to: &PipeWriter, parent: Pid) -> io::Result<()> {
    // Whatever runs out of memory here, it must not be the runtime that started us. Not on every kernel, and nothing is lost.
    let _ = std::fs::write("/proc/self/oom_score_adj", "1000");
    rights::close_all_but(&[to.as_raw_fd()])?;
    nobody::become_nobody();
    limit(bounds)?;
    rights::drop_capabilities()?;
    // After the change of user, which makes the kernel forget it.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    if getppid() != parent {
        return Err(io::Error::other("the parent is gone"));
    }
    nix::sys::prctl::set_dumpable(false)?;
    nix::sys::prctl::set_no_new_privs()?;
    nobody::forbid_files()?;
    // Whoever panics or is out of memory would say where it was, and look into files for that.
    std::panic::set_hook(Box::new(|_| ()));
    for backtraces in ["RUST_BACKTRACE", "RUST_LIB_BACKTRACE"] {
        // SAFETY: this process has one thread.
        unsafe { std::env::remove_var(backtraces) };
    }
    Ok(())
}

fn limit(bounds: &Bounds) -> io::Result<()> {
    let seconds = bounds.cpu.as_secs();
    let limits = [
        (Resource::RLIMIT_DATA, bounds.memory),
        (Resource::RLIMIT_STACK, STACK),
        (Resource::RLIMIT_CPU, seconds),
        (Resource::RLIMIT_FSIZE, 0),
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_NPROC, 0),
    ];
    for (resource, limit) in limits {
        // Whoever started us may have set less.
        let (_, most) = getrlimit(resource)?;
        // At the soft limit of processor time SIGXCPU says what it was; at the hard one it would be SIGKILL.
        let hard = if resource == Resource::RLIMIT_CPU { limit + 1 } else { limit };
        setrlimit(resource, limit.min(most), hard.min(most))?;
    }
    Ok(())
}

fn close_behind() -> io::Result<()> {
    // The engine has handlers for the traps of guests, and there are none here.
    nobody::die_of_faults()?;
    filter::close(&[filter::COMPUTE])
}

pub(super) fn to_words(what: &impl Serialize) -> Result<Vec<u8>, CompileError> {
    serde_json::to_vec(what).map_err(|error| CompileError::Broken(error.to_string()))
}

/// Reads what a child has said, and takes out of it what a terminal or a log would obey.
pub(super) fn from_words<T: DeserializeOwned>(said: &[u8]) -> Result<T, CompileError> {
    let broken = |error: serde_json::Error| CompileError::Broken(format!("its answer is unusable: {error}"));
    let mut said: Value = serde_json::from_slice(said).map_err(broken)?;
    tame(&mut said);
    serde_json::from_value(said).map_err(broken)
}

fn tame(value: &mut Value) {
    match value {
        Value::String(text) => *text = plain(text),
        Value::Array(values) => values.iter_mut().for_each(tame),
        Value::Object(fields) => fields.values_mut().for_each(tame),
        _ => {}
    }
}

fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() { plain.extend(character.escape_debug()) } else { plain.push(character) }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::{getegid, geteuid, getgroups, getuid};

    fn confined(act: impl FnOnce()) -> Result<Vec<u8>, CompileError> {
        run(
            &Bounds::default(),
            || Ok(()),
            |()| {
                act();
                Ok(b"still here".to_vec())
            },
        )
    }

    fn raw(call: libc::c_long) {
        // SAFETY: the calls that are tried take numbers, or strings that are null.
        unsafe { libc::syscall(call, 0, 0, 0, 0) };
    }

    fn killed_by(signal: libc::c_int, error: &CompileError) -> bool {
        matches!(error, CompileError::Killed { number, .. } if *number == signal)
    }

    #[test]
    fn what_it_makes_crosses_whole() {
        assert_eq!(confined(|| ()).unwrap(), b"still here");
        let much = vec![7; 3 << 20];
        assert_eq!(run(&Bounds::default(), || Ok(much.clone()), Ok).unwrap(), much);
        assert_eq!(run(&Bounds::default(), || Ok(Vec::new()), Ok).unwrap(), b"");
    }

    #[test]
    fn asking_the_kernel_for_anything_ends_it() {
        for call in [
            libc::SYS_openat,
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_execve,
            libc::SYS_clone,
            libc::SYS_kill,
            libc::SYS_ptrace,
            libc::SYS_prctl,
            libc::SYS_ioctl,
            libc::SYS_unshare,
            libc::SYS_setns,
            libc::SYS_mount,
            libc::SYS_process_vm_readv,
            libc::SYS_io_uring_setup,
        ] {
            let error = confined(|| raw(call)).unwrap_err();
            assert!(killed_by(libc::SIGSYS, &error), "system call {call}: {error}");
            assert!(error.to_string().contains("by signal 31 (SIGSYS): it asked the kernel"), "{error}");
        }
    }

    /// What is left before the filter, which would not let us ask.
    #[test]
    fn it_has_no_rights_without_the_filter_either() {
        let was_root = geteuid().is_root();
        let look = || {
            assert!(!getuid().is_root() && !geteuid().is_root() && getegid().as_raw() != 0);
            assert!(!was_root || getgroups().unwrap().is_empty());
            let (header, mut sets) = ([0x2008_0522_u32, 0], [u32::MAX; 6]);
            // SAFETY: header and data have the layout that version 3 of capget(2) asks for, and outlive the call.
            assert_eq!(unsafe { libc::syscall(libc::SYS_capget, header.as_ptr(), sets.as_mut_ptr()) }, 0);
            assert_eq!(sets, [0; 6]);
            // Everybody may read it; where the kernel has no Landlock this test is not to pass.
            let passwd = std::fs::read("/etc/passwd").unwrap_err();
            assert_eq!(passwd.kind(), io::ErrorKind::PermissionDenied);
            // SAFETY: asks for a flag of a descriptor that need not be open.
            let open = (3..1000).filter(|it| unsafe { libc::fcntl(*it, libc::F_GETFD) } >= 0);
            assert_eq!(open.count(), 1, "the pipe");
            assert_eq!(nix::sys::prctl::get_pdeathsig().unwrap(), Some(Signal::SIGKILL));
            assert!(nix::sys::prctl::get_no_new_privs().unwrap());
            Ok(b"seen".to_vec())
        };
        assert_eq!(run(&Bounds::default(), look, Ok).unwrap(), b"seen");
    }

    #[test]
    fn taking_too_much_ends_it_and_says_of_what() {
        let small = Bounds { memory: 64 << 20, cpu: Duration::from_secs(1), ..Bounds::default() };
        let take = |()| Ok(vec![1; 65 << 20]);
        let error = run(&small, || Ok(()), take).unwrap_err();
        assert!(killed_by(libc::SIGABRT, &error), "{error}");
        assert!(error.to_string().contains("more than the 64 MiB of memory"), "{error}");

        let turn = |()| loop {
            std::hint::spin_loop();
        };
        let error = run(&small, || Ok(()), turn).unwrap_err();
        assert_eq!(error.to_string(), "the compiler used up 1 s of processor time: no hook takes that much");

        let hurried = Bounds { wall: Duration::from_millis(100), ..Bounds::default() };
        let started = Instant::now();
        let error = run(&hurried, || Ok(()), turn).unwrap_err();
        assert_eq!(error.to_string(), "the compiler did not finish within 0.1 s: no hook takes that long");
        assert!(started.elapsed() < Duration::from_secs(5));

        let error = run(&Bounds { output: 0, ..small }, || Ok(()), |()| Ok(vec![1; 5 << 20])).unwrap_err();
        assert_eq!(error, CompileError::Output(0));
    }

    #[allow(unconditional_recursion, reason = "that is what overflows")]
    fn deeper(depth: u64) -> u64 {
        std::hint::black_box(deeper(std::hint::black_box(depth + 1))) + 1
    }

    #[test]
    fn a_panic_a_fault_and_a_stack_overflow_are_told_apart() {
        let error = confined(|| panic!("index {} out of bounds", 7)).unwrap_err();
        assert_eq!(error, CompileError::Broken("index 7 out of bounds".into()));
        // SAFETY: not, and that is the point: nothing is at this address.
        let error =
            confined(|| unsafe { std::ptr::without_provenance_mut::<u32>(8).write_volatile(1) }).unwrap_err();
        assert!(killed_by(libc::SIGSEGV, &error), "{error}");
        let error = confined(|| assert_eq!(deeper(0), 0)).unwrap_err();
        assert!(killed_by(libc::SIGSEGV, &error), "{error}");
    }

    #[test]
    fn half_an_answer_is_none() {
        // The pipe is the one descriptor above stderr.
        let say = |bytes: &'static [u8]| {
            confined(move || {
                for pipe in 3..100 {
                    // SAFETY: the bytes outlive the call.
                    unsafe { libc::write(pipe, bytes.as_ptr().cast(), bytes.len()) };
                }
                // SAFETY: ends this process.
                unsafe { libc::_exit(0) }
            })
        };
        for half in [&b""[..], b"\0", &[0, 9, 0, 0, 0, 0, 0, 0, 0, 1], &[0, 0, 0, 0, 0, 0, 0, 0, 0, 1]] {
            let error = say(half).unwrap_err();
            assert_eq!(error, CompileError::Broken("it ended with 0 and no answer".into()), "{half:?}");
        }
        let endless = say(&[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).unwrap_err();
        assert_eq!(endless, CompileError::Output(Bounds::default().output));
        let nonsense = say(&[1, 1, 0, 0, 0, 0, 0, 0, 0, b'{']).unwrap_err();
        assert!(nonsense.to_string().contains("its answer is unusable"), "{nonsense}");
    }

    #[test]
    fn what_it_says_cannot_steer_a_terminal() {
        let refused = |()| Err(CompileError::Damaged("\x1b[2Jgone\r\n".into()));
        let error = run::<()>(&Bounds::default(), || Ok(()), refused).unwrap_err();
        assert_eq!(error.to_string(), r"damaged: \u{1b}[2Jgone\r\n");
    }
}
