//! A compiled module on disk: the code, then a trailer that says what it is. The code comes first because the
//! engine maps the file and wants it aligned.

use crate::{Digest, StoreError, trust};
use nix::fcntl::OFlag;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

const MAGIC: &[u8; 8] = b"wasmhook";
/// Magic, length of the code, digest of the module, its traits; the build id follows.
const FIXED: usize = 8 + 8 + 32 + 1;

/// A compiled module.
#[derive(Debug)]
pub struct Artifact {
    /// Opened, and checked to be ours.
    pub file: File,
    /// Of this module.
    pub module: Digest,
    /// What the module says of itself, in whatever bits [`Compiled::put`](crate::Compiled::put) was given.
    pub traits: u8,
}

/// What to append to the code.
pub(crate) fn trailer(code: usize, module: &Digest, traits: u8, build_id: &str) -> Vec<u8> {
    let mut trailer = Vec::with_capacity(FIXED + build_id.len());
    trailer.extend_from_slice(MAGIC);
    trailer.extend_from_slice(&(code as u64).to_le_bytes());
    trailer.extend_from_slice(module.as_bytes());
    trailer.push(traits);
    trailer.extend_from_slice(build_id.as_bytes());
    trailer
}

/// Opens an artifact if it is one: ours, whole, of this build. Anything else is `None`. `follow` for a path in a
/// directory whose links are ours as well.
pub(crate) fn open(path: &Path, follow: bool, build_id: &str) -> Option<Artifact> {
    let links = if follow { OFlag::empty() } else { OFlag::O_NOFOLLOW };
    let flags = (links | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let metadata = file.metadata().ok()?;
    trust::file(path, &metadata).ok()?;
    let (module, traits) = label(&file, metadata.len(), build_id)?;
    Some(Artifact { file, module, traits })
}

/// The module that a whole artifact of this build was made of, and its traits.
pub(crate) fn label(file: &File, length: u64, build_id: &str) -> Option<(Digest, u8)> {
    let code = usize::try_from(length).ok()?.checked_sub(FIXED + build_id.len())?;
    let mut found = vec![0; FIXED + build_id.len()];
    file.read_exact_at(&mut found, code as u64).ok()?;
    let module = Digest::from_bytes(found[16..FIXED - 1].try_into().ok()?);
    let traits = found[FIXED - 1];
    (found == trailer(code, &module, traits, build_id)).then_some((module, traits))
}

/// A module's file, opened for reading and known to be one: a fifo would block us, a device would not end.
pub(crate) fn open_module(path: &Path) -> Result<File, StoreError> {
    let flags = (OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path);
    let file = file.map_err(StoreError::io("open", path))?;
    let metadata = file.metadata().map_err(StoreError::io("look at", path))?;
    let what = if metadata.is_dir() { "a directory" } else { "a device, socket or pipe" };
    if metadata.is_file() { Ok(file) } else { Err(StoreError::NotAFile { path: path.into(), what }) }
}
