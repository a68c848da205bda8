//! Errors that hand records back.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use super::config::CoordinatorConfig;
use crate::policy::Refusal;

/// A record that was not accepted, and why. One pointer in size.
///
/// Its text says which coordinator refused, why, and when it is worth trying again.
pub struct SubmitError<T>(Box<Inner<T>>);

struct Inner<T> {
    record: T,
    coordinator_id: Arc<str>,
    capacity: usize,
    refusal: Refusal,
    retry_after: Option<Duration>,
}

impl<T> SubmitError<T> {
    pub(super) fn new(record: T, config: &CoordinatorConfig, refusal: Refusal, retry_after: Option<Duration>) -> Self {
        let (coordinator_id, capacity) = (Arc::clone(&config.id), config.capacity.get());
        Self(Box::new(Inner { record, coordinator_id, capacity, refusal, retry_after }))
    }

    /// Returns the id of the coordinator that refused the record.
    pub fn coordinator_id(&self) -> &str {
        &self.0.coordinator_id
    }

    /// Returns why the record was refused.
    pub fn refusal(&self) -> &Refusal {
        &self.0.refusal
    }

    /// Returns when it is worth trying again: the time in which the queue should fall to its low watermark, or with
    /// [`Refusal::CircuitOpen`] the time until the store is tried again. None when trying again does not help, the
    /// drain rate is zero or unknown, or the store is being tried just now.
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
            .field("coordinator_id", &self.0.coordinator_id)
            .field("refusal", &self.0.refusal)
            .field("retry_after", &self.0.retry_after)
            .finish_non_exhaustive()
    }
}

impl<T> fmt::Display for SubmitError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { coordinator_id, capacity, refusal, retry_after, .. } = &*self.0;
        write!(f, "coordinator {coordinator_id} refused a record: ")?;
        Why { refusal, capacity: *capacity, retry_after: *retry_after }.fmt(f)
    }
}

/// The refusal is part of the text, so the source is what caused the refusal.
impl<T> Error for SubmitError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.refusal.source()
    }
}

/// Several records of which not all were accepted.
///
/// Its text says which coordinator refused, how many, why, and when it is worth trying again.
#[non_exhaustive]
pub struct SubmitManyError<T> {
    /// How many were accepted, from the first on.
    pub accepted: usize,
    /// The others, in order. When one of them is invalid it is the first.
    pub rest: Vec<T>,
    /// The coordinator that refused.
    pub coordinator_id: Arc<str>,
    /// The most records that its queue takes.
    pub capacity: usize,
    /// Why the first of the rest was refused.
    pub refusal: Refusal,
    /// When it is worth trying again, as [`SubmitError::retry_after`] says.
    pub retry_after: Option<Duration>,
}

impl<T> SubmitManyError<T> {
    /// Returns why the first of the rest was refused.
    pub fn refusal(&self) -> &Refusal {
        &self.refusal
    }
}

impl<T> fmt::Debug for SubmitManyError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubmitManyError")
            .field("coordinator_id", &self.coordinator_id)
            .field("accepted", &self.accepted)
            .field("rest", &self.rest.len())
            .field("refusal", &self.refusal)
            .field("retry_after", &self.retry_after)
            .finish()
    }
}

impl<T> fmt::Display for SubmitManyError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accepted, rest, coordinator_id, capacity, refusal, retry_after } = self;
        write!(f, "coordinator {coordinator_id} accepted {accepted} records and refused {}: ", rest.len())?;
        Why { refusal, capacity: *capacity, retry_after: *retry_after }.fmt(f)
    }
}

/// The refusal is part of the text, so the source is what caused the refusal.
impl<T> Error for SubmitManyError<T> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.refusal.source()
    }
}

/// A refusal with what else the reader of a log wants to know.
struct Why<'a> {
    refusal: &'a Refusal,
    capacity: usize,
    retry_after: Option<Duration>,
}

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.refusal.fmt(f)?;
        if *self.refusal == Refusal::Full {
            write!(f, " at {} records", self.capacity)?;
        }
        match self.retry_after {
            Some(wait) => write!(f, ", worth trying again in {wait:.1?}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Invalid;

    fn why(refusal: Refusal, retry_after: Option<Duration>) -> String {
        let inner = Inner { record: (), coordinator_id: "bars".into(), capacity: 100, refusal, retry_after };
        SubmitError(Box::new(inner)).to_string()
    }

    // Red when the text lacks the coordinator, the bound, the wait, or the field that is wrong.
    #[test]
    fn the_text_says_who_refused_and_why_and_until_when() {
        let invalid = Refusal::Invalid(Invalid::new("open", "expected a finite number, got NaN"));
        for (refusal, retry_after, expected) in [
            (
                Refusal::Full,
                Some(Duration::from_millis(1234)),
                "the queue is full at 100 records, worth trying again in 1.2s",
            ),
            (Refusal::Full, None, "the queue is full at 100 records"),
            (Refusal::Closed, None, "the coordinator is closed"),
            (invalid, None, "open: expected a finite number, got NaN"),
        ] {
            assert_eq!(why(refusal, retry_after), format!("coordinator bars refused a record: {expected}"));
        }
        let many = SubmitManyError {
            accepted: 3,
            rest: vec![(), ()],
            coordinator_id: "bars".into(),
            capacity: 3,
            refusal: Refusal::Full,
            retry_after: None,
        };
        let expected = "coordinator bars accepted 3 records and refused 2: the queue is full at 3 records";
        assert_eq!(many.to_string(), expected);
    }

    // Red when an error repeats its source, which a printed chain would show twice.
    #[test]
    fn no_text_repeats_the_source() {
        let invalid = || Refusal::Invalid(Invalid::new("open", "expected a finite number, got NaN"));
        let inner =
            Inner { record: (), coordinator_id: "bars".into(), capacity: 1, refusal: invalid(), retry_after: None };
        for error in [&SubmitError(Box::new(inner)) as &dyn Error, &invalid()] {
            assert!(error.source().is_none_or(|source| !error.to_string().contains(&source.to_string())), "{error}");
        }
    }
}
