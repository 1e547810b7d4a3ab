use crate::reach::place;
use crate::{Failure, Interface, PLACES, Undo, Visit, json, only_at_add, parameters, scope_of_place};
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::IpAddr;
use wasmhook_net_types::{
    Address, Cidr, Link, LinkChange, LinkKind, LinkSpec, Neighbour, NetError, Place, Route, RouteFilter,
    judge_name,
};

pub(crate) const INTERFACE: Interface = Interface {
    name: "link",
    free: false,
    scopes: PLACES,
    scope_of: scope_of_place,
    functions: &[
        ("all", all),
        ("get", get),
        ("create", create),
        ("update", update),
        ("delete", delete),
        ("move-to", move_to),
        ("addresses", addresses),
        ("add-address", add_address),
        ("del-address", del_address),
        ("routes", routes),
        ("add-route", add_route),
        ("del-route", del_route),
        ("neighbours", neighbours),
        ("set-neighbour", set_neighbour),
        ("del-neighbour", del_neighbour),
        ("announce", announce),
        ("features", features),
        ("set-feature", set_feature),
    ],
};

/// The contract's record of a link.
pub(crate) fn info(link: Link) -> Value {
    let Link { index, name, kind, mac, mtu, up, .. } = link.clone();
    let mut extra = serde_json::to_value(link).unwrap_or_default();
    if let Some(extra) = extra.as_object_mut() {
        for known in ["index", "name", "kind", "mac", "mtu", "up"] {
            extra.remove(known);
        }
    }
    json!({
        "index": index, "name": name, "kind": kind, "mac": mac, "mtu": mtu, "up": up, "extra": extra.to_string(),
    })
}

#[derive(Deserialize)]
struct Everything {
    ns: String,
}

fn all(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let place = place(&parameters::<Everything>(input)?.ns)?;
    Ok(visit.network(|network| network.links(place))?.into_iter().map(info).collect())
}

#[derive(Deserialize)]
struct Named {
    ns: String,
    name: String,
}

fn named(input: Value) -> Result<(Place, String), Failure> {
    let Named { ns, name } = parameters(input)?;
    Ok((place(&ns)?, name))
}

fn get(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let (place, name) = named(input)?;
    Ok(info(visit.network(|network| network.link(place, &name))?))
}

#[derive(Deserialize)]
struct Create {
    ns: String,
    spec: String,
}

fn create(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let Create { ns, spec } = parameters(input)?;
    let (place, spec) = (place(&ns)?, json::<LinkSpec>("spec", &spec)?);
    judge_name(&spec.name)?;
    if let Some(other) = other_place(&spec.kind) {
        visit.needs("link", other.as_str())?;
    }
    // What stays is everybody's.
    let mark = if spec.keep { String::new() } else { visit.mark() };
    let (name, kind) = (spec.name.clone(), spec.kind.as_str().to_owned());
    let undo = Undo::Link { place, name, kind, mark: mark.clone() };
    let undo = (!spec.keep).then_some(&undo);
    Ok(info(visit.effect(undo, |network| network.create_link(place, &spec, &mark))?))
}

/// Where else a new link reaches.
fn other_place(kind: &LinkKind) -> Option<Place> {
    match kind {
        LinkKind::Veth { peer } => Some(peer.place),
        LinkKind::Macvlan(child) | LinkKind::Macvtap(child) => child.parent_place,
        LinkKind::Vlan(vlan) => vlan.parent_place,
        LinkKind::Bridge(_) | LinkKind::Vxlan(_) | LinkKind::Ifb | LinkKind::Dummy => None,
    }
}

#[derive(Deserialize)]
struct Update {
    ns: String,
    name: String,
    change: String,
}

