//! For hooks that are plugins themselves: they stand in an entry without a delegate, whose own keys are their configuration, and
//! answer ADD with what they made.

use crate::cni::{CniResult, Error, Interface, Ip, Object, Route, SpecVersion, convert};
use crate::ipam::{self, Options, Pool};
use crate::net::{Cidr, Link, Mac, Place, RouteFilter};
use crate::{Failure, HostError, Pre, Request, Result, link};
use serde::Deserialize;

/// The pool of a configuration: `native` for host-local's, unless this hook's `config` says `{"ipam": "plugin"}`; otherwise the plugin
/// itself. `None`: no address is wanted.
pub fn pool(request: &Request, config: &Object) -> Result<Option<Pool>> {
    #[derive(Deserialize)]
    struct Ipam {
        #[serde(rename = "type", default)]
        plugin: String,
    }
    #[derive(Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        ipam: Option<String>,
    }
    let Some(ipam) = config.read::<Ipam>("ipam")? else { return Ok(None) };
    let settings: Settings = request.settings()?;
    let native = match settings.ipam.as_deref() {
        None | Some("native") => true,
        Some("plugin") => false,
        Some(other) => {
            return Err(Failure::new(format!("`config.ipam` is {other:?}: write \"native\" or \"plugin\"")));
        }
    };
    Ok(match ipam.plugin.as_str() {
        "" => None,
        "host-local" if native => Some(Pool::Native),
        plugin => Some(Pool::Plugin(plugin.to_owned())),
    })
}

/// A plugin whose configuration has a mistake is not broken: it says so, with the specification's code for that.
#[must_use]
pub fn mistake(failure: &Failure) -> Pre {
    Pre::Deny(Error::new(crate::cni::code::INVALID_CONFIG, failure.to_string()))
}

/// The hardware address that is asked for: by the runtime, by `args`, by `CNI_ARGS` (`MAC`), or by the configuration, in this
/// order.
pub fn requested_mac(request: &Request, config: &Object) -> Result<Option<Mac>> {
    #[derive(Default, Deserialize)]
    struct Of {
        mac: Option<String>,
    }
    #[derive(Default, Deserialize)]
    struct Args {
        #[serde(default)]
        cni: Of,
    }
    let runtime = config.read::<Of>("runtimeConfig")?.unwrap_or_default().mac;
    let args = config.read::<Args>("args")?.unwrap_or_default().cni.mac;
    let in_args = request.args.value("MAC").map(str::to_owned);
    let own: Option<String> = config.read("mac")?;
    let wanted = [runtime, args, in_args, own].into_iter().flatten().find(|it| !it.is_empty());
    let Some(wanted) = wanted else { return Ok(None) };
    let mac: Mac = wanted.parse().map_err(|error| Failure::new(format!("`mac`: {error}")))?;
    if mac.is_unicast() {
        return Ok(Some(mac));
    }
    Err(Failure::new(format!("`mac`: {mac} is a group's, or nobody's: no link can have it")))
}

