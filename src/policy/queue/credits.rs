//! Who may occupy a place in the queue, and who is next.

use std::time::Duration;

use super::shares::Shares;
use crate::policy::wait_queue::{Claim, First, Ticket, WaitQueue};

/// A fixed number of credits, shared among the partitions, and handed out first come first served.
///
/// A credit is free, reserved (granted to a ticket that has not claimed it yet, or held by a permit), or in use. Each
/// partition has a line of its own; a free common credit goes to the longest wait of all lines. While a line has waiters no
/// credit is free for it, so none can jump the queue. `W` wakes a waiter; this type only keeps it and gives it back.
///
/// Where bytes are bounded too, a record takes a credit and its bytes, and holds the bytes until it is settled. Bytes are
/// shared like credits. One that waits for common bytes is not overtaken by later ones, however small.
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

/// What a record lacks to have room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// A place.
    Credit,
    /// Room for its bytes.
    Bytes,
}

impl From<usize> for Load {
    fn from(partition: usize) -> Self {
        Self { partition, bytes: 0 }
    }
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

    /// Returns whether a partition holds what is waited for: it has no credit left, or bytes are waited for that it has.
    pub fn is_out(&self, line: usize) -> bool {
        let Some(bytes) = &self.bytes else { return self.shares.free_for(line) == 0 };
        let is_waited_for = || self.keeps_bytes().is_some() && bytes.uses_common(line);
        self.shares.free_for(line) == 0 || self.lines[line].first().is_some() || is_waited_for()
    }

    /// Returns whether no partition [is out](Self::is_out), as far as that is quickly known.
    pub fn has_common(&self) -> bool {
        self.shares.common_free() > 0 && (self.bytes.is_none() || self.waits().next().is_none())
    }

    /// Returns whether it is its own partition alone that keeps a record out: it holds all that the shares of the others
    /// leave it, or would with this record.
    pub fn is_kept_out(&self, Load { partition, bytes }: Load) -> bool {
        let passes = |shared: &Shares| shared.held_by(partition) + bytes > shared.limit();
        self.shares.is_at_limit(partition) || self.bytes.as_ref().is_some_and(|shared| bytes > 0 && passes(shared))
    }

    /// Returns what a record lacks to have room, if eviction can make it, where `queued_bytes` are those of a partition that
    /// can go.
    pub fn lacks(&self, Load { partition, bytes }: Load, queued_bytes: impl Fn(usize) -> usize) -> Option<Lack> {
        let Some(shared) = self.bytes.as_ref().filter(|_| self.shares.free_for(partition) > 0) else {
            return Some(Lack::Credit);
        };
        let common = |other: usize| queued_bytes(other).min(shared.beyond(other));
        let others = (0..self.any()).filter(|&other| other != partition).map(common).sum::<usize>();
        let own = if partition < self.any() { queued_bytes(partition) } else { 0 };
        (shared.free_for(partition) + others + own >= bytes).then_some(Lack::Bytes)
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
        self.waits().any(|(line, first)| !self.is_kept_out(Load { partition: line, bytes: first.weight }))
    }

    /// Puts a free credit to use for this record, if there is one.
    #[inline]
    pub fn take(&mut self, load: Load) -> bool {
        if self.bytes.is_none() { self.shares.take_one(load.partition) } else { self.take_weighed(load) }
    }

    /// Puts free credits to use for these records, from the front, and returns for how many.
    pub fn take_many(&mut self, loads: &[Load]) -> usize {
        if self.bytes.is_none() {
            return loads.iter().take_while(|load| self.shares.take_one(load.partition)).count();
        }
        loads.iter().take_while(|load| self.take_weighed(**load)).count()
    }

    fn take_weighed(&mut self, Load { partition, bytes }: Load) -> bool {
        let is_behind = self.keeps_bytes().is_some();
        let Some(shared) = &mut self.bytes else { return false };
        // One that waits for common bytes keeps these from what comes later.
        let free = if is_behind { shared.free_of_own(partition) } else { shared.free_for(partition) };
        if self.lines[partition].first().is_some() || bytes > free || !self.shares.take_one(partition) {
            return false;
        }
        shared.hold(partition, bytes);
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
        if let Some(shared) = &mut self.bytes {
            shared.hold(partition, bytes);
        }
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
    /// Where bytes are bounded it is for one, and so many bytes with it.
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
        CreditTicket { line, ticket: self.lines[line].wait_as(self.next, (want, bytes), deadline, waker) }
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
        let bytes = self.lines[ticket.line].weight(ticket.ticket);
        let granted = self.lines[ticket.line].cancel(ticket.ticket, spent);
        self.reserved -= granted;
        if granted > 0 {
            self.release_bytes(ticket.line, bytes);
        }
        self.release(ticket.line, granted, wake);
    }

