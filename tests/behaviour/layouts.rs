//! Random bars written in random layouts: what is read is exactly these bars, or the file is refused or a row is rejected.

use std::{
    collections::BTreeMap,
    fmt::Write,
    panic::{AssertUnwindSafe, catch_unwind},
};

use jiff::{Span, civil::DateTime, tz::TimeZone};
use market_data_store::{
    Bar, Timestamp,
    files::{Chunk, ReadError, ReadOptions, RecordReader, TsIs},
};
use rand::{
    Rng, SeedableRng,
    rngs::StdRng,
    seq::{IndexedRandom, SliceRandom},
};

use crate::support::size_of_test;

/// What a bar is: symbol, time, prices, volume.
type Key = (String, i64);
type Values = ([u64; 4], Option<u64>);

/// A file, what is in it, and what its user says of it.
struct Layout {
    text: String,
    options: ReadOptions,
    bars: BTreeMap<Key, Values>,
    /// Rows of different things have one key, so that no bar may be taken for all of them.
    is_mixed: bool,
}

/// One bar as its vendor has it.
struct Made {
    symbol: &'static str,
    /// What is traded, where the symbol does not say it.
    contract: &'static str,
    /// When it begins by the clocks of the exchange.
    at: DateTime,
    prices: [f64; 4],
    volume: f64,
}

fn pick<'a, T: ?Sized>(random: &mut StdRng, from: &[&'a T]) -> &'a T {
    from.choose(random).unwrap()
}

/// A price as it is written, and the number that this names.
fn rounded(value: f64, digits: usize) -> f64 {
    format!("{value:.digits$}").parse().unwrap()
}

fn made(random: &mut StdRng, timeframe: &str, symbols: &[(&'static str, &'static str)]) -> Vec<Made> {
    let days = random.random_range(0..11_000_i64);
    let begin = jiff::civil::date(1995, 1, 1).at(0, 0, 0, 0);
    let begin = begin.checked_add(Span::new().days(days)).unwrap();
    let rows = random.random_range(1..40);
    let scale = 10_f64.powf(random.random_range(0.3..4.7));
    let digits = random.random_range(if scale < 50.0 { 2 } else { 0 }..5);
    let counts = random.random_range(0..3);
    let is_from_open = random.random_bool(0.5);
    let mut all = Vec::new();
    for &(symbol, contract) in symbols {
        let mut at = begin;
        if is_from_open && !["1d", "1w"].contains(&timeframe) {
            at = at.checked_add(Span::new().minutes(570)).unwrap();
        }
        for _ in 0..rows {
            let low = rounded(scale * random.random_range(0.9..1.0), digits);
            let high = rounded(low + scale * random.random_range(0.0..0.2), digits);
            let mut within = || rounded(random.random_range(low..=high), digits).clamp(low, high);
            let (open, close) = (within(), within());
            let volume = match counts {
                0 => f64::from(random.random_range(0..100_000)),
                1 => rounded(random.random_range(0.0..1_000.0), 3),
                _ => f64::from(random.random_range(1..50)) * 100.0,
            };
            all.push(Made { symbol, contract, at, prices: [open, high, low, close], volume });
            let steps = if random.random_bool(0.9) { 1 } else { random.random_range(1..50) };
            let step = match timeframe {
                "1s" => Span::new().seconds(steps),
                "1m" => Span::new().minutes(steps),
                "5m" => Span::new().minutes(5 * steps),
                "1h" => Span::new().hours(steps),
                "1w" => Span::new().days(7 * steps),
                _ => Span::new().days(steps),
            };
            at = at.checked_add(step).unwrap();
        }
    }
    all
}

/// How the time of a bar is written.
#[derive(Clone, Copy, PartialEq, Debug)]
enum TimeForm {
    IsoOffset,
    IsoZ,
    IsoLocal,
    /// An epoch with so many digits behind the seconds.
    Epoch(u32),
    /// Day and month by numbers.
    Slashed {
        day_first: bool,
        separator: char,
    },
    /// A date and its time of day in a column each, with the zeros of the latter or without.
    Compact {
        zeros: bool,
    },
    TwoColumns,
    Date,
    TwelveHours,
}

