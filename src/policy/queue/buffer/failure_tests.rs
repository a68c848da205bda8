//! Failing writes, dying workers, an open circuit and the end, on random histories: who may write what, when, and what
//! becomes of each record and its receipt.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use proptest::{prelude::*, test_runner::TestCaseError};

use super::*;
use crate::policy::*;
use crate::policy::{BreakerConfig, CircuitState, Watermarks};

/// How long an open circuit waits, in milliseconds.
const HALF_OPEN_AFTER: u64 = 40;

/// The key of a record whose writes always fail transiently.
const ALWAYS_FAILS: u32 = 99;
/// Keys from here on are refused for good.
const REFUSED: u32 = 100;

#[derive(Clone, Debug)]
struct Item {
    id: u64,
}

type Buffer = BoundedBuffer<Item, (), u64>;

#[derive(Clone, Debug)]
enum Step {
    Offer {
        key: u32,
        receipt: bool,
    },
    /// The worker of a partition goes one step on; a write that ends fails so if it may, and asks for so much time if
    /// `asked`.
    Work {
        partition: usize,
        fails: Option<WriteFault>,
        asked: Option<u64>,
    },
    Attend,
    /// The worker of a partition dies, with what it has.
    Die(usize),
    /// Too many did.
    OpenCircuit,
    /// The end comes near.
    Expedite,
    /// From now on every write fails, or not any more.
    Outage(bool),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = prop_oneof![40 => 0u32..9, 1 => Just(ALWAYS_FAILS), 2 => REFUSED..REFUSED + 4];
    let asked = prop_oneof![9 => Just(None), 1 => (0u64..200).prop_map(Some)];
    let fails = prop_oneof![
        30 => Just(None),
        11 => Just(Some(WriteFault::Transient)),
        2 => Just(Some(WriteFault::Outage)),
        1 => Just(Some(WriteFault::Panic)),
    ];
    let step = prop_oneof![
        12 => (key, any::<bool>()).prop_map(|(key, receipt)| Step::Offer { key, receipt }),
        30 => (0usize..4, fails, asked)
            .prop_map(|(partition, fails, asked)| Step::Work { partition, fails, asked }),
        8 => Just(Step::Attend),
        2 => (0usize..4).prop_map(Step::Die),
        1 => Just(Step::OpenCircuit),
        1 => Just(Step::Expedite),
        2 => any::<bool>().prop_map(Step::Outage),
        6 => (0u64..30).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..250)
}

#[derive(Debug)]
enum Worker {
    /// It has not asked since it started.
    New,
    Asked,
    /// It holds a lease and has to ask whether it may write.
    Holds(InFlight),
    /// Its write began at this time and moment, and if the store had answered since the last strike.
    Writes(InFlight, Began),
    /// It holds a single record that was given up.
    Buries(InFlight),
}

#[derive(Clone, Copy, Debug)]
struct Began {
    at: Duration,
    moment: u64,
    answered_before: bool,
}

