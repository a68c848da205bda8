//! Files with exactly our own columns, as `mds query` writes them: taken as they are written, but for times where an option
//! says how they are read.

use std::borrow::Cow;

use super::json_object::said;
use crate::{
    files::{numbers::number, row_error::RowError, times::NanoTimes},
    record::{ColumnType, StoredRow, Tabular, Timestamp, TimestampNanos, Value},
    text::Quoted,
};

/// Returns whether these are the columns of the table, in its order.
pub(super) fn are_own<T: Tabular>(names: &[impl AsRef<str>]) -> bool {
    let columns = T::TABLE.columns();
    names.len() == columns.len() && names.iter().zip(columns).all(|(name, column)| name.as_ref() == column.name())
}

/// Returns whether all of these are columns of the table: of a JSON object those that it leaves out may be optional.
pub(super) fn are_of_own<T: Tabular>(names: &[impl AsRef<str>]) -> bool {
    names.iter().all(|name| T::TABLE.columns().iter().any(|column| column.name() == name.as_ref()))
}

/// Makes a record of the cells of a row. An empty cell of an optional column is none.
pub(super) fn record_of<'a, T: Tabular>(
    cells: impl Iterator<Item = &'a str>,
    times: &NanoTimes,
) -> Result<T, RowError> {
    let mut values = Vec::with_capacity(T::TABLE.columns().len());
    for (column, cell) in T::TABLE.columns().iter().zip(cells) {
        if cell.is_empty() && column.is_optional() {
            values.push(Value::Null);
            continue;
        }
        let (name, quoted) = (column.name(), Quoted(cell));
        values.push(match column.column_type() {
            ColumnType::Text | ColumnType::List => Value::Text(Cow::Borrowed(cell)),
            ColumnType::Timestamp if times.are_said() => Value::Timestamp(in_micros(name, times.read(name, cell)?)?),
            ColumnType::TimestampNanos if times.are_said() => Value::TimestampNanos(times.read(name, cell)?),
            ColumnType::Timestamp => Value::Timestamp(cell.parse().map_err(|error| format!("{name}: {error}"))?),
            ColumnType::TimestampNanos => {
                Value::TimestampNanos(cell.parse().map_err(|error| format!("{name}: {error}"))?)
            }
            // What is too small or too large for a number is none, and not 0.
            ColumnType::Float => Value::Float(number(name, cell)?),
            ColumnType::Integer => {
                let number = cell.parse().map_err(|_| format!("{name}: expected a whole number, got {quoted}"))?;
                Value::Integer(number)
            }
            ColumnType::Date => Value::Date(cell.parse().map_err(|error| format!("{name}: {error}"))?),
        });
    }
    T::from_row(&StoredRow::new(&T::TABLE, &values)).map_err(|invalid| invalid.to_string().into())
}

/// Makes a record of an object of our own fields.
pub(super) fn record_of_object<T: Tabular>(text: &str, times: &NanoTimes) -> Result<T, RowError> {
    let say = |error: serde_json::Error| RowError::from(said(&error));
    if !times.are_said() {
        return serde_json::from_str(text).map_err(say);
    }
    let mut object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).map_err(say)?;
    for column in T::TABLE.columns() {
        let (name, column_type) = (column.name(), column.column_type());
        let is_time = matches!(column_type, ColumnType::Timestamp | ColumnType::TimestampNanos);
        let Some(value) = object.get_mut(name).filter(|value| is_time && !value.is_null()) else { continue };
        let ts = match value.as_str() {
            Some(text) => times.read(name, text)?,
            None => times.read(name, &value.to_string())?,
        };
        let text = match column_type {
            ColumnType::Timestamp => in_micros(name, ts)?.to_string(),
            _ => ts.to_string(),
        };
        *value = serde_json::Value::String(text);
    }
    serde_json::from_value(serde_json::Value::Object(object)).map_err(say)
}

fn in_micros(name: &str, ts: TimestampNanos) -> Result<Timestamp, RowError> {
    Timestamp::from_nanos(ts.as_nanos()).map_err(|error| format!("{name}: {error}").into())
}
