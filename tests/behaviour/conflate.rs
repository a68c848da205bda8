//! A full queue that keeps the newest of each thing, through real actors.

use std::{
    collections::{HashMap, VecDeque},
    pin::pin,
    thread,
};

use futures::{SinkExt, executor::block_on, future::select};
use market_data_store::{
    Bar, ConflationKey, Coordinator, DropReason, MarketDataStore, Outcome, Overflow, Quote, Receipt, Record, Refusal,
    Settings, WriteHandle,
    sink::{MemorySink, SinkError},
};
use serde::{Deserialize, Serialize};

use crate::support::{PATIENCE, Tick, coordinator_settings, occupy, residual, settings, size_of_test, tick, within};

/// The last price of something, at one of several venues.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Last {
    venue: u64,
    symbol: String,
    id: u64,
}

impl Record for Last {
    const KIND: &'static str = "lasts";
    const CONFLATES: bool = true;

    fn partition_key(&self) -> &str {
        &self.symbol
    }

    fn conflation_key(&self) -> ConflationKey {
        ConflationKey::new([self.venue.to_string().as_str(), self.symbol.as_str()])
    }
}

const CAPACITY: usize = 1_000;
const WORKERS: usize = 4;
const PRODUCERS: u64 = 8;
/// More than partitions, and with the producers' venues less than places.
const SYMBOLS: u64 = 13;
const KEYS: u64 = SYMBOLS * PRODUCERS;

fn last(venue: u64, number: u64) -> Last {
    Last { venue, symbol: format!("K{}", number % SYMBOLS), id: number }
}

fn start<T: Record + Clone>(
    sink: &MemorySink<T>,
    capacity: usize,
    workers: usize,
    batch_size: usize,
) -> (MarketDataStore, WriteHandle<T>) {
    let own = coordinator_settings(capacity, workers, batch_size).overflow(Overflow::Conflate);
    let coordinator = Coordinator::new(sink.clone()).settings(own);
    let store = MarketDataStore::builder(settings()).coordinator(coordinator).spawn().unwrap();
    let handle = store.coordinator().unwrap();
    (store, handle)
}

/// Submits the numbers of a venue in order, in every way there is but by permits.
fn produce(handle: &WriteHandle<Last>, venue: u64, mut next: u64, to: u64) -> Vec<Receipt> {
    let mut receipts = Vec::new();
    while next < to {
        let many = (1 + next % 60).min(to - next);
        let records = (next..next + many).map(|number| last(venue, number));
        match next % 6 {
            0 => records.for_each(|record| handle.try_submit(record).expect("one of its key waits")),
            1 => records.for_each(|record| block_on(handle.submit(record)).expect("one of its key waits")),
            2 => assert_eq!(block_on(handle.submit_many(records)).unwrap(), many as usize),
            3 => {
                let mut records: VecDeque<_> = records.collect();
                block_on(handle.submit_from(&mut records)).expect("one of its key waits");
            }
            4 => {
                let mut sink = handle.sink();
                records.for_each(|record| block_on(sink.feed(record)).expect("one of its key waits"));
            }
            _ => receipts.extend(
                records.map(|record| block_on(handle.submit_with_receipt(record)).expect("one of its key waits")),
            ),
        }
        next += many;
    }
    receipts
}

