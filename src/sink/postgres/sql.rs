//! The SQL of a table, made of its [`Table`].

use std::sync::atomic::AtomicBool;

use crate::record::{Column, ColumnType, Table};

/// What a comment on a table begins with that this program has made; a version follows.
pub(super) const MARK: &str = "market-data-store ";
/// The version of what all tables have in common.
pub(super) const VERSION: u32 = 1;

/// A column as PostgreSQL has it. A time in nanoseconds is two.
pub(super) struct SqlColumn {
    pub(super) name: String,
    pub(super) sql_type: SqlType,
    /// Text that is compared: by its bytes, as SQLite and this crate compare it.
    is_compared: bool,
    pub(super) of: &'static Column,
}

/// A type of PostgreSQL, with what its binary form needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SqlType {
    Text,
    Timestamp,
    BigInt,
    Double,
    Date,
}

impl SqlType {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            // As `format_type` writes it.
            Self::Timestamp => "timestamp with time zone",
            Self::BigInt => "bigint",
            Self::Double => "double precision",
            Self::Date => "date",
        }
    }
}

impl SqlColumn {
    /// Returns its type as it is declared, and as the schema is compared.
    pub(super) fn declared(&self) -> String {
        format!("{}{}", self.sql_type.name(), if self.is_compared { " COLLATE \"C\"" } else { "" })
    }
}

/// Returns the columns of a table in order.
pub(super) fn sql_columns(table: &Table) -> Vec<SqlColumn> {
    let series: Vec<&str> = table.series_columns().map(Column::name).collect();
    let mut columns = Vec::new();
    for of in table.columns() {
        let sql_type = match of.column_type() {
            ColumnType::Timestamp | ColumnType::TimestampNanos => SqlType::Timestamp,
            ColumnType::Float => SqlType::Double,
            ColumnType::Integer => SqlType::BigInt,
            ColumnType::Date => SqlType::Date,
            ColumnType::Text | ColumnType::List => SqlType::Text,
        };
        let is_compared = sql_type == SqlType::Text && (of.is_key() || series.contains(&of.name()));
        columns.push(SqlColumn { name: of.name().to_owned(), sql_type, is_compared, of });
        if of.column_type() == ColumnType::TimestampNanos {
            columns.push(SqlColumn { name: nanos(of), sql_type: SqlType::BigInt, is_compared: false, of });
        }
    }
    columns
}

/// The second column of a time in nanoseconds.
pub(super) fn nanos(column: &Column) -> String {
    format!("{}_ns", column.name())
}

/// Returns the columns of the key, in its order.
pub(super) fn key(table: &Table) -> Vec<String> {
    sql_columns(table).into_iter().filter(|column| column.of.is_key()).map(|column| column.name).collect()
}

/// Writes a name that may hold any character.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Every statement that a write to one table needs, of one schema.
pub(super) struct TableSql {
    pub(super) table: Table,
    pub(super) columns: Vec<SqlColumn>,
    /// Stores rows or updates those of the same keys. Takes an array a column, and returns how many were new.
    pub(super) upsert_counted: String,
    /// Whether the table can say how many were new, as far as is known.
    pub(super) counts: AtomicBool,
    /// The same, returning nothing.
    pub(super) upsert: String,
    pub(super) copy: String,
}

impl TableSql {
    pub(super) fn new(table: Table, schema: &str) -> Self {
        let (columns, place) = (sql_columns(&table), place(&table, Some(schema)));
        let names = columns.iter().map(|column| &*column.name).collect::<Vec<_>>().join(", ");
        let array = |(at, column): (usize, &SqlColumn)| format!("${}::{}[]", at + 1, column.sql_type.name());
        let arrays = columns.iter().enumerate().map(array).collect::<Vec<_>>().join(", ");
        let others = columns.iter().filter(|column| !column.of.is_key());
        let (mut updates, mut old, mut new) = (Vec::new(), Vec::new(), Vec::new());
        for SqlColumn { name, .. } in others {
            updates.push(format!("{name} = excluded.{name}"));
            old.push(format!("stored.{name}"));
            new.push(format!("excluded.{name}"));
        }
        // A row that would not change is left alone: an update would leave a dead one behind.
        let then = if updates.is_empty() {
            "NOTHING".to_owned()
        } else {
            let (old, new) = (old.join(", "), new.join(", "));
            format!("UPDATE SET {} WHERE ({old}) IS DISTINCT FROM ({new})", updates.join(", "))
        };
        let key = key(&table).join(", ");
        let upsert = format!(
            "INSERT INTO {place} AS stored ({names}) SELECT * FROM unnest({arrays}) ON CONFLICT ({key}) DO {then}"
        );
        Self {
            table,
            // A row that was there is locked by its update, which shows in `xmax`, or is not returned at all.
            upsert_counted: format!(
                "WITH written AS ({upsert} RETURNING xmax = 0 AS is_new) SELECT count(*) FROM written WHERE is_new"
            ),
            counts: AtomicBool::new(true),
            upsert,
            copy: format!("COPY {place} ({names}) FROM STDIN (FORMAT binary)"),
            columns,
        }
    }
}

/// Returns the table's name with its schema; without one the search path says where it is.
pub(super) fn place(table: &Table, schema: Option<&str>) -> String {
    schema.map_or_else(|| table.name().to_owned(), |schema| format!("{}.{}", quoted(schema), table.name()))
}

