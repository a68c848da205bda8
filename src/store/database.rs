//! The database of the settings.

use super::StartError;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::sink::DatabaseReader;
use crate::{settings::Settings, sink::Database};

impl Database {
    /// Takes the database of [`Settings::database_url`], used as [`Settings::postgres`] says where it is one of
    /// PostgreSQL.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn of_settings(settings: &Settings) -> Result<Self, StartError> {
        let url = &*settings.database_url;
        #[cfg(feature = "postgres")]
        let connected = Self::with_options(url, options(settings));
        #[cfg(not(feature = "postgres"))]
        let connected = Self::connect(url);
        connected.map_err(|error| StartError::of_database(error, url))
    }
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl DatabaseReader {
    /// Opens the database of [`Settings::database_url`], in the schema of [`Settings::postgres`] where it is one of
    /// PostgreSQL.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn of_settings(settings: &Settings) -> Result<Self, StartError> {
        let url = &*settings.database_url;
        #[cfg(feature = "postgres")]
        let opened = Self::with_options(url, options(settings));
        #[cfg(not(feature = "postgres"))]
        let opened = Self::open(url);
        opened.map_err(|error| StartError::of_database(error, url))
    }
}

#[cfg(feature = "postgres")]
fn options(settings: &Settings) -> crate::sink::PostgresOptions {
    use crate::settings::{PostgresCopy, PostgresMigrate};

    let postgres = &settings.postgres;
    crate::sink::PostgresOptions {
        copies: postgres.copy == PostgresCopy::Auto,
        statement_timeout: postgres.statement_timeout,
        connections: postgres.connections,
        schema: (!postgres.schema.is_empty()).then(|| postgres.schema.clone()),
        migrates: postgres.migrate == PostgresMigrate::Auto,
    }
}
