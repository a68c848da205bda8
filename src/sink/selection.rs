//! Which records are read: a plain value, checked against the table and rendered by each database.

use std::{cmp::Ordering, marker::PhantomData};

use crate::{
    record::{Column, ColumnType, StoredRow, Table, Tabular, Value},
    text::Quoted,
};

/// Which records of type `T` are read: by default all of them. They always come in the order of the key.
///
/// What it asks for must all hold of a record. It is checked against [`Tabular::TABLE`] while it is made, and values are
/// texts as a user or a URL has them. A database never gets them as a part of its SQL.
///
/// ```
/// use market_data_store::{Trade, sink::Selection};
///
/// let morning = Selection::<Trade>::new()
///     .any_of("symbol", ["ES", "NQ"])?
///     .from("2024-01-02T14:30:00Z")?
///     .to("2024-01-02T15:00:00Z")?
///     .limit(1_000);
/// let error = Selection::<Trade>::new().any_of("price", ["high"]).unwrap_err();
/// assert_eq!(error.to_string(), "price: expected a finite number, got \"high\"");
/// # Ok::<(), market_data_store::sink::InvalidSelection>(())
/// ```
#[derive(Clone, Debug)]
pub struct Selection<T> {
    conditions: Conditions,
    record: PhantomData<fn() -> T>,
}

/// The same without the type.
#[derive(Clone, Debug)]
pub(super) struct Conditions {
    pub(super) table: Table,
    pub(super) any_of: Vec<AnyOf>,
    /// Values of the table's time.
    pub(super) from: Option<Value<'static>>,
    pub(super) to: Option<Value<'static>>,
    pub(super) limit: Option<u64>,
    /// Values of the key, in the order of its columns: only rows behind it are read.
    pub(super) after: Option<Vec<Value<'static>>>,
}

/// A column, and the values of which it has one: in their order, none twice.
#[derive(Clone, Debug)]
pub(super) struct AnyOf {
    pub(super) column: &'static Column,
    pub(super) values: Vec<Value<'static>>,
}

/// Says what is wrong with a selection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {problem}")]
pub struct InvalidSelection {
    /// The column as it was given, or `from` or `to`.
    pub what: String,
    /// What is wrong and what was expected.
    pub problem: String,
}

impl InvalidSelection {
    fn new(what: &str, problem: impl Into<String>) -> Self {
        Self { what: what.to_owned(), problem: problem.into() }
    }
}

impl<T: Tabular> Selection<T> {
    /// Makes one that selects every record.
    pub fn new() -> Self {
        let conditions =
            Conditions { table: T::TABLE, any_of: Vec::new(), from: None, to: None, limit: None, after: None };
        Self { conditions, record: PhantomData }
    }

    /// Keeps the records whose column is equal to one of these values, as they are stored; of a column of lists those
    /// whose list has one of them. Further values for the same column join the others.
    ///
    /// # Errors
    /// The table has no such column, or a value is none of its type. There is no value that stands for null.
    pub fn any_of<V: AsRef<str>>(
        mut self,
        column: &str,
        values: impl IntoIterator<Item = V>,
    ) -> Result<Self, InvalidSelection> {
        let columns = T::TABLE.columns();
        let Some(column) = columns.iter().find(|other| other.name() == column) else {
            let names: Vec<_> = columns.iter().map(Column::name).collect();
            let problem = format!("expected a column of {}: {}", T::TABLE.name(), names.join(", "));
            return Err(InvalidSelection::new(column, problem));
        };
        let mut parsed = Vec::new();
        for value in values {
            let value = parse(column, value.as_ref());
            parsed.push(value.map_err(|problem| InvalidSelection::new(column.name(), problem))?);
        }
        if parsed.is_empty() {
            return Err(InvalidSelection::new(column.name(), "expected a value"));
        }
        let all = &mut self.conditions.any_of;
        let at = all.iter().position(|other| other.column == column).unwrap_or_else(|| {
            all.push(AnyOf { column, values: Vec::new() });
            all.len() - 1
        });
        let values = &mut all[at].values;
        values.extend(parsed);
        values.sort_by(compare);
        values.dedup();
        Ok(self)
    }

