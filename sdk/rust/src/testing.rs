//! For unit tests: the networks in memory that host calls act on outside wasm. Each thread, and so each test, has its own.
//!
//! ```
//! use wasmhook_sdk::net::{LinkSpec, Place};
//! use wasmhook_sdk::{link, testing};
//!
//! testing::with(|network| *network = serde_json::from_str(r#"{"host":{"links":[{"name":"br0","kind":"bridge","up":true}]}}"#).unwrap());
//! link::create(Place::Host, &LinkSpec::veth("veth1", "eth0").master("br0").up()).unwrap();
//! assert!(link::get(Place::Container, "eth0").unwrap().running);
//! ```

use crate::HostError;
use crate::chaos::End;
use crate::cni::Object;
use std::cell::RefCell;
use wasmhook_net_types::{Model, NetError};

/// What a plugin would do: its type, the verb, its configuration; what it answers.
type Plugins = Box<dyn FnMut(&str, &str, &Object) -> Result<Option<String>, HostError>>;

thread_local! {
    static NETWORK: RefCell<Model> = RefCell::new(Model::new());
    static PLUGINS: RefCell<Option<Plugins>> = const { RefCell::new(None) };
    static END: RefCell<Option<(End, bool)>> = const { RefCell::new(None) };
}

/// Looks at the networks, or makes them what they are to be.
pub fn with<T>(look: impl FnOnce(&mut Model) -> T) -> T {
    NETWORK.with_borrow_mut(look)
}

/// What plugins do from now on. Without it, there are none.
pub fn plugins(run: impl FnMut(&str, &str, &Object) -> Result<Option<String>, HostError> + 'static) {
    PLUGINS.set(Some(Box::new(run)));
}

/// How the call would end instead of as it should, and whether what was done is kept; forgotten by asking.
#[must_use]
pub fn end() -> Option<(End, bool)> {
    END.take()
}

#[allow(clippy::unnecessary_wraps, reason = "the contract's shape")]
pub(crate) fn ends(end: End, keep: bool) -> Result<(), HostError> {
    END.set(Some((end, keep)));
    Ok(())
}

pub(crate) fn network<T>(act: impl FnOnce(&mut Model) -> Result<T, NetError>) -> Result<T, HostError> {
    Ok(NETWORK.with_borrow_mut(act)?)
}

pub(crate) fn run(plugin: &str, verb: &str, config: &Object) -> Result<Option<String>, HostError> {
    let none = || HostError {
        code: "not-found".to_owned(),
        errno: 0,
        message: format!("plugin {plugin:?}: this test has none (`testing::plugins`)"),
    };
    PLUGINS.with_borrow_mut(|plugins| plugins.as_mut().ok_or_else(none)?(plugin, verb, config))
}
