//! A store that comes and goes while records go on coming, a millisecond at a time: what is given up, and on what
//! proof.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::{NonZeroU32, NonZeroUsize},
    ops::RangeInclusive,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    time::Duration,
};

use super::*;

use crate::policy::*;
use crate::policy::{BreakerConfig, CircuitState, Watermarks};

/// Milliseconds in which the store comes and goes. Then it stays.
const FLAPS: u64 = 3_000;
/// Milliseconds after that. What has to be over by then is over in less than half of them.
const CALM: u64 = 6_000;

#[derive(Clone, Copy, Debug)]
struct Item {
    id: usize,
}

type Buffer = BoundedBuffer<Item, ()>;

/// What is the same for all of a history.
#[derive(Debug)]
struct Scene {
    config: BufferConfig,
    /// A record comes to each partition every so many milliseconds, about; to one without never.
    traffic: Vec<Option<u64>>,
    /// How long the store is there, and how long it is away.
    up: RangeInclusive<u64>,
    down: RangeInclusive<u64>,
    /// When the one record comes that always fails, and to which partition.
    poison: Option<(u64, usize)>,
    /// Whether the sink can say if the store is there.
    has_ping: bool,
}

impl Scene {
    fn any(random: &mut fastrand::Rng) -> Self {
        let partitions = random.usize(1..5);
        let some = |random: &mut fastrand::Rng| NonZeroU32::new(random.u32(1..7)).expect("not zero");
        let size = |random: &mut fastrand::Rng, sizes| NonZeroUsize::new(random.usize(sizes)).expect("not zero");
        let config = BufferConfig {
            capacity: size(random, 2_000..6_000),
            capacity_bytes: None,
            partitions: NonZeroUsize::new(partitions).expect("at least one"),
            batch_size: size(random, 2..9),
            flush_interval: Duration::from_millis(random.u64(0..5)),
            overflow: Overflow::Error,
            watermarks: Watermarks::for_capacity(20),
            breaker: BreakerConfig {
                failure_threshold: Some(some(random)),
                half_open_after: Duration::from_millis(40),
            },
            slow_after: Duration::MAX,
            max_strikes: some(random),
        };
        let mut traffic: Vec<_> = (0..partitions).map(|_| random.bool().then(|| random.u64(4..150))).collect();
        traffic[random.usize(0..partitions)] = Some(random.u64(4..150));
        let [up, down] = [(); 2].map(|()| [1..=6, 1..=60, 20..=400][random.usize(0..3)].clone());
        let poison = random.bool().then(|| (random.u64(0..FLAPS + 100), random.usize(0..partitions)));
        Self { config, traffic, up, down, poison, has_ping: random.bool() }
    }

    /// Returns whether something can prove that it is not the store that fails: a ping, or writes of another partition.
    fn has_proof(&self) -> bool {
        let (_, of) = self.poison.unwrap_or_default();
        self.has_ping
            || !self.has_breaker()
            || self.traffic.iter().enumerate().any(|(partition, every)| partition != of && every.is_some())
    }

    /// Without a breaker the failures alone decide, and an outage costs good records.
    fn has_breaker(&self) -> bool {
        self.config.breaker.failure_threshold.is_some()
    }

    /// The strikes of a whole batch.
    fn strikes(&self) -> u32 {
        self.config.max_strikes.get().max(2)
    }
}

#[derive(Debug)]
struct InFlight {
    lease: LeaseId,
    ids: Vec<usize>,
    is_whole: bool,
}

#[derive(Debug)]
enum Worker {
    Asked,
    Sleeps {
        out: InFlight,
        until: u64,
    },
    /// If the store was away when its write began, that was so in this time away.
    Writes {
        out: InFlight,
        began: u64,
        until: u64,
        away: Option<u64>,
    },
}

/// What the test itself knows of one record.
#[derive(Debug)]
struct Record {
    partition: usize,
    key: u64,
    is_poison: bool,
    came: u64,
    /// The one that always fails is in that batch.
    in_bad_company: bool,
    outcome: Option<Outcome>,
    /// In which outages it failed.
    away: BTreeSet<u64>,
}

struct World<'a> {
    scene: &'a Scene,
    random: fastrand::Rng,
    buffer: Buffer,
    now: u64,
    is_up: bool,
    turns: u64,
    turns_at: u64,
    records: Vec<Record>,
    poison: Option<usize>,
    workers: Vec<Worker>,
    /// The last that was stored of each key.
    stored: BTreeMap<(usize, u64), usize>,
    given_up: usize,
    /// When the circuit opened, and when what always fails was written.
    opened: Vec<u64>,
    wasted: Vec<u64>,
    wake_pending: bool,
    timer: Option<Duration>,
}

