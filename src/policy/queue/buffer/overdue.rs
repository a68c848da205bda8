//! Writes that are overdue: work is due and nothing is settled.

use std::{sync::Arc, time::Duration};

use super::BoundedBuffer;
use crate::policy::{
    level::Level,
    queue::contract::{BufferState, Overdue, PartitionSnapshot, QueueEvent},
};

impl<T, W, R> BoundedBuffer<T, W, R> {
    /// Returns since when a partition has due work, or a write under way, and settles nothing; none without such work.
    /// That can lie ahead: then its oldest record still waits for its batch to become full.
    ///
    /// What waits for the circuit is not late, so time counts from when that closed.
    fn silent_since(&self, index: usize) -> Option<Duration> {
        let partition = &self.partitions[index];
        let since = if partition.in_flight() > 0 {
            partition.since
        } else {
            let oldest = Duration::from_nanos(partition.oldest_queued()?);
            let is_full = self.is_full(index);
            let waits = if is_full { Duration::ZERO } else { self.config.flush_interval };
            partition.since.max(oldest.saturating_add(waits))
        };
        Some(since.max(self.closed_at))
    }

    /// Returns the partitions that are overdue, each with when it began to settle nothing.
    pub(super) fn overdue_partitions(&self, now: Duration) -> impl Iterator<Item = (usize, Duration)> {
        let may_be = self.breaker.is_closed() && self.state != BufferState::Closed;
        let partitions = (0..self.partitions.len()).filter(move |_| may_be);
        let since = partitions.filter_map(|index| Some((index, self.silent_since(index)?)));
        since.filter(move |&(_, since)| since.saturating_add(self.config.slow_after) <= now)
    }

    /// Looks how far writes are overdue, and tells if that has changed.
    ///
    /// Soft while some are. Hard while all are that have due work, and nothing was settled anywhere for as long: other
    /// partitions with little to do would else change the level with each of their batches.
    pub(super) fn look_for_overdue(&mut self, now: Duration) {
        // Once it is closed only the end of it is news.
        if self.state == BufferState::Closed && self.oldest_unsettled().is_some() {
            return;
        }
        let slow_after = self.config.slow_after;
        let longest = self.overdue_partitions(now).min_by_key(|&(_, since)| since);
        let is_late = |since: Duration| since.saturating_add(slow_after) <= now;
        let mut due = (0..self.partitions.len()).filter_map(|index| self.silent_since(index)).filter(|&at| at <= now);
        let level = match longest {
            None => Level::Ok,
            Some(_) if is_late(self.settled_at) && due.all(is_late) => Level::Hard,
            Some(_) => Level::Soft,
        };
        if level != self.overdue {
            self.overdue = level;
            self.events.push(QueueEvent::Overdue(Overdue { level, longest, at: self.queue_at(now) }));
            self.work = true;
        }
    }

    /// Returns when the next partition becomes overdue, or all are, if nothing is settled before.
    pub(super) fn next_overdue(&self, now: Duration) -> Option<Duration> {
        if !self.breaker.is_closed() || self.state == BufferState::Closed {
            return None;
        }
        let slow_after = self.config.slow_after;
        let silent = (0..self.partitions.len()).filter_map(|index| self.silent_since(index));
        let all = (self.overdue == Level::Soft).then_some(self.settled_at);
        silent.chain(all).filter_map(|since| since.checked_add(slow_after)).filter(|&at| at > now).min()
    }

    /// Returns each partition as it is now.
    pub fn partitions(&self, now: Duration) -> Vec<PartitionSnapshot<T>> {
        let overdue: Vec<_> = self.overdue_partitions(now).collect();
        let snapshot = |(index, partition): (usize, &super::Partition<T>)| PartitionSnapshot {
            queued: partition.queued(),
            in_flight: partition.in_flight(),
            waiting: self.credits.waiting_for(index),
            oldest_age: partition.oldest_unsettled().map(|oldest| now.saturating_sub(Duration::from_nanos(oldest))),
            overdue_since: overdue.iter().find(|(other, _)| *other == index).map(|&(_, since)| since),
            oldest: partition.head().map(|slice| (Arc::clone(&slice.records), slice.range.start)),
        };
        self.partitions.iter().enumerate().map(snapshot).collect()
    }
}
