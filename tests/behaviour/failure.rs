//! What becomes of records when the store, the disk, a worker or another actor fails, and at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    num::NonZeroU32,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use futures::{
    executor::block_on,
    future::{Either, join_all, select},
};
use market_data_store::{
    Batch, Coordinator, DrainReport, DropReason, Health, Level, MarketDataStore, Outcome, Overflow, Reason, Receipt,
    ReceiptLost, Refusal, Settings, Sink, SinkError, StopReason, WriteHandle,
    coordinator::FaultyActor,
    coordinator::{BufferState, Cause, CircuitState},
    settings::CoordinatorSettings,
    sink::MemorySink,
};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::support::{
    A_DAY, Events, PATIENCE, Tick, buried, caught_up, coordinator_settings, count_opened, log, record, record_in,
    residual, size_of_test, tick, within,
};

const HALF_OPEN_AFTER: Duration = Duration::from_secs(10);

/// Settings with dead letters of their own and short waits between tries.
fn settings(dir: &TempDir) -> Settings {
    let mut settings = Settings::default();
    settings.dlq_path = dir.path().join("letters");
    settings.retry.initial_backoff = Duration::from_millis(1);
    settings.retry.max_backoff = Duration::from_millis(5);
    settings.circuit.half_open_after = HALF_OPEN_AFTER;
    settings.sink_slow_after = A_DAY;
    settings
}

fn spawn(sink: impl Sink<Tick>, own: CoordinatorSettings, settings: Settings) -> (MarketDataStore, WriteHandle<Tick>) {
    let coordinator = Coordinator::new(sink).settings(own);
    let store = MarketDataStore::builder(settings).coordinator(coordinator).spawn().unwrap();
    let handle = store.coordinator().unwrap();
    (store, handle)
}

/// The same on the test's own arbiter, for a paused clock; with everything that it tells.
async fn start_here(
    sink: impl Sink<Tick>,
    own: CoordinatorSettings,
    settings: Settings,
) -> (MarketDataStore, WriteHandle<Tick>, Events) {
    let coordinator = Coordinator::new(sink).settings(own);
    let builder = MarketDataStore::builder(settings).coordinator(coordinator).on_current_arbiter();
    let store = builder.start().await.unwrap();
    let handle = store.coordinator().unwrap();
    let events = record(&store.feedback(), None);
    (store, handle, events)
}

async fn flush(handle: &WriteHandle<Tick>) {
    within(PATIENCE, handle.flush()).await.unwrap();
}

fn ids(records: &[Tick]) -> BTreeSet<u64> {
    records.iter().map(|record| record.id).collect()
}

fn told(events: &Events) -> Vec<(Level, Reason)> {
    events.lock().iter().map(|event| (event.level, event.reason)).collect()
}

fn adds_up(report: &DrainReport) {
    let ends = report.stored() + report.dead_lettered() + report.dropped() + report.unsettled();
    assert_eq!(report.submitted(), ends, "{report:?}");
}

/// Red when a half is written twice or too many are; when a good record goes down with the bad one; when the bad one is
/// kept twice or not at all.
#[test]
fn a_bad_record_costs_only_itself_wherever_it_stands_in_its_batch() {
    const BATCH: u64 = 500;
    let positions = size_of_test("MDS_TEST_POISON_POSITIONS", 20) as u64;
    let dir = tempfile::tempdir().unwrap();
    let sink = MemorySink::<Tick>::new();
    let bad = Arc::new(AtomicU64::new(u64::MAX));
    sink.fail_when({
        let bad = Arc::clone(&bad);
        move |batch| {
            let bad = bad.load(Ordering::Acquire);
            batch.iter().any(|tick| tick.id == bad).then(|| SinkError::permanent("value out of range"))
        }
    });
    let (store, handle) = spawn(sink.clone(), coordinator_settings(1_000, 1, BATCH as usize), settings(&dir));
    let mut all_bad = Vec::new();
    for (round, position) in (0..BATCH).step_by((BATCH / positions) as usize).enumerate() {
        let first = round as u64 * BATCH;
        bad.store(first + position, Ordering::Release);
        all_bad.push(first + position);
        let before = sink.writes();
        block_on(within(PATIENCE, handle.submit_many((0..BATCH).map(|at| tick("ES", first + at))))).unwrap();
        block_on(within(PATIENCE, handle.flush())).unwrap();
        let writes = sink.writes() - before;
        assert!((2..=2 * 9 + 1).contains(&writes), "{writes} writes, position {position}");
        let stored: BTreeSet<_> = ids(&sink.records()).range(first..).copied().collect();
        assert_eq!(stored.len() as u64, BATCH - 1);
        assert!(!stored.contains(&(first + position)));
    }
    let report = block_on(within(PATIENCE, store.shutdown(PATIENCE)));
    assert_eq!((report.dead_lettered(), report.unsettled()), (all_bad.len() as u64, 0));
    assert_eq!(sink.stored() as u64, all_bad.len() as u64 * (BATCH - 1), "nothing was stored twice");
    assert_eq!(buried(&dir.path().join("letters")), all_bad);
}

/// Stores, unless it is away, and watches how many write at once.
#[derive(Clone, Default)]
struct Away {
    away: Arc<AtomicBool>,
    /// Writes that began while away.
    tried: Arc<AtomicUsize>,
    now: Arc<AtomicUsize>,
    /// The most at once while the circuit was open, as far as they began after the test looked.
    watched: Arc<AtomicBool>,
    most: Arc<AtomicUsize>,
    stored: Arc<Mutex<Vec<u64>>>,
}

