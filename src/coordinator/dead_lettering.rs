//! How records that are given up become dead letters, and how the log tells of it.

use std::{sync::Arc, time::Duration};

use super::config::CoordinatorConfig;
use crate::{
    dead_letter::{DeadLetter, DeadLetters},
    record::Record,
};

/// How often the log tells of new dead letters, at most.
const EVERY: Duration = Duration::from_secs(1);

/// Appends records to the dead letters. They are handed over before this returns, so that several share a sync.
pub(super) fn append<T: Record>(
    dead_letters: &DeadLetters,
    config: &CoordinatorConfig,
    records: &[&T],
    error: &str,
    attempts: u32,
) -> impl Future<Output = Result<(), String>> + Send + use<T> {
    let entries: Vec<_> = records.iter().map(|record| DeadLetter::new(*record, error, attempts)).collect();
    for unwritable in entries.iter().filter_map(|entry| entry.unwritable.as_ref()) {
        tracing::error!(
            coordinator_id = &*config.id,
            partition_key = unwritable.partition_key,
            why = unwritable.why,
            "a record cannot be written as JSON; its dead letter says so and holds only the beginning"
        );
    }
    let appended = dead_letters.append(&config.id, T::KIND, &entries);
    async move { appended.await.map_err(|error| error.to_string()) }
}

/// Counts new dead letters between two lines of the log: a store that refuses everything would otherwise fill it.
#[derive(Debug, Default)]
pub(super) struct DeadLetterNotice {
    records: u64,
    /// Of the newest of them.
    error: Arc<str>,
    told_at: Option<Duration>,
}

impl DeadLetterNotice {
    /// Takes in one more.
    pub(super) fn count(&mut self, error: &str) {
        self.records += 1;
        if *self.error != *error {
            self.error = error.into();
        }
    }

    /// Returns how many there are to tell of, and why the newest of them is one; none while there are none, or the last
    /// line is too fresh.
    pub(super) fn due(&mut self, now: Duration) -> Option<(u64, Arc<str>)> {
        if self.records == 0 || self.told_at.is_some_and(|at| now < at + EVERY) {
            return None;
        }
        self.told_at = Some(now);
        Some((std::mem::take(&mut self.records), Arc::clone(&self.error)))
    }

    /// Returns the same whenever the last line was: for the end.
    pub(super) fn rest(&mut self) -> Option<(u64, Arc<str>)> {
        self.told_at = None;
        self.due(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when each dead letter is told of by itself, one is told of twice, or the last ones never are.
    #[test]
    fn the_log_tells_of_dead_letters_once_a_second_with_their_number() {
        let mut notice = DeadLetterNotice::default();
        let ms = Duration::from_millis;
        assert_eq!(notice.due(ms(0)), None);
        notice.count("first");
        assert_eq!(notice.due(ms(5)), Some((1, "first".into())), "the first at once");
        notice.count("second");
        notice.count("third");
        assert_eq!(notice.due(ms(1_004)), None, "too soon");
        assert_eq!(notice.due(ms(1_005)), Some((2, "third".into())));
        assert_eq!(notice.due(ms(9_000)), None, "nothing new");
        notice.count("last");
        assert_eq!(notice.rest(), Some((1, "last".into())));
        assert_eq!(notice.rest(), None);
    }
}
