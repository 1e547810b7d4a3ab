use crate::limits::size;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// An event of Kubernetes, where errors end, has a kilobyte.
const LONGEST: usize = 1 << 10;

/// Nothing that a terminal obeys, and not more than anybody reads.
fn plain(words: &str) -> String {
    let mut plain = String::with_capacity(words.len().min(LONGEST));
    for character in words.chars() {
        if plain.len() >= LONGEST {
            plain.push('…');
            break;
        }
        if character.is_control() { plain.extend(character.escape_debug()) } else { plain.push(character) }
    }
    plain
}

/// Whose fault it is that a hook gave no verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Culprit {
    /// The module's.
    Guest,
    /// Ours, or the machine's.
    Host,
    /// The operator's: what is asked and what is allowed do not fit.
    Configuration,
}

/// Why a hook gave no verdict. This is *broken*, never "deny".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Fault {
    #[error("trap: {0}")]
    Trap(String),
    #[error("cpu limit of {0:?} reached (raise `limits.cpu`, or find the loop)")]
    Cpu(Duration),
    #[error("wall-clock limit of {0:?} reached (raise `limits.wall`, or find what it waits for)")]
    Wall(Duration),
    #[error("memory limit of {} reached (raise `limits.memory`)", size(*.0))]
    Memory(u64),
    #[error("{what} limit of {value} reached (raise `limits.{key}`)")]
    Limit { what: String, value: String, key: String },
    #[error("unusable verdict: {0}")]
    Verdict(String),
    #[error("the hook reports: {0}")]
    Reported(String),
    #[error("child ended by signal {0} before a verdict")]
    Killed(i32),
    #[error("child ended before a verdict")]
    Gone,
    #[error("unusable message from the child: {0}")]
    Message(String),
    #[error("imports `{import}`: add grant `{grant}`")]
    Grant { import: String, grant: String },
    #[error("imports `{0}`, which this wasmhook does not offer")]
    Import(String),
    #[error(
        "exports no `wasmhook:hook/handler@0.1.0`: not a hook, or made for another version of the contract"
    )]
    World,
    #[error("compiled module is not usable here: {0}")]
    Artifact(String),
    #[error("{0}")]
    Host(String),
}

impl Fault {
    /// A limit that counts something.
    #[must_use]
    pub fn limit(what: &str, value: u64, unit: &str, key: &str) -> Self {
        Self::Limit { what: what.into(), value: format!("{value} {unit}"), key: key.into() }
    }

    /// A limit of bytes.
    #[must_use]
    pub fn bytes(what: &str, value: u64, key: &str) -> Self {
        Self::Limit { what: what.into(), value: size(value), key: key.into() }
    }

    /// The same in words that are safe to show: much of them may be the guest's own, or all, where it has taken its child
    /// over.
    pub(crate) fn tamed(mut self) -> Self {
        let all = match &mut self {
            Self::Trap(words)
            | Self::Verdict(words)
            | Self::Reported(words)
            | Self::Message(words)
            | Self::Import(words)
            | Self::Artifact(words)
            | Self::Host(words) => vec![words],
            Self::Limit { what, value, key } => vec![what, value, key],
            Self::Grant { import, grant } => vec![import, grant],
            Self::Cpu(_) | Self::Wall(_) | Self::Memory(_) | Self::Killed(_) | Self::Gone | Self::World => {
                Vec::new()
            }
        };
        for words in all {
            *words = plain(words);
        }
        self
    }

    /// Whose fault it is.
    #[must_use]
    pub fn culprit(&self) -> Culprit {
        match self {
            Self::Trap(_)
            | Self::Cpu(_)
            | Self::Wall(_)
            | Self::Memory(_)
            | Self::Limit { .. }
            | Self::Verdict(_)
            | Self::Reported(_)
            | Self::Killed(_)
            | Self::Gone
            | Self::Message(_) => Culprit::Guest,
            Self::Grant { .. } | Self::Import(_) | Self::World => Culprit::Configuration,
            Self::Artifact(_) | Self::Host(_) => Culprit::Host,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_words_stay_on_their_line_and_do_not_paint_the_terminal() {
        let said = |words: &str| Fault::Reported(words.into()).tamed().to_string();
        assert_eq!(said("a\nb\x1b[31m é"), "the hook reports: a\\nb\\u{1b}[31m é");
        let long = said(&"\x01".repeat(1 << 20));
        assert!(long.len() < 1100 && long.ends_with('…'), "{}", long.len());
    }
}
