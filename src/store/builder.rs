//! What a store is to be made of.

use std::{fmt, marker::PhantomData, num::NonZeroUsize, pin::Pin, sync::Arc};

use super::error::StartError;
use crate::{
    coordinator::{self, ActorHosts, CoordinatorConfig, RunningCoordinator, StopSignal},
    dead_letter::DeadLetters,
    feedback::{Feedback, Publisher},
    record::{Bar, Record, Tabular},
    settings::{CoordinatorSettings, Settings, names::is_coordinator_id},
    sink::{BoxSink, Database, Sink},
};

/// Closes a database that the store has opened.
pub(super) type Close = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// Plans a coordinator of some kind in a database, and makes the kind's table there.
type PlanKind = Box<dyn FnOnce(&Database) -> Result<Box<dyn Plan>, StartError> + Send>;

/// One coordinator that a [`Builder`] is to start.
pub struct Coordinator<T> {
    /// Names it in events, logs and metrics, unique in the store; none means the kind of its records.
    pub id: Option<String>,
    /// Where its batches go.
    pub sink: BoxSink<T>,
    /// Its queue and workers; none means those of the store's [`Settings`].
    pub settings: Option<CoordinatorSettings>,
    /// Closes the sink at the end, if the store opened it.
    close: Option<Close>,
    record: PhantomData<fn(T)>,
}