impl Sink<Tick> for Away {
    async fn write(&self, batch: &Batch<Tick>) -> Result<(), SinkError> {
        let now = self.now.fetch_add(1, Ordering::AcqRel) + 1;
        let away = self.away.load(Ordering::Acquire);
        if away {
            self.tried.fetch_add(1, Ordering::AcqRel);
        }
        if self.watched.load(Ordering::Acquire) {
            self.most.fetch_max(now, Ordering::AcqRel);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        self.now.fetch_sub(1, Ordering::AcqRel);
        if away || self.away.load(Ordering::Acquire) {
            return Err(SinkError::transient("the store is away"));
        }
        self.stored.lock().extend(batch.iter().map(|tick| tick.id));
        Ok(())
    }
}

async fn until(handle: &WriteHandle<Tick>, mut reached: impl FnMut(&Health) -> bool) -> Health {
    within(PATIENCE, async {
        loop {
            let health = handle.health().await;
            assert_eq!(residual(&health), 0, "{health:?}");
            if reached(&health) {
                return health;
            }
        }
    })
    .await
}

/// Returns whether the circuit is open and no worker has a batch.
fn only_probes(health: &Health) -> bool {
    health.circuit == CircuitState::Open && health.in_flight == health.parked
}

/// Red when an outage makes a dead letter, loses or repeats a record for good, when two probes go out at once, when the
/// store is tried more often than the probes allow, when no one is told that it is away and back, or when it is not
/// noticed that it is back.
#[test]
fn an_outage_under_load_costs_nothing_and_is_probed_by_one_at_a_time() {
    let rounds = size_of_test("MDS_TEST_OUTAGES", 3);
    let lasts = Duration::from_millis(size_of_test("MDS_TEST_OUTAGE_MS", 200) as u64);
    let probe_every = Duration::from_millis(20);
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(&dir);
    settings.circuit.half_open_after = probe_every;
    let sink = Away::default();
    let (store, handle) = spawn(sink.clone(), coordinator_settings(200, 4, 20), settings);
    let events = record_in(&store);
    let stop = AtomicBool::new(false);
    let next = AtomicU64::new(0);
    let (mut drains, mut opened) = (Vec::new(), 0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !stop.load(Ordering::Acquire) {
                    let id = next.fetch_add(1, Ordering::AcqRel);
                    let submitted = handle.submit_timeout(tick(format!("K{}", id % 31), id), PATIENCE);
                    block_on(submitted).expect("a free credit sooner or later");
                }
            });
        }
        for _ in 0..rounds {
            let stored = sink.stored.lock().len();
            block_on(until(&handle, |health| health.stored > stored as u64 + 500));
            let (begun, before) = (std::time::Instant::now(), sink.tried.load(Ordering::Acquire));
            sink.away.store(true, Ordering::Release);
            // Once no worker has a batch any more nothing can close it: from then on there are probes.
            block_on(until(&handle, only_probes));
            let in_a_row = sink.tried.load(Ordering::Acquire) - before;
            sink.watched.store(true, Ordering::Release);
            thread::sleep(lasts);
            block_on(until(&handle, |_| sink.tried.load(Ordering::Acquire) - before > in_a_row));
            sink.watched.store(false, Ordering::Release);
            let tried = sink.tried.load(Ordering::Acquire) - before;
            let health = block_on(handle.health());
            assert_ne!(health.circuit, CircuitState::Closed);
            assert_eq!(health.level, Level::Hard);
            let probes = begun.elapsed().as_millis().div_ceil(probe_every.as_millis()) as usize + 1;
            block_on(caught_up(&handle, &store.feedback()));
            let times = count_opened(&events) - opened;
            opened += times;
            // Each worker may have had a write under way with each that counted. A write that was done just before the
            // outage can close it once more.
            let bound = times * (5 * 4 + 4) + probes;
            assert!(tried <= bound, "{tried} writes, {bound} are right in an outage of {:?}", begun.elapsed());
            let back = std::time::Instant::now();
            sink.away.store(false, Ordering::Release);
            // By identity, not by number: what failed a probe and is not written yet while newer ones are would not
            // count for the breaker when the next outage begins, and that would take more writes to be noticed than are
            // allowed.
            block_on(within(PATIENCE, handle.flush())).unwrap();
            drains.push(back.elapsed());
        }
        stop.store(true, Ordering::Release);
    });
    block_on(within(PATIENCE, handle.flush())).unwrap();
    println!("from the return of the store to drained: {drains:?}");
    assert_eq!(sink.most.load(Ordering::Acquire), 1, "probes at once");
    block_on(caught_up(&handle, &store.feedback()));
    let events = events.lock().clone();
    let opened: Vec<_> = events.iter().filter(|event| event.reason == Reason::CircuitOpen).collect();
    assert!(opened.len() >= rounds, "{events:?}");
    for event in opened {
        assert_eq!(event.level, Level::Hard);
        assert_eq!(event.retry_after, Some(probe_every));
        let after = events.iter().find(|after| after.seq == event.seq + 1).expect("the end of the outage is told");
        // A queue that filled up meanwhile goes on to hold the level.
        assert!(matches!(after.reason, Reason::CircuitClosed | Reason::QueueHigh | Reason::QueueRising), "{after:?}");
    }
    let report = block_on(within(PATIENCE, store.shutdown(PATIENCE)));
    let submitted = next.load(Ordering::Acquire);
    assert_eq!((report.submitted(), report.stored(), report.unsettled()), (submitted, submitted, 0));
    let stored = sink.stored.lock();
    assert_eq!(stored.len() as u64, submitted, "each once");
    assert!(stored.iter().copied().collect::<BTreeSet<_>>().into_iter().eq(0..submitted));
    assert!(buried(&dir.path().join("letters")).is_empty());
}

/// Is away but for moments in which it answers a few writes, and counts the writes that failed since the last one that
/// did not. It decides at the end of a write: on one thread no one hears of an answer later than of a failure behind
/// it.
#[derive(Clone, Default)]
struct Flickers(Arc<parking_lot::Mutex<Flickering>>);

#[derive(Default)]
struct Flickering {
    is_away: bool,
    answers: usize,
    failed: usize,
    stored: Vec<u64>,
}

impl Sink<Tick> for Flickers {
    async fn write(&self, batch: &Batch<Tick>) -> Result<(), SinkError> {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(1..4))).await;
        let mut state = self.0.lock();
        if state.is_away && state.answers == 0 {
            state.failed += 1;
            return Err(SinkError::transient("the store is away"));
        }
        state.answers = state.answers.saturating_sub(1);
        state.failed = 0;
        state.stored.extend(batch.iter().map(|tick| tick.id));
        Ok(())
    }
}

