use crate::{Failure, Interface, Scopes, Visit, no_scope, parameters};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

pub(crate) const INTERFACE: Interface = Interface {
    name: "carry",
    free: false,
    scopes: Scopes::Whole,
    scope_of: no_scope,
    functions: &[("set", set)],
};

/// Enough for what one phase tells the next; more is state.
const LONGEST: usize = 64 << 10;

#[derive(Deserialize)]
struct Set {
    json: String,
}

fn set(visit: &mut Visit, input: Value) -> Result<Value, Failure> {
    let Set { json } = parameters(input)?;
    if json.len() > LONGEST {
        return Err(Failure::new(
            "budget",
            format!("{} bytes to carry, and {LONGEST} are allowed", json.len()),
        ));
    }
    if let Err(error) = serde_json::from_str::<&RawValue>(&json) {
        return Err(Failure::new("invalid", format!("what is carried is not JSON: {error}")));
    }
    visit.carry = Some(json);
    Ok(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::visit;

    #[test]
    fn the_last_one_counts_and_must_be_json_of_some_size() {
        let mut visit = visit();
        let mut carry =
            |json: &str| set(&mut visit, serde_json::json!({ "json": json })).map_err(|it| it.code);
        assert_eq!(carry("{\"was\":1500}"), Ok(Value::Null));
        assert_eq!(carry("1"), Ok(Value::Null));
        assert_eq!(carry("{"), Err("invalid"));
        assert_eq!(carry(&format!("\"{}\"", "x".repeat(LONGEST))), Err("budget"));
        assert_eq!(visit.carry.as_deref(), Some("1"));
    }
}
