//! What producers are told.

use std::{fmt::Display, num::NonZeroU32, path::PathBuf, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, de};

use super::{duration, endpoint::Endpoint, policies::ScalesFields, secret::Secret};
use crate::policy::Scales;

/// What producers are told. All fields can be assigned, or set in a row.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct FeedbackSettings {
    /// Whether level changes are published to subscribers. When not, levels stay in health and metrics.
    pub enabled: bool,
    /// By what producers that follow the level multiply their rate: for
    /// [`RateBuilder::scales`](crate::RateBuilder::scales).
    #[serde(with = "ScalesFields")]
    pub scales: Scales,
    /// Webhooks.
    pub http: HttpSettings,
}

/// Level changes as webhooks. Of a URL only scheme, host and port ever show, and of a secret nothing.
///
/// ```
/// use market_data_store::{Endpoint, settings::HttpSettings};
///
/// let url: Endpoint = "https://hooks.example/T0KEN".parse()?;
/// let http = HttpSettings::to([url]).secrets(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
/// assert!(http.enabled && !format!("{http:?}").contains("T0KEN"));
/// # Ok::<(), market_data_store::InvalidEndpoint>(())
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HttpSettings {
    /// Whether level changes are sent to URLs.
    pub enabled: bool,
    /// The URLs. In a file they are a list, or a text with commas between; a comma in a URL is written `%2C` there.
    #[serde(deserialize_with = "list")]
    pub endpoints: Vec<Endpoint>,
    /// How long one attempt may take, with the answer.
    #[serde(deserialize_with = "duration::deserialize")]
    pub timeout: Duration,
    /// After so many attempts that failed in a row a URL is left alone for a while.
    pub max_attempts: NonZeroU32,
    /// The wait after the first failure; it doubles from one to the next.
    #[serde(deserialize_with = "duration::deserialize")]
    pub backoff: Duration,
    /// How often a URL is heard from at least: the present state is sent again so often; 0: never.
    #[serde(deserialize_with = "duration::deserialize")]
    pub refresh: Duration,
    /// How long after the last delivery a level that is no higher is sent at the earliest.
    #[serde(deserialize_with = "duration::deserialize")]
    pub min_interval: Duration,
    /// What requests are signed with: `whsec_` and base64; several while one replaces another; none means unsigned. In
    /// a file they are a list, or a text with commas between.
    #[serde(deserialize_with = "list")]
    pub secrets: Vec<Secret>,
    /// A file of certificates in PEM which alone may vouch for an `https` URL; none means those that browsers trust.
    pub ca_file: Option<PathBuf>,
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
            endpoints: Vec::new(),
            timeout: Duration::from_millis(2_500),
            max_attempts: const { NonZeroU32::new(3).unwrap() },
            backoff: Duration::from_millis(500),
            refresh: Duration::from_secs(30),
            min_interval: Duration::from_millis(250),
            secrets: Vec::new(),
            ca_file: None,
        }
    }
}

impl FeedbackSettings {
    /// Sets whether level changes are published to subscribers.
    #[must_use]
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// Sets by what producers that follow the level multiply their rate.
    #[must_use]
    pub fn scales(mut self, scales: Scales) -> Self {
        self.scales = scales;
        self
    }

    /// Sets the webhooks: [`HttpSettings::to`] makes them.
    #[must_use]
    pub fn http(mut self, http: HttpSettings) -> Self {
        self.http = http;
        self
    }
}

impl HttpSettings {
    /// Makes settings that send level changes to these URLs.
    pub fn to(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        Self { enabled: true, endpoints: endpoints.into_iter().collect(), ..Self::default() }
    }

    /// Sets how long one attempt may take, with the answer.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets after how many attempts that failed in a row a URL is left alone for a while.
    #[must_use]
    pub fn max_attempts(mut self, attempts: NonZeroU32) -> Self {
        self.max_attempts = attempts;
        self
    }

    /// Sets the wait after the first failure.
    #[must_use]
    pub fn backoff(mut self, backoff: Duration) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets how often a URL is heard from at least; 0: only when a level changes.
    #[must_use]
    pub fn refresh(mut self, every: Duration) -> Self {
        self.refresh = every;
        self
    }

    /// Sets how long after the last delivery a level that is no higher is sent at the earliest.
    #[must_use]
    pub fn min_interval(mut self, interval: Duration) -> Self {
        self.min_interval = interval;
        self
    }

    /// Sets what requests are signed with: the secret, and while it is being replaced, the other one too.
    #[must_use]
    pub fn secrets<S: Into<Secret>>(mut self, secrets: impl IntoIterator<Item = S>) -> Self {
        self.secrets = secrets.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the file of certificates in PEM which alone may vouch for an `https` URL.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.ca_file = Some(path.into());
        self
    }
}

/// Returns what stands between the commas of a list.
pub(super) fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// Reads a list, or a text with commas between, as a variable has it.
pub(super) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum List {
        Text(String),
        Texts(Vec<String>),
    }

    // Which error there was is left out: it would show what it found.
    let list = List::deserialize(deserializer).map_err(|_| de::Error::custom("expected a list of texts"))?;
    let parsed: Result<Vec<T>, T::Err> = match &list {
        List::Text(text) => listed(text).map(str::parse).collect(),
        List::Texts(texts) => texts.iter().map(|text| text.trim().parse()).collect(),
    };
    parsed.map_err(de::Error::custom)
}
