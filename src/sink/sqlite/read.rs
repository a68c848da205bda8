//! Reads a store without being able to change it.

use std::{marker::PhantomData, path::PathBuf, sync::Arc};

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params, types::ValueRef};

use super::{
    SqliteOpenError, SqliteOptions,
    open::failed,
    place::{absolute, check_place},
    rows,
    schema::State,
    sql::TableSql,
};
use crate::record::{Bar, Invalid, Tabular};

const FIRST_SERIES: &str = "SELECT vendor, symbol, timeframe FROM bars ORDER BY vendor, symbol, timeframe LIMIT 1";
const NEXT_SERIES: &str = "SELECT vendor, symbol, timeframe FROM bars
    WHERE (vendor, symbol, timeframe) > (?1, ?2, ?3) ORDER BY vendor, symbol, timeframe LIMIT 1";
const BARS: &str = "SELECT ts, open, high, low, close, volume FROM bars
    WHERE vendor = ?1 AND symbol = ?2 AND timeframe = ?3 ORDER BY ts";

/// Reads the records of one kind in one moment of a SQLite store; bars also series by series. It never makes the file,
/// and disturbs no process that writes it. It does not see what is written meanwhile, and SQLite keeps the pages of this
/// moment for as long as the reader lives. Every call blocks the thread while it reads.
///
/// ```no_run
/// use market_data_store::{Bar, sink::{SqliteOptions, SqliteReader}};
///
/// SqliteReader::<Bar>::open(&SqliteOptions::new("bars.db"))?.records(|bar| match bar {
///     Ok(bar) => println!("{} {} {}", bar.symbol, bar.ts, bar.close),
///     Err(invalid) => eprintln!("{invalid}"),
/// })?;
/// # Ok::<(), market_data_store::sink::SqliteOpenError>(())
/// ```
#[derive(Debug)]
pub struct SqliteReader<T> {
    connection: Connection,
    path: PathBuf,
    sql: Arc<TableSql>,
    record: PhantomData<fn() -> T>,
}

/// Names the bars of one vendor, symbol and timeframe, as the store spells these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    /// Who made the data.
    pub vendor: String,
    /// What was traded.
    pub symbol: String,
    /// The time that a bar covers, such as `1m`.
    pub timeframe: String,
}

/// A row of the store, as far as its columns hold numbers. Another program may have written anything: it is no
/// [`Bar`](crate::Bar) before it is validated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StoredBar {
    /// When the bar opens, in microseconds since 1970.
    pub ts: i64,
    /// Open, high, low, close.
    pub prices: [f64; 4],
    /// What was traded; none where the row has none.
    pub volume: Option<f64>,
}

impl<T: Tabular> SqliteReader<T> {
    /// Opens the file and begins to read, in the moment that all later calls see.
    ///
    /// # Errors
    /// The file is not there, is no store of this version, has no table of this kind, or cannot be read now.
    pub fn open(options: &SqliteOptions) -> Result<Self, SqliteOpenError> {
        let path = absolute(&options.path)?;
        check_place(&path)?;
        if matches!(path.try_exists(), Ok(false)) {
            return Err(SqliteOpenError::NoFile { path });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(failed(&path, "open the database"))?;
        let sql = Arc::new(TableSql::new(T::TABLE));
        let reader = Self { connection, path, sql, record: PhantomData };
        let begun = reader.connection.busy_timeout(options.busy_timeout);
        begun
            .and_then(|()| reader.connection.execute_batch("BEGIN"))
            .map_err(failed(&reader.path, "open the database"))?;
        let state = State::of(&reader.connection, std::slice::from_ref(&reader.sql));
        state.map_err(failed(&reader.path, "read the schema"))?.check_readable(&reader.path)?;
        Ok(reader)
    }

    /// Shows every record in the order of the key, one at a time. A row that is no record is shown as what is wrong with
    /// it; one that is has not been validated.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn records(&self, mut show: impl FnMut(Result<T, Invalid>)) -> Result<(), SqliteOpenError> {
        let mut read = || -> rusqlite::Result<()> {
            let mut statement = self.connection.prepare_cached(&self.sql.select)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                show(rows::record(row)?);
            }
            Ok(())
        };
        read().map_err(failed(&self.path, "read the records"))
    }
}

