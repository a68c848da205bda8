//! What became of a row.

use std::collections::VecDeque;

use crate::{
    files::{
        chunk::{Chunk, ReadError, Rejected},
        times::Either,
    },
    record::Bar,
};

/// What became of a row.
pub(super) enum Outcome {
    Bar(Bar),
    /// A newer version of a bar that went out, which takes its place.
    Newer(Bar),
    Undated(Undated),
    Rejected(Rejected),
    /// Rejected for what may be true of the whole file, and what to do about it then.
    Doubtful(Rejected, String),
    /// Rejected for a day that the row before had too, at another time of day.
    SameDay(Rejected),
    /// Rejected for a date that the row before had too, without a time of day that it should have.
    NoClock(Rejected),
    Skipped,
}

/// A bar whose date has two readings.
pub(super) struct Undated {
    pub(super) line: u64,
    pub(super) bar: Bar,
    pub(super) either: Box<Either>,
    /// Whether it is a date alone.
    pub(super) is_date: bool,
}

impl Outcome {
    /// Hands it over.
    pub(super) fn put_into(self, chunk: &mut Chunk) {
        let (line, message) = match self {
            Self::Bar(bar) => return chunk.record(bar),
            Self::Newer(bar) => {
                chunk.replaced += 1;
                return chunk.record(bar);
            }
            Self::Skipped => return chunk.skip(),
            Self::Rejected(rejected)
            | Self::Doubtful(rejected, _)
            | Self::SameDay(rejected)
            | Self::NoClock(rejected) => (rejected.line, rejected.message),
            // Settling dates every bar before it is put anywhere.
            Self::Undated(Undated { line, either, .. }) => {
                (line, format!("time: expected one reading of {}", either.text))
            }
        };
        chunk.reject(line, &message);
    }
}

/// Refuses a file whose first rows are all written in a way that is not read here, in the words of the first.
pub(super) fn refused(held: &VecDeque<Outcome>) -> ReadError {
    let doubtful = held.iter().find_map(|outcome| match outcome {
        Outcome::Doubtful(rejected, advice) => Some((rejected, advice)),
        _ => None,
    });
    let Some((Rejected { line, message }, advice)) = doubtful else {
        return ReadError::Refused("expected bars, got none".into());
    };
    let colon = if advice.is_empty() { "" } else { ": " };
    ReadError::Refused(format!("line {line}: {message}{colon}{advice}"))
}
