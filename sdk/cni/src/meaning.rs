use crate::address::settled;
use serde_json::{Value, value::RawValue};

/// What a value says, whoever wrote it: equal for two texts between which only a runtime's writing lies.
///
/// libcni reads a result into Go's types and writes it again. That sorts keys, writes addresses in one way, and
/// takes numbers through `float64`: 1 and 1.0 are the same, and so are integers that differ past its 53 bits.
pub(crate) fn meaning(raw: &RawValue) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(raw.get()) else {
        // Nested too deep or a number too big for serde_json: JSON all the same.
        return raw.get().to_owned();
    };
    settle(&mut value);
    value.sort_all_objects();
    value.to_string()
}

fn settle(value: &mut Value) {
    match value {
        Value::Number(number) => {
            // Adding 0.0 makes 0 of -0.
            if let Some(float) = number.as_f64().and_then(|float| serde_json::Number::from_f64(float + 0.0)) {
                *number = float;
            }
        }
        Value::String(text) => *text = settled(text),
        Value::Array(elements) => elements.iter_mut().for_each(settle),
        Value::Object(members) => members.values_mut().for_each(settle),
        Value::Null | Value::Bool(_) => {}
    }
}

/// `null`, `""`, `[]` or `{}`: what Go leaves out when it writes one of the specification's keys.
pub(crate) fn is_nothing(raw: &RawValue) -> bool {
    match serde_json::from_str(raw.get()) {
        Ok(Value::Null) => true,
        Ok(Value::String(text)) => text.is_empty(),
        Ok(Value::Array(elements)) => elements.is_empty(),
        Ok(Value::Object(members)) => members.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, other: &str) -> bool {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        meaning(&raw(one)) == meaning(&raw(other))
    }

    #[test]
    fn a_runtime_s_writing_changes_no_meaning() {
        assert!(same("1", "1.0"));
        assert!(same("[-0.0]", "[0]"));
        assert!(same("12345678901234567890123", "1.2345678901234568e+22"));
        assert!(same(r#"{"b":{"y":1,"x":2},"a":"FD00::0:1/64"}"#, r#"{"a":"fd00::1/64","b":{"x":2,"y":1}}"#));
        assert!(same(r#""\u003c""#, r#""<""#));
    }

    #[test]
    fn a_change_changes_it() {
        for (one, other) in [("1", "2"), ("1", "\"1\""), ("[1,2]", "[2,1]"), ("null", "false"), ("{}", "[]")]
        {
            assert!(!same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn what_is_too_deep_or_too_big_to_read_is_compared_as_text() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(same(&deep, &deep));
        assert!(same("1e999", "1e999"));
        assert!(!same("1e999", "2e999"));
    }

    #[test]
    fn nothing_is_what_go_leaves_out() {
        for (text, nothing) in
            [("null", true), ("\"\"", true), ("[ ]", true), ("{}", true), ("0", false), ("[[]]", false)]
        {
            assert_eq!(is_nothing(&RawValue::from_string(text.to_owned()).unwrap()), nothing, "{text}");
        }
    }
}
