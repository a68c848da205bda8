//! Which of several columns of amounts is the volume, by their names, the symbol's pair, and amount times price.

use super::raw_bar::{NamedCell, RawBar};
use crate::{
    files::{
        column_names::{Amount, word},
        columns::Role,
    },
    text::Quoted,
};

/// The columns of the volume, by their places among the cells of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VolumeColumns {
    pub(crate) volume: usize,
    /// What was paid for it, if that shows whether a volume counts what the others do.
    pub(crate) paid: Option<usize>,
}

/// Returns the column of what was paid, if this row shows that it goes with the volume: what is paid for one is a price of
/// the bar, times a power of ten where one of them is counted in thousands or lots.
pub(super) fn paid_for(cells: &[NamedCell<'_>], row: &RawBar<'_>, volume: usize) -> Option<usize> {
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

/// Which column is the volume.
pub(super) enum Volume {
    /// The one whose name says so, or none.
    ByName,
    Column(usize),
    /// Nothing is counted in this row, so it shows nothing.
    Open,
    /// The same, in a file in which no name says which is the volume: in this row this one is as good as any.
    OpenBy(usize),
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

/// Returns which column is the volume, as far as a row shows it.
///
/// # Errors
/// Nothing tells which of several is meant.
pub(super) fn volume_of(cells: &[NamedCell<'_>], row: &RawBar<'_>, symbol: &str) -> Result<Volume, String> {
    let is_contract = cells.iter().any(|cell| cell.name.eq_ignore_ascii_case("homeNotional"));
    let columns: Vec<Column<'_>> = cells
        .iter()
        .enumerate()
        .filter(|(_, cell)| matches!(cell.role, None | Some(Role::Volume)))
        .filter_map(|(index, cell)| {
            let value = cell.cell.trim().parse::<f64>().ok().filter(|value| value.is_finite()).unwrap_or(0.0);
            Some(Column { index, name: cell.name, amount: Amount::of(cell.name)?, value })
        })
        .collect();
    let price = |cell: &str| cell.parse::<f64>().ok().filter(|price| *price > 0.0 && price.is_finite());
    let prices = price(row.low).zip(price(row.high));
    // What is paid, by what is traded, is a price of the bar.
    let is_price = |paid: f64, traded: f64| {
        prices.is_some_and(|(low, high)| traded > 0.0 && (0.98 * low..=1.02 * high).contains(&(paid / traded)))
    };
    let is_paid_for = |paid: f64, traded: f64| is_price(paid, traded) && !is_price(traded, paid);
    // A contract of ten or a hundred of what is paid: of Binance's coin-margined futures `quote_volume` is what is traded.
    let is_in_contracts = |volume: f64, other: &Column<'_>| {
        let is_amount = match &other.amount {
            Amount::Quote | Amount::Base => true,
            Amount::Of(code) => is_known_currency(code),
            _ => false,
        };
        // At MEXC a contract is a ten-thousandth of a coin.
        let is_part = || (1..=5).any(|power| is_price(other.value * 10_f64.powi(power), volume));
        if pair_of(symbol).is_some()
            && matches!(other.amount, Amount::Quote | Amount::Either)
            && !is_price(other.value, volume)
            && is_part()
        {
            return true;
        }
        is_amount
            && !is_price(other.value, volume)
            && [10.0, 100.0, 1_000.0].iter().any(|contract| is_price(volume * contract, other.value))
    };
    let by_name = columns.iter().find(|column| column.amount == Amount::Volume);
    // `Volume Delta` is of no currency.
    let is_money = |code: &str| is_known_currency(code) || symbol.to_lowercase().contains(code);
    if let Some(volume) = by_name {
        if is_contract || columns.len() == 1 {
            return Ok(Volume::ByName);
        }
        let is_amount = |other: &&Column<'_>| match &other.amount {
            Amount::Quote | Amount::Base | Amount::Either => true,
            Amount::Of(code) => is_money(code),
            Amount::Volume | Amount::Other => false,
        };
        // A row that lacks one of them, or its prices, shows nothing.
        let is_empty = |column: &&Column<'_>| column.value == 0.0 && is_amount(column);
        if volume.value == 0.0 || prices.is_none() || columns.iter().any(|column| is_empty(&column)) {
            return Ok(Volume::Open);
        }
        let paid = columns.iter().filter(is_amount).find(|other| is_paid_for(volume.value, other.value));
        let Some(other) = paid else {
            // What is traded and what is paid, and a volume that counts something else, such as contracts.
            let is_other = |other: &&Column<'_>| other.index != volume.index && other.value != volume.value;
            let others = || columns.iter().filter(is_other);
            let traded = others().find(|traded| others().any(|paid| is_paid_for(paid.value, traded.value)));
            let traded = traded.or_else(|| columns.iter().find(|other| is_in_contracts(volume.value, other)));
            return match traded {
                Some(traded) => Err(format!(
                    "volume: expected what is traded, got {} in {}, which may be contracts, where {} says {}: give --map volume={} or \
                     --map volume={}",
                    volume.value,
                    Quoted(volume.name),
                    Quoted(traded.name),
                    traded.value,
                    word(volume.name, volume.index),
                    word(traded.name, traded.index)
                )),
                None => Ok(Volume::ByName),
            };
        };
        // Lots, and what was paid for them in thousands, can have this ratio too: near a price of 3.16 both do.
        let is_either = (-8..0).chain(1..=8).any(|power| is_price(other.value / 10_f64.powi(power), volume.value));
        return match other.amount {
            Amount::Either | Amount::Base if !is_either => Ok(Volume::Column(other.index)),
            Amount::Of(ref currency) if pair_of(symbol).is_some_and(|(base, _)| is_currency(&base, currency)) => {
                Ok(Volume::Column(other.index))
            }
            _ => Err(format!(
                "volume: expected what is traded, got {} in {}, which is {} in {} times the price: give --map volume={} or --map \
                 volume={}",
                volume.value,
                Quoted(volume.name),
                other.value,
                Quoted(other.name),
                word(volume.name, volume.index),
                word(other.name, other.index)
            )),
        };
    }
    let is_counted = |column: &&Column<'_>| match &column.amount {
        Amount::Of(code) => {
            is_money(code) || columns.iter().filter(|other| matches!(other.amount, Amount::Of(_))).count() > 1
        }
        Amount::Other => false,
        _ => true,
    };
    let counted: Vec<&Column<'_>> = columns.iter().filter(is_counted).collect();
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
        let names: Vec<_> =
            counted.iter().map(|column| format!("--map volume={}", word(column.name, column.index))).collect();
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
        if prices.is_none() || counted.iter().any(|column| column.value == 0.0) {
            // Where all are nothing, any of them says what is traded here.
            let is_nothing =
                counted.iter().all(|column| column.value == 0.0) && !counted.iter().all(|column| is_quote(column));
            return Ok(if is_nothing { Volume::OpenBy(counted[0].index) } else { Volume::Open });
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

/// What is paid in, where a symbol has nothing between the two.
const QUOTES: [&str; 21] = [
    "usdt", "usdc", "busd", "fdusd", "usd", "eur", "gbp", "jpy", "krw", "try", "brl", "aud", "cad", "chf", "cny",
    "inr", "btc", "xbt", "eth", "bnb", "dai",
];

/// Returns what is traded and what is paid, by a symbol such as BTC/USDT or BTCUSDT, in lower case.
fn pair_of(symbol: &str) -> Option<(String, String)> {
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

/// Returns whether a code is one of a currency, or of one of the coins that most are traded in or for.
fn is_known_currency(code: &str) -> bool {
    const OTHERS: [&str; 24] = [
        "sgd", "hkd", "nzd", "sek", "nok", "dkk", "mxn", "zar", "pln", "rub", "idr", "thb", "ltc", "xrp", "sol", "ada",
        "doge", "dot", "bch", "link", "trx", "avax", "matic", "shib",
    ];
    QUOTES.contains(&code) || OTHERS.contains(&code)
}

/// Returns whether two codes name one currency.
fn is_currency(one: &str, other: &str) -> bool {
    let known = |code: &str| if code == "xbt" { "btc".to_owned() } else { code.to_owned() };
    known(one) == known(other)
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
