use crate::Cidr;
use crate::pool::Written;
use std::net::IpAddr;

/// Ranges of addresses of one family, of which one address is given out at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges {
    ranges: Vec<Range>,
    /// First and last of what is never given out.
    exclude: Vec<(IpAddr, IpAddr)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    subnet: Cidr,
    first: IpAddr,
    last: IpAddr,
    gateway: IpAddr,
}

/// The next address; the same again at the end of the last, as in every family.
fn next(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4(address.to_bits().saturating_add(1).into()),
        IpAddr::V6(address) => IpAddr::V6(address.to_bits().saturating_add(1).into()),
    }
}

/// The last address of a network that a link may have: in IPv4 the very last is everybody's.
pub(crate) fn last(network: Cidr) -> IpAddr {
    match network.network().address {
        IpAddr::V4(first) => {
            let hosts = u32::MAX.checked_shr(network.prefix.into()).unwrap_or(0);
            IpAddr::V4((first.to_bits() | hosts).into())
        }
        IpAddr::V6(first) => {
            let hosts = u128::MAX.checked_shr(network.prefix.into()).unwrap_or(0);
            IpAddr::V6((first.to_bits() | hosts).into())
        }
    }
}

impl Range {
    fn of(written: &Written) -> Result<Self, String> {
        let subnet = written.subnet;
        let network = subnet.network();
        if network != subnet {
            return Err(format!("subnet {subnet} has bits behind its prefix: write {network}"));
        }
        let bits = if subnet.address.is_ipv4() { 32 } else { 128 };
        if subnet.prefix > bits - 2 {
            return Err(format!("subnet {subnet} is too small to give addresses from"));
        }
        let inside = |what: &str, address: Option<IpAddr>, default: IpAddr| match address {
            None => Ok(default),
            Some(address) if subnet.contains(address.to_canonical()) => Ok(address.to_canonical()),
            Some(address) => Err(format!("{what} {address} is not in subnet {subnet}")),
        };
        let end = match last(subnet) {
            IpAddr::V4(last) => IpAddr::V4((last.to_bits() - 1).into()),
            last @ IpAddr::V6(_) => last,
        };
        let first = inside("rangeStart", written.range_start, next(subnet.address))?;
        let last = inside("rangeEnd", written.range_end, end)?;
        if first > last {
            return Err(format!("rangeStart {first} comes after rangeEnd {last}"));
        }
        // A gateway may be anywhere.
        let gateway = written.gateway.map_or_else(|| next(subnet.address), |it| it.to_canonical());
        Ok(Self { subnet, first, last, gateway })
    }

    fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && (self.first..=self.last).contains(&address)
    }
}

impl Ranges {
    pub(crate) fn of(written: &[Written], exclude: &[(IpAddr, IpAddr)]) -> Result<Self, String> {
        let ranges = written.iter().map(Range::of).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = ranges.first() else { return Err("an empty list of ranges".into()) };
        if ranges.iter().any(|it| it.first.is_ipv4() != first.first.is_ipv4()) {
            return Err("IPv4 and IPv6 in one list of ranges: write a list for each".into());
        }
        for (number, range) in ranges.iter().enumerate() {
            if let Some(other) = ranges[..number].iter().find(|it| meet(it, range)) {
                return Err(format!("ranges of subnets {} and {} overlap", other.subnet, range.subnet));
            }
        }
        Ok(Self { ranges, exclude: exclude.to_vec() })
    }

    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        self.ranges.iter().any(|one| other.ranges.iter().any(|it| meet(one, it)))
    }

    /// Is it in one of the ranges? Not whether it may be given out.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|range| range.contains(address))
    }

    /// Is it never given out: a gateway, or excluded?
    #[must_use]
    pub fn is_reserved(&self, address: IpAddr) -> bool {
        let excluded = |(first, last): &(IpAddr, IpAddr)| (*first..=*last).contains(&address);
        self.ranges.iter().any(|it| it.contains(address) && it.gateway == address)
            || self.exclude.iter().any(excluded)
    }

    /// As a link has it, with its gateway; `None`: it is in none of the ranges.
    #[must_use]
    pub fn address(&self, address: IpAddr) -> Option<(Cidr, IpAddr)> {
        let range = self.ranges.iter().find(|range| range.contains(address))?;
        Some((Cidr { address, prefix: range.subnet.prefix }, range.gateway))
    }

    /// Every address that may be given out, once each, beginning behind the last one that was.
    pub fn after(&self, last: Option<IpAddr>) -> impl Iterator<Item = IpAddr> + '_ {
        let place = last.and_then(|last| self.ranges.iter().position(|range| range.contains(last)));
        let (mut place, mut at) = match (place, last) {
            (Some(place), Some(last)) => (place, Some(last)),
            _ => (0, None),
        };
        let mut begin: Option<IpAddr> = None;
        std::iter::from_fn(move || {
            let address = match at {
                None => self.ranges[place].first,
                Some(at) if at == self.ranges[place].last => {
                    place = (place + 1) % self.ranges.len();
                    self.ranges[place].first
                }
                Some(at) => next(at),
            };
            if begin == Some(address) {
                return None;
            }
            begin.get_or_insert(address);
            at = Some(address);
            Some(address)
        })
        .filter(|address| !self.is_reserved(*address))
    }

    /// For people.
    #[must_use]
    pub fn words(&self) -> String {
        let words = self.ranges.iter().map(|range| format!("{}-{}", range.first, range.last));
        words.collect::<Vec<_>>().join(",")
    }
}

fn meet(one: &Range, other: &Range) -> bool {
    one.contains(other.first) || other.contains(one.first)
}

