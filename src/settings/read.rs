//! From variables to [`Settings`], with every error and not only the first.
//!
//! envy reads one flat struct a prefix. It says of an error neither the whole name of the variable nor what was
//! expected, and stops at the first: so each struct is read again without the variable that failed, and what is told
//! comes from the table of variables.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    num::NonZeroU32,
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use super::{LogFormat, Problem, Settings, SettingsError, UnknownVariable, VARIABLES, duration::parse_duration};
use crate::policy::Overflow;

/// [`Settings`] with what is worth telling about how they came to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Variables that look like settings and are none.
    pub unknown: Vec<UnknownVariable>,
    set: BTreeSet<&'static str>,
}

impl Loaded {
    /// Returns whether the variable's value came from the environment; if not, it is the default.
    pub fn is_set(&self, variable: &str) -> bool {
        self.set.contains(variable)
    }
}

/// The variables without a group of their own.
#[derive(Default, Deserialize)]
#[serde(default)]
struct MdsVars {
    database_url: Option<String>,
    source: Option<String>,
    dlq_path: Option<PathBuf>,
    shutdown_timeout: Option<Seconds>,
    log: Option<String>,
    log_format: Option<LogFormat>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CoordinatorVars {
    capacity: Option<usize>,
    high_watermark: Option<usize>,
    low_watermark: Option<usize>,
    workers: Option<usize>,
    batch_size: Option<usize>,
    flush_interval: Option<Seconds>,
    overflow_strategy: Option<Overflow>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RetryVars {
    initial_backoff_ms: Option<u64>,
    max_backoff_ms: Option<u64>,
    backoff_multiplier: Option<f64>,
    jitter: Option<bool>,
    max_attempts: Option<NonZeroU32>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CircuitVars {
    failure_threshold: Option<u32>,
    half_open_after_sec: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct FeedbackVars {
    enable_feedback: Option<bool>,
    enable_http_broadcast: Option<bool>,
    http_endpoint: Option<String>,
    http_timeout: Option<Seconds>,
    http_max_retries: Option<NonZeroU32>,
    http_backoff: Option<Seconds>,
    http_secret: Option<String>,
    http_ca_file: Option<PathBuf>,
    scale_ok: Option<f64>,
    scale_soft: Option<f64>,
    scale_hard: Option<f64>,
}

impl Settings {
    /// Reads variables like [`from_vars`](Settings::from_vars), and returns with the settings which of them were set
    /// and which variables were unknown.
    ///
    /// # Errors
    /// Names every variable that is wrong, its value and what was expected.
    pub fn load<K, V>(vars: impl IntoIterator<Item = (K, V)>) -> Result<Loaded, SettingsError>
    where
        K: Into<OsString>,
        V: Into<OsString>,
    {
        let mut source = Source::new(vars.into_iter().map(|(name, value)| (name.into(), value.into())));
        let mds: MdsVars = source.read("MDS_");
        let coordinator: CoordinatorVars = source.read("MDS_COORDINATOR_");
        let retry: RetryVars = source.read("MDS_RETRY_");
        let circuit: CircuitVars = source.read("MDS_CB_");
        let feedback: FeedbackVars = source.read("MDS_FB_");

        let mut s = Self::default();
        assign(&mut s.database_url, mds.database_url);
        assign(&mut s.source, mds.source);
        assign(&mut s.shutdown_timeout, mds.shutdown_timeout.map(|Seconds(wait)| wait));
        assign(&mut s.log, mds.log);
        assign(&mut s.log_format, mds.log_format);
        assign(&mut s.coordinator.capacity, coordinator.capacity);
        s.coordinator.high_watermark = coordinator.high_watermark;
        s.coordinator.low_watermark = coordinator.low_watermark;
        assign(&mut s.coordinator.workers, coordinator.workers);
        assign(&mut s.coordinator.batch_size, coordinator.batch_size);
        assign(&mut s.coordinator.flush_interval, coordinator.flush_interval.map(|Seconds(wait)| wait));
        assign(&mut s.coordinator.overflow, coordinator.overflow_strategy);
        assign(&mut s.retry.initial_backoff, retry.initial_backoff_ms.map(Duration::from_millis));
        assign(&mut s.retry.max_backoff, retry.max_backoff_ms.map(Duration::from_millis));
        assign(&mut s.retry.multiplier, retry.backoff_multiplier);
        assign(&mut s.retry.jitter, retry.jitter);
        assign(&mut s.retry.max_attempts, retry.max_attempts);
        assign(&mut s.circuit.failure_threshold, circuit.failure_threshold.map(NonZeroU32::new));
        assign(&mut s.circuit.half_open_after, circuit.half_open_after_sec.map(Duration::from_secs));
        assign(&mut s.dlq_path, mds.dlq_path);
        assign(&mut s.feedback.enabled, feedback.enable_feedback);
        let http = &mut s.feedback.http;
        assign(&mut http.enabled, feedback.enable_http_broadcast);
        assign(&mut http.endpoint, feedback.http_endpoint);
        assign(&mut http.timeout, feedback.http_timeout.map(|Seconds(wait)| wait));
        assign(&mut http.max_attempts, feedback.http_max_retries);
        assign(&mut http.backoff, feedback.http_backoff.map(|Seconds(wait)| wait));
        assign(&mut http.secret, feedback.http_secret);
        http.ca_file = feedback.http_ca_file;
        assign(&mut s.feedback.scales.ok, feedback.scale_ok);
        assign(&mut s.feedback.scales.soft, feedback.scale_soft);
        assign(&mut s.feedback.scales.hard, feedback.scale_hard);

        let Source { known, unknown, problems } = source;
        let problems = s.check(problems, |name| known.get(name).cloned());
        if !problems.is_empty() {
            return Err(SettingsError { problems, unknown });
        }
        Ok(Loaded { settings: s, unknown, set: known.into_keys().collect() })
    }
}

fn assign<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// The variables of one environment, sorted out.
struct Source {
    /// Those that name a setting and are not empty.
    known: BTreeMap<&'static str, String>,
    unknown: Vec<UnknownVariable>,
    problems: Vec<Problem>,
}

impl Source {
    fn new(vars: impl Iterator<Item = (OsString, OsString)>) -> Self {
        let mut source = Self { known: BTreeMap::new(), unknown: Vec::new(), problems: Vec::new() };
        for (name, value) in vars {
            let Some(name) = name.to_str().filter(|name| name.starts_with("MDS_")) else { continue };
            let Some(variable) = VARIABLES.iter().find(|variable| variable.name == name) else {
                source.unknown.push(UnknownVariable { name: name.to_owned(), nearest: nearest(name) });
                continue;
            };
            match value.to_str().map(str::trim) {
                Some("") => {}
                Some(value) => {
                    source.known.insert(variable.name, value.to_owned());
                }
                None => source.problems.push(Problem {
                    variable: variable.name,
                    message: format!("{name} is not valid UTF-8, expected {}", variable.expected()),
                }),
            }
        }
        source.unknown.sort_by(|a, b| a.name.cmp(&b.name));
        source
    }

    /// Reads the struct of one prefix; a variable that fails becomes a problem and leaves its default behind.
    fn read<T: DeserializeOwned + Default>(&mut self, prefix: &str) -> T {
        loop {
            let group = self.known.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
            let field = match envy::prefixed(prefix).from_iter(group) {
                Ok(Traced(Ok(vars))) => return vars,
                Ok(Traced(Err(field))) => field,
                Err(error) => error.to_string(),
            };
            let name = format!("{prefix}{}", field.to_uppercase());
            let variable = VARIABLES.iter().find(|variable| variable.name == name);
            let Some((variable, value)) = variable.and_then(|v| Some((v, self.known.remove(v.name)?))) else {
                // Only a struct above that disagrees with the table gets here; the tests of the table find it.
                unreachable!("the setting {name} is not in the table of variables");
            };
            self.problems.push(variable.problem(&value));
        }
    }
}

/// A value, or the name of the field that could not be read.
struct Traced<T>(Result<T, String>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Traced<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(serde_path_to_error::deserialize(deserializer).map_err(|error| error.path().to_string())))
    }
}

/// A duration as the environment writes it.
struct Seconds(Duration);

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Letters out of place are found by distance, a name whose group was left out by the pairs of letters it shares.
fn nearest(name: &str) -> &'static str {
    let likeness = |known: &str| {
        let (known, name) = (&known["MDS_".len()..], &name["MDS_".len()..]);
        strsim::sorensen_dice(known, name) + strsim::normalized_damerau_levenshtein(known, name)
    };
    VARIABLES
        .iter()
        .map(|variable| variable.name)
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .expect("the table of variables is not empty")
}
