use crate::delegate::DelegateError;
use crate::modules::ModuleError;
use crate::problem::Problem;
use crate::settings::SettingsError;
use std::time::Duration;
use wasmhook_cni as cni;
use wasmhook_store::StoreError;
use wasmhook_wasm::Fault;

pub use wasmhook_wasm::Culprit;

/// Error codes of our own, beside the specification's. `docs/errors.md` lists them for people.
pub mod code {
    /// A hook refused; used when the hook names no code of its own.
    pub const DENIED: u32 = 100;
    /// A hook is broken, and it is the module's fault.
    pub const HOOK_GUEST: u32 = 101;
    /// A hook could not be run, and it is ours or the machine's fault.
    pub const HOOK_HOST: u32 = 102;
    /// A hook could not be run: what the conflist or the node's settings say does not fit the module.
    pub const HOOK_CONFIGURATION: u32 = 103;
    /// ADD for an interface of a container that is attached already.
    pub const ATTACHED: u32 = 104;
}

/// Why a call fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// In CNI's own words already: of the environment, of the configuration, of a hook that denies.
    #[error("{0}")]
    Cni(#[from] cni::Error),
    /// Mistakes in our block of the conflist.
    #[error("wasmhook configuration {}", .0[0])]
    Configuration(Vec<Problem>),
    /// The node's settings cannot be read.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A hook gave no verdict, and `onFailure` says that this fails the call.
    #[error(transparent)]
    Hook(#[from] HookFailure),
    /// A delegate failed.
    #[error(transparent)]
    Delegate(#[from] DelegateError),
    /// An ADD with nobody to make a result.
    #[error(
        "no prevResult, no `delegate`, and no hook answered: wasmhook has nothing to return; put it behind another plugin, or give it a `delegate`"
    )]
    NothingToReturn,
    /// `CNI_NETNS` is the namespace that we run in.
    #[error("plugin's netns and netns from CNI_NETNS should not be the same")]
    OurNamespace,
    /// An ADD that has been done and not undone.
    #[error(
        "{0} of this container is attached to this network already: DEL comes before another ADD (and two wasmhook entries in one list need an `id` each)"
    )]
    Attached(String),
    /// Another call works on the same attachment.
    #[error("another call is working on this attachment, for over {0:?}: try again")]
    Busy(Duration),
    /// A DEL could not wait for us any longer.
    #[error("a DEL came while this ADD was at work, so it has undone itself")]
    Abandoned,
    /// What an earlier ADD left cannot be cleaned up.
    #[error("an earlier ADD of this attachment has left something that cannot be cleaned up: {0}")]
    Left(Box<Error>),
    /// Something that a host function did cannot be taken back.
    #[error("cannot take back {0}")]
    Effect(String),
    /// The journal cannot be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A hook has made this call hang.
    #[error("a hook with the grant `chaos` has made this call hang until its time was over, on purpose")]
    Hung,
    /// A hook has made this call end in another way than with this error.
    #[error("a hook with the grant `chaos` has broken this call on purpose")]
    Broken,
    /// A CHECK that was not told what ADD had returned.
    #[error("CHECK needs prevResult, and the runtime sent none")]
    NothingToCheck,
}

impl Error {
    /// Has a hook no say in it?
    pub(crate) fn is_ours(&self) -> bool {
        !matches!(self, Self::Cni(_) | Self::Delegate(_))
    }
}

/// Broken, not "deny": why a hook gave no usable verdict.
#[derive(Debug, thiserror::Error)]
#[error("hook `{hook}`: {why}")]
pub struct HookFailure {
    /// The hook's name.
    pub hook: String,
    /// Where it stands in the entry: `hooks[0]`.
    pub at: String,
    /// `pre` or `post`.
    pub phase: &'static str,
    /// The reason.
    pub why: Why,
}

/// Where on its way a hook failed.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// Before it could run.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// While it ran.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The call's time was over.
    #[error(
        "the call's time is over after {0:.1?} for this hook (`budgets.call` without `budgets.reserve` in the node's settings)"
    )]
    Budget(Duration),
    /// All hooks together have had their time.
    #[error(
        "the {0:?} that all hooks of a call may take together are over (`budgets.hooks` in the node's settings)"
    )]
    Hooks(Duration),
    /// It said something that can't be meant.
    #[error("unusable verdict: {0}")]
    Verdict(String),
}

