//! A cable between the node and the container, as the reference plugin `ptp` lays it, with its configuration: the keys stand in
//! the entry itself.
//!
//! ```json
//! { "type": "wasmhook",
//!   "hooks": [{ "module": "ptp", "grants": ["link", "ipam", "nft:host", "sysctl", "sysctl:any"] }],
//!   "ipMasq": true, "mtu": 1400,
//!   "ipam": { "type": "host-local", "subnet": "10.1.2.0/24", "routes": [{ "dst": "0.0.0.0/0" }] } }
//! ```
//!
//! No two containers share a network: each reaches only its gateway, which is the node, and the node has a route to each.
//!
//! Teaches: addresses and routes on both ends.

use std::net::IpAddr;
use wasmhook_sdk::cni;
use wasmhook_sdk::net::{Address, Cidr, Link, LinkSpec, Place, Route};
use wasmhook_sdk::prelude::*;

/// The reference plugin's keys, but for those that every plugin has.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Settings {
    ip_masq: bool,
    /// Bytes; 0: the kernel's choice.
    mtu: u32,
    dns: Option<cni::Dns>,
}

/// An address of the container, and who it reaches directly.
struct End {
    address: Cidr,
    gateway: IpAddr,
}

struct Ptp;

impl Hook for Ptp {
    const PHASES: Phases = Phases::Pre;

    fn pre(request: &Request) -> Result<Pre> {
        Ok(answer(request).unwrap_or_else(|mistake| provider::mistake(&mistake)))
    }
}

fn answer(request: &Request) -> Result<Pre> {
    let config = request.config()?;
    match request.verb.as_str() {
        "ADD" => {
            let settings: Settings = request.config_as()?;
            let Some(pool) = provider::pool(request, &config)? else {
                return Err(Failure::new("`ipam` is missing: a cable without addresses leads nowhere"));
            };
            match add(request, &config, &settings, &pool) {
                Ok(result) => provider::answer(request, result),
                Err(error) => Ok(Pre::Deny(error)),
            }
        }
        "CHECK" => Ok(match provider::check(request, &config, "veth") {
            Ok(_) => Pre::Answer(CniResult::default()),
            Err(error) => Pre::Deny(error),
        }),
        "DEL" => provider::give_back(request, &config).map(|()| Pre::Proceed),
        _ => Ok(Pre::Proceed),
    }
}

fn add(
    request: &Request,
    config: &Object,
    settings: &Settings,
    pool: &ipam::Pool,
) -> Result<CniResult, CniError> {
    let mtu = Some(settings.mtu).filter(|it| *it > 0);
    let spec = LinkSpec::veth(provider::outer_name(request), &request.ifname).mtu(mtu).up();
    let mut outside = link::create(Place::Host, &spec)?;
    let inside = match outside.peer.take() {
        Some(inside) => *inside,
        None => link::get(Place::Container, &request.ifname)?,
    };
    let mut result = provider::allocate(pool, config, 1)?;
    let ends = ends(&result)?;
    container_end(request, &result, &ends)?;
    host_end(&outside, &ends)?;
    if settings.ip_masq {
        let sources: Vec<_> =
            ends.iter().map(|it| (Cidr::host(it.address.address), Cidr::host(it.address.address))).collect();
        let comment = format!("{} {}", request.network, request.container_id);
        nft::apply(
            Place::Host,
            &nft::masquerade_all(&sources, &comment.chars().take(100).collect::<String>()),
        )?;
    }
    result.interfaces =
        Some(vec![provider::interface(&outside, None), provider::interface(&inside, Some(&request.netns))]);
    result.dns = settings.dns.clone().or(result.dns);
    Ok(result)
}

fn ends(result: &CniResult) -> Result<Vec<End>, CniError> {
    let wrong = |why: String| CniError::new(999, why);
    let mut ends = Vec::new();
    for ip in result.ips.iter().flatten() {
        let address = ip.address.parse().map_err(|error| wrong(format!("{error}")))?;
        let gateway = ip.gateway.as_ref().and_then(|it| it.parse().ok());
        let gateway = gateway.ok_or_else(|| wrong(format!("IPAM returned no gateway for {address}")))?;
        ends.push(End { address, gateway });
    }
    Ok(ends)
}

