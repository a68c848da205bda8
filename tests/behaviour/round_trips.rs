//! What `mds query` writes, `mds ingest` loads again to the same records, bit for bit.

use std::{fmt::Debug, fs, path::Path};

use futures::executor::block_on;
use market_data_store::{Adjustment, Bar, Batch, Database, Fundamentals, OptionQuote, Sink, Tabular, Timeframe, Trade};
use proptest::{collection::vec, option, prelude::*, sample::select, strategy::ValueTree, test_runner::TestRunner};

use crate::{
    kinds::{amount, fundamentals, json, micros, name, news, number, numbered, option_quote, quote, trade},
    mds::{mds, stderr, stdout},
    support::{size_of_test, stored_at},
};

fn bar() -> impl Strategy<Value = Bar> {
    let timeframe =
        select(&["1s", "5m", "1h", "1d", "1mo", "2y"][..]).prop_map(|text| text.parse::<Timeframe>().unwrap());
    let adjustment = select(&[Adjustment::Raw, Adjustment::Split, Adjustment::All, Adjustment::Unknown][..]);
    let numbers = ([number(), number(), number(), number()], option::of(amount()));
    (name(), timeframe, adjustment, micros(), numbers).prop_map(
        |(symbol, timeframe, adjustment, ts, (mut prices, volume))| {
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

/// Writes records to a SQLite file, and loads what `mds query` says of it into another one and into a PostgreSQL database.
fn is_loaded_again_alike<T: Tabular + Clone>(records: Vec<T>, postgres: &[String]) {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("market_data.db").display());
    let database = Database::connect(&url).unwrap();
    block_on(database.write(&Batch::from(records.clone()))).unwrap();
    block_on(database.close());
    let of = |url: &str| stored_at::<T>(url).iter().map(json).collect::<Vec<_>>();
    let before = of(&url);
    let (mut expected, mut found) = (records.iter().map(json).collect::<Vec<_>>(), before.clone());
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "{}", T::KIND);
    for (at, format) in ["csv", "ndjson"].into_iter().enumerate() {
        for copy in [&format!("sqlite://{}", dir.path().join(format).display())].into_iter().chain(postgres.get(at)) {
            run(dir.path(), &["query", "--kind", T::KIND, "--format", format, "-o", "records"]);
            run(dir.path(), &["ingest", "--kind", T::KIND, "--database", copy, "records"]);
            let after = of(copy);
            let differs = before.iter().zip(&after).find(|(before, after)| before != after);
            assert_eq!((differs, before.len()), (None, after.len()), "{} as {format} in {copy}", T::KIND);
            run(dir.path(), &["query", "--kind", T::KIND, "--format", format, "-o", "again", "--database", copy]);
            let [records, again] = ["records", "again"].map(|name| fs::read(dir.path().join(name)).unwrap());
            assert!(records == again, "{} as {format} from {copy}", T::KIND);
        }
    }
}

// Red when a form or its reader rounds a number, cuts a time, trims or unquotes a text otherwise, or takes an empty one for
// null, or a database keeps or orders it as another.
#[test]
fn each_kind_is_the_same_behind_a_query_and_an_ingest() {
    #[cfg(all(unix, feature = "postgres"))]
    let server = crate::postgres::server::Server::shared();
    let runner = &mut TestRunner::default();
    for _ in 0..size_of_test("MDS_TEST_ROUND_TRIP_CASES", 2) {
        #[cfg(all(unix, feature = "postgres"))]
        let databases = [server.database(), server.database()];
        #[cfg(all(unix, feature = "postgres"))]
        let postgres = &databases.each_ref().map(|database| database.url());
        #[cfg(not(all(unix, feature = "postgres")))]
        let postgres = &[];
        is_loaded_again_alike(numbered(some(runner, bar()), |bar, at| bar.vendor = format!("v{at}").into()), postgres);
        is_loaded_again_alike(numbered(some(runner, quote()), |quote, at| quote.seq = at as i64), postgres);
        let ids = |trade: &mut Trade, at| trade.id = format!("{at}'\\N,\" {at}").into();
        is_loaded_again_alike(numbered(some(runner, trade()), ids), postgres);
        let contracts = |quote: &mut OptionQuote, at| quote.contract = format!("C{at}").into();
        is_loaded_again_alike(numbered(some(runner, option_quote()), contracts), postgres);
        let vendors = |report: &mut Fundamentals, at| report.vendor = format!("v{at}").into();
        is_loaded_again_alike(numbered(some(runner, fundamentals()), vendors), postgres);
        is_loaded_again_alike(numbered(some(runner, news()), |news, at| news.id = format!("{at}").into()), postgres);
    }
}
