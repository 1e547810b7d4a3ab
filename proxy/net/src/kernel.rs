use crate::create::Elsewhere;
use crate::stack::Stack;
use crate::worker::Worker;
use crate::{announce, ethtool, nft, sysctl, tap};
use std::collections::BTreeMap;
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmhook_net_types::{
    Address, Cidr, Family, Link, LinkChange, LinkKind, LinkSpec, Neighbour, NetError, Network, Place, Plan,
    Port, Route, RouteFilter, Ruleset, TapSpec,
};

/// The kernel's networks: our own, and the container's, where a thread of its own is at work. Nothing is opened and no thread is
/// started before it is needed.
#[derive(Debug)]
pub struct Kernel {
    /// Ours, once somebody there needs to know it.
    host: Option<Arc<OwnedFd>>,
    container: Option<Arc<OwnedFd>>,
    /// For our own namespace there is no need of a thread.
    own: Stack,
    worker: Option<Worker>,
    until: Instant,
}

/// How long the kernel has where nobody says it.
const USUAL: Duration = Duration::from_secs(10);

impl Kernel {
    /// With the container's network namespace, if it has one.
    #[must_use]
    pub fn new(container: Option<OwnedFd>) -> Self {
        let until = Instant::now() + USUAL;
        Self { host: None, container: container.map(Arc::new), own: Stack::new(None), worker: None, until }
    }

    fn namespace(&mut self, place: Place) -> Result<Arc<OwnedFd>, NetError> {
        match place {
            Place::Container => {
                let none = || NetError::NotFound("the container's network namespace: there is none".into());
                self.container.clone().ok_or_else(none)
            }
            Place::Host => {
                if self.host.is_none() {
                    let own = File::open("/proc/thread-self/ns/net");
                    let own =
                        own.map_err(|error| NetError::NotFound(format!("our own namespace: {error}")))?;
                    self.host = Some(Arc::new(own.into()));
                }
                self.host.clone().ok_or_else(|| NetError::NotFound("our own namespace".into()))
            }
        }
    }

    fn descriptor(&mut self, place: Place) -> Result<i32, NetError> {
        Ok(self.namespace(place)?.as_raw_fd())
    }

    /// Of a veth's two names, the kernel does not say which one is taken.
    fn whose_name(&mut self, place: Place, spec: &LinkSpec, error: NetError) -> NetError {
        let LinkKind::Veth { peer } = &spec.kind else { return error };
        if !matches!(error, NetError::Exists(_)) || self.link(place, &spec.name).is_ok() {
            return error;
        }
        NetError::Exists(format!("{}: link {:?}: it is there already", peer.place, peer.name))
    }

    /// Does something in a namespace.
    fn at<T: Send + 'static>(
        &mut self,
        place: Place,
        doing: &str,
        task: impl FnOnce(&mut Stack) -> Result<T, NetError> + Send + 'static,
    ) -> Result<T, NetError> {
        let done = match place {
            Place::Host => task(&mut self.own),
            Place::Container => {
                if self.worker.is_none() {
                    self.worker = Some(Worker::start(self.namespace(place)?)?);
                }
                let until = self.until;
                let Some(worker) = &mut self.worker else { return Err(NetError::Hung(doing.into())) };
                worker.run(doing, until, task)
            }
        };
        done.map_err(|error| with_place(error, place.as_str()))
    }
}

/// Where it was.
fn with_place(error: NetError, place: &str) -> NetError {
    let there = |words: String| format!("{place}: {words}");
    match error {
        NetError::NotFound(words) => NetError::NotFound(there(words)),
        NetError::Exists(words) => NetError::Exists(there(words)),
        NetError::Kernel { doing, words, errno } => NetError::Kernel { doing: there(doing), words, errno },
        error => error,
    }
}

/// What is left to do for a new link where it is.
fn finish(stack: &mut Stack, name: &str, rest: &LinkChange, port: Option<&Port>) -> Result<Link, NetError> {
    let finished = (|| {
        if *rest != LinkChange::default() {
            stack.update(name, rest)?;
        }
        let link = stack.link(name)?;
        match port {
            Some(port) => {
                stack.set_port(link.index, port, &format!("link {name:?}"))?;
                stack.link(name)
            }
            None => Ok(link),
        }
    })();
    finished.inspect_err(|_| stack.unmake(name))
}

impl Network for Kernel {
    fn wait_until(&mut self, until: Instant) {
        self.until = until;
    }

