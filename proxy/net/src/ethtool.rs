//! What a link does by itself: ethtool's features.

#![allow(unsafe_code, reason = "ioctls; see the block")]

use crate::stack::{about, refused};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use wasmhook_net_types::NetError;

const GET_STRINGS: u32 = 0x1b;
const GET_SET_INFO: u32 = 0x37;
const GET_FEATURES: u32 = 0x3a;
const SET_FEATURES: u32 = 0x3b;
/// The set of features' names.
const FEATURES: u32 = 4;
const NAME: usize = 32;

/// `struct ifreq`, as far as it is about a pointer.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    data: *mut u8,
    rest: [u8; 16],
}

/// Of one link.
struct Ethtool<'a> {
    socket: OwnedFd,
    link: &'a str,
}

/// A feature, 32 of which share a word in each of the kernel's answers.
struct Feature {
    name: String,
    available: bool,
    active: bool,
}

pub(crate) fn features(link: &str) -> Result<BTreeMap<String, bool>, NetError> {
    let features = Ethtool::of(link)?.features()?;
    Ok(features.into_iter().filter(|it| !it.name.is_empty()).map(|it| (it.name, it.active)).collect())
}

pub(crate) fn set_feature(link: &str, feature: &str, on: bool) -> Result<(), NetError> {
    let ethtool = Ethtool::of(link)?;
    let features = ethtool.features()?;
    let what = format!("feature {feature:?} of link {link:?}");
    let Some(place) = features.iter().position(|it| it.name == feature) else {
        return Err(NetError::NotFound(format!("{what}: there is none")));
    };
    if features[place].active == on {
        return Ok(());
    }
    if !features[place].available {
        return Err(NetError::Unsupported(format!("{what}: it cannot be switched")));
    }
    let words = features.len().div_ceil(32);
    let mut request = vec![SET_FEATURES, u32::try_from(words).unwrap_or_default()];
    request.resize(2 + 2 * words, 0);
    let (word, bit) = (2 + 2 * (place / 32), 1 << (place % 32));
    request[word] = bit;
    request[word + 1] = if on { bit } else { 0 };
    ethtool.ask(&mut request)?;
    match ethtool.features()?.get(place) {
        Some(now) if now.active == on => Ok(()),
        _ => Err(NetError::Unsupported(format!("{what}: the kernel has left it as it was"))),
    }
}

impl<'a> Ethtool<'a> {
    fn of(link: &'a str) -> Result<Self, NetError> {
        let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
        let socket = socket.map_err(|errno| refused("ethtool", errno.into()))?;
        Ok(Self { socket, link })
    }

    /// The kernel reads the words and writes its answer over them.
    fn ask(&self, words: &mut [u32]) -> Result<(), NetError> {
        let mut request =
            Request { name: [0; libc::IFNAMSIZ], data: words.as_mut_ptr().cast(), rest: [0; 16] };
        let name = self.link.as_bytes();
        request.name[..name.len().min(15)].copy_from_slice(&name[..name.len().min(15)]);
        // SAFETY: each caller makes room for the answer to its question, as <linux/ethtool.h> has it.
        let done = Errno::result(unsafe {
            libc::ioctl(self.socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request)
        });
        let what = format!("features of link {:?}", self.link);
        done.map(drop).map_err(|errno| match errno {
            Errno::EOPNOTSUPP => NetError::Unsupported(format!("{what}: it has none")),
            errno => about(&what, errno.into()),
        })
    }

    fn features(&self) -> Result<Vec<Feature>, NetError> {
        let mut info = [GET_SET_INFO, 0, 1 << FEATURES, 0, 0];
        self.ask(&mut info)?;
        let count = info[4] as usize;
        let words = count.div_ceil(32);
        let mut names = vec![GET_STRINGS, FEATURES, info[4]];
        names.resize(3 + count * NAME / 4, 0);
        self.ask(&mut names)?;
        let mut bits = vec![GET_FEATURES, u32::try_from(words).unwrap_or_default()];
        bits.resize(2 + 4 * words, 0);
        self.ask(&mut bits)?;
        let bytes: Vec<u8> = names[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let name = |place: usize| crate::message::read_text(&bytes[place * NAME..(place + 1) * NAME]);
        let bit = |of: usize, place: usize| bits[2 + 4 * (place / 32) + of] & (1 << (place % 32)) != 0;
        let never = |place| bit(3, place);
        let feature = |place| Feature {
            name: name(place),
            available: bit(0, place) && !never(place),
            active: bit(2, place),
        };
        Ok((0..count).map(feature).collect())
    }
}
