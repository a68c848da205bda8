//! What goes into the buffer and what comes out of it, in words.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::policy::{
    failure::{BreakerConfig, CircuitState},
    level::{Level, Watermarks},
};

/// What happens to a record that is submitted while no credit is free.
///
/// A feed of quotes that cannot pause, beside bars of which none may be lost:
///
/// ```
/// use market_data_store::{CoordinatorSettings, Overflow, Settings};
///
/// let settings = Settings::from_vars([("MDS_QUOTES_COORDINATOR_OVERFLOW_STRATEGY", "conflate")])?;
/// assert_eq!(settings.coordinator_settings("quotes").overflow, Overflow::Conflate);
/// assert_eq!(settings.coordinator_settings("bars").overflow, Overflow::Block);
///
/// // Or for a `Coordinator` in code: room for many more quotes than there are symbols.
/// let quotes = CoordinatorSettings::new(100_000).overflow(Overflow::Conflate);
/// # Ok::<(), market_data_store::SettingsError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overflow {
    /// The submitter waits for a credit, first come first served; for one that is its partition's alone it passes those
    /// of other partitions. Nothing is lost; the producer runs at the store's speed. Choose it for files, backfills,
    /// and feeds that can be paused.
    #[default]
    Block,
    /// The oldest records are evicted to make room, of the partitions that hold more than their share of the queue,
    /// each counted as dropped; a record that a worker has taken is never evicted. Where nothing that can go would make
    /// room, as where permits hold all places, the new record is refused. Choose it when only the latest matters and
    /// the producer cannot wait.
    DropOldest,
    /// The new record is refused and handed back; one that was accepted is never lost. Choose it when the producer has
    /// something better to do with the record, such as telling its own client to come back later.
    Error,
    /// The new record replaces the newest waiting one of the same [`ConflationKey`](super::ConflationKey) and partition,
    /// in its place and with its age; the one replaced counts as dropped. Where none waits, the oldest records are
    /// evicted as with [`DropOldest`](Self::DropOldest). What a worker has taken is never replaced, and while a place is
    /// free nothing is: then every record is kept.
    ///
    /// Lost are values that a newer one of the same key has made old, and by eviction others too: give the queue many
    /// more places than there are keys. Records of one key stay in order; of two keys in one partition the newer record
    /// can be stored first. Choose it for quotes and the like, where the newest value of each symbol has to arrive and
    /// what it was in between does not matter. A kind has to [allow](crate::Record::CONFLATES) it.
    Conflate,
}

impl Overflow {
    /// Returns whether waiting records can be evicted to make room.
    pub(crate) const fn evicts(self) -> bool {
        matches!(self, Self::DropOldest | Self::Conflate)
    }
}

/// The fixed properties of a [`BoundedBuffer`](super::BoundedBuffer).
#[derive(Clone, Copy, Debug)]
pub struct BufferConfig {
    /// The most records that the queue takes: the number of credits.
    pub capacity: NonZeroUsize,
    /// The most bytes that records which are accepted and not settled have; none: they are not counted.
    pub capacity_bytes: Option<NonZeroUsize>,
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
    /// When the circuit opens.
    pub breaker: BreakerConfig,
    /// A partition that has due work and settles nothing for so long is overdue.
    pub slow_after: Duration,
    /// At so many strikes a batch is at fault, and at no fewer than two.
    pub max_strikes: NonZeroU32,
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
pub struct LeaseId(pub(super) u64);

/// A batch handed out. The buffer keeps the records too until they are settled, so a worker that dies loses nothing.
#[derive(Debug)]
pub struct Leased<T> {
    /// What has to be settled or parked.
    pub id: LeaseId,
    /// Whose records they are.
    pub partition: usize,
    /// What holds the records, in the order in which they were accepted.
    pub records: Arc<Vec<T>>,
    /// Where in `records` the batch is.
    pub range: Range<usize>,
}

/// What a write that was not stored says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFault {
    /// Trying again can help. Batch or store may be at fault.
    Transient,
    /// The sink panicked.
    Panic,
    /// The sink says that the store is at fault.
    Outage,
}

/// What to do after a transient failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Wait, and write the batch again.
    Retry {
        /// Its failures so far, at least one.
        failures: u32,
    },
    /// Leave it: the lease is back with the buffer.
    Parked,
    /// Go on as if the sink had refused it for good: it is this batch that is at fault.
    GiveUp,
}

/// What to do after the sink refused a batch for good.
#[derive(Debug)]
pub enum Isolated<T> {
    /// Write this half of it, under the same lease. The other half comes next.
    Half(Leased<T>),
    /// It is a single record, and this was its last write.
    Alone {
        /// Writes that held it and failed.
        attempts: u32,
    },
}

/// What became of an accepted record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The sink has it, durably.
    Stored,
    /// The dead-letter file has it, durably. If a deadline cut it off, the store may have it as well.
    DeadLettered,
    /// It was given up unwritten.
    Dropped(DropReason),
}

/// Why a record was given up unwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DropReason {
    /// [`Overflow::DropOldest`] made room for a newer one, or [`Overflow::Conflate`] where no record of the same key
    /// waited.
    DropOldest,
    /// [`Overflow::Conflate`] put a newer one of the same conflation key in its place.
    Conflated,
}

/// Something that producers may have to hear of, in the order in which it happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum QueueEvent {
    /// The queue size crossed a mark.
    Level(Crossing),
    /// How far writes are overdue has changed.
    Overdue(Overdue),
    /// The circuit opened.
    CircuitOpened {
        /// The queue then.
        at: QueueAt,
        /// How long until the first probe.
        probe_in: Duration,
    },
    /// The circuit closed.
    CircuitClosed {
        /// The queue then.
        at: QueueAt,
    },
}

