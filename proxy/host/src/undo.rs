//! What takes an effect back. It is written down before the effect, and is all that is known to whoever does it: the ADD
//! itself when it fails, a DEL, a GC, a person.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::net::IpAddr;
use std::path::PathBuf;
use wasmhook_net_types::{Cidr, Family, LinkChange, Mac, Neighbour, NetError, Network, Place, Route};

/// How to take something back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Undo {
    /// A link goes. It is known by the alternative name that it was given, wherever it has been moved since; one of another
    /// kind that has its name is a stranger.
    Link {
        /// Where it was made.
        place: Place,
        /// What it was called.
        name: String,
        /// The kernel's word for what it is.
        kind: String,
        /// Its alternative name.
        mark: String,
    },
    /// A link gets back what it was.
    Change {
        /// Where it is.
        place: Place,
        /// What it is called now.
        name: String,
        /// Which one it is.
        index: u32,
        /// What it was.
        was: LinkChange,
    },
    /// A link goes back to where it was.
    Move {
        /// Where it was.
        from: Place,
        /// Where it is.
        to: Place,
        /// What it was called.
        name: String,
        /// What it is called now.
        new_name: String,
        /// Which one it is: its index may be another one there.
        mac: String,
    },
    /// A link loses an address.
    Address {
        /// Where it is.
        place: Place,
        /// Its name.
        link: String,
        /// Which one it is.
        index: u32,
        /// The address.
        address: Cidr,
    },
    /// A route goes.
    Route {
        /// Where it is.
        place: Place,
        /// All that is known of it.
        route: Box<Route>,
    },
    /// A link's neighbour is where it was, or is forgotten.
    Neighbour {
        /// Where it is.
        place: Place,
        /// Its name.
        link: String,
        /// Which one it is.
        index: u32,
        /// The neighbour's address.
        address: IpAddr,
        /// Where it was.
        was: Option<Mac>,
    },
    /// A feature of a link is switched back.
    Feature {
        /// Where it is.
        place: Place,
        /// Its name.
        link: String,
        /// Which one it is.
        index: u32,
        /// ethtool's name.
        feature: String,
        /// What it was.
        was: bool,
    },
    /// A setting gets back its value.
    Sysctl {
        /// Where it is.
        place: Place,
        /// Below `/proc/sys`.
        key: String,
        /// What it was.
        was: String,
        /// What it has become: somebody else's value is left alone.
        is: String,
    },
    /// A table of rules goes.
    Rules {
        /// Where it is.
        place: Place,
        /// Its name.
        table: String,
        /// Its family.
        family: Family,
    },
    /// An address is given back.
    Lease {
        /// The file that says who has it.
        file: PathBuf,
        /// Who has it: the container's id.
        id: String,
        /// And its interface's name.
        ifname: String,
    },
    /// A plugin's DEL.
    Plugin {
        /// Its type.
        plugin: String,
        /// The file that was run.
        path: PathBuf,
        /// What it was told, `prevResult` included.
        config: Box<RawValue>,
    },
}

