//! Files of kinds other than bars, as vendors write them: tests/data/kinds has a folder a kind, and beside each file what
//! is to come out of it, a record a line.

use std::{fmt::Debug, fs, io::Read, path::PathBuf};

use market_data_store::{
    Fundamentals, News, OptionQuote, Quote, Row, Trade, Value,
    files::{Chunk, FileRecord, ReadError, ReadOptions, RecordReader},
};

use proptest::prelude::*;

use crate::{kinds, mds, support};

/// What a file gave: records, what is wrong by line, and how many rows were skipped or replaced others.
#[derive(Debug)]
pub struct Outcome<T> {
    pub records: Vec<T>,
    pub rejected: Vec<String>,
    pub skipped: u64,
    pub replaced: u64,
}

fn folder(kind: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/kinds").join(kind)
}

fn drain<T: FileRecord, R: Read>(mut reader: RecordReader<T, R>) -> Result<Outcome<T>, ReadError> {
    let mut all = Outcome { records: Vec::new(), rejected: Vec::new(), skipped: 0, replaced: 0 };
    let mut chunk = Chunk::default();
    loop {
        let more = reader.next_chunk(&mut chunk)?;
        all.records.extend(chunk.records.drain(..));
        all.rejected.extend(chunk.rejected.drain(..).map(|rejected| rejected.to_string()));
        all.skipped += chunk.skipped;
        all.replaced += chunk.replaced;
        if !more {
            return Ok(all);
        }
    }
}

fn options<T: FileRecord>(name: &str, given: &[(&str, &str)]) -> ReadOptions {
    let mut options = ReadOptions { name: name.into(), ..ReadOptions::default() };
    for (option, value) in given {
        match *option {
            "--symbol" => options.symbol = Some((*value).into()),
            "--vendor" => options.vendor = Some((*value).into()),
            "--map" => options.map = T::column_map(value).unwrap(),
            "--tz" => options.zone = Some(value.parse().unwrap()),
            "--ts-format" => options.ts_format = Some(value.parse().unwrap()),
            "--as-written" => options.as_written = true,
            "--timeframe" => options.timeframe = Some(value.parse().unwrap()),
            other => panic!("{other} is no option here"),
        }
    }
    options
}

pub fn read<T: FileRecord>(text: &str, given: &[(&str, &str)]) -> Result<Outcome<T>, ReadError> {
    drain(RecordReader::new(text.as_bytes(), options::<T>("data.csv", given)))
}

pub fn refusal<T: FileRecord + Debug>(text: &str, given: &[(&str, &str)]) -> String {
    read::<T>(text, given).expect_err(text).to_string()
}

/// Compares what the files of a kind give with what is written beside them.
fn compare<T: FileRecord + Debug + PartialEq>(files: &[(&str, &[(&str, &str)])]) {
    let folder = folder(T::KIND);
    let mut seen = 0;
    for (file, given) in files {
        let path = folder.join(file);
        let stem = file.split_once('.').unwrap().0;
        let expected = fs::read_to_string(folder.join(format!("{stem}.ndjson"))).unwrap();
        let mut expected: Vec<T> = expected.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        expected.iter_mut().for_each(|record| record.validate().unwrap());
        let reader = RecordReader::<T, _>::open(fs::File::open(&path).unwrap(), options::<T>(file, given));
        let outcome = drain(reader.unwrap()).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(outcome.rejected, Vec::<String>::new(), "{file}");
        assert_eq!(outcome.replaced, 0, "{file}");
        assert_eq!(outcome.records, expected, "{file}");
        seen += 1;
    }
    let there = fs::read_dir(&folder).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        !name.to_string_lossy().ends_with(".ndjson")
    });
    assert_eq!(there.count(), seen, "a file of {} is in no test", T::KIND);
}

