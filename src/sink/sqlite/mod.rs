//! The SQLite sink: one file, one writer thread, group commit.
//!
//! SQLite takes one writer at a time, and a durable commit costs a sync of the disk however little it holds. So the
//! batches of all workers go to one thread that commits what waits for it together, and a second thread syncs what is
//! committed: the longer a sync takes, the more batches share the next one. `options` says where and how, `place` and
//! `schema` what is at the path, `older` is the step from files of older versions, `open` brings a file to the point
//! where it can be written, `sql` makes the statements of a table, `rows` turns records into rows and back, `writer` is
//! the thread, `transaction` what it does with a group, `sync` and `checkpoint` are the threads behind it, `read` looks
//! at a store without changing it, and `select` says how.

mod checkpoint;
mod error;
mod older;
mod open;
mod options;
mod place;
mod read;
mod rows;
mod schema;
mod select;
mod sql;
mod sync;
mod transaction;
mod write_error;
mod writer;

use std::{
    fmt,
    path::Path,
    sync::{Arc, mpsc},
};

use tokio::sync::oneshot;

pub(super) use self::read::SqliteReader;
pub use self::{
    error::SqliteOpenError,
    options::{SqliteOptions, Synchronous},
};
use self::{
    transaction::Write,
    write_error::WriteError,
    writer::{Job, Writer, WriterHandle},
};
use super::{Batch, Sink, SinkError};
use crate::record::Tabular;

/// Stores records in a SQLite file, one table a kind: a sink for every type with a [table](Tabular). Cheap to clone;
/// clones share the file's one writer thread. [`Database`](crate::Database) makes one of a URL; this is for those who
/// choose [`SqliteOptions`], or want to know whether the [file was removed](Self::file_was_removed).
///
/// The file is in WAL mode, so that other processes can read it at any time, and write it too. A write is an upsert by
/// the record's key, and of a key's updates in one batch the last wins. Batches that wait at the same time are
/// committed together; `Ok` comes only after that commit, and with [`Synchronous::Full`] after a sync of the log, so that
/// what was acknowledged survives the loss of power. A batch that the table refuses fails alone, with [`SinkError::permanent`]. Whatever is wrong with
/// the store and not with the records is transient: a lock, a full disk, an I/O error, even a damaged file. Then the
/// connection is opened anew where that can help.
///
/// Numbers read back bit for bit, but for SQLite's one zero: -0.0 becomes 0.0.
///
/// A write that is cancelled may or may not be done. A batch never waits longer in SQLite than the
/// [`busy_timeout`](SqliteOptions::busy_timeout).
///
/// If the file is removed or replaced while it is open (seen on Unix, after each commit and at the end), the batches
/// under way fail as transient, an ERROR is logged, and the next write opens what is then at the path, or makes a new
/// file there. What was stored before went with the old file, and [`file_was_removed`](Self::file_was_removed) says so.
/// A path that cannot be looked at, because its directory is closed for a while, shows nothing: the batches fail as
/// transient, and the file does not count as removed.
///
/// The threads end when the last handle is dropped, or with [`close`](Self::close), which waits for them.
#[derive(Clone)]
pub struct SqliteSink(Arc<WriterHandle>);

impl SqliteSink {
    /// Opens the file at a path, or as [`SqliteOptions`] say, for records of type `T`; a new or empty file becomes a
    /// store, and the schema of an older version is brought to this one. Other types get their tables when they are
    /// [prepared](Self::prepare) or first written. Blocks the thread meanwhile: for a locked file as long as the busy
    /// timeout. A new file is readable for its owner alone, with its `-wal` and `-shm`; a file that is there keeps its
    /// mode.
    ///
    /// A file that cannot be reached now, because another process locks it or the disk does not answer, is no error: a
    /// WARN is logged, and writes fail as transient until it can be opened. A file whose schema is current is opened
    /// without taking the write lock.
    ///
    /// # Errors
    /// When the options are out of their range, the directory is missing, nothing may be written there, what is at the
    /// path is not a store of this version, a table of this name has other columns, or the operating system refuses a
    /// thread.
    pub fn open<T: Tabular>(options: impl Into<SqliteOptions>) -> Result<Self, SqliteOpenError> {
        let sink = Self::new(options)?;
        sink.prepare::<T>()?;
        Ok(sink)
    }

