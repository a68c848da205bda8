//! Reads a database without being able to change it.
//!
//! All of it happens in one transaction that is read-only and sees one moment. The connection lives on a thread of its own,
//! so that a reader can be used on any thread. Rows come by a portal, a few at a time, and the thread waits until they are
//! taken: neither side keeps more of them.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        mpsc::{self, Receiver, SyncSender},
    },
    thread,
    time::Duration,
};

use tokio::{runtime, time::timeout};
use tokio_postgres::{IsolationLevel, Row, Transaction};

use super::{
    error::{PostgresError, ServerError},
    options::{PostgresOptions, Target},
    schema,
    select::{self, Select},
};
use crate::{record::StoredRow, sink::selection::Conditions};

/// So many rows come at once.
const ROWS: i32 = 500;
/// How long the connection has to say to the server that it ends.
const GOODBYE: Duration = Duration::from_secs(1);
/// A read may take as long as it takes, and its reader may be slow. It waits so long for one who changes the table.
const SET_UP: &str = "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0; \
                      SET LOCAL lock_timeout = '20s'";

/// Reads one moment of a database, the one of its first look.
pub(in crate::sink) struct PostgresReader {
    jobs: mpsc::Sender<Job>,
    /// Closed when the connection has ended.
    ended: Receiver<()>,
    /// The URL as it may be shown.
    pub(in crate::sink) database: Arc<str>,
}

struct Job {
    conditions: Conditions,
    /// Gets the rows, and none when there are no more.
    rows: SyncSender<Result<Option<Vec<Row>>, PostgresError>>,
}

impl PostgresReader {
    /// Connects.
    pub(in crate::sink) fn open(url: &str, options: PostgresOptions) -> Result<Self, PostgresError> {
        let target = Target::of_url(url)?;
        let database = Arc::clone(&target.shown);
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(PostgresError::Thread)?;
        let ((jobs, receiver), (opened, is_opened)) = (mpsc::channel(), mpsc::channel());
        let (ends, ended) = mpsc::channel();
        let run = move || {
            let _ends = ends;
            // Behind the opening what fails is told to the one who reads.
            if let Err(error) = runtime.block_on(run(target, options, &receiver, &opened)) {
                let _ = opened.send(Err(error));
            }
        };
        thread::Builder::new().name("mds-postgres-read".to_owned()).spawn(run).map_err(PostgresError::Thread)?;
        let reader = Self { jobs, ended, database };
        is_opened.recv().unwrap_or_else(|_| Err(reader.closed()))?;
        Ok(reader)
    }

    /// Shows the rows in the order of the key, one at a time, until it is told to stop.
    pub(in crate::sink) fn rows(
        &self,
        conditions: &Conditions,
        show: &mut dyn FnMut(StoredRow<'_>) -> ControlFlow<()>,
    ) -> Result<(), PostgresError> {
        let (rows, receiver) = mpsc::sync_channel(1);
        let table = &conditions.table;
        self.jobs.send(Job { conditions: conditions.clone(), rows }).map_err(|_| self.closed())?;
        loop {
            // Without the last word it would not be known that these were all.
            let Some(rows) = receiver.recv().unwrap_or_else(|_| Err(self.closed()))? else { return Ok(()) };
            for row in &rows {
                let (values, misfits) = select::stored(row, table);
                if show(StoredRow::new(table, &values).with_misfits(&misfits)).is_break() {
                    return Ok(());
                }
            }
        }
    }

    fn closed(&self) -> PostgresError {
        PostgresError::Closed { database: self.database.to_string() }
    }
}

impl Drop for PostgresReader {
    /// Waits a little until the server was told, as the process may end behind this: a connection that is cut is one line
    /// in the server's log. One that reads in vain is not waited for.
    fn drop(&mut self) {
        self.jobs = mpsc::channel().0;
        let _ = self.ended.recv_timeout(GOODBYE);
    }
}

/// Connects, and reads until the reader is dropped.
async fn run(
    target: Target,
    options: PostgresOptions,
    jobs: &Receiver<Job>,
    opened: &mpsc::Sender<Result<(), PostgresError>>,
) -> Result<(), PostgresError> {
    let database = &target.shown;
    let (mut client, connection) = target.open(async |host| host.connect(target.tls.clone()).await).await?;
    let mut io = tokio::spawn(async move {
        // What ends it the reads through it are told too.
        let _ = connection.await;
    });
    let begun = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
    let transaction = begun.start().await.map_err(failed(database, "begin a transaction"))?;
    transaction.batch_execute(SET_UP).await.map_err(failed(database, "begin a transaction"))?;
    let _ = opened.send(Ok(()));
    // It blocks the thread, on which nothing else happens.
    while let Ok(job) = jobs.recv() {
        if let Err(error) = read(&transaction, database, &options, &job).await {
            let _ = job.rows.send(Err(error));
        }
    }
    drop(transaction);
    drop(client);
    let _ = timeout(GOODBYE, &mut io).await;
    Ok(())
}

async fn read(
    transaction: &Transaction<'_>,
    database: &Arc<str>,
    options: &PostgresOptions,
    job: &Job,
) -> Result<(), PostgresError> {
    let table = &job.conditions.table;
    let schema = schema::find(transaction.client(), database, options, table).await?;
    let select = Select::new(&job.conditions, &schema).map_err(|invalid| PostgresError::Server {
        database: database.to_string(),
        step: "read the records",
        source: invalid.into(),
    })?;
    let failed = || failed(database, "read the records");
    let statement = transaction.prepare_typed(&select.sql, &select.types).await.map_err(failed())?;
    let portal = transaction.bind(&statement, &select.bound()).await.map_err(failed())?;
    loop {
        let rows = transaction.query_portal(&portal, ROWS).await.map_err(failed())?;
        let are_last = rows.len() < ROWS as usize;
        // A reader that has seen enough takes no more.
        if job.rows.send(Ok(Some(rows))).is_err() {
            return Ok(());
        }
        if are_last {
            let _ = job.rows.send(Ok(None));
            return Ok(());
        }
    }
}

fn failed(database: &Arc<str>, step: &'static str) -> impl FnOnce(tokio_postgres::Error) -> PostgresError {
    let database = database.to_string();
    move |error| PostgresError::Server { database, step, source: ServerError(error).into() }
}
