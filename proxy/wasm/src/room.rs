use crate::alarm::{self, Alarm, Reached};
use crate::limits::{Limiter, Limits};
use crate::tenant::Tenant;
use crate::wasi::{self, Streams, Wasi};
use crate::{
    Admission, CniError, Door, Fault, PostVerdict, PreVerdict, Request, command, component, engine, stack,
    warm,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::time::timeout_at;
use wasmtime::{Engine, Precompiled, Store, Trap};

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

/// What a guest may know of the world outside, told with each question so that it can be told again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    /// Time since 1970.
    pub now: Duration,
    /// What its random numbers are made of.
    pub seed: u64,
}

/// All a guest needs but itself.
pub(crate) struct Room {
    engine: Engine,
    guest: Way,
    /// For guests with WASI: they may wait, and somebody must watch the time.
    runtime: Option<Runtime>,
}

/// The door that a guest came in by.
enum Way {
    Component(component::Guest),
    Command(command::Guest),
}

impl Room {
    pub(crate) fn furnish(
        artifact: &File,
        limits: &Limits,
        admits: &dyn Fn(&str, &str) -> Admission,
    ) -> Result<Self, Fault> {
        warm::warm_up();
        stack::make_room(limits.stack)?;
        let engine = engine::engine(limits.stack).map_err(|error| Fault::Host(format!("{error:#}")))?;
        let guest = match component::Guest::furnish(&engine, artifact, admits) {
            // Only what is no component is looked at more closely, so that components pay nothing for it.
            Err(Fault::Artifact(_)) if is_module(artifact) => {
                Way::Command(command::Guest::furnish(&engine, artifact)?)
            }
            guest => Way::Component(guest?),
        };
        let waits = match &guest {
            Way::Component(guest) => guest.imports_wasi,
            Way::Command(_) => true,
        };
        Ok(Self { engine, guest, runtime: waits.then(wasi::runtime).transpose()? })
    }

    /// Lets the guest in for one phase.
    pub(crate) fn ask(
        &self,
        phase: &Phase,
        limits: &Limits,
        outside: &Outside,
        door: Box<dyn Door>,
        started: Instant,
    ) -> Report {
        let tenant = Tenant { door, limiter: Limiter::new(limits), wasi: None, reply: Vec::new() };
        let mut store = Store::new(&self.engine, tenant);
        let (verdict, cpu) = match self.visit(&mut store, phase, limits, outside) {
            Ok(visited) => visited,
            Err(timers) => (Err(Fault::Host(format!("timers: {timers}"))), Duration::ZERO),
        };
        self.copy_streams(store.data_mut());
        let usage = Usage { wall: started.elapsed(), cpu, memory: store.data().limiter.taken() };
        Report { verdict: verdict.map_err(Fault::tamed), usage }
    }

    fn visit(
        &self,
        store: &mut Store<Tenant>,
        phase: &Phase,
        limits: &Limits,
        outside: &Outside,
    ) -> io::Result<(Result<Verdict, Fault>, Duration)> {
        store.limiter(|tenant| &mut tenant.limiter);
        // Bytes of arguments that one host call may lift out of the guest.
        store.set_hostcall_fuel(4 << 20);
        store.set_epoch_deadline(1);
        store.epoch_deadline_trap();
        let alarm = Alarm::arm(&self.engine, limits.cpu, limits.wall)?;
        let verdict = match self.say(store, phase, limits, outside) {
            Ok(Ok(verdict)) if verdict.size() > limits.verdict => {
                Err(Fault::bytes("verdict", limits.verdict, "verdict"))
            }
            Ok(said) => said,
            Err(error) => Err(explain(&error, store.data(), limits, alarm.reached())),
        };
        Ok((verdict, alarm.cpu()))
    }

