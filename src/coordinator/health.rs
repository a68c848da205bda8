use std::{sync::Arc, time::Duration};

use serde::Serialize;

use crate::{
    feedback::FeedbackCounts,
    policy::{BufferSnapshot, BufferState, Cause, CircuitState, Counters, Level, Reason},
    record::Timestamp,
    text::Quoted,
};

/// One moment of a coordinator. The counts are taken under one lock and add up:
/// `submitted = stored + dead_lettered + dropped + queued + in_flight`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// The coordinator.
    pub coordinator_id: Arc<str>,
    /// Whether the coordinator's actor answered. If not, it has come to its end.
    pub alive: bool,
    /// Whether level changes reach the feedback bus. If not, the bus has died or is turned off, and records are written
    /// on but no subscriber hears of levels; or the coordinator itself has died.
    pub bus_alive: bool,
    /// What the bus counted of the coordinator's events: those that it dropped, since something newer was said (`stale`), those
    /// beside which another process of the same name speaks (`conflicts`), and instances that fell silent (`expired`).
    pub feedback: FeedbackCounts,
    /// Whether records go in and out.
    pub state: BufferState,
    /// The present level.
    pub level: Level,
    /// Why.
    pub reason: Reason,
    /// Everything that holds the level up, by precedence.
    pub causes: Vec<Cause>,
    /// Places in use or reserved: what the watermarks and the events go by.
    pub queue_size: usize,
    /// Accepted records not yet taken by a worker.
    pub queued: usize,
    /// Places held by permits, or granted to submitters that have not come for them yet.
    pub reserved: usize,
    /// The most records that the queue takes.
    pub capacity: usize,
    /// A queue size of so many records or fewer lets the level go back to ok.
    pub low_watermark: usize,
    /// A queue size of so many records or more makes the level hard. Where bytes are bounded, either mark is the same
    /// share of them as it is of `capacity`.
    pub high_watermark: usize,
    /// The bytes of all records that are accepted and not settled; 0 where they are not bounded.
    pub bytes: usize,
    /// How full the queue is, of records or of bytes, whichever is more; 1 is full.
    pub utilization: f64,
    /// Records taken by a worker, or parked, and not yet settled.
    pub in_flight: usize,
    /// Those of `in_flight` that wait for a worker to take them again.
    pub parked: usize,
    /// Submitters that wait for a credit.
    pub waiting: usize,
    /// Whether batches go to the store.
    pub circuit: CircuitState,
    /// How long until an open circuit is tried, in seconds; none when it is closed or being tried.
    #[serde(serialize_with = "as_seconds")]
    pub probe_in: Option<Duration>,
    /// Workers running.
    pub workers_alive: usize,
    /// Records accepted since the start.
    pub submitted: u64,
    /// Records committed durably by the sink.
    pub stored: u64,
    /// Records appended durably to the dead-letter file.
    pub dead_lettered: u64,
    /// Records given up unwritten for newer ones, by [`Overflow::DropOldest`](crate::Overflow::DropOldest) or
    /// [`Overflow::Conflate`](crate::Overflow::Conflate).
    pub dropped: u64,
    /// Those of `dropped` in whose place a newer one of the same conflation key came; the others were evicted.
    pub conflated: u64,
    /// Records refused because no credit was free, whether the circuit was open or not. Not part of `submitted`, as
    /// none of those that were refused.
    pub rejected_full: u64,
    /// Records refused because the coordinator was draining.
    pub rejected_draining: u64,
    /// Records refused because the coordinator had come to its end.
    pub rejected_closed: u64,
    /// Records that are wrong: refused by validation, for their bytes, or for a permit of another partition.
    pub rejected_invalid: u64,
    /// Records a second that went to the store of late, while there was something to write; none when nothing was
    /// written yet.
    pub drain_rate: Option<f64>,
    /// What the sink said last when a write failed transiently, until one of the same partition succeeds. While a write
    /// is overdue of which the sink has said nothing: which partition it is, and since when.
    pub last_error: Option<Arc<str>>,
    /// Partitions whose writes are overdue: they have due work and settled nothing for
    /// [`sink_slow_after`](crate::Settings::sink_slow_after).
    pub writes_overdue: usize,
    /// Each partition, in order.
    pub partitions: Vec<PartitionHealth>,
    /// How long the oldest record that is accepted and not settled has been waiting, in seconds, be it queued, parked
    /// or under way.
    #[serde(serialize_with = "as_seconds")]
    pub oldest_age: Option<Duration>,
    /// When the coordinator started, in microseconds since the Unix epoch: the `epoch` of its events.
    pub epoch: u64,
    /// The `seq` of its last event.
    pub seq: u64,
}

