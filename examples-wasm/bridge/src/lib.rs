//! A container at a bridge of the node, as the reference plugin `bridge` does it, with its configuration: the keys stand in the
//! entry itself.
//!
//! ```json
//! { "type": "wasmhook",
//!   "hooks": [{ "module": "bridge", "grants": ["link", "ipam", "nft:host", "sysctl", "sysctl:any"] }],
//!   "bridge": "cni0", "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true,
//!   "ipam": { "type": "host-local", "subnet": "10.1.2.0/24" } }
//! ```
//!
//! The bridge is made if there is none, and stays. `uplink`, our own key, is a link of the node that becomes a port of it, and stays
//! one. `ipMasq` is one table of nftables for each container. `ipam` is as with `tap`.
//!
//! Teaches: veth pairs, what is kept for others, gateways, masquerading.

use std::net::IpAddr;
use wasmhook_sdk::cni::{self, Route};
use wasmhook_sdk::net::{BridgeSpec, Cidr, Link, LinkChange, LinkKind, LinkSpec, Mac, Place, Port, Vlans};
use wasmhook_sdk::prelude::*;

/// The reference plugin's keys, but for those that every plugin has.
#[allow(clippy::struct_excessive_bools, reason = "as the plugin has them")]
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Settings {
    bridge: String,
    is_gateway: bool,
    is_default_gateway: bool,
    force_address: bool,
    ip_masq: bool,
    hairpin_mode: bool,
    promisc_mode: bool,
    port_isolation: bool,
    /// Bytes; 0: the kernel's choice.
    mtu: u32,
    vlan: u16,
    uplink: String,
    dns: Option<cni::Dns>,
    /// What only the reference plugin can.
    macspoofchk: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bridge: "cni0".into(),
            is_gateway: false,
            is_default_gateway: false,
            force_address: false,
            ip_masq: false,
            hairpin_mode: false,
            promisc_mode: false,
            port_isolation: false,
            mtu: 0,
            vlan: 0,
            uplink: String::new(),
            dns: None,
            macspoofchk: false,
        }
    }
}

struct Bridge;

impl Hook for Bridge {
    const PHASES: Phases = Phases::Pre;

    fn pre(request: &Request) -> Result<Pre> {
        Ok(answer(request).unwrap_or_else(|mistake| provider::mistake(&mistake)))
    }
}

fn answer(request: &Request) -> Result<Pre> {
    match request.verb.as_str() {
        "ADD" => {
            let settings = settings(request)?;
            let config = request.config()?;
            let mac = provider::requested_mac(request, &config)?;
            let pool = provider::pool(request, &config)?;
            match add(request, &config, &settings, mac, pool.as_ref()) {
                Ok(result) => provider::answer(request, result),
                Err(error) => Ok(Pre::Deny(error)),
            }
        }
        "CHECK" => Ok(match check(request)? {
            Ok(()) => Pre::Answer(CniResult::default()),
            Err(error) => Pre::Deny(error),
        }),
        "DEL" => provider::give_back(request, &request.config()?).map(|()| Pre::Proceed),
        _ => Ok(Pre::Proceed),
    }
}

fn settings(request: &Request) -> Result<Settings> {
    let settings: Settings = request.config_as()?;
    if settings.hairpin_mode && settings.promisc_mode {
        return Err(Failure::new("`hairpinMode` and `promiscMode` at once: choose one"));
    }
    if settings.macspoofchk {
        return Err(Failure::new("`macspoofchk` is not done here: use the plugin `bridge` as `delegate`"));
    }
    if settings.vlan > 4094 {
        return Err(Failure::new(format!("`vlan` is {}: write 0 to 4094", settings.vlan)));
    }
    Ok(settings)
}

fn add(
    request: &Request,
    config: &Object,
    settings: &Settings,
    mac: Option<Mac>,
    pool: Option<&ipam::Pool>,
) -> Result<CniResult, CniError> {
    let (outside, inside) = wire(request, settings, mac)?;
    // A bridge that has none takes the address of one of its ports.
    let bridge = as_wanted(settings, link::get(Place::Host, &settings.bridge)?)?;
    let mut result = match pool {
        Some(pool) => provider::allocate(pool, config, 2)?,
        None => CniResult::default(),
    };
    let gateways = gateways(settings, &mut result)?;
    let ends = [
        provider::interface(&bridge, None),
        provider::interface(&outside, None),
        provider::interface(&inside, Some(&request.netns)),
    ];
    result.interfaces = Some(ends.into());
    if pool.is_some() {
        provider::configure(request, &result)?;
        if settings.is_gateway || settings.is_default_gateway {
            be_gateway(settings, &bridge, &gateways)?;
        }
        if settings.ip_masq {
            masquerade(request, &result)?;
        }
    }
    result.dns = settings.dns.clone().or(result.dns);
    Ok(result)
}