/// While the store hangs one of each key always waits, so nothing is ever evicted. Red when another than the last of its
/// key is replaced, a last value is lost, those of one key are stored out of order, or something is not counted.
#[test]
fn the_last_value_of_each_key_is_stored_and_in_order() {
    let sink = MemorySink::new();
    let (store, handle) = start::<Last>(&sink, CAPACITY, WORKERS, 50);
    let each = size_of_test("MDS_TEST_RECORDS", 20_000) as u64;
    let one_of_each = |from| {
        for venue in 0..PRODUCERS {
            block_on(handle.submit_many((from..from + SYMBOLS).map(|number| last(venue, number)))).unwrap();
        }
    };
    // Each worker has some, and then one of each key waits.
    sink.hold();
    one_of_each(0);
    let (flush, held) = (pin!(handle.flush()), pin!(sink.wait_held(WORKERS)));
    block_on(within(PATIENCE, select(flush, held)));
    one_of_each(SYMBOLS);
    let health = block_on(handle.health());
    assert_eq!((health.queued as u64, health.in_flight as u64), (KEYS, KEYS));
    let receipts: Vec<Receipt> = thread::scope(|scope| {
        let handle = &handle;
        let producers: Vec<_> =
            (0..PRODUCERS).map(|venue| scope.spawn(move || produce(handle, venue, 2 * SYMBOLS, each))).collect();
        producers.into_iter().flat_map(|producer| producer.join().expect("a producer")).collect()
    });
    let full = block_on(handle.health());
    assert_eq!((full.queue_size, residual(&full)), (CAPACITY, 0));
    sink.release();
    block_on(within(PATIENCE, handle.flush())).unwrap();
    let health = block_on(handle.health());
    assert_eq!(health.submitted, PRODUCERS * each);
    assert_eq!(health.stored as usize, sink.stored());
    assert_eq!(health.dropped, PRODUCERS * each - KEYS - CAPACITY as u64);
    assert_eq!(health.conflated, health.dropped, "nothing was evicted");

    let mut stored: HashMap<(u64, String), Vec<u64>> = HashMap::new();
    for Last { venue, symbol, id } in sink.records() {
        stored.entry((venue, symbol)).or_default().push(id);
    }
    assert_eq!(stored.len() as u64, KEYS);
    for ((venue, symbol), ids) in &stored {
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]), "{symbol} at {venue} is out of order: {ids:?}");
        let newest = (each - SYMBOLS..each).find(|&number| last(0, number).symbol == *symbol);
        assert_eq!(ids.last().copied(), newest, "the last of {symbol} at {venue}");
    }
    let conflated = Outcome::Dropped(DropReason::Conflated);
    let outcomes: Vec<_> = receipts.into_iter().map(|receipt| block_on(within(PATIENCE, receipt)).unwrap()).collect();
    assert!(outcomes.iter().all(|outcome| [Outcome::Stored, conflated].contains(outcome)));
    assert!(outcomes.contains(&conflated) && outcomes.len() as u64 > each / 2, "{}", outcomes.len());
    assert!(block_on(store.shutdown(PATIENCE)).is_complete());
}

/// Red when what a worker holds, or tries again, is replaced: it would be stored after the newer one, or not at all.
#[test]
fn what_a_worker_has_is_stored_before_what_came_later() {
    let sink = MemorySink::<Tick>::new();
    let (store, handle) = start(&sink, 4, 1, 4);
    occupy_one(&handle, &sink);
    sink.fail_times(2, || SinkError::transient("away"));
    for id in 1..100 {
        handle.try_submit(tick("ES", id)).unwrap();
    }
    let health = block_on(handle.health());
    assert_eq!((health.queued, health.in_flight, health.conflated), (4, 1, 95));
    sink.release();
    block_on(within(PATIENCE, handle.flush())).unwrap();
    let stored: Vec<_> = sink.records().iter().map(|tick| tick.id).collect();
    assert_eq!(stored, [0, 1, 2, 3, 99]);
    assert!(block_on(store.shutdown(PATIENCE)).is_complete());
}

/// Has the one worker hold a tick.
fn occupy_one(handle: &WriteHandle<Tick>, sink: &MemorySink<Tick>) {
    assert_eq!(block_on(occupy(handle, sink, 1)), 1);
}

