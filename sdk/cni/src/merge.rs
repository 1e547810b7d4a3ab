use crate::Object;
use crate::address::{parse_cidr, settled};
use crate::meaning::{is_nothing, meaning};
use crate::pairing::{Names, Sides, Slot, Slots};
use serde_json::value::{RawValue, to_raw_value};

/// What nests deeper than this is merged as one value. Results nest four deep.
const DEPTH: usize = 64;

/// Takes back the words of hooks: the `prevResult` for a delegate's DEL or CHECK.
///
/// At ADD the delegate returned `made`; hooks changed it, and `said` was handed out; later plugins changed that, and
/// `now` is what the runtime sends. All are in one version of the specification ([`convert`](crate::convert)). The
/// result is `now`, with what only hooks said replaced by what the delegate had made. Where a hook and a later
/// plugin changed the same value, the later plugin's stays: it is what is true now.
///
/// Elements of `interfaces`, `ips` and `routes` are known again by what they are about, not by their place. One that
/// hooks added is gone, one that they removed is back, and `ips[].interface` points to the interface it pointed to
/// (and is left out when that one is gone). Other lists are merged by equal elements.
///
/// What a runtime's writing does to a result is nobody's change: sorted keys, numbers taken through `float64`,
/// addresses in another notation, empty values of the specification's keys left out. Nor do keys that the
/// specification doesn't know count as taken away where they are gone: libcni drops them between any two plugins.
/// Without us a delegate would never see them again; with us it gets its own back, and no hook's. (Inside of values
/// under such keys, and with a whole element gone, gone is gone.)
///
/// Any JSON is merged; what has another shape than the specification's is compared as a whole.
#[must_use]
pub fn take_back(made: &Object, said: &Object, now: &Object) -> Object {
    let sides = Sides { made, said, now };
    let interfaces = Interfaces::of(&sides).unwrap_or_default();
    Merge { interfaces }.members(Part::Result, 0, sides)
}

/// The part of a result that a JSON object is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Result,
    Interface,
    Ip,
    Route,
    /// `ip4` and `ip6` up to 0.2.0.
    IpConfig,
    Dns,
    /// Of something that the specification doesn't know.
    Unknown,
}

impl Part {
    /// The keys that a runtime's types have.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Result => &["cniVersion", "interfaces", "ips", "routes", "ip4", "ip6", "dns"],
            Self::Interface => &["name", "mac", "mtu", "sandbox", "socketPath", "pciID"],
            Self::Ip => &["version", "interface", "address", "gateway"],
            Self::Route => &["dst", "gw", "mtu", "advmss", "priority", "table", "scope"],
            Self::IpConfig => &["ip", "gateway", "routes"],
            Self::Dns => &["nameservers", "domain", "search", "options"],
            Self::Unknown => &[],
        }
    }

    fn knows(self, key: &str) -> bool {
        self.keys().contains(&key)
    }

    /// What stands under a key, or in the list there.
    fn inner(self, key: &str) -> Self {
        match (self, key) {
            (Self::Result, "interfaces") => Self::Interface,
            (Self::Result, "ips") => Self::Ip,
            (Self::Result | Self::IpConfig, "routes") => Self::Route,
            (Self::Result, "ip4" | "ip6") => Self::IpConfig,
            (Self::Result, "dns") => Self::Dns,
            _ => Self::Unknown,
        }
    }

    /// What a member says; nothing where Go leaves it out when it writes one of the specification's keys.
    fn meaning(self, key: &str, value: Option<&RawValue>) -> Option<String> {
        let value = value.filter(|value| value.get() != "null")?;
        // Its other numbers are pointers in Go: 0 is written.
        let zero = || matches!(key, "mtu" | "advmss" | "priority") && meaning(value) == "0.0";
        if self.knows(key) && (is_nothing(value) || zero()) { None } else { Some(meaning(value)) }
    }
}

type Value<'a> = Option<&'a RawValue>;

struct Merge {
    interfaces: Interfaces,
}

impl Merge {
    fn members(&self, part: Part, depth: usize, sides: Sides<&Object>) -> Object {
        let mut merged = Object::new();
        let of_others = sides.now.iter().filter(|(key, _)| !sides.made.contains(key));
        for (key, _) in sides.made.iter().chain(of_others) {
            if let Some(value) = self.member(part, key, depth, sides.map(|side| side.raw(key))) {
                merged.set_raw(key, value);
            }
        }
        merged
    }

