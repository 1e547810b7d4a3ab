//! Gives pods the addresses that they ask for by annotation, and keeps them while a pod is restarted. See docs/hooks/static-ip.md.
//!
//! ```json
//! { "module": "static-ip", "grants": ["carry", "state:network"], "config": {
//!     "pools": [{ "subnet": "10.1.2.0/24", "from": "10.1.2.200", "to": "10.1.2.250" }], "keep": "24h" } }
//! ```
//!
//! It asks the plugin's IPAM (`host-local`, `static`, any that knows `runtimeConfig.ips`) for the address and looks whether that has
//! come of it.
//!
//! Teaches: rewriting what is asked for, checking what is given, remembering across pods.

mod ledger;
mod settings;

use ledger::{Taken, Who};
use settings::Settings;
use std::net::IpAddr;
use wasmhook_sdk::cni::{CniResult, Error, Object};
use wasmhook_sdk::{Failure, Hook, Outcome, Post, Pre, Request, Result, carry, info};

/// What the call fails with; see `docs/errors.md`.
const DENIED: u32 = 100;

struct StaticIp;

impl Hook for StaticIp {
    fn pre(request: &Request) -> Result<Pre> {
        match request.verb.as_str() {
            "ADD" => add(request),
            "DEL" => {
                ledger::leave(request)?;
                Ok(Pre::Proceed)
            }
            _ => Ok(Pre::Proceed),
        }
    }

    fn post(request: &Request, outcome: Outcome) -> Result<Post> {
        if request.verb != "ADD" {
            return Ok(Post::Keep);
        }
        let Some(result) = outcome.result()? else {
            ledger::leave(request)?;
            return Ok(Post::Keep);
        };
        let (_, keep) = Settings::read(request)?;
        let asked: Vec<IpAddr> = request.carry()?.unwrap_or_default();
        let given = addresses(&result);
        if let Some(missing) = asked.iter().find(|it| !given.contains(it)) {
            let plugin = &request.plugin;
            let msg = format!(
                "{missing} was asked for, and {plugin} has given {}: its IPAM takes no requests",
                list(&given)
            );
            return Ok(Post::Fail(Error::new(DENIED, msg)));
        }
        if let (Some(time), Some(who)) = (keep, Who::of(request)) {
            ledger::keep(&who, &given, time)?;
        }
        Ok(Post::Keep)
    }

    fn validate(request: &Request) -> Result<()> {
        Settings::read(request).map(drop)
    }
}

fn add(request: &Request) -> Result<Pre> {
    let (settings, keep) = Settings::read(request)?;
    let Some(who) = Who::of(request) else { return Ok(Pre::Proceed) };
    let namespace = request.args.value("K8S_POD_NAMESPACE").unwrap_or_default();
    let denied = |why: String| Ok(Pre::Deny(Error::new(DENIED, format!("pod {}: {why}", who.pod))));
    let annotations = request.annotations()?;
    let (wanted, is_kept) = match annotations.get(&settings.annotation) {
        Some(text) => match asked_for(text) {
            Ok(wanted) => (wanted, false),
            Err(why) => return denied(format!("annotation {}: {why}", settings.annotation)),
        },
        None if keep.is_some() => (ledger::last(&who)?, true),
        None => (Vec::new(), false),
    };
    let in_a_pool = |address: &IpAddr| settings.pool(*address, namespace).is_some();
    if let Some(outside) = wanted.iter().find(|it| !in_a_pool(it)) {
        if is_kept {
            // The pools have changed since.
            return Ok(Pre::Proceed);
        }
        return denied(format!(
            "{outside} is in no pool of its namespace; there are: {}",
            settings.words(namespace)
        ));
    }
    if wanted.is_empty() {
        return Ok(Pre::Proceed);
    }
    match ledger::take(&who, &wanted)? {
        None => {}
        Some((address, Taken::By(other))) if is_kept => {
            info!("{address} was kept for {}, and {other} has it: another one will do", who.pod);
            return Ok(Pre::Proceed);
        }
        Some((address, Taken::By(other))) => {
            return denied(format!("pod {other} has {address}; ask for another one"));
        }
        Some((address, Taken::KeptFor(other))) => {
            return denied(format!("{address} is kept for pod {other} (`keep`); ask for another one"));
        }
    }
    carry::set(&wanted)?;
    rewritten(request.config()?, &settings, &wanted, namespace).map(Pre::Rewrite)
}

/// `10.1.2.3`, or one for each family: `10.1.2.3, fd00::3`; with prefixes or without.
fn asked_for(text: &str) -> Result<Vec<IpAddr>, String> {
    let mut wanted: Vec<IpAddr> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|it| !it.is_empty()) {
        let address = part.split_once('/').map_or(part, |(address, _)| address);
        let address =
            address.parse().map_err(|_| format!("{part:?} is no address; write one such as 10.1.2.3"))?;
        if wanted.iter().any(|it| it.is_ipv4() == IpAddr::is_ipv4(&address)) {
            return Err(format!("{text:?}: one address for each family"));
        }
        wanted.push(address);
    }
    if wanted.is_empty() { Err("it is empty; write an address such as 10.1.2.3".into()) } else { Ok(wanted) }
}

/// As a runtime asks for addresses; `static` gets them as its own.
fn rewritten(mut config: Object, settings: &Settings, wanted: &[IpAddr], namespace: &str) -> Result<Object> {
    let Some(mut ipam) = config.read::<Object>("ipam")? else {
        return Err(Failure::new("the plugin has no `ipam`, so nobody can be asked for an address"));
    };
    let with_prefix: Vec<_> = wanted
        .iter()
        .filter_map(|it| Some(format!("{it}/{}", settings.pool(*it, namespace)?.subnet.prefix)))
        .collect();
    if ipam.read::<String>("type")?.as_deref() == Some("static") {
        #[derive(serde::Serialize)]
        struct Address {
            address: String,
        }
        let addresses: Vec<_> = with_prefix.into_iter().map(|address| Address { address }).collect();
        ipam.set("addresses", &addresses)?;
        config.set("ipam", &ipam)?;
        return Ok(config);
    }
    let mut given = config.read::<Object>("runtimeConfig")?.unwrap_or_default();
    given.set("ips", &wanted)?;
    config.set("runtimeConfig", &given)?;
    Ok(config)
}

fn addresses(result: &CniResult) -> Vec<IpAddr> {
    let old = [&result.ip4, &result.ip6].into_iter().flatten().map(|it| &it.ip);
    let all = result.ips.iter().flatten().map(|it| &it.address).chain(old);
    all.filter_map(|it| it.split_once('/').map_or(&**it, |it| it.0).parse().ok()).collect()
}

fn list(addresses: &[IpAddr]) -> String {
    if addresses.is_empty() {
        return "none".to_owned();
    }
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

wasmhook_sdk::export!(StaticIp);
wasmhook_sdk::settings_schema!("settings.schema.json");

#[cfg(test)]
mod tests;
