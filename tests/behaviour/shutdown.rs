//! Ends of a store that are asked for twice, given all the time in the world, or met by the death of its coordinator.

use std::{
    fs,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures::{channel::oneshot, executor::block_on, future};
use market_data_store::{
    Batch, Coordinator, MarketDataStore, Record, Settings, Sink, SinkError, WriteHandle,
    coordinator::FaultyActor,
    dead_letter::{self, Entry},
    settings::CoordinatorSettings,
    sink::MemorySink,
};
use serde::{Deserialize, Serialize, Serializer};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::support::{A_DAY, PATIENCE, Tick, coordinator_settings, tick, within};

fn settings(dir: &TempDir, own: CoordinatorSettings) -> Settings {
    let mut settings = Settings::default();
    settings.dlq_path = dir.path().join("letters");
    settings.coordinator = own;
    settings.sink_slow_after = A_DAY;
    settings
}

fn spawn<T: Record>(sink: impl Sink<T>, settings: Settings) -> (MarketDataStore, WriteHandle<T>) {
    let store = MarketDataStore::builder(settings).coordinator(Coordinator::new(sink)).spawn().unwrap();
    let handle = store.coordinator().unwrap();
    (store, handle)
}

fn entries(dir: &TempDir) -> Vec<Entry> {
    let found = dead_letter::list(&dir.path().join("letters")).unwrap();
    found.map(|found| found.unwrap().entry.unwrap()).collect()
}

/// Red when the time for the last dead letters is added to a clock that cannot hold it.
#[test]
fn an_end_may_have_all_the_time_in_the_world() {
    for give_up in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let sink = MemorySink::<Tick>::new();
        let (store, handle) = spawn(sink.clone(), settings(&dir, coordinator_settings(100, 1, 1)));
        sink.hold();
        (0..5).for_each(|id| handle.try_submit(tick("ES", id)).unwrap());
        block_on(within(PATIENCE, sink.wait_held(1)));
        let report = if give_up {
            block_on(within(PATIENCE, store.abort(Duration::MAX)))
        } else {
            sink.release();
            block_on(within(PATIENCE, store.shutdown(Duration::MAX)))
        };
        assert_eq!((report.stored() + report.dead_lettered(), report.unsettled()), (5, 0), "{report:?}");
        assert_eq!(report.dead_lettered() > 0, give_up);
    }
}

/// Hangs, and says when it began.
struct Hangs(watch::Sender<bool>);

impl<T: Record> Sink<T> for Hangs {
    async fn write(&self, _: &Batch<T>) -> Result<(), SinkError> {
        self.0.send_replace(true);
        future::pending().await
    }
}

/// Red when a task that ends a store for its dead coordinator begins the deadline anew.
#[test]
fn a_death_in_the_middle_of_a_shutdown_keeps_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let began = watch::Sender::new(false);
    let mut has_begun = began.subscribe();
    let (store, handle) = spawn(Hangs(began), settings(&dir, coordinator_settings(100, 1, 1)));
    handle.try_submit(tick("ES", 1)).unwrap();
    block_on(within(PATIENCE, has_begun.wait_for(|began| *began))).unwrap();
    let deadline = Duration::from_secs(3);
    let begun = Instant::now();
    let report = thread::scope(|scope| {
        scope.spawn(|| {
            // Not to wait for something: the death is to come when most of the time is over.
            thread::sleep(deadline - Duration::from_millis(500));
            handle.fault(FaultyActor::Coordinator).strike();
        });
        block_on(within(PATIENCE, store.shutdown(deadline)))
    });
    assert_eq!((report.dead_lettered(), report.unsettled()), (1, 0));
    assert!(begun.elapsed() < deadline + Duration::from_secs(2), "{:?}", begun.elapsed());
}

/// Red when what rests for a store that asked to be left alone rests until the deadline, because the coordinator is
/// dead.
#[test]
fn behind_a_dead_coordinator_a_store_that_is_back_is_asked_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let sink = MemorySink::<Tick>::new();
    sink.fail_next(SinkError::transient("busy").retry_after(Duration::from_secs(3_600)));
    let mut settings = settings(&dir, coordinator_settings(100, 1, 1));
    settings.circuit.failure_threshold = None;
    let (store, handle) = spawn(sink.clone(), settings);
    handle.try_submit(tick("ES", 1)).unwrap();
    block_on(within(PATIENCE, sink.wait_failed(1)));
    handle.fault(FaultyActor::Coordinator).strike();
    block_on(within(PATIENCE, store.stopped()));
    let report = block_on(within(PATIENCE, store.shutdown(PATIENCE)));
    assert_eq!((report.stored(), report.dead_lettered()), (1, 0), "{report:?}");
}

