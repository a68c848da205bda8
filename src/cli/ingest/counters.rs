//! What the thread that reads has counted so far.

use std::{sync::Arc, time::Duration};

use market_data_store::{Tabular, Timeframe, files::FileInfo};
use parking_lot::{Condvar, Mutex};
use serde::Serialize;

use super::report::{FileReport, SHOWN_RECORDS, ShownRecord};

/// How many rejected lines are named.
pub const NAMED_ERRORS: usize = 20;

/// A line that was rejected, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LineError {
    /// The file as it was given.
    pub file: Arc<str>,
    /// The physical line, from 1.
    pub line: u64,
    /// What is wrong and what was expected.
    pub message: String,
}

/// Counts that the reader thread makes and others look at.
#[derive(Debug, Default)]
pub struct Counters {
    state: Mutex<State>,
    counted: Condvar,
}

/// How long the end waits for the count of a submit that the end itself has just cut off.
const LAST_COUNT: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
struct State {
    counts: Counts,
    /// Records are with the coordinator that are not counted yet.
    submitting: bool,
    closed: bool,
}

/// One moment of a [`Counters`].
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Files whose reading began; the last is the one that is read.
    pub files: Vec<FileReport>,
    /// Records that were accepted; in a dry run those that would be.
    pub accepted: u64,
    pub rejected: u64,
    /// Records that a later row of their file took the place of; they are among the accepted.
    pub replaced: u64,
    /// Rows whose prices are all empty.
    pub skipped: u64,
    /// The first rejected lines.
    pub errors: Vec<LineError>,
}

impl Counters {
    /// Counts for the whole, unless that was closed.
    fn count(&self, count: impl FnOnce(&mut Counts)) {
        let mut state = self.state.lock();
        if !state.closed {
            count(&mut state.counts);
        }
    }

    /// Counts for the file that is read too.
    fn count_in_file(&self, count: impl FnOnce(&mut Counts, &mut FileReport)) {
        self.count(|counts| {
            // Nothing is counted before the first file, so this one is put back at once.
            if let Some(mut file) = counts.files.pop() {
                count(counts, &mut file);
                counts.files.push(file);
            }
        });
    }

    /// Begins with a file.
    pub fn file(&self, file: &Arc<str>, has_timeframes: bool) {
        self.count(|counts| counts.files.push(FileReport::new(Arc::clone(file), has_timeframes)));
    }

    /// Says that records are about to be submitted; [`accept`](Self::accept) says how many were.
    pub fn submit(&self) {
        self.state.lock().submitting = true;
    }

    pub fn accept(&self, records: u64, timeframes: &[Timeframe]) {
        self.count_in_file(|counts, file| {
            counts.accepted += records;
            file.accept(records, timeframes);
        });
        self.state.lock().submitting = false;
        self.counted.notify_all();
    }

    /// Counts records that later ones of the file, which come next, take the place of.
    pub fn replace(&self, records: u64) {
        self.count_in_file(|counts, file| {
            counts.replaced += records;
            file.replaced += records;
        });
    }

    pub fn skip(&self, rows: u64) {
        self.count_in_file(|counts, file| {
            counts.skipped += rows;
            file.skip(rows);
        });
    }

    /// Keeps the first records of the file.
    pub fn show<'a, T: Tabular>(&self, records: impl IntoIterator<Item = &'a T>) {
        self.count_in_file(|_, file| {
            let room = SHOWN_RECORDS - file.first.len();
            file.first.extend(records.into_iter().take(room).map(ShownRecord::new));
        });
    }

    /// Notes what the file turned out to be, and why it was not read to its end.
    pub fn found(&self, info: FileInfo, error: Option<String>) {
        self.count_in_file(|_, file| {
            file.found(info);
            file.error = error;
        });
    }

    pub fn reject(&self, file: &Arc<str>, line: u64, message: String) {
        self.count_in_file(|counts, of| {
            of.reject();
            counts.rejected += 1;
            if counts.errors.len() < NAMED_ERRORS {
                counts.errors.push(LineError { file: Arc::clone(file), line, message });
            }
        });
    }

    pub fn accepted(&self) -> u64 {
        self.state.lock().counts.accepted
    }

    /// Returns the final counts, with those of a submit that is just coming back. A reader that is still running, such as one that waits at a pipe, no longer changes
    /// them.
    pub fn close(&self) -> Counts {
        let mut state = self.state.lock();
        if state.submitting {
            let _ = self.counted.wait_while_for(&mut state, |state| state.submitting, LAST_COUNT);
        }
        state.closed = true;
        state.counts.clone()
    }
}
