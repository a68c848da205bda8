//! How the settings that live in `policy` are read from a file: with the names of their fields, and their defaults.

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Deserializer};

use super::duration;
use crate::policy::{BreakerConfig, RetryPolicy, Scales};

#[derive(Deserialize)]
#[serde(remote = "RetryPolicy", default, deny_unknown_fields, bound = "")]
pub(super) struct RetryFields {
    #[serde(deserialize_with = "duration::deserialize")]
    initial_backoff: Duration,
    #[serde(deserialize_with = "duration::deserialize")]
    max_backoff: Duration,
    multiplier: f64,
    jitter: bool,
    max_attempts: NonZeroU32,
}

#[derive(Deserialize)]
#[serde(remote = "BreakerConfig", default, deny_unknown_fields, bound = "")]
pub(super) struct CircuitFields {
    #[serde(deserialize_with = "threshold")]
    failure_threshold: Option<NonZeroU32>,
    #[serde(deserialize_with = "duration::deserialize")]
    half_open_after: Duration,
}

/// Reads 0 as none, as the variable is read.
fn threshold<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<NonZeroU32>, D::Error> {
    Ok(Option::<u32>::deserialize(deserializer)?.and_then(NonZeroU32::new))
}

#[derive(Deserialize)]
#[serde(remote = "Scales", default, deny_unknown_fields, bound = "")]
pub(super) struct ScalesFields {
    ok: f64,
    soft: f64,
    hard: f64,
}

/// The variables of the group `MDS_RETRY_*`.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Retry(#[serde(with = "RetryFields")] pub(super) RetryPolicy);

/// The variables of the group `MDS_CB_*`.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Circuit(#[serde(with = "CircuitFields")] pub(super) BreakerConfig);

/// The variables of the group `MDS_FB_SCALE_*`.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct ProducerScales(#[serde(with = "ScalesFields")] pub(super) Scales);
