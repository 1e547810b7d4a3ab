use crate::cni::{CniResult, Error, Object};
use crate::{Outcome, Request, Result};

/// What [`Hook::pre`] wants.
#[allow(clippy::large_enum_variant, reason = "made once per call, and a box would be in every hook's way")]
#[derive(Clone, Debug)]
pub enum Pre {
    /// Go on with the configuration as it is.
    Proceed,
    /// Go on with this configuration. `name`, `cniVersion`, `type` and `cni.dev/*` must be unchanged.
    Rewrite(Object),
    /// Do not run the plugin: this is its result.
    Answer(CniResult),
    /// Do not run the plugin: the call fails with this error.
    Deny(Error),
}

/// What [`Hook::post`] wants.
#[derive(Clone, Debug)]
pub enum Post {
    /// The outcome stands.
    Keep,
    /// This result takes the place of the plugin's.
    Rewrite(CniResult),
    /// The call fails with this error after all; what was done is undone.
    Fail(Error),
    /// This result takes the place of the plugin's error.
    Recover(CniResult),
}

/// When a hook is visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phases {
    /// Before the plugin alone: [`Hook::post`] is never called.
    Pre = 1,
    /// After the plugin alone: [`Hook::pre`] is never called.
    Post = 2,
    /// Before and after.
    Both = 3,
}

/// A hook. All functions have a default that changes nothing.
pub trait Hook {
    /// Whether a panic's words are logged. A hook that neither panics nor logs may say `false`: it then imports nothing
    /// and loads a fifth faster.
    const LOG_PANICS: bool = true;

    /// The phases that it has something to do in. A hook that leaves one out is not started for it, which saves a
    /// third of what it costs. The module carries this in its custom section `wasmhook:traits`.
    const PHASES: Phases = Phases::Both;

    /// Does it break things on purpose? Such a hook is skipped while faults are switched off on the node (`wasmhookctl
    /// faults off`). The module carries this, too.
    const BREAKS_THINGS: bool = false;

    /// Before the plugin.
    fn pre(request: &Request) -> Result<Pre> {
        let _ = request;
        Ok(Pre::Proceed)
    }

    /// After the plugin, with what it answered.
    fn post(request: &Request, outcome: Outcome) -> Result<Post> {
        let _ = (request, outcome);
        Ok(Post::Keep)
    }

    /// What is wrong with this hook's settings, beyond what their schema can say: `wasmhookctl validate` asks it, with
    /// nothing but `hook_config` in the request. Never called for a pod.
    fn validate(request: &Request) -> Result<()> {
        let _ = request;
        Ok(())
    }
}
