//! The thread of the connections: makes tables ready, and writes the batches of each worker one after the other.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, hash_map::Entry},
    rc::Rc,
    sync::{Arc, mpsc},
    time::Duration,
};

use futures_util::future::{Either, select};
use metrics::{Counter, counter};
use tokio::{
    sync::{Mutex, mpsc::UnboundedReceiver, oneshot},
    task,
    time::{Instant, timeout},
};
use tokio_postgres::SimpleQueryMessage;

use super::{
    connection::{BackendLock, Connection, Written},
    error::{PostgresError, ServerError},
    options::{PostgresOptions, Target},
    path::Path,
    pool::{Lent, Pool},
    rows::Rows,
    tables::{KnownTable, Tables, UnfitSender},
    write_error::{Fault, WriteError, is_fatal},
};
use crate::{
    metrics as names,
    record::Table,
    sink::SinkError,
    text::{ErrorChain, panicked},
};

/// How much longer than a statement may take its answer is waited for.
const LATE_ANSWER: Duration = Duration::from_secs(3);

/// The most bytes that one statement takes. A message of more than a gibibyte the server would not even read.
const MOST_BYTES: usize = 64 << 20;

/// After a try to reach the server at a start that failed, the tables of other kinds are not tried for so long.
const UNREACHABLE: Duration = Duration::from_secs(5);

/// What the handles ask of the thread.
pub(super) enum Job {
    /// Store rows.
    Write(Write),
    /// Make a table, if it is not there.
    Prepare(Table, mpsc::Sender<Result<(), PostgresError>>),
    /// Say whether a write could begin now.
    Ping(oneshot::Sender<Result<(), SinkError>>),
    /// Do what was asked before, close the connections, and end.
    Close(oneshot::Sender<()>),
}

/// One batch, and whom to tell when it is committed.
pub(super) struct Write {
    /// Who writes it.
    pub(super) worker: Worker,
    pub(super) table: Table,
    pub(super) rows: Rows,
    /// Told when it has a connection, or the right to open one.
    pub(super) begins: oneshot::Sender<()>,
    /// Closed when the write is cut off.
    pub(super) answer: oneshot::Sender<Result<(), SinkError>>,
}

/// A worker by its coordinator and partition, with the name of the table that it writes. Its batches are written in their
/// order.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Worker {
    pub(super) table: &'static str,
    pub(super) coordinator_id: Option<Arc<str>>,
    pub(super) partition: usize,
}

/// What is known of a worker.
struct Lane {
    /// Held while a batch is written.
    turn: Mutex<()>,
    path: Cell<Path>,
    /// Backends that may still do what they were told: a connection was lost, or left, before it was known what became
    /// of a write. The next write waits until they are gone.
    unknown: RefCell<Vec<BackendLock>>,
    copied: Counter,
    upserted: Counter,
    conflicts: Counter,
}

impl Lane {
    fn of(worker: &Worker) -> Self {
        let id = worker.coordinator_id.clone().unwrap_or_else(|| worker.table.into());
        let batches =
            |path: &'static str| counter!(names::PG_BATCHES, "coordinator_id" => Arc::clone(&id), "path" => path);
        Self {
            turn: Mutex::default(),
            path: Cell::default(),
            unknown: RefCell::default(),
            copied: batches("copy"),
            upserted: batches("upsert"),
            conflicts: counter!(names::PG_CONFLICTS, "coordinator_id" => Arc::clone(&id)),
        }
    }
}

pub(super) struct Lanes {
    options: PostgresOptions,
    pool: Rc<Pool>,
    lanes: RefCell<HashMap<Worker, Rc<Lane>>>,
    tables: Tables,
    unreachable: Cell<Option<Instant>>,
}

