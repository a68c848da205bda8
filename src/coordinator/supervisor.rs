//! The coordinator's actor: it starts queue and workers, watches and replaces them, and owns level and sequence.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, ResponseActFuture, WrapFuture};
use metrics::{Gauge, gauge};

use super::{
    actor_host::ActorHosts,
    announcer::{Announcer, QueueState},
    guards::{CloseOnDrop, DeathGuard, PartGuard},
    health::Health,
    messages::{CatchUp, DeadLetterStatus, Gone, Observe, ObserveQueue, Part, QueueEvents},
    queue::BoundedQueue,
    shared::Shared,
    stop::{StopReason, StopSignal},
    worker::SinkWorker,
};
use crate::{
    dead_letter::DeadLetters,
    feedback::Publisher,
    metrics as names,
    policy::{Cause, CircuitState, Crossing, Overdue, QueueEvent},
    record::Record,
    sink::BoxSink,
};

/// How long a worker that is replaced for the second time in a row waits, so that one that dies at its start does not
/// keep a thread busy.
const REPLACE_AFTER: Duration = Duration::from_millis(100);

/// A worker that dies sooner after its start died in a row with the one before.
const DIES_SOON: Duration = Duration::from_secs(1);

/// So many deaths of workers within such a time open the circuit.
const TOO_MANY_DEATHS: usize = 5;
const DEATHS_WITHIN: Duration = Duration::from_secs(10);

/// Starts a queue and its workers, watches and replaces them, drains and stops them; turns the queue's level changes
/// and other causes into the events that producers see.
///
/// Its messages are [`Observe`] and, for the store alone, the one that drains it.
pub struct WriteCoordinator<T: Record> {
    pub(super) shared: Arc<Shared<T>>,
    sink: BoxSink<T>,
    hosts: ActorHosts,
    signal: StopSignal,
    pub(super) queue: Option<Addr<BoundedQueue<T>>>,
    pub(super) workers: Vec<WorkerSlot<T>>,
    /// When workers died of late, on the coordinator's clock.
    deaths: VecDeque<Duration>,
    pub(super) dead_letters: DeadLetters,
    /// Partitions whose worker has a dead letter that cannot be written.
    unwritable: BTreeSet<usize>,
    pub(super) announcer: Announcer<T>,
    workers_gauge: Gauge,
    /// It is to stop, so its parts may end.
    pub(super) stopping: bool,
    // Last, in this order: first the queue closes, then the store is told.
    _close: CloseOnDrop<T>,
    pub(super) death_guard: DeathGuard,
}

pub(super) struct WorkerSlot<T: Record> {
    /// None while it is being replaced.
    pub(super) address: Option<Addr<SinkWorker<T>>>,
    /// When the worker was last started, on the coordinator's clock.
    started: Duration,
    /// How many died in a row, each soon after its start.
    in_a_row: usize,
}

impl<T: Record> WriteCoordinator<T> {
    pub(super) fn new(
        shared: Arc<Shared<T>>,
        sink: BoxSink<T>,
        dead_letters: DeadLetters,
        hosts: ActorHosts,
        publisher: Option<Publisher>,
        signal: StopSignal,
    ) -> Self {
        let id = Arc::clone(&shared.config.id);
        Self {
            sink,
            hosts,
            queue: None,
            workers: Vec::new(),
            deaths: VecDeque::new(),
            dead_letters,
            unwritable: BTreeSet::new(),
            announcer: Announcer::new(Arc::clone(&shared), publisher),
            workers_gauge: gauge!(names::WORKERS_ALIVE, "coordinator_id" => Arc::clone(&id)),
            stopping: false,
            _close: CloseOnDrop(Arc::clone(&shared)),
            death_guard: DeathGuard::new(signal.clone(), id),
            signal,
            shared,
        }
    }

    fn start_worker(&mut self, partition: usize, context: &Context<Self>) {
        let Some(queue) = self.queue.clone() else { return };
        let shared = Arc::clone(&self.shared);
        let sink = self.sink.clone();
        let dead_letters = self.dead_letters.clone();
        let coordinator = context.address();
        let worker = self.hosts.workers[partition].start(move |_| {
            let guard = PartGuard { to: coordinator.clone().recipient(), part: Part::Worker(partition) };
            SinkWorker::new(&shared, partition, sink, queue.recipient(), dead_letters, coordinator.recipient(), guard)
        });
        self.shared.faults.coordinator.point("a worker was started and is not known");
        self.workers[partition].address = Some(worker);
        self.workers[partition].started = self.shared.now();
        self.show_workers();
    }

