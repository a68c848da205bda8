//! Who gets a place in the queue: partitions, waiting submitters, permits; and what the level says of those that wait.

use std::{
    collections::BTreeSet,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, SinkExt, executor::block_on, future::join_all};
use market_data_store::{
    Batch, Coordinator, Health, Level, MarketDataStore, Overflow, Reason, Refusal, Sink, SinkError, WriteHandle,
    settings::CoordinatorSettings, sink::MemorySink,
};
use tokio::sync::Semaphore;

use crate::support::{
    PATIENCE, Tick, coordinator_settings, occupy, record_in, residual, settings, size_of_test, tick, within,
};

fn spawn(sink: impl Sink<Tick>, own: CoordinatorSettings) -> (MarketDataStore, WriteHandle<Tick>) {
    let coordinator = Coordinator::new(sink).settings(own);
    let store = MarketDataStore::builder(settings()).coordinator(coordinator).spawn().unwrap();
    let handle = store.coordinator().unwrap();
    (store, handle)
}

async fn until(handle: &WriteHandle<Tick>, reached: impl Fn(&Health) -> bool) {
    let begun = Instant::now();
    while !reached(&handle.health().await) {
        assert!(begun.elapsed() < PATIENCE, "{:?}", handle.health().await);
        std::thread::yield_now();
    }
}

/// A store whose writes hang for one symbol, until it is let go.
#[derive(Clone)]
struct Hangs {
    stored: MemorySink<Tick>,
    go: Arc<Semaphore>,
}

impl Hangs {
    fn new() -> Self {
        Self { stored: MemorySink::new(), go: Arc::new(Semaphore::new(0)) }
    }
}

impl Sink<Tick> for Hangs {
    async fn write(&self, batch: &Batch<Tick>) -> Result<(), SinkError> {
        if batch.iter().any(|tick| tick.symbol == "HANGS") {
            // Closing it lets all through.
            drop(self.go.acquire().await);
        }
        self.stored.write(batch).await
    }
}

/// Of 20 records for three idle workers none was accepted. Red when one key that hangs takes the places of all others,
/// when the refusal does not name it, or when its records are lost or out of order.
#[test]
fn one_key_that_hangs_leaves_the_others_room() {
    let sink = Hangs::new();
    let mut own = coordinator_settings(200, 4, 5);
    own.overflow = Overflow::Error;
    own.flush_interval = Duration::from_millis(1);
    let (store, handle) = spawn(sink.clone(), own);
    // First its worker hangs: then nothing makes room any more.
    handle.try_submit(tick("HANGS", 0)).unwrap();
    block_on(until(&handle, |health| health.in_flight == 1));
    let mut accepted = 1;
    let refused = loop {
        match handle.try_submit(tick("HANGS", accepted)) {
            Ok(()) => accepted += 1,
            Err(refused) => break refused,
        }
        assert!(accepted < 1_000, "the queue has no bound");
    };
    assert_eq!(*refused.refusal(), Refusal::PartitionFull { partition_key: "HANGS".into() });
    assert!(refused.to_string().contains("HANGS"), "{refused}");
    // Some of these hash as the one that hangs does.
    let others = (0..20).filter(|id| handle.try_submit(tick(format!("K{id}"), 1_000 + id)).is_ok()).count();
    assert!(others >= 8, "{others} of 20");
    // The sink has stored them before the queue knows.
    block_on(until(&handle, |health| health.stored == others as u64));
    let health = block_on(handle.health());
    let stuck: Vec<_> = health.partitions.iter().filter(|partition| partition.in_flight > 0).collect();
    assert_eq!((stuck.len(), stuck[0].oldest_key.as_deref(), residual(&health)), (1, Some("HANGS"), 0));
    sink.go.close();
    block_on(within(PATIENCE, handle.flush())).unwrap();
    let stored = sink.stored.records();
    assert!(stored.iter().filter(|tick| tick.symbol == "HANGS").map(|tick| tick.id).eq(0..accepted));
    assert!(block_on(store.shutdown(PATIENCE)).is_complete());
}

