use std::{fmt, io, path::PathBuf};

/// Why a PostgreSQL database cannot be the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PostgresError {
    /// The URL is not one of PostgreSQL's, or has an option that is not known.
    #[error("the database URL {problem}: expected {expected}")]
    Url {
        /// What is wrong with it, without secrets.
        problem: String,
        /// What to write instead.
        expected: String,
    },
    /// A file of certificates that the URL names cannot be used.
    #[error("{option}: cannot read {} as {expected}", path.display())]
    Certificates {
        /// The option of the URL.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The thread of the connections could not be started.
    #[error("cannot start the thread of the connections to PostgreSQL")]
    Thread(#[source] io::Error),
    /// The sink was closed, or its thread has ended.
    #[error("{database}: its connections are closed")]
    Closed {
        /// The database, without secrets.
        database: String,
    },
    /// There is no table of this kind, or it lacks a column that a write would add.
    #[error(
        "{database}: there is no table `{table}` with all its columns: no record of that kind was stored there yet"
    )]
    NoTable {
        /// The database, without secrets.
        database: String,
        /// The table.
        table: &'static str,
    },
    /// A table of that name was made by another program.
    #[error(
        "{database}: the table {table} was not made by this program, whose tables have a comment that begins with \
         `market-data-store 1`: expected no such table, or another schema in MDS_PG_SCHEMA"
    )]
    ForeignTable {
        /// The database, without secrets.
        database: String,
        /// The table with its schema.
        table: String,
    },
    /// A table was made by a newer version of this program.
    #[error(
        "{database}: the table {table} has version {found}, this program knows versions up to {known}: use a newer program"
    )]
    NewerSchema {
        /// The database, without secrets.
        database: String,
        /// The table with its schema.
        table: String,
        /// The table's version.
        found: String,
        /// The newest version known here.
        known: u32,
    },
    /// A table has other columns than its kind.
    #[error("{database}: the table {table} {difference}")]
    OtherShape {
        /// The database, without secrets.
        database: String,
        /// The table with its schema.
        table: String,
        /// What is different, and what was expected.
        difference: String,
    },
    /// A table has to be made, changed or granted, and this role must not do so.
    #[error("{database}: {problem}, and {reason}: run as a role that may: {sql}")]
    NotMigrated {
        /// The database, without secrets.
        database: String,
        /// What is missing.
        problem: String,
        /// Why it is not done: MDS_PG_MIGRATE, or what the server says.
        reason: String,
        /// What does it; `mds schema` prints how tables are made.
        sql: String,
    },
    /// A table cannot be made, as something else has a name that it needs: an index or a view of another program's.
    #[error(
        "{database}: the table {table} cannot be made with its indexes and views: {problem}: expected that name to be \
         free: rename what has it, or name another schema in MDS_PG_SCHEMA"
    )]
    NameTaken {
        /// The database, without secrets.
        database: String,
        /// The table with its schema.
        table: String,
        /// What the server says, with the name.
        problem: String,
    },
    /// The database keeps text in another encoding, which does not hold every character.
    #[error("{database}: the encoding of the database is {found}: expected UTF8")]
    Encoding {
        /// The database, without secrets.
        database: String,
        /// Its encoding.
        found: String,
    },
    /// The search path names no schema that is there.
    #[error("{database}: no schema of the search path is there: expected one, or its name in MDS_PG_SCHEMA")]
    NoSchema {
        /// The database, without secrets.
        database: String,
    },
    /// The server cannot be reached now, or answers otherwise than it should. The next try may succeed.
    #[error("{database}: cannot {step}")]
    Server {
        /// The database, without secrets.
        database: String,
        /// What was being done.
        step: &'static str,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl PostgresError {
    /// Says whether the same database may well be used later.
    pub(super) fn is_outage(&self) -> bool {
        matches!(self, Self::Server { .. })
    }

    /// Says whether the URL is at fault, or a file that it names.
    pub fn is_of_url(&self) -> bool {
        matches!(self, Self::Url { .. } | Self::Certificates { .. })
    }
}

/// What the driver says, on one line with the SQLSTATE.
#[derive(Debug)]
pub(super) struct ServerError(pub(super) tokio_postgres::Error);

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(error) = self.0.as_db_error() else { return self.0.fmt(f) };
        write!(f, "{} (SQLSTATE {})", error.message(), error.code().code())?;
        for more in [error.detail(), error.hint()].into_iter().flatten() {
            write!(f, "; {more}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // What the server says is in the text.
        if self.0.as_db_error().is_some() { None } else { std::error::Error::source(&self.0) }
    }
}
