use crate::door::{HostDoor, admits};
use crate::entry::HookSpec;
use crate::error::{HookFailure, Why};
use crate::modules::Modules;
use crate::settings::Settings;
use std::fs::File;
use std::time::{Duration, Instant};
use wasmhook_cni::Verb;
use wasmhook_host::Visit;
use wasmhook_wasm::{Fault, Guest, Isolation, Phase, Usage, Verdict, expect_guests};

/// Brings hooks into the guest's room.
#[derive(Debug)]
pub struct Guests<'a> {
    modules: Modules<'a>,
    isolation: Isolation,
}

/// A hook that has been let in for this plugin call, or not yet.
#[derive(Debug, Default)]
pub struct Seat(Option<Guest<HostDoor>>);

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
    /// For a node with these settings, and this many hooks.
    #[must_use]
    pub fn new(settings: &'a Settings, hooks: usize) -> Self {
        let isolation = settings.isolation.into();
        if isolation == Isolation::None {
            expect_guests(hooks);
        }
        Self { modules: Modules::new(settings), isolation }
    }

    /// One phase of one hook, not longer than `left`. The guest keeps its seat until the next.
    pub fn visit(
        &self,
        hook: &HookSpec,
        seat: &mut Seat,
        verb: Verb,
        phase: &Phase,
        left: Duration,
    ) -> Result<Visited, HookFailure> {
        let wall = hook.limits.wall.min(left);
        let visited = if wall.is_zero() {
            Err(Why::Budget(wall))
        } else {
            self.try_visit(hook, seat, verb, phase, wall)
        };
        visited.map_err(|why| match why {
            Why::Fault(Fault::Wall(_)) if wall < hook.limits.wall => failure(hook, phase, Why::Budget(wall)),
            why => failure(hook, phase, why),
        })
    }

    /// The same for a hook whose compiled module is at hand.
    pub fn visit_with(
        &self,
        hook: &HookSpec,
        seat: &mut Seat,
        verb: Verb,
        phase: &Phase,
        artifact: &File,
    ) -> Result<Visited, HookFailure> {
        self.enter_and_ask(hook, seat, verb, phase, artifact, hook.limits.wall)
            .map_err(|fault| failure(hook, phase, fault.into()))
    }

    fn try_visit(
        &self,
        hook: &HookSpec,
        seat: &mut Seat,
        verb: Verb,
        phase: &Phase,
        wall: Duration,
    ) -> Result<Visited, Why> {
        if seat.0.is_some() {
            return Ok(ask(hook, seat, verb, phase, wall)?);
        }
        let (artifact, digest) = self.modules.artifact(hook, verb)?;
        match self.enter_and_ask(hook, seat, verb, phase, &artifact, wall) {
            Err(Fault::Artifact(why)) => {
                // Any doubt is a miss.
                tracing::warn!(hook = hook.name, %digest, "compiled module not usable, compiling it again: {why}");
                self.modules.store().forget(&digest);
                let (artifact, _) = self.modules.artifact(hook, verb)?;
                Ok(self.enter_and_ask(hook, seat, verb, phase, &artifact, wall)?)
            }
            visited => Ok(visited?),
        }
    }

    /// Lets the hook in, unless it has its seat already.
    fn enter_and_ask(
        &self,
        hook: &HookSpec,
        seat: &mut Seat,
        verb: Verb,
        phase: &Phase,
        artifact: &File,
        wall: Duration,
    ) -> Result<Visited, Fault> {
        if seat.0.is_none() {
            let admits = |interface: &str, function: &str| admits(&hook.grants, interface, function);
            seat.0 = Some(Guest::enter(artifact, hook.limits, self.isolation, &admits)?);
        }
        ask(hook, seat, verb, phase, wall)
    }
}

fn failure(hook: &HookSpec, phase: &Phase, why: Why) -> HookFailure {
    HookFailure { hook: hook.name.clone(), at: hook.at.clone(), phase: phase.name(), why }
}

fn ask(
    hook: &HookSpec,
    seat: &mut Seat,
    verb: Verb,
    phase: &Phase,
    wall: Duration,
) -> Result<Visited, Fault> {
    let Some(guest) = &mut seat.0 else { return Err(Fault::Gone) };
    let (Phase::Pre(request) | Phase::Post(request, _)) = phase;
    let visit = Visit {
        hook: hook.name.clone(),
        phase: phase.name(),
        verb: verb.as_str(),
        container_id: request.container_id.clone(),
        deadline: Instant::now() + wall,
        carry: None,
    };
    let (report, door) = guest.ask(phase, wall, HostDoor::new(&hook.grants, visit));
    let usage = report.usage;
    tracing::trace!(hook = hook.name, phase = phase.name(), ?usage, "visited");
    match report.verdict {
        Ok(verdict) => Ok(Visited { verdict, carry: door.into_visit().carry, usage }),
        Err(fault) => {
            // Whatever it was, nobody talks to that guest again.
            seat.0 = None;
            Err(fault)
        }
    }
}
