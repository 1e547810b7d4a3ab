//! The words of the [CNI specification](https://github.com/containernetworking/cni/blob/main/SPEC.md) as data.
//!
//! For hooks and for the host alike: what a plugin is asked ([`Verb`], [`Environment`], [`PluginConfig`]) and what
//! it answers ([`CniResult`], [`Error`]). Not for doing anything: no file, no process, no network is touched here.
//!
//! Configuration and results belong to somebody else, so nothing is lost on the way through: keys that are
//! unknown here survive, in their order, and numbers keep their bytes ([`Object`]).

mod args;
mod config;
mod environment;
mod error;
mod object;
mod record;
mod result;
mod verb;
mod version;

pub use args::Args;
pub use config::PluginConfig;
pub use environment::Environment;
pub use error::{Error, code};
pub use object::{FieldError, Object, same_json};
pub use record::Record;
pub use result::{CniResult, Dns, Interface, Ip, IpConfig, Route};
pub use verb::Verb;
pub use version::SpecVersion;
