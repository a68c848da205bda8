//! Options: chains and quotes of contracts.

use smol_str::SmolStr;

use super::{
    cells::Cells,
    columns_of_file::FileColumns,
    contract::{Contract, type_of},
    databento,
    decoder::KindDecoder,
    kind::{FileContext, Kind, Side, roles},
    moments::{Moments, series_of},
    prices::Prices,
    times::moment_or_date_of,
};
use crate::{
    files::{
        columns::RoleNames,
        decoder::FileRecord,
        numbers::{is_absent, number},
        row_error::RowError,
    },
    record::{Date, OptionQuote, OptionType},
    text::Quoted,
};

roles! {
    Ts = "ts", "timestamp", "datetime", "quotedatetime", "quotetime", "quotetimestamp", "quoteunixtime", "tsevent",
        "siptimestamp", "snapshottime", "asoftime";
    Date_ = "date", "quotedate", "tradedate", "datadate", "asofdate";
    Clock = "time", "timeofday";
    Contract_ = "contract", "contractsymbol", "optionsymbol", "occsymbol", "osisymbol", "optionroot", "contractid", "optionticker";
    /// The contract or the underlying, as it turns out.
    Symbol = "symbol", "ticker", "instrument", "instrumentname";
    Underlying = "underlying", "underlyingsymbol", "underlyingticker", "underlier", "stocksymbol", "undersym";
    Root = "root", "optroot";
    Expiry = "expiry", "expiration", "expirationdate", "expiredate", "expirdate", "exdate", "maturity", "maturitydate",
        "expdate";
    OptionType_ = "option_type", "type", "callput", "cp", "cpflag", "putcall", "right", "optionright", "callorput";
    Strike = "strike", "strikeprice";
    Bid = "bid", "bidprice", "bestbid", "bidpx", "bidpx00";
    BidSize = "bid_size", "bidsz", "bidsz00", "bidqty", "bidamount", "bidvolume";
    Ask = "ask", "askprice", "bestask", "bestoffer", "offer", "askpx", "askpx00";
    AskSize = "ask_size", "asksz", "asksz00", "askqty", "askamount", "askvolume", "offersize";
    Last = "last", "lastprice", "lasttradeprice";
    Iv = "iv", "impliedvolatility", "impliedvol", "implvolatility", "markiv", "midiv";
    Delta = "delta";
    Gamma = "gamma";
    Theta = "theta";
    Vega = "vega";
    OpenInterest = "open_interest", "oi", "openint";
    Volume = "volume", "tradevolume", "totalvolume", "vol";
    Spot = "spot", "underlyingprice", "underlyinglast", "stockprice", "spotprice", "undprice";
    Vendor = "vendor";
    /// Of Databento's records of intervals that is the time.
    ReceivedTs = "ts_recv";
    RecordType = "rtype";
}

/// From here an implied volatility is rather one in percent.
const RATHER_PERCENT: f64 = 10.0;

/// What the columns of a file of options show.
#[derive(Default)]
pub struct Form {
    writer: Writer,
    prices: Prices,
    /// Volatilities are in percent.
    is_percent: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Writer {
    #[default]
    Unknown,
    Databento,
    Tardis,
    /// Its strikes are in thousandths.
    OptionMetrics,
}

impl FileRecord for OptionQuote {
    type Decoder = KindDecoder<Self>;
}

impl Kind for OptionQuote {
    type Form = Form;

    const NAME: &'static str = "option";
    const ROLES: &'static [RoleNames] = ROLES;
    const TIMES: &'static [usize] = &[Ts as usize, Date_ as usize, Clock as usize];
    const REQUIRED: &'static [&'static [usize]] =
        &[&[Ts as usize, Date_ as usize, Clock as usize], &[Contract_ as usize, Symbol as usize, Strike as usize]];
    const SYMBOL: usize = Underlying as usize;
    const NEEDS_SYMBOL: bool = false;

    fn form(columns: &FileColumns<'_>) -> Result<Form, String> {
        let both = |one: &str, other: &str| columns.is_named(one) && columns.is_named(other);
        if both("bid1545", "bideod") && !columns.has(Bid as usize) {
            return Err(
                "expected one bid and one ask, got those of 15:45 and those of the end of the day: say which, as in \
                        --map bid=bid_eod,ask=ask_eod,bid_size=bid_size_eod,ask_size=ask_size_eod"
                    .into(),
            );
        }
        let values = [Bid, Ask, Last, Iv, Delta, OpenInterest, Volume];
        if prefixes(columns).is_none() && !values.into_iter().any(|role| columns.has(role as usize)) {
            return Err(
                "expected a column for bid, ask, last, iv, delta, open_interest or volume, got none: name what is \
                        there, as in --map bid=COLUMN,ask=COLUMN"
                    .into(),
            );
        }
        let writer = if databento::is_writer(columns) {
            Writer::Databento
        } else if columns.is_named("localtimestamp") && columns.is_named("markiv") {
            Writer::Tardis
        } else if columns.is_named("cpflag") && columns.is_named("exdate") && columns.is_named("strikeprice") {
            Writer::OptionMetrics
        } else {
            Writer::Unknown
        };
        let prices = if writer == Writer::Databento { Prices::Undecided } else { Prices::Plain };
        // `IV (%)`: what the name says no number has to show.
        let is_percent = columns.name_of(Iv as usize).is_some_and(|name| name.contains('%'));
        Ok(Form { writer, prices, is_percent: is_percent || writer == Writer::Tardis })
    }

