//! The buffer against a model that keeps everything in plain lists and looks at all of it each time.

use std::{
    collections::{BTreeSet, VecDeque},
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use proptest::{prelude::*, test_runner::TestCaseError};

use super::*;
use crate::policy::*;
use crate::policy::{BreakerConfig, Level, Watermarks};

/// One thing that a handle, a worker, the queue's actor or the coordinator does.
#[derive(Clone, Debug)]
enum Step {
    /// Of a partition, with a key.
    Offer(usize, u8),
    OfferMany(Vec<(usize, u8)>),
    /// In the line of a partition, or behind them of those that do not know theirs.
    Wait {
        line: usize,
        want: usize,
        within: Option<u64>,
    },
    Claim {
        which: usize,
        keep: bool,
    },
    Cancel(usize),
    Reserve(usize),
    OfferReserved(usize, usize, u8),
    GiveBack(usize),
    /// A worker has nothing to do, and takes what is ready.
    Ask(usize),
    /// The queue's actor comes: woken, by its timer, or for nothing.
    Attend,
    Settle(usize),
    Park(usize),
    /// Waits for the outcome of a record that is accepted; counted from the newest.
    AwaitOutcome(usize),
    FlushBarrier,
    FenceHolds(usize),
    CancelFence(usize),
    Pass(u64),
    Drain,
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        20 => (0usize..4, 0u8..3).prop_map(|(partition, key)| Step::Offer(partition, key)),
        8 => prop::collection::vec((0usize..4, 0u8..3), 1..9).prop_map(Step::OfferMany),
        8 => (0usize..5, 1usize..5, prop::option::of(0u64..40))
            .prop_map(|(line, want, within)| Step::Wait { line, want, within }),
        8 => (0usize..6, any::<bool>()).prop_map(|(which, keep)| Step::Claim { which, keep }),
        3 => (0usize..6).prop_map(Step::Cancel),
        4 => (0usize..5).prop_map(Step::Reserve),
        4 => (0usize..4, 0usize..4, 0u8..3)
            .prop_map(|(which, partition, key)| Step::OfferReserved(which, partition, key)),
        2 => (0usize..4).prop_map(Step::GiveBack),
        20 => (0usize..4).prop_map(Step::Ask),
        12 => Just(Step::Attend),
        12 => (0usize..5).prop_map(Step::Settle),
        5 => (0usize..5).prop_map(Step::Park),
        4 => (0usize..9).prop_map(Step::AwaitOutcome),
        3 => Just(Step::FlushBarrier),
        3 => (0usize..4).prop_map(Step::FenceHolds),
        1 => (0usize..4).prop_map(Step::CancelFence),
        8 => (0u64..15).prop_map(Step::Pass),
    ];
    // Most histories stay open; the rest drain or close somewhere.
    let history = prop::collection::vec(step, 0..160);
    let end = prop_oneof![3 => Just(None), 2 => Just(Some(Step::Drain)), 1 => Just(Some(Step::Close))];
    (history, end, any::<prop::sample::Index>()).prop_map(|(mut history, end, at)| {
        if let Some(end) = end {
            history.insert(at.index(history.len() + 1), end);
        }
        history
    })
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Item {
    partition: usize,
    key: u8,
    /// Counts what was accepted.
    id: u64,
    /// The id of the first that had its place, so it is also the order.
    place: u64,
    /// In milliseconds.
    arrived: u64,
}

#[derive(Debug)]
struct Waiting {
    ticket: CreditTicket,
    line: usize,
    waiter: usize,
    want: usize,
    deadline: Option<u64>,
    granted: usize,
    expired: bool,
}

#[derive(Debug)]
struct Held {
    flush: FlushId,
    waiter: usize,
    /// Everything with a lower id was accepted before.
    before: u64,
}

#[derive(Debug)]
struct InFlight {
    lease: LeaseId,
    items: Vec<Item>,
}

struct Model {
    capacity: usize,
    batch_size: usize,
    flush_interval: u64,
    overflow: Overflow,
    marks: Watermarks,
    state: BufferState,
    now: u64,
    /// Queued, in the order of acceptance, whatever the partition.
    queue: Vec<Item>,
    out: Vec<Option<InFlight>>,
    parked: Vec<Option<Vec<Item>>>,
    asked: Vec<bool>,
    share: usize,
    /// The lines whose credits are held for records to come, granted ones not counted.
    held: Vec<usize>,
    line: Vec<Waiting>,
    flush_barriers: Vec<Held>,
    /// Partitions and places of records whose outcome is waited for.
    awaited: Vec<(usize, u64)>,
    level: Level,
    crossings: Vec<(Level, usize)>,
    counters: Counters,
    /// Every lease ever given, settled and parked ones too.
    leases: Vec<LeaseId>,
    waiters: usize,
    /// Who was woken since it last left a waker.
    woken: BTreeSet<usize>,
    /// The queue's actor was told to come, and has not yet.
    wake_pending: bool,
    /// When the actor comes by itself.
    timer: Option<u64>,
}

type Buffer = BoundedBuffer<u64, usize>;

impl Model {
    fn new(config: &BufferConfig) -> Self {
        let partitions = config.partitions.get();
        Self {
            capacity: config.capacity.get(),
            batch_size: config.batch_size.get(),
            flush_interval: config.flush_interval.as_millis() as u64,
            overflow: config.overflow,
            marks: config.watermarks,
            state: BufferState::Open,
            now: 0,
            queue: Vec::new(),
            out: (0..partitions).map(|_| None).collect(),
            parked: vec![None; partitions],
            asked: vec![false; partitions],
            share: match (config.capacity.get(), partitions) {
                (capacity, partitions) if partitions == 1 || capacity < 2 * partitions => 0,
                (capacity, partitions) => (capacity / (8 * partitions)).max(1),
            },
            held: Vec::new(),
            line: Vec::new(),
            flush_barriers: Vec::new(),
            awaited: Vec::new(),
            level: Level::Ok,
            crossings: Vec::new(),
            counters: Counters::default(),
            leases: Vec::new(),
            waiters: 0,
            woken: BTreeSet::new(),
            wake_pending: false,
            timer: None,
        }
    }

    fn placement(&self, partition: usize, key: u8) -> Placement {
        let key = (self.overflow == Overflow::Conflate).then(|| key_of(key));
        Placement { load: partition.into(), key }
    }

    fn time(&self) -> Duration {
        Duration::from_millis(self.now)
    }

    /// Two records never have one sequence, so those of one millisecond lie a few nanoseconds apart. Half a millisecond
    /// later all of them have arrived.
    fn later(&self) -> Duration {
        self.time() + Duration::from_micros(500)
    }

    fn granted(&self) -> usize {
        self.line.iter().map(|waiting| waiting.granted).sum()
    }

    /// Places in use or reserved.
    fn size(&self) -> usize {
        self.queue.len() + self.held.len() + self.granted()
    }

    fn share_of(&self, line: usize) -> usize {
        if line < self.asked.len() { self.share } else { 0 }
    }

    fn held_by(&self, line: usize) -> usize {
        let granted = self.line.iter().filter(|waiting| waiting.line == line).map(|waiting| waiting.granted);
        let queued = self.queue.iter().filter(|item| item.partition == line).count();
        queued + self.held.iter().filter(|&&held| held == line).count() + granted.sum::<usize>()
    }

    fn free_for(&self, line: usize) -> usize {
        let beyond = |line: usize| self.held_by(line).saturating_sub(self.share_of(line));
        let common = self.capacity - self.share * self.asked.len();
        let in_common = common - (0..=self.asked.len()).map(beyond).sum::<usize>();
        self.share_of(line).saturating_sub(self.held_by(line)) + in_common
    }

    fn is_at_limit(&self, line: usize) -> bool {
        self.share > 0
            && line < self.asked.len()
            && self.held_by(line) == self.capacity - self.share * (self.asked.len() - 1)
    }

    /// Asks all in line in turn.
    fn grant(&mut self) {
        for at in 0..self.line.len() {
            let free = self.free_for(self.line[at].line);
            let waiting = &mut self.line[at];
            if waiting.granted == 0 && !waiting.expired {
                waiting.granted = waiting.want.min(free);
            }
        }
    }

    /// Why a record of this line finds no credit.
    fn full(&self, line: usize) -> Refusal {
        let has_room = self.size() < self.capacity && self.is_at_limit(line);
        if has_room { Refusal::PartitionFull { partition_key: String::new() } } else { Refusal::Full }
    }

    fn refused(&self) -> Option<Refusal> {
        match self.state {
            BufferState::Open => None,
            BufferState::Draining => Some(Refusal::Draining),
            BufferState::Closed => Some(Refusal::Closed),
        }
    }

    /// The contract of the watermark, one clause a line.
    fn observe(&mut self) {
        let (size, low, high) = (self.size(), self.marks.low(), self.marks.high());
        let waits = |waiting: &&Waiting| waiting.granted == 0 && !waiting.expired;
        let is_wanted = self.line.iter().filter(waits).any(|waiting| !self.is_at_limit(waiting.line));
        let next = match self.level {
            Level::Ok if size >= high => Some(Level::Hard),
            Level::Ok if size > low => Some(Level::Soft),
            Level::Soft if size >= high => Some(Level::Hard),
            Level::Soft | Level::Hard if size <= low && !is_wanted => Some(Level::Ok),
            _ => None,
        };
        if let Some(level) = next {
            self.level = level;
            self.crossings.push((level, size));
        }
    }

    fn accept(&mut self, records: &[(usize, u8)]) {
        records.iter().for_each(|&record| self.push(record));
        self.observe();
    }

    fn push(&mut self, (partition, key): (usize, u8)) {
        let id = self.counters.submitted;
        self.queue.push(Item { partition, key, id, place: id, arrived: self.now });
        self.counters.submitted += 1;
    }

    /// Accepts records one by one, each on a free credit, in the place of the last that waits with its key, or on the
    /// credit of the oldest. Returns how many, and who had to go.
    fn conflate(&mut self, records: &[(usize, u8)]) -> (usize, Vec<u64>) {
        let (mut accepted, mut gone) = (0, Vec::new());
        for &(partition, key) in records {
            let alike = |item: &&mut Item| (item.partition, item.key) == (partition, key);
            if self.free_for(partition) == 0
                && let Some(item) = self.queue.iter_mut().rev().find(alike)
            {
                gone.push(std::mem::replace(&mut item.id, self.counters.submitted));
                self.counters.submitted += 1;
                self.counters.dropped += 1;
                self.counters.conflated += 1;
            } else {
                let (fits, evicted) = self.make_room(&[partition]);
                gone.extend(evicted);
                if fits == 0 {
                    break;
                }
                self.push((partition, key));
            }
            accepted += 1;
        }
        self.pass_flush_barriers();
        self.observe();
        (accepted, gone)
    }

    /// Makes room for records of these lines if the strategy allows it, and returns how many fit and who had to go.
    fn make_room(&mut self, lines: &[usize]) -> (usize, Vec<u64>) {
        let (mut evicted, before) = (Vec::new(), self.held.len());
        for &line in lines {
            while self.overflow.evicts() && self.free_for(line) == 0 {
                let beyond = |item: &&Item| self.held_by(item.partition) > self.share;
                let own = |item: &&Item| item.partition == line;
                let oldest = self.queue.iter().find(beyond).or_else(|| self.queue.iter().find(own)).copied();
                let Some(oldest) = oldest else { break };
                self.queue.retain(|item| *item != oldest);
                evicted.push(oldest.id);
                self.counters.dropped += 1;
            }
            if self.free_for(line) == 0 {
                break;
            }
            // As if it were there already, until all are counted.
            self.held.push(line);
        }
        let fits = self.held.len() - before;
        self.held.truncate(before);
        self.pass_flush_barriers();
        (fits, evicted)
    }

    fn oldest_of(&self, partition: usize) -> Option<Item> {
        self.queue.iter().find(|item| item.partition == partition).copied()
    }

    /// What the next batch of a partition holds, without the question whether it is time.
    fn next_batch(&self, partition: usize) -> Vec<Item> {
        let queued = || self.queue.iter().filter(|item| item.partition == partition).take(self.batch_size).copied();
        self.parked[partition].clone().unwrap_or_else(|| queued().collect())
    }

    fn is_ready(&self, partition: usize) -> bool {
        if self.state == BufferState::Closed || !self.asked[partition] || self.out[partition].is_some() {
            return false;
        }
        if self.parked[partition].is_some() {
            return true;
        }
        let Some(oldest) = self.oldest_of(partition) else { return false };
        self.next_batch(partition).len() == self.batch_size
            || oldest.arrived + self.flush_interval <= self.now
            || self.free_for(partition) == 0
            || self.flush_barriers.iter().any(|held| oldest.place < held.before)
            || self.awaited.iter().any(|&(of, place)| of == partition && oldest.place <= place)
            || self.state == BufferState::Draining
    }

    /// A worker takes a batch: it must be the right one, and its time.
    fn take(&mut self, leased: Leased<u64>) -> Result<(), TestCaseError> {
        let partition = leased.partition;
        prop_assert!(self.is_ready(partition), "partition {partition} got a batch before its time");
        let items = self.next_batch(partition);
        prop_assert!(
            leased.records.iter().copied().eq(items.iter().map(|item| item.id)),
            "{:?} came out of partition {partition}, not {items:?}",
            leased.records
        );
        if self.parked[partition].take().is_none() {
            self.queue.retain(|item| !items.contains(item));
            self.grant();
        }
        self.out[partition] = Some(InFlight { lease: leased.id, items });
        self.asked[partition] = false;
        self.leases.push(leased.id);
        self.observe();
        Ok(())
    }

    /// When the clock alone changes something.
    fn next_deadline(&self) -> Option<u64> {
        let batches = (0..self.asked.len())
            .filter(|&partition| self.state != BufferState::Closed && self.asked[partition])
            .filter(|&partition| self.out[partition].is_none())
            .filter_map(|partition| self.oldest_of(partition))
            .map(|oldest| oldest.arrived + self.flush_interval);
        let waiting = self.line.iter().filter(|waiting| waiting.granted == 0 && !waiting.expired);
        batches.chain(waiting.filter_map(|waiting| waiting.deadline)).min()
    }

    fn unsettled(&self) -> impl Iterator<Item = &Item> {
        let out = self.out.iter().flatten().flat_map(|out| &out.items);
        let parked = self.parked.iter().flatten().flatten();
        self.queue.iter().chain(out).chain(parked)
    }

    fn is_unsettled_before(&self, id: u64) -> bool {
        self.unsettled().any(|item| item.place < id)
    }

    fn in_flight(&self) -> usize {
        self.out.iter().flatten().map(|out| out.items.len()).sum::<usize>() + self.parked()
    }

    fn parked(&self) -> usize {
        self.parked.iter().flatten().map(Vec::len).sum()
    }

    /// Takes away the flushes that are done: what waited for them must have been woken.
    fn pass_flush_barriers(&mut self) -> Vec<usize> {
        let passed = self.flush_barriers.iter().map(|held| (held.waiter, self.is_unsettled_before(held.before)));
        let passed: Vec<_> = passed.filter(|&(_, holds)| !holds).map(|(waiter, _)| waiter).collect();
        self.flush_barriers.retain(|held| !passed.contains(&held.waiter));
        passed
    }
}

fn loads(partitions: &[usize]) -> Vec<Load> {
    partitions.iter().map(|&partition| partition.into()).collect()
}

fn key_of(key: u8) -> ConflationKey {
    ConflationKey::new([key.to_string().as_str()])
}

/// Both sides of the comparison, and what the buffer asked for so far.
struct Pair {
    buffer: Buffer,
    model: Model,
    /// What must have been evicted in this step.
    evicted: Vec<u64>,
    /// Whose flush fell in this step.
    passed: Vec<usize>,
    /// Records that were offered alone and accepted, each with its sequence.
    accepted: Vec<(Item, u64)>,
}

impl Pair {
    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let partitions = self.model.asked.len();
        let (buffer, model) = (&mut self.buffer, &mut self.model);
        match step {
            Step::Offer(partition, key) => {
                let partition = partition % partitions;
                let record = model.counters.submitted;
                let offered = buffer.offer(model.time(), model.placement(partition, key), record);
                if let Some(refused) = model.refused() {
                    prop_assert_eq!(offered, Err((refused, record)));
                    return Ok(());
                }
                if model.overflow == Overflow::Conflate {
                    let (accepted, gone) = model.conflate(&[(partition, key)]);
                    self.evicted = gone;
                    let refused = (model.full(partition), record);
                    prop_assert_eq!(offered, if accepted == 1 { Ok(()) } else { Err(refused) });
                    return Ok(());
                }
                let (fits, evicted) = model.make_room(&[partition]);
                self.evicted = evicted;
                prop_assert_eq!(offered, if fits == 1 { Ok(()) } else { Err((model.full(partition), record)) });
                if fits == 1 {
                    model.accept(&[(partition, key)]);
                }
            }
            Step::OfferMany(mut wanted) => {
                wanted.truncate(model.capacity);
                wanted.iter_mut().for_each(|(partition, _)| *partition %= partitions);
                let (lines, mut keys): (Vec<_>, Vec<_>) = wanted.iter().map(|&(p, key)| (p, key_of(key))).unzip();
                if model.overflow != Overflow::Conflate {
                    keys.clear();
                }
                let first = model.counters.submitted;
                let ids = first..first + wanted.len() as u64;
                let mut records: VecDeque<u64> = ids.clone().collect();
                let offered = buffer.offer_many(model.time(), &mut records, &loads(&lines), &keys);
                if let Some(refused) = model.refused() {
                    prop_assert_eq!(offered, Err(refused));
                    prop_assert!(records.into_iter().eq(ids), "what is refused stays with the caller");
                    return Ok(());
                }
                let (fits, gone) = if keys.is_empty() { model.make_room(&lines) } else { model.conflate(&wanted) };
                self.evicted = gone;
                prop_assert_eq!(offered, Ok(fits));
                prop_assert!(records.into_iter().eq(ids.skip(fits)), "what does not fit stays with the caller");
                if keys.is_empty() {
                    model.accept(&wanted[..fits]);
                }
            }
            // As the handles do: a submitter that could take does not wait, nor does one that may evict.
            Step::Wait { line, want, within }
                if model.free_for(line % (partitions + 1)) == 0
                    && model.refused().is_none()
                    && !model.overflow.evicts() =>
            {
                let line = line % (partitions + 1);
                let want = if line == partitions { 1 } else { want };
                let deadline = within.map(|within| model.now + within);
                let ticket = buffer.wait(line, (want, 0), deadline.map(Duration::from_millis), model.waiters);
                let waiter = model.waiters;
                model.waiters += 1;
                model.line.push(Waiting { ticket, line, waiter, want, deadline, granted: 0, expired: false });
            }
            Step::Claim { which, keep } if which < model.line.len() => {
                let waiting = &model.line[which];
                let (line, now) = (waiting.line, model.time());
                let claimed = buffer.claim(now, waiting.ticket, waiting.waiter);
                if let Some(refused) = model.refused() {
                    prop_assert_eq!(claimed, Err(refused));
                    model.line.remove(which);
                    model.grant();
                    model.observe();
                } else if waiting.expired {
                    prop_assert_eq!(claimed, Err(model.full(line)));
                    model.line.remove(which);
                } else if waiting.granted == 0 {
                    prop_assert_eq!(claimed, Ok(None));
                    model.woken.remove(&waiting.waiter);
                } else {
                    let granted = model.line.remove(which).granted;
                    prop_assert_eq!(claimed, Ok(Some(granted)));
                    if line == partitions || (keep && granted == 1) {
                        buffer.keep_claimed();
                        model.held.push(line);
                    } else {
                        let first = model.counters.submitted;
                        buffer.accept(model.time(), std::iter::repeat_n(line, granted).zip(first..));
                        model.accept(&vec![(line, 0); granted]);
                    }
                }
            }
            Step::Cancel(which) if which < model.line.len() => {
                buffer.cancel(model.time(), model.line.remove(which).ticket);
                model.grant();
                model.observe();
            }
            Step::Reserve(line) => {
                let line = line % (partitions + 1);
                let reserved = buffer.reserve(model.time(), line);
                if let Some(refused) = model.refused() {
                    prop_assert_eq!(reserved, Err(refused));
                    return Ok(());
                }
                let (fits, evicted) = model.make_room(&[line]);
                self.evicted = evicted;
                prop_assert_eq!(reserved, Ok(fits == 1));
                model.held.extend((fits == 1).then_some(line));
                model.observe();
            }
            Step::OfferReserved(which, partition, key) if which < model.held.len() => {
                let line = model.held.remove(which);
                let partition = if line < partitions { line } else { partition % partitions };
                let record = model.counters.submitted;
                let offered = buffer.offer_reserved(model.time(), line, model.placement(partition, key), record);
                match model.refused() {
                    Some(refused) => {
                        prop_assert_eq!(offered, Err((refused, record)));
                        model.grant();
                        model.observe();
                    }
                    None => {
                        prop_assert_eq!(offered, Ok(()));
                        // What goes into the partition's own share leaves a common place.
                        model.held.push(partition);
                        model.grant();
                        model.held.pop();
                        model.accept(&[(partition, key)]);
                    }
                }
            }
            Step::GiveBack(which) if which < model.held.len() => {
                buffer.give_back(model.time(), model.held.remove(which));
                model.grant();
                model.observe();
            }
            Step::Ask(partition) => {
                let partition = partition % partitions;
                model.asked[partition] = true;
                let leased = buffer.ask(partition, model.later());
                prop_assert_eq!(leased.is_some(), model.is_ready(partition), "a worker asks for what is ready");
                if let Some(leased) = leased {
                    model.take(leased)?;
                }
            }
            Step::Attend => self.process_due()?,
            Step::Settle(which) if !model.leases.is_empty() => {
                let lease = model.leases[model.leases.len().saturating_sub(1 + which)];
                let settled = buffer.settle_stored(lease, model.time());
                let out = model.out.iter_mut().find(|out| out.as_ref().is_some_and(|out| out.lease == lease));
                match out.and_then(Option::take) {
                    None => prop_assert_eq!(settled, None, "a lease that is not out settles nothing"),
                    Some(out) => {
                        let records = settled.expect("a lease that is out");
                        prop_assert!(records.iter().copied().eq(out.items.iter().map(|item| item.id)));
                        model.counters.stored += out.items.len() as u64;
                    }
                }
            }
            Step::Park(which) if !model.leases.is_empty() => {
                let lease = model.leases[model.leases.len().saturating_sub(1 + which)];
                let parked = buffer.park(lease, Duration::from_millis(model.now));
                let at = model.out.iter().position(|out| out.as_ref().is_some_and(|out| out.lease == lease));
                prop_assert_eq!(parked, at.is_some());
                if let Some(at) = at {
                    model.parked[at] = model.out[at].take().map(|out| out.items);
                }
            }
            Step::AwaitOutcome(which) if !self.accepted.is_empty() => {
                let (item, sequence) = self.accepted[self.accepted.len().saturating_sub(1 + which)];
                buffer.await_outcome(item.partition, sequence);
                model.awaited.push((item.partition, item.place));
            }
            Step::FlushBarrier => {
                let waiter = model.waiters;
                let (flush, holds) = (buffer.begin_flush(waiter), model.is_unsettled_before(u64::MAX));
                // The end may have come before.
                if holds && model.state == BufferState::Closed {
                    prop_assert_eq!(flush, Err(Refusal::Closed));
                    return Ok(());
                }
                prop_assert!(flush.as_ref().is_ok_and(|flush| flush.is_some() == holds));
                if let Ok(Some(flush)) = flush {
                    model.waiters += 1;
                    model.flush_barriers.push(Held { flush, waiter, before: model.counters.submitted });
                }
            }
            Step::FenceHolds(which) if which < model.flush_barriers.len() => {
                let held = &model.flush_barriers[which];
                let holds = buffer.flush_holds(held.flush, held.waiter);
                // Those that fell were taken away in the step in which they did.
                if model.state == BufferState::Closed {
                    prop_assert_eq!(holds, Err(Refusal::Closed));
                    model.flush_barriers.remove(which);
                } else {
                    prop_assert_eq!(holds, Ok(true));
                    model.woken.remove(&held.waiter);
                }
            }
            Step::CancelFence(which) if which < model.flush_barriers.len() => {
                buffer.cancel_flush(model.flush_barriers.remove(which).flush);
            }
            Step::Pass(ms) => model.now += ms,
            Step::Drain => {
                buffer.drain();
                if model.state == BufferState::Open {
                    model.state = BufferState::Draining;
                }
            }
            Step::Close => {
                buffer.close();
                model.state = BufferState::Closed;
            }
            _ => {}
        }
        Ok(())
    }

    /// What the queue's actor does whenever it gets a turn.
    fn process_due(&mut self) -> Result<(), TestCaseError> {
        let (buffer, model) = (&mut self.buffer, &mut self.model);
        let now = model.later();
        buffer.expire(now);
        for waiting in model.line.iter_mut().filter(|waiting| waiting.granted == 0) {
            waiting.expired |= waiting.deadline.is_some_and(|deadline| deadline <= model.now);
        }
        // That a line became empty can let the level fall.
        model.observe();
        for leased in buffer.hand_out(now) {
            model.take(leased)?;
        }
        let ready = (0..model.asked.len()).find(|&partition| model.is_ready(partition));
        prop_assert_eq!(ready, None, "this partition is ready and got nothing");
        let crossings = buffer.events().into_iter().map(|events| match events {
            QueueEvent::Level(crossing) => (crossing.level, crossing.at.size),
            other => panic!("no write fails here, but: {other:?}"),
        });
        prop_assert_eq!(crossings.collect::<Vec<_>>(), std::mem::take(&mut model.crossings));
        model.wake_pending = false;
        model.timer = buffer.next_deadline(now).map(|deadline| deadline.as_millis() as u64);
        prop_assert_eq!(model.timer, model.next_deadline());
        prop_assert!(model.timer.is_none_or(|timer| timer > model.now), "the timer would fire without end");
        Ok(())
    }

    /// What holds after every step.
    fn check(&mut self) -> Result<(), TestCaseError> {
        self.passed.extend(self.model.pass_flush_barriers());
        let (buffer, model) = (&mut self.buffer, &mut self.model);
        let mut evicted = Vec::new();
        if let Some(effects) = buffer.effects() {
            evicted = effects.evicted;
            model.woken.extend(effects.wake);
            prop_assert!(!(effects.wake_queue && model.wake_pending), "wake_pending twice for one visit");
            model.wake_pending |= effects.wake_queue;
        }
        prop_assert_eq!(evicted, std::mem::take(&mut self.evicted), "evicted, and what should have been");

        let snapshot = buffer.snapshot(model.time());
        prop_assert_eq!(snapshot.residual(), 0);
        prop_assert!(snapshot.size() <= model.capacity);
        prop_assert_eq!(snapshot.state, model.state);
        prop_assert_eq!(snapshot.queued, model.queue.len());
        prop_assert_eq!(snapshot.size(), model.size());
        prop_assert_eq!(snapshot.in_flight, model.in_flight());
        prop_assert_eq!(snapshot.parked, model.parked());
        prop_assert_eq!(
            snapshot.waiting,
            model.line.iter().filter(|waiting| waiting.granted == 0 && !waiting.expired).count()
        );
        prop_assert_eq!(snapshot.level, model.level);
        let is_idle = snapshot.size() == 0 && snapshot.waiting == 0;
        prop_assert!(!is_idle || snapshot.level == Level::Ok, "nothing waits, and the level is {:?}", snapshot.level);
        prop_assert_eq!(snapshot.counters, model.counters);
        let age = model.unsettled().map(|item| item.arrived).min().map(|oldest| model.now - oldest);
        let seen = snapshot.oldest_age.map(|age| (age + Duration::from_micros(500)).as_millis() as u64);
        prop_assert_eq!(seen, age);

        // A waiter that has events does not sleep.
        for waiting in &model.line {
            let events = waiting.granted > 0 || waiting.expired || model.state != BufferState::Open;
            prop_assert!(!events || model.woken.contains(&waiting.waiter), "{waiting:?} was not woken");
        }
        for waiter in self.passed.drain(..) {
            prop_assert!(model.woken.contains(&waiter), "waiter {waiter} sleeps before a flush that has fallen");
        }
        for held in &model.flush_barriers {
            let events = model.state == BufferState::Closed;
            prop_assert!(!events || model.woken.contains(&held.waiter), "{held:?} was not woken at the end");
        }
        // The queue actor is told, or comes by itself in time.
        if !model.wake_pending {
            prop_assert!(model.crossings.is_empty(), "a level change waits untold");
            let comes = |due: u64| model.timer.is_some_and(|timer| timer <= due);
            if let Some(due) = model.next_deadline() {
                prop_assert!(comes(due), "something is due at {due} ms, the timer is set for {:?}", model.timer);
            }
            let ready = (0..model.asked.len()).find(|&partition| model.is_ready(partition));
            prop_assert!(ready.is_none() || comes(model.now), "partition {ready:?} is ready untold");
        }
        Ok(())
    }
}

