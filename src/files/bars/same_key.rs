//! Rows of one file that have one key: a newer version of a bar, or another thing under the same name.
//!
//! The store keeps one row a key, so of two rows one goes. What is remembered is a window of the last rows. A file whose
//! series are in order of time needs no look into it: a time beyond all that its series had is new.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;
use smol_str::SmolStr;

use crate::record::{Adjustment, Bar, Timeframe, Timestamp};

/// So many rows are remembered.
const ROWS: usize = 100_000;
/// So many bytes of their text are remembered, which is less where lines are long.
const TEXT_BYTES: usize = 8 << 20;
/// So many series are told apart; beyond, all is forgotten and begins afresh.
const SERIES: usize = 100_000;

type Series = (SmolStr, SmolStr, Timeframe, Adjustment);

/// The last rows of a file by their keys.
#[derive(Default)]
pub(super) struct SameKey {
    series: HashMap<Series, usize, RandomState>,
    /// The earliest, latest and last time of each.
    spans: Vec<[i64; 3]>,
    /// The series of the last row, since most rows are of the same.
    last: Option<(Series, usize)>,
    rows: VecDeque<Seen>,
    /// The number of the first of `rows`, counted from the beginning of the file.
    first: usize,
    /// The number of the last row of each key; made once a row is not beyond all others.
    index: Option<HashMap<(usize, i64), usize, RandomState>>,
    texts: VecDeque<u8>,
    /// Where the first of `texts` stands, counted likewise.
    texts_from: usize,
}

/// A row that was handed over.
struct Seen {
    series: usize,
    ts: i64,
    line: u64,
    prices: [f64; 4],
    /// Not a number where there is none.
    volume: f64,
    text: (usize, usize),
}

/// A row that came before, of the same key.
#[derive(Debug, PartialEq)]
pub(super) struct Earlier {
    pub(super) line: u64,
    /// The row as it was written, empty where it was not worth to be kept; none if that was too long ago.
    pub(super) text: Option<String>,
    /// Whether the later row is the same bar once more.
    pub(super) is_same: bool,
    /// Whether the later row is plainly a newer version of the bar: the same open, and a range and a volume that only grow.
    pub(super) is_older: bool,
}

/// What is known of the key of a row.
#[derive(Debug, PartialEq)]
pub(super) enum Key {
    /// No row of the window has it; the time of the row before in its series.
    New(Option<Timestamp>),
    Taken(Earlier),
}

impl SameKey {
    /// Looks whether a row of this key was there. [`add`](Self::add) remembers the same bar.
    pub(super) fn look_up(&mut self, bar: &Bar) -> Key {
        let series = self.series_of(bar);
        let ts = bar.ts.as_micros();
        let [earliest, latest, last] = self.spans[series];
        let new = Key::New((earliest <= latest).then(|| Timestamp::from_micros(last)));
        if ts < earliest || ts > latest {
            return new;
        }
        let index = self.index.get_or_insert_with(|| {
            self.rows.iter().enumerate().map(|(at, row)| ((row.series, row.ts), self.first + at)).collect()
        });
        let Some(row) = index.get(&(series, ts)).and_then(|number| self.rows.get(number - self.first)) else {
            return new;
        };
        let (from, to) = row.text;
        let text = (from == to || from >= self.texts_from).then(|| {
            if from == to {
                return String::new();
            }
            let bytes = self.texts.range(from - self.texts_from..to - self.texts_from).copied().collect();
            // It was a text before, so nothing is lost.
            String::from_utf8(bytes).unwrap_or_default()
        });
        Key::Taken(Earlier { line: row.line, text, is_same: row.is_same_as(bar), is_older: row.is_older_than(bar) })
    }

