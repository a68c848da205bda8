//! The view `trades_effective`: trades with their corrections applied, held against a model that goes through them one
//! by one.

use std::collections::BTreeMap;

use market_data_store::{Database, Settings, TimestampNanos, Trade, TradeAction};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use rusqlite::Connection;

use crate::support::size_of_test;

/// Says what the view should have: trades in the order of their keys.
fn effective(rows: &[Trade]) -> Vec<Trade> {
    let is_change = |row: &Trade| matches!(row.action, Some(TradeAction::Correct | TradeAction::Cancel));
    let is_alike = |a: &Trade, b: &Trade| a.vendor == b.vendor && a.venue == b.venue && a.symbol == b.symbol;
    // The newest record that has the id and is no later.
    let named = |of: usize| {
        let change = &rows[of];
        let names = |at: &usize| {
            let row = &rows[*at];
            *at != of && is_alike(row, change) && Some(&row.id) == change.ref_id.as_ref() && row.ts <= change.ts
        };
        (0..rows.len()).filter(names).max_by_key(|at| rows[*at].ts)
    };
    // Of each trade, or change that names nothing, the changes that lead to it, and over how many others.
    let mut changes: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    for change in (0..rows.len()).filter(|at| is_change(&rows[*at])) {
        let mut path = vec![change];
        let end = loop {
            let last = path[path.len() - 1];
            match named(last) {
                // They name each other, and so no trade.
                Some(next) if path.contains(&next) => break None,
                Some(next) if is_change(&rows[next]) => path.push(next),
                Some(trade) => break Some(trade),
                None => break Some(last),
            }
        };
        if let Some(end) = end {
            changes.entry(end).or_default().push((change, path.len()));
        }
    }
    let mut found = Vec::new();
    for at in 0..rows.len() {
        let newest = changes.get(&at).and_then(|all| {
            all.iter().copied().max_by_key(|(change, depth)| {
                let Trade { ts, received_ts_ns, seq, id, .. } = &rows[*change];
                (*ts, *received_ts_ns, *seq, *depth, id.clone())
            })
        });
        match newest.map(|(change, _)| &rows[change]) {
            None if is_change(&rows[at]) => {}
            None => found.push(rows[at].clone()),
            Some(change) if change.action == Some(TradeAction::Correct) => {
                found.push(Trade { ts: rows[at].ts, id: rows[at].id.clone(), ..change.clone() });
            }
            Some(_) => {}
        }
    }
    found.sort_by_key(key);
    found
}

fn key(trade: &Trade) -> (String, String, String, TimestampNanos, String) {
    let Trade { vendor, venue, symbol, ts, id, .. } = trade;
    (vendor.to_string(), venue.to_string(), symbol.to_string(), *ts, id.to_string())
}

/// Few ids and times, so that they meet in every way.
fn trades() -> impl Strategy<Value = Vec<Trade>> {
    let action = prop_oneof![
        2 => Just(None),
        1 => Just(Some(TradeAction::New)),
        3 => Just(Some(TradeAction::Correct)),
        2 => Just(Some(TradeAction::Cancel)),
    ];
    let ref_id = prop_oneof![1 => Just(None), 6 => "[abc]".prop_map(Some)];
    let optional = || prop::option::of(0..3_i64);
    let trade = ("[abc]", 0..6_i64, action, ref_id, optional(), optional(), any::<[bool; 2]>());
    prop::collection::vec(trade, 0..14).prop_map(|all| {
        let mut rows: BTreeMap<_, Trade> = BTreeMap::new();
        for (at, (id, ts, action, ref_id, seq, received_ts_ns, [is_v, is_es])) in all.into_iter().enumerate() {
            let (vendor, symbol) = (if is_v { "v" } else { "w" }, if is_es { "ES" } else { "NQ" });
            let mut trade =
                Trade::new(symbol, TimestampNanos::from_nanos(400 * ts), at as f64, 1.0).vendor(vendor).id(id);
            (trade.action, trade.ref_id, trade.seq) = (action, ref_id.map(Into::into), seq);
            trade.received_ts_ns = received_ts_ns;
            rows.insert(key(&trade), trade);
        }
        rows.into_values().collect()
    })
}

fn statements(url: &str) -> String {
    Database::schema_sql(&Settings::default().database_url(url).kinds(["trades"])).unwrap().join(";\n")
}

