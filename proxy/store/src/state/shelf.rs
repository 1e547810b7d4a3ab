use super::Space;
use super::database::{error, path};
use crate::StoreError;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// More keys are no list for a hook; it should ask for fewer.
const MOST_KEYS: usize = 1000;

/// A module's keys in one space. What has expired is not there; whoever writes next takes it away.
#[derive(Debug)]
pub struct Shelf<'a> {
    connection: &'a mut Connection,
    path: PathBuf,
    space: Space,
    quota: u64,
}

type Sql<T> = rusqlite::Result<T>;

impl<'a> Shelf<'a> {
    pub(super) fn new(connection: &'a mut Connection, space: Space, quota: u64) -> Self {
        Self { path: path(connection), connection, space, quota }
    }

    /// A key's value.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.space.get(self.connection, key).map_err(|it| error(&self.path, &it))
    }

    /// Gives a key a value, for so many seconds; 0 is for ever.
    pub fn set(&mut self, key: &str, value: &[u8], ttl: u32) -> Result<(), StoreError> {
        self.write(|space, transaction| Ok(Ok(space.put(transaction, key, value, expiry(ttl))?)))
    }

    /// Takes a key away. Was it there?
    pub fn remove(&mut self, key: &str) -> Result<bool, StoreError> {
        self.write(|space, transaction| Ok(Ok(space.remove(transaction, key)?)))
    }

    /// `new` in place of `old`, `None` being absent, if that is what is there. Was it?
    pub fn swap(
        &mut self,
        key: &str,
        old: Option<&[u8]>,
        new: Option<&[u8]>,
        ttl: u32,
    ) -> Result<bool, StoreError> {
        self.write(|space, transaction| {
            if space.get(transaction, key)?.as_deref() != old {
                return Ok(Ok(false));
            }
            match new {
                Some(new) => space.put(transaction, key, new, expiry(ttl))?,
                None => drop(space.remove(transaction, key)?),
            }
            Ok(Ok(true))
        })
    }

    /// Adds to a number, decimal digits as text; absent is 0. The time is for a key that this makes: one that is there
    /// keeps its own, so that what is counted per minute is.
    pub fn add(&mut self, key: &str, delta: i64, ttl: u32) -> Result<i64, StoreError> {
        self.write(|space, transaction| {
            let (is, expires) = match space.entry(transaction, key)? {
                None => (0, expiry(ttl)),
                Some((value, expires)) => {
                    match std::str::from_utf8(&value).ok().and_then(|it| it.parse().ok()) {
                        Some(number) => (number, expires),
                        None => return Ok(Err(StoreError::NotANumber { key: key.into() })),
                    }
                }
            };
            let Some(sum) = i64::checked_add(is, delta) else {
                return Ok(Err(StoreError::Overflow { key: key.into(), is, delta }));
            };
            space.put(transaction, key, sum.to_string().as_bytes(), expires)?;
            Ok(Ok(sum))
        })
    }

    /// All keys that begin so, sorted.
    pub fn keys(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let keys = self.space.keys(self.connection, prefix).map_err(|it| error(&self.path, &it))?;
        if keys.len() > MOST_KEYS {
            return Err(StoreError::TooManyKeys { prefix: prefix.into(), most: MOST_KEYS });
        }
        Ok(keys)
    }

    /// One change, whole or not at all, and within the module's quota. Inner error: it must not be made.
    fn write<T>(
        &mut self,
        change: impl FnOnce(&Space, &Transaction<'_>) -> Sql<Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let Self { connection, path, space, quota } = self;
        let write = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction
                .execute("DELETE FROM entry WHERE expires <= ?1 AND expires < ?2", [now(), i64::MAX])?;
            let before = space.used(&transaction)?;
            let changed = change(space, &transaction)?;
            let bytes = space.used(&transaction)?;
            if changed.is_err() {
                return Ok(changed);
            }
            if bytes > *quota && bytes > before {
                return Ok(Err(StoreError::Quota { module: space.module.clone(), bytes, quota: *quota }));
            }
            transaction.commit()?;
            Ok(changed)
        };
        write().map_err(|it| error(path, &it))?
    }
}

