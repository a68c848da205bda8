//! The bounded queue itself: partitions, credits, overflow, watermark, leases and counters, under one lock of the
//! caller's.
//!
//! Everything that has to be exact is decided here, in one place and in one order. The caller brings records, the time
//! and wakers, and carries out what [`BoundedBuffer::effects`] asks for once it has let go of its lock.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    contract::{
        BufferConfig, BufferSnapshot, BufferState, Counters, Crossing, DropReason, Effects, Isolated, LeaseId, Leased,
        Outcome, Overflow, QueueEvent, Unknown, Verdict,
    },
    credits::Credits,
    flush::{FlushBarriers, FlushId},
    partition::{BatchSlice, InFlight, NextProbe, Partition, Probe, StoreProgress},
    refusal::Refusal,
};
use crate::policy::{
    failure::CircuitBreaker,
    level::{DrainRate, Watermark},
    wait_queue::{Claim, Ticket},
};

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
    /// What has been seen of the store so far.
    seen: StoreProgress,
    events: Vec<QueueEvent>,
    counters: Counters,
    drain_rate: DrainRate,
    last_sequence: u64,
    next_lease: u64,
    /// Where the search for a partition that is ready begins, so that none is always last.
    first: usize,
    /// By the sequences of their records.
    receipts: HashMap<u64, R, foldhash::fast::FixedState>,
    /// The sequences of records that are dead replays already.
    replays: HashSet<u64, foldhash::fast::FixedState>,
    /// What was taken back from everybody at the end, to be given up.
    abandoned: HashMap<LeaseId, (usize, InFlight<T>), foldhash::fast::FixedState>,
    wake: Vec<W>,
    /// Wakers that are not needed any more.
    spent: Vec<W>,
    outcomes: Vec<(R, Outcome)>,
    lost: Vec<R>,
    evicted: Vec<T>,
    /// Something changed that whoever hands out batches has to look at.
    work: bool,
    /// It has been told and has not come yet.
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
            credits: Credits::new(config.capacity.get()),
            flush_barriers: FlushBarriers::default(),
            watermark: Watermark::new(config.watermarks),
            breaker: CircuitBreaker::new(config.breaker),
            probe: None,
            probes: 0,
            seen: StoreProgress::default(),
            events: Vec::new(),
            counters: Counters::default(),
            drain_rate: DrainRate::default(),
            last_sequence: 0,
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
        let nobody = self.wake.is_empty() && self.outcomes.is_empty() && self.lost.is_empty();
        if !wake_queue && nobody && self.spent.is_empty() && self.evicted.is_empty() {
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

    // ---- records come in ----

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
        // Whoever keeps the clock has to hear of a deadline that may be earlier than what it waits for.
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

    /// Gives back a waker that is not needed, to be dropped where it harms nobody.
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
        let sequences = out.segment.sequences();
        let replays = sequences.iter().map(|sequence| self.replays.contains(sequence)).collect();
        (replays, sequences.first().and_then(|first| self.receipts.get_mut(first)))
    }

    /// Returns why a record finds no credit.
    pub const fn full(&self) -> Refusal {
        if self.breaker.is_closed() { Refusal::Full } else { Refusal::CircuitOpen }
    }

    /// Out of credits, even a short batch is handed out at once.
    fn look_out_of_credits(&mut self) {
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

    fn check_open(&self) -> Result<(), Refusal> {
        match self.state {
            BufferState::Open => Ok(()),
            BufferState::Draining => Err(Refusal::Draining),
            BufferState::Closed => Err(Refusal::Closed),
        }
    }

    /// Takes up to `want` credits, by eviction if need be.
    fn credits_for(&mut self, want: usize) -> Result<usize, Refusal> {
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

    fn observe(&mut self, now: Duration) {
        if let Some(level) = self.watermark.observe(self.queued) {
            let crossing = Crossing { level, size: self.queued, drain_rate: self.drain_rate(now) };
            self.events.push(QueueEvent::Level(crossing));
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
        self.work |= leased.is_none() && self.partitions[partition].has_work();
        leased
    }

    /// Hands out a batch to every worker that asked and whose partition is ready: parked, full, waiting for
    /// [`flush_interval`](BufferConfig::flush_interval), out of credits, before a flush, or draining. While the circuit
    /// is open nothing is, but for one probe when it is due.
    ///
    /// Whoever is wake_pending for calls this: from then on it is wake_pending for again.
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

    fn hand_out_one(&mut self, index: usize, now: Duration) -> Option<Leased<T>> {
        let partition = &self.partitions[index];
        if !self.breaker.is_closed() || !partition.waits_for_batch() || !self.is_ready(index, now) {
            return None;
        }
        let segment = match self.partitions[index].pop_parked() {
            Some(parked) => parked,
            None => self.take_batch(index, self.config.batch_size.get(), now)?,
        };
        Some(self.lease(index, segment, now))
    }

    /// Returns whether the probe of an open circuit may go out.
    fn probe_is_due(&self, now: Duration) -> bool {
        self.state != BufferState::Closed && self.breaker.probe_at().is_some_and(|at| now >= at)
    }

    /// Hands out the one probe of an open circuit, when it is due and [nothing is unknown](Self::unknown) that has a say
    /// in it. Probes rotate over whatever may go without overtaking an update: what was never one first, then what was
    /// one longest ago.
    fn hand_out_probe(&mut self, now: Duration) -> Option<Leased<T>> {
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
        let mut segment = match probe {
            Probe::Parked { at, most } => self.partitions[index].take_parked(at, most)?,
            Probe::Queued => self.take_batch(index, self.config.batch_size.get(), now)?,
        };
        self.probes += 1;
        segment.probed = self.probes;
        let leased = self.lease(index, segment, now);
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
            unknown.extend(self.partitions[index].unknown().map(|segment| Unknown {
                partition: index,
                first: segment.sequences()[0],
                records: Arc::clone(&segment.records),
                range: segment.range.clone(),
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
    fn take_batch(&mut self, index: usize, most: usize, now: Duration) -> Option<BatchSlice<T>> {
        let batch = self.partitions[index].pop_batch(most)?;
        // Time that passed with nothing taken was idle.
        self.drain_rate.pass(now, self.in_flight > 0);
        self.queued -= batch.len();
        self.in_flight += batch.len();
        self.credits.release(batch.len(), &mut self.wake);
        Some(batch)
    }

    fn lease(&mut self, index: usize, segment: BatchSlice<T>, now: Duration) -> Leased<T> {
        let id = LeaseId(self.next_lease);
        self.next_lease += 1;
        let leased =
            Leased { id, partition: index, records: Arc::clone(&segment.records), range: segment.range.clone() };
        let partition = &mut self.partitions[index];
        partition.lease = Some(InFlight { id, segment, began: self.seen });
        partition.asked = false;
        self.observe(now);
        leased
    }

    fn is_ready(&self, index: usize, now: Duration) -> bool {
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

    // ---- batches meet their end, or come back ----

    /// Asks whether a batch may be written now. If not, the circuit opened meanwhile and the lease is back with the
    /// buffer.
    pub fn may_write(&mut self, lease: LeaseId) -> bool {
        let seen = self.seen;
        if self.breaker.is_closed() || self.probe == Some(lease) {
            return self.find(lease).map(|out| out.began = seen).is_some();
        }
        if let Some((index, mut out)) = self.end_lease(lease) {
            out.segment.forget_attempts();
            // It takes its turn with what was never a probe. Fresh records go on coming, and would always be before it.
            out.segment.probed = 0;
            self.put_back(index, out.segment);
        }
        false
    }

    /// Settles a lease: all its records are stored. Returns the records, to be dropped where it harms nobody; none if
    /// this lease is not out (any more).
    pub fn settle_stored(&mut self, lease: LeaseId, now: Duration) -> Option<Arc<Vec<T>>> {
        let InFlight { segment, began, .. } = self.settle(lease, now, Outcome::Stored)?;
        self.counters.stored += segment.len() as u64;
        self.drain_rate.settle(segment.len());
        self.store_answers(began);
        Some(segment.records)
    }

    /// Settles a lease: all its records are in the dead-letter file. Returns the records, to be dropped where it harms
    /// nobody; none if this lease is not out (any more).
    pub fn settle_dead_lettered(&mut self, lease: LeaseId, now: Duration) -> Option<Arc<Vec<T>>> {
        let InFlight { segment, .. } = self.settle(lease, now, Outcome::DeadLettered)?;
        self.counters.dead_lettered += segment.len() as u64;
        // Nothing is left that could be a probe. The next batch shows how the store is.
        if !self.breaker.is_closed() && self.state != BufferState::Closed && self.oldest_unsettled().is_none() {
            self.close_circuit();
        }
        Some(segment.records)
    }

    fn settle(&mut self, lease: LeaseId, now: Duration, outcome: Outcome) -> Option<InFlight<T>> {
        let (index, out) = self.end_lease(lease)?;
        self.work |= self.partitions[index].asked;
        self.drain_rate.pass(now, true);
        self.in_flight -= out.segment.len();
        if !self.receipts.is_empty() {
            let receipts = out.segment.sequences().iter().filter_map(|sequence| self.receipts.remove(sequence));
            self.outcomes.extend(receipts.map(|receipt| (receipt, outcome)));
        }
        if !self.replays.is_empty() {
            out.segment.sequences().iter().for_each(|sequence| _ = self.replays.remove(sequence));
        }
        self.pass_flush_barriers();
        Some(out)
    }

    /// Takes in that a write of a lease, begun at `began`, failed transiently, and says what to do. `asked` is how long
    /// the store wants to be left alone.
    ///
    /// A batch is at fault if it failed as many strikes as it has attempts, and three strikes at least, with the store there
    /// between any two of them: what fails in one outage is one time. So no outage costs a batch, nor does one that follows
    /// at once. Where nothing else is left that could prove more, the second time has to do; and of a batch that was at
    /// fault, a part is if it fails twice more, since one of them must be.
    ///
    /// Any other failure may be the store's. The breaker is told, for an open circuit lets others be the probe, and one of
    /// them will show who is at fault. It is not told of what failed its probe, until that runs out of attempts too.
    pub fn write_failed(&mut self, lease: LeaseId, began: Duration, now: Duration, asked: Option<Duration>) -> Verdict {
        self.seen.failures += 1;
        let (number, max_attempts) = (self.seen.failures, self.config.max_attempts.get());
        let Some(out) = self.find(lease) else { return Verdict::Parked };
        out.segment.failed(number, out.began);
        out.segment.rests_until = asked.map_or(Duration::ZERO, |asked| now.saturating_add(asked));
        let BatchSlice { attempts, excused, strikes, counts, of_guilty, .. } = out.segment;
        let exhausted = attempts >= max_attempts;
        let enough = if of_guilty { 3 } else { max_attempts.max(3) };
        let is_at_fault = strikes >= enough || (exhausted && strikes > 1 && self.is_all_that_is_left(lease));
        let counts = !is_at_fault && (counts || exhausted);
        if self.probe == Some(lease) {
            self.probe_failed(lease, now, asked);
            return Verdict::Parked;
        }
        if counts && self.breaker.is_closed() {
            self.breaker.failed(began, now, asked);
            self.tell_if_opened(now);
        }
        if !self.breaker.is_closed() {
            self.may_write(lease);
            return Verdict::Parked;
        }
        if is_at_fault || (exhausted && !self.breaker.can_open()) {
            return Verdict::GiveUp;
        }
        Verdict::Retry { failures: attempts.saturating_add(excused) }
    }

    /// Takes in that a write of a lease, begun at `began`, failed for what is surely the store's fault, and says what to
    /// do: as [`write_failed`](Self::write_failed), but it is counted for the breaker alone, and never a reason to give
    /// the batch up.
    pub fn store_failed(&mut self, lease: LeaseId, began: Duration, now: Duration, asked: Option<Duration>) -> Verdict {
        let Some(InFlight { segment, .. }) = self.find(lease) else { return Verdict::Parked };
        segment.excused = segment.excused.saturating_add(1);
        segment.rests_until = asked.map_or(Duration::ZERO, |asked| now.saturating_add(asked));
        let failures = segment.attempts.saturating_add(segment.excused);
        if self.probe == Some(lease) {
            self.probe_failed(lease, now, asked);
            return Verdict::Parked;
        }
        if self.breaker.is_closed() {
            self.breaker.failed(began, now, asked);
            self.tell_if_opened(now);
        }
        if !self.breaker.is_closed() {
            self.may_write(lease);
            return Verdict::Parked;
        }
        Verdict::Retry { failures }
    }

    /// Takes in that a batch is given up, and narrows it down: halves are written on their own until the record at fault
    /// stands alone. `answered` says that the store itself refused it, which proves that the store is there. None if the
    /// lease is not out any more.
    pub fn isolate(&mut self, lease: LeaseId, answered: bool) -> Option<Isolated<T>> {
        let began = self.find(lease)?.began;
        if answered {
            self.store_answers(began);
        }
        let InFlight { segment, .. } = self.find(lease)?;
        let attempts = segment.attempts.max(segment.strikes).max(1);
        // Without a breaker the attempts alone decide, and prove nothing.
        let is_proven = !answered && segment.strikes > 1;
        let Some(mut second) = segment.split() else { return Some(Isolated::Alone { attempts }) };
        (segment.of_guilty, second.of_guilty) = (is_proven, is_proven);
        segment.forget_attempts();
        second.forget_attempts();
        let (records, range) = (Arc::clone(&segment.records), segment.range.clone());
        let index = self.partition_of(lease)?;
        self.partitions[index].park(second);
        Some(Isolated::Half(Leased { id: lease, partition: index, records, range }))
    }

    /// Takes a lease back unsettled: its records go out again before anything else of their partition. A probe that
    /// comes back so has failed. Returns whether the lease was out.
    pub fn park(&mut self, lease: LeaseId, now: Duration) -> bool {
        if self.probe == Some(lease) {
            self.probe_failed(lease, now, None);
            return true;
        }
        let Some((index, out)) = self.end_lease(lease) else { return false };
        self.put_back(index, out.segment);
        true
    }

    /// Opens the circuit, whatever was counted. With nothing unsettled it stays closed: nothing could be the probe that
    /// closes it again, and producers that wait for that would wait for ever.
    pub fn open_circuit(&mut self, now: Duration) {
        if self.breaker.is_closed() && self.oldest_unsettled().is_some() {
            self.breaker.open(now, None);
            self.tell_if_opened(now);
        }
    }

    /// Puts a probe that failed back, in halves, so that a record at fault does not spoil every probe of a batch; its
    /// further failures say nothing about the store.
    fn probe_failed(&mut self, lease: LeaseId, now: Duration, asked: Option<Duration>) {
        self.breaker.probe_failed(now, asked);
        if let Some((index, InFlight { mut segment, .. })) = self.end_lease(lease) {
            segment.counts = false;
            if let Some(second) = segment.split() {
                self.put_back(index, second);
            }
            self.put_back(index, segment);
        }
        self.work = true;
    }

    fn put_back(&mut self, index: usize, segment: BatchSlice<T>) {
        let partition = &mut self.partitions[index];
        partition.park(segment);
        self.work |= partition.asked;
    }

    /// The store is there: it answered a write that began then. A closed circuit counts from 0 again, an open one closes.
    fn store_answers(&mut self, began: StoreProgress) {
        let was_closed = self.breaker.is_closed();
        self.breaker.succeeded();
        self.seen.outlived = self.seen.outlived.max(began.failures);
        if !was_closed {
            self.close_circuit();
        }
    }

    fn close_circuit(&mut self) {
        self.breaker.succeeded();
        self.probe = None;
        // How often a batch was a probe says how long the outage was. All of that is one failure.
        for segment in self.partitions.iter_mut().flat_map(Partition::segments_mut) {
            segment.attempts = segment.attempts.min(1);
        }
        self.events.push(QueueEvent::CircuitClosed { size: self.queued, drain_rate: self.drain_rate.per_second() });
        self.work = true;
    }

    fn tell_if_opened(&mut self, now: Duration) {
        if let Some(at) = self.breaker.probe_at() {
            // Some may sleep through the whole outage before their next write.
            self.partitions.iter_mut().filter_map(|partition| partition.lease.as_mut()).for_each(|out| {
                out.segment.forget_attempts();
            });
            self.events.push(QueueEvent::CircuitOpened {
                size: self.queued,
                drain_rate: self.drain_rate(now),
                probe_in: at.saturating_sub(now),
            });
            self.work = true;
        }
    }

    /// Returns whether nothing is unsettled but what is left of the batch that this lease is part of.
    fn is_all_that_is_left(&self, lease: LeaseId) -> bool {
        let mut segments = self.partitions.iter().flat_map(Partition::segments);
        let out = self.partition_of(lease).and_then(|index| self.partitions[index].lease.as_ref());
        self.queued == 0
            && out.is_some_and(|out| segments.all(|other| Arc::ptr_eq(&other.records, &out.segment.records)))
    }

    fn partition_of(&self, lease: LeaseId) -> Option<usize> {
        self.partitions.iter().position(|partition| partition.lease.as_ref().is_some_and(|out| out.id == lease))
    }

    fn find(&mut self, lease: LeaseId) -> Option<&mut InFlight<T>> {
        let index = self.partition_of(lease)?;
        self.partitions[index].lease.as_mut()
    }

    /// Takes a lease out of its partition, or from what was abandoned.
    fn end_lease(&mut self, lease: LeaseId) -> Option<(usize, InFlight<T>)> {
        if self.probe == Some(lease) {
            self.probe = None;
        }
        if let Some(index) = self.partition_of(lease) {
            return Some((index, self.partitions[index].lease.take()?));
        }
        self.abandoned.remove(&lease)
    }

    /// Returns the time at which a batch becomes ready or a waiter expires, if nothing else happens before.
    pub fn next_deadline(&self) -> Option<Duration> {
        let waiting = || {
            self.partitions.iter().filter(|partition| self.state != BufferState::Closed && partition.waits_for_batch())
        };
        let flush_interval = self.config.flush_interval;
        // What is parked is ready once it has rested, and goes before what is queued.
        let batch_at = |partition: &Partition<T>| match partition.has_parked() {
            true => Some(partition.rests_until()),
            false => partition.oldest_queued().map(|oldest| Duration::from_nanos(oldest) + flush_interval),
        };
        let batch = waiting().filter_map(batch_at).min().filter(|_| self.breaker.is_closed());
        let rested = waiting().filter(|partition| partition.has_work()).map(Partition::rests_until).min();
        let probe = self.breaker.probe_at().and_then(|at| Some(at.max(rested?)));
        batch.into_iter().chain(probe).chain(self.credits.next_deadline()).min()
    }

    /// Lets every waiter expire whose deadline is not after `now`.
    pub fn expire(&mut self, now: Duration) {
        self.credits.expire(now, &mut self.wake);
    }

    // ---- flush_barriers ----

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

    fn oldest_unsettled(&self) -> Option<u64> {
        let abandoned = self.abandoned.values().filter_map(|(_, out)| out.segment.oldest());
        self.partitions.iter().filter_map(Partition::oldest_unsettled).chain(abandoned).min()
    }

    fn pass_flush_barriers(&mut self) {
        if !self.flush_barriers.is_empty() {
            let oldest = self.oldest_unsettled();
            self.flush_barriers.pass(oldest, &mut self.wake);
        }
    }

    // ---- the end ----

    /// Lets nothing wait any longer for what is due later: not the next probe of an open circuit, nor what the store wants
    /// to be left alone with. For an end that may come before.
    pub fn expedite(&mut self) {
        self.breaker.expedite();
        for segment in self.partitions.iter_mut().flat_map(Partition::segments_mut) {
            segment.rests_until = Duration::ZERO;
        }
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

    /// Gives back every receipt that is still kept: nobody will ever know.
    pub fn lose_receipts(&mut self) {
        self.lost.extend(self.receipts.drain().map(|(_, receipt)| receipt));
    }

    /// Takes back everything unsettled from everybody, after [`close`](Self::close), as leases of the caller's: oldest
    /// first in each partition. Who held one before can settle it no more, a caller of this included that was cut off.
    pub fn abandon(&mut self) -> Vec<Leased<T>> {
        debug_assert_eq!(self.state, BufferState::Closed, "abandons while workers work");
        for (index, out) in std::mem::take(&mut self.abandoned).into_values() {
            self.partitions[index].park(out.segment);
        }
        let mut leased = Vec::new();
        for index in 0..self.partitions.len() {
            if let Some(out) = self.partitions[index].lease.take() {
                self.partitions[index].park(out.segment);
            }
            while let Some(batch) = self.partitions[index].pop_batch(self.config.batch_size.get()) {
                self.queued -= batch.len();
                self.in_flight += batch.len();
                self.partitions[index].park(batch);
            }
            while let Some(segment) = self.partitions[index].pop_parked() {
                let id = LeaseId(self.next_lease);
                self.next_lease += 1;
                let (records, range) = (Arc::clone(&segment.records), segment.range.clone());
                leased.push(Leased { id, partition: index, records, range });
                self.abandoned.insert(id, (index, InFlight { id, segment, began: self.seen }));
            }
        }
        leased
    }

    // ---- what can be seen ----

    /// Returns and forgets what happened since the last call, in order.
    pub fn events(&mut self) -> Vec<QueueEvent> {
        std::mem::take(&mut self.events)
    }

    /// Returns how long until the next probe of an open circuit; none when it is closed or a probe is out.
    pub fn probe_in(&self, now: Duration) -> Option<Duration> {
        self.breaker.probe_at().map(|at| at.saturating_sub(now))
    }

    /// Returns the queue size: accepted records not yet taken by a worker.
    pub const fn queued(&self) -> usize {
        self.queued
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
            queued: self.queued,
            in_flight: self.in_flight,
            parked: self.partitions.iter().map(Partition::parked_records).sum(),
            waiting: self.credits.waiting(),
            oldest_age: oldest.map(|oldest| now.saturating_sub(Duration::from_nanos(oldest))),
            drain_rate: self.drain_rate(now),
            level: self.watermark.level(),
            circuit: self.breaker.state(),
            probe_in: self.probe_in(now),
            counters: self.counters,
        };
        debug_assert_eq!(snapshot.residual(), 0, "the books do not balance: {snapshot:?}");
        snapshot
    }
}

#[cfg(test)]
mod bisect_tests;
#[cfg(test)]
mod failure_tests;
#[cfg(test)]
mod flapping_tests;
#[cfg(test)]
mod outage_tests;
#[cfg(test)]
mod tests;
