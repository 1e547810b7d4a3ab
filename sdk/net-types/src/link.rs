use crate::{Mac, NetError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// Which network stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The container's, behind `CNI_NETNS`.
    #[default]
    Container,
    /// The one that wasmhook itself was started in.
    Host,
}

impl Place {
    /// As JSON has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A link to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkSpec {
    /// 1 to 15 bytes, without `/`, `:` and white space.
    pub name: String,
    /// What it is.
    pub kind: LinkKind,
    /// Bytes. Absent: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Absent: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tx_queue_length: Option<u32>,
    /// The bridge that it becomes a port of, in the same place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// As a port of that bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// Is it up in the end?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub up: bool,
    /// It is not taken away with the attachment, nor when the ADD fails: others will use it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
}

impl LinkSpec {
    /// A link of this kind, as the kernel makes it.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: LinkKind) -> Self {
        Self {
            name: name.into(),
            kind,
            mtu: None,
            mac: None,
            tx_queue_length: None,
            master: None,
            port: None,
            up: false,
            keep: false,
        }
    }

    /// A veth whose other end is in the container, and up.
    #[must_use]
    pub fn veth(name: impl Into<String>, peer: impl Into<String>) -> Self {
        let peer = PeerSpec { name: peer.into(), place: Place::Container, mac: None, up: true };
        Self::new(name, LinkKind::Veth { peer })
    }

    /// A bridge.
    #[must_use]
    pub fn bridge(name: impl Into<String>) -> Self {
        Self::new(name, LinkKind::Bridge(BridgeSpec::default()))
    }

    /// With this MTU, if there is one.
    #[must_use]
    pub fn mtu(self, mtu: impl Into<Option<u32>>) -> Self {
        Self { mtu: mtu.into(), ..self }
    }

    /// With this hardware address, if there is one.
    #[must_use]
    pub fn mac(self, mac: impl Into<Option<Mac>>) -> Self {
        Self { mac: mac.into(), ..self }
    }

    /// As a port of this bridge.
    #[must_use]
    pub fn master(self, bridge: impl Into<String>) -> Self {
        Self { master: Some(bridge.into()), ..self }
    }

    /// With these settings as a port.
    #[must_use]
    pub fn port(self, port: Port) -> Self {
        Self { port: Some(port), ..self }
    }

    /// Up in the end.
    #[must_use]
    pub fn up(self) -> Self {
        Self { up: true, ..self }
    }

    /// It stays when the attachment goes.
    #[must_use]
    pub fn keep(self) -> Self {
        Self { keep: true, ..self }
    }
}

/// What a link is. `"dummy"`, `{"veth": {"peer": {…}}}` …
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LinkKind {
    /// One end of a pair.
    Veth {
        /// The other end, made where it belongs.
        peer: PeerSpec,
    },
    /// A switch.
    Bridge(BridgeSpec),
    /// Another hardware address on a link.
    Macvlan(ChildSpec),
    /// The same, with a character device instead of a network stack at its end.
    Macvtap(ChildSpec),
    /// A tagged part of a link (IEEE 802.1Q).
    Vlan(VlanSpec),
    /// Ethernet over UDP.
    Vxlan(VxlanSpec),
    /// Where incoming traffic can be shaped.
    Ifb,
    /// Takes everything and gives nothing.
    Dummy,
}

impl LinkKind {
    /// The kernel's word for it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Veth { .. } => "veth",
            Self::Bridge(_) => "bridge",
            Self::Macvlan(_) => "macvlan",
            Self::Macvtap(_) => "macvtap",
            Self::Vlan(_) => "vlan",
            Self::Vxlan(_) => "vxlan",
            Self::Ifb => "ifb",
            Self::Dummy => "dummy",
        }
    }
}

/// The other end of a veth pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerSpec {
    /// Its name there.
    pub name: String,
    /// Where it is made.
    pub place: Place,
    /// Absent: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Is it up in the end?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub up: bool,
}

/// A bridge's own settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BridgeSpec {
    /// Does it keep traffic of different VLANs apart?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan_filtering: Option<bool>,
    /// What untagged traffic of a new port belongs to; 0: to nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_pvid: Option<u16>,
    /// The spanning tree protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stp: Option<bool>,
}

/// A tagged part of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VlanSpec {
    /// 1 to 4094.
    pub id: u16,
    /// The link that carries it.
    pub parent: String,
    /// Where that is, if not in the same place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_place: Option<Place>,
}

/// A link on another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChildSpec {
    /// The link below.
    pub parent: String,
    /// Where that is, if not in the same place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_place: Option<Place>,
    /// Who hears whom; absent: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<MacvlanMode>,
}

/// Who hears whom among the links on one parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MacvlanMode {
    /// All of them.
    #[default]
    Bridge,
    /// Nobody.
    Private,
    /// By way of the switch outside.
    Vepa,
    /// There is only one, and it has the parent for itself.
    Passthru,
}

/// A VXLAN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VxlanSpec {
    /// The network's identifier, 24 bits.
    pub vni: u32,
    /// The link that carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Where unknown destinations are sent: a group, or one other end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<IpAddr>,
    /// The address that it sends from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<IpAddr>,
    /// UDP; absent: 4789.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Does it learn where addresses are?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning: Option<bool>,
}

