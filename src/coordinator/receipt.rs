use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;

use crate::policy::Outcome;

/// Resolves to what became of one accepted record. Needs no particular runtime.
///
/// While it is awaited its record does not wait for its batch to fill:
/// [`submit_with_receipt`](super::WriteHandle::submit_with_receipt). Dropping it changes nothing for the record.
#[must_use = "a receipt says nothing until it is awaited"]
pub struct Receipt {
    slots: Slots,
    index: usize,
    /// Whom to tell that it is awaited, until it was.
    awaits: Option<(Arc<dyn AwaitOutcome>, AcceptedAt)>,
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

/// What is known of records that were submitted together, one each.
type Slots = Arc<[Mutex<Slot>]>;

/// What is known of one record.
enum Slot {
    /// Nothing yet; who is to be woken then.
    Unknown(Option<Waker>),
    Known(Outcome, Option<Box<ReplayOutcome>>),
    Lost,
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

/// The sending half of a receipt. Dropped before it tells, it says that the record is lost.
pub(super) struct ReceiptSender {
    slots: Slots,
    index: usize,
    /// The record is a dead letter already: its replay is told what the store says against it.
    pub(super) is_replay: bool,
    pub(super) refusal: Option<Box<ReplayOutcome>>,
    has_told: bool,
}

impl ReceiptSender {
    pub(super) fn tell(mut self, outcome: Outcome) {
        let refusal = self.refusal.take();
        self.put(Slot::Known(outcome, refusal));
    }

    fn put(&mut self, known: Slot) {
        self.has_told = true;
        let before = std::mem::replace(&mut *self.slots[self.index].lock(), known);
        // A waker is foreign code, and the lock is gone.
        if let Slot::Unknown(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl Drop for ReceiptSender {
    fn drop(&mut self) {
        if !self.has_told {
            self.put(Slot::Lost);
        }
    }
}

/// Receipts for records that are submitted together, in order: they share one piece of memory. To await one of them leaves
/// batches as they are.
pub(super) struct Receipts {
    slots: Slots,
    next: usize,
}

impl Receipts {
    /// Makes them for at most so many records.
    pub(super) fn new(most: usize) -> Self {
        Self { slots: (0..most).map(|_| Mutex::new(Slot::Unknown(None))).collect(), next: 0 }
    }

    /// Returns the receipts of the next records, and who tells them.
    pub(super) fn take(
        &mut self,
        records: usize,
    ) -> (impl ExactSizeIterator<Item = ReceiptSender>, impl Iterator<Item = Receipt>) {
        let (of, from) = (self.next..self.next + records, &self.slots);
        self.next += records;
        let sender =
            |index| ReceiptSender { slots: Arc::clone(from), index, is_replay: false, refusal: None, has_told: false };
        (of.clone().map(sender), of.map(|index| Receipt { slots: Arc::clone(from), index, awaits: None }))
    }
}

impl Receipt {
    pub(super) fn new(is_replay: bool) -> (ReceiptSender, Self) {
        let slots: Slots = Arc::new([Mutex::new(Slot::Unknown(None))]);
        let sender = ReceiptSender { slots: Arc::clone(&slots), index: 0, is_replay, refusal: None, has_told: false };
        (sender, Self { slots, index: 0, awaits: None })
    }

    /// Says where its record is.
    pub(super) fn of(self, buffer: Arc<dyn AwaitOutcome>, at: AcceptedAt) -> Self {
        Self { awaits: Some((buffer, at)), ..self }
    }

    /// Resolves to what became of a record that is replayed.
    pub(crate) async fn replay_outcome(mut self) -> ReplayOutcome {
        // A replay fills its batches.
        self.awaits = None;
        match (&mut self).await {
            Ok(Outcome::Stored) => ReplayOutcome::Stored,
            Ok(Outcome::DeadLettered) => match &mut *self.slots[self.index].lock() {
                Slot::Known(_, Some(refusal)) => (**refusal).clone(),
                // A deadline cut it off.
                _ => ReplayOutcome::Unknown,
            },
            // A deadline cut it off, or the end lost it.
            Ok(Outcome::Dropped(_)) | Err(ReceiptLost) => ReplayOutcome::Unknown,
        }
    }

    /// Returns what became of the record if that is known. This is not to await it.
    #[cfg(feature = "serve")]
    pub(crate) fn outcome(&self) -> Option<Result<Outcome, ReceiptLost>> {
        match &*self.slots[self.index].lock() {
            Slot::Unknown(_) => None,
            Slot::Known(outcome, _) => Some(Ok(*outcome)),
            Slot::Lost => Some(Err(ReceiptLost)),
        }
    }
}

impl Future for Receipt {
    type Output = Result<Outcome, ReceiptLost>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // A waker is foreign code: it is cloned before the lock, and the one that it replaces is dropped behind it.
        let mut waker = Some(context.waker().clone());
        let known = match &mut *self.slots[self.index].lock() {
            Slot::Unknown(kept) => {
                std::mem::swap(kept, &mut waker);
                Poll::Pending
            }
            Slot::Known(outcome, _) => Poll::Ready(Ok(*outcome)),
            Slot::Lost => Poll::Ready(Err(ReceiptLost)),
        };
        drop(waker);
        if known.is_pending()
            && let Some((buffer, at)) = self.awaits.take()
        {
            buffer.await_outcome(at);
        }
        known
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receipt").finish_non_exhaustive()
    }
}
