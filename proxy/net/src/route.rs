//! Routes.

use crate::address::{family, octets, read_address};
use crate::message::{Message, attribute, attributes, read_u32};
use crate::netlink::Refused;
use crate::stack::{Stack, about, refused};
use libc::{RTA_DST, RTA_GATEWAY, RTA_METRICS, RTA_OIF, RTA_PREFSRC, RTA_PRIORITY, RTA_TABLE};
use nix::errno::Errno;
use std::net::IpAddr;
use wasmhook_net_types::{Cidr, NetError, Route, RouteFilter, RouteKind};

const METRIC_MTU: u16 = 2;
const METRIC_ADVMSS: u16 = 8;
const MAIN: u32 = libc::RT_TABLE_MAIN as u32;
const LINK: u8 = libc::RT_SCOPE_LINK;
const UNIVERSE: u8 = libc::RT_SCOPE_UNIVERSE;
const ANY: u8 = libc::RT_SCOPE_NOWHERE;
/// `RTNH_F_ONLINK`, <linux/rtnetlink.h>.
const ON_LINK: u32 = 4;
/// `RTM_F_CLONED`, <linux/rtnetlink.h>: what the kernel has learnt for one destination.
const CLONED: u32 = 0x200;

/// `struct rtmsg`, with the table as an attribute.
struct Header {
    family: i32,
    prefix: u8,
    protocol: u8,
    scope: u8,
    kind: u8,
    flags: u32,
}

impl Header {
    fn bytes(&self) -> [u8; 12] {
        let mut bytes =
            [self.family as u8, self.prefix, 0, 0, 0, self.protocol, self.scope, self.kind, 0, 0, 0, 0];
        bytes[8..].copy_from_slice(&self.flags.to_ne_bytes());
        bytes
    }
}

fn number(kind: RouteKind) -> u8 {
    match kind {
        RouteKind::Unicast => libc::RTN_UNICAST,
        RouteKind::Blackhole => libc::RTN_BLACKHOLE,
        RouteKind::Unreachable => libc::RTN_UNREACHABLE,
        RouteKind::Prohibit => libc::RTN_PROHIBIT,
    }
}

impl Stack {
    /// Those that fit, without the kernel's own.
    pub(crate) fn routes(&mut self, filter: &RouteFilter) -> Result<Vec<Route>, NetError> {
        let dev = filter.dev.as_deref().map(|dev| self.index(dev)).transpose()?;
        let table = filter.table.unwrap_or(MAIN);
        let mut found = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let ask = || {
                let header = Header { family, prefix: 0, protocol: 0, scope: 0, kind: 0, flags: 0 };
                let mut message = Message::new(libc::RTM_GETROUTE, 0, &header.bytes());
                message.put_u32(RTA_TABLE, table);
                if let Some(dev) = dev {
                    message.put_u32(RTA_OIF, dev);
                }
                message
            };
            match self.route()?.dump(ask, |reply| read(reply.body)) {
                Ok(some) => found.extend(some),
                // A table that nobody has made holds none; neither does a family that the kernel lacks.
                Err(error)
                    if matches!(error.errno, Errno::ENOENT | Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP) => {}
                Err(error) => return Err(refused("routes", error)),
            }
        }
        let fits = |(route, oif): &(Route, Option<u32>)| {
            route.table.unwrap_or(MAIN) == table
                && filter.dst.is_none_or(|dst| dst.network() == route.dst)
                && (dev.is_none() || *oif == dev)
        };
        let mut routes = Vec::new();
        for (route, oif) in found.into_iter().filter(fits) {
            let dev = match (&filter.dev, oif) {
                (Some(dev), _) => Some(dev.clone()),
                (None, Some(oif)) => self.name_of(oif)?,
                (None, None) => None,
            };
            routes.push(Route { dev, ..route });
        }
        Ok(routes)
    }

    pub(crate) fn add_route(&mut self, route: &Route) -> Result<(), NetError> {
        let dev = route.dev.as_deref().map(|dev| self.index(dev)).transpose()?;
        self.route()?.request(added(route, dev)).map_err(|error| not_added(route, error))
    }

    /// The first that has everything that is said of it.
    pub(crate) fn remove_route(&mut self, route: &Route) -> Result<(), NetError> {
        let dev = route.dev.as_deref().map(|dev| self.index(dev)).transpose()?;
        let message = message(libc::RTM_DELROUTE, 0, (0, route.scope.unwrap_or(ANY)), route, dev);
        self.route()?.request(message).map_err(|error| about(&what(route), error))
    }
}

