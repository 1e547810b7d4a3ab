//! Taps and tuns, which netlink cannot make.

#![allow(unsafe_code, reason = "ioctls; see each block")]

use nix::errno::Errno;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::path::Path;
use wasmhook_net_types::{NetError, Offload, TapMode, TapSpec};

const DEVICE: &str = "/dev/net/tun";
/// Of the thread: the label of the sockets that it makes, as which a tun counts.
const SOCKET_LABEL: &str = "/proc/thread-self/attr/sockcreate";

/// `struct ifreq`, as far as it is about flags.
#[repr(C)]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    flags: libc::c_short,
    rest: [u8; 22],
}

/// Makes one in the namespace that the thread is in. It has no name that is not its last, so that no half-made one can be
/// left; and until the last step it goes with the file.
pub(crate) fn create(spec: &TapSpec) -> Result<(), NetError> {
    spec.judge()?;
    let file = OpenOptions::new().read(true).write(true).open(DEVICE).map_err(|error| no_device(&error))?;
    let labelled = spec.selinux_context.as_deref().map(Label::set).transpose()?;
    let mut request = Request { name: [0; libc::IFNAMSIZ], flags: flags(spec), rest: [0; 22] };
    request.name[..spec.name.len()].copy_from_slice(spec.name.as_bytes());
    // SAFETY: a request of the right size, which the kernel reads and writes.
    let made =
        Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) });
    made.map_err(|errno| match errno {
        Errno::EBUSY | Errno::EEXIST => {
            NetError::Exists(format!("link {:?}: it is there already", spec.name))
        }
        errno => refused(spec, "TUNSETIFF", errno),
    })?;
    drop(labelled);
    let set = |what: &str, request: libc::Ioctl, value: libc::c_ulong| {
        // SAFETY: these take a number and no pointer.
        let done = Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), request, value) });
        done.map(drop).map_err(|errno| refused(spec, what, errno))
    };
    if let Some(owner) = spec.owner {
        set("TUNSETOWNER", libc::TUNSETOWNER as _, owner.into())?;
    }
    if let Some(group) = spec.group {
        set("TUNSETGROUP", libc::TUNSETGROUP as _, group.into())?;
    }
    if !spec.offloads.is_empty() {
        set("TUNSETOFFLOAD", libc::TUNSETOFFLOAD as _, offloads(&spec.offloads))?;
    }
    set("TUNSETPERSIST", libc::TUNSETPERSIST as _, 1)
}

fn flags(spec: &TapSpec) -> libc::c_short {
    let bit = |is: bool, flag: libc::c_int| if is { flag } else { 0 };
    let flags = bit(spec.mode == TapMode::Tap, libc::IFF_TAP)
        | bit(spec.mode == TapMode::Tun, libc::IFF_TUN)
        | bit(!spec.packet_info, libc::IFF_NO_PI)
        | bit(spec.vnet_header, libc::IFF_VNET_HDR)
        | bit(spec.multi_queue, libc::IFF_MULTI_QUEUE)
        | libc::IFF_TUN_EXCL;
    // Bits, of which the highest is a sign here.
    flags as libc::c_short
}

/// `TUN_F_*`, <`linux/if_tun.h`>.
fn offloads(wanted: &[Offload]) -> libc::c_ulong {
    let bit = |offload: &Offload| match offload {
        Offload::Checksum => 0x01,
        Offload::Tso4 => 0x02,
        Offload::Tso6 => 0x04,
        Offload::TsoEcn => 0x08,
    };
    wanted.iter().map(bit).fold(0, |bits, bit| bits | bit)
}

fn no_device(error: &io::Error) -> NetError {
    match error.kind() {
        ErrorKind::NotFound => {
            NetError::Unsupported(format!("{DEVICE}: there is none on this node (`modprobe tun`)"))
        }
        _ => NetError::Kernel {
            doing: DEVICE.into(),
            words: error.to_string(),
            errno: error.raw_os_error().unwrap_or_default(),
        },
    }
}

fn refused(spec: &TapSpec, what: &str, errno: Errno) -> NetError {
    let doing = format!("tap {:?}: {what}", spec.name);
    NetError::Kernel { doing, words: errno.desc().into(), errno: errno as i32 }
}

/// The label for what this thread makes, as long as this lives.
struct Label;

impl Label {
    fn set(context: &str) -> Result<Self, NetError> {
        if !Path::new("/sys/fs/selinux/enforce").exists() {
            let why = "SELinux does not run on this node: leave it out";
            return Err(NetError::Unsupported(format!("selinuxContext {context:?}: {why}")));
        }
        fs::write(SOCKET_LABEL, context).map_err(|error| NetError::Kernel {
            doing: format!("selinuxContext {context:?}"),
            words: error.to_string(),
            errno: error.raw_os_error().unwrap_or_default(),
        })?;
        Ok(Self)
    }
}

impl Drop for Label {
    fn drop(&mut self) {
        // An empty write takes it back.
        if let Err(error) =
            File::create(SOCKET_LABEL).and_then(|mut file| io::Write::write_all(&mut file, b"\n"))
        {
            tracing::error!("{SOCKET_LABEL}: {error}");
        }
    }
}
