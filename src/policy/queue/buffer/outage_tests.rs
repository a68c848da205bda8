//! What is the store's fault, surely or as far as anybody can know, is not held against a batch.

use std::num::{NonZeroU32, NonZeroUsize};

use super::*;
use crate::policy::*;
use crate::policy::{BreakerConfig, CircuitState, Watermarks};

const ONE: NonZeroUsize = NonZeroUsize::MIN;

/// Two partitions with a record each, which are out; attempts run out at the second.
fn buffer(breaker: BreakerConfig) -> (BoundedBuffer<u64, ()>, [LeaseId; 2]) {
    let config = BufferConfig {
        capacity: NonZeroUsize::new(10).expect("not zero"),
        partitions: NonZeroUsize::new(2).expect("not zero"),
        batch_size: ONE,
        flush_interval: Duration::ZERO,
        overflow: Overflow::Error,
        watermarks: Watermarks::for_capacity(10),
        breaker,
        max_attempts: NonZeroU32::new(2).expect("not zero"),
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

/// Red when these failures use up attempts, or the wait between them does not grow.
#[test]
fn it_is_tried_for_ever_though_others_are_answered() {
    let (mut buffer, [failing, other]) = buffer(BreakerConfig::default());
    assert_eq!(buffer.store_failed(failing, at(1), at(2), None), Verdict::Retry { failures: 1 });
    buffer.settle_stored(other, at(3)).expect("it is out");
    for round in 2..100 {
        let verdict = buffer.store_failed(failing, at(10 * u64::from(round)), at(10 * u64::from(round) + 1), None);
        assert_eq!(verdict, Verdict::Retry { failures: round });
        // The store answers in between, or the circuit would open.
        buffer.offer(at(0), 1, 7).expect("there is room");
        let lease = buffer.ask(1, at(0)).expect("it is ready").id;
        buffer.settle_stored(lease, at(10 * u64::from(round) + 2)).expect("it is out");
    }
    // What may be the batch's fault begins to count only now.
    let verdict = buffer.write_failed(failing, at(2_000), at(2_001), None);
    assert_eq!(verdict, Verdict::Retry { failures: 100 });
}

/// Red when such failures are not counted for the breaker.
#[test]
fn it_opens_the_circuit_and_is_parked() {
    let breaker = BreakerConfig { failure_threshold: NonZeroU32::new(3), ..BreakerConfig::default() };
    let (mut buffer, [failing, _]) = buffer(breaker);
    assert_eq!(buffer.store_failed(failing, at(1), at(2), None), Verdict::Retry { failures: 1 });
    assert_eq!(buffer.store_failed(failing, at(3), at(4), None), Verdict::Retry { failures: 2 });
    assert_eq!(buffer.store_failed(failing, at(5), at(6), None), Verdict::Parked);
    assert_eq!((buffer.snapshot(at(6)).circuit, buffer.snapshot(at(6)).parked), (CircuitState::Open, 1));
}

/// Red when a batch is given up for it where there is no breaker.
#[test]
fn without_a_breaker_it_is_tried_for_ever_too() {
    let (mut buffer, [failing, _]) = buffer(BreakerConfig { failure_threshold: None, ..BreakerConfig::default() });
    for round in 1..100 {
        let verdict = buffer.store_failed(failing, at(u64::from(round)), at(u64::from(round)), None);
        assert_eq!(verdict, Verdict::Retry { failures: round });
    }
}

/// Three partitions, with a record in the first that is out.
fn one_that_is_out(threshold: u32, max_attempts: u32) -> BoundedBuffer<u64, ()> {
    let failure_threshold = NonZeroU32::new(threshold);
    let (buffer, _) = buffer(BreakerConfig { failure_threshold, ..BreakerConfig::default() });
    let max_attempts = NonZeroU32::new(max_attempts).expect("not zero");
    let batch_size = NonZeroUsize::new(2).expect("not zero");
    let partitions = NonZeroUsize::new(3).expect("not zero");
    let mut buffer = BoundedBuffer::new(BufferConfig { partitions, max_attempts, batch_size, ..*buffer.config() });
    buffer.offer(at(0), 0, 0).expect("there is room");
    buffer.ask(0, at(1)).expect("it is ready");
    buffer
}

/// Fails what the worker of the first partition has until that is parked or given up.
fn fails(buffer: &mut BoundedBuffer<u64, ()>, now: &mut Duration) -> Verdict {
    let lease = buffer.partitions[0].lease.as_ref().expect("it is out").id;
    loop {
        assert!(buffer.may_write(lease));
        *now += Duration::from_millis(1);
        match buffer.write_failed(lease, *now, *now, None) {
            Verdict::Retry { .. } => {}
            verdict => return verdict,
        }
    }
}

/// Hands out the probe of an open circuit.
fn probe(buffer: &mut BoundedBuffer<u64, ()>, now: &mut Duration) -> Leased<u64> {
    *now += Duration::from_secs(10);
    for partition in [0, 1] {
        assert!(buffer.ask(partition, *now).is_none(), "the circuit is open");
    }
    for unknown in buffer.unknown(*now) {
        let keys = unknown.records[unknown.range.clone()].to_vec();
        buffer.know(&unknown, Some(keys));
    }
    let leased = buffer.hand_out(*now).pop().expect("a probe is due");
    assert!(buffer.may_write(leased.id));
    leased
}

/// An outage ends with a probe of the other partition, and the next begins before the one that failed is written. Red
/// when that is given up in it, or when one that always fails, with nothing written beside it but probes, is never.
///
/// Sabotage: let the second time do, or forget the strikes when the circuit opens.
#[test]
fn a_batch_outlives_outages_in_a_row_until_there_were_as_many_as_it_has_attempts() {
    for (max_attempts, outages) in [(1, 3), (2, 3), (3, 3), (5, 5)] {
        let (mut buffer, mut now) = (one_that_is_out(2, max_attempts), at(1));
        let mut seen = 1;
        while fails(&mut buffer, &mut now) == Verdict::Parked {
            buffer.offer(now, 1, 1).expect("there is room");
            while !buffer.breaker.is_closed() {
                let probe = probe(&mut buffer, &mut now);
                if probe.partition == 0 {
                    assert_eq!(buffer.write_failed(probe.id, now, now, None), Verdict::Parked);
                } else {
                    buffer.settle_stored(probe.id, now).expect("it is out");
                }
            }
            // More is to come.
            buffer.offer(now, 1, 1).expect("there is room");
            let _ = buffer.ask(0, now);
            seen += 1;
            assert!(seen < 100, "it is never given up");
        }
        assert_eq!(seen, outages, "of {max_attempts} attempts");
    }
}

/// Red when the last batch of all waits for a proof that nothing can give, or needs none.
#[test]
fn where_nothing_else_is_left_the_second_time_is_proof_enough() {
    let (mut buffer, mut now) = (one_that_is_out(6, 5), at(1));
    buffer.offer(now, 1, 1).expect("there is room");
    let other = buffer.ask(1, now).expect("it is ready");
    let failing = buffer.partitions[0].lease.as_ref().expect("it is out").id;
    assert_eq!(buffer.write_failed(failing, now, now, None), Verdict::Retry { failures: 1 });
    assert!(buffer.may_write(other.id));
    buffer.settle_stored(other.id, now).expect("it is out");
    assert_eq!(fails(&mut buffer, &mut now), Verdict::GiveUp);

    let (mut buffer, mut now) = (one_that_is_out(6, 5), at(1));
    assert_eq!(fails(&mut buffer, &mut now), Verdict::Parked);
}

/// Each of two could show that it is not the store, if it could be written. Red when they are given up in an outage.
///
/// Sabotage: let it do that all that is left failed twice.
#[test]
fn where_two_batches_are_left_the_second_time_is_not() {
    let (mut buffer, mut now) = (one_that_is_out(20, 5), at(1));
    let first = buffer.partitions[0].lease.as_ref().expect("it is out").id;
    let [second, third] = [1, 2].map(|partition| {
        buffer.offer(now, partition, partition as u64).expect("there is room");
        now += Duration::from_millis(1);
        buffer.ask(partition, now).expect("it is ready").id
    });
    for failing in [first, second] {
        assert_eq!(buffer.write_failed(failing, now, now, None), Verdict::Retry { failures: 1 });
    }
    assert!(buffer.may_write(third));
    buffer.settle_stored(third, now).expect("it is out");
    for round in 1..=10 {
        let verdicts = [first, second].map(|lease| {
            now += Duration::from_millis(1);
            buffer.may_write(lease).then(|| buffer.write_failed(lease, now, now, None))
        });
        assert!(!verdicts.contains(&Some(Verdict::GiveUp)), "in round {round}");
    }
    assert_eq!(buffer.snapshot(now).circuit, CircuitState::Open);
}

/// The circuit opens at each failure, and a write that began before closes it at once. Red when that goes on without end: no
/// probe ever goes out, and no write that began after the last failure is ever answered.
///
/// Sabotage: go by the last failure instead of the last that was counted. Red too, for then it is every time, when any
/// answer is proof.
#[test]
fn writes_that_are_under_way_do_not_let_one_batch_open_the_circuit_for_ever() {
    let (mut buffer, mut now) = (one_that_is_out(1, 5), at(1));
    let mut opened = 0;
    loop {
        buffer.offer(now, 1, 1).expect("there is room");
        let other = buffer.ask(1, now).expect("it is ready");
        assert!(buffer.may_write(other.id));
        if fails(&mut buffer, &mut now) == Verdict::GiveUp {
            break;
        }
        opened += 1;
        assert!(opened < 100, "it is never given up");
        buffer.settle_stored(other.id, now).expect("it is out");
        assert!(buffer.ask(0, now).is_some(), "the circuit closed");
    }
    assert_eq!(opened, 8, "every second time");
}

/// A store that can take one batch at a time, say, answers each probe and fails what follows. Red when what failed is no
/// probe again while fresh records come behind it.
///
/// Sabotage: leave the number of its last probe as it is.
#[test]
fn what_opens_the_circuit_again_is_probed_before_what_came_later() {
    let (mut buffer, mut now) = (one_that_is_out(2, 5), at(1));
    assert_eq!(fails(&mut buffer, &mut now), Verdict::Parked);
    let first = probe(&mut buffer, &mut now);
    assert_eq!(buffer.write_failed(first.id, now, now, None), Verdict::Parked);
    buffer.offer(now, 0, 1).expect("there is room");
    let fresh = probe(&mut buffer, &mut now);
    assert_eq!(fresh.records[fresh.range], [1]);
    buffer.settle_stored(fresh.id, now).expect("it is out");

    buffer.ask(0, now).expect("it is parked");
    buffer.offer(now, 0, 2).expect("there is room");
    assert_eq!(fails(&mut buffer, &mut now), Verdict::Parked);
    let again = probe(&mut buffer, &mut now);
    assert_eq!(again.records[again.range], [0]);
}

/// Its worker buries the last record when the circuit opens. Red when it stays open: nothing is left that could be a probe,
/// and producers that wait for it to close would wait without end.
#[test]
fn a_circuit_closes_when_nothing_is_left_to_ask_the_store_with() {
    let (mut buffer, [buried, other]) = buffer(BreakerConfig::default());
    assert!(matches!(buffer.isolate(buried, true), Some(Isolated::Alone { .. })));
    buffer.settle_stored(other, at(1)).expect("it is out");
    buffer.open_circuit(at(2));
    assert_eq!(buffer.snapshot(at(2)).circuit, CircuitState::Open);
    buffer.settle_dead_lettered(buried, at(3)).expect("it is out");
    assert_eq!(buffer.snapshot(at(3)).circuit, CircuitState::Closed);
    assert!(matches!(buffer.events()[..], [QueueEvent::CircuitOpened { .. }, QueueEvent::CircuitClosed { .. }]));
}

/// The halves of a probe that failed, of which the second failed once more as one and asked for time. Red when it is the
/// next one all the same, or when nothing is for as long as it rests.
#[test]
fn what_the_store_asked_to_be_left_alone_with_is_no_probe_meanwhile() {
    let (mut buffer, mut now) = (one_that_is_out(1, 100), at(1));
    buffer.offer(now, 0, 1).expect("there is room");
    assert_eq!(fails(&mut buffer, &mut now), Verdict::Parked);
    let first = probe(&mut buffer, &mut now);
    assert_eq!(buffer.write_failed(first.id, now, now, None), Verdict::Parked);
    // Fresh first: the second record has not been one yet.
    let second = probe(&mut buffer, &mut now);
    assert_eq!((first.records[first.range.clone()][0], second.records[second.range.clone()][0]), (0, 1));
    let rest = Duration::from_secs(60);
    assert_eq!(buffer.write_failed(second.id, now, now, Some(rest)), Verdict::Parked);
    let rested = now + rest;
    // The store answers a write meanwhile and is away again, so the next probe is due before it has rested.
    buffer.expedite();
    buffer.partitions[0].slices_mut().last().expect("it is parked").rests_until = rested;
    for _ in 0..3 {
        let again = probe(&mut buffer, &mut now);
        assert!(now < rested);
        assert_eq!(again.records[again.range.clone()][0], 0, "the other rests");
        assert_eq!(buffer.write_failed(again.id, now, now, None), Verdict::Parked);
    }
    now = rested;
    let second = probe(&mut buffer, &mut now);
    assert_eq!(second.records[second.range.clone()][0], 1);
    assert_eq!(buffer.write_failed(second.id, now, now, None), Verdict::Parked);

    // If it goes first, all behind it rests too, and the next look is when it has rested.
    let rested = now + rest;
    buffer.partitions[0].slices_mut().next().expect("it is parked").rests_until = rested;
    assert!(buffer.ask(0, now).is_none());
    assert_eq!(buffer.next_deadline(), Some(rested));
    assert!(buffer.hand_out(rested - at(1)).is_empty());
    assert_eq!(buffer.hand_out(rested).len(), 1);
}
