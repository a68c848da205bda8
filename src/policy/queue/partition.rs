//! The records of the keys that hash alike, in order: queued in blocks, then in slices that are out or parked.

use std::{
    collections::{HashSet, VecDeque},
    num::NonZeroUsize,
    ops::Range,
    sync::Arc,
    time::Duration,
};

use super::contract::LeaseId;

#[derive(Debug)]
pub(super) struct Partition<T> {
    blocks: VecDeque<Block<T>>,
    queued: usize,
    /// What its worker has, at most one slice.
    pub(super) lease: Option<InFlight<T>>,
    /// What came back, oldest first; older than anything queued.
    parked: VecDeque<BatchSlice<T>>,
    /// A worker asked and was given nothing yet.
    pub(super) asked: bool,
    /// How many records the last batch had: a guess at the next one's size.
    last_batch: usize,
}

#[derive(Debug)]
pub(super) struct InFlight<T> {
    pub(super) id: LeaseId,
    pub(super) slice: BatchSlice<T>,
    /// When its write began.
    pub(super) began: StoreProgress,
}

/// What had been seen of the store at a moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StoreProgress {
    /// How many writes had failed for what may be the batch's fault, ever.
    pub(super) failures: u64,
    /// How many of these failures the store had outlived: it took a batch, or refused one for good, whose write began
    /// after they were seen.
    pub(super) outlived: u64,
}

/// Records that are written together: a batch, or the part of one that is left of it.
#[derive(Debug)]
pub(super) struct BatchSlice<T> {
    pub(super) records: Arc<Vec<T>>,
    sequences: Arc<Vec<u64>>,
    pub(super) range: Range<usize>,
    /// Transient failures that were not forgotten.
    pub(super) attempts: u32,
    /// Failures that were surely the store's, since those above began to be counted.
    pub(super) excused: u32,
    /// How often it failed with the store there between any two of these failures: all failures of one outage are one strike.
    /// A part begins with the last time of the whole, which may be the last that there ever is: its neighbour may be the
    /// last that the store answers. An open circuit does not forget them: then one that always fails could open it
    /// again and again.
    pub(super) strikes: u32,
    /// The number of the failure that was the last time.
    last_strike: u64,
    /// Whether it is part of a batch that was at fault.
    pub(super) of_guilty: bool,
    /// Whether its failures say anything about the store. Those of a slice that failed its probe do not.
    pub(super) counts: bool,
    /// The number of its last probe, 0 if it was none yet.
    pub(super) probed: u64,
    /// Until when the store asked to be left alone with it.
    pub(super) rests_until: Duration,
    keys: Keys,
}

/// What is known of the keys of a slice's records: nothing, until the choice of a probe depends on it.
#[derive(Clone, Debug)]
enum Keys {
    NotAsked,
    /// Their hashes, in order.
    Known(Vec<u64>),
    /// They may be any.
    Unknowable,
}

impl<T> BatchSlice<T> {
    pub(super) fn len(&self) -> usize {
        self.range.len()
    }

    pub(super) fn oldest(&self) -> Option<u64> {
        self.sequences().first().copied()
    }

    pub(super) fn sequences(&self) -> &[u64] {
        &self.sequences[self.range.clone()]
    }

    /// Takes in the failure of this number, of a write that began then.
    pub(super) fn failed(&mut self, number: u64, began: StoreProgress) {
        self.attempts = self.attempts.saturating_add(1);
        if began.outlived >= self.last_strike {
            self.strikes = self.strikes.saturating_add(1);
            self.last_strike = number;
        }
    }

    /// Starts counting attempts anew.
    pub(super) fn forget_attempts(&mut self) {
        self.attempts = 0;
        self.excused = 0;
    }

    /// Splits off the second half; a single record has none.
    pub(super) fn split(&mut self) -> Option<Self> {
        if self.len() < 2 {
            return None;
        }
        self.split_at(self.len() / 2)
    }

    /// Splits off what is behind the first so many records; nothing if that is all.
    fn split_at(&mut self, first: usize) -> Option<Self> {
        if first >= self.len() {
            return None;
        }
        // Each part has to prove its own guilt; the whole's is no more than one time of it.
        self.strikes = self.strikes.min(1);
        let middle = self.range.start + first;
        let keys = match &mut self.keys {
            Keys::Known(keys) => Keys::Known(keys.split_off(first)),
            other => other.clone(),
        };
        let second = Self {
            records: Arc::clone(&self.records),
            sequences: Arc::clone(&self.sequences),
            range: middle..self.range.end,
            keys,
            ..*self
        };
        self.range.end = middle;
        Some(second)
    }