/// One moment of a partition: the records whose partition keys hash alike, and the worker that writes them.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PartitionHealth {
    /// Accepted records not yet taken by its worker.
    pub queued: usize,
    /// Records taken by its worker, or parked, and not yet settled.
    pub in_flight: usize,
    /// Submitters that wait for a place for one of its records.
    pub waiting: usize,
    /// How long its oldest unsettled record has been waiting, in seconds.
    #[serde(serialize_with = "as_seconds")]
    pub oldest_age: Option<Duration>,
    /// The partition key of the oldest record that its worker has or is to take again: the key that is stuck, if one
    /// is.
    pub oldest_key: Option<String>,
    /// How long it has had due work and settled nothing, in seconds; none while it is not overdue.
    #[serde(serialize_with = "as_seconds")]
    pub overdue_for: Option<Duration>,
    /// What the sink said last when a write of it failed transiently, until one succeeds.
    pub last_error: Option<Arc<str>>,
}

impl PartitionHealth {
    /// Says of a partition that is overdue since when it has settled nothing.
    pub(super) fn silence(&self, index: usize) -> Option<Arc<str>> {
        let silent = self.overdue_for?;
        let micros = i64::try_from(silent.as_micros()).unwrap_or(i64::MAX);
        let since = Timestamp::from_micros(Timestamp::now().as_micros().saturating_sub(micros));
        let key = self.oldest_key.as_ref().map(|key| format!(" (key {})", Quoted(key))).unwrap_or_default();
        Some(format!("partition {index}{key} has due work and settled nothing since {since}").into())
    }
}

fn as_seconds<S: serde::Serializer>(age: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    age.map(|age| age.as_secs_f64()).serialize(serializer)
}

impl Health {
    pub(super) fn of_buffer(id: &Arc<str>, buffer: BufferSnapshot) -> Self {
        let counters = buffer.counters;
        Self {
            coordinator_id: Arc::clone(id),
            alive: true,
            bus_alive: true,
            feedback: FeedbackCounts::default(),
            state: buffer.state,
            level: buffer.level,
            reason: Reason::Started,
            causes: Vec::new(),
            queue_size: buffer.size(),
            queued: buffer.queued,
            reserved: buffer.reserved,
            capacity: buffer.capacity,
            low_watermark: buffer.watermarks.low(),
            high_watermark: buffer.watermarks.high(),
            bytes: buffer.bytes,
            utilization: buffer.utilization,
            in_flight: buffer.in_flight,
            parked: buffer.parked,
            waiting: buffer.waiting,
            circuit: buffer.circuit,
            probe_in: buffer.probe_in,
            workers_alive: 0,
            submitted: counters.submitted,
            stored: counters.stored,
            dead_lettered: counters.dead_lettered,
            dropped: counters.dropped,
            conflated: counters.conflated,
            rejected_full: counters.rejected_full,
            rejected_draining: counters.rejected_draining,
            rejected_closed: counters.rejected_closed,
            rejected_invalid: counters.rejected_invalid,
            drain_rate: buffer.drain_rate,
            last_error: None,
            writes_overdue: buffer.overdue,
            partitions: Vec::new(),
            oldest_age: buffer.oldest_age,
            epoch: 0,
            seq: 0,
        }
    }

    /// The health of a coordinator whose actor is gone: nothing is written any more.
    pub(super) fn without_coordinator(self) -> Self {
        let (level, reason) = (Level::Hard, Reason::Draining);
        Self { alive: false, bus_alive: false, level, reason, ..self }
    }
}

