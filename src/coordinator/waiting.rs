//! Futures that wait at the buffer: for a credit, or until what was accepted is settled.

use std::{collections::VecDeque, future::poll_fn, task::Poll, time::Duration};

use super::{
    receipt::{AcceptedAt, AwaitOutcome},
    shared::{Buffer, Shared},
};
use crate::policy::{ConflationKey, CreditTicket, FlushId, Load, Refusal};

/// Waits in line for credits, and accepts as many records from the front as it was granted, in the same breath:
/// between grant and acceptance there is nothing to be lost. `accepted` is told how many these are.
pub(super) async fn wait_and_accept<T>(
    shared: &Shared<T>,
    records: &mut VecDeque<T>,
    loads: &[Load],
    keys: &[ConflationKey],
    deadline: Option<Duration>,
    mut accepted: impl FnMut(&mut Buffer<T>, usize),
) -> Result<usize, Refusal> {
    let mut line = LineGuard { shared, ticket: None };
    poll_fn(|context| {
        let waker = context.waker().clone();
        let now = shared.now();
        shared.with(|buffer| {
            let Some(ticket) = line.ticket else {
                // Between the refusal and now a credit may have become free.
                return match buffer.offer_many(now, records, loads, keys) {
                    Ok(0) => {
                        // What stands behind the first of another partition waits in another line.
                        let Load { partition, bytes } = loads[0];
                        let alike = loads.iter().take_while(|load| load.partition == partition).count();
                        line.ticket = Some(buffer.wait(partition, (alike, bytes), deadline, waker));
                        Poll::Pending
                    }
                    Ok(placed) => {
                        buffer.discard(waker);
                        accepted(buffer, placed);
                        Poll::Ready(Ok(placed))
                    }
                    Err(refused) => {
                        buffer.discard(waker);
                        Poll::Ready(Err(refused))
                    }
                };
            };
            match buffer.claim(now, ticket, waker) {
                Ok(None) => Poll::Pending,
                Ok(Some(credits)) => {
                    line.ticket = None;
                    buffer.accept(now, loads[..credits].iter().copied().zip(records.drain(..credits)));
                    buffer.note_keys(&loads[..credits], keys);
                    accepted(buffer, credits);
                    Poll::Ready(Ok(credits))
                }
                Err(refused) => {
                    line.ticket = None;
                    Poll::Ready(Err(refused))
                }
            }
        })
    })
    .await
}

/// Waits in line for a credit of a partition, and holds it for a record to come.
pub(super) async fn wait_for_place<T>(shared: &Shared<T>, partition: usize) -> Result<(), Refusal> {
    let mut line = LineGuard { shared, ticket: None };
    poll_fn(|context| {
        let waker = context.waker().clone();
        let now = shared.now();
        shared.with(|buffer| {
            let Some(ticket) = line.ticket else {
                return match buffer.reserve(now, partition) {
                    Ok(false) => {
                        line.ticket = Some(buffer.wait(partition, (1, 0), None, waker));
                        Poll::Pending
                    }
                    reserved => {
                        buffer.discard(waker);
                        Poll::Ready(reserved.map(|_| ()))
                    }
                };
            };
            match buffer.claim(now, ticket, waker) {
                Ok(None) => Poll::Pending,
                claimed => {
                    line.ticket = None;
                    Poll::Ready(claimed.map(|_| buffer.keep_claimed()))
                }
            }
        })
    })
    .await
}

/// Leaves the line when the future that waits in it is dropped.
struct LineGuard<'a, T> {
    shared: &'a Shared<T>,
    ticket: Option<CreditTicket>,
}

impl<T> Drop for LineGuard<'_, T> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let now = self.shared.now();
            self.shared.with(|buffer| buffer.cancel(now, ticket));
        }
    }
}

impl<T> Shared<T> {
    /// Waits until everything accepted so far is settled.
    pub(super) async fn flush(&self) -> Result<(), Refusal> {
        let mut flush = FlushGuard { shared: self, id: None };
        poll_fn(|context| {
            let waker = context.waker().clone();
            self.with(|buffer| {
                let holds = match flush.id {
                    Some(id) => buffer.flush_holds(id, waker),
                    None => buffer.begin_flush(waker).map(|id| {
                        flush.id = id;
                        id.is_some()
                    }),
                };
                match holds {
                    Ok(true) => Poll::Pending,
                    Ok(false) => Poll::Ready(Ok(())),
                    Err(refused) => Poll::Ready(Err(refused)),
                }
            })
        })
        .await
    }
}

impl<T: Send + Sync> AwaitOutcome for Shared<T> {
    fn await_outcome(&self, at: AcceptedAt) {
        self.with(|buffer| buffer.await_outcome(at.partition, at.sequence));
    }
}

/// Gives up waiting for a flush when its future is dropped.
struct FlushGuard<'a, T> {
    shared: &'a Shared<T>,
    id: Option<FlushId>,
}

impl<T> Drop for FlushGuard<'_, T> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.shared.with(|buffer| buffer.cancel_flush(id));
        }
    }
}
