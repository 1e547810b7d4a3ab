//! What a guest's child may still ask of the kernel: memory, time, and its socket. Whoever has broken out of WebAssembly
//! finds nothing else; asking for it ends the child. (The filter for aarch64 is written by the book: no such machine has
//! run it yet.)

#![allow(unsafe_code, reason = "seccomp(2)")]
#![allow(clippy::cast_possible_truncation, reason = "BPF's codes are 16 bits wide")]

use std::io;

/// What becomes of a system call that is on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Allowed whatever the arguments.
    Always,
    /// Allowed where nothing becomes executable by it.
    NotExecutable,
    /// Allowed for signals to threads of this very process.
    OwnThread,
}

pub(crate) type Rules = &'static [(libc::c_long, Rule)];

/// Memory, time, and an end.
pub(crate) const COMPUTE: Rules = &[
    (libc::SYS_write, Rule::Always),
    (libc::SYS_close, Rule::Always),
    (libc::SYS_brk, Rule::Always),
    (libc::SYS_mmap, Rule::NotExecutable),
    (libc::SYS_mprotect, Rule::NotExecutable),
    (libc::SYS_mremap, Rule::Always),
    (libc::SYS_munmap, Rule::Always),
    (libc::SYS_madvise, Rule::Always),
    (libc::SYS_futex, Rule::Always),
    (libc::SYS_sigaltstack, Rule::Always),
    (libc::SYS_rt_sigreturn, Rule::Always),
    (libc::SYS_rt_sigprocmask, Rule::Always),
    (libc::SYS_clock_gettime, Rule::Always),
    (libc::SYS_getrandom, Rule::Always),
    (libc::SYS_gettid, Rule::Always),
    (libc::SYS_getpid, Rule::Always),
    // abort() signals its own thread; nobody else is to be reached.
    (libc::SYS_tgkill, Rule::OwnThread),
    (libc::SYS_restart_syscall, Rule::Always),
    (libc::SYS_exit_group, Rule::Always),
];

/// An open stream, and a timer.
pub(crate) const TALK: Rules = &[
    (libc::SYS_read, Rule::Always),
    (libc::SYS_recvfrom, Rule::Always),
    (libc::SYS_sendto, Rule::Always),
    (libc::SYS_setitimer, Rule::Always),
    (libc::SYS_ppoll, Rule::Always),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_poll, Rule::Always),
];

/// `AUDIT_ARCH_*`: system call numbers mean something else on another.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

// Offsets in `struct seccomp_data`, <linux/seccomp.h>; the low halves of arguments, on little-endian machines.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;
const THIRD_ARGUMENT: u32 = 32;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const BITS: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

const ALLOW: libc::sock_filter = step(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0);
const KILL: libc::sock_filter = step(RETURN, libc::SECCOMP_RET_KILL_PROCESS, 0, 0);

