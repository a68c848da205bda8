//! Records as PostgreSQL takes them: each row once, in the form that COPY and arrays have in common.

use std::{cmp::Ordering, ops::Range};

use bytes::{BufMut, Bytes, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

use super::sql::{SqlColumn, SqlType};
use crate::{
    record::{Column, ColumnType, Date, Invalid, Row, Tabular, Value},
    text::Quoted,
};

/// Microseconds from 1970 to 2000, where PostgreSQL begins to count.
pub(super) const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// The first time that PostgreSQL has, the beginning of 4713 BC. Its last one is behind every [`Timestamp`].
///
/// [`Timestamp`]: crate::record::Timestamp
const FIRST_TIME: i64 = -211_813_488_000_000_000 + EPOCH_MICROS;
/// Days from the first of the year 1 to 2000.
const EPOCH_DAYS: i32 = 730_119;

/// What a COPY begins with: its signature, no flags, no extension.
const COPY_HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

/// The rows of a batch, in the order of their keys, each key once: the last one that the batch has of it.
pub(super) struct Rows {
    /// The values of one row behind another, each with its length before it.
    bytes: Vec<u8>,
    /// Where each row is.
    rows: Vec<Range<usize>>,
}

impl Rows {
    /// Takes the rows of records.
    ///
    /// # Errors
    /// Names the column that holds what PostgreSQL cannot.
    pub(super) fn of<T: Tabular>(records: &[T]) -> Result<Self, Invalid> {
        let (mut bytes, mut rows) = (Vec::with_capacity(records.len() * 128), Vec::with_capacity(records.len()));
        // Of each row what its key is compared by.
        let (mut keys, mut key_places) = (Vec::with_capacity(records.len() * 40), Vec::with_capacity(records.len()));
        let mut row = Row::new(&T::TABLE);
        let mut is_ascending = true;
        for record in records {
            row.fill(record);
            let (start, key_start) = (bytes.len(), keys.len());
            for (column, value) in T::TABLE.columns().iter().zip(row.values()) {
                put(&mut bytes, column, value)?;
                if column.is_key() {
                    put_key(&mut keys, value);
                }
            }
            if let Some(Range { start, end }) = key_places.last().cloned() {
                is_ascending &= keys[start..end] < keys[key_start..];
            }
            rows.push(start..bytes.len());
            key_places.push(key_start..keys.len());
        }
        if !is_ascending {
            let key = |at: &usize| &keys[key_places[*at].clone()];
            let mut order: Vec<usize> = (0..rows.len()).collect();
            // Of equal keys the last record comes first, and stays.
            order.sort_unstable_by(|a, b| match key(a).cmp(key(b)) {
                Ordering::Equal => b.cmp(a),
                other => other,
            });
            order.dedup_by(|a, b| key(a) == key(b));
            rows = order.into_iter().map(|at| rows[at].clone()).collect();
        }
        Ok(Self { bytes, rows })
    }

    /// Returns the rows in parts of so many bytes at most, or of one row.
    pub(super) fn parts(&self, most: usize) -> impl Iterator<Item = Part<'_>> {
        let mut rest = &self.rows[..];
        std::iter::from_fn(move || {
            let mut bytes = 0;
            let fit = rest.iter().take_while(|row| {
                bytes += row.len();
                bytes <= most
            });
            let len = fit.count().max(1).min(rest.len());
            let (rows, behind) = rest.split_at(len);
            rest = behind;
            (!rows.is_empty()).then_some(Part { bytes: &self.bytes, rows })
        })
    }
}

/// Rows that are written by one statement.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    bytes: &'a [u8],
    rows: &'a [Range<usize>],
}

impl Part<'_> {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns all that COPY takes.
    pub(super) fn copy(&self, columns: &[SqlColumn]) -> Bytes {
        let bytes: usize = self.rows.iter().map(|row| row.len() + 2).sum();
        let mut copy = BytesMut::with_capacity(COPY_HEADER.len() + bytes + 2);
        copy.put_slice(COPY_HEADER);
        // At most as many as a table can have, 1600.
        let columns = columns.len() as i16;
        for row in self.rows {
            copy.put_i16(columns);
            copy.put_slice(&self.bytes[row.clone()]);
        }
        copy.put_i16(-1);
        copy.freeze()
    }

    /// Returns an array a column.
    pub(super) fn arrays(&self, columns: &[SqlColumn]) -> Vec<Array> {
        let mut arrays: Vec<Array> =
            columns.iter().map(|column| Array::new(column.sql_type, self.rows.len())).collect();
        for row in self.rows {
            let mut row = &self.bytes[row.clone()];
            for array in &mut arrays {
                let len = i32::from_be_bytes(row[..4].try_into().expect("each value has its length before it"));
                let (value, rest) = row.split_at(4 + usize::try_from(len).unwrap_or_default());
                array.0.extend_from_slice(value);
                array.0[HAS_NULL] |= u8::from(len < 0);
                row = rest;
            }
        }
        arrays
    }
}

