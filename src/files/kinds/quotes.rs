//! Quotes: the best bid and ask of Databento, Polygon, Tardis, Binance and others.

use smol_str::SmolStr;

use super::{
    cells::Cells,
    columns_of_file::{FileColumns, Letters},
    databento::{self, Instrument, Received},
    decoder::KindDecoder,
    kind::{FileContext, Kind, roles},
    moments::{Moments, series_of},
    prices::Prices,
    symbols::SymbolColumns,
    times::moment_of,
};
use crate::{
    files::{columns::RoleNames, decoder::FileRecord, row_error::RowError},
    record::{Quote, TimestampNanos},
};

roles! {
    Ts = "ts", "timestamp", "datetime", "quotetime", "quotetimestamp", "tsevent", "transactiontime", "transacttime",
        "participanttimestamp", "exchangetimestamp", "timestampns", "unix", "unixtimestamp", "epoch";
    /// The time at which the consolidated tape had it, where the exchange's own is missing.
    TapeTime = "sip_timestamp";
    Date = "date", "quotedate";
    Clock = "time", "timeofday";
    Bid = "bid", "bidprice", "bidpx", "bidpx00", "bestbid", "bestbidprice", "bid1", "bidprice1";
    BidSize = "bid_size", "bidsz", "bidsz00", "bidqty", "bidamount", "bidvolume", "bidquantity", "bestbidqty",
        "bestbidsize", "bestbidamount", "bidsize1";
    Ask = "ask", "askprice", "askpx", "askpx00", "bestask", "bestaskprice", "offer", "offerprice", "ask1", "askprice1";
    AskSize = "ask_size", "asksz", "asksz00", "askqty", "askamount", "askvolume", "askquantity", "bestaskqty",
        "bestasksize", "bestaskamount", "offersize", "asksize1";
    Symbol = "symbol", "ticker", "sym", "pair", "productid", "instid", "tscode",
        "symroot";
    /// The class of shares, of TAQ.
    Suffix = "sym_suffix";
    Seq = "seq", "sequence", "sequencenumber", "seqnum", "updateid", "quseqnum";
    Conditions = "conditions", "condition", "cond", "quoteconditions";
    Venue = "venue", "exchange", "market", "mic", "publisherid", "exchangeid", "exch";
    Vendor = "vendor";
    ReceivedTs = "received_ts_ns", "tsrecv", "localtimestamp", "receivedtimestamp", "receivedat", "recvtime";
    RecordType = "rtype";
    InstrumentId = "instrument_id";
}

const SYMBOLS: SymbolColumns = SymbolColumns { symbol: Symbol as usize, suffix: Suffix as usize };

/// What the columns of a file of quotes show.
#[derive(Default)]
pub struct Form {
    writer: Writer,
    prices: Prices,
    instrument: Instrument,
    /// The symbol is the root of several classes.
    has_classes: bool,
    /// Nothing but their order tells quotes of one moment apart.
    is_unnumbered: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Writer {
    #[default]
    Unknown,
    Databento,
    Polygon,
    Tardis,
    Binance,
}

impl FileRecord for Quote {
    type Decoder = KindDecoder<Self>;
}

impl Kind for Quote {
    type Form = Form;

