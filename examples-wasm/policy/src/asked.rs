//! What is asked for, wherever it stands, and what has come of it.

use serde::Deserialize;
use std::fmt;
use std::net::IpAddr;
use wasmhook_sdk::cni::{CniResult, Object};
use wasmhook_sdk::{Request, Result};

/// What a pod asks for, or has got.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) network: String,
    pub(crate) ifname: String,
    pub(crate) namespace: Option<String>,
    pub(crate) pod: Option<String>,
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) host_ports: Vec<HostPort>,
    pub(crate) macs: Vec<String>,
    pub(crate) mtus: Vec<u32>,
    pub(crate) plugins: Vec<String>,
    pub(crate) capabilities: Vec<String>,
}

/// A host port of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPort {
    pub(crate) port: u16,
    /// In lower case.
    pub(crate) protocol: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Mapping {
    #[serde(default)]
    host_port: u16,
    #[serde(default)]
    protocol: String,
}

#[derive(Default, Deserialize)]
struct Typed {
    #[serde(rename = "type", default)]
    plugin: String,
}

/// `args.cni` of a configuration.
#[derive(Default, Deserialize)]
struct Args {
    #[serde(default)]
    cni: Wishes,
}

#[derive(Default, Deserialize)]
struct Wishes {
    #[serde(default)]
    ips: Vec<String>,
    mac: Option<String>,
}

impl Asked {
    fn whoever(request: &Request) -> Self {
        let arg = |key| request.args.value(key).filter(|it| !it.is_empty()).map(str::to_owned);
        Self {
            network: request.network.clone(),
            ifname: request.ifname.clone(),
            namespace: arg("K8S_POD_NAMESPACE"),
            pod: arg("K8S_POD_NAME"),
            ..Self::default()
        }
    }

    /// Before the plugin: by the runtime, in `CNI_ARGS`, in `args` and in the configuration.
    pub(crate) fn before(request: &Request) -> Result<Self> {
        let config = request.config()?;
        let given = request.runtime_config()?;
        let wishes = config.read::<Args>("args")?.unwrap_or_default().cni;
        let mut asked = Self::whoever(request);
        let is_given = |value: &str| !matches!(value, "null" | "[]" | "{}" | "\"\"");
        asked.capabilities =
            given.iter().filter(|it| is_given(it.1.get())).map(|it| it.0.to_owned()).collect();
        for mapping in given.read::<Vec<Mapping>>("portMappings")?.unwrap_or_default() {
            // 0 is a port of the container alone.
            if mapping.host_port > 0 {
                let protocol = if mapping.protocol.is_empty() {
                    "tcp".into()
                } else {
                    mapping.protocol.to_ascii_lowercase()
                };
                asked.host_ports.push(HostPort { port: mapping.host_port, protocol });
            }
        }
        let ips = given.read::<Vec<String>>("ips")?.unwrap_or_default();
        let in_args =
            request.args.value("IP").map(|it| it.split(',').map(str::to_owned).collect()).unwrap_or_default();
        asked.addresses = [ips, wishes.ips, in_args].concat().iter().filter_map(|it| address(it)).collect();
        let macs = [
            given.read("mac")?,
            wishes.mac,
            config.read("mac")?,
            request.args.value("MAC").map(str::to_owned),
        ];
        asked.macs = macs.into_iter().flatten().filter(|it| !it.is_empty()).collect();
        // 0 is whatever the plugin thinks best.
        asked.mtus = config.read::<u32>("mtu")?.into_iter().filter(|it| *it > 0).collect();
        asked.plugins =
            [request.plugin.clone(), ipam(&config)?].into_iter().filter(|it| !it.is_empty()).collect();
        Ok(asked)
    }

    /// After it: what its result says that the container has.
    pub(crate) fn after(request: &Request, result: &CniResult) -> Self {
        let mut asked = Self::whoever(request);
        let old = [&result.ip4, &result.ip6].into_iter().flatten().map(|it| &it.ip);
        asked.addresses = result
            .ips
            .iter()
            .flatten()
            .map(|it| &it.address)
            .chain(old)
            .filter_map(|it| address(it))
            .collect();
        let inside =
            |it: &&wasmhook_sdk::cni::Interface| it.sandbox.as_deref().is_some_and(|it| !it.is_empty());
        for interface in result.interfaces.iter().flatten().filter(inside) {
            asked.macs.extend(interface.mac.clone().filter(|it| !it.is_empty()));
            asked.mtus.extend(interface.mtu.filter(|it| *it > 0));
        }
        asked
    }

    /// For a person: who is not let in.
    pub(crate) fn who(&self) -> String {
        match (&self.namespace, &self.pod) {
            (Some(namespace), Some(pod)) => format!("pod {namespace}/{pod}"),
            _ => "this container".to_owned(),
        }
    }
}

/// With or without a prefix.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.split_once('/').map_or(text, |(address, _)| address);
    text.trim().parse::<IpAddr>().ok().map(|it| it.to_canonical())
}

fn ipam(config: &Object) -> Result<String> {
    Ok(config.read::<Typed>("ipam")?.unwrap_or_default().plugin)
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.port, self.protocol)
    }
}
