use crate::alarm::{Alarm, Reached};
use crate::bindings::Room as Exports;
use crate::limits::{Limiter, Limits};
use crate::tenant::Tenant;
use crate::{Admission, CniError, Door, Fault, PostVerdict, PreVerdict, Request, engine, link, warm};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};
use wasmtime::component::{Component, InstancePre};
use wasmtime::{Engine, Store, Trap};

/// A plugin's result as JSON text, or its error.
pub type Outcome = Result<String, CniError>;

/// What is asked of a guest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Phase {
    /// Before the plugin.
    Pre(Request),
    /// After it, with what it answered.
    Post(Request, Outcome),
}

impl Phase {
    /// `pre` or `post`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pre(_) => "pre",
            Self::Post(..) => "post",
        }
    }
}

/// What a guest wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "of the phase it names")]
pub enum Verdict {
    Pre(PreVerdict),
    Post(PostVerdict),
}

/// What one phase cost; letting the guest in is not part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Time on the wall.
    pub wall: Duration,
    /// Processor time of the guest and its host calls.
    pub cpu: Duration,
    /// Bytes of linear memory.
    pub memory: u64,
}

/// How a visit went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The verdict, or why there is none.
    pub verdict: Result<Verdict, Fault>,
    /// What it cost.
    pub usage: Usage,
}

/// All a guest needs but itself.
pub(crate) struct Room<D: 'static> {
    engine: Engine,
    guest: InstancePre<Tenant<D>>,
}

impl<D: Door + 'static> Room<D> {
    pub(crate) fn furnish(artifact: &File, admits: &dyn Fn(&str, &str) -> Admission) -> Result<Self, Fault> {
        let host = |error: wasmtime::Error| Fault::Host(format!("{error:#}"));
        warm::warm_up();
        let engine = engine::engine().map_err(host)?;
        // By way of /proc, because it is the open file that was checked, not its path.
        let path = format!("/proc/self/fd/{}", artifact.as_raw_fd());
        // SAFETY: the caller vouches for the file: made by our own compiler, and nobody else could write it
        // (`wasmhook_store::Compiled`).
        #[allow(unsafe_code, reason = "loading compiled code")]
        let component = unsafe { Component::deserialize_file(&engine, path) }
            .map_err(|error| Fault::Artifact(format!("{error:#}")))?;
        component.initialize_copy_on_write_image().map_err(host)?;
        if component.get_export_index(None, "wasmhook:hook/handler@0.1.0").is_none() {
            return Err(Fault::World);
        }
        let guest = link::link(&engine, &component, admits)?
            .instantiate_pre(&component)
            .map_err(|error| Fault::Import(format!("{error:#}")))?;
        Ok(Self { engine, guest })
    }

    /// Lets the guest in for one phase.
    pub(crate) fn ask(&self, phase: &Phase, limits: &Limits, door: D, started: Instant) -> (Report, D) {
        let mut store = Store::new(&self.engine, Tenant { door, limiter: Limiter::new(limits) });
        let (verdict, cpu) = match self.visit(&mut store, phase, limits) {
            Ok(visited) => visited,
            Err(timers) => (Err(Fault::Host(format!("timers: {timers}"))), Duration::ZERO),
        };
        let Tenant { door, limiter } = store.into_data();
        let usage = Usage { wall: started.elapsed(), cpu, memory: limiter.taken() };
        (Report { verdict, usage }, door)
    }

    fn visit(
        &self,
        store: &mut Store<Tenant<D>>,
        phase: &Phase,
        limits: &Limits,
    ) -> io::Result<(Result<Verdict, Fault>, Duration)> {
        store.limiter(|tenant| &mut tenant.limiter);
        // Bytes of arguments that one host call may lift out of the guest.
        store.set_hostcall_fuel(4 << 20);
        store.set_epoch_deadline(1);
        store.epoch_deadline_trap();
        let alarm = Alarm::arm(&self.engine, limits.cpu, limits.wall)?;
        let verdict = match ask(store, &self.guest, phase) {
            Ok(said) => said.map_err(Fault::Reported),
            Err(error) => Err(explain(&error, store.data(), limits, alarm.reached())),
        };
        Ok((verdict, alarm.cpu()))
    }
}

/// Instantiating is the guest's code already: its start functions. Outer error: it trapped. Inner: it says itself
/// that it is broken.
fn ask<D: Door + 'static>(
    store: &mut Store<Tenant<D>>,
    guest: &InstancePre<Tenant<D>>,
    phase: &Phase,
) -> wasmtime::Result<Result<Verdict, String>> {
    let instance = guest.instantiate(&mut *store)?;
    let exports = Exports::new(&mut *store, &instance)?;
    let handler = exports.wasmhook_hook_handler();
    Ok(match phase {
        Phase::Pre(request) => handler.call_pre(store, request)?.map(Verdict::Pre),
        Phase::Post(request, outcome) => handler.call_post(store, request, outcome)?.map(Verdict::Post),
    })
}

/// Says which limit it was where it was one: the trap itself only says `interrupt` or `unreachable`.
fn explain<D>(
    error: &wasmtime::Error,
    tenant: &Tenant<D>,
    limits: &Limits,
    reached: Option<Reached>,
) -> Fault {
    match (error.downcast_ref::<Trap>(), reached) {
        (Some(Trap::Interrupt), Some(Reached::Cpu)) => return Fault::Cpu(limits.cpu),
        (Some(Trap::Interrupt), Some(Reached::Wall)) => return Fault::Wall(limits.wall),
        _ if tenant.limiter.refused_memory() => return Fault::Memory(limits.memory),
        _ => {}
    }
    match error.downcast_ref::<Trap>() {
        Some(trap) => Fault::Trap(trap.to_string().trim_start_matches("wasm trap: ").to_owned()),
        None => Fault::Trap(error.root_cause().to_string()),
    }
}

/// The types of the contract print short in logs.
impl fmt::Display for CniError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.msg, self.code)
    }
}