/// It is made for everybody, so it stays; somebody else may make it at the same time.
fn make_bridge(settings: &Settings) -> Result<(), CniError> {
    let filtering = (settings.vlan > 0).then_some(true);
    let kind = LinkKind::Bridge(BridgeSpec { vlan_filtering: filtering, ..BridgeSpec::default() });
    let mtu = Some(settings.mtu).filter(|it| *it > 0);
    match link::create(Place::Host, &LinkSpec::new(&settings.bridge, kind).mtu(mtu).up().keep()) {
        Err(error) if error.is_exists() => Ok(()),
        created => settle(&created?),
    }
}

/// It keeps its hardware address, which would change with its ports, and with it what pods know of their gateway; and no pod tells
/// the node where its way out is (CVE-2020-10749).
fn settle(bridge: &Link) -> Result<(), CniError> {
    let change = LinkChange { mac: bridge.mac.parse().ok(), keep: true, ..LinkChange::default() };
    link::update(Place::Host, &bridge.name, &change)?;
    Ok(provider::refuse_advertisements(&bridge.name)?)
}

fn as_wanted(settings: &Settings, bridge: Link) -> Result<Link, CniError> {
    if !settings.uplink.is_empty() {
        join(&settings.uplink, &bridge)?;
    }
    if bridge.up && bridge.promiscuous == settings.promisc_mode {
        return Ok(bridge);
    }
    let promiscuous = settings.promisc_mode.then_some(true);
    let change = LinkChange { up: Some(true), promiscuous, keep: true, ..LinkChange::default() };
    Ok(link::update(Place::Host, &bridge.name, &change)?)
}

fn join(uplink: &str, bridge: &Link) -> Result<(), CniError> {
    let Some(link) = link::find(Place::Host, uplink)? else {
        return Err(error(&format!("`uplink`: the node has no link {uplink}")));
    };
    match link.master {
        Some(master) if master == bridge.name => Ok(()),
        Some(master) => Err(error(&format!("`uplink`: {uplink} is a port of {master} already"))),
        None => {
            let master = Some(bridge.name.clone());
            let change = LinkChange { master, up: Some(true), keep: true, ..LinkChange::default() };
            link::update(Place::Host, uplink, &change)?;
            Ok(())
        }
    }
}

/// A cable from the bridge into the container.
fn wire(request: &Request, settings: &Settings, mac: Option<Mac>) -> Result<(Link, Link), CniError> {
    let tag = Vlans { from: settings.vlan, to: None, pvid: true, untagged: true };
    let port = Port {
        hairpin: settings.hairpin_mode.then_some(true),
        isolated: settings.port_isolation.then_some(true),
        learning: None,
        vlans: if settings.vlan > 0 { vec![tag] } else { Vec::new() },
    };
    let mut spec = LinkSpec::veth(provider::outer_name(request), &request.ifname)
        .mtu(Some(settings.mtu).filter(|it| *it > 0))
        .master(&settings.bridge)
        .up();
    if port != Port::default() {
        spec = spec.port(port);
    }
    if let LinkKind::Veth { peer } = &mut spec.kind {
        peer.mac = mac;
    }
    let mut outside = match link::create(Place::Host, &spec) {
        // Of all that it needs, only the bridge can be missing; another container may be making it.
        Err(error) if error.is_not_found() => {
            make_bridge(settings)?;
            link::create(Place::Host, &spec)?
        }
        created => created.map_err(|error| explained(settings, error))?,
    };
    match outside.peer.take() {
        Some(inside) => Ok((outside, *inside)),
        None => Ok((outside, link::get(Place::Container, &request.ifname)?)),
    }
}

/// A port of what is no bridge is refused by the kernel in fewer words.
fn explained(settings: &Settings, refused: HostError) -> CniError {
    match link::find(Place::Host, &settings.bridge) {
        Ok(Some(link)) if link.kind != "bridge" => {
            error(&format!("`bridge`: link {} is of kind {:?}", link.name, link.kind))
        }
        _ => refused.into(),
    }
}

