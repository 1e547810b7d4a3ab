use crate::record::record;

record! {
    /// The result of ADD in any version of the specification.
    ///
    /// Up to 0.2.0 addresses stand in `ip4` and `ip6`, later in `ips` with `interfaces` beside them.
    /// <https://github.com/containernetworking/cni/blob/main/SPEC.md#add-success>
    pub struct CniResult {
        /// The version that the result is written in.
        "cniVersion" cni_version: Option<String>,
        /// Links that plugins made, on the host and in the container. 0.3.0 and later.
        "interfaces" interfaces: Option<Vec<Interface>>,
        /// Addresses. 0.3.0 and later.
        "ips" ips: Option<Vec<Ip>>,
        /// Routes. 0.3.0 and later.
        "routes" routes: Option<Vec<Route>>,
        /// The IPv4 address. 0.1.0 and 0.2.0.
        "ip4" ip4: Option<IpConfig>,
        /// The IPv6 address. 0.1.0 and 0.2.0.
        "ip6" ip6: Option<IpConfig>,
        /// Name service for the container.
        "dns" dns: Option<Dns>,
    }
}

record! {
    /// A link that a plugin made.
    pub struct Interface {
        /// Its name where it stands.
        "name" name: String,
        /// Its hardware address.
        "mac" mac: Option<String>,
        /// Its MTU in bytes. 1.1.0.
        "mtu" mtu: Option<u32>,
        /// Path of the network namespace it stands in; absent or empty on the host.
        "sandbox" sandbox: Option<String>,
        /// Path of a socket that belongs to it. 1.1.0.
        "socketPath" socket_path: Option<String>,
        /// PCI address of the device behind it. 1.1.0.
        "pciID" pci_id: Option<String>,
    }
}

record! {
    /// An address of an interface.
    pub struct Ip {
        /// `"4"` or `"6"`. Up to 0.4.0.
        "version" version: Option<String>,
        /// Index into [`CniResult::interfaces`].
        "interface" interface: Option<u32>,
        /// In CIDR notation: `10.1.2.3/24`.
        "address" address: String,
        /// The default gateway of this subnet.
        "gateway" gateway: Option<String>,
    }
}

record! {
    /// A route.
    pub struct Route {
        /// Destination in CIDR notation.
        "dst" dst: String,
        /// Next hop; absent: the gateway of the address of the same family.
        "gw" gw: Option<String>,
        /// Path MTU in bytes. 1.1.0.
        "mtu" mtu: Option<u32>,
        /// TCP maximal segment size in bytes. 1.1.0.
        "advmss" advmss: Option<u32>,
        /// Lower wins. 1.1.0.
        "priority" priority: Option<u32>,
        /// Routing table. 1.1.0.
        "table" table: Option<u32>,
        /// Distance to the destination, as the kernel numbers it: 0 universe, 253 link, 254 host. 1.1.0.
        "scope" scope: Option<u32>,
    }
}

record! {
    /// An address of the old kind: 0.1.0 and 0.2.0.
    pub struct IpConfig {
        /// In CIDR notation.
        "ip" ip: String,
        /// The gateway.
        "gateway" gateway: Option<String>,
        /// Routes of this family.
        "routes" routes: Option<Vec<Route>>,
    }
}

record! {
    /// Name service.
    pub struct Dns {
        /// Addresses of servers, best first.
        "nameservers" nameservers: Option<Vec<String>>,
        /// The local domain.
        "domain" domain: Option<String>,
        /// Search domains, best first.
        "search" search: Option<Vec<String>>,
        /// Options for the resolver.
        "options" options: Option<Vec<String>>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn every_family_keeps_what_it_holds() {
        for text in [
            r#"{"cniVersion":"0.2.0","ip4":{"ip":"10.0.0.2/24","gateway":"10.0.0.1","routes":[{"dst":"0.0.0.0/0"}]},"dns":{}}"#,
            r#"{"cniVersion":"0.4.0","interfaces":[{"name":"eth0","sandbox":"/n"}],"ips":[{"version":"4","interface":0,"address":"10.0.0.2/24"}],"dns":{}}"#,
            r#"{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","mac":"m","mtu":1400,"pciID":"p","vendor":{"x":1.50}}],"ips":[],"routes":[{"dst":"::/0","mtu":9000,"table":7,"scope":0}],"vendor":123456789012345678901}"#,
        ] {
            let result: CniResult = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&result).unwrap(), text);
        }
    }

    #[test]
    fn null_is_absent() {
        let result: CniResult = serde_json::from_str(r#"{"ips":null,"dns":null}"#).unwrap();
        assert_eq!(serde_json::to_value(&result).unwrap(), serde_json::from_str::<Value>("{}").unwrap());
    }

    #[test]
    fn a_wrong_type_is_an_error_that_names_it() {
        let error = serde_json::from_str::<CniResult>(r#"{"ips":[{"address":7}]}"#).unwrap_err();
        assert!(error.to_string().contains("expected a string"), "{error}");
    }
}
