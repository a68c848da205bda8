//! What a worker does with a batch: write it, try again, narrow it down, dead-letter what is at fault.

use std::{panic::AssertUnwindSafe, pin::pin, sync::Arc, time::Duration};

use actix::Recipient;
use futures_util::{
    FutureExt,
    future::{Either, select},
};
use metrics::{Counter, Histogram, counter, histogram};
use tokio::time::{Instant, timeout};
use tracing::Instrument;

use super::{dead_lettering::append, lease::Lease, messages::DeadLetterStatus, shared::Shared};
use crate::{
    dead_letter::DeadLetters,
    metrics as names,
    policy::{Outcome, Verdict, WriteFault},
    record::Record,
    sink::{BoxSink, Sink, SinkError, SinkErrorKind},
    text::panicked,
};

/// Writes the batches of one partition, one after the other.
pub(super) struct BatchWriter<T: Record> {
    sink: BoxSink<T>,
    dead_letters: DeadLetters,
    coordinator: Recipient<DeadLetterStatus>,
    metrics: Metrics,
}

/// How one write ended.
enum Written {
    Stored,
    /// The lease is back with the buffer.
    Parked,
    /// The batch is to be given up. `answered`: the store itself refused it.
    GivenUp {
        error: String,
        answered: bool,
    },
}

/// How long the store may take to answer a ping.
const PING: Duration = Duration::from_secs(1);

/// What a write that failed says of itself.
struct Failure {
    text: String,
    fault: WriteFault,
    retry_after: Option<Duration>,
}

impl From<SinkError> for Failure {
    fn from(error: SinkError) -> Self {
        let fault = if error.is_outage() { WriteFault::Outage } else { WriteFault::Transient };
        Self { text: format!("{error:#}"), fault, retry_after: error.retry_after_hint() }
    }
}

impl<T: Record> BatchWriter<T> {
    pub(super) fn new(
        sink: BoxSink<T>,
        dead_letters: DeadLetters,
        coordinator: Recipient<DeadLetterStatus>,
        metrics: Metrics,
    ) -> Self {
        Self { sink, dead_letters, coordinator, metrics }
    }

    /// Writes batch after batch until none is ready.
    pub(super) async fn write_all(self, mut lease: Lease<T>) {
        loop {
            let (coordinator_id, partition) = (&*lease.shared().config.id, lease.partition());
            let span = tracing::info_span!("batch", coordinator_id, partition, records = lease.batch().len());
            match self.write_one(lease).instrument(span).await {
                Some(next) => lease = next,
                None => return,
            }
            // A sink that is always ready would otherwise never let this thread do anything else.
            tokio::task::yield_now().await;
        }
    }

    /// Writes a batch, or the half of it that is at fault, and returns the next one.
    async fn write_one(&self, mut lease: Lease<T>) -> Option<Lease<T>> {
        match self.write(&lease).await {
            Written::Stored => lease.settle(Outcome::Stored),
            Written::Parked => lease.leave(),
            Written::GivenUp { error, answered } => match lease.isolate(answered) {
                Some(attempts) => {
                    self.dead_letter(&lease, &error, attempts).await;
                    // The dead letter says it now, and the store something else of what comes next.
                    lease.shared().set_last_error(lease.partition(), None);
                    lease.point("a dead letter is written and not settled");
                    lease.settle(Outcome::DeadLettered)
                }
                None => Some(lease),
            },
        }
    }

