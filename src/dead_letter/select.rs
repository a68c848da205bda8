use super::Entry;
use crate::record::timestamp::Timestamp;

/// Which entries are meant. The default means all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Selection {
    /// Only those of this coordinator.
    pub coordinator_id: Option<String>,
    /// Only those given up at this time or later.
    pub since: Option<Timestamp>,
    /// Only the first so many of these.
    pub limit: Option<usize>,
}

impl Selection {
    /// Returns whether this leaves nothing out.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether an entry is meant, the limit left aside.
    pub fn selects(&self, entry: &Entry) -> bool {
        self.coordinator_id.as_ref().is_none_or(|id| *id == entry.coordinator_id)
            && self.since.is_none_or(|since| entry.ts >= since)
    }

    /// Returns whether so many are as many as are meant.
    pub fn is_reached(&self, count: usize) -> bool {
        self.limit.is_some_and(|limit| count >= limit)
    }
}
