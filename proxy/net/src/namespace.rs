use nix::fcntl::OFlag;
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};
use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use wasmhook_net_types::NetError;

/// The network namespace at this path; what is there and is none is an error.
pub fn open_namespace(path: &str) -> Result<OwnedFd, NetError> {
    let none = |why: &dyn std::fmt::Display| NetError::NotFound(format!("network namespace {path:?}: {why}"));
    let flags = (OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| none(&error))?;
    if fstatfs(&file).map(|it| it.filesystem_type()) != Ok(NSFS_MAGIC) {
        return Err(none(&"it is no namespace"));
    }
    if kind_of(&file) != Some(libc::CLONE_NEWNET) {
        return Err(none(&"it is a namespace, but not a network's"));
    }
    Ok(file.into())
}

/// `NS_GET_NSTYPE`, <linux/nsfs.h>.
#[allow(unsafe_code, reason = "an ioctl that nobody wraps")]
fn kind_of(file: &File) -> Option<libc::c_int> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: takes nothing and writes nothing.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE as _) };
    (kind >= 0).then_some(kind)
}