fn quoted(text: Option<&str>) -> String {
    text.map_or_else(|| "NULL".to_owned(), |text| format!("'{text}'"))
}

/// Writes the rows by SQL of the test's own; `ts` is how the database has microseconds.
fn inserts(rows: &[Trade], ts: fn(i64) -> String) -> String {
    let row = |trade: &Trade| {
        let number = |number: Option<i64>| number.map_or_else(|| "NULL".to_owned(), |number| number.to_string());
        let Trade { vendor, venue, symbol, id, price, size, seq, received_ts_ns, .. } = trade;
        let (nanos, micros) = (trade.ts.as_nanos(), ts(trade.ts.as_nanos() / 1_000));
        let (seq, received) = (number(*seq), number(*received_ts_ns));
        let [action, ref_id] = [trade.action.map(TradeAction::as_str), trade.ref_id.as_deref()].map(quoted);
        format!(
            "INSERT INTO trades VALUES ('{vendor}', '{venue}', '{symbol}', {micros}, {nanos}, '{id}', {price}, {size}, \
             NULL, {seq}, NULL, {action}, {ref_id}, {received});"
        )
    };
    rows.iter().map(row).collect()
}

const COLUMNS: &str = "vendor, venue, symbol, ts_ns, id, price, size, seq, action, ref_id, received_ts_ns";

/// Makes a trade of a row of these columns.
macro_rules! trade_of {
    ($row:expr, $text:ty) => {{
        let get = |at: usize| -> $text { $row.get(at) };
        let mut trade = Trade::new(get(2), TimestampNanos::from_nanos($row.get(3)), $row.get(5), $row.get(6));
        (trade.vendor, trade.venue, trade.id) = (get(0).into(), get(1).into(), get(4).into());
        (trade.seq, trade.received_ts_ns) = ($row.get(7), $row.get(10));
        trade.action = $row.get::<_, Option<$text>>(8).map(|word| word.parse().unwrap());
        trade.ref_id = $row.get::<_, Option<$text>>(9).map(Into::into);
        trade
    }};
}

/// A row of SQLite that is there for sure.
struct Row<'a>(&'a rusqlite::Row<'a>);

impl Row<'_> {
    fn get<I: rusqlite::RowIndex, T: rusqlite::types::FromSql>(&self, at: I) -> T {
        self.0.get(at).unwrap()
    }
}

fn in_sqlite(connection: &Connection, rows: &[Trade]) -> Vec<Trade> {
    let insert = inserts(rows, |micros| micros.to_string());
    connection.execute_batch(&format!("DELETE FROM trades; {insert}")).unwrap();
    let mut select = connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM trades_effective ORDER BY vendor, venue, symbol, ts_ns, id"))
        .unwrap();
    let found = select.query_map([], |row| Ok(trade_of!(Row(row), String))).unwrap();
    found.collect::<Result<_, _>>().unwrap()
}

fn in_memory() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch(&statements("sqlite://trades.db")).unwrap();
    connection
}

/// Holds what a database finds against the model, in so many random histories.
fn compare(cases: usize, find: impl Fn(&[Trade]) -> Vec<Trade>) {
    let config = Config { cases: cases.try_into().unwrap(), failure_persistence: None, ..Config::default() };
    let compared = TestRunner::new(config).run(&trades(), |rows| {
        prop_assert_eq!(find(&rows), effective(&rows));
        Ok(())
    });
    compared.unwrap_or_else(|error| panic!("{error}"));
}

// Red when a correction of a correction or a cancel of one is left out, an older one counts, an id of another day, symbol
// or vendor is meant, or a record that names nothing is lost.
#[test]
fn the_view_is_what_the_records_say_one_by_one() {
    let connection = in_memory();
    compare(size_of_test("MDS_TEST_EFFECTIVE_TRADES", 500), |rows| in_sqlite(&connection, rows));
}

// Red when PostgreSQL takes the same SQL for something else.
#[cfg(all(unix, feature = "testing", feature = "postgres"))]
#[test]
fn the_view_is_the_same_in_postgresql() {
    let server = crate::postgres::server::Server::start("");
    let database = server.database();
    database.run(&statements("postgres://user@host/name"));
    let connection = std::cell::RefCell::new(database.admin());
    compare(size_of_test("MDS_TEST_EFFECTIVE_TRADES", 500).min(2_000) / 5, |rows| {
        let insert = inserts(rows, |micros| format!("to_timestamp(0) + {micros} * interval '1 microsecond'"));
        let mut connection = connection.borrow_mut();
        connection.batch_execute(&format!("TRUNCATE trades; {insert}")).unwrap();
        let select =
            format!("SELECT {COLUMNS} FROM trades_effective ORDER BY vendor, venue, symbol, ts_ns, id COLLATE \"C\"");
        connection.query(&select, &[]).unwrap().iter().map(|row| trade_of!(row, String)).collect()
    });
}