/// Writes a time in a form; the second cell is that of its time of day.
fn written(form: TimeForm, at: DateTime, zone: &TimeZone, is_day: bool) -> Option<(String, Option<String>)> {
    let zoned = zone.to_ambiguous_zoned(at);
    // What the clocks skip or repeat is told by another test.
    let zoned = zoned.unambiguous().ok()?;
    let offset = zoned.offset();
    let one = |text: String| Some((text, None));
    match form {
        TimeForm::IsoOffset => {
            let seconds = offset.seconds();
            let sign = if seconds < 0 { '-' } else { '+' };
            let (hours, minutes) = (seconds.abs() / 3_600, seconds.abs() / 60 % 60);
            one(format!("{}{sign}{hours:02}:{minutes:02}", at.strftime("%Y-%m-%d %H:%M:%S")))
        }
        TimeForm::IsoZ if is_day => one(format!("{}", at.strftime("%Y-%m-%dT00:00:00Z"))),
        TimeForm::IsoZ => one(zoned.timestamp().to_string()),
        TimeForm::IsoLocal => one(at.strftime("%Y-%m-%d %H:%M:%S").to_string()),
        TimeForm::Epoch(digits) => {
            let seconds = zoned.timestamp().as_second();
            // Nine or ten digits are seconds.
            (seconds >= 100_000_000).then_some(())?;
            one(format!("{}", i128::from(seconds) * 10_i128.pow(digits)))
        }
        TimeForm::Slashed { day_first, separator } => {
            let (date, clock) = (at.date(), if is_day { String::new() } else { at.strftime(" %H:%M:%S").to_string() });
            let (first, second) = if day_first { (date.day(), date.month()) } else { (date.month(), date.day()) };
            one(format!("{first:02}{separator}{second:02}{separator}{}{clock}", date.year()))
        }
        TimeForm::Compact { zeros } => {
            let clock = at.strftime("%H%M%S").to_string();
            let clock = if zeros { clock } else { clock.trim_start_matches('0').to_owned() };
            let clock = if clock.is_empty() { "0".to_owned() } else { clock };
            Some((at.strftime("%Y%m%d").to_string(), Some(clock)))
        }
        TimeForm::TwoColumns => Some((at.strftime("%Y-%m-%d").to_string(), Some(at.strftime("%H:%M:%S").to_string()))),
        TimeForm::Date => is_day.then(|| (at.strftime("%Y-%m-%d").to_string(), None)),
        TimeForm::TwelveHours => one(at.strftime("%m/%d/%Y %I:%M:%S %p").to_string()),
    }
}

fn time_form(random: &mut StdRng, is_day: bool) -> TimeForm {
    match random.random_range(0..if is_day { 8 } else { 12 }) {
        0 => TimeForm::IsoOffset,
        1 => TimeForm::IsoZ,
        2 => TimeForm::IsoLocal,
        3 | 4 => TimeForm::Epoch([0, 3, 6, 9][random.random_range(0..4)]),
        5 | 6 => {
            TimeForm::Slashed { day_first: random.random(), separator: ['/', '.', '-'][random.random_range(0..3)] }
        }
        7 if is_day => TimeForm::Date,
        7 => TimeForm::TwelveHours,
        8 | 9 => TimeForm::Compact { zeros: random.random() },
        _ => TimeForm::TwoColumns,
    }
}