/// The gateway is on the link, and everything else behind it.
fn container_end(request: &Request, result: &CniResult, ends: &[End]) -> Result<(), CniError> {
    let link = request.ifname.as_str();
    for end in ends {
        let address = Address { no_dad: true, no_prefix_route: true, ..end.address.into() };
        link::add_address(Place::Container, link, &address)?;
        let src = Some(end.address.address);
        link::add_route(Place::Container, &Route { src, ..Route::to(Cidr::host(end.gateway)).dev(link) })?;
        let within =
            Route { src, on_link: true, ..Route::to(end.address.network()).via(end.gateway).dev(link) };
        link::add_route(Place::Container, &within)?;
    }
    for route in result.routes.iter().flatten() {
        let dst: Cidr = route.dst.parse().map_err(|error| CniError::new(999, format!("{error}")))?;
        let own = route.gw.as_ref().and_then(|it| it.parse().ok());
        let gateway = ends.iter().map(|it| it.gateway).find(|it| it.is_ipv4() == dst.address.is_ipv4());
        let gw = own.or(gateway);
        let scope = route.scope.and_then(|scope| u8::try_from(scope).ok());
        let route = Route {
            mtu: route.mtu,
            advmss: route.advmss,
            priority: route.priority,
            table: route.table,
            scope,
            ..Route::to(dst).via(gw).dev(link)
        };
        link::add_route(Place::Container, &route)?;
    }
    Ok(())
}

fn host_end(outside: &Link, ends: &[End]) -> Result<(), CniError> {
    provider::refuse_advertisements(&outside.name)?;
    for end in ends {
        let address = Address { no_dad: true, ..Cidr::host(end.gateway).into() };
        match link::add_address(Place::Host, &outside.name, &address) {
            // Two addresses of the container behind one gateway.
            Err(error) if error.is_exists() => {}
            added => added?,
        }
        link::add_route(Place::Host, &Route::to(Cidr::host(end.address.address)).dev(&outside.name))?;
        let forwarding =
            if end.gateway.is_ipv4() { "net/ipv4/ip_forward" } else { "net/ipv6/conf/all/forwarding" };
        sysctl::write_and_keep(Place::Host, forwarding, "1")?;
    }
    Ok(())
}

wasmhook_sdk::export!(Ptp);

#[cfg(test)]
mod tests {
    use super::*;
    use wasmhook_sdk::net::Model;
    use wasmhook_sdk::testing;

    #[test]
    fn both_ends_know_the_way_to_each_other() {
        testing::with(|it| *it = Model::new());
        let before = testing::with(|it| it.clone());
        let request = Request {
            verb: "ADD".into(),
            cni_version: "1.1.0".into(),
            container_id: "c1".into(),
            ifname: "eth0".into(),
            netns: "/run/netns/c".into(),
            network: "n".into(),
            config: r#"{"name":"n","cniVersion":"1.1.0","mtu":1400,"ipam":{"type":"host-local","subnet":"10.1.2.0/24","routes":[{"dst":"0.0.0.0/0"}]}}"#.into(),
            ..Request::default()
        };
        let Ok(Pre::Answer(_)) = Ptp::pre(&request) else { panic!("no answer") };
        let veth = provider::outer_name(&request);
        let difference = testing::with(|it| it.difference(&before));
        assert_eq!(
            difference[..7],
            [
                "container: + link eth0 (veth) mtu 1400 up".to_owned(),
                "container: + address 10.1.2.2/24 on eth0".to_owned(),
                "container: + route to 0.0.0.0/0 via 10.1.2.1 by eth0".to_owned(),
                format!("host: + link {veth} (veth) mtu 1400 up"),
                format!("host: + address 10.1.2.1/32 on {veth}"),
                format!("host: + route to 10.1.2.2/32 by {veth}"),
                "host: ~ sysctl net/ipv4/ip_forward 0 -> 1".to_owned(),
            ]
        );
    }
}
