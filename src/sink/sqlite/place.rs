//! Where the file is: what can be wrong with its path, and which file it leads to.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use super::SqliteOpenError;

/// Makes a path absolute without asking the file system. So it also never reads like one of SQLite's special names.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, SqliteOpenError> {
    std::path::absolute(path).map_err(|source| SqliteOpenError::Io { path: path.into(), source })
}

/// Says what SQLite would not: which part of the path is wrong.
pub(super) fn check_place(path: &Path) -> Result<(), SqliteOpenError> {
    if path.is_dir() {
        return Err(SqliteOpenError::IsDirectory { path: path.into() });
    }
    match path.parent() {
        // Only what is surely not there: a directory that cannot be looked at is an outage for SQLite to report.
        Some(directory) if matches!(directory.try_exists(), Ok(false)) => {
            Err(SqliteOpenError::NoDirectory { path: path.into(), directory: directory.into() })
        }
        _ => Ok(()),
    }
}

/// Makes the file if there is none, readable and writable for its owner alone; SQLite gives its `-wal` and `-shm` the
/// same mode. A file that is there keeps its mode. What goes wrong SQLite tells when it opens the file.
pub(super) fn make_private(path: &Path) {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let _ = options.open(path);
}

/// Asks the system why SQLite cannot write here: none if that is not for want of a permission, so that it may pass.
pub(super) fn denied(path: &Path) -> Option<SqliteOpenError> {
    let denies = |source: &io::Error| {
        use io::ErrorKind::{NotADirectory, PermissionDenied, ReadOnlyFilesystem};
        matches!(source.kind(), PermissionDenied | NotADirectory | ReadOnlyFilesystem)
    };
    let failed = |place: &Path, tried: io::Result<()>| {
        let source = tried.err().filter(denies)?;
        Some(SqliteOpenError::NotWritable { path: path.into(), place: place.into(), source })
    };
    // The log stands beside the file, so a file alone is not enough.
    let (directory, name) = (path.parent()?, path.file_name()?);
    let probe = directory.join(format!(".{}-{}", name.display(), std::process::id()));
    let made = File::create_new(&probe).and_then(|_| fs::remove_file(&probe));
    failed(directory, made).or_else(|| failed(path, may_write(path)))
}

/// Says whether SQLite opens the file for reading only, which it does with what it may not write, and tells no sooner
/// than at the first write.
pub(super) fn is_readonly(path: &Path) -> bool {
    may_write(path).is_err_and(|error| error.kind() != io::ErrorKind::NotFound)
}

/// Asks the system whether this process may write the file, without opening it: closing it again would drop the locks
/// that SQLite has on the same file.
fn may_write(file: &Path) -> io::Result<()> {
    #[cfg(unix)]
    return Ok(rustix::fs::access(file, rustix::fs::Access::WRITE_OK)?);
    #[cfg(not(unix))]
    match fs::metadata(file)?.permissions().readonly() {
        true => Err(io::ErrorKind::PermissionDenied.into()),
        false => Ok(()),
    }
}

/// What tells two files at one path apart.
pub(super) type Identity = (u64, u64);

/// Says which file is at a path, if any.
///
/// # Errors
/// The path cannot be looked at.
#[cfg(unix)]
pub(super) fn look_at(path: &Path) -> io::Result<Option<Identity>> {
    use std::os::unix::fs::MetadataExt;
    match fs::metadata(path) {
        Ok(file) => Ok(Some((file.dev(), file.ino()))),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Elsewhere an open file can be neither removed nor replaced.
#[cfg(not(unix))]
pub(super) fn look_at(_: &Path) -> io::Result<Option<Identity>> {
    Ok(None)
}

pub(super) fn identity(path: &Path) -> Option<Identity> {
    look_at(path).ok().flatten()
}
