//! Component values as JSON and back, by the type that the guest itself declares.
//!
//! Bytes (`list<u8>`) are base64, 64-bit integers decimal strings (JSON's numbers end at 2^53 in most languages),
//! records objects, tuples arrays, a case with a payload `{"case": payload}`, options the value or `null`.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Map, Number, Value};
use wasmtime::component::{Type, Val};

/// A value that does not fit the type it is wanted as.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value} where {wanted} is wanted")]
pub(crate) struct Mismatch {
    value: String,
    wanted: &'static str,
}

/// What the guest passes.
pub(crate) fn to_json(value: &Val) -> Result<Value, Mismatch> {
    Ok(match value {
        Val::Bool(it) => (*it).into(),
        Val::S8(it) => (*it).into(),
        Val::U8(it) => (*it).into(),
        Val::S16(it) => (*it).into(),
        Val::U16(it) => (*it).into(),
        Val::S32(it) => (*it).into(),
        Val::U32(it) => (*it).into(),
        Val::S64(it) => it.to_string().into(),
        Val::U64(it) => it.to_string().into(),
        Val::Float32(it) => float(f64::from(*it)),
        Val::Float64(it) => float(*it),
        Val::Char(it) => it.to_string().into(),
        Val::String(it) => it.as_str().into(),
        Val::List(items) => match bytes(items) {
            Some(bytes) => BASE64.encode(bytes).into(),
            None => array(items)?,
        },
        Val::Tuple(items) | Val::FixedLengthList(items) => array(items)?,
        Val::Record(fields) => Value::Object(
            fields
                .iter()
                .map(|(name, value)| Ok((name.clone(), to_json(value)?)))
                .collect::<Result<_, _>>()?,
        ),
        Val::Variant(case, payload) => match payload {
            None => case.as_str().into(),
            Some(payload) => case_of(case, to_json(payload)?),
        },
        Val::Enum(case) => case.as_str().into(),
        Val::Option(it) => it.as_deref().map_or(Ok(Value::Null), to_json)?,
        Val::Result(Ok(it)) => case_of("ok", it.as_deref().map_or(Ok(Value::Null), to_json)?),
        Val::Result(Err(it)) => case_of("failure", it.as_deref().map_or(Ok(Value::Null), to_json)?),
        Val::Flags(names) => names.iter().map(String::as_str).collect(),
        Val::Map(_) | Val::Resource(_) | Val::Future(_) | Val::Stream(_) | Val::ErrorContext(_) => {
            return Err(Mismatch { value: format!("{value:?}"), wanted: "a plain value" });
        }
    })
}

fn float(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}

/// `None` for a list of something else. An empty list is both; `""` and `[]` are read alike by [`to_val`].
fn bytes(items: &[Val]) -> Option<Vec<u8>> {
    let byte = |item: &Val| if let Val::U8(byte) = item { Some(*byte) } else { None };
    if items.is_empty() { None } else { items.iter().map(byte).collect() }
}

fn array(items: &[Val]) -> Result<Value, Mismatch> {
    Ok(Value::Array(items.iter().map(to_json).collect::<Result<_, _>>()?))
}

fn case_of(case: &str, payload: Value) -> Value {
    Value::Object(Map::from_iter([(case.to_owned(), payload)]))
}

