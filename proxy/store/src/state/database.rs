use crate::StoreError;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Files of another format are left alone.
const FORMAT: i64 = 1;

/// Pages of 1 KiB, because a change writes whole ones. What a module holds is kept up to date by triggers, so that nobody
/// adds it up at each call; an entry counts 100 bytes more than its words, for what it costs on the disk.
const SCHEMA: &str = "
    PRAGMA page_size = 1024;
    PRAGMA journal_mode = WAL;
    BEGIN;
    CREATE TABLE entry (
        module TEXT NOT NULL,
        network TEXT NOT NULL,
        attachment TEXT NOT NULL,
        key TEXT NOT NULL,
        value BLOB NOT NULL,
        expires INTEGER NOT NULL,
        PRIMARY KEY (module, network, attachment, key)
    ) WITHOUT ROWID;
    CREATE INDEX entry_attachment ON entry (attachment) WHERE attachment <> '';
    CREATE INDEX entry_expires ON entry (expires) WHERE expires < 9223372036854775807;
    CREATE TABLE usage (module TEXT NOT NULL PRIMARY KEY, bytes INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TRIGGER entry_made AFTER INSERT ON entry BEGIN
        INSERT INTO usage VALUES (new.module, 100 + octet_length(new.key) + octet_length(new.value))
            ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes;
    END;
    CREATE TRIGGER entry_changed AFTER UPDATE ON entry BEGIN
        UPDATE usage SET bytes = bytes + octet_length(new.value) - octet_length(old.value) WHERE module = new.module;
    END;
    CREATE TRIGGER entry_gone AFTER DELETE ON entry BEGIN
        UPDATE usage SET bytes = bytes - 100 - octet_length(old.key) - octet_length(old.value) WHERE module = old.module;
    END;
    PRAGMA user_version = 1;
    COMMIT;
";

/// What each connection needs. `NORMAL` syncs to the disk at checkpoints alone: after a power cut the last changes may be
/// missing, as those of the journal may, and the file is whole. `OFF` would save a sync in a hundred changes, and the file
/// might be damaged.
const PRAGMAS: &str = "PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 512;";

/// The database in this file, made if there is none; in memory without one.
pub(super) fn open(file: Option<&Path>, until: Instant) -> Result<Connection, StoreError> {
    let Some(file) = file else {
        let connection = Connection::open_in_memory().map_err(|it| error(Path::new(":memory:"), &it))?;
        connection.execute_batch(SCHEMA).map_err(failed(&connection))?;
        return Ok(connection);
    };
    if !file.exists() {
        make(file)?;
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags).map_err(|it| error(file, &it))?;
    wait_until(&connection, until)?;
    let opened = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).and_then(|format: i64| {
        // The last one to close would write everything back and sync it, in every call that is alone.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.execute_batch(PRAGMAS)?;
        Ok(format)
    });
    match opened.map_err(failed(&connection))? {
        FORMAT => Ok(connection),
        0 => Err(useless(file, "not ours")),
        newer => Err(useless(file, &format!("format {newer}, and this build knows {FORMAT}"))),
    }
}

/// No host call waits for another process when its time is over; a quarter of it is left for what comes of that.
pub(super) fn wait_until(connection: &Connection, until: Instant) -> Result<(), StoreError> {
    let left = until.saturating_duration_since(Instant::now());
    connection.busy_timeout(left.max(Duration::from_millis(4)) * 3 / 4).map_err(failed(connection))
}

/// Whole, or not at all: made beside its place and put there when it is done, so nobody meets half a database.
fn make(file: &Path) -> Result<(), StoreError> {
    let directory = file.parent().unwrap_or(Path::new("/"));
    let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(StoreError::io("create", directory))?;
    let unfinished = directory.join(format!(".hooks.db.{}", std::process::id()));
    let remove = || {
        for end in ["", "-journal", "-wal", "-shm"] {
            let mut name = unfinished.clone().into_os_string();
            name.push(end);
            let _ = fs::remove_file(name);
        }
    };
    // What one with our number may have left.
    remove();
    let private = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished);
    private.map_err(StoreError::io("create", &unfinished))?;
    let made = Connection::open(&unfinished).and_then(|it| it.execute_batch(SCHEMA));
    let linked = match made {
        Err(it) => Err(error(&unfinished, &it)),
        Ok(()) => match fs::hard_link(&unfinished, file) {
            // Another process was quicker, and its file is as good.
            Err(it) if it.kind() != io::ErrorKind::AlreadyExists => Err(StoreError::io("create", file)(it)),
            _ => Ok(()),
        },
    };
    remove();
    linked
}

/// Where this database is.
pub(super) fn path(connection: &Connection) -> PathBuf {
    connection.path().unwrap_or(":memory:").into()
}

pub(super) fn failed(connection: &Connection) -> impl Fn(rusqlite::Error) -> StoreError + use<> {
    let path = path(connection);
    move |it| error(&path, &it)
}

pub(super) fn error(path: &Path, error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy("hook state"),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => useless(path, &error.to_string()),
        _ => StoreError::State { path: path.into(), why: error.to_string() },
    }
}

/// Never taken away by ourselves: a person may want what is in there.
fn useless(path: &Path, why: &str) -> StoreError {
    let why = format!("{why}: move it away (`hooks.db*`), and hooks begin with nothing");
    StoreError::State { path: path.into(), why }
}
