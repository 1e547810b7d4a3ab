//! For `tests/fuzz`: what a stranger's bytes reach, without the room around it.

use crate::child::Message;
use crate::{Fault, Phase, Report, Verdict, command, frame};
use serde_json::Value;
use std::os::unix::net::UnixStream;
use std::time::Instant;

/// What a command finds on its stdin.
pub fn request(phase: &Phase) -> Result<Vec<u8>, Fault> {
    command::request(phase)
}

/// What a command has printed.
pub fn verdict(phase: &Phase, said: &[u8]) -> Result<Verdict, String> {
    command::read(phase, said)
}

/// Operation and input of what a command gives to `wasmhook.call`.
pub fn host_call(bytes: &[u8]) -> serde_json::Result<(String, Value)> {
    serde_json::from_slice(bytes).map(|it: command::Message| (it.operation, it.input))
}

/// What a child has sent, as its parent reads it; `None` for a host call. The stream must not block.
pub fn receive(stream: &UnixStream) -> Result<Option<Report>, Fault> {
    Ok(match frame::receive(stream, Instant::now())? {
        Message::Done(report) => Some(report),
        Message::Call { .. } => None,
    })
}

/// What a child sends at its end.
pub fn send(stream: &UnixStream, report: Report) -> Result<(), Fault> {
    Ok(frame::send(stream, &Message::Done(report), Instant::now())?)
}
