//! GC: what belongs to no attachment any more is taken away.

use crate::attachment::{idle, undo};
use crate::call::Call;
use crate::delegate::{Delegate, Run};
use crate::error::Error;
use crate::pipeline::{Pipeline, Plugin, Standing};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::time::{SystemTime, UNIX_EPOCH};
use wasmhook_cni::{self as cni, Object, Verb, code};
use wasmhook_store::Journal;

/// The keys that hold what is to stay: the specification's, and the one that drafts of it had.
const KEYS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];

#[derive(Deserialize)]
struct Attachment {
    #[serde(rename = "containerID")]
    container_id: String,
    ifname: String,
}

/// Goes on after errors, and tells all of them.
pub(crate) fn gc(call: &Call<'_>) -> Standing {
    let mut errors = Vec::new();
    match valid(call) {
        Ok(Some(valid)) => collect(call, &valid, &mut errors),
        Ok(None) => tracing::info!("GC without a list of valid attachments: nothing of ours is taken away"),
        Err(error) => errors.push(error),
    }
    for delegate in &call.entry.delegates {
        let collected = call.delegate_config(delegate).and_then(|config| {
            let delegate = Delegate::of(delegate, &call.environment.path)?;
            let mut plugin = Asking { call, delegate, verb: Verb::Gc };
            around(call, &mut plugin, config)
        });
        errors.extend(collected.err());
    }
    if call.entry.delegates.is_empty() {
        errors.extend(around(call, &mut Nobody, call.own_config()).err());
    }
    all(errors)
}

/// Hooks around one plugin, at a verb that is about no attachment.
pub(crate) fn around(call: &Call<'_>, plugin: &mut dyn Plugin, config: Object) -> Result<(), Error> {
    let pipeline = Pipeline { call, plugin, config, config_is_fixed: true, prev_result: None };
    pipeline.run().standing.map(|_| ())
}

/// `None`: there is no list, which means nothing is known to be invalid.
fn valid(call: &Call<'_>) -> Result<Option<HashSet<(String, String)>>, Error> {
    for key in KEYS {
        let list: Option<Vec<Attachment>> = call.config.read(key).map_err(|error| {
            cni::Error::new(code::DECODING, format!("error unmarshall network config: {error}"))
        })?;
        if let Some(list) = list {
            return Ok(Some(list.into_iter().map(|it| (it.container_id, it.ifname)).collect()));
        }
    }
    Ok(None)
}

fn collect(call: &Call<'_>, valid: &HashSet<(String, String)>, errors: &mut Vec<Error>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let journals = match idle(&call.journals) {
        Ok(journals) => journals,
        Err(error) => return errors.push(error.into()),
    };
    for mut journal in journals {
        if is_stale(call, &journal, valid, now.as_millis()) {
            let undone = undo(&call.means, &mut journal, None).and_then(|()| Ok(journal.remove()?));
            errors.extend(undone.err());
        }
    }
}

fn is_stale(call: &Call<'_>, journal: &Journal, valid: &HashSet<(String, String)>, now: u128) -> bool {
    // An ADD that has not begun: somebody makes it, or died before.
    let Some(begin) = &journal.story().begin else { return false };
    let key = &begin.key;
    let named = (key.container_id.clone(), key.ifname.clone());
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
        "not a valid attachment: taken away"
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

/// A delegate at GC or STATUS.
pub(crate) struct Asking<'p, 'c> {
    pub(crate) call: &'p Call<'c>,
    pub(crate) delegate: Delegate,
    pub(crate) verb: Verb,
}

impl Plugin for Asking<'_, '_> {
    fn name(&self) -> &str {
        &self.delegate.plugin_type
    }

    fn run(&mut self, config: &Object, prev_result: Option<&RawValue>) -> Standing {
        let until = self.call.means.delegate_until();
        let run = Run { verb: self.verb, config, prev_result, until, keep: None, overrides: &[] };
        Ok(self.delegate.run(&run, &self.call.means.around)?)
    }
}

/// Where there is no plugin, nothing is to be asked.
pub(crate) struct Nobody;

impl Plugin for Nobody {
    fn name(&self) -> &'static str {
        ""
    }

    fn run(&mut self, _: &Object, _: Option<&RawValue>) -> Standing {
        Ok(None)
    }
}
