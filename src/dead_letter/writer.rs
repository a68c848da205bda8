//! The one thread that appends: takes what waits, writes it, syncs it, and only then answers.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    error::DeadLettersError,
    files::{self, Locked, private},
};
use crate::{record::Timestamp, text::Shown};

/// What the handles ask of the thread.
pub(super) enum Job {
    /// Append whole lines.
    Append { lines: Vec<u8>, answer: Answer },
    /// Let go of the file.
    Release(oneshot::Sender<()>),
}

type Answer = oneshot::Sender<Result<(), DeadLettersError>>;

/// What the writer does to the disk, so that a test can make it fail.
pub(super) trait Disk: Send + 'static {
    /// Makes a new file at the path, whose directory exists, that is locked before anybody can find it.
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn Output>>;
}

/// A file that is open for appending.
pub(super) trait Output: Send {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// Says whether the path still leads to this file, and nothing of it was cut off below this length. An error means
    /// that it cannot be told.
    fn is_whole_at(&mut self, path: &Path, len: u64) -> io::Result<bool>;
}

pub(super) struct Writer {
    dir: PathBuf,
    limits: Limits,
    disk: Box<dyn Disk>,
    /// Not bounded, but never long: each appender waits for its answer.
    jobs: mpsc::Receiver<Job>,
    open: Option<Open>,
    /// Whether entries that were kept went with a file that is not at its path any more.
    file_was_removed: Arc<AtomicBool>,
    /// When the last file was named, so that names rise even if the clock does not.
    named: i64,
}

struct Open {
    path: PathBuf,
    output: Box<dyn Output>,
    /// How much of it is synced.
    len: u64,
}

impl Writer {
    pub(super) fn spawn(
        dir: PathBuf,
        limits: Limits,
        disk: Box<dyn Disk>,
        file_was_removed: Arc<AtomicBool>,
    ) -> io::Result<mpsc::Sender<Job>> {
        let (sender, jobs) = mpsc::channel();
        let writer = Self { dir, limits, disk, jobs, open: None, file_was_removed, named: 0 };
        thread::Builder::new().name("mds-dead-letters".to_owned()).spawn(move || writer.run())?;
        Ok(sender)
    }

    fn run(mut self) {
        while let Some(job) = self.next() {
            match job {
                Job::Append { lines, answer } => {
                    let released = self.serve(lines, answer);
                    let Some(released) = released else { continue };
                    self.let_go();
                    let _ = released.send(());
                }
                Job::Release(released) => {
                    self.let_go();
                    let _ = released.send(());
                }
            }
        }
        self.let_go();
    }

    /// Lets go of the file, after a last look whether what it keeps can be found.
    fn let_go(&mut self) {
        if let Some(mut open) = self.open.take()
            && matches!(open.output.is_whole_at(&open.path, open.len), Ok(false))
        {
            self.notice_removal(&open);
        }
    }

    /// Tells that a file with entries is not at its path any more, or not as it was. A file that is being written is
    /// not for others to remove, so that was an accident.
    fn notice_removal(&self, open: &Open) {
        if open.len > 0 {
            self.file_was_removed.store(true, Ordering::Release);
            tracing::error!(
                path = %Shown(&open.path.to_string_lossy()),
                "a file of dead letters was removed, replaced or cut off while it was written, and what it kept is gone"
            );
        }
    }