    fn member(&self, part: Part, key: &str, depth: usize, sides: Sides<Value>) -> Option<Box<RawValue>> {
        let sides = sides.map(|value| value.filter(|value| value.get() != "null"));
        let inner = part.inner(key);
        match (part, key) {
            (Part::Result, "cniVersion") => return sides.now.or(sides.made).map(ToOwned::to_owned),
            (Part::Ip, "interface") => return self.interfaces.merged_index(&sides),
            // Not even equal lists are taken as they are: the interfaces may have moved.
            (Part::Result, "ips") if lists(&sides).is_some() => {}
            _ if sides.now.is_none() && part != Part::Unknown && !part.knows(key) => {
                return sides.made.map(ToOwned::to_owned);
            }
            _ if part.meaning(key, sides.now) == part.meaning(key, sides.said) => {
                return sides.made.map(ToOwned::to_owned);
            }
            _ => {}
        }
        if depth < DEPTH {
            if let Some(lists) = lists(&sides) {
                return self.list(inner, depth, &lists);
            }
            if let Some(objects) = objects(&sides) {
                return self.object(inner, depth, &sides, &objects);
            }
        }
        one_value(&sides, |value| part.meaning(key, value))
    }

    /// Each of the three can be absent. Without `now` it is gone: a later plugin took it away (all that Go knows of it).
    fn object(
        &self,
        part: Part,
        depth: usize,
        sides: &Sides<Value>,
        objects: &Sides<Object>,
    ) -> Option<Box<RawValue>> {
        // A `dns` that says nothing to Go is left out.
        if sides.now.is_none() && part != Part::Dns {
            return None;
        }
        if part == Part::IpConfig && sides.made.is_none() != sides.said.is_none() {
            // An address is there or not; half of one is none.
            return if sides.made.is_none() { None } else { sides.now.map(ToOwned::to_owned) };
        }
        let merged = self.members(part, depth + 1, objects.map(|object| object));
        // As with lists: the delegate's way to write nothing counts.
        let written = sides.made.is_some_and(|made| sides.now.is_some() || is_nothing(made));
        if merged.is_empty() && !written {
            return None;
        }
        to_raw_value(&merged).ok()
    }

    fn list(
        &self,
        part: Part,
        depth: usize,
        lists: &Sides<Option<Vec<Box<RawValue>>>>,
    ) -> Option<Box<RawValue>> {
        let elements = lists.map(|list| list.as_deref().unwrap_or_default());
        let slots = match part {
            Part::Interface => None,
            _ => Some(Slots::new(&names(part, &elements, &self.interfaces))),
        };
        let slots = slots.as_ref().unwrap_or(&self.interfaces.slots);
        let merge = |&at: &usize| self.element(part, depth, &slots.all[at], &elements);
        let merged: Vec<_> = slots.in_order().iter().filter_map(merge).collect();
        // An empty list and none are the same to Go; then the delegate's way to write it counts.
        let written = lists.made.as_ref().is_some_and(|made| made.is_empty() || lists.now.is_some());
        if merged.is_empty() && !written {
            return None;
        }
        to_raw_value(&merged).ok()
    }

    fn element(
        &self,
        part: Part,
        depth: usize,
        slot: &Slot,
        elements: &Sides<&[Box<RawValue>]>,
    ) -> Option<Box<RawValue>> {
        let value = |side: &[Box<RawValue>], at: Option<usize>| side.get(at?).cloned();
        let mut sides = Sides {
            made: value(elements.made, slot.made),
            said: value(elements.said, slot.said),
            now: value(elements.now, slot.now),
        };
        if sides.said.is_none() && sides.now.is_some() {
            // A hook took it out and a later plugin put it back: it is the later plugin's.
            sides.made = None;
        }
        let sides = sides.map(Option::as_deref);
        match objects(&sides) {
            Some(objects) if depth < DEPTH => {
                to_raw_value(&self.members(part, depth + 1, objects.map(|object| object))).ok()
            }
            _ => one_value(&sides, |value| value.map(meaning)),
        }
    }
}

/// The delegate's unless a later plugin has changed what hooks said.
fn one_value(sides: &Sides<Value>, meaning: impl Fn(Value) -> Option<String>) -> Option<Box<RawValue>> {
    let unchanged = meaning(sides.now) == meaning(sides.said);
    if unchanged { sides.made } else { sides.now }.map(ToOwned::to_owned)
}

/// The three sides as lists, if there is one and nothing else.
fn lists(sides: &Sides<Value>) -> Option<Sides<Option<Vec<Box<RawValue>>>>> {
    all_or_none(sides, |value| serde_json::from_str(value.get()).ok())
}

/// The three sides as objects, if there is one and nothing else; `{}` for an absent one.
fn objects(sides: &Sides<Value>) -> Option<Sides<Object>> {
    let objects: Sides<Option<Object>> = all_or_none(sides, |value| value.get().parse().ok())?;
    Some(objects.map(|object| object.clone().unwrap_or_default()))
}

