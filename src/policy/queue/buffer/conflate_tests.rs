//! What a full queue that conflates replaces, by hand; [`tests`](super::tests) and [`byte_tests`](super::byte_tests)
//! have any history of it.

use std::{
    collections::VecDeque,
    num::{NonZeroU32, NonZeroUsize},
};

use super::*;
use crate::policy::*;
use crate::policy::{BreakerConfig, Watermarks};

/// Whose records these are: the name of a receipt is that of its record.
type Buffer = BoundedBuffer<&'static str, usize, &'static str>;

const NOW: Duration = Duration::ZERO;
const LATER: Duration = Duration::from_millis(10);

/// A queue with so many places in so many partitions, whose batches have two records.
fn buffer(capacity: usize, partitions: usize, bytes: usize) -> Buffer {
    BoundedBuffer::new(BufferConfig {
        capacity: NonZeroUsize::new(capacity).expect("not zero"),
        capacity_bytes: NonZeroUsize::new(bytes),
        partitions: NonZeroUsize::new(partitions).expect("not zero"),
        batch_size: NonZeroUsize::new(2).expect("not zero"),
        flush_interval: Duration::from_secs(3600),
        overflow: Overflow::Conflate,
        watermarks: Watermarks::for_capacity(capacity),
        breaker: BreakerConfig::default(),
        slow_after: Duration::MAX,
        max_strikes: NonZeroU32::MIN,
    })
}

/// The key of a record is its first letter.
fn placement(partition: usize, bytes: usize, record: &str) -> Placement {
    Placement { load: Load { partition, bytes }, key: Some(ConflationKey::new([&record[..1]])) }
}

fn offer(buffer: &mut Buffer, now: Duration, record: &'static str) -> Result<(), Refusal> {
    offer_bytes(buffer, now, record, 0)
}

fn offer_bytes(buffer: &mut Buffer, now: Duration, record: &'static str, bytes: usize) -> Result<(), Refusal> {
    let offered = buffer.offer(now, placement(0, bytes, record), record);
    offered.map(|()| buffer.keep_receipts([record].into_iter())).map_err(|(refusal, _)| refusal)
}

fn outcomes(buffer: &mut Buffer) -> Vec<(&'static str, Outcome)> {
    buffer.effects().map(|effects| effects.outcomes).unwrap_or_default()
}

const CONFLATED: Outcome = Outcome::Dropped(DropReason::Conflated);
const EVICTED: Outcome = Outcome::Dropped(DropReason::DropOldest);

/// Hands out and settles all that is queued.
fn drain(buffer: &mut Buffer) -> Vec<&'static str> {
    let mut stored = Vec::new();
    buffer.drain();
    while let Some(leased) = buffer.ask(0, LATER) {
        stored.extend(leased.records.iter().copied());
        buffer.settle_stored(leased.id, LATER);
    }
    stored
}

/// Red when it conflates though a place is free, an older one of the key than the newest is replaced, so that what came
/// between them overtakes, the new one stands at the end or is as young as it is, or the receipt or the reason is a wrong
/// one.
#[test]
fn a_full_queue_keeps_the_newest_in_the_place_and_with_the_age_of_the_last() {
    let mut buffer = buffer(4, 1, 0);
    for record in ["a1", "a2", "b1", "c1"] {
        offer(&mut buffer, NOW, record).expect("there is room");
    }
    assert_eq!(outcomes(&mut buffer), []);
    offer(&mut buffer, LATER, "a3").expect("it replaces a2");
    assert_eq!(outcomes(&mut buffer), [("a2", CONFLATED)]);
    offer(&mut buffer, LATER, "b2").expect("it replaces b1");
    assert_eq!(outcomes(&mut buffer), [("b1", CONFLATED)]);
    let Counters { submitted, dropped, conflated, .. } = buffer.snapshot(LATER).counters;
    assert_eq!((submitted, dropped, conflated), (6, 2, 2));
    offer(&mut buffer, LATER, "d1").expect("the oldest goes");
    assert_eq!(outcomes(&mut buffer), [("a1", EVICTED)]);
    let snapshot = buffer.snapshot(LATER);
    assert_eq!((snapshot.queued, snapshot.counters.conflated), (4, 2));
    // Now a3 is the oldest, in the place of a2.
    assert_eq!(snapshot.oldest_age.map(|age| age.as_millis()), Some(9), "10, less the nanoseconds that number them");
    assert_eq!(drain(&mut buffer), ["a3", "b2", "c1", "d1"]);
    assert_eq!(outcomes(&mut buffer), ["a3", "b2", "c1", "d1"].map(|record| (record, Outcome::Stored)));
}

