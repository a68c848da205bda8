use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use crate::policy::{BreakerConfig, Overflow, RetryPolicy, Watermarks};

/// Everything that a coordinator is told when it starts.
#[derive(Clone, Debug)]
pub struct CoordinatorConfig {
    /// Names the coordinator in events, logs and metrics; unique in a store, no `/`.
    pub id: Arc<str>,
    /// Names the process in events.
    pub source: Arc<str>,
    /// The most records that the queue takes.
    pub capacity: NonZeroUsize,
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
