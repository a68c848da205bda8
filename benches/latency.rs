//! How long a producer waits: for a receipt while it has one record in flight, for `submit` while records come nearly as
//! fast as they are written, and for a place in a queue that was full.
//!
//! `cargo bench --bench latency`. `MDS_BENCH_ROUNDS` (default 9) rounds of each; a round has `MDS_BENCH_COMMITS` (default
//! 300) commits, `MDS_BENCH_SECONDS` (default 2) of arrivals, or `MDS_BENCH_WAITS` (default 200) waits. `MDS_BENCH_DIR` is
//! the directory of the files: a disk, or a durable commit costs nothing and shows nothing. An argument such as
//! `-- receipts`, `arrivals` or `wake_up` measures only that. Runs of one round follow each other, by turns.

mod by_hand;
#[allow(dead_code, reason = "each bench uses a part of it")]
mod table;
// The server that tests start.
#[allow(dead_code, reason = "tests do more with it")]
#[path = "../tests/behaviour/postgres/server.rs"]
mod own_server;
mod support {
    /// How long the server may take to start.
    pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
}

use std::{
    cell::Cell,
    env,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use futures::executor::block_on;
use market_data_store::{
    Bar, Batch, Coordinator, CoordinatorSettings, MarketDataStore, Outcome, Record, Settings, Sink, SinkError,
    WriteHandle,
    sink::{SqliteOptions, SqliteSink, Synchronous},
};
use postgres::{Client, NoTls, types::ToSql};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};

use self::by_hand::{Loop, PlainBar, bar};
use self::table::{Goal, Table, by_turns, is_measurement, number, words};

const DEAD_LETTERS: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/latency");

/// What a queue holds here, the channel's as ours.
const CAPACITY: usize = 10_000;
/// What a consumer takes at once.
const BATCH: usize = 500;

/// As large as a bar, with nothing on the heap.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Tick {
    prices: [f64; 13],
    ts: u64,
}

impl Record for Tick {
    const KIND: &'static str = "ticks";

    fn partition_key(&self) -> &str {
        "ES"
    }
}

fn tick(ts: u64) -> Tick {
    Tick { prices: [1.0; 13], ts }
}

fn start<T: Record>(sink: impl Sink<T>, own: CoordinatorSettings) -> (MarketDataStore, WriteHandle<T>) {
    let settings = Settings::default().dlq_path(DEAD_LETTERS);
    let store = MarketDataStore::builder(settings).coordinator(Coordinator::new(sink).settings(own)).spawn();
    let store = store.expect("a store");
    let handle = store.coordinator().expect("its coordinator");
    (store, handle)
}

/// One record in flight: each is submitted once the one before is stored.
mod receipts {
    use super::*;

    /// Takes the bar of a minute, and returns when it is committed.
    type Commit<'a> = Box<dyn FnMut(i64) + 'a>;

    /// Commits so many bars, and returns what each took, in microseconds.
    fn commits(commit: &mut Commit<'_>, next: &Cell<i64>, count: u64) -> f64 {
        let began = Instant::now();
        for _ in 0..count {
            commit(next.replace(next.get() + 1));
        }
        began.elapsed().as_secs_f64() * 1e6 / count as f64
    }

