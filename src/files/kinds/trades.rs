//! Trades: ticks of Databento, Polygon, Binance, Tardis, Kraken, Coinbase and others.

use smol_str::{SmolStr, format_smolstr};

use super::{
    cells::Cells,
    columns_of_file::{FileColumns, Letters},
    databento::{self, Instrument, Received},
    decoder::KindDecoder,
    kind::{FileContext, Kind, roles},
    moments::{Moments, OF_MESSAGE, series_of},
    prices::Prices,
    symbols::SymbolColumns,
    times::moment_of,
};
use crate::{
    files::{columns::RoleNames, decoder::FileRecord, row_error::RowError},
    record::{Side, TimestampNanos, Trade, TradeAction},
    text::Quoted,
};

roles! {
    Ts = "ts", "timestamp", "datetime", "tradetime", "tradetimestamp", "tsevent", "transacttime", "participanttimestamp",
        "exchangetimestamp", "timestampns", "unix", "unixtimestamp", "epoch", "executedat", "tradedat", "createdat";
    /// The time at which the consolidated tape had it, where the exchange's own is missing.
    TapeTime = "sip_timestamp";
    Date = "date", "tradedate";
    Clock = "time", "timeofday";
    Price = "price", "px", "tradeprice", "lastprice", "executionprice";
    Size = "size", "qty", "quantity", "amount", "volume", "tradesize", "lastsize", "baseqty", "basequantity", "vol";
    Symbol = "symbol", "ticker", "sym", "pair", "productid", "instid", "tscode",
        "symroot";
    /// The class of shares, of TAQ.
    Suffix = "sym_suffix";
    Id = "id", "tradeid", "tid", "aggtradeid", "aggregatetradeid", "trdmatchid", "execid", "uniqueid";
    /// Whose order took the other: `buy` where the buyer did.
    TradeSide = "side", "takerside", "aggressorside", "tickdirectionside";
    /// Whose order rested.
    MakerSide = "maker_side";
    BuyerIsMaker = "is_buyer_maker", "buyermaker", "wasthebuyerthemaker", "buyerismaker";
    Seq = "seq", "sequence", "sequencenumber", "seqnum", "trseqnum";
    Conditions = "conditions", "condition", "cond", "salecondition", "saleconditions", "tradeconditions";
    Venue = "venue", "exchange", "market", "mic", "publisherid", "exchangeid", "exch";
    /// The facility that reported it, which has ids of its own.
    Facility = "trf_id";
    Vendor = "vendor";
    Action = "action";
    Correction = "correction", "trcorr";
    /// What became of it since, as Alpaca says in a word.
    Update = "update";
    RefId = "ref_id", "origid", "originaltradeid";
    ReceivedTs = "received_ts_ns", "tsrecv", "localtimestamp", "receivedtimestamp", "receivedat", "recvtime";
    RecordType = "rtype";
    InstrumentId = "instrument_id";
}

const SYMBOLS: SymbolColumns = SymbolColumns { symbol: Symbol as usize, suffix: Suffix as usize };

/// What the columns of a file of trades show.
#[derive(Default)]
pub struct Form {
    writer: Writer,
    prices: Prices,
    instrument: Instrument,
    /// The symbol is the root of several classes.
    has_classes: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Writer {
    #[default]
    Unknown,
    Databento,
    Polygon,
    Binance,
    Tardis,
    Coinbase,
}

impl FileRecord for Trade {
    type Decoder = KindDecoder<Self>;
}

impl Kind for Trade {
    type Form = Form;