    /// Keeps the records of this time and later ones, by the table's [time](Table::time_column): a time as
    /// [`Timestamp`](crate::Timestamp) reads it, UTC where it has no offset; a date alone is that date at 00:00.
    ///
    /// # Errors
    /// It is no time, lies behind the one of [`to`](Self::to), or the table has no time. A table whose time is a date takes
    /// dates alone.
    pub fn from(mut self, time: &str) -> Result<Self, InvalidSelection> {
        self.conditions.from = Some(time_of::<T>("from", time)?);
        self.ordered("from", "expected a time that is not behind the one of `to`")
    }

    /// Keeps the records before this time.
    ///
    /// # Errors
    /// As [`from`](Self::from).
    pub fn to(mut self, time: &str) -> Result<Self, InvalidSelection> {
        self.conditions.to = Some(time_of::<T>("to", time)?);
        self.ordered("to", "expected a time that is not before the one of `from`")
    }

    /// Reads so many at most: the first in the order of the key.
    #[must_use]
    pub fn limit(mut self, records: u64) -> Self {
        self.conditions.limit = Some(records);
        self
    }

    /// Keeps the records behind a key, whose values are texts in the order of its columns: what [`Self::key_of`] returns.
    ///
    /// # Errors
    /// These are no values of the key.
    #[cfg(feature = "serve")]
    pub(crate) fn after(mut self, key: &[String]) -> Result<Self, InvalidSelection> {
        let columns: Vec<_> = T::TABLE.columns().iter().filter(|column| column.is_key()).collect();
        let wrong = |problem: String| InvalidSelection::new("cursor", problem);
        if columns.len() != key.len() {
            return Err(wrong("expected one that was returned for records of this kind".to_owned()));
        }
        let values: Result<_, _> = columns.iter().zip(key).map(|(column, text)| parse(column, text)).collect();
        self.conditions.after = Some(values.map_err(wrong)?);
        Ok(self)
    }

    /// Returns the key of a row as texts; none where one of its values is none of its column.
    #[cfg(feature = "serve")]
    pub(crate) fn key_of(row: &StoredRow<'_>) -> Option<Vec<String>> {
        row.key().map(|key| key.iter().map(ToString::to_string).collect())
    }

    pub(super) fn conditions(&self) -> &Conditions {
        &self.conditions
    }

    fn ordered(self, what: &str, problem: &str) -> Result<Self, InvalidSelection> {
        if let (Some(from), Some(to)) = (&self.conditions.from, &self.conditions.to)
            && compare(from, to) == Ordering::Greater
        {
            return Err(InvalidSelection::new(what, problem));
        }
        Ok(self)
    }
}

impl<T: Tabular> Default for Selection<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl Conditions {
    /// Returns those on the columns that a database compares; lists are JSON there.
    pub(super) fn compared(&self) -> impl Iterator<Item = &AnyOf> {
        self.any_of.iter().filter(|any_of| any_of.column.column_type() != ColumnType::List)
    }

    /// Returns how many rows a database has to find at most; none where some of them are passed over later.
    #[cfg(feature = "postgres")]
    pub(super) fn limit_of_rows(&self) -> Option<u64> {
        self.limit.filter(|_| self.compared().count() == self.any_of.len())
    }

    /// Returns whether the lists of a row have what is asked for: what no database compares. One that is no list is let
    /// through, so that it is seen.
    pub(super) fn admits(&self, row: &StoredRow<'_>) -> bool {
        self.any_of.iter().filter(|any_of| any_of.column.column_type() == ColumnType::List).all(|any_of| {
            let Ok(list) = row.get::<Vec<String>>(any_of.column.name()) else { return true };
            list.into_iter().any(|text| any_of.values.contains(&Value::from(text)))
        })
    }
}

