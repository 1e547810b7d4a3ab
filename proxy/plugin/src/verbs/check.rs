use super::alone;
use crate::call::Call;
use crate::error::Error;
use crate::pipeline::{Pipeline, Standing};
use crate::recording::Recorded;
use wasmhook_cni::Verb;

/// CHECK: what ADD did, and no more.
pub(crate) fn check(call: &Call<'_>) -> Standing {
    if call.prev_result.is_none() {
        return Err(Error::NothingToCheck);
    }
    let story = call.journals.read(&call.key()).unwrap_or_else(|error| {
        tracing::error!("{error}; going by the configuration alone");
        None
    });
    let story = story.filter(|story| story.begin.is_some());
    call.know(story.as_ref());
    call.guests.reach(call.networks(story.as_ref()));
    let delegates = call.recorded(story.as_ref());
    if delegates.is_empty() {
        return alone(call).standing;
    }
    for delegate in delegates.iter().filter(|delegate| !delegate.replaced) {
        let mut plugin = Recorded { call, verb: Verb::Check, delegate, journal: None };
        let pipeline = Pipeline {
            call,
            plugin: &mut plugin,
            config: delegate.config.clone(),
            config_is_fixed: true,
            prev_result: delegate.prev_result.clone(),
        };
        pipeline.run().standing?;
    }
    Ok(None)
}
