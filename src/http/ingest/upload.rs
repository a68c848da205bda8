//! One upload: its records on their way into the queue, and their receipts on the way back.

use std::{collections::VecDeque, io, pin::pin, time::Duration};

use actix_web::{HttpResponse, error::PayloadError, http::StatusCode, web::Bytes};
use futures_util::{FutureExt, Stream};
use tokio::time::timeout;

use super::{
    answer::Tally,
    body::{Body, BodyInput, Broken},
    parameters::{Ack, Parameters},
    progress::Progress,
    wording::{of_request, refusal},
};
use crate::{
    coordinator::{Receipt, WriteHandle},
    files::{Chunk, FileRecord, ReadError, ReadOptions, RecordReader, Rejected, Sort},
    http::{error::Error, service::Service},
    policy::Refusal,
};

/// With so many receipts or more an upload waits for the first: one partition that is stuck must not make
/// those of all others pile up here.
const RECEIPTS: usize = 65_536;
/// When it is worth trying again where neither the drain rate nor a probe tells.
const UNKNOWN_WAIT: Duration = Duration::from_secs(5);

/// In less time than this a store that works may settle nothing: its batches take time.
const BATCH: Duration = Duration::from_secs(1);

/// Why an upload ends before its body does.
enum Stop {
    /// The queue takes no more, or the store is not there.
    Refused(Refusal),
    /// None of its records was settled for too long.
    Unsettled,
    /// The service ends, and the rest of the body is not here.
    Ending,
    /// The coordinator came to its end with records of it.
    Lost,
    /// The body is refused from here on.
    Body(StatusCode, String),
}

/// The queue took nothing in time.
struct Late;

/// An upload under way.
pub(super) struct Upload<'a, T: FileRecord> {
    handle: WriteHandle<T>,
    service: &'a Service,
    ack: Ack,
    skip: u64,
    progress: Progress<Receipt>,
    tally: Tally,
}

impl<'a, T: FileRecord> Upload<'a, T> {
    pub(super) fn new(handle: WriteHandle<T>, service: &'a Service, parameters: &Parameters) -> Self {
        Self {
            handle,
            service,
            ack: parameters.ack,
            skip: parameters.skip,
            progress: Progress::default(),
            tally: Tally::default(),
        }
    }

    /// Takes the body in, waits for what was accepted of it, and answers.
    ///
    /// # Errors
    /// The client asked to pass over more records than the body has.
    pub(super) async fn run<S>(mut self, body: &mut Body<S>, options: ReadOptions) -> Result<HttpResponse, Error>
    where
        S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
    {
        let mut reader = RecordReader::<T, BodyInput>::of_stream(body.input(), options);
        let read = self.read(&mut reader, body).await;
        let lacks_vendor = reader.lacks_vendor();
        self.tally.note(reader.ignored(), lacks_vendor);
        drop(reader);
        if lacks_vendor && self.service.warns_of_vendor() {
            tracing::warn!(kind = T::KIND, "records of a request have no vendor, which is stored as unknown");
        }
        // Whatever ended it: an answer says what became of what was accepted.
        let settled = self.settle_all().await;
        let stop = match (read, settled) {
            (Ok(()), Ok(())) if self.progress.next() < self.skip => {
                return Err(Error::bad_request(format!(
                    "skip: expected at most the records of the body, which are {}, got {}",
                    self.progress.next(),
                    self.skip
                )));
            }
            (Ok(()), Ok(())) => None,
            // What is still to come is known of neither.
            (_, Err(stop)) | (Err(stop), Ok(())) => Some(stop),
        };
        let refused = stop.map(|stop| self.refused(stop));
        let (resume_at, level) = (self.progress.resume_at(), self.handle.level());
        Ok(self.tally.answer(self.ack, resume_at, level, refused))
    }

