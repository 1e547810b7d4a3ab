//! What CHECK, DEL and undoing go by: the delegates of an ADD as its journal has them, or, without one, as the
//! configuration does.

use crate::call::Call;
use crate::delegate::{self, Delegate, DelegateError, Run, to_raw};
use crate::pipeline::{Plugin, Standing};
use serde_json::value::RawValue;
use std::os::fd::AsFd;
use wasmhook_cni::{Object, PluginConfig, SpecVersion, Verb, convert, take_back};
use wasmhook_host::Reach;
use wasmhook_store::{Begin, Journal, Namespace, Started, Step, Story};

/// A delegate that was run at ADD.
pub(crate) struct Recording {
    pub(crate) step: usize,
    pub(crate) found: Result<Delegate, String>,
    pub(crate) config: Object,
    /// What it gets at DEL and CHECK: the runtime's without our hooks' words; its own where the runtime sends none, or
    /// ADD did not finish.
    pub(crate) prev_result: Option<Box<RawValue>>,
    pub(crate) replaced: bool,
    /// Must its DEL still be done?
    pub(crate) is_held: bool,
    pub(crate) overrides: Vec<(&'static str, String)>,
}

impl Call<'_> {
    /// The delegates of an ADD, in its order.
    pub(crate) fn recorded(&self, story: Option<&Story>) -> Vec<Recording> {
        let Some(story) = story else {
            let is_gone =
                self.environment.verb == Verb::Del && Namespace::is_unmounted(&self.environment.netns);
            let overrides = if is_gone { vec![("CNI_NETNS", String::new())] } else { Vec::new() };
            let of_entry = |(step, delegate): (usize, &Object)| Recording {
                step,
                found: Delegate::of(delegate, &self.environment.path).map_err(|error| error.to_string()),
                // A mistake in what the runtime put in must not keep a pod from going away.
                config: self.delegate_config(delegate).unwrap_or_else(|error| {
                    tracing::error!("{error}; left out");
                    delegate::config(&self.config, delegate)
                }),
                prev_result: self.prev_result.clone(),
                replaced: false,
                is_held: true,
                overrides: overrides.clone(),
            };
            let readable = |(_, delegate): &(usize, &Object)| delegate::has_plain_type(delegate);
            return self.entry.delegates.iter().enumerate().filter(readable).map(of_entry).collect();
        };
        let overrides = self.surroundings(Some(story));
        let mut recordings = recordings(story, &self.environment.path, &overrides);
        if let Some(now) = self.prev_result.as_deref().filter(|_| story.finished.is_some()) {
            for recording in &mut recordings {
                recording.prev_result = words_taken_back(story, recording.step, now, self.version);
            }
        }
        recordings
    }

    /// What is another way round in the surroundings of an ADD that is told of.
    pub(crate) fn surroundings(&self, story: Option<&Story>) -> Vec<(&'static str, String)> {
        let begin = story.and_then(|story| story.begin.as_ref());
        begin.map(|begin| self.surroundings_of(begin)).unwrap_or_default()
    }

    /// The networks that hooks meet at DEL and CHECK: the container's is the one that ADD had, or none.
    pub(crate) fn networks(&self, story: Option<&Story>) -> Reach {
        let overrides = self.surroundings(story);
        let netns = overrides.iter().find(|(key, _)| *key == "CNI_NETNS").map(|(_, netns)| netns.as_str());
        let netns = netns.unwrap_or(&self.environment.netns);
        match story.and_then(|story| story.begin.as_ref()).and_then(|begin| begin.netns) {
            Some(is) => Reach::kernel_if(netns, is),
            None => Reach::kernel(netns),
        }
    }

    /// At DEL and CHECK the runtime's namespace counts, unless it is not the one that ADD had; all else is ADD's. Where the
    /// runtime names none and ADD's is certainly still there, that one.
    fn surroundings_of(&self, begin: &Begin) -> Vec<(&'static str, String)> {
        let path = joined(&begin.path, &self.environment.path);
        let mut overrides = vec![("CNI_ARGS", begin.args.clone()), ("CNI_PATH", path)];
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
        } else if self.environment.netns.is_empty() && begin.namespace_is_certain() {
            overrides.push(("CNI_NETNS", begin.netns_path.clone()));
        }
        overrides
    }
}

/// What a journal holds.
pub(crate) fn recordings(story: &Story, path: &str, overrides: &[(&'static str, String)]) -> Vec<Recording> {
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

/// Where plugins were, and then where they are now: they may have moved.
pub(crate) fn joined(then: &str, now: &str) -> String {
    if then == now { then.to_owned() } else { format!("{then}:{now}") }
}

/// The plugin's file: where it was, or where it is now.
fn found(started: &Started, story: &Story, path: &str) -> Result<Delegate, String> {
    if started.path.is_file() {
        return Ok(Delegate { plugin_type: started.plugin.clone(), path: started.path.clone() });
    }
    let then = story.begin.as_ref().map_or("", |begin| begin.path.as_str());
    Delegate::find(&started.plugin, &joined(then, path)).map_err(|error| error.to_string())
}

/// What this delegate is told as `prevResult`: the runtime's, which is the final result of the list, without what our
/// hooks had merely said of its own result and after it. What they had said before, it was told at ADD.
fn words_taken_back(
    story: &Story,
    step: usize,
    now: &RawValue,
    version: SpecVersion,
) -> Option<Box<RawValue>> {
    let parse = |text: &RawValue| text.get().parse::<Object>().ok();
    let words = story
        .steps
        .iter()
        .skip(step)
        .rev()
        .filter_map(|step| Some((parse(step.made.as_deref()?)?, parse(step.said.as_deref()?)?)));
    let mut taken_back = None;
    for (made, said) in words {
        let now = taken_back.take().or_else(|| parse(now))?;
        // The conflist may be in another version by now.
        let then = PluginConfig::from(said.clone()).version().ok()?;
        let now = convert(&now, version, then).unwrap_or(now);
        taken_back = Some(take_back(&made, &said, &now));
    }
    Some(taken_back.as_ref().map_or_else(|| now.to_owned(), to_raw))
}

/// A delegate at any verb but ADD.
pub(crate) struct Recorded<'p, 'c> {
    pub(crate) call: &'p Call<'c>,
    pub(crate) verb: Verb,
    pub(crate) delegate: &'p Recording,
    /// Whose lock it inherits.
    pub(crate) journal: Option<&'p Journal>,
}

impl Plugin for Recorded<'_, '_> {
    fn name(&self) -> &str {
        self.delegate.found.as_ref().map_or("", |delegate| &delegate.plugin_type)
    }

    fn run(&mut self, config: &Object, prev_result: Option<&RawValue>) -> Standing {
        let delegate = self.delegate.found.as_ref().map_err(|error| DelegateError::Missing(error.clone()))?;
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
