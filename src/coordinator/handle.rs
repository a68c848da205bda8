//! How records get in: the handle that producers hold.

use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use actix::Addr;

use super::{
    health::{CoordinatorReport, Health},
    messages::{CatchUp, Observe},
    receipt::{AcceptedAt, Receipt, ReceiptSender, Receipts},
    refusal::{SubmitError, SubmitManyError},
    shared::{Buffer, Shared},
    supervisor::WriteCoordinator,
    waiting::wait_and_accept,
};
use crate::{
    policy::{CircuitState, Level, Overflow, Refusal, time_to_recover},
    record::{Invalid, Record},
};

/// The most records that are accepted under one lock and one observation of the watermark.
const CHUNK: usize = 1024;

/// Hands records to one coordinator. Cheap to clone, usable from any thread; its futures run on any executor.
///
/// A record is *accepted* once it holds one of the queue's credits; from then on the coordinator answers for it. Before
/// that it belongs to the caller: every refusal hands it back. What happens when no credit is free is the coordinator's
/// [`Overflow`] strategy.
///
/// Dropping one of the futures loses no accepted record and no credit; what it does to records that were not accepted
/// yet is said at each method.
pub struct WriteHandle<T: Record> {
    shared: Arc<Shared<T>>,
    coordinator: Addr<WriteCoordinator<T>>,
}

impl<T: Record> Clone for WriteHandle<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), coordinator: self.coordinator.clone() }
    }
}

impl<T: Record> fmt::Debug for WriteHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteHandle").field("id", &self.id()).finish_non_exhaustive()
    }
}

impl<T: Record> WriteHandle<T> {
    pub(super) fn new(shared: Arc<Shared<T>>, coordinator: Addr<WriteCoordinator<T>>) -> Self {
        Self { shared, coordinator }
    }

    /// Returns the coordinator's id.
    pub fn id(&self) -> &str {
        &self.shared.config.id
    }

    /// Returns the present level, without waiting.
    pub fn level(&self) -> Level {
        self.shared.level()
    }

    /// Returns when it is worth trying again after [`Refusal::Full`] or [`Refusal::CircuitOpen`]: the time in which the
    /// queue should fall to its low watermark at the present drain rate, or while the circuit is open the time to the
    /// next probe. Zero when the queue is low already; none when the drain rate is zero or unknown, or a probe is out.
    ///
    /// An estimate: of a store that hangs it grows long, and one that goes on may be ready sooner. A feed that sleeps
    /// so long should wake up at [`Level::Ok`] too.
    pub fn retry_after(&self) -> Option<Duration> {
        let snapshot = self.shared.snapshot();
        if snapshot.circuit != CircuitState::Closed {
            return snapshot.probe_in;
        }
        if snapshot.excess == 0 {
            return Some(Duration::ZERO);
        }
        time_to_recover(snapshot.excess, snapshot.drain_rate)
    }

    /// Returns for how long records have waited and none of any was settled.
    #[cfg(feature = "serve")]
    pub(crate) fn nothing_settled_for(&self) -> Duration {
        let snapshot = self.shared.snapshot();
        snapshot.oldest_age.map_or(Duration::ZERO, |age| age.min(snapshot.since_settled))
    }

    /// Returns whether the store is left alone for a while, or tried.
    #[cfg(feature = "serve")]
    pub(crate) fn is_store_away(&self) -> bool {
        self.shared.snapshot().circuit != CircuitState::Closed
    }

    /// Submits a record if it can be accepted at once.
    ///
    /// # Errors
    /// [`Refusal::Full`] or [`Refusal::PartitionFull`] when no credit is free, with [`Overflow::DropOldest`] and
    /// [`Overflow::Conflate`] only where nothing can be evicted, or [`Refusal::CircuitOpen`] while the store is left alone; else as
    /// [`submit`](Self::submit).
    pub fn try_submit(&self, mut record: T) -> Result<(), SubmitError<T>> {
        if let Err(invalid) = self.shared.validate(&mut record) {
            return Err(self.invalid(record, invalid));
        }
        let at = match self.shared.placement_of(&record) {
            Ok(at) => at,
            Err(refused) => return Err(self.refused(record, refused)),
        };
        let now = self.shared.now();
        self.shared
            .with(|buffer| buffer.offer(now, at, record))
            .map_err(|(refused, record)| self.refused(record, refused))
    }

