use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, Recipient, ResponseActFuture,
    WrapFuture,
};
use metrics::{Gauge, gauge};

use super::{
    actor_host::ActorHost,
    config::CoordinatorConfig,
    handle::WriteHandle,
    health::{CoordinatorReport, Health},
    queue::{BoundedQueue, ObserveQueue},
    shared::{CloseOnDrop, Shared},
    stop::{StopReason, StopSignal},
    worker::{SinkWorker, dead_letter},
};
use crate::{
    dead_letter::DeadLetters,
    feedback::{EventBody, FeedbackEvent, Publisher},
    metrics as names,
    policy::{Cause, Change, Crossing, Level, Pressure, QueueEvent, Reason, time_to_recover},
    record::Record,
    record::timestamp::Timestamp,
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

/// How long a stop waits for a worker to leave its write. One that blocks its thread is left behind.
const STOP_WORKER: Duration = Duration::from_secs(1);

/// Longer than anybody waits, and short enough to be added to a time.
const NO_DEADLINE: Duration = Duration::from_secs(1 << 30);

/// So many records are handed to the dead letters together at the end.
pub(super) const DEAD_LETTERS_AT_ONCE: usize = 10_000;

/// Starts a queue and its workers, watches and replaces them, drains and stops them; turns the queue's level changes
/// and other causes into the events that producers see.
pub struct WriteCoordinator<T: Record> {
    shared: Arc<Shared<T>>,
    sink: BoxSink<T>,
    hosts: ActorHosts,
    publisher: Option<Publisher>,
    signal: StopSignal,
    pub(super) queue: Option<Addr<BoundedQueue<T>>>,
    pub(super) workers: Vec<WorkerSlot<T>>,
    /// When workers died of late, on the coordinator's clock.
    deaths: VecDeque<Duration>,
    dead_letters: DeadLetters,
    /// Partitions whose worker has a dead letter that cannot be written.
    unwritable: BTreeSet<usize>,
    pressure: Pressure,
    epoch: u64,
    seq: u64,
    meters: Metrics,
    /// It is to stop, so its parts may end.
    stopping: bool,
    // Last, in this order: first nobody waits any more, then it is told.
    _close: CloseOnDrop<T>,
    watched: DeathGuard,
}

/// Where the parts of one coordinator run.
#[derive(Clone, Debug)]
pub(crate) struct ActorHosts {
    pub(crate) control: ActorHost,
    /// One for each worker.
    pub(crate) workers: Vec<ActorHost>,
}

/// What an event says of the queue.
#[derive(Clone, Copy)]
struct QueueState {
    size: usize,
    drain_rate: Option<f64>,
    retry_after: Option<Duration>,
}

pub(super) struct WorkerSlot<T: Record> {
    /// None while it is being replaced.
    pub(super) address: Option<Addr<SinkWorker<T>>>,
    /// When the worker was last started, on the coordinator's clock.
    started: Duration,
    /// How many died in a row, each soon after its start.
    in_a_row: usize,
}

/// Brings what happened in the buffer, in order: sent by the queue; nothing is replied.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct QueueEvents {
    pub(super) news: Vec<QueueEvent>,
}

/// Says whether a dead letter that was tried before can be written: sent by a worker; nothing is replied.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct DeadLetterStatus {
    pub(super) partition: usize,
    pub(super) writable: bool,
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
    /// How long settling may take. What is unsettled then becomes dead letters, as far as these can be written.
    pub deadline: Duration,
    /// Whether to refuse new records and raise `draining` at once. If not, producers hear nothing, and what they
    /// submit while the rest is settled is settled too, or refused as draining or closed.
    pub announce: bool,
    /// How long dead letters may take of what is unsettled then.
    pub letters: Duration,
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
struct DeathGuard {
    signal: StopSignal,
    id: Arc<str>,
    asked: bool,
}

