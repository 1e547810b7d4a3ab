use super::alone;
use crate::call::{Call, PATIENCE};
use crate::error::Error;
use crate::pipeline::{Pipeline, Standing};
use crate::recording::Recorded;
use crate::undo::{note_deleted, undo_effects_by};
use std::time::Duration;
use wasmhook_cni::Verb;
use wasmhook_store::{Access, Journal, Namespace, Story};

/// DEL: what ADD did is taken back, the last thing first.
pub(crate) fn del(call: &Call<'_>) -> Standing {
    let (mut journal, story) = match find(call) {
        Found::Nothing(lock) => (lock, None),
        Found::Journal(journal) => {
            let story = journal.story().clone();
            (Some(journal), Some(story))
        }
        Found::Abandoned(story) => (None, Some(story)),
        Found::Undone => return Ok(None),
    };
    if story.is_none() && call.is_our_namespace() {
        journal.map_or(Ok(()), Journal::remove)?;
        return Err(Error::OurNamespace);
    }
    call.know(story.as_ref());
    call.guests.reach(call.networks(story.as_ref()));
    let finished = story.as_ref().is_some_and(|story| story.finished.is_some());
    let delegates = call.recorded(story.as_ref());
    let (mut failed, mut refused) = (None, None);
    let overrides = call.surroundings(story.as_ref());
    for (index, delegate) in delegates.iter().enumerate().rev() {
        if let Some(journal) = &mut journal
            && let Err(error) = undo_effects_by(&call.means, journal, delegate.step + 1, &overrides)
        {
            tracing::error!(container_id = call.environment.container_id, "DEL: {error}");
            failed.get_or_insert(error);
            if finished && !call.entry.del_continues {
                break;
            }
        }
        if story.is_some() && !delegate.is_held {
            continue;
        }
        let mut plugin = Recorded { call, verb: Verb::Del, delegate, journal: journal.as_ref() };
        let pipeline = Pipeline {
            call,
            plugin: &mut plugin,
            config: delegate.config.clone(),
            config_is_fixed: story.is_some(),
            prev_result: delegate.prev_result.clone(),
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
    if let Some(journal) = &mut journal
        && (failed.is_none() || !finished || call.entry.del_continues)
        && let Err(error) = undo_effects_by(&call.means, journal, 0, &overrides)
    {
        tracing::error!(container_id = call.environment.container_id, "DEL: {error}");
        failed.get_or_insert(error);
    }
    if failed.is_none() || story.is_none() {
        // Of an ADD that was told to undo itself it may be free by now.
        let journal = journal.or_else(|| match call.journals.open(&call.key(), Duration::ZERO) {
            Ok(Some(Access::Ours(journal))) => Some(journal),
            _ => None,
        });
        journal.map_or(Ok(()), Journal::remove)?;
    }
    failed.or(refused).map_or(Ok(None), Err)
}

enum Found {
    /// No journal that tells something. The lock all the same, so that DELs of one attachment come one after the other.
    Nothing(Option<Journal>),
    /// It is ours now.
    Journal(Journal),
    /// Somebody has worked on it for too long.
    Abandoned(Story),
    /// While we waited, by another DEL or by the ADD itself, and nothing that we know was unknown to them.
    Undone,
}

/// DEL never gets stuck: what cannot be read is left aside, and whoever works too long is told to undo what it does.
fn find(call: &Call<'_>) -> Found {
    let (journals, key) = (&call.journals, call.key());
    let opened = match journals.open(&key, PATIENCE) {
        Ok(Some(Access::Removed(story))) if knows_no_more(call, &story) => return Found::Undone,
        Ok(None | Some(Access::Removed(_))) if call.entry.delegates.is_empty() => {
            return Found::Nothing(None);
        }
        Ok(None | Some(Access::Removed(_))) => journals.create(&key, PATIENCE).map(Some),
        opened => opened,
    };
    match opened {
        Ok(Some(Access::Ours(journal))) if journal.story().begin.is_none() => Found::Nothing(Some(journal)),
        Ok(Some(Access::Ours(journal))) => Found::Journal(journal),
        Ok(Some(Access::Busy(busy))) => {
            tracing::error!(
                container_id = call.environment.container_id,
                "another call has been working on this attachment for {PATIENCE:?}; if it is an ADD, it undoes itself now"
            );
            Found::Abandoned(busy.abandon())
        }
        Ok(None | Some(Access::Removed(_))) => Found::Nothing(None),
        Err(error) => {
            tracing::error!("{error}; going by the configuration alone");
            Found::Nothing(None)
        }
    }
}

/// Whoever undid this knew the container's namespace, or we do not know it either.
fn knows_no_more(call: &Call<'_>, story: &Story) -> bool {
    let netns = &call.environment.netns;
    let had_it = story.begin.as_ref().is_some_and(|begin| begin.netns.is_some_and(|it| it.id.is_some()));
    had_it || Namespace::at(netns).is_none() || Namespace::is_unmounted(netns)
}
