//! A rule as the kernel has it: expressions, each of which fills a register, compares one, or decides.

use crate::address::octets;
use crate::message::Message;
use std::net::IpAddr;
use wasmhook_net_types::{Action, Cidr, Family, NetError, Rule, Test};

const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
const REGISTER: u32 = 1;
const SECOND_REGISTER: u32 = 2;
const VERDICT: u32 = 0;
const IIFNAME: u32 = 6;
const OIFNAME: u32 = 7;
const NFPROTO: u32 = 15;
const L4PROTO: u32 = 16;
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
/// What has ports: TCP, UDP, SCTP.
const WITH_PORTS: [u8; 3] = [6, 17, 132];

/// One step of a rule.
#[derive(Debug)]
pub(super) enum Expression {
    /// Something that is known of the packet.
    Meta(u32),
    /// So many bytes of a header, from there.
    Payload {
        base: u32,
        offset: u32,
        length: u32,
    },
    /// These bits of it alone.
    Mask(Vec<u8>),
    /// Is it this?
    Compare {
        operation: u32,
        value: Vec<u8>,
    },
    Counter,
    Verdict(u32),
    Masquerade,
    /// Puts a value into a register.
    Load {
        register: u32,
        value: Vec<u8>,
    },
    /// Another address, from the first register, and another port, from the second.
    Translate {
        destination: bool,
        family: u8,
        has_port: bool,
    },
}

/// What a rule says, in the kernel's steps.
pub(super) fn expressions(family: Family, rule: &Rule) -> Result<Vec<Expression>, NetError> {
    let mut steps = Vec::new();
    for (key, name) in [(IIFNAME, &rule.iifname), (OIFNAME, &rule.oifname)] {
        if let Some(test) = name {
            steps.push(Expression::Meta(key));
            let mut bytes = value(test).as_bytes().to_vec();
            if bytes.is_empty() || bytes.len() > 15 {
                return Err(NetError::Invalid(format!("{:?} is no link's name", value(test))));
            }
            bytes.resize(libc::IFNAMSIZ, 0);
            steps.push(Expression::Compare { operation: operation(test), value: bytes });
        }
    }
    if family == Family::Inet {
        let addresses = [&rule.saddr, &rule.daddr].into_iter().flatten().map(|test| value(test).address);
        if let Some(address) = addresses.chain(target(&rule.action)).next() {
            steps.push(Expression::Meta(NFPROTO));
            steps.push(Expression::Compare { operation: EQUAL, value: vec![nfproto(address)] });
        }
    }
    for (is_source, test) in [(true, &rule.saddr), (false, &rule.daddr)] {
        if let Some(test) = test {
            address(&mut steps, family, is_source, test)?;
        }
    }
    if let Some(protocol) = rule.protocol {
        steps.push(Expression::Meta(L4PROTO));
        steps.push(Expression::Compare { operation: EQUAL, value: vec![protocol] });
    }
    for (offset, test) in [(0, &rule.sport), (2, &rule.dport)] {
        if let Some(test) = test {
            needs_ports(rule)?;
            steps.push(Expression::Payload { base: TRANSPORT, offset, length: 2 });
            let value = value(test).to_be_bytes().to_vec();
            steps.push(Expression::Compare { operation: operation(test), value });
        }
    }
    if rule.counter {
        steps.push(Expression::Counter);
    }
    action(&mut steps, family, rule)?;
    Ok(steps)
}

fn value<T>(test: &Test<T>) -> &T {
    let (Test::Is(value) | Test::IsNot { not: value }) = test;
    value
}

fn operation<T>(test: &Test<T>) -> u32 {
    if matches!(test, Test::Is(_)) { EQUAL } else { NOT_EQUAL }
}

fn nfproto(address: IpAddr) -> u8 {
    if address.is_ipv4() { 2 } else { 10 }
}

fn target(action: &Action) -> Option<IpAddr> {
    match action {
        Action::Snat { to } | Action::Dnat { to, .. } => Some(*to),
        Action::Accept | Action::Drop | Action::Masquerade => None,
    }
}

fn fits(family: Family, address: IpAddr) -> Result<(), NetError> {
    match family {
        Family::Ip if address.is_ipv6() => Err(NetError::Invalid(format!(
            "{address} in a table of family \"ip\": write \"ip6\" or \"inet\""
        ))),
        Family::Ip6 if address.is_ipv4() => Err(NetError::Invalid(format!(
            "{address} in a table of family \"ip6\": write \"ip\" or \"inet\""
        ))),
        _ => Ok(()),
    }
}

