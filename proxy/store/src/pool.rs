//! Leases of addresses, in the files and under the lock of the plugin host-local, so that both can serve one range.
//!
//! A lease is a file that is called like its address and says who has it. What host-local does besides, looking through all
//! files for one that the container has already, whoever calls this does by its own journal.

use crate::StoreError;
use nix::fcntl::OFlag;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};
use wasmhook_net_types::{Cidr, PoolConfig, Ranges};

/// Between the container's id and its interface's name.
const LINE_BREAK: &str = "\r\n";
const LOCK: &str = "lock";
const LAST_RESERVED: &str = "last_reserved_ip.";
/// More than an id and a name.
const LONGEST: u64 = 4 << 10;
const LOOK_EVERY: Duration = Duration::from_millis(1);
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_millis(20);

/// Who has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The container's id.
    pub id: String,
    /// Its interface's name.
    pub ifname: String,
}

/// A network's leases.
#[derive(Debug)]
pub struct Pool {
    directory: PathBuf,
}

/// A pool that nobody else changes meanwhile.
#[derive(Debug)]
pub struct LockedPool<'a> {
    directory: &'a Path,
    _lock: File,
}

/// An address that is free as long as the pool is locked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The file that will say who has it.
    pub file: PathBuf,
    /// As a link has it.
    pub address: Cidr,
    /// The way out of its network.
    pub gateway: IpAddr,
    set: usize,
}

impl Pool {
    /// That of a configuration. Touches nothing.
    #[must_use]
    pub fn of(config: &PoolConfig) -> Self {
        Self { directory: config.data_dir.join(&config.network) }
    }

    /// Waits for the lock, until then at most. Makes the directory if there is none.
    pub fn lock(&self, until: Instant) -> Result<LockedPool<'_>, StoreError> {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(&self.directory);
        made.map_err(StoreError::io("create", &self.directory))?;
        Ok(LockedPool { directory: &self.directory, _lock: lock(&self.directory, until)? })
    }

    /// The addresses that a container's interface has. Looks at all there are.
    pub fn held_by(&self, holder: &Holder) -> Result<Vec<IpAddr>, StoreError> {
        let held = leases(&self.directory)?.into_iter().filter(|(_, file)| is_held(file, holder));
        Ok(held.map(|(address, _)| address).collect())
    }

    /// Takes all of them back, as host-local does. Tells how many there were.
    pub fn release(&self, holder: &Holder, until: Instant) -> Result<usize, StoreError> {
        if !self.directory.is_dir() {
            return Ok(0);
        }
        let _lock = lock(&self.directory, until)?;
        let held: Vec<_> =
            leases(&self.directory)?.into_iter().filter(|(_, file)| is_held(file, holder)).collect();
        for (_, file) in &held {
            fs::remove_file(file).map_err(StoreError::io("remove", file))?;
        }
        Ok(held.len())
    }
}

