use serde::Deserialize;
use std::net::IpAddr;
use std::time::Duration;
use wasmhook_sdk::net::Cidr;
use wasmhook_sdk::{Failure, Request, Result};
use wildmatch::WildMatch;

/// What an operator writes: `config` of the hook.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Settings {
    /// The annotation that asks.
    #[serde(default = "annotation")]
    pub(crate) annotation: String,
    pub(crate) pools: Vec<Pool>,
    keep: Option<String>,
}

/// Addresses that may be asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pool {
    pub(crate) subnet: Cidr,
    from: Option<IpAddr>,
    to: Option<IpAddr>,
    /// Patterns of the namespaces that may; none: all.
    #[serde(default)]
    namespaces: Vec<String>,
}

fn annotation() -> String {
    "wasmhook.dev/ip".to_owned()
}

impl Settings {
    pub(crate) fn read(request: &Request) -> Result<(Self, Option<Duration>)> {
        let settings: Self = request.settings()?;
        if settings.pools.is_empty() {
            return Err(Failure::new("`config.pools` is empty: write the addresses that pods may ask for"));
        }
        for (index, pool) in settings.pools.iter().enumerate() {
            for (key, address) in [("from", pool.from), ("to", pool.to)] {
                if let Some(address) = address.filter(|it| !pool.subnet.contains(*it)) {
                    let subnet = pool.subnet;
                    return Err(Failure::new(format!(
                        "`config.pools[{index}].{key}`: {address} is not in {subnet}"
                    )));
                }
            }
            if let (Some(from), Some(to)) = (pool.from, pool.to)
                && from > to
            {
                return Err(Failure::new(format!("`config.pools[{index}]`: from {from} to {to} is nothing")));
            }
        }
        let keep = settings.keep.as_deref().map(duration).transpose();
        let keep = keep.map_err(|what| Failure::new(format!("`config.keep`: {what}")))?;
        Ok((settings, keep))
    }

    /// The pool that has this address, for a pod of this namespace.
    pub(crate) fn pool(&self, address: IpAddr, namespace: &str) -> Option<&Pool> {
        self.pools.iter().find(|it| it.has(address) && it.is_for(namespace))
    }

    /// In a sentence: what a pod of this namespace may ask for.
    pub(crate) fn words(&self, namespace: &str) -> String {
        let pools: Vec<_> = self.pools.iter().filter(|it| it.is_for(namespace)).map(Pool::words).collect();
        if pools.is_empty() { "none".to_owned() } else { pools.join(", ") }
    }
}

impl Pool {
    fn has(&self, address: IpAddr) -> bool {
        self.subnet.contains(address)
            && self.from.is_none_or(|from| from <= address)
            && self.to.is_none_or(|to| address <= to)
    }

    fn is_for(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|it| WildMatch::new(it).matches(namespace))
    }

    fn words(&self) -> String {
        match (self.from, self.to) {
            (None, None) => self.subnet.to_string(),
            (from, to) => {
                let end = |it: Option<IpAddr>| it.map(|it| it.to_string()).unwrap_or_default();
                format!("{}-{} of {}", end(from), end(to), self.subnet)
            }
        }
    }
}

/// `30m`, `24h`, `7d`.
fn duration(text: &str) -> Result<Duration, String> {
    let number = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let seconds = match &text[number.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => 0,
    };
    match number.parse::<u64>().ok().and_then(|it| it.checked_mul(seconds)) {
        Some(total) if seconds > 0 && total > 0 => Ok(Duration::from_secs(total)),
        _ => Err(format!("{text:?}: write a time such as \"30m\", \"24h\" or \"7d\"")),
    }
}
