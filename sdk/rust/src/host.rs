//! What host functions of all interfaces have in common.

use std::fmt;

/// Why the host has not done something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostError {
    /// What to go by; an open set: `denied`, `not-found`, `exists`, `invalid`, `budget`, `busy`, `unsupported`, `exhausted`,
    /// `plugin`, `errno`, `unavailable`, `unknown-outcome`.
    pub code: String,
    /// The kernel's number where it was the kernel, a plugin's code where it was a plugin, else 0.
    pub errno: i32,
    /// One line for a person.
    pub message: String,
}

impl HostError {
    /// What it is about is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code == "not-found"
    }

    /// What was to be made is there already.
    #[must_use]
    pub fn is_exists(&self) -> bool {
        self.code == "exists"
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for HostError {}

impl From<crate::bindings::wasmhook::host::errors::Failure> for HostError {
    fn from(failure: crate::bindings::wasmhook::host::errors::Failure) -> Self {
        Self { code: failure.code, errno: failure.errno, message: failure.message }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl From<wasmhook_net_types::NetError> for HostError {
    fn from(error: wasmhook_net_types::NetError) -> Self {
        Self { code: error.code().to_owned(), errno: error.errno(), message: error.to_string() }
    }
}

/// JSON text of what always is JSON.
#[cfg(target_arch = "wasm32")]
pub(crate) fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// What the host says, which is JSON unless host and hook do not fit together.
#[cfg(target_arch = "wasm32")]
pub(crate) fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, HostError> {
    serde_json::from_str(text).map_err(|error| HostError {
        code: "invalid".to_owned(),
        errno: 0,
        message: format!("the host's answer: {error}"),
    })
}
