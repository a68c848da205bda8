//! The bounded queue itself: partitions, credits, overflow, watermark, leases and counters, under one lock of the
//! caller's.
//!
//! Everything that has to be exact is decided here, in one place and in one order. The caller brings records, the time
//! and wakers, and carries out what [`BoundedBuffer::effects`] asks for once it has let go of its lock.

use std::{collections::VecDeque, num::NonZeroUsize, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Level,
    credits::{Claim, Credits, Ticket},
    drain_rate::DrainRate,
    fence::{FenceId, Fences},
    watermark::{Watermark, Watermarks},
};

/// What happens to a record that is submitted while no credit is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// The submitter waits for a credit, first come first served. Nothing is lost; the producer runs at the store's
    /// speed. Choose it for files, backfills, and feeds that can be paused.
    #[default]
    Block,
    /// The oldest records in the queue are evicted to make room, each counted as dropped; a record that a worker has
    /// taken is never evicted. Choose it when only the latest matters and the producer cannot wait.
    DropOldest,
    /// The new record is refused and handed back; one that was accepted is never lost. Choose it when the producer has
    /// something better to do with the record, such as telling its own client to come back later.
    Error,
}

/// The fixed properties of a [`BoundedBuffer`].
#[derive(Clone, Copy, Debug)]
pub struct BufferConfig {
    /// The most records that the queue takes: the number of credits.
    pub capacity: NonZeroUsize,
    /// How many partitions, each served by one worker.
    pub partitions: NonZeroUsize,
    /// The most records in one batch.
    pub batch_size: NonZeroUsize,
    /// How long the oldest record of a partition waits for its batch to become full.
    pub flush_interval: Duration,
    /// What happens when no credit is free.
    pub overflow: Overflow,
    /// When the level changes.
    pub watermarks: Watermarks,
}

/// Why a record was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No credit is free.
    Full,
    /// The buffer only empties itself.
    Draining,
    /// The buffer has come to its end.
    Closed,
}

/// Whether records go in and out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BufferState {
    /// Records go in and out.
    Open,
    /// Records only go out, at once.
    Draining,
    /// Nothing moves any more.
    Closed,
}

/// Names a lease: the right and duty of one worker to settle one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseId(u64);

/// A batch handed out. The buffer keeps the records too until they are settled, so a worker that dies loses nothing.
#[derive(Debug)]
pub struct Leased<T> {
    /// What has to be settled or parked.
    pub id: LeaseId,
    /// Whose records they are.
    pub partition: usize,
    /// Records in the order in which they were accepted.
    pub records: Arc<Vec<T>>,
}

/// A level change, in the order in which they happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crossing {
    /// The level from now on.
    pub level: Level,
    /// The queue size that made the change.
    pub size: usize,
    /// Records a second at that moment; none when nothing was written yet.
    pub drain_rate: Option<f64>,
}

/// How many records went which way since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Accepted.
    pub submitted: u64,
    /// Committed durably by the sink.
    pub stored: u64,
    /// Appended durably to the dead-letter file.
    pub dead_lettered: u64,
    /// Evicted by [`Overflow::DropOldest`].
    pub dropped: u64,
    /// Refused because no credit was free. Not part of `submitted`.
    pub rejected_full: u64,
    /// Refused because the coordinator was draining. Not part of `submitted`.
    pub rejected_draining: u64,
    /// Refused because the coordinator had come to its end. Not part of `submitted`.
    pub rejected_closed: u64,
    /// Refused by validation. Not part of `submitted`.
    pub rejected_invalid: u64,
}