    /// Remembers a row that is handed over, and that was looked up.
    pub(super) fn add(&mut self, line: u64, bar: &Bar, text: &str) {
        // It was looked up right before.
        let series = self.last.as_ref().map_or(0, |(_, series)| *series);
        let ts = bar.ts.as_micros();
        let [earliest, latest, _] = self.spans[series];
        self.spans[series] = [ts.min(earliest), ts.max(latest), ts];
        if self.rows.len() == ROWS {
            self.forget_first();
        }
        let from = self.texts_from + self.texts.len();
        let text = if text.len() > TEXT_BYTES { "" } else { text };
        if !text.is_empty() {
            self.texts.extend(text.as_bytes());
            let surplus = self.texts.len().saturating_sub(TEXT_BYTES);
            self.texts.drain(..surplus);
            self.texts_from += surplus;
        }
        let Bar { open, high, low, close, volume, .. } = *bar;
        let number = self.first + self.rows.len();
        if let Some(index) = &mut self.index {
            index.insert((series, ts), number);
        }
        self.rows.push_back(Seen {
            series,
            ts,
            line,
            prices: [open, high, low, close],
            volume: volume.unwrap_or(f64::NAN),
            text: (from, from + text.len()),
        });
    }

    fn forget_first(&mut self) {
        let Some(row) = self.rows.pop_front() else { return };
        if let Some(index) = &mut self.index
            && index.get(&(row.series, row.ts)) == Some(&self.first)
        {
            index.remove(&(row.series, row.ts));
        }
        self.first += 1;
        let surplus = row.text.1.saturating_sub(self.texts_from);
        if surplus > 0 {
            self.texts.drain(..surplus);
            self.texts_from += surplus;
        }
    }

    fn series_of(&mut self, bar: &Bar) -> usize {
        if let Some(((vendor, symbol, timeframe, adjustment), series)) = &self.last
            && *symbol == bar.symbol
            && *timeframe == bar.timeframe
            && *vendor == bar.vendor
            && *adjustment == bar.adjustment
        {
            return *series;
        }
        let key = (bar.vendor.clone(), bar.symbol.clone(), bar.timeframe, bar.adjustment);
        let series = match self.series.get(&key) {
            Some(series) => *series,
            None => {
                if self.series.len() == SERIES {
                    *self = Self::default();
                }
                let series = self.series.len();
                self.series.insert(key.clone(), series);
                // No time is beyond these, so the first row of it is new.
                self.spans.push([i64::MAX, i64::MIN, 0]);
                series
            }
        };
        self.last = Some((key, series));
        series
    }
}

impl Seen {
    fn is_same_as(&self, bar: &Bar) -> bool {
        let volume = if self.volume.is_nan() { None } else { Some(self.volume) };
        self.prices == [bar.open, bar.high, bar.low, bar.close] && volume == bar.volume
    }

