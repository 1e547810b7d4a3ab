use serde::Serialize;
use wasmhook_store::StoreError;

/// Why a host call did not succeed, in the contract's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Failure {
    /// An open set: `denied`, `invalid`, `unknown`, `budget`, `busy`, `errno`, `unavailable` …
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

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match error {
            StoreError::Quota { .. } | StoreError::TooManyKeys { .. } | StoreError::TooManySeries { .. } => {
                Self::new("budget", message)
            }
            StoreError::NotANumber { .. } | StoreError::Overflow { .. } => Self::new("invalid", message),
            StoreError::Busy(_) | StoreError::PoolBusy { .. } => Self::new("busy", message),
            StoreError::Exhausted { .. } => Self::new("exhausted", message),
            StoreError::Address { .. } => Self::new("exists", message),
            StoreError::Io { cause, .. } => {
                Self { code: "errno", errno: cause.raw_os_error().unwrap_or_default(), message }
            }
            StoreError::State { .. }
            | StoreError::Untrusted { .. }
            | StoreError::Journal { .. }
            | StoreError::NotAFile { .. } => Self::new("unavailable", message),
        }
    }
}
