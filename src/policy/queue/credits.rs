//! Who may occupy a place in the queue, and who is next.

use std::time::Duration;

use super::{conflation::ConflationKey, shares::Shares};
use crate::policy::wait_queue::{Claim, First, Ticket, WaitQueue};

/// A fixed number of credits, shared among the partitions, and handed out first come first served.
///
/// A credit is free, reserved (granted to a ticket that has not claimed it yet, or held by a permit), or in use. Each
/// partition has a line of its own; a free common credit goes to the longest wait of all lines. While a line has
/// waiters no credit is free for it, so none can jump the queue. `W` wakes a waiter; this type only keeps it and gives
/// it back.
///
/// Where bytes are bounded too, a record takes a credit and its bytes, and holds the bytes until it is settled. Bytes
/// are shared like credits. One that waits for common bytes is not overtaken by later ones, however small. A credit for
/// a record to come takes no bytes, and is granted only while a byte is free: so bytes exceed the bound by at most one
/// record for each that is held at once.
///
/// Behind the partitions is one line more, for those that do not know yet of which partition their record will be: they
/// take common credits alone.
#[derive(Debug)]
pub struct Credits<W> {
    shares: Shares,
    bytes: Option<Shares>,
    reserved: usize,
    lines: Vec<WaitQueue<W>>,
    /// Numbers the tickets of all lines, in the order of arrival.
    next: u64,
}

/// Where a record belongs, and how much it takes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Its partition.
    pub partition: usize,
    /// Its bytes; 0 where they are not bounded.
    pub bytes: usize,
}

/// Where a record belongs, what it takes up, and which waiting one it replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Its partition, and its bytes.
    pub load: Load,
    /// Whose place it takes where there is no other; none with other strategies than
    /// [`Overflow::Conflate`](super::Overflow::Conflate).
    pub key: Option<ConflationKey>,
}

impl<L: Into<Load>> From<L> for Placement {
    fn from(load: L) -> Self {
        Self { load: load.into(), key: None }
    }
}

/// What a record lacks to have room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// A place.
    Credit,
    /// Room for its bytes.
    Bytes,
}

impl Load {
    /// Returns how many bytes have to be free for it. For a record to come that is one: of its bytes nothing is known
    /// yet.
    fn needs(self) -> usize {
        self.bytes.max(1)
    }
}

impl From<usize> for Load {
    fn from(partition: usize) -> Self {
        Self { partition, bytes: 0 }
    }
}

/// A place in the line for the credits of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreditTicket {
    ticket: Ticket,
    /// In which line it is, and how many bytes it is for.
    load: Load,
}

impl CreditTicket {
    /// Returns in which line it is, and how many bytes it is for.
    pub const fn load(self) -> Load {
        self.load
    }
}

impl<W> Credits<W> {
    /// Starts with all credits free, and all bytes where they are bounded.
    pub fn new(capacity: usize, bytes: Option<usize>, partitions: usize) -> Self {
        let lines = (0..=partitions).map(|_| WaitQueue::new()).collect();
        let bytes = bytes.map(|bytes| Shares::new(bytes, partitions));
        Self { shares: Shares::new(capacity, partitions), bytes, reserved: 0, lines, next: 0 }
    }

    /// Returns the line of those that do not know their partition yet.
    pub const fn any(&self) -> usize {
        self.lines.len() - 1
    }

    /// Returns whether a partition holds what is waited for: it has no credit left, or bytes are waited for that it
    /// has.
    pub fn is_out(&self, line: usize) -> bool {
        let Some(bytes) = &self.bytes else { return self.shares.free_for(line) == 0 };
        let is_waited_for = || self.keeps_bytes().is_some() && bytes.uses_common(line);
        self.shares.free_for(line) == 0 || self.lines[line].first().is_some() || is_waited_for()
    }

    /// Returns whether there is a credit for any partition and none waits for bytes. Then no partition
    /// [is out](Self::is_out); it is quicker than to ask for each.
    pub fn has_common(&self) -> bool {
        self.shares.common_free() > 0 && (self.bytes.is_none() || self.waits().next().is_none())
    }

    /// Returns whether it is its own partition alone that keeps a record out: it holds all that the shares of the
    /// others leave it, or would with this record. Where there are no shares none is.
    pub fn is_kept_out(&self, load: Load) -> bool {
        let passes = |bytes: &Shares| bytes.passes_limit(load.partition, load.needs());
        self.shares.passes_limit(load.partition, 1) || self.bytes.as_ref().is_some_and(passes)
    }

