//! Many processes that make the tables of one fresh database at once.

use std::{sync::Barrier, thread};

use futures::executor::block_on;
use market_data_store::{
    Bar, Database, Fundamentals, MarketDataStore, News, OptionQuote, Quote, Tabular, Timestamp, Trade,
};

use super::{
    load::settings,
    server::{Server, TestDatabase},
};
use crate::{
    mds::{SP500, ingest},
    support::{PATIENCE, size_of_test},
};

const AT_ONCE: usize = 10;

/// How many tables there are of the crate's six kinds.
const TABLES: &str = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename IN \
                      ('bars', 'quotes', 'trades', 'options', 'fundamentals', 'news')";

// Red when a table is made without a lock, or one that another made meanwhile is an error.
#[test]
fn ten_stores_make_the_tables_of_one_database_at_once() {
    for _ in 0..size_of_test("MDS_TEST_POSTGRES_MIGRATIONS", 3) {
        let database = Server::shared().database();
        let at_once = Barrier::new(AT_ONCE);
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    let connected = Database::connect(&database.url()).unwrap();
                    at_once.wait();
                    let prepare: [fn(&Database); 6] = [
                        prepare::<Bar>,
                        prepare::<Quote>,
                        prepare::<Trade>,
                        prepare::<OptionQuote>,
                        prepare::<Fundamentals>,
                        prepare::<News>,
                    ];
                    prepare.iter().for_each(|prepare| prepare(&connected));
                    block_on(connected.close());
                });
            }
        });
        assert_eq!(database.number(TABLES), 6);
        nothing_failed(&database);
    }
}

/// Fails when a transaction was rolled back: an attempt to make a table that another one made would be tried again, and
/// nobody would see it.
fn nothing_failed(database: &TestDatabase) {
    database.wait_until_left();
    let rolled_back = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(database.number(rolled_back), 0);
}

fn prepare<T: Tabular>(database: &Database) {
    database.prepare::<T>().unwrap_or_else(|error| panic!("{}: {error}", T::KIND));
}

// Red when the first writes of several stores, whose tables are made on the way, count as failures of their records.
#[test]
fn ten_stores_start_with_one_database_at_once() {
    let database = Server::shared().database();
    let at_once = Barrier::new(AT_ONCE);
    thread::scope(|scope| {
        for number in 0..AT_ONCE {
            let (at_once, url) = (&at_once, database.url());
            scope.spawn(move || {
                let dir = tempfile::tempdir().unwrap();
                let with = [("MDS_KINDS", "bars,quotes,trades,options,fundamentals,news")];
                at_once.wait();
                let store = MarketDataStore::spawn(settings(&url, dir.path(), &with)).unwrap();
                block_on(async {
                    let news = News::new(Timestamp::from_micros(1), "t").id(format!("{number}"));
                    store.coordinator::<News>().unwrap().submit(news).await.unwrap();
                    let report = store.finish(PATIENCE).await;
                    assert_eq!((report.submitted(), report.stored()), (1, 1));
                });
            });
        }
    });
    assert_eq!(database.number(TABLES), 6);
    assert_eq!(database.number("SELECT count(*) FROM news"), AT_ONCE as i64);
    nothing_failed(&database);
}

// Red when one of ten processes that begin at once fails, or stores less than all.
#[test]
fn ten_processes_load_into_one_fresh_database_at_once() {
    let database = Server::shared().database();
    let dirs: Vec<_> = (0..AT_ONCE).map(|_| tempfile::tempdir().unwrap()).collect();
    let started: Vec<_> = dirs
        .iter()
        .enumerate()
        .map(|(at, dir)| {
            let vendor = format!("v{at}");
            let mut command =
                ingest(dir.path(), &["--json", "--timeframe", "1d", "--symbol", "SPX", "--vendor", &vendor, SP500]);
            command.env("MDS_DATABASE_URL", database.url());
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for process in started {
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let each = "SELECT count(*) FROM (SELECT count(*) AS n FROM bars GROUP BY vendor) AS each";
    assert_eq!(database.number(each), AT_ONCE as i64);
    let differ = "SELECT count(DISTINCT n) FROM (SELECT count(*) AS n FROM bars GROUP BY vendor) AS each";
    assert_eq!(database.number(differ), 1);
    nothing_failed(&database);
}
