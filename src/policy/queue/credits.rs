//! Who may occupy a place in the queue, and who is next.

use std::time::Duration;

use crate::policy::wait_queue::{Claim, Ticket, WaitQueue};

/// A fixed number of credits, handed out first come first served.
///
/// A credit is free, reserved (granted to a ticket that has not claimed it yet, or held by a
/// [`reserve`](Self::reserve)), or in use. While one waits no credit is free, so none can jump the queue. `W`
/// wakes a waiter; this type only keeps it and gives it back.
#[derive(Debug)]
pub struct Credits<W> {
    capacity: usize,
    free: usize,
    reserved: usize,
    /// Who waits for credits.
    line: WaitQueue<W>,
}

impl<W> Credits<W> {
    /// Starts with all credits free.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, free: capacity, reserved: 0, line: WaitQueue::new() }
    }

    /// Returns how many credits are free. None are while one waits.
    pub const fn free(&self) -> usize {
        self.free
    }

    /// Returns how many credits are granted or held but not in use.
    #[cfg(test)]
    pub const fn reserved(&self) -> usize {
        self.reserved
    }

    /// Returns how many credits are in use.
    pub const fn used(&self) -> usize {
        self.capacity - self.free - self.reserved
    }

    /// Returns how many tickets wait for a credit.
    pub fn waiting(&self) -> usize {
        self.line.waiting()
    }

    /// Puts up to `want` free credits to use and returns how many.
    pub fn take(&mut self, want: usize) -> usize {
        let taken = want.min(self.free);
        self.free -= taken;
        taken
    }

    /// Holds one free credit for later, if there is one.
    pub fn reserve(&mut self) -> bool {
        let taken = self.take(1);
        self.reserved += taken;
        taken == 1
    }

    /// Turns a credit that was just claimed or taken into one that is held for later.
    pub fn keep(&mut self) {
        self.reserved += 1;
    }

    /// Puts a credit held by [`reserve`](Self::reserve) to use.
    pub fn use_reserved(&mut self) {
        debug_assert!(self.reserved > 0, "no credit is held");
        self.reserved -= 1;
    }

    /// Gives back a credit held by [`reserve`](Self::reserve).
    pub fn give_back(&mut self, wake: &mut Vec<W>) {
        self.use_reserved();
        self.release(1, wake);
    }

    /// Takes a place at the end of the line for up to `want` credits, at least one.
    pub fn wait(&mut self, want: usize, deadline: Option<Duration>, waker: W) -> Ticket {
        debug_assert!(self.free == 0 && want > 0, "waits although it could take");
        self.line.wait(want, deadline, waker)
    }

    /// Asks what a ticket is worth. Credits that it was granted count as in use from then on; while it waits, `waker`
    /// replaces the one kept. The one that is not needed any more goes to `spent`.
    pub fn claim(&mut self, ticket: Ticket, waker: W, spent: &mut Vec<W>) -> Claim {
        let claim = self.line.claim(ticket, waker, spent);
        if let Claim::Granted(granted) = claim {
            self.reserved -= granted;
        }
        claim
    }

    /// Leaves the line. Credits that the ticket was granted go to the next in line; its waker goes to `spent`.
    pub fn cancel(&mut self, ticket: Ticket, wake: &mut Vec<W>, spent: &mut Vec<W>) {
        let granted = self.line.cancel(ticket, spent);
        self.reserved -= granted;
        self.release(granted, wake);
    }

    /// Takes credits out of use and grants them to those who wait, in order. One who wants several gets what there is.
    pub fn release(&mut self, credits: usize, wake: &mut Vec<W>) {
        self.free += credits;
        debug_assert!(self.free + self.reserved <= self.capacity, "more credits than there are");
        while self.free > 0
            && let Some(want) = self.line.first_wants()
        {
            let granted = want.min(self.free);
            self.free -= granted;
            self.reserved += granted;
            self.line.grant(granted, wake);
        }
    }

    /// Returns the earliest deadline of those who wait.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.line.next_deadline()
    }

    /// Lets everyone whose deadline is not after `now` expire.
    pub fn expire(&mut self, now: Duration, wake: &mut Vec<W>) {
        self.line.expire(now, wake);
    }

    /// Wakes everyone who waits, for events that are not about credits.
    pub fn wake_all(&mut self, wake: &mut Vec<W>) {
        self.line.wake_all(wake);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Take(usize),
        Wait(usize, Option<u64>),
        Claim(usize),
        Cancel(usize),
        Release(usize),
        Reserve,
        UseReserved,
        GiveBack,
        Expire(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1usize..6).prop_map(Step::Take),
            (1usize..6, prop::option::of(0u64..100)).prop_map(|(want, deadline)| Step::Wait(want, deadline)),
            (0usize..20).prop_map(Step::Claim),
            (0usize..20).prop_map(Step::Cancel),
            (1usize..6).prop_map(Step::Release),
            Just(Step::Reserve),
            Just(Step::UseReserved),
            Just(Step::GiveBack),
            (0u64..100).prop_map(Step::Expire),
        ]
    }

    /// The naive model: a line in which all are asked in turn, and no cleverness about who was asked before.
    #[derive(Default)]
    struct Model {
        free: usize,
        used: usize,
        held: usize,
        line: VecDeque<Waiting>,
    }

    struct Waiting {
        ticket: Ticket,
        want: usize,
        deadline: Option<u64>,
        granted: usize,
    }

    impl Model {
        fn share(&mut self) {
            for waiting in &mut self.line {
                if waiting.granted == 0 {
                    waiting.granted = waiting.want.min(self.free);
                    self.free -= waiting.granted;
                }
            }
        }
    }

    proptest! {
        /// Red when a grant is lost on cancel, when one is served before another that came earlier, when an expired
        /// ticket keeps a credit, or when `release` wakes none.
        #[test]
        fn agrees_with_a_line_in_which_everybody_is_asked_in_turn(
            capacity in 1usize..8, steps in prop::collection::vec(step(), 0..120)
        ) {
            let mut credits = Credits::new(capacity);
            let mut model = Model { free: capacity, ..Model::default() };
            let mut tickets: Vec<Ticket> = Vec::new();
            let mut wake = Vec::new();
            for step in steps {
                match step {
                    Step::Take(want) => {
                        let taken = credits.take(want);
                        prop_assert_eq!(taken, want.min(model.free));
                        model.free -= taken;
                        model.used += taken;
                    }
                    Step::Wait(want, deadline) if model.free == 0 => {
                        let ticket = credits.wait(want, deadline.map(Duration::from_millis), tickets.len());
                        model.line.push_back(Waiting { ticket, want, deadline, granted: 0 });
                        tickets.push(ticket);
                    }
                    Step::Claim(which) if which < tickets.len() => {
                        let claim = credits.claim(tickets[which], which, &mut Vec::new());
                        let at = model.line.iter().position(|waiting| waiting.ticket == tickets[which]);
                        match at {
                            None => prop_assert_eq!(claim, Claim::Expired),
                            Some(at) if model.line[at].granted == 0 => prop_assert_eq!(claim, Claim::Waiting),
                            Some(at) => {
                                let granted = model.line.remove(at).unwrap().granted;
                                model.used += granted;
                                prop_assert_eq!(claim, Claim::Granted(granted));
                            }
                        }
                    }
                    Step::Cancel(which) if which < tickets.len() => {
                        credits.cancel(tickets[which], &mut wake, &mut Vec::new());
                        if let Some(at) = model.line.iter().position(|waiting| waiting.ticket == tickets[which]) {
                            model.free += model.line.remove(at).unwrap().granted;
                            model.share();
                        }
                    }
                    Step::Release(count) => {
                        let count = count.min(model.used);
                        model.used -= count;
                        model.free += count;
                        model.share();
                        credits.release(count, &mut wake);
                    }
                    Step::Reserve => {
                        let got = credits.reserve();
                        prop_assert_eq!(got, model.free > 0);
                        if got { model.free -= 1; model.held += 1; }
                    }
                    Step::UseReserved if model.held > 0 => {
                        credits.use_reserved();
                        model.held -= 1;
                        model.used += 1;
                    }
                    Step::GiveBack if model.held > 0 => {
                        credits.give_back(&mut wake);
                        model.held -= 1;
                        model.free += 1;
                        model.share();
                    }
                    Step::Expire(now) => {
                        credits.expire(Duration::from_millis(now), &mut wake);
                        model.line.retain(|waiting| {
                            waiting.granted > 0 || waiting.deadline.is_none_or(|deadline| deadline > now)
                        });
                    }
                    _ => {}
                }
                let granted: usize = model.line.iter().map(|waiting| waiting.granted).sum();
                prop_assert_eq!(credits.free(), model.free);
                prop_assert_eq!(credits.used(), model.used);
                prop_assert_eq!(credits.reserved(), model.held + granted);
                prop_assert_eq!(credits.waiting(), model.line.iter().filter(|waiting| waiting.granted == 0).count());
                prop_assert!(credits.waiting() == 0 || credits.free() == 0, "a free credit while one waits");
                let deadline = model.line.iter().filter(|w| w.granted == 0).filter_map(|w| w.deadline).min();
                prop_assert_eq!(credits.next_deadline(), deadline.map(Duration::from_millis));
                // What has news has been woken: granted, or out of the line by expiry.
                for (which, ticket) in tickets.iter().enumerate() {
                    let granted = model.line.iter().any(|w| w.ticket == *ticket && w.granted > 0);
                    prop_assert!(!granted || wake.contains(&which), "ticket {which} has credits and sleeps");
                }
            }
        }
    }
}
