//! Taps and tuns: links whose other end is a file that a program opens. Needs the grant `tap`, or that of a place.
//!
//! ```
//! use wasmhook_sdk::net::{Place, TapSpec};
//! # fn main() -> wasmhook_sdk::Result<()> {
//! let spec = TapSpec { owner: Some(1000), multi_queue: true, up: true, ..TapSpec::new("tap0") };
//! wasmhook_sdk::tap::create(Place::Container, &spec)?;
//! # Ok(()) }
//! ```

use crate::HostError;
use wasmhook_net_types::{Link, Place, TapSpec};

/// Makes one. It stays when nobody has it open, and goes with the attachment.
pub fn create(place: Place, spec: &TapSpec) -> Result<Link, HostError> {
    #[cfg(target_arch = "wasm32")]
    let made = {
        let spec = crate::host::json(spec);
        crate::link::of_info(crate::bindings::wasmhook::host::tap::create(place.as_str(), &spec)?)
    };
    #[cfg(not(target_arch = "wasm32"))]
    let made = crate::testing::network(|it| wasmhook_net_types::Network::create_tap(it, place, spec, ""));
    made
}
