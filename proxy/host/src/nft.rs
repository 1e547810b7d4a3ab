use crate::reach::place;
use crate::{Failure, Interface, PLACES, Undo, Visit, json, parameters, scope_of_place};
use serde::Deserialize;
use serde_json::Value;
use wasmhook_net_types::Ruleset;

pub(crate) const INTERFACE: Interface = Interface {
    name: "nft",
    free: false,
    scopes: PLACES,
    scope_of: scope_of_place,
    functions: &[("apply", apply)],
};

#[derive(Deserialize)]
struct Apply {
    ns: String,
    rules: String,
}

fn apply(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let Apply { ns, rules } = parameters(input)?;
    let (place, rules) = (place(&ns)?, json::<Ruleset>("rules", &rules)?);
    let table = table(visit)?;
    let undo = Undo::Rules { place, table: table.clone(), family: rules.family };
    let undo = (!rules.keep).then_some(&undo);
    visit.effect(undo, |network| network.set_rules(place, &table, &rules))?;
    Ok(table.into())
}

/// One for each hook of each attachment.
fn table(visit: &Visit) -> Result<String, Failure> {
    let none = || Failure::new("invalid", format!("{} is about no attachment", visit.verb));
    let attachment = visit.attachment.as_ref().ok_or_else(none)?;
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    let hook: String = visit.hook.chars().map(plain).take(64).collect();
    Ok(format!("wasmhook-{:.16}-{hook}", attachment.file_name()))
}