#[derive(Clone, Debug)]
struct InFlight {
    lease: LeaseId,
    ids: Vec<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Circuit {
    Closed,
    Open { until: Duration },
    HalfOpen(LeaseId),
}

/// What the test itself knows of one record.
#[derive(Clone, Debug)]
struct Record {
    key: u32,
    /// A worker took it.
    taken: bool,
    outcome: Option<Outcome>,
    /// Writes that held it and failed.
    failures: u32,
    strikes_left: u32,
    /// When its batch, or its part of one, had its last strike.
    struck_at: u64,
}

struct World {
    buffer: Buffer,
    now: Duration,
    records: Vec<Record>,
    workers: Vec<Worker>,
    outage: bool,
    circuit: Circuit,
    /// Failures in a row, as the breaker should count them.
    in_a_row: u32,
    last_counted: Option<Duration>,
    /// Counts what happens, so that it is exact what came first.
    moment: u64,
    /// When the newest write or ping began that the store answered.
    answered: u64,
    /// Whether the store can be asked if it is there.
    has_ping: bool,
    rests_until: Vec<Duration>,
    /// The probes so far, and the last one of each partition.
    probes: u64,
    probed: Vec<u64>,
    opened: usize,
    closed: usize,
    /// Receipts by the id of their record, until they are resolved.
    receipts: BTreeSet<u64>,
    lost: BTreeSet<u64>,
    order: BTreeMap<u32, u64>,
    wake_pending: bool,
    timer: Option<Duration>,
    given_up: usize,
}

impl World {
    fn new(config: BufferConfig) -> Self {
        let buffer = Buffer::new(config);
        Self {
            buffer,
            now: Duration::ZERO,
            records: Vec::new(),
            workers: (0..config.partitions.get()).map(|_| Worker::New).collect(),
            outage: false,
            circuit: Circuit::Closed,
            in_a_row: 0,
            last_counted: None,
            moment: 0,
            answered: 0,
            has_ping: false,
            rests_until: vec![Duration::ZERO; config.partitions.get()],
            probes: 0,
            probed: vec![0; config.partitions.get()],
            opened: 0,
            closed: 0,
            receipts: BTreeSet::new(),
            lost: BTreeSet::new(),
            order: BTreeMap::new(),
            wake_pending: false,
            timer: None,
            given_up: 0,
        }
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let partitions = self.workers.len();
        match *step {
            Step::Offer { key, receipt } => {
                // One such record is enough: a later update of its key has to wait behind it, whatever comes.
                if key == ALWAYS_FAILS && self.records.iter().any(|record| record.key == ALWAYS_FAILS) {
                    return Ok(());
                }
                let id = self.records.len() as u64;
                if self.buffer.offer(self.now, key as usize % partitions, Item { id }).is_ok() {
                    if receipt {
                        self.buffer.keep_receipts([id].into_iter());
                        self.receipts.insert(id);
                    }
                    self.records.push(Record::new(key, self.strikes()));
                }
            }
            Step::Work { partition, fails, asked } => self.work(partition % partitions, fails, asked)?,
            Step::Attend => self.process_due()?,
            Step::Die(partition) => {
                let worker = std::mem::replace(&mut self.workers[partition % partitions], Worker::New);
                if let Worker::Holds(out) | Worker::Writes(out, ..) | Worker::Buries(out) = worker {
                    prop_assert!(self.buffer.park(out.lease, self.now), "a lease that was out");
                    self.probe_is_lost(&out);
                }
            }
            Step::OpenCircuit => {
                self.buffer.open_circuit(self.now);
                let can_open = self.buffer.config().breaker.failure_threshold.is_some();
                if self.circuit == Circuit::Closed && can_open && !self.is_empty() {
                    self.opens(None);
                }
            }
            Step::Expedite => {
                self.buffer.expedite();
                self.rests_until.fill(Duration::ZERO);
                if let Circuit::Open { until } = &mut self.circuit {
                    *until = Duration::ZERO;
                }
            }
            Step::Outage(outage) => self.outage = outage,
            Step::Pass(ms) => self.now += Duration::from_millis(ms),
        }
        self.check()
    }

    /// The strikes of a whole batch.
    fn strikes(&self) -> u32 {
        self.buffer.config().max_strikes.get().max(2)
    }

    fn is_empty(&self) -> bool {
        self.records.iter().all(|record| record.outcome.is_some())
    }

    fn half_open_after(asked: Option<Duration>) -> Duration {
        Duration::from_millis(HALF_OPEN_AFTER).max(asked.unwrap_or_default())
    }

    fn opens(&mut self, asked: Option<Duration>) {
        self.circuit = Circuit::Open { until: self.now + Self::half_open_after(asked) };
        self.in_a_row = 0;
        self.opened += 1;
    }

    fn answers(&mut self, began: u64) {
        self.answered = self.answered.max(began);
        self.closes();
    }

    fn closes(&mut self) {
        self.in_a_row = 0;
        self.last_counted = None;
        if self.circuit != Circuit::Closed {
            self.circuit = Circuit::Closed;
            self.closed += 1;
        }
    }

    fn probe_is_lost(&mut self, out: &InFlight) {
        if self.circuit == Circuit::HalfOpen(out.lease) {
            self.circuit = Circuit::Open { until: self.now + Self::half_open_after(None) };
        }
    }

