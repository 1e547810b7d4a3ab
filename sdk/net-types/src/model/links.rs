//! Links, as they are made and go.

use super::Model;
use super::stack::{Stack, Station};
use crate::{Link, LinkChange, LinkKind, LinkSpec, Mac, NetError, Place, TapMode, TapSpec, Tun, judge_name};

fn kernel(doing: &str, errno: i32, words: &str) -> NetError {
    NetError::Kernel { doing: doing.to_owned(), words: words.to_owned(), errno }
}

const INVALID: (i32, &str) = (22, "Invalid argument");
const NOT_ASSIGNABLE: (i32, &str) = (99, "Cannot assign requested address");
const NOT_SUPPORTED: (i32, &str) = (95, "Operation not supported");

impl Model {
    pub(super) fn make(&mut self, place: Place, spec: &LinkSpec, mark: &str) -> Result<Link, NetError> {
        let mut after = self.clone();
        let link = after.try_make(place, spec, mark)?;
        *self = after;
        Ok(link)
    }

    fn try_make(&mut self, place: Place, spec: &LinkSpec, mark: &str) -> Result<Link, NetError> {
        let parent = match &spec.kind {
            LinkKind::Macvlan(child) | LinkKind::Macvtap(child) => {
                Some((child.parent_place.unwrap_or(place), child.parent.as_str()))
            }
            LinkKind::Vlan(vlan) => Some((vlan.parent_place.unwrap_or(place), vlan.parent.as_str())),
            LinkKind::Vxlan(vxlan) => vxlan.parent.as_deref().map(|parent| (place, parent)),
            _ => None,
        };
        let parent = parent.map(|(place, name)| self.stack(place).find(name).map(|it| it.link.clone()));
        let parent = parent.transpose()?;
        let mut link = self.stack(place).new_link(&spec.name, spec.kind.as_str(), mark)?;
        link.parent_index = parent.as_ref().map(|it| it.index);
        link.mtu = match (&spec.kind, &parent) {
            (LinkKind::Vxlan(_), Some(parent)) => parent.mtu.saturating_sub(50),
            (LinkKind::Vxlan(_), None) => 1450,
            (_, Some(parent)) => parent.mtu,
            (_, None) => 1500,
        };
        if let LinkKind::Bridge(bridge) = &spec.kind {
            link.vlan_filtering = Some(bridge.vlan_filtering.unwrap_or_default());
        }
        let mut station = Station::of(link);
        if let LinkKind::Veth { peer } = &spec.kind {
            let mark =
                if peer.place == place && !mark.is_empty() { format!("{mark}-peer") } else { mark.into() };
            let mut other = self.stack(peer.place).new_link(&peer.name, "veth", &mark)?;
            if peer.place == place && peer.name == spec.name {
                return Err(exists(&peer.name));
            }
            let number = self.container.made * 2 + self.host.made * 3 + 1;
            station.pair = Some(number);
            other.mtu = spec.mtu.unwrap_or(1500);
            let this = self.stack(place).put(station).link.index;
            other.parent_index = Some(this);
            let other = Station { pair: Some(number), ..Station::of(other) };
            let that = self.stack(peer.place).put(other).link.index;
            self.stack(place).find_mut(&spec.name)?.link.parent_index = Some(that);
            let change = LinkChange { mac: peer.mac, up: Some(peer.up), ..LinkChange::default() };
            self.stack(peer.place).update(&peer.name, &change)?;
        } else {
            self.stack(place).put(station);
        }
        let change = LinkChange {
            mtu: spec.mtu,
            mac: spec.mac,
            tx_queue_length: spec.tx_queue_length,
            master: spec.master.clone(),
            port: spec.port.clone(),
            up: Some(spec.up),
            ..LinkChange::default()
        };
        let link = self.stack(place).update(&spec.name, &change)?;
        let LinkKind::Veth { peer } = &spec.kind else { return Ok(link) };
        let peer = self.stack(peer.place).find(&peer.name)?.link.clone();
        Ok(Link { peer: Some(Box::new(peer)), ..link })
    }