/// The same with producers that wait. Red when those of other keys wait behind the key that hangs.
#[test]
fn producers_of_other_keys_do_not_wait_behind_one_that_hangs() {
    let sink = Hangs::new();
    let mut own = coordinator_settings(200, 4, 5);
    own.flush_interval = Duration::from_millis(1);
    let (store, handle) = spawn(sink.clone(), own);
    handle.try_submit(tick("HANGS", 0)).unwrap();
    block_on(until(&handle, |health| health.in_flight == 1));
    let mut hanging: Vec<_> = (1..300).map(|id| Box::pin(handle.submit(tick("HANGS", id)))).collect();
    let ready = hanging.iter_mut().filter_map(|submit| submit.now_or_never()).map(Result::unwrap).count();
    assert!((100..299).contains(&ready), "{ready} of them have room");
    let others = (0..20).filter(|id| {
        let submit = handle.submit(tick(format!("K{id}"), 1_000 + id));
        submit.now_or_never().is_some_and(|submitted| submitted.is_ok())
    });
    let others = others.count();
    assert!(others >= 8, "{others} of 20");
    block_on(within(PATIENCE, sink.stored.wait_stored(others)));
    sink.go.close();
    // Those that were ready are done. The others are awaited one after another: of futures that are polled together,
    // the one that is polled first once it has a place submits first.
    for waiting in hanging.split_off(ready) {
        block_on(within(PATIENCE, waiting)).unwrap();
    }
    block_on(within(PATIENCE, handle.flush())).unwrap();
    let ids = sink.stored.records().into_iter().filter(|tick| tick.symbol == "HANGS").map(|tick| tick.id);
    assert_eq!(ids.collect::<Vec<_>>(), (0..300).collect::<Vec<_>>());
    assert!(block_on(store.shutdown(PATIENCE)).is_complete());
}

/// In a `select!` loop `submit` lost 595 of 2,000 records. Red when a permit, or a future that waits for one and is
/// dropped, loses a record or a place.
#[tokio::test]
async fn reserving_in_a_select_loop_loses_neither_record_nor_place() {
    const CAPACITY: usize = 20;
    let sink = MemorySink::<Tick>::new();
    sink.delay(Duration::from_micros(200));
    let mut own = coordinator_settings(CAPACITY, 1, 5);
    own.flush_interval = Duration::from_millis(1);
    let (store, handle) = spawn(sink.clone(), own);
    let records = size_of_test("MDS_TEST_CANCELLED", 2_000) as u64;
    let (mut next, mut dropped) = (0, 0);
    while next < records {
        tokio::select! {
            biased;
            permit = handle.reserve("ES") => {
                permit.unwrap().submit(tick("ES", next)).unwrap();
                next += 1;
            }
            // Something else is always ready, such as a message of the feed.
            () = tokio::task::yield_now() => dropped += 1,
        }
    }
    assert!(dropped > 0, "no future was dropped while it waited");
    within(PATIENCE, handle.flush()).await.unwrap();
    assert!(sink.records().iter().map(|tick| tick.id).eq(0..records), "in order, each once");
    // Every place is back.
    let health = handle.health().await;
    assert_eq!((health.queue_size, health.reserved, health.waiting, residual(&health)), (0, 0, 0, 0));
    sink.hold();
    let permits: Vec<_> = join_all((0..CAPACITY).map(|_| handle.reserve("ES"))).await;
    assert!(permits.iter().all(Result::is_ok) && handle.reserve("ES").now_or_never().is_none());
    drop(permits);
    sink.release();
    assert!(store.shutdown(PATIENCE).await.is_complete());
}

/// Red when a permit counts as a record, does not count in the queue size, is not given back, serves another partition,
/// or lets a record in that is refused otherwise.
#[test]
fn a_permit_holds_a_place_and_is_no_record() {
    let sink = MemorySink::<Tick>::new();
    let mut own = coordinator_settings(10, 4, 1);
    own.overflow = Overflow::Error;
    let (store, handle) = spawn(sink.clone(), own);
    let permits: Vec<_> = (0..7).map(|_| block_on(handle.reserve("ES")).unwrap()).collect();
    let health = block_on(handle.health());
    assert_eq!((health.queue_size, health.reserved, health.queued, health.submitted), (7, 7, 0, 0));
    assert_eq!((health.level, health.reason), (Level::Soft, Reason::QueueRising), "they count");
    let refused = block_on(handle.reserve("ES")).unwrap_err();
    assert_eq!(refused, Refusal::PartitionFull { partition_key: "ES".into() });
    let other = (0..).map(|n| format!("K{n}")).find(|key| block_on(handle.reserve(key)).is_ok()).unwrap();
    let mut permits = permits.into_iter();
    let refused = permits.next().unwrap().submit(tick(&other, 1)).unwrap_err();
    let expected = Refusal::OtherPartition { partition_key: "ES".into(), record_key: other };
    assert_eq!(*refused.refusal(), expected);
    let receipt = permits.next().unwrap().submit_with_receipt(tick("ES", 2)).unwrap();
    assert_eq!(block_on(within(PATIENCE, receipt)), Ok(market_data_store::Outcome::Stored));
    let last = permits.next().unwrap();
    drop(permits);
    let health = block_on(handle.health());
    assert_eq!((health.queue_size, health.level, health.submitted, health.rejected_invalid), (1, Level::Ok, 1, 1));
    assert!(block_on(store.shutdown(PATIENCE)).is_complete());
    assert_eq!(*last.submit(tick("ES", 3)).unwrap_err().refusal(), Refusal::Closed);
}