/// A link's settings as a port of a bridge. Absent is unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// May traffic leave where it came in?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hairpin: Option<bool>,
    /// Does it hear only ports that are not isolated?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub isolated: Option<bool>,
    /// Does the bridge learn addresses here?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub learning: Option<bool>,
    /// The VLANs of it, where the bridge keeps them apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vlans: Vec<Vlans>,
}

/// VLANs of a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vlans {
    /// The first, 1 to 4094.
    pub from: u16,
    /// The last; absent: the first alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u16>,
    /// What comes in without a tag belongs to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pvid: bool,
    /// What goes out has no tag.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub untagged: bool,
}

/// What shall be different about a link. Absent is unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LinkChange {
    /// Another name. Needs a link that is down, or a kernel that does not mind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The hardware address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// Packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tx_queue_length: Option<u32>,
    /// The bridge that it is a port of; `""`: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// As a port of a bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// Does it take traffic for others?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promiscuous: Option<bool>,
    /// Up or down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub up: Option<bool>,
    /// It is not changed back with the attachment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
}

impl LinkChange {
    /// The change that takes this one back, from a link that is like this.
    #[must_use]
    pub fn back(&self, link: &Link) -> Self {
        Self {
            name: self.name.as_ref().map(|_| link.name.clone()),
            mtu: self.mtu.map(|_| link.mtu),
            mac: self.mac.and_then(|_| link.mac.parse().ok()),
            tx_queue_length: self.tx_queue_length.map(|_| link.tx_queue_length),
            master: self.master.as_ref().map(|_| link.master.clone().unwrap_or_default()),
            port: self.port.as_ref().and(link.port.clone()),
            promiscuous: self.promiscuous.map(|_| link.promiscuous),
            up: self.up.map(|_| link.up),
            keep: true,
        }
    }
}

/// A link that is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// The kernel's number in this place.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// The kernel's word for what it is; `""` for hardware and `lo`.
    pub kind: String,
    /// `""` where it has none.
    pub mac: String,
    /// Bytes.
    pub mtu: u32,
    /// Has somebody put it up?
    pub up: bool,
    /// Is it usable, as far as the kernel knows?
    #[serde(default)]
    pub running: bool,
    /// Does it take traffic for others?
    #[serde(default)]
    pub promiscuous: bool,
    /// Packets.
    #[serde(default)]
    pub tx_queue_length: u32,
    /// The name of the bridge that it is a port of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// As a port of that bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// The index of the other end, or of the link below; it may be in another place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_index: Option<u32>,
    /// The other end of a veth that has just been made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Box<Link>>,
    /// Its other names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternative_names: Vec<String>,
    /// Of a tap or tun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tun: Option<Tun>,
    /// Of a bridge: does it keep VLANs apart?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan_filtering: Option<bool>,
}

/// What is special about a tap or tun.
#[allow(clippy::struct_excessive_bools, reason = "flags, as the kernel has them")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tun {
    /// `tap` or `tun`.
    pub mode: String,
    /// The user who may open it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
    /// The group that may open it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<u32>,
    /// Is each packet preceded by four bytes of what it is?
    pub packet_info: bool,
    /// Is each packet preceded by a header of virtio?
    pub vnet_header: bool,
    /// Several queues?
    pub multi_queue: bool,
    /// Does it stay when nobody has it open?
    pub persistent: bool,
}

/// May a link be called this? The kernel's rule, and the CNI specification's.
pub fn judge_name(name: &str) -> Result<(), NetError> {
    let why = if name.is_empty() {
        "is no name for a link: it is empty"
    } else if name.len() > 15 {
        "is no name for a link: it has more than 15 bytes"
    } else if matches!(name, "." | "..")
        || name.contains(|c: char| c == '/' || c == ':' || c == '%' || c.is_whitespace() || c.is_control())
    {
        "is no name for a link: no dots alone, no `/`, `:`, `%`, no white space"
    } else {
        return Ok(());
    };
    Err(NetError::Invalid(format!("{name:?} {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_is_what_a_hook_would_write() {
        let text = r#"{"name":"veth1","kind":{"veth":{"peer":{"name":"eth0","place":"container","up":true}}},"mtu":1400,"master":"br0","port":{"hairpin":true},"up":true}"#;
        let spec: LinkSpec = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&spec).unwrap(), text);
        let text = r#"{"name":"v7","kind":{"vlan":{"id":7,"parent":"eth0"}}}"#;
        let spec: LinkSpec = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&spec).unwrap(), text);
        let text = r#"{"name":"b","kind":{"bridge":{}}}"#;
        assert_eq!(
            serde_json::from_str::<LinkSpec>(text).unwrap().kind,
            LinkKind::Bridge(BridgeSpec::default())
        );
    }

    #[test]
    fn a_name_is_judged_before_the_kernel_does() {
        for name in ["eth0", "a", "fifteen-bytes-1", "ü"] {
            assert_eq!(judge_name(name), Ok(()));
        }
        for name in ["", ".", "..", "a/b", "a b", "a:b", "sixteen-bytes-xx", "a%d", "a\0"] {
            assert!(judge_name(name).is_err(), "{name:?}");
        }
    }
}
