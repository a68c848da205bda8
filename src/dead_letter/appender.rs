//! The handle that appends dead letters; the thread behind it is in `writer`.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
};

use tokio::sync::oneshot;

use super::{
    entry::{self, DeadLetter, Entry},
    error::DeadLettersError,
    writer::{Disk, Job, Limits, RealDisk, Writer, try_out},
};
use crate::record::Timestamp;

/// Appends dead letters to files in one directory. Cheap to clone; clones share a thread that writes.
///
/// An append resolves once the entries are synced to the disk. Appends that wait at the same time share one sync. A
/// failed append leaves no part of its entries where they could be taken for whole ones, and can be repeated; an entry
/// that was appended although its append failed, because even undoing it failed, is there twice then.
///
/// The directory is made at the start, for its owner alone, and tried: a file in it is written, synced and removed. The
/// first append makes a file that only this process writes. It ends at 64 MiB, after a failure, and when nothing was
/// appended for 5 seconds; then others may replay or purge it.
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

impl DeadLetters {
    /// Begins to keep dead letters in a directory, which is made if it is not there. Blocks the caller while the
    /// directory is tried.
    ///
    /// # Errors
    /// The directory, or a file in it, cannot be made, written, synced or removed, there is something else at the path,
    /// or the operating system refuses a thread.
    pub fn open(dir: &Path) -> Result<Self, DeadLettersError> {
        Self::open_with(dir, Limits::default(), Box::new(RealDisk))
    }

    pub(super) fn open_with(dir: &Path, limits: Limits, mut disk: Box<dyn Disk>) -> Result<Self, DeadLettersError> {
        let of = |dir: &Path, source| DeadLettersError::io(dir, "keep dead letters in", source);
        // Once and for all: the next file may be made after the working directory has changed.
        let dir = std::path::absolute(dir).map_err(|error| of(dir, error))?;
        if dir.metadata().is_ok_and(|metadata| !metadata.is_dir()) {
            return Err(DeadLettersError::NotADirectory(dir));
        }
        // What cannot be used is told now, and not by an outage after which there is nowhere to keep a dead letter.
        try_out(&dir, &mut *disk).map_err(|error| of(&dir, error))?;
        let file_was_removed = Arc::default();
        let jobs = Writer::spawn(dir.clone(), limits, disk, Arc::clone(&file_was_removed))
            .map_err(DeadLettersError::thread)?;
        let (run, next_id) = (fastrand::u64(..), AtomicU64::new(1));
        Ok(Self(Arc::new(Shared { dir, jobs, run, next_id, file_was_removed })))
    }

    /// Returns the directory's absolute path.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Appends records of one coordinator, in order, all or none; resolves when they are synced. The dead letters are
    /// handed over before this returns, and the future needs no particular runtime.
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
    ) -> impl Future<Output = Result<(), DeadLettersError>> + Send + use<> {
        let answered = self.send(coordinator_id, kind, records);
        let dir = self.0.dir.clone();
        async move { answered?.await.unwrap_or(Err(DeadLettersError::Gone(dir))) }
    }

    /// Appends like [`append`](Self::append), and blocks the thread meanwhile.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    ///
    /// # Panics
    /// Inside a future that a tokio runtime drives: there it would block others.
    pub fn append_blocking(
        &self,
        coordinator_id: &str,
        kind: &str,
        records: &[DeadLetter],
    ) -> Result<(), DeadLettersError> {
        let gone = || DeadLettersError::Gone(self.0.dir.clone());
        self.send(coordinator_id, kind, records)?.blocking_recv().unwrap_or_else(|_| Err(gone()))
    }

    /// Makes new entries of those whose file was removed; their counts stay as they are.
    pub(crate) async fn append_anew(&self, entries: &[Entry]) -> Result<(), DeadLettersError> {
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

    /// Returns whether a file of this process, with entries in it, was removed from its path, replaced or cut off while
    /// it was written. Those entries are gone; an ERROR names each such file. It is known after
    /// [`release`](Self::release). A file that was let go is for others to remove.
    pub fn file_was_removed(&self) -> bool {
        self.0.file_was_removed.load(Ordering::Acquire)
    }

    fn send(&self, coordinator_id: &str, kind: &str, records: &[DeadLetter]) -> Result<Answered, DeadLettersError> {
        let (answer, answered) = oneshot::channel();
        let ts = Timestamp::now();
        let mut lines = Vec::new();
        for record in records {
            let id = format!("{:016x}-{}", self.0.run, self.0.next_id.fetch_add(1, Ordering::Relaxed));
            entry::write(&mut lines, id, ts, coordinator_id, kind, record)
                .map_err(|error| DeadLettersError::Json(Arc::new(error)))?;
        }
        if lines.is_empty() {
            let _ = answer.send(Ok(()));
            return Ok(answered);
        }
        match self.0.jobs.send(Job::Append { lines, answer }) {
            Ok(()) => Ok(answered),
            Err(_) => Err(DeadLettersError::Gone(self.0.dir.clone())),
        }
    }
}

type Answered = oneshot::Receiver<Result<(), DeadLettersError>>;

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeadLetters").field(&self.0.dir).finish()
    }
}