// The rules as docs/QUERYING.md tells them. Red when one of them changes.
#[test]
fn each_rule_of_the_view() {
    let connection = in_memory();
    let trade = |id: &str, nanos: i64, price: f64| {
        Trade::new("ES", TimestampNanos::from_nanos(nanos), price, 1.0).vendor("v").id(id)
    };
    let change = |id: &str, nanos: i64, price: f64, action, of: &str| trade(id, nanos, price).action(action).ref_id(of);
    use TradeAction::{Cancel, Correct};
    for (rows, expected) in [
        // Key and time of the trade, values of the correction.
        (vec![trade("1", 1, 5.0), change("c", 9, 6.0, Correct, "1")], &[(1, "1", 6.0)][..]),
        (vec![trade("1", 1, 5.0), change("c", 9, 0.0, Cancel, "1"), trade("2", 3, 7.0)], &[(3, "2", 7.0)]),
        // A correction of a correction, and a cancel of one.
        (
            vec![trade("1", 1, 5.0), change("c", 8, 6.0, Correct, "1"), change("d", 9, 7.0, Correct, "c")],
            &[(1, "1", 7.0)],
        ),
        (vec![trade("1", 1, 5.0), change("c", 8, 6.0, Correct, "1"), change("d", 9, 0.0, Cancel, "c")], &[]),
        // The newest counts, whatever it names; at one time the one that names the other.
        (
            vec![trade("1", 1, 5.0), change("c", 8, 0.0, Cancel, "1"), change("d", 9, 7.0, Correct, "1")],
            &[(1, "1", 7.0)],
        ),
        (
            vec![trade("1", 1, 5.0), change("z", 1, 6.0, Correct, "1"), change("a", 1, 7.0, Correct, "z")],
            &[(1, "1", 7.0)],
        ),
        // An id that comes again: the trade before the correction is meant.
        (
            vec![trade("1", 1, 5.0), change("c", 4, 6.0, Correct, "1"), trade("1", 6, 8.0)],
            &[(1, "1", 6.0), (6, "1", 8.0)],
        ),
        // A correction under the id of its trade.
        (vec![trade("1", 1, 5.0), change("1", 4, 6.0, Correct, "1")], &[(1, "1", 6.0)]),
        // What corrects a trade that is not here is the trade; what cancels one is nothing.
        (vec![change("c", 4, 6.0, Correct, "1"), change("d", 5, 6.0, Cancel, "2")], &[(4, "c", 6.0)]),
    ] {
        let found = in_sqlite(&connection, &rows);
        let found: Vec<_> = found.iter().map(|trade| (trade.ts.as_nanos(), trade.id.as_str(), trade.price)).collect();
        assert_eq!(found, expected, "{rows:?}");
    }
}

// Red when a read of one symbol or day looks through the whole table.
#[test]
fn a_read_of_a_symbol_and_a_time_seeks() {
    let connection = in_memory();
    let sql = "EXPLAIN QUERY PLAN SELECT * FROM trades_effective WHERE symbol = 'ES' AND ts >= 1 AND ts < 2";
    let mut statement = connection.prepare(sql).unwrap();
    let plan: Vec<String> = statement.query_map([], |row| row.get("detail")).unwrap().map(Result::unwrap).collect();
    let of_trades: Vec<&String> =
        plan.iter().filter(|step| step.contains(" USING ") && !step.contains("AUTOMATIC")).collect();
    assert!(
        plan.iter().any(|step| step == "SEARCH t USING INDEX trades_by_symbol (symbol=? AND ts>? AND ts<?)"),
        "{plan:#?}"
    );
    let changes = "SCAN trades USING INDEX trades_by_ref_id";
    let seeks =
        |step: &&&String| step.starts_with("SEARCH ") || step.as_str() == changes || step.contains("TEMP B-TREE");
    assert_eq!(of_trades.iter().filter(seeks).count(), of_trades.len(), "{plan:#?}");
}