// Red when a column of a vendor is taken for another, a price is a billion times too large, a nanosecond is cut, the side is
// that of the resting order, or two trades of one moment become one.
#[test]
fn trades_are_read_as_vendors_write_them() {
    compare::<Trade>(&[
        ("databento.csv", &[]),
        ("databento_pretty_tbbo.csv", &[]),
        ("polygon.csv", &[]),
        ("polygon_options.csv", &[]),
        ("BTCUSDT-trades-2024-01-02.csv", &[]),
        ("BTCUSDT-aggTrades-2024-01.csv", &[]),
        ("tardis.csv", &[]),
        ("kraken.csv", &[("--symbol", "XBTUSD"), ("--map", "ts=1,price=2,size=3")]),
        ("coinbase.json", &[]),
    ]);
}

// Red when a side is taken for the other, a price that is not there is one, the time is that of the last trade, or a quote of
// one moment takes the place of another.
#[test]
fn quotes_are_read_as_vendors_write_them() {
    compare::<Quote>(&[
        ("databento_mbp1.csv", &[]),
        ("databento_bbo_1s.csv", &[]),
        ("polygon.csv", &[]),
        ("tardis.csv", &[]),
        ("BTCUSDT-bookTicker-2024-01-02.csv", &[]),
        ("alpaca.jsonl", &[("--symbol", "AAPL")]),
    ]);
}

// Red when a strike, a date or a volatility is in another unit than the vendor's, or the contract's symbol is not read.
#[test]
fn options_are_read_as_vendors_write_them() {
    compare::<OptionQuote>(&[
        ("cboe_intervals.csv", &[("--tz", "America/New_York")]),
        ("yfinance.csv", &[("--map", "ts=lastTradeDate")]),
        ("tardis_chain.csv", &[]),
        ("optionmetrics.csv", &[]),
        ("polygon_quotes.csv", &[]),
        ("optionsdx.txt", &[("--symbol", "AAPL")]),
        ("orats.csv", &[]),
    ]);
}

// Red when a period is put together wrongly, or the date of its end is taken for the one on which it was known.
#[test]
fn fundamentals_are_read_as_vendors_write_them() {
    compare::<Fundamentals>(&[("wide.csv", &[]), ("fmp.json", &[("--map", "asof=fillingDate")])]);
}

// Red when a list of symbols is read as one, or a title ends at the end of its line.
#[test]
fn news_are_read_as_vendors_write_them() {
    compare::<News>(&[("alpaca.jsonl", &[]), ("finnhub.json", &[]), ("newsapi.json", &[]), ("lines.csv", &[])]);
}

