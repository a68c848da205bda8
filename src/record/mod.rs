//! What is stored: the [`Record`] trait and the kinds that come with the crate.

mod bar;
mod contract;
mod date;
mod fundamentals;
mod invalid_text;
mod json_size;
mod kinds;
mod news;
mod option_quote;
mod quote;
mod rules;
mod tabular;
mod timeframe;
pub(crate) mod timestamp;
mod trade;
mod vendor;
mod words;

pub(crate) use self::kinds::with_kinds;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub(crate) use self::tabular::Misfit;
pub use self::timeframe::Unit;
// At the crate's root in the documentation.
pub(crate) use self::vendor::is_first_without_vendor;
#[doc(hidden)]
pub use self::{
    bar::{Adjustment, Bar},
    contract::Record,
    date::Date,
    fundamentals::Fundamentals,
    invalid_text::InvalidText,
    news::News,
    option_quote::{OptionQuote, OptionType},
    quote::Quote,
    tabular::{Column, ColumnType, FromValue, Row, StoredRow, Table, Tabular, Value},
    timeframe::Timeframe,
    timestamp::{Timestamp, TimestampNanos},
    trade::{Side, Trade, TradeAction},
};
#[doc(hidden)]
pub use crate::policy::{ConflationKey, Invalid};
