//! The journal of an ADD at work: begun before its first effect, told of each, and in the end finished or undone.

use crate::call::{Call, Means, PATIENCE};
use crate::delegate::to_raw;
use crate::error::Error;
use crate::plugins::NodePlugins;
use crate::undo::{Written, note_deleted, undo, undo_effects};
use serde_json::value::RawValue;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use wasmhook_cni::{Object, take_back};
use wasmhook_host::{Ended, Failure, Plugins as _, Undo};
use wasmhook_store::{Access, Begin, Journal, Journals, Key, Namespace, Record, Step, StoreError, Story};

/// Held by the ADD itself and by the door, whose host calls have effects as well.
#[derive(Clone, Debug)]
pub(crate) struct SharedTrail(Arc<Mutex<Trail>>);

/// An ADD's trail. Without an effect there is none: nothing is looked at, nothing is written.
#[derive(Debug)]
pub(crate) struct Trail {
    journal: Option<Journal>,
    journals: Journals,
    key: Key,
    netns: String,
    args: String,
    path: String,
    hooks: Vec<String>,
    /// Records that go with the next write.
    pending: Vec<Record>,
    /// What host functions have done, as the journal numbers it; `None`: it need not be taken back any more.
    effects: Vec<Option<Undo>>,
    /// For what an ADD before us has left.
    plugins: NodePlugins,
    /// Was it refused because the attachment is there already?
    attached: bool,
    /// The delegate that failed, if its DEL failed as well: asking it again at once helps nobody.
    pub(crate) stuck: Option<usize>,
}

impl SharedTrail {
    pub(crate) fn new(call: &Call<'_>) -> Self {
        Self(Arc::new(Mutex::new(Trail {
            journal: None,
            journals: call.journals.clone(),
            key: call.key(),
            netns: call.environment.netns.clone(),
            args: call.environment.args.clone(),
            path: call.environment.path.clone(),
            hooks: call.entry.hooks.iter().map(|hook| hook.name.clone()).collect(),
            pending: Vec::new(),
            effects: Vec::new(),
            plugins: NodePlugins::of(call, None),
            attached: false,
            stuck: None,
        })))
    }

    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Trail) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// For the door.
    pub(crate) fn for_effects(&self) -> Arc<Mutex<dyn wasmhook_host::Trail>> {
        self.0.clone()
    }
}

impl Trail {
    /// The attachment becomes ours, until the last of us has ended. What an ADD before us has left is cleaned up, unless
    /// the attachment is still there. Without `means` that is possible only where no delegate has a part in it.
    pub(crate) fn begin(&mut self, means: Option<&Means<'_>>, wait: Duration) -> Result<&mut Journal, Error> {
        if self.journal.is_none() {
            let journal = self.open(means, wait)?;
            let Self { key, netns, args, path, hooks, .. } = &*self;
            let begin = Begin::now(key.clone(), netns, args, path, hooks.clone());
            self.pending.insert(0, Record::Begin(begin));
            self.journal = Some(journal);
        }
        self.journal.as_mut().ok_or(Error::Busy(wait))
    }

    fn open(&mut self, means: Option<&Means<'_>>, wait: Duration) -> Result<Journal, Error> {
        let mut journal = match self.journals.create(&self.key, wait)? {
            Access::Ours(journal) => journal,
            Access::Busy(_) | Access::Removed(_) => return Err(Error::Busy(wait)),
        };
        let Some(earlier) = &journal.story().begin else { return Ok(journal) };
        let now = Namespace::at(&self.netns);
        let same = !earlier.before_boot() && earlier.netns.is_some() && earlier.netns == now;
        if same && journal.story().finished.is_some() && !journal.story().abandoned {
            return Err(Error::Attached(self.key.ifname.clone()));
        }
        tracing::warn!(
            container_id = self.key.container_id,
            "an earlier ADD of this attachment has left something; cleaning up first"
        );
        match means {
            Some(means) => undo(means, &mut journal, None).map_err(|error| Error::Left(Box::new(error)))?,
            None if journal.story().steps.iter().any(Step::is_held) => {
                return Err(Error::Attached(self.key.ifname.clone()));
            }
            None => {
                let plugins = &mut self.plugins;
                let mut del = |plugin: &str, file: &Path, config: &Object| {
                    plugins.run(plugin, file, "DEL", config).map(drop).map_err(|it| it.to_string())
                };
                let until = Instant::now() + wait;
                undo_effects(&mut journal, 0, None, until, &mut del)
                    .map_err(|error| Error::Left(Box::new(error)))?;
            }
        }
        if journal.is_abandoned() {
            journal.remove()?;
            return Err(Error::Abandoned);
        }
        journal.clear()?;
        Ok(journal)
    }