const fn step(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

fn number(call: libc::c_long) -> u32 {
    u32::try_from(call).unwrap_or(u32::MAX)
}

/// Holds from now on, for good: what is on none of the lists ends the process. Needs "no new privileges".
pub(crate) fn close(lists: &[Rules]) -> io::Result<()> {
    let mut program = program(lists, std::process::id());
    let length = u16::try_from(program.len()).map_err(io::Error::other)?;
    let filter = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    // SAFETY: the program outlives the call, which copies it.
    match unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// First the architecture, then a search by halves: the kernel walks the program once for each call there is when it is
/// installed, and a list of comparisons costs twice as much as the rest of the child's preparations.
fn program(lists: &[Rules], pid: u32) -> Vec<libc::sock_filter> {
    let mut rules: Vec<_> =
        lists.iter().copied().flatten().map(|(call, rule)| (number(*call), *rule)).collect();
    rules.sort_unstable_by_key(|(number, _)| *number);
    let mut program =
        vec![step(LOAD, ARCH, 0, 0), step(EQUAL, ARCHITECTURE, 1, 0), KILL, step(LOAD, NUMBER, 0, 0)];
    program.extend(search(&rules, pid));
    program
}

/// Every way through it ends in a verdict.
fn search(rules: &[(u32, Rule)], pid: u32) -> Vec<libc::sock_filter> {
    match rules {
        [] => vec![KILL],
        [(number, rule)] => {
            let mut judged = judge(*rule, pid);
            judged.insert(0, step(EQUAL, *number, 0, jump(judged.len())));
            judged.push(KILL);
            judged
        }
        _ => {
            let (lower, upper) = rules.split_at(rules.len() / 2);
            let (mut below, above) = (search(lower, pid), search(upper, pid));
            below.insert(0, step(AT_LEAST, upper[0].0, jump(below.len()), 0));
            below.extend(above);
            below
        }
    }
}

fn judge(rule: Rule, pid: u32) -> Vec<libc::sock_filter> {
    #[allow(clippy::cast_sign_loss, reason = "a bit")]
    let executable = libc::PROT_EXEC as u32;
    match rule {
        Rule::Always => vec![ALLOW],
        Rule::NotExecutable => {
            vec![step(LOAD, THIRD_ARGUMENT, 0, 0), step(BITS, executable, 0, 1), KILL, ALLOW]
        }
        Rule::OwnThread => vec![step(LOAD, FIRST_ARGUMENT, 0, 0), step(EQUAL, pid, 0, 1), ALLOW, KILL],
    }
}

/// Over how many steps. A program that is too long for it kills what it should allow, and no test would pass.
fn jump(steps: usize) -> u8 {
    u8::try_from(steps).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::Signal;
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    /// What becomes of a process that closes the filter behind itself and then does this.
    fn behind(act: impl FnOnce()) -> WaitStatus {
        // SAFETY: the child allocates nothing before it ends but what `close` does, and takes no lock.
        match unsafe { fork() }.unwrap() {
            ForkResult::Parent { child } => waitpid(child, None).unwrap(),
            ForkResult::Child => {
                let _ = nix::sys::prctl::set_no_new_privs();
                let code = i32::from(close(&[COMPUTE, TALK]).is_err());
                act();
                // SAFETY: ends this process without running what the parent left to be run at exit.
                unsafe { libc::_exit(code) }
            }
        }
    }

    fn is_killed(status: WaitStatus) -> bool {
        matches!(status, WaitStatus::Signaled(_, Signal::SIGSYS, _))
    }

    fn map(protection: libc::c_int) {
        // SAFETY: a new anonymous mapping that nobody uses.
        unsafe {
            libc::mmap(std::ptr::null_mut(), 4096, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
        };
    }

    fn raw(call: libc::c_long, first: libc::c_long, second: libc::c_long) {
        // SAFETY: the calls that are tried take numbers, or strings that are null.
        unsafe { libc::syscall(call, first, second, 0, 0) };
    }

    #[test]
    fn what_is_needed_goes_on() {
        let ended = |status| matches!(status, WaitStatus::Exited(_, 0));
        assert!(ended(behind(|| ())));
        assert!(ended(behind(|| map(libc::PROT_READ | libc::PROT_WRITE))));
        assert!(ended(behind(|| raw(libc::SYS_getpid, 0, 0))));
    }

    #[test]
    fn everything_else_ends_the_process() {
        for call in [
            libc::SYS_openat,
            libc::SYS_socket,
            libc::SYS_connect,
            libc::SYS_execve,
            libc::SYS_clone,
            libc::SYS_ptrace,
            libc::SYS_prctl,
            libc::SYS_kill,
            libc::SYS_ioctl,
            libc::SYS_sendmsg,
            libc::SYS_dup,
            libc::SYS_fcntl,
            libc::SYS_process_vm_readv,
            libc::SYS_rt_sigaction,
            libc::SYS_unshare,
            libc::SYS_io_uring_setup,
        ] {
            assert!(is_killed(behind(|| raw(call, 0, 0))), "system call {call}");
        }
        assert!(is_killed(behind(|| map(libc::PROT_READ | libc::PROT_EXEC))));
        // SAFETY: no address is given; the call does not get that far.
        assert!(is_killed(behind(|| unsafe {
            libc::syscall(libc::SYS_mprotect, 0, 4096, libc::PROT_EXEC);
        })));
        let parent = libc::c_long::from(std::process::id());
        assert!(is_killed(behind(|| raw(libc::SYS_tgkill, parent, parent))));
    }

    #[test]
    fn an_abort_is_still_an_abort() {
        assert!(matches!(behind(|| std::process::abort()), WaitStatus::Signaled(_, Signal::SIGABRT, _)));
    }
}
