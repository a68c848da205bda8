//! The files of a dead-letter directory: their names, and which of them somebody writes.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use crate::timestamp::Timestamp;

/// The extension of a file of entries.
pub(super) const ENTRIES: &str = "ndjson";
/// The extension of the journal beside a file of entries.
pub(super) const JOURNAL: &str = "settled";
/// The extension of a file that is just being made.
pub(super) const NEW: &str = "new";

/// Returns a name that no other file has: the time first, so that names sort by it.
pub(super) fn new_name(now: Timestamp) -> String {
    let micros = now.as_micros();
    let seconds = Timestamp::from_micros(micros - micros.rem_euclid(1_000_000)).to_string();
    let seconds = seconds.replace(['-', ':', 'Z'], "");
    format!("{seconds}-{:06}-{:08x}.{ENTRIES}", micros.rem_euclid(1_000_000), fastrand::u32(..))
}

/// Returns the files of entries in a directory, the oldest first. A directory that is not there has none.
///
/// # Errors
/// It cannot be read.
pub(super) fn list(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let listed = match fs::read_dir(dir) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in listed {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == ENTRIES) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A file that this value has locked.
#[derive(Debug)]
pub(super) struct Locked(File);

impl Locked {
    /// Locks a file unless somebody else has.
    pub(super) fn new(file: File) -> Result<Self, (File, TryLockError)> {
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(error) => Err((file, error)),
        }
    }

    pub(super) fn file(&mut self) -> &mut File {
        &mut self.0
    }
}

impl Drop for Locked {
    /// Closing it would do, if it were not for processes that are just being started: until their program begins they
    /// have what this one has.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Waits until the names in a directory are on the disk.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    // A relative name's parent is the empty path, which means here.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// Says whether the path leads to this file.
#[cfg(unix)]
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match (file.metadata(), fs::metadata(path)) {
        (Ok(file), Ok(there)) => identity(file) == identity(there),
        _ => false,
    }
}

/// Elsewhere a file that is open cannot be removed.
#[cfg(not(unix))]
pub(super) fn is_at(_: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Sabotage: leave it to the closing of the file: it stays locked for as long as a process that was being started.
    #[test]
    fn a_lock_goes_with_its_value_though_others_have_the_file_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        let file = File::open(&path).unwrap();
        let inherited = file.try_clone().unwrap();
        let lock = Locked::new(file).unwrap();
        assert!(Locked::new(File::open(&path).unwrap()).is_err());
        drop(lock);
        assert!(Locked::new(File::open(&path).unwrap()).is_ok());
        drop(inherited);
    }

    // Sabotage: write the fraction as the time's text has it: the second is older than the first.
    #[test]
    fn names_sort_by_time() {
        let micros = [1_700_000_000_000_000, 1_700_000_000_500_000, 1_700_000_000_500_001, 1_700_000_001_000_000];
        let names = micros.map(|micros| new_name(Timestamp::from_micros(micros)));
        assert!(names.is_sorted(), "{names:?}");
        assert!(names[1].starts_with("20231114T221320-500000-") && names[1].ends_with(".ndjson"), "{names:?}");
    }
}
