use crate::door::HostDoor;
use crate::entry::HookSpec;
use crate::error::{HookFailure, Why};
use crate::modules::Modules;
use crate::settings::Settings;
use std::time::Instant;
use wasmhook_cni::Verb;
use wasmhook_host::Visit;
use wasmhook_wasm::{Fault, Isolation, Job, Phase, Report, Usage, Verdict, run};

/// Brings hooks into the guest's room.
#[derive(Debug)]
pub struct Guests<'a> {
    modules: Modules<'a>,
    isolation: Isolation,
}

/// What a visit came to.
#[derive(Debug)]
pub struct Visited {
    /// What the hook wants.
    pub verdict: Verdict,
    /// JSON that it leaves for its next phase.
    pub carry: Option<String>,
    /// What it cost.
    pub usage: Usage,
}

impl<'a> Guests<'a> {
    /// For a node with these settings.
    #[must_use]
    pub fn new(settings: &'a Settings) -> Self {
        Self { modules: Modules::new(settings), isolation: settings.isolation.into() }
    }

    /// One phase of one hook.
    pub fn visit(&self, hook: &HookSpec, verb: Verb, phase: Phase) -> Result<Visited, HookFailure> {
        let name = phase_name(&phase);
        self.try_visit(hook, verb, phase).map_err(|why| failure(hook, name, why))
    }

    /// One phase of a hook whose compiled module is at hand.
    pub fn visit_artifact(&self, hook: &HookSpec, verb: Verb, job: &Job) -> Result<Visited, HookFailure> {
        let (report, visit) = self.run(hook, verb, job);
        let Report { verdict, usage } = report;
        match verdict {
            Ok(verdict) => Ok(Visited { verdict, carry: visit.carry, usage }),
            Err(fault) => Err(failure(hook, visit.phase, fault.into())),
        }
    }

    fn try_visit(&self, hook: &HookSpec, verb: Verb, phase: Phase) -> Result<Visited, Why> {
        let (artifact, digest) = self.modules.artifact(hook, verb)?;
        let mut job = Job { artifact, phase, limits: hook.limits };
        let (mut report, mut visit) = self.run(hook, verb, &job);
        if let Err(Fault::Artifact(why)) = &report.verdict {
            // Made on another processor, perhaps: any doubt is a miss.
            tracing::warn!(hook = hook.name, %digest, "compiled module not usable, compiling it again: {why}");
            self.modules.store().forget(&digest);
            job.artifact = self.modules.artifact(hook, verb)?.0;
            (report, visit) = self.run(hook, verb, &job);
        }
        let Report { verdict, usage } = report;
        tracing::debug!(hook = hook.name, phase = visit.phase, ?usage, "visited");
        Ok(Visited { verdict: verdict?, carry: visit.carry, usage })
    }

    fn run(&self, hook: &HookSpec, verb: Verb, job: &Job) -> (Report, Visit) {
        let (Phase::Pre(request) | Phase::Post(request, _)) = &job.phase;
        let visit = Visit {
            hook: hook.name.clone(),
            phase: phase_name(&job.phase),
            verb: verb.as_str(),
            container_id: request.container_id.clone(),
            deadline: Instant::now() + job.limits.wall,
            carry: None,
        };
        let (report, door) = run(job, self.isolation, HostDoor::new(&hook.grants, visit));
        (report, door.into_visit())
    }
}

fn failure(hook: &HookSpec, phase: &'static str, why: Why) -> HookFailure {
    HookFailure { hook: hook.name.clone(), at: hook.at.clone(), phase, why }
}

fn phase_name(phase: &Phase) -> &'static str {
    match phase {
        Phase::Pre(_) => "pre",
        Phase::Post(..) => "post",
    }
}
