use std::fmt;

use super::named::stem;
use crate::{
    record::timestamp::Timestamp,
    record::{Bar, Timeframe},
};

/// Says what neither the file nor the options tell, all of it at once, and proposes values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Proposed from the file's name, if the symbol is missing.
    pub symbol: Option<String>,
    /// Proposed from the spacing of the first rows, if the timeframe is missing; where they show none, from the file's name,
    /// and else `1d` for dates and `TIMEFRAME` for times of day.
    pub timeframe: Option<String>,
    /// A column that is not used and seems to hold the symbols, if the symbol is missing.
    pub symbol_column: Option<String>,
}

impl Missing {
    /// Returns the command that the user typed (`mds ingest FILE...`, as words) with what is missing put in, ready for
    /// the shell.
    pub fn corrected(&self, words: &[impl AsRef<str>]) -> String {
        let mut words: Vec<String> = words.iter().map(|word| word.as_ref().to_owned()).collect();
        let mut map = self.symbol_column.as_ref().map(|column| format!("symbol={column}"));
        let symbol = self.symbol.clone().filter(|_| map.is_none());
        // There is one `--map`, which may be there already.
        let given = words.iter().position(|word| word == "--map").map(|at| at + 1);
        let given = given.or_else(|| words.iter().position(|word| word.starts_with("--map=")));
        if let Some(value) = given.and_then(|at| words.get_mut(at))
            && let Some(map) = map.take()
        {
            *value = format!("{value},{map}");
        }
        let command = words.iter().position(|word| word == "ingest").map_or(words.len(), |at| at + 1);
        let options = [("--symbol", symbol), ("--map", map), ("--timeframe", self.timeframe.clone())];
        let options = options.into_iter().filter_map(|(option, value)| Some([option.to_owned(), value?]));
        words.splice(command..command, options.flatten());
        words.iter().map(|word| shell_quote(word)).collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the file names ")?;
        f.write_str(match (&self.symbol, &self.timeframe) {
            (Some(_), Some(_)) => "no symbol and no timeframe",
            (Some(_), None) => "no symbol",
            _ => "no timeframe",
        })
    }
}

/// Quotes a word for a POSIX shell, if it needs quotes.
pub fn shell_quote(word: &str) -> String {
    if word.contains(char::is_control) {
        // Byte by byte, since a terminal would obey what stands here.
        let escaped = word.bytes().map(|byte| match byte {
            b'\'' | b'\\' => format!("\\{}", char::from(byte)),
            b' '..=b'~' => char::from(byte).to_string(),
            byte => format!("\\{byte:03o}"),
        });
        return format!("$'{}'", escaped.collect::<String>());
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// Proposes a symbol from a file's name, and the timeframe if the name has one: `data/es f.csv` gives `ES F`, and
/// `AAPL_1d_2024-01.csv` gives `AAPL` and `1d`.
pub(super) fn proposal_of(name: &str) -> (String, Option<Timeframe>) {
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
pub(super) fn timeframe_of(times: &[Timestamp]) -> Option<String> {
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

    #[test]
    fn the_corrected_command_line_can_be_pasted() {
        let missing = Missing { symbol: Some("ES F".into()), timeframe: Some("1d".into()), symbol_column: None };
        assert_eq!(missing.to_string(), "the file names no symbol and no timeframe");
        assert_eq!(
            missing.corrected(&["mds", "ingest", "--tz", "Europe/Berlin", "it's mine.csv"]),
            r"mds ingest --symbol 'ES F' --timeframe 1d --tz Europe/Berlin 'it'\''s mine.csv'"
        );
        let missing = Missing { symbol: None, timeframe: Some("5m".into()), symbol_column: None };
        assert_eq!(missing.to_string(), "the file names no timeframe");
        assert_eq!(missing.corrected(&["mds", "ingest", "a.csv"]), "mds ingest --timeframe 5m a.csv");
        let missing = Missing { symbol: Some("ALL".into()), timeframe: None, symbol_column: Some("Name".into()) };
        for (options, expected) in [
            ("", "--map symbol=Name "),
            ("--map ts=when ", "--map ts=when,symbol=Name "),
            ("--map=ts=when ", "--map=ts=when,symbol=Name "),
        ] {
            let typed = format!("mds ingest {options}all.csv");
            let words: Vec<&str> = typed.split(' ').collect();
            assert_eq!(missing.corrected(&words), format!("mds ingest {expected}all.csv"));
        }
        assert_eq!(shell_quote(""), "''");
        assert_eq!(shell_quote("$(rm) ~"), "'$(rm) ~'");
        assert_eq!(shell_quote("it's\na\\\u{1b}ä"), r"$'it\'s\012a\\\033\303\244'");
    }

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
