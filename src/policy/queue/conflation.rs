//! Which waiting record a newer one replaces.

use std::{
    collections::{HashMap, VecDeque},
    fmt::{self, Write as _},
};

use smol_str::{SmolStr, SmolStrBuilder};

/// Says of which thing a record is an update. With [`Overflow::Conflate`](super::Overflow::Conflate) a full queue keeps
/// only the newest of those whose keys are equal.
///
/// It is compared in full, never by a hash alone. Up to some 20 bytes need no memory of their own.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ConflationKey(SmolStr);

impl ConflationKey {
    /// Makes the key of these parts. Keys are equal if all their parts are, in this order: `["a", "bc"]` is another
    /// than `["ab", "c"]`.
    ///
    /// ```
    /// use market_data_store::ConflationKey;
    ///
    /// assert_eq!(ConflationKey::new(["CME", "ES"]), ConflationKey::new(["CME", "ES"]));
    /// assert_ne!(ConflationKey::new(["CME", "ES"]), ConflationKey::new(["CM", "EES"]));
    /// ```
    pub fn new<'a>(parts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut text = SmolStrBuilder::new();
        for part in parts {
            // With its length before it, no part runs into the next. Writing to memory does not fail.
            let _ = write!(text, "{}:", part.len());
            text.push_str(part);
        }
        Self(text.finish())
    }
}

impl fmt::Debug for ConflationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConflationKey").field(&self.0.as_str()).finish()
    }
}

/// Where the newest waiting record of each key is, in one partition. Empty where records have no keys.
///
/// It has the keys of all records that are queued, in their order, so it forgets one in the same time in which the
/// queue does, and has no more entries than the queue has records.
#[derive(Debug, Default)]
pub(super) struct ConflationIndex {
    /// Those of the queued records, the oldest first.
    keys: VecDeque<ConflationKey>,
    /// The number of the oldest: it counts all that were there before it.
    first: u64,
    /// The numbers of the newest.
    newest: HashMap<ConflationKey, u64, foldhash::fast::RandomState>,
}

impl ConflationIndex {
    /// Takes in the key of the record that was queued last.
    pub(super) fn push(&mut self, key: ConflationKey) {
        self.newest.insert(key.clone(), self.first + self.keys.len() as u64);
        self.keys.push_back(key);
    }

    /// Takes in that so many of the oldest records are not queued any more.
    pub(super) fn pop(&mut self, records: usize) {
        for key in self.keys.drain(..records.min(self.keys.len())) {
            if self.newest.get(&key) == Some(&self.first) {
                self.newest.remove(&key);
            }
            self.first += 1;
        }
    }

    /// Returns how many queued records are older than the newest of this key.
    pub(super) fn find(&self, key: &ConflationKey) -> Option<usize> {
        self.newest.get(key).and_then(|number| usize::try_from(number - self.first).ok())
    }

    /// Returns how many keys it has: that of each queued record, or none.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red when the parts run together, or their number is left out.
    #[test]
    fn keys_are_equal_if_their_parts_are() {
        let key = |parts: &[&str]| ConflationKey::new(parts.iter().copied());
        let different: [&[&str]; 9] =
            [&[], &[""], &["", ""], &["a"], &["a", ""], &["", "a"], &["ab", "c"], &["a", "bc"], &["1:a"]];
        for (at, one) in different.iter().enumerate() {
            for (other_at, other) in different.iter().enumerate() {
                assert_eq!(key(one) == key(other), at == other_at, "{one:?} and {other:?}");
            }
        }
        let long = "x".repeat(1_000);
        assert_eq!(key(&[&long, "ES"]), key(&[&long, "ES"]));
        assert_ne!(key(&[&long, "ES"]), key(&[&long, "NQ"]));
    }

    /// Red when what has left the queue is still found, another than the newest is, or memory grows with the keys that
    /// ever were.
    #[test]
    fn the_newest_that_waits_is_found_and_nothing_else_is_kept() {
        let key = |name: &str| ConflationKey::new([name]);
        let mut index = ConflationIndex::default();
        for name in ["a", "b", "a"] {
            index.push(key(name));
        }
        assert_eq!(["a", "b", "c"].map(|name| index.find(&key(name))), [Some(2), Some(1), None]);
        index.pop(1);
        assert_eq!(["a", "b"].map(|name| index.find(&key(name))), [Some(1), Some(0)], "the older one went");
        index.pop(1);
        assert_eq!(["a", "b"].map(|name| index.find(&key(name))), [Some(0), None]);
        index.pop(1);
        assert_eq!((index.find(&key("a")), index.len(), index.newest.len()), (None, 0, 0));
        index.push(key("a"));
        assert_eq!(index.find(&key("a")), Some(0));
    }
}
