//! What a hook remembers from call to call. Needs the grant `state`, or that of a scope, such as `state:attachment`.
//!
//! Every call is atomic over all processes of the node. In unit tests it is a map of the thread that knows no time.
//!
//! ```
//! use std::time::Duration;
//! use wasmhook_sdk::state::{self, Scope};
//! # fn main() -> wasmhook_sdk::Result<()> {
//! let in_this_minute = state::add(Scope::Network, "adds", 1, Some(Duration::from_secs(60)))?;
//! assert_eq!(in_this_minute, 1);
//! # Ok(()) }
//! ```

use crate::Result;
use std::time::Duration;

#[cfg(target_arch = "wasm32")]
use crate::bindings::wasmhook::host::state as host;
#[cfg(not(target_arch = "wasm32"))]
use native as host;

/// Whose memory it is.
pub use crate::bindings::wasmhook::host::state::Scope;

/// A key's value.
pub fn get(scope: Scope, key: &str) -> Result<Option<Vec<u8>>> {
    Ok(host::get(scope, key)?)
}

/// Gives a key a value; for ever, or until the attachment is gone, without a time.
pub fn set(scope: Scope, key: &str, value: &[u8], time: Option<Duration>) -> Result<()> {
    Ok(host::set(scope, key, value, seconds(time))?)
}

/// Takes a key away. Was it there?
pub fn remove(scope: Scope, key: &str) -> Result<bool> {
    Ok(host::remove(scope, key)?)
}

/// `new` in the place of `old` if that is what is there, `None` being absent. Was it?
pub fn swap(
    scope: Scope,
    key: &str,
    old: Option<&[u8]>,
    new: Option<&[u8]>,
    time: Option<Duration>,
) -> Result<bool> {
    Ok(host::cas(scope, key, old, new, seconds(time))?)
}

/// Adds to a number and returns the sum; absent counts as 0. A key that is there keeps its own time.
pub fn add(scope: Scope, key: &str, delta: i64, time: Option<Duration>) -> Result<i64> {
    Ok(host::add(scope, key, delta, seconds(time))?)
}

/// All keys that begin with this, sorted; a thousand at most.
pub fn keys(scope: Scope, prefix: &str) -> Result<Vec<String>> {
    Ok(host::keys(scope, prefix)?)
}

/// 0 is for ever, so less than a second is one.
fn seconds(time: Option<Duration>) -> u32 {
    time.map_or(0, |time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX).max(1))
}

#[cfg(not(target_arch = "wasm32"))]
#[allow(clippy::unnecessary_wraps, reason = "the contract's shapes")]
mod native {
    use super::Scope;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    /// As the contract has it.
    #[derive(Debug, PartialEq, Eq)]
    pub(super) struct Refused(&'static str);

    impl std::fmt::Display for Refused {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl std::error::Error for Refused {}

    type Done<T> = Result<T, Refused>;

    thread_local!(static MAP: RefCell<BTreeMap<(u8, String), Vec<u8>>> = const { RefCell::new(BTreeMap::new()) });

    fn place(scope: Scope, key: &str) -> (u8, String) {
        (scope as u8, key.to_owned())
    }

    pub(super) fn get(scope: Scope, key: &str) -> Done<Option<Vec<u8>>> {
        Ok(MAP.with_borrow(|map| map.get(&place(scope, key)).cloned()))
    }

    pub(super) fn set(scope: Scope, key: &str, value: &[u8], _: u32) -> Done<()> {
        MAP.with_borrow_mut(|map| map.insert(place(scope, key), value.to_owned()));
        Ok(())
    }

    pub(super) fn remove(scope: Scope, key: &str) -> Done<bool> {
        Ok(MAP.with_borrow_mut(|map| map.remove(&place(scope, key)).is_some()))
    }

    pub(super) fn cas(
        scope: Scope,
        key: &str,
        old: Option<&[u8]>,
        new: Option<&[u8]>,
        seconds: u32,
    ) -> Done<bool> {
        if get(scope, key)?.as_deref() != old {
            return Ok(false);
        }
        match new {
            Some(new) => set(scope, key, new, seconds)?,
            None => drop(remove(scope, key)?),
        }
        Ok(true)
    }

    pub(super) fn add(scope: Scope, key: &str, delta: i64, seconds: u32) -> Done<i64> {
        let is = get(scope, key)?.unwrap_or_else(|| b"0".to_vec());
        let is: Option<i64> = std::str::from_utf8(&is).ok().and_then(|it| it.parse().ok());
        let sum =
            is.and_then(|it| it.checked_add(delta)).ok_or(Refused("not a number, or too great a sum"))?;
        set(scope, key, sum.to_string().as_bytes(), seconds)?;
        Ok(sum)
    }

    pub(super) fn keys(scope: Scope, prefix: &str) -> Done<Vec<String>> {
        let begins = |(of, key): &&(u8, String)| *of == scope as u8 && key.starts_with(prefix);
        Ok(MAP.with_borrow(|map| map.keys().filter(begins).map(|(_, key)| key.clone()).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_test_remembers_as_a_node_does() {
        assert_eq!(get(Scope::Node, "k").unwrap(), None);
        assert_eq!(add(Scope::Node, "k", 5, None).unwrap(), 5);
        assert!(!swap(Scope::Node, "k", None, Some(b"x"), None).unwrap());
        assert!(swap(Scope::Node, "k", Some(b"5"), Some(b"x"), None).unwrap());
        assert!(add(Scope::Node, "k", 1, None).is_err());
        set(Scope::Network, "k2", b"", None).unwrap();
        assert_eq!(keys(Scope::Node, "k").unwrap(), ["k"]);
        assert!(remove(Scope::Node, "k").unwrap() && !remove(Scope::Node, "k").unwrap());
    }
}
