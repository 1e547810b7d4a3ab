//! Kernel settings below `/proc/sys/net`. Needs the grant `sysctl`, or a pattern of it such as `sysctl:net/ipv4/conf/*`; to write on the
//! host, `sysctl:any` as well.

use crate::HostError;
use wasmhook_net_types::Place;

#[cfg(target_arch = "wasm32")]
use crate::bindings::wasmhook::host::sysctl as host;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::network;
#[cfg(not(target_arch = "wasm32"))]
use wasmhook_net_types::Network as _;

/// What a setting is. `key` has slashes: `net/ipv4/conf/eth0/arp_notify`.
pub fn read(place: Place, key: &str) -> Result<String, HostError> {
    #[cfg(target_arch = "wasm32")]
    let read = Ok(host::read(place.as_str(), key)?);
    #[cfg(not(target_arch = "wasm32"))]
    let read = network(|it| it.sysctl(place, key));
    read
}

/// Makes it something else; what it was comes back with the attachment.
pub fn write(place: Place, key: &str, value: &str) -> Result<(), HostError> {
    put(place, key, value, false)
}

/// Makes it something else, for good.
pub fn write_and_keep(place: Place, key: &str, value: &str) -> Result<(), HostError> {
    put(place, key, value, true)
}

#[cfg_attr(
    not(target_arch = "wasm32"),
    allow(unused_variables, reason = "a test has no end to come back at")
)]
fn put(place: Place, key: &str, value: &str, keep: bool) -> Result<(), HostError> {
    #[cfg(target_arch = "wasm32")]
    let written = Ok(host::write(place.as_str(), key, value, keep)?);
    #[cfg(not(target_arch = "wasm32"))]
    let written = network(|it| it.set_sysctl(place, key, value));
    written
}