/// What the guest gets back, as the type it declared.
pub(crate) fn to_val(value: &Value, wanted: &Type) -> Result<Val, Mismatch> {
    let mismatch = |wanted| Mismatch { value: brief(value), wanted };
    macro_rules! integer {
        ($variant:ident, $name:literal) => {
            value
                .as_i64()
                .and_then(|it| it.try_into().ok())
                .map(Val::$variant)
                .ok_or_else(|| mismatch(concat!("a number of type ", $name)))
        };
    }
    match wanted {
        Type::Bool => value.as_bool().map(Val::Bool).ok_or_else(|| mismatch("a boolean")),
        Type::S8 => integer!(S8, "s8"),
        Type::U8 => integer!(U8, "u8"),
        Type::S16 => integer!(S16, "s16"),
        Type::U16 => integer!(U16, "u16"),
        Type::S32 => integer!(S32, "s32"),
        Type::U32 => integer!(U32, "u32"),
        Type::S64 => decimal(value).map(Val::S64).ok_or_else(|| mismatch("a decimal string of type s64")),
        Type::U64 => decimal(value).map(Val::U64).ok_or_else(|| mismatch("a decimal string of type u64")),
        #[allow(clippy::cast_possible_truncation, reason = "the guest asked for 32 bits")]
        Type::Float32 => value.as_f64().map(|it| Val::Float32(it as f32)).ok_or_else(|| mismatch("a number")),
        Type::Float64 => value.as_f64().map(Val::Float64).ok_or_else(|| mismatch("a number")),
        Type::Char => value
            .as_str()
            .and_then(|it| it.parse().ok())
            .map(Val::Char)
            .ok_or_else(|| mismatch("one character")),
        Type::String => value.as_str().map(|it| Val::String(it.into())).ok_or_else(|| mismatch("a string")),
        Type::List(list) => to_list(value, &list.ty()),
        Type::Tuple(tuple) => {
            let items = value.as_array().ok_or_else(|| mismatch("an array"))?;
            if items.len() != tuple.types().len() {
                return Err(mismatch("an array of the tuple's length"));
            }
            let items = items.iter().zip(tuple.types()).map(|(item, ty)| to_val(item, &ty));
            Ok(Val::Tuple(items.collect::<Result<_, _>>()?))
        }
        Type::Record(record) => {
            let object = value.as_object().ok_or_else(|| mismatch("an object"))?;
            let field = |name: &str, ty: &Type| {
                to_val(object.get(name).unwrap_or(&Value::Null), ty).map(|value| (name.to_owned(), value))
            };
            Ok(Val::Record(record.fields().map(|it| field(it.name, &it.ty)).collect::<Result<_, _>>()?))
        }
        Type::Variant(variant) => {
            let (name, payload) = one_case(value).ok_or_else(|| mismatch("a case"))?;
            let case =
                variant.cases().find(|case| case.name == name).ok_or_else(|| mismatch("a known case"))?;
            let payload = payload_of(payload, case.ty.as_ref())?;
            Ok(Val::Variant(name.to_owned(), payload))
        }
        Type::Enum(names) => {
            let name = value.as_str().filter(|it| names.names().any(|name| name == *it));
            name.map(|it| Val::Enum(it.into())).ok_or_else(|| mismatch("a known case"))
        }
        Type::Option(option) => match value {
            Value::Null => Ok(Val::Option(None)),
            value => Ok(Val::Option(Some(Box::new(to_val(value, &option.ty())?)))),
        },
        Type::Result(result) => match one_case(value) {
            Some(("ok", payload)) => Ok(Val::Result(Ok(payload_of(payload, result.ok().as_ref())?))),
            Some(("failure", payload)) => Ok(Val::Result(Err(payload_of(payload, result.err().as_ref())?))),
            _ => Err(mismatch("`ok` or `failure`")),
        },
        Type::Flags(flags) => {
            let items = value.as_array().ok_or_else(|| mismatch("an array of flags"))?;
            let known = |item: &Value| {
                item.as_str().filter(|it| flags.names().any(|name| name == *it)).map(str::to_owned)
            };
            let names = items.iter().map(known).collect::<Option<_>>();
            names.map(Val::Flags).ok_or_else(|| mismatch("known flags"))
        }
        _ => Err(mismatch("a plain value")),
    }
}

fn to_list(value: &Value, item: &Type) -> Result<Val, Mismatch> {
    let mismatch = |wanted| Mismatch { value: brief(value), wanted };
    if let (Type::U8, Value::String(text)) = (item, value) {
        let bytes = BASE64.decode(text).map_err(|_| mismatch("base64"))?;
        return Ok(Val::List(bytes.into_iter().map(Val::U8).collect()));
    }
    let items = value.as_array().ok_or_else(|| mismatch("an array"))?;
    Ok(Val::List(items.iter().map(|value| to_val(value, item)).collect::<Result<_, _>>()?))
}

