//! Where tables live, by the URL: one list of the databases that this build knows.

use std::{fmt, sync::Arc};

use futures_util::future::BoxFuture;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use futures_util::future::FutureExt;

#[cfg(feature = "postgres")]
use super::postgres::{self, PostgresError, PostgresOptions, PostgresSink};
#[cfg(feature = "sqlite")]
use super::sqlite::{SqliteOpenError, SqliteOptions, SqliteSink};
use super::{Batch, Sink, SinkError};
use crate::record::Tabular;

/// A database, and a sink for every type of record that has a [table](Tabular), one of your own too. Cheap to clone;
/// clones share its connection.
///
/// `sqlite://PATH` is a file: everything after `sqlite://` is its path, relative to the working directory, and
/// [`SqliteSink`](crate::sink::SqliteSink) says what holds for it. `postgres://USER:PASSWORD@HOST:PORT/DATABASE` is a
/// database of a PostgreSQL server, with options behind a `?` as libpq has them; the page DATABASES.md in `docs/` of the
/// repository says what holds for it. [`Builder::kind`](crate::Builder::kind) writes a
/// kind to the database of the settings; this is for a coordinator with another one.
///
/// The updates of a key keep their order within a coordinator. Two coordinators that write one table, of one store or two,
/// keep none between them: the last commit wins, and a write that the end of one store cut off may commit a moment later
/// than the first of the next. So let each write keys of its own.
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
    #[cfg(feature = "postgres")]
    Postgres(PostgresSink),
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
    /// The PostgreSQL database cannot be used.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

impl DatabaseError {
    /// Returns whether the database can be read, and has no table of the kind.
    #[cfg(all(feature = "serve", any(feature = "postgres", feature = "sqlite")))]
    pub(crate) fn is_no_table(&self) -> bool {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(error) => matches!(error, SqliteOpenError::NoTable { .. }),
            #[cfg(feature = "postgres")]
            Self::Postgres(error) => matches!(error, PostgresError::NoTable { .. }),
            Self::UnknownScheme { .. } => false,
        }
    }

    pub(super) fn unknown_scheme(url: &str) -> Self {
        let scheme = url.split_once(':').map_or("no scheme", |(scheme, _)| scheme).to_owned();
        let expected = match (cfg!(feature = "sqlite"), cfg!(feature = "postgres")) {
            (true, true) => "sqlite://PATH or postgres://USER@HOST/DATABASE",
            (false, true) => "postgres://USER@HOST/DATABASE, or a build with the feature sqlite",
            (true, false) => "sqlite://PATH, or a build with the feature postgres",
            (false, false) => "a build with a store (feature sqlite or postgres)",
        };
        Self::UnknownScheme { scheme, expected }
    }
}

impl Database {
    /// Takes the database of a URL. It is opened, and each table made, when its kind is [prepared](Self::prepare) or first
    /// written.
    ///
    /// # Errors
    /// This build knows no such database, the URL is wrong, or the operating system refuses a thread.
    pub fn connect(url: &str) -> Result<Self, DatabaseError> {
        #[cfg(feature = "postgres")]
        return Self::with_options(url, PostgresOptions::default());
        #[cfg(not(feature = "postgres"))]
        Self::embedded(url)
    }

    /// Takes the database of a URL, with what else there is to say of one of PostgreSQL.
    #[cfg(feature = "postgres")]
    pub(crate) fn with_options(url: &str, options: PostgresOptions) -> Result<Self, DatabaseError> {
        if postgres::is_url(url) {
            return Ok(Self(Connected::Postgres(PostgresSink::new(url, options)?)));
        }
        Self::embedded(url)
    }

    /// Takes a database that needs no server.
    fn embedded(url: &str) -> Result<Self, DatabaseError> {
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
            #[cfg(feature = "postgres")]
            Connected::Postgres(ref sink) => Ok(sink.prepare::<T>()?),
        }
    }

    /// Returns the SQL that makes the table of records of type `T`, with what belongs to it, statement by statement: for one
    /// who has the right to make it. Nothing is opened for that.
    pub fn table_sql<T: Tabular>(&self) -> Vec<String> {
        match self.0 {
            #[cfg(feature = "sqlite")]
            Connected::Sqlite(ref sink) => sink.table_sql::<T>(),
            #[cfg(feature = "postgres")]
            Connected::Postgres(ref sink) => sink.table_sql::<T>(),
        }
    }

    /// Returns the sink of a SQLite file, if it is one: it knows whether the file was removed.
    #[cfg(feature = "sqlite")]
    #[doc(hidden)]
    pub fn as_sqlite(&self) -> Option<&SqliteSink> {
        match &self.0 {
            Connected::Sqlite(sink) => Some(sink),
            #[cfg(feature = "postgres")]
            Connected::Postgres(_) => None,
        }
    }

    /// Waits until a write finds that one of these tables is not as it should be, and returns what is wrong with it. A
    /// SQLite file that cannot be the store is an outage as yet.
    pub(crate) fn unfit(&self, tables: Vec<&'static str>) -> BoxFuture<'static, Arc<str>> {
        let _ = &tables;
        match self.0 {
            #[cfg(feature = "sqlite")]
            Connected::Sqlite(_) => std::future::pending().boxed(),
            #[cfg(feature = "postgres")]
            Connected::Postgres(ref sink) => sink.unfit(tables).boxed(),
        }
    }

    /// Ends it for all clones: writes what was handed to it before, and returns when that is done. Later writes fail as
    /// transient.
    pub async fn close(&self) {
        match self.0 {
            #[cfg(feature = "sqlite")]
            Connected::Sqlite(ref sink) => sink.close().await,
            #[cfg(feature = "postgres")]
            Connected::Postgres(ref sink) => sink.close().await,
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
            #[cfg(feature = "postgres")]
            Connected::Postgres(ref sink) => sink.write(batch).await,
        }
    }

    async fn ping(&self) -> Option<Result<(), SinkError>> {
        match self.0 {
            #[cfg(feature = "sqlite")]
            Connected::Sqlite(ref sink) => Sink::<T>::ping(sink).await,
            #[cfg(feature = "postgres")]
            Connected::Postgres(ref sink) => Sink::<T>::ping(sink).await,
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = &f;
        match self.0 {
            #[cfg(feature = "sqlite")]
            Connected::Sqlite(ref sink) => f.debug_tuple("Database").field(sink).finish(),
            #[cfg(feature = "postgres")]
            Connected::Postgres(ref sink) => f.debug_tuple("Database").field(sink).finish(),
        }
    }
}
