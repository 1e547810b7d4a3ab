use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address with the length of its network's prefix: `10.1.2.3/24`. As a destination: `10.1.2.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr {
    /// Never IPv4 inside IPv6 (`::ffff:10.1.2.3`), which is read as IPv4.
    pub address: IpAddr,
    /// Bits.
    pub prefix: u8,
}

/// The text is no address in CIDR notation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address with a prefix, such as 10.1.2.3/24")]
pub struct NotAnAddress(String);

impl Cidr {
    /// With all bits but the prefix zero.
    #[must_use]
    pub fn network(self) -> Self {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V4((address.to_bits() & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                IpAddr::V6((address.to_bits() & mask).into())
            }
        };
        Self { address, prefix: self.prefix }
    }

    /// Is this address in the network?
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        let same_family = self.address.is_ipv4() == address.is_ipv4();
        same_family && Self { address, prefix: self.prefix }.network() == self.network()
    }

    /// One address alone.
    #[must_use]
    pub fn host(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Everybody who listens, in the family of this address.
    #[must_use]
    pub fn multicast(of: IpAddr) -> Self {
        match of {
            IpAddr::V4(_) => Self { address: IpAddr::from([224, 0, 0, 0]), prefix: 4 },
            IpAddr::V6(_) => Self { address: IpAddr::from([0xff00, 0, 0, 0, 0, 0, 0, 0_u16]), prefix: 8 },
        }
    }

    /// Everything: the destination of a default route.
    #[must_use]
    pub fn is_default(self) -> bool {
        self.prefix == 0
    }
}

impl FromStr for Cidr {
    type Err = NotAnAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (address, prefix) = text.split_once('/')?;
            let address: IpAddr = address.parse().ok()?;
            // `u8::from_str` takes a plus sign.
            let digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
            let prefix: u8 = prefix.parse().ok().filter(|_| digits)?;
            if let (IpAddr::V6(_), IpAddr::V4(inner)) = (address, address.to_canonical()) {
                return Some(Self { address: inner.into(), prefix: prefix.checked_sub(96)? });
            }
            let longest = if address.is_ipv4() { 32 } else { 128 };
            (prefix <= longest).then_some(Self { address, prefix })
        };
        parse()
            .filter(|it| it.prefix <= if it.address.is_ipv4() { 32 } else { 128 })
            .ok_or_else(|| NotAnAddress(text.into()))
    }
}

impl TryFrom<String> for Cidr {
    type Error = NotAnAddress;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A hardware address of Ethernet: `02:00:5e:10:00:01`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

/// The text is no hardware address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no hardware address, such as 02:00:5e:10:00:01")]
pub struct NotAMac(String);

impl Mac {
    /// May a link have it? Not a group's, and not all zeros.
    #[must_use]
    pub fn is_unicast(self) -> bool {
        self.0[0] & 1 == 0 && self != Self::default()
    }
}

impl FromStr for Mac {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || NotAMac(text.into());
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|it| it.len() == 2 && it.bytes().all(|b| b.is_ascii_hexdigit()));
            *byte = part.and_then(|it| u8::from_str_radix(it, 16).ok()).ok_or_else(refused)?;
        }
        if parts.next().is_some() { Err(refused()) } else { Ok(Self(bytes)) }
    }
}

impl TryFrom<String> for Mac {
    type Error = NotAMac;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if place > 0 { ":" } else { "" })?;
        }
        Ok(())
    }
}

/// An address to give to a link, or one that it has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// The address.
    pub address: Cidr,
    /// The other end of a link between two, if not the network itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// The kernel's number: 0 universe, 253 link, 254 host. Absent: the kernel's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<u8>,
    /// IPv6: usable at once, without asking whether somebody else has it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_dad: bool,
    /// No route to the network comes with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_prefix_route: bool,
    /// It is not taken away with the attachment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
}

impl From<Cidr> for Address {
    fn from(address: Cidr) -> Self {
        Self { address, peer: None, scope: None, no_dad: false, no_prefix_route: false, keep: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cidr_is_read_and_written() {
        for (text, written) in [
            ("10.1.2.3/24", "10.1.2.3/24"),
            ("FD00:0::1/64", "fd00::1/64"),
            ("::ffff:10.1.2.3/120", "10.1.2.3/24"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), written);
        }
        for text in [
            "",
            "10.1.2.3",
            "10.1.2/24",
            "10.1.2.3/33",
            "10.1.2.3/+8",
            "fe80::1%eth0/64",
            "::ffff:10.0.0.1/24",
        ] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_holds_its_own() {
        let network: Cidr = "10.1.2.3/24".parse().unwrap();
        assert_eq!(network.network().to_string(), "10.1.2.0/24");
        assert!(
            network.contains("10.1.2.255".parse().unwrap()) && !network.contains("10.1.3.0".parse().unwrap())
        );
        assert!(!network.contains("fd00::1".parse().unwrap()));
        let all: Cidr = "::/0".parse().unwrap();
        assert!(all.contains("fd00::1".parse().unwrap()));
    }

    #[test]
    fn a_mac_is_read_and_written() {
        let mac: Mac = "02-00-5E-10-00-01".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:5e:10:00:01");
        assert!(mac.is_unicast() && !Mac([1; 6]).is_unicast() && !Mac::default().is_unicast());
        for text in [
            "",
            "02:00:5e:10:00",
            "02:00:5e:10:00:01:02",
            "2:0:5e:10:0:1",
            "02:00:5e:10:00:+1",
            "02005e100001",
        ] {
            assert!(text.parse::<Mac>().is_err(), "{text}");
        }
    }
}