    fn through(bars: &WriteHandle<Bar>) -> Commit<'_> {
        Box::new(move |minute| {
            let outcome = block_on(async { bars.submit_with_receipt(bar(0, minute)).await.expect("accepted").await });
            assert_eq!(outcome, Ok(Outcome::Stored));
        })
    }

    /// Two files with the same table and pragmas; ours is written through the store.
    pub fn sqlite(dir: &std::path::Path, synchronous: Synchronous, rounds: usize, count: u64) -> [Vec<f64>; 2] {
        let dir = tempfile::tempdir_in(dir).expect("a directory");
        let [ours, theirs] = ["ours.db", "theirs.db"].map(|name| dir.path().join(name));
        block_on(SqliteSink::open::<Bar>(&theirs).expect("a table").close());
        let mut by_hand = Loop::open(&theirs, synchronous);
        let mut options = SqliteOptions::new(&ours);
        options.synchronous = synchronous;
        let sink = SqliteSink::open::<Bar>(options).expect("a table");
        let (store, bars) = start(sink.clone(), CoordinatorSettings::default());
        let by_hand: Commit = Box::new(|minute| by_hand.write(&[PlainBar::new(0, minute)]));
        let samples = in_turns(&mut [through(&bars), by_hand], rounds, count);
        block_on(store.finish(Duration::from_secs(60)));
        block_on(sink.close());
        samples
    }

    /// One table in a server of this program's own, which syncs what it commits.
    pub fn postgres(rounds: usize, count: u64) -> [Vec<f64>; 2] {
        let server = own_server::Server::start("fsync = on");
        let database = server.database();
        let url = format!("postgres://postgres@127.0.0.1:{}/{}", database.port(), database.name());
        let settings = Settings::default().database_url(&*url).dlq_path(DEAD_LETTERS);
        let store = MarketDataStore::builder(settings).kind::<Bar>().spawn().expect("a store");
        let bars = store.coordinator::<Bar>().expect("the coordinator of bars");
        // It makes the table.
        through(&bars)(0);
        let mut client = Client::connect(&url, NoTls).expect("a connection");
        let upsert = "INSERT INTO bars (vendor, symbol, timeframe, adjustment, ts, open, high, low, close, volume)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             ON CONFLICT (vendor, symbol, timeframe, adjustment, ts) DO UPDATE SET open = excluded.open,
             high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume";
        let upsert = client.prepare(upsert).expect("a statement");
        let by_hand: Commit = Box::new(|minute| {
            let bar = bar(0, minute);
            let (timeframe, adjustment) = (bar.timeframe.to_string(), bar.adjustment.to_string());
            let (vendor, symbol) = (bar.vendor.as_str(), bar.symbol.as_str());
            let ts = SystemTime::UNIX_EPOCH + Duration::from_micros(bar.ts.as_micros() as u64);
            let Bar { open, high, low, close, volume, .. } = bar;
            let row: [&(dyn ToSql + Sync); 10] =
                [&vendor, &symbol, &timeframe, &adjustment, &ts, &open, &high, &low, &close, &volume];
            assert_eq!(client.execute(&upsert, &row).expect("a commit"), 1);
        });
        let samples = in_turns(&mut [through(&bars), by_hand], rounds, count);
        block_on(store.finish(Duration::from_secs(60)));
        samples
    }

    /// Runs both in each round, one after the other.
    fn in_turns([ours, by_hand]: &mut [Commit<'_>; 2], rounds: usize, count: u64) -> [Vec<f64>; 2] {
        let next = Cell::new(1);
        commits(ours, &next, count);
        commits(by_hand, &next, count);
        by_turns(rounds, [&mut || commits(ours, &next, count), &mut || commits(by_hand, &next, count)])
    }
}

/// Records come by the clock, whether those before were taken or not.
mod arrivals {
    use super::*;

    /// How long the consumer takes for a batch, however many records it has.
    const PAUSE: Duration = Duration::from_millis(5);

    struct Slow;

    impl Sink<Tick> for Slow {
        async fn write(&self, _: &Batch<Tick>) -> Result<(), SinkError> {
            thread::sleep(PAUSE);
            Ok(())
        }
    }

    /// What records are handed to.
    pub trait Queue {
        fn submit(&self, tick: Tick);
        /// Waits until all are taken.
        fn end(self);
    }

    pub struct Ours(MarketDataStore, WriteHandle<Tick>);

    impl Ours {
        pub fn start() -> Self {
            let (store, ticks) = start(Slow, CoordinatorSettings::new(CAPACITY).workers(1).batch_size(BATCH));
            Self(store, ticks)
        }
    }

    impl Queue for Ours {
        fn submit(&self, tick: Tick) {
            block_on(self.1.submit(tick)).expect("accepted");
        }

        fn end(self) {
            assert!(block_on(self.0.finish(Duration::from_secs(60))).is_complete());
        }
    }

    pub struct Channel(tokio::sync::mpsc::Sender<Tick>, thread::JoinHandle<()>);

    impl Channel {
        pub fn start() -> Self {
            let (sender, mut receiver) = tokio::sync::mpsc::channel(CAPACITY);
            let consumer = thread::spawn(move || {
                let mut batch = Vec::with_capacity(BATCH);
                while block_on(receiver.recv_many(&mut batch, BATCH)) > 0 {
                    thread::sleep(PAUSE);
                    batch.clear();
                }
            });
            Self(sender, consumer)
        }
    }

    impl Queue for Channel {
        fn submit(&self, tick: Tick) {
            assert!(block_on(self.0.send(tick)).is_ok());
        }

