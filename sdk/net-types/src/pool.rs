//! Pools of addresses, as the plugin host-local is configured, and in which order it gives them out: two that serve one pool must
//! agree on that.

use crate::{Cidr, NetError, Ranges, Route};
use serde::Deserialize;
use std::net::IpAddr;
use std::path::PathBuf;

/// An `ipam` block, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// The network's name.
    pub network: String,
    /// The directory of all networks' leases.
    pub data_dir: PathBuf,
    /// From each of them comes one address.
    pub sets: Vec<Ranges>,
    /// Addresses that are asked for. Each must be in one of the sets.
    pub requested: Vec<IpAddr>,
    /// For the result.
    pub routes: Vec<PoolRoute>,
    /// A file with name servers, for the result.
    pub resolv_conf: Option<PathBuf>,
}

/// A route for the result, as it was written.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PoolRoute {
    /// Where to.
    pub dst: Cidr,
    /// The next hop.
    pub gw: Option<IpAddr>,
    /// Bytes.
    pub mtu: Option<u32>,
    /// TCP's maximal segment size in bytes.
    pub advmss: Option<u32>,
    /// Lower wins.
    pub priority: Option<u32>,
    /// The table.
    pub table: Option<u32>,
    /// The kernel's number.
    pub scope: Option<u8>,
}

impl From<PoolRoute> for Route {
    fn from(route: PoolRoute) -> Self {
        let PoolRoute { dst, gw, mtu, advmss, priority, table, scope } = route;
        Self { gw, mtu, advmss, priority, table, scope, ..Self::to(dst) }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Plugin {
    #[serde(default)]
    name: String,
    ipam: Option<Ipam>,
    runtime_config: Option<Runtime>,
    args: Option<Args>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Runtime {
    ips: Option<Vec<String>>,
    ip_ranges: Option<Vec<Vec<Written>>>,
}

#[derive(Deserialize)]
struct Args {
    cni: Option<CniArgs>,
}

#[derive(Deserialize)]
struct CniArgs {
    ips: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ipam {
    data_dir: Option<PathBuf>,
    resolv_conf: Option<PathBuf>,
    routes: Option<Vec<PoolRoute>>,
    ranges: Option<Vec<Vec<Written>>>,
    /// Ours: what is never given out.
    exclude: Option<Vec<String>>,
    #[serde(flatten)]
    old: Old,
}

/// One range without a list around it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Old {
    subnet: Option<Cidr>,
    range_start: Option<IpAddr>,
    range_end: Option<IpAddr>,
    gateway: Option<IpAddr>,
}

/// A range as it is written.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Written {
    pub(crate) subnet: Cidr,
    pub(crate) range_start: Option<IpAddr>,
    pub(crate) range_end: Option<IpAddr>,
    pub(crate) gateway: Option<IpAddr>,
}

impl PoolConfig {
    /// Where leases are kept that nobody has another place for.
    pub const DATA_DIR: &str = "/var/lib/cni/networks";

    /// From the configuration of a plugin, and the pairs of `CNI_ARGS`.
    pub fn read(config: &str, args: &[(String, String)]) -> Result<Self, NetError> {
        let invalid = |error: &dyn std::fmt::Display| NetError::Invalid(format!("ipam: {error}"));
        let Plugin { name, ipam, runtime_config, args: in_config } =
            serde_json::from_str(config).map_err(|error| invalid(&error))?;
        if name.is_empty() || matches!(name.as_str(), "." | "..") || name.contains('/') {
            return Err(invalid(&format!("{name:?} is no name of a network")));
        }
        let Some(ipam) = ipam else { return Err(invalid(&"missing in the configuration")) };
        let runtime = runtime_config.unwrap_or_default();
        let mut requested = Vec::new();
        let in_args = args.iter().filter(|(key, value)| key == "IP" && !value.is_empty());
        let in_config = in_config.and_then(|args| args.cni?.ips).unwrap_or_default();
        let texts = in_args.map(|(_, value)| value.clone()).chain(in_config);
        for text in texts.chain(runtime.ips.unwrap_or_default()) {
            // With a prefix or without: it is the range's that counts.
            let address = text.split('/').next().unwrap_or_default().parse::<IpAddr>();
            let address = address.map_err(|_| invalid(&format!("requested address {text:?} is none")))?;
            if !requested.contains(&address.to_canonical()) {
                requested.push(address.to_canonical());
            }
        }
        let old = ipam.old.subnet.map(|subnet| {
            let Old { range_start, range_end, gateway, .. } = ipam.old;
            vec![Written { subnet, range_start, range_end, gateway }]
        });
        let written = runtime.ip_ranges.unwrap_or_default();
        let written: Vec<_> = written.into_iter().chain(old).chain(ipam.ranges.unwrap_or_default()).collect();
        if written.is_empty() {
            return Err(invalid(&"no ranges: write `ranges: [[{ \"subnet\": \"10.1.0.0/16\" }]]`"));
        }
        let exclude = ipam.exclude.unwrap_or_default();
        let exclude = exclude.iter().map(|text| excluded(text)).collect::<Result<Vec<_>, _>>();
        let exclude = exclude.map_err(|why| invalid(&why))?;
        let sets = written.iter().map(|set| Ranges::of(set, &exclude)).collect::<Result<Vec<_>, _>>();
        let sets = sets.map_err(|why| invalid(&why))?;
        judge_overlap(&sets).map_err(|why| invalid(&why))?;
        Ok(Self {
            network: name,
            data_dir: ipam
                .data_dir
                .filter(|it| !it.as_os_str().is_empty())
                .unwrap_or_else(|| Self::DATA_DIR.into()),
            sets,
            requested,
            routes: ipam.routes.unwrap_or_default(),
            resolv_conf: ipam.resolv_conf.filter(|it| !it.as_os_str().is_empty()),
        })
    }

    /// Which of the requested addresses comes from which set; one that no set has is an error.
    pub fn requests(&self) -> Result<Vec<Option<IpAddr>>, NetError> {
        let mut left = self.requested.clone();
        let mut wanted = Vec::new();
        for set in &self.sets {
            let place = left.iter().position(|address| set.contains(*address));
            wanted.push(place.map(|place| left.remove(place)));
        }
        match left.first() {
            None => Ok(wanted),
            Some(address) => Err(NetError::Invalid(format!(
                "ipam: requested address {address} is in no range of network {:?}, or one range is to give two",
                self.network
            ))),
        }
    }
}

/// One address, a network, or `first-last`.
fn excluded(text: &str) -> Result<(IpAddr, IpAddr), String> {
    let wrong =
        || format!("exclude: {text:?}: write an address, a network such as 10.1.2.0/28, or first-last");
    if let Some((first, last)) = text.split_once('-') {
        let parse = |text: &str| text.trim().parse::<IpAddr>().map_err(|_| wrong());
        return Ok((parse(first)?, parse(last)?));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok((address, address));
    }
    let network = text.parse::<Cidr>().map_err(|_| wrong())?.network();
    Ok((network.address, crate::ranges::last(network)))
}

fn judge_overlap(sets: &[Ranges]) -> Result<(), String> {
    for (number, set) in sets.iter().enumerate() {
        if let Some(other) = sets[..number].iter().position(|other| other.overlaps(set)) {
            return Err(format!("ranges[{other}] and ranges[{number}] overlap"));
        }
    }
    Ok(())
}
