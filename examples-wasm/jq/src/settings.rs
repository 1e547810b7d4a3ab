use crate::program::Program;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use wasmhook_sdk::{Failure, Request, Result};

const VERBS: [&str; 5] = ["ADD", "CHECK", "DEL", "GC", "STATUS"];

/// What an operator writes: `config` of the hook.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Settings {
    pre: Option<Filters>,
    post: Option<Filters>,
    on_error: Option<Filters>,
    /// `$name` in filters.
    #[serde(default)]
    pub(crate) vars: Map<String, Value>,
}

/// One for ADD, or one for each verb.
#[derive(Deserialize)]
#[serde(untagged)]
enum Filters {
    Add(String),
    PerVerb(BTreeMap<String, String>),
}

/// When a filter runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Pre,
    Post,
    OnError,
}

impl Moment {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pre => "pre",
            Self::Post => "post",
            Self::OnError => "onError",
        }
    }
}

impl Settings {
    pub(crate) fn read(request: &Request) -> Result<Self> {
        let settings: Self = request.settings()?;
        for name in settings.vars.keys() {
            let plain = |it: char| it.is_ascii_alphanumeric() || it == '_';
            if name.starts_with(|it: char| it.is_ascii_digit()) || name.is_empty() || !name.chars().all(plain)
            {
                return Err(Failure::new(format!(
                    "`config.vars.{name}`: write letters, digits and `_`: it is `$name` in filters"
                )));
            }
        }
        Ok(settings)
    }

    /// The filter that is to run, and what it is called.
    pub(crate) fn filter(&self, moment: Moment, verb: &str) -> Option<(String, &str)> {
        let name = moment.name();
        match self.filters(moment)? {
            Filters::Add(filter) if verb == "ADD" => Some((format!("config.{name}"), filter)),
            Filters::Add(_) => None,
            Filters::PerVerb(filters) => {
                filters.get(verb).map(|filter| (format!("config.{name}.{verb}"), filter.as_str()))
            }
        }
    }

    fn filters(&self, moment: Moment) -> Option<&Filters> {
        match moment {
            Moment::Pre => self.pre.as_ref(),
            Moment::Post => self.post.as_ref(),
            Moment::OnError => self.on_error.as_ref(),
        }
    }

    /// Is every filter one?
    pub(crate) fn check(&self) -> Result<()> {
        for moment in [Moment::Pre, Moment::Post, Moment::OnError] {
            if let Some(Filters::PerVerb(filters)) = self.filters(moment)
                && let Some(verb) = filters.keys().find(|it| !VERBS.contains(&it.as_str()))
            {
                let (name, verbs) = (moment.name(), VERBS.join(", "));
                return Err(Failure::new(format!("`config.{name}.{verb}`: no verb; write {verbs}")));
            }
            for verb in VERBS {
                if let Some((name, filter)) = self.filter(moment, verb) {
                    Program::compile(&name, filter, &self.vars)?;
                }
            }
        }
        Ok(())
    }
}
