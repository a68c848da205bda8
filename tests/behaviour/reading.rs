//! What a `DatabaseReader` shows of a database: exactly what is selected, in the order of the key.

use std::{collections::BTreeMap, ops::ControlFlow, path::Path};

use futures::executor::block_on;
use market_data_store::{
    Batch, Database, News, Sink, StoredRow, Tabular, Timestamp, TimestampNanos, Trade,
    sink::{DatabaseReader, Selection},
};
use proptest::{collection::vec, prelude::*, sample::subsequence, test_runner::TestRunner};

use crate::support::size_of_test;

const NAMES: [&str; 5] = ["", "A", "B", "Zürich", "a'b"];

fn sqlite(dir: &Path) -> String {
    format!("sqlite://{}", dir.join("records.db").display())
}

fn write<T: Tabular>(url: &str, records: Vec<T>) {
    let database = Database::connect(url).unwrap();
    block_on(database.write(&Batch::from(records))).unwrap();
    block_on(database.close());
}

fn name() -> impl Strategy<Value = String> {
    (0..NAMES.len()).prop_map(|at| NAMES[at].to_owned())
}

/// Few values of each part of the key, so that each selection meets some.
fn trade() -> impl Strategy<Value = Trade> {
    (name(), name(), name(), -3..4_i64, 0..3_i64, 1..4_i64).prop_map(|(vendor, venue, symbol, ts, seq, size)| {
        let ts = TimestampNanos::from_nanos(ts * 500);
        let trade = Trade::new(format!("S{symbol}"), ts, 1.0, size as f64).vendor(format!("v{vendor}")).venue(venue);
        trade.id(seq.to_string()).seq(seq)
    })
}

type Key = (String, String, String, i64, String);

fn key(trade: &Trade) -> Key {
    let Trade { vendor, venue, symbol, ts, id, .. } = trade;
    (vendor.to_string(), venue.to_string(), symbol.to_string(), ts.as_nanos(), id.to_string())
}

/// What is asked for, as the model and as a selection have it.
#[derive(Clone, Debug)]
struct Asked {
    vendors: Vec<&'static str>,
    venues: Vec<&'static str>,
    symbols: Vec<&'static str>,
    sizes: Vec<i64>,
    ids: Vec<i64>,
    from: Option<i64>,
    to: Option<i64>,
    limit: Option<u64>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let names = || prop_oneof![2 => Just(Vec::new()), 3 => subsequence(NAMES.to_vec(), 1..4)];
    let numbers = || prop_oneof![3 => Just(Vec::new()), 1 => subsequence(vec![0, 1, 2, 3], 1..3)];
    // Many of them are the time of a trade.
    let time = |steps: std::ops::Range<i64>| prop::option::of(steps.prop_map(|step| step * 250));
    let times = (time(-6..1), time(0..7));
    (names(), names(), names(), numbers(), numbers(), times, prop::option::of(0..40_u64)).prop_map(
        |(vendors, venues, symbols, sizes, ids, (from, to), limit)| Asked {
            vendors,
            venues,
            symbols,
            sizes,
            ids,
            from,
            to,
            limit,
        },
    )
}

impl Asked {
    fn wants(&self, trade: &Trade) -> bool {
        let is_one = |names: &[&str], before: &str, name: &str| {
            names.is_empty() || names.iter().any(|other| format!("{before}{other}") == name)
        };
        is_one(&self.vendors, "v", &trade.vendor)
            && is_one(&self.venues, "", &trade.venue)
            && is_one(&self.symbols, "S", &trade.symbol)
            && (self.sizes.is_empty() || self.sizes.contains(&(trade.size as i64)))
            && (self.ids.is_empty() || self.ids.iter().any(|id| id.to_string() == trade.id))
            && self.from.is_none_or(|from| trade.ts.as_nanos() >= from)
            && self.to.is_none_or(|to| trade.ts.as_nanos() < to)
    }

