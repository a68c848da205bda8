//! Two series that are one, spelled in two ways.

use market_data_store::{Timeframe, Timestamp};

use super::length::Length;

/// What stands between the parts of a symbol. Not `=` and `^`, which tell things apart: `CL=F` is crude oil, and `CLF`
/// a company.
const SEPARATORS: [char; 6] = ['/', '-', '_', ':', ' ', '.'];

/// A week without bars is a holiday.
const HOLIDAY: i64 = 7 * 86_400_000_000;

/// A series, as far as it can be the same as another.
#[derive(Debug)]
pub(super) struct Spelled {
    /// Vendor and symbol without separators, in upper case, and the adjustment.
    letters: [String; 3],
    length: Length,
    separator: Separator,
    first: Timestamp,
    last: Timestamp,
    /// Its place among all series.
    index: usize,
}

/// What separates the parts of a symbol. `BRK.B` and `BRK-B` are one, and so are `BTC/USDT` and `BTCUSDT`; but `T.TO`
/// is a company in Toronto, and `TTO` one in New York.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Separator {
    Nothing,
    Point,
    Other,
}

impl Separator {
    const ALL: [Self; 3] = [Self::Nothing, Self::Point, Self::Other];

    fn of(symbol: &str) -> Self {
        match symbol.chars().filter(|char| SEPARATORS.contains(char)).max_by_key(|char| *char != '.') {
            None => Self::Nothing,
            Some('.') => Self::Point,
            Some(_) => Self::Other,
        }
    }

    fn can_be(self, other: Self) -> bool {
        !matches!((self, other), (Self::Nothing, Self::Point) | (Self::Point, Self::Nothing))
    }
}

impl Spelled {
    pub(super) fn new(
        [vendor, symbol, adjustment]: [&str; 3],
        timeframe: Timeframe,
        [first, last]: [Timestamp; 2],
        index: usize,
    ) -> Self {
        let letters = [vendor, symbol, adjustment].map(|name| name.replace(SEPARATORS, "").to_uppercase());
        Self { letters, length: Length::of(timeframe), separator: Separator::of(symbol), first, last, index }
    }

    fn key(&self) -> (&[String; 3], Length) {
        (&self.letters, self.length)
    }

    /// Returns whether another that begins no earlier goes on with this one, or lies beside it.
    fn meets(&self, later: &Self) -> bool {
        let distance = later.first.as_micros().saturating_sub(self.last.as_micros());
        distance <= HOLIDAY.max(self.length.least_micros().saturating_mul(2))
    }
}

/// Returns the series that are probably one, two at a time, by their places.
pub(super) fn same_series(mut all: Vec<Spelled>) -> Vec<[usize; 2]> {
    all.sort_by(|a, b| a.key().cmp(&b.key()).then((a.first, a.index).cmp(&(b.first, b.index))));
    let mut pairs = Vec::new();
    for group in all.chunk_by(|a, b| a.key() == b.key()) {
        // Of those that begin before: the one that ends last, by separator.
        let mut before: [Option<&Spelled>; 3] = [None; 3];
        for one in group {
            let others = before.iter().flatten().filter(|other| other.separator.can_be(one.separator));
            if let Some(other) = others.max_by_key(|other| other.last).filter(|other| other.meets(one)) {
                pairs.push([other.index, one.index]);
            }
            let place = Separator::ALL.iter().position(|separator| *separator == one.separator).unwrap_or(0);
            if before[place].is_none_or(|other| other.last < one.last) {
                before[place] = Some(one);
            }
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn pairs(all: &[(&str, &str, &str, [i64; 2])]) -> Vec<[usize; 2]> {
        let spelled = all.iter().enumerate().map(|(index, (vendor, symbol, timeframe, days))| {
            let ends = days.map(|day| Timestamp::from_secs(day * DAY));
            Spelled::new([vendor, symbol, "unknown"], timeframe.parse().unwrap(), ends, index)
        });
        same_series(spelled.collect())
    }

    // Red if what differs in a letter or in `=`, `^` or a point alone is taken for one, or what differs in punctuation
    // is not.
    #[test]
    fn names_are_one_if_they_differ_in_punctuation_or_case_only() {
        for (a, b, is_one) in [
            ("BTC/USDT", "BTCUSDT", true),
            ("BTC-USDT", "BTC/USDT", true),
            ("BTC_USDT", "BTCUSDT", true),
            ("BACpB", "BAC-PB", true),
            ("BRK.B", "BRK-B", true),
            ("BRK B", "BRKB", true),
            ("T.TO", "TTO", false),
            ("CL=F", "CLF", false),
            ("^DJT", "DJT", false),
            ("BTC/USDT", "BTC/USDC", false),
            ("BTC/USDT", "BTC/USDT:USDT", false),
        ] {
            let found = pairs(&[("acme", a, "1m", [0, 9]), ("acme", b, "1m", [0, 9])]);
            assert_eq!(!found.is_empty(), is_one, "{a} and {b}");
        }
        assert_eq!(pairs(&[("Acme", "ES", "1m", [0, 9]), ("acme", "ES", "1m", [0, 9])]), [[0, 1]]);
        assert_eq!(pairs(&[("acme", "ES", "1m", [0, 9]), ("other", "ES", "1m", [0, 9])]), [[0; 2]; 0]);
    }

    // Red if two of one length are not seen as such, or two of different lengths are.
    #[test]
    fn timeframes_are_one_if_they_are_equally_long() {
        for (a, b, is_one) in [
            ("60m", "1h", true),
            ("24h", "1d", true),
            ("7d", "1w", true),
            ("12mo", "1y", true),
            ("60s", "1m", true),
            ("1m", "1mo", false),
            ("30d", "1mo", false),
            ("1h", "1d", false),
        ] {
            let found = pairs(&[("acme", "ES", a, [0, 9]), ("acme", "ES", b, [0, 9])]);
            assert_eq!(!found.is_empty(), is_one, "{a} and {b}");
        }
    }

    // Red if a series is held against the one before it alone, or all that share a name are one.
    #[test]
    fn only_series_whose_times_meet_are_one() {
        let named = |symbol, days| ("acme", symbol, "1h", days);
        assert_eq!(pairs(&[named("A/B", [0, 10]), named("AB", [17, 20])]), [[0, 1]]);
        assert_eq!(pairs(&[named("A/B", [0, 10]), named("AB", [18, 20])]), [[0; 2]; 0]);
        assert_eq!(pairs(&[named("AB", [30, 40]), named("A-B", [2, 4]), named("A/B", [0, 50])]), [[2, 1], [2, 0]]);
        let months = |symbol, days| ("acme", symbol, "1mo", days);
        assert_eq!(pairs(&[months("A/B", [0, 31]), months("AB", [59, 90])]), [[0, 1]]);
    }
}
