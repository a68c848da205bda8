//! Records come in: credits, overflow, waiting in line.

use std::{collections::VecDeque, time::Duration};

use super::BoundedBuffer;
use crate::policy::{
    queue::{
        conflation::ConflationKey,
        contract::{BufferState, DropReason, LeaseId, Outcome},
        credits::{CreditTicket, Load, Placement},
        refusal::Refusal,
    },
    wait_queue::Claim,
};

impl<T, W, R> BoundedBuffer<T, W, R> {
    /// Accepts one record if it can at once.
    ///
    /// # Errors
    /// The record, and why it was refused.
    pub fn offer(&mut self, now: Duration, at: impl Into<Placement>, record: T) -> Result<(), (Refusal, T)> {
        let Placement { load, key } = at.into();
        if let Some(key) = key {
            return self.offer_with_key(now, load, key, record);
        }
        // Nearly always there is a free credit.
        let is_taken = self.state == BufferState::Open && self.credits.take(load);
        match if is_taken { Ok(1) } else { self.credits_for(&[load]) } {
            Ok(1..) => {
                self.accept(now, [(load, record)]);
                Ok(())
            }
            Ok(0) => {
                self.observe(now);
                Err((self.full(load), record))
            }
            Err(refused) => Err((refused, record)),
        }
    }

    /// Accepts as many records from the front of `records` as it can at once, and returns how many. `loads` says
    /// where each belongs and what it takes up; the two are equally long, and so are `keys` where the strategy is
    /// [`Overflow::Conflate`]. One observation of the watermark for all.
    ///
    /// # Errors
    /// Why none can be accepted, other than for want of credits: that is `Ok(0)`.
    pub fn offer_many(
        &mut self,
        now: Duration,
        records: &mut VecDeque<T>,
        loads: &[Load],
        keys: &[ConflationKey],
    ) -> Result<usize, Refusal> {
        if !keys.is_empty() {
            return self.offer_many_with_keys(now, records, loads, keys);
        }
        let count = self.credits_for(loads)?;
        self.accept(now, loads[..count].iter().copied().zip(records.drain(..count)));
        Ok(count)
    }

    /// Takes a place in the line of a partition for up to `want` credits, until `deadline`. Where bytes are bounded it
    /// is for one, and so many bytes with it.
    pub fn wait(&mut self, line: usize, want: (usize, usize), deadline: Option<Duration>, waker: W) -> CreditTicket {
        // The queue's actor keeps the clock: this deadline may be earlier than what it waits for. And what holds the
        // bytes that are waited for is handed out at once.
        self.work |= deadline.is_some() || self.config.capacity_bytes.is_some();
        self.credits.wait(line, want, deadline, waker)
    }

    /// Returns the line of those that do not know their partition yet.
    pub const fn any_line(&self) -> usize {
        self.credits.any()
    }

    /// Asks what a ticket is worth. Credits that it was granted must be used in the same breath, by
    /// [`accept`](Self::accept), with [`note_keys`](Self::note_keys), or [`keep_claimed`](Self::keep_claimed).
    ///
    /// # Errors
    /// Why the ticket is worth nothing now: it expired, or the buffer takes no more records.
    pub fn claim(&mut self, now: Duration, ticket: CreditTicket, waker: W) -> Result<Option<usize>, Refusal> {
        if let Err(refused) = self.check_open() {
            self.cancel(now, ticket);
            self.discard(waker);
            return Err(refused);
        }
        match self.credits.claim(ticket, waker, &mut self.spent) {
            Claim::Granted(credits) => Ok(Some(credits)),
            Claim::Waiting => Ok(None),
            Claim::Expired => Err(self.full(ticket.load())),
        }
    }

    /// Leaves the line; credits that were granted go to the next.
    pub fn cancel(&mut self, now: Duration, ticket: CreditTicket) {
        self.credits.cancel(ticket, &mut self.wake, &mut self.spent);
        self.observe(now);
    }

    /// Gives back a waker that is not needed, to be dropped where no lock is held.
    pub fn discard(&mut self, waker: W) {
        self.spent.push(waker);
    }

