//! What is surely the store's fault is never held against a batch.

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
