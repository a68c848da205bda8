//! How long a bar takes until it is stored, against the load.
//!
//! A feed brings bars each millisecond by the clock, whatever became of those before: so a wait counts for all whose time
//! came meanwhile. The store writes them into SQLite, with the flush interval of the defaults and with a short one. The
//! peer is what one would write by hand: a tokio channel of 10,000, and a loop over one connection that writes up to 500
//! that are there. The load is a part of what the slowest of the three stores when there is always more.
//!
//! `cargo bench --bench load`; `MDS_BENCH_SECONDS` (default 3) and `MDS_BENCH_ROUNDS` (default 3) set the size, and
//! `MDS_BENCH_DIR` the directory of the files.

use std::{
    env,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
    thread,
    time::{Duration, Instant},
};

use futures::executor::block_on;
use market_data_store::{
    Bar, Batch, Coordinator, CoordinatorSettings, MarketDataStore, Settings, Sink, SinkError,
    sink::{SqliteOptions, SqliteSink, Synchronous},
};

use self::{
    by_hand::{Loop, PlainBar, bar},
    table::{Table, is_measurement, number},
};

mod by_hand;
#[allow(dead_code, reason = "each bench uses a part of it")]
mod table;

const SYMBOLS: usize = 40;
const TICK: Duration = Duration::from_millis(1);
const SHORT: Duration = Duration::from_millis(10);
/// One of so many bars is looked at when it is stored.
const SAMPLE: usize = 16;

fn main() {
    // `cargo test --benches` and `cargo bench -- --list` want to see it end, not to measure.
    if !is_measurement() {
        return;
    }
    let (seconds, rounds) = (number("MDS_BENCH_SECONDS", 3), number("MDS_BENCH_ROUNDS", 3));
    let dir = env::var_os("MDS_BENCH_DIR").map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
    let usual = CoordinatorSettings::default().flush_interval;
    let contenders: [&Contender<'_>; 3] =
        [&|path, feed| store(path, feed, usual), &|path, feed| store(path, feed, SHORT), &channel];
    let run = |contender: &Contender<'_>, bars_a_second| {
        let dir = tempfile::tempdir_in(&dir).unwrap();
        let path = dir.path().join("bars.db");
        block_on(SqliteSink::open::<Bar>(&path).unwrap().close());
        let feed = Feed::new(bars_a_second, seconds);
        contender(&path, &feed);
        let took = feed.now().as_secs_f64();
        let delays = std::mem::take(&mut *feed.0.until_stored.lock().unwrap());
        (delays, took)
    };

    // More bars than any of them can store.
    let most = contenders.map(|contender| {
        let (delays, took) = run(contender, 4e6);
        (delays.len() * SAMPLE) as f64 / took
    });
    let drain_rate = most.into_iter().fold(f64::INFINITY, f64::min);
    let mut table = Table::new("load");
    table.size("seconds", seconds).size("rounds", rounds).size("bars/s at 100 %", drain_rate as usize);
    for load in [20, 40, 60, 80, 90, 100, 120] {
        let mut delays = [const { Vec::new() }; 3];
        for round in 0..rounds {
            for place in 0..3 {
                let at = (place + round) % 3;
                delays[at].push(run(contenders[at], drain_rate * f64::from(load) / 100.0).0);
            }
        }
        let [ours, short, peer] = &delays;
        let of = |runs: &[Vec<f64>]| runs.iter().map(|delays| p99(delays)).collect::<Vec<_>>();
        for (ours, what) in [(ours, "flush interval 250 ms"), (short, "flush interval 10 ms")] {
            let line = table.line(format!("until stored, p99, {what}, load {load} %"), "ms", &of(ours));
            line.beside("channel and loop by hand", &of(peer)).point("latency", what, f64::from(load));
        }
    }
    table.finish();
}

/// Takes a feed into a file, and returns when all of it is stored.
type Contender<'a> = dyn Fn(&Path, &Feed) + 'a;

/// Bars by the clock.
#[derive(Clone)]
struct Feed(Arc<Shared>);

