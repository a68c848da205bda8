//! Reads a database, by its URL.

use std::{fmt, ops::ControlFlow};

#[cfg(feature = "postgres")]
use super::postgres::{self, PostgresOptions, PostgresReader};
#[cfg(feature = "sqlite")]
use super::sqlite::{SqliteOptions, SqliteReader};
use super::{database::DatabaseError, selection::Selection};
use crate::record::{Invalid, StoredRow, Tabular};

/// Reads the records of a database, whatever their type, in one moment of it. It never makes or changes anything, and
/// disturbs no process that writes. It does not see what is written meanwhile; a database keeps what it needs for that
/// for as long as the reader lives, so do not keep it for long.
///
/// Its memory does not grow with what it reads. Every call blocks the thread while it reads: in async code call it on a
/// thread for that, such as one of `tokio::task::spawn_blocking`. So can its drop, for a second at most.
///
/// ```no_run
/// use std::ops::ControlFlow;
///
/// use market_data_store::{Trade, sink::{DatabaseReader, Selection}};
///
/// let reader = DatabaseReader::open("sqlite://market_data.db")?;
/// reader.records(&Selection::<Trade>::new().any_of("symbol", ["ES"])?.from("2024-01-02")?, |trade| {
///     match trade {
///         Ok(trade) => println!("{} {} {}", trade.ts, trade.price, trade.size),
///         Err(invalid) => eprintln!("{invalid}"),
///     }
///     ControlFlow::Continue(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct DatabaseReader(Opened);

enum Opened {
    #[cfg(feature = "sqlite")]
    Sqlite(SqliteReader),
    #[cfg(feature = "postgres")]
    Postgres(PostgresReader),
}

/// A row that makes no valid record: another program wrote or changed it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {invalid}")]
pub struct InvalidRow {
    /// Its key: `vendor=acme symbol=ES timeframe=1m ts=2024-01-02T14:30:00Z`.
    pub key: String,
    /// What is wrong with it.
    pub invalid: Invalid,
}

impl DatabaseReader {
    /// Opens the database of a URL, as [`Database::connect`](crate::Database::connect) takes it.
    ///
    /// # Errors
    /// This build knows no such database, the URL has more than a path, or there is nothing to read, or not now.
    pub fn open(url: &str) -> Result<Self, DatabaseError> {
        #[cfg(feature = "postgres")]
        return Self::with_options(url, PostgresOptions::default());
        #[cfg(not(feature = "postgres"))]
        Self::embedded(url)
    }

    /// Opens the database of a URL, with what else there is to say of one of PostgreSQL.
    #[cfg(feature = "postgres")]
    pub(crate) fn with_options(url: &str, options: PostgresOptions) -> Result<Self, DatabaseError> {
        if postgres::is_url(url) {
            return Ok(Self(Opened::Postgres(PostgresReader::open(url, options)?)));
        }
        Self::embedded(url)
    }

    /// Opens a database that needs no server.
    fn embedded(url: &str) -> Result<Self, DatabaseError> {
        #[cfg(feature = "sqlite")]
        if url.starts_with("sqlite:") {
            return Ok(Self(Opened::Sqlite(SqliteReader::open(&SqliteOptions::from_url(url)?)?)));
        }
        Err(DatabaseError::unknown_scheme(url))
    }

    /// Shows the selected records in the order of the key, one at a time, until it is told to stop. A row that makes no
    /// valid record is shown as what is wrong with it.
    ///
    /// A read that names columns at the beginning of the key, or a time, seeks to what it asks for. One that names others
    /// alone looks at all rows, and so does one by a list, such as the symbols of news. In PostgreSQL the server decides,
    /// and sorts what it finds by an index.
    ///
    /// # Errors
    /// The database has no such table or one with other columns, or cannot be read now.
    pub fn records<T: Tabular>(
        &self,
        selection: &Selection<T>,
        mut show: impl FnMut(Result<T, InvalidRow>) -> ControlFlow<()>,
    ) -> Result<(), DatabaseError> {
        self.rows(selection, |row| {
            let record = T::from_row(&row).and_then(|mut record| record.validate().map(|()| record));
            show(record.map_err(|invalid| InvalidRow { key: row.to_string(), invalid }))
        })
    }

    /// Shows the same as rows, whatever is in them.
    ///
    /// # Errors
    /// As [`records`](Self::records).
    pub fn rows<T: Tabular>(
        &self,
        selection: &Selection<T>,
        mut show: impl FnMut(StoredRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), DatabaseError> {
        let conditions = selection.conditions();
        let mut left = conditions.limit.unwrap_or(u64::MAX);
        if left == 0 {
            return Ok(());
        }
        let show = &mut |row: StoredRow<'_>| {
            if !conditions.admits(&row) {
                return ControlFlow::Continue(());
            }
            left -= 1;
            show(row)?;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        match self.0 {
            #[cfg(feature = "sqlite")]
            Opened::Sqlite(ref reader) => Ok(reader.rows(conditions, show)?),
            #[cfg(feature = "postgres")]
            Opened::Postgres(ref reader) => Ok(reader.rows(conditions, show)?),
        }
    }
}

impl fmt::Debug for DatabaseReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            #[cfg(feature = "sqlite")]
            Opened::Sqlite(ref reader) => f.debug_tuple("DatabaseReader").field(reader).finish(),
            #[cfg(feature = "postgres")]
            Opened::Postgres(ref reader) => f.debug_tuple("DatabaseReader").field(&reader.database).finish(),
        }
    }
}
