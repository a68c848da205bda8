//! How long a timeframe is, in whole units that can be compared.

use market_data_store::{Timeframe, record::Unit};

/// The length of a timeframe. Months differ in their days, so they are counted by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Length {
    Seconds(u64),
    Months(u64),
}

impl Length {
    pub(super) fn of(timeframe: Timeframe) -> Self {
        let count = u64::from(timeframe.count().get());
        match timeframe.unit() {
            Unit::Second => Self::Seconds(count),
            Unit::Minute => Self::Seconds(60 * count),
            Unit::Hour => Self::Seconds(3_600 * count),
            Unit::Day => Self::Seconds(86_400 * count),
            Unit::Week => Self::Seconds(604_800 * count),
            Unit::Month => Self::Months(count),
            Unit::Year => Self::Months(12 * count),
        }
    }

    /// Returns the microseconds of the shortest span that is so long: February has 28 days.
    pub(super) fn least_micros(self) -> i64 {
        let seconds = match self {
            Self::Seconds(seconds) => seconds,
            Self::Months(months) => 28 * 86_400 * months,
        };
        i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000_000)
    }
}
