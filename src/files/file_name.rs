//! What a file's name says: `BTCUSDT-1m-2024-01.zip` holds minute bars of BTCUSDT.

use smol_str::SmolStr;

use super::options::ReadOptions;
use crate::{
    record::{Bar, Timeframe},
    text::Quoted,
};

/// The endings that are no part of a name, compressed or not.
const ENDINGS: [&str; 23] = [
    "csv", "tsv", "txt", "json", "ndjson", "jsonl", "gz", "zst", "zstd", "zip", "dbn", "parquet", "feather", "arrow",
    "ipc", "h5", "hdf5", "xlsx", "xls", "pkl", "pickle", "npy", "npz",
];

const THE_NAME: &str = "the file's name";

/// What holds for a whole file, each with who says so.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Settled {
    pub(crate) symbol: Option<(SmolStr, &'static str)>,
    pub(crate) timeframe: Option<(Timeframe, &'static str)>,
}

/// Puts together what the options and the name say, or says how they contradict each other.
pub(crate) fn settle(options: &ReadOptions) -> Result<Settled, String> {
    let named = symbol_interval_date(stem(&options.name));
    let mut symbol = options.symbol.clone().map(|symbol| (symbol, "--symbol"));
    let mut timeframe = options.timeframe.map(|timeframe| (timeframe, "--timeframe"));
    if options.symbol_from_name {
        let text = match &named {
            _ if options.name == "-" => {
                return Err("expected a file, whose name --symbol-from-name takes, got standard input".into());
            }
            Some((symbol, _)) => symbol,
            None => stem(&options.name),
        };
        symbol = Some((Bar::normal_symbol(text).map_err(|error| format!("--symbol-from-name: {error}"))?, THE_NAME));
    }
    let Some((text, interval)) = named else { return Ok(Settled { symbol, timeframe }) };
    let contradiction = |option: &str, name: &str, given: &str| {
        format!("expected {option} {name} as the file's name says, got {given}: leave {option} out or rename the file")
    };
    match &timeframe {
        Some((given, _)) if *given != interval => {
            return Err(contradiction("--timeframe", &interval.to_string(), &given.to_string()));
        }
        _ => timeframe = Some((interval, timeframe.map_or(THE_NAME, |(_, who)| who))),
    }
    match (&symbol, Bar::normal_symbol(text)) {
        (Some((given, _)), Ok(name)) if !is_alike(given, &name) => {
            return Err(contradiction("--symbol", &name, given));
        }
        (None, Ok(name)) => symbol = Some((name, THE_NAME)),
        _ => {}
    }
    Ok(Settled { symbol, timeframe })
}

/// Returns the symbol of a file of another kind than bars, if the options or the name say it, with who says so: Binance names
/// its files `BTCUSDT-trades-2024-01.zip`.
pub(crate) fn symbol_of_dump(options: &ReadOptions) -> Result<Option<(SmolStr, &'static str)>, String> {
    let named = symbol_what_date(stem(&options.name));
    if options.symbol_from_name {
        let text = match named {
            _ if options.name == "-" => {
                return Err("expected a file, whose name --symbol-from-name takes, got standard input".into());
            }
            Some(symbol) => symbol,
            None => stem(&options.name),
        };
        let symbol = Bar::normal_symbol(text).map_err(|error| format!("--symbol-from-name: {error}"))?;
        return Ok(Some((symbol, THE_NAME)));
    }
    let named = named.and_then(|text| Bar::normal_symbol(text).ok());
    match (&options.symbol, named) {
        (Some(given), Some(name)) if !is_alike(given, &name) => Err(format!(
            "expected --symbol {name} as the file's name says, got {given}: leave --symbol out or rename the file"
        )),
        (Some(given), _) => Ok(Some((given.clone(), "--symbol"))),
        (None, named) => Ok(named.map(|symbol| (symbol, THE_NAME))),
    }
}

/// Says how the name of such a file in a zip contradicts what holds for the zip.
pub(crate) fn check_member_of_dump(member: &str, symbol: Option<&(SmolStr, &'static str)>) -> Result<(), String> {
    let name = symbol_what_date(stem(member)).and_then(|text| Bar::normal_symbol(text).ok());
    match (name, symbol) {
        (Some(name), Some((given, who))) if !is_alike(given, &name) => Err(format!(
            "expected {given} as {who} says, got {} in the zip: rename what is wrong, or load it with `unzip -p ZIP | mds ingest \
             --symbol {} ... -`",
            Quoted(member),
            plain_or(&name, "SYMBOL")
        )),
        _ => Ok(()),
    }
}

/// Reads the symbol of `BTCUSDT-trades-2024-01` and `BTCUSDT-aggTrades-2024-01-02`, the form in which Binance names its files.
fn symbol_what_date(stem: &str) -> Option<&str> {
    let at =
        ["-trades-", "-aggTrades-", "-bookTicker-"].into_iter().find_map(|what| Some((stem.find(what)?, what.len())));
    let (symbol, date) = at.map(|(at, len)| (&stem[..at], &stem[at + len..]))?;
    let parts: Vec<&str> = date.split('-').collect();
    let is_date = match parts.as_slice() {
        [year, month] => is_number(year, 4) && is_number(month, 2),
        [year, month, day] => is_number(year, 4) && is_number(month, 2) && is_number(day, 2),
        _ => false,
    };
    (is_date && !symbol.is_empty()).then_some(symbol)
}

/// Returns whether a name says symbol and timeframe.
pub(crate) fn tells(name: &str) -> bool {
    symbol_interval_date(stem(name)).is_some()
}

/// Says how the name of a file in a zip contradicts what holds for the zip, which may be of another symbol or length.
pub(crate) fn check_member(
    member: &str,
    symbol: Option<&(SmolStr, &'static str)>,
    timeframe: Option<&(Timeframe, &'static str)>,
) -> Result<(), String> {
    let Some((text, interval)) = symbol_interval_date(stem(member)) else { return Ok(()) };
    let Ok(name) = Bar::normal_symbol(text) else { return Ok(()) };
    let wrong = symbol.filter(|(given, _)| !is_alike(given, &name)).map(|(given, who)| (given.to_string(), who));
    let wrong = wrong
        .or_else(|| timeframe.filter(|(given, _)| *given != interval).map(|(given, who)| (given.to_string(), who)));
    let Some((given, who)) = wrong else { return Ok(()) };
    let says =
        |symbol: &str, timeframe: Timeframe| format!("--symbol {} --timeframe {timeframe}", plain_or(symbol, "SYMBOL"));
    let is_named = |who: Option<&str>| who == Some(THE_NAME);
    let advice = if is_named(symbol.map(|(_, who)| *who)) || is_named(timeframe.map(|(_, who)| *who)) {
        format!(
            "rename what is wrong, or load it as what it is, with `unzip -p ZIP | mds ingest {} -`",
            says(&name, interval)
        )
    } else {
        let given =
            says(symbol.map_or(&name, |(symbol, _)| symbol), timeframe.map_or(interval, |(timeframe, _)| *timeframe));
        format!(
            "give {}, or if the name is wrong load it with `unzip -p ZIP | mds ingest {given} -`",
            says(&name, interval)
        )
    };
    Err(format!("expected bars of {given} as {who} says, got {} in the zip: {advice}", Quoted(member)))
}

/// Returns a word that can stand in a command line as it is, or one for the reader to replace.
pub(crate) fn plain_or<'a>(word: &'a str, placeholder: &'a str) -> &'a str {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./:=@%+,".contains(&byte);
    if !word.is_empty() && !word.starts_with('-') && word.bytes().all(is_plain) { word } else { placeholder }
}

/// Returns the file's name without its folder and its endings.
pub(crate) fn stem(path: &str) -> &str {
    let mut stem = path.rsplit(['/', '\\']).next().unwrap_or_default();
    while let Some((name, ending)) = stem.rsplit_once('.')
        && !name.is_empty()
        && ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending))
    {
        stem = name;
    }
    stem
}

/// Reads `BTCUSDT-1m-2024-01` and `BTCUSDT-1d-2024-01-02`, the form in which Binance names its files.
fn symbol_interval_date(stem: &str) -> Option<(&str, Timeframe)> {
    let (before_day, day) = stem.rsplit_once('-')?;
    let (before, month) = before_day.rsplit_once('-')?;
    let (before_interval, interval) = match before.rsplit_once('-') {
        Some((rest, year)) if is_number(year, 4) && is_number(month, 2) && is_number(day, 2) => {
            rest.rsplit_once('-')?
        }
        // There is no day: what stood for it is the month.
        Some((rest, interval)) if is_number(month, 4) && is_number(day, 2) => (rest, interval),
        None if is_number(month, 4) && is_number(day, 2) => return None,
        _ => return None,
    };
    // A bare number or word is no interval, though a timeframe can be a word.
    let is_interval = interval.starts_with(|char: char| char.is_ascii_digit());
    (is_interval && !before_interval.is_empty()).then_some(())?;
    Some((before_interval, interval.parse().ok()?))
}

fn is_number(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns whether two symbols differ in punctuation at most, as BTC/USDT and BTCUSDT do.
fn is_alike(one: &str, other: &str) -> bool {
    let letters = |symbol: &str| symbol.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect();
    let (one, other): (String, String) = (letters(one), letters(other));
    one == other
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(options: ReadOptions) -> Result<(Option<String>, Option<String>), String> {
        let settled = settle(&options)?;
        let symbol = settled.symbol.map(|(symbol, who)| format!("{symbol} {who}"));
        Ok((symbol, settled.timeframe.map(|(timeframe, who)| format!("{timeframe} {who}"))))
    }

    #[test]
    fn a_name_says_symbol_and_timeframe_only_in_its_whole_form() {
        for (name, expected) in [
            ("BTCUSDT-1m-2024-01.zip", Some(("BTCUSDT", "1m"))),
            ("in/BTCUSDT-1d-2024-01-02.csv", Some(("BTCUSDT", "1d"))),
            ("BTCUSDT-1mo-2024-01.csv.gz", Some(("BTCUSDT", "1mo"))),
            ("BTCUSD_PERP-1h-2024-01-02.csv", Some(("BTCUSD_PERP", "1h"))),
            ("BTC-USD-1m-2024-01.csv", Some(("BTC-USD", "1m"))),
            ("BTCUSDT-trades-2024-01.zip", None),
            ("2024-01-02.csv.gz", None),
            ("AAPL-2024-01-02.csv", None),
            ("AAPL-D-2024-01.csv", None),
            ("BTCUSDT-1m.csv", None),
            ("-1m-2024-01.csv", None),
            ("BTCUSDT-1m-24-01.csv", None),
            ("sp500.csv", None),
            ("-", None),
        ] {
            let named = symbol_interval_date(stem(name)).map(|(symbol, timeframe)| (symbol, timeframe.to_string()));
            let expected = expected.map(|(symbol, timeframe)| (symbol, timeframe.to_owned()));
            assert_eq!(named, expected, "{name}");
        }
    }

    #[test]
    fn an_option_that_contradicts_the_name_is_refused() {
        let named = |name: &str| ReadOptions { name: name.into(), ..ReadOptions::default() };
        let binance = || named("BTCUSDT-1m-2024-01.zip");
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(settled(binance()), Ok((some("BTCUSDT the file's name"), some("1m the file's name"))));
        let given = ReadOptions { symbol: Some("BTC/USDT".into()), timeframe: Some(Timeframe::MINUTE), ..binance() };
        assert_eq!(settled(given), Ok((some("BTC/USDT --symbol"), some("1m --timeframe"))));
        assert_eq!(
            settled(ReadOptions { symbol: Some("ETHUSDT".into()), ..binance() }),
            Err(
                "expected --symbol BTCUSDT as the file's name says, got ETHUSDT: leave --symbol out or rename the file"
                    .into()
            )
        );
        assert_eq!(
            settled(ReadOptions { timeframe: Some(Timeframe::DAY), ..binance() }),
            Err("expected --timeframe 1m as the file's name says, got 1d: leave --timeframe out or rename the file"
                .into())
        );
    }

    #[test]
    fn a_symbol_is_taken_from_the_name_where_that_is_asked_for() {
        for (name, expected) in [
            ("data/AAPL.csv", Ok("AAPL")),
            ("brk.b.csv.gz", Ok("BRK.B")),
            ("ES=F.json", Ok("ES=F")),
            ("BTCUSDT-1m-2024-01.zip", Ok("BTCUSDT")),
            ("^GSPC", Ok("^GSPC")),
            ("-", Err("expected a file, whose name --symbol-from-name takes, got standard input")),
        ] {
            let options = ReadOptions { name: name.into(), symbol_from_name: true, ..ReadOptions::default() };
            let symbol = settle(&options).map(|settled| settled.symbol.unwrap().0.to_string());
            assert_eq!(symbol, expected.map(str::to_owned).map_err(str::to_owned), "{name}");
        }
    }
}
