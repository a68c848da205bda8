//! The store as one thing: settings in, started and wired actors out, and an orderly end.

mod replay;
mod webhooks;

use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    future::Future,
    marker::PhantomData,
    num::NonZeroUsize,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use actix::{Actor, Addr, Arbiter, Context, System};
use futures_util::{FutureExt, future::OptionFuture};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{OnceCell, oneshot};

use self::webhooks::BroadcasterHandle;
use crate::{
    coordinator::{
        self, ActorHost, ActorHosts, CoordinatorConfig, CoordinatorReport, Drain, StopReason, StopSignal,
        WriteCoordinator, WriteHandle,
    },
    dead_letter::{DeadLetters, DeadLettersError},
    feedback::{Feedback, feedback_bus},
    record::{Bar, Record},
    settings::{CoordinatorSettings, Settings, SettingsError},
    sink::{BoxSink, Sink},
};

/// A sink may block its thread for a while, as many drivers do; then others should go on, on a small machine too.
const MIN_WORKER_THREADS: usize = 4;

/// How long the end waits for subscribers to handle the last event. One that is stuck would hold it for ever.
const LAST_EVENTS: Duration = Duration::from_secs(1);

/// How long the end waits for webhooks to deliver what was published last.
const LAST_DELIVERIES: Duration = Duration::from_secs(5);

/// They are delivered while the coordinators drain, and take no more than this beyond the last dead letters: the process is
/// to be gone within five seconds of the deadline, with subscribers seen to as well.
const LAST_DELIVERIES_LATE: Duration = Duration::from_millis(500);

/// How long the end waits for dead letters. A disk that hangs must not hold the process.
const LAST_LETTERS: Duration = Duration::from_secs(2);

/// A running store: one or several coordinators, each with its queue, its workers and its sink, on one feedback bus.
///
/// Cheap to clone, usable from any thread. End it with [`shutdown`](Self::shutdown) or [`finish`](Self::finish): when
/// the last clone and the last [`WriteHandle`] are dropped without one, the actors are stopped where they are, and an
/// ERROR says how many records were not settled.
///
/// ```no_run
/// use market_data_store::{Bar, MarketDataStore, Settings};
///
/// # async fn run(bar: Bar) -> Result<(), Box<dyn std::error::Error>> {
/// let settings = Settings::from_env()?;
/// let store = MarketDataStore::start(settings).await?;
/// let bars = store.coordinator::<Bar>()?;
/// bars.submit(bar).await?;
/// let report = store.shutdown(store.shutdown_timeout()).await;
/// assert!(report.is_complete(), "{report}");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MarketDataStore {
    inner: Arc<Inner>,
}

struct Inner {
    coordinators: BTreeMap<Arc<str>, Running>,
    feedback: Feedback,
    dead_letters: DeadLetters,
    /// The bus was made for this store and ends with it.
    owns_bus: bool,
    engine: Arc<Engine>,
    shutdown_timeout: Duration,
    ended: OnceCell<DrainReport>,
}

/// A coordinator of a type that is known no more.
struct Running {
    /// A `WriteHandle<T>`.
    handle: Box<dyn Any + Send + Sync>,
    drain: Box<dyn Fn(Drain) -> Draining + Send + Sync>,
}

type Draining = Pin<Box<dyn Future<Output = CoordinatorReport> + Send>>;

/// What runs the actors. Every handle keeps it alive.
struct Engine {
    signal: StopSignal,
    arbiters: Mutex<Vec<Arbiter>>,
    /// For the actors of others, so that none of them can block a part of the store.
    guests: Vec<ActorHost>,
    next_guest: AtomicUsize,
    /// Sends level changes to URLs, if the settings say so.
    broadcasts: Option<BroadcasterHandle>,
    /// Close each coordinator's queue, and count the records that it has not settled.
    closers: Mutex<Vec<Box<dyn Fn() -> usize + Send + Sync>>>,
    ended: AtomicBool,
    /// Dropping it ends the thread that was made for the engine.
    thread: Mutex<Option<oneshot::Sender<()>>>,
}

