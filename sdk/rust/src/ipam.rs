//! IP address management. Needs the grant `ipam`, or that of a pool: `ipam:native`, `ipam:host-local` …
//!
//! Addresses that are allocated at ADD are given back by the host when the ADD fails, at DEL and at GC.

use crate::HostError;
use crate::cni::{CniResult, Object, SpecVersion, convert};
use wasmhook_net_types::Place;

#[cfg(target_arch = "wasm32")]
use crate::bindings::wasmhook::host::ipam as host;

type Result<T> = std::result::Result<T, HostError>;

/// Where addresses come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pool {
    /// The host itself, in host-local's files and with its configuration.
    Native,
    /// A plugin of this type.
    Plugin(String),
}

impl Pool {
    #[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "a test asks nobody"))]
    fn as_str(&self) -> &str {
        match self {
            Self::Native => "native",
            Self::Plugin(plugin) => plugin,
        }
    }
}

/// How a result is applied.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Options {
    /// The kernel tells the neighbours whenever the link comes up.
    pub announce: bool,
    /// IPv6: ask first whether somebody else has the address.
    pub dad: bool,
}

/// At ADD: addresses for this attachment, by this configuration of a plugin (`name`, `cniVersion`, `ipam` …), in the newest
/// version.
pub fn allocate(pool: &Pool, config: &Object) -> Result<CniResult> {
    #[cfg(target_arch = "wasm32")]
    let result = host::allocate(pool.as_str(), &config.to_string())?;
    #[cfg(not(target_arch = "wasm32"))]
    let result = native::allocate(pool, config)?;
    newest(&result, config)
}

fn newest(result: &str, config: &Object) -> Result<CniResult> {
    let invalid = |error: &dyn std::fmt::Display| HostError {
        code: "invalid".to_owned(),
        errno: 0,
        message: format!("what IPAM returned: {error}"),
    };
    let version = |of: &Object| of.read::<String>("cniVersion").ok().flatten()?.parse().ok();
    let own = version(config).unwrap_or(SpecVersion::V1_1_0);
    if own >= SpecVersion::V1_0_0 {
        // Written in the same way.
        return serde_json::from_str(result).map_err(|error| invalid(&error));
    }
    let result: Object = result.parse().map_err(|error| invalid(&error))?;
    let version = version(&result).unwrap_or(own);
    let result = convert(&result, version, SpecVersion::V1_1_0).map_err(|error| invalid(&error))?;
    serde_json::from_str(&result.to_string()).map_err(|error| invalid(&error))
}

/// Gives back what this attachment has, if it has anything. At DEL that is needed only for what another plugin has allocated.
pub fn release(pool: &Pool, config: &Object) -> Result<()> {
    #[cfg(target_arch = "wasm32")]
    let released = Ok(host::release(pool.as_str(), &config.to_string())?);
    #[cfg(not(target_arch = "wasm32"))]
    let released = native::release(pool, config);
    released
}

/// At CHECK: `not-found` when this attachment has no address.
pub fn check(pool: &Pool, config: &Object) -> Result<()> {
    #[cfg(target_arch = "wasm32")]
    let checked = Ok(host::check(pool.as_str(), &config.to_string())?);
    #[cfg(not(target_arch = "wasm32"))]
    let checked = native::check(pool, config);
    checked
}

/// Gives a link everything that a result has for it: addresses, up, routes. Needs the grant `link` for that place as well.
pub fn apply(place: Place, link: &str, result: &CniResult, options: Options) -> Result<()> {
    #[cfg(target_arch = "wasm32")]
    let applied = {
        let (result, options) = (crate::host::json(result), crate::host::json(&options));
        Ok(host::apply(place.as_str(), link, &result, &options)?)
    };
    #[cfg(not(target_arch = "wasm32"))]
    let applied = native::apply(place, link, result, options);
    applied
}

/// In a test, a container has the id `test` and the interface `eth0`.
#[cfg(not(target_arch = "wasm32"))]
mod native {
    use super::{HostError, Options, Pool, Result};
    use crate::cni::{CniResult, Object};
    use crate::testing::{self, network};
    use wasmhook_net_types::{Address, Cidr, LinkChange, Network as _, Place, Route};

    const HOLDER: (&str, &str) = ("test", "eth0");

    pub(super) fn allocate(pool: &Pool, config: &Object) -> Result<String> {
        Ok(match pool {
            Pool::Plugin(plugin) => testing::run(plugin, "ADD", config)?.unwrap_or_default(),
            Pool::Native => {
                let given = network(|it| it.allocate(&config.to_string(), &[], HOLDER.0, HOLDER.1))?;
                let ips: Vec<_> = given
                    .iter()
                    .map(|(address, gateway)| serde_json::json!({ "address": address, "gateway": gateway }))
                    .collect();
                let ipam: Option<serde_json::Value> = config.read("ipam").ok().flatten();
                let routes = ipam.map(|it| it["routes"].clone()).filter(|it| !it.is_null());
                serde_json::json!({ "cniVersion": "1.1.0", "ips": ips, "routes": routes }).to_string()
            }
        })
    }

    fn invalid(error: &dyn std::fmt::Display) -> HostError {
        HostError { code: "invalid".into(), errno: 0, message: error.to_string() }
    }

    pub(super) fn release(pool: &Pool, config: &Object) -> Result<()> {
        match pool {
            Pool::Plugin(plugin) => testing::run(plugin, "DEL", config).map(drop),
            Pool::Native => {
                testing::with(|it| it.release(HOLDER.0, HOLDER.1));
                Ok(())
            }
        }
    }

    pub(super) fn check(pool: &Pool, config: &Object) -> Result<()> {
        match pool {
            Pool::Plugin(plugin) => testing::run(plugin, "CHECK", config).map(drop),
            Pool::Native if testing::with(|it| it.held(HOLDER.0, HOLDER.1).is_empty()) => {
                Err(HostError { code: "not-found".into(), errno: 0, message: "no address".into() })
            }
            Pool::Native => Ok(()),
        }
    }

    pub(super) fn apply(place: Place, link: &str, result: &CniResult, options: Options) -> Result<()> {
        let up = LinkChange { up: Some(true), ..LinkChange::default() };
        network(|it| it.update_link(place, link, &up))?;
        let mut gateways = Vec::new();
        for ip in result.ips.iter().flatten() {
            let address: Cidr = ip.address.parse().map_err(|error| invalid(&error))?;
            let address = Address { no_dad: !options.dad, ..address.into() };
            network(|it| it.add_address(place, link, &address))?;
            gateways.extend(ip.gateway.as_ref().and_then(|it| it.parse::<std::net::IpAddr>().ok()));
        }
        for route in result.routes.iter().flatten() {
            let dst: Cidr = route.dst.parse().map_err(|error| invalid(&error))?;
            let own = route.gw.as_ref().and_then(|it| it.parse().ok());
            let usual = gateways.iter().find(|it| it.is_ipv4() == dst.address.is_ipv4()).copied();
            let route = Route { mtu: route.mtu, ..Route::to(dst).via(own.or(usual)).dev(link) };
            network(|it| it.add_route(place, &route))?;
        }
        Ok(())
    }
}
