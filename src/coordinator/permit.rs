//! A place that is held for a record to come.

use std::{fmt, sync::Arc};

use super::{
    handle::WriteHandle,
    receipt::{AcceptedAt, Receipt, ReceiptSender},
    refusal::SubmitError,
    shared::Shared,
    waiting::wait_for_place,
};
use crate::{
    policy::{Overflow, Refusal},
    record::Record,
};

/// A place in the queue, held for one record of a partition. [`WriteHandle::reserve`] returns it.
///
/// It counts in the queue size and not as submitted, and holds no bytes. Where
/// [`capacity_bytes`](crate::CoordinatorSettings::capacity_bytes) is set it is granted while some are free, and its
/// record may exceed them: by at most one record for each permit that is held at once. With [`Overflow::Conflate`] its
/// place is made as with [`Overflow::DropOldest`], since the record is not known yet. Submitting with it waits for
/// nothing, so there is no future that could be cancelled with a record in it. Dropping it gives the place back.
pub struct Permit<T: Record> {
    handle: WriteHandle<T>,
    partition: usize,
    partition_key: Box<str>,
    is_held: bool,
}

impl<T: Record> WriteHandle<T> {
    /// Holds a place in the queue for a record with this partition key, or with one that hashes alike; with
    /// [`Overflow::Block`] it waits in line for it, as [`submit`](Self::submit) does.
    ///
    /// It is the key that the record has once [`Record::validate`] was through with it: `ES`, where that makes capitals
    /// of `es`.
    ///
    /// This is the way to submit inside `select!`: the future has no record in it. One that is dropped loses its place
    /// in line and nothing else, so keep it across the turns of a loop.
    ///
    /// ```
    /// # use market_data_store::{Bar, Coordinator, MarketDataStore, Settings, Timeframe, sink::MemorySink};
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let settings = Settings::default().dlq_path(dir.path().join("dead_letters"));
    /// # let coordinator = Coordinator::new(MemorySink::<Bar>::new());
    /// # let store = MarketDataStore::builder(settings).coordinator(coordinator).spawn()?;
    /// let bars = store.coordinator::<Bar>()?;
    /// let permit = bars.reserve("ES").await?; // may be dropped while it waits
    /// let bar = Bar::new("ES", Timeframe::MINUTE, "2024-01-02T14:30:00Z".parse()?).ohlc(1.0, 2.0, 0.5, 1.5);
    /// permit.submit(bar)?; // not async: accepted, or handed back
    /// # store.shutdown(store.shutdown_timeout()).await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Refusal::Draining`], [`Refusal::Closed`]; with another strategy than [`Overflow::Block`] also
    /// [`Refusal::Full`], [`Refusal::PartitionFull`] or [`Refusal::CircuitOpen`].
    pub async fn reserve(&self, partition_key: &str) -> Result<Permit<T>, Refusal> {
        let shared = self.shared();
        let partition = shared.partition_of(partition_key);
        let reserved = match shared.config.overflow {
            Overflow::Block => wait_for_place(shared, partition).await,
            Overflow::DropOldest | Overflow::Conflate | Overflow::Error => shared.with(|buffer| {
                let is_reserved = buffer.reserve(shared.now(), partition)?;
                if is_reserved { Ok(()) } else { Err(buffer.full(partition)) }
            }),
        };
        reserved.map_err(|refusal| {
            let refusal = refusal.of_key(partition_key);
            shared.reject(&refusal, 1);
            refusal
        })?;
        Ok(Permit { handle: self.clone(), partition, partition_key: partition_key.into(), is_held: true })
    }
}

impl<T: Record> Permit<T> {
    /// Submits the record that the place was held for.
    ///
    /// # Errors
    /// The record, and why it was refused: [`Refusal::Invalid`], [`Refusal::OtherPartition`], [`Refusal::TooLarge`],
    /// [`Refusal::Draining`] or [`Refusal::Closed`]. The place is given back.
    pub fn submit(self, record: T) -> Result<(), SubmitError<T>> {
        self.submit_as(record, None).map(drop)
    }

    /// Submits the record that the place was held for, and returns a receipt that resolves to what becomes of it.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub fn submit_with_receipt(self, record: T) -> Result<Receipt, SubmitError<T>> {
        let shared = Arc::clone(self.handle.shared());
        let (sender, receipt) = Receipt::new(false);
        let accepted = self.submit_as(record, Some(sender))?;
        Ok(receipt.of(shared as _, accepted))
    }

    fn submit_as(mut self, mut record: T, receipt: Option<ReceiptSender>) -> Result<AcceptedAt, SubmitError<T>> {
        if let Err(invalid) = self.handle.shared().validate(&mut record) {
            return Err(self.handle.invalid(record, invalid));
        }
        let shared = self.handle.shared();
        let at = match shared.placement_of(&record) {
            Ok(at) => at,
            Err(refused) => return Err(self.handle.refused(record, refused)),
        };
        if at.load.partition != self.partition {
            let (partition_key, record_key) = (self.partition_key.to_string(), record.partition_key().to_owned());
            return Err(self.handle.refused(record, Refusal::OtherPartition { partition_key, record_key }));
        }
        let now = shared.now();
        self.is_held = false;
        let submitted = shared.with(|buffer| {
            buffer.offer_reserved(now, self.partition, at, record)?;
            receipt.into_iter().for_each(|receipt| Shared::keep(buffer, receipt));
            Ok(AcceptedAt { partition: self.partition, sequence: buffer.last_accepted() })
        });
        submitted.map_err(|(refusal, record)| self.handle.refused(record, refusal))
    }
}

impl<T: Record> Drop for Permit<T> {
    fn drop(&mut self) {
        if self.is_held {
            let shared = self.handle.shared();
            shared.with(|buffer| buffer.give_back(shared.now(), self.partition));
        }
    }
}

impl<T: Record> fmt::Debug for Permit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("partition_key", &self.partition_key).finish_non_exhaustive()
    }
}
