//! A record type of your own in a database: `Tabular` says its columns once, and the table, the index, the view and the
//! upsert come from it. Beside it in the same database are the quotes of the crate.
//!
//! `cargo run --example own_record_with_a_table` in a SQLite file, or with the URL of an empty PostgreSQL database behind
//! it: `cargo run --example own_record_with_a_table -- postgres://user@host/database`

use std::{env, error::Error, ops::ControlFlow};

use market_data_store::{
    Column, Invalid, MarketDataStore, Quote, Record, Row, Settings, StoredRow, Table, Tabular, Timestamp,
    TimestampNanos,
    sink::{DatabaseReader, Selection},
};
use serde::{Deserialize, Serialize};

/// What the holders of a perpetual contract pay each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct FundingRate {
    symbol: String,
    ts: Timestamp,
    rate: f64,
    mark_price: Option<f64>,
}

impl Record for FundingRate {
    const KIND: &'static str = "funding_rates";

    fn partition_key(&self) -> &str {
        &self.symbol
    }

    /// A database takes no float that is not finite, and a dead letter neither.
    fn validate(&mut self) -> Result<(), Invalid> {
        if self.rate.is_finite() { Ok(()) } else { Err(Invalid::new("rate", "expected a finite number")) }
    }
}

impl Tabular for FundingRate {
    const TABLE: Table = Table::new(
        Self::KIND,
        &[
            Column::text("symbol").key().comment("the perpetual contract"),
            Column::timestamp("ts").key().comment("when the rate was paid"),
            Column::float("rate").comment("what longs pay to shorts: 0.0001 is 0.01 %"),
            Column::float("mark_price").optional(),
        ],
    )
    .time("ts")
    .series(&["symbol"]);

    fn row<'a>(&'a self, row: &mut Row<'a>) {
        row.push(&self.symbol).push(self.ts).push(self.rate).push(self.mark_price);
    }

    fn from_row(row: &StoredRow<'_>) -> Result<Self, Invalid> {
        let (symbol, ts) = (row.get("symbol")?, row.get("ts")?);
        Ok(Self { symbol, ts, rate: row.get("rate")?, mark_price: row.get("mark_price")? })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    let file = || format!("sqlite://{}", scratch.path().join("rates.db").display());
    let url = env::args().nth(1).unwrap_or_else(file);
    let settings = Settings::default().database_url(&url).dlq_path(scratch.path().join("dead_letters"));
    let store = MarketDataStore::builder(settings).kind::<FundingRate>().kind::<Quote>().start().await?;

    let rates = store.coordinator::<FundingRate>()?;
    for (hour, rate) in [(0, 0.0001), (8, 0.00012), (16, -0.00003), (8, 0.00013)] {
        let ts = Timestamp::from_secs(1_704_153_600 + hour * 3_600);
        rates.submit(FundingRate { symbol: "BTC-PERP".to_owned(), ts, rate, mark_price: None }).await?;
    }
    let ts: TimestampNanos = "2024-01-02T08:00:00.000000001Z".parse()?;
    store.coordinator::<Quote>()?.submit(Quote::new("BTC-PERP", ts).bid(45_000.0, 2.0).ask(45_000.5, 1.5)).await?;
    let report = store.finish(store.shutdown_timeout()).await;
    assert_eq!((report.submitted(), report.stored()), (5, 5));

    let reader = DatabaseReader::open(&url)?;
    let mut stored = Vec::new();
    reader.records(&Selection::<FundingRate>::new(), |rate| {
        stored.push(rate);
        ControlFlow::Continue(())
    })?;
    for rate in stored.iter().flatten() {
        println!("{}  {}  {}", rate.symbol, rate.ts, rate.rate);
    }
    assert_eq!(stored.len(), 3, "the last update of a key counts");
    reader.records(&Selection::<Quote>::new().any_of("symbol", ["BTC-PERP"])?, |quote| {
        let quote = quote.expect("this program wrote it");
        println!("{}  {}  {:?} / {:?}", quote.symbol, quote.ts, quote.bid, quote.ask);
        ControlFlow::Continue(())
    })?;
    Ok(())
}