    const NAME: &'static str = "trade";
    const ROLES: &'static [RoleNames] = ROLES;
    const LETTERS: &'static [Letters] = &[
        // Binance.
        Letters {
            needs: &["p", "q", "m", "T"],
            roles: &[
                ("p", Price as usize),
                ("q", Size as usize),
                ("m", BuyerIsMaker as usize),
                ("T", Ts as usize),
                ("s", Symbol as usize),
                ("a", Id as usize),
                ("t", Id as usize),
            ],
        },
        // Alpaca, whose `t` is a text, and Polygon, whose `t` counts nanoseconds: both are the time.
        Letters {
            needs: &["t", "p", "s", "i", "x"],
            roles: &[
                ("t", Ts as usize),
                ("p", Price as usize),
                ("s", Size as usize),
                ("i", Id as usize),
                ("x", Venue as usize),
                ("c", Conditions as usize),
                ("S", Symbol as usize),
                ("q", Seq as usize),
                ("u", Update as usize),
            ],
        },
        // Alpaca, by its client.
        Letters { needs: &["u", "price", "size"], roles: &[("u", Update as usize)] },
    ];
    const TIMES: &'static [usize] = &[Ts as usize, Date as usize, Clock as usize, TapeTime as usize];
    const REQUIRED: &'static [&'static [usize]] =
        &[&[Ts as usize, Clock as usize, Date as usize, TapeTime as usize], &[Price as usize], &[Size as usize]];
    const SYMBOL: usize = Symbol as usize;

    fn form(columns: &FileColumns<'_>) -> Result<Form, String> {
        let writer = if databento::is_writer(columns) {
            Writer::Databento
        } else if columns.has(TapeTime as usize) {
            Writer::Polygon
        } else if columns.has(BuyerIsMaker as usize) {
            Writer::Binance
        } else if columns.is_named("localtimestamp") {
            Writer::Tardis
        } else if columns.is_named("productid") && columns.is_named("tradeid") {
            Writer::Coinbase
        } else {
            Writer::Unknown
        };
        let has_side = columns.has(TradeSide as usize);
        if has_side && (columns.has(BuyerIsMaker as usize) || columns.has(MakerSide as usize)) {
            return Err("expected one column that says who took whose order, got two: leave one out, as in --map \
                        side=COLUMN or --map maker_side=COLUMN"
                .into());
        }
        let is_said = [TradeSide, MakerSide].into_iter().any(|role| columns.is_mapped(role as usize));
        let has_classes = SYMBOLS.have_classes(columns)?;
        if may_be_coinbase(columns) && !is_said {
            return Err(
                "expected to know whose side the column side is, since Coinbase's is that of the resting order: \
                        give --map maker_side=side if it is so here, or --map side=side if it is that of the aggressor"
                    .into(),
            );
        }
        let prices = if writer == Writer::Databento { Prices::Undecided } else { Prices::Plain };
        Ok(Form { writer, prices, instrument: Instrument::new(columns.has(Symbol as usize)), has_classes })
    }

    fn without_header(cells: &[&str]) -> Option<(&'static [Option<usize>], Form)> {
        let columns = binance_columns(cells)?;
        Some((columns, Form { writer: Writer::Binance, ..Form::default() }))
    }

    fn writer(form: &Form) -> Option<&'static str> {
        match form.writer {
            Writer::Unknown => None,
            Writer::Databento => Some("Databento trades"),
            Writer::Polygon => Some("Polygon trades"),
            Writer::Binance => Some("Binance trades"),
            Writer::Tardis => Some("Tardis trades"),
            Writer::Coinbase => Some("Coinbase trades"),
        }
    }

    fn decode(cells: &Cells<'_>, form: &mut Form, file: &mut FileContext) -> Result<Option<Self>, RowError> {
        let is_databento = form.writer == Writer::Databento;
        if is_databento {
            if !is_trade_of_databento(cells)? {
                return Ok(None);
            }
            form.instrument.check(cells.get(InstrumentId as usize))?;
        }
        let ts = time_of(cells, form, file)?;
        let price = form.prices.required(cells, Price as usize, file.as_written)?;
        let size = cells.required_number(Size as usize)?;
        let symbol = file.symbol.resolve(SYMBOLS.read(cells, form.has_classes).as_deref())?;
        let mut trade = Self::new(symbol, ts, price, size);
        trade.vendor = file.vendor.resolve(cells.column(Vendor as usize))?;
        trade.venue = venue_of(cells);
        // A number that is always the same tells no trades apart.
        trade.id = cells.text(Id as usize).filter(|id| *id != "0").unwrap_or_default().into();
        trade.seq = cells.integer(Seq as usize)?;
        trade.side = side_of(cells, form.writer)?;
        trade.conditions = cells.codes(Conditions as usize);
        trade.ref_id = cells.text(RefId as usize).map(SmolStr::new);
        if !is_databento {
            trade.action =
                cells.text(Action as usize).map(str::parse).transpose().map_err(|error| format!("action: {error}"))?;
        }
        correct(&mut trade, cells)?;
        let columns = [ReceivedTs as usize, TapeTime as usize];
        trade.received_ts_ns = Received { columns, is_databento }.read(cells, file)?;
        Ok(Some(trade))
    }

    fn settle(&mut self, is_own: bool, moments: &mut Moments) -> Result<bool, RowError> {
        let (series, ts) = (series_of(&self.vendor, &self.venue, &self.symbol), self.ts.as_nanos());
        if !self.id.is_empty() || is_own {
            let content = self.price.to_bits().rotate_left(1) ^ self.size.to_bits();
            let (before, is_same) = moments.compare(&series, ts, &self.id, content)?;
            // A correction says something else on purpose.
            if before > 0 && !is_same && !is_own && self.action.is_none() {
                let message = format!(
                    "id: expected an id for each trade of a moment, got {} again at another price or size",
                    Quoted(&self.id)
                );
                return Err(
                    RowError::from(message).of_file("name the column that tells them apart, as in --map id=COLUMN")
                );
            }
            return Ok(before > 0);
        }
        let Some(seq) = self.seq else {
            self.id = format_smolstr!("#{}", moments.number(&series, ts)? + 1);
            return Ok(false);
        };
        // Trades of one message have its number all.
        self.id = format_smolstr!("{OF_MESSAGE}{seq}");
        let before = moments.count_message(&series, ts, &self.id)?;
        if before > 0 {
            self.id = format_smolstr!("{OF_MESSAGE}{seq}#{}", before + 1);
        }
        Ok(false)
    }

    fn name_alone(&mut self) -> Result<(), RowError> {
        if self.id.is_empty() {
            let expected = "id: expected an id or a seq, which tell trades of one moment apart, got neither";
            let seq = self.seq.ok_or_else(|| RowError::from(expected.to_owned()))?;
            self.id = format_smolstr!("seq:{seq}");
        }
        Ok(())
    }

    fn given(&self) -> (&SmolStr, Option<&SmolStr>) {
        (&self.vendor, Some(&self.symbol))
    }
}

