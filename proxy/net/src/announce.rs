//! Telling everybody on a link that an address is here.

#![allow(unsafe_code, reason = "a link's own address has no wrapper that takes bytes; see the block")]

use crate::stack::refused;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use wasmhook_net_types::{Link, Mac, NetError};

const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

/// Gratuitous ARP, or an unsolicited neighbour advertisement.
pub(crate) fn announce(link: &Link, address: IpAddr) -> Result<(), NetError> {
    let what = || format!("announcing {address} on link {:?}", link.name);
    let mac: Mac = link
        .mac
        .parse()
        .map_err(|_| NetError::Unsupported(format!("{}: it has no hardware address", what())))?;
    let (kind, to, packet) = match address {
        IpAddr::V4(address) => (ARP, [0xff; 6], arp(mac, address)),
        IpAddr::V6(address) => (IPV6, [0x33, 0x33, 0, 0, 0, 1], advertisement(mac, address)),
    };
    send(link.index, kind, to, &packet).map_err(|errno| refused(what(), errno.into()))
}

fn send(index: u32, kind: u16, to: [u8; 6], packet: &[u8]) -> Result<(), Errno> {
    let socket = socket(AddressFamily::Packet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut address = [0; 8];
    address[..6].copy_from_slice(&to);
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: kind.to_be(),
        sll_ifindex: index.cast_signed(),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr: address,
    };
    // SAFETY: both pointers are to what lives here, with their sizes.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            packet.as_ptr().cast(),
            packet.len(),
            0,
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )
    };
    Errno::result(sent).map(drop)
}

/// A request for oneself, which everybody takes note of.
fn arp(mac: Mac, address: Ipv4Addr) -> Vec<u8> {
    const REQUEST: u8 = 1;
    let head = [0, 1, 0x08, 0, 6, 4, 0, REQUEST];
    [&head[..], &mac.0, &address.octets(), &[0xff; 6], &address.octets()].concat()
}

/// To all nodes, with the flag that says that this overrides what they know.
fn advertisement(mac: Mac, address: Ipv6Addr) -> Vec<u8> {
    const ADVERTISEMENT: u8 = 136;
    const OVERRIDE: u8 = 0x20;
    const TARGET_LINK_ADDRESS: u8 = 2;
    let all: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let head = [ADVERTISEMENT, 0, 0, 0, OVERRIDE, 0, 0, 0];
    let mut message = [&head[..], &address.octets(), &[TARGET_LINK_ADDRESS, 1], &mac.0].concat();
    let sum = checksum(address, all, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let length = (message.len() as u16).to_be_bytes();
    let header = [0x60, 0, 0, 0, length[0], length[1], ICMPV6, 255];
    [&header[..], &address.octets(), &all.octets(), &message].concat()
}

const ICMPV6: u8 = 58;

/// RFC 4443, 2.3.
fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let length = (message.len() as u32).to_be_bytes();
    let all = [&from.octets()[..], &to.octets(), &length, &[0, 0, 0, ICMPV6], message].concat();
    let words = all.chunks(2).map(|it| u32::from(it[0]) << 8 | u32::from(*it.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