impl<'a> World<'a> {
    fn new(scene: &'a Scene, random: fastrand::Rng) -> Self {
        Self {
            scene,
            random,
            buffer: Buffer::new(scene.config),
            now: 0,
            is_up: true,
            turns: 0,
            turns_at: 0,
            records: Vec::new(),
            poison: None,
            workers: (0..scene.config.partitions.get()).map(|_| Worker::Asked).collect(),
            stored: BTreeMap::new(),
            given_up: 0,
            opened: Vec::new(),
            wasted: Vec::new(),
            wake_pending: true,
            timer: None,
        }
    }

    fn at(&self) -> Duration {
        Duration::from_millis(self.now)
    }

    fn run(&mut self) {
        for partition in 0..self.workers.len() {
            self.ask(partition);
        }
        while self.now < FLAPS + CALM {
            self.turn();
            self.traffic();
            for partition in 0..self.workers.len() {
                self.work(partition);
            }
            self.process_due();
            self.now += 1;
        }
    }

    fn turn(&mut self) {
        if self.now >= FLAPS {
            self.is_up = true;
        } else if self.now == self.turns_at {
            self.is_up = !self.is_up;
            self.turns += 1;
            let lasts = if self.is_up { &self.scene.up } else { &self.scene.down };
            self.turns_at = self.now + self.random.u64(lasts.clone());
        }
    }

    /// The number of the time away that it is, if it is one.
    fn away(&self) -> Option<u64> {
        (!self.is_up).then_some(self.turns)
    }

    fn traffic(&mut self) {
        for (partition, every) in self.scene.traffic.iter().enumerate() {
            if every.is_some_and(|every| self.random.u64(0..every) == 0) {
                let key = self.random.u64(0..7);
                self.offer(partition, key);
            }
        }
        if let Some((at, partition)) = self.scene.poison
            && self.now >= at
            && self.poison.is_none()
        {
            self.poison = self.offer(partition, 99);
        }
    }

    fn offer(&mut self, partition: usize, key: u64) -> Option<usize> {
        let id = self.records.len();
        self.buffer.offer(self.at(), partition, Item { id }).ok()?;
        let (is_poison, came) = (key == 99, self.now);
        let (in_bad_company, outcome, away) = (false, None, BTreeSet::new());
        self.records.push(Record { partition, key, is_poison, came, in_bad_company, outcome, away });
        Some(id)
    }

    fn work(&mut self, partition: usize) {
        match std::mem::replace(&mut self.workers[partition], Worker::Asked) {
            Worker::Asked => {}
            Worker::Sleeps { out, until } if until <= self.now => self.begin(partition, out),
            Worker::Writes { out, began, until, away } if until <= self.now => {
                self.end(partition, out, began, away.or(self.away()));
            }
            busy => self.workers[partition] = busy,
        }
    }

    fn ask(&mut self, partition: usize) {
        if let Some(leased) = self.buffer.ask(partition, self.at()) {
            self.take(leased);
        }
    }

    fn take(&mut self, leased: Leased<Item>) {
        assert!(matches!(self.workers[leased.partition], Worker::Asked), "two batches at once");
        let ids: Vec<_> = leased.records[leased.range.clone()].iter().map(|item| item.id).collect();
        let is_bad = leased.records.iter().any(|item| self.records[item.id].is_poison);
        ids.iter().for_each(|&id| self.records[id].in_bad_company = is_bad);
        let is_whole = leased.range.len() == leased.records.len();
        self.begin(leased.partition, InFlight { lease: leased.id, ids, is_whole });
    }

    fn begin(&mut self, partition: usize, out: InFlight) {
        if !self.buffer.may_write(out.lease) {
            return self.ask(partition);
        }
        if self.buffer.snapshot(self.at()).circuit != CircuitState::Closed {
            let is_probe = |worker: &Worker| match worker {
                Worker::Writes { began, .. } => self.opened.last().is_some_and(|opened| began > opened),
                _ => false,
            };
            assert!(!self.workers.iter().any(is_probe), "a second probe");
        }
        if self.has_poison(&out) {
            self.wasted.push(self.now);
        }
        let until = self.now + self.random.u64(1..4);
        self.workers[partition] = Worker::Writes { out, began: self.now, until, away: self.away() };
    }

    fn has_poison(&self, out: &InFlight) -> bool {
        out.ids.iter().any(|&id| self.records[id].is_poison)
    }