    /// Returns how many records from its first on have keys of which none is among these.
    fn free_of(&self, keys: &HashSet<u64>) -> usize {
        match &self.keys {
            Keys::Known(mine) => mine.iter().take_while(|key| !keys.contains(key)).count(),
            Keys::NotAsked | Keys::Unknowable => 0,
        }
    }
}

/// What may be the next probe of a partition.
#[derive(Debug)]
pub(super) enum Probe {
    /// The first `most` records of the parked slice at this place.
    Parked { at: usize, most: usize },
    /// A batch from the head of the queue.
    Queued,
}

/// What is known of the next probe of a partition.
#[derive(Debug)]
pub(super) enum NextProbe {
    /// There is nothing to write.
    None,
    /// It depends on keys that are not known yet.
    Unknown,
    /// It is this one, and the number of its last probe.
    Is { probed: u64, probe: Probe },
}

/// Up to one batch of records, so that handing one out moves a pointer and no record, and no growth copies a long
/// queue.
#[derive(Debug)]
struct Block<T> {
    records: VecDeque<T>,
    sequences: VecDeque<u64>,
}

impl<T> Block<T> {
    fn with_capacity(records: usize) -> Self {
        Self { records: VecDeque::with_capacity(records), sequences: VecDeque::with_capacity(records) }
    }
}

impl<T> Partition<T> {
    pub(super) fn new() -> Self {
        Self { blocks: VecDeque::new(), queued: 0, lease: None, parked: VecDeque::new(), asked: false, last_batch: 0 }
    }

    /// Returns how many records no worker has taken yet.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Returns whether a worker could be given something, if it is ready.
    pub(super) fn waits_for_batch(&self) -> bool {
        self.asked && self.lease.is_none()
    }

    /// Returns all that was taken and is not settled.
    pub(super) fn slices(&self) -> impl Iterator<Item = &BatchSlice<T>> {
        self.lease.as_ref().map(|out| &out.slice).into_iter().chain(&self.parked)
    }

    /// The same, to be changed.
    pub(super) fn slices_mut(&mut self) -> impl Iterator<Item = &mut BatchSlice<T>> {
        self.lease.as_mut().map(|out| &mut out.slice).into_iter().chain(&mut self.parked)
    }

    pub(super) fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Returns whether there is anything that a worker could take.
    pub(super) fn has_work(&self) -> bool {
        self.queued > 0 || self.has_parked()
    }

    /// Returns until when the store wants to be left alone with what goes first, and so with all of the partition.
    pub(super) fn rests_until(&self) -> Duration {
        self.parked.front().map_or(Duration::ZERO, |slice| slice.rests_until)
    }

    pub(super) fn parked_records(&self) -> usize {
        self.parked.iter().map(BatchSlice::len).sum()
    }

