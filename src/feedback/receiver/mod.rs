//! The receiving end of webhooks, in the process of a producer.
//!
//! A [`Receiver`] is a resource of an actix-web service. What it accepts it publishes on a [`Feedback`] of this process
//! as it was sent, so whatever listens to a coordinator here can listen to one far away: subscriber actors,
//! [`Feedback::watch`], a rate that follows the level.
//!
//! ```no_run
//! use actix_web::{App, HttpServer};
//! use market_data_store::{Feedback, Receiver, WebhookSecret};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let secret: WebhookSecret = std::env::var("FEEDBACK_SECRET")?.parse()?;
//! let feedback = Feedback::private();
//! let receiver = Receiver::signed(feedback.clone(), [secret]);
//! let level = feedback.watch("db1:mds-ingest/bars"); // for the producer
//! HttpServer::new(move || App::new().service(receiver.at("/feedback"))).bind("0.0.0.0:8080")?.run().await?;
//! # Ok(())
//! # }
//! ```

mod outcome;

use std::{
    fmt,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use actix_web::{HttpRequest, HttpResponse, Resource, http::header::CONTENT_LENGTH, web};
use parking_lot::Mutex;
use tokio::time::timeout;

use self::outcome::{Counters, Outcome, Refused};
use super::{
    event::{CoordinatorKey, FeedbackEvent, speaker},
    handle::Feedback,
    webhook::signature::{CONFLICT, SignedHeaders, TOLERANCE, WebhookSecret, unix_now, verify},
};
use crate::{
    policy::{Admission, Deduplicator, DeduplicatorLimits, Reason},
    settings::names::{is_coordinator_id, is_source},
};

/// The largest body that is read. An event has less than 2 KiB.
const BODY_LIMIT: usize = 8 * 1024;
/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);
/// The longest source, coordinator id and message id, in bytes.
const NAME_LIMIT: usize = 255;
/// How many ids are remembered.
const IDS: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// Takes the events of coordinators in other processes, as their broadcasters send them, and publishes them on a bus of
/// this one. Clones share what they have met, so one receiver serves all workers of a server.
///
/// - An event is published as it was sent: `source`, `epoch` and `seq` are its coordinator's. The source has to differ
///   from this process's own, if that publishes on the same bus. A broadcaster on that bus would send on what came in
///   here, unless it is told whose events to send: a bus for this alone, [`Feedback::private`], is simplest.
/// - A request is answered with 204 when its event was published or is a sign of life, with 200 when it was a repeat or
///   stale, which is not its sender's fault; with 401 when the signature is not good or the request more than five
///   minutes old or early, which is looked at before the body is read; 413 above 8 KiB, 408 when the body takes longer
///   than ten seconds, 400 when it is no event, and 503 when the bus has stopped or there is no room for another
///   coordinator.
/// - A message comes once: it is a repeat if its `webhook-id` was accepted within the last ten minutes, whatever its
///   body says, and stale if its instance has said something newer. The same of an instance under another id is a sign
///   of life.
/// - A sender that says how often it is heard from ([`refresh`](crate::EventBody::refresh)) and is silent for three
///   times as long is let go: the bus then says [`Silent`](crate::Reason::Silent), at soft, until it is heard again.
/// - Where two processes of one name live, the higher level counts. Their requests are answered with 204 and the header
///   [`mds-conflict`](crate::feedback::signature::SignedHeaders::CONFLICT), the number of those that live.
/// - Memory is bounded: 8 KiB a request under way, 4,096 ids, and [`Receiver::COORDINATORS`] pairs of source and
///   coordinator, 32 instances each. A pair that would be more is refused, those that are known go on. A process that names itself anew at
///   each start, as a container with a name by chance does, takes a place each time: let it set `MDS_SOURCE`.
///
/// What it cannot know:
/// - After a start of its own it has met nothing. A level is assumed to be ok until the next event says otherwise, and
///   a request that was recorded within the last five minutes would be accepted once more.
/// - Whether a process that has fallen silent is dead or cut off. And of one that was replaced by another with a later
///   epoch it knows only once it speaks again that it still lives. A request of it that was held up on its way is taken
///   for that, until it was silent for three times its refresh.
#[derive(Clone)]
pub struct Receiver {
    shared: Arc<Shared>,
}

struct Shared {
    feedback: Feedback,
    /// None: signatures are not looked at.
    secrets: Option<Vec<WebhookSecret>>,
    met: Mutex<Deduplicator<CoordinatorKey>>,
    started: Instant,
    counters: Counters,
    conflicts: AtomicU64,
}

impl Receiver {
    /// How many pairs of source and coordinator a receiver knows at most.
    pub const COORDINATORS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

