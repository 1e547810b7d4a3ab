//! Taking back what a journal holds, for whoever does it: the ADD itself, another ADD, GC, a person.

use crate::call::Means;
use crate::delegate::{DelegateError, Run};
use crate::error::Error;
use crate::recording::{joined, recordings};
use std::os::fd::AsFd;
use std::time::Duration;
use wasmhook_cni::Verb;
use wasmhook_store::{Access, Journal, Journals, Record, StoreError};

/// Everything that a journal holds, strictly backwards, and without hooks. All of it but `stuck` is tried; the first error
/// is told.
pub(crate) fn undo(means: &Means<'_>, journal: &mut Journal, stuck: Option<usize>) -> Result<(), Error> {
    let Some(begin) = journal.story().begin.clone() else { return Ok(()) };
    let netns = if begin.namespace_is_gone() { String::new() } else { begin.netns_path.clone() };
    let overrides = vec![
        ("CNI_CONTAINERID", begin.key.container_id.clone()),
        ("CNI_IFNAME", begin.key.ifname.clone()),
        ("CNI_NETNS", netns),
        ("CNI_ARGS", begin.args.clone()),
        ("CNI_PATH", joined(&begin.path, means.path)),
    ];
    let mut failed = None;
    for delegate in recordings(journal.story(), means.path, &overrides).iter().rev() {
        if !delegate.is_held || stuck == Some(delegate.step) {
            continue;
        }
        let deleted = match &delegate.found {
            Err(error) => Err(DelegateError::Missing(error.clone()).into()),
            Ok(plugin) => {
                tracing::info!(
                    container_id = begin.key.container_id,
                    delegate = plugin.plugin_type,
                    "undoing: DEL"
                );
                let run = Run {
                    verb: Verb::Del,
                    config: &delegate.config,
                    prev_result: delegate.prev_result.as_deref(),
                    until: means.undo_until(),
                    keep: Some(journal.file().as_fd()),
                    overrides: &delegate.overrides,
                };
                plugin.run(&run, &means.around).map_err(Error::from)
            }
        };
        match deleted {
            Ok(_) => note_deleted(journal, delegate.step),
            Err(error) => {
                failed.get_or_insert(error);
            }
        }
    }
    failed.map_or(Ok(()), Err)
}

/// This delegate needs no DEL any more.
pub(crate) fn note_deleted(journal: &mut Journal, step: usize) {
    // Only a shortcut for the next DEL.
    if let Err(error) = journal.write(vec![Record::Deleted { step }]) {
        tracing::error!("{error}");
    }
}

/// All journals of a node that nobody works on, each locked.
pub(crate) fn idle(journals: &Journals) -> Result<impl Iterator<Item = Journal> + '_, StoreError> {
    Ok(journals.files()?.into_iter().filter_map(|file| match journals.open_file(&file, Duration::ZERO) {
        Ok(Some(Access::Ours(journal))) => Some(journal),
        Ok(_) => None,
        Err(error) => {
            tracing::error!("{error}");
            None
        }
    }))
}
