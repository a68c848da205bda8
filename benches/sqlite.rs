//! The SQLite sink, alone and at the end of the whole write path, against a hand-written loop over one connection: the
//! same records, batch size, pragmas and schema.
//!
//! `cargo bench --bench sqlite`; `MDS_BENCH_ROWS` (default 200000) and `MDS_BENCH_ROUNDS` (default 5) set the size, and
//! `MDS_BENCH_DIR` the directory of the files: a disk, or a durable commit costs nothing and shows nothing.

use std::{
    env,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures::executor::block_on;
use market_data_store::{
    Adjustment, Bar, Batch, Coordinator, MarketDataStore, Settings, Sink, Timeframe, Timestamp,
    sink::{SqliteOptions, SqliteSink, Synchronous},
};
use rusqlite::{Connection, params};

use self::table::{Goal, Table, by_turns, is_measurement, number};

#[allow(dead_code, reason = "each bench uses a part of it")]
mod table;

const BATCH: usize = 500;
const SYMBOLS: usize = 40;

fn main() {
    // `cargo test --benches` and `cargo bench -- --list` want to see it end, not to measure.
    if !is_measurement() {
        return;
    }
    let load = Load::new(number("MDS_BENCH_ROWS", 200_000));
    let rounds = number("MDS_BENCH_ROUNDS", 5);
    let dir = env::var_os("MDS_BENCH_DIR").map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
    let mut table = Table::new("sqlite");
    table.size("rows", load.rows()).size("rows a batch", BATCH).size("rounds", rounds);

    for (name, synchronous, writers, goal) in
        [("NORMAL", Synchronous::Normal, 1, 1.1), ("FULL", Synchronous::Full, 4, 1.3)]
    {
        let run = |contender: &dyn Fn(&Path)| measure(&dir, &load, contender);
        let [by_hand, sink, store] = by_turns(
            rounds,
            [
                &mut || run(&|path| by_hand(path, &load, synchronous)),
                &mut || run(&|path| through_sink(path, &load, synchronous, writers)),
                &mut || run(&|path| through_store(path, &load, synchronous, 4)),
            ],
        );
        table
            .line(format!("whole path, four workers, {name}"), "rows/s", &store)
            .beside("loop by hand", &by_hand)
            .goal(Goal::RatioAtLeast(goal));
        table.line(format!("sink alone, {writers} writers, {name}"), "rows/s", &sink).beside("loop by hand", &by_hand);
    }
    table.finish();
}

/// Bars in batches of one symbol each, as the queue would hand them out, and as a loop without this crate would.
struct Load {
    batches: Vec<Batch<Bar>>,
    plain: Vec<Vec<PlainBar>>,
}

struct PlainBar {
    vendor: String,
    symbol: String,
    timeframe: String,
    adjustment: String,
    ts: i64,
    prices: [f64; 4],
    volume: Option<f64>,
}

impl Load {
    fn new(rows: usize) -> Self {
        let batch = |number: usize| -> Vec<Bar> {
            let symbol = format!("SYM{}", number % SYMBOLS);
            (0..BATCH)
                .map(|at| {
                    let minute = (number / SYMBOLS * BATCH + at) as i64;
                    let price = 100.0 + (minute % 997) as f64 / 7.0;
                    Bar {
                        vendor: Bar::UNKNOWN_VENDOR.into(),
                        symbol: symbol.as_str().into(),
                        timeframe: Timeframe::MINUTE,
                        adjustment: Adjustment::Raw,
                        ts: Timestamp::from_micros(1_700_000_000_000_000 + minute * 60_000_000),
                        open: price,
                        high: price + 1.0,
                        low: price - 1.0,
                        close: price + 0.5,
                        volume: Some(minute as f64),
                    }
                })
                .collect()
        };
        let batches: Vec<Vec<Bar>> = (0..rows.div_ceil(BATCH)).map(batch).collect();
        let plain = batches.iter().map(|batch| batch.iter().map(PlainBar::from).collect()).collect();
        Self { batches: batches.into_iter().map(Batch::from).collect(), plain }
    }

    fn rows(&self) -> usize {
        self.batches.iter().map(|batch| batch.len()).sum()
    }
}

impl From<&Bar> for PlainBar {
    fn from(bar: &Bar) -> Self {
        Self {
            vendor: bar.vendor.to_string(),
            symbol: bar.symbol.to_string(),
            timeframe: bar.timeframe.to_string(),
            adjustment: bar.adjustment.to_string(),
            ts: bar.ts.as_micros(),
            prices: [bar.open, bar.high, bar.low, bar.close],
            volume: bar.volume,
        }
    }
}

/// The loop that one would write by hand: one connection, one prepared statement, one transaction a batch.
fn by_hand(path: &Path, load: &Load, synchronous: Synchronous) {
    let mut connection = Connection::open(path).unwrap();
    let synchronous = match synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    connection.execute_batch(&format!("PRAGMA synchronous = {synchronous}; PRAGMA temp_store = memory;")).unwrap();
    for batch in &load.plain {
        let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
        {
            let mut statement = transaction
                .prepare_cached(
                    "INSERT INTO bars VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                     ON CONFLICT (vendor, symbol, timeframe, adjustment, ts) DO UPDATE SET open = excluded.open,
                     high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume",
                )
                .unwrap();
            for bar in batch {
                let [open, high, low, close] = bar.prices;
                let PlainBar { vendor, symbol, timeframe, adjustment, ts, volume, .. } = bar;
                let row = params![vendor, symbol, timeframe, adjustment, ts, open, high, low, close, volume];
                statement.execute(row).unwrap();
            }
        }
        transaction.commit().unwrap();
    }
}

/// The sink, with each writer awaiting one batch at a time as a worker does.
fn through_sink(path: &Path, load: &Load, synchronous: Synchronous, writers: usize) {
    let mut options = SqliteOptions::new(path);
    options.synchronous = synchronous;
    let sink = SqliteSink::open::<Bar>(options).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..writers {
            let sink = &sink;
            scope.spawn(move || {
                for batch in load.batches.iter().skip(writer).step_by(writers) {
                    block_on(sink.write(batch)).unwrap();
                }
            });
        }
    });
    block_on(sink.close());
}

