use std::{sync::Arc, time::Duration};

use super::event::{self, EventBody, FeedbackEvent};
use crate::{
    policy::{Level, Reason},
    record::Timestamp,
};

/// Makes the events of one coordinator by hand, as a real one would publish them: `seq` counts from 1, `previous` is
/// the level of the event before, the level is one that the reason can have, and the figures fit both.
///
/// For tests of subscribers, and of all else that is told of levels. The coordinator is made up: its queue takes 100
/// records, is soft above 50 and hard from 80, and drains 10 records a second; each event is a second after the one
/// before. The source is `test`, unless it is [set](Self::source).
///
/// ```
/// use market_data_store::{Feedback, Level, Reason, feedback::EventSeries};
///
/// let feedback = Feedback::private();
/// let level = feedback.watch("bars");
/// let mut bars = EventSeries::new("bars");
/// feedback.publish(bars.next(Level::Hard));
/// feedback.publish(bars.next_because(Reason::Draining));
/// futures::executor::block_on(feedback.idle());
/// let shown = level.borrow();
/// assert_eq!((shown.seq, shown.level, shown.reason, shown.retry_after), (2, Level::Hard, Reason::Draining, None));
/// ```
///
/// An event that contradicts itself can still be made of an [`EventBody`]: for tests of what is to refuse one.
#[derive(Clone, Debug)]
pub struct EventSeries {
    source: Arc<str>,
    coordinator_id: Arc<str>,
    /// None: one that goes by source, coordinator and epoch.
    instance: Option<Arc<str>>,
    epoch: u64,
    seq: u64,
    level: Level,
    refresh: Option<Duration>,
}

const CAPACITY: u64 = 100;
const LOW: u64 = 50;
const DRAIN_RATE: f64 = 10.0;
const FIRST_EPOCH: u64 = 1_700_000_000_000_000;

impl EventSeries {
    /// Begins the events of a coordinator that has just started, at ok.
    pub fn new(coordinator_id: &str) -> Self {
        let coordinator_id = coordinator_id.into();
        let (source, epoch, level) = ("test".into(), FIRST_EPOCH, Level::Ok);
        Self { source, coordinator_id, instance: None, epoch, seq: 0, level, refresh: None }
    }

    /// Sets the process that the coordinator runs in.
    #[must_use]
    pub fn source(mut self, source: &str) -> Self {
        self.source = source.into();
        self
    }

    /// Sets the instance, until the next restart. By default it follows from source, coordinator and epoch, so that two
    /// series of one name are one instance until one of them restarts.
    #[must_use]
    pub fn instance(mut self, instance: &str) -> Self {
        self.instance = Some(instance.into());
        self
    }

    /// Sets how often the sender says that it is heard from, as webhooks do. Without it, as by default, the next event
    /// after one that said so is the last of a clean end.
    #[must_use]
    pub fn refresh(mut self, every: impl Into<Option<Duration>>) -> Self {
        self.refresh = every.into();
        self
    }

    /// Returns the next event, at `level`, because of the queue: it is high, it is rising, or it has recovered. A first
    /// event at ok says `started`.
    pub fn next(&mut self, level: Level) -> FeedbackEvent {
        let reason = match level {
            Level::Ok if self.seq == 0 => Reason::Started,
            Level::Ok => Reason::QueueRecovered,
            Level::Soft => Reason::QueueRising,
            Level::Hard => Reason::QueueHigh,
        };
        self.event(level, reason)
    }

    /// Returns the next event, for this reason, at the level that it goes with. [`Reason::Started`] begins a new epoch,
    /// unless it comes first; [`Reason::WriteOverdue`] leaves hard as it is and makes soft of
    /// ok; [`Reason::Other`] leaves the level as it is.
    pub fn next_because(&mut self, reason: Reason) -> FeedbackEvent {
        if reason == Reason::Started && self.seq > 0 {
            self.restart();
        }
        let level = match reason {
            Reason::WriteOverdue => self.level.max(Level::Soft),
            reason => reason.level().unwrap_or(self.level),
        };
        self.event(level, reason)
    }

