//! What can go wrong with a directory of dead letters.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why dead letters cannot be kept, read, replayed or purged. Nothing that was to be appended counts as kept; trying
/// again can help.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeadLettersError {
    /// There is something else at the path of the directory.
    #[error("{}: expected a directory for dead letters, got something else", .0.display())]
    NotADirectory(PathBuf),
    /// The disk refused, be it full or broken.
    #[error("{}: cannot {step} it: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was to be done to it.
        step: &'static str,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// A replay or a purge of this directory is under way.
    #[error("{}: a replay or a purge of this directory is under way", .0.display())]
    Busy(PathBuf),
    /// An entry cannot be written as JSON.
    #[error("cannot write a dead letter as JSON: {0}")]
    Json(Arc<serde_json::Error>),
    /// The operating system refused a thread.
    #[error("cannot start a thread for dead letters: {0}")]
    Thread(#[source] Arc<io::Error>),
    /// The thread that appends to this directory has ended.
    #[error("{}: the thread that writes dead letters has ended", .0.display())]
    Gone(PathBuf),
}

impl DeadLettersError {
    pub(super) fn io(path: &Path, step: &'static str, source: io::Error) -> Self {
        Self::Io { path: path.into(), step, source: Arc::new(source) }
    }

    pub(crate) fn thread(source: io::Error) -> Self {
        Self::Thread(Arc::new(source))
    }
}
