//! What a record costs as the store grows: a larger queue, more coordinators, one key that brings all records; the memory
//! of a queued record; and what a store costs that does nothing.
//!
//! `cargo bench --bench scale`; `MDS_BENCH_RECORDS` (default 1000000) and `MDS_BENCH_ROUNDS` (default 7) set the size,
//! `MDS_BENCH_IDLE_SECONDS` (default 20) how long the idle store is looked at. Runs of one round follow each other, by
//! turns. Memory and idle stores are measured in processes of their own, which have done nothing else.
//!
//! 64 coordinators take no more instructions a record than one (callgrind), and more time: the batches that their 256
//! partitions fill are 15 MB, which the caches near a core do not hold; those of one coordinator are 0.2 MB.

#[allow(dead_code, reason = "each bench uses a part of it")]
mod table;

use std::{
    env, fs,
    future::pending,
    hint::black_box,
    process::{Command, exit},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures::{executor::block_on, future::join_all};
use market_data_store::{
    Bar, Batch, Coordinator, CoordinatorSettings, MarketDataStore, Overflow, Record, Settings, Sink, SinkError,
    Timeframe, Timestamp, WriteHandle,
};
use serde::{Deserialize, Serialize};

use self::table::{Goal, Table, by_turns, is_measurement, number, words};

const SYMBOLS: [&str; 8] = ["AAPL", "MSFT", "ES", "NQ", "EURUSD", "BTC-USD", "CL", "GC"];

/// What a process of its own measures.
const CHILD: &str = "MDS_BENCH_CHILD";

/// As large as a bar, with nothing on the heap.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Tick {
    symbol: u64,
    prices: [f64; 12],
    ts: u64,
}

impl Record for Tick {
    const KIND: &'static str = "ticks";

    fn partition_key(&self) -> &str {
        SYMBOLS[self.symbol as usize]
    }
}

fn tick(symbol: u64, ts: u64) -> Tick {
    Tick { symbol, prices: [1.0; 12], ts }
}

/// Counts what reaches it and keeps nothing.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicU64>);