/// The gateway of each address: the pool's, or where the bridge is to be one, the first address of the network. Default routes are
/// added where that is asked for.
fn gateways(settings: &Settings, result: &mut CniResult) -> Result<Vec<Cidr>, CniError> {
    let mut gateways = Vec::new();
    for ip in result.ips.iter_mut().flatten() {
        let address: Cidr = ip.address.parse().map_err(|why| error(&format!("{why}")))?;
        let gateway = match ip.gateway.as_deref().filter(|it| !it.is_empty()) {
            Some(gateway) => gateway.parse().map_err(|_| error(&format!("gateway {gateway:?}")))?,
            None if settings.is_gateway || settings.is_default_gateway => first(address),
            None => continue,
        };
        ip.gateway = Some(gateway.to_string());
        gateways.push(Cidr { address: gateway, prefix: address.prefix });
    }
    if settings.is_default_gateway {
        let routes = result.routes.get_or_insert_default();
        for gateway in &gateways {
            let everything = if gateway.address.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
            if !routes.iter().any(|route| route.dst == everything) {
                let gw = Some(gateway.address.to_string());
                routes.push(Route { dst: everything.to_owned(), gw, ..Route::default() });
            }
        }
    }
    Ok(gateways)
}

fn first(network: Cidr) -> IpAddr {
    match network.network().address {
        IpAddr::V4(address) => IpAddr::V4((address.to_bits() + 1).into()),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() + 1).into()),
    }
}

/// The bridge gets the gateways' addresses and the node forwards. Both stay.
fn be_gateway(settings: &Settings, bridge: &Link, gateways: &[Cidr]) -> Result<(), CniError> {
    let has = link::addresses(Place::Host, &bridge.name)?;
    for gateway in gateways {
        if has.iter().any(|it| it.address == *gateway) {
            continue;
        }
        let same_family = |it: &Cidr| it.address.is_ipv4() == gateway.address.is_ipv4();
        let in_the_way =
            |it: &Cidr| it.address.is_ipv4() || it.contains(gateway.address) || gateway.contains(it.address);
        for other in has.iter().map(|it| it.address).filter(same_family).filter(in_the_way) {
            if !settings.force_address {
                return Err(error(&format!(
                    "bridge {} has the address {other}, and the gateway is {gateway}: set `forceAddress` to replace it",
                    bridge.name
                )));
            }
            link::del_address(Place::Host, &bridge.name, other)?;
        }
        let address = net::Address { keep: true, no_dad: true, ..(*gateway).into() };
        match link::add_address(Place::Host, &bridge.name, &address) {
            // By somebody else, at the same time.
            Err(error) if error.is_exists() => {}
            added => added?,
        }
    }
    let forwards = |v4: bool| gateways.iter().any(|it| it.address.is_ipv4() == v4);
    for (v4, key) in [(true, "net/ipv4/ip_forward"), (false, "net/ipv6/conf/all/forwarding")] {
        if forwards(v4) {
            sysctl::write_and_keep(Place::Host, key, "1")?;
        }
    }
    Ok(())
}

fn masquerade(request: &Request, result: &CniResult) -> Result<(), CniError> {
    let mut sources = Vec::new();
    for ip in result.ips.iter().flatten() {
        let address: Cidr = ip.address.parse().map_err(|why| error(&format!("{why}")))?;
        sources.push((Cidr::host(address.address), address));
    }
    let rules = nft::masquerade_all(&sources, &provider::comment(request));
    nft::apply(Place::Host, &rules)?;
    Ok(())
}

fn check(request: &Request) -> Result<Result<(), CniError>> {
    let (config, settings) = (request.config()?, settings(request)?);
    if let Err(error) = provider::check(request, &config, "veth") {
        return Ok(Err(error));
    }
    let Some(bridge) = link::find(Place::Host, &settings.bridge)? else {
        return Ok(Err(error(&format!("bridge {} is gone", settings.bridge))));
    };
    let name = provider::outer_name(request);
    Ok(match link::find(Place::Host, &name)? {
        Some(link) if link.master.as_deref() == Some(&bridge.name) => Ok(()),
        Some(_) => Err(error(&format!("link {name} is not a port of bridge {}", bridge.name))),
        None => Err(error(&format!("link {name} is gone"))),
    })
}

fn error(why: &str) -> CniError {
    CniError::new(999, why)
}

wasmhook_sdk::export!(Bridge);

#[cfg(test)]
mod tests {
    use super::*;
    use wasmhook_sdk::net::{Model, RouteFilter};
    use wasmhook_sdk::testing;

