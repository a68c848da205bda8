//! What was found in a series, and what to do about it.

use market_data_store::Timestamp;
use serde::Serialize;
use smol_str::SmolStr;

use super::series::Series;

/// What a wrong load leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// A bar does not begin where bars of its timeframe begin.
    OffGrid,
    /// The bars lie on the first twelve days of months only.
    DayAndMonth,
    /// Another series is of the same by another name.
    SameSeries,
    /// A date is before 1900.
    #[serde(rename = "before_1900")]
    Before1900,
    /// A date is after tomorrow.
    AfterTomorrow,
    /// Most bars lie closer together than their timeframe is long.
    CloserThanTimeframe,
    /// Bars repeat the bar before them in every value.
    Repeated,
}

/// A trace of a load that probably went wrong.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    kind: Kind,
    vendor: SmolStr,
    symbol: SmolStr,
    timeframe: SmolStr,
    adjustment: SmolStr,
    /// How many bars show it.
    count: u64,
    /// The first of them.
    first: Timestamp,
    pub(super) message: String,
}

impl Finding {
    pub(super) fn new(kind: Kind, series: &Series, count: u64, first: Timestamp, message: String) -> Self {
        let Series { vendor, symbol, timeframe, adjustment } = series.clone();
        Self { kind, vendor, symbol, timeframe, adjustment, count, first, message }
    }

    pub(super) fn is_of(&self, series: &Series) -> bool {
        let Series { vendor, symbol, timeframe, adjustment } = series;
        [&self.vendor, &self.symbol, &self.timeframe, &self.adjustment] == [vendor, symbol, timeframe, adjustment]
    }
}
