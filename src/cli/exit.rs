//! The exit codes.

#[cfg(feature = "postgres")]
use market_data_store::sink::PostgresError;
use market_data_store::{
    StartError, StopReason, dead_letter::DeadLettersError, feedback::BroadcastError, sink::SqliteOpenError,
};

/// How the process ends. Where several apply, the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// SIGINT asked it to stop.
    Interrupted,
    /// SIGTERM asked it to stop.
    Terminated,
    /// SIGHUP asked it to stop: the terminal or the connection is gone.
    HungUp,
    /// Something broke that no input causes, or records were left unsettled.
    Internal,
    /// The environment is wrong.
    Configuration,
    /// The command line is wrong, or a file is refused whole.
    Usage,
    /// The store cannot be used.
    Unavailable,
    /// Some records were rejected, dead-lettered or dropped.
    Rejected,
    /// Everything was done.
    Done,
}

impl Exit {
    /// Returns the code for the shell, after sysexits.h where it has one.
    pub const fn code(self) -> i32 {
        match self {
            Self::Interrupted => 130,
            Self::Terminated => 143,
            Self::HungUp => 129,
            Self::Internal => 70,
            Self::Configuration => 78,
            Self::Usage => 2,
            Self::Unavailable => 69,
            Self::Rejected => 65,
            Self::Done => 0,
        }
    }

    /// Returns what a store that cannot start means: the fault is the environment's, the database's, or our own.
    pub fn of_start(error: &StartError) -> Self {
        match error {
            // The operating system has no thread left, and no setting changes that.
            StartError::Sqlite(SqliteOpenError::Thread(_))
            | StartError::DeadLetters(DeadLettersError::Thread(_))
            | StartError::Webhooks(BroadcastError::Thread(_)) => Self::Internal,
            StartError::Settings(_) | StartError::Watermarks(_) | StartError::UnknownStore { .. } => {
                Self::Configuration
            }
            StartError::Sqlite(SqliteOpenError::Url { .. } | SqliteOpenError::InMemory { .. }) => Self::Configuration,
            #[cfg(feature = "postgres")]
            StartError::Postgres(error) if error.is_of_url() => Self::Configuration,
            #[cfg(feature = "postgres")]
            StartError::Postgres(PostgresError::Thread(_)) => Self::Internal,
            #[cfg(feature = "postgres")]
            StartError::Postgres(_) => Self::Unavailable,
            StartError::DeadLetters(_) => Self::Configuration,
            StartError::Webhooks(_) => Self::Configuration,
            StartError::Sqlite(_) => Self::Unavailable,
            _ => Self::Internal,
        }
    }

    /// Returns what it means that a store can do no more work.
    pub fn of_stop(reason: &StopReason) -> Self {
        match reason {
            StopReason::DatabaseUnfit { .. } => Self::Unavailable,
            _ => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io, path::PathBuf};

    use super::*;

    // Red if the file or the directory is blamed for it: 69 or 78.
    #[test]
    fn a_thread_that_cannot_be_started_is_no_fault_of_the_configuration() {
        let no_thread = || io::Error::from(io::ErrorKind::WouldBlock);
        for error in [
            StartError::from(SqliteOpenError::Thread(no_thread())),
            StartError::from(DeadLettersError::Thread(no_thread().into())),
            StartError::from(BroadcastError::Thread(no_thread())),
        ] {
            assert_eq!(Exit::of_start(&error), Exit::Internal, "{error}");
        }
        let path = PathBuf::from("dead_letters");
        assert_eq!(Exit::of_start(&DeadLettersError::NotADirectory(path.clone()).into()), Exit::Configuration);
        let in_memory = SqliteOpenError::InMemory { path: ":memory:".into() };
        assert_eq!(Exit::of_start(&in_memory.into()), Exit::Configuration);
        assert_eq!(Exit::of_start(&SqliteOpenError::NotADatabase { path }.into()), Exit::Unavailable);
    }
}
