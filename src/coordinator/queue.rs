//! The actor of the queue: it hands batches out and keeps the clock.

use std::{sync::Arc, time::Duration};

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Recipient, SpawnHandle};
use metrics::{Counter, Gauge, counter, gauge};

use super::{
    guards::{CloseOnDrop, PartGuard},
    lease::{Lease, Take, Work},
    messages::{ObserveQueue, QueueEvents, Stop, Wake},
    shared::Shared,
};
use crate::{metrics as names, policy::BufferSnapshot, record::Record};

/// How often the metrics are brought up to date while nothing else happens.
const METRICS_INTERVAL: Duration = Duration::from_secs(1);

/// Hands batches to workers, keeps the clock for the buffer, and passes level changes on.
///
/// Its own mailbox bounds nothing: the records are in the shared buffer, and the mailbox holds at most one [`Wake`] and
/// one request of each worker. A worker that has settled a batch takes the next one itself, under the buffer's lock, if
/// one is ready; this actor is needed when the worker has to wait for it.
pub(super) struct BoundedQueue<T: Record> {
    shared: Arc<Shared<T>>,
    workers: Vec<Option<Recipient<Work<T>>>>,
    coordinator: Recipient<QueueEvents>,
    timer: Option<(Duration, SpawnHandle)>,
    metrics: Metrics,
    // Last, so that the coordinator is told of the end once the buffer is closed.
    _close: CloseOnDrop<T>,
    _guard: PartGuard,
}

impl<T: Record> BoundedQueue<T> {
    pub(super) fn new(shared: Arc<Shared<T>>, coordinator: Recipient<QueueEvents>, guard: PartGuard) -> Self {
        Self {
            workers: (0..shared.config.workers.get()).map(|_| None).collect(),
            metrics: Metrics::new(&shared.config.id, shared.config.capacity.get()),
            _close: CloseOnDrop(Arc::clone(&shared)),
            _guard: guard,
            shared,
            coordinator,
            timer: None,
        }
    }

    /// Does everything that is due. Every handler ends with this, for under a flood of messages a timer alone would
    /// never fire.
    fn process_due(&mut self, context: &mut Context<Self>) {
        let now = self.shared.now();
        self.shared.faults.queue.point("it has not looked yet");
        let (leased, events, deadline) = self.shared.with(|buffer| {
            buffer.expire(now);
            let leased = buffer.hand_out(now);
            (leased, buffer.events(), buffer.next_deadline(now))
        });
        // At once: from here on they come back whatever happens to this actor.
        let leases: Vec<_> = leased.into_iter().map(|leased| Lease::new(Arc::clone(&self.shared), leased)).collect();
        if !events.is_empty() {
            self.shared.faults.queue.point("events were taken and are not told");
            self.coordinator.do_send(QueueEvents { events });
        }
        for lease in leases {
            self.shared.faults.queue.point("a lease was taken and is not sent");
            self.send_work(lease);
        }
        self.shared.faults.queue.point("all is handed out, the timer is not set");
        self.set_timer(context, now, deadline);
    }

    fn send_work(&self, lease: Lease<T>) {
        if let Some(worker) = &self.workers[lease.partition()] {
            // If the worker is gone the message is dropped, and with it the lease: that parks it.
            worker.do_send(Work { lease });
        }
    }

    fn set_timer(&mut self, context: &mut Context<Self>, now: Duration, deadline: Option<Duration>) {
        match (self.timer, deadline) {
            (Some((at, _)), Some(deadline)) if at <= deadline => return,
            (Some((_, timer)), Some(_)) => {
                context.cancel_future(timer);
            }
            // A timer that is no longer needed fires once for nothing, which is cheaper than to cancel it each time.
            (_, None) => return,
            (None, Some(_)) => {}
        }
        if let Some(deadline) = deadline {
            let timer = context.run_later(deadline.saturating_sub(now), |queue, context| {
                queue.timer = None;
                queue.process_due(context);
            });
            self.timer = Some((deadline, timer));
        }
    }
}

impl<T: Record> Actor for BoundedQueue<T> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.shared.faults.queue.watch(self, context);
        self.shared.set_queue(actix::Addr::recipient(context.address()));
        context.run_interval(METRICS_INTERVAL, |queue, context| {
            queue.metrics.show(&queue.shared.snapshot());
            queue.shared.tell_dead_letters(false);
            queue.process_due(context);
        });
        self.process_due(context);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.metrics.show(&self.shared.snapshot());
    }
}

