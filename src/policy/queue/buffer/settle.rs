//! Batches meet their end, or come back: stored, dead-lettered, tried again, narrowed down, parked.

use std::{sync::Arc, time::Duration};

use super::{BoundedBuffer, PART_STRIKES};
use crate::policy::{
    level::Level,
    queue::{
        contract::{BufferState, Isolated, LeaseId, Leased, Outcome, QueueAt, QueueEvent, Verdict, WriteFault},
        partition::{BatchSlice, InFlight, Partition},
    },
};

impl<T, W, R> BoundedBuffer<T, W, R> {
    /// Asks whether a batch may be written now. If not, the circuit opened meanwhile and the lease is back with the
    /// buffer.
    pub fn may_write(&mut self, lease: LeaseId) -> bool {
        if self.breaker.is_closed() || self.probe == Some(lease) {
            let (moment, answered) = (self.next_moment(), self.answered);
            let Some(out) = self.find(lease) else { return false };
            (out.began, out.answered_before) = (moment, answered > out.slice.struck_at);
            return true;
        }
        if let Some((index, out)) = self.end_lease(lease) {
            self.put_back(index, out.slice);
        }
        false
    }

    const fn next_moment(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    /// Settles a lease: all its records are stored. Returns the records, to be dropped where no lock is held; none if
    /// this lease is not out (any more).
    pub fn settle_stored(&mut self, lease: LeaseId, now: Duration) -> Option<Arc<Vec<T>>> {
        let InFlight { slice, began, .. } = self.settle(lease, now, Outcome::Stored)?;
        self.counters.stored += slice.len() as u64;
        self.drain_rate.settle(slice.len());
        self.store_answers(began, now);
        Some(slice.records)
    }

    /// Settles a lease: all its records are in the dead-letter file. Returns the records, to be dropped where no lock
    /// is held; none if this lease is not out (any more).
    pub fn settle_dead_lettered(&mut self, lease: LeaseId, now: Duration) -> Option<Arc<Vec<T>>> {
        let InFlight { slice, .. } = self.settle(lease, now, Outcome::DeadLettered)?;
        self.counters.dead_lettered += slice.len() as u64;
        // Nothing is left that could be a probe. The next batch shows how the store is.
        if !self.breaker.is_closed() && self.state != BufferState::Closed && self.oldest_unsettled().is_none() {
            self.close_circuit(now);
        }
        Some(slice.records)
    }

    pub(super) fn settle(&mut self, lease: LeaseId, now: Duration, outcome: Outcome) -> Option<InFlight<T>> {
        let (index, out) = self.end_lease(lease)?;
        self.work |= self.partitions[index].asked;
        self.partitions[index].rests_until = Duration::ZERO;
        (self.partitions[index].since, self.settled_at) = (now, now);
        self.work |= self.overdue != Level::Ok;
        self.drain_rate.pass(now, true);
        self.in_flight -= out.slice.len();
        if self.config.capacity_bytes.is_some() {
            self.credits.settle_bytes(index, out.slice.bytes(), &mut self.wake);
            self.observe(now);
        }
        if !self.receipts.is_empty() {
            let receipts = out.slice.sequences().iter().filter_map(|sequence| self.receipts.remove(sequence));
            self.outcomes.extend(receipts.map(|receipt| (receipt, outcome)));
        }
        if !self.replays.is_empty() {
            out.slice.sequences().iter().for_each(|sequence| _ = self.replays.remove(sequence));
        }
        self.pass_flush_barriers();
        Some(out)
    }

    /// Takes in that a write of a lease, begun at `began`, failed, and says what to do. `asked` is how long the store
    /// wants to be left alone.
    ///
    /// The first failure of a batch is a strike. A further one is a strike if, when its write began, the store had
    /// answered a write, or a [ping](Self::begin_ping), that began after the last strike: then it is not the same
    /// outage. A panic always is a strike, and what the sink calls an outage never is. Without a breaker every other
    /// failure is one. A batch with all its strikes is at fault.
    ///
    /// Any other failure may be the store's, and the breaker is told. A batch at fault can open the circuit so, but
    /// only a few times: what closes the circuit is an answer, and then the next failure is a strike, unless the answer
    /// is to a write that was under way at the last one.
    pub fn write_failed(
        &mut self,
        lease: LeaseId,
        fault: WriteFault,
        began: Duration,
        now: Duration,
        asked: Option<Duration>,
    ) -> Verdict {
        let (moment, can_open) = (self.next_moment(), self.breaker.can_open());
        let Some(index) = self.partition_of(lease) else { return Verdict::Parked };
        self.partitions[index].rests_until = asked.map_or(Duration::ZERO, |asked| now.saturating_add(asked));
        let Some(InFlight { slice, answered_before, .. }) = &mut self.partitions[index].lease else {
            return Verdict::Parked;
        };
        slice.failures = slice.failures.saturating_add(1);
        let is_strike = match fault {
            WriteFault::Transient => slice.struck_at == 0 || *answered_before || !can_open,
            WriteFault::Panic => true,
            WriteFault::Outage => false,
        };
        if is_strike {
            slice.strikes_left = slice.strikes_left.saturating_sub(1);
            slice.struck_at = moment;
        }
        let is_at_fault = is_strike && slice.strikes_left == 0;
        let failures = slice.failures;
        if self.probe == Some(lease) {
            self.probe_failed(now, asked);
        } else if !is_at_fault && self.breaker.is_closed() {
            self.breaker.failed(began, now, asked);
            self.tell_if_opened(now);
        }
        if is_at_fault {
            return Verdict::GiveUp;
        }
        if !self.breaker.is_closed() {
            self.may_write(lease);
            return Verdict::Parked;
        }
        Verdict::Retry { failures }
    }

    /// Returns the moment at which a ping of the store begins, if one is worth asking after a failed write of this
    /// partition: no other partition has a write under way or due, whose answer would say the same. While the circuit
    /// is not closed what is due is not written, and may be at fault as this is: then it does not count.
    ///
    /// None where there is no breaker: there every failure is a strike, whatever the store answers.
    pub fn begin_ping(&mut self, partition: usize, now: Duration) -> Option<u64> {
        let is_closed = self.breaker.is_closed();
        let is_writing =
            |index: usize| self.partitions[index].lease.is_some() || (is_closed && self.is_ready(index, now));
        let mut others = (0..self.partitions.len()).filter(|&index| index != partition);
        (self.breaker.can_open() && !others.any(is_writing)).then(|| self.next_moment())
    }

    /// Takes in that the store answered a ping that began at this moment: it is there. That is no write, so it closes
    /// no circuit.
    pub fn ping_answered(&mut self, began: u64) {
        self.answered = self.answered.max(began);
    }

    /// Takes in that a batch is given up, and narrows it down: halves are written on their own until the record at
    /// fault stands alone. `answered` says that the store itself refused it, which proves that the store is there. None
    /// if the lease is not out any more.
    ///
    /// A half of what was at fault by strikes is at fault at two, since one of the halves must be. A refusal proves
    /// nothing about later failures, so its halves have the strikes of a batch.
    pub fn isolate(&mut self, lease: LeaseId, answered: bool, now: Duration) -> Option<Isolated<T>> {
        let began = self.find(lease)?.began;
        if answered {
            self.store_answers(began, now);
        }
        let strikes = if answered { self.config.max_strikes.get().max(PART_STRIKES) } else { PART_STRIKES };
        let InFlight { slice, .. } = self.find(lease)?;
        slice.failures = slice.failures.saturating_add(u32::from(answered));
        let attempts = slice.failures;
        let Some(second) = slice.split(strikes) else { return Some(Isolated::Alone { attempts }) };
        let (records, range) = (Arc::clone(&slice.records), slice.range.clone());
        let index = self.partition_of(lease)?;
        self.partitions[index].park(second);
        Some(Isolated::Half(Leased { id: lease, partition: index, records, range }))
    }

    /// Takes a lease back unsettled: its records go out again before anything else of their partition. A probe that
    /// comes back so has failed. Returns whether the lease was out.
    pub fn park(&mut self, lease: LeaseId, now: Duration) -> bool {
        if self.probe == Some(lease) {
            self.probe_failed(now, None);
        }
        let Some((index, InFlight { slice, .. })) = self.end_lease(lease) else { return false };
        self.put_back(index, slice);
        true
    }

    /// Opens the circuit, whatever was counted. With nothing unsettled it stays closed: nothing could be the probe that
    /// closes it again, and producers that wait for that would wait without end.
    pub fn open_circuit(&mut self, now: Duration) {
        if self.breaker.is_closed() && self.oldest_unsettled().is_some() {
            self.breaker.open(now, None);
            self.tell_if_opened(now);
        }
    }

    fn probe_failed(&mut self, now: Duration, asked: Option<Duration>) {
        self.probe = None;
        self.breaker.probe_failed(now, asked);
        self.work = true;
    }

    pub(super) fn put_back(&mut self, index: usize, slice: BatchSlice<T>) {
        let partition = &mut self.partitions[index];
        partition.park(slice);
        self.work |= partition.asked;
    }

    /// The store is there: it answered a write that began then. A closed circuit counts from 0 again, an open one
    /// closes.
    fn store_answers(&mut self, began: u64, now: Duration) {
        self.answered = self.answered.max(began);
        if self.breaker.is_closed() {
            self.breaker.succeeded();
        } else {
            self.close_circuit(now);
        }
    }

    fn close_circuit(&mut self, now: Duration) {
        self.closed_at = now;
        self.breaker.succeeded();
        self.probe = None;
        self.events.push(QueueEvent::CircuitClosed {
            at: QueueAt { drain_rate: self.drain_rate.per_second(), ..self.queue_at(now) },
        });
        self.work = true;
    }

    fn tell_if_opened(&mut self, now: Duration) {
        if let Some(at) = self.breaker.probe_at() {
            self.events.push(QueueEvent::CircuitOpened { at: self.queue_at(now), probe_in: at.saturating_sub(now) });
            self.work = true;
        }
    }

    pub(super) fn partition_of(&self, lease: LeaseId) -> Option<usize> {
        self.partitions.iter().position(|partition| partition.lease.as_ref().is_some_and(|out| out.id == lease))
    }

    pub(super) fn find(&mut self, lease: LeaseId) -> Option<&mut InFlight<T>> {
        let index = self.partition_of(lease)?;
        self.partitions[index].lease.as_mut()
    }

    /// Takes a lease out of its partition, or from what was abandoned.
    pub(super) fn end_lease(&mut self, lease: LeaseId) -> Option<(usize, InFlight<T>)> {
        if self.probe == Some(lease) {
            self.probe = None;
        }
        if let Some(index) = self.partition_of(lease) {
            return Some((index, self.partitions[index].lease.take()?));
        }
        self.abandoned.remove(&lease)
    }

    /// Returns the time at which a batch becomes ready, a write becomes overdue, or a waiter expires, if
    /// nothing else happens before.
    pub fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let waiting = || {
            self.partitions.iter().filter(|partition| self.state != BufferState::Closed && partition.waits_for_batch())
        };
        let flush_interval = self.config.flush_interval;
        // What is parked is ready once it has rested, and goes before what is queued.
        let batch_at = |partition: &Partition<T>| match partition.has_parked() {
            true => Some(partition.rests_until),
            false => partition.oldest_queued().map(|oldest| Duration::from_nanos(oldest) + flush_interval),
        };
        let batch = waiting().filter_map(batch_at).min().filter(|_| self.breaker.is_closed());
        let rested = waiting().filter(|partition| partition.has_work()).map(|partition| partition.rests_until).min();
        let probe = self.breaker.probe_at().and_then(|at| Some(at.max(rested?)));
        let overdue = self.next_overdue(now);
        batch.into_iter().chain(probe).chain(overdue).chain(self.credits.next_deadline()).min()
    }

    /// Lets every waiter expire whose deadline is not after `now`.
    pub fn expire(&mut self, now: Duration) {
        if self.credits.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.credits.expire(now, &mut self.wake);
            self.observe(now);
        }
    }
}