    fn show_workers(&self) {
        self.workers_gauge.set(self.workers_alive() as f64);
    }

    fn workers_alive(&self) -> usize {
        self.workers.iter().filter(|slot| slot.address.is_some()).count()
    }

    /// Tells producers that no more records are accepted.
    pub(super) fn raise_draining(&mut self) {
        let at = self.announcer.queue_now();
        self.announcer.raise(Cause::Draining, at);
    }

    fn dead_letters_are(&mut self, DeadLetterStatus { partition, writable }: DeadLetterStatus) {
        if writable {
            self.unwritable.remove(&partition);
        } else {
            self.unwritable.insert(partition);
        }
        let at = self.announcer.queue_now();
        if self.unwritable.is_empty() {
            self.announcer.clear(Cause::DeadLettersUnwritable, at);
        } else {
            self.announcer.raise(Cause::DeadLettersUnwritable, at);
        }
    }

    fn tell_overdue(&self, overdue: &Overdue) {
        let id = &*self.shared.config.id;
        let Some((partition, since)) = overdue.longest else {
            // While the circuit is open the store is away, which was told.
            if self.shared.snapshot().circuit == CircuitState::Closed {
                tracing::warn!(coordinator_id = id, "writes are overdue no more");
            }
            return;
        };
        let seconds = self.shared.now().saturating_sub(since).as_secs_f64();
        let level = overdue.level.as_str();
        tracing::warn!(
            coordinator_id = id,
            partition,
            seconds,
            level,
            "writes are overdue: a partition settles nothing"
        );
    }

    fn queue_died(&mut self) {
        let id = Arc::clone(&self.shared.config.id);
        tracing::error!(coordinator_id = &*id, "the queue died; the coordinator takes no more records");
        self.signal.stop(StopReason::QueueDied { coordinator_id: id });
        self.shared.faults.coordinator.point("the queue is gone and producers do not know");
        self.raise_draining();
    }

    fn worker_died(&mut self, partition: usize, context: &mut Context<Self>) {
        let id = &*self.shared.config.id;
        let now = self.shared.now();
        let slot = &mut self.workers[partition];
        slot.address = None;
        self.shared.faults.coordinator.point("a worker is gone and not replaced");
        let soon = slot.in_a_row > 0 && now.saturating_sub(slot.started) < DIES_SOON;
        slot.in_a_row = if soon { slot.in_a_row + 1 } else { 1 };
        let wait = replace_after(slot.in_a_row, self.shared.config.retry.max_backoff);
        match slot.in_a_row {
            ..=TOO_MANY_DEATHS => {
                tracing::error!(coordinator_id = id, partition, "a worker died and is replaced");
            }
            in_a_row if in_a_row == TOO_MANY_DEATHS + 1 => tracing::error!(
                coordinator_id = id,
                partition,
                "a worker died and is replaced, as often as it dies, but ever later; this is not said again"
            ),
            in_a_row => tracing::debug!(coordinator_id = id, partition, in_a_row, "a worker died again"),
        }
        self.show_workers();
        // It waits for no dead letter any more. If the next one does, that will say so.
        self.dead_letters_are(DeadLetterStatus { partition, writable: true });
        self.deaths.push_back(now);
        while self.deaths.front().is_some_and(|&death| now.saturating_sub(death) > DEATHS_WITHIN) {
            self.deaths.pop_front();
        }
        if self.deaths.len() >= TOO_MANY_DEATHS {
            // Another try at once would end the same way.
            self.deaths.clear();
            self.shared.with(|buffer| buffer.open_circuit(now));
        }
        if wait.is_zero() {
            self.start_worker(partition, context);
        } else {
            context.run_later(wait, move |coordinator, context| coordinator.start_worker(partition, context));
        }
    }
}

