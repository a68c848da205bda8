//! Files with exactly our own columns, as `mds query` writes them: taken as they are written.

use std::borrow::Cow;

use crate::{
    files::numbers::number,
    record::{ColumnType, StoredRow, Tabular, Value},
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
pub(super) fn record_of<'a, T: Tabular>(cells: impl Iterator<Item = &'a str>) -> Result<T, String> {
    let mut values = Vec::with_capacity(T::TABLE.columns().len());
    for (column, cell) in T::TABLE.columns().iter().zip(cells) {
        if cell.is_empty() && column.is_optional() {
            values.push(Value::Null);
            continue;
        }
        let (name, quoted) = (column.name(), Quoted(cell));
        values.push(match column.column_type() {
            ColumnType::Text | ColumnType::List => Value::Text(Cow::Borrowed(cell)),
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
    T::from_row(&StoredRow::new(&T::TABLE, &values)).map_err(|invalid| invalid.to_string())
}
