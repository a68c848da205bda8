//! The journal beside a file of entries: what replays and purges have settled.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::Path,
};

use super::{
    Entry,
    entry::{EntryKey, EntryStatus, JournalRecord},
    files::{self, private},
    line::{self, Part},
};

/// What replays and purges have marked in the journal beside a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal(HashMap<EntryKey, EntryStatus>);

impl Journal {
    /// Reads the journal of a file. What is damaged in it marks nothing.
    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let file = match File::open(path.with_extension(files::JOURNAL)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let mut journal = Self::default();
        for between in BufReader::new(file).split(b'\n') {
            for part in line::parts(&between?) {
                if let Part::Whole(line) = part
                    && let Ok(mark) = serde_json::from_slice(&line::without_checksum(line))
                {
                    journal.mark(mark);
                }
            }
        }
        Ok(journal)
    }

    /// Takes in a mark. What is settled stays so.
    pub(super) fn mark(&mut self, mark: JournalRecord) {
        let end = self.0.entry(mark.entry).or_insert_with(|| mark.end.clone());
        if matches!(end, EntryStatus::Refused { .. }) {
            *end = mark.end;
        }
    }

    /// Returns all marks, in no order.
    pub(super) fn marks(&self) -> impl Iterator<Item = JournalRecord> {
        self.0.iter().map(|(entry, end)| JournalRecord { entry: entry.clone(), end: end.clone() })
    }

    /// Returns what became of an entry, if that is marked.
    pub(super) fn status_of(&self, entry: &Entry) -> Option<&EntryStatus> {
        // Few files have a journal, and the name of an entry takes reading it.
        if self.0.is_empty() { None } else { self.0.get(&EntryKey::of(entry)) }
    }
}

/// Writes a journal anew, with what is known so far. So it has no half line, and nothing twice, however often a file is
/// replayed whose entries are refused again and again.
pub(super) fn begin(path: &Path, known: &Journal) -> io::Result<File> {
    let new = path.with_extension(files::NEW_JOURNAL);
    if [path, &*new].into_iter().any(|path| path.exists() && !files::is_ours(path)) {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "expected a journal of ours, found something else"));
    }
    let mut journal = private(OpenOptions::new().create(true).truncate(true).write(true)).open(&new)?;
    let begun = (journal.write_all(&lines_of(&known.marks().collect::<Vec<_>>())?))
        .and_then(|()| journal.sync_data())
        .and_then(|()| fs::rename(&new, path));
    begun.inspect_err(|_| drop(fs::remove_file(&new)))?;
    files::sync_dir(path.parent().unwrap_or(Path::new("")))?;
    Ok(journal)
}

pub(super) fn lines_of(marks: &[JournalRecord]) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for mark in marks {
        let mut line = serde_json::to_vec(mark)?;
        line::append_checksum(&mut line);
        lines.append(&mut line);
    }
    Ok(lines)
}