fn all_or_none<T>(sides: &Sides<Value>, parse: impl Fn(&RawValue) -> Option<T>) -> Option<Sides<Option<T>>> {
    // The inner option is what is there, the outer one whether it is right.
    let side = |value: Value| value.map_or(Some(None), |value| parse(value).map(Some));
    Some(Sides { made: side(sides.made)?, said: side(sides.said)?, now: side(sides.now)? })
}

/// Who is who in the three lists of interfaces, and where each one comes to stand.
#[derive(Default)]
struct Interfaces {
    slots: Slots,
    /// By slot; `None` when it is gone.
    place: Vec<Option<usize>>,
}

impl Interfaces {
    /// `None` if a side has something else than a list: then indices are numbers like others.
    fn of(sides: &Sides<&Object>) -> Option<Self> {
        let values = sides.map(|side| side.raw("interfaces").filter(|value| value.get() != "null"));
        let lists = lists(&values)?;
        let elements = lists.map(|list| list.as_deref().unwrap_or_default());
        let slots = Slots::new(&names(Part::Interface, &elements, &Self::default()));
        let mut place = vec![None; slots.all.len()];
        slots.in_order().into_iter().enumerate().for_each(|(index, slot)| place[slot] = Some(index));
        Some(Self { slots, place })
    }

    /// `ips[].interface`, pointing to where its interface stands in the merged list.
    fn merged_index(&self, sides: &Sides<Value>) -> Option<Box<RawValue>> {
        let of = self.slots.of.map(|slots| slots);
        let said = pointed(of.said, sides.said);
        let (chosen, raw) = match pointed(of.now, sides.now) {
            now if now == said => (pointed(of.made, sides.made), sides.made),
            now => (now, sides.now),
        };
        match chosen? {
            Pointed::Interface(slot) => self.place[slot].and_then(|index| to_raw_value(&index).ok()),
            Pointed::Nowhere(_) => raw.map(ToOwned::to_owned),
        }
    }
}

/// What `ips[].interface` says.
#[derive(PartialEq)]
enum Pointed {
    /// To the interface with this slot.
    Interface(usize),
    /// To none that is there.
    Nowhere(String),
}

fn pointed(slots: &[usize], index: Value) -> Option<Pointed> {
    let index = index.filter(|index| index.get() != "null")?;
    let slot = serde_json::from_str(index.get()).ok().and_then(|index: usize| slots.get(index));
    Some(slot.map_or_else(|| Pointed::Nowhere(meaning(index)), |&slot| Pointed::Interface(slot)))
}

fn names(part: Part, elements: &Sides<&[Box<RawValue>]>, interfaces: &Interfaces) -> Sides<Vec<Names>> {
    let of = &interfaces.slots.of;
    let side = |elements: &[Box<RawValue>], slots: &[usize]| {
        elements.iter().enumerate().map(|(at, element)| name(part, at, element, slots)).collect()
    };
    Sides {
        made: side(elements.made, &of.made),
        said: side(elements.said, &of.said),
        now: side(elements.now, &of.now),
    }
}

/// By what an element is known again. `slots` are those of the interfaces on its side.
fn name(part: Part, at: usize, element: &RawValue, slots: &[usize]) -> Names {
    let whole = Some(meaning(element));
    let place = Some(at.to_string());
    let object: Object = element.get().parse().unwrap_or_default();
    let text = |key: &str| object.read::<String>(key).ok().flatten().filter(|text| !text.is_empty());
    match part {
        Part::Interface => {
            let named = text("name").map(|name| format!("{:?} {name}", text("sandbox")));
            Names { identity: vec![whole, named], likeness: vec![place] }
        }
        Part::Ip => {
            let on = match pointed(slots, object.raw("interface")) {
                Some(Pointed::Interface(slot)) => Some(slot),
                _ => None,
            };
            let address = text("address").map(|address| settled(&address));
            let parsed = address.as_deref().and_then(parse_cidr).map(|(address, _)| address);
            let placed = address.as_deref().map(|address| format!("{on:?} {address}"));
            let like = parsed.map(|address| format!("{on:?} {}", address.is_ipv4()));
            let bare = parsed.map(|address| address.to_string());
            Names { identity: vec![placed, address, bare, whole], likeness: vec![like, place] }
        }
        Part::Route => {
            let dst = text("dst").map(|dst| settled(&dst));
            let table = object.raw("table").filter(|table| table.get() != "null").map(meaning);
            let like = dst.map(|dst| format!("{table:?} {dst}"));
            let gw = text("gw").map(|gw| settled(&gw));
            let routed = like.as_deref().map(|like| format!("{gw:?} {like}"));
            Names { identity: vec![whole, routed], likeness: vec![like] }
        }
        _ => Names { identity: vec![whole], likeness: Vec::new() },
    }
}

#[cfg(test)]
mod tests;
