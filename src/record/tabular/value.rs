//! One value of a row, and what types of Rust become one.

use std::{borrow::Cow, fmt};

use smol_str::SmolStr;

use super::table::ColumnType;
use crate::{
    record::{
        date::Date,
        timestamp::{Timestamp, TimestampNanos},
    },
    text::Quoted,
};

/// A value of a row, as a column has it.
///
/// `From` makes one of texts, numbers, times, dates, lists of texts, and of an `Option` of these. For an enum of your
/// own implement `From` too, and [`FromValue`] for the way back.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// Nothing: the column is null.
    Null,
    /// A text, or a list of texts as JSON.
    Text(Cow<'a, str>),
    /// A time in microseconds.
    Timestamp(Timestamp),
    /// A time in nanoseconds.
    TimestampNanos(TimestampNanos),
    /// A number.
    Float(f64),
    /// A whole number.
    Integer(i64),
    /// A date.
    Date(Date),
}

impl Value<'_> {
    /// Returns whether a column of that type can hold it.
    #[inline]
    pub(super) fn fits(&self, column: ColumnType) -> bool {
        matches!(
            (self, column),
            (Self::Null, _)
                | (Self::Text(_), ColumnType::Text | ColumnType::List)
                | (Self::Timestamp(_), ColumnType::Timestamp)
                | (Self::TimestampNanos(_), ColumnType::TimestampNanos)
                | (Self::Float(_), ColumnType::Float)
                | (Self::Integer(_), ColumnType::Integer)
                | (Self::Date(_), ColumnType::Date)
        )
    }

    /// Says that another value was expected.
    fn is_not(&self, expected: &str) -> String {
        match self {
            Self::Null => format!("expected {expected}, got null"),
            Self::Text(text) => format!("expected {expected}, got {}", Quoted(text)),
            other => format!("expected {expected}, got {other}"),
        }
    }
}

/// A text as it is, a number in its shortest form that reads back, a time as RFC 3339, and of null nothing.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Text(text) => f.write_str(text),
            Self::Timestamp(ts) => write!(f, "{ts}"),
            Self::TimestampNanos(ts) => write!(f, "{ts}"),
            // Beyond these it would have more zeros than digits.
            Self::Float(number) if *number != 0.0 && !(1e-5..1e16).contains(&number.abs()) => write!(f, "{number:e}"),
            Self::Float(number) => write!(f, "{number}"),
            Self::Integer(number) => write!(f, "{number}"),
            Self::Date(date) => write!(f, "{date}"),
        }
    }
}

macro_rules! values {
    ($($from:ty => |$value:ident| $to:expr;)*) => {
        $(impl<'a> From<$from> for Value<'a> {
            fn from($value: $from) -> Self {
                $to
            }
        })*
    };
}

values! {
    &'a str => |text| Self::Text(Cow::Borrowed(text));
    &'a String => |text| Self::Text(Cow::Borrowed(text));
    &'a SmolStr => |text| Self::Text(Cow::Borrowed(text));
    String => |text| Self::Text(Cow::Owned(text));
    &[String] => |texts| list(texts);
    &Vec<String> => |texts| list(texts);
    &[SmolStr] => |texts| list(texts);
    &Vec<SmolStr> => |texts| list(texts);
    Timestamp => |ts| Self::Timestamp(ts);
    TimestampNanos => |ts| Self::TimestampNanos(ts);
    Date => |date| Self::Date(date);
    f64 => |number| Self::Float(number);
    i64 => |number| Self::Integer(number);
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

fn list<T: serde::Serialize>(texts: &[T]) -> Value<'static> {
    Value::Text(Cow::Owned(serde_json::to_string(texts).expect("texts always have a JSON")))
}

/// A type of Rust that a stored value can become. An `Option` of one takes null too.
pub trait FromValue: Sized {
    /// Takes the value out of a row.
    ///
    /// # Errors
    /// Says what was expected, and what the row has instead.
    fn from_value(value: &Value<'_>) -> Result<Self, String>;
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value<'_>) -> Result<Self, String> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

macro_rules! from_values {
    ($($to:ty, $expected:literal, $($value:pat => $take:expr),+;)*) => {
        $(impl FromValue for $to {
            fn from_value(value: &Value<'_>) -> Result<Self, String> {
                match value {
                    $($value => $take,)+
                    other => Err(other.is_not($expected)),
                }
            }
        })*
    };
}

from_values! {
    String, "a text", Value::Text(text) => Ok(text.as_ref().into());
    SmolStr, "a text", Value::Text(text) => Ok(text.as_ref().into());
    Vec<String>, "a list of texts", Value::Text(text) => from_list(text);
    Vec<SmolStr>, "a list of texts", Value::Text(text) => from_list(text);
    Timestamp, "a time", Value::Timestamp(ts) => Ok(*ts);
    TimestampNanos, "a time in nanoseconds", Value::TimestampNanos(ts) => Ok(*ts);
    Date, "a date", Value::Date(date) => Ok(*date);
    f64, "a number", Value::Float(number) => Ok(*number);
    i64, "a whole number", Value::Integer(number) => Ok(*number);
}

fn from_list<T: serde::de::DeserializeOwned>(text: &str) -> Result<Vec<T>, String> {
    serde_json::from_str(text).map_err(|_| format!("expected a list of texts as JSON, got {}", Quoted(text)))
}
