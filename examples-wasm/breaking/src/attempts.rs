//! What is remembered: how many attempts there were, and whom a fault is at.

use crate::settings::{Per, Settings};
use std::time::Duration;
use wasmhook_sdk::state::{self, Scope};
use wasmhook_sdk::{Request, Result, warn};

/// Without a limit so many are written down, for `wasmhookctl faults list`.
const MOST_LISTED: u32 = 64;
/// The longest name that stands as it is in a key.
const LONGEST: usize = 100;

/// Whose attempts are counted, and what is told of it.
#[derive(Debug)]
pub(crate) struct Subject {
    /// `pod/4f1c…`, `attachment/net/c1/eth0`, `network/net`.
    pub(crate) key: String,
    /// For a person.
    pub(crate) name: String,
}

impl Subject {
    pub(crate) fn of(request: &Request, per: Per) -> Self {
        let arg = |key| request.args.value(key).filter(|it| !it.is_empty());
        let container = &request.container_id;
        let name = match (arg("K8S_POD_NAMESPACE"), arg("K8S_POD_NAME")) {
            (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
            _ => container.clone(),
        };
        // GC and STATUS are about no container.
        let per = if container.is_empty() { Per::Network } else { per };
        match per {
            Per::Network => Self {
                key: format!("network/{}", short(&request.network)),
                name: format!("network {}", request.network),
            },
            Per::Pod => Self { key: format!("pod/{}", short(arg("K8S_POD_UID").unwrap_or(container))), name },
            Per::Attachment => {
                let names = [&request.network, container, &request.ifname].map(String::as_str).join("/");
                Self {
                    key: format!("attachment/{}", short(&names)),
                    name: format!("{name} {}", request.ifname),
                }
            }
        }
    }

    /// What stands at its place, which a person reads.
    fn told(&self) -> String {
        format!("{} ({})", self.name, self.key)
    }
}

/// A key has 256 bytes at most.
fn short(text: &str) -> String {
    if text.len() <= LONGEST { text.to_owned() } else { format!("{:016x}", hash(text)) }
}

pub(crate) fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The number of this attempt, from 1. Exact over all processes of the node.
pub(crate) fn next(what: &str, subject: &Subject, remember: Duration) -> Result<u64> {
    let number = state::add(Scope::Network, &format!("attempts/{what}/{}", subject.key), 1, Some(remember))?;
    Ok(u64::try_from(number).unwrap_or_default())
}

/// Takes a place among those that a fault is at. `false`: there are as many as there may be.
pub(crate) fn enter(settings: &Settings, subject: &Subject, now: Option<Duration>) -> Result<bool> {
    let mine = mine(subject);
    if state::get(Scope::Node, &mine)?.is_some() {
        return Ok(true);
    }
    // Not beyond its own end.
    let left = settings.window.not_after.zip(now).map(|(until, now)| until.saturating_sub(now));
    let time = Some(left.map_or(settings.remember, |left| left.min(settings.remember)));
    let value = subject.told();
    // Asked once, so that a full node costs one question and not one for each place.
    let taken = state::keys(Scope::Node, "active/")?;
    for place in 0..settings.max_active.unwrap_or(MOST_LISTED) {
        let key = format!("active/{place}");
        if taken.binary_search(&key).is_ok()
            || !state::swap(Scope::Node, &key, None, Some(value.as_bytes()), time)?
        {
            continue;
        }
        // The same pod's other interface may have come first: one place is enough.
        if !state::swap(Scope::Node, &mine, None, Some(key.as_bytes()), time)? {
            state::remove(Scope::Node, &key)?;
        }
        return Ok(true);
    }
    Ok(settings.max_active.is_none())
}

/// Gives it back. What cannot be is gone when its time is over.
pub(crate) fn leave(subject: &Subject) {
    let mine = mine(subject);
    let leave = || -> Result<()> {
        if let Some(place) = state::get(Scope::Node, &mine)? {
            // Its time may have been over before, and the place somebody else's by now.
            let place = String::from_utf8_lossy(&place);
            state::swap(Scope::Node, &place, Some(subject.told().as_bytes()), None, None)?;
            state::remove(Scope::Node, &mine)?;
        }
        Ok(())
    };
    if let Err(failure) = leave() {
        warn!("{} stays among the active ones for a while: {failure}", subject.name);
    }
}

fn mine(subject: &Subject) -> String {
    format!("place/{}", subject.key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_still_fit_into_a_key_and_stay_apart() {
        let at = |network: &str, container: &str| {
            let request = Request {
                network: network.into(),
                container_id: container.into(),
                ifname: "eth0".into(),
                ..Request::default()
            };
            Subject::of(&request, Per::Attachment).key
        };
        // The host takes 256 bytes, of which the verb, the moment and the script's hash need some.
        assert!(at(&"n".repeat(100), &"c".repeat(100)).len() <= 200);
        assert_ne!(at(&"n".repeat(100), &"c".repeat(100)), at(&"n".repeat(100), &"d".repeat(100)));
    }

    #[test]
    fn a_call_that_is_about_no_container_is_about_the_network() {
        let request = Request { network: "net".into(), verb: "STATUS".into(), ..Request::default() };
        for per in [Per::Pod, Per::Attachment, Per::Network] {
            let subject = Subject::of(&request, per);
            assert_eq!((subject.key.as_str(), subject.name.as_str()), ("network/net", "network net"));
        }
    }
}
