//! What handles, queue, workers and coordinator share: the buffer under its lock, and who is to be told.

use std::{
    hash::BuildHasher,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    task::Waker,
    time::Duration,
};

use actix::Recipient;
use parking_lot::Mutex;
use tokio::{
    sync::{self, watch},
    time::Instant,
};

use super::{
    config::CoordinatorConfig,
    dead_lettering::DeadLetterNotice,
    fault::Faults,
    health::{Health, PartitionHealth},
    messages::Wake,
    receipt::{ReceiptSender, ReplayOutcome},
};
use crate::{
    policy::{
        BoundedBuffer, BufferConfig, BufferSnapshot, ConflationKey, LeaseId, Level, Load, Overflow, PartitionSnapshot,
        Placement, Refusal, most_of_a_partition, time_to_recover,
    },
    record::{Invalid, Record, is_first_without_vendor},
    text::panicked,
};

/// How often a closed buffer is looked at for batches that are still out.
const LOOK: Duration = Duration::from_millis(10);

/// The buffer as it is used here: a waiter is a task, a receipt the sending half of a [`Receipt`](super::Receipt).
pub(super) type Buffer<T> = BoundedBuffer<T, Waker, ReceiptSender>;

pub(super) struct Shared<T> {
    pub(super) config: CoordinatorConfig,
    buffer: Mutex<Buffer<T>>,
    /// Where the buffer's times count from. Tokio's clock, so that a paused one pauses everything.
    origin: Instant,
    /// The queue's actor. Before it has started it need not be woken: it begins with a look at the buffer.
    queue: OnceLock<Recipient<Wake>>,
    level: AtomicU8,
    /// What the store said last in each partition, unless a batch of it was settled since.
    last_errors: Vec<LastError>,
    dead_letter_notice: Mutex<DeadLetterNotice>,
    /// Changes when a shutdown begins.
    expedited: watch::Sender<()>,
    /// Held by what makes dead letters of the rest at the deadline: one at a time, or two would make the same twice.
    pub(super) aborting: sync::Mutex<()>,
    pub(super) faults: Faults,
    /// It was looked whether to tell that records have no vendor.
    vendor_is_told: AtomicBool,
}

impl<T: Record> Shared<T> {
    pub(super) fn new(config: CoordinatorConfig) -> Self {
        let buffer_config = BufferConfig {
            capacity: config.capacity,
            capacity_bytes: config.capacity_bytes,
            partitions: config.workers,
            batch_size: config.batch_size,
            flush_interval: config.flush_interval,
            overflow: config.overflow,
            watermarks: config.watermarks,
            breaker: config.breaker,
            slow_after: config.slow_after,
            max_strikes: config.retry.max_attempts,
        };
        let last_errors = (0..config.workers.get()).map(|_| LastError::default()).collect();
        let faults = Faults::new(config.workers.get());
        Self {
            config,
            buffer: Mutex::new(BoundedBuffer::new(buffer_config)),
            origin: Instant::now(),
            queue: OnceLock::new(),
            level: AtomicU8::new(Level::Ok.as_number()),
            last_errors,
            dead_letter_notice: Mutex::default(),
            expedited: watch::Sender::new(()),
            aborting: sync::Mutex::new(()),
            faults,
            vendor_is_told: AtomicBool::new(false),
        }
    }
}

impl<T: Record> Shared<T> {
    /// Checks a record that is submitted. Of the first of its kind without a vendor it is told.
    ///
    /// # Errors
    /// As the record says.
    #[inline]
    pub(super) fn validate(&self, record: &mut T) -> Result<(), Invalid> {
        record.validate()?;
        if record.lacks_vendor() && !self.vendor_is_told.load(Ordering::Relaxed) {
            self.tell_of_vendor();
        }
        Ok(())
    }

    #[cold]
    fn tell_of_vendor(&self) {
        if !self.vendor_is_told.swap(true, Ordering::Relaxed) && is_first_without_vendor(T::KIND) {
            tracing::warn!(
                coordinator_id = &*self.config.id,
                kind = T::KIND,
                "records without a vendor are stored as those of `unknown`: set their `vendor`, which is a part of the key, so \
                 that those of two vendors are not taken for updates of each other"
            );
        }
    }

    /// Returns where a record belongs and what it takes up.
    ///
    /// # Errors
    /// Unless the queue can ever have room for it.
    #[inline]
    pub(super) fn load_of(&self, record: &T) -> Result<Load, Refusal> {
        let partition = self.partition_of(record.partition_key());
        let Some(most) = self.most_bytes() else { return Ok(partition.into()) };
        let bytes = record.size();
        if bytes > most { Err(Refusal::TooLarge { bytes, most }) } else { Ok(Load { partition, bytes }) }
    }

    /// Returns where a record belongs, and whose place it takes in a full queue.
    ///
    /// # Errors
    /// As [`load_of`](Self::load_of).
    #[inline]
    pub(super) fn placement_of(&self, record: &T) -> Result<Placement, Refusal> {
        Ok(Placement { load: self.load_of(record)?, key: self.key_of(record) })
    }

