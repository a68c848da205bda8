//! Records whose own code fails or calls back, and wakers that do: it costs them, and no other.

use std::{
    collections::BTreeSet,
    future::Future,
    num::NonZeroU32,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use futures::{Sink as _, executor::block_on, future::join_all};
use market_data_store::{
    Batch, Coordinator, MarketDataStore, Outcome, Record, Settings, SinkError, WriteHandle,
    coordinator::{BufferState, CircuitState},
    dead_letter::{self, ReplayOptions},
    settings::CoordinatorSettings,
    sink::MemorySink,
};
use serde::{Deserialize, Serialize, Serializer, ser::Error as _};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Semaphore;

use crate::support::{PATIENCE, coordinator_settings, residual, tick, within};

/// A record with a field that may be no JSON, and a key that may do anything.
#[derive(Clone, Serialize, Deserialize)]
struct Odd {
    symbol: String,
    id: u64,
    #[serde(serialize_with = "write", skip_deserializing)]
    extra: Extra,
    #[serde(skip)]
    key: Option<Arc<dyn Fn() + Send + Sync>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Extra {
    #[default]
    Fine,
    MapOfPairs,
    Fails,
    Panics,
}

fn write<S: Serializer>(extra: &Extra, serializer: S) -> Result<S::Ok, S::Error> {
    match extra {
        Extra::Fine => serializer.serialize_str("fine"),
        Extra::MapOfPairs => serializer.collect_map([((1, 2), 3)]),
        Extra::Fails => Err(S::Error::custom("not today")),
        Extra::Panics => panic!("a field that cannot be written"),
    }
}

impl Record for Odd {
    const KIND: &'static str = "odds";

    fn partition_key(&self) -> &str {
        self.key.iter().for_each(|key| key());
        &self.symbol
    }
}

fn odd(symbol: &str, id: u64, extra: Extra) -> Odd {
    Odd { symbol: symbol.to_owned(), id, extra, key: None }
}

fn spawn(sink: &MemorySink<Odd>, dir: &TempDir, own: CoordinatorSettings) -> (MarketDataStore, WriteHandle<Odd>) {
    let mut settings = Settings::default();
    settings.dlq_path = dir.path().join("letters");
    settings.retry.initial_backoff = Duration::from_millis(1);
    settings.retry.max_backoff = Duration::from_millis(5);
    settings.circuit.failure_threshold = NonZeroU32::new(1);
    settings.circuit.half_open_after = Duration::from_millis(1);
    let coordinator = Coordinator::new(sink.clone()).settings(own);
    let store = MarketDataStore::builder(settings).coordinator(coordinator).spawn().unwrap();
    let handle = store.coordinator().unwrap();
    (store, handle)
}

/// The entries of a directory as JSON, by the number that their record has or would have.
fn letters(dir: &TempDir) -> Vec<Value> {
    let list = dead_letter::list(&dir.path().join("letters")).unwrap();
    list.map(|found| serde_json::to_value(found.unwrap().entry.unwrap()).unwrap()).collect()
}

/// Red when the worker tries without end or dies of it, when a neighbour is not stored, or when what is left of the
/// record and why is not in the letter.
#[test]
fn a_record_that_cannot_be_written_as_json_is_a_dead_letter_and_costs_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let sink = MemorySink::<Odd>::new();
    sink.fail_when(|batch| {
        batch.iter().any(|odd| odd.extra != Extra::Fine).then(|| SinkError::permanent("out of range"))
    });
    let (store, handle) = spawn(&sink, &dir, coordinator_settings(100, 1, 20));
    let extras = [Extra::MapOfPairs, Extra::Fails, Extra::Panics];
    let receipts: Vec<_> = (0..20)
        .map(|id| {
            let extra = if id % 7 == 3 { extras[id as usize / 7] } else { Extra::Fine };
            block_on(handle.submit_with_receipt(odd("ES", id, extra))).unwrap()
        })
        .collect();
    for (id, outcome) in block_on(within(PATIENCE, join_all(receipts))).into_iter().enumerate() {
        let expected = if id % 7 == 3 { Outcome::DeadLettered } else { Outcome::Stored };
        assert_eq!(outcome, Ok(expected), "{id}");
    }
    let health = block_on(handle.health());
    assert_eq!((residual(&health), health.causes.len(), health.dead_lettered), (0, 0, 3));
    block_on(store.dead_letters().release());

    let letters = letters(&dir);
    let why = ["key must be a string", "not today", "it panicked: a field that cannot be written"];
    assert_eq!(letters.len(), 3);
    for ((id, letter), why) in [3, 10, 17].into_iter().zip(&letters).zip(why) {
        assert_eq!(letter["record"], Value::Null);
        assert!(letter["error"].as_str().unwrap().contains("out of range"), "{letter}");
        let left = &letter["unwritable"];
        assert!(left["why"].as_str().unwrap().contains(why), "{letter}");
        assert_eq!(left["partition_key"], "ES");
        assert!(left["begins"].as_str().unwrap().starts_with(&format!(r#"{{"symbol":"ES","id":{id}"#)), "{letter}");
    }
    // It cannot be replayed, stays, and is counted.
    let report = block_on(store.replay(&handle, &ReplayOptions::default())).unwrap();
    let told = serde_json::to_value(&report).unwrap();
    assert_eq!(
        (told["unwritable"].clone(), told["damaged"].clone(), report.is_complete()),
        (json!(3), json!([]), false)
    );
    assert_eq!(dead_letter::list(&dir.path().join("letters")).unwrap().count(), 3);
    assert!(block_on(within(PATIENCE, store.shutdown(PATIENCE))).is_complete());
}

/// Red when the records beside it in its batch are unsettled with it.
#[test]
fn at_a_deadline_a_record_that_is_no_json_takes_no_other_along() {
    for extra in [Extra::MapOfPairs, Extra::Panics] {
        let dir = tempfile::tempdir().unwrap();
        let sink = MemorySink::<Odd>::new();
        let (store, handle) = spawn(&sink, &dir, coordinator_settings(100, 1, 5));
        sink.hold();
        block_on(handle.submit_many((0..5).map(|id| odd("ES", id, if id == 2 { extra } else { Extra::Fine }))))
            .unwrap();
        block_on(within(PATIENCE, sink.wait_held(1)));
        let report = block_on(within(PATIENCE, store.shutdown(Duration::ZERO)));
        assert_eq!((report.dead_lettered(), report.unsettled()), (5, 0), "{report:?}");
        let ids: Vec<_> = letters(&dir).iter().map(|letter| letter["record"]["id"].as_u64()).collect();
        assert_eq!(ids, [Some(0), Some(1), None, Some(3), Some(4)]);
    }
}

/// Red when a method of a record, or its destructor, is called under the buffer's lock: it hangs.
#[test]
fn a_partition_key_that_calls_back_hangs_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let sink = MemorySink::<Odd>::new();
    let (store, handle) = spawn(&sink, &dir, coordinator_settings(1_000, 1, 8));
    let asked = Arc::new(AtomicUsize::new(0));
    let key: Arc<dyn Fn() + Send + Sync> = Arc::new({
        let (handle, asked) = (handle.clone(), Arc::clone(&asked));
        move || {
            asked.fetch_add(1, Ordering::AcqRel);
            let _ = (handle.retry_after(), handle.try_submit(odd("ES", 1_000, Extra::Fine)));
        }
    });
    sink.fail_when(|_| Some(SinkError::transient("away")));
    let records = (0..40).map(|id| Odd { key: Some(Arc::clone(&key)), ..odd("ES", id, Extra::Fine) });
    block_on(within(PATIENCE, handle.submit_many(records))).unwrap();
    block_on(within(PATIENCE, sink.wait_failed(12)));
    assert!(asked.load(Ordering::Acquire) >= 40, "no key was asked for");
    sink.heal();
    block_on(within(PATIENCE, handle.flush())).unwrap();
    let health = block_on(within(PATIENCE, handle.health()));
    assert_eq!((health.circuit, health.state, residual(&health)), (CircuitState::Closed, BufferState::Open, 0));
    let ids: BTreeSet<u64> = sink.records().iter().map(|odd| odd.id).collect();
    assert!(ids.range(..1_000).copied().eq(0..40), "{ids:?}");
    // The records hold handles of their own, which would keep the store alive.
    drop(key);
    assert!(block_on(within(PATIENCE, store.shutdown(PATIENCE))).is_complete());
}

/// A record whose destructor panics, once, where it is armed.
#[derive(Serialize, Deserialize)]
struct Bomb {
    id: u64,
    armed: bool,
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.armed || thread::panicking(), "a record that cannot be dropped");
    }
}

impl Record for Bomb {
    const KIND: &'static str = "bombs";

    fn partition_key(&self) -> &str {
        ""
    }
}

/// Keeps no record, and writes as often as the test allows.
struct Nowhere(Arc<Semaphore>);

impl market_data_store::Sink<Bomb> for Nowhere {
    async fn write(&self, _: &Batch<Bomb>) -> Result<(), SinkError> {
        self.0.acquire().await.unwrap().forget();
        Ok(())
    }
}

/// Red when the batch that a worker took in the same breath is lost with the worker: its partition waits without end.
#[test]
fn a_destructor_that_panics_costs_its_worker_and_no_other_batch() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.dlq_path = dir.path().join("letters");
    let allowed = Arc::new(Semaphore::new(0));
    let coordinator = Coordinator::new(Nowhere(Arc::clone(&allowed))).settings(coordinator_settings(100, 1, 1));
    let store = MarketDataStore::builder(settings).coordinator(coordinator).spawn().unwrap();
    let handle = store.coordinator().unwrap();
    block_on(within(PATIENCE, handle.submit_many((0..10).map(|id| Bomb { id, armed: id == 3 })))).unwrap();
    allowed.add_permits(100);
    block_on(within(PATIENCE, handle.flush())).unwrap();
    let health = block_on(within(PATIENCE, handle.health()));
    assert_eq!((health.stored, health.in_flight, residual(&health)), (10, 0, 0));
    assert!(block_on(within(PATIENCE, store.shutdown(PATIENCE))).is_complete());
}