/// An array in its binary form.
#[derive(Debug)]
pub(super) struct Array(Vec<u8>);

/// Where an array says whether it holds a null: the last byte of its second number.
const HAS_NULL: usize = 7;

impl Array {
    fn new(element: SqlType, len: usize) -> Self {
        let value = if element == SqlType::Date { 8 } else { 12 };
        let element = element.postgres_type();
        let mut bytes = Vec::with_capacity(20 + len * value);
        bytes.put_i32(1); // dimensions
        bytes.put_i32(0); // no null so far
        bytes.put_u32(element.oid());
        bytes.put_i32(len as i32);
        bytes.put_i32(1); // the first index
        Self(bytes)
    }
}

impl SqlType {
    /// Returns the type of a single value.
    pub(super) fn postgres_type(self) -> Type {
        match self {
            Self::Text => Type::TEXT,
            Self::Timestamp => Type::TIMESTAMPTZ,
            Self::BigInt => Type::INT8,
            Self::Double => Type::FLOAT8,
            Self::Date => Type::DATE,
        }
    }
}

/// Returns the type of the array that a column's values are sent in.
pub(super) fn array_type(element: SqlType) -> Type {
    match element {
        SqlType::Text => Type::TEXT_ARRAY,
        SqlType::Timestamp => Type::TIMESTAMPTZ_ARRAY,
        SqlType::BigInt => Type::INT8_ARRAY,
        SqlType::Double => Type::FLOAT8_ARRAY,
        SqlType::Date => Type::DATE_ARRAY,
    }
}

/// What is bound to a statement that reads, in its binary form.
#[derive(Debug)]
pub(super) struct Bound(Vec<u8>);

impl Bound {
    /// Takes a value for each column that PostgreSQL has of one.
    ///
    /// # Errors
    /// PostgreSQL has no such value.
    pub(super) fn each(column: &Column, value: &Value<'_>) -> Result<Vec<Self>, Invalid> {
        let (mut bytes, mut each) = (Vec::new(), Vec::new());
        put(&mut bytes, column, value)?;
        let mut rest = &bytes[..];
        while let Some((len, behind)) = rest.split_first_chunk() {
            let (value, behind) = behind.split_at(usize::try_from(i32::from_be_bytes(*len)).unwrap_or_default());
            each.push(Self(value.to_vec()));
            rest = behind;
        }
        Ok(each)
    }

