use crate::{
    Address, Cidr, Family, Link, LinkChange, LinkSpec, Neighbour, NetError, Place, Route, RouteFilter,
    Ruleset, TapSpec,
};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;
use std::time::Instant;

/// What a link is to have, all at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Settings below `/proc/sys`, and their values.
    pub settings: Vec<(String, String)>,
    /// Addresses.
    pub addresses: Vec<Address>,
    /// Routes through it.
    pub routes: Vec<Route>,
}

/// Only what belongs to a network, and by its plain name: `net/ipv4/conf/eth0/arp_notify`.
pub fn judge_sysctl(key: &str) -> Result<(), NetError> {
    let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    if key.starts_with("net/") && key.split('/').all(plain) {
        return Ok(());
    }
    let how = "write it like \"net/ipv4/conf/eth0/arp_notify\"";
    Err(NetError::Invalid(format!("{key:?} is no setting of a network: {how}")))
}

/// Whatever carries native work out: the kernel, or a model of one.
///
/// A link is named by its name or by one of its alternative names. What is to be made and is there already is
/// [`NetError::Exists`]; what is not there is [`NetError::NotFound`]; nothing is half done when a function fails.
pub trait Network: Debug + Send {
    /// The kernel has until then to answer; after that what was asked is given up ([`NetError::Hung`]).
    fn wait_until(&mut self, until: Instant);

    /// All links, by index.
    fn links(&mut self, place: Place) -> Result<Vec<Link>, NetError>;
    /// One link.
    fn link(&mut self, place: Place, name: &str) -> Result<Link, NetError>;
    /// Makes a link, which gets `mark` as an alternative name if it is not empty. A veth's other end gets it as well.
    fn create_link(&mut self, place: Place, spec: &LinkSpec, mark: &str) -> Result<Link, NetError>;
    /// Makes a tap or tun, which gets `mark` as an alternative name if it is not empty.
    fn create_tap(&mut self, place: Place, spec: &TapSpec, mark: &str) -> Result<Link, NetError>;
    /// Changes a link: all that is asked, or, where one part fails, none of it.
    fn update_link(&mut self, place: Place, name: &str, change: &LinkChange) -> Result<Link, NetError>;
    /// Takes a link away.
    fn delete_link(&mut self, place: Place, name: &str) -> Result<(), NetError>;
    /// Brings a link to the other place, where it is down. It may get another name there.
    fn move_link(
        &mut self,
        from: Place,
        name: &str,
        to: Place,
        new_name: Option<&str>,
    ) -> Result<Link, NetError>;

    /// The addresses of a link.
    fn addresses(&mut self, place: Place, link: &str) -> Result<Vec<Address>, NetError>;
    /// Gives a link an address.
    fn add_address(&mut self, place: Place, link: &str, address: &Address) -> Result<(), NetError>;
    /// Takes an address from a link.
    fn remove_address(&mut self, place: Place, link: &str, address: Cidr) -> Result<(), NetError>;

    /// Gives a link everything of a plan, in its order. Where a part fails, what came before it stays: whoever asks takes the link away.
    fn configure(&mut self, place: Place, link: &str, plan: &Plan) -> Result<(), NetError> {
        for (key, value) in &plan.settings {
            match self.set_sysctl(place, key, value) {
                // What this kernel does not have, need not be set.
                Err(NetError::NotFound(_)) => {}
                set => set?,
            }
        }
        self.update_link(place, link, &LinkChange { up: Some(true), ..LinkChange::default() })?;
        plan.addresses.iter().try_for_each(|address| self.add_address(place, link, address))?;
        plan.routes.iter().try_for_each(|route| self.add_route(place, route))
    }

    /// The routes that fit, without the kernel's own (table `local`).
    fn routes(&mut self, place: Place, filter: &RouteFilter) -> Result<Vec<Route>, NetError>;
    /// Makes a route.
    fn add_route(&mut self, place: Place, route: &Route) -> Result<(), NetError>;
    /// Takes a route away: the first that has everything that is said of it.
    fn remove_route(&mut self, place: Place, route: &Route) -> Result<(), NetError>;

    /// Who is where on a link.
    fn neighbours(&mut self, place: Place, link: &str) -> Result<Vec<Neighbour>, NetError>;
    /// Says who is where on a link; what was said before of this address is replaced.
    fn set_neighbour(&mut self, place: Place, link: &str, neighbour: &Neighbour) -> Result<(), NetError>;
    /// Forgets where an address is.
    fn remove_neighbour(&mut self, place: Place, link: &str, address: IpAddr) -> Result<(), NetError>;
    /// Tells everybody on the link that this address is here: gratuitous ARP, or an unsolicited neighbour advertisement.
    fn announce(&mut self, place: Place, link: &str, address: IpAddr) -> Result<(), NetError>;

    /// What a link's hardware does by itself (ethtool's features), by its name.
    fn features(&mut self, place: Place, link: &str) -> Result<BTreeMap<String, bool>, NetError>;
    /// Switches a feature. One that is fixed is [`NetError::Unsupported`].
    fn set_feature(&mut self, place: Place, link: &str, feature: &str, on: bool) -> Result<(), NetError>;

    /// What stands in a file below `/proc/sys`, without the line's end. `key`: `net/ipv4/ip_forward`.
    fn sysctl(&mut self, place: Place, key: &str) -> Result<String, NetError>;
    /// Writes there.
    fn set_sysctl(&mut self, place: Place, key: &str, value: &str) -> Result<(), NetError>;

    /// Puts rules in the place of everything that the table held, if there was one, in one transaction.
    fn set_rules(&mut self, place: Place, table: &str, rules: &Ruleset) -> Result<(), NetError>;
    /// Takes a table away.
    fn remove_rules(&mut self, place: Place, table: &str, family: Family) -> Result<(), NetError>;
}
