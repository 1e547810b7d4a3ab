use serde::de::DeserializeOwned;
use wasmhook_cni::{FieldError, Object};

/// A mistake in a configuration: where, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `hooks[0].limits.cpu`
    pub path: String,
    /// What is wrong, with its value, and the remedy.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`: {}", self.path, self.message)
    }
}

/// All mistakes at once: nobody wants to hear of them one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// One more.
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { path: path.into(), message: message.into() });
    }

    /// None at all?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A key's value; a wrong type is one more mistake, and then nothing.
    pub(crate) fn read<T: DeserializeOwned>(&mut self, object: &Object, at: &str, key: &str) -> Option<T> {
        object.read(key).unwrap_or_else(|error| {
            self.add(join(at, key), why(&error));
            None
        })
    }

    /// [`read`](Self::read) for text that means something: `parse` says what is wrong with it.
    pub(crate) fn parse<T>(
        &mut self,
        object: &Object,
        at: &str,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text: String = self.read(object, at, key)?;
        parse(&text).map_err(|wrong| self.add(join(at, key), wrong)).ok()
    }

    /// Keys that nobody reads are mistakes: a typo must not switch a guard off.
    pub(crate) fn unknown_keys(&mut self, object: &Object, at: &str, known: &[&str]) {
        for (key, _) in object.iter().filter(|(key, _)| !known.contains(key)) {
            self.add(join(at, key), format!("unknown key; known here: {}", known.join(", ")));
        }
    }
}

fn join(at: &str, key: &str) -> String {
    if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") }
}

/// serde's words without the position, which is the value's and not the file's.
fn why(error: &FieldError) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    cause.split(" at line ").next().unwrap_or_default().to_owned()
}
