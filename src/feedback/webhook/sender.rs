use std::{
    convert::Infallible,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    thread,
    time::Duration,
};

use actix::{
    Actor, ActorContext, ActorFutureExt, Context, Handler, Message, MessageResult, ResponseActFuture, WrapFuture,
};
use actix_rt::task::JoinHandle;
use awc::http::Uri;
use rustls::ClientConfig;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout_at},
};

use super::{
    client::{Client, Webhook},
    config::LONGEST,
    endpoint_lane::{BroadcastSnapshot, EndpointLane},
    signature::WebhookSecret,
};
use crate::{
    fault::Fault,
    feedback::{
        bus::Selector,
        event::{CoordinatorKey, FeedbackEvent},
        handle::Feedback,
    },
    policy::Reason,
};

/// Sends the events of coordinators to URLs, as webhooks. Its handle is
/// [`BroadcasterHandle`](super::BroadcasterHandle).
///
/// It runs on a thread of its own, and each URL has a lane of its own, so nothing that a URL does delays another, a
/// subscriber or the write path. A lane holds one event under way and the newest of each coordinator, whatever the URL
/// does.
///
/// ```no_run
/// use market_data_store::{BroadcastConfig, Feedback, HttpBroadcaster};
///
/// # fn run(feedback: &Feedback) -> Result<(), Box<dyn std::error::Error>> {
/// let mut config = BroadcastConfig::new(["https://hooks.example/levels".parse()?]);
/// config.secrets = vec![std::env::var("HOOK_SECRET")?.parse()?];
/// let broadcasts = HttpBroadcaster::start(config, feedback)?; // ends when this is dropped
/// for url in broadcasts.snapshot() {
///     println!("{}: {:?}, {} pending", url.endpoint, url.state, url.pending);
/// }
/// # Ok(())
/// # }
/// ```
pub struct HttpBroadcaster {
    lanes: Arc<[Arc<EndpointLane>]>,
    /// Whose events are sent; empty means every coordinator's.
    only: Vec<Selector>,
    /// How often signs of life are sent.
    refresh: Option<Duration>,
    /// Tells the signs of life of this broadcaster from those of one before it.
    tag: u64,
    clients: Option<Clients>,
    tasks: Vec<JoinHandle<()>>,
    /// Has a receiver for each lane that still runs.
    running: Arc<watch::Sender<()>>,
    feedback: Feedback,
    fault: Fault,
    tell: TellOfPanic,
    /// Dropped with the actor: its thread has nothing more to do.
    _alive: oneshot::Sender<Infallible>,
}

/// How often the host of a URL is looked up at least.
const LOOK_UP_EVERY: Duration = Duration::from_secs(60);

/// What a broadcaster is made of.
pub(super) struct Start {
    pub(super) lanes: Arc<[Arc<EndpointLane>]>,
    pub(super) clients: Clients,
    /// Whose events are sent; empty means every coordinator's.
    pub(super) only: Vec<Selector>,
    /// How often signs of life are sent.
    pub(super) refresh: Option<Duration>,
    pub(super) feedback: Feedback,
    pub(super) fault: Fault,
    /// Is told of a panic.
    pub(super) died: watch::Sender<bool>,
    /// Dropped with the actor.
    pub(super) alive: oneshot::Sender<Infallible>,
}

/// What a client for each URL is made of, on the thread that is to use it.
pub(super) struct Clients {
    /// One for each lane.
    pub(super) urls: Vec<Uri>,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) secrets: Arc<[WebhookSecret]>,
    pub(super) timeout: Duration,
}

/// Tells the handles when what holds it goes by a panic: the actor, or a lane.
#[derive(Clone)]
struct TellOfPanic {
    died: watch::Sender<bool>,
    lanes: Arc<[Arc<EndpointLane>]>,
}

impl Drop for TellOfPanic {
    fn drop(&mut self) {
        // It goes with its handles and with its System too, which is no death.
        if thread::panicking() {
            let endpoints: Vec<_> = self.lanes.iter().map(|lane| lane.endpoint()).collect();
            tracing::error!(?endpoints, "the broadcaster died; webhooks are not sent any more, or not to every URL");
            self.died.send_replace(true);
        }
    }
}

/// Ends the broadcaster once each URL has what was published before, or the time is up: the handle's
/// `finish` sends it. The reply comes at the end.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct FinishBroadcasts {
    /// How long a URL that does not answer may hold the end.
    pub(super) within: Duration,
}

/// Waits for the URLs: the handle's `idle` sends it. The reply comes once each has been told what was published before,
/// or it was given up.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct IdleBroadcasts;

/// Asks how it stands with each URL: status pages and other actors send it. The reply is a [`BroadcastSnapshot`] a URL,
/// in their order.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<BroadcastSnapshot>")]
pub struct ObserveBroadcasts;

impl HttpBroadcaster {
    pub(super) fn new(start: Start) -> Self {
        let Start { lanes, clients, only, refresh, feedback, fault, died, alive } = start;
        let tell = TellOfPanic { died, lanes: Arc::clone(&lanes) };
        let running = Arc::new(watch::Sender::new(()));
        let (clients, tasks, tag) = (Some(clients), Vec::new(), RandomState::new().hash_one(()));
        Self { lanes, only, refresh, tag, clients, tasks, running, feedback, fault, tell, _alive: alive }
    }

