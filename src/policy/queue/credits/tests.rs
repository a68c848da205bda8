//! Credits and bytes against naive models: one list of those that wait, and all of it looked at each time.

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
    partitions: usize,
    share: usize,
    /// By partition, and behind them what is held without one.
    used: Vec<usize>,
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
        if line < self.partitions { self.share } else { 0 }
    }

    fn common_free(&self) -> usize {
        let common = self.capacity - self.partitions * self.share;
        common - (0..=self.partitions).map(|line| self.held(line).saturating_sub(self.share_of(line))).sum::<usize>()
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

impl Held {
    /// How many bytes have to be free for it: one at least, also for a place that is held for a record to come.
    fn needs(self) -> usize {
        self.bytes.max(1)
    }
}

/// The share of each partition: none where there is one partition, or less than two for each.
fn share(amount: usize, partitions: usize) -> usize {
    if partitions == 1 || amount < 2 * partitions { 0 } else { (amount / (8 * partitions)).max(1) }
}

/// The naive model of bytes: the records in the queue, and one list of those that wait.
struct ByteModel {
    partitions: usize,
    used: Vec<Held>,
    line: Vec<(CreditTicket, Held, bool)>,
}

impl ByteModel {
    /// How much is free of a partition's own and in common.
    fn free(&self, amount: usize, line: usize, held: impl Fn(usize) -> usize) -> (usize, usize) {
        let share = share(amount, self.partitions);
        let beyond: usize = (0..self.partitions).map(|line| held(line).saturating_sub(share)).sum();
        (share.saturating_sub(held(line)), (amount - self.partitions * share).saturating_sub(beyond))
    }

    fn all(&self) -> impl Iterator<Item = Held> {
        let granted = self.line.iter().filter(|(.., granted)| *granted).map(|(_, held, _)| *held);
        self.used.iter().copied().chain(granted)
    }

    fn place_free(&self, line: usize, places: usize) -> bool {
        let held = |line| self.all().filter(|held| held.line == line).count();
        self.free(places, line, held) != (0, 0)
    }

    /// What a worker has taken holds bytes, and no place.
    fn bytes_free(&self, taken: &[Held], bytes: usize, line: usize) -> (usize, usize) {
        let all = || self.all().chain(taken.iter().copied());
        self.free(bytes, line, |line| all().filter(|held| held.line == line).map(|held| held.bytes).sum())
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
            self.place_free(held.line, places) && held.needs() > own + common
        })
    }

    /// Serves those that wait, in order, of each line the first. One that has a place and lacks common bytes keeps
    /// these from all behind it.
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
                if held.needs() <= own + if is_kept { 0 } else { common } {
                    self.line[at].2 = true;
                    continue 'again;
                }
                is_kept |= held.needs() > own + common;
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
        bytes in 6usize..200, partitions in prop_oneof![Just(1), Just(3)],
        steps in prop::collection::vec(byte_step(), 0..150)
    ) {
        const PLACES: usize = 12;
        let mut credits = Credits::new(PLACES, Some(bytes), partitions);
        let most = Shares::new(bytes, partitions).limit();
        let mut model = ByteModel { partitions, used: Vec::new(), line: Vec::new() };
        let mut taken: Vec<Held> = Vec::new();
        let mut impatient: Vec<CreditTicket> = Vec::new();
        let mut wake = Vec::new();
        let mut next = 0;
        for step in steps {
            match step {
                ByteStep::Submit(line, size) => {
                    let line = line % partitions;
                    let held = Held { line, bytes: size.min(most) };
                    let load = Load { partition: line, bytes: held.bytes };
                    let (own, common) = model.bytes_free(&taken, bytes, line);
                    let waits = model.keeps_bytes(&taken, bytes, PLACES);
                    let mine = model.line.iter().any(|(_, other, granted)| !granted && other.line == line);
                    let fits = !mine && model.place_free(line, PLACES) && held.needs() <= own + if waits { 0 } else { common };
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
            let first = |line| model.line.iter().find(|(_, held, granted)| !granted && held.line == line);
            let is_kept_out = |line: usize, needs: usize| {
                let places = model.all().filter(|held| held.line == line).count();
                let held: usize =
                    model.all().chain(taken.iter().copied()).filter(|held| held.line == line).map(|held| held.bytes).sum();
                let others = |amount: usize| (partitions - 1) * share(amount, partitions);
                partitions > 1 && (places >= PLACES - others(PLACES) || held + needs > bytes - others(bytes))
            };
            let is_wanted = (0..partitions).filter_map(first).any(|(_, held, _)| !is_kept_out(held.line, held.needs()));
            prop_assert_eq!(credits.is_wanted(), is_wanted);
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
        capacity in 1usize..30, partitions in prop_oneof![Just(1), Just(3)],
        steps in prop::collection::vec(step(), 0..120)
    ) {
        let mut credits = Credits::new(capacity, None, partitions);
        let share = share(capacity, partitions);
        let used = vec![0; partitions + 1];
        let mut model = Model { capacity, partitions, share, used, ..Model::default() };
        let mut tickets: Vec<CreditTicket> = Vec::new();
        let mut wake = Vec::new();
        for step in steps {
            match step {
                Step::Take(partition) => {
                    let partition = partition % partitions;
                    let taken = credits.take_many(&[partition.into()]) == 1;
                    prop_assert_eq!(taken, model.free_for(partition) > 0);
                    model.used[partition] += usize::from(taken);
                }
                Step::Wait(line, want, deadline) if model.free_for(line % (partitions + 1)) == 0 => {
                    let line = line % (partitions + 1);
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
                            if waiting.line < partitions {
                                model.used[waiting.line] += waiting.granted;
                            } else {
                                // It has no record yet: each stays a permit.
                                (0..waiting.granted).for_each(|_| credits.keep());
                                model.permits.extend(vec![partitions; waiting.granted]);
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
                    let partition = partition % partitions;
                    let count = count.min(model.used[partition]);
                    model.used[partition] -= count;
                    model.grant();
                    credits.release(partition, count, &mut wake);
                }
                Step::Reserve(line) => {
                    let line = line % (partitions + 1);
                    let got = credits.take_many(&[line.into()]) == 1;
                    (0..usize::from(got)).for_each(|_| credits.keep());
                    prop_assert_eq!(got, model.free_for(line) > 0);
                    model.permits.extend(got.then_some(line));
                }
                Step::UseReserved(which, partition) if which < model.permits.len() => {
                    let line = model.permits.remove(which);
                    let partition = if line < partitions { line } else { partition % partitions };
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
            prop_assert_eq!(credits.held(), (0..=partitions).map(|line| model.held(line)).sum::<usize>());
            prop_assert!(credits.held() <= capacity);
            for line in 0..=partitions {
                prop_assert_eq!(credits.is_out(line), model.free_for(line) == 0, "line {}", line);
                prop_assert_eq!(credits.waiting_for(line), waits(line));
                prop_assert!(waits(line) == 0 || credits.is_out(line), "a free credit while one waits");
            }
            // All that the shares of the others leave: nothing is in common but what it holds itself.
            let others = (partitions - 1) * share;
            let at_limit = |line: usize| share > 0 && line < partitions && model.held(line) == capacity - others;
            prop_assert_eq!(credits.is_wanted(), (0..=partitions).any(|line| waits(line) > 0 && !at_limit(line)));
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
