//! Times and sizes as people write them.

use std::time::Duration;

/// An hour is longer than any runtime waits.
pub(crate) const LONGEST: Duration = Duration::from_hours(1);
/// The whole of a 32-bit guest's memory.
pub(crate) const LARGEST: u64 = 4 << 30;

/// `"500ms"`, up to an hour.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time.is_zero() => Err(format!("{text:?}: nothing runs in no time")),
        Ok(time) if time > LONGEST => Err(format!("{text:?}: an hour at most")),
        Ok(time) => Ok(time),
        Err(_) => Err(format!("{text:?}: write a time such as \"500ms\", \"2s\" or \"1m\"")),
    }
}

/// `"64MiB"`, up to 4 GiB.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    match text.parse::<bytesize::ByteSize>() {
        Ok(size) if size.as_u64() == 0 => Err(format!("{text:?}: nothing runs in no memory")),
        Ok(size) if size.as_u64() > LARGEST => Err(format!("{text:?}: 4GiB at most")),
        Ok(size) => Ok(size.as_u64()),
        Err(_) => Err(format!("{text:?}: write a size such as \"64MiB\"")),
    }
}