/// One moment of a buffer, all of it taken under one lock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BufferSnapshot {
    /// Whether records go in and out.
    pub state: BufferState,
    /// The most records that the queue takes.
    pub capacity: usize,
    /// Accepted records not yet taken by a worker.
    pub queued: usize,
    /// Records taken by a worker, or parked, and not yet settled.
    pub in_flight: usize,
    /// Those of `in_flight` whose lease came back and waits for a worker.
    pub parked: usize,
    /// Submitters that wait for a credit.
    pub waiting: usize,
    /// How long the oldest queued record has been waiting.
    pub oldest_age: Option<Duration>,
    /// Records a second that were settled of late; none when nothing was written yet.
    pub drain_rate: Option<f64>,
    /// The level that the queue size alone demands.
    pub level: Level,
    /// How many records went which way.
    pub counters: Counters,
}

impl BufferSnapshot {
    /// Returns what is missing from the books: 0, or records were lost or made up.
    pub fn residual(&self) -> i128 {
        let out = [self.counters.stored, self.counters.dead_lettered, self.counters.dropped];
        let here = [self.queued as u64, self.in_flight as u64];
        i128::from(self.counters.submitted) - out.into_iter().chain(here).map(i128::from).sum::<i128>()
    }
}

/// What the caller has to do once it has let go of its lock.
#[derive(Debug)]
pub struct Effects<T, W> {
    /// Waiters that have news.
    pub wake: Vec<W>,
    /// Evicted records, to be dropped where it harms nobody.
    pub evicted: Vec<T>,
    /// Whether whoever hands out batches has something to do and has not been told yet.
    pub ring: bool,
}

/// See the [module documentation](self).
#[derive(Debug)]
pub struct BoundedBuffer<T, W> {
    config: BufferConfig,
    state: BufferState,
    partitions: Vec<Partition<T>>,
    queued: usize,
    in_flight: usize,
    credits: Credits<W>,
    fences: Fences<W>,
    watermark: Watermark,
    crossings: Vec<Crossing>,
    counters: Counters,
    drain_rate: DrainRate,
    last_stamp: u64,
    next_lease: u64,
    /// Where the search for a partition that is ready begins, so that none is always last.
    first: usize,
    wake: Vec<W>,
    evicted: Vec<T>,
    /// Something changed that whoever hands out batches has to look at.
    work: bool,
    /// It has been told and has not come yet.
    rung: bool,
}

/// The records of the keys that hash alike.
#[derive(Debug)]
struct Partition<T> {
    blocks: VecDeque<Block<T>>,
    queued: usize,
    lease: Option<Lease<T>>,
    parked: Option<Lease<T>>,
    /// A worker asked and was given nothing yet.
    asked: bool,
    /// How many records the last batch had: a guess at the next one's size.
    last_batch: usize,
}

#[derive(Debug)]
struct Lease<T> {
    id: LeaseId,
    oldest: u64,
    records: Arc<Vec<T>>,
}

/// Up to one batch of records, so that handing one out moves a pointer and no record, and no growth copies a long
/// queue.
#[derive(Debug)]
struct Block<T> {
    records: VecDeque<T>,
    stamps: VecDeque<u64>,
}

impl<T> Block<T> {
    fn with_capacity(records: usize) -> Self {
        Self { records: VecDeque::with_capacity(records), stamps: VecDeque::with_capacity(records) }
    }
}

impl<T> Partition<T> {
    fn new() -> Self {
        Self { blocks: VecDeque::new(), queued: 0, lease: None, parked: None, asked: false, last_batch: 0 }
    }

    fn push(&mut self, record: T, stamp: u64, batch_size: usize) {
        let block = match self.blocks.back() {
            Some(block) if block.records.len() < batch_size => self.blocks.back_mut(),
            last => {
                // Behind a full block another will fill; an empty queue starts as small as its batches are.
                let room = if last.is_some() { batch_size } else { self.last_batch.clamp(4, batch_size.max(4)) };
                self.blocks.push_back(Block::with_capacity(room));
                self.blocks.back_mut()
            }
        };
        if let Some(block) = block {
            block.records.push_back(record);
            block.stamps.push_back(stamp);
            self.queued += 1;
        }
    }

    fn waits_for_batch(&self) -> bool {
        self.asked && self.lease.is_none()
    }

    fn oldest_queued(&self) -> Option<u64> {
        self.blocks.front().and_then(|block| block.stamps.front()).copied()
    }

