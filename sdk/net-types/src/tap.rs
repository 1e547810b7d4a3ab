use crate::{Mac, NetError};
use serde::{Deserialize, Serialize};

/// A tap or tun to be made: a link whose other end is a file that a program opens.
///
/// Made by `/dev/net/tun`, persistent, and with the same flags whatever else is asked for: no packet information and no
/// header unless they are wanted.
#[allow(clippy::struct_excessive_bools, reason = "flags, as the kernel has them")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TapSpec {
    /// 1 to 15 bytes, without `/`, `:` and white space.
    pub name: String,
    /// Ethernet or IP.
    #[serde(default)]
    pub mode: TapMode,
    /// Can several programs, or threads, have it open at once?
    #[serde(default)]
    pub multi_queue: bool,
    /// The user who may open it. With `group`, both must fit. Absent: anybody with `CAP_NET_ADMIN` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
    /// The group that may open it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<u32>,
    /// Four bytes before each packet say what it is (no `IFF_NO_PI`).
    #[serde(default)]
    pub packet_info: bool,
    /// A header of virtio before each packet (`IFF_VNET_HDR`).
    #[serde(default)]
    pub vnet_header: bool,
    /// What the program at the other end can take unfinished. Needs `vnetHeader`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offloads: Vec<Offload>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Absent: the kernel's choice. A tun has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<Mac>,
    /// The bridge that it becomes a port of, in the same place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// The label that `SELinux` gives it. An error where that does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selinux_context: Option<String>,
    /// Is it up in the end?
    #[serde(default)]
    pub up: bool,
    /// It is not taken away with the attachment, nor when the ADD fails.
    #[serde(default)]
    pub keep: bool,
}

impl TapSpec {
    /// A tap that a program with `CAP_NET_ADMIN` can open.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            mode: TapMode::Tap,
            multi_queue: false,
            owner: None,
            group: None,
            packet_info: false,
            vnet_header: false,
            offloads: Vec::new(),
            mtu: None,
            mac: None,
            master: None,
            selinux_context: None,
            up: false,
            keep: false,
        }
    }

    /// Can all of it be meant at once?
    pub fn judge(&self) -> Result<(), NetError> {
        let has = |offload| self.offloads.contains(&offload);
        let why = if self.mode == TapMode::Tun && self.mac.is_some() {
            "a tun has no hardware address: leave `mac` out, or make a tap"
        } else if self.mode == TapMode::Tun && self.master.is_some() {
            "a tun cannot be a port of a bridge: leave `master` out, or make a tap"
        } else if !self.offloads.is_empty() && !self.vnet_header {
            "`offloads` need `vnetHeader`, which tells of them"
        } else if (has(Offload::Tso4) || has(Offload::Tso6)) && !has(Offload::Checksum) {
            "`tso4` and `tso6` need `checksum`"
        } else if has(Offload::TsoEcn) && !has(Offload::Tso4) && !has(Offload::Tso6) {
            "`tso-ecn` needs `tso4` or `tso6`"
        } else {
            return Ok(());
        };
        Err(NetError::Invalid(format!("tap {:?}: {why}", self.name)))
    }
}

/// What passes through it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TapMode {
    /// Ethernet frames.
    #[default]
    Tap,
    /// IP packets.
    Tun,
}

/// What need not be finished when it is handed over (`TUNSETOFFLOAD`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offload {
    /// Checksums.
    Checksum,
    /// Segments of TCP over IPv4. Needs `checksum`.
    Tso4,
    /// Segments of TCP over IPv6. Needs `checksum`.
    Tso6,
    /// The same with explicit congestion notification. Needs one of both.
    TsoEcn,
}
