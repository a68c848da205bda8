//! The last step of a durable commit: the sync of the log, on a thread of its own.
//!
//! SQLite would sync within each commit (`synchronous = FULL`), and nothing could be written meanwhile. So it commits
//! without (`NORMAL`: it then syncs the log before it copies from it, and the file before it begins the log anew), and
//! this thread syncs the log and tells that batches are stored, while the writer commits the next ones. One sync serves
//! all commits before it.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, mpsc},
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;

use super::write_error::WriteError;
use crate::sink::SinkError;

/// Whom to tell how a write ended.
pub(super) type Answer = oneshot::Sender<Result<(), SinkError>>;

/// Batches that are committed and not yet durable, each with the log that has it.
pub(super) type Committed = Vec<(Arc<Log>, Answer)>;

/// The log of one connection.
pub(super) struct Log {
    file: File,
    database: PathBuf,
    /// Why nothing more of it can become durable.
    failure: OnceLock<Arc<io::Error>>,
}

impl Log {
    /// Opens the log of a database that is open.
    pub(super) fn open(database: &Path) -> io::Result<Self> {
        // SQLite has it beside the file that a link leads to.
        let mut log = fs::canonicalize(database)?.into_os_string();
        log.push("-wal");
        // For writing, since some systems do not sync what is open for reading alone. To close it drops no lock of
        // SQLite: that has none on this file.
        let file = File::options().write(true).open(log)?;
        Ok(Self { file, database: database.into(), failure: OnceLock::new() })
    }

    /// Says whether a sync has failed. The system then counts as written what it may have given up, so that a later
    /// sync says nothing of it, and nothing that follows in the log can be relied on.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.get().is_some()
    }

    fn sync(&self) -> Result<(), WriteError> {
        if !self.has_failed()
            && let Err(error) = self.file.sync_data()
        {
            // It is not set yet: this thread alone sets it.
            let _ = self.failure.set(Arc::new(error));
        }
        match self.failure.get() {
            None => Ok(()),
            Some(source) => Err(WriteError::Unsynced { path: self.database.clone(), source: Arc::clone(source) }),
        }
    }
}

/// The thread.
pub(super) struct Syncer {
    commits: mpsc::Sender<Committed>,
    thread: JoinHandle<()>,
}

impl Syncer {
    pub(super) fn spawn() -> io::Result<Self> {
        let (sender, commits) = mpsc::channel();
        let thread = thread::Builder::new().name("mds-sqlite-sync".to_owned()).spawn(move || run(&commits))?;
        Ok(Self { commits: sender, thread })
    }

    /// Makes commits durable, and answers then.
    pub(super) fn sync(&self, committed: Committed) {
        if !committed.is_empty() {
            // Without the thread the answers are dropped, which says that they are lost.
            let _ = self.commits.send(committed);
        }
    }

    /// Does what was asked before, and ends the thread.
    pub(super) fn end(self) {
        drop(self.commits);
        let _ = self.thread.join();
    }
}

fn run(commits: &mpsc::Receiver<Committed>) {
    while let Ok(first) = commits.recv() {
        let waiting: Vec<_> = first.into_iter().chain(commits.try_iter().flatten()).collect();
        let mut synced: Option<(Arc<Log>, Result<(), WriteError>)> = None;
        for (log, answer) in waiting {
            // Another log only where the file was opened anew meanwhile.
            let (_, result) = match synced.take() {
                Some((of, result)) if Arc::ptr_eq(&of, &log) => synced.insert((of, result)),
                _ => {
                    let result = log.sync();
                    synced.insert((log, result))
                }
            };
            // An error means that the write was cut off meanwhile.
            let _ = answer.send(result.clone().map_err(WriteError::into_sink_error));
        }
    }
}
