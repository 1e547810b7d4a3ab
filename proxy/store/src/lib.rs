//! The files that wasmhook keeps on a node. The only code that knows what they are called and what is in them.
//!
//! For: compiled modules ([`Compiled`]), found by a stat of the module and trusted only if nobody else could have
//! written them ([`trust`](mod@trust)); the [`Journal`] of each attachment; which versions of the specification a plugin
//! knows ([`Versions`]); what hooks remember ([`State`]) and count ([`Counters`]); leases of addresses
//! ([`Pool`]); the [`Bypass`]. Not for making them: no
//! engine and no compiler is known here.

mod artifact;
mod bypass;
mod compiled;
mod counters;
mod digest;
mod error;
mod faults;
mod journal;
mod namespace;
mod pool;
mod state;
pub mod trust;
mod versions;

pub use artifact::Artifact;
pub use bypass::Bypass;
pub use compiled::{CompileLock, Compiled, Lookup};
pub use counters::Counters;
pub use digest::Digest;
pub use error::StoreError;
pub use faults::FaultSwitch;
pub use journal::{
    Access, Begin, Busy, Effect, Journal, Journals, Key, Record, Started, Step, Story, boot_id,
};
pub use namespace::Namespace;
pub use pool::{Candidate, Holder, LockedPool, Pool, give_back};
pub use state::{Shelf, Space, State};
pub use versions::Versions;
