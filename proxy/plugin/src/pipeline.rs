//! The hooks around one plugin call, and what each verdict means for each verb.

use crate::call::Call;
use crate::entry::Effect;
use crate::error::{Error, HookFailure, Why};
use crate::visit::{Asking, Seat, Visited};
use crate::when::Facts;
use serde_json::value::RawValue;
use wasmhook_cni::{self as cni, Object, Verb, code, same_json};
use wasmhook_host::{End, Ending};
use wasmhook_wasm::{CniError, Phase, PostVerdict, PreVerdict, Request, Verdict};

/// What the hooks stand around.
pub(crate) trait Plugin {
    /// `type`; `""` where there is none.
    fn name(&self) -> &str;

    /// The plugin itself, with the configuration as the hooks have left it.
    fn run(&mut self, config: &Object, prev_result: Option<&RawValue>) -> Standing;

    /// A hook that has done something itself says what the result is by that.
    fn true_words(&mut self, _before: &Object, _after: &Object) {}
}

/// One plugin call with its hooks.
pub(crate) struct Pipeline<'p, 'c> {
    pub(crate) call: &'p Call<'c>,
    pub(crate) plugin: &'p mut dyn Plugin,
    /// What the plugin gets, hooks what they see: without `prevResult` and `hooks`.
    pub(crate) config: Object,
    /// Is it the journal's, which no hook may change any more?
    pub(crate) config_is_fixed: bool,
    pub(crate) prev_result: Option<Box<RawValue>>,
}

/// How far a call has come: a result (none for verbs without one), or an error.
pub(crate) type Standing = Result<Option<Object>, Error>;

/// What a plugin call with its hooks came to.
pub(crate) struct Outcome {
    pub(crate) standing: Standing,
    /// Did a hook take the plugin's place?
    pub(crate) replaced: bool,
    /// What DEL fails with in the end because of a hook, if the entry lets it.
    pub(crate) refused: Option<Error>,
}

/// A pipeline at work.
struct Round<'p, 'c> {
    pipeline: Pipeline<'p, 'c>,
    /// Each hook's place in its room, and what its `pre` left for its `post`.
    seats: Vec<(Seat, Option<String>)>,
    /// Whether each hook is met before and after the plugin.
    met: Vec<[bool; 2]>,
    /// For hooks: what of the call stands in no other field.
    extra: String,
    replaced: bool,
    refused: Option<Error>,
}

/// What a verdict means for the call.
enum Step {
    /// Nothing: on to the next.
    GoOn,
    /// This is the result now.
    Result(Option<Object>),
    /// The call fails.
    Refused(cni::Error),
}

impl Pipeline<'_, '_> {
    /// Hooks, plugin, hooks.
    pub(crate) fn run(self) -> Outcome {
        let seats = self.call.entry.hooks.iter().map(|_| Default::default()).collect();
        let (met, extra) = self.select();
        let mut round = Round { pipeline: self, seats, met, extra, replaced: false, refused: None };
        let standing = round.run();
        Outcome { standing, replaced: round.replaced, refused: round.refused }
    }

    /// By what is there before the first hook has changed it.
    fn select(&self) -> (Vec<[bool; 2]>, String) {
        let mut facts =
            Facts { plugin: Some(self.plugin.name()), config: Some(&self.config), ..self.call.facts() };
        let mut met = Vec::with_capacity(self.call.entry.hooks.len());
        for hook in &self.call.entry.hooks {
            met.push(["pre", "post"].map(|phase| {
                facts.phase = Some(phase);
                hook.selected && hook.when.holds(&hook.name, &facts)
            }));
            if met.last() == Some(&[false, false]) && tracing::enabled!(tracing::Level::DEBUG) {
                facts.phase = None;
                tracing::debug!(
                    hook = hook.name,
                    "not met: {}",
                    hook.when.unmet(&hook.name, &facts).join("; ")
                );
            }
        }
        let extra = if met.iter().flatten().any(|it| *it) { facts.extra() } else { String::new() };
        (met, extra)
    }
}

