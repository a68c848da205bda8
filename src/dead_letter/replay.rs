//! Replaying: entries go through a coordinator once more.

use std::{
    collections::BTreeMap,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    thread,
    time::Duration,
};

use serde::Serialize;
use tokio::runtime::{Builder, Runtime};

use super::{
    AppendError, DeadLetter, DeadLetters, Entry, FilesError, ListedEntry, Selection,
    entry::{EntryKey, EntryStatus, JournalRecord},
    journal::{LockedFile, NotLocked, ReplayLock},
};
use crate::{policy::Level, record::Record};

/// The most entries that are under way at once, and share one sync of the journal.
const WINDOW: usize = 1_000;
/// How often a replay that waits looks whether it may go on.
const LOOK: Duration = Duration::from_millis(20);

/// Where a replay writes: the [`WriteHandle`](crate::WriteHandle) of a coordinator.
pub trait ReplayTarget<T> {
    /// Returns the coordinator's present level; records are written at `Ok` only.
    fn level(&self) -> Level;

    /// Returns why the coordinator takes no more records, if so: then its level does not come back.
    fn ended(&self) -> Option<String>;

    /// Has a record accepted that is a dead letter already: if it is given up again it becomes no other. What this returns
    /// resolves to what became of the record. A target of your own passes this on to that of a
    /// [`WriteHandle`](crate::WriteHandle), whose own `write` knows nothing of it.
    ///
    /// # Errors
    /// The record was not accepted.
    fn write(
        &self,
        record: T,
    ) -> impl Future<Output = Result<impl Future<Output = ReplayOutcome> + Send + 'static, NotAccepted>>;

    /// Sees to it that what was accepted is settled soon.
    fn flush(&self) -> impl Future<Output = ()>;
}

/// What became of a record that is replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayOutcome {
    /// It is in the store.
    Stored,
    /// It was given up once more; its entry stays and says so.
    Refused {
        /// What the store says against it.
        error: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// A deadline cut it off, or nobody knows; its entry stays as it is.
    Unknown,
}

/// Why a record was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// This record never will be.
    #[error("{0}")]
    Invalid(String),
    /// The coordinator takes no more records.
    #[error("{0}")]
    Ended(String),
}

/// What is replayed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReplayOptions {
    /// Which entries; those of another kind than the target's are left alone in any case.
    pub selection: Selection,
    /// An entry that was replayed so often is left alone.
    pub max_replays: u32,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self { selection: Selection::default(), max_replays: 5 }
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
    /// Left alone because they are of a kind that the target does not take, by kind.
    pub other_kinds: BTreeMap<String, u64>,
    /// Left alone because their records could not be written as JSON when they were given up: see
    /// [`Unserializable`](super::Unserializable).
    pub unwritable: u64,
    /// Written, but nobody knows what became of them, as where a deadline cut it off: they stay, and the next replay writes
    /// them again. Of a file that was removed meanwhile, also what could not be kept in a new one, which is logged. The command line counts here too what was stored in a database file
    /// that is gone; those entries are settled.
    pub unknown: u64,
    /// Entries that hold no valid record, and parts of files that hold no entry; they stay.
    pub damaged: Vec<Damaged>,
    /// Files that were left alone because somebody writes them, or put them in the place of others meanwhile.
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
    /// Returns whether every entry that was selected is in the store, as far as anybody can know: a file in use may have
    /// some.
    pub fn is_complete(&self) -> bool {
        let left = self.dead_lettered + self.exhausted + self.unwritable + self.unknown;
        let is_read = self.damaged.is_empty() && self.live.is_empty() && self.interrupted.is_none();
        left == 0 && self.other_kinds.is_empty() && is_read
    }
}

