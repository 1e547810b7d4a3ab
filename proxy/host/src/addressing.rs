//! What a CNI result says of a link, done to it: addresses, up, routes.

use crate::link::{give_address, make_route};
use crate::{Failure, Undo, Visit};
use serde::Deserialize;
use std::net::IpAddr;
use wasmhook_cni::{CniResult, Ip};
use wasmhook_net_types::{Address, Cidr, LinkChange, NetError, Place, Route};

/// How it is done.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Options {
    /// The kernel tells the neighbours whenever the link comes up.
    announce: bool,
    /// IPv6: ask first whether somebody else has the address, which takes a second. A pool knows.
    dad: bool,
}

/// Gives a link everything that is said of it.
pub(crate) fn apply(
    visit: &Visit,
    place: Place,
    link: &str,
    result: &CniResult,
    options: Options,
) -> Result<(), Failure> {
    let addresses = addresses(result, link)?;
    settings(visit, place, link, &addresses, options)?;
    up(visit, place, link)?;
    for (cidr, _) in &addresses {
        let address = Address { no_dad: !options.dad, ..Address::from(*cidr) };
        give_address(visit, place, link, &address)?;
    }
    for route in routes(result, link, &addresses)? {
        make_route(visit, place, &route)?;
    }
    Ok(())
}

/// The addresses that are this link's, with their gateways.
fn addresses(result: &CniResult, link: &str) -> Result<Vec<(Cidr, Option<IpAddr>)>, Failure> {
    let is_here = |ip: &&Ip| {
        let Some(index) = ip.interface else { return true };
        let interface = result.interfaces.iter().flatten().nth(index as usize);
        interface.is_some_and(|interface| interface.name == link)
    };
    let read = |ip: &Ip| {
        let gateway = ip.gateway.as_deref().filter(|it| !it.is_empty());
        Ok((ip.address.parse().map_err(invalid)?, gateway.map(str::parse).transpose().map_err(invalid)?))
    };
    result.ips.iter().flatten().filter(is_here).map(read).collect()
}

/// A route without a next hop has the gateway of its family, as the specification has it.
fn routes(
    result: &CniResult,
    link: &str,
    addresses: &[(Cidr, Option<IpAddr>)],
) -> Result<Vec<Route>, Failure> {
    let gateway = |v4: bool| addresses.iter().filter_map(|(_, gw)| *gw).find(|gw| gw.is_ipv4() == v4);
    let read = |route: &wasmhook_cni::Route| {
        let dst: Cidr = route.dst.parse().map_err(invalid)?;
        let gw =
            route.gw.as_deref().filter(|it| !it.is_empty()).map(str::parse).transpose().map_err(invalid)?;
        let scope = route.scope.map(u8::try_from).transpose().map_err(invalid)?;
        // A route that ends on the link has no next hop.
        let on_link = scope == Some(253);
        Ok(Route {
            gw: gw.or_else(|| gateway(dst.address.is_ipv4()).filter(|_| !on_link)),
            dev: Some(link.to_owned()),
            mtu: route.mtu,
            advmss: route.advmss,
            priority: route.priority,
            table: route.table,
            scope,
            ..Route::to(dst.network())
        })
    };
    result.routes.iter().flatten().map(read).collect()
}

fn invalid(error: impl std::fmt::Display) -> Failure {
    Failure::new("invalid", format!("the result: {error}"))
}

fn up(visit: &Visit, place: Place, name: &str) -> Result<(), Failure> {
    let link = visit.network(|network| network.link(place, name))?;
    if link.up {
        return Ok(());
    }
    let change = LinkChange { up: Some(true), ..LinkChange::default() };
    let was = LinkChange { up: Some(false), ..LinkChange::default() };
    let undo = Undo::Change { place, name: link.name.clone(), index: link.index, was };
    let undo = (!visit.has_made(&link)).then_some(&undo);
    visit.effect(undo, |network| network.update_link(place, name, &change)).map(drop)
}

/// Settings of a container's link, which go with it.
fn settings(
    visit: &Visit,
    place: Place,
    link: &str,
    addresses: &[(Cidr, Option<IpAddr>)],
    options: Options,
) -> Result<(), Failure> {
    if place == Place::Host {
        return Ok(());
    }
    let has = |v4: bool| addresses.iter().any(|(cidr, _)| cidr.address.is_ipv4() == v4);
    let wanted = [
        (has(false), "ipv6", "disable_ipv6", "0"),
        (has(true) && options.announce, "ipv4", "arp_notify", "1"),
        (has(false) && options.announce, "ipv6", "ndisc_notify", "1"),
    ];
    for (_, family, name, value) in wanted.into_iter().filter(|(is_wanted, ..)| *is_wanted) {
        let key = format!("net/{family}/conf/{link}/{name}");
        visit.network(|network| match network.sysctl(place, &key) {
            Ok(was) if was != value => network.set_sysctl(place, &key, value),
            // A node without IPv6.
            Ok(_) | Err(NetError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        })?;
    }
    Ok(())
}