impl Engine {
    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.signal.stop(StopReason::ShutDown);
        for arbiter in self.arbiters.lock().drain(..) {
            arbiter.stop();
        }
        self.thread.lock().take();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if !self.ended.load(Ordering::Acquire) {
            // Parts on the current arbiter do not end with an arbiter: a closed queue at least moves nothing any more,
            // and whoever waits hears of it.
            let unsettled: usize = self.closers.lock().iter().map(|close| close()).sum();
            tracing::error!(unsettled, "the last handle of a store was dropped without a shutdown");
            self.end();
        }
    }
}

/// Why a store could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// [`start`](Builder::start) needs an actix System around it.
    #[error("no actix System on this thread: start inside one, or use spawn() instead")]
    NoActixSystem,
    /// A setting is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A coordinator's id is empty or contains a slash.
    #[error("coordinator id {0:?}: expected a name without '/'")]
    InvalidId(String),
    /// The watermarks of a coordinator are out of order.
    #[error(transparent)]
    Watermarks(crate::policy::WatermarkError),
    /// Two coordinators have one id. Coordinators of one kind need an id each: [`Coordinator::id`].
    #[error("coordinator id {0:?} is used twice")]
    DuplicateId(String),
    /// The database URL names a store that this build does not know.
    #[error("MDS_DATABASE_URL is {url:?}, expected {expected}")]
    UnknownStore {
        /// The URL, without secrets.
        url: String,
        /// What this build knows.
        expected: &'static str,
    },
    /// The SQLite file cannot be used.
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    Sqlite(#[from] crate::sink::SqliteOpenError),
    /// The directory for dead letters cannot be used.
    #[error(transparent)]
    DeadLetters(#[from] DeadLettersError),
    /// Webhooks cannot be sent as the settings say.
    #[cfg(feature = "webhooks")]
    #[error(transparent)]
    Webhooks(#[from] crate::feedback::BroadcastError),
    /// The settings ask for webhooks.
    #[cfg(not(feature = "webhooks"))]
    #[error("MDS_FB_ENABLE_HTTP_BROADCAST is true, expected false in a build without the feature webhooks")]
    NoWebhooks,
    /// The operating system refused a thread.
    #[error("cannot start a thread for the store")]
    Thread(#[source] std::io::Error),
}

/// There is no such coordinator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; coordinators here: {}", known.join(", "))]
pub struct UnknownCoordinator {
    problem: String,
    known: Vec<String>,
}

/// What became of all records, at the end. It adds up, in sum and in every coordinator:
/// `submitted = stored + dead_lettered + dropped + unsettled`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DrainReport {
    /// Each coordinator's part, by id.
    pub coordinators: Vec<CoordinatorReport>,
}

impl DrainReport {
    /// Returns the records that were accepted.
    pub fn submitted(&self) -> u64 {
        self.coordinators.iter().map(|report| report.submitted).sum()
    }

    /// Returns the records that were committed by their sinks.
    pub fn stored(&self) -> u64 {
        self.coordinators.iter().map(|report| report.stored).sum()
    }

    /// Returns the records that are in dead-letter files.
    pub fn dead_lettered(&self) -> u64 {
        self.coordinators.iter().map(|report| report.dead_lettered).sum()
    }

    /// Returns the records that were evicted unwritten.
    pub fn dropped(&self) -> u64 {
        self.coordinators.iter().map(|report| report.dropped).sum()
    }

    /// Returns the records that were accepted and of which nobody knows that they are stored.
    pub fn unsettled(&self) -> u64 {
        self.coordinators.iter().map(|report| report.unsettled).sum()
    }

    /// Returns whether every accepted record was settled.
    pub fn is_complete(&self) -> bool {
        self.unsettled() == 0
    }
}

/// One line: `901 submitted: 900 stored, 0 dead-lettered, 0 dropped, 1 unsettled`.
impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (submitted, stored, dead_lettered) = (self.submitted(), self.stored(), self.dead_lettered());
        let (dropped, unsettled) = (self.dropped(), self.unsettled());
        write!(
            f,
            "{submitted} submitted: {stored} stored, {dead_lettered} dead-lettered, {dropped} dropped, \
             {unsettled} unsettled"
        )
    }
}

