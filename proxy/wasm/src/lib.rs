//! The guest's room: where a hook's WebAssembly runs, and all it can reach from there.
//!
//! For: the engine and its settings, the limits that end a guest, the forked child that it runs in, and the
//! conversion of its host calls into messages. Not for what a host call *does*: every message goes through one
//! [`Door`], and what stands behind it is somebody else's business. No file is looked up here and no policy is made.
//!
//! In the order of a call: an [`Arrival`] gets a child (`child`, behind a `filter`) or none, its room is furnished
//! (`room`). It comes in by one of two doors: as a `component`, whose imports are linked to the door (`link`) and whose
//! values become JSON and back (`convert`), or as a `command`, with JSON on its streams; either may bring `wasi`.
//! Messages cross the socket (`frame`), and a timer and a limiter watch (`alarm`, `limits`; `stack` makes room). `pool` lends memory from
//! guest to guest. `traits` say when a hook is asked at all. `engine` holds the settings that compiler and runner must share; `compile` exists in `wasmhookctl` alone.

mod alarm;
mod child;
mod command;
#[cfg(feature = "compiler")]
mod compile;
mod component;
mod convert;
mod door;
mod engine;
#[cfg(feature = "escape")]
mod escape;
mod fault;
mod filter;
mod frame;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod limits;
mod link;
mod pool;
mod rights;
mod room;
mod stack;
mod tenant;
mod traits;
mod warm;
mod wasi;

#[cfg(feature = "compiler")]
pub use compile::{
    CompileError, Import, Inspection, Kind, LARGEST_MODULE, MachineCode, Source, compile, inspect,
};
pub use door::{Admission, Door};
pub use engine::build_id;
pub use fault::{Culprit, Fault};
pub use limits::Limits;
pub use pool::expect_guests;
pub use room::{Outcome, Outside, Phase, Report, Usage, Verdict};
pub use traits::Traits;

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::mem::ManuallyDrop;
use std::time::Instant;

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

/// Where guests run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// In a forked child, which is all that a hostile guest can bring down.
    Child,
    /// In this process: faster, for modules that one trusts as one trusts a native plugin.
    None,
}

/// A guest that is to be let in.
#[derive(Clone, Copy)]
pub struct Arrival<'a> {
    /// Its compiled module, opened, and checked by whoever opened it.
    pub artifact: &'a File,
    /// What it may take. What a single question says may be less.
    pub limits: Limits,
    /// Asked for every function that it imports.
    pub admits: &'a dyn Fn(&str, &str) -> Admission,
}

/// What a guest is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Question<P> {
    /// Which one, in the order of arrival.
    pub guest: usize,
    /// Before the plugin, or after.
    pub phase: P,
    /// What ends it.
    pub limits: Limits,
    /// What it may know of the world outside.
    pub outside: Outside,
}

/// Guests in their rooms: let in once, asked once per phase, each time in a fresh instance.
pub struct Rooms(Place);

enum Place {
    Child(child::Child),
    /// Never taken apart: the process ends with the call, and nobody gets the time back.
    Here(ManuallyDrop<Vec<room::Room>>),
}

impl Rooms {
    /// Lets guests in. In a child all of them share it: whoever breaks out is among the others.
    ///
    /// With [`Isolation::Child`] this forks: call it from the main thread of a process that has only one. What is
    /// wrong with a module is then told by the first [`ask`](Self::ask).
    pub fn open(arrivals: &[Arrival<'_>], isolation: Isolation) -> Result<Self, Fault> {
        Ok(Self(match isolation {
            Isolation::Child => Place::Child(child::Child::fork(arrivals)?),
            Isolation::None => {
                let room = |it: &Arrival<'_>| room::Room::furnish(it.artifact, &it.limits, it.admits);
                let rooms = arrivals.iter().map(room).collect::<Result<_, _>>()?;
                Place::Here(ManuallyDrop::new(rooms))
            }
        }))
    }

    /// Asks for a verdict, host calls going through `door`. After a fault nobody of these is to be asked again.
    pub fn ask(&mut self, question: &Question<&Phase>, mut door: Box<dyn Door>) -> Report {
        let started = Instant::now();
        match &mut self.0 {
            Place::Child(child) => child.ask(question, &mut *door, started),
            Place::Here(rooms) => match rooms.get(question.guest) {
                Some(room) => {
                    let Question { phase, limits, outside, .. } = question;
                    room.ask(phase, limits, outside, door, started)
                }
                None => Report { verdict: Err(Fault::Gone), usage: Usage::default() },
            },
        }
    }
}

impl std::fmt::Debug for Rooms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0 {
            Place::Child(_) => "guests in a child",
            Place::Here(..) => "guests in this process",
        })
    }
}
