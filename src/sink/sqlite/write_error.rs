//! Why a write failed, and what that says of the records and of the connection.

use std::{io, path::PathBuf, sync::Arc};

use rusqlite::ErrorCode;

use super::error::{SqliteOpenError, is_passing};
use crate::sink::SinkError;

/// Why a batch was not stored.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Open(Arc<SqliteOpenError>),
    #[error("{}: cannot {step}", path.display())]
    Sqlite { path: PathBuf, step: &'static str, source: Arc<rusqlite::Error> },
    /// The schema does not let records of this kind be written; it was never a matter of one of them.
    #[error("{}: cannot prepare a write to `{table}`", path.display())]
    Unprepared { path: PathBuf, table: &'static str, source: Arc<rusqlite::Error> },
    #[error("{}: the file was removed or replaced while it was written", path.display())]
    Replaced { path: PathBuf },
    #[error("{}: cannot look whether the file is still there", path.display())]
    Unseen { path: PathBuf, source: Arc<io::Error> },
    #[error("{}: cannot sync the log", path.display())]
    Unsynced { path: PathBuf, source: Arc<io::Error> },
    #[error("{}: the thread that writes the database panicked", path.display())]
    Panicked { path: PathBuf },
    #[error("{}: a record panicked when a row of `{table}` was made of it: {problem}", path.display())]
    RecordPanicked { path: PathBuf, table: &'static str, problem: String },
    #[error("{}: the thread that writes the database has ended", path.display())]
    Gone { path: PathBuf },
}

impl WriteError {
    /// Says whether the records are to blame. Everything else is a matter of the store and may pass, be it by an
    /// operator's hand: good records must not be given up for it.
    pub(super) fn blames_records(&self) -> bool {
        // Of a value that is not given to SQLite at all.
        let is_refused = matches!(self, Self::Sqlite { source, .. }
            if matches!(**source, rusqlite::Error::ToSqlConversionFailure(_)));
        let blames = matches!(
            self.code(),
            Some(
                ErrorCode::ConstraintViolation
                    | ErrorCode::TypeMismatch
                    | ErrorCode::TooBig
                    | ErrorCode::ParameterOutOfRange
            )
        );
        is_refused || blames
    }

    /// Says whether it is a matter of one batch: the others of its group can be written.
    pub(super) fn is_of_batch(&self) -> bool {
        self.blames_records() || matches!(self, Self::RecordPanicked { .. })
    }

    /// Says whether it is surely a matter of the store. An error that SQLite does not name can come from a trigger that
    /// fails for one record, and so can a panic.
    fn is_outage(&self) -> bool {
        match self {
            Self::Open(_)
            | Self::Replaced { .. }
            | Self::Unseen { .. }
            | Self::Unsynced { .. }
            | Self::Gone { .. }
            | Self::Unprepared { .. } => true,
            Self::Panicked { .. } | Self::RecordPanicked { .. } => false,
            Self::Sqlite { .. } => !self.blames_records() && !matches!(self.code(), None | Some(ErrorCode::Unknown)),
        }
    }

    /// Says whether the connection is as good as before. After an I/O error or worse a new one reads the file afresh.
    pub(super) fn spares_connection(&self) -> bool {
        is_passing(self.code()) || self.is_of_batch()
    }

    fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Sqlite { source, .. } | Self::Unprepared { source, .. } => source.sqlite_error_code(),
            _ => None,
        }
    }

    pub(super) fn into_sink_error(self) -> SinkError {
        match (self.blames_records(), self.is_outage()) {
            (true, _) => SinkError::permanent(self),
            (false, true) => SinkError::transient(self).outage(),
            (false, false) => SinkError::transient(self),
        }
    }
}
