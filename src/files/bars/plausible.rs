//! Times, and prices of nothing, that can be read and are hardly meant: off the grid of their timeframe, before 1900, after tomorrow, or closer
//! together than their timeframe says.

use crate::{
    files::{missing_options::timeframe_of, row_error::RowError},
    record::{Bar, Timeframe, Timestamp},
};

/// The beginning of 1900.
const EARLIEST: Timestamp = Timestamp::from_secs(-2_208_988_800);
/// Tomorrow, wherever the clocks are ahead.
const AHEAD_SECONDS: i64 = 2 * 86_400;
/// So many distances between rows are looked at before they tell against the timeframe.
const DISTANCES: u64 = 8;
/// Sessions begin at a whole five minutes, and so does each bar of five minutes or more.
const SESSION_GRID_SECONDS: u64 = 300;

/// Holds the times of a file against what bars can have.
pub(super) struct Plausible {
    latest: Timestamp,
    /// Nothing is held against anything.
    is_off: bool,
    /// The grid of the last timeframe, in microseconds.
    grid: Option<(Timeframe, i64)>,
    /// How many rows are closer to the one before of their series than their timeframe, and how many are not.
    closer: u64,
    further: u64,
    first_closer: Option<Timestamp>,
    /// The shortest distance of those that are closer, in microseconds.
    shortest: Option<u64>,
    timeframe: Option<Timeframe>,
    /// How many rows go on in time, and how many go back, each with the first of them.
    onward: (u64, Option<Timestamp>),
    backward: (u64, Option<Timestamp>),
    /// Where the first row of less than a day lies between two multiples of its timeframe, in microseconds.
    phase: Option<(Timeframe, i64)>,
    /// How many rows lie there, how many elsewhere, and the first of these.
    on_phase: u64,
    off_phase: (u64, Option<Timestamp>),
    /// The first row elsewhere with one price and no volume, as of a last trade that is taken for a bar.
    flat: Option<Timestamp>,
}

impl Plausible {
    pub(super) fn new(is_off: bool, now: Timestamp) -> Self {
        Self {
            latest: latest(now),
            is_off,
            grid: None,
            closer: 0,
            further: 0,
            first_closer: None,
            shortest: None,
            timeframe: None,
            onward: (0, None),
            backward: (0, None),
            phase: None,
            on_phase: 0,
            off_phase: (0, None),
            flat: None,
        }
    }

    /// Takes all times as they are from now on.
    pub(super) fn turn_off(&mut self) {
        self.is_off = true;
    }

    /// Looks whether a bar can have this time.
    pub(super) fn check(&mut self, bar: &Bar) -> Result<(), RowError> {
        let ts = bar.ts;
        if self.is_off {
            return Ok(());
        }
        if [bar.open, bar.high, bar.low, bar.close] == [0.0; 4] {
            let message = "open: expected prices, got 0 for all four, as is written where nothing was traded; --as-written takes it";
            return Err(message.to_owned().into());
        }
        if ts > self.latest {
            // A pipe can be open for days. A week and more can be labelled by its end.
            self.latest = latest(Timestamp::now());
        }
        let length = bar.timeframe.least_seconds();
        let ahead = if length > 86_400 { length.saturating_mul(1_100_000) } else { 0 };
        let ahead = i64::try_from(ahead).unwrap_or(i64::MAX);
        if ts < EARLIEST || ts.as_micros() > self.latest.as_micros().saturating_add(ahead) {
            let year = ts.to_string();
            let year = year.split(['-', 'T']).next().unwrap_or_default();
            let message = format!("time: expected a time from 1900 to tomorrow, got {ts}; --as-written takes it");
            return Err(RowError::from(message).of_file(format!(
                "if {year} is a year of another calendar, convert its dates first; if it is read wrongly give --ts-format, and if it \
                 is meant --as-written"
            )));
        }
        let timeframe = bar.timeframe;
        if timeframe.is_day_or_more() {
            return Ok(());
        }
        let grid = match self.grid {
            Some((last, grid)) if last == timeframe => grid,
            _ => {
                // A divisor of 300 is at least 1.
                let grid = 1_000_000 * greatest_common_divisor(timeframe.least_seconds(), SESSION_GRID_SECONDS) as i64;
                self.grid = Some((timeframe, grid));
                grid
            }
        };
        match ts.as_micros().rem_euclid(grid) {
            0 => Ok(()),
            over => Err(off_grid(ts, timeframe, grid, over)),
        }
    }