impl Round<'_, '_> {
    fn run(&mut self) -> Standing {
        let standing = match self.before()? {
            Step::Refused(error) => return Err(error.into()),
            Step::Result(answer) => {
                self.replaced = true;
                Ok(answer)
            }
            Step::GoOn => {
                let pipeline = &mut self.pipeline;
                pipeline.plugin.run(&pipeline.config, pipeline.prev_result.as_deref())
            }
        };
        self.after(standing)
    }

    fn verb(&self) -> Verb {
        self.pipeline.call.environment.verb
    }

    /// The pre hooks, in list order. A result is an answer in the plugin's place.
    fn before(&mut self) -> Result<Step, Error> {
        for index in 0..self.seats.len() {
            if !self.is_met(index, 0)? {
                continue;
            }
            let phase = Phase::Pre(self.request(index));
            let Some(visited) = self.visit(index, &phase)? else { continue };
            let Verdict::Pre(verdict) = visited.verdict else { continue };
            self.end_if_told()?;
            self.seats[index].1 = visited.carry;
            if self.only_watches(index, "pre", &verdict) {
                continue;
            }
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
            (PreVerdict::Rewrite(_), Verb::Check | Verb::Gc | Verb::Status) => self.ignored(index, "rewrite"),
            (PreVerdict::Rewrite(_), _) if self.pipeline.config_is_fixed => self.ignored(index, "rewrite"),
            (PreVerdict::Rewrite(text), _) => {
                let config = self.rewritten(&text)?;
                self.pipeline.config = config;
            }
            (PreVerdict::Answer(text), Verb::Add) => return Ok(Step::Result(Some(self.result(&text)?))),
            (PreVerdict::Answer(_), Verb::Check | Verb::Status) => return Ok(Step::Result(None)),
            (PreVerdict::Answer(_), Verb::Gc) => self.ignored(index, "answer"),
            (PreVerdict::Answer(_), verb) => {
                return Err(Why::Verdict(format!("`answer` at {verb}, where the plugin must run")));
            }
            (PreVerdict::Deny(error), _) => return Ok(self.refuse(index, wanted_error(error)?)),
        }
        Ok(Step::GoOn)
    }

