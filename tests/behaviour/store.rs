//! A store as a whole: how it starts, who can reach it, and how it ends.

use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use futures::{FutureExt, executor::block_on};
use market_data_store::{
    Bar, Batch, Builder, Coordinator, FeedbackEvent, Level, MarketDataStore, Outcome, Reason, ReceiptLost, Refusal,
    Sink, SinkError, StartError, StopReason, Subscribe, WriteHandle, feedback::EventSeries, sink::MemorySink,
};
use parking_lot::Mutex;

use crate::support::{PATIENCE, Tick, coordinator_settings, log, occupy, record_in, residual, tick, ticks, within};

fn builder(ids: &[&str]) -> Builder {
    ids.iter().fold(MarketDataStore::builder(crate::support::settings()), |builder, &id| {
        builder.coordinator(Coordinator::new(MemorySink::<Tick>::new()).id(id))
    })
}

/// One coordinator of ticks on a sink that can be held.
fn with_sink(capacity: usize, workers: usize, batch_size: usize) -> (Builder, MemorySink<Tick>) {
    let sink = MemorySink::new();
    let coordinator = Coordinator::new(sink.clone()).settings(coordinator_settings(capacity, workers, batch_size));
    (MarketDataStore::builder(crate::support::settings()).coordinator(coordinator), sink)
}

/// Writes one record and ends the store: what every way to start must be able to do.
async fn use_once(store: MarketDataStore) {
    let handle = store.coordinator::<Tick>().unwrap();
    within(PATIENCE, handle.submit(tick("ES", 1))).await.unwrap();
    within(PATIENCE, handle.flush()).await.unwrap();
    let report = within(PATIENCE, store.shutdown(PATIENCE)).await;
    assert_eq!((report.stored(), report.unsettled()), (1, 0));
}

/// Red when an error leaves out what there is, or a coordinator is found under another's name or type.
#[test]
fn coordinators_are_found_by_type_or_by_name_and_errors_list_what_there_is() {
    let store = builder(&["fast", "slow"]).spawn().unwrap();
    assert_eq!(store.coordinator_named::<Tick>("fast").unwrap().id(), "fast");
    assert_eq!(store.coordinator_named::<Tick>("slow").unwrap().id(), "slow");
    let errors = [
        store.coordinator::<Tick>().unwrap_err(),
        store.coordinator::<Bar>().unwrap_err(),
        store.coordinator_named::<Tick>("fats").unwrap_err(),
        store.coordinator_named::<Bar>("fast").unwrap_err(),
    ];
    assert_eq!(
        errors.map(|error| error.to_string()),
        [
            "several coordinators of ticks records; coordinators here: fast, slow",
            "no coordinator of bars records; coordinators here: fast, slow",
            "no coordinator \"fats\"; coordinators here: fast, slow",
            "coordinator \"fast\" does not take bars records; coordinators here: fast, slow",
        ]
    );
    block_on(store.shutdown(PATIENCE));

    let store = with_sink(10, 1, 1).0.spawn().unwrap();
    assert_eq!(store.coordinator::<Tick>().unwrap().id(), "ticks", "the kind is the id by default");
    block_on(store.shutdown(PATIENCE));
}

/// Red when one of two coordinators gets the other's records.
#[test]
fn coordinators_of_one_type_keep_their_records_apart() {
    let sinks = [MemorySink::<Tick>::new(), MemorySink::new()];
    let ids = ["a", "b"];
    let store = ids
        .iter()
        .zip(&sinks)
        .fold(MarketDataStore::builder(crate::support::settings()), |builder, (id, sink)| {
            builder.coordinator(Coordinator::new(sink.clone()).id(*id))
        })
        .spawn()
        .unwrap();
    let handles = ids.map(|id| store.coordinator_named::<Tick>(id).unwrap());
    block_on(handles[0].submit_many(ticks(0..10))).unwrap();
    block_on(handles[1].submit_many(ticks(10..13))).unwrap();
    let report = block_on(within(PATIENCE, store.shutdown(PATIENCE)));
    assert_eq!(sinks.map(|sink| sink.stored()), [10, 3]);
    let reported = report.coordinators.iter().map(|part| (&*part.coordinator_id, part.submitted, part.stored));
    assert_eq!(reported.collect::<Vec<_>>(), [("a", 10, 10), ("b", 3, 3)]);
    assert_eq!(report.stored(), 13);
}

/// Red when a second coordinator takes the place of the first, or an id may hold what separates source and id.
#[test]
fn ids_are_unique_and_hold_no_slash() {
    assert!(matches!(builder(&["a", "b", "a"]).spawn(), Err(StartError::DuplicateId(id)) if id == "a"));
    for id in ["a/b", "/", ""] {
        assert!(matches!(builder(&[id]).spawn(), Err(StartError::InvalidId(seen)) if seen == id));
    }
    let error = builder(&["a/b"]).spawn().unwrap_err();
    assert_eq!(error.to_string(), "coordinator id \"a/b\": expected 1 to 255 bytes without '/' and hidden characters");
}

