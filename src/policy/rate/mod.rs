//! Who may produce how much, and when: the rules of a rate limiter that follows the levels of coordinators.
//!
//! A token bucket could come from a crate such as `governor`. Its quota is fixed when it is made, its waiters race for
//! what comes instead of standing in line, asking for more than a burst is an error, and its futures keep a clock of
//! their own. All four are the point here, so this is a bucket of our own.

use std::{hash::Hash, time::Duration};

mod bucket;
mod pace;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use self::pace::Report;
use self::{bucket::Bucket, pace::Pace};
use crate::policy::{
    level::Level,
    wait_queue::{Ticket, WaitQueue},
};

/// By what a rate is multiplied at each level, each from 0 to 1; 0 stops.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scales {
    /// At `ok`.
    pub ok: f64,
    /// At `soft`.
    pub soft: f64,
    /// At `hard`.
    pub hard: f64,
}

/// A scale that is out of range.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("the scale at {level} is {scale:?}, expected a number from 0 to 1")]
pub struct ScaleError {
    /// The level that it is for.
    pub level: Level,
    /// The scale as it was given.
    pub scale: f64,
}

impl Default for Scales {
    fn default() -> Self {
        Self { ok: 1.0, soft: 0.5, hard: 0.0 }
    }
}

impl Scales {
    /// Makes the scales for ok, soft and hard.
    ///
    /// # Errors
    /// Unless each is from 0 to 1.
    pub fn new(ok: f64, soft: f64, hard: f64) -> Result<Self, ScaleError> {
        Self { ok, soft, hard }.checked()
    }

    /// Returns the scales as they are, if each is from 0 to 1.
    ///
    /// # Errors
    /// Names the first that is not.
    pub fn checked(self) -> Result<Self, ScaleError> {
        for level in [Level::Ok, Level::Soft, Level::Hard] {
            let scale = self.of(level);
            if !(0.0..=1.0).contains(&scale) {
                return Err(ScaleError { level, scale });
            }
        }
        Ok(self)
    }

    /// Returns the scale at a level.
    pub const fn of(&self, level: Level) -> f64 {
        match level {
            Level::Ok => self.ok,
            Level::Soft => self.soft,
            Level::Hard => self.hard,
        }
    }
}

/// How fast a producer may go at scale 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// So many records a second, at most: for a source with a limit of its own, such as an API that counts requests. It
    /// stays below that even where the store could take more.
    PerSecond(f64),
    /// As fast as the store writes: for backfills that should keep the store busy and leave room in its queue. The rate
    /// is the newest drain rate, and grows at ok, while records are waited for, until the level changes. Of several
    /// coordinators the slowest counts; one limiter each is faster. There is no limit before a coordinator's first
    /// event.
    FollowDrainRate,
    /// No limit unless the scale is 0: for a feed that can only be paused.
    Gate,
}

/// What a limiter is made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateConfig {
    /// How fast it lets through at scale 1.
    pub budget: Budget,
    /// What becomes of that at each level.
    pub scales: Scales,
    /// How long the scale takes from 0 to 1.
    pub ramp: Duration,
    /// How much unused time is credited.
    pub burst: Duration,
}

impl Default for RateConfig {
    fn default() -> Self {
        Self {
            budget: Budget::Gate,
            scales: Scales::default(),
            ramp: Duration::from_secs(1),
            burst: Duration::from_millis(50),
        }
    }
}

/// A limiter between two calls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateState {
    /// The highest level among the coordinators that it follows.
    pub level: Level,
    /// The scale, on its way up too.
    pub scale: f64,
    /// Records a second; infinite where there is no limit.
    pub rate: f64,
    /// The lowest drain rate among them.
    pub drain_rate: Option<f64>,
    /// How many wait, for records or for it to open.
    pub waiting: usize,
    /// Records it has let through.
    pub granted: u64,
    /// No more levels come.
    pub bus_closed: bool,
}

