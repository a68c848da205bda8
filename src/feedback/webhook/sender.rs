use std::{
    collections::HashSet, convert::Infallible, fmt, num::NonZeroU32, path::PathBuf, sync::Arc, thread, time::Duration,
};

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, Context, Handler, Message, ResponseActFuture, System, WrapFuture,
};
use actix_rt::task::JoinHandle;
use awc::http::Uri;
use rustls::ClientConfig;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout_at},
};

use super::{
    client::{self, Client, InvalidCaFile, Webhook},
    endpoint_lane::{BroadcastSnapshot, EndpointLane},
    signature::{InvalidSecret, WebhookSecret},
};
use crate::{
    fault::Fault,
    feedback::{
        bus::{Delivery, Replay, Selector, Subscribe},
        event::{CoordinatorKey, FeedbackEvent},
        handle::Feedback,
    },
    policy::{EndpointPolicy, RetryPolicy},
    settings::{Endpoint, InvalidEndpoint},
};

/// No wait is longer, whatever was configured: with it no arithmetic of time is near its end.
const LONGEST: Duration = Duration::from_secs(86_400);

/// What an [`HttpBroadcaster`] sends, where to, and how often it tries. All fields can be assigned; a time longer than a
/// day counts as a day.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BroadcastConfig {
    /// Where events are sent. A URL that is there twice counts once.
    pub endpoints: Vec<Endpoint>,
    /// Whose events: names as [`Subscribe::only`] takes them; empty means every coordinator on the bus. On a bus that
    /// also carries events from outside the process, name your own: what came from a receiver would be sent back.
    pub coordinators: Vec<String>,
    /// How long one attempt may take, from the connection to the end of the answer.
    pub timeout: Duration,
    /// How long to wait between attempts. After `max_attempts` failures in a row the URL is left alone for
    /// [`probe_after`](Self::probe_after).
    pub retry: RetryPolicy,
    /// How long a URL that failed too often is left alone before each further attempt.
    pub probe_after: Duration,
    /// What requests are signed with; several while one replaces another; none means unsigned.
    pub secrets: Vec<WebhookSecret>,
    /// A file of certificates in PEM which alone may vouch for an `https` URL; none means those that browsers trust.
    pub ca_file: Option<PathBuf>,
}

impl BroadcastConfig {
    /// Makes the configuration that the environment gives by default, for these URLs.
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        let longest = Duration::from_secs(10);
        Self {
            endpoints: endpoints.into_iter().collect(),
            coordinators: Vec::new(),
            timeout: Duration::from_millis(2_500),
            retry: RetryPolicy {
                initial_backoff: Duration::from_millis(500),
                max_backoff: longest,
                multiplier: 2.0,
                jitter: true,
                max_attempts: const { NonZeroU32::new(3).unwrap() },
            },
            probe_after: longest,
            secrets: Vec::new(),
            ca_file: None,
        }
    }
}

