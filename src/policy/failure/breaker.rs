//! Tells an outage of the store from a batch that is at fault.

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

/// Whether batches go to the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CircuitState {
    /// They do.
    #[default]
    Closed,
    /// None does: the store failed too often in a row.
    Open,
    /// One does, to see whether the store is back.
    HalfOpen,
}

impl CircuitState {
    /// Returns the state as the number used by the gauge `mds_coord_circuit_state`: 0, 1 or 2.
    pub const fn as_number(self) -> u8 {
        self as u8
    }
}

/// When the circuit opens and when it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BreakerConfig {
    /// So many transient failures in a row open the circuit; none means that it never opens. Then an outage that
    /// the sink does not call one is not told from a batch at fault: every failure of it is a strike.
    pub failure_threshold: Option<NonZeroU32>,
    /// How long an open circuit waits before a probe; 10 ms at least, for a store that refuses at once is not to be hit
    /// without a pause.
    pub half_open_after: Duration,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self { failure_threshold: NonZeroU32::new(5), half_open_after: Duration::from_secs(10) }
    }
}

/// The shortest time between two probes.
const LEAST_WAIT: Duration = Duration::from_millis(10);

/// Counts transient failures in a row, over all workers.
///
/// | state | failure that counts | any success | time is up | probe failed or vanished |
/// |---|---|---|---|---|
/// | closed | counts; the threshold opens | counts from 0 again | | |
/// | open | | closes | one probe: half-open | |
/// | half-open | | closes | | opens again |
///
/// A failure counts only if its write began after the last counted failure was seen: writes that fail together, as
/// those of one group commit do, are one failure.
#[derive(Clone, Debug)]
pub struct CircuitBreaker {
    config: BreakerConfig,
    state: State,
    failures: u32,
    last_failure: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Duration },
    HalfOpen,
}

impl CircuitBreaker {
    /// Starts closed.
    pub const fn new(config: BreakerConfig) -> Self {
        Self { config, state: State::Closed, failures: 0, last_failure: None }
    }

    /// Returns the state.
    pub const fn state(&self) -> CircuitState {
        match self.state {
            State::Closed => CircuitState::Closed,
            State::Open { .. } => CircuitState::Open,
            State::HalfOpen => CircuitState::HalfOpen,
        }
    }

    /// Returns whether batches go out as usual.
    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Returns whether the breaker can open at all.
    pub const fn can_open(&self) -> bool {
        self.config.failure_threshold.is_some()
    }

    /// Returns when a probe is due; none unless open.
    pub const fn probe_at(&self) -> Option<Duration> {
        match self.state {
            State::Open { until } => Some(until),
            State::Closed | State::HalfOpen => None,
        }
    }

    /// A write succeeded, or the store answered that it does not want the records: it is there.
    pub fn succeeded(&mut self) {
        self.state = State::Closed;
        self.failures = 0;
        self.last_failure = None;
    }

    /// A write that began at `began` failed transiently, which was seen at `now`. Opens the circuit at the threshold.
    /// `asked` is how long the store wants to be left alone: the first probe waits at least so long.
    pub fn failed(&mut self, began: Duration, now: Duration, asked: Option<Duration>) {
        if !self.is_closed() || self.last_failure.is_some_and(|last| began < last) {
            return;
        }
        self.last_failure = Some(now);
        self.failures = self.failures.saturating_add(1);
        if self.config.failure_threshold.is_some_and(|threshold| self.failures >= threshold.get()) {
            self.open(now, asked);
        }
    }

    /// Opens the circuit, whatever was counted. A breaker that was configured away stays closed.
    pub fn open(&mut self, now: Duration, asked: Option<Duration>) {
        if self.can_open() {
            let wait = self.config.half_open_after.max(LEAST_WAIT).max(asked.unwrap_or_default());
            self.state = State::Open { until: now.saturating_add(wait) };
            self.failures = 0;
        }
    }