    /// Waits for the next job. A file without an append for a while is let go meanwhile, so that a replay can take
    /// it although this process goes on.
    fn next(&mut self) -> Option<Job> {
        if self.open.is_some() {
            match self.jobs.recv_timeout(self.limits.idle) {
                Ok(job) => return Some(job),
                Err(RecvTimeoutError::Timeout) => self.let_go(),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
        self.jobs.recv().ok()
    }

    /// Appends the lines, and those of all that wait behind them up to a limit, with one sync. Returns whom to tell of
    /// a release that was met on the way.
    fn serve(&mut self, lines: Vec<u8>, answer: Answer) -> Option<oneshot::Sender<()>> {
        let (mut bytes, mut answers, mut released) = (Vec::new(), Vec::new(), None);
        let mut next = Some((lines, answer));
        while let Some((mut lines, answer)) = next.take() {
            // One that was cancelled before its turn has no reader.
            if !answer.is_closed() {
                bytes.append(&mut lines);
                answers.push(answer);
            }
            if (bytes.len() as u64) < self.limits.file_bytes {
                match self.jobs.try_recv() {
                    Ok(Job::Append { lines, answer }) => next = Some((lines, answer)),
                    Ok(Job::Release(sender)) => released = Some(sender),
                    Err(_) => {}
                }
            }
        }
        if !answers.is_empty() {
            let result = self.append(&bytes);
            for answer in answers {
                // An error means that it was cancelled meanwhile.
                let _ = answer.send(result.clone());
            }
        }
        released
    }

    /// Appends and syncs all of the bytes, or leaves the file as it was.
    fn append(&mut self, bytes: &[u8]) -> Result<(), DeadLettersError> {
        let open = match self.open.take() {
            Some(open) => open,
            None => self.create()?,
        };
        let path = open.path.clone();
        if self.append_to(open, bytes)? {
            return Ok(());
        }
        // Once more, as a second removal at once is unlikely, and at the end of a process there is no next time.
        let open = self.create()?;
        if self.append_to(open, bytes)? {
            return Ok(());
        }
        let removed = io::Error::other("the file was removed, replaced or cut off while it was written");
        Err(DeadLettersError::io(&path, "keep", removed))
    }

    /// Appends to this file. Returns false if it went meanwhile, with what it kept.
    fn append_to(&mut self, mut open: Open, bytes: &[u8]) -> Result<bool, DeadLettersError> {
        let written = (open.output.write_all(bytes).map_err(|error| (error, "write")))
            .and_then(|()| open.output.sync().map_err(|error| (error, "sync")));
        let len = if written.is_ok() { open.len + bytes.len() as u64 } else { open.len };
        let is_there = open.output.is_whole_at(&open.path, len);
        let is_removed = matches!(is_there, Ok(false));
        if is_removed {
            self.notice_removal(&open);
        }
        match written.and_then(|()| is_there.map_err(|error| (error, "look at"))) {
            Ok(false) => Ok(false),
            Ok(true) => {
                open.len = len;
                if open.len < self.limits.file_bytes {
                    self.open = Some(open);
                }
                Ok(true)
            }
            Err((error, step)) => {
                // What was written of it goes again. Where that fails too, readers find what is damaged, and what is
                // whole is one entry too many and not one too few.
                let undone = open.output.truncate(open.len).is_ok();
                let error = DeadLettersError::io(&open.path, step, error);
                tracing::debug!(%error, undone, "dead letters could not be appended");
                if step == "look at" && undone {
                    // Whether it is still there shows later.
                    self.open = Some(open);
                    return Err(error);
                }
                // The file is not written any more: after a failed sync it is not known what of it the disk holds, and
                // the next sync would not say. So this is the last look at what it kept before.
                match open.output.is_whole_at(&open.path, open.len) {
                    Ok(true) if open.len == 0 => _ = fs::remove_file(&open.path),
                    Ok(false) if !is_removed => self.notice_removal(&open),
                    _ => {}
                }
                Err(error)
            }
        }
    }

    fn create(&mut self) -> Result<Open, DeadLettersError> {
        make_dir(&self.dir).map_err(|error| DeadLettersError::io(&self.dir, "make", error))?;
        self.named = Timestamp::now().as_micros().max(self.named + 1);
        let path = self.dir.join(files::new_name(Timestamp::from_micros(self.named)));
        let output = self.disk.create(&path).map_err(|error| DeadLettersError::io(&path, "make", error))?;
        Ok(Open { path, output, len: 0 })
    }
}

/// Tries a directory before a dead letter has to be kept there: makes it, and a file in it, which is written, synced
/// and removed. Its name is that of a file which is just being made, so no replay takes it.
pub(super) fn try_out(dir: &Path, disk: &mut dyn Disk) -> io::Result<()> {
    make_dir(dir)?;
    let path = dir.join(files::new_name(Timestamp::now())).with_extension(files::NEW);
    let mut file = disk.create(&path)?;
    let written = file.write_all(files::TRIED).and_then(|()| file.sync());
    let removed = fs::remove_file(&path);
    written.and(removed)
}

/// Makes the directory and those above it, for their owner alone, as far as they are missing.
fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let mut above = Vec::from_iter(dir.ancestors().skip(1).take_while(|above| !above.exists()));
    above.extend(dir.ancestors().skip(1).find(|above| above.exists()));
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(dir).map_err(|error| match error.kind() {
        // A link too, if it leads nowhere.
        io::ErrorKind::AlreadyExists => {
            io::Error::new(error.kind(), "expected a directory, found something else there")
        }
        _ => error,
    })?;
    // The name of a new directory is in the one above it.
    above.into_iter().try_for_each(files::sync_dir)
}

/// The real disk.
pub(super) struct RealDisk;

impl Disk for RealDisk {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn Output>> {
        // Under another name first: once it can be found, it is locked. Otherwise a replay could take it for a file
        // that no process writes.
        let new = path.with_extension(files::NEW);
        let create = || {
            let file = private(OpenOptions::new().append(true).create_new(true)).open(&new)?;
            let file = Locked::new(file).map_err(|(_, error)| io::Error::from(error))?;
            fs::rename(&new, path)?;
            files::sync_dir(path.parent().unwrap_or(Path::new(".")))?;
            Ok(file)
        };
        match create() {
            Ok(file) => Ok(Box::new(file)),
            Err(error) => {
                // It is empty under either name.
                let _ = fs::remove_file(&new);
                let _ = fs::remove_file(path);
                Err(error)
            }
        }
    }
}

impl Output for Locked {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file().write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file().sync_data()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file().set_len(len)
    }

    fn is_whole_at(&mut self, path: &Path, len: u64) -> io::Result<bool> {
        Ok(files::is_at(self.file(), path)? && self.file().metadata()?.len() >= len)
    }
}

/// How the files are divided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// A file with so many bytes is not written any more.
    pub(super) file_bytes: u64,
    /// How long a file is held open for another append.
    pub(super) idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_bytes: 64 << 20, idle: Duration::from_secs(5) }
    }
}

#[cfg(test)]
mod tests;
