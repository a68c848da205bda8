//! Bars that say what the bar before them says: the same bar under two times.

use market_data_store::Timestamp;

use super::{
    finding::{Finding, Kind},
    series::{Series, StoredBar},
};

/// From so many on they are no chance.
const LEAST: u64 = 2;

/// Counts bars whose every value is that of the bar before. A bar of one price, or without a volume, can be so by chance.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    last: Option<([f64; 4], f64)>,
    found: Option<(u64, Timestamp)>,
}

impl Repeats {
    /// Takes the next bar.
    pub(super) fn observe(&mut self, bar: &StoredBar) {
        let [_, high, low, _] = bar.prices;
        let values = bar.volume.filter(|volume| high > low && *volume > 0.0).map(|volume| (bar.prices, volume));
        if values.is_some() && values == self.last {
            self.found.get_or_insert((0, bar.ts)).0 += 1;
        }
        self.last = values;
    }

    /// Returns what was found.
    pub(super) fn finish(self, series: &Series) -> Option<Finding> {
        let (count, first) = self.found.filter(|(count, _)| *count >= LEAST)?;
        let message = format!(
            "bars with the same values as the bar before: {count}, the first at {first}; probably the same bars under when they \
             begin and under when they end: remove the series, and load its files again, those of ends with --ts-is end"
        );
        Some(Finding::new(Kind::Repeated, series, count, first, message))
    }
}
