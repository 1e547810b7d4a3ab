use serde::Serialize;

/// Why a host call did not succeed, in the contract's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Failure {
    /// An open set: `denied`, `invalid`, `unknown`, `budget` …
    pub code: &'static str,
    /// The kernel's number where it was the kernel, else 0.
    pub errno: i32,
    /// One line for a person.
    pub message: String,
}

impl Failure {
    /// A failure that is not the kernel's.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, errno: 0, message: message.into() }
    }
}
