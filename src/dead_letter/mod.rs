//! Dead letters: records that the store refuses, kept in files until they are replayed or purged.
//!
//! A directory holds files of one JSON object a line. Each process appends to files of its own and holds a lock on the
//! one that it writes; a file that no process writes can be replayed or purged. What became of an entry is marked in a
//! journal beside the file, and the file goes when all of it is settled. `line` is the form of a line and its checksum,
//! `entry` what is in it, `files` the names and locks, `writer` the thread that appends, `read` finds entries and names
//! damage, `locked` takes a file for a replay or a purge, and `journal` is what they mark.
//!
//! A record can be mended by hand, in a file that no process writes: change its line and leave the field `crc` out.

mod entry;
mod files;
mod journal;
mod line;
mod locked;
mod purge;
mod read;
mod replay;
mod select;
mod writer;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use tokio::sync::oneshot;

use self::writer::{Disk, Job, RealDisk, Writer};
pub(crate) use self::{
    entry::EntryStatus,
    locked::{LockedFile, NotLocked, ReplayLock},
    replay::Selector,
};
// At the crate's root in the documentation.
#[doc(hidden)]
pub use self::entry::DeadLetter;
pub use self::{
    entry::{Entry, Unserializable},
    purge::{PurgeReport, purge},
    read::{List, ListedEntry, list},
    replay::{Damaged, ReplayOptions, ReplayReport, replay_dry_run},
    select::Selection,
};
use crate::record::Timestamp;

/// Appends dead letters to files in one directory. Cheap to clone; clones share a thread that writes.
///
/// An append resolves once the entries are synced to the disk. Appends that wait at the same time share one sync. A
/// failed append leaves no part of its entries where they could be taken for whole ones, and can be repeated; an entry
/// that was appended although its append failed, because even undoing it failed, is there twice then.
///
/// Nothing is made on disk before the first append: then the directory, for its owner alone, and in it a file that only
/// this process writes. A file ends at 64 MiB, after a failure, and when nothing was appended for 5 seconds; then others
/// may replay or purge it.
#[derive(Clone)]
pub struct DeadLetters(Arc<Shared>);

struct Shared {
    dir: PathBuf,
    jobs: mpsc::Sender<Job>,
    /// Tells the ids of this process from those of all others.
    run: u64,
    next_id: AtomicU64,
    file_was_removed: Arc<AtomicBool>,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    /// A file with so many bytes is not written any more.
    file_bytes: u64,
    /// How long a file is held open for another append.
    idle: Duration,
}

/// Why dead letters cannot be kept in a directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeadLettersError {
    /// There is something else at the path.
    #[error("{}: expected a directory for dead letters, got something else", .0.display())]
    NotADirectory(PathBuf),
    /// The path cannot be looked at.
    #[error("{}: cannot be used for dead letters: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The operating system refused a thread.
    #[error("cannot start a thread for dead letters: {0}")]
    Thread(#[source] io::Error),
}

/// Why dead letters were not appended. None of them counts as kept; trying again can help.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// The disk refused, be it full or broken.
    #[error("{}: cannot {step} it: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was to be done to it.
        step: &'static str,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// An entry cannot be written as JSON.
    #[error("cannot write a dead letter as JSON: {0}")]
    Json(Arc<serde_json::Error>),
    /// The thread that writes is gone.
    #[error("{}: the thread that writes dead letters has ended", dir.display())]
    Gone {
        /// The directory.
        dir: PathBuf,
    },
}

/// Why dead-letter files cannot be read, replayed or purged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FilesError {
    /// One at a time.
    #[error("{}: a replay or a purge of this directory is under way", dir.display())]
    Busy {
        /// The directory.
        dir: PathBuf,
    },
    /// The disk refused.
    #[error("{}: cannot {step} it: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was to be done to it.
        step: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// The operating system refused a thread.
    #[error("cannot start a thread for the replay")]
    Thread(#[source] io::Error),
}

impl FilesError {
    fn io(path: &Path, step: &'static str, source: io::Error) -> Self {
        Self::Io { path: path.into(), step, source }
    }
}

impl DeadLetters {
    /// Begins to keep dead letters in a directory, which need not be there.
    ///
    /// # Errors
    /// There is something else at the path, the path cannot be looked at, or the operating system refuses a thread.
    pub fn open(dir: &Path) -> Result<Self, DeadLettersError> {
        Self::open_with(dir, Limits::default(), Box::new(RealDisk))
    }

