//! A producer, a queue and a store, a millisecond at a time: what a limiter is for, without anything real.

use std::{collections::VecDeque, fmt, time::Duration};

use super::*;
use crate::policy::level::{DrainRate, Reason, Watermark, Watermarks};

/// Milliseconds that a run takes.
const RUN: u64 = 60_000;

#[derive(Clone, Copy, Debug)]
struct Scene {
    capacity: usize,
    /// Records a second that the store writes while it has enough of them.
    speed: f64,
    /// Milliseconds from a level change to the limiter: at least, and at most.
    delay: (u64, u64),
    /// Records that the producer asks for at a time.
    chunk: u32,
    /// Workers, each of which writes a batch in the same time however little is in it; none: records go one by one.
    batches: Option<(usize, usize)>,
    /// By what the speed is multiplied at half-time.
    turns: f64,
}

#[derive(Default)]
struct Outcome {
    /// Milliseconds in which the queue was below its high mark.
    below_high: u64,
    written: f64,
    /// What the store could have written.
    possible: f64,
    /// Both of the last third.
    late: (f64, f64),
    /// Level changes, and those to hard among them.
    events: usize,
    hards: usize,
}

impl Outcome {
    fn below_high(&self) -> f64 {
        self.below_high as f64 / RUN as f64
    }

    fn throughput(&self) -> f64 {
        self.written / self.possible
    }

    /// The throughput of the last third.
    fn late(&self) -> f64 {
        self.late.0 / self.late.1
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (below, written) = (self.below_high() * 100.0, self.throughput() * 100.0);
        let late = self.late() * 100.0;
        write!(f, "{below:5.1} % below high, {written:5.1} % of the store's speed ({late:5.1} % late), ")?;
        write!(f, "{} events, {} of them hard", self.events, self.hards)
    }
}

/// The store: takes records out of the queue as fast as it can.
struct Store {
    scene: Scene,
    /// When each worker is free again, and what it is writing.
    workers: Vec<(u64, usize)>,
    /// Parts of a record that it could have written by now.
    part: f64,
    waiting_since: Option<u64>,
}

impl Store {
    fn speed(&self, now: u64) -> f64 {
        self.scene.speed * if now < RUN / 2 { 1.0 } else { self.scene.turns }
    }

    /// Returns how many records it takes out of the queue now, and how many are written.
    fn step(&mut self, now: u64, queued: usize) -> (usize, usize) {
        let Some((_, batch)) = self.scene.batches else {
            self.part = (self.part + self.speed(now) / 1000.0).min(queued as f64);
            let written = self.part.floor();
            self.part -= written;
            return (written as usize, written as usize);
        };
        let takes = (self.workers.len() * batch) as f64 / self.speed(now) * 1000.0;
        let (mut taken, mut written) = (0, 0);
        let since = *self.waiting_since.get_or_insert(now);
        for (free_at, writing) in &mut self.workers {
            if now >= *free_at {
                written += std::mem::take(writing);
                let ready = queued - taken;
                if ready >= batch || (ready > 0 && now - since >= 250) {
                    *writing = ready.min(batch);
                    taken += *writing;
                    *free_at = now + takes as u64;
                    self.waiting_since = None;
                }
            }
        }
        (taken, written)
    }

    fn is_busy(&self, queued: usize) -> bool {
        queued > 0 || self.workers.iter().any(|&(_, writing)| writing > 0)
    }
}

fn run(scene: Scene, config: RateConfig) -> Outcome {
    let ms = Duration::from_millis;
    let mut control: RateControl<(), ()> = RateControl::new(config);
    let mut watermark = Watermark::new(Watermarks::for_capacity(scene.capacity));
    let workers = scene.batches.map_or(0, |(workers, _)| workers);
    let mut store = Store { scene, workers: vec![(0, 0); workers], part: 0.0, waiting_since: None };
    let (mut queued, mut drain, mut outcome) = (0usize, DrainRate::default(), Outcome::default());
    let mut under_way: VecDeque<(u64, Report)> = VecDeque::new();
    // What the producer holds and could not submit yet, and its place in line.
    let (mut holds, mut ticket) = (0usize, None);
    let mut random = fastrand::Rng::with_seed(1);
    let started = Report {
        level: Level::Ok,
        reason: Reason::Started,
        drain_rate: None,
        queue_size: 0,
        capacity: scene.capacity as u64,
    };
    control.observe(ms(0), (), started);
    for now in 0..RUN {
        let (taken, written) = store.step(now, queued);
        queued -= taken;
        drain.pass(ms(now), store.is_busy(queued));
        drain.settle(written);
        let mut sizes = vec![queued];
        // A producer without any sense: it submits what it has, and waits for no more than the next chunk.
        loop {
            let fits = holds.min(scene.capacity - queued);
            if fits > 0 {
                holds -= fits;
                queued += fits;
                sizes.push(queued);
            }
            if holds > 0 {
                break;
            }
            let granted = match ticket {
                None => control.take(ms(now), scene.chunk),
                Some(ticket) => control.claim(ms(now), ticket, ()),
            };
            if !granted {
                ticket.get_or_insert_with(|| control.wait(ms(now), scene.chunk, ()));
                break;
            }
            ticket = None;
            holds = scene.chunk as usize;
        }
        for size in sizes {
            let Some(level) = watermark.observe(size, || false) else { continue };
            let reason = match level {
                Level::Ok => Reason::QueueRecovered,
                Level::Soft => Reason::QueueRising,
                Level::Hard => Reason::QueueHigh,
            };
            outcome.events += 1;
            outcome.hards += usize::from(level == Level::Hard);
            let report = Report {
                level,
                reason,
                drain_rate: drain.per_second(),
                queue_size: size as u64,
                capacity: scene.capacity as u64,
            };
            let due = now + random.u64(scene.delay.0..=scene.delay.1);
            // Never overtaken by a later one.
            let due = under_way.back().map_or(due, |&(before, _)| due.max(before));
            under_way.push_back((due, report));
        }
        while under_way.front().is_some_and(|&(due, _)| due <= now) {
            let (_, report) = under_way.pop_front().expect("there is a first");
            control.observe(ms(now), (), report);
        }
        outcome.below_high += u64::from(queued < watermark.marks().high());
        let possible = store.speed(now) / 1000.0;
        outcome.written += written as f64;
        outcome.possible += possible;
        if now >= RUN / 3 * 2 {
            outcome.late.0 += written as f64;
            outcome.late.1 += possible;
        }
    }
    outcome
}

