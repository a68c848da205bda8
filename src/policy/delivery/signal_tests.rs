//! Three senders and two receivers against what is plainly so: who lives, and at what level.
//!
//! Everything between a coordinator's level and what a producer is shown is here but the sockets: the lanes of the
//! senders, and in each receiver what tells repeats and what tells instances. Around them processes start, die, end,
//! and change their level; clocks are off; requests are lost, late, doubled and overtaken; the network is cut;
//! receivers start anew.

use std::{num::NonZeroU32, time::Duration};

use super::{
    Admission, Deduplicator, DeduplicatorLimits, EndpointPolicy, EndpointQueue, Instances, SentAs, Speaker, Step,
};
use crate::policy::{failure::RetryPolicy, level::Level};

/// All times are in milliseconds, a step each.
const REFRESH: u64 = 1_000;
const MIN_INTERVAL: u64 = 100;
/// The longest wait of a lane between two attempts.
const RETRY: u64 = 200;
/// A request arrives within this, or it is lost; an attempt is given up after twice as long.
const LATE: u64 = 150;
const TIMEOUT: u64 = 2 * LATE;
/// How long it takes at most until what a sender says is known, once nothing is in the way.
const KNOWN: u64 = REFRESH + RETRY + MIN_INTERVAL + TIMEOUT + 3 * LATE;
/// How long it takes at most until one that fell silent is known to be so.
const SILENT: u64 = 3 * REFRESH + LATE + KNOWN;
const STEPS: u64 = 40_000;
const SENDERS: usize = 3;
const RECEIVERS: usize = 2;

#[derive(Clone, Debug)]
struct Event {
    name: u8,
    speaker: Speaker,
    level: Level,
}

/// One start of one process.
struct Process {
    name: u8,
    instance: String,
    epoch: u64,
    seq: u64,
    level: Level,
    lanes: [EndpointQueue<u8, Event>; RECEIVERS],
    /// When the attempt under way ends, and whether its answer came then.
    under_way: [Option<(u64, bool)>; RECEIVERS],
    /// It was told to end: it goes once its lanes have nothing left.
    ends: Option<u64>,
    is_draining: bool,
    changed: u64,
}

/// A request on its way.
struct Request {
    arrives: u64,
    to: usize,
    id: String,
    event: Event,
}

struct Receiver {
    met: Deduplicator<u8>,
    bus: Instances<u8, Level>,
    started: u64,
}

impl Receiver {
    fn new(now: u64) -> Self {
        let count = |count| std::num::NonZeroUsize::new(count).expect("not zero");
        let limits = DeduplicatorLimits { keys: count(100), ids: count(1_000), id_for: ms(600_000) };
        Self { met: Deduplicator::new(limits), bus: Instances::default(), started: now }
    }

    fn receive(&mut self, now: u64, id: &str, event: &Event) {
        let admission = self.met.admit(id, &event.name, &event.speaker, ms(now));
        if let Admission::New(_) | Admission::Alive(_) | Admission::Repeated { is_alive: true } = admission {
            self.bus.hear(ms(now), &event.name, &event.speaker, event.level);
        }
    }

    fn let_go(&mut self, now: u64) {
        while let Some((_, name)) = self.bus.next_due().filter(|(at, _)| *at <= ms(now)) {
            let name = *name;
            self.bus.let_go(ms(now), &name, |_| Level::Soft);
        }
    }

    /// What is shown of all names: the highest of those that live, or of what is known if none does.
    fn shown(&self) -> Option<(bool, Level)> {
        let present = self.bus.names().filter_map(|name| self.bus.present(name, |level| *level));
        present.map(|present| (present.lives, *present.value)).max()
    }
}

