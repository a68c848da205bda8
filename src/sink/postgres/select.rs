//! The statement of a selection, and the values of the rows that it returns.

use tokio_postgres::{
    Row,
    types::{FromSql, ToSql, Type},
};

use super::{
    rows::{Bound, EPOCH_MICROS, array_type, date_of},
    sql::{SqlColumn, key, nanos, place, sql_columns},
};
use crate::{
    record::{Column, ColumnType, Invalid, Misfit, Table, Timestamp, TimestampNanos, Value},
    sink::selection::Conditions,
};

/// A statement with what is bound to it. The server decides how it finds the rows.
pub(super) struct Select {
    pub(super) sql: String,
    pub(super) types: Vec<Type>,
    bound: Vec<Bound>,
}

impl Select {
    /// # Errors
    /// A value is none that PostgreSQL has.
    pub(super) fn new(conditions: &Conditions, schema: &str) -> Result<Self, Invalid> {
        let table = &conditions.table;
        let (columns, mut filters, mut types, mut bound) = (sql_columns(table), Vec::new(), Vec::new(), Vec::new());
        for any_of in conditions.compared() {
            let column = source(&columns, any_of.column);
            bound.push(Bound::array(column.sql_type, any_of.column, &any_of.values)?);
            types.push(array_type(column.sql_type));
            filters.push(format!("{} = ANY (${})", column.name, bound.len()));
        }
        for (value, rounded, exact) in [(&conditions.from, ">=", ">="), (&conditions.to, "<=", "<")] {
            let (Some(value), Some(time)) = (value, table.time_column()) else { continue };
            let of_time = columns.iter().filter(|column| column.of == time);
            for (column, one) in of_time.zip(Bound::each(time, value)?) {
                // The microseconds of a time in nanoseconds are rounded down.
                let is_exact = column.name == source(&columns, time).name;
                bound.push(one);
                types.push(column.sql_type.postgres_type());
                filters.push(format!("{} {} ${}", column.name, if is_exact { exact } else { rounded }, bound.len()));
            }
        }
        if let Some(after) = &conditions.after {
            let mut places = Vec::new();
            for (of, value) in table.columns().iter().filter(|column| column.is_key()).zip(after) {
                for (column, one) in columns.iter().filter(|column| column.of == of).zip(Bound::each(of, value)?) {
                    bound.push(one);
                    types.push(column.sql_type.postgres_type());
                    places.push(format!("${}", bound.len()));
                }
            }
            filters.push(format!("({}) > ({})", key(table).join(", "), places.join(", ")));
        }
        let names: Vec<&str> = table.columns().iter().map(|column| &*source(&columns, column).name).collect();
        let filter = if filters.is_empty() { String::new() } else { format!(" WHERE {}", filters.join(" AND ")) };
        let limit = conditions.limit_of_rows().map(|rows| format!(" LIMIT {rows}")).unwrap_or_default();
        let (names, place, key) = (names.join(", "), place(table, Some(schema)), key(table).join(", "));
        Ok(Self { sql: format!("SELECT {names} FROM {place}{filter} ORDER BY {key}{limit}"), types, bound })
    }

    pub(super) fn bound(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.bound.iter().map(|one| one as _).collect()
    }
}

/// Returns the column that has all of a value.
fn source<'a>(columns: &'a [SqlColumn], of: &Column) -> &'a SqlColumn {
    let name = if of.column_type() == ColumnType::TimestampNanos { nanos(of) } else { of.name().to_owned() };
    columns.iter().find(|column| column.name == name).expect("each column of the table is among those of its SQL")
}

/// Takes a row of a [`Select`], and what in it is no value of its column.
pub(super) fn stored<'a>(row: &'a Row, table: &Table) -> (Vec<Value<'a>>, Vec<Misfit>) {
    let (mut values, mut misfits) = (Vec::with_capacity(row.len()), Vec::new());
    for (at, column) in table.columns().iter().enumerate() {
        values.push(value(row, at, column.column_type()).unwrap_or_else(|problem| {
            misfits.push((at, problem));
            Value::Null
        }));
    }
    (values, misfits)
}

