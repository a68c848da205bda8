//! What a replay of dead letters asks of a coordinator.

use super::{Receipt, Refusal, WriteHandle};
use crate::{policy::BufferState, record::Record};

impl<T: Record> WriteHandle<T> {
    /// Returns why the coordinator takes no more records, if so: then its level does not come back.
    pub(crate) fn ended(&self) -> Option<Refusal> {
        match self.shared().with(|buffer| buffer.state()) {
            BufferState::Open => None,
            BufferState::Draining => Some(Refusal::Draining),
            BufferState::Closed => Some(Refusal::Closed),
        }
    }

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
