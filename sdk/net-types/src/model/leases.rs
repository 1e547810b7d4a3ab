use super::Model;
use crate::{Cidr, NetError, PoolConfig};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Who has an address of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Lease {
    /// The address.
    pub address: IpAddr,
    /// The container's id.
    pub id: String,
    /// Its interface's name.
    pub ifname: String,
}

impl Model {
    /// One address of each of a configuration's sets, with its gateway.
    pub fn allocate(
        &mut self,
        config: &str,
        args: &[(String, String)],
        id: &str,
        ifname: &str,
    ) -> Result<Vec<(Cidr, IpAddr)>, NetError> {
        let config = PoolConfig::read(config, args)?;
        let mut given = Vec::new();
        for (set, wanted) in config.sets.iter().zip(config.requests()?) {
            let is_free = |address: &IpAddr| self.leases.iter().all(|it| it.address != *address);
            let last = self.leases.iter().rev().map(|it| it.address).find(|it| set.contains(*it));
            let address = match wanted {
                Some(wanted) if !set.is_reserved(wanted) && is_free(&wanted) => Some(wanted),
                Some(_) => None,
                None => set.after(last).find(is_free),
            };
            let address = address.and_then(|address| set.address(address));
            let none = || {
                NetError::Exists(format!(
                    "no address is left in {}, or not the one that is asked for",
                    set.words()
                ))
            };
            given.push(address.ok_or_else(none)?);
        }
        let lease = |(cidr, _): &(Cidr, IpAddr)| Lease {
            address: cidr.address,
            id: id.to_owned(),
            ifname: ifname.to_owned(),
        };
        self.leases.extend(given.iter().map(lease));
        Ok(given)
    }

    /// Takes back what a container's interface has; how much it was.
    pub fn release(&mut self, id: &str, ifname: &str) -> usize {
        let before = self.leases.len();
        self.leases.retain(|it| it.id != id || it.ifname != ifname);
        before - self.leases.len()
    }

    /// What a container's interface has.
    #[must_use]
    pub fn held(&self, id: &str, ifname: &str) -> Vec<IpAddr> {
        self.leases.iter().filter(|it| it.id == id && it.ifname == ifname).map(|it| it.address).collect()
    }

    /// Who has what.
    #[must_use]
    pub fn leases(&self) -> &[Lease] {
        &self.leases
    }
}
