//! What a replay is asked for, what it reports, and which entries it selects. The replay itself drives a coordinator,
//! so it is in `store/`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;

use super::{DeadLettersError, Entry, ListedEntry, Selection};
use crate::record::Record;

/// What is replayed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReplayOptions {
    /// Which entries; those of a kind that no coordinator takes are left alone in any case.
    pub selection: Selection,
    /// An entry that was replayed so often is left alone.
    pub max_replays: u32,
}

impl Default for ReplayOptions {
    /// Every entry that was replayed fewer than 5 times.
    fn default() -> Self {
        Self { selection: Selection::default(), max_replays: 5 }
    }
}

impl ReplayOptions {
    /// Sets which entries are replayed.
    #[must_use]
    pub fn selection(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// Sets how often an entry may have been replayed before.
    #[must_use]
    pub fn max_replays(mut self, max_replays: u32) -> Self {
        self.max_replays = max_replays;
        self
    }
}

/// What became of the entries that were selected.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ReplayReport {
    /// In the store now, and no dead letters any more.
    pub stored: u64,
    /// Refused once more: each stays where it is, with what the store said last, and counts one replay more.
    pub dead_lettered: u64,
    /// Left alone because they were replayed as often as they may be.
    pub exhausted: u64,
    /// Left alone because they are of a kind that no coordinator takes, by kind.
    pub other_kinds: BTreeMap<String, u64>,
    /// Left alone because their records could not be written as JSON when they were given up.
    pub unwritable: u64,
    /// Written with an outcome that is not known, as where a deadline cut it off: they stay, and the next replay writes
    /// them again. Of a file that was removed meanwhile, also what could not be kept in a new one, which is logged.
    pub unknown: u64,
    /// Entries that hold no valid record, and parts of files that hold no entry; they stay. Each has `file`, `line` and
    /// `message`.
    pub damaged: Vec<Damaged>,
    /// Files that were left alone because a process writes them, or because they took the place of others meanwhile.
    pub live: Vec<PathBuf>,
    /// Files that were left alone because they are not ours, though they are called alike.
    pub foreign: Vec<PathBuf>,
    /// Why it ended before it had come to the end, if it did. What it had not come to is as it was.
    pub interrupted: Option<String>,
}

/// A place in a dead-letter file that cannot be replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Damaged {
    /// The file.
    pub file: Arc<Path>,
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub message: String,
}

impl ReplayReport {
    /// Returns whether every entry that was selected is in the store. A file in use may hold some, so with one the
    /// answer is no.
    pub fn is_complete(&self) -> bool {
        let left = self.dead_lettered + self.exhausted + self.unwritable + self.unknown;
        let is_read = self.damaged.is_empty() && self.live.is_empty() && self.interrupted.is_none();
        left == 0 && self.other_kinds.is_empty() && is_read
    }
}

/// Says what a replay would find, and changes nothing: `stored` counts what would be written.
///
/// # Errors
/// A file cannot be read.
pub fn replay_dry_run<T: Record>(dir: &Path, options: &ReplayOptions) -> Result<ReplayReport, DeadLettersError> {
    dry_run(dir, options, |entry| (entry.kind == T::KIND).then_some(()), |(), entry| record_of::<T>(entry))
}

/// The same of several kinds; `find` and `read` are as [`Selector::select`] has them.
pub(crate) fn dry_run<C: Copy, R>(
    dir: &Path,
    options: &ReplayOptions,
    find: impl Fn(&Entry) -> Option<C>,
    read: impl Fn(C, &Entry) -> Result<R, String>,
) -> Result<ReplayReport, DeadLettersError> {
    let list = super::list(dir)?;
    let mut selector = Selector::new(options, list.foreign().to_vec());
    for found in list {
        let found = found?;
        if selector.is_done() {
            break;
        }
        if !found.live {
            selector.report.stored += u64::from(selector.select(found, &find, &read).is_some());
        } else if selector.report.live.last().is_none_or(|last| **last != *found.file) {
            selector.report.live.push(found.file.to_path_buf());
        }
    }
    Ok(selector.report)
}

/// Chooses what is replayed, and counts what is not.
pub(crate) struct Selector<'a> {
    options: &'a ReplayOptions,
    selected: usize,
    pub(crate) report: ReplayReport,
}

/// An entry that is to be replayed.
pub(crate) struct Selected<C, R> {
    /// Where it is; its message is empty.
    pub(crate) at: Damaged,
    pub(crate) entry: Entry,
    /// Who takes it.
    pub(crate) target: C,
    pub(crate) record: R,
}

impl<'a> Selector<'a> {
    pub(crate) fn new(options: &'a ReplayOptions, foreign: Vec<PathBuf>) -> Self {
        Self { options, selected: 0, report: ReplayReport { foreign, ..ReplayReport::default() } }
    }

    /// Returns whether no further entry is to be replayed.
    pub(crate) fn is_done(&self) -> bool {
        self.report.interrupted.is_some() || self.options.selection.is_reached(self.selected)
    }

    /// Returns the entry with its record if it is to be replayed, and counts it if not. `find` says who takes entries of
    /// this kind, if there is one, and `read` makes the record.
    pub(crate) fn select<C: Copy, R>(
        &mut self,
        found: ListedEntry,
        find: impl FnOnce(&Entry) -> Option<C>,
        read: impl FnOnce(C, &Entry) -> Result<R, String>,
    ) -> Option<Selected<C, R>> {
        let at = |message| Damaged { file: Arc::clone(&found.file), line: found.line, message };
        let entry = match found.entry {
            Ok(entry) => entry,
            Err(message) => {
                self.report.damaged.push(at(message));
                return None;
            }
        };
        if !self.options.selection.selects(&entry) {
            return None;
        }
        let Some(target) = find(&entry) else {
            *self.report.other_kinds.entry(entry.kind).or_default() += 1;
            return None;
        };
        if entry.unwritable.is_some() {
            self.report.unwritable += 1;
            return None;
        }
        if entry.replay_count >= self.options.max_replays {
            self.report.exhausted += 1;
            return None;
        }
        match read(target, &entry) {
            Ok(record) => {
                self.selected += 1;
                Some(Selected { at: at(String::new()), entry, target, record })
            }
            Err(message) => {
                self.report.damaged.push(at(message));
                None
            }
        }
    }
}

/// Reads the record, in its normal form.
pub(crate) fn record_of<T: Record>(entry: &Entry) -> Result<T, String> {
    let mut record: T = serde_json::from_str(entry.record.get())
        .map_err(|error| format!("expected a record of {}: {error}", T::KIND))?;
    record.validate().map_err(|error| error.to_string())?;
    Ok(record)
}