fn config() -> impl Strategy<Value = BufferConfig> {
    let overflow = prop_oneof![
        1 => Just(Overflow::Block),
        1 => Just(Overflow::DropOldest),
        1 => Just(Overflow::Error),
        2 => Just(Overflow::Conflate),
    ];
    let at_least_one = |most: usize| (1..=most).prop_map(|n| NonZeroUsize::new(n).unwrap());
    (at_least_one(12), at_least_one(4), at_least_one(5), 1u64..25, overflow, any::<(u8, u8)>()).prop_map(
        |(capacity, partitions, batch_size, flush_interval, overflow, (low, high))| {
            let low = usize::from(low) % capacity.get();
            let high = low + 1 + usize::from(high) % (capacity.get() - low);
            BufferConfig {
                capacity,
                capacity_bytes: None,
                partitions,
                batch_size,
                flush_interval: Duration::from_millis(flush_interval),
                overflow,
                watermarks: Watermarks::new(low, high, capacity.get()).unwrap(),
                breaker: BreakerConfig::default(),
                slow_after: Duration::MAX,
                max_strikes: NonZeroU32::MIN,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    /// Red when a parked lease goes behind the queue, the newest or one too many is evicted, another than the last of its
    /// key is replaced or stands elsewhere then, a flush falls early or
    /// never, a batch waits although no credit is free or an outcome is waited for, or goes out for that of another partition, `accept`, `reserve`, `park`, `settle_stored`, `flush`, `drain`
    /// or a level change fails to wake the queue, a credit is lost on the way, or the timer is set for what can never
    /// be done.
    #[test]
    fn agrees_with_plain_lists_on_any_history(config in config(), steps in steps()) {
        let mut pair = Pair {
            buffer: Buffer::new(config),
            model: Model::new(&config),
            evicted: Vec::new(),
            passed: Vec::new(),
            accepted: Vec::new(),
        };
        for step in steps {
            let (is_offer, id) = (matches!(step, Step::Offer(..)), pair.model.counters.submitted);
            pair.step(step)?;
            if let Some(&item) = pair.model.queue.iter().find(|item| is_offer && item.id == id) {
                pair.accepted.push((item, pair.buffer.last_accepted()));
            }
            pair.check()?;
        }
    }
}

/// How many histories are tried: `MDS_TEST_HISTORIES`, 300 by default.
pub(super) fn cases() -> u32 {
    std::env::var("MDS_TEST_HISTORIES").ok().map_or(300, |cases| cases.parse().expect("a number of histories"))
}

/// Red when a rate is what it was at the last batch that was stored, however long ago that is: a store that hangs would
/// look as fast as ever, and producers would be told to come back at once.
#[test]
fn while_a_write_hangs_the_drain_rate_falls_in_events_and_snapshots() {
    let config = BufferConfig {
        capacity: NonZeroUsize::new(10).unwrap(),
        capacity_bytes: None,
        partitions: NonZeroUsize::MIN,
        batch_size: NonZeroUsize::new(4).unwrap(),
        flush_interval: Duration::ZERO,
        overflow: Overflow::Error,
        watermarks: Watermarks::new(1, 8, 10).unwrap(),
        breaker: BreakerConfig::default(),
        slow_after: Duration::MAX,
        max_strikes: NonZeroU32::MIN,
    };
    let mut buffer = BoundedBuffer::<u64, ()>::new(config);
    let second = Duration::from_secs;
    let mut records = (0..4).collect();
    buffer.offer_many(second(0), &mut records, &loads(&[0; 4]), &[]).unwrap();
    let lease = buffer.ask(0, second(0)).unwrap();
    buffer.settle_stored(lease.id, second(1));
    assert_eq!(buffer.drain_rate(second(100)), Some(4.0), "idle time does not count");
    buffer.offer(second(100), 0, 4).unwrap();
    buffer.ask(0, second(100)).unwrap();

    let mut records = (5..13).collect();
    buffer.events();
    buffer.offer_many(second(160), &mut records, &loads(&[0; 8]), &[]).unwrap();
    let [QueueEvent::Level(crossing)] = buffer.events()[..] else { panic!("one crossing") };
    for rate in [crossing.at.drain_rate, buffer.drain_rate(second(160)), buffer.snapshot(second(160)).drain_rate] {
        assert!(rate.is_some_and(|rate| rate < 0.1), "{rate:?} records a second after a minute without one");
    }
}
