//! What each verb does. ADD is a transaction; CHECK and DEL go by what ADD wrote down; GC and STATUS are about no
//! attachment.

mod add;
mod check;
mod del;
mod gc;
mod status;

pub(crate) use add::add;
pub(crate) use check::check;
pub(crate) use del::del;
pub(crate) use gc::gc;
pub(crate) use status::{not_available, status};

use crate::call::Call;
use crate::error::Error;
use crate::pipeline::{Outcome, Pipeline, Plugin, Standing};
use crate::recording::Recorded;
use serde_json::value::RawValue;
use wasmhook_cni::{self as cni, Object, Verb, code, convert};

/// Hooks with no plugin between them.
fn alone(call: &Call<'_>) -> Outcome {
    let pipeline = Pipeline {
        call,
        plugin: &mut Nobody { call },
        config: call.own_config(),
        config_is_fixed: false,
        prev_result: call.prev_result.clone(),
    };
    pipeline.run()
}

/// Every delegate of the configuration with its hooks, at a verb that is about no attachment. All are asked; their
/// errors, in order.
fn ask_all(call: &Call<'_>) -> Vec<Error> {
    let verb = call.environment.verb;
    let delegates = call.recorded(None);
    let mut errors = Vec::new();
    let mut heard = |outcome: Outcome| {
        errors.extend(outcome.standing.err());
        errors.extend(outcome.refused);
    };
    for delegate in &delegates {
        let mut plugin = Recorded { call, verb, delegate, journal: None };
        let config = delegate.config.clone();
        let pipeline =
            Pipeline { call, plugin: &mut plugin, config, config_is_fixed: true, prev_result: None };
        heard(pipeline.run());
    }
    if delegates.is_empty() {
        heard(alone(call));
    }
    errors
}

/// Where there is no plugin: what came before is the result.
struct Nobody<'p, 'c> {
    call: &'p Call<'c>,
}

impl Plugin for Nobody<'_, '_> {
    fn name(&self) -> &'static str {
        ""
    }

    fn run(&mut self, _: &Object, prev_result: Option<&RawValue>) -> Standing {
        if self.call.environment.verb != Verb::Add {
            return Ok(None);
        }
        let prev_result = prev_result.ok_or(Error::NothingToReturn)?;
        let wrong = |error: &dyn std::fmt::Display| {
            cni::Error::new(code::DECODING, format!("error unmarshall prevResult: {error}"))
        };
        let prev_result: Object = prev_result.get().parse().map_err(|error| wrong(&error))?;
        let version = self.call.version;
        Ok(Some(convert(&prev_result, version, version).map_err(|error| wrong(&error))?))
    }
}
