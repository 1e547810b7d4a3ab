//! Settings below `/proc/sys/net`, which are those of the namespace that the thread is in.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;
use wasmhook_net_types::{NetError, judge_sysctl};

/// More than any setting has.
const LONGEST: u64 = 64 << 10;

pub(crate) fn read(key: &str) -> Result<String, NetError> {
    let mut text = String::new();
    let read = File::open(path(key)?).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    read.map_err(|error| refused(key, &error))?;
    Ok(text.trim_end_matches('\n').to_owned())
}

pub(crate) fn write(key: &str, value: &str) -> Result<(), NetError> {
    let file = OpenOptions::new().write(true).open(path(key)?);
    file.and_then(|mut file| file.write_all(value.as_bytes())).map_err(|error| refused(key, &error))
}

fn path(key: &str) -> Result<PathBuf, NetError> {
    judge_sysctl(key)?;
    Ok(PathBuf::from("/proc/sys").join(key))
}

fn refused(key: &str, error: &io::Error) -> NetError {
    match error.kind() {
        ErrorKind::NotFound => NetError::NotFound(format!("sysctl {key}: there is none")),
        _ => NetError::Kernel {
            doing: format!("sysctl {key}"),
            words: error.to_string(),
            errno: error.raw_os_error().unwrap_or_default(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_leads_nowhere_else() {
        for key in [
            "",
            "net",
            "net/",
            "kernel/hostname",
            "net/../kernel/hostname",
            "/net/core",
            "net//core",
            "net/a\0b",
        ] {
            assert!(matches!(read(key), Err(NetError::Invalid(_))), "{key:?}");
        }
        assert!(matches!(read("net/ipv4/no_such"), Err(NetError::NotFound(_))));
        assert!(matches!(read("net/core"), Err(NetError::Kernel { errno: libc::EISDIR, .. })));
        assert!(read("net/ipv4/ip_default_ttl").unwrap().parse::<u8>().is_ok());
    }
}
