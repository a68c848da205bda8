//! What a sink is handed.

use std::{
    fmt,
    ops::{Deref, Range},
    sync::Arc,
    time::Duration,
};

#[cfg(feature = "postgres")]
use super::write_clock::Waits;
use super::write_clock::WriteClock;

/// Records of one partition that are written together. Cheap to clone; a slice shares the records.
pub struct Batch<T> {
    records: Arc<Vec<T>>,
    range: Range<usize>,
    coordinator_id: Option<Arc<str>>,
    partition: usize,
    clock: Arc<WriteClock>,
}

impl<T> Batch<T> {
    /// Says whose it is.
    pub(crate) fn of_partition(self, coordinator_id: &Arc<str>, partition: usize) -> Self {
        Self { coordinator_id: Some(Arc::clone(coordinator_id)), partition, ..self }
    }

    /// Returns the partition of the coordinator that the records are of, counted from 0; 0 for a batch that was made by
    /// hand. The next batch of a partition comes after this one's write has ended or was cut off, so a sink that takes
    /// care of what it left half done does so by [`coordinator_id`](Self::coordinator_id) and partition.
    pub fn partition(&self) -> usize {
        self.partition
    }

    /// Returns the id of the coordinator that the batch comes from; none for a batch that was made by hand.
    pub fn coordinator_id(&self) -> Option<&Arc<str>> {
        self.coordinator_id.as_ref()
    }

    /// Says that a write of it has not begun, until the value is dropped: others are before it.
    #[cfg(feature = "postgres")]
    pub(crate) fn waits(&self) -> Waits {
        self.clock.waits()
    }

    /// Waits for a write of it to end; none if that takes longer than `limit` from when it began. It is dropped then.
    pub(crate) async fn within<W: Future>(&self, limit: Duration, write: W) -> Option<W::Output> {
        self.clock.within(limit, write).await
    }

    /// Returns the part of this batch at `range`, counted from this batch's first record.
    ///
    /// # Panics
    /// If the range ends behind this batch's last record or is reversed, like slicing.
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "range {range:?} is outside a batch of {} records",
            self.len()
        );
        let range = self.range.start + range.start..self.range.start + range.end;
        Self { range, ..self.clone() }
    }
}

impl<T> From<Vec<T>> for Batch<T> {
    fn from(records: Vec<T>) -> Self {
        Self::from(Arc::new(records))
    }
}

impl<T> From<Arc<Vec<T>>> for Batch<T> {
    fn from(records: Arc<Vec<T>>) -> Self {
        let range = 0..records.len();
        Self { records, range, coordinator_id: None, partition: 0, clock: Arc::default() }
    }
}

impl<T> Deref for Batch<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.records[self.range.clone()]
    }
}

impl<'a, T> IntoIterator for &'a Batch<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> Clone for Batch<T> {
    fn clone(&self) -> Self {
        Self {
            records: Arc::clone(&self.records),
            range: self.range.clone(),
            coordinator_id: self.coordinator_id.clone(),
            partition: self.partition,
            clock: Arc::clone(&self.clock),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