impl Space {
    fn entry(&self, connection: &Connection, key: &str) -> Sql<Option<(Vec<u8>, i64)>> {
        let Self { module, network, attachment } = self;
        connection
            .query_row(
                "SELECT value, expires FROM entry
                 WHERE module = ?1 AND network = ?2 AND attachment = ?3 AND key = ?4 AND expires > ?5",
                params![module, network, attachment, key, now()],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
    }

    fn get(&self, connection: &Connection, key: &str) -> Sql<Option<Vec<u8>>> {
        Ok(self.entry(connection, key)?.map(|(value, _)| value))
    }

    fn put(&self, connection: &Connection, key: &str, value: &[u8], expires: i64) -> Sql<()> {
        let Self { module, network, attachment } = self;
        connection
            .execute(
                "INSERT INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT DO UPDATE SET value = excluded.value, expires = excluded.expires",
                params![module, network, attachment, key, value, expires],
            )
            .map(drop)
    }

    fn remove(&self, connection: &Connection, key: &str) -> Sql<bool> {
        let Self { module, network, attachment } = self;
        let removed = connection.execute(
            "DELETE FROM entry WHERE module = ?1 AND network = ?2 AND attachment = ?3 AND key = ?4",
            params![module, network, attachment, key],
        )?;
        Ok(removed > 0)
    }

    /// One more than [`MOST_KEYS`] at most.
    fn keys(&self, connection: &Connection, prefix: &str) -> Sql<Vec<String>> {
        let Self { module, network, attachment } = self;
        let mut statement = connection.prepare(
            "SELECT key FROM entry
             WHERE module = ?1 AND network = ?2 AND attachment = ?3 AND key >= ?4 AND expires > ?5 ORDER BY key",
        )?;
        let keys =
            statement.query_map(params![module, network, attachment, prefix, now()], |row| row.get(0))?;
        let begin_so = |key: &Sql<String>| key.as_ref().map_or(true, |key| key.starts_with(prefix));
        keys.take_while(begin_so).take(MOST_KEYS + 1).collect()
    }

    /// What the module holds, everywhere on the node.
    fn used(&self, connection: &Connection) -> Sql<u64> {
        let used = connection
            .query_row("SELECT bytes FROM usage WHERE module = ?1", [&self.module], |row| row.get(0))
            .optional()?;
        Ok(used.map_or(0, |bytes: i64| bytes.try_into().unwrap_or(0)))
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since.as_millis().try_into().unwrap_or(i64::MAX - 1)
}

fn expiry(ttl: u32) -> i64 {
    let milliseconds = Duration::from_secs(ttl.into()).as_millis().try_into().unwrap_or(i64::MAX);
    if ttl == 0 { i64::MAX } else { now().saturating_add(milliseconds) }
}

#[cfg(test)]
mod tests {
    use crate::{Space, State, StoreError};
    use std::process::Command;
    use std::time::{Duration, Instant};

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    fn state() -> State {
        State::in_memory(1 << 20)
    }

    #[test]
    fn a_swap_is_made_only_of_what_is_there() {
        let mut state = state();
        let mut shelf = state.shelf(Space::node("m"), soon()).unwrap();
        assert!(!shelf.swap("k", Some(b"a"), Some(b"b"), 0).unwrap());
        assert!(shelf.swap("k", None, Some(b"a"), 0).unwrap());
        assert!(!shelf.swap("k", None, Some(b"b"), 0).unwrap());
        assert!(shelf.swap("k", Some(b"a"), Some(b""), 0).unwrap());
        assert_eq!(shelf.get("k").unwrap().as_deref(), Some(&b""[..]), "empty is not absent");
        assert!(shelf.swap("k", Some(b""), None, 0).unwrap());
        assert_eq!(shelf.get("k").unwrap(), None);
    }

    #[test]
    fn a_number_is_text_and_nothing_else_is_added_to() {
        let mut state = state();
        let mut shelf = state.shelf(Space::node("m"), soon()).unwrap();
        assert_eq!(shelf.add("k", 5, 0).unwrap(), 5);
        assert_eq!(shelf.add("k", -7, 0).unwrap(), -2);
        assert_eq!(shelf.get("k").unwrap().as_deref(), Some(&b"-2"[..]));
        shelf.set("k", i64::MAX.to_string().as_bytes(), 0).unwrap();
        assert!(matches!(shelf.add("k", 1, 0), Err(StoreError::Overflow { .. })));
        assert_eq!(shelf.add("k", -1, 0).unwrap(), i64::MAX - 1);
        shelf.set("k", b"five", 0).unwrap();
        assert!(matches!(shelf.add("k", 1, 0), Err(StoreError::NotANumber { .. })));
    }

    #[test]
    fn what_has_expired_is_absent_and_a_counter_keeps_its_time() {
        let mut state = state();
        let mut shelf = state.shelf(Space::node("m"), soon()).unwrap();
        shelf.set("set", b"v", 1).unwrap();
        shelf.add("add", 1, 1).unwrap();
        assert_eq!(shelf.add("add", 1, 60).unwrap(), 2);
        shelf.set("stays", b"v", 60).unwrap();
        std::thread::sleep(Duration::from_millis(1050));
        assert_eq!(shelf.get("set").unwrap(), None);
        assert_eq!(shelf.keys("").unwrap(), ["stays"]);
        assert!(shelf.swap("set", None, Some(b"again"), 0).unwrap());
        assert_eq!(shelf.add("add", 1, 0).unwrap(), 1);
    }

    #[test]
    fn keys_are_found_by_how_they_begin() {
        let mut state = state();
        let mut shelf = state.shelf(Space::node("m"), soon()).unwrap();
        for key in ["pod/b", "pod/a", "pod0", "po", "pod/é", "x", "%", "pod/%"] {
            shelf.set(key, b"", 0).unwrap();
        }
        assert_eq!(shelf.keys("pod/").unwrap(), ["pod/%", "pod/a", "pod/b", "pod/é"]);
        assert_eq!(shelf.keys("%").unwrap(), ["%"]);
        assert_eq!(shelf.keys("").unwrap().len(), 8);
        for number in 0..1000 {
            shelf.set(&format!("many/{number}"), b"", 0).unwrap();
        }
        assert_eq!(shelf.keys("many/").unwrap().len(), 1000);
        shelf.set("many/more", b"", 0).unwrap();
        assert!(matches!(shelf.keys("many/"), Err(StoreError::TooManyKeys { .. })));
    }

    #[test]
    fn spaces_do_not_see_each_other() {
        let mut state = state();
        let spaces =
            [Space::node("m"), Space::network("m", "n"), Space::network("m", "o"), Space::node("other")];
        for space in &spaces {
            let mut shelf = state.shelf(space.clone(), soon()).unwrap();
            assert_eq!(shelf.add("k", 1, 0).unwrap(), 1, "{space:?}");
        }
    }

    #[test]
    fn a_module_has_its_quota_everywhere_together_and_gets_below_it_again() {
        let mut state = State::in_memory(1000);
        let mut set = |space, key, size| state.shelf(space, soon()).unwrap().set(key, &vec![0; size], 0);
        set(Space::node("m"), "a", 399).unwrap();
        set(Space::network("m", "n"), "b", 399).unwrap();
        set(Space::node("other"), "a", 899).unwrap();
        let error = set(Space::node("m"), "c", 0).unwrap_err().to_string();
        assert_eq!(
            error,
            "hook state of `m`: 1101 bytes, and 1000 are allowed (`state_quota` in the node's settings)"
        );
        set(Space::node("m"), "a", 300).unwrap();
        assert!(set(Space::node("m"), "a", 400).is_err());
        let mut shelf = state.shelf(Space::node("m"), soon()).unwrap();
        assert!(shelf.remove("a").unwrap() && !shelf.remove("a").unwrap());
        shelf.set("a", &[0; 399], 0).unwrap();
    }

    #[test]
    fn what_has_expired_frees_its_part_of_the_quota() {
        let mut state = State::in_memory(1000);
        let mut shelf = state.shelf(Space::node("m"), soon()).unwrap();
        shelf.set("a", &[0; 899], 1).unwrap();
        assert!(shelf.set("b", &[0; 899], 0).is_err());
        std::thread::sleep(Duration::from_millis(1050));
        shelf.set("b", &[0; 899], 0).unwrap();
    }

    /// Run by [`nothing_is_lost_between_processes`], each in a process of its own.
    #[test]
    fn add_in_a_process_of_its_own() {
        let Some(directory) = std::env::var_os("WASMHOOK_TEST_STATE") else { return };
        for _ in 0..200 {
            // As calls do it: each opens the file anew.
            let mut state = State::new(directory.as_ref(), 1 << 20);
            state.shelf(Space::node("m"), soon()).unwrap().add("sum", 1, 0).unwrap();
        }
    }

    #[test]
    fn nothing_is_lost_between_processes() {
        let directory = tempfile::tempdir().unwrap();
        let mut add = Command::new(std::env::current_exe().unwrap());
        add.args(["--exact", "state::shelf::tests::add_in_a_process_of_its_own"]);
        add.env("WASMHOOK_TEST_STATE", directory.path()).stdout(std::process::Stdio::null());
        let adders: Vec<_> = (0..8).map(|_| add.spawn().unwrap()).collect();
        for mut adder in adders {
            assert!(adder.wait().unwrap().success());
        }
        let mut state = State::new(directory.path(), 1 << 20);
        let shelf = state.shelf(Space::node("m"), soon()).unwrap();
        assert_eq!(shelf.get("sum").unwrap().as_deref(), Some(&b"1600"[..]));
    }
}