    fn sides(columns: &FileColumns<'_>) -> Vec<Side> {
        let Some(prefixes) = prefixes(columns) else { return Vec::new() };
        let sides = prefixes.into_iter().zip(["C", "P"]).map(|(prefix, option_type)| {
            let mut role_of = columns.roles_behind(prefix);
            if option_type == "P" {
                // Where there is one column for both, it is the call's.
                let shared = columns.places_of(&[Delta as usize, Gamma as usize, Theta as usize, Vega as usize]);
                shared.into_iter().for_each(|at| role_of[at] = None);
            }
            Side { role_of, given: Some((OptionType_ as usize, option_type)) }
        });
        sides.collect()
    }

    fn writer(form: &Form) -> Option<&'static str> {
        match form.writer {
            Writer::Unknown => None,
            Writer::Databento => Some("Databento quotes"),
            Writer::Tardis => Some("Tardis options chain"),
            Writer::OptionMetrics => Some("OptionMetrics"),
        }
    }

    fn decode(cells: &Cells<'_>, form: &mut Form, file: &mut FileContext) -> Result<Option<Self>, RowError> {
        let ts = if form.writer == Writer::Databento && databento::is_of_interval(cells.get(RecordType as usize)) {
            // The event is the last trade, perhaps long before.
            file.times.read("ts", cells.get(ReceivedTs as usize))?
        } else {
            moment_or_date_of(cells, [Ts as usize, Date_ as usize, Clock as usize], file)?
        };
        let terms = Terms::of(cells, form, file)?;
        let mut quote = Self::new(terms.contract, ts, terms.underlying, terms.expiry, terms.option_type, terms.strike);
        quote.vendor = file.vendor.resolve(cells.column(Vendor as usize))?;
        let mut price = |role: Role| form.prices.read(cells, role as usize, file.as_written);
        (quote.bid, quote.ask, quote.last) = (price(Bid)?, price(Ask)?, price(Last)?);
        quote.bid_size = cells.number(BidSize as usize)?;
        quote.ask_size = cells.number(AskSize as usize)?;
        quote.iv = volatility(cells, form, file.as_written)?;
        quote.delta = cells.number(Delta as usize)?;
        quote.gamma = cells.number(Gamma as usize)?;
        quote.theta = cells.number(Theta as usize)?;
        quote.vega = cells.number(Vega as usize)?;
        quote.open_interest = cells.number(OpenInterest as usize)?;
        quote.volume = cells.number(Volume as usize)?;
        quote.spot = cells.number(Spot as usize)?;
        let values = [quote.bid, quote.ask, quote.last, quote.iv, quote.delta, quote.open_interest, quote.volume];
        // One side of a row may have nothing.
        Ok(values.iter().any(Option::is_some).then_some(quote))
    }

    fn settle(&mut self, _: bool, moments: &mut Moments) -> Result<bool, RowError> {
        let series = series_of(&self.vendor, "", &self.contract);
        Ok(moments.count(&series, self.ts.as_nanos(), "")? > 0)
    }

    fn given(&self) -> (&SmolStr, Option<&SmolStr>) {
        (&self.vendor, Some(&self.underlying))
    }
}

/// Returns how the names of calls and of puts begin in a file that has both on each row.
fn prefixes(columns: &FileColumns<'_>) -> Option<[&'static str; 2]> {
    let both = |one: &str, other: &str| columns.is_named(one) && columns.is_named(other);
    if both("cbid", "pbid") {
        Some(["c", "p"])
    } else if both("callbidprice", "putbidprice") {
        Some(["call", "put"])
    } else {
        None
    }
}

/// What a row's contract is.
struct Terms {
    contract: SmolStr,
    underlying: SmolStr,
    expiry: Date,
    option_type: OptionType,
    strike: f64,
}