impl Drop for DeathGuard {
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
    dead_letters: DeadLetters,
    hosts: ActorHosts,
    publisher: Option<Publisher>,
    signal: StopSignal,
    owner: Arc<dyn std::any::Any + Send + Sync>,
) -> (WriteHandle<T>, Addr<WriteCoordinator<T>>) {
    let shared = Arc::new(Shared::new(config));
    let coordinator = hosts.control.clone().start({
        let shared = Arc::clone(&shared);
        move |_| WriteCoordinator::new(shared, sink, dead_letters, hosts, publisher, signal)
    });
    (WriteHandle::new(shared, coordinator.clone(), owner), coordinator)
}

impl<T: Record> WriteCoordinator<T> {
    fn new(
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
            publisher,
            queue: None,
            workers: Vec::new(),
            deaths: VecDeque::new(),
            dead_letters,
            unwritable: BTreeSet::new(),
            pressure: Pressure::default(),
            epoch: u64::try_from(Timestamp::now().as_micros()).unwrap_or(0),
            seq: 0,
            meters: Metrics::new(&id),
            stopping: false,
            _close: CloseOnDrop(Arc::clone(&shared)),
            watched: DeathGuard { signal: signal.clone(), id, asked: false },
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
            let tell = TellOnDrop { to: coordinator.clone().recipient(), part: Part::Worker(partition) };
            SinkWorker::new(&shared, partition, sink, &queue, dead_letters, coordinator.recipient(), tell)
        });
        self.shared.faults.coordinator.point("a worker was started and is not known");
        self.workers[partition].address = Some(worker);
        self.workers[partition].started = self.shared.now();
        self.show_workers();
    }

    fn show_workers(&self) {
        self.meters.workers_alive.set(self.workers_alive() as f64);
    }

    fn workers_alive(&self) -> usize {
        self.workers.iter().filter(|slot| slot.address.is_some()).count()
    }

    /// Tells producers of a change, if there is one.
    fn announce_if(&mut self, change: Option<Change>, at: QueueState) {
        if let Some(change) = change {
            self.announce(change, at);
        }
    }

    fn announce(&mut self, change: Change, at: QueueState) {
        self.shared.faults.coordinator.point("a level has changed and nobody sees it");
        self.shared.set_level(change.level);
        self.shared.faults.coordinator.point("a level is seen and not told");
        self.meters.level.set(f64::from(change.level.as_number()));
        self.seq += 1;
        tracing::debug!(
            coordinator_id = &*self.shared.config.id,
            level = change.level.as_str(),
            reason = change.reason.as_str(),
            queue_size = at.size,
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
            queue_size: at.size as u64,
            capacity: capacity as u64,
            utilization: at.size as f64 / capacity as f64,
            drain_rate: at.drain_rate,
            retry_after: at.retry_after.filter(|_| recovers),
        }));
    }

    /// Takes no more records, and says so.
    fn raise_draining(&mut self) {
        let change = self.pressure.raise(Cause::Draining);
        self.announce_if(change, self.present());
    }

    fn present(&self) -> QueueState {
        let snapshot = self.shared.snapshot();
        let low = self.shared.config.watermarks.low();
        QueueState {
            size: snapshot.queued,
            drain_rate: snapshot.drain_rate,
            retry_after: time_to_recover(snapshot.queued, low, snapshot.drain_rate),
        }
    }

    fn health(&self) -> Health {
        Health {
            bus_alive: self.publisher.as_ref().is_some_and(Publisher::reaches_its_bus),
            level: self.pressure.level(),
            reason: self.pressure.reason(),
            causes: self.pressure.causes(),
            workers_alive: self.workers_alive(),
            last_error: self.shared.last_error(),
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
        self.queue = Some(self.hosts.control.start(move |_| {
            let tell = TellOnDrop { to: coordinator.clone().recipient(), part: Part::Queue };
            BoundedQueue::new(shared, coordinator.recipient(), tell)
        }));
        for partition in 0..self.shared.config.workers.get() {
            self.workers.push(WorkerSlot { address: None, started: Duration::ZERO, in_a_row: 0 });
            self.start_worker(partition, context);
        }
        // Not a level change: it tells whoever listens that this coordinator begins anew, at ok.
        let started = Change { level: Level::Ok, previous: Level::Ok, reason: Reason::Started };
        self.announce(started, QueueState { size: 0, drain_rate: None, retry_after: None });
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.meters.workers_alive.set(0.0);
    }
}

