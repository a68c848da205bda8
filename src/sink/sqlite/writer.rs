//! The one thread that writes: takes what waits, commits it together, and only then answers.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use parking_lot::Mutex;
use rusqlite::config::DbConfig;
use tokio::sync::oneshot;

use super::{
    SqliteOpenError, SqliteOptions, Synchronous,
    checkpoint::Checkpointer,
    open::{self, Store},
    place::{self, Identity},
    sql::TableSql,
    sync::{Log, Syncer},
    transaction::{Write, transaction},
    write_error::WriteError,
};
use crate::{
    record::Tabular,
    sink::SinkError,
    text::{ErrorChain, Shown},
};

/// What the handles ask of the thread.
pub(super) enum Job {
    /// Store rows.
    Write(Write),
    /// Open the file if it is not open, and make a table if it is not there.
    Prepare(Arc<TableSql>, mpsc::Sender<Result<(), SqliteOpenError>>),
    /// Say whether a write could begin now.
    Ping(oneshot::Sender<Result<(), SinkError>>),
    /// Do what was asked before, close the file, and end.
    Close(oneshot::Sender<()>),
}

/// What ends a group of writes.
enum Last {
    Prepare(Arc<TableSql>, mpsc::Sender<Result<(), SqliteOpenError>>),
    Ping(oneshot::Sender<Result<(), SinkError>>),
    Close(oneshot::Sender<()>),
}

/// How a write ended. `Ok` means committed, and durable once the log, if there is one, is synced.
type Written = Result<Option<Arc<Log>>, WriteError>;

/// The handles' end of the thread; the thread ends when it is dropped.
pub(super) struct WriterHandle {
    jobs: mpsc::Sender<Job>,
    path: PathBuf,
    file_was_removed: Arc<AtomicBool>,
    /// The statements of each table that was written, made once.
    tables: Mutex<Vec<Arc<TableSql>>>,
}

impl WriterHandle {
    /// Returns the statements of a kind's table.
    pub(super) fn sql<T: Tabular>(&self) -> Arc<TableSql> {
        let mut tables = self.tables.lock();
        if let Some(sql) = tables.iter().find(|sql| sql.table == T::TABLE) {
            return Arc::clone(sql);
        }
        let sql = Arc::new(TableSql::new(T::TABLE));
        tables.push(Arc::clone(&sql));
        sql
    }

    pub(super) fn file_was_removed(&self) -> bool {
        self.file_was_removed.load(Ordering::Acquire)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn send(&self, job: Job) -> Result<(), mpsc::SendError<Job>> {
        self.jobs.send(job)
    }
}

pub(super) struct Writer {
    options: SqliteOptions,
    /// Not bounded, but never long: each worker has one write under way.
    jobs: mpsc::Receiver<Job>,
    /// None while the file cannot be opened: each group of batches tries again.
    store: Option<Store>,
    stored: Stored,
    /// That of the last connection. Once a sync of it has failed, it may lack what others follow in it.
    log: Option<Arc<Log>>,
    /// None only where nothing has to be synced.
    syncer: Option<Syncer>,
    checkpointer: Option<Checkpointer>,
}

/// The file that has what was acknowledged. SQLite would go on writing one that was removed or replaced, and what is in
/// it could not be found.
struct Stored {
    /// None where nothing was acknowledged, and on systems where an open file can be neither removed nor replaced.
    file: Option<Identity>,
    file_was_removed: Arc<AtomicBool>,
}

impl Stored {
    /// Compares the file that is at the path with the one that has the records, and gives these up if it is another
    /// one. Returns whether the open file is at the path. A path that cannot be looked at, because its directory is
    /// closed to us for a while, shows nothing.
    fn look(&mut self, path: &Path, open: Option<Identity>) -> io::Result<bool> {
        let there = place::look_at(path)?;
        if self.file.is_some() && self.file != there {
            tracing::error!(
                path = %Shown(&path.to_string_lossy()),
                "the database file was removed or replaced, and what was stored in it is gone from there"
            );
            self.file_was_removed.store(true, Ordering::Release);
            self.file = None;
        }
        Ok(open == there)
    }
}

impl Writer {
    /// Starts the thread. It opens the file for the first table that is prepared or written.
    pub(super) fn spawn(options: SqliteOptions) -> Result<WriterHandle, SqliteOpenError> {
        let path = options.path.clone();
        let file_was_removed = Arc::default();
        let (jobs, writer) = Self::new(options, Arc::clone(&file_was_removed)).map_err(SqliteOpenError::Thread)?;
        thread::Builder::new()
            .name("mds-sqlite".to_owned())
            .spawn(move || writer.run())
            .map_err(SqliteOpenError::Thread)?;
        Ok(WriterHandle { jobs, path, file_was_removed, tables: Mutex::default() })
    }