    /// Holds one credit of a line for a record to come, if one is free or can be made so.
    ///
    /// # Errors
    /// If the buffer takes no more records.
    pub fn reserve(&mut self, now: Duration, line: usize) -> Result<bool, Refusal> {
        let is_reserved = self.credits_for(&[line.into()])? == 1;
        if is_reserved {
            self.credits.keep();
        }
        self.look_out_of_credits();
        self.observe(now);
        Ok(is_reserved)
    }

    /// Turns a claimed credit back into one that is held for a record to come.
    pub fn keep_claimed(&mut self) {
        self.credits.keep();
    }

    /// Accepts a record on the credit of a line that was held for it.
    ///
    /// # Errors
    /// The record, and why it was refused; the credit is held no more.
    pub fn offer_reserved(
        &mut self,
        now: Duration,
        line: usize,
        at: impl Into<Placement>,
        record: T,
    ) -> Result<(), (Refusal, T)> {
        let Placement { load, key } = at.into();
        if let Err(refused) = self.check_open() {
            self.give_back(now, line);
            return Err((refused, record));
        }
        self.credits.use_reserved(line, load, &mut self.wake);
        self.accept(now, [(load, record)]);
        self.note_keys(&[load], key.as_slice());
        Ok(())
    }

    /// Gives back a credit of a line that was held for a record.
    pub fn give_back(&mut self, now: Duration, line: usize) {
        self.credits.give_back(line, &mut self.wake);
        self.observe(now);
    }

    /// Puts records into the queue, each on a credit of its partition that the caller claimed just before.
    pub fn accept(&mut self, now: Duration, records: impl IntoIterator<Item = (impl Into<Load>, T)>) {
        // Two loops, for the one without bytes is the one that has to be fast.
        match self.config.capacity_bytes {
            None => self.push_all::<false>(now, records),
            Some(_) => self.push_all::<true>(now, records),
        }
        self.look_at_queue(now);
    }

    pub(super) fn look_at_queue(&mut self, now: Duration) {
        self.look_out_of_credits();
        debug_assert_eq!(
            self.queued + self.credits.reserved(),
            self.credits.held(),
            "a record without a credit, or a credit without a record"
        );
        self.observe(now);
    }

    #[inline]
    pub(super) fn push_all<const WEIGHED: bool>(
        &mut self,
        now: Duration,
        records: impl IntoIterator<Item = (impl Into<Load>, T)>,
    ) {
        let (batch_size, most_bytes) = (self.config.batch_size.get(), self.batch_bytes());
        let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        // Locals, for what is written to memory with each record costs more than the rest.
        let (mut sequence, mut accepted, mut work) = (self.last_sequence, 0, self.work);
        for (load, record) in records {
            let Load { partition, bytes } = load.into();
            // A sequence is the time of arrival and the order of arrival in one number: it only ever grows.
            sequence = nanos.max(sequence + 1);
            let partition = &mut self.partitions[partition];
            partition.push(record, sequence, WEIGHED.then_some(bytes), batch_size);
            accepted += 1;
            let is_full = partition.queued() == batch_size || (WEIGHED && partition.queued_bytes() > most_bytes);
            work |= partition.asked && (partition.queued() == 1 || is_full);
        }
        (self.last_sequence, self.last_accepted, self.work) = (sequence, sequence, work);
        self.queued += accepted;
        self.counters.submitted += accepted as u64;
    }

    /// Keeps receipts for the records that were accepted last, in order: for several of one call, each of which has a
    /// place of its own, or for one.
    pub fn keep_receipts(&mut self, receipts: impl ExactSizeIterator<Item = R>) {
        // What is accepted at once has sequences that follow each other.
        let first = self.last_accepted + 1 - receipts.len() as u64;
        self.receipts.extend((first..).zip(receipts));
    }

    /// Returns the sequence of the record that was accepted last.
    pub const fn last_accepted(&self) -> u64 {
        self.last_accepted
    }

    /// Takes in that the outcome of a record is waited for: what its partition has queued up to it is handed out as soon
    /// as its worker asks.
    pub fn await_outcome(&mut self, partition: usize, sequence: u64) {
        let partition = &mut self.partitions[partition];
        partition.awaited = partition.awaited.max(sequence);
        let is_queued = partition.oldest_queued().is_some_and(|oldest| oldest <= sequence);
        self.work |= is_queued && partition.waits_for_batch();
    }