/// Red when a store on the current arbiter panics, or starts by half, where there is none.
#[test]
fn a_store_on_the_current_arbiter_needs_a_system_and_says_so() {
    // A thread of its own: whatever ran on this one before may have left a System behind.
    let start = || block_on(builder(&["a"]).on_current_arbiter().start()).unwrap_err();
    let error = thread::spawn(start).join().unwrap();
    assert!(matches!(error, StartError::NoActixSystem), "{error}");
}

/// Red when `start` needs an actix System, or a runtime of tokio's.
#[test]
fn start_works_on_any_runtime_or_none() {
    let start = || async { use_once(builder(&["a"]).start().await.unwrap()).await };
    thread::spawn(move || block_on(start())).join().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::spawn(start()).await.unwrap() });
    // Without timers and events, as the smallest runtime is.
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(start());
    thread::spawn(move || actix::System::new().block_on(start())).join().unwrap();
}

/// Red when `spawn` needs a runtime, or cannot be called within one.
#[test]
fn spawn_works_from_any_runtime_or_none() {
    block_on(use_once(builder(&["a"]).spawn().unwrap()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::spawn(use_once(builder(&["a"]).spawn().unwrap())).await.unwrap() });
    let current = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    current.block_on(use_once(builder(&["a"]).spawn().unwrap()));
    thread::spawn(|| actix::System::new().block_on(use_once(builder(&["a"]).spawn().unwrap()))).join().unwrap();
}

/// Red when the two ways to start in a System differ in what they can do.
#[actix::test]
async fn start_works_inside_a_system_on_its_own_threads_or_on_this_one() {
    use_once(builder(&["a"]).start().await.unwrap()).await;
    use_once(builder(&["a"]).on_current_arbiter().start().await.unwrap()).await;
}

/// Submits from four threads until the store refuses; returns how many records it accepted, and every refusal.
fn submit_until_refused(handle: &WriteHandle<Tick>, meanwhile: impl FnOnce(&dyn Fn() -> u64)) -> (u64, Vec<Refusal>) {
    let accepted = AtomicU64::new(0);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4u64)
            .map(|thread| {
                let accepted = &accepted;
                scope.spawn(move || {
                    for number in 0.. {
                        match block_on(handle.submit(tick(format!("K{}", number % 9), 4 * number + thread))) {
                            Ok(()) => _ = accepted.fetch_add(1, Ordering::AcqRel),
                            Err(error) => return error.refusal().clone(),
                        }
                    }
                    unreachable!("it is refused some day")
                })
            })
            .collect();
        meanwhile(&|| accepted.load(Ordering::Acquire));
        let refusals = threads.into_iter().map(|thread| thread.join().expect("a producer")).collect();
        (accepted.load(Ordering::Acquire), refusals)
    })
}

/// Red when the report is taken before the last batch is settled, a record is accepted behind it, or one that waits is
/// told that the queue is closed while the rest is being stored.
#[test]
fn shutdown_under_load_settles_what_it_accepted_and_adds_up() {
    let (builder, sink) = with_sink(50, 4, 10);
    let store = builder.spawn().unwrap();
    let handle = store.coordinator::<Tick>().unwrap();
    let mut report = None;
    let (accepted, refusals) = submit_until_refused(&handle, |accepted| {
        let begun = Instant::now();
        while accepted() < 2_000 {
            assert!(begun.elapsed() < PATIENCE);
            thread::yield_now();
        }
        report = Some(block_on(within(PATIENCE, store.shutdown(PATIENCE))));
    });
    let report = report.unwrap();
    assert_eq!((report.submitted(), report.stored(), report.unsettled()), (accepted, accepted, 0));
    assert_eq!(sink.stored() as u64, accepted);
    assert!(refusals.iter().all(|refusal| matches!(refusal, Refusal::Draining | Refusal::Closed)), "{refusals:?}");
    assert_eq!(*handle.try_submit(tick("ES", 1)).unwrap_err().refusal(), Refusal::Closed);
    assert_eq!(block_on(store.stopped()), StopReason::ShutDown);
    let health = block_on(handle.health());
    assert!(!health.alive && residual(&health) == 0, "{health:?}");
}

/// The end of input: nothing is announced, and a producer that still submits meanwhile is not cheated. Red when a
/// record that was accepted while the others were being settled is left behind.
#[test]
fn finish_settles_what_is_accepted_meanwhile() {
    for round in 0..20 {
        let (builder, sink) = with_sink(50, 2, 10);
        let store = builder.spawn().unwrap();
        let handle = store.coordinator::<Tick>().unwrap();
        let mut report = None;
        let (accepted, _) = submit_until_refused(&handle, |accepted| {
            while accepted() < 100 {
                thread::yield_now();
            }
            report = Some(block_on(within(PATIENCE, store.finish(PATIENCE))));
        });
        let report = report.unwrap();
        assert_eq!(
            (report.submitted(), report.stored(), report.unsettled()),
            (accepted, accepted, 0),
            "in round {round}"
        );
        assert_eq!(sink.stored() as u64, accepted);
    }
}

