//! The environment contract: every variable once, with its unit, default and range.
//!
//! [`Settings::from_env`] reads the environment and reports everything that is wrong at once. [`VARIABLES`] is the one
//! table behind the errors, the warnings about unknown names, `mds config`, and the tests that hold `README.md`,
//! `config.example.env` and this code together.

mod duration;
pub(crate) mod endpoint;
mod read;
mod variables;

use std::{fmt, num::NonZeroU32, path::PathBuf, time::Duration};

use serde::Deserialize;

use self::endpoint::{Endpoint, InvalidEndpoint};
use crate::policy::{BreakerConfig, Overflow, RetryPolicy, Scales, WatermarkError, Watermarks};

pub use self::{
    duration::{InvalidDuration, parse_duration},
    read::Loaded,
    variables::{VARIABLES, Variable},
};

/// Everything that a store can be told, as the environment tells it. All fields can be assigned; what is assigned is
/// checked by [`validate`](Settings::validate) when a store starts.
///
/// ```
/// use market_data_store::Settings;
///
/// let mut settings = Settings::default();
/// settings.database_url = "sqlite://bars.db".to_owned();
/// settings.coordinator.high_watermark = Some(9_000);
/// assert!(settings.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Settings {
    /// Where records are stored: `sqlite://PATH`, relative to the working directory.
    pub database_url: String,
    /// Names this process in events: different for processes that run at once, the same after a restart.
    pub source: String,
    /// Queue and workers.
    pub coordinator: CoordinatorSettings,
    /// How a failed write is tried again.
    pub retry: RetryPolicy,
    /// When the store is left alone for a while.
    pub circuit: BreakerConfig,
    /// The directory for records that could not be stored.
    pub dlq_path: PathBuf,
    /// How long a shutdown may take to store what was accepted.
    pub shutdown_timeout: Duration,
    /// The filter of `mds`'s log, such as `info` or `info,market_data_store=debug`. The library ignores it.
    pub log: String,
    /// The form of `mds`'s log. The library ignores it.
    pub log_format: LogFormat,
    /// Feedback to producers.
    pub feedback: FeedbackSettings,
}

/// How large a coordinator's queue is and how it is emptied. Every field can be assigned, or set in a row; zero and
/// other values out of range are refused, by the names of their variables, when a store starts.
///
/// ```
/// use market_data_store::{CoordinatorSettings, Overflow};
///
/// let settings = CoordinatorSettings::new(100).watermarks(50, 80).workers(1).batch_size(10).overflow(Overflow::Error);
/// assert_eq!((settings.low(), settings.high()), (50, 80));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CoordinatorSettings {
    /// The most records that wait in the queue; at least 1.
    pub capacity: usize,
    /// The queue size, in records, from which the level is hard; none means 80 % of the capacity.
    pub high_watermark: Option<usize>,
    /// The queue size, in records, down to which the level returns to ok; none means 50 % of the capacity.
    pub low_watermark: Option<usize>,
    /// How many workers write at once, from 1 to 1,024; records of one partition go to one worker.
    pub workers: usize,
    /// The most records that a worker writes together; at least 1.
    pub batch_size: usize,
    /// How long a record waits for its batch to fill.
    pub flush_interval: Duration,
    /// What happens to a record that finds the queue full.
    pub overflow: Overflow,
}

/// What producers are told.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FeedbackSettings {
    /// Whether level changes are published to subscribers. When not, levels stay in health and metrics.
    pub enabled: bool,
    /// By what producers that follow the level multiply their rate: for
    /// [`RateBuilder::scales`](crate::RateBuilder::scales).
    pub scales: Scales,
    /// Webhooks.
    pub http: HttpSettings,
}

