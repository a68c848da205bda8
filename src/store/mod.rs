//! The store as one thing: settings in, started and wired actors out, and an orderly end.

mod builder;
mod database;
mod embedder_actors;
mod error;
mod registry;
mod replay;
mod shutdown;
mod start;
mod threads;
mod webhooks;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use actix::{Actor, Addr, Context};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use self::{builder::Close, threads::Threads, webhooks::BroadcasterHandle};
pub use self::{
    builder::{Builder, Coordinator},
    error::{StartError, UnknownCoordinator},
    registry::{WithKind, kind_names, with_kind},
    shutdown::DrainReport,
};
#[cfg(feature = "serve")]
use crate::policy::Level;
use crate::{
    coordinator::{Health, RunningCoordinator, StopReason, StopSignal, WriteHandle},
    dead_letter::DeadLetters,
    feedback::{Claim, Feedback},
    record::Record,
    settings::Settings,
};

/// A running store: one or several coordinators, each with its queue, its workers and its sink, on one feedback bus.
///
/// Cheap to clone, usable from any thread. It lives on threads and an actix System of its own, however it was started:
/// the end of the embedder's runtime or System ends nothing here.
///
/// End it with [`shutdown`](Self::shutdown) or [`finish`](Self::finish). The store lives as long as a clone of this
/// value: when the last one is dropped without an end, by a `?` or a panic in `main` say, its actors stop where they
/// are, its
/// [`WriteHandle`]s refuse further records as closed, and one ERROR says how many accepted records were left. The drop
/// does not block. A clone in an actor of the store or in a task that never ends keeps it from being dropped; a
/// [`WriteHandle`] does not.
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
    coordinators: BTreeMap<Arc<str>, Arc<dyn RunningCoordinator>>,
    feedback: Feedback,
    /// The bus was made for this store and ends with it.
    owns_bus: bool,
    /// The names that the store publishes under, until it has ended.
    claims: Mutex<Vec<Claim>>,
    dead_letters: DeadLetters,
    /// Sends level changes to URLs, if the settings say so.
    broadcaster: Option<BroadcasterHandle>,
    /// Close the databases that the store has opened.
    closes: Mutex<Vec<Close>>,
    signal: StopSignal,
    threads: Threads,
    shutdown_timeout: Duration,
    /// Those of the database of its kinds, if the store has opened it.
    #[cfg_attr(not(feature = "serve"), expect(dead_code, reason = "the service alone reads back"))]
    database: Option<Settings>,
    report: OnceCell<DrainReport>,
}

