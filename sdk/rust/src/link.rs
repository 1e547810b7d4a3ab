//! Links, addresses, routes and neighbours. Needs the grant `link`, or that of a place: `link:container`, `link:host`.
//!
//! What is made or changed here at ADD is taken back by the host when the ADD fails, at DEL and at GC; what has `keep` is not.
//!
//! ```
//! use wasmhook_sdk::link;
//! use wasmhook_sdk::net::{LinkSpec, Place, Route};
//! # fn main() -> wasmhook_sdk::Result<()> {
//! link::create(Place::Host, &LinkSpec::bridge("br0").up().keep())?;
//! link::create(Place::Host, &LinkSpec::veth("veth1", "eth0").master("br0").mtu(1400).up())?;
//! link::add_address(Place::Container, "eth0", &"10.1.0.2/24".parse::<wasmhook_sdk::net::Cidr>()?.into())?;
//! link::add_route(Place::Container, &Route::to("0.0.0.0/0".parse()?).via("10.1.0.1".parse::<std::net::IpAddr>()?))?;
//! # Ok(()) }
//! ```

use crate::HostError;
use std::collections::BTreeMap;
use std::net::IpAddr;
use wasmhook_net_types::{Address, Cidr, Link, LinkChange, LinkSpec, Neighbour, Place, Route, RouteFilter};

#[cfg(target_arch = "wasm32")]
use crate::bindings::wasmhook::host::link as host;
#[cfg(target_arch = "wasm32")]
use crate::host::{json, read};
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::network;
#[cfg(not(target_arch = "wasm32"))]
use wasmhook_net_types::Network as _;

type Result<T> = std::result::Result<T, HostError>;

/// On a node, the host does it; in a unit test, networks in memory do.
macro_rules! done {
    ($on_node:expr, $in_test:expr) => {{
        #[cfg(target_arch = "wasm32")]
        let done = $on_node;
        #[cfg(not(target_arch = "wasm32"))]
        let done = network($in_test);
        done
    }};
}

#[cfg(target_arch = "wasm32")]
pub(crate) fn of_info(info: host::Info) -> Result<Link> {
    /// What has no field of its own in the contract.
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Extra {
        #[serde(default)]
        running: bool,
        #[serde(default)]
        promiscuous: bool,
        #[serde(default)]
        tx_queue_length: u32,
        master: Option<String>,
        port: Option<wasmhook_net_types::Port>,
        parent_index: Option<u32>,
        peer: Option<Box<Link>>,
        #[serde(default)]
        alternative_names: Vec<String>,
        tun: Option<wasmhook_net_types::Tun>,
        vlan_filtering: Option<bool>,
    }
    let extra: Extra = read(&info.extra)?;
    Ok(Link {
        index: info.index,
        name: info.name,
        kind: info.kind,
        mac: info.mac,
        mtu: info.mtu,
        up: info.up,
        running: extra.running,
        promiscuous: extra.promiscuous,
        tx_queue_length: extra.tx_queue_length,
        master: extra.master,
        port: extra.port,
        parent_index: extra.parent_index,
        peer: extra.peer,
        alternative_names: extra.alternative_names,
        tun: extra.tun,
        vlan_filtering: extra.vlan_filtering,
    })
}

/// All links, by index.
pub fn all(place: Place) -> Result<Vec<Link>> {
    done!(host::all(place.as_str())?.into_iter().map(of_info).collect(), |it| it.links(place))
}

/// One link, by its name or an alternative one.
pub fn get(place: Place, name: &str) -> Result<Link> {
    done!(of_info(host::get(place.as_str(), name)?), |it| it.link(place, name))
}

