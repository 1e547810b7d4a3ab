use crate::bindings::exports::wasmhook::hook::handler::Guest;
use crate::bindings::wasmhook::hook::types;
use crate::cni::{Args, Error};
use crate::{Hook, Outcome, Post, Pre, Request, Result};
use serde::Serialize;
use std::marker::PhantomData;

/// The verb of a request that is about no container: are these settings good?
const VALIDATE: &str = "VALIDATE";

/// The contract's exports for a hook.
pub struct Exported<H>(PhantomData<H>);

impl<H: Hook> Guest for Exported<H> {
    fn pre(request: types::Request) -> Result<types::PreVerdict, String> {
        log_panics::<H>();
        let request = Request::from(request);
        if request.verb == VALIDATE {
            return H::validate(&request)
                .map(|()| types::PreVerdict::Proceed)
                .map_err(|failure| failure.to_string());
        }
        let wanted = H::pre(&request).map_err(|failure| failure.to_string())?;
        Ok(match wanted {
            Pre::Proceed => types::PreVerdict::Proceed,
            Pre::Rewrite(config) => types::PreVerdict::Rewrite(json(&config)?),
            Pre::Answer(result) => types::PreVerdict::Answer(json(&result)?),
            Pre::Deny(error) => types::PreVerdict::Deny(error.into()),
        })
    }

    fn post(request: types::Request, got: types::Outcome) -> Result<types::PostVerdict, String> {
        log_panics::<H>();
        let outcome = Outcome(got.map_err(Error::from));
        let wanted = H::post(&request.into(), outcome).map_err(|failure| failure.to_string())?;
        Ok(match wanted {
            Post::Keep => types::PostVerdict::Keep,
            Post::Rewrite(result) => types::PostVerdict::Rewrite(json(&result)?),
            Post::Fail(error) => types::PostVerdict::Fail(error.into()),
            Post::Recover(result) => types::PostVerdict::Recover(json(&result)?),
        })
    }
}

fn json(value: &impl Serialize) -> Result<String, String> {
    serde_json::to_string(value).map_err(|error| error.to_string())
}

/// A panic in wasm is a bare trap; its words would be lost without this.
fn log_panics<H: Hook>() {
    #[cfg(target_arch = "wasm32")]
    if H::LOG_PANICS {
        std::panic::set_hook(Box::new(|panic| crate::error!("{panic}")));
    }
}

impl From<types::Request> for Request {
    fn from(request: types::Request) -> Self {
        Self {
            verb: request.verb,
            cni_version: request.cni_version,
            container_id: request.container_id,
            netns: request.netns,
            ifname: request.ifname,
            args: request.args.into_iter().collect::<Args>(),
            network: request.network,
            plugin: request.plugin,
            config: request.config,
            prev_result: request.prev_result,
            hook_config: request.hook_config,
            dry_run: request.dry_run,
            carry: request.carry,
            extra: request.extra,
        }
    }
}

impl From<types::CniError> for Error {
    fn from(error: types::CniError) -> Self {
        Self::new(error.code, error.msg).with_details(error.details)
    }
}

impl From<Error> for types::CniError {
    fn from(error: Error) -> Self {
        Self { code: error.code, msg: error.msg, details: error.details.unwrap_or_default() }
    }
}

/// Makes a type that is a [`Hook`] the hook of this module. Once per crate.
///
/// Outside wasm it exports nothing: names such as `wasmhook:hook/handler` are none to a host's linker, and a
/// hook's unit tests need none.
#[macro_export]
macro_rules! export {
    ($hook:ty) => {
        #[doc(hidden)]
        #[allow(non_camel_case_types, dead_code, reason = "a name for the generated exports")]
        type __wasmhook_exported = $crate::Exported<$hook>;
        #[cfg(target_arch = "wasm32")]
        $crate::bindings::export!(__wasmhook_exported with_types_in $crate::bindings);
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            #[used]
            #[unsafe(link_section = "wasmhook:traits")]
            static TRAITS: [u8; 1] = [<$hook as $crate::Hook>::PHASES as u8
                | if <$hook as $crate::Hook>::BREAKS_THINGS { 4 } else { 0 }];
        };
    };
}

/// Carries the JSON schema of a hook's `config` in the module (custom section `wasmhook:settings`), where `wasmhookctl
/// inspect` shows it and `wasmhookctl validate` holds conflists against it. Once per crate; the path is relative to the
/// file that says it, as with `include_bytes!`.
#[macro_export]
macro_rules! settings_schema {
    ($path:literal) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            const SCHEMA: &[u8] = include_bytes!($path);
            #[used]
            #[unsafe(link_section = "wasmhook:settings")]
            static SECTION: [u8; SCHEMA.len()] = {
                let mut bytes = [0; SCHEMA.len()];
                bytes.copy_from_slice(SCHEMA);
                bytes
            };
        };
    };
}
