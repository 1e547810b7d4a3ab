//! An attachment's life: ADD, which is a transaction, and CHECK and DEL, which go by what ADD wrote down.

use crate::call::Call;
use crate::delegate::{Delegate, DelegateError, Run, Surroundings, to_raw};
use crate::error::Error;
use crate::pipeline::{Outcome, Pipeline, Plugin, Standing};
use crate::settings::Budgets;
use serde_json::value::RawValue;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use wasmhook_cni::{self as cni, CniResult, Object, Verb, code, convert, take_back};
use wasmhook_store::{
    Access, Begin, Journal, Journals, Key, Namespace, Record, Started, Step, StoreError, Story,
};

/// How long a call waits for another one that works on the same attachment.
const PATIENCE: Duration = Duration::from_secs(5);

/// ADD: all of it, or nothing.
pub(crate) fn add(call: &Call<'_>) -> Standing {
    if call.is_our_namespace() {
        return Err(Error::OurNamespace);
    }
    if call.entry.delegates.is_empty() {
        return alone(call).standing;
    }
    let mut trail = Trail::begin(call)?;
    match add_all(call, &mut trail).and_then(|result| trail.finish(result)) {
        Ok(result) => Ok(Some(result)),
        Err(error) => {
            trail.undo(call);
            Err(error)
        }
    }
}

/// Every delegate in order, each with its hooks.
fn add_all(call: &Call<'_>, trail: &mut Trail) -> Result<Object, Error> {
    // All of them, before one of them does anything.
    let ready = |delegate: &Object| {
        Ok((Delegate::of(delegate, &call.environment.path)?, call.delegate_config(delegate)?))
    };
    let ready: Vec<_> = call.entry.delegates.iter().map(ready).collect::<Result<_, Error>>()?;
    let mut result = None;
    let mut prev_result = call.prev_result.clone();
    for (step, (delegate, config)) in ready.into_iter().enumerate() {
        if step > 0 && trail.journal.is_abandoned() {
            return Err(Error::Abandoned);
        }
        let mut plugin = Adding { call, delegate, step, trail };
        let pipeline = Pipeline {
            call,
            plugin: &mut plugin,
            config,
            config_is_fixed: false,
            prev_result: prev_result.take(),
        };
        let outcome = pipeline.run();
        let said = outcome.standing?.unwrap_or_default();
        trail.said(step, &said, outcome.replaced);
        prev_result = Some(to_raw(&said));
        result = Some(said);
    }
    result.ok_or(Error::NothingToReturn)
}

/// CHECK: what ADD did, and no more.
pub(crate) fn check(call: &Call<'_>) -> Standing {
    if call.prev_result.is_none() {
        return Err(Error::NothingToCheck);
    }
    let story = call.journals.read(&call.key()).unwrap_or_else(|error| {
        tracing::error!("{error}; going by the configuration alone");
        None
    });
    let mut nobody = true;
    for delegate in &call.recorded(story.as_ref()) {
        nobody = false;
        if delegate.replaced {
            continue;
        }
        let mut plugin = Recorded { call, verb: Verb::Check, delegate, journal: None };
        let pipeline = Pipeline {
            call,
            plugin: &mut plugin,
            config: delegate.config.clone(),
            config_is_fixed: true,
            prev_result: words_taken_back(call, story.as_ref()),
        };
        pipeline.run().standing?;
    }
    if nobody { alone(call).standing } else { Ok(None) }
}

/// DEL: what ADD did is taken back, the last thing first.
pub(crate) fn del(call: &Call<'_>) -> Standing {
    let (journal, story) = find(call);
    if story.is_none() && call.is_our_namespace() {
        return Err(Error::OurNamespace);
    }
    let finished = story.as_ref().is_some_and(|story| story.finished.is_some());
    let prev_result = words_taken_back(call, story.as_ref());
    let delegates = call.recorded(story.as_ref());
    let mut journal = journal;
    let (mut failed, mut refused) = (None, None);
    for (index, delegate) in delegates.iter().enumerate().rev() {
        if story.is_some() && !delegate.is_held {
            continue;
        }
        let mut plugin = Recorded { call, verb: Verb::Del, delegate, journal: journal.as_ref() };
        let pipeline = Pipeline {
            call,
            plugin: &mut plugin,
            config: delegate.config.clone(),
            config_is_fixed: story.is_some(),
            prev_result: if finished { prev_result.clone() } else { delegate.prev_result.clone() },
        };
        let outcome = pipeline.run();
        refused = refused.or(outcome.refused);
        match (outcome.standing, &mut journal) {
            // The last one's mark is that the journal goes.
            (Ok(_), Some(journal)) if index > 0 || failed.is_some() => note_deleted(journal, delegate.step),
            (Ok(_), _) => {}
            (Err(error), _) => {
                tracing::error!(container_id = call.environment.container_id, "DEL: {error}");
                failed.get_or_insert(error);
                // An address is not to be freed while rules still lead to it.
                if finished && !call.entry.del_continues {
                    break;
                }
            }
        }
    }
    if !delegates.iter().any(|delegate| story.is_none() || delegate.is_held) {
        let outcome = alone(call);
        refused = refused.or(outcome.refused);
        failed = failed.or(outcome.standing.err());
    }
    if failed.is_none() {
        journal.map_or(Ok(()), Journal::remove)?;
    }
    failed.or(refused).map_or(Ok(None), Err)
}