/// Red when what a worker has, or what came back, is replaced or evicted.
#[test]
fn what_is_leased_or_parked_is_never_replaced() {
    let mut buffer = buffer(2, 1, 0);
    for record in ["a1", "b1"] {
        offer(&mut buffer, NOW, record).expect("there is room");
    }
    let lease = buffer.ask(0, NOW).expect("it is full").id;
    for record in ["a2", "b2", "a3"] {
        offer(&mut buffer, NOW, record).expect("there is room, or a2");
    }
    assert_eq!(outcomes(&mut buffer), [("a2", CONFLATED)]);
    assert!(buffer.park(lease, NOW));
    offer(&mut buffer, NOW, "b3").expect("it replaces b2");
    offer(&mut buffer, NOW, "c1").expect("the oldest that is queued goes");
    assert_eq!(outcomes(&mut buffer), [("b2", CONFLATED), ("a3", EVICTED)]);
    assert_eq!(drain(&mut buffer), ["a1", "b1", "b3", "c1"]);
}

/// Red when a record of another partition is replaced: it would be written by another worker, in another order.
#[test]
fn only_a_record_of_the_same_partition_is_replaced() {
    // Without shares.
    let mut buffer = buffer(3, 2, 0);
    for (partition, record) in [(0, "a1"), (1, "b1"), (1, "b2")] {
        buffer.offer(NOW, placement(partition, 0, record), record).expect("there is room");
    }
    buffer.offer(NOW, placement(1, 0, "a2"), "a2").expect("the oldest goes");
    let effects = buffer.effects().expect("one went");
    assert_eq!((effects.evicted, buffer.snapshot(NOW).counters.conflated), (vec!["a1"], 0));
}

/// Red when records of one call do not see each other, what does not fit leaves the caller, or it is observed for each.
#[test]
fn many_at_once_conflate_among_themselves() {
    let mut buffer = buffer(3, 1, 0);
    let mut records = VecDeque::from(["a1", "b1", "c1", "a2", "c2", "a3"]);
    let keys: Vec<_> = records.iter().map(|record| ConflationKey::new([&record[..1]])).collect();
    let loads = vec![Load::from(0); keys.len()];
    assert_eq!(buffer.offer_many(NOW, &mut records, &loads, &keys), Ok(6));
    assert_eq!(buffer.effects().map(|effects| effects.evicted), Some(vec!["a1", "c1", "a2"]));
    assert_eq!(buffer.events().len(), 1, "one crossing");
    assert_eq!(drain(&mut buffer), ["a3", "b1", "c2"]);

    let mut buffer = self::buffer(3, 1, 0);
    assert_eq!([0; 2].map(|line| buffer.reserve(NOW, line)), [Ok(true), Ok(true)]);
    let mut records = VecDeque::from(["a1", "a2", "b1", "b2"]);
    let keys: Vec<_> = records.iter().map(|record| ConflationKey::new([&record[..1]])).collect();
    assert_eq!(buffer.offer_many(NOW, &mut records, &loads[..4], &keys), Ok(4), "b1 evicts a2");
    assert_eq!(buffer.reserve(NOW, 0), Ok(true), "it evicts the last");
    records.push_back("c1");
    let keys = [ConflationKey::new(["c"])];
    assert_eq!(buffer.offer_many(NOW, &mut records, &loads[..1], &keys), Ok(0), "permits hold all");
    assert_eq!(records, ["c1"]);
}

/// Red when a permit's record has no key, so that a later one does not find it, or finds another in its place.
#[test]
fn the_record_of_a_permit_is_replaced_like_any_other() {
    let mut buffer = buffer(2, 1, 0);
    offer(&mut buffer, NOW, "a1").expect("there is room");
    assert_eq!(buffer.reserve(NOW, 0), Ok(true));
    buffer.offer_reserved(NOW, 0, placement(0, 0, "b1"), "b1").expect("it has a place");
    offer(&mut buffer, NOW, "b2").expect("it replaces b1");
    assert_eq!(drain(&mut buffer), ["a1", "b2"]);
}

