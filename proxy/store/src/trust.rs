//! Who could have written here? Compiled code runs as us, so only what nobody else could have touched is used.

use crate::StoreError;
use nix::unistd::{Uid, geteuid};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const GROUP_OR_OTHERS_WRITE: u32 = 0o022;
const STICKY: u32 = 0o1000;

/// A directory in which only we can put, replace or take away files: its owner is our effective user, nobody else
/// can write to it, and its parents are ours or root's and not writable by others, unless sticky as `/tmp` is.
pub fn directory(path: &Path) -> Result<(), StoreError> {
    directory_itself(path)?;
    parents(path)
}

/// [`directory`] for one whose parents have been judged.
pub(crate) fn directory_itself(path: &Path) -> Result<(), StoreError> {
    let metadata = lstat(path)?;
    if !metadata.is_dir() {
        return untrusted(path, "not a directory".into());
    }
    owned_by_us(path, &metadata)
}

/// A file that only we could have written; its directory is judged by [`directory`].
pub fn file(path: &Path, metadata: &Metadata) -> Result<(), StoreError> {
    if !metadata.is_file() {
        return untrusted(path, "not a file".into());
    }
    owned_by_us(path, metadata)
}

fn parents(path: &Path) -> Result<(), StoreError> {
    for parent in path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty()) {
        let metadata = lstat(parent)?;
        if metadata.is_symlink() {
            // What it leads to has parents of its own.
            let target = fs::canonicalize(parent).map_err(StoreError::io("resolve", parent))?;
            ours_or_roots(parent, &metadata)?;
            ours_or_roots(&target, &lstat(&target)?)?;
            parents(&target)?;
            continue;
        }
        ours_or_roots(parent, &metadata)?;
        let mode = metadata.mode();
        if mode & GROUP_OR_OTHERS_WRITE != 0 && mode & STICKY == 0 {
            return untrusted(parent, format!("mode {:04o} lets others write", mode & 0o7777));
        }
    }
    Ok(())
}

fn owned_by_us(path: &Path, metadata: &Metadata) -> Result<(), StoreError> {
    let us = geteuid();
    if metadata.uid() != us.as_raw() {
        return untrusted(path, format!("owned by uid {}, and we are {us}", metadata.uid()));
    }
    if metadata.mode() & GROUP_OR_OTHERS_WRITE != 0 {
        return untrusted(path, format!("mode {:04o} lets others write", metadata.mode() & 0o7777));
    }
    Ok(())
}

fn ours_or_roots(path: &Path, metadata: &Metadata) -> Result<(), StoreError> {
    let owner = Uid::from_raw(metadata.uid());
    if owner.is_root() || owner == geteuid() {
        return Ok(());
    }
    untrusted(path, format!("owned by uid {owner}"))
}

fn lstat(path: &Path) -> Result<Metadata, StoreError> {
    fs::symlink_metadata(path).map_err(StoreError::io("look at", path))
}

fn untrusted(path: &Path, why: String) -> Result<(), StoreError> {
    Err(StoreError::Untrusted { path: path.into(), why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_directory_that_others_can_write_is_not_trusted_nor_one_below_it() {
        let tmp = tempfile::tempdir().unwrap();
        let inner = tmp.path().join("inner");
        fs::create_dir(&inner).unwrap();
        chmod(&inner, 0o700);
        directory(&inner).unwrap();
        chmod(tmp.path(), 0o770);
        assert!(directory(&inner).unwrap_err().to_string().contains("mode 0770 lets others write"));
        chmod(tmp.path(), 0o1777);
        directory(&inner).unwrap();
        chmod(&inner, 0o720);
        assert!(matches!(directory(&inner), Err(StoreError::Untrusted { .. })));
    }

    #[test]
    fn a_parent_behind_a_symlink_is_judged_where_it_really_is() {
        let tmp = tempfile::tempdir().unwrap();
        let open = tmp.path().join("open");
        let real = open.join("real");
        fs::create_dir_all(real.join("inner")).unwrap();
        symlink(&real, tmp.path().join("link")).unwrap();
        let inner = tmp.path().join("link/inner");
        directory(&inner).unwrap();
        chmod(&open, 0o777);
        assert!(matches!(directory(&inner), Err(StoreError::Untrusted { path, .. }) if path == open));
    }
}