impl<T: Record> Coordinator<T> {
    /// Makes a coordinator that writes to `sink`, with the kind of its records as id and the settings of the store.
    pub fn new(sink: impl Sink<T>) -> Self {
        Self { id: None, sink: BoxSink::new(sink), settings: None, close: None, record: PhantomData }
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

impl<T> fmt::Debug for Coordinator<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinator").field("id", &self.id).field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Coordinator<Bar> {
    /// Makes a coordinator of bars that writes to the database of a URL such as `sqlite://market_data.db`. The end of
    /// the store closes the database, so that all is in the one file then.
    ///
    /// # Errors
    /// When this build knows no store of that kind, or the database cannot be used.
    pub fn bars(database_url: &str) -> Result<Self, StartError> {
        let connected = Database::connect(database_url);
        let database = connected.map_err(|error| StartError::of_database(error, database_url))?;
        let bars = Self::in_database(&database, database_url)?;
        Ok(Self { close: Some(close(database)), ..bars })
    }
}

impl<T: Tabular> Coordinator<T> {
    fn in_database(database: &Database, url: &str) -> Result<Self, StartError> {
        database.prepare::<T>().map_err(|error| StartError::of_database(error, url))?;
        Ok(Self::new(database.clone()))
    }
}

fn close(database: Database) -> Close {
    Box::new(move || Box::pin(async move { database.close().await }))
}

/// Every coordinator to be started, and what closes their databases.
type Plans = (Vec<Box<dyn Plan>>, Vec<Close>);

/// Gathers what a store is made of. Get one from [`MarketDataStore::builder`](crate::MarketDataStore::builder).
#[must_use = "a builder does nothing until it is started or spawned"]
pub struct Builder {
    pub(super) settings: Settings,
    coordinators: Vec<Box<dyn Plan>>,
    kinds: Vec<PlanKind>,
    database: Option<Database>,
    pub(super) feedback: Option<Feedback>,
    pub(super) current: bool,
}

impl Builder {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings, coordinators: Vec::new(), kinds: Vec::new(), database: None, feedback: None, current: false }
    }

    /// Adds a coordinator of records of type `T`, in the database of
    /// [`Settings::database_url`](crate::Settings::database_url), with the kind as its id. The start makes the kind's
    /// table if it is not there. All kinds of a store share the connection, which the end of the store closes.
    pub fn kind<T: Tabular>(mut self) -> Self {
        let url = self.settings.database_url.clone();
        self.kinds.push(Box::new(move |database| Ok(Box::new(Coordinator::<T>::in_database(database, &url)?))));
        self
    }

    /// Chooses the database of every [`kind`](Self::kind), instead of that of the settings. Without a kind it is not
    /// used: a [`coordinator`](Self::coordinator) has a sink of its own. It goes on when the store ends: close it
    /// yourself.
    pub fn database(mut self, database: impl Into<Database>) -> Self {
        self.database = Some(database.into());
        self
    }

    /// Opens the database if a kind needs it, and returns every coordinator to be started, with what closes it.
    pub(super) fn plans(&mut self) -> Result<Plans, StartError> {
        let mut plans = std::mem::take(&mut self.coordinators);
        let mut closes: Vec<Close> = plans.iter_mut().filter_map(|plan| plan.close()).collect();
        if !self.kinds.is_empty() {
            let (database, is_ours) = match self.database.take() {
                Some(database) => (database, false),
                None => (Database::of_settings(&self.settings)?, true),
            };
            for plan in std::mem::take(&mut self.kinds) {
                plans.push(plan(&database)?);
            }
            closes.extend(is_ours.then(|| close(database)));
        }
        Ok((plans, closes))
    }

    /// Adds a coordinator.
    pub fn coordinator<T: Record>(mut self, coordinator: Coordinator<T>) -> Self {
        self.coordinators.push(Box::new(coordinator));
        self
    }

    /// Chooses the bus that the coordinators publish on. It goes on when the store ends.
    pub fn feedback(mut self, feedback: Feedback) -> Self {
        self.feedback = Some(feedback);
        self
    }

    /// Runs every part on the arbiter that [`start`](Self::start) is called on, so that no foreign thread takes part:
    /// for tests with a paused clock. A sink or a subscriber that blocks then blocks everything, and the store ends
    /// with that arbiter's System.
    pub fn on_current_arbiter(mut self) -> Self {
        self.current = true;
        self
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// A coordinator to be started, of any type of record.
pub(super) trait Plan: Send {
    /// Returns its configuration, checked.
    fn config(&self, settings: &Settings) -> Result<CoordinatorConfig, StartError>;

    /// Returns what closes its sink, if the store opened it.
    fn close(&mut self) -> Option<Close>;

    /// Starts it.
    fn start(
        self: Box<Self>,
        config: CoordinatorConfig,
        hosts: ActorHosts,
        dead_letters: DeadLetters,
        publisher: Option<Publisher>,
        signal: StopSignal,
    ) -> Arc<dyn RunningCoordinator>;
}

impl<T: Record> Plan for Coordinator<T> {
    fn config(&self, settings: &Settings) -> Result<CoordinatorConfig, StartError> {
        let id = self.id.as_deref().unwrap_or(T::KIND);
        if !is_coordinator_id(id) {
            return Err(StartError::InvalidId(id.to_owned()));
        }
        // What was set for this coordinator alone is checked as the environment is.
        let mut checked = settings.clone();
        checked.coordinator = self.settings.clone().unwrap_or_else(|| settings.coordinator_settings(id));
        // Those of all coordinators were checked before, by the names of their variables.
        checked.coordinators.clear();
        checked.validate()?;
        // Errors name the variable of this coordinator where it is that.
        if self.settings.is_some() { &checked } else { settings }.check_overflow(id, T::CONFLATES)?;
        let own = &checked.coordinator;
        let at_least_one = |n| NonZeroUsize::new(n).expect("`validate` refuses 0 records and 0 workers");
        let watermarks = own.checked_watermarks().map_err(StartError::Watermarks)?;
        Ok(CoordinatorConfig {
            id: id.into(),
            source: checked.source.as_str().into(),
            capacity: at_least_one(own.capacity),
            capacity_bytes: NonZeroUsize::new(own.capacity_bytes),
            watermarks,
            workers: at_least_one(own.workers),
            batch_size: at_least_one(own.batch_size),
            flush_interval: own.flush_interval,
            overflow: own.overflow,
            retry: checked.retry,
            sink_timeout: settings.sink_timeout,
            slow_after: settings.sink_slow_after,
            breaker: checked.circuit,
        })
    }

    fn close(&mut self) -> Option<Close> {
        self.close.take()
    }

    fn start(
        self: Box<Self>,
        config: CoordinatorConfig,
        hosts: ActorHosts,
        dead_letters: DeadLetters,
        publisher: Option<Publisher>,
        signal: StopSignal,
    ) -> Arc<dyn RunningCoordinator> {
        coordinator::start(config, self.sink, dead_letters, hosts, publisher, signal)
    }
}
