//! Write a [wasmhook](https://github.com/wasmhook/wasmhook) hook in Rust.
//!
//! A hook is a type with the trait [`Hook`] and one [`export!`]. It runs before ([`Hook::pre`]) and after
//! ([`Hook::post`]) a CNI plugin and says what shall happen, as a value: [`Pre`], [`Post`].
//!
//! ```
//! use wasmhook_sdk::prelude::*;
//!
//! struct Mtu;
//!
//! impl Hook for Mtu {
//!     fn pre(request: &Request) -> Result<Pre> {
//!         let mut config = request.config()?;
//!         config.set("mtu", &1400)?;
//!         info!("{} gets an MTU of 1400", request.ifname);
//!         Ok(Pre::Rewrite(config))
//!     }
//! }
//!
//! wasmhook_sdk::export!(Mtu);
//! # let request = Request { config: r#"{"type":"bridge","x":1.50}"#.into(), ..Request::default() };
//! # let Pre::Rewrite(config) = Mtu::pre(&request).unwrap() else { panic!() };
//! # assert_eq!(config.to_string(), r#"{"type":"bridge","x":1.50,"mtu":1400}"#);
//! ```
//!
//! Build it with `crate-type = ["cdylib"]` for `wasm32-unknown-unknown`. `pre` and `post` run in fresh instances:
//! what `pre` wants `post` to know goes through [`carry`]. A panic is logged and is then a *hook failure*, as is
//! an `Err`: the operator's `onFailure` decides what comes of it. To refuse a container, return [`Pre::Deny`].
//!
//! Outside wasm (in unit tests) host calls work without a host: logs go to stderr, sleeping sleeps, and links are made in
//! networks in memory (`testing`).

#[allow(
    missing_docs,
    unsafe_code,
    unreachable_pub,
    unused_qualifications,
    clippy::pedantic,
    reason = "generated from the contract"
)]
#[doc(hidden)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "hook",
        pub_export_macro: true,
        default_bindings_module: "wasmhook_sdk::bindings",
        generate_all,
    });
}

pub mod carry;
pub mod chaos;
pub mod clock;
mod export;
mod failure;
pub mod file;
mod host;
pub mod ipam;
pub mod link;
pub mod log;
pub mod metrics;
pub mod nft;
pub mod plugin;
pub mod provider;
pub mod random;
mod request;
pub mod state;
pub mod sysctl;
pub mod tap;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
mod verdict;

#[doc(hidden)]
pub use export::Exported;
pub use failure::{Failure, Result};
pub use host::HostError;
pub use request::{Outcome, Request};
pub use verdict::{Hook, Phases, Post, Pre};
pub use wasmhook_cni as cni;
pub use wasmhook_net_types as net;

/// Everything a hook usually needs.
pub mod prelude {
    pub use crate::cni::{CniResult, Error as CniError, Object};
    pub use crate::{
        Failure, Hook, HostError, Outcome, Phases, Post, Pre, Request, Result, carry, chaos, clock, file,
        ipam, link, metrics, net, nft, plugin, provider, random, state, sysctl, tap,
    };
    pub use crate::{debug, error, info, trace, warn};
    pub use serde::{Deserialize, Serialize};
}
