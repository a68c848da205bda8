//! What the first rows show of columns whose names do not settle it: which volume is meant, and which time.

use super::raw_bar::RawBar;
use crate::{
    files::{
        column_names::{Amount, is_end, is_of_something_else, may_be_time},
        columns::{ColumnMap, Role},
        times::{Reading, Times},
    },
    record::{Timeframe, Timestamp},
    text::Quoted,
};

/// So many rows are looked at.
const ROWS: u32 = 32;

/// A cell of a row, with its column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NamedCell<'a> {
    pub(crate) name: &'a str,
    pub(crate) cell: &'a str,
    /// What the column is taken for; none if it is not used.
    pub(crate) role: Option<Role>,
}

/// Who wrote a file, where that decides what its cells mean.
pub(super) enum Recognized {
    /// We did: all is what it says.
    Ours,
    /// BitMEX, whose times are those of the ends of bars.
    TimesOfEnds,
    /// Kraken or Bybit, whose intervals count minutes.
    TimeframesInMinutes,
}

/// Recognizes a file by the names of all its columns.
pub(super) fn recognized(cells: &[NamedCell<'_>], map: &ColumnMap) -> Option<Recognized> {
    const OURS: [&str; 9] = ["vendor", "symbol", "timeframe", "ts", "open", "high", "low", "close", "volume"];
    let has = |name: &str| cells.iter().any(|cell| cell.name.eq_ignore_ascii_case(name));
    if map.is_empty() && cells.iter().map(|cell| cell.name).eq(OURS) {
        Some(Recognized::Ours)
    } else if has("homeNotional") && has("foreignNotional") {
        Some(Recognized::TimesOfEnds)
    } else if has("interval_begin") || ["interval", "start", "end", "confirm"].into_iter().all(has) {
        Some(Recognized::TimeframesInMinutes)
    } else {
        None
    }
}

/// What is known of a row beside its cells.
pub(super) struct Known<'a> {
    pub(super) symbol: &'a str,
    pub(super) timeframe: Timeframe,
    pub(super) map: &'a ColumnMap,
}

/// Looks at the first rows of a file.
pub(super) struct FirstRows {
    left: u32,
    volume_is_open: bool,
    /// Columns that look like a volume, in a file that has none.
    unknown_volumes: Vec<String>,
}

impl Default for FirstRows {
    fn default() -> Self {
        Self { left: ROWS, volume_is_open: true, unknown_volumes: Vec::new() }
    }
}

impl FirstRows {
    /// Returns whether a further row can show anything.
    pub(super) fn are_wanted(&self) -> bool {
        self.left > 0
    }

    /// Says that the file is taken as it is.
    pub(super) fn end(&mut self) {
        self.left = 0;
    }

    /// Returns what to say of a file without a volume that has columns which look like one.
    pub(super) fn note(&self) -> Option<String> {
        let names: Vec<_> = self.unknown_volumes.iter().map(|name| Quoted(name).to_string()).collect();
        (!names.is_empty()).then(|| {
            format!("no volume is loaded: give --map volume=COLUMN if one of {} is the volume", names.join(", "))
        })
    }

    /// Takes a row. Returns the columns of the volume, if it shows more of them than their names.
    ///
    /// # Errors
    /// A column has two meanings, or two columns have one, and nothing tells which is meant.
    pub(super) fn look_at(
        &mut self,
        cells: &[NamedCell<'_>],
        row: &RawBar<'_>,
        known: &Known<'_>,
        times: &mut Times,
    ) -> Result<Option<VolumeColumns>, String> {
        self.left -= 1;
        if !known.map.decides(Role::Time) {
            other_times(cells, row, known.timeframe, times)?;
        } else if !times.knows_ts_is() {
            named_end(cells)?;
        }
        if !self.volume_is_open || known.map.decides(Role::Volume) {
            return Ok(None);
        }
        let volume = match volume_of(cells, row, known.symbol)? {
            Volume::Open => return Ok(None),
            Volume::ByName => cells.iter().position(|cell| cell.role == Some(Role::Volume)),
            Volume::Column(index) => Some(index),
            Volume::Unknown(names) => {
                self.unknown_volumes = names;
                None
            }
        };
        self.volume_is_open = false;
        let columns = volume.map(|volume| VolumeColumns { volume, paid: paid_for(cells, row, volume) });
        Ok(columns.filter(|columns| columns.paid.is_some() || cells[columns.volume].role != Some(Role::Volume)))
    }
}

/// The columns of the volume, by their places among the cells of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VolumeColumns {
    pub(crate) volume: usize,
    /// What was paid for it, if that shows whether a volume counts what the others do.
    pub(crate) paid: Option<usize>,
}

