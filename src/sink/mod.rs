//! Where batches go: the [`Sink`] trait, its error, and the stores that come with the crate.

use std::{
    fmt,
    future::Future,
    ops::{Deref, Range},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use crate::{record::Record, text::ErrorChain};

#[cfg(feature = "testing")]
mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;

#[cfg(feature = "testing")]
pub use memory::{MemoryCounts, MemorySink};
#[cfg(feature = "sqlite")]
pub use sqlite::{Series, SqliteOpenError, SqliteOptions, SqliteReader, SqliteSink, StoredBar, Synchronous};

/// An error of any type, as a sink's driver returns it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Writes batches to a store.
///
/// One value serves all workers of a coordinator, each of which has at most one write under way. A batch holds records
/// of one partition in the order in which they were accepted; when a key occurs twice, the later record must win. A
/// write may be repeated after an error or a crash, so it must be idempotent, as an upsert by key is.
///
/// After a transient error the batch is written again later, as it is. After a permanent one its halves are, down to
/// the records at fault, which become [dead letters](crate::dead_letter): so an error that lies in the store and is
/// called permanent costs every record that is written meanwhile. When in doubt call it transient; where the records
/// cannot be at fault, add [`outage`](SinkError::outage).
///
/// # Threads
///
/// `write` runs on the thread of the worker that has the batch, inside the store's own actix System. That thread is an
/// actix-rt arbiter: a current-thread tokio runtime with timers and IO. So tokio's sockets, timers and `spawn` work as they
/// are, whatever runtime the embedder has; `spawn_blocking` does too, but `block_in_place` panics there. Each worker has a
/// thread of its own as long as the store has no more workers than cores, or than four on a smaller machine; beyond that
/// several share one.
///
/// Blocking is allowed. It holds up the other workers of its thread, and nothing else: no producer, no queue and no
/// subscriber. With [`on_current_arbiter`](crate::Builder::on_current_arbiter) everything shares one thread.
///
/// # Cancellation
///
/// The future of a write is dropped at the deadline of a shutdown, and when its worker dies. The batch counts as not written
/// then: at the deadline its records become dead letters, behind a worker that died it is written again. A write that
/// succeeds all the same, in a thread or a server of its own, is there beside the dead letter, or twice. A write that blocks
/// its thread cannot be cancelled; the store ends without it.
///
/// A write that hangs is not timed out: its partition waits for it, and if it is the probe of an open circuit, everything
/// does. A sink needs a timeout of its own, as a transient error.
///
/// A plain `async fn write` is enough in an implementation.
pub trait Sink<T: Record>: Send + Sync + 'static {
    /// Writes every record of the batch, or none that matters: after `Ok` all of them are durable.
    ///
    /// # Errors
    /// [`SinkError::transient`] when trying again can help, [`SinkError::permanent`] when it cannot. A panic counts as
    /// transient.
    fn write(&self, batch: &Batch<T>) -> impl Future<Output = Result<(), SinkError>> + Send;
}

/// Records of one partition that are written together. Cheap to clone; a slice shares the records.
pub struct Batch<T> {
    records: Arc<Vec<T>>,
    range: Range<usize>,
}

impl<T> Batch<T> {
    /// Returns the part of this batch at `range`, counted from this batch's first record.
    ///
    /// # Panics
    /// If the range ends behind this batch's last record or is reversed, like slicing.
    pub fn slice(&self, range: Range<usize>) -> Self {
        assert!(
            range.start <= range.end && range.end <= self.len(),
            "range {range:?} is outside a batch of {} records",
            self.len()
        );
        Self { records: Arc::clone(&self.records), range: self.range.start + range.start..self.range.start + range.end }
    }
}

impl<T> From<Vec<T>> for Batch<T> {
    fn from(records: Vec<T>) -> Self {
        Self::from(Arc::new(records))
    }
}

impl<T> From<Arc<Vec<T>>> for Batch<T> {
    fn from(records: Arc<Vec<T>>) -> Self {
        let range = 0..records.len();
        Self { records, range }
    }
}

impl<T> Deref for Batch<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.records[self.range.clone()]
    }
}

impl<'a, T> IntoIterator for &'a Batch<T> {
    type Item = &'a T;
    type IntoIter = std::slice::Iter<'a, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T> Clone for Batch<T> {
    fn clone(&self) -> Self {
        Self { records: Arc::clone(&self.records), range: self.range.clone() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

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
    /// dead letter. It also shows that the store is there, and closes an open circuit: so it is not for what never came to
    /// the store.
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

/// A sink whose type is chosen at run time. Cheap to clone; clones share the sink.
pub struct BoxSink<T>(Arc<dyn ErasedSink<T>>);

impl<T: Record> BoxSink<T> {
    /// Wraps any sink.
    pub fn new(sink: impl Sink<T>) -> Self {
        Self(Arc::new(sink))
    }
}

impl<T> Clone for BoxSink<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for BoxSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxSink")
    }
}

impl<T: Record> Sink<T> for BoxSink<T> {
    async fn write(&self, batch: &Batch<T>) -> Result<(), SinkError> {
        self.0.write_boxed(batch).await
    }
}

impl<T: Record, S: Sink<T>> Sink<T> for Arc<S> {
    async fn write(&self, batch: &Batch<T>) -> Result<(), SinkError> {
        S::write(self, batch).await
    }
}

type WriteFuture<'a> = Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send + 'a>>;

/// [`Sink`] in a form that can be a trait object: its future is boxed, once a batch.
trait ErasedSink<T>: Send + Sync + 'static {
    fn write_boxed<'a>(&'a self, batch: &'a Batch<T>) -> WriteFuture<'a>;
}

impl<T: Record, S: Sink<T>> ErasedSink<T> for S {
    fn write_boxed<'a>(&'a self, batch: &'a Batch<T>) -> WriteFuture<'a> {
        Box::pin(self.write(batch))
    }
}
