//! A row on its way into a database, and one on its way out.

use std::fmt;

use super::{
    Tabular,
    table::{Column, Table},
    value::{FromValue, Value},
};
use crate::{policy::Invalid, text::Shown};

/// A record as the row of a table: [`Tabular::row`] pushes one value a column, in the order of the columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<'a> {
    columns: &'static [Column],
    values: Vec<Value<'a>>,
}

impl<'a> Row<'a> {
    /// Makes the row of a record.
    ///
    /// # Panics
    /// If its [`Tabular::row`] pushes another number of values than its table has columns, or one of another type.
    pub fn of<T: Tabular>(record: &'a T) -> Self {
        let mut row = Self::new(&T::TABLE);
        row.fill(record);
        row
    }

    /// Makes a row without values.
    pub(crate) fn new(table: &Table) -> Self {
        Self { columns: table.columns(), values: Vec::with_capacity(table.columns().len()) }
    }

    /// Replaces what is in it by a record of the same table.
    pub(crate) fn fill<T: Tabular>(&mut self, record: &'a T) {
        self.values.clear();
        record.row(self);
        let (found, expected) = (self.values.len(), self.columns.len());
        assert!(found == expected, "{}: expected a value for each of {expected} columns, got {found}", T::TABLE.name());
    }

    /// Adds the value of the next column: a text, a number, a time, a date, a list of texts, or an `Option` of these.
    ///
    /// # Panics
    /// If it is not of the column's type, or there is no further column.
    // Inlined, so that the type of the value is known where it is compared with the column's: this runs for each value
    // that is stored.
    #[inline]
    pub fn push(&mut self, value: impl Into<Value<'a>>) -> &mut Self {
        let value = value.into();
        match self.columns.get(self.values.len()) {
            Some(column) if value.fits(column.column_type()) => self.values.push(value),
            column => misplaced(column, &value),
        }
        self
    }

    /// Returns its values, one a column.
    pub fn values(&self) -> &[Value<'a>] {
        &self.values
    }

    /// Returns it as a row that was read.
    pub fn stored(&self) -> StoredRow<'_> {
        StoredRow { columns: self.columns, values: &self.values, misfits: &[] }
    }
}

/// What a row has in the column of this place instead of a value of its type.
pub(crate) type Misfit = (usize, String);

/// A row that was read from a table: [`Tabular::from_row`] makes the record of it.
#[derive(Clone, Copy, Debug)]
pub struct StoredRow<'a> {
    columns: &'static [Column],
    values: &'a [Value<'a>],
    misfits: &'a [Misfit],
}

impl<'a> StoredRow<'a> {
    /// Makes a row of one value a column, in their order: for a reader of one's own.
    pub fn new(table: &Table, values: &'a [Value<'a>]) -> Self {
        Self { columns: table.columns(), values, misfits: &[] }
    }

    /// Says which columns hold something that is no value of their type; another program wrote that.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn with_misfits(self, misfits: &'a [Misfit]) -> Self {
        Self { misfits, ..self }
    }

    /// Returns the values of its key; none where one of them is null, or no value of its column.
    #[cfg(all(feature = "serve", any(feature = "postgres", feature = "sqlite")))]
    pub(crate) fn key(&self) -> Option<Vec<&'a Value<'a>>> {
        let keys = self.columns.iter().enumerate().filter(|(_, column)| column.is_key());
        keys.map(|(at, _)| {
            let is_whole = self.misfits.iter().all(|(misfit, _)| *misfit != at);
            self.values.get(at).filter(|value| is_whole && **value != Value::Null)
        })
        .collect()
    }

    /// Returns the value of a column.
    ///
    /// # Errors
    /// It is null, or of another type; for an `Option` null is none. Or there is no such column.
    pub fn get<V: FromValue>(&self, column: &'static str) -> Result<V, Invalid> {
        let at = self.columns.iter().position(|other| other.name() == column);
        let found = at.and_then(|at| Some((at, self.values.get(at)?)));
        let Some((at, value)) = found else { return Err(Invalid::new(column, "expected a column of this table")) };
        if let Some((_, problem)) = self.misfits.iter().find(|(misfit, _)| *misfit == at) {
            return Err(Invalid::new(column, problem.as_str()));
        }
        V::from_value(value).map_err(|problem| Invalid::new(column, problem))
    }
}

impl fmt::Display for StoredRow<'_> {
    /// Shows its key: `vendor=acme symbol=ES ts=2024-01-02T00:00:00Z`, with `?` for what is no value of its column.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.columns.iter().enumerate().filter(|(_, column)| column.is_key());
        for (place, (at, column)) in keys.enumerate() {
            let value = self.values.get(at).filter(|_| self.misfits.iter().all(|(misfit, _)| *misfit != at));
            write!(f, "{}{}=", if place == 0 { "" } else { " " }, column.name())?;
            match value {
                None | Some(Value::Null) => f.write_str("?")?,
                Some(value) => write!(f, "{}", Shown(&value.to_string()))?,
            }
        }
        Ok(())
    }
}

#[cold]
fn misplaced(column: Option<&Column>, value: &Value<'_>) -> ! {
    match column {
        Some(column) => panic!("{}: expected {:?}, got {value:?}", column.name(), column.column_type()),
        None => panic!("expected no value behind that of the last column, got {value:?}"),
    }
}
