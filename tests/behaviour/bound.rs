//! Many producers at once against a small queue: the bound holds, and every record is where it should be.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::RecvTimeoutError,
    },
    thread,
    time::{Duration, Instant},
};

use futures::{SinkExt, executor::block_on};
use market_data_store::{Coordinator, MarketDataStore, Overflow, Refusal, WriteHandle, sink::MemorySink};
use rand::{Rng, SeedableRng, rngs::StdRng};

use crate::support::{PATIENCE, Tick, coordinator_settings, occupy, residual, size_of_test, tick, within};

const CAPACITY: usize = 1_000;
const WORKERS: usize = 4;
const PRODUCERS: u64 = 8;
/// Enough for each partition to have some, and more of them than its share.
const SYMBOLS: u64 = 13;

/// Producers number their records themselves; an id tells whose and which it is.
const PER_PRODUCER: u64 = 1_000_000;

fn start(overflow: Overflow) -> (MarketDataStore, WriteHandle<Tick>, MemorySink<Tick>) {
    let sink = MemorySink::new();
    let mut settings = coordinator_settings(CAPACITY, WORKERS, 50);
    settings.overflow = overflow;
    settings.flush_interval = Duration::from_millis(5);
    let coordinator = Coordinator::new(sink.clone()).settings(settings);
    let store = MarketDataStore::builder(crate::support::settings()).coordinator(coordinator).spawn().unwrap();
    let handle = store.coordinator().unwrap();
    (store, handle, sink)
}

fn record(producer: u64, number: u64) -> Tick {
    tick(format!("K{}", number % SYMBOLS), (producer + 1) * PER_PRODUCER + number)
}

fn is_full(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Full | Refusal::PartitionFull { .. })
}

/// What one producer did, by its own count.
#[derive(Default)]
struct Produced {
    /// Accepted ids in the order in which they were submitted.
    accepted: Vec<u64>,
    /// Records that a method counted as refused.
    refused: u64,
}

/// Submits the records `from..to` in every way there is. A refused record is tried again if the queue is one that
/// waits, and given up otherwise.
fn produce(handle: &WriteHandle<Tick>, overflow: Overflow, producer: u64, from: u64, to: u64) -> Produced {
    let mut random = StdRng::seed_from_u64(producer + from);
    let mut done = Produced::default();
    let mut next = from;
    while next < to {
        let many = random.random_range(1..=60.min(to - next));
        match random.random_range(0..6) {
            way @ 0..3 => loop {
                let id = record(producer, next).id;
                let submitted = match way {
                    0 => handle.try_submit(record(producer, next)),
                    1 => block_on(handle.submit(record(producer, next))),
                    _ => block_on(handle.submit_timeout(record(producer, next), Duration::from_millis(2))),
                };
                match submitted {
                    Ok(()) => done.accepted.push(id),
                    Err(error) => {
                        assert!(is_full(error.refusal()), "{error}");
                        assert_eq!(error.into_record().id, id, "a refusal hands the record back");
                        done.refused += 1;
                        assert_ne!(overflow, Overflow::DropOldest, "this queue always has room");
                        if overflow == Overflow::Block {
                            assert_ne!(way, 1, "submit waits");
                            thread::yield_now();
                            continue;
                        }
                    }
                }
                next += 1;
                break;
            },
            3 => {
                let ids = (next..next + many).map(|number| record(producer, number).id);
                match block_on(handle.submit_many((next..next + many).map(|number| record(producer, number)))) {
                    Ok(accepted) => {
                        assert_eq!(accepted as u64, many);
                        done.accepted.extend(ids);
                    }
                    Err(error) => {
                        assert!(overflow == Overflow::Error && is_full(&error.refusal), "{error}");
                        let rest: Vec<_> = error.rest.iter().map(|record| record.id).collect();
                        assert!(ids.clone().skip(error.accepted).eq(rest), "the prefix is accepted, the rest is back");
                        done.refused += error.rest.len() as u64;
                        done.accepted.extend(ids.take(error.accepted));
                    }
                }
                next += many;
            }
            4 => {
                let mut records: VecDeque<_> = (next..next + many).map(|number| record(producer, number)).collect();
                let submitted = block_on(handle.submit_from(&mut records));
                if let Err(refused) = submitted {
                    assert!(overflow == Overflow::Error && is_full(&refused), "{refused}");
                    done.refused += 1;
                } else {
                    assert!(records.is_empty());
                }
                let accepted = many - records.len() as u64;
                done.accepted.extend((next..next + accepted).map(|number| record(producer, number).id));
                next += many;
            }
            _ => {
                let mut sink = handle.sink();
                for number in next..next + many.min(5) {
                    let id = record(producer, number).id;
                    match block_on(sink.feed(record(producer, number))) {
                        Ok(()) => done.accepted.push(id),
                        Err(error) => {
                            assert!(overflow == Overflow::Error && is_full(error.refusal()), "{error}");
                            assert_eq!(error.into_record().id, id);
                            done.refused += 1;
                        }
                    }
                }
                next += many.min(5);
            }
        }
    }
    done
}

