use std::fmt;

use super::file_name::stem;
use crate::{
    record::Timestamp,
    record::{Bar, Timeframe},
};

/// Says what neither the file nor the options tell, all of it at once, and proposes values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingOptions {
    /// Proposed from the file's name, if the symbol is missing.
    pub symbol: Option<String>,
    /// Proposed from the spacing of the first rows, if the timeframe is missing; where they show none, from the file's name,
    /// and else `1d` for dates and `TIMEFRAME` for times of day.
    pub timeframe: Option<String>,
    /// A column that is not used and seems to hold the symbols, if the symbol is missing.
    pub symbol_column: Option<String>,
}

impl fmt::Display for MissingOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the file names ")?;
        f.write_str(match (&self.symbol, &self.timeframe) {
            (Some(_), Some(_)) => "no symbol and no timeframe",
            (Some(_), None) => "no symbol",
            _ => "no timeframe",
        })
    }
}

/// Proposes a symbol from a file's name, and the timeframe if the name has one: `data/es f.csv` gives `ES F`, and
/// `AAPL_1d_2024-01.csv` gives `AAPL` and `1d`.
pub(crate) fn proposal_of(name: &str) -> (String, Option<Timeframe>) {
    let stem = stem(name);
    // From the right, words that are a timeframe or a date are no part of the symbol.
    let (mut rest, mut symbol, mut timeframe) = (stem, stem, None);
    while let Some((before, word)) = rest.rsplit_once(['_', '-', ' ', '.'])
        && !before.is_empty()
    {
        let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        let is_year =
            is_number && [4, 6, 8].contains(&word.len()) && (word.starts_with("19") || word.starts_with("20"));
        match word.parse() {
            _ if is_year => symbol = before,
            // A month or a day, if a year stands in front of it.
            _ if is_number && word.len() == 2 => {}
            // A letter or two can be a class of shares.
            Ok(found) if word.len() > 2 || word.bytes().any(|byte| byte.is_ascii_digit()) => {
                (symbol, timeframe) = (before, Some(found));
            }
            _ => break,
        }
        rest = before;
    }
    let is_date = symbol.contains('-') && symbol.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    match Bar::normal_symbol(symbol) {
        Ok(symbol) if !is_date && stem != "-" => {
            (symbol.trim_start_matches('.').trim_end_matches(',').into(), timeframe)
        }
        _ => ("SYMBOL".into(), timeframe),
    }
}

/// Proposes the timeframe of bars at these times: the smallest distance between two of them.
pub(crate) fn timeframe_of(times: &[Timestamp]) -> Option<String> {
    const DAY: i64 = 86_400;
    let mut seconds: Vec<i64> = times.iter().map(|ts| ts.as_micros().div_euclid(1_000_000)).collect();
    seconds.sort_unstable();
    seconds.dedup();
    let gap = seconds.windows(2).map(|pair| pair[1] - pair[0]).min()?;
    let days = (gap + DAY / 2) / DAY;
    Some(match days {
        // A day can have 23 hours where the clocks change.
        _ if gap < 23 * 3_600 => match gap {
            gap if gap % 3_600 == 0 => format!("{}h", gap / 3_600),
            gap if gap % 60 == 0 => format!("{}m", gap / 60),
            gap => format!("{gap}s"),
        },
        ..=5 => "1d".into(),
        6..=8 => "1w".into(),
        9..=45 => "1mo".into(),
        46..=120 => "3mo".into(),
        _ => "1y".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Sabotage: take the whole name for the symbol, or leave off what can be a part of it.
    #[test]
    fn a_symbol_is_proposed_from_the_file_name_and_the_timeframe_that_is_in_it() {
        for (name, symbol, timeframe) in [
            ("sp500.csv", "SP500", None),
            ("data/AAPL.2024.csv.gz", "AAPL", None),
            (r"C:\data\es f.csv", "ES F", None),
            ("AAPL_1d.csv", "AAPL", Some("1d")),
            ("AAPL-daily.csv", "AAPL", Some("1d")),
            ("btcusdt_1h_2024-01-02.csv.gz", "BTCUSDT", Some("1h")),
            ("ES_20240102_5min.csv", "ES", Some("5m")),
            ("2024-01 ES 1m.csv", "2024-01 ES", Some("1m")),
            ("BRK.B.csv", "BRK.B", None),
            ("BF-D.csv", "BF-D", None),
            ("BTCUSD_PERP.csv", "BTCUSD_PERP", None),
            ("XBTUSD_15.csv", "XBTUSD_15", None),
            // As TradingView names it.
            ("CBOE_SPX, 1D.csv", "CBOE_SPX", Some("1d")),
            ("SPY_bars.csv", "SPY_bars", None),
            ("1d.csv", "1D", None),
            ("2024-01-02.csv", "SYMBOL", None),
            (".hidden", "HIDDEN", None),
            ("-", "SYMBOL", None),
            ("", "SYMBOL", None),
        ] {
            let proposed = proposal_of(name);
            assert_eq!(
                (proposed.0.as_str(), proposed.1),
                (symbol, timeframe.map(|text| text.parse().unwrap())),
                "{name}"
            );
        }
    }

    #[test]
    fn a_timeframe_is_proposed_from_the_smallest_distance() {
        for (times, expected) in [
            (&["2024-01-05", "2024-01-08", "2024-01-09"][..], Some("1d")),
            (&["2024-01-05", "2024-01-08"], Some("1d")),
            (&["2024-03-09T05:00:00Z", "2024-03-10T04:00:00Z"], Some("1d")),
            (&["2024-01-12", "2024-01-05"], Some("1w")),
            (&["2024-01-01", "2024-02-01", "2024-03-01"], Some("1mo")),
            (&["2024-01-01", "2024-04-01"], Some("3mo")),
            (&["2023-12-31", "2024-12-31"], Some("1y")),
            (&["2024-01-05T09:30", "2024-01-05T09:31", "2024-01-05T09:31"], Some("1m")),
            (&["2024-01-05T09:30", "2024-01-05T10:30"], Some("1h")),
            (&["2024-01-05T09:30", "2024-01-05T11:00"], Some("90m")),
            (&["2024-01-05T09:30:00", "2024-01-05T09:30:15"], Some("15s")),
            (&["2024-01-05T09:30:00", "2024-01-05T09:30:00.5"], None),
            (&["2024-01-05"], None),
            (&[], None),
        ] {
            let times: Vec<Timestamp> = times.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(timeframe_of(&times).as_deref(), expected);
        }
    }
}
