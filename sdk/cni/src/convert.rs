use crate::address::parse_cidr;
use crate::meaning::is_nothing;
use crate::{Object, SpecVersion};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

/// A result can't be written in the other version.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// Up to 0.2.0 a result is about its addresses, and this one has none.
    #[error("cannot convert: no valid IP addresses")]
    NoAddress,
    /// A value is not what it must be.
    #[error("`{key}`: {value} is not {expected}")]
    Value {
        /// Where it stands: `ips[1].address`.
        key: String,
        /// As it is written, or `nothing`.
        value: String,
        /// What it must be.
        expected: &'static str,
    },
}

/// Versions whose results have one shape.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    /// 0.1.0 and 0.2.0: `ip4` and `ip6`.
    OnePerIpVersion,
    /// 0.3.0 to 0.4.0: `ips`, each with its `version`.
    Versioned,
    /// 1.0.0 and 1.1.0. The later one only adds keys, and a reader of the earlier skips what it doesn't know, so they
    /// stay on the way down. (The reference library has one type for both.)
    Current,
}

impl From<SpecVersion> for Family {
    fn from(version: SpecVersion) -> Self {
        match version {
            SpecVersion::V0_1_0 | SpecVersion::V0_2_0 => Self::OnePerIpVersion,
            SpecVersion::V0_3_0 | SpecVersion::V0_3_1 | SpecVersion::V0_4_0 => Self::Versioned,
            SpecVersion::V1_0_0 | SpecVersion::V1_1_0 => Self::Current,
        }
    }
}

/// Writes the result of an ADD in the version `to`, up or down. `from` is its version where it doesn't say one.
///
/// A result that is in `to` already comes back as it is. Keys that the specification doesn't know stay wherever the
/// other version has the object that they stand in. What gets lost on the way down: to 0.4.0 and older an
/// interface's `mtu`, `socketPath` and `pciID`; to 0.2.0 and older all interfaces, every address but the first of
/// its IP version, routes of an IP version without address, and all of a route but `dst` and `gw`.
///
/// Only what has to be understood is checked: the shape of what changes, addresses between the three shapes of a
/// result, and destinations to 0.2.0 and older.
/// <https://github.com/containernetworking/cni/blob/main/SPEC.md#add-success>
pub fn convert(result: &Object, from: SpecVersion, to: SpecVersion) -> Result<Object, ConvertError> {
    let said = text(result, "cniVersion")?.filter(|version| !version.is_empty());
    let from = match &said {
        Some(version) => {
            let known = version.parse();
            known.map_err(|()| wrong("cniVersion", result.raw("cniVersion"), "a version known here"))?
        }
        None => from,
    };
    let mut converted = match (Family::from(from), Family::from(to)) {
        (one, other) if one == other => result.clone(),
        (Family::OnePerIpVersion, other) => with_lists(result, other)?,
        (_, Family::OnePerIpVersion) => without_lists(result)?,
        (_, other) => with_or_without_version(result, other)?,
    };
    if from != to {
        settle_dns(&mut converted, to)?;
    }
    if said.as_deref() != Some(to.as_str()) {
        converted.set_str("cniVersion", to.as_str());
    }
    Ok(converted)
}

/// 0.1.0, 0.2.0 → later: `ip4` and `ip6` become `ips`, their routes `routes`.
fn with_lists(result: &Object, to: Family) -> Result<Object, ConvertError> {
    let (mut ips, mut all_routes) = (Vec::new(), Vec::new());
    for key in ["ip4", "ip6"] {
        let Some(old) = object(result, key)? else { continue };
        let mut ip = Object::new();
        if to == Family::Versioned {
            ip.set_str("version", ip_version(&old, "ip", key)?);
        } else {
            ip_version(&old, "ip", key)?;
        }
        for (name, value) in old.iter().filter(|(_, value)| value.get() != "null") {
            match name {
                "ip" => ip.set_raw("address", value.to_owned()),
                // The first has its own list; the others meant nothing here, and would there.
                "routes" | "version" | "interface" | "address" => {}
                _ => ip.set_raw(name, value.to_owned()),
            }
        }
        ips.push(ip);
        all_routes.extend(objects(&old, "routes", key)?.unwrap_or_default());
    }
    let mut converted = Object::new();
    for (key, value) in result.iter() {
        match key {
            "ip4" | "ip6" => {
                put_unless_empty(&mut converted, "ips", &ips);
                put_unless_empty(&mut converted, "routes", &all_routes);
            }
            "interfaces" | "ips" | "routes" => {}
            _ => converted.set_raw(key, value.to_owned()),
        }
    }
    Ok(converted)
}

