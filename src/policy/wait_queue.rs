//! The line of those who wait for something that is handed out in order: credits, records that a rate allows, a gate.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A place in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// The first in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct First {
    /// Its place.
    pub ticket: Ticket,
    /// How much it wants.
    pub amount: usize,
    /// What else it takes up.
    pub weight: usize,
}

/// What a ticket is worth at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// So many; the ticket is used up.
    Granted(usize),
    /// Nothing yet.
    Waiting,
    /// Nothing any more: its deadline has passed, or it was claimed or cancelled before.
    Expired,
}

/// A line in which who came first is served first.
///
/// What is handed out, and when the first may have it, is its owner's decision: the line only keeps what each wants,
/// until when, and what it was granted. A ticket that was granted something stays until it is claimed or cancelled. `W`
/// wakes a waiter. The line keeps it and gives each back once: to `wake`, to be woken, or to `spent`, to be dropped.
/// Both run foreign code, so the owner does it when it holds no lock.
#[derive(Debug)]
pub struct WaitQueue<W> {
    line: BTreeMap<Ticket, Waiter<W>>,
    /// All in line from this ticket on still wait; those before it were granted something.
    first_waiting: Ticket,
    deadlines: BTreeSet<(Duration, Ticket)>,
    next: u64,
}

#[derive(Debug)]
struct Waiter<W> {
    /// What it wants; once it was granted something, that.
    amount: usize,
    /// What else it takes up, as its owner understands it.
    weight: usize,
    deadline: Option<Duration>,
    waker: Option<W>,
}

impl<W> WaitQueue<W> {
    /// Makes an empty line.
    pub fn new() -> Self {
        Self { line: BTreeMap::new(), first_waiting: Ticket(0), deadlines: BTreeSet::new(), next: 0 }
    }

    /// Returns how many wait.
    pub fn waiting(&self) -> usize {
        self.line.range(self.first_waiting..).count()
    }

    /// Returns how much the first in line wants; none while no ticket waits.
    pub fn first_wants(&self) -> Option<usize> {
        self.first().map(|first| first.amount)
    }

    /// Returns the first in line; none while no ticket waits.
    pub fn first(&self) -> Option<First> {
        let first = self.line.range(self.first_waiting..).next();
        first.map(|(&ticket, waiter)| First { ticket, amount: waiter.amount, weight: waiter.weight })
    }

    /// Returns whether a ticket still waits.
    pub fn waits(&self, ticket: Ticket) -> bool {
        ticket >= self.first_waiting && self.line.contains_key(&ticket)
    }

    /// Takes a place at the end of the line for `want`, until `deadline`.
    pub fn wait(&mut self, want: usize, deadline: Option<Duration>, waker: W) -> Ticket {
        self.wait_as(self.next, (want, 0), deadline, waker)
    }

    /// Takes a place at the end of the line as a ticket of this number, which is higher than that of any before: so
    /// tickets of several lines have an order.
    pub fn wait_as(
        &mut self,
        number: u64,
        (amount, weight): (usize, usize),
        deadline: Option<Duration>,
        waker: W,
    ) -> Ticket {
        debug_assert!(number >= self.next, "a ticket in front of others");
        let ticket = Ticket(number);
        self.next = number + 1;
        self.deadlines.extend(deadline.map(|deadline| (deadline, ticket)));
        self.line.insert(ticket, Waiter { amount, weight, deadline, waker: Some(waker) });
        ticket
    }

    /// Grants so much to the first in line, if any ticket waits. Its deadline means nothing from then on.
    pub fn grant(&mut self, amount: usize, wake: &mut Vec<W>) {
        let Some((&ticket, waiter)) = self.line.range_mut(self.first_waiting..).next() else { return };
        waiter.amount = amount;
        wake.extend(waiter.waker.take());
        if let Some(deadline) = waiter.deadline.take() {
            self.deadlines.remove(&(deadline, ticket));
        }
        self.first_waiting = Ticket(ticket.0 + 1);
    }

    /// Asks what a ticket is worth. While it waits, `waker` replaces the one kept.
    pub fn claim(&mut self, ticket: Ticket, waker: W, spent: &mut Vec<W>) -> Claim {
        if ticket >= self.first_waiting
            && let Some(waiter) = self.line.get_mut(&ticket)
        {
            spent.extend(waiter.waker.replace(waker));
            return Claim::Waiting;
        }
        spent.push(waker);
        // Its own waker was taken when it was granted something.
        self.line.remove(&ticket).map_or(Claim::Expired, |waiter| Claim::Granted(waiter.amount))
    }

    /// Leaves the line. Returns what the ticket was granted and has not claimed.
    pub fn cancel(&mut self, ticket: Ticket, spent: &mut Vec<W>) -> usize {
        let Some(waiter) = self.line.remove(&ticket) else { return 0 };
        if let Some(deadline) = waiter.deadline {
            self.deadlines.remove(&(deadline, ticket));
        }
        spent.extend(waiter.waker);
        if ticket < self.first_waiting { waiter.amount } else { 0 }
    }

    /// Returns the earliest deadline of those who wait.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    /// Lets those who wait expire whose deadline is not after `now`.
    pub fn expire(&mut self, now: Duration, wake: &mut Vec<W>) {
        while let Some(&(deadline, ticket)) = self.deadlines.first() {
            if deadline > now {
                return;
            }
            self.deadlines.pop_first();
            // A ticket out of the line is worth `Expired`, so nothing more has to be remembered.
            wake.extend(self.line.remove(&ticket).and_then(|waiter| waiter.waker));
        }
    }