    /// Returns what a record lacks to have room, if eviction can make it, where `queued_bytes` are those of a partition
    /// that can go. For one that a waiter comes before it cannot.
    pub fn lacks(&self, load: Load, queued_bytes: impl Fn(usize) -> usize) -> Option<Lack> {
        let partition = load.partition;
        let Some(shared) = self.bytes.as_ref().filter(|_| self.shares.free_for(partition) > 0) else {
            return Some(Lack::Credit);
        };
        let is_behind = self.keeps_bytes().is_some() && load.needs() > shared.free_of_own(partition);
        if is_behind || self.lines[partition].first().is_some() {
            return None;
        }
        let common = |other: usize| queued_bytes(other).min(shared.beyond(other));
        let others = (0..self.any()).filter(|&other| other != partition).map(common).sum::<usize>();
        let own = if partition < self.any() { queued_bytes(partition) } else { 0 };
        (shared.free_for(partition) + others + own >= load.needs()).then_some(Lack::Bytes)
    }

    /// Returns whether a partition has in common what is lacked.
    pub fn is_in_the_way(&self, partition: usize, lack: Lack) -> bool {
        match lack {
            Lack::Credit => self.shares.uses_common(partition),
            Lack::Bytes => self.bytes.as_ref().is_some_and(|bytes| bytes.uses_common(partition)),
        }
    }

    /// Returns how many bytes are held, by records that are accepted and not settled or granted to a ticket.
    pub fn held_bytes(&self) -> usize {
        self.bytes.as_ref().map_or(0, Shares::held)
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
        self.waits().any(|(line, first)| !self.is_kept_out(load_of(line, first)))
    }

    /// Puts a free credit to use for this record, if there is one.
    #[inline]
    pub fn take(&mut self, load: Load) -> bool {
        if self.bytes.is_none() { self.shares.take_one(load.partition) } else { self.take_weighed(load) }
    }

    /// Puts free credits to use for these records, from the front, and returns for how many.
    pub fn take_many(&mut self, loads: &[Load]) -> usize {
        if self.bytes.is_none() {
            return self.shares.take_each(loads.iter().map(|load| load.partition));
        }
        loads.iter().take_while(|load| self.take_weighed(**load)).count()
    }

    fn take_weighed(&mut self, load: Load) -> bool {
        let Load { partition, bytes } = load;
        if load.needs() > self.free_bytes(partition) || !self.shares.take_one(partition) {
            return false;
        }
        self.hold_bytes(partition, bytes);
        true
    }

    /// Returns how many bytes a record that comes now can have.
    fn free_bytes(&self, partition: usize) -> usize {
        match &self.bytes {
            // What waits goes first.
            Some(_) if self.lines[partition].first().is_some() => 0,
            // One that waits for common bytes keeps these from what comes later.
            Some(shared) if self.keeps_bytes().is_some() => shared.free_of_own(partition),
            Some(shared) => shared.free_for(partition),
            None => usize::MAX,
        }
    }

    fn hold_bytes(&mut self, partition: usize, bytes: usize) {
        if let Some(shared) = &mut self.bytes {
            shared.hold(partition, bytes);
        }
    }

    /// Lets a record have the credit of another of its partition, which had so many bytes, if there are bytes enough.
    /// What is left of these goes to those that wait.
    pub fn take_over(&mut self, load: Load, had: usize, wake: &mut Vec<W>) -> bool {
        let Load { partition, bytes } = load;
        if bytes > had {
            let more = bytes - had;
            let fits = more <= self.free_bytes(partition);
            if fits {
                self.hold_bytes(partition, more);
            }
            return fits;
        }
        if bytes < had {
            self.settle_bytes(partition, had - bytes, wake);
        }
        true
    }

    /// Turns a credit that was just claimed or taken into one that is held for later.
    pub fn keep(&mut self) {
        self.reserved += 1;
    }

