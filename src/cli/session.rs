//! A store from its start to its end, as the commands that write need it.

use std::{io, time::Duration};

use futures_util::FutureExt;
use market_data_store::{Builder, Database, MarketDataStore, Settings, StartError, StopReason, Tabular, WriteHandle};
use tokio::{
    runtime::{self, Runtime},
    time::timeout,
};

use super::output::complain;

/// What any step of the end may take that could hang.
pub const GRACE: Duration = Duration::from_secs(1);

/// A store on threads of its own.
pub struct Session {
    pub store: MarketDataStore,
    database: Database,
}

impl Session {
    /// Starts a store of one kind.
    ///
    /// # Errors
    /// As [`Builder::spawn`](market_data_store::Builder::spawn).
    pub fn of_kind<T: Tabular>(settings: Settings) -> Result<(Self, WriteHandle<T>), StartError> {
        let session = Self::start(settings, |builder| Ok(builder.kind::<T>()))?;
        let records = session.store.coordinator::<T>().expect("the one coordinator was added above");
        Ok((session, records))
    }

    /// Starts a store of the kinds that the settings name.
    ///
    /// # Errors
    /// As [`Builder::kinds`](market_data_store::Builder::kinds) and [`spawn`](market_data_store::Builder::spawn).
    pub fn of_kinds(settings: Settings) -> Result<Self, StartError> {
        Self::start(settings, Builder::kinds)
    }

    fn start(
        settings: Settings,
        kinds: impl FnOnce(Builder) -> Result<Builder, StartError>,
    ) -> Result<Self, StartError> {
        // Not by `MarketDataStore::spawn`: a SQLite file itself says whether it was removed.
        let database = Database::of_settings(&settings)?;
        let store = kinds(MarketDataStore::builder(settings).database(database.clone()))?.spawn()?;
        Ok(Self { store, database })
    }

    /// Returns what has died so far, also while the store came to its end.
    pub fn died(&self) -> Option<StopReason> {
        self.store.stopped().now_or_never().filter(|reason| *reason != StopReason::ShutDown)
    }

    /// Closes the files of a store that has ended. Tells whether one of them was removed or replaced meanwhile: what was
    /// in it is lost, and the command fails.
    pub async fn close(&self) -> bool {
        let dead_letters = self.store.dead_letters();
        let _ = tokio::join!(timeout(GRACE, self.database.close()), timeout(GRACE, dead_letters.release()));
        let mut removed = vec![(dead_letters.dir(), dead_letters.file_was_removed(), "a file of dead letters was")];
        if let Some(file) = self.database.as_sqlite() {
            removed.insert(0, (file.path(), file.file_was_removed(), "the database file was"));
        }
        for (path, _, what) in removed.iter().filter(|(_, is_removed, _)| *is_removed) {
            complain(format_args!(
                "error: {}: {what} removed or replaced while it was written, and records with it: load them again",
                path.display()
            ));
        }
        removed.iter().any(|(_, is_removed, _)| *is_removed)
    }
}

/// Makes the runtime in which a command waits.
///
/// # Errors
/// The operating system has no file descriptor left.
pub fn runtime() -> io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_all().build()
}
