//! What a store is to be made of.

use std::{fmt, marker::PhantomData, num::NonZeroUsize, pin::Pin, sync::Arc};

use futures_util::future::BoxFuture;

use super::error::StartError;
use crate::{
    coordinator::{self, ActorHosts, CoordinatorConfig, RunningCoordinator, StopSignal},
    dead_letter::DeadLetters,
    feedback::{Feedback, Publisher},
    record::{Record, Table, Tabular},
    settings::{CoordinatorSettings, Settings, names::is_coordinator_id},
    sink::{BoxSink, Database, DatabaseError, Sink},
};

/// Closes a database that the store has opened.
pub(super) type Close = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// A kind that gets a coordinator in the database of all kinds.
struct PlanKind {
    name: &'static str,
    table: Table,
    plan: fn(&Database) -> Box<dyn Plan>,
    /// Makes its table if it is not there.
    prepare: fn(&Database) -> Result<(), DatabaseError>,
}

/// One coordinator that a [`Builder`] is to start.
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
    /// Makes a coordinator that writes to `sink`, with the kind of its records as id and the settings of the store.
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

impl<T> fmt::Debug for Coordinator<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinator").field("id", &self.id).field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn close(database: Database) -> Close {
    Box::new(move || Box::pin(async move { database.close().await }))
}

/// Every coordinator to be started, and the database of the kinds among them.
pub(super) type Plans = (Vec<Box<dyn Plan>>, Option<KindsDatabase>);

/// The database of the kinds, with what is still to be done there before a store starts.
pub(super) struct KindsDatabase {
    database: Database,
    url: String,
    kinds: Vec<PlanKind>,
    /// It is that of the settings, and the store opens it.
    pub(super) is_ours: bool,
}

/// The database of the kinds once they are prepared.
pub(super) struct PreparedDatabase {
    /// Closes it, if the store has opened it.
    pub(super) close: Option<Close>,
    /// Ends when one of its tables is found not to be as it should, with what is wrong: a server that was away at the
    /// start is looked at by the first write.
    pub(super) unfit: BoxFuture<'static, Arc<str>>,
}

impl KindsDatabase {
    /// Makes the tables that are missing.
    pub(super) fn prepare(self) -> Result<PreparedDatabase, StartError> {
        for kind in &self.kinds {
            (kind.prepare)(&self.database).map_err(|error| StartError::of_database(error, &self.url))?;
        }
        let unfit = self.database.unfit(self.kinds.iter().map(|kind| kind.table.name()).collect());
        Ok(PreparedDatabase { unfit, close: self.is_ours.then(|| close(self.database)) })
    }
}

/// Looks whether two kinds say different things of one table: the first to start would make it, and the other fail, or
/// write what is read as something else.
fn check_tables(kinds: &[PlanKind]) -> Result<(), StartError> {
    for (at, kind) in kinds.iter().enumerate() {
        let same_name = |other: &&PlanKind| other.table.name() == kind.table.name();
        if let Some(other) = kinds[..at].iter().find(same_name)
            && other.table != kind.table
        {
            return Err(StartError::OtherTable { table: kind.table.name(), kinds: [other.name, kind.name] });
        }
    }
    Ok(())
}

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
        self.kinds.push(PlanKind {
            name: T::KIND,
            table: T::TABLE,
            plan: |database| Box::new(Coordinator::<T>::new(database.clone())),
            prepare: Database::prepare::<T>,
        });
        self
    }

    /// Chooses the database of every [`kind`](Self::kind), instead of that of the settings. Without a kind it is not
    /// used: a [`coordinator`](Self::coordinator) has a sink of its own. It goes on when the store ends: close it
    /// yourself.
    pub fn database(mut self, database: impl Into<Database>) -> Self {
        self.database = Some(database.into());
        self
    }

    /// Returns every coordinator to be started, and the database of the kinds, in which nothing was done yet.
    pub(super) fn plans(&mut self) -> Result<Plans, StartError> {
        let mut plans = std::mem::take(&mut self.coordinators);
        let kinds = std::mem::take(&mut self.kinds);
        if kinds.is_empty() {
            return Ok((plans, None));
        }
        check_tables(&kinds)?;
        let (database, is_ours) = match self.database.take() {
            Some(database) => (database, false),
            None => (Database::of_settings(&self.settings)?, true),
        };
        plans.extend(kinds.iter().map(|kind| (kind.plan)(&database)));
        Ok((plans, Some(KindsDatabase { database, url: self.settings.database_url.clone(), kinds, is_ours })))
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
