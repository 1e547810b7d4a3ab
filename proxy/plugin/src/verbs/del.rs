use super::{PATIENCE, alone};
use crate::call::Call;
use crate::error::Error;
use crate::pipeline::{Pipeline, Standing};
use crate::recording::{Recorded, words_taken_back};
use crate::undo::note_deleted;
use wasmhook_cni::Verb;
use wasmhook_store::{Access, Journal, Story};

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
