//! Who may occupy a place in the queue, and who is next.

use std::time::Duration;

use super::shares::Shares;
use crate::policy::wait_queue::{Claim, Ticket, WaitQueue};

/// A fixed number of credits, shared among the partitions, and handed out first come first served.
///
/// A credit is free, reserved (granted to a ticket that has not claimed it yet, or held by a permit), or in use. Each
/// partition has a line of its own; a free common credit goes to the longest wait of all lines. While a line has waiters no
/// credit is free for it, so none can jump the queue. `W` wakes a waiter; this type only keeps it and gives it back.
///
/// Behind the partitions is one line more, for those that do not know yet of which partition their record will be: they
/// take common credits alone.
#[derive(Debug)]
pub struct Credits<W> {
    shares: Shares,
    reserved: usize,
    lines: Vec<WaitQueue<W>>,
    /// Numbers the tickets of all lines, in the order of arrival.
    next: u64,
}

/// A place in the line for the credits of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreditTicket {
    line: usize,
    ticket: Ticket,
}

impl CreditTicket {
    /// Returns in which line it is.
    pub const fn line(self) -> usize {
        self.line
    }
}

impl<W> Credits<W> {
    /// Starts with all credits free.
    pub fn new(capacity: usize, partitions: usize) -> Self {
        let lines = (0..=partitions).map(|_| WaitQueue::new()).collect();
        Self { shares: Shares::new(capacity, partitions), reserved: 0, lines, next: 0 }
    }

    /// Returns the line of those that do not know their partition yet.
    pub const fn any(&self) -> usize {
        self.lines.len() - 1
    }

    /// Returns whether a partition can take no more.
    pub fn is_out(&self, line: usize) -> bool {
        self.shares.free_for(line) == 0
    }

    /// Returns whether a credit is free that any partition can have.
    pub const fn has_common(&self) -> bool {
        self.shares.common_free() > 0
    }

    /// Returns whether a partition holds all that the shares of the others leave it.
    pub fn is_at_limit(&self, partition: usize) -> bool {
        self.shares.is_at_limit(partition)
    }

    /// Returns whether a partition holds more than its own share.
    pub fn uses_common(&self, partition: usize) -> bool {
        self.shares.uses_common(partition)
    }

    /// Returns how many credits are granted or held but not in use.
    pub const fn reserved(&self) -> usize {
        self.reserved
    }

    /// Returns how many credits are in use or reserved.
    pub const fn held(&self) -> usize {
        self.shares.held()
    }

    /// Returns how many tickets wait for a credit.
    pub fn waiting(&self) -> usize {
        self.lines.iter().map(WaitQueue::waiting).sum()
    }

    /// Returns how many tickets wait for a credit of a partition.
    pub fn waiting_for(&self, partition: usize) -> usize {
        self.lines[partition].waiting()
    }

    /// Returns whether any ticket waits that is not kept out by its own partition alone.
    pub fn is_wanted(&self) -> bool {
        let is_wanted =
            |(line, queue): (usize, &WaitQueue<W>)| queue.first().is_some() && !self.shares.is_at_limit(line);
        self.lines.iter().enumerate().any(is_wanted)
    }

    /// Puts free credits to use for records of these partitions, from the front, and returns for how many.
    pub fn take_many(&mut self, partitions: &[usize]) -> usize {
        partitions.iter().take_while(|&&partition| self.shares.take(partition, 1) == 1).count()
    }

    /// Turns a credit that was just claimed or taken into one that is held for later.
    pub fn keep(&mut self) {
        self.reserved += 1;
    }

    /// Puts a credit that is held to use for a record of this partition.
    pub fn use_reserved(&mut self, line: usize, partition: usize, wake: &mut Vec<W>) {
        debug_assert!(self.reserved > 0, "no credit is held");
        self.reserved -= 1;
        if line != partition {
            self.shares.release(line, 1);
            let taken = self.shares.take(partition, 1);
            debug_assert_eq!(taken, 1, "a common credit serves every partition");
            self.grant(wake);
        }
    }

    /// Gives back a credit that is held.
    pub fn give_back(&mut self, line: usize, wake: &mut Vec<W>) {
        debug_assert!(self.reserved > 0, "no credit is held");
        self.reserved -= 1;
        self.release(line, 1, wake);
    }

    /// Takes a place at the end of a line for up to `want` credits, at least one.
    pub fn wait(&mut self, line: usize, want: usize, deadline: Option<Duration>, waker: W) -> CreditTicket {
        debug_assert!(self.is_out(line) && want > 0, "waits although it could take");
        self.next += 1;
        CreditTicket { line, ticket: self.lines[line].wait_as(self.next, want, deadline, waker) }
    }