    /// Makes a sink whose file is opened when the first type of record is [prepared](Self::prepare) or written.
    ///
    /// # Errors
    /// When the options are out of their range, or the operating system refuses a thread.
    pub fn new(options: impl Into<SqliteOptions>) -> Result<Self, SqliteOpenError> {
        let mut options = options.into().checked()?;
        // Once and for all: the file may be opened again after the working directory has changed.
        options.path = place::absolute(&options.path)?;
        Ok(Self(Arc::new(Writer::spawn(options)?)))
    }

    /// Makes the table of records of type `T` now, if it is not there. Without it the first write does, and there what is
    /// wrong counts as an outage. Blocks the thread meanwhile.
    ///
    /// # Errors
    /// As [`open`](Self::open). A file that cannot be reached now is no error.
    pub fn prepare<T: Tabular>(&self) -> Result<(), SqliteOpenError> {
        let (answer, answered) = mpsc::channel();
        let prepared = self.0.send(Job::Prepare(self.0.sql::<T>(), answer)).ok().and_then(|()| answered.recv().ok());
        prepared.unwrap_or_else(|| Err(SqliteOpenError::Closed { path: self.path().into() }))
    }

    /// Returns the SQL that makes the table of records of type `T`.
    pub(crate) fn table_sql<T: Tabular>(&self) -> Vec<String> {
        let sql = self.0.sql::<T>();
        vec![sql.create.clone(), sql.create_rest.trim_end().trim_end_matches(';').to_owned()]
    }

    /// Returns the file's absolute path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Ends the sink for all its handles: writes what was handed to it before, closes the file, and returns when that
    /// is done. Then all is in the one file, without a `-wal` beside it, unless another process has it open.
    ///
    /// Later writes fail as transient. Without it the thread does the same after the last handle is dropped, but
    /// without being waited for; a process that ends meanwhile loses nothing, it only leaves the `-wal` file for the
    /// next one.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.0.send(Job::Close(done)).is_ok() {
            // An error means that the thread is gone, which is what was asked for.
            let _ = closed.await;
        }
    }

    /// Returns whether a file with acknowledged records was removed from its path or replaced by another. Those records
    /// are gone from there; an ERROR names the file. It is known once the sink is [closed](Self::close).
    pub fn file_was_removed(&self) -> bool {
        self.0.file_was_removed()
    }

    async fn write_rows<T: Tabular>(&self, batch: &Batch<T>) -> Result<(), SinkError> {
        if batch.is_empty() {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        let lost = || SinkError::transient(WriteError::Gone { path: self.0.path().into() });
        let write = Write { sql: self.0.sql::<T>(), rows: Box::new(batch.clone()), answer };
        self.0.send(Job::Write(write)).map_err(|_| lost())?;
        answered.await.unwrap_or_else(|_| Err(lost()))
    }

    async fn ping_file(&self) -> Result<(), SinkError> {
        let (answer, answered) = oneshot::channel();
        let lost = || SinkError::transient(WriteError::Gone { path: self.0.path().into() });
        self.0.send(Job::Ping(answer)).map_err(|_| lost())?;
        answered.await.unwrap_or_else(|_| Err(lost()))
    }
}

impl<T: Tabular> Sink<T> for SqliteSink {
    async fn write(&self, batch: &Batch<T>) -> Result<(), SinkError> {
        self.write_rows(batch).await
    }

    async fn ping(&self) -> Option<Result<(), SinkError>> {
        Some(self.ping_file().await)
    }
}

impl fmt::Debug for SqliteSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SqliteSink").field(&self.path()).finish()
    }
}