/// Red when an outage that begins with what the last one left, for the store was back for one to three writes only,
/// takes more writes to be noticed than there are reasons for, or is probed more often than it may be; when it makes a
/// dead letter, or loses or repeats a record.
#[actix::test]
async fn an_outage_that_begins_with_what_the_last_one_left_is_noticed_all_the_same() {
    const WORKERS: usize = 4;
    const THRESHOLD: usize = 5;
    // With each failure that counts every other worker may have one that does not, for its write was under way already.
    let counted = THRESHOLD * WORKERS;
    tokio::time::pause();
    let series = size_of_test("MDS_TEST_OUTAGES", 10);
    let (mut at_once, mut with_rest) = (Vec::new(), Vec::new());
    for attempts in [5, 12] {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = settings(&dir);
        settings.retry.max_attempts = NonZeroU32::new(attempts as u32).unwrap();
        settings.circuit.failure_threshold = NonZeroU32::new(THRESHOLD as u32);
        let sink = Flickers::default();
        let (store, handle, _) = start_here(sink.clone(), coordinator_settings(200, WORKERS, 20), settings).await;
        let (stop, next) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let producers: Vec<_> = (0..4)
            .map(|_| {
                let (handle, stop, next) = (handle.clone(), Arc::clone(&stop), Arc::clone(&next));
                actix::spawn(async move {
                    while !stop.load(Ordering::Acquire) {
                        let id = next.fetch_add(1, Ordering::AcqRel);
                        handle.submit(tick(format!("K{}", id % 31), id)).await.unwrap();
                    }
                })
            })
            .collect();
        for _ in 0..series {
            let stored = handle.health().await.stored;
            until_here(&handle, |health| health.stored > stored + 500).await;
            {
                let mut state = sink.0.lock();
                (state.is_away, state.answers, state.failed) = (true, 0, 0);
            }
            // With as many outages as it has attempts a batch would rightly be given up that failed in each.
            for outage in 1..attempts {
                let begun = Instant::now();
                until_here(&handle, |health| health.circuit != CircuitState::Closed).await;
                // What was under way comes to its end, long before the first probe.
                tokio::time::sleep(Duration::from_millis(10)).await;
                let in_a_row = sink.0.lock().failed;
                if outage == 1 { &mut at_once } else { &mut with_rest }.push(in_a_row);
                assert!(in_a_row <= counted, "{in_a_row} writes, outage {outage}, {attempts} attempts");
                let probes = fastrand::u32(1..10);
                tokio::time::sleep(probes * HALF_OPEN_AFTER).await;
                let (tried, lasted) = (sink.0.lock().failed - in_a_row, begun.elapsed());
                let most = lasted.as_millis().div_ceil(HALF_OPEN_AFTER.as_millis()) as usize;
                assert!((1..=most).contains(&tried), "{tried} probes in {lasted:?}");
                if outage + 1 < attempts {
                    sink.0.lock().answers = fastrand::usize(1..4);
                    within(PATIENCE, async {
                        while sink.0.lock().answers > 0 {
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                    })
                    .await;
                }
            }
            sink.0.lock().is_away = false;
            flush(&handle).await;
        }
        stop.store(true, Ordering::Release);
        for producer in producers {
            within(PATIENCE, producer).await.unwrap();
        }
        flush(&handle).await;
        let report = store.shutdown(Duration::from_secs(60)).await;
        let submitted = next.load(Ordering::Acquire);
        assert_eq!((report.submitted(), report.stored(), report.unsettled()), (submitted, submitted, 0));
        let mut stored = sink.0.lock().stored.clone();
        stored.sort_unstable();
        assert!(stored.into_iter().eq(0..submitted), "each once");
        assert!(buried(&dir.path().join("letters")).is_empty());
    }
    println!("writes until the circuit opened: {at_once:?}, with something left over: {with_rest:?}");
}

/// As [`until`], on a paused clock.
async fn until_here(handle: &WriteHandle<Tick>, mut reached: impl FnMut(&Health) -> bool) {
    within(PATIENCE, async {
        while !reached(&handle.health().await) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Red when a probe comes early or late, when the producers are not told, or are told another time, when the wait that
/// the store asks for is cut short by the probe, or when a credit is refused for the circuit.
#[actix::test]
async fn the_circuit_is_told_with_the_time_of_the_next_probe() {
    tokio::time::pause();
    let dir = tempfile::tempdir().unwrap();
    let sink = MemorySink::<Tick>::new();
    let mut own = coordinator_settings(3, 1, 1);
    own.overflow = Overflow::Error;
    own.high_watermark = Some(3);
    own.low_watermark = Some(2);
    let (store, handle, events) = start_here(sink.clone(), own, settings(&dir)).await;

    sink.fail_times(6, || SinkError::transient("away"));
    handle.try_submit(tick("ES", 1)).unwrap();
    within(PATIENCE, sink.wait_failed(5)).await;
    let health = caught_up_here(&handle, &store).await;
    assert_eq!((health.circuit, health.level), (CircuitState::Open, Level::Hard));
    assert_eq!((health.causes.as_slice(), health.parked), (&[Cause::CircuitOpen][..], 1));
    let opened = events.lock().last().unwrap().clone();
    assert_eq!((opened.reason, opened.retry_after), (Reason::CircuitOpen, Some(HALF_OPEN_AFTER)));
    // A free credit is no reason to refuse; without one the refusal says when to come back.
    handle.try_submit(tick("ES", 2)).unwrap();
    handle.try_submit(tick("ES", 3)).unwrap();
    handle.try_submit(tick("ES", 4)).unwrap();
    let refused = handle.try_submit(tick("ES", 5)).unwrap_err();
    assert_eq!(*refused.refusal(), Refusal::CircuitOpen);
    let said = refused.retry_after().unwrap();
    assert!(said <= HALF_OPEN_AFTER && said > HALF_OPEN_AFTER - Duration::from_millis(100), "{said:?}");
    let open = Instant::now();
    within(PATIENCE, sink.wait_writes(6)).await;
    assert_about(open.elapsed(), said);
    within(PATIENCE, sink.wait_failed(6)).await;
    // The first probe failed; now the second.
    let open = Instant::now();
    within(PATIENCE, sink.wait_stored(1)).await;
    assert_about(open.elapsed(), HALF_OPEN_AFTER);
    flush(&handle).await;
    let health = caught_up_here(&handle, &store).await;
    assert_eq!((health.circuit, health.level, health.causes.as_slice()), (CircuitState::Closed, Level::Ok, &[][..]));
    assert_eq!(sink.writes(), 6 + 4, "no record was written twice but the one that failed");

    sink.fail_times(4, || SinkError::transient("away"));
    sink.fail_next(SinkError::transient("busy").retry_after(Duration::from_secs(77)));
    handle.try_submit(tick("ES", 6)).unwrap();
    within(PATIENCE, sink.wait_failed(11)).await;
    let open = Instant::now();
    flush(&handle).await;
    assert_about(open.elapsed(), Duration::from_secs(77));
    caught_up_here(&handle, &store).await;
    let told = told(&events);
    assert_eq!(
        told,
        [
            (Level::Ok, Reason::Started),
            (Level::Hard, Reason::CircuitOpen),
            (Level::Hard, Reason::QueueHigh),
            (Level::Ok, Reason::QueueRecovered),
            (Level::Hard, Reason::CircuitOpen),
            (Level::Ok, Reason::CircuitClosed)
        ]
    );
    let last = events.lock()[4].clone();
    assert_eq!(last.retry_after, Some(Duration::from_secs(77)));
    assert!(store.shutdown(Duration::from_secs(1)).await.is_complete());
    assert!(buried(&dir.path().join("letters")).is_empty());
}

/// Waits until everything that happened was told, on a paused clock.
async fn caught_up_here(handle: &WriteHandle<Tick>, store: &MarketDataStore) -> Health {
    let health = handle.health().await;
    store.feedback().idle().await;
    health
}

/// Tokio's timers have steps of a millisecond and fire at the end of one.
fn assert_about(seen: Duration, expected: Duration) {
    assert!(
        seen + Duration::from_millis(2) >= expected && seen <= expected + Duration::from_millis(2),
        "{seen:?}, not {expected:?}"
    );
}

/// A sink to which one record is poison: every batch with it fails transiently.
fn fails_for_ever(id: u64) -> MemorySink<Tick> {
    let sink = MemorySink::<Tick>::new();
    sink.fail_when(move |batch| batch.iter().any(|tick| tick.id == id).then(|| SinkError::transient("no answer")));
    sink
}

/// Red when the store is not asked whether it is there: nothing else proves that the record is at fault, the circuit
/// stays open, and the flush never ends.
#[actix::test]
async fn a_record_that_fails_transiently_for_ever_is_given_up_wherever_it_stands_though_nothing_follows() {
    tokio::time::pause();
    for (workers, poison) in [1, 4].into_iter().flat_map(|workers| (0..60).map(move |poison| (workers, poison))) {
        let dir = tempfile::tempdir().unwrap();
        let sink = fails_for_ever(poison);
        sink.answer_pings(|| Some(Ok(())));
        let (store, handle, _) = start_here(sink.clone(), coordinator_settings(100, workers, 20), settings(&dir)).await;
        for id in 0..60 {
            handle.submit(tick(format!("K{}", id % 13), id)).await.unwrap();
        }
        println!("{workers} workers, the bad one is {poison}");
        // By the real clock: the paused one runs ahead while the disk takes its time with the dead letter.
        flush(&handle).await;
        let counters = handle.health().await;
        assert_eq!((counters.stored, counters.dead_lettered), (59, 1), "{workers} workers, the bad one is {poison}");
        store.shutdown(Duration::from_secs(1)).await;
    }
}

/// Red when batches at fault in several partitions, with nothing else to write, wait for each other without end.
#[actix::test]
async fn batches_at_fault_in_several_partitions_are_given_up_though_nothing_else_is_written() {
    tokio::time::pause();
    let dir = tempfile::tempdir().unwrap();
    let sink = MemorySink::<Tick>::new();
    sink.fail_when(|_| Some(SinkError::transient("no answer")));
    sink.answer_pings(|| Some(Ok(())));
    let (store, handle, _) = start_here(sink.clone(), coordinator_settings(100, 4, 20), settings(&dir)).await;
    for id in 0..16 {
        handle.submit(tick(format!("K{id}"), id)).await.unwrap();
    }
    flush(&handle).await;
    let health = handle.health().await;
    assert_eq!((health.dead_lettered, health.in_flight), (16, 0));
    assert!(store.shutdown(Duration::from_secs(1)).await.is_complete());
}

/// Red when the good records of the batch, of the partition or of the others wait without end, or are given up with it.
#[actix::test]
async fn a_record_that_fails_transiently_for_ever_keeps_no_other_from_being_stored() {
    tokio::time::pause();
    for (workers, case) in [(1, "among others in its batch"), (4, "with other partitions"), (1, "alone in its batch")] {
        let dir = tempfile::tempdir().unwrap();
        let sink = fails_for_ever(0);
        sink.answer_pings(|| Some(Ok(())));
        let (store, handle, _) = start_here(sink.clone(), coordinator_settings(100, workers, 20), settings(&dir)).await;
        handle.try_submit(tick("K0", 0)).unwrap();
        if case == "alone in its batch" {
            // What waits at a fence goes out at once.
            let flush = handle.flush();
            let failed = sink.wait_failed(7);
            within(PATIENCE, select(std::pin::pin!(flush), std::pin::pin!(failed))).await;
        }
        for id in 1..60 {
            handle.submit(tick(format!("K{}", id % 13), id)).await.unwrap();
        }
        flush(&handle).await;
        assert!(sink.failed() > 0);
        let stored = ids(&sink.records());
        assert!(stored.into_iter().eq(1..60), "{case}: {:?}", ids(&sink.records()));
        assert_eq!(buried(&dir.path().join("letters")), [0], "{case}");
        assert!(store.shutdown(Duration::from_secs(1)).await.is_complete());
    }
}

/// A sink that cannot say whether its store is there. Red when the record is given up although nothing else was
/// written: it could be an outage; or when it is not given up once other writes have shown as often as it has strikes
/// that it is not.
#[actix::test]
async fn without_a_ping_a_record_that_always_fails_is_given_up_only_once_others_are_stored() {
    tokio::time::pause();
    let dir = tempfile::tempdir().unwrap();
    let sink = fails_for_ever(0);
    let (store, handle, _) = start_here(sink.clone(), coordinator_settings(2_000, 4, 20), settings(&dir)).await;
    handle.try_submit(tick("K0", 0)).unwrap();
    let day = Duration::from_secs(86_400);
    assert!(within(PATIENCE, tokio::time::timeout(day, handle.flush())).await.is_err(), "it is not settled");
    let health = handle.health().await;
    assert_eq!((health.in_flight, health.dead_lettered), (1, 0));
    assert_ne!(health.circuit, CircuitState::Closed);
    let probes = day.as_secs() / HALF_OPEN_AFTER.as_secs();
    assert!(sink.writes() as u64 <= probes + 10, "{} writes", sink.writes());

    // The dead letter is written by a thread for which no clock stands still.
    let (mut sent, tries, begun) = (0, sink.failed(), std::time::Instant::now());
    while handle.health().await.dead_lettered == 0 {
        sent += 8;
        assert!(sink.failed() - tries < 50, "it is tried without end");
        assert!(begun.elapsed() < PATIENCE, "it is not given up");
        (sent - 7..=sent).for_each(|id| handle.try_submit(tick(format!("K{id}"), id)).unwrap());
        tokio::time::sleep(HALF_OPEN_AFTER).await;
    }
    flush(&handle).await;
    assert!(ids(&sink.records()).into_iter().eq(1..=sent));
    assert_eq!(buried(&dir.path().join("letters")), [0]);
    assert!(store.shutdown(Duration::from_secs(1)).await.is_complete());
}

/// Fails the first writes, one way or another, and does not answer pings; it says when each write began.
struct Mute {
    fails: usize,
    panics: bool,
    writes: Mutex<Vec<Instant>>,
    pings: AtomicUsize,
}

impl Mute {
    fn new(fails: usize, panics: bool) -> Arc<Self> {
        Arc::new(Self { fails, panics, writes: Mutex::default(), pings: AtomicUsize::new(0) })
    }
}

impl Sink<Tick> for Mute {
    async fn write(&self, _: &Batch<Tick>) -> Result<(), SinkError> {
        let failed = self.writes.lock().len();
        self.writes.lock().push(Instant::now());
        match failed < self.fails {
            true if self.panics => panic!("it breaks"),
            true => Err(SinkError::transient("no answer")),
            false => Ok(()),
        }
    }

    async fn ping(&self) -> Option<Result<(), SinkError>> {
        self.pings.fetch_add(1, Ordering::AcqRel);
        std::future::pending().await
    }
}

/// Red when a store that does not answer a ping delays the next try, or is asked where the answer would mean nothing:
/// after a panic, and without a breaker.
#[actix::test]
async fn a_ping_that_is_not_answered_delays_no_write() {
    tokio::time::pause();
    for (panics, threshold, pings) in [(false, 5, 3), (true, 5, 0), (false, 0, 0)] {
        let dir = tempfile::tempdir().unwrap();
        let sink = Mute::new(3, panics);
        let mut settings = settings(&dir);
        settings.circuit.failure_threshold = NonZeroU32::new(threshold);
        let (store, handle, _) = start_here(Arc::clone(&sink), coordinator_settings(100, 1, 1), settings).await;
        handle.submit(tick("ES", 0)).await.unwrap();
        flush(&handle).await;
        let writes = sink.writes.lock().clone();
        let took = *writes.last().unwrap() - writes[0];
        // Three waits of at most 5 ms.
        assert!(took < Duration::from_millis(30), "{took:?} for {} writes", writes.len());
        assert_eq!((writes.len(), sink.pings.load(Ordering::Acquire)), (4, pings), "{panics}, {threshold}");
        assert!(store.shutdown(Duration::from_secs(1)).await.is_complete());
    }
}

/// The store stumbles when it comes back: it takes one batch, and fails the next few. Red when what was a probe in a
/// long outage is given up at its first failure afterwards.
#[actix::test]
async fn what_an_outage_did_is_not_held_against_a_batch_afterwards() {
    tokio::time::pause();
    let dir = tempfile::tempdir().unwrap();
    let sink = MemorySink::<Tick>::new();
    let away = Arc::new(AtomicBool::new(true));
    let back = Arc::new(AtomicUsize::new(0));
    sink.fail_when({
        let (away, back) = (Arc::clone(&away), Arc::clone(&back));
        move |_| {
            let stumbles = || (1..5).contains(&back.fetch_add(1, Ordering::AcqRel));
            (away.load(Ordering::Acquire) || stumbles()).then(|| SinkError::transient("away"))
        }
    });
    let (store, handle, _) = start_here(sink.clone(), coordinator_settings(100, 4, 20), settings(&dir)).await;
    (0..40).for_each(|id| handle.try_submit(tick(format!("K{}", id % 13), id)).unwrap());
    let two_hours = Duration::from_secs(7_200);
    assert!(within(PATIENCE, tokio::time::timeout(two_hours, handle.flush())).await.is_err());
    away.store(false, Ordering::Release);
    flush(&handle).await;
    assert!(back.load(Ordering::Acquire) > 5, "it did not stumble");
    assert!(ids(&sink.records()).into_iter().eq(0..40));
    assert!(buried(&dir.path().join("letters")).is_empty());
    assert!(store.shutdown(Duration::from_secs(1)).await.is_complete());
}

/// Twenty seconds of a write that hangs, at level ok and without a word: so it was. Red when it is not told of after
/// `sink_slow_after`, does not name the partition's key, or is not told of when it has ended.
#[actix::test]
async fn a_write_that_hangs_is_told_of_with_its_key() {
    tokio::time::pause();
    log();
    let dir = tempfile::tempdir().unwrap();
    let sink = MemorySink::<Tick>::new();
    let own = coordinator_settings(1_000, 2, 1);
    let mut settings = settings(&dir);
    settings.sink_slow_after = Duration::from_secs(5);
    let (store, handle, events) = start_here(sink.clone(), own, settings).await;
    sink.hold();
    handle.submit(tick("HANGS", 1)).await.unwrap();
    within(PATIENCE, sink.wait_held(1)).await;
    tokio::time::sleep(Duration::from_millis(4_900)).await;
    let health = caught_up_here(&handle, &store).await;
    assert_eq!((health.level, health.writes_overdue, &health.last_error), (Level::Ok, 0, &None));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let health = caught_up_here(&handle, &store).await;
    assert_eq!((health.level, health.reason, health.writes_overdue), (Level::Hard, Reason::WriteOverdue, 1));
    let stuck: Vec<_> = health.partitions.iter().filter(|partition| partition.overdue_for.is_some()).collect();
    assert_eq!((stuck.len(), stuck[0].oldest_key.as_deref(), stuck[0].in_flight), (1, Some("HANGS"), 1));
    assert_about(stuck[0].overdue_for.unwrap(), Duration::from_millis(5_100));
    let said = health.last_error.unwrap();
    assert!(said.contains("\"HANGS\"") && said.contains("settled nothing since 20"), "{said}");
    assert!(log().iter().any(|line| line.starts_with("WARN") && line.contains("writes are overdue")));
    sink.release();
    flush(&handle).await;
    let health = caught_up_here(&handle, &store).await;
    assert_eq!((health.level, health.writes_overdue, health.last_error), (Level::Ok, 0, None));
    let told = told(&events);
    assert_eq!(told[1..], [(Level::Hard, Reason::WriteOverdue), (Level::Ok, Reason::WritesRecovered)]);
    assert!(store.shutdown(Duration::from_secs(1)).await.is_complete());
}

/// Red when the last that is told of a store that has ended, with all made dead letters, is that its writes are
/// overdue.
#[test]
fn a_store_that_ends_while_a_write_hangs_tells_that_it_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let sink = MemorySink::<Tick>::new();
    sink.hold();
    let mut settings = settings(&dir);
    settings.sink_slow_after = Duration::from_millis(20);
    let (store, handle) = spawn(sink.clone(), coordinator_settings(100, 1, 1), settings);
    let events = record_in(&store);
    block_on(handle.submit(tick("HANGS", 1))).unwrap();
    block_on(until(&handle, |health| health.level == Level::Hard));
    let report = block_on(within(PATIENCE, store.finish(Duration::from_millis(20))));
    assert_eq!((report.dead_lettered(), report.unsettled()), (1, 0));
    assert_eq!(told(&events).last(), Some(&(Level::Ok, Reason::WritesRecovered)), "{:?}", told(&events));
}

/// Fails one key without end, asks to be left alone for a day with the first record, and hangs at all others.
struct Tells;

impl Sink<Tick> for Tells {
    async fn write(&self, batch: &Batch<Tick>) -> Result<(), SinkError> {
        match (&*batch[0].symbol, batch[0].id) {
            ("WRONG", _) => Err(SinkError::transient("this one is wrong")),
            (_, 0) => Err(SinkError::transient("come back tomorrow").retry_after(Duration::from_secs(86_400))),
            _ => std::future::pending().await,
        }
    }
}

/// Red when what the store said of one partition, however long ago, or of a record that is a dead letter by now, hides
/// that another hangs.
#[actix::test]
async fn the_last_error_is_the_newest_and_a_hang_after_it_is_told_instead() {
    tokio::time::pause();
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(&dir);
    settings.circuit.failure_threshold = None;
    settings.sink_slow_after = Duration::from_secs(5);
    let (store, handle, _) = start_here(Tells, coordinator_settings(100, 1, 1), settings.clone()).await;
    handle.submit(tick("WRONG", 0)).await.unwrap();
    flush(&handle).await;
    let health = handle.health().await;
    assert_eq!((health.dead_lettered, health.last_error.as_deref()), (1, None), "it is settled");
    assert!(store.shutdown(Duration::from_secs(1)).await.is_complete());

    let (store, handle, _) = start_here(Tells, coordinator_settings(100, 2, 1), settings).await;
    handle.submit(tick("K0", 0)).await.unwrap();
    until_here(&handle, |health| health.last_error.is_some()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Some of these are not of the partition that waits.
    for id in 1..9 {
        handle.submit(tick(format!("K{id}"), id)).await.unwrap();
    }
    until_here(&handle, |health| health.in_flight == 2).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(handle.health().await.last_error.as_deref(), Some("transient failure of the store: come back tomorrow"));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let health = handle.health().await;
    let said = health.last_error.as_deref().unwrap();
    assert!(said.contains("settled nothing since") && !said.contains("\"K0\""), "{said}");
    store.shutdown(Duration::ZERO).await;
}

/// Red when a write is not cut off, when that is held against its batch, or when one that is in time is cut off.
#[actix::test]
async fn a_write_that_takes_longer_than_it_may_is_cut_off_and_is_an_outage() {
    tokio::time::pause();
    let dir = tempfile::tempdir().unwrap();
    let sink = MemorySink::<Tick>::new();
    sink.answer_pings(|| Some(Ok(())));
    let mut settings = settings(&dir);
    settings.sink_timeout = Duration::from_secs(3);
    let (store, handle, _) = start_here(sink.clone(), coordinator_settings(100, 1, 1), settings).await;
    sink.delay(Duration::from_millis(2_990));
    handle.submit(tick("ES", 0)).await.unwrap();
    flush(&handle).await;
    assert_eq!((sink.writes(), sink.stored()), (1, 1));

    sink.hold();
    handle.submit(tick("ES", 1)).await.unwrap();
    let begun = Instant::now();
    within(PATIENCE, sink.wait_writes(4)).await;
    // Twice, and the waits between.
    let elapsed = begun.elapsed();
    assert!((Duration::from_secs(6)..Duration::from_millis(6_030)).contains(&elapsed), "{elapsed:?}");
    until_here(&handle, |health| health.circuit == CircuitState::Open).await;
    let said = handle.health().await.last_error.unwrap();
    assert!(said.contains("longer than 3 s (MDS_SINK_TIMEOUT)"), "{said}");
    tokio::time::sleep(100 * HALF_OPEN_AFTER).await;
    sink.release();
    flush(&handle).await;
    let health = handle.health().await;
    assert_eq!((health.stored, health.dead_lettered), (2, 0), "however often it was cut off");
    assert!(store.shutdown(Duration::from_secs(1)).await.is_complete());
}

/// A partition fails while another stores. Red when what the store said is forgotten with each batch of the other, so
/// that the dead letter of the deadline does not say why it is one.
#[test]
fn the_dead_letter_of_a_deadline_says_what_the_store_said_of_its_partition() {
    let dir = tempfile::tempdir().unwrap();
    let sink = fails_for_ever(0);
    let mut settings = settings(&dir);
    // However often it fails meanwhile: no open circuit keeps the others from being stored, and it is not given up
    // before.
    let often = NonZeroU32::new(1_000_000).unwrap();
    (settings.circuit.failure_threshold, settings.retry.max_attempts) = (Some(often), often);
    let (store, handle) = spawn(sink.clone(), coordinator_settings(100, 4, 1), settings);
    block_on(handle.submit(tick("K0", 0))).unwrap();
    block_on(within(PATIENCE, sink.wait_failed(1)));
    // Those of the first one's partition wait behind it, and the others are stored.
    (1..9).for_each(|id| block_on(handle.submit(tick(format!("K{id}"), id))).unwrap());
    block_on(within(PATIENCE, sink.wait_stored(1)));
    let report = block_on(store.shutdown(Duration::ZERO));
    assert_eq!(report.unsettled(), 0);
    let list = market_data_store::dead_letter::list(&dir.path().join("letters")).unwrap();
    let entries: Vec<_> = list.map(|found| found.unwrap().entry.unwrap()).collect();
    let first = entries.iter().find(|entry| entry.record.get().contains("\"id\":0")).expect("it is not stored");
    assert!(first.error.contains("no answer"), "{}", first.error);
}

/// Fails the first write of each record but one, and asks to be left alone for a while; the one it keeps waiting.
struct Busy {
    store: MemorySink<Tick>,
    go: tokio::sync::Semaphore,
    /// When the writes of each record began.
    writes: Arc<Mutex<BTreeMap<u64, Vec<Instant>>>>,
}

const REST: Duration = Duration::from_secs(77);

impl Sink<Tick> for Busy {
    async fn write(&self, batch: &Batch<Tick>) -> Result<(), SinkError> {
        let id = batch[0].id;
        let is_first = {
            let mut writes = self.writes.lock();
            let of_this = writes.entry(id).or_default();
            of_this.push(Instant::now());
            of_this.len() == 1
        };
        match id {
            // Closing it lets everybody through.
            0 => drop(self.go.acquire().await),
            _ if is_first => return Err(SinkError::transient("busy").retry_after(REST)),
            _ => {}
        }
        self.store.write(batch).await
    }
}

/// The circuit opens for the first of them and is closed by a write that was under way. Red when what the store asked
/// for is forgotten with that, or with the worker that waited for it.
#[actix::test]
async fn a_store_is_left_alone_for_as_long_as_it_asked_though_the_circuit_closes_or_the_worker_dies() {
    tokio::time::pause();
    for dies in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let store = MemorySink::new();
        let writes = Arc::default();
        let go =
            Arc::new(Busy { store: store.clone(), go: tokio::sync::Semaphore::new(0), writes: Arc::clone(&writes) });
        let mut settings = settings(&dir);
        settings.circuit.failure_threshold = NonZeroU32::new(if dies { 1_000 } else { 1 });
        let sink = Arc::clone(&go);
        let (running, handle, _) = start_here(sink, coordinator_settings(100, 2, 1), settings).await;
        for id in 0..9 {
            handle.try_submit(tick(format!("K{id}"), id)).unwrap();
        }
        // Another has failed while the first is under way.
        until(&handle, |_| writes.lock().len() > 1).await;
        if dies {
            for worker in 0..2 {
                handle.fault(FaultyActor::Worker(worker)).strike();
            }
            until(&handle, |health| health.workers_alive == 2).await;
        } else {
            until(&handle, |health| health.circuit == CircuitState::Open).await;
        }
        go.go.close();
        flush(&handle).await;
        assert_eq!(store.stored(), 9);
        for (id, writes) in writes.lock().iter().filter(|(id, _)| **id > 0) {
            let wait = writes[1] - writes[0];
            assert!(wait >= REST, "{id} was written again after {wait:?}");
        }
        assert!(running.shutdown(Duration::from_secs(1)).await.is_complete());
    }
}

/// The next probe and the next try are due behind the deadline. Red when they are waited for: then everything is a dead
/// letter although the store is back.
#[actix::test]
async fn at_the_end_a_store_that_is_back_is_asked_at_once() {
    tokio::time::pause();
    for threshold in [1, 1_000] {
        let dir = tempfile::tempdir().unwrap();
        let sink = MemorySink::<Tick>::new();
        sink.fail_next(SinkError::transient("away").retry_after(REST));
        let mut settings = settings(&dir);
        settings.circuit.failure_threshold = NonZeroU32::new(threshold);
        let (store, handle, _) = start_here(sink.clone(), coordinator_settings(100, 1, 5), settings).await;
        (0..20).for_each(|id| handle.try_submit(tick("ES", id)).unwrap());
        within(PATIENCE, sink.wait_failed(1)).await;
        let opens = threshold == 1;
        until(&handle, |health| (health.circuit == CircuitState::Open) == opens).await;
        let report = within(PATIENCE, store.shutdown(Duration::from_secs(5))).await;
        assert_eq!((report.stored(), report.dead_lettered(), report.unsettled()), (20, 0, 0), "threshold {threshold}");
        assert!(sink.records().iter().map(|record| record.id).eq(0..20));
    }
}

/// Red when an outcome is a wrong one, comes before the record is where it says, or never.
#[test]
fn a_receipt_tells_what_became_of_its_record() {
    let dir = tempfile::tempdir().unwrap();
    let sink = MemorySink::<Tick>::new();
    sink.fail_when(|batch| batch.iter().any(|tick| tick.id == 2).then(|| SinkError::permanent("value out of range")));
    let mut own = coordinator_settings(2, 1, 1);
    own.overflow = Overflow::DropOldest;
    let (store, handle) = spawn(sink.clone(), own, settings(&dir));
    let write = |id| block_on(within(PATIENCE, handle.submit_with_receipt(tick("ES", id)))).unwrap();
    let outcome = |receipt: Receipt| block_on(within(PATIENCE, receipt));

    assert_eq!(outcome(write(1)), Ok(Outcome::Stored));
    assert!(ids(&sink.records()).contains(&1));
    assert_eq!(outcome(write(2)), Ok(Outcome::DeadLettered));
    assert_eq!(buried(&dir.path().join("letters")), [2]);
    sink.hold();
    let taken = write(3);
    block_on(within(PATIENCE, sink.wait_held(1)));
    let (dropped, kept) = (write(4), [write(5), write(6)]);
    assert_eq!(outcome(dropped), Ok(Outcome::Dropped(DropReason::DropOldest)));
    sink.release();
    assert_eq!(outcome(taken), Ok(Outcome::Stored));
    for kept in kept {
        assert_eq!(outcome(kept), Ok(Outcome::Stored));
    }
    // What is left at the deadline becomes a dead letter, and the receipt knows.
    sink.hold();
    let held = write(7);
    block_on(within(PATIENCE, sink.wait_held(1)));
    let queued = write(8);
    let report = block_on(within(PATIENCE, store.shutdown(Duration::ZERO)));
    assert_eq!([outcome(held), outcome(queued)], [Ok(Outcome::DeadLettered); 2]);
    assert_eq!((report.dead_lettered(), report.unsettled()), (3, 0));
    assert_eq!(buried(&dir.path().join("letters")).into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([2, 7, 8]));
}

/// Red when the end takes longer than it may, when the books do not add up, or when a receipt claims to know.
#[test]
fn what_can_be_put_nowhere_at_the_end_is_reported_as_unsettled() {
    let dir = tempfile::tempdir().unwrap();
    let sink = MemorySink::<Tick>::new();
    let (store, handle) = spawn(sink.clone(), coordinator_settings(100, 2, 5), settings(&dir));
    block_letters(&dir);
    sink.fail_when(|_| Some(SinkError::transient("away")));
    let receipts: Vec<_> = (0..40)
        .map(|id| block_on(within(PATIENCE, handle.submit_with_receipt(tick(format!("K{id}"), id)))).unwrap())
        .collect();
    block_on(within(PATIENCE, sink.wait_failed(1)));
    let (begun, deadline) = (std::time::Instant::now(), Duration::from_millis(200));
    let report = block_on(within(PATIENCE, store.shutdown(deadline)));
    assert!(begun.elapsed() < deadline + Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!((report.submitted(), report.stored(), report.dead_lettered(), report.unsettled()), (40, 0, 0, 40));
    for outcome in block_on(within(PATIENCE, join_all(receipts))) {
        assert_eq!(outcome, Err(ReceiptLost));
    }
    let health = block_on(handle.health());
    assert_eq!((residual(&health), health.alive), (0, false));
}

/// Red when a shutdown that no one waits for any more cuts off the next one while it writes dead letters.
#[test]
fn a_shutdown_that_was_given_up_does_not_spoil_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let sink = MemorySink::<Tick>::new();
    let (store, handle) = spawn(sink.clone(), coordinator_settings(1_000, 2, 5), settings(&dir));
    sink.hold();
    block_on(handle.submit_many((0..500).map(|id| tick(format!("K{id}"), id)))).unwrap();
    block_on(async {
        let first = std::pin::pin!(store.shutdown(Duration::from_secs(3_600)));
        let begun = std::pin::pin!(until(&handle, |health| health.state == BufferState::Draining));
        assert!(matches!(select(first, begun).await, Either::Right(_)), "the sink holds on");
    });
    let report = block_on(within(PATIENCE, store.shutdown(Duration::from_millis(50))));
    assert_eq!((report.submitted(), report.dead_lettered(), report.unsettled()), (500, 500, 0));
    assert_eq!(buried(&dir.path().join("letters")).len(), 500);
}

/// Red when what a worker is writing is cut off before the deadline because the queue is dead, or waited for longer.
#[actix::test]
async fn behind_a_dead_queue_a_write_has_until_the_deadline() {
    tokio::time::pause();
    for in_time in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let sink = MemorySink::<Tick>::new();
        let (store, handle, _) = start_here(sink.clone(), coordinator_settings(100, 1, 5), settings(&dir)).await;
        sink.hold();
        (0..12).for_each(|id| handle.try_submit(tick("ES", id)).unwrap());
        within(PATIENCE, sink.wait_held(1)).await;
        handle.fault(FaultyActor::Queue).strike();
        let reason = within(PATIENCE, store.stopped()).await;
        assert_eq!(reason, StopReason::QueueDied { coordinator_id: "ticks".into() });
        let (begun, deadline) = (Instant::now(), Duration::from_secs(60));
        let end = std::pin::pin!(store.shutdown(deadline));
        let end = match select(end, std::pin::pin!(tokio::time::sleep(Duration::from_secs(50)))).await {
            Either::Left((report, _)) => panic!("it ended after {:?}: {report}", begun.elapsed()),
            Either::Right(((), end)) => end,
        };
        if in_time {
            sink.release();
        }
        let report = within(PATIENCE, end).await;
        adds_up(&report);
        // The queue is gone, so what it had not handed out is not written. (A paused clock leaves dead letters no
        // time.)
        assert_eq!(report.stored(), if in_time { 5 } else { 0 }, "{report}");
        assert!(in_time || begun.elapsed() >= deadline, "{:?}", begun.elapsed());
        assert!(begun.elapsed() <= deadline + Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

/// Red when what a dead queue had not handed out is lost.
#[test]
fn what_a_dead_queue_had_not_handed_out_becomes_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    let sink = MemorySink::<Tick>::new();
    let (store, handle) = spawn(sink.clone(), coordinator_settings(100, 1, 5), settings(&dir));
    sink.hold();
    (0..12).for_each(|id| handle.try_submit(tick("ES", id)).unwrap());
    block_on(within(PATIENCE, sink.wait_held(1)));
    handle.fault(FaultyActor::Queue).strike();
    block_on(within(PATIENCE, store.stopped()));
    sink.release();
    let report = block_on(within(PATIENCE, store.shutdown(PATIENCE)));
    assert_eq!((report.stored(), report.dead_lettered(), report.unsettled()), (5, 7, 0));
    assert_eq!(buried(&letters(&dir)), [5, 6, 7, 8, 9, 10, 11]);
}

/// What its workers are writing has until the deadline. Red when any of it is neither in the store nor a dead letter,
/// though nothing keeps it from being one.
#[test]
fn what_a_dead_coordinator_left_behind_becomes_dead_letters() {
    for (is_here, hangs) in [(false, false), (false, true), (true, false), (true, true)] {
        let context = format!("on this arbiter: {is_here}, the store hangs: {hangs}");
        let dir = tempfile::tempdir().unwrap();
        let sink = MemorySink::<Tick>::new();
        sink.hold();
        let run = async |store: MarketDataStore, handle: WriteHandle<Tick>| {
            (0..50).for_each(|id| handle.try_submit(tick(format!("K{}", id % 7), id)).unwrap());
            within(PATIENCE, sink.wait_held(3)).await;
            handle.fault(FaultyActor::Coordinator).strike();
            within(PATIENCE, store.stopped()).await;
            if !hangs {
                sink.release();
            }
            let deadline = if hangs { Duration::from_millis(100) } else { PATIENCE };
            let report = within(PATIENCE, store.shutdown(deadline)).await;
            adds_up(&report);
            assert_eq!((report.submitted(), report.unsettled()), (50, 0), "{context}: {report:?}");
            assert_eq!(report.stored() == 0, hangs, "{context}: {report:?}");
            let there: BTreeSet<u64> = buried(&letters(&dir)).into_iter().chain(ids(&sink.records())).collect();
            assert!(there.into_iter().eq(0..50), "{context}");
        };
        let own = coordinator_settings(100, 3, 4);
        if is_here {
            actix::System::new().block_on(async {
                let (store, handle, _) = start_here(sink.clone(), own, settings(&dir)).await;
                run(store, handle).await;
            });
        } else {
            let (store, handle) = spawn(sink.clone(), own, settings(&dir));
            block_on(run(store, handle));
        }
    }
}

fn letters(dir: &TempDir) -> PathBuf {
    dir.path().join("letters")
}

/// Makes dead letters impossible: where their directory was there is a file.
fn block_letters(dir: &TempDir) {
    fs::remove_dir_all(letters(dir)).unwrap();
    fs::write(letters(dir), "in the way").unwrap();
}

fn unblock_letters(dir: &TempDir) {
    fs::remove_file(letters(dir)).unwrap();
}

/// Red when a record is given up although its letter cannot be written, when the level does not say so or stays up
/// afterwards, when other partitions wait with it, or when a worker that died meanwhile leaves the level up without
/// end.
#[test]
fn while_dead_letters_cannot_be_written_nothing_is_given_up_and_the_level_says_so() {
    for dies in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let sink = MemorySink::<Tick>::new();
        sink.fail_when(|batch| batch.iter().any(|tick| tick.id < 2).then(|| SinkError::permanent("out of range")));
        let mut settings = settings(&dir);
        settings.retry.max_backoff = Duration::from_millis(20);
        let (store, handle) = spawn(sink.clone(), coordinator_settings(100, 4, 5), settings);
        let events = record_in(&store);
        block_letters(&dir);
        let bad: Vec<_> = (0..2).map(|id| block_on(handle.submit_with_receipt(tick("BAD", id))).unwrap()).collect();
        let flush = thread::spawn({
            let handle = handle.clone();
            move || block_on(handle.flush())
        });
        let health = block_on(until(&handle, |health| health.level == Level::Hard));
        assert_eq!(
            (health.reason, health.causes.as_slice()),
            (Reason::DeadLettersUnwritable, &[Cause::DeadLettersUnwritable][..])
        );
        assert_eq!((health.in_flight, health.dead_lettered), (2, 0));
        let others: Vec<_> =
            (10..40).map(|id| block_on(handle.submit_with_receipt(tick(format!("K{id}"), id))).unwrap()).collect();
        let flush_others = thread::spawn({
            let handle = handle.clone();
            move || block_on(handle.flush())
        });
        // At least one symbol in thirty shares no worker with the bad one.
        block_on(within(PATIENCE, sink.wait_stored(1)));
        if dies {
            // The store takes the records back: the next batch has no letter to write.
            sink.heal();
            (0..4).for_each(|worker| handle.fault(FaultyActor::Worker(worker)).strike());
            block_on(until(&handle, |health| health.workers_alive == 4 && health.stored == 32));
        } else {
            unblock_letters(&dir);
        }
        for outcome in block_on(within(PATIENCE, join_all(bad))) {
            assert_eq!(outcome, Ok(if dies { Outcome::Stored } else { Outcome::DeadLettered }));
        }
        for outcome in block_on(within(PATIENCE, join_all(others))) {
            assert_eq!(outcome, Ok(Outcome::Stored));
        }
        flush.join().unwrap().unwrap();
        flush_others.join().unwrap().unwrap();
        let health = block_on(until(&handle, |health| health.level == Level::Ok));
        assert!(health.causes.is_empty());
        block_on(caught_up(&handle, &store.feedback()));
        let told = told(&events);
        assert!(told.contains(&(Level::Hard, Reason::DeadLettersUnwritable)), "{told:?}");
        assert_eq!(told.last(), Some(&(Level::Ok, Reason::DeadLettersWritable)), "{told:?}");
        if !dies {
            assert_eq!(buried(&letters(&dir)), [0, 1]);
        }
        assert!(block_on(within(PATIENCE, store.shutdown(PATIENCE))).is_complete());
    }
}

/// Red when it goes on at once each time, when the circuit opens sooner or never, or when the batch is lost or
/// overtaken.
#[actix::test]
async fn a_worker_that_dies_again_and_again_opens_the_circuit() {
    tokio::time::pause();
    for threshold in [5, 0] {
        let dir = tempfile::tempdir().unwrap();
        let sink = MemorySink::<Tick>::new();
        let mut settings = settings(&dir);
        settings.circuit.failure_threshold = NonZeroU32::new(threshold);
        let (store, handle, events) = start_here(sink.clone(), coordinator_settings(100, 1, 5), settings).await;
        let opens = threshold > 0;
        sink.hold();
        (0..20).for_each(|id| handle.try_submit(tick("ES", id)).unwrap());
        for death in 1..=5 {
            within(PATIENCE, sink.wait_held(1)).await;
            assert_eq!(sink.writes(), death);
            let begun = Instant::now();
            handle.fault(FaultyActor::Worker(0)).strike();
            if death < 5 || !opens {
                within(PATIENCE, sink.wait_writes(death + 1)).await;
            } else {
                within(PATIENCE, async {
                    while handle.health().await.circuit == CircuitState::Closed {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                })
                .await;
            }
            assert!(begun.elapsed() <= Duration::from_millis(200), "{:?}", begun.elapsed());
        }
        let health = caught_up_here(&handle, &store).await;
        assert_eq!(health.circuit, if opens { CircuitState::Open } else { CircuitState::Closed });
        assert_eq!(told(&events).contains(&(Level::Hard, Reason::CircuitOpen)), opens);
        assert_eq!((health.stored, residual(&health)), (0, 0));
        let open = Instant::now();
        within(PATIENCE, sink.wait_held(1)).await;
        if opens {
            assert_about(open.elapsed(), HALF_OPEN_AFTER);
        }
        sink.release();
        flush(&handle).await;
        assert!(sink.records().iter().map(|record| record.id).eq(0..20), "in order, each once");
        caught_up_here(&handle, &store).await;
        assert_eq!(events.lock().last().unwrap().level, Level::Ok);
        assert!(store.shutdown(Duration::from_secs(1)).await.is_complete());
    }
}

/// Red when a death is counted for longer than ten seconds, when one is forgotten sooner, or when the fifth within them
/// does not open the circuit.
#[actix::test]
async fn only_deaths_of_one_time_open_the_circuit() {
    tokio::time::pause();
    let dir = tempfile::tempdir().unwrap();
    let sink = MemorySink::<Tick>::new();
    let (store, handle, events) = start_here(sink.clone(), coordinator_settings(100, 1, 5), settings(&dir)).await;
    sink.hold();
    (0..20).for_each(|id| handle.try_submit(tick("ES", id)).unwrap());
    // Four at once, one when they are over and done with, and four more: the last five are within eight seconds.
    let waits = [0, 0, 0, 0, 11, 2, 2, 2, 2].map(Duration::from_secs);
    for (death, wait) in (1..).zip(waits) {
        within(PATIENCE, sink.wait_held(1)).await;
        assert_eq!(sink.writes(), death);
        tokio::time::sleep(wait).await;
        handle.fault(FaultyActor::Worker(0)).strike();
        if death < waits.len() {
            within(PATIENCE, sink.wait_writes(death + 1)).await;
            let health = caught_up_here(&handle, &store).await;
            assert_eq!(health.circuit, CircuitState::Closed, "after {death} deaths");
        }
    }
    within(PATIENCE, sink.wait_until(|counts| counts.held == 0)).await;
    let open = Instant::now();
    within(PATIENCE, sink.wait_held(1)).await;
    assert_about(open.elapsed(), HALF_OPEN_AFTER);
    sink.release();
    flush(&handle).await;
    assert!(sink.records().iter().map(|record| record.id).eq(0..20), "in order, each once");
    caught_up_here(&handle, &store).await;
    let expected =
        [(Level::Ok, Reason::Started), (Level::Hard, Reason::CircuitOpen), (Level::Ok, Reason::CircuitClosed)];
    assert_eq!(told(&events), expected);
    assert!(store.shutdown(Duration::from_secs(1)).await.is_complete());
}