impl Undo {
    /// Where the network is that it is about; `None`: it is about none.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Link { place, .. }
            | Self::Change { place, .. }
            | Self::Address { place, .. }
            | Self::Route { place, .. }
            | Self::Neighbour { place, .. }
            | Self::Feature { place, .. }
            | Self::Sysctl { place, .. }
            | Self::Rules { place, .. } => Some(*place),
            Self::Move { to, .. } => Some(*to),
            Self::Lease { .. } | Self::Plugin { .. } => None,
        }
    }

    /// One line for a person.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::Link { place, name, kind, .. } => format!("link {name} ({kind}) in the {place}"),
            Self::Change { place, name, .. } => format!("changes of link {name} in the {place}"),
            Self::Move { from, to, name, new_name, .. } => {
                format!("link {new_name} in the {to}, which was {name} in the {from}")
            }
            Self::Address { place, link, address, .. } => {
                format!("address {address} of link {link} in the {place}")
            }
            Self::Route { place, route } => format!("route to {} in the {place}", route.dst),
            Self::Neighbour { place, link, address, .. } => {
                format!("neighbour {address} of link {link} in the {place}")
            }
            Self::Feature { place, link, feature, .. } => {
                format!("feature {feature} of link {link} in the {place}")
            }
            Self::Sysctl { place, key, was, .. } => format!("sysctl {key} in the {place}, which was {was:?}"),
            Self::Rules { place, table, .. } => format!("nftables' {table} in the {place}"),
            Self::Lease { file, .. } => format!("lease {}", file.display()),
            Self::Plugin { plugin, .. } => format!("what plugin {plugin} did"),
        }
    }

    /// One word for a column: `link`, `lease` …
    #[must_use]
    pub fn what(&self) -> &'static str {
        match self {
            Self::Link { .. } => "link",
            Self::Change { .. } | Self::Feature { .. } => "change",
            Self::Move { .. } => "moved link",
            Self::Address { .. } => "address",
            Self::Route { .. } => "route",
            Self::Neighbour { .. } => "neighbour",
            Self::Sysctl { .. } => "sysctl",
            Self::Rules { .. } => "rules",
            Self::Lease { .. } => "lease",
            Self::Plugin { .. } => "plugin",
        }
    }

    /// Is it a link?
    #[must_use]
    pub fn is_link(&self) -> bool {
        matches!(self, Self::Link { .. })
    }

    /// Is it an address, or what a plugin may have allocated?
    #[must_use]
    pub fn is_lease(&self) -> bool {
        matches!(self, Self::Lease { .. } | Self::Plugin { .. })
    }

    /// Takes back what was done in a network. What is gone is done; what has become somebody else's is left alone. Of what
    /// is in none, nothing.
    pub fn in_network(&self, network: &mut dyn Network) -> Result<(), NetError> {
        match self.try_in_network(network) {
            Err(NetError::NotFound(_)) => Ok(()),
            done => done,
        }
    }

    fn try_in_network(&self, network: &mut dyn Network) -> Result<(), NetError> {
        match self {
            Self::Link { place, name, kind, mark } => delete_link(network, *place, name, kind, mark),
            Self::Change { place, name, index, was } => {
                is_still(network, *place, name, *index)?;
                network.update_link(*place, name, was).map(drop)
            }
            Self::Move { from, to, name, new_name, mac } => {
                let link = network.link(*to, new_name)?;
                if link.mac != *mac {
                    return Ok(());
                }
                network.move_link(*to, new_name, *from, Some(name)).map(drop)
            }
            Self::Address { place, link, index, address } => {
                is_still(network, *place, link, *index)?;
                network.remove_address(*place, link, *address)
            }
            Self::Route { place, route } => network.remove_route(*place, route),
            Self::Neighbour { place, link, index, address, was } => {
                is_still(network, *place, link, *index)?;
                match was {
                    Some(mac) => {
                        let was = Neighbour { address: *address, mac: *mac, permanent: true, keep: false };
                        network.set_neighbour(*place, link, &was)
                    }
                    None => network.remove_neighbour(*place, link, *address),
                }
            }
            Self::Feature { place, link, index, feature, was } => {
                is_still(network, *place, link, *index)?;
                network.set_feature(*place, link, feature, *was)
            }
            Self::Sysctl { place, key, was, is } => {
                if network.sysctl(*place, key)? == *is {
                    network.set_sysctl(*place, key, was)?;
                }
                Ok(())
            }
            Self::Rules { place, table, family } => network.remove_rules(*place, table, *family),
            Self::Lease { .. } | Self::Plugin { .. } => Ok(()),
        }
    }
}

fn is_still(network: &mut dyn Network, place: Place, name: &str, index: u32) -> Result<(), NetError> {
    match network.link(place, name)?.index {
        now if now == index => Ok(()),
        _ => Err(NetError::NotFound(format!("link {name:?} in the {place} is another one now"))),
    }
}

/// By its alternative name, or, where its maker died before it had one, by name and kind.
fn delete_link(
    network: &mut dyn Network,
    place: Place,
    name: &str,
    kind: &str,
    mark: &str,
) -> Result<(), NetError> {
    let elsewhere = if place == Place::Host { Place::Container } else { Place::Host };
    let mut missing = None;
    for place in [place, elsewhere] {
        match network.link(place, mark) {
            Ok(_) => return network.delete_link(place, mark),
            Err(error @ NetError::NotFound(_)) => missing = Some(error),
            Err(error) => return Err(error),
        }
    }
    let link = network.link(place, name)?;
    if link.kind == kind && link.alternative_names.is_empty() {
        return network.delete_link(place, name);
    }
    missing.map_or(Ok(()), Err)
}
