//! What is the store's fault, surely or as far as anybody can know, is not held against a batch.

use std::num::{NonZeroU32, NonZeroUsize};

use super::*;
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
    buffer.hand_out(*now).pop().expect("a probe is due")
}

/// Fails the probe of the first partition, and lets one of the other close the circuit.
fn fails_its_probe_and_another_closes_the_circuit(buffer: &mut BoundedBuffer<u64, ()>, now: &mut Duration) {
    loop {
        let probe = probe(buffer, now);
        assert_eq!(buffer.write_failed(probe.id, *now, *now, None), Verdict::Parked);
        if probe.partition == 0 {
            break;
        }
    }
    if buffer.queued() + buffer.in_flight() == 1 {
        buffer.offer(*now, 1, 7).expect("there is room");
    }
    let good = probe(buffer, now);
    assert_eq!(good.partition, 1);
    buffer.settle_stored(good.id, *now).expect("it is out");
}

/// One record that is parked, with an open circuit.
fn with_one_parked() -> (BoundedBuffer<u64, ()>, Duration) {
    let breaker = BreakerConfig { failure_threshold: NonZeroU32::new(2), ..BreakerConfig::default() };
    let (mut buffer, [failing, other]) = buffer(breaker);
    buffer.settle_stored(other, at(1)).expect("it is out");
    buffer.open_circuit(at(1));
    assert!(!buffer.may_write(failing), "the circuit is open");
    (buffer, at(1))
}

/// Fails the record of the first partition, which is alone, while the circuit is closed, and returns what ends that.
fn fails_alone(buffer: &mut BoundedBuffer<u64, ()>, now: &mut Duration) -> Verdict {
    let lease = buffer.ask(0, *now).expect("it is parked").id;
    loop {
        *now += Duration::from_millis(1);
        match buffer.write_failed(lease, *now, *now, None) {
            Verdict::Retry { .. } => {}
            verdict => return verdict,
        }
    }
}

/// A store that comes and goes, and one batch that is unlucky each time; then one that is surely at fault. Red when the
/// batch is given up for the first outage after the one in which it failed its probe, and when it is tried for ever.
#[test]
fn a_batch_that_failed_its_probe_survives_the_next_outage_too_but_cannot_open_the_circuit_for_ever() {
    let (mut buffer, mut now) = with_one_parked();
    fails_its_probe_and_another_closes_the_circuit(&mut buffer, &mut now);
    buffer.offer(now, 1, 8).expect("there is room");
    assert_eq!(fails_alone(&mut buffer, &mut now), Verdict::Parked);
    assert_eq!(buffer.snapshot(now).circuit, CircuitState::Open);
    fails_its_probe_and_another_closes_the_circuit(&mut buffer, &mut now);
    assert_eq!(fails_alone(&mut buffer, &mut now), Verdict::GiveUp);
    assert_eq!(buffer.snapshot(now).circuit, CircuitState::Closed);
}

/// Two that nobody can write, in one batch. Red when each is what the other waits for.
#[test]
fn what_is_left_proves_nothing_for_each_other() {
    let config = BufferConfig { batch_size: NonZeroUsize::new(2).expect("not zero"), ..*with_one_parked().0.config() };
    let mut buffer = BoundedBuffer::<u64, ()>::new(config);
    let mut now = at(1);
    buffer.offer(now, 0, 1).expect("there is room");
    buffer.offer(now, 0, 2).expect("there is room");
    buffer.open_circuit(now);
    // The batch, and both its halves.
    for _ in 0..3 {
        let failing = probe(&mut buffer, &mut now);
        assert_eq!(buffer.write_failed(failing.id, now, now, None), Verdict::Parked);
    }
    buffer.offer(now, 1, 7).expect("there is room");
    let good = probe(&mut buffer, &mut now);
    assert_eq!(good.partition, 1);
    buffer.settle_stored(good.id, now).expect("it is out");
    for _ in 0..2 {
        assert_eq!(fails_alone(&mut buffer, &mut now), Verdict::GiveUp);
        let lease = buffer.partitions[0].lease.as_ref().expect("it is out").id;
        buffer.settle_dead_lettered(lease, now).expect("it is out");
    }
    assert_eq!((buffer.in_flight(), buffer.snapshot(now).circuit), (0, CircuitState::Closed));
}

/// Red when the last batch of all waits for a proof that nothing can give.
#[test]
fn where_nothing_else_is_left_what_closed_the_circuit_is_proof_enough() {
    let (mut buffer, mut now) = with_one_parked();
    fails_its_probe_and_another_closes_the_circuit(&mut buffer, &mut now);
    assert_eq!(fails_alone(&mut buffer, &mut now), Verdict::GiveUp);
}
