//! How fast a producer may go, from what coordinators say.

use std::{collections::HashMap, f64::consts::LN_2, hash::Hash, time::Duration};

use super::{Budget, Scales};
use crate::policy::level::{Level, Reason};

/// What a coordinator says of itself when its level changes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Its level from now on.
    pub level: Level,
    /// The cause that speaks for it.
    pub reason: Reason,
    /// Records a second that go to its store, if that is known.
    pub drain_rate: Option<f64>,
    /// How many records wait in its queue.
    pub queue_size: u64,
    /// The most records that its queue takes.
    pub capacity: u64,
}

/// A rate in records a second: a base, times a scale that falls at once and rises gradually.
///
/// Under [`Budget::FollowDrainRate`] each coordinator has a base of its own, and the lowest counts: whichever of them
/// the records go to, at soft its queue falls. A base is what the store was last seen to write. Events come with level
/// changes only, so at ok the base grows while more is waited for, and goes back to what is measured with the next
/// event: else a store that became faster would never be found out. Before a store has written anything the base begins
/// with what fills a third of the queue in a second, and grows faster: a producer at full speed would fill the queue
/// before the first level could reach it.
#[derive(Debug)]
pub(super) struct Pace<K> {
    budget: Budget,
    scales: Scales,
    /// How long a rise from 0 to 1 takes.
    ramp: Duration,
    heard: HashMap<K, Heard>,
    scale: Ramp,
    /// No more levels will come.
    bus_closed: bool,
}

#[derive(Debug)]
struct Heard {
    level: Level,
    base: f64,
    drain_rate: Option<f64>,
}

/// A scale on its way up: `from` at `since`, and `to` at `until` and later.
#[derive(Clone, Copy, Debug)]
struct Ramp {
    from: f64,
    to: f64,
    since: Duration,
    until: Duration,
}

impl Ramp {
    fn at(&self, now: Duration) -> f64 {
        if now >= self.until {
            return self.to;
        }
        // `since < now < until`, or at `since`.
        let passed = now.saturating_sub(self.since).as_secs_f64() / (self.until - self.since).as_secs_f64();
        self.from + (self.to - self.from) * passed
    }
}

/// A base that grows doubles in this time: slowly enough that the queue is only a little further when the event of a
/// crossing arrives, fast enough that a store ten times as fast is found out in ten seconds.
const DOUBLES_IN: f64 = 3.0;
/// The same while the speed of the store is not known yet.
const DOUBLES_AT_FIRST_IN: f64 = 1.0;
/// The share of a queue that is filled in the first second, while nothing is known of the store.
const FIRST_SHARE: f64 = 1.0 / 3.0;
/// Records a second: below this a store that is slow cannot be told from one that hung for a while.
const LEAST: f64 = 1.0;
/// Records a second: more than any store writes, and far from what would be infinite.
const MOST: f64 = 1e12;
/// A rise begins at this part of its end, so that one who is let through gets something at once.
const STEP: f64 = 0.1;

impl<K: Eq + Hash> Pace<K> {
    pub(super) fn new(budget: Budget, scales: Scales, ramp: Duration) -> Self {
        let scale = Ramp { from: scales.ok, to: scales.ok, since: Duration::ZERO, until: Duration::ZERO };
        Self { budget, scales, ramp, heard: HashMap::new(), scale, bus_closed: false }
    }

    /// Takes in what a coordinator says.
    pub(super) fn observe(&mut self, now: Duration, coordinator: K, report: Report) {
        let before = self.heard.get(&coordinator);
        let measured = report.drain_rate.filter(|rate| rate.is_finite()).map(|rate| rate.clamp(LEAST, MOST));
        let base = match (measured, before) {
            // What was measured across an outage is mostly time in which nothing could be written.
            (Some(rate), Some(before)) if before.drain_rate.is_some() && ends_an_outage(report.reason) => {
                rate.max(before.base)
            }
            (Some(rate), _) => rate,
            // A coordinator that has started again knows nothing yet; the store is likely to be the same.
            (None, Some(before)) if before.drain_rate.is_some() => before.base,
            // One that fell silent is no slower for that.
            (None, Some(before)) if report.reason == Reason::Silent => before.base,
            // A queue that fills while nothing at all was written: only next to nothing lets it fall.
            (None, _) if report.level > Level::Ok => LEAST,
            (None, _) => (report.capacity as f64 * FIRST_SHARE).clamp(LEAST, MOST),
        };
        let drain_rate = measured.or(before.and_then(|before| before.drain_rate));
        self.heard.insert(coordinator, Heard { level: report.level, base, drain_rate });
        // An empty queue would be the price of a rise that takes longer than what is queued lasts.
        let lasts = measured.map(|rate| report.queue_size as f64 / rate);
        let ramp = match (self.budget, lasts) {
            (Budget::FollowDrainRate, Some(lasts)) => self.ramp.as_secs_f64().min(lasts / 2.0),
            _ => self.ramp.as_secs_f64(),
        };
        self.turn(now, ramp);
    }

    /// Forgets what is not kept, unless that is all.
    pub(super) fn keep(&mut self, now: Duration, is_kept: impl Fn(&K) -> bool) {
        if self.heard.keys().any(&is_kept) {
            self.heard.retain(|coordinator, _| is_kept(coordinator));
            self.turn(now, self.ramp.as_secs_f64());
        }
    }