fn update(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let Update { ns, name, change } = parameters(input)?;
    let (place, change) = (place(&ns)?, json::<LinkChange>("change", &change)?);
    only_at_add(visit)?;
    let link = visit.network(|network| network.link(place, &name))?;
    let own = visit.has_made(&link);
    if let Some(new_name) = &change.name {
        judge_name(new_name)?;
        if !own {
            visit.needs_any("link", &format!("link {name:?}"))?;
        }
    }
    let undo = Undo::Change {
        place,
        name: change.name.clone().unwrap_or_else(|| link.name.clone()),
        index: link.index,
        was: change.back(&link),
    };
    // It goes as a whole.
    let undo = (!own && !change.keep).then_some(&undo);
    Ok(info(visit.effect(undo, |network| network.update_link(place, &name, &change))?))
}

/// Taking away is not recorded: it cannot be taken back.
fn delete(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let (place, name) = named(input)?;
    let link = visit.network(|network| network.link(place, &name))?;
    if !visit.has_made(&link) {
        visit.needs_any("link", &format!("link {name:?}"))?;
        only_at_add(visit)?;
    }
    visit.network(|network| network.delete_link(place, &name))?;
    Ok(Value::Null)
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MoveTo {
    ns: String,
    name: String,
    to: String,
    new_name: String,
}

fn move_to(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let MoveTo { ns, name, to, new_name } = parameters(input)?;
    let (from, to) = (place(&ns)?, place(&to)?);
    visit.needs("link", to.as_str())?;
    let new_name = Some(new_name).filter(|it| !it.is_empty());
    new_name.as_deref().map_or(Ok(()), judge_name)?;
    let link = visit.network(|network| network.link(from, &name))?;
    let own = visit.has_made(&link);
    if !own {
        visit.needs_any("link", &format!("link {name:?}"))?;
    }
    let new = new_name.clone().unwrap_or_else(|| link.name.clone());
    let undo = Undo::Move { from, to, name: link.name, new_name: new, mac: link.mac };
    let undo = (!own).then_some(&undo);
    Ok(info(visit.effect(undo, |network| network.move_link(from, &name, to, new_name.as_deref()))?))
}

fn addresses(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let (place, name) = named(input)?;
    text(&visit.network(|network| network.addresses(place, &name))?)
}

#[derive(Deserialize)]
struct AddAddress {
    ns: String,
    name: String,
    address: String,
}

fn add_address(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let AddAddress { ns, name, address } = parameters(input)?;
    let (place, address) = (place(&ns)?, json::<Address>("address", &address)?);
    give_address(visit, place, &name, &address)?;
    Ok(Value::Null)
}

/// Gives a link an address, which goes with the attachment.
pub(crate) fn give_address(
    visit: &Visit,
    place: Place,
    name: &str,
    address: &Address,
) -> Result<(), Failure> {
    only_at_add(visit)?;
    let undo = match (address.keep, visit.network(|network| network.link(place, name))?) {
        (false, link) if !visit.has_made(&link) => {
            Some(Undo::Address { place, link: link.name, index: link.index, address: address.address })
        }
        _ => None,
    };
    visit.effect(undo.as_ref(), |network| network.add_address(place, name, address))
}

#[derive(Deserialize)]
struct DelAddress {
    ns: String,
    name: String,
    cidr: String,
}

fn del_address(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let DelAddress { ns, name, cidr } = parameters(input)?;
    let (place, cidr) = (place(&ns)?, cidr.parse::<Cidr>().map_err(|it| invalid(&it))?);
    own_or_any(visit, place, &name)?;
    visit.network(|network| network.remove_address(place, &name, cidr))?;
    Ok(Value::Null)
}

/// What is taken away must be this attachment's.
fn own_or_any(visit: &Visit, place: Place, name: &str) -> Result<(), Failure> {
    let link = visit.network(|network| network.link(place, name))?;
    // All there is in a container is the attachment's, as far as addresses and routes go.
    if place == Place::Container || visit.has_made(&link) {
        return Ok(());
    }
    visit.needs_any("link", &format!("what is on link {name:?}"))
}

#[derive(Deserialize)]
struct Routes {
    ns: String,
    filter: String,
}

fn routes(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let Routes { ns, filter } = parameters(input)?;
    let place = place(&ns)?;
    let filter: RouteFilter =
        if filter.is_empty() { RouteFilter::default() } else { json("filter", &filter)? };
    text(&visit.network(|network| network.routes(place, &filter))?)
}

#[derive(Deserialize)]
struct OneRoute {
    ns: String,
    route: String,
}

fn add_route(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let OneRoute { ns, route } = parameters(input)?;
    let (place, route) = (place(&ns)?, json::<Route>("route", &route)?);
    make_route(visit, place, &route)?;
    Ok(Value::Null)
}

/// Makes a route, which goes with the attachment.
pub(crate) fn make_route(visit: &Visit, place: Place, route: &Route) -> Result<(), Failure> {
    only_at_add(visit)?;
    let own = match &route.dev {
        Some(dev) => {
            let link = visit.network(|network| network.link(place, dev))?;
            visit.has_made(&link)
        }
        None => false,
    };
    let undo = Undo::Route { place, route: Box::new(route.clone()) };
    let undo = (!own && !route.keep).then_some(&undo);
    visit.effect(undo, |network| network.add_route(place, route))
}

fn del_route(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let OneRoute { ns, route } = parameters(input)?;
    let (place, route) = (place(&ns)?, json::<Route>("route", &route)?);
    match &route.dev {
        Some(dev) => own_or_any(visit, place, dev)?,
        None if place == Place::Container => {}
        None => visit.needs_any("link", &format!("the route to {}", route.dst))?,
    }
    visit.network(|network| network.remove_route(place, &route))?;
    Ok(Value::Null)
}

fn neighbours(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let (place, name) = named(input)?;
    text(&visit.network(|network| network.neighbours(place, &name))?)
}

#[derive(Deserialize)]
struct SetNeighbour {
    ns: String,
    name: String,
    neighbour: String,
}

fn set_neighbour(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let SetNeighbour { ns, name, neighbour } = parameters(input)?;
    let (place, neighbour) = (place(&ns)?, json::<Neighbour>("neighbour", &neighbour)?);
    only_at_add(visit)?;
    let link = visit.network(|network| network.link(place, &name))?;
    let undo = if neighbour.keep || visit.has_made(&link) {
        None
    } else {
        let known = visit.network(|network| network.neighbours(place, &name))?;
        let was = known.iter().find(|it| it.address == neighbour.address && it.permanent).map(|it| it.mac);
        let address = neighbour.address;
        Some(Undo::Neighbour { place, link: link.name, index: link.index, address, was })
    };
    visit.effect(undo.as_ref(), |network| network.set_neighbour(place, &name, &neighbour))?;
    Ok(Value::Null)
}

#[derive(Deserialize)]
struct OneAddress {
    ns: String,
    name: String,
    address: String,
}

impl OneAddress {
    fn read(input: Value) -> Result<(Place, String, IpAddr), Failure> {
        let Self { ns, name, address } = parameters(input)?;
        let address = address
            .parse()
            .map_err(|error| Failure::new("invalid", format!("{address:?} is no address: {error}")))?;
        Ok((place(&ns)?, name, address))
    }
}

fn del_neighbour(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let (place, name, address) = OneAddress::read(input)?;
    own_or_any(visit, place, &name)?;
    visit.network(|network| network.remove_neighbour(place, &name, address))?;
    Ok(Value::Null)
}

fn announce(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let (place, name, address) = OneAddress::read(input)?;
    only_at_add(visit)?;
    visit.network(|network| network.announce(place, &name, address))?;
    Ok(Value::Null)
}

fn features(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let (place, name) = named(input)?;
    text(&visit.network(|network| network.features(place, &name))?)
}

#[derive(Deserialize)]
struct SetFeature {
    ns: String,
    name: String,
    feature: String,
    on: bool,
}

fn set_feature(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let SetFeature { ns, name, feature, on } = parameters(input)?;
    let place = place(&ns)?;
    only_at_add(visit)?;
    let link = visit.network(|network| network.link(place, &name))?;
    let was = visit.network(|network| network.features(place, &name))?.get(&feature).copied();
    let Some(was) = was else {
        return Err(NetError::NotFound(format!("feature {feature:?} of link {name:?}: there is none")).into());
    };
    if was == on {
        return Ok(Value::Null);
    }
    let own = visit.has_made(&link);
    let undo = Undo::Feature { place, link: link.name, index: link.index, feature: feature.clone(), was };
    let undo = (!own).then_some(&undo);
    visit.effect(undo, |network| network.set_feature(place, &name, &feature, on))?;
    Ok(Value::Null)
}

fn text(value: &impl serde::Serialize) -> Result<Value, Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::new("invalid", error.to_string()))?;
    Ok(text.into())
}

