//! Is a hook's `config` what the hook understands? Its own schema tells, and then the hook itself.

use crate::Failure;
use crate::try_hook::artifact;
use serde_json::Value;
use std::path::Path;
use wasmhook_cni::Verb;
use wasmhook_net_types::Model;
use wasmhook_plugin::entry::HookSpec;
use wasmhook_plugin::settings::{Room, Settings};
use wasmhook_plugin::{Asking, Guests, Modules, Seat};
use wasmhook_store::Digest;
use wasmhook_wasm::{Inspection, Phase, Request};

/// The verb that asks a hook about its settings and nothing else.
const VALIDATE: &str = "VALIDATE";
const MOST_MISTAKES: usize = 20;

/// What is wrong: where in `config` (`.rules[0].name`, or nothing for all of it), and in words. Hooks that carry no schema are not
/// asked: they may know no such question.
pub(crate) fn mistakes(
    settings: &Settings,
    hooks: &[HookSpec],
    index: usize,
    (path, bytes): (&Path, &[u8]),
    inspection: &Inspection,
) -> Result<Vec<(String, String)>, Failure> {
    let hook = &hooks[index];
    let Some(schema) = &inspection.settings else { return Ok(Vec::new()) };
    let mistakes =
        by_schema(schema, hook.config.get()).map_err(|what| Failure::Content { path: path.into(), what })?;
    if !mistakes.is_empty() {
        return Ok(mistakes);
    }
    let settings = Settings { isolation: Room::Module, ..settings.clone() };
    let guests = Guests::new(&settings, hooks).without_effects(Model::new());
    let artifact = match Modules::new(&settings).store().find_digest(&Digest::of(bytes)) {
        Some(artifact) => artifact.file,
        None => artifact(path, bytes)?,
    };
    let phase = Phase::Pre(request(hook));
    let asking = Asking { hooks, index, verb: Verb::Check, phase: &phase };
    match guests.visit_with(&asking, &mut Seat::default(), &artifact) {
        Ok(_) => Ok(Vec::new()),
        Err(failure) => Ok(vec![(String::new(), failure.why.to_string())]),
    }
}

fn by_schema(schema: &Value, config: &str) -> Result<Vec<(String, String)>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("the schema of its settings is unusable: {error}");
    let config: Value = serde_json::from_str(config).map_err(|error| error.to_string())?;
    let validator = jsonschema::validator_for(schema).map_err(|error| wrong(&error))?;
    let told =
        |error: jsonschema::ValidationError<'_>| (place(error.instance_path().as_str()), error.to_string());
    Ok(validator.iter_errors(&config).take(MOST_MISTAKES).map(told).collect())
}

/// `/rules/0/name` as we write places: `.rules[0].name`.
fn place(pointer: &str) -> String {
    let parts = pointer.split('/').skip(1).map(|it| it.replace("~1", "/").replace("~0", "~"));
    parts.map(|it| if it.parse::<usize>().is_ok() { format!("[{it}]") } else { format!(".{it}") }).collect()
}

fn request(hook: &HookSpec) -> Request {
    Request {
        verb: VALIDATE.to_owned(),
        cni_version: String::new(),
        container_id: String::new(),
        netns: String::new(),
        ifname: String::new(),
        args: Vec::new(),
        network: String::new(),
        plugin: String::new(),
        config: "{}".to_owned(),
        prev_result: String::new(),
        hook_config: hook.config.get().to_owned(),
        dry_run: true,
        carry: String::new(),
        extra: "{}".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SCHEMA: &str = r#"{"type":"object","required":["rules"],"additionalProperties":false,
        "properties":{"rules":{"type":"array","items":{"type":"object","properties":{"mtu":{"type":"integer","minimum":68}}}}}}"#;

    #[test]
    fn each_mistake_is_told_with_its_place() {
        let config = r#"{"rules":[{"mtu":1500},{"mtu":12}],"rulse":1}"#;
        let schema = serde_json::from_str(SCHEMA).unwrap();
        let mut mistakes = by_schema(&schema, config).unwrap();
        mistakes.sort();
        assert_eq!(
            mistakes,
            [
                (String::new(), "Additional properties are not allowed ('rulse' was unexpected)".to_owned()),
                (".rules[1].mtu".to_owned(), "12 is less than the minimum of 68".to_owned()),
            ]
        );
        assert_eq!(by_schema(&schema, r#"{"rules":[]}"#).unwrap(), []);
    }

    #[test]
    fn a_schema_is_a_strangers() {
        let told = |schema: &Value| by_schema(schema, "{}").unwrap_err();
        for schema in
            [json!(""), json!(7), json!({ "type": "nothing" }), json!({ "$ref": "https://192.0.2.1/x" })]
        {
            assert!(told(&schema).starts_with("the schema of its settings is unusable: "), "{schema}");
        }
    }
}