    /// Takes values as an array; of times in nanoseconds these.
    ///
    /// # Errors
    /// PostgreSQL has no such value.
    pub(super) fn array(element: SqlType, column: &Column, values: &[Value<'_>]) -> Result<Self, Invalid> {
        let Array(mut bytes) = Array::new(element, values.len());
        for value in values {
            let last = Self::each(column, value)?.pop().expect("a value is one at least");
            // The cast holds: it came with such a length.
            bytes.put_i32(last.0.len() as i32);
            bytes.put_slice(&last.0);
        }
        Ok(Self(bytes))
    }
}

impl ToSql for Bound {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl ToSql for Array {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// Appends a value with its length before it; a time in nanoseconds is two.
fn put(out: &mut Vec<u8>, column: &Column, value: &Value<'_>) -> Result<(), Invalid> {
    let refused = |problem: String| Err(Invalid::new(column.name(), problem));
    match value {
        Value::Integer(number) => put_i64(out, *number),
        Value::Float(number) if !number.is_finite() => {
            return refused(format!("expected a finite number, got {number}"));
        }
        Value::Float(number) => {
            out.put_i32(8);
            // SQLite has one zero, and each database should hold the same.
            out.put_f64(*number + 0.0);
        }
        Value::Timestamp(ts) => put_time(out, column, ts.as_micros())?,
        Value::TimestampNanos(ts) => {
            put_time(out, column, ts.floor().as_micros())?;
            put_i64(out, ts.as_nanos());
        }
        // PostgreSQL has no such text.
        Value::Text(text) if text.contains('\0') => return refused(format!("expected no NUL, got {}", Quoted(text))),
        Value::Text(text) => {
            let Ok(len) = i32::try_from(text.len()) else {
                return refused(format!("expected at most {} bytes, got {}", i32::MAX, text.len()));
            };
            out.put_i32(len);
            out.put_slice(text.as_bytes());
        }
        Value::Date(date) => {
            out.put_i32(4);
            out.put_i32(days_since_2000(*date));
        }
        Value::Null => {
            out.put_i32(-1);
            if column.column_type() == ColumnType::TimestampNanos {
                out.put_i32(-1);
            }
        }
    }
    Ok(())
}

fn put_i64(out: &mut Vec<u8>, number: i64) {
    out.put_i32(8);
    out.put_i64(number);
}

fn put_time(out: &mut Vec<u8>, column: &Column, micros: i64) -> Result<(), Invalid> {
    if micros < FIRST_TIME {
        let problem = format!("expected a time from 4713 BC on, got {micros} us since 1970");
        return Err(Invalid::new(column.name(), problem));
    }
    put_i64(out, micros - EPOCH_MICROS);
    Ok(())
}

fn days_since_2000(date: Date) -> i32 {
    // The years before this one, with a leap day every four but not every hundred years; then its own days.
    let year = i32::from(date.year());
    let before = year - 1;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let month = usize::from(date.month().unsigned_abs()) - 1;
    let days_before_month = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month];
    let leap_day = i32::from(is_leap && month > 1);
    before * 365 + before / 4 - before / 100 + before / 400 + days_before_month + leap_day + i32::from(date.day())
        - 1
        - EPOCH_DAYS
}

/// Returns the date of so many days since 2000, if it has one.
pub(super) fn date_of(days_since_2000: i32) -> Option<Date> {
    let first = jiff::civil::date(2000, 1, 1);
    let date = first.checked_add(jiff::Span::new().try_days(days_since_2000).ok()?).ok()?;
    Date::new(date.year(), date.month(), date.day())
}

/// Appends what a value of a key is compared by: bytes that are in the order of the values.
fn put_key(out: &mut Vec<u8>, value: &Value<'_>) {
    let in_order = |number: i64| (number ^ i64::MIN).to_be_bytes();
    match value {
        // It ends with what no text holds, so that a text comes before those that it begins.
        Value::Text(text) => {
            out.extend_from_slice(text.as_bytes());
            out.push(0);
        }
        Value::Timestamp(ts) => out.extend_from_slice(&in_order(ts.as_micros())),
        Value::TimestampNanos(ts) => out.extend_from_slice(&in_order(ts.as_nanos())),
        Value::Integer(number) => out.extend_from_slice(&in_order(*number)),
        Value::Float(number) => {
            let bits = (*number + 0.0).to_bits() as i64;
            out.extend_from_slice(&in_order(if bits < 0 { bits ^ i64::MAX } else { bits }));
        }
        Value::Date(date) => out.extend_from_slice(&in_order(days_since_2000(*date).into())),
        // Behind all texts, where PostgreSQL has it; a key that holds one is refused there.
        Value::Null => out.push(0xff),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        record::{Bar, Fundamentals, Timeframe, Timestamp},
        sink::postgres::sql::sql_columns,
    };

    fn bar(symbol: &str, micros: i64, close: f64) -> Bar {
        Bar::new(symbol, Timeframe::MINUTE, Timestamp::from_micros(micros)).ohlc(1.0, 2.0, 0.5, close)
    }

    /// The symbols, times and closing prices of rows as they are sent.
    fn sent(bars: &[Bar]) -> Vec<(String, i64, f64)> {
        let rows = Rows::of(bars).unwrap();
        let columns = sql_columns(&Bar::TABLE);
        let at = |name| columns.iter().position(|column| column.name == name).unwrap();
        let (symbol, ts, close) = (at("symbol"), at("ts"), at("close"));
        let values = |row: &Range<usize>| {
            let (mut row, mut values) = (&rows.bytes[row.clone()], Vec::new());
            while !row.is_empty() {
                let len = i32::from_be_bytes(row[..4].try_into().unwrap()).max(0) as usize;
                values.push(row[4..4 + len].to_vec());
                row = &row[4 + len..];
            }
            assert_eq!(values.len(), columns.len());
            let number = |at: usize| -> [u8; 8] { values[at][..].try_into().unwrap() };
            (
                String::from_utf8(values[symbol].clone()).unwrap(),
                i64::from_be_bytes(number(ts)) + EPOCH_MICROS,
                f64::from_be_bytes(number(close)),
            )
        };
        rows.rows.iter().map(values).collect()
    }

    // Red when rows are not sorted, which costs the server a third more, or of one key another than the last one stays,
    // or both.
    #[test]
    fn rows_are_in_the_order_of_their_keys_and_of_each_key_the_last_one_stays() {
        let bars = [bar("B", 5, 1.0), bar("A", -5, 1.25), bar("B", 5, 1.5), bar("AB", 0, 1.0), bar("A", 7, 1.75)];
        let expected =
            [("A", -5, 1.25), ("A", 7, 1.75), ("AB", 0, 1.0), ("B", 5, 1.5)].map(|(s, t, c)| (s.to_owned(), t, c));
        assert_eq!(sent(&bars), expected);
        assert_eq!(sent(&[bar("A", 1, 1.0), bar("A", 1, 1.5)]), [("A".to_owned(), 1, 1.5)]);
        assert_eq!(sent(&[bar("A", 1, 1.5), bar("A", 2, 1.0)]).len(), 2);
    }

    proptest! {
        // Red when a text is not ended in the key, so that `A` before `B` is compared with `AB`, or the sign of a number
        // counts against it.
        #[test]
        fn keys_are_compared_as_their_values(
            a in ("[ -~ä]{0,3}", any::<i64>(), any::<f64>()), b in ("[ -~ä]{0,3}", any::<i64>(), any::<f64>())
        ) {
            let key = |(text, number, float): &(String, i64, f64)| {
                let mut key = Vec::new();
                for value in [Value::from(text), Value::from(*number), Value::from(*float)] {
                    put_key(&mut key, &value);
                }
                key
            };
            let floats = a.2.total_cmp(&b.2);
            prop_assume!(a.2 != b.2 || floats.is_eq());
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.0.cmp(&b.0).then(a.1.cmp(&b.1)).then(floats));
        }

        // Red when the leap days are counted wrongly.
        #[test]
        fn a_date_is_its_days_since_2000(days in -730_119_i32..2_921_940) {
            let date = jiff::civil::date(2000, 1, 1).saturating_add(jiff::Span::new().days(days));
            let date = Date::new(date.year(), date.month(), date.day()).unwrap();
            prop_assert_eq!(days_since_2000(date), days);
        }
    }