        fn end(self) {
            drop(self.0);
            self.1.join().expect("the consumer");
        }
    }

    /// Returns how many records a second the consumer takes, while there are always enough.
    pub fn drain_rate(queue: impl Queue) -> f64 {
        let records = 40 * BATCH as u64;
        let began = Instant::now();
        (0..records).for_each(|n| queue.submit(tick(n)));
        queue.end();
        records as f64 / began.elapsed().as_secs_f64()
    }

    /// Submits records at random times, so many a second, and returns how long after its time each was accepted, in
    /// microseconds.
    ///
    /// The time of a record does not depend on when those before were accepted. So a wait counts for all whose time came
    /// meanwhile.
    pub fn delays(queue: impl Queue, rate: f64, seconds: u64, seed: u64) -> Vec<f64> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut at = 0.0;
        let times = std::iter::repeat_with(|| {
            at -= random.random::<f64>().max(f64::MIN_POSITIVE).ln() / rate;
            at
        });
        let times: Vec<f64> = times.take_while(|&at| at < seconds as f64).collect();
        let began = Instant::now();
        let delays = times.into_iter().zip(0..).map(|(at, n)| {
            while began.elapsed().as_secs_f64() < at {
                std::hint::spin_loop();
            }
            queue.submit(tick(n));
            (began.elapsed().as_secs_f64() - at) * 1e6
        });
        let delays = delays.collect();
        queue.end();
        delays
    }
}

/// A queue that is full, and one producer that waits for a place.
mod wake_up {
    use super::*;

    /// Ends a write when it is told to, and says when.
    struct Gated {
        go: parking_lot::Mutex<mpsc::Receiver<()>>,
        ended: Arc<Moment>,
    }

    /// A time since the start of the program, in nanoseconds.
    struct Moment(Instant, AtomicU64);

    impl Moment {
        fn now(&self) {
            self.1.store(self.0.elapsed().as_nanos() as u64, Ordering::Release);
        }

        /// Returns how long ago it was, in microseconds.
        fn elapsed(&self) -> f64 {
            (self.0.elapsed().as_nanos() as u64 - self.1.load(Ordering::Acquire)) as f64 / 1e3
        }
    }

    impl Sink<Tick> for Gated {
        async fn write(&self, _: &Batch<Tick>) -> Result<(), SinkError> {
            // An error says that there is no further round.
            let _ = self.go.lock().recv();
            self.ended.now();
            Ok(())
        }
    }

    fn moment() -> Arc<Moment> {
        Arc::new(Moment(Instant::now(), AtomicU64::new(0)))
    }

    /// Lets the consumer go on once the producer sleeps.
    fn release(go: &mpsc::Sender<()>) {
        thread::sleep(Duration::from_micros(300));
        go.send(()).expect("a consumer");
    }

    /// Returns how long after the end of the write before a waiting submit was through, in microseconds. In between the
    /// worker settles that write and takes what makes room.
    pub fn ours(waits: u64) -> Vec<f64> {
        let (go, gate) = mpsc::channel();
        let ended = moment();
        let sink = Gated { go: gate.into(), ended: Arc::clone(&ended) };
        let (store, ticks) = start(sink, CoordinatorSettings::new(BATCH).workers(1).batch_size(BATCH));
        // One batch is out, and the next fills the queue.
        block_on(ticks.submit_many((0..2 * BATCH as u64).map(tick))).expect("accepted");
        let delays = (0..waits).map(|n| {
            let delay = thread::scope(|scope| {
                let waits = scope.spawn(|| {
                    block_on(ticks.submit(tick(n))).expect("accepted");
                    ended.elapsed()
                });
                release(&go);
                waits.join().expect("a producer")
            });
            block_on(ticks.submit_many((1..BATCH as u64).map(tick))).expect("accepted");
            delay
        });
        let delays = delays.collect();
        drop(go);
        assert!(block_on(store.finish(Duration::from_secs(60))).is_complete());
        delays
    }

