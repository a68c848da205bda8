use std::{fmt, time::Duration};

use crate::{policy::buffer::Refused, record::Invalid};

/// Why a record was not accepted. Whoever submitted it has it back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No credit was free, or none became free in time.
    #[error("the queue is full")]
    Full,
    /// No credit was free, or none became free in time, and the circuit is open: the store is away.
    #[error("the queue is full and the store is away")]
    CircuitOpen,
    /// The coordinator shuts down.
    #[error("the coordinator is draining and takes no more records")]
    Draining,
    /// The coordinator has come to its end.
    #[error("the coordinator is closed")]
    Closed,
    /// The record itself is wrong.
    #[error("invalid record: {0}")]
    Invalid(#[from] Invalid),
}

impl Refusal {
    /// Returns the reason's name in logs and metrics: `full`, `circuit_open`, `draining`, `closed` or `invalid`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::CircuitOpen => "circuit_open",
            Self::Draining => "draining",
            Self::Closed => "closed",
            Self::Invalid(_) => "invalid",
        }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Full => Self::Full,
            Refused::CircuitOpen => Self::CircuitOpen,
            Refused::Draining => Self::Draining,
            Refused::Closed => Self::Closed,
        }
    }
}

/// A record that was not accepted, and why. One pointer in size.
pub struct SubmitError<T>(Box<Inner<T>>);

struct Inner<T> {
    record: T,
    refusal: Refusal,
    retry_after: Option<Duration>,
}

impl<T> SubmitError<T> {
    pub(crate) fn new(record: T, refusal: Refusal, retry_after: Option<Duration>) -> Self {
        Self(Box::new(Inner { record, refusal, retry_after }))
    }

    /// Returns why the record was refused.
    pub fn refusal(&self) -> &Refusal {
        &self.0.refusal
    }

    /// Returns when it is worth trying again: the time in which the queue should fall to its low watermark, or until the
    /// store is tried again; none when
    /// trying again does not help, or the drain rate is zero or unknown.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns the record, as validation left it.
    pub fn into_record(self) -> T {
        self.0.record
    }
}

impl<T> fmt::Debug for SubmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubmitError")
            .field("refusal", &self.0.refusal)
            .field("retry_after", &self.0.retry_after)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SubmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.refusal.fmt(f)
    }
}

impl<T> std::error::Error for SubmitError<T> {}

/// 429 when the queue is full, 422 when the record is wrong, else 503; with `Retry-After` in whole seconds where it is
/// known.
#[cfg(feature = "actix-web")]
impl<T> actix_web::ResponseError for SubmitError<T> {
    fn status_code(&self) -> actix_web::http::StatusCode {
        use actix_web::http::StatusCode;
        match self.refusal() {
            Refusal::Full => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Refusal::CircuitOpen | Refusal::Draining | Refusal::Closed => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> actix_web::HttpResponse {
        use actix_web::http::header::RETRY_AFTER;
        let mut response = actix_web::HttpResponse::build(self.status_code());
        if let Some(wait) = self.retry_after() {
            // Rounded up: a client that comes back too early is only refused again.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.insert_header((RETRY_AFTER, seconds.max(1)));
        }
        response.body(self.to_string())
    }
}

/// Several records of which not all were accepted.
pub struct SubmitManyError<T> {
    /// How many were accepted, from the first on.
    pub accepted: usize,
    /// The others, in order. When one of them is invalid it is the first.
    pub rest: Vec<T>,
    /// Why the first of the rest was refused.
    pub refusal: Refusal,
    /// When it is worth trying again, as [`SubmitError::retry_after`] says.
    pub retry_after: Option<Duration>,
}

impl<T> fmt::Debug for SubmitManyError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubmitManyError")
            .field("accepted", &self.accepted)
            .field("rest", &self.rest.len())
            .field("refusal", &self.refusal)
            .field("retry_after", &self.retry_after)
            .finish()
    }
}

impl<T> fmt::Display for SubmitManyError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records accepted, {} refused: {}", self.accepted, self.rest.len(), self.refusal)
    }
}

impl<T> std::error::Error for SubmitManyError<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.refusal)
    }
}
