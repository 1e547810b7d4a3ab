//! Links as they are.

use crate::message::{Message, attribute, attributes, read_text, read_u32};
use crate::netlink::Socket;
use crate::stack::{Stack, about, refused};
use libc::{
    IFLA_ADDRESS, IFLA_EXT_MASK, IFLA_IFNAME, IFLA_LINK, IFLA_LINKINFO, IFLA_MASTER, IFLA_MTU,
    IFLA_PROMISCUITY, IFLA_TXQLEN,
};
use std::collections::BTreeMap;
use wasmhook_net_types::{Link, NetError, Port, Tun};

/// `struct ifinfomsg`: family, type, index, flags, which flags are meant.
#[must_use]
pub(crate) fn header(family: i32, index: u32, flags: u32, change: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[0] = family as u8;
    bytes[4..8].copy_from_slice(&index.to_ne_bytes());
    bytes[8..12].copy_from_slice(&flags.to_ne_bytes());
    bytes[12..].copy_from_slice(&change.to_ne_bytes());
    bytes
}

pub(crate) const UP: u32 = libc::IFF_UP as u32;
pub(crate) const PROMISC: u32 = libc::IFF_PROMISC as u32;
const LOWER_UP: u32 = libc::IFF_LOWER_UP as u32;
const RUNNING: u32 = libc::IFF_RUNNING as u32;
/// No statistics, which are most of a link's message.
const SKIP_STATS: u32 = 1 << 3;
pub(crate) const PROP_LIST: u16 = 52;
pub(crate) const ALT_IFNAME: u16 = 53;
pub(crate) const INFO_KIND: u16 = 1;
pub(crate) const INFO_DATA: u16 = 2;
const INFO_SLAVE_KIND: u16 = 4;
const INFO_SLAVE_DATA: u16 = 5;
pub(crate) const PORT_HAIRPIN: u16 = 4;
pub(crate) const PORT_LEARNING: u16 = 8;
pub(crate) const PORT_ISOLATED: u16 = 33;
pub(crate) const BRIDGE_VLAN_FILTERING: u16 = 7;

impl Stack {
    /// All of them, by index.
    pub(crate) fn links(&mut self) -> Result<Vec<Link>, NetError> {
        let ask = || {
            let mut message = Message::new(libc::RTM_GETLINK, 0, &header(libc::AF_UNSPEC, 0, 0, 0));
            message.put_u32(IFLA_EXT_MASK, SKIP_STATS);
            message
        };
        let found = self.route()?.dump(ask, |reply| Found::read(reply.body));
        let mut found = found.map_err(|error| refused("all links", error))?;
        found.sort_by_key(|it| it.link.index);
        let names: BTreeMap<u32, String> =
            found.iter().map(|it| (it.link.index, it.link.name.clone())).collect();
        let name = |index: u32| names.get(&index).cloned();
        Ok(found.into_iter().map(|it| Link { master: it.master.and_then(name), ..it.link }).collect())
    }

    /// By its name, or by an alternative one.
    pub(crate) fn link(&mut self, name: &str) -> Result<Link, NetError> {
        let socket = self.route()?;
        let found = find(socket, 0, name)?;
        let master = found.master.map(|index| find(socket, index, "").map(|it| it.link.name)).transpose();
        // It may have gone meanwhile.
        Ok(Link { master: master.unwrap_or_default(), ..found.link })
    }

    pub(crate) fn index(&mut self, name: &str) -> Result<u32, NetError> {
        Ok(find(self.route()?, 0, name)?.link.index)
    }