/// Hooks with no plugin between them.
fn alone(call: &Call<'_>) -> Outcome {
    let pipeline = Pipeline {
        call,
        plugin: &mut Nobody { call },
        config: call.own_config(),
        config_is_fixed: false,
        prev_result: call.prev_result.clone(),
    };
    pipeline.run()
}

/// The attachment's journal, if there is one that tells something. DEL never gets stuck: what cannot be read is left
/// aside, and whoever works too long is told to undo what it does.
fn find(call: &Call<'_>) -> (Option<Journal>, Option<Story>) {
    match call.journals.open(&call.key(), PATIENCE) {
        Ok(None) => (None, None),
        Ok(Some(Access::Ours(journal))) if journal.story().begin.is_none() => {
            if let Err(error) = journal.remove() {
                tracing::error!("{error}");
            }
            (None, None)
        }
        Ok(Some(Access::Ours(journal))) => {
            let story = journal.story().clone();
            (Some(journal), Some(story))
        }
        Ok(Some(Access::Busy(mut busy))) => {
            tracing::error!(
                container_id = call.environment.container_id,
                "another call has been working on this attachment for {PATIENCE:?}; it is told to undo itself"
            );
            if let Err(error) = busy.abandon() {
                tracing::error!("{error}");
            }
            (None, Some(busy.story))
        }
        Err(error) => {
            tracing::error!("{error}; going by the configuration alone");
            (None, None)
        }
    }
}

/// The runtime's `prevResult`, the final result of the chain, without what our hooks had merely said. Without one, what
/// ADD had handed out.
fn words_taken_back(call: &Call<'_>, story: Option<&Story>) -> Option<Box<RawValue>> {
    let Some(story) = story else { return call.prev_result.clone() };
    let last = || story.steps.iter().rev().find_map(|step| step.said.clone().or_else(|| step.made.clone()));
    let now = call.prev_result.clone().or_else(|| story.finished.clone()).or_else(last)?;
    if story.steps.iter().all(|step| step.said.is_none()) {
        return Some(now);
    }
    let Ok(mut now) = now.get().parse::<Object>() else { return Some(now) };
    for step in story.steps.iter().rev() {
        let parse = |text: &RawValue| -> Option<Object> {
            convert(&text.get().parse().ok()?, call.version, call.version).ok()
        };
        let words = (step.made.as_deref().and_then(parse), step.said.as_deref().and_then(parse));
        if let (Some(made), Some(said)) = words {
            now = take_back(&made, &said, &now);
        }
    }
    Some(to_raw(&now))
}

/// A delegate that CHECK and DEL go to: as the journal has it, or as the configuration does.
pub(crate) struct Recording {
    step: usize,
    found: Result<Delegate, String>,
    config: Object,
    /// For an ADD that did not finish: the last result there was.
    prev_result: Option<Box<RawValue>>,
    replaced: bool,
    is_held: bool,
    overrides: Vec<(&'static str, String)>,
}

impl Call<'_> {
    /// The attachment, as far as this entry is concerned.
    pub(crate) fn key(&self) -> Key {
        Key {
            network: self.network.clone(),
            container_id: self.environment.container_id.clone(),
            ifname: self.environment.ifname.clone(),
            entry: self.entry.id.clone(),
        }
    }

    /// Never, when somebody says that it is meant to be (`CNI_NETNS_OVERRIDE`).
    fn is_our_namespace(&self) -> bool {
        if self.overrides_namespace_check() {
            return false;
        }
        let ours = Namespace::at("/proc/self/ns/net");
        let theirs =
            Some(&self.environment.netns).filter(|path| !path.is_empty()).and_then(|it| Namespace::at(it));
        ours.is_some() && ours == theirs
    }