    fn selection(&self) -> Selection<Trade> {
        let mut selection = Selection::new();
        let texts = |names: &[&str], before: &str| names.iter().rev().map(|n| format!("{before}{n}")).collect();
        let numbers = |numbers: &[i64]| numbers.iter().map(ToString::to_string).collect();
        let columns: [(&str, Vec<String>); 5] = [
            ("id", numbers(&self.ids)),
            ("size", numbers(&self.sizes)),
            ("symbol", texts(&self.symbols, "S")),
            ("venue", texts(&self.venues, "")),
            ("vendor", texts(&self.vendors, "v")),
        ];
        for (column, values) in columns.into_iter().filter(|(_, values)| !values.is_empty()) {
            selection = selection.any_of(column, values).unwrap();
        }
        if let Some(from) = self.from {
            selection = selection.from(&TimestampNanos::from_nanos(from).to_string()).unwrap();
        }
        if let Some(to) = self.to {
            selection = selection.to(&TimestampNanos::from_nanos(to).to_string()).unwrap();
        }
        self.limit.into_iter().fold(selection, Selection::limit)
    }
}

/// Asks an empty database for these, once it holds the trades.
fn shows_what_a_scan_would(url: &str, trades: Vec<Trade>, asked: Vec<Asked>) -> Result<(), TestCaseError> {
    let stored: BTreeMap<Key, Trade> = trades.iter().map(|trade| (key(trade), trade.clone())).collect();
    write(url, trades);
    let reader = DatabaseReader::open(url).unwrap();
    for asked in asked {
        let wanted = stored.values().filter(|trade| asked.wants(trade));
        let expected: Vec<_> = wanted.take(asked.limit.map_or(usize::MAX, |limit| limit as usize)).cloned().collect();
        let mut found = Vec::new();
        let show = |trade: Result<Trade, _>| {
            found.push(trade.unwrap());
            ControlFlow::Continue(())
        };
        reader.records(&asked.selection(), show).unwrap();
        prop_assert_eq!(found, expected, "{:?}", asked);
    }
    Ok(())
}

fn cases(default: usize) -> ProptestConfig {
    let cases = size_of_test("MDS_TEST_SELECTIONS", default) as u32;
    // A history that failed is shown; a file of them would be shared by both databases.
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn history() -> impl Strategy<Value = (Vec<Trade>, Vec<Asked>)> {
    (vec(trade(), 1..200), vec(asked(), 20))
}

// Red when a level of the key is left out or gone through in another order, an end of the time is taken the other way, or
// a nanosecond is lost: compare `ts` alone.
#[test]
fn a_selection_shows_what_a_scan_of_all_records_would() {
    let run = |(trades, asked)| {
        let dir = tempfile::tempdir().unwrap();
        shows_what_a_scan_would(&sqlite(dir.path()), trades, asked)
    };
    TestRunner::new(cases(32)).run(&history(), run).unwrap();
}

// Red when PostgreSQL is asked for something else, orders texts by a language, or a value is bound as another.
#[cfg(all(unix, feature = "postgres"))]
#[test]
fn a_selection_shows_the_same_in_postgresql() {
    let server = crate::postgres::server::Server::shared();
    let run = |(trades, asked)| shows_what_a_scan_would(&server.database().url(), trades, asked);
    TestRunner::new(cases(12)).run(&history(), run).unwrap();
}

// Red when a news item about several symbols is found by none or more than once, or the limit counts those passed over.
#[test]
fn news_are_found_by_each_of_their_symbols() {
    let dir = tempfile::tempdir().unwrap();
    let news =
        |id: &str, symbols: &[&str]| News::new(Timestamp::from_micros(1), "t").id(id).symbols(symbols.iter().copied());
    let all = vec![news("1", &["SPY", "TLT"]), news("2", &[]), news("3", &["TLT"]), news("4", &["SPYX"])];
    write(&sqlite(dir.path()), all);
    let reader = DatabaseReader::open(&sqlite(dir.path())).unwrap();
    let ids = |symbols: &[&str], limit| {
        let selection = Selection::<News>::new().any_of("symbols", symbols).unwrap().limit(limit);
        let mut ids = Vec::new();
        reader
            .records(&selection, |news| {
                ids.push(news.unwrap().id.to_string());
                ControlFlow::Continue(())
            })
            .unwrap();
        ids
    };
    assert_eq!(ids(&["TLT"], 9), ["1", "3"]);
    assert_eq!(ids(&["SPYX", "TLT"], 9), ["1", "3", "4"]);
    assert_eq!(ids(&["TLT", "SPYX"], 2), ["1", "3"]);
}

fn sees_one_moment_and_stops(url: &str) {
    let trade = |id: i64| Trade::new("ES", TimestampNanos::from_nanos(id), 1.0, 1.0).id(id.to_string());
    let trades = |ids: std::ops::Range<i64>| ids.map(trade).collect::<Vec<_>>();
    // More than are in memory at once.
    write(url, trades(0..4_000));
    let reader = DatabaseReader::open(url).unwrap();
    let count = |most: usize| {
        let mut found = 0;
        let show = |_: StoredRow<'_>| {
            found += 1;
            if found == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        reader.rows(&Selection::<Trade>::new(), show).unwrap();
        found
    };
    assert_eq!(count(3), 3);
    write(url, trades(4_000..5_000));
    assert_eq!(count(1_001), 1_001);
    assert_eq!(count(9_999), 4_000);
    assert_eq!(crate::support::stored_at::<Trade>(url).len(), 5_000);
}

// Red when the reader sees what is written after its first look, goes on when it is told to stop, or cannot be used again.
#[test]
fn a_reader_sees_one_moment_and_stops_when_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    sees_one_moment_and_stops(&sqlite(dir.path()));
}