/// 61 events, 21 of them ok, while thousands waited in line: so it was. Red when the level falls to ok while submitters
/// wait, or does not once none does.
#[tokio::test]
async fn the_level_stays_up_while_submitters_wait() {
    let sink = MemorySink::<Tick>::new();
    let mut own = coordinator_settings(1_000, 4, 400);
    own.flush_interval = Duration::from_millis(1);
    let (store, handle) = spawn(sink.clone(), own);
    let events = record_in(&store);
    let held = occupy(&handle, &sink, 4).await;
    let herd = 10_000;
    let submits = (0..herd).map(|id| {
        let handle = handle.clone();
        tokio::spawn(async move { handle.submit(tick(format!("K{}", id % 31), held + id)).await.unwrap() })
    });
    let submits: Vec<_> = submits.collect();
    let begun = Instant::now();
    while handle.health().await.waiting < 8_000 {
        assert!(begun.elapsed() < PATIENCE, "they do not wait");
        tokio::task::yield_now().await;
    }
    sink.release();
    within(PATIENCE, join_all(submits)).await.into_iter().for_each(|submitted| submitted.unwrap());
    within(PATIENCE, handle.flush()).await.unwrap();
    handle.health().await;
    store.feedback().idle().await;
    let told: Vec<_> = events.lock().iter().map(|event| event.level).collect();
    let oks = told.iter().filter(|&&level| level == Level::Ok).count();
    assert!(oks == 2 && told.last() == Some(&Level::Ok), "the first and the last: {told:?}");
    assert!(told.len() <= 6, "{told:?}");
    assert!(store.shutdown(PATIENCE).await.is_complete());
}

/// Red when `drop_oldest` evicts the records of quiet keys for one that floods the queue.
#[test]
fn a_flood_of_one_key_evicts_its_own_records() {
    let sink = MemorySink::<Tick>::new();
    let mut own = coordinator_settings(80, 4, 20);
    own.overflow = Overflow::DropOldest;
    let (store, handle) = spawn(sink.clone(), own);
    block_on(occupy(&handle, &sink, 4));
    // Two of each quiet key at most have a share: 80 / 32 places a partition.
    let quiet: Vec<_> = ["A", "B", "C", "D", "E", "F"].into_iter().zip(1_000..).collect();
    quiet.iter().for_each(|&(key, id)| handle.try_submit(tick(key, id)).unwrap());
    (2_000..3_000).for_each(|id| handle.try_submit(tick("FLOOD", id)).unwrap());
    sink.release();
    block_on(within(PATIENCE, handle.flush())).unwrap();
    let stored: BTreeSet<_> = sink.records().iter().map(|tick| tick.id).collect();
    assert!(stored.contains(&2_999) && !stored.contains(&2_000));
    let kept = quiet.iter().filter(|(_, id)| stored.contains(id)).count();
    assert!(kept >= 3, "{kept} of 6 quiet records");
    assert!(block_on(store.shutdown(PATIENCE)).is_complete());
}

/// Red when a submitter that waits is forgotten when the one before it gives up.
#[test]
fn a_place_in_line_that_is_given_up_goes_to_the_next() {
    let sink = MemorySink::<Tick>::new();
    let (store, handle) = spawn(sink.clone(), coordinator_settings(1, 1, 1));
    block_on(occupy(&handle, &sink, 1));
    handle.try_submit(tick("ES", 1_000)).unwrap();
    let mut first = Box::pin(handle.reserve("ES"));
    let mut second = pin!(handle.reserve("ES"));
    assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
    drop(first);
    sink.release();
    block_on(within(PATIENCE, second)).unwrap().submit(tick("ES", 1_001)).unwrap();
    block_on(within(PATIENCE, handle.flush())).unwrap();
    assert!(block_on(store.shutdown(PATIENCE)).is_complete());
}

/// A record that says how many bytes it has.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Large {
    key: String,
    id: u64,
    bytes: usize,
}

impl market_data_store::Record for Large {
    const KIND: &'static str = "large";

    fn partition_key(&self) -> &str {
        &self.key
    }

    fn size(&self) -> usize {
        self.bytes
    }
}