    fn oldest_unsettled(&self) -> Option<u64> {
        // What is out or parked was taken from the front, so it is older than what is queued.
        let out = self.lease.as_ref().or(self.parked.as_ref()).map(|lease| lease.oldest);
        out.or_else(|| self.oldest_queued())
    }

    fn pop_oldest(&mut self) -> Option<T> {
        let block = self.blocks.front_mut()?;
        let record = block.records.pop_front()?;
        block.stamps.pop_front();
        self.queued -= 1;
        if block.records.is_empty() {
            self.blocks.pop_front();
        }
        Some(record)
    }

    /// Takes the oldest records, up to a batch.
    fn pop_batch(&mut self, batch_size: usize) -> Option<(u64, Vec<T>)> {
        let mut block = self.blocks.pop_front()?;
        let oldest = block.stamps.front().copied()?;
        // Evictions leave the first block short; a full batch is then made up from the next.
        while block.records.len() < batch_size
            && let Some(next) = self.blocks.front_mut()
        {
            let more = next.records.len().min(batch_size - block.records.len());
            block.records.extend(next.records.drain(..more));
            next.stamps.drain(..more);
            if next.records.is_empty() {
                self.blocks.pop_front();
            }
        }
        self.queued -= block.records.len();
        self.last_batch = block.records.len();
        Some((oldest, Vec::from(block.records)))
    }
}

impl<T, W> BoundedBuffer<T, W> {
    /// Starts open and empty.
    pub fn new(config: BufferConfig) -> Self {
        Self {
            config,
            state: BufferState::Open,
            partitions: (0..config.partitions.get()).map(|_| Partition::new()).collect(),
            queued: 0,
            in_flight: 0,
            credits: Credits::new(config.capacity.get()),
            fences: Fences::default(),
            watermark: Watermark::new(config.watermarks),
            crossings: Vec::new(),
            counters: Counters::default(),
            drain_rate: DrainRate::default(),
            last_stamp: 0,
            next_lease: 0,
            first: 0,
            wake: Vec::new(),
            evicted: Vec::new(),
            work: false,
            rung: false,
        }
    }

    /// Returns the fixed properties.
    pub const fn config(&self) -> &BufferConfig {
        &self.config
    }

    /// Returns whether records go in and out.
    pub const fn state(&self) -> BufferState {
        self.state
    }

    /// Returns and forgets what the caller has to do once it has let go of its lock; none when there is nothing.
    pub fn effects(&mut self) -> Option<Effects<T, W>> {
        let ring = std::mem::take(&mut self.work) && !self.rung;
        self.rung |= ring;
        if !ring && self.wake.is_empty() && self.evicted.is_empty() {
            return None;
        }
        Some(Effects { wake: std::mem::take(&mut self.wake), evicted: std::mem::take(&mut self.evicted), ring })
    }

    // ---- records come in ----