    fn end(&mut self, partition: usize, out: InFlight, began: u64, away: Option<u64>) {
        if away.is_none() && !self.has_poison(&out) {
            assert!(self.buffer.settle_stored(out.lease, self.at()).is_some());
            self.settle(&out, Outcome::Stored);
            return self.ask(partition);
        }
        for &id in &out.ids {
            self.records[id].away.extend(away);
        }
        let began = Duration::from_millis(began);
        let verdict = self.buffer.write_failed(out.lease, WriteFault::Transient, began, self.at(), None);
        if self.scene.has_ping
            && verdict != Verdict::GiveUp
            && let Some(began) = self.buffer.begin_ping(partition, self.at())
            && self.is_up
        {
            self.buffer.ping_answered(began);
        }
        match verdict {
            Verdict::Retry { failures } => {
                let until = self.now + self.random.u64(1..=1 << failures.min(5));
                self.workers[partition] = Worker::Sleeps { out, until };
            }
            Verdict::Parked => self.ask(partition),
            Verdict::GiveUp => self.give_up(partition, out),
        }
    }

    fn give_up(&mut self, partition: usize, mut out: InFlight) {
        let strikes = self.scene.strikes() as usize;
        let enough = match (out.is_whole, self.records[out.ids[0]].in_bad_company) {
            (true, _) => strikes,
            (false, false) => strikes + 1,
            (false, true) => 2,
        };
        for &id in &out.ids {
            let outages = self.records[id].away.len();
            assert!(
                self.has_poison(&out) || outages >= enough || !self.scene.has_breaker(),
                "{id} of {out:?} is given up after {outages} outages, expected {enough}"
            );
        }
        match self.buffer.isolate(out.lease, false, self.at()).expect("it is out") {
            Isolated::Half(half) => {
                out.ids = half.records[half.range].iter().map(|item| item.id).collect();
                out.is_whole = false;
                self.begin(partition, out);
            }
            Isolated::Alone { .. } => {
                assert!(self.buffer.settle_dead_lettered(out.lease, self.at()).is_some());
                self.given_up += usize::from(!self.has_poison(&out));
                self.settle(&out, Outcome::DeadLettered);
                self.ask(partition);
            }
        }
    }

    fn settle(&mut self, out: &InFlight, outcome: Outcome) {
        for &id in &out.ids {
            let record = &mut self.records[id];
            assert_eq!(record.outcome.replace(outcome), None, "settled twice");
            if outcome == Outcome::Stored {
                let last = self.stored.insert((record.partition, record.key), id);
                assert!(last.is_none_or(|last| last < id), "{id} was stored behind {last:?}, of one key");
            }
        }
    }

    fn process_due(&mut self) {
        self.wake_pending |= self.buffer.effects().is_some_and(|effects| effects.wake_queue);
        if !self.wake_pending && self.timer.is_none_or(|timer| timer > self.at()) {
            return;
        }
        self.wake_pending = false;
        for leased in self.buffer.hand_out(self.at()) {
            self.take(leased);
        }
        let opened =
            self.buffer.events().iter().filter(|events| matches!(events, QueueEvent::CircuitOpened { .. })).count();
        self.opened.resize(self.opened.len() + opened, self.now);
        self.timer = self.buffer.next_deadline(self.at());
    }

    /// The store is there for good, and records went on coming: all is as if nothing had been.
    fn check_calm(&self) {
        let since = |strikes: &[u64]| strikes.iter().filter(|&&at| at > FLAPS).count();
        assert_eq!(self.buffer.snapshot(self.at()).circuit, CircuitState::Closed);
        assert!(self.opened.last().is_none_or(|&last| last < FLAPS + CALM / 2), "opened at {:?}", self.opened);
        // What closes the circuit is an answer. The next failure is a strike then, unless the answer is to a write that
        // was under way at the last one: of these each other partition has one at most.
        let parts = self.scene.config.batch_size.get().next_power_of_two().ilog2() + 1;
        let strikes = (self.scene.strikes() + 2 * parts) as usize;
        let (opened, wasted) = (since(&self.opened), since(&self.wasted));
        let partitions = self.scene.config.partitions.get();
        assert!(opened <= strikes * partitions, "the circuit opened {opened} times");
        assert!(wasted <= 60 * strikes, "written {wasted} times");
        let poison = self.poison.map(|id| self.records[id].outcome);
        assert!(poison.is_none_or(|outcome| outcome == Some(Outcome::DeadLettered)), "it is tried without end");
        let waits = self.records.iter().find(|record| record.outcome.is_none());
        assert!(waits.is_none_or(|record| record.came > FLAPS + CALM / 2), "{waits:?} waits");
    }
}

