use indexmap::IndexMap;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use std::{fmt, str::FromStr};

/// A JSON object that belongs to somebody else: keys keep their order, values keep their bytes.
///
/// A key that stands twice keeps its first place and its last value, as Go's decoder has it.
#[derive(Clone, Debug, Default)]
pub struct Object {
    members: IndexMap<String, Box<RawValue>>,
}

/// Keys that are looked at one by one.
const FEW: usize = 16;

/// A key holds a value of another type than the one asked for.
#[derive(Debug, thiserror::Error)]
#[error("`{key}`: {source}")]
pub struct FieldError {
    /// The key.
    pub key: String,
    source: serde_json::Error,
}

impl Object {
    /// `{}`
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The value's text, exactly as it was written.
    #[must_use]
    pub fn raw(&self, key: &str) -> Option<&RawValue> {
        // To look at a few keys takes less time than to hash one.
        if self.members.len() <= FEW {
            return self.iter().find(|it| it.0 == key).map(|it| it.1);
        }
        self.members.get(key).map(|value| &**value)
    }

    /// Is the key there, `null` or not?
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.raw(key).is_some()
    }

    /// The value as a `T`; `None` when the key is absent or `null`.
    pub fn read<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, FieldError> {
        let Some(raw) = self.raw(key) else { return Ok(None) };
        serde_json::from_str(raw.get()).map_err(|source| FieldError { key: key.to_owned(), source })
    }

    /// Puts a value in the key's place, or at the end when the key is new.
    pub fn set<T: Serialize>(&mut self, key: &str, value: &T) -> Result<(), FieldError> {
        let raw = to_raw_value(value).map_err(|source| FieldError { key: key.to_owned(), source })?;
        self.set_raw(key, raw);
        Ok(())
    }

    /// [`set`](Self::set) for text that is JSON already.
    pub fn set_raw(&mut self, key: &str, value: Box<RawValue>) {
        self.members.insert(key.to_owned(), value);
    }

    /// Puts a string in the key's place.
    pub fn set_str(&mut self, key: &str, value: &str) {
        // A string always is JSON, so there is no error to tell of.
        if let Ok(raw) = to_raw_value(value) {
            self.set_raw(key, raw);
        }
    }

    /// Takes the key out.
    pub fn remove(&mut self, key: &str) -> Option<Box<RawValue>> {
        self.members.shift_remove(key)
    }

    /// Keys and values in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RawValue)> {
        self.members.iter().map(|(key, value)| (key.as_str(), &**value))
    }

    /// `{}`?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// Do two JSON texts mean the same? Order of keys and white space do not count; `1` and `1.0` differ.
#[must_use]
pub fn same_json(one: &RawValue, other: &RawValue) -> bool {
    if one.get() == other.get() {
        return true;
    }
    let parse = |raw: &RawValue| serde_json::from_str::<serde_json::Value>(raw.get());
    matches!((parse(one), parse(other)), (Ok(one), Ok(other)) if one == other)
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl FromStr for Object {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.members.len()))?;
        for (key, value) in &self.members {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut object = Object::new();
                while let Some(key) = map.next_key()? {
                    object.members.insert(key, map.next_value()?);
                }
                Ok(object)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"b":12345678901234567890123,"a":[1.50, 1e3],"c":{"z":1,"y":null}}"#;

    #[test]
    fn order_and_bytes_survive() {
        let object: Object = TEXT.parse().unwrap();
        assert_eq!(object.to_string(), TEXT);
    }

    #[test]
    fn a_changed_key_keeps_its_place() {
        let mut object: Object = TEXT.parse().unwrap();
        object.set("a", &7).unwrap();
        object.set_str("new", "x");
        assert_eq!(
            object.to_string(),
            r#"{"b":12345678901234567890123,"a":7,"c":{"z":1,"y":null},"new":"x"}"#
        );
    }

    #[test]
    fn a_key_that_stands_twice_keeps_its_last_value() {
        let object: Object = r#"{"a":1,"b":2,"a":3}"#.parse().unwrap();
        assert_eq!(object.to_string(), r#"{"a":3,"b":2}"#);
    }

    #[test]
    fn reading_says_which_key_is_wrong() {
        let object: Object = r#"{"mtu":"big","none":null}"#.parse().unwrap();
        assert_eq!(object.read::<u32>("none").unwrap(), None);
        let error = object.read::<u32>("mtu").unwrap_err().to_string();
        assert!(error.starts_with("`mtu`: invalid type: string \"big\""), "{error}");
    }

    #[test]
    fn sameness_ignores_order_and_space_but_not_values() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        assert!(same_json(&raw(r#"{"a":1,"b":[ 2 ]}"#), &raw(r#"{"b":[2],"a":1}"#)));
        assert!(!same_json(&raw("1"), &raw("1.0")));
    }
}
