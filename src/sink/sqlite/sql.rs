//! The SQL of a table, made of its [`Table`].

use crate::record::{Column, ColumnType, Table};

/// Every statement that the sink and the readers need of one table.
#[derive(Debug)]
pub(super) struct TableSql {
    pub(super) table: Table,
    /// Makes the table; its columns are named as the fields in JSON, its primary key is the identity key.
    pub(super) create: String,
    /// Makes indexes and views if they are not there.
    pub(super) create_rest: String,
    /// Stores one row, or updates the one of the same key.
    pub(super) upsert: String,
    /// The same of several rows, one after the other.
    pub(super) upsert_rows: String,
    /// How many.
    pub(super) rows: usize,
}

/// The most rows of a statement: more save hardly anything.
const ROWS: usize = 50;
/// The most parameters of a statement: what every SQLite takes, however it was built.
const PARAMETERS: usize = 999;

impl TableSql {
    pub(super) fn new(table: Table) -> Self {
        let rows = (PARAMETERS / sql_columns(&table).len()).clamp(1, ROWS);
        Self {
            table,
            create: create(&table),
            create_rest: [index(&table), view(&table), own_view(&table)].concat(),
            upsert: upsert(&table, 1),
            upsert_rows: upsert(&table, rows),
            rows,
        }
    }

    /// Returns the names of its views.
    pub(super) fn views(&self) -> Vec<String> {
        let own = self.table.own_view().map(|view| view.name.to_owned());
        own.into_iter().chain([format!("{}_readable", self.table.name())]).collect()
    }
}

/// A column as SQLite has it.
struct SqlColumn {
    name: String,
    sql_type: &'static str,
    of: &'static Column,
}

fn sql_columns(table: &Table) -> Vec<SqlColumn> {
    let mut columns = Vec::new();
    for of in table.columns() {
        let sql_type = match of.column_type() {
            ColumnType::Timestamp | ColumnType::TimestampNanos | ColumnType::Integer => "INTEGER",
            ColumnType::Float => "REAL",
            _ => "TEXT",
        };
        columns.push(SqlColumn { name: of.name().to_owned(), sql_type, of });
        if of.column_type() == ColumnType::TimestampNanos {
            columns.push(SqlColumn { name: nanos(of), sql_type, of });
        }
    }
    columns
}

/// The second column of a time in nanoseconds.
pub(super) fn nanos(column: &Column) -> String {
    format!("{}_ns", column.name())
}

/// A remainder that is never negative, so that what is subtracted rounds towards the past, also before 1970.
fn remainder(column: &str, of: u32) -> String {
    format!("(({column} % {of}) + {of}) % {of}")
}

/// The columns of the key, in their order.
pub(super) fn key(table: &Table) -> String {
    let keys = sql_columns(table).into_iter().filter(|column| column.of.is_key());
    keys.map(|column| column.name).collect::<Vec<_>>().join(", ")
}

// Without a rowid the key is the table: one tree to write instead of two. Not STRICT, which older readers (SQLite
// before 3.37) could not open.
fn create(table: &Table) -> String {
    let mut lines = Vec::new();
    for SqlColumn { name, sql_type, of } in sql_columns(table) {
        lines.push(format!("{name} {sql_type}{}", if of.is_optional() { "" } else { " NOT NULL" }));
    }
    for column in table.columns().iter().filter(|column| column.column_type() == ColumnType::TimestampNanos) {
        let (micros, nanos) = (column.name(), nanos(column));
        let is_alike = format!("{micros} = ({nanos} - {}) / 1000", remainder(&nanos, 1_000));
        // A comparison with null is no failure of a CHECK, so that one of the two could be null alone.
        let are_both = format!("({micros} IS NULL) = ({nanos} IS NULL) AND ");
        lines.push(format!("CHECK ({}{is_alike})", if column.is_optional() { &*are_both } else { "" }));
    }
    lines.push(format!("PRIMARY KEY ({})", key(table)));
    format!("CREATE TABLE {} (\n    {}\n) WITHOUT ROWID", table.name(), lines.join(",\n    "))
}

/// The index is for reads that name a series, but not the whole key before its time.
fn index(table: &Table) -> String {
    let mut columns: Vec<String> = table.series_columns().map(|column| column.name().to_owned()).collect();
    if let Some(time) = table.time_column() {
        columns.push(time.name().to_owned());
        if time.column_type() == ColumnType::TimestampNanos {
            columns.push(nanos(time));
        }
    }
    let (name, Some(first)) = (table.name(), columns.first()) else { return String::new() };
    format!("CREATE INDEX IF NOT EXISTS {name}_by_{first} ON {name} ({});\n", columns.join(", "))
}

