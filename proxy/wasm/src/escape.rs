//! A guest that has broken out of WebAssembly: native code of ours in its child, behind the filter, told by a log line of
//! the guest's what to try. For tests; no program that is installed has it.

#![allow(unsafe_code, reason = "what an attacker would do; see each block")]

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

/// Carries out `escape: <what>`; what it came to is the log line that goes on.
pub(crate) fn act(operation: &str, input: Value, stream: &UnixStream) -> (String, Value) {
    let message = input.get("message").and_then(Value::as_str).unwrap_or_default();
    let said = match message.strip_prefix("escape: ") {
        Some(what) if operation == "log.write" => attempt(what, stream),
        _ => return (operation.to_owned(), input),
    };
    (operation.to_owned(), json!({ "level": "info", "message": said, "fields": [] }))
}

fn attempt(what: &str, stream: &UnixStream) -> String {
    let (what, rest) = what.split_once(' ').unwrap_or((what, ""));
    match what {
        "abort" => std::process::abort(),
        // SAFETY: no address that is mapped is written to; the process ends.
        "segv" => unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) },
        "panic" => panic!("escaped"),
        "call" => raw(rest),
        "descriptors" => return descriptors(),
        "door" => return ask(stream, rest),
        "nonsense" => say(stream, b"\x03\0\0\0{{{"),
        "giant" => say(stream, &u32::MAX.to_le_bytes()),
        "half" => say(stream, b"\xff\0\0\0{"),
        "deep" => {
            let deep = "[".repeat(100_000);
            say(stream, &frame(&format!(r#"{{"Call":{{"operation":"log.write","input":{deep}"#)));
        }
        "flood" => loop {
            say(stream, &frame(r#"{"Call":{"operation":"log.write","input":{}}}"#));
        },
        "chatter" => loop {
            ask(stream, "clock.now-ns");
        },
        "silence" => loop {
            std::hint::spin_loop();
        },
        "verdict" => {
            let text = "x".repeat(2 << 20);
            say(stream, &frame(&json!({ "Done": { "verdict": { "Ok": { "Pre": { "Rewrite": text } } },
                "usage": { "wall": { "secs": 0, "nanos": 0 }, "cpu": { "secs": 0, "nanos": 0 }, "memory": 0 } } }).to_string()));
        }
        _ => return format!("cannot {what}"),
    }
    format!("did {what}")
}

fn frame(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes(), text.as_bytes()].concat()
}

/// All of it, as fast as the other end takes it.
fn say(mut stream: &UnixStream, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() {
        match stream.write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => std::hint::spin_loop(),
            Err(_) => return,
        }
    }
}

/// A system call by its number, with harmless arguments.
fn raw(number: &str) {
    let number: libc::c_long = number.parse().unwrap_or(-1);
    // SAFETY: zeros: no pointer that leads anywhere.
    unsafe { libc::syscall(number, 0, 0, 0, 0, 0, 0) };
}

/// Which descriptors are open: reading nothing from a closed one fails in another way.
fn descriptors() -> String {
    let is_open = |fd: &i32| {
        // SAFETY: no bytes are read.
        let read = unsafe { libc::read(*fd, std::ptr::null_mut(), 0) };
        read >= 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::EBADF)
    };
    let open: Vec<_> = (0..1024).filter(is_open).map(|fd| fd.to_string()).collect();
    format!("open descriptors: {}", open.join(" "))
}

/// A host call past everything that is checked on this side.
fn ask(mut stream: &UnixStream, operation: &str) -> String {
    say(
        stream,
        &frame(&json!({ "Call": { "operation": operation, "input": { "json": "1", "ms": 1 } } }).to_string()),
    );
    let mut bytes = Vec::new();
    let mut some = [0; 4096];
    loop {
        match stream.read(&mut some) {
            Ok(read @ 1..) => bytes.extend_from_slice(&some[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => break,
        }
        let length = bytes.first_chunk().map(|head| u32::from_le_bytes(*head) as usize);
        if length.is_some_and(|length| bytes.len() >= length + 4) {
            break;
        }
    }
    format!("the door says: {}", String::from_utf8_lossy(bytes.get(4..).unwrap_or_default()))
}