    fn event(&mut self, level: Level, reason: Reason) -> FeedbackEvent {
        self.seq += 1;
        let previous = std::mem::replace(&mut self.level, level);
        let queue_size = match (level, reason) {
            (_, Reason::Started) => 0,
            (Level::Ok, _) => LOW,
            (Level::Soft, _) => 60,
            (Level::Hard, _) => 80,
        };
        let drain_rate = (reason != Reason::Started).then_some(DRAIN_RATE);
        let recovers = level > Level::Ok && reason != Reason::Draining;
        let by_default = || {
            let names = self.source.bytes().chain([0]).chain(self.coordinator_id.bytes());
            format!("{:016x}", event::hash(names.chain(self.epoch.to_be_bytes()))).into()
        };
        let instance = self.instance.clone().unwrap_or_else(by_default);
        FeedbackEvent::from(EventBody {
            id: FeedbackEvent::id_of(&self.source, &self.coordinator_id, Some(&instance), self.epoch, self.seq),
            source: Arc::clone(&self.source),
            coordinator_id: Arc::clone(&self.coordinator_id),
            instance: Some(instance),
            epoch: self.epoch,
            seq: self.seq,
            ts: Timestamp::from_micros((self.epoch + self.seq * 1_000_000) as i64),
            level,
            previous,
            reason,
            queue_size,
            capacity: CAPACITY,
            utilization: queue_size as f64 / CAPACITY as f64,
            drain_rate,
            retry_after: recovers.then(|| Duration::from_secs_f64((queue_size - LOW) as f64 / DRAIN_RATE)),
            refresh: self.refresh,
        })
    }

    /// Leaves out an event: the next one shows a gap in `seq`, as after a loss.
    pub fn skip(&mut self, level: Level) {
        self.seq += 1;
        self.level = level;
    }

    /// Begins anew, as the coordinator does when its process starts again: another instance of a newer epoch, at ok.
    pub fn restart(&mut self) {
        // An hour later, which is more than the events of a test take.
        self.epoch += 3_600_000_000;
        self.instance = None;
        self.seq = 0;
        self.level = Level::Ok;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when the events are not such as a coordinator makes: a bus or a subscriber that checks them would refuse
    // them.
    #[test]
    fn a_series_is_what_a_coordinator_would_publish() {
        let mut series = EventSeries::new("bars").source("db1");
        let started = series.next(Level::Ok);
        assert_eq!((started.seq, started.previous, started.reason), (1, Level::Ok, Reason::Started));
        assert_eq!(started.retry_after, None);
        let hard = series.next(Level::Hard);
        assert_eq!((hard.seq, hard.previous, hard.reason), (2, Level::Ok, Reason::QueueHigh));
        assert_eq!((hard.utilization, hard.retry_after), (0.8, Some(Duration::from_secs(3))));
        assert_eq!((&*hard.source, &*hard.coordinator_id, hard.epoch), ("db1", "bars", started.epoch));
        assert!(hard.ts > started.ts && hard.id != started.id);
        let ok = series.next(Level::Ok);
        assert_eq!((ok.seq, ok.previous, ok.reason, ok.retry_after), (3, Level::Hard, Reason::QueueRecovered, None));
        series.skip(Level::Hard);
        let soft = series.next(Level::Soft);
        assert_eq!((soft.seq, soft.previous), (5, Level::Hard));
        series.restart();
        let again = series.next(Level::Ok);
        assert!(again.epoch > ok.epoch && again.seq == 1 && again.ts > soft.ts);
    }

    // Red when an event has a level that its reason cannot have, or says when to come back while it drains.
    #[test]
    fn a_reason_brings_the_level_that_it_goes_with() {
        let mut series = EventSeries::new("bars");
        let shut = series.next_because(Reason::CircuitOpen);
        assert_eq!((shut.seq, shut.level, shut.retry_after), (1, Level::Hard, Some(Duration::from_secs(3))));
        let other = series.next_because(Reason::Other);
        assert_eq!((other.level, other.previous), (Level::Hard, Level::Hard));
        let back = series.next_because(Reason::CircuitClosed);
        assert_eq!((back.level, back.previous, back.retry_after), (Level::Ok, Level::Hard, None));
        let draining = series.next_because(Reason::Draining);
        assert_eq!((draining.level, draining.retry_after), (Level::Hard, None));
        let started = series.next_because(Reason::Started);
        assert_eq!((started.seq, started.level, started.previous, started.queue_size), (1, Level::Ok, Level::Ok, 0));
        assert!(started.epoch > draining.epoch);
    }
}
