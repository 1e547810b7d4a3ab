//! What hooks remember from call to call: keys and values, in SQLite.
//!
//! Opened by the first host call that asks for it and never before: opening costs more than all the rest of a call. Keys
//! live in a [`Space`]; those of an attachment go with it, which its journal remembers, so that a DEL whose journal says
//! nothing of them opens nothing.

mod database;
mod shelf;

pub use shelf::Shelf;

use crate::{Journals, Key, StoreError};
use database::failed;
use rusqlite::{Connection, TransactionBehavior};
use std::path::{Path, PathBuf};
use std::time::Instant;

const FILE: &str = "hooks.db";

/// What the hooks of a node remember.
#[derive(Debug)]
pub struct State {
    /// `None`: in memory, gone with this.
    file: Option<PathBuf>,
    quota: u64,
    connection: Option<Connection>,
}

/// Whose keys: each module has its own, by three scopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    module: String,
    /// `""`: of the whole node.
    network: String,
    /// The name of the attachment's journal; `""`: of no attachment.
    attachment: String,
}

impl Space {
    /// Gone when the attachment is.
    #[must_use]
    pub fn attachment(module: &str, key: &Key) -> Self {
        Self { module: module.into(), network: key.network.clone(), attachment: key.file_name() }
    }

    /// Shared by all attachments of a network.
    #[must_use]
    pub fn network(module: &str, network: &str) -> Self {
        Self { module: module.into(), network: network.into(), attachment: String::new() }
    }

    /// Shared by all networks of the node.
    #[must_use]
    pub fn node(module: &str) -> Self {
        Self::network(module, "")
    }
}

impl State {
    /// Has anything been remembered on the node whose state this is?
    #[must_use]
    pub fn is_at(state: &Path) -> bool {
        state.join(FILE).exists()
    }

    /// In `hooks.db` below the node's state directory, with so many bytes for each module. Touches nothing.
    #[must_use]
    pub fn new(state: &Path, quota: u64) -> Self {
        Self { file: Some(state.join(FILE)), quota, connection: None }
    }

    /// In memory, for trying a hook.
    #[must_use]
    pub fn in_memory(quota: u64) -> Self {
        Self { file: None, quota, connection: None }
    }