/// A name for the node's end of a container's cable: one like no other on the node, and the same whenever it is asked for (FNV-1a).
#[must_use]
pub fn outer_name(request: &Request) -> String {
    let words = [&request.network, &request.container_id, &request.ifname];
    let bytes = words.iter().flat_map(|word| word.bytes().chain([0]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("veth{:08x}", (hash >> 32) ^ (hash & 0xffff_ffff))
}

/// A link of the node takes no router advertisements, so that what is at its other end cannot tell the node its way out
/// (CVE-2020-10749). Needs the grants `sysctl` and `sysctl:any`.
pub fn refuse_advertisements(link: &str) -> std::result::Result<(), HostError> {
    match crate::sysctl::write_and_keep(Place::Host, &format!("net/ipv6/conf/{link}/accept_ra"), "0") {
        // A node without IPv6.
        Err(error) if error.is_not_found() => Ok(()),
        written => written,
    }
}

/// A line for whoever lists an attachment's rules: 127 bytes at most.
#[must_use]
pub fn comment(request: &Request) -> String {
    let words = format!("{} {} {}", request.network, request.ifname, request.container_id);
    words.chars().filter(char::is_ascii).take(100).collect()
}

/// A link as a result tells of it, and where it is if that is a container.
#[must_use]
pub fn interface(link: &Link, sandbox: Option<&str>) -> Interface {
    Interface {
        name: link.name.clone(),
        mac: Some(link.mac.clone()),
        mtu: Some(link.mtu),
        sandbox: sandbox.map(str::to_owned),
        ..Interface::default()
    }
}

/// Addresses for the interface that stands at this place in the result.
pub fn allocate(pool: &Pool, config: &Object, interface: u32) -> std::result::Result<CniResult, Error> {
    let mut result = ipam::allocate(pool, config)?;
    if result.ips.as_ref().is_none_or(Vec::is_empty) {
        return Err(Error::new(999, "IPAM returned no addresses"));
    }
    for ip in result.ips.iter_mut().flatten() {
        ip.interface = Some(interface);
    }
    Ok(result)
}

/// Gives the container's link what the result says of it, and tells the neighbours.
pub fn configure(request: &Request, result: &CniResult) -> std::result::Result<(), Error> {
    let options = Options { announce: true, ..Options::default() };
    Ok(ipam::apply(Place::Container, &request.ifname, result, options)?)
}

/// The answer to ADD, in the configuration's version.
pub fn answer(request: &Request, mut result: CniResult) -> Result<Pre> {
    let version: SpecVersion = request
        .cni_version
        .parse()
        .map_err(|()| Failure::new(format!("cniVersion {:?}", request.cni_version)))?;
    if version >= SpecVersion::V1_0_0 {
        // Written in the same way.
        result.cni_version = Some(version.to_string());
        return Ok(Pre::Answer(result));
    }
    result.cni_version = Some(SpecVersion::V1_1_0.to_string());
    let result: Object = serde_json::to_string(&result)?.parse()?;
    match convert(&result, SpecVersion::V1_1_0, version) {
        Ok(result) => Ok(Pre::Answer(serde_json::from_str(&result.to_string())?)),
        Err(error) => Ok(Pre::Deny(Error::new(999, error.to_string()))),
    }
}

/// At DEL: what another plugin has allocated before is given back. What an ADD of this hook has, the host gives back by itself.
pub fn give_back(request: &Request, config: &Object) -> Result<()> {
    let Some(pool) = pool(request, config)? else { return Ok(()) };
    Ok(ipam::release(&pool, config)?)
}

/// At CHECK: is the container's link as the result of ADD says?
pub fn check(request: &Request, config: &Object, kind: &str) -> std::result::Result<Link, Error> {
    let wrong = |why: String| Error::new(999, why);
    let result = newest(request).map_err(|failure| wrong(failure.to_string()))?;
    let is_ours = |it: &&Interface| it.name == request.ifname && it.sandbox.is_some();
    let interface = result.interfaces.iter().flatten().find(is_ours);
    let interface = interface
        .ok_or_else(|| wrong(format!("prevResult has no interface {} in a sandbox", request.ifname)))?;
    let sandbox = interface.sandbox.as_deref().unwrap_or_default();
    if sandbox != request.netns {
        return Err(wrong(format!("sandbox {sandbox:?} in prevResult is not the netns {:?}", request.netns)));
    }
    let link = link::get(Place::Container, &request.ifname)?;
    if link.kind != kind {
        return Err(wrong(format!("link {} is of kind {:?}, not {kind:?}", link.name, link.kind)));
    }
    if interface.mac.as_ref().is_some_and(|mac| !mac.eq_ignore_ascii_case(&link.mac)) {
        return Err(wrong(format!(
            "link {} has the hardware address {}, and prevResult says {}",
            link.name,
            link.mac,
            interface.mac.as_deref().unwrap_or_default()
        )));
    }
    if interface.mtu.is_some_and(|mtu| mtu != link.mtu) {
        return Err(wrong(format!(
            "link {} has an MTU of {}, and prevResult says otherwise",
            link.name, link.mtu
        )));
    }
    check_addresses(request, &result)?;
    if let Some(pool) = pool(request, config).map_err(|failure| wrong(failure.to_string()))? {
        ipam::check(&pool, config)?;
    }
    Ok(link)
}

fn check_addresses(request: &Request, result: &CniResult) -> std::result::Result<(), Error> {
    let has = link::addresses(Place::Container, &request.ifname)?;
    let is_here = |ip: &&Ip| {
        let interface = ip.interface.and_then(|index| result.interfaces.as_ref()?.get(index as usize));
        interface.is_none_or(|it| it.name == request.ifname)
    };
    for ip in result.ips.iter().flatten().filter(is_here) {
        let wanted: Option<Cidr> = ip.address.parse().ok();
        if !has.iter().any(|it| Some(it.address) == wanted) {
            return Err(Error::new(999, format!("link {} has no address {}", request.ifname, ip.address)));
        }
    }
    for route in result.routes.iter().flatten() {
        check_route(request, route)?;
    }
    Ok(())
}

fn check_route(request: &Request, route: &Route) -> std::result::Result<(), Error> {
    let wrong = |why: String| Error::new(999, why);
    let dst: Cidr = route.dst.parse().map_err(|error| wrong(format!("prevResult: {error}")))?;
    let filter = RouteFilter { dst: Some(dst), dev: Some(request.ifname.clone()), table: route.table };
    let gw = route.gw.as_ref().and_then(|gw| gw.parse().ok());
    let found = link::routes(Place::Container, &filter)?;
    if found.iter().any(|it| gw.is_none() || it.gw == gw) {
        return Ok(());
    }
    Err(wrong(format!("link {} has no route to {}", request.ifname, route.dst)))
}

/// prevResult in the newest version.
fn newest(request: &Request) -> Result<CniResult> {
    let result: Object = request.prev_result.parse()?;
    let version: Option<String> = result.read("cniVersion")?;
    let version = version.unwrap_or_else(|| request.cni_version.clone());
    let version: SpecVersion =
        version.parse().map_err(|()| Failure::new(format!("prevResult: cniVersion {version:?}")))?;
    let result = convert(&result, version, SpecVersion::V1_1_0)?;
    Ok(serde_json::from_str(&result.to_string())?)
}

/// What a runtime is told: a plugin's own code where it was a plugin, "try again" where that may help.
impl From<HostError> for Error {
    fn from(error: HostError) -> Self {
        let code = match error.code.as_str() {
            "plugin" => u32::try_from(error.errno).ok().filter(|code| *code != 0).unwrap_or(999),
            "busy" | "unknown-outcome" => crate::cni::code::TRY_AGAIN,
            _ => 999,
        };
        Self::new(code, error.message)
    }
}
