//! Brings a file to the point where it can be written: found, recognised, with its schema, in WAL mode.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{
    SqliteOptions,
    table::{SCHEMA_VERSION, TABLES, Table},
};

/// Why a file cannot be the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqliteOpenError {
    /// The URL is not one of SQLite's.
    #[error("the database URL has the scheme `{scheme}`: expected `sqlite://` and a path")]
    Url {
        /// What stands before the colon.
        scheme: String,
    },
    /// The path names no file: SQLite would keep the data in memory.
    #[error(
        "the database path is {}, and data kept in memory would be lost: expected the path of a file",
        if path.as_os_str().is_empty() { "empty".to_owned() } else { format!("`{}`", path.display()) }
    )]
    InMemory {
        /// The path: empty or `:memory:`.
        path: PathBuf,
    },
    /// The busy timeout is out of its range.
    #[error(
        "the busy timeout is {found:?}: expected at most {:?}, as longer waits belong to the retry policy",
        SqliteOptions::MAX_BUSY_TIMEOUT
    )]
    BusyTimeout {
        /// The value given.
        found: Duration,
    },
    /// The directory that the file should be in does not exist.
    #[error("{}: the directory {} does not exist: create it, or choose another path", path.display(), directory.display())]
    NoDirectory {
        /// The file.
        path: PathBuf,
        /// The missing directory.
        directory: PathBuf,
    },
    /// There is no file, and none is to be made.
    #[error("{}: there is no such file: nothing was ever stored there", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// The path names something else than a file.
    #[error("{}: expected a file, found a directory", path.display())]
    IsDirectory {
        /// The path.
        path: PathBuf,
    },
    /// Nothing may be written at the path, which waiting does not change.
    #[error("{}: {} cannot be written to: allow it, or choose another path", path.display(), place.display())]
    NotWritable {
        /// The file.
        path: PathBuf,
        /// The file, or the directory that it is to be in with its log.
        place: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{}: not a SQLite database: expected one, or an empty or new file", path.display())]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer version of this program.
    #[error(
        "{}: the schema has version {found}, this program knows versions up to {known}: use a newer program, or another file",
        path.display()
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The file's version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The file is somebody else's database.
    #[error(
        "{}: found schema version {version} with {found} but no table `{table}`: expected a store of market data, or an empty or new file",
        path.display()
    )]
    OtherDatabase {
        /// The file.
        path: PathBuf,
        /// Its `user_version`.
        version: i64,
        /// The tables and views it holds.
        found: String,
        /// The table that a store would have.
        table: &'static str,
    },
    /// A table has the name of a kind, but not its columns.
    #[error("{}: the table `{table}` has the columns ({found}): expected ({expected})", path.display())]
    OtherShape {
        /// The file.
        path: PathBuf,
        /// The table.
        table: &'static str,
        /// Its columns.
        found: String,
        /// The columns it should have.
        expected: String,
    },
    /// The file is on a file system where the journal that lets readers and writers work at once is impossible.
    #[error("{}: the journal mode stays `{found}`: expected `wal`, which needs a local file system", path.display())]
    NoWal {
        /// The file.
        path: PathBuf,
        /// The journal mode it has.
        found: String,
    },
    /// The writer thread could not be started.
    #[error("cannot start the thread that writes the database")]
    Thread(#[source] io::Error),
    /// Another file was put at the path, or it was taken away, while it was being opened. The next try may succeed.
    #[error("{}: the file was removed or replaced while it was opened", path.display())]
    Replaced {
        /// The file.
        path: PathBuf,
    },
    /// Any other error of the file system.
    #[error("{}: cannot make the path absolute", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Any other error of SQLite.
    #[error("{}: cannot {step}", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What was being done.
        step: &'static str,
        /// The cause.
        source: rusqlite::Error,
    },
}

