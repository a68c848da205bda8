//! The records of the keys that hash alike, in order: queued in blocks, then in slices that are out or parked.

use std::{collections::VecDeque, ops::Range, sync::Arc, time::Duration};

use super::{
    conflation::{ConflationIndex, ConflationKey},
    contract::LeaseId,
};

#[derive(Debug)]
pub(super) struct Partition<T> {
    blocks: VecDeque<Block<T>>,
    queued: usize,
    /// The bytes of what is queued; 0 where they are not bounded.
    queued_bytes: usize,
    /// By their conflation keys; empty where the strategy is another.
    conflation: ConflationIndex,
    /// What its worker has, at most one slice.
    pub(super) lease: Option<InFlight<T>>,
    /// What came back, oldest first; older than anything queued.
    parked: VecDeque<BatchSlice<T>>,
    /// A worker asked and was given nothing yet.
    pub(super) asked: bool,
    /// When its worker took something while nothing of it was in flight, or settled something, whichever was later.
    pub(super) since: Duration,
    /// Until when the store asked to be left alone with what goes first.
    pub(super) rests_until: Duration,
    /// The number of its last probe, 0 if it was none yet.
    pub(super) probed: u64,
    /// The newest sequence whose outcome is waited for, 0 if there was none.
    pub(super) awaited: u64,
    /// How many records the last batch had: a guess at the next one's size.
    last_batch: usize,
}

#[derive(Debug)]
pub(super) struct InFlight<T> {
    pub(super) id: LeaseId,
    pub(super) slice: BatchSlice<T>,
    /// When its write began, on the buffer's count of moments.
    pub(super) began: u64,
    /// Whether the store had answered by then, since the last strike.
    pub(super) answered_before: bool,
}

/// Records that are written together: a batch, or the part of one that is left of it.
#[derive(Debug)]
pub(super) struct BatchSlice<T> {
    pub(super) records: Arc<Vec<T>>,
    sequences: Arc<Vec<u64>>,
    /// The bytes of each record; empty where they are not bounded.
    bytes: Arc<Vec<usize>>,
    pub(super) range: Range<usize>,
    /// Writes that held its records and failed.
    pub(super) failures: u32,
    /// Strikes until it is at fault.
    pub(super) strikes_left: u32,
    /// The moment of its last strike, 0 if it has none.
    pub(super) struck_at: u64,
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

    /// Returns its bytes; 0 where they are not bounded.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.get(self.range.clone()).map_or(0, |bytes| bytes.iter().sum())
    }

    /// Splits off the second half; a single record has none. Each part begins without a strike, and is at fault at so
    /// many.
    pub(super) fn split(&mut self, strikes: u32) -> Option<Self> {
        if self.len() < 2 {
            return None;
        }
        (self.strikes_left, self.struck_at) = (strikes, 0);
        let middle = self.range.start + self.len() / 2;
        let second = Self {
            records: Arc::clone(&self.records),
            sequences: Arc::clone(&self.sequences),
            bytes: Arc::clone(&self.bytes),
            range: middle..self.range.end,
            ..*self
        };
        self.range.end = middle;
        Some(second)
    }
}

/// Where a queued record is, until the queue changes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queued {
    block: usize,
    at: usize,
    pub(super) sequence: u64,
    /// Its bytes; 0 where they are not bounded.
    pub(super) bytes: usize,
}

/// Up to one batch of records, so that handing one out moves a pointer and no record, and no growth copies a long
/// queue.
#[derive(Debug)]
struct Block<T> {
    records: VecDeque<T>,
    sequences: VecDeque<u64>,
    /// Empty where bytes are not bounded.
    bytes: VecDeque<usize>,
}

impl<T> Block<T> {
    fn with_capacity(records: usize) -> Self {
        let (records, sequences) = (VecDeque::with_capacity(records), VecDeque::with_capacity(records));
        Self { records, sequences, bytes: VecDeque::new() }
    }
}

impl<T> Partition<T> {
    pub(super) fn new() -> Self {
        Self {
            blocks: VecDeque::new(),
            queued: 0,
            queued_bytes: 0,
            conflation: ConflationIndex::default(),
            lease: None,
            parked: VecDeque::new(),
            asked: false,
            since: Duration::ZERO,
            rests_until: Duration::ZERO,
            probed: 0,
            awaited: 0,
            last_batch: 0,
        }
    }

    /// Returns how many records no worker has taken yet.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Returns how many bytes these have; 0 where they are not bounded.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Returns whether a worker could be given something, if it is ready.
    pub(super) fn waits_for_batch(&self) -> bool {
        self.asked && self.lease.is_none()
    }

    /// Returns the slice whose records are the oldest, if any is out or parked.
    pub(super) fn head(&self) -> Option<&BatchSlice<T>> {
        self.lease
            .as_ref()
            .map(|out| &out.slice)
            .into_iter()
            .chain(self.parked.front())
            .min_by_key(|slice| slice.oldest())
    }