    /// A module's keys. Opens the file, or makes it. Nothing that is done with them waits for another process longer
    /// than `until`.
    pub fn shelf(&mut self, space: Space, until: Instant) -> Result<Shelf<'_>, StoreError> {
        let quota = self.quota;
        Ok(Shelf::new(self.open(until)?, space, quota))
    }

    /// What hooks remember of an attachment goes with it.
    pub fn forget(&mut self, key: &Key, until: Instant) -> Result<(), StoreError> {
        if !self.exists() {
            return Ok(());
        }
        let connection = self.open(until)?;
        let forgotten = connection.execute("DELETE FROM entry WHERE attachment = ?1", [key.file_name()]);
        forgotten.map(drop).map_err(failed(connection))
    }

    /// The same for all attachments that have no journal any more: whoever removed it could not do this, or the power
    /// went. How many there were.
    pub fn sweep(&mut self, journals: &Journals, until: Instant) -> Result<usize, StoreError> {
        if !self.exists() {
            return Ok(0);
        }
        let connection = self.open(until)?;
        let path = database::path(connection);
        let mut swept = 0;
        // An attachment's journal is there before its first key. So with the file locked, keys without one are left-overs.
        let mut sweep = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let attachments: Vec<String> = transaction
                .prepare("SELECT DISTINCT attachment FROM entry WHERE attachment <> ''")?
                .query_map([], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            for attachment in attachments {
                if !journals.directory().join(&attachment).exists() {
                    transaction.execute("DELETE FROM entry WHERE attachment = ?1", [&attachment])?;
                    swept += 1;
                }
            }
            transaction.commit()
        };
        sweep().map_err(|error| database::error(&path, &error))?;
        Ok(swept)
    }

    fn exists(&self) -> bool {
        self.connection.is_some() || self.file.as_ref().is_some_and(|file| file.exists())
    }

    fn open(&mut self, until: Instant) -> Result<&mut Connection, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => database::open(self.file.as_deref(), until)?,
        };
        database::wait_until(&connection, until)?;
        Ok(self.connection.insert(connection))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    fn key(container_id: &str) -> Key {
        Key {
            network: "n".into(),
            container_id: container_id.into(),
            ifname: "eth0".into(),
            entry: "main".into(),
        }
    }

    fn set(state: &mut State, space: Space) {
        state.shelf(space, soon()).unwrap().set("k", b"v", 0).unwrap();
    }

    fn has(state: &mut State, space: Space) -> bool {
        state.shelf(space, soon()).unwrap().get("k").unwrap().is_some()
    }

    #[test]
    fn what_belongs_to_an_attachment_goes_with_it_and_nothing_else_does() {
        let directory = tempfile::tempdir().unwrap();
        let mut state = State::new(directory.path(), 1 << 20);
        state.forget(&key("c1"), soon()).unwrap();
        assert!(!directory.path().join("hooks.db").exists(), "nothing was remembered, so nothing is made");
        let (one, other) = (Space::attachment("m", &key("c1")), Space::attachment("m", &key("c2")));
        let rest = [other, Space::network("m", "n"), Space::node("m")];
        for space in rest.iter().chain([&one]) {
            set(&mut state, space.clone());
        }
        state.forget(&key("c1"), soon()).unwrap();
        assert!(!has(&mut state, one));
        assert!(rest.into_iter().all(|space| has(&mut state, space)));
    }

    #[test]
    fn an_attachment_without_a_journal_is_swept() {
        let directory = tempfile::tempdir().unwrap();
        let journals = Journals::new(directory.path());
        let mut state = State::new(directory.path(), 1 << 20);
        assert_eq!(state.sweep(&journals, soon()).unwrap(), 0);
        let _journal = journals.create(&key("c1"), Duration::ZERO).unwrap();
        for id in ["c1", "c2"] {
            set(&mut state, Space::attachment("m", &key(id)));
        }
        set(&mut state, Space::node("m"));
        assert_eq!(state.sweep(&journals, soon()).unwrap(), 1);
        assert!(has(&mut state, Space::attachment("m", &key("c1"))));
        assert!(!has(&mut state, Space::attachment("m", &key("c2"))));
        assert!(has(&mut state, Space::node("m")));
    }

    #[test]
    fn in_memory_nothing_is_left_behind() {
        let mut state = State::in_memory(1 << 20);
        set(&mut state, Space::node("m"));
        assert!(has(&mut state, Space::node("m")));
        assert!(!has(&mut State::in_memory(1 << 20), Space::node("m")));
    }

    #[test]
    fn the_file_is_for_nobody_else_and_survives_its_writer() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("state");
        set(&mut State::new(&place, 1 << 20), Space::node("m"));
        assert!(has(&mut State::new(&place, 1 << 20), Space::node("m")));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&place), 0o700);
        let files: Vec<_> = fs::read_dir(&place).unwrap().map(|it| it.unwrap()).collect();
        for file in &files {
            let name = file.file_name().into_string().unwrap();
            assert!(name.starts_with("hooks.db"), "{name} is left over");
            assert_eq!(mode(&file.path()), 0o600, "{name}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named_with_the_remedy_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("hooks.db");
        let error =
            || State::new(directory.path(), 0).shelf(Space::node("m"), soon()).unwrap_err().to_string();
        for garbage in [
            "",
            "garbage that is no database, and longer than a header of SQLite is, which has 100 bytes; so more.",
        ] {
            fs::write(&file, garbage).unwrap();
            let error = error();
            assert!(error.starts_with(&format!("hook state {}: ", file.display())), "{error}");
            assert!(error.ends_with("move it away (`hooks.db*`), and hooks begin with nothing"), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), garbage);
        }
        fs::remove_file(&file).unwrap();
        set(&mut State::new(directory.path(), 1 << 20), Space::node("m"));
        Connection::open(&file).unwrap().execute_batch("PRAGMA user_version = 9").unwrap();
        assert!(error().contains("format 9, and this build knows 1: "), "{}", error());
    }

    #[test]
    fn nobody_waits_longer_than_they_have_time() {
        let directory = tempfile::tempdir().unwrap();
        let mut state = State::new(directory.path(), 1 << 20);
        set(&mut state, Space::node("m"));
        let other = Connection::open(directory.path().join("hooks.db")).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let started = Instant::now();
        let mut shelf = state.shelf(Space::node("m"), started + Duration::from_millis(200)).unwrap();
        assert!(matches!(shelf.set("k", b"w", 0), Err(StoreError::Busy(_))));
        assert!(started.elapsed() < Duration::from_secs(2));
        assert_eq!(shelf.get("k").unwrap().as_deref(), Some(&b"v"[..]), "who only reads does not wait");
    }
}
