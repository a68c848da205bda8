//! The bounded queue itself: partitions, credits, overflow, watermark, leases and counters, under one lock of the
//! caller's.
//!
//! Everything that has to be exact is decided here, in one place and in one order. The caller brings records, the time
//! and wakers, and carries out what [`BoundedBuffer::effects`] asks for once it has let go of its lock.

mod accept;
mod conflate;
mod drain;
mod hand_out;
mod overdue;
mod settle;

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroUsize,
    time::Duration,
};

use super::{
    contract::{
        BufferConfig, BufferSnapshot, BufferState, Counters, Crossing, Effects, LeaseId, Outcome, QueueAt, QueueEvent,
    },
    credits::Credits,
    flush::FlushBarriers,
    partition::{InFlight, Partition},
};
use crate::policy::{
    failure::CircuitBreaker,
    level::{DrainRate, Level, Watermark},
};

/// A part of a batch that was at fault is at fault itself at so many strikes: one of the parts must be.
const PART_STRIKES: u32 = 2;

/// See the [module documentation](self). `W` wakes a waiter, `R` is a receipt for a record: the buffer keeps both and
/// gives them back.
#[derive(Debug)]
pub struct BoundedBuffer<T, W, R = ()> {
    config: BufferConfig,
    state: BufferState,
    partitions: Vec<Partition<T>>,
    queued: usize,
    in_flight: usize,
    credits: Credits<W>,
    flush_barriers: FlushBarriers<W>,
    watermark: Watermark,
    breaker: CircuitBreaker,
    /// The lease that is the probe.
    probe: Option<LeaseId>,
    probes: u64,
    /// When the circuit closed last.
    closed_at: Duration,
    /// When anything was settled last.
    settled_at: Duration,
    /// How far writes are overdue, as it was told last.
    overdue: Level,
    /// Counts the beginnings of writes and the strikes, so that it is exact which of two came first.
    moment: u64,
    /// When the newest write began that the store answered: stored, or refused for good.
    answered: u64,
    events: Vec<QueueEvent>,
    counters: Counters,
    drain_rate: DrainRate,
    last_sequence: u64,
    /// The sequence of the record that was accepted last: the last one, or that of the place which it took over.
    last_accepted: u64,
    next_lease: u64,
    /// Where the search for a partition that is ready begins, so that none is always last.
    first: usize,
    /// By the sequences of their records.
    receipts: HashMap<u64, R, foldhash::fast::FixedState>,
    /// The sequences of records that are replayed: they are dead letters already.
    replays: HashSet<u64, foldhash::fast::FixedState>,
    /// What was taken back from all workers at the deadline.
    abandoned: HashMap<LeaseId, (usize, InFlight<T>), foldhash::fast::FixedState>,
    wake: Vec<W>,
    /// Wakers that are not needed any more.
    spent: Vec<W>,
    outcomes: Vec<(R, Outcome)>,
    lost: Vec<R>,
    evicted: Vec<T>,
    /// Something changed that the queue's actor has to look at.
    work: bool,
    /// The queue's actor was woken and has not come yet.
    wake_pending: bool,
}

impl<T, W, R> BoundedBuffer<T, W, R> {
    /// Starts open, empty, and with the circuit closed.
    pub fn new(config: BufferConfig) -> Self {
        Self {
            config,
            state: BufferState::Open,
            partitions: (0..config.partitions.get()).map(|_| Partition::new()).collect(),
            queued: 0,
            in_flight: 0,
            credits: Credits::new(
                config.capacity.get(),
                config.capacity_bytes.map(NonZeroUsize::get),
                config.partitions.get(),
            ),
            flush_barriers: FlushBarriers::default(),
            watermark: Watermark::new(config.watermarks),
            breaker: CircuitBreaker::new(config.breaker),
            probe: None,
            probes: 0,
            closed_at: Duration::ZERO,
            settled_at: Duration::ZERO,
            overdue: Level::Ok,
            moment: 0,
            answered: 0,
            events: Vec::new(),
            counters: Counters::default(),
            drain_rate: DrainRate::default(),
            last_sequence: 0,
            last_accepted: 0,
            next_lease: 0,
            first: 0,
            receipts: HashMap::default(),
            replays: HashSet::default(),
            abandoned: HashMap::default(),
            wake: Vec::new(),
            spent: Vec::new(),
            outcomes: Vec::new(),
            lost: Vec::new(),
            evicted: Vec::new(),
            work: false,
            wake_pending: false,
        }
    }

    /// Returns the fixed properties.
    #[cfg(test)]
    pub const fn config(&self) -> &BufferConfig {
        &self.config
    }

    /// Returns whether records go in and out.
    pub const fn state(&self) -> BufferState {
        self.state
    }

    /// Returns and forgets what the caller has to do once it has let go of its lock; none when there is nothing.
    pub fn effects(&mut self) -> Option<Effects<T, W, R>> {
        let wake_queue = std::mem::take(&mut self.work) && !self.wake_pending;
        self.wake_pending |= wake_queue;
        let quiet = self.wake.is_empty() && self.outcomes.is_empty() && self.lost.is_empty();
        if !wake_queue && quiet && self.spent.is_empty() && self.evicted.is_empty() {
            return None;
        }
        Some(Effects {
            wake: std::mem::take(&mut self.wake),
            spent: std::mem::take(&mut self.spent),
            outcomes: std::mem::take(&mut self.outcomes),
            lost: std::mem::take(&mut self.lost),
            evicted: std::mem::take(&mut self.evicted),
            wake_queue,
        })
    }

