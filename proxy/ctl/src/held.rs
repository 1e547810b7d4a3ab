//! What the journals of a node hold, as `attachments` lists it and `gc` judges it.

use crate::Failure;
use crate::output::with_causes;
use serde::{Serialize, Serializer};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use wasmhook_plugin::effects;
use wasmhook_plugin::settings::Settings;
use wasmhook_store::{Access, Begin, Journals, Key, Namespace, Step, StoreError, Story};

/// Longer than anybody reads a journal, and shorter than a plugin runs: who only looks is not busy.
const GLANCE: Duration = Duration::from_millis(20);

/// Everything that is held on a node.
pub(crate) struct Held {
    /// Where journals are.
    pub(crate) directory: PathBuf,
    /// The oldest first.
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) unreadable: Vec<Unreadable>,
    /// Journals that nobody has locked and that tell nothing: an ADD was killed before it did anything, or the power
    /// went.
    pub(crate) empty: Vec<PathBuf>,
}

/// One entry's part in one attachment.
#[derive(Serialize)]
#[allow(clippy::struct_excessive_bools, reason = "a report: each answers a question of its own")]
pub(crate) struct Attachment {
    #[serde(flatten, serialize_with = "key")]
    pub(crate) key: Key,
    pub(crate) state: State,
    /// Is somebody at work on it?
    pub(crate) busy: bool,
    /// Did its ADD come to its end?
    pub(crate) finished: bool,
    /// Is the namespace that ADD had no longer at its path, or of an earlier boot?
    pub(crate) namespace_gone: bool,
    pub(crate) earlier_boot: bool,
    #[serde(serialize_with = "date")]
    pub(crate) since: u64,
    #[serde(rename = "since_ms")]
    pub(crate) since_milliseconds: u64,
    #[serde(skip)]
    pub(crate) age: Duration,
    netns: String,
    namespace: Option<Namespace>,
    args: String,
    cni_path: String,
    pub(crate) hooks: Vec<String>,
    pub(crate) delegates: Vec<Delegate>,
    /// What hooks have made, a line for each thing.
    pub(crate) effects: Vec<String>,
    /// The same in a word each.
    #[serde(skip)]
    kinds: Vec<&'static str>,
    pub(crate) journal: PathBuf,
}

#[derive(Serialize)]
pub(crate) struct Delegate {
    #[serde(rename = "type")]
    plugin: Option<String>,
    path: Option<PathBuf>,
    /// Must its DEL still be done?
    held: bool,
    /// Has its DEL been done?
    deleted: bool,
    /// Did a hook take its place?
    replaced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Busy,
    Orphaned,
    Unfinished,
    Attached,
}

#[derive(Serialize)]
pub(crate) struct Unreadable {
    pub(crate) journal: PathBuf,
    why: String,
}

impl Held {
    /// Reads all journals. Each is locked while it is read, which a call that comes just then waits for.
    pub(crate) fn on(settings: &Settings) -> Result<Self, Failure> {
        let journals = Journals::new(&settings.state);
        let (mut attachments, mut unreadable, mut empty) = (Vec::new(), Vec::new(), Vec::new());
        for file in journals.files()? {
            match journals.open_file(&file, GLANCE) {
                Ok(None | Some(Access::Removed(_))) => {}
                Ok(Some(Access::Ours(journal))) => match Attachment::of(&file, journal.story(), false) {
                    Some(attachment) => attachments.push(attachment),
                    None => empty.push(file),
                },
                Ok(Some(Access::Busy(busy))) => attachments.extend(Attachment::of(&file, &busy.story, true)),
                Err(error) => unreadable.push(Unreadable::new(file, &error)),
            }
        }
        attachments.sort_by_key(|it| it.since);
        Ok(Self { directory: journals.directory().to_owned(), attachments, unreadable, empty })
    }
}

impl Attachment {
    /// `None`: nothing has begun.
    pub(crate) fn of(journal: &Path, story: &Story, busy: bool) -> Option<Self> {
        let begin = story.begin.as_ref()?;
        let finished = story.finished.is_some();
        let (kinds, effects) = effects(story).into_iter().unzip();
        Some(Self {
            key: begin.key.clone(),
            state: state(begin, finished, busy),
            busy,
            finished,
            namespace_gone: begin.namespace_is_gone(),
            earlier_boot: begin.before_boot(),
            since: begin.began,
            since_milliseconds: begin.began,
            age: SystemTime::now().duration_since(time(begin.began)).unwrap_or_default(),
            netns: begin.netns_path.clone(),
            namespace: begin.netns,
            args: begin.args.clone(),
            cni_path: begin.path.clone(),
            hooks: begin.hooks.clone(),
            delegates: story.steps.iter().map(Delegate::of).collect(),
            effects,
            kinds,
            journal: journal.to_owned(),
        })
    }