fn layout(random: &mut StdRng) -> Option<Layout> {
    let timeframe = pick(random, &["1s", "1m", "1m", "5m", "1h", "1d", "1d", "1w"]);
    let is_day = ["1d", "1w"].contains(&timeframe);
    let kind = random.random_range(0..10);
    let symbols: &[(&str, &str)] = match kind {
        0 => &[("NIFTY", "25-Jan-2024"), ("NIFTY", "29-Feb-2024")],
        1 => &[("AAPL", "XNAS"), ("AAPL", "ARCX")],
        2 | 3 => &[("AAPL", ""), ("MSFT", ""), ("BRK.B", "")],
        4 | 5 => &[("BTC/USDT", "")],
        6 => &[("ETHBTC", "")],
        _ => &[("AAPL", "")],
    };
    let is_mixed = kind < 2;
    let zone_name = pick(random, &["UTC", "UTC", "America/New_York", "Asia/Tokyo", "Asia/Kolkata", "Europe/Berlin"]);
    let zone = TimeZone::get(zone_name).unwrap();
    let mut made = made(random, timeframe, symbols);
    match random.random_range(0..4) {
        0 => made.reverse(),
        1 => made.sort_by_key(|bar| bar.at),
        2 if random.random_bool(0.3) => made.shuffle(random),
        _ => {}
    }
    let form = time_form(random, is_day);
    let mut options = ReadOptions { timeframe: Some(timeframe.parse().unwrap()), ..ReadOptions::default() };
    let needs_zone = !matches!(form, TimeForm::IsoOffset | TimeForm::IsoZ | TimeForm::Epoch(_));
    if zone_name != "UTC"
        && (needs_zone && !is_day || is_day && matches!(form, TimeForm::Epoch(_)) || random.random_bool(0.3))
    {
        options.zone = Some(zone_name.parse().unwrap());
    }
    // The user says what the file does not: a format, or that its times are those of ends.
    let is_end = !is_day && random.random_bool(0.1);
    if is_end && random.random_bool(0.8) {
        options.ts_is = Some(TsIs::End);
    }
    match form {
        TimeForm::TwelveHours => options.ts_format = Some("%m/%d/%Y %I:%M:%S %p".parse().unwrap()),
        TimeForm::Slashed { day_first, separator } if random.random_bool(0.3) => {
            let date = if day_first { ["%d", "%m"] } else { ["%m", "%d"] };
            let clock = if is_day { "" } else { " %H:%M:%S" };
            options.ts_format =
                Some(format!("{}{separator}%Y{clock}", date.join(&separator.to_string())).parse().unwrap());
        }
        _ => {}
    }
    let has_symbols = symbols.len() > 1 && !is_mixed || random.random_bool(0.4);
    if !has_symbols {
        options.symbol = Some(symbols[0].0.into());
    }

    // The columns, each with its name and its cells.
    let length = timeframe.parse::<market_data_store::Timeframe>().unwrap();
    let step = match length.to_string().as_str() {
        "1s" => 1,
        "1m" => 60,
        "5m" => 300,
        "1h" => 3_600,
        _ => 0,
    };
    let mut columns: Vec<(String, Vec<String>)> = Vec::new();
    let mut column = |names: &[&str], cells: Vec<String>, random: &mut StdRng| {
        columns.push(((*pick(random, names)).to_owned(), cells));
    };
    // By the clocks, which can change within a bar.
    let later = |at: DateTime, seconds: i64| {
        let begin = zone.to_ambiguous_zoned(at).unambiguous().ok()?;
        Some(begin.checked_add(Span::new().seconds(seconds)).ok()?.datetime())
    };
    let shown = made.iter().map(|bar| later(bar.at, if is_end { step } else { 0 }));
    let shown: Vec<DateTime> = shown.collect::<Option<_>>()?;
    let times: Vec<(String, Option<String>)> =
        shown.iter().map(|at| written(form, *at, &zone, is_day)).collect::<Option<_>>()?;
    let (dates, clocks): (Vec<String>, Vec<Option<String>>) = times.into_iter().unzip();
    if clocks.iter().all(Option::is_some) {
        // No name of one of the two tells it.
        options.ts_is = options.ts_is.or(is_end.then_some(TsIs::End));
        column(&["Date", "<DATE>"], dates, random);
        column(&["Time", "<TIME>"], clocks.into_iter().flatten().collect(), random);
    } else if is_end && options.ts_is.is_none() {
        // The name tells it.
        column(&["close_time", "interval_end"], dates, random);
    } else {
        column(&["time", "timestamp", "datetime", "ts", "Date"], dates, random);
    }
    let number = |value: f64| value.to_string();
    let is_decimal_comma = random.random_bool(0.05);
    let price = |value: f64| if is_decimal_comma { number(value).replace('.', ",") } else { number(value) };
    for (place, names) in
        [["Open", "o", "<OPEN>"], ["High", "h", "<HIGH>"], ["Low", "l", "<LOW>"], ["Close", "c", "<CLOSE>"]]
            .iter()
            .enumerate()
    {
        column(names, made.iter().map(|bar| price(bar.prices[place])).collect(), random);
    }
    let paid = |bar: &Made| bar.volume * f64::midpoint(bar.prices[1], bar.prices[2]);
    let mut has_volume = true;
    match random.random_range(0..6) {
        0 => has_volume = false,
        1 if (4..7).contains(&kind) => {
            // The quote volume bears the name of a volume.
            column(&["amount", "base_volume"], made.iter().map(|bar| number(bar.volume)).collect(), random);
            column(&["vol", "volume"], made.iter().map(|bar| number(paid(bar))).collect(), random);
        }
        2 if (4..6).contains(&kind) => {
            column(&["Volume BTC", "Volume_(BTC)"], made.iter().map(|bar| number(bar.volume)).collect(), random);
            column(&["Volume USDT", "volume_usdt"], made.iter().map(|bar| number(paid(bar))).collect(), random);
        }
        3 => {
            column(&["Volume", "vol"], made.iter().map(|bar| number(bar.volume)).collect(), random);
            column(&["turnover", "amount", "quote_volume"], made.iter().map(|bar| number(paid(bar))).collect(), random);
        }
        _ => column(&["Volume", "v", "Vol."], made.iter().map(|bar| number(bar.volume)).collect(), random),
    }
    if has_symbols {
        column(&["symbol", "Ticker"], made.iter().map(|bar| bar.symbol.to_owned()).collect(), random);
    }
    if is_mixed {
        column(&["expiry", "exchange", "series"], made.iter().map(|bar| bar.contract.to_owned()).collect(), random);
    }
    // A second time: the end of the bar, when the last trade was, the same in other words, or one of nothing that is known.
    let second: Option<(&[&str], i64, TimeForm)> = match random.random_range(0..8) {
        0 if !is_day && !is_end => Some((&["close_time", "end", "valid_to"], step, TimeForm::IsoOffset)),
        1 => Some((&["last_trade_time", "updated_at"], 4_321, TimeForm::IsoOffset)),
        2 if !is_day => Some((&["when", "utc", "Local time"], 0, TimeForm::Epoch(0))),
        3 if !is_day => Some((&["begin_time", "utc_time", "moment"], 0, TimeForm::IsoOffset)),
        4 if !is_day => Some((&["sent_time", "other_time", "when"], 7_777, TimeForm::IsoOffset)),
        _ => None,
    };
    if let Some((names, after, form)) = second {
        let cells = shown.iter().map(|shown| Some(written(form, later(*shown, after)?, &zone, false)?.0));
        column(names, cells.collect::<Option<_>>()?, random);
    }
    for (name, chance) in [("trades", 0.3), ("vwap", 0.2), ("Adj Close", 0.2), ("note", 0.1), ("id", 0.05)] {
        if random.random_bool(chance) {
            let cells = made.iter().enumerate().map(|(row, bar)| match name {
                "note" => "as delivered".to_owned(),
                "trades" | "id" => (row + 1).to_string(),
                _ => number(bar.prices[3]),
            });
            columns.push((name.to_owned(), cells.collect()));
        }
    }
    columns.shuffle(random);

    let bars = made.iter().map(|bar| {
        let ts = if is_day { TimeZone::UTC.to_timestamp(bar.at) } else { zone.to_timestamp(bar.at) };
        let volume = has_volume.then(|| bar.volume.to_bits());
        ((bar.symbol.to_owned(), ts.unwrap().as_microsecond()), (bar.prices.map(f64::to_bits), volume))
    });
    let (bars, rows): (BTreeMap<_, _>, _) = (bars.collect(), made.len());
    Some(Layout { text: text(random, &columns, rows), options, bars, is_mixed })
}