    fn links(&mut self, place: Place) -> Result<Vec<Link>, NetError> {
        self.at(place, "links", Stack::links)
    }

    fn link(&mut self, place: Place, name: &str) -> Result<Link, NetError> {
        let name = name.to_owned();
        self.at(place, "link", move |stack| stack.link(&name))
    }

    fn create_link(&mut self, place: Place, spec: &LinkSpec, mark: &str) -> Result<Link, NetError> {
        let doing = format!("link {:?}", spec.name);
        let (mut elsewhere, mut sender) = (Elsewhere::default(), place);
        match &spec.kind {
            LinkKind::Veth { peer } if peer.place != place => {
                elsewhere.peer = Some(self.descriptor(peer.place)?);
            }
            LinkKind::Macvlan(child) | LinkKind::Macvtap(child) => {
                sender = child.parent_place.unwrap_or(place)
            }
            LinkKind::Vlan(vlan) => sender = vlan.parent_place.unwrap_or(place),
            _ => {}
        }
        let mut rest = LinkChange::default();
        if sender != place {
            elsewhere.itself = Some(self.descriptor(place)?);
            rest.master.clone_from(&spec.master);
            let (spec, mark) = (spec.clone(), mark.to_owned());
            self.at(sender, &doing, move |stack| {
                stack.make(&LinkSpec { master: None, ..spec }, elsewhere, &mark)
            })?;
        }
        let (name, own_mark, own) = (spec.name.clone(), mark.to_owned(), spec.clone());
        let link = self.at(place, &doing, move |stack| {
            if elsewhere.itself.is_none() {
                stack.make(&own, elsewhere, &own_mark)?;
            } else if !own_mark.is_empty() {
                stack.mark(&own.name, &own_mark).inspect_err(|_| stack.unmake(&own.name))?;
            }
            finish(stack, &own.name, &rest, own.port.as_ref())
        });
        let link = link.map_err(|error| self.whose_name(place, spec, error))?;
        let LinkKind::Veth { peer } = &spec.kind else { return Ok(link) };
        // In one place no two links have the same name.
        let mark =
            if peer.place == place && !mark.is_empty() { format!("{mark}-peer") } else { mark.to_owned() };
        let (up, peer_name) = (peer.up, peer.name.clone());
        let finished = self.at(peer.place, &doing, move |stack| stack.finish_peer(&peer_name, up, &mark));
        match finished {
            // Both ends are there now.
            Ok(peer) => Ok(Link { running: up && spec.up, peer: Some(Box::new(peer)), ..link }),
            Err(error) => {
                self.delete_link(place, &name)?;
                Err(error)
            }
        }
    }

    fn create_tap(&mut self, place: Place, spec: &TapSpec, mark: &str) -> Result<Link, NetError> {
        let (spec, mark) = (spec.clone(), mark.to_owned());
        self.at(place, &format!("tap {:?}", spec.name.clone()), move |stack| {
            stack.enter()?;
            tap::create(&spec)?;
            if !mark.is_empty() {
                stack.mark(&spec.name, &mark).inspect_err(|_| stack.unmake(&spec.name))?;
            }
            let rest = LinkChange {
                mtu: spec.mtu,
                mac: spec.mac,
                master: spec.master.clone(),
                up: spec.up.then_some(true),
                ..LinkChange::default()
            };
            finish(stack, &spec.name, &rest, None)
        })
    }

    fn update_link(&mut self, place: Place, name: &str, change: &LinkChange) -> Result<Link, NetError> {
        let (name, change) = (name.to_owned(), change.clone());
        self.at(place, "changing a link", move |stack| stack.update(&name, &change))
    }

    fn delete_link(&mut self, place: Place, name: &str) -> Result<(), NetError> {
        let name = name.to_owned();
        self.at(place, "taking a link away", move |stack| stack.delete(&name))
    }

    fn move_link(
        &mut self,
        from: Place,
        name: &str,
        to: Place,
        new_name: Option<&str>,
    ) -> Result<Link, NetError> {
        let namespace = self.namespace(to)?;
        let (name, new_name) = (name.to_owned(), new_name.map(str::to_owned));
        let there = self.at(from, "moving a link", move |stack| {
            // An alternative name goes with it; a name that another has there would not.
            let there = stack.link(&name)?.name;
            stack.send_away(&name, namespace.as_raw_fd(), new_name.as_deref())?;
            Ok(new_name.unwrap_or(there))
        })?;
        self.link(to, &there)
    }

