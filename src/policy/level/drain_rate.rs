//! How fast records reach the store.

use std::time::Duration;

/// Measures settled records a second over busy time, with the recent past counting most.
///
/// Only time in which something is being written counts, so an idle hour does not make the store look slow, and the
/// rate is there at once when a burst arrives. While a write hangs or fails the time runs on and the rate falls towards
/// zero.
#[derive(Clone, Debug, Default)]
pub struct DrainRate {
    /// Settled records, decayed.
    records: f64,
    /// Busy seconds, decayed alike.
    seconds: f64,
    /// Up to when time was counted.
    at: Duration,
}

impl DrainRate {
    /// After so much busy time a record counts 1/e of what it counted at first.
    const MEMORY: Duration = Duration::from_secs(5);

    /// Lets time pass up to `now`; `busy` says whether anything was being written since the last call.
    pub fn pass(&mut self, now: Duration, busy: bool) {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.at = self.at.max(now);
        if busy && passed > 0.0 {
            let keep = (-passed / Self::MEMORY.as_secs_f64()).exp();
            self.records *= keep;
            self.seconds = self.seconds * keep + passed;
        }
    }

    /// Counts records that were settled at the time of the last [`pass`](Self::pass).
    pub fn settle(&mut self, records: usize) {
        self.records += records as f64;
    }

    /// Returns records a second at the time of the last [`pass`](Self::pass); none before the first record was settled.
    pub fn per_second(&self) -> Option<f64> {
        (self.records > 0.0 && self.seconds > 0.0).then(|| self.records / self.seconds)
    }

    /// Returns records a second as they look at `now`, and lets no time pass: however often it is asked, a batch that
    /// takes long counts as one stretch of time.
    pub fn per_second_at(&self, now: Duration, busy: bool) -> Option<f64> {
        let mut then = self.clone();
        then.pass(now, busy);
        then.per_second()
    }
}

/// Returns how long so many records take to go at `rate` records a second; none when the rate is zero or unknown.
pub fn time_to_recover(excess: usize, rate: Option<f64>) -> Option<Duration> {
    let rate = rate.filter(|&rate| rate > 0.0)?;
    Duration::try_from_secs_f64(excess as f64 / rate).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_steady_store_shows_its_speed_from_the_first_batch_on() {
        let mut rate = DrainRate::default();
        assert_eq!(rate.per_second(), None);
        for batch in 1..=100 {
            rate.pass(ms(batch * 100), true);
            rate.settle(500);
            let seen = rate.per_second().unwrap();
            assert!((4_900.0..5_200.0).contains(&seen), "{seen} after {batch} batches of 500 in 100 ms each");
        }
    }

    #[test]
    fn idle_time_does_not_count() {
        let mut rate = DrainRate::default();
        rate.pass(ms(100), true);
        rate.settle(500);
        let before = rate.per_second();
        rate.pass(ms(3_600_000), false);
        assert_eq!(rate.per_second(), before);
    }

    #[test]
    fn a_store_that_hangs_loses_its_rate() {
        let mut rate = DrainRate::default();
        rate.pass(ms(100), true);
        rate.settle(500);
        rate.pass(ms(60_100), true);
        let seen = rate.per_second().unwrap();
        assert!(seen < 1.0, "{seen}");
    }

    #[test]
    fn to_look_at_the_rate_changes_nothing() {
        let mut rate = DrainRate::default();
        rate.pass(ms(100), true);
        rate.settle(500);
        let seen = rate.per_second_at(ms(60_100), true).unwrap();
        assert!(seen < 1.0, "{seen}");
        assert_eq!(rate.per_second_at(ms(60_100), false), rate.per_second());
    }

    #[test]
    fn recovery_takes_what_is_above_the_low_mark_at_the_rate() {
        assert_eq!(time_to_recover(30, Some(10.0)), Some(Duration::from_secs(3)));
        assert_eq!(time_to_recover(0, Some(10.0)), Some(Duration::ZERO));
        assert_eq!(time_to_recover(30, None), None);
        assert_eq!(time_to_recover(30, Some(0.0)), None);
        assert_eq!(time_to_recover(usize::MAX, Some(f64::MIN_POSITIVE)), None, "longer than a duration can be");
    }
}
