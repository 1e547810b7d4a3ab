//! The words of the [CNI specification](https://github.com/containernetworking/cni/blob/main/SPEC.md) as data.
//!
//! For hooks and for the host alike: what a plugin is asked ([`Verb`], [`Environment`], [`PluginConfig`]) and what
//! it answers ([`CniResult`], [`Error`]), in which version ([`convert()`]), and what of it a plugin is to see again
//! ([`take_back`]). Not for doing anything: no file, no process, no network is touched here.
//!
//! Configuration and results belong to somebody else, so nothing is lost on the way through: keys that are
//! unknown here survive, in their order, and numbers keep their bytes ([`Object`]).

mod address;
mod args;
mod config;
mod convert;
mod environment;
mod error;
mod gc;
mod meaning;
mod merge;
mod object;
mod pairing;
mod record;
mod result;
mod verb;
mod version;

pub use args::Args;
pub use config::PluginConfig;
pub use convert::{ConvertError, convert};
pub use environment::{Asked, Environment};
pub use error::{Error, code};
pub use gc::{Attachment, VALID_ATTACHMENTS};
pub use merge::take_back;
pub use object::{FieldError, Object, same_json};
pub use record::Record;
pub use result::{CniResult, Dns, Interface, Ip, IpConfig, Route};
pub use verb::Verb;
pub use version::SpecVersion;
