use crate::netlink::{Refused, Socket};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::SockProtocol;
use std::os::fd::OwnedFd;
use wasmhook_net_types::NetError;

/// One network stack, as the thread sees it that has entered its namespace. What asks the kernel something is in the file of
/// what it asks about.
#[derive(Debug)]
pub(crate) struct Stack {
    entered: Result<(), Errno>,
    route: Option<Socket>,
}

impl Stack {
    /// Enters the namespace, for good.
    pub(crate) fn new(namespace: Option<&OwnedFd>) -> Self {
        let entered = namespace.map_or(Ok(()), |namespace| setns(namespace, CloneFlags::CLONE_NEWNET));
        Self { entered, route: None }
    }

    /// To whoever knows links, addresses, routes and neighbours.
    pub(crate) fn route(&mut self) -> Result<&mut Socket, NetError> {
        self.enter()?;
        if self.route.is_none() {
            let opened = Socket::open(SockProtocol::NetlinkRoute);
            self.route = Some(opened.map_err(|errno| refused("netlink", errno.into()))?);
        }
        self.route.as_mut().ok_or_else(|| NetError::NotFound("netlink".into()))
    }

    /// Nothing is done in a namespace that is not the one that is meant.
    pub(crate) fn enter(&self) -> Result<(), NetError> {
        self.entered.map_err(|errno| refused("entering the network namespace", errno.into()))
    }
}

/// In words: what was being done, the kernel's number, what it says.
pub(crate) fn refused(doing: impl Into<String>, refused: Refused) -> NetError {
    let Refused { errno, words } = refused;
    let said = if words.is_empty() { errno.desc().to_owned() } else { format!("{} ({words})", errno.desc()) };
    NetError::Kernel { doing: doing.into(), words: said, errno: errno as i32 }
}

/// The same for what is about something that may be there or not.
pub(crate) fn about(what: &str, error: Refused) -> NetError {
    match error.errno {
        Errno::ENODEV | Errno::ENOENT | Errno::ESRCH | Errno::EADDRNOTAVAIL => {
            NetError::NotFound(format!("{what}: there is none"))
        }
        Errno::EEXIST => NetError::Exists(format!("{what}: it is there already")),
        _ => refused(what, error),
    }
}
