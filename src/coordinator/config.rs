use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use crate::policy::{BreakerConfig, Overflow, RetryPolicy, Watermarks, most_of_a_partition};

/// Everything that a coordinator is told when it starts.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Names the coordinator in events, logs and metrics; unique in a store, no `/`.
    pub id: Arc<str>,
    /// Names the process in events.
    pub source: Arc<str>,
    /// The most records that the queue takes.
    pub capacity: NonZeroUsize,
    /// The most bytes that records have which are accepted and not settled; none: they are not counted.
    pub capacity_bytes: Option<NonZeroUsize>,
    /// When the level changes.
    pub watermarks: Watermarks,
    /// How many workers write at once, each for one partition.
    pub workers: NonZeroUsize,
    /// The most records in one batch.
    pub batch_size: NonZeroUsize,
    /// How long the oldest record of a partition waits for its batch to become full.
    pub flush_interval: Duration,
    /// What happens to a record that is submitted while no credit is free.
    pub overflow: Overflow,
    /// How long to wait before a failed write is tried again.
    pub retry: RetryPolicy,
    /// When the circuit opens, and for how long.
    pub breaker: BreakerConfig,
    /// How long a write may take before it is cut off; zero: as long as it takes.
    pub sink_timeout: Duration,
    /// How long a partition may settle nothing before it is overdue.
    pub slow_after: Duration,
}

impl CoordinatorConfig {
    /// Returns what is allowed and makes levels that mislead, a line each.
    pub fn warnings(&self) -> Vec<String> {
        let (capacity, low, high) = (self.capacity.get(), self.watermarks.low(), self.watermarks.high());
        let taken = self.workers.get().saturating_mul(self.batch_size.get());
        let mut warnings = Vec::new();
        if taken >= capacity - low {
            warnings.push(format!(
                "{} workers with batches of {} can empty a full queue to its low watermark at once: the level goes up and \
                 down with each round; expected less than {}, the capacity less the low watermark",
                self.workers,
                self.batch_size,
                capacity - low
            ));
        }
        let most = most_of_a_partition(capacity, self.workers.get());
        if high > most {
            warnings.push(format!(
                "the high watermark is {high}, and records of one partition take at most {most} places: if they alone fill \
                 the queue the level is not hard"
            ));
        }
        warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(capacity: usize, workers: usize, batch_size: usize, high: usize) -> CoordinatorConfig {
        let at_least_one = |n| NonZeroUsize::new(n).expect("not zero");
        CoordinatorConfig {
            id: "bars".into(),
            source: "test".into(),
            capacity: at_least_one(capacity),
            capacity_bytes: None,
            watermarks: Watermarks::new(capacity / 2, high, capacity).expect("they are in order"),
            workers: at_least_one(workers),
            batch_size: at_least_one(batch_size),
            flush_interval: Duration::ZERO,
            overflow: Overflow::Block,
            retry: RetryPolicy::default(),
            breaker: BreakerConfig::default(),
            sink_timeout: Duration::ZERO,
            slow_after: Duration::ZERO,
        }
    }

    // Red when batches that swing the level, or a mark that one partition never reaches, are taken in silence, or the
    // defaults are warned of.
    #[test]
    fn settings_whose_levels_mislead_are_warned_of() {
        let warned = |config: CoordinatorConfig| config.warnings().len();
        assert_eq!(warned(config(10_000, 4, 500, 8_000)), 0);
        assert_eq!([1_249, 1_250].map(|batch| warned(config(10_000, 4, batch, 8_000))), [0, 1]);
        assert_eq!([9_064, 9_065].map(|high| warned(config(10_000, 4, 500, high))), [0, 1]);
        assert_eq!(warned(config(10_000, 1, 500, 10_000)), 0, "one partition has it all");
    }
}