fn time_of<T: Tabular>(what: &str, time: &str) -> Result<Value<'static>, InvalidSelection> {
    let Some(column) = T::TABLE.time_column() else {
        return Err(InvalidSelection::new(what, format!("expected a table with a time, {} has none", T::TABLE.name())));
    };
    parse(column, time).map_err(|problem| InvalidSelection::new(what, problem))
}

fn parse(column: &Column, text: &str) -> Result<Value<'static>, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    Ok(match column.column_type() {
        ColumnType::Text | ColumnType::List if text.contains('\0') => {
            return Err(format!("expected no NUL, got {}", Quoted(text)));
        }
        ColumnType::Text | ColumnType::List => text.to_owned().into(),
        ColumnType::Timestamp => Value::Timestamp(text.parse().map_err(|error| said(&error))?),
        ColumnType::TimestampNanos => Value::TimestampNanos(text.parse().map_err(|error| said(&error))?),
        ColumnType::Date => Value::Date(text.parse().map_err(|error| said(&error))?),
        ColumnType::Float => match text.parse::<f64>() {
            // There is one zero.
            Ok(number) if number.is_finite() => (number + 0.0).into(),
            _ => return Err(format!("expected a finite number, got {}", Quoted(text))),
        },
        ColumnType::Integer => match text.parse::<i64>() {
            Ok(number) => number.into(),
            Err(_) => return Err(format!("expected a whole number, got {}", Quoted(text))),
        },
    })
}

/// Orders values of one column as databases do; texts by their bytes.
pub(super) fn compare(a: &Value<'_>, b: &Value<'_>) -> Ordering {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
        (Value::TimestampNanos(a), Value::TimestampNanos(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
        (Value::Integer(a), Value::Integer(b)) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        _ => Ordering::Equal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Bar, Fundamentals, News, Quote};

    fn problem<T>(selection: Result<T, InvalidSelection>) -> String {
        selection.err().unwrap().to_string()
    }

    // Red when a column, a value or a time that the table does not have passes, or the message does not say what it is.
    #[test]
    fn what_the_table_does_not_have_is_refused_by_name() {
        let (bars, quotes) = (Selection::<Bar>::new, Selection::<Quote>::new);
        let unknown = problem(bars().any_of("price", ["1"]));
        assert!(unknown.starts_with("price: expected a column of bars: vendor, symbol, timeframe, "), "{unknown}");
        assert_eq!(problem(bars().any_of("open", ["1e999"])), "open: expected a finite number, got \"1e999\"");
        assert_eq!(problem(quotes().any_of("seq", ["1.5"])), "seq: expected a whole number, got \"1.5\"");
        assert_eq!(problem(quotes().any_of("symbol", [""; 0])), "symbol: expected a value");
        let late = problem(bars().from("2024-01-03").unwrap().to("2024-01-02T23:59:59Z"));
        assert_eq!(late, "to: expected a time that is not before the one of `from`");
        assert!(problem(bars().to("noon")).starts_with("to: expected a time"), "{}", problem(bars().to("noon")));
        let timed = problem(Selection::<Fundamentals>::new().from("2024-01-02T00:00:00Z"));
        assert_eq!(timed, "from: expected a date such as 2024-01-02, got \"2024-01-02T00:00:00Z\"");
    }

    // Red when a list that has none of the symbols passes, or one that is no list is hidden.
    #[test]
    fn a_list_is_asked_for_what_is_in_it() {
        let selection = Selection::<News>::new().any_of("symbols", ["SPY", "TLT"]).unwrap();
        let admits = |symbols: &str| {
            let mut values = vec![Value::Null; News::TABLE.columns().len()];
            let at = News::TABLE.columns().iter().position(|column| column.name() == "symbols").unwrap();
            values[at] = symbols.to_owned().into();
            selection.conditions.admits(&StoredRow::new(&News::TABLE, &values))
        };
        assert!(admits(r#"["TLT"]"#) && admits(r#"["QQQ","SPY"]"#) && admits("SPY"));
        assert!(!admits(r#"["SPYX"]"#) && !admits("[]"));
    }
}
