//! A row on its way into a database, and one on its way out.

use super::{
    Tabular,
    table::{Column, Table},
    value::{FromValue, Value},
};
use crate::policy::Invalid;

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
        StoredRow { columns: self.columns, values: &self.values }
    }
}

/// A row that was read from a table: [`Tabular::from_row`] makes the record of it.
#[derive(Clone, Copy, Debug)]
pub struct StoredRow<'a> {
    columns: &'static [Column],
    values: &'a [Value<'a>],
}

impl<'a> StoredRow<'a> {
    /// Makes a row of one value a column, in their order: for a reader of one's own.
    pub fn new(table: &Table, values: &'a [Value<'a>]) -> Self {
        Self { columns: table.columns(), values }
    }

    /// Returns the value of a column.
    ///
    /// # Errors
    /// It is null, or of another type; for an `Option` null is none. Or there is no such column.
    pub fn get<V: FromValue>(&self, column: &'static str) -> Result<V, Invalid> {
        let at = self.columns.iter().position(|other| other.name() == column);
        let value = at.and_then(|at| self.values.get(at));
        let Some(value) = value else { return Err(Invalid::new(column, "expected a column of this table")) };
        V::from_value(value).map_err(|problem| Invalid::new(column, problem))
    }
}

#[cold]
fn misplaced(column: Option<&Column>, value: &Value<'_>) -> ! {
    match column {
        Some(column) => panic!("{}: expected {:?}, got {value:?}", column.name(), column.column_type()),
        None => panic!("expected no value behind that of the last column, got {value:?}"),
    }
}
