//! One of the level changes that benches publish.

use market_data_store::{FeedbackEvent, Level, Reason, Timestamp, feedback::EventBody};

/// Goes from ok to hard, or back.
pub fn event(seq: u64) -> FeedbackEvent {
    FeedbackEvent::from(EventBody {
        id: FeedbackEvent::id_of("bench", "bars", None, 1, seq),
        source: "bench".into(),
        coordinator_id: "bars".into(),
        instance: None,
        epoch: 1,
        seq,
        ts: Timestamp::default(),
        level: if seq.is_multiple_of(2) { Level::Ok } else { Level::Hard },
        previous: Level::Ok,
        reason: Reason::QueueHigh,
        queue_size: 80,
        capacity: 100,
        utilization: 0.8,
        drain_rate: Some(1e5),
        retry_after: None,
        refresh: None,
    })
}
