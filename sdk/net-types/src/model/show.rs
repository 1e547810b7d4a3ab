//! What has become of a network, in words.

use super::Model;
use super::stack::{Stack, Station};
use crate::{Place, Route};

impl Model {
    /// What is different about it, one line each: `container: + link eth0 (veth) mtu 1500 up`.
    #[must_use]
    pub fn difference(&self, before: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (place, was, is) in
            [(Place::Container, &before.container, &self.container), (Place::Host, &before.host, &self.host)]
        {
            for line in difference(was, is) {
                lines.push(format!("{place}: {line}"));
            }
        }
        for lease in self.leases.iter().filter(|it| !before.leases.contains(it)) {
            lines.push(format!("+ lease {} for {} of {}", lease.address, lease.ifname, lease.id));
        }
        for lease in before.leases.iter().filter(|it| !self.leases.contains(it)) {
            lines.push(format!("- lease {} for {} of {}", lease.address, lease.ifname, lease.id));
        }
        lines
    }
}

fn difference(was: &Stack, is: &Stack) -> Vec<String> {
    let mut lines = Vec::new();
    let same = |one: &Station, other: &Station| one.link.index == other.link.index;
    for link in &is.links {
        match was.links.iter().find(|it| same(it, link)) {
            None => lines.push(format!("+ link {}", words(link))),
            Some(before) if words(before) != words(link) => {
                lines.push(format!("~ link {} -> {}", words(before), words(link)));
            }
            Some(_) => {}
        }
    }
    let gone = was.links.iter().filter(|link| !is.links.iter().any(|it| same(it, link)));
    lines.extend(gone.map(|link| format!("- link {}", words(link))));
    let addresses = |stack: &Stack| -> Vec<String> {
        let of = |it: &Station| -> Vec<String> {
            it.addresses.iter().map(|at| format!("address {} on {}", at.address, it.link.name)).collect()
        };
        stack.links.iter().flat_map(of).collect()
    };
    lists(&mut lines, &addresses(was), &addresses(is));
    // Those that come with an address say nothing new.
    let said = |stack: &Stack| -> Vec<String> {
        stack.routes.iter().filter(|it| it.src.is_none() && it.priority != Some(256)).map(route).collect()
    };
    lists(&mut lines, &said(was), &said(is));
    for (key, value) in &is.sysctls {
        match was.sysctls.get(key) {
            Some(before) if before != value => lines.push(format!("~ sysctl {key} {before} -> {value}")),
            // Those of a new link are the kernel's.
            _ => {}
        }
    }
    let rules =
        |stack: &Stack| -> Vec<String> { stack.rules.keys().map(|it| format!("nft table {it}")).collect() };
    lists(&mut lines, &rules(was), &rules(is));
    lines
}

fn lists(lines: &mut Vec<String>, was: &[String], is: &[String]) {
    lines.extend(is.iter().filter(|it| !was.contains(it)).map(|it| format!("+ {it}")));
    lines.extend(was.iter().filter(|it| !is.contains(it)).map(|it| format!("- {it}")));
}

fn words(station: &Station) -> String {
    let link = &station.link;
    let kind = if link.kind.is_empty() { "hardware" } else { &link.kind };
    let up = if link.up { "up" } else { "down" };
    let port = link.master.as_ref().map(|bridge| format!(", port of {bridge}")).unwrap_or_default();
    format!("{} ({kind}) mtu {} {up}{port}", link.name, link.mtu)
}

fn route(route: &Route) -> String {
    let via = route.gw.map(|gw| format!(" via {gw}")).unwrap_or_default();
    let dev = route.dev.as_ref().map(|dev| format!(" by {dev}")).unwrap_or_default();
    format!("route to {}{via}{dev}", route.dst)
}
