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

/// A hook. Both functions have a default that changes nothing.
pub trait Hook {
    /// Whether a panic's words are logged. A hook that neither panics nor logs may say `false`: it then imports nothing
    /// and loads a fifth faster.
    const LOG_PANICS: bool = true;

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
}