impl<T: Record> Actor for WriteCoordinator<T> {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.shared.faults.coordinator.watch(self, context);
        let shared = Arc::clone(&self.shared);
        let coordinator = context.address();
        self.queue = Some(self.hosts.control.start(move |_| {
            let guard = PartGuard { to: coordinator.clone().recipient(), part: Part::Queue };
            BoundedQueue::new(shared, coordinator.recipient(), guard)
        }));
        for partition in 0..self.shared.config.workers.get() {
            self.workers.push(WorkerSlot { address: None, started: Duration::ZERO, in_a_row: 0 });
            self.start_worker(partition, context);
        }
        self.announcer.started();
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.workers_gauge.set(0.0);
    }
}

impl<T: Record> Handler<QueueEvents> for WriteCoordinator<T> {
    type Result = ();

    fn handle(&mut self, QueueEvents { events }: QueueEvents, _: &mut Self::Context) {
        for event in events {
            self.shared.faults.coordinator.point("an event came and is not looked at");
            let id = &*self.shared.config.id;
            match event {
                QueueEvent::Level(Crossing { level, at }) => {
                    let at = self.announcer.queue_at(at);
                    self.announcer.queue_is(level, at);
                }
                QueueEvent::Overdue(overdue) => {
                    self.tell_overdue(&overdue);
                    let at = self.announcer.queue_at(overdue.at);
                    self.announcer.overdue_is(overdue.level, at);
                }
                QueueEvent::CircuitOpened { at, probe_in } => {
                    tracing::error!(
                        coordinator_id = id,
                        probe_in_ms = probe_in.as_millis() as u64,
                        "the store failed too often in a row and is left alone for a while"
                    );
                    let at = QueueState { retry_after: Some(probe_in), ..self.announcer.queue_at(at) };
                    self.announcer.raise(Cause::CircuitOpen, at);
                }
                QueueEvent::CircuitClosed { at } => {
                    tracing::warn!(coordinator_id = id, "the circuit is closed, and batches go to the store again");
                    let at = self.announcer.queue_at(at);
                    self.announcer.clear(Cause::CircuitOpen, at);
                }
            }
        }
    }
}

impl<T: Record> Handler<DeadLetterStatus> for WriteCoordinator<T> {
    type Result = ();

    fn handle(&mut self, status: DeadLetterStatus, _: &mut Self::Context) {
        self.dead_letters_are(status);
    }
}

impl<T: Record> Handler<Gone> for WriteCoordinator<T> {
    type Result = ();

    fn handle(&mut self, gone: Gone, context: &mut Self::Context) {
        match gone.part {
            _ if self.stopping || self.signal.is_ending() => {}
            Part::Queue => self.queue_died(),
            Part::Worker(partition) => self.worker_died(partition, context),
        }
    }
}

impl<T: Record> WriteCoordinator<T> {
    /// Waits until the queue has reported all that happened before: it is in this mailbox before the answer is.
    fn catch_up(&self) -> impl Future<Output = ()> + use<T> {
        let queue = self.queue.clone();
        async move {
            if let Some(queue) = queue {
                let _ = queue.send(ObserveQueue).await;
            }
        }
    }
}

impl<T: Record> Handler<CatchUp> for WriteCoordinator<T> {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, CatchUp: CatchUp, _: &mut Self::Context) -> Self::Result {
        // An actor's future, so that its answer comes behind the events that the queue sent first.
        Box::pin(self.catch_up().into_actor(self))
    }
}

impl<T: Record> Handler<Observe> for WriteCoordinator<T> {
    type Result = ResponseActFuture<Self, Health>;

    fn handle(&mut self, Observe: Observe, _: &mut Self::Context) -> Self::Result {
        let asked = self.catch_up();
        let answer = |(), coordinator: &mut Self, _: &mut Context<Self>| {
            coordinator.shared.faults.coordinator.point("the queue has answered and the coordinator has not");
            coordinator.announcer.health(coordinator.workers_alive())
        };
        Box::pin(asked.into_actor(self).map(answer))
    }
}

/// How long a worker is not replaced, when so many died in a row. What goes on killing them at once is left alone for
/// longer each time: where there is no circuit, or one that is hardly ever open, nothing else keeps it from looping.
fn replace_after(in_a_row: usize, most: Duration) -> Duration {
    if in_a_row < 2 {
        return Duration::ZERO;
    }
    let doublings = in_a_row.saturating_sub(TOO_MANY_DEATHS).min(16) as u32;
    (REPLACE_AFTER * 2_u32.pow(doublings)).min(most.max(REPLACE_AFTER))
}