/// Why an [`HttpBroadcaster`] cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BroadcastError {
    /// There is no URL.
    #[error("there is no URL to send events to")]
    NoEndpoint,
    /// A URL cannot be asked for.
    #[error("a URL to send events to is wrong: {0}")]
    Endpoint(#[from] InvalidEndpoint),
    /// A secret is none.
    #[error("a secret of webhooks is wrong: {0}")]
    Secret(#[from] InvalidSecret),
    /// The file of certificates cannot be used.
    #[error(transparent)]
    CaFile(#[from] InvalidCaFile),
    /// The operating system refused a thread.
    #[error("cannot start a thread for webhooks")]
    Thread(#[source] std::io::Error),
}

/// Sends the events of coordinators to URLs, as webhooks. Its handle is [`BroadcasterHandle`].
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
    remotes: Arc<[Arc<EndpointLane>]>,
    /// Whose events are sent; empty means everybody's.
    only: Vec<Selector>,
    start: Option<Start>,
    lanes: Vec<JoinHandle<()>>,
    /// Has a receiver for each lane that still runs.
    running: Arc<watch::Sender<()>>,
    fault: Fault,
    tell: TellOfPanic,
    /// Dropped with the actor: its thread has nothing more to do.
    _alive: oneshot::Sender<Infallible>,
}

/// What a client for each URL is made of, on the thread that is to use it.
struct Start {
    /// One for each lane.
    urls: Vec<Uri>,
    tls: Arc<ClientConfig>,
    secrets: Arc<[WebhookSecret]>,
    timeout: Duration,
}

/// The handle of one [`HttpBroadcaster`], usable from any thread. Clones mean the same; when the last one is dropped it
/// ends at once, and what was not delivered is not.
#[derive(Clone)]
pub struct BroadcasterHandle {
    addr: Addr<HttpBroadcaster>,
    remotes: Arc<[Arc<EndpointLane>]>,
    coordinators: Arc<[String]>,
    feedback: Feedback,
    died: watch::Receiver<bool>,
    #[cfg(feature = "testing")]
    fault: Fault,
}

/// Tells the handles when what holds it goes by a panic: the actor, or a lane.
#[derive(Clone)]
struct TellOfPanic {
    died: watch::Sender<bool>,
    remotes: Arc<[Arc<EndpointLane>]>,
}

impl Drop for TellOfPanic {
    fn drop(&mut self) {
        // It goes with its handles and with its System too, which is no death.
        if thread::panicking() {
            let endpoints: Vec<_> = self.remotes.iter().map(|remote| remote.endpoint()).collect();
            tracing::error!(?endpoints, "the broadcaster died; webhooks are not sent any more, or not to every URL");
            self.died.send_replace(true);
        }
    }
}

/// A configuration that was found to be usable.
pub(crate) struct PreparedBroadcast {
    config: BroadcastConfig,
    urls: Vec<Uri>,
    tls: Arc<ClientConfig>,
}

/// Ends the broadcaster once nothing is left that could be delivered in time: [`BroadcasterHandle::finish`] sends it; the reply
/// comes at the end.
#[derive(Debug, Message)]
#[rtype(result = "()")]
struct Finish {
    /// Whose present events are delivered first, if they were not yet.
    feedback: Feedback,
    within: Duration,
}

impl HttpBroadcaster {
    /// Starts sending the events on a bus, on a thread of its own, from any thread. Every URL is told the present state
    /// at once.
    ///
    /// # Errors
    /// When there is no URL, one cannot be asked for, the file of certificates cannot be used, or the operating system
    /// refuses a thread.
    pub fn start(config: BroadcastConfig, feedback: &Feedback) -> Result<BroadcasterHandle, BroadcastError> {
        let broadcasts = PreparedBroadcast::new(config)?.start(feedback, false)?;
        broadcasts.follow();
        Ok(broadcasts)
    }

    /// Starts sending as [`start`](Self::start) does, but on the current arbiter, without another thread: for tests with
    /// a paused clock.
    ///
    /// # Errors
    /// When there is no URL, one cannot be asked for, or the file of certificates cannot be used.
    ///
    /// # Panics
    /// Outside an actix System.
    pub fn on_current_arbiter(
        config: BroadcastConfig,
        feedback: &Feedback,
    ) -> Result<BroadcasterHandle, BroadcastError> {
        let broadcasts = PreparedBroadcast::new(config)?.start(feedback, true)?;
        broadcasts.follow();
        Ok(broadcasts)
    }
}

impl PreparedBroadcast {
    /// Checks everything that can be wrong before anything is started.
    pub(crate) fn new(mut config: BroadcastConfig) -> Result<Self, BroadcastError> {
        let BroadcastConfig { timeout, retry, probe_after, .. } = &mut config;
        for time in [timeout, &mut retry.initial_backoff, &mut retry.max_backoff, probe_after] {
            *time = LONGEST.min(*time);
        }
        let mut seen = HashSet::new();
        config.endpoints.retain(|endpoint| seen.insert(endpoint.clone()));
        if config.endpoints.is_empty() {
            return Err(BroadcastError::NoEndpoint);
        }
        let urls = config.endpoints.iter().map(client::uri).collect::<Result<_, _>>()?;
        let tls = client::tls(config.ca_file.as_deref())?;
        Ok(Self { config, urls, tls })
    }

    /// Starts the actor, which hears of nothing yet.
    pub(crate) fn start(self, feedback: &Feedback, current: bool) -> Result<BroadcasterHandle, BroadcastError> {
        let Self { config, urls, tls } = self;
        let policy = EndpointPolicy { retry: config.retry, probe_after: config.probe_after };
        let fault = Fault::new("broadcaster");
        let remote = |url| EndpointLane::new(url, policy, fault.clone());
        let remotes: Arc<[_]> = config.endpoints.into_iter().map(remote).collect();
        let start = Start { urls, tls, secrets: config.secrets.into(), timeout: config.timeout };
        let (alive, ended) = oneshot::channel();
        let (tell, is_dead) = watch::channel(false);
        let actor = HttpBroadcaster {
            remotes: Arc::clone(&remotes),
            only: config.coordinators.iter().map(|id| Selector::new(id)).collect(),
            start: Some(start),
            lanes: Vec::new(),
            running: Arc::new(watch::Sender::new(())),
            fault: fault.clone(),
            tell: TellOfPanic { died: tell, remotes: Arc::clone(&remotes) },
            _alive: alive,
        };
        let addr = if current {
            Actor::start(actor)
        } else {
            let (started, addr) = std::sync::mpsc::sync_channel(1);
            let run = move || {
                System::new().block_on(async move {
                    // The caller waits for it, so somebody takes it.
                    let _ = started.send(Actor::start(actor));
                    // Nothing is ever sent: it ends with the actor.
                    let _ = ended.await;
                });
            };
            thread::Builder::new().name("mds-broadcast".to_owned()).spawn(run).map_err(BroadcastError::Thread)?;
            let died = || BroadcastError::Thread(std::io::Error::other("it ended before webhooks had started"));
            addr.recv().map_err(|_| died())?
        };
        Ok(BroadcasterHandle {
            addr,
            remotes,
            coordinators: config.coordinators.into(),
            feedback: feedback.clone(),
            died: is_dead,
            #[cfg(feature = "testing")]
            fault,
        })
    }
}

impl BroadcasterHandle {
    /// Subscribes to the bus.
    pub(crate) fn follow(&self) {
        // Weak, so that it ends with its handles. The latest of each: a bounded lane of every event loses the oldest of all,
        // which can be the latest of a coordinator that said nothing since.
        let recipient = self.addr.downgrade().recipient();
        let mut subscribe = Subscribe::weak(recipient).replay(Replay::All).delivery(Delivery::Latest);
        for coordinator in self.coordinators.iter() {
            subscribe = subscribe.only(coordinator);
        }
        self.feedback.subscribe(subscribe);
    }

    /// Returns how it stands with each URL, in their order.
    pub fn snapshot(&self) -> Vec<BroadcastSnapshot> {
        self.remotes.iter().map(|remote| remote.snapshot()).collect()
    }

    /// Waits until the broadcaster, or what sends to one of its URLs, has died of a panic, which is a fault in it; for ever
    /// if none does. Nobody else is held up by that, but what it had to deliver is not delivered, and a producer behind
    /// a URL hears no more of levels: start another.
    ///
    /// This does not keep the broadcaster alive.
    pub fn died(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut died = self.died.clone();
        async move {
            if died.wait_for(|died| *died).await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Returns the points inside the broadcaster and its lanes at which a test can make it panic.
    #[cfg(feature = "testing")]
    pub fn fault(&self) -> Fault {
        self.fault.clone()
    }

    /// Ends the broadcaster once every URL has what was published before this call, or `within` is up. What waits for a
    /// URL that failed is sent once more at once; then the waits are as ever, and a URL whose next attempt would begin
    /// too late is not waited for.
    pub async fn finish(&self, within: Duration) {
        let _ = self.addr.clone().send(Finish { feedback: self.feedback.clone(), within }).await;
    }
}

impl fmt::Debug for BroadcasterHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.remotes.iter().map(|remote| remote.endpoint())).finish()
    }
}

impl HttpBroadcaster {
    fn offer(&self, event: &FeedbackEvent) {
        if !self.only.is_empty() && !self.only.iter().any(|selector| selector.selects(event)) {
            return;
        }
        let webhook = match Webhook::new(event) {
            Ok(webhook) => Arc::new(webhook),
            Err(error) => {
                tracing::error!(event = event.id, %error, "an event cannot be written as JSON and is not sent");
                return;
            }
        };
        let key = CoordinatorKey::of(event);
        for remote in self.remotes.iter() {
            self.fault.point("an event came and a lane does not have it");
            remote.offer(&key, event, &webhook);
        }
    }

    fn report_undelivered(&self) {
        for left in self.remotes.iter().map(|remote| remote.snapshot()).filter(|left| left.pending > 0) {
            let error = left.last_error.unwrap_or_default();
            tracing::warn!(endpoint = %left.endpoint, events = left.pending, error, "the last events were not delivered");
        }
    }
}

impl Actor for HttpBroadcaster {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        let Some(Start { urls, tls, secrets, timeout }) = self.start.take() else { return };
        for (remote, url) in self.remotes.iter().zip(urls) {
            // A client a URL: the bound on connections is the client's, over all its hosts.
            let client = Client::new(remote.endpoint(), url, Arc::clone(&tls), Arc::clone(&secrets), timeout);
            let (lane, running) = (Arc::clone(remote).run(client), self.running.subscribe());
            let tell = self.tell.clone();
            self.lanes.push(actix_rt::spawn(async move {
                lane.await;
                drop((running, tell));
            }));
        }
    }
}

impl Drop for HttpBroadcaster {
    fn drop(&mut self) {
        for lane in &self.lanes {
            lane.abort();
        }
    }
}

impl Handler<FeedbackEvent> for HttpBroadcaster {
    type Result = ();

    fn handle(&mut self, event: FeedbackEvent, _: &mut Context<Self>) {
        self.offer(&event);
    }
}

impl Handler<Finish> for HttpBroadcaster {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, Finish { feedback, within }: Finish, _: &mut Context<Self>) -> Self::Result {
        let deadline = Instant::now() + within.min(LONGEST);
        // What was published last may still be on its way through the bus, which knows it already.
        let present = async move {
            let snapshot = timeout_at(deadline, feedback.snapshot()).await;
            snapshot.ok().and_then(Result::ok).map(|bus| bus.present).unwrap_or_default()
        };
        let end = present.into_actor(self).then(move |present, broadcaster, _| {
            broadcaster.fault.point("the end has come and the present is not offered");
            present.iter().for_each(|event| broadcaster.offer(event));
            broadcaster.fault.point("the present is offered and the lanes do not know of the end");
            broadcaster.remotes.iter().for_each(|remote| remote.end(deadline));
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
