//! The command line as it should have been typed.

use market_data_store::{files::MissingOptions, text::Shown};

/// Returns the command that the user typed (`mds ingest FILE...`, as words) with what is missing put in, ready for the
/// shell.
pub fn corrected(missing: &MissingOptions, words: &[impl AsRef<str>]) -> String {
    let mut words: Vec<String> = words.iter().map(|word| word.as_ref().to_owned()).collect();
    let mut map = missing.symbol_column.as_ref().map(|column| format!("symbol={column}"));
    let symbol = missing.symbol.clone().filter(|_| map.is_none());
    // There is one `--map`, which may be there already.
    let given = words.iter().position(|word| word == "--map").map(|at| at + 1);
    let given = given.or_else(|| words.iter().position(|word| word.starts_with("--map=")));
    if let Some(value) = given.and_then(|at| words.get_mut(at))
        && let Some(map) = map.take()
    {
        *value = format!("{value},{map}");
    }
    let command = words.iter().position(|word| word == "ingest").map_or(words.len(), |at| at + 1);
    let options = [("--symbol", symbol), ("--map", map), ("--timeframe", missing.timeframe.clone())];
    let options = options.into_iter().filter_map(|(option, value)| Some([option.to_owned(), value?]));
    words.splice(command..command, options.flatten());
    words.iter().map(|word| shell_quote(word)).collect::<Vec<_>>().join(" ")
}

/// Quotes a word for a POSIX shell, if it needs quotes.
fn shell_quote(word: &str) -> String {
    if Shown(word).to_string() != word {
        // Byte by byte, since a terminal would obey some of the characters.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn lacking(symbol: Option<&str>, timeframe: Option<&str>, symbol_column: Option<&str>) -> MissingOptions {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        MissingOptions { symbol: owned(symbol), timeframe: owned(timeframe), symbol_column: owned(symbol_column) }
    }

    #[test]
    fn the_corrected_command_line_can_be_pasted() {
        let missing = lacking(Some("ES F"), Some("1d"), None);
        assert_eq!(missing.to_string(), "the file names no symbol and no timeframe");
        assert_eq!(
            corrected(&missing, &["mds", "ingest", "--tz", "Europe/Berlin", "it's mine.csv"]),
            r"mds ingest --symbol 'ES F' --timeframe 1d --tz Europe/Berlin 'it'\''s mine.csv'"
        );
        let missing = lacking(None, Some("5m"), None);
        assert_eq!(missing.to_string(), "the file names no timeframe");
        assert_eq!(corrected(&missing, &["mds", "ingest", "a.csv"]), "mds ingest --timeframe 5m a.csv");
        let missing = lacking(Some("ALL"), None, Some("Name"));
        for (options, expected) in [
            ("", "--map symbol=Name "),
            ("--map ts=when ", "--map ts=when,symbol=Name "),
            ("--map=ts=when ", "--map=ts=when,symbol=Name "),
        ] {
            let typed = format!("mds ingest {options}all.csv");
            let words: Vec<&str> = typed.split(' ').collect();
            assert_eq!(corrected(&missing, &words), format!("mds ingest {expected}all.csv"));
        }
        assert_eq!(shell_quote(""), "''");
        assert_eq!(shell_quote("$(rm) ~"), "'$(rm) ~'");
        assert_eq!(shell_quote("it's\na\\\u{1b}ä"), r"$'it\'s\012a\\\033\303\244'");
        assert_eq!(shell_quote("\u{202e}a"), r"$'\342\200\256a'");
    }
}
