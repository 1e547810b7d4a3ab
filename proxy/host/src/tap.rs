use crate::link::info;
use crate::reach::place;
use crate::{Failure, Interface, PLACES, Undo, Visit, json, parameters, scope_of_place};
use serde::Deserialize;
use serde_json::Value;
use wasmhook_net_types::{TapSpec, judge_name};

pub(crate) const INTERFACE: Interface = Interface {
    name: "tap",
    free: false,
    scopes: PLACES,
    scope_of: scope_of_place,
    functions: &[("create", create)],
};

#[derive(Deserialize)]
struct Create {
    ns: String,
    spec: String,
}

fn create(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let Create { ns, spec } = parameters(input)?;
    let (place, spec) = (place(&ns)?, json::<TapSpec>("spec", &spec)?);
    judge_name(&spec.name)?;
    let mark = if spec.keep { String::new() } else { visit.mark() };
    let undo = Undo::Link { place, name: spec.name.clone(), kind: "tun".into(), mark: mark.clone() };
    let undo = (!spec.keep).then_some(&undo);
    Ok(info(visit.effect(undo, |network| network.create_tap(place, &spec, &mark))?))
}
