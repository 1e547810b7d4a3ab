use crate::{Cidr, Mac};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A route to be made, or one that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Where to.
    pub dst: Cidr,
    /// The next hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gw: Option<IpAddr>,
    /// The link it leads through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// The address that is preferred as source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src: Option<IpAddr>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// TCP's maximal segment size in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advmss: Option<u32>,
    /// Lower wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u32>,
    /// The table; absent: 254, `main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// The kernel's number: 0 universe, 253 link, 254 host. Absent: link without `gw`, else universe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u8>,
    /// What becomes of the packets.
    #[serde(default, skip_serializing_if = "RouteKind::is_unicast")]
    pub kind: RouteKind,
    /// Is the next hop on the link, whatever the addresses say?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_link: bool,
    /// It is not taken away with the attachment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
}

impl Route {
    /// To there, by the kernel's choice.
    #[must_use]
    pub fn to(dst: Cidr) -> Self {
        Self {
            dst,
            gw: None,
            dev: None,
            src: None,
            mtu: None,
            advmss: None,
            priority: None,
            table: None,
            scope: None,
            kind: RouteKind::Unicast,
            on_link: false,
            keep: false,
        }
    }
}

impl Route {
    /// By this next hop, if there is one.
    #[must_use]
    pub fn via(self, gw: impl Into<Option<IpAddr>>) -> Self {
        Self { gw: gw.into(), ..self }
    }

    /// Through this link.
    #[must_use]
    pub fn dev(self, link: impl Into<String>) -> Self {
        Self { dev: Some(link.into()), ..self }
    }
}

/// What becomes of packets that a route fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RouteKind {
    /// They go there.
    #[default]
    Unicast,
    /// They vanish.
    Blackhole,
    /// The sender is told that there is no way.
    Unreachable,
    /// The sender is told that it is forbidden.
    Prohibit,
}

impl RouteKind {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's shape")]
    fn is_unicast(&self) -> bool {
        *self == Self::Unicast
    }
}

/// Which routes. Absent is any; without a table, those of `main`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteFilter {
    /// To exactly there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst: Option<Cidr>,
    /// Through this link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dev: Option<String>,
    /// In this table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
}

/// Where on a link an address is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Neighbour {
    /// Its address.
    pub address: IpAddr,
    /// The hardware address that it is at.
    pub mac: Mac,
    /// For ever, without asking again? Otherwise it is taken for right until something else is learnt.
    #[serde(default)]
    pub permanent: bool,
    /// It is not taken away with the attachment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
}