    /// Takes credits of a partition out of use and grants them to those that wait, in order. One that wants several gets
    /// what there is.
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
            if let Some(shared) = &mut self.bytes {
                shared.hold(line, first.weight);
            }
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
            first.weight <= if is_behind { shared.free_of_own(line) } else { shared.free_for(line) }
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
        let lacks = self.waits_with_credit().filter(|&(line, first)| first.weight > shared.free_for(line));
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

    /// What a record or a waiter of a line holds or wants.
    #[derive(Clone, Copy, Debug)]
    struct Held {
        line: usize,
        bytes: usize,
    }

    /// The naive model of bytes: the records in the queue, and one list of those that wait.
    struct ByteModel {
        used: Vec<Held>,
        line: Vec<(CreditTicket, Held, bool)>,
    }

    impl ByteModel {
        /// How much is free of a partition's own and in common.
        fn free(amount: usize, line: usize, held: impl Fn(usize) -> usize) -> (usize, usize) {
            let share = if amount < 6 { 0 } else { (amount / 24).max(1) };
            let beyond: usize = (0..3).map(|line| held(line).saturating_sub(share)).sum();
            (share.saturating_sub(held(line)), (amount - 3 * share).saturating_sub(beyond))
        }

        fn all(&self) -> impl Iterator<Item = Held> {
            let granted = self.line.iter().filter(|(.., granted)| *granted).map(|(_, held, _)| *held);
            self.used.iter().copied().chain(granted)
        }

        fn place_free(&self, line: usize, places: usize) -> bool {
            let held = |line| self.all().filter(|held| held.line == line).count();
            Self::free(places, line, held) != (0, 0)
        }

        /// What a worker has taken holds bytes, and no place.
        fn bytes_free(&self, taken: &[Held], bytes: usize, line: usize) -> (usize, usize) {
            let all = || self.all().chain(taken.iter().copied());
            Self::free(bytes, line, |line| all().filter(|held| held.line == line).map(|held| held.bytes).sum())
        }

        /// Whether one that waits has a place and lacks common bytes.
        fn keeps_bytes(&self, taken: &[Held], bytes: usize, places: usize) -> bool {
            let mut seen = Vec::new();
            self.line.iter().any(|&(_, held, granted)| {
                if granted || seen.contains(&held.line) {
                    return false;
                }
                seen.push(held.line);
                let (own, common) = self.bytes_free(taken, bytes, held.line);
                self.place_free(held.line, places) && held.bytes > own + common
            })
        }

