//! One connection: how it is opened, told apart from others, and written through.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{SinkExt, future::join};
use tokio::{
    task::{self, JoinHandle},
    time::timeout,
};
use tokio_postgres::{
    Client, Config, Statement,
    error::SqlState,
    types::{ToSql, Type},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    error::PostgresError,
    options::Target,
    path::Path,
    rows::{Part, array_type},
    sql::TableSql,
    write_error::is_fatal,
};

/// How often a server that works on a statement looks whether the client is still there.
const CHECK_INTERVAL: &str = "2s";

/// Takes away the limit of rows that TimescaleDB decompresses for one statement: a batch that meets it would meet it
/// again without end. Does nothing where the extension is not there.
const DECOMPRESS: &str = "SELECT set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', false) \
                          FROM pg_extension WHERE extname = 'timescaledb'";

/// How long a connection that is not needed any more has to say so to the server.
const GOODBYE: Duration = Duration::from_secs(1);

/// The key of a lock that one backend of the server holds, for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BackendLock(i64);

/// A connection that is set up. Dropping it closes the socket at once, whatever it is doing; the server notices that
/// within [`CHECK_INTERVAL`].
pub(super) struct Connection {
    client: Client,
    io: Io,
    lock: BackendLock,
    statements: Vec<Statements>,
    /// A transaction was begun, and it is not known to have ended: what is written now might not be committed. Or an answer
    /// to come might be taken for that to another statement.
    is_doubtful: bool,
}

/// Reads and writes the socket, until it is dropped.
struct Io(JoinHandle<()>);

impl Drop for Io {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is prepared for one table, each when it is first needed.
struct Statements {
    of: Arc<TableSql>,
    upsert_counted: Option<Statement>,
    upsert: Option<Statement>,
    copy: Option<Statement>,
}

/// How a part of a batch was written.
pub(super) enum Written {
    /// So many of its rows were new.
    Upserted {
        new: usize,
    },
    Copied,
    /// COPY is refused, and nothing was written. The connection may be [of no use](Connection::is_closed).
    CopyRefused,
}

impl Connection {
    /// Opens one, within the time that the target says.
    ///
    /// # Errors
    /// The server is not there, refuses, or does not answer.
    pub(super) async fn open(target: &Target, statement_timeout: Duration) -> Result<Self, PostgresError> {
        target.open(async |host| Self::set_up(host, &target.tls, statement_timeout).await).await
    }

