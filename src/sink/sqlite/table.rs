//! What the sink knows of each kind: the table, and how a record becomes a row.

use rusqlite::{Connection, Statement};
use smol_str::ToSmolStr;

use super::super::Batch;
use crate::record::{Bar, Record};

/// The version of the whole schema, in `PRAGMA user_version`. A new table, column or index makes it one higher, with a
/// step in `open` that brings older files to it: 2 has the index `bars_by_symbol`.
pub(super) const SCHEMA_VERSION: i64 = 2;

/// One table, and what belongs to it.
pub(super) struct Table {
    /// The kind's name.
    pub(super) name: &'static str,
    /// Makes the table; its columns are named as the fields in JSON, its primary key is the identity key.
    pub(super) create: &'static str,
    /// Makes the indexes and views that are not there.
    pub(super) create_rest: &'static str,
    /// Stores one row, or updates the one of the same key.
    pub(super) upsert: &'static str,
}

/// Every table of a store.
pub(super) const TABLES: &[&Table] = &[&BARS];

/// A record that has a table.
pub(super) trait Row: Record {
    const TABLE: &'static Table;

    /// Runs the table's upsert for this record. The statement has still bound what the record `before` was stored with.
    fn upsert(&self, before: Option<&Self>, statement: &mut Statement<'_>) -> rusqlite::Result<()>;
}

/// Records of any kind that are written together.
pub(super) trait Rows: Send {
    fn upsert(&self, connection: &Connection) -> rusqlite::Result<()>;
}

impl<T: Row> Rows for Batch<T> {
    /// One after the other, so that the last update of a key wins.
    fn upsert(&self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(T::TABLE.upsert)?;
        let mut before = None;
        for row in self.iter() {
            row.upsert(before, &mut statement)?;
            before = Some(row);
        }
        Ok(())
    }
}

// Without a rowid the key is the table: one tree to write instead of two. Not STRICT, which older readers (SQLite
// before 3.37) could not open. NaN becomes NULL in SQLite, so NOT NULL refuses it.
//
// The index is for reads that name no vendor. The view rounds to whole seconds towards the past, also before 1970, and
// shows as many digits as there are.
const BARS: Table = Table {
    name: Bar::KIND,
    create: "CREATE TABLE bars (
        vendor TEXT NOT NULL,
        symbol TEXT NOT NULL,
        timeframe TEXT NOT NULL,
        ts INTEGER NOT NULL,
        open REAL NOT NULL,
        high REAL NOT NULL,
        low REAL NOT NULL,
        close REAL NOT NULL,
        volume REAL,
        PRIMARY KEY (vendor, symbol, timeframe, ts)
    ) WITHOUT ROWID",
    create_rest: "CREATE INDEX IF NOT EXISTS bars_by_symbol ON bars (symbol, timeframe, ts);
        CREATE VIEW IF NOT EXISTS bars_readable AS
        WITH split AS (SELECT *, ((ts % 1000000) + 1000000) % 1000000 AS micros FROM bars)
        SELECT vendor, symbol, timeframe,
            strftime('%Y-%m-%dT%H:%M:%S', (ts - micros) / 1000000, 'unixepoch')
                || CASE micros WHEN 0 THEN '' ELSE '.' || rtrim(printf('%06d', micros), '0') END || 'Z' AS ts,
            open, high, low, close, volume
        FROM split",
    upsert: "INSERT INTO bars (vendor, symbol, timeframe, ts, open, high, low, close, volume)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
        ON CONFLICT (vendor, symbol, timeframe, ts) DO UPDATE SET
            open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
            volume = excluded.volume",
};

impl Row for Bar {
    const TABLE: &'static Table = &BARS;

    fn upsert(&self, before: Option<&Self>, statement: &mut Statement<'_>) -> rusqlite::Result<()> {
        // SQLite copies each text that is bound, which takes longer than all the numbers; mostly it is the same again.
        let other = |same: fn(&Self, &Self) -> bool| before.is_none_or(|before| !same(self, before));
        if other(|a, b| a.vendor == b.vendor) {
            statement.raw_bind_parameter(1, self.vendor.as_str())?;
        }
        if other(|a, b| a.symbol == b.symbol) {
            statement.raw_bind_parameter(2, self.symbol.as_str())?;
        }
        if other(|a, b| a.timeframe == b.timeframe) {
            statement.raw_bind_parameter(3, self.timeframe.to_smolstr().as_str())?;
        }
        statement.raw_bind_parameter(4, self.ts.as_micros())?;
        for (column, price) in (5..).zip([self.open, self.high, self.low, self.close]) {
            statement.raw_bind_parameter(column, price)?;
        }
        statement.raw_bind_parameter(9, self.volume)?;
        statement.raw_execute()?;
        Ok(())
    }
}
