//! Addresses of links, and who is where on them.

use crate::message::{Message, attribute, attributes, read_u32};
use crate::stack::{Stack, about, refused};
use crate::{change, route, sysctl};
use std::net::IpAddr;
use wasmhook_net_types::{Address, Cidr, Mac, Neighbour, NetError, Plan};

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const NO_DAD: u32 = 0x02;
const NO_PREFIX_ROUTE: u32 = 0x200;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDA_IFINDEX: u16 = 8;
const PERMANENT: u16 = 0x80;
const REACHABLE: u16 = 0x02;
/// States in which the kernel knows where somebody is: not incomplete, failed, or one that needs no knowing.
const KNOWN: u16 = 0x80 | 0x02 | 0x04 | 0x08 | 0x10;

/// Its bytes, as they are on the wire.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

pub(crate) fn read_address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(*bytes.first_chunk::<4>()?)),
        16 => Some(IpAddr::from(*bytes.first_chunk::<16>()?)),
        _ => None,
    }
}

pub(crate) fn family(address: IpAddr) -> i32 {
    if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }
}

/// `struct ifaddrmsg`: family, length of the prefix, flags, scope, index.
fn header(family: i32, prefix: u8, scope: u8, index: u32) -> [u8; 8] {
    let mut bytes = [family as u8, prefix, 0, scope, 0, 0, 0, 0];
    bytes[4..].copy_from_slice(&index.to_ne_bytes());
    bytes
}

impl Stack {
    pub(crate) fn addresses(&mut self, link: &str) -> Result<Vec<Address>, NetError> {
        let index = self.index(link)?;
        let ask = || Message::new(libc::RTM_GETADDR, 0, &header(libc::AF_UNSPEC, 0, 0, index));
        let found = self.route()?.dump(ask, |reply| read(reply.body).filter(|(of, _)| *of == index));
        let found = found.map_err(|error| refused(format!("addresses of link {link:?}"), error))?;
        Ok(found.into_iter().map(|(_, address)| address).collect())
    }

    pub(crate) fn add_address(&mut self, link: &str, address: &Address) -> Result<(), NetError> {
        let message = added(self.index(link)?, address);
        self.route()?.request(message).map_err(|error| about(&what(link, address.address), error))
    }

    /// Settings, up, addresses and routes of a link, with as few words as can be.
    pub(crate) fn configure(&mut self, link: &str, plan: &Plan) -> Result<(), NetError> {
        self.enter()?;
        for (key, value) in &plan.settings {
            match sysctl::write(key, value) {
                Err(NetError::NotFound(_)) => {}
                written => written?,
            }
        }
        let index = self.index(link)?;
        let mut messages = vec![change::up(index)];
        messages.extend(plan.addresses.iter().map(|address| added(index, address)));
        for route in &plan.routes {
            let dev = match route.dev.as_deref() {
                Some(dev) if dev != link => Some(self.index(dev)?),
                Some(_) => Some(index),
                None => None,
            };
            messages.push(route::added(route, dev));
        }
        self.route()?.batch(messages).map_err(|(place, error)| match place.checked_sub(1) {
            None => about(&format!("link {link:?}"), error),
            Some(place) => match plan.addresses.get(place) {
                Some(address) => about(&what(link, address.address), error),
                None => route::not_added(&plan.routes[place - plan.addresses.len()], error),
            },
        })
    }

    pub(crate) fn remove_address(&mut self, link: &str, address: Cidr) -> Result<(), NetError> {
        let index = self.index(link)?;
        let Cidr { address: local, prefix } = address;
        let mut message = Message::new(libc::RTM_DELADDR, 0, &header(family(local), prefix, 0, index));
        message.put(IFA_LOCAL, &octets(local));
        self.route()?.request(message).map_err(|error| about(&what(link, address), error))
    }

    pub(crate) fn neighbours(&mut self, link: &str) -> Result<Vec<Neighbour>, NetError> {
        let index = self.index(link)?;
        let ask = || {
            let mut message = Message::new(libc::RTM_GETNEIGH, 0, &neighbour_header(libc::AF_UNSPEC, 0, 0));
            message.put_u32(NDA_IFINDEX, index);
            message
        };
        let found = self.route()?.dump(ask, |reply| {
            read_neighbour(reply.body).filter(|(of, _)| *of == index).map(|(_, neighbour)| neighbour)
        });
        found.map_err(|error| refused(format!("neighbours of link {link:?}"), error))
    }

