//! Why a write failed, and what that says of the records and of the connection.

use std::{sync::Arc, time::Duration};

use tokio_postgres::error::Severity;

use super::error::{PostgresError, ServerError};
use crate::{
    record::{Invalid, Table},
    sink::SinkError,
};

/// Why a batch was not stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// A value that PostgreSQL does not have.
    #[error(transparent)]
    Invalid(Invalid),
    /// The table could not be made ready.
    #[error(transparent)]
    Schema(#[from] PostgresError),
    /// The server refuses, or is gone.
    #[error("{database}: cannot {step}")]
    Server { database: Arc<str>, step: &'static str, fault: Fault, source: ServerError },
    /// There was no answer in time.
    #[error("{database}: cannot {step}: no answer within {} s", within.as_secs_f64())]
    Silent { database: Arc<str>, step: &'static str, within: Duration },
    #[error("{database}: the server takes no writes, as a standby or by `default_transaction_read_only`")]
    ReadOnly { database: Arc<str> },
    #[error("{database}: the write panicked")]
    Panicked { database: Arc<str> },
    #[error("{database}: its connections are closed")]
    Closed { database: Arc<str> },
}

/// What is to blame for an error of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The records.
    Records,
    /// The server, the connection, a lock, a time limit, or a table that was changed.
    Store,
    /// Either: a function of a trigger that raises an error may do so for one record.
    Unknown,
}

impl Fault {
    /// Judges an error that a write to a table met.
    pub(super) fn of(error: &tokio_postgres::Error, table: &Table) -> Self {
        let Some(error) = error.as_db_error() else { return Self::Store };
        if is_fatal(error.parsed_severity()) {
            return Self::Store;
        }
        let code = error.code().code();
        match (&code[..2], code) {
            // A text that the database's encoding lacks, a number or a time out of range.
            ("22", _) => Self::Records,
            // Null in a column that must not be: of ours it is the record's fault if we say so too, and of another one
            // somebody has changed the table.
            ("23", "23502") => {
                let column = table.columns().iter().find(|column| error.column() == Some(column.name()));
                if column.is_some_and(|column| !column.is_optional()) { Self::Records } else { Self::Store }
            }
            // The same code says that a partitioned table has no partition for a row, and then names no constraint.
            ("23", "23514") if error.constraint().is_none() => Self::Store,
            // A constraint that the table's owner has added refuses this record and not another.
            ("23", _) => Self::Records,
            // A row that is too long for an index.
            ("54", "54000") => Self::Records,
            // What the name of the class says: connection, authorization, a transaction that cannot go on, resources,
            // an operator's act, the system. Then what a table or a statement is that has been changed, and locks.
            (
                "08" | "28" | "25" | "2D" | "40" | "53" | "57" | "58" | "F0" | "3D" | "3F" | "42" | "26" | "34" | "0A"
                | "55",
                _,
            ) => Self::Store,
            // Damage of the data or an index.
            ("XX", "XX001" | "XX002") => Self::Store,
            _ => Self::Unknown,
        }
    }
}

/// Says whether the server ends the connection with an error.
pub(super) fn is_fatal(severity: Option<Severity>) -> bool {
    matches!(severity, Some(Severity::Fatal | Severity::Panic))
}

impl WriteError {
    fn fault(&self) -> Fault {
        match self {
            Self::Invalid(_) => Fault::Records,
            Self::Server { fault, .. } => *fault,
            Self::Schema(_) | Self::Silent { .. } | Self::ReadOnly { .. } | Self::Closed { .. } => Fault::Store,
            Self::Panicked { .. } => Fault::Unknown,
        }
    }

    pub(super) fn into_sink_error(self) -> SinkError {
        match self.fault() {
            Fault::Records => SinkError::permanent(self),
            Fault::Store => SinkError::transient(self).outage(),
            Fault::Unknown => SinkError::transient(self),
        }
    }
}
