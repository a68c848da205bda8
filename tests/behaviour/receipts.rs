//! How long a record waits for its batch to fill while its receipt is awaited.
//!
//! The flush interval of these stores is an hour, so what is not handed out for a receipt is not handed out.

use futures::{FutureExt, executor::block_on, future::join_all};
use market_data_store::{Coordinator, MarketDataStore, Outcome, Overflow, Receipt, WriteHandle, sink::MemorySink};

use crate::support::{PATIENCE, Tick, coordinator_settings, settings, tick, within};

/// Far more than is submitted: no batch fills.
const BATCH: usize = 500;

fn spawn(workers: usize) -> (MarketDataStore, WriteHandle<Tick>, MemorySink<Tick>) {
    let sink = MemorySink::new();
    let mut own = coordinator_settings(10 * BATCH, workers, BATCH);
    own.overflow = Overflow::Block;
    let store =
        MarketDataStore::builder(settings()).coordinator(Coordinator::new(sink.clone()).settings(own)).spawn().unwrap();
    let handle = store.coordinator().unwrap();
    (store, handle, sink)
}

fn submit(handle: &WriteHandle<Tick>, symbol: &str, id: u64) -> Receipt {
    block_on(within(PATIENCE, handle.submit_with_receipt(tick(symbol, id)))).unwrap()
}

fn stored(receipt: Receipt) {
    assert_eq!(block_on(within(PATIENCE, receipt)), Ok(Outcome::Stored));
}

/// Red when a receipt that is awaited waits for the flush interval: then this takes an hour. Also red for a place that
/// was held before.
#[test]
fn a_record_whose_receipt_is_awaited_goes_out_at_once() {
    let (_store, handle, sink) = spawn(4);
    for id in 0..20 {
        stored(submit(&handle, &format!("K{id}"), id));
        assert_eq!(sink.records().len() as u64, id + 1);
    }
    let permit = block_on(within(PATIENCE, handle.reserve("ES"))).unwrap();
    stored(permit.submit_with_receipt(tick("ES", 20)).unwrap());
}

/// Red when a receipt hands its batch out before it is awaited, or those that are awaited together share no batch.
#[test]
fn receipts_that_are_not_awaited_leave_batches_whole() {
    let (_store, handle, sink) = spawn(1);
    let mut receipts: Vec<_> = (0..100).map(|id| submit(&handle, "ES", id)).collect();
    assert_eq!(block_on(handle.health()).queued, 100, "none is awaited");
    assert_eq!(sink.writes(), 0);
    // Its batch has all that is queued, so the others need no more.
    stored(receipts.remove(50));
    block_on(within(PATIENCE, join_all(receipts))).into_iter().for_each(|said| assert_eq!(said, Ok(Outcome::Stored)));
    assert_eq!(sink.batches().iter().map(|batch| batch.len()).collect::<Vec<_>>(), [100]);
    // What comes later waits for its batch again.
    let later = submit(&handle, "ES", 100);
    assert_eq!(block_on(handle.health()).queued, 1);
    stored(later);
}

/// Red when a receipt hands out the batches of other partitions, whose submitters are in no hurry.
#[test]
fn a_receipt_leaves_other_partitions_alone() {
    let (_store, handle, sink) = spawn(4);
    let symbols: Vec<_> = (0..40).map(|id| format!("K{id}")).collect();
    symbols.iter().zip(0..).for_each(|(symbol, id)| handle.try_submit(tick(symbol, id)).unwrap());
    stored(submit(&handle, "K0", 40));
    let written = sink.records().len();
    assert_eq!(sink.writes(), 1);
    assert!(written < 41, "all were written for one receipt");
    assert_eq!(block_on(handle.health()).queued, 41 - written);
}

/// Red when records that come while the worker is busy go out one by one: receipts would cost each a write.
#[test]
fn what_comes_while_the_worker_is_busy_goes_out_together() {
    let (_store, handle, sink) = spawn(1);
    sink.hold();
    let mut first = submit(&handle, "ES", 0);
    assert_eq!((&mut first).now_or_never(), None);
    block_on(within(PATIENCE, sink.wait_held(1)));
    let mut receipts: Vec<_> = (1..100).map(|id| submit(&handle, "ES", id)).collect();
    receipts.iter_mut().for_each(|receipt| assert_eq!(receipt.now_or_never(), None));
    sink.release();
    stored(first);
    receipts.into_iter().for_each(stored);
    assert_eq!(sink.batches().iter().map(|batch| batch.len()).collect::<Vec<_>>(), [1, 99]);
}
