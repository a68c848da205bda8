//! Records come in: credits, overflow, waiting in line.

use std::{collections::VecDeque, time::Duration};

use super::BoundedBuffer;
use crate::policy::{
    queue::{
        contract::{BufferState, DropReason, LeaseId, Outcome, Overflow},
        refusal::Refusal,
    },
    wait_queue::{Claim, Ticket},
};

impl<T, W, R> BoundedBuffer<T, W, R> {
    /// Accepts one record if it can at once.
    ///
    /// # Errors
    /// The record, and why it was refused.
    pub fn offer(&mut self, now: Duration, partition: usize, record: T) -> Result<(), (Refusal, T)> {
        match self.credits_for(1) {
            Ok(1..) => {
                self.accept(now, [(partition, record)]);
                Ok(())
            }
            Ok(0) => Err((self.full(), record)),
            Err(refused) => Err((refused, record)),
        }
    }

    /// Accepts as many records from the front of `records` as it can at once, and returns how many. `partitions` names
    /// the partition of each; the two are equally long. One observation of the watermark for all.
    ///
    /// # Errors
    /// Why none can be accepted, other than for want of credits: that is `Ok(0)`.
    pub fn offer_many(
        &mut self,
        now: Duration,
        records: &mut VecDeque<T>,
        partitions: &[usize],
    ) -> Result<usize, Refusal> {
        let count = self.credits_for(partitions.len())?;
        self.accept(now, partitions[..count].iter().copied().zip(records.drain(..count)));
        Ok(count)
    }

    /// Takes a place in line for up to `want` credits, until `deadline`.
    pub fn wait(&mut self, want: usize, deadline: Option<Duration>, waker: W) -> Ticket {
        // The queue's actor keeps the clock: this deadline may be earlier than what it waits for.
        self.work |= deadline.is_some();
        self.credits.wait(want, deadline, waker)
    }

    /// Asks what a ticket is worth. Credits that it was granted must be used in the same breath, by
    /// [`accept`](Self::accept).
    ///
    /// # Errors
    /// Why the ticket is worth nothing now: it expired, or the buffer takes no more records.
    pub fn claim(&mut self, ticket: Ticket, waker: W) -> Result<Option<usize>, Refusal> {
        if let Err(refused) = self.check_open() {
            self.cancel(ticket);
            self.discard(waker);
            return Err(refused);
        }
        match self.credits.claim(ticket, waker, &mut self.spent) {
            Claim::Granted(credits) => Ok(Some(credits)),
            Claim::Waiting => Ok(None),
            Claim::Expired => Err(self.full()),
        }
    }

    /// Leaves the line; credits that were granted go to the next.
    pub fn cancel(&mut self, ticket: Ticket) {
        self.credits.cancel(ticket, &mut self.wake, &mut self.spent);
    }

    /// Gives back a waker that is not needed, to be dropped where no lock is held.
    pub fn discard(&mut self, waker: W) {
        self.spent.push(waker);
    }

    /// Holds one credit for a record to come, if one is free.
    ///
    /// # Errors
    /// If the buffer takes no more records.
    pub fn reserve(&mut self) -> Result<bool, Refusal> {
        self.check_open()?;
        let reserved = self.credits.reserve();
        self.look_out_of_credits();
        Ok(reserved)
    }

    /// Turns a claimed credit back into one that is held for a record to come.
    pub fn keep_claimed(&mut self) {
        self.credits.keep();
    }

    /// Accepts a record on the credit that was held for it.
    ///
    /// # Errors
    /// The record, and why it was refused; the credit is held no more.
    pub fn offer_reserved(&mut self, now: Duration, partition: usize, record: T) -> Result<(), (Refusal, T)> {
        if let Err(refused) = self.check_open() {
            self.give_back();
            return Err((refused, record));
        }
        self.credits.use_reserved();
        self.accept(now, [(partition, record)]);
        Ok(())
    }

    /// Gives back a credit that was held for a record.
    pub fn give_back(&mut self) {
        self.credits.give_back(&mut self.wake);
    }