    /// Offers an event to each lane: one that was told just now, or one that was the present a moment ago.
    fn offer(&self, event: &FeedbackEvent, is_told: bool) {
        let key = CoordinatorKey::of(event);
        if !self.only.is_empty() && !self.only.iter().any(|selector| selector.selects(&key)) {
            return;
        }
        if event.reason == Reason::Silent {
            // What was heard last is not known to hold any more. Who is told by this broadcaster is to find out as
            // well.
            return self.lanes.iter().for_each(|lane| lane.forget(&key));
        }
        let webhook = match Webhook::new(event, self.refresh, self.tag) {
            Ok(webhook) => Arc::new(webhook),
            Err(error) => {
                tracing::error!(event = event.id, %error, "an event cannot be written as JSON and is not sent");
                return;
            }
        };
        let ends = self.feedback.has_ended(&key);
        for lane in self.lanes.iter() {
            self.fault.point("an event came and a lane does not have it");
            lane.offer(event, &webhook, is_told, ends);
        }
    }

    /// Returns the present of the bus after all that was published before: what was published last may still be on its
    /// way through the bus, which knows it already.
    fn present(&self) -> impl Future<Output = Vec<FeedbackEvent>> + use<> {
        let feedback = self.feedback.clone();
        async move { feedback.snapshot().await.map(|bus| bus.present).unwrap_or_default() }
    }

    fn report_undelivered(&self) {
        for left in self.lanes.iter().map(|lane| lane.snapshot()).filter(|left| left.pending > 0) {
            let error = left.last_error.unwrap_or_default();
            tracing::warn!(endpoint = %left.endpoint, events = left.pending, error, "the last events were not delivered");
        }
    }
}

impl Actor for HttpBroadcaster {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        let Some(Clients { urls, tls, secrets, timeout }) = self.clients.take() else { return };
        for (lane, url) in self.lanes.iter().zip(urls) {
            // A client a URL: the bound on connections is the client's, over all its hosts.
            let (tls, secrets) = (Arc::clone(&tls), Arc::clone(&secrets));
            let client = Client::new(lane.endpoint(), url, tls, secrets, timeout, LOOK_UP_EVERY);
            let (sends, running) = (Arc::clone(lane).run(client), self.running.subscribe());
            let tell = self.tell.clone();
            self.tasks.push(actix_rt::spawn(async move {
                sends.await;
                drop((running, tell));
            }));
        }
        // Behind a bus that died the levels are not known any more: its URLs are to find that out.
        let (feedback, lanes) = (self.feedback.clone(), Arc::clone(&self.lanes));
        self.tasks.push(actix_rt::spawn(async move {
            feedback.stopped().await;
            lanes.iter().for_each(|lane| lane.bus_closed());
        }));
    }
}

impl Drop for HttpBroadcaster {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Handler<FeedbackEvent> for HttpBroadcaster {
    type Result = ();

    fn handle(&mut self, event: FeedbackEvent, _: &mut Context<Self>) {
        self.offer(&event, true);
    }
}

impl Handler<FinishBroadcasts> for HttpBroadcaster {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, FinishBroadcasts { within }: FinishBroadcasts, _: &mut Context<Self>) -> Self::Result {
        let deadline = Instant::now() + within.min(LONGEST);
        let present = timeout_at(deadline, self.present());
        let present = async move { present.await.unwrap_or_default() };
        let end = present.into_actor(self).then(move |present, broadcaster, _| {
            broadcaster.fault.point("the end has come and the present is not offered");
            present.iter().for_each(|event| broadcaster.offer(event, false));
            broadcaster.fault.point("the present is offered and the lanes do not know of the end");
            broadcaster.lanes.iter().for_each(|lane| lane.end(deadline));
            let running = Arc::clone(&broadcaster.running);
            async move {
                let _ = timeout_at(deadline, running.closed()).await;
            }
            .into_actor(broadcaster)
        });
        Box::pin(end.map(|(), broadcaster, context| {
            broadcaster.report_undelivered();
            context.stop();
        }))
    }
}

impl Handler<IdleBroadcasts> for HttpBroadcaster {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, _: IdleBroadcasts, _: &mut Context<Self>) -> Self::Result {
        let present = self.present().into_actor(self);
        Box::pin(present.then(|present, broadcaster, _| {
            present.iter().for_each(|event| broadcaster.offer(event, false));
            let (hold, mut told) = mpsc::channel(1);
            broadcaster.lanes.iter().for_each(|lane| lane.hold(&hold));
            async move { _ = told.recv().await }.into_actor(broadcaster)
        }))
    }
}

impl Handler<ObserveBroadcasts> for HttpBroadcaster {
    type Result = MessageResult<ObserveBroadcasts>;

    fn handle(&mut self, _: ObserveBroadcasts, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.lanes.iter().map(|lane| lane.snapshot()).collect())
    }
}