// Red when the reader of PostgreSQL does, changes anything, or takes a part of the rows for all when the server goes.
#[cfg(all(unix, feature = "postgres"))]
#[test]
fn a_reader_of_postgresql_sees_one_moment_and_says_when_the_server_goes() {
    let server = crate::postgres::server::Server::start("");
    let database = server.database();
    let url = database.url();
    sees_one_moment_and_stops(&url);
    let reader = DatabaseReader::open(&url).unwrap();
    let none = reader.rows(&Selection::<News>::new(), |_| ControlFlow::Continue(())).unwrap_err();
    assert!(none.to_string().contains("there is no table `news`"), "{none}");
    let reader = DatabaseReader::open(&url).unwrap();
    let mut found = 0;
    let error = reader.rows(&Selection::<Trade>::new(), |_| {
        found += 1;
        if found == 1 {
            server.crash();
        }
        ControlFlow::Continue(())
    });
    assert!(error.is_err() && found < 5_000, "{found}");
    assert!(DatabaseReader::open(&url).is_err());
}

// Red when reading asks for the right to write, or does not say which one it lacks.
#[cfg(all(unix, feature = "postgres"))]
#[test]
fn a_role_that_may_read_alone_reads_postgresql() {
    let database = crate::postgres::server::Server::shared().database();
    write(&database.url(), vec![Trade::new("ES", TimestampNanos::from_nanos(1), 1.0, 1.0).id("1")]);
    let role = format!("reader_of_{}", database.name());
    database.run(&format!("CREATE ROLE {role} LOGIN"));
    let url = database.url().replacen("//mds@", &format!("//{role}@"), 1);
    let read = || {
        let mut found = 0;
        let count = |_: StoredRow<'_>| {
            found += 1;
            ControlFlow::Continue(())
        };
        DatabaseReader::open(&url).unwrap().rows(&Selection::<Trade>::new(), count).map(|()| found)
    };
    let refused = read().unwrap_err().to_string();
    assert!(refused.contains(&format!("GRANT SELECT ON \"public\".trades TO \"{role}\"")), "{refused}");
    database.run(&format!("GRANT SELECT ON trades TO {role}"));
    assert_eq!(read().unwrap(), 1);
    database.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
