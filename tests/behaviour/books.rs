//! Whatever the store does, the books balance and the last update of a key is the one that stays.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use futures::executor::block_on;
use market_data_store::{
    Batch, Coordinator, MarketDataStore, Record, Sink, SinkError, WriteHandle, policy::Overflow,
    settings::CoordinatorSettings,
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::support::{PATIENCE, Tick, buried, coordinator_settings, settings, size_of_test, within};

/// Stores, but for some batches that fail transiently and some records that it refuses for good.
#[derive(Clone)]
struct Moody {
    stored: Arc<Mutex<Vec<u64>>>,
    transient: Arc<AtomicUsize>,
    permanent: Arc<AtomicUsize>,
}

fn is_bad(id: u64) -> bool {
    id % 1_000 == 999
}

impl Sink<Tick> for Moody {
    async fn write(&self, batch: &Batch<Tick>) -> Result<(), SinkError> {
        if fastrand::u8(..10) == 0 {
            self.transient.fetch_add(1, Ordering::Relaxed);
            return Err(SinkError::transient("busy"));
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
    for overflow in [Overflow::Block, Overflow::DropOldest, Overflow::Error] {
        let dir = tempfile::tempdir().unwrap();
        let sink = Moody { stored: Arc::default(), transient: Arc::default(), permanent: Arc::default() };
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
        assert!(overflow == Overflow::DropOldest || dropped == 0, "{dropped} records vanished ({overflow:?})");
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

    type Key = u32;

    fn key(&self) -> u32 {
        self.key
    }

    fn partition_key(&self) -> &str {
        &self.partition
    }
}

/// Keeps the last version of each key, counts how often an older one came later, fails, and kills workers.
#[derive(Clone, Default)]
struct Versions {
    last: Arc<Mutex<HashMap<u32, u64>>>,
    inversions: Arc<AtomicUsize>,
    failed: Arc<AtomicUsize>,
    killed: Arc<AtomicUsize>,
}

/// Panics when it is dropped: as the payload of a panic it takes the worker with it that catches it.
struct Deadly;

impl Drop for Deadly {
    fn drop(&mut self) {
        panic!("the worker dies of this");
    }
}

impl Sink<Update> for Versions {
    async fn write(&self, batch: &Batch<Update>) -> Result<(), SinkError> {
        if fastrand::u8(..10) == 0 {
            self.failed.fetch_add(1, Ordering::Relaxed);
            return Err(SinkError::transient("busy"));
        }
        if fastrand::u16(..400) == 0 {
            self.killed.fetch_add(1, Ordering::Relaxed);
            std::panic::panic_any(Deadly);
        }
        tokio::task::yield_now().await;
        let mut last = self.last.lock();
        for update in batch.iter() {
            let before = last.insert(update.key, update.version);
            if before.is_some_and(|before| before > update.version) {
                self.inversions.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

/// Submits updates of 1,000 keys and returns what the sink saw; `by_key` keeps the updates of a key in one partition.
fn run_updates(updates: u64, by_key: bool) -> Versions {
    let sink = Versions::default();
    let mut settings = settings();
    settings.retry.initial_backoff = Duration::from_millis(1);
    settings.retry.max_backoff = Duration::from_millis(3);
    settings.circuit.failure_threshold = NonZeroU32::new(3);
    settings.circuit.half_open_after = Duration::from_millis(2);
    let coordinator = Coordinator::new(sink.clone()).settings(coordinator_settings(2_000, 4, 50));
    let store = MarketDataStore::builder(settings).coordinator(coordinator).spawn().unwrap();
    let handle: WriteHandle<Update> = store.coordinator().unwrap();
    let updates = (0..updates).map(|version| {
        let key = (version % 1_000) as u32;
        let partition = if by_key { key.to_string() } else { version.to_string() };
        Update { key, partition, version }
    });
    block_on(async {
        within(PATIENCE, handle.submit_many(updates)).await.unwrap();
        within(PATIENCE, handle.flush()).await.unwrap();
        assert!(within(PATIENCE, store.shutdown(PATIENCE)).await.is_complete());
    });
    sink
}

/// Red when a retry, a probe, a half of a batch or the lease of a dead worker overtakes a later update of its key. The
/// control shows that the test would see it.
#[test]
fn updates_of_one_key_never_overtake_each_other() {
    let updates = size_of_test("MDS_TEST_ORDER", 200_000) as u64;
    let sink = run_updates(updates, true);
    let (failed, killed) = (sink.failed.load(Ordering::Relaxed), sink.killed.load(Ordering::Relaxed));
    assert!(failed > 0 && killed > 0, "{failed} writes failed and {killed} workers died");
    assert_eq!(sink.inversions.load(Ordering::Relaxed), 0);
    let last = sink.last.lock();
    assert_eq!(last.len(), 1_000);
    assert!(last.iter().all(|(&key, &version)| version == updates - 1_000 + u64::from(key)));

    let control = run_updates(updates, false);
    assert!(control.inversions.load(Ordering::Relaxed) > 0, "partitions were ignored, and nothing was out of order?");
}
