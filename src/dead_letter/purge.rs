use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{
    DeadLettersError, Selection,
    entry::EntryStatus,
    files,
    locked::{NotLocked, ReplayLock},
};

/// What a purge did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PurgeReport {
    /// Entries that are gone.
    pub purged: u64,
    /// Damaged parts of files that are gone with them.
    pub damaged: u64,
    /// Files that were left alone because a process writes them, or because they took the place of others meanwhile.
    pub live: Vec<PathBuf>,
    /// Files that were left alone because they are not ours, though they are called alike.
    pub foreign: Vec<PathBuf>,
}

/// Removes entries for good. A selection that leaves nothing out removes what is damaged too; any other leaves it. A
/// file that a process writes is never touched, nor is one that is not ours. Blocks the thread.
///
/// With `dry_run` nothing changes: it only reads, also beside a replay.
///
/// # Errors
/// A replay or another purge of the directory is under way, or a file cannot be read or written; what was removed
/// before that is gone.
pub fn purge(dir: &Path, selection: &Selection, dry_run: bool) -> Result<PurgeReport, DeadLettersError> {
    if dry_run {
        return purge_dry_run(dir, selection);
    }
    let foreign = files::list(dir).map_err(|error| DeadLettersError::io(dir, "read", error))?.foreign;
    let mut report = PurgeReport { foreign, ..PurgeReport::default() };
    let Some(lock) = ReplayLock::begin(dir)? else { return Ok(report) };
    for taken in lock.files()? {
        let mut taken = match taken {
            Ok(taken) => taken,
            Err(NotLocked::Live(path)) => {
                report.live.push(path);
                continue;
            }
            Err(NotLocked::Failed(error)) => return Err(error),
        };
        let (mut marks, mut damaged) = (Vec::new(), 0);
        for found in taken.unsettled()? {
            match found?.entry {
                Ok(entry)
                    if selection.is_reached(report.purged as usize + marks.len()) || !selection.selects(&entry) => {}
                Ok(entry) => marks.push((entry, EntryStatus::Purged)),
                Err(_) => damaged += 1,
            }
        }
        let purged = marks.len() as u64;
        let other = if selection.is_everything() {
            taken.remove()?
        } else {
            taken.mark(&marks)?;
            taken.finish()?
        };
        if let Some(path) = other {
            report.live.push(path);
            continue;
        }
        report.purged += purged;
        report.damaged += if selection.is_everything() { damaged } else { 0 };
    }
    Ok(report)
}

fn purge_dry_run(dir: &Path, selection: &Selection) -> Result<PurgeReport, DeadLettersError> {
    let list = super::list(dir)?;
    let mut report = PurgeReport { foreign: list.foreign().to_vec(), ..PurgeReport::default() };
    for found in list {
        let found = found?;
        match &found.entry {
            _ if found.live => {
                if report.live.last().is_none_or(|last| **last != *found.file) {
                    report.live.push(found.file.to_path_buf());
                }
            }
            Ok(entry) => {
                let is_meant = selection.selects(entry) && !selection.is_reached(report.purged as usize);
                report.purged += u64::from(is_meant);
            }
            Err(_) => report.damaged += u64::from(selection.is_everything()),
        }
    }
    Ok(report)
}
