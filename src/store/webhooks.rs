//! The webhooks of a store: from its settings to a running broadcaster, in builds that have one.

use std::sync::Arc;

use super::StartError;
use crate::settings::Settings;

#[cfg(feature = "webhooks")]
pub(super) use crate::feedback::{BroadcasterHandle, PreparedBroadcast};

/// Checks everything that can be wrong with the webhooks that the settings ask for; none if they ask for none.
#[cfg(feature = "webhooks")]
pub(super) fn prepare<'a>(
    settings: &Settings,
    ids: impl Iterator<Item = &'a Arc<str>>,
) -> Result<Option<PreparedBroadcast>, StartError> {
    use crate::{
        feedback::{BroadcastConfig, BroadcastError},
        policy::RetryPolicy,
    };

    let http = &settings.feedback.http;
    if !http.enabled {
        return Ok(None);
    }
    let mut config = BroadcastConfig::new(http.endpoints.clone());
    // Its own alone: on a shared bus there may be events that came from outside, and would be sent back.
    config.coordinators = ids.map(|id| format!("{}/{id}", settings.source)).collect();
    config.timeout = http.timeout;
    (config.refresh, config.min_interval) = (http.refresh, http.min_interval);
    config.retry = RetryPolicy {
        initial_backoff: http.backoff,
        max_backoff: config.retry.max_backoff.max(http.backoff),
        max_attempts: http.max_attempts,
        ..config.retry
    };
    let secrets = http.secrets.iter().map(|secret| secret.expose().parse());
    config.secrets = secrets.collect::<Result<_, _>>().map_err(BroadcastError::Secret)?;
    config.ca_file = http.ca_file.clone();
    Ok(Some(PreparedBroadcast::new(config)?))
}

/// Says that this build has no webhooks, if the settings ask for them.
#[cfg(not(feature = "webhooks"))]
pub(super) fn prepare<'a>(
    settings: &Settings,
    _: impl Iterator<Item = &'a Arc<str>>,
) -> Result<Option<PreparedBroadcast>, StartError> {
    if settings.feedback.http.enabled { Err(StartError::NoWebhooks) } else { Ok(None) }
}

/// There is none in this build.
#[cfg(not(feature = "webhooks"))]
pub(super) enum PreparedBroadcast {}

/// There is none in this build.
#[cfg(not(feature = "webhooks"))]
pub(super) enum BroadcasterHandle {}

#[cfg(not(feature = "webhooks"))]
impl PreparedBroadcast {
    pub(super) fn start(self, _: &crate::feedback::Feedback, _: bool) -> Result<BroadcasterHandle, StartError> {
        match self {}
    }
}

#[cfg(not(feature = "webhooks"))]
impl BroadcasterHandle {
    pub(super) fn follow(&self) {
        match *self {}
    }

    pub(super) fn died(&self) -> std::future::Ready<()> {
        match *self {}
    }

    pub(super) async fn finish(&self, _: std::time::Duration) {
        match *self {}
    }
}