/// Returns the column of what was paid, if this row shows that it goes with the volume: what is paid for one is a price of
/// the bar, times a power of ten where one of them is counted in thousands or lots.
fn paid_for(cells: &[NamedCell<'_>], row: &RawBar<'_>, volume: usize) -> Option<usize> {
    let number = |cell: &str| cell.trim().parse::<f64>().ok().filter(|number| *number > 0.0);
    let (low, high, traded) = (number(row.low)?, number(row.high)?, number(cells[volume].cell)?);
    let is_price =
        |paid: f64| (-8..=8).any(|power| (0.98 * low..=1.02 * high).contains(&(paid / traded / 10_f64.powi(power))));
    let is_paid = |cell: &NamedCell<'_>| {
        let amount = Amount::of(cell.name);
        matches!(amount, Some(Amount::Quote | Amount::Either | Amount::Of(_)))
            && number(cell.cell).is_some_and(is_price)
    };
    let mut others = cells.iter().enumerate().filter(|(index, cell)| *index != volume && cell.role.is_none());
    others.find(|(_, cell)| is_paid(cell)).map(|(index, _)| index)
}

/// Fails if the user names a column for the time that holds the ends of bars, and does not say that it does.
fn named_end(cells: &[NamedCell<'_>]) -> Result<(), String> {
    match cells.iter().find(|cell| matches!(cell.role, Some(Role::Time | Role::Date)) && is_end(cell.name)) {
        Some(end) => Err(format!(
            "time: expected when a bar begins, got the column {}, which names when it ends: give --ts-is end, or --ts-is begin if \
             it is when the bar begins",
            Quoted(end.name)
        )),
        None => Ok(()),
    }
}

/// Which column is the volume.
enum Volume {
    /// The one whose name says so, or none.
    ByName,
    Column(usize),
    /// Nothing is counted in this row, so it shows nothing.
    Open,
    /// None is, but these look like one.
    Unknown(Vec<String>),
}

/// A column of amounts.
struct Column<'a> {
    index: usize,
    name: &'a str,
    amount: Amount,
    value: f64,
}