impl SqliteOpenError {
    /// Says whether the same file may well be opened later: it is locked or cannot be reached now.
    pub(super) fn is_outage(&self) -> bool {
        let source = match self {
            Self::Replaced { .. } => return true,
            Self::Sqlite { source, .. } => source,
            _ => return false,
        };
        matches!(
            source.sqlite_error_code(),
            Some(
                ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::DiskFull
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::OutOfMemory
                    | ErrorCode::CannotOpen
                    | ErrorCode::FileLockingProtocolFailed
                    | ErrorCode::ReadOnly
                    | ErrorCode::PermissionDenied
            )
        )
    }
}

/// An open file with its schema.
pub(super) struct Store {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    pub(super) identity: Option<Identity>,
}

/// Makes a path absolute without asking the file system. So it also never reads like one of SQLite's special names.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, SqliteOpenError> {
    std::path::absolute(path).map_err(|source| SqliteOpenError::Io { path: path.into(), source })
}

/// Opens the file at an absolute path, makes the schema in a new or empty one, and sets the connection up. Waits for locks as long as the
/// busy timeout.
pub(super) fn connect(options: &SqliteOptions) -> Result<Store, SqliteOpenError> {
    connect_while(options, || {}).map_err(|error| match &error {
        SqliteOpenError::Sqlite { path, source, .. } if may_be_denied(source) => denied(path).unwrap_or(error),
        _ => error,
    })
}

fn may_be_denied(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied))
}

/// Asks the system why SQLite cannot write here: none if that is not for want of a permission, so that it may pass.
fn denied(path: &Path) -> Option<SqliteOpenError> {
    let denies = |source: &io::Error| {
        use io::ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem};
        matches!(source.kind(), PermissionDenied | NotADirectory | ReadOnlyFilesystem)
    };
    let failed = |place: &Path, tried: io::Result<_>| {
        let source = tried.err().filter(denies)?;
        Some(SqliteOpenError::NotWritable { path: path.into(), place: place.into(), source })
    };
    // The log stands beside the file, so a file alone is not enough.
    let (directory, name) = (path.parent()?, path.file_name()?);
    let probe = directory.join(format!(".{}-{}", name.display(), std::process::id()));
    let made = fs::File::create_new(&probe).and_then(|_| fs::remove_file(&probe));
    failed(directory, made).or_else(|| failed(path, fs::File::options().read(true).write(true).open(path).map(drop)))
}

/// Connects; `meanwhile` happens each time that a file has been opened, and once more before the end.
fn connect_while(options: &SqliteOptions, mut meanwhile: impl FnMut()) -> Result<Store, SqliteOpenError> {
    let path = options.path.clone();
    check_place(&path)?;
    let at = |step| {
        let path = &path;
        move |source: rusqlite::Error| match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => SqliteOpenError::NotADatabase { path: path.clone() },
            _ => SqliteOpenError::Sqlite { path: path.clone(), step, source },
        }
    };

    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || Connection::open_with_flags(&path, flags).map_err(at("open the database"));
    // SQLite does not say which file it has opened: the one that was at the path before and still is afterwards. A new
    // one was not there before, so it is opened again.
    let (mut before, mut connection) = (identity(&path), open()?);
    for _ in 0..2 {
        meanwhile();
        let after = identity(&path);
        if before == after {
            break;
        }
        drop(connection);
        (before, connection) = (after, open()?);
    }
    connection.busy_timeout(options.busy_timeout).map_err(at("open the database"))?;
    // SQLite opens for reading what it may not write, and says so only with the first write.
    if connection.is_readonly(rusqlite::MAIN_DB).map_err(at("open the database"))?
        && let Some(denied) = denied(&path)
    {
        return Err(denied);
    }

    // The first look takes no write lock, so that a current file can be opened while somebody writes it.
    let mut state = State::of(&connection).map_err(at("read the schema"))?;
    if !state.is_current(&path)? {
        let transaction = connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(at("lock the database for making the schema"))?;
        // The second look is under the lock: another process may have made the schema meanwhile.
        state = State::of(&transaction).map_err(at("read the schema"))?;
        if !state.is_current(&path)? {
            for table in TABLES.iter().filter(|table| !state.has(table)) {
                transaction.execute_batch(table.create).map_err(at("make a table"))?;
            }
            for table in TABLES {
                transaction.execute_batch(table.create_views).map_err(at("make a view"))?;
            }
            transaction.pragma_update(None, "user_version", SCHEMA_VERSION).map_err(at("set the schema version"))?;
        }
        transaction.commit().map_err(at("commit the schema"))?;
    }

    // Takes no lock where the mode is `wal` already.
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))
        .map_err(at("switch to the journal mode wal"))?;
    if mode != "wal" {
        return Err(SqliteOpenError::NoWal { path, found: mode });
    }
    connection.pragma_update(None, "synchronous", options.synchronous.as_str()).map_err(at("set `synchronous`"))?;
    // What a savepoint needs to undo a batch: in memory rather than in a temporary file.
    connection.pragma_update(None, "temp_store", "memory").map_err(at("set `temp_store`"))?;

    if let Some(pages) = options.max_pages {
        // As a query, for it answers with the limit that is now in force.
        let sql = format!("PRAGMA max_page_count = {pages}");
        connection.query_row(&sql, [], |_| Ok(())).map_err(at("limit the pages"))?;
    }

    meanwhile();
    // All of this may have gone to a file that nobody finds any more.
    let is_gone = cfg!(unix) && before.is_none();
    if is_gone || identity(&path) != before {
        return Err(SqliteOpenError::Replaced { path });
    }
    Ok(Store { connection, path, identity: before })
}

