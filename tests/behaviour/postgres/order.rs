//! Updates of one key stay in order in PostgreSQL too, through failures and deaths of workers.

use std::sync::atomic::Ordering;

use futures::executor::block_on;
use market_data_store::{Bar, Batch, Database, Sink, Timeframe, Timestamp};

use super::{
    load::{inversions, watch_inversions},
    server::Server,
};
use crate::{
    accounting::{KEYS, deaths, run_updates},
    support::size_of_test,
};

// Red when a retry, a probe, or a write whose worker died is done behind a later update of its key.
#[test]
fn updates_of_one_key_never_overtake_each_other() {
    let count = size_of_test("MDS_TEST_POSTGRES_ORDER", 60_000) as u64;
    let database = Server::shared().database();
    let sink = Database::connect(&database.url()).unwrap();
    let update = |version: u64| {
        let bar = Bar::new(format!("K{}", version % KEYS), Timeframe::MINUTE, Timestamp::from_micros(60_000_000));
        bar.ohlc(1.0, 1.0, 1.0, 1.0).volume(version as f64)
    };
    block_on(sink.write(&Batch::from(vec![update(0)]))).unwrap();
    watch_inversions(&database);
    let rough = run_updates(sink.clone(), (0..count).map(update).collect(), deaths(count));
    assert_eq!(rough.crowded.load(Ordering::Relaxed), 0, "batches that hold a key twice");
    block_on(sink.close());
    assert_eq!(database.number("SELECT count(*) FROM bars") as u64, KEYS);
    let last = "SELECT count(*) FROM bars WHERE volume = substr(symbol, 2)::bigint + ";
    assert_eq!(database.number(&format!("{last}{}", count - KEYS)) as u64, KEYS);
    assert_eq!(inversions(&database), 0);
}
