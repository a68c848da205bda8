//! Batches meet their end, or come back: stored, dead-lettered, tried again, narrowed down, parked.

use std::{sync::Arc, time::Duration};

use super::BoundedBuffer;
use crate::policy::queue::{
    contract::{BufferState, Isolated, LeaseId, Leased, Outcome, QueueEvent, Verdict},
    partition::{BatchSlice, InFlight, Partition, StoreProgress},
};

impl<T, W, R> BoundedBuffer<T, W, R> {
    /// Asks whether a batch may be written now. If not, the circuit opened meanwhile and the lease is back with the
    /// buffer.
    pub fn may_write(&mut self, lease: LeaseId) -> bool {
        let seen = self.seen;
        if self.breaker.is_closed() || self.probe == Some(lease) {
            return self.find(lease).map(|out| out.began = seen).is_some();
        }
        if let Some((index, mut out)) = self.end_lease(lease) {
            out.slice.forget_attempts();
            // It takes its turn with what was never a probe. Fresh records go on coming, and would always be before it.
            out.slice.probed = 0;
            self.put_back(index, out.slice);
        }
        false
    }

    /// Settles a lease: all its records are stored. Returns the records, to be dropped where no lock is held; none if
    /// this lease is not out (any more).
    pub fn settle_stored(&mut self, lease: LeaseId, now: Duration) -> Option<Arc<Vec<T>>> {
        let InFlight { slice, began, .. } = self.settle(lease, now, Outcome::Stored)?;
        self.counters.stored += slice.len() as u64;
        self.drain_rate.settle(slice.len());
        self.store_answers(began);
        Some(slice.records)
    }

    /// Settles a lease: all its records are in the dead-letter file. Returns the records, to be dropped where no lock is
    /// held; none if this lease is not out (any more).
    pub fn settle_dead_lettered(&mut self, lease: LeaseId, now: Duration) -> Option<Arc<Vec<T>>> {
        let InFlight { slice, .. } = self.settle(lease, now, Outcome::DeadLettered)?;
        self.counters.dead_lettered += slice.len() as u64;
        // Nothing is left that could be a probe. The next batch shows how the store is.
        if !self.breaker.is_closed() && self.state != BufferState::Closed && self.oldest_unsettled().is_none() {
            self.close_circuit();
        }
        Some(slice.records)
    }

    pub(super) fn settle(&mut self, lease: LeaseId, now: Duration, outcome: Outcome) -> Option<InFlight<T>> {
        let (index, out) = self.end_lease(lease)?;
        self.work |= self.partitions[index].asked;
        self.drain_rate.pass(now, true);
        self.in_flight -= out.slice.len();
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

    /// Takes in that a write of a lease, begun at `began`, failed transiently, and says what to do. `asked` is how long
    /// the store wants to be left alone.
    ///
    /// A strike is a failure with an answer of the store between it and the strike before: all failures of one outage are
    /// one strike. A batch is at fault at as many strikes as it has attempts, and three at least. So no outage costs a
    /// batch, nor does one that follows at once. Where nothing else is left that could prove more, the second strike has to
    /// do; and of a batch that was at fault, a part is if it fails twice more, since one of them must be.
    ///
    /// Any other failure may be the store's. The breaker is told, for an open circuit lets others be the probe, and one of
    /// them will show who is at fault. It is not told of what failed its probe, until that runs out of attempts too.
    pub fn write_failed(&mut self, lease: LeaseId, began: Duration, now: Duration, asked: Option<Duration>) -> Verdict {
        self.seen.failures += 1;
        let (number, max_attempts) = (self.seen.failures, self.config.max_attempts.get());
        let Some(out) = self.find(lease) else { return Verdict::Parked };
        out.slice.failed(number, out.began);
        out.slice.rests_until = asked.map_or(Duration::ZERO, |asked| now.saturating_add(asked));
        let BatchSlice { attempts, excused, strikes, counts, of_guilty, .. } = out.slice;
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
        let Some(InFlight { slice, .. }) = self.find(lease) else { return Verdict::Parked };
        slice.excused = slice.excused.saturating_add(1);
        slice.rests_until = asked.map_or(Duration::ZERO, |asked| now.saturating_add(asked));
        let failures = slice.attempts.saturating_add(slice.excused);
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
        let InFlight { slice, .. } = self.find(lease)?;
        let attempts = slice.attempts.max(slice.strikes).max(1);
        // Without a breaker the attempts alone decide, and prove nothing.
        let is_proven = !answered && slice.strikes > 1;
        let Some(mut second) = slice.split() else { return Some(Isolated::Alone { attempts }) };
        (slice.of_guilty, second.of_guilty) = (is_proven, is_proven);
        slice.forget_attempts();
        second.forget_attempts();
        let (records, range) = (Arc::clone(&slice.records), slice.range.clone());
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
        self.put_back(index, out.slice);
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

    /// Puts a probe that failed back, in halves, so that a record at fault does not spoil every probe of a batch; its
    /// further failures say nothing about the store.
    pub(super) fn probe_failed(&mut self, lease: LeaseId, now: Duration, asked: Option<Duration>) {
        self.breaker.probe_failed(now, asked);
        if let Some((index, InFlight { mut slice, .. })) = self.end_lease(lease) {
            slice.counts = false;
            if let Some(second) = slice.split() {
                self.put_back(index, second);
            }
            self.put_back(index, slice);
        }
        self.work = true;
    }

    pub(super) fn put_back(&mut self, index: usize, slice: BatchSlice<T>) {
        let partition = &mut self.partitions[index];
        partition.park(slice);
        self.work |= partition.asked;
    }

    /// The store is there: it answered a write that began then. A closed circuit counts from 0 again, an open one closes.
    pub(super) fn store_answers(&mut self, began: StoreProgress) {
        let was_closed = self.breaker.is_closed();
        self.breaker.succeeded();
        self.seen.outlived = self.seen.outlived.max(began.failures);
        if !was_closed {
            self.close_circuit();
        }
    }

    pub(super) fn close_circuit(&mut self) {
        self.breaker.succeeded();
        self.probe = None;
        // How often a batch was a probe says how long the outage was. All of that is one failure.
        for slice in self.partitions.iter_mut().flat_map(Partition::slices_mut) {
            slice.attempts = slice.attempts.min(1);
        }
        self.events.push(QueueEvent::CircuitClosed { size: self.queued, drain_rate: self.drain_rate.per_second() });
        self.work = true;
    }

    pub(super) fn tell_if_opened(&mut self, now: Duration) {
        if let Some(at) = self.breaker.probe_at() {
            // Some may sleep through the whole outage before their next write.
            self.partitions.iter_mut().filter_map(|partition| partition.lease.as_mut()).for_each(|out| {
                out.slice.forget_attempts();
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
    pub(super) fn is_all_that_is_left(&self, lease: LeaseId) -> bool {
        let mut slices = self.partitions.iter().flat_map(Partition::slices);
        let out = self.partition_of(lease).and_then(|index| self.partitions[index].lease.as_ref());
        self.queued == 0 && out.is_some_and(|out| slices.all(|other| Arc::ptr_eq(&other.records, &out.slice.records)))
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
}