    /// Asks what a ticket is worth. Credits that it was granted count as in use from then on; while it waits, `waker`
    /// replaces the one kept. The one that is not needed any more goes to `spent`.
    pub fn claim(&mut self, ticket: CreditTicket, waker: W, spent: &mut Vec<W>) -> Claim {
        let claim = self.lines[ticket.line].claim(ticket.ticket, waker, spent);
        if let Claim::Granted(granted) = claim {
            self.reserved -= granted;
        }
        claim
    }

    /// Leaves the line. Credits that the ticket was granted go to the next in line; its waker goes to `spent`.
    pub fn cancel(&mut self, ticket: CreditTicket, wake: &mut Vec<W>, spent: &mut Vec<W>) {
        let granted = self.lines[ticket.line].cancel(ticket.ticket, spent);
        self.reserved -= granted;
        self.release(ticket.line, granted, wake);
    }

    /// Takes credits of a partition out of use and grants them to those that wait, in order. One that wants several gets
    /// what there is.
    pub fn release(&mut self, line: usize, credits: usize, wake: &mut Vec<W>) {
        self.shares.release(line, credits);
        self.grant(wake);
    }

    /// Grants free credits to those that wait and can have them, the longest wait first.
    fn grant(&mut self, wake: &mut Vec<W>) {
        loop {
            let firsts = self.lines.iter().enumerate().filter_map(|(line, queue)| Some((queue.first()?, line)));
            let served = firsts.filter(|&(_, line)| self.shares.free_for(line) > 0);
            let Some(((_, want), line)) = served.min_by_key(|&((ticket, _), _)| ticket) else { return };
            let granted = self.shares.take(line, want);
            self.reserved += granted;
            self.lines[line].grant(granted, wake);
        }
    }