    /// Writes a batch again and again until it is stored, given up, or parked because the store is away.
    async fn write(&self, lease: &Lease<T>) -> Written {
        let shared = lease.shared();
        loop {
            if !shared.with(|buffer| buffer.may_write(lease.id())) {
                return Written::Parked;
            }
            lease.point("a write begins");
            let (began, started) = (shared.now(), Instant::now());
            // In a block of its own, so that a panic on the way to the future is caught like one inside it.
            let write = AssertUnwindSafe(async { self.sink.write(lease.batch()).await }).catch_unwind();
            let written = match shared.config.sink_timeout {
                Duration::ZERO => write.await,
                limit => lease.batch().within(limit, write).await.unwrap_or_else(|| Ok(Err(cut_off(limit)))),
            };
            lease.point("a write was answered and the buffer does not know");
            self.metrics.latency.record(started.elapsed().as_secs_f64());
            let failure = match written {
                Ok(Ok(())) => {
                    shared.set_last_error(lease.partition(), None);
                    self.metrics.written.increment(1);
                    return Written::Stored;
                }
                Ok(Err(error)) => {
                    if error.kind() == SinkErrorKind::Permanent {
                        self.metrics.permanent.increment(1);
                        return Written::GivenUp { error: format!("{error:#}"), answered: true };
                    }
                    self.metrics.transient.increment(1);
                    Failure::from(error)
                }
                Err(panic) => {
                    self.metrics.panics.increment(1);
                    let text = format!("the sink panicked: {}", panicked::message_of(&*panic));
                    Failure { text, fault: WriteFault::Panic, retry_after: None }
                }
            };
            shared.set_last_error(lease.partition(), Some(failure.text.clone()));
            let delay = shared.delay();
            let now = shared.now();
            let asked = failure.retry_after;
            let (verdict, ping) = shared.with(|buffer| {
                let verdict = buffer.write_failed(lease.id(), failure.fault, began, now, asked);
                // A panic says nothing of the store, and what the sink calls an outage all of it.
                let is_asked = verdict != Verdict::GiveUp && failure.fault == WriteFault::Transient;
                (verdict, if is_asked { buffer.begin_ping(lease.partition(), now) } else { None })
            });
            lease.point("a write has failed and only the buffer knows");
            let failures = match verdict {
                Verdict::Retry { failures } => failures,
                Verdict::Parked => {
                    // The end of the store does not wait for it.
                    select(pin!(delay.wait(PING)), pin!(self.ping(shared, ping))).await;
                    return Written::Parked;
                }
                Verdict::GiveUp => {
                    // Of a batch the first half is written next.
                    let wait = asked.filter(|_| lease.batch().len() > 1).unwrap_or_default();
                    delay.wait(wait).await;
                    return Written::GivenUp { error: failure.text, answered: false };
                }
            };
            let wait = shared.config.retry.wait(failures, asked, fastrand::f64());
            tracing::warn!(
                coordinator_id = &*shared.config.id,
                partition = lease.partition(),
                records = lease.batch().len(),
                failures,
                retry_in_ms = wait.as_millis() as u64,
                error = failure.text,
                "a batch was not written and is tried again"
            );
            // The next try does not wait for a ping that takes longer.
            if let Either::Right(((), delay)) = select(pin!(delay.wait(wait)), pin!(self.ping(shared, ping))).await {
                delay.await;
            }
        }
    }

    /// Asks whether the store is there, if that is worth asking, and tells the buffer if it is.
    async fn ping(&self, shared: &Shared<T>, began: Option<u64>) {
        let Some(began) = began else { return };
        let ping = AssertUnwindSafe(async { self.sink.ping().await }).catch_unwind();
        if let Ok(Ok(Some(Ok(())))) = timeout(PING, ping).await {
            shared.with(|buffer| buffer.ping_answered(began));
        }
    }

    /// Appends the record of a lease to the dead letters, again and again until it is there: while they cannot be
    /// written nothing may be given up.
    async fn dead_letter(&self, lease: &Lease<T>, error: &str, attempts: u32) {
        let config = &lease.shared().config;
        let record: Vec<_> = lease.batch().iter().collect();
        let mut failures = 0_u32;
        while !lease.shared().refuse_replay(lease.id(), error, attempts) {
            let delay = lease.shared().delay();
            match append(&self.dead_letters, config, &record, error, attempts).await {
                Ok(()) => break,
                Err(unwritable) => {
                    failures = failures.saturating_add(1);
                    let wait = config.retry.wait(failures, None, fastrand::f64());
                    let (id, partition, retry_in_ms) = (&*config.id, lease.partition(), wait.as_millis() as u64);
                    let text = "a dead letter cannot be written; its partition waits";
                    // One ERROR for one outage; the tries after it are no further news.
                    if failures == 1 {
                        tracing::error!(coordinator_id = id, partition, retry_in_ms, error = unwritable, "{text}");
                    } else {
                        tracing::warn!(coordinator_id = id, partition, retry_in_ms, error = unwritable, "{text}");
                    }
                    self.coordinator.do_send(DeadLetterStatus { partition: lease.partition(), writable: false });
                    delay.wait(wait).await;
                }
            }
        }
        if failures > 0 {
            let (id, partition) = (&*config.id, lease.partition());
            tracing::warn!(coordinator_id = id, partition, failures, "a dead letter could be written after all");
            self.coordinator.do_send(DeadLetterStatus { partition: lease.partition(), writable: true });
        }
        lease.shared().count_dead_letter(error);
    }
}

/// What a write that takes too long is taken for.
fn cut_off(limit: Duration) -> SinkError {
    let text = format!("the write took longer than {} s (MDS_SINK_TIMEOUT) and was cut off", limit.as_secs_f64());
    SinkError::transient(text).outage()
}

/// What is measured of one worker.
#[derive(Clone)]
pub(super) struct Metrics {
    written: Counter,
    transient: Counter,
    permanent: Counter,
    panics: Counter,
    latency: Histogram,
}

impl Metrics {
    pub(super) fn new(id: &Arc<str>, partition: usize) -> Self {
        let worker = partition.to_string();
        let errors = |error_type: &'static str| {
            counter!(names::WRITE_ERRORS,
                "coordinator_id" => Arc::clone(id), "worker_id" => worker.clone(), "error_type" => error_type)
        };
        Self {
            written: counter!(names::BATCHES_WRITTEN, "coordinator_id" => Arc::clone(id), "worker_id" => worker.clone()),
            transient: errors("transient"),
            permanent: errors("permanent"),
            panics: errors("panic"),
            latency: histogram!(names::WRITE_LATENCY, "coordinator_id" => Arc::clone(id), "worker_id" => worker.clone()),
        }
    }
}
