//! What a reader hands over, and why it ends.

use std::{collections::VecDeque, fmt, io};

use super::missing_options::MissingOptions;
use crate::{record::Bar, text::Shown};

/// The longest line, or element of a JSON array, that is read. A longer one is rejected without being held.
pub(super) const MAX_LINE_BYTES: usize = 1 << 20;

/// A line that holds no valid bar, or is longer than 1 MiB.
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
#[derive(Debug, Default)]
pub struct Chunk {
    /// Bars that passed [`validate`](crate::Record::validate), in the order of the file.
    pub bars: VecDeque<Bar>,
    /// Lines that hold no valid bar.
    pub rejected: Vec<Rejected>,
    /// Rows whose prices are all empty.
    pub skipped: u64,
    /// Bars of the file, of this chunk or one before, that a bar of this chunk is a newer version of: the same key and open,
    /// and a range and a volume that only grew. The store keeps the later one.
    pub replaced: u64,
}

impl Chunk {
    /// The most rows that one chunk takes.
    pub const MAX_ROWS: usize = 1_024;

    /// Returns whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.bars.is_empty() && self.rejected.is_empty() && self.skipped == 0
    }

    /// Leaves room for one more, since the end of an array can bring two rows at once.
    pub(super) fn is_full(&self) -> bool {
        1 + self.bars.len() + self.rejected.len() + self.skipped as usize >= Self::MAX_ROWS
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
    /// Neither the file nor the options say what the bars are of.
    #[error("{0}")]
    Missing(MissingOptions),
}
