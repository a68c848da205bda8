//! What the reading thread has counted so far.

use std::sync::Arc;

use parking_lot::Mutex;

use super::summary::{LineError, NAMED_ERRORS};

/// Counts that the reading thread makes and others look at.
#[derive(Debug, Default)]
pub struct Tally(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    counts: Counts,
    closed: bool,
}

/// One moment of a [`Tally`].
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Files whose reading began.
    pub files: usize,
    /// Records that were accepted; in a dry run those that would be.
    pub accepted: u64,
    pub rejected: u64,
    /// Rows whose prices are all empty.
    pub skipped: u64,
    /// The first rejected lines.
    pub errors: Vec<LineError>,
}

impl Tally {
    fn count(&self, count: impl FnOnce(&mut Counts)) {
        let mut state = self.0.lock();
        if !state.closed {
            count(&mut state.counts);
        }
    }

    pub fn file(&self) {
        self.count(|counts| counts.files += 1);
    }

    pub fn accept(&self, records: u64) {
        self.count(|counts| counts.accepted += records);
    }

    pub fn skip(&self, rows: u64) {
        self.count(|counts| counts.skipped += rows);
    }

    pub fn reject(&self, file: &Arc<str>, line: u64, message: String) {
        self.count(|counts| {
            counts.rejected += 1;
            if counts.errors.len() < NAMED_ERRORS {
                counts.errors.push(LineError { file: Arc::clone(file), line, message });
            }
        });
    }

    pub fn accepted(&self) -> u64 {
        self.0.lock().counts.accepted
    }

    /// Returns the final counts. A reader that is still running, such as one that waits at a pipe, no longer changes
    /// them.
    pub fn close(&self) -> Counts {
        let mut state = self.0.lock();
        state.closed = true;
        state.counts.clone()
    }
}
