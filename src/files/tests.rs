//! The readers as their caller sees them: files in, bars and rejected lines out.

use std::{
    cell::Cell,
    io::{self, Read},
    path::Path,
};

use proptest::prelude::*;

use super::{chunk::MAX_LINE_BYTES, *};
use crate::{
    record::{Adjustment, Bar, Timeframe},
    text::Shown,
};

mod meanings;
mod times;

type BarReader<R> = RecordReader<Bar, R>;

/// All that a file gave.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    bars: Vec<Bar>,
    rejected: Vec<Rejected>,
    skipped: u64,
    replaced: u64,
    /// What is to be looked at, and what to be known.
    notes: Vec<String>,
}

/// Hands out its bytes in pieces of the given sizes, over and over.
struct Pieces<'a> {
    bytes: &'a [u8],
    sizes: Box<dyn Iterator<Item = usize> + 'a>,
}

impl<'a> Pieces<'a> {
    fn new(bytes: &'a [u8], sizes: &'a [usize]) -> Self {
        Self { bytes, sizes: Box::new(sizes.iter().copied().cycle()) }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes.next().unwrap_or(usize::MAX).min(buf.len()).min(self.bytes.len());
        let (piece, rest) = self.bytes.split_at(size);
        buf[..size].copy_from_slice(piece);
        self.bytes = rest;
        Ok(size)
    }
}

fn drain(mut reader: BarReader<impl Read>) -> Result<Outcome, ReadError> {
    let (mut all, mut chunk) = (Outcome::default(), Chunk::default());
    loop {
        let more = reader.next_chunk(&mut chunk)?;
        let rows = chunk.records.len() + chunk.rejected.len() + chunk.skipped as usize;
        assert!(rows <= Chunk::MAX_ROWS, "{rows} rows in a chunk");
        all.bars.extend(chunk.records.drain(..));
        all.rejected.append(&mut chunk.rejected);
        all.skipped += chunk.skipped;
        all.replaced += chunk.replaced;
        if !more {
            all.notes = reader.warnings();
            // Nearly all files here have none.
            all.notes.retain(|note| !note.starts_with("no vendor is known"));
            all.notes.extend(reader.notes());
            return Ok(all);
        }
    }
}

fn es() -> ReadOptions {
    ReadOptions { symbol: Some("ES".into()), timeframe: Some(Timeframe::DAY), ..ReadOptions::default() }
}

fn read_with(bytes: impl AsRef<[u8]>, options: ReadOptions) -> Result<Outcome, ReadError> {
    drain(BarReader::new(bytes.as_ref(), options))
}

fn read(bytes: impl AsRef<[u8]>) -> Result<Outcome, ReadError> {
    read_with(bytes, es())
}

fn refusal(bytes: impl AsRef<[u8]>) -> String {
    read(bytes).expect_err("the file must be refused").to_string()
}

/// The bars as `symbol timeframe time open high low close volume`.
fn lines(outcome: &Outcome) -> Vec<String> {
    let line = |bar: &Bar| {
        let volume = bar.volume.map_or("-".to_owned(), |volume| volume.to_string());
        let Bar { symbol, timeframe, ts, open, high, low, close, .. } = bar;
        format!("{symbol} {timeframe} {ts} {open} {high} {low} {close} {volume}")
    };
    outcome.bars.iter().map(line).collect()
}

fn rejections(outcome: &Outcome) -> Vec<(u64, &str)> {
    outcome.rejected.iter().map(|rejected| (rejected.line, rejected.message.as_str())).collect()
}

const GOOD: &str = "ES 1d 2024-01-02T00:00:00Z 2 4 1 3 10";

// Red when a file without a vendor is loaded without a word, or one with it is blamed.
#[test]
fn a_file_without_a_vendor_is_told_once() {
    let with_header = "vendor,date,open,high,low,close\n";
    for (csv, vendor, expected) in [
        ("date,open,high,low,close\n2024-01-02,2,4,1,3\n2024-01-03,2,4,1,3\n".to_owned(), None, 1),
        (format!("{with_header}acme,2024-01-02,2,4,1,3\n"), None, 0),
        (format!("{with_header}acme,2024-01-02,2,4,1,3\n,2024-01-03,2,4,1,3\n"), None, 1),
        (format!("{with_header},2024-01-02,2,4,1,3\n"), Some("acme"), 0),
    ] {
        let mut reader = BarReader::new(csv.as_bytes(), ReadOptions { vendor: vendor.map(Into::into), ..es() });
        let mut chunk = Chunk::default();
        while reader.next_chunk(&mut chunk).unwrap() {}
        let told = reader.warnings().iter().filter(|note| note.contains("--vendor")).count();
        assert_eq!(told, expected, "{csv}");
    }
}

// Red if a column is mixed up with another, a row is lost at the border of a read or a chunk, or a value is rounded.
#[test]
fn the_real_files_are_read_to_the_last_digit() {
    for file in ["examples/data/sp500.csv", "tests/data/nasdaq.csv"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = std::fs::read_to_string(&path).expect("the file is part of the project");
        let all = drain(BarReader::new(std::fs::File::open(&path).expect("as before"), es())).unwrap();
        assert_eq!((all.rejected.len(), all.skipped), (0, 0));
        assert_eq!(all.notes, ["ignored columns: Adj Close"]);
        let expected = text.lines().skip(1).map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            let date: Vec<u32> = cells[0].split('/').map(|number| number.parse().unwrap()).collect();
            let numbers: Vec<f64> = cells[1..].iter().map(|cell| cell.parse().unwrap()).collect();
            Bar {
                vendor: "unknown".into(),
                symbol: "ES".into(),
                timeframe: Timeframe::DAY,
                adjustment: Adjustment::Unknown,
                ts: format!("{:04}-{:02}-{:02}", date[2], date[0], date[1]).parse().unwrap(),
                open: numbers[0],
                high: numbers[1],
                low: numbers[2],
                close: numbers[3],
                volume: Some(numbers[5]),
            }
        });
        assert_eq!(all.bars.len(), 5_031);
        assert!(all.bars.iter().cloned().eq(expected), "{file}");
        assert_eq!(all.bars[5_030].ts.to_string(), "2018-12-31T00:00:00Z");
    }
}

