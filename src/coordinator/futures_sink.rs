use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_sink::Sink;

use super::{handle::WriteHandle, refusal::SubmitError};
use crate::{
    policy::{CreditTicket, Overflow},
    record::Record,
};

/// A [`futures::Sink`](futures_sink::Sink) that submits each item to a coordinator.
///
/// An item is accepted when it is sent, so there is nothing to flush; to know that everything is stored use
/// [`WriteHandle::flush`]. With [`Overflow::Block`] being ready means holding a credit, which others then cannot use: do
/// not leave a sink that is ready lying about. It holds one between its items too, as long as no more are held so than the
/// low watermark has records. Closing or dropping it gives the credit back. With any other strategy it is always ready,
/// and each item meets a full queue as one of [`try_submit`](WriteHandle::try_submit) does.
pub struct WriteSink<T: Record> {
    handle: WriteHandle<T>,
    state: State,
}

enum State {
    Idle,
    Waiting(CreditTicket),
    Ready,
}

impl<T: Record> WriteHandle<T> {
    /// Returns a [`futures::Sink`](futures_sink::Sink) over this handle.
    ///
    /// With [`Overflow::Block`] it is ready before it knows its item, so it takes places that are common to all
    /// partitions, and no partition's own. A key whose writes hang can hold all of these, and then stops a stream of
    /// other keys too. [`submit_many`](Self::submit_many) has no such limit.
    pub fn sink(&self) -> WriteSink<T> {
        WriteSink { handle: self.clone(), state: State::Idle }
    }
}

impl<T: Record> Sink<T> for WriteSink<T> {
    type Error = SubmitError<T>;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let this = &mut *self;
        let shared = this.handle.shared();
        if shared.config.overflow != Overflow::Block {
            return Poll::Ready(Ok(()));
        }
        let state = &mut this.state;
        if matches!(state, State::Ready) {
            return Poll::Ready(Ok(()));
        }
        let waker = context.waker().clone();
        let now = shared.now();
        shared.with(|buffer| {
            let ready = match state {
                State::Waiting(ticket) => buffer.claim(now, *ticket, waker).map(|credits| {
                    let granted = credits.is_some();
                    if granted {
                        buffer.keep_claimed();
                    }
                    granted
                }),
                // Of what partition the item is, it does not say yet.
                _ => match buffer.reserve(now, buffer.any_line()) {
                    Ok(false) => {
                        *state = State::Waiting(buffer.wait(buffer.any_line(), (1, 0), None, waker));
                        Ok(false)
                    }
                    reserved => {
                        buffer.discard(waker);
                        reserved
                    }
                },
            };
            match ready {
                Ok(true) => {
                    *state = State::Ready;
                    Poll::Ready(Ok(()))
                }
                Ok(false) => Poll::Pending,
                // Without an item there is nothing to hand back: sending one tells.
                Err(_) => {
                    *state = State::Idle;
                    Poll::Ready(Ok(()))
                }
            }
        })
    }

    fn start_send(mut self: Pin<&mut Self>, mut item: T) -> Result<(), Self::Error> {
        if let Err(invalid) = self.handle.shared().validate(&mut item) {
            return Err(self.handle.invalid(item, invalid));
        }
        let this = &mut *self;
        let shared = this.handle.shared();
        let at = match shared.placement_of(&item) {
            Ok(at) => at,
            Err(refused) => return Err(this.handle.refused(item, refused)),
        };
        let now = shared.now();
        let state = &mut this.state;
        let sent = shared.with(|buffer| {
            if !matches!(state, State::Ready) {
                return buffer.offer(now, at, item);
            }
            let item = match buffer.holds_few() {
                // The credit stays for the next item, which so takes the lock once.
                true => match buffer.offer(now, at.load, item) {
                    Ok(()) => return Ok(()),
                    Err((_, item)) => item,
                },
                false => item,
            };
            *state = State::Idle;
            buffer.offer_reserved(now, buffer.any_line(), at, item)
        });
        sent.map_err(|(refused, item)| this.handle.refused(item, refused))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.leave();
        Poll::Ready(Ok(()))
    }
}

impl<T: Record> WriteSink<T> {
    /// Gives back its credit, or its place in line.
    fn leave(&mut self) {
        let shared = self.handle.shared();
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => {}
            State::Waiting(ticket) => shared.with(|buffer| buffer.cancel(shared.now(), ticket)),
            State::Ready => shared.with(|buffer| buffer.give_back(shared.now(), buffer.any_line())),
        }
    }
}

impl<T: Record> Drop for WriteSink<T> {
    fn drop(&mut self) {
        self.leave();
    }
}

impl<T: Record> fmt::Debug for WriteSink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteSink").field("id", &self.handle.id()).finish_non_exhaustive()
    }
}
