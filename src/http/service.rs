//! What the routes of one service share.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{access::Access, error::Error, recorder::Recorder};
use crate::{
    coordinator::StopReason,
    policy::Level,
    settings::{HttpServerSettings, Settings},
    store::MarketDataStore,
};

/// What is known of the store behind the routes.
pub(super) enum Stage<'a> {
    /// It has not started yet.
    Starting,
    Running(&'a MarketDataStore),
    /// It comes to its end.
    Draining,
    /// A part of it died, and it does no more work.
    Dead,
}

/// How long a warning of requests that are alike is not repeated.
const REPEATED: Duration = Duration::from_secs(60);

/// A store that may not have started yet, and how it is served. Shared by all workers of a server.
pub(super) struct Service {
    store: OnceLock<MarketDataStore>,
    ending: watch::Sender<bool>,
    pub(super) access: Access,
    /// How long a request waits for the queue to take its next record.
    pub(super) submit_timeout: Duration,
    /// How long a request waits while none of its records is settled.
    pub(super) ack_timeout: Duration,
    /// The database that records are read back from, where the service knows which it is.
    #[cfg_attr(not(any(feature = "postgres", feature = "sqlite")), expect(dead_code, reason = "nothing is read back"))]
    pub(super) database: Option<Settings>,
    /// When the log last said that a vendor is missing.
    vendor_warned: Mutex<Option<Instant>>,
    /// The recorder that is shown, if one is.
    pub(super) recorder: Option<Recorder>,
}

impl Service {
    /// Makes one for a store that has started, to which all have access.
    pub(super) fn of_store(store: MarketDataStore) -> Self {
        let HttpServerSettings { submit_timeout, ack_timeout, .. } = HttpServerSettings::default();
        Self {
            ending: watch::Sender::new(false),
            access: Access::open(),
            submit_timeout,
            ack_timeout,
            database: store.database().cloned(),
            vendor_warned: Mutex::default(),
            store: store.into(),
            recorder: None,
        }
    }

    /// Makes one for a store that is to come.
    pub(super) fn of_settings(settings: &Settings, recorder: Option<Recorder>) -> Self {
        Self {
            store: OnceLock::new(),
            ending: watch::Sender::new(false),
            access: Access::of_settings(&settings.http),
            submit_timeout: settings.http.submit_timeout,
            ack_timeout: settings.http.ack_timeout,
            database: Some(settings.clone()),
            vendor_warned: Mutex::default(),
            recorder,
        }
    }

    /// Takes the store, which has started.
    pub(super) fn set_store(&self, store: MarketDataStore) {
        // A second one never starts.
        let _ = self.store.set(store);
    }

    /// Returns whether the log is to say that a request has no vendor: once a minute at most.
    pub(super) fn warns_of_vendor(&self) -> bool {
        let mut warned = self.vendor_warned.lock();
        let is_due = warned.is_none_or(|warned| warned.elapsed() >= REPEATED);
        if is_due {
            *warned = Some(Instant::now());
        }
        is_due
    }

    /// Says that the store comes to its end: it takes no more records, and streams end.
    pub(super) fn begin_end(&self) {
        self.ending.send_replace(true);
    }

    /// Returns whether the store comes to its end.
    pub(super) fn is_ending(&self) -> bool {
        *self.ending.borrow()
    }

    /// Waits until the store comes to its end.
    pub(super) async fn ending(&self) {
        // The sender lives as long as this.
        let _ = self.ending.subscribe().wait_for(|ending| *ending).await;
    }

    /// Returns how far the store is.
    pub(super) fn stage(&self) -> Stage<'_> {
        let Some(store) = self.store.get() else { return Stage::Starting };
        match store.stopped().now_or_never() {
            Some(StopReason::ShutDown) => Stage::Draining,
            Some(_) => Stage::Dead,
            None if self.is_ending() => Stage::Draining,
            None => Stage::Running(store),
        }
    }

    /// Returns the store, if it takes records.
    ///
    /// # Errors
    /// 503, with the reason.
    pub(super) fn running(&self) -> Result<&MarketDataStore, Error> {
        Err(Error::unavailable(match self.stage() {
            Stage::Running(store) => return Ok(store),
            Stage::Starting => "the store is starting",
            Stage::Draining => "the store is draining and takes no more records",
            Stage::Dead => "a part of the store died: it has to be started again",
        }))
    }

    /// Returns the store, also while it drains: it can be looked at.
    ///
    /// # Errors
    /// 503 before it has started.
    pub(super) fn store(&self) -> Result<&MarketDataStore, Error> {
        self.store.get().ok_or_else(|| Error::unavailable("the store is starting"))
    }

    /// Returns the highest level of all coordinators; hard where nothing is taken in.
    pub(super) fn level(&self) -> Level {
        match self.stage() {
            Stage::Running(store) => store.level(),
            Stage::Starting | Stage::Draining | Stage::Dead => Level::Hard,
        }
    }
}