struct World {
    random: fastrand::Rng,
    now: u64,
    senders: [Option<Process>; SENDERS],
    receivers: [Receiver; RECEIVERS],
    requests: Vec<Request>,
    /// When the way from a sender to a receiver was last not open, or is.
    cut: [[bool; RECEIVERS]; SENDERS],
    cut_at: [[u64; RECEIVERS]; SENDERS],
    /// When anything last started, died, ended or was cut.
    moved: u64,
    /// When a process of each name last started.
    started: [u64; SENDERS],
    starts: u64,
    kills: u64,
    /// Whether processes end in order; if not all are killed at last.
    has_ends: bool,
    checked: [u64; 3],
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            now: 0,
            senders: [const { None }; SENDERS],
            receivers: [(); RECEIVERS].map(|()| Receiver::new(0)),
            requests: Vec::new(),
            cut: [[false; RECEIVERS]; SENDERS],
            cut_at: [[0; RECEIVERS]; SENDERS],
            moved: 0,
            started: [0; SENDERS],
            starts: 0,
            kills: 0,
            has_ends: !seed.is_multiple_of(3),
            checked: [0; 3],
        }
    }

    fn start(&mut self, sender: usize) {
        // Two may share a name by mistake, and a clock may be off by an hour.
        let name = self.random.usize(0..SENDERS);
        self.starts += 1;
        let policy = EndpointPolicy {
            retry: RetryPolicy {
                initial_backoff: ms(50),
                max_backoff: ms(RETRY),
                multiplier: 2.0,
                jitter: true,
                max_attempts: NonZeroU32::new(3).expect("not zero"),
            },
            probe_after: ms(RETRY),
            refresh: Some(ms(REFRESH)),
            min_interval: ms(MIN_INTERVAL),
        };
        let mut process = Process {
            name: name as u8,
            instance: format!("i{}", self.starts),
            epoch: (3_600_000 + self.now).saturating_add_signed(self.random.i64(-3_600_000..3_600_000)),
            seq: 0,
            level: Level::Ok,
            lanes: [(); RECEIVERS].map(|()| EndpointQueue::new(policy)),
            under_way: [None; RECEIVERS],
            ends: None,
            is_draining: false,
            changed: self.now,
        };
        process.say(self.now, Level::Ok);
        self.senders[sender] = Some(process);
        (self.moved, self.started[name]) = (self.now, self.now);
    }

    fn step(&mut self) {
        self.now += 1;
        let quiet = self.now > STEPS - 2 * SILENT;
        if self.now == STEPS - 2 * SILENT && !self.has_ends {
            self.senders = [const { None }; SENDERS];
            self.moved = self.now;
        }
        for sender in 0..SENDERS {
            if !quiet {
                self.happen(sender);
            }
            self.send(sender);
        }
        if !quiet && self.random.u32(0..15_000) == 0 {
            let receiver = self.random.usize(0..RECEIVERS);
            self.receivers[receiver] = Receiver::new(self.now);
            self.moved = self.now;
        }
        let (due, later) =
            std::mem::take(&mut self.requests).into_iter().partition(|request| request.arrives <= self.now);
        self.requests = later;
        for Request { to, id, event, .. } in due {
            self.receivers[to].receive(self.now, &id, &event);
        }
        self.receivers.iter_mut().for_each(|receiver| receiver.let_go(self.now));
        self.check();
    }

    fn happen(&mut self, sender: usize) {
        for receiver in 0..RECEIVERS {
            let one_in = if self.cut[sender][receiver] { 2_000 } else { 8_000 };
            if self.random.u32(0..one_in) == 0 {
                self.cut[sender][receiver] ^= true;
                self.moved = self.now;
            }
        }
        let Some(process) = &mut self.senders[sender] else {
            if self.random.u32(0..1_500) == 0 {
                self.start(sender);
            }
            return;
        };
        match self.random.u32(0..10_000) {
            0 => {
                self.senders[sender] = None;
                self.kills += 1;
                self.moved = self.now;
            }
            1 if process.ends.is_none() && self.has_ends => {
                // As a shutdown does, or the end of a load.
                process.is_draining = self.random.bool();
                process.say(self.now, if process.is_draining { Level::Hard } else { Level::Ok });
                for lane in &mut process.lanes {
                    lane.end_of(&process.name);
                    lane.end();
                }
                process.ends = Some(self.now);
                self.moved = self.now;
            }
            2..6 if process.ends.is_none() => {
                let level = [Level::Ok, Level::Soft, Level::Hard][self.random.usize(0..3)];
                process.say(self.now, level);
            }
            _ => {}
        }
    }

    fn send(&mut self, sender: usize) {
        let (now, random) = (self.now, &mut self.random);
        let Some(process) = &mut self.senders[sender] else { return };
        for receiver in 0..RECEIVERS {
            let lane = &mut process.lanes[receiver];
            if let Some((_, arrived)) = process.under_way[receiver].take_if(|(at, _)| *at <= now) {
                match arrived {
                    true => lane.delivered(),
                    false => _ = lane.failed(ms(now), None, random.f64()),
                }
            }
            let Step::Send(event, sent_as) = lane.step(ms(now)) else { continue };
            let Speaker { seq, refresh, .. } = event.speaker;
            let (id, refresh) = match sent_as {
                SentAs::First => (format!("{}_{seq}", process.instance), refresh),
                SentAs::Repeat(number) => (format!("{}_{seq}_r{number}", process.instance), refresh),
                SentAs::Last => (format!("{}_{seq}_last", process.instance), None),
            };
            let event = Event { speaker: Speaker { refresh, ..event.speaker.clone() }, ..event };
            let is_lost = self.cut[sender][receiver] || random.u32(0..20) == 0;
            let arrives = now + random.u64(1..LATE);
            process.under_way[receiver] = Some((now + TIMEOUT, false));
            if !is_lost {
                // The answer may be lost where the request was not, and a proxy may send one twice.
                if random.u32(0..10) > 0 {
                    process.under_way[receiver] = Some((arrives, true));
                }
                if random.u32(0..10) == 0 {
                    let arrives = now + random.u64(1..LATE);
                    self.requests.push(Request { arrives, to: receiver, id: id.clone(), event: event.clone() });
                }
                self.requests.push(Request { arrives, to: receiver, id, event });
            }
        }
        let has_said_all = |lane: &EndpointQueue<u8, Event>| lane.pending() == 0;
        if process.ends.is_some_and(|at| now > at + 5_000 || process.lanes.iter().all(has_said_all)) {
            self.senders[sender] = None;
            self.moved = now;
        }
    }

    fn check(&mut self) {
        for (sender, ways) in self.cut.iter().enumerate() {
            for (receiver, is_cut) in ways.iter().enumerate() {
                if *is_cut {
                    self.cut_at[sender][receiver] = self.now;
                }
            }
        }
        for (at, receiver) in self.receivers.iter().enumerate() {
            let shown = receiver.shown();
            // How long nothing has been in the way from a sender.
            let open = |sender: usize| self.now - self.cut_at[sender][at].max(receiver.started);
            let living = || self.senders.iter().enumerate().filter_map(|(at, process)| Some((at, process.as_ref()?)));
            for (sender, process) in living().filter(|(_, process)| process.ends.is_none()) {
                // Of the same name another may have started, with a newer epoch: then this one is heard with its next
                // repeat.
                let since = process.changed.max(self.started[process.name as usize]);
                if self.now - since > KNOWN && open(sender) > KNOWN && self.now - self.moved > KNOWN {
                    assert!(
                        shown.is_some_and(|(lives, level)| lives && level >= process.level),
                        "{} at {:?} is hidden: receiver {at} shows {shown:?}",
                        process.instance,
                        process.level
                    );
                    self.checked[0] += 1;
                }
            }
            if self.now - self.moved < SILENT || living().any(|(_, process)| process.ends.is_some()) {
                continue;
            }
            let heard: Vec<_> =
                living().filter(|(sender, _)| !self.cut[*sender][at]).map(|(_, process)| process).collect();
            if heard.iter().any(|process| self.now - process.changed < KNOWN) {
                continue;
            }
            match heard.iter().map(|process| process.level).max() {
                Some(level) => {
                    assert_eq!(shown, Some((true, level)), "receiver {at}");
                    self.checked[1] += 1;
                }
                // None is heard any more, and all that were have been killed or cut off.
                None if !self.has_ends => {
                    assert!(shown.is_none_or(|shown| shown == (false, Level::Soft)), "receiver {at} shows {shown:?}");
                    self.checked[2] += 1;
                }
                // A receiver that has started anew may have heard of one at its end alone, at ok: it is taken for one that
                // lives.
                None => assert!(
                    shown.is_none_or(|(lives, level)| !lives || level == Level::Ok),
                    "receiver {at} shows {shown:?}"
                ),
            }
        }
    }
}