    /// Submits a record; with [`Overflow::Block`] it waits in line for a credit.
    ///
    /// Credits are granted in the order of waiting, and a record is in the queue when its future is ready. So the order
    /// of records is that in which their submits end: await one before you begin the next where their order matters, or
    /// use [`submit_many`](Self::submit_many). Futures that are polled together (`join_all`) can end in any order.
    ///
    /// A future that is dropped before it is ready has not submitted the record, and drops it.
    ///
    /// # Errors
    /// [`Refusal::Invalid`], [`Refusal::TooLarge`], [`Refusal::Draining`], [`Refusal::Closed`]; with
    /// [`Overflow::Error`] also [`Refusal::Full`], [`Refusal::PartitionFull`], or [`Refusal::CircuitOpen`] while the
    /// store is left alone.
    pub async fn submit(&self, record: T) -> Result<(), SubmitError<T>> {
        self.submit_until(record, None, None).await.map(drop)
    }

    /// Submits a record; with [`Overflow::Block`] it waits in line for a credit, `wait` at the longest.
    ///
    /// The queue's actor keeps the clock, so this needs no timer of the caller's runtime. A future that is dropped
    /// before it is ready has not submitted the record, and drops it.
    ///
    /// # Errors
    /// [`Refusal::Full`], [`Refusal::PartitionFull`] or [`Refusal::CircuitOpen`] when the time is up, else as
    /// [`submit`](Self::submit).
    pub async fn submit_timeout(&self, record: T, wait: Duration) -> Result<(), SubmitError<T>> {
        self.submit_until(record, Some(wait), None).await.map(drop)
    }

