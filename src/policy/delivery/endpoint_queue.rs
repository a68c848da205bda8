//! When which event goes to a destination outside the process, and which are skipped.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::policy::{
    failure::{BreakerConfig, CircuitBreaker, CircuitState, RetryPolicy},
    level::Level,
};

/// How a [`EndpointQueue`] tries again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EndpointPolicy {
    /// The waits after failures. After `max_attempts` failures in a row the circuit of the lane opens.
    pub retry: RetryPolicy,
    /// How long an open circuit waits before the next attempt.
    pub probe_after: Duration,
    /// How long after the last delivery of a key its newest event is sent again; none: never.
    pub refresh: Option<Duration>,
    /// How long after the last delivery of a key an event of no higher level goes out at the earliest.
    pub min_interval: Duration,
}

/// What an event is sent as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentAs {
    /// For the first time, or again because it did not arrive.
    First,
    /// As a sign of life, by this number.
    Repeat(u64),
    /// For the last time: nothing follows.
    Last,
}

/// How it stands with a URL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// Events go out.
    #[default]
    Closed,
    /// None does: the destination failed too often in a row. The latest events wait.
    Open,
    /// One does, to see whether the destination is back.
    HalfOpen,
    /// None does any more: the destination said that it is gone.
    SwitchedOff,
}

impl EndpointState {
    /// Returns the state's name in metrics, such as `half_open`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::SwitchedOff => "switched_off",
        }
    }
}

/// What a [`EndpointQueue`] does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step<E> {
    /// Send this as that, and say how it went: [`EndpointQueue::delivered`], [`EndpointQueue::failed`] or
    /// [`EndpointQueue::gone`].
    Send(E, SentAs),
    /// Ask again at that time, or when an event was offered.
    Wait(Duration),
    /// Ask again when an event was offered, or the one under way is settled.
    Idle,
}

/// What waits for one destination: at most one event under way, and of each key `K` at most one that waits, the newest.
///
/// An event of a higher level than the destination was told goes at once; any other waits for
/// [`min_interval`](EndpointPolicy::min_interval) after the last delivery of its key. Each delivery is followed by another
/// after [`refresh`](EndpointPolicy::refresh), as a sign of life, until the key [has ended](EndpointQueue::end_of):
/// then its newest event is delivered for the last time.
///
/// The newest event of a key stays until it is delivered or a newer one takes its place, however often it fails. Two
/// things hold it back. The *lane* waits after each failure, longer from one to the next, and after
/// `retry.max_attempts` in a row for `probe_after` each time; a success ends that. And a *key* that failed waits as
/// long by itself, so that one whose events alone are refused is not tried at once whenever those of others pass. Among
/// the keys that may go, the one that has waited for its turn the longest goes first; a failure sends a key to the end
/// of the line, a newer event leaves it in its place.
#[derive(Debug)]
pub struct EndpointQueue<K, E> {
    policy: EndpointPolicy,
    breaker: CircuitBreaker,
    /// The keys that wait, in the order of their turns.
    turns: VecDeque<K>,
    waiting: HashMap<K, Waiting<E>>,
    under_way: Option<UnderWay<K, E>>,
    /// The newest event of each key, and what the destination was told of it.
    known: HashMap<K, Known<E>>,
    /// Counts the repeats.
    repeats: u64,
    /// Nothing is sent again any more, and nothing waits for an interval.
    is_ending: bool,
    /// Counts what was offered: the ticket of the newest event.
    given: u64,
    /// In a row, over all keys.
    failures: u32,
    /// Nothing goes out before, by the policy.
    resume_at: Duration,
    /// Nothing goes out before, because the destination asked for it.
    asked_until: Duration,
    switched_off: bool,
    attempts: u64,
    superseded: u64,
}

#[derive(Debug)]
struct Waiting<E> {
    event: E,
    sent_as: SentAs,
    /// That of the oldest event in whose place this one is.
    ticket: u64,
    /// Of this key, in a row.
    failures: u32,
    due: Duration,
}

