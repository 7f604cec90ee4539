//! The embedded store: one SQLite file in the state folder.
//!
//! The file is in WAL mode with `synchronous=FULL`: what [`Store::write`] has answered survives a power cut. That
//! costs one sync for each batch, off the way to the kernel, and the [`Writer`](super::Writer) makes few batches.
//! A damaged file is never fatal: it is kept aside, what can be read is taken over, and a note tells people.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::{EventPage, EventQuery, Retention, Snapshot, Store, StoreError, StoredBan, Write};
use crate::time::Wall;

mod events;
mod lock;
mod logins;
mod names;
mod prune;
mod rows;
mod salvage;
mod schema;
mod scores;

use lock::Lock;
use prune::Pruning;

/// Bans handed over at once by [`Store::bans`]: who takes them has other things to do too.
const CHUNK: usize = 2048;

/// State in `guard.db` of a state folder.
#[derive(Debug)]
pub struct Sqlite {
    // Closed before the lock is given back: fields are dropped in this order.
    connection: Connection,
    /// `None` while nothing can be written: then `connection` is read-only, or stands for an empty state.
    lock: Option<Lock>,
    folder: PathBuf,
    notes: Vec<String>,
    /// Whether rows were lost since somebody asked.
    has_lost: bool,
    pruning: Pruning,
}

impl Sqlite {
    /// Opens the state of a folder, which is made if it is missing. Where nothing can be written, what is there is
    /// read, the notes say so, and every later write tries again.
    pub fn open(folder: &Path) -> Result<(Self, Vec<String>), StoreError> {
        let mut store = match Self::open_writable(folder) {
            Ok(store) => store,
            Err(e @ (StoreError::Full { .. } | StoreError::ReadOnly { .. })) => {
                Self::open_readable(folder, &e)?
            }
            Err(e) => return Err(e),
        };
        let notes = store.take_notes();
        Ok((store, notes))
    }

    fn open_writable(folder: &Path) -> Result<Self, StoreError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|e| StoreError::from_io("making the state folder", folder, &e))?;
        let lock = Lock::take(folder)?;
        let (connection, notes) = open_or_rebuild(&file(folder), lock.was_abandoned)?;
        Ok(Self {
            connection,
            lock: Some(lock),
            folder: folder.to_owned(),
            notes,
            has_lost: false,
            pruning: Pruning::default(),
        })
    }

    fn open_readable(folder: &Path, why: &StoreError) -> Result<Self, StoreError> {
        let (connection, found) = match read_only(&file(folder)) {
            Ok(connection) => (connection, "what it holds was read"),
            Err(e @ StoreError::TooNew { .. }) => return Err(e),
            Err(_) => (empty(&file(folder))?, "nothing could be read from it"),
        };
        let note = format!(
            "{why}: {found}; bans are enforced, but changes are lost at a reboot until this is mended"
        );
        let pruning = Pruning::default();
        let (folder, notes) = (folder.to_owned(), vec![note]);
        Ok(Self { connection, lock: None, folder, notes, has_lost: false, pruning })
    }

    /// Does something with the file; if that shows a damage, once more with the repaired file.
    fn attempt<T>(
        &mut self,
        operation: &'static str,
        mut work: impl FnMut(&mut Connection, &mut Vec<String>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let path = file(&self.folder);
        let error = match work(&mut self.connection, &mut self.notes) {
            Ok(done) => return Ok(done),
            Err(e) => explain(operation, &path, &e),
        };
        let (StoreError::Damaged { reason, .. }, true) = (&error, self.lock.is_some()) else {
            return Err(error);
        };
        self.has_lost = true;
        self.connection = empty(&path)?;
        let rebuilt = salvage::rebuild(&path, reason).and_then(|note| Ok((open_file(&path, false)?, note)));
        match rebuilt {
            Ok((connection, note)) => {
                self.connection = connection;
                self.notes.push(note);
            }
            Err(e) => {
                // Without a file nothing may be answered as kept: the next write opens it anew.
                self.lock = None;
                return Err(e);
            }
        }
        work(&mut self.connection, &mut self.notes).map_err(|e| explain(operation, &path, &e))
    }

    fn change(&mut self, operation: &'static str, afresh: bool, writes: &[Write]) -> Result<(), StoreError> {
        if self.lock.is_none() {
            let folder = self.folder.clone();
            let reopened = Self::open_writable(&folder)?;
            let notes = std::mem::take(&mut self.notes);
            let has_lost = self.has_lost;
            *self = Self { has_lost, ..reopened };
            self.notes.splice(..0, notes);
        }
        self.attempt(operation, |connection, _| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            if afresh {
                transaction.execute_batch(
                    "DELETE FROM ban; DELETE FROM strike; DELETE FROM allow; DELETE FROM allow_name;
                     DELETE FROM resolved; DELETE FROM score; DELETE FROM login",
                )?;
            }
            rows::put(&transaction, writes)?;
            transaction.commit()
        })
    }
}