impl SqliteReader<Bar> {
    /// Returns the first series behind the one given, in the order of the key; with none given the first of all. It
    /// seeks, so that the rows between are not read.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next_series(&self, behind: Option<&Series>) -> Result<Option<Series>, SqliteOpenError> {
        let series = |row: &Row<'_>| Ok(Series { vendor: row.get(0)?, symbol: row.get(1)?, timeframe: row.get(2)? });
        let found = match behind {
            None => self.connection.query_row(FIRST_SERIES, [], series),
            Some(Series { vendor, symbol, timeframe }) => self
                .connection
                .prepare_cached(NEXT_SERIES)
                .and_then(|mut statement| statement.query_row(params![vendor, symbol, timeframe], series)),
        };
        let found = found.optional();
        found.map_err(failed(&self.path, "read the keys"))
    }

    /// Shows the rows of a series in the order of their times, one at a time. One whose time or prices are no numbers
    /// is shown as what is wrong with it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn bars(
        &self,
        series: &Series,
        mut show: impl FnMut(Result<StoredBar, String>),
    ) -> Result<(), SqliteOpenError> {
        let Series { vendor, symbol, timeframe } = series;
        let mut read = || -> rusqlite::Result<()> {
            let mut statement = self.connection.prepare_cached(BARS)?;
            let mut rows = statement.query(params![vendor, symbol, timeframe])?;
            while let Some(row) = rows.next()? {
                show(stored_bar(row)?);
            }
            Ok(())
        };
        read().map_err(failed(&self.path, "read the bars"))
    }
}

fn stored_bar(row: &Row<'_>) -> rusqlite::Result<Result<StoredBar, String>> {
    let ts = match row.get_ref(0)? {
        ValueRef::Integer(micros) => micros,
        other => return Ok(Err(format!("ts: expected an integer, got {}", other.data_type()))),
    };
    let mut prices = [0.0; 4];
    for (at, name) in ["open", "high", "low", "close"].into_iter().enumerate() {
        match number(row.get_ref(at + 1)?) {
            Ok(price) => prices[at] = price,
            Err(found) => return Ok(Err(format!("{name}: expected a number, got {found}"))),
        }
    }
    let volume = match row.get_ref(5)? {
        ValueRef::Null => None,
        value => match number(value) {
            Ok(volume) => Some(volume),
            Err(found) => return Ok(Err(format!("volume: expected a number or null, got {found}"))),
        },
    };
    Ok(Ok(StoredBar { ts, prices, volume }))
}

/// Returns the number, or the type of what is there instead.
fn number(value: ValueRef<'_>) -> Result<f64, String> {
    match value {
        ValueRef::Real(number) => Ok(number),
        // Rounds as SQLite's own comparison does.
        ValueRef::Integer(number) => Ok(number as f64),
        other => Err(other.data_type().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ErrorCode;

    use super::{super::open, *};

    fn connect(options: &SqliteOptions) {
        open::connect(options, &[Arc::new(TableSql::new(Bar::TABLE))]).unwrap();
    }

    // Sabotage: order by `ts DESC, open`, or leave the vendor out of a condition: red.
    #[test]
    fn every_query_seeks_by_the_key_and_sorts_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let options = SqliteOptions::new(dir.path().join("bars.db"));
        connect(&options);
        let reader = SqliteReader::<Bar>::open(&options).unwrap();
        for (sql, expected) in [
            (FIRST_SERIES, "SCAN bars"),
            (NEXT_SERIES, "SEARCH bars USING PRIMARY KEY ((vendor,symbol,timeframe)>(?,?,?))"),
            (BARS, "SEARCH bars USING PRIMARY KEY (vendor=? AND symbol=? AND timeframe=?)"),
        ] {
            let mut statement = reader.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let plan: Vec<String> =
                statement.raw_query().mapped(|row| row.get("detail")).collect::<Result<_, _>>().unwrap();
            assert_eq!(plan, [expected], "{sql}");
        }
    }

    // Sabotage: open it as one that can be written: red.
    #[test]
    fn the_store_cannot_be_changed_through_it() {
        let dir = tempfile::tempdir().unwrap();
        let options = SqliteOptions::new(dir.path().join("bars.db"));
        connect(&options);
        let reader = SqliteReader::<Bar>::open(&options).unwrap();
        let error = reader.connection.execute("DELETE FROM bars", []).unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(ErrorCode::ReadOnly));
    }
}