#[derive(Debug)]
struct UnderWay<K, E> {
    key: K,
    event: E,
    sent_as: SentAs,
    level: Level,
    ticket: u64,
    failures: u32,
    began: Duration,
}

#[derive(Debug)]
struct Known<E> {
    event: E,
    level: Level,
    /// What the destination was told last, and when.
    told: Option<(Level, Duration)>,
    /// Nothing follows.
    ends: bool,
}

impl<E> Known<E> {
    /// Returns when the event may go out: at once if it is worse than what the destination was told.
    fn paced(&self, min_interval: Duration) -> Duration {
        let lower = self.told.filter(|(told, _)| self.level <= *told);
        lower.map_or(Duration::ZERO, |(_, at)| at.saturating_add(min_interval))
    }
}

impl<K: Clone + Eq + Hash, E: Clone> EndpointQueue<K, E> {
    /// Makes an empty lane.
    pub fn new(policy: EndpointPolicy) -> Self {
        let breaker = CircuitBreaker::new(BreakerConfig {
            failure_threshold: Some(policy.retry.max_attempts),
            half_open_after: policy.probe_after,
        });
        Self {
            policy,
            breaker,
            turns: VecDeque::new(),
            waiting: HashMap::new(),
            under_way: None,
            known: HashMap::new(),
            repeats: 0,
            is_ending: false,
            given: 0,
            failures: 0,
            resume_at: Duration::ZERO,
            asked_until: Duration::ZERO,
            switched_off: false,
            attempts: 0,
            superseded: 0,
        }
    }

    /// Takes in the newest event of a key, and its level. Returns the one whose place it took, which will not be sent.
    /// A lane that is switched off takes nothing.
    pub fn offer(&mut self, key: &K, event: E, level: Level) -> Option<E> {
        if self.switched_off {
            return None;
        }
        self.given += 1;
        let told = self.known.get(key).and_then(|known| known.told);
        self.known.insert(key.clone(), Known { event: event.clone(), level, told, ends: false });
        let sent_as = SentAs::First;
        if let Some(waiting) = self.waiting.get_mut(key) {
            let was = std::mem::replace(&mut waiting.sent_as, sent_as);
            let older = std::mem::replace(&mut waiting.event, event);
            let is_event = !matches!(was, SentAs::Repeat(_));
            self.superseded += u64::from(is_event);
            return is_event.then_some(older);
        }
        self.put(key.clone(), event, sent_as);
        None
    }

    fn put(&mut self, key: K, event: E, sent_as: SentAs) {
        self.turns.push_back(key.clone());
        let ticket = self.given;
        self.waiting.insert(key, Waiting { event, sent_as, ticket, failures: 0, due: Duration::ZERO });
    }

    /// Takes in that nothing follows the newest event of a key. The destination is told so once it has the event, where
    /// it waits for signs of life.
    pub fn end_of(&mut self, key: &K) {
        if self.policy.refresh.is_none() {
            return;
        }
        let Some(known) = self.known.get_mut(key) else { return };
        known.ends = true;
        let event = known.event.clone();
        let is_under_way = self.under_way.as_ref().is_some_and(|under_way| under_way.key == *key);
        match self.waiting.get_mut(key) {
            Some(waiting) if matches!(waiting.sent_as, SentAs::Repeat(_)) => waiting.sent_as = SentAs::Last,
            None if !is_under_way => {
                self.given += 1;
                self.put(key.clone(), event, SentAs::Last);
            }
            _ => {}
        }
    }

    /// Sends nothing of a key any more until the next event of it is offered.
    pub fn forget(&mut self, key: &K) {
        self.known.remove(key);
        self.waiting.remove(key);
        self.turns.retain(|turn| turn != key);
    }

    /// Puts into the line what is to be sent again by now.
    fn repeat(&mut self, now: Duration) {
        let Some(refresh) = self.policy.refresh.filter(|_| !self.is_ending) else { return };
        let is_due =
            |known: &Known<E>| !known.ends && known.told.is_some_and(|(_, at)| at.saturating_add(refresh) <= now);
        let due = self.known.iter().filter(|(key, known)| is_due(known) && !self.waiting.contains_key(key));
        let due: Vec<_> = due.map(|(key, known)| (key.clone(), known.event.clone())).collect();
        for (key, event) in due {
            self.given += 1;
            self.repeats += 1;
            self.put(key, event, SentAs::Repeat(self.repeats));
        }
    }

