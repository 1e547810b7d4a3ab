use crate::{
    Address, Link, Mac, Neighbour, NetError, Network, Place, Route, RouteFilter, Ruleset, judge_sysctl,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One network stack in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, from = "Written", into = "Written")]
pub(super) struct Stack {
    pub(super) links: Vec<Station>,
    pub(super) routes: Vec<Route>,
    pub(super) sysctls: BTreeMap<String, String>,
    pub(super) rules: BTreeMap<String, Ruleset>,
    pub(super) made: u32,
}

/// A link with all that is on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Station {
    pub(super) link: Link,
    pub(super) addresses: Vec<Address>,
    pub(super) neighbours: Vec<Neighbour>,
    pub(super) features: BTreeMap<String, bool>,
    /// The other end of a veth, wherever it is, by a number that both have.
    pub(super) pair: Option<u32>,
}

/// As it is written down.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Written {
    #[serde(default)]
    links: Vec<WrittenLink>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    routes: Vec<Route>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    sysctls: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    rules: BTreeMap<String, Ruleset>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenLink {
    name: String,
    #[serde(default)]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mtu: Option<u32>,
    #[serde(default)]
    up: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<WrittenAddress>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    details: Option<Link>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    neighbours: Vec<Neighbour>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pair: Option<u32>,
}

/// `"10.1.2.3/24"`, or all of it.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenAddress {
    Plain(crate::Cidr),
    Whole(Address),
}

impl From<Written> for Stack {
    fn from(written: Written) -> Self {
        let mut stack = Self { routes: written.routes, rules: written.rules, ..Self::default() };
        for (link, index) in written.links.into_iter().zip(1..) {
            let lo = link.name == "lo";
            let usual = Link {
                index,
                name: link.name.clone(),
                kind: link.kind,
                mac: link.mac.unwrap_or_else(|| if lo { String::new() } else { stack.mac().to_string() }),
                mtu: link.mtu.unwrap_or(if lo { 65536 } else { 1500 }),
                up: link.up,
                running: link.up,
                tx_queue_length: 1000,
                ..Link::default()
            };
            let addresses = link.addresses.into_iter().map(|it| match it {
                WrittenAddress::Plain(cidr) => cidr.into(),
                WrittenAddress::Whole(address) => address,
            });
            let mut station = Station::of(link.details.unwrap_or(usual));
            station.addresses = addresses.collect();
            (station.neighbours, station.pair) = (link.neighbours, link.pair);
            stack.put(station);
        }
        for place in 0..stack.links.len() {
            stack.connect(place);
        }
        stack.defaults();
        stack.sysctls.extend(written.sysctls);
        // As many addresses may have been given out.
        stack.made = stack.made.max(u32::try_from(stack.links.len()).unwrap_or(u32::MAX));
        stack
    }
}

impl From<Stack> for Written {
    fn from(stack: Stack) -> Self {
        let links = stack.links.into_iter().map(|station| WrittenLink {
            name: station.link.name.clone(),
            kind: station.link.kind.clone(),
            mac: Some(station.link.mac.clone()),
            mtu: Some(station.link.mtu),
            up: station.link.up,
            addresses: station.addresses.into_iter().map(WrittenAddress::Whole).collect(),
            details: Some(station.link),
            neighbours: station.neighbours,
            pair: station.pair,
        });
        Self { links: links.collect(), routes: stack.routes, sysctls: stack.sysctls, rules: stack.rules }
    }
}

impl Station {
    pub(super) fn of(link: Link) -> Self {
        let features = ["tx-checksum-ip-generic", "tx-tcp-segmentation", "rx-gro", "rx-vlan-filter"];
        let features = features.into_iter().map(|name| (name.to_owned(), !name.starts_with("rx-vlan")));
        Self { link, features: features.collect(), ..Self::default() }
    }

    pub(super) fn is_called(&self, name: &str) -> bool {
        self.link.name == name || self.link.alternative_names.iter().any(|it| it == name)
    }
}

