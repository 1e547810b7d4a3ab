//! What a module carries for us beside its code, in custom sections.

use super::CompileError;
use crate::Traits;
use serde_json::Value;
use wasmparser::{Parser, Payload};

const TRAITS: &str = "wasmhook:traits";
const SETTINGS: &str = "wasmhook:settings";

/// What the SDK's macros have left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) traits: Traits,
    /// The JSON schema of the hook's `config`, or text.
    pub(super) settings: Option<Value>,
}

/// Of a core module, or of a component and the modules in it. The first section of a name counts.
pub(super) fn of(module: &[u8]) -> Result<Carried, CompileError> {
    let mut traits = None;
    let mut settings = None;
    for payload in Parser::new(0).parse_all(module) {
        let Payload::CustomSection(section) = payload.map_err(|it| CompileError::Damaged(it.to_string()))?
        else {
            continue;
        };
        match section.name() {
            // One byte, or something that is not ours.
            TRAITS => traits = traits.or(section.data().first().copied()),
            SETTINGS => {
                let text = || String::from_utf8_lossy(section.data()).into_owned();
                let read =
                    || serde_json::from_slice(section.data()).unwrap_or_else(|_| Value::String(text()));
                settings = settings.or_else(|| Some(read()));
            }
            _ => {}
        }
    }
    Ok(Carried { traits: traits.map(Traits::from_bits).unwrap_or_default(), settings })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(text: &str) -> Carried {
        of(&wat::parse_str(text).unwrap()).unwrap()
    }

    #[test]
    fn a_module_says_its_traits_and_one_that_says_nothing_has_both_phases() {
        let both = &["pre", "post"][..];
        for (text, are) in [
            ("(module)", both),
            (r#"(module (@custom "wasmhook:traits" "\01"))"#, &["pre"]),
            (r#"(module (@custom "wasmhook:traits" "\02"))"#, &["post"]),
            (r#"(module (@custom "wasmhook:traits" "\03"))"#, both),
            (r#"(module (@custom "wasmhook:traits" "\00"))"#, both),
            (r#"(module (@custom "wasmhook:traits" "\f8"))"#, both),
            (r#"(module (@custom "wasmhook:traits" ""))"#, both),
            (r#"(module (@custom "wasmhook:traits" "\05"))"#, &["pre", "breaks-things"]),
            (r#"(component (core module (@custom "wasmhook:traits" "\01")))"#, &["pre"]),
        ] {
            assert_eq!(carried(text).traits.names(), are, "{text}");
        }
    }

    #[test]
    fn the_schema_is_found_wherever_it_is() {
        assert_eq!(carried("(module)").settings, None);
        for text in [
            r#"(module (@custom "wasmhook:settings" "{}"))"#,
            r#"(component (core module (@custom "wasmhook:settings" "{}")))"#,
        ] {
            assert_eq!(carried(text).settings, Some(serde_json::json!({})));
        }
        let text = carried(r#"(module (@custom "wasmhook:settings" "{"))"#).settings;
        assert_eq!(text, Some("{".into()));
    }
}
