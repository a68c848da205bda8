//! What a worker does when its sink fails, panics, or takes the worker with it.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    panic::panic_any,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::executor::block_on;
use market_data_store::{
    Batch, Coordinator, Level, MarketDataStore, Overflow, Settings, Sink, SinkError, WriteHandle,
    coordinator::CircuitState, coordinator::FaultyActor, settings::CoordinatorSettings, settings::RetryPolicy,
    sink::MemorySink,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::support::{PATIENCE, Tick, coordinator_settings, log, tick, within};

const FAST: RetryPolicy = RetryPolicy {
    initial_backoff: Duration::from_millis(1),
    max_backoff: Duration::from_millis(2),
    multiplier: 2.0,
    jitter: true,
    max_attempts: NonZeroU32::new(1_000_000).unwrap(),
};

fn settings(retry: RetryPolicy) -> Settings {
    let mut settings = crate::support::settings();
    settings.retry = retry;
    // Here a failure is the batch's own business; what an outage is has tests of its own.
    settings.circuit.failure_threshold = None;
    settings
}

/// A store of one coordinator, `id`, on threads of its own.
fn spawn(id: &str, sink: impl Sink<Tick>, own: CoordinatorSettings) -> (MarketDataStore, WriteHandle<Tick>) {
    let coordinator = Coordinator::new(sink).id(id).settings(own);
    let store = MarketDataStore::builder(settings(FAST)).coordinator(coordinator).spawn().unwrap();
    let handle = store.coordinator().unwrap();
    (store, handle)
}

/// The same on the test's own arbiter, for a paused clock.
async fn start_here(
    id: &str,
    sink: impl Sink<Tick>,
    own: CoordinatorSettings,
    retry: RetryPolicy,
) -> (MarketDataStore, WriteHandle<Tick>) {
    let coordinator = Coordinator::new(sink).id(id).settings(own);
    let builder = MarketDataStore::builder(settings(retry)).coordinator(coordinator).on_current_arbiter();
    let store = builder.start().await.unwrap();
    let handle = store.coordinator().unwrap();
    (store, handle)
}

fn ids(batch: &[Tick]) -> Vec<u64> {
    batch.iter().map(|record| record.id).collect()
}

fn deaths(id: &str) -> usize {
    let id = format!("coordinator_id=\"{id}\"");
    log().iter().filter(|line| line.contains("a worker died") && line.contains(&id)).count()
}

/// How a sink leaves its write the hard way.
#[derive(Clone, Copy)]
enum Panic {
    BeforeTheFuture,
    InsideTheFuture,
    /// What is thrown panics again when it is dropped, which takes the worker with it.
    WithItsWorker,
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("the payload of a panic panics");
    }
}

/// When each write began, and what it was to write.
type Writes = Arc<Mutex<Vec<(Instant, Vec<u64>)>>>;

/// Panics at its first writes, then stores. Notes when each write began.
struct Panicking {
    how: Panic,
    times: AtomicUsize,
    writes: Writes,
    store: MemorySink<Tick>,
}

impl Panicking {
    fn new(how: Panic, times: usize, store: &MemorySink<Tick>) -> Self {
        Self { how, times: times.into(), writes: Arc::default(), store: store.clone() }
    }
}

impl Sink<Tick> for Panicking {
    fn write(&self, batch: &Batch<Tick>) -> impl Future<Output = Result<(), SinkError>> + Send {
        self.writes.lock().push((Instant::now(), ids(batch)));
        let panics = self.times.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok();
        match (panics, self.how) {
            (true, Panic::BeforeTheFuture) => panic!("before the future"),
            (true, Panic::WithItsWorker) => panic_any(Bomb),
            _ => {}
        }
        async move {
            tokio::task::yield_now().await;
            assert!(!panics, "inside the future");
            self.store.write(batch).await
        }
    }
}