/// Red when what a dead coordinator left is ended on the thread of the caller, which may drive no futures of that kind.
#[test]
fn a_store_on_one_thread_is_ended_from_another_though_its_coordinator_is_dead() {
    let dir = tempfile::tempdir().unwrap();
    let sink = MemorySink::<Tick>::new();
    let builder = MarketDataStore::builder(settings(&dir, coordinator_settings(100, 1, 5)));
    let store = builder.coordinator(Coordinator::new(sink.clone())).on_current_arbiter().spawn().unwrap();
    let handle = store.coordinator::<Tick>().unwrap();
    sink.hold();
    (0..7).for_each(|id| handle.try_submit(tick("ES", id)).unwrap());
    block_on(within(PATIENCE, sink.wait_held(1)));
    handle.fault(FaultyActor::Coordinator).strike();
    block_on(within(PATIENCE, store.stopped()));
    let report = block_on(within(PATIENCE, store.shutdown(Duration::from_millis(50))));
    assert_eq!((report.dead_lettered(), report.unsettled()), (7, 0), "{report:?}");
    assert_eq!(entries(&dir).len(), 7);
}

/// Blocks the thread that it runs on.
struct Blocks(std::sync::mpsc::Receiver<()>);

impl actix::Actor for Blocks {
    type Context = actix::Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        // The other end goes with the test.
        let _ = self.0.recv();
    }
}

/// Red when what a dead coordinator left is settled on the arbiter that it had: that one may be blocked, or gone.
#[test]
fn what_a_dead_coordinator_left_needs_no_arbiter_to_become_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    let builder = MarketDataStore::builder(settings(&dir, coordinator_settings(100, 1, 5)));
    let store = builder.coordinator(Coordinator::new(MemorySink::<Tick>::new())).on_current_arbiter().spawn().unwrap();
    let handle = store.coordinator::<Tick>().unwrap();
    (0..4).for_each(|id| handle.try_submit(tick("ES", id)).unwrap());
    handle.fault(FaultyActor::Coordinator).strike();
    block_on(within(PATIENCE, store.stopped()));
    let (_hold, until) = std::sync::mpsc::channel();
    let (blocks, is_blocked) = oneshot::channel();
    store.start_actor(move |_| {
        let _ = blocks.send(());
        Blocks(until)
    });
    block_on(within(PATIENCE, is_blocked)).unwrap();
    let report = block_on(within(PATIENCE, store.shutdown(Duration::from_millis(50))));
    assert_eq!((report.dead_lettered(), report.unsettled()), (4, 0), "{report:?}");
    assert_eq!(entries(&dir).len(), 4);
}

/// Fails once; from then on its driver goes on although no one waits for it any more, as a thread does.
#[derive(Clone, Default)]
struct Driver {
    writes: Arc<AtomicUsize>,
    failed: Arc<watch::Sender<bool>>,
}

impl Sink<Tick> for Driver {
    async fn write(&self, _: &Batch<Tick>) -> Result<(), SinkError> {
        if self.writes.fetch_add(1, Ordering::AcqRel) == 0 {
            self.failed.send_replace(true);
            return Err(SinkError::transient("away").retry_after(Duration::from_secs(60)));
        }
        future::pending().await
    }
}

/// Red when an end without a deadline hurries a probe or a try: it would cut it off, and such a record can be stored
/// and a dead letter.
#[test]
fn an_end_at_once_begins_no_write() {
    for threshold in [1, 1_000] {
        let dir = tempfile::tempdir().unwrap();
        let sink = Driver::default();
        let mut has_failed = sink.failed.subscribe();
        let mut settings = settings(&dir, coordinator_settings(100, 1, 1));
        settings.circuit.failure_threshold = NonZeroU32::new(threshold);
        let (store, handle) = spawn(sink.clone(), settings);
        handle.try_submit(tick("ES", 1)).unwrap();
        block_on(within(PATIENCE, has_failed.wait_for(|failed| *failed))).unwrap();
        // It knows of the failure, and rests or is parked.
        while block_on(handle.health()).last_error.is_none() {
            thread::yield_now();
        }
        let report = block_on(within(PATIENCE, store.abort(PATIENCE)));
        assert_eq!((report.dead_lettered(), report.unsettled()), (1, 0), "{report:?}");
        assert_eq!(sink.writes.load(Ordering::Acquire), 1, "threshold {threshold}: a write was begun and cut off");
    }
}

