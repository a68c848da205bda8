//! A SQLite store that another process locks, under load: how often it is tried meanwhile.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures::executor::block_on;
use market_data_store::{
    Bar, Batch, Coordinator, Health, Level, MarketDataStore, Sink, SinkError, Timeframe, Timestamp, WriteHandle,
    coordinator::CircuitState,
    sink::{SqliteOptions, SqliteSink},
};
use rusqlite::Connection;

use crate::support::{PATIENCE, buried, coordinator_settings, count_opened, record_in, settings, size_of_test, within};

/// The database; what makes a process the one that locks it.
const DATABASE: &str = "MDS_TEST_LOCKED_DATABASE";

/// Locks the database at the first line of standard input, unlocks it at the next, and so on; says when it has.
fn child(database: &Path) {
    let connection = Connection::open(database).unwrap();
    connection.busy_timeout(PATIENCE).unwrap();
    for (number, line) in std::io::stdin().lines().enumerate() {
        line.unwrap();
        connection.execute_batch(if number % 2 == 0 { "BEGIN IMMEDIATE" } else { "ROLLBACK" }).unwrap();
        println!("\ndone");
    }
}

/// The process that locks the database.
struct Other {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Other {
    fn start(test: &str, database: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]).env(DATABASE, database);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, stdin, lines: BufReader::new(stdout).lines() }
    }

    /// Makes it lock or unlock, and returns when it has.
    fn turn(&mut self) {
        self.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        assert!(self.lines.any(|line| line.unwrap() == "done"), "it ended");
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The SQLite sink, with a count of its writes.
#[derive(Clone)]
struct Counted {
    sink: SqliteSink,
    begun: Arc<AtomicUsize>,
    now: Arc<AtomicUsize>,
    /// The most at once while it was watched.
    watched: Arc<AtomicBool>,
    most: Arc<AtomicUsize>,
}

impl Sink<Bar> for Counted {
    async fn write(&self, batch: &Batch<Bar>) -> Result<(), SinkError> {
        self.begun.fetch_add(1, Ordering::AcqRel);
        let now = self.now.fetch_add(1, Ordering::AcqRel) + 1;
        if self.watched.load(Ordering::Acquire) {
            self.most.fetch_max(now, Ordering::AcqRel);
        }
        let written = self.sink.write(batch).await;
        self.now.fetch_sub(1, Ordering::AcqRel);
        written
    }
}

fn until(handle: &WriteHandle<Bar>, mut reached: impl FnMut(&Health) -> bool) {
    block_on(within(PATIENCE, async { while !reached(&handle.health().await) {} }));
}

/// Red when the locked store is tried more often than failures open the circuit and the probes allow, when two probes
/// go out at once, or when the lock costs a record.
#[test]
fn a_database_locked_by_another_process_is_tried_by_one_probe_at_a_time() {
    if let Some(database) = std::env::var_os(DATABASE) {
        return child(Path::new(&database));
    }
    let rounds = size_of_test("MDS_TEST_OUTAGES", 3);
    let lasts = Duration::from_millis(size_of_test("MDS_TEST_OUTAGE_MS", 200) as u64);
    let probe_every = Duration::from_millis(20);
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("bars.db");
    let mut options = SqliteOptions::new(&database);
    // Less than a probe waits for its turn: none of them waits in SQLite for the end of the lock.
    options.busy_timeout = Duration::from_millis(5);
    let sink = Counted {
        sink: SqliteSink::open::<Bar>(options).unwrap(),
        begun: Arc::default(),
        now: Arc::default(),
        watched: Arc::default(),
        most: Arc::default(),
    };
    let mut own = settings();
    own.dlq_path = dir.path().join("letters");
    own.circuit.half_open_after = probe_every;
    own.retry.initial_backoff = Duration::from_millis(1);
    own.retry.max_backoff = Duration::from_millis(2);
    let failures = own.circuit.failure_threshold.unwrap().get() as usize;
    let (workers, coordinator) = (4, Coordinator::new(sink.clone()).settings(coordinator_settings(200, 4, 20)));
    let store = MarketDataStore::builder(own).coordinator(coordinator).spawn().unwrap();
    let handle = store.coordinator::<Bar>().unwrap();
    let events = record_in(&store);
    let mut other =
        Other::start("locked::a_database_locked_by_another_process_is_tried_by_one_probe_at_a_time", &database);
    let (stop, next) = (AtomicBool::new(false), AtomicI64::new(0));
    let (mut tries, mut drains, mut opened) = (Vec::new(), Vec::new(), 0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Acquire) {
                    let id = next.fetch_add(1, Ordering::AcqRel);
                    let bar = Bar::new(format!("K{}", id % 31), Timeframe::MINUTE, Timestamp::from_micros(id));
                    let bar = bar.ohlc(1.0, 1.0, 1.0, 1.0);
                    block_on(handle.submit_timeout(bar, PATIENCE)).expect("a free credit sooner or later");
                }
            });
        }
        for _ in 0..rounds {
            let stored = block_on(handle.health()).stored;
            until(&handle, |health| health.stored > stored + 500);
            other.turn();
            let (begun, before) = (Instant::now(), sink.begun.load(Ordering::Acquire));
            // Once no worker has a batch any more nothing can close it: from then on there are probes.
            until(&handle, |health| health.circuit == CircuitState::Open && health.in_flight == health.parked);
            let in_a_row = sink.begun.load(Ordering::Acquire) - before;
            sink.watched.store(true, Ordering::Release);
            thread::sleep(lasts);
            until(&handle, |_| sink.begun.load(Ordering::Acquire) - before > in_a_row);
            sink.watched.store(false, Ordering::Release);
            let (tried, health) = (sink.begun.load(Ordering::Acquire) - before, block_on(handle.health()));
            assert_ne!(health.circuit, CircuitState::Closed);
            assert_eq!(health.level, Level::Hard);
            let probes = begun.elapsed().as_millis().div_ceil(probe_every.as_millis()) as usize + 1;
            block_on(within(PATIENCE, store.feedback().idle()));
            let times = count_opened(&events) - opened;
            opened += times;
            // Each worker may have had a write under way with each that counted. A write that was done just before it
            // was locked can close the circuit once more.
            let bound = times * (failures * workers + workers) + probes;
            assert!(tried <= bound, "{tried} writes, at most {bound} are right");
            tries.push((tried, bound));
            let back = Instant::now();
            other.turn();
            block_on(within(PATIENCE, handle.flush())).unwrap();
            drains.push(back.elapsed());
        }
        stop.store(true, Ordering::Release);
    });
    block_on(within(PATIENCE, handle.flush())).unwrap();
    println!("writes while it was locked, and the bound: {tries:?}; from its end to drained: {drains:?}");
    assert_eq!(sink.most.load(Ordering::Acquire), 1, "probes at once");
    let report = block_on(within(PATIENCE, store.shutdown(PATIENCE)));
    let submitted = next.load(Ordering::Acquire);
    assert_eq!((report.submitted(), report.stored(), report.unsettled()), (submitted as u64, submitted as u64, 0));
    let database = Connection::open(&database).unwrap();
    let mut rows = database.prepare("SELECT ts FROM bars").unwrap();
    let rows: BTreeSet<i64> = rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(rows.into_iter().eq(0..submitted));
    assert!(buried(&dir.path().join("letters")).is_empty());
}
