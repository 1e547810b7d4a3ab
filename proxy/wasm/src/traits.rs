use crate::room::Phase;
use crate::{PostVerdict, PreVerdict, Verdict};
use serde::{Deserialize, Serialize};

/// What a module says of itself, in one byte, its custom section `wasmhook:traits`. One that says nothing has something to
/// do in both phases, and breaks nothing on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traits(u8);

const PRE: u8 = 1;
const POST: u8 = 2;
const BREAKS_THINGS: u8 = 4;

impl Default for Traits {
    fn default() -> Self {
        Self(PRE | POST)
    }
}

impl Traits {
    /// From [`bits`](Self::bits). Without a phase it has both, and bits that nobody knows are none.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        let phases = match bits & (PRE | POST) {
            0 => PRE | POST,
            phases => phases,
        };
        Self(phases | bits & BREAKS_THINGS)
    }

    /// 1 for `pre`, 2 for `post`, and 4 for one that breaks things on purpose.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Has it something to do in this phase?
    #[must_use]
    pub fn have(self, phase: &Phase) -> bool {
        let bit = match phase {
            Phase::Pre(_) => PRE,
            Phase::Post(..) => POST,
        };
        self.0 & bit != 0
    }

    /// Does it break things on purpose? Such a hook is skipped while faults are switched off.
    #[must_use]
    pub fn breaks_things(self) -> bool {
        self.0 & BREAKS_THINGS != 0
    }

    /// `pre`, `post`, `breaks-things`.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        let all = [(PRE, "pre"), (POST, "post"), (BREAKS_THINGS, "breaks-things")];
        all.into_iter().filter(|it| self.0 & it.0 != 0).map(|it| it.1).collect()
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
