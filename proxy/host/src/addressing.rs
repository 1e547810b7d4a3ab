//! What a CNI result says of a link, done to it: addresses, up, routes.

use crate::link::{give_address, make_route};
use crate::{Failure, Undo, Visit};
use serde::Deserialize;
use std::net::IpAddr;
use wasmhook_cni::{CniResult, Ip};
use wasmhook_net_types::{Address, Cidr, Link, LinkChange, Place, Plan, Route};

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
    let is = visit.network(|network| network.link(place, link))?;
    let addresses = addresses(result, link)?;
    let plan = Plan {
        settings: settings(place, link, &addresses, options),
        routes: routes(result, link, &addresses)?,
        addresses: addresses
            .iter()
            .map(|(cidr, _)| Address { no_dad: !options.dad, ..Address::from(*cidr) })
            .collect(),
    };
    if visit.has_made(&is) {
        // It goes as a whole, with all that is on it.
        return visit.effect(None, |network| network.configure(place, link, &plan));
    }
    for (key, value) in &plan.settings {
        set(visit, place, key, value)?;
    }
    up(visit, place, &is)?;
    for address in &plan.addresses {
        give_address(visit, place, link, address)?;
    }
    plan.routes.iter().try_for_each(|route| make_route(visit, place, route))
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

fn up(visit: &Visit, place: Place, link: &Link) -> Result<(), Failure> {
    if link.up {
        return Ok(());
    }
    let change = LinkChange { up: Some(true), ..LinkChange::default() };
    let was = LinkChange { up: Some(false), ..LinkChange::default() };
    let undo = Undo::Change { place, name: link.name.clone(), index: link.index, was };
    visit.effect(Some(&undo), |network| network.update_link(place, &link.name, &change)).map(drop)
}

/// A setting that comes back. One that this kernel does not have need not be set.
fn set(visit: &Visit, place: Place, key: &str, value: &str) -> Result<(), Failure> {
    let was = match visit.network(|network| network.sysctl(place, key)) {
        Ok(was) if was == value => return Ok(()),
        Err(failure) if failure.code == "not-found" => return Ok(()),
        was => was?,
    };
    let undo = Undo::Sysctl { place, key: key.to_owned(), was, is: value.to_owned() };
    visit.effect(Some(&undo), |network| network.set_sysctl(place, key, value))
}

/// Settings of a container's link.
fn settings(
    place: Place,
    link: &str,
    addresses: &[(Cidr, Option<IpAddr>)],
    options: Options,
) -> Vec<(String, String)> {
    if place == Place::Host {
        return Vec::new();
    }
    let has = |v4: bool| addresses.iter().any(|(cidr, _)| cidr.address.is_ipv4() == v4);
    let wanted = [
        (has(false), "ipv6", "disable_ipv6", "0"),
        (has(true) && options.announce, "ipv4", "arp_notify", "1"),
        (has(false) && options.announce, "ipv6", "ndisc_notify", "1"),
    ];
    let wanted = wanted.into_iter().filter(|(is_wanted, ..)| *is_wanted);
    let setting = |(_, family, name, value): (bool, &str, &str, &str)| {
        (format!("net/{family}/conf/{link}/{name}"), value.to_owned())
    };
    wanted.map(setting).collect()
}
