//! The SQLite sink, alone and at the end of the whole write path, against a hand-written loop over one connection: the
//! same records, batch size, pragmas and schema.
//!
//! `cargo bench --bench sqlite`; `MDS_BENCH_ROWS` (default 200000) and `MDS_BENCH_ROUNDS` (default 5) set the size, and
//! `MDS_BENCH_DIR` the directory of the files: a disk, or a durable commit costs nothing and shows nothing.
//!
//! On Linux also with a disk that takes 2 ms for each sync, beside its own time: both sides run in a process whose `fsync`
//! and `fdatasync` are preloaded ones, made with the compiler that builds SQLite.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use futures::executor::block_on;
use market_data_store::{
    Bar, Batch, Coordinator, MarketDataStore, Settings, Sink,
    sink::{SqliteOptions, SqliteSink, Synchronous},
};
use rusqlite::Connection;

use self::{
    by_hand::{Loop, PlainBar, bar},
    table::{Goal, Table, by_turns, is_measurement, number},
};

mod by_hand;
#[allow(dead_code, reason = "the tests use the rest of it")]
#[path = "../tests/behaviour/syncs.rs"]
mod syncs;
#[allow(dead_code, reason = "each bench uses a part of it")]
mod table;

const BATCH: usize = 500;
/// What is compared with.
const PEER: &str = "loop by hand";
/// The name in the picture of throughput.
const CURVE: &str = "SQLite, NORMAL";
const SYMBOLS: usize = 40;
/// How long a sync takes beside its own time, in seconds, where it is a slow one.
const SLOW: &str = "0.002";

fn main() {
    // `cargo test --benches` and `cargo bench -- --list` want to see it end, not to measure.
    if !is_measurement() {
        return;
    }
    let (rows, rounds) = (number("MDS_BENCH_ROWS", 200_000), number("MDS_BENCH_ROUNDS", 5));
    let dir = env::var_os("MDS_BENCH_DIR").map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
    let mut table = Table::new("sqlite");
    table.size("rows", rows).size("rounds", rounds);

    let load = Load::new(rows, BATCH);
    let run = |contender: &dyn Fn(&Path)| measure(&dir, &load, contender);
    if env::var_os(syncs::SECONDS).is_some() {
        let samples = by_turns(
            rounds,
            [&mut || run(&|path| through_loop(path, &load, Synchronous::Full)), &mut || {
                run(&|path| through_store(path, &load, Synchronous::Full, 4))
            }],
        );
        return println!("{}", serde_json::to_string(&samples).expect("numbers"));
    }
    for (name, synchronous, writers, goal) in
        [("NORMAL", Synchronous::Normal, 1, 1.1), ("FULL", Synchronous::Full, 4, 1.3)]
    {
        let [hand, sink, store] = by_turns(
            rounds,
            [
                &mut || run(&|path| through_loop(path, &load, synchronous)),
                &mut || run(&|path| through_sink(path, &load, synchronous, writers)),
                &mut || run(&|path| through_store(path, &load, synchronous, 4)),
            ],
        );
        let line = table.line(format!("whole path, batches of {BATCH}, {name}"), "rows/s", &store);
        line.beside(PEER, &hand).goal(Goal::RatioAtLeast(goal));
        if name == "NORMAL" {
            line.point("throughput", CURVE, BATCH as f64);
        }
        table.line(format!("sink alone, {writers} writers, {name}"), "rows/s", &sink).beside(PEER, &hand);
    }
    if cfg!(target_os = "linux") {
        let [hand, store] = with_slow_syncs();
        let line = table.line(format!("whole path, batches of {BATCH}, FULL, 2 ms more a sync"), "rows/s", &store);
        line.beside(PEER, &hand).goal(Goal::RatioAtLeast(2.5));
    }
    for batch in [10, 50, 100, 1_000, 5_000] {
        let load = Load::new(rows, batch);
        let run = |contender: &dyn Fn(&Path)| measure(&dir, &load, contender);
        let [store, hand] = by_turns(
            rounds,
            [&mut || run(&|path| through_store(path, &load, Synchronous::Normal, 4)), &mut || {
                run(&|path| through_loop(path, &load, Synchronous::Normal))
            }],
        );
        let line = table.line(format!("whole path, batches of {batch}, NORMAL"), "rows/s", &store);
        line.beside(PEER, &hand).point("throughput", CURVE, batch as f64);
    }
    table.finish();
}

/// Returns the samples of the loop and of the store in a process whose syncs are slow.
fn with_slow_syncs() -> [Vec<f64>; 2] {
    let dir = tempfile::tempdir().unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .arg("--bench")
        .env("LD_PRELOAD", syncs::library(dir.path()))
        .env(syncs::SECONDS, SLOW)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).expect("the samples of the other process")
}

/// Bars in batches of one symbol each, as the queue would hand them out, and as a loop without this crate would.
struct Load {
    batches: Vec<Batch<Bar>>,
    plain: Vec<Vec<PlainBar>>,
    batch_size: usize,
}

impl Load {
    fn new(rows: usize, batch_size: usize) -> Self {
        let of = |number: usize| {
            let minute = number / SYMBOLS * batch_size;
            (minute..minute + batch_size).map(move |minute| (number % SYMBOLS, minute as i64))
        };
        let numbers = 0..rows.div_ceil(batch_size);
        let batch = |number| of(number).map(|(symbol, minute)| bar(symbol, minute)).collect::<Vec<_>>().into();
        let plain = |number| of(number).map(|(symbol, minute)| PlainBar::new(symbol, minute)).collect();
        Self { batches: numbers.clone().map(batch).collect(), plain: numbers.map(plain).collect(), batch_size }
    }

    fn rows(&self) -> usize {
        self.batches.len() * self.batch_size
    }
}

fn through_loop(path: &Path, load: &Load, synchronous: Synchronous) {
    let mut by_hand = Loop::open(path, synchronous);
    for batch in &load.plain {
        by_hand.write(batch);
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
    settings.coordinator.batch_size = load.batch_size;
    settings.coordinator.capacity = settings.coordinator.capacity.max(4 * workers * load.batch_size);
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
