//! The level that producers see follows the queue exactly, through real actors.

use std::sync::Arc;

use market_data_store::{
    Coordinator, Feedback, FeedbackEvent, Level, MarketDataStore, Reason, Refusal, WriteHandle,
    settings::CoordinatorSettings, sink::MemorySink,
};
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::support::{
    Events, PATIENCE, Tick, caught_up, coordinator_settings, occupy, on_log_here, record, size_of_test, tick, ticks,
    within,
};

const WORKERS: usize = 4;

/// A queue of 100 records, soft above 50 and hard from 80 on.
fn marks() -> CoordinatorSettings {
    let mut settings = coordinator_settings(100, WORKERS, 32);
    (settings.low_watermark, settings.high_watermark) = (Some(50), Some(80));
    settings
}

struct Scene {
    store: MarketDataStore,
    handle: WriteHandle<Tick>,
    sink: MemorySink<Tick>,
    feedback: Feedback,
    events: Events,
}

impl Scene {
    /// A coordinator whose every event is recorded, the first too.
    async fn start(settings: CoordinatorSettings) -> Self {
        let feedback = Feedback::private();
        let events = record(&feedback, None);
        let sink = MemorySink::new();
        let store = MarketDataStore::builder(crate::support::settings())
            .coordinator(Coordinator::new(sink.clone()).settings(settings))
            .feedback(feedback.clone())
            .start()
            .await
            .unwrap();
        let handle = store.coordinator().unwrap();
        Self { store, handle, sink, feedback, events }
    }

    async fn seen(&self) -> Vec<FeedbackEvent> {
        caught_up(&self.handle, &self.feedback).await;
        self.events.lock().clone()
    }
}

fn levels(events: &[FeedbackEvent]) -> Vec<(Level, Level, Reason, u64)> {
    events.iter().map(|event| (event.previous, event.level, event.reason, event.queue_size)).collect()
}

const STARTED: (Level, Level, Reason, u64) = (Level::Ok, Level::Ok, Reason::Started, 0);

/// Red when `seq` skips or repeats a number, the epoch changes, or a field does not fit the others.
fn assert_well_formed(events: &[FeedbackEvent]) {
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event.seq, at as u64 + 1, "seq counts from 1 without gaps");
        assert_eq!(event.epoch, events[0].epoch);
        assert!(event.epoch > 0);
        assert_eq!(&*event.coordinator_id, "ticks");
        assert_eq!(*event.source, *crate::support::settings().source);
        assert_eq!(event.previous, if at == 0 { Level::Ok } else { events[at - 1].level });
        assert_eq!(event.utilization, event.queue_size as f64 / event.capacity as f64);
        assert_eq!(
            event.id,
            FeedbackEvent::id_of(&event.source, "ticks", event.instance.as_deref(), event.epoch, event.seq)
        );
        let expected = match (event.level, event.drain_rate) {
            (Level::Ok, _) | (_, None) => None,
            (_, Some(rate)) => Some((event.queue_size - 50) as f64 / rate),
        };
        match (event.retry_after, expected) {
            (None, None) => {}
            (Some(seen), Some(expected)) => assert!((seen.as_secs_f64() - expected).abs() < 1e-6, "{event:?}"),
            _ => panic!("retry_after does not fit the drain rate: {event:?}"),
        }
    }
}

/// Red when a level is told twice or not at all, `>` is used for the high mark, or the queue counts what workers hold.
#[actix::test]
async fn a_slow_rise_is_one_soft_and_one_hard_and_the_release_one_ok() {
    let scene = Scene::start(marks()).await;
    let taken = occupy(&scene.handle, &scene.sink, WORKERS).await;
    assert_eq!(levels(&scene.seen().await), [STARTED], "what workers hold is not in the queue");

    for id in taken..taken + 85 {
        scene.handle.submit(tick(format!("K{}", id % 16), id)).await.unwrap();
    }
    let rise =
        [STARTED, (Level::Ok, Level::Soft, Reason::QueueRising, 51), (Level::Soft, Level::Hard, Reason::QueueHigh, 80)];
    let seen = scene.seen().await;
    assert_eq!(levels(&seen), rise);
    assert!(seen.iter().all(|event| event.drain_rate.is_none()), "nothing was written yet: {seen:?}");
    assert_eq!(scene.handle.level(), Level::Hard);

    scene.sink.release();
    within(PATIENCE, scene.handle.flush()).await.unwrap();
    let seen = scene.seen().await;
    assert_eq!(seen.len(), 4, "{:?}", levels(&seen));
    let last = seen.last().unwrap();
    assert_eq!((last.previous, last.level, last.reason), (Level::Hard, Level::Ok, Reason::QueueRecovered));
    assert!(last.queue_size <= 50, "{last:?}");
    assert!(last.drain_rate.is_some_and(|rate| rate > 0.0) && last.retry_after.is_none(), "{last:?}");
    assert_eq!(scene.sink.stored() as u64, taken + 85);
    assert_well_formed(&seen);
    scene.store.shutdown(PATIENCE).await;
}

