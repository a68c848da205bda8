//! Batches go out: which partition is ready, and what the probe of an open circuit is.

use std::{sync::Arc, time::Duration};

use super::BoundedBuffer;
use crate::policy::queue::{
    contract::{BufferState, LeaseId, Leased, Unknown},
    partition::{BatchSlice, InFlight, NextProbe, Probe},
};

impl<T, W, R> BoundedBuffer<T, W, R> {
    /// Notes that the worker of a partition has nothing to do, and hands it a batch if one is ready. If not,
    /// [`hand_out`](Self::hand_out) will. While a lease of the partition is still out, of a worker that died say, nothing
    /// is ready: two at once would break the order.
    pub fn ask(&mut self, partition: usize, now: Duration) -> Option<Leased<T>> {
        self.partitions[partition].asked = true;
        let leased = self.hand_out_one(partition, now);
        // The queue's actor keeps the clock: a batch may become ready by time alone.
        self.work |= leased.is_none() && self.partitions[partition].has_work();
        leased
    }

    /// Hands out a batch to every worker that asked and whose partition is ready: parked, full, waiting for
    /// [`flush_interval`](BufferConfig::flush_interval), out of credits, before a flush, or draining. While the circuit
    /// is open nothing is, but for one probe when it is due.
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
        self.first = (self.first + 1) % count;
        leased
    }

    pub(super) fn hand_out_one(&mut self, index: usize, now: Duration) -> Option<Leased<T>> {
        let partition = &self.partitions[index];
        if !self.breaker.is_closed() || !partition.waits_for_batch() || !self.is_ready(index, now) {
            return None;
        }
        let slice = match self.partitions[index].pop_parked() {
            Some(parked) => parked,
            None => self.take_batch(index, self.config.batch_size.get(), now)?,
        };
        Some(self.lease(index, slice, now))
    }

    /// Returns whether the probe of an open circuit may go out.
    pub(super) fn probe_is_due(&self, now: Duration) -> bool {
        self.state != BufferState::Closed && self.breaker.probe_at().is_some_and(|at| now >= at)
    }

    /// Hands out the one probe of an open circuit, when it is due and [nothing is unknown](Self::unknown) that has a say
    /// in it. Probes rotate over whatever may go without overtaking an update: what was never one first, then what was
    /// one longest ago.
    pub(super) fn hand_out_probe(&mut self, now: Duration) -> Option<Leased<T>> {
        if !self.probe_is_due(now) {
            return None;
        }
        let count = self.partitions.len();
        let mut best: Option<(u64, usize, Probe)> = None;
        for index in (self.first..count).chain(0..self.first) {
            if !self.partitions[index].waits_for_batch() {
                continue;
            }
            match self.partitions[index].next_probe(self.config.batch_size.get(), now) {
                NextProbe::None => {}
                NextProbe::Unknown => return None,
                NextProbe::Is { probed, .. } if best.as_ref().is_some_and(|&(least, ..)| least <= probed) => {}
                NextProbe::Is { probed, probe } => best = Some((probed, index, probe)),
            }
        }
        let (_, index, probe) = best?;
        let mut slice = match probe {
            Probe::Parked { at, most } => self.partitions[index].take_parked(at, most)?,
            Probe::Queued => self.take_batch(index, self.config.batch_size.get(), now)?,
        };
        self.probes += 1;
        slice.probed = self.probes;
        let leased = self.lease(index, slice, now);
        self.breaker.probe();
        self.probe = Some(leased.id);
        Some(leased)
    }

    /// Returns the records whose keys have to be known before the probe that is due can be chosen; none when it can.
    /// For this the head of a queue is parked where everything parked before it was a probe already.
    ///
    /// A key is the caller's code, and runs where no lock is held: then the caller [tells](Self::know) and hands out
    /// again.
    pub fn unknown(&mut self, now: Duration) -> Vec<Unknown<T>> {
        let mut unknown = Vec::new();
        if !self.probe_is_due(now) {
            return unknown;
        }
        for index in 0..self.partitions.len() {
            if !self.partitions[index].waits_for_batch() || self.partitions[index].rests_until() > now {
                continue;
            }
            let room = self.partitions[index].room_for_head(self.config.batch_size.get(), now);
            if let Some(head) = room.and_then(|room| self.take_batch(index, room.get(), now)) {
                self.put_back(index, head);
                self.observe(now);
            }
            unknown.extend(self.partitions[index].unknown().map(|slice| Unknown {
                partition: index,
                first: slice.sequences()[0],
                records: Arc::clone(&slice.records),
                range: slice.range.clone(),
            }));
        }
        unknown
    }

    /// Takes in the hashed keys of records that were [unknown](Self::unknown), in their order; none if they cannot be
    /// known, for then what is at stake is only which of them may be a probe.
    pub fn know(&mut self, unknown: &Unknown<T>, keys: Option<Vec<u64>>) {
        self.partitions[unknown.partition].know(unknown.first, unknown.range.len(), keys);
    }

    /// Takes a batch of at most so many records out of the queue.
    pub(super) fn take_batch(&mut self, index: usize, most: usize, now: Duration) -> Option<BatchSlice<T>> {
        let batch = self.partitions[index].pop_batch(most)?;
        // Time that passed with nothing taken was idle.
        self.drain_rate.pass(now, self.in_flight > 0);
        self.queued -= batch.len();
        self.in_flight += batch.len();
        self.credits.release(batch.len(), &mut self.wake);
        Some(batch)
    }

    pub(super) fn lease(&mut self, index: usize, slice: BatchSlice<T>, now: Duration) -> Leased<T> {
        let id = LeaseId(self.next_lease);
        self.next_lease += 1;
        let leased = Leased { id, partition: index, records: Arc::clone(&slice.records), range: slice.range.clone() };
        let partition = &mut self.partitions[index];
        partition.lease = Some(InFlight { id, slice, began: self.seen });
        partition.asked = false;
        self.observe(now);
        leased
    }

    pub(super) fn is_ready(&self, index: usize, now: Duration) -> bool {
        let partition = &self.partitions[index];
        if self.state == BufferState::Closed {
            return false;
        }
        if partition.has_parked() {
            return partition.rests_until() <= now;
        }
        let Some(oldest) = partition.oldest_queued() else { return false };
        partition.queued() >= self.config.batch_size.get()
            || self.state == BufferState::Draining
            || self.credits.free() == 0
            || self.flush_barriers.latest().is_some_and(|last| oldest <= last)
            || Duration::from_nanos(oldest) + self.config.flush_interval <= now
    }
}