/// Says what SQLite would not: which part of the path is wrong.
pub(super) fn check_place(path: &Path) -> Result<(), SqliteOpenError> {
    if path.is_dir() {
        return Err(SqliteOpenError::IsDirectory { path: path.into() });
    }
    match path.parent() {
        // Only what is surely not there: a directory that cannot be looked at is an outage for SQLite to report.
        Some(directory) if matches!(directory.try_exists(), Ok(false)) => {
            Err(SqliteOpenError::NoDirectory { path: path.into(), directory: directory.into() })
        }
        _ => Ok(()),
    }
}

/// What a file holds.
pub(super) struct State {
    version: i64,
    objects: Vec<String>,
    /// The columns of each of [`TABLES`] as found, empty where there is no such table, and as they should be.
    columns: Vec<(&'static Table, String, String)>,
}

impl State {
    pub(super) fn of(connection: &Connection) -> rusqlite::Result<Self> {
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let objects = connection
            .prepare(
                "SELECT type || ' `' || name || '`' FROM sqlite_schema WHERE name NOT GLOB 'sqlite_*' ORDER BY name",
            )?
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        // The expected columns come from the statement that makes them, so that they are written down once.
        let model = Connection::open_in_memory()?;
        let mut columns = Vec::new();
        for table in TABLES {
            model.execute_batch(table.create)?;
            columns.push((*table, columns_of(connection, table)?, columns_of(&model, table)?));
        }
        Ok(Self { version, objects, columns })
    }

    fn has(&self, table: &Table) -> bool {
        self.columns.iter().any(|(known, found, _)| known.name == table.name && !found.is_empty())
    }

    /// Says whether there is nothing to do, or that something is in the way.
    ///
    /// A file without a version may have the tables already: a restored dump loses its version.
    fn is_current(&self, path: &Path) -> Result<bool, SqliteOpenError> {
        if self.version == 0 && self.objects.is_empty() {
            return Ok(false);
        }
        self.check(path)?;
        Ok(self.version == SCHEMA_VERSION)
    }

