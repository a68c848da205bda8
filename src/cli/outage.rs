//! How long the store has been away, and when that has been long enough.

use std::time::{Duration, Instant};

use market_data_store::{Bar, Level, WriteHandle, policy::Cause, settings};
use tokio::time::sleep;

use super::output::complain;

/// How far apart the lines in the log are.
const LINES: Duration = Duration::from_secs(10);

/// How often one looks.
pub const REFRESH: Duration = Duration::from_millis(200);

/// The most time between two looks that counts: who did not look for longer was stopped, as by Ctrl-Z or with the whole
/// machine, and has not waited for the store meanwhile.
const UNSEEN: Duration = Duration::from_secs(1);

/// How long a command that writes waits for its store.
#[derive(clap::Args)]
pub struct OutageTimeout {
    /// How long accepted records may wait while no batch is stored, such as 90s or 10m; then they become dead letters
    /// and the rest is left alone. 0 waits for ever.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = give_up_after)]
    give_up_after: Duration,
}

/// Reads a time to wait.
fn give_up_after(text: &str) -> Result<Duration, &'static str> {
    settings::duration(text).ok_or("expected seconds (90) or a number with a unit (250ms, 90s, 10m, 1h)")
}

impl OutageTimeout {
    /// Looks at a coordinator until its store was away for too long, and returns what the store said. `show` is told each
    /// time of the level, and for how long nothing was stored and why.
    pub async fn runs_out(&self, handle: &WriteHandle<Bar>, mut show: impl FnMut(Level, Duration, &str)) -> String {
        let mut outage = Outage::new(Instant::now());
        loop {
            let health = handle.health().await;
            let settled = health.counters.stored + health.counters.dead_lettered;
            // What is in the queue alone may wait for its batch, which is nobody's fault.
            let away = outage.observe(Instant::now(), settled, health.in_flight > 0);
            let why = if health.causes.contains(&Cause::DeadLettersUnwritable) {
                "dead letters cannot be written, the log says why".to_owned()
            } else {
                health
                    .last_error
                    .map_or_else(|| "the store does not answer".to_owned(), |last_error| last_error.to_string())
            };
            if outage.is_worth_a_line(away) {
                let waiting = health.queue_size + health.in_flight;
                tracing::warn!(seconds = away.as_secs(), waiting, why, "nothing is stored");
            }
            if !self.give_up_after.is_zero() && away >= self.give_up_after {
                return why;
            }
            show(health.level, away, &why);
            sleep(REFRESH).await;
        }
    }

    /// Says that it is at its end, and what to do.
    pub fn complain(&self, why: &str) {
        let seconds = self.give_up_after.as_secs_f64();
        complain(format_args!("error: gave up, nothing was stored for {seconds} s: {why}"));
        complain(format_args!("  run the same command again when that is over; mds dlq list shows what was kept"));
    }
}

/// Time in which batches waited and none was settled.
#[derive(Debug)]
struct Outage {
    settled: u64,
    /// How long it has been since something was settled, or nothing waited.
    away: Duration,
    looked_at: Instant,
    lines: u32,
}

impl Outage {
    fn new(now: Instant) -> Self {
        Self { settled: 0, away: Duration::ZERO, looked_at: now, lines: 0 }
    }

    /// Takes in how many records are settled, be it as dead letters that the store refused, and whether a batch waits
    /// for the store. Returns for how long nothing was settled although one waited.
    fn observe(&mut self, now: Instant, settled: u64, waits: bool) -> Duration {
        let since = now.saturating_duration_since(self.looked_at).min(UNSEEN);
        self.looked_at = now;
        if settled != self.settled || !waits {
            (self.settled, self.away, self.lines) = (settled, Duration::ZERO, 0);
        } else {
            self.away += since;
        }
        self.away
    }

    /// Returns whether the log should say so now: after a while, and then not too often.
    fn is_worth_a_line(&mut self, away: Duration) -> bool {
        let due = away >= LINES * (self.lines + 1);
        self.lines += u32::from(due);
        due
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;
    use crate::cli::Cli;

    // Red if the default is another time than the README and the help of both commands say.
    #[test]
    fn without_a_word_of_the_user_an_outage_is_waited_for_a_minute() {
        for (path, files) in [(&["ingest"][..], &["bars.csv"][..]), (&["dlq", "replay"], &[])] {
            let mut command = Cli::command();
            let all = command.clone().get_matches_from(["mds"].iter().chain(path).chain(files));
            let own = path.iter().fold(&all, |matches, name| matches.subcommand_matches(name).unwrap());
            let outage_timeout = OutageTimeout::from_arg_matches(own).unwrap();
            assert_eq!(outage_timeout.give_up_after, Duration::from_secs(60), "{path:?}");
            let command = path.iter().fold(&mut command, |command, name| command.find_subcommand_mut(name).unwrap());
            let help = command.render_long_help().to_string();
            assert!(help.contains("[default: 60s]"), "{help}");
        }
        let readme = include_str!("../../README.md");
        assert_eq!(readme.matches("(60 s; 0 waits for ever)").count(), 2, "in the README, of each");
    }

    /// Looks five times a second until the time has come, and returns what the last look said.
    fn look(outage: &mut Outage, seconds: std::ops::Range<u64>, settled: u64, waits: bool) -> Duration {
        let start = outage.looked_at;
        let looks = (seconds.end - seconds.start) * 5;
        (1..=looks).map(|look| outage.observe(start + REFRESH * look as u32, settled, waits)).last().unwrap()
    }

    #[test]
    fn only_time_in_which_a_batch_waits_and_none_is_settled_counts() {
        let mut outage = Outage::new(Instant::now());
        assert_eq!(look(&mut outage, 0..30, 0, false), Duration::ZERO, "nothing waits");
        assert_eq!(look(&mut outage, 30..40, 0, true), Duration::from_secs(10));
        let now = outage.looked_at;
        assert_eq!(outage.observe(now, 1, true), Duration::ZERO, "one was settled");
        assert_eq!(look(&mut outage, 40..45, 1, true), Duration::from_secs(5));
        assert_eq!(outage.observe(now, 1, false), Duration::ZERO);
    }

    // Sabotage: count all that has passed between two looks: it is an hour.
    #[test]
    fn time_in_which_the_process_was_stopped_does_not_count() {
        let mut outage = Outage::new(Instant::now());
        look(&mut outage, 0..10, 0, true);
        let later = outage.looked_at + Duration::from_secs(3_600);
        assert_eq!(outage.observe(later, 0, true), Duration::from_secs(10) + UNSEEN);
    }

    #[test]
    fn the_log_says_it_every_ten_seconds() {
        let mut outage = Outage::new(Instant::now());
        let said = (0..35).filter(|&seconds| outage.is_worth_a_line(Duration::from_secs(seconds))).collect::<Vec<_>>();
        assert_eq!(said, [10, 20, 30]);
    }
}
