use crate::{Error, code};

/// `CNI_ARGS`: `KEY=VALUE` pairs, in the runtime's order (which changes from call to call).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args(Vec<(String, String)>);

impl Args {
    /// Splits `K=V;K=V`. Every pair needs exactly one `=`, as the reference library has it.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let pair = |pair: &str| match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() && !value.contains('=') => {
                Ok((key.to_owned(), value.to_owned()))
            }
            _ => Err(Error::new(code::INVALID_ENVIRONMENT, format!("ARGS: invalid pair {pair:?}"))),
        };
        text.split(';').filter(|part| !part.is_empty()).map(pair).collect::<Result<_, _>>().map(Self)
    }

    /// The value of the first pair with this key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The pairs in their order.
    #[must_use]
    pub fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

impl FromIterator<(String, String)> for Args {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_split_and_looked_up() {
        let args = Args::parse("IgnoreUnknown=1;K8S_POD_NAME=web;").unwrap();
        assert_eq!(args.value("K8S_POD_NAME"), Some("web"));
        assert_eq!(args.value("IP"), None);
    }

    #[test]
    fn a_pair_without_exactly_one_equals_sign_is_named() {
        for bad in ["K8S", "a=b=c", "=x"] {
            let error = Args::parse(&format!("A=1;{bad}")).unwrap_err();
            assert_eq!((error.code, error.msg), (4, format!("ARGS: invalid pair {bad:?}")));
        }
    }
}