    const NAME: &'static str = "quote";
    const ROLES: &'static [RoleNames] = ROLES;
    const LETTERS: &'static [Letters] = &[
        // Alpaca and Polygon.
        Letters {
            needs: &["t", "bp", "ap"],
            roles: &[
                ("t", Ts as usize),
                ("bp", Bid as usize),
                ("bs", BidSize as usize),
                ("ap", Ask as usize),
                ("as", AskSize as usize),
                ("c", Conditions as usize),
                ("S", Symbol as usize),
                ("sym", Symbol as usize),
                ("q", Seq as usize),
            ],
        },
    ];
    const TIMES: &'static [usize] = &[Ts as usize, Date as usize, Clock as usize, TapeTime as usize];
    const REQUIRED: &'static [&'static [usize]] =
        &[&[Ts as usize, Clock as usize, Date as usize, TapeTime as usize], &[Bid as usize], &[Ask as usize]];
    const SYMBOL: usize = Symbol as usize;

    fn form(columns: &FileColumns<'_>) -> Result<Form, String> {
        let writer = if databento::is_writer(columns) {
            Writer::Databento
        } else if columns.has(TapeTime as usize) {
            Writer::Polygon
        } else if columns.is_named("localtimestamp") {
            Writer::Tardis
        } else if columns.is_named("updateid") && columns.is_named("bestbidprice") {
            Writer::Binance
        } else {
            Writer::Unknown
        };
        let has_classes = SYMBOLS.have_classes(columns)?;
        let prices = if writer == Writer::Databento { Prices::Undecided } else { Prices::Plain };
        let instrument = Instrument::new(columns.has(Symbol as usize));
        Ok(Form { writer, prices, instrument, has_classes, is_unnumbered: !columns.has(Seq as usize) })
    }

    fn writer(form: &Form) -> Option<&'static str> {
        match form.writer {
            Writer::Unknown => None,
            Writer::Databento => Some("Databento quotes"),
            Writer::Polygon => Some("Polygon quotes"),
            Writer::Tardis => Some("Tardis quotes"),
            Writer::Binance => Some("Binance book ticker"),
        }
    }

    fn decode(cells: &Cells<'_>, form: &mut Form, file: &mut FileContext) -> Result<Option<Self>, RowError> {
        let is_databento = form.writer == Writer::Databento;
        let symbol = SYMBOLS.read(cells, form.has_classes);
        if is_databento {
            form.instrument.check(cells.get(InstrumentId as usize))?;
        }
        let ts = time_of(cells, form, file)?;
        let mut quote = Self::new(file.symbol.resolve(symbol.as_deref())?, ts);
        quote.vendor = file.vendor.resolve(cells.column(Vendor as usize))?;
        quote.venue = cells.text(Venue as usize).unwrap_or_default().into();
        quote.bid = form.prices.read(cells, Bid as usize, file.as_written)?;
        quote.bid_size = cells.number(BidSize as usize)?;
        quote.ask = form.prices.read(cells, Ask as usize, file.as_written)?;
        quote.ask_size = cells.number(AskSize as usize)?;
        quote.seq = match cells.integer(Seq as usize)? {
            Some(seq) => seq,
            None if form.is_unnumbered => UNNUMBERED,
            None => return Err(cells.none(Seq as usize)),
        };
        quote.conditions = cells.codes(Conditions as usize);
        let columns = [ReceivedTs as usize, TapeTime as usize];
        quote.received_ts_ns = Received { columns, is_databento }.read(cells, file)?;
        Ok(Some(quote))
    }

    fn settle(&mut self, is_own: bool, moments: &mut Moments) -> Result<bool, RowError> {
        let (series, ts) = (series_of(&self.vendor, &self.venue, &self.symbol), self.ts.as_nanos());
        if !is_own && self.seq == UNNUMBERED {
            self.seq = moments.number(&series, ts)?;
            return Ok(false);
        }
        Ok(moments.count(&series, ts, &self.seq.to_string())? > 0)
    }

    fn name_alone(&mut self) -> Result<(), RowError> {
        if self.seq == UNNUMBERED {
            self.seq = 0;
        }
        Ok(())
    }

    fn given(&self) -> (&SmolStr, Option<&SmolStr>) {
        (&self.vendor, Some(&self.symbol))
    }
}

/// Stands for a number that is not there, until the reader has counted.
const UNNUMBERED: i64 = i64::MIN;

fn time_of(cells: &Cells<'_>, form: &Form, file: &FileContext) -> Result<TimestampNanos, RowError> {
    let is_there = |cell: &&str| !cell.is_empty() && *cell != "0";
    match form.writer {
        Writer::Polygon => {
            let time = [Ts, TapeTime].into_iter().map(|role| cells.get(role as usize)).find(is_there);
            file.times.read("ts", time.unwrap_or_default())
        }
        // Of a quote of each second or minute the event is the last trade, perhaps long before.
        Writer::Databento if databento::is_of_interval(cells.get(RecordType as usize)) => {
            file.times.read("ts", cells.get(ReceivedTs as usize))
        }
        _ => moment_of(cells, [Ts as usize, Date as usize, Clock as usize], file),
    }
}