fn following() -> RateConfig {
    RateConfig { budget: Budget::FollowDrainRate, ..RateConfig::default() }
}

/// Stores that write `speed` times what their queue holds in a second, with producers of all manners.
fn scenes(speed: f64, delay: (u64, u64), turns: f64) -> impl Iterator<Item = Scene> {
    let producers = [10_000, 1_000]
        .into_iter()
        .flat_map(|capacity| [1, capacity / 100, capacity / 20, capacity / 10].map(|chunk| (capacity, chunk)));
    producers.flat_map(move |(capacity, chunk)| {
        let speed = speed * capacity as f64;
        // A batch takes half a second at most.
        let batch = (capacity / 40).min((speed / 8.0) as usize).max(1);
        [None, Some((4, batch))].map(|batches| Scene { capacity, speed, delay, chunk: chunk as u32, batches, turns })
    })
}

/// Milliseconds that a level change takes to the limiter: a bus in the process, and webhooks.
const DELAYS: [(u64, u64); 4] = [(0, 0), (50, 50), (200, 200), (0, 200)];

/// Runs some scenes with each delay, picked at random, or all of them in the long form. Every run by itself is always
/// the same.
fn assert_each(speeds: &[(f64, f64)], holds: impl Fn(&Outcome) -> bool) {
    let some = std::env::var("MDS_TEST_SIMULATIONS").map_or(4, |size| size.parse().expect("a number"));
    for &(speed, turns) in speeds {
        let mut scenes: Vec<_> = DELAYS.into_iter().flat_map(|delay| scenes(speed, delay, turns)).collect();
        fastrand::shuffle(&mut scenes);
        for scene in scenes.into_iter().take(some) {
            let outcome = run(scene, following());
            assert!(holds(&outcome), "{outcome}: {scene:?}");
            assert!(outcome.events > 0, "nothing was said, so nothing was shown: {scene:?}");
        }
    }
}

/// Red when the rate at soft lets the queue rise, when it does not grow again at ok, when a rise takes longer than the
/// queue lasts, or when the first word of a store finds its queue full.
#[test]
fn a_producer_that_follows_keeps_the_store_busy_and_its_queue_below_the_high_mark() {
    let steady = [(0.01, 1.0), (0.1, 1.0), (1.0, 1.0), (3.0, 1.0)];
    assert_each(&steady, |outcome| outcome.below_high() >= 0.95 && outcome.throughput() >= 0.95);
}

/// Red when the rate at ok stays at what was measured last: a store that has become faster would go unnoticed.
#[test]
fn a_store_that_becomes_faster_is_found_out() {
    let faster = [(0.01, 10.0), (0.1, 4.0), (0.3, 10.0)];
    assert_each(&faster, |outcome| outcome.below_high() >= 0.95 && outcome.late() >= 0.95);
}

/// Red when the drain rate that counts is not the newest.
#[test]
fn a_store_that_becomes_slower_is_not_flooded() {
    let slower = [(0.1, 0.25), (1.0, 0.1)];
    assert_each(&slower, |outcome| outcome.below_high() >= 0.95 && outcome.throughput() >= 0.95);
}

/// The saboteur of the others: red when a queue in this simulation stays low whatever its producer does.
#[test]
fn a_producer_that_only_pauses_at_hard_fills_the_queue() {
    let scene = Scene { capacity: 1_000, speed: 100.0, delay: (50, 50), chunk: 10, batches: None, turns: 1.0 };
    let outcome = run(scene, RateConfig { budget: Budget::Gate, ..RateConfig::default() });
    assert!(outcome.below_high() < 0.95 && outcome.hards > 1, "{outcome}");
}
