use super::alone;
use crate::call::{Call, PATIENCE};
use crate::delegate::{Delegate, DelegateError, Run, to_raw};
use crate::error::Error;
use crate::pipeline::{Pipeline, Plugin, Standing};
use crate::plugins::NodePlugins;
use crate::trail::{SharedTrail, Trail};
use serde_json::value::RawValue;
use std::os::fd::AsFd;
use wasmhook_cni::{CniResult, Object, Verb};
use wasmhook_store::Record;

/// ADD: all of it, or nothing.
pub(crate) fn add(call: &Call<'_>) -> Standing {
    if call.is_our_namespace() {
        return Err(Error::OurNamespace);
    }
    let trail = SharedTrail::new(call);
    call.guests.follow(trail.for_effects());
    call.guests.may_run(NodePlugins::of(call, Some(trail.clone())));
    let added = if call.entry.delegates.is_empty() {
        // It begins with the first effect, if there is one.
        let added = alone(call).standing.map(Option::unwrap_or_default);
        added.map_err(|error| trail.with(|trail| trail.refused()).unwrap_or(error))
    } else {
        let begun = trail.with(|trail| trail.begin(Some(&call.means), PATIENCE).map(drop));
        begun.and_then(|()| add_all(call, &trail))
    };
    match added.and_then(|result| trail.with(|trail| trail.finish(result))) {
        Ok(result) => Ok(Some(result)),
        Err(error) => {
            trail.with(|trail| trail.undo(&call.means));
            Err(error)
        }
    }
}

/// Every delegate in order, each with its hooks.
fn add_all(call: &Call<'_>, trail: &SharedTrail) -> Result<Object, Error> {
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
        trail.with(|trail| trail.said(step, &said, outcome.replaced));
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
    trail: &'p SharedTrail,
}

impl Plugin for Adding<'_, '_> {
    fn name(&self) -> &str {
        &self.delegate.plugin_type
    }

    fn true_words(&mut self, before: &Object, after: &Object) {
        let step = self.step;
        self.trail.with(|trail| trail.true_words(step, before, after));
    }

    fn run(&mut self, config: &Object, prev_result: Option<&RawValue>) -> Standing {
        let Self { call, delegate, step, trail } = self;
        let (plugin, path) = (delegate.plugin_type.clone(), delegate.path.clone());
        let about_to = Record::Delegate { step: *step, plugin, path, config: to_raw(config) };
        let step = *step;
        trail.with(|trail| trail.announce(step, about_to))?;
        let lock = trail.with(Trail::lock)?;
        let run = Run {
            verb: Verb::Add,
            config,
            prev_result,
            until: call.means.delegate_until(),
            keep: Some(lock.as_fd()),
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
                let made = Record::Made { step, result: made };
                // Without hooks nothing comes between this and what is written next.
                trail.with(|trail| trail.note(made, !call.entry.hooks.is_empty()))?;
                Ok(result)
            }
            Err(error @ DelegateError::NotStarted { .. }) => {
                trail.with(|trail| trail.deleted(step));
                Err(error.into())
            }
            Err(error) => {
                // Whatever a hook makes of its failure: what it has begun is taken back.
                let run = Run { verb: Verb::Del, until: call.means.undo_until(), ..run };
                match delegate.run(&run, &call.means.around) {
                    // What it has started may go on: the runtime's DEL waits for that, and does this again.
                    Ok(_) if matches!(error, DelegateError::Late { .. }) => {
                        trail.with(|trail| trail.stuck = Some(step))
                    }
                    Ok(_) => trail.with(|trail| trail.deleted(step)),
                    Err(error) => {
                        trail.with(|trail| trail.stuck = Some(step));
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