    /// Takes in that no more levels will come. See [`RateControl::bus_closed`](super::RateControl::bus_closed).
    pub(super) fn bus_closed(&mut self, now: Duration) {
        self.bus_closed = true;
        self.turn(now, self.ramp.as_secs_f64());
    }

    /// Turns to the scale that is due now; `ramp` is how many seconds a rise from 0 to 1 takes.
    fn turn(&mut self, now: Duration, ramp: f64) {
        let to = match self.bus_closed {
            true if self.scales.soft > 0.0 => self.scales.soft,
            true => self.scales.ok,
            false => {
                let scales = self.heard.values().map(|heard| self.scales.of(heard.level));
                scales.reduce(f64::min).unwrap_or(self.scales.ok)
            }
        };
        if to == self.scale.to {
            // Also in the middle of a rise, which goes on.
            return;
        }
        let from = self.scale.at(now).max(to * STEP).min(to);
        let takes = Duration::try_from_secs_f64((to - from) * ramp).unwrap_or(Duration::MAX);
        self.scale = Ramp { from, to, since: now, until: now.saturating_add(takes) };
    }

    pub(super) fn scale(&self, now: Duration) -> f64 {
        self.scale.at(now)
    }

    /// Whether anything may go out, now or on the way up.
    pub(super) fn is_open(&self) -> bool {
        self.scale.to > 0.0
    }

    /// Returns when the scale has risen to where it is going, if it has not.
    pub(super) fn rises_until(&self, now: Duration) -> Option<Duration> {
        (now < self.scale.until).then_some(self.scale.until)
    }

    /// Returns the highest level that was heard.
    pub(super) fn level(&self) -> Level {
        self.heard.values().map(|heard| heard.level).max().unwrap_or_default()
    }

    /// Returns the lowest drain rate that was heard.
    pub(super) fn drain_rate(&self) -> Option<f64> {
        self.heard.values().filter_map(|heard| heard.drain_rate).reduce(f64::min)
    }

    pub(super) fn is_bus_closed(&self) -> bool {
        self.bus_closed
    }

    /// Returns records a second at scale 1; infinite where there is no limit.
    pub(super) fn base(&self) -> f64 {
        match self.budget {
            Budget::PerSecond(rate) => rate,
            Budget::Gate => f64::INFINITY,
            Budget::FollowDrainRate => {
                self.heard.values().map(|heard| heard.base).reduce(f64::min).unwrap_or(f64::INFINITY)
            }
        }
    }

    /// Returns records a second now; infinite where there is no limit.
    pub(super) fn rate(&self, now: Duration) -> f64 {
        // Zero times infinity is no number.
        if self.is_open() { self.base() * self.scale(now) } else { 0.0 }
    }

    /// Lets time pass, and returns how many records it allowed. `wanted`: more was waited for all the time.
    pub(super) fn pass(&mut self, from: Duration, to: Duration, wanted: bool) -> f64 {
        if to <= from || !self.is_open() {
            return 0.0;
        }
        let (base, top) = (self.base(), to.min(self.scale.until).max(from));
        // A straight line has the mean of its ends.
        let rising = base * (self.scale.at(from) + self.scale.at(top)) / 2.0 * (top - from).as_secs_f64();
        let level_for = (to - top).as_secs_f64();
        let level = if self.grows(wanted) {
            let growth = (level_for * self.growth()).min(700.0); // e^700 is still a number
            for heard in self.heard.values_mut() {
                heard.base = (heard.base * growth.exp()).min(MOST);
            }
            base * self.scale.to * growth.exp_m1() / self.growth()
        } else {
            base * self.scale.to * level_for
        };
        rising + level
    }

    /// Returns how long from `now` it takes until so many records more are allowed, if they are waited for; none:
    /// without end.
    pub(super) fn time_for(&self, now: Duration, records: f64) -> Option<Duration> {
        let base = self.base();
        if !self.is_open() || base <= 0.0 {
            return None;
        }
        let start = self.scale.at(now);
        let rise = self.scale.until.saturating_sub(now).as_secs_f64();
        let rising = base * (start + self.scale.to) / 2.0 * rise;
        let seconds = if records < rising {
            // records = base (start t + slope t^2 / 2), in the form that does not cancel.
            let (slope, want) = ((self.scale.to - start) / rise, records / base);
            2.0 * want / (start + (start * start + 2.0 * slope * want).sqrt())
        } else {
            let left = (records - rising) / (base * self.scale.to);
            rise + if self.grows(true) { (left * self.growth()).ln_1p() / self.growth() } else { left }
        };
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    fn grows(&self, wanted: bool) -> bool {
        let follows = self.budget == Budget::FollowDrainRate && !self.heard.is_empty() && !self.bus_closed;
        wanted && follows && self.heard.values().all(|heard| heard.level == Level::Ok)
    }

    fn growth(&self) -> f64 {
        let known = self.heard.values().any(|heard| heard.drain_rate.is_some());
        LN_2 / if known { DOUBLES_IN } else { DOUBLES_AT_FIRST_IN }
    }
}

/// Whether nothing could be written before, so that a drain rate across that time says little of the store.
fn ends_an_outage(reason: Reason) -> bool {
    matches!(reason, Reason::CircuitClosed | Reason::DeadLettersWritable)
}
