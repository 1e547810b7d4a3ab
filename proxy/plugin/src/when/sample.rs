use super::Facts;
use std::fmt;

/// So many of a hundred: computed, not stored, so that every call of one pod comes to the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) percent: f64,
    pub(super) per: Per,
    pub(super) seed: u64,
}

/// Of what a sample is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Per {
    /// A pod's uid; a container's id where nobody says which pod it is. A kubelet that tries again does so with a new container.
    #[default]
    Pod,
    /// A container's interface in a network.
    Attachment,
    /// All of a network, or nothing.
    Network,
}

impl Sample {
    pub(super) fn holds(&self, hook: &str, facts: &Facts<'_>) -> bool {
        self.percent >= 100.0 || self.draw(hook, facts) < self.percent
    }

    /// From 0 up to but not 100.
    fn draw(&self, hook: &str, facts: &Facts<'_>) -> f64 {
        let container = facts.container_id;
        let key = match self.per {
            Per::Pod => {
                [facts.args.value("K8S_POD_UID").filter(|it| !it.is_empty()).unwrap_or(container), "", ""]
            }
            Per::Attachment => [facts.network, container, facts.ifname],
            Per::Network => [facts.network, "", ""],
        };
        let mut hash = 0xcbf2_9ce4_8422_2325 ^ self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for part in [hook].iter().chain(&key) {
            for byte in part.bytes().chain([0]) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        // FNV mixes its high bits badly; this is the finalizer of MurmurHash3.
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^= hash >> 33;
        #[allow(clippy::cast_precision_loss, reason = "53 bits are what a double holds")]
        let percent = (hash >> 11) as f64 / (1_u64 << 53) as f64 * 100.0;
        percent
    }

    pub(super) fn told(&self, hook: &str, facts: &Facts<'_>) -> String {
        format!("this {} draws {:.4}, and {self} are wanted", self.per, self.draw(hook, facts))
    }
}

impl Per {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "pod" => Ok(Self::Pod),
            "attachment" => Ok(Self::Attachment),
            "network" => Ok(Self::Network),
            _ => Err(format!("{text:?}: write \"pod\", \"attachment\" or \"network\"")),
        }
    }
}

impl fmt::Display for Per {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pod => "pod",
            Self::Attachment => "attachment",
            Self::Network => "network",
        })
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "less than {} (per {}, seed {})", self.percent, self.per, self.seed)
    }
}
