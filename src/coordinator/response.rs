//! Refusals as answers of an actix-web service: handlers use `?`.

use std::{fmt, time::Duration};

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header::RETRY_AFTER},
};

use super::refusal::{SubmitError, SubmitManyError};
use crate::policy::Refusal;

/// 429 when the queue is full, 422 when the record is wrong, 413 when it is too large, else 503. What
/// [`WriteHandle::submit_from`] returns knows no `Retry-After`: ask [`WriteHandle::retry_after`].
///
/// [`WriteHandle::submit_from`]: super::WriteHandle::submit_from
/// [`WriteHandle::retry_after`]: super::WriteHandle::retry_after
impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Full | Self::PartitionFull { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::OtherPartition { .. } | Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::CircuitOpen | Self::Draining | Self::Closed => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        answer(self, None, self)
    }
}

/// The status of its [`Refusal`], with `Retry-After` in whole seconds where it is known.
impl<T> ResponseError for SubmitError<T> {
    fn status_code(&self) -> StatusCode {
        self.refusal().status_code()
    }

    fn error_response(&self) -> HttpResponse {
        answer(self.refusal(), self.retry_after(), self)
    }
}

/// The status of its [`Refusal`], with `Retry-After` in whole seconds where it is known. What was accepted before stays
/// accepted; the text says how many those are, so that a client sends only the others again.
impl<T> ResponseError for SubmitManyError<T> {
    fn status_code(&self) -> StatusCode {
        self.refusal.status_code()
    }

    fn error_response(&self) -> HttpResponse {
        answer(&self.refusal, self.retry_after, self)
    }
}

fn answer(refusal: &Refusal, retry_after: Option<Duration>, text: &impl fmt::Display) -> HttpResponse {
    let mut response = HttpResponse::build(refusal.status_code());
    if let Some(wait) = retry_after {
        // Rounded up: a client that comes back too early is only refused again.
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        response.insert_header((RETRY_AFTER, seconds.max(1)));
    }
    response.body(text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Invalid;

    fn many(refusal: Refusal, retry_after: Option<Duration>) -> SubmitManyError<()> {
        let rest = vec![()];
        SubmitManyError { accepted: 2, rest, coordinator_id: "bars".into(), capacity: 2, refusal, retry_after }
    }

    // Red with another status for one of the three errors, or a wait that is rounded down.
    #[test]
    fn a_refusal_has_one_status_wherever_it_comes_from() {
        let statuses = [
            (Refusal::Full, 429),
            (Refusal::Invalid(Invalid::new("open", "expected a finite number, got NaN")), 422),
            (Refusal::Draining, 503),
            (Refusal::Closed, 503),
        ];
        for (refusal, status) in statuses {
            assert_eq!(refusal.error_response().status().as_u16(), status);
            assert_eq!(many(refusal, None).error_response().status().as_u16(), status);
        }
        for (wait, expected) in [(Duration::from_millis(1), "1"), (Duration::from_millis(2_001), "3")] {
            let response = many(Refusal::Full, Some(wait)).error_response();
            assert_eq!(response.headers().get(RETRY_AFTER).unwrap(), expected);
        }
        assert!(many(Refusal::Full, None).error_response().headers().get(RETRY_AFTER).is_none());
    }
}
