//! What is the store's fault, surely or as far as anybody can know, is not held against a batch.

use std::num::{NonZeroU32, NonZeroUsize};

use super::*;
use crate::policy::*;
use crate::policy::{BreakerConfig, CircuitState, Watermarks};

const ONE: NonZeroUsize = NonZeroUsize::MIN;

/// Two partitions with a record each, which are out; a batch is at fault at two strikes.
fn buffer(breaker: BreakerConfig) -> (BoundedBuffer<u64, ()>, [LeaseId; 2]) {
    let config = BufferConfig {
        capacity: NonZeroUsize::new(10).expect("not zero"),
        capacity_bytes: None,
        partitions: NonZeroUsize::new(2).expect("not zero"),
        batch_size: ONE,
        flush_interval: Duration::ZERO,
        overflow: Overflow::Error,
        watermarks: Watermarks::for_capacity(10),
        breaker,
        slow_after: Duration::MAX,
        max_strikes: NonZeroU32::new(2).expect("not zero"),
    };
    let mut buffer = BoundedBuffer::new(config);
    let leases = [0, 1].map(|partition| {
        buffer.offer(Duration::ZERO, partition, partition as u64).expect("there is room");
        buffer.ask(partition, Duration::ZERO).expect("it is ready").id
    });
    (buffer, leases)
}

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Red when these failures are strikes, or the wait between them does not grow.
#[test]
fn what_the_sink_calls_an_outage_is_no_strike_though_others_are_answered() {
    let (mut buffer, [failing, other]) = buffer(BreakerConfig::default());
    assert_eq!(buffer.write_failed(failing, WriteFault::Outage, at(1), at(2), None), Verdict::Retry { failures: 1 });
    buffer.settle_stored(other, at(3)).expect("it is out");
    for round in 2..100 {
        let verdict = buffer.write_failed(
            failing,
            WriteFault::Outage,
            at(10 * u64::from(round)),
            at(10 * u64::from(round) + 1),
            None,
        );
        assert_eq!(verdict, Verdict::Retry { failures: round });
        // The store answers in between, or the circuit would open.
        buffer.offer(at(0), 1, 7).expect("there is room");
        let lease = buffer.ask(1, at(0)).expect("it is ready").id;
        buffer.settle_stored(lease, at(10 * u64::from(round) + 2)).expect("it is out");
    }
    // Only now comes the first strike.
    let verdict = buffer.write_failed(failing, WriteFault::Transient, at(2_000), at(2_001), None);
    assert_eq!(verdict, Verdict::Retry { failures: 100 });
}

/// Red when such failures are not counted for the breaker.
#[test]
fn an_outage_opens_the_circuit_and_is_parked() {
    let breaker = BreakerConfig { failure_threshold: NonZeroU32::new(3), ..BreakerConfig::default() };
    let (mut buffer, [failing, _]) = buffer(breaker);
    assert_eq!(buffer.write_failed(failing, WriteFault::Outage, at(1), at(2), None), Verdict::Retry { failures: 1 });
    assert_eq!(buffer.write_failed(failing, WriteFault::Outage, at(3), at(4), None), Verdict::Retry { failures: 2 });
    assert_eq!(buffer.write_failed(failing, WriteFault::Outage, at(5), at(6), None), Verdict::Parked);
    assert_eq!((buffer.snapshot(at(6)).circuit, buffer.snapshot(at(6)).parked), (CircuitState::Open, 1));
}

/// Red when a batch is given up for it where there is no breaker.
#[test]
fn without_a_breaker_an_outage_is_no_strike_either() {
    let (mut buffer, [failing, _]) = buffer(BreakerConfig { failure_threshold: None, ..BreakerConfig::default() });
    for round in 1..100 {
        let verdict =
            buffer.write_failed(failing, WriteFault::Outage, at(u64::from(round)), at(u64::from(round)), None);
        assert_eq!(verdict, Verdict::Retry { failures: round });
    }
}

/// Three partitions, with a batch of two records in the first that is out.
fn one_that_is_out(threshold: u32, max_strikes: u32) -> BoundedBuffer<u64, ()> {
    let failure_threshold = NonZeroU32::new(threshold);
    let (buffer, _) = buffer(BreakerConfig { failure_threshold, ..BreakerConfig::default() });
    let max_strikes = NonZeroU32::new(max_strikes).expect("not zero");
    let batch_size = NonZeroUsize::new(2).expect("not zero");
    let partitions = NonZeroUsize::new(3).expect("not zero");
    let mut buffer = BoundedBuffer::new(BufferConfig { partitions, max_strikes, batch_size, ..*buffer.config() });
    for number in [0, 1] {
        buffer.offer(at(0), 0, number).expect("there is room");
    }
    buffer.ask(0, at(1)).expect("it is ready");
    buffer
}

