//! Messages on a stream: a little-endian u32 length, then JSON. Never past a deadline, never longer than the cap.

use crate::Fault;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::{Serialize, de::DeserializeOwned};
use std::io::{ErrorKind, Read, Write};
use std::os::{fd::AsFd, unix::net::UnixStream};
use std::time::Instant;

/// A configuration of a megabyte is already absurd; four leave room for escaping.
const LONGEST: usize = 4 << 20;

/// What can go wrong with a frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FrameError {
    /// The other end is gone.
    Closed,
    /// The deadline passed.
    Late,
    /// Anything that makes the stream useless.
    Unusable(String),
}

impl From<FrameError> for Fault {
    fn from(error: FrameError) -> Self {
        match error {
            FrameError::Closed => Self::Gone,
            FrameError::Late => Self::Message("too late".into()),
            FrameError::Unusable(why) => Self::Message(why),
        }
    }
}

pub(crate) fn send(stream: &UnixStream, message: &impl Serialize, until: Instant) -> Result<(), FrameError> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message).map_err(|error| FrameError::Unusable(error.to_string()))?;
    let length = bytes.len() - 4;
    if length > LONGEST {
        return Err(FrameError::Unusable(format!("{length} bytes, and {LONGEST} are allowed")));
    }
    #[allow(clippy::cast_possible_truncation, reason = "LONGEST fits")]
    bytes[..4].copy_from_slice(&(length as u32).to_le_bytes());
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let mut writer = stream;
        match writer.write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) => wait_or_fail(stream, &error, PollFlags::POLLOUT, until)?,
        }
    }
    Ok(())
}

pub(crate) fn receive<T: DeserializeOwned>(stream: &UnixStream, until: Instant) -> Result<T, FrameError> {
    let mut length = [0; 4];
    read_exact(stream, &mut length, until)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        return Err(FrameError::Unusable(format!("{length} bytes, and {LONGEST} are allowed")));
    }
    let mut bytes = vec![0; length];
    read_exact(stream, &mut bytes, until)?;
    serde_json::from_slice(&bytes).map_err(|error| FrameError::Unusable(error.to_string()))
}

fn read_exact(stream: &UnixStream, mut into: &mut [u8], until: Instant) -> Result<(), FrameError> {
    while !into.is_empty() {
        let mut reader = stream;
        match reader.read(into) {
            Ok(0) => return Err(FrameError::Closed),
            Ok(read) => into = &mut into[read..],
            Err(error) => wait_or_fail(stream, &error, PollFlags::POLLIN, until)?,
        }
    }
    Ok(())
}

/// The streams are non-blocking: a call that would block waits here, until the deadline.
fn wait_or_fail(
    stream: &UnixStream,
    error: &std::io::Error,
    event: PollFlags,
    until: Instant,
) -> Result<(), FrameError> {
    match error.kind() {
        ErrorKind::Interrupted => return Ok(()),
        ErrorKind::WouldBlock => {}
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => return Err(FrameError::Closed),
        _ => return Err(FrameError::Unusable(error.to_string())),
    }
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(FrameError::Late);
    }
    // Rounded up, or the last millisecond would be spent spinning.
    let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(stream.as_fd(), event)], timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(FrameError::Unusable(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::time::Duration;

    fn pair() -> (UnixStream, UnixStream) {
        let (one, other) = UnixStream::pair().unwrap();
        one.set_nonblocking(true).unwrap();
        other.set_nonblocking(true).unwrap();
        (one, other)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(50)
    }

    #[test]
    fn a_message_crosses_whole() {
        let (one, other) = pair();
        send(&one, &json!({"a": [1, "x"]}), soon()).unwrap();
        assert_eq!(receive::<Value>(&other, soon()).unwrap(), json!({"a": [1, "x"]}));
    }

    #[test]
    fn nobody_waits_past_the_deadline() {
        let (one, other) = pair();
        assert_eq!(receive::<Value>(&one, soon()).unwrap_err(), FrameError::Late);
        let big = "x".repeat(3 << 20);
        assert_eq!(send(&other, &big, soon()).unwrap_err(), FrameError::Late);
    }

    #[test]
    fn a_length_over_the_cap_is_refused_before_a_byte_is_read() {
        let (mut one, other) = pair();
        one.write_all(&u32::MAX.to_le_bytes()).unwrap();
        assert!(matches!(receive::<Value>(&other, soon()), Err(FrameError::Unusable(_))));
        let long = "x".repeat(LONGEST);
        assert!(matches!(send(&one, &long, soon()), Err(FrameError::Unusable(_))));
    }

    #[test]
    fn a_closed_end_is_told_apart_from_nonsense() {
        let (mut one, other) = pair();
        one.write_all(&[3, 0, 0, 0, b'{', b'{', b'{']).unwrap();
        assert!(matches!(receive::<Value>(&other, soon()), Err(FrameError::Unusable(_))));
        drop(one);
        assert_eq!(receive::<Value>(&other, soon()).unwrap_err(), FrameError::Closed);
    }
}