    fn request(verb: &str, keys: &str) -> Request {
        Request {
            verb: verb.into(),
            cni_version: "1.0.0".into(),
            container_id: "c1".into(),
            ifname: "eth0".into(),
            netns: "/run/netns/c".into(),
            network: "n".into(),
            config: format!(r#"{{"name":"n","cniVersion":"1.0.0","type":"wasmhook"{keys}}}"#),
            ..Request::default()
        }
    }

    fn result(request: &Request) -> CniResult {
        match Bridge::pre(request).unwrap() {
            Pre::Answer(result) => result,
            other => panic!("{other:?}"),
        }
    }

    const KEYS: &str = r#","isDefaultGateway":true,"ipMasq":true,"hairpinMode":true,"mtu":1400,"ipam":{"type":"host-local","ranges":[[{"subnet":"10.1.2.0/24"}],[{"subnet":"fd00::/64"}]]}"#;

    #[test]
    fn a_container_is_wired_addressed_and_led_out() {
        testing::with(|it| *it = Model::new());
        let before = testing::with(|it| it.clone());
        let result = result(&request("ADD", KEYS));
        let veth = provider::outer_name(&request("ADD", ""));
        let names: Vec<_> = result.interfaces.iter().flatten().map(|it| it.name.clone()).collect();
        assert_eq!(names, ["cni0", &veth, "eth0"]);
        let difference = testing::with(|it| it.difference(&before));
        assert_eq!(
            difference,
            [
                "container: + link eth0 (veth) mtu 1400 up".to_owned(),
                "container: + address 10.1.2.2/24 on eth0".to_owned(),
                "container: + address fd00::2/64 on eth0".to_owned(),
                "container: + route to 0.0.0.0/0 via 10.1.2.1 by eth0".to_owned(),
                "container: + route to ::/0 via fd00::1 by eth0".to_owned(),
                "host: + link cni0 (bridge) mtu 1400 up".to_owned(),
                format!("host: + link {veth} (veth) mtu 1400 up, port of cni0"),
                "host: + address 10.1.2.1/24 on cni0".to_owned(),
                "host: + address fd00::1/64 on cni0".to_owned(),
                "host: ~ sysctl net/ipv4/ip_forward 0 -> 1".to_owned(),
                "host: ~ sysctl net/ipv6/conf/all/forwarding 0 -> 1".to_owned(),
                "host: + nft table wasmhook-test".to_owned(),
                "+ lease 10.1.2.2 for eth0 of test".to_owned(),
                "+ lease fd00::2 for eth0 of test".to_owned(),
            ]
        );
        assert_eq!(link::get(Place::Host, &veth).unwrap().port.unwrap().hairpin, Some(true));
        let check =
            Request { prev_result: serde_json::to_string(&result).unwrap(), ..request("CHECK", KEYS) };
        assert!(matches!(Bridge::pre(&check).unwrap(), Pre::Answer(_)));
        link::del_address(Place::Container, "eth0", "10.1.2.2/24".parse().unwrap()).unwrap();
        let Pre::Deny(error) = Bridge::pre(&check).unwrap() else { panic!("nothing found") };
        assert_eq!(error.msg, "link eth0 has no address 10.1.2.2/24");
    }

    #[test]
    fn a_bridge_with_another_address_keeps_it_unless_that_is_asked_for() {
        testing::with(|it| *it = Model::new());
        link::create(Place::Host, &LinkSpec::bridge("cni0").up()).unwrap();
        let other: Cidr = "10.9.0.1/16".parse().unwrap();
        link::add_address(Place::Host, "cni0", &other.into()).unwrap();
        let Pre::Deny(error) = Bridge::pre(&request("ADD", KEYS)).unwrap() else { panic!("no error") };
        assert_eq!(
            error.msg,
            "bridge cni0 has the address 10.9.0.1/16, and the gateway is 10.1.2.1/24: set `forceAddress` to replace it"
        );
        testing::with(|it| *it = Model::new());
        link::create(Place::Host, &LinkSpec::bridge("cni0").up()).unwrap();
        link::add_address(Place::Host, "cni0", &other.into()).unwrap();
        let forced =
            Request { ifname: "eth1".into(), ..request("ADD", &format!("{KEYS},\"forceAddress\":true")) };
        result(&forced);
        let has = link::addresses(Place::Host, "cni0").unwrap();
        assert!(has.iter().all(|it| it.address != other));
    }

    #[test]
    fn without_addresses_it_is_a_cable_and_no_more() {
        testing::with(|it| *it = Model::new());
        let result = result(&request("ADD", r#","bridge":"br7""#));
        assert!(result.ips.is_none());
        assert_eq!(link::routes(Place::Container, &RouteFilter::default()).unwrap(), []);
        assert!(link::get(Place::Container, "eth0").unwrap().up);
    }

    #[test]
    fn what_cannot_be_meant_is_told() {
        let failure = |keys: &str| match Bridge::pre(&request("ADD", keys)).unwrap() {
            Pre::Deny(error) => (error.code, error.msg),
            other => panic!("{other:?}"),
        };
        assert_eq!(failure(r#","vlan":5000"#), (7, "`vlan` is 5000: write 0 to 4094".to_owned()));
        testing::with(|it| *it = Model::new());
        let Pre::Deny(error) = Bridge::pre(&request("ADD", r#","uplink":"eth9""#)).unwrap() else { panic!() };
        assert_eq!(error.msg, "`uplink`: the node has no link eth9");
    }
}
