//! Taking back what a journal holds, for whoever does it: the ADD itself, another ADD, DEL, GC, a person.

use crate::call::Means;
use crate::delegate::{Delegate, DelegateError, Run};
use crate::error::Error;
use crate::recording::{joined, recordings};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};
use wasmhook_cni::{Object, Verb};
use wasmhook_host::{Reach, Undo};
use wasmhook_net_types::Place;
use wasmhook_store::{
    Access, Begin, Effect, Holder, Journal, Journals, Namespace, Record, StoreError, Story, give_back,
};

/// Everything that a journal holds, strictly backwards, and without hooks. All of it but `stuck` is tried; the first error
/// is told.
pub(crate) fn undo(means: &Means<'_>, journal: &mut Journal, stuck: Option<usize>) -> Result<(), Error> {
    let Some(begin) = journal.story().begin.clone() else { return Ok(()) };
    let netns = if begin.namespace_is_gone() { String::new() } else { begin.netns_path.clone() };
    let overrides = vec![
        ("CNI_CONTAINERID", begin.key.container_id.clone()),
        ("CNI_IFNAME", begin.key.ifname.clone()),
        ("CNI_NETNS", netns),
        ("CNI_ARGS", begin.args.clone()),
        ("CNI_PATH", joined(&begin.path, means.path)),
    ];
    let mut failed = None;
    for delegate in recordings(journal.story(), means.path, &overrides).iter().rev() {
        if let Err(error) = undo_effects_by(means, journal, delegate.step + 1, &overrides) {
            failed.get_or_insert(error);
        }
        if !delegate.is_held || stuck == Some(delegate.step) {
            continue;
        }
        let deleted = match &delegate.found {
            Err(error) => Err(DelegateError::Missing(error.clone()).into()),
            Ok(plugin) => {
                tracing::info!(
                    container_id = begin.key.container_id,
                    delegate = plugin.plugin_type,
                    "undoing: DEL"
                );
                let run = Run {
                    verb: Verb::Del,
                    config: &delegate.config,
                    prev_result: delegate.prev_result.as_deref(),
                    until: means.undo_until(),
                    keep: Some(journal.file().as_fd()),
                    overrides: &delegate.overrides,
                };
                plugin.run(&run, &means.around).map_err(Error::from)
            }
        };
        match deleted {
            Ok(_) => note_deleted(journal, delegate.step),
            Err(error) => {
                failed.get_or_insert(error);
            }
        }
    }
    if let Err(error) = undo_effects_by(means, journal, 0, &overrides) {
        failed.get_or_insert(error);
    }
    failed.map_or(Ok(()), Err)
}

/// How to take an effect back, as the journal has it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Written {
    undo: Undo,
    /// Our own namespace then, where the effect is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<Namespace>,
}

impl Written {
    pub(crate) fn now(undo: &Undo) -> Self {
        let is_here = undo.place() == Some(Place::Host);
        Self { undo: undo.clone(), host: is_here.then(our_namespace).flatten() }
    }

    pub(crate) fn to_raw(&self) -> Box<RawValue> {
        // Always JSON.
        serde_json::value::to_raw_value(self).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }

    pub(crate) fn read(text: &RawValue) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text.get())
    }

    pub(crate) fn undo(&self) -> &Undo {
        &self.undo
    }

    fn is_elsewhere(&self) -> bool {
        self.host.is_some() && self.host != our_namespace()
    }
}

fn our_namespace() -> Option<Namespace> {
    Namespace::at("/proc/thread-self/ns/net")
}

/// What hooks have made for an attachment, and what must still be taken back of it: a word, and a line. What this build does not
/// know is told as such.
#[must_use]
pub fn effects(story: &Story) -> Vec<(&'static str, String)> {
    let told = |effect: &Effect| match Written::read(&effect.undo) {
        Ok(written) => (written.undo.what(), written.undo.words()),
        Err(error) => ("unknown", format!("what this build does not know: {error}")),
    };
    story.effects.iter().filter(|effect| !effect.undone).map(told).collect()
}