/// Red when what could not become a dead letter at the end counts as settled afterwards.
#[test]
fn a_flush_after_an_end_does_not_claim_what_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let began = watch::Sender::new(false);
    let mut has_begun = began.subscribe();
    let mut settings = settings(&dir, coordinator_settings(100, 1, 1));
    settings.dlq_path = dir.path().join("blocked").join("letters");
    let (store, handle) = spawn(Hangs(began), settings);
    // The directory could be used at the start; now a file is where it would have to be made.
    fs::remove_dir_all(dir.path().join("blocked")).unwrap();
    fs::write(dir.path().join("blocked"), "").unwrap();
    handle.try_submit(tick("ES", 1)).unwrap();
    block_on(within(PATIENCE, has_begun.wait_for(|began| *began))).unwrap();
    let report = block_on(within(PATIENCE, store.shutdown(Duration::from_millis(50))));
    assert_eq!(report.unsettled(), 1);
    assert!(block_on(within(PATIENCE, handle.flush())).is_err(), "it says that all is settled");
}

/// A record that waits, when it becomes JSON, until it may.
#[derive(Clone, Debug, Deserialize)]
struct Gated {
    id: u64,
    #[serde(skip)]
    gate: Gate,
}

#[derive(Clone, Debug, Default)]
struct Gate(Arc<GateState>);

#[derive(Debug, Default)]
struct GateState {
    made: AtomicUsize,
    reached: parking_lot::Mutex<Option<oneshot::Sender<()>>>,
    open: parking_lot::Mutex<bool>,
    opened: parking_lot::Condvar,
}

/// So many become JSON before the gate: a group of last dead letters, and some of the next.
const BEFORE: usize = 10_500;
const ALL: u64 = 12_000;

impl Serialize for Gated {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let gate = &self.gate.0;
        if gate.made.fetch_add(1, Ordering::AcqRel) + 1 == BEFORE {
            gate.reached.lock().take().map(|reached| reached.send(()));
            let mut open = gate.open.lock();
            while !*open {
                gate.opened.wait(&mut open);
            }
        }
        serializer.serialize_u64(self.id)
    }
}

impl Record for Gated {
    const KIND: &'static str = "gated";

    fn partition_key(&self) -> &'static str {
        "one"
    }
}

/// The first end is dropped, or its coordinator dies, while it makes dead letters. Red when no one makes the rest, when
/// two make the same at once, or when the second end does not wait for the first.
#[test]
fn an_end_that_is_cut_off_while_it_makes_dead_letters_is_ended_by_the_next() {
    for (is_dead_before, dies) in [(false, false), (true, false), (false, true)] {
        let context = format!("dead before: {is_dead_before}, dies in it: {dies}");
        let dir = tempfile::tempdir().unwrap();
        let began = watch::Sender::new(false);
        let mut has_begun = began.subscribe();
        let own = CoordinatorSettings::new(20_000).workers(1).batch_size(1_000);
        let (store, handle) = spawn::<Gated>(Hangs(began), settings(&dir, own));
        let gate = Gate::default();
        let (reached, is_reached) = oneshot::channel();
        *gate.0.reached.lock() = Some(reached);
        for id in 0..ALL {
            handle.try_submit(Gated { id, gate: gate.clone() }).unwrap();
        }
        block_on(within(PATIENCE, has_begun.wait_for(|began| *began))).unwrap();
        if is_dead_before {
            handle.fault(FaultyActor::Coordinator).strike();
            block_on(within(PATIENCE, store.stopped()));
        }
        let first = Box::pin(store.abort(PATIENCE));
        let reached = block_on(within(PATIENCE, future::select(first, is_reached)));
        let future::Either::Right((_, first)) = reached else { panic!("{context}: it ended before its letters") };
        if dies {
            handle.fault(FaultyActor::Coordinator).strike();
        }
        let open = || {
            *gate.0.open.lock() = true;
            gate.0.opened.notify_all();
        };
        let report = if dies {
            open();
            block_on(within(PATIENCE, first))
        } else {
            drop(first);
            thread::scope(|scope| {
                let second = scope.spawn(|| block_on(within(PATIENCE, store.shutdown(Duration::from_millis(100)))));
                open();
                second.join().unwrap()
            })
        };
        assert_eq!((report.dead_lettered(), report.unsettled()), (ALL, 0), "{context}: {report:?}");
        let mut ids: Vec<u64> = entries(&dir).iter().map(|entry| entry.record.get().parse().unwrap()).collect();
        let many = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert!(ids.into_iter().eq(0..ALL), "{context}");
        // What was handed over when the coordinator died may be there twice.
        assert!(many == ALL as usize || dies, "{context}: {many} entries");
    }
}