/// Returns the statement that makes a schema.
pub(super) fn create_schema(schema: &str) -> String {
    format!("CREATE SCHEMA IF NOT EXISTS {}", quoted(schema))
}

/// Returns the statements that make a table, its index and its comments.
pub(super) fn create(table: &Table, schema: Option<&str>) -> Vec<String> {
    let (columns, name) = (sql_columns(table), place(table, schema));
    let mut lines = Vec::new();
    for column in &columns {
        let presence = if column.of.is_optional() { "" } else { " NOT NULL" };
        lines.push(format!("{} {}{presence}", column.name, column.declared()));
    }
    lines.extend(table.columns().iter().filter_map(check));
    lines.push(format!("PRIMARY KEY ({})", key(table).join(", ")));
    let mut statements = vec![format!("CREATE TABLE {name} (\n    {}\n)", lines.join(",\n    "))];
    statements.extend(index(table, &name));
    // The comment is what the table is known by, wherever it is moved or restored to.
    let mark = format!("{MARK}{VERSION}: {}", table.name());
    statements.push(format!("COMMENT ON TABLE {name} IS {}", literal(&mark)));
    statements.extend(columns.iter().filter_map(|column| comment(column, &name)));
    statements.extend(hypertable(table, &name));
    statements.extend(own_view(table, &name).into_iter().flatten());
    statements
}

/// Makes the view that the kind brings along, beside its table.
fn own_view(table: &Table, place: &str) -> Option<[String; 2]> {
    let view = table.own_view()?;
    let schema = place.strip_suffix(table.name())?;
    Some([
        format!("CREATE INDEX {}", view.index_on(place)),
        format!("CREATE VIEW {schema}{} AS\n{}", view.name, view.query_of(place)),
    ])
}

/// Makes a hypertable of a table, where there is the extension: in whatever schema its functions are.
fn hypertable(table: &Table, place: &str) -> Option<String> {
    let (days, time) = (table.days_of_chunk()?, table.time_column()?.name());
    Some(format!(
        "DO $do$ DECLARE of_extension text; BEGIN\n    \
         SELECT n.nspname INTO of_extension FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace \
         WHERE e.extname = 'timescaledb';\n    \
         IF of_extension IS NOT NULL THEN\n        \
         EXECUTE format('SELECT %I.create_hypertable(%L::regclass, %L::name, chunk_time_interval => interval %L, \
         create_default_indexes => false)', of_extension, {}, {}, '{days} days');\n    END IF;\nEND $do$",
        literal(place),
        literal(time)
    ))
}

/// Returns the statements that add a column to a table that is there.
pub(super) fn add(table: &Table, schema: &str, column: &'static Column) -> Vec<String> {
    let name = place(table, Some(schema));
    let columns: Vec<SqlColumn> = sql_columns(table).into_iter().filter(|one| one.of == column).collect();
    let mut changes: Vec<String> =
        columns.iter().map(|one| format!("ADD COLUMN {} {}", one.name, one.declared())).collect();
    changes.extend(check(column).map(|check| format!("ADD {check}")));
    let mut statements = vec![format!("ALTER TABLE {name} {}", changes.join(", "))];
    statements.extend(columns.iter().filter_map(|column| comment(column, &name)));
    statements
}

fn comment(column: &SqlColumn, place: &str) -> Option<String> {
    let text = column.of.comment_text();
    let text = if column.name == column.of.name() { text.to_owned() } else { format!("{text}, in ns since 1970") };
    (!column.of.comment_text().is_empty())
        .then(|| format!("COMMENT ON COLUMN {place}.{} IS {}", column.name, literal(&text)))
}

/// Ties the two columns of a time in nanoseconds together: the first is the second, rounded down.
fn check(column: &Column) -> Option<String> {
    if column.column_type() != ColumnType::TimestampNanos {
        return None;
    }
    let (micros, nanos) = (column.name(), nanos(column));
    // A division rounds towards zero, and a time before 1970 has to be rounded down too.
    // Nothing is subtracted from the nanoseconds, which may be the least there are.
    let floor = format!("({nanos} / 1000 - ({nanos} % 1000 < 0)::int)");
    // Seconds and microseconds apart: each is exact as a floating-point number, which is what multiplies an interval.
    let is_alike = format!(
        "{micros} = timestamptz 'epoch' + {floor} / 1000000 * interval '1 second' \
         + {floor} % 1000000 * interval '1 microsecond'"
    );
    // A comparison with null is no failure of a CHECK, so that one of the two could be null alone.
    let are_both = format!("({micros} IS NULL) = ({nanos} IS NULL) AND ");
    Some(format!("CHECK ({}{is_alike})", if column.is_optional() { &*are_both } else { "" }))
}

/// The index is for reads that name a series, but not the whole key before its time.
fn index(table: &Table, place: &str) -> Option<String> {
    let mut columns: Vec<String> = table.series_columns().map(|column| column.name().to_owned()).collect();
    if let Some(time) = table.time_column() {
        columns.push(time.name().to_owned());
        if time.column_type() == ColumnType::TimestampNanos {
            columns.push(nanos(time));
        }
    }
    let first = columns.first()?;
    Some(format!("CREATE INDEX {}_by_{first} ON {place} ({})", table.name(), columns.join(", ")))
}
