//! Copies what is in the log into the file, on a thread of its own.
//!
//! SQLite would do it within the commit that makes the log long, with two syncs. Here the writer is left with what comes
//! while this thread copies: a log that is never copied whole is never begun anew, so at [`LOG_PAGES`] SQLite does it
//! within a commit all the same.

use std::{
    io,
    path::{Path, PathBuf},
    sync::mpsc::{self, Receiver, SyncSender},
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

/// After so many rows the thread copies. Where each row changes pages of its own, the log has become too long by then;
/// where they follow each other, it has some hundred pages.
const ROWS: usize = 8_192;
/// The most pages of the log, if no reader needs them: 16 MiB of the usual ones.
pub(super) const LOG_PAGES: u32 = 4_000;

/// The thread.
pub(super) struct Checkpointer {
    due: SyncSender<()>,
    thread: JoinHandle<()>,
    rows: usize,
}

impl Checkpointer {
    pub(super) fn spawn(path: PathBuf) -> io::Result<Self> {
        // One that is due while the thread is at it is enough.
        let (sender, due) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("mds-sqlite-log".to_owned()).spawn(move || run(&path, &due))?;
        Ok(Self { due: sender, thread, rows: 0 })
    }

    /// Counts rows that were committed.
    pub(super) fn count(&mut self, rows: usize) {
        self.rows += rows;
        if self.rows >= ROWS {
            self.rows = 0;
            let _ = self.due.try_send(());
        }
    }

    /// Ends the thread.
    pub(super) fn end(self) {
        drop(self.due);
        let _ = self.thread.join();
    }
}

fn run(path: &Path, due: &Receiver<()>) {
    while due.recv().is_ok() {
        // What fails here is left to the writer, or to the last one who closes the file.
        let _ = copy(path);
    }
}

/// With a connection for this once, so that it is of the file that is at the path now.
fn copy(path: &Path) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    // It can as well be done later.
    connection.busy_timeout(Duration::ZERO)?;
    // Before it has read from the file it does not know of the log.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}