/// Level changes as webhooks. Debug output shows of a URL scheme, host and port, and of a secret nothing.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct HttpSettings {
    /// Whether level changes are sent to URLs.
    pub enabled: bool,
    /// The URLs, with commas between. A comma in a URL is written `%2C`.
    pub endpoint: String,
    /// How long one attempt may take, with the answer.
    pub timeout: Duration,
    /// After so many attempts that failed in a row a URL is left alone for a while.
    pub max_attempts: NonZeroU32,
    /// The wait after the first failure; it doubles from one to the next.
    pub backoff: Duration,
    /// What requests are signed with: `whsec_` and base64; several with commas while one replaces another; empty means
    /// unsigned.
    pub secret: String,
    /// A file of certificates in PEM which alone may vouch for an `https` URL; none means those that browsers trust.
    pub ca_file: Option<PathBuf>,
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

impl Default for Settings {
    /// The settings of an empty environment.
    fn default() -> Self {
        Self {
            database_url: "sqlite://market_data.db".to_owned(),
            source: format!("{}:{}", host(), program()),
            coordinator: CoordinatorSettings::default(),
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

impl Default for CoordinatorSettings {
    fn default() -> Self {
        Self {
            capacity: 10_000,
            high_watermark: None,
            low_watermark: None,
            workers: 4,
            batch_size: 500,
            flush_interval: Duration::from_millis(250),
            overflow: Overflow::default(),
        }
    }
}

impl Default for FeedbackSettings {
    fn default() -> Self {
        Self { enabled: true, scales: Scales::default(), http: HttpSettings::default() }
    }
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            endpoint: String::new(),
            timeout: Duration::from_millis(2_500),
            max_attempts: const { NonZeroU32::new(3).unwrap() },
            backoff: Duration::from_millis(500),
            secret: String::new(),
            ca_file: None,
        }
    }
}

impl fmt::Debug for HttpSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSettings")
            .field("enabled", &self.enabled)
            .field("endpoint", &shown_endpoints(&self.endpoint))
            .field("timeout", &self.timeout)
            .field("max_attempts", &self.max_attempts)
            .field("backoff", &self.backoff)
            .field("secret", &hidden(&self.secret))
            .field("ca_file", &self.ca_file)
            .finish()
    }
}

impl HttpSettings {
    /// Returns the URLs.
    ///
    /// # Errors
    /// When one is wrong.
    pub fn endpoints(&self) -> Result<Vec<Endpoint>, InvalidEndpoint> {
        listed(&self.endpoint).map(str::parse).collect()
    }

    /// Returns the secrets as they were written.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        listed(&self.secret)
    }
}

/// What stands between the commas of a list.
fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// A list of URLs as it may be shown: scheme, host and port, or what is wrong.
fn shown_endpoints(text: &str) -> String {
    let shown = |part: &str| match part.parse::<Endpoint>() {
        Ok(endpoint) => endpoint.to_string(),
        Err(problem) => format!("<{problem}>"),
    };
    listed(text).map(shown).collect::<Vec<_>>().join(",")
}

/// A list of secrets as it may be shown.
fn hidden(text: &str) -> String {
    listed(text).map(|_| "***").collect::<Vec<_>>().join(",")
}

impl CoordinatorSettings {
    /// Makes the default settings with a queue for so many records; watermarks follow the capacity unless they are set.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    /// Sets both watermarks, in records: the level is hard from `high`, and returns to ok at `low`.
    #[must_use]
    pub fn watermarks(mut self, low: usize, high: usize) -> Self {
        (self.low_watermark, self.high_watermark) = (Some(low), Some(high));
        self
    }

    /// Sets how many workers write at once.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Sets the most records that a worker writes together.
    #[must_use]
    pub fn batch_size(mut self, records: usize) -> Self {
        self.batch_size = records;
        self
    }

    /// Sets how long a record waits for its batch to fill.
    #[must_use]
    pub fn flush_interval(mut self, interval: Duration) -> Self {
        self.flush_interval = interval;
        self
    }

