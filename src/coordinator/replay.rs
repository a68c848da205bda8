//! What a replay of dead letters asks of a coordinator.

use std::pin::Pin;

use super::{Receipt, Refusal, ReplayOutcome, WriteHandle};
use crate::{
    dead_letter::{Entry, record_of},
    policy::{BufferState, Level},
    record::Record,
};

type BoxFuture<'a, R> = Pin<Box<dyn Future<Output = R> + Send + 'a>>;

/// What becomes of a record that is submitted again: once it is accepted, the future of its outcome.
pub(crate) type Resubmission = BoxFuture<'static, Result<BoxFuture<'static, ReplayOutcome>, Refusal>>;

/// A coordinator that takes dead letters of its kind, whatever the type of its records.
pub(crate) trait ReplayTarget: Send + Sync {
    fn kind(&self) -> &'static str;

    fn id(&self) -> &str;

    fn level(&self) -> Level;

    /// Returns why the coordinator takes no more records, if so: then its level does not come back.
    fn ended(&self) -> Option<Refusal>;

    /// Reads an entry's record; the future submits it.
    ///
    /// # Errors
    /// Says what is wrong with the record.
    fn resubmission(&self, entry: &Entry) -> Result<Resubmission, String>;

    /// Waits until all that was accepted is settled, or the coordinator has ended.
    fn settled(&self) -> BoxFuture<'_, ()>;
}

impl<T: Record> ReplayTarget for WriteHandle<T> {
    fn kind(&self) -> &'static str {
        T::KIND
    }

    fn id(&self) -> &str {
        self.id()
    }

    fn level(&self) -> Level {
        self.level()
    }

    fn ended(&self) -> Option<Refusal> {
        match self.shared().with(|buffer| buffer.state()) {
            BufferState::Open => None,
            BufferState::Draining => Some(Refusal::Draining),
            BufferState::Closed => Some(Refusal::Closed),
        }
    }

    fn resubmission(&self, entry: &Entry) -> Result<Resubmission, String> {
        let (record, handle) = (record_of::<T>(entry)?, self.clone());
        Ok(Box::pin(async move {
            let receipt = handle.submit_replay(record).await?;
            let outcome: BoxFuture<'static, ReplayOutcome> = Box::pin(receipt.replay_outcome());
            Ok(outcome)
        }))
    }

    fn settled(&self) -> BoxFuture<'_, ()> {
        // It fails when the coordinator has ended, and then the receipts say so.
        Box::pin(async { _ = self.flush().await })
    }
}

impl<T: Record> WriteHandle<T> {
    /// Has a record accepted that is a dead letter already: if it is given up again it becomes no other. Waits for a
    /// credit whatever the overflow strategy.
    ///
    /// # Errors
    /// [`Refusal::Invalid`], [`Refusal::Draining`] or [`Refusal::Closed`].
    pub(crate) async fn submit_replay(&self, record: T) -> Result<Receipt, Refusal> {
        // In line whatever the strategy, since it is a replay.
        self.submit_as(record, true).await.map_err(|refused| refused.refusal().clone())
    }
}
