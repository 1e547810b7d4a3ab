//! What a guest finds that has broken out of WebAssembly: native code in its child, behind the filter. The plugin lives
//! on, whatever its child does, and says so as a CNI error.

#![allow(clippy::unwrap_used, clippy::must_use_candidate, reason = "panicking is how a test speaks")]

use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use wasmhook_tests::{Answer, Call, CniError, GO_ON, Lab, component, wait_for};

const ESCAPED: &str = env!("CARGO_BIN_EXE_wasmhook-escaped");

/// A hook that tells its own escaped code what to try.
fn escaping(what: &str) -> Vec<u8> {
    let text = format!("escape: {what}");
    let parts = format!(
        r#"(import "wasmhook:host/log@0.1.0" "write" (func $write (param i32 i32 i32 i32 i32)))
        (data (i32.const 512) "{text}")"#
    );
    let length = text.len();
    let pre = format!(
        "(call $write (i32.const 2) (i32.const 512) (i32.const {length}) (i32.const 0) (i32.const 0)) (i32.const 1024)"
    );
    component(&parts, &pre, GO_ON)
}

fn config() -> Value {
    json!({
        "cniVersion": "1.0.0", "name": "net", "type": "wasmhook",
        "hooks": [{ "module": "bad", "limits": { "wall": "400ms" } }],
        "prevResult": { "cniVersion": "1.0.0", "ips": [] },
    })
}

fn lab(isolation: &str, what: &str) -> Lab {
    let lab = Lab::new(isolation);
    lab.install("bad", &escaping(what));
    assert_eq!(lab.ctl(&["compile", "bad"]).code, Some(0));
    lab
}

fn call(lab: &Lab, verb: &str) -> Answer {
    let call = Call::new(verb, &config());
    let mut command = call.command(Path::new(ESCAPED));
    command.env("WASMHOOK_CONFIG", lab.settings());
    Answer::of(&mut command, &call.stdin)
}

/// An ADD with a guest that tries this, in both kinds of child.
fn attempts(what: &str) -> [Answer; 2] {
    ["module", "call"].map(|isolation| {
        let lab = lab(isolation, what);
        let started = Instant::now();
        let answer = call(&lab, "ADD");
        assert!(started.elapsed() < Duration::from_secs(5), "{what}: {:?}", started.elapsed());
        call(&lab, "DEL").silent();
        answer
    })
}

fn error(what: &str, msg: &str) {
    for answer in attempts(what) {
        let error: CniError = answer.error();
        assert_eq!(error.code, 101, "{what}: {answer:?}");
        assert!(error.msg.starts_with("hook `bad`: ") && error.msg.contains(msg), "{what}: {answer:?}");
        assert!(!answer.stderr.contains("panic"), "{what}: {answer:?}");
    }
}

#[test]
fn an_abort_in_the_engine_is_a_clean_error() {
    error("abort", "child ended by signal 6 before a verdict");
    // The engine's handler for its own faults asks for what the filter does not allow.
    error("segv", "child ended by signal 31 before a verdict");
    error("panic", "child ended");
}

#[test]
fn it_can_open_nothing_start_nothing_and_reach_nobody() {
    for number in [
        libc::SYS_openat,
        libc::SYS_openat2,
        libc::SYS_socket,
        libc::SYS_connect,
        libc::SYS_execve,
        libc::SYS_clone,
        libc::SYS_clone3,
        libc::SYS_kill,
        libc::SYS_ptrace,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_open,
        libc::SYS_setns,
        libc::SYS_mount,
        libc::SYS_bpf,
        libc::SYS_prctl,
        libc::SYS_seccomp,
        libc::SYS_sendmsg,
        libc::SYS_recvmsg,
        libc::SYS_memfd_create,
        libc::SYS_io_uring_setup,
    ] {
        error(&format!("call {number}"), "child ended by signal 31 before a verdict");
    }
}

#[test]
fn it_reaches_no_descriptor_but_its_socket() {
    for answer in attempts("descriptors") {
        let _ = answer.result();
        // 0 to 2 are /dev/null; one is the socket, one the compiled module that was open before.
        let line = answer.stderr.lines().find(|it| it.contains("open descriptors: ")).unwrap();
        let open = line.split("open descriptors: ").nth(1).unwrap().split(" hook=").next().unwrap();
        let open: Vec<_> = open.split(' ').collect();
        assert!(open.starts_with(&["0", "1", "2"]) && open.len() <= 6, "{line}");
    }
}

#[test]
fn the_door_gives_it_nothing_that_it_was_not_granted() {
    for answer in attempts("door carry.set") {
        let _ = answer.result();
        assert!(answer.stderr.contains("`carry.set` needs the grant `carry`"), "{answer:?}");
    }
    for answer in attempts("door clock.now-ns") {
        assert!(answer.stderr.contains("`clock.now-ns` needs the grant `clock`"), "{answer:?}");
    }
    for answer in attempts("door made.up") {
        assert!(answer.stderr.contains("no function `made.up` here"), "{answer:?}");
    }
}

#[test]
fn nonsense_on_the_socket_is_a_hook_failure() {
    error("nonsense", "unusable message from the child");
    error("giant", "unusable message from the child: 4294967295 bytes, and 4194304 are allowed");
    error("deep", "unusable message from the child: recursion limit exceeded");
    error("half", "wall-clock limit of 400ms reached");
    error("verdict", "verdict limit of 1MiB reached (raise `limits.verdict`)");
}

#[test]
fn a_child_that_never_answers_or_never_reads_ends_with_its_time() {
    error("silence", "wall-clock limit of 400ms reached");
    error("flood", "wall-clock limit of 400ms reached");
    error("chatter", "wall-clock limit of 400ms reached");
}

#[test]
fn what_it_is_allowed_can_be_seen_from_outside() {
    for isolation in ["module", "call"] {
        let lab = lab(isolation, "silence");
        let call = Call::new("ADD", &config());
        let mut command = call.command(Path::new(ESCAPED));
        let mut plugin = command.env("WASMHOOK_CONFIG", lab.settings()).spawn().unwrap();
        plugin.stdin.take().unwrap().write_all(call.stdin.as_bytes()).unwrap();
        let children = format!("/proc/{0}/task/{0}/children", plugin.id());
        let status = wait_for(|| {
            let child = fs::read_to_string(&children).ok()?.trim().to_owned();
            let status = fs::read_to_string(format!("/proc/{child}/status")).ok()?;
            status.contains("Seccomp:\t2").then_some((child, status))
        });
        let (child, status) = status;
        for line in [
            "CapEff:\t0000000000000000",
            "CapPrm:\t0000000000000000",
            "CapInh:\t0000000000000000",
            "NoNewPrivs:\t1",
        ] {
            assert!(status.contains(line), "{line}: {status}");
        }
        let limits = fs::read_to_string(format!("/proc/{child}/limits")).unwrap();
        let of = |name: &str| limits.lines().find(|it| it.starts_with(name)).unwrap().to_owned();
        assert!(!of("Max data size").contains("unlimited"), "{limits}");
        assert_eq!(of("Max core file size").split_whitespace().nth(4), Some("0"));
        let _ = plugin.wait_with_output().unwrap();
    }
}
