//! The settings of a store: from the environment, from a file of the embedder's choice, or set in code.
//!
//! [`Settings::from_env`] reads the environment and reports everything that is wrong at once. [`VARIABLES`] is the one
//! table behind the errors, the warnings about unknown names, `mds config`, and the tests that hold
//! `docs/CONFIGURATION.md`, `config.example.env` and this code together.
//!
//! [`Settings`] implements `Deserialize`, so that any format that serde knows can be a file of settings. Its names are
//! those of the fields. A duration is a number of seconds or a text such as `"250ms"`. What is left out has its default,
//! an unknown name is an error, and values are checked when a store starts.
//!
//! ```
//! use market_data_store::Settings;
//!
//! let settings: Settings = serde_json::from_str(r#"{
//!     "database_url": "sqlite://bars.db",
//!     "coordinator": { "capacity": 50000, "flush_interval": "100ms" },
//!     "coordinators": { "quotes": { "workers": 8 } }
//! }"#)?;
//! assert_eq!(settings.coordinator_settings("quotes").workers, 8);
//! assert_eq!(settings.coordinator_settings("quotes").capacity, 50_000);
//! # Ok::<(), serde_json::Error>(())
//! ```

mod check;
mod coordinator;
mod duration;
pub(crate) mod endpoint;
mod error;
mod feedback;
pub(crate) mod names;
mod policies;
mod read;
mod secret;
#[cfg(feature = "testing")]
pub(crate) mod temporary;
mod variables;

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use serde::Deserialize;

use self::policies::{CircuitFields, RetryFields};

pub(crate) use self::secret::masked;
pub use self::{
    coordinator::CoordinatorOverrides,
    duration::{InvalidDuration, parse_duration},
    error::{Problem, UnknownVariable},
    feedback::{FeedbackSettings, HttpSettings},
    read::Loaded,
    secret::Secret,
    variables::{VARIABLES, Value, Variable},
};
// At the crate's root in the documentation.
#[doc(hidden)]
pub use self::{
    coordinator::CoordinatorSettings,
    endpoint::{Endpoint, InvalidEndpoint},
    error::SettingsError,
};
pub use crate::policy::{BreakerConfig, RetryPolicy, ScaleError, WatermarkError, Watermarks};

/// Everything that a store can be told, as the environment tells it. All fields can be assigned, or set in a row; what is
/// set is checked by [`validate`](Settings::validate) when a store starts.
///
/// ```
/// use market_data_store::{CoordinatorSettings, Settings};
///
/// let settings = Settings::default()
///     .database_url("sqlite://bars.db")
///     .coordinator(CoordinatorSettings::new(50_000).batch_size(1_000));
/// assert!(settings.validate().is_ok());
/// ```
#[derive(Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// Where records are stored: `sqlite://PATH`, relative to the working directory.
    pub database_url: String,
    /// Names this process in events: different for processes that run at once, the same after a restart.
    pub source: String,
    /// Queue and workers of every coordinator.
    pub coordinator: CoordinatorSettings,
    /// What single coordinators have otherwise, by id. An id may stand here as its variables write it, `QUOTES_EU` for
    /// `quotes-eu`; of two keys for one id the first in order counts.
    pub coordinators: BTreeMap<String, CoordinatorOverrides>,
    /// How a failed write is tried again.
    #[serde(with = "RetryFields")]
    pub retry: RetryPolicy,
    /// When the store is left alone for a while.
    #[serde(with = "CircuitFields")]
    pub circuit: BreakerConfig,
    /// The directory for records that could not be stored.
    pub dlq_path: PathBuf,
    /// How long a shutdown may take to store what was accepted.
    #[serde(deserialize_with = "duration::deserialize")]
    pub shutdown_timeout: Duration,
    /// The filter of `mds`'s log, such as `info` or `info,market_data_store=debug`. The library ignores it.
    pub log: String,
    /// The form of `mds`'s log. The library ignores it.
    pub log_format: LogFormat,
    /// Feedback to producers.
    pub feedback: FeedbackSettings,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl LogFormat {
    /// Returns the form's name in the environment: `text` or `json`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

impl Default for Settings {
    /// The settings of an empty environment.
    fn default() -> Self {
        Self {
            database_url: "sqlite://market_data.db".to_owned(),
            source: format!("{}:{}", host(), program()),
            coordinator: CoordinatorSettings::default(),
            coordinators: BTreeMap::new(),
            retry: RetryPolicy::default(),
            circuit: BreakerConfig::default(),
            dlq_path: PathBuf::from("dead_letters"),
            shutdown_timeout: Duration::from_secs(30),
            log: "info".to_owned(),
            log_format: LogFormat::default(),
            feedback: FeedbackSettings::default(),
        }
    }
}

/// Shows no password in the database's URL.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("database_url", &masked(&self.database_url))
            .field("source", &self.source)
            .field("coordinator", &self.coordinator)
            .field("coordinators", &self.coordinators)
            .field("retry", &self.retry)
            .field("circuit", &self.circuit)
            .field("dlq_path", &self.dlq_path)
            .field("shutdown_timeout", &self.shutdown_timeout)
            .field("log", &self.log)
            .field("log_format", &self.log_format)
            .field("feedback", &self.feedback)
            .finish()
    }
}