    /// The worker of a partition does the next thing that it has to do.
    fn work(&mut self, partition: usize, fails: Option<WriteFault>, asked: Option<u64>) -> Result<(), TestCaseError> {
        match std::mem::replace(&mut self.workers[partition], Worker::Asked) {
            Worker::Asked => {}
            Worker::New => self.ask(partition)?,
            Worker::Holds(out) => {
                let may = self.circuit == Circuit::Closed || self.circuit == Circuit::HalfOpen(out.lease);
                prop_assert_eq!(self.buffer.may_write(out.lease), may);
                if may {
                    self.moment += 1;
                    let answered_before = self.answered > self.records[out.ids[0] as usize].struck_at;
                    let began = Began { at: self.now, moment: self.moment, answered_before };
                    self.workers[partition] = Worker::Writes(out, began);
                } else {
                    self.ask(partition)?;
                }
            }
            Worker::Writes(out, began) => {
                let key_of = |&id: &u64| self.records[id as usize].key;
                let is_bad = self.outage || out.ids.iter().any(|id| key_of(id) == ALWAYS_FAILS);
                if let Some(fault) = fails.or(is_bad.then_some(WriteFault::Transient)) {
                    self.write_failed(partition, out, fault, began, asked.map(Duration::from_millis))?;
                } else if out.ids.iter().any(|id| key_of(id) >= REFUSED) {
                    self.answers(began.moment);
                    self.isolate(partition, out, true)?;
                } else {
                    let stored = self.buffer.settle_stored(out.lease, self.now);
                    prop_assert!(stored.is_some());
                    self.settle(&out, Outcome::Stored)?;
                    self.answers(began.moment);
                    self.ask(partition)?;
                }
            }
            Worker::Buries(out) => {
                prop_assert!(self.buffer.settle_dead_lettered(out.lease, self.now).is_some());
                self.settle(&out, Outcome::DeadLettered)?;
                // Nothing is left that could close it.
                if self.circuit != Circuit::Closed && self.is_empty() {
                    self.closes();
                }
                self.ask(partition)?;
            }
        }
        Ok(())
    }

    fn ask(&mut self, partition: usize) -> Result<(), TestCaseError> {
        self.workers[partition] = Worker::Asked;
        match self.buffer.ask(partition, self.now) {
            Some(leased) => {
                prop_assert_eq!(self.circuit, Circuit::Closed, "only the queue's actor hands out a probe");
                self.take(leased)
            }
            None => Ok(()),
        }
    }

    /// A failure, by the rules of the contract, one a line.
    fn write_failed(
        &mut self,
        partition: usize,
        out: InFlight,
        fault: WriteFault,
        began: Began,
        asked: Option<Duration>,
    ) -> Result<(), TestCaseError> {
        let threshold = self.buffer.config().breaker.failure_threshold;
        self.moment += 1;
        self.rests_until[partition] = asked.map_or(Duration::ZERO, |asked| self.now + asked);
        let first = self.records[out.ids[0] as usize].clone();
        let is_strike = match fault {
            WriteFault::Panic => true,
            WriteFault::Outage => false,
            WriteFault::Transient if threshold.is_none() || first.struck_at == 0 => true,
            WriteFault::Transient => began.answered_before,
        };
        let is_probe = self.circuit == Circuit::HalfOpen(out.lease);
        for &id in &out.ids {
            let record = &mut self.records[id as usize];
            record.failures += 1;
            if is_strike {
                (record.strikes_left, record.struck_at) = (record.strikes_left.saturating_sub(1), self.moment);
            }
        }
        let is_at_fault = is_strike && first.strikes_left <= 1;
        if is_probe {
            self.circuit = Circuit::Open { until: self.now + Self::half_open_after(asked) };
        } else if self.circuit == Circuit::Closed
            && !is_at_fault
            && self.last_counted.is_none_or(|last| began.at >= last)
        {
            self.in_a_row += 1;
            self.last_counted = Some(self.now);
            if threshold.is_some_and(|threshold| self.in_a_row >= threshold.get()) {
                self.opens(asked);
            }
        }
        let expected = if is_at_fault {
            Verdict::GiveUp
        } else if self.circuit != Circuit::Closed {
            Verdict::Parked
        } else {
            Verdict::Retry { failures: first.failures + 1 }
        };
        prop_assert_eq!(self.buffer.write_failed(out.lease, fault, began.at, self.now, asked), expected, "{:?}", first);
        if expected != Verdict::GiveUp && fault == WriteFault::Transient && self.has_ping && !self.outage {
            self.ping(partition)?;
        }
        match expected {
            Verdict::Retry { .. } => self.workers[partition] = Worker::Holds(out),
            Verdict::Parked => self.ask(partition)?,
            Verdict::GiveUp => {
                self.given_up += 1;
                self.isolate(partition, out, false)?;
            }
        }
        Ok(())
    }