// Red when what may mean two things is taken for one of them.
#[test]
fn what_cannot_be_known_of_other_kinds_is_refused() {
    let said = [
        refusal::<Quote>("ts,symbol,bid\n1704205800,A,1\n", &[]),
        refusal::<Quote>("ts,symbol,bid,ask\n1704205800,A,185250000000,185260000000\n", &[]),
        refusal::<Quote>("ts,symbol,bid,bid_price,ask\n1704205800,A,1,1,2\n", &[("--timeframe", "1m")]),
        refusal::<OptionQuote>(
            "underlying_symbol,quote_date,root,expiration,strike,option_type,bid_1545,bid_eod\nA,2024-01-02,A,2024-01-19,1,C,2,3\n",
            &[],
        ),
        refusal::<OptionQuote>("ts,contract,bid\n1704205800,X1,1\n", &[]),
        refusal::<OptionQuote>("ts,symbol,strike,expiry,type,bid\n1704205800,X1,1,2024-01-19,C,1\n", &[]),
        refusal::<OptionQuote>("ts,contract,iv\n1704205800,AAPL240119C00150000,41\n", &[]),
        refusal::<OptionQuote>("ts,contract,expiry,bid\n1704205800,AAPL240119C00150000,1/19/2024,1\n", &[]),
        refusal::<OptionQuote>("contractSymbol,lastTradeDate,strike,bid\nAAPL240119C00150000,2024-01-02,150,1\n", &[]),
        refusal::<Fundamentals>("symbol,end,val,accn,fy,fp,filed\nA,2024-01-02,1,x,2024,Q1,2024-01-02\n", &[]),
        refusal::<Fundamentals>("symbol,period,filed,metric,value\nA,2024Q1,2024-01-02,Revenues,1\n", &[]),
        refusal::<Fundamentals>("symbol,period,date,revenue\nA,2024Q1,2024-01-02,1\n", &[]),
        refusal::<News>("published,title,sentiment\n2024-01-02T14:30:00Z,a,positive\n", &[]),
        refusal::<News>("published,title\n2024-01-02,a\n", &[]),
    ];
    for (said, expected) in said.iter().zip([
        "expected a column for ask",
        "bid: expected a price, got \"185250000000\", which may count billionths",
        "expected no --timeframe for quotes",
        "got those of 15:45 and those of the end of the day: say which, as in --map bid=bid_eod",
        "expiry: expected a column for it, or a contract that says it, got none",
        "symbol: expected to know whether \"X1\" is the contract or the underlying",
        "iv: expected an implied volatility such as 0.41 for 41 %, got 41, which may be in percent",
        "expiry: expected a date such as 2024-01-19, got \"1/19/2024\": write it with the year first",
        "expected a column for time, got a header with \"contractSymbol, lastTradeDate, strike, bid\"",
        "facts of EDGAR, whose fy and fp are those of the filing",
        "expected a column for each amount, got a row for each: make it wide first",
        "expected a column for asof",
        "sentiment: expected a plain decimal number such as 1234.5, got \"positive\": name another column, or none with --map",
        "ts: expected a date and a time of day, got \"2024-01-02\"",
    ]) {
        assert!(said.contains(expected), "{said}");
    }
    let disagrees = read::<OptionQuote>("ts,contract,strike,bid\n1704205800,AAPL240119C00150000,15,1\n", &[]).unwrap();
    assert_eq!(
        disagrees.rejected,
        ["line 2: strike: expected 150 as the contract \"AAPL240119C00150000\" says, got 15"]
    );
}

