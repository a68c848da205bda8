//! The whole write path into PostgreSQL, against a hand-written loop: the same rows, batches, connections and schema.
//!
//! `MDS_BENCH_POSTGRES=postgres://... cargo bench --bench postgres` on a database that no other program uses;
//! `MDS_BENCH_ROWS` (default 200000) and `MDS_BENCH_ROUNDS` (default 5) set the size. The runs of one round follow each
//! other, so that a noisy machine disturbs all of them alike; the ratio is the median of the rounds' own ratios. Rows that
//! are there already are loaded right behind the fresh ones, in the same way.

use std::{
    env,
    time::{Duration, Instant, SystemTime},
};

use futures::executor::block_on;
use market_data_store::{Adjustment, Bar, Database, MarketDataStore, Settings, Timeframe, Timestamp};
use postgres::{Client, NoTls};

const SYMBOLS: usize = 40;

/// The schema of one run.
const SCHEMA: &str = "market_data_store_bench";

fn main() {
    // `cargo test --benches` and `cargo bench -- --list` want to see it end, not to measure.
    if !env::args().any(|argument| argument == "--bench") {
        return;
    }
    let Ok(url) = env::var("MDS_BENCH_POSTGRES") else {
        println!("MDS_BENCH_POSTGRES is not set, expected the URL of a database");
        return;
    };
    let rounds = number("MDS_BENCH_ROUNDS", 5);
    let bars = bars(number("MDS_BENCH_ROWS", 200_000));
    println!("{} rows, {rounds} rounds", bars.len());
    for (batch, connections) in [(500, 1), (500, 4), (5_000, 1), (5_000, 4)] {
        let ways = [by_hand as Way, through_store];
        let (mut fresh, mut again, mut dead) = ([const { Vec::new() }; 2], [const { Vec::new() }; 2], [0; 2]);
        for round in 0..rounds {
            for place in 0..2 {
                let at = (place + round) % 2;
                let mut client = Client::connect(&url, NoTls).unwrap();
                make_table(&url, &mut client);
                fresh[at].push(measure(&bars, || ways[at](&url, &bars, batch, connections)));
                again[at].push(measure(&bars, || ways[at](&url, &bars, batch, connections)));
                dead[at] = dead_rows(&mut client, bars.len());
            }
        }
        for (title, rates, goal) in [("fresh rows", fresh, "1.6"), ("rows that are there", again, "1.8")] {
            let ratios = rates[1].iter().zip(&rates[0]).map(|(ours, peer)| ours / peer).collect();
            let [peer, ours] = rates.map(median);
            println!(
                "batches of {batch}, {connections} connections, {title}: {ours:.0} rows/s, by hand {peer:.0}, \
                 {:.2} times (goal {goal})",
                median(ratios)
            );
        }
        println!("  dead rows behind it: {}, by hand {}", dead[1], dead[0]);
    }
    Client::connect(&url, NoTls).unwrap().batch_execute(&format!("DROP SCHEMA {SCHEMA} CASCADE")).unwrap();
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

fn make_table(url: &str, client: &mut Client) {
    client.batch_execute(&format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")).unwrap();
    let sql = Database::of_settings(&settings(url)).unwrap().table_sql::<Bar>();
    client.batch_execute(&sql.join(";")).unwrap();
}

/// What an insert has aborted or an update has replaced, as far as the table has not been cleaned up.
fn dead_rows(client: &mut Client, rows: usize) -> i64 {
    let count = client.query_one(&format!("SELECT count(*) FROM {SCHEMA}.bars"), &[]).unwrap().get::<_, i64>(0);
    assert_eq!(count, rows as i64);
    // What backends have counted they tell within a second of their end.
    std::thread::sleep(Duration::from_secs(1));
    let sql = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE schemaname = $1 AND relname = 'bars'";
    client.query_one(sql, &[&SCHEMA]).unwrap().get(0)
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

fn measure(bars: &[Bar], run: impl FnOnce()) -> f64 {
    let started = Instant::now();
    run();
    bars.len() as f64 / started.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn number(variable: &str, default: usize) -> usize {
    env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
