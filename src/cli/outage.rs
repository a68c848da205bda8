//! How long the store has been away, and when that has been long enough.

use std::time::{Duration, Instant};

use market_data_store::{
    Health, Level, MarketDataStore,
    coordinator::{Cause, CircuitState},
    settings::parse_duration,
};
use tokio::time::sleep;

use super::output::complain;

/// The time between two lines in the log.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The time between two looks.
pub const REFRESH: Duration = Duration::from_millis(200);

/// The most time between two looks that counts. A process that did not look for longer was stopped, as by Ctrl-Z or with
/// the whole machine, and has not waited for the store meanwhile.
const MAX_STEP: Duration = Duration::from_secs(1);

/// How long the answer to a probe is waited for.
const PROBE_ANSWER: Duration = Duration::from_secs(1);

/// How long a command that writes waits for its store.
#[derive(clap::Args)]
pub struct OutageTimeout {
    /// How long accepted records may wait while no batch is stored, such as 90s or 10m; then the command ends, and what was
    /// not stored is or stays a dead letter. While the circuit is open it waits for the next probe too, so for up to
    /// MDS_CB_HALF_OPEN_AFTER_SEC longer. With 0 it never gives up.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    give_up_after: Duration,
}

impl OutageTimeout {
    /// Looks at every coordinator until their store was away for too long, and returns for how long and what it said.
    /// `show` is told each time of the level, and for how long nothing was stored and why.
    pub async fn runs_out(
        &self,
        store: &MarketDataStore,
        mut show: impl FnMut(Level, Duration, &str),
    ) -> (Duration, String) {
        let mut outage = Outage::new(Instant::now());
        loop {
            let all = store.health().await;
            let settled = all.iter().map(|health| health.stored + health.dead_lettered).sum();
            // What is in the queue alone may wait for its batch, which is no outage.
            let waiting: Vec<&Health> = all.iter().filter(|health| health.in_flight > 0).collect();
            outage.observe(Instant::now(), settled, !waiting.is_empty());
            let away = outage.away;
            let why = if all.iter().any(|health| health.causes.contains(&Cause::DeadLettersUnwritable)) {
                "dead letters cannot be written, the log says why".to_owned()
            } else {
                let said = waiting.iter().find_map(|health| health.last_error.as_deref());
                said.unwrap_or("the store does not answer").to_owned()
            };
            if outage.is_worth_a_line() {
                let waiting: usize = all.iter().map(|health| health.queue_size + health.in_flight).sum();
                tracing::warn!(seconds = away.as_secs(), waiting, why, "nothing is stored");
            }
            // One store has all of them, so the probe of one circuit speaks for the others.
            let open = waiting.iter().find(|health| health.circuit != CircuitState::Closed);
            let circuit = open.map_or(CircuitState::Closed, |health| health.circuit);
            if outage.is_over(self.give_up_after, circuit, open.and_then(|health| health.probe_in)) {
                return (away, why);
            }
            let level = all.iter().map(|health| health.level).max().unwrap_or(Level::Ok);
            show(level, away, &why);
            sleep(REFRESH).await;
        }
    }

    /// Says that the time is up, and what to do.
    pub fn complain(&self, (away, why): &(Duration, String)) {
        let (limit, away) = (self.give_up_after.as_secs_f64(), away.as_secs_f64());
        complain(format_args!("error: gave up after {limit} s, nothing was stored for {away:.1} s: {why}"));
        complain("  run the same command again when that is over; mds dlq list shows what was kept");
    }
}

/// Time in which batches waited and none was settled.
#[derive(Debug)]
struct Outage {
    settled: u64,
    /// How long it has been since something was settled, or nothing waited.
    away: Duration,
    /// Whether a batch waited at the last look.
    waited: bool,
    looked_at: Instant,
    lines: u32,
    /// Until when, counted as `away`, the next probe is waited for.
    probe_until: Option<Duration>,
}

impl Outage {
    fn new(now: Instant) -> Self {
        Self { settled: 0, away: Duration::ZERO, waited: false, looked_at: now, lines: 0, probe_until: None }
    }

    /// Takes in how many records are settled, as dead letters too, and whether a batch waits for the store.
    fn observe(&mut self, now: Instant, settled: u64, waits: bool) {
        let since = now.saturating_duration_since(self.looked_at).min(MAX_STEP);
        self.looked_at = now;
        if settled != self.settled || !waits {
            *self = Self { settled, waited: waits, ..Self::new(now) };
        } else if std::mem::replace(&mut self.waited, true) {
            self.away += since;
        }
    }

