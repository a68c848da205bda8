use serde::{Deserialize, Serialize};

/// What a bus counts of the events that it does not simply pass on, of one coordinator or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct FeedbackCounts {
    /// Events that were dropped: their instance had said something newer.
    pub stale: u64,
    /// Events of an instance beside which another of the same name lives: two processes use one name, or one took the
    /// place of the other a short while ago.
    pub conflicts: u64,
    /// Instances that fell silent.
    pub expired: u64,
}
