//! Settling entries: a file is taken, its entries are marked in the journal beside it, and it goes when all are.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use super::{
    DeadLettersError, Entry,
    entry::{EntryKey, EntryStatus, JournalRecord},
    files::{self, Locked, private},
    journal::{self, Journal},
    line,
    read::Unsettled,
};
use crate::text::Shown;

/// The file whose lock tells a second replay or purge of a directory that there is a first.
const LOCK: &str = "replay.lock";

/// The right to settle entries of a directory; one holder has it at a time.
pub(crate) struct ReplayLock {
    dir: PathBuf,
    _lock: Locked,
}

impl ReplayLock {
    /// Takes the right. None where there is no directory.
    ///
    /// # Errors
    /// Another holds it.
    pub(crate) fn begin(dir: &Path) -> Result<Option<Self>, DeadLettersError> {
        if files::list(dir).map_err(|error| DeadLettersError::io(dir, "read", error))?.entries.is_empty() {
            return Ok(None);
        }
        let path = dir.join(LOCK);
        let lock = private(OpenOptions::new().create(true).truncate(false).write(true)).open(&path);
        let lock = lock.map_err(|error| DeadLettersError::io(&path, "open", error))?;
        match Locked::new(lock) {
            Ok(lock) => Ok(Some(Self { dir: dir.to_owned(), _lock: lock })),
            Err((_, TryLockError::WouldBlock)) => Err(DeadLettersError::Busy(dir.to_owned())),
            Err((_, TryLockError::Error(error))) => Err(DeadLettersError::io(&path, "lock", error)),
        }
    }

    /// Takes the files that no process writes, the oldest first, each when its turn comes; `Err` holds one that a
    /// process writes.
    pub(crate) fn files(
        &self,
    ) -> Result<impl Iterator<Item = Result<LockedFile, NotLocked>> + use<>, DeadLettersError> {
        let listing = files::list(&self.dir).map_err(|error| DeadLettersError::io(&self.dir, "read", error))?;
        Ok(listing.entries.into_iter().filter_map(|path| LockedFile::take(path).transpose()))
    }
}

impl Drop for ReplayLock {
    /// Clears away what processes that were killed left behind.
    fn drop(&mut self) {
        let Ok(listed) = fs::read_dir(&self.dir) else { return };
        for path in listed.filter_map(|entry| Some(entry.ok()?.path())) {
            let is = |extension| path.extension().is_some_and(|found| found == extension);
            let is_left = is(files::JOURNAL) && !path.with_extension(files::ENTRIES).exists();
            if (is_left || is(files::NEW_JOURNAL)) && files::is_ours(&path) {
                let _ = fs::remove_file(&path);
            }
            // A file that is just being made becomes one of entries within a moment.
            if is(files::NEW) && age(&path) > Some(Duration::from_secs(60)) {
                files::remove_unmade(&path);
            }
        }
    }
}

fn age(path: &Path) -> Option<Duration> {
    SystemTime::now().duration_since(path.metadata().ok()?.modified().ok()?).ok()
}

/// Why a file was not taken.
#[derive(Debug)]
pub(crate) enum NotLocked {
    /// A process writes it.
    Live(PathBuf),
    Failed(DeadLettersError),
}

/// A file whose entries can be settled: it is locked, and no process writes it any more.
pub(crate) struct LockedFile {
    path: PathBuf,
    lock: Locked,
    journal: Journal,
    /// The journal's file, once something was marked.
    output: Option<File>,
}