/// Setters, to be called in a row.
impl Settings {
    /// Sets where records are stored: `sqlite://PATH`.
    #[must_use]
    pub fn database_url(mut self, url: impl Into<String>) -> Self {
        self.database_url = url.into();
        self
    }

    /// Sets the name of this process in events.
    #[must_use]
    pub fn source(mut self, source: impl Into<String>) -> Self {
        self.source = source.into();
        self
    }

    /// Sets queue and workers of every coordinator that has none of its own.
    #[must_use]
    pub fn coordinator(mut self, settings: CoordinatorSettings) -> Self {
        self.coordinator = settings;
        self
    }

    /// Sets how a failed write is tried again.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Sets when the store is left alone for a while.
    #[must_use]
    pub fn circuit(mut self, config: BreakerConfig) -> Self {
        self.circuit = config;
        self
    }

    /// Sets the directory for records that could not be stored.
    #[must_use]
    pub fn dlq_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.dlq_path = path.into();
        self
    }

    /// Sets how long a shutdown may take to store what was accepted.
    #[must_use]
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// Sets what producers are told.
    #[must_use]
    pub fn feedback(mut self, feedback: FeedbackSettings) -> Self {
        self.feedback = feedback;
        self
    }
}

impl Settings {
    /// Reads the variables `MDS_*` of this process. A variable with an empty value counts as absent; an unknown one is
    /// logged as a warning with the nearest known name.
    ///
    /// # Errors
    /// Names every variable that is wrong, its value and what was expected.
    pub fn from_env() -> Result<Self, SettingsError> {
        let loaded = Self::load(std::env::vars_os())?;
        for unknown in &loaded.unknown {
            tracing::warn!("{unknown}");
        }
        Ok(loaded.settings)
    }

    /// Reads variables from an iterator instead of the environment. Those that do not begin with `MDS_` are ignored.
    ///
    /// # Errors
    /// As [`from_env`](Self::from_env).
    pub fn from_vars<K, V>(vars: impl IntoIterator<Item = (K, V)>) -> Result<Self, SettingsError>
    where
        K: Into<std::ffi::OsString>,
        V: Into<std::ffi::OsString>,
    {
        Self::load(vars).map(|loaded| loaded.settings)
    }

    /// Returns the settings of one coordinator: [`coordinator`](Self::coordinator), and over it what
    /// [`coordinators`](Self::coordinators) have for its id.
    pub fn coordinator_settings(&self, id: &str) -> CoordinatorSettings {
        let id = coordinator::in_variables(id);
        let own = self.coordinators.iter().find(|(key, _)| coordinator::in_variables(key) == id);
        own.map_or_else(|| self.coordinator.clone(), |(_, own)| own.over(&self.coordinator))
    }

    /// Returns the names of the variables of single coordinators that none of these ids has: settings that no coordinator
    /// takes up.
    pub fn unused_variables<'a>(&self, ids: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        let ids: Vec<String> = ids.into_iter().map(coordinator::in_variables).collect();
        let unused = self.coordinators.iter().filter(|(key, _)| !ids.contains(&coordinator::in_variables(key)));
        unused.flat_map(|(key, own)| variables::of_coordinator(key, own)).map(|(name, _)| name).collect()
    }

    /// Returns what is allowed and hardly meant, a line each: to be logged or shown at start.
    pub fn warnings(&self) -> Vec<String> {
        let http = &self.feedback.http;
        let mut warnings = Vec::new();
        if !http.endpoints.is_empty() && !http.enabled {
            let (url, switch) = (variables::HTTP_ENDPOINT, variables::ENABLE_HTTP);
            warnings.push(format!("{url} is set, but {switch} is false: level changes are sent to no URL"));
        }
        warnings
    }

    /// Returns the source of a process of the program `mds` that runs `command`, such as `db1:mds-ingest`.
    pub fn source_of_command(command: &str) -> String {
        format!("{}:mds-{command}", host())
    }
}

fn host() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

fn program() -> String {
    std::env::args_os()
        .next()
        .and_then(|path| Some(std::path::Path::new(&path).file_name()?.to_string_lossy().into_owned()))
        .map(|name| name.strip_suffix(".exe").unwrap_or(&name).to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "program".to_owned())
}
