use std::{fmt, str::FromStr};

/// What a runtime asks of a plugin: `CNI_COMMAND`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Attach the container to the network.
    Add,
    /// Detach it; may be repeated, may come late, must not get stuck.
    Del,
    /// Is what ADD made still there?
    Check,
    /// Remove what belongs to no attachment in `cni.dev/valid-attachments`.
    Gc,
    /// Could an ADD succeed now?
    Status,
    /// Which versions of the specification are spoken here?
    Version,
}

impl Verb {
    /// All verbs, in the specification's order.
    pub const ALL: [Self; 6] = [Self::Add, Self::Del, Self::Check, Self::Gc, Self::Status, Self::Version];

    /// The word in `CNI_COMMAND`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Gc => "GC",
            Self::Status => "STATUS",
            Self::Version => "VERSION",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Verb {
    type Err = ();

    /// Case counts, as it does for the reference plugins.
    fn from_str(word: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|verb| verb.as_str() == word).ok_or(())
    }
}