/// Red when `finish` raises `draining`, or ends before the last level change is told.
#[test]
fn finish_leaves_ok_as_the_last_event_and_shutdown_draining() {
    for (announce, expected) in [(false, (Level::Ok, Reason::QueueRecovered)), (true, (Level::Hard, Reason::Draining))]
    {
        let (builder, sink) = with_sink(10, 1, 1);
        let store = builder.spawn().unwrap();
        let handle = store.coordinator::<Tick>().unwrap();
        let events = record_in(&store);
        block_on(occupy(&handle, &sink, 1));
        block_on(handle.submit_many(ticks(1..11))).unwrap();
        // An end that is asked for first may speak first: then the level is hard already when the queue's is told.
        assert_eq!(block_on(handle.health()).level, Level::Hard);
        sink.release();
        let end = async { if announce { store.shutdown(PATIENCE).await } else { store.finish(PATIENCE).await } };
        assert_eq!(block_on(within(PATIENCE, end)).stored(), 11);
        let events = events.lock();
        assert!(events.iter().any(|event| event.reason == Reason::QueueHigh), "{events:?}");
        let last = events.last().unwrap();
        assert_eq!((last.level, last.reason), expected, "{events:?}");
    }
}

/// Red when those in line are not woken, or hear that the queue is full or closed.
#[test]
fn who_waits_when_the_drain_begins_hears_draining() {
    let (builder, sink) = with_sink(2, 1, 1);
    let store = builder.spawn().unwrap();
    let handle = store.coordinator::<Tick>().unwrap();
    block_on(occupy(&handle, &sink, 1));
    block_on(handle.submit_many(ticks(1..3))).unwrap();
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..3)
            .map(|id| {
                scope.spawn({
                    let handle = &handle;
                    move || block_on(handle.submit(tick("ES", 50 + id)))
                })
            })
            .collect();
        while block_on(handle.health()).waiting < 3 {
            thread::yield_now();
        }
        let ended = scope.spawn(|| block_on(store.shutdown(PATIENCE)));
        for (id, waiting) in (50..).zip(waiting) {
            let error = waiting.join().unwrap().unwrap_err();
            assert_eq!(*error.refusal(), Refusal::Draining);
            assert_eq!(error.into_record().id, id);
        }
        assert_eq!(*handle.try_submit(tick("ES", 60)).unwrap_err().refusal(), Refusal::Draining);
        sink.release();
        assert_eq!(ended.join().unwrap().stored(), 3);
    });
    assert_eq!(*handle.try_submit(tick("ES", 61)).unwrap_err().refusal(), Refusal::Closed);
}

/// Holds its thread, as a driver that hangs does, until it is let go.
struct Hangs(Arc<AtomicBool>);