    /// Returns whose place a record takes in a full queue, where the strategy asks for it.
    #[inline]
    pub(super) fn key_of(&self, record: &T) -> Option<ConflationKey> {
        (self.config.overflow == Overflow::Conflate).then(|| record.conflation_key())
    }

    /// Returns how the buffer is, and each partition. Level, reason and numbers of events are the coordinator's to fill
    /// in.
    pub(super) fn health(&self) -> Health {
        let now = self.now();
        let (snapshot, partitions) = self.with(|buffer| (buffer.snapshot(now), buffer.partitions(now)));
        let mut health = Health::of_buffer(&self.config.id, snapshot);
        // Outside the lock: a partition key is the embedder's code.
        let key = |(records, at): (Arc<Vec<T>>, usize)| {
            panicked::catch(|| records.get(at).map(|record| record.partition_key().to_owned())).ok().flatten()
        };
        let of = |(index, partition): (usize, PartitionSnapshot<T>)| PartitionHealth {
            queued: partition.queued,
            in_flight: partition.in_flight,
            waiting: partition.waiting,
            oldest_age: partition.oldest_age,
            oldest_key: partition.oldest.and_then(key),
            overdue_for: partition.overdue_since.map(|since| now.saturating_sub(since)),
            last_error: self.last_error_of(index),
        };
        health.partitions = partitions.into_iter().enumerate().map(of).collect();
        // What the store said last, unless a partition became silent after that.
        let (said_at, said) = self.newest_error().unzip();
        let is_later = |silent: Duration| said_at.is_none_or(|at| now.saturating_sub(silent) > at);
        let overdue = health.partitions.iter().enumerate().filter(|(_, it)| it.overdue_for.is_some_and(is_later));
        let longest = overdue.max_by_key(|(_, partition)| partition.overdue_for);
        health.last_error = longest.and_then(|(index, partition)| partition.silence(index)).or(said);
        health
    }
}

