//! Reading the files: every entry that is whole, and a name for everything that is not.

use std::{
    collections::{HashSet, VecDeque},
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
    vec,
};

use super::{
    Entry, FilesError,
    entry::Settled,
    files::{self, Listing},
    line::{self, Part, Seal},
};
use crate::quoted::Quoted;

/// One place in a dead-letter file, and what is there.
#[derive(Clone, Debug)]
pub struct Found {
    /// The file.
    pub file: Arc<Path>,
    /// The line, from 1.
    pub line: u64,
    /// Somebody writes the file: it can be read, but neither replayed nor purged.
    pub live: bool,
    /// The entry, or what is wrong with the line.
    pub entry: Result<Entry, String>,
}

/// Reads the entries of a directory that are not settled, file by file, the oldest first. What is damaged comes as an
/// error in its place, and the entries beside it are there. A directory that is not there has no entries.
///
/// It changes nothing. The last line of a file that is being written, if it is not whole yet, is passed over.
///
/// # Errors
/// The directory cannot be read; in the iterator, a file cannot be read.
pub fn list(dir: &Path) -> Result<List, FilesError> {
    let Listing { entries, foreign } = files::list(dir).map_err(|error| FilesError::io(dir, "read", error))?;
    Ok(List { paths: entries.into_iter(), foreign, open: None })
}

/// The entries of a directory: see [`list`].
#[derive(Debug)]
pub struct List {
    paths: vec::IntoIter<PathBuf>,
    foreign: Vec<PathBuf>,
    open: Option<(Lines, HashSet<String>)>,
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
    type Item = Result<Found, FilesError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((lines, settled)) = &mut self.open else {
                let path = self.paths.next()?;
                match open(&path) {
                    Ok(open) => self.open = open,
                    Err(error) => return Some(Err(FilesError::io(&path, "read", error))),
                }
                continue;
            };
            match lines.next() {
                Some(Ok(found)) if found.entry.as_ref().is_ok_and(|entry| settled.contains(&entry.id)) => {}
                Some(Ok(found)) => return Some(Ok(found)),
                Some(Err(error)) => {
                    let error = FilesError::io(&lines.path, "read", error);
                    self.open = None;
                    return Some(Err(error));
                }
                None => self.open = None,
            }
        }
    }
}

/// Opens a file and its journal; none when a replay or a purge has removed it meanwhile.
fn open(path: &Path) -> io::Result<Option<(Lines, HashSet<String>)>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Before reading: a file that nobody writes now will never be written again.
    let live = match file.try_lock_shared() {
        Ok(()) => {
            file.unlock()?;
            false
        }
        Err(_) => true,
    };
    let settled = settled(path)?;
    // The file goes before its journal does, so a file that is still there was read with the whole of it.
    Ok(files::is_at(&file, path)?.then(|| (Lines::new(path, file, live), settled)))
}

/// Reads which entries of a file are settled. What is damaged in the journal settles nothing.
pub(super) fn settled(path: &Path) -> io::Result<HashSet<String>> {
    let journal = match File::open(path.with_extension(files::JOURNAL)) {
        Ok(journal) => journal,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
        Err(error) => return Err(error),
    };
    let mut ids = HashSet::new();
    for between in BufReader::new(journal).split(b'\n') {
        for part in line::parts(&between?) {
            if let Part::Whole(line) = part
                && let Ok(settled) = serde_json::from_slice::<Settled>(&line::unsealed(line))
            {
                ids.insert(settled.id);
            }
        }
    }
    Ok(ids)
}

/// Every place in one file.
#[derive(Debug)]
pub(super) struct Lines {
    path: Arc<Path>,
    input: BufReader<File>,
    live: bool,
    line: u64,
    ready: VecDeque<Found>,
}

impl Lines {
    pub(super) fn new(path: &Path, file: File, live: bool) -> Self {
        Self { path: path.into(), input: BufReader::new(file), live, line: 0, ready: VecDeque::new() }
    }

    /// Reads up to the next line end. Returns whether there was anything.
    fn fill(&mut self) -> io::Result<bool> {
        let mut between = Vec::new();
        if self.input.read_until(b'\n', &mut between)? == 0 {
            return Ok(false);
        }
        self.line += 1;
        if self.line == 1 {
            between.drain(..between.len() - line::without_mark(&between).len());
        }
        let torn = between.pop_if(|last| *last == b'\n').is_none();
        let parts = line::parts(&between);
        for part in &parts {
            let entry = match part {
                Part::Whole(line) => parse(&line::unsealed(line)),
                // What is being written, or what was the last line end.
                Part::Rest(_) if torn && self.live => continue,
                Part::Rest([_]) if torn && parts.len() > 1 => continue,
                // Half of the line end that an editor put there.
                Part::Rest(b"\r") if parts.len() > 1 => continue,
                Part::Rest(rest) => unsealed(rest, rest.len() == between.len(), torn),
            };
            self.ready.push_back(Found { file: Arc::clone(&self.path), line: self.line, live: self.live, entry });
        }
        Ok(true)
    }
}

impl Iterator for Lines {
    type Item = io::Result<Found>;

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
fn unsealed(rest: &[u8], is_line: bool, torn: bool) -> Result<Entry, String> {
    let damage = match line::check(rest) {
        Seal::Wrong => "its checksum does not match".to_owned(),
        _ if torn => "it breaks off at the end of the file".to_owned(),
        _ => match parse(rest) {
            Ok(entry) if is_line => return Ok(entry),
            Ok(_) => "expected a whole entry".to_owned(),
            Err(error) => error,
        },
    };
    Err(format!("{damage}, in {}", Quoted(&String::from_utf8_lossy(rest))))
}

fn parse(line: &[u8]) -> Result<Entry, String> {
    serde_json::from_slice(line).map_err(|error| format!("expected an entry: {error}"))
}