    /// Puts records into the queue, each on a credit that the caller claimed just before.
    pub fn accept(&mut self, now: Duration, records: impl IntoIterator<Item = (usize, T)>) {
        let batch_size = self.config.batch_size.get();
        let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let before = self.queued;
        for (partition, record) in records {
            // A sequence is the time of arrival and the order of arrival in one number: it only ever grows.
            self.last_sequence = nanos.max(self.last_sequence + 1);
            let partition = &mut self.partitions[partition];
            partition.push(record, self.last_sequence, batch_size);
            self.queued += 1;
            self.work |= partition.asked && (partition.queued() == 1 || partition.queued() == batch_size);
        }
        self.counters.submitted += (self.queued - before) as u64;
        self.look_out_of_credits();
        debug_assert_eq!(self.queued, self.credits.used(), "a record without a credit, or a credit without a record");
        self.observe(now);
    }

    /// Keeps a receipt for the record that was accepted last.
    pub fn keep_receipt(&mut self, receipt: R) {
        self.receipts.insert(self.last_sequence, receipt);
    }

    /// Notes that the record that was accepted last is a dead letter already, as one is that is replayed. If it is given up
    /// it needs no other.
    pub fn mark_replay(&mut self) {
        self.replays.insert(self.last_sequence);
    }

    /// Returns of each record of a lease whether it is a dead letter already, and the receipt of the first.
    pub fn replays(&mut self, lease: LeaseId) -> (Vec<bool>, Option<&mut R>) {
        let abandoned = self.abandoned.get(&lease).map(|(_, out)| out);
        let held = self.partition_of(lease).and_then(|index| self.partitions[index].lease.as_ref());
        let Some(out) = held.or(abandoned) else { return (Vec::new(), None) };
        let sequences = out.slice.sequences();
        let replays = sequences.iter().map(|sequence| self.replays.contains(sequence)).collect();
        (replays, sequences.first().and_then(|first| self.receipts.get_mut(first)))
    }

    /// Returns why a record finds no credit.
    pub const fn full(&self) -> Refusal {
        if self.breaker.is_closed() { Refusal::Full } else { Refusal::CircuitOpen }
    }

    /// Out of credits, even a short batch is handed out at once.
    pub(super) fn look_out_of_credits(&mut self) {
        self.work |= self.credits.free() == 0 && self.partitions.iter().any(|p| p.asked && p.queued() > 0);
    }

    /// Counts records that were handed back.
    pub fn count_rejected(&mut self, refusal: &Refusal, records: usize) {
        let counter = match refusal {
            Refusal::Full | Refusal::CircuitOpen => &mut self.counters.rejected_full,
            Refusal::Draining => &mut self.counters.rejected_draining,
            Refusal::Closed => &mut self.counters.rejected_closed,
            // What stands behind an invalid record was not tried.
            Refusal::Invalid(_) => {
                self.counters.rejected_invalid += 1;
                return;
            }
        };
        *counter += records as u64;
    }

    pub(super) fn check_open(&self) -> Result<(), Refusal> {
        match self.state {
            BufferState::Open => Ok(()),
            BufferState::Draining => Err(Refusal::Draining),
            BufferState::Closed => Err(Refusal::Closed),
        }
    }

    /// Takes up to `want` credits, by eviction if need be.
    pub(super) fn credits_for(&mut self, want: usize) -> Result<usize, Refusal> {
        self.check_open()?;
        let free = self.credits.take(want);
        let missing = want - free;
        if missing == 0 || self.config.overflow != Overflow::DropOldest {
            return Ok(free);
        }
        let evicted = self.evict(missing);
        self.credits.release(evicted, &mut self.wake);
        Ok(free + self.credits.take(evicted))
    }

    /// Evicts the oldest records of all partitions, up to `count`, and returns how many.
    pub(super) fn evict(&mut self, count: usize) -> usize {
        let before = self.queued;
        while before - self.queued < count {
            let oldest = (self.partitions.iter_mut())
                .filter_map(|partition| Some((partition.oldest_queued()?, partition)))
                .min_by_key(|&(sequence, _)| sequence);
            let Some((sequence, record)) = oldest.and_then(|(_, partition)| partition.pop_oldest()) else { break };
            let receipt = self.receipts.remove(&sequence);
            self.replays.remove(&sequence);
            self.outcomes.extend(receipt.map(|receipt| (receipt, Outcome::Dropped(DropReason::DropOldest))));
            self.evicted.push(record);
            self.queued -= 1;
        }
        let evicted = before - self.queued;
        self.counters.dropped += evicted as u64;
        self.pass_flush_barriers();
        evicted
    }
}
