//! Addresses and routes, and how they depend on each other.

use super::stack::Stack;
use crate::{Address, Cidr, NetError, Route, RouteFilter, RouteKind};

impl Stack {
    pub(super) fn add_address(&mut self, link: &str, address: &Address) -> Result<(), NetError> {
        let station = self.find_mut(link)?;
        if station.addresses.iter().any(|it| it.address == address.address) {
            let what = format!("address {} of link {link:?}", address.address);
            return Err(NetError::Exists(format!("{what}: it is there already")));
        }
        let address = Address { scope: Some(address.scope.unwrap_or(0)), keep: false, ..address.clone() };
        station.addresses.push(address);
        let name = station.link.name.clone();
        if let Some(place) = self.links.iter().position(|it| it.link.name == name) {
            self.connect(place);
        }
        Ok(())
    }

    pub(super) fn remove_address(&mut self, link: &str, address: Cidr) -> Result<(), NetError> {
        let station = self.find_mut(link)?;
        let before = station.addresses.len();
        station.addresses.retain(|it| it.address != address);
        if station.addresses.len() == before {
            return Err(NetError::NotFound(format!("address {address} of link {link:?}: there is none")));
        }
        let name = station.link.name.clone();
        let rest = station.addresses.clone();
        let reaches = |gw| rest.iter().any(|it| it.address.contains(gw));
        self.routes.retain(|it| {
            let through = it.dev.as_deref() == Some(&name);
            !through || it.src != Some(address.address) && it.gw.is_none_or(reaches)
        });
        Ok(())
    }

    /// The network of each address is on the link that has it, once it is up.
    pub(super) fn connect(&mut self, place: usize) {
        let station = &self.links[place];
        if !station.link.up || station.link.name == "lo" {
            return;
        }
        let name = station.link.name.clone();
        for address in station.addresses.clone() {
            let network = address.address.network();
            let alone = network.prefix == if network.address.is_ipv4() { 32 } else { 128 };
            let v4 = network.address.is_ipv4();
            let route = Route {
                dev: Some(name.clone()),
                src: v4.then_some(address.address.address),
                scope: Some(if v4 { 253 } else { 0 }),
                priority: (!v4).then_some(256),
                ..Route::to(network)
            };
            let is_there =
                self.routes.iter().any(|it| it.dst == network && it.dev == route.dev && it.gw.is_none());
            if !alone && !address.no_prefix_route && !is_there {
                self.routes.push(route);
            }
        }
    }

    pub(super) fn routes(&self, filter: &RouteFilter) -> Result<Vec<Route>, NetError> {
        if let Some(dev) = &filter.dev {
            self.find(dev)?;
        }
        let fits = |route: &&Route| {
            route.table == filter.table.filter(|it| *it != 254)
                && filter.dst.is_none_or(|dst| dst.network() == route.dst)
                && (filter.dev.is_none() || route.dev == filter.dev)
        };
        Ok(self.routes.iter().filter(fits).cloned().collect())
    }

    pub(super) fn add_route(&mut self, route: &Route) -> Result<(), NetError> {
        let what = format!("route to {}", route.dst);
        let refused = |errno: i32, words: &str| NetError::Kernel {
            doing: what.clone(),
            words: words.to_owned(),
            errno,
        };
        let dev = match (&route.dev, route.gw) {
            (Some(dev), _) => Some(self.find(dev)?),
            (None, Some(gw)) => {
                self.links.iter().find(|it| it.addresses.iter().any(|at| at.address.contains(gw)))
            }
            (None, None) => None,
        };
        if route.kind == RouteKind::Unicast {
            let Some(dev) = dev else { return Err(refused(101, "Network is unreachable")) };
            if !dev.link.up {
                return Err(refused(100, "Network is down"));
            }
            let on_link = |gw| {
                let direct = |it: &&Route| it.gw.is_none() && it.dev.as_ref() == Some(&dev.link.name);
                route.on_link || self.routes.iter().filter(direct).any(|it| it.dst.contains(gw))
            };
            if route.gw.is_some_and(|gw| !on_link(gw)) {
                return Err(refused(101, "Network is unreachable (Nexthop has invalid gateway)"));
            }
        }
        let scope = match (route.gw, route.dst.address.is_ipv4()) {
            (None, true) if route.kind == RouteKind::Unicast => 253,
            _ => 0,
        };
        let route = Route {
            dst: route.dst.network(),
            dev: dev.map(|it| it.link.name.clone()),
            scope: Some(route.scope.unwrap_or(scope)),
            table: route.table.filter(|it| *it != 254),
            keep: false,
            ..route.clone()
        };
        let same =
            |it: &&Route| it.dst == route.dst && it.table == route.table && it.priority == route.priority;
        if self.routes.iter().any(|it| same(&it)) {
            return Err(NetError::Exists(format!("{what}: it is there already")));
        }
        self.routes.push(route);
        Ok(())
    }

    pub(super) fn remove_route(&mut self, route: &Route) -> Result<(), NetError> {
        fn said<T: PartialEq>(of: Option<&T>, is: Option<&T>) -> bool {
            of.is_none() || of == is
        }
        let fits = |it: &Route| {
            it.dst == route.dst.network()
                && it.kind == route.kind
                && it.table == route.table.filter(|table| *table != 254)
                && said(route.gw.as_ref(), it.gw.as_ref())
                && said(route.dev.as_ref(), it.dev.as_ref())
                && said(route.priority.as_ref(), it.priority.as_ref())
        };
        let none = || NetError::NotFound(format!("route to {}: there is none", route.dst));
        let place = self.routes.iter().position(fits).ok_or_else(none)?;
        self.routes.remove(place);
        Ok(())
    }
}
