//! Times and sizes as people write them.

use std::time::Duration;

/// Longer than any runtime waits.
const LONGEST: Duration = Duration::from_hours(1);

/// `"500ms"`.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time.is_zero() => Err(format!("{text:?}: nothing runs in no time")),
        Ok(time) => Ok(time),
        Err(_) => Err(format!("{text:?}: write a time such as \"500ms\", \"2s\" or \"1m\"")),
    }
}

/// The same, up to an hour.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let time = time(text)?;
    if time > LONGEST { Err(format!("{text:?}: an hour at most")) } else { Ok(time) }
}

/// `"64MiB"`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    match text.parse::<bytesize::ByteSize>() {
        Ok(size) if size.as_u64() == 0 => Err(format!("{text:?}: nothing runs in no memory")),
        Ok(size) => Ok(size.as_u64()),
        Err(_) => Err(format!("{text:?}: write a size such as \"64MiB\"")),
    }
}

/// As it would be written.
pub(crate) fn show_time(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

/// As it would be written, in the greatest unit that is exact.
pub(crate) fn show_bytes(bytes: u64) -> String {
    for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
        if bytes.is_multiple_of(1 << shift) {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}
