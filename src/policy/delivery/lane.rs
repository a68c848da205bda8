use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    num::NonZeroUsize,
};

/// What waits for one subscriber: at most one event is under way to it, the rest waits here, bounded.
///
/// `K` is the coordinator that an event belongs to. Events of one key come out in the order in which they went in.
#[derive(Debug)]
pub struct Lane<K, E> {
    waiting: Waiting<K, E>,
    /// The ticket of the event under way. While it is none, nothing waits.
    under_way: Option<u64>,
    /// Counts what was offered: the ticket of the newest event.
    given: u64,
    closed: bool,
}

/// What became of an event that was offered to a [`Lane`].
#[derive(Debug, PartialEq, Eq)]
pub enum Offered<E> {
    /// The lane was idle: deliver this now, and call [`Lane::done`] when that has ended.
    Deliver(E),
    /// It waits behind the delivery under way.
    Waits,
    /// It waits in the place of this older event of its key, which will not be seen.
    Replaced(E),
    /// It waits, and this oldest event fell out of the full lane.
    Lost(E),
    /// The lane is closed: the event goes nowhere.
    Closed,
}

#[derive(Debug)]
enum Waiting<K, E> {
    /// Keys in the order in which they began to wait, and the newest event of each.
    Latest {
        order: VecDeque<(u64, K)>,
        newest: HashMap<K, E>,
    },
    Every {
        bound: NonZeroUsize,
        fifo: VecDeque<(u64, E)>,
    },
}

impl<K: Clone + Eq + Hash, E> Lane<K, E> {
    /// Makes a lane in which a newer event replaces the waiting one of its key, and takes that one's turn.
    pub fn latest() -> Self {
        Self::new(Waiting::Latest { order: VecDeque::new(), newest: HashMap::new() })
    }

    /// Makes a lane in which at most `bound` events wait; one more pushes out the oldest of all.
    pub fn every(bound: NonZeroUsize) -> Self {
        Self::new(Waiting::Every { bound, fifo: VecDeque::new() })
    }

    fn new(waiting: Waiting<K, E>) -> Self {
        Self { waiting, under_way: None, given: 0, closed: false }
    }

    /// Takes in an event.
    #[must_use]
    pub fn offer(&mut self, key: &K, event: E) -> Offered<E> {
        if self.closed {
            return Offered::Closed;
        }
        self.given += 1;
        let ticket = self.given;
        if self.under_way.is_none() {
            self.under_way = Some(ticket);
            return Offered::Deliver(event);
        }
        match &mut self.waiting {
            Waiting::Latest { order, newest } => match newest.insert(key.clone(), event) {
                Some(older) => Offered::Replaced(older),
                None => {
                    order.push_back((ticket, key.clone()));
                    Offered::Waits
                }
            },
            Waiting::Every { bound, fifo } => {
                let oldest = if fifo.len() == bound.get() { fifo.pop_front() } else { None };
                fifo.push_back((ticket, event));
                oldest.map_or(Offered::Waits, |(_, oldest)| Offered::Lost(oldest))
            }
        }
    }

    /// Ends the delivery under way, however it went, and hands out the next event: deliver it at once.
    #[must_use]
    pub fn done(&mut self) -> Option<E> {
        let next = match &mut self.waiting {
            Waiting::Latest { order, newest } => order.pop_front().and_then(|(ticket, key)| {
                let event = newest.remove(&key)?;
                Some((ticket, event))
            }),
            Waiting::Every { fifo, .. } => fifo.pop_front(),
        };
        self.under_way = next.as_ref().map(|(ticket, _)| *ticket);
        next.map(|(_, event)| event)
    }

    /// Puts an empty lane in the place of this one. What waits is dropped; a delivery under way stays so until
    /// [`Lane::done`], and marks hold for it.
    pub fn replace(&mut self, empty: Self) {
        let (under_way, given) = (self.under_way, self.given);
        *self = Self { under_way, given, ..empty };
    }

    /// Drops what waits and takes nothing more. A delivery under way stays so until [`Lane::done`].
    pub fn close(&mut self) {
        self.closed = true;
        match &mut self.waiting {
            Waiting::Latest { order, newest } => {
                order.clear();
                newest.clear();
            }
            Waiting::Every { fifo, .. } => fifo.clear(),
        }
    }

    /// Returns how many events wait behind the delivery under way.
    pub fn waiting(&self) -> usize {
        match &self.waiting {
            Waiting::Latest { order, .. } => order.len(),
            Waiting::Every { fifo, .. } => fifo.len(),
        }
    }

    /// Returns true while a delivery is under way.
    pub fn is_busy(&self) -> bool {
        self.under_way.is_some()
    }

    /// Returns a mark behind everything that the lane was given so far, for [`Lane::has_passed`].
    pub fn mark(&self) -> u64 {
        self.given
    }