/// What became of a coordinator's records when it stopped. They add up:
/// `submitted = stored + dead_lettered + dropped + unsettled`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct CoordinatorReport {
    /// The coordinator.
    pub coordinator_id: Arc<str>,
    /// Records accepted since the start.
    pub submitted: u64,
    /// Records committed by the sink.
    pub stored: u64,
    /// Records in the dead-letter file.
    pub dead_lettered: u64,
    /// Records given up unwritten for newer ones.
    pub dropped: u64,
    /// Records that were accepted and are not known to be stored. A write that was under way when the
    /// time was up may still have succeeded.
    pub unsettled: u64,
}

impl CoordinatorReport {
    pub(super) fn of_buffer(id: &Arc<str>, buffer: &BufferSnapshot) -> Self {
        let Counters { submitted, stored, dead_lettered, dropped, .. } = buffer.counters;
        let unsettled = (buffer.queued + buffer.in_flight) as u64;
        Self { coordinator_id: Arc::clone(id), submitted, stored, dead_lettered, dropped, unsettled }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Watermarks;

    // Sabotage: rename a field, nest the counters, or write a time as an object: red. Monitors read these names.
    #[test]
    fn what_watches_a_coordinator_finds_each_field_by_its_name() {
        let buffer = BufferSnapshot {
            state: BufferState::Draining,
            capacity: 31,
            watermarks: Watermarks::new(29, 30, 31).unwrap(),
            queued: 2,
            reserved: 24,
            bytes: 27,
            utilization: 0.5,
            excess: 0,
            in_flight: 3,
            parked: 4,
            waiting: 5,
            oldest_age: Some(Duration::from_millis(6_500)),
            since_settled: Duration::ZERO,
            overdue: 19,
            drain_rate: Some(7.5),
            level: Level::Soft,
            circuit: CircuitState::Open,
            probe_in: None,
            counters: Counters {
                submitted: 8,
                stored: 9,
                dead_lettered: 10,
                dropped: 11,
                conflated: 28,
                rejected_full: 12,
                rejected_draining: 13,
                rejected_closed: 14,
                rejected_invalid: 15,
            },
        };
        let health = Health {
            causes: vec![Cause::CircuitOpen, Cause::QueueHigh],
            workers_alive: 16,
            last_error: Some("disk full".into()),
            partitions: vec![PartitionHealth {
                queued: 20,
                in_flight: 21,
                waiting: 25,
                oldest_age: Some(Duration::from_millis(22_500)),
                oldest_key: Some("ES".to_owned()),
                overdue_for: Some(Duration::from_millis(23_500)),
                last_error: None,
            }],
            epoch: 17,
            seq: 18,
            ..Health::of_buffer(&"bars".into(), buffer)
        };
        let partition = serde_json::json!({
            "queued": 20,
            "in_flight": 21,
            "waiting": 25,
            "oldest_age": 22.5,
            "oldest_key": "ES",
            "overdue_for": 23.5,
            "last_error": null,
        });
        let expected = serde_json::json!({
            "coordinator_id": "bars",
            "alive": true,
            "state": "draining",
            "bus_alive": true,
            "feedback": { "stale": 0, "conflicts": 0, "expired": 0 },
            "level": "soft",
            "reason": "started",
            "causes": ["circuit_open", "queue_high"],
            "queue_size": 26,
            "queued": 2,
            "reserved": 24,
            "capacity": 31,
            "low_watermark": 29,
            "high_watermark": 30,
            "bytes": 27,
            "utilization": 0.5,
            "in_flight": 3,
            "parked": 4,
            "waiting": 5,
            "circuit": "open",
            "probe_in": null,
            "workers_alive": 16,
            "submitted": 8,
            "stored": 9,
            "dead_lettered": 10,
            "dropped": 11,
            "conflated": 28,
            "rejected_full": 12,
            "rejected_draining": 13,
            "rejected_closed": 14,
            "rejected_invalid": 15,
            "drain_rate": 7.5,
            "last_error": "disk full",
            "writes_overdue": 19,
            "partitions": [partition],
            "oldest_age": 6.5,
            "epoch": 17,
            "seq": 18,
        });
        assert_eq!(serde_json::to_value(&health).unwrap(), expected);
    }
}