/// Writes the columns as CSV, NDJSON or a JSON array.
fn text(random: &mut StdRng, columns: &[(String, Vec<String>)], rows: usize) -> String {
    let mut text = String::new();
    let names = columns.iter().map(|(name, _)| name.as_str());
    match random.random_range(0..5) {
        0 | 1 => {
            let is_array = random.random();
            let objects = (0..rows).map(|row| {
                let fields = columns.iter().map(|(name, cells)| {
                    let cell = &cells[row];
                    let is_number = cell.parse::<f64>().is_ok()
                        && (cell == "0" || !cell.starts_with('0') || cell.starts_with("0."));
                    format!("{name:?}:{}", if is_number { cell.clone() } else { format!("{cell:?}") })
                });
                format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
            });
            let objects: Vec<String> = objects.collect();
            if is_array {
                write!(text, "[{}]", objects.join(",\n")).unwrap();
            } else {
                text = objects.join("\n") + "\n";
            }
        }
        _ => {
            let delimiter = [",", ";", "\t", "|"][random.random_range(0..4)];
            let is_quoted = random.random_bool(0.2);
            let end = if random.random_bool(0.2) { "\r\n" } else { "\n" };
            let cell = |cell: &str| match is_quoted || cell.contains(delimiter) {
                true => format!("\"{cell}\""),
                false => cell.to_owned(),
            };
            text += &(names.map(cell).collect::<Vec<_>>().join(delimiter) + end);
            for row in 0..rows {
                text += &(columns.iter().map(|(_, cells)| cell(&cells[row])).collect::<Vec<_>>().join(delimiter) + end);
            }
        }
    }
    text
}

