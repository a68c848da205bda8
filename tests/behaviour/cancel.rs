//! Futures may be dropped at any moment: no credit leaks, no accepted record is lost, and no one jumps the line.

use std::{
    collections::{BTreeSet, VecDeque},
    pin::{Pin, pin},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use futures::{Sink, SinkExt, executor::block_on};
use market_data_store::{Coordinator, MarketDataStore, Refusal, WriteHandle, sink::MemorySink};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

use crate::support::{PATIENCE, Tick, coordinator_settings, occupy, residual, size_of_test, tick, within};

fn start(capacity: usize, workers: usize, batch_size: usize) -> (MarketDataStore, WriteHandle<Tick>, MemorySink<Tick>) {
    let sink = MemorySink::new();
    let coordinator = Coordinator::new(sink.clone()).settings(coordinator_settings(capacity, workers, batch_size));
    let store = MarketDataStore::builder(crate::support::settings()).coordinator(coordinator).spawn().unwrap();
    let handle = store.coordinator().unwrap();
    (store, handle, sink)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a future a few times, at moments of its own, and gives it up if it is not ready then.
fn poll_some<F: Future>(random: &mut StdRng, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..random.random_range(0..4) {
        if let Poll::Ready(output) = poll(future.as_mut()) {
            return Some(output);
        }
        for _ in 0..random.random_range(0..200) {
            std::hint::spin_loop();
        }
        if random.random_ratio(1, 8) {
            thread::yield_now();
        }
    }
    None
}

/// Fills the held queue to the brim, one by one, and returns how many fitted.
fn fill(handle: &WriteHandle<Tick>, from: u64) -> usize {
    // Of several symbols: what one partition leaves the others is there for them.
    let accepts = |id: u64| (0..7).any(|symbol| handle.try_submit(tick(format!("fill{symbol}"), id)).is_ok());
    (from..).take_while(|&id| accepts(id)).count()
}

/// Red when a dropped future keeps its ticket or the credits that it was granted, or when one that was granted several
/// gives back fewer.
#[test]
fn dropping_submits_at_random_moments_leaks_no_credit_and_loses_no_record() {
    const CAPACITY: usize = 16;
    let (store, handle, sink) = start(CAPACITY, 2, 8);
    sink.hold();
    let futures = size_of_test("MDS_TEST_CANCELLED", 10_000) as u64;
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    // Ids that were accepted, and those of which the caller cannot know.
    let (accepted, unknown) = (Mutex::new(BTreeSet::new()), Mutex::new(BTreeSet::new()));
    let cancelled = Mutex::new(0);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let threads = (0..4u64).map(|thread| {
            let (handle, accepted, unknown, cancelled) = (&handle, &accepted, &unknown, &cancelled);
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(seed ^ thread);
                for number in (thread..futures).step_by(4) {
                    let id = 10 * number;
                    let record = |id: u64| tick(id % 7, id);
                    let done = match random.random_range(0..6) {
                        0 => poll_some(&mut random, handle.submit_timeout(record(id), Duration::from_micros(500)))
                            .map(|submitted| submitted.map_or(0, |()| 1)),
                        1 => {
                            let mut records: VecDeque<_> = (id..id + 5).map(record).collect();
                            let done = poll_some(&mut random, handle.submit_from(&mut records)).map(|_| 0);
                            // The accepted have left, whatever became of the future.
                            accepted.lock().unwrap().extend(id..id + 5 - records.len() as u64);
                            done
                        }
                        2 => {
                            let done = poll_some(&mut random, handle.submit_many((id..id + 5).map(record)));
                            if done.is_none() {
                                unknown.lock().unwrap().extend(id..id + 5);
                            }
                            done.map(|submitted| submitted.expect("an open queue that waits"))
                        }
                        3 => {
                            let mut ready = handle.sink();
                            let polled = std::future::poll_fn(|context| Pin::new(&mut ready).poll_ready(context));
                            let polled = poll_some(&mut random, polled);
                            if polled.is_some() && random.random() {
                                Pin::new(&mut ready).start_send(record(id)).unwrap();
                                accepted.lock().unwrap().insert(id);
                            }
                            polled.map(|_| 0)
                        }
                        4 => poll_some(&mut random, handle.flush()).map(|_| 0),
                        _ => poll_some(&mut random, handle.submit(record(id))).map(|submitted| {
                            submitted.expect("an open queue that waits");
                            1
                        }),
                    };
                    match done {
                        Some(count) => accepted.lock().unwrap().extend(id..id + count as u64),
                        None => *cancelled.lock().unwrap() += 1,
                    }
                }
            })
        });
        let threads: Vec<_> = threads.collect();
        // The store lets one batch go at a time, so that credits come and go all the while.
        let releases = scope.spawn(|| {
            let mut releases = 0;
            while !stop.load(Ordering::Acquire) {
                releases += usize::from(sink.release_one());
                thread::yield_now();
            }
            releases
        });
        let threads: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        stop.store(true, Ordering::Release);
        threads.into_iter().for_each(|thread| thread.expect("a thread that submits"));
        println!("{} batches released meanwhile", releases.join().unwrap());
    });
    let cancelled = cancelled.into_inner().unwrap();
    println!("{cancelled} of {futures} futures dropped before they were ready");
    assert!(cancelled > futures / 10, "too few were dropped to prove anything");

    sink.release();
    block_on(within(PATIENCE, handle.flush())).unwrap();
    let health = block_on(handle.health());
    assert_eq!((residual(&health), health.queue_size, health.waiting), (0, 0, 0), "{health:?}");
    let (accepted, unknown) = (accepted.into_inner().unwrap(), unknown.into_inner().unwrap());
    let stored: BTreeSet<_> = sink.records().iter().map(|record| record.id).collect();
    assert_eq!(stored.len(), sink.stored(), "stored twice");
    assert_eq!(accepted.difference(&stored).count(), 0, "accepted and lost");
    let only_stored: BTreeSet<_> = stored.difference(&accepted).copied().collect();
    assert!(only_stored.is_subset(&unknown), "stored and never accepted");

    // Every credit is back.
    block_on(occupy(&handle, &sink, 2));
    assert_eq!(fill(&handle, 1_000_000), CAPACITY);
    sink.release();
    block_on(store.shutdown(PATIENCE));
}

