//! What a decoder takes: a kind of one's own, read from CSV and JSON.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{
    cells::Cells,
    columns_of_file::FileColumns,
    decoder::KindDecoder,
    kind::{FileContext, Kind, roles},
    moments::{Moments, series_of},
    times::moment_of,
};
use crate::{
    files::{Chunk, FileRecord, ReadOptions, RecordReader, columns::RoleNames, row_error::RowError},
    record::{Column, Invalid, Record, Row, StoredRow, Table, Tabular, TimestampNanos},
};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct FundingRate {
    vendor: SmolStr,
    symbol: SmolStr,
    ts: TimestampNanos,
    rate: f64,
}

impl Record for FundingRate {
    const KIND: &'static str = "funding_rates";

    fn partition_key(&self) -> &str {
        &self.symbol
    }
}

impl Tabular for FundingRate {
    const TABLE: Table = Table::new(
        Self::KIND,
        &[
            Column::text("vendor").key(),
            Column::text("symbol").key(),
            Column::timestamp_nanos("ts").key(),
            Column::float("rate"),
        ],
    )
    .time("ts")
    .series(&["symbol"]);

    fn row<'a>(&'a self, row: &mut Row<'a>) {
        row.push(&self.vendor).push(&self.symbol).push(self.ts).push(self.rate);
    }

    fn from_row(row: &StoredRow<'_>) -> Result<Self, Invalid> {
        Ok(Self { vendor: row.get("vendor")?, symbol: row.get("symbol")?, ts: row.get("ts")?, rate: row.get("rate")? })
    }
}

roles! {
    Ts = "ts", "timestamp", "fundingtime";
    Symbol = "symbol";
    Rate = "rate", "fundingrate";
    Vendor = "vendor";
}

impl FileRecord for FundingRate {
    type Decoder = KindDecoder<Self>;
}

impl Kind for FundingRate {
    type Form = ();

    const NAME: &'static str = "rate";
    const ROLES: &'static [RoleNames] = ROLES;
    const TIMES: &'static [usize] = &[Ts as usize];
    const REQUIRED: &'static [&'static [usize]] = &[&[Ts as usize], &[Rate as usize]];
    const SYMBOL: usize = Symbol as usize;

    fn form(_: &FileColumns<'_>) -> Result<(), String> {
        Ok(())
    }

    fn decode(cells: &Cells<'_>, (): &mut (), file: &mut FileContext) -> Result<Option<Self>, RowError> {
        Ok(Some(Self {
            vendor: file.vendor.resolve(cells.column(Vendor as usize))?,
            symbol: file.symbol.resolve(cells.column(Symbol as usize))?,
            ts: moment_of(cells, [Ts as usize; 3], file)?,
            rate: cells.required_number(Rate as usize)?,
        }))
    }

    fn settle(&mut self, _: bool, moments: &mut Moments) -> Result<bool, RowError> {
        Ok(moments.count(&series_of(&self.vendor, "", &self.symbol), self.ts.as_nanos(), "")? > 0)
    }

    fn given(&self) -> (&SmolStr, Option<&SmolStr>) {
        (&self.vendor, Some(&self.symbol))
    }
}

// Red when a kind needs anything else than its file and its decoder to be read in each format, with our own columns too.
#[test]
fn a_kind_is_read_by_a_decoder_of_its_own() {
    let expected = FundingRate {
        vendor: "x".into(),
        symbol: "BTC-PERP".into(),
        ts: "2024-01-02T08:00:00Z".parse().unwrap(),
        rate: 0.0001,
    };
    for text in [
        "symbol,fundingTime,fundingRate,mark\nBTC-PERP,1704182400000,0.0001,1\n",
        "vendor,symbol,ts,rate\nx,BTC-PERP,2024-01-02T08:00:00Z,0.0001\n",
        "{\"symbol\":\"BTC-PERP\",\"fundingTime\":1704182400000,\"fundingRate\":\"0.0001\"}\n",
        "[{\"vendor\":\"x\",\"symbol\":\"BTC-PERP\",\"ts\":\"2024-01-02T08:00:00Z\",\"rate\":0.0001}]",
    ] {
        let options = ReadOptions { vendor: Some("x".into()), ..ReadOptions::default() };
        let mut reader = RecordReader::<FundingRate, _>::new(text.as_bytes(), options);
        let (mut chunk, mut found) = (Chunk::default(), Vec::new());
        while reader.next_chunk(&mut chunk).unwrap() {
            found.extend(chunk.records.drain(..));
        }
        found.extend(chunk.records.drain(..));
        assert_eq!(found, std::slice::from_ref(&expected), "{text}");
    }
}

