use super::{LARGEST_MODULE, MOST_IMPORTS};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Why a module cannot become a compiled hook.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum CompileError {
    #[error("not WebAssembly: starts with {0}")]
    NotWasm(String),
    #[error("more than {} MiB, which no hook has", LARGEST_MODULE >> 20)]
    Size,
    #[error("damaged: {0}")]
    Damaged(String),
    #[error("uses {0}")]
    Proposal(String),
    #[error("imports {0} functions, and {MOST_IMPORTS} are allowed")]
    Imports(usize),
    #[error(
        "a core module that is no hook: it holds no component metadata (custom section `component-type`; was it stripped?), and to be a command it lacks {0}"
    )]
    Core(String),
    #[error(
        "imports `{import}`{why}: a command may import `wasi_snapshot_preview1`, and `call` and `reply` of `wasmhook`"
    )]
    Import { import: String, why: String },
    #[error("cannot be made a component: {0}")]
    Encode(String),
    #[error(
        "exports no `wasmhook:hook/handler@0.1.0`: not a hook, or made for another version of the contract"
    )]
    World,
    #[error("cannot be compiled: {0}")]
    Cranelift(String),
    #[error("the compiler did not finish within {}: no hook takes that long", seconds(*.0))]
    Late(Duration),
    #[error("the compiler used up {} of processor time: no hook takes that much", seconds(*.0))]
    Cpu(Duration),
    #[error("the compiler was killed by signal {number} ({name}): {why}")]
    Killed { number: i32, name: String, why: String },
    #[error("the compiler made more than {} MiB of it, which no hook needs", .0 >> 20)]
    Output(u64),
    #[error("the compiler broke: {0}")]
    Broken(String),
    #[error("the compiler cannot be started here: {0}")]
    Host(String),
}

impl CompileError {
    /// Is this machine at fault, and not the module?
    #[must_use]
    pub fn is_the_hosts(&self) -> bool {
        matches!(self, Self::Host(_))
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}
