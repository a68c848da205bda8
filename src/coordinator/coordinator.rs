use std::{sync::Arc, time::Duration};

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, Recipient, ResponseActFuture,
    WrapFuture,
};
use metrics::{Gauge, gauge};

use super::{
    config::CoordinatorConfig,
    handle::WriteHandle,
    health::{CoordinatorReport, Health},
    place::Place,
    queue::{BoundedQueue, ObserveQueue},
    shared::{CloseOnDrop, Shared},
    stop::{StopReason, StopSignal},
    worker::SinkWorker,
};
use crate::{
    feedback::{EventBody, FeedbackEvent, Publisher},
    metrics as names,
    policy::{
        Cause, Level, Reason,
        buffer::Crossing,
        drain_rate::time_to_recover,
        pressure::{Change, Pressure},
    },
    record::Record,
    sink::BoxSink,
    timestamp::Timestamp,
};

/// How long a worker that is replaced for the second time in a row waits, so that one that dies at its start does not
/// keep a thread busy.
const REPLACE_AFTER: Duration = Duration::from_millis(100);

/// How long a stop waits for a worker to leave its write. One that blocks its thread is left behind.
const STOP_WORKER: Duration = Duration::from_secs(1);

/// Starts a queue and its workers, watches and replaces them, drains and stops them; turns the queue's level changes
/// and other causes into the events that producers see.
pub struct WriteCoordinator<T: Record> {
    shared: Arc<Shared<T>>,
    sink: BoxSink<T>,
    places: Places,
    publisher: Option<Publisher>,
    signal: StopSignal,
    queue: Option<Addr<BoundedQueue<T>>>,
    workers: Vec<WorkerSlot<T>>,
    pressure: Pressure,
    epoch: u64,
    seq: u64,
    meters: Meters,
    /// It is to stop, so its parts may end.
    stopping: bool,
    // Last, in this order: first nobody waits any more, then it is told.
    _close: CloseOnDrop<T>,
    watched: Watched,
}

/// Where the parts of one coordinator run.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) control: Place,
    /// One for each worker.
    pub(crate) workers: Vec<Place>,
}

struct WorkerSlot<T: Record> {
    /// None while it is being replaced.
    address: Option<Addr<SinkWorker<T>>>,
    /// When the worker was last replaced, on the coordinator's clock.
    replaced: Option<Duration>,
}

/// Brings level changes in the order in which they happened: sent by the queue; nothing is replied.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Crossed {
    pub(super) crossings: Vec<Crossing>,
}

/// Says that the sink refused a batch for good: sent by a worker, which then stops working; nothing is replied.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct GaveUp {
    pub(super) partition: usize,
    pub(super) error: crate::sink::SinkError,
}

/// Says that a part is gone, however it went: sent by its [`TellOnDrop`]; nothing is replied.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Gone {
    part: Part,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Queue,
    Worker(usize),
}

/// Ends a part: sent by the coordinator; nothing is replied. A worker leaves its write and gives its lease back.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Stop;

/// Asks how the coordinator is: sent by handles; replies once the queue has reported all that happened before.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Health")]
pub struct Observe;

/// Settles what was accepted, then ends the coordinator: sent by the store; replies what became of the records.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "CoordinatorReport")]
pub struct Drain {
    /// How long settling may take. What is unsettled then stays so.
    pub deadline: Duration,
    /// Whether to refuse new records and raise `draining` at once. If not, producers hear nothing, and what they
    /// submit while the rest is settled is settled too, or refused as draining or closed.
    pub announce: bool,
}

/// Tells the coordinator when the actor that holds it goes.
pub(super) struct TellOnDrop {
    to: Recipient<Gone>,
    part: Part,
}

impl Drop for TellOnDrop {
    fn drop(&mut self) {
        self.to.do_send(Gone { part: self.part });
    }
}

/// Tells the store when the coordinator goes without having been asked to.
struct Watched {
    signal: StopSignal,
    id: Arc<str>,
    asked: bool,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.asked {
            tracing::error!(coordinator_id = &*self.id, "the coordinator died");
            self.signal.stop(StopReason::CoordinatorDied { coordinator_id: Arc::clone(&self.id) });
        }
    }
}

/// Starts a coordinator with its queue and workers. `owner` lives as long as the handle or a clone of it.
pub(crate) fn start<T: Record>(
    config: CoordinatorConfig,
    sink: BoxSink<T>,
    places: Places,
    publisher: Option<Publisher>,
    signal: StopSignal,
    owner: Arc<dyn std::any::Any + Send + Sync>,
) -> (WriteHandle<T>, Addr<WriteCoordinator<T>>) {
    let shared = Arc::new(Shared::new(config));
    let coordinator = places.control.clone().start({
        let shared = Arc::clone(&shared);
        move |_| WriteCoordinator::new(shared, sink, places, publisher, signal)
    });
    (WriteHandle::new(shared, coordinator.clone(), owner), coordinator)
}

