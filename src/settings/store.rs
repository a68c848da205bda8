//! All that a store can be told.

use std::{collections::BTreeMap, fmt, path::PathBuf, time::Duration};

use serde::Deserialize;

use super::{
    coordinator::{self, CoordinatorOverrides, CoordinatorSettings},
    duration,
    feedback::{FeedbackSettings, list},
    http_server::HttpServerSettings,
    log_format::LogFormat,
    policies::{CircuitFields, RetryFields},
    postgres::PostgresSettings,
    secret::masked,
};
use crate::policy::{BreakerConfig, RetryPolicy};

/// Everything that a store can be told, as the environment tells it. All fields can be assigned, and most set in a row;
/// what is set is checked by [`validate`](Settings::validate) when a store starts.
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
    /// Where records are stored: `sqlite://PATH`, relative to the working directory, or
    /// `postgres://USER:PASSWORD@HOST/DATABASE`.
    pub database_url: String,
    /// The kinds that get a coordinator each, such as `bars` and `quotes`; [`MarketDataStore::start`] and
    /// [`spawn`] go by them, and a [`builder`] ignores them. In a file they are a list, or a text with commas between.
    ///
    /// [`MarketDataStore::start`]: crate::MarketDataStore::start
    /// [`spawn`]: crate::MarketDataStore::spawn
    /// [`builder`]: crate::MarketDataStore::builder
    #[serde(deserialize_with = "list")]
    pub kinds: Vec<String>,
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
    /// How long a write may take before it is cut off and counts as an outage; zero: as long as it takes.
    #[serde(deserialize_with = "duration::deserialize")]
    pub sink_timeout: Duration,
    /// How long a partition may have due work and settle nothing before it is overdue.
    #[serde(deserialize_with = "duration::deserialize")]
    pub sink_slow_after: Duration,
    /// How a PostgreSQL database is used.
    pub postgres: PostgresSettings,
    /// The directory for records that could not be stored.
    pub dlq_path: PathBuf,
    /// How long a shutdown may take to store what was accepted.
    #[serde(deserialize_with = "duration::deserialize")]
    pub shutdown_timeout: Duration,
    /// The filter of `mds`'s log, such as `info` or `info,market_data_store=debug`. The library ignores it.
    pub log: String,
    /// The form of `mds`'s log. The library ignores it.
    pub log_format: LogFormat,
    /// The HTTP service of `mds serve`. The library ignores it.
    pub http: HttpServerSettings,
    /// Feedback to producers.
    pub feedback: FeedbackSettings,
}

impl Default for Settings {
    /// The settings of an empty environment.
    fn default() -> Self {
        Self {
            database_url: "sqlite://market_data.db".to_owned(),
            kinds: vec!["bars".to_owned()],
            source: format!("{}:{}", host(), program()),
            coordinator: CoordinatorSettings::default(),
            coordinators: BTreeMap::new(),
            retry: RetryPolicy::default(),
            circuit: BreakerConfig::default(),
            sink_timeout: Duration::ZERO,
            sink_slow_after: Duration::from_secs(5),
            postgres: PostgresSettings::default(),
            dlq_path: PathBuf::from("dead_letters"),
            shutdown_timeout: Duration::from_secs(30),
            log: "info".to_owned(),
            log_format: LogFormat::default(),
            http: HttpServerSettings::default(),
            feedback: FeedbackSettings::default(),
        }
    }
}

/// Shows no password in the database's URL.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("database_url", &masked(&self.database_url))
            .field("kinds", &self.kinds)
            .field("source", &self.source)
            .field("coordinator", &self.coordinator)
            .field("coordinators", &self.coordinators)
            .field("retry", &self.retry)
            .field("circuit", &self.circuit)
            .field("sink_timeout", &self.sink_timeout)
            .field("sink_slow_after", &self.sink_slow_after)
            .field("postgres", &self.postgres)
            .field("dlq_path", &self.dlq_path)
            .field("shutdown_timeout", &self.shutdown_timeout)
            .field("log", &self.log)
            .field("log_format", &self.log_format)
            .field("http", &self.http)
            .field("feedback", &self.feedback)
            .finish()
    }
}

/// Setters, to be called in a row.
impl Settings {
    /// Sets where records are stored: `sqlite://PATH` or `postgres://USER:PASSWORD@HOST/DATABASE`.
    #[must_use]
    pub fn database_url(mut self, url: impl Into<String>) -> Self {
        self.database_url = url.into();
        self
    }

    /// Sets the kinds that get a coordinator each.
    #[must_use]
    pub fn kinds<K: Into<String>>(mut self, kinds: impl IntoIterator<Item = K>) -> Self {
        self.kinds = kinds.into_iter().map(Into::into).collect();
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

    /// Sets how long a write may take before it is cut off; zero: as long as it takes.
    #[must_use]
    pub fn sink_timeout(mut self, timeout: Duration) -> Self {
        self.sink_timeout = timeout;
        self
    }

    /// Sets how long a partition may settle nothing before it is overdue.
    #[must_use]
    pub fn sink_slow_after(mut self, time: Duration) -> Self {
        self.sink_slow_after = time;
        self
    }

    /// Sets how a PostgreSQL database is used.
    #[must_use]
    pub fn postgres(mut self, settings: PostgresSettings) -> Self {
        self.postgres = settings;
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
    /// Returns the settings of one coordinator: [`coordinator`](Self::coordinator), and over it what
    /// [`coordinators`](Self::coordinators) have for its id.
    pub fn coordinator_settings(&self, id: &str) -> CoordinatorSettings {
        let id = coordinator::in_variables(id);
        let own = self.coordinators.iter().find(|(key, _)| coordinator::in_variables(key) == id);
        own.map_or_else(|| self.coordinator.clone(), |(_, own)| own.over(&self.coordinator))
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
