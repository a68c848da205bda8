use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use actix::{Actor, ActorContext, Addr, AsyncContext, Context, Handler, Message, Recipient, WrapFuture};
use futures_util::FutureExt;
use metrics::{Counter, Histogram, counter, histogram};
use tokio::time::Instant;

use super::{
    config::CoordinatorConfig,
    queue::Take,
    shared::Shared,
    supervisor::{DeadLetterStatus, Stop, TellOnDrop},
};
use crate::{
    dead_letter::{DeadLetter, DeadLetters},
    fault::Fault,
    metrics as names,
    policy::{Isolated, LeaseId, Leased, Outcome, Verdict},
    record::Record,
    sink::{Batch, BoxSink, Sink, SinkError, SinkErrorKind},
    text::panicked,
};

/// Writes the batches of one partition, one at a time, in order, each until it is stored, found at fault record by
/// record, or parked because the store is away.
pub struct SinkWorker<T: Record> {
    partition: usize,
    sink: BoxSink<T>,
    queue: Recipient<Take<T>>,
    dead_letters: DeadLetters,
    coordinator: Recipient<DeadLetterStatus>,
    meters: Metrics,
    fault: Fault,
    _tell: TellOnDrop,
}

/// Brings a batch: sent by the queue to a worker that asked; settled by the worker under the buffer's lock.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Work<T: Record> {
    pub(super) lease: Lease<T>,
}

/// The duty to settle a batch. Whoever drops it unsettled, in a mailbox that died or a write that was cut off, gives it
/// back: the batch goes out again, before anything else of its partition.
pub(super) struct Lease<T> {
    shared: Arc<Shared<T>>,
    id: LeaseId,
    partition: usize,
    batch: Batch<T>,
}

impl<T> Lease<T> {
    pub(super) fn new(shared: Arc<Shared<T>>, leased: Leased<T>) -> Self {
        let batch = Batch::from(leased.records).slice(leased.range);
        Self { shared, id: leased.id, partition: leased.partition, batch }
    }

    pub(super) fn partition(&self) -> usize {
        self.partition
    }

    fn point(&self, name: &'static str) {
        self.shared.faults.workers[self.partition].point(name);
    }

    /// Settles the whole batch, and takes the partition's next one if one is ready.
    fn settle(self, outcome: Outcome) -> Option<Self> {
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
        // Here, outside the lock, and not at the end of the scope: a destructor that panics there would leak what is being
        // returned, and a lease that is leaked never comes back. A settled lease cannot be parked any more.
        drop(records);
        drop(self);
        next
    }

    /// Leaves the batch to the buffer, which has it already, and takes what is ready instead.
    fn leave(self) -> Option<Self> {
        let now = self.shared.now();
        let next = self.shared.with(|buffer| buffer.ask(self.partition, now));
        next.map(|next| Self::new(Arc::clone(&self.shared), next))
    }

