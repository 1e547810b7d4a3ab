//! The guest's room: where a hook's WebAssembly runs, and all it can reach from there.
//!
//! For: the engine and its settings, the limits that end a guest, the forked child that it runs in, and the
//! conversion of its host calls into messages. Not for what a host call *does*: every message goes through one
//! [`Door`], and what stands behind it is somebody else's business. No file is looked up here and no policy is made.
//!
//! In the order of a call: a [`Guest`] gets a child of its own (`child`, behind a `filter`), the room is furnished
//! (`room`), the guest's imports are linked to the door (`link`), values become JSON and back (`convert`), messages cross
//! the socket (`frame`), and a timer and a limiter watch (`alarm`, `limits`). `pool` lends memory from guest to guest.
//! `engine` holds the settings that compiler and runner must share; `compile` exists in `wasmhookctl` alone.

mod alarm;
mod child;
#[cfg(feature = "compiler")]
mod compile;
mod convert;
mod door;
mod engine;
mod fault;
mod filter;
mod frame;
mod limits;
mod link;
mod pool;
#[cfg(feature = "compiler")]
mod rights;
mod room;
mod tenant;
mod warm;

#[cfg(feature = "compiler")]
pub use compile::{CompileError, Import, Inspection, Kind, LARGEST_MODULE, Source, compile, inspect};
pub use door::{Admission, Door};
pub use engine::build_id;
pub use fault::{Culprit, Fault};
pub use limits::Limits;
pub use pool::expect_guests;
pub use room::{Outcome, Phase, Report, Usage, Verdict};

use std::fs::File;
use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

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

/// A guest in its room: let in once, asked once per phase, each time in a fresh instance.
pub struct Guest<D: 'static>(Place<D>);

enum Place<D: 'static> {
    Child(child::Child),
    /// Never taken apart: the process ends with the call, and nobody gets the time back.
    Here(ManuallyDrop<Box<room::Room<D>>>, Limits),
}

impl<D: Door + 'static> Guest<D> {
    /// Lets in a guest. `artifact` is its compiled module, opened, and checked by whoever opened it; `admits` is
    /// asked for every function that it imports.
    ///
    /// With [`Isolation::Module`] this forks: call it from the main thread of a process that has only one. What is
    /// wrong with the module is then told by the first [`ask`](Self::ask).
    pub fn enter(
        artifact: &File,
        limits: Limits,
        isolation: Isolation,
        admits: &dyn Fn(&str, &str) -> Admission,
    ) -> Result<Self, Fault> {
        Ok(Self(match isolation {
            Isolation::Module => Place::Child(child::Child::fork(artifact, limits, admits)?),
            Isolation::None => {
                let room = Box::new(room::Room::furnish(artifact, admits)?);
                Place::Here(ManuallyDrop::new(room), limits)
            }
        }))
    }

    /// Asks for a verdict within `wall`, host calls going through `door`. After a fault the guest is not to be asked
    /// again.
    pub fn ask(&mut self, phase: &Phase, wall: Duration, door: D) -> (Report, D) {
        let started = Instant::now();
        match &mut self.0 {
            Place::Child(child) => child.ask(phase, wall, door, started),
            Place::Here(room, limits) => room.ask(phase, &Limits { wall, ..*limits }, door, started),
        }
    }
}

impl<D> std::fmt::Debug for Guest<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Place::Child(_) => "guest in a child",
            Place::Here(..) => "guest in this process",
        })
    }
}