    /// Notes that the record that was accepted last is a dead letter already, as one is that is replayed. If it is
    /// given up it needs no other.
    pub fn mark_replay(&mut self) {
        self.replays.insert(self.last_accepted);
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

    /// Returns why a record of a partition finds no credit. The partition key is the caller's to fill in.
    pub fn full(&self, load: impl Into<Load>) -> Refusal {
        if !self.breaker.is_closed() {
            return Refusal::CircuitOpen;
        }
        let leaves_room = self.credits.held() < self.config.capacity.get() && self.credits.is_kept_out(load.into());
        if leaves_room { Refusal::PartitionFull { partition_key: String::new() } } else { Refusal::Full }
    }

    /// A partition without a credit left hands out even a short batch at once.
    pub(super) fn look_out_of_credits(&mut self) {
        let is_out = |index: usize| {
            let partition = &self.partitions[index];
            partition.asked && partition.queued() > 0 && self.credits.is_out(index)
        };
        self.work = self.work || (!self.credits.has_common() && (0..self.partitions.len()).any(is_out));
    }

    /// Counts records that were handed back.
    pub fn count_rejected(&mut self, refusal: &Refusal, records: usize) {
        let counter = match refusal {
            Refusal::Full | Refusal::PartitionFull { .. } | Refusal::CircuitOpen => &mut self.counters.rejected_full,
            Refusal::Draining => &mut self.counters.rejected_draining,
            Refusal::Closed => &mut self.counters.rejected_closed,
            // What stands behind an invalid record was not tried.
            Refusal::Invalid(_) | Refusal::OtherPartition { .. } | Refusal::TooLarge { .. } => {
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

    /// Takes credits for these records, from the front, by eviction if need be. Returns for how many.
    fn credits_for(&mut self, loads: &[Load]) -> Result<usize, Refusal> {
        self.check_open()?;
        let mut taken = self.credits.take_many(loads);
        if self.config.overflow.evicts() {
            while taken < loads.len() && self.evict_for(loads[taken]) {
                taken += self.credits.take_many(&loads[taken..]);
            }
            self.pass_flush_barriers();
        }
        Ok(taken)
    }

    /// Evicts the oldest record of the partitions that use common credits, so that one of this partition has room, or
    /// common bytes, where these are missing. Where none does, or this partition has all that the others leave it, that
    /// is the oldest of its own. Returns whether there was one; none goes if all that can go would not be enough.
    pub(super) fn evict_for(&mut self, load: Load) -> bool {
        let oldest_of = |index: usize| Some((self.partitions[index].oldest_queued()?, index));
        let lack = self.credits.lacks(load, |index| self.partitions[index].queued_bytes());
        let Some(lack) = lack else { return false };
        // What others have in common makes no room for one that may not have more.
        let may_have_more = !self.credits.is_kept_out(load);
        let others =
            (0..self.partitions.len()).filter(|&index| may_have_more && self.credits.is_in_the_way(index, lack));
        let own = || self.partitions.get(load.partition).and_then(|_| oldest_of(load.partition));
        let Some((sequence, index)) = others.filter_map(oldest_of).min().or_else(own) else { return false };
        let Some((_, record, bytes)) = self.partitions[index].pop_oldest() else { return false };
        self.queued -= 1;
        self.give_up(sequence, record, DropReason::DropOldest);
        self.credits.settle_bytes(index, bytes, &mut self.wake);
        self.credits.release(index, 1, &mut self.wake);
        true
    }

    /// Counts a record that is given up unwritten, and tells its receipt.
    pub(super) fn give_up(&mut self, sequence: u64, record: T, reason: DropReason) {
        let receipt = self.receipts.remove(&sequence);
        self.replays.remove(&sequence);
        self.outcomes.extend(receipt.map(|receipt| (receipt, Outcome::Dropped(reason))));
        self.evicted.push(record);
        self.counters.dropped += 1;
        self.counters.conflated += u64::from(reason == DropReason::Conflated);
    }
}
