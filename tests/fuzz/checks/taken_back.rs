use super::raw;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use std::collections::HashSet;
use std::hash::Hash;
use std::net::IpAddr;
use wasmhook_cni::{CniResult, Dns, Object, take_back};

/// What nests deeper is compared as text.
const DEPTH: usize = 100;

/// Of the delegate, of the hooks, of the runtime; who says nothing says what the one before said.
pub(super) fn taken_back(results: &[Object]) {
    let [made, ..] = results else { return };
    let said = results.get(1).unwrap_or(made);
    let now = results.get(2).unwrap_or(said);
    let own = |result: &Object| {
        let mut result = result.clone();
        result.remove("cniVersion");
        if result.raw("dns").is_some_and(|dns| plain(dns.get(), 0) == "{}") {
            result.remove("dns");
        }
        plain(&result.to_string(), 0)
    };
    assert_eq!(own(&take_back(made, said, said)), own(made), "what was handed out comes back at once");

    let back = take_back(made, said, now);
    if [made, said, now].into_iter().all(points_inside) {
        assert!(points_inside(&back), "{back}");
    }
    let Some(made_known) = known(made) else { return };
    if let Some(again) = known(said) {
        let again = object(&again);
        assert_eq!(own(&take_back(made, said, &again)), own(made), "a runtime has written {again}");
    }
    if let Some(now_known) = known(now) {
        let kept = known(&take_back(made, made, now)).map(in_order);
        assert_eq!(kept, Some(in_order(now_known)), "nobody said anything to {:?}", in_order(made_known));
    }
}

/// Without `null`, which is the same as nothing, and without white space.
fn plain(text: &str, depth: usize) -> String {
    if depth > DEPTH {
        return text.to_owned();
    }
    if let Ok(object) = text.parse::<Object>() {
        let members = object.iter().filter(|(_, value)| value.get() != "null");
        let members = members.map(|(key, value)| format!("{key:?}:{}", plain(value.get(), depth + 1)));
        return format!("{{{}}}", members.collect::<Vec<_>>().join(","));
    }
    match serde_json::from_str::<Vec<Box<RawValue>>>(text) {
        Ok(list) => {
            let elements: Vec<_> = list.iter().map(|it| plain(it.get(), depth + 1)).collect();
            format!("[{}]", elements.join(","))
        }
        Err(_) => raw(text).map_or(text, RawValue::get).to_owned(),
    }
}

fn typed(result: &Object) -> Option<CniResult> {
    serde_json::from_str(&result.to_string()).ok()
}

fn points_inside(result: &Object) -> bool {
    typed(result).is_some_and(|result| indices_are_inside(&result))
}

fn indices_are_inside(result: &CniResult) -> bool {
    let count = result.interfaces.as_ref().map_or(0, Vec::len);
    let indices = result.ips.iter().flatten().filter_map(|ip| ip.interface);
    indices.into_iter().all(|index| (index as usize) < count)
}

/// A result as libcni writes it again, if it is one that a plugin might really give: names, addresses and routes are
/// there once, and indices point to something.
fn known(result: &Object) -> Option<CniResult> {
    let mut known = typed(result)?;
    known.rest = Object::new();
    known.cni_version = None;
    if known.ip4.is_some() || known.ip6.is_some() || !indices_are_inside(&known) {
        return None;
    }
    for interface in known.interfaces.iter_mut().flatten() {
        interface.rest = Object::new();
        interface.mtu = interface.mtu.filter(|mtu| *mtu != 0);
        for text in
            [&mut interface.mac, &mut interface.sandbox, &mut interface.socket_path, &mut interface.pci_id]
        {
            leave_out(text, String::is_empty);
        }
    }
    for ip in known.ips.iter_mut().flatten() {
        ip.rest = Object::new();
        ip.address = settled(&ip.address)?;
        leave_out(&mut ip.version, String::is_empty);
        settle(&mut ip.gateway)?;
    }
    for route in known.routes.iter_mut().flatten() {
        route.rest = Object::new();
        route.dst = settled(&route.dst)?;
        settle(&mut route.gw)?;
        for number in [&mut route.mtu, &mut route.advmss, &mut route.priority] {
            *number = number.filter(|it| *it != 0);
        }
    }
    if let Some(Dns { nameservers, domain, search, options, rest }) = &mut known.dns {
        *rest = Object::new();
        leave_out(domain, String::is_empty);
        for list in [nameservers, search, options] {
            leave_out(list, Vec::is_empty);
        }
    }
    leave_out(&mut known.interfaces, Vec::is_empty);
    leave_out(&mut known.ips, Vec::is_empty);
    leave_out(&mut known.routes, Vec::is_empty);
    leave_out(&mut known.dns, |dns| object_of(dns).is_empty());
    let interfaces = known.interfaces.iter().flatten();
    let ips = known.ips.iter().flatten();
    let routes = known.routes.iter().flatten();
    let once = known.interfaces.iter().flatten().all(|it| !it.name.is_empty())
        && all_differ(interfaces.map(|it| (&it.name, &it.sandbox)))
        && all_differ(ips.map(|it| it.address.split('/').next()))
        && all_differ(routes.map(|it| (&it.dst, &it.gw, it.table)));
    once.then_some(known)
}

fn leave_out<T>(value: &mut Option<T>, is_nothing: impl Fn(&T) -> bool) {
    if value.as_ref().is_some_and(is_nothing) {
        *value = None;
    }
}

fn all_differ<T: Eq + Hash>(mut items: impl Iterator<Item = T>) -> bool {
    let mut seen = HashSet::new();
    items.all(|item| seen.insert(item))
}

fn settle(address: &mut Option<String>) -> Option<()> {
    leave_out(address, String::is_empty);
    if let Some(text) = address {
        *text = text.parse::<IpAddr>().ok()?.to_canonical().to_string();
    }
    Some(())
}

fn settled(cidr: &str) -> Option<String> {
    let (address, prefix) = cidr.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let prefix: u8 = prefix.parse().ok().filter(|_| !prefix.starts_with('+'))?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    (prefix <= longest).then(|| format!("{}/{prefix}", address.to_canonical()))
}

fn object_of(value: &impl Serialize) -> Object {
    serde_json::to_string(value).unwrap().parse().unwrap()
}

/// With its keys sorted, as Go has them.
fn object(result: &CniResult) -> Object {
    object_of(&serde_json::to_value(result).unwrap())
}

/// Where an element stands says nothing, but what an address points to does.
fn in_order(mut result: CniResult) -> Value {
    let interfaces = result.interfaces.clone().unwrap_or_default();
    let mut value = serde_json::to_value(&result).unwrap();
    for (ip, written) in
        result.ips.iter_mut().flatten().zip(value["ips"].as_array_mut().into_iter().flatten())
    {
        if let Some(index) = ip.interface {
            let to = &interfaces[index as usize];
            written["interface"] = format!("{:?} {}", to.sandbox, to.name).into();
        }
    }
    for key in ["interfaces", "ips", "routes"] {
        if let Some(list) = value.get_mut(key).and_then(Value::as_array_mut) {
            list.sort_by_key(Value::to_string);
        }
    }
    value
}