    /// Asks a store that is there whether it is, where no write of another partition would say the same.
    fn ping(&mut self, partition: usize) -> Result<(), TestCaseError> {
        if let Some(began) = self.buffer.begin_ping(partition, self.now) {
            self.moment += 1;
            let others = self.workers.iter().enumerate().filter(|&(other, _)| other != partition);
            let is_busy = |worker: &Worker| matches!(worker, Worker::Holds(_) | Worker::Writes(..) | Worker::Buries(_));
            prop_assert!(!others.into_iter().any(|(_, worker)| is_busy(worker)), "another write would show the same");
            self.answered = self.moment;
            self.buffer.ping_answered(began);
        }
        Ok(())
    }

    fn isolate(&mut self, partition: usize, mut out: InFlight, answered: bool) -> Result<(), TestCaseError> {
        match self.buffer.isolate(out.lease, answered, self.now) {
            Some(Isolated::Half(half)) => {
                prop_assert_eq!(half.id, out.lease);
                let ids: Vec<_> = half.records[half.range].iter().map(|item| item.id).collect();
                prop_assert!(!ids.is_empty() && ids.len() < out.ids.len() && out.ids.starts_with(&ids));
                let strikes = if answered { self.strikes() } else { 2 };
                for &id in &out.ids {
                    let record = &mut self.records[id as usize];
                    record.failures += u32::from(answered);
                    (record.strikes_left, record.struck_at) = (strikes, 0);
                }
                out.ids = ids;
                self.workers[partition] = Worker::Holds(out);
            }
            Some(Isolated::Alone { attempts }) => {
                prop_assert_eq!(out.ids.len(), 1, "only one that stands alone is at fault");
                let record = &mut self.records[out.ids[0] as usize];
                record.failures += u32::from(answered);
                prop_assert_eq!(attempts, record.failures);
                self.workers[partition] = Worker::Buries(out);
            }
            None => prop_assert!(false, "the lease was out"),
        }
        Ok(())
    }

    fn settle(&mut self, out: &InFlight, outcome: Outcome) -> Result<(), TestCaseError> {
        for &id in &out.ids {
            let partition = self.records[id as usize].key as usize % self.rests_until.len();
            self.rests_until[partition] = Duration::ZERO;
            let record = &mut self.records[id as usize];
            prop_assert_eq!(record.outcome.replace(outcome), None, "settled twice");
            if outcome == Outcome::Stored {
                let last = self.order.insert(record.key, id);
                prop_assert!(last.is_none_or(|last| last < id), "{id} was stored behind {last:?}, of one key");
            }
        }
        Ok(())
    }