impl<T: Record> WriteCoordinator<T> {
    fn new(
        shared: Arc<Shared<T>>,
        sink: BoxSink<T>,
        places: Places,
        publisher: Option<Publisher>,
        signal: StopSignal,
    ) -> Self {
        let id = Arc::clone(&shared.config.id);
        Self {
            sink,
            places,
            publisher,
            queue: None,
            workers: Vec::new(),
            pressure: Pressure::default(),
            epoch: u64::try_from(Timestamp::now().as_micros()).unwrap_or(0),
            seq: 0,
            meters: Meters::new(&id),
            stopping: false,
            _close: CloseOnDrop(Arc::clone(&shared)),
            watched: Watched { signal: signal.clone(), id, asked: false },
            signal,
            shared,
        }
    }

    fn start_worker(&mut self, partition: usize, context: &Context<Self>) {
        let Some(queue) = self.queue.clone() else { return };
        let id = Arc::clone(&self.shared.config.id);
        let sink = self.sink.clone();
        let coordinator = context.address();
        let worker = self.places.workers[partition].start(move |_| {
            let tell = TellOnDrop { to: coordinator.clone().recipient(), part: Part::Worker(partition) };
            SinkWorker::new(&id, partition, sink, &queue, coordinator.recipient(), tell)
        });
        self.workers[partition].address = Some(worker);
        self.show_workers();
    }

    fn show_workers(&self) {
        self.meters.workers_alive.set(self.workers_alive() as f64);
    }

    fn workers_alive(&self) -> usize {
        self.workers.iter().filter(|slot| slot.address.is_some()).count()
    }

    /// Tells producers of a change.
    fn announce(&mut self, change: Change, size: usize, drain_rate: Option<f64>) {
        self.shared.set_level(change.level);
        self.meters.level.set(f64::from(change.level.as_number()));
        self.seq += 1;
        tracing::info!(
            coordinator_id = &*self.shared.config.id,
            level = change.level.as_str(),
            reason = change.reason.as_str(),
            queue_size = size,
            seq = self.seq,
            "level"
        );
        let Some(publisher) = &self.publisher else { return };
        let config = &self.shared.config;
        let capacity = config.capacity.get();
        let recovers = change.level != Level::Ok && change.reason != Reason::Draining;
        publisher.publish(FeedbackEvent::from(EventBody {
            id: FeedbackEvent::id_of(&config.source, &config.id, self.epoch, self.seq),
            source: Arc::clone(&config.source),
            coordinator_id: Arc::clone(&config.id),
            epoch: self.epoch,
            seq: self.seq,
            ts: Timestamp::now(),
            level: change.level,
            previous: change.previous,
            reason: change.reason,
            queue_size: size as u64,
            capacity: capacity as u64,
            utilization: size as f64 / capacity as f64,
            drain_rate,
            retry_after: recovers.then(|| time_to_recover(size, config.watermarks.low(), drain_rate)).flatten(),
        }));
    }

    /// Takes no more records, and says so.
    fn raise_draining(&mut self) {
        if let Some(change) = self.pressure.raise(Cause::Draining) {
            let snapshot = self.shared.snapshot();
            self.announce(change, snapshot.queued, snapshot.drain_rate);
        }
    }

    fn health(&self) -> Health {
        Health {
            level: self.pressure.level(),
            reason: self.pressure.reason(),
            causes: self.pressure.causes(),
            workers_alive: self.workers_alive(),
            epoch: self.epoch,
            seq: self.seq,
            ..Health::of_buffer(&self.shared.config.id, self.shared.snapshot())
        }
    }
}

impl<T: Record> Actor for WriteCoordinator<T> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let shared = Arc::clone(&self.shared);
        let coordinator = context.address();
        self.queue = Some(self.places.control.start(move |_| {
            let tell = TellOnDrop { to: coordinator.clone().recipient(), part: Part::Queue };
            BoundedQueue::new(shared, coordinator.recipient(), tell)
        }));
        for partition in 0..self.shared.config.workers.get() {
            self.workers.push(WorkerSlot { address: None, replaced: None });
            self.start_worker(partition, context);
        }
        // Not a level change: it tells whoever listens that this coordinator begins anew, at ok.
        self.announce(Change { level: Level::Ok, previous: Level::Ok, reason: Reason::Started }, 0, None);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.meters.workers_alive.set(0.0);
    }
}

impl<T: Record> Handler<Crossed> for WriteCoordinator<T> {
    type Result = ();

    fn handle(&mut self, crossed: Crossed, _: &mut Self::Context) {
        for crossing in crossed.crossings {
            if let Some(change) = self.pressure.queue_is(crossing.level) {
                self.announce(change, crossing.size, crossing.drain_rate);
            }
        }
    }
}