// Red when what may mean two things is taken for one of them.
#[test]
fn what_cannot_be_known_of_trades_is_refused() {
    for (text, given, expected) in [
        (
            "time,trade_id,price,size,side\n2024-01-02T14:30:00Z,1,2,3,buy\n",
            &[("--symbol", "BTC-USD")][..],
            "expected to know whose side the column side is, since Coinbase's is that of the resting order",
        ),
        ("ts,symbol,price,size\n2024-01-02T14:30:00Z,A,185250000000,1\n", &[], "which may count billionths of one"),
        ("ts,symbol,price,size\n2024-01-02,A,1,1\n", &[], "ts: expected a date and a time of day, got \"2024-01-02\""),
        ("ts,symbol,price,size,side\n1704205800,A,1,1,1\n", &[], "side: expected buy or sell, got \"1\""),
        ("ts,symbol,price,size,side\n1704205800,A,1,1,A\n", &[], "side: expected buy or sell, got \"A\""),
        (
            "ts,symbol,price,volume,amount\n1704205800,A,1,1,2\n",
            &[],
            "expected one column for size, got \"volume\" and",
        ),
        (
            "ts,symbol,price\n1704205800,A,1\n",
            &[],
            "expected a column for size, got a header with \"ts, symbol, price\"",
        ),
        ("1704205800,1.5,2\n", &[("--symbol", "A")], "as in --map ts=1,price=2,size=3"),
        ("ts,price,size\n1704205800,1,1\n", &[], "the file names no symbol"),
        ("ts,symbol,price,size\n1704205800,A,1,1\n", &[("--timeframe", "1m")], "expected no --timeframe for trades"),
        ("ts,symbol,price,size\n1704205800,A,1,1\n", &[("--map", "size=qty")], "the column \"qty\" that --map names"),
        ("ts,symbol,price,size\n1/4/2024 9:30,A,1,1\n", &[], "--ts-format '%m/%d/%Y %H:%M' or --ts-format"),
        (
            "ts_recv,ts_event,rtype,publisher_id,instrument_id,side,price,size,flags,sequence\n\
             1704205800000000000,1704205800000000000,195,1,5,N,1000000000,1,0,1\n",
            &[("--symbol", "A")],
            "rtype: expected records of trades, got those of intervals",
        ),
        (
            "ts_recv,ts_event,rtype,publisher_id,instrument_id,side,price,size,flags,sequence\n\
             1704205800000000000,1704205800000000000,0,1,5,N,1000000000,1,0,1\n\
             1704205800000000000,1704205800000000000,0,1,6,N,1000000000,1,0,1\n",
            &[("--symbol", "A")],
            "instrument_id: expected \"5\" as on the first row",
        ),
        ("{\"hd\":{\"ts_event\":\"1\"},\"price\":\"1\"}\n", &[], "got JSON of Databento: get the same data as CSV"),
        ("{\"results\":[{\"p\":1}]}\n", &[], "take them out with `jq -c '.results[]'`"),
        ("[[1704205800,1,2]]", &[], "expected JSON objects, got arrays"),
    ] {
        let said = refusal::<Trade>(text, given);
        assert!(said.contains(expected), "{text}: {said}");
    }
    let twice = "ts,symbol,price,size\n1704205800,A,1,2\nts,symbol,size,price\n1704205801,A,2,1\n";
    assert!(refusal::<Trade>(twice, &[]).starts_with("line 3: a second header, with other columns"));
    let alike = read::<Trade>(&twice.replace("size,price", "price,size"), &[]).unwrap();
    assert_eq!((alike.records.len(), alike.rejected.len()), (2, 0));
    let mut unordered: String = (10..60).map(|second| format!("17042058{second},A,1,1\n")).collect();
    unordered += "1704205810,A,1,1\n";
    let said = refusal::<Trade>(&format!("ts,symbol,price,size\n{unordered}"), &[]);
    assert!(said.contains("line 52: ts: expected rows in the order of their times"), "{said}");
    assert!(Trade::column_map("open=1").unwrap_err().to_string().contains("\"open\" is no part of trades: ts, "));
}

// Red when a row that is broken costs more than itself, or is stored.
#[test]
fn a_broken_row_of_trades_costs_only_itself() {
    let good = "1704205800,A,1.5,1,buy,x1";
    for (row, expected) in [
        ("1704205800,A,,1,buy,x2", "line 3: price: expected a price, got none"),
        ("1704205800,A,NaN,1,buy,x2", "line 3: price: expected a price, got none (\"NaN\")"),
        ("1704205800,A,1,,buy,x2", "line 3: size: expected a size, got none"),
        ("1704205800,A,1,-1,buy,x2", "line 3: size: expected a finite number from 0, got -1"),
        ("1704205800,A,1,1,long,x2", "line 3: side: expected buy or sell, got \"long\""),
        ("1704205800,,1,1,buy,x2", "line 3: symbol: expected a symbol, got none"),
        ("17042058,A,1,1,buy,x2", "line 3: ts: expected a date and a time of day, got \"17042058\""),
        ("1704205800,A,1e400,1,buy,x2", "line 3: price: expected a plain decimal number"),
        ("1704205800,A,1,1,buy", "line 3: expected 6 cells as the header has, got 5"),
        ("1704205800,A,\"1,1,buy,x2", "line 3: expected a closing quote on this line or one of the next, got none"),
    ] {
        let all = read::<Trade>(&format!("ts,symbol,price,size,side,id\n{good}\n{row}\n{good}2\n"), &[]).unwrap();
        assert_eq!(all.records.len(), 2, "{row}");
        let [said] = all.rejected.as_slice() else { panic!("{row}: {:?}", all.rejected) };
        assert!(said.starts_with(expected), "{row}: {said}");
    }
}

