//! What the end-to-end tests and the benchmark share: the built programs, a node of their own, private namespaces.
//!
//! Nothing here touches the machine: settings, modules and compiled modules live in a temporary directory,
//! and whatever needs the kernel happens in namespaces that end with the test.

#![allow(clippy::missing_panics_doc, clippy::must_use_candidate, reason = "panicking is how a test speaks")]

mod chain;
mod fakes;
mod guests;
mod lab;
mod node;

pub use chain::{Chain, Pod, Stopped, sent_again, typed};
pub use fakes::Fakes;
pub use guests::{
    GO_ON, calling, calling_before, command, component, component_in, conversing, core_component,
    core_module, deny, encode, overwriting, padded, variant, verdict, with_wasi,
};
pub use lab::{Answer, Call, CniError, Lab};
pub use node::Node;

use std::path::PathBuf;

/// A file of `make build` or `make hooks`. Panics when it is not there: a test of yesterday's program is none.
#[must_use]
pub fn dist(name: &str) -> PathBuf {
    let directory = std::env::var_os("WASMHOOK_DIST")
        .map_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../dist").into(), PathBuf::from);
    let path = directory.join(name);
    let path = path.canonicalize().unwrap_or(path);
    assert!(path.exists(), "{} is not there: run `make build hooks`", path.display());
    path
}

/// Where Debian's package containernetworking-plugins puts them.
pub const PLUGINS: &str = "/usr/lib/cni";

/// Looks until there is something to see. Panics after five seconds.
pub fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..500 {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("waited five seconds in vain");
}