impl<T: Record> Sink<T> for Counting {
    async fn write(&self, batch: &Batch<T>) -> Result<(), SinkError> {
        self.0.fetch_add(batch.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// Never ends a write.
#[derive(Clone)]
struct Held;

impl<T: Record> Sink<T> for Held {
    async fn write(&self, _: &Batch<T>) -> Result<(), SinkError> {
        pending().await
    }
}

/// One way that records go.
#[derive(Clone, Copy)]
struct Case {
    capacity: usize,
    workers: usize,
    coordinators: usize,
    /// How many symbols there are.
    symbols: u64,
    /// A thousand at a time, not one by one.
    is_chunked: bool,
}

const USUAL: Case = Case { capacity: 10_000, workers: 4, coordinators: 1, symbols: 8, is_chunked: false };

/// Returns what a record costs from its submit until all are settled, in nanoseconds.
fn through(case: Case, records: u64) -> f64 {
    let Case { capacity, workers, coordinators, symbols, is_chunked } = case;
    let sink = Counting::default();
    let (store, handles) = start(coordinators, &sink, &CoordinatorSettings::new(capacity).workers(workers));
    let began = Instant::now();
    block_on(async {
        if is_chunked {
            for (first, handle) in (0..records).step_by(1_000).zip(handles.iter().cycle()) {
                let chunk = first..(first + 1_000).min(records);
                handle.submit_many(chunk.map(|n| tick(n % symbols, n))).await.expect("accepted");
            }
        } else {
            // The symbol changes once each coordinator had its turn, so that each has all of them.
            for (n, handle) in (0..records).zip(handles.iter().cycle()) {
                handle.submit(tick(n / coordinators as u64 % symbols, n)).await.expect("accepted");
            }
        }
        // All at once: a flush waits for threads that wake up.
        for settled in join_all(handles.iter().map(WriteHandle::flush)).await {
            settled.expect("settled");
        }
    });
    let took = began.elapsed();
    assert_eq!(sink.0.load(Ordering::Relaxed), records);
    block_on(store.shutdown(Duration::from_secs(5)));
    took.as_nanos() as f64 / records as f64
}

fn start<T: Record>(
    coordinators: usize,
    sink: &(impl Sink<T> + Clone),
    own: &CoordinatorSettings,
) -> (MarketDataStore, Vec<WriteHandle<T>>) {
    let settings = Settings::default().dlq_path(concat!(env!("CARGO_TARGET_TMPDIR"), "/scale"));
    let ids: Vec<String> = (0..coordinators).map(|number| format!("c{number}")).collect();
    let of = |id: &String| Coordinator::new(sink.clone()).settings(own.clone()).id(id.as_str());
    let builder = MarketDataStore::builder(settings);
    let store = ids.iter().map(of).fold(builder, |builder, coordinator| builder.coordinator(coordinator));
    let store = store.spawn().expect("a store");
    let handles = ids.iter().map(|id| store.coordinator_named(id).expect("it was started")).collect();
    (store, handles)
}

/// What is measured in processes of their own.
#[cfg(target_os = "linux")]
mod children {
    use super::*;

    /// Runs this program once more, to measure something with this number, and returns what it measured.
    fn run(what: &str, number: usize) -> Vec<f64> {
        let program = env::current_exe().expect("this program");
        let child = Command::new(program).arg("--bench").env(CHILD, format!("{what} {number}")).output();
        let child = child.expect("this program runs");
        assert!(child.status.success(), "{what}: {}", String::from_utf8_lossy(&child.stderr));
        let text = String::from_utf8(child.stdout).expect("numbers");
        text.split_whitespace().map(|number| number.parse().expect("a number")).collect()
    }

    /// Adds what is measured so.
    pub fn add_to(table: &mut Table, rounds: usize) {
        let queued = if is_measurement() { 1_000_000 } else { 10_000 };
        let one = |what: &str, number: usize| run(what, number)[0];
        if is_asked("evicts") {
            let [deep, shallow] = by_turns(rounds, [&mut || one("depth", queued), &mut || one("depth", 1_000)]);
            let line = table.line(format!("submit that evicts, {queued} queued"), "ns/record", &deep);
            line.beside("1,000 queued", &shallow).goal(Goal::RatioAtMost(1.2));
        }
        if is_asked("memory") {
            for (what, title) in [("tick", "112 bytes without heap"), ("bar", "bars")] {
                let [of_size] = by_turns(rounds.min(3), [&mut || one(what, queued)]);
                let line =
                    table.line(format!("memory of a record, {queued} queued, {title}"), "times its size", &of_size);
                line.goal(Goal::AtMost(1.25));
            }
        }
        if is_asked("idle") {
            let idle: Vec<_> = (0..rounds.min(3)).map(|_| run("idle", 64)).collect();
            let of = |which: usize| idle.iter().map(|figures| figures[which]).collect::<Vec<_>>();
            table.line("64 idle coordinators", "% of a core", &of(0)).goal(Goal::AtMost(0.5));
            table.line("64 idle coordinators", "MB", &of(1)).goal(Goal::AtMost(40.0));
        }
    }

    /// Measures what the parent asked for, and ends this process.
    pub fn measure(what: &str) -> ! {
        let (what, number) = what.split_once(' ').expect("what, and a number");
        let number: usize = number.parse().expect("a number");
        match what {
            "depth" => println!("{}", at_depth(number)),
            "tick" => println!("{}", memory(number, |n| tick(n % 8, n))),
            "bar" => println!("{}", memory(number, bar)),
            "idle" => idle(number),
            other => panic!("{other}?"),
        }
        // What is held is never written.
        exit(0)
    }

    /// Returns what a record costs that evicts the oldest of a full queue, in nanoseconds.
    fn at_depth(capacity: usize) -> f64 {
        let own = CoordinatorSettings::new(capacity).overflow(Overflow::DropOldest);
        let (_store, handles) = start::<Tick>(1, &Held, &own);
        let submit = |n: u64| handles[0].try_submit(tick(n % 8, n)).expect("room is made");
        // The workers have what they can hold, and the rest fills the queue.
        (0..4 * capacity as u64).for_each(submit);
        let records = records();
        let began = Instant::now();
        (0..records).for_each(submit);
        let took = began.elapsed();
        // A partition without a symbol keeps its share.
        assert!(block_on(handles[0].health()).queued > capacity * 9 / 10);
        took.as_nanos() as f64 / records as f64
    }

    fn bar(n: u64) -> Bar {
        let symbol = format!("{}-PERPETUAL", SYMBOLS[n as usize % 8]);
        let price = 100.0 + (n % 997) as f64 / 7.0;
        Bar::new(symbol, Timeframe::MINUTE, Timestamp::from_micros(n as i64 * 60_000_000))
            .ohlc(price, price + 1.0, price - 1.0, price + 0.5)
            .volume(n as f64)
            .vendor("acme")
    }

    /// Returns how many bytes of memory a queued record takes, for each that it has.
    fn memory<T: Record>(records: usize, make: impl Fn(u64) -> T) -> f64 {
        // With room for more, as a partition cannot have the shares of the others.
        let (_store, handles) = start::<T>(1, &Held, &CoordinatorSettings::new(2 * records));
        let before = resident();
        block_on(async {
            for n in 0..records as u64 {
                handles[0].submit(make(n)).await.expect("accepted");
            }
        });
        let health = block_on(handles[0].health());
        assert_eq!(health.queued + health.in_flight, records);
        (resident() - before) as f64 / (records * size_of::<T>()) as f64
    }

    /// Prints how many percent of a core a store takes with which nothing is done, and its memory in MB.
    fn idle(coordinators: usize) {
        let (_store, handles) =
            start::<Tick>(coordinators, &Counting::default(), &CoordinatorSettings::new(USUAL.capacity));
        // Each worker has written something.
        for handle in &handles {
            block_on(handle.submit_many((0..8).map(|n| tick(n, n)))).expect("accepted");
            block_on(handle.flush()).expect("settled");
        }
        let wait = Duration::from_secs(number("MDS_BENCH_IDLE_SECONDS", if is_measurement() { 20 } else { 1 }) as u64);
        let (before, began) = (on_processor(), Instant::now());
        thread::sleep(wait);
        let share = (on_processor() - before).as_secs_f64() / began.elapsed().as_secs_f64();
        println!("{} {}", 100.0 * share, resident() as f64 / 1e6);
        black_box(handles);
    }

    /// Returns the bytes of memory that this process has.
    fn resident() -> u64 {
        let status = fs::read_to_string("/proc/self/status").expect("what Linux says of this process");
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.parse::<u64>().ok()).expect("its memory in KiB") * 1024
    }

    /// Returns the time that all threads of this process have had on the processor.
    fn on_processor() -> Duration {
        let of = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("schedstat")).ok();
        let nanos = |text: String| text.split(' ').next().and_then(|nanos| nanos.parse::<u64>().ok());
        let threads = fs::read_dir("/proc/self/task").expect("the threads of this process");
        Duration::from_nanos(threads.flatten().filter_map(of).filter_map(nanos).sum())
    }
}

fn is_asked(what: &str) -> bool {
    let words = words();
    words.is_empty() || words.iter().any(|word| what.contains(word.as_str()))
}

fn records() -> u64 {
    number("MDS_BENCH_RECORDS", if is_measurement() { 1_000_000 } else { 10_000 }) as u64
}

fn main() {
    if let Ok(what) = env::var(CHILD) {
        children::measure(&what);
    }
    let rounds = number("MDS_BENCH_ROUNDS", if is_measurement() { 7 } else { 1 });
    let mut table = Table::new("scale");
    table.size("records", records() as usize).size("rounds", rounds);
    costs(&mut table, rounds);
    #[cfg(target_os = "linux")]
    children::add_to(&mut table, rounds);
    table.finish();
}

/// Adds what a record costs in one case beside another.
fn costs(table: &mut Table, rounds: usize) {
    let flat = Goal::RatioAtMost(1.2);
    let small = Case { capacity: 1_000, ..USUAL };
    let large = Case { capacity: 1_000_000, ..USUAL };
    let many = Case { coordinators: 64, ..USUAL };
    let hot = Case { symbols: 1, ..USUAL };
    let alone = Case { workers: 1, ..hot };
    for (what, case, peer, than, goal) in [
        ("capacity 1,000,000", large, "1,000", small, flat),
        ("64 coordinators", many, "1", USUAL, flat),
        ("one hot key, 4 workers", hot, "8 keys", USUAL, flat),
        ("one hot key, 4 workers", hot, "1 worker", alone, Goal::RatioAtMost(1.0)),
    ] {
        for (is_chunked, how) in [(false, "submit"), (true, "submit_many")] {
            let title = format!("{how}, {what}");
            if !is_asked(&title) {
                continue;
            }
            let [ours, others] = by_turns(
                rounds,
                [&mut || through(Case { is_chunked, ..case }, records()), &mut || {
                    through(Case { is_chunked, ..than }, records())
                }],
            );
            table.line(title, "ns/record", &ours).beside(peer, &others).goal(goal);
        }
    }
}