    fn new(options: SqliteOptions, file_was_removed: Arc<AtomicBool>) -> io::Result<(mpsc::Sender<Job>, Self)> {
        let (sender, jobs) = mpsc::channel();
        let stored = Stored { file: None, file_was_removed };
        let syncer = (options.synchronous == Synchronous::Full).then(Syncer::spawn).transpose()?;
        let checkpointer = Some(Checkpointer::spawn(options.path.clone())?);
        Ok((sender, Self { options, jobs, store: None, stored, log: None, syncer, checkpointer }))
    }

    fn run(mut self) {
        // Idle means asleep in `recv`: no timer, no lock on the file.
        while let Ok(job) = self.jobs.recv() {
            let (group, last) = self.collect(job);
            self.leave_failed_log();
            self.serve(group);
            match last {
                None => {}
                Some(Last::Prepare(sql, answer)) => {
                    let _ = answer.send(self.prepare_at_start(&sql));
                }
                Some(Last::Ping(answer)) => {
                    let pinged = self.guarded(Self::ping);
                    let _ = answer.send(pinged.map_err(WriteError::into_sink_error));
                }
                Some(Last::Close(closed)) => {
                    self.end();
                    let _ = closed.send(());
                    return;
                }
            }
        }
        self.end();
    }

    /// Sees to it that all is answered, looks once more whether all that was acknowledged can be found, and closes the
    /// file.
    fn end(&mut self) {
        if let Some(syncer) = self.syncer.take() {
            syncer.end();
        }
        if let Some(checkpointer) = self.checkpointer.take() {
            checkpointer.end();
        }
        self.leave_failed_log();
        // If it cannot look, nothing is known to be lost.
        let _ = self.stored.look(&self.options.path, None);
        self.store = None;
    }

    /// Closes a connection whose log could not be synced.
    fn leave_failed_log(&mut self) {
        if has_failed(self.log.as_ref())
            && let Some(store) = self.store.take()
        {
            // Nor is the log copied into the file now: who opens it next reads no further than the checksums hold.
            let _ = store.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        }
    }

    /// Takes the job and all that wait behind it, up to the limit or to one that is no write.
    fn collect(&self, first: Job) -> (Vec<Write>, Option<Last>) {
        let mut group = Vec::new();
        let mut next = Some(first);
        while let Some(job) = next {
            match job {
                // A write that was cancelled before its turn has no reader.
                Job::Write(write) if write.answer.is_closed() => {}
                Job::Write(write) => group.push(write),
                Job::Prepare(sql, answer) => return (group, Some(Last::Prepare(sql, answer))),
                Job::Ping(answer) => return (group, Some(Last::Ping(answer))),
                Job::Close(closed) => return (group, Some(Last::Close(closed))),
            }
            next = if group.len() < self.options.group_limit.get() { self.jobs.try_recv().ok() } else { None };
        }
        (group, None)
    }

    /// Sees to a table before anything is written. A file that cannot be reached now is no error: a WARN is logged, and
    /// the first write tries again.
    fn prepare_at_start(&mut self, sql: &Arc<TableSql>) -> Result<(), SqliteOpenError> {
        match self.prepare(sql) {
            Err(error) if error.is_outage() => {
                tracing::warn!(error = %ErrorChain(&error), "the database cannot be opened now, writes will try again");
                Ok(())
            }
            result => result,
        }
    }

    /// Opens the file if it is not open, and makes the table if it is not there.
    fn prepare(&mut self, sql: &Arc<TableSql>) -> Result<(), SqliteOpenError> {
        // This one alone: a table that another program has changed must not stop the writes to this one.
        let table = std::slice::from_ref(sql);
        let Some(store) = &mut self.store else {
            self.store = Some(connect(&self.options, &mut self.log, table)?);
            return Ok(());
        };
        if store.tables.iter().any(|known| Arc::ptr_eq(known, sql)) {
            return Ok(());
        }
        if let Err(error) = open::make_tables(&mut store.connection, &store.path, table) {
            // Its transaction is rolled back, if that was possible.
            if !store.connection.is_autocommit() || !error.spares_connection() {
                self.store = None;
            }
            return Err(error);
        }
        store.tables.push(Arc::clone(sql));
        Ok(())
    }

    /// Takes the writes out whose tables cannot be had, and answers them. In an outage that is all of them: another try
    /// for each could take as long as the busy timeout.
    fn with_tables(&mut self, group: Vec<Write>) -> Vec<Write> {
        let mut left = Vec::with_capacity(group.len());
        let mut group = group.into_iter();
        while let Some(write) = group.next() {
            let prepared = self.guarded(|writer| Ok(writer.prepare(&write.sql)));
            let is_outage = matches!(&prepared, Ok(Err(error)) if error.is_outage());
            match prepared.and_then(|prepared| prepared.map_err(|error| WriteError::Open(Arc::new(error)))) {
                Ok(()) => left.push(write),
                Err(error) if is_outage => {
                    for write in left.into_iter().chain([write]).chain(group) {
                        _ = write.answer.send(Err(error.clone().into_sink_error()));
                    }
                    return Vec::new();
                }
                Err(error) => _ = write.answer.send(Err(error.into_sink_error())),
            }
        }
        left
    }

