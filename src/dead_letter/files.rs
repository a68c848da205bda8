//! The files of a dead-letter directory: their names, which of them are ours, and which of them a process writes.
//!
//! A directory is whatever MDS_DLQ_PATH names, and may hold other files with the same endings: bars to be loaded, say.
//! What is removed or written to has to be ours by its name *and* by what is in it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use super::{Entry, line};
use crate::record::Timestamp;

/// The extension of a file of entries.
pub(super) const ENTRIES: &str = "ndjson";
/// The extension of the journal beside a file of entries.
pub(super) const JOURNAL: &str = "settled";
/// The extension of a journal that is just being made.
pub(super) const NEW_JOURNAL: &str = "settling";
/// The extension of a file of entries that is just being made.
pub(super) const NEW: &str = "new";

/// What is in a file by which a start tries the directory.
pub(super) const TRIED: &[u8] = b"\n";

/// Returns a name that no other file has: the time first, so that names sort by it.
pub(super) fn new_name(now: Timestamp) -> String {
    let micros = now.as_micros();
    let seconds = Timestamp::from_micros(micros - micros.rem_euclid(1_000_000)).to_string();
    let seconds = seconds.replace(['-', ':', 'Z'], "");
    format!("{seconds}-{:06}-{:08x}.{ENTRIES}", micros.rem_euclid(1_000_000), fastrand::u32(..))
}

/// Returns whether a file has a name as [`new_name`] makes them, with whatever extension.
fn has_our_name(path: &Path) -> bool {
    let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { return false };
    let digits = |part: &str, len| part.len() == len && part.bytes().all(|byte| byte.is_ascii_digit());
    match Vec::from_iter(stem.split('-')).as_slice() {
        [seconds, micros, random] => {
            seconds.split_once('T').is_some_and(|(date, time)| digits(date, 8) && digits(time, 6))
                && digits(micros, 6)
                && random.len() == 8
                && random.bytes().all(|byte| byte.is_ascii_hexdigit())
        }
        _ => false,
    }
}

/// Returns whether a file of entries or a journal is one of ours: by its name, and by what is in it, which is nothing,
/// or at least one line of ours or a part of one. Of one that cannot be read its name decides, and reading it tells.
pub(super) fn is_ours(path: &Path) -> bool {
    let is_journal = path.extension().is_some_and(|extension| extension == JOURNAL || extension == NEW_JOURNAL);
    let holds_ours = |file| holds_ours(file, is_journal);
    has_our_name(path) && path.is_file() && File::open(path).and_then(holds_ours).unwrap_or(true)
}

fn holds_ours(file: File, is_journal: bool) -> io::Result<bool> {
    let len = file.metadata()?.len();
    let mut is_blank = true;
    for line in BufReader::new(file).split(b'\n') {
        let line = line?;
        let is_truncated = line.len() as u64 == len && line::is_truncated(&line);
        let is_settled = is_journal && line::begins_like_ours(&line);
        // One that was mended by hand may have lost all else.
        let is_mended = || serde_json::from_slice::<Entry>(line::without_mark(&line)).is_ok();
        if is_truncated || is_settled || line::is_of_ours(&line) || is_mended() {
            return Ok(true);
        }
        // A lost sync can leave zeros.
        is_blank &= line.iter().all(|&byte| byte == 0);
    }
    Ok(is_blank)
}

/// What is in a directory.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// The files of entries, the oldest first.
    pub(super) entries: Vec<PathBuf>,
    /// Files that are called like ours and are not.
    pub(super) foreign: Vec<PathBuf>,
}

/// Looks into a directory. One that is not there is empty.
///
/// # Errors
/// It cannot be read.
pub(super) fn list(dir: &Path) -> io::Result<Listing> {
    let listed = match fs::read_dir(dir) {
        Ok(listed) => listed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Listing::default()),
        Err(error) => return Err(error),
    };
    let mut listing = Listing::default();
    for entry in listed {
        let path = entry?.path();
        let has = |extension| path.extension().is_some_and(|found| found == extension);
        match is_ours(&path) {
            true if has(ENTRIES) => listing.entries.push(path),
            // One that is gone by now was settled by another process.
            false if (has(ENTRIES) || has(JOURNAL)) && path.exists() => listing.foreign.push(path),
            _ => {}
        }
    }
    listing.entries.sort();
    listing.foreign.sort();
    Ok(listing)
}

/// Removes a file that a process left behind that was killed while it made it, or while it tried the directory by it:
/// it has our name, and no entry in it.
pub(super) fn remove_unmade(path: &Path) {
    let is_empty = |metadata: fs::Metadata| metadata.is_file() && metadata.len() <= TRIED.len() as u64;
    if has_our_name(path) && path.metadata().is_ok_and(is_empty) {
        let _ = fs::remove_file(path);
    }
}

