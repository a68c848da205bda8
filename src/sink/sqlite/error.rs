use std::{io, path::PathBuf, time::Duration};

use rusqlite::ErrorCode;

/// Why a file cannot be the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SqliteOpenError {
    /// The URL is not one of SQLite's, or has more than a path.
    #[error("the database URL {problem}: expected {expected}")]
    Url {
        /// What is wrong with it.
        problem: String,
        /// What to write instead.
        expected: String,
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
    #[error("the busy timeout is {found:?}: expected at most {most:?}, as longer waits belong to the retry policy")]
    BusyTimeout {
        /// The value given.
        found: Duration,
        /// The longest one.
        most: Duration,
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
    /// The file is another program's database.
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
    /// There is no table of this kind: none of it was ever stored there.
    #[error("{}: there is no table `{table}`: no record of that kind was ever stored there", path.display())]
    NoTable {
        /// The file.
        path: PathBuf,
        /// The table.
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
    /// The log beside the file cannot be opened. The next try may succeed.
    #[error("{}: cannot open its log", path.display())]
    Log {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A thread could not be started.
    #[error("cannot start the threads that write the database")]
    Thread(#[source] io::Error),
    /// The sink was closed, or its thread has ended.
    #[error("{}: the thread that writes the database has ended", path.display())]
    Closed {
        /// The file.
        path: PathBuf,
    },
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
            Self::Replaced { .. } | Self::Log { .. } => return true,
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
    /// Says whether the connection that it came from is as good as before.
    pub(super) fn spares_connection(&self) -> bool {
        match self {
            Self::Sqlite { source, .. } => is_passing(source.sqlite_error_code()),
            // It was read without an error.
            Self::NewerSchema { .. } | Self::OtherDatabase { .. } | Self::OtherShape { .. } => true,
            _ => false,
        }
    }
}

/// Says whether an error of SQLite passes, and leaves the connection as good as before.
pub(super) fn is_passing(code: Option<ErrorCode>) -> bool {
    matches!(
        code,
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::DiskFull
                | ErrorCode::OutOfMemory
                | ErrorCode::OperationInterrupted
        )
    )
}