/// Wakes none, and asks the handle when it is dropped.
struct Waking {
    handle: WriteHandle<crate::support::Tick>,
    dropped: Arc<AtomicUsize>,
}

impl Wake for Waking {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Waking {
    fn drop(&mut self) {
        let _ = self.handle.retry_after();
        self.dropped.fetch_add(1, Ordering::AcqRel);
    }
}

/// Red when a waker is dropped under the buffer's lock, be it replaced, not needed or given up: it hangs.
#[test]
fn a_waker_that_calls_back_when_it_is_dropped_harms_no_other() {
    let sink = MemorySink::<crate::support::Tick>::new();
    let coordinator = Coordinator::new(sink.clone()).settings(coordinator_settings(1, 1, 1));
    let store = MarketDataStore::builder(crate::support::settings()).coordinator(coordinator).spawn().unwrap();
    let handle: WriteHandle<crate::support::Tick> = store.coordinator().unwrap();
    sink.hold();
    // One is held by the sink, and one has the only credit.
    handle.try_submit(tick("ES", 0)).unwrap();
    block_on(within(PATIENCE, sink.wait_held(1)));
    handle.try_submit(tick("ES", 1)).unwrap();
    let dropped = Arc::new(AtomicUsize::new(0));
    let (done, is_done) = std::sync::mpsc::channel();
    let polling = thread::spawn({
        let (handle, dropped, sink) = (handle.clone(), Arc::clone(&dropped), sink.clone());
        move || {
            let waker = || Waker::from(Arc::new(Waking { handle: handle.clone(), dropped: Arc::clone(&dropped) }));
            let count = || dropped.load(Ordering::Acquire);
            fn poll<F: Future + ?Sized>(future: Pin<&mut F>, waker: Waker) -> Poll<F::Output> {
                future.poll(&mut Context::from_waker(&waker))
            }
            // Replaced, and given up.
            let mut submit: Pin<Box<dyn Future<Output = _>>> = Box::pin(handle.submit(tick("ES", 2)));
            assert!(poll(submit.as_mut(), waker()).is_pending() && poll(submit.as_mut(), waker()).is_pending());
            drop(submit);
            assert_eq!(count(), 2);
            let mut flush: Pin<Box<dyn Future<Output = _>>> = Box::pin(handle.flush());
            assert!(poll(flush.as_mut(), waker()).is_pending() && poll(flush.as_mut(), waker()).is_pending());
            drop(flush);
            assert_eq!(count(), 4);
            let mut ready = Box::pin(handle.sink());
            for _ in 0..2 {
                assert!(ready.as_mut().poll_ready(&mut Context::from_waker(&waker())).is_pending());
            }
            drop(ready);
            assert_eq!(count(), 6);
            // Not needed: the credit was granted.
            let mut submit = pin!(handle.submit(tick("ES", 3)));
            assert!(poll(submit.as_mut(), waker()).is_pending());
            assert!(sink.release_one());
            block_on(within(PATIENCE, sink.wait_writes(2)));
            assert!(matches!(poll(submit.as_mut(), waker()), Poll::Ready(Ok(()))));
            assert_eq!(count(), 8);
            // Not needed: there is nothing to wait for.
            sink.release();
            block_on(within(PATIENCE, handle.flush())).unwrap();
            let mut flush = pin!(handle.flush());
            let _ = poll(flush.as_mut(), waker());
            let mut ready = pin!(handle.sink());
            assert!(ready.as_mut().poll_ready(&mut Context::from_waker(&waker())).is_ready());
            assert!(count() >= 9);
            done.send(()).unwrap();
        }
    });
    is_done.recv_timeout(PATIENCE).expect("a waker is dropped under the lock, or a count is wrong");
    polling.join().unwrap();
    assert!(block_on(within(PATIENCE, store.shutdown(PATIENCE))).is_complete());
}

/// Panics, or tells that it was woken.
struct Rousing(Option<std::sync::mpsc::Sender<()>>);

impl Wake for Rousing {
    fn wake(self: Arc<Self>) {
        let woken = self.0.as_ref().expect("a waker that panics");
        let _ = woken.send(());
    }
}

/// Red when a waker that panics ends the round: who waits behind it sleeps without end.
#[test]
fn a_waker_that_panics_keeps_no_other_asleep() {
    let sink = MemorySink::<crate::support::Tick>::new();
    let coordinator = Coordinator::new(sink.clone()).settings(coordinator_settings(10, 1, 1));
    let store = MarketDataStore::builder(crate::support::settings()).coordinator(coordinator).spawn().unwrap();
    let handle: WriteHandle<crate::support::Tick> = store.coordinator().unwrap();
    sink.hold();
    handle.try_submit(tick("ES", 0)).unwrap();
    block_on(within(PATIENCE, sink.wait_held(1)));
    let (woken, is_woken) = std::sync::mpsc::channel();
    let mut waiting: Vec<Pin<Box<dyn Future<Output = _>>>> = Vec::new();
    for wakes in [None, Some(woken.clone()), None, Some(woken)] {
        let mut flush: Pin<Box<dyn Future<Output = _>>> = Box::pin(handle.flush());
        let waker = Waker::from(Arc::new(Rousing(wakes)));
        assert!(flush.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        waiting.push(flush);
    }
    sink.release();
    for _ in 0..2 {
        is_woken.recv_timeout(PATIENCE).expect("it sleeps on");
    }
    for flush in waiting {
        block_on(within(PATIENCE, flush)).unwrap();
    }
    assert_eq!(block_on(within(PATIENCE, handle.health())).workers_alive, 1);
    assert!(block_on(within(PATIENCE, store.shutdown(PATIENCE))).is_complete());
}