/// A rate limiter without a clock: how much was allowed by when, and whose turn it is.
///
/// `K` names a coordinator, `W` wakes a waiter. Times are since an origin of the caller's choice and never go back;
/// the keeper of the clock calls [`tick`](Self::tick) when it is due.
#[derive(Debug)]
pub struct RateControl<K, W> {
    pace: Pace<K>,
    bucket: Bucket<W>,
    burst: Duration,
    /// Who waits for it to open.
    gate_waiters: WaitQueue<W>,
    /// Up to when time was counted.
    at: Duration,
    granted: u64,
    wake: Vec<W>,
    /// Wakers that are not needed any more.
    spent: Vec<W>,
    /// When the keeper of the clock will tick by itself.
    alarm: Option<Duration>,
    /// The keeper of the clock was woken and has not looked since.
    wake_pending: bool,
    /// The keeper of the clock is gone.
    abandoned: bool,
}

/// A tick that is earlier by less than this is not worth a wake.
const SOON: Duration = Duration::from_millis(1);

impl<K: Eq + Hash, W> RateControl<K, W> {
    /// Makes a limiter at the scale of ok, that owes nothing and has nothing to give yet.
    pub fn new(config: RateConfig) -> Self {
        Self {
            pace: Pace::new(config.budget, config.scales, config.ramp),
            bucket: Bucket::new(),
            burst: config.burst,
            gate_waiters: WaitQueue::new(),
            at: Duration::ZERO,
            granted: 0,
            wake: Vec::new(),
            spent: Vec::new(),
            alarm: None,
            wake_pending: false,
            abandoned: false,
        }
    }

    /// Takes in what a coordinator says.
    pub fn observe(&mut self, now: Duration, coordinator: K, report: Report) {
        self.pass(now);
        let unlimited = self.pace.base().is_infinite();
        self.pace.observe(now, coordinator, report);
        if unlimited && self.pace.base().is_finite() {
            self.bucket.discard_surplus();
        }
        self.turned(now);
    }

    /// Follows no coordinator any more but those that are kept: the others count no more.
    pub fn keep(&mut self, now: Duration, is_kept: impl Fn(&K) -> bool) {
        self.pass(now);
        self.pace.keep(now, is_kept);
        self.turned(now);
    }

    /// Takes in that no more levels will come, so that the last ones mean nothing.
    ///
    /// A producer must neither wait for a level that cannot come, nor flood a store whose levels it is no longer told:
    /// so it goes on at the scale of soft, or at that of ok where soft stops. A base that followed a drain rate stays
    /// where it is.
    pub fn bus_closed(&mut self, now: Duration) {
        self.pass(now);
        self.pace.bus_closed(now);
        self.turned(now);
    }

    /// Takes in that the clock is not kept any more: all are let through from now on, rather than none.
    pub fn abandon(&mut self, now: Duration) {
        self.pass(now);
        self.abandoned = true;
        self.turned(now);
    }

    /// Takes `want` records if that is possible now. It never is while others wait, but for none at all.
    pub fn take(&mut self, now: Duration, want: u32) -> bool {
        self.pass(now);
        let taken = want == 0 || self.bucket.take(want as usize, self.size());
        self.granted += if taken { u64::from(want) } else { 0 };
        taken
    }

    /// Takes a place at the end of the line for `want` records.
    pub fn wait(&mut self, now: Duration, want: u32, waker: W) -> Ticket {
        self.pass(now);
        self.bucket.wait(want as usize, waker)
    }

    /// Asks whether a ticket's turn has come, which uses it up; while it waits, `waker` replaces the one kept.
    pub fn claim(&mut self, now: Duration, ticket: Ticket, waker: W) -> bool {
        self.pass(now);
        let granted = self.bucket.claim(ticket, waker, &mut self.spent);
        self.granted += granted.unwrap_or(0) as u64;
        granted.is_some()
    }

    /// Leaves the line. What the ticket was granted goes to the next.
    pub fn cancel(&mut self, now: Duration, ticket: Ticket) {
        self.bucket.cancel(ticket, &mut self.spent);
        self.pass(now);
    }