/// A level change that the queue size made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crossing {
    /// The level from now on.
    pub level: Level,
    /// The queue that made the change.
    pub at: QueueAt,
}

/// The queue at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct QueueAt {
    /// Places in use or reserved.
    pub size: usize,
    /// How full it is, of records or of bytes, whichever is more.
    pub utilization: f64,
    /// How many records have to go until it is at its low watermark.
    pub excess: usize,
    /// Records a second at that moment; none when nothing was written yet.
    pub drain_rate: Option<f64>,
}

/// How far writes are overdue from now on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overdue {
    /// Ok: none is. Soft: some are. Hard: no partition settles anything.
    pub level: Level,
    /// The partition that is overdue longest, and since when it has settled nothing; none at ok.
    pub longest: Option<(usize, Duration)>,
    /// The queue then.
    pub at: QueueAt,
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
    /// Given up unwritten for a newer one, for any [`DropReason`].
    pub dropped: u64,
    /// Those of `dropped` that were [conflated](DropReason::Conflated).
    pub conflated: u64,
    /// Refusal because no credit was free, whether the circuit was open or not. Not part of `submitted`.
    pub rejected_full: u64,
    /// Refusal because the coordinator was draining. Not part of `submitted`.
    pub rejected_draining: u64,
    /// Refusal because the coordinator had come to its end. Not part of `submitted`.
    pub rejected_closed: u64,
    /// Refusal of the record itself: by validation, for its bytes, or for a permit of another partition. Not part of
    /// `submitted`.
    pub rejected_invalid: u64,
}

/// One moment of a buffer, all of it taken under one lock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BufferSnapshot {
    /// Whether records go in and out.
    pub state: BufferState,
    /// The most records that the queue takes.
    pub capacity: usize,
    /// When the level changes.
    pub watermarks: Watermarks,
    /// Accepted records not yet taken by a worker.
    pub queued: usize,
    /// Places held by permits, or granted to submitters that have not come for them yet.
    pub reserved: usize,
    /// The bytes of all records that are accepted and not settled; 0 where they are not bounded.
    pub bytes: usize,
    /// How full the queue is, of records or of bytes, whichever is more.
    pub utilization: f64,
    /// How many records have to go until the queue is at its low watermark.
    pub excess: usize,
    /// Records taken by a worker, or parked, and not yet settled.
    pub in_flight: usize,
    /// Those of `in_flight` whose lease came back and waits for a worker.
    pub parked: usize,
    /// Submitters that wait for a credit.
    pub waiting: usize,
    /// How long the oldest record that is accepted and not settled has been waiting, be it queued, parked or under way.
    pub oldest_age: Option<Duration>,
    /// How long ago a record was settled; since the start where none was.
    pub since_settled: Duration,
    /// Partitions whose writes are overdue.
    pub overdue: usize,
    /// Records a second that were settled of late; none when nothing was written yet.
    pub drain_rate: Option<f64>,
    /// The level that the queue size alone demands.
    pub level: Level,
    /// Whether batches go to the store.
    pub circuit: CircuitState,
    /// How long until the next probe of an open circuit.
    pub probe_in: Option<Duration>,
    /// How many records went which way.
    pub counters: Counters,
}

impl BufferSnapshot {
    /// Returns the queue size: places in use or reserved.
    pub const fn size(&self) -> usize {
        self.queued + self.reserved
    }

    /// Returns what is missing from the accounting: 0, or records were lost or made up.
    pub fn residual(&self) -> i128 {
        let out = [self.counters.stored, self.counters.dead_lettered, self.counters.dropped];
        let here = [self.queued as u64, self.in_flight as u64];
        i128::from(self.counters.submitted) - out.into_iter().chain(here).map(i128::from).sum::<i128>()
    }
}

/// One partition at one moment.
#[derive(Debug)]
pub struct PartitionSnapshot<T> {
    /// Accepted records that no worker has taken yet.
    pub queued: usize,
    /// Records taken by its worker, or parked, and not yet settled.
    pub in_flight: usize,
    /// Submitters that wait for a place of its.
    pub waiting: usize,
    /// How long its oldest unsettled record has been waiting.
    pub oldest_age: Option<Duration>,
    /// Since when it settles nothing, if it is overdue.
    pub overdue_since: Option<Duration>,
    /// What its worker has, or would take first of what came back: the records, and where the oldest of them is.
    pub oldest: Option<(Arc<Vec<T>>, usize)>,
}

/// What the caller has to do once it has let go of its lock.
#[derive(Debug)]
pub struct Effects<T, W, R> {
    /// Waiters that have events.
    pub wake: Vec<W>,
    /// Wakers that are not needed any more, to be dropped where no lock is held.
    #[expect(dead_code, reason = "it is dropped with the effects")]
    pub spent: Vec<W>,
    /// Receipts whose records have met their end.
    pub outcomes: Vec<(R, Outcome)>,
    /// Receipts of records of which the outcome will not be known.
    #[cfg_attr(not(test), expect(dead_code, reason = "it is dropped with the effects"))]
    pub lost: Vec<R>,
    /// Evicted records, to be dropped where no lock is held.
    #[cfg_attr(not(test), expect(dead_code, reason = "it is dropped with the effects"))]
    pub evicted: Vec<T>,
    /// Whether the queue's actor has something to do and has not been woken yet.
    pub wake_queue: bool,
}
