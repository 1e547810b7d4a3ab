//! The hooks around one plugin call, and what each verdict means for each verb.

use crate::delegate::Delegate;
use crate::entry::{Effect, Entry};
use crate::error::{Error, HookFailure, Why};
use crate::visit::{Guests, Seat, Visited};
use serde_json::value::RawValue;
use std::io::Write;
use wasmhook_cni::{self as cni, Args, Environment, Object, SpecVersion, Verb, same_json};
use wasmhook_wasm::{CniError, Phase, PostVerdict, PreVerdict, Request, Verdict};

/// One plugin call with its hooks.
pub(crate) struct Pipeline<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) args: Args,
    pub(crate) network: String,
    pub(crate) version: SpecVersion,
    pub(crate) entry: &'a Entry,
    pub(crate) guests: &'a Guests<'a>,
    /// The plugin; none when the entry stands alone.
    pub(crate) delegate: Option<Delegate<'a>>,
    /// What the plugin gets, hooks what they see: without `prevResult` and `hooks`.
    pub(crate) config: Object,
    pub(crate) prev_result: Option<Box<RawValue>>,
    pub(crate) stderr: &'a mut dyn Write,
    /// Each hook's place in its room, and what its `pre` left for its `post`.
    pub(crate) seats: Vec<(Seat, Option<String>)>,
    /// What DEL fails with in the end because of a hook, if the entry lets it. Until then it goes on.
    pub(crate) del_refused: Option<Error>,
}

/// How far the call has come: a result (none for DEL and CHECK), or an error.
type Standing = Result<Option<Object>, Error>;

/// What a verdict means for the call.
enum Step {
    /// Nothing: on to the next.
    GoOn,
    /// This is the result now.
    Result(Option<Object>),
    /// The call fails.
    Refused(cni::Error),
}

