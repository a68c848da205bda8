//! Reads a store without being able to change it.

use std::{ops::ControlFlow, path::PathBuf, sync::Arc};

use rusqlite::{Connection, OpenFlags};

use super::{
    SqliteOpenError, SqliteOptions, older,
    open::failed,
    place::{absolute, check_place},
    rows,
    schema::State,
    select::Select,
    sql::TableSql,
};
use crate::{record::StoredRow, sink::selection::Conditions};

/// Reads one moment of a file, the one of its first look. SQLite keeps the pages of that moment for as long as it lives.
#[derive(Debug)]
pub(in crate::sink) struct SqliteReader {
    connection: Connection,
    path: PathBuf,
}

impl SqliteReader {
    /// Opens the file.
    pub(in crate::sink) fn open(options: &SqliteOptions) -> Result<Self, SqliteOpenError> {
        let path = absolute(&options.path)?;
        check_place(&path)?;
        if matches!(path.try_exists(), Ok(false)) {
            return Err(SqliteOpenError::NoFile { path });
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&path, flags).map_err(failed(&path, "open the database"))?;
        let begun = connection.busy_timeout(options.busy_timeout).and_then(|()| connection.execute_batch("BEGIN"));
        begun.map_err(failed(&path, "open the database"))?;
        Ok(Self { connection, path })
    }

