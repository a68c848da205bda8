//! What an embedder's own tests need: a store in memory that does as it is told, and events made by hand.
//!
//! ```
//! use market_data_store::{Feedback, Level, testing::EventSeries};
//!
//! let feedback = Feedback::private();
//! let level = feedback.watch("bars");
//! let mut bars = EventSeries::new("bars");
//! feedback.publish(bars.next(Level::Hard));
//! futures::executor::block_on(feedback.idle());
//! assert_eq!(level.borrow().level, Level::Hard);
//! ```

use std::{sync::Arc, time::Duration};

use crate::{
    feedback::{EventBody, FeedbackEvent},
    policy::{Level, Reason},
    record::timestamp::Timestamp,
};

pub use crate::{
    fault::{Fault, Fired},
    settings::temporary::{TestSettings, settings},
    sink::{MemoryCounts, MemorySink},
};

/// Makes the events of one coordinator by hand, as a real one would publish them: `seq` counts from 1, `previous` is the
/// level of the event before, and the rest fits the level.
///
/// The queue takes 100 records, is soft above 50 and hard from 80, and drains 10 records a second. The source is `test`.
#[derive(Clone, Debug)]
pub struct EventSeries {
    source: Arc<str>,
    coordinator_id: Arc<str>,
    epoch: u64,
    seq: u64,
    level: Level,
}

const CAPACITY: u64 = 100;
const LOW: u64 = 50;
const DRAIN_RATE: f64 = 10.0;
const FIRST_EPOCH: u64 = 1_700_000_000_000_000;

impl EventSeries {
    /// Begins the events of a coordinator that has just started, at ok.
    pub fn new(coordinator_id: &str) -> Self {
        let coordinator_id = coordinator_id.into();
        Self { source: "test".into(), coordinator_id, epoch: FIRST_EPOCH, seq: 0, level: Level::Ok }
    }

    /// Sets the process that the coordinator runs in.
    #[must_use]
    pub fn source(mut self, source: &str) -> Self {
        self.source = source.into();
        self
    }

    /// Returns the next event, at `level`. A first one at ok says `started`.
    pub fn next(&mut self, level: Level) -> FeedbackEvent {
        self.next_body(level).into()
    }

    /// Returns the next event with fields that can still be changed, such as `reason`:
    /// `EventBody { reason: Reason::Draining, retry_after: None, ..series.next_body(Level::Hard) }.into()`.
    pub fn next_body(&mut self, level: Level) -> EventBody {
        self.seq += 1;
        let previous = std::mem::replace(&mut self.level, level);
        let (reason, queue_size) = match level {
            Level::Ok if self.seq == 1 => (Reason::Started, 0),
            Level::Ok => (Reason::QueueRecovered, LOW),
            Level::Soft => (Reason::QueueRising, 60),
            Level::Hard => (Reason::QueueHigh, 80),
        };
        EventBody {
            id: FeedbackEvent::id_of(&self.source, &self.coordinator_id, self.epoch, self.seq),
            source: Arc::clone(&self.source),
            coordinator_id: Arc::clone(&self.coordinator_id),
            epoch: self.epoch,
            seq: self.seq,
            // A second after the one before it.
            ts: Timestamp::from_micros((self.epoch + self.seq * 1_000_000) as i64),
            level,
            previous,
            reason,
            queue_size,
            capacity: CAPACITY,
            utilization: queue_size as f64 / CAPACITY as f64,
            drain_rate: (reason != Reason::Started).then_some(DRAIN_RATE),
            retry_after: (level > Level::Ok).then(|| Duration::from_secs_f64((queue_size - LOW) as f64 / DRAIN_RATE)),
        }
    }

    /// Leaves out an event: the next one shows a gap in `seq`, as after a loss.
    pub fn skip(&mut self, level: Level) {
        self.seq += 1;
        self.level = level;
    }

    /// Begins anew, as the coordinator does when its process starts again: a newer epoch, at ok.
    pub fn restart(&mut self) {
        // An hour later, which is more than the events of a test take.
        self.epoch += 3_600_000_000;
        self.seq = 0;
        self.level = Level::Ok;
    }
}

/// A request that carries an event, as [`webhook`] makes it.
#[cfg(any(feature = "webhooks", feature = "receiver"))]
#[derive(Clone, Debug)]
pub struct Webhook {
    /// The headers to set, by name.
    pub headers: [(&'static str, String); 4],
    /// The body to post.
    pub body: String,
}

/// Makes the request that a broadcaster with these secrets would send now: for tests of what stands behind a
/// `Receiver`.
///
/// ```
/// # #[cfg(feature = "receiver")]
/// # actix::System::new().block_on(async {
/// use actix_web::{App, test};
/// use market_data_store::{Feedback, Level, Receiver, WebhookSecret, testing::{EventSeries, webhook}};
///
/// let secrets: [WebhookSecret; 1] = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse().unwrap()];
/// let feedback = Feedback::private();
/// let level = feedback.watch("db1:mds-ingest/bars"); // or what your producer has
/// let receiver = Receiver::signed(feedback.clone(), secrets.clone());
/// let service = test::init_service(App::new().service(receiver.at("/feedback"))).await;
///
/// let sent = webhook(&secrets, &EventSeries::new("bars").source("db1:mds-ingest").next(Level::Hard));
/// let request = test::TestRequest::post().uri("/feedback").set_payload(sent.body);
/// let request = sent.headers.into_iter().fold(request, |request, header| request.insert_header(header));
/// assert_eq!(test::call_service(&service, request.to_request()).await.status(), 204);
///
/// feedback.idle().await;
/// assert_eq!(level.borrow().level, Level::Hard);
/// # });
/// ```
#[cfg(any(feature = "webhooks", feature = "receiver"))]
pub fn webhook(secrets: &[crate::WebhookSecret], event: &FeedbackEvent) -> Webhook {
    use crate::feedback::signature::{ID, SIGNATURE, TIMESTAMP, sign, unix_now};
    let body = serde_json::to_string(event).expect("an event has nothing that JSON has not");
    let now = unix_now();
    let signature = sign(secrets, &event.id, now, body.as_bytes());
    let headers = [
        ("content-type", "application/json".to_owned()),
        (ID, event.id.clone()),
        (TIMESTAMP, now.to_string()),
        (SIGNATURE, signature),
    ];
    Webhook { headers, body }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when the events are not such as a coordinator makes: a bus or a subscriber that checks them would refuse them.
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
        let soft = series.next_body(Level::Soft);
        assert_eq!((soft.seq, soft.previous), (5, Level::Hard));
        series.restart();
        let again = series.next(Level::Ok);
        assert!(again.epoch > ok.epoch && again.seq == 1 && again.ts > soft.ts);
    }
}
