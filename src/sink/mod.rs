//! Where batches go: the [`Sink`] trait, its error, and the stores that come with the crate.

mod batch;
mod contract;
mod database;
mod error;
#[cfg(feature = "testing")]
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod reader;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod selection;
#[cfg(feature = "sqlite")]
mod sqlite;
mod write_clock;

#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use self::{reader::DatabaseReader, selection::Selection};
// What need not be named: each is shown, or is the source of another error.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
#[doc(hidden)]
pub use self::{reader::InvalidRow, selection::InvalidSelection};
// In `testing` in the documentation.
#[cfg(feature = "testing")]
#[doc(hidden)]
pub use memory::{MemoryCounts, MemorySink};
#[cfg(feature = "postgres")]
#[doc(hidden)]
pub use postgres::PostgresError;
#[cfg(feature = "postgres")]
pub(crate) use postgres::PostgresOptions;
#[cfg(feature = "sqlite")]
#[doc(hidden)]
pub use sqlite::SqliteOpenError;
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteOptions, SqliteSink, Synchronous};

// At the crate's root in the documentation.
#[doc(hidden)]
pub use self::{
    batch::Batch,
    contract::{BoxSink, Sink},
    database::{Database, DatabaseError},
    error::{SinkError, SinkErrorKind, SinkResultExt},
};