    fn is_older_than(&self, bar: &Bar) -> bool {
        let [open, high, low, close] = self.prices;
        // What was written alike is alike.
        let is_same = self.prices == [bar.open, bar.high, bar.low, bar.close];
        let has_grown = match (self.volume, bar.volume) {
            (before, None) => before.is_nan(),
            (before, Some(_)) if before.is_nan() => true,
            // Where nothing is counted, the count says nothing.
            (before, Some(now)) => now > before || now == before && (is_same || now == 0.0),
        };
        let is_within = (bar.low..=bar.high).contains(&close);
        has_grown && open == bar.open && bar.high >= high && bar.low <= low && is_within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(symbol: &str, minute: i64) -> Bar {
        Bar::new(symbol, Timeframe::MINUTE, Timestamp::from_secs(60 * minute)).ohlc(2.0, 4.0, 1.0, 3.0).volume(10.0)
    }

    fn line_of(key: Key) -> Option<u64> {
        match key {
            Key::New(_) => None,
            Key::Taken(Earlier { line, .. }) => Some(line),
        }
    }

    // Red if a row is looked for in one direction of time only, or in the series of another symbol.
    #[test]
    fn a_key_is_found_whatever_the_order_of_the_file() {
        for minutes in [[1, 2, 3, 4], [4, 3, 2, 1], [2, 4, 1, 3]] {
            let mut keys = SameKey::default();
            for (line, minute) in minutes.into_iter().enumerate() {
                for symbol in ["A", "B"] {
                    assert_eq!(line_of(keys.look_up(&bar(symbol, minute))), None, "{minutes:?}");
                    keys.add(line as u64, &bar(symbol, minute), "text");
                }
            }
            for (line, minute) in minutes.into_iter().enumerate() {
                let found = keys.look_up(&bar("A", minute));
                let expected = Earlier { line: line as u64, text: Some("text".into()), is_same: true, is_older: true };
                assert_eq!(found, Key::Taken(expected), "{minutes:?}");
            }
            assert_eq!(line_of(keys.look_up(&bar("C", 1))), None);
        }
    }

    // Red if the window grows with the file, forgets too early, or finds by an index what is gone.
    #[test]
    fn the_window_has_its_size_and_forgets_the_oldest() {
        let mut keys = SameKey::default();
        for minute in 0..ROWS as i64 + 10 {
            assert_eq!(line_of(keys.look_up(&bar("A", minute))), None);
            keys.add(minute as u64, &bar("A", minute), &"x".repeat(200));
            if minute == 50 {
                // From now on there is an index.
                assert_eq!(line_of(keys.look_up(&bar("A", 3))), Some(3));
            }
        }
        assert_eq!((keys.rows.len(), keys.texts.len()), (ROWS, TEXT_BYTES));
        assert_eq!(line_of(keys.look_up(&bar("A", 9))), None);
        assert_eq!(
            keys.look_up(&bar("A", 10)),
            Key::Taken(Earlier { line: 10, text: None, is_same: true, is_older: true })
        );
        let Key::Taken(Earlier { text, .. }) = keys.look_up(&bar("A", ROWS as i64)) else { panic!() };
        assert_eq!(text, Some("x".repeat(200)));
        assert_eq!(keys.index.map(|index| index.len()), Some(ROWS));
    }

    // Red if a bar of another thing passes for a newer version, or a newer version for another thing.
    #[test]
    fn a_newer_version_has_the_same_open_and_only_grows() {
        let grown =
            |open, high, low, close, volume: Option<f64>| Bar { volume, ..bar("A", 1).ohlc(open, high, low, close) };
        for (before, now, expected) in [
            (Some(10.0), grown(2.0, 4.0, 1.0, 3.0, Some(10.0)), true),
            (Some(10.0), grown(2.0, 5.0, 0.5, 4.5, Some(11.0)), true),
            (Some(10.0), grown(2.0, 4.0, 1.0, 2.0, Some(11.0)), true),
            (None, grown(2.0, 4.0, 1.0, 2.0, None), true),
            (Some(0.0), grown(2.0, 4.0, 1.0, 2.0, Some(0.0)), true),
            (None, grown(2.0, 4.0, 1.0, 2.0, Some(1.0)), true),
            (Some(10.0), grown(2.0, 4.0, 1.0, 2.0, Some(10.0)), false),
            (Some(10.0), grown(2.0, 4.0, 1.0, 2.0, None), false),
            (Some(10.0), grown(2.0, 4.0, 1.0, 3.0, Some(9.0)), false),
            (Some(10.0), grown(2.5, 4.0, 1.0, 3.0, Some(11.0)), false),
            (Some(10.0), grown(2.0, 3.5, 1.0, 3.0, Some(11.0)), false),
            (Some(10.0), grown(2.0, 4.0, 1.5, 3.0, Some(11.0)), false),
        ] {
            let mut keys = SameKey::default();
            let _ = keys.look_up(&bar("A", 1));
            keys.add(1, &Bar { volume: before, ..bar("A", 1) }, "");
            let Key::Taken(Earlier { is_older, .. }) = keys.look_up(&now) else { panic!("{now:?}") };
            assert_eq!(is_older, expected, "{before:?} {now:?}");
        }
    }
}