/// Red when a good batch is given up after fewer outages than it has strikes; when one that always fails is not given
/// up, opens the circuit again and again, or is written too often; when the circuit stays open, a second probe goes
/// out, or an update overtakes another.
///
/// Sabotage: let any answer be proof, of a write that began before the strike too; let a part
/// keep the strikes of the whole.
#[test]
fn a_store_that_comes_and_goes_costs_no_batch_that_is_written_in_time() {
    let (mut records, mut given_up, mut outages) = (0, 0, 0);
    for seed in 0..super::tests::cases().into() {
        let mut random = fastrand::Rng::with_seed(seed);
        let scene = Scene::any(&mut random);
        let mut world = World::new(&scene, random);
        let ran = catch_unwind(AssertUnwindSafe(|| {
            world.run();
            if world.poison.is_none() || scene.has_proof() {
                world.check_calm();
            }
        }));
        if let Err(panic) = ran {
            println!("seed {seed}, at {} ms: {scene:?}", world.now);
            resume_unwind(panic);
        }
        records += world.records.len();
        given_up += world.given_up;
        outages += world.opened.len();
    }
    println!("{given_up} of {records} records were unlucky each time, the circuit opened {outages} times");
    assert!(outages > 0, "no outage was seen");
}

/// What became of the histories of one row of the table below.
#[derive(Default)]
struct Figures {
    records: usize,
    given_up: usize,
    outages: usize,
    ended: usize,
    writes: usize,
    took: u64,
}

/// The same with each rule of its own, half of the histories with a record that always fails. Prints a table, by what
/// is set: good records that were given up, times that the circuit opened, and of records that always fail how many
/// ended as dead letters, after how many writes and how long.
///
/// Red when a record that always fails does not end where anything proves that the store is there, or ends where
/// nothing does.
#[test]
fn what_each_setting_costs_where_a_store_comes_and_goes() {
    const HISTORIES: u64 = 8;
    let workers = [(1, 1), (4, 1), (4, 4)].into_iter();
    let rows = workers.flat_map(|workers| [1, 2, 3, 5].map(|attempts| (workers, attempts)));
    let rows =
        rows.flat_map(|row| [(0, true), (0, false), (5, true), (5, false)].map(|(most, ping)| (row, most, ping)));
    let histories = HISTORIES * u64::from(super::tests::cases()).div_ceil(300);
    println!(
        "| workers | busy | attempts | threshold | ping | records | given up | opened | always fail, ended | writes | ms |"
    );
    for (((workers, busy), attempts), threshold, has_ping) in rows {
        let mut figures = Figures::default();
        for seed in 0..histories {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut scene = Scene::any(&mut random);
            scene.config.partitions = NonZeroUsize::new(workers).expect("not zero");
            scene.config.max_strikes = NonZeroU32::new(attempts).expect("not zero");
            scene.config.breaker.failure_threshold = NonZeroU32::new(threshold);
            scene.traffic = (0..workers).map(|partition| (partition < busy).then_some(20)).collect();
            // Of a partition that is busy, after the store has come to stay: what it costs before that is the first
            // test's.
            scene.poison = (seed % 2 == 0).then_some((FLAPS + 10, 0));
            scene.has_ping = has_ping;
            let mut world = World::new(&scene, random);
            world.run();
            figures.records += world.records.len();
            figures.given_up += world.given_up;
            figures.outages += world.opened.len();
            let Some(id) = world.poison else { continue };
            let record = &world.records[id];
            let is_ended = record.outcome == Some(Outcome::DeadLettered);
            assert_eq!(is_ended, scene.has_proof(), "{scene:?}");
            figures.ended += usize::from(is_ended);
            if let Some(last) = world.wasted.last().filter(|_| is_ended) {
                figures.writes += world.wasted.len();
                figures.took += last - record.came;
            }
        }
        let Figures { records, given_up, outages, ended, writes, took } = figures;
        let each = |sum: f64| if ended == 0 { "-".to_owned() } else { format!("{:.1}", sum / ended as f64) };
        let (writes, took) = (each(writes as f64), each(took as f64));
        let poisons = histories.div_ceil(2);
        println!(
            "| {workers} | {busy} | {attempts} | {threshold} | {has_ping} | {records} | {given_up} | {outages} | {ended} of {poisons} | {writes} | {took} |"
        );
    }
}