/// 200 records of 5 MB took 954 MB, at 2 % of the queue and level ok. Red when the bytes of what is accepted and not
/// settled pass the bound, a batch has more than its part, the level does not go by bytes, or a record that never fits
/// waits.
#[test]
fn a_queue_can_be_bounded_by_bytes() {
    const MB: usize = 1_000_000;
    let sink = MemorySink::<Large>::new();
    sink.hold();
    let mut own = coordinator_settings(10_000, 4, 500).capacity_bytes(100 * MB);
    own.overflow = Overflow::Error;
    own.flush_interval = Duration::from_millis(1);
    let coordinator = Coordinator::new(sink.clone()).settings(own);
    let store = MarketDataStore::builder(settings()).coordinator(coordinator).spawn().unwrap();
    let handle = store.coordinator::<Large>().unwrap();
    let large = |id: u64| Large { key: format!("K{}", id % 13), id, bytes: 5 * MB };
    let accepted: Vec<u64> = (0..200).filter(|&id| handle.try_submit(large(id)).is_ok()).collect();
    assert!((15..=20).contains(&accepted.len()), "{} of 5 MB each in 100 MB", accepted.len());
    let health = block_on(handle.health());
    assert_eq!((health.bytes, health.level), (accepted.len() * 5 * MB, Level::Hard));
    assert!(health.utilization >= 0.75 && health.queue_size < 100, "{health:?}");
    let refused = handle.try_submit(Large { bytes: 101 * MB, ..large(0) }).unwrap_err();
    assert!(matches!(refused.refusal(), Refusal::TooLarge { bytes, .. } if *bytes == 101 * MB), "{refused}");
    sink.release();
    block_on(within(PATIENCE, handle.flush())).unwrap();
    let largest = sink.batches().iter().map(|batch| batch.iter().map(|large| large.bytes).sum::<usize>()).max();
    assert!(largest.is_some_and(|bytes| bytes <= 100 * MB / 8), "{largest:?}");
    let health = block_on(handle.health());
    assert_eq!((health.bytes, health.level, health.stored), (0, Level::Ok, accepted.len() as u64));
    assert!(block_on(store.shutdown(PATIENCE)).is_complete());
}

/// Red when a producer that waits for bytes is forgotten, or small records pass a large one that waits.
#[test]
fn a_large_record_gets_its_turn_among_small_ones() {
    let sink = MemorySink::<Large>::new();
    let mut own = coordinator_settings(10_000, 1, 500).capacity_bytes(1_000);
    own.flush_interval = Duration::from_millis(1);
    let coordinator = Coordinator::new(sink.clone()).settings(own);
    let store = MarketDataStore::builder(settings()).coordinator(coordinator).spawn().unwrap();
    let handle = store.coordinator::<Large>().unwrap();
    sink.hold();
    let record = |id: u64, bytes: usize| Large { key: "ES".into(), id, bytes };
    for id in 0..10 {
        block_on(handle.submit(record(id, 90))).unwrap();
    }
    let mut large = Box::pin(handle.submit(record(10, 900)));
    assert!((&mut large).now_or_never().is_none(), "there is no room");
    let mut small = Box::pin(handle.submit(record(11, 10)));
    assert!((&mut small).now_or_never().is_none(), "it stands behind");
    sink.release();
    block_on(within(PATIENCE, large)).unwrap();
    block_on(within(PATIENCE, small)).unwrap();
    block_on(within(PATIENCE, handle.flush())).unwrap();
    assert!(sink.records().iter().map(|large| large.id).eq(0..12));
    assert!(block_on(store.shutdown(PATIENCE)).is_complete());
}

/// Being ready means holding a place, which has no bytes yet. Red when a stream gets places however many bytes are
/// accepted, or is not woken once some are free.
#[test]
fn a_stream_is_not_ready_while_no_byte_is_free() {
    let sink = MemorySink::<Large>::new();
    sink.hold();
    let mut own = coordinator_settings(10_000, 1, 500).capacity_bytes(1_000);
    own.flush_interval = Duration::from_millis(1);
    let coordinator = Coordinator::new(sink.clone()).settings(own);
    let store = MarketDataStore::builder(settings()).coordinator(coordinator).spawn().unwrap();
    let handle = store.coordinator::<Large>().unwrap();
    let record = |id: u64| Large { key: "ES".into(), id, bytes: 90 };
    let mut stream = handle.sink();
    let fed = (0..100).take_while(|&id| stream.feed(record(id)).now_or_never().is_some_and(|fed| fed.is_ok())).count();
    // The last one exceeds the bound, since nothing was known of it when its place was held.
    assert_eq!((fed, block_on(handle.health()).bytes), (12, 1_080));
    assert!(handle.reserve("ES").now_or_never().is_none(), "a permit is a place too");
    sink.release();
    for id in fed as u64..100 {
        block_on(within(PATIENCE, stream.feed(record(id)))).unwrap();
    }
    block_on(within(PATIENCE, handle.flush())).unwrap();
    assert!(sink.records().iter().map(|large| large.id).eq(0..100));
    assert!(block_on(store.shutdown(PATIENCE)).is_complete());
}
