//! The CNI plugin `wasmhook`: hooks run before and after the real plugin of every call.
//!
//! For: one call, from the environment and stdin to exactly one JSON document ([`run`]). Not for what a guest can
//! reach (`wasmhook-wasm`), what host calls do (`wasmhook-host`) or what is on disk (`wasmhook-store`).
//!
//! In the order of a call: `dispatch` reads the `settings` of the node, the `call` and its `entry` in the conflist (with `when` a hook is met), one of
//! the `verbs` goes by these and by the journal (`recording`, `undo`), the `pipeline` runs hooks around one plugin. A
//! hook's module is found by `modules`, `visit`ed in the guest's room, and asks for host calls at the `door`; a delegate
//! is `delegate`d to in a process (`process`, `spawn`). The `watchdog` ends a call that hangs. `upkeep` is for cleaning
//! up without a call.

mod call;
mod delegate;
mod dispatch;
mod door;
pub mod entry;
mod error;
mod explain;
pub mod limits;
mod log;
mod modules;
mod pipeline;
mod plugins;
mod problem;
mod process;
mod recording;
pub mod settings;
mod spawn;
mod trail;
mod undo;
mod units;
mod upkeep;
mod verbs;
mod visit;
mod watchdog;
pub mod when;

pub use delegate::find_plugin;
pub use error::{Culprit, Error, HookFailure, Why, code};
pub use explain::{Meeting, explain};
pub use modules::{ModuleError, Modules};
pub use problem::{Problem, Problems};
pub use undo::effects;
pub use upkeep::Upkeep;
pub use visit::{Asking, Guests, Seat, Visited};

pub use dispatch::{Caller, run};
pub use log::start_log;