    /// Shows the rows in the order of the key, one at a time, until it is told to stop.
    pub(in crate::sink) fn rows(
        &self,
        conditions: &Conditions,
        show: &mut dyn FnMut(StoredRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), SqliteOpenError> {
        let table = &conditions.table;
        let state = State::of(&self.connection, &[Arc::new(TableSql::new(*table))]);
        let state = state.map_err(failed(&self.path, "read the schema"))?;
        state.check_readable(&self.path)?;
        if state.has_old_bars() {
            self.connection.execute_batch(older::SHOW_BARS).map_err(failed(&self.path, "read the schema"))?;
        }
        let read = Select::new(conditions).read(&self.connection, &mut |row| {
            let (values, misfits) = rows::stored(row, table.columns())?;
            Ok(show(StoredRow::new(table, &values).with_misfits(&misfits)))
        });
        read.map_err(failed(&self.path, "read the records"))
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ErrorCode;

    use super::{super::open, *};
    use crate::{
        record::{Bar, Fundamentals, News, OptionQuote, Quote, Tabular, Trade},
        sink::selection::{InvalidSelection, Selection},
    };

    fn reader(options: &SqliteOptions) -> SqliteReader {
        let tables = [Bar::TABLE, Quote::TABLE, Trade::TABLE, OptionQuote::TABLE, Fundamentals::TABLE, News::TABLE];
        open::connect(options, &tables.map(|table| Arc::new(TableSql::new(table)))).unwrap();
        SqliteReader::open(options).unwrap()
    }

    type Selected<T> = Result<Selection<T>, InvalidSelection>;

    fn plan<T: Tabular>(reader: &SqliteReader, select: impl FnOnce(Selection<T>) -> Selected<T>) -> Vec<String> {
        let selection = select(Selection::new()).unwrap();
        let mut plan = Vec::new();
        for sql in Select::new(selection.conditions()).statements() {
            let mut statement = reader.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let steps = statement.raw_query().mapped(|row| row.get::<_, String>("detail"));
            plan.extend(steps.map(|step| step.unwrap().replace(" USING PRIMARY KEY", "")));
        }
        plan
    }

    // Red when a read by symbol or by time scans the table, or sorts: order by `vendor, symbol, ts`, or leave out a level.
    #[test]
    fn a_read_by_symbol_or_time_seeks_by_the_key_and_sorts_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let reader = reader(&SqliteOptions::new(dir.path().join("bars.db")));
        let bars = plan::<Bar>(&reader, |all| all.any_of("symbol", ["ES"]));
        assert_eq!(bars, ["SEARCH bars", "SEARCH bars (vendor>?)", "SEARCH bars (vendor=? AND symbol=?)"]);
        let trades =
            plan::<Trade>(&reader, |all| all.any_of("symbol", ["ES", "NQ"])?.from("2024-01-02")?.to("2024-01-03"));
        assert_eq!(
            trades,
            [
                "SEARCH trades",
                "SEARCH trades (vendor>?)",
                "SEARCH trades (vendor=?)",
                "SEARCH trades (vendor=? AND venue>?)",
                "SEARCH trades (vendor=? AND venue=? AND symbol=? AND ts>? AND ts<?)",
            ]
        );
        for plan in [
            plan::<Quote>(&reader, |all| all.from("2024-01-02T14:30:00.000000001Z")),
            plan::<OptionQuote>(&reader, |all| all.any_of("contract", ["O:SPY240119C00470000"])?.to("2024-01-03")),
            plan::<Fundamentals>(&reader, |all| all.any_of("symbol", ["AAPL"])?.from("2024-01-02")),
            plan::<News>(&reader, |all| all.any_of("id", ["1"])),
            plan::<Bar>(&reader, |all| all.any_of("timeframe", ["1m", "1d"])?.any_of("vendor", ["acme"])),
        ] {
            assert!(plan.iter().all(|step| step.starts_with("SEARCH ")), "{plan:?}");
        }
        assert_eq!(plan::<Bar>(&reader, Ok), ["SCAN bars"], "all of it is read in the order in which it lies");
    }

    // Red when a page scans the table or passes over those before it: compare each column of the key by itself, or let the
    // beginning of the time be sought instead of the key.
    #[cfg(feature = "serve")]
    #[test]
    fn a_read_behind_a_key_seeks_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let reader = reader(&SqliteOptions::new(dir.path().join("bars.db")));
        let key = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let bar = key(&["acme", "ES", "1m", "raw", "2024-01-02T14:30:00Z"]);
        let last = |plan: Vec<String>| plan.last().unwrap().clone();
        let all = last(plan::<Bar>(&reader, |all| all.after(&bar)));
        assert_eq!(all, "SEARCH bars ((vendor,symbol,timeframe,adjustment,ts)>(?,?,?,?,?))");
        let of_symbol = last(plan::<Bar>(&reader, |all| all.any_of("symbol", ["ES"])?.after(&bar)));
        assert_eq!(of_symbol, "SEARCH bars (vendor=? AND symbol=? AND (timeframe,adjustment,ts)>(?,?,?))");
        let trade = key(&["acme", "CME", "ES", "2024-01-02T14:30:00.000000001Z", "7"]);
        let timed = last(plan::<Trade>(&reader, |all| {
            all.any_of("symbol", ["ES"])?.from("2024-01-02")?.to("2024-01-03")?.after(&trade)
        }));
        assert_eq!(timed, "SEARCH trades (vendor=? AND venue=? AND symbol=? AND (ts,ts_ns,id)>(?,?,?) AND ts<?)");
        let with_id = last(plan::<Trade>(&reader, |all| all.any_of("id", ["7", "8"])?.after(&trade)));
        assert_eq!(with_id, "SEARCH trades ((vendor,venue,symbol,ts,ts_ns,id)>(?,?,?,?,?,?))");
        let news = key(&["acme", "1"]);
        assert_eq!(last(plan::<News>(&reader, |all| all.after(&news))), "SEARCH news ((vendor,id)>(?,?))");
        let of_vendor = last(plan::<News>(&reader, |all| all.any_of("vendor", ["acme"])?.after(&news)));
        assert_eq!(of_vendor, "SEARCH news (vendor=? AND id>?)");
    }

    // Red when it is opened as one that can be written.
    #[test]
    fn the_store_cannot_be_changed_through_it() {
        let dir = tempfile::tempdir().unwrap();
        let reader = reader(&SqliteOptions::new(dir.path().join("bars.db")));
        let error = reader.connection.execute("DELETE FROM bars", []).unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(ErrorCode::ReadOnly));
    }
}
