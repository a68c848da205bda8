use std::{collections::HashMap, hash::Hash};

/// Decides which events are new: an event is new if its `(epoch, seq)` is above every one that was admitted for its
/// key.
///
/// `K` is the coordinator that an event belongs to. Beside the newest number of each key the tracker keeps a `V`: the
/// event itself, for one, or nothing. A key is never forgotten, or an old event of it would count as new.
#[derive(Debug)]
pub struct SeqTracker<K, V = ()> {
    newest: HashMap<K, ((u64, u64), V)>,
}

/// What a [`SeqTracker`] says of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeqVerdict {
    /// Nothing newer of its key has come before; it is remembered.
    New,
    /// The same or something newer of its epoch has come before.
    Stale,
    /// A newer epoch of its key has come before.
    OlderEpoch,
}

impl<K, V> Default for SeqTracker<K, V> {
    fn default() -> Self {
        Self { newest: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash, V> SeqTracker<K, V> {
    /// Says what an event is, and keeps the number and the value of a new one.
    pub fn admit(&mut self, key: &K, (epoch, seq): (u64, u64), value: V) -> SeqVerdict {
        match self.newest.get_mut(key) {
            Some((newest, _)) if epoch < newest.0 => return SeqVerdict::OlderEpoch,
            Some((newest, _)) if (epoch, seq) <= *newest => return SeqVerdict::Stale,
            Some(newest) => *newest = ((epoch, seq), value),
            None => {
                self.newest.insert(key.clone(), ((epoch, seq), value));
            }
        }
        SeqVerdict::New
    }

    /// Returns what was kept of the newest event of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.newest.get(key).map(|(_, value)| value)
    }

    /// Returns what was kept of each key, in no order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.newest.values().map(|(_, value)| value)
    }

    /// Returns how many keys are known.
    #[cfg(any(test, feature = "receiver"))]
    pub fn keys(&self) -> usize {
        self.newest.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // Red when a seq counts without its epoch, or a coordinator that started again is taken for an old one.
    #[test]
    fn only_what_is_newer_than_all_before_is_new() {
        let mut tracker = SeqTracker::default();
        let mut admit = |key, number| tracker.admit(&key, number, ());
        assert_eq!(admit(1, (5, 3)), SeqVerdict::New);
        assert_eq!(admit(1, (5, 3)), SeqVerdict::Stale);
        assert_eq!(admit(1, (5, 2)), SeqVerdict::Stale);
        assert_eq!(admit(1, (5, 9)), SeqVerdict::New, "a gap is no reason to refuse");
        assert_eq!(admit(1, (6, 1)), SeqVerdict::New);
        assert_eq!(admit(1, (5, 10)), SeqVerdict::OlderEpoch);
        assert_eq!(admit(2, (1, 1)), SeqVerdict::New, "another coordinator");
    }

    proptest! {
        // Against a model that keeps all that was admitted. Red when a verdict looks at another key, or when the value
        // that is kept is not that of the newest event.
        #[test]
        fn agrees_with_a_list_of_all_that_was_admitted(
            events in prop::collection::vec((0u8..3, (0u64..3, 1u64..6)), 0..100),
        ) {
            let mut tracker = SeqTracker::default();
            let mut admitted: Vec<(u8, (u64, u64), usize)> = Vec::new();
            for (at, (key, number)) in events.into_iter().enumerate() {
                let newest = admitted.iter().filter(|(known, ..)| *known == key).map(|(_, number, _)| *number).max();
                let expected = match newest {
                    Some(newest) if number.0 < newest.0 => SeqVerdict::OlderEpoch,
                    Some(newest) if number <= newest => SeqVerdict::Stale,
                    _ => SeqVerdict::New,
                };
                prop_assert_eq!(tracker.admit(&key, number, at), expected);
                if expected == SeqVerdict::New {
                    admitted.push((key, number, at));
                }
                let last = admitted.iter().rev().find(|(known, ..)| *known == key).map(|(.., at)| at);
                prop_assert_eq!(tracker.get(&key), last);
                prop_assert_eq!(tracker.values().count(), tracker.keys());
            }
        }
    }
}