    /// Returns true once all that was given before the mark has been delivered or fell out; a replaced event counts
    /// as delivered when the one that took its turn is.
    pub fn has_passed(&self, mark: u64) -> bool {
        self.under_way.is_none_or(|ticket| ticket > mark)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Event = (u8, u32);

    /// The rules in the most naive form: one list of what waits, searched from its front.
    struct Model {
        bound: Option<usize>,
        under_way: Option<Event>,
        list: Vec<Event>,
    }

    impl Model {
        fn offer(&mut self, event: Event) -> Offered<Event> {
            if self.under_way.is_none() {
                self.under_way = Some(event);
                return Offered::Deliver(event);
            }
            match self.bound {
                None => match self.list.iter_mut().find(|waiting| waiting.0 == event.0) {
                    Some(waiting) => Offered::Replaced(std::mem::replace(waiting, event)),
                    None => {
                        self.list.push(event);
                        Offered::Waits
                    }
                },
                Some(bound) => {
                    self.list.push(event);
                    if self.list.len() > bound { Offered::Lost(self.list.remove(0)) } else { Offered::Waits }
                }
            }
        }

        fn done(&mut self) -> Option<Event> {
            self.under_way = if self.list.is_empty() { None } else { Some(self.list.remove(0)) };
            self.under_way
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Offer(u8),
        Done,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        // More offers than deliveries, so that lanes fill up, and stretches of deliveries, so that they run empty.
        let step = prop_oneof![3 => (0..4u8).prop_map(Step::Offer), 2 => Just(Step::Done)];
        proptest::collection::vec(step, 0..200)
    }

    proptest! {
        // Red when `Latest` keeps the older event, moves a replaced one to the back, or `Every` loses the newest.
        #[test]
        fn a_lane_does_what_the_naive_model_does(bound in proptest::option::of(1usize..6), steps in steps()) {
            let mut model = Model { bound, under_way: None, list: Vec::new() };
            let mut lane = match bound {
                None => Lane::latest(),
                Some(bound) => Lane::every(NonZeroUsize::new(bound).unwrap()),
            };
            for (number, step) in (0..).zip(steps) {
                match step {
                    Step::Offer(key) => {
                        let event = (key, number);
                        prop_assert_eq!(lane.offer(&key, event), model.offer(event));
                    }
                    // A delivery can only end while one is under way.
                    Step::Done if model.under_way.is_some() => prop_assert_eq!(lane.done(), model.done()),
                    Step::Done => {}
                }
                prop_assert_eq!(lane.waiting(), model.list.len());
                prop_assert_eq!(lane.is_busy(), model.under_way.is_some());
            }
        }

        // Red when a later replacement lets a mark pass before its turn came, or holds it for a later turn.
        #[test]
        fn a_mark_passes_with_the_last_event_given_before_it(
            latest in any::<bool>(), before in proptest::collection::vec(0..4u8, 1..50),
            after in proptest::collection::vec(0..4u8, 0..50),
        ) {
            let mut lane = if latest { Lane::latest() } else { Lane::every(NonZeroUsize::new(8).unwrap()) };
            let mut turns = 0;
            for key in &before {
                let _ = lane.offer(key, ());
            }
            // As many deliveries as there are events in the lane now, fewer for those that fall out meanwhile.
            let present = lane.waiting() + 1;
            let mark = lane.mark();
            let mut fell_out = 0;
            for key in &after {
                fell_out += usize::from(matches!(lane.offer(key, ()), Offered::Lost(())));
            }
            while !lane.has_passed(mark) {
                let _ = lane.done();
                turns += 1;
            }
            prop_assert_eq!(turns, present - fell_out.min(present - 1));
        }
    }

    // Red when what waits outlives its lane, a second delivery begins beside the first, or a mark passes before it.
    #[test]
    fn a_lane_in_the_place_of_another_waits_for_its_delivery_alone() {
        let mut lane = Lane::latest();
        assert_eq!(lane.offer(&1, "under way"), Offered::Deliver("under way"));
        assert_eq!(lane.offer(&1, "dropped"), Offered::Waits);
        let mark = lane.mark();
        lane.replace(Lane::every(NonZeroUsize::new(8).unwrap()));
        assert_eq!(lane.waiting(), 0);
        assert_eq!([lane.offer(&1, "second"), lane.offer(&1, "third")], [Offered::Waits, Offered::Waits]);
        assert!(!lane.has_passed(mark));
        assert_eq!((lane.done(), lane.has_passed(mark)), (Some("second"), true));
        assert_eq!((lane.done(), lane.done(), lane.is_busy()), (Some("third"), None, false));
    }

    #[test]
    fn a_closed_lane_ends_with_the_delivery_under_way() {
        let mut lane = Lane::latest();
        assert_eq!(lane.offer(&1, "first"), Offered::Deliver("first"));
        assert_eq!(lane.offer(&1, "second"), Offered::Waits);
        lane.close();
        assert_eq!(lane.offer(&1, "third"), Offered::Closed);
        assert!(lane.is_busy());
        assert_eq!(lane.done(), None);
        assert!(!lane.is_busy());
    }
}