// Red if one bad line takes a neighbour with it, as an unclosed quote would in a reader that spans lines.
#[test]
fn seven_broken_lines_cost_only_themselves_and_are_named() {
    let broken = include_bytes!("../../tests/data/broken.csv");
    let all = read(broken).unwrap();
    assert_eq!(all.bars.len(), 1_000);
    assert_eq!(
        rejections(&all),
        [
            (2, "expected 7 cells as the header has, got 5"),
            (100, r#"time: expected a date and time that exist, got "2/30/1999""#),
            (250, r#"open: expected a plain decimal number such as 1234.5, got "12.5M""#),
            (400, "close: expected a price from the low 2300.5 to the high 2350.1, got 2410.7"),
            (555, "expected a closing quote on the same line, got none"),
            (777, "expected UTF-8, got byte 0xff at column 27"),
            (1008, r#"close: expected a plain decimal number such as 1234.5, got "2,310.7""#),
        ]
    );
}

#[test]
fn headers_and_dialects_of_every_kind_give_the_same_bar() {
    for text in [
        "date,open,high,low,close,volume\n2024-01-02,2,4,1,3,10\n",
        "date,open,high,low,close,volume\r\n2024-01-02,2,4,1,3,10\r\n",
        "date,open,high,low,close,volume\n2024-01-02,2,4,1,3,10",
        "\u{feff}DATE;Open;HIGH;Low;Close;Vol.\n2024-01-02;2;4;1;3;10\n",
        "Date|Open|High|Low|Close|Volume\n2024-01-02|2|4|1|3|10\n",
        "Data for 2024 01 02 to 2024 01 31\ndate,open,high,low,close,volume\n2024-01-02,2,4,1,3,10\n",
        "about open high low close\ndate,open,high,low,close,volume\n2024-01-02,2,4,1,3,10\n",
        "\n\nTimestamp\tO\tH\tL\tC\tV\n\n1704153600\t2\t4\t1\t3\t10\n\n",
        "\"Date\",\"Open\",\"High\",\"Low\",\"Close\",\"Volume\"\n\"2024-01-02\",\"2\",\"4\",\"1\",\"3\",\"10\"\n",
        "volume, close, low, high, open, datetime\n 10 , 3 , 1 , 4 , 2 , 2024-01-02 00:00 \n",
        ",Open,High,Low,Close,Volume\n2024-01-02 00:00:00-05:00,2.0,4.0,1.0,3.0,10\n",
        "\tOpen\tHigh\tLow\tClose\tVolume\n2024-01-02\t2\t4\t1\t3\t1e1\n",
        ",date,open,high,low,close,volume\n17,20240102,+2,4.,1,3,10\n",
        "<TICKER>,<DATE>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>\nES,20240102,000000,2,4,1,3,10\n",
        "symbol,interval,date,time,open,high,low,close,volume\nes,1Day,2024-01-02,00:00,2,4,1,3,10\n",
        "Open Time,Open,High,Low,Close,Volume,Close Time\n1704153600000,2,4,1,3,10,1704239999999\n",
        "time,open,high,low,close,volume\n2024/01/02,2,4,1,3,10\n",
        "date,timestamp,open,high,low,close,volume\nx,2024-01-02,2,4,1,3,10\n",
        r#"{"date":"2024-01-02","open":2,"high":4,"low":1,"close":3,"volume":10}"#,
        "\n\r\n{\"t\":1704153600000,\"o\":\"2.0\",\"h\":4,\"l\":1,\"c\":3,\"v\":1e1,\"n\":[1,{\"a\":2}]}\r\n\n",
        r#"{"symbol":"\u0065s","timeframe":"1d","ts":"2024-01-02T00:00:00Z","open":2,"high":4,"low":1,"close":3,"volume":10}"#,
        r#"[{"date":"2024-01-02","open":2,"high":4,"low":1,"close":3,"volume":10}]"#,
        "\u{feff} [\n {\"date\": \"2024-01-02\",\n \"open\": 2, \"high\": 4,\n\"low\":1,\"close\":3,\"volume\":10}\n ]\n",
        r#"[{"date":"2024-01-02","x":"]},[{\"","open":2,"high":4,"low":1,"close":3,"volume":10},]"#,
    ] {
        let all = read(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((lines(&all), rejections(&all)), (vec![GOOD.to_owned()], vec![]), "{text}");
    }
}

// Sabotage: reject it for the fields that it lacks, line by line where it has several.
#[test]
fn an_object_around_the_bars_is_refused_with_the_command_that_takes_them_out() {
    let around = |key: &str, how: &str| {
        format!("expected an object for each bar, got one with \"{key}\" around them: take them out, as in `{how}`")
    };
    let each = |filter: &str| format!("jq -c '{filter}' FILE | mds ingest ... -");
    let lines = "expected an object on each line, got one on several: put each on one, as in `jq -c '.' FILE | mds ingest ... -`";
    let bar = r#"{"t":"2024-01-02","o":2,"h":4,"l":1,"c":3}"#;
    for (text, expected) in [
        (
            format!(r#"{{"symbol":"AAPL","bars":[{bar}],"next":null}}"#),
            around("bars", &each("{symbol: .symbol} + .bars[]?")),
        ),
        // The same symbol as the option says.
        (format!(r#"{{"symbol":"es","bars":[{bar}]}}"#), around("bars", &each(".bars[]?"))),
        (format!(r#"{{"next":{{"a":1}},"candles":[{bar}"#), around("candles", &each(".candles[]?"))),
        (format!(r#"{{"price bars":[{bar}]}}"#), around("price bars", &each(r#".["price bars"][]?"#))),
        (format!(r#"{{"a b":{{"c d":[{bar}]}}}}"#), around("c d", &each(r#".["a b"]["c d"][]?"#))),
        (
            r#"{"it's":[{"t":1}]}"#.into(),
            "expected an object for each bar, got one in which no bars are known: take them out with jq".into(),
        ),
        (
            r#"{"chart":{"result":[1]}}"#.into(),
            "expected an object for each bar, got one in which no bars are known: take them out with jq".into(),
        ),
        (
            "{\"chart\":{\"result\":[1]}}\n{\"chart\":{}}\n".into(),
            "line 1: expected an object for each bar, got one with \"chart\" around them: take them out with jq".into(),
        ),
        (bar.replace(',', ",\n"), lines.to_owned()),
        (
            "{\n  \"bars\": [\n".into(),
            "expected an object for each bar, got one in which no bars are known: take them out with jq".into(),
        ),
        (format!("{{\"bars\": [\n {bar},\n"), around("bars", &each(".bars[]?"))),
        // One that stands behind something odd.
        (format!("{{}}\n{{\"bars\":[{bar}]}}\n"), format!("line 2: {}", around("bars", &each(".bars[]?")))),
    ] {
        assert_eq!(refusal(&text), expected, "{text}");
    }
    // What is odd in another way costs only itself.
    for text in [r#"{"n":[1]}"#, r#"{"date":"2024-01-02","open":2,"bars":[{"o":1}]}"#, "{\"date\":\n", "{}"] {
        let good = r#"{"date":"2024-01-02","open":2,"high":4,"low":1,"close":3,"n":[{"a":1}]}"#;
        let all = read(format!("{text}\n{good}\n")).unwrap();
        assert_eq!((all.bars.len(), all.rejected.len()), (1, 1), "{text}");
    }
}

// Sabotage: take `t` for the column that is named as `T`.
#[test]
fn a_column_named_by_a_letter_is_the_one_of_that_case() {
    let json = r#"{"T":"AAA","v":10,"vw":3,"o":2,"c":3,"h":4,"l":1,"t":1704153600000,"n":7}"#;
    let csv = "T,v,vw,o,c,h,l,t,n\nAAA,10,3,2,3,4,1,1704153600000,7\n";
    let turned = "t,T,v,o,c,h,l\n1704153600000,AAA,10,2,3,4,1\n";
    for text in [json, csv, turned] {
        let options = ReadOptions { symbol: None, map: "symbol=T".parse().unwrap(), ..es() };
        let all = read_with(text, options).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(lines(&all), ["AAA 1d 2024-01-02T00:00:00Z 2 4 1 3 10"], "{text}");
    }
}

// Sabotage: count it as a cell that the header lacks, or pass over one that is not empty.
#[test]
fn an_empty_cell_behind_the_last_column_is_passed_over() {
    for (row, good) in [
        ("2024-01-02,2,4,1,3,10,", true),
        ("2024-01-02,2,4,1,3,10, ", true),
        ("2024-01-02,2,4,1,3,10,,", false),
        ("2024-01-02,2,4,1,3,10,0", false),
        ("2024-01-02,2,4,1,3,", true),
        ("2024-01-02,2,4,1,3", false),
    ] {
        let all = read(format!("date,open,high,low,close,volume\n{row}\n")).unwrap();
        assert_eq!((all.bars.len(), all.rejected.len()), (usize::from(good), usize::from(!good)), "{row}");
    }
}

// Sabotage: reject the line that names the ticker, and ask for a symbol.
#[test]
fn a_first_row_of_one_word_names_the_ticker() {
    let no_symbol = ReadOptions { symbol: None, name: "y1.csv".into(), ..es() };
    for text in [
        "Date,Close,High,Low,Open,Volume\n,ES,ES,ES,ES,ES\n2024-01-02,3,4,1,2,10\n",
        "Price,Date,Close,High,Low,Open,Volume\nTicker,,ES,ES,ES,ES,ES\n0,2024-01-02,3,4,1,2,10\n",
    ] {
        for options in [no_symbol.clone(), es()] {
            let all = read_with(text, options).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((lines(&all), rejections(&all)), (vec![GOOD.to_owned()], vec![]), "{text}");
        }
        let other = ReadOptions { symbol: Some("NQ".into()), ..es() };
        assert_eq!(
            read_with(text, other).expect_err(text).to_string(),
            "line 2: symbol: expected NQ as --symbol says, got ES"
        );
    }
    // No word, or not in the first row, or not without a time.
    for text in [
        "Date,Close,High,Low,Open,Volume\n,1,1,1,1,1\n2024-01-02,3,4,1,2,10\n",
        "Date,Close,High,Low,Open,Volume\n2024-01-02,3,4,1,2,10\n,NQ,NQ,NQ,NQ,NQ\n",
        "Date,Close,High,Low,Open,Volume\n2024-01-02,NQ,NQ,NQ,NQ,NQ\n2024-01-02,3,4,1,2,10\n",
        "Date,Close,High,Low,Open,Volume\n,NQ,NQ,NQ,ES,NQ\n2024-01-02,3,4,1,2,10\n",
    ] {
        let all = read(text).unwrap();
        assert_eq!((lines(&all), all.rejected.len()), (vec![GOOD.to_owned()], 1), "{text}");
    }
}

// Sabotage: propose the file's name, under which the rows of all would overwrite each other.
#[test]
fn a_column_that_seems_to_hold_symbols_is_proposed_for_them() {
    let csv = "date,open,high,low,close,volume,Name\n2013-02-08,2,4,1,3,10,AAL\n2013-02-11,2,4,1,3,10,AAL\n\
               2013-02-08,2,4,1,3,10,AAPL\n";
    let grouped = r#"{"T":"AAA","v":10,"o":2,"c":3,"h":4,"l":1,"t":1704153600000}"#;
    for (text, column) in [
        (csv, Some("Name")),
        (grouped, Some("T")),
        // Its words differ where the time is the same.
        (&csv.replace("Name", "n"), Some("n")),
        ("t,T,o,h,l,c\n1704153600000,1704239999999,2,4,1,3\n", None),
    ] {
        match read_with(text, ReadOptions { symbol: None, name: "all.csv".into(), ..es() }) {
            Err(ReadError::Missing(missing)) => {
                assert_eq!(missing.symbol_column.as_deref(), column, "{text}");
                assert_eq!(missing.symbol.as_deref(), Some("ALL"), "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    let map = "symbol=Name".parse().unwrap();
    assert_eq!(read_with(csv, ReadOptions { symbol: None, map, ..es() }).unwrap().bars.len(), 3);
    // Under one symbol only one row of a time would be left.
    let error =
        read_with(csv.replace("AAPL", "1").replace("AAL", "2"), ReadOptions { symbol: None, ..es() }).unwrap_err();
    let expected = "expected a symbol, and one row of it a time, got several rows of \"2013-02-08\": say which column tells them \
                    apart, as in --map symbol=COLUMN, or load those of each symbol from a file of their own (ignored columns: Name)";
    assert_eq!(error.to_string(), expected);
}

// Sabotage: speak of columns that are missing, and of --map, which cannot help here.
#[test]
fn blanks_between_cells_are_refused_with_the_command_that_converts_them() {
    let map = "ts=1,open=2,high=3,low=4,close=5";
    for (text, map) in [
        ("Date Time Open High Low Close\n2024-01-02 09:30 2 4 1 3\n", ""),
        ("x\n  date   open  high  low  close\n", ""),
        ("2024-01-02 2 4 1 3 10\n", ""),
        ("2024-01-02 2 4 1 3 10\n", map),
    ] {
        let map = if map.is_empty() { ColumnMap::default() } else { map.parse().unwrap() };
        assert_eq!(
            read_with(text, ReadOptions { map, ..es() }).expect_err(text).to_string(),
            "expected commas, tabs, semicolons or | between cells, got spaces: convert them first, as in `tr -s ' ' , < FILE | \
             mds ingest ... -`"
        );
    }
}

#[test]
fn ignored_columns_are_named_once() {
    let csv = "Date,Open,High,Low,Close,Adj Close,Volume,Dividends,\n2024-01-02,2,4,1,3,3,10,0,\n";
    assert_eq!(read(csv).unwrap().notes, ["ignored columns: Adj Close, Dividends"]);
    let json = r#"{"date":"2024-01-02","open":2,"high":4,"low":1,"close":3,"vwap":2,"n":7}"#;
    assert_eq!(read(format!("{json}\n{json}\n")).unwrap().notes[0], "ignored columns: vwap, n");
    let many: String = (0..30).map(|n| format!(",x{n}")).collect();
    let note = &read(format!("date,open,high,low,close{many}\n")).unwrap().notes[0];
    assert!(note.ends_with(", x19 and more"), "{note}");
}

#[test]
fn a_volume_can_be_missing_in_many_ways() {
    for volume in ["", "NaN", "null", "-1", "-1.0", "N/A"] {
        let all = read(format!("date,open,high,low,close,volume\n2024-01-02,2,4,1,3,{volume}\n")).unwrap();
        assert_eq!(lines(&all), ["ES 1d 2024-01-02T00:00:00Z 2 4 1 3 -"], "{volume}");
    }
    assert_eq!(read("date,open,high,low,close\n2024-01-02,2,4,1,3\n").unwrap().bars[0].volume, None);
}

#[test]
fn rows_without_prices_are_skipped_and_counted() {
    let all = read("date,open,high,low,close,volume\n2024-01-02,2,4,1,3,10\n2024-01-03,,,,,0\n2024-01-04,null,null,null,null,null\n").unwrap();
    assert_eq!((lines(&all).len(), all.skipped, all.rejected.len()), (1, 2, 0));
    let all = read(r#"[{"date":"2024-01-02","open":null,"high":null,"low":null,"close":null}]"#).unwrap();
    assert_eq!((all.bars.len(), all.skipped, all.rejected.len()), (0, 1, 0));
    let all = read("date,open,high,low,close\n2024-01-02,2,4,1,\n").unwrap();
    assert_eq!(rejections(&all), [(2, r#"close: expected a plain decimal number such as 1234.5, got """#)]);
}

#[test]
fn a_number_that_is_not_plain_costs_its_row_and_is_named_by_column() {
    for cell in ["12.5M", "$1.2", "1 234", "inf", "nan", "1e999", "0x10", "--1", "1,5"] {
        let all = read(format!("date;open;high;low;close\n2024-01-02;2;4;1;3\n2024-01-02;2;{cell};1;3\n")).unwrap();
        let expected = format!("high: expected a plain decimal number such as 1234.5, got {cell:?}");
        assert_eq!(rejections(&all), [(3, expected.as_str())]);
    }
    let all = read("date,open,high,low,close,volume\n2024-01-02,2,4,1,3,12x\n2024-01-02,2,4,1,3,-2\n").unwrap();
    assert_eq!(
        rejections(&all),
        [
            (2, r#"volume: expected a plain decimal number such as 1234.5, got "12x""#),
            (3, "volume: expected a finite number from 0, got -2"),
        ]
    );
}

// Red if such a file is rejected row by row, a thousand times, or refused for one odd row among good ones.
#[test]
fn a_file_whose_first_rows_are_all_written_in_an_odd_way_is_refused_whole() {
    let header = "date;open;high;low;close;volume\n";
    let (odd, good, broken) = ("2024-01-02;1,5;4;1;3;10\n", "2024-01-03;2;4;1;3;10\n", "2024-01-03;2\n");
    let refused = "line 2: open: expected a plain decimal number such as 1234.5, got \"1,5\": export it with decimal \
                   points and without thousands separators, or convert decimal commas as in `tr , . < FILE | mds ingest \
                   ... -` where commas separate nothing else";
    assert_eq!(refusal(format!("{header}{odd}")), refused);
    assert_eq!(refusal(format!("{header}{odd}{odd}{odd}{good}")), refused);
    assert_eq!(refusal(format!("{header}{odd}{broken}{odd}")), refused);
    for rows in [format!("{odd}{good}{odd}{odd}{odd}"), format!("{odd}{odd}{broken}{good}"), format!("{good}{odd}")] {
        let all = read(format!("{header}{rows}")).unwrap();
        assert_eq!(all.bars.len(), 1, "{rows}");
        assert_eq!(all.rejected.len(), rows.lines().count() - 1, "{rows}");
        assert!(all.rejected.is_sorted_by_key(|rejected| rejected.line), "{rows}");
    }
    for (text, expected) in [
        (
            "date,open,high,low,close,vol.\n2024-01-02,2,4k,1,3,10\n",
            "line 2: high: expected a plain decimal number such as 1234.5, got \"4k\": numbers with K, M or B are rounded, \
             export it with all digits",
        ),
        (
            "date,open,high,low,close\n2024-01-02,$1.2,4,1,3\n",
            "line 2: open: expected a plain decimal number such as 1234.5, got \"$1.2\": export it without currency and \
             percent signs",
        ),
        (
            "date;open;high;low;close\n2024-01-02;1.234,5;4;1;3\n",
            "line 2: open: expected a plain decimal number such as 1234.5, got \"1.234,5\": export it with decimal points \
             and without thousands separators",
        ),
        (
            "ts,open,high,low,close\n17041536000,2,4,1,3\n",
            "line 2: time: expected an integer of 8 digits (YYYYMMDD), 9-10 (seconds since 1970), 12-13 (ms), 15-16 (us) or \
             18-19 (ns), got \"17041536000\" with 11",
        ),
        (
            "[[1704153600000,2,4,1,3,10]]",
            "expected an object for each bar, got arrays, whose numbers have no names, and the rows shown do not prove which of \
             them are open, high, low and close: give --map ts=A,open=B,high=C,low=D,close=E,volume=F with the number of each, \
             from 1; the first array is 1704153600000, 2, 4, 1, 3, 10",
        ),
        (
            "{\"hd\":{\"ts_event\":\"1704153600000000000\"},\"open\":\"4780250000000\"}\n",
            "line 1: expected plain prices, got JSON of Databento: get the same data as CSV",
        ),
    ] {
        assert_eq!(refusal(text), expected);
    }
}

#[test]
fn a_line_that_contradicts_an_option_is_rejected_naming_both() {
    let text = "symbol,timeframe,vendor,date,open,high,low,close\n\
                es,1D,a,2024-01-02,2,4,1,3\n\
                NQ,1d,a,2024-01-02,2,4,1,3\n\
                ES,1h,a,2024-01-02,2,4,1,3\n\
                ES,1d,b,2024-01-02,2,4,1,3\n\
                ,,,2024-01-03,2,4,1,3\n";
    let all = read_with(text, ReadOptions { vendor: Some("a".into()), ..es() }).unwrap();
    assert_eq!(
        rejections(&all),
        [
            (3, "symbol: expected ES as --symbol says, got NQ"),
            (4, "timeframe: expected 1d as --timeframe says, got 1h"),
            (5, "vendor: expected a as --vendor says, got b"),
        ]
    );
    assert_eq!(lines(&all).len(), 2);
    assert!(all.bars.iter().all(|bar| bar.vendor == "a"));
    let all = read_with(text, ReadOptions::default()).unwrap();
    assert_eq!(lines(&all)[1], "NQ 1d 2024-01-02T00:00:00Z 2 4 1 3 -");
    assert_eq!(lines(&all)[2], "ES 1h 2024-01-02T00:00:00Z 2 4 1 3 -");
    assert_eq!(rejections(&all), [(6, "timeframe: expected a timeframe, got none")]);
}

// Sabotage: take every word for a symbol, or every one that is no number for none: NAN and NA are traded.
#[test]
fn what_is_written_where_there_is_no_symbol_is_none() {
    let text = |symbol: &str| format!("symbol,date,open,high,low,close\n{symbol},2024-01-02,2,4,1,3\n");
    let by_column = ReadOptions { symbol: None, ..es() };
    for none in ["NaN", "nan", "null", "None", "<NA>", "N/A", "n/a", "#N/A", " NaN "] {
        let message = format!("symbol: expected a symbol, got none ({:?})", none.trim());
        let all = read_with(text(none), by_column.clone()).unwrap();
        assert_eq!((all.bars.len(), rejections(&all)), (0, vec![(2, message.as_str())]), "{none}");
        assert_eq!(read(text(none)).unwrap().bars[0].symbol, "ES", "an empty cell is what the option says");
    }
    for ticker in ["NAN", "NULL", "NONE", "NA", "NaNA", "none"] {
        let all = read_with(text(ticker), by_column.clone()).unwrap();
        assert_eq!(all.bars[0].symbol, if ticker == "none" { "NONE" } else { ticker });
    }
    let vendor = "vendor,date,open,high,low,close\nNone,2024-01-02,2,4,1,3\n";
    assert_eq!(read(vendor).unwrap().bars[0].vendor, "unknown");
}

#[test]
fn everything_missing_is_reported_at_once_with_a_guess() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/sp500.csv");
    let sp500 = std::fs::read(path).unwrap();
    let hourly =
        "ts,open,high,low,close\n2024-01-02 09:00,2,4,1,3\n2024-01-02 10:00,2,4,1,3\n2024-01-02 11:00,2,4,1,3\n";
    let daily = "symbol,date,open,high,low,close\nA,1/4/1999,2,4,1,3\nA,1/5/1999,2,4,1,3\nA,1/13/1999,2,4,1,3\n";
    let days_first = "date,open,high,low,close\n4/1/1999,2,4,1,3\n5/1/1999,2,4,1,3\n13/1/1999,2,4,1,3\n";
    let json = r#"{"date":"2024-01-02","open":2,"high":4,"low":1,"close":3}"#;
    let no_symbol = ReadOptions { symbol: None, ..es() };
    let nothing = ReadOptions { name: "data/es f.csv".into(), ..ReadOptions::default() };
    for (text, options, symbol, timeframe) in [
        (&sp500[..], nothing.clone(), Some("ES F"), Some("1d")),
        (hourly.as_bytes(), nothing.clone(), Some("ES F"), Some("1h")),
        (daily.as_bytes(), nothing.clone(), None, Some("1d")),
        (days_first.as_bytes(), nothing.clone(), Some("ES F"), Some("1d")),
        (json.as_bytes(), nothing.clone(), Some("ES F"), Some("1d")),
        (json.as_bytes(), no_symbol, Some("SYMBOL"), None),
    ] {
        match read_with(text, options) {
            Err(ReadError::Missing(missing)) => {
                assert_eq!((missing.symbol.as_deref(), missing.timeframe.as_deref()), (symbol, timeframe));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        read_with("date,open,high,low,close\n", nothing).unwrap(),
        Outcome::default(),
        "no row, nothing missing"
    );
}

#[test]
fn a_file_that_cannot_be_understood_is_refused_whole() {
    for (text, expected) in [
        (
            "2024-01-02,2,4,1,3,10\n2024-01-03,2,4,1,3,10\n",
            "expected a header line such as date,open,high,low,close,volume, got data: \"2024-01-02,2,4,1,3,10\": say \
             which column is which, as in --map ts=1,open=2,high=3,low=4,close=5,volume=6 for Kraken and ccxt, or \
             ts=1,low=2,high=3,open=4,close=5,volume=6 for Coinbase",
        ),
        // Of the same columns as the data: they are what has to be named.
        (
            "Datum,Erster,Hoch,Tief,Letzter\n2024-01-02,2,4,1,3\n",
            "expected a column for time, open, high, low, close, got a header with \"Datum, Erster, Hoch, Tief, Letzter\": name \
             what is there, as in --map ts=COLUMN,open=COLUMN,high=COLUMN,low=COLUMN,close=COLUMN",
        ),
        (
            "my remarks, two of them\n2024-01-02,2,4,1,3,10\n",
            "expected a header line such as date,open,high,low,close,volume, got data: \"2024-01-02,2,4,1,3,10\": say \
             which column is which, as in --map ts=1,open=2,high=3,low=4,close=5,volume=6 for Kraken and ccxt, or \
             ts=1,low=2,high=3,open=4,close=5,volume=6 for Coinbase",
        ),
        (
            "date,open,high\n2024-01-02,2,4\n",
            "expected a column for low, close, got a header with \"date, open, high\": name what is there, as in \
             --map low=COLUMN,close=COLUMN",
        ),
        (
            "open,high,low,close,x\n2,4,1,3,1\n",
            "expected a column for time, got a header with \"open, high, low, close, x\": name what is there, as in \
             --map ts=COLUMN",
        ),
        (
            "hello world, this is a text\n",
            "expected a column for time, open, high, low, close, got a header with \"hello world,  this is a text\": name \
             what is there, as in --map ts=COLUMN,open=COLUMN,high=COLUMN,low=COLUMN,close=COLUMN",
        ),
        (
            "date,open,high,low,close,Close\n",
            r#"expected one close column, got two: column 5 ("close") and column 6 ("Close")"#,
        ),
        (
            "date,open,high,low,close\r2024-01-02,2,4,1,3\r",
            "expected lines that end with LF or CRLF, got CR alone: convert the line ends first",
        ),
        ("\"date,open,high,low,close\n", "expected a header line: expected a closing quote on the same line, got none"),
    ] {
        assert_eq!(refusal(text), expected.replace(",  this", ", this"), "{text}");
    }
    assert_eq!(
        refusal(b"date,open,high,low,cl\xffse\n"),
        "expected a header line: expected UTF-8, got byte 0xff at column 22"
    );
    assert_eq!(
        refusal("x".repeat(MAX_LINE_BYTES + 1)),
        "expected a header line: expected at most 1048576 bytes in a line, got more"
    );
}

#[test]
fn a_few_lines_may_stand_in_front_of_the_header() {
    let table = "date,open,high,low,close,volume\n2024-01-02,2,4,1,3,10\n";
    for preamble in ["https://example.com\n", "sep=,\n", "# a\n\n# b, c\n# d\n# e\n# f\n", "Report,2024\n\n"] {
        let all = read(format!("{preamble}{table}")).unwrap();
        assert_eq!((lines(&all), rejections(&all)), (vec![GOOD.to_owned()], vec![]), "{preamble}");
        let passed_over = preamble.lines().filter(|line| !line.is_empty()).count();
        assert_eq!(all.notes, [format!("lines in front of the header, passed over: {passed_over}")]);
    }
    assert!(refusal(format!("{}{table}", "x\n".repeat(6))).starts_with("expected a column for time, open, "));
    // The line that looks most like a header is the one to speak of, and behind a row there is none.
    assert!(
        refusal(format!("x\ndate,open,high,low,x\n2024-01-02,2,4,1,3\n{table}")).contains("got a header with \"date, ")
    );
    assert!(refusal(format!("x\n2024-01-02,2,4,1,3\n{table}")).contains("got data: \"2024-01-02,2,4,1,3\""));
}

#[test]
fn what_was_found_out_about_a_file_is_said_in_one_line() {
    let found = |text: &str, options: ReadOptions| {
        let mut reader = BarReader::new(text.as_bytes(), options);
        let mut chunk = Chunk::default();
        while reader.next_chunk(&mut chunk).unwrap() {}
        reader.info().to_string()
    };
    let kline = "1704067200000,2,4,1,3,10,1704067259999,1,1,1,1,0\n";
    let binance = ReadOptions { name: "in/BTCUSDT-1m-2024-01.csv".into(), ..ReadOptions::default() };
    assert_eq!(
        found(kline, binance),
        "Binance klines; BTCUSDT by the file's name, 1m by the file's name; times without offset in UTC"
    );
    let zone = Some("Europe/Berlin".parse().unwrap());
    let csv = "https://example.com\nsymbol,date,open,high,low,close,adj\nES,2024-01-02,2,4,1,3,3\n";
    assert_eq!(
        found(csv, ReadOptions { zone, timeframe: Some(Timeframe::DAY), ..ReadOptions::default() }),
        "CSV; symbols by column, 1d by --timeframe; times without offset in Europe/Berlin; lines in front of the header: 1; ignored \
         columns: adj"
    );
}

#[test]
fn columns_are_what_the_user_says() {
    for (text, map) in [
        ("1704153600,2,4,1,3,10\n", "ts=1,open=2,high=3,low=4,close=5,volume=6"),
        ("1704153600,1,4,2,3,10\n", "ts=1,low=2,high=3,open=4,close=5,volume=6"),
        ("https://example.com\n1704153600,2,4,1,3,10\n", "ts=1,open=2,high=3,low=4,close=5,volume=6"),
        ("a,b,c,d,e,f\n2024-01-02,2,4,1,3,10\n", "ts=1,open=2,high=3,low=4,close=5,volume=6"),
        ("20240102;0000;2;4;1;3;10;x\n", "date=1,time=2,open=3,high=4,low=5,close=6,volume=7"),
        ("Date,Price,Open,High,Low,Vol\n2024-01-02,3,2,4,1,10\n", "close=Price"),
        ("Date,Price,Open,High,Low,Vol\n2024-01-02,3,2,4,1,10\n", "close=2"),
        ("Date,Close,Open,High,Low,Vol,Adj\n2024-01-02,9,2,4,1,10,3\n", "close=adj"),
        ("Date,Gmt time,Open,High,Low,Close,Vol\nx,2024-01-02,2,4,1,3,10\n", "ts=Gmt time"),
        ("Date,Open,High,Low,Close,Volume,Volume BTC\n2024-01-02,2,4,1,3,9,10\n", "volume=Volume BTC"),
        (r#"{"date":"2024-01-02","o":2,"h":4,"l":1,"c":9,"adj":3,"v":10}"#, "close=adj"),
    ] {
        let all = read_with(text, ReadOptions { map: map.parse().unwrap(), ..es() });
        let all = all.unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((lines(&all), rejections(&all)), (vec![GOOD.to_owned()], vec![]), "{text}");
    }
    let numbered = "ts=1,open=2,high=3,low=4,close=5,volume=6";
    for (text, map, expected) in [
        (
            "date,open,high,low,close\n2024-01-02,2,4,1,3\n",
            "volume=Vol",
            "expected the column \"Vol\" that --map names, got a header with \"date, open, high, low, close\"",
        ),
        (
            "date,open,high,low,close\n2024-01-02,2,4,1,3\n",
            "volume=6",
            "expected the column 6 that --map names, got a header with \"date, open, high, low, close\"",
        ),
        ("1704153600,2,4,1,3\n", numbered, "expected column 6, which --map names, got a line of 5"),
        (
            r#"{"date":"2024-01-02"}"#,
            "close=5",
            "expected names of fields in --map for JSON, whose fields have no numbers, got a number",
        ),
    ] {
        let error = read_with(text, ReadOptions { map: map.parse().unwrap(), ..es() }).unwrap_err();
        assert_eq!(error.to_string(), expected, "{text}");
    }
    // A first row without prices is a row, not a header.
    let all =
        read_with("1704153600,,,,,\n1704153600,2,4,1,3,10\n", ReadOptions { map: numbered.parse().unwrap(), ..es() });
    assert_eq!((all.as_ref().unwrap().skipped, lines(all.as_ref().unwrap()).len()), (1, 1));
}

#[test]
fn an_empty_file_is_no_error() {
    for text in ["", "\n \r\n", "\u{feff}"] {
        assert_eq!(read(text).unwrap(), Outcome { notes: vec!["the file is empty".into()], ..Outcome::default() });
    }
    for text in ["date,open,high,low,close\n", "[]", " [ ] \n"] {
        assert_eq!(read(text).unwrap(), Outcome::default(), "{text}");
    }
}

/// `date,close` rows into a file with constant prices.
fn dated(dates: impl IntoIterator<Item = impl std::fmt::Display>) -> String {
    dates.into_iter().fold("date,open,high,low,close\n".into(), |text, date| format!("{text}{date},2,4,1,3\n"))
}

// Red if the order is taken from the first rows alone, or fixed before a proof.
#[test]
fn one_date_proves_the_order_for_the_whole_file() {
    let first_thousand = |proof: &str| {
        let mut dates = vec!["1/4/1999".to_owned(); 999];
        dates.push(proof.into());
        dates.push("2/3/1999".into());
        dated(dates)
    };
    for (proof, first, last) in [
        ("1/13/1999", "1999-01-04T00:00:00Z", "1999-02-03T00:00:00Z"),
        ("13/1/1999", "1999-04-01T00:00:00Z", "1999-03-02T00:00:00Z"),
    ] {
        let all = read(first_thousand(proof)).unwrap();
        assert_eq!((all.bars.len(), all.rejected.len()), (1_001, 0));
        assert_eq!((all.bars[0].ts.to_string(), all.bars[1_000].ts.to_string()), (first.into(), last.into()));
    }
    let all = read(dated(["1/1/1999", "2/2/1999"])).unwrap();
    assert_eq!(all.bars[1].ts.to_string(), "1999-02-02T00:00:00Z", "either order means the same");
    let all = read(dated(["2024-01-02", "1/13/1999", "x", "2/3/1999"])).unwrap();
    assert_eq!(
        all.bars.iter().map(|bar| bar.ts.to_string()[..10].to_owned()).collect::<Vec<_>>(),
        ["2024-01-02", "1999-01-13", "1999-02-03"]
    );
    assert_eq!(all.rejected[0].line, 4);
}

#[test]
fn dates_in_no_certain_order_refuse_the_file() {
    assert_eq!(
        refusal(dated(["1/1/1999", "1/4/1999", "1/5/1999"])),
        "expected a date that shows which number is the month, got none in the first 3 rows (line 3: \"1/4/1999\"): give \
         --ts-format '%m/%d/%Y' or --ts-format '%d/%m/%Y'"
    );
    assert_eq!(
        refusal(dated(["04.01.1999 00:00"])),
        "expected a date that shows which number is the month, got none in the first 1 rows (line 2: \"04.01.1999 00:00\"): \
         give --ts-format '%m.%d.%Y %H:%M' or --ts-format '%d.%m.%Y %H:%M'"
    );
    let mut late = vec!["1/4/1999"; 1_000];
    late.push("1/13/1999");
    assert_eq!(read(dated(&late)).unwrap().bars.len(), 1_001);
    // A file whose first rows mean the same in either order may go on with others.
    let mut late = vec!["1/1/1999"; 100_000];
    assert_eq!(
        read(dated(&late)).unwrap_err().to_string().split(" (").next(),
        Some("expected a date that shows which number is the month, got none in the first 100000 rows")
    );
    late.truncate(99_999);
    assert_eq!(read(dated(&late)).unwrap().bars.len(), 99_999);
    assert_eq!(
        refusal(dated(["1/4/1999", "1/13/1999", "13/1/1999"])),
        "expected dates in one order, got month first on line 3 (\"1/13/1999\") and day first on line 4 (\"13/1/1999\")"
    );
    let mut late = vec!["1/13/1999"; 1_000];
    late.push("13/1/1999");
    let all = read(dated(late)).unwrap();
    assert_eq!(
        rejections(&all),
        [(1_002, r#"time: expected month, day, year as elsewhere in the file, got "13/1/1999""#)]
    );
    let options = ReadOptions { ts_format: Some("%d/%m/%Y".parse().unwrap()), ..es() };
    let all = read_with(dated(["1/4/1999"]), options).unwrap();
    assert_eq!(all.bars[0].ts.to_string(), "1999-04-01T00:00:00Z");
}

#[test]
fn intraday_times_are_read_in_the_zone_line_by_line() {
    let text = "datetime,open,high,low,close\n\
                2024-03-08 09:30,2,4,1,3\n\
                2024-03-10 02:30,2,4,1,3\n\
                2024-03-11 09:30,2,4,1,3\n";
    let options =
        ReadOptions { timeframe: Some(Timeframe::MINUTE), zone: Some("America/New_York".parse().unwrap()), ..es() };
    let all = read_with(text, options).unwrap();
    assert_eq!(
        all.bars.iter().map(|bar| bar.ts.to_string()).collect::<Vec<_>>(),
        ["2024-03-08T14:30:00Z", "2024-03-11T13:30:00Z"]
    );
    assert_eq!(all.rejected[0].line, 3);
    assert!(all.rejected[0].message.contains("does not exist in America/New_York"));
}

#[test]
fn a_broken_json_line_costs_only_itself() {
    let good = r#"{"date":"2024-01-02","open":2,"high":4,"low":1,"close":3,"volume":10}"#;
    for (bad, expected) in [
        ("{\"date\":", r#"expected a JSON object, got "{\"date\":": EOF while parsing a value at column 8"#),
        (
            "7",
            r#"expected a JSON object, got "7": invalid type: integer `7`, expected an object with the fields of a bar at column 1"#,
        ),
        ("{}", "expected a field for time, open, high, low, close, got none"),
        (r#"{"date":"2024-01-02","open":2,"high":4,"low":1}"#, "expected a field for close, got none"),
        (
            r#"{"date":"2024-01-02","open":2,"high":4,"low":1,"close":{"a":1}}"#,
            r#"close: expected a string or a number, got "{\"a\":1}""#,
        ),
        (r#"{"date":"2024-01-02","open":2,"o":2,"high":4,"low":1,"close":3}"#, "expected one field for open, got two"),
        (
            r#"{"date":"2024-01-02","open":2,"high":4,"low":1,"close":"x"}"#,
            r#"close: expected a plain decimal number such as 1234.5, got "x""#,
        ),
        (r#"{"date":12,"open":2,"high":4,"low":1,"close":3}"#, "time: expected an integer of 8 digits"),
    ] {
        let all = read(format!("{good}\n{bad}\n{good}\n")).unwrap();
        assert_eq!(lines(&all), [GOOD, GOOD], "{bad}");
        let [(2, message)] = rejections(&all)[..] else { panic!("{bad}: {:?}", all.rejected) };
        assert!(message.starts_with(expected), "{bad}: {message}");
    }
}

// Red if the splitter waits for a bracket or a quote that never comes.
#[test]
fn a_broken_element_costs_only_itself() {
    let good = r#"{"date":"2024-01-02","open":2,"high":4,"low":1,"close":3,"volume":10}"#;
    let deep = "[".repeat(65);
    let long = format!(r#"{{"x":"{}"}}"#, "y".repeat(MAX_LINE_BYTES));
    for (bad, expected) in [
        (r#"{"date":"2024-01-02","open":2"#, "expected a closing brace before the next object, got none"),
        (r#"{"date":"2024-01-02,"open":2}"#, "expected a closing quote on the same line, got none"),
        (r#"{"date":"2024-01-02,"open":"2}"#, "expected a JSON object, got "),
        (r#"{"date":"2024-01-02","open":2,"x":"}"#, "expected a closing quote on the same line, got none"),
        (r#"{"date":"2024-01-02"]"#, "expected brackets that match, got others"),
        (r#"{"date":"2024-01-02"}}"#, "expected a JSON object, got "),
        ("", "expected an element before the comma, got none"),
        ("7", "expected a JSON object, got "),
        (&deep, "expected an object, got too many brackets within brackets"),
        (&long, "expected at most 1048576 bytes in an element, got more"),
    ] {
        let all = read(format!("[\n{good},\n{bad},\n{good}\n]\n")).unwrap();
        assert_eq!(lines(&all), [GOOD, GOOD], "{bad}");
        let [(line, message)] = rejections(&all)[..] else { panic!("{bad}: {:?}", all.rejected) };
        assert!(line == 3 && message.starts_with(expected), "{bad}: {line} {message}");
    }
    assert_eq!(lines(&read(format!("[{good}\n{good}]")).unwrap()), [GOOD, GOOD], "a comma is missing");
    for (text, line, expected) in [
        (format!("[{good},\n{good}"), 2, "expected ] at the end of the array, got the end of the file"),
        (format!("[{good},{good},\n{{\"open\":"), 2, "expected the end of this element, got the end of the file"),
        (format!("[{good},{good},\n\"open"), 2, "expected the end of this element, got the end of the file"),
        (format!("[{good},{good}]\n{good}"), 2, "expected nothing behind the end of the array"),
    ] {
        let all = read(&text).unwrap();
        assert_eq!((lines(&all).len(), rejections(&all)), (2, vec![(line, expected)]), "{text}");
    }
}

/// Fails the test when it is read although what it gave before was not handed over yet.
struct Pipe {
    pieces: Vec<&'static str>,
    reads: Cell<usize>,
}

impl Read for &Pipe {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let piece = self.pieces.get(self.reads.get()).copied().unwrap_or_default();
        self.reads.set(self.reads.get() + 1);
        buf[..piece.len()].copy_from_slice(piece.as_bytes());
        Ok(piece.len())
    }
}

// Red if the reader reads on while it holds a complete row: on a pipe that is silent for an hour the row would wait.
#[test]
fn what_is_complete_is_handed_over_before_the_next_read() {
    let header = "date,open,high,low,close\n";
    let pipe = Pipe {
        pieces: vec![header, "2024-01-02,2,4,1,3\n2024-01-03,2,4,1,3\n2024-", "01-04,2,4,1,3\n"],
        reads: Cell::new(0),
    };
    let mut chunk = Chunk::default();
    let mut seen = Vec::new();
    let mut reader = BarReader::new(&pipe, es());
    loop {
        let more = reader.next_chunk(&mut chunk).unwrap();
        seen.push((pipe.reads.get(), chunk.records.len(), reader.bytes_read()));
        if !more {
            break;
        }
    }
    assert_eq!(seen, [(1, 0, 25), (2, 2, 68), (3, 1, 82), (4, 0, 82)]);
}

#[test]
fn a_chunk_is_bounded_whatever_one_read_brings() {
    let text = dated(vec!["2024-01-02"; 5_000]);
    let mut reader = BarReader::new(text.as_bytes(), es());
    let (mut chunk, mut sizes) = (Chunk::default(), Vec::new());
    while reader.next_chunk(&mut chunk).unwrap() {
        sizes.push(chunk.records.len());
    }
    assert_eq!(sizes.iter().sum::<usize>() + chunk.records.len(), 5_000);
    assert!(sizes.iter().all(|size| *size <= Chunk::MAX_ROWS), "{sizes:?}");
}

// Red if a long line is collected before it is refused.
#[test]
fn a_line_or_element_of_many_megabytes_is_rejected_without_being_held() {
    const SIZE: u64 = 16 << 20;
    let good = r#"{"date":"2024-01-02","open":2,"high":4,"low":1,"close":3,"volume":10}"#;
    for (before, after, line) in [
        ("date,open,high,low,close,volume\n", "\n2024-01-02,2,4,1,3,10\n".to_owned(), 2),
        ("{}\n", format!("\n{good}\n"), 2),
        ("[{\"x\":\"", format!("\"}},\n{good}]"), 1),
    ] {
        let input = before.as_bytes().chain(io::repeat(b'x').take(SIZE)).chain(after.as_bytes());
        let mut reader = BarReader::new(input, es());
        let (mut chunk, mut bars, mut long) = (Chunk::default(), 0, Vec::new());
        while reader.next_chunk(&mut chunk).unwrap() || !chunk.is_empty() {
            bars += chunk.records.len();
            long.extend(chunk.rejected.drain(..).filter(|rejected| rejected.message.contains("at most 1048576 bytes")));
            chunk.records.clear();
            assert!(reader.buffer.held() < 4 * MAX_LINE_BYTES, "{} bytes held", reader.buffer.held());
        }
        bars += chunk.records.len();
        assert_eq!((bars, long.len(), long[0].line), (1, 1, line));
        assert!(reader.bytes_read() > SIZE);
    }
}

#[test]
fn a_line_of_exactly_one_mebibyte_is_read() {
    let row = "2024-01-02,2,4,1,3,";
    for (end, excess, bars) in [("\n", 0, 1), ("\r\n", 0, 1), ("\n", 1, 0), ("\r\n", 1, 0), ("", 0, 1), ("", 1, 0)] {
        let padding = "x".repeat(MAX_LINE_BYTES - row.len() + excess);
        let text = format!("date,open,high,low,close,note{end}{row}{padding}{end}").replacen("note20", "note\n20", 1);
        for sizes in [&[usize::MAX][..], &[1_000, 70_001]] {
            let all = drain(BarReader::new(Pieces::new(text.as_bytes(), sizes), es())).unwrap();
            assert_eq!((all.bars.len(), all.rejected.len()), (bars, 1 - bars), "{end:?} {excess}");
        }
    }
}

#[test]
fn a_failing_input_is_reported_after_the_rows_before_it() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let text = dated(["2024-01-02"]);
    let mut reader = BarReader::new(text.as_bytes().chain(Fails), es());
    let mut chunk = Chunk::default();
    assert!(reader.next_chunk(&mut chunk).unwrap());
    assert_eq!(chunk.records.len(), 1);
    assert_eq!(reader.next_chunk(&mut chunk).unwrap_err().to_string(), "cannot read: the disk is gone");
}

/// Text that looks like a file, with damage.
fn damaged_file() -> impl Strategy<Value = Vec<u8>> {
    let csv = prop::collection::vec(
        prop::sample::select(vec![
            "2024-01-02,2,4,1,3,10",
            "1/4/1999,2,4,1,3,10",
            "1/13/1999,2,4,1,3,",
            "13/1/1999,2,4,1,3,",
            "2024-01-03,,,,,",
            "\"2024-01-02\",2,4,1,3,10",
            "\"2024-01-02,2,4,1,3,10",
            "x,y",
            "",
            "\r",
        ]),
        0..12,
    )
    .prop_map(|lines| lines.join("\n"));
    let header = prop::sample::select(vec![
        "date,open,high,low,close,volume\n",
        "https://example.com\n\nUnix,open,high,low,close,Volume BTC\n",
        "Price,Open,High,Low,Close,Volume\nTicker,ES,ES,ES,ES,ES\nDate,,,,,\n",
        ",Open,Open,High,High,Low,Low,Close,Close\n,A,B,A,B,A,B,A,B\nDate,,,,,,,,\n2024-01-02,1,2,1,2,1,2,1,2\n",
        "date;open;high;low;close;volume\n2024-01-02;1,5;4;1;3;10\n",
    ]);
    let csv = (header, csv).prop_map(|(header, lines)| format!("{header}{lines}").into_bytes());
    let object = prop::sample::select(vec![
        r#"{"date":"2024-01-02","open":2,"high":4,"low":1,"close":3}"#,
        r#"{"t":"1/13/1999","o":2,"h":4,"l":1,"c":3,"x":[{"]":1}]}"#,
        r#"{"t":"1/4/1999","o":null,"h":null,"l":null,"c":null}"#,
        r#"{"date":"2024-01-02,"open":2}"#,
        r#"{"date":"#,
        "}",
        "]",
        "[",
        "\"",
        ",",
        "",
    ]);
    let json = (prop::sample::select(vec!["[", "{}\n", "[\n"]), prop::collection::vec(object, 0..12), 0..2_usize)
        .prop_map(|(start, objects, kind)| format!("{start}{}]", objects.join([",\n", "\n"][kind])).into_bytes());
    let noise = prop::collection::vec(any::<u8>(), 0..200);
    (prop_oneof![csv, json, noise], prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3)).prop_map(
        |(mut bytes, damage)| {
            for (at, byte) in damage {
                if !bytes.is_empty() {
                    let at = at.index(bytes.len());
                    bytes[at] = byte;
                }
            }
            bytes
        },
    )
}

/// Returns whether an error says that something is missing, with a guess at it or at what is the matter.
fn is_guess(error: &ReadError) -> bool {
    let said = error.to_string();
    matches!(error, ReadError::Missing(_))
        || ["expected a timeframe, and one row a date", "expected a symbol, and one row of it a time"]
            .iter()
            .any(|guess| said.starts_with(guess))
}

/// Returns whether an error refuses a file for a row that is rejected where rows before it went out, which depends on how
/// much is read at once.
fn is_refused_for_a_row(error: &ReadError) -> bool {
    let said = error.to_string();
    said.contains(": expected one row of ") || said.contains(": time: expected bars that are ")
}

proptest! {
    // Red if anything depends on where a read ends: a line, an element, a byte order mark or a CRLF cut in two.
    #[test]
    fn the_same_rows_come_out_whatever_the_read_sizes(
        bytes in damaged_file(),
        sizes in prop::collection::vec(1..40_usize, 1..6),
        named in any::<bool>(),
    ) {
        let options = || if named { es() } else { ReadOptions::default() };
        let whole = read_with(&bytes, options());
        let pieces = drain(BarReader::new(Pieces::new(&bytes, &sizes), options()));
        match (whole, pieces) {
            (Ok(whole), Ok(pieces)) => prop_assert_eq!(whole, pieces),
            // The guess may rest on more rows where a read brings more.
            (Err(ReadError::Missing(whole)), Err(ReadError::Missing(pieces))) => {
                prop_assert_eq!(whole.to_string(), pieces.to_string());
            }
            (Err(whole), Err(pieces)) if [&whole, &pieces].into_iter().all(is_guess) => {}
            (Err(error), _) | (_, Err(error)) if is_refused_for_a_row(&error) => {}
            (Err(whole), Err(pieces)) => prop_assert_eq!(whole.to_string(), pieces.to_string()),
            (whole, pieces) => prop_assert!(false, "{whole:?} against {pieces:?}"),
        }
    }
}

// Red if a format reads numbers in a way of its own, which makes 1e-400 a 0 or 1e400 infinite.
#[test]
fn a_number_that_does_not_fit_costs_its_row_in_every_format() {
    for (number, value) in [("1e-400", "\"1e-400\""), ("-1e-400", "\"-1e-400\""), ("1e400", "\"1e400\"")] {
        for text in [
            format!("date,open,high,low,close,volume\n2024-01-02,2,4,1,3,10\n2024-01-03,2,4,{number},3,10\n"),
            format!("date,open,high,low,close,volume\n2024-01-02,2,4,1,3,10\n2024-01-03,2,4,1,3,{number}\n"),
            format!(
                "{{\"date\":\"2024-01-02\",\"o\":2,\"h\":4,\"l\":1,\"c\":3,\"v\":10}}\n\
                 {{\"date\":\"2024-01-03\",\"o\":2,\"h\":4,\"l\":{number},\"c\":3}}\n"
            ),
            format!(
                "[{{\"date\":\"2024-01-02\",\"o\":2,\"h\":4,\"l\":1,\"c\":3,\"v\":10}},\n\
                 {{\"date\":\"2024-01-03\",\"o\":2,\"h\":4,\"l\":1,\"c\":3,\"v\":\"{number}\"}}]"
            ),
        ] {
            let all = read(&text).unwrap();
            assert_eq!((lines(&all), all.rejected.len()), (vec![GOOD.to_owned()], 1), "{text}");
            assert!(all.rejected[0].message.contains(value), "{:?}", all.rejected);
        }
    }
}

// Red if any message shows what a file says as it stands there: take `Shown` out of `Outcome::put_into`, `ReadError` or
// `FileInfo`.
#[test]
fn no_hidden_character_of_a_file_reaches_a_message() {
    let good = "2024-01-02,2,4,1,3,10";
    let headers = [
        ("date,open,high,low,close,volume,symbol,timeframe,vendor", "2024-01-02,2,4,1,3,10,ES,1d,x"),
        ("date,open,high,low,close,volume", good),
        ("ts_event,open,high,low,close,volume,symbol,publisher_id", "2024-01-02,2.5,4.5,1.5,3.5,10,ES,1"),
    ];
    let mut texts = Vec::new();
    for hidden in ["\u{1b}[2J", "\u{202e}", "\u{2066}", "\u{200f}", "\u{7}", "\u{9b}", "\u{2028}"] {
        for (header, row) in headers {
            for at in 0..row.split(',').count() {
                let put = |line: &str| {
                    let mut cells: Vec<String> = line.split(',').map(str::to_owned).collect();
                    cells[at].insert_str(1, hidden);
                    cells.join(",")
                };
                texts.push(format!("{header}\n{row}\n{}\n", put(row)));
                texts.push(format!("{header}\n{}\n{row}\n", put(row)));
                texts.push(format!("{}\n{row}\n", put(header)));
            }
        }
        texts.push(format!(
            "{{\"date\":\"2024-01-02\",\"o\":2,\"h\":4,\"l\":1,\"c\":3,\"x{hidden}\":1}}\n\"x{hidden}y\"\n"
        ));
        texts.push(format!("{{\"date\":\"{hidden}\",\"o\":2,\"h\":4,\"l\":1,\"c\":3}}\n"));
        texts.push(format!("{{\"data{hidden}\":[{{\"o\":2}}]}}\n"));
        texts.push(format!("{hidden}\n{hidden},{hidden}\n1,2,3,4,5\n"));
        // A ticker below the header, which holds for the whole file, or is another than the one that is given.
        let ticker = format!("E{hidden}S");
        texts.push(format!("Date,Close,High,Low,Open\n,{ticker},{ticker},{ticker},{ticker}\n2024-01-02,3,4,1,2\n"));
    }
    let mut said = 0;
    for text in texts {
        for symbol in [None, Some("ES".into())] {
            let mut reader = BarReader::new(text.as_bytes(), ReadOptions { symbol, ..es() });
            let (mut chunk, mut messages) = (Chunk::default(), Vec::new());
            let result = loop {
                match reader.next_chunk(&mut chunk) {
                    Ok(true) => messages.extend(chunk.rejected.drain(..).map(|rejected| rejected.message)),
                    result => break result,
                }
            };
            messages.extend(chunk.rejected.drain(..).map(|rejected| rejected.message));
            messages.extend(result.err().map(|error| error.to_string()));
            messages.extend(reader.notes());
            messages.push(reader.info().to_string());
            said += messages.len();
            for message in messages {
                assert_eq!(Shown(&message).to_string(), message, "{text:?}");
            }
        }
    }
    assert!(said > 600, "{said} messages");
}

// Red when the bytes that tell a text from other data are counted once with a byte order mark before them and once
// without, as when a mark is taken away while more of the first value is waited for.
#[test]
fn what_is_no_text_is_refused_however_it_is_read() {
    let array = b"\xef\xbb\xbf[[\"1661029>20\x0090.5\", \"side\": \"SELL\"}\n]\n";
    let object = b"\xef\xbb\xbf{\n \"Meta Data\":\x00Time Series (1min)\": {\n  \"a\": 1}\n}\n";
    for text in [&array[..], object] {
        for sizes in [&[usize::MAX][..], &[1], &[3, 16], &[19, 1]] {
            let error = drain(BarReader::new(Pieces::new(text, sizes), es())).unwrap_err().to_string();
            assert_eq!(error, "expected CSV or JSON, got binary data (a zero byte among the first 16)", "{sizes:?}");
        }
    }
}
