use std::{fmt, ops::Deref, sync::Arc, time::Duration};

use actix::Message;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{
    policy::{Level, Reason, Speaker},
    record::Timestamp,
};

/// A change of a coordinator's level or of its reason. Immutable, and cheap to clone; its fields are those of
/// [`EventBody`].
///
/// The coordinator sends it, the bus passes it to every subscriber; nothing is replied.
#[derive(Clone, PartialEq, Message)]
#[rtype(result = "()")]
pub struct FeedbackEvent(Arc<EventBody>);

/// The fields of a [`FeedbackEvent`], and its form in JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventBody {
    /// Differs between any two events, and is the same whenever this one is sent again. Holds no full stop.
    pub id: String,
    /// The process that the coordinator runs in: different for processes that run at once, the same after a restart.
    pub source: Arc<str>,
    /// The coordinator, unique within its source.
    pub coordinator_id: Arc<str>,
    /// Which start of which process this is: 16 hex digits, random at each start; none from a sender that knows of no
    /// instances. Order holds within an instance.
    #[serde(default)]
    pub instance: Option<Arc<str>>,
    /// When the coordinator started, in microseconds since the Unix epoch, or one more than the newest of its name that
    /// its bus has met.
    pub epoch: u64,
    /// Counts the coordinator's events within the epoch, from 1, without gaps: a gap means that events were lost.
    pub seq: u64,
    /// When the level changed.
    pub ts: Timestamp,
    /// The level from now on.
    pub level: Level,
    /// The level before.
    pub previous: Level,
    /// The cause that speaks for the level.
    pub reason: Reason,
    /// Accepted records not yet taken by a worker, at the moment of the change.
    pub queue_size: u64,
    /// The most records that the queue takes.
    pub capacity: u64,
    /// `queue_size / capacity`, 0 to 1.
    pub utilization: f64,
    /// Records a second that went to the store of late, measured while there was something to write; none when nothing
    /// was written yet.
    pub drain_rate: Option<f64>,
    /// How long to wait before it is worth trying again, in seconds; none at `ok`, while draining, and when the drain
    /// rate is zero or unknown.
    #[serde(with = "seconds")]
    pub retry_after: Option<Duration>,
    /// How often the sender is heard from at least, in seconds: the present state is sent again so often. Who hears
    /// nothing for three times as long does not know the level any more. None inside a process, in the last event of a
    /// clean end, and from a sender that repeats nothing.
    #[serde(default, with = "seconds")]
    pub refresh: Option<Duration>,
}

/// FNV-1a: short, and the same in every version.
pub(super) fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    let hash = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, hash)
}

impl FeedbackEvent {
    /// Makes the `id` of an event from what identifies it.
    pub fn id_of(source: &str, coordinator_id: &str, instance: Option<&str>, epoch: u64, seq: u64) -> String {
        // A separator that no name contains, and no full stop.
        let names = source.bytes().chain([0]).chain(coordinator_id.bytes());
        let hash = hash(names.chain(instance.into_iter().flat_map(|instance| [0].into_iter().chain(instance.bytes()))));
        format!("evt_{hash:016x}_{epoch:x}_{seq}")
    }

    /// Returns the event as one says it who repeats what is present so often, or not at all.
    #[cfg(feature = "webhooks")]
    pub(super) fn with_refresh(&self, refresh: Option<Duration>) -> Self {
        Self::from(EventBody { refresh, ..EventBody::clone(self) })
    }

    /// Returns what is known of its coordinator once its instance fell silent: soft, the rest as it was said last. It
    /// is the `number`th such event, and its id its own.
    pub(super) fn silent(&self, number: u64) -> Self {
        Self::from(EventBody {
            id: format!("{}_silent_{number}", self.id),
            ts: Timestamp::now(),
            level: Level::Soft,
            previous: self.level,
            reason: Reason::Silent,
            retry_after: None,
            refresh: None,
            ..EventBody::clone(self)
        })
    }

    /// Returns the state that is assumed of a coordinator before its first event: epoch 0, seq 0, `ok`, `started`.
    #[doc(hidden)]
    pub fn before_any(source: &str, coordinator_id: &str) -> Self {
        Self::from(EventBody {
            id: Self::id_of(source, coordinator_id, None, 0, 0),
            source: source.into(),
            coordinator_id: coordinator_id.into(),
            instance: None,
            epoch: 0,
            seq: 0,
            ts: Timestamp::default(),
            level: Level::Ok,
            previous: Level::Ok,
            reason: Reason::Started,
            queue_size: 0,
            capacity: 0,
            utilization: 0.0,
            drain_rate: None,
            retry_after: None,
            refresh: None,
        })
    }
}

impl From<EventBody> for FeedbackEvent {
    fn from(body: EventBody) -> Self {
        Self(Arc::new(body))
    }
}

impl Deref for FeedbackEvent {
    type Target = EventBody;

    fn deref(&self) -> &EventBody {
        &self.0
    }
}

impl fmt::Debug for FeedbackEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for FeedbackEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for FeedbackEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        EventBody::deserialize(deserializer).map(Self::from)
    }
}

/// One coordinator on a bus: ids are unique within a source only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct CoordinatorKey {
    pub(crate) source: Arc<str>,
    pub(crate) coordinator_id: Arc<str>,
}

impl CoordinatorKey {
    pub(crate) fn of(event: &FeedbackEvent) -> Self {
        Self { source: event.source.clone(), coordinator_id: event.coordinator_id.clone() }
    }
}

/// Returns what an event says of its coordinator's instance. `ends`: its coordinator publishes it for the last time.
pub(crate) fn speaker(event: &FeedbackEvent, ends: bool) -> Speaker {
    Speaker {
        instance: event.instance.clone(),
        epoch: event.epoch,
        seq: event.seq,
        refresh: event.refresh,
        ends: ends || event.reason == Reason::Draining,
    }
}

/// A duration as a JSON number of seconds.
mod seconds {
    use super::*;

    pub(super) fn serialize<S: Serializer>(wait: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        wait.map(|wait| wait.as_secs_f64()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(deserializer)?;
        seconds.map(|seconds| Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom)).transpose()
    }
}