fn volume_of(cells: &[NamedCell<'_>], row: &RawBar<'_>, symbol: &str) -> Result<Volume, String> {
    let is_contract = cells.iter().any(|cell| cell.name.eq_ignore_ascii_case("homeNotional"));
    let columns: Vec<Column<'_>> = cells
        .iter()
        .enumerate()
        .filter(|(_, cell)| matches!(cell.role, None | Some(Role::Volume)))
        .filter_map(|(index, cell)| {
            let value = cell.cell.trim().parse::<f64>().unwrap_or(0.0);
            Some(Column { index, name: cell.name, amount: Amount::of(cell.name)?, value })
        })
        .collect();
    let price = |cell: &str| cell.parse::<f64>().ok().filter(|price| *price > 0.0);
    let prices = price(row.low).zip(price(row.high));
    // What is paid, by what is traded, is a price of the bar.
    let is_price = |paid: f64, traded: f64| {
        prices.is_some_and(|(low, high)| traded > 0.0 && (0.98 * low..=1.02 * high).contains(&(paid / traded)))
    };
    let is_paid_for = |paid: f64, traded: f64| is_price(paid, traded) && !is_price(traded, paid);
    let by_name = columns.iter().find(|column| column.amount == Amount::Volume);
    if let Some(volume) = by_name {
        if is_contract || columns.len() == 1 {
            return Ok(Volume::ByName);
        }
        if volume.value == 0.0 {
            return Ok(Volume::Open);
        }
        let Some(other) = columns.iter().find(|other| is_paid_for(volume.value, other.value)) else {
            // What is traded and what is paid, and a volume that counts something else, such as contracts.
            let others = || columns.iter().filter(|other| other.index != volume.index && other.value != volume.value);
            let traded = others().find(|traded| others().any(|paid| is_paid_for(paid.value, traded.value)));
            return match traded {
                Some(traded) => Err(format!(
                    "volume: expected what is traded, got {} in {}, where {} says {}: give --map volume={} or --map volume={}",
                    volume.value,
                    Quoted(volume.name),
                    Quoted(traded.name),
                    traded.value,
                    word(volume.name),
                    word(traded.name)
                )),
                None => Ok(Volume::ByName),
            };
        };
        let ratio = volume.value / other.value;
        return match other.amount {
            Amount::Either | Amount::Base => Ok(Volume::Column(other.index)),
            Amount::Of(ref currency) if pair_of(symbol).is_some_and(|(base, _)| is_currency(&base, currency)) => {
                Ok(Volume::Column(other.index))
            }
            // As many as are in a lot, whatever the price.
            _ if ratio.fract() == 0.0 && (ratio as u64).is_multiple_of(10) => Ok(Volume::ByName),
            _ => Err(format!(
                "volume: expected what is traded, got {} in {}, which is {} in {} times the price: give --map volume={} or --map \
                 volume={}",
                volume.value,
                Quoted(volume.name),
                other.value,
                Quoted(other.name),
                word(volume.name),
                word(other.name)
            )),
        };
    }
    let counted: Vec<&Column<'_>> = columns.iter().filter(|column| column.amount != Amount::Other).collect();
    let pair = pair_of(symbol);
    let is_base = |column: &Column<'_>| match &column.amount {
        Amount::Base => true,
        Amount::Of(currency) => pair
            .as_ref()
            .map_or_else(|| is_currency(&symbol.to_lowercase(), currency), |(base, _)| is_currency(base, currency)),
        _ => false,
    };
    let is_quote = |column: &Column<'_>| match &column.amount {
        Amount::Quote => true,
        Amount::Of(currency) => pair.as_ref().is_some_and(|(_, quote)| is_currency(quote, currency)),
        _ => false,
    };
    let ask = || {
        let names: Vec<_> = counted.iter().map(|column| format!("--map volume={}", word(column.name))).collect();
        Err(format!(
            "volume: expected one column of what is traded, got {} that may be it, of which neither the symbol {} nor the prices tell \
             one: give {}",
            counted.len(),
            Quoted(symbol),
            names.join(" or ")
        ))
    };
    if let Some(base) = counted.iter().find(|column| is_base(column)) {
        let is_contradicted = counted.iter().any(|other| is_paid_for(base.value, other.value));
        return if is_contradicted { ask() } else { Ok(Volume::Column(base.index)) };
    }
    let has_currency = counted.iter().any(|column| matches!(column.amount, Amount::Of(_)));
    if counted.len() > 1 {
        if counted.iter().all(|column| column.value == 0.0) {
            return Ok(Volume::Open);
        }
        let is_traded = |column: &&&Column<'_>| {
            !is_quote(column) && counted.iter().any(|other| is_paid_for(other.value, column.value))
        };
        let mut traded = counted.iter().filter(is_traded);
        match (traded.next(), traded.next()) {
            (Some(column), None) => return Ok(Volume::Column(column.index)),
            _ if has_currency && !counted.iter().all(|column| is_quote(column)) => return ask(),
            _ => {}
        }
    } else if has_currency && !counted.iter().all(|column| is_quote(column)) {
        return ask();
    }
    let names: Vec<String> = columns.iter().map(|column| column.name.to_owned()).collect();
    Ok(if names.is_empty() { Volume::ByName } else { Volume::Unknown(names) })
}

/// A name as it can stand in a command line.
fn word(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if name.bytes().all(is_plain) { name.to_owned() } else { format!("'{name}'") }
}

/// Returns what is traded and what is paid, by a symbol such as BTC/USDT or BTCUSDT, in lower case.
fn pair_of(symbol: &str) -> Option<(String, String)> {
    const QUOTES: [&str; 21] = [
        "usdt", "usdc", "busd", "fdusd", "usd", "eur", "gbp", "jpy", "krw", "try", "brl", "aud", "cad", "chf", "cny",
        "inr", "btc", "xbt", "eth", "bnb", "dai",
    ];
    let symbol = symbol.to_lowercase();
    let symbol = symbol.rsplit(':').next().unwrap_or_default();
    let mut parts = symbol.split(['/', '-', '_']).filter(|part| !part.is_empty() && *part != "perp" && *part != "swap");
    match (parts.next(), parts.next()) {
        (Some(base), Some(quote)) => Some((base.to_owned(), quote.to_owned())),
        (Some(one), None) => QUOTES.iter().find_map(|quote| {
            let base = one.strip_suffix(quote).filter(|base| base.len() >= 2)?;
            Some((base.to_owned(), (*quote).to_owned()))
        }),
        _ => None,
    }
}

