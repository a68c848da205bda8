//! Records of CSV whose quoted cells go on on the next lines.

use std::collections::VecDeque;

use crate::files::chunk::MAX_LINE_BYTES;

/// Lines that are put together, and lines that turned out to stand alone.
#[derive(Default)]
pub(super) struct CsvRecords {
    /// Lines from the one on which a quote is open, each with its number and what ended it.
    open: Vec<(u64, String)>,
    bytes: usize,
    /// Lines that are read again, each by itself, since no quote closed the first.
    again: VecDeque<(u64, String)>,
}

/// What a line that was added made of those before.
pub(super) enum Added {
    /// The quote is still open.
    Open,
    /// It may be closed: the number of the first line, and all of them as one text.
    Closed(u64, String),
    /// It is too long to be one record.
    GivenUp,
}

impl CsvRecords {
    /// Returns whether a quote is open.
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// Takes the line on which a quote is open.
    pub(super) fn begin(&mut self, number: u64, text: &str, end: &str) {
        self.bytes = text.len();
        self.open.push((number, format!("{text}{end}")));
    }

    /// Adds the next line.
    pub(super) fn add(&mut self, number: u64, text: &str, end: &str) -> Added {
        self.bytes += text.len() + end.len();
        let may_close = text.bytes().filter(|byte| *byte == b'"').count() % 2 == 1;
        if may_close {
            let whole: String = self.open.iter().map(|(_, line)| line.as_str()).chain([text]).collect();
            self.open.push((number, format!("{text}{end}")));
            return Added::Closed(self.open[0].0, whole);
        }
        self.open.push((number, format!("{text}{end}")));
        if self.bytes > MAX_LINE_BYTES { Added::GivenUp } else { Added::Open }
    }

    /// The lines were one record.
    pub(super) fn taken(&mut self) {
        self.open.clear();
    }

    /// The lines were none: returns the number of the first. The others are to be read again.
    pub(super) fn give_up(&mut self) -> Option<u64> {
        let mut lines = self.open.drain(..);
        let first = lines.next().map(|(number, _)| number);
        self.again.extend(lines.map(|(number, line)| (number, line.trim_end_matches(['\r', '\n']).to_owned())));
        first
    }

    /// Returns the next line that is to be read by itself.
    pub(super) fn next_again(&mut self) -> Option<(u64, String)> {
        self.again.pop_front()
    }

    pub(super) fn has_again(&self) -> bool {
        !self.again.is_empty()
    }
}
