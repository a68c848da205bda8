use std::{
    collections::{HashSet, VecDeque},
    hash::Hash,
    num::NonZeroUsize,
    sync::Arc,
    time::Duration,
};

use super::instances::{Instances, News, Speaker};

/// Tells new events from those that a receiver has met, and from stale ones, in bounded memory.
///
/// `K` is the coordinator that an event belongs to. An event is new if [`Instances`] say so and its id is not
/// remembered. Ids are forgotten with time and when there are too many, which opens nothing: an event that comes again
/// is a sign of life then, or stale. Keys are never forgotten; so there is room for a number of keys, and the next are
/// turned away.
#[derive(Debug)]
pub struct Deduplicator<K> {
    limits: DeduplicatorLimits,
    instances: Instances<K, ()>,
    /// How many instances fell silent.
    expired: u64,
    ids: HashSet<Arc<str>>,
    /// The ids in the order of their arrival, with the time at which each is forgotten.
    forget: VecDeque<(Duration, Arc<str>)>,
}

/// What an [`Deduplicator`] remembers at most.
#[derive(Clone, Copy, Debug)]
pub struct DeduplicatorLimits {
    /// How many keys.
    pub keys: NonZeroUsize,
    /// How many ids.
    pub ids: NonZeroUsize,
    /// How long an id.
    pub id_for: Duration,
}

/// What an [`Deduplicator`] says of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is new, or was said before by an instance that did not count and does now; its id is remembered. So many
    /// other instances of its key live too.
    New(usize),
    /// The same of an instance that lives has come before, under another id: a sign of life.
    Alive(usize),
    /// Its id has come before. It may be a sign of life: the last that was heard of its instance, again.
    Repeated {
        /// Whether it is.
        is_alive: bool,
    },
    /// Something newer of its instance has come before.
    Stale,
    /// It belongs to a key that there is no room for.
    NoRoom,
}

impl<K: Clone + Eq + Hash> Deduplicator<K> {
    /// Makes one that has met nothing.
    pub fn new(limits: DeduplicatorLimits) -> Self {
        Self { limits, instances: Instances::default(), expired: 0, ids: HashSet::new(), forget: VecDeque::new() }
    }

    /// Says what an event is that arrives `now`, and remembers a new one.
    pub fn admit(&mut self, id: &str, key: &K, speaker: &Speaker, now: Duration) -> Admission {
        self.expire(now);
        while self.forget.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_oldest();
        }
        if self.ids.contains(id) {
            let is_alive =
                self.instances.is_last(key, speaker) && self.instances.hear(now, key, speaker, ()).news != News::Stale;
            return Admission::Repeated { is_alive };
        }
        if self.keys() >= self.limits.keys.get() && !self.instances.knows(key) {
            return Admission::NoRoom;
        }
        let heard = self.instances.hear(now, key, speaker, ());
        let admission = match heard.news {
            News::New => Admission::New(heard.others),
            News::Same => Admission::Alive(heard.others),
            News::Stale => return Admission::Stale,
        };
        if self.ids.len() >= self.limits.ids.get() {
            self.forget_oldest();
        }
        let id: Arc<str> = id.into();
        self.ids.insert(Arc::clone(&id));
        self.forget.push_back((now.saturating_add(self.limits.id_for), id));
        admission
    }

    /// Lets go of the instances that were silent for too long, and returns how many fell silent so far.
    pub fn expire(&mut self, now: Duration) -> u64 {
        while let Some((_, key)) = self.instances.next_due().filter(|(at, _)| *at <= now) {
            let key = key.clone();
            self.expired += self.instances.let_go(now, &key, |()| ());
        }
        self.expired
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.forget.pop_front() {
            self.ids.remove(&id);
        }
    }

    /// Returns how many keys are known.
    pub fn keys(&self) -> usize {
        self.instances.len()
    }

    /// Returns how many ids are remembered.
    #[cfg(test)]
    pub fn ids(&self) -> usize {
        self.ids.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn deduplicator(keys: usize, ids: usize, id_for: u64) -> Deduplicator<u8> {
        let count = |count| NonZeroUsize::new(count).unwrap();
        Deduplicator::new(DeduplicatorLimits {
            keys: count(keys),
            ids: count(ids),
            id_for: Duration::from_secs(id_for),
        })
    }

    /// One that knows of no instances.
    fn speaker(epoch: u64, seq: u64) -> Speaker {
        Speaker { instance: None, epoch, seq, refresh: None, ends: false }
    }

    // Red when the first counts again under its id, whatever comes with it.
    #[test]
    fn an_id_counts_once() {
        let mut met = deduplicator(10, 100, 600);
        assert_eq!(met.admit("a", &1, &speaker(1, 1), Duration::ZERO), Admission::New(0));
        let repeated = |is_alive| Admission::Repeated { is_alive };
        assert_eq!(met.admit("a", &1, &speaker(1, 1), Duration::ZERO), repeated(true));
        assert_eq!(met.admit("a", &2, &speaker(9, 9), Duration::from_secs(599)), repeated(false));
        assert_eq!(met.keys(), 1);
        assert_eq!(
            met.admit("a", &2, &speaker(9, 9), Duration::from_secs(600)),
            Admission::New(0),
            "forgotten by then"
        );
    }

    // Red when a turned-away event is remembered: its sender, which tries again, would be told that it was heard.
    #[test]
    fn what_finds_no_room_may_come_again() {
        let mut met = deduplicator(1, 100, 600);
        assert_eq!(met.admit("a", &1, &speaker(1, 1), Duration::ZERO), Admission::New(0));
        for _ in 0..2 {
            assert_eq!(met.admit("b", &2, &speaker(1, 1), Duration::ZERO), Admission::NoRoom);
        }
        assert_eq!(met.admit("c", &1, &speaker(1, 2), Duration::ZERO), Admission::New(0), "those known go on");
        assert_eq!(met.ids(), 2);
    }

    proptest! {
        // Against a model that keeps everything. Red when a bound is passed, when an event is new twice or after a
        // newer one, or when one is refused that is newer than all.
        #[test]
        fn forgetting_ids_lets_nothing_through_twice(
            arrivals in prop::collection::vec((0u8..4, 0u64..3, 1u64..6, 0u64..30), 1..200),
        ) {
            let mut met = deduplicator(3, 5, 60);
            let mut admitted: Vec<(u8, (u64, u64))> = Vec::new();
            let mut now = Duration::ZERO;
            for (key, epoch, seq, passed) in arrivals {
                now += Duration::from_secs(passed);
                let newer = admitted.iter().all(|(known, newest)| *known != key || *newest < (epoch, seq));
                let known: HashSet<u8> = admitted.iter().map(|(key, _)| *key).collect();
                let room = known.contains(&key) || known.len() < 3;
                let arrival = met.admit(&format!("{key}_{epoch}_{seq}"), &key, &speaker(epoch, seq), now);
                prop_assert_eq!(arrival == Admission::New(0), newer && room, "{:?}", arrival);
                prop_assert_eq!(arrival == Admission::NoRoom, !room);
                if arrival == Admission::New(0) {
                    admitted.push((key, (epoch, seq)));
                }
                prop_assert!(met.keys() <= 3 && met.ids() <= 5 && met.forget.len() == met.ids());
            }
        }
    }
}
