//! How many dead letters of a directory wait for a replay or a purge, for one who asks again and again.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    DeadLettersError,
    files::{self, JOURNAL, Listing},
    read,
};

/// Counts the dead letters of a directory. A file that has not changed since is not read again: the files can have
/// gigabytes, and one that is opened while a replay asks for it is taken for one that is being written.
#[derive(Debug, Default)]
pub(crate) struct PendingCount {
    files: HashMap<PathBuf, (State, u64)>,
}

/// What of a file and its journal changes with what is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    entries: (u64, SystemTime),
    journal: Option<(u64, SystemTime)>,
}

impl PendingCount {
    /// Returns how many entries are neither stored by a replay nor purged, damaged lines included.
    ///
    /// # Errors
    /// The directory, or a file in it, cannot be read.
    pub(crate) fn count(&mut self, dir: &Path) -> Result<u64, DeadLettersError> {
        let Listing { entries, .. } = files::list(dir).map_err(|error| DeadLettersError::io(dir, "read", error))?;
        self.files.retain(|path, _| entries.binary_search(path).is_ok());
        let mut pending = 0;
        for path in entries {
            // Before it is read: what comes to it meanwhile is found the next time.
            let state = State::of(&path).map_err(|error| DeadLettersError::io(&path, "read", error))?;
            // One that is gone was settled by another process.
            let Some(state) = state else { continue };
            pending += match self.files.get(&path) {
                Some((known, count)) if *known == state => *count,
                _ => {
                    let count = read::count_unsettled(&path)?;
                    self.files.insert(path, (state, count));
                    count
                }
            };
        }
        Ok(pending)
    }
}

impl State {
    fn of(path: &Path) -> io::Result<Option<Self>> {
        let of = |path: &Path| match fs::metadata(path).and_then(|found| Ok((found.len(), found.modified()?))) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let (entries, journal) = (of(path)?, of(&path.with_extension(JOURNAL))?);
        Ok(entries.map(|entries| Self { entries, journal }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::dead_letter::{DeadLetter, DeadLetters, Selection, purge};

    // Red when a file that has grown, was purged or is gone is not read again, or when one that has not changed is.
    #[test]
    fn it_follows_what_is_appended_and_what_is_purged() {
        let dir = tempfile::tempdir().unwrap();
        let mut pending = PendingCount::default();
        assert_eq!(pending.count(&dir.path().join("nowhere")).unwrap(), 0);
        let letters = DeadLetters::open(dir.path()).unwrap();
        let letter = || {
            let (record, error) = (RawValue::NULL.to_owned(), "refused".to_owned());
            DeadLetter { record, unwritable: None, error, attempts: 1, replay_count: 0 }
        };
        letters.append_blocking("bars", "bars", &[letter(), letter()]).unwrap();
        assert_eq!(pending.count(dir.path()).unwrap(), 2);
        letters.append_blocking("quotes", "quotes", &[letter()]).unwrap();
        assert_eq!(pending.count(dir.path()).unwrap(), 3);
        // What is known of a file that has not changed is not asked again.
        for (_, count) in pending.files.values_mut() {
            *count += 40;
        }
        assert_eq!(pending.count(dir.path()).unwrap(), 43);
        drop(letters);
        assert!(purge(dir.path(), &Selection::default(), false).is_ok());
        assert_eq!(pending.count(dir.path()).unwrap(), 0);
        assert!(pending.files.is_empty());
    }
}