        /// Serves those that wait, in order, of each line the first. One that has a place and lacks common bytes keeps these
        /// from all behind it.
        fn grant(&mut self, taken: &[Held], bytes: usize, places: usize) {
            'again: loop {
                let (mut is_kept, mut seen) = (false, Vec::new());
                for at in 0..self.line.len() {
                    let (_, held, granted) = self.line[at];
                    if granted || seen.contains(&held.line) {
                        continue;
                    }
                    seen.push(held.line);
                    if !self.place_free(held.line, places) {
                        continue;
                    }
                    let (own, common) = self.bytes_free(taken, bytes, held.line);
                    if held.bytes <= own + if is_kept { 0 } else { common } {
                        self.line[at].2 = true;
                        continue 'again;
                    }
                    is_kept |= held.bytes > own + common;
                }
                return;
            }
        }
    }

    #[derive(Clone, Debug)]
    enum ByteStep {
        /// Takes, or else waits.
        Submit(usize, usize),
        Claim(usize),
        Cancel(usize),
        /// A worker takes a record: its place is free, its bytes are not.
        Take(usize),
        Settle(usize),
        /// Every second one that waits has waited too long.
        Expire,
    }

    fn byte_step() -> impl Strategy<Value = ByteStep> {
        prop_oneof![
            6 => (0usize..3, 0usize..40).prop_map(|(line, bytes)| ByteStep::Submit(line, bytes)),
            2 => (0usize..9).prop_map(ByteStep::Claim),
            1 => (0usize..9).prop_map(ByteStep::Cancel),
            3 => (0usize..9).prop_map(ByteStep::Take),
            3 => (0usize..9).prop_map(ByteStep::Settle),
            1 => Just(ByteStep::Expire),
        ]
    }

    proptest! {
        /// Red when bytes are lost or made, when the bound is passed, when a small record overtakes a large one that waits
        /// for common bytes, or when one that could be served sleeps.
        #[test]
        fn bytes_are_shared_like_credits_and_the_longest_wait_is_not_overtaken(
            bytes in 6usize..200, steps in prop::collection::vec(byte_step(), 0..150)
        ) {
            const PLACES: usize = 12;
            let mut credits = Credits::new(PLACES, Some(bytes), 3);
            let most = Shares::new(bytes, 3).limit();
            let mut model = ByteModel { used: Vec::new(), line: Vec::new() };
            let mut taken: Vec<Held> = Vec::new();
            let mut impatient: Vec<CreditTicket> = Vec::new();
            let mut wake = Vec::new();
            let mut next = 0;
            for step in steps {
                match step {
                    ByteStep::Submit(line, size) => {
                        let held = Held { line, bytes: size.min(most) };
                        let load = Load { partition: line, bytes: held.bytes };
                        let (own, common) = model.bytes_free(&taken, bytes, line);
                        let waits = model.keeps_bytes(&taken, bytes, PLACES);
                        let mine = model.line.iter().any(|(_, other, granted)| !granted && other.line == line);
                        let fits = !mine && model.place_free(line, PLACES) && held.bytes <= own + if waits { 0 } else { common };
                        prop_assert_eq!(credits.take_many(&[load]), usize::from(fits));
                        if fits {
                            model.used.push(held);
                        } else {
                            let deadline = (next % 2 == 0).then_some(Duration::ZERO);
                            let ticket = credits.wait(line, (1, held.bytes), deadline, next);
                            model.line.push((ticket, held, false));
                            impatient.extend(deadline.map(|_| ticket));
                            next += 1;
                        }
                    }
                    ByteStep::Claim(which) if which < model.line.len() => {
                        let (ticket, held, granted) = model.line[which];
                        let claim = credits.claim(ticket, which, &mut Vec::new());
                        prop_assert_eq!(claim, if granted { Claim::Granted(1) } else { Claim::Waiting });
                        if granted {
                            model.line.remove(which);
                            model.used.push(held);
                        }
                    }
                    ByteStep::Cancel(which) if which < model.line.len() => {
                        let (ticket, ..) = model.line.remove(which);
                        credits.cancel(ticket, &mut wake, &mut Vec::new());
                    }
                    ByteStep::Take(which) if which < model.used.len() => {
                        let held = model.used.remove(which);
                        taken.push(held);
                        credits.release(held.line, 1, &mut wake);
                    }
                    ByteStep::Settle(which) if which < taken.len() => {
                        let held = taken.remove(which);
                        credits.settle_bytes(held.line, held.bytes, &mut wake);
                    }
                    ByteStep::Expire => {
                        credits.expire(Duration::ZERO, &mut wake);
                        model.line.retain(|(ticket, _, granted)| *granted || !impatient.contains(ticket));
                    }
                    _ => {}
                }
                model.grant(&taken, bytes, PLACES);
                let total: usize = model.all().chain(taken.iter().copied()).map(|held| held.bytes).sum();
                prop_assert_eq!(credits.held_bytes(), total);
                prop_assert!(total <= bytes, "{total} of {bytes}");
                for (ticket, held, granted) in &model.line {
                    let claim_waits = credits.lines[held.line].waits(ticket.ticket);
                    prop_assert_eq!(claim_waits, !granted, "{:?}", held);
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
            let mut credits = Credits::new(capacity, None, 3);
            let share = if capacity < 6 { 0 } else { (capacity / 24).max(1) };
            let mut model = Model { capacity, share, ..Model::default() };
            let mut tickets: Vec<CreditTicket> = Vec::new();
            let mut wake = Vec::new();
            for step in steps {
                match step {
                    Step::Take(partition) => {
                        let taken = credits.take_many(&[partition.into()]) == 1;
                        prop_assert_eq!(taken, model.free_for(partition) > 0);
                        model.used[partition] += usize::from(taken);
                    }
                    Step::Wait(line, want, deadline) if model.free_for(line) == 0 => {
                        let ticket = credits.wait(line, (want, 0), deadline.map(Duration::from_millis), tickets.len());
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
                        let got = credits.take_many(&[line.into()]) == 1;
                        (0..usize::from(got)).for_each(|_| credits.keep());
                        prop_assert_eq!(got, model.free_for(line) > 0);
                        model.permits.extend(got.then_some(line));
                    }
                    Step::UseReserved(which, partition) if which < model.permits.len() => {
                        let line = model.permits.remove(which);
                        let partition = if line < 3 { line } else { partition };
                        credits.use_reserved(line, partition.into(), &mut wake);
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
