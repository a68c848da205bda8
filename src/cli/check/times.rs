//! Where the times of a series do not fit its timeframe, or the calendar.

use market_data_store::{Timeframe, Timestamp, record::Unit};

use super::{
    day_numbers::{DayNumbers, Exchanged},
    finding::{Finding, Kind},
    length::Length,
    series::Series,
    span::span,
};

const DAY: i64 = 86_400_000_000;
/// Sessions begin at any of these, such as 09:15, and so do their hours. In UTC too: zones differ by quarters of an
/// hour.
const SESSION_STEP: i64 = 300_000_000;
/// Fewer bars that are too close together are those of a week or a month that is not whole.
const LEAST_TOO_CLOSE: u64 = 3;
/// 1900-01-01T00:00:00Z.
const YEAR_1900: Timestamp = Timestamp::from_secs(-2_208_988_800);

/// The times of one series, in a few counters.
#[derive(Debug)]
pub(super) struct Times {
    timeframe: Timeframe,
    /// Each time is a multiple of it, in microseconds.
    grid: i64,
    /// The shortest span of its timeframe, in microseconds.
    least: i64,
    /// The beginning of the day after tomorrow.
    end: Timestamp,
    off_grid: Tally,
    before_1900: Tally,
    after_tomorrow: Tally,
    too_close: Tally,
    bars: u64,
    last: Option<Timestamp>,
    /// None for weeks and longer, which may begin on any day.
    day_numbers: Option<DayNumbers>,
}

/// How many bars show something, and the first of them.
#[derive(Debug, Default)]
struct Tally(Option<(u64, Timestamp)>);

impl Tally {
    fn add(&mut self, ts: Timestamp) {
        self.0.get_or_insert((0, ts)).0 += 1;
    }
}

impl Times {
    pub(super) fn new(timeframe: Timeframe, now: Timestamp) -> Self {
        let least = Length::of(timeframe).least_micros();
        let grid = if timeframe.is_day_or_more() { DAY } else { greatest_common_divisor(least, SESSION_STEP) };
        let today = now.as_micros().div_euclid(DAY);
        Self {
            timeframe,
            grid,
            least,
            // A week and more can be labelled by its end.
            end: Timestamp::from_micros((today + 2).saturating_mul(DAY).saturating_add(if least > DAY {
                least.saturating_add(least / 10)
            } else {
                0
            })),
            off_grid: Tally::default(),
            before_1900: Tally::default(),
            after_tomorrow: Tally::default(),
            too_close: Tally::default(),
            bars: 0,
            last: None,
            day_numbers: (timeframe.unit() <= Unit::Day).then(DayNumbers::default),
        }
    }

    /// Takes the next bar; times come in ascending order.
    pub(super) fn observe(&mut self, ts: Timestamp) {
        self.bars += 1;
        if ts.as_micros().rem_euclid(self.grid) != 0 {
            self.off_grid.add(ts);
        }
        if ts < YEAR_1900 {
            self.before_1900.add(ts);
        }
        if ts >= self.end {
            self.after_tomorrow.add(ts);
        }
        if let Some(last) = self.last.replace(ts)
            && ts.as_micros().saturating_sub(last.as_micros()) < self.least
        {
            self.too_close.add(ts);
        }
        if let Some(numbers) = &mut self.day_numbers {
            numbers.observe(ts);
        }
    }

    /// Says what was found. `usual` is the most frequent distance between two bars, in microseconds.
    pub(super) fn finish(self, series: &Series, first: Option<Timestamp>, usual: Option<i64>) -> Vec<Finding> {
        let Self { timeframe, bars, .. } = self;
        let mut findings = Vec::new();
        let mut find = |kind, tally: Tally, message: &dyn Fn(String) -> String| {
            if let Some((count, first)) = tally.0 {
                let message = message(format!("{count} of {bars}, the first at {first}"));
                findings.push(Finding::new(kind, series, count, first, message));
            }
        };
        find(Kind::OffGrid, self.off_grid, &|which| match timeframe.is_day_or_more() {
            true => format!(
                "times that are not 00:00 UTC: {which}; probably midnight in another zone: remove these bars, and load \
                 the file again with --tz ZONE"
            ),
            false => format!(
                "times off the grid, no multiple of {}: {which}; probably those of a last trade or of the end of a bar: \
                 remove these bars, and load the file again with the column that says when a bar begins (--map \
                 ts=COLUMN)",
                span(self.grid)
            ),
        });
        find(Kind::Before1900, self.before_1900, &|which| {
            format!(
                "dates before 1900: {which}; probably years of two digits or of another calendar: remove these bars, \
                 and load the file again with --ts-format F, or with its dates converted"
            )
        });
        find(Kind::AfterTomorrow, self.after_tomorrow, &|which| {
            format!(
                "dates after tomorrow: {which}; probably day and month exchanged, integers of another unit, or years \
                 of another calendar: remove these bars, and load the file again with --ts-format F, or with its dates \
                 converted"
            )
        });
        // Half of the distances can be shorter where a session has an hour and a half.
        let is_most = self.too_close.0.is_some_and(|(count, _)| count >= LEAST_TOO_CLOSE && 2 * count > bars - 1);
        find(Kind::CloserThanTimeframe, if is_most { self.too_close } else { Tally::default() }, &|which| {
            let usual = usual.map(|usual| format!(" (most often {})", span(usual))).unwrap_or_default();
            format!(
                "bars less than {timeframe} behind the one before{usual}: {which}; probably bars of a shorter \
                 timeframe: remove the series, and load the file again with its own --timeframe"
            )
        });
        let exchanged = self.day_numbers.and_then(|numbers| numbers.finish(timeframe.is_day_or_more()));
        if let (Some(Exchanged { bars, numbers: [least, most], months }), Some(first)) = (exchanged, first) {
            let days = if least == most { format!("day {least}") } else { format!("days {least} to {most}") };
            let message = format!(
                "all bars are of {days} of a month, in {months} months, the first at {first}; probably day and month \
                 were exchanged: remove the series, and load the file again with --ts-format F, such as '%d/%m/%Y' for \
                 31/12/2024"
            );
            findings.push(Finding::new(Kind::DayAndMonth, series, bars, first, message));
        }
        findings
    }
}

fn greatest_common_divisor(mut a: i64, mut b: i64) -> i64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