    /// Returns whether the log should say so now: after a while, and then not too often.
    fn is_worth_a_line(&mut self) -> bool {
        let due = self.away >= LOG_INTERVAL * (self.lines + 1);
        self.lines += u32::from(due);
        due
    }

    /// Returns whether the time is up. An open circuit has left the store alone for a while, so its next probe decides.
    fn is_over(&mut self, limit: Duration, circuit: CircuitState, probe_in: Option<Duration>) -> bool {
        if limit.is_zero() || self.away < limit {
            return false;
        }
        if circuit == CircuitState::Closed {
            return true;
        }
        let probed = self.away + probe_in.unwrap_or_default() + PROBE_ANSWER;
        self.away >= *self.probe_until.get_or_insert(probed)
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;
    use crate::cli::Cli;

    // Red if the default is another time than docs/CLI.md and the help of both commands say.
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
        // Line ends count as blanks.
        let page = include_str!("../../docs/CLI.md").replace('\n', " ");
        assert_eq!(page.matches("(60 s; 0: no limit)").count(), 2, "on the page, of each");
    }

    /// Looks five times a second until the time has come, and returns what the last look said.
    fn look(outage: &mut Outage, seconds: std::ops::Range<u64>, settled: u64, waits: bool) -> Duration {
        let start = outage.looked_at;
        let looks = (seconds.end - seconds.start) * 5;
        (1..=looks).for_each(|look| outage.observe(start + REFRESH * look as u32, settled, waits));
        outage.away
    }

    #[test]
    fn only_time_in_which_a_batch_waits_and_none_is_settled_counts() {
        let mut outage = Outage::new(Instant::now());
        assert_eq!(look(&mut outage, 0..30, 0, false), Duration::ZERO, "nothing waits");
        // Since when it waits is known from the first look on.
        assert_eq!(look(&mut outage, 30..40, 0, true), Duration::from_secs(10) - REFRESH);
        let now = outage.looked_at;
        outage.observe(now, 1, true);
        assert_eq!(outage.away, Duration::ZERO, "one was settled");
        assert_eq!(look(&mut outage, 40..45, 1, true), Duration::from_secs(5));
        outage.observe(now, 1, false);
        assert_eq!(outage.away, Duration::ZERO);
    }

    // Sabotage: count all that has passed between two looks: it is an hour.
    #[test]
    fn time_in_which_the_process_was_stopped_does_not_count() {
        let mut outage = Outage::new(Instant::now());
        look(&mut outage, 0..10, 0, true);
        let later = outage.looked_at + Duration::from_secs(3_600);
        outage.observe(later, 0, true);
        assert_eq!(outage.away, Duration::from_secs(10) - REFRESH + MAX_STEP);
    }

    #[test]
    fn the_log_says_it_every_ten_seconds() {
        let mut outage = Outage::new(Instant::now());
        let mut said = Vec::new();
        for seconds in 0..35 {
            outage.away = Duration::from_secs(seconds);
            if outage.is_worth_a_line() {
                said.push(seconds);
            }
        }
        assert_eq!(said, [10, 20, 30]);
    }

    // Red if an open circuit ends it before the probe has had an answer, if a closed one is waited for, if one that never
    // answers is waited for without end, or if a time of 0 ends it.
    #[test]
    fn an_open_circuit_is_probed_before_the_time_is_up() {
        use CircuitState::{Closed, HalfOpen, Open};
        let (limit, probe_in) = (Duration::from_secs(3), Some(Duration::from_secs(8)));
        let over_at = |limit, circuit, probe_in| {
            let mut outage = Outage::new(Instant::now());
            (0..60).find(|&seconds| {
                outage.away = Duration::from_secs(seconds);
                outage.is_over(limit, circuit, probe_in)
            })
        };
        assert_eq!(over_at(limit, Closed, None), Some(3));
        assert_eq!(over_at(limit, Open, probe_in), Some(12));
        assert_eq!(over_at(limit, HalfOpen, None), Some(4));
        assert_eq!(over_at(Duration::ZERO, Closed, None), None);
        // What was settled begins a new time.
        let mut outage = Outage::new(Instant::now());
        outage.away = limit;
        assert!(!outage.is_over(limit, Open, probe_in));
        outage.observe(outage.looked_at, 1, true);
        outage.away = limit;
        assert!(!outage.is_over(limit, Open, probe_in));
    }
}