    /// Makes the next probe due, if the circuit is open.
    pub const fn expedite(&mut self) {
        if let State::Open { until } = &mut self.state {
            *until = Duration::ZERO;
        }
    }

    /// A probe goes out.
    pub fn probe(&mut self) {
        debug_assert!(matches!(self.state, State::Open { .. }), "a probe without an open circuit");
        self.state = State::HalfOpen;
    }

    /// The probe failed, or nothing was heard of it.
    pub fn probe_failed(&mut self, now: Duration, asked: Option<Duration>) {
        if self.state == State::HalfOpen {
            self.open(now, asked);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn breaker(threshold: u32) -> CircuitBreaker {
        CircuitBreaker::new(BreakerConfig { failure_threshold: NonZeroU32::new(threshold), half_open_after: ms(1_000) })
    }

    #[test]
    fn opens_at_the_threshold_and_only_for_failures_in_a_row() {
        let mut breaker = breaker(3);
        breaker.failed(ms(1), ms(2), None);
        breaker.failed(ms(3), ms(4), None);
        breaker.succeeded();
        breaker.failed(ms(5), ms(6), None);
        breaker.failed(ms(7), ms(8), None);
        assert_eq!(breaker.state(), CircuitState::Closed, "a success in between starts the count anew");
        breaker.failed(ms(9), ms(10), None);
        assert_eq!((breaker.state(), breaker.probe_at()), (CircuitState::Open, Some(ms(1_010))));
    }

    // Red when a store that refuses at once is asked again at once, for as long as it is away.
    #[test]
    fn a_circuit_that_need_not_wait_waits_a_little_all_the_same() {
        let config = BreakerConfig { failure_threshold: NonZeroU32::new(1), half_open_after: Duration::ZERO };
        let mut breaker = CircuitBreaker::new(config);
        breaker.failed(ms(0), ms(5), None);
        assert_eq!(breaker.probe_at(), Some(ms(15)));
    }

    #[test]
    fn writes_that_fail_together_are_one_failure() {
        let mut breaker = breaker(2);
        for _ in 0..10 {
            breaker.failed(ms(1), ms(5), None);
        }
        assert_eq!(breaker.state(), CircuitState::Closed);
        breaker.failed(ms(5), ms(6), None);
        assert_eq!(breaker.state(), CircuitState::Open);
    }

    #[test]
    fn a_probe_decides_and_one_that_fails_waits_again() {
        let mut breaker = breaker(1);
        breaker.failed(ms(0), ms(10), None);
        breaker.probe();
        assert_eq!((breaker.state(), breaker.probe_at()), (CircuitState::HalfOpen, None));
        breaker.failed(ms(11), ms(12), None);
        assert_eq!(breaker.state(), CircuitState::HalfOpen, "only the probe itself decides");
        breaker.probe_failed(ms(2_000), None);
        assert_eq!((breaker.state(), breaker.probe_at()), (CircuitState::Open, Some(ms(3_000))));
        breaker.probe();
        breaker.succeeded();
        assert_eq!(breaker.state(), CircuitState::Closed);
        breaker.probe_failed(ms(4_000), None);
        assert_eq!(breaker.state(), CircuitState::Closed, "a late word of a probe changes nothing");
    }

    #[test]
    fn a_store_that_asks_for_more_time_gets_it_before_the_probe() {
        let mut breaker = breaker(1);
        breaker.failed(ms(0), ms(10), Some(ms(5_000)));
        assert_eq!(breaker.probe_at(), Some(ms(5_010)));
        breaker.probe();
        breaker.probe_failed(ms(6_000), Some(ms(30)));
        assert_eq!(breaker.probe_at(), Some(ms(7_000)), "never sooner than without");
    }

    #[test]
    fn without_a_threshold_it_never_opens() {
        let mut breaker = breaker(0);
        for at in 0..1_000 {
            breaker.failed(ms(at), ms(at), None);
        }
        breaker.open(ms(1_000), None);
        assert_eq!(breaker.state(), CircuitState::Closed);
    }
}
