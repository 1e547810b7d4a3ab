//! Places, as many as there may be. Whoever has one is written in it, so that nothing has to be counted: a place is taken where
//! nobody is, in one step, and a process that dies between two steps leaves no number that is wrong for ever.

use wasmhook_sdk::state::{self, Scope};
use wasmhook_sdk::{Request, Result};

/// Of one quota and bucket.
pub(crate) struct Places<'a> {
    pub(crate) quota: &'a str,
    pub(crate) bucket: &'a str,
}

/// The longest name that stands as it is.
const LONGEST: usize = 70;
/// Somebody else may take what was free; then it is looked for anew.
const TRIES: usize = 5;

/// An attachment.
pub(crate) fn holder(request: &Request) -> String {
    holder_of(&request.network, &request.container_id, &request.ifname)
}

/// Of a network alone: how all of its attachments begin.
pub(crate) fn holder_of(network: &str, container_id: &str, ifname: &str) -> String {
    match container_id {
        "" => format!("{}/", short(network)),
        id => format!("{}/{}/{}", short(network), short(id), short(ifname)),
    }
}

fn short(text: &str) -> String {
    if text.len() <= LONGEST && !text.contains('/') {
        return text.to_owned();
    }
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

impl Places<'_> {
    fn prefix(&self) -> String {
        format!("places/{}/{}/", self.quota, short(self.bucket))
    }

    /// So many in all for this holder, or none more than before.
    pub(crate) fn take(&self, holder: &str, number: usize, most: usize) -> Result<bool> {
        let prefix = self.prefix();
        let mut mine = list(self.quota, holder)?.into_iter().filter(|it| it.starts_with(&prefix)).count();
        for _ in 0..TRIES {
            let taken = state::keys(Scope::Node, &prefix)?;
            let free = (0..most)
                .map(|place| format!("{prefix}{place}"))
                .filter(|it| taken.binary_search(it).is_err());
            let free: Vec<_> = free.collect();
            if mine + free.len() < number {
                return Ok(mine >= number);
            }
            for place in free {
                if mine >= number {
                    break;
                }
                // First the note, then the place: a note of a place that somebody else has is harmless.
                note(self.quota, holder, &place)?;
                if state::swap(Scope::Node, &place, None, Some(holder.as_bytes()), None)? {
                    mine += 1;
                }
            }
            if mine >= number {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn notes(quota: &str, holder: &str) -> String {
    format!("holders/{quota}/{holder}")
}

/// The places that a holder has.
fn list(quota: &str, holder: &str) -> Result<Vec<String>> {
    let mut mine = Vec::new();
    for place in noted(&notes(quota, holder))? {
        if state::get(Scope::Node, &place)?.as_deref() == Some(holder.as_bytes()) {
            mine.push(place);
        }
    }
    Ok(mine)
}

fn noted(key: &str) -> Result<Vec<String>> {
    let text = state::get(Scope::Node, key)?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
}

/// Calls of one attachment come one after the other, so nobody else writes this.
fn note(quota: &str, holder: &str, place: &str) -> Result<()> {
    let key = notes(quota, holder);
    let mut places = noted(&key)?;
    if !places.iter().any(|it| it == place) {
        places.push(place.to_owned());
        state::set(Scope::Node, &key, places.join("\n").as_bytes(), None)?;
    }
    Ok(())
}

/// All that a holder has. Twice is as good as once.
pub(crate) fn give_back(quota: &str, holder: &str) -> Result<()> {
    let key = notes(quota, holder);
    let places = noted(&key)?;
    for place in &places {
        state::swap(Scope::Node, place, Some(holder.as_bytes()), None, None)?;
    }
    if !places.is_empty() {
        state::remove(Scope::Node, &key)?;
    }
    Ok(())
}

/// All that holders of this network have who are not among the known ones.
pub(crate) fn sweep(quota: &str, network: &str, known: &[String]) -> Result<()> {
    let all = notes(quota, network);
    for key in state::keys(Scope::Node, &all)? {
        let Some(holder) = key.strip_prefix(&notes(quota, "")) else { continue };
        if !known.iter().any(|it| it == holder) {
            give_back(quota, holder)?;
        }
    }
    Ok(())
}