impl MarketDataStore {
    /// Starts a store of [`Bar`]s in the database of `settings.database_url`, on [`feedback_bus`].
    ///
    /// # Errors
    /// [`StartError::NoActixSystem`] outside an actix System; when a setting is wrong or the database cannot be used.
    /// A database that is locked or away is no error: records wait in the queue until it is there.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        // Before a database is opened, which may be made by that.
        check_system()?;
        let bars = Coordinator::bars(&settings.database_url)?;
        Self::builder(settings).coordinator(bars).start().await
    }

    /// Starts a store as [`start`](Self::start) does, but on a thread of its own and with a bus of its own: from any
    /// runtime, or none. Blocks the caller for the moment that this takes.
    ///
    /// # Errors
    /// When a setting is wrong, the database cannot be used, or the operating system refuses a thread.
    pub fn spawn(settings: Settings) -> Result<Self, StartError> {
        let bars = Coordinator::bars(&settings.database_url)?;
        Self::builder(settings).coordinator(bars).spawn()
    }

    /// Begins a store of the caller's own choice of coordinators.
    pub fn builder(settings: Settings) -> Builder {
        Builder { settings, coordinators: Vec::new(), feedback: None, current: false }
    }

    /// Returns the handle of the only coordinator of `T`.
    ///
    /// # Errors
    /// When there is none, or more than one: then ask by id with [`coordinator_named`](Self::coordinator_named). The
    /// error lists the ids.
    pub fn coordinator<T: Record>(&self) -> Result<WriteHandle<T>, UnknownCoordinator> {
        let mut handles = self.inner.coordinators.values().filter_map(Running::handle::<T>);
        match (handles.next(), handles.next()) {
            (Some(handle), None) => Ok(handle),
            (Some(_), Some(_)) => Err(self.unknown(format!("several coordinators of {} records", T::KIND))),
            (None, _) => Err(self.unknown(format!("no coordinator of {} records", T::KIND))),
        }
    }

    /// Returns the handle of the coordinator `id`.
    ///
    /// # Errors
    /// When there is none of this id, or it takes another kind of record. The error lists the ids.
    pub fn coordinator_named<T: Record>(&self, id: &str) -> Result<WriteHandle<T>, UnknownCoordinator> {
        let Some(running) = self.inner.coordinators.get(id) else {
            return Err(self.unknown(format!("no coordinator {id:?}")));
        };
        running.handle().ok_or_else(|| self.unknown(format!("coordinator {id:?} does not take {} records", T::KIND)))
    }

    fn unknown(&self, problem: String) -> UnknownCoordinator {
        UnknownCoordinator { problem, known: self.inner.coordinators.keys().map(ToString::to_string).collect() }
    }

    /// Returns the bus on which the coordinators publish their level changes.
    pub fn feedback(&self) -> Feedback {
        self.inner.feedback.clone()
    }

    /// Returns the dead letters of all coordinators of this store, from which they can be replayed.
    pub fn dead_letters(&self) -> DeadLetters {
        self.inner.dead_letters.clone()
    }

    /// Returns how it stands with each URL that level changes are sent to; there is none unless
    /// MDS_FB_ENABLE_HTTP_BROADCAST is true.
    ///
    /// ```no_run
    /// # fn show(store: &market_data_store::MarketDataStore) {
    /// for url in store.broadcasts() {
    ///     println!("{} {:?}: {} pending, {:?}", url.endpoint, url.state, url.pending, url.last_error);
    /// }
    /// # }
    /// ```
    #[cfg(feature = "webhooks")]
    pub fn broadcasts(&self) -> Vec<crate::feedback::BroadcastSnapshot> {
        self.inner.engine.broadcasts.as_ref().map(BroadcasterHandle::snapshot).unwrap_or_default()
    }

    /// Returns the points inside the broadcaster at which a test can make it panic, if there is one.
    #[cfg(all(feature = "testing", feature = "webhooks"))]
    pub fn broadcaster_fault(&self) -> Option<crate::fault::Fault> {
        self.inner.engine.broadcasts.as_ref().map(BroadcasterHandle::fault)
    }

    /// Starts an actor from any thread, on one of a few arbiters that carry no part of the store: whatever it does to
    /// its thread, the write path does not notice. It ends with the store.
    pub fn start_actor<A>(&self, make: impl FnOnce(&mut Context<A>) -> A + Send + 'static) -> Addr<A>
    where
        A: Actor<Context = Context<A>>,
    {
        let engine = &self.inner.engine;
        let next = engine.next_guest.fetch_add(1, Ordering::Relaxed);
        engine.guests[next % engine.guests.len()].start(make)
    }

    /// Returns how long a shutdown may take by the settings that the store was started with: for
    /// [`shutdown`](Self::shutdown) and [`finish`](Self::finish).
    pub fn shutdown_timeout(&self) -> Duration {
        self.inner.shutdown_timeout
    }

    /// Waits until the store has ended or a part of it died that is not replaced, and returns why. After the death of a
    /// bus records are written on, but nobody hears of levels; after that of a broadcaster nobody outside the process.
    pub async fn stopped(&self) -> StopReason {
        self.inner.engine.signal.stopped().await
    }

    /// Ends the store: raises `draining`, refuses new records, settles what was accepted, and stops all actors. What is
    /// not settled by `deadline` becomes dead letters, and what of that cannot be written within 2 seconds more is
    /// reported as unsettled; the deadline of the settings is [`shutdown_timeout`](Self::shutdown_timeout).
    ///
    /// Webhooks are delivered meanwhile; what is left of them then may take five seconds more, but not beyond 2.5 seconds
    /// after the deadline.
    ///
    /// A write that is still under way then may succeed all the same. Its records are in the store and in the dead
    /// letters, and a replay writes them once more.
    ///
    /// Stop the producers first. `draining` is hard and never clears, so a feed that pauses at hard until ok waits for
    /// ever, unless it ends on [`Reason::Draining`](crate::Reason::Draining). A bus of the store's own ends with it and
    /// closes its [watch channels](Feedback::watch); a shared one goes on, and they stay open.
    ///
    /// Calling it again, or beside another end, returns the same report.
    pub async fn shutdown(&self, deadline: Duration) -> DrainReport {
        self.end(Drain { deadline, announce: true, letters: LAST_LETTERS }).await
    }

    /// Ends the store as [`shutdown`](Self::shutdown) does, but at once, and for whoever is not pressed: what is not settled
    /// becomes dead letters, which may take `letters`, two seconds at least; what cannot be written in that time is reported
    /// as unsettled. A record that is replayed stays the dead letter that it is. For a loader, say, that has waited for its
    /// store for long enough, and has more in its queue than can be written in a moment.
    pub async fn give_up(&self, letters: Duration) -> DrainReport {
        self.end(Drain { deadline: Duration::ZERO, announce: true, letters: letters.max(LAST_LETTERS) }).await
    }

    /// Ends the store as one ends that has come to the end of its input: settles what was accepted and stops all
    /// actors without raising `draining`, so that the last event is `ok` if everything could be stored. The caller's
    /// producers have stopped before.
    ///
    /// What is not settled by `deadline` becomes dead letters, and what of that cannot be written within 2 seconds more
    /// is reported as unsettled. Calling it again, or beside another end, returns the same report.
    pub async fn finish(&self, deadline: Duration) -> DrainReport {
        self.end(Drain { deadline, announce: false, letters: LAST_LETTERS }).await
    }

    async fn end(&self, drain: Drain) -> DrainReport {
        let inner = &self.inner;
        let end = || async {
            let began = Instant::now();
            let coordinators =
                futures_util::future::join_all(inner.coordinators.values().map(|running| (running.drain)(drain)));
            let report = DrainReport { coordinators: coordinators.await };
            if let Some(broadcasts) = &inner.engine.broadcasts {
                let late = drain.letters.saturating_add(LAST_DELIVERIES_LATE);
                let left = drain.deadline.saturating_add(late).saturating_sub(began.elapsed());
                broadcasts.finish(left.min(LAST_DELIVERIES)).await;
            }
            // What died meanwhile is the reason, though the task that watches it may not have had its turn yet.
            if let Some(why) = died(&inner.feedback, inner.engine.broadcasts.as_ref()).now_or_never() {
                inner.engine.signal.stop(why);
            }
            // Before the bus ends, which would otherwise look like the reason.
            inner.engine.signal.stop(StopReason::ShutDown);
            // A feedback bus of the store's own ends with it, after its subscribers have heard the last event.
            if inner.owns_bus {
                inner.feedback.end(LAST_EVENTS).await;
            }
            inner.engine.end();
            tracing::debug!(
                submitted = report.submitted(),
                stored = report.stored(),
                dead_lettered = report.dead_lettered(),
                dropped = report.dropped(),
                unsettled = report.unsettled(),
                "the store has ended"
            );
            report
        };
        inner.ended.get_or_init(end).await.clone()
    }
}

