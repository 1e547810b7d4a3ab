//! The files that wasmhook keeps on a node. The only code that knows what they are called and what is in them.
//!
//! For: compiled modules ([`Compiled`]), found by a stat of the module and trusted only if nobody else could have
//! written them ([`trust`](mod@trust)). Not for making them: no engine and no compiler is known here.

mod artifact;
mod compiled;
mod digest;
mod error;
pub mod trust;

pub use compiled::{CompileLock, Compiled, Lookup};
pub use digest::Digest;
pub use error::StoreError;