impl Process {
    fn say(&mut self, now: u64, level: Level) {
        self.seq += 1;
        self.changed = now;
        self.level = level;
        let speaker = Speaker {
            instance: Some(self.instance.as_str().into()),
            epoch: self.epoch,
            seq: self.seq,
            refresh: Some(ms(REFRESH)),
            ends: self.is_draining,
        };
        for lane in &mut self.lanes {
            lane.offer(&self.name, Event { name: self.name, speaker: speaker.clone(), level }, level);
        }
    }
}

/// Red when a living sender is hidden behind a lower level, be it by a clock, a death, another of its name or a request
/// that was overtaken; when one that is gone counts for longer than three refreshes; or when silence is taken for ok.
///
/// Sabotage: take the newest epoch alone for the living one; let a repeat pass as stale; never let go.
#[test]
fn what_is_shown_is_the_highest_level_of_those_that_live() {
    let histories =
        std::env::var("MDS_TEST_HISTORIES").map_or(300, |histories| histories.parse::<u64>().expect("a number"));
    let (mut checked, mut starts, mut kills) = ([0; 3], 0, 0);
    for seed in 0..histories.div_ceil(20) {
        let mut world = World::new(seed);
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..STEPS {
                world.step();
            }
        }));
        if let Err(panic) = ran {
            println!("seed {seed}, at {} ms", world.now);
            std::panic::resume_unwind(panic);
        }
        (starts, kills) = (starts + world.starts, kills + world.kills);
        checked.iter_mut().zip(world.checked).for_each(|(sum, checked)| *sum += checked);
    }
    println!("{starts} starts, {kills} kills; hidden, exact and silent were looked at {checked:?} times");
    assert!(checked.iter().all(|&checked| checked > 1_000), "{checked:?}");
}