/// Looks at the coordinator all the while. Returns how often, and the largest queue that it saw.
fn observe(handle: &WriteHandle<Tick>, stop: &AtomicBool) -> (usize, usize) {
    let (mut looks, mut largest) = (0, 0);
    // A few looks at least, however soon the producers are done: the books have to balance afterwards too.
    while !stop.load(Ordering::Acquire) || looks <= 5 {
        let health = block_on(handle.health());
        assert_eq!(residual(&health), 0, "the books do not balance: {health:?}");
        assert!(health.queue_size <= CAPACITY, "{health:?}");
        looks += 1;
        largest = largest.max(health.queue_size);
    }
    (looks, largest)
}

/// Runs the producers, each over the numbers `from..to`, with `meanwhile` beside them. A store in which a producer
/// waits without end is closed some day, which fails the producer's own assertions.
fn run(
    store: &MarketDataStore,
    handle: &WriteHandle<Tick>,
    overflow: Overflow,
    (from, to): (u64, u64),
    meanwhile: impl FnOnce(),
) -> Vec<Produced> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let observer = scope.spawn(|| observe(handle, &stop));
        let (all_done, done) = std::sync::mpsc::channel::<()>();
        scope.spawn(move || {
            if done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                block_on(store.shutdown(Duration::ZERO));
            }
        });
        let producers: Vec<_> =
            (0..PRODUCERS).map(|producer| scope.spawn(move || produce(handle, overflow, producer, from, to))).collect();
        meanwhile();
        // First all end, then it is seen how: a failure must not leave the observer running without end.
        let produced: Vec<_> = producers.into_iter().map(|producer| producer.join()).collect();
        stop.store(true, Ordering::Release);
        drop(all_done);
        let (looks, largest) = observer.join().expect("the observer");
        println!("{overflow:?}: {looks} snapshots, at most {largest} queued");
        produced.into_iter().map(|produced| produced.expect("a producer")).collect()
    })
}

/// The stored ids of each producer, in the order in which they were stored; `below` are not the producers'.
fn stored(sink: &MemorySink<Tick>, below: u64) -> HashMap<u64, Vec<Tick>> {
    let mut stored: HashMap<u64, Vec<Tick>> = HashMap::new();
    for record in sink.records().into_iter().filter(|record| record.id >= below) {
        stored.entry(record.id / PER_PRODUCER - 1).or_default().push(record);
    }
    stored
}

/// The stored records are the expected ones, each once, and those of one key are in order.
fn assert_stored(stored: &[Tick], expected: impl IntoIterator<Item = u64>) {
    let expected: BTreeSet<_> = expected.into_iter().collect();
    let seen: BTreeSet<_> = stored.iter().map(|record| record.id).collect();
    assert_eq!(seen.difference(&expected).count(), 0, "stored and never accepted");
    assert_eq!(expected.difference(&seen).count(), 0, "accepted and lost");
    assert_eq!(stored.len(), seen.len(), "stored twice");
    let mut last: HashMap<&str, u64> = HashMap::new();
    for record in stored {
        let before = last.insert(&record.symbol, record.id);
        assert!(before.is_none_or(|before| before < record.id), "{before:?} of {} before {}", record.symbol, record.id);
    }
}