impl LockedPool<'_> {
    /// The next address of this set that is free, or the one that is asked for.
    pub fn candidate(
        &self,
        set: usize,
        ranges: &Ranges,
        wanted: Option<IpAddr>,
    ) -> Result<Candidate, StoreError> {
        let candidate = |address: IpAddr| {
            let (address, gateway) = ranges.address(address)?;
            Some(Candidate { file: self.directory.join(address.address.to_string()), address, gateway, set })
        };
        let is_free = |candidate: &Candidate| fs::symlink_metadata(&candidate.file).is_err();
        if let Some(wanted) = wanted {
            let why = match candidate(wanted) {
                Some(_) if ranges.is_reserved(wanted) => "it is a gateway, or excluded",
                Some(candidate) if is_free(&candidate) => return Ok(candidate),
                Some(_) => "somebody has it",
                None => "it is in no range",
            };
            return Err(StoreError::Address { address: wanted, why });
        }
        let last = fs::read_to_string(self.directory.join(format!("{LAST_RESERVED}{set}")));
        // What cannot be read is as good as none.
        let last = last.ok().and_then(|text| text.trim().parse().ok());
        ranges.after(last).filter_map(candidate).find(is_free).ok_or_else(|| StoreError::Exhausted {
            ranges: ranges.words(),
            directory: self.directory.to_owned(),
        })
    }

    /// Gives it to somebody.
    pub fn take(&self, candidate: &Candidate, holder: &Holder) -> Result<(), StoreError> {
        let path = &candidate.file;
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let mut file = made.map_err(StoreError::io("create", path))?;
        if let Err(error) = file.write_all(words(holder).as_bytes()) {
            // Nobody's.
            let _ = fs::remove_file(path);
            return Err(StoreError::io("write", path)(error));
        }
        let last = self.directory.join(format!("{LAST_RESERVED}{}", candidate.set));
        let text = candidate.address.address.to_string();
        let noted = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&last);
        if let Err(error) = noted.and_then(|mut file| file.write_all(text.as_bytes())) {
            let _ = fs::remove_file(path);
            return Err(StoreError::io("write", last)(error));
        }
        Ok(())
    }
}

/// Takes an address back. Gone is done, and somebody else's is left alone. An empty file is nobody's: whoever has made it was
/// killed, under the lock, before it could say who has it.
pub fn give_back(file: &Path, holder: &Holder, until: Instant) -> Result<(), StoreError> {
    let Some(directory) = file.parent() else { return Ok(()) };
    if fs::symlink_metadata(file).is_err() {
        return Ok(());
    }
    let _lock = lock(directory, until)?;
    let is_empty = fs::symlink_metadata(file).is_ok_and(|it| it.is_file() && it.len() == 0);
    if !is_empty && !is_held(file, holder) {
        tracing::warn!("{} is not {}'s any more: left alone", file.display(), holder.id);
        return Ok(());
    }
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(StoreError::io("remove", file)(error)),
        _ => Ok(()),
    }
}

/// Everything in a directory that is called like an address.
fn leases(directory: &Path) -> Result<Vec<(IpAddr, PathBuf)>, StoreError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("read", directory)(error)),
    };
    let lease = |entry: io::Result<fs::DirEntry>| {
        let path = entry.ok()?.path();
        Some((path.file_name()?.to_str()?.parse().ok()?, path))
    };
    Ok(entries.filter_map(lease).collect())
}

fn words(holder: &Holder) -> String {
    format!("{}{LINE_BREAK}{}", holder.id.trim(), holder.ifname)
}

/// Old leases name no interface.
fn is_held(file: &Path, holder: &Holder) -> bool {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let mut text = String::new();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(file);
    let read = file.and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    read.is_ok() && (text.trim_end() == words(holder) || text.trim() == holder.id.trim())
}

fn lock(directory: &Path, until: Instant) -> Result<File, StoreError> {
    let path = directory.join(LOCK);
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o640).custom_flags(flags);
    let file = options.open(&path).map_err(StoreError::io("open", &path))?;
    let mut wait = LOOK_EVERY;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                sleep(wait);
                wait = (wait * 2).min(LOOK_AT_LEAST_EVERY);
            }
            Err(TryLockError::WouldBlock) => {
                let holder = holder_of(&file);
                return Err(StoreError::PoolBusy { path, holder });
            }
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", path)(error)),
        }
    }
}

/// Who has a file locked, in the kernel's list.
fn holder_of(file: &File) -> String {
    let Ok(metadata) = file.metadata() else { return String::new() };
    let inode = format!(":{}", metadata.ino());
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let pid = locks.lines().filter(|line| !line.contains("->")).find_map(|line| {
        let mut words = line.split_whitespace().skip(4);
        let pid = words.next()?;
        words.next()?.ends_with(&inode).then(|| pid.to_owned())
    });
    let Some(pid) = pid else { return String::new() };
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!(", by process {pid} ({})", name.trim())
}