    /// Returns the earliest deadline of those that wait.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.lines.iter().filter_map(WaitQueue::next_deadline).min()
    }

    /// Lets every ticket expire whose deadline is not after `now`.
    pub fn expire(&mut self, now: Duration, wake: &mut Vec<W>) {
        self.lines.iter_mut().for_each(|line| line.expire(now, wake));
    }

    /// Wakes all that wait, for events that are not about credits.
    pub fn wake_all(&mut self, wake: &mut Vec<W>) {
        self.lines.iter_mut().for_each(|line| line.wake_all(wake));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Take(usize),
        Wait(usize, usize, Option<u64>),
        Claim(usize),
        Cancel(usize),
        Release(usize, usize),
        Reserve(usize),
        UseReserved(usize, usize),
        GiveBack(usize),
        Expire(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let line = || 0usize..4;
        prop_oneof![
            (0usize..3).prop_map(Step::Take),
            (line(), 1usize..6, prop::option::of(0u64..100))
                .prop_map(|(line, want, deadline)| Step::Wait(line, want, deadline)),
            (0usize..20).prop_map(Step::Claim),
            (0usize..20).prop_map(Step::Cancel),
            (0usize..3, 1usize..6).prop_map(|(partition, count)| Step::Release(partition, count)),
            line().prop_map(Step::Reserve),
            (0usize..9, 0usize..3).prop_map(|(which, partition)| Step::UseReserved(which, partition)),
            (0usize..9).prop_map(Step::GiveBack),
            (0u64..100).prop_map(Step::Expire),
        ]
    }

    /// The naive model: what each partition holds, and one list in which all are asked in turn.
    #[derive(Default)]
    struct Model {
        capacity: usize,
        share: usize,
        /// By partition, and behind them what is held without one.
        used: [usize; 4],
        permits: Vec<usize>,
        line: Vec<Waiting>,
    }

    struct Waiting {
        ticket: CreditTicket,
        line: usize,
        want: usize,
        deadline: Option<u64>,
        granted: usize,
    }

    impl Model {
        fn held(&self, line: usize) -> usize {
            let granted = self.line.iter().filter(|waiting| waiting.line == line).map(|waiting| waiting.granted);
            let permits = self.permits.iter().filter(|&&permit| permit == line).count();
            self.used[line] + permits + granted.sum::<usize>()
        }

        fn share_of(&self, line: usize) -> usize {
            if line < 3 { self.share } else { 0 }
        }

        fn common_free(&self) -> usize {
            let common = self.capacity - 3 * self.share;
            common - (0..4).map(|line| self.held(line).saturating_sub(self.share_of(line))).sum::<usize>()
        }

        fn free_for(&self, line: usize) -> usize {
            self.share_of(line).saturating_sub(self.held(line)) + self.common_free()
        }

        fn grant(&mut self) {
            for at in 0..self.line.len() {
                let free = self.free_for(self.line[at].line);
                let waiting = &mut self.line[at];
                if waiting.granted == 0 {
                    waiting.granted = waiting.want.min(free);
                }
            }
        }
    }

    proptest! {
        /// Red when a grant is lost on cancel, when one is served before another that came earlier and could be, when an
        /// expired ticket keeps a credit, when `release` wakes none, or when a partition's own share goes to another.
        #[test]
        fn agrees_with_one_list_in_which_all_are_asked_in_turn(
            capacity in 1usize..30, steps in prop::collection::vec(step(), 0..120)
        ) {
            let mut credits = Credits::new(capacity, 3);
            let share = if capacity < 6 { 0 } else { (capacity / 24).max(1) };
            let mut model = Model { capacity, share, ..Model::default() };
            let mut tickets: Vec<CreditTicket> = Vec::new();
            let mut wake = Vec::new();
            for step in steps {
                match step {
                    Step::Take(partition) => {
                        let taken = credits.take_many(&[partition]) == 1;
                        prop_assert_eq!(taken, model.free_for(partition) > 0);
                        model.used[partition] += usize::from(taken);
                    }
                    Step::Wait(line, want, deadline) if model.free_for(line) == 0 => {
                        let ticket = credits.wait(line, want, deadline.map(Duration::from_millis), tickets.len());
                        model.line.push(Waiting { ticket, line, want, deadline, granted: 0 });
                        tickets.push(ticket);
                    }
                    Step::Claim(which) if which < tickets.len() => {
                        let claim = credits.claim(tickets[which], which, &mut Vec::new());
                        let at = model.line.iter().position(|waiting| waiting.ticket == tickets[which]);
                        match at {
                            None => prop_assert_eq!(claim, Claim::Expired),
                            Some(at) if model.line[at].granted == 0 => prop_assert_eq!(claim, Claim::Waiting),
                            Some(at) => {
                                let waiting = model.line.remove(at);
                                prop_assert_eq!(claim, Claim::Granted(waiting.granted));
                                if waiting.line < 3 {
                                    model.used[waiting.line] += waiting.granted;
                                } else {
                                    // It has no record yet: each stays a permit.
                                    (0..waiting.granted).for_each(|_| credits.keep());
                                    model.permits.extend(vec![3; waiting.granted]);
                                }
                            }
                        }
                    }
                    Step::Cancel(which) if which < tickets.len() => {
                        credits.cancel(tickets[which], &mut wake, &mut Vec::new());
                        model.line.retain(|waiting| waiting.ticket != tickets[which]);
                        model.grant();
                    }
                    Step::Release(partition, count) => {
                        let count = count.min(model.used[partition]);
                        model.used[partition] -= count;
                        model.grant();
                        credits.release(partition, count, &mut wake);
                    }
                    Step::Reserve(line) => {
                        let got = credits.take_many(&[line]) == 1;
                        (0..usize::from(got)).for_each(|_| credits.keep());
                        prop_assert_eq!(got, model.free_for(line) > 0);
                        model.permits.extend(got.then_some(line));
                    }
                    Step::UseReserved(which, partition) if which < model.permits.len() => {
                        let line = model.permits.remove(which);
                        let partition = if line < 3 { line } else { partition };
                        credits.use_reserved(line, partition, &mut wake);
                        model.used[partition] += 1;
                        model.grant();
                    }
                    Step::GiveBack(which) if which < model.permits.len() => {
                        credits.give_back(model.permits.remove(which), &mut wake);
                        model.grant();
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
                let waits = |line: usize| model.line.iter().filter(move |w| w.line == line && w.granted == 0).count();
                prop_assert_eq!(credits.reserved(), model.permits.len() + granted);
                prop_assert_eq!(credits.held(), (0..4).map(|line| model.held(line)).sum::<usize>());
                prop_assert!(credits.held() <= capacity);
                for line in 0..4 {
                    prop_assert_eq!(credits.is_out(line), model.free_for(line) == 0, "line {}", line);
                    prop_assert_eq!(credits.waiting_for(line), waits(line));
                    prop_assert!(waits(line) == 0 || credits.is_out(line), "a free credit while one waits");
                }
                // All that the shares of the others leave: nothing is in common but what it holds itself.
                let at_limit = |line: usize| model.held(line) == capacity - 2 * share && line < 3;
                prop_assert_eq!(credits.is_wanted(), (0..4).any(|line| waits(line) > 0 && !at_limit(line)));
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