    pub(super) fn delete(&mut self, place: Place, name: &str) -> Result<(), NetError> {
        let station = self.stack(place).find(name)?.clone();
        if station.link.name == "lo" {
            let (errno, words) = NOT_SUPPORTED;
            return Err(kernel("link \"lo\"", errno, words));
        }
        self.stack(place).drop_link(&station.link.name);
        let Some(pair) = station.pair else { return Ok(()) };
        for place in [Place::Container, Place::Host] {
            let other = self.stack(place).links.iter().find(|it| it.pair == Some(pair));
            if let Some(name) = other.map(|it| it.link.name.clone()) {
                self.stack(place).drop_link(&name);
            }
        }
        Ok(())
    }

    pub(super) fn carry(
        &mut self,
        from: Place,
        name: &str,
        to: Place,
        new_name: Option<&str>,
    ) -> Result<Link, NetError> {
        let mut station = self.stack(from).find(name)?.clone();
        if station.link.name == "lo" || station.link.kind == "bridge" {
            let (errno, words) = INVALID;
            return Err(kernel(&format!("link {name:?}"), errno, words));
        }
        let old = station.link.name.clone();
        let name = new_name.unwrap_or(&old).to_owned();
        judge_name(&name)?;
        if self.stack(to).find(&name).is_ok() {
            return Err(exists(&name));
        }
        self.stack(from).drop_link(&old);
        let link = &mut station.link;
        (link.name, link.up, link.running, link.master, link.port) = (name, false, false, None, None);
        station.addresses.clear();
        station.neighbours.clear();
        Ok(self.stack(to).put(station).link.clone())
    }
}

fn exists(name: &str) -> NetError {
    NetError::Exists(format!("link {name:?}: it is there already"))
}

impl Stack {
    fn new_link(&mut self, name: &str, kind: &str, mark: &str) -> Result<Link, NetError> {
        judge_name(name)?;
        if let Some(taken) = [name, mark].into_iter().find(|name| !name.is_empty() && self.find(name).is_ok())
        {
            return Err(exists(taken));
        }
        Ok(Link {
            name: name.into(),
            kind: kind.into(),
            mac: self.mac().to_string(),
            mtu: 1500,
            tx_queue_length: 1000,
            alternative_names: [mark].into_iter().filter(|it| !it.is_empty()).map(str::to_owned).collect(),
            ..Link::default()
        })
    }

    pub(super) fn make_tap(&mut self, spec: &TapSpec, mark: &str) -> Result<Link, NetError> {
        judge_tap(spec)?;
        let mut after = self.clone();
        let mut link = after.new_link(&spec.name, "tun", mark)?;
        link.tun = Some(Tun {
            mode: if spec.mode == TapMode::Tap { "tap" } else { "tun" }.into(),
            owner: spec.owner,
            group: spec.group,
            packet_info: spec.packet_info,
            vnet_header: spec.vnet_header,
            multi_queue: spec.multi_queue,
            persistent: true,
        });
        if spec.mode == TapMode::Tun {
            link.mac = String::new();
        }
        after.put(Station::of(link));
        let change = LinkChange {
            mtu: spec.mtu,
            mac: spec.mac,
            master: spec.master.clone(),
            up: Some(spec.up),
            ..LinkChange::default()
        };
        let link = after.update(&spec.name, &change)?;
        *self = after;
        Ok(link)
    }