/// The whole path: one producer, the queue, the workers, the sink.
fn through_store(path: &Path, load: &Load, synchronous: Synchronous, workers: usize) {
    let mut options = SqliteOptions::new(path);
    options.synchronous = synchronous;
    let sink = SqliteSink::open::<Bar>(options).unwrap();
    let mut settings = Settings::default();
    settings.coordinator.workers = workers;
    settings.coordinator.batch_size = BATCH;
    let store = MarketDataStore::builder(settings).coordinator(Coordinator::<Bar>::new(sink.clone())).spawn().unwrap();
    let bars = store.coordinator::<Bar>().unwrap();
    block_on(async {
        bars.submit_many(load.batches.iter().flat_map(|batch| batch.iter().cloned())).await.unwrap();
        let report = store.finish(Duration::from_secs(60)).await;
        assert!(report.is_complete());
        sink.close().await;
    });
}

/// Runs one contender on a new file with the schema in place, and returns its rows a second.
fn measure(dir: &Path, load: &Load, contender: &dyn Fn(&Path)) -> f64 {
    let dir = tempfile::tempdir_in(dir).unwrap();
    let path = dir.path().join("bars.db");
    block_on(SqliteSink::open::<Bar>(&path).unwrap().close());

    let begun = Instant::now();
    contender(&path);
    let took = begun.elapsed();

    let sql = "SELECT count(*) FROM bars";
    let stored: i64 = Connection::open(&path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(stored as usize, load.rows(), "a contender must store everything");
    load.rows() as f64 / took.as_secs_f64()
}