/// Red when a newcomer takes a credit that a producer waits for, or when waiters are served in another order than that
/// of their arrival.
#[test]
fn who_waits_longest_is_served_first_and_none_jumps_the_line() {
    let (store, handle, sink) = start(4, 1, 1);
    block_on(occupy(&handle, &sink, 1));
    assert_eq!(fill(&handle, 100), 4);
    let mut waiting: Vec<_> = (0..20).map(|n| (n, Box::pin(handle.submit(tick("w", 200 + n))))).collect();
    for (_, submit) in &mut waiting {
        assert!(poll(submit.as_mut()).is_pending());
    }
    assert_eq!(block_on(handle.health()).waiting, 20);
    let mut random = StdRng::seed_from_u64(1);
    for turn in 0..20 {
        assert!(sink.release_one());
        block_on(within(PATIENCE, sink.wait_held(1)));
        let newcomer = handle.try_submit(tick("newcomer", 900)).expect_err("the credit is promised");
        assert_eq!(*newcomer.refusal(), Refusal::Full);
        // The order of asking does not count: the credit is for the one who came first.
        waiting.shuffle(&mut random);
        let mut ready = Vec::new();
        waiting.retain_mut(|(n, submit)| match poll(submit.as_mut()) {
            Poll::Ready(submitted) => {
                submitted.unwrap();
                ready.push(*n);
                false
            }
            Poll::Pending => true,
        });
        assert_eq!(ready, [turn]);
    }
    sink.release();
    block_on(within(PATIENCE, handle.flush())).unwrap();
    let order: Vec<_> = sink.records().iter().map(|record| record.id).filter(|&id| (200..900).contains(&id)).collect();
    assert!(order.into_iter().eq(200..220));
    block_on(store.shutdown(PATIENCE));
}

