//! Files of older versions: how their bars look, how they are read, and the step to this version.

use rusqlite::Connection;

use super::sql::TableSql;
use crate::record::{Bar, Tabular};

/// The columns of bars up to version 2, which had no adjustment, as `columns_of` shows them.
pub(super) const BARS: &str = "vendor TEXT NOT NULL KEY 1, symbol TEXT NOT NULL KEY 2, timeframe TEXT NOT NULL KEY 3, \
    ts INTEGER NOT NULL KEY 4, open REAL NOT NULL, high REAL NOT NULL, low REAL NOT NULL, close REAL NOT NULL, \
    volume REAL";

/// Shows such bars in this connection alone as this version has them, without a change of the file.
pub(super) const SHOW_BARS: &str = "CREATE TEMP VIEW IF NOT EXISTS bars AS SELECT vendor, symbol, timeframe,
    'unknown' AS adjustment, ts, open, high, low, close, volume FROM main.bars";

/// The table while it is filled.
const NEW: &str = "bars_with_adjustment";

/// Gives such bars the adjustment `unknown`. It is a part of the key, so the table is made anew. In a transaction, with
/// foreign keys off: dropping the old table must not delete what refers to it.
pub(super) fn migrate_bars(connection: &Connection) -> rusqlite::Result<()> {
    let sql = TableSql::new(Bar::TABLE);
    let name = sql.table.name();
    // What others made on the table goes with it, and is made again.
    let others: Vec<String> = connection
        .prepare(
            "SELECT sql FROM sqlite_schema
             WHERE tbl_name = ?1 AND type IN ('index', 'trigger') AND name <> 'bars_by_symbol' AND sql NOT NULL",
        )?
        .query_map([name], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let run = |sql: &str| connection.execute_batch(sql);
    run(&format!("DROP VIEW IF EXISTS {name}_readable"))?;
    run(&sql.create.replacen(name, NEW, 1))?;
    // In the order of the key, which is that of both trees.
    run(&format!(
        "INSERT INTO {NEW} SELECT vendor, symbol, timeframe, 'unknown', ts, open, high, low, close, volume FROM {name};
         DROP TABLE {name}"
    ))?;
    // Else a view of another program that reads bars, which are not there at this moment, is an error.
    run("PRAGMA legacy_alter_table = ON")?;
    let renamed = run(&format!("ALTER TABLE {NEW} RENAME TO {name}"));
    run("PRAGMA legacy_alter_table = OFF")?;
    renamed?;
    run(&sql.create_rest)?;
    others.iter().try_for_each(|sql| run(sql))
}
