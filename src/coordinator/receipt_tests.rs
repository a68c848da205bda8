//! Receipts of records that are submitted together.

use std::{collections::VecDeque, num::NonZeroUsize, sync::Arc, time::Duration};

use futures::FutureExt;
use parking_lot::Mutex;

use super::{config::CoordinatorConfig, *};
use crate::{
    dead_letter::DeadLetters,
    policy::{BreakerConfig, DropReason, Outcome, Overflow, Refusal, RetryPolicy, Watermarks},
    record::{Bar, Timeframe, Timestamp},
    sink::{Batch, BoxSink, Sink, SinkError},
};

/// The store refuses one in so many for good.
const REFUSED: u64 = 97;

/// Keeps the ids of what it takes.
#[derive(Clone, Default)]
struct Picky(Arc<Mutex<Vec<u64>>>);

impl Sink<Bar> for Picky {
    async fn write(&self, batch: &Batch<Bar>) -> Result<(), SinkError> {
        if batch.iter().any(|bar| id(bar).is_multiple_of(REFUSED)) {
            return Err(SinkError::permanent("not wanted"));
        }
        self.0.lock().extend(batch.iter().map(id));
        Ok(())
    }
}

/// Takes nothing, ever.
struct Stuck;

impl Sink<Bar> for Stuck {
    async fn write(&self, _: &Batch<Bar>) -> Result<(), SinkError> {
        std::future::pending().await
    }
}

fn bar(id: u64) -> Bar {
    let symbol = format!("S{}", id % 13);
    Bar::new(symbol, Timeframe::MINUTE, Timestamp::from_micros(id as i64)).ohlc(1.0, 1.0, 1.0, 1.0)
}

fn id(bar: &Bar) -> u64 {
    bar.ts.as_micros() as u64
}

fn start(
    sink: impl Sink<Bar>,
    capacity: usize,
    workers: usize,
    overflow: Overflow,
    letters: &std::path::Path,
) -> WriteHandle<Bar> {
    let config = CoordinatorConfig {
        id: "bars".into(),
        source: "test".into(),
        capacity: NonZeroUsize::new(capacity).unwrap(),
        capacity_bytes: None,
        watermarks: Watermarks::for_capacity(capacity),
        workers: NonZeroUsize::new(workers).unwrap(),
        batch_size: NonZeroUsize::new(7).unwrap(),
        flush_interval: Duration::from_millis(1),
        overflow,
        retry: RetryPolicy::default(),
        sink_timeout: Duration::ZERO,
        slow_after: Duration::MAX,
        breaker: BreakerConfig::default(),
    };
    let hosts = ActorHosts { control: ActorHost::Current, workers: vec![ActorHost::Current; workers] };
    let letters = DeadLetters::open(letters).unwrap();
    running::start_actors(config, BoxSink::new(sink), letters, hosts, None, StopSignal::new())
}

/// Red when a receipt is told what became of another record, one that is accepted has none, or one that is not has one:
/// in a queue that is nearly always full, by futures of which many are dropped.
#[actix::test]
async fn each_record_that_is_accepted_has_its_own_receipt() {
    let (dir, sink) = (tempfile::tempdir().unwrap(), Picky::default());
    let handle = start(sink.clone(), 64, 4, Overflow::Block, dir.path());
    let (mut records, mut receipts): (VecDeque<Bar>, _) = ((0..5_000).map(bar).collect(), Vec::new());
    let mut dropped = 0;
    while !records.is_empty() {
        let submit = handle.submit_from_with_receipts(&mut records, &mut receipts);
        let wait = Duration::from_micros(fastrand::u64(0..2_000));
        match tokio::time::timeout(wait, submit).await {
            Ok(submitted) => submitted.unwrap(),
            Err(_) => dropped += 1,
        }
        assert_eq!(receipts.len() + records.len(), 5_000);
    }
    assert!(dropped > 0, "no future was dropped");
    handle.flush().await.unwrap();
    let mut stored = Vec::new();
    for (id, receipt) in (0..).zip(receipts) {
        let refused = id % REFUSED == 0;
        let outcome = if refused { Outcome::DeadLettered } else { Outcome::Stored };
        assert_eq!(receipt.outcome(), Some(Ok(outcome)), "{id}");
        stored.extend((!refused).then_some(id));
    }
    let mut found = std::mem::take(&mut *sink.0.lock());
    found.sort_unstable();
    assert_eq!(found, stored);
}

/// Red when what a full queue hands back has a receipt, or those of accepted records are not told of the end.
#[actix::test]
async fn what_is_refused_has_no_receipt_and_what_is_lost_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let handle = start(Stuck, 10, 1, Overflow::Error, dir.path());
    let (mut records, mut receipts): (VecDeque<Bar>, _) = ((0..100).map(bar).collect(), Vec::new());
    let refused = handle.submit_from_with_receipts(&mut records, &mut receipts).await;
    assert_eq!(refused, Err(Refusal::Full));
    assert!(!receipts.is_empty() && receipts.len() <= 17, "a queue, and a batch that is out: {}", receipts.len());
    assert_eq!((receipts.len() + records.len(), id(&records[0])), (100, receipts.len() as u64));
    assert!(receipts.iter().all(|receipt| receipt.outcome().is_none()));
    handle.shared().close();
    assert!(receipts.into_iter().all(|receipt| receipt.now_or_never() == Some(Err(ReceiptLost))));
}

/// Red when a record that takes the place of another has the receipt of a third.
#[actix::test]
async fn a_record_that_takes_the_place_of_another_has_a_receipt_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let handle = start(Stuck, 8, 1, Overflow::Conflate, dir.path());
    // All of one bar, each an update of the one before.
    let (mut records, mut receipts): (VecDeque<Bar>, _) = ((0..50).map(|_| bar(1)).collect(), Vec::new());
    handle.submit_from_with_receipts(&mut records, &mut receipts).await.unwrap();
    assert_eq!(receipts.len(), 50);
    let conflated = Some(Ok(Outcome::Dropped(DropReason::Conflated)));
    let outcomes: Vec<_> = receipts.iter().map(Receipt::outcome).collect();
    let replaced = outcomes.iter().filter(|outcome| **outcome == conflated).count();
    assert!(replaced >= 50 - 8 - 7, "{outcomes:?}");
    assert_eq!(outcomes.last(), Some(&None), "the newest waits");
}
