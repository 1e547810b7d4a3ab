//! Limits as people write them: one table for the conflist, the node's settings and whoever explains them.

use crate::units::{self, show_bytes, show_time};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;
use wasmhook_wasm::Limits;

/// A limit that has a name.
#[derive(Debug)]
pub struct Limit {
    /// As it is written: `limits.cpu`.
    pub key: &'static str,
    unit: Unit,
    slot: fn(&mut Limits) -> Slot<'_>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Time,
    Bytes,
    Count,
}

enum Slot<'a> {
    Time(&'a mut Duration),
    Number(&'a mut u64),
}

const fn limit(key: &'static str, unit: Unit, slot: fn(&mut Limits) -> Slot<'_>) -> Limit {
    Limit { key, unit, slot }
}

/// Every limit there is.
pub const LIMITS: [Limit; 15] = [
    limit("cpu", Unit::Time, |it| Slot::Time(&mut it.cpu)),
    limit("wall", Unit::Time, |it| Slot::Time(&mut it.wall)),
    limit("memory", Unit::Bytes, |it| Slot::Number(&mut it.memory)),
    limit("stack", Unit::Bytes, |it| Slot::Number(&mut it.stack)),
    limit("instances", Unit::Count, |it| Slot::Number(&mut it.instances)),
    limit("tables", Unit::Count, |it| Slot::Number(&mut it.tables)),
    limit("tableElements", Unit::Count, |it| Slot::Number(&mut it.table_elements)),
    limit("module", Unit::Bytes, |it| Slot::Number(&mut it.module)),
    limit("verdict", Unit::Bytes, |it| Slot::Number(&mut it.verdict)),
    limit("logLines", Unit::Count, |it| Slot::Number(&mut it.log_lines)),
    limit("logBytes", Unit::Bytes, |it| Slot::Number(&mut it.log_bytes)),
    limit("hostCalls", Unit::Count, |it| Slot::Number(&mut it.host_calls)),
    limit("hostBytes", Unit::Bytes, |it| Slot::Number(&mut it.host_bytes)),
    limit("links", Unit::Count, |it| Slot::Number(&mut it.links)),
    limit("leases", Unit::Count, |it| Slot::Number(&mut it.leases)),
];

/// What stands behind a limit's key, in JSON and TOML alike.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Written {
    Count(u64),
    Text(String),
    Other(serde::de::IgnoredAny),
}

impl Limit {
    pub(crate) fn find(key: &str) -> Option<&'static Self> {
        LIMITS.iter().find(|limit| limit.key == key)
    }

    pub(crate) fn keys() -> String {
        LIMITS.map(|limit| limit.key).join(", ")
    }

    /// Sets it, if what is written means something and is no more than `most`; what `most` is, `whose` says.
    pub(crate) fn set(
        &self,
        limits: &mut Limits,
        written: &Written,
        most: &Limits,
        whose: &str,
    ) -> Result<(), String> {
        let value = self.read(written)?;
        for (most, whose) in [(&Limits::MOST, ""), (most, whose)] {
            let most = self.get(most);
            if value > most {
                return Err(format!("{}: {} at most{whose}", self.show(value), self.show(most)));
            }
        }
        self.put(limits, value);
        Ok(())
    }

    /// Nanoseconds, bytes or a count.
    fn read(&self, written: &Written) -> Result<u64, String> {
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        match (self.unit, written) {
            (Unit::Time, Written::Text(text)) => units::time(text).map(nanoseconds),
            (Unit::Bytes, Written::Text(text)) => units::size(text),
            (Unit::Count, Written::Count(0)) => Err("0: nothing runs with none".into()),
            (Unit::Count, Written::Count(count)) => Ok(*count),
            (unit, written) => {
                let wanted = match unit {
                    Unit::Time => "a time such as \"500ms\", \"2s\" or \"1m\"",
                    Unit::Bytes => "a size such as \"64MiB\"",
                    Unit::Count => "a whole number",
                };
                Err(match written {
                    Written::Count(count) => format!("{count}: write {wanted}"),
                    Written::Text(text) => format!("{text:?}: write {wanted}"),
                    Written::Other(_) => format!("write {wanted}"),
                })
            }
        }
    }

    fn get(&self, limits: &Limits) -> u64 {
        let mut limits = *limits;
        match (self.slot)(&mut limits) {
            Slot::Time(time) => u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
            Slot::Number(number) => *number,
        }
    }

    fn put(&self, limits: &mut Limits, value: u64) {
        match (self.slot)(limits) {
            Slot::Time(time) => *time = Duration::from_nanos(value),
            Slot::Number(number) => *number = value,
        }
    }

    fn show(&self, value: u64) -> String {
        match self.unit {
            Unit::Time => show_time(Duration::from_nanos(value)),
            Unit::Bytes => show_bytes(value),
            Unit::Count => value.to_string(),
        }
    }
}

