//! The off switch: a file that makes hooks be skipped until a time.

use crate::StoreError;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Hooks are skipped on this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bypass {
    /// Seconds since 1970.
    pub since: u64,
    /// Seconds since 1970; it ends by itself.
    pub until: u64,
}

fn file(state: &Path) -> PathBuf {
    state.join("bypass")
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Bypass {
    /// The one that holds now. A file that nobody can read is none: a guard must not stop guarding by accident.
    #[must_use]
    pub fn now(state: &Path) -> Option<Self> {
        let bypass: Self = serde_json::from_slice(&fs::read(file(state)).ok()?).ok()?;
        (bypass.until > seconds()).then_some(bypass)
    }

    /// Switches hooks off for so long from now.
    pub fn on(state: &Path, time: Duration) -> Result<Self, StoreError> {
        let (since, path) = (seconds(), file(state));
        let bypass = Self { since, until: since.saturating_add(time.as_secs()) };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(state);
        made.map_err(StoreError::io("create", state))?;
        let unfinished = state.join(format!(".bypass.{}", std::process::id()));
        let written =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished);
        let written = written.and_then(|mut to| {
            to.write_all(&serde_json::to_vec(&bypass)?)?;
            fs::rename(&unfinished, &path)
        });
        written.map_err(StoreError::io("write", path))?;
        Ok(bypass)
    }

    /// Switches hooks on again. Was it off?
    pub fn off(state: &Path) -> Result<bool, StoreError> {
        match fs::remove_file(file(state)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io("remove", file(state))(error)),
        }
    }

    /// What is left of it.
    #[must_use]
    pub fn left(&self) -> Duration {
        Duration::from_secs(self.until.saturating_sub(seconds()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_by_itself_and_by_hand() {
        let state = tempfile::tempdir().unwrap();
        let state = state.path().join("state");
        assert_eq!(Bypass::now(&state), None);
        assert!(!Bypass::off(&state).unwrap());
        let on = Bypass::on(&state, Duration::from_mins(30)).unwrap();
        assert_eq!(Bypass::now(&state), Some(on.clone()));
        assert!(on.left() > Duration::from_mins(29));
        assert!(Bypass::off(&state).unwrap());
        Bypass::on(&state, Duration::ZERO).unwrap();
        assert_eq!(Bypass::now(&state), None);
        fs::write(file(&state), "on!").unwrap();
        assert_eq!(Bypass::now(&state), None);
    }
}
