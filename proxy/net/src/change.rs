//! Changing links, moving them, taking them away.

use crate::link::{PORT_HAIRPIN, PORT_ISOLATED, PORT_LEARNING, PROMISC, UP, header, name_attribute};
use crate::message::Message;
use crate::netlink::Refused;
use crate::stack::{Stack, about, refused};
use libc::{
    IFLA_ADDRESS, IFLA_AF_SPEC, IFLA_IFNAME, IFLA_MASTER, IFLA_MTU, IFLA_NET_NS_FD, IFLA_PROTINFO,
    IFLA_TXQLEN,
};
use nix::errno::Errno;
use wasmhook_net_types::{Link, LinkChange, NetError, Port, Vlans};

impl Stack {
    /// All that is asked; where one part of it fails, what was done before is taken back.
    pub(crate) fn update(&mut self, name: &str, change: &LinkChange) -> Result<Link, NetError> {
        let before = self.link(name)?;
        let what = format!("link {name:?}");
        let changed = self.apply(&before, change, &what);
        if let Err(error) = changed {
            // Whatever it was as a port, it becomes that with its bridge.
            let back = LinkChange { port: None, ..change.back(&before) };
            if let Err(error) = self.apply(&before, &back, &what) {
                tracing::error!("taking back: {error}");
            }
            return Err(error);
        }
        self.link(change.name.as_deref().unwrap_or(&before.name))
    }

    fn apply(&mut self, link: &Link, change: &LinkChange, what: &str) -> Result<(), NetError> {
        let master = match change.master.as_deref() {
            None => None,
            Some("") => Some(0),
            Some(master) => Some(self.index(master)?),
        };
        let bit = |is: Option<bool>, flag: u32| is.map(|is| (if is { flag } else { 0 }, flag));
        let flags = [bit(change.up, UP), bit(change.promiscuous, PROMISC)].into_iter().flatten();
        let (flags, mask) = flags.fold((0, 0), |(flags, mask), (flag, bit)| (flags | flag, mask | bit));
        let mut message =
            Message::new(libc::RTM_SETLINK, 0, &header(libc::AF_UNSPEC, link.index, flags, mask));
        if let Some(name) = &change.name {
            message.put_text(IFLA_IFNAME, name);
        }
        if let Some(mtu) = change.mtu {
            message.put_u32(IFLA_MTU, mtu);
        }
        if let Some(mac) = change.mac {
            message.put(IFLA_ADDRESS, &mac.0);
        }
        if let Some(length) = change.tx_queue_length {
            message.put_u32(IFLA_TXQLEN, length);
        }
        if let Some(master) = master {
            message.put_u32(IFLA_MASTER, master);
        }
        self.route()?.request(message).map_err(|error| about(what, error))?;
        change.port.as_ref().map_or(Ok(()), |port| self.set_port(link.index, port, what))
    }

    /// As a port of its bridge.
    pub(crate) fn set_port(&mut self, index: u32, port: &Port, what: &str) -> Result<(), NetError> {
        let settings =
            [(PORT_HAIRPIN, port.hairpin), (PORT_LEARNING, port.learning), (PORT_ISOLATED, port.isolated)];
        if settings.iter().any(|(_, is)| is.is_some()) {
            let mut message = Message::new(libc::RTM_SETLINK, 0, &header(libc::AF_BRIDGE, index, 0, 0));
            message.nest(IFLA_PROTINFO, |info| {
                for (kind, is) in settings {
                    if let Some(is) = is {
                        info.put_u8(kind, is.into());
                    }
                }
            });
            self.route()?.request(message).map_err(|error| no_port(what, error))?;
        }
        for vlans in &port.vlans {
            let mut message = Message::new(libc::RTM_SETLINK, 0, &header(libc::AF_BRIDGE, index, 0, 0));
            message.nest(IFLA_AF_SPEC, |spec| put_vlans(spec, vlans));
            self.route()?.request(message).map_err(|error| no_port(what, error))?;
        }
        Ok(())
    }

    pub(crate) fn delete(&mut self, name: &str) -> Result<(), NetError> {
        let mut message = Message::new(libc::RTM_DELLINK, 0, &header(libc::AF_UNSPEC, 0, 0, 0));
        message.put_text(name_attribute(name), name);
        self.route()?.request(message).map_err(|error| about(&format!("link {name:?}"), error))
    }

    /// Into the namespace that is open as this descriptor.
    pub(crate) fn send_away(&mut self, name: &str, to: i32, new_name: Option<&str>) -> Result<(), NetError> {
        let index = self.index(name)?;
        let mut message = Message::new(libc::RTM_SETLINK, 0, &header(libc::AF_UNSPEC, index, 0, UP));
        message.put_u32(IFLA_NET_NS_FD, to.cast_unsigned());
        if let Some(new_name) = new_name {
            message.put_text(IFLA_IFNAME, new_name);
        }
        self.route()?.request(message).map_err(|error| match error.errno {
            Errno::EEXIST => NetError::Exists(format!(
                "link {:?}: there is one where {name:?} is to go",
                new_name.unwrap_or(name)
            )),
            _ => about(&format!("link {name:?}"), error),
        })
    }
}

/// It is up from now on.
pub(crate) fn up(index: u32) -> Message {
    Message::new(libc::RTM_SETLINK, 0, &header(libc::AF_UNSPEC, index, UP, UP))
}

/// `struct bridge_vlan_info`: flags and number; a range has its two ends.
fn put_vlans(spec: &mut Message, vlans: &Vlans) {
    const INFO: u16 = 2;
    let bits = |is: bool, bit: u16| if is { bit } else { 0 };
    let flags = bits(vlans.pvid, 1 << 1) | bits(vlans.untagged, 1 << 2);
    let mut put = |flags: u16, id: u16| {
        spec.put(INFO, &[flags.to_ne_bytes(), id.to_ne_bytes()].concat());
    };
    match vlans.to.filter(|to| *to != vlans.from) {
        Some(to) => {
            put(flags | 1 << 3, vlans.from);
            put(flags | 1 << 4, to);
        }
        None => put(flags, vlans.from),
    }
}

fn no_port(what: &str, error: Refused) -> NetError {
    match error.errno {
        Errno::EOPNOTSUPP | Errno::EINVAL => NetError::Unsupported(format!(
            "{what}: these settings of a bridge's port: {} (is it a port, and does its bridge keep VLANs apart?)",
            if error.words.is_empty() { error.errno.desc().to_owned() } else { error.words }
        )),
        _ => refused(format!("{what} as a port"), error),
    }
}