impl<T: Record> Handler<GaveUp> for WriteCoordinator<T> {
    type Result = ();

    fn handle(&mut self, gave_up: GaveUp, _: &mut Self::Context) {
        let id = &self.shared.config.id;
        // Nothing may be given up while there is nowhere to put it, so the coordinator stops with what it holds.
        self.shared.close();
        let snapshot = self.shared.snapshot();
        let error = format!("{:#}", gave_up.error);
        tracing::error!(
            coordinator_id = &**id,
            partition = gave_up.partition,
            unsettled = snapshot.queued + snapshot.in_flight,
            %error,
            "the sink refused a batch for good; the coordinator stops, its records stay unsettled"
        );
        self.signal.stop(StopReason::SinkRefused { coordinator_id: Arc::clone(id), error });
        self.raise_draining();
    }
}

impl<T: Record> Handler<Gone> for WriteCoordinator<T> {
    type Result = ();

    fn handle(&mut self, gone: Gone, context: &mut Self::Context) {
        let id = Arc::clone(&self.shared.config.id);
        match gone.part {
            _ if self.stopping => {}
            Part::Queue => {
                tracing::error!(coordinator_id = &*id, "the queue died; the coordinator takes no more records");
                self.signal.stop(StopReason::QueueDied { coordinator_id: id });
                self.raise_draining();
            }
            Part::Worker(partition) => {
                tracing::error!(coordinator_id = &*id, partition, "a worker died and is replaced");
                let now = self.shared.now();
                let slot = &mut self.workers[partition];
                slot.address = None;
                let again = slot.replaced.is_some_and(|before| now.saturating_sub(before) < REPLACE_AFTER * 10);
                slot.replaced = Some(now);
                self.show_workers();
                if again {
                    context.run_later(REPLACE_AFTER, move |coordinator, context| {
                        coordinator.start_worker(partition, context);
                    });
                } else {
                    self.start_worker(partition, context);
                }
            }
        }
    }
}

impl<T: Record> Handler<Observe> for WriteCoordinator<T> {
    type Result = ResponseActFuture<Self, Health>;

    fn handle(&mut self, Observe: Observe, _: &mut Self::Context) -> Self::Result {
        let queue = self.queue.clone();
        let asked = async move {
            if let Some(queue) = queue {
                // Whatever it had to report is in this mailbox before its answer is.
                let _ = queue.send(ObserveQueue).await;
            }
        };
        Box::pin(asked.into_actor(self).map(|(), coordinator, _| coordinator.health()))
    }
}

impl<T: Record> Handler<Drain> for WriteCoordinator<T> {
    type Result = ResponseActFuture<Self, CoordinatorReport>;

    fn handle(&mut self, drain: Drain, _: &mut Self::Context) -> Self::Result {
        if drain.announce {
            self.raise_draining();
            self.shared.with(|buffer| buffer.drain());
        }
        let shared = Arc::clone(&self.shared);
        let queue = self.queue.clone();
        let settled = async move {
            let settle = async {
                let _ = shared.flush().await;
                // Unannounced, more was accepted meanwhile. No more is from here on, and what was is settled too.
                shared.with(|buffer| buffer.drain());
                let _ = shared.flush().await;
            };
            let _ = tokio::time::timeout(drain.deadline, settle).await;
            shared.close();
            if let Some(queue) = queue {
                // So that the last level change is told before the end.
                let _ = queue.send(ObserveQueue).await;
            }
        };
        Box::pin(settled.into_actor(self).then(|(), coordinator, _| coordinator.stop_parts()))
    }
}

impl<T: Record> WriteCoordinator<T> {
    /// Ends queue and workers, then itself.
    fn stop_parts(&mut self) -> ResponseActFuture<Self, CoordinatorReport> {
        self.stopping = true;
        self.watched.asked = true;
        let workers: Vec<_> = self.workers.iter_mut().filter_map(|slot| slot.address.take()).collect();
        let queue = self.queue.take();
        let stopped = async move {
            let workers = futures_util::future::join_all(workers.iter().map(|worker| worker.send(Stop)));
            let _ = tokio::time::timeout(STOP_WORKER, workers).await;
            if let Some(queue) = queue {
                let _ = queue.send(Stop).await;
            }
        };
        Box::pin(stopped.into_actor(self).map(|(), coordinator, context| {
            context.stop();
            CoordinatorReport::of_buffer(&coordinator.shared.config.id, &coordinator.shared.snapshot())
        }))
    }
}

struct Meters {
    level: Gauge,
    workers_alive: Gauge,
}

impl Meters {
    fn new(id: &Arc<str>) -> Self {
        Self {
            level: gauge!(names::LEVEL, "coord_id" => Arc::clone(id)),
            workers_alive: gauge!(names::WORKERS_ALIVE, "coord_id" => Arc::clone(id)),
        }
    }
}