fn invalid(error: &impl std::fmt::Display) -> Failure {
    Failure::new("invalid", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::visit;
    use crate::{Ended, Grant, Reach, Trail};
    use std::sync::{Arc, Mutex};
    use std::time::Instant;
    use wasmhook_net_types::Model;

    /// What is written down, and how it ended.
    #[derive(Debug, Default)]
    struct Written(Vec<(String, Option<Ended>)>);

    impl Trail for Written {
        fn has_state(&self) -> bool {
            false
        }

        fn begin_state(&mut self, _: Instant) -> Result<(), Failure> {
            Ok(())
        }

        fn begin_effect(&mut self, undo: &Undo, _: Instant) -> Result<usize, Failure> {
            self.0.push((undo.words(), None));
            Ok(self.0.len() - 1)
        }

        fn amend_effect(&mut self, _: &Undo) -> Result<(), Failure> {
            Ok(())
        }

        fn end_effect(&mut self, effect: usize, ended: Ended) {
            self.0[effect].1 = Some(ended);
        }

        fn held(&self, _: fn(&Undo) -> bool) -> u64 {
            self.0.iter().filter(|(_, ended)| ended.is_none()).count() as u64
        }
    }

    fn granted(grants: &[&str]) -> (Visit, Arc<Mutex<Written>>) {
        let (mut visit, written) = (visit(), Arc::new(Mutex::new(Written::default())));
        visit.grants = grants.iter().map(|grant| Grant::parse(grant).unwrap()).collect();
        visit.trail = Some(written.clone());
        (visit, written)
    }

    fn ask(visit: &mut Visit, function: &str, input: Value) -> Result<Value, String> {
        INTERFACE.call(function, visit, input).map_err(|failure| failure.code.to_owned())
    }

    fn create(visit: &mut Visit, spec: &Value) -> Result<Value, String> {
        ask(visit, "create", json!({ "ns": "host", "spec": spec.to_string() }))
    }

    #[test]
    fn what_is_made_is_written_down_before_and_what_is_kept_is_not() {
        let (mut visit, written) = granted(&["link"]);
        create(&mut visit, &json!({ "name": "br0", "kind": { "bridge": {} }, "up": true, "keep": true }))
            .unwrap();
        create(&mut visit, &json!({ "name": "x0", "kind": "ifb", "master": "br0" })).unwrap();
        assert_eq!(create(&mut visit, &json!({ "name": "x0", "kind": "ifb" })), Err("exists".into()));
        let words = "link x0 (ifb) in the host".to_owned();
        assert_eq!(written.lock().unwrap().0, [(words.clone(), None), (words, Some(Ended::Undone))]);
        let info = ask(&mut visit, "get", json!({ "ns": "host", "name": "x0" })).unwrap();
        assert!(info["extra"].as_str().unwrap().contains("\"alternativeNames\":[\"wasmhook-"), "{info}");
    }

    #[test]
    fn what_others_have_made_is_changed_back_and_taken_away_by_nobody() {
        let (mut visit, written) = granted(&["link"]);
        let mut model = Model::new();
        let stranger: LinkSpec = serde_json::from_value(json!({ "name": "s0", "kind": "ifb" })).unwrap();
        wasmhook_net_types::Network::create_link(&mut model, Place::Host, &stranger, "").unwrap();
        visit.reach = Arc::new(Mutex::new(Reach::model(model)));
        let change = json!({ "ns": "host", "name": "s0", "change": "{\"mtu\":1400}" });
        ask(&mut visit, "update", change).unwrap();
        assert_eq!(written.lock().unwrap().0[0].0, "changes of link s0 in the host");
        let renamed = json!({ "ns": "host", "name": "s0", "change": "{\"name\":\"mine\"}" });
        assert_eq!(ask(&mut visit, "update", renamed), Err("denied".into()));
        let gone = json!({ "ns": "host", "name": "s0" });
        assert_eq!(ask(&mut visit, "delete", gone.clone()), Err("denied".into()));
        let away = json!({ "ns": "host", "name": "s0", "to": "container", "new-name": "" });
        assert_eq!(ask(&mut visit, "move-to", away), Err("denied".into()));
        visit.grants = [Grant::parse("link:any").unwrap()].into();
        ask(&mut visit, "delete", gone).unwrap();
    }

    #[test]
    fn a_key_that_is_written_wrong_is_named() {
        let (mut visit, _) = granted(&["link"]);
        let mut why = |spec: &str| {
            let input = json!({ "ns": "host", "spec": spec });
            INTERFACE.call("create", &mut visit, input).unwrap_err().message
        };
        assert_eq!(why(r#"{"name":"b","kind":"ifb","mut":1}"#), "`spec`: unknown key `mut`");
        let nested = r#"{"name":"b","kind":{"veth":{"peer":{"name":"a","place":"host","ups":true}}}}"#;
        assert!(why(nested).contains("ups`"), "{}", why(nested));
        assert!(why(r#"{"name":"b","kind":"ifb"} x"#).contains("trailing characters"));
    }

    #[test]
    fn a_place_that_is_not_granted_is_not_reached_by_the_other_end_either() {
        let (mut visit, written) = granted(&["link:host"]);
        let veth =
            json!({ "name": "v0", "kind": { "veth": { "peer": { "name": "eth0", "place": "container" } } } });
        assert_eq!(create(&mut visit, &veth), Err("denied".into()));
        assert!(written.lock().unwrap().0.is_empty());
        let wrong = json!({ "ns": "pod", "name": "eth0" });
        assert_eq!(ask(&mut visit, "get", wrong), Err("invalid".into()));
        visit.verb = "CHECK";
        let ifb = json!({ "name": "x0", "kind": "ifb" });
        assert_eq!(create(&mut visit, &ifb), Err("invalid".into()));
    }

    #[test]
    fn every_change_can_be_taken_back() {
        let (mut visit, _) = granted(&["link"]);
        create(&mut visit, &json!({ "name": "x0", "kind": "ifb", "up": true })).unwrap();
        let mut reach = visit.reach();
        let network = reach.network();
        let before = network.link(Place::Host, "x0").unwrap();
        let change: LinkChange = serde_json::from_value(
            json!({ "mtu": 1400, "mac": "02:00:00:00:00:07", "up": false, "promiscuous": true }),
        )
        .unwrap();
        network.update_link(Place::Host, "x0", &change).unwrap();
        let undo = Undo::Change {
            place: Place::Host,
            name: "x0".into(),
            index: before.index,
            was: change.back(&before),
        };
        let written = serde_json::to_string(&undo).unwrap();
        let read: Undo = serde_json::from_str(&written).unwrap();
        read.in_network(network).unwrap();
        assert_eq!(network.link(Place::Host, "x0").unwrap(), before);
        // Of another link that is called the same, nothing.
        let stranger = Undo::Change { place: Place::Host, name: "x0".into(), index: 77, was: change };
        stranger.in_network(network).unwrap();
        assert_eq!(network.link(Place::Host, "x0").unwrap(), before);
    }
}