/// Writes the value of a column as `mds query` does: times with as many digits as they need, nothing for null.
fn cell(value: &Value<'_>) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::Text(text) => text.to_string(),
        Value::Timestamp(ts) => ts.to_string(),
        Value::TimestampNanos(ts) => ts.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Date(date) => date.to_string(),
        other => panic!("{other:?} has no text yet"),
    };
    let is_plain = !text.contains(['"', ',', '\n', '\r']);
    if is_plain { text } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

/// Writes what is valid of these as CSV and as NDJSON in our own columns, and compares what is read: in JSON -0.0 is another
/// number than 0.0, and any other bit shows too.
fn are_read_alike<T: FileRecord + Debug>(mut records: Vec<T>) {
    records.retain_mut(|record| record.validate().is_ok());
    let names: Vec<_> = T::TABLE.columns().iter().map(|column| column.name()).collect();
    let (mut csv, mut ndjson) = (names.join(",") + "\n", String::new());
    for record in &records {
        let cells: Vec<_> = Row::of(record).values().iter().map(cell).collect();
        csv += &(cells.join(",") + "\n");
        ndjson += &(serde_json::to_string(record).unwrap() + "\n");
    }
    let expected: Vec<_> = ndjson.lines().collect();
    for text in [&csv, &ndjson] {
        // A file without a row is of no kind.
        let all = read::<T>(text, &[]).unwrap();
        assert_eq!(all.rejected, Vec::<String>::new(), "{text}");
        let found: Vec<_> = all.records.iter().map(|record| serde_json::to_string(record).unwrap()).collect();
        assert_eq!(found, expected, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(support::size_of_test("MDS_TEST_KIND_FILES", 16) as u32))]

    // Red when a digit, a nanosecond, a quote or the end of a line in a text is lost, or null becomes a text.
    #[test]
    fn what_is_written_in_our_own_columns_is_read_as_it_was(
        quotes in proptest::collection::vec(kinds::quote(), 1..20),
        trades in proptest::collection::vec(kinds::trade(), 1..20),
        options in proptest::collection::vec(kinds::option_quote(), 1..20),
        fundamentals in proptest::collection::vec(kinds::fundamentals(), 1..20),
        news in proptest::collection::vec(kinds::news(), 1..20),
    ) {
        are_read_alike(quotes);
        are_read_alike(trades);
        are_read_alike(options);
        are_read_alike(fundamentals);
        are_read_alike(news);
    }
}

// Red when an open quote takes the lines behind it with it, or an end of a line is another one in a text.
#[test]
fn a_quoted_cell_goes_on_on_the_next_line_and_an_open_quote_costs_its_line() {
    let head = "id,ts,title\n";
    for (rows, titles, rejected) in [
        ("1,2024-01-02T14:30:00Z,\"a\nb\r\n\"\"c\"\"\"\n", &["a\nb\r\n\"c\""][..], &[][..]),
        ("1,2024-01-02T14:30:00Z,\"a\n2,2024-01-02T14:30:00Z,b\n", &["b"], &[2]),
        (
            "1,2024-01-02T14:30:00Z,\"a\n2,2024-01-02T14:30:00Z,b\"\n3,2024-01-02T14:30:00Z,c\n",
            &["a\n2,2024-01-02T14:30:00Z,b", "c"],
            &[],
        ),
        ("1,2024-01-02T14:30:00Z\",\"a\n2,2024-01-02T14:30:00Z,\"b\"\n", &["b"], &[2]),
    ] {
        let all = read::<News>(&format!("{head}{rows}"), &[]).unwrap();
        assert_eq!(all.records.iter().map(|news| news.title.as_str()).collect::<Vec<_>>(), titles, "{rows}");
        let lines: Vec<_> = all.rejected.iter().map(|said| said.split(':').next().unwrap().to_owned()).collect();
        assert_eq!(
            lines,
            rejected.iter().map(|line: &u64| format!("line {line}")).collect::<Vec<_>>(),
            "{rows}: {:?}",
            all.rejected
        );
    }
}

