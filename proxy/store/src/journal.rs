//! What an ADD did, written down before it does it, so that whoever comes later can take it back.
//!
//! One file per attachment and entry, JSON lines, each appended with one write. Its lock is held by whoever works on the
//! attachment, and by the plugins that were started meanwhile: as long as one of them lives, the file is locked.

use crate::{Digest, Namespace, State, StoreError};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

/// Journals of another format are left alone.
const FORMAT: u32 = 1;
/// How long a call waits to forget what hooks remember of its attachment.
const FORGET_WITHIN: Duration = Duration::from_secs(2);
/// More lines than this are not lost in one journal: it is somebody else's number.
const LOST: usize = 10_000;
/// How often somebody who waits for a lock looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// One entry's part in one attachment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    /// The network's name.
    pub network: String,
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_IFNAME`.
    pub ifname: String,
    /// Which of our entries in the network's list: its `id`, or `ipam`.
    pub entry: String,
}

impl Key {
    /// Ids may hold every separator and be of any length, so the name is a digest: 64 hexadecimal digits.
    #[must_use]
    pub fn file_name(&self) -> String {
        let words = [&self.network, &self.container_id, &self.ifname, &self.entry];
        Digest::of(words.map(String::as_str).join("\0").as_bytes()).to_string()
    }
}

/// How an ADD began.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Begin {
    format: u32,
    /// The kernel's boot id: after a reboot nothing in a kernel is what it was.
    pub boot: String,
    /// The attachment and entry.
    #[serde(flatten)]
    pub key: Key,
    /// Milliseconds since 1970.
    pub began: u64,
    /// `CNI_NETNS`.
    pub netns_path: String,
    /// The namespace behind it; absent when it led nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<Namespace>,
    /// `CNI_ARGS`.
    pub args: String,
    /// `CNI_PATH`.
    pub path: String,
    /// The names of the hooks that were selected.
    pub hooks: Vec<String>,
}

impl Begin {
    /// An ADD that begins now, on this boot of the machine.
    #[must_use]
    pub fn now(key: Key, netns_path: &str, args: &str, path: &str, hooks: Vec<String>) -> Self {
        Self {
            format: FORMAT,
            boot: boot_id(),
            key,
            began: milliseconds(SystemTime::now()),
            netns_path: netns_path.into(),
            netns: Namespace::at(netns_path),
            args: args.into(),
            path: path.into(),
            hooks,
        }
    }

    /// Was that before the machine booted last?
    #[must_use]
    pub fn before_boot(&self) -> bool {
        self.boot != boot_id()
    }

    /// Is the namespace at ADD's path the very one, and not just one that looks the same?
    #[must_use]
    pub fn namespace_is_certain(&self) -> bool {
        self.netns.is_some_and(|netns| netns.id.is_some()) && !self.namespace_is_gone()
    }

    /// Is the container's namespace no longer where ADD found it?
    #[must_use]
    pub fn namespace_is_gone(&self) -> bool {
        self.before_boot() || self.netns.is_none() || self.netns != Namespace::at(&self.netns_path)
    }
}

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Record {
    /// The first.
    Begin(Begin),
    /// This delegate is about to be run.
    Delegate {
        /// Its place among the entry's delegates.
        step: usize,
        /// Its type.
        plugin: String,
        /// The file that is run.
        path: PathBuf,
        /// The effective configuration, without `prevResult`.
        config: Box<RawValue>,
    },
    /// What the delegate answered.
    Made {
        /// Its place.
        step: usize,
        /// Its own result.
        result: Box<RawValue>,
    },
    /// What hooks made of it, where that is something else.
    Said {
        /// Its place.
        step: usize,
        /// The result after the hooks.
        result: Box<RawValue>,
    },
    /// A hook answered in the delegate's place, or recovered from its failure.
    Replaced {
        /// Its place.
        step: usize,
    },
    /// Hooks are about to remember something of this attachment.
    State,
    /// A host function is about to do something.
    Effect {
        /// Counted from 0. The same number again: it is taken back like this instead.
        effect: usize,
        /// How to take it back. What it means, the host's functions know.
        undo: Box<RawValue>,
    },
    /// It was not done after all, or has been taken back.
    Undone {
        /// Which.
        effect: usize,
    },
    /// The kernel has not answered in time: it may have been done, and may still be.
    Unknown {
        /// Which.
        effect: usize,
    },
    /// The delegate's DEL went well.
    Deleted {
        /// Its place.
        step: usize,
    },
    /// ADD is done; this is what it handed out.
    Finished {
        /// The result.
        result: Box<RawValue>,
    },
    /// A DEL could not wait for the ADD any longer: it shall undo itself.
    Abandoned,
}

/// What a journal tells.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// How it began; `None`: it did not, nothing was done.
    pub begin: Option<Begin>,
    /// One per delegate that a record speaks of, by its place.
    pub steps: Vec<Step>,
    /// What a finished ADD handed out.
    pub finished: Option<Box<RawValue>>,
    /// Do hooks remember something of the attachment, which goes with it?
    pub has_state: bool,
    /// What host functions have done, in that order.
    pub effects: Vec<Effect>,
    /// Has a DEL given up waiting?
    pub abandoned: bool,
}

/// A delegate's part in an ADD.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Started, with what: type, file and configuration.
    pub started: Option<Started>,
    /// Its own result.
    pub made: Option<Box<RawValue>>,
    /// The result after the hooks, where they changed it.
    pub said: Option<Box<RawValue>>,
    /// Did a hook take its place?
    pub replaced: bool,
    /// Has its DEL been done?
    pub deleted: bool,
}

/// Something that a host function has done, or was about to.
#[derive(Clone, Debug)]
pub struct Effect {
    /// How to take it back.
    pub undo: Box<RawValue>,
    /// How many delegates, counted by their places, had been started before it.
    pub after: usize,
    /// Is it unknown whether it was done?
    pub unknown: bool,
    /// Must it not be taken back any more?
    pub undone: bool,
}

/// With what a delegate was started.
#[derive(Clone, Debug)]
pub struct Started {
    /// Its type.
    pub plugin: String,
    /// The file that was run.
    pub path: PathBuf,
    /// The effective configuration, without `prevResult`.
    pub config: Box<RawValue>,
}

impl Step {
    /// Must its DEL still be done?
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.started.is_some() && !self.deleted
    }
}

impl Story {
    fn tell(&mut self, record: Record) {
        match record {
            Record::Begin(begin) => self.begin = Some(begin),
            Record::Delegate { step, plugin, path, config } => {
                self.step(step).started = Some(Started { plugin, path, config });
            }
            Record::Made { step, result } => self.step(step).made = Some(result),
            Record::Said { step, result } => self.step(step).said = Some(result),
            Record::Replaced { step } => self.step(step).replaced = true,
            Record::Deleted { step } => self.step(step).deleted = true,
            Record::State => self.has_state = true,
            Record::Effect { effect, undo } => {
                let after = self.steps.iter().rposition(|step| step.started.is_some()).map_or(0, |it| it + 1);
                if let Some(known) = self.effects.get_mut(effect) {
                    known.undo = undo;
                    return;
                }
                // Its number is its place, but for lines that a full disk has swallowed.
                let gone = || Effect { undo: RawValue::NULL.to_owned(), after, unknown: false, undone: true };
                if effect > self.effects.len() + LOST {
                    return;
                }
                self.effects.resize_with(effect, gone);
                self.effects.push(Effect { undo, after, unknown: false, undone: false });
            }
            Record::Undone { effect } => {
                if let Some(effect) = self.effects.get_mut(effect) {
                    effect.undone = true;
                }
            }
            Record::Unknown { effect } => {
                if let Some(effect) = self.effects.get_mut(effect) {
                    effect.unknown = true;
                }
            }
            Record::Finished { result } => self.finished = Some(result),
            Record::Abandoned => self.abandoned = true,
        }
    }

    fn step(&mut self, index: usize) -> &mut Step {
        if self.steps.len() <= index {
            self.steps.resize_with(index + 1, Step::default);
        }
        &mut self.steps[index]
    }

    /// From the lines of a file. The last one may be cut short by the death of its writer: what it was to announce did
    /// not happen.
    fn read(text: &str) -> Result<Self, String> {
        let mut story = Self::default();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for (number, line) in (1..).zip(whole.lines()) {
            // A power cut or a full disk can leave zeros, or half a line: what it was to announce did not happen.
            let line = line.trim_matches('\0').trim();
            if let Err(error) = serde_json::from_str::<IgnoredAny>(line) {
                if story.begin.is_none() && !line.is_empty() {
                    return Err(format!("line {number}: {error}"));
                }
                continue;
            }
            let record: Record =
                serde_json::from_str(line).map_err(|error| format!("line {number}: {error}"))?;
            if let Record::Begin(begin) = &record
                && begin.format != FORMAT
            {
                return Err(format!("format {}, and this build knows {FORMAT}", begin.format));
            }
            story.tell(record);
        }
        Ok(story)
    }
}

/// The journals of a node.
#[derive(Clone, Debug)]
pub struct Journals {
    directory: PathBuf,
}

/// What came of waiting for a journal's lock.
#[derive(Debug)]
pub enum Access {
    /// The lock is ours.
    Ours(Journal),
    /// Somebody still works on the attachment.
    Busy(Busy),
    /// It was there, and whoever had locked it has removed it: what it told is undone.
    Removed(Box<Story>),
}

/// A journal that somebody else has locked.
#[derive(Debug)]
pub struct Busy {
    /// What it told when we gave up.
    pub story: Story,
    file: File,
    path: PathBuf,
}

impl Busy {
    /// Tells the ADD that holds it to undo itself, and what it had done by then. It looks for this after each line of
    /// its own, so one of the two sees the other.
    #[must_use]
    pub fn abandon(mut self) -> Story {
        // After half a line, should there be one.
        let told = self.file.write_all(b"\n").and_then(|()| append(&mut self.file, &[Record::Abandoned]));
        if let Err(error) = told.and(self.file.seek(SeekFrom::Start(0))) {
            tracing::error!("journal {}: {error}", self.path.display());
            return self.story;
        }
        read_all(&mut self.file, &self.path).map_or(self.story, |(_, story)| story)
    }
}

/// A journal, locked by us. The lock ends with the last process that has it open.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    length: u64,
    story: Story,
}

impl Journals {
    /// Below the node's state directory. Touches nothing.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self { directory: state.join("journal") }
    }

    /// Where they are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The attachment's journal, made if there is none. Waits for its lock.
    pub fn create(&self, key: &Key, wait: Duration) -> Result<Access, StoreError> {
        let path = self.directory.join(key.file_name());
        let open = || OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&path);
        let until = Instant::now() + wait;
        loop {
            let file = match open() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
                    made.map_err(StoreError::io("create", &self.directory))?;
                    open()
                }
                opened => opened,
            };
            let file = file.map_err(StoreError::io("open", &path))?;
            match lock(file, path.clone(), until)? {
                Access::Removed(_) => {}
                access => return Ok(access),
            }
        }
    }

    /// The attachment's journal, if there is one. Waits for its lock.
    pub fn open(&self, key: &Key, wait: Duration) -> Result<Option<Access>, StoreError> {
        self.open_file(&self.directory.join(key.file_name()), wait)
    }

    /// What the attachment's journal tells, without its lock.
    pub fn read(&self, key: &Key) -> Result<Option<Story>, StoreError> {
        let path = self.directory.join(key.file_name());
        match fs::read(&path) {
            Ok(bytes) => story(&path, &bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("read", path)(error)),
        }
    }

    /// The files of all journals.
    pub fn files(&self) -> Result<Vec<PathBuf>, StoreError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(StoreError::io("read", &self.directory)(error)),
        };
        let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.sort();
        Ok(files)
    }

    /// One of [`files`](Self::files), if it is still there. Waits for its lock.
    pub fn open_file(&self, path: &Path, wait: Duration) -> Result<Option<Access>, StoreError> {
        let until = Instant::now() + wait;
        let mut removed = None;
        loop {
            let file = match OpenOptions::new().read(true).append(true).open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(removed.map(Access::Removed));
                }
                Err(error) => return Err(StoreError::io("open", path)(error)),
            };
            match lock(file, path.to_owned(), until)? {
                Access::Removed(story) => removed = Some(story),
                access => return Ok(Some(access)),
            }
        }
    }
}

fn lock(mut file: File, path: PathBuf, until: Instant) -> Result<Access, StoreError> {
    loop {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if Instant::now() < until => sleep(LOOK_EVERY),
            Err(TryLockError::WouldBlock) => {
                let story = read_all(&mut file, &path)?.1;
                return Ok(Access::Busy(Busy { story, file, path }));
            }
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", path)(error)),
        }
    }
    let same = |now: &fs::Metadata| {
        file.metadata().is_ok_and(|ours| (ours.dev(), ours.ino()) == (now.dev(), now.ino()))
    };
    let is_there = fs::metadata(&path).is_ok_and(|now| same(&now));
    let (bytes, story) = read_all(&mut file, &path)?;
    if !is_there {
        return Ok(Access::Removed(Box::new(story)));
    }
    let length = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if length < bytes.len() {
        // What follows must not be appended to half a line.
        file.set_len(length as u64).map_err(StoreError::io("truncate", &path))?;
    }
    Ok(Access::Ours(Journal { file, path, length: length as u64, story }))
}

fn read_all(file: &mut File, path: &Path) -> Result<(Vec<u8>, Story), StoreError> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(StoreError::io("read", path))?;
    let story = story(path, &bytes)?;
    Ok((bytes, story))
}

fn story(path: &Path, bytes: &[u8]) -> Result<Story, StoreError> {
    Story::read(&String::from_utf8_lossy(bytes))
        .map_err(|why| StoreError::Journal { path: path.to_owned(), why })
}

impl Journal {
    /// What it tells.
    #[must_use]
    pub fn story(&self) -> &Story {
        &self.story
    }

    /// For plugins to inherit: the lock lives as long as they do.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Adds records, with one write. What could not be written is in [`story`](Self::story) all the same: it may
    /// have happened, and must be undone.
    pub fn write(&mut self, records: Vec<Record>) -> Result<(), StoreError> {
        let written = append(&mut self.file, &records);
        if written.is_err() {
            // Half a line must not spoil what follows; the disk may be full for a moment only.
            let _ = self.file.set_len(self.length);
        }
        for record in records {
            self.story.tell(record);
        }
        self.length += written.map_err(StoreError::io("write", &self.path))?;
        Ok(())
    }

    /// Has a DEL given up waiting for us? It can write without the lock.
    #[must_use]
    pub fn is_abandoned(&self) -> bool {
        self.file.metadata().is_ok_and(|now| now.len() != self.length)
    }

    /// All is undone: nothing is left to tell.
    pub fn remove(self) -> Result<(), StoreError> {
        self.forget_state();
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", &self.path)(error))
            }
            _ => Ok(()),
        }
    }

    /// What hooks remember of the attachment goes before the line that tells of it. A DEL does not fail for that: what
    /// could not be forgotten now, the next GC finds ([`State::sweep`]).
    fn forget_state(&self) {
        let (true, Some(begin)) = (self.story.has_state, &self.story.begin) else { return };
        let state = self.path.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
        if let Err(error) = State::new(state, 0).forget(&begin.key, Instant::now() + FORGET_WITHIN) {
            tracing::error!("{error}");
        }
    }

    /// Begins anew, for another ADD of the same attachment.
    pub fn clear(&mut self) -> Result<(), StoreError> {
        self.forget_state();
        self.file.set_len(0).map_err(StoreError::io("truncate", &self.path))?;
        (self.length, self.story) = (0, Story::default());
        Ok(())
    }
}

/// All or nothing as far as a reader can tell: one write, and half a line is not read.
fn append(file: &mut File, records: &[Record]) -> io::Result<u64> {
    let mut lines = Vec::with_capacity(1024);
    for record in records {
        let begin = lines.len();
        serde_json::to_writer(&mut lines, record)?;
        // What plugins print is kept as it is, line breaks too. In JSON those stand between values only.
        for byte in &mut lines[begin..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
        lines.push(b'\n');
    }
    file.write_all(&lines)?;
    Ok(lines.len() as u64)
}

/// Changes with every boot; `""` where the kernel does not tell.
#[must_use]
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key { network: "n".into(), container_id: "c".into(), ifname: "eth0".into(), entry: "main".into() }
    }

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.into()).unwrap()
    }

    fn begin() -> Record {
        Record::Begin(Begin::now(key(), "/proc/self/ns/net", "A=1", "/opt/cni/bin", vec!["mtu".into()]))
    }

    fn delegate(step: usize) -> Record {
        let config = raw(r#"{"type":"bridge","big":12345678901234567890123,"x":1.50}"#);
        Record::Delegate { step, plugin: "bridge".into(), path: "/opt/cni/bin/bridge".into(), config }
    }

    fn ours(access: Access) -> Journal {
        match access {
            Access::Ours(journal) => journal,
            access => panic!("{access:?}"),
        }
    }

    fn place() -> (tempfile::TempDir, Journals) {
        let state = tempfile::tempdir().unwrap();
        let journals = Journals::new(state.path());
        (state, journals)
    }

    #[test]
    fn what_was_written_is_told_again_byte_for_byte() {
        let (_state, journals) = place();
        let mut journal = ours(journals.create(&key(), Duration::ZERO).unwrap());
        journal.write(vec![begin(), delegate(0)]).unwrap();
        journal.write(vec![Record::Made { step: 0, result: raw("{\n  \"ips\":\r\n[]}") }]).unwrap();
        journal.write(vec![delegate(1), Record::Deleted { step: 1 }, Record::Replaced { step: 1 }]).unwrap();
        drop(journal);
        let story = journals.read(&key()).unwrap().unwrap();
        assert_eq!(story.steps.len(), 2);
        let started = story.steps[0].started.as_ref().unwrap();
        assert_eq!(started.config.get(), r#"{"type":"bridge","big":12345678901234567890123,"x":1.50}"#);
        assert_eq!(story.steps[0].made.as_ref().unwrap().get(), "{   \"ips\":  []}");
        assert!(story.steps[0].is_held() && !story.steps[1].is_held() && story.finished.is_none());
        let begin = story.begin.unwrap();
        assert_eq!((begin.key.clone(), begin.before_boot()), (key(), false));
        assert!(!begin.namespace_is_gone());
        assert_eq!(fs::metadata(journals.directory()).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn every_prefix_of_a_journal_tells_a_prefix_of_the_story() {
        let mut bytes = Vec::new();
        for record in [begin(), delegate(0), Record::Finished { result: raw("{}") }] {
            serde_json::to_writer(&mut bytes, &record).unwrap();
            bytes.push(b'\n');
        }
        let text = String::from_utf8(bytes).unwrap();
        for length in 0..=text.len() {
            let story = Story::read(&text[..length]).unwrap();
            let lines = text[..length].matches('\n').count();
            let told = [story.begin.is_some(), !story.steps.is_empty(), story.finished.is_some()];
            assert_eq!(told.into_iter().filter(|it| *it).count(), lines, "{length} bytes");
        }
        // A power cut.
        assert!(Story::read(&format!("{text}\0\0\0\0\n")).unwrap().finished.is_some());
    }

    #[test]
    fn a_torn_line_is_taken_off_before_anything_follows_it() {
        let (_state, journals) = place();
        let mut journal = ours(journals.create(&key(), Duration::ZERO).unwrap());
        journal.write(vec![begin()]).unwrap();
        let path = journals.files().unwrap().remove(0);
        drop(journal);
        OpenOptions::new().append(true).open(&path).unwrap().write_all(br#"{"delegate":{"st"#).unwrap();
        let mut journal = ours(journals.open(&key(), Duration::ZERO).unwrap().unwrap());
        journal.write(vec![delegate(0)]).unwrap();
        assert!(!journal.is_abandoned());
        drop(journal);
        assert_eq!(journals.read(&key()).unwrap().unwrap().steps.len(), 1);
    }

    #[test]
    fn the_lock_lasts_as_long_as_anybody_who_inherited_it() {
        let (_state, journals) = place();
        let journal = ours(journals.create(&key(), Duration::ZERO).unwrap());
        let inherited = journal.file().try_clone().unwrap();
        drop(journal);
        assert!(matches!(journals.create(&key(), Duration::ZERO).unwrap(), Access::Busy(_)));
        drop(inherited);
        ours(journals.create(&key(), Duration::ZERO).unwrap());
    }

    #[test]
    fn a_journal_that_was_removed_meanwhile_is_not_taken_for_the_new_one() {
        let (_state, journals) = place();
        let mut first = ours(journals.create(&key(), Duration::ZERO).unwrap());
        first.write(vec![begin()]).unwrap();
        let other = journals.clone();
        let waiting = std::thread::spawn(move || other.create(&key(), Duration::from_secs(5)).unwrap());
        sleep(Duration::from_millis(20));
        first.remove().unwrap();
        let mut second = ours(waiting.join().unwrap());
        assert!(second.story().begin.is_none());
        second.write(vec![begin()]).unwrap();
        assert!(journals.read(&key()).unwrap().unwrap().begin.is_some());
        let other = journals.clone();
        let waiting = std::thread::spawn(move || other.open(&key(), Duration::from_secs(5)).unwrap());
        sleep(Duration::from_millis(20));
        second.remove().unwrap();
        assert!(matches!(waiting.join().unwrap(), Some(Access::Removed(_))));
        assert!(journals.open(&key(), Duration::ZERO).unwrap().is_none());
    }

    #[test]
    fn a_del_that_gave_up_waiting_is_heard() {
        let (_state, journals) = place();
        let mut journal = ours(journals.create(&key(), Duration::ZERO).unwrap());
        journal.write(vec![begin(), delegate(0)]).unwrap();
        assert!(!journal.is_abandoned());
        let Some(Access::Busy(busy)) = journals.open(&key(), Duration::ZERO).unwrap() else { panic!() };
        assert_eq!(busy.story.steps.len(), 1);
        assert_eq!(busy.abandon().steps.len(), 1);
        assert!(journal.is_abandoned());
        assert!(journals.read(&key()).unwrap().unwrap().abandoned);
    }

    #[test]
    fn what_host_functions_did_is_told_with_its_place_among_the_delegates() {
        let (_state, journals) = place();
        let mut journal = ours(journals.create(&key(), Duration::ZERO).unwrap());
        let effect = |effect| Record::Effect { effect, undo: raw(&format!("{{\"number\":{effect}}}")) };
        journal.write(vec![begin(), effect(0), delegate(0), effect(1), effect(2)]).unwrap();
        journal.write(vec![Record::Undone { effect: 1 }, Record::Unknown { effect: 2 }]).unwrap();
        // One line was lost.
        journal.write(vec![effect(4)]).unwrap();
        drop(journal);
        let effects = journals.read(&key()).unwrap().unwrap().effects;
        let told = effects.iter().map(|it| (it.after, it.unknown, it.undone)).collect::<Vec<_>>();
        assert_eq!(
            told,
            [(0, false, false), (1, false, true), (1, true, false), (1, false, true), (1, false, false)]
        );
        assert_eq!(effects[4].undo.get(), "{\"number\":4}");
    }

    #[test]
    fn separators_in_ids_do_not_make_two_attachments_one() {
        let one = Key { container_id: "c".into(), ifname: "a-b".into(), ..key() };
        let other = Key { container_id: "c-a".into(), ifname: "b".into(), ..key() };
        assert_ne!(one.file_name(), other.file_name());
        assert!(Key { container_id: "x".repeat(10_000), ..key() }.file_name().len() == 64);
    }

    #[test]
    fn another_format_is_named() {
        let text = serde_json::to_string(&begin()).unwrap().replace("\"format\":1", "\"format\":2") + "\n";
        assert_eq!(Story::read(&text).unwrap_err(), "format 2, and this build knows 1");
    }
}
