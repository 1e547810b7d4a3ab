//! Rewrites, refuses and answers by jq filters in the conflist. See docs/hooks/jq.md.
//!
//! ```json
//! { "module": "jq", "config": { "pre": ".config.mtu = 1400" } }
//! ```
//!
//! A filter gets `{request, config, prevResult, result, error}` and says what of it shall be another one: `.config` before the
//! plugin, `.result` after it (before it: its answer), `.error` when it has failed (`.result`: it has not). `error("…")` refuses.
//!
//! Teaches: a language within the sandbox, and settings that are checked before a pod is.

mod mistake;
mod program;
mod settings;
mod view;

use program::{Program, Said};
use settings::{Moment, Settings};
use view::{Changes, View};
use wasmhook_sdk::cni::Error;
use wasmhook_sdk::{Hook, Outcome, Post, Pre, Request, Result};

struct Jq;

/// What a filter wants.
#[allow(clippy::large_enum_variant, reason = "made once")]
enum Wanted {
    Nothing,
    Refused(Error),
    Changes(Changes),
}

impl Hook for Jq {
    fn pre(request: &Request) -> Result<Pre> {
        Ok(match ask(request, Moment::Pre, None)? {
            Wanted::Refused(error) => Pre::Deny(error),
            Wanted::Changes(Changes { result: Some(result), .. }) => Pre::Answer(result),
            Wanted::Changes(Changes { config: Some(config), .. }) => Pre::Rewrite(config),
            Wanted::Nothing | Wanted::Changes(_) => Pre::Proceed,
        })
    }

    fn post(request: &Request, outcome: Outcome) -> Result<Post> {
        let failed = outcome.error().is_some();
        let moment = if failed { Moment::OnError } else { Moment::Post };
        Ok(match ask(request, moment, Some(&outcome))? {
            Wanted::Changes(Changes { result: Some(result), .. }) if failed => Post::Recover(result),
            Wanted::Changes(Changes { result: Some(result), .. }) => Post::Rewrite(result),
            Wanted::Refused(error) | Wanted::Changes(Changes { error: Some(error), .. }) => Post::Fail(error),
            Wanted::Nothing | Wanted::Changes(_) => Post::Keep,
        })
    }

    fn validate(request: &Request) -> Result<()> {
        Settings::read(request)?.check()
    }
}

fn ask(request: &Request, moment: Moment, outcome: Option<&Outcome>) -> Result<Wanted> {
    let settings = Settings::read(request)?;
    let Some((name, filter)) = settings.filter(moment, &request.verb) else { return Ok(Wanted::Nothing) };
    log_to_host();
    let program = Program::compile(&name, filter, &settings.vars)?;
    let view = View::of(request, outcome)?;
    Ok(match program.run(view.value())? {
        Said::Nothing => Wanted::Nothing,
        Said::Raised(value) => Wanted::Refused(view::raised(&value)),
        Said::Value(now) => Wanted::Changes(view.changes(&name, &now, moment)?),
    })
}

/// `debug` and `stderr` in filters.
fn log_to_host() {
    struct Host;

    impl log::Log for Host {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &log::Record<'_>) {
            wasmhook_sdk::info!("{}", record.args());
        }

        fn flush(&self) {}
    }

    if log::set_logger(&Host).is_ok() {
        log::set_max_level(log::LevelFilter::Debug);
    }
}

wasmhook_sdk::export!(Jq);
wasmhook_sdk::settings_schema!("settings.schema.json");

#[cfg(test)]
mod tests;