impl Stack {
    pub(super) fn of_a_container() -> Self {
        let mut stack = Self::default();
        let lo = Link { name: "lo".into(), mtu: 65536, tx_queue_length: 1000, ..Link::default() };
        stack.put(Station::of(lo));
        stack.defaults();
        stack
    }

    pub(super) fn of_a_host() -> Self {
        let mut stack = Self::of_a_container();
        let lo = &mut stack.links[0];
        (lo.link.up, lo.link.running) = (true, true);
        lo.addresses = ["127.0.0.1/8", "::1/128"].iter().filter_map(|it| it.parse().ok().map(host)).collect();
        stack
    }

    pub(super) fn copy_of(network: &mut dyn Network, place: Place) -> Result<Self, NetError> {
        let mut stack = Self::default();
        for link in network.links(place)? {
            let name = link.name.clone();
            let mut station = Station::of(link);
            station.addresses = network.addresses(place, &name)?;
            stack.put(station);
        }
        stack.routes = network.routes(place, &RouteFilter::default())?;
        stack.defaults();
        Ok(stack)
    }

    /// What every stack has.
    fn defaults(&mut self) {
        for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            self.sysctls.entry(key.into()).or_insert_with(|| "0".into());
        }
    }

    /// Made locally, one like no other.
    pub(super) fn mac(&mut self) -> Mac {
        self.made += 1;
        let [a, b, c, d] = self.made.to_be_bytes();
        Mac([0x02, 0x00, a, b, c, d])
    }

    pub(super) fn put(&mut self, mut station: Station) -> &Station {
        let after = self.links.last().map_or(1, |it| it.link.index + 1);
        station.link.index = station.link.index.max(after);
        self.settings(&station.link.name);
        self.links.push(station);
        &self.links[self.links.len() - 1]
    }

    /// What a link has below `/proc/sys/net`.
    pub(super) fn settings(&mut self, link: &str) {
        let of = [
            (
                "ipv4",
                &[
                    "arp_notify",
                    "rp_filter",
                    "forwarding",
                    "proxy_arp",
                    "arp_ignore",
                    "arp_announce",
                    "arp_accept",
                ][..],
            ),
            (
                "ipv6",
                &["disable_ipv6", "forwarding", "accept_dad", "accept_ra", "ndisc_notify", "proxy_ndp"][..],
            ),
        ];
        for (family, names) in of {
            for name in names {
                let value = if name.starts_with("accept_") { "1" } else { "0" };
                self.sysctls.insert(format!("net/{family}/conf/{link}/{name}"), value.into());
            }
        }
    }

    pub(super) fn forget_settings(&mut self, link: &str) {
        let (v4, v6) = (format!("net/ipv4/conf/{link}/"), format!("net/ipv6/conf/{link}/"));
        self.sysctls.retain(|key, _| !key.starts_with(&v4) && !key.starts_with(&v6));
    }

    pub(super) fn links(&self) -> Vec<Link> {
        self.links.iter().map(|it| it.link.clone()).collect()
    }

    pub(super) fn find(&self, name: &str) -> Result<&Station, NetError> {
        let none = || NetError::NotFound(format!("link {name:?}: there is none"));
        self.links.iter().find(|it| it.is_called(name)).ok_or_else(none)
    }

    pub(super) fn find_mut(&mut self, name: &str) -> Result<&mut Station, NetError> {
        let none = || NetError::NotFound(format!("link {name:?}: there is none"));
        self.links.iter_mut().find(|it| it.is_called(name)).ok_or_else(none)
    }

    pub(super) fn sysctl(&self, key: &str) -> Result<String, NetError> {
        judge_sysctl(key)?;
        let none = || NetError::NotFound(format!("sysctl {key}: there is none"));
        self.sysctls.get(key).cloned().ok_or_else(none)
    }

    pub(super) fn set_sysctl(&mut self, key: &str, value: &str) -> Result<(), NetError> {
        self.sysctl(key)?;
        self.sysctls.insert(key.to_owned(), value.to_owned());
        Ok(())
    }
}

fn host(cidr: crate::Cidr) -> Address {
    Address { scope: Some(254), ..cidr.into() }
}