    /// Makes a receiver that accepts what is signed with one of the secrets: the sender's, and while it is being
    /// replaced, the old one too. Without any it accepts nothing.
    pub fn signed(feedback: Feedback, secrets: impl IntoIterator<Item = WebhookSecret>) -> Self {
        Self::new(feedback, Some(secrets.into_iter().collect()))
    }

    /// Makes a receiver that accepts events from **all who can reach it**: they can stop this producer, or make it run
    /// when it should not. For tests, and for networks without others; the address of this machine
    /// alone is none, since a page in a browser on it can post there. Without signed times, an old request is stale
    /// only if a newer event came before it.
    pub fn unsigned(feedback: Feedback) -> Self {
        Self::new(feedback, None)
    }

    fn new(feedback: Feedback, secrets: Option<Vec<WebhookSecret>>) -> Self {
        let limits = DeduplicatorLimits {
            keys: Self::COORDINATORS,
            ids: IDS,
            // A request may be early by the tolerance, and is good until the tolerance after its time.
            id_for: 2 * TOLERANCE,
        };
        let met = Mutex::new(Deduplicator::new(limits));
        let (started, counters) = (Instant::now(), Counters::default());
        Self { shared: Arc::new(Shared { feedback, secrets, met, started, counters, conflicts: AtomicU64::new(0) }) }
    }

    /// Returns the resource to register: `App::new().service(receiver.at("/feedback"))`. It takes POST; other methods
    /// are answered with 405.
    ///
    /// Whatever limits the payload of the service's other handlers does not count here.
    pub fn at(&self, path: &str) -> Resource {
        let receiver = self.clone();
        let post = move |request, payload| {
            let receiver = receiver.clone();
            async move { receiver.shared.answer(request, payload).await }
        };
        web::resource(path).route(web::post().to(post))
    }

    /// Returns the bus that events are published on.
    pub fn feedback(&self) -> &Feedback {
        &self.shared.feedback
    }

    /// Returns what has become of the requests so far.
    pub fn snapshot(&self) -> ReceiverSnapshot {
        let count = |outcome| self.shared.counters.count(outcome);
        let mut met = self.shared.met.lock();
        ReceiverSnapshot {
            accepted: count(Outcome::Accepted),
            alive: count(Outcome::Alive),
            conflicts: self.shared.conflicts.load(Ordering::Relaxed),
            expired: met.expire(self.shared.started.elapsed()),
            repeated: count(Outcome::Repeated),
            stale: count(Outcome::Stale),
            bad_signature: count(Outcome::BadSignature),
            bad_timestamp: count(Outcome::BadTimestamp),
            too_large: count(Outcome::TooLarge),
            cut_off: count(Outcome::CutOff),
            malformed: count(Outcome::Malformed),
            no_room: count(Outcome::NoRoom),
            bus_stopped: count(Outcome::BusStopped),
            coordinators: met.keys(),
        }
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signed = self.shared.secrets.is_some();
        f.debug_struct("Receiver").field("signed", &signed).field("seen", &self.snapshot()).finish_non_exhaustive()
    }
}

/// What has become of the requests to a [`Receiver`], each counted in one place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReceiverSnapshot {
    /// Published on the bus.
    pub accepted: u64,
    /// Signs of life: the same again of an instance that lives.
    pub alive: u64,
    /// Those of both, of an instance beside which another of its name lives.
    pub conflicts: u64,
    /// Instances that fell silent.
    pub expired: u64,
    /// Not published: the id had been accepted before.
    pub repeated: u64,
    /// Not published: the instance had said something newer.
    pub stale: u64,
    /// Refused: a header is missing, or no signature is by a known secret.
    pub bad_signature: u64,
    /// Refused: sent more than five minutes ago, or from now, or at no time at all.
    pub bad_timestamp: u64,
    /// Refused: a body of more than 8 KiB.
    pub too_large: u64,
    /// Refused: the body broke off, or took too long to arrive.
    pub cut_off: u64,
    /// Refused: signed, where that is asked, but no event.
    pub malformed: u64,
    /// Refused: from one coordinator too many.
    pub no_room: u64,
    /// Refused: the bus has stopped.
    pub bus_stopped: u64,
    /// How many pairs of source and coordinator are known.
    pub coordinators: usize,
}