impl DeadLetters {
    /// Writes the entries of the directory to a coordinator that keeps its own dead letters here, and removes each once
    /// it is stored. Blocks the thread, which must not be one that drives futures, until all are settled, `stop` says
    /// so, or the coordinator takes no more.
    ///
    /// Records go out at level `Ok` only, the oldest file first. A replay *upserts*: where the store has got a newer
    /// value of the same key since, the old one takes its place.
    ///
    /// An entry goes only when its record is stored. One that is refused again stays in its place, before later updates of
    /// its key, and counts one replay more. A replay can be cut off anywhere, by a kill too: what is not known to be stored
    /// is replayed again. Files that somebody writes are left alone; the one of this value is let go first.
    ///
    /// # Errors
    /// Another replay or a purge of the directory is under way, or a file cannot be read or written. What was settled
    /// before that is.
    pub fn replay<T: Record>(
        &self,
        target: &impl ReplayTarget<T>,
        options: &ReplayOptions,
        stop: impl Fn() -> bool,
    ) -> Result<ReplayReport, FilesError> {
        let runtime = Builder::new_current_thread().build().expect("a runtime without drivers has nothing to fail at");
        let mut picker = Selector::new(T::KIND, options);
        picker.report.foreign = super::list(self.dir())?.foreign().to_vec();
        let Some(settling) = ReplayLock::begin(self.dir())? else { return Ok(picker.report) };
        runtime.block_on(self.release());
        for taken in settling.files()? {
            if picker.is_done() {
                break;
            }
            match taken {
                Ok(taken) => {
                    let window = Window { letters: self, runtime: &runtime, target, taken, under_way: Vec::new() };
                    replay_file::<T, _>(window, &mut picker, &stop)?;
                }
                Err(NotLocked::Live(path)) => picker.report.live.push(path),
                Err(NotLocked::Failed(error)) => return Err(error),
            }
        }
        Ok(picker.report)
    }
}

/// Says what a replay would find, and changes nothing: `stored` counts what would be written.
///
/// # Errors
/// A file cannot be read.
pub fn replay_dry_run<T: Record>(dir: &Path, options: &ReplayOptions) -> Result<ReplayReport, FilesError> {
    let mut picker = Selector::new(T::KIND, options);
    let list = super::list(dir)?;
    picker.report.foreign = list.foreign().to_vec();
    for found in list {
        let found = found?;
        if picker.is_done() {
            break;
        }
        if !found.live {
            picker.report.stored += u64::from(picker.pick::<T>(found).is_some());
        } else if picker.report.live.last().is_none_or(|last| **last != *found.file) {
            picker.report.live.push(found.file.to_path_buf());
        }
    }
    Ok(picker.report)
}

fn replay_file<T: Record, R: ReplayTarget<T>>(
    mut window: Window<'_, R>,
    picker: &mut Selector<'_>,
    stop: &impl Fn() -> bool,
) -> Result<(), FilesError> {
    for found in window.taken.unsettled()? {
        if picker.is_done() {
            break;
        }
        let Some(picked) = picker.pick::<T>(found?) else { continue };
        loop {
            let ended = if stop() { Some("it was asked to stop".to_owned()) } else { window.target.ended() };
            if ended.is_some() || window.target.level() == Level::Ok {
                picker.report.interrupted = ended;
                break;
            }
            // What is under way may be what holds the level up.
            if !window.settle(&mut picker.report)? {
                thread::sleep(LOOK);
            }
        }
        if picker.report.interrupted.is_some() {
            break;
        }
        match window.write(picked.record, picked.entry) {
            Ok(()) => {}
            Err(NotAccepted::Invalid(message)) => picker.report.damaged.push(Damaged { message, ..picked.at }),
            Err(NotAccepted::Ended(why)) => picker.report.interrupted = Some(why),
        }
        if window.under_way.len() >= WINDOW {
            window.settle(&mut picker.report)?;
        }
    }
    window.settle(&mut picker.report)?;
    picker.report.live.extend(window.taken.finish()?);
    Ok(())
}

/// Entries of one file that are under way.
struct Window<'a, R> {
    letters: &'a DeadLetters,
    runtime: &'a Runtime,
    target: &'a R,
    taken: LockedFile,
    under_way: Vec<UnderWay>,
}

/// An entry whose record was written, and what resolves to its fate.
type UnderWay = (Entry, Pin<Box<dyn Future<Output = ReplayOutcome> + Send>>);