impl<T: Record> Handler<QueueEvents> for WriteCoordinator<T> {
    type Result = ();

    fn handle(&mut self, happened: QueueEvents, _: &mut Self::Context) {
        for news in happened.news {
            self.shared.faults.coordinator.point("news came and is not looked at");
            let low = self.shared.config.watermarks.low();
            let (change, at) = match news {
                QueueEvent::Level(Crossing { level, size, drain_rate }) => {
                    let retry_after = time_to_recover(size, low, drain_rate);
                    (self.pressure.queue_is(level), QueueState { size, drain_rate, retry_after })
                }
                QueueEvent::CircuitOpened { size, drain_rate, probe_in } => {
                    tracing::error!(
                        coordinator_id = &*self.shared.config.id,
                        probe_in_ms = probe_in.as_millis() as u64,
                        "the store failed too often in a row and is left alone for a while"
                    );
                    (
                        self.pressure.raise(Cause::CircuitOpen),
                        QueueState { size, drain_rate, retry_after: Some(probe_in) },
                    )
                }
                QueueEvent::CircuitClosed { size, drain_rate } => {
                    tracing::warn!(
                        coordinator_id = &*self.shared.config.id,
                        "the circuit is closed, and batches go to the store again"
                    );
                    let retry_after = time_to_recover(size, low, drain_rate);
                    (self.pressure.clear(Cause::CircuitOpen), QueueState { size, drain_rate, retry_after })
                }
            };
            self.announce_if(change, at);
        }
    }
}

impl<T: Record> Handler<DeadLetterStatus> for WriteCoordinator<T> {
    type Result = ();

    fn handle(&mut self, letters: DeadLetterStatus, _: &mut Self::Context) {
        self.letters_are(letters);
    }
}

impl<T: Record> WriteCoordinator<T> {
    fn letters_are(&mut self, DeadLetterStatus { partition, writable }: DeadLetterStatus) {
        if writable {
            self.unwritable.remove(&partition);
        } else {
            self.unwritable.insert(partition);
        }
        let change = if self.unwritable.is_empty() {
            self.pressure.clear(Cause::DeadLettersUnwritable)
        } else {
            self.pressure.raise(Cause::DeadLettersUnwritable)
        };
        self.announce_if(change, self.present());
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
                self.shared.faults.coordinator.point("the queue is gone and producers do not know");
                self.raise_draining();
            }
            Part::Worker(partition) => {
                let now = self.shared.now();
                let slot = &mut self.workers[partition];
                slot.address = None;
                self.shared.faults.coordinator.point("a worker is gone and not replaced");
                let soon = slot.in_a_row > 0 && now.saturating_sub(slot.started) < DIES_SOON;
                slot.in_a_row = if soon { slot.in_a_row + 1 } else { 1 };
                let wait = replace_after(slot.in_a_row, self.shared.config.retry.max_backoff);
                match slot.in_a_row {
                    ..=TOO_MANY_DEATHS => {
                        tracing::error!(coordinator_id = &*id, partition, "a worker died and is replaced");
                    }
                    in_a_row if in_a_row == TOO_MANY_DEATHS + 1 => tracing::error!(
                        coordinator_id = &*id,
                        partition,
                        "a worker died and is replaced, as often as it dies, but ever later; this is not said again"
                    ),
                    in_a_row => tracing::debug!(coordinator_id = &*id, partition, in_a_row, "a worker died again"),
                }
                self.show_workers();
                // It waits for no dead letter any more. If the next one does, that will say so.
                self.letters_are(DeadLetterStatus { partition, writable: true });
                self.deaths.push_back(now);
                while self.deaths.front().is_some_and(|&death| now.saturating_sub(death) > DEATHS_WITHIN) {
                    self.deaths.pop_front();
                }
                if self.deaths.len() >= TOO_MANY_DEATHS {
                    // Whatever kills them, it is not getting better by trying at once again.
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
        let answer = |(), coordinator: &mut Self, _: &mut Context<Self>| {
            coordinator.shared.faults.coordinator.point("the queue has answered and nobody else");
            coordinator.health()
        };
        Box::pin(asked.into_actor(self).map(answer))
    }
}

impl<T: Record> Handler<Drain> for WriteCoordinator<T> {
    type Result = ResponseActFuture<Self, CoordinatorReport>;