/// Later → 0.1.0, 0.2.0: the first address of each IP version, with the routes of that version.
fn without_lists(result: &Object) -> Result<Object, ConvertError> {
    let mut first: [Option<Object>; 2] = [None, None];
    for (at, ip) in objects(result, "ips", "")?.unwrap_or_default().iter().enumerate() {
        let place = usize::from(ip_version(ip, "address", &format!("ips[{at}]"))? == "6");
        first[place].get_or_insert_with(|| old_ip(ip));
    }
    let mut split: [Vec<Object>; 2] = [Vec::new(), Vec::new()];
    for (at, route) in objects(result, "routes", "")?.unwrap_or_default().iter().enumerate() {
        let place = usize::from(ip_version(route, "dst", &format!("routes[{at}]"))? == "6");
        split[place].push(old_route(route));
    }
    if first.iter().all(Option::is_none) {
        return Err(ConvertError::NoAddress);
    }
    for (ip, routes) in first.iter_mut().zip(&split) {
        if let Some(ip) = ip {
            put_unless_empty(ip, "routes", routes);
        }
    }
    let mut converted = Object::new();
    for (key, value) in result.iter() {
        match key {
            "ips" => {
                for (key, ip) in ["ip4", "ip6"].into_iter().zip(&first) {
                    if let Some(ip) = ip {
                        put(&mut converted, key, ip);
                    }
                }
            }
            "interfaces" | "routes" | "ip4" | "ip6" => {}
            _ => converted.set_raw(key, value.to_owned()),
        }
    }
    Ok(converted)
}

fn old_ip(ip: &Object) -> Object {
    let mut old = Object::new();
    for (name, value) in ip.iter().filter(|(_, value)| value.get() != "null") {
        match name {
            "address" => old.set_raw("ip", value.to_owned()),
            // The first two have no place there; the others meant nothing here, and would there.
            "version" | "interface" | "ip" | "routes" => {}
            _ => old.set_raw(name, value.to_owned()),
        }
    }
    old
}

fn old_route(route: &Object) -> Object {
    let mut old = route.clone();
    for key in ["mtu", "advmss", "priority", "table", "scope"] {
        old.remove(key);
    }
    remove_null(&mut old, "gw");
    old
}

/// 0.3.0 to 0.4.0 ↔ 1.0.0 and later.
fn with_or_without_version(result: &Object, to: Family) -> Result<Object, ConvertError> {
    let mut converted = result.clone();
    for key in ["interfaces", "ips", "routes"] {
        remove_null(&mut converted, key);
    }
    if let Some(mut ips) = objects(result, "ips", "")? {
        for (at, ip) in ips.iter_mut().enumerate() {
            let version = ip_version(ip, "address", &format!("ips[{at}]"))?;
            match to {
                Family::Versioned => ip.set_str("version", version),
                _ => drop(ip.remove("version")),
            }
            remove_null(ip, "interface");
            remove_null(ip, "gateway");
        }
        put(&mut converted, "ips", &ips);
    }
    if to == Family::Versioned
        && let Some(mut interfaces) = objects(result, "interfaces", "")?
    {
        for interface in &mut interfaces {
            for key in ["mtu", "socketPath", "pciID"] {
                interface.remove(key);
            }
        }
        put(&mut converted, "interfaces", &interfaces);
    }
    Ok(converted)
}

/// Up to 0.4.0 `dns` is there even when it is empty, later only when it is not.
fn settle_dns(result: &mut Object, to: SpecVersion) -> Result<(), ConvertError> {
    let dns = object(result, "dns")?;
    if to <= SpecVersion::V0_4_0 {
        if dns.is_none() {
            put(result, "dns", &Object::new());
        }
        return Ok(());
    }
    let says_nothing = |(key, value): (&str, &RawValue)| match key {
        "nameservers" | "domain" | "search" | "options" => is_nothing(value),
        _ => false,
    };
    if dns.is_none_or(|dns| dns.iter().all(says_nothing)) {
        result.remove("dns");
    }
    Ok(())
}