    async fn set_up(
        host: &Config,
        tls: &MakeRustlsConnect,
        statement_timeout: Duration,
    ) -> Result<Self, tokio_postgres::Error> {
        let (client, connection) = host.connect(tls.clone()).await?;
        let io = Io(task::spawn_local(async move {
            // What ends it the writes through it are told too.
            let _ = connection.await;
        }));
        let lock = BackendLock(fastrand::i64(..));
        // From here on a drop ends it.
        let connection = Self { client, io, lock, statements: Vec::new(), is_doubtful: false };
        // By statements and not while connecting, as poolers refuse parameters that they do not know. What finds no row
        // that was there has to see all that is.
        let set_up = format!(
            "SET statement_timeout = {}; SET default_transaction_isolation = 'read committed'; \
             SET client_min_messages = warning; SELECT pg_advisory_lock({})",
            statement_timeout.as_millis(),
            lock.0
        );
        connection.client.batch_execute(&set_up).await?;
        // On systems where the server cannot look it is refused; there a cut connection is noticed at the end of its
        // statement. And a TimescaleDB may not know its limit yet, or let another role alone set it.
        let look = format!("SET client_connection_check_interval = '{CHECK_INTERVAL}'");
        for set in [&*look, DECOMPRESS] {
            match connection.client.batch_execute(set).await {
                Err(error) if error.as_db_error().is_none_or(|error| is_fatal(error.parsed_severity())) => {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(connection)
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn lock(&self) -> BackendLock {
        self.lock
    }

    /// Says whether it is of no use any more.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed() || self.is_doubtful
    }

    /// Sees to it that another backend is gone, so that nothing it was told to do happens any more. Waits for that as
    /// long as a statement may take.
    pub(super) async fn end_backend(&self, other: BackendLock) -> Result<(), tokio_postgres::Error> {
        let key = other.0;
        // That backend holds the lock. It lets go of it when it ends, after its transaction.
        let terminate = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1 \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
             AND classid = {}::bigint::oid AND objid = {}::bigint::oid AND pid <> pg_backend_pid()",
            (key as u64) >> 32,
            key as u32
        );
        self.client.batch_execute(&terminate).await?;
        self.client.batch_execute(&format!("SELECT pg_advisory_lock({key})")).await?;
        self.client.batch_execute(&format!("SELECT pg_advisory_unlock({key})")).await
    }

    /// Writes rows, each new or in the place of the one with its key, in a transaction of their own.
    pub(super) async fn write(
        &mut self,
        table: &Arc<TableSql>,
        rows: Part<'_>,
        path: &Path,
        counts: bool,
    ) -> Result<Written, tokio_postgres::Error> {
        if !path.copies(rows.len()) {
            let new = self.upsert(table, rows, counts).await?;
            return Ok(Written::Upserted { new });
        }
        match self.copy(table, rows).await {
            Ok(()) => Ok(Written::Copied),
            Err(error) if is_refused_copy(&error) => Ok(Written::CopyRefused),
            Err(error) => Err(error),
        }
    }

    async fn upsert(
        &mut self,
        table: &Arc<TableSql>,
        rows: Part<'_>,
        counts: bool,
    ) -> Result<usize, tokio_postgres::Error> {
        let types: Vec<_> = table.columns.iter().map(|column| array_type(column.sql_type)).collect();
        let arrays = rows.arrays(&table.columns);
        let parameters: Vec<&(dyn ToSql + Sync)> = arrays.iter().map(|array| array as _).collect();
        let Self { client, statements: all, .. } = self;
        let statements = statements(all, table);
        if counts && table.counts.load(Ordering::Relaxed) {
            match counted(client, &mut statements.upsert_counted, table, &types, &parameters).await {
                // A table that its owner has parted does not tell. Nothing was written.
                Err(error) if error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED) => {
                    table.counts.store(false, Ordering::Relaxed);
                }
                other => return other,
            }
        }
        if statements.upsert.is_none() {
            statements.upsert = Some(client.prepare_typed(&table.upsert, &types).await?);
        }
        let statement = statements.upsert.as_ref().expect("it was prepared above");
        client.execute(statement, &parameters).await?;
        Ok(0)
    }

    async fn copy(&mut self, table: &Arc<TableSql>, rows: Part<'_>) -> Result<(), tokio_postgres::Error> {
        let statements = statements(&mut self.statements, table);
        if statements.copy.is_none() {
            statements.copy = Some(self.client.prepare_typed(&table.copy, &[]).await?);
        }
        let statement = statements.copy.as_ref().expect("it was prepared above");
        self.is_doubtful = true;
        // COPY says that it is done before it is committed, and the driver waits for no more than that. So it has a
        // transaction of its own, whose COMMIT tells. What can go at once does: a message more costs little, a wait does.
        let (begun, sink) = join(self.client.batch_execute("BEGIN"), self.client.copy_in::<_, Bytes>(statement)).await;
        // Of a COPY that is refused at once the driver asks for the end once more, and takes the answer to that for the
        // answer to the next statement. So there is none.
        let mut sink = Box::pin(sink?);
        let sent = match begun {
            Ok(()) => sink.send(rows.copy(&table.columns)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = sent {
            // The connection goes on for others.
            drop(sink);
            self.is_doubtful = self.client.batch_execute("ROLLBACK").await.is_err();
            return Err(error);
        }
        let (copied, committed) = join(sink.as_mut().finish(), self.client.batch_execute("COMMIT")).await;
        // A COMMIT that the server answers with an error has rolled back.
        self.is_doubtful = committed.as_ref().is_err_and(|error| error.as_db_error().is_none());
        // After an error of COPY the COMMIT has rolled back, and says nothing of it.
        copied.and(committed)
    }

    /// Ends the connection as a client should, so that the server does not log that it was lost.
    pub(super) async fn close(self) {
        let Self { client, mut io, .. } = self;
        drop(client);
        let _ = timeout(GOODBYE, &mut io.0).await;
    }
}

/// Upserts, and returns how many rows were new.
async fn counted(
    client: &Client,
    statement: &mut Option<Statement>,
    table: &TableSql,
    types: &[Type],
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<usize, tokio_postgres::Error> {
    if statement.is_none() {
        *statement = Some(client.prepare_typed(&table.upsert_counted, types).await?);
    }
    let row = client.query_one(statement.as_ref().expect("it was prepared above"), parameters).await?;
    let new: i64 = row.try_get(0)?;
    Ok(usize::try_from(new).unwrap_or_default())
}

/// Returns what is prepared for a table. One that was made anew has other statements.
fn statements<'a>(all: &'a mut Vec<Statements>, table: &Arc<TableSql>) -> &'a mut Statements {
    let at = all.iter().position(|statements| Arc::ptr_eq(&statements.of, table)).unwrap_or_else(|| {
        all.retain(|statements| statements.of.table != table.table);
        all.push(Statements { of: Arc::clone(table), upsert_counted: None, upsert: None, copy: None });
        all.len() - 1
    });
    &mut all[at]
}

/// Says whether the same rows may well go by upsert: a row is there, or COPY is not possible here, or a row is refused,
/// which the upsert then says of its own.
fn is_refused_copy(error: &tokio_postgres::Error) -> bool {
    let Some(error) = error.as_db_error() else { return false };
    let is_alive = !is_fatal(error.parsed_severity());
    let class = &error.code().code()[..2];
    is_alive && (*error.code() == SqlState::UNIQUE_VIOLATION || matches!(class, "22" | "23" | "0A" | "42"))
}
