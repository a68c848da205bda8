//! The orderly end of a store.

use std::{
    fmt,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use serde::Serialize;

use super::{MarketDataStore, start::died};
use crate::coordinator::{CoordinatorReport, Drain, StopReason};

/// How long the end waits for subscribers to handle the last event. One that is stuck would hold it without end.
const LAST_EVENTS: Duration = Duration::from_secs(1);

/// How long the end waits for databases that the store opened to be closed. Nothing is lost with one that takes longer:
/// it leaves its `-wal` file for the next.
const LAST_CLOSE: Duration = Duration::from_secs(1);

/// How long the end waits for webhooks to deliver what was published last.
const LAST_DELIVERIES: Duration = Duration::from_secs(5);

/// They are delivered while the coordinators drain, and take no more than this beyond the last dead letters: the
/// process is to be gone within five seconds of the deadline, with subscribers seen to as well.
const LAST_DELIVERIES_LATE: Duration = Duration::from_millis(500);

/// How long the end waits for dead letters. A disk that hangs must not hold the process.
const LAST_DEAD_LETTERS: Duration = Duration::from_secs(2);

/// What became of all records, at the end. It adds up, in sum and in every coordinator:
/// `submitted = stored + dead_lettered + dropped + unsettled`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DrainReport {
    /// Each coordinator's part, by id.
    pub coordinators: Vec<CoordinatorReport>,
}

impl DrainReport {
    /// Returns the records that were accepted.
    pub fn submitted(&self) -> u64 {
        self.coordinators.iter().map(|report| report.submitted).sum()
    }

    /// Returns the records that were committed by their sinks.
    pub fn stored(&self) -> u64 {
        self.coordinators.iter().map(|report| report.stored).sum()
    }

    /// Returns the records that are in dead-letter files.
    pub fn dead_lettered(&self) -> u64 {
        self.coordinators.iter().map(|report| report.dead_lettered).sum()
    }

    /// Returns the records that were evicted unwritten.
    pub fn dropped(&self) -> u64 {
        self.coordinators.iter().map(|report| report.dropped).sum()
    }

    /// Returns the records that were accepted and are not known to be stored.
    pub fn unsettled(&self) -> u64 {
        self.coordinators.iter().map(|report| report.unsettled).sum()
    }

    /// Returns whether every accepted record was settled.
    pub fn is_complete(&self) -> bool {
        self.unsettled() == 0
    }
}

/// One line: `901 submitted: 900 stored, 0 dead-lettered, 0 dropped, 1 unsettled`.
impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (submitted, stored, dead_lettered) = (self.submitted(), self.stored(), self.dead_lettered());
        let (dropped, unsettled) = (self.dropped(), self.unsettled());
        write!(
            f,
            "{submitted} submitted: {stored} stored, {dead_lettered} dead-lettered, {dropped} dropped, \
             {unsettled} unsettled"
        )
    }
}

impl MarketDataStore {
    /// Ends the store: refuses new records, raises `draining`, settles what was accepted, and stops all actors. What is
    /// not settled by `deadline` becomes dead letters, and what of that cannot be written within 2 seconds more is
    /// reported as unsettled; the deadline of the settings is [`shutdown_timeout`](Self::shutdown_timeout).
    ///
    /// When it returns the subscribers have handled the last event, those on a shared bus too, but one that takes more
    /// than a second for it is left alone.
    ///
    /// Webhooks are delivered meanwhile; what is left of them then may take five seconds more, but not beyond 2.5
    /// seconds after the deadline.
    ///
    /// A write that is still under way then may succeed all the same. Its records are in the store and in the dead
    /// letters, and a replay writes them once more.
    ///
    /// A database that the store opened itself, by [`start`](Self::start), [`spawn`](Self::spawn) or
    /// [`Builder::kind`](crate::Builder::kind), is closed; a sink of yours you close yourself.
    ///
    /// Works on any runtime, and after the embedder's System has stopped. Stop the producers first: `draining` is hard
    /// and never clears, so a feed that pauses at hard until ok waits without end, unless it ends on
    /// [`Reason::Draining`](crate::Reason::Draining). A bus of the store's own ends with it and closes its [watch
    /// channels](crate::Feedback::watch); a shared one goes on, and they stay open.
    ///
    /// Calling it again, or beside another end, returns the same report.
    pub async fn shutdown(&self, deadline: Duration) -> DrainReport {
        self.end(Drain { deadline, announce: true, dead_letters: LAST_DEAD_LETTERS }).await
    }

    /// Ends the store as [`shutdown`](Self::shutdown) does, but without waiting for the sink: what is not settled
    /// becomes dead letters, which may take `dead_letters`, two seconds at least; what cannot be written in that time
    /// is reported as unsettled. A record that is replayed stays the dead letter that it is. It is for a loader, say,
    /// that has waited for its store for long enough and has more in its queue than can be written in a moment.
    pub async fn abort(&self, dead_letters: Duration) -> DrainReport {
        let dead_letters = dead_letters.max(LAST_DEAD_LETTERS);
        self.end(Drain { deadline: Duration::ZERO, announce: true, dead_letters }).await
    }

    /// Ends the store at the end of its input: settles what was accepted and stops all actors without raising
    /// `draining`, so that the last event is `ok` if everything could be stored. The caller's producers have stopped
    /// before.
    ///
    /// What is not settled by `deadline` becomes dead letters, and what of that cannot be written within 2 seconds more
    /// is reported as unsettled. Calling it again, or beside another end, returns the same report.
    pub async fn finish(&self, deadline: Duration) -> DrainReport {
        self.end(Drain { deadline, announce: false, dead_letters: LAST_DEAD_LETTERS }).await
    }

    async fn end(&self, drain: Drain) -> DrainReport {
        let inner = &self.inner;
        let end = || async {
            let began = Instant::now();
            let coordinators = inner.coordinators.values().map(|running| running.drain(drain));
            let report = DrainReport { coordinators: futures_util::future::join_all(coordinators).await };
            if let Some(broadcaster) = &inner.broadcaster {
                let late = drain.dead_letters.saturating_add(LAST_DELIVERIES_LATE);
                let left = drain.deadline.saturating_add(late).saturating_sub(began.elapsed());
                broadcaster.finish(left.min(LAST_DELIVERIES)).await;
            }
            let closes: Vec<_> = inner.closes.lock().drain(..).collect();
            if !closes.is_empty() {
                let close = async { _ = futures_util::future::join_all(closes.into_iter().map(|close| close())).await };
                inner.threads.run_within(LAST_CLOSE, close).await;
            }
            // What died meanwhile is the reason, though the task that watches it may not have had its turn yet.
            if let Some(why) = died(&inner.feedback, inner.broadcaster.as_ref()).now_or_never() {
                inner.signal.stop(why);
            }
            // From here on the end of a part, of the bus say, is no death.
            inner.signal.begin_end();
            // Before the arbiters end: the subscribers on them are to hear the last event. A bus of the store's own
            // ends then.
            let feedback = inner.feedback.clone();
            if inner.owns_bus {
                feedback.end(LAST_EVENTS).await;
            } else {
                inner.threads.run_within(LAST_EVENTS, async move { feedback.idle().await }).await;
            }
            inner.threads.end();
            inner.claims.lock().clear();
            inner.signal.stop(StopReason::ShutDown);
            tracing::debug!(
                submitted = report.submitted(),
                stored = report.stored(),
                dead_lettered = report.dead_lettered(),
                dropped = report.dropped(),
                unsettled = report.unsettled(),
                "the store has ended"
            );
            report
        };
        inner.report.get_or_init(end).await.clone()
    }
}