/// `"4"` or `"6"`, by the address under the key.
fn ip_version(object: &Object, key: &str, place: &str) -> Result<&'static str, ConvertError> {
    let raw = present(object, key);
    let parsed = raw.and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
    match parsed.and_then(|text| parse_cidr(&text)) {
        Some((address, _)) => Ok(if address.is_ipv4() { "4" } else { "6" }),
        None => Err(wrong(&inside(place, key), raw, "an address in CIDR notation")),
    }
}

/// The value, unless it is `null`, which counts as absent.
fn present<'a>(object: &'a Object, key: &str) -> Option<&'a RawValue> {
    object.raw(key).filter(|value| value.get() != "null")
}

fn text(object: &Object, key: &str) -> Result<Option<String>, ConvertError> {
    object.read(key).map_err(|_| wrong(key, object.raw(key), "a string"))
}

fn object(parent: &Object, key: &str) -> Result<Option<Object>, ConvertError> {
    parent.read(key).map_err(|_| wrong(key, parent.raw(key), "an object"))
}

fn objects(parent: &Object, key: &str, place: &str) -> Result<Option<Vec<Object>>, ConvertError> {
    let Some(raw) = present(parent, key) else { return Ok(None) };
    let place = inside(place, key);
    let elements: Vec<Box<RawValue>> =
        serde_json::from_str(raw.get()).map_err(|_| wrong(&place, Some(raw), "a list"))?;
    let parse = |at: usize| {
        let element = &*elements[at];
        let parsed = element.get().parse();
        parsed.map_err(|_| wrong(&format!("{place}[{at}]"), Some(element), "an object"))
    };
    (0..elements.len()).map(parse).collect::<Result<_, _>>().map(Some)
}

fn inside(place: &str, key: &str) -> String {
    if place.is_empty() { key.to_owned() } else { format!("{place}.{key}") }
}

fn wrong(key: &str, value: Option<&RawValue>, expected: &'static str) -> ConvertError {
    let value = value.map_or("nothing", RawValue::get).to_owned();
    ConvertError::Value { key: key.to_owned(), value, expected }
}

fn put<T: Serialize>(object: &mut Object, key: &str, value: &T) {
    // Objects and lists of them were JSON before, so there is no error to tell of.
    if let Ok(raw) = to_raw_value(value) {
        object.set_raw(key, raw);
    }
}

fn put_unless_empty(object: &mut Object, key: &str, list: &[Object]) {
    if !list.is_empty() {
        put(object, key, &list);
    }
}