    async fn read<S>(&mut self, reader: &mut RecordReader<T, BodyInput>, body: &mut Body<S>) -> Result<(), Stop>
    where
        S: Stream<Item = Result<Bytes, PayloadError>> + Unpin,
    {
        let service = self.service;
        let (mut chunk, mut ending) = (Chunk::default(), pin!(service.ending()));
        loop {
            let more = match reader.next_chunk(&mut chunk) {
                Ok(more) => more,
                Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    tokio::select! {
                        biased;
                        // What is here already is taken, for as long as the queue takes it.
                        more = body.more() => more.map_err(broken)?,
                        () = &mut ending => return Err(Stop::Ending),
                    }
                    continue;
                }
                Err(ReadError::Io(error)) => {
                    return Err(Stop::Body(StatusCode::BAD_REQUEST, of_request(&error.to_string())));
                }
                Err(error) => return Err(Stop::Body(StatusCode::UNPROCESSABLE_ENTITY, refusal(&error))),
            };
            self.take(&mut chunk).await?;
            if !more {
                return Ok(());
            }
            if body.is_bomb(reader.bytes_unpacked()) {
                let text = "expected a body that unpacks to at most 16 MiB and 200 times its length, got more";
                return Err(Stop::Body(StatusCode::PAYLOAD_TOO_LARGE, text.to_owned()));
            }
            // A body that is here already must not keep the thread from the others.
            tokio::task::yield_now().await;
        }
    }

    /// Submits the records of a chunk, in their places among the rows that are none.
    async fn take(&mut self, chunk: &mut Chunk<T>) -> Result<(), Stop> {
        let order = chunk.order().to_vec();
        let mut rejected = std::mem::take(&mut chunk.rejected).into_iter();
        for (sort, count) in order {
            let count = u64::from(count);
            // Those at the front that were dealt with before, by a request like this one.
            let passed = self.skip.saturating_sub(self.progress.next()).min(count);
            match sort {
                Sort::Skipped => {
                    self.tally.skip(count - passed);
                    self.progress.pass(count);
                }
                Sort::Rejected => {
                    for (at, Rejected { line, message }) in rejected.by_ref().take(count as usize).enumerate() {
                        if at as u64 >= passed {
                            self.tally.reject(self.progress.next(), Some(line), &message);
                        }
                        self.progress.pass(1);
                    }
                }
                Sort::Record => {
                    chunk.records.drain(..passed as usize);
                    self.progress.pass(passed);
                    let left = (count - passed) as usize;
                    // In order, so that those of one key are written in order.
                    if left < chunk.records.len() {
                        let behind = chunk.records.split_off(left);
                        self.submit(&mut chunk.records).await?;
                        chunk.records = behind;
                    } else {
                        self.submit(&mut chunk.records).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Submits records, in order. What was not accepted is let go: the client sends it again.
    async fn submit(&mut self, records: &mut VecDeque<T>) -> Result<(), Stop> {
        while !records.is_empty() {
            let before = records.len();
            let mut receipts = Vec::new();
            let result = match self.ack {
                Ack::Queued => self.in_time(self.handle.submit_from(records)).await,
                Ack::Stored => {
                    self.make_room().await?;
                    self.in_time(self.handle.submit_from_with_receipts(records, &mut receipts)).await
                }
            };
            let accepted = (before - records.len()) as u64;
            self.tally.submit(accepted);
            match self.ack {
                Ack::Queued => self.progress.pass(accepted),
                Ack::Stored => receipts.into_iter().for_each(|receipt| self.progress.accept(receipt)),
            }
            // Some went in: the time begins afresh.
            if result.is_err() && accepted > 0 {
                continue;
            }
            match result {
                Ok(Ok(())) => {}
                Ok(Err(refusal @ (Refusal::Invalid(_) | Refusal::TooLarge { .. }))) => {
                    records.pop_front();
                    self.tally.reject(self.progress.next(), None, &refusal.to_string());
                    self.progress.pass(1);
                }
                Ok(Err(refusal)) => return Err(Stop::Refused(refusal)),
                Err(Late) => return Err(Stop::Refused(self.why_full())),
            }
        }
        Ok(())
    }

    /// Waits until the queue has taken records, for so long as a request waits.
    async fn in_time<F: Future>(&self, submit: F) -> Result<F::Output, Late> {
        let mut submit = pin!(submit);
        // Most are taken at once.
        if let Some(taken) = submit.as_mut().now_or_never() {
            return Ok(taken);
        }
        timeout(self.service.submit_timeout, submit).await.map_err(|_| Late)
    }

    /// Collects what has become of the first records, and waits for them where too many are remembered.
    async fn make_room(&mut self) -> Result<(), Stop> {
        while let Some(receipt) = self.progress.front()
            && let Some(outcome) = receipt.outcome()
        {
            self.tally.settle(outcome.map_err(|_| Stop::Lost)?);
            self.progress.settle_front();
        }
        while self.progress.remembered() >= RECEIPTS {
            self.settle_front().await?;
        }
        Ok(())
    }

    /// Waits for the first record that is not settled.
    async fn settle_front(&mut self) -> Result<(), Stop> {
        let Some(receipt) = self.progress.front() else { return Ok(()) };
        match timeout(self.service.ack_timeout, receipt).await {
            Ok(outcome) => {
                self.tally.settle(outcome.map_err(|_| Stop::Lost)?);
                self.progress.settle_front();
            }
            Err(_) if self.sweep() == 0 => return Err(Stop::Unsettled),
            Err(_) => {}
        }
        Ok(())
    }

    /// Waits until every record that was accepted is settled, for as long as some are.
    async fn settle_all(&mut self) -> Result<(), Stop> {
        let handle = self.handle.clone();
        // Short batches are written at once while it waits: the client does too.
        let (mut flush, mut is_flushed) = (pin!(handle.flush()), false);
        while self.progress.unsettled() > 0 {
            tokio::select! {
                biased;
                settled = self.settle_front() => if let Err(stop) = settled {
                    // What stands behind the first may be known.
                    self.sweep();
                    return Err(stop);
                },
                _ = &mut flush, if !is_flushed => is_flushed = true,
            }
        }
        Ok(())
    }

    /// Looks at all records that are not settled; returns how many are now.
    fn sweep(&mut self) -> usize {
        let Self { progress, tally, .. } = self;
        progress.sweep(|receipt| match receipt.outcome() {
            Some(Ok(outcome)) => {
                tally.settle(outcome);
                true
            }
            Some(Err(_)) | None => false,
        })
    }

    /// Returns why the queue took nothing for so long.
    fn why_full(&self) -> Refusal {
        match self.handle.is_store_away() {
            true => Refusal::CircuitOpen,
            false => Refusal::Full,
        }
    }

    /// Returns the status of an upload that ended early, what is said of it, and when it is worth going on.
    fn refused(&self, stop: Stop) -> (StatusCode, String, Option<Duration>) {
        let (status, error) = match stop {
            Stop::Body(status, error) => return (status, error, None),
            Stop::Refused(refusal @ (Refusal::Full | Refusal::PartitionFull { .. })) => {
                (StatusCode::TOO_MANY_REQUESTS, refusal.to_string())
            }
            Stop::Refused(refusal) => (StatusCode::SERVICE_UNAVAILABLE, refusal.to_string()),
            Stop::Unsettled => {
                let text = "no record of this request was settled in time: those behind resume_at may be stored later";
                (StatusCode::SERVICE_UNAVAILABLE, text.to_owned())
            }
            Stop::Ending => {
                let text = "the service comes to its end: go on behind resume_at";
                (StatusCode::SERVICE_UNAVAILABLE, text.to_owned())
            }
            Stop::Lost => {
                let text = "the coordinator came to its end, and it is not known whether the records behind resume_at are stored";
                (StatusCode::SERVICE_UNAVAILABLE, text.to_owned())
            }
        };
        (status, error, Some(self.wait()))
    }

    /// Returns when it is worth going on: a little later for each client, so that they do not all come at once.
    fn wait(&self) -> Duration {
        // Until the circuit opens, an outage looks like a store that grows slower and slower.
        let is_stuck = self.handle.nothing_settled_for() >= self.service.submit_timeout.max(BATCH);
        let is_known = !is_stuck || self.handle.is_store_away();
        let known = self.handle.retry_after().filter(|wait| is_known && !wait.is_zero());
        known.unwrap_or(UNKNOWN_WAIT).mul_f64(1.0 + 0.1 * fastrand::f64())
    }
}

fn broken(broken: Broken) -> Stop {
    match broken {
        Broken::Slow => {
            let text = "expected at least 1 KiB of the body in 30 seconds, got less";
            Stop::Body(StatusCode::REQUEST_TIMEOUT, text.to_owned())
        }
        Broken::Cut(error) => {
            Stop::Body(StatusCode::BAD_REQUEST, format!("expected the body to its end, and it broke off: {error}"))
        }
    }
}
