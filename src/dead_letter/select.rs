use super::Entry;
use crate::record::Timestamp;

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
    /// Leaves only the entries of one coordinator.
    #[must_use]
    pub fn coordinator_id(mut self, id: impl Into<String>) -> Self {
        self.coordinator_id = Some(id.into());
        self
    }

    /// Leaves only the entries given up at this time or later.
    #[must_use]
    pub fn since(mut self, since: Timestamp) -> Self {
        self.since = Some(since);
        self
    }

    /// Leaves only the first so many of these.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

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
