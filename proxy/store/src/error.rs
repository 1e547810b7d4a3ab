use std::net::IpAddr;
use std::{io, path::PathBuf};

/// What can go wrong with the files of a node.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The kernel refused.
    #[error("{action} {}: {cause}", path.display())]
    Io {
        /// What was tried: `open`, `write` …
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The kernel's answer.
        cause: io::Error,
    },
    /// Somebody else could have written here.
    #[error("{} is not to be trusted: {why}", path.display())]
    Untrusted {
        /// The file or directory.
        path: PathBuf,
        /// Its owner or mode.
        why: String,
    },
    /// A journal that this build cannot read.
    #[error("journal {}: {why}", path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Hook state that cannot be used.
    #[error("hook state {}: {why}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and the remedy.
        why: String,
    },
    /// Other processes were at work on it for all the time there was.
    #[error("{0}: busy, and the time is over: try again")]
    Busy(&'static str),
    /// A module would remember too much.
    #[error(
        "hook state of `{module}`: {bytes} bytes, and {quota} are allowed (`state_quota` in the node's settings)"
    )]
    Quota {
        /// The module.
        module: String,
        /// What it would hold.
        bytes: u64,
        /// What it may.
        quota: u64,
    },
    /// A module would count too much apart.
    #[error(
        "metrics of `{module}`: {most} series at most (use labels of few values, a namespace and not a pod)"
    )]
    TooManySeries {
        /// The module.
        module: String,
        /// What it may have.
        most: usize,
    },
    /// More keys than a list should have.
    #[error("more than {most} keys begin with {prefix:?}: ask for a longer prefix")]
    TooManyKeys {
        /// How they begin.
        prefix: String,
        /// The most there may be.
        most: usize,
    },
    /// Adding to what is no number.
    #[error("the value of {key:?} is no decimal number of 64 bits: nothing can be added to it")]
    NotANumber {
        /// Its key.
        key: String,
    },
    /// Adding too much.
    #[error("{is} and {delta} are more than 64 bits hold, at {key:?}")]
    Overflow {
        /// The number's key.
        key: String,
        /// What it is.
        is: i64,
        /// What was to be added.
        delta: i64,
    },
    /// No address is left.
    #[error(
        "no address is left in {ranges}: leases are in {} (a GC by the runtime, or `wasmhookctl gc`, takes away what belongs to no container any more)",
        directory.display()
    )]
    Exhausted {
        /// The ranges.
        ranges: String,
        /// Where its leases are.
        directory: PathBuf,
    },
    /// An address that is asked for cannot be had.
    #[error("address {address} cannot be had: {why}")]
    Address {
        /// The address.
        address: IpAddr,
        /// Why not.
        why: &'static str,
    },
    /// Somebody has had a pool's lock for all the time there was.
    #[error("{} is locked{holder}, and the time is over: try again", path.display())]
    PoolBusy {
        /// The lock's file.
        path: PathBuf,
        /// By whom, if that is known.
        holder: String,
    },
    /// A module is something else than a file.
    #[error("{} is {what}, not a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// `a directory` …
        what: &'static str,
    },
}

impl StoreError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |cause| Self::Io { action, path, cause }
    }
}