impl Store for Sqlite {
    fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        self.attempt("reading the state", |connection, notes| rows::snapshot(connection, notes))
    }

    fn bans(&mut self, now: Wall, each: &mut dyn FnMut(Vec<StoredBan>) -> bool) -> Result<(), StoreError> {
        self.attempt("reading the bans", |connection, notes| rows::bans(connection, now, CHUNK, each, notes))
    }

    fn end_bans(&mut self, now: Wall) -> Result<u64, StoreError> {
        if self.lock.is_none() {
            return Ok(0); // they are ended when that can be kept
        }
        self.attempt("ending bans", |connection, _| rows::end_bans(connection, now))
    }

    fn ban_count(&mut self) -> Result<u64, StoreError> {
        self.attempt("counting the bans", |connection, _| rows::ban_count(connection))
    }

    fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.change("writing the state", false, writes)
    }

    fn replace(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.change("replacing the state", true, writes)
    }

    fn events(&mut self, query: &EventQuery) -> Result<EventPage, StoreError> {
        self.attempt("reading events", |connection, notes| events::find(connection, query, notes))
    }

    fn prune(&mut self, retention: Retention) -> Result<bool, StoreError> {
        if self.lock.is_none() {
            return Ok(false); // nothing grows that cannot be written
        }
        let mut pruning = std::mem::take(&mut self.pruning);
        let more = self.attempt("forgetting what is old", |connection, notes| {
            pruning.step(connection, retention, notes)
        });
        self.pruning = pruning;
        more
    }

    fn is_writable(&self) -> bool {
        self.lock.is_some()
    }

    fn take_losses(&mut self) -> bool {
        std::mem::take(&mut self.has_lost)
    }

    fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("guard.db")
}

/// Opens the file; if it turns out to be damaged, what can be read of it in a new one.
fn open_or_rebuild(path: &Path, check: bool) -> Result<(Connection, Vec<String>), StoreError> {
    match open_file(path, check) {
        Err(StoreError::Damaged { reason, .. }) => {
            let note = salvage::rebuild(path, &reason)?;
            Ok((open_file(path, false)?, vec![note]))
        }
        opened => Ok((opened?, Vec::new())),
    }
}

/// Opens the file, makes it if it is missing, brings it to the present schema. `check` reads all of it for damage:
/// wanted when its last owner did not close it.
fn open_file(path: &Path, check: bool) -> Result<Connection, StoreError> {
    const OPERATION: &str = "opening the state";
    make_file(path)?;
    let failed = |e| explain(OPERATION, path, &e);
    let mut connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
    .map_err(failed)?;
    configure(&connection).map_err(failed)?;
    refuse_newer(&connection, path)?;
    if check {
        let found: String =
            connection.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(failed)?;
        if found != "ok" {
            let reason = found.chars().take(200).collect();
            return Err(StoreError::Damaged {
                operation: OPERATION,
                path: path.display().to_string(),
                reason,
            });
        }
    }
    schema::migrate(&mut connection, schema::STEPS).map_err(failed)?;
    salvage::probe(&connection).map_err(failed)?;
    prune::make_shrinkable(&connection).map_err(failed)?;
    Ok(connection)
}

