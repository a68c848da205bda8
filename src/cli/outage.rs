//! How long the store has been away.

use std::time::{Duration, Instant};

/// How far apart the lines in the log are.
const LINES: Duration = Duration::from_secs(10);

/// Time in which batches waited and none was settled.
#[derive(Debug)]
pub struct Outage {
    settled: u64,
    /// When something was settled last, or nothing waited.
    fine_at: Instant,
    lines: u32,
}

impl Outage {
    pub fn new(now: Instant) -> Self {
        Self { settled: 0, fine_at: now, lines: 0 }
    }

    /// Takes in how many records are settled, be it as dead letters that the store refused, and whether a batch waits
    /// for the store. Returns for how long nothing was settled although one waited.
    pub fn observe(&mut self, now: Instant, settled: u64, waits: bool) -> Duration {
        if settled != self.settled || !waits {
            (self.settled, self.fine_at, self.lines) = (settled, now, 0);
        }
        now.saturating_duration_since(self.fine_at)
    }

    /// Returns whether the log should say so now: after a while, and then not too often.
    pub fn is_worth_a_line(&mut self, away: Duration) -> bool {
        let due = away >= LINES * (self.lines + 1);
        self.lines += u32::from(due);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_time_in_which_a_batch_waits_and_none_is_settled_counts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut outage = Outage::new(start);
        assert_eq!(outage.observe(at(30), 0, false), Duration::ZERO, "nothing waits");
        assert_eq!(outage.observe(at(40), 0, true), Duration::from_secs(10));
        assert_eq!(outage.observe(at(50), 1, true), Duration::ZERO, "one was settled");
        assert_eq!(outage.observe(at(55), 1, true), Duration::from_secs(5));
        assert_eq!(outage.observe(at(56), 1, false), Duration::ZERO);
    }

    #[test]
    fn the_log_says_it_every_ten_seconds() {
        let mut outage = Outage::new(Instant::now());
        let said = (0..35).filter(|&seconds| outage.is_worth_a_line(Duration::from_secs(seconds))).collect::<Vec<_>>();
        assert_eq!(said, [10, 20, 30]);
    }
}
