//! The only code that knows the kernel's network.
//!
//! For: links, addresses, routes, neighbours, taps, settings and rules of two network namespaces, our own and a container's
//! ([`Kernel`], which is a [`Network`](wasmhook_net_types::Network)). Not for deciding what is to be done, nor for taking it back.
//!
//! From the outside in: the `kernel` has a `worker` for each namespace (`namespace`), a thread that has entered it and asks
//! its `stack`: by `netlink` (whose wire format is `message`) for what a `link` is, to `create` and `change` one, for its
//! `address`es and for `route`s; and otherwise for what netlink does not do: `tap`, `announce`, `ethtool`, `sysctl`, `nft`.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the kernel's constants are of whatever type libc gives them"
)]

mod address;
mod announce;
mod change;
mod create;
mod ethtool;
mod kernel;
mod link;
mod message;
mod namespace;
mod netlink;
mod nft;
mod route;
mod stack;
mod sysctl;
mod tap;
mod worker;

pub use kernel::Kernel;
pub use namespace::open_namespace;
