use std::fmt;

use crate::{record::Bar, timestamp::Timestamp};

/// Says what neither the file nor the options tell, all of it at once, and proposes values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// Proposed from the file's name, if the symbol is missing.
    pub symbol: Option<String>,
    /// Proposed from the spacing of the first rows, if the timeframe is missing; where they show none, `1d` for dates and
    /// `TIMEFRAME` for times of day.
    pub timeframe: Option<String>,
}

impl Missing {
    /// Returns the command that the user typed (`mds ingest FILE...`, as words) with what is missing put in, ready for
    /// the shell.
    pub fn corrected(&self, words: &[impl AsRef<str>]) -> String {
        let mut words: Vec<String> = words.iter().map(|word| shell_quote(word.as_ref())).collect();
        let command = words.iter().position(|word| word == "ingest").map_or(words.len(), |at| at + 1);
        let options = [("--symbol", &self.symbol), ("--timeframe", &self.timeframe)];
        let options = options.into_iter().filter_map(|(option, value)| Some((option, value.as_deref()?)));
        let options: Vec<_> = options.flat_map(|(option, value)| [option.to_owned(), shell_quote(value)]).collect();
        words.splice(command..command, options);
        words.join(" ")
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

/// Proposes a symbol from a file's name: `data/es f.csv` gives `ES F`.
pub(super) fn symbol_of(name: &str) -> String {
    let file = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = file.split('.').find(|part| !part.is_empty()).unwrap_or_default();
    match Bar::normal_symbol(stem) {
        Ok(symbol) if stem != "-" => symbol.into(),
        _ => "SYMBOL".into(),
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
        let missing = Missing { symbol: Some("ES F".into()), timeframe: Some("1d".into()) };
        assert_eq!(missing.to_string(), "the file names no symbol and no timeframe");
        assert_eq!(
            missing.corrected(&["mds", "ingest", "--tz", "Europe/Berlin", "it's mine.csv"]),
            r"mds ingest --symbol 'ES F' --timeframe 1d --tz Europe/Berlin 'it'\''s mine.csv'"
        );
        let missing = Missing { symbol: None, timeframe: Some("5m".into()) };
        assert_eq!(missing.to_string(), "the file names no timeframe");
        assert_eq!(missing.corrected(&["mds", "ingest", "a.csv"]), "mds ingest --timeframe 5m a.csv");
        assert_eq!(shell_quote(""), "''");
        assert_eq!(shell_quote("$(rm) ~"), "'$(rm) ~'");
        assert_eq!(shell_quote("it's\na\\\u{1b}ä"), r"$'it\'s\012a\\\033\303\244'");
    }

    #[test]
    fn a_symbol_is_proposed_from_the_file_name() {
        for (name, expected) in [
            ("sp500.csv", "SP500"),
            ("data/AAPL.2024.csv.gz", "AAPL"),
            (r"C:\data\es f.csv", "ES F"),
            (".hidden", "HIDDEN"),
            ("-", "SYMBOL"),
            ("", "SYMBOL"),
        ] {
            assert_eq!(symbol_of(name), expected, "{name}");
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
