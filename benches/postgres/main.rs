//! The whole write path into PostgreSQL, against a hand-written loop: the same rows, batches, connections and schema.
//!
//! `cargo bench --bench postgres` starts a server of its own, which syncs what it commits. With
//! `MDS_BENCH_POSTGRES=postgres://...` it is that one, in a database that no other program uses.
//! `MDS_BENCH_ROWS` (default 200000) and `MDS_BENCH_ROUNDS` (default 5) set the size. Rows that
//! are there already are loaded right behind the fresh ones, in the same way. Where the server runs on this machine and
//! the role may read its files, the time that it takes on the processor is told too.

mod kinds;
mod server;
#[allow(dead_code, reason = "each bench uses a part of it")]
#[path = "../table/mod.rs"]
mod table;
// The server that tests start.
#[allow(dead_code, reason = "tests do more with it")]
#[path = "../../tests/behaviour/postgres/server.rs"]
mod own_server;
mod support {
    /// How long the server may take to start.
    pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
}

use std::{
    env,
    time::{Duration, Instant, SystemTime},
};

use futures::executor::block_on;
use market_data_store::{
    Adjustment, Bar, Database, Fundamentals, MarketDataStore, News, OptionQuote, Quote, Settings, Timeframe, Timestamp,
    Trade,
};
use postgres::{Client, NoTls};

use self::{
    server::Left,
    table::{Goal, Table, by_turns, is_measurement, number},
};

const SYMBOLS: usize = 40;

/// What is compared with.
const PEER: &str = "unnest upsert by hand";
/// The name in the picture of throughput.
const CURVE: &str = "PostgreSQL, 1 connection";

/// What holds for a server of this program's own: a commit is on the disk.
const CONFIGURATION: &str = "fsync = on\nshared_buffers = 256MB\nmax_wal_size = 2GB";

/// The schema of one run.
const SCHEMA: &str = "market_data_store_bench";

fn main() {
    // `cargo test --benches` and `cargo bench -- --list` want to see it end, not to measure.
    if !is_measurement() {
        return;
    }
    let own = env::var("MDS_BENCH_POSTGRES").is_err().then(|| own_server::Server::start(CONFIGURATION));
    let database = own.as_ref().map(own_server::Server::database);
    let url = match &database {
        Some(database) => format!("postgres://postgres@127.0.0.1:{}/{}", database.port(), database.name()),
        None => env::var("MDS_BENCH_POSTGRES").expect("it is set"),
    };
    let rounds = number("MDS_BENCH_ROUNDS", 5);
    let bars = bars(number("MDS_BENCH_ROWS", 200_000));
    let mut table = Table::new("postgres");
    table.size("rows", bars.len()).size("rounds", rounds);
    for (batch, connections) in [(500, 1), (500, 4), (5_000, 1), (5_000, 4)] {
        let ways = [by_hand as Way, through_store];
        let mut fresh = [const { Loads::new() }; 2];
        let mut again = [const { Loads::new() }; 2];
        let mut left = [const { Vec::new() }; 2];
        for round in 0..rounds {
            for place in 0..2 {
                let at = (place + round) % 2;
                make_tables(&url);
                let mut client = Client::connect(&url, NoTls).unwrap();
                let mut load = || Load::of(&mut client, bars.len(), || ways[at](&url, &bars, batch, connections));
                fresh[at].push(load());
                again[at].push(load());
                left[at].push(server::left_in(&mut client, &format!("{SCHEMA}.bars"), bars.len()));
            }
        }
        let how = format!("batches of {batch}, {connections} connections");
        for (rows, [peer, ours], goal) in [("new rows", &fresh, 1.6), ("rows that are there", &again, 1.8)] {
            let rates = |loads: &Loads| loads.iter().map(|load| load.rows_a_second).collect::<Vec<_>>();
            let line = table.line(format!("{rows}, {how}"), "rows/s", &rates(ours));
            line.beside(PEER, &rates(peer)).goal(Goal::RatioAtLeast(goal));
            if (rows, connections) == ("new rows", 1) {
                line.point("throughput", CURVE, batch as f64);
            }
            let processor =
                |loads: &Loads| loads.iter().map(|load| load.server_micros_a_row).collect::<Option<Vec<_>>>();
            if let (Some(ours), Some(peer)) = (processor(ours), processor(peer)) {
                table.line(format!("processor time of the server, {rows}, {how}"), "us/row", &ours).beside(PEER, &peer);
            }
        }
        let [peer, ours] = left.map(|left: Vec<Left>| {
            let dead: Vec<f64> = left.iter().map(|left| left.dead_rows as f64).collect();
            (dead, left.iter().map(|left| left.bytes as f64 / f64::from(1 << 20)).collect::<Vec<_>>())
        });
        let most = |dead: &[f64]| [dead.iter().copied().fold(0.0, f64::max)];
        table
            .line(format!("most dead rows of a round, {how}"), "rows", &most(&ours.0))
            .beside(PEER, &most(&peer.0))
            .goal(Goal::AtMost(0.0));
        table.line(format!("table with its indexes, {how}"), "MiB", &ours.1).beside(PEER, &peer.1);
    }
    for batch in [50, 100, 1_000, 20_000] {
        let fresh = |way: Way| {
            make_tables(&url);
            measure(bars.len(), || way(&url, &bars, batch, 1))
        };
        let [ours, peer] = by_turns(rounds, [&mut || fresh(through_store), &mut || fresh(by_hand)]);
        let line = table.line(format!("new rows, batches of {batch}, 1 connections"), "rows/s", &ours);
        line.beside(PEER, &peer).point("throughput", CURVE, batch as f64);
    }
    kinds::run(&mut table, &url, bars.len(), rounds);
    Client::connect(&url, NoTls).unwrap().batch_execute(&format!("DROP SCHEMA {SCHEMA} CASCADE")).unwrap();
    table.finish();
}