    /// The same with a channel.
    pub fn channel(waits: u64) -> Vec<f64> {
        let (go, gate) = mpsc::channel();
        let ended = moment();
        let (sender, mut receiver) = tokio::sync::mpsc::channel(BATCH);
        let consumer = thread::spawn({
            let ended = Arc::clone(&ended);
            move || {
                let mut batch = Vec::with_capacity(BATCH);
                while block_on(receiver.recv_many(&mut batch, BATCH)) > 0 {
                    let _ = gate.recv();
                    batch.clear();
                    ended.now();
                }
            }
        });
        let send = |n| assert!(block_on(sender.send(tick(n))).is_ok());
        // One that has fewer makes room all the same, so wait until it has taken some.
        send(0);
        while sender.capacity() < BATCH {
            thread::yield_now();
        }
        (0..BATCH as u64).for_each(send);
        let delays = (0..waits).map(|n| {
            let delay = thread::scope(|scope| {
                let waits = scope.spawn(|| {
                    send(n);
                    ended.elapsed()
                });
                release(&go);
                waits.join().expect("a producer")
            });
            (1..BATCH as u64).for_each(send);
            delay
        });
        let delays = delays.collect();
        drop(go);
        drop(sender);
        consumer.join().expect("the consumer");
        delays
    }
}

fn main() {
    // `cargo test --benches` wants to see that it runs.
    let small = |full: usize, least: usize| if is_measurement() { full } else { least };
    let rounds = number("MDS_BENCH_ROUNDS", small(9, 1));
    let count = number("MDS_BENCH_COMMITS", small(300, 3)) as u64;
    let seconds = number("MDS_BENCH_SECONDS", small(2, 1)) as u64;
    let waits = number("MDS_BENCH_WAITS", small(200, 3)) as u64;
    let dir = env::var_os("MDS_BENCH_DIR").map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
    let asked = |what: &str| words().is_empty() || words().iter().any(|word| what.contains(word.as_str()));
    let mut table = Table::new("latency");
    table.size("rounds", rounds).size("commits", count as usize);
    let mut receipt = |store: &str, [ours, by_hand]: [Vec<f64>; 2]| {
        let line = table.line(format!("receipt, 1 in flight, {store}"), "us", &ours);
        line.beside("a commit by hand", &by_hand).goal(Goal::RatioAtMost(1.15));
    };
    if asked("receipts") {
        for (store, synchronous) in [("SQLite NORMAL", Synchronous::Normal), ("SQLite FULL", Synchronous::Full)] {
            receipt(store, receipts::sqlite(&dir, synchronous, rounds, count));
        }
        receipt("PostgreSQL", receipts::postgres(rounds, count));
    }
    let quantiles = [("median", 0.5), ("p99", 0.99), ("max", 1.0)];
    if asked("arrivals") {
        let taken = [arrivals::drain_rate(arrivals::Ours::start()), arrivals::drain_rate(arrivals::Channel::start())];
        let drain_rate = taken[0].min(taken[1]);
        let rate = 0.8 * drain_rate;
        let ours = |round| arrivals::delays(arrivals::Ours::start(), rate, seconds, round);
        let channel = |round| arrivals::delays(arrivals::Channel::start(), rate, seconds, round);
        let delays = in_rounds(rounds, [&ours, &channel]);
        for (name, at) in quantiles {
            let [ours, channel] = delays.each_ref().map(|rounds| quantile_of_each(rounds, at));
            let line = table.line(format!("submit at 80 % of the drain rate, {name}"), "us", &ours);
            line.beside("tokio channel", &channel);
        }
    }
    if asked("wake_up") {
        let delays = in_rounds(rounds, [&|_| wake_up::ours(waits), &|_| wake_up::channel(waits)]);
        let interval = CoordinatorSettings::default().flush_interval.as_secs_f64() * 1e6;
        for (name, at) in quantiles {
            let [ours, channel] = delays.each_ref().map(|rounds| quantile_of_each(rounds, at));
            let line = table.line(format!("wake-up from a full queue, {name}"), "us", &ours);
            line.beside("tokio channel", &channel).goal(Goal::AtMost(interval));
        }
    }
    table.finish();
}

/// Returns the samples of each contender in each round.
fn in_rounds<const N: usize>(rounds: usize, contenders: [&dyn Fn(u64) -> Vec<f64>; N]) -> [Vec<Vec<f64>>; N] {
    let mut samples = [const { Vec::new() }; N];
    for round in 0..rounds {
        for place in 0..N {
            let at = (place + round) % N;
            samples[at].push(contenders[at](round as u64));
        }
    }
    samples
}

fn quantile_of_each(rounds: &[Vec<f64>], at: f64) -> Vec<f64> {
    let of = |samples: &Vec<f64>| {
        let mut sorted = samples.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[((sorted.len() - 1) as f64 * at).ceil() as usize]
    };
    rounds.iter().map(of).collect()
}