/// The view shows times as text, with as many digits as there are.
fn view(table: &Table) -> String {
    let (mut fractions, mut shown) = (String::new(), Vec::new());
    for column in table.columns() {
        let name = column.name();
        let (source, unit, per_second, digits) = match column.column_type() {
            ColumnType::Timestamp => (name.to_owned(), "micros", 1_000_000, 6),
            ColumnType::TimestampNanos => (nanos(column), "nanos", 1_000_000_000, 9),
            _ => {
                shown.push(name.to_owned());
                continue;
            }
        };
        // No column can be called like one of these: the first two are reserved, and the others have a blank.
        let is_time = table.time_column().is_some_and(|time| time.name() == name);
        let fraction = if is_time { unit.to_owned() } else { format!("\"{name} {unit}\"") };
        fractions.push_str(&format!(", {} AS {fraction}", remainder(&source, per_second)));
        shown.push(format!(
            "strftime('%Y-%m-%dT%H:%M:%S', ({source} - {fraction}) / {per_second}, 'unixepoch')\n        \
             || CASE {fraction} WHEN 0 THEN '' ELSE '.' || rtrim(printf('%0{digits}d', {fraction}), '0') END || 'Z' \
             AS {name}"
        ));
    }
    let (name, shown) = (table.name(), shown.join(",\n    "));
    format!(
        "CREATE VIEW IF NOT EXISTS {name}_readable AS\nWITH split AS (SELECT *{fractions} FROM {name})\n\
         SELECT {shown}\nFROM split"
    )
}

/// The view that the kind brings along.
fn own_view(table: &Table) -> String {
    let Some(view) = table.own_view() else { return String::new() };
    let (name, index, query) = (view.name, view.index_on(table.name()), view.query_of(table.name()));
    format!(";\nCREATE INDEX IF NOT EXISTS {index};\nCREATE VIEW IF NOT EXISTS {name} AS\n{query}")
}

fn upsert(table: &Table, rows: usize) -> String {
    let columns = sql_columns(table);
    let names: Vec<&str> = columns.iter().map(|column| &*column.name).collect();
    let row = |row| {
        let places: Vec<String> = (1..=names.len()).map(|place| format!("?{}", row * names.len() + place)).collect();
        format!("({})", places.join(", "))
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    let updates: Vec<String> = columns
        .iter()
        .filter(|column| !column.of.is_key())
        .map(|SqlColumn { name, .. }| format!("{name} = excluded.{name}"))
        .collect();
    let then = if updates.is_empty() { "NOTHING".to_owned() } else { format!("UPDATE SET {}", updates.join(", ")) };
    format!(
        "INSERT INTO {} ({}) VALUES {} ON CONFLICT ({}) DO {then}",
        table.name(),
        names.join(", "),
        rows.join(", "),
        key(table)
    )
}

/// The columns to read, one a column of the table: of a time in nanoseconds these.
pub(super) fn sources(table: &Table) -> Vec<String> {
    let sources = table.columns().iter().map(|column| match column.column_type() {
        ColumnType::TimestampNanos => nanos(column),
        _ => column.name().to_owned(),
    });
    sources.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Bar, Tabular};

    fn words(sql: &str) -> String {
        sql.split_whitespace().collect::<Vec<_>>().join(" ").replace("( ", "(").replace(" )", ")")
    }

    // Red when anything of the schema of bars becomes another one than files of this version have: that takes a version
    // more, with a step from this one.
    #[test]
    fn the_schema_of_bars_is_to_the_letter_that_of_its_version() {
        let sql = TableSql::new(Bar::TABLE);
        assert_eq!(
            words(&sql.create),
            words(
                "CREATE TABLE bars (vendor TEXT NOT NULL, symbol TEXT NOT NULL, timeframe TEXT NOT NULL,
                 adjustment TEXT NOT NULL, ts INTEGER NOT NULL, open REAL NOT NULL, high REAL NOT NULL,
                 low REAL NOT NULL, close REAL NOT NULL, volume REAL,
                 PRIMARY KEY (vendor, symbol, timeframe, adjustment, ts)) WITHOUT ROWID"
            )
        );
        assert_eq!(
            words(&sql.create_rest),
            words(
                "CREATE INDEX IF NOT EXISTS bars_by_symbol ON bars (symbol, timeframe, ts);
                 CREATE VIEW IF NOT EXISTS bars_readable AS
                 WITH split AS (SELECT *, ((ts % 1000000) + 1000000) % 1000000 AS micros FROM bars)
                 SELECT vendor, symbol, timeframe, adjustment,
                     strftime('%Y-%m-%dT%H:%M:%S', (ts - micros) / 1000000, 'unixepoch')
                         || CASE micros WHEN 0 THEN '' ELSE '.' || rtrim(printf('%06d', micros), '0') END || 'Z' AS ts,
                     open, high, low, close, volume
                 FROM split"
            )
        );
        assert_eq!(
            words(&sql.upsert),
            words(
                "INSERT INTO bars (vendor, symbol, timeframe, adjustment, ts, open, high, low, close, volume)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT (vendor, symbol, timeframe, adjustment, ts) DO UPDATE SET
                     open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
                     volume = excluded.volume"
            )
        );
    }
}
