//! How long the store has been away.

use std::time::{Duration, Instant};

/// How far apart the lines in the log are.
const LINES: Duration = Duration::from_secs(10);

/// Time in which records waited and none was stored.
#[derive(Debug)]
pub struct Outage {
    stored: u64,
    /// When something was stored last, or nothing waited.
    fine_at: Instant,
    lines: u32,
}

impl Outage {
    pub fn new(now: Instant) -> Self {
        Self { stored: 0, fine_at: now, lines: 0 }
    }

    /// Takes in what is stored and what waits, and returns for how long nothing was stored although something waited.
    pub fn observe(&mut self, now: Instant, stored: u64, waiting: usize) -> Duration {
        if stored != self.stored || waiting == 0 {
            (self.stored, self.fine_at, self.lines) = (stored, now, 0);
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
    fn only_time_in_which_records_wait_and_none_is_stored_counts() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut outage = Outage::new(start);
        assert_eq!(outage.observe(at(30), 0, 0), Duration::ZERO, "nothing waits");
        assert_eq!(outage.observe(at(40), 0, 5), Duration::from_secs(10));
        assert_eq!(outage.observe(at(50), 1, 4), Duration::ZERO, "one was stored");
        assert_eq!(outage.observe(at(55), 1, 4), Duration::from_secs(5));
        assert_eq!(outage.observe(at(56), 1, 0), Duration::ZERO);
    }

    #[test]
    fn the_log_says_it_every_ten_seconds() {
        let mut outage = Outage::new(Instant::now());
        let said = (0..35).filter(|&seconds| outage.is_worth_a_line(Duration::from_secs(seconds))).collect::<Vec<_>>();
        assert_eq!(said, [10, 20, 30]);
    }
}
