//! What `mds query` writes, `mds ingest` loads again to the same records, bit for bit.

use std::{fmt::Debug, fs};

use futures::executor::block_on;
use market_data_store::{
    Adjustment, Bar, Batch, Database, Fundamentals, News, OptionQuote, Quote, Sink, Tabular, Timeframe, Trade,
};
use proptest::{collection::vec, option, prelude::*, sample::select, strategy::ValueTree, test_runner::TestRunner};

#[cfg(all(unix, feature = "postgres"))]
use crate::postgres::timescale::Timescale;
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

/// Makes so many records, and keeps the valid ones.
fn some<T: Tabular + Debug>(runner: &mut TestRunner, count: usize, record: impl Strategy<Value = T>) -> Vec<T> {
    let mut records = vec(record, count).new_tree(runner).unwrap().current();
    records.retain_mut(|record| record.validate().is_ok());
    assert!(records.len() * 3 > count, "only {} of {count} are valid", records.len());
    records
}

/// Some of each kind that changes with time, told apart by a part of the key.
fn bars(runner: &mut TestRunner, count: usize) -> Vec<Bar> {
    numbered(some(runner, count, bar()), |bar, at| bar.vendor = format!("v{at}").into())
}

fn quotes(runner: &mut TestRunner, count: usize) -> Vec<Quote> {
    numbered(some(runner, count, quote()), |quote, at| quote.seq = at as i64)
}

fn trades(runner: &mut TestRunner, count: usize) -> Vec<Trade> {
    numbered(some(runner, count, trade()), |trade, at| trade.id = format!("{at}'\\N,\" {at}").into())
}

fn options(runner: &mut TestRunner, count: usize) -> Vec<OptionQuote> {
    numbered(some(runner, count, option_quote()), |quote, at| quote.contract = format!("C{at}").into())
}

/// A SQLite file with records, and the variables under which its copies are made.
struct Original<T> {
    dir: tempfile::TempDir,
    records: Vec<T>,
    with: &'static [(&'static str, &'static str)],
}

impl<T: Tabular + Clone> Original<T> {
    fn of(records: Vec<T>, with: &'static [(&'static str, &'static str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("market_data.db").display());
        let database = Database::connect(&url).unwrap();
        block_on(database.write(&Batch::from(records.clone()))).unwrap();
        block_on(database.close());
        let stored = stored_at::<T>(&url);
        let (mut expected, mut found) = (jsons(&records), jsons(&stored));
        expected.sort();
        found.sort();
        assert_eq!(found, expected, "{}", T::KIND);
        Self { dir, records: stored, with }
    }

    fn beside(&self, name: &str) -> String {
        format!("sqlite://{}", self.dir.path().join(name).display())
    }

    /// Runs `mds`, which has nothing to say against it.
    fn run(&self, args: &[&str]) {
        let output = mds(self.dir.path()).args(args).envs(self.with.iter().copied()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}{}", stdout(&output), stderr(&output));
    }

    /// Loads what `mds query` says of it into a database, and compares that, and what `mds query` says of it, with the
    /// original. `before` runs before each process that opens the database.
    fn is_copied(&self, format: &str, copy: &str, before: impl Fn()) {
        self.run(&["query", "--kind", T::KIND, "--format", format, "-o", "records"]);
        before();
        self.run(&["ingest", "--kind", T::KIND, "--database", copy, "records"]);
        before();
        let (original, after) = (jsons(&self.records), jsons(&stored_at::<T>(copy)));
        let differs = original.iter().zip(&after).find(|(original, after)| original != after);
        assert_eq!((differs, original.len()), (None, after.len()), "{} as {format} in {copy}", T::KIND);
        before();
        self.run(&["query", "--kind", T::KIND, "--format", format, "-o", "again", "--database", copy]);
        let [records, again] = ["records", "again"].map(|name| fs::read(self.dir.path().join(name)).unwrap());
        assert!(records == again, "{} as {format} from {copy}", T::KIND);
    }
}

fn jsons<T: Tabular>(records: &[T]) -> Vec<String> {
    records.iter().map(json).collect()
}

const FORMATS: [&str; 2] = ["csv", "ndjson"];

/// Copies records into another SQLite file and into a PostgreSQL database, in each form.
fn is_loaded_again_alike<T: Tabular + Clone>(records: Vec<T>, postgres: &[String]) {
    let original = Original::of(records, &[]);
    for (at, format) in FORMATS.into_iter().enumerate() {
        for copy in [original.beside(format)].iter().chain(postgres.get(at)) {
            original.is_copied(format, copy, || {});
        }
    }
}

// Red when a form or its reader rounds a number, cuts a time, trims or unquotes a text otherwise, or takes an empty one for
// null, or a database keeps or orders it as another.
#[test]
fn each_kind_is_the_same_behind_a_query_and_an_ingest() {
    #[cfg(all(unix, feature = "postgres"))]
    let server = crate::postgres::server::Server::shared();
    let (runner, count) = (&mut TestRunner::default(), size_of_test("MDS_TEST_ROUND_TRIPS", 200));
    for _ in 0..size_of_test("MDS_TEST_ROUND_TRIP_CASES", 2) {
        #[cfg(all(unix, feature = "postgres"))]
        let databases = [server.database(), server.database()];
        #[cfg(all(unix, feature = "postgres"))]
        let postgres = &databases.each_ref().map(|database| database.url());
        #[cfg(not(all(unix, feature = "postgres")))]
        let postgres = &[];
        is_loaded_again_alike(bars(runner, count), postgres);
        is_loaded_again_alike(quotes(runner, count), postgres);
        is_loaded_again_alike(trades(runner, count), postgres);
        is_loaded_again_alike(options(runner, count), postgres);
        let vendors = |report: &mut Fundamentals, at| report.vendor = format!("v{at}").into();
        is_loaded_again_alike(numbered(some(runner, count, fundamentals()), vendors), postgres);
        let ids = |news: &mut News, at| news.id = format!("{at}").into();
        is_loaded_again_alike(numbered(some(runner, count, news()), ids), postgres);
    }
}

/// The engine of the tests takes small batches, by upsert, and one connection.
#[cfg(all(unix, feature = "postgres"))]
const SMALL: &[(&str, &str)] = &[
    ("MDS_PG_COPY", "never"),
    ("MDS_PG_CONNECTIONS", "1"),
    ("MDS_COORDINATOR_WORKERS", "1"),
    ("MDS_COORDINATOR_BATCH_SIZE", "15"),
];

#[cfg(all(unix, feature = "postgres"))]
fn is_copied_to_a_hypertable<T: Tabular + Clone>(records: Vec<T>) {
    let original = Original::of(records, SMALL);
    for format in FORMATS {
        let engine = Timescale::take();
        original.is_copied(format, &engine.url(), || engine.forget_statements());
        let hypertables = "SELECT count(*) FROM timescaledb_information.hypertables WHERE hypertable_name = $1";
        let hypertables: i64 = engine.client().query_one(hypertables, &[&T::TABLE.name()]).unwrap().get(0);
        assert_eq!(hypertables, 1, "{}", T::KIND);
    }
}

// Red as the above where a kind is in a hypertable.
#[cfg(all(unix, feature = "postgres"))]
#[test]
fn each_kind_of_a_hypertable_is_the_same_behind_a_query_and_an_ingest() {
    let runner = &mut TestRunner::default();
    is_copied_to_a_hypertable(bars(runner, 40));
    is_copied_to_a_hypertable(quotes(runner, 40));
    is_copied_to_a_hypertable(trades(runner, 40));
    is_copied_to_a_hypertable(options(runner, 40));
}
