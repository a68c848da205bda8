//! Who gets the records that are allowed, and who is next.

use std::collections::BTreeMap;

/// A place in the line of those who wait for records to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What sums are wrong by after many roundings, in records.
const ROUNDING: f64 = 1e-6;

/// A token bucket with a line in front of it. While anybody waits, nobody else gets anything.
///
/// Whoever wants more than the bucket holds when it is full gets it when the bucket is full, and the bucket owes the
/// rest: so any number is got in the end, and the mean rate holds. `W` wakes a waiter; this type only keeps it and gives
/// it back.
#[derive(Debug)]
pub(super) struct Bucket<W> {
    /// Below zero while it owes.
    balance: f64,
    line: BTreeMap<Ticket, Waiter<W>>,
    /// Everyone in line from this ticket on still waits; whoever is before has been granted what it wanted.
    first_waiting: Ticket,
    next: u64,
}

#[derive(Debug)]
struct Waiter<W> {
    want: u32,
    waker: Option<W>,
}

impl<W> Bucket<W> {
    pub(super) fn new() -> Self {
        Self { balance: 0.0, line: BTreeMap::new(), first_waiting: Ticket(0), next: 0 }
    }

    /// Returns how many wait.
    pub(super) fn waiting(&self) -> usize {
        self.line.range(self.first_waiting..).count()
    }

    pub(super) fn anybody_waits(&self) -> bool {
        self.line.range(self.first_waiting..).next().is_some()
    }

    /// Puts in what was allowed, and gives to those who wait, in order. What is left beyond `size` is nobody's.
    pub(super) fn fill(&mut self, records: f64, size: f64, wake: &mut Vec<W>) {
        self.balance += records;
        while let Some((&ticket, place)) = self.line.range_mut(self.first_waiting..).next() {
            if !covers(self.balance, place.want, size) {
                return;
            }
            self.balance -= f64::from(place.want);
            wake.extend(place.waker.take());
            self.first_waiting = Ticket(ticket.0 + 1);
        }
        self.balance = self.balance.min(size);
    }

    /// Takes so many at once if nobody waits and the bucket allows it.
    pub(super) fn take(&mut self, want: u32, size: f64) -> bool {
        let taken = !self.anybody_waits() && covers(self.balance, want, size);
        if taken {
            self.balance -= f64::from(want);
        }
        taken
    }

    /// Takes a place at the end of the line.
    pub(super) fn wait(&mut self, want: u32, waker: W) -> Ticket {
        let ticket = Ticket(self.next);
        self.next += 1;
        self.line.insert(ticket, Waiter { want, waker: Some(waker) });
        ticket
    }

    /// Returns what a ticket was granted, which uses it up; while it waits, `waker` replaces the one kept.
    pub(super) fn claim(&mut self, ticket: Ticket, waker: W) -> Option<u32> {
        if ticket < self.first_waiting {
            return Some(self.line.remove(&ticket).map_or(0, |place| place.want));
        }
        if let Some(place) = self.line.get_mut(&ticket) {
            place.waker = Some(waker);
        }
        None
    }

    /// Leaves the line. What the ticket was granted goes back; [`fill`](Self::fill) gives it to the next.
    pub(super) fn cancel(&mut self, ticket: Ticket) {
        if let Some(place) = self.line.remove(&ticket)
            && ticket < self.first_waiting
        {
            self.balance += f64::from(place.want);
        }
    }

    /// Returns what is missing until the first in line can be served.
    pub(super) fn missing(&self, size: f64) -> Option<f64> {
        let (_, first) = self.line.range(self.first_waiting..).next()?;
        Some((need(first.want, size) - self.balance).max(0.0))
    }

    /// Takes away what nobody has taken; what is owed stays owed.
    pub(super) fn discard_surplus(&mut self) {
        self.balance = self.balance.min(0.0);
    }
}

/// What has to be in the bucket before so many are given.
fn need(want: u32, size: f64) -> f64 {
    f64::from(want).min(size)
}

fn covers(balance: f64, want: u32, size: f64) -> bool {
    balance + ROUNDING >= need(want, size)
}
