//! Whether day and month were exchanged, as far as the dates of a series show it.
//!
//! A load that takes the day for the month, and refuses the dates that are none then, spreads the days of January over
//! a year: all of them become the first day of a month. So no date has a day above 12.

use jiff::tz::Offset;
use market_data_store::Timestamp;

const DAY: i64 = 86_400_000_000;

/// Fewer months are those of a short series that begins with a month.
const LEAST_MONTHS: u32 = 3;
/// So many dates have no day above 12 by chance in one of a hundred million series.
const LEAST_DATES: u32 = 20;

/// The dates of one series, in a few counters.
#[derive(Debug, Default)]
pub(super) struct DayNumbers {
    /// A bit for each number up to 12 that is there.
    numbers: u32,
    /// Whether one is above 12: then there is nothing to find.
    is_above: bool,
    dates: u32,
    months: u32,
    bars: u64,
    /// The day seen last, in days since 1970, and its month.
    last: Option<(i64, (i16, i8))>,
}

/// What the dates show.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Exchanged {
    pub(super) bars: u64,
    /// The least and the greatest number of a day.
    pub(super) numbers: [u32; 2],
    pub(super) months: u32,
}

impl DayNumbers {
    /// Takes the next bar; times come in ascending order.
    pub(super) fn observe(&mut self, ts: Timestamp) {
        self.bars += 1;
        let day = ts.as_micros().div_euclid(DAY);
        if self.is_above || self.last.is_some_and(|(last, _)| last == day) {
            return;
        }
        // Every time with a text is one of theirs.
        let Ok(instant) = jiff::Timestamp::from_microsecond(ts.as_micros()) else { return };
        let date = Offset::UTC.to_datetime(instant).date();
        let month = (date.year(), date.month());
        self.dates = self.dates.saturating_add(1);
        if self.last.is_none_or(|(_, last)| last != month) {
            self.months = self.months.saturating_add(1);
        }
        self.last = Some((day, month));
        self.is_above = date.day() > 12;
        self.numbers |= 1 << date.day();
    }

    /// Says whether day and month were probably exchanged.
    pub(super) fn finish(self, is_day_or_more: bool) -> Option<Exchanged> {
        if self.is_above || self.months < LEAST_MONTHS {
            return None;
        }
        let is_shown = if is_day_or_more {
            // Bars of months that were loaded as days lie on the first of each: they are no more than the months.
            self.dates >= LEAST_DATES && 2 * u64::from(self.dates) >= 3 * u64::from(self.months)
        } else {
            // The same few days of each month.
            self.dates >= LEAST_DATES || self.dates >= LEAST_MONTHS * self.numbers.count_ones()
        };
        let numbers = [self.numbers.trailing_zeros(), self.numbers.checked_ilog2().unwrap_or(0)];
        is_shown.then_some(Exchanged { bars: self.bars, numbers, months: self.months })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchanged(dates: impl IntoIterator<Item = String>, is_day_or_more: bool) -> Option<Exchanged> {
        let mut numbers = DayNumbers::default();
        let mut times: Vec<Timestamp> = dates.into_iter().map(|date| date.parse().unwrap()).collect();
        times.sort_unstable();
        times.into_iter().for_each(|ts| numbers.observe(ts));
        numbers.finish(is_day_or_more)
    }

    /// The dates of the days `from..=12` of some months, day and month exchanged, each at two hours.
    fn spread(months: std::ops::RangeInclusive<u32>, from: u32) -> impl Iterator<Item = String> {
        let days = months.flat_map(move |month| (from..=12).map(move |day| format!("2024-{day:02}-{month:02}")));
        days.flat_map(|date| ["09:30", "10:30"].map(|hour| format!("{date} {hour}")))
    }

    // Red if a day of hours spread over months passes, or one date above the twelfth is not looked at.
    #[test]
    fn hours_on_the_same_few_days_of_three_months_are_found() {
        assert_eq!(exchanged(spread(1..=1, 1), false), Some(Exchanged { bars: 24, numbers: [1, 1], months: 12 }));
        assert_eq!(exchanged(spread(1..=2, 10), false), Some(Exchanged { bars: 12, numbers: [1, 2], months: 3 }));
        assert_eq!(exchanged(spread(1..=12, 1), false).unwrap().numbers, [1, 12]);
        assert_eq!(exchanged(spread(1..=1, 11), false), None, "two months are too few");
        let with_one = spread(1..=1, 1).chain(["2024-03-13 09:30".into()]);
        assert_eq!(exchanged(with_one, false), None, "one day above the twelfth");
        // Three hours of three days, as a symbol that is seldom traded may have them.
        let seldom = ["2024-01-03 10:00", "2024-02-07 11:00", "2024-03-11 09:00"].map(str::to_owned);
        assert_eq!(exchanged(seldom, false), None);
    }

    // Red if few days suffice, or months under a timeframe of days count.
    #[test]
    fn twenty_days_without_one_above_the_twelfth_are_found() {
        let days = |months| spread(months, 1).filter_map(|date| date.strip_suffix(" 09:30").map(str::to_owned));
        assert_eq!(exchanged(days(1..=2), true), Some(Exchanged { bars: 24, numbers: [1, 2], months: 12 }));
        assert_eq!(exchanged(days(1..=2).take(19), true), None);
        let monthly = (1990..2024).flat_map(|year| (1..=12).map(move |month| format!("{year}-{month:02}-01")));
        assert_eq!(exchanged(monthly, true), None);
        let begun = (1..=12).map(|day| format!("2024-01-{day:02}"));
        assert_eq!(exchanged(begun, true), None);
    }
}