    /// A worker is handed a batch.
    fn take(&mut self, leased: Leased<Item>) -> Result<(), TestCaseError> {
        let items = &leased.records[leased.range.clone()];
        let ids: Vec<_> = items.iter().map(|item| item.id).collect();
        let partition = leased.partition;
        match self.circuit {
            Circuit::Closed => {}
            Circuit::Open { until } => {
                prop_assert!(self.now >= until, "a probe before its time");
                let may_go = |&other: &usize| {
                    let waits = matches!(self.workers[other], Worker::Asked) && self.rests_until[other] <= self.now;
                    let mut mine = self.records.iter().filter(|r| r.key as usize % self.workers.len() == other);
                    waits && mine.any(|r| r.outcome.is_none())
                };
                let longest_ago = (0..self.workers.len()).filter(may_go).map(|other| self.probed[other]).min();
                prop_assert!(longest_ago.is_none_or(|least| self.probed[partition] <= least), "not its turn");
                self.probes += 1;
                self.probed[partition] = self.probes;
                self.circuit = Circuit::HalfOpen(leased.id);
            }
            Circuit::HalfOpen(_) => prop_assert!(false, "two probes at once"),
        }
        let partitions = self.workers.len();
        let mine = |record: &Record| record.key as usize % partitions == partition;
        prop_assert!(self.rests_until[partition] <= self.now, "the store asked to be left alone with {ids:?}");
        for &id in &ids {
            let key = self.records[id as usize].key;
            let overtaken = (0..id).find(|earlier| {
                let record = &self.records[*earlier as usize];
                record.key == key && record.outcome.is_none() && !ids.contains(earlier)
            });
            prop_assert_eq!(overtaken, None, "{} overtakes an update of its key", id);
        }
        let parked = || (0u64..).zip(&self.records).filter(|(_, r)| mine(r) && r.taken && r.outcome.is_none());
        if let Some((oldest, _)) = parked().next() {
            prop_assert_eq!(ids[0], oldest, "what came back goes first");
        }
        ids.iter().for_each(|&id| self.records[id as usize].taken = true);
        let in_flight = self.records.iter().filter(|r| mine(r) && r.taken && r.outcome.is_none()).count();
        prop_assert!(
            in_flight <= self.buffer.config().batch_size.get(),
            "more than a batch of a partition is in flight"
        );
        let out = InFlight { lease: leased.id, ids };
        match self.workers[partition] {
            Worker::Asked => self.workers[partition] = Worker::Holds(out),
            // It asked and died: the message is dropped, and the lease comes back.
            Worker::New => {
                prop_assert!(self.buffer.park(out.lease, self.now));
                self.probe_is_lost(&out);
            }
            _ => prop_assert!(false, "two batches at once"),
        }
        Ok(())
    }

    /// What the queue's actor does when it has a turn.
    fn process_due(&mut self) -> Result<(), TestCaseError> {
        for leased in self.buffer.hand_out(self.now) {
            self.take(leased)?;
        }
        for events in self.buffer.events() {
            match events {
                QueueEvent::CircuitOpened { probe_in, .. } => {
                    self.opened -= 1;
                    prop_assert!(probe_in >= Duration::from_millis(HALF_OPEN_AFTER));
                }
                QueueEvent::CircuitClosed { .. } => self.closed -= 1,
                QueueEvent::Level(_) | QueueEvent::Overdue(_) => {}
            }
        }
        prop_assert_eq!((self.opened, self.closed), (0, 0), "circuits that opened or closed untold");
        self.wake_pending = false;
        self.timer = self.buffer.next_deadline(self.now);
        Ok(())
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        if let Some(effects) = self.buffer.effects() {
            self.wake_pending |= effects.wake_queue;
            for item in effects.evicted {
                let outcome = Outcome::Dropped(DropReason::DropOldest);
                let record = &mut self.records[item.id as usize];
                prop_assert!(!record.taken, "evicted from a worker");
                prop_assert_eq!(record.outcome.replace(outcome), None);
            }
            for (receipt, outcome) in effects.outcomes {
                prop_assert!(self.receipts.remove(&receipt), "resolved twice");
                prop_assert_eq!(self.records[receipt as usize].outcome, Some(outcome));
            }
            for receipt in effects.lost {
                prop_assert!(self.receipts.remove(&receipt), "resolved twice");
                self.lost.insert(receipt);
            }
        }
        for &receipt in &self.receipts {
            prop_assert_eq!(self.records[receipt as usize].outcome, None, "settled, and the receipt is silent");
        }
        let snapshot = self.buffer.snapshot(self.now);
        prop_assert_eq!(snapshot.residual(), 0);
        let count = |outcome| self.records.iter().filter(|r| r.outcome == Some(outcome)).count() as u64;
        prop_assert_eq!(snapshot.counters.stored, count(Outcome::Stored));
        prop_assert_eq!(snapshot.counters.dead_lettered, count(Outcome::DeadLettered));
        let taken = self.records.iter().filter(|r| r.taken && r.outcome.is_none()).count();
        prop_assert_eq!(snapshot.in_flight, taken);
        let circuit = match self.circuit {
            Circuit::Closed => CircuitState::Closed,
            Circuit::Open { .. } => CircuitState::Open,
            Circuit::HalfOpen(_) => CircuitState::HalfOpen,
        };
        prop_assert_eq!(snapshot.circuit, circuit);

        // The queue actor is told, or comes by itself in time.
        let comes = |due: Duration| self.wake_pending || self.timer.is_some_and(|timer| timer <= due);
        let waits = |at: usize| matches!(self.workers[at], Worker::Asked);
        let partitions = self.workers.len();
        let left = |at: usize| {
            let mine = self.records.iter().filter(move |r| r.key as usize % partitions == at);
            mine.filter(|r| r.outcome.is_none())
        };
        let unsettled = |at: usize| left(at).next().is_some();
        let parked = |at: usize| left(at).any(|r| r.taken);
        let rests_until = |at: usize| self.rests_until[at];
        match self.circuit {
            Circuit::Closed => {
                let comes_to = |at: usize| comes(self.now.max(rests_until(at)));
                let forgotten = (0..self.workers.len()).find(|&at| waits(at) && parked(at) && !comes_to(at));
                prop_assert_eq!(forgotten, None, "it has something parked, untold");
            }
            Circuit::Open { until } => {
                let work = (0..self.workers.len()).filter(|&at| waits(at) && unsettled(at));
                let due = work.map(|at| until.max(rests_until(at))).min();
                prop_assert!(due.is_none_or(comes), "a probe is due, untold");
            }
            Circuit::HalfOpen(_) => {}
        }
        prop_assert!((self.opened, self.closed) == (0, 0) || self.wake_pending, "events, untold");
        Ok(())
    }

