//! Whatever the store does, the books balance and the last update of a key is the one that stays.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures::executor::block_on;
#[cfg(feature = "sqlite")]
use market_data_store::{
    Bar, Timeframe, Timestamp,
    sink::{SqliteOptions, SqliteSink},
};
use market_data_store::{
    Batch, Coordinator, MarketDataStore, Overflow, Record, Sink, SinkError, WriteHandle, coordinator::FaultyActor,
    settings::CoordinatorSettings,
};
use parking_lot::Mutex;
#[cfg(feature = "sqlite")]
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::support::{PATIENCE, Tick, buried, coordinator_settings, settings, size_of_test, within};

/// Stores, but for some batches that fail transiently and some records that it refuses for good.
#[derive(Clone, Default)]
struct Moody {
    stored: Arc<Mutex<Vec<u64>>>,
    transient: Arc<AtomicUsize>,
    /// How often the batch that begins so has failed: one that never gets through would rightly be given up.
    failed: Arc<Mutex<HashMap<(u64, usize), u32>>>,
    permanent: Arc<AtomicUsize>,
}

fn is_bad(id: u64) -> bool {
    id % 1_000 == 999
}

impl Sink<Tick> for Moody {
    async fn write(&self, batch: &Batch<Tick>) -> Result<(), SinkError> {
        if fastrand::u8(..10) == 0 {
            let mut failed = self.failed.lock();
            let failures = failed.entry((batch[0].id, batch.len())).or_default();
            if *failures < 3 {
                *failures += 1;
                self.transient.fetch_add(1, Ordering::Relaxed);
                return Err(SinkError::transient("busy"));
            }
        }
        if batch.iter().any(|tick| is_bad(tick.id)) {
            self.permanent.fetch_add(1, Ordering::Relaxed);
            return Err(SinkError::permanent("value out of range"));
        }
        self.stored.lock().extend(batch.iter().map(|tick| tick.id));
        Ok(())
    }
}

/// Red when a record is stored and buried, neither, or twice; when a good one is buried; or when a counter is off.
#[test]
fn every_record_has_exactly_one_end() {
    let records = size_of_test("MDS_TEST_CONSERVATION", 200_000) as u64;
    for overflow in [Overflow::Block, Overflow::DropOldest, Overflow::Error, Overflow::Conflate] {
        let dir = tempfile::tempdir().unwrap();
        let sink = Moody::default();
        let mut own: CoordinatorSettings = coordinator_settings(1_000, 4, 50);
        own.overflow = overflow;
        let mut settings = settings();
        settings.dlq_path = dir.path().join("letters");
        settings.retry.initial_backoff = Duration::from_millis(1);
        settings.retry.max_backoff = Duration::from_millis(2);
        settings.circuit.half_open_after = Duration::from_millis(5);
        let coordinator = Coordinator::new(sink.clone()).settings(own);
        let store = MarketDataStore::builder(settings).coordinator(coordinator).spawn().unwrap();
        let handle: WriteHandle<Tick> = store.coordinator().unwrap();
        let producers: Vec<_> = (0..8_u64)
            .map(|producer| {
                let handle = handle.clone();
                thread::spawn(move || {
                    let mut accepted = Vec::new();
                    for id in (producer..records).step_by(8) {
                        let tick = Tick { symbol: format!("S{}", id % 31), id };
                        if block_on(handle.submit(tick)).is_ok() {
                            accepted.push(id);
                        }
                    }
                    accepted
                })
            })
            .collect();
        let accepted: HashSet<u64> = producers.into_iter().flat_map(|producer| producer.join().unwrap()).collect();
        block_on(within(PATIENCE, handle.flush())).unwrap();
        let report = block_on(within(PATIENCE, store.shutdown(PATIENCE)));
        assert!(sink.transient.load(Ordering::Relaxed) > 0, "no write failed, so nothing was tested");

        let stored = sink.stored.lock().clone();
        let letters = buried(&dir.path().join("letters"));
        assert!(letters.iter().all(|&id| is_bad(id)), "a good record was given up");
        assert!(stored.iter().all(|&id| !is_bad(id)));
        let ends: HashSet<u64> = stored.iter().chain(&letters).copied().collect();
        assert_eq!(ends.len(), stored.len() + letters.len(), "a record has two ends ({overflow:?})");
        assert!(ends.is_subset(&accepted));
        assert_eq!(report.submitted() as usize, accepted.len());
        assert_eq!((report.stored() as usize, report.dead_lettered() as usize), (stored.len(), letters.len()));
        assert_eq!(report.unsettled(), 0);
        let dropped = accepted.len() - ends.len();
        assert_eq!(report.dropped() as usize, dropped, "{overflow:?}");
        let drops = [Overflow::DropOldest, Overflow::Conflate].contains(&overflow);
        assert!(drops || dropped == 0, "{dropped} records vanished ({overflow:?})");
        if overflow == Overflow::Block {
            assert!(sink.permanent.load(Ordering::Relaxed) > 0 && !letters.is_empty());
        }
    }
}