    // Red when a time that PostgreSQL does not have is sent: -infinity, or a time of another era.
    #[test]
    fn what_postgresql_does_not_have_is_refused_by_its_column() {
        let refused = |bar: Bar| Rows::of(&[bar]).err().map(|invalid| invalid.to_string());
        for micros in [i64::MIN, FIRST_TIME - 1] {
            let error = refused(bar("A", micros, 1.0)).unwrap();
            assert!(error.starts_with("ts: expected a time from 4713 BC on, got "), "{error}");
        }
        for micros in [FIRST_TIME, i64::MAX] {
            assert_eq!(refused(bar("A", micros, 1.0)), None);
        }
        assert_eq!(refused(bar("A\0", 1, 1.0)).unwrap(), "symbol: expected no NUL, got \"A\\0\"");
        assert_eq!(refused(bar("A", 1, f64::NAN)).unwrap(), "close: expected a finite number, got NaN");
    }

    // Red when a null is not told in the array's head, which the server refuses, or the zero keeps its sign.
    #[test]
    fn an_array_says_whether_it_holds_a_null() {
        let columns = sql_columns(&Bar::TABLE);
        let with = |volume: Option<f64>| {
            let mut bar = bar("A", 1, -0.0);
            bar.volume = volume;
            bar
        };
        let head = |bars: &[Bar], column: &str| {
            let rows = Rows::of(bars).unwrap();
            let at = columns.iter().position(|other| other.name == column).unwrap();
            let part = rows.parts(usize::MAX).next().unwrap();
            part.arrays(&columns).swap_remove(at).0
        };
        assert_eq!(head(&[with(Some(1.0))], "volume")[HAS_NULL], 0);
        assert_eq!(head(&[with(None)], "volume")[HAS_NULL], 1);
        assert_eq!(head(&[with(None)], "close")[20..], [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(sql_columns(&Fundamentals::TABLE).len(), Fundamentals::TABLE.columns().len());
    }

    // Red when a batch that is larger than a statement may be goes as one, or a row is in no part or in two.
    #[test]
    fn rows_go_in_parts() {
        let bars: Vec<Bar> = (0..10).map(|n| bar("A", n, 1.0)).collect();
        let rows = Rows::of(&bars).unwrap();
        let row = rows.rows[0].len();
        let parts = |most| rows.parts(most).map(|part| part.len()).collect::<Vec<_>>();
        assert_eq!(parts(row * 4), [4, 4, 2]);
        assert_eq!(parts(1), [1; 10]);
        assert_eq!(parts(usize::MAX), [10]);
    }
}
