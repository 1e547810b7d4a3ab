//! The guest's room: where a hook's WebAssembly runs, and all it can reach from there.
//!
//! For: the engine and its settings, the limits that end a guest, the forked child that it runs in, and the
//! conversion of its host calls into messages. Not for what a host call *does*: every message goes through one
//! [`Door`], and what stands behind it is somebody else's business. No file is looked up here and no policy is made.
//!
//! In the order of a call: [`run`] forks (`child`), the room is furnished and entered (`room`), the guest's
//! imports are linked to the door (`link`), values become JSON and back (`convert`), messages cross the socket
//! (`frame`), and timers and a limiter watch (`alarm`, `limits`). `engine` holds the settings that compiler and
//! runner must share; `compile` exists in `wasmhookctl` alone.

mod alarm;
mod child;
#[cfg(feature = "compiler")]
mod compile;
mod convert;
mod door;
mod engine;
mod fault;
mod frame;
mod limits;
mod link;
mod room;

#[cfg(feature = "compiler")]
pub use compile::{CompileError, Import, Inspection, compile, inspect};
pub use door::{Admission, Door, INTERFACES_OF};
pub use engine::build_id;
pub use fault::{Culprit, Fault};
pub use limits::Limits;
pub use room::{Outcome, Phase, Report, Usage, Verdict};

use std::{fs::File, time::Instant};

/// The contract's exports, generated; its imports are linked one by one (`link`).
#[allow(missing_docs, unsafe_code, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../sdk/wit",
        inline: "
            package wasmhook:room@0.1.0;
            world room { export wasmhook:hook/handler@0.1.0; }
        ",
        world: "wasmhook:room/room",
        additional_derives: [Clone, PartialEq, serde::Serialize, serde::Deserialize],
    });
}

pub use bindings::exports::wasmhook::hook::handler::{PostVerdict, PreVerdict, Request};
pub use bindings::wasmhook::hook::types::CniError;

/// Where a guest runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// In a forked child of its own, which is all that a hostile guest can bring down.
    Module,
    /// In this process: faster, for modules that one trusts as one trusts a native plugin.
    None,
}

/// One visit of one guest.
#[derive(Debug)]
pub struct Job {
    /// The compiled module: opened, and checked by whoever opened it.
    pub artifact: File,
    /// What is asked of the guest.
    pub phase: Phase,
    /// What ends it.
    pub limits: Limits,
}

/// Runs one guest to its verdict, its host calls going through `door`.
///
/// With [`Isolation::Module`] this forks: call it from the main thread of a process that has only one.
pub fn run<D: Door + 'static>(job: &Job, isolation: Isolation, door: D) -> (Report, D) {
    let started = Instant::now();
    match isolation {
        Isolation::Module => child::run(job, door, started),
        Isolation::None => room::enter(job, door, started, || Ok(())),
    }
}
