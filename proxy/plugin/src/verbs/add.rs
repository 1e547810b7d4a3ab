use super::{PATIENCE, alone};
use crate::call::Call;
use crate::delegate::{Delegate, DelegateError, Run, to_raw};
use crate::error::Error;
use crate::pipeline::{Pipeline, Plugin, Standing};
use crate::undo::{note_deleted, undo};
use serde_json::value::RawValue;
use std::os::fd::AsFd;
use wasmhook_cni::{CniResult, Object, Verb};
use wasmhook_store::{Access, Begin, Journal, Record, StoreError};

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
        let about_to = Record::Delegate { step: *step, plugin, path, config: to_raw(config) };
        if let Err(error) = trail.write(about_to) {
            // So it will not be.
            note_deleted(&mut trail.journal, *step);
            return Err(error.into());
        }
        if trail.journal.is_abandoned() {
            note_deleted(&mut trail.journal, *step);
            return Err(Error::Abandoned);
        }
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
                let made = Record::Made { step: *step, result: made };
                if call.entry.hooks.is_empty() {
                    // Nothing comes between this and what is written next.
                    trail.pending.push(made);
                } else {
                    trail.write(made)?;
                }
                Ok(result)
            }
            Err(error @ DelegateError::NotStarted { .. }) => {
                note_deleted(&mut trail.journal, *step);
                Err(error.into())
            }
            Err(error) => {
                // Whatever a hook makes of its failure: what it has begun is taken back.
                let run = Run { verb: Verb::Del, until: call.means.undo_until(), ..run };
                match delegate.run(&run, &call.means.around) {
                    // What it has started may go on: the runtime's DEL waits for that, and does this again.
                    Ok(_) if matches!(error, DelegateError::Late { .. }) => trail.stuck = Some(*step),
                    Ok(_) => note_deleted(&mut trail.journal, *step),
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
            Access::Busy(_) | Access::Removed(_) => return Err(Error::Busy(PATIENCE)),
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
            if same && journal.story().finished.is_some() && !journal.story().abandoned {
                return Err(Error::Attached(call.environment.ifname.clone()));
            }
            tracing::warn!(
                container_id = call.environment.container_id,
                "an earlier ADD of this attachment has left something; cleaning up first"
            );
            undo(&call.means, &mut journal, None).map_err(|error| Error::Left(Box::new(error)))?;
            if journal.is_abandoned() {
                journal.remove()?;
                return Err(Error::Abandoned);
            }
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
