//! Making links.

use crate::link::{ALT_IFNAME, INFO_DATA, INFO_KIND, PROP_LIST, UP, header, name_attribute};
use crate::message::Message;
use crate::netlink::Refused;
use crate::stack::{Stack, about, refused};
use libc::{
    IFLA_ADDRESS, IFLA_IFNAME, IFLA_LINK, IFLA_LINKINFO, IFLA_MASTER, IFLA_MTU, IFLA_NET_NS_FD, IFLA_TXQLEN,
};
use nix::errno::Errno;
use std::net::IpAddr;
use wasmhook_net_types::{BridgeSpec, Link, LinkKind, LinkSpec, MacvlanMode, NetError, PeerSpec, VxlanSpec};

const NEW: i32 = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
const NEW_LINK_PROP: u16 = 108;
const VETH_PEER: u16 = 1;

/// Where else a new link reaches, as descriptors of namespaces.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Elsewhere {
    /// It is made there, and not here, where its parent is.
    pub(crate) itself: Option<i32>,
    /// A veth's other end is made there.
    pub(crate) peer: Option<i32>,
}

impl Stack {
    /// Makes a link as far as one message can, and gives it its alternative name where it is made here.
    pub(crate) fn make(&mut self, spec: &LinkSpec, elsewhere: Elsewhere, mark: &str) -> Result<(), NetError> {
        let what = format!("link {:?}", spec.name);
        let parent = parent(&spec.kind).map(|parent| self.index(parent)).transpose()?;
        let master = spec.master.as_deref().map(|master| self.index(master)).transpose()?;
        let flags = if spec.up { UP } else { 0 };
        let mut message = Message::new(libc::RTM_NEWLINK, NEW, &header(libc::AF_UNSPEC, 0, flags, flags));
        message.put_text(IFLA_IFNAME, &spec.name);
        if let Some(mtu) = spec.mtu {
            message.put_u32(IFLA_MTU, mtu);
        }
        if let Some(mac) = spec.mac {
            message.put(IFLA_ADDRESS, &mac.0);
        }
        if let Some(length) = spec.tx_queue_length {
            message.put_u32(IFLA_TXQLEN, length);
        }
        if let Some(parent) = parent {
            message.put_u32(IFLA_LINK, parent);
        }
        if let Some(fd) = elsewhere.itself {
            message.put_u32(IFLA_NET_NS_FD, fd.cast_unsigned());
        } else if let Some(master) = master {
            message.put_u32(IFLA_MASTER, master);
        }
        message.nest(IFLA_LINKINFO, |info| {
            info.put_text(INFO_KIND, spec.kind.as_str());
            data(info, spec, parent, elsewhere.peer);
        });
        let mut messages = vec![message];
        if elsewhere.itself.is_none() && !mark.is_empty() {
            messages.push(mark_message(&spec.name, mark));
        }
        match self.route()?.batch(messages) {
            Ok(()) => Ok(()),
            Err((0, error)) => Err(not_made(&what, spec.kind.as_str(), error)),
            Err((_, error)) if error.errno == Errno::EOPNOTSUPP => Ok(()),
            Err((_, error)) => {
                self.unmake(&spec.name);
                Err(refused(format!("{what}: its alternative name"), error))
            }
        }
    }

    /// What is left to do for the other end of a veth, where it is.
    pub(crate) fn finish_peer(&mut self, name: &str, up: bool, mark: &str) -> Result<Link, NetError> {
        let mut messages = Vec::new();
        if up {
            let mut message = Message::new(libc::RTM_SETLINK, 0, &header(libc::AF_UNSPEC, 0, UP, UP));
            message.put_text(IFLA_IFNAME, name);
            messages.push(message);
        }
        if !mark.is_empty() {
            messages.push(mark_message(name, mark));
        }
        match self.route()?.batch(messages) {
            Err((place, error)) if place < usize::from(up) || error.errno != Errno::EOPNOTSUPP => {
                Err(refused(format!("link {name:?}"), error))
            }
            _ => self.link(name),
        }
    }

    /// Gives a link an alternative name. Kernels before 5.5 know none.
    pub(crate) fn mark(&mut self, name: &str, mark: &str) -> Result<(), NetError> {
        match self.route()?.request(mark_message(name, mark)) {
            Err(error) if error.errno != Errno::EOPNOTSUPP => {
                Err(refused(format!("link {name:?}: its alternative name"), error))
            }
            _ => Ok(()),
        }
    }

    /// Takes away what could not be finished. There is nothing to be said if that fails too: the first error counts.
    pub(crate) fn unmake(&mut self, name: &str) {
        if let Err(error) = self.delete(name) {
            tracing::error!("taking back: {error}");
        }
    }
}

