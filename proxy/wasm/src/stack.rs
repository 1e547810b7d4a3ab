//! The main thread's stack, on which guests run that never wait. It grows as far as `RLIMIT_STACK` allows at that moment:
//! a guest that goes deeper is ended by a signal, and whoever runs it with it.

use crate::Fault;
use crate::limits::size;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// For the host's own functions, above the guest and below it.
const HOST: u64 = 1 << 20;

/// Lets a guest have this much, however little whoever started us has left us.
pub(crate) fn make_room(guest: u64) -> Result<(), Fault> {
    let failed = |error: nix::Error| Fault::Host(format!("RLIMIT_STACK: {error}"));
    let (soft, hard) = getrlimit(Resource::RLIMIT_STACK).map_err(failed)?;
    let wanted = guest.saturating_add(HOST);
    if soft >= wanted {
        return Ok(());
    }
    if hard < wanted {
        let (guest, hard) = (size(guest), size(hard));
        return Err(Fault::Host(format!(
            "a stack of {guest} does not fit into this process, which may have {hard} (RLIMIT_STACK)"
        )));
    }
    setrlimit(Resource::RLIMIT_STACK, wanted, hard).map_err(failed)
}
