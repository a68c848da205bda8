//! What an ingest did, as a table or as JSON.

use std::time::Duration;

use market_data_store::CoordinatorReport;
use serde::Serialize;

use super::{
    counters::{Counts, LineError},
    levels::LevelChanges,
    report::FileReport,
};
use crate::cli::{exit::Exit, output::Text};

/// How many files the table lists; the JSON has all.
const NAMED_FILES: usize = 20;

/// What became of the records that were accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    pub stored: u64,
    pub dead_lettered: u64,
    pub dropped: u64,
    pub unsettled: u64,
}

impl From<&CoordinatorReport> for Settled {
    fn from(report: &CoordinatorReport) -> Self {
        let CoordinatorReport { stored, dead_lettered, dropped, unsettled, .. } = *report;
        Self { stored, dead_lettered, dropped, unsettled }
    }
}

/// The counts of one load: `read = stored + replaced + dead_lettered + dropped + rejected + skipped + unsettled`.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    files: usize,
    read: u64,
    stored: u64,
    /// Stored, and then stored anew from a later row of the same file. Where the store refuses records or the queue drops
    /// some, such a row can be one of those instead.
    replaced: u64,
    dead_lettered: u64,
    dropped: u64,
    rejected: u64,
    skipped: u64,
    unsettled: u64,
    seconds: f64,
    records_per_second: f64,
    level_changes: LevelChanges,
    errors: Vec<LineError>,
    inputs: Vec<FileReport>,
}

impl Summary {
    /// Adds up. Every record that was accepted is in `settled`. What was read and, because of a stop, not accepted is in
    /// no count.
    pub fn new(counts: Counts, settled: Settled, elapsed: Duration, level_changes: LevelChanges) -> Self {
        let Settled { stored, dead_lettered, dropped, unsettled } = settled;
        let Counts { files, rejected, skipped, replaced, errors, .. } = counts;
        // After a stop the later row may not have been accepted.
        let replaced = replaced.min(stored);
        let written = stored;
        let stored = stored - replaced;
        let seconds = elapsed.as_secs_f64();
        Self {
            files: files.len(),
            read: written + dead_lettered + dropped + unsettled + rejected + skipped,
            stored,
            replaced,
            dead_lettered,
            dropped,
            rejected,
            skipped,
            unsettled,
            seconds,
            records_per_second: if seconds > 0.0 { written as f64 / seconds } else { 0.0 },
            level_changes,
            errors,
            inputs: files,
        }
    }

    /// Returns how the process ends, as far as records decide it.
    pub fn exit(&self) -> Exit {
        if self.unsettled > 0 {
            Exit::Internal
        } else if self.rejected + self.dead_lettered + self.dropped > 0 {
            Exit::Rejected
        } else {
            Exit::Done
        }
    }

    /// Returns one JSON object on one line.
    pub fn json(&self) -> Text {
        let mut text = Text::default();
        text.json(self);
        text
    }

    /// Returns a table, and below it the files, if there are several, and the rejected lines; of a dry run what the files
    /// turned out to be stands above.
    pub fn table(&self, dry_run: bool) -> Text {
        let LevelChanges { ok, soft, hard } = self.level_changes;
        let rows = [
            ("files", self.files.to_string()),
            ("read", self.read.to_string()),
            (if dry_run { "would be stored" } else { "stored" }, self.stored.to_string()),
            ("replaced", self.replaced.to_string()),
            ("dead-lettered", self.dead_lettered.to_string()),
            ("dropped", self.dropped.to_string()),
            ("rejected", self.rejected.to_string()),
            ("skipped", self.skipped.to_string()),
            ("unsettled", self.unsettled.to_string()),
            ("seconds", format!("{:.3}", self.seconds)),
            ("records/s", format!("{:.0}", self.records_per_second)),
            ("level changes", format!("ok {ok}, soft {soft}, hard {hard}")),
        ];
        let names = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let mut text = Text::default();
        if dry_run {
            self.inputs.iter().for_each(|file| file.lines(&mut text));
        }
        for (name, value) in &rows {
            text.line(format_args!("{name:names$}  {value}"));
        }
        if self.files > 1 {
            self.inputs.iter().take(NAMED_FILES).for_each(|file| text.line(file.line()));
        }
        match self.files.saturating_sub(NAMED_FILES) {
            0 => {}
            more => text.line(format_args!("and {more} more files")),
        }
        for LineError { file, line, message } in &self.errors {
            text.line(format_args!("{file}:{line}: {message}"));
        }
        match self.rejected - self.errors.len() as u64 {
            0 => {}
            more => text.line(format_args!("and {more} more rejected")),
        }
        text
    }
}