    pub(super) fn push(&mut self, record: T, sequence: u64, batch_size: usize) {
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
            block.sequences.push_back(sequence);
            self.queued += 1;
        }
    }

    pub(super) fn oldest_queued(&self) -> Option<u64> {
        self.blocks.front().and_then(|block| block.sequences.front()).copied()
    }

    pub(super) fn oldest_unsettled(&self) -> Option<u64> {
        let out = self.lease.as_ref().and_then(|out| out.slice.oldest());
        let parked = self.parked.front().and_then(BatchSlice::oldest);
        // What is out or parked was taken from the front, so it is older than what is queued.
        out.into_iter().chain(parked).min().or_else(|| self.oldest_queued())
    }

    /// Takes out the oldest queued record and its sequence.
    pub(super) fn pop_oldest(&mut self) -> Option<(u64, T)> {
        let block = self.blocks.front_mut()?;
        let (sequence, record) = (block.sequences.pop_front()?, block.records.pop_front()?);
        self.queued -= 1;
        if block.records.is_empty() {
            self.blocks.pop_front();
        }
        Some((sequence, record))
    }

    /// Takes the oldest queued records, at most so many.
    pub(super) fn pop_batch(&mut self, most: usize) -> Option<BatchSlice<T>> {
        let mut block = self.blocks.pop_front()?;
        if block.records.len() > most {
            let (records, sequences) = (block.records.split_off(most), block.sequences.split_off(most));
            self.blocks.push_front(Block { records, sequences });
        }
        // Evictions leave the first block short; a full batch is then made up from the next.
        while block.records.len() < most
            && let Some(next) = self.blocks.front_mut()
        {
            let more = next.records.len().min(most - block.records.len());
            block.records.extend(next.records.drain(..more));
            block.sequences.extend(next.sequences.drain(..more));
            if next.records.is_empty() {
                self.blocks.pop_front();
            }
        }
        let len = block.records.len();
        self.queued -= len;
        self.last_batch = len;
        Some(BatchSlice {
            records: Arc::new(Vec::from(block.records)),
            sequences: Arc::new(Vec::from(block.sequences)),
            range: 0..len,
            attempts: 0,
            excused: 0,
            strikes: 0,
            last_strike: 0,
            of_guilty: false,
            counts: true,
            probed: 0,
            rests_until: Duration::ZERO,
            keys: Keys::NotAsked,
        })
    }

    /// Puts a slice back to its place.
    pub(super) fn park(&mut self, slice: BatchSlice<T>) {
        let at = self.parked.partition_point(|parked| parked.oldest() < slice.oldest());
        self.parked.insert(at, slice);
    }

    /// Takes the parked slice that goes first.
    pub(super) fn pop_parked(&mut self) -> Option<BatchSlice<T>> {
        self.parked.pop_front()
    }

    /// Takes the first `most` records of the parked slice at `at`, as [`next_probe`](Self::next_probe) returned it; the
    /// others stay in its place.
    pub(super) fn take_parked(&mut self, at: usize, most: usize) -> Option<BatchSlice<T>> {
        let mut slice = self.parked.remove(at)?;
        if let Some(rest) = slice.split_at(most) {
            self.parked.insert(at, rest);
        }
        Some(slice)
    }

    /// Returns what may be the next probe: the parked slice that was least recently a probe among those whose keys no
    /// older one holds, for another would overtake an update. One that was none yet goes as far as that holds.
    /// What the store wants to be left alone with is passed over, and rests with all behind it if it goes first.
    pub(super) fn next_probe(&self, batch_size: usize, now: Duration) -> NextProbe {
        if !self.has_parked() {
            let queued = NextProbe::Is { probed: 0, probe: Probe::Queued };
            return if self.queued > 0 { queued } else { NextProbe::None };
        }
        if self.rests_until() > now {
            return NextProbe::None;
        }
        if self.unknown().next().is_some() || self.room_for_head(batch_size, now).is_some() {
            return NextProbe::Unknown;
        }
        match self.best_parked(now) {
            Some((probed, probe)) => NextProbe::Is { probed, probe },
            None => NextProbe::None,
        }
    }

    /// Returns the parked slices whose keys the choice of a probe depends on and that were not asked for: none where there
    /// is no choice.
    pub(super) fn unknown(&self) -> impl Iterator<Item = &BatchSlice<T>> {
        let is_choice = self.parked.len() > 1;
        self.parked.iter().filter(move |slice| is_choice && matches!(slice.keys, Keys::NotAsked))
    }

    /// Takes in the keys of the parked slice of so many records that begins with this sequence, if it is still there.
    pub(super) fn know(&mut self, first: u64, len: usize, keys: Option<Vec<u64>>) {
        let slice = self.parked.iter_mut().find(|slice| slice.oldest() == Some(first) && slice.len() == len);
        if let Some(slice) = slice {
            slice.keys = keys.filter(|keys| keys.len() == len).map_or(Keys::Unknowable, Keys::Known);
        }
    }

    /// Returns how many records of the queue may be parked behind what is parked already, so that they can be a probe
    /// too: when all keys are known, all that may be a probe was one, and with them no more than a batch is in flight.
    pub(super) fn room_for_head(&self, batch_size: usize, now: Duration) -> Option<NonZeroUsize> {
        if self.queued == 0
            || self.unknown().next().is_some()
            || self.best_parked(now).is_none_or(|(probed, _)| probed == 0)
        {
            return None;
        }
        NonZeroUsize::new(batch_size.saturating_sub(self.parked_records()))
    }

    fn best_parked(&self, now: Duration) -> Option<(u64, Probe)> {
        let mut before = HashSet::new();
        let mut best: Option<(u64, Probe)> = None;
        for (at, slice) in self.parked.iter().enumerate() {
            // Nothing is older than the first.
            let most = if at == 0 { slice.len() } else { slice.free_of(&before) };
            let may_go = most == slice.len() || (most > 0 && slice.probed == 0);
            let may_go = may_go && slice.rests_until <= now;
            if may_go && best.as_ref().is_none_or(|&(probed, _)| slice.probed < probed) {
                best = Some((slice.probed, Probe::Parked { at, most }));
            }
            match &slice.keys {
                Keys::Known(keys) => before.extend(keys),
                // It may hold any key, so nothing behind it may go before it.
                Keys::NotAsked | Keys::Unknowable => break,
            }
        }
        best
    }
}
