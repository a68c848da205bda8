//! Work that is due and is not written: when it is overdue, how far, and when it is not any more.

use std::num::{NonZeroU32, NonZeroUsize};

use super::*;
use crate::policy::*;
use crate::policy::{BreakerConfig, Watermarks};

const SLOW_AFTER: Duration = Duration::from_secs(5);
const FLUSH: Duration = Duration::from_secs(1);

fn s(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Two partitions, whose batches are full with two records.
fn buffer() -> BoundedBuffer<u64, ()> {
    BoundedBuffer::new(BufferConfig {
        capacity: NonZeroUsize::new(100).expect("not zero"),
        capacity_bytes: None,
        partitions: NonZeroUsize::new(2).expect("not zero"),
        batch_size: NonZeroUsize::new(2).expect("not zero"),
        flush_interval: FLUSH,
        overflow: Overflow::Error,
        watermarks: Watermarks::for_capacity(100),
        breaker: BreakerConfig { failure_threshold: NonZeroU32::new(1), half_open_after: s(10.0) },
        slow_after: SLOW_AFTER,
        max_strikes: NonZeroU32::new(5).expect("not zero"),
    })
}

/// A full batch of a partition is under way.
fn begins(buffer: &mut BoundedBuffer<u64, ()>, partition: usize, now: Duration) -> LeaseId {
    for number in 0..2 {
        buffer.offer(now, partition, number).expect("there is room");
    }
    let lease = buffer.ask(partition, now).expect("it is full").id;
    assert!(buffer.may_write(lease));
    lease
}

/// What is told when the queue's actor looks at `now`, if it is about writes that are overdue.
fn told(buffer: &mut BoundedBuffer<u64, ()>, now: Duration) -> Option<(Level, Option<(usize, Duration)>)> {
    buffer.hand_out(now);
    let overdue = |event| match event {
        QueueEvent::Overdue(overdue) => Some((overdue.level, overdue.longest)),
        _ => None,
    };
    buffer.events().into_iter().filter_map(overdue).next_back()
}

/// Red when a write that hangs is told of early, late, twice or never, or when its end is not.
#[test]
fn a_write_that_hangs_is_overdue_until_it_is_settled() {
    let mut buffer = buffer();
    let lease = begins(&mut buffer, 0, s(1.0));
    assert_eq!(buffer.next_deadline(s(1.0)), Some(s(6.0)), "the queue's actor comes by itself");
    assert_eq!(told(&mut buffer, s(5.999)), None);
    assert_eq!(told(&mut buffer, s(6.0)), Some((Level::Hard, Some((0, s(1.0))))));
    assert_eq!((told(&mut buffer, s(7.0)), buffer.snapshot(s(7.0)).overdue), (None, 1));
    buffer.settle_stored(lease, s(8.0)).expect("it is out");
    assert!(buffer.effects().is_some_and(|effects| effects.wake_queue), "the end is told at once");
    assert_eq!(told(&mut buffer, s(8.0)), Some((Level::Ok, None)));
}

/// Red when work that is not due yet is overdue, or what no worker takes never is.
#[test]
fn what_no_worker_takes_is_overdue_from_when_it_was_due() {
    let mut buffer = buffer();
    buffer.offer(s(1.0), 0, 1).expect("there is room");
    assert_eq!(told(&mut buffer, s(6.999)), None, "it waited for its batch to become full");
    assert_eq!(told(&mut buffer, s(7.0)), Some((Level::Hard, Some((0, s(2.0))))));
    assert_eq!(buffer.partitions(s(8.0))[0].overdue_since, Some(s(2.0)));

    let mut buffer = self::buffer();
    for number in 0..2 {
        buffer.offer(s(1.0), 0, number).expect("there is room");
    }
    assert_eq!(told(&mut buffer, s(6.0)), Some((Level::Hard, Some((0, s(1.0))))), "a full batch is due at once");
}

/// Red when partitions that write hide one that does not, or the level follows each of their batches.
#[test]
fn it_is_soft_while_others_write_and_does_not_follow_their_batches() {
    let mut buffer = buffer();
    let stuck = begins(&mut buffer, 0, s(0.0));
    for second in 1..5 {
        let lease = begins(&mut buffer, 1, s(f64::from(second)));
        buffer.settle_stored(lease, s(f64::from(second) + 0.5)).expect("it is out");
    }
    assert_eq!(told(&mut buffer, s(5.0)), Some((Level::Soft, Some((0, s(0.0))))));
    for second in [5, 9] {
        let lease = begins(&mut buffer, 1, s(f64::from(second)));
        assert_eq!(told(&mut buffer, s(f64::from(second) + 0.1)), None);
        buffer.settle_stored(lease, s(f64::from(second) + 0.5)).expect("it is out");
        assert_eq!(told(&mut buffer, s(f64::from(second) + 0.5)), None);
    }
    assert_eq!(buffer.next_deadline(s(9.5)), Some(s(14.5)), "then nothing was settled for as long");
    assert_eq!(told(&mut buffer, s(14.5)), Some((Level::Hard, Some((0, s(0.0))))));
    let lease = begins(&mut buffer, 1, s(15.0));
    assert_eq!(told(&mut buffer, s(15.0)), Some((Level::Soft, Some((0, s(0.0))))), "that may yet be written");
    assert_eq!(told(&mut buffer, s(20.0)), Some((Level::Hard, Some((0, s(0.0))))), "that hangs too");
    buffer.settle_stored(lease, s(21.0)).expect("it is out");
    buffer.settle_stored(stuck, s(22.0)).expect("it is out");
    assert_eq!(told(&mut buffer, s(22.0)), Some((Level::Ok, None)));
}

/// Red when what waits for the circuit is called overdue, or its time is not counted anew.
#[test]
fn what_waits_for_the_circuit_is_not_overdue() {
    let mut buffer = buffer();
    let lease = begins(&mut buffer, 0, s(0.0));
    assert_eq!(told(&mut buffer, s(5.0)), Some((Level::Hard, Some((0, s(0.0))))));
    let verdict = buffer.write_failed(lease, WriteFault::Transient, s(0.0), s(6.0), None);
    assert_eq!(verdict, Verdict::Parked);
    assert_eq!(told(&mut buffer, s(6.0)), Some((Level::Ok, None)), "the circuit is open, which says more");
    assert_eq!(told(&mut buffer, s(15.9)), None);
    assert!(buffer.ask(0, s(16.0)).is_none());
    let probe = buffer.hand_out(s(16.0)).pop().expect("a probe is due");
    assert!(matches!(buffer.isolate(probe.id, true, s(17.0)), Some(Isolated::Half(_))));
    assert_eq!(told(&mut buffer, s(21.9)), None);
    assert_eq!(told(&mut buffer, s(22.0)), Some((Level::Hard, Some((0, s(17.0))))), "since the circuit closed");
}

/// A batch that comes back from a worker that died is as old as before. Red when its time begins anew: one that kills
/// each worker would never be overdue.
#[test]
fn a_batch_that_comes_back_is_as_late_as_before() {
    let mut buffer = buffer();
    let mut lease = begins(&mut buffer, 0, s(0.0));
    for second in 1..5 {
        assert!(buffer.park(lease, s(f64::from(second))));
        lease = buffer.ask(0, s(f64::from(second))).expect("it is parked").id;
    }
    assert_eq!(told(&mut buffer, s(5.0)), Some((Level::Hard, Some((0, s(0.0))))));
    let partitions = buffer.partitions(s(5.0));
    let (records, at) = partitions[0].oldest.as_ref().expect("it is out");
    assert_eq!((records.as_slice(), *at, partitions[0].in_flight), (&[0, 1][..], 0, 2));
}

/// Red when the last that is told of a coordinator that has settled all is that its writes are overdue.
#[test]
fn the_end_of_what_was_overdue_is_told_after_the_buffer_is_closed() {
    let mut buffer = buffer();
    begins(&mut buffer, 0, s(0.0));
    assert_eq!(told(&mut buffer, s(5.0)).map(|(level, _)| level), Some(Level::Hard));
    buffer.close();
    assert_eq!(told(&mut buffer, s(6.0)), None, "it is not settled");
    for leased in buffer.abandon() {
        buffer.settle_dead_lettered(leased.id, s(7.0)).expect("it is unsettled");
    }
    assert!(buffer.effects().is_some_and(|effects| effects.wake_queue));
    assert_eq!(told(&mut buffer, s(7.0)), Some((Level::Ok, None)));
}