// Red when rows that repeat a key are counted as stored twice.
#[test]
fn a_row_that_takes_the_place_of_another_is_counted() {
    let trades = read::<Trade>("ts,symbol,price,size,id\n1704205800,A,1,1,x\n1704205800,A,1,1,x\n", &[]).unwrap();
    assert_eq!((trades.records.len(), trades.replaced), (2, 1));
    let other = read::<Trade>("ts,symbol,price,size,id\n1704205800,A,1,1,9\n1704205800,A,1.5,1,9\n", &[]).unwrap();
    assert_eq!((other.records.len(), other.replaced), (1, 0));
    assert_eq!(
        other.rejected,
        ["line 3: id: expected an id for each trade of a moment, got \"9\" again at another price or size"]
    );
    let quotes = read::<Quote>("ts,symbol,seq,bid,ask\n1704205800,A,7,1,2\n1704205800,A,7,1,3\n", &[]).unwrap();
    assert_eq!((quotes.records.len(), quotes.replaced), (2, 1));
}

// Red when the command loads another kind than it is told, takes an option that means nothing, or what it stores is not what
// `mds query` writes and `mds ingest` loads again.
#[test]
fn the_command_loads_every_kind_and_loads_again_what_it_writes() {
    let dir = tempfile::tempdir().unwrap();
    let files = [
        ("trades", "databento.csv", &[][..], 4),
        ("quotes", "polygon.csv", &[], 2),
        ("options", "yfinance.csv", &["--map", "ts=lastTradeDate"], 2),
        ("fundamentals", "wide.csv", &[], 2),
        ("news", "lines.csv", &[], 1),
    ];
    for (kind, file, args, count) in files {
        let path = folder(kind).join(file);
        let args: Vec<&str> = ["--kind", kind, "--json"].iter().chain(args).copied().chain(path.to_str()).collect();
        let output = mds::run(dir.path(), &args);
        let summary = mds::summary(&output);
        assert_eq!((output.status.code(), &summary["stored"]), (Some(0), &count.into()), "{}", mds::stderr(&output));
        let query = |database: &str, format: &str| {
            let query = ["query", "--kind", kind, "--format", format, "--database", database];
            let output = mds::mds(dir.path()).args(query).output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{}", mds::stderr(&output));
            mds::stdout(&output)
        };
        for format in ["csv", "ndjson"] {
            let (first, copy) = (query("sqlite://market_data.db", format), format!("sqlite://{kind}_{format}.db"));
            let written = dir.path().join(format!("{kind}.{format}"));
            fs::write(&written, &first).unwrap();
            let args = ["--kind", kind, "--database", &copy, written.to_str().unwrap()];
            let output = mds::run(dir.path(), &args);
            assert_eq!(output.status.code(), Some(0), "{}", mds::stderr(&output));
            assert_eq!(query(&copy, format), first, "{kind} as {format}");
        }
    }
    let trades = folder("trades").join("tardis.csv");
    for (args, code, expected) in [
        (["--kind", "trades", "--timeframe", "1m"], 2, "expected no --timeframe for trades"),
        (["--kind", "trade", "--tz", "UTC"], 2, "possible values: bars, quotes, trades, options, fundamentals, news"),
        (["--kind", "trades", "--map", "open=1"], 2, "\"open\" is no part of trades"),
        (["--kind", "trades", "--symbol", "ES"], 65, "symbol: expected ES as --symbol says, got BTC-PERPETUAL"),
    ] {
        let output = mds::run(dir.path(), &[&args[..], &[trades.to_str().unwrap()]].concat());
        let said = mds::stdout(&output) + &mds::stderr(&output);
        assert!(output.status.code() == Some(code) && said.contains(expected), "{args:?}: {said}");
    }
}