/// Red when a panic is not caught, so that the worker dies of it, or counts as permanent.
#[test]
fn a_panic_in_a_write_is_a_transient_failure_and_the_worker_lives() {
    log();
    for (id, how) in [("panic-before", Panic::BeforeTheFuture), ("panic-inside", Panic::InsideTheFuture)] {
        let store = MemorySink::new();
        let sink = Panicking::new(how, 3, &store);
        let writes = Arc::clone(&sink.writes);
        let (running, handle) = spawn(id, sink, coordinator_settings(100, 1, 2));
        block_on(within(PATIENCE, handle.submit_many((0..10).map(|id| tick("ES", id))))).unwrap();
        block_on(within(PATIENCE, handle.flush())).unwrap();
        assert!(store.records().iter().map(|record| record.id).eq(0..10));
        assert_eq!(writes.lock().len(), 5 + 3, "three writes panicked and were tried again");
        assert_eq!(block_on(handle.health()).workers_alive, 1);
        assert_eq!(deaths(id), 0);
        assert!(block_on(running.shutdown(PATIENCE)).is_complete());
    }
}

/// Red when a failed batch goes to the back of its partition, or the next one is taken before it is stored.
#[test]
fn a_failed_batch_is_tried_again_before_anything_else_of_its_partition() {
    let sink = MemorySink::<Tick>::new();
    let tries = Arc::new(Mutex::new(Vec::<(Vec<Tick>, bool)>::new()));
    let failed = Arc::new(AtomicUsize::new(0));
    sink.fail_when({
        let (tries, failed) = (Arc::clone(&tries), Arc::clone(&failed));
        move |batch| {
            let fail = fails(tries.lock().len());
            tries.lock().push((batch.to_vec(), !fail));
            failed.fetch_add(usize::from(fail), Ordering::AcqRel);
            fail.then(|| SinkError::transient("away"))
        }
    });
    let (store, handle) = spawn("retries", sink.clone(), coordinator_settings(100, 3, 4));
    block_on(within(PATIENCE, handle.submit_many((0..400).map(|id| tick(format!("K{}", id % 9), id))))).unwrap();
    block_on(within(PATIENCE, handle.flush())).unwrap();
    assert!(failed.load(Ordering::Acquire) > 10, "too few failures to prove anything");

    // Of each symbol, all that was tried: a batch again and again until it is stored, then the next.
    let mut last: HashMap<String, (u64, bool)> = HashMap::new();
    for (batch, stored) in tries.lock().iter() {
        let mut firsts: HashMap<&str, u64> = HashMap::new();
        batch.iter().for_each(|record| _ = firsts.entry(&record.symbol).or_insert(record.id));
        for (symbol, first) in firsts {
            if let Some(&(before, before_stored)) = last.get(symbol) {
                assert!(
                    if before_stored { first > before } else { first == before },
                    "{symbol}: {first} after {before}"
                );
            }
            let newest = batch.iter().filter(|record| record.symbol == symbol).map(|record| record.id).max();
            last.insert(symbol.to_owned(), if *stored { (newest.unwrap(), true) } else { (first, false) });
        }
    }
    let mut stored = ids(&sink.records());
    stored.sort_unstable();
    assert!(stored.into_iter().eq(0..400), "each once");
    assert!(block_on(store.shutdown(PATIENCE)).is_complete());
}

/// Fails about every third try.
fn fails(tried: usize) -> bool {
    [true, false, false, true, true, false, false].get(tried % 7) == Some(&true)
}

