//! What `mds query` writes, `mds ingest` loads again to the same records, bit for bit.

use std::{fmt::Debug, path::Path};

use futures::executor::block_on;
use market_data_store::{Adjustment, Bar, Batch, Sink, Tabular, Timeframe, Timestamp, sink::SqliteSink};
use proptest::{collection::vec, option, prelude::*, sample::select, strategy::ValueTree, test_runner::TestRunner};

use crate::{
    kinds::{amount, json, micros, name, number, numbered},
    mds::{mds, stderr, stdout},
    support::{size_of_test, stored},
};

fn bar() -> impl Strategy<Value = Bar> {
    let timeframe =
        select(&["1s", "5m", "1h", "1d", "1mo", "2y"][..]).prop_map(|text| text.parse::<Timeframe>().unwrap());
    let adjustment = select(&[Adjustment::Raw, Adjustment::Split, Adjustment::All, Adjustment::Unknown][..]);
    let numbers = ([number(), number(), number(), number()], option::of(amount()));
    (name(), timeframe, adjustment, micros(), numbers).prop_map(
        |(symbol, timeframe, adjustment, ts, (mut prices, volume))| {
            // What is a day or more has a date.
            let midnight = ts.as_micros().div_euclid(86_400_000_000) * 86_400_000_000;
            let ts = if timeframe.is_day_or_more() { Timestamp::from_micros(midnight) } else { ts };
            prices.sort_by(f64::total_cmp);
            let [low, open, close, high] = prices;
            Bar { volume, adjustment, ..Bar::new(symbol, timeframe, ts).ohlc(open, high, low, close) }
        },
    )
}

/// Makes records, and keeps the valid ones.
fn some<T: Tabular + Debug>(runner: &mut TestRunner, record: impl Strategy<Value = T>) -> Vec<T> {
    let count = size_of_test("MDS_TEST_ROUND_TRIPS", 200);
    let mut records = vec(record, count).new_tree(runner).unwrap().current();
    records.retain_mut(|record| record.validate().is_ok());
    assert!(records.len() * 3 > count, "only {} of {count} are valid", records.len());
    records
}

/// Runs `mds`, which has nothing to say against it.
fn run(dir: &Path, args: &[&str]) {
    let output = mds(dir).args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{args:?}: {}{}", stdout(&output), stderr(&output));
}

fn is_loaded_again_alike<T: Tabular + Clone>(records: Vec<T>) {
    let dir = tempfile::tempdir().unwrap();
    let sink = SqliteSink::open::<T>(dir.path().join("market_data.db")).unwrap();
    block_on(sink.write(&Batch::from(records.clone()))).unwrap();
    block_on(sink.close());
    let of = |path: &str| stored::<T>(&dir.path().join(path)).iter().map(json).collect::<Vec<_>>();
    let mut expected: Vec<_> = records.iter().map(json).collect();
    let mut found = of("market_data.db");
    let before = found.clone();
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "{}", T::KIND);
    for format in ["csv", "ndjson"] {
        run(dir.path(), &["query", "--kind", T::KIND, "--format", format, "-o", "records"]);
        let database = format!("sqlite://{format}.db");
        run(dir.path(), &["ingest", "--database", &database, "records"]);
        let after = of(&format!("{format}.db"));
        let differs = before.iter().zip(&after).find(|(before, after)| before != after);
        assert_eq!((differs, before.len()), (None, after.len()), "{} as {format}", T::KIND);
    }
}

// Red when a form or its reader rounds a number, cuts a time, trims or unquotes a text otherwise, or takes an empty one for
// null.
#[test]
fn each_kind_is_the_same_behind_a_query_and_an_ingest() {
    let runner = &mut TestRunner::default();
    for _ in 0..size_of_test("MDS_TEST_ROUND_TRIP_CASES", 2) {
        is_loaded_again_alike(numbered(some(runner, bar()), |bar, at| bar.vendor = format!("v{at}").into()));
    }
}