    /// As docker shortens them.
    pub(crate) fn short_id(&self) -> String {
        self.key.container_id.chars().take(12).collect()
    }

    /// The types of the delegates whose DEL is still to be done, and what hooks have made.
    pub(crate) fn held_by(&self) -> Vec<&str> {
        let delegates = self.delegates.iter().filter(|it| it.held).filter_map(|it| it.plugin.as_deref());
        let mut held: Vec<_> = delegates.collect();
        for kind in &self.kinds {
            if !held.contains(kind) {
                held.push(kind);
            }
        }
        held
    }
}

impl Delegate {
    fn of(step: &Step) -> Self {
        let started = step.started.as_ref();
        Self {
            plugin: started.map(|it| it.plugin.clone()),
            path: started.map(|it| it.path.clone()),
            held: step.is_held(),
            deleted: step.deleted,
            replaced: step.replaced,
        }
    }
}

impl Unreadable {
    pub(crate) fn new(journal: PathBuf, error: &StoreError) -> Self {
        Self { journal, why: with_causes(error) }
    }

    /// For a person.
    pub(crate) fn advice(&self) -> String {
        format!("{}; left alone: look at it, undo by hand what it tells, then remove it", self.why)
    }
}

fn state(begin: &Begin, finished: bool, busy: bool) -> State {
    match () {
        () if busy => State::Busy,
        () if begin.namespace_is_gone() => State::Orphaned,
        () if !finished => State::Unfinished,
        () => State::Attached,
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "busy",
            Self::Orphaned => "orphaned",
            Self::Unfinished => "unfinished",
            Self::Attached => "attached",
        })
    }
}

fn time(milliseconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(milliseconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's way")]
fn date<S: Serializer>(milliseconds: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&humantime::format_rfc3339_millis(time(*milliseconds)))
}

/// Our reports write their own keys with `_`, whatever journals do.
fn key<S: Serializer>(key: &Key, to: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Words<'a> {
        network: &'a str,
        container_id: &'a str,
        ifname: &'a str,
        entry: &'a str,
    }
    let Key { network, container_id, ifname, entry } = key;
    Words { network, container_id, ifname, entry }.serialize(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(netns: &str, boot: Option<&str>) -> Begin {
        let key = Key {
            network: "n".into(),
            container_id: "c".into(),
            ifname: "eth0".into(),
            entry: "main".into(),
        };
        let mut begin = Begin::now(key, netns, "", "", vec!["mtu".into()]);
        begin.boot = boot.map_or(begin.boot, str::to_owned);
        begin
    }

    #[test]
    fn being_gone_says_more_than_being_unfinished() {
        let here = begin("/proc/self/ns/net", None);
        assert_eq!(state(&here, true, false), State::Attached);
        assert_eq!(state(&here, false, false), State::Unfinished);
        assert_eq!(state(&here, false, true), State::Busy);
        assert_eq!(state(&begin("/nowhere", None), false, false), State::Orphaned);
        assert_eq!(state(&begin("/proc/self/ns/net", Some("another")), true, false), State::Orphaned);
    }

    #[test]
    fn a_report_tells_everything_in_one_spelling() {
        let mut begin = begin("/nowhere", None);
        begin.began = 1_700_000_000_123;
        let story = Story { begin: Some(begin), ..Story::default() };
        let attachment = Attachment::of(Path::new("/j"), &story, false).unwrap();
        let report = serde_json::to_value(attachment).unwrap();
        assert_eq!(
            report,
            serde_json::json!({
                "network": "n", "container_id": "c", "ifname": "eth0", "entry": "main",
                "state": "orphaned", "busy": false, "finished": false, "namespace_gone": true, "earlier_boot": false,
                "since": "2023-11-14T22:13:20.123Z", "since_ms": 1_700_000_000_123_u64, "netns": "/nowhere",
                "namespace": null,
                "args": "", "cni_path": "", "hooks": ["mtu"], "delegates": [], "effects": [], "journal": "/j",
            })
        );
        assert!(Attachment::of(Path::new("/j"), &Story::default(), false).is_none());
    }
}
