use super::taken_back::taken_back;
use super::{BETWEEN, without};
use std::net::IpAddr;
use wasmhook_cni::{Object, SpecVersion, convert};

/// One version of each shape, and what the newest adds.
const VERSIONS: [SpecVersion; 4] =
    [SpecVersion::V0_2_0, SpecVersion::V0_4_0, SpecVersion::V1_0_0, SpecVersion::V1_1_0];
/// Keys that another version writes in another way.
const SPECIFIED: [&str; 7] = ["cniVersion", "interfaces", "ips", "routes", "ip4", "ip6", "dns"];

/// Up to three results: what a delegate made, what was handed out, what the runtime sends now. Each is written in all
/// versions and back, and what only hooks said is taken back.
pub fn conversion(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let results: Vec<Object> = text.split(BETWEEN).filter_map(|part| part.parse().ok()).take(3).collect();
    for result in &results {
        let froms = if said(result).is_some() { &VERSIONS[..1] } else { &VERSIONS[..] };
        for from in froms {
            for to in VERSIONS {
                there_and_back(result, *from, to);
            }
        }
    }
    taken_back(&results);
}

fn there_and_back(result: &Object, from: SpecVersion, to: SpecVersion) {
    let Ok(there) = convert(result, from, to) else { return };
    let from = said(result).unwrap_or(from);
    assert_eq!(said(&there), Some(to));
    assert_eq!(convert(&there, from, to).unwrap().to_string(), there.to_string(), "{from} {to}");
    if from == to {
        assert_eq!(without(&there, "cniVersion"), without(result, "cniVersion"));
    }
    for (key, value) in result.iter().filter(|(key, _)| !SPECIFIED.contains(key)) {
        assert_eq!(there.raw(key).map(ToString::to_string), Some(value.to_string()), "{key}");
    }
    assert_eq!(firsts(&addresses(&there, to)), firsts(&addresses(result, from)), "{from} {to}");
    let Ok(back) = convert(&there, to, from) else { return };
    let (before, after) = (addresses(result, from), addresses(&back, from));
    if is_old(from) || is_old(to) {
        assert_eq!(firsts(&after), firsts(&before), "{from} {to}");
    } else {
        assert_eq!(after, before, "{from} {to}");
    }
}

fn said(result: &Object) -> Option<SpecVersion> {
    let text: Option<String> = result.read("cniVersion").ok().flatten();
    text.filter(|it| !it.is_empty())?.parse().ok()
}

/// One address for each IP version, and no lists.
fn is_old(version: SpecVersion) -> bool {
    version < SpecVersion::V0_3_0
}

fn addresses(result: &Object, version: SpecVersion) -> Vec<String> {
    let text = |object: &Object, key: &str| object.read::<String>(key).ok().flatten();
    if is_old(version) {
        let of = |key| text(&result.read(key).ok()??, "ip");
        return ["ip4", "ip6"].into_iter().filter_map(of).collect();
    }
    let ips: Vec<Object> = result.read("ips").ok().flatten().unwrap_or_default();
    ips.iter().filter_map(|ip| text(ip, "address")).collect()
}

/// The first of each IP version.
fn firsts(addresses: &[String]) -> [Option<&String>; 2] {
    let is_ipv4 = |text: &str| {
        text.split('/').next()?.parse::<IpAddr>().ok().map(|address| address.to_canonical().is_ipv4())
    };
    [true, false].map(|wanted| addresses.iter().find(|it| is_ipv4(it) == Some(wanted)))
}