/// Returns whether the columns are those of Coinbase, which writes whose order rested, and of many others; programs put the
/// number of the row in front, and people the symbol.
fn may_be_coinbase(columns: &FileColumns<'_>) -> bool {
    let added = ["", "index", "unnamed0", "symbol", "ticker", "pair", "exchange", "venue", "vendor"];
    columns.are_these(&["time", "tradeid", "price", "size", "side"], &added)
}

/// Returns whether a record of Databento is a trade: a message of the book is none.
///
/// # Errors
/// It is of a schema that repeats the last trade.
fn is_trade_of_databento(cells: &Cells<'_>) -> Result<bool, RowError> {
    if databento::is_of_interval(cells.get(RecordType as usize)) {
        let message =
            "rtype: expected records of trades, got those of intervals, which repeat the last trade".to_owned();
        return Err(RowError::from(message).of_whole_file("load them with --kind quotes"));
    }
    Ok(cells.column(Action as usize).is_none_or(|action| action == "T"))
}

fn time_of(cells: &Cells<'_>, form: &Form, file: &FileContext) -> Result<TimestampNanos, RowError> {
    let is_there = |cell: &&str| !cell.is_empty() && *cell != "0";
    if form.writer == Writer::Polygon {
        let time = [Ts, TapeTime].into_iter().map(|role| cells.get(role as usize)).find(is_there);
        return file.times.read("ts", time.unwrap_or_default());
    }
    moment_of(cells, [Ts as usize, Date as usize, Clock as usize], file)
}

/// Returns the venue; of a trade that a facility reported that is the exchange and the facility, whose ids are their own.
fn venue_of(cells: &Cells<'_>) -> SmolStr {
    let venue = cells.text(Venue as usize).unwrap_or_default();
    match cells.text(Facility as usize) {
        Some(facility) if facility != "0" => format_smolstr!("{venue}/{facility}"),
        _ => venue.into(),
    }
}

fn side_of(cells: &Cells<'_>, writer: Writer) -> Result<Option<Side>, RowError> {
    let expected = |role: Role, words: &str| {
        let (name, cell) = (cells.name(role as usize), cells.get(role as usize));
        RowError::from(format!("{name}: expected {words}, got {}", Quoted(cell)))
    };
    if let Some(cell) = cells.text(BuyerIsMaker as usize) {
        // The buyer's order rested, so the seller took it.
        return match cell.to_ascii_lowercase().as_str() {
            "true" | "1" => Ok(Some(Side::Sell)),
            "false" | "0" => Ok(Some(Side::Buy)),
            _ => Err(expected(BuyerIsMaker, "true or false")),
        };
    }
    if let Some(side) = word_of_side(cells.get(MakerSide as usize), false).map_err(|()| expected(MakerSide, SIDES))? {
        return Ok(Some(other(side)));
    }
    let is_databento = writer == Writer::Databento;
    let words = if is_databento { "A, B or N" } else { SIDES };
    let side = word_of_side(cells.get(TradeSide as usize), is_databento)
        .map_err(|()| expected(TradeSide, words).of_file("name another column, or none with --map side=-"))?;
    Ok(if writer == Writer::Coinbase { side.map(other) } else { side })
}

