//! Answers that say what is wrong: one JSON shape, `{"error": "..."}`.

use std::{borrow::Cow, fmt, time::Duration};

use actix_web::{
    HttpResponse, HttpResponseBuilder, ResponseError,
    http::{
        StatusCode,
        header::{RETRY_AFTER, WWW_AUTHENTICATE},
    },
};
use serde_json::json;

use super::access::{Denied, Role};
use crate::text::Shown;

/// The most characters of an input that are sent back.
const ECHOED: usize = 100;

/// A request that is not done.
#[derive(Debug)]
pub(super) struct Error {
    status: StatusCode,
    message: String,
    retry_after: Option<Duration>,
}

impl Error {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None }
    }

    /// 400: a parameter, a header or a body that is not what it has to be.
    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404: there is no such thing.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// 503: not now.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, message).retry_after(Duration::from_secs(1))
    }

    /// 401: there is no token that is known here; 403: it is for less than the role.
    pub(super) fn denied(denied: Denied, role: Role) -> Self {
        let (status, message) = match (denied, role) {
            (Denied::Unknown, _) => {
                (StatusCode::UNAUTHORIZED, "expected the header Authorization: Bearer with a token that is known here")
            }
            (Denied::Role, Role::Admin) => {
                (StatusCode::FORBIDDEN, "expected a token of MDS_HTTP_ADMIN_TOKEN, no other may do this")
            }
            (Denied::Role, _) => {
                (StatusCode::FORBIDDEN, "expected a token that may do this, got one that may only read")
            }
        };
        Self::new(status, message)
    }

    /// Says when it is worth trying again.
    pub(super) fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if self.status == StatusCode::UNAUTHORIZED {
            response.insert_header((WWW_AUTHENTICATE, "Bearer"));
        }
        if let Some(wait) = self.retry_after {
            set_retry_after(&mut response, wait);
        }
        response.json(json!({ "error": Shown(&self.message).to_string() }))
    }
}

/// Sets `Retry-After`: whole seconds, rounded up, from 1 to 300.
pub(super) fn set_retry_after(response: &mut HttpResponseBuilder, wait: Duration) {
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.insert_header((RETRY_AFTER, seconds.clamp(1, 300)));
}

/// Shows what was sent, in quotes, escaped and cut.
pub(super) fn echoed(text: &str) -> String {
    let cut = text.char_indices().nth(ECHOED).map(|(at, _)| at);
    let shown: Cow<'_, str> = match cut {
        Some(at) => format!("{}...", &text[..at]).into(),
        None => text.into(),
    };
    format!("{:?}", Shown(&shown).to_string())
}