    /// Outer error: the guest trapped. Inner: it says itself that it is broken, or says nothing that can be meant.
    fn say(
        &self,
        store: &mut Store<Tenant>,
        phase: &Phase,
        limits: &Limits,
        outside: &Outside,
    ) -> wasmtime::Result<Result<Verdict, Fault>> {
        let Some(runtime) = &self.runtime else {
            return match &self.guest {
                Way::Component(guest) => guest.ask(store, phase),
                Way::Command(_) => Ok(Err(Fault::World)),
            };
        };
        let late = || Ok(Err(Fault::Wall(limits.wall)));
        match &self.guest {
            Way::Component(guest) => {
                let streams = Streams { stdout: limits.log_bytes, stderr: limits.log_bytes };
                store.data_mut().wasi = Some(Wasi::component(outside, streams));
                let saying = guest.ask_and_wait(store, phase);
                runtime.block_on(in_time(limits.wall, saying)).unwrap_or_else(late)
            }
            Way::Command(guest) => {
                let stdin = match command::request(phase) {
                    Ok(stdin) => stdin,
                    Err(fault) => return Ok(Err(fault)),
                };
                let streams = Streams { stdout: limits.verdict, stderr: limits.log_bytes };
                store.data_mut().wasi = Some(Wasi::command(outside, streams, stdin));
                let saying = guest.ask(store, phase, limits.verdict);
                runtime.block_on(in_time(limits.wall, saying)).unwrap_or_else(late)
            }
        }
    }

    /// What a guest wrote on its streams goes where all it says goes; a command's stdout is its verdict.
    fn copy_streams(&self, tenant: &mut Tenant) {
        let Some(wasi) = tenant.wasi.take() else { return };
        let stdout = match self.guest {
            Way::Component(_) => wasi.stdout.lines(),
            Way::Command(_) => Vec::new(),
        };
        for line in stdout.into_iter().chain(wasi.stderr.lines()) {
            let line = json!({ "level": "info", "message": line, "fields": [] });
            if tenant.door.call("log.write", line).get("failure").is_some() {
                // The rest is too much as well.
                return;
            }
        }
    }
}

/// By wasmtime's own header: compiled, and not a component.
fn is_module(artifact: &File) -> bool {
    let kind = Engine::detect_precompiled_file(path(artifact));
    matches!(kind, Ok(Some(Precompiled::Module)))
}

/// By way of /proc, because it is the open file that was checked, not its path.
pub(crate) fn path(artifact: &File) -> String {
    format!("/proc/self/fd/{}", artifact.as_raw_fd())
}

/// Says which limit it was where it was one: the trap itself only says `interrupt` or `unreachable`.
/// What a guest says that may wait, or `None` when its time is over; not before what was not its own is added.
async fn in_time<T>(wall: Duration, saying: impl Future<Output = T>) -> Option<T> {
    let started = tokio::time::Instant::now();
    let mut saying = pin!(saying);
    loop {
        let until = started + wall + alarm::elsewhere();
        match timeout_at(until, saying.as_mut()).await {
            Ok(said) => return Some(said),
            Err(_) if started + wall + alarm::elsewhere() > until => {}
            Err(_) => return None,
        }
    }
}

fn explain(error: &wasmtime::Error, tenant: &Tenant, limits: &Limits, reached: Option<Reached>) -> Fault {
    match (error.downcast_ref::<Trap>(), reached) {
        (Some(Trap::Interrupt), Some(Reached::Cpu)) => return Fault::Cpu(limits.cpu),
        (Some(Trap::Interrupt), Some(Reached::Wall)) => return Fault::Wall(limits.wall),
        (Some(Trap::StackOverflow), _) => return Fault::bytes("stack", limits.stack, "stack"),
        _ => {}
    }
    if let Some(fault) = tenant.limiter.refused() {
        return fault.clone();
    }
    if tenant.wasi.as_ref().is_some_and(Wasi::has_said_too_much) {
        // The write that failed is mostly followed by a bare trap.
        return Fault::bytes("verdict", limits.verdict, "verdict");
    }
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return Fault::Trap(trap.to_string().trim_start_matches("wasm trap: ").to_owned());
    }
    let said = error.root_cause().to_string();
    // wasmtime has no type for these.
    if said.contains("fuel allocated for hostcalls") {
        return Fault::Trap("more than 4 MiB at once from the guest to the host".to_owned());
    }
    for (what, key, limit) in
        [("instance", "instances", limits.instances), ("table", "tables", limits.tables)]
    {
        if said.contains(&format!("{what} count too high")) {
            return Fault::limit(what, limit, key, key);
        }
    }
    Fault::Trap(said)
}

/// The types of the contract print short in logs.
impl fmt::Display for CniError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.msg, self.code)
    }
}
