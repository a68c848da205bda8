//! How a selection is read: by the primary key, in its order, without a sort and without a look at other rows.
//!
//! The key of trades begins with vendor and venue, and a reader asks for a symbol. SQLite would then read the index by
//! symbol and sort all that it finds, or scan the table. Instead each column of the key before those that are asked for
//! is gone through by seeks, one a distinct value, of which there are few; and the rows behind each are read as a range
//! of the key.

use std::ops::ControlFlow;

use rusqlite::{Connection, Row, params_from_iter, types::Value as SqlValue};

use super::sql::{key, nanos, sources};
use crate::{
    record::{Column, ColumnType, Value},
    sink::selection::Conditions,
};

/// The statements of one selection, and what is bound to them.
#[derive(Debug)]
pub(super) struct Select {
    levels: Vec<Level>,
    /// Reads the rows behind one value of each level. Those are bound first, and then `rest`.
    pub(super) rows: String,
    rest: Vec<SqlValue>,
}

/// A column at the beginning of the key.
#[derive(Debug)]
pub(super) enum Level {
    /// One after the other, in their order.
    Given(Vec<SqlValue>),
    /// Finds the first value behind those of the levels before, and the first one behind a given one.
    Sought { first: String, next: String },
}

impl Select {
    pub(super) fn new(conditions: &Conditions) -> Self {
        let table = &conditions.table;
        let columns = leading(conditions);
        let mut given = Vec::new();
        let levels = columns.iter().enumerate().map(|(at, column)| {
            match conditions.compared().find(|any_of| any_of.column == *column) {
                Some(any_of) => {
                    given.push(*column);
                    Level::Given(any_of.values.iter().map(bound).collect())
                }
                None => {
                    let sought = |further: Option<String>| {
                        let before = equal_to_bound(&columns[..at]);
                        let min = format!("SELECT min({}) FROM {}", column.name(), table.name());
                        [min, filter(before.into_iter().chain(further).collect())].concat()
                    };
                    Level::Sought {
                        first: sought(None),
                        next: sought(Some(format!("{} > ?{}", column.name(), at + 1))),
                    }
                }
            }
        });
        let levels: Vec<_> = levels.collect();

        let (mut filters, mut rest) = (equal_to_bound(&columns), Vec::new());
        let mut place = |value: SqlValue| {
            rest.push(value);
            format!("?{}", columns.len() + rest.len())
        };
        for any_of in conditions.compared().filter(|any_of| !given.contains(&any_of.column)) {
            let places: Vec<_> = any_of.values.iter().map(|value| place(bound(value))).collect();
            filters.push(format!("{} IN ({})", source(any_of.column), places.join(", ")));
        }
        for (value, micros, exact) in [(&conditions.from, ">=", ">="), (&conditions.to, "<=", "<")] {
            let (Some(value), Some(column)) = (value, table.time_column()) else { continue };
            if let Value::TimestampNanos(ts) = value {
                // The key has the microseconds first.
                let place = place(ts.floor().as_micros().into());
                filters.push(format!("{} {micros} {place}", column.name()));
            }
            filters.push(format!("{} {exact} {}", source(column), place(bound(value))));
        }
        let rows = format!(
            "SELECT {} FROM {}{} ORDER BY {}",
            sources(table).join(", "),
            table.name(),
            filter(filters),
            key(table)
        );
        Self { levels, rows, rest }
    }

    /// Shows the rows one at a time, until it is told to stop.
    pub(super) fn read(
        &self,
        connection: &Connection,
        show: &mut dyn FnMut(&Row<'_>) -> rusqlite::Result<ControlFlow<()>>,
    ) -> rusqlite::Result<()> {
        self.descend(connection, &mut Vec::new(), show).map(drop)
    }

    fn descend(
        &self,
        connection: &Connection,
        values: &mut Vec<SqlValue>,
        show: &mut dyn FnMut(&Row<'_>) -> rusqlite::Result<ControlFlow<()>>,
    ) -> rusqlite::Result<ControlFlow<()>> {
        let Some(level) = self.levels.get(values.len()) else {
            let mut statement = connection.prepare_cached(&self.rows)?;
            let mut rows = statement.query(params_from_iter(values.iter().chain(&self.rest)))?;
            while let Some(row) = rows.next()? {
                if show(row)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            return Ok(ControlFlow::Continue(()));
        };
        match level {
            Level::Given(given) => {
                for value in given {
                    values.push(value.clone());
                    let flow = self.descend(connection, values, show)?;
                    values.pop();
                    if flow.is_break() {
                        return Ok(flow);
                    }
                }
            }
            Level::Sought { first, next } => {
                let seek = |sql: &str, values: &[SqlValue]| {
                    connection.prepare_cached(sql)?.query_row(params_from_iter(values), |row| row.get::<_, SqlValue>(0))
                };
                let mut found = seek(first, values)?;
                while found != SqlValue::Null {
                    values.push(found);
                    if self.descend(connection, values, show)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    found = seek(next, values)?;
                    values.pop();
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    #[cfg(test)]
    pub(super) fn statements(&self) -> impl Iterator<Item = &String> {
        let sought = self.levels.iter().flat_map(|level| match level {
            Level::Given(_) => Vec::new(),
            Level::Sought { first, next } => vec![first, next],
        });
        sought.chain([&self.rows])
    }
}

/// Returns the columns at the beginning of the key up to the last one that is asked for, but none of a time, nor those
/// behind it, as nearly each row has a value of its own there.
fn leading(conditions: &Conditions) -> Vec<&'static Column> {
    let table = &conditions.table;
    let names = table.columns().iter().filter(|column| column.is_key()).take_while(|column| {
        matches!(column.column_type(), ColumnType::Text | ColumnType::Integer | ColumnType::Date)
            && Some(*column) != table.time_column()
    });
    let mut columns: Vec<_> = names.collect();
    let has_time = (conditions.from.is_some() || conditions.to.is_some())
        && table.time_column().is_some_and(|column| column.is_key());
    while !has_time && columns.pop_if(|column| conditions.compared().all(|any_of| any_of.column != *column)).is_some() {
    }
    columns
}

fn equal_to_bound(columns: &[&Column]) -> Vec<String> {
    columns.iter().zip(1..).map(|(column, place)| format!("{} = ?{place}", column.name())).collect()
}

fn filter(conditions: Vec<String>) -> String {
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}

/// The column that has all of a value.
fn source(column: &Column) -> String {
    match column.column_type() {
        ColumnType::TimestampNanos => nanos(column),
        _ => column.name().to_owned(),
    }
}

fn bound(value: &Value<'_>) -> SqlValue {
    match value {
        Value::Null => SqlValue::Null,
        Value::Text(text) => SqlValue::Text(text.to_string()),
        Value::Timestamp(ts) => SqlValue::Integer(ts.as_micros()),
        Value::TimestampNanos(ts) => SqlValue::Integer(ts.as_nanos()),
        Value::Float(number) => SqlValue::Real(*number),
        Value::Integer(number) => SqlValue::Integer(*number),
        Value::Date(date) => SqlValue::Text(date.to_string()),
    }
}