fn value<'a>(row: &'a Row, at: usize, column: ColumnType) -> Result<Value<'a>, String> {
    fn get<'a, T: FromSql<'a>>(row: &'a Row, at: usize) -> Result<Option<T>, String> {
        row.try_get(at).map_err(|error| error.to_string())
    }
    Ok(match column {
        ColumnType::Text | ColumnType::List => get::<&str>(row, at)?.into(),
        ColumnType::Integer => get::<i64>(row, at)?.into(),
        ColumnType::Float => get::<f64>(row, at)?.into(),
        ColumnType::TimestampNanos => get::<i64>(row, at)?.map(TimestampNanos::from_nanos).into(),
        ColumnType::Timestamp => match get::<Since2000<i64>>(row, at)? {
            None => Value::Null,
            Some(Since2000(micros)) => match micros.checked_add(EPOCH_MICROS) {
                // What is infinite is the greatest and the least number.
                Some(since_1970) if micros != i64::MIN => Timestamp::from_micros(since_1970).into(),
                _ => return Err("expected a time, got one that is infinite or out of range".to_owned()),
            },
        },
        ColumnType::Date => match get::<Since2000<i32>>(row, at)? {
            None => Value::Null,
            Some(Since2000(days)) => match date_of(days) {
                Some(date) => date.into(),
                None => return Err("expected a date from the year 1 to 9999, got another one".to_owned()),
            },
        },
    })
}

/// What PostgreSQL counts from the first of the year 2000.
struct Since2000<T>(T);

impl FromSql<'_> for Since2000<i64> {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::TIMESTAMPTZ
    }
}

impl FromSql<'_> for Since2000<i32> {
    fn from_sql(_: &Type, raw: &[u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(i32::from_be_bytes(raw.try_into()?)))
    }

    fn accepts(of: &Type) -> bool {
        *of == Type::DATE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        record::{News, Tabular, Trade},
        sink::selection::Selection,
    };

    fn sql<T: Tabular>(selection: &Selection<T>) -> String {
        Select::new(selection.conditions(), "s").unwrap().sql
    }

    // Red when a value is a part of the text, an end of the time is taken the other way, or the server is to cut what is
    // still to be looked at.
    #[test]
    fn a_selection_is_a_statement_with_bound_values() {
        let trades = Selection::<Trade>::new().any_of("symbol", ["E'S", "NQ"]).unwrap().from("2024-01-02").unwrap();
        let trades = sql(&trades.to("2024-01-03").unwrap().limit(5));
        let (head, filter) = trades.split_once(" WHERE ").unwrap();
        assert!(head.starts_with("SELECT vendor, venue, symbol, ts_ns, id, ") && head.ends_with("FROM \"s\".trades"));
        assert_eq!(
            filter,
            "symbol = ANY ($1) AND ts >= $2 AND ts_ns >= $3 AND ts <= $4 AND ts_ns < $5 \
             ORDER BY vendor, venue, symbol, ts, ts_ns, id LIMIT 5"
        );
        let news = sql(&Selection::<News>::new().any_of("symbols", ["SPY"]).unwrap().limit(5));
        assert!(news.ends_with("FROM \"s\".news ORDER BY vendor, id"), "{news}");
    }

    // Red when a page passes over those before it, or the server is not told how many rows it has at most.
    #[cfg(feature = "serve")]
    #[test]
    fn what_lies_behind_a_key_is_a_part_of_the_statement() {
        let key = ["acme", "CME", "ES", "2024-01-02T14:30:00.000000001Z", "7"].map(str::to_owned);
        let trades = Selection::<Trade>::new().any_of("symbol", ["ES"]).unwrap().after(&key).unwrap().limit(5);
        let trades = sql(&trades);
        assert_eq!(
            trades.split_once(" WHERE ").unwrap().1,
            "symbol = ANY ($1) AND (vendor, venue, symbol, ts, ts_ns, id) > ($2, $3, $4, $5, $6, $7) \
             ORDER BY vendor, venue, symbol, ts, ts_ns, id LIMIT 5"
        );
    }
}
