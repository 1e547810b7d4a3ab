//! Cleaning up without a runtime: what journals hold is taken back by whoever has found them.

use crate::call::Means;
use crate::delegate::Surroundings;
use crate::error::Error;
use crate::settings::Settings;
use crate::undo::undo;
use std::cell::RefCell;
use std::ffi::OsString;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;
use wasmhook_store::{Journal, Versions};

/// Takes attachments away that no call asks about.
pub struct Upkeep<'a> {
    /// The node's.
    pub settings: &'a Settings,
    /// What plugins get, beside what their journal says.
    pub variables: Vec<(OsString, OsString)>,
    /// `CNI_PATH`, for plugins that are no longer where their journal has them.
    pub path: String,
}

impl Upkeep<'_> {
    /// Undoes everything that a journal holds, backwards and without hooks, then removes the journal. Everything is
    /// tried; the first error is told, and the journal stays for another try. What plugins say on theirs goes to
    /// `stderr`. The time of a whole call is for each journal.
    ///
    /// Must be called from the main thread: plugins die with the thread that started them.
    pub fn take_away(&self, mut journal: Journal, stderr: &mut dyn Write) -> Result<(), Error> {
        let around = Surroundings {
            variables: Arc::new(self.variables.clone()),
            versions: Versions::new(&self.settings.state),
            stderr: RefCell::new(stderr),
        };
        let budgets = self.settings.budgets;
        let means = Means { around, path: &self.path, started: Instant::now(), budgets };
        undo(&means, &mut journal, None)?;
        Ok(journal.remove()?)
    }
}
