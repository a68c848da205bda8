//! How a selection is read: by the primary key, in its order, without a sort and without a look at other rows.
//!
//! The key of trades begins with vendor and venue, and a reader asks for a symbol. SQLite would then read the index by
//! symbol and sort all that it finds, or scan the table. Instead each column of the key before those that are asked for
//! is gone through by seeks, one a distinct value, of which there are few; and the rows behind each are read as a range
//! of the key. A read that goes on behind a key begins each level at the value of that key.

use std::{cmp::Ordering, ops::ControlFlow};

use rusqlite::{Connection, Row, params_from_iter, types::Value as SqlValue};

use super::sql::{key, nanos, sources};
use crate::{
    record::{Column, ColumnType, Value},
    sink::selection::{Conditions, compare},
};

/// The statements of one selection.
#[derive(Debug)]
pub(super) struct Select {
    levels: Vec<Level>,
    /// Reads the rows of one value of each level.
    rows: Rows,
    /// Reads those of them that lie behind the key at which the read goes on, where the levels have its values. None if
    /// it does not go on, or its levels are the whole key.
    rows_behind: Option<Rows>,
    /// Whether the read goes on behind a key.
    is_behind: bool,
}

/// A statement, and what is bound to it after the values of the levels.
#[derive(Debug)]
struct Rows {
    sql: String,
    rest: Vec<SqlValue>,
}

/// A column at the beginning of the key.
#[derive(Debug)]
enum Level {
    /// One after the other, in their order, each with how it compares with that of the key at which the read goes on.
    Given(Vec<(SqlValue, Ordering)>),
    /// Finds the first value behind those of the levels before, and the first one behind a given one. `begin` is that of
    /// the key at which the read goes on.
    Sought { first: String, next: String, begin: Option<SqlValue> },
}

impl Select {
    pub(super) fn new(conditions: &Conditions) -> Self {
        let table = &conditions.table;
        let columns = leading(conditions);
        // The levels are the first columns of the key, and so are their values.
        let begin = |at: usize| conditions.after.as_ref().and_then(|key| key.get(at));
        let levels = columns.iter().enumerate().map(|(at, column)| {
            match conditions.compared().find(|any_of| any_of.column == *column) {
                Some(any_of) => {
                    let order = |value: &Value<'_>| begin(at).map_or(Ordering::Greater, |begin| compare(value, begin));
                    Level::Given(any_of.values.iter().map(|value| (bound(value), order(value))).collect())
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
                        begin: begin(at).map(bound),
                    }
                }
            }
        });
        let levels: Vec<_> = levels.collect();
        let keys = table.columns().iter().filter(|column| column.is_key());
        let behind = conditions.after.as_ref().map(|after| keys.zip(after).skip(columns.len()).collect::<Vec<_>>());
        let is_behind = behind.is_some();
        let rows_behind = behind.filter(|behind| !behind.is_empty());
        Self {
            levels,
            rows: Rows::new(conditions, &columns, &[]),
            rows_behind: rows_behind.map(|behind| Rows::new(conditions, &columns, &behind)),
            is_behind,
        }
    }

    /// Shows the rows one at a time, until it is told to stop.
    pub(super) fn read(
        &self,
        connection: &Connection,
        show: &mut dyn FnMut(&Row<'_>) -> rusqlite::Result<ControlFlow<()>>,
    ) -> rusqlite::Result<()> {
        self.descend(connection, &mut Vec::new(), self.is_behind, show).map(drop)
    }

    /// `is_at_key`: the values are those of the key at which the read goes on.
    fn descend(
        &self,
        connection: &Connection,
        values: &mut Vec<SqlValue>,
        is_at_key: bool,
        show: &mut dyn FnMut(&Row<'_>) -> rusqlite::Result<ControlFlow<()>>,
    ) -> rusqlite::Result<ControlFlow<()>> {
        let Some(level) = self.levels.get(values.len()) else {
            let rows = if is_at_key { self.rows_behind.as_ref() } else { Some(&self.rows) };
            let Some(Rows { sql, rest }) = rows else { return Ok(ControlFlow::Continue(())) };
            let mut statement = connection.prepare_cached(sql)?;
            let mut rows = statement.query(params_from_iter(values.iter().chain(rest)))?;
            while let Some(row) = rows.next()? {
                if show(row)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            return Ok(ControlFlow::Continue(()));
        };
        match level {
            Level::Given(given) => {
                for (value, order) in given.iter().filter(|(_, order)| !is_at_key || order.is_ge()) {
                    values.push(value.clone());
                    let flow = self.descend(connection, values, is_at_key && order.is_eq(), show)?;
                    values.pop();
                    if flow.is_break() {
                        return Ok(flow);
                    }
                }
            }
            Level::Sought { first, next, begin } => {
                let seek = |sql: &str, values: &[SqlValue]| {
                    connection.prepare_cached(sql)?.query_row(params_from_iter(values), |row| row.get::<_, SqlValue>(0))
                };
                let begin = begin.as_ref().filter(|_| is_at_key);
                let mut is_at_key = begin.is_some();
                let mut found = begin.map_or_else(|| seek(first, values), |begin| Ok(begin.clone()))?;
                while found != SqlValue::Null {
                    values.push(found);
                    if self.descend(connection, values, is_at_key, show)?.is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    is_at_key = false;
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
            Level::Sought { first, next, .. } => vec![first, next],
        });
        sought.chain([&self.rows.sql]).chain(self.rows_behind.as_ref().map(|rows| &rows.sql))
    }
}

impl Rows {
    /// `levels` are equal to what is bound; the rest of the key lies behind these values.
    fn new(conditions: &Conditions, levels: &[&Column], behind: &[(&Column, &Value<'_>)]) -> Self {
        let table = &conditions.table;
        let (mut filters, mut rest) = (equal_to_bound(levels), Vec::new());
        let mut place = |value: SqlValue| {
            rest.push(value);
            format!("?{}", levels.len() + rest.len())
        };
        if !behind.is_empty() {
            let (mut names, mut places) = (Vec::new(), Vec::new());
            for (column, value) in behind {
                if let Value::TimestampNanos(ts) = value {
                    names.push(column.name().to_owned());
                    places.push(place(ts.floor().as_micros().into()));
                }
                names.push(source(column));
                places.push(place(bound(value)));
            }
            filters.push(format!("({}) > ({})", names.join(", "), places.join(", ")));
        }
        for any_of in conditions.compared().filter(|any_of| !levels.contains(&any_of.column)) {
            let places: Vec<_> = any_of.values.iter().map(|value| place(bound(value))).collect();
            filters.push(format!("{} IN ({})", source(any_of.column), places.join(", ")));
        }
        // One beginning alone can be sought, and a plus keeps this one from it: it lies before the key.
        let from = if behind.is_empty() { "" } else { "+" };
        for (value, sign, micros, exact) in [(&conditions.from, from, ">=", ">="), (&conditions.to, "", "<=", "<")] {
            let (Some(value), Some(column)) = (value, table.time_column()) else { continue };
            if let Value::TimestampNanos(ts) = value {
                // The key has the microseconds first.
                let place = place(ts.floor().as_micros().into());
                filters.push(format!("{sign}{} {micros} {place}", column.name()));
            }
            filters.push(format!("{sign}{} {exact} {}", source(column), place(bound(value))));
        }
        let sql = format!(
            "SELECT {} FROM {}{} ORDER BY {}",
            sources(table).join(", "),
            table.name(),
            filter(filters),
            key(table)
        );
        Self { sql, rest }
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
