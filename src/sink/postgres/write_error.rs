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
    /// The records, by the word of a trigger, unless it refuses every one.
    Raised,
    /// Either: a function of a trigger that raises an error may do so for one record.
    Unknown,
}

/// What the server names with an error.
#[derive(Clone, Copy, Default)]
struct Named<'a> {
    table: Option<&'a str>,
    column: Option<&'a str>,
    constraint: Option<&'a str>,
}

impl Fault {
    /// Judges an error that a write to a table met.
    pub(super) fn of(error: &tokio_postgres::Error, table: &Table) -> Self {
        match error.as_db_error() {
            // The connection's.
            None => Self::Store,
            Some(error) if is_fatal(error.parsed_severity()) => Self::Store,
            Some(error) => {
                let named = Named { table: error.table(), column: error.column(), constraint: error.constraint() };
                Self::judge(error.code().code(), named, table)
            }
        }
    }

    /// Judges an error by its SQLSTATE, and by what the server names with it.
    fn judge(code: &str, named: Named<'_>, table: &Table) -> Self {
        match (code.get(..2).unwrap_or_default(), code) {
            // A text that the database's encoding lacks, a number or a time out of range.
            ("22", _) => Self::Records,
            // Null in a column that must not be. For one of ours that is required it is the record's fault; another one
            // was added to the table, or made required, by another program. A trigger that raises it names none.
            ("23", "23502") if named.column.is_some() => {
                let ours = table.columns().iter().find(|ours| named.column == Some(ours.name()));
                if ours.is_some_and(|ours| !ours.is_optional()) { Self::Records } else { Self::Store }
            }
            // The same code says that a parted table has no part for a row, and then names a table and no constraint. A
            // trigger that raises it names neither.
            ("23", "23514") if named.constraint.is_none() && named.table.is_some() => Self::Store,
            // A constraint that the table's owner has added refuses this record and not another.
            ("23", _) => Self::Records,
            // A row that is too long for an index.
            ("54", "54000") => Self::Records,
            // Connection, authorization, resources, an operator's act, the system.
            ("08" | "28" | "53" | "57" | "58" | "F0", _) => Self::Store,
            // A transaction that cannot go on or was rolled back, a lock, an object in another state.
            ("25" | "2D" | "40" | "55", _) => Self::Store,
            // A statement that is not known any more, a database, schema, table or column that is another one or gone.
            ("0A" | "26" | "34" | "3D" | "3F" | "42", _) => Self::Store,
            // `RAISE EXCEPTION` and its like: what a trigger says of the rows.
            ("P0", _) => Self::Raised,
            // Damage of the data or an index.
            (_, "XX001" | "XX002") => Self::Store,
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
            Fault::Records | Fault::Raised => SinkError::permanent(self),
            Fault::Store => SinkError::transient(self).outage(),
            Fault::Unknown => SinkError::transient(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Bar, Tabular};

    // Red when an error of the server is taken for one of the record, which costs good records, or the other way round,
    // which stops everything for a bad one.
    #[test]
    fn an_error_is_judged_by_its_sqlstate() {
        let judged = |code, named| Fault::judge(code, named, &Bar::TABLE);
        let none = Named::default();
        let constraint = |name| Named { table: Some("bars"), constraint: Some(name), ..none };
        let column = |name| Named { table: Some("bars"), column: Some(name), ..none };
        for code in ["22003", "22008", "22P05", "23505", "23503", "23P01", "54000"] {
            assert_eq!(judged(code, constraint("any")), Fault::Records, "{code}");
        }
        assert_eq!(judged("23514", constraint("bars_close_check")), Fault::Records);
        assert_eq!(judged("23514", Named { table: Some("bars"), ..none }), Fault::Store, "no part for the row");
        for code in ["23514", "23502"] {
            assert_eq!(judged(code, none), Fault::Records, "{code} raised by a trigger");
        }
        assert_eq!(judged("23502", column("close")), Fault::Records);
        assert_eq!(judged("23502", column("volume")), Fault::Store, "another program made it required");
        assert_eq!(judged("23502", column("theirs")), Fault::Store);
        for code in [
            "08006", "28P01", "28000", "3D000", "25006", "40001", "40P01", "42501", "42703", "42P01", "53100", "53300",
            "55P03", "57014", "57P01", "57P03", "58030", "0A000", "26000", "XX002",
        ] {
            assert_eq!(judged(code, none), Fault::Store, "{code}");
        }
        for code in ["P0001", "P0002", "P0004"] {
            assert_eq!(judged(code, none), Fault::Raised, "{code}");
        }
        for code in ["XX000", "39P01", "T0001", ""] {
            assert_eq!(judged(code, none), Fault::Unknown, "{code}");
        }
    }
}
