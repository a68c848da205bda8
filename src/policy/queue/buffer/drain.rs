//! Waiting until all is settled, and the end of the buffer.

use std::{sync::Arc, time::Duration};

use super::{BoundedBuffer, PART_STRIKES};
use crate::policy::queue::{
    contract::{BufferState, LeaseId, Leased},
    flush::FlushId,
    partition::{InFlight, Partition},
    refusal::Refusal,
};

impl<T, W, R> BoundedBuffer<T, W, R> {
    /// Begins to wait until everything accepted so far is settled; none if it is already.
    ///
    /// # Errors
    /// If the buffer has come to its end with something unsettled.
    pub fn begin_flush(&mut self, waker: W) -> Result<Option<FlushId>, Refusal> {
        if self.oldest_unsettled().is_none() || self.state == BufferState::Closed {
            self.discard(waker);
            return if self.oldest_unsettled().is_none() { Ok(None) } else { Err(Refusal::Closed) };
        }
        self.work = true;
        Ok(Some(self.flush_barriers.wait(self.last_sequence, waker)))
    }

    /// Asks whether a flush still waits.
    ///
    /// # Errors
    /// If the buffer came to its end with records of the flush unsettled.
    pub fn flush_holds(&mut self, flush: FlushId, waker: W) -> Result<bool, Refusal> {
        let holds = self.flush_barriers.holds(flush, waker, &mut self.spent);
        if holds && self.state == BufferState::Closed {
            self.cancel_flush(flush);
            return Err(Refusal::Closed);
        }
        Ok(holds)
    }

    /// Gives up waiting for a flush.
    pub fn cancel_flush(&mut self, flush: FlushId) {
        self.flush_barriers.cancel(flush, &mut self.spent);
    }

    pub(super) fn oldest_unsettled(&self) -> Option<u64> {
        let abandoned = self.abandoned.values().filter_map(|(_, out)| out.slice.oldest());
        self.partitions.iter().filter_map(Partition::oldest_unsettled).chain(abandoned).min()
    }

    pub(super) fn pass_flush_barriers(&mut self) {
        if !self.flush_barriers.is_empty() {
            let oldest = self.oldest_unsettled();
            self.flush_barriers.pass(oldest, &mut self.wake);
        }
    }

    /// Lets nothing wait any longer for what is due later: not the next probe of an open circuit, nor what the store
    /// wants to be left alone with. For an end that may come before.
    pub fn expedite(&mut self) {
        self.breaker.expedite();
        self.partitions.iter_mut().for_each(|partition| partition.rests_until = Duration::ZERO);
        self.work = true;
    }

    /// Takes no more records and hands out what is there at once. Submitters that wait are told.
    pub fn drain(&mut self) {
        if self.state == BufferState::Open {
            self.state = BufferState::Draining;
            self.credits.wake_all(&mut self.wake);
            self.work = true;
        }
    }

    /// Stops all movement. Everyone who waits is told; what is queued or in flight stays so, to be counted or
    /// [abandoned](Self::abandon). Receipts of these records are lost unless that settles them.
    pub fn close(&mut self) {
        self.state = BufferState::Closed;
        self.credits.wake_all(&mut self.wake);
        self.flush_barriers.wake_all(&mut self.wake);
    }

    /// Gives back every receipt that is still kept: what became of its record will not be known.
    pub fn lose_receipts(&mut self) {
        self.lost.extend(self.receipts.drain().map(|(_, receipt)| receipt));
    }

    /// Takes back everything unsettled from all, after [`close`](Self::close), as leases of the caller's: oldest
    /// first in each partition. Who held one before can settle it no more, a caller of this included that was cut off.
    pub fn abandon(&mut self) -> Vec<Leased<T>> {
        debug_assert_eq!(self.state, BufferState::Closed, "abandons while workers work");
        for (index, out) in std::mem::take(&mut self.abandoned).into_values() {
            self.partitions[index].park(out.slice);
        }
        let mut leased = Vec::new();
        for index in 0..self.partitions.len() {
            if let Some(out) = self.partitions[index].lease.take() {
                self.partitions[index].park(out.slice);
            }
            while let Some(batch) =
                self.partitions[index].pop_batch(self.config.batch_size.get(), usize::MAX, PART_STRIKES)
            {
                self.queued -= batch.len();
                self.in_flight += batch.len();
                self.partitions[index].park(batch);
            }
            while let Some(slice) = self.partitions[index].pop_parked() {
                let id = LeaseId(self.next_lease);
                self.next_lease += 1;
                let (records, range) = (Arc::clone(&slice.records), slice.range.clone());
                leased.push(Leased { id, partition: index, records, range });
                self.abandoned.insert(id, (index, InFlight { id, slice, began: self.moment, answered_before: false }));
            }
        }
        leased
    }
}