/// Returns whether two codes name one currency.
fn is_currency(one: &str, other: &str) -> bool {
    let known = |code: &str| if code == "xbt" { "btc".to_owned() } else { code.to_owned() };
    known(one) == known(other)
}

/// Fails if a column that is not used holds another time than that of the row, and nothing says what it is of.
fn other_times(
    cells: &[NamedCell<'_>],
    row: &RawBar<'_>,
    timeframe: Timeframe,
    times: &mut Times,
) -> Result<(), String> {
    let session = timeframe.is_day_or_more();
    let candidates = cells.iter().filter(|cell| {
        cell.role.is_none() && looks_like_time(cell) && !is_of_something_else(cell.name) && !is_end(cell.name)
    });
    for other in candidates {
        let Ok(reading) = times.read(row.time, row.clock, session) else { return Ok(()) };
        let Ok(read) = times.read(other.cell, None, session) else { continue };
        let is_date = times.is_date(other.cell);
        if !agree(&reading, &read, is_date, timeframe) {
            let main = cells.iter().find(|cell| matches!(cell.role, Some(Role::Time | Role::Date | Role::Clock)));
            let main = main.map_or("COLUMN", |main| main.name);
            return Err(format!(
                "time: expected one moment in all columns of a time, got {} in {} and {} in {}: give --map ts={} or --map ts={} with \
                 the one that counts, or --tz",
                Quoted(row.time),
                Quoted(main),
                Quoted(other.cell),
                Quoted(other.name),
                word(main),
                word(other.name)
            ));
        }
    }
    Ok(())
}

fn looks_like_time(cell: &NamedCell<'_>) -> bool {
    let text = cell.cell;
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return [8, 10, 13, 16, 19].contains(&text.len()) && may_be_time(cell.name);
    }
    let marks = text.bytes().filter(|byte| b"-/.".contains(byte)).count();
    (8..=40).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_digit())
        && (marks >= 2 || text.contains(':'))
}

/// Returns whether a second time of a row is no other one than the first: the same moment, its day, or the end of the bar.
fn agree(reading: &Reading, other: &Reading, is_date: bool, timeframe: Timeframe) -> bool {
    const HOUR: i64 = 3_600_000_000;
    let length = i64::try_from(timeframe.least_seconds()).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    let is_epoch = matches!(reading, Reading::Known(_, None));
    let is_text = !matches!(other, Reading::Known(_, None));
    let agrees = |ts: Timestamp, other: Timestamp| {
        let after = other.as_micros() - ts.as_micros();
        after == 0
            || [0, 1, 1_000, 1_000_000].iter().any(|last| after == length - last)
            || is_date && !timeframe.is_day_or_more() && (-36 * HOUR..12 * 24 * HOUR).contains(&after)
            // The clocks of a text beside an epoch can stand anywhere.
            || is_epoch && is_text && after % (HOUR / 4) == 0 && after.abs() <= 14 * HOUR
    };
    let others = other.moments();
    reading.moments().into_iter().flatten().any(|ts| others.into_iter().flatten().any(|other| agrees(ts, other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_what_is_traded_and_what_is_paid() {
        let pair = |base: &str, quote: &str| Some((base.to_owned(), quote.to_owned()));
        for (symbol, expected) in [
            ("BTC/USDT", pair("btc", "usdt")),
            ("BTCUSDT", pair("btc", "usdt")),
            ("BINANCE:ETHBTC", pair("eth", "btc")),
            ("BTC-USD", pair("btc", "usd")),
            ("BTC_USDT_PERP", pair("btc", "usdt")),
            ("XBTUSD", pair("xbt", "usd")),
            ("AAPL", None),
            ("ES", None),
        ] {
            assert_eq!(pair_of(symbol), expected, "{symbol}");
        }
    }
}
