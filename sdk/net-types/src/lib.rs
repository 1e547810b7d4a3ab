//! Native network work as data: what a hook asks for in the JSON parameters of `wasmhook:host` (`link`, `tap`, `sysctl`,
//! `nft`), and what it is told. For hooks, whose SDK builds these, and for the host, which carries them out.
//!
//! [`Network`] is whatever carries them out: the kernel, or the [`Model`] of one in memory, with which a hook can be tried
//! without root. Nothing here touches a file or a socket.
//!
//! All of it is JSON in camelCase. Keys that are unknown are passed over, as a later version may tell more; the host refuses them
//! in what a hook asks for.

mod address;
mod error;
mod link;
#[cfg(feature = "model")]
mod model;
mod network;
mod nft;
mod pool;
mod ranges;
mod route;
mod tap;

pub use address::{Address, Cidr, Mac, NotAMac, NotAnAddress};
pub use error::NetError;
pub use link::{
    BridgeSpec, ChildSpec, Link, LinkChange, LinkKind, LinkSpec, MacvlanMode, PeerSpec, Place, Port, Tun,
    VlanSpec, Vlans, VxlanSpec, judge_name,
};
#[cfg(feature = "model")]
pub use model::{Lease, Model};
pub use network::{Network, Plan, judge_sysctl};
pub use nft::{Action, Chain, ChainKind, Family, Hook, Policy, Rule, Ruleset, Test};
pub use pool::{PoolConfig, PoolRoute};
pub use ranges::Ranges;
pub use route::{Neighbour, Route, RouteFilter, RouteKind};
pub use tap::{Offload, TapMode, TapSpec};