/// Red when what was not accepted leaves the caller's buffer.
#[test]
fn submit_from_keeps_what_was_not_accepted_when_it_is_dropped() {
    let (store, handle, sink) = start(3, 1, 1);
    block_on(occupy(&handle, &sink, 1));
    let mut records: VecDeque<_> = (100..110).map(|id| tick("ES", id)).collect();
    {
        let mut submit = pin!(handle.submit_from(&mut records));
        assert!(poll(submit.as_mut()).is_pending());
        // Granted, and dropped before it could use the credit.
        assert!(sink.release_one());
        block_on(within(PATIENCE, sink.wait_held(1)));
    }
    assert!(records.iter().map(|record| record.id).eq(103..110), "{records:?}");
    assert_eq!(block_on(handle.health()).queue_size, 2);
    sink.release();
    block_on(within(PATIENCE, handle.submit_from(&mut records))).unwrap();
    block_on(within(PATIENCE, handle.flush())).unwrap();
    assert!(sink.records().iter().skip(1).map(|record| record.id).eq(100..110));
    block_on(store.shutdown(PATIENCE));
}

/// The test's thread has no runtime; the queue's actor keeps the clock. Red when a deadline rings no one, or counts
/// from anything but the call.
#[test]
fn submit_timeout_expires_as_full_without_a_runtime_of_the_callers() {
    let (store, handle, sink) = start(2, 1, 1);
    block_on(occupy(&handle, &sink, 1));
    assert_eq!(fill(&handle, 100), 2);
    let wait = Duration::from_millis(50);
    // One who waits longer stands before, and one who waits without end.
    let mut long = pin!(handle.submit_timeout(tick("ES", 1), Duration::from_secs(3600)));
    let mut ever = pin!(handle.submit(tick("ES", 2)));
    assert!(poll(long.as_mut()).is_pending() && poll(ever.as_mut()).is_pending());
    let begun = Instant::now();
    let error = block_on(within(PATIENCE, handle.submit_timeout(tick("ES", 3), wait))).unwrap_err();
    let elapsed = begun.elapsed();
    assert_eq!(*error.refusal(), Refusal::Full);
    assert_eq!(error.into_record().id, 3);
    assert!(elapsed >= wait && elapsed < wait + Duration::from_secs(2), "{elapsed:?}");
    assert!(poll(long.as_mut()).is_pending() && poll(ever.as_mut()).is_pending(), "only its own time is up");
    sink.release();
    block_on(within(PATIENCE, long)).unwrap();
    block_on(within(PATIENCE, ever)).unwrap();
    block_on(store.shutdown(PATIENCE));
}

/// Red when a fence stays after its future is gone: later batches would not wait to become full.
#[test]
fn a_flush_that_is_dropped_holds_and_hurries_no_other() {
    let (store, handle, sink) = start(100, 1, 10);
    block_on(occupy(&handle, &sink, 1));
    handle.try_submit(tick("ES", 100)).unwrap();
    {
        let mut flush = pin!(handle.flush());
        assert!(poll(flush.as_mut()).is_pending());
    }
    sink.release();
    block_on(within(PATIENCE, sink.wait_stored(1)));
    // The worker has asked for more, and the queue has looked.
    block_on(handle.submit_many((101..110).map(|id| tick("ES", id)))).unwrap();
    block_on(within(PATIENCE, sink.wait_stored(11)));
    assert_eq!(sink.batches().iter().map(|batch| batch.len()).collect::<Vec<_>>(), [1, 10]);
    block_on(store.shutdown(PATIENCE));
}