impl Pipeline<'_> {
    /// Hooks, plugin, hooks. What comes out is what the runtime gets.
    pub(crate) fn run(mut self) -> Standing {
        // `made` is what a failing post hook leaves to be undone.
        let (standing, made) = match self.before()? {
            Step::Refused(error) => return Err(error.into()),
            Step::Result(answer) => (Ok(answer), None),
            Step::GoOn => {
                let standing = self.plugin();
                let made = self.delegate.as_ref().and_then(|_| standing.as_ref().ok().cloned());
                (standing, made)
            }
        };
        let result = self.after(standing);
        match (result, made) {
            (Err(error), Some(made)) if self.verb() == Verb::Add => {
                self.undo(made.as_ref());
                Err(error)
            }
            (Ok(result), _) => self.del_refused.map_or(Ok(result), Err),
            (result, _) => result,
        }
    }

    fn verb(&self) -> Verb {
        self.environment.verb
    }

    /// The pre hooks, in list order. A result is an answer in the plugin's place.
    fn before(&mut self) -> Result<Step, Error> {
        for index in 0..self.entry.hooks.len() {
            let phase = Phase::Pre(self.request(index));
            let Some(visited) = self.visit(index, &phase)? else { continue };
            let Verdict::Pre(verdict) = visited.verdict else { continue };
            self.seats[index].1 = visited.carry;
            match self.consider_pre(index, verdict) {
                Ok(Step::GoOn) => {}
                Ok(step) => return Ok(step),
                Err(why) => self.hook_failed(index, "pre", why)?,
            }
        }
        Ok(Step::GoOn)
    }

    /// An error here is the hook's failure, not yet the call's.
    fn consider_pre(&mut self, index: usize, verdict: PreVerdict) -> Result<Step, Why> {
        match (verdict, self.verb()) {
            (PreVerdict::Proceed, _) => {}
            (PreVerdict::Rewrite(_), Verb::Check) => self.ignored(index, "rewrite"),
            (PreVerdict::Rewrite(text), _) => self.config = self.rewritten(&text)?,
            (PreVerdict::Answer(text), Verb::Add) => return Ok(Step::Result(Some(self.result(&text)?))),
            (PreVerdict::Answer(_), Verb::Check) => return Ok(Step::Result(None)),
            (PreVerdict::Answer(_), verb) => {
                return Err(Why::Verdict(format!("`answer` at {verb}, where the plugin must run")));
            }
            (PreVerdict::Deny(error), Verb::Del) => self.refuse_del(index, wanted_error(error)?),
            (PreVerdict::Deny(error), _) => return Ok(Step::Refused(wanted_error(error)?)),
        }
        Ok(Step::GoOn)
    }

    /// The plugin itself, or what came before where there is none.
    fn plugin(&mut self) -> Standing {
        let (verb, prev_result) = (self.verb(), self.prev_result.as_deref());
        let Some(delegate) = &self.delegate else {
            return match (verb, prev_result) {
                (Verb::Add, None) => Err(Error::NothingToReturn),
                (Verb::Add, Some(prev_result)) => {
                    let mut result: Object =
                        prev_result.get().parse().map_err(|error| not_an_object(&error))?;
                    if !result.contains("cniVersion") {
                        result.set_str("cniVersion", self.version.as_str());
                    }
                    Ok(Some(result))
                }
                _ => Ok(None),
            };
        };
        let standing = delegate.run(verb, &self.config, prev_result, self.stderr);
        if standing.is_err() && verb == Verb::Add {
            self.undo(None);
        }
        standing.map_err(Error::from)
    }

    /// The post hooks, in reverse order.
    fn after(&mut self, mut standing: Standing) -> Standing {
        for index in (0..self.entry.hooks.len()).rev() {
            let outcome = match standing {
                Ok(ref result) => Ok(result.as_ref().map_or_else(String::new, Object::to_string)),
                // Ours or the machine's, a hook has no say in it.
                Err(error @ (Error::NothingToReturn | Error::Hook(_))) => return Err(error),
                Err(error) => {
                    let error = cni::Error::from(error);
                    let seen = contract_error(&error);
                    standing = Err(Error::Cni(error));
                    Err(seen)
                }
            };
            let phase = Phase::Post(self.request(index), outcome);
            let Some(visited) = self.visit(index, &phase)? else { continue };
            let Verdict::Post(verdict) = visited.verdict else { continue };
            match self.consider_post(index, verdict, &standing) {
                Ok(Step::GoOn) => {}
                Ok(Step::Result(result)) => standing = Ok(result),
                Ok(Step::Refused(error)) => return Err(error.into()),
                Err(why) => self.hook_failed(index, "post", why)?,
            }
        }
        standing
    }

    /// An error here is the hook's failure, not yet the call's.
    fn consider_post(
        &mut self,
        index: usize,
        verdict: PostVerdict,
        standing: &Standing,
    ) -> Result<Step, Why> {
        match (verdict, standing, self.verb()) {
            (PostVerdict::Keep, ..) => {}
            (PostVerdict::Rewrite(text), Ok(_), Verb::Add)
            | (PostVerdict::Recover(text), Err(_), Verb::Add) => {
                return Ok(Step::Result(Some(self.result(&text)?)));
            }
            (PostVerdict::Rewrite(_), Ok(_), _) => self.ignored(index, "rewrite"),
            (PostVerdict::Rewrite(_), Err(_), _) => {
                return Err(Why::Verdict("`rewrite` of an error; `recover` makes a result of one".into()));
            }
            (PostVerdict::Fail(error), _, Verb::Del) => self.refuse_del(index, wanted_error(error)?),
            (PostVerdict::Fail(error), ..) => return Ok(Step::Refused(wanted_error(error)?)),
            (PostVerdict::Recover(_), Err(_), _) => return Ok(Step::Result(None)),
            (PostVerdict::Recover(_), Ok(_), _) => {
                return Err(Why::Verdict("`recover` from a success; `rewrite` changes a result".into()));
            }
        }
        Ok(Step::GoOn)
    }

    /// Takes back what an ADD did. The original error is what counts, so what goes wrong here is only logged.
    fn undo(&mut self, made: Option<&Object>) {
        let Some(delegate) = &self.delegate else { return };
        let prev_result = match made {
            Some(made) => serde_json::value::to_raw_value(made).ok(),
            None => self.prev_result.clone(),
        };
        tracing::info!(container_id = self.environment.container_id, "undoing a failed ADD");
        if let Err(error) = delegate.run(Verb::Del, &self.config, prev_result.as_deref(), self.stderr) {
            tracing::error!(container_id = self.environment.container_id, "undoing a failed ADD: {error}");
        }
    }

    /// One phase of one hook. `None` when it is broken and that is to be ignored.
    fn visit(&mut self, index: usize, phase: &Phase) -> Result<Option<Visited>, Error> {
        let hook = &self.entry.hooks[index];
        match self.guests.visit(hook, &mut self.seats[index].0, self.environment.verb, phase) {
            Ok(visited) => Ok(Some(visited)),
            Err(failure) => self.on_failure(index, failure).map(|()| None),
        }
    }

    fn hook_failed(&mut self, index: usize, phase: &'static str, why: Why) -> Result<(), Error> {
        let hook = &self.entry.hooks[index];
        self.on_failure(index, HookFailure { hook: hook.name.clone(), at: hook.at.clone(), phase, why })
    }

    /// Broken is not "deny": what comes of it is the operator's decision.
    fn on_failure(&mut self, index: usize, failure: HookFailure) -> Result<(), Error> {
        let hook = &self.entry.hooks[index];
        match hook.on_failure.effect(self.verb()) {
            Effect::Fail if self.verb() == Verb::Del => {
                tracing::error!(container_id = self.environment.container_id, "{failure}");
                self.del_refused.get_or_insert(failure.into());
                Ok(())
            }
            Effect::Fail => Err(failure.into()),
            Effect::Ignore => {
                tracing::error!(verb = %self.verb(), container_id = self.environment.container_id, "{failure}; ignored (`onFailure`)");
                Ok(())
            }
        }
    }

    fn ignored(&self, index: usize, what: &str) {
        let hook = &self.entry.hooks[index].name;
        tracing::warn!(hook, verb = %self.verb(), "`{what}` has no meaning at this verb; ignored");
    }

    /// All clean-up runs, whatever a hook says.
    fn refuse_del(&mut self, index: usize, error: cni::Error) {
        let hook = &self.entry.hooks[index].name;
        if self.entry.may_fail_del {
            self.del_refused.get_or_insert(error.into());
        } else {
            tracing::warn!(hook, "wants DEL to fail: {error}; ignored (`mayFailDel` is not set)");
        }
    }

    fn request(&self, index: usize) -> Request {
        let environment = self.environment;
        Request {
            verb: self.verb().to_string(),
            cni_version: self.version.to_string(),
            container_id: environment.container_id.clone(),
            netns: environment.netns.clone(),
            ifname: environment.ifname.clone(),
            args: self.args.pairs().to_vec(),
            network: self.network.clone(),
            plugin: match &self.delegate {
                Some(_) => self.config.read("type").ok().flatten().unwrap_or_default(),
                None => String::new(),
            },
            config: self.config.to_string(),
            prev_result: self.prev_result.as_deref().map_or("", RawValue::get).to_owned(),
            hook_config: self.entry.hooks[index].config.get().to_owned(),
            dry_run: false,
            carry: self.seats[index].1.clone().unwrap_or_default(),
            extra: "{}".to_owned(),
        }
    }

    /// A configuration that a hook may have written: not everything in it is its to change.
    fn rewritten(&self, text: &str) -> Result<Object, Why> {
        let config: Object = text
            .parse()
            .map_err(|error| Why::Verdict(format!("the configuration is no JSON object: {error}")))?;
        if config.contains("prevResult") {
            return Err(Why::Verdict(
                "the configuration holds `prevResult`; answer or rewrite the result".into(),
            ));
        }
        let protected =
            |key: &str| matches!(key, "name" | "cniVersion" | "type") || key.starts_with("cni.dev/");
        let keys = self.config.iter().chain(config.iter()).map(|(key, _)| key).filter(|key| protected(key));
        for key in keys {
            let same = match (self.config.raw(key), config.raw(key)) {
                (Some(was), Some(is)) => same_json(was, is),
                _ => false,
            };
            if !same {
                return Err(Why::Verdict(format!("the configuration changes `{key}`, which no hook may")));
            }
        }
        Ok(config)
    }

    /// A result that a hook has written.
    fn result(&self, text: &str) -> Result<Object, Why> {
        let mut result: Object =
            text.parse().map_err(|error| Why::Verdict(format!("the result is no JSON object: {error}")))?;
        serde_json::from_str::<cni::CniResult>(text)
            .map_err(|error| Why::Verdict(format!("the result is not CNI's: {error}")))?;
        match result.read::<String>("cniVersion") {
            Ok(None) => result.set_str("cniVersion", self.version.as_str()),
            Ok(Some(version)) if version == self.version.as_str() => {}
            _ => {
                let version = self.version;
                return Err(Why::Verdict(format!(
                    "the result's `cniVersion` is not the configuration's, {version}"
                )));
            }
        }
        Ok(result)
    }
}

fn wanted_error(error: CniError) -> Result<cni::Error, Why> {
    if error.code == 0 {
        return Err(Why::Verdict(format!("an error with code 0: {:?}", error.msg)));
    }
    Ok(cni::Error::new(error.code, error.msg).with_details(error.details))
}

fn contract_error(error: &cni::Error) -> CniError {
    CniError { code: error.code, msg: error.msg.clone(), details: error.details.clone().unwrap_or_default() }
}

fn not_an_object(error: &serde_json::Error) -> Error {
    Error::Cni(cni::Error::new(cni::code::DECODING, format!("error unmarshall prevResult: {error}")))
}
