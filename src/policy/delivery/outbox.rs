use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::Hash,
    num::NonZeroUsize,
};

/// What one publisher has not handed over yet: bounded per key, oldest out first. The collector is woken once,
/// however many events wait.
///
/// `K` is the coordinator that an event belongs to. Everything comes out in the order in which it went in. No
/// operation costs more than the logarithm of what waits, whichever side fell behind.
#[derive(Debug)]
pub struct Outbox<K, E> {
    bound: NonZeroUsize,
    waiting: BTreeMap<u64, (K, E)>,
    /// The tickets of each key, oldest first; no key has none.
    tickets: HashMap<K, VecDeque<u64>>,
    put: u64,
    lost: u64,
    /// The collector was woken: it comes, or is at it.
    wake_pending: bool,
}

impl<K: Clone + Eq + Hash, E> Outbox<K, E> {
    /// Makes an empty outbox that holds at most `bound` events of a key.
    pub fn new(bound: NonZeroUsize) -> Self {
        Self { bound, waiting: BTreeMap::new(), tickets: HashMap::new(), put: 0, lost: 0, wake_pending: false }
    }

    /// Takes in an event; the oldest of its key is lost when there are too many. Returns true if the collector must
    /// be woken.
    #[must_use]
    pub fn put(&mut self, key: K, event: E) -> bool {
        self.put += 1;
        let tickets = self.tickets.entry(key.clone()).or_default();
        if tickets.len() == self.bound.get()
            && let Some(oldest) = tickets.pop_front()
        {
            self.waiting.remove(&oldest);
            self.lost += 1;
        }
        tickets.push_back(self.put);
        self.waiting.insert(self.put, (key, event));
        !std::mem::replace(&mut self.wake_pending, true)
    }

    /// Hands out at most `most` events, the oldest first, and stops before the first that is not `ready`.
    pub fn take(&mut self, most: usize, ready: impl Fn(&E) -> bool) -> Vec<E> {
        let mut taken = Vec::with_capacity(most.min(self.waiting.len()));
        while taken.len() < most
            && let Some(first) = self.waiting.first_entry()
            && ready(&first.get().1)
        {
            let (key, event) = first.remove();
            if let Some(tickets) = self.tickets.get_mut(&key) {
                tickets.pop_front();
                if tickets.is_empty() {
                    self.tickets.remove(&key);
                }
            }
            taken.push(event);
        }
        taken
    }

    /// Ends a collection. Returns true if more came in meanwhile: then the collector counts as woken again, and it
    /// must come back.
    #[must_use]
    pub fn leave(&mut self) -> bool {
        self.wake_pending = !self.waiting.is_empty();
        self.wake_pending
    }

    /// Returns how many events wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns true if nothing waits.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns how many events were lost since the last call.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8),
        Take(usize, usize),
        Leave,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (0..3u8).prop_map(Step::Put),
            1 => (0..8usize, 0..300usize).prop_map(|(most, below)| Step::Take(most, below)),
            1 => Just(Step::Leave),
        ];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        // Red when the newest is lost instead of the oldest, when one key pushes out another's, when the order breaks,
        // or when an event waits and no collector comes.
        #[test]
        fn an_outbox_does_what_a_plain_list_does(bound in 1usize..6, steps in steps()) {
            let mut outbox = Outbox::new(NonZeroUsize::new(bound).unwrap());
            let (mut list, mut lost, mut wake_pending): (Vec<(u8, usize)>, u64, bool) = (Vec::new(), 0, false);
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Put(key) => {
                        list.push((key, number));
                        if list.iter().filter(|event| event.0 == key).count() > bound {
                            let oldest = list.iter().position(|event| event.0 == key).unwrap();
                            list.remove(oldest);
                            lost += 1;
                        }
                        prop_assert_eq!(outbox.put(key, (key, number)), !wake_pending);
                        wake_pending = true;
                    }
                    Step::Take(most, below) => {
                        let ready = list.iter().take(most).take_while(|event| event.1 < below).count();
                        let expected: Vec<_> = list.drain(..ready).collect();
                        prop_assert_eq!(outbox.take(most, |event| event.1 < below), expected);
                    }
                    Step::Leave => {
                        wake_pending = !list.is_empty();
                        prop_assert_eq!(outbox.leave(), wake_pending);
                    }
                }
                prop_assert_eq!(outbox.len(), list.len());
                prop_assert!(outbox.is_empty() || outbox.wake_pending);
            }
            prop_assert_eq!(outbox.take_lost(), lost);
            prop_assert_eq!(outbox.take_lost(), 0);
        }
    }
}