fn poll_ready(sink: &mut (impl Sink<Tick> + Unpin)) -> bool {
    Pin::new(sink).poll_ready(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// Red when the `Drop` of a write sink forgets its credit or its place in line.
#[test]
fn a_write_sink_that_is_dropped_gives_back_its_credit_and_its_place() {
    let (store, handle, sink) = start(2, 1, 1);
    block_on(occupy(&handle, &sink, 1));
    let (mut first, mut second, mut third) = (handle.sink(), handle.sink(), handle.sink());
    assert!(poll_ready(&mut first) && poll_ready(&mut first), "one credit, asked for twice");
    assert!(poll_ready(&mut second));
    assert_eq!(*handle.try_submit(tick("ES", 1)).unwrap_err().refusal(), Refusal::Full);
    assert!(!poll_ready(&mut third));
    let mut submit = pin!(handle.submit(tick("ES", 2)));
    assert!(poll(submit.as_mut()).is_pending());
    drop(third);
    drop(first);
    assert!(poll(submit.as_mut()).is_ready(), "the place of the third was next, and it left");
    Pin::new(&mut second).start_send(tick("ES", 3)).unwrap();
    assert_eq!(block_on(handle.health()).queue_size, 2);
    sink.release();
    block_on(within(PATIENCE, handle.flush())).unwrap();
    block_on(occupy(&handle, &sink, 1));
    assert_eq!(fill(&handle, 100), 2);
    sink.release();
    block_on(store.shutdown(PATIENCE));
}

/// Red when streams that were fed keep more places than the low watermark has, so that others find none, or one that is
/// closed keeps its place.
#[test]
fn a_stream_holds_a_place_between_its_records() {
    for (capacity, low, count) in [(10, 5, 1), (10, 5, 20), (2, 0, 20), (1, 0, 20)] {
        let (store, handle, _sink) = start(capacity, 1, 1);
        assert_eq!(block_on(handle.health()).low_watermark, low);
        let mut streams: Vec<_> = (0..count).map(|_| handle.sink()).collect();
        for id in 0..20 {
            for (at, stream) in streams.iter_mut().enumerate() {
                block_on(within(PATIENCE, stream.feed(tick("ES", 100 * id + at as u64)))).unwrap();
            }
            block_on(within(PATIENCE, handle.flush())).unwrap();
            let held = block_on(handle.health()).queue_size;
            assert!(held <= low && (count > 1 || held == 1), "{held} of {capacity}");
            // There is room for others.
            block_on(within(PATIENCE, handle.submit(tick("NQ", 100_000 + id)))).unwrap();
        }
        for stream in &mut streams {
            block_on(stream.close()).unwrap();
        }
        block_on(within(PATIENCE, handle.flush())).unwrap();
        assert_eq!(block_on(handle.health()).queue_size, 0);
        block_on(within(PATIENCE, streams[0].feed(tick("ES", 1)))).expect("a closed one can be fed again");
        drop(streams);
        block_on(within(PATIENCE, handle.flush())).unwrap();
        assert_eq!(block_on(handle.health()).queue_size, 0);
        block_on(store.shutdown(PATIENCE));
    }
}

/// A coordinator on the test's own arbiter, whose clock stands still while anybody has something to do.
async fn start_paused(capacity: usize, batch_size: usize) -> (MarketDataStore, WriteHandle<Tick>, MemorySink<Tick>) {
    tokio::time::pause();
    let sink = MemorySink::new();
    let coordinator = Coordinator::new(sink.clone()).settings(coordinator_settings(capacity, 1, batch_size));
    let builder = MarketDataStore::builder(crate::support::settings()).coordinator(coordinator).on_current_arbiter();
    let store = builder.start().await.unwrap();
    let handle = store.coordinator().unwrap();
    (store, handle, sink)
}

/// Red when no one rings for a credit that is only held: the two records would wait for the queue's next look around.
#[actix::test]
async fn a_credit_that_is_held_for_a_record_to_come_counts_as_taken() {
    let (store, handle, sink) = start_paused(3, 10).await;
    handle.try_submit(tick("ES", 1)).unwrap();
    handle.try_submit(tick("ES", 2)).unwrap();
    assert_eq!(handle.health().await.queue_size, 2);
    let begun = tokio::time::Instant::now();
    let mut ready = handle.sink();
    assert!(poll_ready(&mut ready));
    sink.wait_stored(2).await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    store.shutdown(PATIENCE).await;
}

/// Red when no one rings for a deadline: it would be found at the queue's next look around.
#[actix::test]
async fn submit_timeout_expires_when_its_time_is_up() {
    let (store, handle, sink) = start_paused(1, 1).await;
    sink.hold();
    handle.try_submit(tick("ES", 1)).unwrap();
    sink.wait_held(1).await;
    handle.try_submit(tick("ES", 2)).unwrap();
    let mut longer = pin!(handle.submit_timeout(tick("ES", 3), Duration::from_millis(730)));
    assert!(poll(longer.as_mut()).is_pending());
    for wait in [Duration::from_millis(17), Duration::from_millis(250)] {
        let begun = tokio::time::Instant::now();
        handle.submit_timeout(tick("ES", 4), wait).await.unwrap_err();
        // Tokio's timers have steps of a millisecond.
        let late = begun.elapsed().checked_sub(wait).expect("not before its time");
        assert!(late <= Duration::from_millis(2), "{late:?} too late");
    }
    assert_eq!(*longer.await.unwrap_err().refusal(), Refusal::Full);
    sink.release();
    store.shutdown(PATIENCE).await;
}