    /// Says whether the tables are there, as this version knows them.
    pub(super) fn check(&self, path: &Path) -> Result<(), SqliteOpenError> {
        if self.version > SCHEMA_VERSION {
            return Err(SqliteOpenError::NewerSchema { path: path.into(), found: self.version, known: SCHEMA_VERSION });
        }
        for (table, found, expected) in &self.columns {
            if found.is_empty() {
                let found = if self.objects.is_empty() { "nothing in it".to_owned() } else { self.objects.join(", ") };
                return Err(SqliteOpenError::OtherDatabase {
                    path: path.into(),
                    version: self.version,
                    found,
                    table: table.name,
                });
            }
            if found != expected {
                return Err(SqliteOpenError::OtherShape {
                    path: path.into(),
                    table: table.name,
                    found: found.clone(),
                    expected: expected.clone(),
                });
            }
        }
        Ok(())
    }
}

/// Returns a table's columns as they would be declared, with their places in the primary key.
fn columns_of(connection: &Connection, table: &Table) -> rusqlite::Result<String> {
    let columns: Vec<String> = connection
        .prepare(
            "SELECT name || ' ' || type || iif(\"notnull\", ' NOT NULL', '') || iif(pk, ' KEY ' || pk, '')
             FROM pragma_table_info(?1)",
        )?
        .query_map([table.name], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(columns.join(", "))
}

/// What tells two files at one path apart.
pub(super) type Identity = (u64, u64);

/// Says which file is at a path, if any.
///
/// # Errors
/// The path cannot be looked at, so nobody can tell.
#[cfg(unix)]
pub(super) fn look_at(path: &Path) -> io::Result<Option<Identity>> {
    use std::os::unix::fs::MetadataExt;
    match fs::metadata(path) {
        Ok(file) => Ok(Some((file.dev(), file.ino()))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Elsewhere an open file can be neither removed nor replaced.
#[cfg(not(unix))]
pub(super) fn look_at(_: &Path) -> io::Result<Option<Identity>> {
    Ok(None)
}

fn identity(path: &Path) -> Option<Identity> {
    look_at(path).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::Synchronous;

    // Sabotage: begin with `BEGIN IMMEDIATE`: red.
    #[test]
    fn a_current_file_opens_while_somebody_writes_it() {
        let dir = tempfile::tempdir().unwrap();
        let options = SqliteOptions::new(dir.path().join("bars.db"));
        connect(&options).unwrap();
        let other = Connection::open(&options.path).unwrap();
        other.execute_batch("BEGIN IMMEDIATE; DELETE FROM bars").unwrap();
        connect(&options).unwrap();
    }

    // Sabotage: leave the pragma to SQLite's default, or mix up the two: red.
    #[test]
    fn synchronous_is_as_the_options_say() {
        let dir = tempfile::tempdir().unwrap();
        for (synchronous, number) in [(Synchronous::Full, 2), (Synchronous::Normal, 1)] {
            let mut options = SqliteOptions::new(dir.path().join("bars.db"));
            assert_eq!(options.synchronous, Synchronous::Full);
            options.synchronous = synchronous;
            let store = connect(&options).unwrap();
            let found: i64 = store.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
            assert_eq!(found, number);
        }
    }

    // Sabotage: take the file's identity at the end alone: what is written goes to the old file, and nobody notices.
    #[cfg(unix)]
    #[test]
    fn a_file_that_is_replaced_while_it_is_opened_is_not_taken_for_the_other() {
        // Right after it was opened: it is opened again. Or later: the try has failed.
        for at in 1..=2 {
            let dir = tempfile::tempdir().unwrap();
            let options = SqliteOptions::new(dir.path().join("bars.db"));
            connect(&options).unwrap();
            let other = SqliteOptions::new(dir.path().join("other.db"));
            connect(&other).unwrap();
            let mut times = 0;
            let connected = connect_while(&options, || {
                times += 1;
                if times == at {
                    fs::rename(&other.path, &options.path).unwrap();
                }
            });
            assert_eq!(connected.is_ok(), at == 1);
            match connected {
                Ok(store) => {
                    store.connection.execute_batch("CREATE TABLE mark (x)").unwrap();
                    drop(store);
                    assert!(connect(&options).unwrap().connection.prepare("SELECT * FROM mark").is_ok(), "at {at}");
                }
                Err(error) => {
                    assert!(error.is_outage() && error.to_string().ends_with("while it was opened"), "{error}");
                    connect(&options).unwrap();
                }
            }
        }
    }
}