struct Shared {
    bars_a_tick: f64,
    end: Duration,
    began: OnceLock<Instant>,
    /// Milliseconds from the ticks in which bars came.
    until_stored: Mutex<Vec<f64>>,
}

impl Feed {
    fn new(bars_a_second: f64, seconds: usize) -> Self {
        Self(Arc::new(Shared {
            bars_a_tick: bars_a_second * TICK.as_secs_f64(),
            end: Duration::from_secs(seconds as u64),
            began: OnceLock::new(),
            until_stored: Mutex::default(),
        }))
    }

    /// The time since the first tick.
    fn now(&self) -> Duration {
        self.0.began.get_or_init(Instant::now).elapsed()
    }

    /// Milliseconds since the tick of a bar.
    fn since(&self, bar: usize) -> f64 {
        let tick = (bar as f64 / self.0.bars_a_tick).floor();
        (self.now().as_secs_f64() - tick * TICK.as_secs_f64()) * 1e3
    }

    /// Submits bars by their numbers, at each tick those that come with it.
    fn run(&self, mut submit: impl FnMut(usize)) {
        let mut next = 0;
        while self.now() < self.0.end {
            let ticks = (self.now().as_secs_f64() / TICK.as_secs_f64()).floor() + 1.0;
            let due = (ticks * self.0.bars_a_tick) as usize;
            while next < due && self.now() < self.0.end {
                submit(next);
                next += 1;
            }
            thread::sleep(TICK.mul_f64(ticks).saturating_sub(self.now()));
        }
    }

    /// Notes that bars are stored, by their volumes, which are their numbers.
    fn stored(&self, volumes: impl Iterator<Item = Option<f64>>) {
        let sampled = volumes.flatten().map(|number| number as usize).filter(|number| number.is_multiple_of(SAMPLE));
        let delays: Vec<f64> = sampled.map(|number| self.since(number)).collect();
        self.0.until_stored.lock().unwrap().extend(delays);
    }
}

/// SQLite, and a look at the clock when a batch is in it.
struct Timed(SqliteSink, Feed);

impl Sink<Bar> for Timed {
    async fn write(&self, batch: &Batch<Bar>) -> Result<(), SinkError> {
        self.0.write(batch).await?;
        self.1.stored(batch.iter().map(|bar| bar.volume));
        Ok(())
    }
}

fn store(path: &Path, feed: &Feed, flush_interval: Duration) {
    let mut options = SqliteOptions::new(path);
    options.synchronous = Synchronous::Normal;
    let sink = SqliteSink::open::<Bar>(options).unwrap();
    let mut settings = Settings::default().dlq_path(concat!(env!("CARGO_TARGET_TMPDIR"), "/load"));
    settings.coordinator.flush_interval = flush_interval;
    let timed = Coordinator::<Bar>::new(Timed(sink.clone(), feed.clone()));
    let store = MarketDataStore::builder(settings).coordinator(timed).spawn().unwrap();
    let bars = store.coordinator::<Bar>().unwrap();
    feed.run(|number| block_on(bars.submit(numbered(number))).unwrap());
    assert!(block_on(store.finish(Duration::from_secs(60))).is_complete());
    block_on(sink.close());
}

fn numbered(number: usize) -> Bar {
    Bar { volume: Some(number as f64), ..bar(number % SYMBOLS, (number / SYMBOLS) as i64) }
}

fn channel(path: &Path, feed: &Feed) {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(10_000);
    let mut by_hand = Loop::open(path, Synchronous::Normal);
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut batch = Vec::with_capacity(500);
            while block_on(receiver.recv_many(&mut batch, 500)) > 0 {
                by_hand.write(&batch);
                feed.stored(batch.drain(..).map(|bar: PlainBar| bar.volume));
            }
        });
        feed.run(|number| {
            let mut bar = PlainBar::new(number % SYMBOLS, (number / SYMBOLS) as i64);
            bar.volume = Some(number as f64);
            assert!(block_on(sender.send(bar)).is_ok());
        });
        drop(sender);
    });
}

fn p99(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * 0.99).ceil() as usize]
}
