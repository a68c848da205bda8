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