#[cfg(test)]
mod tests {
    use crate::PoolConfig;
    use std::net::IpAddr;

    fn pool(ipam: &str) -> Result<PoolConfig, String> {
        let config = format!(r#"{{"name":"n","ipam":{{"type":"host-local",{ipam}}}}}"#);
        PoolConfig::read(&config, &[]).map_err(|error| error.to_string())
    }

    fn given(ipam: &str, last: Option<&str>, count: usize) -> Vec<String> {
        let pool = pool(ipam).unwrap();
        let last = last.map(|it| it.parse().unwrap());
        pool.sets[0].after(last).take(count).map(|it| it.to_string()).collect()
    }

    #[test]
    fn addresses_come_in_turn_and_begin_anew_at_the_end() {
        let small = r#""subnet":"10.1.2.0/29""#;
        assert_eq!(given(small, None, 9), ["10.1.2.2", "10.1.2.3", "10.1.2.4", "10.1.2.5", "10.1.2.6"]);
        assert_eq!(
            given(small, Some("10.1.2.5"), 9),
            ["10.1.2.6", "10.1.2.2", "10.1.2.3", "10.1.2.4", "10.1.2.5"]
        );
        // Not of this pool.
        assert_eq!(given(small, Some("10.9.9.9"), 1), ["10.1.2.2"]);
        let two = r#""ranges":[[{"subnet":"10.1.2.0/29","rangeStart":"10.1.2.5"},{"subnet":"10.1.3.0/29","gateway":"10.1.3.2","rangeEnd":"10.1.3.3"}]]"#;
        assert_eq!(given(two, Some("10.1.2.6"), 9), ["10.1.3.1", "10.1.3.3", "10.1.2.5", "10.1.2.6"]);
        assert_eq!(given(r#""subnet":"fd00::/126""#, None, 9), ["fd00::2", "fd00::3"]);
        let exclude = r#""subnet":"10.1.2.0/28","exclude":["10.1.2.2","10.1.2.4/30","10.1.2.8-10.1.2.13"]"#;
        assert_eq!(given(exclude, None, 9), ["10.1.2.3", "10.1.2.14"]);
    }

    #[test]
    fn a_mistake_in_a_range_is_told_with_the_remedy() {
        for (ipam, why) in [
            (
                r#""subnet":"10.1.2.3/24""#,
                "ipam: subnet 10.1.2.3/24 has bits behind its prefix: write 10.1.2.0/24",
            ),
            (r#""subnet":"10.1.2.0/31""#, "ipam: subnet 10.1.2.0/31 is too small to give addresses from"),
            (
                r#""subnet":"10.1.2.0/24","rangeStart":"10.1.3.1""#,
                "ipam: rangeStart 10.1.3.1 is not in subnet 10.1.2.0/24",
            ),
            (
                r#""subnet":"10.1.2.0/24","rangeStart":"10.1.2.9","rangeEnd":"10.1.2.8""#,
                "ipam: rangeStart 10.1.2.9 comes after rangeEnd 10.1.2.8",
            ),
            (r#""ranges":[]"#, "ipam: no ranges: write `ranges: [[{ \"subnet\": \"10.1.0.0/16\" }]]`"),
            (r#""ranges":[[]]"#, "ipam: an empty list of ranges"),
            (
                r#""ranges":[[{"subnet":"10.1.2.0/24"},{"subnet":"fd00::/64"}]]"#,
                "ipam: IPv4 and IPv6 in one list of ranges: write a list for each",
            ),
            (
                r#""ranges":[[{"subnet":"10.1.2.0/24"}],[{"subnet":"10.1.2.128/25"}]]"#,
                "ipam: ranges[0] and ranges[1] overlap",
            ),
            (
                r#""subnet":"10.1.2.0/24","exclude":["x"]"#,
                "ipam: exclude: \"x\": write an address, a network such as 10.1.2.0/28, or first-last",
            ),
        ] {
            assert_eq!(pool(ipam).unwrap_err(), why);
        }
        let none = PoolConfig::read(r#"{"name":"n"}"#, &[]).unwrap_err();
        assert_eq!(none.to_string(), "ipam: missing in the configuration");
        let name = PoolConfig::read(r#"{"name":"../n","ipam":{"subnet":"10.0.0.0/8"}}"#, &[]).unwrap_err();
        assert_eq!(name.to_string(), "ipam: \"../n\" is no name of a network");
    }

    #[test]
    fn requests_come_from_everywhere_and_each_has_its_range() {
        let config = r#"{"name":"n","args":{"cni":{"ips":["10.1.2.7/24"]}},"runtimeConfig":{"ips":["fd00::7"],"ipRanges":[[{"subnet":"10.7.0.0/16"}]]},
            "ipam":{"ranges":[[{"subnet":"10.1.2.0/24"}],[{"subnet":"fd00::/64"}]]}}"#;
        let args = [("IP".to_owned(), "10.7.0.9".to_owned())];
        let pool = PoolConfig::read(config, &args).unwrap();
        let wanted: Vec<Option<IpAddr>> =
            ["10.7.0.9", "10.1.2.7", "fd00::7"].iter().map(|it| it.parse().ok()).collect();
        assert_eq!(pool.requests().unwrap(), wanted);
        let args = [("IP".to_owned(), "192.0.2.1".to_owned())];
        let error = PoolConfig::read(config, &args).unwrap().requests().unwrap_err().to_string();
        assert!(
            error.starts_with("ipam: requested address 192.0.2.1 is in no range of network \"n\""),
            "{error}"
        );
    }
}