/// A new route, through the link of this index.
pub(crate) fn added(route: &Route, dev: Option<u32>) -> Message {
    let new = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    let scope = route.scope.unwrap_or(match (route.gw, route.dst.address) {
        (None, IpAddr::V4(_)) if route.kind == RouteKind::Unicast => LINK,
        _ => UNIVERSE,
    });
    message(libc::RTM_NEWROUTE, new, (libc::RTPROT_BOOT, scope), route, dev)
}

pub(crate) fn not_added(route: &Route, error: Refused) -> NetError {
    match error.errno {
        // The others are about the next hop.
        Errno::EEXIST => about(&what(route), error),
        _ => refused(what(route), error),
    }
}

fn message(kind: u16, flags: i32, (protocol, scope): (u8, u8), route: &Route, dev: Option<u32>) -> Message {
    let dst = route.dst.network();
    let header = Header {
        family: family(dst.address),
        prefix: dst.prefix,
        protocol,
        scope,
        kind: number(route.kind),
        flags: if route.on_link { ON_LINK } else { 0 },
    };
    let mut message = Message::new(kind, flags, &header.bytes());
    if !dst.is_default() {
        message.put(RTA_DST, &octets(dst.address));
    }
    if let Some(gw) = route.gw {
        message.put(RTA_GATEWAY, &octets(gw));
    }
    if let Some(dev) = dev {
        message.put_u32(RTA_OIF, dev);
    }
    if let Some(src) = route.src {
        message.put(RTA_PREFSRC, &octets(src));
    }
    if let Some(priority) = route.priority {
        message.put_u32(RTA_PRIORITY, priority);
    }
    message.put_u32(RTA_TABLE, route.table.unwrap_or(MAIN));
    if route.mtu.is_some() || route.advmss.is_some() {
        message.nest(RTA_METRICS, |metrics| {
            for (kind, value) in [(METRIC_MTU, route.mtu), (METRIC_ADVMSS, route.advmss)] {
                if let Some(value) = value {
                    metrics.put_u32(kind, value);
                }
            }
        });
    }
    message
}

fn what(route: &Route) -> String {
    let via = route.gw.map(|gw| format!(" via {gw}")).unwrap_or_default();
    let dev = route.dev.as_deref().map(|dev| format!(" by link {dev:?}")).unwrap_or_default();
    format!("route to {}{via}{dev}", route.dst)
}

/// `None`: one that is none of those that are made here.
fn read(body: &[u8]) -> Option<(Route, Option<u32>)> {
    let (family, prefix, table) = (i32::from(*body.first()?), *body.get(1)?, *body.get(4)?);
    let (scope, kind) = (*body.get(6)?, *body.get(7)?);
    let flags = read_u32(body.get(8..)?)?;
    let kinds = [RouteKind::Unicast, RouteKind::Blackhole, RouteKind::Unreachable, RouteKind::Prohibit];
    let kind = kinds.into_iter().find(|it| number(*it) == kind)?;
    if flags & CLONED != 0 {
        return None;
    }
    let rest = body.get(12..)?;
    let address = |kind: u16| attribute(rest, kind).and_then(read_address);
    let anywhere: IpAddr = if family == libc::AF_INET { [0; 4].into() } else { [0_u8; 16].into() };
    let (mut route, mut oif) =
        (Route::to(Cidr { address: address(RTA_DST).unwrap_or(anywhere), prefix }), None);
    route.gw = address(RTA_GATEWAY);
    route.src = address(RTA_PREFSRC);
    route.kind = kind;
    route.scope = Some(scope);
    route.on_link = flags & ON_LINK != 0;
    route.table = Some(table.into());
    for (kind, value) in attributes(rest) {
        match kind {
            RTA_TABLE => route.table = read_u32(value),
            RTA_PRIORITY => route.priority = read_u32(value),
            RTA_OIF => oif = read_u32(value),
            RTA_METRICS => {
                route.mtu = attribute(value, METRIC_MTU).and_then(read_u32);
                route.advmss = attribute(value, METRIC_ADVMSS).and_then(read_u32);
            }
            _ => {}
        }
    }
    route.table = route.table.filter(|table| *table != MAIN);
    Some((route, oif))
}
