//! How long to wait before a failed write is tried again.

use std::{num::NonZeroU32, time::Duration};

/// Exponential backoff with jitter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// The wait after the first failure.
    pub initial_backoff: Duration,
    /// The longest wait that the policy itself chooses.
    pub max_backoff: Duration,
    /// By how much each wait is longer than the one before; at least 1.
    pub multiplier: f64,
    /// Whether each wait is shortened to a random 50 to 100 % of itself, so that clients of one store do not come back
    /// all at once.
    pub jitter: bool,
    /// At so many strikes a batch is at fault, and is halved down to the records at fault; 1 is taken as 2. The first
    /// failure is a strike. A further one is a strike if the store has answered since the last: it stored or refused
    /// another batch, or a [ping](crate::Sink::ping). So an outage costs a batch one strike. A panic always is one, and
    /// what a sink calls an outage never is. Without a
    /// [circuit breaker](super::breaker::BreakerConfig::failure_threshold) every other failure is one.
    pub max_attempts: NonZeroU32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            initial_backoff: Duration::from_millis(50),
            max_backoff: Duration::from_secs(2),
            multiplier: 2.0,
            jitter: true,
            max_attempts: const { NonZeroU32::new(5).unwrap() },
        }
    }
}

impl RetryPolicy {
    /// Returns the wait after the `failures`-th failure in a row, counted from 1.
    ///
    /// `asked` is what the store asked for: the wait is never shorter, even beyond [`max_backoff`](Self::max_backoff).
    /// `random` is a random number in `0.0..1.0`.
    pub fn wait(&self, failures: u32, asked: Option<Duration>, random: f64) -> Duration {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.initial_backoff.as_secs_f64() * self.multiplier.max(1.0).powi(exponent);
        let max = self.max_backoff.as_secs_f64();
        // `min` takes the other side for NaN (0 x infinity) and caps an infinite product.
        let seconds = if seconds.is_nan() { 0.0 } else { seconds.min(max) };
        let share = if self.jitter { 0.5 + random.clamp(0.0, 1.0) / 2.0 } else { 1.0 };
        let own = Duration::try_from_secs_f64(seconds * share).unwrap_or(self.max_backoff).min(self.max_backoff);
        asked.map_or(own, |asked| asked.max(own))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn doubles_up_to_the_maximum_without_jitter() {
        let policy = RetryPolicy { jitter: false, ..RetryPolicy::default() };
        let waits: Vec<_> = (1..=8).map(|failures| policy.wait(failures, None, 0.3).as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1600, 2000, 2000]);
    }

    #[test]
    fn what_the_store_asks_for_is_a_lower_bound_beyond_the_maximum_too() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.wait(1, Some(Duration::from_secs(30)), 0.0), Duration::from_secs(30));
        assert_eq!(policy.wait(9, Some(Duration::from_millis(1)), 0.0), Duration::from_secs(1));
    }

    proptest! {
        /// Red when jitter goes above the computed wait, or below half of it, or the product overflows.
        #[test]
        fn jitter_stays_between_half_and_all_of_the_computed_wait(
            initial in 0u64..10_000, max in 0u64..100_000, multiplier in 1.0f64..100.0, failures in 0u32.., random in 0.0f64..1.0
        ) {
            let policy = RetryPolicy {
                initial_backoff: Duration::from_millis(initial),
                max_backoff: Duration::from_millis(max),
                multiplier,
                jitter: true,
                ..RetryPolicy::default()
            };
            let full = RetryPolicy { jitter: false, ..policy }.wait(failures, None, random);
            let wait = policy.wait(failures, None, random);
            prop_assert!(full <= policy.max_backoff);
            prop_assert!(wait <= full && wait + Duration::from_nanos(2) >= full / 2, "{wait:?} of {full:?}");
        }
    }
}