    /// The link's name, and `None` for one that is gone.
    pub(crate) fn name_of(&mut self, index: u32) -> Result<Option<String>, NetError> {
        match find(self.route()?, index, "") {
            Ok(found) => Ok(Some(found.link.name)),
            Err(NetError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The attribute that names a link: only alternative names may be longer than a link's own.
pub(crate) fn name_attribute(name: &str) -> u16 {
    if name.len() < libc::IFNAMSIZ { IFLA_IFNAME } else { ALT_IFNAME }
}

fn find(socket: &mut Socket, index: u32, name: &str) -> Result<Found, NetError> {
    let mut message = Message::new(libc::RTM_GETLINK, 0, &header(libc::AF_UNSPEC, index, 0, 0));
    if index == 0 {
        if name.is_empty() || name.len() > 127 || name.contains('\0') {
            return Err(NetError::NotFound(format!("link {name:?}: there is none")));
        }
        message.put_text(name_attribute(name), name);
    }
    message.put_u32(IFLA_EXT_MASK, SKIP_STATS);
    let what = || if index == 0 { format!("link {name:?}") } else { format!("link {index}") };
    let found =
        socket.get(message, |reply| Found::read(reply.body)).map_err(|error| about(&what(), error))?;
    found.ok_or_else(|| NetError::NotFound(format!("{}: the kernel's answer cannot be read", what())))
}

/// A link, with the index of its bridge.
struct Found {
    link: Link,
    master: Option<u32>,
}

impl Found {
    fn read(body: &[u8]) -> Option<Self> {
        let index = read_u32(body.get(4..)?)?;
        let flags = read_u32(body.get(8..)?)?;
        let mut link = Link {
            index,
            up: flags & UP != 0,
            running: flags & (RUNNING | LOWER_UP) == RUNNING | LOWER_UP,
            ..Link::default()
        };
        let mut master = None;
        for (kind, value) in attributes(body.get(16..)?) {
            match kind {
                IFLA_IFNAME => link.name = read_text(value),
                IFLA_ADDRESS if value.len() == 6 => link.mac = mac(value),
                IFLA_MTU => link.mtu = read_u32(value)?,
                IFLA_TXQLEN => link.tx_queue_length = read_u32(value)?,
                IFLA_LINK => link.parent_index = read_u32(value),
                IFLA_MASTER => master = read_u32(value),
                IFLA_PROMISCUITY => link.promiscuous = read_u32(value)? > 0,
                PROP_LIST => {
                    let names = attributes(value).filter(|(kind, _)| *kind == ALT_IFNAME);
                    link.alternative_names = names.map(|(_, name)| read_text(name)).collect();
                }
                IFLA_LINKINFO => read_info(&mut link, value),
                _ => {}
            }
        }
        Some(Self { link, master })
    }
}

fn mac(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
}

fn read_info(link: &mut Link, info: &[u8]) {
    link.kind = attribute(info, INFO_KIND).map(read_text).unwrap_or_default();
    let data = attribute(info, INFO_DATA).unwrap_or_default();
    match link.kind.as_str() {
        "tun" => link.tun = Some(tun(data)),
        "bridge" => link.vlan_filtering = flag(data, BRIDGE_VLAN_FILTERING),
        _ => {}
    }
    if attribute(info, INFO_SLAVE_KIND).map(read_text).as_deref() == Some("bridge") {
        let data = attribute(info, INFO_SLAVE_DATA).unwrap_or_default();
        link.port = Some(Port {
            hairpin: flag(data, PORT_HAIRPIN),
            isolated: flag(data, PORT_ISOLATED),
            learning: flag(data, PORT_LEARNING),
            vlans: Vec::new(),
        });
    }
}

fn flag(data: &[u8], kind: u16) -> Option<bool> {
    Some(*attribute(data, kind)?.first()? != 0)
}

/// `IFLA_TUN_*`, <`linux/if_link.h`>.
fn tun(data: &[u8]) -> Tun {
    const TAP: u8 = 2;
    let is = |kind| flag(data, kind).unwrap_or_default();
    Tun {
        mode: if attribute(data, 3).and_then(<[u8]>::first) == Some(&TAP) { "tap" } else { "tun" }.into(),
        owner: attribute(data, 1).and_then(read_u32),
        group: attribute(data, 2).and_then(read_u32),
        packet_info: is(4),
        vnet_header: is(5),
        persistent: is(6),
        multi_queue: is(7),
    }
}