/// What host functions did after so many delegates had been started, the last thing first; plugins' DEL by `del`. All of
/// it is tried; the first error is told. `netns` is the container's namespace now, if that is not ADD's path.
pub(crate) fn undo_effects(
    journal: &mut Journal,
    after: usize,
    netns: Option<&str>,
    until: Instant,
    del: &mut dyn FnMut(&str, &Path, &Object) -> Result<(), String>,
) -> Result<(), Error> {
    let held = |(_, effect): &(usize, &Effect)| !effect.undone && effect.after >= after;
    let effects: Vec<_> = journal
        .story()
        .effects
        .iter()
        .enumerate()
        .filter(held)
        .map(|(number, effect)| (number, effect.undo.clone()))
        .collect();
    let Some(begin) = journal.story().begin.clone().filter(|_| !effects.is_empty()) else { return Ok(()) };
    let mut reach = container_of(&begin, netns);
    let mut failed = None;
    for (number, undo) in effects.into_iter().rev() {
        let undone = Written::read(&undo)
            .map_err(|error| format!("what this build does not know: {error}"))
            .and_then(|written| take_back(&begin, &written, &mut reach, until, del));
        match undone {
            Ok(()) => note(journal, Record::Undone { effect: number }),
            Err(why) => {
                failed.get_or_insert(Error::Effect(why));
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// The networks that an attachment is in. Without its namespace, what was in there is gone.
fn container_of(begin: &Begin, netns: Option<&str>) -> Reach {
    let path = netns.unwrap_or(&begin.netns_path);
    match begin.netns {
        Some(is) if !begin.before_boot() && !path.is_empty() => Reach::kernel_if(path, is),
        _ => Reach::kernel(""),
    }
}

fn take_back(
    begin: &Begin,
    written: &Written,
    reach: &mut Reach,
    until: Instant,
    del: &mut dyn FnMut(&str, &Path, &Object) -> Result<(), String>,
) -> Result<(), String> {
    let undo = &written.undo;
    tracing::debug!(container_id = begin.key.container_id, "undoing: {}", undo.words());
    let in_words = |error: &dyn std::fmt::Display| format!("{}: {error}", undo.words());
    match undo {
        Undo::Plugin { plugin, path, config } => {
            let config = config.get().parse().map_err(|error| in_words(&error))?;
            del(plugin, path, &config).map_err(|error| in_words(&error))
        }
        Undo::Lease { file, id, ifname } => {
            give_back(file, &Holder { id: id.clone(), ifname: ifname.clone() }, until)
                .map_err(|error| in_words(&error))
        }
        // After a reboot nothing in a kernel is what it was.
        _ if begin.before_boot() => Ok(()),
        _ if written.is_elsewhere() => {
            tracing::error!("{} is in another network namespace than ours: left alone", undo.words());
            Ok(())
        }
        _ => {
            let network = reach.network();
            network.wait_until(until);
            undo.in_network(network).map_err(|error| in_words(&error))
        }
    }
}

/// The same with what a call has at hand.
pub(crate) fn undo_effects_by(
    means: &Means<'_>,
    journal: &mut Journal,
    after: usize,
    overrides: &[(&'static str, String)],
) -> Result<(), Error> {
    let keep = journal.file().try_clone().ok();
    let mut del = |plugin: &str, file: &Path, config: &Object| {
        let path = if file.is_file() {
            Ok(file.to_owned())
        } else {
            crate::delegate::find_plugin(plugin, means.path)
        };
        let path = path.map_err(|error| error.to_string())?;
        let delegate = Delegate { plugin_type: plugin.to_owned(), path };
        let mut config = config.clone();
        let prev_result = config.remove("prevResult");
        let run = Run {
            verb: Verb::Del,
            config: &config,
            prev_result: prev_result.as_deref(),
            until: means.undo_until(),
            keep: keep.as_ref().map(AsFd::as_fd),
            overrides,
        };
        delegate.run(&run, &means.around).map(drop).map_err(|error| error.to_string())
    };
    let netns = overrides.iter().find(|(key, _)| *key == "CNI_NETNS").map(|(_, netns)| netns.as_str());
    undo_effects(journal, after, netns, means.undo_until(), &mut del)
}

/// This delegate needs no DEL any more.
pub(crate) fn note_deleted(journal: &mut Journal, step: usize) {
    note(journal, Record::Deleted { step });
}

/// Only a shortcut for whoever comes next.
fn note(journal: &mut Journal, record: Record) {
    if let Err(error) = journal.write(vec![record]) {
        tracing::error!("{error}");
    }
}

/// All journals of a node that nobody works on, each locked.
pub(crate) fn idle(journals: &Journals) -> Result<impl Iterator<Item = Journal> + '_, StoreError> {
    Ok(journals.files()?.into_iter().filter_map(|file| match journals.open_file(&file, Duration::ZERO) {
        Ok(Some(Access::Ours(journal))) => Some(journal),
        Ok(_) => None,
        Err(error) => {
            tracing::error!("{error}");
            None
        }
    }))
}
