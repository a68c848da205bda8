//! Days on which a series has no record.

use market_data_store::{Date, Timestamp};
use serde::Serialize;

use super::spacing::GAPS;

const DAY: i64 = 86_400_000_000;

/// The days of one series, in bounded memory.
#[derive(Debug, Default)]
pub(super) struct Days {
    last: Option<i64>,
    count: u64,
    /// The longest, longest first; of equals the earliest.
    gaps: Vec<DayGap>,
}

/// Days without a record between two with some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct DayGap {
    /// The day before.
    pub(super) after: Date,
    pub(super) days: i64,
}

impl Days {
    /// Takes the next time; they come in ascending order.
    pub(super) fn observe(&mut self, ts: Timestamp) {
        let day = ts.as_micros().div_euclid(DAY);
        let Some(last) = self.last.replace(day) else {
            self.count = 1;
            return;
        };
        if day == last {
            return;
        }
        self.count += 1;
        let days = day - last - 1;
        if days > 0
            && (self.gaps.len() < GAPS || self.gaps.last().is_some_and(|least| least.days < days))
            && let Some(after) = date(last)
        {
            let at = self.gaps.partition_point(|gap| gap.days >= days);
            self.gaps.insert(at, DayGap { after, days });
            self.gaps.truncate(GAPS);
        }
    }

    /// Returns how many days have a record, and the longest gaps.
    pub(super) fn finish(self) -> (u64, Vec<DayGap>) {
        (self.count, self.gaps)
    }
}

/// The date of a day since 1970.
fn date(day: i64) -> Option<Date> {
    Timestamp::from_micros(day.saturating_mul(DAY)).to_string().get(..10)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when a day is cut elsewhere than at 00:00 UTC, a day with a record counts as one without, or a shorter gap is
    // kept for a longer one.
    #[test]
    fn days_without_a_record_are_counted_between_those_with_some() {
        let mut days = Days::default();
        for time in [
            "1969-12-30T23:59:59Z",
            "1970-01-01T00:00:00Z",
            "1970-01-01T23:59:59.999999Z",
            "1970-01-02T00:00:00Z",
            "1970-01-05T12:00:00Z",
            "1970-01-07T12:00:00Z",
            "1970-01-11T12:00:00Z",
        ] {
            days.observe(time.parse().unwrap());
        }
        let (count, gaps) = days.finish();
        let gaps: Vec<_> = gaps.iter().map(|gap| (gap.after.to_string(), gap.days)).collect();
        assert_eq!(count, 6);
        assert_eq!(gaps, [("1970-01-07".into(), 3), ("1970-01-02".into(), 2), ("1969-12-30".into(), 1)]);
    }
}
