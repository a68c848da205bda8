//! When a write began that had to wait for its turn.
#![cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "the sink of PostgreSQL alone waits for a turn"))]

use std::{pin::pin, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

/// Shared by the store, which cuts off a write that takes too long, and the sink, which knows when it began.
#[derive(Debug, Default)]
pub(crate) struct WriteClock(Mutex<Began>);

#[derive(Clone, Copy, Debug, Default)]
enum Began {
    /// With the call.
    #[default]
    AtOnce,
    NotYet,
    At(Instant),
}

/// A write that waits for its turn, until this is dropped.
#[derive(Debug)]
pub(crate) struct Waits(Arc<WriteClock>);

impl WriteClock {
    /// Begins to wait for a turn.
    pub(super) fn waits(self: &Arc<Self>) -> Waits {
        *self.0.lock() = Began::NotYet;
        Waits(Arc::clone(self))
    }

    /// Waits for a write to end; none if it takes longer than `limit`, without what it waits for its turn. It is dropped
    /// then.
    pub(super) async fn within<W: Future>(&self, limit: Duration, write: W) -> Option<W::Output> {
        *self.0.lock() = Began::AtOnce;
        let mut write = pin!(write);
        let mut from = Instant::now();
        loop {
            // What is too far away to be a moment is not reached.
            let Some(until) = from.checked_add(limit) else { return Some(write.await) };
            if let Ok(written) = timeout_at(until, &mut write).await {
                return Some(written);
            }
            from = match *self.0.lock() {
                Began::NotYet => Instant::now(),
                Began::At(began) if began > from => began,
                Began::AtOnce | Began::At(_) => return None,
            };
        }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        *self.0.0.lock() = Began::At(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    /// How a write ends that waits for its turn, and then takes a while; and after how long in all.
    async fn ends(waits: u64, takes: u64) -> (bool, u64) {
        let (clock, begun) = (Arc::new(WriteClock::default()), Instant::now());
        let write = async {
            let waiting = clock.waits();
            sleep(Duration::from_secs(waits)).await;
            drop(waiting);
            sleep(Duration::from_secs(takes)).await;
        };
        let written = clock.within(LIMIT, write).await;
        (written.is_some(), begun.elapsed().as_secs())
    }

    // Red when the wait for a turn is a part of the time, when what comes behind it has no limit, or has more than a limit.
    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_write_begins_with_its_turn() {
        assert_eq!(ends(0, 29).await, (true, 29));
        assert_eq!(ends(0, 31).await, (false, 30));
        assert_eq!(ends(29, 29).await, (true, 58));
        assert_eq!(ends(100, 29).await, (true, 129));
        assert_eq!(ends(100, 31).await, (false, 130));
        // One that never waits, on the clock of one that did.
        let clock = Arc::new(WriteClock::default());
        drop(clock.waits());
        let begun = Instant::now();
        assert_eq!(clock.within(LIMIT, std::future::pending::<()>()).await, None);
        assert_eq!(begun.elapsed(), LIMIT);
        assert_eq!(clock.within(Duration::MAX, async { 7 }).await, Some(7));
    }
}
