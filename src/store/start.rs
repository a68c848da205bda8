//! How a store starts: settings are checked, then threads, webhooks and coordinators start, in this order.

use std::sync::Arc;

use actix::System;
use futures_util::future::{BoxFuture, OptionFuture};
use parking_lot::Mutex;
use tokio::sync::{OnceCell, oneshot};

use super::{
    Inner, MarketDataStore,
    builder::{Builder, Close, KindsDatabase, Plan},
    error::StartError,
    threads::{KeepAlive, Threads, run_system},
    webhooks::{self, BroadcasterHandle},
};
use crate::{
    coordinator::{ActorHosts, CoordinatorConfig, StopReason, StopSignal},
    dead_letter::DeadLetters,
    feedback::{Claim, Feedback},
    settings::Settings,
};

impl Builder {
    /// Starts the store on threads and an actix System of its own, from any runtime. Inside an actix System it
    /// publishes on
    /// [`feedback_bus`](crate::feedback_bus), elsewhere on a bus of its own, unless a bus was [chosen](Self::feedback).
    ///
    /// When it returns every coordinator has published `started`: of that a subscriber that comes later hears with
    /// [`Replay::All`](crate::Replay::All), and not with [`Replay::Pressured`](crate::Replay::Pressured).
    ///
    /// # Errors
    /// When a setting is wrong, two coordinators have one id, two kinds one table with other columns, another store publishes on the bus under the same source
    /// and id, the directory for dead letters cannot be used, or the operating system refuses a thread.
    pub async fn start(self) -> Result<MarketDataStore, StartError> {
        if self.current {
            if System::try_current().is_none() {
                return Err(StartError::NoActixSystem);
            }
            let (bus, owns_bus) = match self.feedback.clone() {
                Some(bus) => (bus, false),
                None => (Feedback::on_current_arbiter(), true),
            };
            return Parts::check(self, bus, owns_bus)?.start(None).await;
        }
        let (bus, owns_bus) = match self.feedback.clone() {
            Some(bus) => (bus, false),
            None => match Feedback::try_of_current_system() {
                Some(bus) => (bus.map_err(StartError::Thread)?, false),
                None => own_bus()?,
            },
        };
        let parts = Parts::check(self, bus, owns_bus)?;
        let (report, started) = oneshot::channel();
        // A caller that no longer waits has no store that it could end.
        parts
            .start_in_own_system(move |result| _ = report.send(result).map_err(|result| result.map(|s| s.discard())))?;
        started.await.unwrap_or_else(|_| Err(ended_early()))
    }

    /// Starts the store as [`start`](Self::start) does, without `await`, and on a bus of its own unless one was
    /// [chosen](Self::feedback). Blocks the caller for the moment that this takes.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn spawn(self) -> Result<MarketDataStore, StartError> {
        let (bus, owns_bus) = match self.feedback.clone() {
            Some(bus) => (bus, false),
            None => own_bus()?,
        };
        let parts = Parts::check(self, bus, owns_bus)?;
        let (report, started) = std::sync::mpsc::sync_channel(1);
        parts.start_in_own_system(move |result| _ = report.send(result))?;
        started.recv().unwrap_or_else(|_| Err(ended_early()))
    }
}

/// Makes a bus for the store, which ends with it.
fn own_bus() -> Result<(Feedback, bool), StartError> {
    Ok((Feedback::try_private().map_err(StartError::Thread)?, true))
}

fn ended_early() -> StartError {
    StartError::Thread(std::io::Error::other("it ended before the store had started"))
}

/// What a store is made of, checked.
struct Parts {
    settings: Settings,
    plans: Vec<(CoordinatorConfig, Box<dyn Plan>)>,
    closes: Vec<Close>,
    unfit: Option<BoxFuture<'static, Arc<str>>>,
    bus: Feedback,
    owns_bus: bool,
    claims: Vec<Claim>,
    current: bool,
    /// The database of the kinds is that of the settings.
    is_of_settings: bool,
}

impl Parts {
    /// Checks everything that can be wrong before anything is started.
    fn check(mut builder: Builder, bus: Feedback, owns_bus: bool) -> Result<Self, StartError> {
        builder.settings.validate()?;
        let (coordinators, database) = builder.plans()?;
        let Builder { settings, current, .. } = builder;
        let mut plans: Vec<(CoordinatorConfig, Box<dyn Plan>)> = Vec::new();
        for plan in coordinators {
            let config = plan.config(&settings)?;
            if plans.iter().any(|(other, _)| other.id == config.id) {
                return Err(StartError::DuplicateId(config.id.to_string()));
            }
            plans.push((config, plan));
        }
        let mut claims = Vec::new();
        if settings.feedback.enabled {
            for (config, _) in &plans {
                let claim = bus.claim(Arc::clone(&config.source), Arc::clone(&config.id));
                let in_use = || StartError::NameInUse(format!("{}/{}", config.source, config.id));
                claims.push(claim.ok_or_else(in_use)?);
            }
        }
        // Last of all that can fail, for it writes.
        let is_of_settings = database.as_ref().is_some_and(|database| database.is_ours);
        let database = database.map(KindsDatabase::prepare).transpose()?;
        let (closes, unfit) = database.map_or((None, None), |database| (database.close, Some(database.unfit)));
        let ids: Vec<&str> = plans.iter().map(|(config, _)| &*config.id).collect();
        for variable in settings.unused_variables(ids.iter().copied()) {
            tracing::warn!(
                variable,
                ids = ids.join(", "),
                "a variable is ignored: no coordinator of its id is started"
            );
        }
        for (config, _) in &plans {
            for warning in config.warnings() {
                tracing::warn!(coordinator_id = &*config.id, "{warning}");
            }
        }
        for warning in settings.warnings() {
            tracing::warn!("{warning}");
        }
        let closes = closes.into_iter().collect();
        Ok(Self { settings, plans, closes, unfit, bus, owns_bus, claims, current, is_of_settings })
    }