    /// Narrows a batch that is given up down to its first half; of a single record it returns the attempts.
    fn isolate(&mut self, answered: bool) -> Option<u32> {
        match self.shared.with(|buffer| buffer.isolate(self.id, answered)) {
            Some(Isolated::Half(half)) => {
                self.point("half of a batch is parked and the worker does not know");
                self.batch = Batch::from(half.records).slice(half.range);
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

impl<T: Record> SinkWorker<T> {
    pub(super) fn new(
        shared: &Shared<T>,
        partition: usize,
        sink: BoxSink<T>,
        queue: &Addr<super::BoundedQueue<T>>,
        dead_letters: DeadLetters,
        coordinator: Recipient<DeadLetterStatus>,
        tell: TellOnDrop,
    ) -> Self {
        let meters = Metrics::new(&shared.config.id, partition);
        let fault = shared.faults.workers[partition].clone();
        Self {
            partition,
            sink,
            queue: queue.clone().recipient(),
            dead_letters,
            coordinator,
            meters,
            fault,
            _tell: tell,
        }
    }
}

impl<T: Record> Actor for SinkWorker<T> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.fault.point("it has started and not asked");
        self.queue.do_send(Take { partition: self.partition, worker: context.address().recipient() });
    }
}

impl<T: Record> Handler<Work<T>> for SinkWorker<T> {
    type Result = ();

    fn handle(&mut self, work: Work<T>, context: &mut Self::Context) {
        let desk = BatchWriter {
            sink: self.sink.clone(),
            dead_letters: self.dead_letters.clone(),
            coordinator: self.coordinator.clone(),
            meters: self.meters.clone(),
        };
        self.fault.point("a batch came and is not begun");
        // A future of this actor's: when the worker stops it is dropped, and parks its lease.
        context.spawn(desk.work_off(work.lease).into_actor(self));
    }
}

impl<T: Record> Handler<Stop> for SinkWorker<T> {
    type Result = ();

    fn handle(&mut self, Stop: Stop, context: &mut Self::Context) {
        context.stop();
    }
}

/// What a worker works with.
struct BatchWriter<T: Record> {
    sink: BoxSink<T>,
    dead_letters: DeadLetters,
    coordinator: Recipient<DeadLetterStatus>,
    meters: Metrics,
}

/// How one write ended.
enum Written {
    Stored,
    /// The lease is back with the buffer.
    Parked,
    /// The batch is to be given up. `answered`: the store itself refused it.
    GivenUp {
        error: String,
        answered: bool,
    },
}

/// What a write that failed says of itself.
struct Failure {
    text: String,
    kind: SinkErrorKind,
    is_outage: bool,
    retry_after: Option<Duration>,
}

impl From<SinkError> for Failure {
    /// What an error shows, and how it is dropped, is the sink's code: a panic there is no worse than the error.
    fn from(error: SinkError) -> Self {
        let (kind, is_outage, retry_after) = (error.kind(), error.is_outage(), error.retry_after_hint());
        let text = panicked::catch(|| format!("{error:#}"))
            .unwrap_or_else(|message| format!("an error that cannot be shown: it panicked: {message}"));
        // On its own: a panic while another one unwinds would end the process.
        let _ = panicked::catch(move || drop(error));
        Self { text, kind, is_outage, retry_after }
    }
}

impl<T: Record> BatchWriter<T> {
    /// Works off batch after batch until none is ready.
    async fn work_off(self, mut lease: Lease<T>) {
        loop {
            let next = match self.write(&lease).await {
                Written::Stored => lease.settle(Outcome::Stored),
                Written::Parked => lease.leave(),
                Written::GivenUp { error, answered } => match lease.isolate(answered) {
                    Some(attempts) => {
                        self.dead_letter(&lease, &error, attempts).await;
                        lease.point("a dead letter is written and not settled");
                        lease.settle(Outcome::DeadLettered)
                    }
                    None => Some(lease),
                },
            };
            match next {
                Some(next) => lease = next,
                None => return,
            }
            // A sink that is always ready would otherwise never let this thread do anything else.
            tokio::task::yield_now().await;
        }
    }

    /// Writes a batch again and again until it is stored, given up, or parked because the store is away.
    async fn write(&self, lease: &Lease<T>) -> Written {
        let shared = &lease.shared;
        loop {
            if !shared.with(|buffer| buffer.may_write(lease.id)) {
                return Written::Parked;
            }
            lease.point("a write begins");
            let (began, started) = (shared.now(), Instant::now());
            // In a block of its own, so that a panic on the way to the future is caught like one inside it.
            let written = AssertUnwindSafe(async { self.sink.write(&lease.batch).await }).catch_unwind().await;
            lease.point("a write was answered and nobody knows");
            self.meters.latency.record(started.elapsed().as_secs_f64());
            let failure = match written {
                Ok(Ok(())) => {
                    shared.set_last_error(None);
                    self.meters.written.increment(1);
                    return Written::Stored;
                }
                Ok(Err(error)) => {
                    let failure = Failure::from(error);
                    if failure.kind == SinkErrorKind::Permanent {
                        self.meters.permanent.increment(1);
                        return Written::GivenUp { error: failure.text, answered: true };
                    }
                    self.meters.transient.increment(1);
                    failure
                }
                Err(panic) => {
                    self.meters.panics.increment(1);
                    let error = format!("the sink panicked: {}", panicked::message_of(&*panic));
                    Failure::from(SinkError::transient(error))
                }
            };
            shared.set_last_error(Some(failure.text.clone()));
            let rest = shared.rest();
            let now = shared.now();
            let asked = failure.retry_after;
            let verdict = shared.with(|buffer| match failure.is_outage {
                true => buffer.store_failed(lease.id, began, now, asked),
                false => buffer.write_failed(lease.id, began, now, asked),
            });
            lease.point("a write has failed and only the buffer knows");
            let failures = match verdict {
                Verdict::Retry { failures } => failures,
                Verdict::Parked => return Written::Parked,
                Verdict::GiveUp => {
                    // Of a batch the first half is written next.
                    let wait = asked.filter(|_| lease.batch.len() > 1).unwrap_or_default();
                    rest.wait(wait).await;
                    return Written::GivenUp { error: failure.text, answered: false };
                }
            };
            let wait = shared.config.retry.wait(failures, asked, fastrand::f64());
            tracing::warn!(
                coordinator_id = &*shared.config.id,
                partition = lease.partition,
                records = lease.batch.len(),
                failures,
                retry_in_ms = wait.as_millis() as u64,
                error = failure.text,
                "a batch was not written and is tried again"
            );
            rest.wait(wait).await;
        }
    }

    /// Appends the record of a lease to the dead letters, again and again until it is there: while they cannot be
    /// written nothing may be given up.
    async fn dead_letter(&self, lease: &Lease<T>, error: &str, attempts: u32) {
        let config = &lease.shared.config;
        let record: Vec<_> = lease.batch.iter().collect();
        let mut failures = 0_u32;
        while !lease.shared.refuse_replay(lease.id, error, attempts) {
            let rest = lease.shared.rest();
            match dead_letter(&self.dead_letters, config, &record, error, attempts).await {
                Ok(()) => break,
                Err(unwritable) => {
                    failures = failures.saturating_add(1);
                    let wait = config.retry.wait(failures, None, fastrand::f64());
                    tracing::error!(
                        coordinator_id = &*config.id,
                        partition = lease.partition,
                        retry_in_ms = wait.as_millis() as u64,
                        error = unwritable,
                        "a dead letter cannot be written; its partition waits"
                    );
                    self.coordinator.do_send(DeadLetterStatus { partition: lease.partition, writable: false });
                    rest.wait(wait).await;
                }
            }
        }
        if failures > 0 {
            self.coordinator.do_send(DeadLetterStatus { partition: lease.partition, writable: true });
        }
        tracing::warn!(
            coordinator_id = &*config.id,
            partition = lease.partition,
            attempts,
            error,
            "a record was given up and is a dead letter"
        );
    }
}

/// Appends records to the dead letters. They are handed over before this returns, so that several share a sync.
pub(super) fn dead_letter<T: Record>(
    dead_letters: &DeadLetters,
    config: &CoordinatorConfig,
    records: &[&T],
    error: &str,
    attempts: u32,
) -> impl Future<Output = Result<(), String>> + Send + use<T> {
    let letters: Vec<_> = records.iter().map(|record| DeadLetter::new(*record, error, attempts)).collect();
    for unwritable in letters.iter().filter_map(|letter| letter.unwritable.as_ref()) {
        tracing::error!(
            coordinator_id = &*config.id,
            partition_key = unwritable.partition_key,
            why = unwritable.why,
            "a record cannot be written as JSON; its dead letter says so and holds only the beginning"
        );
    }
    let appended = dead_letters.append(&config.id, T::KIND, &letters);
    async move { appended.await.map_err(|error| error.to_string()) }
}

#[derive(Clone)]
struct Metrics {
    written: Counter,
    transient: Counter,
    permanent: Counter,
    panics: Counter,
    latency: Histogram,
}

impl Metrics {
    fn new(id: &Arc<str>, partition: usize) -> Self {
        let worker = partition.to_string();
        let errors = |error_type: &'static str| {
            counter!(names::WRITE_ERRORS,
                "coordinator_id" => Arc::clone(id), "worker_id" => worker.clone(), "error_type" => error_type)
        };
        Self {
            written: counter!(names::BATCHES_WRITTEN, "coordinator_id" => Arc::clone(id), "worker_id" => worker.clone()),
            transient: errors("transient"),
            permanent: errors("permanent"),
            panics: errors("panic"),
            latency: histogram!(names::WRITE_LATENCY, "coordinator_id" => Arc::clone(id), "worker_id" => worker.clone()),
        }
    }
}
