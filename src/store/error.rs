//! Why a store does not start, or has no such coordinator.

use std::fmt::{self, Display};

use crate::{
    dead_letter::DeadLettersError,
    settings::{SettingsError, masked},
    sink::DatabaseError,
    text::{ErrorChain, Quoted},
};

/// Why a store could not start. Its `Debug` is the text with all that caused it, so that a `main` that returns it says
/// what is wrong.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A store [on the current arbiter](crate::Builder::on_current_arbiter) needs an actix System around it.
    #[error("no actix System on this thread: start inside one, or on threads of the store's own")]
    NoActixSystem,
    /// A setting is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A coordinator's id is not what a receiver of its events takes.
    #[error("coordinator id {}: expected 1 to 255 bytes without '/' and hidden characters", Quoted(.0))]
    InvalidId(String),
    /// The watermarks of a coordinator are out of order.
    #[error(transparent)]
    Watermarks(crate::policy::WatermarkError),
    /// Two coordinators have one id. Coordinators of one kind need an id each:
    /// [`Coordinator::id`](crate::Coordinator::id).
    #[error("coordinator id {0:?} is used twice")]
    DuplicateId(String),
    /// Another store that has not ended publishes on the same bus under the same name, source and id: producers could
    /// not tell their levels apart.
    #[error(
        "another store publishes on this bus as {0}: shut it down first, set another MDS_SOURCE, give the \
         coordinator an id of its own, or start the store on a bus of its own"
    )]
    NameInUse(String),
    /// The database URL names a store that this build does not know.
    #[error("MDS_DATABASE_URL is {url:?}, expected {expected}")]
    UnknownStore {
        /// The URL, without secrets.
        url: String,
        /// What this build knows.
        expected: &'static str,
    },
    /// Two kinds have one table, and say other things of it: each has to have a table of its own.
    #[error(
        "the kinds {} and {} both have the table {table}, with other columns, comments, time or series: expected a table \
         name of its own for each",
        kinds[0],
        kinds[1]
    )]
    OtherTable {
        /// The table's name.
        table: &'static str,
        /// The two kinds.
        kinds: [&'static str; 2],
    },
    /// The SQLite file cannot be used.
    #[cfg(feature = "sqlite")]
    #[error(transparent)]
    Sqlite(#[from] crate::sink::SqliteOpenError),
    /// The PostgreSQL database cannot be used.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Postgres(#[from] crate::sink::PostgresError),
    /// The directory for dead letters cannot be used: every start makes it and tries it.
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
    /// The operating system refused a thread, or what a thread needs: a file descriptor for its events.
    #[error("cannot start a thread for the store")]
    Thread(#[source] std::io::Error),
}

impl StartError {
    /// Names the variable that the URL comes from, and hides its secrets.
    pub(super) fn of_database(error: DatabaseError, url: &str) -> Self {
        match error {
            DatabaseError::UnknownScheme { expected, .. } => Self::UnknownStore { url: masked(url), expected },
            #[cfg(feature = "sqlite")]
            DatabaseError::Sqlite(error) => Self::Sqlite(error),
            #[cfg(feature = "postgres")]
            DatabaseError::Postgres(error) => Self::Postgres(error),
        }
    }
}

impl fmt::Debug for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Display::fmt(&ErrorChain(self), f)
    }
}

/// There is no such coordinator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; coordinators here: {}", known.join(", "))]
pub struct UnknownCoordinator {
    problem: String,
    known: Vec<String>,
}

impl UnknownCoordinator {
    pub(super) fn new(problem: String, known: Vec<String>) -> Self {
        Self { problem, known }
    }

    /// Returns the ids that there are.
    #[cfg(feature = "serve")]
    pub(crate) fn known(&self) -> &[String] {
        &self.known
    }
}
