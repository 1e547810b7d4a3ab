//! Networks in memory, for whoever has no root, or no wish to change anything. They behave as Linux does in what a network
//! plugin can see; no packet moves in them.

mod leases;
mod links;
mod routes;
mod show;
mod stack;

pub use leases::Lease;

use crate::{
    Address, Cidr, Family, Link, LinkChange, LinkSpec, Neighbour, NetError, Network, Place, Route,
    RouteFilter, Ruleset, TapSpec,
};
use serde::{Deserialize, Serialize};
use stack::Stack;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

/// A container's network and a host's, in memory.
///
/// As JSON it is what a person can write down: `{"host": {"links": [{"name": "eth0", "up": true, "addresses": ["192.0.2.5/24"]}]}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Model {
    #[serde(default = "Stack::of_a_container")]
    container: Stack,
    #[serde(default = "Stack::of_a_host")]
    host: Stack,
    /// Who has which address of a pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    leases: Vec<Lease>,
    #[serde(skip)]
    announced: Vec<(Place, String, IpAddr)>,
}

impl Default for Model {
    fn default() -> Self {
        Self::new()
    }
}

impl Model {
    /// A container with nothing but a loopback that is down, and a host with one that is up.
    #[must_use]
    pub fn new() -> Self {
        Self {
            container: Stack::of_a_container(),
            host: Stack::of_a_host(),
            leases: Vec::new(),
            announced: Vec::new(),
        }
    }