    /// All of it, or none.
    pub(super) fn update(&mut self, name: &str, change: &LinkChange) -> Result<Link, NetError> {
        let what = format!("link {name:?}");
        let mut link = self.find(name)?.link.clone();
        let old = link.name.clone();
        if let Some(mtu) = change.mtu {
            if !(68..=65536).contains(&mtu) {
                return Err(kernel(
                    &what,
                    INVALID.0,
                    "Invalid argument (mtu less than device minimum, or greater than maximum)",
                ));
            }
            link.mtu = mtu;
        }
        if let Some(mac) = change.mac {
            link.mac = usable(mac, &what)?;
        }
        if let Some(length) = change.tx_queue_length {
            link.tx_queue_length = length;
        }
        match change.master.as_deref() {
            None => {}
            Some("") => (link.master, link.port) = (None, None),
            Some(master) => {
                if self.find(master)?.link.kind != "bridge" {
                    return Err(kernel(&what, NOT_SUPPORTED.0, NOT_SUPPORTED.1));
                }
                link.master = Some(master.to_owned());
                link.port.get_or_insert_with(usual_port);
            }
        }
        if let Some(port) = &change.port {
            let Some(now) = &mut link.port else {
                return Err(NetError::Unsupported(format!("{what}: it is no port of a bridge")));
            };
            now.hairpin = port.hairpin.or(now.hairpin);
            now.isolated = port.isolated.or(now.isolated);
            now.learning = port.learning.or(now.learning);
            now.vlans.extend(port.vlans.iter().cloned());
        }
        if let Some(promiscuous) = change.promiscuous {
            link.promiscuous = promiscuous;
        }
        if let Some(up) = change.up {
            (link.up, link.running) = (up, up);
        }
        if let Some(new) = &change.name {
            judge_name(new)?;
            if *new != old && self.find(new).is_ok() {
                return Err(exists(new));
            }
            self.rename(&old, new);
            link.name.clone_from(new);
        }
        let name = link.name.clone();
        self.find_mut(&name)?.link = link;
        self.after_change(&name);
        self.find(&name).map(|it| it.link.clone())
    }

    fn rename(&mut self, old: &str, new: &str) {
        for route in self.routes.iter_mut().filter(|it| it.dev.as_deref() == Some(old)) {
            route.dev = Some(new.to_owned());
        }
        for station in &mut self.links {
            if station.link.master.as_deref() == Some(old) {
                station.link.master = Some(new.to_owned());
            }
            if station.link.name == old {
                new.clone_into(&mut station.link.name);
            }
        }
        self.forget_settings(old);
        self.settings(new);
    }

    /// Routes follow what is up, and a bridge the smallest of its ports.
    fn after_change(&mut self, name: &str) {
        let Some(place) = self.links.iter().position(|it| it.link.name == name) else { return };
        if self.links[place].link.up {
            self.connect(place);
        } else {
            self.routes.retain(|it| it.dev.as_deref() != Some(name));
        }
        let Some(bridge) = self.links[place].link.master.clone() else { return };
        let ports = self.links.iter().filter(|it| it.link.master.as_deref() == Some(&bridge));
        if let (Some(mtu), Ok(bridge)) = (ports.map(|it| it.link.mtu).min(), self.find_mut(&bridge)) {
            bridge.link.mtu = mtu;
        }
    }

    fn drop_link(&mut self, name: &str) {
        self.links.retain(|it| it.link.name != name);
        self.routes.retain(|it| it.dev.as_deref() != Some(name));
        for station in self.links.iter_mut().filter(|it| it.link.master.as_deref() == Some(name)) {
            (station.link.master, station.link.port) = (None, None);
        }
        self.forget_settings(name);
    }
}

fn usual_port() -> crate::Port {
    crate::Port { hairpin: Some(false), isolated: Some(false), learning: Some(true), vlans: Vec::new() }
}

fn usable(mac: Mac, what: &str) -> Result<String, NetError> {
    if mac.is_unicast() { Ok(mac.to_string()) } else { Err(kernel(what, NOT_ASSIGNABLE.0, NOT_ASSIGNABLE.1)) }
}

fn judge_tap(spec: &TapSpec) -> Result<(), NetError> {
    if spec.selinux_context.is_some() {
        return Err(NetError::Unsupported("selinuxContext: SELinux does not run in a model".into()));
    }
    spec.judge()
}