/// The bars of a file by key, whether something was rejected, and what is warned of.
type Outcome = (BTreeMap<Key, Values>, bool, Vec<String>);

/// Reads a file to its end.
fn read(text: &str, options: ReadOptions) -> Result<Outcome, ReadError> {
    let mut reader = RecordReader::<Bar, _>::new(text.as_bytes(), options);
    let (mut chunk, mut bars, mut is_told) = (Chunk::default(), BTreeMap::new(), false);
    loop {
        let more = reader.next_chunk(&mut chunk)?;
        is_told |= !chunk.rejected.is_empty();
        for Bar { symbol, ts, open, high, low, close, volume, .. } in chunk.records.drain(..) {
            let values = ([open, high, low, close].map(f64::to_bits), volume.map(f64::to_bits));
            bars.insert((symbol.to_string(), Timestamp::as_micros(ts)), values);
        }
        if !more {
            return Ok((bars, is_told, reader.warnings()));
        }
    }
}

/// Says how a file was read wrongly without a word; returns whether all of it was read.
fn check(layout: &Layout) -> bool {
    let Ok((bars, is_told, warnings)) = read(&layout.text, layout.options.clone()) else { return false };
    if layout.is_mixed {
        let keys: Vec<&str> = layout.text.lines().collect();
        assert!(is_told || keys.len() <= 2, "rows of different things are stored as one");
        return false;
    }
    let warns_of_volume = warnings.iter().any(|warning| warning.contains("volume"));
    for (key, values) in &bars {
        let made = layout.bars.get(key);
        // A volume that is not known is none, and a WARN says so.
        let is_right =
            made.is_some_and(|made| made == values || made.0 == values.0 && values.1.is_none() && warns_of_volume);
        assert!(is_right, "{key:?}: read {values:?}, made {made:?}");
    }
    assert!(is_told || bars.len() == layout.bars.len(), "read {} bars of {}", bars.len(), layout.bars.len());
    !is_told
}

/// Red if a bar is stored that its vendor does not have, or one is missing, and neither a refusal nor a rejected row says
/// so. And if most files are refused, since nothing would be shown then.
#[test]
fn random_bars_in_random_layouts_are_read_exactly_or_refused() {
    let layouts = size_of_test("MDS_TEST_LAYOUTS", 3_000);
    let seed: u64 =
        std::env::var("MDS_TEST_LAYOUTS_SEED").map_or_else(|_| rand::rng().random(), |seed| seed.parse().unwrap());
    println!("seed {seed}");
    let (mut exact, mut written) = (0, 0);
    for number in 0..layouts as u64 {
        let mut random = StdRng::seed_from_u64(seed.wrapping_add(number));
        let Some(layout) = layout(&mut random) else { continue };
        written += 1;
        match catch_unwind(AssertUnwindSafe(|| check(&layout))) {
            Ok(is_exact) => exact += usize::from(is_exact),
            Err(_) => {
                panic!("seed {}: wrong in silence: {:?}\n{}", seed.wrapping_add(number), layout.options, layout.text)
            }
        }
    }
    println!(
        "{written} files written, {exact} read to the last bit, {} refused or told, 0 wrong in silence",
        written - exact
    );
    assert!(exact * 2 > written, "{exact} of {written}");
}
