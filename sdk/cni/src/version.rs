use std::{fmt, str::FromStr};

/// A released version of the specification; later ones compare as greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is the version it names")]
pub enum SpecVersion {
    V0_1_0,
    V0_2_0,
    V0_3_0,
    V0_3_1,
    V0_4_0,
    V1_0_0,
    V1_1_0,
}

impl SpecVersion {
    /// Every version we speak, oldest first.
    pub const ALL: [Self; 7] =
        [Self::V0_1_0, Self::V0_2_0, Self::V0_3_0, Self::V0_3_1, Self::V0_4_0, Self::V1_0_0, Self::V1_1_0];

    /// As it is written in `cniVersion`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// Its three numbers.
    #[must_use]
    pub fn number(self) -> [u32; 3] {
        version_number(self.as_str()).unwrap_or_default()
    }

    /// `["0.1.0" "0.2.0" …]`, as the reference library prints it in its error.
    #[must_use]
    pub fn list() -> String {
        let quoted: Vec<_> = Self::ALL.iter().map(|version| format!("\"{version}\"")).collect();
        format!("[{}]", quoted.join(" "))
    }
}

/// The three numbers of a version that need not be one of ours.
pub(crate) fn version_number(text: &str) -> Option<[u32; 3]> {
    let numbers: Vec<u32> = text.split('.').map(|it| it.parse().ok()).collect::<Option<_>>()?;
    numbers.try_into().ok()
}

impl fmt::Display for SpecVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SpecVersion {
    type Err = ();

    /// `""` is 0.1.0: a configuration without `cniVersion` predates the key.
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "" => Ok(Self::V0_1_0),
            _ => Self::ALL.into_iter().find(|version| version.as_str() == text).ok_or(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_exact_and_ordered() {
        assert_eq!("".parse(), Ok(SpecVersion::V0_1_0));
        assert_eq!("1.0.0".parse(), Ok(SpecVersion::V1_0_0));
        assert_eq!("1.0".parse::<SpecVersion>(), Err(()));
        assert!(SpecVersion::V0_4_0 < SpecVersion::V1_0_0);
        assert_eq!(SpecVersion::V0_3_1.number(), [0, 3, 1]);
        assert_eq!(version_number("1.0.0-rc1"), None);
        assert_eq!(SpecVersion::list(), r#"["0.1.0" "0.2.0" "0.3.0" "0.3.1" "0.4.0" "1.0.0" "1.1.0"]"#);
    }
}