    /// Returns when the next attempt for a key that waits may begin.
    fn due_of(&self, key: &K, waiting: &Waiting<E>) -> Duration {
        let is_paced = waiting.sent_as == SentAs::First && !self.is_ending;
        let known = self.known.get(key).filter(|_| is_paced);
        waiting.due.max(known.map_or(Duration::ZERO, |known| known.paced(self.policy.min_interval)))
    }

    /// Says what to do at `now`; an event that it returns is under way from then on.
    #[must_use]
    pub fn step(&mut self, now: Duration) -> Step<E> {
        if self.under_way.is_some() {
            return Step::Idle;
        }
        self.repeat(now);
        let Some(due) = self.next_at() else { return Step::Idle };
        if due > now {
            return Step::Wait(due);
        }
        let is_due = |key: &K| self.waiting.get(key).is_some_and(|waiting| self.due_of(key, waiting) <= now);
        let turn = self.turns.iter().position(is_due);
        let next = turn.and_then(|turn| self.turns.remove(turn)).and_then(|key| self.waiting.remove_entry(&key));
        // The earliest of all is due, so one is found.
        let Some((key, Waiting { event, sent_as, ticket, failures, .. })) = next else { return Step::Idle };
        if self.breaker.state() == CircuitState::Open {
            self.breaker.probe();
        }
        self.attempts += 1;
        let level = self.known.get(&key).map(|known| known.level).unwrap_or_default();
        self.under_way = Some(UnderWay { key, event: event.clone(), sent_as, level, ticket, failures, began: now });
        Step::Send(event, sent_as)
    }

    /// Returns when the next attempt may begin, if anything waits for one.
    pub fn next_at(&self) -> Option<Duration> {
        let waiting = self.waiting.iter().map(|(key, waiting)| self.due_of(key, waiting)).min();
        let refresh = self.policy.refresh.filter(|_| !self.is_ending);
        let told = self.known.iter().filter(|(key, known)| !known.ends && !self.waiting.contains_key(key));
        let repeats = told.filter_map(|(_, known)| Some(known.told?.1.saturating_add(refresh?)));
        let due = waiting.into_iter().chain(repeats).min()?;
        Some(due.max(self.resume_at).max(self.asked_until))
    }

    /// The event under way has arrived.
    pub fn delivered(&mut self) {
        let Some(UnderWay { key, sent_as, level, began, .. }) = self.under_way.take() else { return };
        if let Some(known) = self.known.get_mut(&key) {
            known.told = Some((level, began));
            let (ends, event) = (known.ends, known.event.clone());
            // Unless something newer waits.
            if !self.waiting.contains_key(&key) {
                if sent_as == SentAs::Last {
                    self.known.remove(&key);
                } else if ends {
                    self.given += 1;
                    self.put(key, event, SentAs::Last);
                }
            }
        }
        if !self.breaker.is_closed() {
            // It was the destination that failed, and it is back.
            for waiting in self.waiting.values_mut() {
                (waiting.failures, waiting.due) = (0, Duration::ZERO);
            }
        }
        self.breaker.succeeded();
        self.failures = 0;
        (self.resume_at, self.asked_until) = (Duration::ZERO, Duration::ZERO);
    }