    /// Accepts one record if it can at once.
    ///
    /// # Errors
    /// The record, and why it was refused.
    pub fn offer(&mut self, now: Duration, partition: usize, record: T) -> Result<(), (Refused, T)> {
        match self.credits_for(1) {
            Ok(1..) => {
                self.accept(now, [(partition, record)]);
                Ok(())
            }
            Ok(0) => Err((Refused::Full, record)),
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
    ) -> Result<usize, Refused> {
        let count = self.credits_for(partitions.len())?;
        self.accept(now, partitions[..count].iter().copied().zip(records.drain(..count)));
        Ok(count)
    }

    /// Takes a place in line for up to `want` credits, until `deadline`.
    pub fn wait(&mut self, want: usize, deadline: Option<Duration>, waker: W) -> Ticket {
        // Whoever keeps the clock has to hear of a deadline that may be earlier than what it waits for.
        self.work |= deadline.is_some();
        self.credits.wait(want, deadline, waker)
    }

    /// Asks what a ticket is worth. Credits that it was granted must be used in the same breath, by
    /// [`accept`](Self::accept).
    ///
    /// # Errors
    /// Why the ticket is worth nothing now: it expired, or the buffer takes no more records.
    pub fn claim(&mut self, ticket: Ticket, waker: W) -> Result<Option<usize>, Refused> {
        if let Err(refused) = self.check_open() {
            self.cancel(ticket);
            return Err(refused);
        }
        match self.credits.claim(ticket, waker) {
            Claim::Granted(credits) => Ok(Some(credits)),
            Claim::Waiting => Ok(None),
            Claim::Expired => Err(Refused::Full),
        }
    }

    /// Leaves the line; credits that were granted go to the next.
    pub fn cancel(&mut self, ticket: Ticket) {
        self.credits.cancel(ticket, &mut self.wake);
    }

    /// Holds one credit for a record to come, if one is free.
    ///
    /// # Errors
    /// If the buffer takes no more records.
    pub fn reserve(&mut self) -> Result<bool, Refused> {
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
    pub fn offer_reserved(&mut self, now: Duration, partition: usize, record: T) -> Result<(), (Refused, T)> {
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
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let before = self.queued;
        for (partition, record) in records {
            // A stamp is the time of arrival and the order of arrival in one number: it only ever grows.
            self.last_stamp = now.max(self.last_stamp + 1);
            let partition = &mut self.partitions[partition];
            partition.push(record, self.last_stamp, batch_size);
            self.queued += 1;
            self.work |= partition.asked && (partition.queued == 1 || partition.queued == batch_size);
        }
        self.counters.submitted += (self.queued - before) as u64;
        self.look_out_of_credits();
        debug_assert_eq!(self.queued, self.credits.used(), "a record without a credit, or a credit without a record");
        self.observe();
    }

    /// Out of credits, even a short batch is handed out at once.
    fn look_out_of_credits(&mut self) {
        self.work |= self.credits.free() == 0 && self.partitions.iter().any(|p| p.asked && p.queued > 0);
    }

    /// Counts records that were handed back.
    pub fn count_rejected(&mut self, refused: Refused, records: usize) {
        let counter = match refused {
            Refused::Full => &mut self.counters.rejected_full,
            Refused::Draining => &mut self.counters.rejected_draining,
            Refused::Closed => &mut self.counters.rejected_closed,
        };
        *counter += records as u64;
    }

    /// Counts a record that validation refused.
    pub fn count_invalid(&mut self) {
        self.counters.rejected_invalid += 1;
    }

    fn check_open(&self) -> Result<(), Refused> {
        match self.state {
            BufferState::Open => Ok(()),
            BufferState::Draining => Err(Refused::Draining),
            BufferState::Closed => Err(Refused::Closed),
        }
    }

    /// Takes up to `want` credits, by eviction if need be.
    fn credits_for(&mut self, want: usize) -> Result<usize, Refused> {
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
    fn evict(&mut self, count: usize) -> usize {
        let before = self.queued;
        while before - self.queued < count {
            let oldest = (self.partitions.iter_mut())
                .filter_map(|partition| Some((partition.oldest_queued()?, partition)))
                .min_by_key(|&(stamp, _)| stamp);
            let Some(record) = oldest.and_then(|(_, partition)| partition.pop_oldest()) else { break };
            self.evicted.push(record);
            self.queued -= 1;
        }
        let evicted = before - self.queued;
        self.counters.dropped += evicted as u64;
        self.pass_fences();
        evicted
    }

    fn observe(&mut self) {
        if let Some(level) = self.watermark.observe(self.queued) {
            self.crossings.push(Crossing { level, size: self.queued, drain_rate: self.drain_rate.per_second() });
            self.work = true;
        }
    }

    // ---- records go out ----

    /// Notes that the worker of a partition has nothing to do, and hands it a batch if one is ready. If not,
    /// [`hand_out`](Self::hand_out) will. While a lease of the partition is still out, of a worker that died say, nothing
    /// is ready: two at once would break the order.
    pub fn ask(&mut self, partition: usize, now: Duration) -> Option<Leased<T>> {
        self.partitions[partition].asked = true;
        let leased = self.hand_out_one(partition, now);
        // Whoever keeps the clock has to hear of a batch that becomes ready by time alone.
        self.work |= leased.is_none() && self.partitions[partition].queued > 0;
        leased
    }

    /// Hands out a batch to every worker that asked and whose partition is ready: parked, full, waiting for
    /// [`flush_interval`](BufferConfig::flush_interval), out of credits, before a fence, or draining.
    ///
    /// Whoever is rung for calls this: from then on it is rung for again.
    pub fn hand_out(&mut self, now: Duration) -> Vec<Leased<T>> {
        self.rung = false;
        let count = self.partitions.len();
        let mut leased = Vec::new();
        for index in (self.first..count).chain(0..self.first) {
            if let Some(lease) = self.hand_out_one(index, now) {
                leased.push(lease);
            }
        }
        self.first = (self.first + 1) % count;
        leased
    }

    fn hand_out_one(&mut self, index: usize, now: Duration) -> Option<Leased<T>> {
        if !self.partitions[index].waits_for_batch() || !self.is_ready(index, now) {
            return None;
        }
        let partition = &mut self.partitions[index];
        let (oldest, records) = match partition.parked.take() {
            Some(parked) => (parked.oldest, parked.records),
            None => {
                let (oldest, records) = partition.pop_batch(self.config.batch_size.get())?;
                let taken = records.len();
                // Time that passed without a lease out was idle.
                self.drain_rate.pass(now, self.in_flight > 0);
                self.queued -= taken;
                self.in_flight += taken;
                self.credits.release(taken, &mut self.wake);
                (oldest, Arc::new(records))
            }
        };
        let id = LeaseId(self.next_lease);
        self.next_lease += 1;
        let partition = &mut self.partitions[index];
        partition.lease = Some(Lease { id, oldest, records: Arc::clone(&records) });
        partition.asked = false;
        self.observe();
        Some(Leased { id, partition: index, records })
    }

    fn is_ready(&self, index: usize, now: Duration) -> bool {
        let partition = &self.partitions[index];
        if self.state == BufferState::Closed {
            return false;
        }
        if partition.parked.is_some() {
            return true;
        }
        let Some(oldest) = partition.oldest_queued() else { return false };
        partition.queued >= self.config.batch_size.get()
            || self.state == BufferState::Draining
            || self.credits.free() == 0
            || self.fences.latest().is_some_and(|fence| oldest <= fence)
            || Duration::from_nanos(oldest) + self.config.flush_interval <= now
    }

    /// Settles a lease: all its records are stored. Returns the records, to be dropped where it harms nobody; none if
    /// this lease is not out (any more).
    pub fn settle_stored(&mut self, lease: LeaseId, now: Duration) -> Option<Arc<Vec<T>>> {
        let (index, lease) = self.end_lease(lease)?;
        self.work |= self.partitions[index].asked;
        let count = lease.records.len();
        self.drain_rate.pass(now, true);
        self.drain_rate.settle(count);
        self.in_flight -= count;
        self.counters.stored += count as u64;
        self.pass_fences();
        Some(lease.records)
    }

    /// Takes a lease back unsettled: its records go out again before anything else of their partition. Returns whether
    /// the lease was out.
    pub fn park(&mut self, lease: LeaseId) -> bool {
        let Some((index, lease)) = self.end_lease(lease) else { return false };
        let partition = &mut self.partitions[index];
        partition.parked = Some(lease);
        self.work |= partition.asked;
        true
    }

    /// Takes a lease out of its partition.
    fn end_lease(&mut self, id: LeaseId) -> Option<(usize, Lease<T>)> {
        let is_it = |partition: &Partition<T>| partition.lease.as_ref().is_some_and(|lease| lease.id == id);
        let index = self.partitions.iter().position(is_it)?;
        Some((index, self.partitions[index].lease.take()?))
    }

    /// Returns the time at which a batch becomes ready or a waiter expires, if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Duration> {
        let batches = (self.partitions.iter())
            .filter(|partition| self.state != BufferState::Closed && partition.waits_for_batch())
            .filter_map(Partition::oldest_queued)
            .min()
            .map(|oldest| Duration::from_nanos(oldest) + self.config.flush_interval);
        batches.into_iter().chain(self.credits.next_deadline()).min()
    }

    /// Lets every waiter expire whose deadline is not after `now`.
    pub fn expire(&mut self, now: Duration) {
        self.credits.expire(now, &mut self.wake);
    }

    // ---- fences ----

    /// Waits until everything accepted so far is settled; none if it is already.
    pub fn fence(&mut self, waker: W) -> Option<FenceId> {
        self.oldest_unsettled()?;
        self.work = true;
        Some(self.fences.wait(self.last_stamp, waker))
    }

    /// Asks whether a fence still holds.
    ///
    /// # Errors
    /// If the buffer came to its end with records before the fence unsettled.
    pub fn fence_holds(&mut self, fence: FenceId, waker: W) -> Result<bool, Refused> {
        let holds = self.fences.holds(fence, waker);
        if holds && self.state == BufferState::Closed {
            self.fences.cancel(fence);
            return Err(Refused::Closed);
        }
        Ok(holds)
    }

    /// Gives up waiting at a fence.
    pub fn cancel_fence(&mut self, fence: FenceId) {
        self.fences.cancel(fence);
    }

    fn oldest_unsettled(&self) -> Option<u64> {
        self.partitions.iter().filter_map(Partition::oldest_unsettled).min()
    }

    fn pass_fences(&mut self) {
        if !self.fences.is_empty() {
            let oldest = self.oldest_unsettled();
            self.fences.pass(oldest, &mut self.wake);
        }
    }

    // ---- the end ----

    /// Takes no more records and hands out what is there at once. Submitters that wait are told.
    pub fn drain(&mut self) {
        if self.state == BufferState::Open {
            self.state = BufferState::Draining;
            self.credits.wake_all(&mut self.wake);
            self.work = true;
        }
    }

    /// Stops all movement. Everyone who waits is told; what is queued or in flight stays so, to be counted.
    pub fn close(&mut self) {
        self.state = BufferState::Closed;
        self.credits.wake_all(&mut self.wake);
        self.fences.wake_all(&mut self.wake);
    }

    // ---- what can be seen ----

    /// Returns and forgets the level changes that happened since the last call, in order.
    pub fn crossings(&mut self) -> Vec<Crossing> {
        std::mem::take(&mut self.crossings)
    }

    /// Returns the queue size: accepted records not yet taken by a worker.
    pub const fn queued(&self) -> usize {
        self.queued
    }

    /// Returns how many records are taken and not yet settled.
    pub const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Returns records a second that were settled of late; none when nothing was written yet.
    pub fn drain_rate(&self) -> Option<f64> {
        self.drain_rate.per_second()
    }

    /// Returns one moment of the buffer.
    pub fn snapshot(&self, now: Duration) -> BufferSnapshot {
        let oldest = self.partitions.iter().filter_map(Partition::oldest_queued).min();
        let parked = self.partitions.iter().filter_map(|partition| partition.parked.as_ref());
        let snapshot = BufferSnapshot {
            state: self.state,
            capacity: self.config.capacity.get(),
            queued: self.queued,
            in_flight: self.in_flight,
            parked: parked.map(|lease| lease.records.len()).sum(),
            waiting: self.credits.waiting(),
            oldest_age: oldest.map(|oldest| now.saturating_sub(Duration::from_nanos(oldest))),
            drain_rate: self.drain_rate.per_second(),
            level: self.watermark.level(),
            counters: self.counters,
        };
        debug_assert_eq!(snapshot.residual(), 0, "the books do not balance: {snapshot:?}");
        snapshot
    }
}

#[cfg(test)]
mod tests;
