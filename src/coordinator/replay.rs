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
    pub(crate) async fn submit_replay(&self, mut record: T) -> Result<Receipt, Refusal> {
        loop {
            let refused = match self.submit_as(record, true).await {
                Ok(receipt) => return Ok(receipt),
                Err(refused) => refused,
            };
            match refused.refusal() {
                // With the strategy `error` the coordinator leaves it to its producer to wait.
                Refusal::Full | Refusal::PartitionFull { .. } | Refusal::CircuitOpen => {
                    record = refused.into_record();
                    let _ = self.flush().await;
                }
                _ => return Err(refused.refusal().clone()),
            }
        }
    }
}