/// One link, if it is there.
pub fn find(place: Place, name: &str) -> Result<Option<Link>> {
    match get(place, name) {
        Ok(link) => Ok(Some(link)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes a link. `exists` when the name is taken. Of a veth the other end is told as well (`peer`).
pub fn create(place: Place, spec: &LinkSpec) -> Result<Link> {
    done!(of_info(host::create(place.as_str(), &json(spec))?), |it| it.create_link(place, spec, ""))
}

/// Changes a link: all that is asked, or nothing.
pub fn update(place: Place, name: &str, change: &LinkChange) -> Result<Link> {
    done!(of_info(host::update(place.as_str(), name, &json(change))?), |it| it
        .update_link(place, name, change))
}

/// Takes a link away. One that this attachment has not made needs the grant `link:any`.
pub fn delete(place: Place, name: &str) -> Result<()> {
    done!(Ok(host::delete(place.as_str(), name)?), |it| it.delete_link(place, name))
}

/// Brings a link to the other place, where it is down. One that this attachment has not made needs the grant `link:any`.
pub fn move_to(from: Place, name: &str, to: Place, new_name: Option<&str>) -> Result<Link> {
    done!(of_info(host::move_to(from.as_str(), name, to.as_str(), new_name.unwrap_or_default())?), |it| it
        .move_link(from, name, to, new_name))
}

/// The addresses of a link.
pub fn addresses(place: Place, name: &str) -> Result<Vec<Address>> {
    done!(read(&host::addresses(place.as_str(), name)?), |it| it.addresses(place, name))
}

/// Gives a link an address.
pub fn add_address(place: Place, name: &str, address: &Address) -> Result<()> {
    done!(Ok(host::add_address(place.as_str(), name, &json(address))?), |it| it
        .add_address(place, name, address))
}

/// Takes an address from a link.
pub fn del_address(place: Place, name: &str, address: Cidr) -> Result<()> {
    done!(Ok(host::del_address(place.as_str(), name, &address.to_string())?), |it| it
        .remove_address(place, name, address))
}

/// The routes that fit.
pub fn routes(place: Place, filter: &RouteFilter) -> Result<Vec<Route>> {
    done!(read(&host::routes(place.as_str(), &json(filter))?), |it| it.routes(place, filter))
}

/// Makes a route.
pub fn add_route(place: Place, route: &Route) -> Result<()> {
    done!(Ok(host::add_route(place.as_str(), &json(route))?), |it| it.add_route(place, route))
}

/// Takes away the first route that has everything that is said of it.
pub fn del_route(place: Place, route: &Route) -> Result<()> {
    done!(Ok(host::del_route(place.as_str(), &json(route))?), |it| it.remove_route(place, route))
}

/// Who is where on a link.
pub fn neighbours(place: Place, name: &str) -> Result<Vec<Neighbour>> {
    done!(read(&host::neighbours(place.as_str(), name)?), |it| it.neighbours(place, name))
}

/// Says who is where on a link.
pub fn set_neighbour(place: Place, name: &str, neighbour: &Neighbour) -> Result<()> {
    done!(Ok(host::set_neighbour(place.as_str(), name, &json(neighbour))?), |it| it
        .set_neighbour(place, name, neighbour))
}

/// Forgets where an address is.
pub fn del_neighbour(place: Place, name: &str, address: IpAddr) -> Result<()> {
    done!(Ok(host::del_neighbour(place.as_str(), name, &address.to_string())?), |it| it
        .remove_neighbour(place, name, address))
}

/// Tells everybody on the link that this address is here.
pub fn announce(place: Place, name: &str, address: IpAddr) -> Result<()> {
    done!(Ok(host::announce(place.as_str(), name, &address.to_string())?), |it| it
        .announce(place, name, address))
}

/// What a link does by itself, by ethtool's names.
pub fn features(place: Place, name: &str) -> Result<BTreeMap<String, bool>> {
    done!(read(&host::features(place.as_str(), name)?), |it| it.features(place, name))
}

/// Switches such a feature.
pub fn set_feature(place: Place, name: &str, feature: &str, on: bool) -> Result<()> {
    done!(Ok(host::set_feature(place.as_str(), name, feature, on)?), |it| it
        .set_feature(place, name, feature, on))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_test_has_networks_of_its_own() {
        assert!(find(Place::Host, "br0").unwrap().is_none());
        create(Place::Host, &LinkSpec::bridge("br0").up()).unwrap();
        assert!(create(Place::Host, &LinkSpec::bridge("br0")).unwrap_err().is_exists());
        assert_eq!(all(Place::Host).unwrap().len(), 2);
        crate::testing::with(|network| *network = wasmhook_net_types::Model::new());
        assert!(find(Place::Host, "br0").unwrap().is_none());
    }
}
