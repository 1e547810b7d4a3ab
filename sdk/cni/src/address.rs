use std::net::IpAddr;

/// An address in CIDR notation. IPv4 inside IPv6 (`::ffff:10.1.2.3`) is IPv4, as Go has it.
pub(crate) fn parse_cidr(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    // `u8::from_str` takes a plus sign.
    if !prefix.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let prefix: u8 = prefix.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    (prefix <= longest).then(|| (address.to_canonical(), prefix))
}

/// The one way to write an address, with or without a prefix; any other text as it is.
pub(crate) fn settled(text: &str) -> String {
    if let Some((address, prefix)) = parse_cidr(text) {
        return format!("{address}/{prefix}");
    }
    text.parse::<IpAddr>().map_or_else(|_| text.to_owned(), |address| address.to_canonical().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_a_prefix_of_its_family() {
        for text in ["10.1.2.3/32", "0.0.0.0/0", "fd00::1/128", "::ffff:10.1.2.3/120"] {
            assert!(parse_cidr(text).is_some(), "{text}");
        }
        for text in
            ["", "10.1.2.3", "10.1.2/24", "10.1.2.3/33", "10.1.2.3/+8", "10.1.2.3/", "fe80::1%eth0/64"]
        {
            assert!(parse_cidr(text).is_none(), "{text}");
        }
    }

    #[test]
    fn an_address_is_the_same_however_it_is_written() {
        assert_eq!(settled("FD00:0::1/64"), "fd00::1/64");
        assert_eq!(settled("::ffff:10.1.2.3"), "10.1.2.3");
        assert_eq!(settled("eth0"), "eth0");
    }
}
