//! What a module carries for us beside its code, in custom sections.

use super::CompileError;
use crate::Phases;
use wasmparser::{Parser, Payload};

const PHASES: &str = "wasmhook:phases";
const SETTINGS: &str = "wasmhook:settings";

/// What the SDK's macros have left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Carried {
    pub(super) phases: Phases,
    /// The JSON schema of the hook's `config`, as it is: nobody has read it yet.
    pub(super) settings: Option<String>,
}

/// Of a core module, or of a component and the modules in it. The first section of a name counts.
pub(super) fn of(module: &[u8]) -> Result<Carried, CompileError> {
    let mut phases = None;
    let mut settings = None;
    for payload in Parser::new(0).parse_all(module) {
        let Payload::CustomSection(section) = payload.map_err(|it| CompileError::Damaged(it.to_string()))?
        else {
            continue;
        };
        match section.name() {
            // One byte, or something that is not ours.
            PHASES => phases = phases.or(section.data().first().copied()),
            SETTINGS => {
                settings = settings.or_else(|| Some(String::from_utf8_lossy(section.data()).into_owned()));
            }
            _ => {}
        }
    }
    Ok(Carried { phases: phases.map(Phases::from_bits).unwrap_or_default(), settings })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CniError, Phase, Request};

    fn carried(text: &str) -> Carried {
        of(&wat::parse_str(text).unwrap()).unwrap()
    }

    fn phases(text: &str) -> (bool, bool) {
        let request = || Request {
            verb: String::new(),
            cni_version: String::new(),
            container_id: String::new(),
            netns: String::new(),
            ifname: String::new(),
            args: Vec::new(),
            network: String::new(),
            plugin: String::new(),
            config: String::new(),
            prev_result: String::new(),
            hook_config: String::new(),
            dry_run: false,
            carry: String::new(),
            extra: String::new(),
        };
        let phases = carried(text).phases;
        let error = CniError { code: 1, msg: String::new(), details: String::new() };
        (phases.have(&Phase::Pre(request())), phases.have(&Phase::Post(request(), Err(error))))
    }

    #[test]
    fn a_module_says_its_phases_and_one_that_says_nothing_has_both() {
        for (text, is) in [
            ("(module)", (true, true)),
            (r#"(module (@custom "wasmhook:phases" "\01"))"#, (true, false)),
            (r#"(module (@custom "wasmhook:phases" "\02"))"#, (false, true)),
            (r#"(module (@custom "wasmhook:phases" "\03"))"#, (true, true)),
            (r#"(module (@custom "wasmhook:phases" "\00"))"#, (true, true)),
            (r#"(module (@custom "wasmhook:phases" "\ff"))"#, (true, true)),
            (r#"(module (@custom "wasmhook:phases" ""))"#, (true, true)),
            (r#"(component (core module (@custom "wasmhook:phases" "\01")))"#, (true, false)),
        ] {
            assert_eq!(phases(text), is, "{text}");
        }
    }

    #[test]
    fn the_schema_is_found_wherever_it_is() {
        assert_eq!(carried("(module)").settings, None);
        for text in [
            r#"(module (@custom "wasmhook:settings" "{}"))"#,
            r#"(component (core module (@custom "wasmhook:settings" "{}")))"#,
        ] {
            assert_eq!(carried(text).settings.as_deref(), Some("{}"));
        }
    }
}