impl<T> Shared<T> {
    pub(super) fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    /// Does something under the lock, and what follows from it after the lock is gone: a waker, be it woken or dropped,
    /// a mailbox, and a record's methods and destructor may run anything, and must not run it in here.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Buffer<T>) -> R) -> R {
        let mut buffer = self.buffer.lock();
        let result = act(&mut buffer);
        let effects = buffer.effects();
        drop(buffer);
        if let Some(effects) = effects {
            if effects.wake_queue
                && let Some(queue) = self.queue.get()
            {
                queue.do_send(Wake);
            }
            for (receipt, outcome) in effects.outcomes {
                self.wake(|| receipt.tell(outcome));
            }
            for waker in effects.wake {
                self.wake(|| waker.wake());
            }
        }
        result
    }

    /// Wakes one waiter. A waker is foreign code, and one that panics must not keep the others asleep.
    fn wake(&self, wake: impl FnOnce()) {
        if let Err(message) = panicked::catch(wake) {
            tracing::error!(
                coordinator_id = &*self.config.id,
                message,
                "what waits for the queue panicked as it was woken"
            );
        }
    }

    pub(super) fn set_queue(&self, queue: Recipient<Wake>) {
        // A second queue never starts over the same buffer.
        let _ = self.queue.set(queue);
    }

    /// Returns the most bytes that one record may have; none where they are not bounded.
    pub(super) fn most_bytes(&self) -> Option<usize> {
        self.config.capacity_bytes.map(|bytes| most_of_a_partition(bytes.get(), self.config.workers.get()))
    }

    /// Chooses the partition whose records stay in order with this key's.
    #[inline]
    pub(super) fn partition_of(&self, key: &str) -> usize {
        let workers = self.config.workers.get() as u64;
        if workers == 1 {
            return 0;
        }
        // A remainder would cost more than the hash: the upper half of the hash, as a fraction, scales to the workers.
        (((foldhash::fast::FixedState::default().hash_one(key) >> 32) * workers) >> 32) as usize
    }

    pub(super) fn level(&self) -> Level {
        match self.level.load(Ordering::Acquire) {
            0 => Level::Ok,
            1 => Level::Soft,
            _ => Level::Hard,
        }
    }

    pub(super) fn set_level(&self, level: Level) {
        self.level.store(level.as_number(), Ordering::Release);
    }

    /// Notes what the store says while it does not take a batch of a partition, or that one is settled.
    pub(super) fn set_last_error(&self, partition: usize, error: Option<String>) {
        let last = &self.last_errors[partition];
        // Looked at with every batch that is stored, so without the lock. Only the partition's one worker changes it.
        if error.is_some() || last.is_some.load(Ordering::Acquire) {
            last.is_some.store(error.is_some(), Ordering::Release);
            *last.error.lock() = error.map(|error| (self.now(), Arc::from(error)));
        }
    }

    /// Returns what the store said last in a partition, unless a batch of it was settled since.
    pub(super) fn last_error_of(&self, partition: usize) -> Option<Arc<str>> {
        self.last_errors[partition].error.lock().as_ref().map(|(_, error)| Arc::clone(error))
    }

    /// Returns the newest of what the store said last in each partition.
    pub(super) fn last_error(&self) -> Option<Arc<str>> {
        self.newest_error().map(|(_, error)| error)
    }

    /// Returns the newest of what the store said last in each partition, and when it said so.
    fn newest_error(&self) -> Option<(Duration, Arc<str>)> {
        let errors = self.last_errors.iter().filter_map(|last| last.error.lock().clone());
        errors.max_by_key(|(at, _)| *at)
    }

    /// Takes in that one more record is a dead letter, for the next line of the log.
    pub(super) fn count_dead_letter(&self, error: &str) {
        self.dead_letter_notice.lock().count(error);
        self.tell_dead_letters(false);
    }

    /// Logs how many records became dead letters since the last line: once a second, or at the end.
    pub(super) fn tell_dead_letters(&self, at_end: bool) {
        let due = {
            let mut notice = self.dead_letter_notice.lock();
            if at_end { notice.rest() } else { notice.due(self.now()) }
        };
        if let Some((records, error)) = due {
            let id = &*self.config.id;
            tracing::warn!(coordinator_id = id, records, error = &*error, "records were given up and are dead letters");
        }
    }

    pub(super) fn snapshot(&self) -> BufferSnapshot {
        self.with(|buffer| buffer.snapshot(self.now()))
    }

    /// Counts what was handed back, and returns when it is worth trying again.
    pub(super) fn reject(&self, refusal: &Refusal, records: usize) -> Option<Duration> {
        let now = self.now();
        self.with(|buffer| {
            buffer.count_rejected(refusal, records);
            let wait = || time_to_recover(buffer.excess(), buffer.drain_rate(now));
            match refusal {
                Refusal::Full | Refusal::PartitionFull { .. } => wait(),
                Refusal::CircuitOpen => buffer.probe_in(now),
                Refusal::Draining
                | Refusal::Closed
                | Refusal::OtherPartition { .. }
                | Refusal::TooLarge { .. }
                | Refusal::Invalid(_) => None,
            }
        })
    }

    /// Keeps a receipt for the record that was accepted last.
    pub(super) fn keep(buffer: &mut Buffer<T>, receipt: ReceiptSender) {
        if receipt.is_replay {
            buffer.mark_replay();
        }
        buffer.keep_receipts([receipt].into_iter());
    }

    /// Returns of each record of a lease whether it is a dead letter already.
    pub(super) fn replays(&self, lease: LeaseId) -> Vec<bool> {
        self.with(|buffer| buffer.replays(lease).0)
    }

    /// Tells the replay of the one record of a lease why it is given up, if it is a dead letter already; then it
    /// needs no other. Returns whether it is.
    pub(super) fn refuse_replay(&self, lease: LeaseId, error: &str, attempts: u32) -> bool {
        self.with(|buffer| {
            let (replays, receipt) = buffer.replays(lease);
            // Of a lease that was taken away at the deadline the coordinator sees to the record.
            let is_replay = replays != [false];
            if let Some(receipt) = receipt.filter(|_| is_replay) {
                let refused = ReplayOutcome::Refused { error: error.to_owned(), attempts };
                receipt.refusal = Some(Box::new(refused));
            }
            is_replay
        })
    }

    /// Ends every wait before the next try of a write: the deadline of a shutdown may come first.
    pub(super) fn expedite(&self) {
        self.with(|buffer| buffer.expedite());
        self.expedited.send_replace(());
    }

    /// Returns a delay that the beginning of a shutdown ends early. Taken before it is known that one is needed, so
    /// that no shutdown falls between the two.
    pub(super) fn delay(&self) -> InterruptibleDelay {
        InterruptibleDelay(self.expedited.subscribe())
    }

    pub(super) fn park(&self, lease: LeaseId) {
        let now = self.now();
        self.with(|buffer| buffer.park(lease, now));
    }

    /// Waits until no worker has a batch any more. For a buffer that is closed while they write: nothing is handed out
    /// any more, and no waiter is told of what is settled, so this looks now and then.
    pub(super) async fn batches_are_back(&self) {
        while self.with(|buffer| buffer.is_out()) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends all movement. What waits hears of it, for the outcome of a record too.
    pub(super) fn close(&self) {
        self.with(|buffer| {
            buffer.close();
            buffer.lose_receipts();
        });
    }
}

/// What the store said last in one partition.
#[derive(Default)]
struct LastError {
    is_some: AtomicBool,
    error: Mutex<Option<(Duration, Arc<str>)>>,
}

/// A wait before the next try.
pub(super) struct InterruptibleDelay(watch::Receiver<()>);

impl InterruptibleDelay {
    /// Waits so long, or until the end comes near.
    pub(super) async fn wait(mut self, wait: Duration) {
        // An error would mean that the store is gone, and this with it.
        let _ = tokio::time::timeout(wait, self.0.changed()).await;
    }
}