fn records_of_each() -> u64 {
    size_of_test("MDS_TEST_RECORDS", 20_000) as u64
}

/// Red when a waiter takes a credit that is not there, or is forgotten when one becomes free.
#[test]
fn block_holds_the_bound_and_loses_nothing() {
    let (store, handle, sink) = start(Overflow::Block);
    let others = block_on(occupy(&handle, &sink, WORKERS));
    let produced = run(&store, &handle, Overflow::Block, (0, records_of_each()), || {
        let begun = Instant::now();
        while block_on(handle.health()).queue_size < CAPACITY {
            assert!(begun.elapsed() < PATIENCE, "the queue did not fill");
            thread::yield_now();
        }
        assert_eq!(sink.stored(), 0);
        sink.release();
    });
    block_on(within(PATIENCE, handle.flush())).unwrap();
    let stored = stored(&sink, others);
    for (producer, produced) in produced.iter().enumerate() {
        assert_eq!(produced.accepted.len() as u64, records_of_each());
        assert_stored(&stored[&(producer as u64)], produced.accepted.iter().copied());
    }
    let health = block_on(handle.health());
    assert_eq!(health.submitted, others + PRODUCERS * records_of_each());
    assert_eq!(health.rejected_full, produced.iter().map(|produced| produced.refused).sum::<u64>());
    assert!(block_on(store.shutdown(PATIENCE)).is_complete());
}

/// Red when the newest is evicted, a batch in flight is, or an eviction is not counted.
#[test]
fn drop_oldest_keeps_the_newest() {
    let (store, handle, sink) = start(Overflow::DropOldest);
    let others = block_on(occupy(&handle, &sink, WORKERS));
    let each = records_of_each();
    let produced = run(&store, &handle, Overflow::DropOldest, (0, each), || {});
    assert_eq!(sink.stored(), 0);
    sink.release();
    block_on(within(PATIENCE, handle.flush())).unwrap();
    let health = block_on(handle.health());
    assert_eq!(health.submitted, others + PRODUCERS * each);
    assert_eq!(health.dropped, PRODUCERS * each - CAPACITY as u64);
    assert_eq!(health.stored, others + CAPACITY as u64, "what workers held is never evicted");
    assert!(produced.iter().all(|produced| produced.accepted.len() as u64 == each && produced.refused == 0));
    // Whatever the order among producers: of each the latest survived.
    let stored = stored(&sink, others);
    assert_eq!(stored.values().map(Vec::len).sum::<usize>(), CAPACITY);
    for (producer, stored) in stored {
        assert_stored(stored.as_slice(), (each - stored.len() as u64..each).map(|number| record(producer, number).id));
    }
    assert!(block_on(store.shutdown(PATIENCE)).is_complete());
}

/// Red when an accepted record is lost, a refused one is stored, or `submit_many` accepts anything but a prefix.
#[test]
fn error_refuses_what_does_not_fit_and_loses_nothing_accepted() {
    let (store, handle, sink) = start(Overflow::Error);
    let others = block_on(occupy(&handle, &sink, WORKERS));
    let half = records_of_each() / 2;
    let held = run(&store, &handle, Overflow::Error, (0, half), || {});
    assert_eq!(held.iter().map(|produced| produced.accepted.len()).sum::<usize>(), CAPACITY, "as many as fit");
    // Now the store keeps up, more or less.
    sink.release();
    let flowing = run(&store, &handle, Overflow::Error, (half, 2 * half), || {});
    block_on(within(PATIENCE, handle.flush())).unwrap();
    let stored = stored(&sink, others);
    for (producer, (held, flowing)) in held.iter().zip(&flowing).enumerate() {
        let accepted = held.accepted.iter().chain(&flowing.accepted).copied();
        assert_stored(stored.get(&(producer as u64)).map_or(&[], Vec::as_slice), accepted);
    }
    let refused: u64 = held.iter().chain(&flowing).map(|produced| produced.refused).sum();
    assert_eq!(block_on(handle.health()).rejected_full, refused);
    assert!(refused > 0);
    assert!(block_on(store.shutdown(PATIENCE)).is_complete());
}