/// The batch of the first partition is written once, and fails.
fn fails(buffer: &mut BoundedBuffer<u64, ()>, fault: WriteFault, now: &mut Duration) -> Verdict {
    let lease = buffer.partitions[0].lease.as_ref().expect("it is out").id;
    assert!(buffer.may_write(lease));
    *now += Duration::from_millis(1);
    buffer.write_failed(lease, fault, *now, *now, None)
}

/// A batch of the second partition is written meanwhile.
fn other_is_stored(buffer: &mut BoundedBuffer<u64, ()>, now: Duration) {
    let lease = other_begins(buffer, now);
    buffer.settle_stored(lease, now).expect("it is out");
}

fn other_begins(buffer: &mut BoundedBuffer<u64, ()>, now: Duration) -> LeaseId {
    buffer.offer(now, 1, 1).expect("there is room");
    let lease = buffer.ask(1, now).expect("it is ready").id;
    assert!(buffer.may_write(lease));
    lease
}

/// Hands out the probe of an open circuit.
fn probe(buffer: &mut BoundedBuffer<u64, ()>, now: &mut Duration) -> Leased<u64> {
    *now += Duration::from_secs(10);
    for partition in [0, 1] {
        assert!(buffer.ask(partition, *now).is_none(), "the circuit is open");
    }
    let leased = buffer.hand_out(*now).pop().expect("a probe is due");
    assert!(buffer.may_write(leased.id));
    leased
}

/// Red when a batch has fewer or more strikes than were set, one is taken as one, or an answer in between is not looked
/// for.
#[test]
fn a_batch_is_at_fault_at_as_many_strikes_as_were_set_and_two_at_least() {
    for (max_strikes, expected) in [(1, 2), (2, 2), (3, 3), (5, 5)] {
        let (mut buffer, mut now) = (one_that_is_out(100, max_strikes), at(1));
        let mut strikes = 1;
        while fails(&mut buffer, WriteFault::Transient, &mut now) != Verdict::GiveUp {
            // With no answer in between it is the same outage.
            assert_ne!(fails(&mut buffer, WriteFault::Transient, &mut now), Verdict::GiveUp);
            other_is_stored(&mut buffer, now);
            strikes += 1;
            assert!(strikes < 100, "it is never given up");
        }
        assert_eq!(strikes, expected, "of {max_strikes}");
    }
}

/// Red when a refusal or a ping is not taken for an answer.
#[test]
fn a_refusal_and_a_ping_are_answers_too() {
    let (mut buffer, mut now) = (one_that_is_out(100, 2), at(1));
    assert_eq!(fails(&mut buffer, WriteFault::Transient, &mut now), Verdict::Retry { failures: 1 });
    let lease = other_begins(&mut buffer, now);
    assert!(matches!(buffer.isolate(lease, true, now), Some(Isolated::Alone { attempts: 1 })));
    assert_eq!(fails(&mut buffer, WriteFault::Transient, &mut now), Verdict::GiveUp);

    let (mut buffer, mut now) = (one_that_is_out(100, 2), at(1));
    assert_eq!(fails(&mut buffer, WriteFault::Transient, &mut now), Verdict::Retry { failures: 1 });
    let began = buffer.begin_ping(0, now).expect("no other partition has anything to write");
    buffer.ping_answered(began);
    assert_eq!(fails(&mut buffer, WriteFault::Transient, &mut now), Verdict::GiveUp);
}

/// Red when the store is asked although a write of another partition shows the same.
#[test]
fn the_store_is_pinged_only_where_nothing_else_is_written() {
    let (mut buffer, now) = (one_that_is_out(100, 2), at(1));
    let other = other_begins(&mut buffer, now);
    assert_eq!(buffer.begin_ping(0, now), None, "it is under way");
    buffer.settle_stored(other, now).expect("it is out");
    assert!(buffer.begin_ping(0, now).is_some());
    buffer.offer(now, 1, 1).expect("there is room");
    assert_eq!(buffer.begin_ping(0, now + at(1)), None, "it is due");
}