/// Red when `submit_many` observes the queue at each record, or `retry_after` leaves out the drain rate.
#[actix::test]
async fn one_jump_over_the_middle_is_one_hard() {
    let scene = Scene::start(marks()).await;
    let taken = occupy(&scene.handle, &scene.sink, WORKERS).await;
    assert_eq!(scene.handle.submit_many(ticks(taken..taken + 85)).await.unwrap(), 85);
    assert_eq!(levels(&scene.seen().await), [STARTED, (Level::Ok, Level::Hard, Reason::QueueHigh, 85)]);
    scene.sink.release();
    within(PATIENCE, scene.handle.flush()).await.unwrap();
    assert_eq!(scene.seen().await.len(), 3);

    // A second time, when it is known how fast the store is.
    occupy(&scene.handle, &scene.sink, WORKERS).await;
    scene.handle.submit_many(ticks(0..85)).await.unwrap();
    let seen = scene.seen().await;
    assert_eq!(levels(&seen)[3..], [(Level::Ok, Level::Hard, Reason::QueueHigh, 85)]);
    assert!(seen[3].retry_after.is_some_and(|wait| !wait.is_zero()), "{:?}", seen[3]);
    assert_well_formed(&seen);
    scene.sink.release();
    scene.store.shutdown(PATIENCE).await;
}

/// Red when two coordinators share a watermark, a `seq` or a lane.
#[actix::test]
async fn two_coordinators_on_one_bus_speak_for_themselves() {
    let feedback = Feedback::private();
    let (sinks, ids) = ([MemorySink::<Tick>::new(), MemorySink::new()], ["left", "right"]);
    let events = ids.map(|id| record(&feedback, Some(id)));
    let all = record(&feedback, None);
    let mut builder = MarketDataStore::builder(crate::support::settings()).feedback(feedback.clone());
    for (sink, id) in sinks.iter().zip(ids) {
        builder = builder.coordinator(Coordinator::new(sink.clone()).id(id).settings(marks()));
    }
    let store = builder.start().await.unwrap();
    let handles = ids.map(|id| store.coordinator_named::<Tick>(id).unwrap());
    for (handle, sink) in handles.iter().zip(&sinks) {
        occupy(handle, sink, WORKERS).await;
    }
    for id in 0..60 {
        handles[0].submit(tick(id % 16, id)).await.unwrap();
    }
    handles[1].submit_many(ticks(0..90)).await.unwrap();
    caught_up(&handles[0], &feedback).await;
    caught_up(&handles[1], &feedback).await;
    let soft = (Level::Ok, Level::Soft, Reason::QueueRising, 51);
    let hard = (Level::Ok, Level::Hard, Reason::QueueHigh, 90);
    assert_eq!(levels(&events[0].lock()), [STARTED, soft]);
    assert_eq!(levels(&events[1].lock()), [STARTED, hard]);
    for (id, events) in ids.iter().zip(&events) {
        let events = events.lock();
        assert!(events.iter().all(|event| *event.coordinator_id == **id));
        assert!(events.iter().map(|event| event.seq).eq(1..=2));
    }
    assert_eq!(all.lock().len(), 4);
    sinks.iter().for_each(MemorySink::release);
    store.shutdown(PATIENCE).await;
}

