/// Why native work was not done. The words are for a person; the variants are the contract's failure codes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetError {
    /// What it is about is not there: `not-found`.
    #[error("{0}")]
    NotFound(String),
    /// It is there already: `exists`.
    #[error("{0}")]
    Exists(String),
    /// It cannot be meant: `invalid`.
    #[error("{0}")]
    Invalid(String),
    /// This kernel has no such thing: `unsupported`.
    #[error("{0}")]
    Unsupported(String),
    /// The kernel refused, with its number: `errno`.
    #[error("{doing}: {words}")]
    Kernel {
        /// What was being done to what.
        doing: String,
        /// The kernel's words for the number, and those it added.
        words: String,
        /// Its number, positive.
        errno: i32,
    },
    /// The kernel has not answered in all the time there was; whether it was done is not known: `unknown-outcome`.
    #[error("{0}: no answer from the kernel in time; whether it was done is not known")]
    Hung(String),
}

impl NetError {
    /// The contract's word for it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not-found",
            Self::Exists(_) => "exists",
            Self::Invalid(_) => "invalid",
            Self::Unsupported(_) => "unsupported",
            Self::Kernel { .. } => "errno",
            Self::Hung(_) => "unknown-outcome",
        }
    }

    /// The kernel's number, 0 where it was not the kernel.
    #[must_use]
    pub fn errno(&self) -> i32 {
        if let Self::Kernel { errno, .. } = self { *errno } else { 0 }
    }
}