fn remove_null(object: &mut Object, key: &str) {
    if present(object, key).is_none() {
        object.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SpecVersion as V;
    use serde_json::Value;

    /// A result that every version can hold, as each family writes it.
    const OLD: &str = r#"{"cniVersion":"0.2.0","vendor":12345678901234567890123,
        "ip4":{"ip":"10.0.0.2/24","gateway":"10.0.0.1","lease":1.50,"routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1"}]},
        "ip6":{"ip":"fd00::2/64","routes":[{"dst":"::/0"}]},"dns":{}}"#;
    const VERSIONED: &str = r#"{"cniVersion":"0.4.0","vendor":12345678901234567890123,
        "ips":[{"version":"4","address":"10.0.0.2/24","gateway":"10.0.0.1","lease":1.50},
               {"version":"6","address":"fd00::2/64"}],
        "routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1"},{"dst":"::/0"}],"dns":{}}"#;
    const CURRENT: &str = r#"{"cniVersion":"1.0.0","vendor":12345678901234567890123,
        "ips":[{"address":"10.0.0.2/24","gateway":"10.0.0.1","lease":1.50},{"address":"fd00::2/64"}],
        "routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1"},{"dst":"::/0"}]}"#;

    fn sample(version: V) -> Object {
        let text = match Family::from(version) {
            Family::OnePerIpVersion => OLD,
            Family::Versioned => VERSIONED,
            Family::Current => CURRENT,
        };
        let mut sample: Object = text.parse().unwrap();
        sample.set_str("cniVersion", version.as_str());
        sample
    }

    fn value(object: &Object) -> Value {
        serde_json::from_str(&object.to_string()).unwrap()
    }

    /// The text as a result of version `from`, in version `to`, without `cniVersion`.
    fn converted(text: &str, from: V, to: V) -> Result<String, String> {
        let mut converted = convert(&text.parse().unwrap(), from, to).map_err(|error| error.to_string())?;
        assert_eq!(converted.remove("cniVersion").unwrap().get(), format!("\"{to}\""));
        Ok(converted.to_string())
    }

    fn pairs() -> impl Iterator<Item = (V, V)> {
        V::ALL.into_iter().flat_map(|from| V::ALL.into_iter().map(move |to| (from, to)))
    }

    #[test]
    fn every_version_becomes_every_other() {
        for (from, to) in pairs() {
            // What a version says of itself counts, not what is presumed.
            let converted = convert(&sample(from), V::V0_4_0, to).unwrap();
            assert_eq!(value(&converted), value(&sample(to)), "{from} to {to}");
        }
    }

    #[test]
    fn there_and_back_is_what_it_was() {
        for (from, to) in pairs() {
            let there = convert(&sample(from), from, to).unwrap();
            assert_eq!(value(&convert(&there, to, from).unwrap()), value(&sample(from)), "{from} to {to}");
        }
        let rich = r#"{"interfaces":[{"name":"eth0","mac":"m","sandbox":"/n","vendor":{"x":1.50}}],
            "ips":[{"interface":0,"address":"10.0.0.2/24"},{"address":"10.0.0.3/24","x":[1e3]}],
            "routes":[{"dst":"::/0","mtu":9000,"table":0}],"dns":{"domain":"d","x":1}}"#;
        for from in [V::V1_0_0, V::V1_1_0] {
            for to in [V::V0_3_0, V::V0_3_1, V::V0_4_0, V::V1_0_0, V::V1_1_0] {
                let there = converted(rich, from, to).unwrap();
                let back = converted(&there, to, from).unwrap();
                assert_eq!(value(&back.parse().unwrap()), value(&rich.parse().unwrap()), "{from} to {to}");
            }
        }
    }

    #[test]
    fn a_result_in_the_right_version_is_not_touched() {
        for version in V::ALL {
            let text = format!(
                r#"{{"ips":[ {{"address":7, "mtu" : 1e3}} ],"ip4":null,"cniVersion":"{version}","dns":{{ }}}}"#
            );
            let same = convert(&text.parse().unwrap(), V::V0_1_0, version).unwrap();
            assert_eq!(same.to_string(), text);
        }
    }

    #[test]
    fn a_result_without_version_has_the_one_that_is_given() {
        let version = |text: &str| convert(&text.parse().unwrap(), V::V1_0_0, V::V1_0_0).unwrap().to_string();
        assert_eq!(version(r#"{"ips":[]}"#), r#"{"ips":[],"cniVersion":"1.0.0"}"#);
        assert_eq!(version(r#"{"cniVersion":"","a":1}"#), r#"{"cniVersion":"1.0.0","a":1}"#);
        assert_eq!(version(r#"{"cniVersion":null,"a":1}"#), r#"{"cniVersion":"1.0.0","a":1}"#);
        assert_eq!(
            converted(r#"{"ip4":{"ip":"10.0.0.2/24"}}"#, V::V0_2_0, V::V1_0_0).unwrap(),
            r#"{"ips":[{"address":"10.0.0.2/24"}]}"#
        );
    }

    #[test]
    fn down_to_0_4_the_version_is_derived_and_interface_extras_are_dropped() {
        assert_eq!(
            converted(
                r#"{"interfaces":[{"name":"eth0","mac":"m","mtu":1400,"sandbox":"/n","socketPath":"/s","pciID":"p","x":1.50}],"ips":[{"version":"6","interface":0,"address":"10.0.0.2/24"},{"address":"fd00::2/64"},{"address":"::ffff:10.0.0.3/120"}],"routes":[{"dst":"::/0","mtu":1,"advmss":2,"priority":3,"table":4,"scope":0,"x":1e3}]}"#,
                V::V1_1_0,
                V::V0_4_0
            )
            .unwrap(),
            r#"{"interfaces":[{"name":"eth0","mac":"m","sandbox":"/n","x":1.50}],"ips":[{"version":"4","interface":0,"address":"10.0.0.2/24"},{"address":"fd00::2/64","version":"6"},{"address":"::ffff:10.0.0.3/120","version":"4"}],"routes":[{"dst":"::/0","mtu":1,"advmss":2,"priority":3,"table":4,"scope":0,"x":1e3}],"dns":{}}"#
        );
    }

    #[test]
    fn up_to_1_0_the_version_is_dropped_and_index_0_stays() {
        assert_eq!(
            converted(
                r#"{"interfaces":[{"name":"eth0","mtu":1}],"ips":[{"version":"4","interface":0,"address":"10.0.0.2/24"},{"version":"4","interface":null,"address":"10.0.0.3/24"}],"routes":null,"dns":{}}"#,
                V::V0_3_1,
                V::V1_0_0
            )
            .unwrap(),
            r#"{"interfaces":[{"name":"eth0","mtu":1}],"ips":[{"interface":0,"address":"10.0.0.2/24"},{"address":"10.0.0.3/24"}]}"#
        );
    }

    #[test]
    fn what_1_1_added_stays_on_the_way_to_1_0() {
        let text =
            r#"{"interfaces":[{"name":"eth0","mtu":1400,"pciID":"p"}],"routes":[{"dst":"::/0","table":7}]}"#;
        assert_eq!(converted(text, V::V1_1_0, V::V1_0_0).unwrap(), text);
    }

    #[test]
    fn down_to_0_2_the_first_address_of_each_version_stays() {
        let text = r#"{"a":1.50,"interfaces":[{"name":"eth0"}],
            "ips":[{"address":"fd00::2/64","interface":0},{"address":"10.0.0.2/24","gateway":"10.0.0.1","x":[1e3]},
                   {"address":"10.0.0.3/24"},{"address":"fd00::3/64"}],
            "routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1","mtu":1,"advmss":1,"priority":1,"table":1,"scope":1},
                      {"dst":"::/0","gw":null}],"b":2}"#;
        assert_eq!(
            converted(text, V::V1_1_0, V::V0_2_0).unwrap(),
            r#"{"a":1.50,"ip4":{"ip":"10.0.0.2/24","gateway":"10.0.0.1","x":[1e3],"routes":[{"dst":"0.0.0.0/0","gw":"10.0.0.1"}]},"ip6":{"ip":"fd00::2/64","routes":[{"dst":"::/0"}]},"b":2,"dns":{}}"#
        );
    }

    #[test]
    fn a_route_without_an_address_of_its_version_has_no_place_in_0_2() {
        let text = r#"{"ips":[{"version":"4","address":"10.0.0.2/24"}],"routes":[{"dst":"::/0"}],"dns":{"domain":"d"}}"#;
        assert_eq!(
            converted(text, V::V0_4_0, V::V0_1_0).unwrap(),
            r#"{"ip4":{"ip":"10.0.0.2/24"},"dns":{"domain":"d"}}"#
        );
    }

    #[test]
    fn without_an_address_there_is_no_0_2() {
        for text in ["{}", r#"{"ips":null}"#, r#"{"ips":[],"ip4":{"ip":"10.0.0.2/24"}}"#] {
            for to in [V::V0_1_0, V::V0_2_0] {
                let error = converted(text, V::V1_0_0, to).unwrap_err();
                assert_eq!(error, "cannot convert: no valid IP addresses");
            }
        }
        assert_eq!(converted(r#"{"dns":{}}"#, V::V0_1_0, V::V0_2_0).unwrap(), r#"{"dns":{}}"#);
    }

    #[test]
    fn keys_get_no_meaning_that_they_did_not_have() {
        let old = r#"{"ips":7,"routes":7,"interfaces":7,"ip4":{"ip":"10.0.0.2/24","interface":0,"version":"6","address":7}}"#;
        assert_eq!(
            converted(old, V::V0_2_0, V::V0_4_0).unwrap(),
            r#"{"ips":[{"version":"4","address":"10.0.0.2/24"}],"dns":{}}"#
        );
        let new = r#"{"ip6":7,"ips":[{"address":"10.0.0.2/24","ip":7,"routes":7}]}"#;
        assert_eq!(converted(new, V::V1_0_0, V::V0_2_0).unwrap(), r#"{"ip4":{"ip":"10.0.0.2/24"},"dns":{}}"#);
    }

    #[test]
    fn dns_is_printed_empty_up_to_0_4_only() {
        for (from, to) in pairs().filter(|(from, to)| from != to) {
            let ip = r#""ip4":{"ip":"10.0.0.2/24"},"ips":[{"address":"10.0.0.2/24"}]"#;
            let dns = |text: &str| {
                let object: Object =
                    converted(&format!("{{{ip}{text}}}"), from, to).unwrap().parse().unwrap();
                object.raw("dns").map(|dns| dns.get().to_owned())
            };
            let empty = (to <= V::V0_4_0).then(|| "{}".to_owned());
            assert_eq!(dns(""), empty, "{from} to {to}");
            assert_eq!(dns(r#","dns":null"#), empty, "{from} to {to}");
            let written = r#"{"nameservers":[],"domain":"","search":null}"#;
            assert_eq!(dns(&format!(r#","dns":{written}"#)).is_some(), to <= V::V0_4_0);
            assert_eq!(dns(r#","dns":{"x":1.50}"#).as_deref(), Some(r#"{"x":1.50}"#));
        }
    }

    #[test]
    fn an_error_names_the_key_and_its_value() {
        for (text, from, to, error) in [
            (
                r#"{"cniVersion":"0.5.0"}"#,
                V::V1_0_0,
                V::V1_0_0,
                r#"`cniVersion`: "0.5.0" is not a version known here"#,
            ),
            (r#"{"cniVersion":1}"#, V::V1_0_0, V::V1_0_0, "`cniVersion`: 1 is not a string"),
            (r#"{"ips":{}}"#, V::V1_0_0, V::V0_4_0, "`ips`: {} is not a list"),
            (r#"{"ips":[null]}"#, V::V0_4_0, V::V1_0_0, "`ips[0]`: null is not an object"),
            (r#"{"interfaces":["a"]}"#, V::V1_0_0, V::V0_4_0, r#"`interfaces[0]`: "a" is not an object"#),
            (
                r#"{"ips":[{"address":"::1/8"},{"address":"10.0.0/24"}]}"#,
                V::V1_0_0,
                V::V0_4_0,
                r#"`ips[1].address`: "10.0.0/24" is not an address in CIDR notation"#,
            ),
            (
                r#"{"ips":[{}]}"#,
                V::V0_4_0,
                V::V1_1_0,
                "`ips[0].address`: nothing is not an address in CIDR notation",
            ),
            (
                r#"{"ips":[{"address":"::1/8"}],"routes":[{"dst":7}]}"#,
                V::V1_0_0,
                V::V0_2_0,
                "`routes[0].dst`: 7 is not an address in CIDR notation",
            ),
            (r#"{"ip4":[]}"#, V::V0_2_0, V::V0_3_0, "`ip4`: [] is not an object"),
            (
                r#"{"ip6":{"ip":"::1/129"}}"#,
                V::V0_2_0,
                V::V1_0_0,
                r#"`ip6.ip`: "::1/129" is not an address in CIDR notation"#,
            ),
            (
                r#"{"ip6":{"ip":"::1/8","routes":[{},1]}}"#,
                V::V0_2_0,
                V::V1_0_0,
                "`ip6.routes[1]`: 1 is not an object",
            ),
            (r#"{"dns":7}"#, V::V0_3_0, V::V1_0_0, "`dns`: 7 is not an object"),
        ] {
            assert_eq!(converted_error(text, from, to), error, "{text}");
        }
    }

    fn converted_error(text: &str, from: V, to: V) -> String {
        convert(&text.parse().unwrap(), from, to).unwrap_err().to_string()
    }
}
