//! What an action does.

use crate::script::{Action, Luck};
use crate::{End, Means};
use serde_json::json;
use std::time::Duration;
use wasmhook_sdk::cni::{CniResult, Error, Interface, Object, SpecVersion, convert};
use wasmhook_sdk::net::Cidr;
use wasmhook_sdk::{Failure, Post, Pre, Request, Result, clock, warn};

/// How a Go program ends that panics.
const PANICKED: i32 = 2;
const GARBAGE: &[u8] = b"{\"cniVersion\": \x00\xff Segmentation fault (core dumped)\n";
/// Of TEST-NET-1, which is nobody's.
const NOBODYS: &str = "192.0.2.2/24";

pub(crate) fn before<M: Means>(
    action: &Action,
    request: &Request,
    luck: (Luck<'_>, u64, usize),
) -> Result<Pre> {
    Ok(match action {
        Action::Error(said) => Pre::Deny(said.error()),
        Action::Lie => Pre::Answer(lie(request)?),
        Action::Truncated(keep) => {
            let document = serde_json::to_string(&Error::new(11, "try again later"))?;
            M::end(End::Print(half(&document), 1), *keep)?;
            Pre::Proceed
        }
        action => {
            anywhere::<M>(action, luck)?;
            Pre::Proceed
        }
    })
}

pub(crate) fn after<M: Means>(
    action: &Action,
    request: &Request,
    result: Option<&CniResult>,
    luck: (Luck<'_>, u64, usize),
) -> Result<Post> {
    let result = || result.cloned().ok_or_else(|| Failure::new("there is no result"));
    Ok(match action {
        Action::Error(said) => Post::Fail(said.error()),
        Action::Address(address) => Post::Rewrite(with_address(result()?, *address)),
        Action::NoIps => Post::Rewrite(without_ips(result()?)),
        Action::NoInterface => Post::Rewrite(without_interface(result()?, &request.ifname)),
        Action::LinkDown => {
            M::set_down(&request.ifname)?;
            Post::Keep
        }
        Action::Truncated(keep) => {
            let document = result().and_then(|it| Ok(serde_json::to_string(&it)?)).unwrap_or_default();
            M::end(End::Print(half(&document), 0), *keep)?;
            Post::Keep
        }
        Action::DoneButFailed(said) => {
            let error = Error { cni_version: Some(request.cni_version.clone()), ..said.error() };
            M::end(End::Print(serde_json::to_vec(&error)?, 1), true)?;
            Post::Keep
        }
        action => {
            anywhere::<M>(action, luck)?;
            Post::Keep
        }
    })
}

/// What does not depend on where it stands.
fn anywhere<M: Means>(action: &Action, (luck, attempt, term): (Luck<'_>, u64, usize)) -> Result<()> {
    match action {
        Action::Delay(from, to) => {
            let span = u64::try_from(to.as_millis() - from.as_millis()).unwrap_or(u64::MAX - 1);
            // Another draw than whether it acts at all.
            let more = luck.draw(attempt, term + 1000) % (span + 1);
            let wanted = *from + Duration::from_millis(more);
            let slept = clock::sleep(wanted);
            if slept < wanted {
                warn!("delayed by {slept:?} of {wanted:?}: raise `limits.wall` of this hook");
            }
        }
        Action::Print(text) => warn!("{text}"),
        Action::Panic(text) => {
            warn!("panic: {text}");
            M::end(End::Print(Vec::new(), PANICKED), false)?;
        }
        Action::Hang => M::end(End::Hang, false)?,
        Action::Signal(number, keep) => M::end(End::Signal(*number), *keep)?,
        Action::Garbage(keep) => M::end(End::Print(GARBAGE.to_owned(), 0), *keep)?,
        Action::Empty(keep) => M::end(End::Print(Vec::new(), 0), *keep)?,
        _ => {}
    }
    Ok(())
}

fn half(text: &str) -> Vec<u8> {
    text.as_bytes()[..text.len() / 2].to_owned()
}

/// As a plugin would say it that has done its work.
fn lie(request: &Request) -> Result<CniResult> {
    let result: Object = json!({
        "cniVersion": SpecVersion::V1_1_0.as_str(),
        "interfaces": [{ "name": request.ifname, "sandbox": request.netns }],
        "ips": [{ "interface": 0, "address": NOBODYS }],
    })
    .to_string()
    .parse()?;
    let version: SpecVersion = request
        .cni_version
        .parse()
        .map_err(|()| Failure::new(format!("cniVersion {:?} is not known", request.cni_version)))?;
    Ok(serde_json::from_str(&convert(&result, SpecVersion::V1_1_0, version)?.to_string())?)
}

/// The first address of its kind is this one.
fn with_address(mut result: CniResult, address: Cidr) -> CniResult {
    let same = |text: &str| text.contains(':') == address.address.is_ipv6();
    if let Some(ip) = result.ips.iter_mut().flatten().find(|ip| same(&ip.address)) {
        ip.address = address.to_string();
    }
    let old = if address.address.is_ipv6() { &mut result.ip6 } else { &mut result.ip4 };
    if let Some(old) = old {
        old.ip = address.to_string();
    }
    result
}

fn without_ips(mut result: CniResult) -> CniResult {
    result.ips = result.ips.map(|_| Vec::new());
    CniResult { ip4: None, ip6: None, ..result }
}

/// The container's interface is none of its interfaces, and no address is on it.
fn without_interface(mut result: CniResult, ifname: &str) -> CniResult {
    let Some(interfaces) = result.interfaces.take() else { return result };
    let is_it = |it: &Interface| it.name == ifname && it.sandbox.as_deref().is_some_and(|it| !it.is_empty());
    let mut places = Vec::new();
    let mut left = Vec::new();
    for interface in interfaces {
        if is_it(&interface) {
            places.push(None);
        } else {
            places.push(u32::try_from(left.len()).ok());
            left.push(interface);
        }
    }
    for ip in result.ips.iter_mut().flatten() {
        ip.interface = ip.interface.and_then(|it| places.get(it as usize).copied().flatten());
    }
    result.interfaces = Some(left);
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn result(text: &Value) -> CniResult {
        serde_json::from_value(text.clone()).unwrap()
    }

    fn new() -> CniResult {
        result(&json!({ "cniVersion": "1.0.0",
            "interfaces": [{ "name": "eth0", "sandbox": "/n" }, { "name": "eth0" }, { "name": "br0" }],
            "ips": [{ "interface": 0, "address": "10.1.2.3/24", "gateway": "10.1.2.1" }, { "interface": 2, "address": "fd00::3/64" }] }))
    }

    fn old() -> CniResult {
        result(
            &json!({ "cniVersion": "0.2.0", "ip4": { "ip": "10.1.2.3/24" }, "ip6": { "ip": "fd00::3/64" } }),
        )
    }

    fn json_of(result: &CniResult) -> Value {
        serde_json::to_value(result).unwrap()
    }

    #[test]
    fn a_wrong_address_is_of_the_same_kind() {
        let wrong = json_of(&with_address(new(), "10.9.9.9/16".parse().unwrap()));
        assert_eq!(
            wrong["ips"][0],
            json!({ "interface": 0, "address": "10.9.9.9/16", "gateway": "10.1.2.1" })
        );
        assert_eq!(wrong["ips"][1]["address"], "fd00::3/64");
        let wrong = json_of(&with_address(old(), "fd09::9/64".parse().unwrap()));
        assert_eq!((&wrong["ip4"]["ip"], &wrong["ip6"]["ip"]), (&json!("10.1.2.3/24"), &json!("fd09::9/64")));
    }

    #[test]
    fn addresses_and_interfaces_go_from_the_result() {
        assert_eq!(json_of(&without_ips(new()))["ips"], json!([]));
        assert_eq!(json_of(&without_ips(old())), json!({ "cniVersion": "0.2.0" }));
        let without = json_of(&without_interface(new(), "eth0"));
        assert_eq!(without["interfaces"], json!([{ "name": "eth0" }, { "name": "br0" }]));
        assert_eq!(without["ips"][0].get("interface"), None);
        assert_eq!(without["ips"][1]["interface"], 1);
    }

    #[test]
    fn a_lie_is_well_formed_in_every_version() {
        for version in SpecVersion::ALL {
            let request = Request {
                ifname: "eth0".into(),
                netns: "/n".into(),
                cni_version: version.to_string(),
                ..Request::default()
            };
            let said = json_of(&lie(&request).unwrap());
            assert_eq!(said["cniVersion"], version.as_str());
            let address =
                if version <= SpecVersion::V0_2_0 { &said["ip4"]["ip"] } else { &said["ips"][0]["address"] };
            assert_eq!(address, NOBODYS);
        }
    }
}