impl Lanes {
    /// Does jobs until there are no more handles, or one closes.
    pub(super) async fn run(
        target: Target,
        options: PostgresOptions,
        unfit: UnfitSender,
        mut jobs: UnboundedReceiver<Job>,
    ) {
        let tables = Tables::new(&target.shown, &options, answer_within(&options), unfit);
        let pool = Rc::new(Pool::new(target, options.statement_timeout, options.connections));
        let this = Rc::new(Self {
            options,
            pool: Rc::clone(&pool),
            lanes: RefCell::default(),
            tables,
            unreachable: Cell::default(),
        });
        let closes_idle = task::spawn_local(async move { pool.close_idle().await });
        let mut tasks = task::JoinSet::new();
        let mut closed = None;
        while let Some(job) = jobs.recv().await {
            // Those that have ended are let go of.
            while tasks.try_join_next().is_some() {}
            let this = Rc::clone(&this);
            match job {
                Job::Write(write) => _ = tasks.spawn_local(async move { this.write(write).await }),
                Job::Prepare(table, answer) => {
                    _ = tasks.spawn_local(async move { _ = answer.send(this.prepare(&table).await) });
                }
                Job::Ping(answer) => _ = tasks.spawn_local(async move { this.ping(answer).await }),
                Job::Close(answer) => {
                    closed = Some(answer);
                    break;
                }
            }
        }
        // A write whose future was dropped ends by itself.
        while tasks.join_next().await.is_some() {}
        closes_idle.abort();
        this.pool.close().await;
        if let Some(closed) = closed {
            let _ = closed.send(());
        }
    }

    fn database(&self) -> Arc<str> {
        Arc::clone(&self.pool.target.shown)
    }

    /// Writes a batch unless it is cut off before, and tells.
    async fn write(self: Rc<Self>, write: Write) {
        let Write { worker, table, rows, begins, mut answer } = write;
        let lane = match self.lanes.borrow_mut().entry(worker) {
            Entry::Occupied(lane) => Rc::clone(lane.get()),
            Entry::Vacant(place) => {
                let lane = Lane::of(place.key());
                Rc::clone(place.insert(Rc::new(lane)))
            }
        };
        let written = {
            let write = std::panic::AssertUnwindSafe(async {
                let _turn = lane.turn.lock().await;
                self.write_rows(&lane, &table, &rows, begins).await
            });
            let write = std::pin::pin!(futures_util::FutureExt::catch_unwind(write));
            let cut_off = std::pin::pin!(answer.closed());
            match select(write, cut_off).await {
                Either::Left((written, _)) => written,
                // What was under way is dropped here, before the lane's next write gets its turn.
                Either::Right(_) => return,
            }
        };
        let result = written.unwrap_or_else(|panic| {
            let text = panicked::message_of(&*panic);
            tracing::error!(database = &*self.database(), text, "a write to PostgreSQL panicked, its batch fails");
            Err(WriteError::Panicked { database: self.database() })
        });
        let _ = answer.send(result.map_err(WriteError::into_sink_error));
    }

    async fn write_rows(
        &self,
        lane: &Lane,
        table: &Table,
        rows: &Rows,
        begins: oneshot::Sender<()>,
    ) -> Result<(), WriteError> {
        let turn = self.pool.turn().await?;
        let _ = begins.send(());
        let mut lent = turn.connect().await?;
        let known = self.tables.known(table);
        let sql = self.tables.sql_for_write(&lent.connection, &known).await?;
        self.end_unknown(lane, &lent.connection).await?;
        // Each key is in one part alone, so that their order is of no account; a batch that fails in between is written
        // again as a whole.
        for part in rows.parts(MOST_BYTES) {
            loop {
                let mut path = lane.path.get();
                let pending = Pending { lane, lock: lent.connection.lock(), is_known: Cell::new(false) };
                let write = lent.connection.write(&sql, part, &path, self.options.copies);
                let written = match timeout(self.answer_within(), write).await {
                    Ok(Ok(written)) => written,
                    Ok(Err(error)) => {
                        let fault = known.fault(Fault::of(&error, table), part.len());
                        // A server that answers so has done nothing, and goes on. One that ends the connection may
                        // have stored the rows before.
                        if error.as_db_error().is_some_and(|error| !is_fatal(error.parsed_severity())) {
                            pending.is_known.set(true);
                            after_refusal(&error, fault, &known, lent);
                        }
                        let (database, source) = (self.database(), ServerError(error));
                        return Err(WriteError::Server { database, step: "write", fault, source });
                    }
                    Err(_) => {
                        return Err(WriteError::Silent {
                            database: self.database(),
                            step: "write",
                            within: self.answer_within(),
                        });
                    }
                };
                pending.is_known.set(true);
                match written {
                    Written::Upserted { new } => {
                        path.upserted(part.len(), new);
                        lane.upserted.increment(1);
                    }
                    Written::Copied => {
                        path.copied();
                        lane.copied.increment(1);
                    }
                    Written::CopyRefused => {
                        path.refused();
                        lane.conflicts.increment(1);
                    }
                }
                lane.path.set(path);
                if !matches!(written, Written::CopyRefused) {
                    known.stored();
                    break;
                }
                if lent.connection.is_closed() {
                    drop(lent);
                    lent = self.pool.get().await?;
                }
            }
        }
        lent.give_back();
        Ok(())
    }