/// Writes bars in batches over so many connections, and returns when all of them are committed.
type Way = fn(&str, &[Bar], usize, usize);

fn bars(rows: usize) -> Vec<Bar> {
    let bar = |number: usize| {
        let minute = (number / SYMBOLS) as i64;
        let price = 100.0 + (minute % 997) as f64 / 7.0;
        Bar {
            vendor: Bar::UNKNOWN_VENDOR.into(),
            symbol: format!("SYM{}", number % SYMBOLS).into(),
            timeframe: Timeframe::MINUTE,
            adjustment: Adjustment::Raw,
            ts: Timestamp::from_micros(1_700_000_000_000_000 + minute * 60_000_000),
            open: price,
            high: price + 1.0,
            low: price - 1.0,
            close: price + 0.5,
            volume: Some(minute as f64),
        }
    };
    (0..rows).map(bar).collect()
}

fn settings(url: &str) -> Settings {
    let mut settings = Settings::default().database_url(url).dlq_path(concat!(env!("CARGO_TARGET_TMPDIR"), "/dlq"));
    settings.postgres.schema = SCHEMA.to_owned();
    settings
}

/// Makes the tables of all kinds anew, empty.
fn make_tables(url: &str) {
    let mut client = Client::connect(url, NoTls).unwrap();
    client.batch_execute(&format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")).unwrap();
    let database = Database::of_settings(&settings(url)).unwrap();
    let tables = [
        database.table_sql::<Bar>(),
        database.table_sql::<Quote>(),
        database.table_sql::<Trade>(),
        database.table_sql::<OptionQuote>(),
        database.table_sql::<Fundamentals>(),
        database.table_sql::<News>(),
    ];
    for sql in tables.concat() {
        client.batch_execute(&sql).unwrap();
    }
}

/// The loop that one would write by hand: a thread a connection, one prepared statement, an array a column.
fn by_hand(url: &str, bars: &[Bar], batch: usize, connections: usize) {
    let upsert = format!(
        "INSERT INTO {SCHEMA}.bars (vendor, symbol, timeframe, adjustment, ts, open, high, low, close, volume)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::float8[],
             $7::float8[], $8::float8[], $9::float8[], $10::float8[])
         ON CONFLICT (vendor, symbol, timeframe, adjustment, ts) DO UPDATE SET open = excluded.open,
             high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume"
    );
    std::thread::scope(|scope| {
        for connection in 0..connections {
            let upsert = &upsert;
            scope.spawn(move || {
                let mut client = Client::connect(url, NoTls).unwrap();
                let statement = client.prepare(upsert).unwrap();
                for bars in bars.chunks(batch).skip(connection).step_by(connections) {
                    let text = |of: fn(&Bar) -> String| bars.iter().map(of).collect::<Vec<_>>();
                    let number = |of: fn(&Bar) -> f64| bars.iter().map(of).collect::<Vec<_>>();
                    let time = |bar: &Bar| SystemTime::UNIX_EPOCH + Duration::from_micros(bar.ts.as_micros() as u64);
                    let rows = client.execute(
                        &statement,
                        &[
                            &text(|bar| bar.vendor.to_string()),
                            &text(|bar| bar.symbol.to_string()),
                            &text(|bar| bar.timeframe.to_string()),
                            &text(|bar| bar.adjustment.to_string()),
                            &bars.iter().map(time).collect::<Vec<_>>(),
                            &number(|bar| bar.open),
                            &number(|bar| bar.high),
                            &number(|bar| bar.low),
                            &number(|bar| bar.close),
                            &bars.iter().map(|bar| bar.volume).collect::<Vec<_>>(),
                        ],
                    );
                    assert_eq!(rows.unwrap(), bars.len() as u64);
                }
            });
        }
    });
}

/// The whole path: one producer, the queue, a worker a connection, the sink.
fn through_store(url: &str, bars: &[Bar], batch: usize, connections: usize) {
    let mut settings = settings(url);
    settings.coordinator.capacity = 2 * connections * batch + 10_000;
    (settings.coordinator.workers, settings.coordinator.batch_size) = (connections, batch);
    let store = MarketDataStore::builder(settings).kind::<Bar>().spawn().unwrap();
    let handle = store.coordinator::<Bar>().unwrap();
    block_on(async {
        handle.submit_many(bars.iter().cloned()).await.unwrap();
        let report = store.finish(Duration::from_secs(60)).await;
        assert!(report.is_complete());
    });
}

/// What one run took.
struct Load {
    rows_a_second: f64,
    /// None where the server cannot be looked at.
    server_micros_a_row: Option<f64>,
}

type Loads = Vec<Load>;

impl Load {
    fn of(client: &mut Client, rows: usize, run: impl FnOnce()) -> Self {
        let before = server::processor_seconds(client);
        let rows_a_second = measure(rows, run);
        let taken = server::processor_seconds(client).zip(before).map(|(after, before)| after - before);
        Self { rows_a_second, server_micros_a_row: taken.map(|seconds| 1e6 * seconds / rows as f64) }
    }
}

/// Returns rows a second.
fn measure(rows: usize, run: impl FnOnce()) -> f64 {
    let started = Instant::now();
    run();
    rows as f64 / started.elapsed().as_secs_f64()
}