#[cfg(feature = "serve")]
mod each_alone {
    use super::*;
    use crate::record::{Bar, News, Quote, Trade};

    /// Reads lines of a stream. Returns the records as JSON, and what is wrong with the others, sorted.
    fn read<T: FileRecord>(lines: &[&str], options: &ReadOptions) -> Vec<String> {
        let text = lines.join("\n");
        let mut reader = RecordReader::<T, _>::of_stream(text.as_bytes(), options.clone());
        let (mut chunk, mut found, mut more) = (Chunk::default(), Vec::new(), true);
        while more {
            more = reader.next_chunk(&mut chunk).unwrap_or_else(|error| panic!("{text}: {error}"));
            found.extend(chunk.records.drain(..).map(|record| serde_json::to_string(&record).unwrap()));
            found.extend(chunk.rejected.drain(..).map(|rejected| rejected.message));
        }
        found.sort();
        found
    }

    /// Returns all orders of these.
    fn orders<'a>(lines: &[&'a str]) -> Vec<Vec<&'a str>> {
        let Some((first, rest)) = lines.split_first() else { return vec![Vec::new()] };
        let all = orders(rest).into_iter();
        all.flat_map(|rest| (0..=rest.len()).map(move |at| [&rest[..at], &[*first], &rest[at..]].concat())).collect()
    }

    fn check<T: FileRecord>(lines: &[&str], is_stored: usize) {
        let options = ReadOptions::default();
        let mut alone: Vec<String> = lines.iter().flat_map(|line| read::<T>(&[line], &options)).collect();
        alone.sort();
        assert_eq!(alone.iter().filter(|row| row.starts_with('{')).count(), is_stored, "{alone:#?}");
        for order in orders(lines) {
            assert_eq!(read::<T>(&order, &options), alone, "{order:#?}");
        }
    }

    // Red when what the fields of a record mean depends on the records before it.
    #[test]
    fn records_are_the_same_in_every_order() {
        check::<Quote>(
            &[
                r#"{"symbol":"A","ts":"2024-01-02T14:30:00Z","bid":1}"#,
                r#"{"symbol":"B","ts":"2024-01-02T14:30:00Z","bid":1,"ask":2}"#,
                r#"{"symbol":"C","ts":"2024-01-02T14:30:00Z","bid":1,"ask":2,"seq":7}"#,
                r#"{"symbol":"D","ts":"2024-01-02T14:30:00Z","bidPrice":1,"askPrice":2,"exchange":"X"}"#,
                r#"{"symbol":"E","ts":"2024-01-02T14:30:00Z","bid":1,"seq":8}"#,
            ],
            5,
        );
        check::<Trade>(
            &[
                r#"{"symbol":"A","ts":"2024-01-02T14:30:00Z","price":1,"size":1,"id":"a"}"#,
                r#"{"symbol":"B","ts":"2024-01-02T14:30:00Z","price":1,"size":1,"seq":7}"#,
                r#"{"symbol":"C","ts":"2024-01-02T14:30:00Z","price":1,"size":1}"#,
                r#"{"symbol":"D","time":1704205800000,"price":1,"qty":1,"id":5,"isBuyerMaker":true}"#,
                r#"{"sym_root":"E","sym_suffix":"B","ts":"2024-01-02T14:30:00Z","price":1,"size":1,"id":"e"}"#,
            ],
            4,
        );
        check::<News>(
            &[
                r#"{"id":"a","ts":"2024-01-02T14:30:00Z","title":"t"}"#,
                r#"{"ts":"2024-01-02T14:30:00Z","title":"t","url":"http://x"}"#,
                r#"{"id":"c","ts":"2024-01-02T14:30:00Z","headline":"t","symbols":["ES"]}"#,
            ],
            3,
        );
    }

    // Red when a bar of our own field names depends on those before it, whatever it leaves out.
    #[test]
    fn bars_are_the_same_in_every_order() {
        check::<Bar>(
            &[
                r#"{"symbol":"A","timeframe":"1m","ts":"2024-01-02T14:30:00Z","open":1,"high":1,"low":1,"close":1}"#,
                r#"{"symbol":"B","timeframe":"1m","ts":"2024-01-02T14:30:00Z","open":1,"high":1,"low":1,"close":1,"volume":5}"#,
                r#"{"vendor":"v","symbol":"C","timeframe":"1m","ts":"2024-01-02T14:30:00Z","open":1,"high":1,"low":1,"close":1,"volume":5}"#,
                r#"{"vendor":"v","symbol":"D","timeframe":"1d","adjustment":"raw","ts":"2024-01-02T00:00:00Z","open":1,"high":1,"low":1,"close":1,"volume":null}"#,
                r#"{"symbol":"E","timeframe":"1m","adjustment":"all","ts":"2024-01-02T14:30:00Z","open":1,"high":1,"low":1,"close":1,"volume":7}"#,
            ],
            5,
        );
    }

    // Red when an option that says how times are read is dropped for records of our own fields: one zone must not be two.
    #[test]
    fn options_say_how_times_of_our_own_fields_are_read() {
        let sided = r#"{"symbol":"A","ts":"2024-01-02T09:30:00","bid":1}"#;
        let both = r#"{"symbol":"A","ts":"2024-01-02T09:30:00","bid":1,"ask":2}"#;
        let whole = r#"{"vendor":"v","venue":"","symbol":"A","ts":"2024-01-02T09:30:00","seq":1,"bid":1,"bid_size":null,"ask":2,"ask_size":null,"conditions":null,"received_ts_ns":5}"#;
        let csv = "vendor,venue,symbol,ts,seq,bid,bid_size,ask,ask_size,conditions,received_ts_ns\nv,,A,2024-01-02T09:30:00,1,1,,2,,,5";
        let ts = |options: &ReadOptions, text: &str| -> Vec<String> {
            let rows = read::<Quote>(&[text], options).into_iter();
            let quote = |row: String| serde_json::from_str::<Quote>(&row).map_or(row, |quote| quote.ts.to_string());
            rows.map(quote).collect()
        };
        let there = ReadOptions { zone: Some("America/New_York".parse().unwrap()), ..ReadOptions::default() };
        let format = ReadOptions { ts_format: Some("%d.%m.%Y %H:%M".parse().unwrap()), ..there.clone() };
        for text in [sided, both, whole, csv] {
            assert_eq!(ts(&ReadOptions::default(), text), ["2024-01-02T09:30:00Z"], "{text}");
            assert_eq!(ts(&there, text), ["2024-01-02T14:30:00Z"], "{text}");
            // An offset says more than an option.
            assert_eq!(ts(&there, &text.replace("09:30:00", "09:30:00Z")), ["2024-01-02T09:30:00Z"], "{text}");
            let otherwise = text.replace("2024-01-02T09:30:00", "02.01.2024 09:30");
            assert_eq!(ts(&format, &otherwise), ["2024-01-02T14:30:00Z"], "{text}");
            assert!(ts(&format, text)[0].contains("expected a time as --ts-format"), "{text}");
        }
        let news = r#"{"vendor":"v","id":"a","ts":"2024-01-02T09:30:00.000001","updated_at":null,"symbols":["A"],"title":"t","url":null,"sentiment":null}"#;
        assert!(read::<News>(&[news], &there)[0].contains("2024-01-02T14:30:00.000001Z"));
    }
}