    fn answer_within(&self) -> Duration {
        answer_within(&self.options)
    }

    /// Waits until the backends are gone of which it is not known what became of their last write.
    async fn end_unknown(&self, lane: &Lane, connection: &Connection) -> Result<(), WriteError> {
        loop {
            let Some(lock) = lane.unknown.borrow().last().copied() else { return Ok(()) };
            self.in_time("end the backend of a lost connection", connection.end_backend(lock)).await?;
            lane.unknown.borrow_mut().retain(|other| *other != lock);
        }
    }

    async fn in_time<R>(
        &self,
        step: &'static str,
        answer: impl Future<Output = Result<R, tokio_postgres::Error>>,
    ) -> Result<R, WriteError> {
        let (database, within) = (self.database(), self.answer_within());
        match timeout(within, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                Err(WriteError::Server { database, step, fault: Fault::Store, source: ServerError(error) })
            }
            Err(_) => Err(WriteError::Silent { database, step, within }),
        }
    }

    /// Sees to a table before anything is written. A server that cannot be reached now is no error: a WARN is logged, and
    /// the first write tries again.
    async fn prepare(&self, table: &Table) -> Result<(), PostgresError> {
        if self.unreachable.get().is_some_and(|since| since.elapsed() < UNREACHABLE) {
            return Ok(());
        }
        let known = self.tables.known(table);
        self.tables.begin_anew(table);
        let prepared = async {
            let lent = self.pool.get().await?;
            self.tables.sql(&lent.connection, &known).await?;
            lent.give_back();
            Ok(())
        };
        match prepared.await {
            Err(error) if PostgresError::is_outage(&error) => {
                self.unreachable.set(Some(Instant::now()));
                let error = ErrorChain(&error).to_string();
                tracing::warn!(error, "the database cannot be used now, records wait until it can");
                Ok(())
            }
            other => other,
        }
    }

    /// Says whether the server is there and takes writes, unless the one who asked has gone.
    async fn ping(&self, mut answer: oneshot::Sender<Result<(), SinkError>>) {
        let pinged = {
            let ping = std::pin::pin!(async {
                let lent = self.pool.get().await?;
                let asked = lent.connection.client().simple_query("SHOW transaction_read_only");
                let answer = self.in_time("ask whether it takes writes", asked).await?;
                let is_read_only =
                    answer.iter().any(|row| matches!(row, SimpleQueryMessage::Row(row) if row.get(0) == Some("on")));
                if is_read_only {
                    return Err(WriteError::ReadOnly { database: self.database() });
                }
                lent.give_back();
                Ok(())
            });
            match select(ping, std::pin::pin!(answer.closed())).await {
                Either::Left((pinged, _)) => pinged,
                Either::Right(_) => return,
            }
        };
        let _ = answer.send(pinged.map_err(WriteError::into_sink_error));
    }
}

/// Decides what becomes of a connection and of what is known of a table, after an error.
fn after_refusal(error: &tokio_postgres::Error, fault: Fault, known: &KnownTable, lent: Lent) {
    let class = error.code().map_or("", |code| &code.code()[..2]);
    // Another program has changed the table, or a statement that was prepared for it is of no use any more.
    if fault == Fault::Store && matches!(class, "0A" | "23" | "26" | "34" | "3F" | "42") {
        known.forget();
    }
    // A server that takes no writes may be another one than the URL leads to by now. A limit may be one of the role,
    // which a new connection alone has as it is by now.
    if !matches!(class, "25" | "53") {
        lent.give_back();
    }
}

/// How long the answer to a statement is waited for.
fn answer_within(options: &PostgresOptions) -> Duration {
    options.statement_timeout + LATE_ANSWER
}

/// A write that is under way. Dropped before it is known what became of it, it leaves word of that.
struct Pending<'a> {
    lane: &'a Lane,
    lock: BackendLock,
    is_known: Cell<bool>,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.is_known.get() {
            self.lane.unknown.borrow_mut().push(self.lock);
        }
    }
}