impl Why {
    /// Could it not even be asked, and will that not change by itself?
    pub(crate) fn is_missing(&self) -> bool {
        match self {
            Self::Module(error) => {
                !matches!(error, ModuleError::Compiling { .. } | ModuleError::NotCompiled { .. })
            }
            Self::Fault(fault) => matches!(fault.culprit(), Culprit::Configuration),
            Self::Budget(_) | Self::Hooks(_) | Self::Verdict(_) => false,
        }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn culprit(&self) -> Culprit {
        match self {
            Self::Module(error) => error.culprit(),
            Self::Fault(fault) => fault.culprit(),
            Self::Budget(_) | Self::Hooks(_) => Culprit::Host,
            Self::Verdict(_) => Culprit::Guest,
        }
    }
}

impl From<Error> for cni::Error {
    fn from(error: Error) -> Self {
        let msg = error.to_string();
        match error {
            Error::Cni(error) | Error::Delegate(DelegateError::Own(error)) => error,
            Error::Configuration(problems) => {
                // The message holds the first already.
                let others: Vec<_> = problems.iter().skip(1).map(Problem::to_string).collect();
                Self::new(cni::code::INVALID_CONFIG, msg).with_details(others.join("\n"))
            }
            Error::Settings(_) | Error::NothingToReturn | Error::NothingToCheck => {
                Self::new(cni::code::INVALID_CONFIG, msg)
            }
            Error::OurNamespace => Self::new(cni::code::INVALID_NETNS, msg),
            Error::Attached(_) => Self::new(code::ATTACHED, msg),
            Error::Busy(_) | Error::Abandoned | Error::Hung | Error::Broken => {
                Self::new(cni::code::TRY_AGAIN, msg)
            }
            Error::Store(_) | Error::Effect(_) => Self::new(cni::code::IO, msg),
            Error::Left(error) => Self { msg, ..Self::from(*error) },
            Error::Hook(failure) => {
                let (code, fault) = match (&failure.why, failure.why.culprit()) {
                    (Why::Module(ModuleError::Compiling { .. }), _) => (cni::code::TRY_AGAIN, "nobody"),
                    (_, Culprit::Guest) => (code::HOOK_GUEST, "the module"),
                    (_, Culprit::Host) => (code::HOOK_HOST, "the host"),
                    (_, Culprit::Configuration) => (code::HOOK_CONFIGURATION, "the configuration"),
                };
                let details = format!("{} in {}; at fault: {fault}", failure.at, failure.phase);
                Self::new(code, msg).with_details(details)
            }
            Error::Delegate(error) => {
                let code = match error {
                    DelegateError::Name(_) | DelegateError::Missing(_) | DelegateError::NotFound { .. } => {
                        cni::code::INVALID_CONFIG
                    }
                    DelegateError::NotStarted { .. } | DelegateError::Io { .. } => cni::code::IO,
                    DelegateError::Own(_)
                    | DelegateError::Late { .. }
                    | DelegateError::Silent { .. }
                    | DelegateError::Stderr { .. }
                    | DelegateError::Diagnostic { .. }
                    | DelegateError::Garbage { .. }
                    | DelegateError::Version { .. }
                    | DelegateError::NoAddress { .. } => cni::code::UNTYPED,
                };
                Self::new(code, msg)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn the_list_for_people_holds_every_code_that_is_used() {
        let sources = [
            include_str!("error.rs"),
            include_str!("call.rs"),
            include_str!("pipeline.rs"),
            include_str!("dispatch.rs"),
            include_str!("recording.rs"),
            include_str!("verbs/mod.rs"),
            include_str!("verbs/status.rs"),
        ]
        .concat();
        let shared = include_str!("../../../sdk/cni/src/error.rs");
        let constants = [shared, include_str!("error.rs")].concat();
        let mut used = BTreeSet::new();
        for line in constants.lines().filter_map(|line| line.trim().strip_prefix("pub const ")) {
            let (name, value) = line.trim_end_matches(';').split_once(": u32 = ").unwrap();
            if sources.contains(&format!("code::{name}")) {
                used.insert(value.to_owned());
            }
        }
        used.extend(["4", "1", "100"].map(str::to_owned));
        let page = include_str!("../../../docs/errors.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next());
        let listed: BTreeSet<_> =
            rows.filter(|code| code.parse::<u32>().is_ok()).map(str::to_owned).collect();
        assert_eq!(listed, used);
    }
}