    fn serve(&mut self, group: Vec<Write>) {
        let group = self.with_tables(group);
        let results = self.guarded(|writer| Ok(writer.write(&group)));
        let results = results.unwrap_or_else(|error| group.iter().map(|_| Err(error.clone())).collect());
        let mut unsynced = Vec::new();
        for (write, result) in group.into_iter().zip(results) {
            // An error of the channel means that the write was cut off meanwhile.
            match result {
                Ok(Some(log)) => unsynced.push((log, write.answer)),
                Ok(None) => _ = write.answer.send(Ok(())),
                Err(error) => _ = write.answer.send(Err(error.into_sink_error())),
            }
        }
        if let Some(syncer) = &self.syncer {
            syncer.sync(unsynced);
        }
    }

    /// Does something that may panic.
    fn guarded<R>(&mut self, act: impl FnOnce(&mut Self) -> Result<R, WriteError>) -> Result<R, WriteError> {
        catch_unwind(AssertUnwindSafe(|| act(self))).unwrap_or_else(|_| {
            // It is not known how far it came. Closing the connection rolls back what was not committed.
            self.store = None;
            let path = self.options.path.clone();
            tracing::error!(path = %Shown(&path.to_string_lossy()), "the thread that writes the database panicked, its batches fail");
            Err(WriteError::Panicked { path })
        })
    }

    /// Reads from the file, and takes the lock that a write takes.
    fn ping(&mut self) -> Result<(), WriteError> {
        let store = opened(&mut self.store, &self.options, &mut self.log, &[])?;
        let path = store.path.clone();
        let at = |step| move |source| WriteError::Sqlite { path, step, source: Arc::new(source) };
        let pinged = store.connection.execute_batch("BEGIN IMMEDIATE; SELECT count(*) FROM sqlite_schema; ROLLBACK");
        if pinged.is_err() && !store.connection.is_autocommit() && store.connection.execute_batch("ROLLBACK").is_err() {
            self.store = None;
        }
        pinged.map_err(at("begin a transaction"))
    }

    /// Writes every batch and returns each one's result, in order.
    fn write(&mut self, group: &[Write]) -> Vec<Written> {
        match self.commit(group) {
            Ok(results) => results,
            // It failed as a whole for what one of them holds, as a deferred constraint does at the commit.
            Err(error) if group.len() > 1 && error.blames_records() => {
                group.chunks(1).flat_map(|alone| self.write(alone)).collect()
            }
            Err(error) => group.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// Commits the batches together. `Err` means that nothing of them is stored.
    fn commit(&mut self, group: &[Write]) -> Result<Vec<Written>, WriteError> {
        if group.is_empty() {
            return Ok(Vec::new());
        }
        let tables: Vec<_> = group.iter().map(|write| Arc::clone(&write.sql)).collect();
        let store = opened(&mut self.store, &self.options, &mut self.log, &tables)?;
        let results = match transaction(store, group) {
            Ok(results) => results,
            Err(error) => {
                // SQLite may have rolled back by itself (full, I/O error, out of memory), or not.
                let rolled_back =
                    store.connection.is_autocommit() || store.connection.execute_batch("ROLLBACK").is_ok();
                if !rolled_back || !error.spares_connection() {
                    self.store = None;
                }
                return Err(error);
            }
        };
        match self.stored.look(&store.path, store.identity) {
            Ok(true) => {}
            Ok(false) => {
                let path = store.path.clone();
                self.store = None;
                return Err(WriteError::Replaced { path });
            }
            // The connection stays: while it has the file open, no other one can be taken for it.
            Err(error) => return Err(WriteError::Unseen { path: store.path.clone(), source: Arc::new(error) }),
        }
        if results.iter().any(Result::is_ok) {
            self.stored.file = store.identity;
        }
        if let Some(checkpointer) = &mut self.checkpointer {
            checkpointer.count(group.iter().map(|write| write.rows.len()).sum());
        }
        Ok(results.into_iter().map(|result| result.map(|()| store.log.clone())).collect())
    }
}

/// Opens the file. Where a sync of its log has failed, the log has to be empty before anything is written behind what
/// may be missing in it.
fn connect(
    options: &SqliteOptions,
    log: &mut Option<Arc<Log>>,
    tables: &[Arc<TableSql>],
) -> Result<Store, SqliteOpenError> {
    let store = open::connect(options, tables)?;
    if has_failed(log.as_ref()) {
        open::empty_log(&store)?;
    }
    log.clone_from(&store.log);
    Ok(store)
}

fn has_failed(log: Option<&Arc<Log>>) -> bool {
    log.is_some_and(|log| log.has_failed())
}

/// Returns the open store, and opens it if it is not.
fn opened<'a>(
    store: &'a mut Option<Store>,
    options: &SqliteOptions,
    log: &mut Option<Arc<Log>>,
    tables: &[Arc<TableSql>],
) -> Result<&'a mut Store, WriteError> {
    match store {
        Some(store) => Ok(store),
        none => Ok(none.insert(connect(options, log, tables).map_err(|error| WriteError::Open(Arc::new(error)))?)),
    }
}

#[cfg(test)]
mod tests;
