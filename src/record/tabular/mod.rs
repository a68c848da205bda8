//! Records that have a table: what a database needs to know of a type, and nothing of a database.

mod row;
mod table;
mod value;
mod view;

#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) use self::row::Misfit;
pub(crate) use self::view::View;
pub use self::{
    row::{Row, StoredRow},
    table::{Column, ColumnType, Table},
    value::{FromValue, Value},
};
use super::contract::Record;
use crate::policy::Invalid;

/// A record with a table. A [`Database`](crate::Database) stores every type that implements it, one of your own as well
/// as those of this crate: it makes the table, an index and a view, and upserts by the key.
///
/// ```
/// use market_data_store::{Column, Invalid, Record, Row, StoredRow, Table, Tabular, Timestamp};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct FundingRate {
///     symbol: String,
///     ts: Timestamp,
///     rate: f64,
///     mark_price: Option<f64>,
/// }
///
/// impl Record for FundingRate {
///     const KIND: &'static str = "funding_rates";
///
///     fn partition_key(&self) -> &str {
///         &self.symbol
///     }
/// }
///
/// impl Tabular for FundingRate {
///     const TABLE: Table = Table::new(
///         Self::KIND,
///         &[
///             Column::text("symbol").key(),
///             Column::timestamp("ts").key(),
///             Column::float("rate"),
///             Column::float("mark_price").optional(),
///         ],
///     )
///     .time("ts")
///     .series(&["symbol"]);
///
///     fn row<'a>(&'a self, row: &mut Row<'a>) {
///         row.push(&self.symbol).push(self.ts).push(self.rate).push(self.mark_price);
///     }
///
///     fn from_row(row: &StoredRow<'_>) -> Result<Self, Invalid> {
///         Ok(Self {
///             symbol: row.get("symbol")?,
///             ts: row.get("ts")?,
///             rate: row.get("rate")?,
///             mark_price: row.get("mark_price")?,
///         })
///     }
/// }
///
/// let ts = "2024-01-02T08:00:00Z".parse()?;
/// let rate = FundingRate { symbol: "BTC-PERP".to_owned(), ts, rate: 0.0001, mark_price: None };
/// assert_eq!(FundingRate::from_row(&Row::of(&rate).stored())?, rate);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Tabular: Record {
    /// The table: its columns in order, which is the time, and which name a series. Two records with the same values in
    /// the key's columns are updates of one thing, so their [`partition_key`](Record::partition_key)s have to be the
    /// same.
    const TABLE: Table;

    /// Pushes one value a column, in their order. The database refuses null in a column that is not optional, a float
    /// that is not finite, and a text with NUL: check them in [`validate`](Record::validate).
    fn row<'a>(&'a self, row: &mut Row<'a>);

    /// Makes a record of a row that was stored.
    ///
    /// # Errors
    /// Names the column that holds something else than the record can; another program may have written anything.
    fn from_row(row: &StoredRow<'_>) -> Result<Self, Invalid>;
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::record::{Date, Timestamp, TimestampNanos};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct All {
        text: String,
        list: Vec<String>,
        at: Timestamp,
        fine: TimestampNanos,
        number: f64,
        count: i64,
        day: Date,
        note: Option<String>,
    }

    impl Record for All {
        const KIND: &'static str = "all_types";

        fn partition_key(&self) -> &str {
            &self.text
        }
    }

    impl Tabular for All {
        const TABLE: Table = Table::new(
            Self::KIND,
            &[
                Column::text("name").key(),
                Column::list("names"),
                Column::timestamp("at"),
                Column::timestamp_nanos("fine"),
                Column::float("number"),
                Column::integer("count"),
                Column::date("day"),
                Column::text("note").optional(),
            ],
        );

        fn row<'a>(&'a self, row: &mut Row<'a>) {
            row.push(&self.text).push(&self.list).push(self.at).push(self.fine).push(self.number).push(self.count);
            row.push(self.day).push(self.note.as_deref());
        }

        fn from_row(row: &StoredRow<'_>) -> Result<Self, Invalid> {
            Ok(Self {
                text: row.get("name")?,
                list: row.get("names")?,
                at: row.get("at")?,
                fine: row.get("fine")?,
                number: row.get("number")?,
                count: row.get("count")?,
                day: row.get("day")?,
                note: row.get("note")?,
            })
        }
    }

    fn all() -> All {
        All {
            text: "a".to_owned(),
            list: vec!["b\"".to_owned(), "c".to_owned()],
            at: Timestamp::from_micros(-1),
            fine: TimestampNanos::from_nanos(-1),
            number: 0.1,
            count: -7,
            day: "2024-02-29".parse().unwrap(),
            note: None,
        }
    }

    // Red when a type is pushed as another one, or read back as one.
    #[test]
    fn a_row_of_each_type_becomes_the_same_record() {
        let (all, noted) = (all(), All { note: Some("n".to_owned()), ..all() });
        assert_eq!(All::from_row(&Row::of(&all).stored()), Ok(All { note: None, ..self::all() }));
        assert_eq!(All::from_row(&Row::of(&noted).stored()).unwrap(), noted);
    }

    // Red when a value of another column passes for this one: times of another unit would be stored a thousand times
    // off.
    #[test]
    fn a_value_in_the_wrong_column_is_refused() {
        let all = all();
        let (mut row, fine) = (Row::new(&All::TABLE), all.fine);
        row.push("a").push("[]");
        assert!(catch_unwind(move || _ = row.push(fine)).is_err(), "nanoseconds for microseconds");
        let mut row = Row::of(&all);
        assert!(catch_unwind(move || _ = row.push(1.0)).is_err(), "one too many");
    }

    // Red when null passes for a value, a text for a number, or the message does not say what was there.
    #[test]
    fn what_another_program_wrote_is_named() {
        let row = [Value::Null, Value::from("x"), Value::from(1_i64), Value::from(2.5)];
        let row = StoredRow::new(&All::TABLE, &row);
        let problem = |error: Invalid| error.to_string();
        assert_eq!(row.get::<String>("name").map_err(problem), Err("name: expected a text, got null".to_owned()));
        assert_eq!(
            row.get::<Vec<String>>("names").map_err(problem),
            Err("names: expected a list of texts as JSON, got \"x\"".to_owned())
        );
        assert_eq!(row.get::<Timestamp>("at").map_err(problem), Err("at: expected a time, got 1".to_owned()));
        assert_eq!(row.get::<Date>("fine").map_err(problem), Err("fine: expected a date, got 2.5".to_owned()));
        assert_eq!(row.get::<f64>("size").map_err(problem), Err("size: expected a column of this table".to_owned()));
    }
}