    /// Starts everything in a System of the store's own; `report` is told how that went, on a thread of the store's.
    fn start_in_own_system(
        self,
        report: impl FnOnce(Result<MarketDataStore, StartError>) + Send + 'static,
    ) -> Result<(), StartError> {
        run_system(|system| self.start(Some(system)), report).map_err(StartError::Thread)
    }

    /// Starts everything in the current System.
    async fn start(self, system: Option<KeepAlive>) -> Result<MarketDataStore, StartError> {
        let Self { settings, plans, closes, unfit, bus, owns_bus, claims, current, is_of_settings } = self;
        // Before the threads: those that were started would outlive an error. The directory is tried here.
        let dead_letters = DeadLetters::open(&settings.dlq_path)?;
        let prepared = webhooks::prepare(&settings, plans.iter().map(|(config, _)| &config.id))?;
        if system.is_some() {
            // Inside the store's own System, as in a sink, this is the bus.
            bus.adopt_by(System::current().id());
        }
        let workers = plans.iter().map(|(config, _)| config.workers.get()).sum();
        let threads = match system {
            Some(system) if !current => Threads::start(plans.len(), workers, system).map_err(StartError::Thread)?,
            system => Threads::current(system),
        };
        if let Some(system_id) = threads.embedder_actors.system_id() {
            bus.adopt_by(system_id);
        }
        let broadcaster = prepared.map(|prepared| prepared.start(&bus, current)).transpose()?;
        let signal = StopSignal::new();
        watch_feedback(&bus, broadcaster.as_ref(), &signal);
        if let Some(unfit) = unfit {
            watch_database(unfit, &signal);
        }

        let mut next_worker = threads.workers.iter().cycle();
        let mut coordinators = std::collections::BTreeMap::new();
        for ((config, plan), control) in plans.into_iter().zip(threads.control.iter().cycle()) {
            let id = Arc::clone(&config.id);
            let workers = next_worker.by_ref().take(config.workers.get()).cloned().collect();
            let hosts = ActorHosts { control: control.clone(), workers };
            let publisher = settings.feedback.enabled.then(|| bus.publisher());
            let running = plan.start(config, hosts, dead_letters.clone(), publisher, signal.clone());
            coordinators.insert(id, running);
        }
        let store = MarketDataStore {
            inner: Arc::new(Inner {
                coordinators,
                feedback: bus,
                owns_bus,
                claims: Mutex::new(claims),
                dead_letters,
                broadcaster,
                closes: Mutex::new(closes),
                signal,
                threads,
                shutdown_timeout: settings.shutdown_timeout,
                database: is_of_settings.then_some(settings),
                report: OnceCell::new(),
            }),
        };
        // Each publishes `started` before it answers anything. One that died has told why by another way.
        store.health().await;
        // Now, so that what a coordinator of the same name said before its restart is not sent again.
        if let Some(broadcaster) = &store.inner.broadcaster {
            broadcaster.follow();
        }
        Ok(store)
    }
}

/// Tells of the end of the bus, and of the broadcaster's death, for as long as the store runs.
fn watch_feedback(bus: &Feedback, broadcaster: Option<&BroadcasterHandle>, signal: &StopSignal) {
    let (died, signal) = (died(bus, broadcaster), signal.clone());
    actix_rt::spawn(async move {
        tokio::select! {
            why = died => if !signal.is_ending() { signal.stop(why) },
            _ = signal.stopped() => {}
        }
    });
}

/// Tells of a database that turns out not to be the one for these kinds, for as long as the store runs.
fn watch_database(unfit: BoxFuture<'static, Arc<str>>, signal: &StopSignal) {
    let signal = signal.clone();
    actix_rt::spawn(async move {
        tokio::select! {
            problem = unfit => if !signal.is_ending() { signal.stop(StopReason::DatabaseUnfit { problem }) },
            _ = signal.stopped() => {}
        }
    });
}

/// Waits until the bus has ended or the broadcaster has died, without keeping the broadcaster alive.
pub(super) fn died(
    bus: &Feedback,
    broadcaster: Option<&BroadcasterHandle>,
) -> impl Future<Output = StopReason> + Send + use<> {
    let bus = bus.clone();
    let broadcaster_died = OptionFuture::from(broadcaster.map(BroadcasterHandle::died));
    async move {
        tokio::select! {
            () = bus.stopped() => StopReason::BusDied,
            Some(()) = broadcaster_died => StopReason::BroadcasterDied,
        }
    }
}