/// Red when a permit's place is not made, or is made by replacing something of which the permit knows no key, or a later
/// record does not find the permit's.
#[test]
fn a_permit_makes_room_as_drop_oldest_does() {
    let sink = MemorySink::<Tick>::new();
    let (store, handle) = start(&sink, 3, 1, 3);
    occupy_one(&handle, &sink);
    for (symbol, id) in [("A", 1), ("A", 2), ("B", 3)] {
        handle.try_submit(tick(symbol, id)).unwrap();
    }
    let permit = block_on(within(PATIENCE, handle.reserve("B"))).unwrap();
    let health = block_on(handle.health());
    assert_eq!((health.dropped, health.conflated, health.reserved), (1, 0, 1));
    permit.submit(tick("B", 4)).unwrap();
    handle.try_submit(tick("B", 5)).unwrap();
    sink.release();
    block_on(within(PATIENCE, handle.flush())).unwrap();
    assert_eq!(sink.records().iter().map(|tick| tick.id).collect::<Vec<_>>(), [0, 2, 3, 5], "5 in the place of 4");
    assert!(block_on(store.shutdown(PATIENCE)).is_complete());
}

/// Red when something is given up for a record that finds no place all the same.
#[test]
fn where_permits_hold_all_a_record_is_refused() {
    let sink = MemorySink::<Tick>::new();
    let (store, handle) = start(&sink, 3, 1, 3);
    let permits: Vec<_> = (0..3).map(|_| block_on(handle.reserve("C")).unwrap()).collect();
    assert_eq!(handle.try_submit(tick("A", 6)).unwrap_err().refusal(), &Refusal::Full);
    assert_eq!(block_on(handle.submit(tick("A", 6))).unwrap_err().refusal(), &Refusal::Full);
    assert_eq!(block_on(handle.reserve("C")).unwrap_err(), Refusal::Full);
    drop(permits);
    handle.try_submit(tick("A", 7)).unwrap();
    block_on(within(PATIENCE, handle.flush())).unwrap();
    let health = block_on(handle.health());
    assert_eq!((health.submitted, health.stored, health.dropped, health.rejected_full), (1, 1, 0, 3));
    assert!(block_on(store.shutdown(PATIENCE)).is_complete());
}

/// Red when a kind whose records do not conflate is started so, or the error does not name the variable that says it.
#[test]
fn a_kind_that_does_not_conflate_is_refused_at_the_start() {
    let start = |vars: &[(&str, &str)]| {
        let mut settings = Settings::from_vars(vars.iter().copied()).unwrap();
        settings.dlq_path = crate::support::settings().dlq_path;
        let started = MarketDataStore::builder(settings)
            .coordinator(Coordinator::new(MemorySink::<Bar>::new()))
            .coordinator(Coordinator::new(MemorySink::<Quote>::new()))
            .spawn();
        started.map(drop).map_err(|error| error.to_string())
    };
    let of = |variable: &str| {
        Err(format!(
            "{variable} is conflate for the coordinator \"bars\", expected block, drop_oldest or error: its newer records \
             do not replace older ones"
        ))
    };
    let (all, bars, quotes) = (
        "MDS_COORDINATOR_OVERFLOW_STRATEGY",
        "MDS_BARS_COORDINATOR_OVERFLOW_STRATEGY",
        "MDS_QUOTES_COORDINATOR_OVERFLOW_STRATEGY",
    );
    assert_eq!(start(&[(all, "conflate")]), of(all));
    assert_eq!(start(&[(all, "conflate"), ("MDS_BARS_COORDINATOR_CAPACITY", "10")]), of(all));
    assert_eq!(start(&[(bars, "conflate")]), of(bars));
    assert_eq!(start(&[(quotes, "conflate")]), Ok(()));
    assert_eq!(start(&[(all, "conflate"), (bars, "block")]), Ok(()));

    let own = coordinator_settings(10, 1, 1).overflow(Overflow::Conflate);
    let coordinator = Coordinator::new(MemorySink::<Bar>::new()).settings(own).id("minutes");
    let error = MarketDataStore::builder(settings()).coordinator(coordinator).spawn().unwrap_err().to_string();
    assert!(error.contains("conflate for the coordinator \"minutes\""), "{error}");
}
