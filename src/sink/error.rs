//! Why a write failed, and what that means for the batch.

use std::{fmt, time::Duration};

use crate::text::ErrorChain;

/// An error of any type, as a sink's driver returns it.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a write failed, and whether trying again can help.
///
/// Its text says only which of the two it is; what the driver said is its [`source`](std::error::Error::source).
/// Written with `{:#}` the text goes on with every cause.
#[derive(Debug)]
pub struct SinkError {
    kind: SinkErrorKind,
    outage: bool,
    retry_after: Option<Duration>,
    source: BoxError,
}

/// Whether trying a failed write again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SinkErrorKind {
    /// It can: the store is locked, full, unreachable, or overloaded.
    Transient,
    /// It cannot: the store refuses these records.
    Permanent,
}

impl SinkErrorKind {
    /// Returns the kind's name in logs and as the metrics label `error_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
        }
    }
}

impl SinkError {
    /// Makes an error after which the same batch is written again.
    pub fn transient(error: impl Into<BoxError>) -> Self {
        Self { kind: SinkErrorKind::Transient, outage: false, retry_after: None, source: error.into() }
    }

    /// Makes an error after which this batch is not written again as it is, but in halves; a single record becomes a
    /// dead letter. It also shows that the store is there, and closes an open circuit: so it is not for what never came
    /// to the store.
    pub fn permanent(error: impl Into<BoxError>) -> Self {
        Self { kind: SinkErrorKind::Permanent, outage: false, retry_after: None, source: error.into() }
    }

    /// Says of a transient failure that the store is at fault and the records cannot be, as with a lock or a full disk.
    /// Then a batch is not given up for it, however often it meets it and whatever becomes of others meanwhile.
    ///
    /// Without this a batch that goes on failing while the store answers others is taken for the one at fault.
    #[must_use]
    pub fn outage(mut self) -> Self {
        self.outage = true;
        self
    }

    /// Returns whether the records cannot be at fault, as [`outage`](Self::outage) set it.
    pub fn is_outage(&self) -> bool {
        self.outage && self.kind == SinkErrorKind::Transient
    }

    /// Sets how long the store asked to be left alone; the next attempt waits at least so long.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Returns how long the store asked to be left alone, as [`retry_after`](Self::retry_after) set it.
    pub fn retry_after_hint(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns whether trying again can help.
    pub fn kind(&self) -> SinkErrorKind {
        self.kind
    }
}

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failure of the store", self.kind.as_str())?;
        if f.alternate() {
            write!(f, ": {}", ErrorChain(&*self.source))?;
        }
        Ok(())
    }
}

impl std::error::Error for SinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

/// Classifies a driver's error on the way out of a sink: `client.execute(..).await.transient()?`.
pub trait SinkResultExt<V> {
    /// Turns an error into [`SinkError::transient`].
    ///
    /// # Errors
    /// The error that was there before, classified.
    fn transient(self) -> Result<V, SinkError>;

    /// Turns an error into [`SinkError::permanent`].
    ///
    /// # Errors
    /// The error that was there before, classified.
    fn permanent(self) -> Result<V, SinkError>;
}

impl<V, E: Into<BoxError>> SinkResultExt<V> for Result<V, E> {
    fn transient(self) -> Result<V, SinkError> {
        self.map_err(SinkError::transient)
    }

    fn permanent(self) -> Result<V, SinkError> {
        self.map_err(SinkError::permanent)
    }
}