    /// The delegates of an ADD, in its order.
    fn recorded(&self, story: Option<&Story>) -> Vec<Recording> {
        let Some(story) = story else {
            let of_entry = |(step, delegate): (usize, &Object)| Recording {
                step,
                found: Delegate::of(delegate, &self.environment.path).map_err(|error| error.to_string()),
                config: self.delegate_config(delegate).unwrap_or_default(),
                prev_result: self.prev_result.clone(),
                replaced: false,
                is_held: true,
                overrides: Vec::new(),
            };
            return self.entry.delegates.iter().enumerate().map(of_entry).collect();
        };
        let overrides = story.begin.as_ref().map(|begin| self.surroundings_of(begin)).unwrap_or_default();
        recordings(story, &self.environment.path, &overrides)
    }

    /// At DEL and CHECK the runtime's namespace counts, unless it is not the one that ADD had; all else is ADD's.
    fn surroundings_of(&self, begin: &Begin) -> Vec<(&'static str, String)> {
        let mut overrides = vec![("CNI_ARGS", begin.args.clone()), ("CNI_PATH", begin.path.clone())];
        let now = Namespace::at(&self.environment.netns);
        let is_another = match (&begin.netns, &now) {
            (Some(then), Some(now)) => begin.before_boot() || then != now,
            _ => false,
        };
        if is_another || self.is_our_namespace() {
            tracing::warn!(
                container_id = self.environment.container_id,
                "the namespace at {:?} is not the one that ADD had; that one is gone",
                self.environment.netns
            );
            overrides.push(("CNI_NETNS", String::new()));
        }
        overrides
    }
}