impl Terms {
    /// Puts together what the columns say and what the contract's symbol says, which has to be the same.
    fn of(cells: &Cells<'_>, form: &Form, file: &mut FileContext) -> Result<Self, RowError> {
        let symbol = cells.text(Symbol as usize);
        let mut underlying = cells.column(Underlying as usize);
        let named = match cells.text(Contract_ as usize) {
            Some(contract) => {
                underlying = underlying.or(symbol);
                Some(contract)
            }
            // It is the contract if it says so, or if another column is the underlying.
            None => match symbol {
                Some(symbol) if Contract::parse(symbol).is_some() || underlying.is_some() => Some(symbol),
                Some(symbol) if symbol.bytes().any(|byte| byte.is_ascii_digit()) => {
                    let message = format!(
                        "symbol: expected to know whether {} is the contract or the underlying",
                        Quoted(symbol)
                    );
                    return Err(RowError::from(message)
                        .of_file("give --map contract=symbol or --map underlying=symbol with the column's name"));
                }
                symbol => {
                    underlying = underlying.or(symbol);
                    None
                }
            },
        };
        let said = named.and_then(Contract::parse);
        let expiry = agreed("expiry", named, expiry_of(cells, file)?, said.as_ref().map(|said| said.expiry))?;
        let option_type =
            agreed("option_type", named, option_type_of(cells)?, said.as_ref().map(|said| said.option_type))?;
        let strike = agreed("strike", named, strike_of(cells, form)?, said.as_ref().map(|said| said.strike))?;
        let root = said.as_ref().map(|said| said.root);
        let underlying = match underlying.filter(|name| !name.is_empty()) {
            None if file.symbol.fixed.is_none() => file.symbol.resolve(root)?,
            underlying => file.symbol.resolve(underlying)?,
        };
        let contract = match named {
            Some(contract) => contract.into(),
            None => {
                let root = cells.text(Root as usize).unwrap_or(&underlying);
                let root = root.strip_prefix('^').unwrap_or(root);
                Contract::occ_symbol(root, expiry, option_type, strike).ok_or_else(|| {
                    let message = format!(
                        "contract: expected a contract, or an underlying and a strike that OCC has a symbol for, got {} and {strike}",
                        Quoted(root)
                    );
                    RowError::from(message).of_file("say where it is, as in --map contract=COLUMN")
                })?
            }
        };
        Ok(Self { contract, underlying, expiry, option_type, strike })
    }
}

/// Returns what a column and the contract's symbol say, or one of them.
fn agreed<T: PartialEq + std::fmt::Display>(
    name: &str,
    contract: Option<&str>,
    written: Option<T>,
    said: Option<T>,
) -> Result<T, RowError> {
    match (written, said) {
        (Some(written), Some(said)) if written != said => {
            let contract = Quoted(contract.unwrap_or_default());
            Err(format!("{name}: expected {said} as the contract {contract} says, got {written}").into())
        }
        (Some(value), _) | (None, Some(value)) => Ok(value),
        (None, None) => {
            Err(RowError::from(format!("{name}: expected a column for it, or a contract that says it, got none"))
                .of_file(format!("say where it is, as in --map {name}=COLUMN")))
        }
    }
}

/// Reads the date on which a contract ends: a date, one with a time of day behind it, or an epoch, whose date is that of UTC.
fn expiry_of(cells: &Cells<'_>, file: &FileContext) -> Result<Option<Date>, RowError> {
    let Some(text) = cells.text(Expiry as usize) else { return Ok(None) };
    if let Ok(date) = text.parse() {
        return Ok(Some(date));
    }
    let has_clock = text.get(10..).is_some_and(|rest| rest.starts_with([' ', 'T']));
    if let Some(date) = text.get(..10).filter(|_| has_clock).and_then(|date| date.parse().ok()) {
        return Ok(Some(date));
    }
    if text.len() > 8 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let ts = file.times.read("expiry", text)?.to_string();
        return Ok(ts.get(..10).and_then(|date| date.parse().ok()));
    }
    let message = format!("expiry: expected a date such as 2024-01-19, got {}", Quoted(text));
    Err(RowError::from(message).of_file("write it with the year first"))
}

fn option_type_of(cells: &Cells<'_>) -> Result<Option<OptionType>, RowError> {
    let Some(word) = cells.text(OptionType_ as usize) else { return Ok(None) };
    type_of(word)
        .map(Some)
        .ok_or_else(|| format!("option_type: expected C or P, call or put, got {}", Quoted(word)).into())
}

fn strike_of(cells: &Cells<'_>, form: &Form) -> Result<Option<f64>, RowError> {
    match form.writer {
        Writer::OptionMetrics => shifted(cells, Strike as usize, "e-3"),
        // Of Databento a strike is that of the contract's symbol.
        Writer::Databento => Ok(None),
        _ => cells.number(Strike as usize),
    }
}

fn volatility(cells: &Cells<'_>, form: &Form, as_written: bool) -> Result<Option<f64>, RowError> {
    if form.is_percent {
        return shifted(cells, Iv as usize, "e-2");
    }
    match cells.number(Iv as usize)? {
        Some(iv) if iv.abs() >= RATHER_PERCENT && !as_written => {
            let message =
                format!("iv: expected an implied volatility such as 0.41 for 41 %, got {iv}, which may be in percent");
            Err(RowError::from(message).of_file("divide it by 100 first, or give --as-written if it is meant so"))
        }
        iv => Ok(iv),
    }
}

/// Reads a number in a smaller unit: the decimal with its point elsewhere, so that it is rounded once.
fn shifted(cells: &Cells<'_>, role: usize, exponent: &str) -> Result<Option<f64>, RowError> {
    let cell = cells.get(role);
    if is_absent(cell) {
        return Ok(None);
    }
    number(cells.name(role), cell)?;
    number(cells.name(role), &format!("{cell}{exponent}")).map(Some)
}
