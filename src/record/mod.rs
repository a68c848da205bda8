//! What is stored: the [`Record`] trait and the kinds that come with the crate.

mod bar;
mod contract;
mod date;
mod json_size;
mod tabular;
mod timeframe;
pub(crate) mod timestamp;

pub use self::timeframe::{InvalidTimeframe, Unit};
// At the crate's root in the documentation.
#[doc(hidden)]
pub use self::{
    bar::Bar,
    contract::Record,
    date::{Date, InvalidDate},
    tabular::{Column, ColumnType, FromValue, Row, StoredRow, Table, Tabular, Value},
    timeframe::Timeframe,
    timestamp::{InvalidTimestamp, Timestamp, TimestampNanos},
};
#[doc(hidden)]
pub use crate::policy::Invalid;