/// Red when a record in the place of one that is replayed is taken for a dead letter, and lost where it is given up, or
/// one that is replayed is not.
#[test]
fn a_replay_is_known_by_what_is_in_the_place_now() {
    for (is_replay, then_is_replay) in [(true, false), (false, true)] {
        let mut buffer = buffer(1, 1, 0);
        for (record, is_replay) in [("a1", is_replay), ("a2", then_is_replay)] {
            offer(&mut buffer, NOW, record).expect("there is room, or a1");
            if is_replay {
                buffer.mark_replay();
            }
        }
        let lease = buffer.ask(0, NOW).expect("no place is free").id;
        let (replays, receipt) = buffer.replays(lease);
        assert_eq!((replays, receipt.copied()), (vec![then_is_replay], Some("a2")));
    }
}

/// Red when a flush that began before does not wait for what came into the place, or one that began after waits for none.
#[test]
fn a_flush_waits_for_what_is_in_the_place() {
    let mut buffer = buffer(1, 1, 0);
    offer(&mut buffer, NOW, "a1").expect("there is room");
    let before = buffer.begin_flush(0).expect("it is open").expect("a1 is unsettled");
    offer(&mut buffer, LATER, "a2").expect("it replaces a1");
    let after = buffer.begin_flush(0).expect("it is open").expect("a2 is unsettled");
    assert_eq!([before, after].map(|flush| buffer.flush_holds(flush, 0)), [Ok(true), Ok(true)]);
    let lease = buffer.ask(0, LATER).expect("no place is free").id;
    buffer.settle_stored(lease, LATER).expect("it is out");
    assert_eq!([before, after].map(|flush| buffer.flush_holds(flush, 0)), [Ok(false), Ok(false)]);
}

/// Red when bytes of the replaced record are held on, the bound is passed, or a record is given up though the few bytes
/// that are missing can be had from the oldest.
#[test]
fn a_larger_record_has_the_bytes_of_the_one_it_replaces_and_only_then_those_of_the_oldest() {
    let mut buffer = buffer(100, 1, 100);
    for record in ["a1", "b1", "c1", "d1"] {
        offer_bytes(&mut buffer, NOW, record, 25).expect("there is room");
    }
    offer_bytes(&mut buffer, NOW, "c2", 20).expect("it is smaller");
    assert_eq!((outcomes(&mut buffer), buffer.snapshot(NOW).bytes), (vec![("c1", CONFLATED)], 95));
    offer_bytes(&mut buffer, NOW, "d2", 30).expect("five are free");
    assert_eq!((outcomes(&mut buffer), buffer.snapshot(NOW).bytes), (vec![("d1", CONFLATED)], 100));
    offer_bytes(&mut buffer, NOW, "d3", 31).expect("one is missing");
    assert_eq!(outcomes(&mut buffer), [("a1", EVICTED), ("d2", CONFLATED)]);
    assert_eq!(buffer.snapshot(NOW).bytes, 76);
    // The one that it would replace is the oldest.
    offer_bytes(&mut buffer, NOW, "b2", 60).expect("the oldest go");
    assert_eq!(outcomes(&mut buffer), [("b1", EVICTED), ("c2", EVICTED)]);
    assert_eq!(drain(&mut buffer), ["d3", "b2"]);
    assert_eq!(buffer.snapshot(LATER).bytes, 0);
}

/// A batch has at most 100 bytes here. Red when one is full by a replacement and waits on.
#[test]
fn a_batch_that_is_full_by_a_replacement_is_handed_out() {
    let mut buffer = buffer(100, 2, 400);
    assert!(buffer.ask(0, NOW).is_none());
    buffer.offer(NOW, placement(1, 255, "b1"), "b1").expect("there is room");
    buffer.offer(NOW, placement(0, 70, "a1"), "a1").expect("there is room");
    buffer.effects();
    assert!(buffer.hand_out(NOW).is_empty());
    buffer.offer(NOW, placement(0, 105, "a2"), "a2").expect("it replaces a1, since 75 bytes are free");
    let effects = buffer.effects().expect("one went");
    assert_eq!((effects.evicted, effects.wake_queue), (vec!["a1"], true));
    assert_eq!(buffer.hand_out(NOW).len(), 1);
}
