//! What a reader hands over, and why it ends.

use std::{collections::VecDeque, fmt, io};

use super::missing_options::MissingOptions;
use crate::{record::Bar, text::Shown};

/// The longest line, or element of a JSON array, that is read. A longer one is rejected without being held.
pub(super) const MAX_LINE_BYTES: usize = 1 << 20;

/// A line that holds no valid record, or is longer than 1 MiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The physical line, from 1; of a JSON element the line on which it begins.
    pub line: u64,
    /// What is wrong, naming the column, the value and what was expected, on one line without hidden characters.
    pub message: String,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

/// Rows that were complete after one read, each counted in exactly one of the first three.
#[derive(Debug)]
pub struct Chunk<T = Bar> {
    /// Records that passed [`validate`](crate::Record::validate), in the order of the file.
    pub records: VecDeque<T>,
    /// Lines that hold no valid record.
    pub rejected: Vec<Rejected>,
    /// Rows that hold nothing of the kind: bars whose prices are all empty, or messages of another type.
    pub skipped: u64,
    /// Records of the file, of this chunk or one before, that a record of this chunk takes the place of, since it has the
    /// same key. The store keeps the later one. A bar does so only if it is plainly a newer version: the same open, and a
    /// range and a volume that only grew.
    pub replaced: u64,
    /// In which order these came: so many of one sort behind each other.
    order: Vec<(Sort, u32)>,
}

/// What a row became.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Record,
    Rejected,
    Skipped,
}

impl<T> Default for Chunk<T> {
    fn default() -> Self {
        Self { records: VecDeque::new(), rejected: Vec::new(), skipped: 0, replaced: 0, order: Vec::new() }
    }
}

impl Chunk {
    /// The most rows that one chunk takes, of any kind.
    pub const MAX_ROWS: usize = 1_024;
}

impl<T> Chunk<T> {
    /// Returns whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.rejected.is_empty() && self.skipped == 0
    }

    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.rejected.clear();
        (self.skipped, self.replaced) = (0, 0);
        self.order.clear();
    }

    /// Adds a record.
    pub(super) fn record(&mut self, record: T) {
        self.records.push_back(record);
        self.came(Sort::Record);
    }

    /// Adds a row that holds no valid record.
    pub(super) fn reject(&mut self, line: u64, message: &str) {
        // Not all that a message repeats from the file is quoted, and libraries quote in their own way.
        self.rejected.push(Rejected { line, message: Shown(message).to_string() });
        self.came(Sort::Rejected);
    }

    /// Counts a row that holds nothing of the kind.
    pub(super) fn skip(&mut self) {
        self.skipped += 1;
        self.came(Sort::Skipped);
    }

    fn came(&mut self, sort: Sort) {
        match self.order.last_mut() {
            Some((last, count)) if *last == sort => *count += 1,
            _ => self.order.push((sort, 1)),
        }
    }

    /// Returns in which order the rows came: so many of one sort behind each other.
    #[cfg(feature = "serve")]
    pub(crate) fn order(&self) -> &[(Sort, u32)] {
        &self.order
    }

    /// Leaves room for one more, since the end of an array can bring two rows at once.
    pub(super) fn is_full(&self) -> bool {
        1 + self.records.len() + self.rejected.len() + self.skipped as usize >= Chunk::MAX_ROWS
    }
}

/// Why reading a file ended before its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The input itself failed.
    #[error("cannot read: {0}")]
    Io(#[from] io::Error),
    /// The file is refused whole: it is not what is read here, or cannot be understood with the options given.
    #[error("{}", Shown(.0))]
    Refused(String),
    /// Neither the file nor the options say what the records are of.
    #[error("{0}")]
    Missing(MissingOptions),
}

impl ReadError {
    pub(super) fn numbered_fields() -> Self {
        Self::Refused("expected names of fields in --map for JSON, whose fields have no numbers, got a number".into())
    }
}
