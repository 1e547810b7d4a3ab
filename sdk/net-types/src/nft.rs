use crate::Cidr;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Everything that a table of nftables shall hold. It takes the place of what the table held before, in one transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ruleset {
    /// Whose packets.
    pub family: Family,
    /// In the order in which they are made.
    pub chains: Vec<Chain>,
    /// It is not taken away with the attachment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
}

/// A table's address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Both.
    Inet,
}

/// A chain that the kernel itself jumps to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Chain {
    /// Its name in the table.
    pub name: String,
    /// What may happen in it.
    pub kind: ChainKind,
    /// When it is asked.
    pub hook: Hook,
    /// In which order; lower comes first. Usual are 0 for filtering, -100 before and 100 after routing for translation.
    pub priority: i32,
    /// What becomes of packets that no rule has decided on.
    #[serde(default)]
    pub policy: Policy,
    /// Asked in order.
    pub rules: Vec<Rule>,
}

/// What may happen in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChainKind {
    /// Passing or not.
    Filter,
    /// Other addresses.
    Nat,
}

/// Where in the kernel a chain is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "nftables' own words")]
pub enum Hook {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
}

/// What becomes of packets that no rule has decided on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Policy {
    /// They pass.
    #[default]
    Accept,
    /// They do not.
    Drop,
}

/// What is done with which packets. All tests must hold; without one it is every packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// The link they came in by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iifname: Option<Test<String>>,
    /// The link they go out by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oifname: Option<Test<String>>,
    /// Where they come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saddr: Option<Test<Cidr>>,
    /// Where they go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub daddr: Option<Test<Cidr>>,
    /// The number of what they carry: 1 ICMP, 6 TCP, 17 UDP, 58 `ICMPv6`, 132 SCTP. Ports need one that has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u8>,
    /// The port they come from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sport: Option<Test<u16>>,
    /// The port they go to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dport: Option<Test<u16>>,
    /// Are they counted?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub counter: bool,
    /// For whoever lists the rules; 127 bytes at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// What is done with them.
    pub action: Action,
}

impl Rule {
    /// Every packet.
    #[must_use]
    pub fn all(action: Action) -> Self {
        Self {
            iifname: None,
            oifname: None,
            saddr: None,
            daddr: None,
            protocol: None,
            sport: None,
            dport: None,
            counter: false,
            comment: None,
            action,
        }
    }
}

/// `"10.0.0.0/8"`, or `{"not": "10.0.0.0/8"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Test<T> {
    /// It is this, or in this.
    Is(T),
    /// It is anything else.
    IsNot {
        /// But this.
        not: T,
    },
}

/// What is done with packets: `"accept"`, `{"dnat": {"to": "10.1.2.3", "port": 80}}` …
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// They pass this chain.
    Accept,
    /// They end here.
    Drop,
    /// They go out with the address of the link that they leave by.
    Masquerade,
    /// They go out with this address.
    Snat {
        /// The address.
        to: IpAddr,
    },
    /// They go there.
    Dnat {
        /// The address.
        to: IpAddr,
        /// The port; absent: the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_what_a_hook_would_write() {
        let text = r#"{"family":"ip","chains":[{"name":"post","kind":"nat","hook":"postrouting","priority":100,"policy":"accept","rules":[{"saddr":"10.0.0.2/32","daddr":{"not":"10.0.0.0/24"},"action":"masquerade"},{"protocol":6,"dport":80,"action":{"dnat":{"to":"10.0.0.2","port":8080}}}]}]}"#;
        let ruleset: Ruleset = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&ruleset).unwrap(), text);
    }
}