fn parent(kind: &LinkKind) -> Option<&str> {
    match kind {
        LinkKind::Macvlan(child) | LinkKind::Macvtap(child) => Some(&child.parent),
        LinkKind::Vlan(vlan) => Some(&vlan.parent),
        LinkKind::Vxlan(vxlan) => vxlan.parent.as_deref(),
        LinkKind::Veth { .. } | LinkKind::Bridge(_) | LinkKind::Ifb | LinkKind::Dummy => None,
    }
}

fn mark_message(name: &str, mark: &str) -> Message {
    let mut message = Message::new(NEW_LINK_PROP, NEW, &header(libc::AF_UNSPEC, 0, 0, 0));
    message.put_text(name_attribute(name), name);
    message.nest(PROP_LIST, |list| {
        list.put_text(ALT_IFNAME, mark);
    });
    message
}

/// What is special about its kind.
fn data(info: &mut Message, spec: &LinkSpec, parent: Option<u32>, peer_in: Option<i32>) {
    match &spec.kind {
        LinkKind::Veth { peer } => {
            info.nest(INFO_DATA, |data| veth(data, spec, peer, peer_in));
        }
        LinkKind::Bridge(bridge) => {
            info.nest(INFO_DATA, |data| bridge_data(data, bridge));
        }
        LinkKind::Macvlan(child) | LinkKind::Macvtap(child) => {
            let mode = match child.mode.unwrap_or_default() {
                MacvlanMode::Private => 1,
                MacvlanMode::Vepa => 2,
                MacvlanMode::Bridge => 4,
                MacvlanMode::Passthru => 8,
            };
            info.nest(INFO_DATA, |data| {
                data.put_u32(1, mode);
            });
        }
        LinkKind::Vlan(vlan) => {
            info.nest(INFO_DATA, |data| {
                data.put_u16(1, vlan.id);
            });
        }
        LinkKind::Vxlan(vxlan) => {
            info.nest(INFO_DATA, |data| vxlan_data(data, vxlan, parent));
        }
        LinkKind::Ifb | LinkKind::Dummy => {}
    }
}

/// The other end has the same MTU, and is made where it belongs: moving it there afterwards takes the kernel 28 ms.
fn veth(data: &mut Message, spec: &LinkSpec, peer: &PeerSpec, peer_in: Option<i32>) {
    data.nest(VETH_PEER, |end| {
        // It cannot be up yet: it has no other end before this is done.
        end.raw(&header(libc::AF_UNSPEC, 0, 0, 0)).put_text(IFLA_IFNAME, &peer.name);
        if let Some(mtu) = spec.mtu {
            end.put_u32(IFLA_MTU, mtu);
        }
        if let Some(mac) = peer.mac {
            end.put(IFLA_ADDRESS, &mac.0);
        }
        if let Some(fd) = peer_in {
            end.put_u32(IFLA_NET_NS_FD, fd.cast_unsigned());
        }
    });
}

/// `IFLA_BR_*`, <`linux/if_link.h`>.
fn bridge_data(data: &mut Message, bridge: &BridgeSpec) {
    if let Some(stp) = bridge.stp {
        data.put_u32(5, stp.into());
    }
    if let Some(filtering) = bridge.vlan_filtering {
        data.put_u8(7, filtering.into());
    }
    if let Some(pvid) = bridge.default_pvid {
        data.put_u16(39, pvid);
    }
}

/// `IFLA_VXLAN_*`, <`linux/if_link.h`>.
fn vxlan_data(data: &mut Message, vxlan: &VxlanSpec, parent: Option<u32>) {
    const PORT: u16 = 4789;
    data.put_u32(1, vxlan.vni);
    match vxlan.remote {
        Some(IpAddr::V4(remote)) => drop(data.put(2, &remote.octets())),
        Some(IpAddr::V6(remote)) => drop(data.put(16, &remote.octets())),
        None => {}
    }
    if let Some(parent) = parent {
        data.put_u32(3, parent);
    }
    match vxlan.local {
        Some(IpAddr::V4(local)) => drop(data.put(4, &local.octets())),
        Some(IpAddr::V6(local)) => drop(data.put(17, &local.octets())),
        None => {}
    }
    data.put_u8(7, vxlan.learning.unwrap_or(true).into());
    data.put(15, &vxlan.port.unwrap_or(PORT).to_be_bytes());
}

fn not_made(what: &str, kind: &str, error: Refused) -> NetError {
    match error.errno {
        Errno::EOPNOTSUPP => NetError::Unsupported(format!(
            "{what}: this node's kernel has no links of kind {kind:?}, or not with these settings (`modprobe {kind}`): {}",
            if error.words.is_empty() { error.errno.desc().to_owned() } else { error.words }
        )),
        _ => about(what, error),
    }
}
