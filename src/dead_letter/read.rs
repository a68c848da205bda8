//! Reading the files: every entry that is whole, and a name for everything that is not.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
    vec,
};

use serde::{Serialize, Serializer, ser::SerializeStruct};

use super::{
    DeadLettersError, Entry,
    entry::EntryStatus,
    files::{self, Listing},
    journal::Journal,
    line::{self, Checksum, Part},
};
use crate::{
    record::Timestamp,
    text::{Quoted, Shown},
};

/// One place in a dead-letter file, and what is there.
///
/// Its JSON has `file`, `line`, `live`, `age_seconds` and `entry`; that of a damaged line `file`, `line` and `damaged`.
#[derive(Clone, Debug)]
pub struct ListedEntry {
    /// The file.
    pub file: Arc<Path>,
    /// The line, from 1.
    pub line: u64,
    /// A process writes the file: it can be read, but neither replayed nor purged.
    pub live: bool,
    /// The entry, or what is wrong with the line.
    pub entry: Result<Entry, String>,
}

impl Serialize for ListedEntry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = if self.entry.is_ok() { 5 } else { 3 };
        let mut json = serializer.serialize_struct("ListedEntry", fields)?;
        json.serialize_field("file", &*self.file)?;
        json.serialize_field("line", &self.line)?;
        match &self.entry {
            Ok(entry) => {
                let age = Timestamp::now().as_micros().saturating_sub(entry.ts.as_micros()) / 1_000_000;
                json.serialize_field("live", &self.live)?;
                json.serialize_field("age_seconds", &age)?;
                json.serialize_field("entry", entry)?;
            }
            Err(damaged) => json.serialize_field("damaged", damaged)?,
        }
        json.end()
    }
}

/// Reads the entries of a directory that are not settled, file by file, the oldest first. What is damaged comes as an
/// error in its place, and the entries beside it are there. A directory that is not there has no entries.
///
/// It changes nothing. The last line of a file that is being written, if it is not whole yet, is passed over. So is,
/// with a WARN, the beginning of a line at the end of any other file, as a loss of power leaves it: its entry was never
/// acknowledged, and the next replay or purge cuts it off.
///
/// # Errors
/// The directory cannot be read; in the iterator, a file cannot be read.
pub fn list(dir: &Path) -> Result<List, DeadLettersError> {
    let Listing { entries, foreign } = files::list(dir).map_err(|error| DeadLettersError::io(dir, "read", error))?;
    Ok(List { paths: entries.into_iter(), foreign, open: None })
}

/// The entries of a directory: see [`list`].
#[derive(Debug)]
pub struct List {
    paths: vec::IntoIter<PathBuf>,
    foreign: Vec<PathBuf>,
    open: Option<Unsettled>,
}

impl List {
    /// Returns the files that were left alone because they are not ours, though they are called alike.
    pub fn foreign(&self) -> &[PathBuf] {
        &self.foreign
    }

    /// Returns whether no file of entries is left to be read.
    pub fn is_at_end(&self) -> bool {
        self.open.is_none() && self.paths.len() == 0
    }
}

impl Iterator for List {
    type Item = Result<ListedEntry, DeadLettersError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some(open) = &mut self.open else {
                let path = self.paths.next()?;
                match self::open(&path) {
                    Ok(open) => self.open = open,
                    Err(error) => return Some(Err(DeadLettersError::io(&path, "read", error))),
                }
                continue;
            };
            match open.next() {
                Some(Ok(found)) => return Some(Ok(found)),
                Some(Err(error)) => {
                    self.open = None;
                    return Some(Err(error));
                }
                None => self.open = None,
            }
        }
    }
}

/// Opens a file and its journal; none when a replay or a purge has removed it meanwhile.
fn open(path: &Path) -> io::Result<Option<Unsettled>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Before reading: a file that no process writes now will never be written again.
    let live = match file.try_lock_shared() {
        Ok(()) => {
            file.unlock()?;
            false
        }
        Err(_) => true,
    };
    let journal = Journal::read(path)?;
    // The file goes before its journal does, so a file that is still there was read with the whole of it.
    Ok(files::is_at(&file, path)?.then(|| Unsettled::new(path, file, live, journal)))
}

/// Returns how many places of a file are not settled; none are in one that is gone.
#[cfg(feature = "serve")]
pub(super) fn count_unsettled(path: &Path) -> Result<u64, DeadLettersError> {
    let unsettled = open(path).map_err(|error| DeadLettersError::io(path, "read", error))?;
    let mut count = 0;
    for place in unsettled.into_iter().flatten() {
        place?;
        count += 1;
    }
    Ok(count)
}

/// The places in one file that are not settled.
#[derive(Debug)]
pub(crate) struct Unsettled {
    lines: Lines,
    journal: Journal,
}

impl Unsettled {
    pub(super) fn new(path: &Path, file: File, live: bool, journal: Journal) -> Self {
        Self { lines: Lines::new(path, file, live), journal }
    }
}

impl Iterator for Unsettled {
    type Item = Result<ListedEntry, DeadLettersError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (lines, journal) = (&mut self.lines, &self.journal);
        let path = Arc::clone(&lines.path);
        lines
            .find_map(|found| found.map(|found| as_marked(found, journal)).transpose())
            .map(|found| found.map_err(|error| DeadLettersError::io(&path, "read", error)))
    }
}