impl MarketDataStore {
    /// Starts a store with a coordinator for each of `settings.kinds`, [`Bar`](crate::Bar)s unless they say otherwise, in
    /// the database of `settings.database_url`: on [`feedback_bus`](crate::feedback_bus) inside an actix System, elsewhere
    /// on a bus of its own. Works on any runtime, and blocks it for the moment that opening the file takes,
    /// or for up to five seconds where a server does not answer.
    ///
    /// # Errors
    /// When a setting is wrong, a kind is none of this crate's, the database or the directory for dead letters cannot
    /// be used, or the operating system refuses a thread. A database that is locked or away is no error: records wait
    /// in the queue until it is there.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        Self::builder(settings).kinds()?.start().await
    }

    /// Starts a store as [`start`](Self::start) does, without `await` and always with a bus of its own: for code
    /// without a runtime. Blocks the caller for the moment that this takes.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn spawn(settings: Settings) -> Result<Self, StartError> {
        Self::builder(settings).kinds()?.spawn()
    }

    /// Begins a store of the caller's own choice of coordinators, whatever `settings.kinds` say.
    pub fn builder(settings: Settings) -> Builder {
        Builder::new(settings)
    }

    /// Returns the handle of the only coordinator of `T`.
    ///
    /// # Errors
    /// When there is none, or more than one: then ask by id with [`coordinator_named`](Self::coordinator_named). The
    /// error lists the ids.
    pub fn coordinator<T: Record>(&self) -> Result<WriteHandle<T>, UnknownCoordinator> {
        let mut handles = self.inner.coordinators.values().filter_map(|running| handle_of::<T>(&**running));
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
        handle_of(&**running)
            .ok_or_else(|| self.unknown(format!("coordinator {id:?} does not take {} records", T::KIND)))
    }

    fn unknown(&self, problem: String) -> UnknownCoordinator {
        let known = self.inner.coordinators.keys().map(ToString::to_string).collect();
        UnknownCoordinator::new(problem, known)
    }

    /// Returns how every coordinator is, by id. Everything that happened before the call is in it.
    pub async fn health(&self) -> Vec<Health> {
        futures_util::future::join_all(self.inner.coordinators.values().map(|running| running.health())).await
    }

    /// Returns the highest of the coordinators' present levels, without waiting.
    #[cfg(feature = "serve")]
    pub(crate) fn level(&self) -> Level {
        self.inner.coordinators.values().map(|running| running.level()).max().unwrap_or(Level::Ok)
    }

    /// Returns the ids of the coordinators, in order.
    #[cfg(feature = "serve")]
    pub(crate) fn coordinator_ids(&self) -> impl Iterator<Item = &str> {
        self.inner.coordinators.keys().map(|id| &**id)
    }

    /// Returns the settings of the database that records of its kinds are in; none where an embedder chose another one.
    #[cfg(feature = "serve")]
    pub(crate) fn database(&self) -> Option<&Settings> {
        self.inner.database.as_ref()
    }

    /// Returns the bus on which the coordinators publish their level changes.
    pub fn feedback(&self) -> Feedback {
        self.inner.feedback.clone()
    }

    /// Returns the dead letters of all coordinators of this store.
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
        self.inner.broadcaster.as_ref().map(BroadcasterHandle::snapshot).unwrap_or_default()
    }

    /// Returns the points inside the broadcaster at which a test can make it panic, if there is one.
    #[cfg(all(feature = "testing", feature = "webhooks"))]
    #[doc(hidden)]
    pub fn broadcaster_fault(&self) -> Option<crate::fault::Fault> {
        self.inner.broadcaster.as_ref().map(BroadcasterHandle::fault)
    }

    /// Starts an actor from any thread, on an arbiter of its own: whatever it does to its thread, neither the write
    /// path nor another such actor notices. The arbiter ends with the actor, and with the store at the latest, once a
    /// subscriber has handled the last event or a second is over. An actor that is started after that never runs, nor
    /// does one for which the operating system has no thread: then there is an ERROR, and its address is not connected.
    ///
    /// An arbiter costs a thread, four file descriptors and about 35 KiB (`cargo bench --bench actors`, on Linux). To
    /// share one, let an actor start the others with [`Actor::start`](actix::Actor::start): one of them that blocks it
    /// holds up them all, and they end with the actor that started them. With
    /// [`on_current_arbiter`](Builder::on_current_arbiter) all share that arbiter.
    ///
    /// All these actors have one System, which is not that of the store's parts: one that stops its System ends them
    /// all, and no part of the store.
    ///
    /// Such an actor holds a [`WriteHandle`], not a clone of the store: that would keep the store from being dropped.
    pub fn start_actor<A>(&self, make: impl FnOnce(&mut Context<A>) -> A + Send + 'static) -> Addr<A>
    where
        A: Actor<Context = Context<A>>,
    {
        self.inner.threads.embedder_actors.start_actor(make)
    }

    /// Returns how long a shutdown may take by the settings that the store was started with: for
    /// [`shutdown`](Self::shutdown) and [`finish`](Self::finish).
    pub fn shutdown_timeout(&self) -> Duration {
        self.inner.shutdown_timeout
    }

    /// Waits until the store has ended or a part of it died that is not replaced, and returns why: at once where that
    /// has happened. After the death of a bus records are written on, but no subscriber hears of levels; after that of
    /// a broadcaster no other process does. A [database that does not fit](StopReason::DatabaseUnfit) takes nothing: what
    /// is accepted waits, and becomes dead letters at the end of the store, unless the database is mended before.
    pub async fn stopped(&self) -> StopReason {
        self.inner.signal.stopped().await
    }
}

impl MarketDataStore {
    /// Ends a store that no caller ever had.
    fn discard(self) {
        self.inner.signal.begin_end();
        self.inner.threads.end();
    }
}

fn handle_of<T: Record>(running: &dyn RunningCoordinator) -> Option<WriteHandle<T>> {
    running.handle().downcast_ref::<WriteHandle<T>>().cloned()
}

impl fmt::Debug for MarketDataStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MarketDataStore")
            .field("coordinators", &self.inner.coordinators.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.signal.is_ending() {
            return;
        }
        self.signal.begin_end();
        // Parts on the current arbiter do not end with an arbiter: a closed queue at least moves nothing any more, and
        // what waits for it hears of it.
        let unsettled: usize = self.coordinators.values().map(|running| running.close()).sum();
        self.threads.end();
        self.signal.stop(StopReason::ShutDown);
        let coordinators = self.coordinators.keys().map(|id| &**id).collect::<Vec<_>>().join(", ");
        if unsettled > 0 {
            tracing::error!(
                coordinators,
                unsettled,
                "a store was dropped without an end, and so many accepted records are not known to be stored or dead \
                 letters: call MarketDataStore::shutdown, or finish, and wait for it before the last clone goes"
            );
        } else {
            let text = "a store was dropped without an end, call MarketDataStore::shutdown; no record was lost";
            tracing::warn!(coordinators, "{text}");
        }
    }
}