    /// Returns how many of its records are in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.lease.as_ref().map_or(0, |out| out.slice.len()) + self.parked_records()
    }

    pub(super) fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Returns whether there is anything that a worker could take.
    pub(super) fn has_work(&self) -> bool {
        self.queued > 0 || self.has_parked()
    }

    pub(super) fn parked_records(&self) -> usize {
        self.parked.iter().map(BatchSlice::len).sum()
    }

    #[inline]
    pub(super) fn push(&mut self, record: T, sequence: u64, bytes: Option<usize>, batch_size: usize) {
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
            if let Some(bytes) = bytes {
                block.bytes.push_back(bytes);
                self.queued_bytes += bytes;
            }
        }
    }

    /// Takes in the conflation key of the record that was pushed last.
    pub(super) fn note_key(&mut self, key: ConflationKey) {
        self.conflation.push(key);
        debug_assert_eq!(self.conflation.len(), self.queued, "a record was queued without its key");
    }

    /// Finds the newest queued record of a conflation key.
    pub(super) fn find(&self, key: &ConflationKey, batch_size: usize) -> Option<Queued> {
        let mut at = self.conflation.find(key)?;
        let first = self.blocks.front()?.records.len();
        let mut block = 0;
        // Only the first block and the last can be short, so there is nothing to search.
        if at >= first {
            (block, at) = (1 + (at - first) / batch_size, (at - first) % batch_size);
        }
        let found = self.blocks.get(block)?;
        let bytes = found.bytes.get(at).copied().unwrap_or(0);
        Some(Queued { block, at, sequence: *found.sequences.get(at)?, bytes })
    }

    /// Puts a record, with so many bytes, in the place of one that was just found, and returns the other.
    pub(super) fn replace(&mut self, Queued { block, at, bytes: had, .. }: Queued, record: T, bytes: usize) -> T {
        let block = &mut self.blocks[block];
        if let Some(place) = block.bytes.get_mut(at) {
            *place = bytes;
            self.queued_bytes = self.queued_bytes - had + bytes;
        }
        std::mem::replace(&mut block.records[at], record)
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

    /// Takes out the oldest queued record, its sequence and its bytes.
    pub(super) fn pop_oldest(&mut self) -> Option<(u64, T, usize)> {
        let block = self.blocks.front_mut()?;
        let (sequence, record) = (block.sequences.pop_front()?, block.records.pop_front()?);
        let bytes = block.bytes.pop_front().unwrap_or(0);
        self.queued -= 1;
        self.queued_bytes -= bytes;
        self.conflation.pop(1);
        if block.records.is_empty() {
            self.blocks.pop_front();
        }
        Some((sequence, record, bytes))
    }

    /// Takes the oldest queued records, at most so many and with at most so many bytes, but at least one. They are at
    /// fault at so many strikes.
    pub(super) fn pop_batch(&mut self, most: usize, most_bytes: usize, strikes: u32) -> Option<BatchSlice<T>> {
        let most = self.fitting(most, most_bytes);
        let mut block = self.blocks.pop_front()?;
        if block.records.len() > most {
            let (records, sequences) = (block.records.split_off(most), block.sequences.split_off(most));
            let bytes = block.bytes.split_off(most.min(block.bytes.len()));
            self.blocks.push_front(Block { records, sequences, bytes });
        }
        // Evictions leave the first block short; a full batch is then made up from the next.
        while block.records.len() < most
            && let Some(next) = self.blocks.front_mut()
        {
            let more = next.records.len().min(most - block.records.len());
            block.records.extend(next.records.drain(..more));
            block.sequences.extend(next.sequences.drain(..more));
            block.bytes.extend(next.bytes.drain(..more.min(next.bytes.len())));
            if next.records.is_empty() {
                self.blocks.pop_front();
            }
        }
        let len = block.records.len();
        self.queued -= len;
        self.queued_bytes -= block.bytes.iter().sum::<usize>();
        self.conflation.pop(len);
        self.last_batch = len;
        Some(BatchSlice {
            records: Arc::new(Vec::from(block.records)),
            sequences: Arc::new(Vec::from(block.sequences)),
            bytes: Arc::new(Vec::from(block.bytes)),
            range: 0..len,
            failures: 0,
            strikes_left: strikes,
            struck_at: 0,
        })
    }

    /// Returns how many of the oldest queued records have at most so many bytes, at most `most` and at least one.
    fn fitting(&self, most: usize, most_bytes: usize) -> usize {
        if self.queued_bytes <= most_bytes {
            return most;
        }
        let mut sum = 0_usize;
        let bytes = self.blocks.iter().flat_map(|block| &block.bytes).take(most);
        let fits = bytes.take_while(|&&bytes| {
            sum = sum.saturating_add(bytes);
            sum <= most_bytes
        });
        fits.count().max(1)
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
}
