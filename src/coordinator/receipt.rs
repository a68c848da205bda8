use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::oneshot;

use crate::policy::Outcome;

/// Resolves to what became of one accepted record. Needs no particular runtime.
///
/// While it is awaited its record does not wait for its batch to fill:
/// [`submit_with_receipt`](super::WriteHandle::submit_with_receipt). Dropping it changes nothing for the record.
#[must_use = "a receipt says nothing until it is awaited"]
pub struct Receipt {
    outcome: oneshot::Receiver<ReceiptValue>,
    /// Whom to tell that it is awaited, until it was.
    awaits: Option<(Arc<dyn AwaitOutcome>, AcceptedAt)>,
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").finish_non_exhaustive()
    }
}

/// Where an accepted record is.
#[derive(Clone, Copy, Debug)]
pub(super) struct AcceptedAt {
    pub(super) partition: usize,
    pub(super) sequence: u64,
}

/// A buffer, whatever the type of its records.
pub(super) trait AwaitOutcome: Send + Sync {
    /// Takes in that the outcome of a record is waited for.
    fn await_outcome(&self, at: AcceptedAt);
}

/// The coordinator came to its end before the record did: it may be stored, a dead letter, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the coordinator came to its end, it is not known whether the record is stored")]
pub struct ReceiptLost;

/// What became of a record that is replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReplayOutcome {
    /// It is in the store.
    Stored,
    /// It was given up once more; its entry stays and says so.
    Refused {
        /// What the store says against it.
        error: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// A deadline cut it off, or the end lost it: its entry stays as it is.
    Unknown,
}

/// The sending half of a receipt.
#[derive(Debug)]
pub(super) struct ReceiptSender {
    to: oneshot::Sender<ReceiptValue>,
    /// The record is a dead letter already: its replay is told what the store says against it.
    pub(super) is_replay: bool,
    pub(super) refusal: Option<ReplayOutcome>,
}

#[derive(Debug)]
struct ReceiptValue {
    outcome: Outcome,
    refusal: Option<ReplayOutcome>,
}

impl ReceiptSender {
    pub(super) fn tell(self, outcome: Outcome) {
        // The receiver may be dropped.
        let _ = self.to.send(ReceiptValue { outcome, refusal: self.refusal });
    }
}

impl Receipt {
    pub(super) fn new(is_replay: bool) -> (ReceiptSender, Self) {
        let (to, receiver) = oneshot::channel();
        (ReceiptSender { to, is_replay, refusal: None }, Self { outcome: receiver, awaits: None })
    }

    /// Says where its record is.
    pub(super) fn of(self, buffer: Arc<dyn AwaitOutcome>, at: AcceptedAt) -> Self {
        Self { awaits: Some((buffer, at)), ..self }
    }

    /// Returns what became of the record if that is known. This is not to await it.
    #[cfg(feature = "serve")]
    pub(crate) fn outcome_now(&mut self) -> Option<Result<Outcome, ReceiptLost>> {
        match self.outcome.try_recv() {
            Ok(told) => Some(Ok(told.outcome)),
            Err(oneshot::error::TryRecvError::Empty) => None,
            Err(oneshot::error::TryRecvError::Closed) => Some(Err(ReceiptLost)),
        }
    }

    /// Resolves to what became of a record that is replayed.
    pub(crate) async fn replay_outcome(self) -> ReplayOutcome {
        match self.outcome.await {
            Ok(ReceiptValue { outcome: Outcome::Stored, .. }) => ReplayOutcome::Stored,
            Ok(ReceiptValue { outcome: Outcome::DeadLettered, refusal: Some(refusal) }) => refusal,
            // A deadline cut it off, or the end lost it.
            Ok(_) | Err(_) => ReplayOutcome::Unknown,
        }
    }
}

impl Future for Receipt {
    type Output = Result<Outcome, ReceiptLost>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let told = Pin::new(&mut self.outcome).poll(context);
        if told.is_pending()
            && let Some((buffer, at)) = self.awaits.take()
        {
            buffer.await_outcome(at);
        }
        told.map(|told| told.map(|told| told.outcome).map_err(|_| ReceiptLost))
    }
}