/// One update of a thing.
#[derive(Clone, Serialize, Deserialize)]
struct Update {
    key: u32,
    /// Whose order counts: that of the key, or none at all in the control.
    partition: String,
    version: u64,
}

impl Record for Update {
    const KIND: &'static str = "updates";

    fn partition_key(&self) -> &str {
        &self.partition
    }
}

/// Keeps the last version of each key, and counts how often an older one came later. It can be cut off before and
/// after.
#[derive(Clone, Default)]
struct Versions {
    last: Arc<Mutex<HashMap<u32, u64>>>,
    inversions: Arc<AtomicUsize>,
}

/// What a store takes its time for, so that most who are killed are killed in the middle of a write.
async fn take_time() {
    match fastrand::u8(..8) {
        0 => tokio::time::sleep(Duration::from_millis(1)).await,
        _ => tokio::task::yield_now().await,
    }
}

impl Sink<Update> for Versions {
    async fn write(&self, batch: &Batch<Update>) -> Result<(), SinkError> {
        take_time().await;
        {
            let mut last = self.last.lock();
            for update in batch.iter() {
                let before = last.insert(update.key, update.version);
                if before.is_some_and(|before| before > update.version) {
                    self.inversions.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        take_time().await;
        Ok(())
    }
}

/// Fails, kills the worker that writes, and sees who is killed by others.
#[derive(Clone)]
pub struct Rough<S> {
    pub sink: S,
    stored: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    killed: Arc<AtomicUsize>,
    cut_off: Arc<AtomicUsize>,
    /// Batches that hold a key twice.
    pub crowded: Arc<AtomicUsize>,
}

impl<S> Rough<S> {
    fn new(sink: S) -> Self {
        let [stored, failed, killed, cut_off, crowded] = std::array::from_fn(|_| Arc::default());
        Self { sink, stored, failed, killed, cut_off, crowded }
    }
}

/// Panics when it is dropped: as the payload of a panic it takes the worker with it that catches it.
struct Deadly;

impl Drop for Deadly {
    fn drop(&mut self) {
        panic!("the worker dies of this");
    }
}

/// Counts a write that does not come to its end.
struct CutOff<'a>(&'a AtomicUsize);

impl Drop for CutOff<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a record is an update of.
pub trait Keyed {
    fn key(&self) -> (String, i64);
}

impl Keyed for Update {
    fn key(&self) -> (String, i64) {
        (String::new(), self.key.into())
    }
}

impl Keyed for Bar {
    fn key(&self) -> (String, i64) {
        (self.symbol.to_string(), self.ts.as_micros())
    }
}

impl<T: Record + Keyed, S: Sink<T>> Sink<T> for Rough<S> {
    async fn write(&self, batch: &Batch<T>) -> Result<(), SinkError> {
        if fastrand::u8(..10) == 0 {
            self.failed.fetch_add(1, Ordering::Relaxed);
            return Err(SinkError::transient("busy"));
        }
        if fastrand::u16(..50) == 0 {
            self.killed.fetch_add(1, Ordering::Relaxed);
            std::panic::panic_any(Deadly);
        }
        let keys: HashSet<_> = batch.iter().map(Keyed::key).collect();
        self.crowded.fetch_add(usize::from(keys.len() < batch.len()), Ordering::Relaxed);
        let cut_off = CutOff(&self.cut_off);
        let written = self.sink.write(batch).await;
        std::mem::forget(cut_off);
        self.stored.fetch_add(batch.len(), Ordering::Relaxed);
        written
    }
}

/// How long a whole run may take, with all the waits for workers that are replaced.
const LONG: Duration = Duration::from_secs(300);
pub const KEYS: u64 = 1_000;
const WORKERS: usize = 4;
/// The keys are updated in turn, and a batch holds almost a turn of its partition: none twice, so that a batch that is
/// written once more inverts nothing, and most of those that the next one holds, so that two batches cannot change
/// places unseen.
const BATCH: usize = 200;

/// Submits updates to a sink, at the fastest, and kills a worker in the middle of a write at so many random moments.
pub fn run_updates<T: Record + Keyed, S: Sink<T> + Clone>(sink: S, updates: Vec<T>, deaths: usize) -> Rough<S> {
    let sink = Rough::new(sink);
    let mut settings = settings();
    settings.retry.initial_backoff = Duration::from_millis(1);
    settings.retry.max_backoff = Duration::from_millis(3);
    settings.circuit.failure_threshold = NonZeroU32::new(3);
    settings.circuit.half_open_after = Duration::from_millis(2);
    let coordinator = Coordinator::new(sink.clone()).settings(coordinator_settings(2_000, WORKERS, BATCH));
    let store = MarketDataStore::builder(settings).coordinator(coordinator).spawn().unwrap();
    let handle: WriteHandle<T> = store.coordinator().unwrap();
    // Behind so many updates; not behind the last ones, for then there may be no one left to be killed.
    let mut moments: Vec<_> = (0..deaths).map(|_| fastrand::usize(..updates.len() * 4 / 5)).collect();
    moments.sort_unstable();
    let all = updates.len();
    thread::scope(|scope| {
        let killer = scope.spawn(|| {
            for moment in moments {
                while sink.stored.load(Ordering::Relaxed) < moment {
                    thread::sleep(Duration::from_micros(fastrand::u64(..1_000)));
                }
                let (begun, before) = (Instant::now(), sink.cut_off.load(Ordering::Relaxed));
                while sink.cut_off.load(Ordering::Relaxed) == before {
                    let stored = sink.stored.load(Ordering::Relaxed);
                    handle.fault(FaultyActor::Worker(fastrand::usize(..WORKERS))).strike();
                    // Whom it met may have been between two writes. Then there is time to write before the next is met.
                    let goes_on = || sink.stored.load(Ordering::Relaxed) > stored + 500;
                    while sink.cut_off.load(Ordering::Relaxed) == before && !goes_on() {
                        // On a busy machine the updates can come to their end before all have been killed.
                        if sink.stored.load(Ordering::Relaxed) >= all {
                            return;
                        }
                        assert!(begun.elapsed() < PATIENCE, "no one dies");
                        thread::sleep(Duration::from_micros(100));
                    }
                }
            }
        });
        block_on(async {
            within(LONG, handle.submit_many(updates)).await.unwrap();
            within(LONG, handle.flush()).await.unwrap();
        });
        killer.join().unwrap();
    });
    assert!(block_on(within(PATIENCE, store.shutdown(PATIENCE))).is_complete());
    let [failed, killed, cut_off] =
        [&sink.failed, &sink.killed, &sink.cut_off].map(|count| count.load(Ordering::Relaxed));
    println!("{failed} writes failed, {killed} killed their worker, {cut_off} were cut off by its death");
    assert!(failed > 0 && 2 * cut_off >= deaths, "{failed} writes failed, {cut_off} of {deaths} were cut off");
    sink
}

/// How many workers are killed while so many updates are written.
pub fn deaths(updates: u64) -> usize {
    (updates / 10_000).max(10) as usize
}

/// Red when a retry, a probe, a half of a batch or the lease of a dead worker overtakes a later update of its key. The
/// control shows that the test would see it.
#[test]
fn updates_of_one_key_never_overtake_each_other() {
    let count = size_of_test("MDS_TEST_ORDER", 200_000) as u64;
    let updates = |by_key: bool| {
        let update = |version: u64| {
            let key = (version % KEYS) as u32;
            Update { key, partition: if by_key { key.to_string() } else { version.to_string() }, version }
        };
        (0..count).map(update).collect::<Vec<_>>()
    };
    let sink = run_updates(Versions::default(), updates(true), deaths(count));
    assert!(sink.killed.load(Ordering::Relaxed) > 0, "no worker died of its write");
    assert_eq!(sink.crowded.load(Ordering::Relaxed), 0, "batches that hold a key twice");
    assert_eq!(sink.sink.inversions.load(Ordering::Relaxed), 0);
    let last = sink.sink.last.lock();
    assert_eq!(last.len() as u64, KEYS);
    assert!(last.iter().all(|(&key, &version)| version == count - KEYS + u64::from(key)));

    let control = run_updates(Versions::default(), updates(false), deaths(count));
    assert!(
        control.sink.inversions.load(Ordering::Relaxed) > 0,
        "partitions were ignored, and nothing was out of order?"
    );
}

/// The same in a database file, which may go on with a write whose worker died, and commit it. The table itself counts
/// what is older than what it takes the place of; that it would is seen at the end.
#[cfg(feature = "sqlite")]
#[test]
fn updates_of_one_key_never_overtake_each_other_in_a_database() {
    let count = size_of_test("MDS_TEST_ORDER_SQLITE", 40_000) as u64;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bars.db");
    let sink = SqliteSink::open::<Bar>(SqliteOptions::new(&path)).unwrap();
    let update = |version: u64| {
        let bar = Bar::new(format!("K{}", version % KEYS), Timeframe::MINUTE, Timestamp::from_micros(60_000_000));
        bar.ohlc(1.0, 1.0, 1.0, 1.0).volume(version as f64)
    };
    block_on(sink.write(&Batch::from(vec![update(0)]))).unwrap();
    let database = Connection::open(&path).unwrap();
    database.busy_timeout(PATIENCE).unwrap();
    let trigger = "CREATE TABLE inversions (volume REAL);
                   CREATE TRIGGER inverted BEFORE UPDATE ON bars WHEN old.volume > new.volume
                   BEGIN INSERT INTO inversions VALUES (new.volume); END";
    database.execute_batch(trigger).unwrap();
    let number = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();

    let rough = run_updates(sink.clone(), (0..count).map(update).collect(), deaths(count));
    assert_eq!(rough.crowded.load(Ordering::Relaxed), 0, "batches that hold a key twice");
    assert_eq!(number("SELECT count(*) FROM inversions"), 0);
    assert_eq!(number("SELECT count(*) FROM bars") as u64, KEYS);
    let last = "SELECT count(*) FROM bars WHERE volume = CAST(substr(symbol, 2) AS INTEGER) + ";
    assert_eq!(number(&format!("{last}{}", count - KEYS)) as u64, KEYS);
    block_on(rough.sink.write(&Batch::from(vec![update(0)]))).unwrap();
    assert_eq!(number("SELECT count(*) FROM inversions"), 1, "an older one was not seen");
    block_on(sink.close());
}