    /// The store is back and says so when it is asked, no worker dies any more, and no worker comes uncalled:
    /// everything meets its end.
    fn finish(&mut self) -> Result<(), TestCaseError> {
        (self.outage, self.has_ping) = (false, true);
        for _ in 0..20_000 {
            if self.wake_pending || self.timer.is_some_and(|timer| timer <= self.now) {
                self.process_due()?;
            }
            for partition in 0..self.workers.len() {
                self.work(partition, None, None)?;
            }
            self.check()?;
            if self.is_empty() {
                break;
            }
            if self.workers.iter().all(|worker| matches!(worker, Worker::Asked)) && !self.wake_pending {
                self.now = self.timer.map_or(self.now, |timer| timer.max(self.now));
            }
            self.now += Duration::from_millis(1);
        }
        for (id, record) in self.records.iter().enumerate() {
            let allowed: &[_] = match record.key {
                ALWAYS_FAILS => &[Some(Outcome::DeadLettered)],
                REFUSED.. => &[Some(Outcome::DeadLettered)],
                _ if self.given_up > 0 => &[Some(Outcome::Stored), Some(Outcome::DeadLettered)],
                _ => &[Some(Outcome::Stored)],
            };
            let dropped = matches!(record.outcome, Some(Outcome::Dropped(_)));
            prop_assert!(dropped || allowed.contains(&record.outcome), "{id}: {record:?} in {:?}", self.buffer);
        }
        Ok(())
    }