    /// For a host call that has until then.
    fn begin_by(&mut self, until: Instant) -> Result<&mut Journal, Failure> {
        // A quarter is left for what the hook makes of it.
        let wait = PATIENCE.min(until.saturating_duration_since(Instant::now()) * 3 / 4);
        if let Err(error) = self.begin(None, wait).map(drop) {
            self.attached |= matches!(error, Error::Attached(_));
            let code = if matches!(error, Error::Busy(_)) { "busy" } else { "unavailable" };
            return Err(Failure::new(code, error.to_string()));
        }
        Ok(self.journal()?)
    }

    fn journal(&mut self) -> Result<&mut Journal, StoreError> {
        self.journal.as_mut().ok_or_else(|| StoreError::Io {
            action: "write",
            path: self.journals.directory().to_owned(),
            cause: io::Error::other("not begun"),
        })
    }

    fn write(&mut self, record: Record) -> Result<(), StoreError> {
        self.pending.push(record);
        let records = std::mem::take(&mut self.pending);
        self.journal()?.write(records)
    }

    /// A delegate is about to be started, unless that cannot be written down or nobody wants it any more.
    pub(crate) fn announce(&mut self, step: usize, about_to: Record) -> Result<(), Error> {
        let written = self.write(about_to).map_err(Error::from);
        let abandoned = self.journal.as_ref().is_some_and(Journal::is_abandoned);
        let announced = written.and(if abandoned { Err(Error::Abandoned) } else { Ok(()) });
        if announced.is_err() {
            // So it will not be.
            self.deleted(step);
        }
        announced
    }

    /// What plugins inherit, so that the lock lives as long as they do.
    pub(crate) fn lock(&mut self) -> Result<File, StoreError> {
        let directory = self.journals.directory().to_owned();
        self.journal()?.file().try_clone().map_err(|cause| StoreError::Io {
            action: "lock",
            path: directory,
            cause,
        })
    }

    /// Something that has happened: written at once, or with what comes next.
    pub(crate) fn note(&mut self, record: Record, at_once: bool) -> Result<(), StoreError> {
        if at_once {
            return self.write(record);
        }
        self.pending.push(record);
        Ok(())
    }

    /// This delegate needs no DEL any more.
    pub(crate) fn deleted(&mut self, step: usize) {
        if let Some(journal) = &mut self.journal {
            note_deleted(journal, step);
        }
    }

    /// The hooks' words on a delegate's result.
    pub(crate) fn said(&mut self, step: usize, said: &Object, replaced: bool) {
        let made = self.journal.as_ref().and_then(|it| it.story().steps.get(step)?.made.as_deref());
        let said = to_raw(said);
        if replaced {
            self.pending.push(Record::Replaced { step });
        } else if made.is_some_and(|made| made.get() != said.get()) {
            self.pending.push(Record::Said { step, result: said });
        }
    }

    /// A hook that has done something says what has become of the result by that: it is true, and no words that a DEL
    /// would have to take back.
    pub(crate) fn true_words(&mut self, step: usize, before: &Object, after: &Object) {
        let made = self.journal.as_ref().and_then(|it| it.story().steps.get(step)?.made.as_deref());
        let made = made.and_then(|made| made.get().parse::<Object>().ok()).unwrap_or_else(|| before.clone());
        self.pending.push(Record::Made { step, result: to_raw(&take_back(&made, before, after)) });
    }

    /// The result may be handed out.
    pub(crate) fn finish(&mut self, result: Object) -> Result<Object, Error> {
        if self.journal.is_none() {
            return Ok(result);
        }
        self.write(Record::Finished { result: to_raw(&result) })?;
        if self.journal()?.is_abandoned() { Err(Error::Abandoned) } else { Ok(result) }
    }

