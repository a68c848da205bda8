//! Who gets the records that are allowed, and who is next.

use crate::policy::wait_queue::{Claim, Ticket, WaitQueue};

/// What sums are wrong by after many roundings, in records.
const ROUNDING: f64 = 1e-6;

/// A token bucket with a line in front of it. While one waits, no other gets anything.
///
/// One who wants more than the bucket holds when it is full gets it when the bucket is full, and the bucket owes the
/// rest: so any number is got in the end, and the mean rate holds. `W` wakes a waiter; this type only keeps it and
/// gives it back.
#[derive(Debug)]
pub(super) struct Bucket<W> {
    /// Below zero while it owes.
    balance: f64,
    line: WaitQueue<W>,
}

impl<W> Bucket<W> {
    pub(super) fn new() -> Self {
        Self { balance: 0.0, line: WaitQueue::new() }
    }

    /// Returns how many wait.
    pub(super) fn waiting(&self) -> usize {
        self.line.waiting()
    }

    pub(super) fn is_waited_for(&self) -> bool {
        self.line.first_wants().is_some()
    }

    /// Puts in what was allowed, and gives to those who wait, in order. What is left beyond `size` is lost.
    pub(super) fn fill(&mut self, records: f64, size: f64, wake: &mut Vec<W>) {
        self.balance += records;
        while let Some(want) = self.line.first_wants() {
            if !covers(self.balance, want, size) {
                return;
            }
            self.balance -= want as f64;
            self.line.grant(want, wake);
        }
        self.balance = self.balance.min(size);
    }

    /// Takes so many at once if no ticket waits and the bucket allows it.
    pub(super) fn take(&mut self, want: usize, size: f64) -> bool {
        let taken = !self.is_waited_for() && covers(self.balance, want, size);
        if taken {
            self.balance -= want as f64;
        }
        taken
    }

    /// Takes a place at the end of the line.
    pub(super) fn wait(&mut self, want: usize, waker: W) -> Ticket {
        self.line.wait(want, None, waker)
    }

    /// Returns what a ticket was granted, which uses it up; while it waits, `waker` replaces the one kept. The one that
    /// is not needed any more goes to `spent`.
    pub(super) fn claim(&mut self, ticket: Ticket, waker: W, spent: &mut Vec<W>) -> Option<usize> {
        match self.line.claim(ticket, waker, spent) {
            Claim::Granted(granted) => Some(granted),
            Claim::Waiting => None,
            Claim::Expired => Some(0),
        }
    }

    /// Leaves the line. What the ticket was granted goes back; [`fill`](Self::fill) gives it to the next.
    pub(super) fn cancel(&mut self, ticket: Ticket, spent: &mut Vec<W>) {
        self.balance += self.line.cancel(ticket, spent) as f64;
    }

    /// Returns what is missing until the first in line can be served.
    pub(super) fn missing(&self, size: f64) -> Option<f64> {
        Some((need(self.line.first_wants()?, size) - self.balance).max(0.0))
    }

    /// Takes away what is not taken; what is owed stays owed.
    pub(super) fn discard_surplus(&mut self) {
        self.balance = self.balance.min(0.0);
    }
}

/// What has to be in the bucket before so many are given.
fn need(want: usize, size: f64) -> f64 {
    (want as f64).min(size)
}

fn covers(balance: f64, want: usize, size: f64) -> bool {
    balance + ROUNDING >= need(want, size)
}
