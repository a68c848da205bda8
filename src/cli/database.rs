//! `--database`, which means the same to every command that opens a database.

use std::ffi::OsString;

use market_data_store::{
    StartError,
    settings::{Loaded, Problem, Settings, SettingsError},
    text::ErrorChain,
};

const VARIABLE: &str = "MDS_DATABASE_URL";
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
        let Some(url) = option.and_then(|option| option.url.as_ref()) else {
            return Settings::load(std::env::vars_os());
        };
        let others = std::env::vars_os().filter(|(name, _)| name != VARIABLE);
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

    /// Says why a store could not start, and names the option if the database that it names is at fault.
    pub fn blame(&self, error: &StartError) -> String {
        let at_fault = matches!(error, StartError::Sqlite(_) | StartError::UnknownStore { .. });
        match self.url.is_some() && at_fault {
            true => format!("{OPTION}: {}", ErrorChain(error)),
            false => ErrorChain(error).to_string(),
        }
    }
}
