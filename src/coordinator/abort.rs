//! The deadline: what is unsettled then becomes dead letters.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::{dead_lettering::append, messages::Drain, shared::Shared};
use crate::{dead_letter::DeadLetters, record::Record};

/// Longer than anything waits, and short enough to be added to a time.
const NO_DEADLINE: Duration = Duration::from_secs(1 << 30);

/// So many records are handed to the dead letters together.
pub(super) const AT_ONCE: usize = 10_000;

/// Why a record that the store said nothing of is a dead letter.
const NOT_IN_TIME: &str = "not stored before the deadline of the shutdown";

/// Turns everything that is unsettled into dead letters, as far as these can be written in so much time. A write that
/// is still under way may succeed all the same: then the record is in both places, and a replay writes it once more.
pub(super) async fn dead_letter_rest<T: Record>(shared: &Shared<T>, dead_letters: &DeadLetters, within: Duration) {
    let _one_at_a_time = shared.aborting.lock().await;
    let until = Instant::now() + within.min(NO_DEADLINE);
    let leased = shared.with(|buffer| buffer.abandon());
    let (mut kept, mut failed, mut why) = (0, 0, String::new());
    for group in groups(&leased, |leased| leased.range.len()) {
        let in_time = Instant::now() < until;
        let written: Vec<_> = (group.iter().filter(|_| in_time))
            .map(|leased| {
                let batch = leased.records[leased.range.clone()].iter().zip(shared.replays(leased.id));
                // One that is replayed stays the dead letter that it is.
                let batch: Vec<_> = batch.filter(|(_, is_replay)| !is_replay).map(|(record, _)| record).collect();
                // The deadline explains nothing; what the store said last does.
                let last_error = shared.last_error_of(leased.partition).or_else(|| shared.last_error());
                append(dead_letters, &shared.config, &batch, last_error.as_deref().unwrap_or(NOT_IN_TIME), 0)
            })
            .collect();
        let written = futures_util::future::join_all(written.into_iter().map(|written| {
            let in_time = timeout_at(until, written);
            async { in_time.await.unwrap_or_else(|_| Err("it took too long".to_owned())) }
        }));
        let late = std::iter::repeat_with(|| Err("there was no time left".to_owned()));
        for (leased, written) in group.iter().zip(written.await.into_iter().chain(late)) {
            match written {
                Ok(()) => {
                    let now = shared.now();
                    let _records = shared.with(|buffer| buffer.settle_dead_lettered(leased.id, now));
                    kept += leased.range.len();
                }
                Err(error) => {
                    failed += leased.range.len();
                    why = error;
                }
            }
        }
    }
    let id = &*shared.config.id;
    if failed > 0 {
        let text = "records that were accepted are neither stored nor dead letters";
        tracing::error!(coordinator_id = id, records = failed, error = why, "{text}");
    }
    if kept > 0 {
        tracing::warn!(
            coordinator_id = id,
            records = kept,
            error = shared.last_error().as_deref().unwrap_or(NOT_IN_TIME),
            "what was unsettled at the deadline is dead letters"
        );
    }
    shared.with(|buffer| buffer.lose_receipts());
}

/// Divides leases into groups that share a sync: small ones so that thousands need few, and few large ones, because
/// all dead letters of a group are in memory at once and nothing else is done until they are made.
fn groups<L>(leased: &[L], records: impl Fn(&L) -> usize) -> impl Iterator<Item = &[L]> {
    let mut together = leased.first().map_or(0, &records);
    leased.chunk_by(move |_, next| {
        let fits = together + records(next) <= AT_ONCE;
        together = if fits { together } else { 0 } + records(next);
        fits
    })
}

/// Settles what a coordinator that died left behind. What its workers are writing has until the deadline.
pub(super) async fn drain_orphan<T: Record>(shared: &Shared<T>, dead_letters: &DeadLetters, drain: Drain) {
    shared.close();
    if !drain.deadline.is_zero() {
        shared.expedite();
    }
    let _ = timeout(drain.deadline, shared.batches_are_back()).await;
    dead_letter_rest(shared, dead_letters, drain.dead_letters).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when a group counts leases and not records, leaves its first one out, or begins with what the last one had.
    #[test]
    fn dead_letters_of_few_large_batches_or_of_thousands_of_small_ones_go_together() {
        let sizes = |leases: &[usize]| groups(leases, |size| *size).map(<[_]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(&[1; 5_031]), [5_031]);
        assert_eq!(sizes(&[1; 25_000]), [10_000, 10_000, 5_000]);
        assert_eq!(sizes(&[4_000; 5]), [2, 2, 1]);
        assert_eq!(sizes(&[10_000, 1, 9_999, 1, 50_000, 1]), [1, 2, 1, 1, 1]);
        assert!(sizes(&[]).is_empty());
    }
}
