//! What a sink is handed.

use std::{
    fmt,
    ops::{Deref, Range},
    sync::Arc,
};

/// Records of one partition that are written together. Cheap to clone; a slice shares the records.
pub struct Batch<T> {
    records: Arc<Vec<T>>,
    range: Range<usize>,
}

impl<T> Batch<T> {
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
        Self { records: Arc::clone(&self.records), range: self.range.start + range.start..self.range.start + range.end }
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
        Self { records, range }
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
        Self { records: Arc::clone(&self.records), range: self.range.clone() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
