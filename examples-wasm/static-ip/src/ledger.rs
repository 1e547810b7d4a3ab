//! Who has which address, and for whom it is kept.
//!
//! ```text
//! used/NETWORK/ADDRESS   the attachment that has it, and its pod
//! has/ATTACHMENT         the addresses that it has, to give them back
//! kept/NETWORK/ADDRESS   the pod that it is kept for, for a while
//! last/NETWORK/POD       the addresses that the pod had last, for as long
//! ```

use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;
use wasmhook_sdk::state::{self, Scope};
use wasmhook_sdk::{Failure, Request, Result};

const SCOPE: Scope = Scope::Network;

/// A pod, and its container's interface.
pub(crate) struct Who {
    /// `shop/web-0`: a pod of a stateful set comes back with it, and with another uid.
    pub(crate) pod: String,
    attachment: String,
}

/// Who has an address.
#[derive(Serialize, Deserialize)]
struct Holder {
    attachment: String,
    pod: String,
}

/// Why an address cannot be had.
pub(crate) enum Taken {
    /// Another pod has it.
    By(String),
    /// It is kept for another pod.
    KeptFor(String),
}

impl Who {
    /// `None`: nobody says which pod it is.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let arg = |key| request.args.value(key).filter(|it| !it.is_empty());
        let pod = format!("{}/{}", arg("K8S_POD_NAMESPACE")?, arg("K8S_POD_NAME")?);
        Some(Self { pod, attachment: attachment(request) })
    }
}

fn attachment(request: &Request) -> String {
    format!("{}/{}", request.container_id, request.ifname)
}

fn read<T: for<'a> Deserialize<'a>>(key: &str) -> Result<Option<T>> {
    let Some(value) = state::get(SCOPE, key)? else { return Ok(None) };
    serde_json::from_slice(&value).map(Some).map_err(|error| Failure::new(format!("state {key}: {error}")))
}

fn write(key: &str, value: &impl Serialize, time: Option<Duration>) -> Result<()> {
    state::set(SCOPE, key, &serde_json::to_vec(value)?, time)
}

/// All of them, or none.
pub(crate) fn take(who: &Who, addresses: &[IpAddr]) -> Result<Option<(IpAddr, Taken)>> {
    // Written down first: what is noted and not taken is harmless.
    write(&format!("has/{}", who.attachment), &addresses, None)?;
    for address in addresses {
        if let Some(taken) = take_one(who, *address)? {
            give_back(&who.attachment)?;
            return Ok(Some((*address, taken)));
        }
    }
    Ok(None)
}

fn take_one(who: &Who, address: IpAddr) -> Result<Option<Taken>> {
    let key = format!("used/{address}");
    let mine = serde_json::to_vec(&Holder { attachment: who.attachment.clone(), pod: who.pod.clone() })?;
    loop {
        let is = state::get(SCOPE, &key)?;
        if let Some(is) = &is {
            let holder: Holder = serde_json::from_slice(is)?;
            if holder.attachment == who.attachment {
                return Ok(None);
            }
            // Its own earlier container, whose DEL is on its way: the address itself is the plugin's to give.
            if holder.pod != who.pod {
                return Ok(Some(Taken::By(holder.pod)));
            }
        } else {
            let kept: Option<String> = read(&format!("kept/{address}"))?;
            if let Some(pod) = kept.filter(|it| *it != who.pod) {
                return Ok(Some(Taken::KeptFor(pod)));
            }
        }
        if state::swap(SCOPE, &key, is.as_deref(), Some(&mine), None)? {
            return Ok(None);
        }
    }
}

/// What this attachment has. Twice is as good as once.
pub(crate) fn leave(request: &Request) -> Result<()> {
    give_back(&attachment(request))
}

fn give_back(attachment: &str) -> Result<()> {
    let note = format!("has/{attachment}");
    for address in read::<Vec<IpAddr>>(&note)?.unwrap_or_default() {
        let key = format!("used/{address}");
        let Some(is) = state::get(SCOPE, &key)? else { continue };
        if serde_json::from_slice::<Holder>(&is).is_ok_and(|it| it.attachment == attachment) {
            state::swap(SCOPE, &key, Some(&is), None, None)?;
        }
    }
    state::remove(SCOPE, &note).map(drop)
}

/// For as long as this the pod gets these addresses again, and nobody else that asks does.
pub(crate) fn keep(who: &Who, addresses: &[IpAddr], time: Duration) -> Result<()> {
    write(&format!("last/{}", who.pod), &addresses, Some(time))?;
    addresses.iter().try_for_each(|address| write(&format!("kept/{address}"), &who.pod, Some(time)))
}

/// What it had last, if that is kept.
pub(crate) fn last(who: &Who) -> Result<Vec<IpAddr>> {
    Ok(read(&format!("last/{}", who.pod))?.unwrap_or_default())
}
