//! Breaking pod networking on purpose: what the hooks `fault` and `chaos` share.
//!
//! A `script` says what happens at which attempt; `attempts` are counted; `settings` say when and whom it is at, until the end of
//! their `window`; an action is `perform`ed.

mod attempts;
mod perform;
mod script;
mod settings;
mod window;

use attempts::Subject;
use script::{Luck, Script};
use serde_json::{Map, Value};
use settings::{Per, PodScripts, Scripts, Settings};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::Duration;
use wasmhook_sdk::{Hook, Outcome, Phases, Post, Pre, Request, Result, clock, error, warn};
use wildmatch::WildMatch;

/// So much is logged of what a pod has written: a log that is full ends the hook, and that fails the pod.
const MOST_TOLD: usize = 300;

/// How a call ends in a way that no verdict can say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With these bytes and this exit code.
    Print(Vec<u8>, i32),
    /// By this signal.
    Signal(u32),
    /// Not at all.
    Hang,
}

/// What a module can do beyond verdicts. What it does not use it does not import, and needs no grant for.
pub trait Means {
    /// Is there anything?
    const CHAOS: bool;

    /// Ends the call; with `keep`, nothing is undone.
    ///
    /// # Errors
    /// The host does not let it, or this module cannot.
    fn end(end: End, keep: bool) -> Result<()>;

    /// Sets a link of the container down.
    ///
    /// # Errors
    /// The host does not let it, or this module cannot.
    fn set_down(ifname: &str) -> Result<()>;
}

/// The hook.
pub struct Breaking<M>(PhantomData<M>);

/// What is to happen now.
struct Strike<'s> {
    turn: script::Turn<'s>,
    luck: Luck<'s>,
    attempt: u64,
}

impl<M: Means> Hook for Breaking<M> {
    const BREAKS_THINGS: bool = true;
    const PHASES: Phases = Phases::Both;

    fn pre(request: &Request) -> Result<Pre> {
        let struck = strike::<M, _>(request, false, |it| {
            perform::before::<M>(it.turn.action, request, (it.luck, it.attempt, it.turn.term))
        })?;
        Ok(struck.unwrap_or(Pre::Proceed))
    }

    fn post(request: &Request, outcome: Outcome) -> Result<Post> {
        if outcome.error().is_some() {
            return Ok(Post::Keep);
        }
        let result = outcome.result()?;
        let struck = strike::<M, _>(request, true, |it| {
            perform::after::<M>(it.turn.action, request, result.as_ref(), (it.luck, it.attempt, it.turn.term))
        })?;
        Ok(struck.unwrap_or(Post::Keep))
    }

    fn validate(request: &Request) -> Result<()> {
        Settings::read(request, M::CHAOS).map(drop)
    }
}

/// Does what is to happen now, if anything is.
fn strike<M: Means, T>(
    request: &Request,
    after: bool,
    act: impl FnOnce(Strike<'_>) -> Result<T>,
) -> Result<Option<T>> {
    let settings = Settings::read(request, M::CHAOS)?;
    let now = settings.window.is_bounded().then(clock::now);
    if now.is_some_and(|now| !settings.window.holds(now)) {
        return Ok(None);
    }
    let annotations = if settings.opt_in.is_some() || settings.pod_scripts.is_some() {
        request.annotations()?
    } else {
        BTreeMap::new()
    };
    if settings.opt_in.as_ref().is_some_and(|it| !it.is_in(&annotations)) {
        return Ok(None);
    }
    let own = match own_scripts::<M>(settings.pod_scripts.as_ref(), request, &annotations) {
        Ok(own) => own,
        // A mistake of a pod's is no mistake of the node's. What it wanted nobody knows, so it is left alone.
        Err(what) => {
            warn!("nothing is injected into {}: {what}", Subject::of(request, Per::Pod).name);
            return Ok(None);
        }
    };
    // A pod's own script touches nobody else.
    let per = if own.is_some() && settings.per == Per::Network { Per::Pod } else { settings.per };
    let Some(script) = own.as_ref().unwrap_or(&settings.scripts).at(&request.verb, after) else {
        return Ok(None);
    };
    let subject = Subject::of(request, per);
    match attempt(&settings, script, &subject, request, (after, now)) {
        Ok(None) => Ok(None),
        Ok(Some((attempt, key))) => {
            let luck = Luck { seed: settings.seed, key: &key };
            let Some(turn) = script.at(attempt, luck) else { return Ok(None) };
            let (action, verb, seed) = (turn.action, &request.verb, settings.seed);
            warn!("injecting {action} into {} ({verb}, attempt {attempt}, seed {seed})", subject.name);
            act(Strike { turn, luck, attempt }).map(Some)
        }
        // Whoever breaks things must not break more than that.
        Err(failure) => {
            error!("nothing is injected into {}: {failure}", subject.name);
            Ok(None)
        }
    }
}

/// The number of this attempt and what draws go by, if something happens at it.
fn attempt(
    settings: &Settings,
    script: &Script,
    subject: &Subject,
    request: &Request,
    (after, now): (bool, Option<Duration>),
) -> Result<Option<(u64, String)>> {
    // Another script begins from the beginning.
    let moment = if after { "after" } else { "before" };
    let what = format!("{}/{moment}/{:08x}", request.verb, attempts::hash(&script.to_string()) >> 32);
    let attempt = if script.counts() { attempts::next(&what, subject, settings.remember)? } else { 1 };
    let key = format!("{}/{}/{moment}", subject.key, request.verb);
    let happens = script.at(attempt, Luck { seed: settings.seed, key: &key }).is_some();
    if happens && !attempts::enter(settings, subject, now)? {
        let most = settings.max_active.unwrap_or_default();
        warn!("nothing is injected into {}: {most} are active already (`maxActive`)", subject.name);
        return Ok(None);
    }
    if !happens && script.is_over_after(attempt.saturating_sub(1)) {
        attempts::leave(subject);
    }
    Ok(happens.then_some((attempt, key)))
}

/// What the pod brings itself, if it may and does.
fn own_scripts<M: Means>(
    allowed: Option<&PodScripts>,
    request: &Request,
    annotations: &BTreeMap<String, String>,
) -> Result<Option<Scripts>, String> {
    let Some(allowed) = allowed else { return Ok(None) };
    let namespace = request.args.value("K8S_POD_NAMESPACE").unwrap_or_default();
    if !allowed.namespaces.iter().any(|it| WildMatch::new(it).matches(namespace)) {
        return Ok(None);
    }
    let Some(text) = annotations.get(&allowed.annotation) else { return Ok(None) };
    let wrong = |what: &str| format!("annotation {}: {}", allowed.annotation, script::brief(what, MOST_TOLD));
    if text.starts_with('/') {
        return Err(wrong(&format!(
            "a path, and a pod's word opens no file of the node: write the script itself, not {text:?}"
        )));
    }
    let written: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| wrong(&error.to_string()))?;
    let scripts = Scripts::read(&written, M::CHAOS);
    scripts.map(Some).map_err(|(key, what)| wrong(&format!("`{}`: {what}", key.trim_start_matches('.'))))
}

#[cfg(test)]
mod tests;