    /// A hook was refused its first effect for a reason that is the whole call's, whatever it made of that.
    pub(crate) fn refused(&self) -> Option<Error> {
        self.attached.then(|| Error::Attached(self.key.ifname.clone()))
    }

    /// Takes back what was done. The original error is what counts, so what goes wrong here is only logged: the journal
    /// stays, for DEL.
    pub(crate) fn undo(&mut self, means: &Means<'_>) {
        let Some(mut journal) = self.journal.take() else { return };
        match undo(means, &mut journal, self.stuck) {
            Ok(()) if self.stuck.is_some() => {}
            Ok(()) => {
                if let Err(error) = journal.remove() {
                    tracing::error!("{error}");
                }
            }
            Err(error) => {
                tracing::error!(container_id = self.key.container_id, "undoing a failed ADD: {error}");
            }
        }
    }
}

/// At other verbs nothing begins: what hooks remember of an attachment goes with it, so there must be one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    has_state: bool,
    /// How what its ADD did is taken back.
    effects: Vec<Box<RawValue>>,
}

impl Known {
    /// What its journal tells, if it has one.
    pub(crate) fn of(story: Option<&Story>) -> Self {
        let Some(story) = story else { return Self::default() };
        let held = story.effects.iter().filter(|effect| !effect.undone);
        Self { has_state: story.has_state, effects: held.map(|effect| effect.undo.clone()).collect() }
    }
}

impl wasmhook_host::Trail for Known {
    fn has_state(&self) -> bool {
        self.has_state
    }

    fn begin_state(&mut self, _: Instant) -> Result<(), Failure> {
        let none = "only an ADD begins to remember something of an attachment";
        if self.has_state { Ok(()) } else { Err(Failure::new("invalid", none)) }
    }

    fn begin_effect(&mut self, _: &Undo, _: Instant) -> Result<usize, Failure> {
        Err(Failure::new("invalid", "only an ADD makes or changes something"))
    }

    fn amend_effect(&mut self, _: &Undo) -> Result<(), Failure> {
        Ok(())
    }

    fn end_effect(&mut self, _: usize, _: Ended) {}

    fn held(&self, which: fn(&Undo) -> bool) -> u64 {
        let undone = self.effects.iter().filter_map(|it| Written::read(it).ok());
        undone.filter(|it| which(it.undo())).count() as u64
    }
}

impl wasmhook_host::Trail for Trail {
    fn has_state(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| journal.story().has_state)
    }

    fn begin_state(&mut self, until: Instant) -> Result<(), Failure> {
        if self.begin_by(until)?.story().has_state {
            return Ok(());
        }
        self.write(Record::State).map_err(Failure::from)
    }

    fn begin_effect(&mut self, undo: &Undo, until: Instant) -> Result<usize, Failure> {
        let effect = self.begin_by(until)?.story().effects.len();
        self.effects.resize_with(effect, || None);
        self.effects.push(Some(undo.clone()));
        let written = self.write(Record::Effect { effect, undo: Written::now(undo).to_raw() });
        let abandoned = self.journal.as_ref().is_some_and(Journal::is_abandoned);
        let told = written.map_err(Failure::from).and_then(|()| {
            if abandoned { Err(Failure::new("busy", Error::Abandoned.to_string())) } else { Ok(effect) }
        });
        if told.is_err() {
            // So it will not be done.
            self.end_effect(effect, Ended::Undone);
        }
        told
    }

    fn amend_effect(&mut self, undo: &Undo) -> Result<(), Failure> {
        let Some(effect) = self.effects.len().checked_sub(1) else { return Ok(()) };
        self.effects[effect] = Some(undo.clone());
        Ok(self.write(Record::Effect { effect, undo: Written::now(undo).to_raw() })?)
    }

    fn end_effect(&mut self, effect: usize, ended: Ended) {
        let record = match ended {
            Ended::Undone => {
                self.effects.get_mut(effect).map(Option::take);
                Record::Undone { effect }
            }
            Ended::Unknown => Record::Unknown { effect },
        };
        // Only a shortcut for whoever undoes: what is not there is left alone.
        if let Err(error) = self.write(record) {
            tracing::error!("{error}");
        }
    }

    fn held(&self, which: fn(&Undo) -> bool) -> u64 {
        self.effects.iter().flatten().filter(|it| which(it)).count() as u64
    }
}
