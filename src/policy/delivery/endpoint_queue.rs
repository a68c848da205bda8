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
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;

    const PROBE: u64 = 1_000;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn policy(attempts: u32) -> EndpointPolicy {
        let retry = RetryPolicy {
            initial_backoff: ms(100),
            max_backoff: ms(400),
            multiplier: 2.0,
            jitter: false,
            max_attempts: NonZeroU32::new(attempts).unwrap(),
        };
        EndpointPolicy { retry, probe_after: ms(PROBE), refresh: None, min_interval: Duration::ZERO }
    }

    fn lane(attempts: u32) -> EndpointQueue<u8, u32> {
        EndpointQueue::new(policy(attempts))
    }

    #[test]
    fn attempts_wait_longer_and_then_for_the_breaker_until_one_arrives() {
        let mut lane = lane(3);
        assert_eq!((lane.step(ms(0)), lane.offer(&1, 7, Level::Ok)), (Step::Idle, None));
        for (at, state, next) in [
            (0, EndpointState::Closed, 100),
            (100, EndpointState::Closed, 300),
            (300, EndpointState::Open, 1_300),
            (1_300, EndpointState::Open, 2_300),
            (2_300, EndpointState::Open, 3_300),
        ] {
            assert_eq!(lane.step(ms(at)), Step::Send(7, SentAs::First));
            assert_eq!(lane.step(ms(at)), Step::Idle, "one at a time");
            assert_eq!(lane.failed(ms(at), None, 0.0), None);
            assert_eq!((lane.state(), lane.step(ms(at))), (state, Step::Wait(ms(next))));
        }
        assert_eq!(lane.step(ms(3_300)), Step::Send(7, SentAs::First));
        assert_eq!(lane.state(), EndpointState::HalfOpen);
        lane.delivered();
        assert_eq!((lane.state(), lane.pending(), lane.attempts()), (EndpointState::Closed, 0, 6));
        assert_eq!(lane.failures_in_a_row(), 0);
    }

    #[test]
    fn what_the_destination_asks_for_holds_for_every_key_and_in_a_hurry() {
        let mut lane = lane(3);
        lane.offer(&1, 1, Level::Ok);
        assert_eq!(lane.step(ms(0)), Step::Send(1, SentAs::First));
        lane.failed(ms(0), Some(ms(5_000)), 0.0);
        lane.offer(&2, 2, Level::Ok);
        lane.end();
        assert_eq!(lane.step(ms(10)), Step::Wait(ms(5_000)));
        assert_eq!(lane.step(ms(5_000)), Step::Send(1, SentAs::First));
    }

    // Red when the end of a process waits for a breaker that will not be asked again.
    #[test]
    fn in_a_hurry_everything_goes_once_and_then_waits_as_ever() {
        let mut lane = lane(1);
        lane.offer(&1, 1, Level::Ok);
        lane.offer(&2, 2, Level::Ok);
        assert_eq!(lane.step(ms(0)), Step::Send(1, SentAs::First));
        lane.failed(ms(0), None, 0.0);
        assert_eq!((lane.state(), lane.step(ms(5))), (EndpointState::Open, Step::Wait(ms(PROBE))));
        lane.end();
        assert_eq!(lane.step(ms(5)), Step::Send(2, SentAs::First));
        lane.delivered();
        assert_eq!(lane.step(ms(5)), Step::Send(1, SentAs::First));
    }

    // Red when an event that is refused for its own sake is tried at once whenever another passes, or takes the
    // others' turns.
    #[test]
    fn a_key_that_is_refused_alone_waits_by_itself() {
        let mut lane = lane(2);
        let (mut now, mut refused, mut passed) = (0, 0, 0);
        lane.offer(&1, 1, Level::Ok);
        while now < 10 * PROBE {
            lane.offer(&2, 2, Level::Ok);
            match lane.step(ms(now)) {
                Step::Send(1, SentAs::First) => {
                    refused += 1;
                    lane.failed(ms(now), None, 0.0);
                }
                Step::Send(..) => {
                    passed += 1;
                    lane.delivered();
                }
                _ => {}
            }
            now += 10;
        }
        assert!((8..=13).contains(&refused), "{refused} attempts in ten waits");
        assert!(passed > 500, "{passed}");
    }

    #[test]
    fn a_destination_that_is_gone_is_told_nothing_more() {
        let mut lane = lane(3);
        lane.offer(&1, 1, Level::Ok);
        lane.offer(&2, 2, Level::Ok);
        assert_eq!(lane.step(ms(0)), Step::Send(1, SentAs::First));
        lane.gone();
        assert_eq!((lane.state(), lane.pending(), lane.offer(&1, 3, Level::Ok)), (EndpointState::SwitchedOff, 0, None));
        assert_eq!((lane.step(ms(9_999)), lane.failed(ms(0), None, 0.0)), (Step::Idle, None));
    }

    // Red when a level that is no higher goes at once, one that is higher waits, or what is waited for is forgotten.
    #[test]
    fn a_level_that_is_no_higher_than_what_was_told_waits() {
        let mut lane = EndpointQueue::new(EndpointPolicy { min_interval: ms(250), ..policy(3) });
        lane.offer(&1, 1, Level::Soft);
        assert_eq!(lane.step(ms(100)), Step::Send(1, SentAs::First));
        // While the first is under way nothing of it is told yet.
        lane.offer(&1, 2, Level::Ok);
        lane.delivered();
        assert_eq!(lane.step(ms(110)), Step::Wait(ms(350)));
        lane.offer(&1, 3, Level::Soft);
        assert_eq!(lane.step(ms(120)), Step::Wait(ms(350)), "the same level is no higher");
        lane.offer(&1, 4, Level::Hard);
        assert_eq!(lane.step(ms(120)), Step::Send(4, SentAs::First));
        lane.delivered();
        lane.offer(&1, 5, Level::Ok);
        lane.offer(&2, 6, Level::Ok);
        assert_eq!(lane.step(ms(130)), Step::Send(6, SentAs::First), "each key by itself");
        lane.delivered();
        assert_eq!((lane.step(ms(369)), lane.step(ms(370))), (Step::Wait(ms(370)), Step::Send(5, SentAs::First)));
        lane.delivered();
        assert_eq!((lane.pending(), lane.superseded()), (0, 2));
        // The end waits for no interval.
        lane.offer(&1, 7, Level::Ok);
        lane.end();
        assert_eq!(lane.step(ms(371)), Step::Send(7, SentAs::First));
    }

    // Red when a sign of life is left out, comes early, has the number of another, is counted as an event, is sent
    // behind the end or of a key that is forgotten.
    #[test]
    fn each_key_is_repeated_until_it_has_ended_and_then_told_for_the_last_time() {
        let mut lane = EndpointQueue::new(EndpointPolicy { refresh: Some(ms(1_000)), ..policy(3) });
        lane.offer(&1, 1, Level::Ok);
        assert_eq!(lane.step(ms(0)), Step::Send(1, SentAs::First));
        lane.delivered();
        assert_eq!((lane.pending(), lane.step(ms(999))), (0, Step::Wait(ms(1_000))));
        assert_eq!(lane.step(ms(1_000)), Step::Send(1, SentAs::Repeat(1)));
        assert_eq!((lane.pending(), lane.failed(ms(1_000), None, 0.0)), (0, None));
        // A further attempt is the same message.
        assert_eq!(lane.step(ms(1_100)), Step::Send(1, SentAs::Repeat(1)));
        lane.delivered();
        assert_eq!(lane.step(ms(2_100)), Step::Send(1, SentAs::Repeat(2)));
        // What is new takes the place of a sign of life, and is one.
        lane.offer(&1, 2, Level::Hard);
        assert_eq!((lane.failed(ms(2_100), None, 0.0), lane.superseded()), (None, 0));
        assert_eq!(lane.step(ms(2_200)), Step::Send(2, SentAs::First));
        lane.delivered();
        assert_eq!(lane.step(ms(2_300)), Step::Wait(ms(3_200)));
        lane.offer(&2, 3, Level::Ok);
        assert_eq!(lane.step(ms(2_300)), Step::Send(3, SentAs::First));
        lane.delivered();
        lane.forget(&2);
        assert_eq!(lane.step(ms(2_400)), Step::Wait(ms(3_200)));
        let mark = lane.mark();
        assert_eq!(lane.step(ms(3_200)), Step::Send(2, SentAs::Repeat(3)));
        assert!(lane.has_passed(mark), "what was offered before was delivered");
        lane.end_of(&1);
        lane.failed(ms(3_200), None, 0.0);
        assert_eq!((lane.pending(), lane.step(ms(3_300))), (1, Step::Send(2, SentAs::Last)));
        lane.failed(ms(3_300), None, 0.0);
        assert_eq!(lane.step(ms(3_500)), Step::Send(2, SentAs::Last));
        lane.delivered();
        assert_eq!((lane.pending(), lane.step(ms(9_999))), (0, Step::Idle));
        // What was not told yet is told first, and then that nothing follows.
        lane.offer(&1, 4, Level::Ok);
        lane.end_of(&1);
        assert_eq!(lane.step(ms(9_999)), Step::Send(4, SentAs::First));
        lane.delivered();
        assert_eq!(lane.step(ms(9_999)), Step::Send(4, SentAs::Last));
        lane.delivered();
        assert_eq!(lane.step(ms(99_999)), Step::Idle);
        // At the end of the lane itself one that lives is told nothing more, and is left to fall silent.
        lane.offer(&1, 5, Level::Ok);
        assert_eq!(lane.step(ms(99_999)), Step::Send(5, SentAs::First));
        lane.delivered();
        assert_eq!(lane.step(ms(100_999)), Step::Send(5, SentAs::Repeat(4)));
        lane.failed(ms(100_999), None, 0.0);
        lane.end();
        assert_eq!(lane.step(ms(999_999)), Step::Idle);
    }

    #[derive(Clone, Debug)]
    enum Happens {
        Offer(u8),
        Later(u64),
        Delivered,
        Failed(Option<u64>),
        Expedite,
    }

    fn history() -> impl Strategy<Value = Vec<Happens>> {
        let happens = prop_oneof![
            4 => (0..4u8).prop_map(Happens::Offer),
            4 => (0..700u64).prop_map(Happens::Later),
            2 => Just(Happens::Delivered),
            4 => proptest::option::weighted(0.2, 0..3_000u64).prop_map(Happens::Failed),
            1 => Just(Happens::Expedite),
        ];
        proptest::collection::vec(happens, 0..200)
    }

    /// The rules in the most naive form: one list in the order of turns, times in milliseconds, no breaker but a flag.
    struct Model {
        attempts: u32,
        /// Key, event, failures, due.
        list: Vec<(u8, u32, u32, u64)>,
        under_way: Option<(u8, u32, u32)>,
        failures: u32,
        /// The circuit is open or half-open.
        opened: bool,
        resume_at: u64,
        asked_until: u64,
        superseded: u64,
    }

    impl Model {
        fn offer(&mut self, key: u8, event: u32) {
            match self.list.iter_mut().find(|waiting| waiting.0 == key) {
                Some(waiting) => {
                    waiting.1 = event;
                    self.superseded += 1;
                }
                None => self.list.push((key, event, 0, 0)),
            }
        }

        fn step(&mut self, now: u64) -> Step<u32> {
            let gate = self.resume_at.max(self.asked_until);
            match self.list.iter().map(|waiting| waiting.3).min() {
                _ if self.under_way.is_some() => Step::Idle,
                None => Step::Idle,
                Some(due) if due.max(gate) > now => Step::Wait(ms(due.max(gate))),
                Some(_) => {
                    let turn = self.list.iter().position(|waiting| waiting.3 <= now).unwrap();
                    let (key, event, failures, _) = self.list.remove(turn);
                    self.under_way = Some((key, event, failures));
                    Step::Send(event, SentAs::First)
                }
            }
        }

        fn delivered(&mut self) {
            if self.opened {
                self.list.iter_mut().for_each(|waiting| (waiting.2, waiting.3) = (0, 0));
            }
            (self.opened, self.failures, self.resume_at, self.asked_until) = (false, 0, 0, 0);
            self.under_way = None;
        }

        fn failed(&mut self, now: u64, asked: Option<u64>) {
            let (key, event, failures) = self.under_way.take().unwrap();
            let backoff = |failures: u32| [100, 200, 400][failures.min(3) as usize - 1];
            self.failures += 1;
            self.opened |= self.failures >= self.attempts;
            self.resume_at = now + if self.opened { PROBE } else { backoff(self.failures) };
            self.asked_until = now + asked.unwrap_or(0);
            let failures = failures + 1;
            let due = now + if failures >= self.attempts { PROBE } else { backoff(failures) };
            match self.list.iter_mut().find(|waiting| waiting.0 == key) {
                Some(newer) => {
                    (newer.2, newer.3) = (failures, due);
                    self.superseded += 1;
                }
                None => self.list.push((key, event, failures, due)),
            }
        }
    }

    proptest! {
        // Red when a turn is taken by another, a wait is shorter or longer, an older event is sent after a newer one,
        // more than one event of a key waits, or a success leaves a wait behind.
        #[test]
        fn a_lane_does_what_the_naive_model_does(attempts in 1u32..5, history in history()) {
            let mut model = Model {
                attempts, list: Vec::new(), under_way: None, failures: 0, opened: false, resume_at: 0, asked_until: 0,
                superseded: 0,
            };
            let mut lane = lane(attempts);
            let mut now = 0;
            for (number, happens) in (0..).zip(history) {
                match happens {
                    Happens::Offer(key) => {
                        lane.offer(&key, number, Level::Ok);
                        model.offer(key, number);
                    }
                    Happens::Later(wait) => now += wait,
                    Happens::Delivered if model.under_way.is_some() => {
                        lane.delivered();
                        model.delivered();
                    }
                    Happens::Failed(asked) if model.under_way.is_some() => {
                        lane.failed(ms(now), asked.map(ms), 0.0);
                        model.failed(now, asked);
                    }
                    Happens::Delivered | Happens::Failed(_) => {}
                    Happens::Expedite => {
                        lane.end();
                        model.resume_at = 0;
                        model.list.iter_mut().for_each(|waiting| waiting.3 = 0);
                    }
                }
                prop_assert_eq!(lane.step(ms(now)), model.step(now));
                prop_assert_eq!(lane.pending(), model.list.len() + usize::from(model.under_way.is_some()));
                prop_assert_eq!(lane.superseded(), model.superseded);
                prop_assert_eq!(lane.state() != EndpointState::Closed, model.opened);
                prop_assert_eq!(lane.failures_in_a_row(), model.failures);
            }
        }

        // Red when a mark passes while the newest before it, and what came in its place, is not delivered; when it
        // waits for what was offered later; or when a failure or a newer event moves what is waited for.
        #[test]
        fn a_mark_passes_once_the_newest_of_each_key_before_it_is_delivered(
            before in history(), after in history(), gone in any::<bool>(),
        ) {
            let mut lane = lane(2);
            // What was offered of each key and not delivered, nor anything newer of it.
            let mut owed: Vec<(u8, u32)> = Vec::new();
            let (mut now, mut under_way, mut mark) = (0, None, None);
            let marks_at = before.len();
            for (number, happens) in (0..).zip(before.into_iter().chain(after)) {
                if number as usize == marks_at {
                    mark = Some((lane.mark(), number));
                }
                match happens {
                    Happens::Offer(key) => {
                        lane.offer(&key, number, Level::Ok);
                        owed.push((key, number));
                    }
                    Happens::Later(wait) => now += wait,
                    Happens::Delivered => if let Some(event) = under_way.take() {
                        lane.delivered();
                        let key = owed.iter().find(|owed| owed.1 == event).unwrap().0;
                        owed.retain(|owed| owed.0 != key || owed.1 > event);
                    },
                    Happens::Failed(asked) if under_way.take().is_some() => {
                        lane.failed(ms(now), asked.map(ms), 0.0);
                    }
                    Happens::Failed(_) => {}
                    Happens::Expedite => lane.end(),
                }
                if let Step::Send(event, _) = lane.step(ms(now)) {
                    under_way = Some(event);
                }
                if let Some((mark, number)) = mark {
                    prop_assert_eq!(lane.has_passed(mark), owed.iter().all(|owed| owed.1 >= number));
                }
            }
            if gone {
                lane.gone();
                prop_assert!(lane.has_passed(lane.mark()));
            }
        }

        // Red when an event is given up, whatever failed before, or the wait for it has no end.
        #[test]
        fn once_the_destination_is_well_the_latest_of_each_key_arrives(attempts in 1u32..5, history in history()) {
            let mut lane = lane(attempts);
            let (mut now, mut under_way, mut latest) = (0, None, HashMap::new());
            let mut arrived: HashMap<u8, u32> = HashMap::new();
            for (number, happens) in (0..).zip(history) {
                match happens {
                    Happens::Offer(key) => {
                        lane.offer(&key, u32::from(key) * 1_000 + number, Level::Ok);
                        latest.insert(key, u32::from(key) * 1_000 + number);
                    }
                    Happens::Later(wait) => now += wait,
                    Happens::Delivered | Happens::Failed(_) if under_way.take().is_some() => {
                        lane.failed(ms(now), None, 0.0);
                    }
                    _ => {}
                }
                if let Step::Send(event, _) = lane.step(ms(now)) {
                    under_way = Some(event);
                }
            }
            let begin = now;
            loop {
                if let Some(event) = under_way.take() {
                    let earlier = arrived.insert((event / 1_000) as u8, event);
                    prop_assert!(earlier.is_none_or(|earlier| earlier < event));
                    lane.delivered();
                }
                match lane.step(ms(now)) {
                    Step::Send(event, _) => under_way = Some(event),
                    Step::Wait(until) => now = until.as_millis() as u64,
                    Step::Idle => break,
                }
                prop_assert!(now - begin <= 2 * PROBE, "still waiting after {} ms", now - begin);
            }
            prop_assert_eq!(arrived, latest);
            prop_assert_eq!(lane.pending(), 0);
        }
    }
}