/// What ends a hook on a node, where the conflist says nothing else, and the most that it may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, Item>")]
pub struct LimitSettings {
    usual: Limits,
    max: Limits,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Item {
    Max(BTreeMap<String, Written>),
    Value(Written),
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self { usual: Limits::default(), max: Limits::MOST }
    }
}

impl LimitSettings {
    /// What holds where the conflist says nothing.
    #[must_use]
    pub fn usual(&self) -> Limits {
        self.usual
    }

    /// The most that a conflist may say.
    #[must_use]
    pub fn max(&self) -> Limits {
        self.max
    }
}

impl TryFrom<BTreeMap<String, Item>> for LimitSettings {
    type Error = String;

    fn try_from(items: BTreeMap<String, Item>) -> Result<Self, String> {
        let mut settings = Self::default();
        let set = |limits: &mut Limits, at: &str, key: &str, written: &Written| {
            let unknown = || format!("unknown limit `{at}{key}`; known here: {}", Limit::keys());
            let limit = Limit::find(key).ok_or_else(unknown)?;
            limit.set(limits, written, &Limits::MOST, "").map_err(|wrong| format!("`{at}{key}`: {wrong}"))
        };
        for (key, item) in &items {
            match item {
                Item::Max(max) if key == "max" => {
                    for (key, written) in max {
                        set(&mut settings.max, "max.", key, written)?;
                    }
                }
                Item::Max(_) => return Err(format!("unknown table `{key}`; known here: max")),
                Item::Value(written) => set(&mut settings.usual, "", key, written)?,
            }
        }
        settings.usual = settings.usual.lesser(&settings.max);
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_a_place_of_its_own_and_is_no_more_than_the_most() {
        for (index, limit) in LIMITS.iter().enumerate() {
            let mut limits = Limits::default();
            limit.put(&mut limits, 1);
            let changed = LIMITS.iter().filter(|it| it.get(&limits) != it.get(&Limits::default())).count();
            assert_eq!((changed, limit.get(&limits)), (1, 1), "{index}");
            assert!(limit.get(&Limits::default()) <= limit.get(&Limits::MOST), "{}", limit.key);
        }
    }

    #[test]
    fn what_a_node_says_is_the_usual_and_never_more_than_its_most() {
        let settings: LimitSettings =
            toml::from_str("cpu = \"1s\"\nhostCalls = 5\n[max]\nmemory = \"1MiB\"\n").unwrap();
        assert_eq!(settings.usual().cpu, Duration::from_secs(1));
        assert_eq!((settings.usual().memory, settings.usual().host_calls), (1 << 20, 5));
        let wrong = |text: &str| toml::from_str::<LimitSettings>(text).unwrap_err().to_string();
        assert!(wrong("cpuu = \"1s\"").contains("unknown limit `cpuu`; known here: cpu, wall, memory"));
        assert!(wrong("[max]\ncpu = 3").contains("`max.cpu`: 3: write a time such as"));
        assert!(wrong("hostCalls = \"many\"").contains("`hostCalls`: \"many\": write a whole number"));
        assert!(wrong("[most]\ncpu = \"1s\"").contains("unknown table `most`"));
        assert!(wrong("verdict = \"1GiB\"").contains("`verdict`: 1GiB: 3MiB at most"));
    }
}