impl<R> Window<'_, R> {
    fn write<T: Record>(&mut self, record: T, entry: Entry) -> Result<(), NotAccepted>
    where
        R: ReplayTarget<T>,
    {
        let fate = Box::pin(self.runtime.block_on(self.target.write(record))?);
        self.under_way.push((entry, fate));
        Ok(())
    }

    /// Waits until all that is under way is settled, and marks it. Returns whether anything was.
    fn settle<T>(&mut self, report: &mut ReplayReport) -> Result<bool, FilesError>
    where
        R: ReplayTarget<T>,
    {
        if self.under_way.is_empty() {
            return Ok(false);
        }
        self.runtime.block_on(self.target.flush());
        let ends: Vec<_> = self.under_way.drain(..).map(|(entry, fate)| (entry, self.runtime.block_on(fate))).collect();
        let (mut stored, mut refused, mut unknown) = (0, 0, 0);
        let (mut marks, mut left) = (Vec::with_capacity(ends.len()), Vec::new());
        for (entry, fate) in ends {
            let name = EntryKey::of(&entry);
            match fate {
                ReplayOutcome::Stored => {
                    stored += 1;
                    marks.push(JournalRecord { entry: name, end: EntryStatus::Stored });
                }
                ReplayOutcome::Refused { error, attempts } => {
                    refused += 1;
                    let replay_count = entry.replay_count + 1;
                    let end = EntryStatus::Refused { error: error.clone(), attempts, replay_count };
                    marks.push(JournalRecord { entry: name, end });
                    left.push(Entry { error, attempts, replay_count, ..entry });
                }
                ReplayOutcome::Unknown => {
                    unknown += 1;
                    left.push(entry);
                }
            }
        }
        report.stored += stored;
        if self.taken.is_anything_there() {
            self.taken.mark(marks)?;
        } else if let Err(error) = self.keep(&left) {
            tracing::error!(entries = left.len(), %error, "dead letters went with a file that was removed");
            report.unknown += refused + unknown;
            return Ok(true);
        }
        report.dead_lettered += refused;
        report.unknown += unknown;
        Ok(true)
    }

    /// Makes new entries of what is not stored, because the file that it was to stay in was removed.
    fn keep(&self, left: &[Entry]) -> Result<(), AppendError> {
        // All are handed over before any is waited for, so that they share a sync.
        let appended: Vec<_> = left
            .iter()
            .map(|entry| {
                let letter = DeadLetter {
                    record: entry.record.clone(),
                    unwritable: entry.unwritable.clone(),
                    error: entry.error.clone(),
                    attempts: entry.attempts,
                    replay_count: entry.replay_count,
                };
                self.letters.append(&entry.coordinator_id, &entry.kind, &[letter])
            })
            .collect();
        appended.into_iter().try_for_each(|appended| self.runtime.block_on(appended))
    }
}

/// Chooses what is replayed, and counts what is not.
struct Selector<'a> {
    kind: &'static str,
    options: &'a ReplayOptions,
    picked: usize,
    report: ReplayReport,
}

struct Picked<T> {
    /// Where it is; a message is still to come.
    at: Damaged,
    entry: Entry,
    record: T,
}

impl<'a> Selector<'a> {
    fn new(kind: &'static str, options: &'a ReplayOptions) -> Self {
        Self { kind, options, picked: 0, report: ReplayReport::default() }
    }

    fn is_done(&self) -> bool {
        self.report.interrupted.is_some() || self.options.selection.is_reached(self.picked)
    }

    fn pick<T: Record>(&mut self, found: ListedEntry) -> Option<Picked<T>> {
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
        if entry.kind != self.kind {
            *self.report.other_kinds.entry(entry.kind).or_default() += 1;
            return None;
        }
        if entry.unwritable.is_some() {
            self.report.unwritable += 1;
            return None;
        }
        if entry.replay_count >= self.options.max_replays {
            self.report.exhausted += 1;
            return None;
        }
        match record_of(&entry) {
            Ok(record) => {
                self.picked += 1;
                Some(Picked { at: at(String::new()), entry, record })
            }
            Err(message) => {
                self.report.damaged.push(at(message));
                None
            }
        }
    }
}

/// Reads the record, in its normal form.
fn record_of<T: Record>(entry: &Entry) -> Result<T, String> {
    let mut record: T = serde_json::from_str(entry.record.get())
        .map_err(|error| format!("expected a record of {}: {error}", T::KIND))?;
    record.validate().map_err(|error| error.to_string())?;
    Ok(record)
}