/// Makes sure that the file is there, is a file, and is the owner's alone. SQLite gives its log the same mode.
fn make_file(path: &Path) -> Result<(), StoreError> {
    const OPERATION: &str = "opening the state";
    let damaged = |reason: &str| StoreError::Damaged {
        operation: OPERATION,
        path: path.display().to_string(),
        reason: reason.into(),
    };
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::IsADirectory => damaged("it is a directory"),
        _ => StoreError::from_io(OPERATION, path, &e),
    };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(failed)?;
    file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
    // SQLite takes what is shorter than its header for an empty file, and would say nothing of the loss.
    match file.metadata().map_err(failed)?.len() {
        1..512 => Err(damaged("it is cut short")),
        _ => Ok(()),
    }
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::from_secs(2))?; // for an administrator's own look into the file
    connection.set_prepared_statement_cache_capacity(32);
    if prune::is_empty(connection)? {
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    // On a file system without shared memory SQLite keeps its rollback journal, which is as safe.
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA cache_size = -8192; PRAGMA journal_size_limit = 16777216; PRAGMA temp_store = MEMORY;
         PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;",
    )
}

fn refuse_newer(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let found = schema::version(connection).map_err(|e| explain("opening the state", path, &e))?;
    let known = schema::STEPS.len() as u32;
    if found > known {
        return Err(StoreError::TooNew { path: path.display().to_string(), found, known });
    }
    Ok(())
}

/// Opens a file that cannot be written. Its log needs a shared-memory file beside it; where none can be made, what
/// is in the main file is all there is.
fn read_only(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let usable = |opened: rusqlite::Result<Connection>| {
        let connection = opened.map_err(|e| explain("opening the state", path, &e))?;
        refuse_newer(&connection, path)?;
        connection
            .prepare("SELECT id FROM last")
            .and_then(|mut statement| statement.query_row([], |_| Ok(())))
            .map_err(|e| explain("reading the state", path, &e))?;
        Ok(connection)
    };
    match usable(Connection::open_with_flags(path, flags)) {
        Err(e) if !matches!(e, StoreError::TooNew { .. }) => {
            let uri = format!("file:{}?immutable=1", uri_path(path));
            usable(Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI))
        }
        opened => opened,
    }
}

/// A path as SQLite's URIs have it (<https://sqlite.org/uri.html>).
fn uri_path(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23")
}

/// An empty state that is kept nowhere.
fn empty(path: &Path) -> Result<Connection, StoreError> {
    let failed = |e| explain("making an empty state", path, &e);
    let mut connection = Connection::open_in_memory().map_err(failed)?;
    schema::migrate(&mut connection, schema::STEPS).map_err(failed)?;
    Ok(connection)
}

/// Tells apart what SQLite reports, by what can be done about it (<https://sqlite.org/rescode.html>).
fn explain(operation: &'static str, path: &Path, error: &rusqlite::Error) -> StoreError {
    use rusqlite::ErrorCode as Code;
    let reason = error.to_string();
    let name = path.display().to_string();
    match error.sqlite_error_code() {
        Some(Code::DiskFull) => StoreError::Full { operation, path: name },
        Some(Code::ReadOnly | Code::PermissionDenied) => {
            StoreError::ReadOnly { operation, path: name, reason }
        }
        Some(Code::DatabaseCorrupt | Code::NotADatabase) => {
            StoreError::Damaged { operation, path: name, reason }
        }
        // Statements that fit every state of ours do not fit this one: it is another program's, or torn.
        None if matches!(error, rusqlite::Error::SqlInputError { .. }) => {
            StoreError::Damaged { operation, path: name, reason: "its tables are not those of guard".into() }
        }
        Some(Code::CannotOpen) if fs::metadata(path).is_ok_and(|m| !m.is_file()) => {
            StoreError::Damaged { operation, path: name, reason: "it is not a file".into() }
        }
        Some(
            Code::DatabaseBusy
            | Code::DatabaseLocked
            | Code::SystemIoFailure
            | Code::CannotOpen
            | Code::FileLockingProtocolFailed
            | Code::OutOfMemory,
        ) => StoreError::Unavailable { operation, path: name, reason },
        _ => StoreError::Failed { operation, path: name, reason },
    }
}

#[cfg(test)]
mod tests;
