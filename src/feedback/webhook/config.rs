use std::{num::NonZeroU32, path::PathBuf, time::Duration};

use super::signature::{InvalidSecret, WebhookSecret};
use crate::{
    policy::RetryPolicy,
    settings::endpoint::{Endpoint, InvalidEndpoint},
};

/// No wait is longer, whatever was configured: with it no arithmetic of time is near its end.
pub(super) const LONGEST: Duration = Duration::from_secs(86_400);

/// What an [`HttpBroadcaster`](super::HttpBroadcaster) sends, where to, and how often it tries. All fields can be
/// assigned; a time longer than a day counts as a day.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BroadcastConfig {
    /// Where events are sent. A URL that is there twice counts once.
    pub endpoints: Vec<Endpoint>,
    /// Whose events: names as [`Subscribe::only`](crate::Subscribe::only) takes them; empty means every coordinator on
    /// the bus. On a bus that also carries events from outside the process, name your own: what came from a receiver
    /// would be sent back.
    pub coordinators: Vec<String>,
    /// How long one attempt may take, from the connection to the end of the answer.
    pub timeout: Duration,
    /// How long to wait between attempts. After `max_attempts` failures in a row the URL is left alone for
    /// [`probe_after`](Self::probe_after).
    pub retry: RetryPolicy,
    /// How long a URL that failed too often is left alone before each further attempt.
    pub probe_after: Duration,
    /// How often a URL is heard from at least: the present state of each coordinator is sent again so often. A receiver
    /// that hears nothing for three times as long does not go by the last level any more. 0: nothing is sent again.
    pub refresh: Duration,
    /// How long after the last delivery of a coordinator a level that is no higher is sent at the earliest. A higher
    /// one is sent at once.
    pub min_interval: Duration,
    /// What requests are signed with; several while one replaces another; none means unsigned.
    pub secrets: Vec<WebhookSecret>,
    /// A file of certificates in PEM which alone may vouch for an `https` URL; none means those that browsers trust.
    pub ca_file: Option<PathBuf>,
}

impl BroadcastConfig {
    /// Makes the configuration that the environment gives by default, for these URLs.
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        let longest = Duration::from_secs(10);
        Self {
            endpoints: endpoints.into_iter().collect(),
            coordinators: Vec::new(),
            timeout: Duration::from_millis(2_500),
            retry: RetryPolicy {
                initial_backoff: Duration::from_millis(500),
                max_backoff: longest,
                multiplier: 2.0,
                jitter: true,
                max_attempts: const { NonZeroU32::new(3).unwrap() },
            },
            probe_after: longest,
            refresh: Duration::from_secs(30),
            min_interval: Duration::from_millis(250),
            secrets: Vec::new(),
            ca_file: None,
        }
    }
}

/// Why an [`HttpBroadcaster`](super::HttpBroadcaster) cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BroadcastError {
    /// There is no URL.
    #[error("there is no URL to send events to")]
    NoEndpoint,
    /// A URL cannot be asked for.
    #[error("a URL to send events to is wrong: {0}")]
    Endpoint(#[from] InvalidEndpoint),
    /// A secret is none.
    #[error("a secret of webhooks is wrong: {0}")]
    Secret(#[from] InvalidSecret),
    /// The file of certificates cannot be used.
    #[error("MDS_FB_HTTP_CA_FILE is {path:?}, expected a file of certificates in PEM: {problem}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The operating system refused a thread.
    #[error("cannot start a thread for webhooks")]
    Thread(#[source] std::io::Error),
}