    fn addresses(&mut self, place: Place, link: &str) -> Result<Vec<Address>, NetError> {
        let link = link.to_owned();
        self.at(place, "addresses", move |stack| stack.addresses(&link))
    }

    fn add_address(&mut self, place: Place, link: &str, address: &Address) -> Result<(), NetError> {
        let (link, address) = (link.to_owned(), address.clone());
        self.at(place, "an address", move |stack| stack.add_address(&link, &address))
    }

    fn configure(&mut self, place: Place, link: &str, plan: &Plan) -> Result<(), NetError> {
        let (link, plan) = (link.to_owned(), plan.clone());
        self.at(place, "configuring a link", move |stack| stack.configure(&link, &plan))
    }

    fn remove_address(&mut self, place: Place, link: &str, address: Cidr) -> Result<(), NetError> {
        let link = link.to_owned();
        self.at(place, "an address", move |stack| stack.remove_address(&link, address))
    }

    fn routes(&mut self, place: Place, filter: &RouteFilter) -> Result<Vec<Route>, NetError> {
        let filter = filter.clone();
        self.at(place, "routes", move |stack| stack.routes(&filter))
    }

    fn add_route(&mut self, place: Place, route: &Route) -> Result<(), NetError> {
        let route = route.clone();
        self.at(place, "a route", move |stack| stack.add_route(&route))
    }

    fn remove_route(&mut self, place: Place, route: &Route) -> Result<(), NetError> {
        let route = route.clone();
        self.at(place, "a route", move |stack| stack.remove_route(&route))
    }

    fn neighbours(&mut self, place: Place, link: &str) -> Result<Vec<Neighbour>, NetError> {
        let link = link.to_owned();
        self.at(place, "neighbours", move |stack| stack.neighbours(&link))
    }

    fn set_neighbour(&mut self, place: Place, link: &str, neighbour: &Neighbour) -> Result<(), NetError> {
        let (link, neighbour) = (link.to_owned(), neighbour.clone());
        self.at(place, "a neighbour", move |stack| stack.set_neighbour(&link, &neighbour))
    }

    fn remove_neighbour(&mut self, place: Place, link: &str, address: IpAddr) -> Result<(), NetError> {
        let link = link.to_owned();
        self.at(place, "a neighbour", move |stack| stack.remove_neighbour(&link, address))
    }

    fn announce(&mut self, place: Place, link: &str, address: IpAddr) -> Result<(), NetError> {
        let link = link.to_owned();
        self.at(place, "an announcement", move |stack| announce::announce(&stack.link(&link)?, address))
    }

    fn features(&mut self, place: Place, link: &str) -> Result<BTreeMap<String, bool>, NetError> {
        let link = link.to_owned();
        self.at(place, "features", move |stack| {
            let name = stack.link(&link)?.name;
            ethtool::features(&name)
        })
    }

    fn set_feature(&mut self, place: Place, link: &str, feature: &str, on: bool) -> Result<(), NetError> {
        let (link, feature) = (link.to_owned(), feature.to_owned());
        self.at(place, "a feature", move |stack| {
            let name = stack.link(&link)?.name;
            ethtool::set_feature(&name, &feature, on)
        })
    }

    fn sysctl(&mut self, place: Place, key: &str) -> Result<String, NetError> {
        let key = key.to_owned();
        self.at(place, "a sysctl", move |stack| stack.enter().and_then(|()| sysctl::read(&key)))
    }

    fn set_sysctl(&mut self, place: Place, key: &str, value: &str) -> Result<(), NetError> {
        let (key, value) = (key.to_owned(), value.to_owned());
        self.at(place, "a sysctl", move |stack| stack.enter().and_then(|()| sysctl::write(&key, &value)))
    }

    fn set_rules(&mut self, place: Place, table: &str, rules: &Ruleset) -> Result<(), NetError> {
        let (table, rules) = (table.to_owned(), rules.clone());
        self.at(place, "rules", move |stack| stack.enter().and_then(|()| nft::set(&table, &rules)))
    }

    fn remove_rules(&mut self, place: Place, table: &str, family: Family) -> Result<(), NetError> {
        let table = table.to_owned();
        self.at(place, "rules", move |stack| stack.enter().and_then(|()| nft::remove(&table, family)))
    }
}
