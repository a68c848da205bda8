//! Batches go out: which partition is ready, and what the probe of an open circuit is.

use std::{sync::Arc, time::Duration};

use super::{BoundedBuffer, PART_STRIKES};
use crate::policy::queue::{
    contract::{BufferConfig, BufferState, LeaseId, Leased},
    partition::{BatchSlice, InFlight},
};

impl<T, W, R> BoundedBuffer<T, W, R> {
    /// Notes that the worker of a partition has nothing to do, and hands it a batch if one is ready. If not,
    /// [`hand_out`](Self::hand_out) will. While a lease of the partition is still out, of a worker that died say,
    /// nothing is ready: two at once would break the order.
    pub fn ask(&mut self, partition: usize, now: Duration) -> Option<Leased<T>> {
        self.partitions[partition].asked = true;
        let leased = self.hand_out_one(partition, now);
        // The queue's actor keeps the clock: a batch may become ready by time alone.
        self.work |= leased.is_none() && self.partitions[partition].has_work();
        leased
    }

    /// Hands out a batch to every worker that asked and whose partition is ready: parked, full, waiting for
    /// [`flush_interval`](BufferConfig::flush_interval), without a credit left, with an outcome that is waited for, before
    /// a flush, or draining. While the circuit is open nothing is, but for one probe when it is due.
    ///
    /// The queue's actor calls this when it is woken; from then on it is woken again.
    pub fn hand_out(&mut self, now: Duration) -> Vec<Leased<T>> {
        self.wake_pending = false;
        let count = self.partitions.len();
        let mut leased = Vec::new();
        for index in (self.first..count).chain(0..self.first) {
            leased.extend(self.hand_out_one(index, now));
        }
        leased.extend(self.hand_out_probe(now));
        self.look_for_overdue(now);
        self.first = (self.first + 1) % count;
        leased
    }

    pub(super) fn hand_out_one(&mut self, index: usize, now: Duration) -> Option<Leased<T>> {
        let partition = &self.partitions[index];
        if !self.breaker.is_closed() || !partition.waits_for_batch() || !self.is_ready(index, now) {
            return None;
        }
        let slice = self.take_head(index, now)?;
        Some(self.lease(index, slice, now))
    }

    /// Returns whether the probe of an open circuit may go out.
    pub(super) fn probe_is_due(&self, now: Duration) -> bool {
        self.state != BufferState::Closed && self.breaker.probe_at().is_some_and(|at| now >= at)
    }

    /// Hands out the one probe of an open circuit, when it is due: the head of the partition that was a probe longest
    /// ago.
    pub(super) fn hand_out_probe(&mut self, now: Duration) -> Option<Leased<T>> {
        if !self.probe_is_due(now) {
            return None;
        }
        let count = self.partitions.len();
        let may_go = |index: &usize| {
            let partition = &self.partitions[*index];
            partition.waits_for_batch() && partition.has_work() && partition.rests_until <= now
        };
        let order = (self.first..count).chain(0..self.first);
        let index = order.filter(may_go).min_by_key(|&index| self.partitions[index].probed)?;
        let slice = self.take_head(index, now)?;
        self.probes += 1;
        self.partitions[index].probed = self.probes;
        let leased = self.lease(index, slice, now);
        self.breaker.probe();
        self.probe = Some(leased.id);
        Some(leased)
    }

    /// Takes what goes first of a partition: what came back, else a batch out of the queue.
    fn take_head(&mut self, index: usize, now: Duration) -> Option<BatchSlice<T>> {
        self.partitions[index].pop_parked().or_else(|| self.take_batch(index, now))
    }

    /// Takes a batch out of the queue.
    fn take_batch(&mut self, index: usize, now: Duration) -> Option<BatchSlice<T>> {
        let BufferConfig { batch_size, max_strikes, .. } = self.config;
        let most_bytes = self.batch_bytes();
        let batch =
            self.partitions[index].pop_batch(batch_size.get(), most_bytes, max_strikes.get().max(PART_STRIKES))?;
        // Time that passed with nothing taken was idle.
        self.drain_rate.pass(now, self.in_flight > 0);
        self.partitions[index].since = now;
        self.queued -= batch.len();
        self.in_flight += batch.len();
        self.credits.release(index, batch.len(), &mut self.wake);
        // One that waits and has a place now may wait for the bytes of a partition that was looked at before.
        self.work |= self.config.capacity_bytes.is_some() && self.credits.waiting() > 0;
        Some(batch)
    }

    pub(super) fn lease(&mut self, index: usize, slice: BatchSlice<T>, now: Duration) -> Leased<T> {
        let id = LeaseId(self.next_lease);
        self.next_lease += 1;
        let leased = Leased { id, partition: index, records: Arc::clone(&slice.records), range: slice.range.clone() };
        let partition = &mut self.partitions[index];
        partition.lease = Some(InFlight { id, slice, began: self.moment, answered_before: false });
        partition.asked = false;
        self.observe(now);
        leased
    }

    /// Returns whether what is queued of a partition makes a full batch.
    pub(super) fn is_full(&self, index: usize) -> bool {
        let partition = &self.partitions[index];
        partition.queued() >= self.config.batch_size.get() || partition.queued_bytes() > self.batch_bytes()
    }

    pub(super) fn is_ready(&self, index: usize, now: Duration) -> bool {
        let partition = &self.partitions[index];
        if self.state == BufferState::Closed {
            return false;
        }
        if partition.has_parked() {
            return partition.rests_until <= now;
        }
        let Some(oldest) = partition.oldest_queued() else { return false };
        self.is_full(index)
            || self.state == BufferState::Draining
            || self.credits.is_out(index)
            || oldest <= partition.awaited
            || self.flush_barriers.latest().is_some_and(|last| oldest <= last)
            || Duration::from_nanos(oldest) + self.config.flush_interval <= now
    }
}