/// Several batches are at fault and nothing else is written. Red when each waits for the others: what is due in an open
/// circuit is not written, so that it would never end.
#[test]
fn while_the_circuit_is_open_only_a_write_under_way_spares_the_ping() {
    let (mut buffer, mut now) = (one_that_is_out(1, 2), at(1));
    buffer.offer(now, 1, 1).expect("there is room");
    assert_eq!(fails(&mut buffer, WriteFault::Transient, &mut now), Verdict::Parked);
    assert!(buffer.begin_ping(0, now + at(1)).is_some(), "it is due and not written");
    let probed = probe(&mut buffer, &mut now);
    assert_eq!(buffer.begin_ping(1 - probed.partition, now), None, "the probe is under way");
    assert_eq!(buffer.write_failed(probed.id, WriteFault::Transient, now, now, None), Verdict::Parked);
    assert!(buffer.begin_ping(probed.partition, now).is_some());
}

/// A write that began before the outage is answered in it. Red when that is an answer: then an outage costs a batch as
/// many strikes as there are writes under way.
#[test]
fn a_write_that_began_before_a_strike_proves_nothing() {
    let (mut buffer, mut now) = (one_that_is_out(100, 2), at(1));
    let other = other_begins(&mut buffer, now);
    assert_eq!(fails(&mut buffer, WriteFault::Transient, &mut now), Verdict::Retry { failures: 1 });
    buffer.settle_stored(other, now).expect("it is out");
    assert_eq!(fails(&mut buffer, WriteFault::Transient, &mut now), Verdict::Retry { failures: 2 });
}

/// Red when a sink that panics at one batch is tried without end, for want of an answer.
#[test]
fn a_panic_is_a_strike_without_an_answer() {
    let (mut buffer, mut now) = (one_that_is_out(100, 3), at(1));
    assert_eq!(fails(&mut buffer, WriteFault::Panic, &mut now), Verdict::Retry { failures: 1 });
    assert_eq!(fails(&mut buffer, WriteFault::Panic, &mut now), Verdict::Retry { failures: 2 });
    assert_eq!(fails(&mut buffer, WriteFault::Panic, &mut now), Verdict::GiveUp);
}

/// Red when without a breaker a batch is tried without end, or given up too early.
#[test]
fn without_a_breaker_every_failure_is_a_strike() {
    let (mut buffer, mut now) = (one_that_is_out(0, 3), at(1));
    assert_eq!(fails(&mut buffer, WriteFault::Transient, &mut now), Verdict::Retry { failures: 1 });
    assert_eq!(fails(&mut buffer, WriteFault::Transient, &mut now), Verdict::Retry { failures: 2 });
    assert_eq!(buffer.begin_ping(0, now), None, "no answer changes that");
    assert_eq!(fails(&mut buffer, WriteFault::Transient, &mut now), Verdict::GiveUp);
}

/// Red when a part begins with the strikes of the whole, is at fault at another number than two, or the halves of what
/// the store refused are.
#[test]
fn a_part_begins_without_a_strike_and_is_at_fault_at_two() {
    for (answered, strikes) in [(false, 2), (true, 4)] {
        let (mut buffer, mut now) = (one_that_is_out(100, 4), at(1));
        let lease = buffer.partitions[0].lease.as_ref().expect("it is out").id;
        assert_eq!(fails(&mut buffer, WriteFault::Transient, &mut now), Verdict::Retry { failures: 1 });
        assert!(matches!(buffer.isolate(lease, answered, now), Some(Isolated::Half(_))));
        let mut seen = 1;
        while fails(&mut buffer, WriteFault::Transient, &mut now) != Verdict::GiveUp {
            other_is_stored(&mut buffer, now);
            seen += 1;
            assert!(seen < 100, "it is never given up");
        }
        assert_eq!(seen, strikes, "answered: {answered}");
    }
}

