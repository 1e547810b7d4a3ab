//! The kill switch of hooks that break things on purpose: a file. Whatever is in it, and even if nobody can read it, there are
//! no faults while it is there: `touch` is all it takes.

use crate::StoreError;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Faults are switched on or off on this node.
#[derive(Clone, Debug)]
pub struct FaultSwitch {
    file: PathBuf,
}

impl FaultSwitch {
    /// That of the node whose state this is.
    #[must_use]
    pub fn of(state: &Path) -> Self {
        Self { file: state.join("faults-off") }
    }

    /// The file that says so.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Whoever cannot look does not break anything.
    #[must_use]
    pub fn is_off(&self) -> bool {
        !matches!(fs::symlink_metadata(&self.file), Err(error) if error.kind() == io::ErrorKind::NotFound)
    }

    /// No faults from now on.
    pub fn off(&self) -> Result<(), StoreError> {
        let write = || {
            if let Some(directory) = self.file.parent() {
                DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
            }
            OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&self.file)
        };
        write().map(drop).map_err(StoreError::io("create", &self.file))
    }

    /// Faults again. Were there none?
    pub fn on(&self) -> Result<bool, StoreError> {
        match fs::remove_file(&self.file) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::io("remove", &self.file)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_all_it_takes() {
        let state = tempfile::tempdir().unwrap();
        let switch = FaultSwitch::of(&state.path().join("state"));
        assert!(!switch.is_off() && !switch.on().unwrap());
        switch.off().unwrap();
        switch.off().unwrap();
        assert!(switch.is_off() && switch.on().unwrap() && !switch.is_off());
        std::os::unix::fs::symlink("/nowhere", switch.file()).unwrap();
        assert!(switch.is_off());
    }
}
