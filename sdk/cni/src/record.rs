use crate::Object;
use serde::de::{DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::{fmt, marker::PhantomData};

/// A typed view of a JSON object: some keys are fields, the others are kept in `rest`, bytes and all.
///
/// (`#[serde(flatten)]` can't do this: it buffers numbers, and with them their digits are lost.)
pub trait Record: Default {
    /// Takes the value if the key is a field; hands the map back untouched otherwise.
    #[doc(hidden)]
    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error>;
    #[doc(hidden)]
    fn put<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error>;
    /// The keys that are not fields.
    fn rest(&mut self) -> &mut Object;
}

/// What a field's type says about being absent.
pub(crate) trait Field: DeserializeOwned + Serialize + Default {
    fn is_absent(&self) -> bool;
}

impl<T: DeserializeOwned + Serialize> Field for Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl Field for String {
    fn is_absent(&self) -> bool {
        false
    }
}

impl Field for u32 {
    fn is_absent(&self) -> bool {
        false
    }
}

pub(crate) fn serialize<R: Record, S: Serializer>(record: &R, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    record.put(&mut map)?;
    map.end()
}

pub(crate) fn deserialize<'de, R: Record, D: Deserializer<'de>>(deserializer: D) -> Result<R, D::Error> {
    struct Members<R>(PhantomData<R>);
    impl<'de, R: Record> Visitor<'de> for Members<R> {
        type Value = R;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<R, A::Error> {
            let mut record = R::default();
            while let Some(key) = map.next_key::<String>()? {
                if !record.take(&key, &mut map)? {
                    let value = map.next_value()?;
                    record.rest().set_raw(&key, value);
                }
            }
            Ok(record)
        }
    }
    deserializer.deserialize_map(Members(PhantomData))
}

/// Declares a struct that is a [`Record`]: `"jsonKey" field: Type`. `null` counts as absent.
macro_rules! record {
    ($(#[$about:meta])* pub struct $name:ident {
        $($(#[$doc:meta])* $key:literal $field:ident: $type:ty,)*
    }) => {
        $(#[$about])*
        #[derive(Clone, Debug, Default)]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
            /// Keys that are not fields, as they were written.
            pub rest: $crate::Object,
        }

        impl $crate::Record for $name {
            fn take<'de, A: ::serde::de::MapAccess<'de>>(
                &mut self, key: &str, map: &mut A,
            ) -> Result<bool, A::Error> {
                match key {
                    $($key => self.$field = map.next_value::<Option<$type>>()?.unwrap_or_default(),)*
                    _ => return Ok(false),
                }
                Ok(true)
            }

            fn put<M: ::serde::ser::SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
                use $crate::record::Field as _;
                $(if !self.$field.is_absent() {
                    map.serialize_entry($key, &self.$field)?;
                })*
                for (key, value) in self.rest.iter() {
                    map.serialize_entry(key, value)?;
                }
                Ok(())
            }

            fn rest(&mut self) -> &mut $crate::Object {
                &mut self.rest
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::record::serialize(self, serializer)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::record::deserialize(deserializer)
            }
        }
    };
}
pub(crate) use record;