/// Each outage ends with a probe of the other partition, and the next begins before the one that failed is written. Red
/// when an outage costs a batch more than one strike, however many probes it takes.
#[test]
fn an_outage_of_any_length_costs_a_batch_one_strike() {
    let (mut buffer, mut now) = (one_that_is_out(1, 5), at(1));
    for outage in 1.. {
        if fails(&mut buffer, WriteFault::Transient, &mut now) == Verdict::GiveUp {
            assert_eq!(outage, 5);
            break;
        }
        buffer.open_circuit(now);
        let lease = buffer.partitions[0].lease.as_ref().map(|out| out.id);
        assert!(lease.is_none_or(|lease| !buffer.may_write(lease)), "the circuit is open");
        for _ in 0..20 {
            let probe = probe(&mut buffer, &mut now);
            assert_eq!(probe.partition, 0);
            assert_eq!(buffer.write_failed(probe.id, WriteFault::Transient, now, now, None), Verdict::Parked);
        }
        buffer.offer(now, 1, 1).expect("there is room");
        let mut answered = probe(&mut buffer, &mut now);
        if answered.partition == 0 {
            assert_eq!(buffer.write_failed(answered.id, WriteFault::Transient, now, now, None), Verdict::Parked);
            answered = probe(&mut buffer, &mut now);
        }
        buffer.settle_stored(answered.id, now).expect("it is out");
        buffer.ask(0, now).expect("it is parked");
    }
}

/// Red when a batch at fault that nothing else is written beside is given up without a proof, or opens no circuit.
#[test]
fn where_nothing_proves_a_batch_at_fault_it_waits_with_the_circuit_open() {
    let (mut buffer, mut now) = (one_that_is_out(2, 2), at(1));
    assert_eq!(fails(&mut buffer, WriteFault::Transient, &mut now), Verdict::Retry { failures: 1 });
    assert_eq!(fails(&mut buffer, WriteFault::Transient, &mut now), Verdict::Parked);
    for _ in 0..100 {
        let probe = probe(&mut buffer, &mut now);
        assert_eq!(buffer.write_failed(probe.id, WriteFault::Transient, now, now, None), Verdict::Parked);
    }
    assert_eq!(buffer.snapshot(now).circuit, CircuitState::Open);
}

/// Red when a probe at fault is left as it is: it would fail each probe of its partition.
#[test]
fn a_probe_that_is_at_fault_is_narrowed_down() {
    let (mut buffer, mut now) = (one_that_is_out(1, 2), at(1));
    assert_eq!(fails(&mut buffer, WriteFault::Panic, &mut now), Verdict::Parked);
    let probed = probe(&mut buffer, &mut now);
    assert_eq!(buffer.write_failed(probed.id, WriteFault::Panic, now, now, None), Verdict::GiveUp);
    assert!(matches!(buffer.isolate(probed.id, false, now), Some(Isolated::Half(_))));
    assert!(!buffer.may_write(probed.id), "the circuit is open");
    let half = probe(&mut buffer, &mut now);
    assert_eq!(half.records[half.range], [0]);
    buffer.settle_stored(half.id, now).expect("it is out");
    assert_eq!(buffer.snapshot(now).circuit, CircuitState::Closed);
}

/// Its worker buries the last record when the circuit opens. Red when it stays open: nothing is left that could be a
/// probe, and producers that wait for it to close would wait without end.
#[test]
fn a_circuit_closes_when_nothing_is_left_to_ask_the_store_with() {
    let (mut buffer, [buried, other]) = buffer(BreakerConfig::default());
    assert!(matches!(buffer.isolate(buried, true, at(0)), Some(Isolated::Alone { .. })));
    buffer.settle_stored(other, at(1)).expect("it is out");
    buffer.open_circuit(at(2));
    assert_eq!(buffer.snapshot(at(2)).circuit, CircuitState::Open);
    buffer.settle_dead_lettered(buried, at(3)).expect("it is out");
    assert_eq!(buffer.snapshot(at(3)).circuit, CircuitState::Closed);
    assert!(matches!(buffer.events()[..], [QueueEvent::CircuitOpened { .. }, QueueEvent::CircuitClosed { .. }]));
}

/// A batch failed as a probe and asked for time. Red when it is the next one all the same, or when nothing is once it
/// has rested.
#[test]
fn what_the_store_asked_to_be_left_alone_with_is_no_probe_meanwhile() {
    let (mut buffer, mut now) = (one_that_is_out(1, 100), at(1));
    assert_eq!(fails(&mut buffer, WriteFault::Transient, &mut now), Verdict::Parked);
    let first = probe(&mut buffer, &mut now);
    let rest = Duration::from_secs(60);
    assert_eq!(buffer.write_failed(first.id, WriteFault::Transient, now, now, Some(rest)), Verdict::Parked);
    let rested = now + rest;
    assert!(buffer.ask(0, now).is_none());
    assert_eq!(buffer.next_deadline(now), Some(rested));
    assert!(buffer.hand_out(rested - at(1)).is_empty());
    assert_eq!(buffer.hand_out(rested).len(), 1);
}