impl fmt::Debug for MarketDataStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MarketDataStore")
            .field("coordinators", &self.inner.coordinators.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Running {
    fn handle<T: Record>(&self) -> Option<WriteHandle<T>> {
        self.handle.downcast_ref::<WriteHandle<T>>().cloned()
    }
}

/// One coordinator that a [`Builder`] is to start.
#[derive(Debug)]
pub struct Coordinator<T> {
    /// Names it in events, logs and metrics, unique in the store; none means the kind of its records.
    pub id: Option<String>,
    /// Where its batches go.
    pub sink: BoxSink<T>,
    /// Its queue and workers; none means those of the store's [`Settings`].
    pub settings: Option<CoordinatorSettings>,
    record: PhantomData<fn(T)>,
}

impl<T: Record> Coordinator<T> {
    /// A coordinator that writes to `sink`, with the kind of its records as id and the settings of the store.
    pub fn new(sink: impl Sink<T>) -> Self {
        Self { id: None, sink: BoxSink::new(sink), settings: None, record: PhantomData }
    }

    /// Sets the id.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sets queue and workers.
    #[must_use]
    pub fn settings(mut self, settings: CoordinatorSettings) -> Self {
        self.settings = Some(settings);
        self
    }
}

impl Coordinator<Bar> {
    /// A coordinator of bars that writes to the database of a URL such as `sqlite://market_data.db`.
    ///
    /// # Errors
    /// When this build knows no store of that kind, or the database cannot be used.
    pub fn bars(database_url: &str) -> Result<Self, StartError> {
        #[cfg(feature = "sqlite")]
        if database_url.starts_with("sqlite:") {
            let options = crate::sink::SqliteOptions::from_url(database_url)?;
            return Ok(Self::new(crate::sink::SqliteSink::open(options)?));
        }
        Err(StartError::UnknownStore {
            url: crate::settings::masked(database_url),
            expected: if cfg!(feature = "sqlite") { "sqlite://PATH" } else { "a build with a store (feature sqlite)" },
        })
    }
}

/// Gathers what a store is made of. Get one from [`MarketDataStore::builder`].
#[must_use = "a builder does nothing until it is started or spawned"]
pub struct Builder {
    settings: Settings,
    coordinators: Vec<Box<dyn Plan>>,
    feedback: Option<Feedback>,
    current: bool,
}

impl Builder {
    /// Adds a coordinator.
    pub fn coordinator<T: Record>(mut self, coordinator: Coordinator<T>) -> Self {
        self.coordinators.push(Box::new(coordinator));
        self
    }

    /// Chooses the bus. Without this [`start`](Self::start) takes [`feedback_bus`], and [`spawn`](Self::spawn) makes
    /// one for this store.
    pub fn feedback(mut self, feedback: Feedback) -> Self {
        self.feedback = Some(feedback);
        self
    }

    /// Runs every part on the arbiter that [`start`](Self::start) is called on, so that no foreign thread takes part:
    /// for tests with a paused clock. A sink or a subscriber that blocks then blocks everything.
    pub fn on_current_arbiter(mut self) -> Self {
        self.current = true;
        self
    }

    /// Starts the store inside the current actix System. When it returns every coordinator has published `started`: of
    /// that a subscriber that comes later hears with [`Replay::All`](crate::Replay::All), and not with
    /// [`Replay::Pressured`](crate::Replay::Pressured).
    ///
    /// # Errors
    /// [`StartError::NoActixSystem`] elsewhere; when a setting is wrong, or two coordinators have one id.
    pub async fn start(self) -> Result<MarketDataStore, StartError> {
        check_system()?;
        let plans = check(&self.settings, self.coordinators)?;
        let (feedback, owns_bus) = match self.feedback {
            Some(feedback) => (feedback, false),
            None if self.current => (Feedback::on_current_arbiter(), true),
            None => (feedback_bus(), false),
        };
        run(&self.settings, plans, feedback, owns_bus, self.current, None).await
    }

    /// Starts the store on a thread of its own, with its own actix System: from any runtime, or none. Blocks the caller
    /// for the moment that this takes. When it returns every coordinator has published `started`, as with
    /// [`start`](Self::start).
    ///
    /// # Errors
    /// When a setting is wrong, two coordinators have one id, or the operating system refuses a thread.
    pub fn spawn(self) -> Result<MarketDataStore, StartError> {
        let plans = check(&self.settings, self.coordinators)?;
        let owns_bus = self.feedback.is_none();
        let feedback = self.feedback.unwrap_or_else(Feedback::private);
        let (settings, current) = (self.settings, self.current);
        let (started, is_started) = std::sync::mpsc::sync_channel(1);
        let thread = move || {
            System::new().block_on(async move {
                let (alive, is_alive) = oneshot::channel::<()>();
                let _ = started.send(run(&settings, plans, feedback, owns_bus, current, Some(alive)).await);
                // Nothing is ever sent: it ends with the engine, or at once if none was made.
                let _ = is_alive.await;
            });
        };
        thread::Builder::new().name("mds-store".to_owned()).spawn(thread).map_err(StartError::Thread)?;
        match is_started.recv() {
            Ok(result) => result,
            Err(_) => Err(StartError::Thread(std::io::Error::other("it ended before the store had started"))),
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A coordinator to be started, of a type that is known no more.
trait Plan: Send {
    fn config(&self, settings: &Settings) -> Result<CoordinatorConfig, StartError>;

    fn start(
        self: Box<Self>,
        config: CoordinatorConfig,
        hosts: ActorHosts,
        dead_letters: &DeadLetters,
        feedback: Option<&Feedback>,
        engine: &Arc<Engine>,
    ) -> (Running, Starting);
}

/// Is ready when a coordinator has published its first event.
type Starting = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<T: Record> Plan for Coordinator<T> {
    fn config(&self, settings: &Settings) -> Result<CoordinatorConfig, StartError> {
        let id = self.id.as_deref().unwrap_or(T::KIND);
        if id.is_empty() || id.contains('/') {
            return Err(StartError::InvalidId(id.to_owned()));
        }
        // What was set for this coordinator alone is checked as the environment is.
        let mut checked = settings.clone();
        if let Some(own) = &self.settings {
            checked.coordinator = own.clone();
        }
        checked.validate()?;
        let own = &checked.coordinator;
        let at_least_one = |n| NonZeroUsize::new(n).expect("`validate` refuses 0 records and 0 workers");
        let watermarks = own.checked_watermarks().map_err(StartError::Watermarks)?;
        Ok(CoordinatorConfig {
            id: id.into(),
            source: checked.source.as_str().into(),
            capacity: at_least_one(own.capacity),
            watermarks,
            workers: at_least_one(own.workers),
            batch_size: at_least_one(own.batch_size),
            flush_interval: own.flush_interval,
            overflow: own.overflow,
            retry: checked.retry,
            breaker: checked.circuit,
        })
    }

    fn start(
        self: Box<Self>,
        config: CoordinatorConfig,
        hosts: ActorHosts,
        dead_letters: &DeadLetters,
        feedback: Option<&Feedback>,
        engine: &Arc<Engine>,
    ) -> (Running, Starting) {
        let (publisher, control) = (feedback.map(Feedback::publisher), hosts.control.clone());
        let owner: Arc<dyn Any + Send + Sync> = Arc::clone(engine) as _;
        let (handle, address) =
            coordinator::start(config, self.sink, dead_letters.clone(), hosts, publisher, engine.signal.clone(), owner);
        let drain_orphan = handle.drain_orphan(dead_letters.clone(), control.arbiter());
        engine.closers.lock().push(handle.closer());
        let starting = Box::pin({
            let handle = handle.clone();
            async move {
                // It publishes before it answers anything. One that died has told why by another way.
                let _ = handle.health().await;
            }
        });
        (Running { drain: Box::new(drainer(address, drain_orphan)), handle: Box::new(handle) }, starting)
    }
}

/// Returns a function that drains a coordinator, or has what one that is gone left behind become dead letters.
fn drainer<T: Record>(
    address: Addr<WriteCoordinator<T>>,
    drain_orphan: impl Fn(Drain) -> Draining + Clone + Send + Sync + 'static,
) -> impl Fn(Drain) -> Draining + Send + Sync {
    move |drain| {
        let (began, answer) = (Instant::now(), address.send(drain));
        let drain_orphan = drain_orphan.clone();
        Box::pin(async move {
            match answer.await {
                Ok(report) => report,
                // It may have died in the middle of it.
                Err(_) => {
                    let deadline = drain.deadline.saturating_sub(began.elapsed());
                    let late = began.elapsed().saturating_sub(drain.deadline);
                    drain_orphan(Drain { deadline, letters: drain.letters.saturating_sub(late), ..drain }).await
                }
            }
        })
    }
}

fn check_system() -> Result<(), StartError> {
    if System::try_current().is_some() { Ok(()) } else { Err(StartError::NoActixSystem) }
}

type Plans = Vec<(CoordinatorConfig, Box<dyn Plan>)>;

/// Checks everything that can be wrong before anything is started.
fn check(settings: &Settings, coordinators: Vec<Box<dyn Plan>>) -> Result<Plans, StartError> {
    settings.validate()?;
    let mut plans: Plans = Vec::new();
    for plan in coordinators {
        let config = plan.config(settings)?;
        if plans.iter().any(|(other, _)| other.id == config.id) {
            return Err(StartError::DuplicateId(config.id.to_string()));
        }
        plans.push((config, plan));
    }
    Ok(plans)
}

/// Starts everything, inside an actix System.
async fn run(
    settings: &Settings,
    plans: Plans,
    feedback: Feedback,
    owns_bus: bool,
    current: bool,
    thread: Option<oneshot::Sender<()>>,
) -> Result<MarketDataStore, StartError> {
    // Before the arbiters: those that were started would outlive an error.
    let dead_letters = DeadLetters::open(&settings.dlq_path)?;
    let broadcasts = match webhooks::prepare(settings, plans.iter().map(|(config, _)| &config.id))? {
        Some(prepared) => Some(prepared.start(&feedback, current)?),
        None => None,
    };
    let cores = thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let workers = plans.iter().map(|(config, _)| config.workers.get()).sum::<usize>();
    let mut arbiters = Vec::new();
    // A few threads for a kind of part, shared by the parts of that kind. Each kind has its own: a sink that blocks its
    // thread must not hold up a queue, and an actor of the embedder's must not hold up either.
    let mut pool = |threads: usize| -> Result<Vec<ActorHost>, StartError> {
        if current {
            return Ok(vec![ActorHost::Current]);
        }
        let start = |_| {
            let arbiter = Arbiter::try_new().map_err(StartError::Thread)?;
            let place = ActorHost::Arbiter(arbiter.handle());
            arbiters.push(arbiter);
            Ok(place)
        };
        (0..threads.max(1)).map(start).collect()
    };
    let control = pool(plans.len().min(cores))?;
    let workers = pool(workers.min(cores.max(MIN_WORKER_THREADS)))?;
    let guests = pool(cores.clamp(2, 8))?;

    let signal = StopSignal::new();
    watch_feedback(&feedback, broadcasts.as_ref(), &signal);
    let engine = Arc::new(Engine {
        signal,
        arbiters: Mutex::new(arbiters),
        guests,
        next_guest: AtomicUsize::new(0),
        broadcasts,
        closers: Mutex::new(Vec::new()),
        ended: AtomicBool::new(false),
        thread: Mutex::new(thread),
    });

    let mut next_worker = workers.iter().cycle();
    let mut coordinators = BTreeMap::new();
    let mut starting = Vec::new();
    for ((config, plan), control) in plans.into_iter().zip(control.iter().cycle()) {
        let id = Arc::clone(&config.id);
        let workers = next_worker.by_ref().take(config.workers.get()).cloned().collect();
        let hosts = ActorHosts { control: control.clone(), workers };
        let publish = settings.feedback.enabled.then_some(&feedback);
        let (running, started) = plan.start(config, hosts, &dead_letters, publish, &engine);
        coordinators.insert(id, running);
        starting.push(started);
    }
    futures_util::future::join_all(starting).await;
    // Now, so that what a coordinator of the same name said before its restart is not sent again.
    if let Some(broadcasts) = &engine.broadcasts {
        broadcasts.follow();
    }
    let shutdown_timeout = settings.shutdown_timeout;
    let inner =
        Inner { coordinators, feedback, dead_letters, owns_bus, engine, shutdown_timeout, ended: OnceCell::new() };
    Ok(MarketDataStore { inner: Arc::new(inner) })
}

/// Tells of the end of the bus, and of the broadcaster's death, for as long as the store runs.
fn watch_feedback(feedback: &Feedback, broadcasts: Option<&BroadcasterHandle>, signal: &StopSignal) {
    let (died, signal) = (died(feedback, broadcasts), signal.clone());
    actix_rt::spawn(async move {
        tokio::select! {
            why = died => signal.stop(why),
            _ = signal.stopped() => {}
        }
    });
}

/// Waits until the bus has ended or the broadcaster has died, without keeping the broadcaster alive.
fn died(
    feedback: &Feedback,
    broadcasts: Option<&BroadcasterHandle>,
) -> impl Future<Output = StopReason> + Send + use<> {
    let feedback = feedback.clone();
    let broadcaster_died = OptionFuture::from(broadcasts.map(BroadcasterHandle::died));
    async move {
        tokio::select! {
            () = feedback.stopped() => StopReason::BusDied,
            Some(()) = broadcaster_died => StopReason::BroadcasterDied,
        }
    }
}
