//! Other CNI plugins, run because a hook asks for it.

use crate::call::Call;
use crate::delegate::{Delegate, DelegateError, Run, Surroundings, find_plugin};
use crate::trail::{SharedTrail, Trail};
use std::cell::RefCell;
use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmhook_cni::{Object, Verb};
use wasmhook_host::{Failure, Plugins, Ran};
use wasmhook_store::Versions;

/// All that running one takes, apart from the call: a door may outlive it.
#[derive(Clone, Debug)]
pub(crate) struct NodePlugins {
    variables: Arc<Vec<(OsString, OsString)>>,
    versions: Versions,
    path: String,
    each: Duration,
    until: Instant,
    /// Whose lock they inherit.
    trail: Option<SharedTrail>,
}

impl NodePlugins {
    /// For the attachment whose trail this is.
    pub(crate) fn of(call: &Call<'_>, trail: Option<SharedTrail>) -> Self {
        let means = &call.means;
        Self {
            variables: means.around.variables.clone(),
            versions: means.around.versions.clone(),
            path: means.path.to_owned(),
            each: means.budgets.delegate,
            until: means.started + means.budgets.call.saturating_sub(means.budgets.reserve),
            trail,
        }
    }
}

impl Plugins for NodePlugins {
    fn find(&self, plugin: &str) -> Result<PathBuf, Failure> {
        find_plugin(plugin, &self.path).map_err(|error| Failure::new("not-found", error.to_string()))
    }

    fn run(&mut self, plugin: &str, file: &Path, verb: &str, config: &Object) -> Result<Ran, Failure> {
        let verb: Verb = verb.parse().map_err(|()| Failure::new("invalid", format!("verb {verb:?}")))?;
        let delegate = Delegate { plugin_type: plugin.to_owned(), path: file.to_owned() };
        let mut stderr = std::io::stderr();
        let around = Surroundings {
            variables: self.variables.clone(),
            versions: self.versions.clone(),
            stderr: RefCell::new(&mut stderr),
        };
        // At other verbs than ADD nothing is begun.
        let lock = self.trail.as_ref().and_then(|trail| trail.with(Trail::lock).ok());
        let mut config = config.clone();
        let prev_result = config.remove("prevResult");
        let run = Run {
            verb,
            config: &config,
            prev_result: prev_result.as_deref(),
            until: (Instant::now() + self.each).min(self.until),
            keep: lock.as_ref().map(AsFd::as_fd),
            overrides: &[],
        };
        let result = delegate.run(&run, &around).map_err(failure)?;
        Ok(result.map(|it| it.to_string()))
    }
}

/// A plugin's own error keeps its code.
fn failure(error: DelegateError) -> Failure {
    match error {
        DelegateError::Own(error) => {
            let errno = i32::try_from(error.code).unwrap_or(i32::MAX);
            Failure { code: "plugin", errno, message: error.to_string() }
        }
        error => Failure::new("plugin", error.to_string()),
    }
}