    /// The post hooks, in reverse order.
    fn after(&mut self, mut standing: Standing) -> Standing {
        for index in (0..self.seats.len()).rev() {
            if !self.met[index][1] {
                continue;
            }
            let outcome = match standing {
                Ok(ref result) => Ok(result.as_ref().map_or_else(String::new, Object::to_string)),
                // Ours or the machine's, a hook has no say in it.
                Err(error) if error.is_ours() => return Err(error),
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
            self.end_if_told()?;
            if self.only_watches(index, "post", &verdict) {
                continue;
            }
            match self.consider_post(index, verdict, &standing) {
                Ok(Step::GoOn) => {}
                Ok(Step::Result(result)) => {
                    if let (Ok(Some(before)), Some(after), true) = (&standing, &result, self.has_done(index))
                    {
                        self.pipeline.plugin.true_words(before, after);
                    }
                    standing = Ok(result);
                }
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
            (PostVerdict::Rewrite(text), Ok(_), Verb::Add) => {
                return Ok(Step::Result(Some(self.result(&text)?)));
            }
            (PostVerdict::Recover(text), Err(_), Verb::Add) => {
                let result = self.result(&text)?;
                self.replaced = true;
                return Ok(Step::Result(Some(result)));
            }
            (PostVerdict::Rewrite(_), Ok(_), _) => self.ignored(index, "rewrite"),
            (PostVerdict::Rewrite(_), Err(_), _) => {
                return Err(Why::Verdict("`rewrite` of an error; `recover` makes a result of one".into()));
            }
            (PostVerdict::Fail(error), ..) => return Ok(self.refuse(index, wanted_error(error)?)),
            (PostVerdict::Recover(_), Err(_), _) => return Ok(Step::Result(None)),
            (PostVerdict::Recover(_), Ok(_), _) => {
                return Err(Why::Verdict("`recover` from a success; `rewrite` changes a result".into()));
            }
        }
        Ok(Step::GoOn)
    }

    /// Has this hook made or changed something in this call?
    fn has_done(&self, index: usize) -> bool {
        self.pipeline.call.guests.has_done(index)
    }

    /// Is this hook's `pre` to be asked? One without which every ADD would fail must be there, even if it has no say in
    /// STATUS itself.
    fn is_met(&mut self, index: usize, phase: usize) -> Result<bool, Error> {
        let call = self.pipeline.call;
        let met = self.met[index];
        if self.verb() == Verb::Status && met == [false, false] && call.entry.hooks[index].guards_every_add()
        {
            call.guests
                .look_for(&call.entry.hooks, index)
                .or_else(|failure| self.on_failure(index, failure))?;
        }
        Ok(met[phase])
    }

    /// One phase of one hook. `None` when it is broken and that is to be ignored.
    fn visit(&mut self, index: usize, phase: &Phase) -> Result<Option<Visited>, Error> {
        let call = self.pipeline.call;
        let asking = Asking { hooks: &call.entry.hooks, index, verb: self.verb(), phase };
        match call.guests.visit(&asking, &mut self.seats[index].0, call.means.left()) {
            Ok(visited) => Ok(Some(visited)),
            Err(failure) => self.on_failure(index, failure).map(|()| None),
        }
    }

    /// A hook may have broken this call on purpose. What it says then counts no more, unless the call is to take its course; a
    /// DEL does in any case.
    fn end_if_told(&self) -> Result<(), Error> {
        let call = self.pipeline.call;
        match call.guests.ending().said() {
            Some(_) if self.verb() == Verb::Del => Ok(()),
            Some(Ending { how: End::Hang, .. }) => Err(call.hang()),
            Some(Ending { keep: false, .. }) => Err(Error::Broken),
            _ => Ok(()),
        }
    }

    /// Is this hook one that changes nothing? Then what it would have done is logged.
    fn only_watches(&self, index: usize, phase: &str, verdict: &impl std::fmt::Debug) -> bool {
        let hook = &self.pipeline.call.entry.hooks[index];
        if hook.monitor {
            let hook = &hook.name;
            tracing::info!(hook, phase, verb = %self.verb(), "monitor: would have said {verdict:?}");
        }
        hook.monitor
    }

    fn hook_failed(&mut self, index: usize, phase: &'static str, why: Why) -> Result<(), Error> {
        let hook = &self.pipeline.call.entry.hooks[index];
        self.on_failure(index, HookFailure { hook: hook.name.clone(), at: hook.at.clone(), phase, why })
    }

    /// Broken is not "deny": what comes of it is the operator's decision.
    fn on_failure(&mut self, index: usize, failure: HookFailure) -> Result<(), Error> {
        let (call, verb) = (self.pipeline.call, self.verb());
        let (hook, container_id) = (&call.entry.hooks[index], &call.environment.container_id);
        if hook.monitor {
            tracing::info!(container_id, "monitor: {failure}");
            return Ok(());
        }
        // An ADD would fail: the runtime should know before it sends a pod here.
        if verb == Verb::Status && hook.guards_every_add() && failure.why.is_missing() {
            return Err(failure.into());
        }
        match hook.on_failure.effect(verb) {
            Effect::Fail if matches!(verb, Verb::Del | Verb::Gc) => {
                tracing::error!(container_id, "{failure}");
                self.refused.get_or_insert(failure.into());
                Ok(())
            }
            Effect::Fail => Err(failure.into()),
            Effect::Ignore => {
                tracing::error!(%verb, container_id, "{failure}; ignored (`onFailure`)");
                Ok(())
            }
        }
    }

    fn ignored(&self, index: usize, what: &str) {
        let hook = &self.pipeline.call.entry.hooks[index].name;
        tracing::warn!(hook, verb = %self.verb(), "`{what}` has no meaning at this verb; ignored");
    }

    /// `deny` and `fail`: all clean-up runs, whatever a hook says.
    fn refuse(&mut self, index: usize, error: cni::Error) -> Step {
        let entry = &self.pipeline.call.entry;
        let hook = &entry.hooks[index].name;
        match self.verb() {
            Verb::Del if entry.may_fail_del => {
                self.refused.get_or_insert(error.into());
            }
            Verb::Del => {
                tracing::warn!(hook, "wants DEL to fail: {error}; ignored (`mayFailDel` is not set)");
            }
            Verb::Gc => tracing::warn!(hook, "wants GC to fail: {error}; ignored"),
            Verb::Status => return Step::Refused(cni::Error { code: code::NOT_AVAILABLE, ..error }),
            _ => return Step::Refused(error),
        }
        Step::GoOn
    }

    fn request(&self, index: usize) -> Request {
        let Pipeline { call, plugin, config, prev_result, .. } = &self.pipeline;
        let environment = &call.environment;
        Request {
            verb: self.verb().to_string(),
            cni_version: call.version.to_string(),
            container_id: environment.container_id.clone(),
            netns: environment.netns.clone(),
            ifname: environment.ifname.clone(),
            args: call.args.pairs().to_vec(),
            network: call.network.clone(),
            plugin: plugin.name().to_owned(),
            config: config.to_string(),
            prev_result: prev_result.as_deref().map_or("", RawValue::get).to_owned(),
            hook_config: call.entry.hooks[index].config.get().to_owned(),
            dry_run: false,
            carry: self.seats[index].1.clone().unwrap_or_default(),
            extra: self.extra.clone(),
        }
    }

    /// A configuration that a hook may have written: not everything in it is its to change.
    fn rewritten(&self, text: &str) -> Result<Object, Why> {
        let config = readable("configuration", text)?;
        if config.contains("prevResult") {
            return Err(Why::Verdict(
                "the configuration holds `prevResult`; answer or rewrite the result".into(),
            ));
        }
        let protected =
            |key: &str| matches!(key, "name" | "cniVersion" | "type") || key.starts_with("cni.dev/");
        let keys =
            self.pipeline.config.iter().chain(config.iter()).map(|(key, _)| key).filter(|key| protected(key));
        for key in keys {
            let same = match (self.pipeline.config.raw(key), config.raw(key)) {
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
        let mut result = readable("result", text)?;
        serde_json::from_str::<cni::CniResult>(text)
            .map_err(|error| Why::Verdict(format!("the result is not CNI's: {error}")))?;
        match result.read::<String>("cniVersion") {
            Ok(None) => result.set_str("cniVersion", self.pipeline.call.version.as_str()),
            Ok(Some(version)) if version == self.pipeline.call.version.as_str() => {}
            _ => {
                let version = self.pipeline.call.version;
                return Err(Why::Verdict(format!(
                    "the result's `cniVersion` is not the configuration's, {version}"
                )));
            }
        }
        Ok(result)
    }
}

/// An object that a plugin can read, or the runtime: not nested without end. Go's decoder refuses a document for that,
/// whatever it looks for in there; a plugin that got one could not even be asked to undo what it did.
fn readable(what: &str, text: &str) -> Result<Object, Why> {
    let object =
        text.parse().map_err(|error| Why::Verdict(format!("the {what} is no JSON object: {error}")))?;
    serde_json::from_str::<serde_json::Value>(text)
        .map_err(|error| Why::Verdict(format!("the {what} holds what no plugin can read: {error}")))?;
    Ok(object)
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