const SIDES: &str = "buy or sell";

const fn other(side: Side) -> Side {
    match side {
        Side::Buy => Side::Sell,
        Side::Sell => Side::Buy,
    }
}

/// Reads a side; none where it is not known. A and B are the sides of the book of the aggressor, at Databento alone.
fn word_of_side(cell: &str, is_databento: bool) -> Result<Option<Side>, ()> {
    match (cell.to_ascii_lowercase().as_str(), is_databento) {
        ("" | "n", _) | ("none" | "unknown" | "nan" | "null" | "na" | "n/a", false) => Ok(None),
        ("b", _) | ("buy", false) => Ok(Some(Side::Buy)),
        ("a", true) | ("sell" | "s", false) => Ok(Some(Side::Sell)),
        _ => Err(()),
    }
}

/// Applies the tape's mark of a correction. A trade that was corrected or cancelled later does not count, a record of a cancel
/// is none, and the corrected data are a trade as any other. None of them names another one: ids may begin anew each day.
fn correct(trade: &mut Trade, cells: &Cells<'_>) -> Result<(), RowError> {
    match cells.integer(Correction as usize)? {
        None | Some(0 | 12) => {}
        Some(1 | 7 | 8 | 10 | 11) => trade.action = Some(TradeAction::Cancel),
        Some(other) => return Err(format!("correction: expected 0, 1, 7, 8, 10, 11 or 12, got {other}").into()),
    }
    match cells.text(Update as usize) {
        // One that is `corrected` is what another should have been.
        None | Some("corrected") => {}
        Some("canceled" | "cancelled" | "incorrect") => trade.action = Some(TradeAction::Cancel),
        Some(other) => {
            let message = format!("update: expected canceled, incorrect or corrected, got {}", Quoted(other));
            return Err(
                RowError::from(message).of_file("if the column says something else, leave it out with --map update=-")
            );
        }
    }
    Ok(())
}

/// Returns the columns of a dump of Binance without a header, whose rows are like no others: ids and prices, an epoch of 13
/// or 16 digits, and whether the buyer's order rested.
fn binance_columns(cells: &[&str]) -> Option<&'static [Option<usize>]> {
    const TRADES: [Option<usize>; 7] = [
        Some(Id as usize),
        Some(Price as usize),
        Some(Size as usize),
        None,
        Some(Ts as usize),
        Some(BuyerIsMaker as usize),
        None,
    ];
    const AGG_TRADES: [Option<usize>; 8] = [
        Some(Id as usize),
        Some(Price as usize),
        Some(Size as usize),
        None,
        None,
        Some(Ts as usize),
        Some(BuyerIsMaker as usize),
        None,
    ];
    let is_bool = |cell: &&str| ["true", "false"].iter().any(|word| word.eq_ignore_ascii_case(cell));
    let is_id = |cell: &str| !cell.is_empty() && cell.bytes().all(|byte| byte.is_ascii_digit());
    let is_number = |cell: &str| cell.starts_with(|c: char| c.is_ascii_digit()) && cell.parse::<f64>().is_ok();
    let is_epoch = |cell: &str| [13, 16].contains(&cell.len()) && is_id(cell) && cell.starts_with(['1', '2']);
    match cells {
        [id, price, size, paid, time, flags @ ..]
            if (1..=2).contains(&flags.len()) && flags.iter().all(is_bool) && is_number(paid) && is_epoch(time) =>
        {
            (is_id(id) && is_number(price) && is_number(size)).then_some(&TRADES[..cells.len()])
        }
        [id, price, size, first, last, time, flags @ ..]
            if (1..=2).contains(&flags.len()) && flags.iter().all(is_bool) && is_epoch(time) =>
        {
            let are_ids = is_id(id) && is_id(first) && is_id(last);
            (are_ids && is_number(price) && is_number(size)).then_some(&AGG_TRADES[..cells.len()])
        }
        _ => None,
    }
}