    #[inline]
    fn observe(&mut self, now: Duration) {
        let fullness = self.fullness();
        if let Some(level) = self.watermark.observe(fullness, || self.credits.is_wanted()) {
            self.crossed(level, now);
        }
    }

    #[cold]
    fn crossed(&mut self, level: Level, now: Duration) {
        self.events.push(QueueEvent::Level(Crossing { level, at: self.queue_at(now) }));
        self.work = true;
    }

    /// Returns how full the queue is in records: of records or of bytes, whichever is more.
    #[inline]
    fn fullness(&self) -> usize {
        let size = self.credits.held();
        let Some(most) = self.config.capacity_bytes else { return size };
        let capacity = self.config.capacity.get();
        let of_bytes = self.credits.held_bytes() as u128 * capacity as u128 / most.get() as u128;
        size.max(usize::try_from(of_bytes).unwrap_or(usize::MAX))
    }

    /// Returns whether so few places are held for records to come that these alone never keep the level up, and leave
    /// others room.
    #[inline]
    pub fn holds_few(&self) -> bool {
        self.credits.reserved() <= self.config.watermarks.low()
    }

    fn queue_at(&self, now: Duration) -> QueueAt {
        QueueAt {
            size: self.size(),
            utilization: self.utilization(),
            excess: self.excess(),
            drain_rate: self.drain_rate(now),
        }
    }

    /// Returns how many records have to go until the queue is at its low watermark, if all are alike; at least one
    /// while it is above.
    pub fn excess(&self) -> usize {
        let (fullness, low) = (self.fullness(), self.config.watermarks.low());
        let above = fullness.saturating_sub(low);
        if above == 0 {
            return 0;
        }
        // Records in flight hold their bytes, and no place.
        let records = if fullness > self.size() { self.size() + self.in_flight } else { self.size() };
        ((records as u128 * above as u128).div_ceil(fullness as u128) as usize).max(1)
    }

    fn utilization(&self) -> f64 {
        let of_records = self.size() as f64 / self.config.capacity.get() as f64;
        let of_bytes =
            self.config.capacity_bytes.map_or(0.0, |most| self.credits.held_bytes() as f64 / most.get() as f64);
        of_records.max(of_bytes)
    }

    /// Returns the most bytes of one batch.
    fn batch_bytes(&self) -> usize {
        let partitions = self.config.partitions.get();
        self.config.capacity_bytes.map_or(usize::MAX, |most| most.get() / (2 * partitions))
    }

    /// Returns and forgets what happened since the last call, in order.
    pub fn events(&mut self) -> Vec<QueueEvent> {
        std::mem::take(&mut self.events)
    }

    /// Returns how long until the next probe of an open circuit; none when it is closed or a probe is out.
    pub fn probe_in(&self, now: Duration) -> Option<Duration> {
        self.breaker.probe_at().map(|at| at.saturating_sub(now))
    }

    /// Returns the queue size: accepted records not yet taken by a worker, and places that are reserved.
    pub const fn size(&self) -> usize {
        self.credits.held()
    }

    /// Returns whether a worker has a batch.
    pub fn is_out(&self) -> bool {
        self.partitions.iter().any(|partition| partition.lease.is_some())
    }

    /// Returns records a second that were settled of late, a write that hangs included; none when nothing was written
    /// yet.
    pub fn drain_rate(&self, now: Duration) -> Option<f64> {
        self.drain_rate.per_second_at(now, self.in_flight > 0)
    }

    /// Returns one moment of the buffer.
    pub fn snapshot(&self, now: Duration) -> BufferSnapshot {
        let oldest = self.oldest_unsettled();
        let snapshot = BufferSnapshot {
            state: self.state,
            capacity: self.config.capacity.get(),
            watermarks: self.config.watermarks,
            queued: self.queued,
            reserved: self.credits.reserved(),
            bytes: self.credits.held_bytes(),
            utilization: self.utilization(),
            excess: self.excess(),
            in_flight: self.in_flight,
            parked: self.partitions.iter().map(Partition::parked_records).sum(),
            waiting: self.credits.waiting(),
            oldest_age: oldest.map(|oldest| now.saturating_sub(Duration::from_nanos(oldest))),
            since_settled: now.saturating_sub(self.settled_at),
            overdue: self.overdue_partitions(now).count(),
            drain_rate: self.drain_rate(now),
            level: self.watermark.level(),
            circuit: self.breaker.state(),
            probe_in: self.probe_in(now),
            counters: self.counters,
        };
        debug_assert_eq!(snapshot.residual(), 0, "the counts do not add up: {snapshot:?}");
        snapshot
    }
}

#[cfg(test)]
mod bisect_tests;
#[cfg(test)]
mod byte_tests;
#[cfg(test)]
mod conflate_tests;
#[cfg(test)]
mod failure_tests;
#[cfg(test)]
mod flapping_tests;
#[cfg(test)]
mod outage_tests;
#[cfg(test)]
mod overdue_tests;
#[cfg(test)]
mod tests;