    /// Submits a record as [`submit`](Self::submit) does, and returns a receipt once it is accepted. The receipt
    /// resolves to what becomes of the record: stored with the sink's full durability, dead-lettered, or dropped.
    ///
    /// While the receipt is awaited its record does not wait for its batch to fill: the batch goes out as it is once the
    /// worker of its partition is idle, and all that comes meanwhile goes together after it. So one record at a time
    /// costs little more than a commit of the store, and many at a time share their commits. A receipt that is not
    /// awaited changes nothing: its batch fills, or goes out after
    /// [`flush_interval`](crate::CoordinatorSettings::flush_interval).
    ///
    /// A future that is dropped before it is ready has not submitted the record, and drops it.
    ///
    /// ```
    /// use market_data_store::{
    ///     Bar, Batch, Coordinator, MarketDataStore, Outcome, Settings, Sink, SinkError, Timeframe,
    /// };
    ///
    /// /// Refuses one symbol for good, as a store with a constraint does.
    /// struct Picky;
    ///
    /// impl Sink<Bar> for Picky {
    ///     async fn write(&self, batch: &Batch<Bar>) -> Result<(), SinkError> {
    ///         match batch.iter().any(|bar| bar.symbol == "BAD") {
    ///             true => Err(SinkError::permanent("BAD is not wanted")),
    ///             false => Ok(()),
    ///         }
    ///     }
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let dir = tempfile::tempdir()?;
    /// # let mut settings = Settings::default();
    /// # settings.dlq_path = dir.path().join("dead_letters");
    /// let store = MarketDataStore::builder(settings).coordinator(Coordinator::new(Picky)).spawn()?;
    /// let bars = store.coordinator::<Bar>()?;
    /// let bar = |symbol| Bar::new(symbol, Timeframe::MINUTE, "2024-01-02T14:30:00Z".parse().unwrap());
    ///
    /// let good = bars.submit_with_receipt(bar("ES").ohlc(1.0, 2.0, 0.5, 1.5)).await?; // accepted, not yet written
    /// let bad = bars.submit_with_receipt(bar("BAD").ohlc(1.0, 2.0, 0.5, 1.5)).await?;
    /// assert_eq!(good.await?, Outcome::Stored);
    /// assert_eq!(bad.await?, Outcome::DeadLettered); // `mds dlq list` shows it, with the reason
    /// # assert_eq!(market_data_store::dead_letter::list(&dir.path().join("dead_letters"))?.count(), 1);
    /// # store.shutdown(store.shutdown_timeout()).await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub async fn submit_with_receipt(&self, record: T) -> Result<Receipt, SubmitError<T>> {
        self.submit_as(record, false).await
    }

    /// Submits as [`submit_with_receipt`](Self::submit_with_receipt) a record that is a dead letter already, or is not.
    pub(super) async fn submit_as(&self, record: T, is_replay: bool) -> Result<Receipt, SubmitError<T>> {
        let (sender, receipt) = Receipt::new(is_replay);
        let accepted = self.submit_until(record, None, Some(sender)).await?;
        Ok(receipt.of(Arc::clone(&self.shared) as _, accepted))
    }

    /// Returns where the record is.
    async fn submit_until(
        &self,
        mut record: T,
        wait: Option<Duration>,
        mut receipt: Option<ReceiptSender>,
    ) -> Result<AcceptedAt, SubmitError<T>> {
        if let Err(invalid) = self.shared.validate(&mut record) {
            return Err(self.invalid(record, invalid));
        }
        let at = match self.shared.placement_of(&record) {
            Ok(at) => at,
            Err(refused) => return Err(self.refused(record, refused)),
        };
        let (now, load) = (self.shared.now(), at.load);
        let offered = self.shared.with(|buffer| {
            buffer.offer(now, at, record)?;
            if let Some(receipt) = receipt.take() {
                Shared::keep(buffer, receipt);
            }
            Ok(buffer.last_accepted())
        });
        let partition = load.partition;
        let record = match offered {
            Ok(sequence) => return Ok(AcceptedAt { partition, sequence }),
            Err((Refusal::Full | Refusal::PartitionFull { .. } | Refusal::CircuitOpen, record))
                if self.shared.config.overflow == Overflow::Block || receipt.as_ref().is_some_and(|r| r.is_replay) =>
            {
                record
            }
            Err((refused, record)) => return Err(self.refused(record, refused)),
        };
        let deadline = wait.map(|wait| now.saturating_add(wait));
        let key = self.shared.key_of(&record);
        let mut records = VecDeque::from([record]);
        let mut sequence = 0;
        let keep = |buffer: &mut Buffer<T>, _| {
            receipt.take().into_iter().for_each(|receipt| Shared::keep(buffer, receipt));
            sequence = buffer.last_accepted();
        };
        let placed = wait_and_accept(&self.shared, &mut records, &[load], key.as_slice(), deadline, keep).await;
        match (placed, records.pop_front()) {
            (Err(refused), Some(record)) => Err(self.refused(record, refused)),
            _ => Ok(AcceptedAt { partition, sequence }),
        }
    }

    /// Submits many records, in order, a chunk of up to 1,024 at a time: much cheaper than one by one. Each chunk makes
    /// one observation of the watermark. With [`Overflow::Block`] it waits in line for credits as often as it takes.
    ///
    /// Returns how many were accepted: all of them. A future that is dropped has submitted a prefix of the records and
    /// drops the others; where that matters use [`submit_from`](Self::submit_from).
    ///
    /// # Errors
    /// The first refusal, how many were accepted before it, and all the others in order: those behind a refused record
    /// are not tried. With [`Overflow::Error`] the prefix that fits is accepted.
    pub async fn submit_many(&self, records: impl IntoIterator<Item = T>) -> Result<usize, SubmitManyError<T>> {
        let mut source = records.into_iter();
        let mut accepted = 0;
        let mut staged = VecDeque::with_capacity(source.size_hint().0.min(self.chunk()));
        loop {
            staged.extend(source.by_ref().take(self.chunk() - staged.len()));
            if staged.is_empty() {
                return Ok(accepted);
            }
            let staged_before = staged.len();
            let result = self.submit_chunk(&mut staged, None).await;
            accepted += staged_before - staged.len();
            if let Err(refusal) = result {
                staged.extend(source);
                let retry_after = self.shared.reject(&refusal, staged.len());
                let config = &self.shared.config;
                return Err(SubmitManyError {
                    accepted,
                    rest: staged.into(),
                    coordinator_id: Arc::clone(&config.id),
                    capacity: config.capacity.get(),
                    refusal,
                    retry_after,
                });
            }
        }
    }

    /// Submits the records of `buffer` from its front, as [`submit_many`](Self::submit_many) does. What is accepted
    /// leaves the buffer and what is not stays in it, whether this ends, fails or is dropped: nothing is lost.
    ///
    /// # Errors
    /// The first refusal; the record that was refused is then at the front of `buffer`. When a full queue is worth
    /// trying again says [`retry_after`](Self::retry_after).
    pub async fn submit_from(&self, buffer: &mut VecDeque<T>) -> Result<(), Refusal> {
        self.submit_all(buffer, None).await
    }

    /// Submits as [`submit_from`](Self::submit_from) does, and adds a receipt of each record that is accepted to
    /// `receipts`, whether this ends, fails or is dropped.
    #[cfg(feature = "serve")]
    pub(crate) async fn submit_from_with_receipts(
        &self,
        buffer: &mut VecDeque<T>,
        receipts: &mut Vec<Receipt>,
    ) -> Result<(), Refusal> {
        self.submit_all(buffer, Some(receipts)).await
    }

    async fn submit_all(
        &self,
        buffer: &mut VecDeque<T>,
        mut receipts: Option<&mut Vec<Receipt>>,
    ) -> Result<(), Refusal> {
        while !buffer.is_empty() {
            if let Err(refusal) = self.submit_chunk(buffer, receipts.as_deref_mut()).await {
                self.shared.reject(&refusal, 1);
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// Waits until everything that was accepted before the call is settled: stored, dead-lettered, or dropped. Short
    /// batches are written at once. While the store is away it waits.
    ///
    /// When it returns, every level change up to then is published: [`Feedback::idle`](crate::Feedback::idle) after it
    /// waits until all subscribers have handled them.
    ///
    /// # Errors
    /// [`Refusal::Closed`] when the coordinator came to its end first.
    pub async fn flush(&self) -> Result<(), Refusal> {
        let settled = self.shared.flush().await;
        // The coordinator answers once it has published what the queue had to tell; one that is gone has done so.
        let _ = self.coordinator.send(CatchUp).await;
        settled
    }

    /// Returns how the coordinator is. Everything that happened before the call is in it: queue and coordinator have
    /// handled what reached them earlier.
    pub async fn health(&self) -> Health {
        match self.coordinator.send(Observe).await {
            Ok(health) => health,
            // Of a coordinator that is gone the buffer still knows.
            Err(_) => self.shared.health().without_coordinator(),
        }
    }

    /// Returns what became of the accepted records so far, without asking the coordinator, which may hang or have
    /// ended.
    pub fn report(&self) -> CoordinatorReport {
        CoordinatorReport::of_buffer(&self.shared.config.id, &self.shared.snapshot())
    }

    /// Returns the address of the coordinator's actor, for actors that talk to actors: it answers [`Observe`].
    pub fn addr(&self) -> Addr<WriteCoordinator<T>> {
        self.coordinator.clone()
    }

    /// Returns the points at which a test can make an actor of this coordinator panic.
    ///
    /// # Panics
    /// When there is no worker of that number.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    pub fn fault(&self, actor: super::fault::FaultyActor) -> crate::fault::Fault {
        self.shared.faults.of(actor).clone()
    }

    fn chunk(&self) -> usize {
        CHUNK.min(self.shared.config.capacity.get())
    }

    pub(super) fn shared(&self) -> &Arc<Shared<T>> {
        &self.shared
    }

    /// Submits up to one chunk from the front of `records`: all of it, unless it is refused. Of each that is accepted a
    /// receipt is added to `receipts`.
    async fn submit_chunk(
        &self,
        records: &mut VecDeque<T>,
        mut receipts: Option<&mut Vec<Receipt>>,
    ) -> Result<(), Refusal> {
        let chunk = match self.shared.config.overflow {
            // Each may take the place of another, and so has its receipt alone.
            Overflow::Conflate if receipts.is_some() => 1,
            _ => self.chunk().min(records.len()),
        };
        let is_weighed = self.shared.config.capacity_bytes.is_some();
        let mut loads = Vec::with_capacity(chunk);
        let mut keys = Vec::new();
        let mut refused = None;
        for record in records.iter_mut().take(chunk) {
            if let Err(invalid) = self.shared.validate(record) {
                refused = Some(Refusal::Invalid(invalid));
                break;
            }
            keys.extend(self.shared.key_of(record));
            if !is_weighed {
                loads.push(self.shared.partition_of(record.partition_key()).into());
                continue;
            }
            match self.shared.load_of(record) {
                Ok(load) => loads.push(load),
                Err(refusal) => {
                    refused = Some(refusal);
                    break;
                }
            }
        }
        let mut slots = receipts.as_ref().map(|_| Receipts::new(loads.len()));
        let mut keep = |buffer: &mut Buffer<T>, accepted: usize| {
            if let (Some(receipts), Some(slots)) = (&mut receipts, &mut slots) {
                let (senders, new) = slots.take(accepted);
                buffer.keep_receipts(senders);
                receipts.extend(new);
            }
        };
        let mut placed = 0;
        while placed < loads.len() {
            let now = self.shared.now();
            let taken = self.shared.with(|buffer| {
                let keys = keys.get(placed..).unwrap_or_default();
                buffer.offer_many(now, records, &loads[placed..], keys).inspect(|taken| keep(buffer, *taken))
            })?;
            placed += taken;
            if placed < loads.len() && taken == 0 {
                if self.shared.config.overflow != Overflow::Block {
                    let full = self.shared.with(|buffer| buffer.full(loads[placed]));
                    let key = records.front().map(Record::partition_key).unwrap_or_default();
                    return Err(full.of_key(key));
                }
                placed += wait_and_accept(&self.shared, records, &loads[placed..], &[], None, &mut keep).await?;
            }
        }
        refused.map_or(Ok(()), Err)
    }

    pub(super) fn invalid(&self, record: T, invalid: Invalid) -> SubmitError<T> {
        self.refused(record, Refusal::Invalid(invalid))
    }

    pub(super) fn refused(&self, record: T, refusal: Refusal) -> SubmitError<T> {
        let retry_after = self.shared.reject(&refusal, 1);
        let refusal = refusal.of_key(record.partition_key());
        SubmitError::new(record, &self.shared.config, refusal, retry_after)
    }
}
