//! What a store has to do for a coordinator, and a sink of any type.

use std::{fmt, pin::Pin, sync::Arc};

use super::{batch::Batch, error::SinkError};
use crate::record::Record;

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
/// actix-rt arbiter: a current-thread tokio runtime with timers and IO. So tokio's sockets, timers and `spawn` work as
/// they are, whatever runtime the embedder has; `spawn_blocking` does too, but `block_in_place` panics there. Each
/// worker has a thread of its own as long as the store has no more workers than cores, or than four on a smaller
/// machine; beyond that several share one.
///
/// Blocking is allowed. It holds up the other workers of its thread, and nothing else: no producer, no queue and no
/// subscriber. With [`on_current_arbiter`](crate::Builder::on_current_arbiter) everything shares one thread.
///
/// # Cancellation
///
/// The future of a write is dropped at the deadline of a shutdown, and when its worker dies. The batch counts as not
/// written then: at the deadline its records become dead letters, behind a worker that died it is written again. A
/// write that succeeds all the same, in a thread or a server of its own, is there beside the dead letter, or twice. A
/// write that blocks its thread cannot be cancelled; the store ends without it.
///
/// A write that hangs holds up its partition, and if it is the probe of an open circuit, everything. It is cut off
/// after
/// [`sink_timeout`](crate::Settings::sink_timeout), if that is set, and then counts as an outage. A sink should have a timeout
/// of its own, as a transient error, and see to it that a write which was cut off never commits behind a later one.
///
/// A plain `async fn write` is enough in an implementation.
pub trait Sink<T: Record>: Send + Sync + 'static {
    /// Writes every record of the batch, or none that matters: after `Ok` all of them are durable.
    ///
    /// # Errors
    /// [`SinkError::transient`] when trying again can help, [`SinkError::permanent`] when it cannot. A panic counts as
    /// transient, and as the fault of the batch.
    fn write(&self, batch: &Batch<T>) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// Says whether the store is there and takes writes: `Some(Ok(()))` that it does, `Some(Err(_))` that it does not,
    /// `None` that this sink cannot say.
    ///
    /// It is asked after a write that failed, when no other partition is about to write what would show the same. It
    /// has a second to answer, and is dropped where the next try comes before. Its answer tells a batch at fault from a
    /// store that is away: with it a batch that fails alone is narrowed down to the records at fault; without, such a
    /// batch is tried until the store has answered another one. So it has to try what a write needs, such as a
    /// connection and a lock, and must not say `Ok` while the store takes no writes.
    fn ping(&self) -> impl Future<Output = Option<Result<(), SinkError>>> + Send {
        async { None }
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

    async fn ping(&self) -> Option<Result<(), SinkError>> {
        self.0.ping_boxed().await
    }
}

impl<T: Record, S: Sink<T>> Sink<T> for Arc<S> {
    async fn write(&self, batch: &Batch<T>) -> Result<(), SinkError> {
        S::write(self, batch).await
    }

    async fn ping(&self) -> Option<Result<(), SinkError>> {
        S::ping(self).await
    }
}

type BoxFuture<'a, R> = Pin<Box<dyn Future<Output = R> + Send + 'a>>;

/// [`Sink`] in a form that can be a trait object: its future is boxed, once a batch.
trait ErasedSink<T>: Send + Sync + 'static {
    fn write_boxed<'a>(&'a self, batch: &'a Batch<T>) -> BoxFuture<'a, Result<(), SinkError>>;

    fn ping_boxed(&self) -> BoxFuture<'_, Option<Result<(), SinkError>>>;
}

impl<T: Record, S: Sink<T>> ErasedSink<T> for S {
    fn write_boxed<'a>(&'a self, batch: &'a Batch<T>) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(self.write(batch))
    }

    fn ping_boxed(&self) -> BoxFuture<'_, Option<Result<(), SinkError>>> {
        Box::pin(self.ping())
    }
}