    /// The end comes now: what is left is given up or lost, once each, and a worker that still holds something settles
    /// nothing.
    fn end(&mut self) -> Result<(), TestCaseError> {
        self.buffer.close();
        let held: Vec<_> = std::mem::take(&mut self.workers);
        let leased = self.buffer.abandon();
        for worker in held {
            if let Worker::Holds(out) | Worker::Writes(out, ..) | Worker::Buries(out) = worker {
                prop_assert!(!self.buffer.may_write(out.lease));
                prop_assert!(self.buffer.settle_stored(out.lease, self.now).is_none());
                prop_assert!(!self.buffer.park(out.lease, self.now));
            }
        }
        let mut keys = BTreeMap::new();
        for (number, leased) in leased.into_iter().enumerate() {
            let ids: Vec<_> = leased.records[leased.range].iter().map(|item| item.id).collect();
            for &id in &ids {
                let record = &self.records[id as usize];
                prop_assert_eq!(record.outcome, None);
                prop_assert!(keys.insert(record.key, id).is_none_or(|last| last < id), "out of order");
            }
            // Every third cannot be written.
            if number % 3 != 2 {
                prop_assert!(self.buffer.settle_dead_lettered(leased.id, self.now).is_some());
                self.settle(&InFlight { lease: leased.id, ids }, Outcome::DeadLettered)?;
            }
        }
        self.buffer.lose_receipts();
        let effects = self.buffer.effects();
        let (outcomes, lost) = effects.map_or_else(Default::default, |effects| (effects.outcomes, effects.lost));
        for (receipt, outcome) in outcomes {
            prop_assert!(self.receipts.remove(&receipt));
            prop_assert_eq!(self.records[receipt as usize].outcome, Some(outcome));
        }
        for receipt in lost {
            prop_assert!(self.receipts.remove(&receipt));
            prop_assert_eq!(self.records[receipt as usize].outcome, None);
        }
        prop_assert!(self.receipts.is_empty(), "silent: {:?}", self.receipts);
        prop_assert_eq!(self.buffer.snapshot(self.now).residual(), 0);
        Ok(())
    }
}

impl Record {
    fn new(key: u32, strikes_left: u32) -> Self {
        Self { key, taken: false, outcome: None, failures: 0, strikes_left, struck_at: 0 }
    }
}

fn config() -> impl Strategy<Value = BufferConfig> {
    let overflow = prop_oneof![3 => Just(Overflow::Error), 1 => Just(Overflow::DropOldest)];
    (3usize..30, 1usize..5, 2usize..9, 1u64..25, overflow, 0u32..4, 1u32..5).prop_map(
        |(capacity, partitions, batch_size, flush_interval, overflow, threshold, max_strikes)| BufferConfig {
            capacity: NonZeroUsize::new(capacity).unwrap(),
            capacity_bytes: None,
            partitions: NonZeroUsize::new(partitions).unwrap(),
            batch_size: NonZeroUsize::new(batch_size).unwrap(),
            flush_interval: Duration::from_millis(flush_interval),
            overflow,
            watermarks: Watermarks::new(1, 2, capacity).unwrap(),
            breaker: BreakerConfig {
                failure_threshold: NonZeroU32::new(threshold),
                half_open_after: Duration::from_millis(HALF_OPEN_AFTER),
            },
            slow_after: Duration::MAX,
            max_strikes: NonZeroU32::new(max_strikes).unwrap(),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(super::tests::cases()))]

    /// Red when a probe overtakes what stands before it or a second one goes out; when a failure is a strike that
    /// should be none, or none that should be one; when a partition's head is a probe out of its turn; when a probe
    /// that vanished is waited for; when the store is not left alone for as long as it asked; when the queue actor is
    /// not told of a parked batch, a due probe or a circuit that closed; when one record that always fails keeps
    /// another from being stored; when a receipt is resolved twice, wrongly or never.
    #[test]
    fn failures_cost_only_what_they_must(config in config(), steps in steps(), has_ping: bool) {
        let mut world = World { has_ping, ..World::new(config) };
        for step in &steps {
            world.step(step)?;
        }
        world.finish()?;
        world.end()?;
    }

    /// The same with the end in the middle of it.
    #[test]
    fn the_end_finds_every_record_and_every_receipt(config in config(), steps in steps()) {
        let mut world = World::new(config);
        for step in &steps {
            world.step(step)?;
        }
        world.end()?;
    }

    /// Red when anything is given up although nothing was ever written: that is an outage and no batch's fault.
    #[test]
    fn nothing_is_given_up_while_nothing_succeeds(mut config in config(), steps in steps()) {
        config.breaker.failure_threshold = config.breaker.failure_threshold.or(NonZeroU32::new(2));
        let mut world = World::new(config);
        for step in &steps {
            match step {
                Step::Outage(_) | Step::Offer { key: ALWAYS_FAILS.., .. } => continue,
                Step::Work { fails: Some(WriteFault::Panic), .. } => continue,
                step => world.step(step)?,
            }
            world.outage = true;
        }
        prop_assert_eq!(world.given_up, 0);
        world.finish()?;
        prop_assert_eq!(world.buffer.snapshot(world.now).counters.dead_lettered, 0);
    }
}
