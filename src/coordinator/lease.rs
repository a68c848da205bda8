//! How batches travel from the buffer to a worker and back.

use std::sync::Arc;

use actix::{Message, Recipient};

use super::shared::Shared;
use crate::{
    policy::{Isolated, LeaseId, Leased, Outcome},
    record::Record,
    sink::Batch,
};

/// Asks for the first batch of a partition: sent by its worker when it starts; the answer is a [`Work`], then and
/// whenever a batch becomes ready later while the worker has nothing to do.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Take<T: Record> {
    pub(super) partition: usize,
    pub(super) worker: Recipient<Work<T>>,
}

/// Brings a batch: sent by the queue to a worker that asked; settled by the worker under the buffer's lock.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Work<T: Record> {
    pub(super) lease: Lease<T>,
}

/// The duty to settle a batch. One that is dropped unsettled, in a mailbox that died or a write that was cut off, goes
/// back: the batch goes out again, before anything else of its partition.
pub(super) struct Lease<T> {
    shared: Arc<Shared<T>>,
    id: LeaseId,
    partition: usize,
    batch: Batch<T>,
}

impl<T> Lease<T> {
    pub(super) fn new(shared: Arc<Shared<T>>, leased: Leased<T>) -> Self {
        let batch = Batch::from(leased.records).slice(leased.range).of_partition(&shared.config.id, leased.partition);
        Self { shared, id: leased.id, partition: leased.partition, batch }
    }

    pub(super) fn shared(&self) -> &Arc<Shared<T>> {
        &self.shared
    }

    pub(super) fn id(&self) -> LeaseId {
        self.id
    }

    pub(super) fn partition(&self) -> usize {
        self.partition
    }

    pub(super) fn batch(&self) -> &Batch<T> {
        &self.batch
    }

    /// Passes a point at which a test can let the worker panic.
    pub(super) fn point(&self, name: &'static str) {
        self.shared.faults.workers[self.partition].point(name);
    }

    /// Settles the whole batch, and takes the partition's next one if one is ready.
    pub(super) fn settle(self, outcome: Outcome) -> Option<Self> {
        let now = self.shared.now();
        let (records, next) = self.shared.with(|buffer| {
            let records = match outcome {
                Outcome::DeadLettered => buffer.settle_dead_lettered(self.id, now),
                _ => buffer.settle_stored(self.id, now),
            };
            (records, buffer.ask(self.partition, now))
        });
        let next = next.map(|next| Self::new(Arc::clone(&self.shared), next));
        self.point("a batch is settled and the next one taken");
        // Here, outside the lock, and not at the end of the scope: a destructor that panics there would leak what is
        // being returned, and a lease that is leaked never comes back. A settled lease cannot be parked any more.
        drop(records);
        drop(self);
        next
    }

    /// Leaves the batch to the buffer, which has it already, and takes what is ready instead.
    pub(super) fn leave(self) -> Option<Self> {
        let now = self.shared.now();
        let next = self.shared.with(|buffer| buffer.ask(self.partition, now));
        next.map(|next| Self::new(Arc::clone(&self.shared), next))
    }

    /// Narrows a batch that is given up down to its first half; of a single record it returns how
    /// often it was written.
    pub(super) fn isolate(&mut self, answered: bool) -> Option<u32> {
        let now = self.shared.now();
        match self.shared.with(|buffer| buffer.isolate(self.id, answered, now)) {
            Some(Isolated::Half(half)) => {
                self.point("half of a batch is parked and the worker does not know");
                let id = &self.shared.config.id;
                self.batch = Batch::from(half.records).slice(half.range).of_partition(id, self.partition);
                None
            }
            Some(Isolated::Alone { attempts }) => Some(attempts),
            // The lease was taken away, at the end: what is written for it now no longer counts.
            None => None,
        }
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        self.shared.park(self.id);
    }
}
