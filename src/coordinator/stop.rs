use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::watch;

/// Why a store does no more work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// It was shut down.
    ShutDown,
    /// A queue's actor died.
    QueueDied {
        /// The coordinator whose queue it was.
        coordinator_id: Arc<str>,
    },
    /// A coordinator's actor died.
    CoordinatorDied {
        /// The coordinator.
        coordinator_id: Arc<str>,
    },
    /// The PostgreSQL server was away at the start, and cannot be the store now that it is there: a table of a kind is
    /// another program's, has other columns, or must not be made. Nothing is written until that is mended, and the
    /// level is hard.
    DatabaseUnfit {
        /// What is wrong, and what to do, on one line.
        problem: Arc<str>,
    },
    /// The feedback bus died.
    BusDied,
    /// The broadcaster of webhooks died, or what sends to one of its URLs.
    BroadcasterDied,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ShutDown => f.write_str("the store was shut down"),
            Self::QueueDied { coordinator_id } => write!(f, "the queue of coordinator {coordinator_id} died"),
            Self::CoordinatorDied { coordinator_id } => write!(f, "coordinator {coordinator_id} died"),
            Self::DatabaseUnfit { problem } => f.write_str(problem),
            Self::BusDied => f.write_str("the feedback bus died"),
            Self::BroadcasterDied => f.write_str("the broadcaster of webhooks died"),
        }
    }
}

impl std::error::Error for StopReason {}

/// Tells all that wait that a store does no more work. The first reason stands.
#[derive(Clone, Debug)]
pub(crate) struct StopSignal {
    reason: watch::Sender<Option<StopReason>>,
    /// The actors go because the store ends: that is no death.
    ending: Arc<AtomicBool>,
}

impl StopSignal {
    pub(crate) fn new() -> Self {
        Self { reason: watch::Sender::new(None), ending: Arc::default() }
    }

    pub(crate) fn stop(&self, reason: StopReason) {
        self.reason.send_if_modified(|first| {
            let is_first = first.is_none();
            first.get_or_insert(reason);
            is_first
        });
    }

    /// Notes that every part may end now.
    pub(crate) fn begin_end(&self) {
        self.ending.store(true, Ordering::Release);
    }

    /// Returns whether every part may end now.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    pub(crate) async fn stopped(&self) -> StopReason {
        let mut receiver = self.reason.subscribe();
        match receiver.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(reason)) => reason.clone(),
            // The sender lives in `self`, so the channel is never closed here.
            _ => StopReason::ShutDown,
        }
    }
}
