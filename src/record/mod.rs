//! What is stored: the [`Record`] trait and the kinds that come with the crate.

mod bar;
mod contract;
mod json_size;
mod timeframe;
pub(crate) mod timestamp;

pub use self::timeframe::{InvalidTimeframe, Unit};
// At the crate's root in the documentation.
#[doc(hidden)]
pub use self::{
    bar::Bar,
    contract::Record,
    timeframe::Timeframe,
    timestamp::{InvalidTimestamp, Timestamp},
};
#[doc(hidden)]
pub use crate::policy::Invalid;
