//! Settling entries: a file is taken, its entries are marked in the journal beside it, and it goes when all are.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use super::{
    FilesError,
    entry::{Settled, SettledAs},
    files::{self, Locked},
    line,
    read::{self, Found, Lines},
    writer::private,
};

/// The file whose lock tells a second replay or purge of a directory that there is a first.
const LOCK: &str = "replay.lock";

/// The right to settle entries of a directory; nobody else has it meanwhile.
pub(super) struct Settling {
    dir: PathBuf,
    _lock: Locked,
}

impl Settling {
    /// Takes the right. None where there is no directory.
    ///
    /// # Errors
    /// Somebody else has it.
    pub(super) fn begin(dir: &Path) -> Result<Option<Self>, FilesError> {
        if files::list(dir).map_err(|error| FilesError::io(dir, "read", error))?.entries.is_empty() {
            return Ok(None);
        }
        let path = dir.join(LOCK);
        let lock = private(OpenOptions::new().create(true).truncate(false).write(true)).open(&path);
        let lock = lock.map_err(|error| FilesError::io(&path, "open", error))?;
        match Locked::new(lock) {
            Ok(lock) => Ok(Some(Self { dir: dir.to_owned(), _lock: lock })),
            Err((_, TryLockError::WouldBlock)) => Err(FilesError::Busy { dir: dir.to_owned() }),
            Err((_, TryLockError::Error(error))) => Err(FilesError::io(&path, "lock", error)),
        }
    }

    /// Takes the files that nobody writes, the oldest first, each when its turn comes; `Err` holds one that somebody
    /// writes.
    pub(super) fn files(&self) -> Result<impl Iterator<Item = Result<Taken, NotTaken>> + use<>, FilesError> {
        let listing = files::list(&self.dir).map_err(|error| FilesError::io(&self.dir, "read", error))?;
        Ok(listing.entries.into_iter().filter_map(|path| Taken::take(path).transpose()))
    }
}

impl Drop for Settling {
    /// Clears away what processes that were killed left behind.
    fn drop(&mut self) {
        let Ok(listed) = fs::read_dir(&self.dir) else { return };
        for path in listed.filter_map(|entry| Some(entry.ok()?.path())) {
            let is = |extension| path.extension().is_some_and(|found| found == extension);
            if is(files::JOURNAL) && !path.with_extension(files::ENTRIES).exists() && files::is_ours(&path) {
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
pub(super) enum NotTaken {
    /// Somebody writes it.
    Live(PathBuf),
    Failed(FilesError),
}

/// A file whose entries can be settled: it is locked, and nobody writes it any more.
pub(super) struct Taken {
    path: PathBuf,
    lock: Locked,
    settled: HashSet<String>,
    journal: Option<File>,
}

impl Taken {
    fn take(path: PathBuf) -> Result<Option<Self>, NotTaken> {
        let failed = |step, error| NotTaken::Failed(FilesError::io(&path, step, error));
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("open", error)),
        };
        // Whoever lists the directory holds a lock for a moment too.
        let mut tries = 0;
        let lock = loop {
            tries += 1;
            file = match Locked::new(file) {
                Ok(lock) => break lock,
                Err((file, TryLockError::WouldBlock)) if tries < 4 => file,
                Err((_, TryLockError::WouldBlock)) => return Err(NotTaken::Live(path)),
                Err((_, TryLockError::Error(error))) => return Err(failed("lock", error)),
            };
            thread::sleep(Duration::from_millis(5));
        };
        let settled = read::settled(&path).map_err(|error| failed("read the journal beside", error))?;
        Ok(Some(Self { path, lock, settled, journal: None }))
    }

    /// Returns what is in the file and not settled.
    pub(super) fn unsettled(&self) -> Result<impl Iterator<Item = Result<Found, FilesError>> + use<>, FilesError> {
        let failed = |path: &Path, error| FilesError::io(path, "read", error);
        // Not a clone of the locked one: the two would share their place in the file.
        let file = File::open(&self.path).map_err(|error| failed(&self.path, error))?;
        let (path, settled) = (self.path.clone(), self.settled.clone());
        let is_settled = move |found: &Found| found.entry.as_ref().is_ok_and(|entry| settled.contains(&entry.id));
        Ok(Lines::new(&self.path, file, false)
            .map(move |found| found.map_err(|error| failed(&path, error)))
            .filter(move |found| !found.as_ref().is_ok_and(&is_settled)))
    }

    /// Marks entries in the journal; they are settled when this returns.
    pub(super) fn settle(&mut self, entries: &[(String, SettledAs)]) -> Result<(), FilesError> {
        if entries.is_empty() {
            return Ok(());
        }
        let journal = self.path.with_extension(files::JOURNAL);
        self.append(&journal, entries).map_err(|error| {
            // It may end in half a line; the next one looks.
            self.journal = None;
            FilesError::io(&journal, "write", error)
        })?;
        self.settled.extend(entries.iter().map(|(id, _)| id.clone()));
        Ok(())
    }

    fn append(&mut self, path: &Path, entries: &[(String, SettledAs)]) -> io::Result<()> {
        let journal = match &mut self.journal {
            Some(journal) => journal,
            none => none.insert(open_journal(path)?),
        };
        let mut lines = Vec::new();
        for (id, outcome) in entries {
            let mut line = serde_json::to_vec(&Settled { id: id.clone(), outcome: *outcome })?;
            line::seal(&mut line);
            lines.append(&mut line);
        }
        journal.write_all(&lines)?;
        journal.sync_data()
    }

    /// Removes the file if nothing is left in it. What is damaged stays until it is purged. Returns the path if something
    /// else is there by now, as when an editor saved it: that is left alone.
    pub(super) fn finish(mut self) -> Result<Option<PathBuf>, FilesError> {
        if self.is_at_path()? && self.unsettled()?.next().is_some() { Ok(None) } else { self.remove() }
    }

    /// Removes the file with all that is in it, unless something else is there by now; then returns the path.
    pub(super) fn remove(mut self) -> Result<Option<PathBuf>, FilesError> {
        let other = if self.is_at_path()? {
            let remove = || {
                fs::remove_file(&self.path)?;
                files::sync_dir(self.path.parent().unwrap_or(Path::new("")))
            };
            remove().map_err(|error| FilesError::io(&self.path, "remove", error))?;
            None
        } else {
            self.path.exists().then(|| self.path.clone())
        };
        // Only now: without its journal a file would be replayed once more, as one has to be in whose place another is. One
        // that is left alone is cleared away later.
        let journal = self.path.with_extension(files::JOURNAL);
        if files::is_ours(&journal) {
            let _ = fs::remove_file(journal);
        }
        Ok(other)
    }

    fn is_at_path(&mut self) -> Result<bool, FilesError> {
        files::is_at(self.lock.file(), &self.path).map_err(|error| FilesError::io(&self.path, "look at", error))
    }
}

/// Opens a journal for appending, at the beginning of a line.
fn open_journal(path: &Path) -> io::Result<File> {
    let is_new = !path.exists();
    if !is_new && !files::is_ours(path) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "expected a journal of ours, found something else"));
    }
    let mut journal = private(OpenOptions::new().create(true).read(true).append(true)).open(path)?;
    if is_new {
        files::sync_dir(path.parent().unwrap_or(Path::new("")))?;
    }
    if journal.metadata()?.len() > 0 {
        let mut last = [0];
        journal.seek(SeekFrom::End(-1))?;
        journal.read_exact(&mut last)?;
        if last != *b"\n" {
            journal.write_all(b"\n")?;
        }
    }
    Ok(journal)
}
