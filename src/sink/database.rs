//! Where tables live, by the URL: one list of the databases that this build knows.

use std::fmt;

#[cfg(feature = "sqlite")]
use super::sqlite::{SqliteOpenError, SqliteOptions, SqliteSink};
use super::{Batch, Sink, SinkError};
use crate::record::Tabular;

/// A database, and a sink for every type of record that has a [table](Tabular), one of your own too. Cheap to clone;
/// clones share its connection.
///
/// `sqlite://PATH` is a file: everything after `sqlite://` is its path, relative to the working directory, and
/// [`SqliteSink`](crate::sink::SqliteSink) says what holds for it. [`Builder::kind`](crate::Builder::kind) writes a
/// kind to the database of the settings; this is for a coordinator with another one.
///
/// ```no_run
/// use market_data_store::{Bar, Coordinator, Database, MarketDataStore, Settings};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let database = Database::connect("sqlite://archive.db")?;
/// let archive = Coordinator::<Bar>::new(database.clone()).id("archive");
/// let store = MarketDataStore::builder(Settings::from_env()?).kind::<Bar>().coordinator(archive).start().await?;
/// # store.shutdown(store.shutdown_timeout()).await;
/// database.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Database(Connected);

#[derive(Clone)]
enum Connected {
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteSink),
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {
    /// The URL names a database that this build does not know.
    #[error("the database URL has the scheme `{scheme}`: expected {expected}")]
    UnknownScheme {
        /// What stands before the colon.
        scheme: String,
        /// What this build knows.
        expected: &'static str,
    },
    /// The SQLite file cannot be used.
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    Sqlite(#[from] SqliteOpenError),
}

impl DatabaseError {
    pub(super) fn unknown_scheme(url: &str) -> Self {
        let scheme = url.split_once(':').map_or("no scheme", |(scheme, _)| scheme).to_owned();
        let expected = if cfg!(feature = "sqlite") { "sqlite://PATH" } else { "a build with a store (feature sqlite)" };
        Self::UnknownScheme { scheme, expected }
    }
}

impl Database {
    /// Takes the database of a URL. The file is opened, and each table made, when its kind is [prepared](Self::prepare)
    /// or first written.
    ///
    /// # Errors
    /// This build knows no such database, the URL has more than a path, or the operating system refuses a thread.
    pub fn connect(url: &str) -> Result<Self, DatabaseError> {
        #[cfg(feature = "sqlite")]
        if url.starts_with("sqlite:") {
            return Ok(Self(Connected::Sqlite(SqliteSink::new(SqliteOptions::from_url(url)?)?)));
        }
        Err(DatabaseError::unknown_scheme(url))
    }

    /// Opens the database and makes the table of records of type `T`, if it is not there. Blocks the thread meanwhile.
    ///
    /// A database that cannot be reached now is no error: a WARN is logged, and writes fail as transient until it can.
    ///
    /// # Errors
    /// The database cannot be used, or a table of this name has other columns.
    pub fn prepare<T: Tabular>(&self) -> Result<(), DatabaseError> {
        match self.0 {
            #[cfg(feature = "sqlite")]
            Connected::Sqlite(ref sink) => Ok(sink.prepare::<T>()?),
        }
    }

    /// Ends it for all clones: writes what was handed to it before, and returns when that is done. Later writes fail as
    /// transient.
    pub async fn close(&self) {
        match self.0 {
            #[cfg(feature = "sqlite")]
            Connected::Sqlite(ref sink) => sink.close().await,
        }
    }
}

/// For options that a URL does not have.
#[cfg(feature = "sqlite")]
impl From<SqliteSink> for Database {
    fn from(sink: SqliteSink) -> Self {
        Self(Connected::Sqlite(sink))
    }
}

impl<T: Tabular> Sink<T> for Database {
    async fn write(&self, batch: &Batch<T>) -> Result<(), SinkError> {
        let _ = batch;
        match self.0 {
            #[cfg(feature = "sqlite")]
            Connected::Sqlite(ref sink) => sink.write(batch).await,
        }
    }

    async fn ping(&self) -> Option<Result<(), SinkError>> {
        match self.0 {
            #[cfg(feature = "sqlite")]
            Connected::Sqlite(ref sink) => Sink::<T>::ping(sink).await,
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = &f;
        match self.0 {
            #[cfg(feature = "sqlite")]
            Connected::Sqlite(ref sink) => f.debug_tuple("Database").field(sink).finish(),
        }
    }
}
