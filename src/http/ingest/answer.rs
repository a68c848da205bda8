//! What became of the records of a request, and how that is said.

use std::time::Duration;

use actix_web::{HttpResponse, http::StatusCode};
use serde::Serialize;

use super::{parameters::Ack, wording::of_request};
use crate::{
    http::{error::set_retry_after, resource::LEVEL},
    policy::{Level, Outcome},
    record::Bar,
    text::Shown,
};

/// So many rejected records are named.
const NAMED: usize = 100;
/// The most characters of what is wrong with one.
const SHOWN: usize = 300;

/// A record that was rejected.
#[derive(Debug, Serialize)]
struct Rejection {
    /// Its place in the body, from 0, as `resume_at` and `skip` count.
    record: u64,
    /// The line on which it stands, from 1; none where only the queue refused it.
    line: Option<u64>,
    error: String,
}

/// What became of the records of a request. `resume_at` apart, it says nothing of those that were passed over.
#[derive(Debug, Default, Serialize)]
pub(super) struct Tally {
    /// Records that the queue took.
    submitted: u64,
    /// Those of them that are in the database.
    stored: u64,
    /// Those of them that are dead letters.
    dead_lettered: u64,
    /// Those of them that were given up for newer ones.
    dropped: u64,
    /// Rows that hold nothing of the kind.
    skipped: u64,
    rejected_count: u64,
    /// The first of them.
    rejected: Vec<Rejection>,
    /// The names of the first columns, or fields, of the body that are not used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ignored: Vec<String>,
    /// `unknown` where a record has no vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    vendor: Option<&'static str>,
    /// How many records at the front of the body need not be sent again.
    resume_at: u64,
    /// Whether what was submitted outlives this process.
    durable: bool,
    /// Why the body was not read to its end, or records are not known to be stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Tally {
    /// Counts records that the queue took.
    pub(super) fn submit(&mut self, records: u64) {
        self.submitted += records;
    }

    /// Counts what became of one of them.
    pub(super) fn settle(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Stored => self.stored += 1,
            Outcome::DeadLettered => self.dead_lettered += 1,
            _ => self.dropped += 1,
        }
    }

    /// Notes what of the body was not used, and whether a record of it has no vendor.
    pub(super) fn note(&mut self, ignored: Vec<String>, lacks_vendor: bool) {
        self.ignored = ignored;
        self.vendor = lacks_vendor.then_some(Bar::UNKNOWN_VENDOR);
    }

    /// Counts rows that hold nothing.
    pub(super) fn skip(&mut self, rows: u64) {
        self.skipped += rows;
    }

    /// Counts a record that was rejected.
    pub(super) fn reject(&mut self, record: u64, line: Option<u64>, error: &str) {
        self.rejected_count += 1;
        if self.rejected.len() < NAMED {
            let error = Shown(&of_request(error)).to_string();
            let error = match error.char_indices().nth(SHOWN) {
                Some((at, _)) => format!("{}...", &error[..at]),
                None => error,
            };
            self.rejected.push(Rejection { record, line, error });
        }
    }

    /// Returns whether every record of the body was stored, or taken by the queue where that is all that was asked for.
    fn is_clean(&self) -> bool {
        self.rejected_count == 0 && self.dead_lettered == 0 && self.dropped == 0
    }

    /// Answers. `refused` says why not all records were dealt with, and when it is worth trying again.
    pub(super) fn answer(
        mut self,
        ack: Ack,
        resume_at: u64,
        level: Level,
        refused: Option<(StatusCode, String, Option<Duration>)>,
    ) -> HttpResponse {
        self.resume_at = resume_at;
        self.durable = ack == Ack::Stored && self.stored + self.dead_lettered + self.dropped == self.submitted;
        let (status, wait) = match refused {
            Some((status, error, wait)) => {
                self.error = Some(Shown(&error).to_string());
                (status, wait)
            }
            None if !self.is_clean() => (StatusCode::UNPROCESSABLE_ENTITY, None),
            None if ack == Ack::Queued => (StatusCode::ACCEPTED, None),
            None => (StatusCode::OK, None),
        };
        if status == StatusCode::UNPROCESSABLE_ENTITY {
            // What is wrong with each is for the client: it may have what was sent.
            let Self { submitted, rejected_count: rejected, dead_lettered, dropped, .. } = self;
            tracing::warn!(submitted, rejected, dead_lettered, dropped, "a request had records that are not stored");
        }
        let mut response = HttpResponse::build(status);
        if let Some(wait) = wait {
            set_retry_after(&mut response, wait);
        }
        response.insert_header((LEVEL, level.as_str())).json(self)
    }
}