    fn open_with(dir: &Path, limits: Limits, disk: Box<dyn Disk>) -> Result<Self, DeadLettersError> {
        let of = |source| DeadLettersError::Io { path: dir.into(), source };
        // Once and for all: the next file may be made after the working directory has changed.
        let dir = std::path::absolute(dir).map_err(of)?;
        match dir.metadata() {
            Ok(metadata) if !metadata.is_dir() => return Err(DeadLettersError::NotADirectory(dir)),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Err(of(error)),
            // What cannot be seen now may be there later.
            _ => {}
        }
        let file_was_removed = Arc::default();
        let jobs = Writer::spawn(dir.clone(), limits, disk, Arc::clone(&file_was_removed))
            .map_err(DeadLettersError::Thread)?;
        let (run, next_id) = (fastrand::u64(..), AtomicU64::new(1));
        Ok(Self(Arc::new(Shared { dir, jobs, run, next_id, file_was_removed })))
    }

    /// Returns the directory's absolute path.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Appends records of one coordinator, in order, all or none; resolves when they are synced. The dead letters are handed
    /// over before this returns, and the future needs no particular runtime.
    ///
    /// A future that is dropped may or may not have appended them.
    ///
    /// # Errors
    /// None of them counts as kept. It can be called again with the same dead letters.
    pub fn append(
        &self,
        coordinator_id: &str,
        kind: &str,
        records: &[DeadLetter],
    ) -> impl Future<Output = Result<(), AppendError>> + Send + use<> {
        let answered = self.send(coordinator_id, kind, records);
        let dir = self.0.dir.clone();
        async move { answered?.await.unwrap_or(Err(AppendError::Gone { dir })) }
    }

    /// Appends like [`append`](Self::append), and blocks the thread meanwhile.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    ///
    /// # Panics
    /// Inside a future that a tokio runtime drives: there it would block others.
    pub fn append_blocking(&self, coordinator_id: &str, kind: &str, records: &[DeadLetter]) -> Result<(), AppendError> {
        let gone = || AppendError::Gone { dir: self.0.dir.clone() };
        self.send(coordinator_id, kind, records)?.blocking_recv().unwrap_or_else(|_| Err(gone()))
    }

    /// Makes new entries of those whose file was removed; their counts stay as they are.
    pub(crate) async fn append_anew(&self, entries: &[Entry]) -> Result<(), AppendError> {
        // All are handed over before any is waited for, so that they share a sync.
        let appended: Vec<_> = entries
            .iter()
            .map(|entry| {
                let letter = DeadLetter {
                    record: entry.record.clone(),
                    unwritable: entry.unwritable.clone(),
                    error: entry.error.clone(),
                    attempts: entry.attempts,
                    replay_count: entry.replay_count,
                };
                self.append(&entry.coordinator_id, &entry.kind, &[letter])
            })
            .collect();
        for appended in appended {
            appended.await?;
        }
        Ok(())
    }

    /// Lets go of the file that is being written, so that others may replay or purge it at once. The next append begins
    /// a new one.
    pub async fn release(&self) {
        let (done, released) = oneshot::channel();
        if self.0.jobs.send(Job::Release(done)).is_ok() {
            // An error means that the thread is gone, and the file with it.
            let _ = released.await;
        }
    }

    /// Returns whether a file of this process, with entries in it, was removed from its path, replaced or cut off while it
    /// was written. Those entries are gone; an ERROR names each such file. It is known after [`release`](Self::release).
    /// A file that was let go is for others to remove.
    pub fn file_was_removed(&self) -> bool {
        self.0.file_was_removed.load(Ordering::Acquire)
    }

    fn send(&self, coordinator_id: &str, kind: &str, records: &[DeadLetter]) -> Result<Answered, AppendError> {
        let (answer, answered) = oneshot::channel();
        let ts = Timestamp::now();
        let mut lines = Vec::new();
        for record in records {
            let id = format!("{:016x}-{}", self.0.run, self.0.next_id.fetch_add(1, Ordering::Relaxed));
            entry::write(&mut lines, id, ts, coordinator_id, kind, record)
                .map_err(|error| AppendError::Json(Arc::new(error)))?;
        }
        if lines.is_empty() {
            let _ = answer.send(Ok(()));
            return Ok(answered);
        }
        match self.0.jobs.send(Job::Append { lines, answer }) {
            Ok(()) => Ok(answered),
            Err(_) => Err(AppendError::Gone { dir: self.0.dir.clone() }),
        }
    }
}

type Answered = oneshot::Receiver<Result<(), AppendError>>;

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeadLetters").field(&self.0.dir).finish()
    }
}