    fn handle(&mut self, drain: Drain, _: &mut Self::Context) -> Self::Result {
        if drain.announce {
            self.raise_draining();
            self.shared.faults.coordinator.point("draining was told and records are accepted");
            self.shared.with(|buffer| buffer.drain());
        }
        if !drain.deadline.is_zero() {
            self.shared.expedite();
        }
        let shared = Arc::clone(&self.shared);
        let queue = self.queue.clone();
        let settled = async move {
            let settle = async {
                let _ = shared.flush().await;
                // Unannounced, more was accepted meanwhile. No more is from here on, and what was is settled too.
                shared.with(|buffer| buffer.drain());
                let _ = shared.flush().await;
                // Behind a queue that died a flush ends at once; what workers are writing has its time all the same.
                shared.batches_are_back().await;
            };
            let _ = tokio::time::timeout(drain.deadline, settle).await;
            shared.faults.coordinator.point("all is settled and the queue is open");
            // Receipts stay: what is left may yet become a dead letter.
            shared.with(|buffer| buffer.close());
            if let Some(queue) = queue {
                // So that the last level change is told before the end.
                let _ = queue.send(ObserveQueue).await;
            }
        };
        Box::pin(settled.into_actor(self).then(move |(), coordinator, _| coordinator.stop_parts(drain.letters)))
    }
}

impl<T: Record> WriteCoordinator<T> {
    /// Ends queue and workers, gives up what is left, then ends itself.
    fn stop_parts(&mut self, letters: Duration) -> ResponseActFuture<Self, CoordinatorReport> {
        if std::mem::replace(&mut self.stopping, true) {
            // Somebody gave up waiting for an end and asked for another. The first to come here finishes: to end now
            // would cut it off between two dead letters. Whoever asked is answered by the end of this actor.
            return Box::pin(std::future::pending::<CoordinatorReport>().into_actor(self));
        }
        let workers: Vec<_> = self.workers.iter_mut().filter_map(|slot| slot.address.take()).collect();
        let queue = self.queue.take();
        let shared = Arc::clone(&self.shared);
        let dead_letters = self.dead_letters.clone();
        let stopped = async move {
            let workers = futures_util::future::join_all(workers.iter().map(|worker| worker.send(Stop)));
            shared.faults.coordinator.point("workers are not stopped");
            let _ = tokio::time::timeout(STOP_WORKER, workers).await;
            shared.faults.coordinator.point("workers are stopped, the rest is not given up");
            give_up_rest(&shared, &dead_letters, letters).await;
            shared.faults.coordinator.point("the rest is given up and not reported");
            if let Some(queue) = queue {
                let _ = queue.send(Stop).await;
            }
        };
        Box::pin(stopped.into_actor(self).map(|(), coordinator, context| {
            coordinator.watched.asked = true;
            context.stop();
            CoordinatorReport::of_buffer(&coordinator.shared.config.id, &coordinator.shared.snapshot())
        }))
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

/// Turns everything that is unsettled at the deadline into dead letters, as far as these can be written in so much time. A
/// write that is still under way may succeed all the same: then the record is in both hosts, and a replay writes it once
/// more.
async fn give_up_rest<T: Record>(shared: &Shared<T>, dead_letters: &DeadLetters, letters: Duration) {
    let _one_at_a_time = shared.aborting.lock().await;
    let until = tokio::time::Instant::now() + letters.min(NO_DEADLINE);
    let error = "not stored before the deadline of the shutdown";
    let leased = shared.with(|buffer| buffer.abandon());
    for group in groups(&leased, |leased| leased.range.len()) {
        let in_time = tokio::time::Instant::now() < until;
        let written: Vec<_> = (group.iter().filter(|_| in_time))
            .map(|leased| {
                let batch = leased.records[leased.range.clone()].iter().zip(shared.letters(leased.id));
                // One that is replayed stays the letter that it is.
                let batch: Vec<_> = batch.filter(|(_, is_replay)| !is_replay).map(|(record, _)| record).collect();
                dead_letter(dead_letters, &shared.config, &batch, error, 0)
            })
            .collect();
        let written = futures_util::future::join_all(written.into_iter().map(|written| {
            let in_time = tokio::time::timeout_at(until, written);
            async { in_time.await.unwrap_or_else(|_| Err("it took too long".to_owned())) }
        }));
        let late = std::iter::repeat_with(|| Err("there was no time left".to_owned()));
        for (leased, written) in group.iter().zip(written.await.into_iter().chain(late)) {
            match written {
                Ok(()) => {
                    let now = shared.now();
                    let _records = shared.with(|buffer| buffer.settle_dead_lettered(leased.id, now));
                }
                Err(error) => tracing::error!(
                    coordinator_id = &*shared.config.id,
                    records = leased.range.len(),
                    error,
                    "records that were accepted are neither stored nor dead letters"
                ),
            }
        }
    }
    shared.with(|buffer| buffer.lose_receipts());
}

/// Divides leases into groups that share a sync: small ones so that thousands need few, and few large ones, because
/// all letters of a group are in memory at once and nothing else is done until they are made.
fn groups<L>(leased: &[L], records: impl Fn(&L) -> usize) -> impl Iterator<Item = &[L]> {
    let mut together = leased.first().map_or(0, &records);
    leased.chunk_by(move |_, next| {
        let fits = together + records(next) <= DEAD_LETTERS_AT_ONCE;
        together = if fits { together } else { 0 } + records(next);
        fits
    })
}

/// Gives up what a coordinator that died left behind, for it cannot do so itself. What its workers are writing has until
/// the deadline.
pub(super) async fn settle_orphans<T: Record>(shared: &Shared<T>, dead_letters: &DeadLetters, drain: Drain) {
    shared.close();
    if !drain.deadline.is_zero() {
        shared.expedite();
    }
    let _ = tokio::time::timeout(drain.deadline, shared.batches_are_back()).await;
    give_up_rest(shared, dead_letters, drain.letters).await;
}

struct Metrics {
    level: Gauge,
    workers_alive: Gauge,
}

impl Metrics {
    fn new(id: &Arc<str>) -> Self {
        Self {
            level: gauge!(names::LEVEL, "coordinator_id" => Arc::clone(id)),
            workers_alive: gauge!(names::WORKERS_ALIVE, "coordinator_id" => Arc::clone(id)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when a group counts leases and not records, leaves its first one out, or begins with what the last one had.
    #[test]
    fn letters_of_few_large_batches_or_of_thousands_of_small_ones_go_together() {
        let sizes = |leases: &[usize]| groups(leases, |size| *size).map(<[_]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(&[1; 5_031]), [5_031]);
        assert_eq!(sizes(&[1; 25_000]), [10_000, 10_000, 5_000]);
        assert_eq!(sizes(&[4_000; 5]), [2, 2, 1]);
        assert_eq!(sizes(&[10_000, 1, 9_999, 1, 50_000, 1]), [1, 2, 1, 1, 1]);
        assert!(sizes(&[]).is_empty());
    }
}
