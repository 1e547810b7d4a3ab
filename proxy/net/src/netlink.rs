//! Asking the kernel: a request, and what it answers.

use crate::message::{Message, Reply, attribute, read_text, read_u32, replies};
use nix::errno::Errno;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt,
    socket,
};
use nix::sys::time::{TimeVal, TimeValLike};
use std::os::fd::{AsRawFd, OwnedFd};

/// The kernel refused, or could not be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) errno: Errno,
    /// What it said beside the number; empty: nothing.
    pub(crate) words: String,
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Self {
        Self { errno, words: String::new() }
    }
}

/// A socket of the namespace that its maker was in. It blocks: the kernel answers within the send.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// More than a page of links; the kernel fills at most this.
const LARGEST: usize = 64 << 10;
/// Filters of dumps are taken seriously (<linux/netlink.h>).
const GET_STRICT_CHK: libc::c_int = 12;
/// A dump that changes under way is begun anew so often.
const TRIES: usize = 10;
/// What has `NLMSGERR_ATTR_MSG`.
const ERROR_WORDS: u16 = 1;

impl Socket {
    pub(crate) fn open(protocol: SockProtocol) -> Result<Self, Errno> {
        let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        // The answer is there when the question has been sent; nobody shall wait for one that never comes.
        setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(10))?;
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK, GET_STRICT_CHK] {
            switch_on(&socket, option)?;
        }
        Ok(Self { fd: socket, sequence: 0, buffer: vec![0; LARGEST] })
    }

    /// Something to be done.
    pub(crate) fn request(&mut self, message: Message) -> Result<(), Refused> {
        self.batch(vec![message]).map_err(|(_, refused)| refused)
    }

    /// Several things to be done, one after the other, with one system call. Each is tried; the first that was refused, by its
    /// place.
    pub(crate) fn batch(&mut self, messages: Vec<Message>) -> Result<(), (usize, Refused)> {
        let count = messages.len();
        let first = self.sequence + 1;
        let mut bytes = Vec::with_capacity(512 * count);
        for message in messages {
            self.sequence += 1;
            let mut message = message.finish(self.sequence);
            message[6] |= libc::NLM_F_ACK as u8;
            bytes.extend(message);
        }
        send(self.fd.as_raw_fd(), &bytes, MsgFlags::empty()).map_err(|errno| (0, errno.into()))?;
        let mut refused = None;
        let mut answered = 0;
        while answered < count {
            let length = self.receive().map_err(|errno| (answered, errno.into()))?;
            for reply in replies(&self.buffer[..length]).filter(|it| it.sequence >= first) {
                if i32::from(reply.kind) == libc::NLMSG_ERROR {
                    answered += 1;
                    let place = (reply.sequence - first) as usize;
                    refused = refused.or(error(&reply).map(|it| (place, it)));
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Several things to be done, all of them or none.
    pub(crate) fn transaction(
        &mut self,
        begin: Message,
        messages: Vec<Message>,
        end: Message,
    ) -> Result<(), Refused> {
        let count = messages.len();
        self.sequence += 1;
        let first = self.sequence;
        let mut bytes = begin.finish(first);
        for message in messages {
            self.sequence += 1;
            let mut message = message.finish(self.sequence);
            message[6] |= libc::NLM_F_ACK as u8;
            bytes.extend(message);
        }
        self.sequence += 1;
        bytes.extend(end.finish(self.sequence));
        send(self.fd.as_raw_fd(), &bytes, MsgFlags::empty())?;
        let mut answered = 0;
        while answered < count {
            let length = self.receive()?;
            for reply in replies(&self.buffer[..length]).filter(|it| it.sequence >= first) {
                // The first refusal is the end of all of it.
                if let Some(refused) = error(&reply) {
                    return Err(refused);
                }
                answered += usize::from(reply.sequence != first);
            }
        }
        Ok(())
    }

    /// One thing that the kernel knows.
    pub(crate) fn get<T>(
        &mut self,
        message: Message,
        mut read: impl FnMut(&Reply<'_>) -> T,
    ) -> Result<T, Refused> {
        self.sequence += 1;
        let bytes = message.finish(self.sequence);
        send(self.fd.as_raw_fd(), &bytes, MsgFlags::empty())?;
        loop {
            let length = self.receive()?;
            for reply in replies(&self.buffer[..length]).filter(|it| it.sequence == self.sequence) {
                if i32::from(reply.kind) != libc::NLMSG_ERROR {
                    return Ok(read(&reply));
                }
                if let Some(refused) = error(&reply) {
                    return Err(refused);
                }
            }
        }
    }

    /// All that the kernel knows of a kind.
    pub(crate) fn dump<T>(
        &mut self,
        message: impl Fn() -> Message,
        mut read: impl FnMut(&Reply<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Refused> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.try_dump(message(), &mut read)? {
                (all, whole) if whole || tries == TRIES => return Ok(all),
                _ => {}
            }
        }
    }

    /// Is it whole, or has it changed under way?
    fn try_dump<T>(
        &mut self,
        message: Message,
        read: &mut impl FnMut(&Reply<'_>) -> Option<T>,
    ) -> Result<(Vec<T>, bool), Refused> {
        self.sequence += 1;
        let mut bytes = message.finish(self.sequence);
        let flags = u16::from_ne_bytes([bytes[6], bytes[7]]) | libc::NLM_F_DUMP as u16;
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        send(self.fd.as_raw_fd(), &bytes, MsgFlags::empty())?;
        let (mut all, mut whole) = (Vec::new(), true);
        loop {
            let length = self.receive()?;
            for reply in replies(&self.buffer[..length]).filter(|it| it.sequence == self.sequence) {
                whole &= i32::from(reply.flags) & libc::NLM_F_DUMP_INTR == 0;
                match i32::from(reply.kind) {
                    libc::NLMSG_DONE => {
                        let failed = read_u32(reply.body).map_or(0, u32::cast_signed);
                        return if failed < 0 {
                            Err(Errno::from_raw(-failed).into())
                        } else {
                            Ok((all, whole))
                        };
                    }
                    libc::NLMSG_ERROR => {
                        if let Some(refused) = error(&reply) {
                            return Err(refused);
                        }
                    }
                    _ => all.extend(read(&reply)),
                }
            }
        }
    }

    fn receive(&mut self) -> Result<usize, Errno> {
        loop {
            match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                Ok(0) => return Err(Errno::EPROTO),
                received => return received,
            }
        }
    }
}

/// An option that an older kernel does without.
#[allow(unsafe_code, reason = "options that nobody wraps; see the block")]
fn switch_on(socket: &OwnedFd, option: libc::c_int) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    // SAFETY: a number of that size, which lives.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const on).cast(),
            size_of_val(&on) as _,
        )
    };
    match Errno::result(set) {
        Ok(_) | Err(Errno::ENOPROTOOPT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// What an acknowledgement says: `None` is a yes.
fn error(reply: &Reply<'_>) -> Option<Refused> {
    let errno = read_u32(reply.body)?.cast_signed();
    // Behind the number comes the request's header, and then what the kernel adds.
    let words = reply.body.get(4 + crate::message::HEADER..).and_then(|rest| attribute(rest, ERROR_WORDS));
    (errno != 0)
        .then(|| Refused { errno: Errno::from_raw(-errno), words: words.map(read_text).unwrap_or_default() })
}