    /// Puts a credit that is held to use for a record. It holds no bytes, so these are taken whatever is free.
    pub fn use_reserved(&mut self, line: usize, Load { partition, bytes }: Load, wake: &mut Vec<W>) {
        debug_assert!(self.reserved > 0, "no credit is held");
        self.reserved -= 1;
        self.hold_bytes(partition, bytes);
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

    /// Takes a place at the end of a line for up to `want` credits, at least one. Where bytes are bounded it is for one
    /// credit and so many bytes.
    pub fn wait(
        &mut self,
        line: usize,
        (want, bytes): (usize, usize),
        deadline: Option<Duration>,
        waker: W,
    ) -> CreditTicket {
        debug_assert!(want > 0 && (self.is_out(line) || self.bytes.is_some()), "waits although it could take");
        let want = if self.bytes.is_some() { 1 } else { want };
        self.next += 1;
        let ticket = self.lines[line].wait_as(self.next, (want, bytes), deadline, waker);
        CreditTicket { ticket, load: Load { partition: line, bytes } }
    }

    /// Asks what a ticket is worth. Credits that it was granted count as in use from then on; while it waits, `waker`
    /// replaces the one kept. The one that is not needed any more goes to `spent`.
    pub fn claim(&mut self, ticket: CreditTicket, waker: W, spent: &mut Vec<W>) -> Claim {
        let claim = self.lines[ticket.load.partition].claim(ticket.ticket, waker, spent);
        if let Claim::Granted(granted) = claim {
            self.reserved -= granted;
        }
        claim
    }

    /// Leaves the line. Credits that the ticket was granted go to the next in line; its waker goes to `spent`.
    pub fn cancel(&mut self, ticket: CreditTicket, wake: &mut Vec<W>, spent: &mut Vec<W>) {
        let Load { partition: line, bytes } = ticket.load;
        let granted = self.lines[line].cancel(ticket.ticket, spent);
        self.reserved -= granted;
        if granted > 0 {
            self.release_bytes(line, bytes);
        }
        self.release(line, granted, wake);
    }

    /// Takes credits of a partition out of use and grants them to those that wait, in order. One that wants several
    /// gets what there is.
    pub fn release(&mut self, line: usize, credits: usize, wake: &mut Vec<W>) {
        self.shares.release(line, credits);
        self.grant(wake);
    }

    /// Gives back the bytes of records that are settled, or were granted and are not used; they go to those that wait.
    pub fn settle_bytes(&mut self, partition: usize, bytes: usize, wake: &mut Vec<W>) {
        self.release_bytes(partition, bytes);
        self.grant(wake);
    }

    fn release_bytes(&mut self, partition: usize, bytes: usize) {
        if let Some(shared) = &mut self.bytes {
            shared.release(partition, bytes);
        }
    }

    /// Grants free credits to those that wait and can have them, the longest wait first.
    fn grant(&mut self, wake: &mut Vec<W>) {
        while let Some((line, first)) = self.next_served() {
            let granted = self.shares.take(line, first.amount);
            self.hold_bytes(line, first.weight);
            self.reserved += granted;
            self.lines[line].grant(granted, wake);
        }
    }

    /// Returns the longest wait that can be served now.
    fn next_served(&self) -> Option<(usize, First)> {
        let keeps = self.keeps_bytes();
        let can = |&(line, first): &(usize, First)| {
            let Some(shared) = &self.bytes else { return true };
            let is_behind = keeps.is_some_and(|keeps| keeps < first.ticket);
            load_of(line, first).needs() <= if is_behind { shared.free_of_own(line) } else { shared.free_for(line) }
        };
        self.waits_with_credit().filter(can).min_by_key(|(_, first)| first.ticket)
    }

    /// Returns the first of each line that has one.
    fn waits(&self) -> impl Iterator<Item = (usize, First)> {
        self.lines.iter().enumerate().filter_map(|(line, queue)| Some((line, queue.first()?)))
    }

    fn waits_with_credit(&self) -> impl Iterator<Item = (usize, First)> {
        self.waits().filter(|&(line, _)| self.shares.free_for(line) > 0)
    }

    /// Returns the longest wait that has a credit and lacks common bytes: it keeps these from all behind it.
    fn keeps_bytes(&self) -> Option<Ticket> {
        let shared = self.bytes.as_ref()?;
        let is_short = |&(line, first): &(usize, First)| load_of(line, first).needs() > shared.free_for(line);
        let lacks = self.waits_with_credit().filter(is_short);
        lacks.map(|(_, first)| first.ticket).min()
    }

    /// Returns the earliest deadline of those that wait.
    pub fn next_deadline(&self) -> Option<Duration> {
        self.lines.iter().filter_map(WaitQueue::next_deadline).min()
    }

    /// Lets every ticket expire whose deadline is not after `now`.
    pub fn expire(&mut self, now: Duration, wake: &mut Vec<W>) {
        self.lines.iter_mut().for_each(|line| line.expire(now, wake));
        // One that waited for bytes kept them from those behind it.
        self.grant(wake);
    }

    /// Wakes all that wait, for events that are not about credits.
    pub fn wake_all(&mut self, wake: &mut Vec<W>) {
        self.lines.iter_mut().for_each(|line| line.wake_all(wake));
    }
}

/// What the first in a line waits for.
const fn load_of(line: usize, first: First) -> Load {
    Load { partition: line, bytes: first.weight }
}

#[cfg(test)]
mod tests;
