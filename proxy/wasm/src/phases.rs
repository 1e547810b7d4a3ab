use crate::room::Phase;
use crate::{PostVerdict, PreVerdict, Verdict};
use serde::{Deserialize, Serialize};

/// The phases that a module says it has something to do in, by its custom section `wasmhook:phases`. One that says
/// nothing has both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phases(u8);

const PRE: u8 = 1;
const POST: u8 = 2;

impl Default for Phases {
    fn default() -> Self {
        Self(PRE | POST)
    }
}

impl Phases {
    /// From [`bits`](Self::bits). No phase at all, or more than there are: both, as nothing is known.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        if matches!(bits, PRE | POST) { Self(bits) } else { Self::default() }
    }

    /// 1 for `pre`, 2 for `post`, 3 for both: what the custom section holds, in one byte.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Is this one of them?
    #[must_use]
    pub fn have(self, phase: &Phase) -> bool {
        let bit = match phase {
            Phase::Pre(_) => PRE,
            Phase::Post(..) => POST,
        };
        self.0 & bit != 0
    }

    /// `pre`, `post`.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        [(PRE, "pre"), (POST, "post")].into_iter().filter(|it| self.0 & it.0 != 0).map(|it| it.1).collect()
    }
}

impl Phase {
    /// What a hook says that has nothing to do in it.
    #[must_use]
    pub fn nothing(&self) -> Verdict {
        match self {
            Self::Pre(_) => Verdict::Pre(PreVerdict::Proceed),
            Self::Post(..) => Verdict::Post(PostVerdict::Keep),
        }
    }
}