impl LockedFile {
    fn take(path: PathBuf) -> Result<Option<Self>, NotLocked> {
        let failed = |step, error| NotLocked::Failed(DeadLettersError::io(&path, step, error));
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("open", error)),
        };
        // A process that lists the directory holds a lock for a moment too.
        let mut tries = 0;
        let lock = loop {
            tries += 1;
            file = match Locked::new(file) {
                Ok(lock) => break lock,
                Err((file, TryLockError::WouldBlock)) if tries < 4 => file,
                Err((_, TryLockError::WouldBlock)) => return Err(NotLocked::Live(path)),
                Err((_, TryLockError::Error(error))) => return Err(failed("lock", error)),
            };
            thread::sleep(Duration::from_millis(5));
        };
        let journal = Journal::read(&path).map_err(|error| failed("read the journal beside", error))?;
        let mut taken = Self { path, lock, journal, output: None };
        taken
            .mend()
            .map_err(|error| NotLocked::Failed(DeadLettersError::io(&taken.path, "cut off the last line of", error)))?;
        Ok(Some(taken))
    }

    /// Cuts off the beginning of a line at the end of the file. A loss of power leaves it; its entry was never
    /// acknowledged.
    fn mend(&mut self) -> io::Result<()> {
        let last = files::behind_last_line_end(self.lock.file())?;
        let Some(at) = line::torn_at(&last) else { return Ok(()) };
        let len = self.lock.file().metadata()?.len() - (last.len() - at) as u64;
        if !files::is_at(self.lock.file(), &self.path)? {
            return Ok(());
        }
        let file = OpenOptions::new().write(true).open(&self.path)?;
        file.set_len(len)?;
        file.sync_all()?;
        let bytes = last.len() - at;
        tracing::warn!(file = %Shown(&self.path.to_string_lossy()), bytes, "the last line, which breaks off, was cut off");
        Ok(())
    }

    /// Returns what is in the file and not settled.
    pub(crate) fn unsettled(&self) -> Result<Unsettled, DeadLettersError> {
        // Not a clone of the locked one: the two would share their place in the file.
        let file = File::open(&self.path).map_err(|error| DeadLettersError::io(&self.path, "read", error))?;
        Ok(Unsettled::new(&self.path, file, false, self.journal.clone()))
    }

    /// Marks in the journal what became of entries; that holds when this returns.
    pub(crate) fn mark(&mut self, marks: &[(Entry, EntryStatus)]) -> Result<(), DeadLettersError> {
        if marks.is_empty() {
            return Ok(());
        }
        let record =
            |(entry, end): &(Entry, EntryStatus)| JournalRecord { entry: EntryKey::of(entry), end: end.clone() };
        let marks: Vec<_> = marks.iter().map(record).collect();
        let path = self.path.with_extension(files::JOURNAL);
        self.append(&path, &marks).map_err(|error| {
            // It may end in half a line; the next one begins anew.
            self.output = None;
            DeadLettersError::io(&path, "write", error)
        })?;
        marks.into_iter().for_each(|mark| self.journal.mark(mark));
        Ok(())
    }

    fn append(&mut self, path: &Path, marks: &[JournalRecord]) -> io::Result<()> {
        let output = match &mut self.output {
            Some(output) => output,
            none => none.insert(journal::begin(path, &self.journal)?),
        };
        output.write_all(&journal::lines_of(marks)?)?;
        output.sync_data()
    }

    /// Removes the file if nothing is left in it. What is damaged stays until it is purged. Returns the path if
    /// something else is there by now, as when an editor saved it: that is left alone.
    pub(crate) fn finish(mut self) -> Result<Option<PathBuf>, DeadLettersError> {
        if self.is_at_path()? && self.unsettled()?.next().is_some() { Ok(None) } else { self.remove() }
    }

    /// Removes the file with all that is in it, unless something else is there by now; then returns the path.
    pub(super) fn remove(mut self) -> Result<Option<PathBuf>, DeadLettersError> {
        let other = if self.is_at_path()? {
            let remove = || {
                fs::remove_file(&self.path)?;
                files::sync_dir(self.path.parent().unwrap_or(Path::new("")))
            };
            remove().map_err(|error| DeadLettersError::io(&self.path, "remove", error))?;
            None
        } else {
            self.path.exists().then(|| self.path.clone())
        };
        // Only now: without its journal a file would be replayed once more. One that an editor put in the place of ours
        // has the same entries, but for those that were mended, and those are others by their record.
        let journal = self.path.with_extension(files::JOURNAL);
        if other.is_none() && files::is_ours(&journal) {
            let _ = fs::remove_file(journal);
        }
        Ok(other)
    }

    /// Says whether anything is at the path of the file, be it another one by now.
    pub(crate) fn is_anything_there(&self) -> bool {
        self.path.exists()
    }

    pub(super) fn is_at_path(&mut self) -> Result<bool, DeadLettersError> {
        files::is_at(self.lock.file(), &self.path).map_err(|error| DeadLettersError::io(&self.path, "look at", error))
    }
}
