//! How a PostgreSQL database is used.

use std::time::Duration;

use serde::Deserialize;

use super::duration;

/// How a PostgreSQL database is used; where it is the [`database_url`](crate::Settings::database_url) says. Builds
/// without the feature `postgres` ignore it. All fields can be assigned.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PostgresSettings {
    /// Whether rows that are new go by COPY.
    pub copy: PostgresCopy,
    /// How long the server may take for one statement.
    #[serde(deserialize_with = "duration::deserialize")]
    pub statement_timeout: Duration,
    /// The most connections of a database of this process.
    pub connections: usize,
    /// The schema of the tables; empty means the first of the search path.
    pub schema: String,
    /// Whether tables are made, and new optional columns added.
    pub migrate: PostgresMigrate,
}

/// Whether rows that are new go by COPY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PostgresCopy {
    /// They do, once a batch has met no row that was there.
    #[default]
    Auto,
    /// They do not: for servers and poolers that cannot.
    Never,
}

/// Whether tables are made, and new optional columns added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PostgresMigrate {
    /// They are, when a kind is first stored.
    #[default]
    Auto,
    /// They are not: what is missing is an error that has the SQL.
    Never,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self {
            copy: PostgresCopy::default(),
            statement_timeout: Duration::from_secs(20),
            connections: 10,
            schema: String::new(),
            migrate: PostgresMigrate::default(),
        }
    }
}

impl PostgresCopy {
    /// Returns its name in the environment: `auto` or `never`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Never => "never",
        }
    }
}

impl PostgresMigrate {
    /// Returns its name in the environment: `auto` or `never`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Never => "never",
        }
    }
}