    /// Takes the distance of a bar from the one before of its series. Returns why the file is not one of this timeframe,
    /// if most are closer than it says.
    pub(super) fn distance(&mut self, before: Option<Timestamp>, bar: &Bar) -> Option<String> {
        if self.is_off {
            return None;
        }
        self.look_at_phase(bar);
        self.timeframe = Some(bar.timeframe);
        let before = before.filter(|before| *before != bar.ts)?;
        let timeframe = bar.timeframe;
        let (rows, first) = if bar.ts > before { &mut self.onward } else { &mut self.backward };
        *rows += 1;
        first.get_or_insert(bar.ts);
        let micros = bar.ts.as_micros().abs_diff(before.as_micros());
        let length = bar.timeframe.least_seconds().saturating_mul(1_000_000);
        // A week can begin on a Tuesday, and a bar of hours is shorter where clocks change or a session ends.
        let least = if bar.timeframe.is_day_or_more() { length / 2 } else { length / 4 * 3 };
        if micros >= least {
            self.further += 1;
            return None;
        }
        self.closer += 1;
        self.first_closer.get_or_insert(bar.ts);
        let shortest = self.shortest.map_or(micros, |shortest| shortest.min(micros));
        self.shortest = Some(shortest);
        (self.closer + self.further >= DISTANCES && self.are_closer()).then(|| self.closer_than(timeframe))
    }

    /// Returns whether so many are closer that no end of a session explains it: bars of hours can be cut in two each day.
    fn are_closer(&self) -> bool {
        self.closer > 3 * self.further
    }

    /// Says that the bars are closer together than their timeframe.
    fn closer_than(&self, timeframe: Timeframe) -> String {
        let shortest = i64::try_from(self.shortest.unwrap_or_default()).unwrap_or(i64::MAX);
        let found = timeframe_of(&[Timestamp::default(), Timestamp::from_micros(shortest)]);
        let found = found.filter(|found| *found != timeframe.to_string());
        let such_as = found.map(|found| format!(", such as --timeframe {found},")).unwrap_or_default();
        format!(
            "time: expected bars that are {timeframe} apart, got {} of {} that are closer: give the timeframe of the rows{such_as} or \
             --as-written if it is {timeframe}",
            self.closer,
            self.closer + self.further
        )
    }

    /// Looks at the end of a file that was too short to show it before.
    pub(super) fn finish(&mut self) -> Option<String> {
        let timeframe = self.timeframe.filter(|_| self.are_closer() && self.closer + self.further < DISTANCES)?;
        // So few rows went out as they came.
        (self.closer > 1).then(|| {
            format!("{}; its rows were loaded as {timeframe}, so remove them first", self.closer_than(timeframe))
        })
    }
}

impl Plausible {
    fn look_at_phase(&mut self, bar: &Bar) {
        let timeframe = bar.timeframe;
        if timeframe.is_day_or_more() {
            return;
        }
        // Less than a day fits.
        let length = i64::try_from(timeframe.least_seconds()).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        // On a grid of its own length no bar lies elsewhere.
        if self.grid == Some((timeframe, length)) {
            return;
        }
        let phase = bar.ts.as_micros().rem_euclid(length.max(1));
        match self.phase {
            Some((first, at)) if first == timeframe && at != phase => {
                self.off_phase.0 += 1;
                self.off_phase.1.get_or_insert(bar.ts);
                if bar.open == bar.high && bar.low == bar.close && bar.high == bar.low && bar.volume == Some(0.0) {
                    self.flat.get_or_insert(bar.ts);
                }
            }
            Some((first, _)) if first == timeframe => self.on_phase += 1,
            Some(_) => {}
            None => self.phase = Some((timeframe, phase)),
        }
    }