    /// Whether anything is let through.
    pub fn is_open(&self) -> bool {
        self.pace.is_open() || self.abandoned
    }

    /// Waits for it to open, with the ticket that was returned before, if there is one: keeps the waker.
    pub fn wait_open(&mut self, ticket: Option<Ticket>, waker: W) -> Ticket {
        if let Some(ticket) = ticket {
            if self.gate_waiters.waits(ticket) {
                self.gate_waiters.claim(ticket, waker, &mut self.spent);
                return ticket;
            }
            // It opened and was closed again before the one who waits has looked.
            self.cancel_open(ticket);
        }
        self.gate_waiters.wait(1, None, waker)
    }

    /// Waits no longer for it to open.
    pub fn cancel_open(&mut self, ticket: Ticket) {
        self.gate_waiters.cancel(ticket, &mut self.spent);
    }

    /// Does what is due, and returns when to tick again: the keeper of the clock calls it at that time, and when it is
    /// woken.
    pub fn tick(&mut self, now: Duration) -> Option<Duration> {
        self.pass(now);
        self.wake_pending = false;
        self.alarm = [self.due(), self.pace.rises_until(now)].into_iter().flatten().min();
        self.alarm
    }

    /// Returns whether the keeper of the clock has to be woken, because something is due before it would tick by
    /// itself.
    pub fn wake(&mut self) -> bool {
        let wake = !self.wake_pending
            && !self.abandoned
            && self.due().is_some_and(|due| self.alarm.is_none_or(|alarm| due.saturating_add(SOON) < alarm));
        self.wake_pending |= wake;
        wake
    }

    /// Returns whom to wake since the last call.
    pub fn woken(&mut self) -> Vec<W> {
        std::mem::take(&mut self.wake)
    }

    /// Returns the wakers that are not needed any more since the last call: to be dropped where no lock is held.
    pub fn spent(&mut self) -> Vec<W> {
        std::mem::take(&mut self.spent)
    }

    /// Returns when the first in line will have its turn; none while no ticket waits, and while it is closed.
    pub fn due(&self) -> Option<Duration> {
        let missing = self.bucket.missing(self.size())?;
        Some(self.at.saturating_add(self.pace.time_for(self.at, missing)?))
    }

    /// Returns the scale.
    pub fn scale(&self, now: Duration) -> f64 {
        self.pace.scale(now)
    }

    /// Returns how things stand.
    pub fn state(&mut self, now: Duration) -> RateState {
        self.pass(now);
        RateState {
            level: self.pace.level(),
            scale: self.pace.scale(now),
            rate: if self.abandoned { f64::INFINITY } else { self.pace.rate(now) },
            drain_rate: self.pace.drain_rate(),
            waiting: self.bucket.waiting() + self.gate_waiters.waiting(),
            granted: self.granted,
            bus_closed: self.pace.is_bus_closed(),
        }
    }

    /// Lets time pass and serves the line.
    fn pass(&mut self, now: Duration) {
        let allowed = if self.abandoned || self.pace.rate(now).is_infinite() {
            f64::INFINITY
        } else {
            self.pace.pass(self.at, now, self.bucket.is_waited_for())
        };
        self.at = self.at.max(now);
        if self.is_open() {
            self.bucket.fill(allowed, self.size(), &mut self.wake);
        } else {
            // Nothing goes out while it is closed, not even what was given back, and nothing is saved for later.
            self.bucket.discard_surplus();
        }
    }

    /// What follows when the scale has turned.
    fn turned(&mut self, now: Duration) {
        if self.is_open() {
            while self.gate_waiters.first_wants().is_some() {
                self.gate_waiters.grant(1, &mut self.wake);
            }
        }
        self.pass(now);
    }

    /// How many records the bucket holds when it is full; at least one, or none could be served.
    fn size(&self) -> f64 {
        if self.abandoned {
            return f64::INFINITY;
        }
        (self.pace.base() * self.burst.as_secs_f64()).max(1.0)
    }
}
