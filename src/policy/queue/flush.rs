//! Waiting until everything before a point is settled.

use std::collections::BTreeMap;

/// Names one who waits for a flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlushId(u64);

/// Those who wait until every record up to a sequence is settled.
///
/// Sequences only grow, so the first who came is the first who may go. `W` wakes one who waits; this type only keeps
/// it.
#[derive(Debug)]
pub struct FlushBarriers<W> {
    waiting: BTreeMap<FlushId, FlushBarrier<W>>,
    next: u64,
}

#[derive(Debug)]
struct FlushBarrier<W> {
    up_to: u64,
    waker: Option<W>,
}

impl<W> Default for FlushBarriers<W> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), next: 0 }
    }
}

impl<W> FlushBarriers<W> {
    /// Waits for every record of the sequence `up_to` or earlier.
    pub fn wait(&mut self, up_to: u64, waker: W) -> FlushId {
        let id = FlushId(self.next);
        self.next += 1;
        self.waiting.insert(id, FlushBarrier { up_to, waker: Some(waker) });
        id
    }

    /// Returns whether the flush still waits; then `waker` replaces the one kept. The one that is not needed any more
    /// goes to `spent`.
    pub fn holds(&mut self, id: FlushId, waker: W, spent: &mut Vec<W>) -> bool {
        match self.waiting.get_mut(&id) {
            Some(barrier) => {
                spent.extend(barrier.waker.replace(waker));
                true
            }
            None => {
                spent.push(waker);
                false
            }
        }
    }

    /// Gives up waiting; the waker goes to `spent`.
    pub fn cancel(&mut self, id: FlushId, spent: &mut Vec<W>) {
        spent.extend(self.waiting.remove(&id).and_then(|barrier| barrier.waker));
    }

    /// Returns the sequence that the latest flush waits for.
    pub fn latest(&self) -> Option<u64> {
        self.waiting.last_key_value().map(|(_, barrier)| barrier.up_to)
    }

    /// Lets everyone go whose records are all settled, given the oldest sequence that is not.
    pub fn pass(&mut self, oldest_unsettled: Option<u64>, wake: &mut Vec<W>) {
        while let Some(first) = self.waiting.first_entry() {
            if oldest_unsettled.is_some_and(|oldest| oldest <= first.get().up_to) {
                return;
            }
            wake.extend(first.remove().waker);
        }
    }

    /// Wakes everyone, for events that are not about records.
    pub fn wake_all(&mut self, wake: &mut Vec<W>) {
        wake.extend(self.waiting.values_mut().filter_map(|barrier| barrier.waker.take()));
    }

    /// Returns whether no flush waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_when_the_oldest_unsettled_record_is_younger() {
        let mut flush_barriers = FlushBarriers::default();
        let (mut wake, mut spent) = (Vec::new(), Vec::new());
        let first = flush_barriers.wait(5, "first");
        let second = flush_barriers.wait(9, "second");
        assert_eq!(flush_barriers.latest(), Some(9));
        flush_barriers.pass(Some(5), &mut wake);
        assert!(flush_barriers.holds(first, "again", &mut spent) && wake.is_empty(), "record 5 itself is not settled");
        flush_barriers.pass(Some(6), &mut wake);
        assert!(!flush_barriers.holds(first, "late", &mut spent) && flush_barriers.holds(second, "anew", &mut spent));
        assert_eq!(wake, ["again"]);
        flush_barriers.pass(None, &mut wake);
        assert_eq!(wake, ["again", "anew"]);
        assert!(flush_barriers.is_empty());
        assert_eq!(spent, ["first", "late", "second"], "no waker is dropped in here");
    }

    #[test]
    fn a_flush_that_is_dropped_holds_no_other() {
        let mut flush_barriers = FlushBarriers::default();
        let mut spent = Vec::new();
        let first = flush_barriers.wait(5, "first");
        flush_barriers.cancel(first, &mut spent);
        assert_eq!((flush_barriers.latest(), spent), (None, vec!["first"]));
        assert!(flush_barriers.is_empty());
    }
}
