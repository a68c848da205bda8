//! The PostgreSQL sink: a connection a busy worker, an upsert or a COPY a batch.
//!
//! `options` says where a database is and how it is used, `tls` how the way there is protected. `sql` makes the statements
//! of a table, `schema` sees to it that the table is there, `tables` knows which are, `rows` turns records into what these statements take, `path`
//! decides which of them a batch goes by. A `connection` writes, the `pool` has those that are open, and `lanes` is the
//! thread on which they live. `read` reads, and `select` makes its statement.
//!
//! # The thread
//!
//! What reads and writes a socket has to go on when a worker dies or its future is dropped, and workers live on runtimes of
//! their own. So all connections of a sink live on one thread with a runtime that ends with the sink. It does little: rows
//! are put into the form that the server takes on the worker's thread, and the server does the rest.
//!
//! # Order
//!
//! A write whose connection is lost, or that is cut off, may still be under way in the server, behind a lock say, and
//! commit later. So each connection holds an advisory lock with a random key for as long as its backend lives. Before a
//! worker writes its next batch, the backend of its last one is ended, if it is not known what became of that, and the lock
//! is waited for: then nothing that it was told to do can still happen. Where the connection goes to another server
//! meanwhile there is no such lock, and nothing to wait for.

mod connection;
mod error;
mod lanes;
mod options;
mod path;
mod pool;
mod read;
mod rows;
mod schema;
mod select;
mod sql;
mod tables;
mod tls;
mod write_error;

use std::{
    fmt,
    sync::{Arc, mpsc},
    thread,
};

use tokio::{
    runtime,
    sync::{mpsc::UnboundedSender, oneshot, watch},
    task::LocalSet,
};

pub use self::error::PostgresError;
pub(crate) use self::options::PostgresOptions;
pub(super) use self::read::PostgresReader;
use self::{
    lanes::{Job, Lanes, Worker, Write},
    options::Target,
    rows::Rows,
    tables::Unfit,
    write_error::WriteError,
};
use super::{Batch, Sink, SinkError};
use crate::record::Tabular;

/// Returns whether a URL is one of PostgreSQL.
pub(super) fn is_url(url: &str) -> bool {
    ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme))
}

/// Stores records in a PostgreSQL database. Cheap to clone; clones share the connections, which are closed when the last
/// one is dropped.
#[derive(Clone)]
pub(crate) struct PostgresSink(Arc<Handle>);

struct Handle {
    /// Not bounded, but never long: each worker has one write under way.
    jobs: UnboundedSender<Job>,
    /// The URL as it may be shown.
    database: Arc<str>,
    schema: Option<String>,
    unfit: watch::Receiver<Unfit>,
}

impl PostgresSink {
    /// Makes a sink whose connections are opened when they are needed.
    ///
    /// # Errors
    /// The URL is wrong, a file that it names cannot be read, or the operating system refuses a thread.
    pub(crate) fn new(url: &str, options: PostgresOptions) -> Result<Self, PostgresError> {
        let target = Target::of_url(url)?;
        let (database, schema) = (Arc::clone(&target.shown), options.schema.clone());
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(PostgresError::Thread)?;
        let (jobs, receiver) = tokio::sync::mpsc::unbounded_channel();
        let (tells, unfit) = watch::channel(Unfit::new());
        let run = move || LocalSet::new().block_on(&runtime, Lanes::run(target, options, tells, receiver));
        thread::Builder::new().name("mds-postgres".to_owned()).spawn(run).map_err(PostgresError::Thread)?;
        Ok(Self(Arc::new(Handle { jobs, database, schema, unfit })))
    }

    /// Makes the table of records of type `T` now, if it is not there. Blocks the thread meanwhile.
    ///
    /// # Errors
    /// The table is another one, or must not be made. A server that cannot be reached now is no error.
    pub(crate) fn prepare<T: Tabular>(&self) -> Result<(), PostgresError> {
        let (answer, answered) = mpsc::channel();
        let prepared = self.0.jobs.send(Job::Prepare(T::TABLE, answer)).ok().and_then(|()| answered.recv().ok());
        prepared.unwrap_or_else(|| Err(PostgresError::Closed { database: self.0.database.to_string() }))
    }

    /// Returns the SQL that makes the table of records of type `T`.
    pub(crate) fn table_sql<T: Tabular>(&self) -> Vec<String> {
        let schema = self.0.schema.as_deref();
        schema.map(sql::create_schema).into_iter().chain(sql::create(&T::TABLE, schema)).collect()
    }

    /// Waits until a write finds that one of these tables does not fit, and returns what is wrong with it.
    pub(crate) fn unfit(&self, tables: Vec<&'static str>) -> impl Future<Output = Arc<str>> + Send + use<> {
        // Not the handle, as long as this may wait.
        let mut unfit = self.0.unfit.clone();
        async move {
            let problem = |unfit: &Unfit| tables.iter().find_map(|table| unfit.get(table)).cloned();
            let found = unfit.wait_for(|unfit| problem(unfit).is_some()).await.ok().and_then(|unfit| problem(&unfit));
            match found {
                Some(problem) => problem,
                // The connections are closed: nothing will be found any more.
                None => std::future::pending().await,
            }
        }
    }

    /// Writes what was handed to it before, and closes the connections.
    pub(crate) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.0.jobs.send(Job::Close(done)).is_ok() {
            // An error means that the thread is gone, which is what was asked for.
            let _ = closed.await;
        }
    }

    /// Asks the server whether it takes writes.
    async fn pinged(&self) -> Result<(), SinkError> {
        let (answer, answered) = oneshot::channel();
        self.0.jobs.send(Job::Ping(answer)).map_err(|_| self.closed())?;
        answered.await.unwrap_or_else(|_| Err(self.closed()))
    }

    fn closed(&self) -> SinkError {
        WriteError::Closed { database: Arc::clone(&self.0.database) }.into_sink_error()
    }
}

impl<T: Tabular> Sink<T> for PostgresSink {
    async fn write(&self, batch: &Batch<T>) -> Result<(), SinkError> {
        if batch.is_empty() {
            return Ok(());
        }
        let rows = match Rows::of(batch) {
            Ok(rows) => rows,
            Err(invalid) => {
                // What is refused for good shows that the store is there, and closes an open circuit.
                self.pinged().await?;
                return Err(WriteError::Invalid(invalid).into_sink_error());
            }
        };
        let coordinator_id = batch.coordinator_id().cloned();
        let worker = Worker { table: T::TABLE.name(), coordinator_id, partition: batch.partition() };
        let (begins, begun) = oneshot::channel();
        let (answer, answered) = oneshot::channel();
        let write = Write { worker, table: T::TABLE, rows, begins, answer };
        // While others have all connections it has not begun.
        let waits = batch.waits();
        self.0.jobs.send(Job::Write(write)).map_err(|_| self.closed())?;
        // What ends before that has said why.
        let _ = begun.await;
        drop(waits);
        answered.await.unwrap_or_else(|_| Err(self.closed()))
    }

    async fn ping(&self) -> Option<Result<(), SinkError>> {
        Some(self.pinged().await)
    }
}

impl fmt::Debug for PostgresSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresSink").field(&self.0.database).finish()
    }
}
