use super::ask_all;
use crate::call::Call;
use crate::error::Error;
use crate::pipeline::Standing;
use crate::undo::{idle, undo};
use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};
use wasmhook_cni::{self as cni, Attachment, VALID_ATTACHMENTS, code};
use wasmhook_store::Journal;

/// GC: what belongs to no attachment any more is taken away. Goes on after errors, and tells all of them.
pub(crate) fn gc(call: &Call<'_>) -> Standing {
    let mut errors = Vec::new();
    match valid(call) {
        Ok(Some(valid)) => {
            collect(call, &valid, &mut errors);
            call.guests.sweep(&call.journals);
        }
        Ok(None) => tracing::info!("GC without a list of valid attachments: nothing of ours is taken away"),
        Err(error) => errors.push(error),
    }
    errors.extend(ask_all(call));
    all(errors)
}

/// `None`: there is no list, which means nothing is known to be invalid.
fn valid(call: &Call<'_>) -> Result<Option<HashSet<Attachment>>, Error> {
    for key in VALID_ATTACHMENTS {
        let list: Option<Vec<Attachment>> = call.config.read(key).map_err(|error| {
            cni::Error::new(code::DECODING, format!("error unmarshall network config: {error}"))
        })?;
        if let Some(list) = list {
            return Ok(Some(list.into_iter().collect()));
        }
    }
    Ok(None)
}

fn collect(call: &Call<'_>, valid: &HashSet<Attachment>, errors: &mut Vec<Error>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let journals = match idle(&call.journals) {
        Ok(journals) => journals,
        Err(error) => return errors.push(error.into()),
    };
    for mut journal in journals {
        if call.means.left().is_zero() {
            let msg = "the time of this GC is over, and there is more to take away: call it again";
            return errors.push(cni::Error::new(code::TRY_AGAIN, msg).into());
        }
        if is_stale(call, &journal, valid, now.as_millis()) {
            let undone = undo(&call.means, &mut journal, None).and_then(|()| Ok(journal.remove()?));
            errors.extend(undone.err());
        }
    }
}

fn is_stale(call: &Call<'_>, journal: &Journal, valid: &HashSet<Attachment>, now: u128) -> bool {
    // An ADD that has not begun: somebody makes it, or died before.
    let Some(begin) = &journal.story().begin else { return false };
    let key = &begin.key;
    let named = Attachment { container_id: key.container_id.clone(), ifname: key.ifname.clone() };
    if key.network != call.network || valid.contains(&named) || u128::from(begin.began) >= now {
        return false;
    }
    if !begin.namespace_is_gone() {
        tracing::warn!(
            container_id = key.container_id,
            ifname = key.ifname,
            "not a valid attachment, but its namespace is still there: left alone (`wasmhookctl gc --force`)"
        );
        return false;
    }
    tracing::info!(
        container_id = key.container_id,
        ifname = key.ifname,
        "not a valid attachment: taking it away"
    );
    true
}

/// One error out of all of them.
fn all(errors: Vec<Error>) -> Standing {
    let mut errors: Vec<cni::Error> = errors.into_iter().map(cni::Error::from).collect();
    if errors.len() < 2 {
        return errors.pop().map_or(Ok(None), |error| Err(error.into()));
    }
    let said: Vec<_> = errors.iter().map(ToString::to_string).collect();
    Err(cni::Error::new(errors[0].code, said.join("; ")).into())
}