    pub(crate) fn set_neighbour(&mut self, link: &str, neighbour: &Neighbour) -> Result<(), NetError> {
        let index = self.index(link)?;
        let state = if neighbour.permanent { PERMANENT } else { REACHABLE };
        let replace = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
        let header = neighbour_header(family(neighbour.address), index, state);
        let mut message = Message::new(libc::RTM_NEWNEIGH, replace, &header);
        message.put(NDA_DST, &octets(neighbour.address)).put(NDA_LLADDR, &neighbour.mac.0);
        let what = format!("neighbour {} of link {link:?}", neighbour.address);
        self.route()?.request(message).map_err(|error| about(&what, error))
    }

    pub(crate) fn remove_neighbour(&mut self, link: &str, address: IpAddr) -> Result<(), NetError> {
        let index = self.index(link)?;
        let mut message = Message::new(libc::RTM_DELNEIGH, 0, &neighbour_header(family(address), index, 0));
        message.put(NDA_DST, &octets(address));
        let what = format!("neighbour {address} of link {link:?}");
        self.route()?.request(message).map_err(|error| about(&what, error))
    }
}

fn what(link: &str, address: Cidr) -> String {
    format!("address {address} of link {link:?}")
}

/// A new address of this link.
fn added(index: u32, address: &Address) -> Message {
    let Cidr { address: local, prefix } = address.address;
    let new = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    let scope = address.scope.unwrap_or(0);
    let mut message = Message::new(libc::RTM_NEWADDR, new, &header(family(local), prefix, scope, index));
    message.put(IFA_LOCAL, &octets(local)).put(IFA_ADDRESS, &octets(address.peer.unwrap_or(local)));
    if let (IpAddr::V4(local), 0..=30) = (local, prefix) {
        let host = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
        message.put(IFA_BROADCAST, &(local.to_bits() | host).to_be_bytes());
    }
    let bit = |is: bool, flag: u32| if is { flag } else { 0 };
    let flags = bit(address.no_dad, NO_DAD) | bit(address.no_prefix_route, NO_PREFIX_ROUTE);
    if flags != 0 {
        message.put_u32(IFA_FLAGS, flags);
    }
    message
}

fn read(body: &[u8]) -> Option<(u32, Address)> {
    let (prefix, scope) = (*body.get(1)?, *body.get(3)?);
    let index = read_u32(body.get(4..)?)?;
    let rest = body.get(8..)?;
    let given = attribute(rest, IFA_ADDRESS).and_then(read_address)?;
    // IPv6 has no local one unless there is another end.
    let local = attribute(rest, IFA_LOCAL).and_then(read_address).unwrap_or(given);
    let flags = attribute(rest, IFA_FLAGS).and_then(read_u32).unwrap_or_default();
    Some((
        index,
        Address {
            address: Cidr { address: local, prefix },
            peer: (given != local).then_some(given),
            scope: Some(scope),
            no_dad: flags & NO_DAD != 0,
            no_prefix_route: flags & NO_PREFIX_ROUTE != 0,
            keep: false,
        },
    ))
}

/// `struct ndmsg`: family, index, state, flags, type.
fn neighbour_header(family: i32, index: u32, state: u16) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[0] = family as u8;
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..10].copy_from_slice(&state.to_ne_bytes());
    bytes
}

fn read_neighbour(body: &[u8]) -> Option<(u32, Neighbour)> {
    let index = read_u32(body.get(4..)?)?;
    let state = u16::from_ne_bytes(*body.get(8..)?.first_chunk()?);
    let (mut address, mut mac) = (None, None);
    for (kind, value) in attributes(body.get(12..)?) {
        match kind {
            NDA_DST => address = read_address(value),
            NDA_LLADDR => mac = value.first_chunk::<6>().copied().map(Mac),
            _ => {}
        }
    }
    let neighbour =
        Neighbour { address: address?, mac: mac?, permanent: state & PERMANENT != 0, keep: false };
    (state & KNOWN != 0).then_some((index, neighbour))
}