    /// As another network is now: its links, addresses and routes. A place that cannot be looked at is as in
    /// [`new`](Self::new).
    pub fn copy_of(network: &mut dyn Network) -> Result<Self, NetError> {
        let mut model = Self::new();
        for place in [Place::Container, Place::Host] {
            match Stack::copy_of(network, place) {
                Ok(stack) => *model.stack(place) = stack,
                Err(NetError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(model)
    }

    /// What has been announced, and on which links.
    #[must_use]
    pub fn announced(&self) -> &[(Place, String, IpAddr)] {
        &self.announced
    }

    fn stack(&mut self, place: Place) -> &mut Stack {
        match place {
            Place::Container => &mut self.container,
            Place::Host => &mut self.host,
        }
    }
}

impl Network for Model {
    fn wait_until(&mut self, _: Instant) {}

    fn links(&mut self, place: Place) -> Result<Vec<Link>, NetError> {
        Ok(self.stack(place).links())
    }

    fn link(&mut self, place: Place, name: &str) -> Result<Link, NetError> {
        self.stack(place).find(name).map(|it| it.link.clone())
    }

    fn create_link(&mut self, place: Place, spec: &LinkSpec, mark: &str) -> Result<Link, NetError> {
        self.make(place, spec, mark)
    }

    fn create_tap(&mut self, place: Place, spec: &TapSpec, mark: &str) -> Result<Link, NetError> {
        self.stack(place).make_tap(spec, mark)
    }

    fn update_link(&mut self, place: Place, name: &str, change: &LinkChange) -> Result<Link, NetError> {
        self.stack(place).update(name, change)
    }

    fn delete_link(&mut self, place: Place, name: &str) -> Result<(), NetError> {
        self.delete(place, name)
    }

    fn move_link(
        &mut self,
        from: Place,
        name: &str,
        to: Place,
        new_name: Option<&str>,
    ) -> Result<Link, NetError> {
        self.carry(from, name, to, new_name)
    }

    fn addresses(&mut self, place: Place, link: &str) -> Result<Vec<Address>, NetError> {
        self.stack(place).find(link).map(|it| it.addresses.clone())
    }

    fn add_address(&mut self, place: Place, link: &str, address: &Address) -> Result<(), NetError> {
        self.stack(place).add_address(link, address)
    }

    fn remove_address(&mut self, place: Place, link: &str, address: Cidr) -> Result<(), NetError> {
        self.stack(place).remove_address(link, address)
    }

    fn routes(&mut self, place: Place, filter: &RouteFilter) -> Result<Vec<Route>, NetError> {
        self.stack(place).routes(filter)
    }

    fn add_route(&mut self, place: Place, route: &Route) -> Result<(), NetError> {
        self.stack(place).add_route(route)
    }

    fn remove_route(&mut self, place: Place, route: &Route) -> Result<(), NetError> {
        self.stack(place).remove_route(route)
    }

    fn neighbours(&mut self, place: Place, link: &str) -> Result<Vec<Neighbour>, NetError> {
        self.stack(place).find(link).map(|it| it.neighbours.clone())
    }

    fn set_neighbour(&mut self, place: Place, link: &str, neighbour: &Neighbour) -> Result<(), NetError> {
        let link = self.stack(place).find_mut(link)?;
        link.neighbours.retain(|it| it.address != neighbour.address);
        link.neighbours.push(Neighbour { keep: false, ..neighbour.clone() });
        Ok(())
    }

    fn remove_neighbour(&mut self, place: Place, link: &str, address: IpAddr) -> Result<(), NetError> {
        let found = self.stack(place).find_mut(link)?;
        let before = found.neighbours.len();
        found.neighbours.retain(|it| it.address != address);
        if found.neighbours.len() < before {
            return Ok(());
        }
        Err(NetError::NotFound(format!("neighbour {address} of link {link:?}: there is none")))
    }

    fn announce(&mut self, place: Place, link: &str, address: IpAddr) -> Result<(), NetError> {
        let name = self.stack(place).find(link)?.link.name.clone();
        self.announced.push((place, name, address));
        Ok(())
    }

    fn features(&mut self, place: Place, link: &str) -> Result<BTreeMap<String, bool>, NetError> {
        self.stack(place).find(link).map(|it| it.features.clone())
    }

    fn set_feature(&mut self, place: Place, link: &str, feature: &str, on: bool) -> Result<(), NetError> {
        let found = self.stack(place).find_mut(link)?;
        let what = format!("feature {feature:?} of link {link:?}");
        match found.features.get_mut(feature) {
            Some(is) if *is == on => Ok(()),
            Some(_) if feature.starts_with("rx-vlan") => {
                Err(NetError::Unsupported(format!("{what}: it cannot be switched")))
            }
            Some(is) => {
                *is = on;
                Ok(())
            }
            None => Err(NetError::NotFound(format!("{what}: there is none"))),
        }
    }

    fn sysctl(&mut self, place: Place, key: &str) -> Result<String, NetError> {
        self.stack(place).sysctl(key)
    }

    fn set_sysctl(&mut self, place: Place, key: &str, value: &str) -> Result<(), NetError> {
        self.stack(place).set_sysctl(key, value)
    }

    fn set_rules(&mut self, place: Place, table: &str, rules: &Ruleset) -> Result<(), NetError> {
        self.stack(place).rules.insert(table.to_owned(), rules.clone());
        Ok(())
    }

    fn remove_rules(&mut self, place: Place, table: &str, family: Family) -> Result<(), NetError> {
        let rules = &mut self.stack(place).rules;
        if rules.get(table).is_some_and(|it| it.family == family) {
            rules.remove(table);
            return Ok(());
        }
        Err(NetError::NotFound(format!("nftables' table {table:?}: there is none")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LinkKind, PeerSpec, TapMode};

    const HOST: Place = Place::Host;
    const CONTAINER: Place = Place::Container;

    fn spec(json: &str) -> LinkSpec {
        serde_json::from_str(json).unwrap()
    }

    /// A bridge, and a pair with one end at it.
    fn wired() -> Model {
        let mut model = Model::new();
        model.create_link(HOST, &spec(r#"{"name":"br0","kind":{"bridge":{}},"up":true}"#), "").unwrap();
        let veth = r#"{"name":"veth1","kind":{"veth":{"peer":{"name":"eth0","place":"container","up":true}}},"mtu":1400,"master":"br0","up":true}"#;
        model.create_link(HOST, &spec(veth), "m").unwrap();
        model
    }

    fn address(text: &str) -> Address {
        text.parse::<Cidr>().unwrap().into()
    }

    fn route(text: &str) -> Route {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_veth_has_two_ends_that_go_together() {
        let mut model = wired();
        let (out, inside) = (model.link(HOST, "veth1").unwrap(), model.link(CONTAINER, "m").unwrap());
        assert_eq!((inside.name.as_str(), inside.mtu, inside.parent_index), ("eth0", 1400, Some(out.index)));
        assert_eq!((out.master.as_deref(), out.running), (Some("br0"), true));
        assert_ne!(out.mac, inside.mac);
        model.delete_link(CONTAINER, "eth0").unwrap();
        assert!(matches!(model.link(HOST, "veth1"), Err(NetError::NotFound(_))));
    }

    #[test]
    fn what_cannot_be_is_refused_as_the_kernel_would() {
        let mut model = wired();
        let before = model.clone();
        let mut code = |json: &str| model.create_link(HOST, &spec(json), "").unwrap_err().code();
        assert_eq!(code(r#"{"name":"br0","kind":"dummy"}"#), "exists");
        assert_eq!(code(r#"{"name":"m","kind":"dummy"}"#), "exists");
        assert_eq!(code(r#"{"name":"x","kind":"dummy","master":"no"}"#), "not-found");
        assert_eq!(code(r#"{"name":"x","kind":{"macvlan":{"parent":"no"}}}"#), "not-found");
        assert_eq!(code(r#"{"name":"x","kind":"dummy","mac":"01:00:00:00:00:01"}"#), "errno");
        assert_eq!(code(r#"{"name":"x","kind":"dummy","mtu":7}"#), "errno");
        assert_eq!(code(r#"{"name":"a b","kind":"dummy"}"#), "invalid");
        let taken = r#"{"name":"x","kind":{"veth":{"peer":{"name":"eth0","place":"container"}}}}"#;
        assert_eq!(code(taken), "exists");
        assert_eq!(model, before);
        assert_eq!(model.delete_link(HOST, "lo").unwrap_err().errno(), 95);
    }

    #[test]
    fn addresses_bring_their_network_and_routes_need_a_way() {
        let mut model = wired();
        model.add_address(CONTAINER, "eth0", &address("10.1.0.2/24")).unwrap();
        assert_eq!(
            model.add_address(CONTAINER, "eth0", &address("10.1.0.2/24")).unwrap_err().code(),
            "exists"
        );
        let all = RouteFilter::default();
        let connected = model.routes(CONTAINER, &all).unwrap();
        assert_eq!(connected[0].dst.to_string(), "10.1.0.0/24");
        let default = route(r#"{"dst":"0.0.0.0/0","gw":"10.1.0.1"}"#);
        model.add_route(CONTAINER, &default).unwrap();
        assert_eq!(model.routes(CONTAINER, &all).unwrap()[1].dev.as_deref(), Some("eth0"));
        assert_eq!(model.add_route(CONTAINER, &default).unwrap_err().code(), "exists");
        let no_way = route(r#"{"dst":"192.0.2.0/24","gw":"10.9.0.1"}"#);
        assert_eq!(model.add_route(CONTAINER, &no_way).unwrap_err().errno(), 101);
        model.remove_address(CONTAINER, "eth0", "10.1.0.2/24".parse().unwrap()).unwrap();
        assert_eq!(model.routes(CONTAINER, &all).unwrap(), []);
    }

    #[test]
    fn a_tap_is_a_link_with_a_file() {
        let mut model = Model::new();
        let tap: TapSpec = serde_json::from_str(r#"{"name":"tap0","owner":7,"multiQueue":true}"#).unwrap();
        let link = model.create_tap(CONTAINER, &tap, "").unwrap();
        assert_eq!((link.kind.as_str(), link.tun.unwrap().owner), ("tun", Some(7)));
        let tun =
            TapSpec { name: "tun0".into(), mode: TapMode::Tun, mac: "02:00:00:00:00:01".parse().ok(), ..tap };
        assert_eq!(model.create_tap(CONTAINER, &tun, "").unwrap_err().code(), "invalid");
    }

    #[test]
    fn settings_come_and_go_with_their_links() {
        let mut model = wired();
        let key = "net/ipv4/conf/eth0/arp_notify";
        assert_eq!(model.sysctl(CONTAINER, key).unwrap(), "0");
        model.set_sysctl(CONTAINER, key, "1").unwrap();
        assert_eq!(model.sysctl(CONTAINER, key).unwrap(), "1");
        assert_eq!(model.sysctl(HOST, key).unwrap_err().code(), "not-found");
        assert_eq!(model.sysctl(HOST, "kernel/hostname").unwrap_err().code(), "invalid");
        model.delete_link(HOST, "veth1").unwrap();
        assert_eq!(model.sysctl(CONTAINER, key).unwrap_err().code(), "not-found");
    }

    #[test]
    fn a_model_is_written_down_and_read_again() {
        let written =
            r#"{"host":{"links":[{"name":"lo"},{"name":"eth0","up":true,"addresses":["192.0.2.5/24"]}]}}"#;
        let mut model: Model = serde_json::from_str(written).unwrap();
        let mut copy = Model::copy_of(&mut model).unwrap();
        assert_eq!(copy.addresses(HOST, "eth0").unwrap()[0].address.to_string(), "192.0.2.5/24");
        assert_eq!(copy.link(HOST, "eth0").unwrap().mtu, 1500);
        let again: Model = serde_json::from_str(&serde_json::to_string(&wired()).unwrap()).unwrap();
        assert_eq!((again.host.links, again.host.sysctls), (wired().host.links, wired().host.sysctls));
        assert!(serde_json::from_str::<Model>(r#"{"hosts":{}}"#).is_err());
    }

    #[test]
    fn a_difference_is_told_in_words() {
        let before = Model::new();
        let mut model = wired();
        model.add_address(CONTAINER, "eth0", &address("10.1.0.2/24")).unwrap();
        model.add_route(CONTAINER, &route(r#"{"dst":"0.0.0.0/0","gw":"10.1.0.1"}"#)).unwrap();
        model.set_sysctl(HOST, "net/ipv4/ip_forward", "1").unwrap();
        assert_eq!(
            model.difference(&before),
            [
                "container: + link eth0 (veth) mtu 1400 up",
                "container: + address 10.1.0.2/24 on eth0",
                "container: + route to 0.0.0.0/0 via 10.1.0.1 by eth0",
                "host: + link br0 (bridge) mtu 1400 up",
                "host: + link veth1 (veth) mtu 1400 up, port of br0",
                "host: ~ sysctl net/ipv4/ip_forward 0 -> 1",
            ]
        );
    }

    #[test]
    fn a_link_moves_and_leaves_its_addresses() {
        let mut model = Model::new();
        let peer = PeerSpec { name: "b".into(), place: HOST, mac: None, up: false };
        let veth =
            LinkSpec { kind: LinkKind::Veth { peer }, ..spec(r#"{"name":"a","kind":"ifb","up":true}"#) };
        model.create_link(HOST, &veth, "").unwrap();
        model.add_address(HOST, "a", &address("10.1.0.1/24")).unwrap();
        let moved = model.move_link(HOST, "a", CONTAINER, Some("eth0")).unwrap();
        assert_eq!((moved.name.as_str(), moved.up), ("eth0", false));
        assert_eq!(model.addresses(CONTAINER, "eth0").unwrap(), []);
        model.delete_link(HOST, "b").unwrap();
        assert_eq!(model.links(CONTAINER).unwrap().len(), 1);
    }

    #[test]
    fn leases_are_given_in_turn_and_taken_back() {
        let mut model = Model::new();
        let config = r#"{"name":"n","ipam":{"type":"host-local","subnet":"10.1.0.0/30"}}"#;
        let given = model.allocate(config, &[], "c1", "eth0").unwrap();
        assert_eq!(given[0].0.to_string(), "10.1.0.2/30");
        assert_eq!(model.allocate(config, &[], "c2", "eth0").unwrap_err().code(), "exists");
        assert_eq!(model.release("c1", "eth0"), 1);
        assert!(model.allocate(config, &[], "c2", "eth0").is_ok());
        assert_eq!(model.held("c2", "eth0"), ["10.1.0.2".parse::<IpAddr>().unwrap()]);
    }
}
