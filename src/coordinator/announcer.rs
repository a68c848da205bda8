//! From causes to the events that producers see.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use metrics::{Gauge, gauge};

use super::{health::Health, shared::Shared};
use crate::{
    feedback::{CoordinatorKey, EventBody, FeedbackEvent, Publisher},
    metrics as names,
    policy::{BufferSnapshot, Cause, Change, Level, Pressure, QueueAt, Reason, time_to_recover},
    record::{Record, Timestamp},
    text::panicked,
};

/// Keeps a coordinator's level, and publishes each change of it or of its reason, numbered.
pub(super) struct Announcer<T> {
    shared: Arc<Shared<T>>,
    publisher: Option<Publisher>,
    pressure: Pressure,
    key: CoordinatorKey,
    instance: Arc<str>,
    epoch: u64,
    seq: u64,
    gauge: Gauge,
    has_ended: bool,
    /// What was published last.
    last: Option<FeedbackEvent>,
}

/// What an event says of the queue.
#[derive(Clone, Copy)]
pub(super) struct QueueState {
    pub(super) size: usize,
    /// How full it is, of records or of bytes.
    pub(super) utilization: f64,
    /// Records a second; none before something was written.
    pub(super) drain_rate: Option<f64>,
    pub(super) retry_after: Option<Duration>,
}

impl<T> Announcer<T> {
    pub(super) fn new(shared: Arc<Shared<T>>, publisher: Option<Publisher>) -> Self {
        let gauge = gauge!(names::LEVEL, "coordinator_id" => Arc::clone(&shared.config.id));
        let (source, coordinator_id) = (Arc::clone(&shared.config.source), Arc::clone(&shared.config.id));
        let key = CoordinatorKey { source, coordinator_id };
        let now = u64::try_from(Timestamp::now().as_micros()).unwrap_or(0);
        let epoch = publisher.as_ref().map_or(now, |publisher| publisher.give_epoch(&key, now));
        // The keys of a `RandomState` come from the operating system: two processes that start at once differ.
        let instance = format!("{:016x}", RandomState::new().hash_one(now)).into();
        Self {
            shared,
            publisher,
            pressure: Pressure::default(),
            key,
            instance,
            epoch,
            seq: 0,
            gauge,
            has_ended: false,
            last: None,
        }
    }

    /// Publishes the first event: not a level change, it tells that this coordinator begins anew, at ok.
    pub(super) fn started(&mut self) {
        let started = Change { level: Level::Ok, previous: Level::Ok, reason: Reason::Started };
        self.announce(started, QueueState { size: 0, utilization: 0.0, drain_rate: None, retry_after: None });
    }

    /// Takes in the level that the queue size alone demands.
    pub(super) fn queue_is(&mut self, level: Level, at: QueueState) {
        let change = self.pressure.queue_is(level);
        self.announce_if(change, at);
    }

    /// Takes in how far writes are overdue.
    pub(super) fn overdue_is(&mut self, level: Level, at: QueueState) {
        let change = self.pressure.overdue_is(level);
        self.announce_if(change, at);
    }

    /// Takes in a cause that holds the level up from now on.
    pub(super) fn raise(&mut self, cause: Cause, at: QueueState) {
        let change = self.pressure.raise(cause);
        self.announce_if(change, at);
    }

    /// Takes in that a cause holds the level up no longer.
    pub(super) fn clear(&mut self, cause: Cause, at: QueueState) {
        let change = self.pressure.clear(cause);
        self.announce_if(change, at);
    }

    /// Returns the queue as it is now.
    pub(super) fn queue_now(&self) -> QueueState {
        let snapshot = self.shared.snapshot();
        let BufferSnapshot { utilization, excess, drain_rate, .. } = snapshot;
        self.queue_at(QueueAt { size: snapshot.size(), utilization, excess, drain_rate })
    }

    /// Returns the queue at a size, with the time that it needs to recover.
    pub(super) fn queue_at(&self, QueueAt { size, utilization, excess, drain_rate }: QueueAt) -> QueueState {
        let retry_after = time_to_recover(excess, drain_rate);
        QueueState { size, utilization, drain_rate, retry_after }
    }

    fn announce_if(&mut self, change: Option<Change>, at: QueueState) {
        if let Some(change) = change {
            self.announce(change, at);
        }
    }

    fn announce(&mut self, change: Change, at: QueueState) {
        self.shared.faults.coordinator.point("a level has changed and no handle shows it");
        self.shared.set_level(change.level);
        self.shared.faults.coordinator.point("a level is shown and not told");
        self.gauge.set(f64::from(change.level.as_number()));
        tracing::debug!(
            coordinator_id = &*self.shared.config.id,
            level = change.level.as_str(),
            reason = change.reason.as_str(),
            queue_size = at.size,
            seq = self.seq + 1,
            "level"
        );
        self.publish(change, at);
    }

    fn publish(&mut self, change: Change, at: QueueState) {
        self.seq += 1;
        let Some(publisher) = &self.publisher else { return };
        let capacity = self.shared.config.capacity.get();
        let recovers = change.level != Level::Ok && change.reason != Reason::Draining;
        let CoordinatorKey { source, coordinator_id } = &self.key;
        let event = FeedbackEvent::from(EventBody {
            id: FeedbackEvent::id_of(source, coordinator_id, Some(&self.instance), self.epoch, self.seq),
            source: Arc::clone(source),
            coordinator_id: Arc::clone(coordinator_id),
            instance: Some(Arc::clone(&self.instance)),
            epoch: self.epoch,
            seq: self.seq,
            ts: Timestamp::now(),
            level: change.level,
            previous: change.previous,
            reason: change.reason,
            queue_size: at.size as u64,
            capacity: capacity as u64,
            utilization: at.utilization,
            drain_rate: at.drain_rate,
            retry_after: at.retry_after.filter(|_| recovers),
            refresh: None,
        });
        self.last = Some(event.clone());
        publisher.publish(event);
    }

    /// Takes in that the coordinator ends as it was asked to: what it published last stays, and nothing follows.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
        if let (Some(publisher), Some(last)) = (&self.publisher, self.last.take()) {
            publisher.end_with(last);
        }
    }
}

/// A coordinator that dies, or whose store is dropped, takes no more records: that is told, or producers would go by a
/// level that none keeps any more.
impl<T> Drop for Announcer<T> {
    fn drop(&mut self) {
        if !self.has_ended && self.seq > 0 && self.pressure.reason() != Reason::Draining {
            let draining = Change { level: Level::Hard, previous: self.pressure.level(), reason: Reason::Draining };
            // After a panic the queue may be in any state.
            let unknown = QueueState { size: 0, utilization: 0.0, drain_rate: None, retry_after: None };
            let at = panicked::catch(|| self.queue_now()).unwrap_or(unknown);
            self.publish(draining, at);
        }
    }
}

impl<T: Record> Announcer<T> {
    /// Returns how the coordinator is.
    pub(super) fn health(&self, workers_alive: usize) -> Health {
        Health {
            bus_alive: self.publisher.as_ref().is_some_and(Publisher::reaches_its_bus),
            feedback: self.publisher.as_ref().map(|bus| bus.counts_of(&self.key)).unwrap_or_default(),
            level: self.pressure.level(),
            reason: self.pressure.reason(),
            causes: self.pressure.causes(),
            workers_alive,
            epoch: self.epoch,
            seq: self.seq,
            ..self.shared.health()
        }
    }
}
