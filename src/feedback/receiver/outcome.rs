//! What becomes of a request to a receiver: its status, its count, its line in the log.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use actix_web::http::StatusCode;
use metrics::Counter;
use parking_lot::Mutex;

use super::{BODY_LIMIT, BODY_TIME, Receiver};
use crate::{feedback::webhook::signature::SignatureError, metrics as names};

/// How often one outcome is logged at WARN: all who can reach the address can cause refusals.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// What becomes of a request: the label of its metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Accepted,
    Alive,
    Repeated,
    Stale,
    BadSignature,
    BadTimestamp,
    TooLarge,
    CutOff,
    Malformed,
    NoRoom,
    BusStopped,
}

impl Outcome {
    const COUNT: usize = 11;
    /// In the order of their numbers.
    pub(super) const ALL: [Self; Self::COUNT] = [
        Self::Accepted,
        Self::Alive,
        Self::Repeated,
        Self::Stale,
        Self::BadSignature,
        Self::BadTimestamp,
        Self::TooLarge,
        Self::CutOff,
        Self::Malformed,
        Self::NoRoom,
        Self::BusStopped,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Alive => "alive",
            Self::Repeated => "repeated",
            Self::Stale => "stale",
            Self::BadSignature => "bad_signature",
            Self::BadTimestamp => "bad_timestamp",
            Self::TooLarge => "too_large",
            Self::CutOff => "cut_off",
            Self::Malformed => "malformed",
            Self::NoRoom => "no_room",
            Self::BusStopped => "bus_stopped",
        }
    }
}

/// Why a request is refused. The text is for its sender and for the log: it holds nothing of the body.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub(super) enum Refused {
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error("the body has more than {BODY_LIMIT} bytes")]
    TooLarge,
    #[error("the body did not arrive within {} s", BODY_TIME.as_secs())]
    TooSlow,
    #[error("the body broke off")]
    BrokenOff,
    #[error("expected an event in JSON: wrong at line {line}, column {column}")]
    NoEvent { line: usize, column: usize },
    #[error("expected {0}")]
    Expected(&'static str),
    #[error("no room for another coordinator: {} are known", Receiver::COORDINATORS)]
    NoRoom,
    #[error("the feedback bus has stopped")]
    BusStopped,
}

impl Refused {
    pub(super) fn outcome(self) -> Outcome {
        match self {
            Self::Signature(
                SignatureError::InvalidTimestamp | SignatureError::TooOld(_) | SignatureError::TooNew(_),
            ) => Outcome::BadTimestamp,
            Self::Signature(_) => Outcome::BadSignature,
            Self::TooLarge => Outcome::TooLarge,
            Self::TooSlow | Self::BrokenOff => Outcome::CutOff,
            Self::NoEvent { .. } | Self::Expected(_) => Outcome::Malformed,
            Self::NoRoom => Outcome::NoRoom,
            Self::BusStopped => Outcome::BusStopped,
        }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Signature(_) => StatusCode::UNAUTHORIZED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::BrokenOff | Self::NoEvent { .. } | Self::Expected(_) => StatusCode::BAD_REQUEST,
            Self::NoRoom | Self::BusStopped => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Counts the outcomes.
pub(super) struct Counters([OutcomeCounter; Outcome::COUNT]);

struct OutcomeCounter {
    count: AtomicU64,
    counter: Counter,
    /// None before the first time.
    warned: Mutex<Option<Instant>>,
}

impl Default for Counters {
    fn default() -> Self {
        Self(Outcome::ALL.map(|outcome| {
            let counter = metrics::counter!(names::FEEDBACK_RECEIVED, "outcome" => outcome.as_str());
            OutcomeCounter { count: AtomicU64::new(0), counter, warned: Mutex::new(None) }
        }))
    }
}

impl Counters {
    pub(super) fn add(&self, outcome: Outcome) {
        let counter = &self.0[outcome as usize];
        counter.count.fetch_add(1, Relaxed);
        counter.counter.increment(1);
    }

    pub(super) fn count(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize].count.load(Relaxed)
    }

    /// Returns whether to log this outcome at WARN: the first time, and then once a minute.
    pub(super) fn may_warn(&self, outcome: Outcome) -> bool {
        let mut warned = self.0[outcome as usize].warned.lock();
        let may = warned.is_none_or(|last| last.elapsed() >= WARN_EVERY);
        if may {
            *warned = Some(Instant::now());
        }
        may
    }
}