    /// Sets what happens to a record that finds the queue full.
    #[must_use]
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = overflow;
        self
    }

    /// Returns the high watermark in records, as set or by default.
    pub fn high(&self) -> usize {
        self.high_watermark.unwrap_or_else(|| self.default_watermarks().high())
    }

    /// Returns the low watermark in records, as set or by default.
    pub fn low(&self) -> usize {
        self.low_watermark.unwrap_or_else(|| self.default_watermarks().low())
    }

    fn default_watermarks(&self) -> Watermarks {
        // No watermarks fit a capacity of 0, which is refused by itself.
        Watermarks::for_capacity(self.capacity.max(1))
    }

    /// Returns both watermarks, checked.
    ///
    /// # Errors
    /// Unless `low < high <= capacity`.
    pub fn checked_watermarks(&self) -> Result<Watermarks, WatermarkError> {
        Watermarks::new(self.low(), self.high(), self.capacity)
    }
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

    /// Checks every value against its range, and values that depend on one another.
    ///
    /// # Errors
    /// Names, for every value that is wrong, the variable it would come from, the value and what was expected.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let problems = self.check(Vec::new(), |_| None);
        if problems.is_empty() { Ok(()) } else { Err(SettingsError { problems, unknown: Vec::new() }) }
    }

    /// Returns the source of a process of the program `mds` that runs `command`, such as `db1:mds-ingest`.
    pub fn source_of_command(command: &str) -> String {
        format!("{}:mds-{command}", host())
    }

    /// Adds everything that is wrong with the values to what is known to be wrong. `text` returns a value as the
    /// environment wrote it, if it did.
    fn check(&self, mut problems: Vec<Problem>, text: impl Fn(&str) -> Option<String>) -> Vec<Problem> {
        for variable in VARIABLES.iter().filter(|variable| !variable.accepts(self)) {
            problems.push(variable.problem(&text(variable.name).unwrap_or_else(|| variable.value(self))));
        }
        // What is wrong by itself says nothing about what depends on it.
        let wrong: Vec<&str> = problems.iter().map(|problem| problem.variable).collect();
        let right = |names: &[&str]| !names.iter().any(|name| wrong.contains(name));
        let by_default = |set: bool| if set { "" } else { " by default" };
        let coordinator = &self.coordinator;
        let (low, high, capacity) = (coordinator.low(), coordinator.high(), coordinator.capacity);
        let low_default = by_default(coordinator.low_watermark.is_some());
        let high_default = by_default(coordinator.high_watermark.is_some());
        let (initial, max) = (self.retry.initial_backoff, self.retry.max_backoff);

        let mut found = Vec::new();
        let mut problem = |variable, message| found.push(Problem { variable, message });
        // Both rules of `Watermarks::new`, which cannot say which variable it was.
        if low >= high && right(&[LOW_WATERMARK, HIGH_WATERMARK, CAPACITY]) {
            let limit = format!("less than {HIGH_WATERMARK}, which is {high}{high_default}");
            problem(LOW_WATERMARK, format!("{LOW_WATERMARK} is {low}{low_default}, expected {limit}"));
        }
        if high > capacity && right(&[HIGH_WATERMARK, CAPACITY]) {
            let limit = format!("at most {CAPACITY}, which is {capacity}");
            problem(HIGH_WATERMARK, format!("{HIGH_WATERMARK} is {high}{high_default}, expected {limit}"));
        }
        if max < initial && right(&[INITIAL_BACKOFF, MAX_BACKOFF]) {
            let limit = format!("at least {INITIAL_BACKOFF}, which is {}", initial.as_millis());
            problem(MAX_BACKOFF, format!("{MAX_BACKOFF} is {}, expected {limit}", max.as_millis()));
        }
        let http = &self.feedback.http;
        if http.enabled && !self.feedback.enabled && right(&[ENABLE_FEEDBACK, ENABLE_HTTP]) {
            problem(ENABLE_HTTP, format!("{ENABLE_HTTP} is true, expected false, since {ENABLE_FEEDBACK} is false"));
        }
        if http.enabled && listed(&http.endpoint).next().is_none() && right(&[ENABLE_HTTP, HTTP_ENDPOINT]) {
            let why = format!("expected a URL, since {ENABLE_HTTP} is true");
            problem(HTTP_ENDPOINT, format!("{HTTP_ENDPOINT} is not set, {why}"));
        }
        problems.append(&mut found);
        problems.sort_by_key(|problem| VARIABLES.iter().position(|variable| variable.name == problem.variable));
        problems
    }
}

