use crate::alarm::{Alarm, Reached};
use crate::bindings::Room;
use crate::limits::{Limiter, Limits};
use crate::{CniError, Door, Fault, Job, PostVerdict, PreVerdict, Request, engine, link};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};
use std::{fmt, io};
use wasmtime::component::{Component, InstancePre};
use wasmtime::{Engine, Store, Trap};

/// A plugin's result as JSON text, or its error.
pub type Outcome = Result<String, CniError>;

/// What is asked of a guest.
#[derive(Clone, Debug)]
pub enum Phase {
    /// Before the plugin.
    Pre(Request),
    /// After it, with what it answered.
    Post(Request, Outcome),
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pre(_) => "pre",
            Self::Post(..) => "post",
        })
    }
}

/// What a guest wants.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "of the phase it names")]
pub enum Verdict {
    Pre(PreVerdict),
    Post(PostVerdict),
}

/// What a visit cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Time on the wall, the child's life included.
    pub wall: Duration,
    /// Processor time in the room, loading the module included.
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

/// What the store holds for one guest.
pub(crate) struct Tenant<D> {
    pub(crate) door: D,
    limiter: Limiter,
}

/// Furnishes the room, calls `ready` when only the guest is missing, lets the guest in.
pub(crate) fn enter<D: Door + 'static>(
    job: &Job,
    door: D,
    started: Instant,
    ready: impl FnOnce() -> io::Result<()>,
) -> (Report, D) {
    let cpu_before = cpu_time();
    let (verdict, door, memory) = match furnish(&job.artifact, &door) {
        Err(fault) => (Err(fault), door, 0),
        Ok((engine, guest)) => {
            let mut store = Store::new(&engine, Tenant { door, limiter: Limiter::new(&job.limits) });
            let verdict = visit(&mut store, &guest, job, ready);
            let tenant = store.into_data();
            (verdict, tenant.door, tenant.limiter.taken())
        }
    };
    let usage = Usage { wall: started.elapsed(), cpu: cpu_time().saturating_sub(cpu_before), memory };
    (Report { verdict, usage }, door)
}

fn furnish<D: Door + 'static>(artifact: &File, door: &D) -> Result<(Engine, InstancePre<Tenant<D>>), Fault> {
    let host = |error: wasmtime::Error| Fault::Host(format!("{error:#}"));
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
    let guest = link::link(&engine, &component, door)?
        .instantiate_pre(&component)
        .map_err(|error| Fault::Import(format!("{error:#}")))?;
    Ok((engine, guest))
}

fn visit<D: Door + 'static>(
    store: &mut Store<Tenant<D>>,
    guest: &InstancePre<Tenant<D>>,
    job: &Job,
    ready: impl FnOnce() -> io::Result<()>,
) -> Result<Verdict, Fault> {
    let host = |error: io::Error| Fault::Host(error.to_string());
    store.limiter(|tenant| &mut tenant.limiter);
    // Bytes of arguments that one host call may lift out of the guest.
    store.set_hostcall_fuel(4 << 20);
    store.set_epoch_deadline(1);
    store.epoch_deadline_trap();
    let alarm = Alarm::arm(guest.engine(), job.limits.cpu, job.limits.wall).map_err(host)?;
    ready().map_err(host)?;
    // Instantiating is the guest's code already: its start functions.
    let verdict = ask(store, guest, &job.phase);
    drop(alarm);
    verdict.map_err(|error| explain(&error, store.data(), &job.limits))?.map_err(Fault::Reported)
}

/// Outer error: the guest trapped. Inner: it says itself that it is broken.
fn ask<D: Door + 'static>(
    store: &mut Store<Tenant<D>>,
    guest: &InstancePre<Tenant<D>>,
    phase: &Phase,
) -> wasmtime::Result<Result<Verdict, String>> {
    let instance = guest.instantiate(&mut *store)?;
    let room = Room::new(&mut *store, &instance)?;
    let handler = room.wasmhook_hook_handler();
    Ok(match phase {
        Phase::Pre(request) => handler.call_pre(store, request)?.map(Verdict::Pre),
        Phase::Post(request, outcome) => handler.call_post(store, request, outcome)?.map(Verdict::Post),
    })
}

/// Says which limit it was where it was one: the trap itself only says `interrupt` or `unreachable`.
fn explain<D>(error: &wasmtime::Error, tenant: &Tenant<D>, limits: &Limits) -> Fault {
    match (error.downcast_ref::<Trap>(), Alarm::reached()) {
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

fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// The types of the contract print short in logs.
impl fmt::Display for CniError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.msg, self.code)
    }
}