/// `"case"` or `{"case": payload}`.
fn one_case(value: &Value) -> Option<(&str, &Value)> {
    match value {
        Value::String(name) => Some((name, &Value::Null)),
        Value::Object(map) if map.len() == 1 => map.iter().next().map(|(name, it)| (name.as_str(), it)),
        _ => None,
    }
}

fn payload_of(value: &Value, wanted: Option<&Type>) -> Result<Option<Box<Val>>, Mismatch> {
    wanted.map(|ty| to_val(value, ty).map(Box::new)).transpose()
}

fn decimal<T: std::str::FromStr>(value: &Value) -> Option<T> {
    value.as_str()?.parse().ok()
}

fn brief(value: &Value) -> String {
    let text = value.to_string();
    if text.len() <= 60 { text } else { format!("{}…", text.chars().take(60).collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::engine;
    use serde_json::json;
    use wasmtime::component::{Component, types::ComponentItem};

    /// A parameter's type, as a guest declares it.
    fn declared(before: &str, parameter: &str) -> Type {
        let text = format!(r#"(component {before} (import "f" (func (param "it" {parameter}))))"#);
        let engine = engine(crate::Limits::default().stack).unwrap();
        let component = Component::new(&engine, wat::parse_str(text).unwrap()).unwrap();
        let item = component.component_type().get_import(&engine, "f").unwrap().ty;
        let ComponentItem::ComponentFunc(function) = item else { panic!("no function") };
        function.params().next().unwrap().1
    }

    #[test]
    fn every_type_comes_back_as_it_went() {
        let record =
            r#"(type $a (record (field "x" u8) (field "y" (option string)))) (import "a" (type $t (eq $a)))"#;
        let variant = r#"(type $a (variant (case "none") (case "some" u32))) (import "a" (type $t (eq $a)))"#;
        let names = r#"(type $a (enum "one" "two")) (import "a" (type $t (eq $a)))"#;
        let flags = r#"(type $a (flags "r" "w")) (import "a" (type $t (eq $a)))"#;
        for (before, parameter, value) in [
            ("", "bool", json!(true)),
            ("", "s8", json!(-128)),
            ("", "u32", json!(4_294_967_295_u32)),
            ("", "s64", json!("-9223372036854775808")),
            ("", "u64", json!("18446744073709551615")),
            ("", "f64", json!(1.5)),
            ("", "char", json!("é")),
            ("", "string", json!("a\nb")),
            ("", "(list u8)", json!("AAEC/w==")),
            ("", "(list string)", json!(["a", "b"])),
            ("", "(list (tuple string string))", json!([["k", "v"]])),
            ("", "(tuple u8 string)", json!([7, "x"])),
            ("", "(option u32)", json!(null)),
            ("", "(result string (error u32))", json!({ "ok": "x" })),
            ("", "(result string (error u32))", json!({ "failure": 5 })),
            ("", "(result)", json!({ "ok": null })),
            (record, "$t", json!({ "x": 1, "y": null })),
            (variant, "$t", json!("none")),
            (variant, "$t", json!({ "some": 3 })),
            (names, "$t", json!("two")),
            (flags, "$t", json!(["w"])),
        ] {
            let value_in = to_val(&value, &declared(before, parameter)).unwrap();
            assert_eq!(to_json(&value_in).unwrap(), value, "{parameter}");
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (parameter, value, message) in [
            ("u8", json!(256), "256 where a number of type u8 is wanted"),
            ("u64", json!(7), "7 where a decimal string of type u64 is wanted"),
            ("string", json!({}), "{} where a string is wanted"),
            ("(list u8)", json!("?"), "\"?\" where base64 is wanted"),
            ("(tuple u8)", json!([1, 2]), "[1,2] where an array of the tuple's length is wanted"),
            ("(result)", json!({ "maybe": 1 }), "{\"maybe\":1} where `ok` or `failure` is wanted"),
        ] {
            assert_eq!(to_val(&value, &declared("", parameter)).unwrap_err().to_string(), message);
        }
    }
}