    /// The event under way has not arrived, as far as is known. `asked` is how long the destination wants to be
    /// left alone; `random` is a random number in `0.0..1.0`. Returns the event if a newer one of its key waits, so
    /// that it will not be sent again.
    pub fn failed(&mut self, now: Duration, asked: Option<Duration>, random: f64) -> Option<E> {
        let UnderWay { key, event, sent_as, ticket, failures, began, .. } = self.under_way.take()?;
        let EndpointPolicy { retry, probe_after, .. } = self.policy;
        self.failures = self.failures.saturating_add(1);
        match self.breaker.state() {
            CircuitState::HalfOpen => self.breaker.probe_failed(now, None),
            _ => self.breaker.failed(began, now, None),
        }
        self.resume_at = match self.breaker.probe_at() {
            Some(probe_at) => probe_at,
            None => now.saturating_add(retry.wait(self.failures, None, random)),
        };
        self.asked_until = now.saturating_add(asked.unwrap_or_default());

        let failures = failures.saturating_add(1);
        let wait = if failures < retry.max_attempts.get() { retry.wait(failures, None, random) } else { probe_after };
        let due = now.saturating_add(wait);
        if let Some(newer) = self.waiting.get_mut(&key) {
            (newer.ticket, newer.failures, newer.due) = (ticket, failures, due);
            let is_event = !matches!(sent_as, SentAs::Repeat(_));
            self.superseded += u64::from(is_event);
            return is_event.then_some(event);
        }
        // Of one that is forgotten nothing is sent any more.
        if let Some(known) = self.known.get(&key) {
            let is_late = known.ends && matches!(sent_as, SentAs::Repeat(_));
            let sent_as = if is_late { SentAs::Last } else { sent_as };
            self.turns.push_back(key.clone());
            self.waiting.insert(key, Waiting { event, sent_as, ticket, failures, due });
        }
        None
    }

    /// The destination said that it is gone: nothing is sent any more, and what waits is dropped.
    pub fn gone(&mut self) {
        self.switched_off = true;
        self.under_way = None;
        self.turns.clear();
        self.waiting.clear();
        self.known.clear();
    }

    /// Begins the end: nothing is repeated any more, and everything that waits goes at once, whatever failed before.
    /// What the destination asked for still holds.
    pub fn end(&mut self) {
        self.resume_at = Duration::ZERO;
        for waiting in self.waiting.values_mut() {
            waiting.due = Duration::ZERO;
        }
        self.is_ending = true;
        let is_sign_of_life = |waiting: &Waiting<E>| matches!(waiting.sent_as, SentAs::Repeat(_));
        self.turns.retain(|key| !self.waiting.get(key).is_some_and(is_sign_of_life));
        self.waiting.retain(|_, waiting| !is_sign_of_life(waiting));
    }

    /// Returns a mark behind everything that was offered so far, for [`has_passed`](Self::has_passed).
    pub fn mark(&self) -> u64 {
        self.given
    }

    /// Returns whether of each key that was offered something before the mark, the newest of that or something newer
    /// was delivered, or the destination is gone.
    pub fn has_passed(&self, mark: u64) -> bool {
        let under_way = self.under_way.iter().map(|under_way| (under_way.ticket, under_way.sent_as));
        let waiting = self.waiting.values().map(|waiting| (waiting.ticket, waiting.sent_as));
        // A sign of life is nothing that was offered.
        let is_offered = |sent_as| !matches!(sent_as, SentAs::Repeat(_));
        under_way.chain(waiting).filter(|(_, sent_as)| is_offered(*sent_as)).all(|(ticket, _)| ticket > mark)
    }

    /// Returns the state.
    pub fn state(&self) -> EndpointState {
        match self.breaker.state() {
            _ if self.switched_off => EndpointState::SwitchedOff,
            CircuitState::Closed => EndpointState::Closed,
            CircuitState::Open => EndpointState::Open,
            CircuitState::HalfOpen => EndpointState::HalfOpen,
        }
    }

    /// Returns how many events are still to be delivered, the one under way among them, and no signs of life.
    pub fn pending(&self) -> usize {
        let under_way = self.under_way.iter().map(|under_way| under_way.sent_as);
        let sent = under_way.chain(self.waiting.values().map(|waiting| waiting.sent_as));
        sent.filter(|sent_as| !matches!(sent_as, SentAs::Repeat(_))).count()
    }

    /// Returns how often an event was sent.
    pub fn attempts(&self) -> u64 {
        self.attempts
    }

    /// Returns how many events were not delivered because a newer one of their key took their place.
    pub fn superseded(&self) -> u64 {
        self.superseded
    }

    /// Returns how many attempts failed since the last that did not.
    pub fn failures_in_a_row(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests;