fn address(
    steps: &mut Vec<Expression>,
    family: Family,
    is_source: bool,
    test: &Test<Cidr>,
) -> Result<(), NetError> {
    let cidr = value(test).network();
    fits(family, cidr.address)?;
    let (offset, length): (u32, u32) = match (cidr.address.is_ipv4(), is_source) {
        (true, true) => (12, 4),
        (true, false) => (16, 4),
        (false, true) => (8, 16),
        (false, false) => (24, 16),
    };
    steps.push(Expression::Payload { base: NETWORK, offset, length });
    if u32::from(cidr.prefix) < length * 8 {
        let all = IpAddr::from([0xff; 16]);
        let ones = if cidr.address.is_ipv4() { IpAddr::from([0xff; 4]) } else { all };
        steps.push(Expression::Mask(octets(Cidr { address: ones, prefix: cidr.prefix }.network().address)));
    }
    steps.push(Expression::Compare { operation: operation(test), value: octets(cidr.address) });
    Ok(())
}

fn needs_ports(rule: &Rule) -> Result<(), NetError> {
    if rule.protocol.is_some_and(|it| WITH_PORTS.contains(&it)) {
        return Ok(());
    }
    Err(NetError::Invalid(
        "a rule about a port needs a `protocol` that has them: 6 (TCP), 17 (UDP) or 132 (SCTP)".into(),
    ))
}

fn action(steps: &mut Vec<Expression>, family: Family, rule: &Rule) -> Result<(), NetError> {
    const DROP: u32 = 0;
    const ACCEPT: u32 = 1;
    match &rule.action {
        Action::Accept => steps.push(Expression::Verdict(ACCEPT)),
        Action::Drop => steps.push(Expression::Verdict(DROP)),
        Action::Masquerade => steps.push(Expression::Masquerade),
        Action::Snat { to } => {
            fits(family, *to)?;
            steps.push(Expression::Load { register: REGISTER, value: octets(*to) });
            steps.push(Expression::Translate { destination: false, family: nfproto(*to), has_port: false });
        }
        Action::Dnat { to, port } => {
            fits(family, *to)?;
            steps.push(Expression::Load { register: REGISTER, value: octets(*to) });
            if let Some(port) = port {
                needs_ports(rule)?;
                let value = port.to_be_bytes().to_vec();
                steps.push(Expression::Load { register: SECOND_REGISTER, value });
            }
            let has_port = port.is_some();
            steps.push(Expression::Translate { destination: true, family: nfproto(*to), has_port });
        }
    }
    Ok(())
}

/// As `nft` writes and shows it: a type, a length, the text.
pub(super) fn comment(text: &str) -> Result<Vec<u8>, NetError> {
    if text.len() > 127 || text.contains('\0') {
        return Err(NetError::Invalid("a comment of more than 127 bytes".into()));
    }
    let mut bytes = vec![0, text.len() as u8 + 1];
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
    Ok(bytes)
}

impl Expression {
    /// As an element of a rule's list. Numbers are in network order.
    pub(super) fn put(&self, list: &mut Message) {
        const ELEMENT: u16 = 1;
        list.nest(ELEMENT, |element| {
            element.put_text(1, self.name()).nest(2, |data| self.data(data));
        });
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Meta(_) => "meta",
            Self::Payload { .. } => "payload",
            Self::Mask(_) => "bitwise",
            Self::Compare { .. } => "cmp",
            Self::Counter => "counter",
            Self::Verdict(_) | Self::Load { .. } => "immediate",
            Self::Masquerade => "masq",
            Self::Translate { .. } => "nat",
        }
    }

    fn data(&self, data: &mut Message) {
        let value = |data: &mut Message, kind: u16, value: &[u8]| {
            data.nest(kind, |inside| {
                inside.put(1, value);
            });
        };
        match self {
            Self::Meta(key) => numbers(data, &[(1, REGISTER), (2, *key)]),
            Self::Payload { base, offset, length } => {
                numbers(data, &[(1, REGISTER), (2, *base), (3, *offset), (4, *length)]);
            }
            Self::Mask(mask) => {
                let length = u32::try_from(mask.len()).unwrap_or_default();
                numbers(data, &[(1, REGISTER), (2, REGISTER), (3, length)]);
                value(data, 4, mask);
                value(data, 5, &vec![0; mask.len()]);
            }
            Self::Compare { operation, value: with } => {
                numbers(data, &[(1, REGISTER), (2, *operation)]);
                value(data, 3, with);
            }
            Self::Counter | Self::Masquerade => {}
            Self::Verdict(verdict) => {
                numbers(data, &[(1, VERDICT)]);
                data.nest(2, |inside| {
                    inside.nest(2, |code| numbers(code, &[(1, *verdict)]));
                });
            }
            Self::Load { register, value: with } => {
                numbers(data, &[(1, *register)]);
                value(data, 2, with);
            }
            Self::Translate { destination, family, has_port } => {
                numbers(
                    data,
                    &[(1, u32::from(*destination)), (2, u32::from(*family)), (3, REGISTER), (4, REGISTER)],
                );
                if *has_port {
                    numbers(data, &[(5, SECOND_REGISTER), (6, SECOND_REGISTER)]);
                }
            }
        }
    }
}

fn numbers(data: &mut Message, numbers: &[(u16, u32)]) {
    for (kind, number) in numbers {
        data.put(*kind, &number.to_be_bytes());
    }
}
