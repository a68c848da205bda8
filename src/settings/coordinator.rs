//! How large a coordinator's queue is and how it is emptied.

use std::time::Duration;

use serde::Deserialize;

use super::{duration, size};
use crate::policy::{Overflow, WatermarkError, Watermarks};

/// How large a coordinator's queue is and how it is emptied. Every field can be assigned, or set in a row; zero and
/// other values out of range are refused, by the names of their variables, when a store starts.
///
/// ```
/// use market_data_store::{CoordinatorSettings, Overflow};
///
/// let settings = CoordinatorSettings::new(100).watermarks(50, 80).workers(1).batch_size(10).overflow(Overflow::Error);
/// assert_eq!((settings.low(), settings.high()), (50, 80));
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CoordinatorSettings {
    /// The most records that wait in the queue; at least 1.
    pub capacity: usize,
    /// The most bytes that records have which are accepted and not settled, by [`Record::size`](crate::Record::size);
    /// 0: they are not counted. The watermarks then go by records or by bytes, whichever is fuller.
    #[serde(deserialize_with = "size::deserialize")]
    pub capacity_bytes: usize,
    /// The queue size, in records, from which the level is hard; none means 80 % of the capacity.
    pub high_watermark: Option<usize>,
    /// The queue size, in records, down to which the level returns to ok; none means 50 % of the capacity.
    pub low_watermark: Option<usize>,
    /// How many workers write at once, from 1 to 1,024; records of one partition go to one worker.
    pub workers: usize,
    /// The most records that a worker writes together; at least 1.
    pub batch_size: usize,
    /// How long a record waits for its batch to fill.
    #[serde(deserialize_with = "duration::deserialize")]
    pub flush_interval: Duration,
    /// What happens to a record that finds the queue full.
    pub overflow: Overflow,
}

impl Default for CoordinatorSettings {
    fn default() -> Self {
        Self {
            capacity: 10_000,
            capacity_bytes: 0,
            high_watermark: None,
            low_watermark: None,
            workers: 4,
            batch_size: 500,
            flush_interval: Duration::from_millis(250),
            overflow: Overflow::default(),
        }
    }
}

impl CoordinatorSettings {
    /// Makes the default settings with a queue for so many records; watermarks follow the capacity unless they are set.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    /// Sets the most bytes that records have which are accepted and not settled; 0: they are not counted.
    #[must_use]
    pub fn capacity_bytes(mut self, bytes: usize) -> Self {
        self.capacity_bytes = bytes;
        self
    }

    /// Sets both watermarks, in records: the level is hard from `high`, and returns to ok at `low`.
    #[must_use]
    pub fn watermarks(mut self, low: usize, high: usize) -> Self {
        (self.low_watermark, self.high_watermark) = (Some(low), Some(high));
        self
    }

    /// Sets how many workers write at once.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Sets the most records that a worker writes together.
    #[must_use]
    pub fn batch_size(mut self, records: usize) -> Self {
        self.batch_size = records;
        self
    }

    /// Sets how long a record waits for its batch to fill, unless its [receipt](crate::Receipt) is awaited.
    #[must_use]
    pub fn flush_interval(mut self, interval: Duration) -> Self {
        self.flush_interval = interval;
        self
    }

    /// Sets what happens to a record that finds the queue full.
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Returns the high watermark in records, as set or by default.
    pub fn high(&self) -> usize {
        self.high_watermark.unwrap_or_else(|| self.default_watermarks().high())
    }

    /// Returns the low watermark in records, as set or by default.
    pub fn low(&self) -> usize {
        self.low_watermark.unwrap_or_else(|| self.default_watermarks().low())
    }

    fn default_watermarks(&self) -> Watermarks {
        // No watermarks fit a capacity of 0, which is refused by itself.
        Watermarks::for_capacity(self.capacity.max(1))
    }

    /// Returns both watermarks, checked.
    ///
    /// # Errors
    /// Unless `low < high <= capacity`.
    #[doc(hidden)]
    pub fn checked_watermarks(&self) -> Result<Watermarks, WatermarkError> {
        Watermarks::new(self.low(), self.high(), self.capacity)
    }
}

/// What one coordinator has otherwise than the others: the variables `MDS_<COORDINATOR>_COORDINATOR_*`. What is none is
/// as the store's [`CoordinatorSettings`] say.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CoordinatorOverrides {
    /// As [`CoordinatorSettings::capacity`].
    pub capacity: Option<usize>,
    /// As [`CoordinatorSettings::capacity_bytes`].
    #[serde(deserialize_with = "size::deserialize_some")]
    pub capacity_bytes: Option<usize>,
    /// As [`CoordinatorSettings::high_watermark`].
    pub high_watermark: Option<usize>,
    /// As [`CoordinatorSettings::low_watermark`].
    pub low_watermark: Option<usize>,
    /// As [`CoordinatorSettings::workers`].
    pub workers: Option<usize>,
    /// As [`CoordinatorSettings::batch_size`].
    pub batch_size: Option<usize>,
    /// As [`CoordinatorSettings::flush_interval`].
    #[serde(deserialize_with = "duration::deserialize_some")]
    pub flush_interval: Option<Duration>,
    /// As [`CoordinatorSettings::overflow`].
    pub overflow: Option<Overflow>,
}

impl CoordinatorOverrides {
    /// Returns the settings of this coordinator, where `base` are those of the others.
    pub(super) fn over(&self, base: &CoordinatorSettings) -> CoordinatorSettings {
        CoordinatorSettings {
            capacity: self.capacity.unwrap_or(base.capacity),
            capacity_bytes: self.capacity_bytes.unwrap_or(base.capacity_bytes),
            high_watermark: self.high_watermark.or(base.high_watermark),
            low_watermark: self.low_watermark.or(base.low_watermark),
            workers: self.workers.unwrap_or(base.workers),
            batch_size: self.batch_size.unwrap_or(base.batch_size),
            flush_interval: self.flush_interval.unwrap_or(base.flush_interval),
            overflow: self.overflow.unwrap_or(base.overflow),
        }
    }

    /// Returns whether a field, by its name, has a value of its own.
    pub(super) fn sets(&self, field: &str) -> bool {
        match field {
            "capacity" => self.capacity.is_some(),
            "capacity_bytes" => self.capacity_bytes.is_some(),
            "high_watermark" => self.high_watermark.is_some(),
            "low_watermark" => self.low_watermark.is_some(),
            "workers" => self.workers.is_some(),
            "batch_size" => self.batch_size.is_some(),
            "flush_interval" => self.flush_interval.is_some(),
            "overflow" => self.overflow.is_some(),
            _ => false,
        }
    }
}

/// Returns a coordinator's id as its variables write it: in upper case, what is no ASCII letter or digit as `_`. Of ids
/// that are written alike all have the same variables.
pub(super) fn in_variables(id: &str) -> String {
    id.chars().map(|char| if char.is_ascii_alphanumeric() { char.to_ascii_uppercase() } else { '_' }).collect()
}