    /// Wakes all who wait, for what is not in their tickets. They keep their places.
    pub fn wake_all(&mut self, wake: &mut Vec<W>) {
        wake.extend(self.line.values_mut().filter_map(|waiter| waiter.waker.take()));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Wait(usize, Option<u64>),
        Grant(usize),
        Claim(usize),
        Cancel(usize),
        Expire(u64),
        WakeAll,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (1usize..6, prop::option::of(0u64..100)).prop_map(|(want, deadline)| Step::Wait(want, deadline)),
            2 => (1usize..6).prop_map(Step::Grant),
            3 => (0usize..20).prop_map(Step::Claim),
            1 => (0usize..20).prop_map(Step::Cancel),
            1 => (0u64..100).prop_map(Step::Expire),
            1 => Just(Step::WakeAll),
        ]
    }

    /// The naive model: a list that is searched from its front, each entry with all that is known of it.
    struct Waiting {
        which: usize,
        want: usize,
        deadline: Option<u64>,
        granted: Option<usize>,
        /// The number of the waker that the line keeps for it.
        waker: Option<usize>,
    }

    proptest! {
        // Red when one is served before another that came earlier, when an expired or cancelled ticket is granted
        // something, when a grant is lost on cancel, when a deadline outlives a grant, and when a waker is given back
        // twice, never, or to the wrong side.
        #[test]
        fn agrees_with_a_list_that_is_searched_from_its_front(steps in prop::collection::vec(step(), 0..150)) {
            let mut queue = WaitQueue::new();
            let mut model: Vec<Waiting> = Vec::new();
            let mut tickets: Vec<Ticket> = Vec::new();
            let mut wakers = 0..;
            let mut waker = || wakers.next().unwrap();
            for step in steps {
                let (mut wake, mut spent) = (Vec::new(), Vec::new());
                let (mut to_wake, mut to_drop) = (Vec::new(), Vec::new());
                match step {
                    Step::Wait(want, deadline) => {
                        let waker = waker();
                        model.push(Waiting { which: tickets.len(), want, deadline, granted: None, waker: Some(waker) });
                        tickets.push(queue.wait(want, deadline.map(Duration::from_millis), waker));
                    }
                    Step::Grant(amount) => {
                        if let Some(first) = model.iter_mut().find(|waiting| waiting.granted.is_none()) {
                            first.granted = Some(amount);
                            to_wake.extend(first.waker.take());
                        }
                        queue.grant(amount, &mut wake);
                    }
                    Step::Claim(which) if which < tickets.len() => {
                        let waker = waker();
                        let claim = queue.claim(tickets[which], waker, &mut spent);
                        match model.iter().position(|waiting| waiting.which == which) {
                            None => {
                                prop_assert_eq!(claim, Claim::Expired);
                                to_drop.push(waker);
                            }
                            Some(at) => match model[at].granted {
                                None => {
                                    prop_assert_eq!(claim, Claim::Waiting);
                                    to_drop.extend(model[at].waker.replace(waker));
                                }
                                Some(granted) => {
                                    prop_assert_eq!(claim, Claim::Granted(granted));
                                    to_drop.push(waker);
                                    model.remove(at);
                                }
                            },
                        }
                    }
                    Step::Cancel(which) if which < tickets.len() => {
                        let cancelled = queue.cancel(tickets[which], &mut spent);
                        let at = model.iter().position(|waiting| waiting.which == which);
                        let expected = at.map(|at| model.remove(at));
                        prop_assert_eq!(cancelled, expected.as_ref().and_then(|waiting| waiting.granted).unwrap_or(0));
                        to_drop.extend(expected.and_then(|waiting| waiting.waker));
                    }
                    Step::Expire(now) => {
                        queue.expire(Duration::from_millis(now), &mut wake);
                        let is_due = |waiting: &mut Waiting| {
                            waiting.granted.is_none() && waiting.deadline.is_some_and(|deadline| deadline <= now)
                        };
                        to_wake.extend(model.extract_if(.., is_due).filter_map(|waiting| waiting.waker));
                        // The earliest deadline is woken first; the model has no order for it.
                        wake.sort_unstable();
                    }
                    Step::WakeAll => {
                        queue.wake_all(&mut wake);
                        to_wake.extend(model.iter_mut().filter_map(|waiting| waiting.waker.take()));
                    }
                    _ => {}
                }
                if matches!(step, Step::Expire(_)) {
                    to_wake.sort_unstable();
                }
                prop_assert_eq!((wake, spent), (to_wake, to_drop));
                let waiting: Vec<_> = model.iter().filter(|waiting| waiting.granted.is_none()).collect();
                prop_assert_eq!(queue.waiting(), waiting.len());
                let waits = |which: usize| waiting.iter().any(|waiting| waiting.which == which);
                prop_assert!((0..tickets.len()).all(|which| queue.waits(tickets[which]) == waits(which)));
                prop_assert_eq!(queue.first_wants(), waiting.first().map(|waiting| waiting.want));
                let deadline = waiting.iter().filter_map(|waiting| waiting.deadline).min();
                prop_assert_eq!(queue.next_deadline(), deadline.map(Duration::from_millis));
            }
        }
    }
}