impl Shared {
    async fn answer(&self, request: HttpRequest, payload: web::Payload) -> HttpResponse {
        let header = |name: &str| request.headers().get(name)?.to_str().ok();
        let received = match self.body(&request, payload).await {
            Ok(body) => self.receive(header, &body, unix_now()),
            Err(refused) => Err(refused),
        };
        let outcome = received.map_or_else(Refused::outcome, |(outcome, _)| outcome);
        self.counters.add(outcome);
        match received {
            Ok((Outcome::Accepted | Outcome::Alive, 0)) => HttpResponse::NoContent().finish(),
            Ok((Outcome::Accepted | Outcome::Alive, others)) => {
                self.conflicts.fetch_add(1, Ordering::Relaxed);
                HttpResponse::NoContent().insert_header((CONFLICT, (others + 1).to_string())).finish()
            }
            Ok((outcome, _)) => HttpResponse::Ok().body(outcome.as_str()),
            Err(refused) => {
                let (peer, may_warn) = (request.peer_addr(), self.counters.may_warn(outcome));
                let outcome = outcome.as_str();
                if may_warn {
                    tracing::warn!(outcome, %refused, ?peer, "feedback refused; the like is at DEBUG for a minute");
                } else {
                    tracing::debug!(outcome, %refused, ?peer, "feedback refused");
                }
                // What is left of a body that is not wanted is not read.
                HttpResponse::build(refused.status()).force_close().body(refused.to_string())
            }
        }
    }

    /// Reads the body, as much and for as long as an unknown sender's may be read.
    async fn body(&self, request: &HttpRequest, payload: web::Payload) -> Result<web::Bytes, Refused> {
        if self.secrets.is_some() {
            // Without the headers, or with an old time in them, no body would help.
            SignedHeaders::collect(|name| request.headers().get(name)?.to_str().ok())?.check_time(unix_now())?;
        }
        let announced = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: u64| length > BODY_LIMIT as u64) {
            return Err(Refused::TooLarge);
        }
        let read = timeout(BODY_TIME, payload.to_bytes_limited(BODY_LIMIT)).await.map_err(|_| Refused::TooSlow)?;
        read.map_err(|_| Refused::TooLarge)?.map_err(|_| Refused::BrokenOff)
    }

    /// Checks a message, and publishes the event in it if it is new or a sign of life. Returns what it is, and how many
    /// other instances of its name live. `now` is in seconds since the Unix epoch.
    fn receive<'a>(
        &self,
        header: impl Fn(&'static str) -> Option<&'a str>,
        body: &[u8],
        now: u64,
    ) -> Result<(Outcome, usize), Refused> {
        let signed = match &self.secrets {
            Some(secrets) => {
                let headers = SignedHeaders::collect(header)?;
                verify(secrets, headers, body, now)?;
                Some(headers)
            }
            None => None,
        };
        // Only what is signed is looked into.
        let event: FeedbackEvent = serde_json::from_slice(body)
            .map_err(|error| Refused::NoEvent { line: error.line(), column: error.column() })?;
        check(&event)?;
        let id = signed.map_or(&*event.id, |headers| headers.id);
        if id.len() > NAME_LIMIT {
            return Err(Refused::Expected("an id of at most 255 bytes"));
        }
        self.admit(id, &event)
    }

    fn admit(&self, id: &str, event: &FeedbackEvent) -> Result<(Outcome, usize), Refused> {
        // Not remembered: its sender tries again, and finds this process started anew.
        if !self.feedback.is_running() {
            return Err(Refused::BusStopped);
        }
        let mut met = self.met.lock();
        let admission = met.admit(id, &CoordinatorKey::of(event), &speaker(event, false), self.started.elapsed());
        if !matches!(admission, Admission::NoRoom | Admission::Repeated { is_alive: false }) {
            // Under the lock: outside it a newer event could be published first, and the bus would drop this one. The
            // bus is to hear of signs of life too, and it counts what is stale and warns of it.
            self.feedback.publish(event.clone());
        }
        match admission {
            Admission::New(others) => Ok((Outcome::Accepted, others)),
            Admission::Alive(others) => Ok((Outcome::Alive, others)),
            Admission::Repeated { .. } => Ok((Outcome::Repeated, 0)),
            Admission::Stale => Ok((Outcome::Stale, 0)),
            Admission::NoRoom => Err(Refused::NoRoom),
        }
    }
}

/// Refuses what no coordinator would send and the bus should not have to hold: names without bound, a slash that would
/// make another coordinator of it.
fn check(event: &FeedbackEvent) -> Result<(), Refused> {
    // The rules that a store holds its own names to.
    if !is_source(&event.id) || !is_source(&event.source) {
        return Err(Refused::Expected("id and source of 1 to 255 bytes, without hidden characters"));
    }
    if !is_coordinator_id(&event.coordinator_id) {
        return Err(Refused::Expected("a coordinator_id of 1 to 255 bytes, without '/' and hidden characters"));
    }
    if event.seq == 0 {
        return Err(Refused::Expected("a seq from 1"));
    }
    let is_instance = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if event.instance.as_deref().is_some_and(|instance| !is_instance(instance)) {
        return Err(Refused::Expected("an instance of 16 hex digits, or none"));
    }
    if event.refresh.is_some_and(|refresh| refresh.is_zero()) {
        return Err(Refused::Expected("a refresh of more than 0 s, or none"));
    }
    if event.reason == Reason::Silent {
        return Err(Refused::Expected("what a coordinator said: that one is silent is not sent on"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