/// A file that this value has locked.
#[derive(Debug)]
pub(super) struct Locked(File);

impl Locked {
    /// Locks a file unless another holds a lock on it.
    pub(super) fn new(file: File) -> Result<Self, (File, TryLockError)> {
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(error) => Err((file, error)),
        }
    }

    pub(super) fn file(&mut self) -> &mut File {
        &mut self.0
    }
}

impl Drop for Locked {
    /// Closing it would do, if it were not for processes that are just being started: until their program begins they
    /// have what this one has.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// Makes a file that is created readable for its owner alone.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Returns what stands behind the last line end of a file.
pub(super) fn behind_last_line_end(file: &mut File) -> io::Result<Vec<u8>> {
    let len = file.metadata()?.len();
    let mut back = len.min(4 << 10);
    loop {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(len - back))?;
        file.take(back).read_to_end(&mut bytes)?;
        if let Some(at) = bytes.iter().rposition(|byte| *byte == b'\n') {
            return Ok(bytes.split_off(at + 1));
        }
        if back == len {
            return Ok(bytes);
        }
        back = len.min(back * 4);
    }
}

/// Waits until the names in a directory are on the disk.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    // A relative name's parent is the empty path, which means here.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// Says whether the path leads to this file.
///
/// # Errors
/// The path cannot be looked at.
#[cfg(unix)]
pub(super) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    match fs::metadata(path) {
        Ok(there) => Ok(identity(file.metadata()?) == identity(there)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Elsewhere a file that is open cannot be removed.
#[cfg(not(unix))]
pub(super) fn is_at(_: &File, path: &Path) -> io::Result<bool> {
    path.try_exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    // Sabotage: leave it to the closing of the file: it stays locked for as long as a process that was being started.
    #[test]
    fn a_lock_goes_with_its_value_though_others_have_the_file_open() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        let file = File::open(&path).unwrap();
        let inherited = file.try_clone().unwrap();
        let lock = Locked::new(file).unwrap();
        assert!(Locked::new(File::open(&path).unwrap()).is_err());
        drop(lock);
        assert!(Locked::new(File::open(&path).unwrap()).is_ok());
        drop(inherited);
    }

    // Sabotage: look at the extension alone, at the name alone, or at the content alone; ask of a journal for an id as
    // we make them; or stumble over a byte order mark: red.
    #[test]
    fn a_file_is_ours_by_its_name_and_by_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let ours = new_name(Timestamp::from_micros(1_700_000_000_500_000));
        let is_ours = |name: &str, content: &str| {
            let path = dir.path().join(name);
            fs::write(&path, content).unwrap();
            is_ours(&path)
        };
        let line = r#"{"id":"c4b71af0afbc85ae-1","ts":"2024-01-02T14:30:00Z"#;
        let mended = r#"{ "id": "x", "ts": "2024-01-02T14:30:00Z", "coordinator_id": "a", "kind": "b", "record": 1,
            "error": "e", "attempts": 1, "replay_count": 0 }"#
            .replace('\n', "");
        for content in ["", "{\"i", "\0\0\0", line, &format!("rubbish\n{line}"), &mended] {
            assert!(is_ours(&ours, content), "{content:?}");
        }
        for content in ["{\n", "{\"symbol\":\"ES\"}\n", "\n{\"id", "ts,open,high,low,close\n"] {
            assert!(!is_ours(&ours, content), "{content:?}");
        }
        let journal = ours.replace(ENTRIES, JOURNAL);
        assert!(is_ours(&journal, r#"{"id":"mine-1","outc"#) && is_ours(&journal, r#"{"i"#));
        assert!(!is_ours(&journal, "ts,open\n") && !is_ours(&ours, r#"{"id":"mine-1","outc"#));
        assert!(is_ours(&ours, &format!("\u{feff}{mended}")));
        for name in ["bars.ndjson", "20231114T221320.ndjson", "20231114T221320-500000-xyz.ndjson", ".ndjson"] {
            assert!(!is_ours(name, line), "{name}");
        }
    }

    // Sabotage: write the fraction as the time's text has it: the second is older than the first.
    #[test]
    fn names_sort_by_time() {
        let micros = [1_700_000_000_000_000, 1_700_000_000_500_000, 1_700_000_000_500_001, 1_700_000_001_000_000];
        let names = micros.map(|micros| new_name(Timestamp::from_micros(micros)));
        assert!(names.is_sorted(), "{names:?}");
        assert!(names[1].starts_with("20231114T221320-500000-") && names[1].ends_with(".ndjson"), "{names:?}");
    }
}
