//! Telling network namespaces apart, also one that is gone from one that has taken its place.

use nix::fcntl::OFlag;
use nix::sys::statfs::{NSFS_MAGIC, PROC_SUPER_MAGIC, statfs};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};

/// Which network namespace, by whatever path.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Namespace {
    /// Of the namespace behind the path.
    pub dev: u64,
    /// Of the namespace behind the path. A later one can have the same.
    pub ino: u64,
    /// The kernel's own number, which no later one has. Linux 6.18 and later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        match (self.id, other.id) {
            (Some(one), Some(other)) => one == other,
            _ => (self.dev, self.ino) == (other.dev, other.ino),
        }
    }
}

impl Namespace {
    /// The namespace behind a path; `None` when there is none.
    #[must_use]
    pub fn at(path: &str) -> Option<Self> {
        let flags = (OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok();
        if let Some(file) = file {
            return Self::of(&file);
        }
        let metadata = fs::metadata(path).ok()?;
        Some(Self { dev: metadata.dev(), ino: metadata.ino(), id: None })
    }

    /// The namespace that is open as this file.
    #[must_use]
    pub fn of(file: &File) -> Option<Self> {
        let metadata = file.metadata().ok()?;
        Some(Self { dev: metadata.dev(), ino: metadata.ino(), id: kernel_id(file) })
    }

    /// Do both paths lead to the same namespace now?
    #[must_use]
    pub fn same_now(one: &str, other: &str) -> bool {
        let place = |path: &str| fs::metadata(path).ok().map(|it| (it.dev(), it.ino()));
        // The first need not be there, and asking for the second costs more.
        !one.is_empty() && place(one).is_some_and(|one| place(other) == Some(one))
    }

    /// Is there something at this path that is no namespace? Whoever takes one away unmounts it first, and what it was
    /// mounted on stays for a moment.
    #[must_use]
    pub fn is_unmounted(path: &str) -> bool {
        !path.is_empty()
            && statfs(path).is_ok_and(|it| !matches!(it.filesystem_type(), NSFS_MAGIC | PROC_SUPER_MAGIC))
    }
}

/// `NS_GET_ID`, <linux/nsfs.h>.
#[allow(unsafe_code, reason = "an ioctl that nobody wraps yet")]
fn kernel_id(file: &File) -> Option<u64> {
    const NS_GET_ID: libc::c_ulong = 0x8008_b70d;
    let mut id = 0_u64;
    // SAFETY: writes eight bytes to a valid pointer, or fails.
    let done = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_ID as _, &raw mut id) };
    (done == 0).then_some(id)
}