/// Red when the good records go down with the bad one, when the bad one is dropped instead of kept, or when the
/// coordinator stops for it.
#[actix::test]
async fn a_permanent_failure_costs_only_the_record_at_fault() {
    let dir = tempfile::tempdir().unwrap();
    let sink = MemorySink::new();
    sink.fail_when(|batch: &Batch<Tick>| {
        batch.iter().any(|tick| tick.id == 37).then(|| SinkError::permanent("value out of range"))
    });
    let mut own = settings(FAST);
    own.dlq_path = dir.path().join("letters");
    own.coordinator = coordinator_settings(100, 20, 80);
    let store = MarketDataStore::builder(own).coordinator(Coordinator::new(sink.clone())).start().await.unwrap();
    let handle = store.coordinator::<Tick>().unwrap();
    handle.submit_many((0..100).map(|id| tick("ES", id))).await.unwrap();
    within(PATIENCE, handle.flush()).await.unwrap();

    let mut stored = ids(&sink.records());
    stored.sort_unstable();
    assert!(stored.into_iter().eq((0..100).filter(|&id| id != 37)));
    let report = store.shutdown(PATIENCE).await;
    assert_eq!((report.stored(), report.dead_lettered(), report.unsettled()), (99, 1, 0));
    let files = std::fs::read_dir(dir.path().join("letters")).unwrap().map(|file| file.unwrap().path());
    let letters: String = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "ndjson"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    assert_eq!(letters.lines().count(), 1, "{letters}");
    assert!(letters.contains(r#""id":37"#) && letters.contains("value out of range"), "{letters}");
}

/// Red when a record waits for the next tick of some interval, or is written before its time.
#[actix::test]
async fn a_lone_record_is_written_flush_interval_after_it_arrived() {
    tokio::time::pause();
    let sink = MemorySink::new();
    let mut own = coordinator_settings(100, 2, 10);
    own.flush_interval = Duration::from_millis(730);
    let (store, handle) = start_here("lone", sink.clone(), own, FAST).await;
    for (round, idle) in [0, 300, 10_000].into_iter().enumerate() {
        tokio::time::sleep(Duration::from_millis(idle)).await;
        let begun = Instant::now();
        handle.submit(tick("ES", 2 * round as u64)).await.unwrap();
        // One that comes later does not start the wait anew, and goes with it.
        tokio::time::sleep(Duration::from_millis(500)).await;
        handle.submit(tick("ES", 2 * round as u64 + 1)).await.unwrap();
        assert_eq!(sink.stored(), 2 * round);
        sink.wait_stored(2 * round + 2).await;
        assert_about(begun.elapsed(), Duration::from_millis(730));
    }
    assert!(store.shutdown(PATIENCE).await.is_complete());
}

/// Tokio's timers have steps of a millisecond and fire at the end of one.
fn assert_about(seen: Duration, expected: Duration) {
    assert!(seen >= expected && seen <= expected + Duration::from_millis(2), "{seen:?}, not {expected:?}");
}

/// Red when a retry comes at once, when the wait does not grow, or when it is not that of the policy or of the sink.
#[actix::test]
async fn retries_wait_as_the_policy_and_the_store_ask() {
    tokio::time::pause();
    let sink = MemorySink::new();
    sink.fail_times(4, || SinkError::transient("away"));
    sink.fail_next(SinkError::transient("busy").retry_after(Duration::from_secs(77)));
    let retry = RetryPolicy {
        initial_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_millis(350),
        multiplier: 2.0,
        jitter: false,
        ..FAST
    };
    let (store, handle) = start_here("waits", sink.clone(), coordinator_settings(1, 1, 1), retry).await;
    let begun = Instant::now();
    handle.submit(tick("ES", 1)).await.unwrap();
    let mut waits = Vec::new();
    for write in 2..=6 {
        let before = Instant::now();
        sink.wait_writes(write).await;
        waits.push(before.elapsed());
    }
    for (seen, expected) in waits.into_iter().zip([100, 200, 350, 350, 77_000]) {
        assert_about(seen, Duration::from_millis(expected));
    }
    handle.flush().await.unwrap();
    assert_eq!(sink.failed(), 5);
    assert!(begun.elapsed() < Duration::from_secs(79));
    assert!(store.shutdown(PATIENCE).await.is_complete());
}

/// Red when a batch that went with its worker is lost, goes out behind later records, or waits for more than 200 ms.
#[actix::test]
async fn a_worker_that_dies_is_replaced_and_its_batch_goes_out_first() {
    tokio::time::pause();
    log();
    let store = MemorySink::new();
    let sink = Panicking::new(Panic::WithItsWorker, 3, &store);
    let writes = Arc::clone(&sink.writes);
    let (running, handle) = start_here("dies", sink, coordinator_settings(100, 1, 5), FAST).await;
    handle.submit_many((0..20).map(|id| tick("ES", id))).await.unwrap();
    within(PATIENCE, handle.flush()).await.unwrap();
    assert_eq!(deaths("dies"), 3, "the fault did not fire");
    assert!(store.records().iter().map(|record| record.id).eq(0..20));
    let writes = std::mem::take(&mut *writes.lock());
    assert_eq!(writes.iter().map(|write| write.1[0]).collect::<Vec<_>>(), [0, 0, 0, 0, 5, 10, 15]);
    for pair in writes.windows(2) {
        let wait = pair[1].0 - pair[0].0;
        assert!(wait <= Duration::from_millis(200), "{wait:?}");
    }
    let health = handle.health().await;
    assert_eq!((health.workers_alive, health.parked, health.in_flight), (1, 0, 0));
    assert!(running.shutdown(PATIENCE).await.is_complete());
}

/// Nothing is there that could be the probe which closes a circuit again. Red when it opens all the same: producers
/// that wait for level ok would wait without end.
#[actix::test]
async fn workers_that_die_with_nothing_to_do_open_no_circuit() {
    tokio::time::pause();
    log();
    let dir = tempfile::tempdir().unwrap();
    let sink = MemorySink::<Tick>::new();
    let mut own = crate::support::settings();
    own.dlq_path = dir.path().join("letters");
    own.coordinator = coordinator_settings(100, 1, 5);
    let store = MarketDataStore::builder(own).coordinator(Coordinator::new(sink.clone()).id("idle-deaths"));
    let store = store.on_current_arbiter().start().await.unwrap();
    let handle = store.coordinator::<Tick>().unwrap();
    for death in 1..=12 {
        handle.fault(FaultyActor::Worker(0)).strike();
        within(PATIENCE, async {
            while deaths("idle-deaths") < death.min(6) || handle.health().await.workers_alive < 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
        let health = handle.health().await;
        assert_eq!((health.circuit, health.level), (CircuitState::Closed, Level::Ok), "death {death}");
    }
    handle.submit(tick("ES", 1)).await.unwrap();
    within(PATIENCE, handle.flush()).await.unwrap();
    assert_eq!(sink.stored(), 1);
    assert!(store.shutdown(PATIENCE).await.is_complete());
}

/// Without a circuit, too. Red when a worker that goes on dying is replaced as soon as at first, is not replaced any
/// more, or each death is an ERROR.
#[actix::test]
async fn a_worker_that_goes_on_dying_is_replaced_ever_later() {
    tokio::time::pause();
    log();
    let store = MemorySink::new();
    let sink = Panicking::new(Panic::WithItsWorker, 15, &store);
    let writes = Arc::clone(&sink.writes);
    let retry = RetryPolicy { max_backoff: Duration::from_secs(2), ..FAST };
    let (running, handle) = start_here("goes-on-dying", sink, coordinator_settings(100, 1, 5), retry).await;
    handle.submit_many((0..20).map(|id| tick("ES", id))).await.unwrap();
    within(PATIENCE, handle.flush()).await.unwrap();
    assert!(store.records().iter().map(|record| record.id).eq(0..20));
    let writes = std::mem::take(&mut *writes.lock());
    let waits: Vec<_> = writes.windows(2).take(15).map(|pair| pair[1].0 - pair[0].0).collect();
    let expected = [&[0, 100, 100, 100, 100, 200, 400, 800, 1_600][..], &[2_000; 6]].concat();
    for (seen, expected) in waits.iter().zip(expected) {
        assert_about(*seen, Duration::from_millis(expected));
    }
    assert_eq!((writes.len(), deaths("goes-on-dying")), (15 + 4, 5 + 1), "{waits:?}");
    assert_eq!(handle.health().await.workers_alive, 1);
    assert!(running.shutdown(PATIENCE).await.is_complete());
}

/// The same on threads, with evictions all the while. Red when a parked batch can be evicted, or a death is the end.
#[test]
fn what_a_dead_worker_held_is_never_evicted() {
    log();
    let store = MemorySink::new();
    let mut own = coordinator_settings(10, 2, 5);
    own.overflow = Overflow::DropOldest;
    let sink = Panicking::new(Panic::WithItsWorker, 6, &store);
    let first = Arc::clone(&sink.writes);
    let (running, handle) = spawn("evicts", sink, own);
    for id in 0..5_000 {
        handle.try_submit(tick(format!("K{}", id % 4), id)).unwrap();
    }
    block_on(within(PATIENCE, handle.flush())).unwrap();
    assert_eq!(deaths("evicts"), 6, "the fault did not fire");
    let stored: Vec<_> = ids(&store.records());
    assert!(first.lock().iter().flat_map(|write| &write.1).all(|id| stored.contains(id)), "taken and lost");
    let health = block_on(handle.health());
    assert_eq!(health.stored as usize, stored.len());
    assert_eq!(health.stored + health.dropped, 5_000);
    assert_eq!(health.workers_alive, 2);
    assert!(block_on(running.shutdown(PATIENCE)).is_complete());
}
