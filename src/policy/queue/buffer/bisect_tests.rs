//! How many writes it takes to find one record at fault.

use std::num::{NonZeroU32, NonZeroUsize};

use super::*;
use crate::policy::*;
use crate::policy::{BreakerConfig, Watermarks};

fn buffer(batch: usize) -> BoundedBuffer<usize, ()> {
    let batch = NonZeroUsize::new(batch).expect("at least one");
    BoundedBuffer::new(BufferConfig {
        capacity: batch,
        capacity_bytes: None,
        partitions: NonZeroUsize::MIN,
        batch_size: batch,
        flush_interval: Duration::ZERO,
        overflow: Overflow::Error,
        watermarks: Watermarks::for_capacity(batch.get()),
        breaker: BreakerConfig::default(),
        slow_after: Duration::MAX,
        max_strikes: NonZeroU32::MIN,
    })
}

/// Writes a batch of which one record is refused, as a worker does. Returns the writes, and who was given up.
fn write_all(buffer: &mut BoundedBuffer<usize, ()>, offender: usize) -> (usize, Vec<usize>) {
    let (mut writes, mut refused, mut given_up) = (0, 0, Vec::new());
    let mut next = buffer.ask(0, Duration::ZERO);
    while let Some(leased) = next.take() {
        assert!(buffer.may_write(leased.id));
        writes += 1;
        if !leased.range.contains(&offender) {
            assert!(buffer.settle_stored(leased.id, Duration::ZERO).is_some());
            next = buffer.ask(0, Duration::ZERO);
            continue;
        }
        refused += 1;
        match buffer.isolate(leased.id, true, Duration::ZERO) {
            Some(Isolated::Half(half)) => next = Some(half),
            Some(Isolated::Alone { attempts }) => {
                assert_eq!(attempts, refused, "each write that held it");
                given_up.extend(leased.records[leased.range].iter().copied());
                assert!(buffer.settle_dead_lettered(leased.id, Duration::ZERO).is_some());
                next = buffer.ask(0, Duration::ZERO);
            }
            None => panic!("the lease is out"),
        }
    }
    (writes, given_up)
}

/// Red when a half is written twice, or halves are not halves: then there are more writes than twice the depth and one.
#[test]
fn one_offender_is_found_in_twice_the_depth_and_one_writes() {
    for len in 1..=512_usize {
        let bound = 2 * len.next_power_of_two().ilog2() as usize + 1;
        // Every position of the short ones and of the usual batch; of others the ends, the middle, and some between.
        let step = if len <= 64 || len == 500 { 1 } else { 61 };
        let ends = [0, len / 2, len - 1];
        for offender in (0..len).step_by(step).chain(ends) {
            let mut buffer = buffer(len);
            for number in 0..len {
                buffer.offer(Duration::ZERO, 0, number).expect("room for one batch");
            }
            let (writes, given_up) = write_all(&mut buffer, offender);
            assert!(writes <= bound, "{writes} writes of {len}, {offender} is at fault");
            assert_eq!(given_up, [offender]);
            let counters = buffer.snapshot(Duration::ZERO).counters;
            assert_eq!((counters.stored, counters.dead_lettered), (len as u64 - 1, 1));
        }
    }
}
