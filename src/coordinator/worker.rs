use std::{any::Any, panic::AssertUnwindSafe, sync::Arc};

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, Recipient, WrapFuture,
};
use futures_util::FutureExt;
use metrics::{Counter, Histogram, counter, histogram};
use tokio::time::Instant;

use super::{
    coordinator::{GaveUp, Stop, TellOnDrop},
    queue::Take,
    shared::Shared,
};
use crate::{
    metrics as names,
    policy::buffer::{LeaseId, Leased},
    record::Record,
    sink::{Batch, BoxSink, Sink, SinkError, SinkErrorKind},
};

/// Writes the batches of one partition, one at a time, in order, each until it is stored.
pub struct SinkWorker<T: Record> {
    partition: usize,
    sink: BoxSink<T>,
    queue: Recipient<Take<T>>,
    coordinator: Recipient<GaveUp>,
    meters: Meters,
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
        Self { shared, id: leased.id, partition: leased.partition, batch: Batch::from(leased.records) }
    }

    /// Settles the whole batch as stored, and takes the partition's next one if one is ready.
    fn stored(self) -> Option<Self> {
        let now = self.shared.now();
        let (_records, next) = self.shared.with(|buffer| {
            let records = buffer.settle_stored(self.id, now);
            (records, buffer.ask(self.partition, now))
        });
        // The records are dropped here and with `self`, outside the lock. A settled lease cannot be parked any more.
        next.map(|next| Self::new(Arc::clone(&self.shared), next))
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        self.shared.park(self.id);
    }
}

impl<T: Record> SinkWorker<T> {
    pub(super) fn new(
        coordinator_id: &Arc<str>,
        partition: usize,
        sink: BoxSink<T>,
        queue: &Addr<super::BoundedQueue<T>>,
        coordinator: Recipient<GaveUp>,
        tell: TellOnDrop,
    ) -> Self {
        let meters = Meters::new(coordinator_id, partition);
        Self { partition, sink, queue: queue.clone().recipient(), coordinator, meters, _tell: tell }
    }
}

impl<T: Record> Actor for SinkWorker<T> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.queue.do_send(Take { partition: self.partition, worker: context.address().recipient() });
    }
}

impl<T: Record> Handler<Work<T>> for SinkWorker<T> {
    type Result = ();

    fn handle(&mut self, work: Work<T>, context: &mut Self::Context) {
        let work = work_off(work.lease, self.sink.clone(), self.meters.clone());
        // A future of this actor's: when the worker stops it is dropped, and parks its lease.
        context.spawn(work.into_actor(self).map(|worked, worker, _| {
            if let Err(error) = worked {
                worker.coordinator.do_send(GaveUp { partition: worker.partition, error });
            }
        }));
    }
}

impl<T: Record> Handler<Stop> for SinkWorker<T> {
    type Result = ();

    fn handle(&mut self, Stop: Stop, context: &mut Self::Context) {
        context.stop();
    }
}

/// Writes batch after batch until none is ready, or the store refuses one for good.
async fn work_off<T: Record>(mut lease: Lease<T>, sink: BoxSink<T>, meters: Meters) -> Result<(), SinkError> {
    loop {
        write_until_stored(&lease, &sink, &meters).await?;
        match lease.stored() {
            Some(next) => lease = next,
            None => return Ok(()),
        }
        // A sink that is always ready would otherwise never let this thread do anything else.
        tokio::task::yield_now().await;
    }
}

/// Writes a batch again and again until it is stored or the store refuses it for good.
async fn write_until_stored<T: Record>(lease: &Lease<T>, sink: &BoxSink<T>, meters: &Meters) -> Result<(), SinkError> {
    let mut failures = 0_u32;
    loop {
        let started = Instant::now();
        // In a block of its own, so that a panic on the way to the future is caught like one inside it.
        let written = AssertUnwindSafe(async { sink.write(&lease.batch).await }).catch_unwind().await;
        meters.latency.record(started.elapsed().as_secs_f64());
        let (error, what) = match written {
            Ok(Ok(())) => {
                meters.written.increment(1);
                return Ok(());
            }
            Ok(Err(error)) => {
                let what = error.kind().as_str();
                (error, what)
            }
            Err(panic) => (SinkError::transient(format!("the sink panicked: {}", message_of(&*panic))), "panic"),
        };
        match what {
            "panic" => meters.panics.increment(1),
            _ if error.kind() == SinkErrorKind::Permanent => meters.permanent.increment(1),
            _ => meters.transient.increment(1),
        }
        if error.kind() == SinkErrorKind::Permanent {
            return Err(error);
        }
        failures = failures.saturating_add(1);
        let wait = lease.shared.config.retry.wait(failures, error.retry_after_hint(), fastrand::f64());
        tracing::warn!(
            coordinator_id = &*lease.shared.config.id,
            partition = lease.partition,
            records = lease.batch.len(),
            failures,
            retry_in_ms = wait.as_millis() as u64,
            error = format_args!("{error:#}"),
            "a batch was not written and is tried again"
        );
        tokio::time::sleep(wait).await;
    }
}

/// Returns the message of a panic, as far as it has one.
fn message_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[derive(Clone)]
struct Meters {
    written: Counter,
    transient: Counter,
    permanent: Counter,
    panics: Counter,
    latency: Histogram,
}

impl Meters {
    fn new(id: &Arc<str>, partition: usize) -> Self {
        let worker = partition.to_string();
        let errors = |error_type: &'static str| {
            counter!(names::WRITE_ERRORS,
                "coord_id" => Arc::clone(id), "worker_id" => worker.clone(), "error_type" => error_type)
        };
        Self {
            written: counter!(names::BATCHES_WRITTEN, "coord_id" => Arc::clone(id), "worker_id" => worker.clone()),
            transient: errors("transient"),
            permanent: errors("permanent"),
            panics: errors("panic"),
            latency: histogram!(names::WRITE_LATENCY, "coord_id" => Arc::clone(id), "worker_id" => worker.clone()),
        }
    }
}