impl<T: Record> Handler<Wake> for BoundedQueue<T> {
    type Result = ();

    fn handle(&mut self, Wake: Wake, context: &mut Self::Context) {
        self.process_due(context);
    }
}

impl<T: Record> Handler<Take<T>> for BoundedQueue<T> {
    type Result = ();

    fn handle(&mut self, take: Take<T>, context: &mut Self::Context) {
        self.workers[take.partition] = Some(take.worker);
        let now = self.shared.now();
        self.shared.faults.queue.point("a worker is known and has not asked");
        if let Some(leased) = self.shared.with(|buffer| buffer.ask(take.partition, now)) {
            let lease = Lease::new(Arc::clone(&self.shared), leased);
            self.shared.faults.queue.point("a worker has asked and its lease is not sent");
            self.send_work(lease);
        }
        self.process_due(context);
    }
}

impl<T: Record> Handler<ObserveQueue> for BoundedQueue<T> {
    type Result = actix::MessageResult<ObserveQueue>;

    fn handle(&mut self, ObserveQueue: ObserveQueue, context: &mut Self::Context) -> Self::Result {
        self.process_due(context);
        let snapshot = self.shared.snapshot();
        self.shared.faults.queue.point("it has looked and not answered");
        self.metrics.show(&snapshot);
        actix::MessageResult(snapshot)
    }
}

impl<T: Record> Handler<Stop> for BoundedQueue<T> {
    type Result = ();

    fn handle(&mut self, Stop: Stop, context: &mut Self::Context) {
        context.stop();
    }
}

/// The metrics of the buffer. Its counters are exact, so they are shown as they are and never counted twice.
struct Metrics {
    submitted: Counter,
    stored: Counter,
    dead_lettered: Counter,
    dropped: [Counter; 2],
    rejected: [Counter; 4],
    queue_depth: Gauge,
    in_flight: Gauge,
    circuit: Gauge,
    oldest_age: Gauge,
    writes_overdue: Gauge,
}

impl Metrics {
    fn new(id: &Arc<str>, capacity: usize) -> Self {
        let rejected =
            |reason: &'static str| counter!(names::REJECTED, "coordinator_id" => Arc::clone(id), "reason" => reason);
        let dropped =
            |reason: &'static str| counter!(names::DROPPED, "coordinator_id" => Arc::clone(id), "reason" => reason);
        gauge!(names::QUEUE_CAPACITY, "coordinator_id" => Arc::clone(id)).set(capacity as f64);
        Self {
            submitted: counter!(names::SUBMITTED, "coordinator_id" => Arc::clone(id)),
            stored: counter!(names::STORED, "coordinator_id" => Arc::clone(id)),
            dead_lettered: counter!(names::DEAD_LETTERED, "coordinator_id" => Arc::clone(id)),
            dropped: ["drop_oldest", "conflated"].map(dropped),
            rejected: ["full", "draining", "closed", "invalid"].map(rejected),
            queue_depth: gauge!(names::QUEUE_DEPTH, "coordinator_id" => Arc::clone(id)),
            circuit: gauge!(names::CIRCUIT_STATE, "coordinator_id" => Arc::clone(id)),
            in_flight: gauge!(names::IN_FLIGHT, "coordinator_id" => Arc::clone(id)),
            oldest_age: gauge!(names::OLDEST_AGE, "coordinator_id" => Arc::clone(id)),
            writes_overdue: gauge!(names::WRITES_OVERDUE, "coordinator_id" => Arc::clone(id)),
        }
    }

    fn show(&self, snapshot: &BufferSnapshot) {
        let counters = &snapshot.counters;
        self.submitted.absolute(counters.submitted);
        self.stored.absolute(counters.stored);
        self.dead_lettered.absolute(counters.dead_lettered);
        let dropped = [counters.dropped - counters.conflated, counters.conflated];
        for (counter, value) in self.dropped.iter().zip(dropped) {
            counter.absolute(value);
        }
        let rejected =
            [counters.rejected_full, counters.rejected_draining, counters.rejected_closed, counters.rejected_invalid];
        for (counter, value) in self.rejected.iter().zip(rejected) {
            counter.absolute(value);
        }
        self.queue_depth.set(snapshot.size() as f64);
        self.circuit.set(f64::from(snapshot.circuit.as_number()));
        self.in_flight.set(snapshot.in_flight as f64);
        self.oldest_age.set(snapshot.oldest_age.unwrap_or_default().as_secs_f64());
        self.writes_overdue.set(snapshot.overdue as f64);
    }
}