/// What a journal holds.
fn recordings(story: &Story, path: &str, overrides: &[(&'static str, String)]) -> Vec<Recording> {
    let mut prev_result: Option<Box<RawValue>> = None;
    let mut recordings = Vec::new();
    for (index, step) in story.steps.iter().enumerate() {
        prev_result = step.made.clone().or(prev_result);
        let Some(started) = &step.started else {
            // A hook had answered in its place.
            recordings.extend(step.replaced.then(|| Recording::replaced(index)));
            continue;
        };
        recordings.push(Recording {
            step: index,
            found: found(started, story, path),
            config: started.config.get().parse().unwrap_or_default(),
            prev_result: prev_result.clone(),
            replaced: step.replaced,
            is_held: Step::is_held(step),
            overrides: overrides.to_vec(),
        });
    }
    recordings
}

impl Recording {
    fn replaced(step: usize) -> Self {
        Self {
            step,
            found: Err("a hook answered in its place".into()),
            config: Object::new(),
            prev_result: None,
            replaced: true,
            is_held: false,
            overrides: Vec::new(),
        }
    }
}

/// The plugin's file: where it was, or where it is now.
fn found(started: &Started, story: &Story, path: &str) -> Result<Delegate, String> {
    if started.path.is_file() {
        return Ok(Delegate { plugin_type: started.plugin.clone(), path: started.path.clone() });
    }
    let then = story.begin.as_ref().map_or("", |begin| begin.path.as_str());
    Delegate::find(&started.plugin, &format!("{then}:{path}")).map_err(|error| error.to_string())
}

fn note_deleted(journal: &mut Journal, step: usize) {
    // Only a shortcut for the next DEL.
    if let Err(error) = journal.write(vec![Record::Deleted { step }]) {
        tracing::error!("{error}");
    }
}

/// Where there is no plugin: what came before is the result.
struct Nobody<'p, 'c> {
    call: &'p Call<'c>,
}

impl Plugin for Nobody<'_, '_> {
    fn name(&self) -> &'static str {
        ""
    }

    fn run(&mut self, _: &Object, prev_result: Option<&RawValue>) -> Standing {
        if self.call.environment.verb != Verb::Add {
            return Ok(None);
        }
        let prev_result = prev_result.ok_or(Error::NothingToReturn)?;
        let wrong = |error: &dyn std::fmt::Display| {
            cni::Error::new(code::DECODING, format!("error unmarshall prevResult: {error}"))
        };
        let prev_result: Object = prev_result.get().parse().map_err(|error| wrong(&error))?;
        let version = self.call.version;
        Ok(Some(convert(&prev_result, version, version).map_err(|error| wrong(&error))?))
    }
}

/// A delegate at ADD: written down before it is started.
struct Adding<'p, 'c> {
    call: &'p Call<'c>,
    delegate: Delegate,
    step: usize,
    trail: &'p mut Trail,
}

impl Plugin for Adding<'_, '_> {
    fn name(&self) -> &str {
        &self.delegate.plugin_type
    }

    fn run(&mut self, config: &Object, prev_result: Option<&RawValue>) -> Standing {
        let Self { call, delegate, step, trail } = self;
        let (plugin, path) = (delegate.plugin_type.clone(), delegate.path.clone());
        trail.write(Record::Delegate { step: *step, plugin, path, config: to_raw(config) })?;
        let run = Run {
            verb: Verb::Add,
            config,
            prev_result,
            until: call.means.delegate_until(),
            keep: Some(trail.journal.file().as_fd()),
            overrides: &[],
        };
        let added = delegate.run(&run, &call.means.around).and_then(|result| match result {
            Some(result) if call.is_ipam() && !has_address(&result) => {
                Err(DelegateError::NoAddress { plugin: delegate.plugin_type.clone() })
            }
            result => Ok(result),
        });
        match added {
            Ok(result) => {
                let made = to_raw(result.as_ref().unwrap_or(&Object::new()));
                trail.write(Record::Made { step: *step, result: made })?;
                Ok(result)
            }
            Err(error @ DelegateError::NotStarted { .. }) => {
                trail.write(Record::Deleted { step: *step })?;
                Err(error.into())
            }
            Err(error) => {
                // Whatever a hook makes of its failure: what it has begun is taken back.
                let run = Run { verb: Verb::Del, until: call.means.undo_until(), ..run };
                match delegate.run(&run, &call.means.around) {
                    Ok(_) => trail.write(Record::Deleted { step: *step })?,
                    Err(error) => {
                        trail.stuck = Some(*step);
                        tracing::error!(
                            container_id = call.environment.container_id,
                            "undoing a failed ADD: {error}"
                        );
                    }
                }
                Err(error.into())
            }
        }
    }
}

fn has_address(result: &Object) -> bool {
    serde_json::from_str::<CniResult>(&result.to_string()).is_ok_and(|result| {
        result.ips.is_some_and(|ips| !ips.is_empty()) || result.ip4.is_some() || result.ip6.is_some()
    })
}

/// A delegate at CHECK or DEL.
struct Recorded<'p, 'c> {
    call: &'p Call<'c>,
    verb: Verb,
    delegate: &'p Recording,
    journal: Option<&'p Journal>,
}

impl Plugin for Recorded<'_, '_> {
    fn name(&self) -> &str {
        self.delegate.found.as_ref().map_or("", |delegate| &delegate.plugin_type)
    }

    fn run(&mut self, config: &Object, prev_result: Option<&RawValue>) -> Standing {
        let delegate = self
            .delegate
            .found
            .as_ref()
            .map_err(|error| Error::Cni(cni::Error::new(code::INVALID_CONFIG, error.clone())))?;
        let until = match self.verb {
            Verb::Del => self.call.means.undo_until(),
            _ => self.call.means.delegate_until(),
        };
        let run = Run {
            verb: self.verb,
            config,
            prev_result,
            until,
            keep: self.journal.map(|journal| journal.file().as_fd()),
            overrides: &self.delegate.overrides,
        };
        Ok(delegate.run(&run, &self.call.means.around)?)
    }
}

/// The journal of an ADD at work.
struct Trail {
    journal: Journal,
    /// What goes with the next write.
    pending: Vec<Record>,
    /// The delegate that failed, if its DEL failed as well: asking it again at once helps nobody.
    stuck: Option<usize>,
}

impl Trail {
    /// The attachment becomes ours, until the last of us has ended. What an ADD before us has left is cleaned up, unless
    /// the attachment is still there.
    fn begin(call: &Call<'_>) -> Result<Self, Error> {
        let mut journal = match call.journals.create(&call.key(), PATIENCE)? {
            Access::Ours(journal) => journal,
            Access::Busy(_) => return Err(Error::Busy(PATIENCE)),
        };
        let begin = Begin::now(
            call.key(),
            &call.environment.netns,
            &call.environment.args,
            &call.environment.path,
            call.entry.hooks.iter().map(|hook| hook.name.clone()).collect(),
        );
        if let Some(earlier) = &journal.story().begin {
            let same = !earlier.before_boot() && earlier.netns.is_some() && earlier.netns == begin.netns;
            if same && journal.story().finished.is_some() {
                return Err(Error::Attached(call.environment.ifname.clone()));
            }
            tracing::warn!(
                container_id = call.environment.container_id,
                "an earlier ADD of this attachment has left something; cleaning up first"
            );
            undo(&call.means, &mut journal, None).map_err(|error| Error::Left(Box::new(error)))?;
            journal.clear()?;
        }
        Ok(Self { journal, pending: vec![Record::Begin(begin)], stuck: None })
    }

    fn write(&mut self, record: Record) -> Result<(), StoreError> {
        self.pending.push(record);
        self.journal.write(std::mem::take(&mut self.pending))
    }

    /// The hooks' words on a delegate's result.
    fn said(&mut self, step: usize, said: &Object, replaced: bool) {
        let made = self.journal.story().steps.get(step).and_then(|step| step.made.as_deref());
        let said = to_raw(said);
        if replaced {
            self.pending.push(Record::Replaced { step });
        } else if made.is_some_and(|made| made.get() != said.get()) {
            self.pending.push(Record::Said { step, result: said });
        }
    }

    /// The result may be handed out.
    fn finish(&mut self, result: Object) -> Result<Object, Error> {
        self.write(Record::Finished { result: to_raw(&result) })?;
        if self.journal.is_abandoned() { Err(Error::Abandoned) } else { Ok(result) }
    }

    /// Takes back what was done. The original error is what counts, so what goes wrong here is only logged: the journal
    /// stays, for DEL.
    fn undo(mut self, call: &Call<'_>) {
        match undo(&call.means, &mut self.journal, self.stuck) {
            Ok(()) if self.stuck.is_some() => {}
            Ok(()) => {
                if let Err(error) = self.journal.remove() {
                    tracing::error!("{error}");
                }
            }
            Err(error) => {
                tracing::error!(
                    container_id = call.environment.container_id,
                    "undoing a failed ADD: {error}"
                );
            }
        }
    }
}

/// Everything that a journal holds, strictly backwards, and without hooks. All of it but `stuck` is tried; the first error
/// is told.
pub(crate) fn undo(means: &Means<'_>, journal: &mut Journal, stuck: Option<usize>) -> Result<(), Error> {
    let Some(begin) = journal.story().begin.clone() else { return Ok(()) };
    let is_another = begin.netns.is_some() && begin.namespace_is_gone();
    let netns = if is_another || begin.before_boot() { String::new() } else { begin.netns_path.clone() };
    let overrides = vec![
        ("CNI_CONTAINERID", begin.key.container_id.clone()),
        ("CNI_IFNAME", begin.key.ifname.clone()),
        ("CNI_NETNS", netns),
        ("CNI_ARGS", begin.args.clone()),
        ("CNI_PATH", begin.path.clone()),
    ];
    let mut failed = None;
    for delegate in recordings(journal.story(), means.path, &overrides).iter().rev() {
        if !delegate.is_held || stuck == Some(delegate.step) {
            continue;
        }
        let deleted = match &delegate.found {
            Err(error) => Err(Error::Cni(cni::Error::new(code::INVALID_CONFIG, error.clone()))),
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
    failed.map_or(Ok(()), Err)
}

/// What it takes to run delegates.
pub(crate) struct Means<'a> {
    pub(crate) around: Surroundings<'a>,
    /// `CNI_PATH`, where the journal's leads nowhere.
    pub(crate) path: &'a str,
    pub(crate) started: Instant,
    pub(crate) budgets: Budgets,
}

impl Means<'_> {
    /// For what can be undone: the reserve is left.
    pub(crate) fn delegate_until(&self) -> Instant {
        let Budgets { call, delegate, reserve } = self.budgets;
        (Instant::now() + delegate).min(self.started + call.saturating_sub(reserve))
    }

    /// For hooks, at whatever verb: a hook does not undo.
    pub(crate) fn left(&self) -> Duration {
        let Budgets { call, reserve, .. } = self.budgets;
        call.saturating_sub(reserve).saturating_sub(self.started.elapsed())
    }

    /// For undoing and DEL. Never less than a second: a DEL that has no time does nothing.
    pub(crate) fn undo_until(&self) -> Instant {
        let Budgets { call, delegate, .. } = self.budgets;
        let now = Instant::now();
        (now + delegate).min((self.started + call).max(now + Duration::from_secs(1)))
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