    /// Returns what to say of times that are read and may be wrong, one line each.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let (few, many) =
            if self.backward.0 <= self.onward.0 { (self.backward, self.onward) } else { (self.onward, self.backward) };
        if let (rows @ 1.., Some(first)) = few {
            notes.push(format!(
                "rows are not in order of time: {rows} of {} turn back, the first at {first}; where a session begins the evening \
                 before, check that its date is not that of the next day",
                rows + many.0
            ));
        }
        if let Some(first) = self.first_closer {
            notes.push(format!(
                "rows that are closer to the one before than their timeframe: {} of {}, the first at {first}; where a session ends or \
                 clocks change that is so",
                self.closer,
                self.closer + self.further
            ));
        }
        let (rows, first) = self.off_phase;
        // Sessions have breaks, so many rows off the grid of the others are of another part of the day.
        let first = self.flat.or(first.filter(|_| 10 * rows <= self.on_phase));
        if let Some(first) = first {
            notes.push(format!(
                "rows off the grid of the others: {rows}, such as that of {first}; a last trade is no bar, so check whether it is one"
            ));
        }
        notes
    }
}

fn latest(now: Timestamp) -> Timestamp {
    Timestamp::from_micros(now.as_micros().saturating_add(AHEAD_SECONDS * 1_000_000))
}

