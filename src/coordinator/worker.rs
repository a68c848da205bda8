//! The actor that writes the batches of one partition.

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Recipient, WrapFuture};

use super::{
    batch_writer::{BatchWriter, Metrics},
    guards::PartGuard,
    lease::{Take, Work},
    messages::{DeadLetterStatus, Stop},
    shared::Shared,
};
use crate::{dead_letter::DeadLetters, fault::Fault, record::Record, sink::BoxSink};

/// Writes the batches of one partition, one at a time, in order, each until it is stored, found at fault record by
/// record, or parked because the store is away.
pub(super) struct SinkWorker<T: Record> {
    partition: usize,
    sink: BoxSink<T>,
    queue: Recipient<Take<T>>,
    dead_letters: DeadLetters,
    coordinator: Recipient<DeadLetterStatus>,
    metrics: Metrics,
    fault: Fault,
    _guard: PartGuard,
}

impl<T: Record> SinkWorker<T> {
    pub(super) fn new(
        shared: &Shared<T>,
        partition: usize,
        sink: BoxSink<T>,
        queue: Recipient<Take<T>>,
        dead_letters: DeadLetters,
        coordinator: Recipient<DeadLetterStatus>,
        guard: PartGuard,
    ) -> Self {
        let metrics = Metrics::new(&shared.config.id, partition);
        let fault = shared.faults.workers[partition].clone();
        Self { partition, sink, queue, dead_letters, coordinator, metrics, fault, _guard: guard }
    }
}

impl<T: Record> Actor for SinkWorker<T> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.fault.point("it has started and not asked");
        self.fault.watch(self, context);
        self.queue.do_send(Take { partition: self.partition, worker: context.address().recipient() });
    }
}

impl<T: Record> Handler<Work<T>> for SinkWorker<T> {
    type Result = ();

    fn handle(&mut self, work: Work<T>, context: &mut Self::Context) {
        let (sink, dead_letters) = (self.sink.clone(), self.dead_letters.clone());
        let writer = BatchWriter::new(sink, dead_letters, self.coordinator.clone(), self.metrics.clone());
        self.fault.point("a batch came and is not begun");
        // A future of this actor's: when the worker stops it is dropped, and parks its lease.
        context.spawn(writer.write_all(work.lease).into_actor(self));
    }
}

impl<T: Record> Handler<Stop> for SinkWorker<T> {
    type Result = ();

    fn handle(&mut self, Stop: Stop, context: &mut Self::Context) {
        context.stop();
    }
}
