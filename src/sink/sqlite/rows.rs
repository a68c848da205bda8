//! How records become rows, and rows records.

use rusqlite::{Connection, Statement, types::ValueRef};

use super::{super::Batch, sql::TableSql};
use crate::{
    record::{Column, ColumnType, Date, Invalid, Misfit, Row, Tabular, Timestamp, TimestampNanos, Value},
    text::Quoted,
};

/// Records of any kind that are written together.
pub(super) trait Rows: Send {
    fn len(&self) -> usize;
    fn upsert(&self, connection: &Connection, sql: &TableSql) -> rusqlite::Result<()>;
}

impl<T: Tabular> Rows for Batch<T> {
    fn len(&self) -> usize {
        <[T]>::len(self)
    }

    /// Those of a partition key one after the other, so that the last update of a key wins, and one partition key after the
    /// other, since rows that lie together in the table are found faster. Several a statement, since to begin and to end
    /// one takes SQLite a tenth of the time.
    fn upsert(&self, connection: &Connection, sql: &TableSql) -> rusqlite::Result<()> {
        let mut records: Vec<&T> = self.iter().collect();
        // Stable: those of one partition key stay in order.
        records.sort_by(|a, b| a.partition_key().cmp(b.partition_key()));
        let (whole, rest) = records.split_at(records.len() - records.len() % sql.rows);
        upsert(connection, &sql.upsert_rows, sql.rows, whole)?;
        upsert(connection, &sql.upsert, 1, rest)
    }
}

/// Runs a statement of so many rows for records that are a multiple of it.
fn upsert<T: Tabular>(connection: &Connection, sql: &str, rows: usize, records: &[&T]) -> rusqlite::Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    let mut statement = connection.prepare_cached(sql)?;
    let parameters = statement.parameter_count() / rows;
    let mut row = Row::new(&T::TABLE);
    // What the statement has still bound.
    let mut bound = vec![row.clone(); rows];
    for records in records.chunks(rows) {
        for (at, (record, before)) in records.iter().zip(&mut bound).enumerate() {
            row.fill(*record);
            bind(&mut statement, at * parameters, T::TABLE.columns(), row.values(), before.values())?;
            std::mem::swap(&mut row, before);
        }
        statement.raw_execute()?;
    }
    Ok(())
}

/// Binds a row behind the first `parameters`. The statement has still bound what the row `before` was stored with there,
/// if it has values.
fn bind(
    statement: &mut Statement<'_>,
    parameters: usize,
    columns: &[Column],
    row: &[Value<'_>],
    before: &[Value<'_>],
) -> rusqlite::Result<()> {
    let mut next = parameters + 1;
    for (at, (column, value)) in columns.iter().zip(row).enumerate() {
        // Of the column, as null does not show that it takes two.
        let place = next;
        next += if column.column_type() == ColumnType::TimestampNanos { 2 } else { 1 };
        match value {
            Value::Integer(number) => statement.raw_bind_parameter(place, number)?,
            // SQLite makes null of NaN, and JSON has no infinite number.
            Value::Float(number) if !number.is_finite() => {
                return Err(refused(column, format!("expected a finite number, got {number}")));
            }
            Value::Float(number) => statement.raw_bind_parameter(place, number)?,
            Value::Timestamp(ts) => statement.raw_bind_parameter(place, ts.as_micros())?,
            Value::TimestampNanos(ts) => {
                statement.raw_bind_parameter(place, ts.floor().as_micros())?;
                statement.raw_bind_parameter(place + 1, ts.as_nanos())?;
            }
            // SQLite copies each text that is bound, which takes longer than all the numbers; mostly it is the same
            // again.
            same if before.get(at) == Some(same) => {}
            // Most programs and functions of SQLite end a text there.
            Value::Text(text) if text.contains('\0') => {
                return Err(refused(column, format!("expected no NUL, got {}", Quoted(text))));
            }
            Value::Text(text) => statement.raw_bind_parameter(place, text.as_ref())?,
            Value::Date(date) => statement.raw_bind_parameter(place, date.to_string())?,
            Value::Null => {
                for place in place..next {
                    statement.raw_bind_parameter(place, rusqlite::types::Null)?;
                }
            }
        }
    }
    Ok(())
}

/// The error of a value that the table must not hold.
#[cold]
fn refused(column: &Column, problem: String) -> rusqlite::Error {
    rusqlite::Error::ToSqlConversionFailure(Box::new(Invalid::new(column.name(), problem)))
}

/// Takes a row whose columns are those of a table, and what in it is no value of its column.
pub(super) fn stored<'a>(
    row: &'a rusqlite::Row<'_>,
    columns: &[Column],
) -> rusqlite::Result<(Vec<Value<'a>>, Vec<Misfit>)> {
    let (mut values, mut misfits) = (Vec::with_capacity(columns.len()), Vec::new());
    for (at, column) in columns.iter().enumerate() {
        values.push(value(row.get_ref(at)?, column.column_type()).unwrap_or_else(|problem| {
            misfits.push((at, problem));
            Value::Null
        }));
    }
    Ok((values, misfits))
}

/// Returns the value of a column; what another program wrote may be of any type.
fn value(value: ValueRef<'_>, column: ColumnType) -> Result<Value<'_>, String> {
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| "expected a text in UTF-8".to_owned());
    Ok(match (column, value) {
        (_, ValueRef::Null) => Value::Null,
        (ColumnType::Text | ColumnType::List, ValueRef::Text(bytes)) => text(bytes)?.into(),
        (ColumnType::Date, ValueRef::Text(bytes)) => {
            text(bytes)?.parse::<Date>().map_err(|error| error.to_string())?.into()
        }
        (ColumnType::Timestamp, ValueRef::Integer(micros)) => Timestamp::from_micros(micros).into(),
        (ColumnType::TimestampNanos, ValueRef::Integer(nanos)) => TimestampNanos::from_nanos(nanos).into(),
        (ColumnType::Integer, ValueRef::Integer(number)) => number.into(),
        (ColumnType::Float, ValueRef::Real(number)) => number.into(),
        // Rounds as SQLite's own comparison does.
        (ColumnType::Float, ValueRef::Integer(number)) => (number as f64).into(),
        (ColumnType::Float, found) => return Err(format!("expected a number, got {}", found.data_type())),
        (ColumnType::Text | ColumnType::List | ColumnType::Date, found) => {
            return Err(format!("expected a text, got {}", found.data_type()));
        }
        (_, found) => return Err(format!("expected an integer, got {}", found.data_type())),
    })
}