const CAPACITY: &str = "MDS_COORDINATOR_CAPACITY";
const HIGH_WATERMARK: &str = "MDS_COORDINATOR_HIGH_WATERMARK";
const LOW_WATERMARK: &str = "MDS_COORDINATOR_LOW_WATERMARK";
const INITIAL_BACKOFF: &str = "MDS_RETRY_INITIAL_BACKOFF_MS";
const MAX_BACKOFF: &str = "MDS_RETRY_MAX_BACKOFF_MS";
const ENABLE_FEEDBACK: &str = "MDS_FB_ENABLE_FEEDBACK";
const ENABLE_HTTP: &str = "MDS_FB_ENABLE_HTTP_BROADCAST";
const HTTP_ENDPOINT: &str = "MDS_FB_HTTP_ENDPOINT";

/// Everything that is wrong with the settings, one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// What is wrong; never empty.
    pub problems: Vec<Problem>,
    /// Variables that look like settings and are none: perhaps the cause.
    pub unknown: Vec<UnknownVariable>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for SettingsError {}

/// One value that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// The variable that holds it.
    pub variable: &'static str,
    /// Names the variable, the value, secrets masked, and what was expected.
    pub message: String,
}

/// A variable that begins with `MDS_` and is no setting. It is ignored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown variable {name} is ignored, the nearest known name is {nearest}")]
pub struct UnknownVariable {
    /// The variable as the environment has it.
    pub name: String,
    /// The known name that is most like it.
    pub nearest: &'static str,
}

/// Returns a URL as it may be shown: with `***` for the password in it.
pub fn masked(url: &str) -> String {
    let mut shown = match (url.split_once("://"), url.rfind('@')) {
        // Everything behind `sqlite://` is a path and may hold any character.
        (Some(("sqlite", _)), _) | (_, None) => url.to_owned(),
        (scheme, Some(at)) => {
            let start = scheme.map_or(0, |(scheme, _)| scheme.len() + "://".len()).min(at);
            match url[start..at].find(':') {
                Some(colon) => format!("{}:***{}", &url[..start + colon], &url[at..]),
                None => url.to_owned(),
            }
        }
    };
    for key in ["password=", "passwd=", "pwd=", "secret=", "token="] {
        let mut from = 0;
        while let Some(found) = shown[from..].to_ascii_lowercase().find(key) {
            let start = from + found + key.len();
            let end = shown[start..].find(['&', ' ']).map_or(shown.len(), |len| start + len);
            shown.replace_range(start..end, "***");
            from = start;
        }
    }
    shown
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_url_is_never_shown() {
        for (url, shown) in [
            ("postgres://ann:pa55@db:5432/bars", "postgres://ann:***@db:5432/bars"),
            ("postgres://ann:pa55/w@rd?#@db/bars", "postgres://ann:***@db/bars"),
            ("postgres://ann@db/bars", "postgres://ann@db/bars"),
            ("postgres://db/bars?user=ann&password=pa55&x=1", "postgres://db/bars?user=ann&password=***&x=1"),
            ("host=db Password=pa55 user=ann", "host=db Password=*** user=ann"),
            ("ann:pa55@db", "ann:***@db"),
            ("a@b://c", "a@b://c"),
            ("sqlite://runs/a:b@home.db", "sqlite://runs/a:b@home.db"),
            ("", ""),
        ] {
            assert_eq!(masked(url), shown);
        }
    }
}
