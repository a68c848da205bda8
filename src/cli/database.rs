//! `--database`, which means the same to every command that opens a database.

use std::{ffi::OsString, time::Duration};

use market_data_store::{
    DatabaseError, StartError,
    settings::{Loaded, Problem, Settings, SettingsError},
    sink::SqliteOpenError,
    text::ErrorChain,
};

use super::{exit::Exit, output::complain};

const VARIABLE: &str = "MDS_DATABASE_URL";
const FILE_VARIABLE: &str = "MDS_DATABASE_URL_FILE";
const SINK_TIMEOUT: &str = "MDS_SINK_TIMEOUT";
/// What that is in `mds`, unless it is set. The library leaves it to the sink.
const LONGEST_WRITE: Duration = Duration::from_secs(30);
const OPTION: &str = "--database";

/// Where records are stored, if the command line says so.
#[derive(clap::Args)]
pub struct Database {
    /// The database, such as sqlite://bars.db, instead of that of MDS_DATABASE_URL.
    #[arg(id = "database", long = "database", value_name = "URL")]
    url: Option<OsString>,
}

impl Database {
    /// Reads the environment with the option in place of the variable.
    ///
    /// # Errors
    /// As [`Settings::load`]; what is wrong with the URL names the option.
    pub fn load(option: Option<&Self>) -> Result<Loaded, SettingsError> {
        let mut loaded = Self::read(option)?;
        if !loaded.is_set(SINK_TIMEOUT) {
            loaded.settings.sink_timeout = LONGEST_WRITE;
        }
        Ok(loaded)
    }

    fn read(option: Option<&Self>) -> Result<Loaded, SettingsError> {
        let Some(url) = option.and_then(|option| option.url.as_ref()) else {
            return Settings::load(std::env::vars_os());
        };
        let others = std::env::vars_os().filter(|(name, _)| name != VARIABLE && name != FILE_VARIABLE);
        Settings::load(others.chain([(VARIABLE.into(), url.clone())])).map_err(|mut error| {
            for problem in &mut error.problems {
                problem.message = problem.message.replacen(VARIABLE, OPTION, 1);
            }
            error
        })
    }

    /// Returns whether a problem of the settings is one of the option: then the command line is wrong.
    pub fn caused(&self, problem: &Problem) -> bool {
        self.url.is_some() && problem.variable == VARIABLE
    }

    /// Says why a store could not start, and returns what that means for the process. If the database is at fault, what
    /// names it is named too.
    pub fn failed(&self, error: &StartError) -> Exit {
        let is_given = self.url.is_some();
        let named = match error {
            StartError::Sqlite(SqliteOpenError::Url { .. } | SqliteOpenError::InMemory { .. }) if !is_given => VARIABLE,
            StartError::Sqlite(_) if is_given => OPTION,
            #[cfg(feature = "postgres")]
            StartError::Postgres(error) if error.is_of_url() && !is_given => VARIABLE,
            #[cfg(feature = "postgres")]
            StartError::Postgres(_) if is_given => OPTION,
            _ => {
                complain(format_args!("error: {}", ErrorChain(error)));
                return Exit::of_start(error);
            }
        };
        complain(format_args!("error: {named}: {}", ErrorChain(error)));
        match Exit::of_start(error) {
            // A wrong URL of the command line.
            Exit::Configuration if is_given => Exit::Usage,
            exit => exit,
        }
    }

    /// Says why a database cannot be read, and returns what that means for the process.
    pub fn unreadable(&self, error: DatabaseError) -> Exit {
        let error = match error {
            DatabaseError::Sqlite(error) => StartError::Sqlite(error),
            #[cfg(feature = "postgres")]
            DatabaseError::Postgres(error) => StartError::Postgres(error),
            error => {
                complain(format_args!("error: {}", ErrorChain(&error)));
                return Exit::Unavailable;
            }
        };
        self.failed(&error)
    }
}