/// Returns what was found as the journal has it by now, unless it is an entry that is settled.
fn as_marked(mut found: ListedEntry, journal: &Journal) -> Option<ListedEntry> {
    let Ok(entry) = &mut found.entry else { return Some(found) };
    match journal.status_of(entry) {
        None => {}
        Some(EntryStatus::Refused { error, attempts, replay_count }) => {
            (entry.error, entry.attempts, entry.replay_count) = (error.clone(), *attempts, *replay_count);
        }
        Some(EntryStatus::Stored | EntryStatus::Purged) => return None,
    }
    Some(found)
}

/// Every place in one file.
#[derive(Debug)]
struct Lines<R = File> {
    path: Arc<Path>,
    input: BufReader<R>,
    live: bool,
    line: u64,
    is_at_end: bool,
    ready: VecDeque<ListedEntry>,
}

impl<R: Read> Lines<R> {
    fn new(path: &Path, input: R, live: bool) -> Self {
        let (path, input) = (path.into(), BufReader::new(input));
        Self { path, input, live, line: 0, is_at_end: false, ready: VecDeque::new() }
    }

    /// Reads up to the next line end. Returns whether there was anything.
    fn fill(&mut self) -> io::Result<bool> {
        let mut between = Vec::new();
        if self.is_at_end || self.input.read_until(b'\n', &mut between)? == 0 {
            return Ok(false);
        }
        self.line += 1;
        if self.line == 1 {
            between.drain(..between.len() - line::without_mark(&between).len());
        }
        let torn = between.pop_if(|last| *last == b'\n').is_none();
        // What is added meanwhile to a file that grows would begin in the middle of a line.
        self.is_at_end = torn;
        let parts = line::parts(&between);
        let torn_at = if torn && !self.live { line::torn_at(&between) } else { None };
        if let Some(at) = torn_at {
            tracing::warn!(
                file = %Shown(&self.path.to_string_lossy()),
                line = self.line,
                bytes = between.len() - at,
                "the last line of a file of dead letters breaks off, its entry was never acknowledged and is passed over"
            );
        }
        for (at, part) in parts.iter().enumerate() {
            let is_last = at + 1 == parts.len();
            let entry = match part {
                Part::Whole(line) => parse(&line::without_checksum(line)),
                // What is being written, what never was written whole, or what was the last line end.
                Part::Rest(_) if torn && self.live => continue,
                Part::Rest(_) if is_last && torn_at.is_some() => continue,
                Part::Rest([_]) if torn && parts.len() > 1 => continue,
                // Half of the line end that an editor put there.
                Part::Rest(b"\r") if parts.len() > 1 => continue,
                Part::Rest(rest) => without_checksum(rest, rest.len() == between.len(), torn),
            };
            self.ready.push_back(ListedEntry { file: Arc::clone(&self.path), line: self.line, live: self.live, entry });
        }
        Ok(true)
    }
}

impl<R: Read> Iterator for Lines<R> {
    type Item = io::Result<ListedEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(found) = self.ready.pop_front() {
                return Some(Ok(found));
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// Reads a line that has no right checksum. One that was mended by hand has none at all: it has to be an entry by
/// itself.
fn without_checksum(rest: &[u8], is_line: bool, torn: bool) -> Result<Entry, String> {
    let damage = match (line::check(rest), parse(rest)) {
        (Checksum::Wrong, _) => "its checksum does not match".to_owned(),
        // An editor may leave out the last line end.
        (_, Ok(entry)) if is_line => return Ok(entry),
        _ if torn => "it breaks off at the end of the file".to_owned(),
        (_, Ok(_)) => "expected a whole entry".to_owned(),
        (_, Err(error)) => error,
    };
    Err(format!("{damage}, in {}", Quoted(&String::from_utf8_lossy(rest))))
}

fn parse(line: &[u8]) -> Result<Entry, String> {
    serde_json::from_slice(line).map_err(|error| format!("expected an entry: {error}"))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// A file that grows whenever its end is met.
    struct Growing(VecDeque<Vec<u8>>);

    impl Read for Growing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(bytes) = self.0.pop_front() else { return Ok(0) };
            buffer[..bytes.len()].copy_from_slice(&bytes);
            Ok(bytes.len())
        }
    }

    // Sabotage: read on behind a line that was not whole yet: its second half is called damaged.
    #[test]
    fn a_line_that_becomes_whole_while_it_is_read_is_no_damage() {
        let line = |id: &str| {
            let mut line = format!(
                r#"{{"id":"{id}","ts":"2024-01-02T14:30:00Z","coordinator_id":"a","kind":"b","record":1,"error":"e","attempts":1,"replay_count":0}}"#
            )
            .into_bytes();
            line::append_checksum(&mut line);
            line
        };
        let (first, second) = (line("first"), line("second"));
        for cut in 1..second.len() {
            let (half, rest) = second.split_at(cut);
            let grows = [[&first[..], half].concat(), Vec::new(), rest.to_vec(), line("third")];
            let lines = Lines::new(Path::new("file"), Growing(grows.into()), true);
            let found: Vec<_> = lines.map(|found| found.unwrap().entry.unwrap().id).collect();
            assert_eq!(found[0], "first", "cut at {cut}");
            assert!(found.len() == 1 || cut >= second.len() - 1, "cut at {cut}: {found:?}");
        }
    }
}
