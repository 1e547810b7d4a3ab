use super::{PATIENCE, alone};
use crate::call::Call;
use crate::error::Error;
use crate::pipeline::{Pipeline, Standing};
use crate::recording::{Recorded, words_taken_back};
use crate::undo::note_deleted;
use wasmhook_cni::Verb;
use wasmhook_store::{Access, Journal, StoreError, Story};

/// DEL: what ADD did is taken back, the last thing first.
pub(crate) fn del(call: &Call<'_>) -> Standing {
    let (mut journal, story) = match find(call) {
        Found::Nothing => (None, None),
        Found::Journal(journal) => {
            let story = journal.story().clone();
            (Some(journal), Some(story))
        }
        Found::Abandoned(story) => (None, Some(story)),
        // By another DEL, or by the ADD itself: while we waited.
        Found::Undone => return Ok(None),
    };
    if story.is_none() && call.is_our_namespace() {
        return Err(Error::OurNamespace);
    }
    let finished = story.as_ref().is_some_and(|story| story.finished.is_some());
    let delegates = call.recorded(story.as_ref());
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
            prev_result: if finished {
                words_taken_back(call, story.as_ref(), delegate.step)
            } else {
                delegate.prev_result.clone()
            },
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

enum Found {
    /// No journal, or none that tells something.
    Nothing,
    /// It is ours now.
    Journal(Journal),
    /// Somebody has worked on it for too long.
    Abandoned(Story),
    /// Somebody else has undone everything.
    Undone,
}

/// DEL never gets stuck: what cannot be read is left aside, and whoever works too long is told to undo what it does.
fn find(call: &Call<'_>) -> Found {
    let complain = |error: StoreError| tracing::error!("{error}");
    match call.journals.open(&call.key(), PATIENCE) {
        Ok(None) => Found::Nothing,
        Ok(Some(Access::Removed)) => Found::Undone,
        Ok(Some(Access::Ours(journal))) if journal.story().begin.is_none() => {
            journal.remove().unwrap_or_else(complain);
            Found::Nothing
        }
        Ok(Some(Access::Ours(journal))) => Found::Journal(journal),
        Ok(Some(Access::Busy(mut busy))) => {
            tracing::error!(
                container_id = call.environment.container_id,
                "another call has been working on this attachment for {PATIENCE:?}; it is told to undo itself"
            );
            busy.abandon().unwrap_or_else(complain);
            Found::Abandoned(busy.story)
        }
        Err(error) => {
            complain(error);
            tracing::error!("going by the configuration alone");
            Found::Nothing
        }
    }
}