#[cold]
fn off_grid(ts: Timestamp, timeframe: Timeframe, grid: i64, over: i64) -> RowError {
    let seconds = grid / 1_000_000;
    let step = if seconds % 60 == 0 { format!("{}m", seconds / 60) } else { format!("{seconds}s") };
    let message = format!("time: expected a multiple of {step} for a bar of {timeframe}, got {ts}");
    let is_last_moment = [1, 1_000, 1_000_000].contains(&(grid - over));
    let advice = if is_last_moment {
        "give --ts-is end if times are those at which bars end, or --as-written to take them as they are"
    } else {
        "give the timeframe of the rows, or --as-written to take times as they are"
    };
    RowError::from(message).of_file(advice)
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(timeframe: &str, ts: &str) -> Bar {
        Bar::new("A", timeframe.parse().unwrap(), ts.parse().unwrap()).ohlc(2.0, 4.0, 1.0, 3.0)
    }

    fn plausible() -> Plausible {
        Plausible::new(false, "2024-06-01T12:00:00Z".parse().unwrap())
    }

    // Red if a session that begins at 09:15 or 09:30 is off the grid, or a second within a minute is on it.
    #[test]
    fn a_time_off_the_grid_of_its_timeframe_is_an_error() {
        for (timeframe, ts, expected) in [
            ("1h", "2024-01-02T09:30:00Z", None),
            ("1h", "2024-01-02T03:45:00Z", None),
            ("4h", "2024-01-02T22:00:00Z", None),
            ("3m", "2024-01-02T09:31:00Z", None),
            ("1s", "2024-01-02T09:31:07Z", None),
            ("90s", "2024-01-02T09:31:30Z", None),
            ("1d", "2024-01-02T00:00:00Z", None),
            ("1m", "2024-01-02T09:31:07Z", Some("expected a multiple of 1m for a bar of 1m, got 2024-01-02T09:31:07Z")),
            ("5m", "2024-01-02T09:31:00Z", Some("expected a multiple of 5m for a bar of 5m")),
            ("1h", "2024-01-02T09:31:00Z", Some("expected a multiple of 5m for a bar of 1h")),
            ("1s", "2024-01-02T09:31:07.5Z", Some("expected a multiple of 1s for a bar of 1s")),
            ("1d", "1899-12-31", Some("expected a time from 1900 to tomorrow")),
            ("1d", "1402-10-12", Some("expected a time from 1900 to tomorrow, got 1402-10-12")),
            ("1d", "2924-06-04", Some("expected a time from 1900 to tomorrow")),
        ] {
            let error = plausible().check(&bar(timeframe, ts)).err().map(String::from);
            assert_eq!(error.is_some(), expected.is_some(), "{timeframe} {ts}: {error:?}");
            assert!(error.unwrap_or_default().contains(expected.unwrap_or_default()), "{timeframe} {ts}");
        }
        // A week and a month can be labelled by their ends. What is later than it was at the start is looked at anew.
        let in_days = |days: i64| {
            Timestamp::from_micros(
                Timestamp::now().as_micros() / 86_400_000_000 * 86_400_000_000 + days * 86_400_000_000,
            )
        };
        for (timeframe, days, expected) in
            [("1d", 1, true), ("1d", 4, false), ("1w", 6, true), ("1mo", 30, true), ("1w", 20, false)]
        {
            let bar = Bar { ts: in_days(days), ..bar(timeframe, "2024-01-02") };
            assert_eq!(plausible().check(&bar).is_ok(), expected, "{timeframe} {days}");
        }
        let nothing = bar("1d", "2024-01-02").ohlc(0.0, 0.0, 0.0, 0.0);
        assert!(plausible().check(&nothing).unwrap_err().to_string().contains("got 0 for all four"));
        let mut off = plausible();
        off.turn_off();
        assert!(off.check(&nothing).is_ok());
        assert!(off.check(&bar("1m", "1402-10-12T09:31:07Z")).is_ok());
        let (_, advice) = plausible().check(&bar("1m", "2024-01-02T09:30:59.999Z")).unwrap_err().into_parts();
        assert!(advice.unwrap().starts_with("give --ts-is end"));
    }

    // Red if a short bar in front of a break refuses the file, or minutes pass for hours.
    #[test]
    fn most_bars_are_as_far_apart_as_their_timeframe() {
        let times =
            ["09:30", "10:30", "11:30", "12:00", "13:00"].map(|time| bar("1h", &format!("2024-01-02T{time}:00Z")));
        let mut hours = plausible();
        for pair in times.windows(2) {
            assert_eq!(hours.distance(Some(pair[0].ts), &pair[1]), None);
        }
        let weeks = ["2024-01-09", "2024-01-15", "2024-01-22", "2024-01-26"].map(|date| bar("1w", date));
        let mut plausible_weeks = plausible();
        for pair in weeks.windows(2) {
            assert_eq!(plausible_weeks.distance(Some(pair[0].ts), &pair[1]), None);
        }
        // Of so many minutes each is closer than an hour; of three it shows at the end.
        let minutes: Vec<Bar> = (0..9).map(|row| bar("1h", &format!("2024-01-02T09:{:02}:00Z", 5 * row))).collect();
        let mut hours = plausible();
        assert_eq!(hours.distance(None, &minutes[0]), None);
        for pair in minutes.windows(2) {
            let refusal = hours.distance(Some(pair[0].ts), &pair[1]);
            assert_eq!(refusal.is_some(), pair[1].ts == minutes[8].ts, "{refusal:?}");
            assert!(refusal.is_none_or(|refusal| refusal.contains("such as --timeframe 5m")));
        }
        let mut three = plausible();
        for pair in minutes[..3].windows(2) {
            assert_eq!(three.distance(Some(pair[0].ts), &pair[1]), None);
        }
        assert!(three.finish().unwrap().contains("2 of 2 that are closer"));
        // A year that ends on a Friday.
        let years = ["2023-12-29", "2022-12-30", "2021-12-31"].map(|date| bar("1y", date));
        let mut newest_first = plausible();
        for pair in years.windows(2) {
            assert_eq!(newest_first.distance(Some(pair[0].ts), &pair[1]), None);
        }
        assert_eq!(newest_first.finish(), None);
    }
}