impl Sink<Tick> for Hangs {
    async fn write(&self, _: &Batch<Tick>) -> Result<(), SinkError> {
        while !self.0.load(Ordering::Acquire) {
            thread::park_timeout(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// Red when the end waits for a write without end, or what it leaves behind becomes no dead letter.
#[test]
fn a_stuck_sink_holds_the_end_no_longer_than_the_deadline_and_a_little() {
    let deadline = Duration::from_millis(100);
    let check = |store: &MarketDataStore, allowed: Duration| {
        let handle = store.coordinator::<Tick>().unwrap();
        handle.try_submit(tick("ES", 500)).unwrap();
        let begun = Instant::now();
        let report = block_on(within(PATIENCE, store.shutdown(deadline)));
        let elapsed = begun.elapsed();
        assert!(elapsed >= deadline && elapsed < deadline + allowed, "{elapsed:?}");
        assert_eq!((report.submitted(), report.stored(), report.dead_lettered(), report.unsettled()), (3, 0, 3, 0));
    };
    // One that waits without end can be left at once.
    let (builder, sink) = with_sink(10, 1, 2);
    let store = builder.spawn().unwrap();
    sink.hold();
    block_on(store.coordinator::<Tick>().unwrap().submit_many(ticks(0..2))).unwrap();
    block_on(within(PATIENCE, sink.wait_held(1)));
    check(&store, PATIENCE / 3);
    // One that blocks its thread is given a second more.
    let go_on = Arc::new(AtomicBool::new(false));
    let coordinator = Coordinator::new(Hangs(Arc::clone(&go_on))).settings(coordinator_settings(10, 1, 2));
    let store = MarketDataStore::builder(crate::support::settings()).coordinator(coordinator).spawn().unwrap();
    block_on(store.coordinator::<Tick>().unwrap().submit_many(ticks(0..2))).unwrap();
    check(&store, PATIENCE / 3);
    go_on.store(true, Ordering::Release);
}

/// Red when the second call hangs, reports nothing, or ends something else.
#[test]
fn every_end_after_the_first_returns_the_same_report() {
    let (builder, _) = with_sink(10, 2, 2);
    let store = builder.spawn().unwrap();
    let handle = store.coordinator::<Tick>().unwrap();
    block_on(handle.submit_many(ticks(0..7))).unwrap();
    let beside = async { futures::join!(store.shutdown(PATIENCE), store.finish(PATIENCE)) };
    let (first, second) = block_on(within(PATIENCE, beside));
    assert_eq!(first.stored(), 7);
    assert_eq!(first, second);
    assert_eq!(block_on(within(PATIENCE, store.clone().shutdown(Duration::ZERO))), first);
}

/// Red when the drop is silent, counts wrongly, says so more than once, or calls the actors that go with it dead.
#[test]
fn dropping_a_store_without_an_end_says_in_one_error_what_is_lost() {
    log();
    let sink = MemorySink::<Tick>::new();
    let coordinator = Coordinator::new(sink.clone()).id("dropped").settings(coordinator_settings(5_000, 1, 1));
    let store = MarketDataStore::builder(crate::support::settings()).coordinator(coordinator).spawn().unwrap();
    let handle = store.coordinator_named::<Tick>("dropped").unwrap();
    block_on(occupy(&handle, &sink, 1));
    let receipt = block_on(handle.submit_with_receipt(tick("ES", 1))).unwrap();
    block_on(handle.submit_many(ticks(2..4_321))).unwrap();
    let clone = store.clone();
    drop(store);
    let mine = |line: &&String| line.contains("unsettled=4321") || line.contains("\"dropped\"");
    assert_eq!(log().iter().filter(mine).count(), 0, "a clone keeps it running");
    drop(clone);
    assert_eq!(*handle.try_submit(tick("ES", 1)).unwrap_err().refusal(), Refusal::Closed, "the handle remains");
    assert_eq!(block_on(within(PATIENCE, receipt)), Err(ReceiptLost));
    // Its threads have ended, and with them everything that could still say something.
    while block_on(handle.health()).alive {
        thread::yield_now();
    }
    let log = log();
    let lines: Vec<_> = log.iter().filter(mine).collect();
    assert_eq!(lines.len(), 1, "{log:?}");
    assert!(lines[0].starts_with("ERROR") && lines[0].contains("unsettled=4321"), "{lines:?}");
    assert!(lines[0].contains("MarketDataStore::shutdown"), "{lines:?}");
}

/// Red when events go out although they are switched off, or the level stops with them.
#[test]
fn without_feedback_levels_stay_in_health_and_nothing_is_published() {
    let sink = MemorySink::<Tick>::new();
    let mut settings = crate::support::settings();
    settings.feedback.enabled = false;
    let coordinator = Coordinator::new(sink.clone()).settings(coordinator_settings(10, 1, 1));
    let store = MarketDataStore::builder(settings).coordinator(coordinator).spawn().unwrap();
    let handle = store.coordinator::<Tick>().unwrap();
    let events = record_in(&store);
    block_on(occupy(&handle, &sink, 1));
    block_on(handle.submit_many(ticks(1..11))).unwrap();
    let health = block_on(handle.health());
    assert_eq!((health.level, health.reason, handle.level()), (Level::Hard, Reason::QueueHigh, Level::Hard));
    sink.release();
    block_on(within(PATIENCE, handle.flush())).unwrap();
    let health = block_on(handle.health());
    assert_eq!((health.level, health.reason, handle.level()), (Level::Ok, Reason::QueueRecovered, Level::Ok));
    assert_eq!(health.seq, 3, "started, hard, ok");
    block_on(within(PATIENCE, store.feedback().idle()));
    assert_eq!(block_on(store.feedback().snapshot()).unwrap().events, 0);
    block_on(within(PATIENCE, store.shutdown(PATIENCE)));
    assert!(events.lock().is_empty());
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Runs in a process of its own, for threads of other tests have the same names. Red when an arbiter, of an actor of
/// the embedder's too, the store's or the bus's thread outlives its store.
#[test]
fn no_thread_of_a_store_is_left() {
    const ALONE: &str = "MDS_TEST_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let mut alone = Command::new(std::env::current_exe().unwrap());
        alone.args(["--exact", "store::no_thread_of_a_store_is_left", "--nocapture"]).env(ALONE, "1");
        let output = alone.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let before = threads();
    for shut_down in [true, false] {
        let (builder, _) = with_sink(10, 2, 2);
        let store = builder.spawn().unwrap();
        let handle = store.coordinator::<Tick>().unwrap();
        block_on(handle.submit(tick("ES", 1))).unwrap();
        // Its address is kept, so it does not end by itself.
        let actor = store.start_actor(|_| Neighbour { kind: Kind::Good(0), told: mpsc::channel().0 });
        block_on(within(PATIENCE, actor.send(EventSeries::new("bars").next(Level::Hard)))).expect("it runs");
        assert!(threads() > before + 5, "a store has threads: {} after {before}", threads());
        if shut_down {
            block_on(store.shutdown(PATIENCE));
        }
        drop((store, handle));
        let begun = Instant::now();
        while threads() > before {
            let names = std::fs::read_dir("/proc/self/task").unwrap().flatten();
            let names = names.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
            assert!(begun.elapsed() < PATIENCE, "still there: {:?}", names.collect::<Vec<_>>());
            thread::yield_now();
        }
    }
}

/// Red when a second end cuts the first off before everything that is left has become a dead letter.
#[test]
fn a_shutdown_that_was_given_up_and_asked_for_again_leaves_nothing_unsettled() {
    let (builder, sink) = with_sink(2_000, 2, 10);
    let store = builder.spawn().unwrap();
    let handle = store.coordinator::<Tick>().unwrap();
    let held = block_on(occupy(&handle, &sink, 2));
    block_on(handle.submit_many(ticks(100..1_000))).unwrap();
    let receipt = block_on(handle.submit_with_receipt(tick("last", 1_000))).unwrap();

    // Polled once, so the coordinator has been asked; then no one waits for it.
    assert!(store.shutdown(PATIENCE).now_or_never().is_none());
    let report = block_on(within(PATIENCE, store.shutdown(Duration::from_millis(10))));

    let accepted = held + 901;
    assert_eq!((report.submitted(), report.dead_lettered(), report.unsettled()), (accepted, accepted, 0));
    assert_eq!(block_on(within(PATIENCE, receipt)), Ok(Outcome::DeadLettered));
}

/// Red when a store that is dropped goes on unseen where no thread of its own ends with it: the receipt
/// then waits for as long as the System runs.
#[actix::test]
async fn a_store_on_the_current_arbiter_that_is_dropped_leaves_no_one_waiting() {
    let (builder, _sink) = with_sink(10, 1, 10);
    let store = builder.on_current_arbiter().start().await.unwrap();
    let handle = store.coordinator::<Tick>().unwrap();
    let receipt = handle.submit_with_receipt(tick("ES", 1)).await.unwrap();
    drop((handle, store));
    assert_eq!(within(PATIENCE, receipt).await, Err(ReceiptLost));
}

/// Stops the System that it runs in, as an HTTP server in an actor does when the process is to end.
struct StopsItsSystem;

impl actix::Actor for StopsItsSystem {
    type Context = actix::Context<Self>;

    fn started(&mut self, _: &mut Self::Context) {
        actix::System::current().stop();
    }
}

/// Red when the actors of an embedder share the System of the store's parts.
#[test]
fn an_actor_that_stops_its_system_takes_no_part_of_the_store_with_it() {
    let (builder, sink) = with_sink(200, 2, 10);
    let store = builder.spawn().unwrap();
    let handle = store.coordinator::<Tick>().unwrap();
    let held = block_on(occupy(&handle, &sink, 2));
    block_on(handle.submit_many(ticks(held..held + 100))).unwrap();
    let actor = store.start_actor(|_| StopsItsSystem);
    while actor.connected() {
        thread::yield_now();
    }
    sink.release();
    let report = block_on(within(PATIENCE, store.shutdown(PATIENCE)));
    assert_eq!((report.stored(), report.unsettled()), (held + 100, 0), "{report}");
    assert_eq!(block_on(store.stopped()), StopReason::ShutDown);
}

/// Stops the System of a store, whatever thread it is on.
struct StopsTheStore;

impl Sink<Tick> for StopsTheStore {
    async fn write(&self, _: &Batch<Tick>) -> Result<(), SinkError> {
        actix::System::current().stop();
        Err(SinkError::transient("the line is down").outage())
    }
}

/// Red when what a dead coordinator left needs an arbiter that is gone to become dead letters.
#[test]
fn what_a_store_leaves_whose_system_was_stopped_becomes_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = crate::support::settings();
    settings.dlq_path = dir.path().to_owned();
    let coordinator = Coordinator::new(StopsTheStore).settings(coordinator_settings(200, 2, 10));
    let store = MarketDataStore::builder(settings).coordinator(coordinator).spawn().unwrap();
    let handle = store.coordinator::<Tick>().unwrap();
    let accepted = block_on(handle.submit_many(ticks(0..100))).unwrap_or_else(|error| error.accepted);
    assert!(matches!(
        block_on(within(PATIENCE, store.stopped())),
        StopReason::CoordinatorDied { .. } | StopReason::QueueDied { .. }
    ));
    let report = block_on(within(PATIENCE, store.shutdown(Duration::from_millis(100))));
    assert_eq!((report.dead_lettered(), report.unsettled()), (accepted as u64, 0), "{report}");
    let entries = market_data_store::dead_letter::list(dir.path()).unwrap();
    let ids: std::collections::BTreeSet<_> = entries.map(|entry| entry.unwrap().entry.unwrap().id).collect();
    assert_eq!(ids.len(), accepted);
}

/// Red when a start takes a directory for dead letters as it is, tries it by halves, or leaves what it tried there.
#[actix::test]
async fn however_a_store_starts_it_tries_the_directory_for_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let settings = |path: &str| {
        let database_url = format!("sqlite://{}", dir.path().join("bars.db").display());
        crate::support::settings().dlq_path(dir.path().join(path)).database_url(database_url)
    };
    let at =
        |path: &str| MarketDataStore::builder(settings(path)).coordinator(Coordinator::new(MemorySink::<Tick>::new()));
    for path in ["file", "file/letters"] {
        let starts = [
            at(path).start().await,
            at(path).spawn(),
            at(path).on_current_arbiter().start().await,
            at(path).on_current_arbiter().spawn(),
            #[cfg(feature = "sqlite")]
            MarketDataStore::start(settings(path)).await,
            #[cfg(feature = "sqlite")]
            MarketDataStore::spawn(settings(path)),
        ];
        for (number, started) in starts.into_iter().enumerate() {
            let error = started.expect_err("it started");
            assert!(matches!(error, StartError::DeadLetters(_)), "{path}, start {number}: {error}");
        }
    }
    let store = at("new/letters").start().await.unwrap();
    assert_eq!(std::fs::read_dir(dir.path().join("new/letters")).unwrap().count(), 0);
    within(PATIENCE, store.finish(PATIENCE)).await;
}

/// Takes many turns over each event, as one does that awaits something.
struct Slow(Arc<Mutex<Vec<FeedbackEvent>>>);

impl actix::Actor for Slow {
    type Context = actix::Context<Self>;
}

impl actix::Handler<FeedbackEvent> for Slow {
    type Result = actix::ResponseFuture<()>;

    fn handle(&mut self, event: FeedbackEvent, _: &mut Self::Context) -> Self::Result {
        let handled = Arc::clone(&self.0);
        Box::pin(async move {
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
            handled.lock().push(event);
        })
    }
}

/// Red when the end does not wait for the last event to be handled, on the store's own bus or a shared one, or when
/// `stopped` tells of the end before: a `main` that returns then cuts it off.
#[actix::test]
async fn a_store_has_stopped_when_its_last_event_was_handled() {
    for (is_shared, announce) in [(false, true), (false, false), (true, true), (true, false)] {
        let begun = Instant::now();
        let seen = loop {
            let (seen, took) = seen_when_stopped(is_shared, announce).await;
            // A subscriber that takes more than a second is left alone: of an end that took as long nothing is
            // promised.
            if took < Duration::from_secs(1) {
                break seen;
            }
            assert!(begun.elapsed() < PATIENCE, "no end takes less than a second");
        };
        let last = if announce { Reason::Draining } else { Reason::QueueRecovered };
        assert_eq!(seen, (StopReason::ShutDown, Some(last)), "shared: {is_shared}, announced: {announce}");
    }
}

/// Ends a store, and returns why it stopped, what was the last event that was handled by then, and how long the end
/// took.
async fn seen_when_stopped(is_shared: bool, announce: bool) -> ((StopReason, Option<Reason>), Duration) {
    let (builder, sink) = with_sink(10, 1, 1);
    let store = if is_shared { builder.start().await.unwrap() } else { builder.spawn().unwrap() };
    let handle = store.coordinator::<Tick>().unwrap();
    let handled = Arc::new(Mutex::new(Vec::new()));
    let subscriber = store.start_actor({
        let handled = Arc::clone(&handled);
        move |_| Slow(handled)
    });
    store.feedback().subscribe(Subscribe::new(subscriber));
    occupy(&handle, &sink, 1).await;
    handle.submit_many(ticks(1..11)).await.unwrap();
    let stopped = thread::spawn({
        let store = store.clone();
        move || {
            let why = block_on(store.stopped());
            (why, handled.lock().last().map(|event| event.reason))
        }
    });
    sink.release();
    let begun = Instant::now();
    let end = async { if announce { store.shutdown(PATIENCE).await } else { store.finish(PATIENCE).await } };
    assert_eq!(within(PATIENCE, end).await.stored(), 11);
    let took = begun.elapsed();
    (stopped.join().unwrap(), took)
}

/// Records what it is told in a channel, after it has done what its kind does.
struct Neighbour {
    kind: Kind,
    told: mpsc::Sender<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Listens.
    Good(usize),
    /// Blocks its thread for as long as the test runs.
    Blocks,
    /// Stops its arbiter.
    Stops,
    /// Panics.
    Panics,
}

impl actix::Actor for Neighbour {
    type Context = actix::Context<Self>;
}

impl actix::Handler<FeedbackEvent> for Neighbour {
    type Result = ();

    fn handle(&mut self, _: FeedbackEvent, _: &mut Self::Context) {
        match self.kind {
            // An error means that the test asks another way.
            Kind::Good(number) => _ = self.told.send(number),
            // The lock is the test's.
            Kind::Blocks => drop(BLOCKED.lock()),
            Kind::Stops => _ = actix::Arbiter::current().stop(),
            Kind::Panics => panic!("a subscriber panics, as the test wants"),
        }
    }
}

static BLOCKED: Mutex<()> = Mutex::new(());

/// Red when actors share arbiters: those on the arbiter of one that blocks it, or stops it, are told nothing any more.
#[test]
fn an_actor_that_blocks_or_stops_its_arbiter_silences_no_other() {
    const GOOD: usize = 20;
    let blocked = BLOCKED.lock();
    let store = with_sink(10, 1, 1).0.spawn().unwrap();
    let (told, is_told) = mpsc::channel();
    let kinds = [Kind::Blocks, Kind::Stops, Kind::Panics].into_iter().chain((0..GOOD).map(Kind::Good));
    for kind in kinds {
        let told = told.clone();
        let actor = store.start_actor(move |_| Neighbour { kind, told });
        store.feedback().subscribe(Subscribe::new(actor));
    }
    let mut series = EventSeries::new("bars");
    for level in [Level::Soft, Level::Hard, Level::Ok] {
        store.feedback().publish(series.next(level));
        let mut all: Vec<_> = (0..GOOD).map(|_| is_told.recv_timeout(PATIENCE).expect("each is told")).collect();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..GOOD));
    }
    drop(blocked);
    block_on(within(PATIENCE, store.finish(PATIENCE)));
}

/// Says by its drop that the thread has ended on which it lies.
struct OfThread(mpsc::Sender<()>);

impl Drop for OfThread {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

thread_local! {
    static OF_THREAD: std::cell::RefCell<Option<OfThread>> = const { std::cell::RefCell::new(None) };
}

/// Red when the thread of an actor outlives it, whether it stops, panics, or never comes to be; when it ends before; or
/// when one that is started behind the end runs.
#[test]
fn the_arbiter_of_an_actor_ends_with_it() {
    let store = with_sink(10, 1, 1).0.spawn().unwrap();
    let start = |store: &MarketDataStore, kind: Option<Kind>| {
        let (ended, has_ended) = mpsc::channel();
        let actor = store.start_actor(move |_| {
            OF_THREAD.set(Some(OfThread(ended)));
            let kind = kind.expect("one that is not made, as the test wants");
            Neighbour { kind, told: mpsc::channel().0 }
        });
        (actor, has_ended)
    };
    let mut series = EventSeries::new("bars");
    for kind in [Some(Kind::Panics), Some(Kind::Stops), None] {
        let (actor, has_ended) = start(&store, kind);
        actor.do_send(series.next(Level::Hard));
        has_ended.recv_timeout(PATIENCE).expect("its thread ends");
        assert!(!actor.connected());
    }
    // One without an address ends by itself.
    let (_, has_ended) = start(&store, Some(Kind::Good(0)));
    has_ended.recv_timeout(PATIENCE).expect("its thread ends");

    let (living, lives) = start(&store, Some(Kind::Good(0)));
    block_on(within(PATIENCE, living.send(series.next(Level::Hard)))).expect("it lives");
    assert_eq!(lives.try_recv(), Err(mpsc::TryRecvError::Empty));
    block_on(within(PATIENCE, store.finish(PATIENCE)));
    lives.recv_timeout(PATIENCE).expect("the end of the store ends its thread");
    let (late, _) = start(&store, Some(Kind::Good(0)));
    while late.connected() {
        thread::yield_now();
    }
}

/// Runs in a process of its own, which may have few file descriptors. Red when an actor for which there is no thread
/// takes the process or an actor beside it along, or seems to run.
#[cfg(unix)]
#[test]
fn an_actor_without_a_thread_does_not_run_and_an_error_says_so() {
    const ALONE: &str = "MDS_TEST_FEW_DESCRIPTORS";
    if std::env::var_os(ALONE).is_none() {
        let mut alone = Command::new("sh");
        alone.args(["-c", r#"ulimit -n 100 && exec "$0" "$@""#]).arg(std::env::current_exe().unwrap());
        alone.args(["--exact", "store::an_actor_without_a_thread_does_not_run_and_an_error_says_so", "--nocapture"]);
        let output = alone.env(ALONE, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && text.contains("1 passed") && !text.contains("panicked"), "{text}");
        return;
    }
    log();
    let store = with_sink(10, 1, 1).0.spawn().unwrap();
    let mut series = EventSeries::new("bars");
    let mut runs =
        |actor: &actix::Addr<Neighbour>| block_on(within(PATIENCE, actor.send(series.next(Level::Hard)))).is_ok();
    let start = || store.start_actor(|_| Neighbour { kind: Kind::Good(0), told: mpsc::channel().0 });
    let mut actors = vec![start()];
    while runs(actors.last().unwrap()) {
        assert!(actors.len() < 100, "each has a thread");
        actors.push(start());
    }
    let without = actors.pop().unwrap();
    assert!(!without.connected());
    let said = log();
    assert!(said.iter().any(|line| line.starts_with("ERROR") && line.contains("no thread for an actor")), "{said:?}");
    assert!(!actors.is_empty() && actors.iter().all(&mut runs), "{} actors", actors.len());
    block_on(within(PATIENCE, store.finish(PATIENCE)));
}

/// Red when a start that nothing waits for any more tells its caller to end a store that it never had. The control is a
/// store that is dropped.
#[test]
fn a_start_that_is_dropped_says_nothing() {
    log();
    let (mut dropped, begun) = (0, Instant::now());
    while dropped < 20 {
        assert!(begun.elapsed() < PATIENCE, "only {dropped} starts took longer than one poll");
        match builder(&["started for none"]).start().now_or_never() {
            None => dropped += 1,
            // A machine that is fast has started it within the one poll.
            Some(store) => _ = block_on(within(PATIENCE, store.unwrap().finish(PATIENCE))),
        }
    }
    drop(builder(&["started for one"]).spawn().unwrap());
    let said = |id: &str| log().iter().filter(|line| line.contains("no record was lost") && line.contains(id)).count();
    let begun = Instant::now();
    while said("started for one") == 0 {
        assert!(begun.elapsed() < PATIENCE);
        thread::yield_now();
    }
    assert_eq!(said("started for none"), 0);
}

/// Red when the end of a store leaves a database that it opened itself to a process that ends at once: what a user
/// copies then is a file without its log.
#[cfg(feature = "sqlite")]
#[test]
fn the_end_of_a_store_closes_the_database_that_it_opened() {
    for _ in 0..5 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bars.db");
        let settings = crate::support::settings().database_url(format!("sqlite://{}", path.display()));
        let store = block_on(MarketDataStore::start(settings)).unwrap();
        let ts = market_data_store::Timestamp::from_secs(60);
        let bar = Bar::new("ES", market_data_store::Timeframe::MINUTE, ts).ohlc(1.0, 1.0, 1.0, 1.0);
        block_on(store.coordinator::<Bar>().unwrap().submit(bar)).unwrap();
        assert_eq!(block_on(within(PATIENCE, store.shutdown(PATIENCE))).stored(), 1);
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort_unstable();
        assert_eq!(names, ["bars.db"]);
    }
}

/// Red when a `main` that returns the error of a start shows fields and braces instead of what is wrong.
#[test]
fn an_error_of_a_start_says_what_is_wrong_however_it_is_shown() {
    let error = builder(&["a", "a"]).spawn().unwrap_err();
    assert_eq!(format!("{error:?}"), "coordinator id \"a\" is used twice");
    let mut settings = crate::support::settings();
    settings.coordinator.capacity = 0;
    let error = MarketDataStore::builder(settings).spawn().unwrap_err();
    assert_eq!(format!("{error:?}"), error.to_string());
    assert!(error.to_string().contains("MDS_COORDINATOR_CAPACITY"), "{error}");
}

/// Red when a setting that has no effect is taken in silence, or one that has an effect is warned of.
#[test]
fn a_start_warns_of_settings_that_have_no_effect() {
    log();
    let vars = [
        ("MDS_NOT_STARTED_COORDINATOR_WORKERS", "2"),
        ("MDS_IN_EFFECT_COORDINATOR_WORKERS", "2"),
        ("MDS_FB_HTTP_ENDPOINT", "http://ann:pa55@127.0.0.1:9/T0KEN"),
        ("MDS_SOURCE", "$(POD_NAME):feed"),
    ];
    let settings = market_data_store::Settings::from_vars(vars).unwrap().dlq_path(crate::support::settings().dlq_path);
    let coordinator = Coordinator::new(MemorySink::<Tick>::new()).id("in-effect");
    let store = MarketDataStore::builder(settings).coordinator(coordinator).spawn().unwrap();
    let said = |what: &str| log().iter().filter(|line| line.starts_with("WARN") && line.contains(what)).count();
    assert_eq!(said("MDS_NOT_STARTED_COORDINATOR_WORKERS"), 1);
    assert_eq!(said("MDS_IN_EFFECT"), 0);
    assert_eq!(said("MDS_FB_ENABLE_HTTP_BROADCAST is false: level changes are sent to no URL"), 1);
    assert_eq!(said("MDS_SOURCE is \"$(POD_NAME):feed\""), 1, "{:#?}", log());
    assert!(!log().iter().any(|line| line.contains("T0KEN") || line.contains("pa55")));
    block_on(within(PATIENCE, store.finish(PATIENCE)));
}

/// Red when a sink, or what else runs inside the store's own System, is handed a bus that nothing listens to.
#[test]
fn inside_the_store_s_own_system_the_bus_is_the_store_s() {
    struct Tells;

    impl market_data_store::Sink<Tick> for Tells {
        async fn write(&self, _: &market_data_store::Batch<Tick>) -> Result<(), market_data_store::SinkError> {
            let event = market_data_store::feedback::EventSeries::new("from a sink").next(Level::Soft);
            market_data_store::feedback_bus().publish(event);
            Ok(())
        }
    }

    for current in [false, true] {
        let builder = MarketDataStore::builder(crate::support::settings()).coordinator(Coordinator::new(Tells));
        let store = if current { builder.on_current_arbiter() } else { builder }.spawn().unwrap();
        let mut level = store.feedback().watch("from a sink");
        let handle = store.coordinator::<Tick>().unwrap();
        block_on(handle.submit(tick("ES", 1))).unwrap();
        block_on(within(PATIENCE, level.changed())).unwrap();
        assert_eq!(level.borrow().level, Level::Soft, "on the current arbiter: {current}");
        assert!(block_on(store.shutdown(PATIENCE)).is_complete());
    }
}