/// The contract of the watermark, one clause a line.
fn next_level(level: Level, size: usize, low: usize, high: usize) -> Option<Level> {
    match level {
        Level::Ok if size >= high => Some(Level::Hard),
        Level::Ok if size > low => Some(Level::Soft),
        Level::Soft if size >= high => Some(Level::Hard),
        Level::Soft | Level::Hard if size <= low => Some(Level::Ok),
        _ => None,
    }
}

/// One worker takes one record at a time from a sink that lets one write go at a time, so after every step it is known
/// how many records are queued: the model follows the real actors record by record. Red when a crossing is lost or told
/// twice on its way from the buffer to the subscriber, or two change places.
#[actix::test]
async fn random_square_waves_miss_nothing_and_add_nothing() {
    let waves = size_of_test("MDS_TEST_WAVES", 10_000);
    let (capacity, low, high) = (12, 4, 9);
    let mut settings = coordinator_settings(capacity, 1, 1);
    (settings.low_watermark, settings.high_watermark) = (Some(low), Some(high));
    let scene = Scene::start(settings).await;
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);

    let mut id = occupy(&scene.handle, &scene.sink, 1).await;
    let (mut size, mut level) = (0, Level::Ok);
    let mut expected = vec![(Level::Ok, 0)];
    let mut observe = |size: usize| {
        if let Some(next) = next_level(level, size, low, high) {
            level = next;
            expected.push((next, size as u64));
        }
    };
    for wave in 0..waves {
        let up = random.random_range(size..=capacity);
        if random.random() {
            scene.handle.submit_many(ticks(id..id + (up - size) as u64)).await.unwrap();
            if up > size {
                observe(up);
            }
        } else {
            for size in size + 1..=up {
                scene.handle.submit(tick("ES", id)).await.unwrap();
                observe(size);
            }
        }
        id += (up - size) as u64;
        size = random.random_range(0..=up);
        for size in (size..up).rev() {
            // A submitter that is held has taken its record before, so the size is known when this returns.
            within_the_test(scene.sink.wait_held(1)).await;
            assert!(scene.sink.release_one());
            observe(size);
        }
        within_the_test(scene.sink.wait_held(1)).await;
        // The recorder keeps up: what this test is about is not lost in a full lane.
        if wave % 100 == 0 {
            assert_eq!(caught_up(&scene.handle, &scene.feedback).await.queue_size, size);
        }
    }
    let seen = scene.seen().await;
    assert!(seen.iter().map(|event| event.seq).eq(1..=seen.len() as u64), "seq has a gap");
    let seen: Vec<_> = seen.iter().map(|event| (event.level, event.queue_size)).collect();
    let mut rest = expected.iter();
    let matched = seen.iter().filter(|&event| rest.any(|expected| expected == event)).count();
    let (missed, spurious) = (expected.len() - matched, seen.len() - matched);
    println!("{waves} waves, {} level changes, missed {missed}, spurious {spurious}", expected.len() - 1);
    assert_eq!((missed, spurious), (0, 0), "seed {seed}");
    assert!(expected.len() > waves / 2, "only {} level changes in {waves} waves", expected.len());
    scene.sink.release();
    scene.store.shutdown(PATIENCE).await;
}

/// As `within`, without a thread each: for what is waited for thousands of times.
async fn within_the_test<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

/// Asks at the very moment at which the level is raised, on the thread that raises it. Red when `draining` is raised
/// while records are accepted: who hears of it and submits all the same is taken in then.
#[actix::test]
async fn draining_is_told_once_records_are_refused() {
    let coordinator = Coordinator::new(MemorySink::<Tick>::new());
    let builder = MarketDataStore::builder(crate::support::settings()).coordinator(coordinator);
    let store = builder.on_current_arbiter().start().await.unwrap();
    let handle = store.coordinator::<Tick>().unwrap();
    let answers = Arc::new(Mutex::new(Vec::new()));
    let _guard = on_log_here({
        let answers = Arc::clone(&answers);
        move |line| {
            if line.contains("reason=\"draining\"") {
                answers.lock().push(handle.try_submit(tick("ES", 1)).map_err(|error| error.refusal().clone()));
            }
        }
    });
    within(PATIENCE, store.shutdown(PATIENCE)).await;
    assert_eq!(*answers.lock(), [Err(Refusal::Draining)]);
}
